//! Backends whose cost is a function and whose time is a counter, and which break when told to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use nautilus_hardware::backends::{Listing, Portable};
use nautilus_hardware::router::Clock;
use nautilus_hardware::{
    Backend, BackendId, CalibrationError, ElementType, Failure, Hardware, Job, Layout, Op, Options, Order,
    Spec, Switches,
};

/// A clock that only fakes move.
#[derive(Debug, Default)]
pub(crate) struct Synthetic(AtomicU64);

impl Synthetic {
    pub(crate) fn advance(&self, ns: f64) {
        self.0.fetch_add(ns.round() as u64, Relaxed);
    }
}

impl Clock for Synthetic {
    fn now_ns(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

type Cost = Box<dyn Fn(&Spec) -> f64 + Send + Sync>;

/// A backend that takes as long as it is told.
pub(crate) struct Fake {
    id: BackendId,
    cost: Cost,
    clock: Arc<Synthetic>,
    /// By how much it is slower than its cost, in hundredths.
    pub(crate) slower: AtomicU64,
    /// How many jobs from now on break.
    pub(crate) broken: AtomicUsize,
    pub(crate) calls: AtomicUsize,
    /// While a calibration runs jobs take their time but compute nothing, and large ones never do: tests are fast.
    computes: AtomicBool,
}

const COMPUTED_FLOPS: f64 = 20_000.0;

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fake({})", self.id)
    }
}

impl Backend for Fake {
    fn id(&self) -> BackendId {
        self.id
    }

    fn supports(&self, spec: &Spec) -> bool {
        // Few kinds, so that a calibration is short.
        matches!(spec.op, Op::Gemm | Op::Cholesky)
            && spec.element == ElementType::F64
            && (spec.layout.a, spec.layout.b) == (Order::Rows, Order::Rows)
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        let spec = job.spec();
        self.calls.fetch_add(1, Relaxed);
        if self.broken.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(Failure::Broken(format!("{} was told to break", self.id)));
        }
        self.clock.advance((self.cost)(&spec) * self.slower.load(Relaxed) as f64 / 100.0);
        if !self.computes.load(Relaxed) || spec.flops() > COMPUTED_FLOPS { Ok(()) } else { Portable.run(job) }
    }
}

/// Some fakes on one clock.
pub(crate) struct Bed {
    pub(crate) clock: Arc<Synthetic>,
    pub(crate) fakes: Vec<Arc<Fake>>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self { clock: Arc::default(), fakes: Vec::new() }
    }

    pub(crate) fn with(mut self, id: BackendId, cost: impl Fn(&Spec) -> f64 + Send + Sync + 'static) -> Self {
        self.fakes.push(Arc::new(Fake {
            id,
            cost: Box::new(cost),
            clock: Arc::clone(&self.clock),
            slower: AtomicU64::new(100),
            broken: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            computes: AtomicBool::new(true),
        }));
        self
    }

    /// A slow, a fast and a far one, as machines have them.
    pub(crate) fn usual() -> Self {
        Self::new()
            .with(BackendId::Portable, |spec| 10.0 + spec.flops())
            .with(BackendId::Avx512, |spec| {
                let vectors = (spec.n as f64 / 8.0).ceil() * 8.0;
                60.0 + 0.04 * spec.m as f64 * vectors * spec.k as f64 + 0.02 * spec.bytes()
            })
            .with(BackendId::Gpu, |spec| 40_000.0 + 0.001 * spec.flops() + 0.1 * spec.bytes())
    }

    pub(crate) fn fake(&self, id: BackendId) -> &Fake {
        self.fakes.iter().find(|fake| fake.id == id).unwrap()
    }

    pub(crate) fn cost(&self, id: BackendId, spec: &Spec) -> f64 {
        (self.fake(id).cost)(spec)
    }

    /// The least cost of all.
    pub(crate) fn best(&self, spec: &Spec) -> f64 {
        self.fakes.iter().map(|fake| (fake.cost)(spec)).fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn options(&self) -> Options {
        Options { workers_max: 1, clock: Arc::clone(&self.clock) as Arc<dyn Clock>, ..Options::default() }
    }

    pub(crate) fn hardware(&self, options: Options) -> Hardware {
        self.switched(Switches::default(), options)
    }

    pub(crate) fn switched(&self, switches: Switches, options: Options) -> Hardware {
        let listing =
            |fake: &Arc<Fake>| Listing { id: fake.id, backend: Ok(Arc::clone(fake) as Arc<dyn Backend>) };
        Hardware::new(self.fakes.iter().map(listing).collect(), switches, options)
    }

    pub(crate) fn calibrated(&self) -> Hardware {
        let hardware = self.hardware(self.options());
        self.calibrate(&hardware).unwrap();
        hardware
    }

    /// Calibrates without computing anything.
    pub(crate) fn calibrate(&self, hardware: &Hardware) -> Result<(), CalibrationError> {
        self.fakes.iter().for_each(|fake| fake.computes.store(false, Relaxed));
        let result = hardware.calibrate(|_, _| ());
        self.fakes.iter().for_each(|fake| fake.computes.store(true, Relaxed));
        result
    }
}

pub(crate) fn gemm(m: usize, n: usize, k: usize) -> Spec {
    Spec { layout: Layout::ROWS, ..Spec::new(Op::Gemm, ElementType::F64, m, n, k) }
}
