//! `nautilus up --processes`: killed engines come back with everything that was acknowledged, and nothing outlives
//! the supervisor.
//!
//! How a single process behaves is checked elsewhere.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nautilus_testkit::RedisServer;
use serde_json::{Value, json};

use crate::support::{Engines, Place, ask, eventually, get, sample};

const PROCESSES: [&str; 2] = ["up", "--processes"];
pub(crate) const QUIET: [&str; 3] = ["up", "--processes", "--no-simulator"];
/// Half an hour of recording in some seconds.
const SPEED: u32 = 300;

fn start_replay(engines: &Engines) {
    start_replay_at(engines, SPEED);
}

pub(crate) fn start_replay_at(engines: &Engines, speed: u32) {
    let body = json!({"path": sample(), "speed": speed}).to_string();
    let answer = ask("POST", &engines.marketdata, "/v1/replays", Some(&body));
    assert_eq!(answer.status, 202, "{}", answer.text);
}

pub(crate) fn records(engines: &Engines) -> u64 {
    get(&engines.marketdata, "/v1/replays/1")["records"].as_u64().unwrap_or(0)
}

pub(crate) fn finish_replay(engines: &Engines) {
    eventually("the replay is finished", || {
        (get(&engines.marketdata, "/v1/replays/1")["state"] == "finished").then_some(())
    });
}

/// What the engines come to in one process.
fn digests_in_one_process() -> [String; 3] {
    let place = Place::new();
    let engines = place.start_after_replay(&sample());
    let digests = engines.digests();
    engines.stop();
    digests
}

/// Kills a process as soon as this is done, and waits until its service is ready again; the goal is two seconds.
pub(crate) fn kill_until_ready<T>(engines: &Engines, service: &str, last: impl FnOnce() -> T) -> T {
    let before = engines.processes()[service];
    let done = last();
    signal("-KILL", before);
    let killed = Instant::now();
    eventually(&format!("{service} runs again"), || (engines.processes()[service] != before).then_some(()));
    wait_until_ready(url(engines, service));
    println!("{service} was ready again {:.0} ms after its kill", killed.elapsed().as_secs_f64() * 1e3);
    done
}

fn url<'a>(engines: &'a Engines, service: &str) -> &'a str {
    match service {
        "marketdata" => &engines.marketdata,
        "vpin" => &engines.vpin,
        "websocket" => &engines.websocket,
        "features" => &engines.features,
        "risk" => &engines.risk,
        _ => &engines.gateway,
    }
}

fn wait_until_ready(url: &str) {
    eventually(&format!("{url} is ready"), || Engines::try_readiness(url).filter(|ready| *ready));
}

/// The processes that a process started.
fn children(process: u32) -> Vec<u32> {
    let children = Command::new("ps").args(["-o", "pid=", "--ppid", &process.to_string()]).output();
    let children = String::from_utf8(children.expect("ps runs").stdout).expect("numbers");
    children.split_whitespace().map(|process| process.parse().expect("a number")).collect()
}

fn signal(signal: &str, process: u32) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {signal} {process} failed");
}

