//! The risk service as a desk uses it: portfolios, limits with two persons, orders through the gate, executions, measures,
//! the kill switch, what the stream says of it, and that what was acknowledged is there after a kill.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, PATIENCE, Place, Process, ask_with, eventually, get, list, number, sample, try_ask_with,
};
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
    let Value::Object(given) = &given.body else { panic!("{}", given.text) };
    let told = ["instruments", "scenarios", "source", "by"].map(|field| given[field].clone());
    assert_eq!(told, [json!(["SIM01"]), json!(250), json!("given"), json!("alice")], "{given:?}");
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
    withdrawn(risk);
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

/// The past is given and the scenarios taken back: those of the market's closes come into force.
fn withdrawn(risk: &str) {
    let close = |day: u32| (4_800 + day * 37 % 101).to_string();
    let days: serde_json::Map<String, Value> =
        (1..=30).map(|day| (format!("2023-11-{day:02}"), json!([close(day)]))).collect();
    let closes = put(risk, "/v1/closes", &json!({"instruments": ["SIM01"], "days": days}));
    let kept = json!({"days": 30, "first": "2023-11-01", "last": "2023-11-30"});
    assert_eq!((&closes.body["source"], &closes.body["closes"]), (&json!("given"), &kept), "{}", closes.text);
    let market = ask_as("bob", "DELETE", risk, "/v1/scenarios", &Value::Null);
    assert_eq!((market.status, &market.body["source"]), (200, &json!("market")), "{}", market.text);
    assert_eq!((&market.body["scenarios"], &market.body["left_out"]), (&json!(29), &json!([])));
    let live = get(risk, "/v1/portfolios/main/risk?confidence=0.95");
    let mark = number(&get(risk, SERVICE_PORTFOLIO)["positions"][0]["mark"]);
    let price = |day: u32| f64::from(4_800 + day * 37 % 101);
    let mut pnl: Vec<f64> = (2..=30).map(|day| 3.0 * mark * (price(day) / price(day - 1) - 1.0)).collect();
    pnl.sort_by(f64::total_cmp);
    // Of 29 scenarios the second worst.
    assert!((live["var"].as_f64().expect("a number") + pnl[1]).abs() < 1e-6, "{live}");
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

/// Nobody gives scenarios: thirty days of two instruments go by, and the service makes them of their closes.
#[test]
fn scenarios_come_from_the_market_and_outlive_the_process() {
    let place = Place::new();
    let mut rows = "ts_ns,symbol,price,quantity,side\n".to_owned();
    for day in 0..30_u64 {
        let at = (19_700 + day) * 86_400_000_000_000 + 75_600_000_000_000;
        rows += &format!("{at},AAA,{},1,B\n{at},BBB,{},1,S\n", 100 + day * 37 % 11, 50 + day * 53 % 7);
    }
    std::fs::write(place.path("days.csv"), rows).expect("the recording is written");
    let engines = place.start(&["up", "--no-simulator"]);
    let replay = json!({"path": place.path("days.csv"), "speed": "max"});
    assert_eq!(post(&engines.marketdata, "/v1/replays", &replay).status, 202);
    let is_complete = |url: &str| {
        let scenarios = get(url, "/v1/scenarios");
        // The last day goes on, and the first close has no return.
        (scenarios["scenarios"] == 28).then_some(scenarios)
    };
    let made = eventually("scenarios are made of 29 closes", || is_complete(&engines.risk));
    assert_eq!((&made["source"], &made["instruments"]), (&json!("market"), &json!(["AAA", "BBB"])));
    assert_eq!(made["closes"], json!({"days": 29, "first": "2023-12-09", "last": "2024-01-06"}));
    engines.stop();
    let engines = place.start(&["up", "--no-simulator"]);
    assert_eq!(get(&engines.risk, "/v1/scenarios"), made);
    engines.stop();
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
        (
            "PUT",
            "/v1/closes",
            json!({"instruments": ["A"], "days": {"2023-02-29": ["1"]}}),
            400,
            "invalid_body",
        ),
        (
            "PUT",
            "/v1/closes",
            json!({"instruments": ["A"], "days": {"2023-02-28": ["1", "2"]}}),
            422,
            "invalid_closes",
        ),
        (
            "PUT",
            "/v1/closes",
            json!({"instruments": ["A"], "days": {"2500-01-01": ["1"]}}),
            422,
            "invalid_closes",
        ),
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

/// A client of the stream behind the gateway, which holds every message against where it is in the topic.
struct Listener {
    socket: tungstenite::WebSocket<TcpStream>,
    /// Epoch and number of the last message of each topic.
    positions: BTreeMap<String, (u64, u64)>,
}

impl Listener {
    fn new(gateway: &str, topics: &[&str]) -> Self {
        let address = gateway.trim_start_matches("http://");
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (mut socket, _) =
            tungstenite::client(format!("ws://{address}/ws"), stream).expect("the gateway tunnels /ws");
        let wish = json!({"type": "subscribe", "id": 1, "topics": topics}).to_string();
        socket.send(wish.into()).expect("it reads");
        let mut this = Self { socket, positions: BTreeMap::new() };
        let answer = this.read();
        let expected = json!({"message_type": "subscription", "id": 1, "topics": topics});
        assert_eq!(answer, expected, "the answer comes before the first snapshot");
        this
    }

    fn read(&mut self) -> Value {
        loop {
            let message = self.socket.read().expect("the connection stays open");
            if let tungstenite::Message::Text(text) = message {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    /// The next message of a topic: a snapshot first, then updates that join.
    fn next(&mut self, topic: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {topic}");
            let message = self.read();
            let Some(name) = message["topic"].as_str() else { continue };
            let field = |name: &str| message[name].as_u64().expect("a number");
            let (epoch, seq) = (field("epoch"), field("seq"));
            match self.positions.insert(name.to_owned(), (epoch, seq)) {
                None => assert_eq!(message["message_type"], "snapshot", "{message}"),
                Some(before) => {
                    assert_eq!((&message["message_type"], epoch), (&json!("update"), before.0), "{message}");
                    assert!(field("prev_seq") <= before.1 && before.1 < seq, "{before:?} {message}");
                }
            }
            if name == topic {
                return message;
            }
        }
    }
}

/// Over processes and Redis: what the risk engine says on the mesh reaches those who listen.
#[test]
fn measures_and_alerts_come_over_the_websocket() {
    const TOPICS: [&str; 2] = ["risk.main", "risk_alerts.firm"];
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new().on_redis(&star, &mesh);
    let engines = place.start(&["up", "--processes"]);
    let risk = &engines.risk;
    // Before there is either.
    let mut listener = Listener::new(&engines.gateway, &TOPICS);
    declare(risk, 50_000_000);
    wait_for_a_price(risk);
    let booked = post(risk, "/v1/executions", &execution(1, 3, "buy", "3", "4800.25"));
    assert_eq!(booked.status, 204, "{}", booked.text);
    let metric = loop {
        let metric = listener.next("risk.main")["data"].clone();
        if number(&metric["gross"]) > 0.0 {
            break metric;
        }
    };
    measures_hold(&metric);

    let halt = json!({"state": "halted", "reason": "a test"});
    assert_eq!(put(risk, "/v1/kill-switch?portfolio=main", &halt).status, 200);
    let mut first = listener.next("risk_alerts.firm")["data"]["alerts"][0].take();
    assert!(first["ts_event_ns"].take().as_u64().is_some_and(|at| at > 0));
    let expected = json!({
        "scope": "main", "kind": "kill_switch", "level": "hard", "limit": null, "used": null, "ts_event_ns": null,
    });
    assert_eq!(first, expected);
    // Tighter than what is held: in force at once, and the market's next move crosses it.
    assert_eq!(put(risk, "/v1/limits?portfolio=main", &limits(1_000)).status, 200);
    let gross = loop {
        let alerts = listener.next("risk_alerts.firm")["data"]["alerts"].take();
        if let Some(gross) = list(&alerts).iter().find(|alert| alert["kind"] == "gross") {
            break gross.clone();
        }
    };
    assert_eq!(
        (&gross["scope"], &gross["level"], &gross["limit"]),
        (&json!("main"), &json!("hard"), &json!("5000")),
        "{gross}"
    );
    assert!(number(&gross["used"]) > 5_000.0, "{gross}");

    // Whoever comes late hears what was said: a snapshot, and what has followed it.
    let mut late = Listener::new(&engines.gateway, &TOPICS);
    let mut said = Vec::new();
    while !said.contains(&gross) {
        said.extend_from_slice(list(&late.next("risk_alerts.firm")["data"]["alerts"]));
    }
    assert_eq!(said[0]["kind"], "kill_switch", "{said:?}");
    assert_eq!(said.iter().filter(|alert| **alert == gross).count(), 1, "{said:?}");
    let topics = get(&engines.websocket, "/v1/topics?limit=4096");
    for name in TOPICS {
        let topic =
            list(&topics["topics"]).iter().find(|topic| topic["topic"] == name).expect("it is listed");
        assert_eq!(topic["subscribers"], 2, "{topic}");
    }
    engines.stop();
}

/// Three contracts of the simulator's, 50 units each, were bought at 4,800.25 for a fee of 1.5.
fn measures_hold(metric: &Value) {
    let paid = 3.0 * 50.0 * 4800.25 + 1.5;
    let gross = number(&metric["gross"]);
    assert_eq!((&metric["net"], &metric["confidence"]), (&metric["gross"], &json!(0.99)), "{metric}");
    assert!((number(&metric["pnl"]) - (gross - paid)).abs() < 1e-6, "{metric} {paid}");
    // Of 250 scenarios the third worst; the shortfall is between it and the worst.
    let mut returns = returns();
    returns.sort_by(f64::total_cmp);
    let (var, es) = (metric["var"].as_f64().expect("a number"), metric["es"].as_f64().expect("a number"));
    assert!((var + returns[2] * gross).abs() < 1e-6 * gross, "{metric}");
    assert!(var <= es && es <= -returns[0] * gross, "{metric}");
}

/// An order of one contract would be let through: its price is known.
fn wait_for_a_price(risk: &str) {
    eventually("the market has a price", || {
        (post(risk, "/v1/orders/check", &order(1, "buy", "1")).body["accepted"] == true).then_some(())
    });
}

/// Kills, unless `NAUTILUS_KILLS` says how many.
const KILLS: u64 = 5;
/// Those who send orders at the same time.
const CLIENTS: usize = 3;

/// An order that was sent, and what its sender heard of it.
struct Sent {
    id: u64,
    /// None: nothing was heard.
    accepted: Option<bool>,
    /// Whether the execution was acknowledged; none where none was sent.
    booked: Option<bool>,
}

impl Sent {
    fn side(&self) -> &'static str {
        if self.id.is_multiple_of(2) { "buy" } else { "sell" }
    }

    fn order(&self) -> Value {
        order(self.id, self.side(), "1")
    }

    fn execution(&self) -> Value {
        execution(self.id, self.id, self.side(), "1", "4800")
    }

    fn is_open(&self) -> bool {
        self.accepted == Some(true) && self.booked.is_none()
    }
}

fn try_post(risk: &str, path: &str, body: &Value) -> Option<Answer> {
    let headers = [("content-type", "application/json"), ("x-operator", "alice")];
    try_ask_with("POST", risk, path, &headers, &body.to_string()).ok()
}

/// Sends orders, and executions of seven in eight of them, until nobody answers any more.
fn trade(risk: &str, next: &AtomicU64) -> Vec<Sent> {
    let mut all = Vec::new();
    loop {
        let mut sent = Sent { id: next.fetch_add(1, Relaxed), accepted: None, booked: None };
        let answer = try_post(risk, "/v1/orders", &sent.order());
        sent.accepted = answer.map(|answer| answer.body["accepted"] == true);
        if sent.accepted == Some(true) && !sent.id.is_multiple_of(8) {
            let answer = try_post(risk, "/v1/executions", &sent.execution());
            sent.booked = Some(answer.is_some_and(|answer| answer.status == 204));
        }
        let answered = sent.accepted.is_some() && sent.booked != Some(false);
        all.push(sent);
        if !answered {
            return all;
        }
    }
}

/// Everything that was sent, and what is known of it.
#[derive(Default)]
struct Ledger {
    sent: Vec<Sent>,
    /// From here on it was not looked at since the last kill.
    fresh: usize,
    /// Orders that were acknowledged, orders without an answer, and those of them that were on the disk.
    heard: usize,
    unanswered: usize,
    on_disk: usize,
}

impl Ledger {
    /// What was acknowledged is there once. What was not is sent again, and then is there once as well.
    fn check(&mut self, risk: &str) {
        for sent in &mut self.sent[self.fresh..] {
            if sent.accepted == Some(true) {
                self.heard += 1;
            } else if sent.accepted.is_none() {
                let known =
                    ask_as("alice", "GET", risk, &format!("/v1/orders/{}", uid(sent.id)), &Value::Null);
                self.unanswered += 1;
                self.on_disk += usize::from(known.status == 200);
                sent.accepted = Some(post(risk, "/v1/orders", &sent.order()).body["accepted"] == true);
            }
            if sent.booked == Some(false) {
                let again = post(risk, "/v1/executions", &sent.execution());
                assert_eq!(again.status, 204, "{}", again.text);
                sent.booked = Some(true);
            }
        }
        self.orders_are_there(risk, self.fresh);
        self.fresh = self.sent.len();
        self.sums_are_right(risk);
    }

    fn orders_are_there(&self, risk: &str, from: usize) {
        for sent in &self.sent[from..] {
            let order = get(risk, &format!("/v1/orders/{}", uid(sent.id)));
            let (left, filled) =
                if sent.is_open() { ("1", "0") } else { ("0", sent.booked.map_or("0", |_| "1")) };
            assert_eq!(
                (&order["accepted"], &order["left"], &order["filled"]),
                (&json!(sent.accepted), &json!(left), &json!(filled)),
                "{order}"
            );
        }
    }

    /// What came twice, or is missing, would stand in a sum.
    fn sums_are_right(&self, risk: &str) {
        let count =
            |wanted: &dyn Fn(&Sent) -> bool| self.sent.iter().filter(|sent| wanted(sent)).count() as i64;
        let booked = |side: &str| count(&|sent| sent.booked.is_some() && sent.side() == side);
        let open = |side: &str| count(&|sent| sent.is_open() && sent.side() == side);
        let view = get(risk, SERVICE_PORTFOLIO);
        let position = &view["positions"][0];
        let shown =
            |field: &str| position[field].as_str().map_or(0.0, |text| text.parse().expect("a number"));
        assert_eq!(shown("quantity"), (booked("buy") - booked("sell")) as f64, "{position}");
        assert_eq!(shown("fees"), 1.5 * (booked("buy") + booked("sell")) as f64, "{position}");
        assert_eq!(
            (shown("open_buy"), shown("open_sell")),
            (open("buy") as f64, open("sell") as f64),
            "{position}"
        );
        assert_eq!(get(risk, "/v1/limits?portfolio=main")["limits"]["order_size"]["hard"], "1000000000");
    }
}

/// Every answer "accepted" was on the disk: whatever moment the process is killed at, the order and its execution are
/// there afterwards, once. Checkpoints and new segments of the journal come between.
#[test]
fn what_was_accepted_survives_kills() {
    let kills = std::env::var("NAUTILUS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new()
        .on_redis(&star, &mesh)
        .with("NAUTILUS__LOG__FORMAT", "json")
        .with("NAUTILUS__CHECKPOINT__INTERVAL_S", "1")
        .with("NAUTILUS__JOURNAL__SEGMENT_MIB", "2");
    let _marketdata = place.launch(&["service", "marketdata", "--simulate"]);
    let launch = || place.launch(&["service", "risk"]);
    let ready = |process: &mut Process| {
        let url = process.url();
        wait_for_a_price(&url);
        url
    };
    declare(&launch().url(), 1_000_000_000);
    let (mut ledger, next, begun) = (Ledger::default(), AtomicU64::new(100), Instant::now());
    for kill in 1..=kills {
        let mut process = launch();
        let pause = Duration::from_micros(mix(kill) % 500_000);
        if kill.is_multiple_of(4) {
            // While it starts.
            std::thread::sleep(pause);
            continue;
        }
        let url = ready(&mut process);
        ledger.check(&url);
        std::thread::scope(|scope| {
            let clients = [(); CLIENTS].map(|()| scope.spawn(|| trade(&url, &next)));
            std::thread::sleep(pause);
            drop(process);
            ledger.sent.extend(clients.into_iter().flat_map(|client| client.join().expect("a client")));
        });
    }
    let mut process = launch();
    let url = ready(&mut process);
    ledger.check(&url);
    ledger.orders_are_there(&url, 0);
    let Ledger { sent, heard, unanswered, on_disk, .. } = ledger;
    println!(
        "{kills} kills in {:.0?}: {heard} of {} orders acknowledged; {unanswered} without an answer, {on_disk} of them on disk",
        begun.elapsed(),
        sent.len(),
    );
    assert!(heard as u64 > kills, "{heard} orders were acknowledged");
}

/// Spreads numbers evenly (the finaliser of splitmix64).
fn mix(number: u64) -> u64 {
    let z = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
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
