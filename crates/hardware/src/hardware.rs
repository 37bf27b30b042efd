//! The front: everything that multiplies matrices asks here.
//!
//! A job goes to the backend that the router chose; when that one breaks, to the next, with the result as it was. It
//! never computes anything itself.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use crate::backend::{Backend, BackendId, Failure, Family};
use crate::backends::{self, Listing};
use crate::element::Element;
use crate::job::{
    Axpy, BatchedGemm, Cholesky, Dot, Gemm, GemmI8, Job, QuadraticForm, Solve, Spec, Syrk, Task,
};
use crate::monitor::Monitor;
use crate::router::{Clock, Monotonic, PREFERENCE};
use crate::switches::Switches;
use crate::view::{Batch, BatchMut, Matrix, MatrixMut, ShapeError};

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

/// The machine's backends behind one door.
#[derive(Debug)]
pub struct Hardware {
    listings: Vec<Listing>,
    members: Vec<Arc<dyn Backend>>,
    switches: Switches,
    options: Options,
    monitor: Monitor,
}

static SHARED: OnceLock<Hardware> = OnceLock::new();

impl Hardware {
    /// Hardware of its own, with the backends that are listed and allowed. The portable one is always among them, so
    /// that no job is without a result.
    #[must_use]
    pub fn new(listings: Vec<Listing>, switches: Switches, options: Options) -> Self {
        let mut members: Vec<Arc<dyn Backend>> = listings
            .iter()
            .filter(|listing| switches.allow(listing.id))
            .filter_map(|listing| listing.backend.clone().ok())
            .collect();
        if !members.iter().any(|member| member.id() == BackendId::Portable) {
            members.push(Arc::new(backends::Portable));
        }
        members.sort_by_key(|member| PREFERENCE.iter().position(|id| *id == member.id()));
        Self { listings, members, switches, options, monitor: Monitor::default() }
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
    pub fn run(&self, mut job: Job<'_>) -> Result<BackendId, Failure> {
        let spec = job.spec();
        let mut last = Failure::Broken(format!("no backend runs {} here", spec.op));
        for member in self.members.iter().filter(|member| member.supports(&spec)) {
            let cell = self.monitor.cell(&spec, member.id());
            cell.call();
            let start = self.options.clock.now_ns();
            match member.run(&mut job) {
                Err(broken @ Failure::Broken(_)) => {
                    cell.fallback();
                    last = broken;
                }
                answer => {
                    cell.time(&spec, self.options.clock.now_ns().saturating_sub(start), None);
                    return answer.map(|()| member.id());
                }
            }
        }
        Err(last)
    }

    /// The decision about a job and what it is taken from.
    #[must_use]
    pub fn route(&self, spec: &Spec) -> Route {
        let candidates: Vec<_> = self
            .members
            .iter()
            .map(|member| Candidate {
                backend: member.id(),
                workers: 1,
                predicted_ns: None,
                last_measured_ns: None,
                refused: (!member.supports(spec)).then(|| "does not run jobs like this".to_owned()),
            })
            .collect();
        let chosen = candidates.iter().find(|candidate| candidate.refused.is_none());
        let chosen = chosen.map_or(BackendId::Portable, |candidate| candidate.backend);
        Route { spec: *spec, chosen, workers: 1, candidates }
    }

    /// What stands where.
    #[must_use]
    pub fn status(&self) -> Status {
        let backends = self.listings.iter().map(|listing| {
            let reason = match &listing.backend {
                Err(reason) => Some(reason.clone()),
                Ok(_) if !self.switches.allow(listing.id) => Some("switched off".to_owned()),
                Ok(_) => None,
            };
            BackendStatus { backend: listing.id, family: listing.id.family(), on: reason.is_none(), reason }
        });
        Status {
            backends: backends.collect(),
            switches: self.switches.clone(),
            calibration: Calibration::Absent { reason: None },
            pinned: self.options.pin,
            workers_max: 1,
        }
    }

    /// Counters and times.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Measures every backend on this machine, which takes seconds, and keeps the result in the cache folder.
    /// `progress` hears how many of how many measurements are done.
    ///
    /// # Errors
    /// Another process or thread is at it, or the result could not be stored (it is used all the same).
    pub fn calibrate(&self, mut progress: impl FnMut(usize, usize)) -> Result<(), CalibrationError> {
        progress(0, 0);
        Ok(())
    }
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
    #[error("another process or thread is calibrating: wait until it has finished")]
    Busy,
    /// It holds for this process, but the next one has to measure again.
    #[error("the calibration could not be stored in {folder}: {reason}")]
    NotStored {
        /// Where it should have gone.
        folder: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// Operations by name.
impl Hardware {
    /// C ← α·A·B + β·C, A m×k, B k×n, C m×n.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    pub fn gemm<'a, T: Element>(
        &self,
        alpha: T,
        a: Matrix<'a, T>,
        b: Matrix<'a, T>,
        beta: T,
        c: MatrixMut<'a, T>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Gemm(Gemm::new(alpha, a, b, beta, c)?)))?)
    }

    /// y ← α·A·x + β·y, A m×k.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    pub fn gemv<T: Element>(
        &self,
        alpha: T,
        a: Matrix<'_, T>,
        x: &[T],
        beta: T,
        y: &mut [T],
    ) -> Result<BackendId, Error> {
        self.gemm(alpha, a, Matrix::column(x), beta, MatrixMut::column(y))
    }

    /// C ← α·A·Aᵀ + β·C, A m×k; both triangles of C are written, its lower one is read.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    pub fn syrk<'a, T: Element>(
        &self,
        alpha: T,
        a: Matrix<'a, T>,
        beta: T,
        c: MatrixMut<'a, T>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Syrk(Syrk::new(alpha, a, beta, c)?)))?)
    }

