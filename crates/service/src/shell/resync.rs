//! Which frames of the star a reader still wants after it took in snapshots.

use std::collections::BTreeMap;

use nautilus_messages::frame::{FrameRef, Kind};
use nautilus_types::InstrumentId;

/// After a snapshot was taken in, the book changes it already contains are skipped.
#[derive(Debug, Default)]
pub(super) struct Resync {
    epoch: u64,
    known_up_to: BTreeMap<InstrumentId, u64>,
}

impl Resync {
    /// A hub that has restarted counts anew.
    pub(super) fn follow(&mut self, epoch: u64) {
        if self.epoch != epoch {
            *self = Self { epoch, known_up_to: BTreeMap::new() };
        }
    }

    pub(super) fn skip_to(&mut self, instrument: InstrumentId, sequence: u64) {
        self.known_up_to.insert(instrument, sequence);
    }

    /// Trades, bars and gaps are always wanted: a snapshot does not contain them.
    pub(super) fn wants(&self, frame: &FrameRef<'_>) -> bool {
        let header = frame.header();
        let contained = matches!(
            header.kind,
            Kind::OrderChange | Kind::LevelChange | Kind::Snapshot | Kind::Quote | Kind::Status
        );
        let known = self.known_up_to.get(&header.instrument()).copied().unwrap_or(0);
        !contained || header.sequence.get() > known
    }
}
