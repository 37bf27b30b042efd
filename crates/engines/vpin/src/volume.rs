//! Exact volumes: bought shares as binary fractions, and how large a bucket is.
//!
//! Nothing here rounds a volume: quantities are integers of billionths, shares of them integers of 2^-48 billionths.

use nautilus_types::Quantity;
use serde::{Deserialize, Serialize};

use crate::Configuration;

const SHARE_BITS: u32 = 48;
/// Finer units in one unit of quantity.
#[allow(clippy::cast_precision_loss)]
const FINE_PER_UNIT: f64 = (1u64 << SHARE_BITS) as f64 * 1e9;

/// The bought share of a volume, in steps of 2^-48.
///
/// A share times a quantity is an exact integer ([`Fine`]), and sums of such products do not depend on the order or
/// the grouping of the parts: cumulative bought volume is an exactly piecewise-linear function of cumulative volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share(u64);

impl Share {
    /// All sold.
    pub(crate) const NONE: Self = Self(0);
    /// Not known: half and half.
    pub(crate) const HALF: Self = Self(1 << (SHARE_BITS - 1));
    /// All bought.
    pub(crate) const ALL: Self = Self(1 << SHARE_BITS);

    /// The nearest share; what is not a number counts as half.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub(crate) fn nearest(fraction: f64) -> Self {
        if fraction.is_nan() {
            return Self::HALF;
        }
        Self((fraction.clamp(0.0, 1.0) * Self::ALL.0 as f64).round() as u64)
    }

    /// Bought volume out of `quantity` billionths.
    #[inline]
    pub(crate) fn of(self, quantity: u64) -> Fine {
        Fine(u128::from(self.0) * u128::from(quantity))
    }
}

/// A volume in 2^-48 billionths of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) struct Fine(pub(crate) u128);

impl Fine {
    /// A whole number of billionths.
    #[inline]
    pub(crate) fn whole(quantity: u64) -> Self {
        Share::ALL.of(quantity)
    }

    /// In units, rounded once to the nearest float and once by the division.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn to_units(self) -> f64 {
        self.0 as f64 / FINE_PER_UNIT
    }
}

/// The volume of a bucket: `whole` billionths and a fraction, so that bucket k ends at ⌊k·V⌋ exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketSize {
    pub(crate) whole: u64,
    pub(crate) remainder: u64,
    pub(crate) divisor: u64,
}

impl BucketSize {
    /// A whole number of billionths, at least one.
    pub(crate) fn whole(quantity: u128) -> Self {
        let largest = Quantity::MAX.nanos().unsigned_abs();
        let whole = u64::try_from(quantity).unwrap_or(largest).clamp(1, largest);
        Self { whole, remainder: 0, divisor: 1 }
    }

    /// `total ÷ parts`; absent when that is under a billionth or over the range of a quantity.
    pub(crate) fn ratio(total: u128, parts: u64) -> Option<Self> {
        let whole = u64::try_from(total.checked_div(u128::from(parts))?).ok()?;
        let remainder = u64::try_from(total % u128::from(parts)).ok()?;
        let legal = whole >= 1 && whole < Quantity::MAX.nanos().unsigned_abs();
        legal.then_some(Self { whole, remainder, divisor: parts })
    }

    /// The size of the next bucket; `carry` holds the fraction left by the earlier ones.
    pub(crate) fn next(&self, carry: &mut u64) -> u64 {
        debug_assert!(self.remainder < self.divisor || self.divisor == 1);
        let sum = u128::from(*carry) + u128::from(self.remainder);
        let over = sum >= u128::from(self.divisor);
        let left = if over { sum - u128::from(self.divisor) } else { sum };
        *carry = u64::try_from(left).unwrap_or(0);
        self.whole + u64::from(over)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn to_units(self) -> f64 {
        (self.whole as f64 + self.remainder as f64 / self.divisor as f64) / 1e9
    }
}

/// Where an instrument's bucket volume comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketVolumeSource {
    /// Not known yet: the first trades are being counted.
    Calibrating,
    /// An eighth of the volume of the first `calibration_trades` trades; in force until the first UTC day ends.
    Calibrated,
    /// The average daily volume of the last `average_days` days with trades ÷ `buckets_per_day`, for one UTC day.
    DailyAverage,
    /// Configured, or given with the request.
    Configured,
}

