//! Positions, P&L, risk measures, stress, limits and the pre-trade gate.
//!
//! Questions that carry their own data (`measures`, `stress`, `validation`) are pure functions; the live engine holds
//! positions and updates what follows from them per event. Losses are positive in every measure.

mod error;
mod live;
mod measures;
mod simulation;
mod stress;
mod validation;

pub use error::RiskError;
pub use measures::{
    ConfidenceInterval, Distribution, ErrorRule, HorizonRule, Interval, Method, QuantileConvention, Sampling,
    ScenarioMatrix, Spectrum, StandardError, VarAnswer, VarRequest, Volatility, calculate_var,
};
pub use simulation::{Factor, FactorKind, HigherMoments, Simulation};
