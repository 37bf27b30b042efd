//! A client written from `docs/websocket.md` alone: it keeps every topic in step by the rules there, rebuilds books
//! from the stream and holds each against the checksum that came with it.

use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::platform::PATIENCE;

/// A connection.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) topics: BTreeMap<String, Topic>,
    /// `system` events by name.
    pub(crate) events: BTreeMap<String, u64>,
    pub(crate) close: Option<CloseFrame>,
}

/// Where the client is in a topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topic {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) snapshots: u64,
    pub(crate) updates: u64,
    pub(crate) book: Book,
    /// Sequences of all trades heard of.
    pub(crate) trades: Vec<u64>,
    /// Everything in lists of bars, buckets and alerts.
    pub(crate) rows: u64,
    pub(crate) last: Value,
}

/// A book rebuilt from levels. Prices are keyed by their value, kept as they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Book {
    pub(crate) state: String,
    pub(crate) sequence: u64,
    pub(crate) bids: BTreeMap<i64, (String, String, u64)>,
    pub(crate) asks: BTreeMap<i64, (String, String, u64)>,
    pub(crate) checksums: u64,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        let url = format!("{}/ws", url.replace("http://", "ws://"));
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("it connects");
        Self { socket, topics: BTreeMap::new(), events: BTreeMap::new(), close: None }
    }

    /// Connects and subscribes.
    pub(crate) async fn subscribed(url: &str, topics: &[&str], conflate_ms: u64) -> Self {
        let mut client = Self::connect(url).await;
        client
            .send(json!({"type": "subscribe", "id": 1, "topics": topics, "conflate_ms": conflate_ms, "checksum": true}))
            .await;
        let acknowledged = client.next().await.expect("an answer");
        assert_eq!(acknowledged["message_type"], "subscription", "the acknowledgement comes first");
        assert_eq!(acknowledged["rejected"], Value::Null, "{acknowledged}");
        client
    }

    /// Another connection that goes on with the topics of a former one.
    pub(crate) async fn resumed(url: &str, former: BTreeMap<String, Topic>, conflate_ms: u64) -> Self {
        let mut client = Self::connect(url).await;
        client.topics = former;
        let messages: Vec<_> = client
            .topics
            .iter()
            .map(|(name, topic)| {
                json!({"type": "resume", "topic": name, "epoch": topic.epoch, "seq": topic.seq,
                    "conflate_ms": conflate_ms, "checksum": true})
            })
            .collect();
        for message in messages {
            client.send(message).await;
        }
        client
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("it is sent");
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message comes");
            match next {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(frame))) => self.close = frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Takes in the next message; false at the end.
    pub(crate) async fn take(&mut self) -> bool {
        let Some(message) = self.next().await else { return false };
        match message["message_type"].as_str().expect("a message type") {
            "snapshot" => self.topic(&message).start_from(&message),
            "update" => self.topic(&message).follow(&message),
            "system" => {
                let event = message["event"].as_str().expect("an event").to_owned();
                *self.events.entry(event).or_default() += 1;
            }
            "heartbeat" | "subscription" | "pong" => {}
            other => panic!("{other}: {message}"),
        }
        true
    }

    fn topic(&mut self, message: &Value) -> &mut Topic {
        let name = message["topic"].as_str().expect("a topic").to_owned();
        self.topics.entry(name).or_default()
    }

    /// Takes messages in until all topics of this kind are at the numbers that the service lists.
    pub(crate) async fn catch_up(&mut self, listed: &Value) {
        for topic in listed["topics"].as_array().expect("topics") {
            let (name, seq) =
                (topic["topic"].as_str().expect("a name"), topic["seq"].as_u64().expect("a number"));
            while self.topics.get(name).is_some_and(|topic| topic.seq < seq) {
                assert!(self.take().await, "the connection ended");
            }
        }
    }
}

impl Topic {
    fn start_from(&mut self, message: &Value) {
        let snapshots = self.snapshots + 1;
        *self = Self { updates: self.updates, trades: std::mem::take(&mut self.trades), ..Self::default() };
        self.snapshots = snapshots;
        self.epoch = message["epoch"].as_u64().expect("an epoch");
        self.take_in(message);
    }

    fn follow(&mut self, message: &Value) {
        let number = |field: &str| message[field].as_u64().expect("a number");
        let (prev_seq, seq) = (number("prev_seq"), number("seq"));
        assert!(self.snapshots > 0, "a snapshot comes before updates: {message}");
        assert_eq!(number("epoch"), self.epoch);
        assert!(prev_seq <= self.seq && self.seq < seq, "{prev_seq} <= {} < {seq}: {message}", self.seq);
        self.updates += 1;
        self.take_in(message);
    }

    fn take_in(&mut self, message: &Value) {
        self.seq = message["seq"].as_u64().expect("a number");
        let data = &message["data"];
        match message["topic"].as_str().and_then(|topic| topic.split('.').next()) {
            Some("books") => self.book.apply(data),
            Some("trades") => {
                let trades = data["trades"].as_array().expect("trades");
                self.trades.extend(trades.iter().map(|trade| trade["sequence"].as_u64().expect("a number")));
            }
            Some("bars") => self.rows += data["bars"].as_array().expect("bars").len() as u64,
            Some("vpin") => self.rows += data["buckets"].as_array().expect("buckets").len() as u64,
            Some("alerts") => self.rows += data["alerts"].as_array().expect("alerts").len() as u64,
            _ => assert!(data["steps"].is_u64(), "{message}"),
        }
        self.last = data.clone();
    }
}

impl Book {
    fn apply(&mut self, data: &Value) {
        if data["cleared"] == true {
            self.bids.clear();
            self.asks.clear();
        }
        self.state = data["state"].as_str().expect("a state").to_owned();
        self.sequence = data["sequence"].as_u64().expect("a number");
        for (side, levels) in [(&mut self.bids, &data["bids"]), (&mut self.asks, &data["asks"])] {
            for level in levels.as_array().expect("levels") {
                let text = |at: usize| level[at].as_str().expect("a decimal text").to_owned();
                let (price, quantity, orders) = (text(0), text(1), level[2].as_u64().expect("a count"));
                if quantity == "0" {
                    side.remove(&nanos(&price));
                } else {
                    side.insert(nanos(&price), (price, quantity, orders));
                }
            }
        }
        let expected = data["checksum"].as_u64().expect("a checksum was asked for");
        let text = self.top();
        assert_eq!(u64::from(crc32(text.as_bytes())), expected, "sequence {}: {text}", self.sequence);
        self.checksums += 1;
    }

    /// What the checksum is taken over.
    fn top(&self) -> String {
        let asks = self.asks.values().take(10);
        let bids = self.bids.values().rev().take(10);
        asks.chain(bids).map(|(price, quantity, _)| format!("{price}:{quantity}|")).collect()
    }
}

/// A decimal text in billionths.
pub(crate) fn nanos(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<9}");
    digits.parse().expect("digits")
}

/// CRC-32 as in zlib, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn the_checksum_is_the_usual_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
