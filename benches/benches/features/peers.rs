//! The libraries that people use today at the same work: `benches/peers/features/race.py` on the same bars.
//!
//! Values are compared before a row is written. Where `NAUTILUS_PEER_FEATURES_PYTHON` names no Python, nothing is raced,
//! and a note says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit};
use nautilus_engine_features::{Registry, Template};
use nautilus_types::Symbol;
use serde_json::Value;

use crate::market::{Market, symbol};
use crate::{ROUNDS, close, warmed};

/// Bars that every contestant sees: what has memory begins at the same one.
const BARS: usize = 300;
/// A difference that is another order of the same sums, as a share of the greatest value.
const TOLERANCE: f64 = 1e-9;

/// What is raced: the peer's kind, its parameters, and our formula.
const RACED: &[(&str, &str, &str)] = &[
    ("sma", "n=5", "sma(close, 5)"),
    ("sma", "n=20", "sma(close, 20)"),
    ("sma", "n=60", "sma(close, 60)"),
    ("sma", "n=120", "sma(close, 120)"),
    ("ema", "n=12", "ema(close, 12)"),
    ("ema", "n=26", "ema(close, 26)"),
    ("wma", "n=20", "wma(close, 20)"),
    ("rsi", "n=14", "rsi(close, 14)"),
    ("stddev", "n=20", "stddev(close, 20)"),
    ("stddev", "n=60", "stddev(close, 60)"),
    ("var", "n=20", "var(close, 20)"),
    ("min", "n=20", "min(close, 20)"),
    ("min", "n=60", "min(close, 60)"),
    ("max", "n=20", "max(close, 20)"),
    ("max", "n=60", "max(close, 60)"),
    ("roc", "n=10", "roc(close, 10)"),
    ("mom", "n=10", "diff(close, 10)"),
    ("cci", "n=20", "cci(20)"),
    ("willr", "n=14", "willr(14)"),
    ("atr", "n=14", "atr(14)"),
    ("natr", "n=14", "natr(14)"),
    ("adx", "n=14", "adx(14)"),
    ("macd", "fast=12,slow=26,signal=9", "macd(close, 12, 26, 9)"),
    ("bbands_upper", "n=20,deviations=2", "bbands_upper(close, 20, 2)"),
    ("linearreg_slope", "n=14", "linearreg_slope(close, 14)"),
    ("correl", "n=30", "correl(high, low, 30)"),
    ("mean_ret", "n=20", "mean(ret, 20)"),
    ("mean_ret", "n=60", "mean(ret, 60)"),
    ("std_ret", "n=20", "stdev(ret, 20)"),
    ("std_ret", "n=60", "stdev(ret, 60)"),
    ("std_ret", "n=120", "stdev(ret, 120)"),
    ("skew_ret", "n=60", "skew(ret, 60)"),
    ("kurt_ret", "n=60", "kurt(ret, 60)"),
    ("median", "n=20", "median(close, 20)"),
    ("median", "n=60", "median(close, 60)"),
    ("zscore", "n=20", "zscore(close, 20)"),
    ("zscore", "n=60", "zscore(close, 60)"),
];

/// An id of the registry's kind: of the user's, so that it meets no standard one.
fn id(index: usize) -> String {
    let (kind, parameters, _) = RACED[index];
    let digits = |c: char| if c.is_ascii_digit() { c } else { '_' };
    format!("raced_{kind}_{}", parameters.chars().map(digits).collect::<String>())
}

fn features_json() -> String {
    let feature = |(index, (kind, parameters, _)): (usize, &(&str, &str, &str))| {
        let mut text = format!("{{\"id\":\"{}\",\"kind\":\"{kind}\"", id(index));
        for parameter in parameters.split(',') {
            let (name, value) = parameter.split_once('=').expect("name=value");
            let _ = write!(text, ",\"{name}\":{value}");
        }
        text + "}"
    };
    format!("[{}]", RACED.iter().enumerate().map(feature).collect::<Vec<_>>().join(","))
}

/// The arrays that the peers read; race.py says how they are laid out.
fn write_bars(market: &Market, path: &Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a temporary file"));
    writeln!(file, "{{\"instruments\":{},\"bars\":{BARS}}}", market.bars.len()).expect("writable");
    for field in 0..5 {
        for bar in market.bars.iter().flat_map(|series| &series[..BARS]) {
            file.write_all(&bar[field].to_le_bytes()).expect("writable");
        }
    }
}

