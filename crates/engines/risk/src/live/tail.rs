//! The smallest of many numbers, without sorting them and without memory once there was room.
//!
//! The k-th smallest of the minima of disjoint groups is not below the k-th smallest number of all, because k groups have
//! one up to it: so it bounds the tail, and only groups whose minimum is up to it are looked at again.

use super::aligned::LINE;

/// Numbers of a group, the largest that leaves enough groups is taken.
const GROUPS: [usize; 3] = [16, 8, 4];
/// Groups for each of the numbers that are looked for: of four minima one is below the bound, which is then close.
const GROUPS_FOR_EACH: usize = 4;

/// Room that is used again.
#[derive(Debug, Default)]
pub(super) struct Tail {
    minima: Vec<f64>,
    sorted_minima: Vec<f64>,
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
        let groups = |group: usize| values.len() / (group * LINE) * LINE;
        let enough = |group: &&usize| groups(**group) >= GROUPS_FOR_EACH * k;
        match GROUPS.iter().find(enough) {
            Some(group) => self.keep_tail(values, k, *group),
            None => self.kept.extend_from_slice(values),
        }
        self.kept.select_nth_unstable_by(k - 1, f64::total_cmp);
        self.kept.truncate(k);
        self.kept.sort_unstable_by(f64::total_cmp);
        &self.kept
    }

    /// Keeps what is up to a bound of the k-th smallest number, in no certain order. Group g of a block is what stands in
    /// lane g of its lines, so that minima are taken line by line.
    fn keep_tail(&mut self, values: &[f64], k: usize, group: usize) {
        let blocks = values.chunks_exact(group * LINE);
        let rest = blocks.remainder();
        self.minima.clear();
        for block in blocks.clone() {
            self.minima.extend(lane_minima(block));
        }
        self.sorted_minima.clone_from(&self.minima);
        let (_, bound, _) = self.sorted_minima.select_nth_unstable_by(k - 1, f64::total_cmp);
        let bound = *bound;
        for (block, minima) in blocks.zip(self.minima.chunks_exact(LINE)) {
            for (lane, _) in minima.iter().enumerate().filter(|(_, minimum)| **minimum <= bound) {
                let lane = block.iter().skip(lane).step_by(LINE);
                self.kept.extend(lane.filter(|value| **value <= bound));
            }
        }
        self.kept.extend(rest.iter().filter(|value| **value <= bound));
    }
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

    proptest! {
        #[test]
        fn the_smallest_are_those_of_a_sort(
            values in prop::collection::vec(prop_oneof![-1e6..1e6f64, -3.0..3.0f64, Just(0.0), Just(-0.0)], 1..3_000),
            share in 0.0..1.0f64,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let mut tail = Tail::default();
            for k in [1, (values.len() as f64 * share * share * share) as usize + 1, values.len()] {
                let k = k.min(values.len());
                let found = tail.smallest(&values, k);
                // Zeros of both signs are one number: which of them are taken at the edge means nothing.
                prop_assert_eq!(found, &sorted[..k]);
            }
        }
    }
}
