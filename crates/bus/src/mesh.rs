//! The mesh: any engine to any engine, at least once, acknowledged, deduplicated, in order per producer.
//!
//! What is decided here holds for both transports: numbering, recognising duplicates, pauses before a failed
//! delivery comes again, and when a message becomes a dead letter. The transports keep, hand over and settle.
//! Nothing is dropped without a count, and nothing that was accepted from a publisher without a dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Counter;
use nautilus_messages::EngineName;
use nautilus_messages::mesh::{Body, Message, MessageError, MessageId, MessageType, Priority};
use nautilus_types::UnixNanos;

use crate::config::{MeshConfig, MeshLimits, RedisMesh};
use crate::dedup::{Dedup, Verdict};
use crate::doorbell::Doorbell;
use crate::health::{BusError, BusHealth, Health};
use crate::mesh_inlet::RedisInlet;
use crate::mesh_local::{LocalInlet, LocalMesh};
use crate::mesh_outbox::Outbox;
use crate::mesh_redis::RedisTransport;

/// A handle of one mesh; clones are the same mesh.
#[derive(Debug, Clone)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: &'static str,
    health: Arc<Health>,
    limits: MeshLimits,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Local(Arc<LocalMesh>),
    Redis(Box<RedisTransport>),
}

impl Mesh {
    /// Opens the mesh that the configuration asks for. `service` labels its metrics.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn open(config: &MeshConfig, service: &'static str) -> Result<Self, BusError> {
        match config {
            MeshConfig::Local(limits) => Ok(Self::local(limits.clone(), service)),
            MeshConfig::Redis(config) => Self::redis(config.clone(), service).await,
        }
    }

    /// A mesh in this process.
    #[must_use]
    pub fn local(limits: MeshLimits, service: &'static str) -> Self {
        let transport = Transport::Local(LocalMesh::new(limits.clone(), service));
        Self(Arc::new(Inner { service, health: Arc::default(), limits, transport }))
    }

    /// A mesh over Redis streams. Its tasks run in the current tokio runtime.
    ///
    /// # Errors
    /// When the address is malformed or the server does not answer.
    pub async fn redis(config: RedisMesh, service: &'static str) -> Result<Self, BusError> {
        let limits = config.limits.clone();
        let transport = Transport::Redis(Box::new(RedisTransport::connect(config, service).await?));
        Ok(Self(Arc::new(Inner { service, health: Arc::default(), limits, transport })))
    }

    /// A publisher. `epoch` is the engine's start, in nanoseconds since 1970: larger at every start, and
    /// used by one publisher of the engine only.
    #[must_use]
    pub fn publisher(&self, producer: EngineName, epoch: u64) -> MeshPublisher {
        let outlet = match &self.0.transport {
            Transport::Local(local) => Outlet::Local(Arc::clone(local)),
            Transport::Redis(redis) => Outlet::Redis(redis.outbox(&self.0.health, self.0.service)),
        };
        // A mesh may be shared by the engines of one process: each is counted under its own name.
        let service = producer.as_str();
        let count = |kind: MessageType| metrics::counter!("nautilus_mesh_published_total", "service" => service, "type" => kind.as_str());
        MeshPublisher {
            producer,
            epoch,
            sequence: 0,
            outlet,
            published: MessageType::ALL.map(count),
            refused: metrics::counter!("nautilus_mesh_refused_total", "service" => service),
            wait: self.0.limits.publish_wait,
            out_of_patience: false,
        }
    }

    /// A consumer of `types` on behalf of an engine. Consumers of one engine share its messages; every engine
    /// gets all of them.
    ///
    /// # Errors
    /// When `types` is empty.
    pub fn consumer(&self, engine: EngineName, types: &[MessageType]) -> Result<MeshConsumer, BusError> {
        if types.is_empty() {
            return Err(BusError::NoSubscription { engine });
        }
        let inlet = match &self.0.transport {
            Transport::Local(local) => Inlet::Local(LocalMesh::inlet(local, engine, types)),
            Transport::Redis(redis) => {
                Inlet::Redis(redis.inlet(engine, types, &self.0.health, self.0.service))
            }
        };
        let service = engine.as_str();
        Ok(MeshConsumer {
            inlet,
            seen: Dedup::default(),
            retries: BTreeMap::new(),
            retries_made: 0,
            limits: self.0.limits.clone(),
            duplicates: 0,
            duplicated: metrics::counter!("nautilus_mesh_duplicates_total", "service" => service),
            redelivered: metrics::counter!("nautilus_mesh_redelivered_total", "service" => service),
            dead: metrics::counter!("nautilus_mesh_dead_letters_total", "service" => service),
        })
    }

    /// Whether messages flow.
    #[must_use]
    pub fn health(&self) -> BusHealth {
        self.0.health.get()
    }

    /// Why messages would not survive a crash of the transport, where that is so.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        match &self.0.transport {
            Transport::Local(_) => None,
            Transport::Redis(redis) => redis.warning.as_deref(),
        }
    }

    /// The newest `limit` dead letters of an engine, oldest first.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn dead_letters(&self, engine: EngineName, limit: usize) -> Result<Vec<DeadLetter>, BusError> {
        match &self.0.transport {
            Transport::Local(local) => Ok(local.dead_letters(engine, limit)),
            Transport::Redis(redis) => redis.dead_letters(engine, limit).await,
        }
    }
}

