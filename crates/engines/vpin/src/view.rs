//! What readers see of one instrument.
//!
//! Made between batches, never changed afterwards; it shares the past instead of copying it.

use std::sync::Arc;

use nautilus_engine::HistoryView;
use nautilus_messages::mesh::{Classification, ToxicityLevel};
use nautilus_types::{Money, Quantity, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::lane::Bucket;
use crate::{BucketVolumeSource, Configuration};

/// One instrument.
#[derive(Debug, Clone)]
pub struct VpinView {
    /// Which instrument.
    pub instrument: Symbol,
    /// How its VPIN is computed; `configuration.classification` is the primary one.
    pub configuration: Configuration,
    /// The bucket volume in force, absent while calibrating.
    pub bucket_volume: Option<Quantity>,
    /// Where it comes from.
    pub bucket_volume_source: BucketVolumeSource,
    /// Trades still to come before the first bucket volume is set.
    pub calibration_trades_left: u32,
    /// Standard deviation of the price changes of completed bars, in price units; absent below ten bars.
    pub sigma: Option<f64>,
    /// Completed bars that σ is taken over.
    pub sigma_bars: usize,
    /// Trades since the start, since the last change of configuration or since its source went back in time.
    pub trades: u64,
    /// Messages of this instrument known to be lost.
    pub lost: u64,
    /// Messages of the whole star known to be lost, which may or may not have been this instrument's.
    pub lost_on_star: u64,
    /// One for each classification, in the order of [`Classification::ALL`].
    pub lanes: [LaneView; 4],
}

impl VpinView {
    /// The view of one classification.
    #[must_use]
    pub fn lane(&self, classification: Classification) -> &LaneView {
        &self.lanes[classification as usize]
    }

    /// The view of the configured classification.
    #[must_use]
    pub fn primary(&self) -> &LaneView {
        self.lane(self.configuration.classification)
    }
}

/// One classification of an instrument.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// How volume is classified.
    pub classification: Classification,
    /// VPIN over the window that ends with the last completed bucket, absent until the window is full.
    pub vpin: Option<f64>,
    /// The share of earlier VPIN values not above this one, absent until there are any.
    pub cdf: Option<f64>,
    /// The toxicity level, absent until twenty earlier values are known.
    pub level: Option<ToxicityLevel>,
    /// Completed buckets.
    pub buckets: u64,
    /// Size of the bucket in progress, absent between buckets.
    pub bucket_size: Option<Quantity>,
    /// Volume in the bucket in progress.
    pub filled: Quantity,
    /// Bought volume in the bucket in progress; provisional.
    pub filled_buy: f64,
    /// Volume in no bucket: it came before the bucket volume and, for bulk classification, σ were known.
    pub left_out: Money,
    /// When the last bucket was completed.
    pub last_update: Option<UnixNanos>,
    /// At least the newest 4,096 completed buckets, oldest first.
    pub history: Arc<HistoryView<BucketRow>>,
}

/// A completed bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BucketRow {
    /// Its number, from 1.
    pub bucket: u64,
    /// When it was completed: the time of a trade, or the end of a bar.
    pub ts_close_ns: UnixNanos,
    /// Bought volume.
    pub buy: f64,
    /// Sold volume.
    pub sell: f64,
    /// VPIN over the window that ends here.
    pub vpin: Option<f64>,
    /// The share of earlier VPIN values not above this one.
    pub cdf: Option<f64>,
    /// The toxicity level.
    pub level: Option<ToxicityLevel>,
}

impl From<&Bucket> for BucketRow {
    fn from(bucket: &Bucket) -> Self {
        Self {
            bucket: bucket.number,
            ts_close_ns: bucket.ts_close,
            buy: bucket.buy.to_units(),
            sell: bucket.sell().to_units(),
            vpin: bucket.vpin,
            cdf: bucket.cdf,
            level: bucket.level,
        }
    }
}
