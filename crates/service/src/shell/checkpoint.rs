//! Checkpoints: when an engine's state is taken, and how an engine begins with one.
//!
//! The engine's thread only takes the bytes; a thread of its own writes them. What the state means is the engine's
//! business, and what the file looks like is [`file`]'s.

mod file;
mod writer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nautilus_engine::Engine;
use nautilus_messages::EngineName;
use serde::{Deserialize, Serialize};

use super::journal::Pruning;
use super::resync::SavedResync;
use super::wall_clock;
use crate::config;
use file::Header;
pub(super) use file::Refused;
use writer::Writer;

/// Where an engine stands in what it reads, beside its state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Inputs stepped since the engine was created.
    pub(super) steps: u64,
    /// Receive time of the last frame, in nanoseconds since 1970.
    pub(super) last_frame_ns: u64,
    /// Absent where the engine follows no star, or one that counts anew at every start.
    pub(super) star: Option<StarCursor>,
    /// The last record of the engine's journal that the state contains, or zero.
    pub(super) journal: u64,
}

impl Cursor {
    /// Steps and records: the same ones, the same state.
    pub(super) const fn progress(&self) -> (u64, u64) {
        (self.steps, self.journal)
    }
}

/// The frame of the star that comes next, as the hub counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StarCursor {
    pub(super) epoch: u64,
    pub(super) position: u64,
    pub(super) resync: SavedResync,
}

/// What a shell knows of checkpoints before its thread runs.
#[derive(Debug)]
pub(super) struct Plan {
    file: PathBuf,
    interval: Duration,
    /// What a checkpoint makes dispensable.
    pruning: Option<Pruning>,
    /// Where the engine stood when the checkpoint was taken that it was restored from.
    pub(super) restored: Option<Cursor>,
}

impl Plan {
    /// Restores the engine from its file, if there is one that is right; any other is put aside, and the engine is as
    /// it was. None where no checkpoints are kept.
    pub(super) fn restoring<E: Engine>(engine: &mut E, settings: &config::Checkpoint) -> Option<Self> {
        if settings.folder.as_os_str().is_empty() {
            return None;
        }
        let mut this = Self::new::<E>(&settings.folder, settings.interval(), None);
        if let Err(reason) = this.restore(engine, file::check_version) {
            this.put_aside(E::NAME, &reason, "the engine starts afresh");
        }
        Some(this)
    }

    /// Keeps checkpoints in the folder of the engine's journal.
    pub(super) fn beside_journal<E: Engine>(folder: &Path, interval: Duration, pruning: Pruning) -> Self {
        Self::new::<E>(folder, interval, Some(pruning))
    }

    fn new<E: Engine>(folder: &Path, interval: Duration, pruning: Option<Pruning>) -> Self {
        Self { file: folder.join(format!("{}.checkpoint", E::NAME)), interval, pruning, restored: None }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Restores the engine from its file, if there is one, whichever version made it: what the engine's bytes mean is
    /// the engine's own to say. It is as it was when the file is not right.
    pub(super) fn restore_any_version<E: Engine>(&mut self, engine: &mut E) -> Result<(), Refused> {
        self.restore(engine, |_| Ok(()))
    }

    fn restore<E: Engine>(
        &mut self,
        engine: &mut E,
        check: impl FnOnce(&Header) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let bytes = match std::fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Refused::Unreadable(error)),
        };
        let (header, state) = file::decode(&bytes, E::NAME)?;
        check(&header)?;
        engine.restore(state).map_err(|error| Refused::State(error.reason))?;
        let Header { taken_ns, cursor, .. } = header;
        let age_s = wall_clock().0.saturating_sub(taken_ns) / 1_000_000_000;
        let (steps, bytes) = (cursor.steps, bytes.len());
        tracing::info!(engine = %E::NAME, steps, bytes, age_s, "the engine begins with its checkpoint");
        self.restored = Some(cursor);
        Ok(())
    }

    /// Keeps a file that was refused under another name, and says what becomes of the engine.
    pub(super) fn put_aside(&self, engine: EngineName, reason: &Refused, and: &str) {
        metrics::counter!("nautilus_checkpoint_failures_total", "service" => engine.as_str()).increment(1);
        let (path, kept) = (self.file.display(), file::refused(&self.file));
        match std::fs::rename(&self.file, &kept) {
            Ok(()) => tracing::warn!(
                %engine, "the checkpoint {path} was refused: {reason}; it is kept as {}, {and}", kept.display()
            ),
            Err(error) => tracing::error!(
                %engine, "the checkpoint {path} was refused: {reason}; it cannot be renamed ({error}) and will be \
                replaced, {and}"
            ),
        }
    }

    /// Starts the thread that writes.
    pub(super) fn start(&self, engine: EngineName) -> std::io::Result<Checkpoints> {
        let contained = self.restored.as_ref().map_or((0, 0), Cursor::progress);
        Ok(Checkpoints {
            engine,
            interval: self.interval,
            tried: Instant::now(),
            contained,
            seconds: metrics::histogram!("nautilus_checkpoint_seconds", "service" => engine.as_str(), "part" => "snapshot"),
            skipped: metrics::counter!("nautilus_checkpoint_skipped_total", "service" => engine.as_str()),
            writer: Writer::start(engine, self.file.clone(), self.pruning.clone())?,
        })
    }
}