/// Why a message was not published, or not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No room within the configured wait.
    #[error(
        "the mesh took no {message_type} for {waited:?}: its {bound} places are taken by messages that wait to be sent or consumed; see its health"
    )]
    Full {
        /// The message's type.
        message_type: &'static str,
        /// How long there was no room.
        waited: Duration,
        /// The bound reached.
        bound: usize,
    },
    /// The message may not be sent.
    #[error("the message cannot be sent")]
    Message(#[from] MessageError),
    /// The transport did not confirm in time.
    #[error("{left} messages were not confirmed within {waited:?}; they are retained and sent again")]
    Unconfirmed {
        /// Messages without confirmation.
        left: usize,
        /// How long was waited.
        waited: Duration,
    },
}

#[derive(Debug)]
enum Outlet {
    Local(Arc<LocalMesh>),
    Redis(Outbox),
}

/// One engine's way onto the mesh.
#[derive(Debug)]
pub struct MeshPublisher {
    producer: EngineName,
    epoch: u64,
    sequence: u64,
    outlet: Outlet,
    published: [Counter; MessageType::ALL.len()],
    refused: Counter,
    wait: Duration,
    out_of_patience: bool,
}

impl MeshPublisher {
    /// Hands a message over. When there is no room it waits up to the configured time: that is the
    /// back-pressure. Blocks its thread meanwhile, so it is not for async code. After a wait in vain it does not
    /// wait again until there was room: the waits of many messages must not add up.
    ///
    /// # Errors
    /// When there is no room in time or the message holds a number that is not finite; nothing is sent then
    /// and the sequence number is not used up.
    pub fn publish(
        &mut self,
        ts: UnixNanos,
        priority: Priority,
        correlation_id: u128,
        body: Body,
    ) -> Result<MessageId, PublishError> {
        let wait = if self.out_of_patience { Duration::ZERO } else { self.wait };
        let result = self.hand_over(ts, priority, correlation_id, body, wait);
        if !matches!(result, Err(PublishError::Message(_))) {
            self.out_of_patience = result.is_err();
        }
        result
    }

