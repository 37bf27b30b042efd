//! A topic and the paces it comes at: each lane merges what happens within its interval and keeps what clients have
//! not fetched yet. Clients fetch for themselves; a lane only rings their bells, so nobody waits for anybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nautilus_engine_websocket::{Change, EVENTS_MAX, Publication, Topic};
use nautilus_types::UnixNanos;

use crate::client::Tap;
use crate::history::{Budget, History, Snapshot, Update};

/// The pace of clients that were too slow for theirs.
pub(crate) const SLOW_MS: u16 = 250;
/// The paces of conflated lanes.
pub(crate) const PACES: [u16; 10] = [10, 20, 50, 100, 200, SLOW_MS, 500, 1_000, 2_000, 5_000];
/// A snapshot that lies more updates back is not worth being brought up to date.
const BRIDGE_MAX: usize = 64;

/// Clients of a lane; replaced as a whole, so that they can be rung outside of the lock.
type Taps = Arc<Vec<Arc<Tap>>>;

/// A topic.
#[derive(Debug)]
pub(crate) struct TopicLanes {
    pub(crate) topic: Topic,
    pub(crate) name: String,
    pub(crate) epoch: u64,
    /// The number of the newest publication; zero before the first.
    newest: AtomicU64,
    /// The engine has published it, or is about to: from then on it stays.
    published: AtomicBool,
    state: Mutex<State>,
    budget: Arc<Budget>,
    /// Held by whoever asks the engine for a snapshot: one question for many clients.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Every publication as it comes.
    full: Lane,
    /// Those that somebody listens to.
    conflated: Vec<Lane>,
    snapshot: Option<Arc<Snapshot>>,
}

#[derive(Debug, Default)]
struct Lane {
    every_ms: u16,
    history: History,
    /// The number after everything in the history: from here the next update goes on.
    position: u64,
    pending: Option<Pending>,
    taps: Taps,
}

/// What happened since a conflated lane's last update.
#[derive(Debug)]
struct Pending {
    seq: u64,
    ts: UnixNanos,
    change: Arc<Change>,
    published: Instant,
}

/// What a publication asks of others.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Whose bells are to be rung.
    pub(crate) taps: Taps,
    /// Paces that have something to send now and had nothing before.
    pub(crate) due: Vec<u16>,
}

/// What there was to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Nothing is missing.
    Nothing,
    /// So many updates are missing; the first of them were handed over.
    Updates(usize),
    /// What is missing is no longer kept.
    Lost,
}

impl TopicLanes {
    pub(crate) fn new(topic: Topic, epoch: u64, budget: Arc<Budget>) -> Self {
        Self {
            topic,
            name: topic.to_string(),
            epoch,
            newest: AtomicU64::new(0),
            published: AtomicBool::new(false),
            state: Mutex::default(),
            budget,
            asking: tokio::sync::Mutex::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest publication.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Relaxed)
    }

    /// The topic stays, whoever listens.
    pub(crate) fn stay(&self) {
        self.published.store(true, Relaxed);
    }

    /// Whether anybody needs the topic.
    pub(crate) fn is_needed(&self) -> bool {
        self.published.load(Relaxed) || self.counts().0 > 0
    }

    /// Updates that wait for a client, or how many events it is behind when some of them are gone.
    pub(crate) fn waiting(&self, every_ms: u16, seq: u64) -> u64 {
        match self.fetch(every_ms, seq, 0, &mut Vec::new()) {
            Fetched::Nothing => 0,
            Fetched::Updates(waiting) => waiting as u64,
            Fetched::Lost => self.newest().saturating_sub(seq),
        }
    }

