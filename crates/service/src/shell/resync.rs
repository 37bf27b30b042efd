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
use serde::{Deserialize, Serialize};

/// How often the snapshots that the engine asked for are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The newest snapshot of an instrument that the engine got.
#[derive(Debug, Clone, Copy)]
struct Handed {
    sequence: u64,
    position: u64,
}

/// What has to be known to go on after a restart. Positions are the hub's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct SavedResync {
    /// Instrument, sequence and position.
    pub(super) handed: Vec<(u32, u64, u64)>,
    pub(super) missed_before: u64,
    pub(super) wanted: Vec<u32>,
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
    /// Goes on in `epoch`, of which this was saved.
    pub(super) fn resume(epoch: u64, saved: &SavedResync) -> Self {
        let handed = |&(id, sequence, position): &_| (InstrumentId(id), Handed { sequence, position });
        Self {
            epoch,
            handed: saved.handed.iter().map(handed).collect(),
            missed_before: saved.missed_before,
            wanted: saved.wanted.iter().copied().map(InstrumentId).collect(),
            looked: None,
        }
    }

    /// What [`Self::resume`] goes on from; the epoch being read begins at position `start`.
    pub(super) fn save(&self, start: u64) -> SavedResync {
        let handed = |(id, handed): (&InstrumentId, &Handed)| {
            (id.0, handed.sequence, handed.position.saturating_sub(start))
        };
        SavedResync {
            handed: self.handed.iter().map(handed).collect(),
            missed_before: self.missed_before.saturating_sub(start),
            wanted: self.wanted.iter().map(|id| id.0).collect(),
        }
    }

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

#[cfg(test)]
mod tests {
    use nautilus_messages::frame::{BookState, Header, Status, TradingState};
    use nautilus_types::UnixNanos;

    use super::*;

    fn snapshot(instrument: u32, sequence: u64, position: u64) -> StarSnapshot {
        let instrument = InstrumentId(instrument);
        StarSnapshot { instrument, sequence, epoch: 9, position, frames: Vec::new().into() }
    }

    fn wants(resync: &Resync, instrument: u32, sequence: u64) -> bool {
        let at = UnixNanos(1);
        let header = Header::new(Kind::Status, InstrumentId(instrument), sequence, at, at);
        let (trading, book) = (TradingState::Open, BookState::Live);
        resync.wants(&FrameRef::Status(&Status { header, trading, book, reserved: [0; 30] }))
    }

    /// A snapshot may be ahead of the frames read: those it contains are left out after a restart, too.
    #[test]
    fn what_an_engine_got_ahead_of_the_star_is_known_after_a_restart() {
        // The epoch began at position 100 of this process.
        let mut before = Resync { epoch: 9, missed_before: 104, ..Resync::default() };
        before.hand_over(&snapshot(1, 7, 110));
        before.want([InstrumentId(1), InstrumentId(2)].into_iter());
        let saved = before.save(100);
        assert_eq!(saved, SavedResync { handed: vec![(1, 7, 10)], missed_before: 4, wanted: vec![1, 2] });
        let mut after = Resync::resume(9, &saved);
        assert_eq!(after.save(0), saved);
        for resync in [&before, &after] {
            assert!(!wants(resync, 1, 7) && wants(resync, 1, 8) && wants(resync, 2, 7));
        }
        assert!(!after.helps(&snapshot(1, 7, 10)), "the engine has got it");
        assert!(after.helps(&snapshot(1, 8, 11)));
        assert!(!after.helps(&snapshot(2, 1, 3)), "it is older than what was missed");
        assert!(!after.follow(9), "the hub is the same");
        assert!(after.follow(10) && wants(&after, 1, 7), "a new hub counts anew");
    }
}
