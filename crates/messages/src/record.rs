//! What engines ask the store to keep: facts with a natural key, so that writing one twice changes nothing.

use nautilus_types::{Instrument, Money, Price, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::EngineName;
use crate::frame::BarUnit;
use crate::mesh::Classification;

/// A row for the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// Key: symbol.
    Instrument(Instrument),
    /// Key: symbol, unit, interval, `ts_open`.
    Bar(BarRecord),
    /// Key: symbol, day. A later row replaces an earlier one.
    SessionStatistics(SessionStatistics),
    /// Key: symbol, classification, `ts_close`, bucket.
    VpinBucket(VpinBucket),
    /// Key: engine, key. A later row replaces an earlier one.
    Setting(Setting),
}

/// A closed bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BarRecord {
    pub instrument: Symbol,
    pub unit: BarUnit,
    /// Nanoseconds, trades, or billionths of quantity or money.
    pub interval: u64,
    pub ts_open: UnixNanos,
    pub ts_close: UnixNanos,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    /// Absent when the source sums trades up without saying it.
    pub vwap: Option<Price>,
    pub volume: Money,
    pub volume_buy: Money,
    pub volume_sell: Money,
    pub trades: u32,
}

/// A trading day's trades summed up. Days are UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SessionStatistics {
    pub instrument: Symbol,
    /// Midnight UTC of the day of the first trade.
    pub day: UnixNanos,
    pub trades: u64,
    pub volume: Money,
    pub volume_buy: Money,
    pub volume_sell: Money,
    pub volume_unknown: Money,
    /// Σ price × quantity ÷ Σ quantity.
    pub vwap: Price,
    pub low: Price,
    pub high: Price,
    pub first: Price,
    pub last: Price,
}

/// A completed VPIN bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VpinBucket {
    /// Which instrument.
    pub instrument: Symbol,
    /// How volume was classified.
    pub classification: Classification,
    /// The bucket's number, from 1.
    pub bucket: u64,
    /// When it was completed.
    pub ts_close: UnixNanos,
    /// Bought volume.
    pub buy: f64,
    /// Sold volume.
    pub sell: f64,
    /// VPIN over the window that ends here, absent until the window is full.
    pub vpin: Option<f64>,
}

/// A setting changed at run time, to be there again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Whose it is.
    pub engine: EngineName,
    /// Its name, for example an instrument.
    pub key: String,
    /// Its value as JSON.
    pub value: String,
}
