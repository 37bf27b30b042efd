//! Features as their user meets them: definitions, values, matrices, history, sets, calculation, and what is refused.
//!
//! Whether a value is right is tested beside the engine; here every form shows the same one.

use std::io::{Cursor, Write as _};
use std::net::TcpStream;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::StreamReader;
use nautilus_testkit::RedisServer;
use serde_json::{Value, json};

use crate::support::{Answer, Engines, Place, ask, ask_with, eventually, get, list, sample, send_raw};

const ARROW: &str = "application/vnd.apache.arrow.stream";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Every id, page by page.
fn ids(url: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut path = "/v1/features?limit=100".to_owned();
    loop {
        let page = get(url, &path);
        ids.extend(list(&page["features"]).iter().map(|f| f["id"].as_str().expect("an id").to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/features?limit=100&after={next}"),
            None => return ids,
        }
    }
}

fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object"))
}

/// serde_json reads numbers to within one unit in the last place.
fn same(one: Option<f64>, two: Option<f64>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => (one - two).abs() <= 4.0 * f64::EPSILON * two.abs(),
        _ => one.is_none() && two.is_none(),
    }
}

#[test]
fn every_form_shows_the_same_values() {
    let engines = Place::new().start_after_replay(&sample());
    let url = &engines.features;
    let ids = ids(url);
    definitions_are_listed(url, &ids);
    vectors_hold_every_feature(url, &ids);
    let matrix = get(url, "/v1/matrix");
    arrow_is_the_same_as_json(url, &matrix);
    matrices_come_in_pages(url, &matrix);
    history_is_what_was_known(url);
    calculation_answers(url);
    let (graph, instruments) = (get(url, "/v1/graph"), get(url, "/v1/instruments"));
    assert_eq!(graph["features"], ids.len());
    assert_eq!((&graph["instruments"], &graph["lost_on_star"]), (&json!(2), &json!(0)));
    assert!(graph["nodes"].as_u64() <= graph["nodes_unshared"].as_u64(), "{graph}");
    for (row, symbol) in list(&instruments["instruments"]).iter().zip(["SIM01", "SIM02"]) {
        let values = &get(url, &format!("/v1/vectors/{symbol}"))["values"];
        assert_eq!((&row["instrument"], &row["lost"]), (&json!(symbol), &json!(0)));
        assert_eq!(row["defined"], object(values).len());
    }
    eventually("the figures are exported", || {
        let metrics = ask("GET", url, "/metrics", None).text;
        let line = format!("nautilus_features_values{{service=\"features\"}} {}", 2 * ids.len());
        (metrics.contains(&line) && metrics.contains("nautilus_features_freshness_seconds")).then_some(())
    });
    engines.stop();
}

fn definitions_are_listed(url: &str, ids: &[String]) {
    let all = get(url, "/v1/features?limit=4096");
    assert_eq!((list(&all["features"]).len(), &all["total"]), (ids.len(), &json!(ids.len())));
    let mut counted = 0;
    for (family, count) in object(&all["by_family"]) {
        let page = get(url, &format!("/v1/features?family={family}&limit=4096"));
        assert_eq!(&page["total"], count, "{family}");
        assert!(list(&page["features"]).iter().all(|feature| feature["family"] == **family));
        counted += count.as_u64().expect("a count");
    }
    assert_eq!(counted, ids.len() as u64);
    for feature in list(&all["features"]).iter().step_by(7) {
        let id = feature["id"].as_str().expect("an id");
        assert_eq!(&get(url, &format!("/v1/features/{id}")), feature);
        for field in ["words", "formula", "unit", "clock"] {
            assert!(feature[field].as_str().is_some_and(|text| !text.is_empty()), "{id}: {field}");
        }
    }
    let functions = get(url, "/v1/functions");
    assert!(list(&functions["functions"]).iter().any(|function| function["signature"] == "change(x, n)"));
    let close = list(&functions["inputs"]).iter().find(|input| input["name"] == "close").expect("close");
    assert_eq!((&close["clock"], &close["unit"]), (&json!("bar"), &json!("price")));
}

