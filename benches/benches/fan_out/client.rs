//! The bench's client: many connections in one process, each a reader of WebSocket frames and nothing else.
//!
//! The same client measures every contestant. It reads frames by hand, so that it costs little of the two cores that
//! it shares with the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SUBSCRIBE: &[u8] = br#"{"type":"subscribe","id":1,"topics":["trades.ESH4"]}"#;
/// A client that never reads subscribes to the bulk as well, which fills whatever the system buffers for it.
const SUBSCRIBE_TO_BULK: &[u8] = br#"{"type":"subscribe","id":1,"topics":["trades.ESH4","trades.BULK"]}"#;
/// What stands before the instant of an event in every contestant's messages.
const TAG: &[u8] = b"\"ts_event_ns\":";
/// How every contestant's updates begin.
const UPDATE: &[u8] = br#"{"message_type":"update""#;
const MASK: [u8; 4] = [7, 42, 99, 200];

const CONNECTING: u8 = 0;
const MEASURING: u8 = 1;
const DONE: u8 = 2;

/// What one run saw.
pub(crate) struct Seen {
    /// Events received by all clients, each counted at each client.
    pub(crate) deliveries: u64,
    pub(crate) seconds: f64,
    /// From the event's instant until it was read, in microseconds.
    pub(crate) latencies_us: Vec<f64>,
}

struct Shared {
    phase: AtomicU8,
    connected: AtomicUsize,
}

/// Connects `clients` and `stalled` more that never read, waits until events flow to everyone and until those that never
/// read have stalled, then measures.
pub(crate) async fn run(address: SocketAddr, clients: usize, stalled: usize, measure: Duration) -> Seen {
    let shared = Arc::new(Shared { phase: AtomicU8::new(CONNECTING), connected: AtomicUsize::new(0) });
    let mut idle = Vec::new();
    for _ in 0..stalled {
        idle.push(connect(address, SUBSCRIBE_TO_BULK).await);
    }
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let stream = connect(address, SUBSCRIBE).await;
        tasks.push(tokio::spawn(read(stream, Arc::clone(&shared))));
    }
    while shared.connected.load(Relaxed) < clients {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if stalled > 0 {
        while !first_is_behind(address).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    shared.phase.store(MEASURING, Relaxed);
    let start = std::time::Instant::now();
    tokio::time::sleep(measure).await;
    shared.phase.store(DONE, Relaxed);
    let seconds = start.elapsed().as_secs_f64();
    let mut latencies_us = Vec::new();
    for task in tasks {
        latencies_us.extend(task.await.expect("a reader ends"));
    }
    drop(idle);
    Seen { deliveries: latencies_us.len() as u64, seconds, latencies_us }
}

/// A connection that has subscribed.
async fn connect(address: SocketAddr, subscribe: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the server answers"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let mut frame = vec![0x81, 0x80 | u8::try_from(subscribe.len()).expect("a short message")];
    frame.extend(MASK);
    frame.extend(subscribe.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    stream.write_all(&frame).await.expect("the server reads");
    stream
}

/// Whether the service cannot get rid of what it has for the client that connected first.
async fn first_is_behind(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let request =
        format!("GET /v1/connections?limit=1 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the server answers");
    let lag = answer.split("\"lag\":").nth(1).expect("a connection is listed");
    let digits: String = lag.chars().take_while(char::is_ascii_digit).collect();
    // What is on its way is a few events; what is stuck becomes more and more.
    digits.parse::<u64>().expect("a number") > 1_000
}

/// Reads until the run is over; answers the latency of every event that came while it was measured.
async fn read(mut stream: TcpStream, shared: Arc<Shared>) -> Vec<f64> {
    let mut latencies = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let (mut filled, mut known) = (0, false);
    while shared.phase.load(Relaxed) != DONE {
        let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut buffer[filled..])).await;
        let Ok(read) = read else { continue };
        let read = read.expect("the connection stands");
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let now = now_ns();
        let measuring = shared.phase.load(Relaxed) == MEASURING;
        let mut at = 0;
        while let Some((payload, next)) = frame(&buffer[at..filled]) {
            let events = instants(&buffer[at..at + next][payload..]);
            if !known && !events.is_empty() {
                known = true;
                shared.connected.fetch_add(1, Relaxed);
            }
            if measuring {
                latencies.extend(events.iter().map(|event| now.saturating_sub(*event) as f64 / 1e3));
            }
            at += next;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        if filled == buffer.len() {
            buffer.resize(filled * 2, 0);
        }
    }
    latencies
}

/// Where the first frame's payload begins and where the frame ends, once it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let short = usize::from(*bytes.get(1)? & 0x7F);
    let (head, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        _ => (2, short),
    };
    (bytes.len() >= head + length).then_some((head, head + length))
}

/// The instants of the events in an update; a snapshot's lie in the past.
fn instants(payload: &[u8]) -> Vec<u64> {
    let mut found = Vec::with_capacity(1);
    if !payload.starts_with(UPDATE) {
        return found;
    }
    let mut rest = payload;
    while let Some(at) = rest.windows(TAG.len()).position(|window| window == TAG) {
        rest = &rest[at + TAG.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        found.push(digits.fold(0, |number: u64, digit| number * 10 + u64::from(*digit - b'0')));
    }
    found
}

/// The wall clock, which the servers stamp events with.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}
