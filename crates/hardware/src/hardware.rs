//! The front: everything that multiplies matrices asks here.
//!
//! A job goes to the backend that the router chose; when that one breaks, to the next, with the result as it was. It
//! never computes anything itself.

mod named;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::SystemTime;

use serde::Serialize;

use crate::backend::{Backend, BackendId, Failure, Family};
use crate::backends::{self, Listing};
use crate::jit::CacheStatistics;
use crate::job::{Job, Spec};
use crate::monitor::Monitor;
use crate::probe::cache::CacheError;
use crate::router::store::{self, Calibrated};
use crate::router::{Clock, Decision, Limits, Monotonic, PREFERENCE, Router, Watch, Way};
use crate::switches::Switches;
use crate::vectorised::Unit;
use crate::view::ShapeError;

/// How a [`Hardware`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Deterministic mode: this backend where it can run, otherwise the portable one, on one core, learning nothing:
    /// the same bits on every run.
    pub pin: Option<BackendId>,
    /// The most cores that one job may use; 0 is all.
    pub workers_max: usize,
    /// The most cores of one cluster that may run SME kernels at a time: they share the unit.
    pub sme_workers_max: usize,
    /// Where the calibration is kept; without a folder it is measured anew in every process.
    pub cache_folder: Option<PathBuf>,
    /// Where time is taken from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self { pin: None, workers_max: 0, sme_workers_max: 1, cache_folder: None, clock: Arc::new(Monotonic) }
    }
}

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operands do not belong together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// No backend could do it, or the matrix has no factor.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// The process's hardware was set up already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hardware is in use already: configure it before the first matrix job")]
pub struct AlreadyInUse;

/// One way to run a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Who would run it.
    pub backend: BackendId,
    /// On how many cores.
    pub workers: usize,
    /// What the calibrated model says that it takes; absent before calibration.
    pub predicted_ns: Option<f64>,
    /// What the newest timed call of nearly this shape took.
    pub last_measured_ns: Option<u64>,
    /// Why it cannot be chosen.
    pub refused: Option<String>,
}

/// A decision and what it was taken from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// The job.
    pub spec: Spec,
    /// Who would run it now.
    pub chosen: BackendId,
    /// On how many cores.
    pub workers: usize,
    /// Everyone, the fastest prediction first, then those without one in the order of preference, the refused last.
    pub candidates: Vec<Candidate>,
}

/// What is known of the speed of the backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Calibration {
    /// There is no measurement of this machine: jobs go by preference.
    Absent {
        /// Why what was stored is not used.
        reason: Option<String>,
    },
    /// It is being measured now.
    Measuring {
        /// Measurements so far.
        done: usize,
        /// Measurements in all.
        total: usize,
    },
    /// Jobs go by measurement.
    Measured {
        /// When, in seconds of UTC since 1970.
        at_unix_s: u64,
        /// How long ago.
        age_s: u64,
    },
}

/// A backend and whether it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendStatus {
    /// Which one.
    pub backend: BackendId,
    /// The family whose switch turns it off.
    pub family: Option<Family>,
    /// Whether jobs may go to it.
    pub on: bool,
    /// Why not, or why not at the moment.
    pub reason: Option<String>,
}

/// What stands where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Every backend of this build.
    pub backends: Vec<BackendStatus>,
    /// What the environment said.
    pub switches: Switches,
    /// What is known of their speed.
    pub calibration: Calibration,
    /// The only one in use, in deterministic mode.
    pub pinned: Option<BackendId>,
    /// The most cores that one job may use.
    pub workers_max: usize,
}

/// Why there is no new calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// In deterministic mode nothing is chosen, so nothing is measured.
    #[error(
        "a backend is pinned, so there is nothing to choose and nothing to measure: remove the pin to calibrate"
    )]
    Pinned,
    /// Somebody else measures.
    #[error("another thread of this process is calibrating: wait until it has finished")]
    Busy,
    /// It holds for this process, but the next one has to measure again.
    #[error(transparent)]
    NotStored(CacheError),
}

