//! A running engine: how it is started, reached and stopped. One thread owns the state, everything reaches it through
//! queues; `run_loop` is that thread.
//!
//! Readers never wait for the thread and it never waits for them. What an engine means is none of its business.

mod checkpoint;
mod hub;
mod journal;
mod pulse;
mod resync;
mod run_loop;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nautilus_bus::{Doorbell, MeshConsumer, MeshPublisher, Star, StarPublisher, StarReader};
use nautilus_engine::{Engine, Refusal};
use nautilus_messages::EngineName;
use nautilus_store::Store;
use nautilus_types::{Symbol, UnixNanos};
use tokio::sync::{oneshot, watch};

use crate::pinning;
use crate::platform::{Connections, StartError};
use crate::problem::Problem;
use crate::views::Views;

use checkpoint::Plan;
use hub::Hub;
pub use hub::SnapshotSource;
use journal::{Ledger, Unrecorded};
use run_loop::RunLoop;

/// How long the answer to a command waits for the database.
const KEPT_WITHIN: Duration = Duration::from_secs(2);
/// Requests waiting for the engine's thread; a feed that is faster waits, a command is answered 503.
const REQUESTS_MAX: usize = 256;

type Inspection<E> = Box<dyn FnOnce(&E) + Send>;
/// Takes what an engine publishes, on the engine's thread: it must be quick and must not block.
type Sink<E> = Box<dyn FnMut(Symbol, <E as Engine>::View) + Send>;
type CommandReply = oneshot::Sender<Result<(), Refusal>>;

enum Request<E: Engine> {
    Feed(Vec<u8>),
    Command(E::Command, CommandReply),
    Inspect(Inspection<E>),
}

/// What the run loop has done so far; read by anyone at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// Inputs stepped.
    pub steps: AtomicU64,
    /// Frames published on the star.
    pub star_published: AtomicU64,
    /// Position of the star up to which this engine has read.
    pub star_read: AtomicU64,
    /// Frames of the star this engine missed.
    pub star_lost: AtomicU64,
    /// How many frames the slowest reader of the star is behind this hub.
    pub star_lag: AtomicU64,
    /// Messages of the mesh handled.
    pub mesh_handled: AtomicU64,
    /// Receive time of the last frame, in nanoseconds since 1970.
    pub last_frame_ns: AtomicU64,
    /// Requests from feeds that were taken in completely.
    pub fed: AtomicU64,
    /// The thread is running.
    pub running: AtomicBool,
    /// The engine is to finish what is queued and end: feeds are refused.
    stopping: AtomicBool,
}

/// A way to talk to a running engine. Cheap to clone.
pub struct EngineHandle<E: Engine> {
    requests: SyncSender<Request<E>>,
    doorbell: Arc<Doorbell>,
    views: Arc<Views<E::View>>,
    progress: Arc<Progress>,
    ends: Arc<Mutex<Option<oneshot::Receiver<Ends>>>>,
}

impl<E: Engine> Clone for EngineHandle<E> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            doorbell: Arc::clone(&self.doorbell),
            views: Arc::clone(&self.views),
            progress: Arc::clone(&self.progress),
            ends: Arc::clone(&self.ends),
        }
    }
}

impl<E: Engine> std::fmt::Debug for EngineHandle<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHandle").field("engine", &E::NAME).finish_non_exhaustive()
    }
}

/// The engine's thread is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

fn stopped<T>(_: T) -> Problem {
    Problem::unavailable("engine_stopped", "the engine has stopped; restart the service")
}

impl<E: Engine> EngineHandle<E> {
    /// The newest views.
    #[must_use]
    pub fn views(&self) -> &Arc<Views<E::View>> {
        &self.views
    }

