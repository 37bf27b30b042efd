//! The service behind a real socket, fed by hand: what clients see, in which order, and what becomes of those that
//! are slow, silent or rude.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use futures_util::{SinkExt, StreamExt};
use nautilus_engine_websocket::{BookChange, Change, Level, Print, Publication, Topic, TopicPicture};
use nautilus_messages::frame::BookState;
use nautilus_types::{Price, Quantity, UnixNanos};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::api;
use crate::fan_out::{FanOut, Picture};
use crate::server::Server;
use crate::settings::Settings;

/// How long anything may take before a test fails; debug builds share few cores.
const PATIENCE: Duration = Duration::from_secs(60);

type Sink = Box<dyn FnMut(&Publication) + Send>;

/// The service without an engine: publications and snapshots come from here.
struct Rig {
    address: SocketAddr,
    server: Arc<Server>,
    engine: Arc<Mutex<BTreeMap<Topic, TopicPicture>>>,
    sink: Mutex<Sink>,
}

impl Rig {
    async fn start(settings: Settings) -> Self {
        nautilus_service::metrics::install();
        let fan_out = FanOut::new(7, &settings);
        let sink: Mutex<Sink> = Mutex::new(Box::new(fan_out.sink()));
        let engine: Arc<Mutex<BTreeMap<Topic, TopicPicture>>> = Arc::default();
        let pictures = Arc::clone(&engine);
        let pictures = Box::new(move |topic| -> Picture {
            let picture = pictures.lock().unwrap().get(&topic).cloned();
            Box::pin(std::future::ready(Ok(picture)))
        });
        let server = Server::start(settings, fan_out, pictures);
        let router: Router = api::router(Arc::clone(&server)).into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, server, engine, sink }
    }

    async fn default() -> Self {
        Self::start(Settings::default()).await
    }

    /// One more event of a topic.
    fn publish(&self, topic: &str, change: Change) -> u64 {
        let topic: Topic = topic.parse().unwrap();
        let mut engine = self.engine.lock().unwrap();
        let prev_seq = engine.get(&topic).map_or(0, |picture| picture.seq);
        let (seq, ts) = (prev_seq + 1, UnixNanos(prev_seq + 1));
        let mut state = change.clone();
        if let Some(before) = engine.remove(&topic) {
            let mut merged = before.state;
            merged.merge(&change);
            state = merged;
        }
        engine.insert(topic, TopicPicture { topic, seq, ts, state });
        let publication = Publication { topic, seq, prev_seq, ts, change: Arc::new(change) };
        (self.sink.lock().unwrap())(&publication);
        seq
    }

    fn trade(&self, symbol: &str) -> u64 {
        let sequence = self.engine.lock().unwrap().values().map(|picture| picture.seq).max().unwrap_or(0) + 1;
        self.publish(&format!("trades.{symbol}"), trade(sequence))
    }

    async fn connect(&self) -> Ws {
        let (socket, _) =
            tokio_tungstenite::connect_async(format!("ws://{}/ws", self.address)).await.unwrap();
        Ws(socket)
    }

    /// The system holds little for a client that does not read.
    async fn connect_with_small_buffer(&self) -> Ws {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(self.address).await.unwrap());
        let url = format!("ws://{}/ws", self.address);
        Ws(tokio_tungstenite::client_async(url, stream).await.unwrap().0)
    }

    async fn subscribed(&self, topics: Value) -> Ws {
        let mut ws = self.connect().await;
        ws.send(json!({"type": "subscribe", "id": 1, "topics": topics})).await;
        assert_eq!(ws.next().await["message_type"], "subscription");
        ws
    }

    /// The only connection.
    fn client(&self) -> Arc<crate::client::Client> {
        self.server.page(0, 1).remove(0)
    }

    fn counted(&self, series: &str) -> u64 {
        let text = nautilus_service::metrics::install().render("websocket");
        let line = text.lines().find(|line| line.starts_with(series));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

fn trade(sequence: u64) -> Change {
    let (price, quantity) = (Price::from_units(1).unwrap(), Quantity::from_units(2).unwrap());
    Change::Trades(vec![Print { sequence, ts_event: UnixNanos(sequence), price, quantity, aggressor: None }])
}

/// A book in which every level holds the same quantity: large, and easily recognised.
fn book(levels: i64, quantity: i64) -> Change {
    let quantity = Quantity::from_units(quantity).unwrap();
    let level = |price| Level { price: Price::from_units(price).unwrap(), quantity, orders: 1 };
    Change::Book(BookChange {
        state: BookState::Live,
        sequence: 1,
        cleared: false,
        bids: (1..=levels).rev().map(level).collect(),
        asks: Vec::new(),
        checksum: 5,
    })
}

/// A client.
struct Ws(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Ws {
    async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    async fn send_text(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    /// The next message of any kind, none at the end of the connection.
    async fn next_raw(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message comes");
        next.and_then(Result::ok)
    }

    async fn next_text(&mut self) -> String {
        loop {
            match self.next_raw().await {
                Some(Message::Text(text)) => return text.as_str().to_owned(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a text was expected, not {other:?}"),
            }
        }
    }

    /// The next message that is not a heartbeat.
    async fn next(&mut self) -> Value {
        loop {
            let value: Value = serde_json::from_str(&self.next_text().await).unwrap();
            if value["message_type"] != "heartbeat" {
                return value;
            }
        }
    }

    /// Everything up to the answer to a ping, which comes after what was there before.
    async fn until_pong(&mut self) -> Vec<Value> {
        let mut said = Vec::new();
        // What is ready when a ping is heard may come after its answer, but not after that of the next.
        for id in [1001, 1002] {
            self.send(json!({"type": "ping", "id": id})).await;
            loop {
                let value = self.next().await;
                if value["message_type"] == "pong" {
                    assert_eq!(value["id"], id);
                    break;
                }
                said.push(value);
            }
        }
        said
    }

    /// Reads to the end; the close frame, where one came.
    async fn end(&mut self) -> Option<CloseFrame> {
        loop {
            match self.next_raw().await {
                Some(Message::Close(frame)) => return frame,
                Some(_) => {}
                None => return None,
            }
        }
    }
}

async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let waited = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited in vain until {what}");
}

fn place(message: &Value) -> (u64, u64) {
    (message["prev_seq"].as_u64().unwrap(), message["seq"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgement_then_snapshot_then_every_update() {
    let rig = Rig::default().await;
    for _ in 0..3 {
        rig.trade("A");
    }
    let mut ws = rig.connect().await;
    ws.send(json!({"type": "subscribe", "id": 9, "topics": ["trades.A", "nonsense", "trades.A"]})).await;
    let acknowledged = ws.next().await;
    assert_eq!(acknowledged["message_type"], "subscription");
    assert_eq!((&acknowledged["id"], &acknowledged["topics"]), (&json!(9), &json!(["trades.A", "trades.A"])));
    assert_eq!(acknowledged["rejected"][0]["code"], "unknown_topic");
    let snapshot = ws.next().await;
    assert_eq!((&snapshot["message_type"], &snapshot["seq"]), (&json!("snapshot"), &json!(3)));
    assert_eq!((&snapshot["epoch"], snapshot["data"]["trades"].as_array().unwrap().len()), (&json!(7), 3));
    let mut seq = 3;
    for _ in 0..200 {
        rig.trade("A");
    }
    while seq < 203 {
        let update = ws.next().await;
        assert_eq!((&update["message_type"], place(&update)), (&json!("update"), (seq, seq + 1)));
        seq += 1;
    }
    // Subscribing again gives a fresh snapshot, and still only one of each update.
    ws.send(json!({"type": "subscribe", "topics": ["trades.A"]})).await;
    assert_eq!(ws.next().await["message_type"], "subscription");
    assert_eq!(ws.next().await["seq"], 203);
    rig.trade("A");
    let rest = ws.until_pong().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(place(&rest[0]), (203, 204));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_the_same_for_everybody_and_the_checksum_only_for_those_who_ask() {
    let rig = Rig::default().await;
    rig.publish("books.A", book(2, 1));
    let mut first = rig.subscribed(json!(["books.A"])).await;
    let mut second = rig.subscribed(json!(["books.A"])).await;
    let mut third = rig.connect().await;
    third.send(json!({"type": "subscribe", "topics": ["books.A"], "checksum": true})).await;
    third.next().await;
    let snapshot = first.next_text().await;
    assert_eq!(snapshot, second.next_text().await);
    assert!(!snapshot.contains("checksum"));
    assert_eq!(third.next().await["data"]["checksum"], 5);
    rig.publish("books.A", book(2, 2));
    let update = first.next_text().await;
    assert_eq!(update, second.next_text().await);
    assert!(!update.contains("checksum"));
    assert_eq!(third.next().await["data"]["checksum"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_may_be_subscribed_before_they_exist() {
    let rig = Rig::default().await;
    let mut exact = rig.subscribed(json!(["trades.LATER"])).await;
    let mut wild = rig.subscribed(json!(["trades.*", "bars.*.1m"])).await;
    let mut conflated = rig.connect().await;
    conflated.send(json!({"type": "subscribe", "topics": ["trades.LATER"], "conflate_ms": 10})).await;
    conflated.next().await;
    assert_eq!(rig.server.fan_out.page(None, 9).len(), 0, "nothing was published yet");
    rig.trade("LATER");
    for ws in [&mut exact, &mut wild, &mut conflated] {
        let snapshot = ws.next().await;
        assert_eq!(
            (&snapshot["message_type"], &snapshot["seq"]),
            (&json!("snapshot"), &json!(1)),
            "{snapshot}"
        );
    }
    rig.trade("LATER");
    for ws in [&mut exact, &mut wild, &mut conflated] {
        assert_eq!(place(&ws.next().await).1, 2);
    }
    rig.trade("OTHER");
    assert_eq!(wild.next().await["topic"], "trades.OTHER");
    assert_eq!(exact.until_pong().await.len(), 0);
    let topics = rig.server.fan_out.page(None, 9);
    assert_eq!(
        topics.iter().map(|lanes| lanes.name.as_str()).collect::<Vec<_>>(),
        ["trades.LATER", "trades.OTHER"]
    );
    assert_eq!(topics[0].counts().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_unsubscribed_comes_no_more() {
    let rig = Rig::default().await;
    rig.trade("A");
    rig.trade("B");
    let mut ws = rig.subscribed(json!(["trades.A", "trades.*"])).await;
    assert_eq!(ws.until_pong().await.len(), 2, "one snapshot each");
    let seq = rig.trade("A");
    assert_eq!(place(&ws.next().await).1, seq, "and each update once");
    ws.send(json!({"type": "unsubscribe", "id": 2, "topics": ["trades.*", "trades.C"]})).await;
    let acknowledged = ws.next().await;
    assert_eq!((&acknowledged["id"], &acknowledged["topics"]), (&json!(2), &json!(["trades.*"])));
    assert_eq!(acknowledged["rejected"][0]["code"], "not_subscribed");
    rig.trade("B");
    rig.trade("C");
    rig.trade("A");
    let rest = ws.until_pong().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["topic"], "trades.A", "it was subscribed by name");
    ws.send(json!({"type": "unsubscribe", "topics": ["trades.A"]})).await;
    ws.next().await;
    rig.trade("A");
    assert_eq!(ws.until_pong().await.len(), 0);
    assert_eq!(rig.server.fan_out.page(None, 1)[0].counts().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn conflation_sends_less_and_ends_at_the_same_place() {
    let rig = Rig::default().await;
    rig.publish("books.A", book(3, 1));
    let mut ws = rig.connect().await;
    ws.send(json!({"type": "subscribe", "topics": ["books.A"], "conflate_ms": 100})).await;
    ws.next().await;
    assert_eq!(ws.next().await["message_type"], "snapshot");
    for quantity in 2..=300 {
        rig.publish("books.A", book(3, quantity));
    }
    let (mut seq, mut updates) = (1, 0);
    while seq < 300 {
        let update = ws.next().await;
        let (from, to) = place(&update);
        assert!(from <= seq && seq < to, "{from} {seq} {to}");
        assert_eq!(update["data"]["bids"][0][1], to.to_string());
        (seq, updates) = (to, updates + 1);
    }
    assert!(updates < 100, "{updates} updates");
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_goes_on_without_a_snapshot_while_the_updates_are_kept() {
    let rig = Rig::start(Settings { history_updates: 100, ..Settings::default() }).await;
    rig.trade("A");
    let mut ws = rig.subscribed(json!(["trades.A"])).await;
    ws.next().await;
    drop(ws);
    for _ in 0..100 {
        rig.trade("A");
    }
    for (conflate_ms, epoch, seq, event) in [
        (0, 7, 1, "resumed"),
        (50, 7, 40, "resumed"),
        (0, 7, 101, "resumed"),
        (0, 8, 50, "restarted"),
        (0, 7, 0, "restarted"),
        (0, 7, 102, "restarted"),
    ] {
        let mut ws = rig.connect().await;
        ws.send(json!({"type": "resume", "id": 3, "topic": "trades.A", "epoch": epoch, "seq": seq, "conflate_ms": conflate_ms}))
            .await;
        let acknowledged = ws.next().await;
        assert_eq!((&acknowledged["message_type"], &acknowledged["id"]), (&json!("subscription"), &json!(3)));
        let system = ws.next().await;
        assert_eq!((&system["event"], &system["topic"]), (&json!(event), &json!("trades.A")), "{seq}");
        let messages = ws.until_pong().await;
        if event == "restarted" {
            assert_eq!((messages.len(), &messages[0]["message_type"]), (1, &json!("snapshot")));
            continue;
        }
        let places: Vec<_> = messages.iter().map(place).collect();
        assert_eq!(places, (seq..101).map(|seq| (seq, seq + 1)).collect::<Vec<_>>());
    }
    rig.trade("A");
    let mut ws = rig.connect().await;
    ws.send(json!({"type": "resume", "topic": "trades.A", "epoch": 7, "seq": 1})).await;
    ws.next().await;
    assert_eq!(ws.next().await["event"], "restarted", "one update too old");
    ws.send(json!({"type": "resume", "id": 4, "topic": "trades.*", "epoch": 7, "seq": 1})).await;
    assert_eq!(ws.until_pong().await.last().unwrap()["code"], "unknown_topic");
}

/// Updates of [`FILL`] that together are more than the system buffers for a client that does not read.
const FILLING: u64 = 250;
/// A topic that is there to fill these buffers.
const FILL: &str = "books.FILL";

/// Settings with which `FILL` alone never gets a client behind.
fn patient() -> Settings {
    Settings {
        history_updates: 300,
        history_bytes: usize::MAX,
        behind_max: usize::MAX,
        ..Settings::default()
    }
}

/// A client that reads only when told to, with both topics in step.
async fn slow_client(rig: &Rig) -> (Ws, Arc<crate::client::Client>) {
    rig.publish(FILL, book(4_000, 1));
    rig.trade("A");
    let mut slow = rig.connect_with_small_buffer().await;
    let client = rig.client();
    slow.send(json!({"type": "subscribe", "topics": [FILL, "trades.A"]})).await;
    for expected in ["subscription", "snapshot", "snapshot"] {
        assert_eq!(slow.next().await["message_type"], expected);
    }
    (slow, client)
}

/// Fills what the system buffers for the client, so that it is stuck, and then goes on with a small topic.
async fn leave_behind(rig: &Rig, client: &crate::client::Client) -> u64 {
    for quantity in 0..FILLING {
        rig.publish(FILL, book(4_000, 2 + i64::try_from(quantity).unwrap()));
    }
    let (mut lag, mut same) = (0, 0);
    while same < 50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = client.lag();
        same = if now == lag { same + 1 } else { 0 };
        lag = now;
    }
    assert!(lag > 0, "the system has taken everything");
    for _ in 0..400 {
        rig.publish("trades.A", trade(1));
    }
    rig.engine.lock().unwrap()[&"trades.A".parse().unwrap()].seq
}

/// The next message that has not to do with `FILL`, and how many updates of that came before it.
async fn next_of_the_other(slow: &mut Ws, filled: &mut u64) -> Option<Value> {
    loop {
        match slow.next_raw().await {
            Some(Message::Text(text)) if text.contains(FILL) => *filled += 1,
            Some(Message::Text(text)) if text.contains("heartbeat") => {}
            Some(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Some(Message::Close(_)) | None => return None,
            Some(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_conflated_and_delays_nobody() {
    let rig = Rig::start(Settings { behind_max: 300, history_updates: 1_000, ..patient() }).await;
    let (mut slow, client) = slow_client(&rig).await;
    let mut prompt = rig.subscribed(json!(["trades.B"])).await;
    let seq = leave_behind(&rig, &client).await;
    // Somebody else hears everything while the slow one is stuck.
    rig.trade("B");
    assert_eq!(prompt.next().await["message_type"], "snapshot");
    for seq in 2..100 {
        rig.publish("trades.B", trade(seq));
        assert_eq!(place(&prompt.next().await), (seq - 1, seq));
    }
    let (mut filled, mut at, mut conflated) = (0, 1, 0);
    while filled < FILLING || at < seq {
        let Some(message) = next_of_the_other(&mut slow, &mut filled).await else { panic!("it ended") };
        if message["message_type"] == "system" {
            assert_eq!((&message["event"], &message["topic"]), (&json!("conflated"), &json!("trades.A")));
            conflated += 1;
        } else {
            let (from, to) = place(&message);
            assert!(from <= at && at < to, "{from} {at} {to}");
            let trades = message["data"]["trades"].as_array().unwrap().len() as u64;
            assert_eq!(trades, to - from, "nothing is left out");
            at = to;
        }
        if at >= seq && filled < FILLING {
            // Nothing more would come of this topic; the rest is the other's.
            rig.publish("trades.A", trade(1));
        }
    }
    let counted = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((conflated, counted(&client.conflated), counted(&client.resynchronised)), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_falls_out_of_the_window_gets_a_snapshot_and_in_the_end_a_reason() {
    let rig = Rig::start(Settings { resynchronise_max: 2, ..patient() }).await;
    let (mut slow, client) = slow_client(&rig).await;
    for round in 1..=2 {
        let seq = leave_behind(&rig, &client).await;
        let (mut filled, mut events) = (0, Vec::new());
        loop {
            let message = next_of_the_other(&mut slow, &mut filled).await.expect("it goes on");
            if message["message_type"] == "system" {
                events.push(message["event"].clone());
            } else if message["seq"] == seq {
                assert_eq!(message["message_type"], "snapshot");
                break;
            }
        }
        assert_eq!(events, ["resynchronised"], "in round {round}");
        // The rest of what filled the buffers, so that the next round begins in step.
        eventually_read(&mut slow, filled).await;
    }
    leave_behind(&rig, &client).await;
    let end = slow.end().await.expect("a close frame");
    assert_eq!(u16::from(end.code), 1013);
    assert!(end.reason.contains("too slow"), "{end:?}");
    assert_eq!(client.resynchronised.load(std::sync::atomic::Ordering::Relaxed), 3);
}

/// Reads until all updates of `FILL` of a round have come.
async fn eventually_read(slow: &mut Ws, mut filled: u64) {
    while filled < FILLING {
        if slow.next_text().await.contains(FILL) {
            filled += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_let_go() {
    let rig = Rig::start(Settings { stall_ms: 500, ..patient() }).await;
    let (mut stalled, _) = slow_client(&rig).await;
    for quantity in 0..FILLING {
        rig.publish(FILL, book(4_000, 2 + i64::try_from(quantity).unwrap()));
    }
    let lanes = rig.server.fan_out.page(None, 1).remove(0);
    eventually("nobody listens any more", || lanes.counts().0 == 0).await;
    // It hears why, if it begins to read in time.
    if let Some(frame) = stalled.end().await {
        assert_eq!(u16::from(frame.code), 1013);
    }
    eventually("it is gone", || rig.server.page(0, 1).is_empty()).await;
    assert!(rig.counted("nautilus_websocket_closed_total{service=\"websocket\",reason=\"stalled\"}") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_count_and_silent_clients_are_let_go() {
    let rig = Rig::start(Settings { heartbeat_ms: 50, silence_ms: 3_000, ..Settings::default() }).await;
    // Half open: the handshake, and never again a sign of life.
    let half_open = rig.connect().await;
    let mut alive = rig.connect().await;
    let mut last = 0;
    while rig.server.page(0, 9).len() > 1 || last < 40 {
        let heartbeat: Value = serde_json::from_str(&alive.next_text().await).unwrap();
        assert_eq!(
            (&heartbeat["message_type"], &heartbeat["count"]),
            (&json!("heartbeat"), &json!(last + 1))
        );
        last += 1;
    }
    assert_eq!(alive.until_pong().await.len(), 0, "who answers pings may stay");
    assert!(rig.counted("nautilus_websocket_closed_total{service=\"websocket\",reason=\"silent\"}") > 0);
    drop(half_open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_long_sent_to_is_not_called_silent() {
    let settings = Settings { heartbeat_ms: 100, silence_ms: 3_000, ..Settings::default() };
    let rig = Rig::start(Settings { stall_ms: 60_000, ..settings }).await;
    // Too much for the buffers of the system: one turn takes as long as the client reads.
    let topics: Vec<_> = (0..120).map(|n| format!("books.X{n}")).collect();
    for topic in &topics {
        rig.publish(topic, book(8_000, 1));
    }
    let mut slow = rig.connect_with_small_buffer().await;
    slow.send(json!({"type": "subscribe", "topics": topics})).await;
    let (mut snapshots, mut heartbeats) = (0, 0);
    while snapshots < topics.len() {
        let text = slow.next_text().await;
        snapshots += usize::from(text.contains("snapshot"));
        heartbeats += usize::from(text.contains("heartbeat"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(heartbeats > 0, "they come in between");
    assert_eq!(slow.until_pong().await.len(), 0, "it stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_subscriptions_are_too_many() {
    let rig = Rig::default().await;
    let mut ws = rig.connect().await;
    let (mut accepted, mut rejected) = (0, 0);
    for part in 0..10 {
        let topics: Vec<_> = (0..1_000).map(|n| format!("books.X{}", part * 1_000 + n)).collect();
        ws.send(json!({"type": "subscribe", "id": part, "topics": topics})).await;
        let answer = ws.next().await;
        assert_eq!(answer["id"], part);
        accepted += answer["topics"].as_array().unwrap().len();
        let refused = answer["rejected"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(refused.iter().all(|rejected| rejected["code"] == "too_many_subscriptions"));
        rejected += refused.len();
    }
    assert_eq!((accepted, rejected), (1_024, 8_976));
    let topics: Vec<_> = (0..1_025).map(|n| format!("books.X{n}")).collect();
    ws.send(json!({"type": "subscribe", "topics": topics})).await;
    assert_eq!(ws.next().await["code"], "too_many_topics");
    assert_eq!(ws.until_pong().await.len(), 0, "it goes on");
    assert_eq!(rig.client().subscriptions.load(std::sync::atomic::Ordering::Relaxed), 1_024);
    assert_eq!(rig.server.fan_out.len(), 1_024);
    drop(ws);
    eventually("topics that nobody published are forgotten", || rig.server.fan_out.len() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_and_whoever_goes_on_is_closed() {
    let rig = Rig::default().await;
    let mut ws = rig.connect().await;
    let deep = "[".repeat(30_000);
    let mut errors = 0;
    for (message, code) in [
        (Message::text("{"), "malformed_message"),
        (Message::text(deep), "malformed_message"),
        (Message::text(r#"{"type":"publish"}"#), "unknown_type"),
        (Message::binary(vec![1, 2, 3]), "binary_message"),
        (
            Message::text(r#"{"type":"subscribe","topics":["books.A"],"conflate_ms":3}"#),
            "invalid_conflate_ms",
        ),
    ] {
        ws.0.send(message).await.unwrap();
        let answer = ws.next().await;
        assert_eq!((&answer["message_type"], &answer["code"]), (&json!("error"), &json!(code)));
        errors += 1;
    }
    assert_eq!(ws.until_pong().await.len(), 0, "it goes on");
    while errors < 20 {
        ws.send_text("nonsense").await;
        assert_eq!(ws.next().await["code"], "malformed_message");
        errors += 1;
    }
    assert_eq!(rig.client().refused.load(std::sync::atomic::Ordering::Relaxed), 20);
    ws.send_text("nonsense").await;
    let end = ws.end().await.expect("a close frame");
    assert_eq!(u16::from(end.code), 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_end_the_connection_with_1009() {
    let rig = Rig::default().await;
    for (message, clean) in [
        (Message::text("x".repeat(65_537)), true),
        (Message::binary(vec![0; 100_000]), true),
        (Message::text("x".repeat(1_000_000)), false),
    ] {
        let mut ws = rig.connect().await;
        // The service may close before it has read all of it.
        let _ = ws.0.send(message).await;
        let end = ws.end().await.map(|frame| u16::from(frame.code));
        assert!(end == Some(1009) || (!clean && end.is_none()), "{end:?}");
    }
    let mut ws = rig.connect().await;
    ws.send_text(" ".repeat(65_536)).await;
    assert_eq!(ws.next().await["code"], "malformed_message", "64 KiB are not too much");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_is_refused() {
    let rig = Rig::default().await;
    let mut ws = rig.connect().await;
    // Whoever goes on is closed in the midst of it. Pongs that nobody asked for count as well.
    for n in 0..2_000 {
        let pong = n % 2 == 0;
        let message =
            if pong { Message::Pong(b"".as_slice().into()) } else { Message::text(r#"{"type":"ping"}"#) };
        if ws.0.send(message).await.is_err() {
            break;
        }
    }
    let mut codes = BTreeMap::new();
    let end = loop {
        match ws.next_raw().await {
            Some(Message::Text(text)) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                *codes.entry(value["code"].as_str().unwrap_or("none").to_owned()).or_insert(0) += 1;
            }
            Some(Message::Close(frame)) => break frame,
            Some(_) => {}
            None => break None,
        }
    };
    if let Some(frame) = end {
        assert_eq!(u16::from(frame.code), 1008);
    }
    assert!(codes.get("rate_limited").is_some_and(|refused| *refused <= 20), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_websocket_or_one_too_many_is_told_so_before() {
    let rig = Rig::start(Settings { connections_max: 2, ..Settings::default() }).await;
    let url = format!("ws://{}/ws", rig.address);
    let mut request = url.as_str().into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "nautilus, key.nk_1_2".parse().unwrap());
    let (first, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "nautilus");
    let second = rig.connect().await;
    match tokio_tungstenite::connect_async(&url).await {
        Err(tungstenite::Error::Http(response)) => {
            let body: Value = serde_json::from_slice(response.body().as_deref().unwrap()).unwrap();
            assert_eq!((response.status().as_u16(), &body["code"]), (503, &json!("too_many_connections")));
        }
        other => panic!("{other:?}"),
    }
    drop((first, second));
    eventually("both are gone", || rig.server.page(0, 9).is_empty()).await;
    rig.connect().await;
    let address = rig.address;
    let plain = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("http://{address}/ws")).call().unwrap();
        let body: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        (answer.status().as_u16(), body["code"].clone())
    });
    assert_eq!(plain.await.unwrap(), (400, json!("not_a_websocket")));
}