fn vectors_hold_every_feature(url: &str, ids: &[String]) {
    let vector = get(url, "/v1/vectors/SIM01");
    let (values, absent) = (object(&vector["values"]), object(&vector["absent"]));
    assert_eq!(values.len() + absent.len(), ids.len());
    assert!(ids.iter().all(|id| values.contains_key(id) != absent.contains_key(id)));
    assert!(values.values().all(Value::is_number) && values.contains_key("return_1"));
    assert_eq!(absent["return_250"], json!({"reason": "warming_up", "have": 24, "need": 251}));
    assert_eq!(vector["definitions"], get(url, "/v1/features?limit=1")["digest"]);
    assert!(vector["bar"]["ts_close_ns"].as_u64() < vector["event"]["ts_event_ns"].as_u64(), "{vector}");
    let some = get(url, "/v1/vectors/SIM01?features=return_250,return_1&absent=false");
    assert_eq!(some["values"], json!({"return_1": values["return_1"]}));
    assert_eq!(some["absent"], Value::Null);
}

fn arrow(url: &str, path: &str) -> (RecordBatch, std::collections::HashMap<String, String>) {
    let mut answer = ureq::get(format!("{url}{path}")).header("accept", ARROW).call().expect(path);
    assert_eq!(answer.headers()["content-type"], ARROW);
    let bytes = answer.body_mut().read_to_vec().expect("a body");
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None).expect("an Arrow stream");
    let metadata = reader.schema().metadata().clone();
    let batch = reader.next().expect("one batch").expect("it reads");
    assert!(reader.next().is_none(), "one batch");
    (batch, metadata)
}

fn arrow_is_the_same_as_json(url: &str, matrix: &Value) {
    let (batch, metadata) = arrow(url, "/v1/matrix");
    assert_eq!(metadata["definitions"], matrix["definitions"].as_str().expect("a digest"));
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(&names[..4], ["instrument", "bar_ts_close_ns", "bar_sequence", "event_sequence"]);
    let columns = list(&matrix["features"]);
    assert_eq!(json!(names[4..]), json!(columns));
    assert_eq!(batch.num_rows(), list(&matrix["instruments"]).len());
    let column = |index: usize| batch.column(index);
    let mut defined = 0;
    for (row, values) in list(&matrix["values"]).iter().enumerate() {
        let as_of = &matrix["as_of"][row];
        assert_eq!(column(0).as_string::<i32>().value(row), matrix["instruments"][row]);
        let close = column(1).as_primitive::<TimestampNanosecondType>().value(row);
        assert_eq!(close, as_of["bar"]["ts_close_ns"].as_i64().expect("an instant"));
        assert_eq!(column(2).as_primitive::<UInt64Type>().value(row), as_of["bar"]["sequence"]);
        assert_eq!(column(3).as_primitive::<UInt64Type>().value(row), as_of["event"]["sequence"]);
        for (index, value) in list(values).iter().enumerate() {
            let column = column(4 + index).as_primitive::<Float64Type>();
            let there = column.is_valid(row).then(|| column.value(row));
            assert!(same(there, value.as_f64()), "{}: {there:?} and {value}", columns[index]);
            defined += usize::from(there.is_some());
        }
    }
    assert!(defined > 0);
}

fn matrices_come_in_pages(url: &str, matrix: &Value) {
    let first = get(url, "/v1/matrix?features=return_5,return_1&limit=1");
    assert_eq!((&first["features"], &first["next"]), (&json!(["return_5", "return_1"]), &json!("SIM01")));
    let second = get(url, "/v1/matrix?features=return_5,return_1&limit=1&after=SIM01");
    assert_eq!((&second["instruments"], &second["next"]), (&json!(["SIM02"]), &Value::Null));
    let place = |id: &str| list(&matrix["features"]).iter().position(|name| name == id).expect("it is there");
    for (row, page) in [&first, &second].into_iter().enumerate() {
        let whole = &matrix["values"][row];
        assert_eq!(page["values"][0], json!([whole[place("return_5")], whole[place("return_1")]]));
    }
    let both = get(url, "/v1/matrix?features=return_1&instruments=SIM02,SIM01");
    assert_eq!(both["instruments"], json!(["SIM01", "SIM02"]));
    let (batch, metadata) = arrow(url, "/v1/matrix?features=return_1&limit=1");
    assert_eq!((batch.num_rows(), batch.num_columns(), metadata["next"].as_str()), (1, 5, "SIM01"));
    for (accept, status) in [("text/csv", 406), ("application/json", 200), ("*/*", 200)] {
        let answer = ask_with("GET", url, "/v1/matrix?limit=1", &[("accept", accept)], "");
        assert_eq!(answer.status, status, "{accept}: {}", answer.text);
    }
}

