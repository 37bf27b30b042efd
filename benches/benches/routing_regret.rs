//! How much slower the router's choice is than the best backend, on shapes that calibration never saw.
//!
//! `regret = T(chosen) / T(best) − 1`. Every backend that can run a shape is timed, in turns, and the median of the
//! rounds counts; choices are taken before anything is learned from calls, and again after. One core: what is compared is
//! backends. It decides nothing and keeps nothing; `cargo bench --bench routing_regret -- 400` measures 400 shapes of
//! each kind.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use nautilus_benches::Report;
use nautilus_hardware::router::{Workload, calibration_shapes};
use nautilus_hardware::{
    Backend, BackendId, ElementType, Hardware, Layout, Op, Options, Order, Spec, Switches, backends,
};

/// Rounds of one shape, and what a sample of a small one takes.
const ROUNDS: usize = 21;
const SAMPLE_NS: f64 = 20_000.0;
/// How long a shape is run to learn from.
const LEARNING_NS: f64 = 30e6;

/// One held-out shape: what each backend took, and what was chosen before and after learning.
struct Trial {
    spec: Spec,
    ns: BTreeMap<BackendId, f64>,
    chosen: BackendId,
    learned: BackendId,
}

impl Trial {
    fn best(&self) -> (BackendId, f64) {
        let least =
            self.ns.iter().min_by(|a, b| a.1.total_cmp(b.1)).expect("the portable one runs everything");
        (*least.0, *least.1)
    }

    fn regret(&self, chosen: BackendId) -> f64 {
        self.ns[&chosen] / self.best().1 - 1.0
    }
}

/// Numbers of a seed from 0 to 1 (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Sizes with even logarithms.
    fn size(&mut self, max: usize) -> usize {
        (max as f64).powf(self.next()).round() as usize
    }
}

/// Shapes that calibration does not measure, of one operation.
fn held_out(op: Op, element: ElementType, count: usize, seen: &HashSet<Spec>) -> Vec<Spec> {
    let mut numbers = Numbers(0x5EED_0002 + op as u64 * 31 + element as u64);
    let mut shapes = Vec::new();
    while shapes.len() < count {
        let order = |by_columns: bool| if by_columns { Order::Columns } else { Order::Rows };
        let layout = match op {
            Op::Gemm => {
                Layout { a: order(numbers.next() < 0.3), b: order(numbers.next() < 0.3), c: Order::Rows }
            }
            Op::Gemv | Op::Syrk => Layout { a: order(numbers.next() < 0.5), ..Layout::ROWS },
            _ => Layout::ROWS,
        };
        let max = match op {
            Op::Dot | Op::Axpy => 500_000,
            Op::Gemv | Op::QuadraticForm => 1_500,
            Op::BatchedGemm => 40,
            Op::GemmI8 => 200,
            _ => 400,
        };
        let edge = numbers.size(max);
        let cube = numbers.next() < 0.4;
        let mut size = || if cube { edge } else { numbers.size(max) };
        let (m, n, k) = (size(), size(), size());
        let batch = if op == Op::BatchedGemm { numbers.size(200) } else { 1 };
        let spec = Spec { batch, layout, ..Spec::new(op, element, m, n, k) };
        if !seen.contains(&spec) && spec.flops() < 6e7 && !(op == Op::Gemm && (m == 1 || n == 1)) {
            shapes.push(spec);
        }
    }
    shapes
}

/// Median nanoseconds of a run on each backend, in turns.
fn times(spec: &Spec, contestants: &[Arc<dyn Backend>]) -> BTreeMap<BackendId, f64> {
    let mut workload = Workload::new(spec).expect("held-out shapes fit memory");
    let mut sample = |backend: &dyn Backend, runs: usize| {
        let start = Instant::now();
        for _ in 0..runs {
            let mut job = workload.job().expect("held-out shapes are jobs");
            backend.run(&mut job).expect("a backend does what it supports");
        }
        start.elapsed().as_nanos() as f64 / runs as f64
    };
    let mut running: Vec<(&dyn Backend, usize, Vec<f64>)> = Vec::new();
    for backend in contestants.iter().filter(|backend| backend.supports(spec)) {
        sample(&**backend, 1);
        let each = sample(&**backend, 2).max(1.0);
        running.push((&**backend, (SAMPLE_NS / each).ceil() as usize, Vec::new()));
    }
    // Whoever is far behind cannot be the best: the others need the rounds more.
    let least = running.iter().map(|(_, runs, _)| *runs).max().unwrap_or(1) as f64;
    for round in 0..ROUNDS {
        for (backend, runs, taken) in &mut running {
            if round < 3 || (*runs as f64) * 6.0 > least {
                taken.push(sample(*backend, *runs));
            }
        }
    }
    running
        .into_iter()
        .map(|(backend, _, mut taken)| {
            taken.sort_by(f64::total_cmp);
            (backend.id(), taken[taken.len() / 2])
        })
        .collect()
}

fn trial(hardware: &Hardware, spec: &Spec, contestants: &[Arc<dyn Backend>]) -> Trial {
    let chosen = hardware.route(spec).chosen;
    let ns = times(spec, contestants);
    let mut workload = Workload::new(spec).expect("held-out shapes fit memory");
    // A small job is timed one call in many.
    let calls = (LEARNING_NS / ns[&chosen]).clamp(200.0, 20_000.0) as usize;
    for _ in 0..calls {
        hardware.run(workload.job().expect("held-out shapes are jobs")).expect("some backend does it");
    }
    Trial { spec: *spec, ns, chosen, learned: hardware.route(spec).chosen }
}

