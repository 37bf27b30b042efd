//! How long `POST /v1/orders/check` and a what-if of one trade take, with every kind of limit set and 10,000 scenarios,
//! beside an axum handler that returns as many constant bytes.
//!
//! It checks no decision.

mod http_race;

use std::net::SocketAddr;

use nautilus_benches::{Goal, Report, Unit};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, Header, Kind, Trade, WireSide};
use nautilus_service::{Config, Platform, wall_clock};
use nautilus_types::{AssetClass, Instrument, InstrumentId, Price, Quantity};
use serde_json::{Value, json};

const SCENARIOS: u64 = 10_000;

fn config(folder: &std::path::Path) -> Config {
    let text = format!(
        "store.url = \"sqlite://{}\"\ncheckpoint.folder = \"\"\njournal.folder = \"{}\"\n\
         services.risk.listen = \"127.0.0.1:0\"\nengines.risk.second_approver = false\n\
         engines.risk.mark_age_max_ms = 86400000\n",
        folder.join("nautilus.db").display(),
        folder.join("journal").display(),
    );
    Config::from_table(text.parse().expect("TOML")).expect("a legal configuration")
}

fn instrument() -> Instrument {
    Instrument {
        id: InstrumentId(1),
        symbol: "ES".parse().expect("a symbol"),
        venue: "XSIM".parse().expect("a venue"),
        class: AssetClass::Future,
        currency: "USD".parse().expect("a currency"),
        tick: Price::from_nanos(250_000_000),
        lot: Quantity::from_units(1).expect("one"),
        multiplier: Quantity::from_units(50).expect("fifty"),
    }
}

fn trade() -> Trade {
    let now = wall_clock();
    Trade {
        header: Header::new(Kind::Trade, InstrumentId(1), 1, now, now),
        price_nanos: 4_810_250_000_000.into(),
        quantity_nanos: 1_000_000_000.into(),
        trade_id: 0.into(),
        aggressor: WireSide::from(None),
        reserved: [0; 7],
    }
}

fn limits() -> Value {
    let money = json!({"soft": "900000000", "hard": "1000000000"});
    json!({
        "gross": money, "net": money, "position": money, "concentration_bps": {"hard": 1_000_000}, "var": money,
        "drawdown": money, "daily_loss": money, "order_size": money, "price_collar_bps": {"hard": 500},
        "orders_per_second": 1_000_000, "duplicate_window_ms": 100, "restricted": [],
    })
}

/// Deterministic returns: the middle product of a Weyl sequence.
fn returns() -> Vec<f64> {
    let draw = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24);
    (0..SCENARIOS).map(|n| (draw(n) + draw(n + 77_777) + draw(n + 333_333) - 1.5) / 50.0).collect()
}

async fn send(address: SocketAddr, method: &'static str, path: &'static str, body: Value) {
    let sent = tokio::task::spawn_blocking(move || {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .expect("a legal request");
        ureq::run(request).expect("risk takes it").status().as_u16()
    });
    assert!((200..300).contains(&sent.await.expect("the client ends")), "{method} {path}");
}

#[tokio::main]
async fn main() {
    let Some(mut report) = Report::begin("http_orders") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut platform = Platform::new(config(folder.path()));
    let listener = platform.listen(EngineName::Risk).await.expect("a free port");
    let connections = platform.connect(EngineName::Risk).await.expect("risk connects");
    let mut hub = connections.star.publisher(1).expect("the only hub");
    let risk = nautilus_risk::start(connections, listener).await.expect("risk starts");
    hub.publish(zerocopy::IntoBytes::as_bytes(&Definition::of(&instrument(), 0)));
    hub.publish(zerocopy::IntoBytes::as_bytes(&trade()));
    let address = risk.running.address;
    let desk = json!({"portfolio": "main", "book": "b", "strategy": "s"});
    send(
        address,
        "PUT",
        "/v1/portfolios/main",
        json!({"currency": "USD", "capital": "10000000", "books": {"b": ["s"]}}),
    )
    .await;
    send(address, "PUT", "/v1/limits?portfolio=main", limits()).await;
    send(address, "PUT", "/v1/limits", limits()).await;
    send(address, "PUT", "/v1/scenarios", json!({"instruments": ["ES"], "returns": [returns()]})).await;
    let execution = json!({
        "desk": desk, "instrument": "ES", "venue": "XSIM", "trade_id": "00000000000000000000000000000001",
        "side": "buy", "quantity": "3", "price": "4810.25", "ts_event": 1,
    });
    send(address, "POST", "/v1/executions", execution).await;
    let order = json!({
        "order_id": "00000000000000000000000000000001", "desk": desk, "instrument": "ES",
        "action": {"new": {"side": "buy", "quantity": "2", "limit_price": "4810.5"}},
    });
    let race = http_race::race_posting(address, "/v1/orders/check".to_owned(), order.to_string()).await;
    let answer: Value = serde_json::from_slice(&race.body).expect("JSON");
    assert_eq!(answer["accepted"], true, "{answer}");
    let unit = Unit::Microseconds;
    report.row("POST /v1/orders/check, p50", unit, &race.ours[0], race.peer(0), Goal::AtMost(100.0));
    report.row("POST /v1/orders/check, p99", unit, &race.ours[1], race.peer(1), Goal::None);
    let trades = json!({"trades": [{"instrument": "ES", "side": "sell", "quantity": "1"}]});
    let path = "/v1/portfolios/main/what-if".to_owned();
    let race = http_race::race_posting(address, path, trades.to_string()).await;
    report.row("POST …/what-if, one trade, p50", unit, &race.ours[0], race.peer(0), Goal::None);
    report.note(&format!("12 kinds of limits at the portfolio and at the firm, {SCENARIOS} scenarios; one kept connection, loopback."));
    risk.running.stop().await;
}
