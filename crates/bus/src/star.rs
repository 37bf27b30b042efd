//! The star: one hub publishes market-data frames, everyone may read, nothing flows back.
//!
//! The hub never waits and never fails. A reader is told exactly which positions it missed and starts again from
//! a snapshot. Positions number the frames of a star from 0; over Redis they are the hub's own, and go on counting
//! in a reading process when the hub restarts. The star checks no frame that its own process publishes; what
//! comes over Redis is decoded before a reader sees it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge};
use nautilus_types::InstrumentId;

use crate::config::{RedisStar, StarConfig};
use crate::doorbell::Doorbell;
use crate::health::{BusError, BusHealth, Health};
use crate::link::{Link, TaskHandle};
use crate::ring::{Found, FrameBytes, Ring, RingReader, RingWriter, frame_len};
use crate::snapshots::{Snapshots, StarSnapshot};
use crate::star_redis::{self, Inbound, POSITION_MAX};

/// A handle of one star; clones are the same star.
#[derive(Debug, Clone)]
pub struct Star(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: &'static str,
    health: Arc<Health>,
    lost: Counter,
    lag: Gauge,
    published: Counter,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Local { ring: Arc<Ring>, snapshots: Arc<Snapshots> },
    Redis(Box<OverRedis>),
}

/// Either half comes to life when it is first asked for: most processes only read.
#[derive(Debug)]
struct OverRedis {
    config: RedisStar,
    link: Link,
    outbound: OnceLock<Arc<Ring>>,
    inbound: OnceLock<Inbound>,
}

impl Star {
    /// Opens the star that the configuration asks for. `service` labels its metrics.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn open(config: &StarConfig, service: &'static str) -> Result<Self, BusError> {
        match config {
            StarConfig::Local { capacity } => Ok(Self::local(*capacity, service)),
            StarConfig::Redis(config) => Self::redis(config.clone(), service).await,
        }
    }

    /// A star in this process that retains `capacity` frames, rounded up to a power of two.
    #[must_use]
    pub fn local(capacity: usize, service: &'static str) -> Self {
        Self::new(service, Transport::Local { ring: Ring::new(capacity), snapshots: Arc::default() })
    }

    /// A star over a Redis stream. Its tasks run in the current tokio runtime.
    ///
    /// # Errors
    /// When the address is malformed or the server does not answer.
    pub async fn redis(config: RedisStar, service: &'static str) -> Result<Self, BusError> {
        let link = Link::new(&config.url, config.response_timeout, service)?;
        link.check().await?;
        let transport = OverRedis { config, link, outbound: OnceLock::new(), inbound: OnceLock::new() };
        Ok(Self::new(service, Transport::Redis(Box::new(transport))))
    }

    fn new(service: &'static str, transport: Transport) -> Self {
        Self(Arc::new(Inner {
            service,
            health: Arc::default(),
            lost: metrics::counter!("nautilus_star_lost_total", "service" => service),
            lag: metrics::gauge!("nautilus_star_lag", "service" => service),
            published: metrics::counter!("nautilus_star_published_total", "service" => service),
            transport,
        }))
    }

    /// The one publisher of this star. `epoch` is the hub's start, in nanoseconds since 1970: larger at every start.
    ///
    /// # Errors
    /// When it was asked for before.
    pub fn publisher(&self, epoch: u64) -> Result<StarPublisher, BusError> {
        let (ring, snapshots, over_redis) = match &self.0.transport {
            Transport::Local { ring, snapshots } => (Arc::clone(ring), Arc::clone(snapshots), None),
            Transport::Redis(redis) => {
                let ring = redis.outbound.get_or_init(|| Ring::new(redis.config.capacity));
                (Arc::clone(ring), Arc::default(), Some(redis))
            }
        };
        let writer = ring.writer().ok_or(BusError::SecondPublisher)?;
        let bell = Doorbell::new();
        let pump = over_redis.map(|redis| {
            let mut reader = ring.reader();
            reader.attach(Arc::clone(&bell));
            let pump = star_redis::Pump::new(epoch, reader, Arc::clone(&snapshots), Arc::clone(&bell));
            redis.link.spawn(pump.run(redis.config.clone(), redis.link.clone(), self.0.health.part()))
        });
        Ok(StarPublisher { writer, snapshots, bell, star: self.clone(), pump })
    }

    /// A reader that begins with the oldest frame retained; what came before is its first loss.
    #[must_use]
    pub fn reader(&self) -> StarReader {
        match &self.0.transport {
            Transport::Local { ring, snapshots } => {
                self.reader_of(ring.reader(), Source::Local(Arc::clone(snapshots)))
            }
            Transport::Redis(redis) => {
                let inbound = redis.inbound.get_or_init(|| Inbound::new(&redis.config, None));
                self.read_inbound(redis, inbound, 0)
            }
        }
    }

    /// A reader that goes on at `place`, where one of an earlier process was. Frames before it are passed over and do
    /// not count as lost; those behind it that are no longer retained are the reader's first loss. When every hub in
    /// the stream is older than the place's, it is another server's stream or one that lost its data: then the reader
    /// begins with the oldest frame retained.
    ///
    /// # Errors
    /// When this star keeps no places, is being read already, or the place is none.
    pub fn resume(&self, place: StarPlace) -> Result<StarReader, BusError> {
        let refuse = |reason| Err(BusError::Resume { reason });
        let Transport::Redis(redis) = &self.0.transport else {
            return refuse("its hub is in this process and counts anew");
        };
        if place.position >= POSITION_MAX {
            return refuse("no hub counts that far");
        }
        let mut first = false;
        let inbound = redis.inbound.get_or_init(|| {
            first = true;
            Inbound::new(&redis.config, Some(place))
        });
        if !first {
            return refuse("it is being read already");
        }
        Ok(self.read_inbound(redis, inbound, place.position))
    }

    /// Whether a place in this star means the same after a restart: it does where Redis keeps the frames.
    #[must_use]
    pub fn keeps_places(&self) -> bool {
        matches!(self.0.transport, Transport::Redis(_))
    }

    /// The reader comes before the feeder, so that the first one misses nothing.
    fn read_inbound(&self, redis: &OverRedis, inbound: &Inbound, position: u64) -> StarReader {
        let mut reader = self.reader_of(inbound.ring.reader(), Source::Redis(self.clone()));
        reader.seek(position);
        inbound.start(&redis.config, &redis.link, &self.0.health, self.0.service);
        reader
    }

    fn reader_of(&self, ring: RingReader, source: Source) -> StarReader {
        StarReader { ring, frame: FrameBytes::EMPTY, lost: self.0.lost.clone(), source }
    }

    /// Whether frames flow.
    #[must_use]
    pub fn health(&self) -> BusHealth {
        self.0.health.get()
    }

    /// Brings the metrics of published frames and lag up to date. The hot path leaves them alone, so the
    /// chassis calls this before it answers a scrape.
    pub fn record_metrics(&self) {
        let ring = match &self.0.transport {
            Transport::Local { ring, .. } => Some(ring),
            Transport::Redis(redis) => redis.outbound.get(),
        };
        if let Some(ring) = ring {
            self.0.published.absolute(ring.head());
            #[allow(clippy::cast_precision_loss)] // A lag is at most a ring's capacity and a little.
            self.0.lag.set(ring.lag() as f64);
        }
    }

    /// The label of this star's metrics.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    fn inbound(&self) -> Option<&Inbound> {
        match &self.0.transport {
            Transport::Local { .. } => None,
            Transport::Redis(redis) => redis.inbound.get(),
        }
    }
}

