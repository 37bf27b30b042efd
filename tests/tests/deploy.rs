//! The configuration of Prometheus, Alertmanager and Grafana: checked by their own tools, and no rule or panel may ask
//! for a series that no source file exports.
//!
//! Whether the queries return data is proved against a running platform in `services/nautilus/tests/prometheus.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace").to_owned()
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

const RULES: [&str; 2] = ["deploy/prometheus/rules/alerts.yml", "deploy/prometheus/rules/recording.yml"];
const ALERT_TESTS: &str = "deploy/prometheus/tests/alerts.yml";
const DASHBOARDS: [&str; 2] =
    ["deploy/grafana/dashboards/overview.json", "deploy/grafana/dashboards/latency.json"];

/// Runs a tool from the root; what it says is in the message when it refuses.
fn check(line: &str) {
    let mut words = line.split(' ');
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).current_dir(root()).output().unwrap_or_else(|error| {
        panic!("{program} does not run ({error}); `cargo xtask test` installs it on Debian, Ubuntu and macOS")
    });
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{line}: {}", said.concat());
}

#[test]
fn the_tools_accept_every_file() {
    check("promtool check config --syntax-only deploy/prometheus/prometheus.yml");
    check(&format!("promtool check rules {}", RULES.join(" ")));
    if Command::new("amtool").arg("--version").output().is_err() {
        // Written past the harness's capture, so that a skipped check is always seen.
        let notice = b"\n!!! SKIPPED: amtool is not installed, so alertmanager.yml was not checked\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), notice);
        return;
    }
    check("amtool check-config deploy/alertmanager/alertmanager.yml");
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    check(&format!("promtool test rules {ALERT_TESTS}"));
    let tests = text(ALERT_TESTS);
    for rule in rules(RULES[0]) {
        let alert = rule["alert"].as_str().expect("a name");
        let named = tests.contains(&format!("alertname=\"{alert}\""))
            || tests.contains(&format!("alertname: {alert}\n"));
        assert!(named, "{alert} has no scenario in {ALERT_TESTS}");
        assert!(rule["annotations"]["action"].is_string(), "{alert} does not say what to do");
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("critical" | "warning")), "{alert}");
    }
}

fn rules(file: &str) -> Vec<Value> {
    let file = yaml(file);
    let groups = file["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn panels(file: &str) -> Vec<Value> {
    let board: Value = serde_json::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let panels = board["panels"].as_array().expect("panels").iter();
    panels.filter(|panel| panel["type"] != "row").cloned().collect()
}

/// Every query with where it stands.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for file in RULES {
        for rule in rules(file) {
            let name = rule["alert"].as_str().or(rule["record"].as_str()).expect("a name").to_owned();
            queries.push((format!("{file}: {name}"), rule["expr"].as_str().expect("a query").to_owned()));
        }
    }
    for file in DASHBOARDS {
        for panel in panels(file) {
            for target in panel["targets"].as_array().expect("targets") {
                let expr = target["expr"].as_str().expect("a query").to_owned();
                queries.push((format!("{file}: {}", panel["title"]), expr));
            }
        }
    }
    queries
}

/// The names in a query that begin as ours do, recorded ones (with colons) included.
fn names(query: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    query.split(|c: char| !word(c)).filter(|name| name.starts_with("nautilus")).map(str::to_owned).collect()
}

/// The source of everything that ships.
fn source() -> String {
    let mut folders = vec![root().join("crates"), root().join("services")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all += &std::fs::read_to_string(&path).unwrap_or_default();
            }
        }
    }
    all
}

#[test]
fn every_series_that_is_asked_for_is_exported() {
    let source = source();
    let recorded: BTreeSet<String> =
        rules(RULES[1]).iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())).collect();
    let known = |name: &str| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        recorded.contains(name) || source.contains(&format!("!(\"{}\"", family.unwrap_or(name)))
    };
    assert!(known("nautilus_ready") && !known("nautilus_invented_total"));
    for (place, query) in queries() {
        for name in names(&query) {
            assert!(known(&name), "{place} asks for {name}, which nothing exports");
        }
    }
}

#[test]
fn dashboards_are_whole() {
    let sources = yaml("deploy/grafana/provisioning/datasources/nautilus.yml");
    let sources: Vec<&Value> = sources["datasources"].as_array().unwrap().iter().map(|s| &s["uid"]).collect();
    let mut uids = BTreeSet::new();
    for file in DASHBOARDS {
        let board: Value = serde_json::from_str(&text(file)).unwrap();
        assert!(uids.insert(board["uid"].as_str().expect("a uid").to_owned()), "{file}");
        let mut ids = BTreeSet::new();
        let mut cells = BTreeSet::new();
        for panel in panels(file) {
            let title = panel["title"].as_str().expect("a title");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{file}: {title} has another's id");
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{file}: {title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{file}: {title} has no unit");
            assert!(sources.contains(&&panel["datasource"]["uid"]), "{file}: {title} asks an unknown source");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect(title));
            assert!(x + w <= 24, "{file}: {title} is too wide");
            let free = (x..x + w).all(|column| (y..y + h).all(|row| cells.insert((column, row))));
            assert!(free, "{file}: {title} lies over another panel");
        }
    }
}
