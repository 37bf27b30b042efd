//! Value at risk, expected shortfall and what each position adds to them, from scenarios of P&L.

pub(crate) mod check;
pub(crate) mod coherent;
mod contributions;
mod filter;
mod garch;
mod horizon;
mod matrix;
mod precision;
mod request;
pub(crate) mod scenarios;
pub(crate) mod tail;

pub use matrix::ScenarioMatrix;
pub use request::{
    ConfidenceInterval, Distribution, ErrorRule, HorizonRule, Interval, Method, QuantileConvention, Sampling,
    Spectrum, StandardError, VarAnswer, VarRequest, Volatility,
};

use nautilus_hardware::{BackendId, Hardware};

use crate::{RiskError, simulation};
use check::{check, overflow};
use tail::Tail;

/// Answers a question of value at risk.
///
/// VaR is the loss of the scenario x_(⌈nq⌉), the n scenarios in ascending order of (P&L, index) and q = 1 − confidence,
/// unless another convention is asked for; ES is the mean loss of the scenarios up to that one. Where n·q is whole but
/// for the rounding of `confidence`, it counts as whole: 0.99 of 10,000 scenarios leaves the 100 worst.
///
/// # Errors
/// The question is not legal, or its numbers are too large to add up; the error names the field.
pub fn calculate_var(hardware: &Hardware, request: &VarRequest) -> Result<VarAnswer, RiskError> {
    let source = check(request)?;
    match request.method {
        Method::Historical | Method::FilteredHistorical | Method::AgeWeighted => {
            scenarios::answer(hardware, request, &source)
        }
        Method::Parametric | Method::CornishFisher | Method::Saddlepoint => {
            simulation::closed_form(hardware, request, &source)
        }
        Method::MonteCarlo => simulation::monte_carlo(hardware, request, &source),
    }
}

impl VarAnswer {
    /// VaR and ES of a tail and how uncertain they are; what positions add is left out.
    ///
    /// # Errors
    /// A measure is too large for a double.
    pub(crate) fn of_tail(
        request: &VarRequest,
        tail: &Tail<'_>,
        backend: Option<BackendId>,
    ) -> Result<Self, RiskError> {
        let measures = tail.measures;
        if !(measures.var.is_finite() && measures.es.is_finite()) {
            return Err(overflow("horizon_days"));
        }
        let uncertainty = (precision::standard_error(tail), precision::confidence_interval(tail));
        Ok(Self { backend, ..Self::of(request, (measures.var, measures.es), uncertainty, tail.count) })
    }

    /// VaR and ES from so many scenarios and how uncertain they are; all else is left out.
    pub(crate) fn of(
        request: &VarRequest,
        (var, es): (f64, f64),
        (standard_error, confidence_interval): (StandardError, ConfidenceInterval),
        scenarios: usize,
    ) -> Self {
        Self {
            var,
            es,
            standard_error,
            confidence_interval,
            component_var: None,
            marginal_var: None,
            incremental_var: None,
            component_es: None,
            marginal_es: None,
            incremental_es: None,
            spectral: None,
            evar: None,
            method: request.method,
            convention: request.convention,
            confidence: request.confidence,
            horizon_days: request.horizon_days,
            horizon_rule: request.horizon_rule,
            scenarios,
            backend: None,
            compute_us: None,
            simulation: None,
            higher_moments: None,
        }
    }
}
