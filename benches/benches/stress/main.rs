//! What a stress question costs: an option revalued in thousands of scenarios of spot and volatility, QuantLib beside it
//! in the same scenarios.
//!
//! Every figure is processor time of one thread. The peer's values must agree with ours, or its row is not written.

#[path = "../peer_process/mod.rs"]
mod peer_process;

use std::path::Path;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit, processor_time};
use nautilus_engine_risk::{
    Shock, StressAnswer, StressDetail, StressOptionKind, StressOptionStyle, StressPosition, StressRequest,
    StressScenario, stress,
};
use nautilus_hardware::Hardware;
use serde_json::Value;

use peer_process::Peers;

const SCENARIOS: usize = 10_000;
const AMERICAN: usize = 1_000;
const ROUNDS: usize = 9;
/// A closed form in another order, and two solutions of an integral equation.
const TOLERANCES: [f64; 3] = [1e-11, 1e-6, 1e-6];
const NAMES: [&str; 3] = ["european", "american", "american_spot"];
const MEASURED: [&str; 3] = [
    "10,000 scenarios of a European put: spot and volatility",
    "1,000 scenarios of an American put: spot and volatility",
    "10,000 scenarios of an American put: spot",
];

fn question(style: StressOptionStyle, moves: &[(f64, f64)]) -> StressRequest {
    let position = StressPosition {
        underlying: Some("X".to_owned()),
        kind: Some(StressOptionKind::Put),
        style: Some(style),
        strike: Some(105.0),
        expiry_years: Some(182.0 / 365.0),
        volatility: Some(0.25),
        rate: Some(0.04),
        dividend_yield: Some(0.015),
        spot: Some(100.0),
        quantity: 1.0,
        ..StressPosition::default()
    };
    let scenario = |(price, volatility): &(f64, f64)| StressScenario {
        all: Some(Shock { price: Some(*price), volatility: Some(*volatility), ..Shock::default() }),
        ..StressScenario::default()
    };
    StressRequest {
        positions: vec![position],
        scenarios: moves.iter().map(scenario).collect(),
        detail: StressDetail::Totals,
        ..StressRequest::default()
    }
}

fn read(scenarios: &Path) -> [StressRequest; 3] {
    let bytes = std::fs::read(scenarios).expect("the peer wrote it");
    let number = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let values: Vec<f64> = bytes.chunks_exact(8).map(number).collect();
    let (spots, volatilities) = values.split_at(SCENARIOS);
    let both: Vec<(f64, f64)> = spots.iter().copied().zip(volatilities.iter().copied()).collect();
    let alone: Vec<(f64, f64)> = spots.iter().map(|spot| (*spot, 0.0)).collect();
    [
        question(StressOptionStyle::European, &both),
        question(StressOptionStyle::American, &both[..AMERICAN]),
        question(StressOptionStyle::American, &alone),
    ]
}

/// As a share of the strike.
fn largest_difference(ours: &StressAnswer, theirs: &Value) -> f64 {
    let theirs = theirs.as_array().expect("a list");
    assert_eq!(theirs.len(), ours.scenarios.len());
    let pairs = ours.scenarios.iter().zip(theirs);
    pairs.fold(0.0, |most: f64, (ours, theirs)| {
        most.max((ours.value_after - theirs.as_f64().expect("a number")).abs() / 105.0)
    })
}

fn main() {
    let Some(mut report) = Report::begin("stress") else { return };
    let Ok(python) = std::env::var("NAUTILUS_PEER_STRESS_PYTHON") else {
        report.note(
            "Not measured: NAUTILUS_PEER_STRESS_PYTHON names no Python (benches/peers/stress/prepare.sh).",
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenarios = folder.path().join("scenarios.bin");
    let mut peers = Peers::start(&python, "stress", &scenarios);
    let questions = read(&scenarios);
    let ask = |request: &StressRequest| stress(Hardware::shared(), request).expect("a legal question");
    let (mut ours, mut theirs) = (NAMES.map(|_| Figures::default()), NAMES.map(|_| Figures::default()));
    for round in 0..=ROUNDS {
        let seconds = peers.round();
        for (at, (name, question)) in NAMES.iter().zip(&questions).enumerate() {
            let (took, ()) = processor_time(|| drop(ask(question)));
            if round > 0 {
                ours[at].push(took * 1e6);
                theirs[at].push(seconds[name].as_f64().expect("seconds") * 1e6);
            }
        }
    }
    let found: Value = peers.finish();
    let mut notes = Vec::new();
    for (at, name) in NAMES.iter().enumerate() {
        let difference = largest_difference(&ask(&questions[at]), &found["values"][name]);
        assert!(difference <= TOLERANCES[at], "{name} differs from ours by {difference:e}");
        notes.push(format!("{name} {difference:.1e}"));
        let peer = Peer::Here("QuantLib", &theirs[at]);
        let goal = if *name == "european" { Goal::Times(5.0) } else { Goal::Times(1.0) };
        report.row(MEASURED[at], Unit::Microseconds, &ours[at], peer, goal);
    }
    report.note(&format!(
        "Processor time of one thread, of the whole question: its checks, its names and its answer as well. QuantLib in a \
         loop of Python. Greatest difference of values, as a share of the strike: {}. {}.",
        notes.join("; "),
        found["versions"].as_str().unwrap_or_default()
    ));
}