/// Says when a checkpoint is due and has it written.
#[derive(Debug)]
pub(super) struct Checkpoints {
    engine: EngineName,
    interval: Duration,
    /// When one was due last.
    tried: Instant,
    /// What the last one contains.
    contained: (u64, u64),
    /// What taking the state costs the engine's thread.
    seconds: metrics::Histogram,
    skipped: metrics::Counter,
    writer: Writer,
}

impl Checkpoints {
    /// Whether one is to be taken now: the interval is over and `progress` is not that of the last one. While that one
    /// is still being written another one is left out.
    pub(super) fn are_due(&mut self, progress: (u64, u64)) -> bool {
        if self.tried.elapsed() < self.interval {
            return false;
        }
        self.tried = Instant::now();
        if self.writer.is_busy() {
            self.skipped.increment(1);
            tracing::warn!(engine = %self.engine, "a checkpoint was left out: the last one is still being written");
            return false;
        }
        self.is_news(progress)
    }

    /// Whether there is something that no file contains. To be asked while nothing is being written.
    fn is_news(&self, progress: (u64, u64)) -> bool {
        progress != self.contained || self.writer.has_failed()
    }

    /// Takes the engine's state and has it written.
    pub(super) fn take<E: Engine>(&mut self, engine: &E, cursor: Cursor) {
        let start = Instant::now();
        let state = engine.snapshot();
        self.seconds.record(start.elapsed().as_secs_f64());
        self.contained = cursor.progress();
        self.writer.write(Header::new(self.engine, wall_clock().0, cursor), state);
    }

    /// The last one, at the end; returns when it is written.
    pub(super) fn finish<E: Engine>(mut self, engine: &E, cursor: Cursor) {
        self.writer.wait();
        if self.is_news(cursor.progress()) {
            self.take(engine, cursor);
        }
        self.writer.finish();
    }
}

#[cfg(test)]
mod tests {
    use nautilus_engine::{Effects, Input, RestoreError, Stamp};
    use nautilus_types::Symbol;

    use super::*;

    /// An engine whose state is one byte.
    struct Byte(u8);

    impl Engine for Byte {
        const NAME: EngineName = EngineName::Vpin;
        type Command = ();
        type View = ();

        fn step(&mut self, _: Stamp, _: Input<'_, ()>, _: &mut Effects) {}

        fn snapshot(&self) -> Vec<u8> {
            vec![self.0]
        }

        fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
            self.0 = snapshot[0];
            Ok(())
        }

        fn publish(&mut self, _: &mut dyn FnMut(Symbol, ())) {}
    }

    fn at(steps: u64) -> Cursor {
        Cursor { steps, ..Cursor::default() }
    }

    #[test]
    fn one_is_due_when_there_is_news_and_nothing_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let settings = config::Checkpoint { folder: folder.path().to_owned(), interval_s: 1 };
        let plan = Plan::restoring(&mut Byte(0), &settings).unwrap();
        let mut checkpoints = plan.start(EngineName::Vpin).unwrap();
        assert!(!checkpoints.are_due((1, 0)), "the interval is not over");
        checkpoints.interval = Duration::ZERO;
        assert!(!checkpoints.are_due((0, 0)), "nothing was stepped");
        assert!(checkpoints.are_due((1, 0)));
        checkpoints.take(&Byte(1), at(1));
        checkpoints.writer.wait();
        assert!(!checkpoints.are_due((1, 0)), "nothing was stepped since");
        checkpoints.writer.hold();
        assert!(!checkpoints.are_due((2, 0)), "another one is under way");
        checkpoints.writer.release();
        assert!(checkpoints.are_due((2, 0)));
        checkpoints.take(&Byte(2), at(2));
        // Whether or not that one is written by now: the last one comes behind it.
        checkpoints.finish(&Byte(3), at(3));
        let mut engine = Byte(0);
        let plan = Plan::restoring(&mut engine, &settings).unwrap();
        assert_eq!((engine.0, plan.restored), (3, Some(at(3))));
    }

    #[test]
    fn what_was_not_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let settings = config::Checkpoint { folder: folder.path().join("sub"), interval_s: 1 };
        std::fs::write(&settings.folder, "no folder").unwrap();
        let plan = Plan::restoring(&mut Byte(0), &settings).unwrap();
        let mut checkpoints = plan.start(EngineName::Vpin).unwrap();
        checkpoints.interval = Duration::ZERO;
        checkpoints.take(&Byte(1), at(1));
        checkpoints.writer.wait();
        assert!(checkpoints.are_due((1, 0)));
        std::fs::remove_file(&settings.folder).unwrap();
        checkpoints.finish(&Byte(1), at(1));
        assert!(settings.folder.join("vpin.checkpoint").exists());
    }
}
