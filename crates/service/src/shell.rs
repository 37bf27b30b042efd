//! The run loop around an engine: one thread owns the state, everything reaches it through queues.
//!
//! Receive a batch → stamp → step → publish effects → acknowledge → replace the views. Readers never wait for this
//! thread and it never waits for them. What an engine means is none of its business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nautilus_bus::{
    Delivery, Doorbell, MeshConsumer, MeshPublisher, Next, PublishError, StarPublisher, StarReader,
};
use nautilus_engine::{Effects, Engine, Input, Outgoing, Refusal, Stamp};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{self, FrameRef, Frames, Gap, GapCause, Header, Kind};
use nautilus_store::Store;
use nautilus_types::{InstrumentId, UnixNanos};
use tokio::sync::{oneshot, watch};

use crate::platform::Connections;
use crate::problem::Problem;
use crate::views::Views;

/// Requests waiting for the engine's thread; a feed that is faster waits, a command is answered 503.
const REQUESTS_MAX: usize = 256;
/// Inputs taken from one source before the others have their turn.
const BATCH: usize = 1_024;
/// Views are replaced at most this often while inputs keep coming, and at once when they stop.
const VIEW_INTERVAL: Duration = Duration::from_millis(2);
/// How often instruments' star snapshots are renewed at most: a whole book is much to copy for one change.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest sleep: bounds how late a state that no doorbell announces is noticed.
const IDLE_WAIT: Duration = Duration::from_millis(20);
/// One step in so many is timed: a clock read costs as much as a small step.
const STEP_SAMPLE: u64 = 64;

/// Gives the frames that rebuild one instrument on the star, with the sequence they reach.
pub type SnapshotSource<E> = fn(&E, InstrumentId) -> Option<(u64, Vec<u8>)>;

type Inspection<E> = Box<dyn FnOnce(&E) + Send>;
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
    star: Option<StarReader>,
    hub: Option<Hub<E>>,
    mesh: Option<MeshConsumer>,
    publisher: MeshPublisher,
    store: Store,
    failed: watch::Sender<bool>,
    drain: Duration,
}

/// The publishing end of the star, with what it takes to keep its snapshots fresh.
struct Hub<E> {
    publisher: StarPublisher,
    source: SnapshotSource<E>,
    changed: BTreeSet<InstrumentId>,
    renewed: Instant,
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
            mesh,
            publisher: connections.mesh.publisher(E::NAME, connections.epoch),
            store: connections.store.clone(),
            failed: connections.failed.clone(),
            // The other half of the time is for giving back what the thread held.
            drain: Duration::from_millis(connections.config.http.drain_timeout_ms / 2),
        })
    }

    /// Feeds the engine from the star.
    #[must_use]
    pub fn follow_star(mut self, connections: &Connections) -> Self {
        self.star = Some(connections.star.reader());
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
        self.hub = Some(Hub { publisher, source, changed: BTreeSet::new(), renewed: Instant::now() });
        Ok(self)
    }

    /// Starts the engine's thread.
    ///
    /// # Errors
    /// When the system refuses a thread.
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
        let alive =
            Alive { progress: Arc::clone(&handle.progress), failed: self.failed.clone(), name: E::NAME };
        let mut thread = RunLoop::new(self, inbox, doorbell, &handle);
        std::thread::Builder::new().name(E::NAME.as_str().into()).spawn(move || {
            let alive = alive;
            thread.run();
            drop(alive);
            let RunLoop { publisher, mesh, hub, star, .. } = thread;
            let ends = Ends { publisher, mesh, hub: hub.map(|hub| hub.publisher), _star: star };
            // Nobody waits for them when the service was dropped instead of stopped.
            let _ = returned.send(ends);
        })?;
        Ok(handle)
    }
}

/// Says so when the thread ends, and raises the alarm when it ends by a panic.
struct Alive {
    progress: Arc<Progress>,
    failed: watch::Sender<bool>,
    name: EngineName,
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
    }
}

