//! Real engines behind the door: what is told of them, and what happens when one goes and comes.

use nautilus_marketdata::Marketdata;
use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform, Running, ServiceName, wall_clock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ask, row, send};

/// marketdata with simulated markets, vpin and the gateway; neither of the others.
struct Whole {
    platform: Platform,
    marketdata: Marketdata,
    vpin: Running,
    door: crate::support::Door,
    _folder: TempDir,
}

async fn vpin(platform: &mut Platform) -> Running {
    let listener = platform.listen(EngineName::Vpin).await.unwrap();
    nautilus_vpin::start(platform.connect(EngineName::Vpin).await.unwrap(), listener).await.unwrap().running
}

async fn whole() -> Whole {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.store.url = format!("sqlite://{}", folder.path().join("test.db").display());
    for service in ServiceName::all() {
        config.services.set_listen(service, "127.0.0.1:0".parse().unwrap());
    }
    let mut platform = Platform::new(config);
    let vpin = vpin(&mut platform).await;
    let listener = platform.listen(EngineName::Marketdata).await.unwrap();
    let connections = platform.connect(EngineName::Marketdata).await.unwrap();
    let marketdata = nautilus_marketdata::start(connections, listener).await.unwrap();
    marketdata.simulate(wall_clock()).unwrap();
    let engines = [(EngineName::Marketdata, marketdata.running.address), (EngineName::Vpin, vpin.address)];
    let config = Config::clone(platform.config());
    let door = crate::support::Door::with(config, &engines).await;
    Whole { platform, marketdata, vpin, door, _folder: folder }
}