/// The hub's end of a star.
#[derive(Debug)]
pub struct StarPublisher {
    writer: RingWriter,
    snapshots: Arc<Snapshots>,
    bell: Arc<Doorbell>,
    star: Star,
    pump: Option<TaskHandle>,
}

impl StarPublisher {
    /// Publishes frames that stand end to end. Never waits.
    ///
    /// # Panics
    /// When `frames` ends in the middle of a frame: the engine that made them is at fault.
    pub fn publish(&mut self, frames: &[u8]) {
        if frames.is_empty() {
            return;
        }
        self.writer.mark(0);
        let mut rest = frames;
        while !rest.is_empty() {
            assert!(rest.len() >= frame_len(rest[0]), "the hub published a frame cut short");
            rest = self.writer.write_first(rest);
        }
        self.writer.ring_bells();
    }

    /// Keeps the state of an instrument, as frames, for readers that come late or lost some. `sequence` is the
    /// instrument's last sequence number that it contains.
    pub fn publish_snapshot(&mut self, instrument: InstrumentId, sequence: u64, frames: Vec<u8>) {
        // Over Redis the pump adds the epoch.
        let (epoch, position) = (0, self.position());
        let snapshot = StarSnapshot { instrument, sequence, epoch, position, frames: frames.into() };
        if !self.snapshots.replace(snapshot) {
            tracing::warn!(instrument = instrument.0, "a snapshot over the bounds of the star was not kept");
        }
        self.bell.ring();
    }

