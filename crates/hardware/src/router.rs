//! Sends each job to the backend that is predicted to be fastest, and learns from what it took.
//!
//! It never changes what a job computes, and never makes a time up: before calibration there are no predictions, only
//! the order of [`PREFERENCE`]. A decision is taken once per shape and thread and then looked up; it is taken again when
//! something was learned that changes it.

mod calibrate;
mod clock;
mod learn;
mod model;
mod nnls;
mod parallel;
mod shape;
pub(crate) mod store;
mod workload;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use calibrate::{calibration_shapes, measure};
pub use clock::{Clock, Monotonic};
pub(crate) use learn::Way;
use learn::{Class, Health};
pub use shape::ShapeClass;
use store::{Calibrated, Stored};
pub use workload::Workload;

use crate::backend::{Backend, BackendId, Failure};
use crate::job::{Job, Spec};
use crate::monitor::{self, Monitor};

/// Who is asked first while nothing has been measured. Generated code before hand-written, wide before narrow, and the
/// GPU last of all: whether it is worth its transfers is never known without measuring.
pub const PREFERENCE: [BackendId; 10] = [
    BackendId::Jit,
    BackendId::Vnni,
    BackendId::Accelerate,
    BackendId::Sme,
    BackendId::Avx512,
    BackendId::Avx2,
    BackendId::Neon,
    BackendId::Large,
    BackendId::Portable,
    BackendId::Gpu,
];

/// Decisions that a thread keeps, in pairs of places.
const KEPT: usize = 512;
/// Classes of shapes that something is learned about; when there are more, learning starts over.
const CLASSES_MAX: usize = 4_096;
/// Reading the clock twice and taking note, and what this may cost on average: a share of a job's time, or so little.
const TIMING_NS: f64 = 120.0;
const TIMING_SHARE: f64 = 0.001;
const TIMING_MIN_NS: f64 = 0.5;
/// A guess at a job's rate where there is neither prediction nor measurement, only to decide how often it is timed.
const GUESSED_GFLOPS: f64 = 5.0;

/// A backend in use.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: BackendId,
    pub(crate) backend: Arc<dyn Backend>,
    /// Only asked for what nobody else runs.
    pub(crate) stand_in: bool,
    health: Health,
}

impl Member {
    #[inline]
    pub(crate) fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        let answer = self.backend.run(job);
        if !matches!(answer, Err(Failure::Broken(_))) {
            self.health.succeeded();
        }
        answer
    }
}

/// What was decided about a shape.
#[derive(Debug)]
pub(crate) struct Decision {
    router: u64,
    generation: u64,
    key: Key,
    /// Every way that is open, the fastest prediction first.
    pub(crate) ways: Vec<Way>,
    pub(crate) chosen: usize,
    pub(crate) member: Arc<Member>,
    /// This thread's part of the chosen backend's row in the monitor.
    pub(crate) counter: monitor::Counter,
    pub(crate) class: Arc<Class>,
    /// One in `every` calls is timed.
    every: u32,
    calls: Cell<u32>,
}

impl Decision {
    /// Whether this call is to be timed.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        let calls = self.calls.get();
        self.calls.set(calls.wrapping_add(1));
        calls & (self.every - 1) == 0
    }

    #[inline]
    pub(crate) fn chosen(&self) -> Way {
        self.ways[self.chosen]
    }

    /// The way that a timed call goes: the chosen one, or now and then another one that might be better.
    pub(crate) fn timed_way(&self) -> usize {
        self.class.try_instead(&self.ways, self.chosen).unwrap_or(self.chosen)
    }
}

thread_local! {
    static DECISIONS: RefCell<Vec<Option<Rc<Decision>>>> = const { RefCell::new(Vec::new()) };
}

/// A spec in whole words: compared and hashed in registers, because reading back bytes just written as words stalls.
type Key = [u64; 5];

#[inline]
fn key(spec: &Spec) -> Key {
    let kind = (spec.op as u64) << 8 | (spec.element as u64) << 6;
    let layout = (spec.layout.a as u64) << 4 | (spec.layout.b as u64) << 2 | spec.layout.c as u64;
    [kind | layout, spec.m as u64, spec.n as u64, spec.k as u64, spec.batch as u64]
}

/// Where a decision is kept, or beside it: the upper bits of a multilinear hash, whose products do not wait for each
/// other (Lemire and Kaser, Strongly universal string hashing is fast, 2014). Any odd factors with mixed bits will do.
#[inline]
fn slot([kind, m, n, k, batch]: Key) -> usize {
    let mixed = kind.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ m.wrapping_mul(0xBF58_476D_1CE4_E5B9)
        ^ n.wrapping_mul(0x94D0_49BB_1331_11EB)
        ^ k.wrapping_mul(0xDA94_2042_E4DD_58B5)
        ^ batch.wrapping_mul(0x5851_F42D_4C95_7F2D);
    (mixed >> (u64::BITS - KEPT.ilog2())) as usize
}

