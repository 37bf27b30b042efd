//! The newest snapshot of every instrument, beside the ring: what a reader that lost frames starts again from.
//!
//! It keeps bytes and never looks into them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use nautilus_types::InstrumentId;

/// Instruments with a snapshot, at most.
pub(crate) const INSTRUMENTS_MAX: usize = 1 << 16;
/// Bytes of one snapshot, at most: a million orders.
pub(crate) const SNAPSHOT_MAX: usize = 64 << 20;

/// An instrument's state as frames. Frames of the instrument with a sequence up to `sequence` are contained in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StarSnapshot {
    /// Whose.
    pub instrument: InstrumentId,
    /// The instrument's sequence number as of which it was taken.
    pub sequence: u64,
    /// The hub's epoch, as [`crate::StarReader::epoch`] gives it: sequence numbers of different epochs have nothing to
    /// do with each other.
    pub epoch: u64,
    /// The star position as of which it was taken, or confirmed: it contains what was published before.
    pub position: u64,
    /// Frames end to end.
    pub frames: Arc<[u8]>,
}

#[derive(Debug, Default)]
pub(crate) struct Snapshots(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    newest: BTreeMap<InstrumentId, StarSnapshot>,
    /// Instruments whose snapshot the transport has not got yet.
    unsent: BTreeSet<InstrumentId>,
}

impl Snapshots {
    /// Keeps `snapshot` in place of the instrument's former one; false when a bound forbids it, and then the former
    /// one, which is out of date, goes too.
    pub(crate) fn replace(&self, snapshot: StarSnapshot) -> bool {
        let mut state = self.state();
        let known = state.newest.contains_key(&snapshot.instrument);
        if snapshot.frames.len() > SNAPSHOT_MAX || !(known || state.newest.len() < INSTRUMENTS_MAX) {
            state.newest.remove(&snapshot.instrument);
            return false;
        }
        state.unsent.insert(snapshot.instrument);
        state.newest.insert(snapshot.instrument, snapshot);
        true
    }

    /// Every snapshot is up to date as of `position`.
    pub(crate) fn confirm(&self, position: u64) {
        self.state().newest.values_mut().for_each(|snapshot| snapshot.position = position);
    }

    pub(crate) fn get(&self, instrument: InstrumentId) -> Option<StarSnapshot> {
        self.state().newest.get(&instrument).cloned()
    }

    pub(crate) fn all(&self) -> Vec<StarSnapshot> {
        self.state().newest.values().cloned().collect()
    }

    /// Up to `limit` snapshots that are to be sent; they count as sent from now on.
    pub(crate) fn take_unsent(&self, limit: usize) -> Vec<StarSnapshot> {
        let mut state = self.state();
        let taken = std::iter::from_fn(|| state.unsent.pop_first()).take(limit).collect::<Vec<_>>();
        taken.iter().filter_map(|instrument| state.newest.get(instrument).cloned()).collect()
    }

    /// Everything is to be sent (again).
    pub(crate) fn mark_all_unsent(&self) {
        let mut state = self.state();
        state.unsent = state.newest.keys().copied().collect();
    }

    /// Forgets the snapshots of instruments that `keep` does not name.
    pub(crate) fn retain(&self, keep: impl Fn(InstrumentId) -> bool) {
        self.state().newest.retain(|instrument, _| keep(*instrument));
    }

    /// Moves the position of an instrument's snapshot.
    pub(crate) fn shift(&self, instrument: InstrumentId, by: u64) {
        if let Some(snapshot) = self.state().newest.get_mut(&instrument) {
            snapshot.position = snapshot.position.saturating_add(by);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
