//! Redis, PostgreSQL and the room on the disk go away and come back: readiness says so, engines go on, nothing is lost.
//!
//! What the buses promise in detail is checked beside them.

use std::time::{Duration, Instant};

use nautilus_testkit::{PostgresServer, RedisServer};
use serde_json::json;

use crate::support::{Engines, Place, ask, eventually, get, list, sample};

/// How long PostgreSQL is away.
const AWAY: Duration = Duration::from_secs(10);

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
    let place = Place::new().on_redis(&star, &mesh);
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
    let away = Instant::now();
    let replay = start_replay(&engines, &json!("max"));
    eventually("the replay ends without a database", || {
        (get(&engines.marketdata, &replay)["state"] == "finished").then_some(())
    });
    wait_until_ready(both, false, "store");
    let served = get(&engines.marketdata, "/v1/bars/SIM01?interval=1m&limit=4096");
    let stored = "/v1/bars/SIM01?interval=1m&limit=4096&from_ns=0";
    let asked = ask("GET", &engines.marketdata, stored, None);
    assert_eq!((asked.status, &asked.body["code"]), (503, &json!("store_unavailable")), "{}", asked.text);
    assert!(counted(&engines.marketdata, "nautilus_store_errors_total") > 0.0, "failures are counted");
    // Long enough for many attempts, with ever longer pauses between them.
    std::thread::sleep(AWAY.saturating_sub(away.elapsed()));
    wait_until_ready(both, false, "store");
    server.start_again();
    wait_until_ready(both, true, "[]");
    eventually("the rows have caught up", || {
        let answer = ask("GET", &engines.marketdata, stored, None);
        (answer.status == 200 && answer.body["bars"] == served["bars"]).then_some(())
    });
    assert!(list(&served["bars"]).len() > 20);
    engines.stop();
}

/// A counter's value over all its labels.
fn counted(url: &str, name: &str) -> f64 {
    let metrics = ask("GET", url, "/metrics", None).text;
    let samples = metrics.lines().filter(|line| line.starts_with(name));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn start_replay(engines: &Engines, speed: &serde_json::Value) -> String {
    let body = json!({"path": sample(), "speed": speed}).to_string();
    let answer = ask("POST", &engines.marketdata, "/v1/replays", Some(&body));
    assert_eq!(answer.status, 202, "{}", answer.text);
    format!("/v1/replays/{}", answer.body["id"])
}

#[test]
fn both_redis_servers_restart_under_load() {
    let (mut star, mut mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new().on_redis(&star, &mesh);
    let engines = place.start(&["up", "--no-simulator"]);
    let both = [&*engines.marketdata, &*engines.vpin];
    wait_until_ready(both, true, "[]");
    let replay = start_replay(&engines, &json!(150));
    let records = || get(&engines.marketdata, &replay)["records"].as_u64().expect("a count");
    for _ in 0..3 {
        let before = records();
        eventually("the replay runs", || (records() > before).then_some(()));
        star.restart();
        mesh.restart();
        // Answers do not wait for Redis.
        for url in both {
            assert_eq!(ask("GET", url, "/health/live", None).status, 200);
        }
    }
    eventually("the replay is finished", || {
        (get(&engines.marketdata, &replay)["state"] == "finished").then_some(())
    });
    wait_until_ready(both, true, "[]");
    for url in both {
        assert!(counted(url, "nautilus_bus_reconnects_total") > 0.0, "{url} counts its reconnects");
    }
    let book = get(&engines.marketdata, "/v1/books/SIM01");
    assert_eq!(book["state"], "live", "the hub missed nothing");
    let vpin = get(&engines.vpin, "/v1/vpin/SIM01");
    assert!(vpin["trades"].as_u64() > Some(0) && vpin["lost_on_star"].is_u64(), "{vpin}");
    engines.stop();
}

/// A file system of some MiB at `folder` that is unmounted when dropped, where this machine lets one mount it.
#[cfg(target_os = "linux")]
struct SmallDisk(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(folder: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(&folder)
            .stderr(std::process::Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        let notice = b"\n!!! SKIPPED: mounting is not permitted, so no full disk was tried\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), notice);
        None
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_stops_nothing_and_rows_catch_up() {
    // The journal, which does not start without room, lies elsewhere.
    let place = Place::new().with("NAUTILUS__JOURNAL__FOLDER", "journal");
    let Some(disk) = SmallDisk::mount(place.path("data")) else { return };
    let engines = place.start(&["up", "--no-simulator"]);
    let both = [&*engines.marketdata, &*engines.vpin];
    wait_until_ready(both, true, "[]");
    let ballast = disk.0.join("ballast");
    let mut file = std::fs::File::create(&ballast).expect("there is room");
    // Until there is none.
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    let replay = start_replay(&engines, &json!("max"));
    eventually("the replay ends without a disk", || {
        (get(&engines.marketdata, &replay)["state"] == "finished").then_some(())
    });
    wait_until_ready(both, false, "store");
    eventually("the failures are counted", || {
        (counted(&engines.marketdata, "nautilus_store_errors_total") > 0.0).then_some(())
    });
    let served = get(&engines.marketdata, "/v1/bars/SIM01?interval=1m&limit=4096");
    drop(file);
    std::fs::remove_file(&ballast).expect("it is there");
    wait_until_ready(both, true, "[]");
    eventually("the rows have caught up", || {
        let stored = ask("GET", &engines.marketdata, "/v1/bars/SIM01?interval=1m&limit=4096&from_ns=0", None);
        (stored.status == 200 && stored.body["bars"] == served["bars"]).then_some(())
    });
    assert!(list(&served["bars"]).len() > 20);
    assert_eq!(counted(&engines.marketdata, "nautilus_store_dropped_total"), 0.0);
    engines.stop();
}
