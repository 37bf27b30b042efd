//! One topic's recent updates in order, each encoded once however many clients it goes to, in bounded memory. It
//! knows no client.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::ws::Utf8Bytes;
use nautilus_engine_websocket::{Change, TopicPicture};
use nautilus_types::UnixNanos;

use crate::encode::{self, Place};
use crate::settings::Settings;

/// What a change takes in memory at the most, encoded with and without checksum: a share that all have, and one per
/// level or row.
const WEIGHT: (usize, usize) = (768, 160);

/// A text that is made when it is first wanted: with the checksum and without.
#[derive(Debug, Default)]
struct Texts {
    plain: OnceLock<Utf8Bytes>,
    with_checksum: OnceLock<Utf8Bytes>,
}

impl Texts {
    fn get(&self, place: Place<'_>, change: &Change, checksum: bool) -> Utf8Bytes {
        // Only books have one; the others share a text.
        let checksum = checksum && matches!(change, Change::Book(_));
        let text = if checksum { &self.with_checksum } else { &self.plain };
        text.get_or_init(|| encode::message(place, change, checksum)).clone()
    }
}

fn weight(change: &Change) -> usize {
    WEIGHT.0 + WEIGHT.1 * encode::items(change)
}

/// What changed between two numbers of a topic.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) prev_seq: u64,
    pub(crate) seq: u64,
    pub(crate) ts: UnixNanos,
    pub(crate) change: Arc<Change>,
    /// When the engine published it.
    pub(crate) published: Instant,
    texts: Texts,
}

impl Update {
    pub(crate) fn new(
        (prev_seq, seq): (u64, u64),
        ts: UnixNanos,
        change: Arc<Change>,
        published: Instant,
    ) -> Self {
        Self { prev_seq, seq, ts, change, published, texts: Texts::default() }
    }

    /// The message, encoded by whoever asks first.
    pub(crate) fn text(&self, topic: &str, epoch: u64, checksum: bool) -> Utf8Bytes {
        let place = Place { topic, epoch, seq: self.seq, prev_seq: Some(self.prev_seq), ts: self.ts };
        self.texts.get(place, &self.change, checksum)
    }
}

/// A topic's whole state at one number.
#[derive(Debug)]
pub(crate) struct Snapshot {
    picture: TopicPicture,
    texts: Texts,
}

impl Snapshot {
    pub(crate) fn new(picture: TopicPicture) -> Self {
        Self { picture, texts: Texts::default() }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.picture.seq
    }

    pub(crate) fn weight(&self) -> usize {
        weight(&self.picture.state)
    }

    /// The message, encoded by whoever asks first.
    pub(crate) fn text(&self, topic: &str, epoch: u64, checksum: bool) -> Utf8Bytes {
        let TopicPicture { seq, ts, state, .. } = &self.picture;
        self.texts.get(Place { topic, epoch, seq: *seq, prev_seq: None, ts: *ts }, state, checksum)
    }
}

/// How much history there may be: per topic and over all of them. A quarter of it is left to snapshots: without them
/// every client that joins would ask the engine.
#[derive(Debug)]
pub(crate) struct Budget {
    updates: usize,
    bytes: usize,
    total: usize,
    used: AtomicUsize,
    /// Histories that hold something: they share.
    histories: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            updates: settings.history_updates,
            bytes: settings.history_bytes,
            total: settings.history_total_bytes,
            used: AtomicUsize::new(0),
            histories: AtomicUsize::new(0),
        }
    }

    fn for_history(&self) -> usize {
        self.total - self.total / 4
    }

    /// Whether a history of this weight has to shrink: there is no room, and others hold less.
    fn is_scarce(&self, weight: usize) -> bool {
        let share = self.for_history() / self.histories.load(Relaxed).max(1);
        weight > share && self.used.load(Relaxed) > self.for_history()
    }

    /// Takes memory if there is any left.
    pub(crate) fn take(&self, weight: usize) -> bool {
        let room = |used: usize| used.checked_add(weight).filter(|used| *used <= self.total);
        self.used.fetch_update(Relaxed, Relaxed, room).is_ok()
    }

    pub(crate) fn give_back(&self, weight: usize) {
        self.used.fetch_sub(weight, Relaxed);
    }
}

/// The most recent updates of a topic at one pace.
#[derive(Debug, Default)]
pub(crate) struct History {
    updates: VecDeque<Arc<Update>>,
    weight: usize,
}

