//! How long `GET /v1/books/{instrument}?depth=10` takes, beside an axum handler that returns as many constant bytes.
//!
//! Same client, same runtime, one connection each, request by request in turns. It checks no figure in the book.

mod http_client;
mod platform;
mod session;

use std::net::SocketAddr;

use axum::http::header;
use axum::routing::get;
use nautilus_benches::{Figures, Goal, Peer, Report, Unit, percentile};

use http_client::Client;
use platform::Engines;

const ROUNDS: usize = 15;
const REQUESTS: usize = 500;

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
    let (ours, body) = tokio::task::spawn_blocking(move || {
        let mut client = Client::new(address, &path);
        client.get_us();
        let body = client.body().to_vec();
        (client, body)
    })
    .await
    .expect("the client ends");
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
