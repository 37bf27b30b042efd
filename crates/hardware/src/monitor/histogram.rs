//! Times in fixed logarithmic buckets: four to each doubling, from 1 ns to an hour. Recording takes no lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Buckets per doubling.
const STEPS: u32 = 4;
/// Times above 2⁴² ns (73 minutes) count as that.
const LOG_MAX: u32 = 42;
const BUCKETS: usize = (LOG_MAX * STEPS) as usize + 1;

/// Counts times as they come.
#[derive(Debug)]
pub(crate) struct Recorder {
    buckets: [AtomicU64; BUCKETS],
    total_ns: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), total_ns: AtomicU64::new(0) }
    }
}

/// The bucket of a time: times below 4 ns have one each.
fn bucket(ns: u64) -> usize {
    let ns = ns.clamp(1, 1 << LOG_MAX);
    let log = ns.ilog2();
    let step = if log >= 2 { (ns >> (log - 2)) & 3 } else { (ns << (2 - log)) & 3 };
    (log * STEPS) as usize + step as usize
}

/// The first time that lies above a bucket.
fn upper_ns(bucket: usize) -> u64 {
    let (log, step) = (bucket as u32 / STEPS, bucket as u64 % u64::from(STEPS));
    ((u64::from(STEPS) + step + 1) << log) / u64::from(STEPS)
}

impl Recorder {
    pub(crate) fn record(&self, ns: u64) {
        self.buckets[bucket(ns)].fetch_add(1, Relaxed);
        self.total_ns.fetch_add(ns, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Relaxed)).collect();
        let count = counts.iter().sum();
        let quantile = |share: f64| {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rank = ((count as f64 * share).ceil() as u64).max(1);
            let mut seen = 0;
            let reached = counts.iter().position(|&count| {
                seen += count;
                seen >= rank
            });
            reached.map(upper_ns)
        };
        let buckets = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Histogram {
            count,
            total_ns: self.total_ns.load(Relaxed),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            buckets: buckets.map(|(at, &count)| (upper_ns(at), count)).collect(),
        }
    }
}

/// How long calls took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Histogram {
    /// How many.
    pub count: u64,
    /// Together.
    pub total_ns: u64,
    /// Half of them took no longer: the upper end of a bucket, at most a quarter too high.
    pub p50_ns: Option<u64>,
    /// All but one in a hundred took no longer.
    pub p99_ns: Option<u64>,
    /// The upper ends of the buckets that hold any, in order, and how many each holds.
    pub buckets: Vec<(u64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_a_bucket_no_wider_than_a_quarter() {
        for ns in (1..5_000).chain([1 << 20, (1 << 30) + 12_345, 1 << 41]) {
            let upper = upper_ns(bucket(ns));
            assert!(upper > ns || ns < 4, "{ns} {upper}");
            assert!(upper <= (ns * 5).div_ceil(4) + 1, "{ns} {upper}");
        }
        assert_eq!(bucket(0), bucket(1));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let recorder = Recorder::default();
        assert_eq!(recorder.snapshot(), Histogram::default());
        for ns in 1..=100 {
            recorder.record(ns * 1_000);
        }
        let histogram = recorder.snapshot();
        let (p50, p99) = (histogram.p50_ns.unwrap(), histogram.p99_ns.unwrap());
        assert!((50_000..=62_500).contains(&p50), "{p50}");
        assert!((99_000..=123_750).contains(&p99), "{p99}");
        assert_eq!((histogram.count, histogram.total_ns), (100, 5_050_000));
        assert_eq!(histogram.buckets.iter().map(|(_, count)| count).sum::<u64>(), 100);
    }
}
