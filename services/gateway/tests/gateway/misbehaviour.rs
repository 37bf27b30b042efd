//! Engines that are slow, answer garbage or far too much: each is told apart, and nobody waits for them.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use nautilus_messages::EngineName;
use nautilus_service::Config;
use serde_json::{Value, json};

use crate::support::{Door, row, serve, serve_bytes};

const VPIN: EngineName = EngineName::Vpin;

/// An engine that says this of itself.
async fn saying(answer: Value) -> crate::support::Server {
    let document = get(async || axum::Json(json!(["no document"])));
    let says = get(move || std::future::ready(axum::Json(answer.clone())));
    serve(Router::new().route("/v1/engine", says).route("/openapi.json", document)).await
}

fn well(engine: &str) -> Value {
    json!({
        "engine": engine, "version": "9.9.9", "epoch": 1, "uptime_ms": 2, "ready": false,
        "reasons": ["market data bus: it is gone", "store: <full>"], "steps": 3, "star_published": 0,
        "star_read": 4, "star_missed": 5, "mesh_handled": 6, "lag": {"star_frames": null},
        "http": {"requests": 0, "errors": 0, "error_rate": null, "p50_s": null, "p99_s": null}, "stages": [],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_engines_miss_is_told_of_what_they_share() {
    let engine = saying(well("vpin")).await;
    let door = Door::before(&[(VPIN, engine.address)]).await;
    let asked = |status: &Value| row(status, VPIN)["version"] == "9.9.9";
    let status = door.status_once("it has answered", asked).await;
    assert_eq!(row(&status, VPIN)["state"], "not_ready");
    assert_eq!(status["state"], "down", "without its hub the platform is down");
    assert_eq!(
        status["buses"][0],
        json!({"bus": "market_data", "transport": "local", "state": "down", "reason": "vpin: it is gone"})
    );
    assert_eq!(status["buses"][1]["state"], "up");
    assert_eq!(status["store"]["reason"], "vpin: <full>");
    let page = door.get("/openapi.json").await.json();
    assert!(page["paths"]["/v1/status"].is_object(), "a document that is none changes nothing");
    door.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_told_apart() {
    let huge: &'static [u8] = {
        let body = vec![b'['; 300 << 10];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        Vec::leak([head.into_bytes(), body].concat())
    };
    for (bytes, reason, code) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..], "is not HTTP, or broke off", "engine_broke_off"),
        (b"", "is not HTTP, or broke off", "engine_broke_off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "broke off or is longer", ""),
        (huge, "broke off or is longer", ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n\xff\xfe\xfd", "is not understood", ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "missing field", ""),
        (b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "refuses the gateway's key", ""),
        (b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "with 302 Found", ""),
    ] {
        let engine = serve_bytes(bytes).await;
        let door = Door::before(&[(VPIN, engine.address)]).await;
        let asked = |status: &Value| row(status, VPIN)["state"] == "not_ready";
        let status = door.status_once(reason, asked).await;
        let told = row(&status, VPIN)["reasons"][0].as_str().unwrap();
        assert!(told.contains(reason), "{told} does not say {reason}");
        if !code.is_empty() {
            assert_eq!(door.get("/api/vpin/v1/vpin").await.problem(), (502, code.to_owned()));
        }
        door.running.stop().await;
    }
    let engine = saying(well("marketdata")).await;
    let door = Door::before(&[(VPIN, engine.address)]).await;
    let asked = |status: &Value| row(status, VPIN)["state"] == "not_ready";
    let status = door.status_once("another engine has answered", asked).await;
    let told = row(&status, VPIN)["reasons"][0].as_str().unwrap();
    assert_eq!(told, "'marketdata' answers at its address; correct services.vpin.url");
    door.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_an_engine_that_hangs() {
    let hangs = get(async || std::future::pending::<StatusCode>().await);
    let engine = serve(Router::new().fallback(hangs)).await;
    let mut config = Config::default();
    config.http.timeout_ms = 1_000;
    let door = Door::with(config, &[(VPIN, engine.address)]).await;
    let asked =
        |status: &Value| row(status, VPIN)["reasons"][0].as_str().is_some_and(|why| why.contains("800 ms"));
    let start = Instant::now();
    let status = door.status_once("it has been asked", asked).await;
    assert_eq!(row(&status, VPIN)["state"], "down");
    assert!(start.elapsed() >= Duration::from_millis(800), "it was given its time");
    let start = Instant::now();
    let answer = door.get("/api/vpin/v1/vpin").await;
    assert_eq!(answer.problem(), (504, "engine_timeout".to_owned()));
    assert!(start.elapsed() >= Duration::from_millis(950) && answer.body.contains("vpin did not answer"));
    door.running.stop().await;
}
