//! What the run loop hands an engine that reads the star, and in which order; where it puts what the engine
//! publishes; and the beat of its health.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nautilus_bus::{RedisStar, Star, StarPublisher};
use nautilus_engine::{Effects, Engine, Input, RestoreError, Stamp};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{FrameRef, Header, Kind, Snapshot, SnapshotPhase, Trade, WireSide, flags};
use nautilus_messages::mesh::{Body, MessageType};
use nautilus_service::config::Transport;
use nautilus_service::{Config, Connections, EngineHandle, Platform, Shell};
use nautilus_testkit::RedisServer;
use nautilus_types::{InstrumentId, Symbol, UnixNanos};
use tempfile::TempDir;

/// What the engine was handed. Runs of frames count as their last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Frame(u64),
    Snapshot(u64),
    Gap,
    Restart,
}

/// Writes down what it is given and asks for a snapshot after every gap and restart.
#[derive(Debug, Default)]
struct Listener {
    heard: Vec<Heard>,
    told: usize,
}

impl Engine for Listener {
    const NAME: EngineName = EngineName::Vpin;
    type Command = ();
    type View = Vec<Heard>;

    fn step(&mut self, _: Stamp, input: Input<'_, ()>, out: &mut Effects) {
        let heard = match input {
            Input::Frame(FrameRef::Gap(_)) => Heard::Gap,
            Input::Frame(FrameRef::Snapshot(snapshot)) => Heard::Snapshot(snapshot.header.sequence.get()),
            Input::Frame(frame) => Heard::Frame(frame.header().sequence.get()),
            Input::HubRestarted => Heard::Restart,
            Input::Message(_) | Input::Command(()) => return,
        };
        if matches!(heard, Heard::Gap | Heard::Restart) {
            out.want_snapshot(InstrumentId(1));
        }
        if let (Heard::Frame(_), Some(Heard::Frame(last))) = (heard, self.heard.last_mut()) {
            let Heard::Frame(sequence) = heard else { return };
            *last = sequence;
            return;
        }
        self.heard.push(heard);
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, Vec<Heard>)) {
        if self.told != self.heard.len() {
            self.told = self.heard.len();
            sink("TOY".parse().unwrap(), self.heard.clone());
        }
    }
}

fn trade(sequence: u64) -> Vec<u8> {
    let header = Header::new(Kind::Trade, InstrumentId(1), sequence, UnixNanos(1), UnixNanos(1));
    let trade = Trade {
        header: header.with_flags(flags::CONTIGUOUS),
        price_nanos: 1.into(),
        quantity_nanos: 1.into(),
        trade_id: 0.into(),
        aggressor: WireSide::None,
        reserved: [0; 7],
    };
    trade.to_bytes().to_vec()
}

fn put_snapshot(hub: &mut StarPublisher, sequence: u64) {
    let header = Header::new(Kind::Snapshot, InstrumentId(1), sequence, UnixNanos(1), UnixNanos(1));
    let end = Snapshot { header, frames: 0.into(), phase: SnapshotPhase::End, reserved: [0; 27] };
    hub.publish_snapshot(InstrumentId(1), sequence, end.to_bytes().to_vec());
}

async fn connections(redis: Option<&RedisServer>) -> (TempDir, Platform, Connections) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.store.url = format!("sqlite://{}", folder.path().join("test.db").display());
    config.bus.market_data.capacity = 1_024;
    if let Some(redis) = redis {
        config.bus.market_data.transport = Transport::Redis;
        config.bus.market_data.url = redis.url();
    }
    let platform = Platform::new(config);
    let connections = platform.connect(EngineName::Vpin).await.unwrap();
    (folder, platform, connections)
}

