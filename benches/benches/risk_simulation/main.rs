//! What Monte Carlo value at risk of 100,000 paths of 500 assets costs, and the parametric one; numpy and scipy beside it,
//! with the same returns and positions.
//!
//! Every figure is processor time of one thread. A drawn VaR or ES of a peer must lie within five standard errors of ours,
//! a closed form must be ours, or its row is not written.

#[path = "../peer_process/mod.rs"]
mod peer_process;

use std::path::Path;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit, processor_time};
use nautilus_engine_risk::{Method, Sampling, ScenarioMatrix, VarAnswer, VarRequest, calculate_var};
use nautilus_hardware::{Hardware, Options, Switches, backends};
use serde_json::Value;

use peer_process::Peers;

const SCENARIOS: usize = 1_260;
const ASSETS: usize = 500;
const ROUNDS: usize = 5;

fn read(path: &Path, method: Method) -> VarRequest {
    let bytes = std::fs::read(path).expect("the peers wrote it");
    let mut values: Vec<f64> = bytes
        .chunks_exact(8)
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect();
    let positions = values.split_off(SCENARIOS * ASSETS);
    assert_eq!(positions.len(), ASSETS);
    VarRequest {
        returns: Some(ScenarioMatrix::new(values, ASSETS).expect("returns")),
        positions: Some(positions),
        incremental: false,
        ..VarRequest::new(method)
    }
}

/// Whether a peer's VaR and ES are ours.
fn agree(ours: &VarAnswer, theirs: &Value, name: &str) {
    let error = ours.standard_error;
    let drawn = ours.method == Method::MonteCarlo;
    let allowed =
        |error: Option<f64>, value: f64| if drawn { 5.0 * error.expect("known") } else { 1e-10 * value };
    let pairs = [(ours.var, error.var), (ours.es, error.es)];
    for ((ours, error), theirs) in pairs.into_iter().zip(theirs.as_array().expect("two values")) {
        let theirs = theirs.as_f64().expect("a number");
        assert!((ours - theirs).abs() <= allowed(error, ours), "{name}: {theirs} is not {ours}");
    }
}

/// What is measured, our question, the peer beside it, and what is to be reached in seconds.
fn contests(path: &Path) -> [(&'static str, VarRequest, &'static str, Goal); 6] {
    let drawn = read(path, Method::MonteCarlo);
    let without = VarRequest { incremental: true, ..drawn.clone() };
    let none = ScenarioMatrix::new(vec![0.0; ASSETS], ASSETS).expect("one for each");
    let full = VarRequest { gamma: Some(none), ..drawn.clone() };
    let sobol = VarRequest { sampling: Some(Sampling::Sobol), ..drawn.clone() };
    let parametric = VarRequest { incremental: true, ..read(path, Method::Parametric) };
    [
        (
            "100,000 paths × 500 assets: VaR, ES, components and both without each",
            without,
            "numpy_full, VaR and ES alone",
            Goal::AtMost(0.3),
        ),
        (
            "100,000 paths × 500 assets, every return drawn and bent by a second derivative: VaR, ES and components",
            full,
            "numpy_full, VaR and ES alone",
            Goal::AtMost(0.3),
        ),
        (
            "100,000 paths × 500 assets: VaR, ES and components",
            drawn.clone(),
            "numpy_full, VaR and ES alone",
            Goal::AtMost(0.3),
        ),
        (
            "100,000 paths × 500 assets: VaR, ES and components",
            drawn,
            "numpy_projected, VaR and ES alone",
            Goal::AtMost(0.3),
        ),
        (
            "131,072 points × 500 assets of 16 scrambled Sobol sequences: VaR, ES, components and errors",
            sobol,
            "scipy_sobol, VaR and ES alone",
            Goal::None,
        ),
        (
            "covariance of 1,260 × 500, parametric VaR, ES, components and both without each",
            parametric,
            "numpy_parametric, covariance known",
            Goal::None,
        ),
    ]
}

fn main() {
    let Some(mut report) = Report::begin("risk_simulation") else { return };
    let Ok(python) = std::env::var("NAUTILUS_PEER_SIMULATION_PYTHON") else {
        report.note("Not measured: NAUTILUS_PEER_SIMULATION_PYTHON names no Python (benches/peers/risk_simulation/prepare.sh).");
        return;
    };
    let options = Options { workers_max: 1, ..Options::default() };
    let hardware = Hardware::new(backends::listings(), Switches::default(), options);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("returns.bin");
    let mut peers = Peers::start(&python, "risk_simulation", &path);
    let contests = contests(&path);
    let mut figures = contests.each_ref().map(|_| [Figures::default(), Figures::default()]);
    let mut backend = None;
    for round in 0..=ROUNDS {
        let theirs = peers.round();
        for ((_, request, name, _), [ours, peer]) in contests.iter().zip(&mut figures) {
            let form = &theirs[name.split(',').next().unwrap_or_default()];
            let (seconds, answer) =
                processor_time(|| calculate_var(&hardware, request).expect("a legal question"));
            agree(&answer, &form["values"], name);
            backend = answer.backend.or(backend);
            if round > 0 {
                ours.push(seconds);
                peer.push(form["seconds"].as_f64().expect("seconds"));
            }
        }
    }
    for ((measured, _, name, goal), [ours, peer]) in contests.iter().zip(&figures) {
        report.row(measured, Unit::Seconds, ours, Peer::Here(name, peer), *goal);
    }
    report.note(&format!(
        "99 %, one day. Processor time of one thread; products by {}. P&L that is linear is projected, and returns are drawn of \
         the paths and assets that can matter to a tail without a position; the answer is that of all. Ours begins with returns: covariance and factor are in \
         its time, not in the peers'. VaR and ES of every round agree within five standard errors. {}.",
        backend.map_or("no backend", |backend| backend.as_str()),
        peers.finish::<String>()
    ));
}
