//! The section `[checkpoint]`: where engines that ask for it keep their state, and how often.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The longest interval: a day.
const INTERVAL_MAX_S: u64 = 86_400;

/// Where engines keep their state over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// One file per engine lies here; empty keeps nothing and restores nothing.
    pub folder: PathBuf,
    /// Seconds between two checkpoints.
    pub interval_s: u64,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { folder: "data/checkpoints".into(), interval_s: 60 }
    }
}

impl Checkpoint {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=INTERVAL_MAX_S).contains(&self.interval_s) {
            return Err(ConfigError::Setting {
                key: "checkpoint.interval_s".to_owned(),
                message: format!(
                    "it must be from 1 to {INTERVAL_MAX_S}; an empty folder keeps no checkpoints"
                ),
            });
        }
        Ok(())
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s)
    }
}
