//! A real Prometheus on the platform's own configuration and rules: every query of every panel returns data, and an
//! engine that is killed fires its alert.
//!
//! Two things differ from `deploy/prometheus`: targets are the ports of this test, and time runs faster (a scrape every
//! second, alerts after three instead of after 30 to 600).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nautilus_service::ServiceName;
use nautilus_testkit::{PrometheusServer, RedisServer, ServiceProcess};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;

const NAUTILUS: &str = env!("CARGO_BIN_EXE_nautilus");
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two requests of the user, so that none meets the rate limit of the key.
const PAUSE: Duration = Duration::from_millis(100);

fn deploy(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The platform as containers run it: a process per service, Redis between them, a key for every request.
struct Stack {
    services: Vec<(ServiceName, ServiceProcess)>,
    folder: tempfile::TempDir,
    _redis: [RedisServer; 2],
}

impl Stack {
    fn start() -> Self {
        let redis = [RedisServer::start(), RedisServer::start()];
        let folder = tempfile::tempdir().unwrap();
        for name in ["gateway", "prometheus", "store"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let file = |name: &str| folder.path().join(name).display().to_string();
        let mut settings: Vec<(String, String)> = [
            ("BUS__MARKET_DATA__TRANSPORT", "redis".to_owned()),
            ("BUS__MARKET_DATA__URL", redis[0].url()),
            ("BUS__ENGINE_LOGIC__TRANSPORT", "redis".to_owned()),
            ("BUS__ENGINE_LOGIC__URL", redis[1].url()),
            ("ACCESS__REQUIRED", "true".to_owned()),
            ("ACCESS__KEYS_FILE", file("keys.toml")),
            ("ACCESS__OWN_KEY_FILE", file("gateway/key")),
            ("ENGINES__MARKETDATA__SIMULATOR__PAST_MINUTES", "0".to_owned()),
            ("ENGINES__MARKETDATA__SIMULATOR__EVENTS_PER_SECOND", "100.0".to_owned()),
        ]
        .map(|(key, value)| (format!("NAUTILUS__{key}"), value))
        .into();
        // The gateway comes last, when it can be told where the others are.
        let names: Vec<ServiceName> = ServiceName::all().collect();
        settings.extend(names.iter().map(|name| (variable(*name, "LISTEN"), "127.0.0.1:0".to_owned())));
        let provisioned = Command::new(NAUTILUS)
            .args(["provision", &folder.path().display().to_string()])
            .envs(settings.iter().cloned())
            .status();
        assert!(provisioned.unwrap().success());
        let trader = Command::new(NAUTILUS)
            .args([
                "keys",
                "new",
                "--name",
                "trader",
                "--scope",
                "trade",
                "--secret-file",
                &file("trader.key"),
            ])
            .envs(settings.iter().cloned())
            .status();
        assert!(trader.unwrap().success());
        let mut services = Vec::new();
        for name in names {
            let mut arguments = vec!["service", name.as_str()];
            arguments.extend((name.as_str() == "marketdata").then_some("--simulate"));
            let given: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let process = ServiceProcess::start_with(NAUTILUS, &arguments, &given);
            settings.push((variable(name, "URL"), process.url().to_owned()));
            services.push((name, process));
        }
        Self { services, folder, _redis: redis }
    }

    fn url(&self, wanted: &str) -> &str {
        let (_, process) = self.services.iter().find(|(name, _)| name.as_str() == wanted).unwrap();
        process.url()
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("prometheus/key")
    }

    /// Prometheus on the repository's files.
    fn prometheus(&self) -> PrometheusServer {
        let mut config = deploy("prometheus/prometheus.yml")
            .replace("scrape_interval: 5s", "scrape_interval: 1s")
            .replace("scrape_timeout: 4s", "scrape_timeout: 1s")
            .replace("evaluation_interval: 5s", "evaluation_interval: 1s")
            .replace("/run/nautilus/prometheus/key", &self.key_file().display().to_string());
        for (name, process) in &self.services {
            let target = format!("{name}:{}", name.default_port());
            assert!(config.contains(&target), "deploy/prometheus/prometheus.yml does not scrape {target}");
            config = config.replace(&target, process.url().trim_start_matches("http://"));
        }
        let alerts = deploy("prometheus/rules/alerts.yml");
        let hasty: Vec<String> = alerts
            .lines()
            .map(|line| {
                line.split_once("for: ").map_or(line.to_owned(), |(indent, _)| format!("{indent}for: 3s"))
            })
            .collect();
        PrometheusServer::start(&[
            ("prometheus.yml", &config),
            ("rules/alerts.yml", &hasty.join("\n")),
            ("rules/recording.yml", &deploy("prometheus/rules/recording.yml")),
        ])
    }

    /// Asks through the gateway and listens to the stream as users do, so that there is something to measure.
    fn use_it(&self) -> User {
        let key = std::fs::read_to_string(self.key_file()).unwrap();
        let mut request =
            format!("{}/ws", self.url("gateway").replace("http", "ws")).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let address = self.url("gateway").trim_start_matches("http://").to_owned();
        let stream = std::net::TcpStream::connect(address).unwrap();
        let (mut socket, _) = tungstenite::client(request, stream).expect("the gateway tunnels /ws");
        socket
            .send(r#"{"type":"subscribe","id":1,"topics":["books.*","trades.*","system.*"]}"#.into())
            .unwrap();
        std::thread::spawn(move || while socket.read().is_ok() {});
        let trader = std::fs::read_to_string(self.folder.path().join("trader.key")).unwrap();
        User {
            book: format!("{}/api/marketdata/v1/books/SIM01", self.url("gateway")),
            key,
            orders: format!("{}/v1/orders", self.url("risk")),
            trader: trader.trim().to_owned(),
            sent: Cell::new(0),
        }
    }
}

fn variable(service: ServiceName, key: &str) -> String {
    format!("NAUTILUS__SERVICES__{}__{key}", service.as_str().to_ascii_uppercase())
}

/// A user, who listens on a thread for as long as the stream goes on.
struct User {
    book: String,
    key: String,
    orders: String,
    trader: String,
    sent: Cell<u32>,
}

impl User {
    /// Asks once, sends an order, and rests.
    fn ask(&self) {
        let sent = self.sent.replace(self.sent.get() + 1);
        let order = format!(
            r#"{{"order_id":"00000000-0000-0000-0000-0000{sent:08x}","desk":{{"portfolio":"p","book":"b","strategy":"s"}},
            "instrument":"SIM01","action":{{"new":{{"side":"buy","quantity":"1"}}}}}}"#
        );
        let request = ureq::post(&self.orders).header("authorization", format!("Bearer {}", self.trader));
        let decided = request.header("content-type", "application/json").send(order);
        assert_eq!(decided.expect("a decision").status(), 200);
        let answer = ureq::get(&self.book).header("authorization", format!("Bearer {}", self.key)).call();
        assert_eq!(answer.expect("a book").status(), 200);
        std::thread::sleep(PAUSE);
    }
}

/// What Prometheus answers to a query.
fn ask(prometheus: &PrometheusServer, query: &str) -> Vec<Value> {
    let url = format!("{}/api/v1/query", prometheus.url());
    let mut answer = ureq::get(url).query("query", query).call().unwrap_or_else(|e| panic!("{query}: {e}"));
    let answer: Value = answer.body_mut().read_json().unwrap();
    answer["data"]["result"].as_array().unwrap().clone()
}

/// Whether there is a sample that is a number.
fn has_data(samples: &[Value]) -> bool {
    samples.iter().any(|sample| sample["value"][1].as_str().is_some_and(|value| value != "NaN"))
}

/// Every query of every panel, as Grafana would send it.
fn panel_queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for file in ["overview", "latency"] {
        let board: Value = serde_json::from_str(&deploy(&format!("grafana/dashboards/{file}.json"))).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expr = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
                queries.push((format!("{file}: {}", panel["title"]), expr));
            }
        }
    }
    queries
}

