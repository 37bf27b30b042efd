//! The measurements behind the cost model: which shapes, in which order, for how long.
//!
//! One shape in four comes first, then the rest, the least work first: a budget that ends early costs detail, not whole
//! operations or all large shapes. Backends take turns within a round and the least time counts: whatever else the machine does only adds.
//! A backend that falls ever further behind is not measured on.

use std::sync::Arc;
use std::thread;

use super::clock::Clock;
use super::model::{Kind, Point, Series, kind};
use super::parallel;
use super::workload::Workload;
use crate::backend::{Backend, BackendId};
use crate::element::ElementType;
use crate::job::{Layout, Op, Order, Spec};

/// All measurements together take about this long, and on a busy machine the outline alone may take longer.
const BUDGET_NS: u64 = 3_000_000_000;
const OUTLINE_BUDGET_NS: u64 = 10_000_000_000;
/// One timed sample is at least this long, so that the clock's own cost does not show.
const SAMPLE_NS: f64 = 8_000.0;
const ROUNDS: usize = 7;
/// A shape is done when this much went into it, after two rounds.
const SHAPE_NS: u64 = 6_000_000;
/// Longer runs are left to the model.
const RUN_NS: f64 = 40e6;
/// A backend this many times behind, on average of so many shapes, is out, unless the ratio fell to this share while work
/// grew so many times.
const BEHIND: f64 = 3.0;
const BEHIND_SHAPES: usize = 4;
const CATCHING_UP: f64 = 0.7;
const CATCHING_UP_OVER: f64 = 8.0;
/// A backend this many times behind is measured at one in so many shapes.
const FAR_BEHIND: f64 = 10.0;
const OUTLINE: usize = 8;

/// Shapes of one operation: sides of cubes, then a spread over all proportions.
struct Plan {
    op: Op,
    edges: &'static [usize],
    spread: usize,
    sizes_max: [f64; 4],
    work_max: f64,
}

const CUBES: &[usize] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 23, 24, 28, 32, 36, 40, 48, 50, 56, 64, 72, 80, 96, 112,
    128, 160, 192, 224, 256, 320, 384, 512,
];
const LENGTHS: &[usize] = &[
    1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100, 128, 200, 256, 400, 512, 800, 1_024, 2_000, 4_096, 10_000,
    32_768, 100_000, 300_000, 1_000_000,
];
const ORDERS: &[usize] = &[
    1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512, 700,
    1_000, 1_400,
];

/// Blocked factorisations change their ways at small orders.
const FACTORS: &[usize] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 24, 25, 26, 28, 31, 32, 33, 36, 40,
    44, 48, 50, 56, 63, 64, 65, 72, 80, 96, 112, 128, 144, 160, 192, 200, 224, 256, 288, 320, 384, 400, 512,
    700,
];

const PLANS: [Plan; 10] = [
    Plan { op: Op::Gemm, edges: CUBES, spread: 64, sizes_max: [600.0, 600.0, 600.0, 1.0], work_max: 6e6 },
    Plan { op: Op::Gemv, edges: ORDERS, spread: 48, sizes_max: [2e3, 1.0, 2e3, 1.0], work_max: 2e6 },
    Plan { op: Op::Syrk, edges: CUBES, spread: 32, sizes_max: [500.0, 1.0, 2.6e3, 1.0], work_max: 2e7 },
    Plan { op: Op::QuadraticForm, edges: ORDERS, spread: 0, sizes_max: [1.0; 4], work_max: 1e6 },
    Plan {
        op: Op::BatchedGemm,
        edges: &[1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 17, 18, 20, 22, 24, 28, 32, 36, 40, 48],
        spread: 48,
        sizes_max: [48.0, 48.0, 48.0, 400.0],
        work_max: 3e6,
    },
    Plan { op: Op::Cholesky, edges: FACTORS, spread: 0, sizes_max: [1.0; 4], work_max: 2e8 },
    Plan {
        op: Op::Solve,
        edges: &[4, 16, 64, 200],
        spread: 40,
        sizes_max: [500.0, 200.0, 1.0, 1.0],
        work_max: 1e7,
    },
    Plan { op: Op::Dot, edges: LENGTHS, spread: 0, sizes_max: [1.0; 4], work_max: 2e6 },
    Plan { op: Op::Axpy, edges: LENGTHS, spread: 0, sizes_max: [1.0; 4], work_max: 2e6 },
    Plan { op: Op::GemmI8, edges: CUBES, spread: 32, sizes_max: [300.0, 300.0, 300.0, 1.0], work_max: 3e6 },
];

