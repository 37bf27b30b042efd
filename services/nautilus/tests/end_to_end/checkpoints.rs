//! What an engine knows outlives its process: killed in the middle of a stream, or stopped while everything is quiet.
//!
//! Files that are not right, and what the stream no longer holds, are checked beside the chassis.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nautilus_testkit::{RedisServer, ServiceProcess};
use serde_json::{Value, json};

use crate::processes::{QUIET, finish_replay, kill_until_ready, records, start_replay_at};
use crate::support::{Engines, Place, ask, eventually, get, list, sample};

const RESTORED: &str = "the engine begins with its checkpoint";
/// Half an hour of recording in half a minute.
const SPEED: u32 = 60;
const KILLS: usize = 3;

/// Everything that the engine shows of the simulated session, apart from sets.
fn shown(features: &str) -> Vec<Value> {
    let digest = get(features, "/v1/engine/digest")["digest"].clone();
    let ids: Vec<String> = list(&get(features, "/v1/features?limit=4096")["features"])
        .iter()
        .step_by(17)
        .map(|feature| feature["id"].as_str().expect("an id").to_owned())
        .collect();
    let history =
        |symbol: &str| get(features, &format!("/v1/history/{symbol}?limit=4096&features={}", ids.join(",")));
    let paths = ["/v1/vectors/SIM01", "/v1/vectors/SIM02", "/v1/instruments", "/v1/matrix", "/v1/graph"];
    let pages = paths.into_iter().map(|path| get(features, path));
    [digest].into_iter().chain(pages).chain(["SIM01", "SIM02"].map(history)).collect()
}

/// The same of a process that nothing happened to.
fn undisturbed() -> Vec<Value> {
    let engines = Place::new().start_after_replay(&sample());
    let shown = shown(&engines.features);
    engines.stop();
    shown
}

fn ask_redis(redis: &RedisServer, command: &str) -> String {
    let mut stream = TcpStream::connect(redis.url().replace("redis://", "")).expect("Redis listens");
    write!(stream, "{command}\r\nQUIT\r\n").expect("it reads");
    std::io::read_to_string(stream).expect("it answers")
}

/// Without anything new none is written, so a replay's end ends the wait.
fn wait_for_checkpoint(engines: &Engines, file: &Path) {
    let written = || file.metadata().and_then(|metadata| metadata.modified()).ok();
    let before = written();
    eventually("a checkpoint is written", || (written() != before || !is_running(engines)).then_some(()));
}

fn is_running(engines: &Engines) -> bool {
    get(&engines.marketdata, "/v1/replays/1")["state"] == "running"
}

/// Waits until a checkpoint holds everything published so far, then deletes that much of the stream.
fn forget_the_past(engines: &Engines, star: &RedisServer, checkpoint: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_millis();
    let at = |url: &str, field: &str| get(url, "/v1/engine")[field].as_u64().expect("a position");
    let published = at(&engines.marketdata, "star_published");
    eventually("features has read that far", || {
        (at(&engines.features, "star_read") >= published).then_some(())
    });
    // The first may have been under way.
    wait_for_checkpoint(engines, checkpoint);
    wait_for_checkpoint(engines, checkpoint);
    assert!(is_running(engines), "this machine is too slow for a replay at speed {SPEED}");
    let trimmed = ask_redis(star, &format!("XTRIM nautilus:star:0 MINID {now}"));
    let entries = trimmed.lines().next().and_then(|line| line.trim_start_matches(':').parse().ok());
    assert!(entries.is_some_and(|entries: u64| entries > 0), "Redis deletes entries: {trimmed}");
}

/// Up to 1.5 s: longer than from one checkpoint to the next.
fn wait_for_any_moment() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    std::thread::sleep(Duration::from_micros(u64::from(now.subsec_micros()) * 3 / 2));
}

