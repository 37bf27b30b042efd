//! The marketdata service's own settings: section `[engines.marketdata]`.

use std::path::{Path, PathBuf};

use nautilus_engine_marketdata::Config;
use serde::{Deserialize, Serialize};

/// Section `[engines.marketdata]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Recordings that `POST /v1/replays` may open lie in this folder or below.
    pub replay_root: PathBuf,
    /// The engine's own settings.
    pub engine: Config,
    /// The exchange simulator that `nautilus up` starts.
    pub simulator: SimulatorSettings,
}

/// The exchange simulator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorSettings {
    /// Equal seeds give equal markets.
    pub seed: u64,
    /// Instruments, named SIM01, SIM02 …
    pub instruments: usize,
    /// Events per second and instrument, on average.
    pub events_per_second: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replay_root: "/".into(), engine: Config::default(), simulator: SimulatorSettings::default() }
    }
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self { seed: 1, instruments: 4, events_per_second: 200.0 }
    }
}

impl Settings {
    /// The real path of a recording, where it lies below the root. Relative paths count from the working folder.
    ///
    /// # Errors
    /// One sentence for a path that does not exist or lies elsewhere.
    pub fn recording(&self, path: &Path) -> Result<PathBuf, String> {
        let shown = path.display();
        let real = path.canonicalize().map_err(|error| format!("{shown} cannot be opened: {error}"))?;
        let root = self.replay_root.canonicalize().map_err(|error| {
            format!("engines.marketdata.replay_root {} cannot be opened: {error}", self.replay_root.display())
        })?;
        if !real.starts_with(&root) {
            return Err(format!("{shown} lies outside of {}; move it there", root.display()));
        }
        if !real.is_file() {
            return Err(format!("{shown} is not a file"));
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_outside_of_the_root_are_refused() {
        let settings = Settings { replay_root: env!("CARGO_MANIFEST_DIR").into(), ..Settings::default() };
        let inside = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/settings.rs");
        assert!(settings.recording(&inside).is_ok());
        let escape = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        assert!(settings.recording(&escape).unwrap_err().contains("outside"));
        assert!(settings.recording(Path::new("/no/such/file")).unwrap_err().contains("cannot be opened"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert!(settings.recording(&folder).unwrap_err().contains("not a file"));
    }
}
