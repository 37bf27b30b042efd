//! The marketdata service's own settings: section `[engines.marketdata]`.

use std::path::{Path, PathBuf};

use nautilus_engine_marketdata::Config;
use serde::{Deserialize, Serialize};

/// Section `[engines.marketdata]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Recordings that `POST /v1/replays` may open lie in this folder or below, and end in a recording's name.
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
    /// How many minutes of past there are at the start, so that bars and VPIN are there at once. At most a day.
    pub past_minutes: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replay_root: "/".into(), engine: Config::default(), simulator: SimulatorSettings::default() }
    }
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self { seed: 1, instruments: 4, events_per_second: 20.0, past_minutes: 60 }
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
        let known = [".dbn", ".dbn.zst", ".csv", ".csv.gz"];
        if !known.iter().any(|ending| real.to_string_lossy().ends_with(ending)) {
            return Err(format!("{shown} is no recording by its name; it must end in {}", known.join(", ")));
        }
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
    fn only_recordings_below_the_root_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("folder.csv")).unwrap();
        for file in ["outside.csv", "root/inside.csv", "root/secret.txt"] {
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        let settings = Settings { replay_root: root.clone(), ..Settings::default() };
        assert!(settings.recording(&root.join("inside.csv")).is_ok());
        for (path, reason) in [
            ("../outside.csv", "outside"),
            ("secret.txt", "no recording by its name"),
            ("none.csv", "cannot be opened"),
            ("folder.csv", "not a file"),
        ] {
            assert!(settings.recording(&root.join(path)).unwrap_err().contains(reason), "{path}");
        }
    }
}