/// The machine's backends behind one door.
#[derive(Debug)]
pub struct Hardware {
    listings: Vec<Listing>,
    switches: Switches,
    options: Options,
    router: Router,
    monitor: Monitor,
    measuring: Measuring,
    file: Mutex<CalibrationFile>,
    unit: Unit,
}

/// What was seen of the stored calibration.
#[derive(Debug, Default)]
struct CalibrationFile {
    modified: Option<SystemTime>,
    /// Why it is not used.
    unused: Option<String>,
}

/// How far a calibration is.
#[derive(Debug, Default)]
struct Measuring {
    on: AtomicBool,
    done: AtomicUsize,
    total: AtomicUsize,
}

static SHARED: OnceLock<Hardware> = OnceLock::new();

impl Hardware {
    /// Hardware of its own, with the backends that are listed and allowed. Where the portable one is switched off or
    /// another is pinned, it stands in for what nobody else runs, so that no job is without a result. Reads the calibration in the cache folder, if there is one.
    #[must_use]
    pub fn new(listings: Vec<Listing>, switches: Switches, options: Options) -> Self {
        let pinned = |id: BackendId| options.pin.is_none_or(|pin| pin == id);
        let mut members: Vec<Arc<dyn Backend>> = listings
            .iter()
            .filter(|listing| switches.allow(listing.id) && pinned(listing.id))
            .filter_map(|listing| listing.backend.clone().ok())
            .collect();
        members.sort_by_key(|member| PREFERENCE.iter().position(|id| *id == member.id()));
        let portable = |listing: &&Listing| listing.id == BackendId::Portable;
        let listed = listings.iter().find(portable).and_then(|listing| listing.backend.clone().ok());
        let missing = !members.iter().any(|member| member.id() == BackendId::Portable);
        let stand_in = missing.then(|| listed.unwrap_or_else(|| Arc::new(backends::Portable)));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits {
            workers: match (options.pin, options.workers_max) {
                (Some(_), _) => 1,
                (None, 0) => cores,
                (None, max) => max,
            },
            sme_workers: options.sme_workers_max,
            pinned: options.pin.is_some(),
        };
        let unit = Unit::widest(|id| members.iter().any(|member| member.id() == id));
        let hardware = Self {
            listings,
            switches,
            options,
            router: Router::new(members, stand_in, limits),
            monitor: Monitor::default(),
            measuring: Measuring::default(),
            file: Mutex::default(),
            unit,
        };
        hardware.load();
        hardware
    }

