//! The recorded ES session through the whole platform: the published figures, whatever carries and keeps the data.
//!
//! It needs the recording beside the checkout and says so loudly where that is absent.

use std::path::Path;

use nautilus_messages::frame::BarUnit;
use nautilus_messages::mesh::Classification;
use nautilus_store::{Store, StoreConfig};
use nautilus_testkit::{PostgresServer, RedisServer, es_session};
use nautilus_types::{NANOS_PER_SECOND, Symbol, UnixNanos};
use serde_json::json;

use crate::support::{Engines, Place, get, list, number};

/// The figures of independent readers of the same file (issue 2).
fn figures_are_the_published_ones(engines: &Engines) {
    let url = &engines.marketdata;
    let stats = get(url, "/v1/stats/ESH4");
    assert_eq!((&stats["trades"], &stats["volume"]), (&json!(2_973), &json!("9892")));
    assert!((number(&stats["vwap"]) - 4_808.722_705_2).abs() <= 1e-7, "{stats}");
    let book = get(url, "/v1/books/ESH4?depth=1000");
    let best = |side: &str| (book[side][0]["price"].clone(), book[side][0]["quantity"].clone());
    assert_eq!(best("bids"), (json!("4810.00"), json!("22")));
    assert_eq!(best("asks"), (json!("4810.25"), json!("28")));
    assert_eq!((&book["state"], &book["crossed"]), (&json!("live"), &json!(false)));
    let (bids, asks) = (&book["bid_totals"], &book["ask_totals"]);
    assert_eq!((&bids["levels"], &asks["levels"]), (&json!(922), &json!(565)));
    assert_eq!((list(&book["bids"]).len(), list(&book["asks"]).len()), (922, 565));
    let orders = |side: &serde_json::Value| side["orders"].as_u64().expect("a count");
    assert_eq!(orders(bids) + orders(asks), 11_217);
    let counters = &get(url, "/v1/instruments")["instruments"][0]["counters"];
    let counted =
        ["unknown_orders", "crossed_pre_open", "crossed_open", "gaps"].map(|name| counters[name].as_u64());
    assert_eq!(counted, [Some(0), Some(891), Some(0), Some(0)], "{counters}");
    assert_eq!(get(url, "/v1/replays/1")["records"], 68_792);
    let vpin = get(&engines.vpin, "/v1/vpin/ESH4");
    assert_eq!(
        (&vpin["trades"], &vpin["lost"], &vpin["lost_on_star"]),
        (&json!(2_973), &json!(0), &json!(0))
    );
    assert!(vpin["by_classification"]["aggressor"]["vpin"].is_number(), "{vpin}");
    for url in [url, &engines.vpin] {
        assert_eq!(Engines::readiness(url), (true, "[]".to_owned()));
    }
}

/// What lies in the database, with neither engine asked: bars, statistics and buckets with their figures.
fn rows_are_there(url: &str, engines: &Engines) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(StoreConfig::new(url, "test")).await.expect("the database opens");
        let symbol: Symbol = "ESH4".parse().expect("a symbol");
        let (from, to) = (UnixNanos(0), UnixNanos(u64::MAX));
        let bars =
            store.bars(symbol, BarUnit::Time, 60 * NANOS_PER_SECOND, from, to, 10_000).await.expect("bars");
        let served = get(&engines.marketdata, "/v1/bars/ESH4?interval=1m&limit=4096");
        assert_eq!(bars.len(), list(&served["bars"]).len());
        let volume: f64 =
            bars.iter().map(|bar| bar.volume.to_string().parse::<f64>().expect("a number")).sum();
        let forming = if served["forming"].is_object() { number(&served["forming"]["volume"]) } else { 0.0 };
        assert_eq!(volume + forming, 9_892.0);
        let days = store.session_statistics(symbol).await.expect("statistics");
        let totals: Vec<_> = days.iter().map(|day| (day.trades, day.volume.to_string())).collect();
        assert_eq!(totals, [(2_973, "9892".to_owned())]);
        let buckets =
            store.vpin_buckets(symbol, Classification::Aggressor, from, to, 10_000).await.expect("buckets");
        let history = get(&engines.vpin, "/v1/vpin/ESH4/history?classification=aggressor&limit=4096");
        let served = list(&history["buckets"]);
        assert_eq!(buckets.len(), served.len());
        for (kept, served) in buckets.iter().zip(served) {
            assert_eq!(served["bucket"], kept.bucket);
            assert_eq!(served["ts_close_ns"], kept.ts_close.0);
            let kept = [Some(kept.buy), Some(kept.sell), kept.vpin];
            // serde_json reads numbers to within one unit in the last place.
            let same = |(one, two): (Option<f64>, Option<f64>)| match (one, two) {
                (Some(one), Some(two)) => (one - two).abs() <= 4.0 * f64::EPSILON * two.abs(),
                _ => one == two,
            };
            let served = ["buy", "sell", "vpin"].map(|name| served[name].as_f64());
            assert!(kept.into_iter().zip(served).all(same), "{kept:?} is kept, {served:?} is served");
        }
        let instruments = store.instruments().await.expect("instruments");
        assert!(instruments.iter().any(|instrument| instrument.symbol == symbol));
    });
}

/// A process that replays nothing still answers what an earlier one stored.
fn rows_outlive_the_process(place: &Place, before: &serde_json::Value) {
    let engines = place.start(&["up", "--no-simulator"]);
    let after = get(&engines.marketdata, "/v1/bars/ESH4?interval=1m&limit=4096&from_ns=0");
    assert_eq!(&after, before);
    engines.stop();
}

fn run(place: &Place, store: &str, session: &Path) -> [String; 3] {
    let engines = place.start_after_replay(session);
    figures_are_the_published_ones(&engines);
    rows_are_there(store, &engines);
    let stored = get(&engines.marketdata, "/v1/bars/ESH4?interval=1m&limit=4096&from_ns=0");
    assert!(list(&stored["bars"]).len() > 10);
    let digests = engines.digests();
    engines.stop();
    rows_outlive_the_process(place, &stored);
    digests
}

#[test]
fn the_es_session_gives_the_published_figures_on_every_transport() {
    let Some(session) = es_session() else { return };
    let local = Place::new();
    let digests = run(&local, &local.store_url(), &session);

    let (star, mesh, postgres) = (RedisServer::start(), RedisServer::start(), PostgresServer::shared());
    let store = postgres.fresh_database();
    let remote = Place::new().on_redis(&star, &mesh).with("NAUTILUS__STORE__URL", store.as_str());
    assert_eq!(run(&remote, &store, &session), digests, "Redis and PostgreSQL change nothing");
}