    /// As [`Self::publish`], but never waits: for what the next message of its kind makes good. Whether it finds
    /// room has no bearing on how long others are waited for.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn try_publish(
        &mut self,
        ts: UnixNanos,
        priority: Priority,
        correlation_id: u128,
        body: Body,
    ) -> Result<MessageId, PublishError> {
        self.hand_over(ts, priority, correlation_id, body, Duration::ZERO)
    }

    fn hand_over(
        &mut self,
        ts: UnixNanos,
        priority: Priority,
        correlation_id: u128,
        body: Body,
        wait: Duration,
    ) -> Result<MessageId, PublishError> {
        let id = MessageId { producer: self.producer, epoch: self.epoch, sequence: self.sequence + 1 };
        let index = type_index(body.message_type());
        let message = Message { id, ts, correlation_id, priority, body };
        let mut bytes = Vec::new();
        message.encode(&mut bytes)?;
        let result = match &self.outlet {
            Outlet::Local(local) => local.publish(message, wait),
            Outlet::Redis(outbox) => outbox.push(&message, bytes, wait),
        };
        match result {
            Ok(()) => {
                self.sequence += 1;
                self.published[index].increment(1);
                Ok(id)
            }
            Err(error) => {
                self.refused.increment(1);
                Err(error)
            }
        }
    }

    /// Waits until everything handed over so far is acknowledged by the transport.
    ///
    /// # Errors
    /// When that takes longer than `timeout`; the messages stay and are sent as soon as it is possible.
    pub async fn flush(&self, timeout: Duration) -> Result<(), PublishError> {
        match &self.outlet {
            Outlet::Local(_) => Ok(()),
            Outlet::Redis(outbox) => outbox.flush(self.sequence, timeout).await,
        }
    }

    /// Messages handed over and not yet acknowledged by the transport. Those are lost when the process ends.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        match &self.outlet {
            Outlet::Local(_) => 0,
            Outlet::Redis(outbox) => outbox.len(),
        }
    }
}

pub(crate) fn type_index(message_type: MessageType) -> usize {
    MessageType::ALL.iter().position(|kind| *kind == message_type).expect("ALL holds every type")
}

/// Where an entry stands: its type's stream and its id in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryKey {
    pub(crate) message_type: MessageType,
    pub(crate) id: (u64, u64),
}

/// A message as the transport hands it over.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) key: EntryKey,
    pub(crate) message: Message,
    /// 1 at the first delivery.
    pub(crate) attempt: u32,
    /// It had been delivered to a consumer that did not acknowledge it.
    pub(crate) recovered: bool,
}

/// The end of an entry.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) key: EntryKey,
    /// `None` when it was processed.
    pub(crate) dead: Option<DeadLetter>,
}

/// A message that could not be processed, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The type of its stream.
    pub message_type: MessageType,
    /// Its id in the stream.
    pub original_id: String,
    /// How often it was delivered.
    pub attempts: u32,
    /// Why it is here.
    pub reason: String,
    /// The bytes that came, for [`Message::decode`].
    pub bytes: Vec<u8>,
}

/// A message in the hands of its consumer: to be given back by [`MeshConsumer::ack`] or [`MeshConsumer::fail`].
/// Dropped, it comes again only to another consumer of the engine.
#[derive(Debug)]
#[must_use = "a delivery is to be acknowledged or failed"]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// How often it was delivered, this time included.
    pub attempt: u32,
    key: EntryKey,
}

impl Delivery {
    fn dead(self, reason: String) -> Settled {
        let Self { message, attempt, key } = self;
        let mut bytes = Vec::new();
        // A message that was decoded encodes again; were it not so, the reason alone would be kept.
        let _ = message.encode(&mut bytes);
        let original_id = format!("{}-{}", key.id.0, key.id.1);
        let message_type = key.message_type;
        Settled {
            key,
            dead: Some(DeadLetter { message_type, original_id, attempts: attempt, reason, bytes }),
        }
    }
}

#[derive(Debug)]
enum Inlet {
    Local(LocalInlet),
    Redis(RedisInlet),
}

impl Inlet {
    fn take(&mut self) -> Option<Arrived> {
        match self {
            Self::Local(inlet) => inlet.take(),
            Self::Redis(inlet) => inlet.take(),
        }
    }

    fn settle(&mut self, settled: Settled) {
        match self {
            Self::Local(inlet) => inlet.settle(settled),
            Self::Redis(inlet) => inlet.settle(settled),
        }
    }
}