impl History {
    /// Adds the newest and lets go of the oldest. The newest always stays, and so does an equal share of the total,
    /// which topics that came later thus exceed until those that hold more go on and shrink.
    pub(crate) fn push(&mut self, update: Update, budget: &Budget) {
        if self.updates.is_empty() {
            budget.histories.fetch_add(1, Relaxed);
        }
        let added = weight(&update.change);
        self.updates.push_back(Arc::new(update));
        self.weight += added;
        budget.used.fetch_add(added, Relaxed);
        while self.updates.len() > 1
            && (self.updates.len() > budget.updates
                || self.weight > budget.bytes
                || budget.is_scarce(self.weight))
        {
            self.pop(budget);
        }
    }

    fn pop(&mut self, budget: &Budget) {
        let freed = self.updates.pop_front().map_or(0, |update| weight(&update.change));
        self.weight -= freed;
        budget.give_back(freed);
    }

    pub(crate) fn clear(&mut self, budget: &Budget) {
        if !self.updates.is_empty() {
            budget.histories.fetch_sub(1, Relaxed);
        }
        while !self.updates.is_empty() {
            self.pop(budget);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.updates.len()
    }

    /// What follows `seq`, oldest first; the first of them may begin after `seq` when what lies between is gone.
    pub(crate) fn after(&self, seq: u64) -> impl ExactSizeIterator<Item = &Arc<Update>> + Clone {
        let from = self.updates.partition_point(|update| update.seq <= seq);
        self.updates.range(from..)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use nautilus_messages::EngineName;
    use nautilus_messages::mesh::EngineHealth;

    use super::*;

    /// A change that tells how far it goes.
    pub(crate) fn change(steps: u64) -> Change {
        let engine = EngineName::Vpin;
        Change::System(EngineHealth {
            engine,
            uptime_ms: 0,
            steps,
            star_read: 0,
            star_missed: 0,
            mesh_handled: 0,
        })
    }

    pub(crate) fn update(prev_seq: u64, seq: u64) -> Update {
        Update::new((prev_seq, seq), UnixNanos(seq), Arc::new(change(seq)), Instant::now())
    }

    #[test]
    fn a_text_is_made_once() {
        let update = update(1, 2);
        let first = update.text("system.vpin", 7, false);
        let again = update.text("system.vpin", 7, true);
        assert_eq!(first.as_str().as_ptr(), again.as_str().as_ptr(), "only books have a checksum");
        assert!(first.contains(r#""seq":2,"prev_seq":1"#), "{first}");
    }

    #[test]
    fn history_is_bounded_by_number_bytes_and_total() {
        let one = weight(&change(1));
        for (settings, kept) in [
            (Settings { history_updates: 5, ..Settings::default() }, 5),
            (Settings { history_bytes: 3 * one, ..Settings::default() }, 3),
            (Settings { history_total_bytes: 8 * one, ..Settings::default() }, 6),
            (Settings { history_bytes: 1, ..Settings::default() }, 1),
        ] {
            let budget = Budget::new(&settings);
            let mut history = History::default();
            for seq in 1..100 {
                history.push(update(seq - 1, seq), &budget);
                assert_eq!(budget.used.load(Relaxed), history.weight);
            }
            assert_eq!(history.len(), kept);
            let after: Vec<_> = history.after(97).map(|update| update.seq).collect();
            assert_eq!(after, [98, 99][2 - kept.min(2)..]);
            assert_eq!(history.after(99).len(), 0);
            history.clear(&budget);
            assert_eq!((history.weight, budget.used.load(Relaxed)), (0, 0));
        }
    }

    #[test]
    fn a_topic_that_comes_late_gets_its_share_from_those_that_go_on() {
        let one = weight(&change(1));
        let budget = Budget::new(&Settings { history_total_bytes: 40 * one, ..Settings::default() });
        let (mut early, mut late) = (History::default(), History::default());
        for seq in 1..100 {
            early.push(update(seq - 1, seq), &budget);
        }
        assert_eq!(early.len(), 30);
        for seq in 1..100 {
            late.push(update(seq - 1, seq), &budget);
        }
        assert_eq!((early.len(), late.len()), (30, 15), "the early one rests");
        for seq in 100..200 {
            early.push(update(seq - 1, seq), &budget);
            late.push(update(seq - 1, seq), &budget);
        }
        assert_eq!((early.len(), late.len()), (15, 15));
        assert!(budget.take(10 * one) && !budget.take(1), "a quarter is left to snapshots");
        early.clear(&budget);
        for seq in 200..300 {
            late.push(update(seq - 1, seq), &budget);
        }
        assert_eq!(late.len(), 30, "alone again");
    }

    #[test]
    fn snapshots_are_kept_only_where_there_is_room() {
        let budget = Budget::new(&Settings { history_total_bytes: 100, ..Settings::default() });
        assert!(budget.take(60) && !budget.take(41) && budget.take(40));
        budget.give_back(60);
        assert!(budget.take(1) && !budget.take(usize::MAX));
    }
}