/// What the router adds to a job that takes next to nothing: the least of many rounds by turns, in nanoseconds.
fn overhead(out: &mut String, hardware: &Hardware, contestants: &[Arc<dyn Backend>]) {
    writeln!(out, "{:<20} {:>10} {:>9} {:>9} {:>9}", "overhead, ns", "backend", "direct", "routed", "added")
        .expect("a text takes a line");
    for (m, n, k) in [(2, 2, 2), (8, 8, 8), (20, 20, 20), (20, 1, 20)] {
        let op = if n == 1 { Op::Gemv } else { Op::Gemm };
        let spec = Spec::new(op, ElementType::F64, m, n, k);
        let mut workload = Workload::new(&spec).expect("small shapes fit memory");
        let chosen = hardware.route(&spec).chosen;
        let backend = contestants.iter().find(|backend| backend.id() == chosen).expect("it was chosen");
        let mut least = [f64::INFINITY; 2];
        for round in 0..1_000 {
            let start = Instant::now();
            for _ in 0..500 {
                let mut job = workload.job().expect("small shapes are jobs");
                if round % 2 == 0 {
                    backend.run(&mut job).expect("a backend does what it supports");
                } else {
                    hardware.run(job).expect("some backend does it");
                }
            }
            let each = start.elapsed().as_nanos() as f64 / 500.0;
            least[round % 2] = least[round % 2].min(each);
        }
        let [direct, routed] = least;
        let added = routed - direct;
        writeln!(
            out,
            "{:<20} {:>10} {direct:>9.1} {routed:>9.1} {added:>9.1}",
            format!("{op} {m}×{n}×{k}"),
            chosen.as_str()
        )
        .expect("a text takes a line");
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize] * 100.0
}

fn line(out: &mut String, name: &str, trials: &[&Trial]) {
    let mut before: Vec<f64> = trials.iter().map(|trial| trial.regret(trial.chosen)).collect();
    let mut after: Vec<f64> = trials.iter().map(|trial| trial.regret(trial.learned)).collect();
    writeln!(
        out,
        "{name:<20} {:>6} {:>9.1} {:>9.1} {:>9.1} {:>12.1} {:>9.1} {:>9.1}",
        trials.len(),
        quantile(&mut before, 0.5),
        quantile(&mut before, 0.95),
        quantile(&mut before, 1.0),
        quantile(&mut after, 0.5),
        quantile(&mut after, 0.95),
        quantile(&mut after, 1.0),
    )
    .expect("a text takes a line");
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let count: usize = numbers.next_back().unwrap_or(40);
    let Some(mut report) = Report::begin("routing_regret") else { return };
    let switches = Switches::from_environment().expect("switches mean something");
    let contestants: Vec<Arc<dyn Backend>> =
        backends::available().into_iter().filter(|backend| switches.allow(backend.id())).collect();
    let options = Options { workers_max: 1, ..Options::default() };
    let hardware = Hardware::new(backends::listings(), switches, options);
    let start = Instant::now();
    hardware.calibrate(|_, _| ()).expect("nobody else calibrates");
    let took = start.elapsed().as_secs_f64();
    report.note(&format!(
        "Calibrated {} backends in {took:.2} s. Goals over all shapes: median ≤ 3 %, 95th percentile ≤ 15 %.",
        contestants.len()
    ));
    let mut out = String::new();
    overhead(&mut out, &hardware, &contestants);
    let mut trials = trials(&hardware, &contestants, count);
    summary(&mut out, &trials);
    worst(&mut out, &mut trials);
    report.note(&format!("```text\n{out}```"));
}

/// Every operation on every type, `count` held-out shapes each.
fn trials(hardware: &Hardware, contestants: &[Arc<dyn Backend>], count: usize) -> Vec<Trial> {
    let seen: HashSet<Spec> = calibration_shapes().into_iter().collect();
    let mut trials = Vec::new();
    for op in Op::ALL {
        let elements: &[ElementType] =
            if op == Op::GemmI8 { &[ElementType::I8] } else { &[ElementType::F32, ElementType::F64] };
        for element in elements {
            let shapes = held_out(op, *element, count, &seen);
            trials.extend(shapes.iter().map(|spec| trial(hardware, spec, contestants)));
        }
    }
    trials
}

fn summary(out: &mut String, trials: &[Trial]) {
    writeln!(
        out,
        "{:<20} {:>6} {:>9} {:>9} {:>9} {:>12} {:>9} {:>9}",
        "regret, %", "shapes", "median", "p95", "worst", "learned: med", "p95", "worst"
    )
    .expect("a text takes a line");
    for op in Op::ALL {
        for element in [ElementType::F32, ElementType::F64, ElementType::I8] {
            let own: Vec<&Trial> =
                trials.iter().filter(|trial| (trial.spec.op, trial.spec.element) == (op, element)).collect();
            if !own.is_empty() {
                line(out, &format!("{op} {element}"), &own);
            }
        }
    }
    line(out, "all", &trials.iter().collect::<Vec<_>>());
}

/// The shapes that lose most.
fn worst(out: &mut String, trials: &mut [Trial]) {
    trials.sort_by(|a, b| b.regret(b.chosen).total_cmp(&a.regret(a.chosen)));
    writeln!(out, "the worst shapes:").expect("a text takes a line");
    for trial in trials.iter().take(20) {
        let Spec { op, element, m, n, k, batch, layout } = trial.spec;
        let (best, ns) = trial.best();
        writeln!(
            out,
            "  {op} {element} {m}×{n}×{k} ×{batch} {:?}/{:?}: {} {:.0} ns, {best} {ns:.0} ns: {:.0} %",
            layout.a,
            layout.b,
            trial.chosen,
            trial.ns[&trial.chosen],
            trial.regret(trial.chosen) * 100.0
        )
        .expect("a text takes a line");
    }
}
