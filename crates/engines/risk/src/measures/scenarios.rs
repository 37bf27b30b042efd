//! Measures of scenarios that the question brings: historical, filtered and age-weighted.

use nautilus_hardware::{Hardware, Matrix};

use super::check::{Source, finite, not_finite, overflow};
use super::tail::{Tail, TailRule};
use super::{HorizonRule, ScenarioMatrix, VarAnswer, VarRequest};
use crate::RiskError;

/// VaR and ES of the question's scenarios.
///
/// # Errors
/// Scenarios are too few, or a number is not finite.
pub(crate) fn answer(
    hardware: &Hardware,
    request: &VarRequest,
    source: &Source<'_>,
) -> Result<VarAnswer, RiskError> {
    let scale = match request.horizon_rule {
        HorizonRule::SqrtTime => libm::sqrt(request.horizon_days),
        HorizonRule::Overlapping => 1.0,
    };
    let rule = TailRule {
        confidence: request.confidence,
        convention: request.convention,
        weights: None,
        overlap: 1,
    };
    match *source {
        Source::Pnl(pnl) => {
            let pnl: Vec<f64> = pnl.iter().map(|pnl| scale * pnl).collect();
            VarAnswer::of_tail(request, &Tail::of(&pnl, rule, source.field())?, None)
        }
        Source::Returns { returns, exposures } => {
            let exposures: Vec<f64> = exposures.iter().map(|exposure| scale * exposure).collect();
            let mut pnl = vec![0.0; returns.rows()];
            let matrix = Matrix::row_major(returns.values(), returns.rows(), returns.columns());
            let refused = |reason: String| RiskError::new("hardware", source.field(), reason);
            let matrix = matrix.map_err(|error| refused(error.to_string()))?;
            let backend = hardware.gemv(1.0, matrix, &exposures, 0.0, &mut pnl);
            let backend = backend.map_err(|error| refused(error.to_string()))?;
            check_pnl(&pnl, returns)?;
            VarAnswer::of_tail(request, &Tail::of(&pnl, rule, source.field())?, Some(backend))
        }
    }
}

/// A return that is not finite makes the P&L of its scenario so.
fn check_pnl(pnl: &[f64], returns: &ScenarioMatrix) -> Result<(), RiskError> {
    let Some(scenario) = pnl.iter().position(|pnl| !pnl.is_finite()) else { return Ok(()) };
    let row = returns.row(scenario);
    match row.iter().position(|value| !value.is_finite()) {
        Some(asset) => Err(not_finite(format!("returns[{scenario}][{asset}]"), row[asset])),
        None => finite(pnl, "returns").map_err(|_| overflow(&format!("returns[{scenario}]"))),
    }
}
