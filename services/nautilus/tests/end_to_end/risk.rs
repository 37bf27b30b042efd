//! The risk service as a desk uses it: portfolios, limits with two persons, orders through the gate, executions, measures,
//! the kill switch, and that what was acknowledged is there after a kill.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::processes::kill_until_ready;
use crate::support::{Answer, Place, ask_with, eventually, get, list, number, sample};
use nautilus_testkit::RedisServer;

const SERVICE_PORTFOLIO: &str = "/v1/portfolios/main";

fn ask_as(who: &str, method: &str, url: &str, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("x-operator", who)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask_with(method, url, path, &headers, &body)
}

fn put(url: &str, path: &str, body: &Value) -> Answer {
    ask_as("alice", "PUT", url, path, body)
}

fn post(url: &str, path: &str, body: &Value) -> Answer {
    ask_as("alice", "POST", url, path, body)
}

/// Ids of a test, all different.
fn uid(number: u64) -> String {
    format!("00000000-0000-0000-0000-{number:012x}")
}

fn order(id: u64, side: &str, quantity: &str) -> Value {
    json!({
        "order_id": uid(id), "desk": {"portfolio": "main", "book": "index", "strategy": "carry"},
        "instrument": "SIM01", "action": {"new": {"side": side, "quantity": quantity}},
    })
}

fn execution(id: u64, order: u64, side: &str, quantity: &str, price: &str) -> Value {
    json!({
        "desk": {"portfolio": "main", "book": "index", "strategy": "carry"}, "instrument": "SIM01",
        "order_id": uid(order), "venue": "XSIM", "trade_id": uid(id), "side": side, "quantity": quantity,
        "price": price, "fee": "1.5", "ts_event": 1_u64,
    })
}

/// `order` is the largest worth of one order.
fn limits(order: u64) -> Value {
    let money = |orders: u64| json!({"hard": (orders * order).to_string()});
    json!({
        "gross": money(5), "net": money(5), "position": money(5), "concentration_bps": {"hard": 10_000_000},
        "var": money(1), "drawdown": money(1), "daily_loss": money(1), "order_size": money(1),
        "price_collar_bps": {"hard": 200},
        "orders_per_second": 1_000, "duplicate_window_ms": 0, "restricted": [],
    })
}

/// Returns with tails that are heavier than the normal distribution's.
fn returns() -> Vec<f64> {
    (0..250).map(|n| (f64::from(n * 37 % 101 - 50) / 50.0).powi(3) * 0.03).collect()
}

/// A portfolio with limits that alice asked for and bob approved, and scenarios.
fn declare(risk: &str, order: u64) {
    let portfolio =
        json!({"currency": "USD", "capital": "1000000", "books": {"index": ["carry", "momentum"]}});
    let made = put(risk, SERVICE_PORTFOLIO, &portfolio);
    assert_eq!(made.status, 200, "{}", made.text);
    let asked = put(risk, "/v1/limits?portfolio=main", &limits(order));
    assert_eq!(asked.status, 202, "{}", asked.text);
    let id = asked.body["proposals"][0]["id"].as_u64().expect("a proposal");
    let same = post(risk, &format!("/v1/proposals/{id}"), &Value::Null);
    assert_eq!((same.status, &same.body["code"]), (422, &json!("same_person")), "{}", same.text);
    let approved = ask_as("bob", "POST", risk, &format!("/v1/proposals/{id}"), &Value::Null);
    assert_eq!((approved.status, list(&approved.body["proposals"]).len()), (200, 0), "{}", approved.text);
    let returns = returns();
    let given = put(risk, "/v1/scenarios", &json!({"instruments": ["SIM01"], "returns": [returns]}));
    assert_eq!(given.body, json!({"instruments": ["SIM01"], "scenarios": 250}), "{}", given.text);
}

#[test]
fn a_desk_is_declared_limited_traded_measured_and_stopped() {
    let place = Place::new();
    let engines = place.start_after_replay(&sample());
    let risk = &engines.risk;
    let published = get(&engines.marketdata, "/v1/engine")["star_published"].clone();
    eventually("risk has read all of it", || {
        (get(risk, "/v1/engine")["star_read"] == published).then_some(())
    });
    let early = post(risk, "/v1/orders", &order(1, "buy", "1"));
    assert_eq!(
        early.body,
        json!({"order_id": uid(1), "accepted": false, "reasons": ["unknown_desk"], "warnings": []})
    );
    let portfolio =
        json!({"currency": "USD", "capital": "1000000", "books": {"index": ["carry", "momentum"]}});
    assert_eq!(put(risk, SERVICE_PORTFOLIO, &portfolio).status, 200);
    let check = post(risk, "/v1/orders/check", &order(2, "buy", "1"));
    assert_eq!(check.body["reasons"], json!(["limit_not_set"]));
    assert_eq!(list(&check.body["limits_not_set"]).len(), 12, "{}", check.text);
    declare(risk, 100_000);
    traded(risk);
    measured(risk);
    stopped(risk);
    // The same through the door.
    let door = get(&engines.gateway, "/api/risk/v1/portfolios");
    assert_eq!(door["portfolios"][1]["scope"], "main");
    engines.stop();
}

