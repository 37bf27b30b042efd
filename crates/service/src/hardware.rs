//! The machine in every service: set up once per process, measured at the first start, shown at `/v1/hardware`.
//!
//! Which backend runs a job is decided by `nautilus_hardware`; here is only what every service says and asks of it.

mod meters;
mod question;
mod report;
mod settings;

use std::time::Instant;

use nautilus_hardware::probe::cache;
use nautilus_hardware::probe::peaks::{self, Level};
use nautilus_hardware::{
    BackendId, Calibration, CalibrationError, ElementType, Hardware, Options, Peaks, Status, Switches,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use meters::record;
pub use question::{Question, SIZE_MAX, sizes};
use report::probed;
pub use report::{FamilySwitch, Generated, Machine, Report, Route, Work};
pub use settings::Settings;

use crate::config::ConfigError;
use crate::problem::{Json, Problem, Query};

/// Sets up the process's hardware from the settings and the environment's switches, and measures it in the background
/// where that was never done.
///
/// # Errors
/// A switch means nothing, or the pinned backend cannot run here.
pub fn start(settings: &Settings) -> Result<&'static Hardware, ConfigError> {
    let hardware = configure(settings)?;
    if settings.calibrate && matches!(hardware.status().calibration, Calibration::Absent { .. }) {
        let measure = move || measure_in_background(hardware);
        let thread = std::thread::Builder::new().name("calibration".to_owned()).spawn(measure);
        if let Err(error) = thread {
            tracing::warn!(%error, "the machine is not measured: there is no thread for it");
        }
    }
    Ok(hardware)
}

/// Refuses what [`start`] would, for a process that runs no jobs itself. Backends are opened only where one is pinned.
///
/// # Errors
/// As [`start`].
pub fn check(settings: &Settings) -> Result<(), ConfigError> {
    if settings.pin_backend.is_empty() {
        Switches::from_environment()?;
    } else {
        configure(settings)?;
    }
    Ok(())
}

/// The same without measuring.
///
/// # Errors
/// A switch means nothing, or the pinned backend cannot run here.
pub fn configure(settings: &Settings) -> Result<&'static Hardware, ConfigError> {
    let switches = Switches::from_environment()?;
    let pin = settings.pinned()?;
    let given = Some(settings.cache_folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
    let cache_folder = given.or_else(|| cache::folder().ok());
    let options = Options { pin, workers_max: settings.workers_max, cache_folder, ..Options::default() };
    // A second platform of one process, as in tests, shares what the first has set up.
    let hardware = Hardware::configure(switches, options).unwrap_or_else(|_| Hardware::shared());
    if let Ok(Some(peaks)) = peaks::load() {
        hardware.monitor().set_peaks(of_one_core(&peaks));
    }
    let status = hardware.status();
    if let Some(reason) = pin.and_then(|pin| why_not(&status, pin)) {
        let pin = &settings.pin_backend;
        let message = format!("{pin} cannot run here ({reason}); `nautilus hardware` lists what can");
        return Err(settings::refused("hardware.pin_backend", &message));
    }
    if let Some((forced, reason)) = status.switches.force.and_then(|id| Some((id, why_not(&status, id)?))) {
        tracing::warn!(
            "NAUTILUS_BACKEND_FORCE names {forced}, which cannot run here, so portable does its work: {reason}"
        );
    }
    Ok(hardware)
}

/// Why a backend is not in use.
fn why_not(status: &Status, id: BackendId) -> Option<String> {
    let found = status.backends.iter().find(|backend| backend.backend == id);
    let Some(found) = found else { return Some("this build does not have it".to_owned()) };
    (!found.on).then(|| found.reason.clone().unwrap_or_else(|| "it is off".to_owned()))
}

/// Measures what the processor reaches and how fast each backend is, and keeps both for later processes. `progress`
/// hears what is measured, and how much of it is done.
///
/// # Errors
/// As [`Hardware::calibrate`].
pub fn measure(
    hardware: &Hardware,
    mut progress: impl FnMut(&'static str, usize, usize),
) -> Result<(), CalibrationError> {
    let complain = |error: cache::CacheError| tracing::warn!("{error}");
    let (peaks, _) =
        peaks::cached_or_measured(probed(), |done, total| progress("processor", done, total), complain);
    hardware.monitor().set_peaks(of_one_core(&peaks));
    hardware.calibrate(|done, total| progress("backends", done, total))
}

/// What the monitor compares with: 10⁹ a second, 0 where it was not measured.
fn of_one_core(peaks: &peaks::Peaks) -> Peaks {
    let arithmetic = |element| peaks.arithmetic_of(element).unwrap_or_default() / 1e9;
    let levels = [Level::L1, Level::L2, Level::L3, Level::Memory];
    Peaks {
        gflops_f32: arithmetic(ElementType::F32),
        gflops_f64: arithmetic(ElementType::F64),
        gbps: levels.map(|level| peaks.bandwidth_of(level).unwrap_or_default() / 1e9),
    }
}

/// Measures when nothing else wants to run. The process does not wait for it: a stop loses what was not stored.
fn measure_in_background(hardware: &'static Hardware) {
    yield_to_everybody();
    let start = Instant::now();
    tracing::info!("measuring this machine, once, in the background");
    match measure(hardware, |_, _, _| {}) {
        Ok(()) => tracing::info!(seconds = start.elapsed().as_secs_f64(), "this machine is measured"),
        Err(error) => tracing::info!("this machine is not measured: {error}"),
    }
}

/// On Linux a thread has a priority of its own, which the threads that it starts take over.
fn yield_to_everybody() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "the calibration keeps its priority");
    }
}

/// The machine, the backends that run on it and why others do not, and what was done with which speed. Backends are the
/// process's: services that share one answer the same.
#[utoipa::path(get, path = "/v1/hardware", tag = "hardware", security(("api_key" = ["read"])),
    responses((status = 200, body = Report)))]
async fn hardware() -> Json<Report> {
    Json(Report::of(Hardware::shared()))
}

/// Where a job of this shape would go and why: every candidate with its predicted and its last measured time.
#[utoipa::path(get, path = "/v1/hardware/route", tag = "hardware", security(("api_key" = ["read"])),
    params(Question),
    responses((status = 200, body = Route), (status = 400, description = "No such job", body = Problem)))]
async fn hardware_route(Query(question): Query<Question>) -> Result<Json<Route>, Problem> {
    let spec = question.spec().map_err(|reason| Problem::bad_request("invalid_query", reason))?;
    Ok(Json(Route::of(Hardware::shared(), &spec)))
}

/// The routes, whatever the service's state.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(hardware)).routes(routes!(hardware_route))
}