/// One engine's way off the mesh. What is not acknowledged when it is dropped comes again.
#[derive(Debug)]
pub struct MeshConsumer {
    inlet: Inlet,
    seen: Dedup,
    /// Failed deliveries by the instant at which they are due again; the number keeps instants apart.
    retries: BTreeMap<(Instant, u64), Delivery>,
    retries_made: u64,
    limits: MeshLimits,
    duplicates: u64,
    duplicated: Counter,
    redelivered: Counter,
    dead: Counter,
}

impl MeshConsumer {
    /// The next message, if one is there. Never waits. While as many deliveries as the inbox holds are
    /// unacknowledged nothing more comes.
    pub fn try_next(&mut self) -> Option<Delivery> {
        if let Some(delivery) = self.due() {
            self.redelivered.increment(1);
            return Some(delivery);
        }
        loop {
            let Arrived { key, message, attempt, recovered } = self.inlet.take()?;
            let verdict = self.seen.see(key.message_type, message.id);
            let delivery = Delivery { message, attempt, key };
            match verdict {
                // A repeated entry, or one whose acknowledgement was lost: an inlet does not hand over again
                // what this consumer still holds.
                Verdict::Seen => {
                    self.duplicates += 1;
                    self.duplicated.increment(1);
                    self.inlet.settle(Settled { key, dead: None });
                }
                Verdict::TooOld if !recovered => {
                    self.bury(
                        delivery,
                        "it is older than the window in which duplicates are recognised".to_owned(),
                    );
                }
                _ if attempt > self.limits.max_attempts => {
                    let reason = format!("delivered {} times and never acknowledged", attempt - 1);
                    self.bury(delivery, reason);
                }
                _ => {
                    if attempt > 1 {
                        self.redelivered.increment(1);
                    }
                    return Some(delivery);
                }
            }
        }
    }

    /// The message was processed: it does not come again.
    #[allow(clippy::needless_pass_by_value)] // A delivery is settled once: it is taken away.
    pub fn ack(&mut self, delivery: Delivery) {
        self.inlet.settle(Settled { key: delivery.key, dead: None });
    }

    /// The message could not be processed: it comes again after a pause, and after the last attempt becomes a
    /// dead letter with this reason. No bell is rung when the pause is over.
    pub fn fail(&mut self, mut delivery: Delivery, reason: &str) {
        if delivery.attempt >= self.limits.max_attempts {
            self.bury(delivery, reason.to_owned());
            return;
        }
        delivery.attempt += 1;
        self.retries_made += 1;
        self.retries.insert((Instant::now() + self.limits.retry_pause, self.retries_made), delivery);
    }

    /// Has `bell` rung whenever something new is there.
    pub fn attach(&mut self, bell: Arc<Doorbell>) {
        bell.ring();
        match &mut self.inlet {
            Inlet::Local(inlet) => inlet.attach(bell),
            Inlet::Redis(inlet) => inlet.attach(bell),
        }
    }

    /// Repeated messages recognised and left out so far.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Messages that the transport is known to have lost before this consumer could process them: trimmed from their
    /// stream because it was at its bound. Zero in a local mesh, which makes publishers wait instead.
    #[must_use]
    pub fn lost(&self) -> u64 {
        match &self.inlet {
            Inlet::Local(_) => 0,
            Inlet::Redis(inlet) => inlet.lost(),
        }
    }

    /// Waits until the transport has every acknowledgement and dead letter given so far; false when that takes
    /// longer than `timeout`. What it has not got comes again after a restart.
    pub async fn flush(&self, timeout: Duration) -> bool {
        match &self.inlet {
            Inlet::Local(_) => true,
            Inlet::Redis(inlet) => inlet.flush(timeout).await,
        }
    }

    fn due(&mut self) -> Option<Delivery> {
        let first = self.retries.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    fn bury(&mut self, delivery: Delivery, reason: String) {
        self.dead.increment(1);
        tracing::warn!(id = ?delivery.message.id, %reason, "a message became a dead letter");
        self.inlet.settle(delivery.dead(reason));
    }
}
