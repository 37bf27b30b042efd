//! How series move together: covariance, its exponentially weighted kind, and correlation.
//!
//! Rows are observations, columns are assets; every result is symmetric to the last bit. Means are always taken off.
//! NaN and infinities propagate: they make the row and the column of their asset NaN and touch no other. Filling gaps
//! is the caller's business.

use nautilus_hardware::{Error, Hardware, ShapeError};
use ndarray::{Array1, Array2, ArrayRef2, Zip};

use crate::matrix::{MatrixError, Operand, writable, zeros};

/// The sample covariance Σᵢ (xᵢ − x̄)(xᵢ − x̄)ᵀ / (T − ddof) of T observations of N assets, N×N, in the square of the
/// returns' unit. `ddof` = 1 gives the unbiased estimate, 0 that of maximum likelihood; `numpy.cov` has the same.
///
/// Two passes: deviations from the mean, then their products. A sum of squares less the square of the sum would lose the
/// digits of a common level (Chan, Golub, LeVeque 1983).
///
/// # Errors
/// There are not more than `ddof` observations, or the result is too large.
pub fn covariance(
    hardware: &Hardware,
    returns: &ArrayRef2<f64>,
    ddof: usize,
) -> Result<Array2<f64>, MatrixError> {
    let observations = returns.nrows();
    if observations <= ddof {
        return Err(MatrixError::TooFewObservations { observations, ddof });
    }
    gram(hardware, &deviations(returns), 1.0 / count(observations - ddof))
}

/// The covariance with weights wᵢ ∝ decay^(T−1−i) that sum to 1: Σᵢ wᵢ (xᵢ − μ)(xᵢ − μ)ᵀ with μ = Σᵢ wᵢ xᵢ. The last
/// row is the newest. There is no correction for bias, as in `numpy.cov` with `aweights` and `ddof` = 0. `RiskMetrics`
/// (1996) uses a decay of 0.94 for days, and takes no mean off; here it is taken off.
///
/// # Errors
/// There are no observations, the decay is not above 0 and at most 1, or the result is too large.
pub fn ewma_covariance(
    hardware: &Hardware,
    returns: &ArrayRef2<f64>,
    decay: f64,
) -> Result<Array2<f64>, MatrixError> {
    let observations = returns.nrows();
    if !(decay > 0.0 && decay <= 1.0) {
        return Err(MatrixError::Decay(decay));
    }
    if observations == 0 {
        return Err(MatrixError::TooFewObservations { observations, ddof: 0 });
    }
    let weights = weights(observations, decay);
    let mut deviations = &returns.view() - &mean(returns, &weights);
    for (mut row, weight) in deviations.rows_mut().into_iter().zip(&weights) {
        row *= weight.sqrt();
    }
    gram(hardware, &deviations, 1.0)
}

/// The correlation that belongs to a covariance: `cov[i, j]` / (σᵢ·σⱼ), 1 on the diagonal, held to ±1. An asset that does
/// not move has no correlation: its row and column are NaN, its diagonal too.
///
/// # Errors
/// The covariance is not square.
pub fn correlation(covariance: &ArrayRef2<f64>) -> Result<Array2<f64>, MatrixError> {
    let (rows, columns) = covariance.dim();
    if rows != columns {
        let what = "rows and columns of a covariance";
        return Err(Error::from(ShapeError::Mismatch { what, left: rows, right: columns }).into());
    }
    let deviations: Vec<f64> = covariance.diag().iter().map(|variance| variance.sqrt()).collect();
    Ok(Array2::from_shape_fn((rows, columns), |(i, j)| {
        let value = (covariance[[i, j]] / (deviations[i] * deviations[j])).clamp(-1.0, 1.0);
        // The root and its square may differ from the variance by a rounding.
        if i == j && !value.is_nan() { 1.0 } else { value }
    }))
}

/// What is left of each column without its mean.
pub(crate) fn deviations(returns: &ArrayRef2<f64>) -> Array2<f64> {
    let equal = vec![1.0 / count(returns.nrows()); returns.nrows()];
    &returns.view() - &mean(returns, &equal)
}

/// Σᵢ wᵢ·xᵢ for weights that sum to 1. Summed from the first observation on, so that the mean of a column that does not
/// move is that value, and its deviations are exactly zero.
fn mean(x: &ArrayRef2<f64>, weights: &[f64]) -> Array1<f64> {
    let first = x.row(0);
    let mut mean = Array1::zeros(x.ncols());
    // In the order of memory.
    if x.strides()[0].abs() < x.strides()[1].abs() {
        for ((mean, column), first) in mean.iter_mut().zip(x.columns()).zip(first) {
            *mean = column.iter().zip(weights).map(|(x, weight)| weight * (x - first)).sum();
        }
    } else {
        for (row, weight) in x.rows().into_iter().zip(weights) {
            let sum = |mean: &mut f64, x: &f64, first: &f64| *mean += weight * (x - first);
            Zip::from(&mut mean).and(row).and(first).for_each(sum);
        }
    }
    mean + first
}

/// scale · XᵀX.
fn gram(hardware: &Hardware, x: &ArrayRef2<f64>, scale: f64) -> Result<Array2<f64>, MatrixError> {
    let mut result = zeros(x.ncols(), x.ncols())?;
    hardware.syrk(scale, Operand::of(x).matrix()?.transposed(), 0.0, writable(&mut result)?)?;
    Ok(result)
}

/// decay^(T−1−i), divided by its sum.
fn weights(observations: usize, decay: f64) -> Vec<f64> {
    let mut weight = 1.0;
    let mut newest_first = Vec::with_capacity(observations);
    for _ in 0..observations {
        newest_first.push(weight);
        weight *= decay;
    }
    // The smallest first, so that none is lost beside the largest.
    let sum: f64 = newest_first.iter().rev().sum();
    newest_first.iter().rev().map(|weight| weight / sum).collect()
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn count(observations: usize) -> f64 {
    observations as f64
}

#[cfg(test)]
#[path = "covariance_tests.rs"]
mod tests;
