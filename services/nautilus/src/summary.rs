//! The table at the end of a replay: what each instrument came to, and how fast it went.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nautilus_engine::Engine;
use nautilus_engine_marketdata::InstrumentView;
use nautilus_engine_vpin::{LaneView, VpinView};
use nautilus_marketdata::Job;
use nautilus_messages::mesh::Classification;

use crate::platform::Engines;

/// Instruments shown; the rest is counted.
const ROWS_MAX: usize = 20;

/// Prints the table.
pub(crate) async fn print(engines: &Engines, job: &Job, elapsed: Duration) {
    let (_, progress, _) = job.status();
    let views = engines.marketdata.engine.views().page(None, usize::MAX);
    say!();
    say!(
        "{:<16}{:>10}{:>14}{:>16}{:>14}{:>14}{:>9}{:>9}  {:<8}{:>8}{:>11}",
        "instrument",
        "trades",
        "volume",
        "vwap",
        "best bid",
        "best ask",
        "levels",
        "orders",
        "state",
        "VPIN",
        "by flag"
    );
    for (_, view) in views.iter().take(ROWS_MAX) {
        print_row(engines, view);
    }
    if views.len() > ROWS_MAX {
        say!("… and {} more; GET /v1/instruments lists all", views.len() - ROWS_MAX);
    }
    say!();
    let simulated = if job.description.simulated { " (SIMULATED)" } else { "" };
    say!(
        "source       {}{simulated}, {} {}",
        job.description.name,
        job.description.kind,
        job.description.schema
    );
    say!("records      {} ({} of kinds that carry no market data)", progress.records, progress.skipped);
    let star = engines.marketdata.engine.progress();
    let readers = [engines.vpin.engine.progress(), engines.features.engine.progress()];
    let missed: u64 = readers.iter().map(|reader| reader.star_lost.load(Relaxed)).sum();
    say!("star         {} frames, {missed} missed by readers", star.star_published.load(Relaxed));
    let stores = [&engines.marketdata.store, &engines.vpin.store, &engines.features.store];
    say!("store        {} rows", stores.map(|store| store.health().written_rows).iter().sum::<u64>());
    let (defined, values) = engines.features.defined();
    say!("features     {defined} of {values} values are defined");
    let digests = (
        engines.marketdata.engine.inspect(Engine::digest).await,
        engines.vpin.engine.inspect(Engine::digest).await,
        engines.features.engine.inspect(Engine::digest).await,
    );
    if let (Ok(marketdata), Ok(vpin), Ok(features)) = digests {
        say!("digests      marketdata {marketdata:016x}, vpin {vpin:016x}, features {features:016x}");
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = progress.records as f64 / elapsed.as_secs_f64();
    say!("time         {:.3} s, {rate:.0} records a second", elapsed.as_secs_f64());
}

fn print_row(engines: &Engines, view: &InstrumentView) {
    let dash = || "-".to_owned();
    let stats = view.statistics.as_ref();
    let best = |levels: &[nautilus_engine_marketdata::BookLevel]| {
        levels.first().map_or_else(dash, |level| format!("{} x {}", level.price, level.quantity))
    };
    let (bids, asks) = (&view.book.bid_totals, &view.book.ask_totals);
    let vpin = engines.vpin.engine.views().get(view.instrument.symbol);
    let vpin = |lane: fn(&VpinView) -> &LaneView| {
        let value = vpin.as_ref().and_then(|view| lane(view).vpin);
        value.map_or_else(dash, |vpin| format!("{vpin:.4}"))
    };
    say!(
        "{:<16}{:>10}{:>14}{:>16}{:>14}{:>14}{:>9}{:>9}  {:<8}{:>8}{:>11}",
        view.instrument.symbol,
        stats.map_or(0, |stats| stats.trades),
        stats.map_or_else(dash, |stats| stats.volume.to_string()),
        stats.map_or_else(dash, |stats| format!("{:.4}", stats.vwap.to_f64())),
        best(&view.book.bids),
        best(&view.book.asks),
        format!("{}/{}", bids.levels, asks.levels),
        bids.orders + asks.orders,
        format!("{:?}", view.state).to_lowercase(),
        vpin(VpinView::primary),
        vpin(|view| view.lane(Classification::Aggressor)),
    );
}
