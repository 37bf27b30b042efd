//! The calibration as it is kept: one file per processor, trusted only where every value could have been measured here.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::model::{Curve, Kind, Series, kind};
use crate::backend::BackendId;
use crate::job::Spec;
use crate::probe::cache::{self, CacheError};

/// Files of other versions are measured anew.
const VERSION: u32 = 1;
const SERIES_MAX: usize = 4_096;
const POINTS_MAX: usize = 1_024;
/// A quarter of an hour: nothing that is measured takes longer.
const NS_MAX: f64 = 1e12;
const SIZE_MAX: usize = 1 << 40;
const WORKERS_MAX: usize = 4_096;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) version: u32,
    /// The program that measured: other kernels have other speeds.
    pub(crate) build: String,
    pub(crate) cpu: String,
    pub(crate) backends: Vec<BackendId>,
    pub(crate) at_unix_s: u64,
    /// What starting and joining one thread costs.
    pub(crate) thread_ns: f64,
    /// Numbers of cores, and how much of each an evenly cut product could use.
    pub(crate) shares: Vec<(usize, f64)>,
    pub(crate) series: Vec<Series>,
}

/// The calibration in use.
#[derive(Debug)]
pub(crate) struct Calibrated {
    pub(crate) stored: Stored,
    curves: HashMap<(Kind, BackendId), Curve>,
}

/// The same in every program that was built from these sources in this way.
fn build() -> &'static str {
    concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), " ", env!("NAUTILUS_HARDWARE_BUILD"))
}

impl Stored {
    pub(crate) fn new(
        mut backends: Vec<BackendId>,
        thread_ns: f64,
        shares: Vec<(usize, f64)>,
        series: Vec<Series>,
    ) -> Self {
        backends.sort_unstable();
        Self {
            version: VERSION,
            build: build().to_owned(),
            cpu: cache::cpu_id().to_owned(),
            backends,
            at_unix_s: now_unix_s(),
            thread_ns,
            shares,
            series,
        }
    }

    /// Why this is not a measurement of these backends on this machine by this program.
    pub(crate) fn refuse(&self, backends: &[BackendId]) -> Option<String> {
        let time = |ns: f64| ns.is_finite() && ns > 0.0 && ns < NS_MAX;
        let sizes = |sizes: &[usize; 4]| sizes.iter().all(|&size| size < SIZE_MAX);
        let points = |series: &Series| {
            series.points.len() <= POINTS_MAX && series.points.iter().all(|p| time(p.ns) && sizes(&p.sizes))
        };
        let share = |&(workers, share): &(usize, f64)| {
            (1..=WORKERS_MAX).contains(&workers) && share > 0.0 && share <= 1.0
        };
        let reason = if self.version != VERSION || self.build != build() {
            "it is of another version"
        } else if self.cpu != cache::cpu_id() {
            "it is of another processor"
        } else if !backends.iter().all(|backend| self.backends.contains(backend)) {
            "a backend was not there when it was measured"
        } else if self.at_unix_s > now_unix_s() {
            "it was measured in the future"
        } else if self.series.len() > SERIES_MAX || !self.series.iter().all(points) {
            "it holds times or sizes that cannot be"
        } else if !time(self.thread_ns) || self.shares.len() > WORKERS_MAX || !self.shares.iter().all(share) {
            "its costs of threads cannot be"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }
}

impl Calibrated {
    pub(crate) fn new(stored: Stored) -> Self {
        let curve = |series: &Series| Some(((series.kind, series.backend), Curve::through(series)?));
        let curves = stored.series.iter().filter_map(curve).collect();
        Self { stored, curves }
    }

    /// What `backend` takes for a job on one core, where jobs of its kind were measured.
    pub(crate) fn predict_ns(&self, spec: &Spec, backend: BackendId) -> Option<f64> {
        let (kind, sizes) = kind(spec);
        Some(self.curves.get(&(kind, backend))?.predict_ns(sizes))
    }

    /// The share of each of `workers` cores that a cut product could use.
    pub(crate) fn share(&self, workers: usize) -> Option<f64> {
        self.stored.shares.iter().find(|(cores, _)| *cores == workers).map(|(_, share)| *share)
    }

    pub(crate) fn age_s(&self) -> u64 {
        now_unix_s().saturating_sub(self.stored.at_unix_s)
    }
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn path(folder: &Path) -> PathBuf {
    folder.join(format!("calibration-{}.json", cache::cpu_id()))
}

/// When the calibration in a folder was written, if there is one.
pub(crate) fn modified(folder: &Path) -> Option<SystemTime> {
    path(folder).metadata().ok()?.modified().ok()
}

/// The calibration in a folder, if there is one; or why it cannot be used.
pub(crate) fn load(folder: &Path, backends: &[BackendId]) -> Result<Option<Calibrated>, String> {
    let path = path(folder);
    let Some(stored) = cache::read_json::<Stored>(&path).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    match stored.refuse(backends) {
        None => Ok(Some(Calibrated::new(stored))),
        Some(reason) => Err(format!("the calibration {} is not used: {reason}", path.display())),
    }
}

pub(crate) fn save(folder: &Path, stored: &Stored) -> Result<(), CacheError> {
    cache::write_json_atomically(&path(folder), stored)
}

/// The right to measure: one process at a time. The system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Turn {
    _file: File,
    /// Whether another process measured meanwhile.
    pub(crate) waited: bool,
}

/// Waits for the turn. Where locks cannot be had, two processes may measure at once, which only costs time.
pub(crate) fn turn(folder: &Path) -> std::io::Result<Turn> {
    std::fs::create_dir_all(folder)?;
    let file = File::options().create(true).append(true).open(folder.join("calibration.lock"))?;
    let waited = file.try_lock().is_err();
    if waited {
        file.lock()?;
    }
    Ok(Turn { _file: file, waited })
}
