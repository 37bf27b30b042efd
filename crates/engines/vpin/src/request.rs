//! The question that brings its own trades, and its answer.
//!
//! These are shapes; [`crate::calculate()`] checks and computes.

use nautilus_messages::mesh::{Classification, ToxicityLevel};
use nautilus_types::Side;
use serde::{Deserialize, Serialize};

use crate::Decimal;

/// A trade of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchTrade {
    /// When, in nanoseconds since 1970 UTC; never before the trade in front of it.
    pub ts_ns: u64,
    /// Price; may be negative.
    pub price: Decimal,
    /// Quantity, above zero.
    pub quantity: Decimal,
    /// The side that took liquidity, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
}

/// Which rules a calculation follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// σ and bucket volume from the whole sample: for study of the past, it looks ahead within the sample.
    #[default]
    Sample,
    /// The live rules: σ and bucket volume from earlier trades only, exactly as the streaming engine.
    Trailing,
}

/// Trades and how to compute VPIN over them. Whatever is left out takes its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// 1 to 1,000,000 trades in order of time.
    pub trades: Vec<BatchTrade>,
    /// Width of the bars of bulk classification. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar_seconds: Option<u32>,
    /// Buckets per day with trades. Default 50. Not together with `bucket_volume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets_per_day: Option<u32>,
    /// A fixed bucket volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_volume: Option<Decimal>,
    /// Buckets in the window. Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Default bulk_normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification: Option<Classification>,
    /// Default sample.
    #[serde(default)]
    pub rules: Rules,
    /// Trailing rules only: completed bars that σ is taken over. Default 390.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma_bars: Option<u32>,
    /// Trailing rules only: days that daily volume is averaged over. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_days: Option<u32>,
    /// Trailing rules only: trades counted before the first bucket volume is set. Default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_trades: Option<u32>,
}

/// A completed bucket of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchBucket {
    /// When it was completed: the time of a trade, or the end of a bar.
    pub ts_close_ns: u64,
    /// Bought volume.
    pub buy: f64,
    /// Sold volume.
    pub sell: f64,
    /// VPIN over the window that ends here, absent until the window is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpin: Option<f64>,
    /// The share of earlier VPIN values not above this one, absent until there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdf: Option<f64>,
    /// The toxicity level, absent until twenty earlier values are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<ToxicityLevel>,
}

/// The bucket that the trades do not fill.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PartialBucket {
    /// Volume in it.
    pub volume: f64,
    /// Bought volume in it.
    pub buy: f64,
}

/// The answer to a [`BatchRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// VPIN at the last completed bucket; null while the window is not full.
    pub vpin: Option<f64>,
    /// The bucket volume in force at the end; null where trailing rules are still calibrating.
    pub bucket_volume: Option<f64>,
    /// Standard deviation of the bars' price changes at the end; absent where there are too few bars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// UTC days with trades.
    pub days: u64,
    /// Bars that σ was taken over.
    pub bars: u64,
    /// How volume was classified.
    pub classification: Classification,
    /// Which rules were followed.
    pub rules: Rules,
    /// The definition of every number, in words.
    pub convention: String,
    /// Completed buckets, oldest first.
    pub buckets: Vec<BatchBucket>,
    /// What is left over.
    pub partial: PartialBucket,
    /// Volume in no bucket: trailing rules, before the bucket volume and, for bulk classification, σ were known.
    pub left_out: f64,
}