    /// Clients and updates kept.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let conflated: usize = state.conflated.iter().map(|lane| lane.taps.len()).sum();
        (state.full.taps.len() + conflated, state.full.history.len())
    }

    /// Takes in what the engine published. The caller rings the bells.
    pub(crate) fn publish(&self, publication: &Publication, now: Instant) -> Published {
        let Publication { seq, prev_seq, ts, change, .. } = publication;
        let mut state = self.state();
        let State { full, conflated, .. } = &mut *state;
        self.newest.store(*seq, Relaxed);
        full.position = *seq;
        full.history.push(Update::new((*prev_seq, *seq), *ts, Arc::clone(change), now), &self.budget);
        let mut due = Vec::new();
        for lane in conflated {
            match &lane.pending {
                None => due.push(lane.every_ms),
                // The interval has several updates then; none of its events is left out.
                Some(pending) if pending.change.events() + change.events() > EVENTS_MAX => {
                    lane.close_interval(&self.budget);
                }
                Some(_) => {}
            }
            lane.merge(publication, now);
        }
        Published { taps: Arc::clone(&full.taps), due }
    }

    /// Closes a pace's interval and returns whose bells are to be rung.
    pub(crate) fn flush(&self, every_ms: u16) -> Taps {
        let mut state = self.state();
        let Some(lane) = state.conflated.iter_mut().find(|lane| lane.every_ms == every_ms) else {
            return Taps::default();
        };
        if lane.close_interval(&self.budget) { Arc::clone(&lane.taps) } else { Taps::default() }
    }

    /// Rings everybody who listens, at whatever pace.
    pub(crate) fn ring_all(&self) {
        let taps: Vec<Taps> = {
            let state = self.state();
            std::iter::once(&state.full).chain(&state.conflated).map(|lane| Arc::clone(&lane.taps)).collect()
        };
        taps.iter().flat_map(|taps| taps.iter()).for_each(Tap::ring);
    }

    /// Adds a client; its lane is there from now on.
    pub(crate) fn attach(&self, tap: &Arc<Tap>) {
        let mut state = self.state();
        let position = state.full.position;
        let every_ms = tap.every_ms;
        let lane = match state.conflated.iter().position(|lane| lane.every_ms == every_ms) {
            _ if every_ms == 0 => &mut state.full,
            Some(at) => &mut state.conflated[at],
            None => {
                state.conflated.push(Lane { every_ms, position, ..Lane::default() });
                let last = state.conflated.len() - 1;
                &mut state.conflated[last]
            }
        };
        Arc::make_mut(&mut lane.taps).push(Arc::clone(tap));
    }

    /// Removes a client, with its lane when it was the last there.
    pub(crate) fn detach(&self, tap: &Arc<Tap>) {
        let mut state = self.state();
        let State { full, conflated, snapshot } = &mut *state;
        for lane in std::iter::once(&mut *full).chain(conflated.iter_mut()) {
            if let Some(at) = lane.taps.iter().position(|other| Arc::ptr_eq(other, tap)) {
                Arc::make_mut(&mut lane.taps).swap_remove(at);
            }
        }
        conflated.retain_mut(|lane| {
            let listened_to = !lane.taps.is_empty();
            if !listened_to {
                lane.history.clear(&self.budget);
            }
            listened_to
        });
        let unused = full.taps.is_empty() && conflated.is_empty();
        if unused && let Some(snapshot) = snapshot.take() {
            self.budget.give_back(snapshot.weight());
        }
    }

    /// Hands over what follows `seq` at a pace, at most `most` updates. Where the lane does not reach back to `seq`,
    /// the single updates bridge the gap.
    pub(crate) fn fetch(&self, every_ms: u16, seq: u64, most: usize, out: &mut Vec<Arc<Update>>) -> Fetched {
        let state = self.state();
        let lane = match every_ms {
            0 => &state.full,
            _ => state.conflated.iter().find(|lane| lane.every_ms == every_ms).unwrap_or(&state.full),
        };
        let begins = lane.history.after(seq).next().map_or(lane.position, |update| update.prev_seq);
        let missing = if begins <= seq {
            let updates = lane.history.after(seq);
            let missing = updates.len();
            out.extend(updates.take(most).cloned());
            missing
        } else {
            let Some(bridge) = state.full.connected(seq) else { return Fetched::Lost };
            let bridge = || bridge.clone().take_while(|update| update.prev_seq < begins);
            out.extend(bridge().take(most).cloned());
            bridge().count() + lane.history.after(begins).len()
        };
        if missing == 0 { Fetched::Nothing } else { Fetched::Updates(missing) }
    }

    /// Every single update after `seq`, as long as all of them are kept.
    pub(crate) fn since(&self, seq: u64) -> Option<Vec<Arc<Update>>> {
        self.state().full.connected(seq).map(|updates| updates.cloned().collect())
    }

    /// Whether a client that is at `seq` can go on from there.
    pub(crate) fn reaches(&self, seq: u64) -> bool {
        seq <= self.newest() && self.state().full.connected(seq).is_some()
    }

    /// The newest snapshot that was made, if what followed it is kept and not too much.
    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let state = self.state();
        let snapshot = state.snapshot.as_ref()?;
        let follows = state.full.connected(snapshot.seq())?.len();
        (follows <= BRIDGE_MAX).then(|| Arc::clone(snapshot))
    }

    /// Keeps a snapshot for the next who asks, where there is room.
    pub(crate) fn keep(&self, snapshot: &Arc<Snapshot>) {
        let mut state = self.state();
        if let Some(old) = state.snapshot.take() {
            self.budget.give_back(old.weight());
        }
        let listened_to = !state.full.taps.is_empty() || !state.conflated.is_empty();
        if listened_to && self.budget.take(snapshot.weight()) {
            state.snapshot = Some(Arc::clone(snapshot));
        }
    }
}