struct Meters {
    /// One step.
    step: metrics::Histogram,
    /// From the hub's publishing until this engine has stepped it.
    hop: metrics::Histogram,
    /// From a live frame's receive time until it was stepped.
    age: metrics::Histogram,
    steps: metrics::Counter,
    lost: metrics::Counter,
    decode_errors: metrics::Counter,
}

impl Meters {
    fn new(service: &'static str) -> Self {
        Self {
            step: metrics::histogram!("nautilus_step_seconds", "service" => service),
            hop: metrics::histogram!("nautilus_star_hop_seconds", "service" => service),
            age: metrics::histogram!("nautilus_market_data_latency_seconds", "service" => service),
            steps: metrics::counter!("nautilus_steps_total", "service" => service),
            lost: metrics::counter!("nautilus_star_missed_total", "service" => service),
            decode_errors: metrics::counter!("nautilus_decode_errors_total", "service" => service),
        }
    }
}

struct RunLoop<E: Engine> {
    engine: E,
    star: Option<StarReader>,
    hub: Option<Hub<E>>,
    mesh: Option<MeshConsumer>,
    publisher: MeshPublisher,
    store: Store,
    inbox: Receiver<Request<E>>,
    doorbell: Arc<Doorbell>,
    views: Arc<Views<E::View>>,
    progress: Arc<Progress>,
    meters: Meters,
    effects: Effects,
    replies: Vec<(CommandReply, Result<(), Refusal>)>,
    handled: Vec<Delivery>,
    resync: Resync,
    steps: u64,
    viewed: Instant,
    /// The mesh takes nothing; said once.
    refused: bool,
    drain: Duration,
    /// Since when the end is near.
    stopping: Option<Instant>,
}

impl<E: Engine> RunLoop<E> {
    fn new(
        shell: Shell<E>,
        inbox: Receiver<Request<E>>,
        doorbell: Arc<Doorbell>,
        handle: &EngineHandle<E>,
    ) -> Self {
        let mut this = Self {
            engine: shell.engine,
            star: shell.star,
            hub: shell.hub,
            mesh: shell.mesh,
            publisher: shell.publisher,
            store: shell.store,
            inbox,
            doorbell,
            views: Arc::clone(&handle.views),
            progress: Arc::clone(&handle.progress),
            meters: Meters::new(E::NAME.as_str()),
            effects: Effects::default(),
            replies: Vec::new(),
            handled: Vec::new(),
            resync: Resync::default(),
            steps: 0,
            viewed: Instant::now(),
            refused: false,
            drain: shell.drain,
            stopping: None,
        };
        if let Some(star) = &mut this.star {
            star.attach(Arc::clone(&this.doorbell));
        }
        if let Some(mesh) = &mut this.mesh {
            mesh.attach(Arc::clone(&this.doorbell));
        }
        this
    }

    fn run(&mut self) {
        loop {
            let before = self.steps;
            let asked = self.take_requests();
            self.read_star();
            self.read_mesh();
            let idle = self.steps == before && !asked;
            self.hand_over();
            self.renew_snapshots();
            self.show(idle);
            self.meters.steps.increment(self.steps - before);
            self.progress.steps.store(self.steps, Relaxed);
            if self.is_done(idle) {
                return;
            }
            if idle {
                self.doorbell.wait(IDLE_WAIT);
            }
        }
    }

    /// Whether a stop was asked for and what was queued is finished, or keeps coming for too long.
    fn is_done(&mut self, idle: bool) -> bool {
        if !self.progress.stopping.load(Relaxed) {
            return false;
        }
        let since = *self.stopping.get_or_insert_with(Instant::now);
        idle || since.elapsed() >= self.drain
    }

    fn take_requests(&mut self) -> bool {
        for taken in 0..BATCH {
            match self.inbox.try_recv() {
                Ok(Request::Feed(frames)) => {
                    self.step_fed(&frames);
                    self.progress.fed.fetch_add(1, Relaxed);
                    // Effects of a large hand-over are published before the next one is taken.
                    return true;
                }
                Ok(Request::Command(command, reply)) => self.step_command(command, reply),
                Ok(Request::Inspect(look)) => look(&self.engine),
                Err(TryRecvError::Disconnected) => {
                    self.progress.stopping.store(true, Relaxed);
                    return taken > 0;
                }
                Err(TryRecvError::Empty) => return taken > 0,
            }
        }
        true
    }

