//! What historical value at risk of 10,000 scenarios and 1,000 positions costs: alone, with what each position adds, and
//! with all thousand leave-one-out measures; numpy and pandas beside it, on the same arrays.
//!
//! Every figure is processor time of one thread. A peer's values must agree with ours, or its row is not written.

#[path = "../peer_process/mod.rs"]
mod peer_process;

use std::path::Path;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit, processor_time};
use nautilus_engine_risk::{Method, ScenarioMatrix, VarAnswer, VarRequest, calculate_var};
use nautilus_hardware::{Hardware, Options, Switches, backends};
use serde_json::Value;

use peer_process::Peers;

const SCENARIOS: usize = 10_000;
const ASSETS: usize = 1_000;
const ROUNDS: usize = 9;
/// The same sums in another order.
const TOLERANCE: f64 = 1e-11;

fn read(cube: &Path) -> VarRequest {
    let bytes = std::fs::read(cube).expect("the peers wrote it");
    let mut values: Vec<f64> = bytes
        .chunks_exact(8)
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect();
    let positions = values.split_off(SCENARIOS * ASSETS);
    assert_eq!(positions.len(), ASSETS);
    VarRequest {
        returns: Some(ScenarioMatrix::new(values, ASSETS).expect("a cube")),
        positions: Some(positions),
        ..VarRequest::new(Method::Historical)
    }
}

fn largest_difference(ours: &[f64], theirs: &Value) -> f64 {
    let theirs: Vec<f64> = theirs.as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    assert!(theirs.len() <= ours.len(), "as many values as we have");
    let size = theirs.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    ours.iter().zip(&theirs).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs() / size))
}

/// What each form should have found.
fn expected(answer: &VarAnswer, form: &str) -> Vec<f64> {
    match form {
        "numpy_components" => answer.component_es.clone().expect("positions"),
        "numpy_without_each" | "numpy_transposed" => {
            answer.incremental_var.as_ref().expect("asked for").iter().map(|x| answer.var - x).collect()
        }
        _ => vec![answer.var, answer.es],
    }
}

fn main() {
    let Some(mut report) = Report::begin("risk_measures") else { return };
    let Ok(python) = std::env::var("NAUTILUS_PEER_RISK_PYTHON") else {
        report.note("Not measured: NAUTILUS_PEER_RISK_PYTHON names no Python (benches/peers/risk_measures/prepare.sh).");
        return;
    };
    let options = Options { workers_max: 1, ..Options::default() };
    let hardware = Hardware::new(backends::listings(), Switches::default(), options);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cube = folder.path().join("cube.bin");
    let mut peers = Peers::start(&python, "risk_measures", &cube);
    let all = read(&cube);
    let alone = VarRequest { incremental: false, ..all.clone() };
    let ask = |request: &VarRequest| calculate_var(&hardware, request).expect("a legal question");
    let names =
        ["numpy", "numpy_matrix", "pandas", "numpy_components", "numpy_without_each", "numpy_transposed"];
    let mut ours = [Figures::default(), Figures::default()];
    let mut theirs = names.map(|_| Figures::default());
    for round in 0..=ROUNDS {
        let seconds = peers.round();
        let took = [&alone, &all].map(|request| processor_time(|| drop(ask(request))).0);
        if round > 0 {
            let pushed = |figures: &mut Figures, seconds: f64| figures.push(seconds * 1e6);
            ours.iter_mut().zip(took).for_each(|(figures, took)| pushed(figures, took));
            for (figures, name) in theirs.iter_mut().zip(names) {
                pushed(figures, seconds[name].as_f64().expect("seconds"));
            }
        }
    }
    let (answer, found): (_, Value) = (ask(&all), peers.finish());
    let mut notes = Vec::new();
    for (name, theirs) in names.iter().zip(&theirs) {
        let difference = largest_difference(&expected(&answer, name), &found["values"][name]);
        assert!(difference <= TOLERANCE, "{name} differs from ours by {difference:e}");
        notes.push(format!("{name} {difference:.1e}"));
        let (measured, ours, goal) = match *name {
            "numpy_without_each" | "numpy_transposed" => {
                ("VaR and ES without each of 1,000", &ours[1], Goal::AtMost(40_000.0))
            }
            _ => ("VaR, ES, components, errors of 10,000 × 1,000", &ours[0], Goal::AtMost(5_000.0)),
        };
        report.row(measured, Unit::Microseconds, ours, Peer::Here(name, theirs), goal);
    }
    report.note(&format!(
        "Historical, 99 %. Processor time of one thread; the product by {}. Greatest difference from our values, as a share \
         of the greatest: {}. {}.",
        answer.backend.map_or("no backend", |backend| backend.as_str()),
        notes.join("; "),
        found["versions"].as_str().unwrap_or_default()
    ));
}