    /// Says that every snapshot kept is up to date, also those of instruments of which nothing was published since
    /// theirs was taken: a reader that lost frames of others learns that it lost none of these. Redis keeps
    /// snapshots as they were sent.
    pub fn confirm_snapshots(&self) {
        self.snapshots.confirm(self.position());
    }

    /// Frames published so far: the position of the next one.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.writer.position()
    }

    /// Waits until Redis has every frame published; false when that takes longer than `timeout`. Frames it has not
    /// got when this is dropped are lost. A local star's readers have the ring itself.
    pub async fn flush(&self, timeout: Duration) -> bool {
        let sent = async {
            while self.pump.is_some() && self.lag() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(timeout, sent).await.is_ok()
    }

    /// How many frames the slowest live reader, or the way to Redis, is behind. Whoever replays a recording
    /// uses it to pace itself; the hub itself never waits.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.writer.ring().lag()
    }
}

impl Drop for StarPublisher {
    fn drop(&mut self) {
        self.star.record_metrics();
    }
}

/// A place in a star as its hub counts: the frame that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StarPlace {
    /// The hub's start.
    pub epoch: u64,
    /// The frame's position within the epoch.
    pub position: u64,
}

/// What a reader finds next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// One frame.
    Frame(&'a [u8]),
    /// These star positions were missed, all of them and no others. Take [`StarReader::snapshots`], and ignore
    /// frames whose sequence the snapshot of their instrument already contains.
    Lost {
        /// The first position missed.
        first: u64,
        /// The last position missed.
        last: u64,
    },
}

#[derive(Debug)]
enum Source {
    Local(Arc<Snapshots>),
    Redis(Star),
}

/// One reader of a star, with a cursor of its own.
#[derive(Debug)]
pub struct StarReader {
    ring: RingReader,
    frame: FrameBytes,
    lost: Counter,
    source: Source,
}

impl StarReader {
    /// The next frame or loss; `None` when there is nothing now. Never waits.
    #[inline]
    #[allow(clippy::should_implement_trait)] // What it returns borrows from the reader.
    pub fn next(&mut self) -> Option<Next<'_>> {
        match self.ring.read(&mut self.frame) {
            Found::Nothing => None,
            Found::Frame => Some(Next::Frame(self.frame.as_slice())),
            Found::Lost { first, last } => {
                self.lost.increment(last - first + 1);
                Some(Next::Lost { first, last })
            }
        }
    }

    /// The frame that [`Self::next`] found last.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.frame.as_slice()
    }

    /// The position of the frame that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.ring.position()
    }

    /// Continues at `position`, for instance a snapshot's; frames before it do not count as lost.
    pub fn seek(&mut self, position: u64) {
        self.ring.seek(position);
    }

    /// Has `bell` rung whenever there is something new.
    pub fn attach(&mut self, bell: Arc<Doorbell>) {
        self.ring.attach(bell);
    }

    /// How long the frame just read took since it was handed to [`StarPublisher::publish`]. Only the first frame of
    /// a `publish` call is measured, and only as long as no newer call was made. Over Redis the publishing
    /// host's wall clock is compared with this one's.
    #[must_use]
    pub fn sample_hop(&self) -> Option<Duration> {
        self.ring.age_ns().map(Duration::from_nanos)
    }

    /// The hub's epoch of what was read last; zero where the hub is in this process or unknown yet. When it
    /// changes the hub has restarted and its sequence numbers may begin anew.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        match &self.source {
            Source::Local(_) => 0,
            Source::Redis(star) => {
                star.inbound().map_or(0, |inbound| inbound.epoch_at(self.position().saturating_sub(1)))
            }
        }
    }

    /// Where this reader is as the hub counts, for [`Star::resume`]; `None` where the hub is in this process, or
    /// nothing of it was read yet.
    #[must_use]
    pub fn place(&self) -> Option<StarPlace> {
        match &self.source {
            Source::Local(_) => None,
            Source::Redis(star) => star.inbound()?.place_at(self.position()),
        }
    }

    /// The newest snapshot of an instrument.
    #[must_use]
    pub fn snapshot(&self, instrument: InstrumentId) -> Option<StarSnapshot> {
        match &self.source {
            Source::Local(snapshots) => snapshots.get(instrument),
            Source::Redis(star) => star.inbound().and_then(|inbound| inbound.snapshots.get(instrument)),
        }
    }

    /// The newest snapshot of every instrument that has one, by instrument.
    #[must_use]
    pub fn snapshots(&self) -> Vec<StarSnapshot> {
        match &self.source {
            Source::Local(snapshots) => snapshots.all(),
            Source::Redis(star) => star.inbound().map_or_else(Vec::new, |inbound| inbound.snapshots.all()),
        }
    }
}
