//! Puts the engines' threads where `[pinning]` wants them, and says what the system refuses.
//!
//! The plan is the same in every process of the platform: it names all engines, each process places those it runs.

use nautilus_hardware::pinning::{PinningError, Plan, Request, Thread};
use nautilus_hardware::probe::{Root, Topology};
use nautilus_messages::EngineName;
use nautilus_service::{Config, ConfigError, StartError};

pub(crate) use nautilus_hardware::pinning::Applied;

/// What the configuration asks for, whether it is enabled or not.
pub(crate) fn request(config: &Config) -> Request {
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
pub(crate) fn plan(config: &Config) -> Result<Option<Plan>, StartError> {
    if !config.pinning.enabled {
        return Ok(None);
    }
    Plan::new(&Topology::read(&Root::system()), &request(config)).map(Some).map_err(|error| refusal(&error))
}

/// Applies the plan to the threads that this process has, once they run.
pub(crate) fn apply(plan: Option<Plan>) -> Result<Option<Applied>, StartError> {
    let Some(plan) = plan else { return Ok(None) };
    let applied = plan.apply(&Thread::all()).map_err(|error| refusal(&error))?;
    for placement in applied.placements() {
        tracing::info!(engine = placement.role, cpu = placement.cpu, policy = %placement.policy, "pinned");
    }
    for refused in applied.refused() {
        tracing::warn!("pinning is refused, {refused}");
    }
    for difference in applied.verify() {
        tracing::warn!("pinning is not in effect: {difference}");
    }
    Ok(Some(applied))
}

fn refusal(error: &PinningError) -> StartError {
    let key = match error {
        PinningError::Refused(_) => return StartError::Unavailable(error.to_string()),
        PinningError::UnknownCore { .. } => "pinning.cores",
        PinningError::Priority(_) => "pinning.realtime_priority",
    };
    ConfigError::Setting { key: key.to_owned(), message: error.to_string() }.into()
}
