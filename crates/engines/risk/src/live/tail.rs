//! The smallest of many numbers, without sorting them and without memory once there was room.
//!
//! A bound that at least k numbers reach leaves few to select from. For short tails it is the k-th smallest of the minima
//! of disjoint groups: k groups have a number up to it, and only groups whose minimum is up to it are looked at again. For
//! longer ones it is taken from a sample, and how many numbers are up to it is counted; all are kept if they are too few.

use super::aligned::LINE;

/// Numbers of a group, and groups for each of the numbers that are looked for: so the bound is close.
const GROUP: usize = 16;
const GROUPS_FOR_EACH: usize = 4;
/// Every so many-th number is in the sample.
const SAMPLED: usize = 32;

/// Room that is used again.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Minima of groups, or a sample.
    few: Vec<f64>,
    ordered: Vec<f64>,
    kept: Vec<f64>,
}

/// How many of n scenarios are the tail: ⌈n·(1 − confidence)⌉ and 1 at least. What is a whole number but for the rounding
/// of the confidence, as 1000·(1 − 0.99), is taken for it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub(super) fn tail_count(n: usize, confidence: f64) -> usize {
    let exact = n as f64 * (1.0 - confidence);
    let nearest = exact.round();
    let count = if (exact - nearest).abs() <= 4.0 * f64::EPSILON * n as f64 { nearest } else { exact.ceil() };
    (count as usize).clamp(1, n.max(1))
}

impl Tail {
    /// The k smallest numbers, ascending; all if there are not so many. None may be NaN.
    pub(super) fn smallest(&mut self, values: &[f64], k: usize) -> &[f64] {
        let k = k.min(values.len());
        self.kept.clear();
        if k == 0 {
            return &self.kept;
        }
        if values.len() / (GROUP * LINE) * LINE >= GROUPS_FOR_EACH * k {
            self.keep_by_groups(values, k);
        } else {
            self.keep_by_sample(values, k);
        }
        self.kept.select_nth_unstable_by(k - 1, f64::total_cmp);
        self.kept.truncate(k);
        self.kept.sort_unstable_by(f64::total_cmp);
        &self.kept
    }

    /// Keeps what is up to the bound of the groups. Group g of a block is what stands in lane g of its lines, so that
    /// minima are taken line by line.
    fn keep_by_groups(&mut self, values: &[f64], k: usize) {
        let blocks = values.chunks_exact(GROUP * LINE);
        let rest = blocks.remainder();
        self.few.clear();
        for block in blocks.clone() {
            self.few.extend(lane_minima(block));
        }
        self.ordered.clone_from(&self.few);
        let bound = nth(&mut self.ordered, k - 1);
        for (block, minima) in blocks.zip(self.few.chunks_exact(LINE)) {
            for (lane, _) in minima.iter().enumerate().filter(|(_, minimum)| **minimum <= bound) {
                let lane = block.iter().skip(lane).step_by(LINE);
                self.kept.extend(lane.filter(|value| **value <= bound));
            }
        }
        self.kept.extend(rest.iter().filter(|value| **value <= bound));
    }

    /// Keeps what is up to the bound of a sample, or everything.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn keep_by_sample(&mut self, values: &[f64], k: usize) {
        self.few.clear();
        self.few.extend(values.iter().step_by(SAMPLED));
        // So many of the sample are in the tail on average, and hardly ever more than three deviations above.
        let average = k as f64 / SAMPLED as f64;
        let place = (average + 3.0 * average.sqrt() + 2.0) as usize;
        if place < self.few.len() {
            let bound = nth(&mut self.few, place);
            self.kept.resize(values.len(), 0.0);
            let mut count = 0;
            // Without a branch: which numbers are up to the bound cannot be predicted.
            for value in values {
                self.kept[count] = *value;
                count += usize::from(*value <= bound);
            }
            self.kept.truncate(count);
        }
        if self.kept.len() < k {
            self.kept.clear();
            self.kept.extend_from_slice(values);
        }
    }
}

fn nth(values: &mut [f64], place: usize) -> f64 {
    *values.select_nth_unstable_by(place, f64::total_cmp).1
}

/// The minimum of each lane of some lines.
fn lane_minima(block: &[f64]) -> [f64; LINE] {
    let mut minima = [f64::INFINITY; LINE];
    for line in block.chunks_exact(LINE) {
        for (minimum, value) in minima.iter_mut().zip(line) {
            *minimum = if value < minimum { *value } else { *minimum };
        }
    }
    minima
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_tail_is_the_least_share_of_at_least_one_minus_the_confidence() {
        // As many as numpy.quantile(x, 1 - confidence, method="inverted_cdf") has at or below it.
        for (n, confidence, count) in [
            (1_000, 0.99, 10),
            (1_000, 0.975, 25),
            (1_001, 0.99, 11),
            (250, 0.99, 3),
            (500, 0.999, 1),
            (100, 0.95, 5),
            (10, 0.9, 1),
            (7, 0.5, 4),
            (1, 0.99, 1),
            (3, 1e-12, 3),
        ] {
            assert_eq!(tail_count(n, confidence), count, "{n} {confidence}");
        }
        // Whatever the rounding of 1 - confidence: per mille of thousands are whole numbers.
        for mille in 1..1_000 {
            assert_eq!(tail_count(4_000, 1.0 - f64::from(mille) / 1_000.0), 4 * mille as usize, "{mille}");
        }
    }

    /// Numbers with many ties, or with none.
    fn numbers(seed: u64, count: usize, step: f64) -> Vec<f64> {
        let number = |at: u64| {
            let bits = (seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let number = (bits >> 12) as f64 / (1_u64 << 51) as f64 - 1.0;
            if step > 0.0 { (number / step).round() * step } else { number }
        };
        (0..count as u64).map(number).collect()
    }

    proptest! {
        #[test]
        fn the_smallest_are_those_of_a_sort(
            seed in any::<u64>(),
            count in 1usize..3_000,
            step in prop_oneof![Just(0.0), Just(0.25), Just(0.01)],
            share in 0.0..1.0f64,
        ) {
            let values = numbers(seed, count, step);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let mut tail = Tail::default();
            for k in [1, (count as f64 * share * share * share) as usize + 1, count] {
                // Zeros of both signs are one number: which of them are taken at the edge means nothing.
                prop_assert_eq!(tail.smallest(&values, k), &sorted[..k]);
            }
        }
    }
}