/// What the router may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) workers: usize,
    pub(crate) sme_workers: usize,
    /// One backend and one core, and nothing is learned.
    pub(crate) pinned: bool,
}

/// What a run is watched with.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    pub(crate) monitor: &'a Monitor,
    pub(crate) clock: &'a dyn Clock,
}

/// Decides who runs a job.
#[derive(Debug)]
pub(crate) struct Router {
    /// Tells the decisions of several routers on one thread apart.
    number: u64,
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) limits: Limits,
    /// Decisions of an earlier generation are taken again.
    generation: AtomicU64,
    /// When the next backend that was left out is to be tried again.
    retry_at_ns: AtomicU64,
    classes: Mutex<HashMap<Spec, Arc<Class>>>,
    calibrated: RwLock<Option<Arc<Calibrated>>>,
}

impl Router {
    /// `members` in the order of preference. The portable one must be among them, or be the stand-in, which is only
    /// asked for what nobody else runs.
    pub(crate) fn new(
        members: Vec<Arc<dyn Backend>>,
        stand_in: Option<Arc<dyn Backend>>,
        limits: Limits,
    ) -> Self {
        static ROUTERS: AtomicU64 = AtomicU64::new(0);
        let member = |stand_in: bool| {
            move |backend: Arc<dyn Backend>| {
                Arc::new(Member { id: backend.id(), backend, stand_in, health: Health::default() })
            }
        };
        let members = members.into_iter().map(member(false)).chain(stand_in.map(member(true)));
        Self {
            number: ROUTERS.fetch_add(1, Relaxed),
            members: members.collect(),
            limits,
            generation: AtomicU64::new(0),
            retry_at_ns: AtomicU64::new(u64::MAX),
            classes: Mutex::default(),
            calibrated: RwLock::default(),
        }
    }

    fn classes(&self) -> MutexGuard<'_, HashMap<Spec, Arc<Class>>> {
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calibrated(&self) -> Option<Arc<Calibrated>> {
        self.calibrated.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Predicts by `calibrated` from now on, and forgets what was learned on top of what came before.
    pub(crate) fn adopt(&self, calibrated: Calibrated) {
        *self.calibrated.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(calibrated));
        self.classes().clear();
        self.reconsider();
    }

