//! Puts the engines' threads where `[pinning]` wants them, and says what the system refuses.
//!
//! The plan is the same in every process of the platform: it names all engines, each process places those it runs.

use crate::config::{Config, ConfigError};
use crate::platform::StartError;
use nautilus_hardware::pinning::{PinningError, Plan, Request, Thread};
use nautilus_hardware::probe::{Root, Topology};
use nautilus_messages::EngineName;

pub use nautilus_hardware::pinning::Applied;

/// What the configuration asks for, whether it is enabled or not.
#[must_use]
pub fn request(config: &Config) -> Request {
    let pinning = &config.pinning;
    Request {
        // The name of an engine's thread is the engine's.
        roles: EngineName::ALL.map(|engine| engine.as_str().to_owned()).into(),
        cores: pinning.cores.clone(),
        realtime_priority: pinning.realtime_priority,
        lock_memory: pinning.lock_memory,
        avoid_huge_pages: pinning.avoid_huge_pages,
        latency_request: pinning.latency_request,
        required: pinning.required,
    }
}

/// The plan, where pinning is enabled.
///
/// # Errors
/// `[pinning]` names what this machine does not have.
pub fn plan(config: &Config) -> Result<Option<Plan>, StartError> {
    if !config.pinning.enabled {
        return Ok(None);
    }
    Plan::new(&Topology::read(&Root::system()), &request(config)).map(Some).map_err(|error| refusal(&error))
}

/// Applies the plan to the threads that this process has, once they run. Dropping the answer puts them back.
///
/// # Errors
/// The system refuses what is required.
pub fn apply(plan: Option<Plan>) -> Result<Option<Applied>, StartError> {
    let Some(plan) = plan else { return Ok(None) };
    let applied = plan.apply(&Thread::all()).map_err(|error| refusal(&error))?;
    for placement in applied.placements() {
        tracing::info!("pinned {} to CPU {}, {}", placement.role, placement.cpu, placement.policy);
    }
    for refused in applied.refused() {
        tracing::warn!("pinning is refused, {refused}");
    }
    for difference in applied.verify() {
        tracing::warn!("pinning is not in effect: {difference}");
    }
    Ok(Some(applied))
}

/// What only a thread itself can say, for as long as the answer is held: on macOS, that it wants the fastest cores.
#[cfg(target_os = "macos")]
pub(crate) fn raise_current_thread(enabled: bool) -> Option<nautilus_hardware::pinning::quality::Raised> {
    let raised = enabled.then(nautilus_hardware::pinning::quality::raise_current_thread)?;
    raised.inspect_err(|reason| tracing::warn!("pinning is refused, quality of service: {reason}")).ok()
}

/// Elsewhere threads are placed from outside.
#[cfg(not(target_os = "macos"))]
pub(crate) const fn raise_current_thread(_: bool) -> Option<std::convert::Infallible> {
    None
}

fn refusal(error: &PinningError) -> StartError {
    let key = match error {
        PinningError::Refused(_) => return StartError::Unavailable(error.to_string()),
        PinningError::UnknownCore { .. } => "pinning.cores",
        PinningError::Priority(_) => "pinning.realtime_priority",
    };
    ConfigError::Setting { key: key.to_owned(), message: error.to_string() }.into()
}