/// Four contracts of 4,806 dollars are some 19,200.
fn traded(risk: &str) {
    let accepted = post(risk, "/v1/orders", &order(3, "buy", "4"));
    assert_eq!(
        accepted.body,
        json!({"order_id": uid(3), "accepted": true, "reasons": [], "warnings": []}),
        "{}",
        accepted.text
    );
    let again = post(risk, "/v1/orders", &order(3, "buy", "4"));
    assert_eq!(again.body, accepted.body, "the same order gets the same answer");
    let reused = post(risk, "/v1/orders", &order(3, "buy", "5"));
    assert_eq!(reused.body["reasons"], json!(["order_id_reused"]));
    let large = post(risk, "/v1/orders", &order(4, "buy", "30"));
    assert_eq!(large.body["reasons"], json!(["order_size"]), "{}", large.text);
    let explained = post(risk, "/v1/orders/check", &order(5, "buy", "30"));
    let breach = &explained.body["breaches"][0];
    assert_eq!(
        (&breach["scope"], &breach["reason"], &breach["hard"]),
        (&json!("main"), &json!("order_size"), &json!(true))
    );
    assert!(breach["explanation"].as_str().is_some_and(|text| text.contains("limit is 100000")), "{breach}");
    for _ in 0..2 {
        // The second time it is known.
        let booked = post(risk, "/v1/executions", &execution(1, 3, "buy", "3", "4800.25"));
        assert_eq!(booked.status, 204, "{}", booked.text);
    }
    let view = get(risk, SERVICE_PORTFOLIO);
    let position = &view["positions"][0];
    assert_eq!((&position["quantity"], &position["open_buy"]), (&json!("3"), &json!("1")));
    assert_eq!((&position["average_price"], &position["fees"]), (&json!("4800.25"), &json!("1.5")));
    let unrealised = 3.0 * (number(&position["mark"]) - 4800.25);
    assert!((number(&position["unrealised"]) - unrealised).abs() < 1e-9, "{position}");
    assert!((number(&view["parts"][0]["profit"]) - (unrealised - 1.5)).abs() < 1e-9, "{view}");
    let cancelled = ask_as("alice", "DELETE", risk, &format!("/v1/orders/{}", uid(3)), &Value::Null);
    assert_eq!(
        (cancelled.status, &cancelled.body["cancelling"], &cancelled.body["left"]),
        (200, &json!(true), &json!("1"))
    );
    let mut over = execution(2, 3, "buy", "0", "0");
    over["done"] = json!(true);
    assert_eq!(post(risk, "/v1/executions", &over).status, 204);
    let order = get(risk, &format!("/v1/orders/{}", uid(3)));
    assert_eq!((&order["left"], &order["filled"]), (&json!("0"), &json!("3")));
    assert_eq!(list(&get(risk, "/v1/orders?open=true")["orders"]).len(), 0);
    // An execution of a desk that is declared later waits for it.
    let mut early = execution(3, 9, "sell", "1", "4800");
    early["desk"] = json!({"portfolio": "late", "book": "b", "strategy": "s"});
    assert_eq!(post(risk, "/v1/executions", &early).status, 204);
    assert_eq!(list(&get(risk, "/v1/executions/unbooked")["executions"]).len(), 1);
    let late = json!({"currency": "USD", "capital": "1", "books": {"b": ["s"]}});
    assert_eq!(put(risk, "/v1/portfolios/late", &late).status, 200);
    assert_eq!(get(risk, "/v1/portfolios/late")["positions"][0]["quantity"], "-1");
    assert_eq!(list(&get(risk, "/v1/executions/unbooked")["executions"]).len(), 0);
}

