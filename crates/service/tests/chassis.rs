//! The chassis around a toy engine: run loop, resynchronisation, answers over HTTP, and the orderly stop.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::routing::{get, post};
use nautilus_engine::{Effects, Engine, Input, RestoreError, Stamp};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{
    FrameRef, Header, Kind, LevelChange, Snapshot, SnapshotPhase, Trade, WireSide,
};
use nautilus_messages::mesh::{Body, MessageType, Priority, VpinRequest, VpinResponse};
use nautilus_service::{Config, Connections, EngineHandle, Platform, Problem, RawBody, Running, Shell};
use nautilus_types::{InstrumentId, Symbol, UnixNanos};
use tempfile::TempDir;
use utoipa_axum::router::OpenApiRouter;

/// Counts what it is given.
#[derive(Debug, Default, Clone, PartialEq)]
struct Toy {
    trades: u64,
    lost: u64,
    level: i64,
    requests: u64,
    changed: bool,
}

enum Order {
    Add(u64),
    Publish,
    Refuse,
    Break,
}

impl Engine for Toy {
    const NAME: EngineName = EngineName::Vpin;
    type Command = Order;
    type View = Toy;

    fn step(&mut self, _: Stamp, input: Input<'_, Order>, out: &mut Effects) {
        self.changed = true;
        match input {
            Input::Frame(FrameRef::Trade(_)) => self.trades += 1,
            Input::Frame(FrameRef::Gap(gap)) => self.lost += gap.lost(),
            Input::Frame(FrameRef::LevelChange(change)) => self.level = change.quantity_nanos.get(),
            Input::Frame(_) | Input::HubRestarted => {}
            Input::Message(message) => {
                self.requests += 1;
                out.answer(message, Body::VpinResponse(VpinResponse { instrument: symbol(), latest: None }));
            }
            Input::Command(Order::Add(trades)) => self.trades += trades,
            Input::Command(Order::Publish) => {
                self.trades += 1;
                out.publish(&trade(self.trades));
            }
            Input::Command(Order::Refuse) => out.refuse("no", "not today"),
            Input::Command(Order::Break) => panic!("an invariant is broken, as the test asked"),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        [self.trades, self.lost, self.requests].iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, Toy)) {
        if std::mem::take(&mut self.changed) {
            sink(symbol(), self.clone());
        }
    }
}

fn symbol() -> Symbol {
    "TOY".parse().unwrap()
}

fn header(kind: Kind, sequence: u64) -> Header {
    Header::new(kind, InstrumentId(1), sequence, UnixNanos(sequence), UnixNanos(sequence))
}

fn trade(sequence: u64) -> Trade {
    Trade {
        header: header(Kind::Trade, sequence),
        price_nanos: 1.into(),
        quantity_nanos: 1.into(),
        trade_id: sequence.into(),
        aggressor: WireSide::None,
        reserved: [0; 7],
    }
}

fn level(sequence: u64, quantity: i64) -> LevelChange {
    LevelChange {
        header: header(Kind::LevelChange, sequence),
        price_nanos: 1.into(),
        quantity_nanos: quantity.into(),
        orders: 1.into(),
        side: WireSide::Buy,
        reserved: [0; 11],
    }
}

async fn connections() -> (TempDir, Platform, Connections) {
    connections_that_drain_for(60_000).await
}

async fn connections_that_drain_for(drain_timeout_ms: u64) -> (TempDir, Platform, Connections) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.store.url = format!("sqlite://{}", folder.path().join("test.db").display());
    config.bus.market_data.capacity = 1_024;
    config.http.timeout_ms = 2_000;
    config.http.drain_timeout_ms = drain_timeout_ms;
    let platform = Platform::new(config);
    let connections = platform.connect(EngineName::Vpin).await.unwrap();
    (folder, platform, connections)
}

