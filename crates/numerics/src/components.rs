//! Principal components: the few directions in which many series move together.
//!
//! Rows are observations, columns are assets. Means are always taken off; nothing is scaled, so that an asset of large
//! variance weighs more: divide by the deviations first where that is not wanted. Gaps are refused, not filled.

use nautilus_hardware::Hardware;
use ndarray::{Array1, Array2, ArrayRef2, Axis, Slice};

use crate::covariance::{count, deviations};
use crate::eigen::symmetric_eigen;
use crate::matrix::{MatrixError, Operand, writable, zeros};

/// A variance up to this share of the largest one is rounding, and one up to `VARIANCE_MIN` has lost its digits.
const SHARE_MIN: f64 = 1e-12;
const VARIANCE_MIN: f64 = 1e-290;
/// Terms of a sum that one job adds up, at most. So many are added in the order of their index by plain loops and by
/// vectors alike; where there are more, each backend has its own way to cut them.
const TERMS_MAX: usize = 256;
/// Loadings whose sum is this small beside that of their magnitudes sum to zero, and magnitudes this near are equal.
const ROUNDING: f64 = 1e-9;

/// The leading principal components of some returns.
#[derive(Debug, Clone, PartialEq)]
pub struct PrincipalComponents {
    /// Row i holds the weights of the N assets in component i: orthogonal unit eigenvectors of the covariance.
    pub loadings: Array2<f64>,
    /// The variance of each component, in the square of the returns' unit, the largest first: eigenvalues of the
    /// covariance.
    pub variances: Array1<f64>,
    /// The sum of the variances of all assets, which is that of all components: the trace of the covariance. A variance
    /// divided by it is the share that its component explains.
    pub total_variance: f64,
}

/// The `k` leading principal components of T observations of N assets: eigenvectors of [`covariance`] with `ddof` = 1.
///
/// Components whose variance is not above 1e-12 of the largest, or not above 1e-290, are left out, so there are fewer than
/// `k` where `k` is above the rank, which is at most T − 1 and N; there are none where no asset moves.
///
/// The sign of an eigenvector means nothing, so one is chosen: the loadings of a component sum to zero or more. Where the
/// sum is within 1e-9 of the sum of their magnitudes, it counts as zero, and the loading of the largest magnitude is
/// positive; of several equally large ones, to the same 1e-9, that is the first. The components of equal variances are
/// any basis of what they span together, and nearly equal ones turn with the last digits of the returns.
///
/// The smaller one of the two products of the deviations with themselves is decomposed, T×T or N×N, because both have the
/// same eigenvalues above zero (Turk and Pentland 1991 do so with images): the time grows with T·N·min(T, N) and
/// min(T, N)³. Equal returns give equal bits wherever the portable backend, AVX2 or AVX-512 is pinned, whichever of them
/// it is.
///
/// [`covariance`]: crate::covariance
///
/// # Errors
/// There are fewer than two observations, one is NaN or infinite, the variances are too large for a double, or the smaller
/// product is too large.
pub fn principal_components(
    hardware: &Hardware,
    returns: &ArrayRef2<f64>,
    k: usize,
) -> Result<PrincipalComponents, MatrixError> {
    let (observations, assets) = returns.dim();
    if observations < 2 {
        return Err(MatrixError::TooFewObservations { observations, ddof: 1 });
    }
    let wide = observations < assets;
    let order = observations.min(assets);
    let mut products = zeros(order, order)?;
    if let Some(((row, column), _)) = returns.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(MatrixError::NotFinite { row, column });
    }
    let deviations = deviations(returns);
    let factor = if wide { deviations.t() } else { deviations.view() };
    add_products(hardware, &factor, &mut products)?;
    products /= count(observations - 1);
    let total_variance: f64 = products.diag().iter().sum();
    if !total_variance.is_finite() {
        return Err(MatrixError::Overflow);
    }
    let (variances, vectors) = symmetric_eigen(&products)?;
    let least = variances.first().map_or(0.0, |largest| SHARE_MIN * largest.max(VARIANCE_MIN / SHARE_MIN));
    let kept = variances.iter().take(k).take_while(|variance| **variance > least).count();
    let kept = Slice::from(..kept);
    let leading = vectors.slice_axis(Axis(0), kept);
    let mut loadings = if wide {
        across(hardware, &leading, &deviations)?
    } else {
        leading.as_standard_layout().into_owned()
    };
    for mut row in loadings.rows_mut() {
        if is_turned(row.as_slice().unwrap_or_default()) {
            row.mapv_inplace(|loading| -loading);
        }
    }
    let variances = variances.slice_axis(Axis(0), kept).to_owned();
    Ok(PrincipalComponents { loadings, variances, total_variance })
}

/// C ← XᵀX + C.
fn add_products(hardware: &Hardware, x: &ArrayRef2<f64>, c: &mut Array2<f64>) -> Result<(), MatrixError> {
    let x = Operand::of(x);
    let x = x.matrix()?;
    for (from, terms) in pieces(x.rows()) {
        let part = x.block(from, terms, 0, x.columns()).transposed();
        hardware.syrk(1.0, part, 1.0, writable(c)?)?;
    }
    Ok(())
}

/// Eigenvectors of XᵀX from those of XXᵀ, the largest eigenvalue first: each u becomes the unit vector along Xᵀu. In exact
/// numbers these are orthogonal. Rounding adds a little of the larger ones to the smaller ones, which is taken off again
/// (modified Gram–Schmidt).
fn across(
    hardware: &Hardware,
    vectors: &ArrayRef2<f64>,
    x: &ArrayRef2<f64>,
) -> Result<Array2<f64>, MatrixError> {
    let mut result = zeros(vectors.nrows(), x.ncols())?;
    let (factor, x) = (Operand::of(vectors), Operand::of(x));
    let (factor, x) = (factor.matrix()?, x.matrix()?);
    for (from, terms) in pieces(x.rows()) {
        let left = factor.block(0, factor.rows(), from, terms);
        let right = x.block(from, terms, 0, x.columns());
        hardware.gemm(1.0, left, right, 1.0, writable(&mut result)?)?;
    }
    let width = result.ncols();
    let elements = result.as_slice_mut().unwrap_or_default();
    for row in 0..vectors.nrows() {
        let (larger, rest) = elements.split_at_mut(row * width);
        let vector = &mut rest[..width];
        for larger in larger.chunks_exact(width) {
            let along = sum_of_products(larger, vector);
            vector.iter_mut().zip(larger).for_each(|(element, larger)| *element -= along * larger);
        }
        let length = sum_of_products(vector, vector).sqrt();
        vector.iter_mut().for_each(|element| *element /= length);
    }
    Ok(result)
}

/// From where to add up and how many terms, for sums of so many.
fn pieces(terms: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..terms).step_by(TERMS_MAX).map(move |from| (from, TERMS_MAX.min(terms - from)))
}

/// In the order of the index, which no backend promises of two vectors.
fn sum_of_products(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Whether the other sign is the one to give.
fn is_turned(loadings: &[f64]) -> bool {
    let sum: f64 = loadings.iter().sum();
    let size: f64 = loadings.iter().map(|loading| loading.abs()).sum();
    if sum.abs() > ROUNDING * size {
        return sum < 0.0;
    }
    let largest = loadings.iter().fold(0.0, |largest: f64, loading| largest.max(loading.abs()));
    let first = loadings.iter().find(|loading| loading.abs() >= (1.0 - ROUNDING) * largest);
    first.is_some_and(|loading| *loading < 0.0)
}

#[cfg(test)]
#[path = "components_tests.rs"]
mod tests;
