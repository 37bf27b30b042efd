//! One instrument's trades, classified four ways and handed to four lanes.
//!
//! The live engine and the batch calculation both drive this; it emits no messages and knows no instrument.

use nautilus_messages::mesh::Classification;
use nautilus_numerics::RollingDeviation;
use nautilus_types::{NANOS_PER_DAY, Side, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::Configuration;
use crate::bars::{Bar, Scale, bulk_shares, width_ns};
use crate::lane::{Bucket, Lane};
use crate::volume::{BucketSize, BucketVolume, Share};

/// A trade as VPIN sees it; the quantity is positive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Print {
    pub(crate) ts: UnixNanos,
    pub(crate) price: i64,
    pub(crate) quantity: u64,
    pub(crate) aggressor: Option<Side>,
}

const BULK_NORMAL: usize = Classification::BulkNormal as usize;
const BULK_STUDENT_T: usize = Classification::BulkStudentT as usize;
const AGGRESSOR: usize = Classification::Aggressor as usize;
const TICK_RULE: usize = Classification::TickRule as usize;

/// The state of one instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) volume: BucketVolume,
    pub(crate) scale: Scale,
    /// In the order of [`Classification::ALL`].
    pub(crate) lanes: [Lane; 4],
    bar: Option<Bar>,
    bar_width_ns: u64,
    day_end: UnixNanos,
    last_price: Option<i64>,
    /// When the newest trade happened.
    pub(crate) newest: UnixNanos,
    tick_share: Share,
    pub(crate) trades: u64,
    /// Volume of bars that closed before σ or the bucket volume was known: in no bulk bucket.
    bars_left_out: u128,
}

impl Flow {
    /// By the live rules.
    pub(crate) fn trailing(configuration: &Configuration) -> Self {
        let scale = Scale::Trailing(RollingDeviation::new(configuration.sigma_bars as usize));
        Self::new(configuration, BucketVolume::new(configuration), scale)
    }

    /// With a bucket volume and σ taken from the whole sample.
    pub(crate) fn sample(configuration: &Configuration, size: BucketSize, sigma: f64) -> Self {
        Self::new(configuration, BucketVolume::fixed(size, configuration), Scale::Fixed(sigma))
    }

    fn new(configuration: &Configuration, volume: BucketVolume, scale: Scale) -> Self {
        Self {
            volume,
            scale,
            lanes: std::array::from_fn(|_| Lane::new(configuration)),
            bar: None,
            bar_width_ns: width_ns(configuration.bar_seconds),
            day_end: UnixNanos(0),
            last_price: None,
            newest: UnixNanos(0),
            tick_share: Share::HALF,
            trades: 0,
            bars_left_out: 0,
        }
    }

    /// Takes a trade in. A trade older than the bar or day in progress is counted into it.
    #[inline]
    pub(crate) fn trade(&mut self, print: Print, completed: &mut impl FnMut(Classification, &Bucket)) {
        let Print { ts, price, quantity, aggressor } = print;
        match &mut self.bar {
            Some(bar) if ts < bar.end => {
                bar.last = price;
                bar.volume += u128::from(quantity);
            }
            _ => self.next_bar(print, completed),
        }
        self.trades += 1;
        self.tick_share = match self.last_price {
            Some(last) if price > last => Share::ALL,
            Some(last) if price < last => Share::NONE,
            _ => self.tick_share,
        };
        self.last_price = Some(price);
        self.newest = self.newest.max(ts);
        let Some(size) = self.volume.trade(quantity) else { return };
        let aggressor_share = match aggressor {
            Some(Side::Buy) => Share::ALL,
            Some(Side::Sell) => Share::NONE,
            None => Share::HALF,
        };
        self.lanes[AGGRESSOR].add(quantity, aggressor_share, &size, ts, &mut |bucket| {
            completed(Classification::Aggressor, bucket);
        });
        self.lanes[TICK_RULE].add(quantity, self.tick_share, &size, ts, &mut |bucket| {
            completed(Classification::TickRule, bucket);
        });
    }

    /// Closes the bar in progress and opens the one of `print`; a day that ended is closed in between.
    #[cold]
    fn next_bar(&mut self, print: Print, completed: &mut impl FnMut(Classification, &Bucket)) {
        self.close_bar(completed);
        self.bar = Some(Bar::open(print.ts, self.bar_width_ns, print.price, print.quantity));
        if print.ts >= self.day_end {
            if self.day_end.0 > 0 {
                self.volume.end_day();
            }
            self.day_end = UnixNanos(print.ts.floor(NANOS_PER_DAY).0.saturating_add(NANOS_PER_DAY));
        }
    }

    /// Classifies the bar in progress as a whole and spreads it over buckets; its end is their instant.
    pub(crate) fn close_bar(&mut self, completed: &mut impl FnMut(Classification, &Bucket)) {
        let Some(bar) = self.bar.take() else { return };
        match (self.volume.size, self.scale.sigma()) {
            (Some(size), Some(sigma)) => {
                let [normal, student] = bulk_shares(bar.change(), sigma);
                self.lanes[BULK_NORMAL].fill(bar.volume, normal, &size, bar.end, &mut |bucket| {
                    completed(Classification::BulkNormal, bucket);
                });
                self.lanes[BULK_STUDENT_T].fill(bar.volume, student, &size, bar.end, &mut |bucket| {
                    completed(Classification::BulkStudentT, bucket);
                });
            }
            _ => self.bars_left_out = self.bars_left_out.saturating_add(bar.volume),
        }
        self.scale.push(bar.change());
    }

    /// Volume that no bucket of `classification` will ever hold, in billionths.
    pub(crate) fn left_out(&self, classification: Classification) -> u128 {
        match classification {
            Classification::BulkNormal | Classification::BulkStudentT => self.bars_left_out,
            Classification::Aggressor | Classification::TickRule => self.volume.left_out,
        }
    }

    /// Whether the parts of a restored state fit together.
    pub(crate) fn is_consistent(&self, configuration: &Configuration) -> bool {
        self.bar_width_ns == width_ns(configuration.bar_seconds)
            && self.volume.is_consistent(configuration)
            && self.bar.is_none_or(|bar| bar.volume < 1 << 100)
            && matches!(self.scale, Scale::Trailing(_))
            && self.lanes.iter().all(|lane| lane.is_consistent(configuration))
    }
}
