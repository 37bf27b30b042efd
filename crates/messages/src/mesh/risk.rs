//! What the risk engine says of itself: measures that moved, and limits that were crossed.

use nautilus_types::{DeskName, Money, UnixNanos};
use serde::{Deserialize, Serialize};

/// A part of the hierarchy: the firm, a portfolio, a book of it, a strategy of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Absent for the firm.
    pub portfolio: Option<DeskName>,
    /// Absent for a whole portfolio.
    pub book: Option<DeskName>,
    /// Absent for a whole book.
    pub strategy: Option<DeskName>,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(portfolio) = self.portfolio else { return f.write_str("firm") };
        write!(f, "{portfolio}")?;
        self.book.map_or(Ok(()), |book| write!(f, "/{book}"))?;
        self.strategy.map_or(Ok(()), |strategy| write!(f, "/{strategy}"))
    }
}

/// A portfolio's measures moved by more than the configured amount. Losses are positive; money is in the portfolio's
/// currency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RiskMetric {
    /// Which portfolio.
    pub portfolio: DeskName,
    /// As of.
    pub ts_event: UnixNanos,
    /// The confidence of what follows.
    pub confidence: f64,
    /// Historical value at risk over one scenario's horizon; absent without scenarios.
    pub var: Option<f64>,
    /// Its expected shortfall.
    pub es: Option<f64>,
    /// Sum of absolute exposures.
    pub gross: Money,
    /// Sum of signed exposures.
    pub net: Money,
    /// Profit since the beginning, fees taken off.
    pub pnl: Money,
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AlertKind {
    Gross,
    Net,
    Var,
    Drawdown,
    DailyLoss,
    /// The kill switch was turned.
    KillSwitch,
    /// Nobody gave a sign of life in time.
    DeadMan,
    /// More was executed than was ordered.
    Overfill,
    /// An execution is not booked, because its desk or instrument is not known yet.
    UnbookedFill,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertLevel {
    /// Back within the limit.
    Cleared,
    /// Beyond the soft limit.
    Soft,
    /// Beyond the hard limit, or trading was stopped.
    Hard,
}

/// A limit was crossed by what the market or an execution did, or trading was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskAlert {
    /// Where.
    pub scope: Scope,
    /// What.
    pub kind: AlertKind,
    /// How bad.
    pub level: AlertLevel,
    /// The limit, where it is one.
    pub limit: Option<Money>,
    /// What is used of it.
    pub used: Option<Money>,
    /// As of.
    pub ts_event: UnixNanos,
}