impl Lane {
    /// Makes what is pending an update; false when nothing is.
    fn close_interval(&mut self, budget: &Budget) -> bool {
        let Some(Pending { seq, ts, change, published }) = self.pending.take() else { return false };
        let from = std::mem::replace(&mut self.position, seq);
        self.history.push(Update::new((from, seq), ts, change, published), budget);
        true
    }

    fn merge(&mut self, publication: &Publication, now: Instant) {
        let Publication { seq, ts, change, .. } = publication;
        match &mut self.pending {
            Some(pending) => {
                Arc::make_mut(&mut pending.change).merge(change);
                (pending.seq, pending.ts) = (*seq, *ts);
            }
            None => {
                let change = Arc::clone(change);
                self.pending = Some(Pending { seq: *seq, ts: *ts, change, published: now });
            }
        }
    }

    /// What follows `seq`, if nothing between is gone.
    fn connected(&self, seq: u64) -> Option<impl ExactSizeIterator<Item = &Arc<Update>> + Clone> {
        let updates = self.history.after(seq);
        let begins = updates.clone().next().map_or(self.position, |update| update.prev_seq);
        (begins <= seq).then_some(updates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Bell;
    use crate::history::tests::change;
    use crate::settings::Settings;
    use crate::wishes::Options;

    struct Rig {
        lanes: Arc<TopicLanes>,
        seq: u64,
    }

    impl Rig {
        fn new(history_updates: usize) -> Self {
            let budget = Arc::new(Budget::new(&Settings { history_updates, ..Settings::default() }));
            let lanes = Arc::new(TopicLanes::new("system.vpin".parse().unwrap(), 7, budget));
            Self { lanes, seq: 0 }
        }

        fn tap(&self, conflate_ms: u16) -> Arc<Tap> {
            let options = Options { conflate_ms, checksum: false };
            let tap = Tap::new(Arc::clone(&self.lanes), options, Arc::new(Bell::default()));
            self.lanes.attach(&tap);
            tap
        }

        /// Publications with the next numbers.
        fn publish(&mut self, times: u64) -> Vec<u16> {
            let mut due = Vec::new();
            for _ in 0..times {
                let (topic, prev_seq, seq) = (self.lanes.topic, self.seq, self.seq + 1);
                let (ts, change) = (UnixNanos(seq), Arc::new(change(seq)));
                let publication = Publication { topic, seq, prev_seq, ts, change };
                due.extend(self.lanes.publish(&publication, Instant::now()).due);
                self.seq = seq;
            }
            due
        }

        /// Spans of the updates handed over.
        fn fetch(&self, every_ms: u16, seq: u64, most: usize) -> (Fetched, Vec<(u64, u64)>) {
            let mut out = Vec::new();
            let fetched = self.lanes.fetch(every_ms, seq, most, &mut out);
            (fetched, out.iter().map(|update| (update.prev_seq, update.seq)).collect())
        }
    }

    #[test]
    fn every_interval_that_clients_may_ask_for_has_its_pace() {
        assert!(
            crate::protocol::INTERVALS.into_iter().all(|every_ms| every_ms == 0 || PACES.contains(&every_ms))
        );
    }

    #[test]
    fn single_updates_come_one_by_one_and_what_is_gone_is_lost() {
        let mut rig = Rig::new(4);
        assert_eq!(rig.fetch(0, 0, 9), (Fetched::Nothing, vec![]));
        rig.publish(3);
        assert_eq!(rig.fetch(0, 0, 2), (Fetched::Updates(3), vec![(0, 1), (1, 2)]));
        assert_eq!(rig.fetch(0, 2, 9), (Fetched::Updates(1), vec![(2, 3)]));
        assert_eq!(rig.fetch(0, 3, 9), (Fetched::Nothing, vec![]));
        rig.publish(3);
        assert_eq!([1, 2, 5, 6].map(|seq| rig.lanes.waiting(0, seq)), [5, 4, 1, 0]);
        assert_eq!(rig.fetch(0, 1, 9), (Fetched::Lost, vec![]));
        assert_eq!(rig.fetch(0, 2, 9).0, Fetched::Updates(4));
        assert!(
            rig.lanes.reaches(2) && rig.lanes.reaches(6) && !rig.lanes.reaches(1) && !rig.lanes.reaches(7)
        );
        assert_eq!(rig.lanes.since(4).unwrap().len(), 2);
        assert!(rig.lanes.since(1).is_none());
    }

    #[test]
    fn a_conflated_lane_merges_within_its_interval() {
        let mut rig = Rig::new(100);
        rig.publish(2);
        let tap = rig.tap(50);
        assert_eq!(rig.publish(3), [50], "its task is woken once");
        assert_eq!(rig.fetch(50, 2, 9), (Fetched::Nothing, vec![]));
        assert_eq!(rig.lanes.flush(50).len(), 1);
        assert_eq!(rig.fetch(50, 2, 9), (Fetched::Updates(1), vec![(2, 5)]));
        assert_eq!(rig.fetch(50, 4, 9), (Fetched::Updates(1), vec![(2, 5)]), "it may overlap");
        assert_eq!(rig.fetch(50, 5, 9), (Fetched::Nothing, vec![]));
        assert!(rig.lanes.flush(50).is_empty(), "nothing happened");
        rig.lanes.detach(&tap);
        assert!(!rig.lanes.is_needed());
        assert!(rig.publish(1).is_empty(), "a lane that nobody listens to is gone");
        assert!(rig.lanes.flush(50).is_empty());
    }

    #[test]
    fn an_interval_with_very_many_events_loses_none_of_them() {
        let rig = Rig::new(1_000);
        let _tap = rig.tap(5_000);
        let (price, quantity) = (nautilus_types::Price::ZERO, nautilus_types::Quantity::ZERO);
        let print = |sequence| nautilus_engine_websocket::Print {
            sequence,
            ts_event: UnixNanos(sequence),
            price,
            quantity,
            aggressor: None,
        };
        for n in 0..50_u64 {
            let change = Arc::new(Change::Trades((n * 70..n * 70 + 70).map(print).collect()));
            let (topic, ts) = (rig.lanes.topic, UnixNanos(n));
            let publication = Publication { topic, seq: n * 70 + 70, prev_seq: n * 70, ts, change };
            rig.lanes.publish(&publication, Instant::now());
        }
        rig.lanes.flush(5_000);
        let mut updates = Vec::new();
        rig.lanes.fetch(5_000, 0, 99, &mut updates);
        let spans: Vec<_> = updates.iter().map(|update| (update.prev_seq, update.seq)).collect();
        assert_eq!(spans, [(0, 980), (980, 1_960), (1_960, 2_940), (2_940, 3_500)]);
        let events: usize = updates.iter().map(|update| update.change.events()).sum();
        assert_eq!(events, 3_500);
    }

    #[test]
    fn single_updates_bridge_to_a_conflated_lane() {
        let mut rig = Rig::new(5);
        rig.publish(4);
        let _tap = rig.tap(50);
        // Before its first update, and after.
        assert_eq!(rig.fetch(50, 2, 9), (Fetched::Updates(2), vec![(2, 3), (3, 4)]));
        rig.publish(2);
        rig.lanes.flush(50);
        assert_eq!(rig.fetch(50, 2, 9), (Fetched::Updates(3), vec![(2, 3), (3, 4)]));
        assert_eq!(rig.fetch(50, 2, 1), (Fetched::Updates(3), vec![(2, 3)]));
        assert_eq!(rig.fetch(50, 4, 9), (Fetched::Updates(1), vec![(4, 6)]));
        assert_eq!(rig.fetch(50, 0, 9).0, Fetched::Lost);
    }

    #[test]
    fn a_snapshot_serves_as_long_as_what_followed_is_kept_and_little() {
        let mut rig = Rig::new(100);
        let tap = rig.tap(0);
        rig.publish(10);
        assert!(rig.lanes.snapshot().is_none());
        let picture = |seq| nautilus_engine_websocket::TopicPicture {
            topic: "system.vpin".parse().unwrap(),
            seq,
            ts: UnixNanos(seq),
            state: change(seq),
        };
        rig.lanes.keep(&Arc::new(Snapshot::new(picture(10))));
        rig.publish(BRIDGE_MAX as u64);
        assert_eq!(rig.lanes.snapshot().map(|snapshot| snapshot.seq()), Some(10));
        rig.publish(1);
        assert!(rig.lanes.snapshot().is_none(), "too much followed");
        rig.lanes.keep(&Arc::new(Snapshot::new(picture(75))));
        assert!(rig.lanes.snapshot().is_some());
        rig.lanes.detach(&tap);
        assert!(rig.lanes.snapshot().is_none(), "nobody listens any more");
        rig.lanes.keep(&Arc::new(Snapshot::new(picture(75))));
        assert!(rig.lanes.snapshot().is_none());
    }

    #[test]
    fn everybody_is_rung_once_until_they_look() {
        let mut rig = Rig::new(100);
        let bell = Arc::new(Bell::default());
        let tap = Tap::new(Arc::clone(&rig.lanes), Options::default(), Arc::clone(&bell));
        rig.lanes.attach(&tap);
        rig.publish(1);
        for _ in 0..5 {
            tap.ring();
        }
        assert_eq!(bell.ready().len(), 1);
        assert!(bell.ready().is_empty());
        tap.ring();
        assert_eq!(bell.ready().len(), 1);
    }
}
