//! Positions, P&L, risk measures, stress, limits and the pre-trade gate.
//!
//! Questions that carry their own data (`measures`, `stress`, `validation`) are pure functions; the live engine holds
//! positions and updates what follows from them per event. Losses are positive in every measure.

mod account;
mod alerts;
mod closes;
mod commands;
mod engine;
mod error;
mod facts;
mod forecasts;
mod gate;
mod hierarchy;
mod index;
mod limits;
pub mod live;
mod measured;
mod measures;
mod model;
mod money;
mod orders;
mod positions;
mod proposals;
mod saved;
mod simulation;
mod stress;
pub mod validation;
mod view;

pub use closes::{CLOSES_DAYS_MAX, CLOSES_MAX, CloseWindow, ClosesView, GivenCloses, ScenariosView};
pub use engine::{Command, RiskEngine, Settings};
pub use error::RiskError;
pub use facts::{Change, Portfolio};
pub use forecasts::ForecastRow;
pub use hierarchy::TradingState;
pub use limits::{Limit, Limits, RESTRICTED_MAX};
pub use measured::{RiskView, Trade, WhatIf, backtest_of};
pub use measures::{
    ConfidenceInterval, Distribution, ErrorRule, HorizonRule, Interval, Method, QuantileConvention, Sampling,
    ScenarioMatrix, Spectrum, StandardError, VarAnswer, VarRequest, Volatility, calculate_var,
};
pub use model::{SCENARIO_INSTRUMENTS_MAX, SCENARIO_NUMBERS_MAX, SCENARIOS_MAX, ScenarioSet, Scenarios};
pub use proposals::Proposal;
pub use simulation::{Factor, FactorKind, HigherMoments, Simulation};
pub use stress::{
    CorrelationAnswer, CorrelationStress, Explanation, GridStress, HistoricalStress, InstrumentShock,
    PositionGreeks, PositionStress, ReverseStressAnswer, ReverseStressRequest, ScenarioStress, Shock,
    StressAnswer, StressDetail, StressGrid, StressOptionKind, StressOptionStyle, StressPosition,
    StressRequest, StressScenario, reverse_stress, stress,
};
pub use view::{
    BreachView, CheckView, Figures, LimitsView, OrderView, PartView, PortfolioView, PositionView, UsedView,
};