    /// What the run loop has done so far.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Whether the engine's thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.progress.running.load(Relaxed)
    }

    /// Hands over frames of a feed, waiting for room. For feed threads only.
    ///
    /// # Errors
    /// When the engine has stopped or is about to.
    pub fn feed(&self, frames: Vec<u8>) -> Result<(), Stopped> {
        if self.progress.stopping.load(Relaxed) {
            return Err(Stopped);
        }
        self.requests.send(Request::Feed(frames)).map_err(|_| Stopped)?;
        self.doorbell.ring();
        Ok(())
    }

    /// Has the engine carry out a command; returns when readers can see its effect.
    ///
    /// # Errors
    /// The engine's refusal, or 503 when it is overloaded or has stopped.
    pub async fn command(&self, command: E::Command) -> Result<(), Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Command(command, reply))?;
        answer.await.map_err(stopped)?.map_err(Problem::from)
    }

    /// The same for a command whose effect outlives the process, however that ends: returns when `store` has it. While
    /// the database is away that is not waited for beyond two seconds: the rows are queued.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn command_kept(&self, command: E::Command, store: &Store) -> Result<(), Problem> {
        self.command(command).await?;
        if let Err(error) = store.flush(KEPT_WITHIN).await {
            tracing::warn!(engine = %E::NAME, %error, "a command is carried out and not in the database yet");
        }
        Ok(())
    }

    /// Looks at the state between two batches.
    ///
    /// # Errors
    /// 503 when the engine is overloaded or has stopped.
    pub async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&E) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let look = move |engine: &E| {
            // The asker may have gone away; then nobody wants the answer.
            let _ = reply.send(look(engine));
        };
        self.send(Request::Inspect(Box::new(look)))?;
        answer.await.map_err(stopped)
    }

    fn send(&self, request: Request<E>) -> Result<(), Problem> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => {
                Problem::unavailable("engine_busy", "the engine's queue is full; try again in a second")
            }
            TrySendError::Disconnected(_) => stopped(()),
        })?;
        self.doorbell.ring();
        Ok(())
    }

    /// Lets the engine finish what is queued, then stops its thread and waits until the buses have everything it
    /// published and acknowledged.
    pub(crate) async fn stop(&self, timeout: Duration) {
        self.progress.stopping.store(true, Relaxed);
        self.doorbell.ring();
        let receiver = self.ends.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receiver) = receiver else { return };
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(ends)) => ends.flush(E::NAME, timeout).await,
            Ok(Err(_)) => tracing::warn!(engine = %E::NAME, "the engine had ended before the stop"),
            Err(_) => tracing::warn!(engine = %E::NAME, "the engine did not stop in time"),
        }
    }
}

/// An engine's ends of the buses, once its thread has ended. They are dropped where the runtime still runs, so that
/// their tasks end before their connections do.
struct Ends {
    publisher: MeshPublisher,
    mesh: Option<MeshConsumer>,
    hub: Option<StarPublisher>,
    _star: Option<StarReader>,
}

impl Ends {
    /// Waits until the buses have everything, at most `timeout`.
    async fn flush(self, engine: EngineName, timeout: Duration) {
        let acknowledged = async {
            match &self.mesh {
                Some(mesh) => mesh.flush(timeout).await,
                None => true,
            }
        };
        let frames_sent = async {
            match &self.hub {
                Some(hub) => hub.flush(timeout).await,
                None => true,
            }
        };
        let (sent, acknowledged, frames_sent) =
            tokio::join!(self.publisher.flush(timeout), acknowledged, frames_sent);
        if let Err(error) = sent {
            tracing::warn!(%engine, %error, "messages were not acknowledged before the stop");
        }
        if !acknowledged {
            tracing::warn!(%engine, "messages that were handled come again after the start");
        }
        if !frames_sent {
            tracing::warn!(%engine, "the last frames of the star did not reach Redis");
        }
    }
}

/// An engine with its connections, ready to run.
pub struct Shell<E: Engine> {
    engine: E,
    star: Option<Star>,
    hub: Option<Hub<E>>,
    sink: Option<Sink<E>>,
    checkpoints: Option<Plan>,
    journal: Option<Ledger>,
    mesh: Option<MeshConsumer>,
    publisher: MeshPublisher,
    store: Store,
    failed: watch::Sender<bool>,
    drain: Duration,
    pinned: bool,
}

impl<E: Engine> Shell<E> {
    /// An engine connected to the mesh and the store. It consumes the message types that list it.
    ///
    /// # Errors
    /// When the mesh refuses the subscription.
    pub fn new(engine: E, connections: &Connections) -> Result<Self, nautilus_bus::BusError> {
        let types: Vec<_> = nautilus_messages::mesh::MessageType::consumed_by(E::NAME).collect();
        let mesh = match types.as_slice() {
            [] => None,
            types => Some(connections.mesh.consumer(E::NAME, types)?),
        };
        Ok(Self {
            engine,
            star: None,
            hub: None,
            sink: None,
            checkpoints: None,
            journal: None,
            mesh,
            publisher: connections.mesh.publisher(E::NAME, connections.epoch),
            store: connections.store.clone(),
            failed: connections.failed.clone(),
            // The other half of the time is for giving back what the thread held.
            drain: Duration::from_millis(connections.config.http.drain_timeout_ms / 2),
            pinned: connections.config.pinning.enabled,
        })
    }

