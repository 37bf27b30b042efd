//! The engine's thread: takes inputs in turn, steps, hands effects over, replaces views, sleeps.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use nautilus_bus::{
    BusError, Delivery, Doorbell, MeshConsumer, MeshPublisher, Next, PublishError, Star, StarPlace,
    StarReader, StarSnapshot,
};
use nautilus_engine::{Effects, Engine, Input, Outgoing, Refusal, Stamp};
use nautilus_messages::frame::{self, FrameRef, Frames, Gap, GapCause, Header, Kind};
use nautilus_store::Store;
use nautilus_types::{InstrumentId, UnixNanos};

use super::checkpoint::{Checkpoints, Cursor, StarCursor};
use super::hub::Hub;
use super::journal::{Ledger, Unrecorded};
use super::pulse::Pulse;
use super::resync::Resync;
use super::{CommandReply, Ends, EngineHandle, Inspection, Progress, Request, Shell, Sink, wall_clock};
use crate::views::Views;

/// Inputs taken from one source before the others have their turn.
const BATCH: usize = 1_024;
/// Views are replaced at most this often while inputs keep coming, and at once when they stop.
const VIEW_INTERVAL: Duration = Duration::from_millis(2);
/// The longest sleep: bounds how late a state that no doorbell announces is noticed.
const IDLE_WAIT: Duration = Duration::from_millis(20);
/// How long the thread stays awake after a question or a command: who asks one asks another, and to wake a core that fell asleep
/// costs a virtual machine several times what the answer does.
const AWAKE: Duration = Duration::from_micros(200);
/// One step in so many is timed: a clock read costs as much as a small step.
const STEP_SAMPLE: u64 = 64;

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

pub(super) struct RunLoop<E: Engine> {
    engine: E,
    star: Option<StarReader>,
    hub: Option<Hub<E>>,
    mesh: Option<MeshConsumer>,
    publisher: MeshPublisher,
    store: Store,
    inbox: Receiver<Request<E>>,
    doorbell: Arc<Doorbell>,
    views: Arc<Views<E::View>>,
    /// Takes what the engine publishes in the place of `views`.
    sink: Option<Sink<E>>,
    progress: Arc<Progress>,
    meters: Meters,
    effects: Effects,
    replies: Vec<(CommandReply, Result<(), Refusal>)>,
    /// They see no more than is handed over.
    looks: Vec<Inspection<E>>,
    handled: Vec<Delivery>,
    resync: Resync,
    /// The engine was restored, and the hub is another one than it knows.
    hub_is_new: bool,
    checkpoints: Option<Checkpoints>,
    journal: Option<Ledger>,
    pulse: Pulse,
    /// Since the engine was created; it may have been restored with some.
    steps: u64,
    steps_restored: u64,
    viewed: Instant,
    /// When somebody asked or commanded last.
    asked: Instant,
    /// The mesh takes nothing; said once.
    refused: bool,
    drain: Duration,
    /// Since when the end is near.
    stopping: Option<Instant>,
}

