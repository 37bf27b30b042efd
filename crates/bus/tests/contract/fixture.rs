//! What the contract suite needs of a transport, and the messages it sends.

use std::time::{Duration, Instant};

use nautilus_bus::{Delivery, Mesh, MeshConsumer, MeshLimits, Next, RedisMesh, RedisStar, Star, StarReader};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{BookState, Definition, FrameRef, Header, Kind, Status, TradingState};
use nautilus_messages::mesh::{Body, VpinRequest};
use nautilus_testkit::RedisServer;
use nautilus_types::{AssetClass, Instrument, InstrumentId, Price, Quantity, UnixNanos};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One transport. Every `star` or `mesh` is another process's handle of the same bus.
pub(crate) trait Transport {
    async fn star(&self) -> Star;
    async fn mesh(&self) -> Mesh;
}

pub(crate) struct Local(Star, Mesh);

impl Local {
    pub(crate) fn new(capacity: usize, limits: MeshLimits) -> Self {
        Self(Star::local(capacity, "test"), Mesh::local(limits, "test"))
    }
}

impl Transport for Local {
    async fn star(&self) -> Star {
        self.0.clone()
    }

    async fn mesh(&self) -> Mesh {
        self.1.clone()
    }
}

pub(crate) struct OverRedis {
    pub(crate) server: RedisServer,
    pub(crate) star: RedisStar,
    pub(crate) mesh: RedisMesh,
}

impl OverRedis {
    pub(crate) fn new(capacity: usize, limits: MeshLimits) -> Self {
        let server = RedisServer::start();
        let (url, patience) = (server.url(), Duration::from_millis(50));
        let star = RedisStar {
            url: url.as_str().into(),
            capacity,
            reader_patience: patience,
            ..RedisStar::default()
        };
        let mesh = RedisMesh { url: url.into(), limits, ..RedisMesh::default() };
        Self { server, star, mesh }
    }
}

impl Transport for OverRedis {
    async fn star(&self) -> Star {
        Star::redis(self.star.clone(), "test").await.expect("the test's Redis is there")
    }

    async fn mesh(&self) -> Mesh {
        Mesh::redis(self.mesh.clone(), "test").await.expect("the test's Redis is there")
    }
}

/// Limits that make a test quick.
pub(crate) fn quick() -> MeshLimits {
    MeshLimits {
        publish_wait: Duration::from_millis(100),
        retry_pause: Duration::from_millis(20),
        max_attempts: 3,
        ..MeshLimits::default()
    }
}

/// Calls `probe` until it gives something.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// As [`eventually`], for what must be asked asynchronously.
pub(crate) async fn eventually_async<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A frame whose sequence is its position plus one; every third one is long.
pub(crate) fn frame(position: u64) -> Vec<u8> {
    let header = |kind| Header::new(kind, InstrumentId(1), position + 1, UnixNanos(position), UnixNanos(0));
    if position.is_multiple_of(3) {
        let definition = Definition { header: header(Kind::Definition), ..Definition::of(&instrument(), 7) };
        return definition.to_bytes().to_vec();
    }
    let (trading, book) = (TradingState::Open, BookState::Live);
    Status { header: header(Kind::Status), trading, book, reserved: [0; 30] }.to_bytes().to_vec()
}

fn instrument() -> Instrument {
    Instrument {
        id: InstrumentId(1),
        symbol: "TEST".parse().expect("a symbol"),
        venue: "XSIM".parse().expect("a venue"),
        class: AssetClass::Future,
        currency: "USD".parse().expect("a currency"),
        tick: Price::from_nanos(1),
        lot: Quantity::from_nanos(1),
        multiplier: Quantity::from_nanos(1),
    }
}

pub(crate) fn frames(positions: std::ops::Range<u64>) -> Vec<u8> {
    positions.flat_map(frame).collect()
}

pub(crate) fn position_of(bytes: &[u8]) -> u64 {
    FrameRef::parse(bytes).expect("a frame").header().sequence.get() - 1
}

/// What a reader has found so far; every event must join the one before.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) next: u64,
    pub(crate) read: u64,
    pub(crate) lost: u64,
    /// Where the hub's numbering begins.
    pub(crate) base: u64,
}

impl Account {
    /// Of a hub that began when this many positions were used up.
    pub(crate) fn after(self, base: u64) -> Self {
        Self { base, next: base, ..self }
    }

    /// Takes one event; false when there is none.
    pub(crate) fn take(&mut self, reader: &mut StarReader) -> bool {
        match reader.next() {
            None => return false,
            Some(Next::Frame(bytes)) => {
                assert_eq!(self.base + position_of(bytes), self.next, "order, or a loss not told");
                self.next += 1;
                self.read += 1;
            }
            Some(Next::Lost { first, last }) => {
                assert_eq!(first, self.next, "the loss begins where the reader is");
                assert!(last >= first);
                self.lost += last - first + 1;
                self.next = last + 1;
            }
        }
        true
    }

    pub(crate) async fn up_to(mut self, reader: &mut StarReader, end: u64) -> Self {
        eventually("frames up to the end", || {
            while self.take(reader) {}
            (self.next >= end).then_some(())
        })
        .await;
        assert_eq!(self.next, end);
        self
    }
}

/// A body that carries a number.
pub(crate) fn body(number: u64) -> Body {
    Body::VpinRequest(VpinRequest { instrument: format!("S{number}").parse().expect("a symbol") })
}

pub(crate) fn number_of(body: &Body) -> u64 {
    let Body::VpinRequest(request) = body else { panic!("not the test's message: {body:?}") };
    request.instrument.as_str()[1..].parse().expect("a number")
}

pub(crate) async fn next(consumer: &mut MeshConsumer) -> Delivery {
    eventually("a delivery", || consumer.try_next()).await
}

/// That many messages, acknowledged, as numbers.
pub(crate) async fn take(consumer: &mut MeshConsumer, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let delivery = next(consumer).await;
        numbers.push(number_of(&delivery.message.body));
        consumer.ack(delivery);
    }
    numbers
}

/// Gives a bus time to bring something that must not come.
pub(crate) async fn nothing_more(consumer: &mut MeshConsumer) {
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(consumer.try_next().is_none(), "a message came that must not come");
}

pub(crate) const ENGINE: EngineName = EngineName::Vpin;
