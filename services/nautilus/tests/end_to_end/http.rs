//! What the services answer after a replay: shapes as documented, figures that agree with each other.
//!
//! Wrong requests have their own file.

use std::collections::{BTreeMap, BTreeSet};

use nautilus_testkit::shared_data;
use serde_json::{Value, json};

use crate::support::{Place, ask, ask_with, eventually, get, list, number, sample};

const SYMBOLS: [&str; 2] = ["SIM01", "SIM02"];

/// Whether a value is of a schema: type, required members and members' types. Enough for what utoipa writes.
fn conforms(openapi: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = openapi.pointer(&reference[1..]).ok_or_else(|| format!("{reference} leads nowhere"))?;
        return conforms(openapi, target, value);
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let fits = one_of.iter().any(|schema| conforms(openapi, schema, value).is_ok());
        return if fits { Ok(()) } else { Err(format!("{value} is none of {one_of:?}")) };
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        conforms(openapi, part, value)?;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        several => several.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let is = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    if !types.is_empty() && !types.iter().any(is) {
        return Err(format!("{value:.100} is not {types:?}"));
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(required).is_none() {
            return Err(format!("{required} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        if let Some(schema) = schema["properties"].get(name) {
            conforms(openapi, schema, member).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    for element in value.as_array().into_iter().flatten() {
        conforms(openapi, &schema["items"], element)?;
    }
    Ok(())
}

/// The query that a route's own examples make.
fn example_query(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let given = parameters.filter(|parameter| parameter["in"] == "query").filter_map(|parameter| {
        let example = &parameter["example"];
        let text = example.as_str().map(str::to_owned).or_else(|| example.as_u64().map(|n| n.to_string()))?;
        Some(format!("{}={text}", parameter["name"].as_str()?))
    });
    let given: Vec<_> = given.collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

/// Asks every documented GET route and holds the answer against its schema.
fn routes_answer_as_documented(url: &str, expected: &[&str]) {
    let openapi = get(url, "/openapi.json");
    assert!(openapi["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = openapi["paths"].as_object().expect("paths");
    for path in expected.iter().chain(&["/health/live", "/health/ready", "/v1/engine", "/v1/engine/digest"]) {
        assert!(paths.contains_key(*path), "{path} is not documented");
    }
    for (path, methods) in paths.iter().filter(|(_, methods)| methods["get"].is_object()) {
        let asked =
            path.replace("{instrument}", "SIM01").replace("{id}", "1") + &example_query(&methods["get"]);
        let answer = ask("GET", url, &asked, None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let schema = &methods["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if schema.is_object() {
            conforms(&openapi, schema, &answer.body).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        let unknown = ask("GET", url, &path.replace("{instrument}", "NONE").replace("{id}", "999"), None);
        let documented = &methods["get"]["responses"][unknown.status.to_string()];
        assert!(documented.is_object(), "{path} answers {} and does not say so", unknown.status);
    }
}

#[test]
fn a_replayed_session_is_served() {
    let place = Place::new();
    let engines = place.start_after_replay(&sample());
    let marketdata = [
        "/v1/instruments",
        "/v1/books/{instrument}",
        "/v1/trades/{instrument}",
        "/v1/bars/{instrument}",
        "/v1/stats/{instrument}",
        "/v1/replays",
        "/v1/replays/{id}",
        "/v1/feeds",
    ];
    routes_answer_as_documented(&engines.marketdata, &marketdata);
    let vpin = ["/v1/vpin", "/v1/vpin/{instrument}", "/v1/vpin/{instrument}/history", "/v1/vpin/calculate"];
    routes_answer_as_documented(&engines.vpin, &vpin);
    instruments_are_paged(&engines.marketdata);
    for symbol in SYMBOLS {
        books_are_sorted(&engines.marketdata, symbol);
        let trades = trades_page_without_repeats(&engines.marketdata, symbol);
        statistics_agree(&engines.marketdata, symbol, &trades);
        stored_bars_are_the_served_ones(&engines.marketdata, symbol);
        history_pages_without_repeats(&engines.vpin, symbol);
    }
    for (url, service) in [(&engines.marketdata, "marketdata"), (&engines.vpin, "vpin")] {
        metrics_are_prometheus_text(url, service);
        request_ids_come_back(url);
    }
    engines.stop();
}

fn instruments_are_paged(url: &str) {
    let first = get(url, "/v1/instruments?limit=1");
    assert_eq!((&first["instruments"][0]["symbol"], &first["next"]), (&json!("SIM01"), &json!("SIM01")));
    let second = get(url, "/v1/instruments?limit=2&after=SIM01");
    assert_eq!((&second["instruments"][0]["symbol"], &second["next"]), (&json!("SIM02"), &Value::Null));
    let counters = &first["instruments"][0]["counters"];
    for zero in ["unknown_orders", "gaps", "lost", "duplicates", "crossed_open"] {
        assert_eq!(counters[zero], 0, "{zero}: {counters}");
    }
}

fn books_are_sorted(url: &str, symbol: &str) {
    let whole = get(url, &format!("/v1/books/{symbol}?depth=1000"));
    assert_eq!(
        (&whole["instrument"], &whole["state"], &whole["crossed"]),
        (&json!(symbol), &json!("live"), &json!(false))
    );
    for (side, totals, sign) in [("bids", "bid_totals", -1.0), ("asks", "ask_totals", 1.0)] {
        let levels = list(&whole[side]);
        assert!(
            levels.windows(2).all(|two| sign * number(&two[0]["price"]) < sign * number(&two[1]["price"]))
        );
        assert!(
            levels.iter().all(|level| number(&level["quantity"]) > 0.0 && level["orders"].as_u64() > Some(0))
        );
        assert_eq!(whole[totals]["levels"], levels.len());
        let orders: u64 = levels.iter().filter_map(|level| level["orders"].as_u64()).sum();
        let quantity: f64 = levels.iter().map(|level| number(&level["quantity"])).sum();
        assert_eq!(
            (whole[totals]["orders"].as_u64(), number(&whole[totals]["quantity"])),
            (Some(orders), quantity)
        );
        for depth in [1, 3] {
            let book = get(url, &format!("/v1/books/{symbol}?depth={depth}"));
            assert_eq!(list(&book[side]), &levels[..depth], "depth {depth}");
            assert_eq!(book[totals], whole[totals], "totals are of the whole side");
        }
    }
    assert!(number(&whole["bids"][0]["price"]) < number(&whole["asks"][0]["price"]));
}

fn trades_page_without_repeats(url: &str, symbol: &str) -> Vec<Value> {
    let all = get(url, &format!("/v1/trades/{symbol}?limit=4096"));
    assert_eq!(all["next"], Value::Null, "all trades are kept");
    let (mut pages, mut before) = (Vec::new(), String::new());
    loop {
        let page = get(url, &format!("/v1/trades/{symbol}?limit=700{before}"));
        assert!(list(&page["trades"]).len() <= 700);
        pages.splice(0..0, list(&page["trades"]).iter().cloned());
        let Some(next) = page["next"].as_u64() else { break };
        before = format!("&before={next}");
    }
    assert_eq!(pages, list(&all["trades"]));
    let sequence = |trade: &Value| trade["sequence"].as_u64();
    assert!(pages.windows(2).all(|two| sequence(&two[0]) < sequence(&two[1])), "oldest first, none twice");
    pages
}

fn statistics_agree(url: &str, symbol: &str, trades: &[Value]) {
    let stats = get(url, &format!("/v1/stats/{symbol}"));
    assert_eq!(stats["trades"], trades.len());
    let sum = |side: Option<&str>| -> f64 {
        let of_side = trades.iter().filter(|trade| side.is_none_or(|side| trade["aggressor"] == side));
        of_side.map(|trade| number(&trade["quantity"])).sum()
    };
    let volume = sum(None);
    assert_eq!(number(&stats["volume"]), volume);
    let sides = (number(&stats["volume_buy"]), number(&stats["volume_sell"]));
    assert_eq!(sides, (sum(Some("buy")), sum(Some("sell"))));
    assert_eq!(sides.0 + sides.1 + number(&stats["volume_unknown"]), volume);
    let prices: Vec<f64> = trades.iter().map(|trade| number(&trade["price"])).collect();
    let turnover: f64 = trades.iter().map(|trade| number(&trade["price"]) * number(&trade["quantity"])).sum();
    assert!((number(&stats["vwap"]) - turnover / volume).abs() < 1e-7);
    assert_eq!(number(&stats["low"]), prices.iter().copied().fold(f64::MAX, f64::min));
    assert_eq!(number(&stats["high"]), prices.iter().copied().fold(f64::MIN, f64::max));
    assert_eq!((number(&stats["first"]), number(&stats["last"])), (prices[0], prices[prices.len() - 1]));
    for interval in ["1s", "1m", "5m", "1h", "1d"] {
        let answer = get(url, &format!("/v1/bars/{symbol}?interval={interval}&limit=4096"));
        let bars: Vec<&Value> = list(&answer["bars"])
            .iter()
            .chain(Some(&answer["forming"]).filter(|bar| bar.is_object()))
            .collect();
        assert_eq!(bars.iter().map(|bar| number(&bar["volume"])).sum::<f64>(), volume, "{interval}");
        let count: u64 = bars.iter().filter_map(|bar| bar["trades"].as_u64()).sum();
        assert_eq!(count, trades.len() as u64, "{interval}");
        let opens: Vec<_> = bars.iter().map(|bar| bar["ts_open_ns"].as_u64()).collect();
        assert!(opens.is_sorted_by(|one, next| one < next), "{interval}");
        for bar in bars {
            let [low, high] = ["low", "high"].map(|name| number(&bar[name]));
            let inside = ["open", "close", "vwap"].map(|name| number(&bar[name]));
            assert!(inside.iter().all(|price| (low..=high).contains(price)), "{bar}");
        }
    }
}

fn stored_bars_are_the_served_ones(url: &str, symbol: &str) {
    let served = get(url, &format!("/v1/bars/{symbol}?interval=1m&limit=4096"));
    let stored = get(url, &format!("/v1/bars/{symbol}?interval=1m&limit=4096&from_ns=0"));
    assert_eq!(served["bars"], stored["bars"]);
    let (first, rest) = list(&served["bars"]).split_first().expect("bars");
    let from = first["ts_close_ns"].as_u64().expect("a time");
    let later = get(url, &format!("/v1/bars/{symbol}?interval=1m&limit=4096&from_ns={from}"));
    assert_eq!(list(&later["bars"]), rest);
    let one = get(url, &format!("/v1/bars/{symbol}?interval=1m&from_ns=0&to_ns={from}"));
    assert_eq!(list(&one["bars"]), std::slice::from_ref(first));
}

fn history_pages_without_repeats(url: &str, symbol: &str) {
    let now = get(url, &format!("/v1/vpin/{symbol}"));
    assert_eq!(now["lost"], 0);
    let by_classification = now["by_classification"].as_object().expect("all classifications");
    assert_eq!(by_classification.len(), 4);
    for (classification, lane) in by_classification {
        let path = format!("/v1/vpin/{symbol}/history?classification={classification}&limit=25");
        let (mut buckets, mut before) = (Vec::new(), String::new());
        loop {
            let page = get(url, &format!("{path}{before}"));
            buckets.splice(0..0, list(&page["buckets"]).iter().cloned());
            let Some(next) = page["next"].as_u64() else { break };
            before = format!("&before={next}");
        }
        let numbers: Vec<_> = buckets.iter().filter_map(|bucket| bucket["bucket"].as_u64()).collect();
        assert_eq!(Some(numbers.len() as u64), lane["buckets"].as_u64());
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        assert_eq!(buckets.last().map_or(&Value::Null, |bucket| &bucket["vpin"]), &lane["vpin"]);
        let volume = number(&now["bucket_volume"]);
        for bucket in &buckets {
            let whole =
                bucket["buy"].as_f64().expect("a number") + bucket["sell"].as_f64().expect("a number");
            assert!((whole - volume).abs() < 1e-6, "buckets are exact: {bucket}");
            assert!(bucket["vpin"].as_f64().is_none_or(|vpin| (0.0..=1.0).contains(&vpin)));
        }
    }
    assert!(now["by_classification"]["aggressor"]["vpin"].is_number(), "the sample is long enough");
}

/// Labels by name.
type Labels = BTreeMap<String, String>;

/// One sample line of the Prometheus text format.
fn metric(line: &str) -> Option<(&str, Labels, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let named = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // No label's value here holds a quoted comma.
    let labels = labels.strip_suffix('}')?.split("\",").filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name, labels.collect::<Option<_>>()?, value.parse().ok()?)).filter(|_| named)
}

fn metrics_are_prometheus_text(url: &str, service: &str) {
    let answer = ask("GET", url, "/metrics", None);
    assert_eq!((answer.status, answer.media.as_str()), (200, "text/plain; version=0.0.4"));
    let (mut bounds, mut seen) = (BTreeMap::<String, Vec<(f64, f64)>>::new(), BTreeSet::new());
    for line in answer.text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels, value) = metric(line).unwrap_or_else(|| panic!("not a metric: {line}"));
        assert_eq!(labels.get("service").map(String::as_str), Some(service), "{line}");
        assert!(seen.insert(line.rsplit_once(' ').expect("a value").0.to_owned()), "twice: {line}");
        if let Some(bound) = labels.get("le") {
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
            let route = labels.get("route").cloned().unwrap_or_default();
            bounds.entry(format!("{name} {route}")).or_default().push((bound, value));
        }
    }
    for family in ["nautilus_step_seconds_bucket ", "nautilus_star_hop_seconds_bucket "] {
        assert!(bounds.contains_key(family), "{family}: {:?}", bounds.keys());
    }
    for (family, counts) in &bounds {
        assert_eq!((counts[0].0, counts[counts.len() - 2].0), (1e-6, 10.0), "{family}");
        assert!(counts[counts.len() - 1].0.is_infinite(), "{family}");
        assert!(counts.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{family}");
    }
    assert!(bounds["nautilus_step_seconds_bucket "].iter().any(|(_, count)| *count > 0.0));
    for name in ["nautilus_ready", "nautilus_uptime_seconds", "nautilus_build_info", "nautilus_steps_total"] {
        assert!(seen.iter().any(|series| series.starts_with(name)), "{name}");
    }
}

fn request_ids_come_back(url: &str) {
    let with = |id: &str| ask_with("GET", url, "/health/live", &[("x-request-id", id)], "").request_id;
    assert_eq!(with("my-own-1"), "my-own-1");
    let own = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (one, two) =
        (ask("GET", url, "/nowhere", None).request_id, ask("GET", url, "/v1/engine", None).request_id);
    assert!(own(&one) && own(&two) && one != two);
    for wrong in ["with space", "semi;colon", &"x".repeat(65)] {
        assert!(own(&with(wrong)) && with(wrong) != wrong, "{wrong}");
    }
}

#[test]
fn replays_are_started_followed_and_cancelled() {
    let place = Place::new();
    let engines = place.start_after_replay(&sample());
    let url = &engines.marketdata;
    let figures = || {
        let book = get(url, "/v1/books/SIM01?depth=1000");
        let bars = get(url, "/v1/bars/SIM01?limit=4096");
        [&book["bids"], &book["asks"], &bars, &get(url, "/v1/stats/SIM01")].map(Clone::clone)
    };
    let first = figures();
    let toxicity = || get(&engines.vpin, "/v1/engine/digest");
    let first_toxicity = toxicity();
    let post = |speed: Value| {
        let body = json!({"path": sample(), "speed": speed}).to_string();
        let answer = ask("POST", url, "/v1/replays", Some(&body));
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.body["id"].as_u64().expect("an id")
    };
    let state = |id: u64| get(url, &format!("/v1/replays/{id}"));
    let slow = post(json!(20));
    eventually("the paced replay moves", || state(slow)["records"].as_u64().filter(|records| *records > 0));
    let running = state(slow);
    assert_eq!((&running["state"], &running["speed"]), (&json!("running"), &json!("20")));
    assert!(running["fraction"].as_f64().is_some_and(|fraction| fraction < 1.0), "{running}");
    assert_eq!(get(url, "/v1/feeds")[0]["id"], slow, "it is among the feeds");
    assert_eq!(ask("DELETE", url, &format!("/v1/replays/{slow}"), None).status, 202);
    eventually("it is cancelled", || (state(slow)["state"] == "cancelled").then_some(()));
    assert_eq!(list(&get(url, "/v1/feeds")).len(), 0);
    assert_eq!(ask("DELETE", url, &format!("/v1/replays/{slow}"), None).status, 202, "again changes nothing");
    assert_eq!(state(slow)["state"], "cancelled");

    let fast = post(json!("max"));
    let ended = eventually("the second replay ends", || {
        let ended = state(fast);
        (ended["state"] != "running").then_some(ended)
    });
    assert_eq!(
        (&ended["state"], &ended["fraction"], &ended["records"]),
        (&json!("finished"), &json!(1.0), &json!(46_648))
    );
    assert_eq!(figures(), first, "a session replayed again starts anew");
    eventually("vpin counts it once as well", || (toxicity() == first_toxicity).then_some(()));
    let ids: Vec<_> = list(&get(url, "/v1/replays")).iter().filter_map(|job| job["id"].as_u64()).collect();
    assert_eq!(ids, [1, slow, fast]);
    engines.stop();
}

#[test]
fn bars_are_chosen_at_run_time() {
    let engines = Place::new().start_after_replay(&sample());
    let url = &engines.marketdata;
    let minutes = get(url, "/v1/bars/SIM01?interval=1m")["bars"].clone();
    let answer = ask("PUT", url, "/v1/bars/SIM01", Some(r#"{"intervals":["1m","100tick"]}"#));
    assert_eq!((answer.status, &answer.body["intervals"]), (200, &json!(["1m", "100tick"])));
    assert_eq!(get(url, "/v1/bars/SIM01?interval=1m")["bars"], minutes, "what stays keeps its past");
    assert_eq!(get(url, "/v1/bars/SIM01?interval=100tick")["bars"], json!([]));
    assert_eq!(ask("GET", url, "/v1/bars/SIM01?interval=5m", None).body["code"], "unknown_interval");
    let wrong = ask("PUT", url, "/v1/bars/SIM01", Some(r#"{"intervals":["1 fortnight"]}"#));
    assert_eq!((wrong.status, &wrong.body["code"]), (422, &json!("invalid_body")), "{}", wrong.text);
    engines.stop();
}

#[test]
fn a_changed_configuration_survives_a_restart() {
    let place = Place::new();
    let engines = place.start_after_replay(&sample());
    let path = "/v1/vpin/SIM01/configuration";
    let before = get(&engines.vpin, path)["configuration"].clone();
    assert_eq!((&before["classification"], &before["window"]), (&json!("bulk_normal"), &json!(50)));
    let body = r#"{"classification":"aggressor","window":20,"bucket_volume":"12.5"}"#;
    let answer = ask("PUT", &engines.vpin, path, Some(body));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let changed = get(&engines.vpin, path);
    assert_eq!(changed, answer.body);
    let configuration = &changed["configuration"];
    assert_eq!((&configuration["window"], &configuration["bucket_volume"]), (&json!(20), &json!("12.5")));
    assert_eq!(configuration["sigma_bars"], before["sigma_bars"], "what is left out takes its default");
    let fresh = get(&engines.vpin, "/v1/vpin/SIM01");
    assert_eq!((&fresh["classification"], &fresh["buckets"]), (&json!("aggressor"), &json!(0)), "{fresh}");
    assert_eq!(get(&engines.vpin, "/v1/vpin/SIM02/configuration")["configuration"], before);
    engines.stop();

    let engines = place.start_after_replay(&sample());
    assert_eq!(get(&engines.vpin, path), changed);
    let vpin = get(&engines.vpin, "/v1/vpin/SIM01");
    assert_eq!(
        (&vpin["bucket_volume"], &vpin["bucket_volume_source"]),
        (&json!("12.5"), &json!("configured"))
    );
    let volume = number(&get(&engines.marketdata, "/v1/stats/SIM01")["volume"]);
    let buckets = vpin["buckets"].as_f64().expect("a count");
    assert!((buckets * 12.5 + number(&vpin["filled"]) - volume).abs() < 1e-9, "every lot is in a bucket");
    engines.stop();
}

#[test]
fn vpin_is_calculated_on_demand() {
    let engines = Place::new().start(&["up", "--no-simulator"]);
    let calculate = |question: &Value| {
        let answer = ask("POST", &engines.vpin, "/v1/vpin/calculate", Some(&question.to_string()));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body
    };
    // By hand: 6 bought and 4 of 8 sold fill the first bucket, the other 4 and 6 bought the second: (2 + 2) / 20.
    let trade = |ts: u64, quantity: Value, side: &str| json!({"ts_ns": ts, "price": 100, "quantity": quantity, "side": side});
    let trades =
        json!([trade(1, json!(6), "buy"), trade(2, json!("8"), "sell"), trade(3, json!(6.0), "buy")]);
    let answer = calculate(
        &json!({"trades": trades, "bucket_volume": "10", "window": 2, "classification": "aggressor"}),
    );
    assert_eq!((&answer["vpin"], &answer["bucket_volume"]), (&json!(0.2), &json!(10.0)));
    let buckets: Vec<_> = list(&answer["buckets"])
        .iter()
        .map(|bucket| (bucket["buy"].as_f64(), bucket["sell"].as_f64()))
        .collect();
    assert_eq!(buckets, [(Some(6.0), Some(4.0)); 2]);
    // By the tick rule: up is bought, unchanged as before, down is sold.
    let trades: Vec<_> = [100, 101, 101, 99]
        .iter()
        .zip(1u64..)
        .map(|(price, ts)| json!({"ts_ns": ts, "price": price, "quantity": 1}))
        .collect();
    let answer =
        calculate(&json!({"trades": trades, "bucket_volume": 1, "window": 1, "classification": "tick_rule"}));
    let bought: Vec<_> =
        list(&answer["buckets"]).iter().skip(1).map(|bucket| bucket["buy"].as_f64()).collect();
    assert_eq!(bought, [Some(1.0), Some(1.0), Some(0.0)]);
    golden_cases(calculate);
    engines.stop();
}

fn golden_cases(calculate: impl Fn(&Value) -> Value) {
    let Some(path) = shared_data("golden/vpin_golden.json") else { return };
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
    let column = |name: &str| list(&golden["trades"][name]).iter().map(|v| v.as_f64().expect("a number"));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let nanos = column("ts").map(|ts| (ts * 1e3).round() as u64 * 1_000_000);
    let trades: Vec<_> = nanos
        .zip(column("price").zip(column("volume")))
        .map(|(ts, (price, quantity))| json!({"ts_ns": ts, "price": price, "quantity": quantity}))
        .collect();
    for case in list(&golden["cases"]) {
        let answer = calculate(&json!({
            "trades": trades, "bar_seconds": case["timebar_s"], "buckets_per_day": case["buckets_per_day"],
            "window": case["window"], "classification": "bulk_normal",
        }));
        let size = case["vbs"].as_f64().expect("a bucket volume");
        let buckets = list(&answer["buckets"]);
        assert_eq!(case["n_buckets"], buckets.len());
        let close = |got: &Value, wanted: &Value, scale: f64| match (got.as_f64(), wanted.as_f64()) {
            (Some(got), Some(wanted)) => (got - wanted).abs() <= 1e-9 * scale,
            (got, wanted) => got == wanted,
        };
        assert!(close(&answer["bucket_volume"], &case["vbs"], size));
        assert!(close(&answer["sigma"], &case["sigma_dp"], 1.0));
        for (index, bucket) in buckets.iter().enumerate() {
            assert!(close(&bucket["buy"], &case["buy_volume"][index], size), "bucket {index}: {bucket}");
            assert!(close(&bucket["vpin"], &case["vpin"][index], 1.0), "bucket {index}: {bucket}");
        }
        assert_eq!(answer["vpin"], buckets[buckets.len() - 1]["vpin"]);
    }
}
