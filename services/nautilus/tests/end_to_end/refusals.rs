//! Wrong requests: each is answered with a problem of a stable code, and none changes or harms anything.
//!
//! What a right request answers is checked elsewhere.

use serde_json::{Value, json};

use crate::support::{Answer, Place, ask, ask_with, get, sample, send_raw};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A problem of RFC 9457 with this status and code, in one plain sentence.
fn assert_problem(case: &str, answer: &Answer, status: u16, code: &str) {
    let Answer { media, body, text, .. } = answer;
    assert_eq!((answer.status, &body["code"]), (status, &json!(code)), "{case}: {text}");
    assert_eq!((media.as_str(), &body["status"]), ("application/problem+json", &json!(status)), "{case}");
    assert_eq!(body["type"], "about:blank", "{case}");
    let detail = body["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty() && detail.len() < 700 && !detail.contains('\n'), "{case}: {detail}");
    assert!(body["title"].is_string() && !answer.request_id.is_empty(), "{case}");
    for insides in ["panicked", ".rs:", "/root", "0x"] {
        assert!(!text.contains(insides), "{case}: {text}");
    }
}

#[test]
fn wrong_requests_are_refused_and_change_nothing() {
    let place = Place::new();
    let engines = place.start_after_replay(&sample());
    let before =
        (engines.digests(), get(&engines.vpin, "/v1/vpin"), get(&engines.marketdata, "/v1/instruments"));
    wrong_addresses(&engines.marketdata, &engines.vpin);
    wrong_questions(&engines.marketdata, &engines.vpin);
    wrong_bodies(&engines.marketdata, &engines.vpin);
    wrong_calculations(&engines.vpin);
    too_much(&engines.marketdata, &engines.vpin);
    not_even_http(&engines.marketdata);
    for url in [&engines.marketdata, &engines.vpin] {
        assert_eq!(ask("GET", url, "/health/live", None).status, 200);
        assert_eq!(ask("GET", url, "/health/ready", None).status, 200);
    }
    let after =
        (engines.digests(), get(&engines.vpin, "/v1/vpin"), get(&engines.marketdata, "/v1/instruments"));
    assert_eq!(after, before);
    engines.interrupt();
    let ended = engines.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

fn wrong_addresses(marketdata: &str, vpin: &str) {
    for path in
        ["/", "/v1", "/v1/books", "/v1/books/", "/v1/books/SIM01/more", "/v2/stats/SIM01", "/etc/passwd"]
    {
        assert_problem(path, &ask("GET", marketdata, path, None), 404, "no_such_route");
    }
    for (url, method, path) in [
        (marketdata, "POST", "/v1/books/SIM01"),
        (marketdata, "PUT", "/v1/replays"),
        (marketdata, "DELETE", "/v1/instruments"),
        (vpin, "DELETE", "/v1/vpin/SIM01/configuration"),
        (vpin, "PATCH", "/v1/vpin/SIM01"),
        (vpin, "GET", "/v1/vpin/calculate/more"),
    ] {
        let (status, code) =
            if method == "GET" { (404, "no_such_route") } else { (405, "method_not_allowed") };
        assert_problem(&format!("{method} {path}"), &ask(method, url, path, None), status, code);
    }
    let long = "X".repeat(5_000);
    for name in ["NONE", "sim01", "%00", "%2e%2e%2f", "SIM01%20", "%zz", "%F0%9F%90%9A", &long] {
        for route in ["books", "trades", "stats", "bars"] {
            let answer = ask("GET", marketdata, &format!("/v1/{route}/{name}"), None);
            assert_problem(&format!("{route} of {name:.9}"), &answer, 404, "unknown_instrument");
        }
        for rest in ["", "/history", "/configuration"] {
            let answer = ask("GET", vpin, &format!("/v1/vpin/{name}{rest}"), None);
            assert_problem(&format!("{name:.9}{rest}"), &answer, 404, "unknown_instrument");
        }
    }
    assert_problem("not UTF-8", &ask("GET", marketdata, "/v1/books/%FF", None), 400, "invalid_path");
    assert_problem("number", &ask("GET", marketdata, "/v1/replays/one", None), 400, "invalid_path");
    for method in ["GET", "DELETE"] {
        let answer = ask(method, marketdata, "/v1/replays/77", None);
        assert_problem(method, &answer, 404, "unknown_replay");
    }
}

fn wrong_questions(marketdata: &str, vpin: &str) {
    for path in [
        "/v1/books/SIM01?depth=0",
        "/v1/books/SIM01?depth=1001",
        "/v1/books/SIM01?depth=-1",
        "/v1/books/SIM01?depth=ten",
        "/v1/books/SIM01?depth=99999999999999999999999",
        "/v1/books/SIM01?deep=1",
        "/v1/books/SIM01?depth=1&depth=2",
        "/v1/trades/SIM01?limit=0",
        "/v1/trades/SIM01?limit=4097",
        "/v1/trades/SIM01?before=-1",
        "/v1/trades/SIM01?from=1",
        "/v1/bars/SIM01?interval=soon",
        "/v1/bars/SIM01?interval=0m",
        "/v1/bars/SIM01?from_ns=yesterday",
        "/v1/bars/SIM01?limit=0",
        "/v1/instruments?limit=0",
        "/v1/instruments?after=%01",
    ] {
        assert_problem(path, &ask("GET", marketdata, path, None), 400, "invalid_query");
    }
    for path in [
        "/v1/vpin?limit=0",
        "/v1/vpin?sort=vpin",
        "/v1/vpin/SIM01/history?classification=magic",
        "/v1/vpin/SIM01/history?limit=99999",
        "/v1/vpin/SIM01/history?before=x",
    ] {
        assert_problem(path, &ask("GET", vpin, path, None), 400, "invalid_query");
    }
    let unbuilt = ask("GET", marketdata, "/v1/bars/SIM01?interval=7m", None);
    assert_problem("7m", &unbuilt, 404, "unknown_interval");
}

fn wrong_bodies(marketdata: &str, vpin: &str) {
    for (case, headers, body, status, code) in [
        ("no media type", &[][..], "{}", 415, "unsupported_media_type"),
        ("other media type", &[("content-type", "text/plain")], "{}", 415, "unsupported_media_type"),
        ("empty", JSON, "", 400, "invalid_body"),
        ("not JSON", JSON, "path", 400, "invalid_body"),
        ("NaN", JSON, r#"{"path":NaN}"#, 400, "invalid_body"),
        ("cut off", JSON, r#"{"path":"a"#, 400, "invalid_body"),
        ("trailing", JSON, r#"{"path":"a.csv"} x"#, 400, "invalid_body"),
        ("wrong type", JSON, r#"{"path":5}"#, 422, "invalid_body"),
        ("missing field", JSON, "{}", 422, "invalid_body"),
        ("unknown field", JSON, r#"{"path":"a.csv","loop":true}"#, 422, "invalid_body"),
        ("array", JSON, "[]", 422, "invalid_body"),
        ("speed", JSON, r#"{"path":"a.csv","speed":-1}"#, 422, "invalid_body"),
        ("speed in words", JSON, r#"{"path":"a.csv","speed":"fast"}"#, 422, "invalid_body"),
        ("no such file", JSON, r#"{"path":"none.dbn"}"#, 422, "unreadable_file"),
        ("not a recording", JSON, r#"{"path":"/etc/passwd"}"#, 422, "unreadable_file"),
        ("a folder", JSON, r#"{"path":"/"}"#, 422, "unreadable_file"),
        ("a NUL", JSON, r#"{"path":"a\u0000.csv"}"#, 422, "unreadable_file"),
    ] {
        assert_problem(case, &ask_with("POST", marketdata, "/v1/replays", headers, body), status, code);
    }
    for (body, status, code) in [
        (r#"{"window":0}"#, 422, "invalid_configuration"),
        (r#"{"bucket_volume":"-3"}"#, 422, "invalid_configuration"),
        (r#"{"bucket_volume":"much"}"#, 422, "invalid_body"),
        (r#"{"window":1.5}"#, 422, "invalid_body"),
        (r#"{"moderate_above":NaN}"#, 400, "invalid_body"),
        (r#"{"classification":"magic"}"#, 422, "invalid_body"),
        (r#"{"windows":5}"#, 422, "invalid_body"),
        (r#"{"moderate_above":0.9,"high_above":0.1}"#, 422, "invalid_configuration"),
        ("", 400, "invalid_body"),
    ] {
        let answer = ask("PUT", vpin, "/v1/vpin/SIM01/configuration", Some(body));
        assert_problem(body, &answer, status, code);
    }
    let unknown = ask("PUT", vpin, "/v1/vpin/NONE/configuration", Some("{}"));
    assert_problem("unknown instrument", &unknown, 404, "unknown_instrument");
}

fn wrong_calculations(vpin: &str) {
    let one = |field: &str, value: &str| {
        let mut trade = json!({"ts_ns": 1, "price": "1", "quantity": "1"});
        trade[field] = serde_json::from_str(value).unwrap_or(Value::Null);
        json!({ "trades": [trade] }).to_string()
    };
    let trade = json!({"ts_ns": 5, "price": "1", "quantity": "1"});
    let earlier = json!({"ts_ns": 4, "price": "1", "quantity": "1"});
    for (case, body, code) in [
        ("no trades", json!({"trades": []}).to_string(), "no_trades"),
        ("unsorted", json!({"trades": [trade, earlier]}).to_string(), "unsorted_trades"),
        ("negative quantity", one("quantity", "\"-1\""), "illegal_trade"),
        ("zero quantity", one("quantity", "0"), "illegal_trade"),
        ("absurd quantity", one("quantity", "\"1e300\""), "illegal_trade"),
        ("absurd price", one("price", "1e300"), "illegal_trade"),
        ("price in words", one("price", "\"much\""), "illegal_trade"),
        ("window", json!({"trades": [trade], "window": 0}).to_string(), "invalid_configuration"),
        (
            "two sizes",
            json!({"trades": [trade], "bucket_volume": 1, "buckets_per_day": 5}).to_string(),
            "two_bucket_sizes",
        ),
        (
            "tiny buckets",
            json!({"trades": [trade], "bucket_volume": "0.000000001"}).to_string(),
            "too_many_buckets",
        ),
        (
            "negative bucket",
            json!({"trades": [trade], "bucket_volume": -1}).to_string(),
            "invalid_configuration",
        ),
        ("no sides", json!({"trades": [trade], "classification": "aggressor"}).to_string(), "no_sides"),
        ("NaN", r#"{"trades":[{"ts_ns":1,"price":NaN,"quantity":1}]}"#.into(), "invalid_body"),
        ("infinity", r#"{"trades":[{"ts_ns":1,"price":1e999,"quantity":1}]}"#.into(), "invalid_body"),
        ("negative time", one("ts_ns", "-1"), "invalid_body"),
        ("wrong type", json!({"trades": 5}).to_string(), "invalid_body"),
        ("unknown field", json!({"trades": [trade], "windows": 5}).to_string(), "invalid_body"),
        ("unknown field of a trade", one("venue", "\"X\""), "invalid_body"),
        ("unknown side", one("side", "\"both\""), "invalid_body"),
        ("deep nesting", "[".repeat(100_000), "invalid_body"),
        ("deep nesting of objects", r#"{"trades":"#.repeat(20_000), "invalid_body"),
        ("not UTF-8 but text", "\u{FEFF}{}".into(), "invalid_body"),
        ("empty", String::new(), "invalid_body"),
    ] {
        let answer = ask("POST", vpin, "/v1/vpin/calculate", Some(&body));
        let status = if code == "invalid_body" { 400 } else { 422 };
        assert_problem(case, &answer, status, code);
    }
}

fn too_much(marketdata: &str, vpin: &str) {
    let body = " ".repeat(10_000_000);
    for (url, path) in [(marketdata, "/v1/replays"), (vpin, "/v1/vpin/calculate")] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
        let known = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(send_raw(url, known.as_bytes()), "HTTP/1.1 413 Payload Too Large", "{path}");
        let chunked =
            format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        assert_eq!(send_raw(url, chunked.as_bytes()), "HTTP/1.1 413 Payload Too Large", "{path} in chunks");
    }
    let answer = ask("PUT", vpin, "/v1/vpin/SIM01/configuration", Some(&" ".repeat(70_000)));
    assert_problem("70 kB", &answer, 413, "body_too_large");
}

fn not_even_http(url: &str) {
    let long = format!("GET /v1/books/{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "X".repeat(100_000));
    assert_eq!(send_raw(url, long.as_bytes()), "HTTP/1.1 414 URI Too Long");
    let headers = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x-more: 1\r\n".repeat(1_000));
    assert_eq!(send_raw(url, headers.as_bytes()), "HTTP/1.1 431 Request Header Fields Too Large");
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let line = send_raw(url, bytes);
        assert!(line.is_empty() || line.starts_with("HTTP/1.1 400"), "{line}");
    }
}
