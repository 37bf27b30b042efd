//! Cuts one stream of classified volume into buckets and computes VPIN over the newest of them.
//!
//! It does not know how volume was classified, nor what a trade or a price is.

use std::collections::VecDeque;

use nautilus_messages::mesh::ToxicityLevel;
use nautilus_types::UnixNanos;
use serde::{Deserialize, Serialize};

use crate::Configuration;
use crate::configuration::WINDOW_MAX;
use crate::ranks::{RANK_WINDOW, Ranks};
use crate::volume::{BucketSize, Fine, Share};

/// Earlier VPIN values needed before a level is stated: with fewer their distribution says little.
pub(crate) const LEVEL_RANKS_MIN: usize = 20;

/// One volume completes at most this many buckets one by one. Those it completes beyond are all alike and are only
/// numbered: by then the window, the distribution and the history hold nothing but such buckets.
const ONE_BY_ONE_MAX: u32 = 16_384;
const _: () = assert!(ONE_BY_ONE_MAX as usize > WINDOW_MAX as usize + RANK_WINDOW);

/// A completed bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) number: u64,
    pub(crate) ts_close: UnixNanos,
    pub(crate) size: u64,
    pub(crate) buy: Fine,
    pub(crate) vpin: Option<f64>,
    pub(crate) cdf: Option<f64>,
    pub(crate) level: Option<ToxicityLevel>,
    /// The level before, where it is another one; before any level was stated it counts as low.
    pub(crate) crossed_from: Option<ToxicityLevel>,
}

impl Bucket {
    pub(crate) fn sell(&self) -> Fine {
        Fine(Fine::whole(self.size).0 - self.buy.0)
    }
}

/// The newest n buckets and their sums.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u128)>", into = "Vec<(u64, u128)>")]
struct Window {
    /// Size and |buy − sell|.
    buckets: VecDeque<(u64, u128)>,
    volume: u128,
    imbalance: u128,
}

impl Window {
    fn push(&mut self, size: u64, imbalance: u128, length: usize) {
        while self.buckets.len() >= length.max(1) {
            let Some((old_size, old_imbalance)) = self.buckets.pop_front() else { break };
            self.volume -= u128::from(old_size);
            self.imbalance -= old_imbalance;
        }
        self.buckets.push_back((size, imbalance));
        self.volume += u128::from(size);
        self.imbalance += imbalance;
    }

    /// Σ|buy − sell| / Σ volume; n·V where the bucket volume did not change within the window.
    #[allow(clippy::cast_precision_loss)]
    fn vpin(&self, length: usize) -> Option<f64> {
        let volume = self.volume * Fine::whole(1).0;
        (self.buckets.len() == length).then(|| self.imbalance as f64 / volume as f64)
    }
}

impl From<Vec<(u64, u128)>> for Window {
    fn from(buckets: Vec<(u64, u128)>) -> Self {
        let mut window = Self::default();
        for (size, imbalance) in buckets {
            let size = size & (u64::MAX >> 1);
            window.push(size, imbalance.min(Fine::whole(size).0), WINDOW_MAX as usize);
        }
        window
    }
}

impl From<Window> for Vec<(u64, u128)> {
    fn from(window: Window) -> Self {
        window.buckets.into()
    }
}

/// A stream of classified volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// Size of the bucket in progress, zero between buckets.
    size: u64,
    filled: u64,
    buy: Fine,
    carry: u64,
    completed: u64,
    window: Window,
    window_length: u32,
    moderate_above: f64,
    high_above: f64,
    ranks: Ranks,
    level: Option<ToxicityLevel>,
    latest: Option<Bucket>,
}

