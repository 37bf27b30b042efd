//! How long `GET /v1/vectors/{instrument}` takes for 1,000 features, beside an axum handler that returns as many constant
//! bytes.
//!
//! Same client, same runtime, one connection each, request by request in turns. It checks no value.

mod http_client;
#[path = "features/market.rs"]
mod market;

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header;
use axum::routing::get;
use nautilus_benches::{Figures, Goal, Peer, Report, Unit, percentile};
use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform};

use http_client::Client;
use market::{Market, symbol};

const ROUNDS: usize = 15;
const REQUESTS: usize = 500;
const FEATURES: usize = 1_000;
const INSTRUMENTS: usize = 20;
/// More bars than the longest warm-up.
const BARS: usize = 520;

/// A server whose only handler returns `body`.
async fn constant(body: Vec<u8>) -> SocketAddr {
    let handler = move || {
        let body = body.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], body) }
    };
    let router = axum::Router::new().route("/v1/vectors/{instrument}", get(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// The standard definitions and as many of a user's as make a thousand.
fn config(folder: &std::path::Path) -> Config {
    let standard =
        nautilus_engine_features::Registry::new(&[]).expect("the standard definitions").definitions().len();
    let windows: Vec<String> = (2..2 + FEATURES - standard).map(|n| n.to_string()).collect();
    let text = format!(
        "store.url = \"sqlite://{}\"\ncheckpoint.folder = \"\"\nservices.features.listen = \"127.0.0.1:0\"\n\
         [[engines.features.definitions]]\nid = \"level_{{n}}\"\nformula = \"close / mean(close, {{n}})\"\n\
         parameters = {{ n = [{}] }}\n",
        folder.join("nautilus.db").display(),
        windows.join(", ")
    );
    Config::from_table(text.parse().expect("TOML")).expect("a legal configuration")
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
    let Some(mut report) = Report::begin("http_vectors") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut platform = Platform::new(config(folder.path()));
    let listener = platform.listen(EngineName::Features).await.expect("a free port");
    let connections = platform.connect(EngineName::Features).await.expect("features connects");
    let mut hub = connections.star.publisher(1).expect("the only hub");
    let features = nautilus_features::start(connections, listener).await.expect("features starts");
    let market = Market::new(INSTRUMENTS, BARS);
    market.definitions().iter().for_each(|definition| hub.publish(definition.to_bytes()));
    for at in 0..BARS {
        market.close(at).iter().for_each(|bar| hub.publish(bar.to_bytes()));
        while hub.lag() > 1_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let cuts =
        async || features.engine.inspect(|engine| engine.figures().cuts).await.expect("features answers");
    while cuts().await < BARS as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (address, path) = (features.running.address, format!("/v1/vectors/{}?absent=false", symbol(7)));
    let (ours, body) = tokio::task::spawn_blocking(move || {
        let mut client = Client::new(address, &path);
        client.get_us();
        let body = client.body().to_vec();
        (client, body)
    })
    .await
    .expect("the client ends");
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let defined = answer["values"].as_object().expect("values").len();
    let (bytes, peer) = (body.len(), constant(body).await);
    let measured = tokio::task::spawn_blocking(move || {
        let mut clients = [ours, Client::new(peer, "/v1/vectors/any")];
        let mut figures: [[Figures; 2]; 2] = Default::default();
        round(&mut clients);
        for _ in 0..ROUNDS {
            for (figures, percentiles) in figures.iter_mut().zip(round(&mut clients)) {
                figures.iter_mut().zip(percentiles).for_each(|(figures, us)| figures.push(us));
            }
        }
        figures
    });
    let [ours, constant] = measured.await.expect("the client ends");
    let peer = |n: usize| Peer::Here("axum, constant body", &constant[n]);
    report.row("GET vectors, 1,000 features, p50", Unit::Microseconds, &ours[0], peer(0), Goal::None);
    report.row(
        "GET vectors, 1,000 features, p99",
        Unit::Microseconds,
        &ours[1],
        peer(1),
        Goal::AtMost(500.0),
    );
    report.row(
        "the same",
        Unit::Microseconds,
        &ours[1],
        Peer::Published("Feast, tuned Python server, p99", 2_000.0),
        Goal::None,
    );
    report.note(&format!(
        "{FEATURES} definitions, {defined} of them defined for the instrument; {bytes} bytes of body; one kept connection, \
         loopback."
    ));
    features.running.stop().await;
}