/// Our time to refresh the raced features at a bar close, and our values at the last of the bars.
fn ours(registry: &Registry, market: &Market) -> (Figures, BTreeMap<String, Vec<Option<f64>>>) {
    let ids: Vec<String> = (0..RACED.len()).map(id).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let registry = Arc::new(registry.only(&names).expect("the raced definitions"));
    let mut engine = warmed(&registry, market, BARS - ROUNDS);
    let (mut figures, mut out) = (Figures::default(), Default::default());
    for at in BARS - ROUNDS..BARS {
        figures.push(close(&mut engine, &market.close(at), &mut out).as_nanos() as f64 / 1e9);
    }
    let picture = engine.picture();
    let value = |instrument: usize, feature: usize| {
        let symbol: Symbol = symbol(instrument).parse().expect("a symbol");
        picture.vector(picture.find(symbol).expect("defined")).value(feature)
    };
    let values = |feature| (0..market.bars.len()).map(|instrument| value(instrument, feature)).collect();
    (figures, ids.iter().enumerate().map(|(feature, id)| (id.clone(), values(feature))).collect())
}

/// Runs the peers; their report and their values.
fn run(python: &str, market: &Market) -> (Value, Value) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    write_bars(market, &path("bars.bin"));
    std::fs::write(path("features.json"), features_json()).expect("writable");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/features/race.py");
    let output = Command::new(python)
        .arg(script)
        .args([path("bars.bin"), path("features.json")])
        .arg("--values")
        .arg(path("values.json"))
        .args(["--rounds", &ROUNDS.to_string(), "--window", &BARS.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("the peers' Python runs");
    assert!(output.status.success(), "the peers failed");
    let values = std::fs::read(path("values.json")).expect("the peers write their values");
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).expect("the peers write JSON");
    (json(&output.stdout), json(&values))
}

/// The greatest difference of a form's values from ours, as a share of the greatest value, and whose it is.
fn difference(ours: &BTreeMap<String, Vec<Option<f64>>>, theirs: &Value) -> (f64, String) {
    let mut worst = (0.0, String::new());
    for (id, theirs) in theirs.as_object().expect("values by feature") {
        let theirs: Vec<Option<f64>> = theirs.as_array().expect("a list").iter().map(Value::as_f64).collect();
        let largest = theirs.iter().flatten().fold(0.0f64, |most, x| most.max(x.abs()));
        for (ours, theirs) in ours[id].iter().zip(&theirs) {
            let difference = match (ours, theirs) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() / largest,
                (None, None) => 0.0,
                _ => f64::INFINITY,
            };
            if difference > worst.0 {
                worst = (difference, id.clone());
            }
        }
    }
    worst
}

/// Races the peers and writes their rows.
pub(crate) fn race(report: &mut Report, instruments: usize) {
    let Ok(python) = std::env::var("NAUTILUS_PEER_FEATURES_PYTHON") else {
        report.note("The peers were not raced: NAUTILUS_PEER_FEATURES_PYTHON names no Python (benches/peers/features/prepare.sh).");
        return;
    };
    let templates: Vec<Template> = RACED
        .iter()
        .enumerate()
        .map(|(index, (_, _, formula))| {
            serde_json::from_value(serde_json::json!({ "id": id(index), "formula": formula }))
                .expect("a template")
        })
        .collect();
    let registry = Registry::new(&templates).unwrap_or_else(|error| panic!("{error}"));
    let market = Market::new(instruments, BARS);
    let (figures, values) = ours(&registry, &market);
    let (peers, peer_values) = run(&python, &market);
    let all = (RACED.len() * instruments) as f64;
    let rate = figures.map(|seconds| all / seconds / 1e6);
    let mut notes = Vec::new();
    let mut forms: Vec<(&String, &Value)> = peers["forms"].as_object().expect("forms").iter().collect();
    forms.sort_by_key(|(name, _)| name.as_str());
    for (name, form) in forms {
        let (worst, whose) = difference(&values, &peer_values["values"][name]);
        let rounds = form["seconds"]["rounds"].as_array().expect("rounds");
        let count = form["values"].as_u64().expect("a count") as f64;
        let mut theirs = Figures::default();
        rounds.iter().for_each(|s| theirs.push(count / s.as_f64().expect("seconds") / 1e6));
        let measured = format!("bar close, {instruments} instruments, {} features", RACED.len());
        let peer = format!("{name}, {} of them", form["features"].as_array().map_or(0, Vec::len));
        report.row(&measured, Unit::MillionsPerSecond, &rate, Peer::Here(&peer, &theirs), Goal::None);
        let seed = if worst > TOLERANCE { " (another start of what has memory)" } else { "" };
        notes.push(format!("{name} {worst:.1e} in {whose}{seed}"));
    }
    report.note(&format!(
        "Values refreshed a second at one bar close, one thread each, {BARS} bars of past. Greatest difference from our \
         values, as a share of the feature's greatest: {}. Python {}, versions in \
         `benches/peers/features/requirements.txt`.",
        notes.join("; "),
        peers["python"].as_str().unwrap_or_default()
    ));
}