impl Lane {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        Self {
            size: 0,
            filled: 0,
            buy: Fine::default(),
            carry: 0,
            completed: 0,
            window: Window::default(),
            window_length: configuration.window,
            moderate_above: configuration.moderate_above,
            high_above: configuration.high_above,
            ranks: Ranks::default(),
            level: None,
            latest: None,
        }
    }

    /// Adds the volume of one trade; `completed` hears of every bucket that it fills.
    #[inline]
    pub(crate) fn add(
        &mut self,
        quantity: u64,
        share: Share,
        size: &BucketSize,
        ts: UnixNanos,
        completed: &mut impl FnMut(&Bucket),
    ) {
        if quantity < self.size - self.filled {
            self.filled += quantity;
            self.buy.0 += share.of(quantity).0;
        } else {
            self.fill(u128::from(quantity), share, size, ts, completed);
        }
    }

    /// Adds a volume of any size. A bucket keeps the size that was in force when it began.
    pub(crate) fn fill(
        &mut self,
        volume: u128,
        share: Share,
        size: &BucketSize,
        ts: UnixNanos,
        completed: &mut impl FnMut(&Bucket),
    ) {
        let (mut left, mut one_by_one) = (volume, 0);
        while left > 0 {
            if self.size == 0 {
                self.size = size.next(&mut self.carry);
            }
            let room = self.size - self.filled;
            let part = u64::try_from(left).unwrap_or(u64::MAX).min(room);
            self.filled += part;
            self.buy.0 += share.of(part).0;
            left -= u128::from(part);
            if part == room {
                completed(&self.complete(ts));
                one_by_one += 1;
            }
            if one_by_one == ONE_BY_ONE_MAX && size.divisor == 1 {
                let alike = left / u128::from(size.whole);
                left %= u128::from(size.whole);
                self.completed = self.completed.saturating_add(u64::try_from(alike).unwrap_or(u64::MAX));
            }
        }
    }

    fn complete(&mut self, ts_close: UnixNanos) -> Bucket {
        assert!(self.filled == self.size, "a bucket is completed when it is full");
        let whole = Fine::whole(self.size);
        assert!(self.buy <= whole, "no bucket holds more bought volume than volume");
        let length = self.window_length as usize;
        self.window.push(self.size, (self.buy.0 * 2).abs_diff(whole.0), length);
        let vpin = self.window.vpin(length);
        let rank = vpin.and_then(|v| self.ranks.rank(v));
        let (cdf, before) = (rank.map(|r| r.not_above), self.level);
        if let Some(rank) = rank.filter(|r| r.earlier >= LEVEL_RANKS_MIN) {
            self.level = Some(self.level_of(rank.below));
        }
        let previous = before.unwrap_or(ToxicityLevel::Low);
        let crossed_from = self.level.filter(|now| *now != previous).map(|_| previous);
        self.completed = self.completed.saturating_add(1);
        let (number, size, buy, level) = (self.completed, self.size, self.buy, self.level);
        let bucket = Bucket { number, ts_close, size, buy, vpin, cdf, level, crossed_from };
        (self.size, self.filled, self.buy) = (0, 0, Fine::default());
        self.latest = Some(bucket);
        bucket
    }

    /// By the share of earlier values strictly below: a VPIN that never moves is not toxic, though its cdf is one.
    fn level_of(&self, below: f64) -> ToxicityLevel {
        if below > self.high_above {
            ToxicityLevel::High
        } else if below > self.moderate_above {
            ToxicityLevel::Moderate
        } else {
            ToxicityLevel::Low
        }
    }

    pub(crate) fn latest(&self) -> Option<&Bucket> {
        self.latest.as_ref()
    }

    /// Size, filled part and bought part of the bucket in progress.
    pub(crate) fn partial(&self) -> (u64, u64, Fine) {
        (self.size, self.filled, self.buy)
    }

    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    /// Whether the parts of a restored lane fit together.
    pub(crate) fn is_consistent(&self, configuration: &Configuration) -> bool {
        let largest = u64::MAX >> 1;
        self.size <= largest
            && (self.filled < self.size || (self.size, self.filled) == (0, 0))
            && self.buy <= Fine::whole(self.filled)
            && self.window_length == configuration.window
            && self.window.buckets.len() <= self.window_length as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn completed(parts: &[(u64, u64)], size: BucketSize, window: u32) -> Vec<Bucket> {
        let mut lane = Lane::new(&Configuration { window, ..Configuration::default() });
        let mut buckets = Vec::new();
        for &(quantity, share) in parts {
            let share = Share::nearest(share as f64 / 1_000.0);
            lane.add(quantity, share, &size, UnixNanos(0), &mut |bucket| buckets.push(*bucket));
        }
        let encoded = postcard::to_allocvec(&lane).unwrap();
        assert_eq!(postcard::from_bytes::<Lane>(&encoded).unwrap(), lane);
        buckets
    }

    /// Bought volume of the first `volume` billionths: the piecewise-linear function, walked from the start.
    fn bought_until(parts: &[(u64, u64)], volume: u128) -> u128 {
        let (mut seen, mut bought) = (0, 0);
        for &(quantity, share) in parts {
            let part = u128::from(quantity).min(volume - seen);
            let fine_share = (share as f64 / 1_000.0 * (1u64 << 48) as f64).round() as u128;
            bought += part * fine_share;
            seen += part;
        }
        bought
    }

    /// Bucket k lies between ⌊(k−1)·V⌋ and ⌊k·V⌋ of the cumulative volume; VPIN is summed anew for each.
    fn by_the_book(parts: &[(u64, u64)], total: u128, divisor: u64, window: usize) -> Vec<(u128, f64)> {
        let volume: u128 = parts.iter().map(|p| u128::from(p.0)).sum();
        let boundary = |k: u128| k * total / u128::from(divisor);
        let mut rows: Vec<(u128, u128, u128)> = Vec::new();
        for k in 1.. {
            let (from, to) = (boundary(k - 1), boundary(k));
            if to > volume {
                break;
            }
            let buy = bought_until(parts, to) - bought_until(parts, from);
            rows.push((buy, (2 * buy).abs_diff((to - from) << 48), (to - from) << 48));
        }
        let vpin = |n: usize| {
            let rows = &rows[(n + 1).saturating_sub(window)..=n];
            let [imbalance, volume] =
                [rows.iter().map(|r| r.1).sum(), rows.iter().map(|r| r.2).sum::<u128>()];
            if rows.len() < window { f64::NAN } else { imbalance as f64 / volume as f64 }
        };
        (0..rows.len()).map(|n| (rows[n].0, vpin(n))).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_exact_fractions(
            parts in prop::collection::vec((1u64..5_000, 0u64..=1_000), 1..120),
            total in 1_000u128..20_000,
            divisor in 1u64..40,
            window in 1u32..9,
        ) {
            let size = BucketSize::ratio(total, divisor).unwrap();
            let got = completed(&parts, size, window);
            let expected = by_the_book(&parts, total, divisor, window as usize);
            prop_assert_eq!(got.len(), expected.len());
            for (bucket, (buy, vpin)) in got.iter().zip(expected) {
                prop_assert_eq!(bucket.buy.0, buy);
                prop_assert_eq!(bucket.vpin.unwrap_or(f64::NAN).to_bits(), vpin.to_bits());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn numbering_alike_buckets_is_completing_them(extra in 0u64..3_000, share in 0u64..=1_000) {
            let many = u64::from(ONE_BY_ONE_MAX) * 7 + extra;
            let at_once = completed(&[(2, 0), (many, share), (50, 900)], BucketSize::whole(7), 5);
            let piece = 7 * 1_000;
            let mut pieces = vec![(2, 0)];
            pieces.extend((0..many / piece).map(|_| (piece, share)));
            pieces.extend([(many % piece, share), (50, 900)]);
            let piecewise = completed(&pieces, BucketSize::whole(7), 5);
            prop_assert_eq!(at_once.last(), piecewise.last());
        }
    }

    #[test]
    fn levels_need_earlier_values_and_cross_once() {
        // Every bucket a little more one-sided than the last: each VPIN is the highest so far.
        let parts: Vec<(u64, u64)> = (0..40).map(|n| (100, 500 + n)).collect();
        let buckets = completed(&parts, BucketSize::whole(100), 1);
        let crossed: Vec<_> =
            buckets.iter().filter_map(|b| Some((b.number, b.crossed_from?, b.level?))).collect();
        assert_eq!(crossed, [(21, ToxicityLevel::Low, ToxicityLevel::High)]);
        assert_eq!((buckets[0].cdf, buckets[1].cdf), (None, Some(1.0)));
        assert_eq!((buckets[19].level, buckets[20].level), (None, Some(ToxicityLevel::High)));
    }

    #[test]
    fn a_vpin_that_never_moves_is_not_toxic() {
        for share in [0, 500, 1_000] {
            let buckets = completed(&vec![(100, share); 60], BucketSize::whole(100), 3);
            assert!(buckets.iter().all(|b| b.crossed_from.is_none()));
            let last = buckets.last().unwrap();
            assert_eq!((last.cdf, last.level), (Some(1.0), Some(ToxicityLevel::Low)));
        }
    }
}