    /// xᵀ·A·x, A m×m.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    pub fn quadratic_form<T: Element>(&self, a: Matrix<'_, T>, x: &[T]) -> Result<T, Error> {
        let mut result = T::ZERO;
        self.run(T::job(Task::QuadraticForm(QuadraticForm::new(a, Matrix::column(x), &mut result)?)))?;
        Ok(result)
    }

    /// Cᵢ ← α·Aᵢ·Bᵢ + β·Cᵢ for each matrix of the batch.
    ///
    /// # Errors
    /// The shapes or counts do not belong together, or nothing could do it.
    pub fn batched_gemm<'a, T: Element>(
        &self,
        alpha: T,
        a: Batch<'a, T>,
        b: Batch<'a, T>,
        beta: T,
        c: BatchMut<'a, T>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::BatchedGemm(BatchedGemm::new(alpha, a, b, beta, c)?)))?)
    }

    /// A = L·Lᵀ in place: the lower triangle of A becomes L, its strict upper triangle is left alone.
    ///
    /// # Errors
    /// A is not square or not positive definite, or nothing could do it.
    pub fn cholesky<T: Element>(&self, a: MatrixMut<'_, T>) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Cholesky(Cholesky::new(a)?)))?)
    }

    /// X with L·Lᵀ·X = B in the place of B, L as [`Hardware::cholesky`] leaves it.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    pub fn solve<'a, T: Element>(&self, l: Matrix<'a, T>, b: MatrixMut<'a, T>) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Solve(Solve::new(l, b)?)))?)
    }

    /// Σ xᵢ·yᵢ.
    ///
    /// # Errors
    /// The lengths differ, or nothing could do it.
    pub fn dot<T: Element>(&self, x: &[T], y: &[T]) -> Result<T, Error> {
        let mut result = T::ZERO;
        self.run(T::job(Task::Dot(Dot::new(Matrix::column(x), Matrix::column(y), &mut result)?)))?;
        Ok(result)
    }

    /// y ← α·x + y.
    ///
    /// # Errors
    /// The lengths differ, or nothing could do it.
    pub fn axpy<T: Element>(&self, alpha: T, x: &[T], y: &mut [T]) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Axpy(Axpy::new(alpha, Matrix::column(x), MatrixMut::column(y))?)))?)
    }

    /// C ← A·B, exactly, A m×k, B k×n, k at most [`GemmI8::K_MAX`].
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    pub fn gemm_i8<'a>(
        &self,
        a: Matrix<'a, u8>,
        b: Matrix<'a, i8>,
        c: MatrixMut<'a, i32>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(Job::I8(GemmI8::new(a, b, c)?))?)
    }
}