    /// Feeds the engine from the star.
    #[must_use]
    pub fn follow_star(mut self, connections: &Connections) -> Self {
        self.star = Some(connections.star.clone());
        self
    }

    /// Keeps the engine's state over restarts, as `[checkpoint]` says: restores it now from the last checkpoint, and
    /// has one written from time to time and at the end. Over Redis the star is then read on exactly where the
    /// checkpoint was taken; where it counts anew the engine is told that the hub has restarted. A file that is not
    /// right is put aside, and the engine starts as it was given.
    ///
    /// Nothing more where [`Self::journal`] does all of it. Not for the hub: readers of its new epoch would not hear of the instruments that it knows already.
    #[must_use]
    pub fn checkpoint(mut self, connections: &Connections) -> Self {
        if self.journal.is_none() {
            self.checkpoints = Plan::restoring(&mut self.engine, &connections.config.checkpoint);
        }
        self
    }

    /// Keeps the engine's facts in a journal, as `[journal]` says, and its state over restarts: restores it now from its
    /// last checkpoint and every fact behind that. From then on nothing of a batch is published, answered or
    /// acknowledged before the batch's facts are on the disk. In the place of [`Self::checkpoint`], whose files then lie
    /// beside the journal, whatever `checkpoint.folder` says, and outlive a change of the platform's version.
    ///
    /// # Errors
    /// When the journal is damaged or in use, a checkpoint is missing that nothing else can make good, or the engine
    /// refuses a fact: it never starts with less than was acknowledged.
    pub fn journal(mut self, connections: &Connections) -> Result<Self, StartError> {
        let (plan, ledger) = journal::begin(&mut self.engine, &connections.config)?;
        (self.checkpoints, self.journal) = (Some(plan), Some(ledger));
        Ok(self)
    }

    /// Hands what the engine publishes to `sink` instead of keeping it as [`Views`]. The sink runs on the engine's
    /// thread: it must be quick and must not block.
    #[must_use]
    pub fn publish_to(mut self, sink: impl FnMut(Symbol, E::View) + Send + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self
    }

    /// Makes this engine the hub of the star.
    ///
    /// # Errors
    /// When the star has a hub already.
    pub fn publish_star(
        mut self,
        connections: &Connections,
        source: SnapshotSource<E>,
    ) -> Result<Self, nautilus_bus::BusError> {
        let publisher = connections.star.publisher(connections.epoch)?;
        self.hub = Some(Hub::new(publisher, source));
        Ok(self)
    }

    /// Starts the engine's thread.
    ///
    /// # Errors
    /// When the system refuses a thread, or an engine that was restored is not the first to read its star.
    pub fn spawn(self) -> std::io::Result<EngineHandle<E>> {
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        let (returned, ends) = oneshot::channel();
        let doorbell = Doorbell::new();
        let handle = EngineHandle {
            requests,
            doorbell: Arc::clone(&doorbell),
            views: Arc::default(),
            progress: Arc::default(),
            ends: Arc::new(Mutex::new(Some(ends))),
        };
        handle.progress.running.store(true, Relaxed);
        let alive = Alive {
            progress: Arc::clone(&handle.progress),
            failed: self.failed.clone(),
            name: E::NAME,
            broken: None,
        };
        let pinned = self.pinned;
        let mut thread = RunLoop::new(self, inbox, doorbell, &handle)?;
        std::thread::Builder::new().name(E::NAME.as_str().into()).spawn(move || {
            let mut alive = alive;
            let _raised = pinning::raise_current_thread(pinned);
            alive.broken = thread.run().err();
            drop(alive);
            // Nobody waits for them when the service was dropped instead of stopped.
            let _ = returned.send(thread.into_ends());
        })?;
        Ok(handle)
    }
}

/// Says so when the thread ends, and raises the alarm when it ends by a panic or because facts cannot be kept.
struct Alive {
    progress: Arc<Progress>,
    failed: watch::Sender<bool>,
    name: EngineName,
    broken: Option<Unrecorded>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Feeds are refused from here on, not only once the queue behind this is gone.
        self.progress.stopping.store(true, Relaxed);
        self.progress.running.store(false, Relaxed);
        if std::thread::panicking() {
            tracing::error!(engine = %self.name, "an invariant of the engine is broken: the process stops");
            self.failed.send_replace(true);
        }
        if let Some(reason) = &self.broken {
            tracing::error!(
                engine = %self.name,
                "the process stops: {reason}; nothing of the batch was acknowledged, a restart has all that was"
            );
            self.failed.send_replace(true);
        }
    }
}

/// The wall clock as the platform counts it.
#[must_use]
pub fn wall_clock() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
