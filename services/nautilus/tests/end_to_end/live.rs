//! `nautilus up`: markets that move, and the two ways to end it.
//!
//! How the simulator makes its flow is not checked here.

use crate::support::{Engines, Place, eventually, get, list, number, sample};

#[test]
fn simulated_markets_stream_and_ctrl_c_drains() {
    let place = Place::new().with("NAUTILUS__ENGINES__MARKETDATA__SIMULATOR__PAST_MINUTES", "10");
    let mut engines = place.start(&["up"]);
    engines.wait_for_line("SIMULATED markets are streaming: SIM01 SIM02");
    for url in [&engines.marketdata, &engines.vpin] {
        assert_eq!(Engines::readiness(url), (true, "[]".to_owned()));
    }
    let feeds = get(&engines.marketdata, "/v1/feeds");
    assert_eq!((&feeds[0]["kind"], &feeds[0]["simulated"]), (&"simulator".into(), &true.into()));
    let sequence = || get(&engines.marketdata, "/v1/books/SIM01")["sequence"].as_u64().expect("a sequence");
    eventually("SIM01 is there", || {
        let page = get(&engines.marketdata, "/v1/instruments");
        list(&page["instruments"]).iter().any(|one| one["symbol"] == "SIM01").then_some(())
    });
    eventually("the past is in", || {
        let bars = get(&engines.marketdata, "/v1/bars/SIM01?interval=1m");
        (list(&bars["bars"]).len() >= 9).then_some(())
    });
    let before = sequence();
    eventually("the book moves on", || (sequence() > before).then_some(()));
    let book = get(&engines.marketdata, "/v1/books/SIM01?depth=1");
    assert_eq!(book["state"], "live");
    assert!(number(&book["bids"][0]["price"]) < number(&book["asks"][0]["price"]), "{book}");
    eventually("vpin follows", || get(&engines.vpin, "/v1/vpin/SIM01")["trades"].as_u64().filter(|n| *n > 0));
    engines.interrupt();
    let ended = engines.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopping") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn without_the_simulator_there_is_nothing_until_a_replay_is_asked_for() {
    let place = Place::new();
    let mut engines = place.start(&["up", "--no-simulator"]);
    engines.wait_for_line("POST");
    assert_eq!(list(&get(&engines.marketdata, "/v1/feeds")).len(), 0);
    assert_eq!(list(&get(&engines.marketdata, "/v1/instruments")["instruments"]).len(), 0);
    engines.stop();
}

/// A request whose body never comes holds up the drain; a second Ctrl-C does not wait for it.
#[test]
fn a_second_ctrl_c_ends_at_once() {
    let place = Place::new()
        .with("NAUTILUS__HTTP__TIMEOUT_MS", "600000")
        .with("NAUTILUS__HTTP__DRAIN_TIMEOUT_MS", "600000");
    let mut engines = place.start(&["up"]);
    let stream = engines.begin_request();
    engines.interrupt();
    engines.wait_for_notice("Ctrl-C again ends at once");
    engines.interrupt();
    let ended = engines.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    drop(stream);
}

#[test]
fn ctrl_c_ends_a_replay_early_and_in_order() {
    let place = Place::new();
    let sample = sample();
    let engines = place.start(&["replay", sample.to_str().expect("a plain path"), "--speed", "1", "--keep"]);
    eventually("the replay runs", || {
        get(&engines.marketdata, "/v1/feeds")[0]["records"].as_u64().filter(|records| *records > 0)
    });
    engines.interrupt();
    let ended = engines.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for part in ["stopped before its end", "SIM01", "digests"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
}

/// Where each engine's thread may run, by name.
#[cfg(target_os = "linux")]
fn engines_may_run_on(process: u32) -> std::collections::BTreeMap<String, String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let field = |path: &std::path::Path, name: &str| {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"))?;
        Some(line.trim().to_owned())
    };
    let named = tasks.flatten().map(|task| task.path()).filter_map(|task| {
        let name = field(&task, "Name")
            .filter(|name| ["marketdata", "vpin", "websocket", "features", "risk"].contains(&&**name))?;
        Some((name, field(&task, "Cpus_allowed_list")?))
    });
    named.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn engines_run_where_pinning_wants_them() {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    let last = allowed.trim().rsplit([',', '-']).next().expect("at least one");
    let place = Place::new()
        .with("NAUTILUS__PINNING__ENABLED", "true")
        .with("NAUTILUS__PINNING__CORES", format!("[{last}]"));
    let mut engines = place.start(&["up", "--no-simulator"]);
    engines.wait_for_notice("pinned");
    let seen = engines_may_run_on(engines.supervisor());
    assert!(seen.len() == 5 && seen.values().all(|cpus| cpus == last), "{seen:?}");
    engines.stop();
    let mut alone = place.launch(&["service", "vpin"]);
    alone.wait_for_notice(&format!("pinned vpin to CPU {last}"));
    alone.interrupt();
    assert_eq!(alone.end().code, Some(0), "a service by itself pins its engine as well");
    let engines = Place::new().start(&["up", "--no-simulator"]);
    let seen = engines_may_run_on(engines.supervisor());
    assert!(seen.values().all(|cpus| cpus == allowed.trim()), "by default nothing is pinned: {seen:?}");
    engines.stop();
}