    #[inline]
    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    fn file(&self) -> MutexGuard<'_, CalibrationFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache_folder(&self) -> Option<&Path> {
        self.options.cache_folder.as_deref().filter(|_| self.options.pin.is_none())
    }

    /// Uses the stored calibration, if there is one for these backends; whether there is.
    fn load(&self) -> bool {
        let Some(folder) = self.cache_folder() else { return false };
        let members: Vec<BackendId> = self.router.members.iter().map(|member| member.id).collect();
        // Asked before it is read: what is written in between is read once more.
        let modified = store::modified(folder);
        let (found, unused) = match store::load(folder, &members) {
            Ok(Some(calibrated)) => {
                self.router.adopt(calibrated);
                (true, None)
            }
            Ok(None) => (false, None),
            Err(reason) => {
                tracing::warn!("{reason}");
                (false, Some(reason))
            }
        };
        *self.file() = CalibrationFile { modified, unused };
        found
    }

    /// Uses what another process measured meanwhile.
    fn reload(&self) {
        let modified = self.cache_folder().and_then(store::modified);
        if modified.is_some() && modified != self.file().modified && !self.measuring.on.load(Relaxed) {
            self.load();
        }
    }

    /// The process's own, made at first use from the environment's switches unless [`Hardware::configure`] came first.
    pub fn shared() -> &'static Self {
        SHARED.get_or_init(|| {
            let switches = Switches::from_environment().unwrap_or_else(|error| {
                tracing::error!(%error, "the hardware switches mean nothing and are left out");
                Switches::default()
            });
            Self::new(backends::listings(), switches, Options::default())
        })
    }

    /// One backend on one core: neither a file nor a measurement nor the environment decides, so that equal inputs give
    /// equal bits everywhere. AVX2 gives those of the portable backend, which stands in where there is no AVX2.
    #[must_use]
    pub fn reproducible() -> Self {
        #[cfg(target_arch = "x86_64")]
        let fast = backends::Avx2::open()
            .ok()
            .map(|avx2| Listing { id: BackendId::Avx2, backend: Ok(Arc::new(avx2)) });
        #[cfg(not(target_arch = "x86_64"))]
        let fast: Option<Listing> = None;
        let portable = Listing { id: BackendId::Portable, backend: Ok(Arc::new(backends::Portable)) };
        let pin = if fast.is_some() { BackendId::Avx2 } else { BackendId::Portable };
        let listings = fast.into_iter().chain([portable]).collect();
        Self::new(listings, Switches::default(), Options { pin: Some(pin), ..Options::default() })
    }

    /// Sets up the process's own.
    ///
    /// # Errors
    /// It is in use already.
    pub fn configure(switches: Switches, options: Options) -> Result<&'static Self, AlreadyInUse> {
        let mut fresh = false;
        let shared = SHARED.get_or_init(|| {
            fresh = true;
            Self::new(backends::listings(), switches, options)
        });
        if fresh { Ok(shared) } else { Err(AlreadyInUse) }
    }

    /// Runs a job where it is fastest and answers who did it.
    ///
    /// # Errors
    /// [`Failure::NotPositiveDefinite`] is an answer. [`Failure::Broken`] means that no backend could do it, and leaves
    /// the result as it was.
    #[allow(clippy::needless_pass_by_value)]
    #[inline]
    pub fn run(&self, mut job: Job<'_>) -> Result<BackendId, Failure> {
        self.run_in_place(&mut job)
    }

    fn run_in_place(&self, job: &mut Job<'_>) -> Result<BackendId, Failure> {
        let spec = job.spec();
        let decision = self.router.decide(&spec, &self.watch());
        let way = decision.chosen();
        if decision.is_timed() || way.workers > 1 {
            return self.run_watched(&decision, job, &spec);
        }
        decision.counter.call();
        match decision.member.run(job) {
            Err(broken @ Failure::Broken(_)) => self.run_elsewhere(&decision, way, job, broken),
            answer => answer.map(|()| decision.member.id),
        }
    }

    fn watch(&self) -> Watch<'_> {
        Watch { monitor: &self.monitor, clock: &*self.options.clock }
    }

    fn now_ns(&self) -> u64 {
        self.options.clock.now_ns()
    }

    #[cold]
    fn run_watched(&self, decision: &Decision, job: &mut Job<'_>, spec: &Spec) -> Result<BackendId, Failure> {
        let at = decision.timed_way();
        let way = decision.ways[at];
        let id = self.router.members[way.member].id;
        let cell = if at == decision.chosen {
            decision.counter.call();
            Arc::clone(decision.counter.cell())
        } else {
            let other = self.monitor.cell(spec, id);
            other.call();
            other
        };
        let start = self.now_ns();
        let answer = self.router.execute(decision, way, job, &self.watch());
        let now = self.now_ns();
        let took = now.saturating_sub(start);
        match answer {
            Err(broken @ Failure::Broken(_)) => return self.run_elsewhere(decision, way, job, broken),
            // A refusal may have come early: its time says nothing.
            Err(refusal) => return Err(refusal),
            Ok(()) => {}
        }
        cell.time(spec, took, decision.ways[0].predicted_ns);
        self.router.learn(decision, at, took, now);
        Ok(id)
    }

    /// Has another backend do what `broke` could not.
    #[cold]
    fn run_elsewhere(
        &self,
        decision: &Decision,
        broke: Way,
        job: &mut Job<'_>,
        failure: Failure,
    ) -> Result<BackendId, Failure> {
        if broke.workers > 1 {
            // Every backend was asked for the part that broke, and the other parts are done.
            return Err(failure);
        }
        self.router.rescue(&decision.class, broke.member, job, failure, &self.watch())
    }

    /// The decision about a job and what it is taken from.
    #[must_use]
    pub fn route(&self, spec: &Spec) -> Route {
        let now_ns = self.now_ns();
        let decision = self.router.decide(spec, &self.watch());
        let candidates =
            self.router.explain(spec, now_ns).into_iter().map(|(way, last, refused)| Candidate {
                backend: self.router.members[way.member].id,
                workers: way.workers,
                predicted_ns: way.predicted_ns,
                last_measured_ns: last,
                refused,
            });
        let chosen = decision.chosen();
        Route {
            spec: *spec,
            chosen: decision.member.id,
            workers: chosen.workers,
            candidates: candidates.collect(),
        }
    }

    /// What stands where. Looks whether another process has calibrated meanwhile, and then goes by that.
    #[must_use]
    pub fn status(&self) -> Status {
        self.reload();
        let now_ns = self.now_ns();
        let backends = self.listings.iter().map(|listing| {
            let id = listing.id;
            let reason = match &listing.backend {
                Err(reason) => Some(reason.clone()),
                Ok(_) if !self.switches.allow(id) => Some("switched off".to_owned()),
                Ok(_) if self.router.members.iter().all(|member| member.id != id || member.stand_in) => {
                    Some("another backend is pinned".to_owned())
                }
                Ok(_) => self
                    .router
                    .out_for_s(id, now_ns)
                    .map(|s| format!("failed several times in a row: left out for another {s} s")),
            };
            BackendStatus { backend: id, family: id.family(), on: reason.is_none(), reason }
        });
        Status {
            backends: backends.collect(),
            switches: self.switches.clone(),
            calibration: self.calibration(),
            pinned: self.options.pin,
            workers_max: self.router.limits.workers,
        }
    }

    fn calibration(&self) -> Calibration {
        if self.measuring.on.load(Relaxed) {
            let Measuring { done, total, .. } = &self.measuring;
            return Calibration::Measuring { done: done.load(Relaxed), total: total.load(Relaxed) };
        }
        match self.router.calibrated() {
            Some(calibrated) => {
                Calibration::Measured { at_unix_s: calibrated.stored.at_unix_s, age_s: calibrated.age_s() }
            }
            None => Calibration::Absent { reason: self.file().unused.clone() },
        }
    }

    /// What the cache of generated kernels did so far, where kernels are generated.
    #[must_use]
    pub fn generated(&self) -> Option<CacheStatistics> {
        self.listings.iter().find_map(|listing| listing.backend.as_ref().ok()?.cache_statistics())
    }

    /// Counters and times.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Measures every backend on this machine, which takes some seconds of one core, and keeps the result in the cache
    /// folder. `progress` hears how many of how many measurements are done. Where another process is at it, waits and
    /// takes what that one measured.
    ///
    /// # Errors
    /// A backend is pinned, another thread of this process is at it, or the result could not be stored (it is used all
    /// the same).
    pub fn calibrate(&self, mut progress: impl FnMut(usize, usize)) -> Result<(), CalibrationError> {
        if self.options.pin.is_some() {
            return Err(CalibrationError::Pinned);
        }
        if self.measuring.on.swap(true, Relaxed) {
            return Err(CalibrationError::Busy);
        }
        let result = self.calibrate_now(|done, total| {
            self.measuring.done.store(done, Relaxed);
            self.measuring.total.store(total, Relaxed);
            progress(done, total);
        });
        self.measuring.on.store(false, Relaxed);
        result
    }

    fn calibrate_now(&self, progress: impl FnMut(usize, usize)) -> Result<(), CalibrationError> {
        let folder = self.options.cache_folder.as_deref();
        // Without a lock two processes may measure at once, which costs time and nothing else.
        let turn = folder.and_then(|folder| store::turn(folder).ok());
        if turn.as_ref().is_some_and(|turn| turn.waited) && self.load() {
            return Ok(());
        }
        let stored = self.router.measure(&*self.options.clock, progress);
        let saved = folder.map_or(Ok(()), |folder| store::save(folder, &stored));
        *self.file() = CalibrationFile { modified: folder.and_then(store::modified), unused: None };
        self.router.adopt(Calibrated::new(stored));
        saved.map_err(CalibrationError::NotStored)
    }
}
