//! The command line: what it prints, what it refuses and with which exit status.
//!
//! Which addresses the services answer is not looked at here.

use std::net::TcpListener;
use std::path::Path;

use nautilus_journal::{Folder, Journal, Settings};
use nautilus_testkit::free_port;
use serde_json::Value;

use crate::support::{Ended, Place, sample};

/// One sentence on standard error that begins with `error: ` and holds `parts`; nothing of Rust's insides.
fn assert_refused(case: &str, ended: &Ended, code: i32, parts: &[&str]) {
    let said: Vec<_> = ended.stderr.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(said.len(), 1, "{case}: {}", ended.stderr);
    assert!(said[0].starts_with("error: "), "{case}: {}", said[0]);
    assert_eq!(ended.code, Some(code), "{case}: {}", said[0]);
    for part in parts {
        assert!(said[0].contains(part), "{case}: '{part}' is not in: {}", said[0]);
    }
    for insides in ["panicked", "RUST_BACKTRACE", "Err(", "Some("] {
        assert!(
            !ended.stderr.contains(insides) && !ended.stdout.contains(insides),
            "{case}: {}",
            ended.stderr
        );
    }
}

#[test]
fn help_and_version_are_printed() {
    let place = Place::new();
    let help = place.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for part in ["up", "replay", "simulate", "doctor", "config", "Examples:"] {
        assert!(help.stdout.contains(part), "{part}: {}", help.stdout);
    }
    let version = place.run(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (Some(0), concat!("nautilus ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    for wrong in
        [&["sink"][..], &["--wrong"], &["replay"], &["replay", "x.csv", "--speed", "fast"], &["simulate"]]
    {
        let ended = place.run(wrong);
        assert_eq!(ended.code, Some(2), "{wrong:?}");
        assert!(ended.stderr.starts_with("error: "), "{wrong:?}: {}", ended.stderr);
    }
    let speed = place.run(&["replay", "x.csv", "--speed", "-1"]);
    assert_eq!(speed.code, Some(2));
    assert_eq!(std::fs::read_dir(place.path("")).expect("a folder").count(), 0, "nothing was written");
}

#[test]
fn config_shows_what_is_in_effect_without_secrets() {
    let place = Place::new()
        .with("NAUTILUS__STORE__URL", "postgres://me:hunter2@localhost/db")
        .with("NAUTILUS__BUS__ENGINE_LOGIC__URL", "redis://:hunter3@localhost:1")
        .with("NAUTILUS__HTTP__TIMEOUT_MS", "1234")
        .with("NAUTILUS__LOG__FORMAT", "json");
    let shown = place.run(&["config"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for line in [
        "timeout_ms = 1234",
        "format = \"json\"",
        "url = \"postgres://me:***@localhost/db\"",
        "url = \"redis://:***@localhost:1\"",
        "listen = \"127.0.0.1:0\"",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("hunter"), "{}", shown.stdout);
    std::fs::write(place.path("nautilus.toml"), &shown.stdout).expect("a file");
    assert_eq!(place.run(&["config"]).stdout, shown.stdout, "what is printed can be read again");
}

#[test]
fn the_shipped_configuration_is_the_default_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/nautilus.toml");
    let place = Place::new();
    let shipped = place.run(&["--config", file.to_str().expect("a plain path"), "config"]);
    assert_eq!(shipped.code, Some(0), "{}", shipped.stderr);
    let defaults = place.run(&["config"]).stdout;
    assert_eq!(shipped.stdout, defaults);
    let text = std::fs::read_to_string(file).expect("it is shipped");
    let keys = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let keys = lines.filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.to_owned());
        keys.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(keys(&text), keys(&defaults), "every setting stands in the shipped file");
}

#[test]
fn doctor_says_what_is_there() {
    let place = Place::new();
    let table = place.run(&["doctor"]);
    assert_eq!(table.code, Some(0), "{}", table.stdout);
    let json = place.run(&["doctor", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let findings = json["findings"].as_array().expect("findings");
    assert!(findings.len() >= 10);
    for finding in findings {
        let what = finding["what"].as_str().expect("a name");
        assert!(table.stdout.contains(what), "{what}");
        assert!(["ok", "optional", "missing"].contains(&finding["verdict"].as_str().expect("a verdict")));
        assert!(finding["verdict"] == "ok" || finding["advice"].is_string(), "{finding}");
    }
    assert!(json["machine"]["topology"]["cpus"].as_array().is_some_and(|cpus| !cpus.is_empty()));
    assert_eq!(json["peaks"]["source"], "cached", "the first run kept what it measured");
    assert!(json["peaks"]["measured"]["thread_wake_ns"].as_f64().is_some_and(|time| time > 0.0));
    assert!(json["pinning"]["all"].as_array().is_some_and(|abilities| abilities.len() == 4));
    for part in ["Instructions", "One core reaches (measured now)", "Pinning of engines (off"] {
        assert!(table.stdout.contains(part), "{part}: {}", table.stdout);
    }
    for kept in std::fs::read_dir(place.path("cache")).expect("a folder") {
        std::fs::write(kept.expect("an entry").path(), "{").expect("a file");
    }
    let again = place.run(&["doctor"]);
    assert!(
        again.code == Some(0) && again.stdout.contains("damaged or of another version"),
        "{}",
        again.stdout
    );
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let place = place
        .with("NAUTILUS__SERVICES__VPIN__LISTEN", address)
        .with("NAUTILUS__BUS__MARKET_DATA__TRANSPORT", "redis")
        .with("NAUTILUS__BUS__MARKET_DATA__URL", format!("redis://:hunter2@127.0.0.1:{}", free_port()));
    let missing = place.run(&["doctor"]);
    assert_eq!(missing.code, Some(69));
    assert_eq!(missing.stdout.matches("MISSING").count(), 2, "{}", missing.stdout);
    assert!(missing.stdout.contains("redis-server --port") && !missing.stdout.contains("hunter2"));
}

#[test]
fn journal_says_what_one_holds_and_where_it_is_damaged() {
    let place = Place::new();
    let folder = place.path("journal");
    let settings = Settings { owner: "toy".into(), segment_len: 1 << 20, salt: 1 };
    let mut journal = Journal::open(Folder::owned(&folder).unwrap(), settings, 1, |_, _, _| Ok(())).unwrap();
    for (at, payload) in [(1_000_000_000, &b"\x01\xff"[..]), (2_000_000_000, b""), (3_000_000_000, b"end")] {
        journal.append(at, payload).unwrap();
    }
    journal.commit().unwrap();
    drop(journal);
    let folder = folder.to_str().expect("a plain path");
    let verified = place.run(&["journal", "verify", folder]);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    for line in ["records   3", "bytes     5", "first     1 of 1970-01-01T00:00:01", "damage    none"] {
        assert!(verified.stdout.contains(line), "{line}: {}", verified.stdout);
    }
    let shown = place.run(&["journal", "show", folder, "--count", "1"]);
    assert!(shown.stdout.starts_with("1 1970-01-01T00:00:01") && shown.stdout.ends_with(" 2 01ff\n"));
    assert_eq!(shown.stdout.lines().count(), 1);
    let file = format!("{folder}/00000000000000000001.segment");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let damaged = place.run(&["journal", "verify", folder]);
    assert_eq!(damaged.code, Some(65));
    assert!(
        damaged.stderr.contains("00000000000000000001.segment is damaged at byte 0"),
        "{}",
        damaged.stderr
    );
    let none = place.run(&["journal", "verify", "/nowhere"]);
    assert_eq!(none.code, Some(66), "{}", none.stderr);
}

#[test]
fn doctor_says_where_checkpoints_go() {
    for (folder, parts) in [
        ("data/checkpoints", ["ok        checkpoints", "data/checkpoints, every 60 s"]),
        ("", ["ok        checkpoints", "none: checkpoint.folder is empty"]),
        ("file/sub", ["optional  checkpoints", "file cannot be written"]),
    ] {
        let place = Place::new().with("NAUTILUS__CHECKPOINT__FOLDER", folder);
        std::fs::write(place.path("file"), "no folder").expect("a file");
        let said = place.run(&["doctor"]);
        assert_eq!(said.code, Some(0), "{}", said.stdout);
        assert!(parts.iter().all(|part| said.stdout.contains(part)), "{folder}: {}", said.stdout);
    }
}

/// `nautilus doctor | head -1`: nobody reads what is still to come.
#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let place = Place::new();
    for arguments in [&["config"][..], &["doctor"], &["doctor", "--json"], &["keys", "list"], &["--help"]] {
        let said = place.run_unread(arguments);
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn bad_configuration_is_one_sentence_and_64() {
    for (case, variable, value, parts) in [
        ("unknown section", "NAUTILUS__STOR__URL", "x", &["stor", "unknown field", "`nautilus config`"][..]),
        ("unknown key", "NAUTILUS__STORE__ULR", "x", &["store", "ulr"]),
        ("wrong type", "NAUTILUS__HTTP__TIMEOUT_MS", "soon", &["http.timeout_ms", "invalid type"]),
        ("negative", "NAUTILUS__HTTP__BODY_LIMIT_BYTES", "-1", &["http.body_limit_bytes"]),
        (
            "public address",
            "NAUTILUS__SERVICES__VPIN__LISTEN",
            "0.0.0.0:10000",
            &["services.vpin.listen", "loopback"],
        ),
        ("no address", "NAUTILUS__SERVICES__VPIN__LISTEN", "here", &["services.vpin.listen"]),
        ("unknown service", "NAUTILUS__SERVICES__SONAR__LISTEN", "127.0.0.1:0", &["sonar"]),
        ("odd capacity", "NAUTILUS__BUS__MARKET_DATA__CAPACITY", "1000", &["capacity", "power of two"]),
        (
            "transport",
            "NAUTILUS__BUS__ENGINE_LOGIC__TRANSPORT",
            "kafka",
            &["bus.engine_logic.transport", "kafka"],
        ),
        ("log level", "NAUTILUS__LOG__LEVEL", "a=b=c", &["log.level"]),
        (
            "priority",
            "NAUTILUS__PINNING__REALTIME_PRIORITY",
            "100",
            &["pinning.realtime_priority", "1 to 99"],
        ),
        ("engine setting", "NAUTILUS__ENGINES__VPIN__WINDOW", "0", &["engines.vpin", "window"]),
        ("engine key", "NAUTILUS__ENGINES__VPIN__WINDO", "5", &["engines.vpin", "windo"]),
        ("simulator", "NAUTILUS__ENGINES__MARKETDATA__SIMULATOR__INSTRUMENTS", "0", &["simulator"]),
        ("bar", "NAUTILUS__ENGINES__MARKETDATA__ENGINE__BARS", "[\"soon\"]", &["bars", "soon"]),
    ] {
        assert_refused(case, &Place::new().with(variable, value).run(&["up"]), 64, parts);
    }
    let place =
        Place::new().with("NAUTILUS__PINNING__ENABLED", "true").with("NAUTILUS__PINNING__CORES", "[100000]");
    assert_refused("core", &place.run(&["up"]), 64, &["pinning.cores", "core 100000", "may run on"]);
    let doctor = place.run(&["doctor"]);
    assert!(
        doctor.code == Some(69) && doctor.stdout.contains("MISSING   pinning: plan"),
        "{}",
        doctor.stdout
    );
    let place = Place::new();
    for (name, text, parts) in [
        ("syntax.toml", "\n[store\nurl = 1", &["syntax.toml", "line 2", "not TOML"][..]),
        ("unknown.toml", "[store]\nurls = 'x'", &["store", "urls"]),
    ] {
        std::fs::write(place.path(name), text).expect("a file");
        assert_refused(name, &place.run(&["--config", name, "up"]), 64, parts);
    }
    assert_refused("no file", &place.run(&["up", "--config", "none.toml"]), 64, &["none.toml", "--config"]);
    std::fs::write(place.path("binary.toml"), [0xFF, 0xFE, 0x00]).expect("a file");
    assert_refused("binary", &place.run(&["--config", "binary.toml", "up"]), 64, &["binary.toml"]);
}

#[test]
fn what_is_unavailable_is_one_sentence_and_69() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let place = Place::new().with("NAUTILUS__SERVICES__VPIN__LISTEN", &*address);
    assert_refused("port", &place.run(&["up"]), 69, &["vpin", &address, "services.vpin.listen"]);

    let place = Place::new().with("NAUTILUS__STORE__URL", "sqlite://blocked/nautilus.db");
    std::fs::write(place.path("blocked"), "a file where a folder should be").expect("a file");
    assert_refused("folder", &place.run(&["up"]), 69, &["blocked/nautilus.db", "may be written"]);
    let place = Place::new().with("NAUTILUS__STORE__URL", "sqlite://other.db");
    std::fs::write(
        place.path("other.db"),
        "not a database at all, but long enough to be looked at".repeat(20),
    )
    .expect("a file");
    assert_refused("foreign", &place.run(&["up"]), 69, &["other.db"]);
    let kept = std::fs::read_to_string(place.path("other.db")).expect("it is still there");
    assert!(kept.starts_with("not a database"), "a foreign file is left as it was");
    let place = Place::new().with("NAUTILUS__STORE__URL", "mysql://me:hunter2@host/db");
    let ended = place.run(&["up"]);
    assert_refused("scheme", &ended, 69, &["sqlite://", "postgres://"]);
    assert!(!ended.stderr.contains("hunter2"));

    for bus in ["MARKET_DATA", "ENGINE_LOGIC"] {
        let url = format!("redis://:hunter2@127.0.0.1:{}", free_port());
        let place = Place::new()
            .with(&format!("NAUTILUS__BUS__{bus}__TRANSPORT"), "redis")
            .with(&format!("NAUTILUS__BUS__{bus}__URL"), url);
        let ended = place.run(&["up"]);
        assert_refused(bus, &ended, 69, &["Redis at redis://", "start it"]);
        assert!(!ended.stderr.contains("hunter2"));
    }
}

#[test]
fn unusable_recordings_are_one_sentence() {
    let place = Place::new();
    let whole = std::fs::read(sample()).expect("the sample");
    let mut corrupt = whole.clone();
    corrupt[whole.len() / 2] ^= 0xFF;
    let files: [(&str, &[u8]); 6] = [
        ("empty.dbn", b""),
        ("foreign.dbn.zst", &[0x01; 4_000]),
        ("header.dbn.zst", &whole[..1_000]),
        ("half.dbn.zst", &whole[..whole.len() / 2]),
        ("corrupt.dbn.zst", &corrupt),
        ("columns.csv", b"a,b\n1,2\n"),
    ];
    for (name, bytes) in files {
        std::fs::write(place.path(name), bytes).expect("a file");
    }
    std::fs::create_dir(place.path("folder.dbn")).expect("a folder");
    for (name, code, part) in [
        ("none.dbn", 66, "cannot open"),
        ("folder.dbn", 66, "directory"),
        ("empty.dbn", 66, "fetch the file again"),
        ("foreign.dbn.zst", 66, "neither DBN, zstd nor CSV"),
        ("header.dbn.zst", 66, "fetch the file again"),
        ("columns.csv", 66, "trades need ts_ns"),
        ("half.dbn.zst", 65, "fetch the file again"),
        ("corrupt.dbn.zst", 65, "fetch the file again"),
    ] {
        assert_refused(name, &place.run(&["replay", name]), code, &[name, part]);
    }
}

/// The digests at the end of a replay's summary.
fn digests(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = ended.stdout.lines().find(|line| line.starts_with("digests"));
    line.unwrap_or_else(|| panic!("no digests in {}", ended.stdout))
}

#[test]
fn a_replay_ends_with_a_summary_and_is_deterministic() {
    let (sample, once, again) = (sample(), Place::new(), Place::new());
    let arguments = ["replay", sample.to_str().expect("a plain path")];
    let first = once.run(&arguments);
    for part in [
        "instrument",
        "best bid",
        "SIM01",
        "SIM02",
        "SIMULATED",
        "46648",
        "0 missed by readers",
        "records a second",
    ] {
        assert!(first.stdout.contains(part), "{part}: {}", first.stdout);
    }
    assert_eq!(first.stderr, "", "nothing to complain about");
    assert_eq!(digests(&first), digests(&again.run(&arguments)), "in another process");
    assert_eq!(digests(&first), digests(&once.run(&arguments)), "on a store that has all rows already");
    let small = Place::new().with("NAUTILUS__BUS__MARKET_DATA__CAPACITY", "1024").run(&arguments);
    assert_eq!(
        digests(&first),
        digests(&small),
        "with a ring so small that the feed has to wait for readers"
    );
}

#[test]
fn simulated_markets_can_be_written_and_replayed() {
    let place = Place::new();
    let write = |name: &str, seed: &str| {
        place.run(&["simulate", name, "--seed", seed, "--instruments", "2", "--minutes", "2"])
    };
    for (name, seed) in [("a.dbn.zst", "5"), ("b.dbn.zst", "5"), ("c.dbn.zst", "6")] {
        let ended = write(name, seed);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.contains("SIMULATED"), "{}", ended.stdout);
    }
    let bytes = |name: &str| std::fs::read(place.path(name)).expect("it was written");
    assert_eq!(bytes("a.dbn.zst"), bytes("b.dbn.zst"), "equal seeds give equal files");
    assert_ne!(bytes("a.dbn.zst"), bytes("c.dbn.zst"));
    let replayed = place.run(&["replay", "a.dbn.zst"]);
    assert!(digests(&replayed).contains("marketdata") && replayed.stdout.contains("SIM02"));
    assert_refused("exists", &write("a.dbn.zst", "5"), 66, &["a.dbn.zst", "exists"]);
    assert_refused("no folder", &write("none/a.dbn.zst", "5"), 66, &["none/a.dbn.zst"]);
    for (flag, value) in [("--minutes", "0"), ("--minutes", "99999"), ("--instruments", "0")] {
        let ended = place.run(&["simulate", "d.dbn.zst", flag, value]);
        assert_refused(flag, &ended, 64, &["setting"]);
    }
    assert!(!place.path("d.dbn.zst").exists());
}
