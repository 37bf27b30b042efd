//! Contests: the same work done by several contestants, in rounds.
//!
//! On a virtual machine two runs of one program differ by up to two times, so contestants are never measured one
//! after the other: every round runs each of them once, and ratios are taken within a round. It decides no winner.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use rustix::time::{ClockId, clock_gettime};

use crate::Figures;

type Run<'a> = Box<dyn FnMut() -> Duration + 'a>;

/// Work of a known number of events, and who does it.
pub struct Contest<'a> {
    name: &'static str,
    events: u64,
    contestants: Vec<(&'static str, Run<'a>)>,
}

impl<'a> Contest<'a> {
    /// A contest without contestants; one run of each is `events` events.
    #[must_use]
    pub fn new(name: &'static str, events: usize) -> Self {
        Self { name, events: events as u64, contestants: Vec::new() }
    }

    /// Adds a contestant: `run` does the work once and returns how long the part that counts took.
    #[must_use]
    pub fn enter(mut self, name: &'static str, run: impl FnMut() -> Duration + 'a) -> Self {
        self.contestants.push((name, Box::new(run)));
        self
    }

    /// Runs everyone once per round, in turns, after one round that does not count. Answers nanoseconds per event,
    /// in the order of entering.
    pub fn race(&mut self, rounds: usize) -> Vec<Figures> {
        let entered = self.contestants.len();
        let mut figures = vec![Figures::default(); entered];
        for round in 0..=rounds {
            for turn in 0..entered {
                let who = (round + turn) % entered;
                let took = self.contestants[who].1();
                if round > 0 {
                    figures[who].push(took.as_nanos() as f64 / self.events as f64);
                }
            }
        }
        figures
    }

    /// Hands every contestant to criterion, which watches for changes between runs.
    pub fn criterion(&mut self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group(self.name);
        group.throughput(Throughput::Elements(self.events)).sampling_mode(SamplingMode::Flat);
        group.sample_size(10);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1_200));
        for (name, run) in &mut self.contestants {
            group.bench_function(*name, |bencher| {
                bencher.iter_custom(|iterations| (0..iterations).map(|_| run()).sum());
            });
        }
        group.finish();
    }
}

/// How long `work` takes; what it makes is dropped after the clock has stopped.
pub fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let made = black_box(work());
    let took = start.elapsed();
    drop(made);
    took
}

/// Processor time of this thread in seconds, which other work on the machine hardly changes, and what was made.
pub fn processor_time<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let begin = now();
    let made = work();
    (now() - begin, made)
}

/// The nearest-rank percentile; `share` from 0 to 1. Sorts.
///
/// # Panics
/// Without samples.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    assert!(!samples.is_empty(), "a percentile needs samples");
    samples.sort_unstable_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * share).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contestants_take_turns() {
        let order = std::cell::RefCell::new(Vec::new());
        let run = |name: &'static str, nanos| {
            let order = &order;
            move || {
                order.borrow_mut().push(name);
                Duration::from_nanos(nanos)
            }
        };
        let figures = Contest::new("c", 10).enter("a", run("a", 50)).enter("b", run("b", 100)).race(2);
        assert_eq!(*order.borrow(), ["a", "b", "b", "a", "a", "b"]);
        assert_eq!(figures.iter().map(Figures::median).collect::<Vec<_>>(), [5.0, 10.0]);
    }

    #[test]
    fn percentiles_are_samples() {
        for (share, expected) in [(0.0, 1.0), (0.5, 3.0), (0.99, 5.0), (1.0, 5.0)] {
            assert_eq!(percentile(&mut [5.0, 1.0, 4.0, 2.0, 3.0], share), expected);
        }
    }
}
