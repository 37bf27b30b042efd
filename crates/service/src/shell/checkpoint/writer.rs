//! The thread that writes checkpoints, one at a time. What cannot be written is counted and told; the engine goes on.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nautilus_messages::EngineName;

use super::super::journal::Pruning;
use super::file::{self, Header};

/// One checkpoint on its way to the disk.
type Job = (Header, Vec<u8>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    busy: bool,
    /// The last one could not be written.
    failed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self, failed: bool) {
        *self.state() = State { busy: false, failed };
        self.idle.notify_all();
    }
}

/// The engine's end. When it is dropped the thread finishes what it has and ends.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(
        engine: EngineName,
        file: PathBuf,
        pruning: Option<Pruning>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (jobs, inbox) = sync_channel(1);
        let meters = Meters::new(engine);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("{engine}-save"))
            .spawn(move || run(&of_thread, &inbox, &file, &meters, pruning.as_ref()))?;
        Ok(Self { shared, jobs, thread })
    }

    pub(super) fn is_busy(&self) -> bool {
        self.shared.state().busy
    }

    /// Whether the last one could not be written.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.state().failed
    }

    /// Hands one over. To be called while nothing is being written.
    pub(super) fn write(&self, header: Header, state: Vec<u8>) {
        self.shared.state().busy = true;
        if self.jobs.try_send((header, state)).is_err() {
            self.shared.done(true);
        }
    }

    /// Waits until nothing is being written.
    pub(super) fn wait(&self) {
        let busy = |state: &mut State| state.busy;
        drop(self.shared.idle.wait_while(self.shared.state(), busy).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until everything is written and the thread has ended.
    pub(super) fn finish(self) {
        let Self { jobs, thread, .. } = self;
        drop(jobs);
        if thread.join().is_err() {
            tracing::error!("the thread that writes checkpoints had ended before the stop");
        }
    }
}

#[derive(Debug)]
struct Meters {
    engine: EngineName,
    seconds: metrics::Histogram,
    bytes: metrics::Gauge,
    failures: metrics::Counter,
    success: metrics::Gauge,
}

impl Meters {
    fn new(engine: EngineName) -> Self {
        let service = engine.as_str();
        Self {
            engine,
            seconds: metrics::histogram!("nautilus_checkpoint_seconds", "service" => service, "part" => "write"),
            bytes: metrics::gauge!("nautilus_checkpoint_bytes", "service" => service),
            failures: metrics::counter!("nautilus_checkpoint_failures_total", "service" => service),
            success: metrics::gauge!("nautilus_checkpoint_last_success_timestamp_seconds", "service" => service),
        }
    }
}

fn run(shared: &Shared, inbox: &Receiver<Job>, file: &Path, meters: &Meters, pruning: Option<&Pruning>) {
    for (header, state) in inbox {
        let start = Instant::now();
        let written = file::write(file, &header, &state);
        match &written {
            #[allow(clippy::cast_precision_loss)] // Sizes and instants to within a millionth.
            Ok(bytes) => {
                meters.seconds.record(start.elapsed().as_secs_f64());
                meters.bytes.set(*bytes as f64);
                meters.success.set(header.taken_ns as f64 / 1e9);
                if let Some(pruning) = pruning {
                    pruning.prune(meters.engine, header.cursor.journal);
                }
            }
            Err(error) => {
                meters.failures.increment(1);
                tracing::error!(
                    engine = %meters.engine,
                    "the checkpoint {} cannot be written: {error}; make room there or correct checkpoint.folder",
                    file.display()
                );
            }
        }
        shared.done(written.is_err());
    }
}

#[cfg(test)]
impl Writer {
    /// As if one were being written, until [`Self::release`].
    pub(super) fn hold(&self) {
        self.shared.state().busy = true;
    }

    pub(super) fn release(&self) {
        self.shared.done(false);
    }
}