async fn until(what: &str, mut true_now: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !true_now() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn view(handle: &EngineHandle<Toy>) -> Toy {
    handle.views().get(symbol()).map(|view| view.as_ref().clone()).unwrap_or_default()
}

async fn serve(connections: Connections, handle: EngineHandle<Toy>) -> Running {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = get(async || std::future::pending::<()>().await);
    let panics = get(async || {
        if Instant::now() > Instant::now() - Duration::from_secs(1) {
            panic!("as the test asked");
        }
    });
    let length = post(async |RawBody(body): RawBody| body.len().to_string());
    let api = OpenApiRouter::new().route("/hangs", hangs).route("/panics", panics).route("/length", length);
    Running::start(connections, listener, handle, "A toy.", api).unwrap()
}

/// Status, content type and body of an answer.
async fn fetch(url: String, body: Option<Vec<u8>>) -> (u16, String, String) {
    let ask = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = match body {
            None => agent.get(&url).call().unwrap(),
            Some(body) => agent.post(&url).send(&body[..]).unwrap(),
        };
        let media = answer.headers().get("content-type").map(|m| m.to_str().unwrap().to_owned());
        (answer.status().as_u16(), media.unwrap_or_default(), answer.body_mut().read_to_string().unwrap())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_carried_out_refused_and_seen() {
    let (_folder, _platform, connections) = connections().await;
    let handle = Shell::new(Toy::default(), &connections).unwrap().spawn().unwrap();
    handle.command(Order::Add(7)).await.unwrap();
    assert_eq!(view(&handle).trades, 7, "an answered command can be seen");
    let refusal = handle.command(Order::Refuse).await.unwrap_err();
    assert_eq!(refusal, Problem::unprocessable("no", "not today"));
    assert_eq!(handle.inspect(|toy| toy.trades).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_late_learns_what_it_missed_and_resynchronises() {
    let (_folder, _platform, connections) = connections().await;
    let mut hub = connections.star.publisher(1).unwrap();
    let shell = Shell::new(Toy::default(), &connections).unwrap().follow_star(&connections);
    for sequence in 1..=5_000 {
        hub.publish(trade(sequence).to_bytes());
    }
    let mark = |phase| Snapshot {
        header: header(Kind::Snapshot, 5_000),
        frames: 1.into(),
        phase,
        reserved: [0; 27],
    };
    let mut frames = mark(SnapshotPhase::Begin).to_bytes().to_vec();
    frames.extend_from_slice(level(5_000, 42).to_bytes());
    frames.extend_from_slice(mark(SnapshotPhase::End).to_bytes());
    hub.publish_snapshot(InstrumentId(1), 5_000, frames);
    // A number that no table should be made for.
    hub.publish_snapshot(InstrumentId(u32::MAX), 1, Vec::new());
    // The snapshot knows better than this change from before it.
    hub.publish(level(4_999, 13).to_bytes());
    let handle = shell.spawn().unwrap();
    until("everything is read", || handle.progress().star_read.load(Relaxed) >= 5_001).await;
    let seen = handle.inspect(Toy::clone).await.unwrap();
    assert_eq!(seen.trades + seen.lost, 5_000, "every frame is either stepped or known to be lost: {seen:?}");
    assert!(seen.lost >= 3_900 && seen.level == 42, "{seen:?}");
    hub.publish(level(5_001, 99).to_bytes());
    until("the new change is read", || view(&handle).level == 99).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_answered_and_a_stop_finishes_what_is_queued() {
    let (_folder, _platform, connections) = connections().await;
    let mut asker = connections.mesh.publisher(EngineName::Marketdata, 1);
    let mut answers =
        connections.mesh.consumer(EngineName::Marketdata, &[MessageType::VpinResponse]).unwrap();
    let mut asked = Vec::new();
    for _ in 0..100 {
        let body = Body::VpinRequest(VpinRequest { instrument: symbol() });
        asked.push(asker.publish(UnixNanos(1), Priority::Normal, 0, body).unwrap().as_u128());
    }
    let handle = Shell::new(Toy::default(), &connections).unwrap().spawn().unwrap();
    for _ in 0..100 {
        handle.feed(trade(1).to_bytes().repeat(100)).unwrap();
    }
    until("all requests are handled", || handle.progress().mesh_handled.load(Relaxed) == 100).await;
    let progress = handle.progress().clone();
    serve(connections, handle).await.stop().await;
    assert_eq!(progress.steps.load(Relaxed), 100 + 100 * 100, "nothing queued is left behind");
    assert!(!progress.running.load(Relaxed));
    let mut answered = Vec::new();
    while let Some(delivery) = answers.try_next() {
        answered.push(delivery.message.correlation_id);
        answers.ack(delivery);
    }
    assert_eq!(answered, asked, "each request has one answer that names it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_what_keeps_coming() {
    let (_folder, _platform, connections) = connections_that_drain_for(2_000).await;
    let mut hub = connections.star.publisher(1).unwrap();
    let handle = Shell::new(Toy::default(), &connections).unwrap().follow_star(&connections).spawn().unwrap();
    let stopped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let star = std::thread::spawn({
        let stopped = stopped.clone();
        move || {
            while !stopped.load(Relaxed) {
                hub.publish(&trade(1).to_bytes().repeat(256));
            }
        }
    });
    let feed = std::thread::spawn({
        let handle = handle.clone();
        move || while handle.feed(trade(1).to_bytes().repeat(16)).is_ok() {}
    });
    let progress = handle.progress().clone();
    until("both flow", || progress.fed.load(Relaxed) > 0 && progress.star_read.load(Relaxed) > 0).await;
    serve(connections, handle).await.stop().await;
    until("the thread has ended", || !progress.running.load(Relaxed)).await;
    stopped.store(true, Relaxed);
    tokio::task::spawn_blocking(|| (star.join().unwrap(), feed.join().unwrap())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_not_renewed_with_every_change() {
    static TAKEN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let (_folder, _platform, connections) = connections().await;
    let source = |toy: &Toy, _| {
        TAKEN.fetch_add(1, Relaxed);
        Some((toy.trades, Vec::new()))
    };
    let shell = Shell::new(Toy::default(), &connections).unwrap();
    let handle = shell.publish_star(&connections, source).unwrap().spawn().unwrap();
    let start = Instant::now();
    for _ in 0..200 {
        handle.command(Order::Publish).await.unwrap();
    }
    let seconds = start.elapsed().as_secs();
    assert!(TAKEN.load(Relaxed) <= seconds + 1, "{TAKEN:?} in {seconds} s");
    let reader = connections.star.reader();
    let newest = || reader.snapshot(InstrumentId(1)).map(|snapshot| snapshot.sequence);
    until("the last change is in the snapshot", || newest() == Some(200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_invariant_raises_the_alarm() {
    let (_folder, platform, connections) = connections().await;
    let handle = Shell::new(Toy::default(), &connections).unwrap().spawn().unwrap();
    let running = serve(connections, handle.clone()).await;
    assert_eq!(fetch(format!("{}/health/ready", running.url()), None).await.0, 200);
    let answer = handle.command(Order::Break).await.unwrap_err();
    assert_eq!(answer.code(), "engine_stopped");
    platform.failed().wait_for(|failed| *failed).await.unwrap();
    let (status, _, body) = fetch(format!("{}/health/ready", running.url()), None).await;
    assert_eq!(status, 503);
    assert!(body.contains("the engine has stopped"), "{body}");
    assert!(handle.feed(trade(1).to_bytes().to_vec()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_a_problem_with_a_stable_code() {
    let (_folder, _platform, connections) = connections().await;
    let limit = connections.config.http.body_limit_bytes;
    let handle = Shell::new(Toy::default(), &connections).unwrap().spawn().unwrap();
    let running = serve(connections, handle).await;
    for (path, body, status, code) in [
        ("/nothing", None, 404, "no_such_route"),
        ("/hangs", None, 504, "timeout"),
        ("/panics", None, 500, "internal"),
        ("/panics", Some(vec![]), 405, "method_not_allowed"),
        ("/length", Some(vec![b'x'; limit + 1]), 413, "body_too_large"),
    ] {
        let (got, media, body) = fetch(format!("{}{path}", running.url()), body).await;
        assert_eq!((got, media.as_str()), (status, "application/problem+json"), "{path}: {body}");
        assert!(body.contains(&format!("\"code\":\"{code}\"")), "{path}: {body}");
    }
    let full = fetch(format!("{}/length", running.url()), Some(vec![b'x'; limit])).await;
    assert_eq!((full.0, full.2), (200, limit.to_string()));
    let (_, _, metrics) = fetch(format!("{}/metrics", running.url()), None).await;
    assert!(
        metrics.contains("nautilus_http_requests_total{service=\"vpin\",route=\"/hangs\",status=\"5xx\"} 1"),
        "{metrics}"
    );
    running.stop().await;
}