fn history_is_what_was_known(url: &str) {
    let path = "/v1/history/SIM01?features=return_1,return_20";
    let all = get(url, &format!("{path}&limit=4096"));
    let rows = list(&all["rows"]);
    assert!(rows.len() > 20 && all["next"].is_null(), "{all}");
    let close = |row: &Value| row["ts_close_ns"].as_u64().expect("an instant");
    assert!(rows.windows(2).all(|pair| close(&pair[0]) < close(&pair[1])));
    // Nothing is filled in later: the first bars had no return over twenty.
    assert_eq!(rows[0]["values"], json!([null, null]));
    assert!(rows[19]["values"][1].is_null() && rows[20]["values"][1].is_number(), "{}", rows[20]);
    let last = get(url, "/v1/vectors/SIM01?features=return_1,return_20");
    let newest = &rows[rows.len() - 1];
    assert_eq!(newest["values"], json!([last["values"]["return_1"], last["values"]["return_20"]]));
    assert_eq!(close(newest), last["bar"]["ts_close_ns"].as_u64().expect("an instant"));
    let (mut paged, mut from) = (Vec::new(), 0);
    loop {
        let page = get(url, &format!("{path}&limit=7&from_ns={from}"));
        paged.extend(list(&page["rows"]).to_vec());
        match page["next"].as_u64() {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(paged, rows);
    let (from, to) = (close(&rows[3]), close(&rows[5]));
    let some = get(url, &format!("{path}&from_ns={from}&to_ns={to}"));
    assert_eq!(list(&some["rows"]), &rows[3..=5], "both ends are included");
    assert!(some["kept"]["from_ns"].as_u64() <= Some(close(&rows[0])));
}

fn calculation_answers(url: &str) {
    let body = json!({
        "series": {"A": {"close": [100.0, 110.0, 99.0]}, "B": {"close": [1.0]}},
        "features": ["return_1", "return_5"], "output": "series",
    });
    let answer = ask("POST", url, "/v1/calculate", Some(&body.to_string()));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let returns = list(&answer.body["features"]["A"]["return_1"]);
    assert!(same(returns[1].as_f64(), Some(110.0 / 100.0 - 1.0)) && same(returns[2].as_f64(), Some(-0.1)));
    assert_eq!(returns[0], Value::Null);
    assert_eq!(answer.body["absent"]["B"]["return_5"]["reason"], "warming_up");
    let last = json!({"series": {"A": {"close": [100.0, 110.0]}}, "features": ["return_1"]}).to_string();
    let answer = ask("POST", url, "/v1/calculate", Some(&last));
    assert!(same(answer.body["features"]["A"]["return_1"].as_f64(), Some(110.0 / 100.0 - 1.0)));
}

/// What a stream of the mesh holds, as Redis writes it.
fn stream(redis: &RedisServer, kind: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(redis.url().replace("redis://", "")).expect("Redis listens");
    write!(stream, "XRANGE nautilus:mesh:{kind} - +\r\nQUIT\r\n").expect("it reads");
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).expect("it answers");
    answer
}

#[test]
fn sets_outlive_the_process_and_their_vectors_are_sent() {
    let (star, mesh) = (RedisServer::start(), RedisServer::start());
    let place = Place::new().on_redis(&star, &mesh);
    let engines = place.start(&["up", "--no-simulator"]);
    let set = json!({"features": ["return_5", "return_1"], "instruments": ["SIM02"], "publish": "bar"});
    for name in ["mine", "gone"] {
        let made = ask("PUT", &engines.features, &format!("/v1/sets/{name}"), Some(&set.to_string()));
        assert_eq!((made.status, &made.body["features"]), (200, &set["features"]), "{}", made.text);
    }
    let removed = ask("DELETE", &engines.features, "/v1/sets/gone", None);
    assert_eq!((removed.status, removed.text.as_str()), (204, ""));
    let made = get(&engines.features, "/v1/sets");
    engines.stop();

    let engines = place.start_after_replay(&sample());
    assert_eq!(get(&engines.features, "/v1/sets"), made, "made sets are there again, removed ones are not");
    let of_set = get(&engines.features, "/v1/vectors/SIM02?set=mine")["values"].clone();
    let named = get(&engines.features, "/v1/vectors/SIM02?features=return_5,return_1")["values"].clone();
    assert_eq!(of_set, named);
    let sent = eventually("a vector is on the mesh", || {
        let sent = stream(&mesh, "feature_vector");
        contains(&sent, b"SIM02").then_some(sent)
    });
    assert!(contains(&sent, b"mine") && !contains(&sent, b"SIM01"), "only of the set and its instruments");
    engines.stop();
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn assert_problem(case: &str, answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{case}: {}", answer.text);
    assert_eq!(answer.media, "application/problem+json", "{case}");
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty() && detail.len() < 1_000 && !detail.contains('\n'), "{case}: {detail}");
}

#[test]
fn wrong_requests_are_refused_and_change_nothing() {
    let engines = Place::new().start_after_replay(&sample());
    let url = &engines.features;
    let before = (engines.digests(), get(url, "/v1/matrix"), get(url, "/v1/sets"));
    wrong_questions(url);
    wrong_sets(url);
    wrong_calculations(url);
    let after = (engines.digests(), get(url, "/v1/matrix"), get(url, "/v1/sets"));
    assert_eq!(after, before);
    assert_eq!(Engines::readiness(url), (true, "[]".to_owned()));
    engines.stop();
}

fn wrong_questions(url: &str) {
    for (path, status, code) in [
        ("/v1/features/nothing", 404, "unknown_feature"),
        ("/v1/features?after=nothing", 400, "invalid_query"),
        ("/v1/features?family=magic", 400, "invalid_query"),
        ("/v1/features?clock=bar%20and%20event", 400, "invalid_query"),
        ("/v1/features?limit=0", 400, "invalid_query"),
        ("/v1/instruments?limit=4097", 400, "invalid_query"),
        ("/v1/vectors/NONE", 404, "unknown_instrument"),
        ("/v1/vectors/%00", 404, "unknown_instrument"),
        ("/v1/vectors/SIM01?set=none", 404, "unknown_set"),
        ("/v1/vectors/SIM01?features=none", 404, "unknown_feature"),
        ("/v1/vectors/SIM01?features=", 404, "unknown_feature"),
        ("/v1/vectors/SIM01?features=return_1,return_1", 400, "invalid_query"),
        ("/v1/vectors/SIM01?set=a&features=return_1", 400, "invalid_query"),
        ("/v1/vectors/SIM01?absent=maybe", 400, "invalid_query"),
        ("/v1/vectors/SIM01?feature=return_1", 400, "invalid_query"),
        ("/v1/matrix?instruments=SIM01,NONE", 404, "unknown_instrument"),
        ("/v1/matrix?limit=x", 400, "invalid_query"),
        ("/v1/history/SIM01?features=return_1&from_ns=2&to_ns=1", 400, "invalid_query"),
        ("/v1/history/NONE", 404, "unknown_instrument"),
        ("/v1/history/SIM01?from_ns=yesterday", 400, "invalid_query"),
        ("/v1/history/SIM01?limit=0", 400, "invalid_query"),
        ("/v1/sets/none", 404, "unknown_set"),
        ("/v1/sets/%00", 404, "unknown_set"),
        ("/v1/more", 404, "no_such_route"),
    ] {
        assert_problem(path, &ask("GET", url, path, None), status, code);
    }
    let csv = ask_with("GET", url, "/v1/matrix", &[("accept", "text/csv")], "");
    assert_problem("text/csv", &csv, 406, "not_acceptable");
}

fn wrong_sets(url: &str) {
    assert_problem("delete", &ask("DELETE", url, "/v1/sets/none", None), 404, "unknown_set");
    for (case, path, body, status, code) in [
        ("unknown feature", "x", json!({"features": ["nothing"]}), 422, "unknown_feature"),
        ("no features", "x", json!({"features": []}), 422, "invalid_set"),
        ("twice", "x", json!({"features": ["return_1", "return_1"]}), 422, "invalid_set"),
        ("name", "a%20b", json!({"features": ["return_1"]}), 422, "invalid_set"),
        ("publish", "x", json!({"features": ["return_1"], "publish": "often"}), 422, "invalid_body"),
        ("unknown field", "x", json!({"features": ["return_1"], "more": 1}), 422, "invalid_body"),
        ("symbol", "x", json!({"features": ["return_1"], "instruments": [""]}), 422, "invalid_body"),
    ] {
        let answer = ask("PUT", url, &format!("/v1/sets/{path}"), Some(&body.to_string()));
        assert_problem(case, &answer, status, code);
    }
    assert_problem("not JSON", &ask_with("PUT", url, "/v1/sets/x", JSON, "{"), 400, "invalid_body");
}

fn wrong_calculations(url: &str) {
    let one =
        |series: &Value, feature: &str| json!({"series": {"A": series}, "features": [feature]}).to_string();
    let close = json!({"close": [1, 2, 3]});
    let many: Value =
        (0..1_025).map(|n| (format!("S{n}"), close.clone())).collect::<serde_json::Map<_, _>>().into();
    for (case, body, status, code) in [
        ("unknown feature", one(&close, "nothing"), 422, "unknown_feature"),
        ("unequal lengths", one(&json!({"close": [1, 2], "high": [1]}), "return_1"), 422, "unequal_lengths"),
        ("negative volume", one(&json!({"close": [1], "volume": [-1]}), "return_1"), 422, "illegal_value"),
        ("no bars", one(&json!({"close": []}), "return_1"), 422, "no_bars"),
        ("no series", json!({"series": {}, "features": ["return_1"]}).to_string(), 422, "no_series"),
        ("no features", json!({"series": {"A": close}, "features": []}).to_string(), 422, "no_features"),
        ("symbols", json!({"series": many, "features": ["return_1"]}).to_string(), 422, "too_much"),
        ("null", one(&json!({"close": [1, null]}), "return_1"), 400, "invalid_body"),
        ("no close", one(&json!({"open": [1]}), "return_1"), 400, "invalid_body"),
        ("NaN", r#"{"series":{"A":{"close":[1,NaN]}},"features":["return_1"]}"#.into(), 400, "invalid_body"),
        (
            "infinity",
            r#"{"series":{"A":{"close":[1e999]}},"features":["return_1"]}"#.into(),
            400,
            "invalid_body",
        ),
        ("unknown field", one(&json!({"close": [1], "last": [1]}), "return_1"), 400, "invalid_body"),
        (
            "output",
            json!({"series": {"A": close}, "features": ["return_1"], "output": "all"}).to_string(),
            400,
            "invalid_body",
        ),
        ("empty", String::new(), 400, "invalid_body"),
        ("deep nesting", "[".repeat(100_000), 400, "invalid_body"),
    ] {
        assert_problem(case, &ask("POST", url, "/v1/calculate", Some(&body)), status, code);
    }
    let head = "POST /v1/calculate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let length = (16 << 20) + 1;
    let sent = format!("{head}content-length: {length}\r\n\r\n{}", " ".repeat(length));
    assert_eq!(send_raw(url, sent.as_bytes()), "HTTP/1.1 413 Payload Too Large");
}

/// A start that is refused says this, in one sentence, with status 64.
fn refused(place: &Place, parts: &[&str]) {
    let ended = place.run(&["up"]);
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    let said: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(said.len(), 1, "{}", ended.stderr);
    for part in parts {
        assert!(said[0].contains(part), "'{part}' is not in: {}", said[0]);
    }
}

#[test]
fn a_definition_that_is_wrong_is_refused_with_its_line() {
    let definition = |id: &str, formula: &str| {
        format!("\n[[engines.features.definitions]]\nid = \"{id}\"\nformula = \"{formula}\"\n")
    };
    let place = Place::new();
    let good = definition("mine_good", "close / open");
    for (text, parts) in [
        (good.clone() + &definition("mine", "close +"), &["nautilus.toml line 8: definition 'mine'"][..]),
        (definition("mine", "nothing * 2"), &["nautilus.toml line 4: definition 'mine'", "nothing"]),
        (definition("mine", "lag(close, 0.5)"), &["nautilus.toml line 4: definition 'mine'"]),
        (definition("return_1", "close"), &["line 4: definition 'return_1'", "defined already"]),
        (definition("mine", "mine + 1"), &["line 4: definition 'mine'", "mine → mine"]),
        (
            definition("mine_a", "mine_b + 1") + &definition("mine_b", "mine_a * 2"),
            &["nautilus.toml line", "mine_a → mine_b → mine_a"],
        ),
        (
            "engines.features.definitions = [\n{ id = 'mine', formula = 'open' },\n\
             { id = 'other', formula = 'shut' },\n]\n"
                .to_owned(),
            &["nautilus.toml line 3: definition 'other'", "shut"],
        ),
        (good.clone() + "sorts = 1\n", &["engines.features.definitions[0]", "sorts"]),
        ("[engines.features]\nsettle_ms = 60001\n".to_owned(), &["engines.features", "settle_ms is 60001"]),
        ("[engines.features]\nsettle = 1\n".to_owned(), &["engines.features", "settle"]),
        ("[engines.features]\nbar = 'soon'\n".to_owned(), &["engines.features.bar", "soon"]),
    ] {
        std::fs::write(place.path("nautilus.toml"), text).expect("a file");
        refused(&place, parts);
    }
    let from_environment = "[{ id = 'mine', formula = 'close +' }]";
    let place = Place::new().with("NAUTILUS__ENGINES__FEATURES__DEFINITIONS", from_environment);
    std::fs::write(place.path("nautilus.toml"), good).expect("a file");
    refused(&place, &["setting engines.features.definitions[0].formula: definition 'mine'"]);
}

#[test]
fn a_table_that_is_wrong_is_refused_with_file_and_line() {
    let place = Place::new();
    let settings = "\n[engines.features]\nfundamentals = 'table.csv'\n";
    std::fs::write(place.path("nautilus.toml"), settings).expect("a file");
    refused(&place, &["nautilus.toml line 3: table.csv cannot be read"]);
    std::fs::write(place.path("table.csv"), "symbol,known_from,shares\nA,2024-01-01,many\n").expect("a file");
    refused(&place, &["nautilus.toml line 3: table.csv line 2: 'many' is not a number"]);
}

#[test]
fn definitions_and_tables_of_the_user_are_used() {
    let place = Place::new();
    let settings = "[engines.features]\nfundamentals = 'table.csv'\n\
                    [[engines.features.definitions]]\nid = 'mine_{n}'\nformula = 'shares * {n}'\n\
                    words = 'shares times {n}'\nparameters = { n = [2, 3] }\n";
    std::fs::write(place.path("nautilus.toml"), settings).expect("a file");
    let table = "symbol,known_from,shares\nSIM01,2000-01-01,100\nSIM01,2100-01-01,200\n";
    std::fs::write(place.path("table.csv"), table).expect("a file");
    let mut engines = place.start_after_replay(&sample());
    let url = engines.features.clone();
    assert_eq!(get(&url, "/v1/features?family=user")["total"], 2);
    assert_eq!(get(&url, "/v1/features/mine_3")["words"], "shares times 3");
    let values = |symbol: &str| get(&url, &format!("/v1/vectors/{symbol}?features=mine_2,mine_3"));
    assert_eq!(values("SIM01")["values"], json!({"mine_2": 200.0, "mine_3": 300.0}));
    assert_eq!(values("SIM02")["absent"]["mine_2"], json!({"reason": "no_input", "input": "shares"}));
    engines.interrupt();
    let _ = engines.wait();
    // Bars that nobody builds are a warning, for they may be built later.
    let place = Place::new().with("NAUTILUS__ENGINES__FEATURES__BAR", "7m");
    engines = place.start(&["up", "--no-simulator"]);
    engines.wait_for_notice("no 7m bars are built");
    engines.stop();
}
