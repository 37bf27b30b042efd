//! What the calls themselves teach: how far predictions are off for jobs of one class, and who fails.
//!
//! A choice changes only on evidence: another way must have been measured, and be a tenth faster. Ways that might be
//! are tried a bounded number of times.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What another way must undercut the present one by.
const HYSTERESIS: f64 = 0.9;
/// Ways predicted within this factor of the present one are worth a try.
const WORTH_A_TRY: f64 = 1.3;
/// One in this many timed calls may be a try.
const TRY_EVERY: u64 = 4;
/// Tries of one way before a class is settled; afterwards one more for every so many timed calls.
const TRIES: u64 = 10;
const TIMED_PER_TRY: u64 = 1_024;
/// The first timed calls generate code and touch new memory: they teach nothing.
const WARM_UP: u64 = 2;
/// From here on a way counts as measured.
const KNOWN: u64 = 4;
/// The weight of the newest time.
const NEWEST: f64 = 0.125;
/// A time that is further off than this factor counts as this far off: the machine did something else.
const OUTLIER: f64 = 2.0;

/// Failures in a row after which a backend is left out for a while.
const FAILURES: u32 = 3;
const BACK_OFF_NS: u64 = 1_000_000_000;
/// The back-off doubles at most this often, to 64 s.
const DOUBLINGS: u32 = 6;

/// One way to run a job: who, on how many cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Way {
    pub(crate) member: usize,
    pub(crate) workers: usize,
    pub(crate) predicted_ns: Option<f64>,
}

impl Way {
    fn is(&self, track: &Track) -> bool {
        (self.member, self.workers) == (track.member, track.workers)
    }
}

/// What is known of one way in one class.
#[derive(Debug, Clone, Copy)]
struct Track {
    member: usize,
    workers: usize,
    /// Timed calls, and of these tries.
    timed: u64,
    tried: u64,
    /// Measured over predicted.
    ratio: f64,
    last_ns: u64,
}

/// What is known of the jobs of one class.
#[derive(Debug, Default)]
pub(crate) struct Class {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tracks: Vec<Track>,
    timed: u64,
    /// Who runs them now.
    present: Option<(usize, usize)>,
    /// Members that broke on them.
    broken: Vec<(usize, Health)>,
}

impl State {
    fn track(&self, way: &Way) -> Option<&Track> {
        self.tracks.iter().find(|track| way.is(track))
    }

