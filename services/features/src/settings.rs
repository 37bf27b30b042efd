//! The features service's settings: section `[engines.features]`. What a definition means is the engine's business; which
//! line of the configuration a bad one stands in is found here.

use std::path::PathBuf;
use std::sync::Arc;

use nautilus_engine_features::{Config as EngineConfig, Fundamentals, Registry, Template};
use nautilus_messages::BarSpec;
use nautilus_service::{Config, ConfigError};
use serde::{Deserialize, Serialize};

/// Section `[engines.features]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The bars that everything but microstructure ticks by; the hub has to build them.
    pub bar: BarSpec,
    /// How long bars that close together are waited for, in milliseconds of market time.
    pub settle_ms: u64,
    /// Intervals after which an instrument without a bar is no longer compared with others.
    pub universe_age_bars: u64,
    /// Bytes of history kept in memory.
    pub history_bytes: usize,
    /// Instruments; further ones are ignored.
    pub instruments_max: usize,
    /// A table of fundamentals, as CSV; empty for none.
    pub fundamentals: PathBuf,
    /// The user's own definitions.
    pub definitions: Vec<Template>,
}

impl Default for Settings {
    fn default() -> Self {
        let EngineConfig { bar, settle_ms, universe_age_bars, history_bytes, instruments_max } =
            EngineConfig::default();
        Self {
            bar,
            settle_ms,
            universe_age_bars,
            history_bytes,
            instruments_max,
            fundamentals: PathBuf::new(),
            definitions: Vec::new(),
        }
    }
}

impl Settings {
    /// What of it is the engine's.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub(crate) fn engine(&self) -> Result<EngineConfig, ConfigError> {
        let engine = EngineConfig {
            bar: self.bar,
            settle_ms: self.settle_ms,
            universe_age_bars: self.universe_age_bars,
            history_bytes: self.history_bytes,
            instruments_max: self.instruments_max,
        };
        let refuse = |message| ConfigError::Setting { key: "engines.features".to_owned(), message };
        engine.check().map(|()| engine).map_err(refuse)
    }

    /// The standard definitions and the user's.
    ///
    /// # Errors
    /// The line of the first definition that is wrong, and why it is.
    pub(crate) fn registry(&self, config: &Config) -> Result<Arc<Registry>, ConfigError> {
        let registry = Registry::new(&self.definitions).map_err(|error| {
            let key = match error.template {
                Some(index) => format!("engines.features.definitions[{index}].formula"),
                None => "engines.features.definitions".to_owned(),
            };
            config.refuse(&key, error.to_string())
        });
        registry.map(Arc::new)
    }

    /// The table of fundamentals, empty where none is named.
    ///
    /// # Errors
    /// The file, the line and what is wrong with it.
    pub(crate) fn fundamentals(&self, config: &Config) -> Result<Arc<Fundamentals>, ConfigError> {
        if self.fundamentals.as_os_str().is_empty() {
            return Ok(Arc::default());
        }
        let refuse = |reason: String| {
            let file = self.fundamentals.display();
            config.refuse("engines.features.fundamentals", format!("{file} {reason}"))
        };
        let text = std::fs::read_to_string(&self.fundamentals)
            .map_err(|error| refuse(format!("cannot be read: {error}")))?;
        Fundamentals::parse(&text).map(Arc::new).map_err(|error| refuse(error.to_string()))
    }
}