fn states(status: &Value) -> Vec<&str> {
    status["engines"].as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_is_told_and_engines_come_and_go() {
    let mut whole = whole().await;
    let door = &whole.door;
    let status = door
        .status_once("both engines are up", |status| states(status) == ["up", "up", "down", "down", "down"])
        .await;
    assert_eq!((&status["state"], &status["version"]), (&json!("degraded"), &json!("0.1.0")));
    let marketdata = row(&status, EngineName::Marketdata);
    assert_eq!(marketdata["url"], format!("http://{}", whole.marketdata.running.address));
    assert_eq!(marketdata["reasons"], json!([]));
    assert!(marketdata["answer_ms"].as_f64().unwrap() > 0.0, "{marketdata:#}");
    assert_eq!(row(&status, EngineName::Websocket)["reasons"], json!(["it takes no connections"]));
    assert_eq!(row(&status, EngineName::Websocket)["version"], Value::Null);
    for bus in status["buses"].as_array().unwrap() {
        assert_eq!((&bus["transport"], &bus["state"]), (&json!("local"), &json!("up")), "{bus}");
    }
    assert_eq!((&status["store"]["kind"], &status["store"]["state"]), (&json!("sqlite"), &json!("up")));
    let status = door.status_once("the feed and its steps are seen", |status| {
        let steps = row(status, EngineName::Marketdata)["stages"][0]["count"].as_u64();
        status["feeds"][0]["simulated"] == true && steps.is_some_and(|steps| steps > 0)
    });
    let status = status.await;
    let step = &row(&status, EngineName::Marketdata)["stages"][0];
    assert_eq!(step["stage"], "step");
    assert!(step["p50_s"].as_f64() <= step["p999_s"].as_f64(), "{step:#}");
    let topology = door.get("/v1/topology").await.json();
    let feed = topology["nodes"].as_array().unwrap().iter().find(|node| node["kind"] == "feed");
    assert!(feed.is_some(), "{topology:#}");
    reads_and_refusals_are_passed_on(&whole).await;
    document_is_whole(&whole).await;
    let Whole { vpin: gone, .. } = whole;
    let address = gone.address;
    gone.stop().await;
    let status = whole.door.status_once("vpin is down", |status| states(status)[1] == "down").await;
    assert_eq!(status["state"], "degraded");
    let answer = whole.door.get("/api/vpin/v1/vpin").await;
    assert_eq!(answer.problem(), (502, "engine_unreachable".to_owned()));
    assert!(answer.body.contains("vpin does not take connections"), "{answer:?}");
    let document = whole.door.get("/openapi.json").await.json();
    assert_eq!(document["x-unreachable"], json!(["vpin", "websocket", "features", "risk"]));
    assert!(document["paths"]["/api/vpin/v1/vpin"].is_object(), "the last known part is kept");
    assert_eq!(whole.door.get("/api/marketdata/v1/instruments").await.status, 200, "the others go on");
    // It listens where it was, since the configuration names the port by now.
    let back = vpin(&mut whole.platform).await;
    assert_eq!(back.address, address);
    whole.door.status_once("vpin is back", |status| states(status)[1] == "up").await;
    assert_eq!(whole.door.get("/api/vpin/v1/vpin").await.status, 200);
    let metrics = whole.door.get("/metrics").await.body;
    for line in [
        "nautilus_engine_up{service=\"gateway\",engine=\"websocket\"} 0",
        "nautilus_proxy_seconds_count{service=\"gateway\",engine=\"vpin\"}",
        "nautilus_proxy_errors_total{service=\"gateway\",engine=\"vpin\",kind=\"unreachable\"}",
    ] {
        assert!(metrics.contains(line), "{line} is missing:\n{metrics}");
    }
    whole.door.running.stop().await;
    back.stop().await;
    whole.marketdata.stop().await;
}

async fn reads_and_refusals_are_passed_on(whole: &Whole) {
    let direct = whole.marketdata.running.address;
    for path in ["/openapi.json", "/v1/instruments?limit=x", "/v1/books/NOBODY", "/nothing"] {
        let straight = ask(direct, "GET", path, &[], None).await;
        let passed = whole.door.get(&format!("/api/marketdata{path}")).await;
        assert_eq!((passed.status, &passed.body), (straight.status, &straight.body), "{path}");
        assert_eq!(passed.header("content-type"), straight.header("content-type"), "{path}");
    }
    let address = whole.door.running.address;
    let configure = b"{\"classification\":\"aggressor\"}".to_vec();
    let symbol = whole.door.get("/api/marketdata/v1/instruments?limit=1").await.json();
    let symbol = symbol["instruments"][0]["symbol"].as_str().expect("an instrument");
    let path = format!("/api/vpin/v1/vpin/{symbol}/configuration");
    let json = [("content-type", "application/json")];
    let told = |status: &Value| row(status, EngineName::Vpin)["steps"].as_u64() > Some(100);
    whole.door.status_once("vpin has read of the instrument", told).await;
    let answer = ask(address, "PUT", &path, &json, Some(configure)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        ask(address, "GET", &path, &[], None).await.json()["configuration"]["classification"],
        "aggressor"
    );
    // The engine's own bounds hold: bodies of 8 MiB here, of 64 KiB there.
    for (path, bytes, status) in [
        ("/api/vpin/v1/vpin/calculate", 8 << 20, 400),
        ("/api/vpin/v1/vpin/calculate", (8 << 20) + 1, 413),
        ("/api/marketdata/v1/replays", (64 << 10) + 1, 413),
        ("/api/marketdata/v1/replays", (16 << 20) + 1, 413),
    ] {
        let framing = format!("content-type: application/json\r\ncontent-length: {bytes}");
        let answer = send(address, path, &framing, vec![b' '; bytes]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}, {bytes} bytes: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}

async fn document_is_whole(whole: &Whole) {
    let document = whole.door.get("/openapi.json").await.json();
    assert_eq!(document["x-unreachable"], json!(["websocket", "features", "risk"]));
    for path in [
        "/v1/status",
        "/v1/topology",
        "/ws",
        "/health/ready",
        "/api/vpin/v1/engine",
        "/api/marketdata/v1/books/{instrument}",
    ] {
        assert!(document["paths"][path]["get"].is_object(), "{path} is missing");
    }
    assert!(document["paths"]["/api/{engine}/{*path}"].is_null());
    // Every reference leads somewhere.
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let ids: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "operation ids are unique: {ids:?}");
}

fn collect_references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, found)),
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| collect_references(value, found));
        }
        _ => {}
    }
}