    fn step_fed(&mut self, frames: &[u8]) {
        for frame in Frames::new(frames) {
            match frame {
                Ok(frame) => self.step_frame(frame),
                Err(error) => {
                    self.meters.decode_errors.increment(1);
                    tracing::warn!(engine = %E::NAME, %error, "the rest of a feed's batch was dropped");
                }
            }
        }
    }

    fn step_frame(&mut self, frame: FrameRef<'_>) {
        let header = frame.header();
        self.steps += 1;
        let at = Stamp { now: header.ts_recv(), index: self.steps };
        if !self.steps.is_multiple_of(STEP_SAMPLE) {
            self.engine.step(at, Input::Frame(frame), &mut self.effects);
            return;
        }
        let start = Instant::now();
        self.engine.step(at, Input::Frame(frame), &mut self.effects);
        self.meters.step.record(start.elapsed().as_secs_f64());
        self.progress.last_frame_ns.store(at.now.0, Relaxed);
        if !header.has(frame::flags::REPLAY) {
            self.meters.age.record(seconds_since(at.now));
        }
    }

    fn step_command(&mut self, command: E::Command, reply: CommandReply) {
        self.steps += 1;
        self.engine.step(
            Stamp { now: wall_clock(), index: self.steps },
            Input::Command(command),
            &mut self.effects,
        );
        let answer = self.effects.refusal.take().map_or(Ok(()), Err);
        self.replies.push((reply, answer));
    }

    fn read_star(&mut self) {
        let Some(mut star) = self.star.take() else { return };
        for _ in 0..BATCH {
            match star.next() {
                None => break,
                Some(Next::Frame(_)) => self.step_read(&star),
                Some(Next::Lost { first, last }) => self.resynchronise(&star, first, last),
            }
        }
        self.progress.star_read.store(star.position(), Relaxed);
        self.star = Some(star);
    }

    fn step_read(&mut self, star: &StarReader) {
        // From this very frame on: the batch may hold frames of the hub before and after its restart.
        self.resync.follow(star.epoch());
        match FrameRef::parse(star.frame()) {
            Ok(frame) if self.resync.wants(&frame) => self.step_frame(frame),
            Ok(_) => {}
            Err(_) => self.meters.decode_errors.increment(1),
        }
        if let Some(hop) = star.sample_hop() {
            self.meters.hop.record(hop.as_secs_f64());
        }
    }

    /// Tells the engine what it missed, then brings it up to date from the newest snapshots.
    fn resynchronise(&mut self, star: &StarReader, first: u64, last: u64) {
        let lost = (last - first).saturating_add(1);
        self.meters.lost.increment(lost);
        self.progress.star_lost.fetch_add(lost, Relaxed);
        tracing::warn!(engine = %E::NAME, first, last, "frames of the star were missed; resynchronising");
        let last_ns = UnixNanos(self.progress.last_frame_ns.load(Relaxed));
        let gap = Gap {
            header: Header::new(Kind::Gap, InstrumentId::NONE, 0, last_ns, last_ns),
            first_missing: first.into(),
            last_missing: last.into(),
            cause: GapCause::Overrun,
            reserved: [0; 15],
        };
        self.step_frame(FrameRef::Gap(&gap));
        for snapshot in star.snapshots() {
            self.resync.skip_to(snapshot.instrument, snapshot.sequence);
            self.step_fed(&snapshot.frames);
        }
    }

    fn read_mesh(&mut self) {
        let Some(mesh) = &mut self.mesh else { return };
        for _ in 0..BATCH {
            let Some(delivery) = mesh.try_next() else { break };
            self.steps += 1;
            let at = Stamp { now: delivery.message.ts, index: self.steps };
            self.engine.step(at, Input::Message(&delivery.message), &mut self.effects);
            self.handled.push(delivery);
        }
    }

