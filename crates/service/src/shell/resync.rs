//! Which snapshots of the star an engine is handed and when, and which frames it then no longer needs.
//!
//! One rule: an engine gets everything in the order of the star. A snapshot that is older than frames that were missed
//! comes before the gap that reports them; one that comes later contains them, or it is not handed over. Of another
//! epoch than the frames being read none is. The frames that a snapshot contains are left out afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nautilus_bus::{StarReader, StarSnapshot};
use nautilus_messages::frame::{FrameRef, Kind};
use nautilus_types::InstrumentId;

/// How often the snapshots that the engine asked for are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The newest snapshot of an instrument that the engine got.
#[derive(Debug, Clone, Copy)]
struct Handed {
    sequence: u64,
    position: u64,
}

#[derive(Debug, Default)]
pub(super) struct Resync {
    epoch: u64,
    handed: BTreeMap<InstrumentId, Handed>,
    /// The position behind the last frame missed.
    missed_before: u64,
    wanted: BTreeSet<InstrumentId>,
    looked: Option<Instant>,
}

impl Resync {
    /// Notes the epoch of what is being read; whether the hub has restarted.
    pub(super) fn follow(&mut self, epoch: u64) -> bool {
        if self.epoch == epoch {
            return false;
        }
        let before = std::mem::replace(&mut self.epoch, epoch);
        self.handed.clear();
        before != 0
    }

    /// Frames up to the reader's position were missed: the snapshots to hand over before and after saying so.
    pub(super) fn miss(&mut self, star: &StarReader) -> (Vec<StarSnapshot>, Vec<StarSnapshot>) {
        self.missed_before = star.position();
        let ours = star.snapshots().into_iter().filter(|snapshot| snapshot.epoch == self.epoch);
        ours.partition(|snapshot| snapshot.position < self.missed_before)
    }

    /// The engine asks for snapshots.
    pub(super) fn want(&mut self, instruments: impl Iterator<Item = InstrumentId>) {
        self.wanted.extend(instruments);
    }

    /// The snapshots asked for that are there by now.
    pub(super) fn look(&mut self, star: &StarReader) -> Vec<StarSnapshot> {
        if self.wanted.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return Vec::new();
        }
        self.looked = Some(Instant::now());
        self.wanted
            .iter()
            .filter_map(|instrument| star.snapshot(*instrument))
            .filter(|s| self.helps(s))
            .collect()
    }

    fn helps(&self, snapshot: &StarSnapshot) -> bool {
        let handed = self.handed.get(&snapshot.instrument);
        snapshot.epoch == self.epoch
            && snapshot.position >= self.missed_before
            && handed.is_none_or(|handed| handed.position < snapshot.position)
    }

    /// The engine gets `snapshot`.
    pub(super) fn hand_over(&mut self, snapshot: &StarSnapshot) {
        let StarSnapshot { sequence, position, .. } = *snapshot;
        self.handed.insert(snapshot.instrument, Handed { sequence, position });
        self.wanted.remove(&snapshot.instrument);
    }

    /// Trades, bars and gaps are always wanted: a snapshot does not contain them.
    pub(super) fn wants(&self, frame: &FrameRef<'_>) -> bool {
        let header = frame.header();
        let contained = matches!(
            header.kind,
            Kind::OrderChange | Kind::LevelChange | Kind::Snapshot | Kind::Quote | Kind::Status
        );
        let known = self.handed.get(&header.instrument()).map_or(0, |handed| handed.sequence);
        !contained || header.sequence.get() > known
    }
}
