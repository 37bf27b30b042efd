//! What batching brings on the star over Redis: frames a second out of the hub, and into a reader.
//!
//! Both contestants use the same private redis-server and the same API; it measures no other transport.

use std::time::{Duration, Instant};

use nautilus_benches::{Figures, Goal, Peer, Report, Unit};
use nautilus_bus::{Next, RedisStar, Star};
use nautilus_messages::frame::{Header, Kind, Trade, WireSide};
use nautilus_testkit::RedisServer;
use nautilus_types::{InstrumentId, UnixNanos};

const ROUNDS: usize = 7;
/// Frames per round: some tenths of a second each.
const ONE_BY_ONE: u64 = 4_000;
const BATCHED: u64 = 200_000;
/// Room for a whole round, so that the publisher need not pace itself.
const CAPACITY: usize = 1 << 18;
const DEADLINE: Duration = Duration::from_secs(60);

fn configuration(server: &RedisServer, batched: bool) -> RedisStar {
    let usual = RedisStar { url: server.url().into(), capacity: CAPACITY, ..RedisStar::default() };
    if batched { usual } else { RedisStar { batch_frames: 1, pipeline: 1, ..usual } }
}

/// A hub's start: later at every call.
fn epoch() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.expect("a clock after 1970").as_nanos()).expect("a clock before 2554")
}

fn frame() -> Trade {
    Trade {
        header: Header::new(Kind::Trade, InstrumentId(1), 1, UnixNanos(1), UnixNanos(1)),
        price_nanos: 1.into(),
        quantity_nanos: 1.into(),
        trade_id: 0.into(),
        aggressor: WireSide::from(None),
        reserved: [0; 7],
    }
}

/// Millions of frames a second until Redis has acknowledged the last one.
async fn publish(server: &RedisServer, batched: bool) -> f64 {
    let star = Star::redis(configuration(server, batched), "bench").await.expect("the server answers");
    let mut publisher = star.publisher(epoch()).expect("the only publisher");
    let (frame, frames) = (frame(), if batched { BATCHED } else { ONE_BY_ONE });
    let start = Instant::now();
    for _ in 0..frames {
        publisher.publish(frame.to_bytes());
    }
    while publisher.lag() > 0 {
        assert!(start.elapsed() < DEADLINE, "Redis does not take the frames");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    frames as f64 / start.elapsed().as_secs_f64() / 1e6
}

/// Millions of frames a second until a reader with a connection of its own has the last one.
async fn publish_and_read(batched: bool) -> f64 {
    // What earlier rounds left in the stream would be read as well.
    let server = RedisServer::start_volatile();
    let hub = Star::redis(configuration(&server, batched), "bench").await.expect("the server answers");
    let other = Star::redis(configuration(&server, batched), "bench").await.expect("the server answers");
    let (mut publisher, mut reader) = (hub.publisher(epoch()).expect("the only publisher"), other.reader());
    let (frame, frames) = (frame(), if batched { BATCHED } else { ONE_BY_ONE });
    let start = Instant::now();
    let published = tokio::task::spawn_blocking(move || {
        (0..frames).for_each(|_| publisher.publish(frame.to_bytes()));
        publisher
    });
    let mut read = 0;
    while read < frames {
        assert!(start.elapsed() < DEADLINE, "the reader has {read} of {frames} frames");
        match reader.next() {
            Some(Next::Frame(_)) => read += 1,
            Some(Next::Lost { first, last }) => panic!("frames {first} to {last} were lost"),
            None => tokio::time::sleep(Duration::from_micros(200)).await,
        }
    }
    let rate = frames as f64 / start.elapsed().as_secs_f64() / 1e6;
    drop(published.await.expect("the publisher ends"));
    rate
}

#[tokio::main]
async fn main() {
    let Some(mut report) = Report::begin("redis_publish") else { return };
    let server = RedisServer::start_volatile();
    let mut out: [Figures; 2] = Default::default();
    let mut through: [Figures; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (who, batched) in [true, false].into_iter().enumerate() {
            out[who].push(publish(&server, batched).await);
            through[who].push(publish_and_read(batched).await);
        }
    }
    let (unit, name) = (Unit::MillionsPerSecond, "one frame per entry and round trip");
    report.row("publish, acknowledged by Redis", unit, &out[0], Peer::Here(name, &out[1]), Goal::Times(5.0));
    report.row(
        "publish to read by another connection",
        unit,
        &through[0],
        Peer::Here(name, &through[1]),
        Goal::None,
    );
    report.note("Frames of 64 bytes; ours: 256 frames per entry, 16 entries per round trip. Server, hub and reader share the cores.");
}