/// Calibration trades fill this many buckets, so that a short session fills the window too.
const CALIBRATION_BUCKETS: u128 = 8;

/// Decides the bucket volume in force, from trades that already happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketVolume {
    pub(crate) size: Option<BucketSize>,
    pub(crate) source: BucketVolumeSource,
    /// Volume of trades before a size was known.
    pub(crate) left_out: u128,
    calibration_left: u32,
    today: u128,
    /// Oldest first, at most `average_days`.
    days: Vec<u128>,
    average_days: u32,
    buckets_per_day: u32,
}

impl BucketVolume {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let size =
            configuration.bucket_volume.map(|v| BucketSize::whole(u128::from(v.nanos().unsigned_abs())));
        let source = size.map_or(BucketVolumeSource::Calibrating, |_| BucketVolumeSource::Configured);
        Self {
            size,
            source,
            left_out: 0,
            calibration_left: configuration.calibration_trades,
            today: 0,
            days: Vec::new(),
            average_days: configuration.average_days,
            buckets_per_day: configuration.buckets_per_day,
        }
    }

    /// A size that never changes.
    pub(crate) fn fixed(size: BucketSize, configuration: &Configuration) -> Self {
        Self { size: Some(size), source: BucketVolumeSource::Configured, ..Self::new(configuration) }
    }

    /// Trades still to be counted before a size is known.
    pub(crate) fn calibration_left(&self) -> u32 {
        if self.size.is_some() { 0 } else { self.calibration_left }
    }

    /// Counts a trade and says the size of the buckets it goes into: absent while calibrating.
    #[inline]
    pub(crate) fn trade(&mut self, quantity: u64) -> Option<BucketSize> {
        self.today += u128::from(quantity);
        if self.size.is_none() {
            self.calibrate(quantity);
            return None;
        }
        self.size
    }

    #[cold]
    fn calibrate(&mut self, quantity: u64) {
        self.left_out += u128::from(quantity);
        self.calibration_left = self.calibration_left.saturating_sub(1);
        if self.calibration_left == 0 {
            self.size = Some(BucketSize::whole(self.today / CALIBRATION_BUCKETS));
            self.source = BucketVolumeSource::Calibrated;
        }
    }

    /// A day with trades ended: fixes the size for the next.
    #[cold]
    pub(crate) fn end_day(&mut self) {
        if self.source == BucketVolumeSource::Configured {
            self.today = 0;
            return;
        }
        if self.days.len() >= self.average_days as usize {
            self.days.remove(0);
        }
        self.days.push(std::mem::take(&mut self.today));
        let parts = self.days.len() as u128 * u128::from(self.buckets_per_day);
        self.size = Some(BucketSize::whole(self.days.iter().sum::<u128>() / parts));
        self.source = BucketVolumeSource::DailyAverage;
    }

    /// Whether the parts of a restored state fit together.
    pub(crate) fn is_consistent(&self, configuration: &Configuration) -> bool {
        let size_fits =
            |s: BucketSize| (s.remainder, s.divisor) == (0, 1) && BucketSize::whole(s.whole.into()) == s;
        let volume_fits = |volume: u128| volume < 1 << 100;
        self.size.is_none_or(size_fits)
            && (self.average_days, self.buckets_per_day)
                == (configuration.average_days, configuration.buckets_per_day)
            && self.days.len() <= self.average_days as usize
            && self.days.iter().chain([&self.today, &self.left_out]).all(|&volume| volume_fits(volume))
    }
}
