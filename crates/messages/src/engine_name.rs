//! The engines that exist, with their names and default ports. A new engine is one line here.

use serde::{Deserialize, Serialize};

/// An engine, as producer or consumer of messages and as a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u16)]
pub enum EngineName {
    /// Sequences market data, keeps the books and publishes the star.
    Marketdata = 1,
    /// Volume-synchronised probability of informed trading.
    Vpin = 2,
    /// Fans both buses out to WebSocket clients.
    Websocket = 3,
    /// Feature values per bar and per trade or quote.
    Features = 4,
    /// Positions, risk measures and the gate that orders pass.
    Risk = 5,
}

impl EngineName {
    /// Every engine, in start order.
    pub const ALL: [Self; 5] = [Self::Marketdata, Self::Vpin, Self::Websocket, Self::Features, Self::Risk];

    /// The engine's name in streams, metrics and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Marketdata => "marketdata",
            Self::Vpin => "vpin",
            Self::Websocket => "websocket",
            Self::Features => "features",
            Self::Risk => "risk",
        }
    }

    /// The port its service listens on unless configured otherwise.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Marketdata => 8800,
            Self::Vpin => 10_000,
            Self::Websocket => 8600,
            Self::Features => 8500,
            Self::Risk => 8200,
        }
    }

    /// From the number that envelopes carry.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|name| *name as u16 == number)
    }
}

impl std::fmt::Display for EngineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
