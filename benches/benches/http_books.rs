//! How long `GET /v1/books/{instrument}?depth=10` takes, beside an axum handler that returns as many constant bytes.
//!
//! It checks no figure in the book.

mod http_race;
mod platform;
mod session;

use nautilus_benches::{Goal, Report, Unit};

use platform::Engines;

#[tokio::main]
async fn main() {
    let Some(mut report) = Report::begin("http_books") else { return };
    let engines = Engines::start(None).await;
    let (file, name) = session::path();
    engines.replay(&file).await;
    let (symbol, _) = engines.marketdata.engine.views().page(None, 1).remove(0);
    let race =
        http_race::race(engines.marketdata.running.address, format!("/v1/books/{symbol}?depth=10")).await;
    let unit = Unit::Microseconds;
    report.row("GET books, depth 10, p50", unit, &race.ours[0], race.peer(0), Goal::Within(2.0));
    report.row("GET books, depth 10, p99", unit, &race.ours[1], race.peer(1), Goal::None);
    report.note(&format!(
        "Book of {symbol} after the {name}; {} bytes of body; one kept connection, loopback.",
        race.body.len()
    ));
    engines.stop().await;
}
