//! What the gateway adds to a request: `GET /v1/books/{instrument}?depth=10` asked of marketdata and through the gateway.
//!
//! One process as the launcher starts it, same client, one kept connection each, request by request in turns.

mod http_client;
mod platform;
mod session;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit, percentile};
use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform, ServiceName};

use http_client::Client;
use platform::Engines;

const ROUNDS: usize = 15;
const REQUESTS: usize = 1_000;
const SHARES: [f64; 2] = [0.5, 0.99];

/// Times of one round by client, sorted out into percentiles.
fn round(clients: &mut [Client; 2]) -> [[f64; 2]; 2] {
    let mut samples = [const { Vec::new() }; 2];
    for request in 0..REQUESTS {
        for turn in 0..2 {
            let who = (request + turn) % 2;
            samples[who].push(clients[who].get_us());
        }
    }
    samples.map(|mut samples| SHARES.map(|share| percentile(&mut samples, share)))
}

#[tokio::main]
async fn main() {
    let Some(mut report) = Report::begin("gateway") else { return };
    let engines = Engines::start(None).await;
    let (file, name) = session::path();
    engines.replay(&file).await;
    let (symbol, _) = engines.marketdata.engine.views().page(None, 1).remove(0);
    let direct = engines.marketdata.running.address;
    let mut config = Config::default();
    config.services.set_listen(EngineName::Marketdata, direct);
    config.services.set_listen(ServiceName::Gateway, "127.0.0.1:0".parse().expect("an address"));
    let mut platform = Platform::new(config);
    let listener = platform.listen(ServiceName::Gateway).await.expect("a free port");
    let base = platform.base(ServiceName::Gateway);
    let gateway = nautilus_gateway::start(base, listener).expect("the gateway starts");
    let door = gateway.address;
    let measured = tokio::task::spawn_blocking(move || {
        let path = format!("/v1/books/{symbol}?depth=10");
        let mut clients = [Client::new(direct, &path), Client::new(door, &format!("/api/marketdata{path}"))];
        // Direct, through the gateway, and what the latter costs more.
        let mut figures: [[Figures; 2]; 3] = Default::default();
        round(&mut clients);
        for _ in 0..ROUNDS {
            let [straight, passed] = round(&mut clients);
            for share in 0..SHARES.len() {
                figures[0][share].push(straight[share]);
                figures[1][share].push(passed[share]);
                figures[2][share].push(passed[share] - straight[share]);
            }
        }
        assert_eq!(clients[0].body(), clients[1].body(), "the gateway changes nothing");
        (figures, clients[0].body().len())
    });
    let ([direct, through, more], bytes) = measured.await.expect("the clients end");
    for (share, name) in ["p50", "p99"].into_iter().enumerate() {
        let peer = Peer::Here("direct", &direct[share]);
        report.row(
            &format!("GET books through the gateway, {name}"),
            Unit::Microseconds,
            &through[share],
            peer,
            Goal::None,
        );
    }
    report.row("what the gateway adds, p50", Unit::Microseconds, &more[0], Peer::None, Goal::AtMost(60.0));
    report.row("what the gateway adds, p99", Unit::Microseconds, &more[1], Peer::None, Goal::None);
    report.note(&format!("{name}; {bytes} bytes of body; one kept connection each, loopback, one process."));
    gateway.stop().await;
    engines.stop().await;
}