fn measured(risk: &str) {
    let live = get(risk, "/v1/portfolios/main/risk?confidence=0.95");
    let mark = number(&get(risk, SERVICE_PORTFOLIO)["positions"][0]["mark"]);
    let held = 3.0 * mark;
    assert!((live["positions"][0].as_f64().expect("a number") - held).abs() < 1e-6, "{live}");
    // Of 250 scenarios the 13th worst.
    let mut returns = returns();
    returns.sort_by(f64::total_cmp);
    let expected = -returns[12] * held;
    assert!((live["var"].as_f64().expect("a number") - expected).abs() < 1e-6, "{live} {expected}");
    for method in ["filtered_historical", "age_weighted", "parametric", "cornish_fisher", "monte_carlo"] {
        let paths = if method == "monte_carlo" { "&paths=10000" } else { "" };
        let answer = get(risk, &format!("/v1/portfolios/main/risk?method={method}{paths}"));
        let (var, es) = (answer["var"].as_f64().expect("a number"), answer["es"].as_f64().expect("a number"));
        assert!(0.0 < var && var <= es && es < held, "{method}: {answer}");
    }
    let trades =
        json!({"trades": [{"instrument": "SIM01", "side": "sell", "quantity": "3"}], "confidence": 0.95});
    let closed = post(risk, "/v1/portfolios/main/what-if", &trades);
    let (before, after) = (&closed.body["before"]["var"], &closed.body["after"]["var"]);
    assert!((before.as_f64().expect("a number") - expected).abs() < 1e-6, "{}", closed.text);
    assert!(after.as_f64().expect("a number").abs() < 1e-6, "{}", closed.text);
    let used = get(risk, "/v1/limits?portfolio=main");
    let gross = list(&used["utilisation"]).iter().find(|row| row["limit"] == "gross").expect("it is set");
    assert!((number(&gross["used"]) - held).abs() < 1e-6, "{gross}");
}

fn stopped(risk: &str) {
    let halt = json!({"state": "halted", "reason": "a test"});
    let halted = put(risk, "/v1/kill-switch", &halt);
    assert_eq!((halted.status, &halted.body["state"]), (200, &json!("halted")), "{}", halted.text);
    assert_eq!(post(risk, "/v1/orders", &order(6, "buy", "1")).body["reasons"], json!(["halted"]));
    let cancel = json!({
        "order_id": uid(77), "desk": {"portfolio": "main", "book": "index", "strategy": "carry"},
        "instrument": "SIM01", "action": "cancel",
    });
    assert_eq!(post(risk, "/v1/orders", &cancel).body["accepted"], true, "cancels are always let through");
    let resume = put(risk, "/v1/kill-switch", &json!({"state": "active"}));
    assert_eq!((resume.status, &resume.body["state"]), (202, &json!("halted")), "{}", resume.text);
    let id = resume.body["proposals"][0]["id"].as_u64().expect("a proposal");
    assert_eq!(ask_as("bob", "POST", risk, &format!("/v1/proposals/{id}"), &Value::Null).status, 200);
    assert_eq!(post(risk, "/v1/orders", &order(7, "buy", "1")).body["accepted"], true);
    // Nobody is heard of for a fifth of a second.
    assert_eq!(put(risk, "/v1/dead-man", &json!({"timeout_ms": 200})).status, 200);
    eventually("the dead-man timer stops trading", || {
        (get(risk, "/v1/kill-switch")["state"] == "halted").then_some(())
    });
}