/// Each kill goes back to the last checkpoint and reads on from there. The stream no longer holds what came before the
/// first one, so without its checkpoint the engine could not know it.
#[test]
fn an_engine_killed_again_and_again_comes_to_what_an_undisturbed_one_does() {
    let expected = undisturbed();
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new().on_redis(&star, &mesh).with("NAUTILUS__CHECKPOINT__INTERVAL_S", "1");
    let engines = place.start(&QUIET);
    start_replay_at(&engines, SPEED);
    eventually("the replay runs", || (records(&engines) > 5_000).then_some(()));
    let checkpoint = place.path("data/checkpoints/features.checkpoint");
    forget_the_past(&engines, &star, &checkpoint);
    let set = json!({"features": ["return_5", "return_1"]}).to_string();
    for kill in 1..=KILLS {
        if kill == KILLS {
            wait_for_checkpoint(&engines, &checkpoint);
        }
        wait_for_any_moment();
        let path = format!("/v1/sets/kill_{kill}");
        let made =
            kill_until_ready(&engines, "features", || ask("PUT", &engines.features, &path, Some(&set)));
        assert_eq!(made.status, 200, "{}", made.text);
        println!("kill {kill}: the replay is at {} records", records(&engines));
        eventually("it says so", || (engines.notices(RESTORED) == kill).then_some(()));
        assert_eq!(get(&engines.features, &path), made.body, "what was acknowledged before the kill is kept");
    }
    finish_replay(&engines);
    let digest = || get(&engines.features, "/v1/engine/digest")["digest"].clone();
    eventually("the digest is the undisturbed one's", || (digest() == expected[0]).then_some(()));
    assert_eq!(shown(&engines.features), expected);
    assert_eq!(get(&engines.features, "/v1/engine")["star_missed"], 0);
    engines.stop();
}

/// A service process by itself, on this place's buses, database and checkpoints.
fn service(name: &str, folder: &Path, buses: [&RedisServer; 2]) -> ServiceProcess {
    let [star, mesh] = buses.map(RedisServer::url);
    let store = format!("sqlite://{}", folder.join("nautilus.db").display());
    let listen = format!("NAUTILUS__SERVICES__{}__LISTEN", name.to_uppercase());
    let settings = [
        ("NAUTILUS__BUS__MARKET_DATA__TRANSPORT", "redis"),
        ("NAUTILUS__BUS__MARKET_DATA__URL", &star),
        ("NAUTILUS__BUS__ENGINE_LOGIC__TRANSPORT", "redis"),
        ("NAUTILUS__BUS__ENGINE_LOGIC__URL", &mesh),
        ("NAUTILUS__STORE__URL", &store),
        ("NAUTILUS__CHECKPOINT__FOLDER", folder.to_str().expect("a plain path")),
        (&*listen, "127.0.0.1:0"),
    ];
    ServiceProcess::start_with(env!("CARGO_BIN_EXE_nautilus"), &["service", name], &settings)
}

#[test]
fn a_service_stopped_in_order_shows_the_same_when_it_is_started_again() {
    let expected = undisturbed();
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |name: &str| service(name, folder.path(), [&star, &mesh]);
    let (mut marketdata, mut features) = (start("marketdata"), start("features"));
    let body = json!({"path": sample(), "speed": "max"}).to_string();
    assert_eq!(ask("POST", marketdata.url(), "/v1/replays", Some(&body)).status, 202);
    eventually("features has all of it", || {
        (get(features.url(), "/v1/engine/digest")["digest"] == expected[0]).then_some(())
    });
    let set = json!({"features": ["return_1"], "instruments": ["SIM02"]}).to_string();
    assert_eq!(ask("PUT", features.url(), "/v1/sets/mine", Some(&set)).status, 200);
    let sets = get(features.url(), "/v1/sets");
    assert_eq!(features.interrupt(), Some(0));
    // Nobody sends anything any more, and nothing is left to be read again.
    assert_eq!(marketdata.interrupt(), Some(0));
    ask_redis(&star, "FLUSHALL");
    for _ in 0..2 {
        features = start("features");
        assert_eq!(shown(features.url()), expected);
        assert_eq!(get(features.url(), "/v1/sets"), sets);
        assert_eq!(get(features.url(), "/v1/engine")["star_missed"], 0);
        assert_eq!(features.interrupt(), Some(0));
    }
}