/// Whether a process runs; one that has ended and only waits to be taken note of does not.
fn runs(process: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output();
    let state = String::from_utf8(state.expect("ps runs").stdout).expect("plain letters");
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

fn all_gone(processes: &[u32]) {
    eventually("every process is gone", || processes.iter().all(|process| !runs(*process)).then_some(()));
}

/// How many entries a stream of the mesh holds.
fn entries(redis: &RedisServer, message_type: &str) -> u64 {
    let address = redis.url().replace("redis://", "");
    let mut stream = TcpStream::connect(address).expect("Redis listens");
    write!(stream, "XLEN nautilus:mesh:{message_type}\r\n").expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    line.trim().strip_prefix(':').and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn a_killed_reader_is_ready_again_and_nothing_is_lost() {
    let expected = digests_in_one_process();
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new().on_redis(&star, &mesh);
    let engines = place.start(&QUIET);
    start_replay(&engines);
    eventually("the replay runs", || (records(&engines) > 1_000).then_some(()));
    for service in ["vpin", "websocket", "features", "risk", "gateway", "vpin"] {
        let (records_before, updates_before) = (records(&engines), entries(&mesh, "vpin_update"));
        kill_until_ready(&engines, service, || ());
        assert!(entries(&mesh, "vpin_update") >= updates_before, "what was acknowledged is kept");
        println!("the replay went from {records_before} to {} records meanwhile", records(&engines));
    }
    finish_replay(&engines);
    println!("digests: {:?}, in one process {expected:?}", engines.digests());
    eventually("vpin has all of it, also what came before and while it was away", || {
        (engines.digests() == expected).then_some(())
    });
    assert!(entries(&mesh, "vpin_update") > 0);
    engines.stop();
}

#[test]
fn a_killed_hub_is_ready_again_and_the_replay_is_gone() {
    let expected = digests_in_one_process();
    let place = Place::new();
    let engines = place.start(&QUIET);
    start_replay(&engines);
    eventually("the replay runs", || (records(&engines) > 1_000).then_some(()));
    let trades = eventually("vpin has trades of it", || {
        ask("GET", &engines.vpin, "/v1/vpin/SIM01", None).body["trades"].as_u64().filter(|trades| *trades > 0)
    });
    kill_until_ready(&engines, "marketdata", || ());
    let gone = ask("GET", &engines.marketdata, "/v1/replays/1", None);
    assert_eq!((gone.status, &gone.body["code"]), (404, &json!("unknown_replay")), "{}", gone.text);
    assert!(
        gone.body["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("no replay 1 since this service started")),
        "{}",
        gone.text
    );
    assert!(
        get(&engines.vpin, "/v1/vpin/SIM01")["trades"].as_u64() >= Some(trades),
        "readers keep what they have"
    );
    start_replay(&engines);
    finish_replay(&engines);
    assert_eq!(engines.digests()[0], expected[0]);
    eventually("vpin counts the session once", || {
        let trades = |url: &str, path: &str| get(url, path)["trades"].as_u64();
        let counted = trades(&engines.vpin, "/v1/vpin/SIM01");
        (counted == trades(&engines.marketdata, "/v1/stats/SIM01")).then_some(())
    });
    engines.stop();
}

#[test]
fn a_killed_redis_or_its_guard_comes_back_with_its_data() {
    let place = Place::new();
    let engines = place.start(&PROCESSES);
    let all_ready = || [&engines.marketdata, &engines.vpin].map(|url| wait_until_ready(url));
    all_ready();
    let sequence = || get(&engines.marketdata, "/v1/books/SIM01")["sequence"].as_u64();
    for bus in ["market data bus", "engine logic bus"] {
        for kill_the_guard in [false, true] {
            let guard = engines.processes()[bus];
            let server = children(guard);
            assert_eq!(server.len(), 1, "a guard runs its server and nothing else");
            signal("-KILL", if kill_the_guard { guard } else { server[0] });
            eventually(&format!("the {bus} is guarded again"), || {
                (engines.processes()[bus] != guard).then_some(())
            });
            all_gone(&[guard, server[0]]);
            all_ready();
        }
    }
    let then = sequence();
    eventually("books move", || (sequence() > then).then_some(()));
    engines.stop();
}

/// Every process under the supervisor, its two Redis servers included.
fn services_and_servers(engines: &Engines) -> Vec<u32> {
    let services: Vec<_> = engines.processes().into_values().collect();
    let servers: Vec<_> = services.iter().flat_map(|process| children(*process)).collect();
    assert_eq!(servers.len(), 2, "two Redis servers of its own");
    [services, servers].concat()
}

#[test]
fn nothing_outlives_a_killed_supervisor() {
    let place = Place::new();
    let engines = place.start(&PROCESSES);
    let processes = services_and_servers(&engines);
    signal("-KILL", engines.supervisor());
    all_gone(&processes);
}

/// A guard that was killed would leave its server behind.
#[test]
fn a_guard_may_take_longer_to_end_than_services_may() {
    let place = Place::new().with("NAUTILUS__HTTP__DRAIN_TIMEOUT_MS", "1");
    let engines = place.start(&PROCESSES);
    let processes = services_and_servers(&engines);
    let guards = ["market data bus", "engine logic bus"].map(|bus| engines.processes()[bus]);
    guards.iter().for_each(|guard| signal("-STOP", *guard));
    engines.interrupt();
    // Long enough for a supervisor that loses patience.
    std::thread::sleep(Duration::from_secs(1));
    guards.iter().for_each(|guard| signal("-CONT", *guard));
    let ended = engines.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    all_gone(&processes);
}

#[test]
fn ctrl_c_drains_every_process_in_order() {
    let place = Place::new().with("NAUTILUS__LOG__FORMAT", "json");
    let engines = place.start(&PROCESSES);
    let processes: Vec<_> = engines.processes().into_values().collect();
    engines.interrupt();
    let ended = engines.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    all_gone(&processes);
    let mut stopped = Vec::new();
    for line in ended.stderr.lines().filter(|line| !line.starts_with("stopping")) {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if object["fields"]["message"] == "stopped" {
            stopped.push(object["service"].as_str().expect("a name").to_owned());
        }
    }
    assert_eq!(stopped.first().map(String::as_str), Some("marketdata"), "{stopped:?}");
    assert_eq!(stopped.last().map(String::as_str), Some("gateway"), "{stopped:?}");
}

/// A request whose body never comes holds up the drain; a second Ctrl-C does not wait for it.
#[test]
fn a_second_ctrl_c_ends_every_process_at_once() {
    let place = Place::new()
        .with("NAUTILUS__HTTP__TIMEOUT_MS", "600000")
        .with("NAUTILUS__HTTP__DRAIN_TIMEOUT_MS", "600000");
    let mut engines = place.start(&QUIET);
    let processes: Vec<_> = engines.processes().into_values().collect();
    let _under_way = engines.begin_request();
    engines.interrupt();
    engines.wait_for_notice("Ctrl-C again ends at once");
    engines.interrupt();
    let ended = engines.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    all_gone(&processes);
}

#[test]
fn a_process_that_crashes_again_and_again_is_started_ever_later() {
    let place = Place::new();
    let mut engines = place.start(&QUIET);
    for pause in ["100ms", "200ms", "400ms"] {
        kill_until_ready(&engines, "vpin", || ());
        engines.wait_for_notice(&format!("started again in {pause}"));
    }
    engines.stop();
}

#[test]
fn what_cannot_run_is_one_sentence() {
    let wrong = Place::new().with("NAUTILUS__ENGINES__MARKETDATA__SIMULATOR__PAST_MINUTES", "5000");
    let ended = wrong.run(&PROCESSES);
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: marketdata: setting") && last.contains("past_minutes"),
        "{}",
        ended.stderr
    );

    let refused = |place: &Place, parts: &[&str]| {
        let ended = place.run(&QUIET);
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(69), 1), "{}", ended.stderr);
        assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{}", ended.stderr);
    };
    refused(&Place::new().with("PATH", ""), &["redis-server was not found", "install it"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    refused(
        &Place::new().with("NAUTILUS__SERVICES__VPIN__LISTEN", &*address),
        &["vpin", &address, "free the port"],
    );
    let place = Place::new();
    let engines = place.start(&QUIET);
    refused(&place, &["another `nautilus up --processes` uses data/bus"]);
    engines.stop();
}

#[test]
fn a_service_waits_for_redis_and_an_interrupt_ends_the_wait() {
    let (mut star, mut mesh) = (RedisServer::start(), RedisServer::start());
    star.kill();
    mesh.kill();
    let place = Place::new().on_redis(&star, &mesh);
    let mut waiting = place.launch(&["service", "vpin"]);
    waiting.wait_for_notice("waiting: Redis at redis://127.0.0.1:");
    star.restart();
    mesh.restart();
    waiting.wait_for_notice("listening");
    waiting.interrupt();
    assert_eq!(waiting.end().code, Some(0));

    star.kill();
    let mut waiting = place.launch(&["service", "marketdata"]);
    waiting.wait_for_notice("waiting: Redis at redis://127.0.0.1:");
    waiting.interrupt();
    let ended = waiting.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    for (url, code) in [("http://me:hunter2@x", 69), ("redis://127.0.0.1:port", 69)] {
        let ended = Place::new()
            .on_redis(&star, &mesh)
            .with("NAUTILUS__BUS__MARKET_DATA__URL", url)
            .run(&["service", "vpin"]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("not a Redis address") && !ended.stderr.contains("hunter2"),
            "{}",
            ended.stderr
        );
    }
    let place = Place::new();
    let mut alone = place.launch(&["service", "vpin"]);
    alone.wait_for_notice("bus.market_data.transport is local: no other process is reached");
    alone.interrupt();
    assert_eq!(alone.end().code, Some(0));
}

/// A database file that is none, in a service: it is started again and again, and says so, until the file is gone.
#[test]
fn what_may_pass_is_tried_again() {
    let place = Place::new().with("NAUTILUS__STORE__URL", "sqlite://other.db");
    std::fs::write(place.path("other.db"), "not a database at all".repeat(100)).expect("a file");
    let mut process = place.launch(&QUIET);
    process.wait_for_notice("error: ");
    process.wait_for_notice("started again in 400ms");
    std::fs::remove_file(place.path("other.db")).expect("it is there");
    process.wait_for_line("is up in");
    process.interrupt();
    assert_eq!(process.end().code, Some(0));
}
