//! How long `GET /v1/books/{instrument}?depth=10` takes, beside an axum handler that returns as many constant bytes.
//!
//! Same client, same runtime, one connection each, request by request in turns. It checks no figure in the book.

mod platform;
mod session;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use axum::http::header;
use axum::routing::get;
use nautilus_benches::{Figures, Goal, Peer, Report, Unit, percentile};

use platform::Engines;

const ROUNDS: usize = 15;
const REQUESTS: usize = 500;

/// One connection that is kept, and the one request it makes.
struct Client {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        Self { stream, request, answer: Vec::new() }
    }

    /// Asks, and answers the microseconds until the whole body is there.
    fn get_us(&mut self) -> f64 {
        let start = Instant::now();
        self.stream.write_all(self.request.as_bytes()).expect("the server reads");
        self.answer.clear();
        let mut piece = [0; 16 * 1024];
        let mut whole = None;
        while whole != Some(self.answer.len()) {
            let read = self.stream.read(&mut piece).expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            self.answer.extend_from_slice(&piece[..read]);
            whole = whole.or_else(|| length(&self.answer));
        }
        let took = start.elapsed().as_nanos() as f64 / 1e3;
        assert!(self.answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.answer));
        took
    }

    fn body(&self) -> &[u8] {
        let head = head(&self.answer).expect("an answer");
        &self.answer[head..]
    }
}

fn head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Bytes of head and body together, once the head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = head(answer)?;
    let text = std::str::from_utf8(&answer[..head]).expect("a head is text").to_ascii_lowercase();
    let length = text.split("content-length:").nth(1)?.split("\r\n").next()?.trim();
    Some(head + length.parse::<usize>().expect("a length is a number"))
}

/// A server whose only handler returns `body`.
async fn constant(body: Vec<u8>) -> SocketAddr {
    let handler = move || {
        let body = body.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], body) }
    };
    let router = axum::Router::new().route("/v1/books/{instrument}", get(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// Median and 99th percentile of both, in one round.
fn round(clients: &mut [Client; 2]) -> [[f64; 2]; 2] {
    let mut samples = [const { Vec::new() }; 2];
    for request in 0..REQUESTS {
        for turn in 0..2 {
            let who = (request + turn) % 2;
            samples[who].push(clients[who].get_us());
        }
    }
    samples.map(|mut samples| [percentile(&mut samples, 0.5), percentile(&mut samples, 0.99)])
}

#[tokio::main]
async fn main() {
    let Some(mut report) = Report::begin("http_books") else { return };
    let engines = Engines::start(None).await;
    let (file, name) = session::path();
    engines.replay(&file).await;
    let (symbol, _) = engines.marketdata.engine.views().page(None, 1).remove(0);
    let path = format!("/v1/books/{symbol}?depth=10");
    let address = engines.marketdata.running.address;
    let (mut ours, body) = tokio::task::spawn_blocking(move || {
        let mut client = Client::new(address, &path);
        client.get_us();
        let body = client.body().to_vec();
        (client, body)
    })
    .await
    .expect("the client ends");
    ours.answer.clear();
    let (bytes, peer) = (body.len(), constant(body).await);
    let measured = tokio::task::spawn_blocking(move || {
        let mut clients = [ours, Client::new(peer, "/v1/books/any?depth=10")];
        let mut figures: [[Figures; 2]; 2] = Default::default();
        round(&mut clients);
        for _ in 0..ROUNDS {
            for (figures, percentiles) in figures.iter_mut().zip(round(&mut clients)) {
                figures.iter_mut().zip(percentiles).for_each(|(figures, us)| figures.push(us));
            }
        }
        assert!(clients[0].body().len() == clients[1].body().len(), "the bodies differ in length");
        figures
    });
    let [ours, constant] = measured.await.expect("the client ends");
    let peer = |n: usize| Peer::Here("axum, constant body", &constant[n]);
    report.row("GET books, depth 10, p50", Unit::Microseconds, &ours[0], peer(0), Goal::Within(2.0));
    report.row("GET books, depth 10, p99", Unit::Microseconds, &ours[1], peer(1), Goal::None);
    report.note(&format!(
        "Book of {symbol} after the {name}; {bytes} bytes of body; one kept connection, loopback."
    ));
    engines.stop().await;
}
