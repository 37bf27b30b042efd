//! Redis and PostgreSQL go away and come back: readiness says so, engines go on, nothing is lost.
//!
//! What the buses promise in detail is checked beside them.

use nautilus_testkit::{PostgresServer, RedisServer};
use serde_json::json;

use crate::support::{Engines, Place, ask, eventually, get, list, sample};

/// Waits until all services say that they are ready, or that they are not for a reason with this in it.
fn wait_until_ready(urls: [&str; 2], ready: bool, reason: &str) {
    for url in urls {
        eventually(&format!("{url} is ready: {ready} {reason}"), || {
            let (now, reasons) = Engines::readiness(url);
            (now == ready && reasons.contains(reason)).then_some(())
        });
    }
}

#[test]
fn redis_is_killed_and_comes_back() {
    let (mut star, mut mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new()
        .with("NAUTILUS__BUS__MARKET_DATA__TRANSPORT", "redis")
        .with("NAUTILUS__BUS__MARKET_DATA__URL", star.url())
        .with("NAUTILUS__BUS__ENGINE_LOGIC__TRANSPORT", "redis")
        .with("NAUTILUS__BUS__ENGINE_LOGIC__URL", mesh.url());
    let engines = place.start(&["up", "--no-simulator"]);
    let both = [&*engines.marketdata, &*engines.vpin];
    wait_until_ready(both, true, "[]");
    let body = json!({"path": sample(), "speed": 30}).to_string();
    assert_eq!(ask("POST", &engines.marketdata, "/v1/replays", Some(&body)).status, 202);
    let trades =
        || get(&engines.vpin, "/v1/vpin?limit=1")["instruments"][0]["trades"].as_u64().filter(|n| *n > 0);
    let before = eventually("trades reach vpin over Redis", trades);

    star.kill();
    wait_until_ready(both, false, "market data bus");
    let sequence = || get(&engines.marketdata, "/v1/books/SIM01")["sequence"].as_u64();
    let then = sequence();
    eventually("books move on without Redis", || (sequence() > then).then_some(()));
    star.restart();
    wait_until_ready(both, true, "[]");
    eventually("trades reach vpin again", || trades().filter(|now| *now > before));

    mesh.kill();
    wait_until_ready(both, false, "engine logic bus");
    mesh.restart();
    wait_until_ready(both, true, "[]");
    engines.stop();
}

#[test]
fn postgres_is_stopped_and_rows_catch_up() {
    let mut server = PostgresServer::start();
    let place = Place::new().with("NAUTILUS__STORE__URL", server.fresh_database());
    let engines = place.start(&["up", "--no-simulator"]);
    let both = [&*engines.marketdata, &*engines.vpin];
    wait_until_ready(both, true, "[]");
    server.stop();
    let body = json!({"path": sample()}).to_string();
    let replay = ask("POST", &engines.marketdata, "/v1/replays", Some(&body)).body["id"].clone();
    eventually("the replay ends without a database", || {
        (get(&engines.marketdata, &format!("/v1/replays/{replay}"))["state"] == "finished").then_some(())
    });
    wait_until_ready(both, false, "store");
    let served = get(&engines.marketdata, "/v1/bars/SIM01?interval=1m&limit=4096");
    let stored = "/v1/bars/SIM01?interval=1m&limit=4096&from_ns=0";
    let asked = ask("GET", &engines.marketdata, stored, None);
    assert_eq!((asked.status, &asked.body["code"]), (503, &json!("store_unavailable")), "{}", asked.text);
    server.start_again();
    wait_until_ready(both, true, "[]");
    eventually("the rows have caught up", || {
        let answer = ask("GET", &engines.marketdata, stored, None);
        (answer.status == 200 && answer.body["bars"] == served["bars"]).then_some(())
    });
    assert!(list(&served["bars"]).len() > 20);
    engines.stop();
}
