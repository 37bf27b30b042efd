//! The answers of stress: shapes only. P&L is signed, losses negative; what is named a loss, VaR or distance is positive.

use nautilus_numerics::Greeks;
use serde::{Deserialize, Serialize};

/// Of a whole position, in the base currency.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PositionGreeks {
    /// Per 1.0 of the price.
    pub delta: f64,
    /// Of delta per 1.0 of the price.
    pub gamma: f64,
    /// Per 1.0 of volatility.
    pub vega: f64,
    /// Per year that passes.
    pub theta: f64,
    /// Per 1.0 of the rate.
    pub rho: f64,
    /// Per 1.0 of the dividend yield.
    pub dividend_rho: f64,
    /// Of delta per 1.0 of volatility.
    pub vanna: f64,
    /// Of vega per 1.0 of volatility.
    pub volga: f64,
}

impl PositionGreeks {
    pub(super) fn scaled(greeks: &Greeks, scale: f64) -> Self {
        Self {
            delta: scale * greeks.delta,
            gamma: scale * greeks.gamma,
            vega: scale * greeks.vega,
            theta: scale * greeks.theta,
            rho: scale * greeks.rho,
            dividend_rho: scale * greeks.dividend_rho,
            vanna: scale * greeks.vanna,
            volga: scale * greeks.volga,
        }
    }
}

/// Where a P&L comes from: a Taylor series by the greeks before, and what it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// Δ·dS.
    pub delta: f64,
    /// Γ·dS²/2.
    pub gamma: f64,
    /// Vega·dσ.
    pub vega: f64,
    /// Vanna·dS·dσ.
    pub vanna: f64,
    /// Volga·dσ²/2.
    pub volga: f64,
    /// Θ·dt.
    pub theta: f64,
    /// ρ·dr and that of the dividend yield.
    pub rho: f64,
    /// The value before, times the currency's return.
    pub currency: f64,
    /// What full revaluation gives beyond these.
    pub residual: f64,
}

impl Explanation {
    /// All terms but the residual.
    pub(super) fn explained(&self) -> f64 {
        let by_price = self.delta + self.gamma + self.vanna;
        by_price + self.vega + self.volga + self.theta + self.rho + self.currency
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.delta += other.delta;
        self.gamma += other.gamma;
        self.vega += other.vega;
        self.vanna += other.vanna;
        self.volga += other.volga;
        self.theta += other.theta;
        self.rho += other.rho;
        self.currency += other.currency;
        self.residual += other.residual;
    }
}

/// A position in a scenario, in the base currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionStress {
    /// P&L.
    pub pnl: f64,
    /// Its value before.
    pub value_before: f64,
    /// And after.
    pub value_after: f64,
    /// Its greeks before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeks_before: Option<PositionGreeks>,
    /// And after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeks_after: Option<PositionGreeks>,
    /// Where the P&L comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// The portfolio in a scenario, in the base currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioStress {
    /// Its name; of a historical one, `returns[row]`.
    pub name: String,
    /// Where the numbers of a library scenario come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// P&L.
    pub pnl: f64,
    /// The portfolio's value before.
    pub value_before: f64,
    /// And after.
    pub value_after: f64,
    /// Where the P&L comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// In the order of the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<PositionStress>,
}

/// P&L by price (rows) and volatility (columns).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridStress {
    /// What moved; absent where everything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlying: Option<String>,
    /// Relative shocks of the price.
    pub prices: Vec<f64>,
    /// Relative shocks of volatilities.
    pub volatilities: Vec<f64>,
    /// One row per price.
    pub pnl: Vec<Vec<f64>>,
}

/// VaR by the covariance before and after its correlations moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationAnswer {
    /// Normal VaR with the correlations given, a loss.
    pub var_before: f64,
    /// With the stressed ones.
    pub var_after: f64,
    /// Standard deviation of the P&L before.
    pub deviation_before: f64,
    /// And after.
    pub deviation_after: f64,
    /// The smallest eigenvalue of the correlations given.
    pub smallest_eigenvalue_given: f64,
    /// Frobenius distance to the nearest correlation matrix; 0 where they are one.
    pub repair_distance_given: f64,
    /// The smallest eigenvalue of the stressed correlations before their repair.
    pub smallest_eigenvalue_stressed: f64,
    /// Frobenius distance that the repair moved them.
    pub repair_distance_stressed: f64,
    /// The stressed correlations, repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlations: Option<Vec<Vec<f64>>>,
    /// In words.
    pub method: String,
}

/// The answer to a stress question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StressAnswer {
    /// The value of the positions, in the base currency.
    pub value: f64,
    /// The user's scenarios, then those of the library, then the worst of history, the worst first.
    pub scenarios: Vec<ScenarioStress>,
    /// In the order of the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grids: Vec<GridStress>,
    /// Correlation stress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationAnswer>,
    /// How options are valued and shocks are applied, in words.
    pub method: String,
}

/// What one instrument does in a reverse stress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstrumentShock {
    /// Which.
    pub instrument: String,
    /// Relative: its simple return over the horizon.
    pub shock: f64,
    /// In standard deviations of its own.
    pub deviations: f64,
    /// P&L of the shock alone, in the base currency.
    pub pnl: f64,
}

/// The most likely shock that loses as much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReverseStressAnswer {
    /// The loss asked for.
    pub loss: f64,
    /// The loss by full revaluation at the shock.
    pub loss_at_shock: f64,
    /// √(x′Σ⁻¹x) of the shock x.
    pub mahalanobis_distance: f64,
    /// P(loss ≥ that asked for) if returns are normal: Φ(−distance), exact where no option is held, else of first order.
    pub probability: f64,
    /// P(a shock at least as far away, in any direction): the upper tail of χ² with `rank` degrees of freedom.
    pub probability_of_distance: f64,
    /// Of the covariance.
    pub rank: usize,
    /// Per instrument.
    pub shocks: Vec<InstrumentShock>,
    /// Iterations of the start that was best.
    pub iterations: usize,
    /// Starts that converged, of how many.
    pub converged: usize,
    /// Points that the search began at.
    pub starts: usize,
    /// In words.
    pub method: String,
    /// What to mind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
