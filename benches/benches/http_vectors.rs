//! How long `GET /v1/vectors/{instrument}` takes for 1,000 features, beside an axum handler that returns as many constant
//! bytes.
//!
//! It checks no value.

mod http_race;
#[path = "features/market.rs"]
mod market;

use std::time::Duration;

use nautilus_benches::{Goal, Peer, Report, Unit};
use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform};

use market::{Market, symbol};

const FEATURES: usize = 1_000;
const INSTRUMENTS: usize = 20;
/// More bars than the longest warm-up.
const BARS: usize = 520;

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
    let path = format!("/v1/vectors/{}?absent=false", symbol(7));
    let race = http_race::race(features.running.address, path).await;
    let answer: serde_json::Value = serde_json::from_slice(&race.body).expect("JSON");
    let defined = answer["values"].as_object().expect("values").len();
    let unit = Unit::Microseconds;
    report.row("GET vectors, 1,000 features, p50", unit, &race.ours[0], race.peer(0), Goal::None);
    report.row("GET vectors, 1,000 features, p99", unit, &race.ours[1], race.peer(1), Goal::AtMost(500.0));
    let feast = Peer::Published("Feast, tuned Python server, p99", 2_000.0);
    report.row("the same", unit, &race.ours[1], feast, Goal::None);
    report.note(&format!(
        "{FEATURES} definitions, {defined} of them defined for the instrument; {} bytes of body; one kept connection, \
         loopback.",
        race.body.len()
    ));
    features.running.stop().await;
}