    fn track_mut(&mut self, way: &Way) -> &mut Track {
        let at = self.tracks.iter().position(|track| way.is(track)).unwrap_or_else(|| {
            let Way { member, workers, .. } = *way;
            self.tracks.push(Track { member, workers, timed: 0, tried: 0, ratio: 1.0, last_ns: 0 });
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }

    /// What a way takes by measurement.
    fn known_ns(&self, way: &Way) -> Option<f64> {
        let track = self.track(way).filter(|track| track.timed >= WARM_UP + KNOWN)?;
        Some(way.predicted_ns? * track.ratio)
    }

    /// The best of `ways`, which are in the order of preference.
    fn choose(&self, ways: &[Way]) -> usize {
        let present = ways.iter().position(|way| Some((way.member, way.workers)) == self.present);
        if let Some(present) = present
            && let Some(now) = self.known_ns(&ways[present])
        {
            let better = least(ways, |way| self.known_ns(way).filter(|&ns| ns < HYSTERESIS * now));
            return better.unwrap_or(present);
        }
        least(ways, |way| way.predicted_ns).unwrap_or(0)
    }
}

/// The position of the least value, where there is any.
fn least<T>(items: &[T], value: impl Fn(&T) -> Option<f64>) -> Option<usize> {
    let values = items.iter().enumerate().filter_map(|(at, item)| Some((at, value(item)?)));
    values.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
}

impl Class {
    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The best of `ways`, which must not be empty.
    pub(crate) fn choose(&self, ways: &[Way]) -> usize {
        self.locked().choose(ways)
    }

    /// Another way that is worth a try at this timed call, instead of `chosen`.
    pub(crate) fn try_instead(&self, ways: &[Way], chosen: usize) -> Option<usize> {
        let state = self.state.try_lock().ok()?;
        if state.timed % TRY_EVERY != TRY_EVERY - 1 {
            return None;
        }
        let limit = WORTH_A_TRY * state.known_ns(&ways[chosen])?;
        let allowed = TRIES + state.timed / TIMED_PER_TRY;
        let candidates = ways.iter().enumerate().filter(|(at, way)| {
            let tried = state.track(way).map_or(0, |track| track.tried);
            // Times may have been bad when it was tried, so the prediction speaks for it as well.
            let hoped =
                [state.known_ns(way), way.predicted_ns].into_iter().flatten().fold(f64::INFINITY, f64::min);
            *at != chosen && tried < allowed && hoped < limit
        });
        // The least known first.
        candidates.min_by_key(|(_, way)| state.track(way).map_or(0, |track| track.tried)).map(|(at, _)| at)
    }

    /// Takes note of a timed call of `ways[at]`; whether the choice is another one now.
    pub(crate) fn learn(&self, ways: &[Way], at: usize, chosen: usize, took_ns: u64) -> bool {
        let way = ways[at];
        // A timed call is not worth waiting for.
        let Ok(mut state) = self.state.try_lock() else { return false };
        state.timed += 1;
        let track = state.track_mut(&way);
        track.timed += 1;
        track.tried += u64::from(at != chosen);
        track.last_ns = took_ns;
        let Some(predicted) = way.predicted_ns.filter(|&predicted| predicted > 0.0) else { return false };
        #[allow(clippy::cast_precision_loss)]
        let ratio = (took_ns as f64 / predicted).max(1e-3);
        if track.timed <= WARM_UP + 1 {
            track.ratio = ratio;
        } else if track.timed <= WARM_UP + KNOWN {
            // What else the machine did in the first few only added.
            track.ratio = track.ratio.min(ratio);
        } else {
            let ratio = ratio.clamp(track.ratio / OUTLIER, track.ratio * OUTLIER);
            track.ratio += NEWEST * (ratio - track.ratio);
        }
        let now = state.choose(ways);
        state.present = Some((ways[now].member, ways[now].workers));
        now != chosen
    }

    /// Takes note of a timed call, for people only.
    pub(crate) fn note(&self, way: &Way, took_ns: u64) {
        if let Ok(mut state) = self.state.try_lock() {
            state.track_mut(way).last_ns = took_ns;
        }
    }

    /// A member broke on a job of this class; when it is left out for it, until when.
    pub(crate) fn failed(&self, member: usize, now_ns: u64) -> Option<u64> {
        let mut state = self.locked();
        if !state.broken.iter().any(|(broken, _)| *broken == member) {
            state.broken.push((member, Health::default()));
        }
        state.broken.iter().find(|(broken, _)| *broken == member)?.1.failed(now_ns)
    }

    /// A member did a job of this class.
    pub(crate) fn succeeded(&self, member: usize) {
        if let Ok(mut state) = self.state.try_lock() {
            state.broken.retain(|(broken, _)| *broken != member);
        }
    }

    /// Until when a member is left out of jobs of this class.
    pub(crate) fn out_until_ns(&self, member: usize, now_ns: u64) -> Option<u64> {
        let state = self.locked();
        state.broken.iter().find(|(broken, _)| *broken == member)?.1.out_until_ns(now_ns)
    }

    /// What the newest timed call took.
    pub(crate) fn last_ns(&self, way: &Way) -> Option<u64> {
        self.locked().track(way).map(|track| track.last_ns)
    }
}

/// How a backend has been doing.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: AtomicU32,
    out_until_ns: AtomicU64,
}

impl Health {
    /// Takes note of a failure; when the backend is left out for it, until when.
    pub(crate) fn failed(&self, now_ns: u64) -> Option<u64> {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let doublings = failures.checked_sub(FAILURES)?.min(DOUBLINGS);
        let until = now_ns.saturating_add(BACK_OFF_NS << doublings);
        self.out_until_ns.store(until, Relaxed);
        Some(until)
    }

