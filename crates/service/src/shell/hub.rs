//! The hub's end of the star: publishes, and keeps every instrument's snapshot fresh.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nautilus_bus::StarPublisher;
use nautilus_engine::Engine;
use nautilus_messages::frame::{Frames, Kind};
use nautilus_types::InstrumentId;

/// How often instruments' star snapshots are renewed at most: a whole book is much to copy for one change.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// Gives the frames that rebuild one instrument on the star, with the sequence they reach.
pub type SnapshotSource<E> = fn(&E, InstrumentId) -> Option<(u64, Vec<u8>)>;

/// The publishing end of the star, with what it takes to keep its snapshots fresh.
pub(super) struct Hub<E> {
    pub(super) publisher: StarPublisher,
    source: SnapshotSource<E>,
    changed: BTreeSet<InstrumentId>,
    renewed: Instant,
}

impl<E: Engine> Hub<E> {
    pub(super) fn new(publisher: StarPublisher, source: SnapshotSource<E>) -> Self {
        Self { publisher, source, changed: BTreeSet::new(), renewed: Instant::now() }
    }

    /// Publishes frames and remembers whose snapshot is out of date. A new definition is snapshot at once, so that
    /// whoever joins later knows the instrument.
    pub(super) fn publish(&mut self, engine: &E, frames: &[u8]) {
        if frames.is_empty() {
            return;
        }
        self.publisher.publish(frames);
        for frame in Frames::new(frames).flatten() {
            let header = frame.header();
            if header.kind == Kind::Definition {
                self.snapshot(engine, header.instrument());
            } else {
                self.changed.insert(header.instrument());
            }
        }
    }

    /// Renews what is out of date, at most once per interval.
    pub(super) fn renew(&mut self, engine: &E) {
        if self.changed.is_empty() || self.renewed.elapsed() < SNAPSHOT_INTERVAL {
            return;
        }
        self.renewed = Instant::now();
        while let Some(instrument) = self.changed.pop_first() {
            self.snapshot(engine, instrument);
        }
        self.publisher.confirm_snapshots();
    }

    fn snapshot(&mut self, engine: &E, instrument: InstrumentId) {
        if let Some((sequence, frames)) = (self.source)(engine, instrument) {
            self.publisher.publish_snapshot(instrument, sequence, frames);
        }
    }
}
