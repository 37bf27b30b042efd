//! How an instrument's VPIN is computed, and which values are legal.
//!
//! It is data: it changes nothing by itself.

use nautilus_messages::mesh::Classification;
use nautilus_numerics::RollingDeviation;
use nautilus_types::Quantity;
use serde::{Deserialize, Serialize};

use crate::bars::SIGMA_BARS_MIN;
use crate::decimal;

/// How VPIN is computed. Fields left out of a JSON document take their defaults; unknown ones are refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// The classification that drives alerts and answers; all four are computed. Default bulk_normal.
    pub classification: Classification,
    /// Width of the time bars of bulk classification, aligned to the clock: 1 to 86,400. Default 60.
    pub bar_seconds: u32,
    /// Buckets per average day: 1 to 100,000. Default 50.
    pub buckets_per_day: u32,
    /// Buckets in the VPIN window (n): 1 to 10,000. Default 50.
    pub window: u32,
    /// A fixed bucket volume instead of one from average daily volume. Default none.
    #[serde(with = "decimal::optional_quantity")]
    pub bucket_volume: Option<Quantity>,
    /// Completed bars that σ is taken over: 10 to 4,096. Default 390, a trading day of minutes.
    pub sigma_bars: u32,
    /// Days with trades that daily volume is averaged over: 1 to 250. Default 5.
    pub average_days: u32,
    /// Trades counted before the first bucket volume is set, where no day is known yet: 10 to 100,000. Default 200.
    pub calibration_trades: u32,
    /// Toxicity is moderate when more than this share of earlier VPIN values lies below the present one. Default 0.7.
    pub moderate_above: f64,
    /// It is high when more than this share does. Default 0.9 (Easley, López de Prado, O'Hara).
    pub high_above: f64,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            classification: Classification::BulkNormal,
            bar_seconds: 60,
            buckets_per_day: 50,
            window: 50,
            bucket_volume: None,
            sigma_bars: 390,
            average_days: 5,
            calibration_trades: 200,
            moderate_above: 0.7,
            high_above: 0.9,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigurationError {
    /// A number outside its range.
    #[error("{field} is {value}; it must be between {least} and {most}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What it is.
        value: u32,
        /// The least legal value.
        least: u32,
        /// The greatest legal value.
        most: u32,
    },
    /// A bucket of no volume.
    #[error("bucket_volume is {0}; it must be above zero")]
    BucketVolume(Quantity),
    /// Thresholds that are not rising shares.
    #[error(
        "moderate_above is {moderate} and high_above {high}; both must lie between 0 and 1, the first below the second"
    )]
    Thresholds {
        /// The lower one.
        moderate: f64,
        /// The upper one.
        high: f64,
    },
    /// Not a JSON document of the known fields.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(String),
}

pub(crate) const WINDOW_MAX: u32 = 10_000;

impl Configuration {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is not legal and what would be.
    pub fn check(&self) -> Result<(), ConfigurationError> {
        #[allow(clippy::cast_possible_truncation)]
        let sigma_max = RollingDeviation::WINDOW_MAX as u32;
        for (field, value, least, most) in [
            ("bar_seconds", self.bar_seconds, 1, 86_400),
            ("buckets_per_day", self.buckets_per_day, 1, 100_000),
            ("window", self.window, 1, WINDOW_MAX),
            ("sigma_bars", self.sigma_bars, SIGMA_BARS_MIN, sigma_max),
            ("average_days", self.average_days, 1, 250),
            ("calibration_trades", self.calibration_trades, 10, 100_000),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigurationError::OutOfRange { field, value, least, most });
            }
        }
        if let Some(volume) = self.bucket_volume
            && !volume.is_positive()
        {
            return Err(ConfigurationError::BucketVolume(volume));
        }
        let (moderate, high) = (self.moderate_above, self.high_above);
        if !(0.0 <= moderate && moderate < high && high < 1.0) {
            return Err(ConfigurationError::Thresholds { moderate, high });
        }
        Ok(())
    }

    /// Reads what [`Self::to_json`] wrote and checks it.
    ///
    /// # Errors
    /// When the text is not JSON of the known fields or a value is not legal.
    pub fn from_json(text: &str) -> Result<Self, ConfigurationError> {
        let configuration: Self =
            serde_json::from_str(text).map_err(|e| ConfigurationError::Unreadable(e.to_string()))?;
        configuration.check().map(|()| configuration)
    }

    /// As JSON, for the store.
    ///
    /// # Panics
    /// Never: a configuration holds numbers and names only, and those always have a JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names have a JSON form")
    }
}