    /// Has every decision taken again.
    fn reconsider(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    /// Measures all backends.
    pub(crate) fn measure(&self, clock: &dyn Clock, progress: impl FnMut(usize, usize)) -> Stored {
        let backends: Vec<_> = self.members.iter().map(|member| Arc::clone(&member.backend)).collect();
        let series = calibrate::run(clock, &backends, progress);
        let (thread_ns, shares) = calibrate::threads(clock, &backends, &self.worker_counts());
        Stored::new(self.members.iter().map(|member| member.id).collect(), thread_ns, shares, series)
    }

    /// The decision about a job.
    #[inline]
    pub(crate) fn decide(&self, spec: &Spec, watch: &Watch<'_>) -> Rc<Decision> {
        let key = key(spec);
        let first = slot(key);
        let generation = self.generation.load(Relaxed);
        let fits = |decision: &&Rc<Decision>| {
            let other = key.iter().zip(&decision.key).fold(0, |other, (a, b)| other | (a ^ b));
            other == 0 && decision.router == self.number && decision.generation == generation
        };
        let kept = DECISIONS.try_with(|kept| {
            let kept = kept.borrow();
            let at = |at: usize| kept.get(at)?.as_ref().filter(fits);
            at(first).or_else(|| at(first ^ 1)).cloned()
        });
        match kept {
            Ok(Some(decision)) => decision,
            _ => self.decide_and_keep(spec, watch, generation),
        }
    }

    #[cold]
    fn decide_and_keep(&self, spec: &Spec, watch: &Watch<'_>, generation: u64) -> Rc<Decision> {
        let decision = Rc::new(self.decide_anew(spec, watch, generation));
        let at = slot(decision.key);
        // While a thread ends it keeps nothing. What is pushed out is dropped once the places are free again.
        let _ = DECISIONS.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            kept.resize(KEPT, None);
            kept.swap(at, at ^ 1);
            kept[at].replace(Rc::clone(&decision))
        });
        decision
    }

    fn decide_anew(&self, spec: &Spec, watch: &Watch<'_>, generation: u64) -> Decision {
        let now_ns = watch.clock.now_ns();
        let class = self.class(spec);
        let mut ways = self.ways(spec, &class, now_ns);
        if ways.is_empty() {
            // Everyone is left out for the moment: the portable one is asked all the same.
            let portable = self.members.iter().position(|member| member.id == BackendId::Portable);
            ways.push(Way { member: portable.unwrap_or(0), workers: 1, predicted_ns: None });
        }
        let chosen = class.choose(&ways);
        let way = ways[chosen];
        let member = Arc::clone(&self.members[way.member]);
        #[allow(clippy::cast_precision_loss)]
        let expected_ns = way
            .predicted_ns
            .or_else(|| class.last_ns(&way).map(|ns| ns as f64))
            .unwrap_or(spec.flops() / GUESSED_GFLOPS);
        Decision {
            router: self.number,
            generation,
            key: key(spec),
            counter: monitor::Counter::new(watch.monitor.cell(spec, member.id)),
            every: timed_every(expected_ns),
            ways,
            chosen,
            member,
            class,
            calls: Cell::new(0),
        }
    }

    fn class(&self, spec: &Spec) -> Arc<Class> {
        let mut classes = self.classes();
        if classes.len() >= CLASSES_MAX {
            classes.clear();
        }
        Arc::clone(classes.entry(shape::fine(spec)).or_default())
    }

    /// Every way that is open to a job, the fastest prediction first, then the order of preference.
    fn ways(&self, spec: &Spec, class: &Class, now_ns: u64) -> Vec<Way> {
        let calibrated = self.calibrated();
        let mut ways = Vec::with_capacity(self.members.len());
        for (at, member) in self.members.iter().enumerate() {
            let out = member.health.out_until_ns(now_ns).or(class.out_until_ns(at, now_ns));
            if let Some(until) = out {
                self.retry_at_ns.fetch_min(until, Relaxed);
            } else if (!member.stand_in || ways.is_empty()) && member.backend.supports(spec) {
                ways.extend(self.ways_of(spec, at, calibrated.as_deref()));
            }
        }
        let ns = |way: &Way| way.predicted_ns.unwrap_or(f64::INFINITY);
        ways.sort_by(|a, b| ns(a).total_cmp(&ns(b)));
        ways
    }

    /// The ways of one member: on one core, and where the cost of threads is known, on several.
    fn ways_of(&self, spec: &Spec, at: usize, calibrated: Option<&Calibrated>) -> Vec<Way> {
        let id = self.members[at].id;
        let alone_ns = calibrated.and_then(|calibrated| calibrated.predict_ns(spec, id));
        let mut ways = vec![Way { member: at, workers: 1, predicted_ns: alone_ns }];
        let (Some(calibrated), Some(alone_ns)) = (calibrated, alone_ns) else { return ways };
        let thread_ns = calibrated.stored.thread_ns;
        // Two cores save at most half.
        if self.workers_max(id) < 2 || thread_ns > alone_ns / 2.0 {
            return ways;
        }
        for workers in self.worker_counts() {
            if workers > self.workers_max(id) || workers > parallel::parts_max(spec) {
                break;
            }
            let part = parallel::part(spec, workers);
            let Some(share) = calibrated.share(workers).filter(|_| self.members[at].backend.supports(&part))
            else {
                continue;
            };
            #[allow(clippy::cast_precision_loss)]
            let threads_ns = thread_ns * (workers - 1) as f64;
            let predicted_ns = calibrated.predict_ns(&part, id).map(|ns| threads_ns + ns / share);
            if predicted_ns.is_some() {
                ways.push(Way { member: at, workers, predicted_ns });
            }
        }
        ways
    }

    /// On how many cores a backend may run one job.
    fn workers_max(&self, id: BackendId) -> usize {
        match id {
            // These bring their own threads.
            BackendId::Gpu | BackendId::Accelerate => 1,
            BackendId::Sme => self.limits.workers.min(self.limits.sme_workers),
            _ => self.limits.workers,
        }
    }

    /// The numbers of cores above one that a job may be cut for: powers of two, and all.
    fn worker_counts(&self) -> Vec<usize> {
        let all = self.limits.workers;
        let mut counts: Vec<usize> = std::iter::successors(Some(2), |count| Some(count * 2))
            .take_while(|&count| count < all)
            .collect();
        if all > 1 {
            counts.push(all);
        }
        counts
    }

    /// Takes note of a timed call that went well.
    pub(crate) fn learn(&self, decision: &Decision, way: usize, took_ns: u64, now_ns: u64) {
        if self.retry_at_ns.load(Relaxed) <= now_ns {
            self.retry_at_ns.store(u64::MAX, Relaxed);
            self.reconsider();
        }
        decision.class.succeeded(decision.ways[way].member);
        if self.limits.pinned {
            decision.class.note(&decision.ways[way], took_ns);
        } else if decision.class.learn(&decision.ways, way, decision.chosen, took_ns) {
            self.reconsider();
        }
    }

    /// Takes note that a member broke on a job.
    fn failed(&self, class: &Class, member: usize, failure: &Failure, now_ns: u64) {
        let Member { id, health, .. } = &*self.members[member];
        let out = [health.failed(now_ns), class.failed(member, now_ns)];
        if let Some(until) = out.into_iter().flatten().max() {
            let seconds = (until - now_ns) / 1_000_000_000;
            tracing::warn!(backend = %id, %failure, "left out for {seconds} s: it failed several times in a row");
            self.retry_at_ns.fetch_min(until, Relaxed);
            self.reconsider();
        }
    }

    /// Runs a job one way. On several cores, a part that breaks is done by another member: the other parts stand.
    pub(crate) fn execute(
        &self,
        decision: &Decision,
        way: Way,
        job: &mut Job<'_>,
        watch: &Watch<'_>,
    ) -> Result<(), Failure> {
        let member = &self.members[way.member];
        if way.workers == 1 {
            return member.run(job);
        }
        let class = &decision.class;
        parallel::run(job, way.workers, |part| match member.run(part) {
            Err(broken @ Failure::Broken(_)) => self.rescue(class, way.member, part, broken, watch).map(drop),
            answer => answer,
        })
    }

    /// Has another member do what `broke` could not, the result being as it was, and answers who.
    pub(crate) fn rescue(
        &self,
        class: &Class,
        broke: usize,
        job: &mut Job<'_>,
        failure: Failure,
        watch: &Watch<'_>,
    ) -> Result<BackendId, Failure> {
        let spec = job.spec();
        let now_ns = watch.clock.now_ns();
        let mut last = failure;
        watch.monitor.cell(&spec, self.members[broke].id).fallback();
        self.failed(class, broke, &last, now_ns);
        for (at, member) in self.members.iter().enumerate().filter(|(at, _)| *at != broke) {
            let out = member.id != BackendId::Portable && member.health.out_until_ns(now_ns).is_some();
            if out || !member.backend.supports(&spec) {
                continue;
            }
            let cell = watch.monitor.cell(&spec, member.id);
            cell.call();
            match member.backend.run(job) {
                Err(broken @ Failure::Broken(_)) => {
                    cell.fallback();
                    self.failed(class, at, &broken, now_ns);
                    last = broken;
                }
                answer => return answer.map(|()| member.id),
            }
        }
        Err(last)
    }

    /// Every way, whether open or not, with what is known of it: for people.
    pub(crate) fn explain(&self, spec: &Spec, now_ns: u64) -> Vec<(Way, Option<u64>, Option<String>)> {
        let (class, calibrated) = (self.class(spec), self.calibrated());
        let mut all: Vec<(Way, Option<u64>, Option<String>)> = Vec::new();
        for (at, member) in self.members.iter().enumerate() {
            let out = member.health.out_until_ns(now_ns).or(class.out_until_ns(at, now_ns));
            let refused = if !member.backend.supports(spec) {
                Some("does not run jobs like this".to_owned())
            } else if member.stand_in && all.iter().any(|(_, _, refused)| refused.is_none()) {
                Some("only asked for what nobody else runs".to_owned())
            } else {
                out.map(|until| {
                    let seconds = (until - now_ns).div_ceil(1_000_000_000);
                    format!("failed several times in a row: left out for another {seconds} s")
                })
            };
            let calibrated = calibrated.as_deref().filter(|_| refused.is_none());
            for way in self.ways_of(spec, at, calibrated) {
                all.push((way, class.last_ns(&way), refused.clone()));
            }
        }
        let key = |(way, _, refused): &(Way, Option<u64>, Option<String>)| {
            (refused.is_some(), way.predicted_ns.unwrap_or(f64::INFINITY))
        };
        all.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
        all
    }

    /// Until when a member is left out of everything, in seconds.
    pub(crate) fn out_for_s(&self, id: BackendId, now_ns: u64) -> Option<u64> {
        let member = self.members.iter().find(|member| member.id == id)?;
        Some((member.health.out_until_ns(now_ns)? - now_ns).div_ceil(1_000_000_000))
    }
}

/// How many calls there are to a timed one, so that timing costs a small share: a power of two.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn timed_every(expected_ns: f64) -> u32 {
    let calls = TIMING_NS / (TIMING_SHARE * expected_ns).max(TIMING_MIN_NS);
    (calls.ceil() as u32).max(1).next_power_of_two()
}