#[test]
fn bad_input_is_answered_with_what_to_do_and_changes_nothing() {
    let place = Place::new();
    let engines = place.start(&["up", "--no-simulator"]);
    let risk = &engines.risk;
    let digest = || get(risk, "/v1/engine/digest")["digest"].clone();
    let returns = |rows: Value| json!({"returns": rows, "positions": [1.0, 2.0]});
    let cases = [
        (
            "PUT",
            "/v1/portfolios/a%20b",
            json!({"currency": "USD", "capital": "1", "books": {"b": ["s"]}}),
            400,
            "invalid_name",
        ),
        (
            "PUT",
            "/v1/portfolios/p",
            json!({"currency": "XXX", "capital": "1", "books": {"b": ["s"]}}),
            422,
            "unknown_currency",
        ),
        (
            "PUT",
            "/v1/portfolios/p",
            json!({"currency": "USD", "capital": "0", "books": {"b": ["s"]}}),
            422,
            "invalid_capital",
        ),
        (
            "PUT",
            "/v1/portfolios/p",
            json!({"currency": "USD", "capital": "1", "books": {}}),
            422,
            "no_strategy",
        ),
        ("PUT", "/v1/fx", json!({"EUR": "-1"}), 422, "invalid_rate"),
        ("PUT", "/v1/fx", json!({"EUROS": "1"}), 422, "invalid_body"),
        ("PUT", "/v1/limits?portfolio=nobody", limits(1), 404, "unknown_desk"),
        ("PUT", "/v1/limits", json!({"gross": {"hard": "-1"}}), 422, "invalid_limits"),
        ("PUT", "/v1/limits", json!({"gros": {"hard": "1"}}), 422, "invalid_body"),
        ("POST", "/v1/proposals/99", Value::Null, 404, "unknown_proposal"),
        (
            "PUT",
            "/v1/scenarios",
            json!({"instruments": ["A"], "returns": [[0.1, 0.2], [0.1, 0.2]]}),
            422,
            "invalid_scenarios",
        ),
        ("PUT", "/v1/scenarios", json!({"instruments": ["A"], "returns": [[0.1, "x"]]}), 400, "invalid_body"),
        ("GET", "/v1/orders/nonsense", Value::Null, 400, "invalid_order_id"),
        ("GET", "/v1/portfolios/nobody/risk", Value::Null, 404, "unknown_desk"),
        ("POST", "/v1/var", returns(json!([])), 400, ""),
        ("POST", "/v1/var", returns(json!([[0.1, 0.2]])), 422, ""),
        ("POST", "/v1/var", returns(json!([[0.1, 0.2], [0.1]])), 400, ""),
        ("POST", "/v1/var", returns(json!([[0.1], [0.2]])), 422, ""),
        ("POST", "/v1/var", json!({"scenario_pnl": [1.0, -1.0], "confidence": 1.0}), 422, ""),
        ("POST", "/v1/var", json!({"scenario_pnl": [1.0, -1.0], "horizon_days": -1.0}), 422, ""),
        ("POST", "/v1/stress", json!({"positions": []}), 422, ""),
        ("POST", "/v1/reverse-stress", json!({"positions": [], "instruments": [], "loss": -1.0}), 422, ""),
    ];
    let before = digest();
    for (method, path, body, status, code) in cases {
        let answer = ask_as("alice", method, risk, path, &body);
        assert_eq!(
            (answer.status, answer.media.as_str()),
            (status, "application/problem+json"),
            "{path} {body}: {}",
            answer.text
        );
        assert!(code.is_empty() || answer.body["code"] == code, "{path} {body}: {}", answer.text);
        assert!(answer.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{}", answer.text);
        println!("{method} {path}: {} {}", answer.body["code"], answer.body["detail"]);
    }
    assert_eq!(digest(), before);
    engines.stop();
}

/// Every answer "accepted" was on the disk: whatever moment the process is killed at, the order is there afterwards, once.
#[test]
fn what_was_accepted_survives_kills() {
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new().on_redis(&star, &mesh);
    let engines = place.start(&["up", "--processes"]);
    let risk = engines.risk.clone();
    // A contract of the simulator's is worth some 240,000 dollars.
    declare(&risk, 50_000_000);
    eventually("the market has a price", || {
        (post(&risk, "/v1/orders/check", &order(1, "buy", "1")).body["accepted"] == true).then_some(())
    });
    let mut accepted = Vec::new();
    let mut id = 100;
    for _ in 0..5 {
        for _ in 0..20 {
            id += 1;
            let answer = post(&risk, "/v1/orders", &order(id, if id % 2 == 0 { "buy" } else { "sell" }, "1"));
            if answer.body["accepted"] == true {
                accepted.push(id);
            }
        }
        kill_until_ready(&engines, "risk", || ());
        eventually("risk knows the price again", || {
            (post(&risk, "/v1/orders/check", &order(1, "buy", "1")).body["accepted"] == true).then_some(())
        });
        let orders = get(&risk, "/v1/orders?open=true&limit=4096");
        let ids: Vec<&str> =
            list(&orders["orders"]).iter().filter_map(|order| order["order_id"].as_str()).collect();
        for id in &accepted {
            assert_eq!(ids.iter().filter(|found| **found == uid(*id)).count(), 1, "order {id} after a kill");
        }
        assert_eq!(ids.len(), accepted.len());
        assert_eq!(get(&risk, "/v1/limits?portfolio=main")["limits"]["order_size"]["hard"], "50000000");
    }
    assert!(accepted.len() >= 50, "{} orders were accepted", accepted.len());
    engines.stop();
}

/// With both buses gone the switch still turns, and at once.
#[test]
fn the_kill_switch_needs_no_bus() {
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new().on_redis(&star, &mesh);
    let engines = place.start(&["up", "--processes", "--no-simulator"]);
    drop((star, mesh));
    let begun = Instant::now();
    let halted = put(&engines.risk, "/v1/kill-switch", &json!({"state": "halted", "reason": "no bus"}));
    println!("halted after {:?}", begun.elapsed());
    assert_eq!((halted.status, &halted.body["state"]), (200, &json!("halted")), "{}", halted.text);
    assert!(begun.elapsed() < Duration::from_secs(2), "an operator does not wait: {:?}", begun.elapsed());
    let answer = post(&engines.risk, "/v1/orders", &order(1, "buy", "1"));
    assert_eq!(answer.body["accepted"], false, "{}", answer.text);
    engines.interrupt();
    engines.wait();
}