impl<E: Engine> RunLoop<E> {
    pub(super) fn new(
        shell: Shell<E>,
        inbox: Receiver<Request<E>>,
        doorbell: Arc<Doorbell>,
        handle: &EngineHandle<E>,
    ) -> std::io::Result<Self> {
        let restored = shell.checkpoints.as_ref().and_then(|plan| plan.restored.as_ref());
        let steps = restored.map_or(0, |cursor| cursor.steps);
        handle.progress.last_frame_ns.store(restored.map_or(0, |cursor| cursor.last_frame_ns), Relaxed);
        let follow = |star: &Star| follow(star, restored).map_err(std::io::Error::other);
        let following = shell.star.as_ref().map(follow).transpose()?.unwrap_or_default();
        let checkpoints = shell.checkpoints.as_ref().map(|plan| plan.start(E::NAME)).transpose()?;
        let mut this = Self {
            engine: shell.engine,
            star: following.reader,
            hub: shell.hub,
            mesh: shell.mesh,
            publisher: shell.publisher,
            store: shell.store,
            inbox,
            doorbell,
            views: Arc::clone(&handle.views),
            sink: shell.sink,
            progress: Arc::clone(&handle.progress),
            meters: Meters::new(E::NAME.as_str()),
            effects: Effects::default(),
            replies: Vec::new(),
            looks: Vec::new(),
            handled: Vec::new(),
            resync: following.resync,
            hub_is_new: following.hub_is_new,
            checkpoints,
            journal: shell.journal,
            pulse: Pulse::default(),
            steps,
            steps_restored: steps,
            viewed: Instant::now(),
            asked: Instant::now(),
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
        Ok(this)
    }

    /// Runs until a stop is asked for.
    ///
    /// # Errors
    /// When facts cannot be kept: the batch is not handed over.
    pub(super) fn run(&mut self) -> Result<(), Unrecorded> {
        if self.hub_is_new {
            self.tell_of_new_hub();
        }
        loop {
            self.tell_of_room();
            let before = self.steps;
            let asked = self.take_requests();
            self.read_star();
            self.hand_in_snapshots();
            self.read_mesh();
            let idle = self.steps == before && !asked;
            self.record_facts()?;
            self.hand_over();
            if let Some(hub) = &mut self.hub {
                hub.renew(&self.engine);
            }
            self.show(idle);
            self.meters.steps.increment(self.steps - before);
            self.progress.steps.store(self.steps - self.steps_restored, Relaxed);
            self.pulse.beat(E::NAME, &self.progress, &mut self.publisher);
            if self.is_done(idle) {
                self.take_last_checkpoint();
                return Ok(());
            }
            self.take_checkpoint();
            if idle {
                self.doorbell.wait_awake(IDLE_WAIT, AWAKE.saturating_sub(self.asked.elapsed()));
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

    /// What goes back to the runtime once the thread has run.
    pub(super) fn into_ends(self) -> Ends {
        let hub = self.hub.map(|hub| hub.publisher);
        Ends { publisher: self.publisher, mesh: self.mesh, hub, _star: self.star }
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
                Ok(Request::Command(command, reply)) => {
                    self.asked = Instant::now();
                    self.step_command(command, reply);
                }
                Ok(Request::Inspect(look)) => {
                    self.asked = Instant::now();
                    self.looks.push(look);
                }
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
        self.follow(star);
        match FrameRef::parse(star.frame()) {
            Ok(frame) if self.resync.wants(&frame) => self.step_frame(frame),
            Ok(_) => {}
            Err(_) => self.meters.decode_errors.increment(1),
        }
        if let Some(hop) = star.sample_hop() {
            self.meters.hop.record(hop.as_secs_f64());
        }
    }

    /// Tells the engine when the hub has restarted.
    fn follow(&mut self, star: &StarReader) {
        if self.resync.follow(star.epoch()) {
            self.tell_of_new_hub();
        }
    }

    fn tell_of_new_hub(&mut self) {
        self.steps += 1;
        let at = Stamp { now: wall_clock(), index: self.steps };
        self.engine.step(at, Input::HubRestarted, &mut self.effects);
    }

    /// Tells the engine what it missed, and brings it up to date from the newest snapshots.
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
        self.follow(star);
        let (older, newer) = self.resync.miss(star);
        older.iter().for_each(|snapshot| self.step_snapshot(snapshot));
        self.step_frame(FrameRef::Gap(&gap));
        newer.iter().for_each(|snapshot| self.step_snapshot(snapshot));
    }

    fn step_snapshot(&mut self, snapshot: &StarSnapshot) {
        self.resync.hand_over(snapshot);
        self.step_fed(&snapshot.frames);
    }

    /// Hands the engine the snapshots that it asked for, where there are newer ones than it got.
    fn hand_in_snapshots(&mut self) {
        let Some(star) = self.star.take() else { return };
        self.resync.look(&star).iter().for_each(|snapshot| self.step_snapshot(snapshot));
        self.star = Some(star);
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

    fn tell_of_room(&mut self) {
        let Some(has_room) = self.journal.as_mut().and_then(Ledger::news_of_room) else { return };
        if has_room {
            tracing::info!(engine = %E::NAME, "the journal has room again");
        } else {
            tracing::error!(engine = %E::NAME, "the disk is full: the journal has no room but what is reserved");
        }
        self.engine.journal_room(has_room);
    }

    /// Returns when the batch's facts are on the disk.
    fn record_facts(&mut self) -> Result<(), Unrecorded> {
        let facts = &self.effects.facts;
        if facts.is_empty() {
            return Ok(());
        }
        let journal = self.journal.as_mut().ok_or(Unrecorded::NoJournal)?;
        Ok(journal.record(facts)?)
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
        if self.star.is_some() {
            self.resync.want(self.effects.snapshots.drain(..));
        }
        self.effects.clear();
        if let Some(mesh) = &mut self.mesh {
            self.progress.mesh_handled.fetch_add(self.handled.len() as u64, Relaxed);
            for delivery in self.handled.drain(..) {
                mesh.ack(delivery);
            }
        }
        for look in self.looks.drain(..) {
            look(&self.engine);
        }
    }

    /// What cannot be published is counted by the mesh; the engine goes on.
    fn send_messages(&mut self) {
        if self.effects.mesh.is_empty() {
            return;
        }
        let now = wall_clock();
        let publish = |Outgoing { priority, correlation_id, body }| {
            self.publisher.publish(now, priority, correlation_id, body).err()
        };
        let error: Option<PublishError> = self.effects.mesh.drain(..).filter_map(publish).last();
        if let Some(error) = error.as_ref().filter(|_| !self.refused) {
            tracing::error!(engine = %E::NAME, %error, "messages are lost until there is room again");
        }
        self.refused = error.is_some();
    }

    /// Between two batches, when everything that was stepped is handed over and acknowledged.
    fn take_checkpoint(&mut self) {
        let progress = (self.steps, self.journal.as_ref().map_or(0, Ledger::position));
        if self.checkpoints.as_mut().is_some_and(|checkpoints| checkpoints.are_due(progress)) {
            let cursor = self.cursor();
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.take(&self.engine, cursor);
            }
        }
    }

    fn take_last_checkpoint(&mut self) {
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.finish(&self.engine, self.cursor());
        }
    }

    fn cursor(&self) -> Cursor {
        let place = self.star.as_ref().and_then(|star| Some((star.position(), star.place()?)));
        let star = place.map(|(here, StarPlace { epoch, position })| StarCursor {
            epoch,
            position,
            resync: self.resync.save(here - position),
        });
        Cursor {
            steps: self.steps,
            last_frame_ns: self.progress.last_frame_ns.load(Relaxed),
            star,
            journal: self.journal.as_ref().map_or(0, Ledger::position),
        }
    }

    fn show(&mut self, idle: bool) {
        if !idle && self.replies.is_empty() && self.viewed.elapsed() < VIEW_INTERVAL {
            return;
        }
        match &mut self.sink {
            Some(sink) => self.engine.publish(sink),
            None => self.engine.publish(&mut |symbol, view| self.views.set(symbol, view)),
        }
        self.viewed = Instant::now();
        for (reply, answer) in self.replies.drain(..) {
            // The asker may have gone away.
            let _ = reply.send(answer);
        }
    }
}

/// How an engine reads the star.
#[derive(Default)]
struct Following {
    reader: Option<StarReader>,
    resync: Resync,
    hub_is_new: bool,
}

/// From the oldest frame on, or from where the engine stood when it was restored.
fn follow(star: &Star, restored: Option<&Cursor>) -> Result<Following, BusError> {
    match restored.map(|cursor| cursor.star.as_ref().filter(|_| star.keeps_places())) {
        Some(Some(StarCursor { epoch, position, resync })) => {
            let reader = star.resume(StarPlace { epoch: *epoch, position: *position })?;
            let resync = Resync::resume(*epoch, resync);
            Ok(Following { reader: Some(reader), resync, hub_is_new: false })
        }
        restored => Ok(Following {
            reader: Some(star.reader()),
            resync: Resync::default(),
            hub_is_new: restored.is_some(),
        }),
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds_since(then: UnixNanos) -> f64 {
    wall_clock().0.saturating_sub(then.0) as f64 / 1e9
}
