//! The section `[pinning]`: which cores engines run on, and with what priority. What of it the system allows is found
//! out when it is applied.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The highest priority of a real-time thread on Linux.
const PRIORITY_MAX: u8 = 99;
/// CPUs that can be named, at most.
const CORES_MAX: usize = 1_024;

/// Cores and priorities of the engines' threads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pinning {
    /// Whether anything of it is done.
    pub enabled: bool,
    /// CPUs for the engines, taken in turn; empty leaves the choice to the planner.
    pub cores: Vec<usize>,
    /// 1 to 99, or 0 for none.
    pub realtime_priority: u8,
    /// Keep everything that was touched in memory.
    pub lock_memory: bool,
    /// No transparent huge pages.
    pub avoid_huge_pages: bool,
    /// Have the processor wake up fast rather than sleep deep.
    pub latency_request: bool,
    /// What the system refuses is an error, instead of a warning.
    pub required: bool,
}

impl Pinning {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse =
            |key: &str, message: String| Err(ConfigError::Setting { key: format!("pinning.{key}"), message });
        if self.realtime_priority > PRIORITY_MAX {
            return refuse(
                "realtime_priority",
                format!("it must be from 1 to {PRIORITY_MAX}, or 0 for none"),
            );
        }
        if self.cores.len() > CORES_MAX {
            return refuse("cores", format!("it may name {CORES_MAX} CPUs at most"));
        }
        Ok(())
    }
}
