//! One route of ours beside an axum handler that returns as many constant bytes: same client, same runtime, one connection
//! each, request by request in turns. It checks no content.

use std::net::SocketAddr;

use axum::http::header;
use axum::routing::any;
use nautilus_benches::{Figures, Peer, percentile};

#[path = "../http_client/mod.rs"]
mod http_client;

use http_client::Client;

const ROUNDS: usize = 15;
const REQUESTS: usize = 500;

/// What a race came to: median and 99th percentile of both, and the body.
pub(crate) struct Race {
    pub(crate) ours: [Figures; 2],
    constant: [Figures; 2],
    pub(crate) body: Vec<u8>,
}

impl Race {
    /// The constant body's figure, as a peer.
    pub(crate) fn peer(&self, figure: usize) -> Peer<'_> {
        Peer::Here("axum, constant body", &self.constant[figure])
    }
}

/// A server whose only handler returns `body`.
async fn constant(body: Vec<u8>) -> SocketAddr {
    let handler = move || {
        let body = body.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], body) }
    };
    let router = axum::Router::new().route("/constant", any(handler));
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

/// Asks our server and the constant one in turns.
#[allow(dead_code)]
pub(crate) async fn race(address: SocketAddr, path: String) -> Race {
    race_of(Client::new, address, path).await
}

/// The same for a question in a body.
#[allow(dead_code)]
pub(crate) async fn race_posting(address: SocketAddr, path: String, body: String) -> Race {
    race_of(move |address, path| Client::posting(address, path, &body), address, path).await
}

async fn race_of(
    client: impl Fn(SocketAddr, &str) -> Client + Clone + Send + 'static,
    address: SocketAddr,
    path: String,
) -> Race {
    let make = client.clone();
    let first = tokio::task::spawn_blocking(move || {
        let mut client = make(address, &path);
        client.get_us();
        let body = client.body().to_vec();
        (client, body)
    });
    let (ours, body) = first.await.expect("the client ends");
    let peer = constant(body.clone()).await;
    let measured = tokio::task::spawn_blocking(move || {
        let mut clients = [ours, client(peer, "/constant")];
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
    Race { ours, constant, body }
}