    /// Publishes the batch's effects; only then acknowledges what caused them.
    fn hand_over(&mut self) {
        if let Some(hub) = &mut self.hub {
            hub.publish(&self.engine, &self.effects.star);
            self.progress.star_published.store(hub.publisher.position(), Relaxed);
            self.progress.star_lag.store(hub.publisher.lag(), Relaxed);
        }
        self.send_messages();
        if !self.effects.records.is_empty() {
            self.store.write(std::mem::take(&mut self.effects.records));
        }
        self.effects.clear();
        if let Some(mesh) = &mut self.mesh {
            self.progress.mesh_handled.fetch_add(self.handled.len() as u64, Relaxed);
            for delivery in self.handled.drain(..) {
                mesh.ack(delivery);
            }
        }
    }

    /// What cannot be published is counted by the mesh; the engine goes on.
    fn send_messages(&mut self) {
        if self.effects.mesh.is_empty() {
            return;
        }
        let now = wall_clock();
        let publish = |outgoing: &Outgoing| {
            self.publisher.publish(now, outgoing.priority, outgoing.correlation_id, outgoing.body).err()
        };
        let error: Option<PublishError> = self.effects.mesh.iter().filter_map(publish).last();
        if let Some(error) = error.as_ref().filter(|_| !self.refused) {
            tracing::error!(engine = %E::NAME, %error, "messages are lost until there is room again");
        }
        self.refused = error.is_some();
    }

    fn renew_snapshots(&mut self) {
        if let Some(hub) = &mut self.hub
            && !hub.changed.is_empty()
            && hub.renewed.elapsed() >= SNAPSHOT_INTERVAL
        {
            hub.renew(&self.engine);
        }
    }

    fn show(&mut self, idle: bool) {
        if !idle && self.replies.is_empty() && self.viewed.elapsed() < VIEW_INTERVAL {
            return;
        }
        let views = &self.views;
        self.engine.publish(&mut |symbol, view| views.set(symbol, view));
        self.viewed = Instant::now();
        for (reply, answer) in self.replies.drain(..) {
            // The asker may have gone away.
            let _ = reply.send(answer);
        }
    }
}

impl<E: Engine> Hub<E> {
    /// Publishes frames and remembers whose snapshot is out of date. A new definition is snapshot at once, so that
    /// whoever joins later knows the instrument.
    fn publish(&mut self, engine: &E, frames: &[u8]) {
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

    fn renew(&mut self, engine: &E) {
        self.renewed = Instant::now();
        while let Some(instrument) = self.changed.pop_first() {
            self.snapshot(engine, instrument);
        }
    }

    fn snapshot(&mut self, engine: &E, instrument: InstrumentId) {
        if let Some((sequence, frames)) = (self.source)(engine, instrument) {
            self.publisher.publish_snapshot(instrument, sequence, frames);
        }
    }
}

/// After a snapshot was taken in, the book changes it already contains are skipped.
#[derive(Debug, Default)]
struct Resync {
    epoch: u64,
    known_up_to: BTreeMap<InstrumentId, u64>,
}

impl Resync {
    /// A hub that has restarted counts anew.
    fn follow(&mut self, epoch: u64) {
        if self.epoch != epoch {
            *self = Self { epoch, known_up_to: BTreeMap::new() };
        }
    }

    fn skip_to(&mut self, instrument: InstrumentId, sequence: u64) {
        self.known_up_to.insert(instrument, sequence);
    }

    /// Trades, bars and gaps are always wanted: a snapshot does not contain them.
    fn wants(&self, frame: &FrameRef<'_>) -> bool {
        let header = frame.header();
        let contained = matches!(
            header.kind,
            Kind::OrderChange | Kind::LevelChange | Kind::Snapshot | Kind::Quote | Kind::Status
        );
        let known = self.known_up_to.get(&header.instrument()).copied().unwrap_or(0);
        !contained || header.sequence.get() > known
    }
}

/// The wall clock as the platform counts it.
#[must_use]
pub fn wall_clock() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[allow(clippy::cast_precision_loss)]
fn seconds_since(then: UnixNanos) -> f64 {
    wall_clock().0.saturating_sub(then.0) as f64 / 1e9
}
