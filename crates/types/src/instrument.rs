//! Instruments: what is traded, in which steps and for how much money a point.

use serde::{Deserialize, Serialize};

use crate::{Currency, Price, Quantity, Symbol, Venue};

/// The platform's dense number of an instrument: 1, 2, 3 … in order of first definition. Zero means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct InstrumentId(pub u32);

impl InstrumentId {
    /// No instrument: frames that concern the whole feed.
    pub const NONE: Self = Self(0);

    /// As an index into a table.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The side of an order, or the side that took liquidity in a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Bid, or a trade in which the buyer took.
    Buy,
    /// Ask, or a trade in which the seller took.
    Sell,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

/// The kind of thing traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum AssetClass {
    Unknown,
    Equity,
    Future,
    Option,
    Spread,
    Currency,
    Crypto,
}

/// Why a definition is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstrumentError {
    /// A step or multiplier below zero, or a lot or multiplier of zero.
    #[error("instrument {0}: the {1} must be positive")]
    NotPositive(Symbol, &'static str),
}

/// An instrument's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// The platform's number.
    pub id: InstrumentId,
    /// The venue's name.
    pub symbol: Symbol,
    /// Where it trades.
    pub venue: Venue,
    /// What it is.
    pub class: AssetClass,
    /// The currency prices are quoted in.
    pub currency: Currency,
    /// The smallest price step. Zero when the source does not say: the book then infers it.
    pub tick: Price,
    /// The smallest quantity step.
    pub lot: Quantity,
    /// Units of the underlying per contract: money per point of price per unit of quantity.
    pub multiplier: Quantity,
}

impl Instrument {
    /// Checks steps and multiplier.
    ///
    /// # Errors
    /// When a step or the multiplier is not positive (a tick of zero means "unknown" and is allowed).
    pub fn checked(self) -> Result<Self, InstrumentError> {
        if self.tick.nanos() < 0 {
            return Err(InstrumentError::NotPositive(self.symbol, "tick"));
        }
        if !self.lot.is_positive() {
            return Err(InstrumentError::NotPositive(self.symbol, "lot"));
        }
        if !self.multiplier.is_positive() {
            return Err(InstrumentError::NotPositive(self.symbol, "multiplier"));
        }
        Ok(self)
    }
}
