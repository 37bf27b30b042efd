//! An engine's journal: nothing of a batch is handed over before its facts are on the disk, and an engine begins with
//! its last checkpoint and all facts behind it.
//!
//! How records lie on the disk is `nautilus_journal`'s business, what they mean the engine's.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nautilus_engine::{Engine, Facts};
use nautilus_journal::{Error, Folder, Journal, Settings, prune};
use nautilus_messages::EngineName;
use nautilus_types::UnixNanos;

use super::checkpoint::{Cursor, Plan};
use super::wall_clock;
use crate::config::{self, Config};
use crate::platform::StartError;

/// How often room for the next segment is looked for where there is none.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// Why a batch must not be handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrecorded {
    #[error("its journal failed: {0}")]
    Failed(#[from] Error),
    #[error("it has facts, and its service keeps no journal")]
    NoJournal,
}

/// The journal of an engine that runs.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Journal,
    /// What the engine was told last.
    has_room: bool,
    looked: Instant,
    seconds: metrics::Histogram,
    records: metrics::Counter,
    room: metrics::Gauge,
}

impl Ledger {
    fn new(engine: EngineName, journal: Journal) -> Self {
        let service = engine.as_str();
        let this = Self {
            journal,
            // Nobody is told of what is to be expected.
            has_room: true,
            looked: Instant::now(),
            seconds: metrics::histogram!("nautilus_journal_commit_seconds", "service" => service),
            records: metrics::counter!("nautilus_journal_records_total", "service" => service),
            room: metrics::gauge!("nautilus_journal_room", "service" => service),
        };
        this.room.set(1.0);
        this
    }

    /// Returns when all of them are on the disk.
    pub(super) fn record(&mut self, facts: &Facts) -> Result<(), Error> {
        let start = Instant::now();
        for (at, fact) in facts.iter() {
            self.journal.append(at.0, fact)?;
        }
        self.journal.commit()?;
        self.seconds.record(start.elapsed().as_secs_f64());
        self.records.increment(facts.len() as u64);
        Ok(())
    }

    /// The last record that is on the disk.
    pub(super) fn position(&self) -> u64 {
        self.journal.committed()
    }

    /// Whether there is room, where that is news.
    pub(super) fn news_of_room(&mut self) -> Option<bool> {
        if !self.journal.has_room() && self.looked.elapsed() >= ROOM_INTERVAL {
            self.looked = Instant::now();
            self.journal.make_room();
        }
        let has_room = self.journal.has_room();
        if has_room == self.has_room {
            return None;
        }
        self.has_room = has_room;
        self.room.set(if has_room { 1.0 } else { 0.0 });
        Some(has_room)
    }
}

/// What is removed of a journal once a checkpoint contains it.
#[derive(Debug, Clone)]
pub(super) struct Pruning {
    folder: PathBuf,
    keep_bytes: u64,
    bytes: metrics::Gauge,
}

impl Pruning {
    fn new(engine: EngineName, folder: &Path, keep_bytes: u64) -> Self {
        let bytes = metrics::gauge!("nautilus_journal_bytes", "service" => engine.as_str());
        Self { folder: folder.to_owned(), keep_bytes, bytes }
    }

    /// A checkpoint contains everything up to the record `covered`.
    pub(super) fn prune(&self, engine: EngineName, covered: u64) {
        match prune(&Folder::shared(&self.folder), covered, self.keep_bytes) {
            #[allow(clippy::cast_precision_loss)] // Sizes to within a millionth.
            Ok(left) => self.bytes.set(left as f64),
            Err(error) => tracing::warn!(%engine, %error, "old segments of the journal were not removed"),
        }
    }
}

/// Makes the engine what it was when it last said anything: its checkpoint, and every record behind it.
pub(super) fn begin<E: Engine>(engine: &mut E, config: &Config) -> Result<(Plan, Ledger), StartError> {
    config.journal.check()?;
    let config::Journal { folder, .. } = &config.journal;
    let folder = folder.join(E::NAME.as_str());
    let unusable = |error: &Error| {
        StartError::File(format!("{} does not start: its journal in {}: {error}", E::NAME, folder.display()))
    };
    let storage = Folder::owned(&folder).map_err(|error| unusable(&error))?;
    let pruning = Pruning::new(E::NAME, &folder, config.journal.keep_bytes());
    let mut plan = Plan::beside_journal::<E>(&folder, config.checkpoint.interval(), pruning.clone());
    let (contained, refused) = match plan.restore_any_version(engine) {
        Ok(()) => (plan.restored.as_ref().map_or(0, |cursor| cursor.journal), None),
        Err(reason) => (0, Some(reason)),
    };
    let settings = Settings {
        owner: E::NAME.as_str().to_owned(),
        segment_len: config.journal.segment_len(),
        salt: wall_clock().0,
    };
    let recover = |_, at, fact: &[u8]| engine.recover(UnixNanos(at), fact).map_err(|error| error.reason);
    let journal = Journal::open(storage, settings, contained + 1, recover).map_err(|error| {
        let Error::Pruned { first, .. } = error else { return unusable(&error) };
        let (name, file) = (E::NAME, plan.file().display());
        let why = refused.as_ref().map_or("there is no checkpoint".to_owned(), ToString::to_string);
        StartError::File(format!(
            "{name} does not start: {file}: {why}, and its journal begins with record {first}: what came before is \
             only in that checkpoint; bring it back from a copy"
        ))
    })?;
    if let Some(reason) = refused {
        plan.put_aside(E::NAME, &reason, "the engine is made anew from its journal");
    }
    let position = journal.committed();
    if plan.restored.is_none() && position > 0 {
        plan.restored = Some(Cursor::default());
    }
    pruning.prune(E::NAME, 0);
    tracing::info!(engine = %E::NAME, position, recovered = position - contained, "the engine begins with its journal");
    Ok((plan, Ledger::new(E::NAME, journal)))
}
