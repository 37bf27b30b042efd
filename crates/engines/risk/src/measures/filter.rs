//! Past returns as they would be at today's volatility.

use super::{VarRequest, Volatility, garch};
use crate::RiskError;

/// λ of RiskMetrics (1996) for days.
const DECAY: f64 = 0.94;

/// Each column's values times σ(n+1)/σ(t): standardised by the volatility that was forecast for their day, then rescaled
/// to what is forecast for the day after the last (Hull and White 1998). No mean is taken off.
///
/// # Errors
/// A column cannot be fitted.
pub(crate) fn filtered(
    values: &[f64],
    columns: usize,
    request: &VarRequest,
    field: &str,
) -> Result<Vec<f64>, RiskError> {
    match request.volatility.unwrap_or_default() {
        Volatility::Ewma => Ok(ewma(values, columns, request.decay.unwrap_or(DECAY))),
        Volatility::Garch => by_garch(values, columns, field),
    }
}

/// The recursion begins with the mean square of the whole column.
fn ewma(values: &[f64], columns: usize, decay: f64) -> Vec<f64> {
    let rows = super::tail::count_f64(values.len() / columns);
    let mut start = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        start.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * value);
    }
    start.iter_mut().for_each(|sum| *sum /= rows);
    let step =
        |variance: &mut f64, value: &f64| *variance = decay * *variance + (1.0 - decay) * value * value;
    let mut last = start.clone();
    for row in values.chunks_exact(columns) {
        last.iter_mut().zip(row).for_each(|(variance, value)| step(variance, value));
    }
    let mut filtered = values.to_vec();
    let mut variances = start;
    for row in filtered.chunks_exact_mut(columns) {
        for ((value, variance), last) in row.iter_mut().zip(&mut variances).zip(&last) {
            let before = *value;
            *value *= ratio(*last, *variance);
            step(variance, &before);
        }
    }
    filtered
}

fn by_garch(values: &[f64], columns: usize, field: &str) -> Result<Vec<f64>, RiskError> {
    garch::affordable(values.len(), values.len() / columns, field)?;
    let mut filtered = values.to_vec();
    let mut series = Vec::with_capacity(values.len() / columns);
    for column in 0..columns {
        series.clear();
        series.extend(values.iter().skip(column).step_by(columns));
        let Some(fit) = garch::fit(&series) else { continue };
        let variances = fit.variances(&series);
        let last = variances[series.len()];
        for (value, variance) in filtered.iter_mut().skip(column).step_by(columns).zip(&variances) {
            *value *= ratio(last, *variance);
        }
    }
    Ok(filtered)
}

/// σ(n+1)/σ(t); an asset that never moved stays as it is.
fn ratio(last: f64, variance: f64) -> f64 {
    (last.max(f64::MIN_POSITIVE) / variance.max(f64::MIN_POSITIVE)).sqrt()
}
