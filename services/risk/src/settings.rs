//! The risk service's settings: section `[engines.risk]`.

use nautilus_engine_risk::Settings as EngineSettings;
use nautilus_service::ConfigError;
use nautilus_types::Currency;
use serde::{Deserialize, Serialize};

/// Section `[engines.risk]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The firm's currency: what portfolios in others are converted into.
    pub currency: Currency,
    /// A price that is older, in milliseconds, is too old to trade on.
    pub mark_age_max_ms: u64,
    /// Orders that are remembered; when so many are younger than a day, further ones are rejected.
    pub orders_remembered: usize,
    /// Whether what loosens a limit, or lets trading go on, needs a second person.
    pub second_approver: bool,
    /// Measures go to the mesh when one has moved by more than this share of itself, in basis points.
    pub metric_move_bps: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let EngineSettings { currency, mark_age_max_ms, orders_remembered, second_approver, metric_move_bps } =
            EngineSettings::default();
        Self { currency, mark_age_max_ms, orders_remembered, second_approver, metric_move_bps }
    }
}

impl Settings {
    /// What the engine is told.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub(crate) fn engine(self) -> Result<EngineSettings, ConfigError> {
        let Self { currency, mark_age_max_ms, orders_remembered, second_approver, metric_move_bps } = self;
        let refuse = |key: &str, message: &str| {
            Err(ConfigError::Setting { key: format!("engines.risk.{key}"), message: message.to_owned() })
        };
        if !(1..=86_400_000).contains(&mark_age_max_ms) {
            return refuse("mark_age_max_ms", "give 1 to 86400000 (a day)");
        }
        if !(1_024..=1 << 22).contains(&orders_remembered) {
            return refuse("orders_remembered", "give 1024 to 4194304; each takes some 200 bytes");
        }
        Ok(EngineSettings { currency, mark_age_max_ms, orders_remembered, second_approver, metric_move_bps })
    }
}
