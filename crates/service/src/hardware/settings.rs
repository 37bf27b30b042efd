//! Section `[hardware]`: whether the machine is measured, and what jobs may use of it.
//!
//! Which backends may run at all is said by the environment's switches, not here.

use std::path::PathBuf;

use nautilus_hardware::BackendId;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// Threads per job, at most.
const WORKERS_MAX: usize = 1_024;

/// Section `[hardware]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Measure this machine at the first start, in the background, and keep the result.
    pub calibrate: bool,
    /// The one backend that runs every job, on one thread: equal inputs give equal bits. Empty to choose by measurement.
    pub pin_backend: String,
    /// Threads that one job may use; 0 for as many as there are cores.
    pub workers_max: usize,
    /// Where the backends' speeds are kept; empty for `$NAUTILUS_CACHE_DIR`, or else the user's cache folder.
    pub cache_folder: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { calibrate: true, pin_backend: String::new(), workers_max: 0, cache_folder: PathBuf::new() }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.pinned()?;
        if self.workers_max > WORKERS_MAX {
            return Err(refused("hardware.workers_max", &format!("it must be from 0 to {WORKERS_MAX}")));
        }
        Ok(())
    }

    /// The backend that is pinned, if any.
    pub(super) fn pinned(&self) -> Result<Option<BackendId>, ConfigError> {
        let name = Some(self.pin_backend.as_str()).filter(|name| !name.is_empty());
        name.map(str::parse).transpose().map_err(|reason: String| refused("hardware.pin_backend", &reason))
    }
}

pub(super) fn refused(key: &str, message: &str) -> ConfigError {
    ConfigError::Setting { key: key.to_owned(), message: message.to_owned() }
}