async fn until(what: &str, mut true_now: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !true_now().await {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn heard(handle: &EngineHandle<Listener>) -> Vec<Heard> {
    handle.inspect(|listener| listener.heard.clone()).await.unwrap()
}

async fn until_heard(handle: &EngineHandle<Listener>, expected: &[Heard]) {
    let mut last = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while last != expected {
        assert!(Instant::now() < deadline, "{last:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
        last = heard(handle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_come_in_the_order_of_the_star_and_once() {
    use Heard::{Frame, Gap, Snapshot};
    let (_folder, _platform, connections) = connections(None).await;
    let mut hub = connections.star.publisher(1).unwrap();
    let shell = Shell::new(Listener::default(), &connections).unwrap().follow_star(&connections);
    (1..=10).for_each(|sequence| hub.publish(&trade(sequence)));
    put_snapshot(&mut hub, 10);
    (11..=5_000).for_each(|sequence| hub.publish(&trade(sequence)));
    let handle = shell.spawn().unwrap();
    // What the snapshot does not contain was lost behind it. It is all there is, and is not handed in again.
    let mut expected = vec![Snapshot(10), Gap, Frame(5_000)];
    until_heard(&handle, &expected).await;
    put_snapshot(&mut hub, 5_000);
    expected.push(Snapshot(5_000));
    until_heard(&handle, &expected).await;
    // Nobody asks for more.
    put_snapshot(&mut hub, 5_001);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(heard(&handle).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_confirmed_is_new_again() {
    use Heard::{Frame, Gap, Snapshot};
    let (_folder, _platform, connections) = connections(None).await;
    let mut hub = connections.star.publisher(1).unwrap();
    let shell = Shell::new(Listener::default(), &connections).unwrap().follow_star(&connections);
    put_snapshot(&mut hub, 7);
    (8..=5_000).for_each(|sequence| hub.publish(&trade(sequence)));
    let handle = shell.spawn().unwrap();
    until_heard(&handle, &[Snapshot(7), Gap, Frame(5_000)]).await;
    hub.confirm_snapshots();
    until_heard(&handle, &[Snapshot(7), Gap, Frame(5_000), Snapshot(7)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_told_when_the_hub_restarts() {
    use Heard::{Frame, Restart, Snapshot};
    let redis = RedisServer::start();
    let (_folder, _platform, connections) = connections(Some(&redis)).await;
    let star = || async {
        let config = RedisStar { url: redis.url().as_str().into(), ..RedisStar::default() };
        Star::redis(config, "hub").await.unwrap()
    };
    let mut first = star().await.publisher(1).unwrap();
    let shell = Shell::new(Listener::default(), &connections).unwrap().follow_star(&connections);
    let handle = shell.spawn().unwrap();
    (1..=3).for_each(|sequence| first.publish(&trade(sequence)));
    put_snapshot(&mut first, 3);
    until_heard(&handle, &[Frame(3)]).await;
    assert!(first.flush(Duration::from_secs(60)).await);
    drop(first);
    let mut second = star().await.publisher(2).unwrap();
    (1..=2).for_each(|sequence| second.publish(&trade(sequence)));
    // Not the former hub's snapshot, although it is newer than nothing.
    until_heard(&handle, &[Frame(3), Restart, Frame(2)]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(heard(&handle).await, [Frame(3), Restart, Frame(2)]);
    put_snapshot(&mut second, 2);
    until_heard(&handle, &[Frame(3), Restart, Frame(2), Snapshot(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_go_to_the_sink_instead_of_the_views() {
    let (_folder, _platform, connections) = connections(None).await;
    let mut hub = connections.star.publisher(1).unwrap();
    let (sender, receiver) = mpsc::channel();
    let shell = Shell::new(Listener::default(), &connections).unwrap().follow_star(&connections);
    let sink = move |symbol, heard| drop(sender.send((symbol, heard)));
    let handle = shell.publish_to(sink).spawn().unwrap();
    hub.publish(&trade(1));
    let wait = move || receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    let (symbol, heard): (Symbol, _) = tokio::task::spawn_blocking(wait).await.unwrap();
    assert_eq!((symbol.as_str(), heard), ("TOY", vec![Heard::Frame(1)]));
    assert!(handle.views().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_engine_says_how_far_it_is() {
    let (_folder, _platform, connections) = connections(None).await;
    let mut hub = connections.star.publisher(1).unwrap();
    let mut listener =
        connections.mesh.consumer(EngineName::Websocket, &[MessageType::EngineHealth]).unwrap();
    let shell = Shell::new(Listener::default(), &connections).unwrap().follow_star(&connections);
    let handle = shell.spawn().unwrap();
    hub.publish(&trade(1));
    let mut beats = Vec::new();
    until("there are three beats", async || {
        if let Some(delivery) = listener.try_next() {
            let Body::EngineHealth(health) = delivery.message.body else { panic!("{delivery:?}") };
            listener.ack(delivery);
            beats.push(health);
        }
        beats.len() == 3
    })
    .await;
    assert!(beats.windows(2).all(|pair| pair[1].uptime_ms >= pair[0].uptime_ms + 1_000), "{beats:?}");
    assert_eq!((beats[2].engine, beats[2].steps, beats[2].star_read), (EngineName::Vpin, 1, 1));
    assert_eq!(handle.progress().steps.load(Relaxed), 1, "a beat is no step");
}
