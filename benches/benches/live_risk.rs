//! What live risk costs per change of a position and per question: the historical cube and the factor model, beside numpy
//! at the same sums. Figures are processor time of one thread.
//!
//! numpy is run where `NAUTILUS_PEER_RISK_PYTHON` names its Python (`benches/peers/risk_measures/prepare.sh`), over the
//! same returns, values and changes; its answers must agree with ours, or the bench stops. It measures no positions and
//! no gate.

use std::hint::black_box;
use std::io::Write as _;
use std::process::Command;

use nautilus_benches::{Figures, Goal, Peer, Report, Unit, processor_time};
use nautilus_engine_risk::live::{Change, Cube, FactorModel, FactorScratch, Loadings, Scratch};
use nautilus_hardware::Hardware;
use ndarray::Array2;
use serde_json::Value;

const INSTRUMENTS: usize = 1_000;
const ROUNDS: usize = 15;
/// Changes of one round; numpy makes as many.
const EVENTS: usize = 20_000;
const QUESTIONS: usize = 500;
const CONFIDENCE: f64 = 0.99;
/// Instruments that trade at a time: their returns stay in the second-level cache.
const BUSY: usize = 50;

/// Between -1 and 1, as if random (Steele, Lea, Flood 2014).
fn noise(stream: u64, at: usize) -> f64 {
    let mut z = (stream << 40).wrapping_add(at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Returns by instrument: a market factor, and what is its own.
fn returns(scenarios: usize) -> Vec<Vec<f64>> {
    let market: Vec<f64> = (0..scenarios).map(|s| 0.02 * (noise(1, 2 * s) + noise(1, 2 * s + 1))).collect();
    let of = |i: usize| {
        let own = |s: usize| 0.02 * noise(2, i * scenarios + s);
        market.iter().enumerate().map(|(s, market)| market + own(s)).collect()
    };
    (0..INSTRUMENTS).map(of).collect()
}

fn value(instrument: usize) -> f64 {
    1e6 * noise(3, instrument)
}

/// The instrument and the change of an event: the second half of a pair takes the first back.
fn event(at: usize, instruments: usize) -> (usize, f64) {
    let pair = at / 2;
    let change = 1e5 * noise(4, pair);
    (pair * 7 % instruments, if at.is_multiple_of(2) { change } else { -change })
}

fn cube(returns: &[Vec<f64>]) -> Cube {
    let scenarios = returns[0].len();
    let mut cube = Cube::new(scenarios, 0).expect("a legal number");
    for _ in 0..INSTRUMENTS {
        cube.add_instrument().expect("room");
    }
    cube.add_portfolio().expect("room");
    let columns: Vec<Option<&[f64]>> = returns.iter().map(|column| Some(column.as_slice())).collect();
    cube.replace(scenarios, &columns).expect("legal returns");
    for instrument in 0..INSTRUMENTS {
        cube.set_value(0, instrument, value(instrument)).expect("a legal value");
    }
    cube
}

fn model(factors: usize) -> FactorModel {
    let exposures = Array2::from_shape_fn((INSTRUMENTS, factors), |(i, j)| noise(5, i * factors + j));
    let covariance = Array2::from_diag(&ndarray::Array1::from_elem(factors, 1e-4));
    let loadings = Loadings::new(&Hardware::reproducible(), &exposures, &covariance, &[1e-4; INSTRUMENTS]);
    let mut model = FactorModel::new(loadings.expect("a legal model"), 0);
    model.add_portfolio().expect("room");
    for instrument in 0..INSTRUMENTS {
        model.set_value(0, instrument, value(instrument)).expect("a legal value");
    }
    model
}

/// Nanoseconds of each of `events` calls, round by round, after one round that does not count.
fn per_event(events: usize, mut call: impl FnMut(usize)) -> Figures {
    let mut figures = Figures::default();
    for round in 0..=ROUNDS {
        let (seconds, ()) = processor_time(|| (0..events).for_each(&mut call));
        if round > 0 {
            figures.push(1e9 * seconds / events as f64);
        }
    }
    figures
}

/// What numpy takes and says; none where there is no Python for it.
struct Numpy(Option<Value>);

impl Numpy {
    fn run(returns: &[Vec<f64>], factors: usize) -> Self {
        let Some(python) = std::env::var_os("NAUTILUS_PEER_RISK_PYTHON") else { return Self(None) };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("case.bin");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a temporary file"));
        let scenarios = returns[0].len();
        let head = format!(
            "{{\"instruments\":{INSTRUMENTS},\"scenarios\":{scenarios},\"factors\":{factors},\"busy\":{BUSY},\
             \"events\":{EVENTS},\"questions\":{QUESTIONS},\"confidence\":{CONFIDENCE},\"rounds\":{ROUNDS}}}"
        );
        writeln!(file, "{head}").expect("writable");
        let values = (0..INSTRUMENTS).map(value);
        let exposures = (0..INSTRUMENTS * factors).map(|at| noise(5, at));
        let changes = (0..EVENTS).map(|at| event(at, BUSY).1);
        for number in returns.iter().flatten().copied().chain(values).chain(exposures).chain(changes) {
            file.write_all(&number.to_le_bytes()).expect("writable");
        }
        drop(file);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/live_risk/race.py");
        let output = Command::new(python).arg(script).arg(&path).output().expect("the peers' Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(Some(serde_json::from_slice(&output.stdout).expect("race.py prints JSON")))
    }

    fn figures(&self, what: &str) -> Option<Figures> {
        let rounds = self.0.as_ref()?["nanoseconds"][what].as_array().expect("rounds of each");
        let mut figures = Figures::default();
        rounds.iter().for_each(|round| figures.push(round.as_f64().expect("a number")));
        Some(figures)
    }

    /// Stops where numpy says something else.
    fn agrees(&self, what: &str, ours: f64) {
        if let Some(answer) = &self.0 {
            let theirs = answer["values"][what].as_f64().expect("a number");
            assert!((ours - theirs).abs() <= 1e-9 * theirs.abs(), "{what}: ours {ours}, numpy's {theirs}");
        }
    }

    fn row(&self, report: &mut Report, what: &str, name: &str, ours: &Figures, goal: Goal) {
        let theirs = self.figures(what);
        let peer = theirs.as_ref().map_or(Peer::None, |figures| Peer::Here("numpy", figures));
        report.row(name, Unit::Nanoseconds, ours, peer, goal);
    }
}

fn cubes(report: &mut Report, scenarios: usize, goals: [Goal; 2]) {
    let returns = returns(scenarios);
    let numpy = Numpy::run(&returns, 32);
    let (mut cube, mut scratch) = (cube(&returns), Scratch::default());
    let before = cube.measure(0, CONFIDENCE, &mut scratch).expect("scenarios");
    numpy.agrees("var", before.var);
    numpy.agrees("es", before.es);
    cube.watch(0, before.var).expect("a loss");
    let name = |what: &str| format!("cube, {scenarios} scenarios: {what}");
    let events = EVENTS * 1_024 / scenarios;
    for (which, goal) in [(1, goals[0]), (BUSY, goals[0]), (INSTRUMENTS, Goal::None)] {
        let changes: Vec<(usize, f64)> = (0..events).map(|at| event(at, which)).collect();
        let ours = per_event(events, |at| {
            let (instrument, change) = changes[at];
            black_box(cube.apply(0, instrument, change).expect("legal"));
        });
        let what = name(&format!("a change and the tail count, of {which} instruments"));
        numpy.row(report, if which == BUSY { "apply" } else { "apply_any" }, &what, &ours, goal);
    }
    cube.rebuild(0).expect("known");
    let ours = per_event(QUESTIONS, |_| {
        black_box(cube.measure(0, CONFIDENCE, &mut scratch).expect("scenarios"));
    });
    numpy.row(report, "measure", &name("VaR and ES at 99 %"), &ours, Goal::None);
    for (what, confidence, goal) in [("what_if", CONFIDENCE, goals[1]), ("what_if_95", 0.95, goals[1])] {
        let ask = |at: usize, scratch: &mut Scratch| {
            let (instrument, value_change) = event(at, BUSY);
            cube.what_if(0, &[Change { instrument, value_change }], confidence, scratch).expect("legal")
        };
        numpy.agrees(what, ask(0, &mut scratch).var);
        let ours = per_event(QUESTIONS, |at| {
            black_box(ask(at, &mut scratch));
        });
        let of = format!("VaR and ES at {} % after a trade", 100.0 * confidence);
        numpy.row(report, what, &name(&of), &ours, goal);
    }
    let ours = per_event(QUESTIONS, |at| {
        let (instrument, value_change) = event(at, BUSY);
        let changes = [Change { instrument, value_change }];
        black_box(cube.what_if_below(0, &changes, before.var, &mut scratch).expect("legal"));
    });
    numpy.row(report, "below", &name("whether VaR passes a limit after a trade"), &ours, Goal::None);
    let ours = per_event(3, |_| cube.rebuild(0).expect("known"));
    report.row(&name("a rebuild from 1000 values"), Unit::Nanoseconds, &ours, Peer::None, Goal::None);
}

fn factors(report: &mut Report, factors: usize, goal: Goal) {
    let numpy = Numpy::run(&vec![vec![0.0; 8]; INSTRUMENTS], factors);
    let (mut model, mut scratch) = (model(factors), FactorScratch::default());
    numpy.agrees("sigma", model.sigma(0).expect("known"));
    let name = |what: &str| format!("factor model, {factors} factors: {what}");
    for (which, goal) in [(BUSY, goal), (INSTRUMENTS, Goal::None)] {
        let changes: Vec<(usize, f64)> = (0..EVENTS).map(|at| event(at, which)).collect();
        let ours = per_event(EVENTS, |at| {
            let (instrument, change) = changes[at];
            black_box(model.apply(0, instrument, change).expect("legal"));
        });
        let what = name(&format!("a change and σ, of {which} instruments"));
        numpy.row(report, if which == BUSY { "factor" } else { "factor_any" }, &what, &ours, goal);
    }
    let ours = per_event(QUESTIONS, |_| {
        black_box(model.measure(0, CONFIDENCE, 1.0).expect("known"));
    });
    report.row(&name("VaR and ES"), Unit::Nanoseconds, &ours, Peer::None, Goal::None);
    let ours = per_event(QUESTIONS, |at| {
        let (instrument, value_change) = event(at, BUSY);
        let changes = [Change { instrument, value_change }];
        black_box(model.what_if(0, &changes, (CONFIDENCE, 1.0), &mut scratch).expect("legal"));
    });
    report.row(&name("VaR and ES after a trade"), Unit::Nanoseconds, &ours, Peer::None, Goal::None);
}

fn main() {
    let Some(mut report) = Report::begin("live_risk") else { return };
    cubes(&mut report, 1_024, [Goal::AtMost(150.0), Goal::None]);
    cubes(&mut report, 10_000, [Goal::None, Goal::AtMost(50_000.0)]);
    factors(&mut report, 32, Goal::AtMost(25.0));
    factors(&mut report, 64, Goal::AtMost(50.0));
    report.note(
        "One portfolio of 1000 instruments. Of one instrument all is in the first-level cache, of 50 their returns come \
         from the second, of 1000 from the third and from memory.",
    );
}