/// The `index`-th number of the van der Corput sequence of a base: evenly spread over 0…1 (Halton 1960).
#[allow(clippy::cast_precision_loss)]
fn spread(mut index: usize, base: usize) -> f64 {
    let (mut value, mut digit) = (0.0, 1.0);
    while index > 0 {
        digit /= base as f64;
        value += digit * (index % base) as f64;
        index /= base;
    }
    value
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn shapes(plan: &Plan, element: ElementType, layout: Layout) -> Vec<Spec> {
    let spec = |m, n, k, batch| Spec { batch, layout, ..Spec::new(plan.op, element, m, n, k) };
    let few = if plan.op == Op::BatchedGemm { 16 } else { 1 };
    let mut shapes: Vec<Spec> = plan.edges.iter().map(|&edge| spec(edge, edge, edge, few)).collect();
    let mut index = 1;
    while shapes.len() < plan.edges.len() + plan.spread {
        let mut axis = [2, 3, 5, 7].into_iter().zip(plan.sizes_max);
        let mut size = || {
            let (base, max) = axis.next().unwrap_or((2, 1.0));
            max.powf(spread(index, base)).round() as usize
        };
        let shape = spec(size(), size(), size(), size());
        index += 1;
        // A product with one column is another operation.
        if shape.flops() <= 2.0 * plan.work_max && !(plan.op == Op::Gemm && (shape.n == 1 || shape.m == 1)) {
            shapes.push(shape);
        }
    }
    shapes.retain(|shape| !(plan.op == Op::Gemm && shape.n == 1));
    shapes
}

/// The layouts of an operation that are measured separately.
fn layouts(op: Op) -> Vec<Layout> {
    let orders = [Order::Rows, Order::Columns];
    match op {
        Op::Gemm => orders.iter().flat_map(|&a| orders.map(|b| Layout { a, b, c: Order::Rows })).collect(),
        Op::Gemv | Op::Syrk => orders.map(|a| Layout { a, ..Layout::ROWS }).to_vec(),
        _ => vec![Layout::ROWS],
    }
}

/// Everything that a calibration measures, and whether it belongs to the outline, in order.
fn everything() -> Vec<(bool, Spec)> {
    let mut all = Vec::new();
    for plan in &PLANS {
        let elements: &[ElementType] =
            if plan.op == Op::GemmI8 { &[ElementType::I8] } else { &[ElementType::F32, ElementType::F64] };
        for &element in elements {
            for layout in layouts(plan.op) {
                let mut shapes = shapes(plan, element, layout);
                shapes.sort_by(|a, b| a.flops().total_cmp(&b.flops()));
                all.extend(shapes.into_iter().enumerate().map(|(at, spec)| (at % 4 == 0, spec)));
            }
        }
    }
    all.sort_by(|(a_first, a), (b_first, b)| b_first.cmp(a_first).then(a.flops().total_cmp(&b.flops())));
    all
}

/// Everything that a calibration measures.
#[must_use]
pub fn calibration_shapes() -> Vec<Spec> {
    everything().into_iter().map(|(_, spec)| spec).collect()
}

/// One backend's course through one kind of job.
struct Runner {
    series: Series,
    backend: Arc<dyn Backend>,
    /// The work of each shape and the ratio to the best time of it, by work.
    behind: Vec<(f64, f64)>,
    /// Shapes that were passed over since the last measured one.
    passed: usize,
}

impl Runner {
    /// What is known of shapes with no more work than this.
    fn behind_up_to(&self, work: f64) -> &[(f64, f64)] {
        &self.behind[..self.behind.partition_point(|(known, _)| *known <= work)]
    }

    /// Whether it is far behind and not catching up while work grows: a GPU's start-up pays off, plain loops do not.
    fn out(&self, work: f64) -> bool {
        let mean = |ratios: &[(f64, f64)]| {
            let last = ratios.last_chunk::<BEHIND_SHAPES>()?;
            Some(last.iter().map(|(_, ratio)| ratio.ln()).sum::<f64>() / last.len() as f64)
        };
        let (then, now) = (self.behind_up_to(work / CATCHING_UP_OVER), self.behind_up_to(work));
        let (Some(then), Some(now)) = (mean(then), mean(now)) else { return false };
        now > BEHIND.ln() && now > then + CATCHING_UP.ln()
    }

    /// Whether this shape is left out because the backend is so far behind that an outline of it is enough.
    fn passes(&mut self, work: f64) -> bool {
        let far = self.behind_up_to(work).last().is_some_and(|(_, ratio)| *ratio > FAR_BEHIND);
        self.passed = if far { (self.passed + 1) % OUTLINE } else { 0 };
        self.passed != 0
    }

    /// Takes note of a shape's time and how far behind the best it is.
    fn note(&mut self, point: Point, work: f64, ratio: f64) {
        self.series.points.push(point);
        let at = self.behind.partition_point(|(known, _)| *known <= work);
        self.behind.insert(at, (work, ratio));
    }

    /// Whether one run would take too long, judged by the most work so far.
    fn too_long(&self, spec: &Spec) -> bool {
        let work = |sizes: [usize; 4]| {
            let Kind { op, element, .. } = self.series.kind;
            Spec { batch: sizes[3], ..Spec::new(op, element, sizes[0], sizes[1], sizes[2]) }.flops()
        };
        let last = self.series.points.last();
        last.is_some_and(|last| last.ns * spec.flops() / work(last.sizes).max(1.0) > RUN_NS)
    }
}

/// Times each backend on one shape: nanoseconds of one run, or nothing where it failed.
pub fn measure(clock: &dyn Clock, spec: &Spec, backends: &[&dyn Backend]) -> Vec<Option<f64>> {
    let workload = if backends.is_empty() { None } else { Workload::new(spec) };
    let Some(mut workload) = workload else { return vec![None; backends.len()] };
    let mut run = |backend: &dyn Backend, times: usize| -> Option<f64> {
        let start = clock.now_ns();
        for _ in 0..times {
            let mut job = workload.job().ok()?;
            backend.run(&mut job).ok()?;
        }
        #[allow(clippy::cast_precision_loss)]
        let each = clock.now_ns().saturating_sub(start) as f64 / times as f64;
        Some(each.max(0.1))
    };
    let start = clock.now_ns();
    // The first run may generate code and touch new memory; the second says how many make a sample.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let times: Vec<Option<usize>> = backends
        .iter()
        .map(|backend| {
            run(*backend, 1)?;
            let each = run(*backend, 2)?;
            Some((SAMPLE_NS / each).ceil().clamp(1.0, 1_000.0) as usize)
        })
        .collect();
    let mut best: Vec<Option<f64>> = vec![None; backends.len()];
    for round in 0..ROUNDS {
        if round >= 2 && clock.now_ns().saturating_sub(start) > SHAPE_NS {
            break;
        }
        for (at, backend) in backends.iter().enumerate() {
            let took = times[at].and_then(|times| run(*backend, times));
            best[at] = match (best[at], took) {
                (Some(best), Some(took)) => Some(best.min(took)),
                (best, took) => best.or(took),
            };
        }
    }
    best
}

/// Measures all backends within the budget.
pub(super) fn run(
    clock: &dyn Clock,
    backends: &[Arc<dyn Backend>],
    mut progress: impl FnMut(usize, usize),
) -> Vec<Series> {
    let shapes = everything();
    let start = clock.now_ns();
    let mut runners: Vec<Runner> = Vec::new();
    for (done, (outline, spec)) in shapes.iter().enumerate() {
        let budget_ns = if *outline { OUTLINE_BUDGET_NS } else { BUDGET_NS };
        if clock.now_ns().saturating_sub(start) > budget_ns {
            break;
        }
        if done % 16 == 0 {
            progress(done, shapes.len());
        }
        shape(clock, spec, backends, &mut runners);
    }
    progress(shapes.len(), shapes.len());
    runners.into_iter().map(|runner| runner.series).filter(|series| !series.points.is_empty()).collect()
}

/// What starting and joining a thread costs, and the share of each core that a product cut for so many can use.
pub(super) fn threads(
    clock: &dyn Clock,
    backends: &[Arc<dyn Backend>],
    counts: &[usize],
) -> (f64, Vec<(usize, f64)>) {
    let least = |rounds: usize, work: &mut dyn FnMut()| -> f64 {
        let took = (0..rounds).map(|_| {
            let start = clock.now_ns();
            work();
            clock.now_ns().saturating_sub(start)
        });
        #[allow(clippy::cast_precision_loss)]
        let least = took.min().unwrap_or_default().max(1) as f64;
        least
    };
    let thread_ns = least(50, &mut || {
        thread::scope(|scope| {
            scope.spawn(|| ());
        });
    });
    let spec = Spec::new(Op::Gemm, ElementType::F32, 256, 256, 256);
    let fast = backends.iter().find(|backend| backend.supports(&spec) && backend.id() != BackendId::Portable);
    let (Some(fast), Some(mut workload)) = (fast, Workload::new(&spec)) else {
        return (thread_ns, Vec::new());
    };
    let mut on = |workers: usize| {
        // On a busy machine most rounds wait for the other cores.
        least(40, &mut || {
            if let Ok(mut job) = workload.job() {
                // A failure shows as a time that says nothing, and is then not used.
                let _ = parallel::run(&mut job, workers, |part| fast.run(part));
            }
        })
    };
    let alone_ns = on(1);
    let share = |&workers: &usize| {
        #[allow(clippy::cast_precision_loss)]
        let cores = workers as f64;
        let parts_ns = (on(workers) - thread_ns * (cores - 1.0)).max(1.0);
        (workers, (alone_ns / (parts_ns * cores)).clamp(0.01, 1.0))
    };
    (thread_ns, counts.iter().map(share).collect())
}

/// Measures one shape with everyone who is still in.
fn shape(clock: &dyn Clock, spec: &Spec, backends: &[Arc<dyn Backend>], runners: &mut Vec<Runner>) {
    let (kind, sizes) = kind(spec);
    let mut running = Vec::new();
    for backend in backends.iter().filter(|backend| backend.supports(spec)) {
        let id = backend.id();
        let at = position(runners, kind, id).unwrap_or_else(|| {
            let series = Series { kind, backend: id, points: Vec::new() };
            runners.push(Runner { series, backend: Arc::clone(backend), behind: Vec::new(), passed: 0 });
            runners.len() - 1
        });
        let (runner, work) = (&mut runners[at], spec.flops());
        if !runner.out(work) && !runner.too_long(spec) && !runner.passes(work) {
            running.push(at);
        }
    }
    let backends: Vec<Arc<dyn Backend>> =
        running.iter().map(|&at| Arc::clone(&runners[at].backend)).collect();
    let borrowed: Vec<&dyn Backend> = backends.iter().map(|backend| &**backend).collect();
    let times = measure(clock, spec, &borrowed);
    let best = times.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    for (at, ns) in running.into_iter().zip(times) {
        if let Some(ns) = ns {
            runners[at].note(Point { sizes, ns }, spec.flops(), ns / best);
        }
    }
}

fn position(runners: &[Runner], kind: Kind, backend: BackendId) -> Option<usize> {
    runners.iter().position(|runner| runner.series.kind == kind && runner.series.backend == backend)
}
