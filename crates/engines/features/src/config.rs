//! The engine's settings and what its HTTP interface may ask, with their bounds.

use nautilus_messages::BarSpec;
use nautilus_types::FeatureSetName;
use serde::{Deserialize, Serialize};

use crate::sets::FeatureSet;

/// The engine's settings. Fields left out take their defaults; unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The bars that everything but microstructure ticks by; the hub has to build them. Default 1m.
    pub bar: BarSpec,
    /// How long bars that close together are waited for, in milliseconds of market time: 0 to 60,000. Default 1,000.
    pub settle_ms: u64,
    /// Intervals after which an instrument without a bar is no longer compared with others: 1 to 10,000. Default 5.
    pub universe_age_bars: u64,
    /// Bytes of history kept in memory: at least 1 MiB. Default 256 MiB.
    pub history_bytes: usize,
    /// Instruments; further ones are ignored: 1 to 65,536. Default 4,096.
    pub instruments_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bar: "1m".parse().expect("1m is a bar interval"),
            settle_ms: 1_000,
            universe_age_bars: 5,
            history_bytes: 256 << 20,
            instruments_max: 4_096,
        }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is not legal and what would be.
    pub fn check(&self) -> Result<(), String> {
        for (field, value, least, most) in [
            ("settle_ms", self.settle_ms, 0, 60_000),
            ("universe_age_bars", self.universe_age_bars, 1, 10_000),
            ("history_bytes", self.history_bytes as u64, 1 << 20, 1 << 40),
            ("instruments_max", self.instruments_max as u64, 1, 65_536),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{field} is {value}; it must be between {least} and {most}"));
            }
        }
        Ok(())
    }
}

/// What the HTTP interface may ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Makes or replaces a set.
    PutSet {
        /// Its name.
        name: FeatureSetName,
        /// What is in it.
        set: FeatureSet,
    },
    /// Removes a set.
    DeleteSet {
        /// Its name.
        name: FeatureSetName,
    },
}