    /// Takes note of a success; costs one read while all is well.
    #[inline]
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.out_until_ns.store(0, Relaxed);
        }
    }

    /// Until when it is left out.
    pub(crate) fn out_until_ns(&self, now_ns: u64) -> Option<u64> {
        Some(self.out_until_ns.load(Relaxed)).filter(|&until| until > now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(predictions: &[f64]) -> Vec<Way> {
        let way = |(member, &ns): (usize, &f64)| Way { member, workers: 1, predicted_ns: Some(ns) };
        predictions.iter().enumerate().map(way).collect()
    }

    /// Runs `calls` timed calls of jobs that take `costs`; how often each way was run, and how often the choice changed.
    fn play(class: &Class, ways: &[Way], costs: &[f64], calls: usize) -> (Vec<usize>, usize) {
        let (mut ran, mut changes) = (vec![0; ways.len()], 0);
        let mut chosen = class.choose(ways);
        for _ in 0..calls {
            let at = class.try_instead(ways, chosen).unwrap_or(chosen);
            ran[at] += 1;
            if class.learn(ways, at, chosen, costs[at] as u64) {
                chosen = class.choose(ways);
                changes += 1;
            }
        }
        (ran, changes)
    }

    #[test]
    fn the_best_prediction_stands_while_it_holds_and_hopeless_ways_are_never_tried() {
        let (class, ways) = (Class::default(), ways(&[1_000.0, 1_200.0, 5_000.0]));
        let (ran, changes) = play(&class, &ways, &[1_000.0, 1_200.0, 5_000.0], 1_000);
        assert_eq!(changes, 0);
        assert!(ran[1] <= 10 && ran[2] == 0, "{ran:?}");
    }

    #[test]
    fn a_wrong_prediction_is_found_out_and_a_tenth_is_needed_to_change() {
        let (class, two) = (Class::default(), ways(&[1_000.0, 1_100.0]));
        let (ran, changes) = play(&class, &two, &[1_000.0, 700.0], 400);
        assert_eq!(changes, 1);
        assert!(ran[1] > 300, "{ran:?}");
        let class = Class::default();
        let (_, changes) = play(&class, &two, &[1_000.0, 950.0], 4_000);
        assert_eq!(changes, 0, "five percent do not change a choice");
    }

    #[test]
    fn a_way_that_becomes_slow_is_left_and_choices_do_not_flap() {
        let (class, two) = (Class::default(), ways(&[1_000.0, 1_500.0]));
        play(&class, &two, &[1_000.0, 1_500.0], 100);
        assert_eq!(class.choose(&two), 0);
        let (_, changes) = play(&class, &two, &[4_000.0, 1_500.0], 200);
        assert_eq!((changes, class.choose(&two)), (1, 1));
        // Times that change by turns within the hysteresis move nothing.
        let mut changes = 0;
        for turn in 0..200 {
            let costs = if turn % 2 == 0 { [1_600.0, 1_500.0] } else { [1_450.0, 1_550.0] };
            changes += play(&class, &two, &costs, 5).1;
        }
        assert_eq!(changes, 0);
    }

    #[test]
    fn one_outlier_changes_nothing() {
        let (class, two) = (Class::default(), ways(&[1_000.0, 1_050.0]));
        play(&class, &two, &[1_000.0, 1_050.0], 200);
        assert!(!class.learn(&two, 0, 0, 1_000_000_000));
        assert_eq!(class.choose(&two), 0);
    }

    #[test]
    fn without_predictions_the_order_stands() {
        let class = Class::default();
        let unknown: Vec<Way> = (0..3).map(|member| Way { member, workers: 1, predicted_ns: None }).collect();
        let (ran, changes) = play(&class, &unknown, &[9_000.0, 1.0, 1.0], 50);
        assert_eq!((ran, changes), (vec![50, 0, 0], 0));
        assert_eq!(class.last_ns(&unknown[0]), Some(9_000));
        assert_eq!(class.last_ns(&unknown[1]), None);
    }

    #[test]
    fn failures_in_a_row_sideline_for_a_bounded_and_growing_while() {
        let health = Health::default();
        assert_eq!((health.failed(0), health.failed(0), health.failed(0)), (None, None, Some(BACK_OFF_NS)));
        assert_eq!(health.out_until_ns(BACK_OFF_NS - 1), Some(BACK_OFF_NS));
        assert_eq!(health.out_until_ns(BACK_OFF_NS), None);
        assert_eq!(health.failed(0), Some(2 * BACK_OFF_NS));
        for _ in 0..100 {
            health.failed(0);
        }
        assert_eq!(health.failed(0), Some(64 * BACK_OFF_NS));
        health.succeeded();
        assert_eq!((health.out_until_ns(1), health.failed(0)), (None, None));
    }
}