fn firing(prometheus: &PrometheusServer) -> BTreeSet<String> {
    let alerts = ask(prometheus, "ALERTS{alertstate=\"firing\"}");
    let name = |alert: &Value| format!("{} {}", alert["metric"]["alertname"], alert["metric"]["service"]);
    alerts.iter().map(|alert| name(alert).replace('"', "")).collect()
}

#[test]
fn every_panel_has_data_and_a_killed_engine_fires_its_alert() {
    let mut stack = Stack::start();
    let prometheus = stack.prometheus();
    let user = stack.use_it();
    let mut open = panel_queries();
    assert!(open.len() > 50);
    let started = Instant::now();
    while !open.is_empty() {
        assert!(started.elapsed() < PATIENCE, "no data after {PATIENCE:?}: {open:#?}");
        user.ask();
        open.retain(|(_, query)| !has_data(&ask(&prometheus, query)));
    }
    eprintln!("every query of every panel has data after {:?}", started.elapsed());
    while !firing(&prometheus).is_empty() {
        assert!(
            started.elapsed() < 2 * PATIENCE,
            "nothing is wrong, yet there fire {:?}",
            firing(&prometheus)
        );
        user.ask();
    }

    let killed = Instant::now();
    let vpin = stack.services.iter_mut().find(|(name, _)| name.as_str() == "vpin").unwrap();
    vpin.1.kill();
    let expected = BTreeSet::from(["TradingEngineDown vpin".to_owned()]);
    while firing(&prometheus) != expected {
        assert!(killed.elapsed() < PATIENCE, "after the kill there fire {:?}", firing(&prometheus));
        user.ask();
    }
    eprintln!("TradingEngineDown fires {:?} after the kill", killed.elapsed());
}
