//! The questions of stress: shapes and defaults. They check nothing; [`super::stress`] and [`super::reverse_stress`] do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ScenarioMatrix;

/// Call or put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StressOptionKind {
    /// The right to buy.
    Call,
    /// The right to sell.
    Put,
}

/// When an option may be exercised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StressOptionStyle {
    /// At its end.
    #[default]
    European,
    /// At any time.
    American,
}

/// A position: of an `instrument` at a `price`, whose value moves with it, or an option on an `underlying`. Fields of the
/// other kind are refused.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StressPosition {
    /// What is held, by the name that shocks and columns of returns have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<String>,
    /// Price of one unit, not negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// Units or contracts; negative where sold.
    pub quantity: f64,
    /// Units in one contract. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<f64>,
    /// Of price or spot and strike, where it is not the base currency: one of the question's `currencies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What an option is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlying: Option<String>,
    /// Of an option: call or put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StressOptionKind>,
    /// Of an option. Default european.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<StressOptionStyle>,
    /// Of an option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strike: Option<f64>,
    /// Of an option: years until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_years: Option<f64>,
    /// Of an option: implied, per root of a year; 0.2 is 20 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatility: Option<f64>,
    /// Of an option: continuously compounded, per year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Of an option on something that pays: continuously compounded, per year. Default 0; of a future, the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dividend_yield: Option<f64>,
    /// Of an option: the price of one unit of the underlying, not negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<f64>,
}

/// What moves. Fields that are left out come from the next wider shock: an instrument's own, then that of its group, then
/// that of all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shock {
    /// Relative: −0.2 takes a fifth of the price. At least −1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// Relative: 0.5 makes a volatility of 0.2 one of 0.3. At least −1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatility: Option<f64>,
    /// Added after that: 0.05 makes 0.2 0.25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatility_points: Option<f64>,
    /// Added: 0.01 is 100 basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dividend_yield: Option<f64>,
}

/// A scenario of the user's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StressScenario {
    /// What it is called in the answer.
    pub name: String,
    /// By instrument or underlying; of a currency, `price` only: what one unit of it is worth.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shocks: BTreeMap<String, Shock>,
    /// By group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Shock>,
    /// To every instrument and underlying, not to currencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Shock>,
    /// Years that pass. Default 0.
    #[serde(default)]
    pub time_years: f64,
}

/// The days of `returns` that were worst for this portfolio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoricalStress {
    /// How many. Default 10.
    #[serde(default = "HistoricalStress::default_worst")]
    pub worst: usize,
}

impl HistoricalStress {
    const fn default_worst() -> usize {
        10
    }
}

/// P&L by price and volatility.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StressGrid {
    /// What moves; left out, everything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlying: Option<String>,
    /// Relative shocks of the price, each at least −1.
    pub prices: Vec<f64>,
    /// Relative shocks of volatilities, each at least −1. Default none.
    #[serde(default = "StressGrid::default_volatilities")]
    pub volatilities: Vec<f64>,
}

impl StressGrid {
    fn default_volatilities() -> Vec<f64> {
        vec![0.0]
    }
}

/// Correlations that move towards a value: ρ + by·(toward − ρ).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrelationStress {
    /// Where to, from −1 to 1.
    pub toward: f64,
    /// How much of the way, from 0 to 1.
    pub by: f64,
    /// The instruments whose correlations with each other move. Default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Vec<String>>,
    /// The share of outcomes whose loss is not above VaR. Default 0.99.
    #[serde(default = "CorrelationStress::default_confidence")]
    pub confidence: f64,
    /// Periods of the covariance; VaR grows with their root. Default 1.
    #[serde(default = "one")]
    pub horizon: f64,
    /// Whether the answer holds the stressed correlations. Default no.
    #[serde(default)]
    pub matrix: bool,
}

impl CorrelationStress {
    const fn default_confidence() -> f64 {
        0.99
    }
}

const fn one() -> f64 {
    1.0
}

/// How much of each scenario is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StressDetail {
    /// P&L of the portfolio.
    Totals,
    /// P&L of each position as well.
    Positions,
    /// The greeks before and after and the explanation of the P&L as well.
    #[default]
    Greeks,
}

/// Positions, and what to put them through. Whatever is left out is not asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StressRequest {
    /// What is held.
    pub positions: Vec<StressPosition>,
    /// What one unit of each currency is worth in the base currency.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub currencies: BTreeMap<String, f64>,
    /// Groups of instruments, for scenarios.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Vec<String>>,
    /// The user's scenarios.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<StressScenario>,
    /// Scenarios of the library, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub library: Vec<String>,
    /// The worst of `returns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub historical: Option<HistoricalStress>,
    /// Sensitivity grids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grids: Vec<StressGrid>,
    /// Correlation stress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationStress>,
    /// The instruments, underlyings and currencies that columns of the matrices are of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instruments: Vec<String>,
    /// Simple returns, periods × instruments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<ScenarioMatrix>,
    /// Of simple returns over one period; left out, the sample covariance of `returns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covariance: Option<ScenarioMatrix>,
    /// Correlations, with `volatilities` in place of a covariance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlations: Option<ScenarioMatrix>,
    /// Standard deviations of simple returns over one period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatilities: Option<Vec<f64>>,
    /// Default greeks.
    #[serde(default)]
    pub detail: StressDetail,
}

/// Positions, how their prices move together, and a loss.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReverseStressRequest {
    /// What is held.
    pub positions: Vec<StressPosition>,
    /// What one unit of each currency is worth in the base currency.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub currencies: BTreeMap<String, f64>,
    /// The instruments, underlyings and currencies that columns of the matrices are of.
    pub instruments: Vec<String>,
    /// Simple returns, periods × instruments, for their sample covariance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<ScenarioMatrix>,
    /// Of simple returns over one period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covariance: Option<ScenarioMatrix>,
    /// Correlations, with `volatilities` in place of a covariance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlations: Option<ScenarioMatrix>,
    /// Standard deviations of simple returns over one period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatilities: Option<Vec<f64>>,
    /// In the base currency, above 0.
    pub loss: f64,
    /// Periods of the covariance in which the loss comes about. Default 1.
    #[serde(default = "one")]
    pub horizon: f64,
}
