//! A factor F of a covariance, F·Fᵀ = Σ, also where the covariance is singular.

use nautilus_hardware::{Error, Failure, Hardware};
use nautilus_numerics::{MatrixError, cholesky};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::refused;
use crate::RiskError;

/// How a covariance was factored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// Cholesky's factor of a positive definite covariance.
    Cholesky,
    /// The covariance is singular, as it is of fewer scenarios than assets: Cholesky's factor with pivots on the largest
    /// remaining variance, ended where what remains is rounding (Higham, Accuracy and Stability, 2002, §10.3).
    PivotedCholesky,
}

/// A factor, and how many independent numbers a scenario is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// How it was made.
    pub kind: FactorKind,
    /// Columns that are not zero.
    pub rank: usize,
}

/// Rows in the order of `order`, lower trapezoidal: row k has k + 1 columns, at most `rank`.
#[derive(Debug, Clone)]
pub(crate) struct Factored {
    pub(crate) summary: Factor,
    /// assets × rank, row by row; row k is of asset `order[k]`.
    pub(crate) rows: Vec<f64>,
    pub(crate) order: Vec<usize>,
}

impl Factored {
    /// # Errors
    /// The covariance is not positive semidefinite, which no sample covariance is.
    pub(crate) fn of(hardware: &Hardware, covariance: &Array2<f64>, field: &str) -> Result<Self, RiskError> {
        let assets = covariance.nrows();
        // A pivot that is rounding passes as positive: it is told by its size.
        let tolerance = tolerance(covariance);
        match cholesky(hardware, covariance) {
            Ok(l) if l.diag().iter().all(|pivot| pivot * pivot > tolerance) => Ok(Self {
                summary: Factor { kind: FactorKind::Cholesky, rank: assets },
                rows: l.into_iter().collect(),
                order: (0..assets).collect(),
            }),
            Ok(_) | Err(MatrixError::Hardware(Error::Failure(Failure::NotPositiveDefinite { .. }))) => {
                pivoted(covariance, tolerance, field)
            }
            Err(error) => Err(refused(field, &error)),
        }
    }

    pub(crate) fn rank(&self) -> usize {
        self.summary.rank
    }
}

/// A remaining variance up to this is rounding.
#[allow(clippy::cast_precision_loss)]
fn tolerance(covariance: &Array2<f64>) -> f64 {
    let largest = covariance.diag().iter().fold(0.0_f64, |most, variance| most.max(*variance));
    4.0 * covariance.nrows() as f64 * f64::EPSILON * largest
}

fn pivoted(covariance: &Array2<f64>, tolerance: f64, field: &str) -> Result<Factored, RiskError> {
    let n = covariance.nrows();
    let mut order: Vec<usize> = (0..n).collect();
    let mut left: Vec<f64> = covariance.diag().to_vec();
    // Column by column, so that each step runs along memory.
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for k in 0..n {
        let largest = (k..n).fold(k, |best, at| if left[order[at]] > left[order[best]] { at } else { best });
        let pivot = order[largest];
        if left[pivot] <= tolerance {
            break;
        }
        order.swap(k, largest);
        let root = left[pivot].sqrt();
        let mut column: Vec<f64> = covariance.row(pivot).to_vec();
        for before in &columns {
            let factor = before[pivot];
            column.iter_mut().zip(before).for_each(|(to, from)| *to -= factor * from);
        }
        order[..k].iter().for_each(|done| column[*done] = 0.0);
        column.iter_mut().for_each(|element| *element /= root);
        column[pivot] = root;
        left.iter_mut().zip(&column).for_each(|(left, element)| *left -= element * element);
        columns.push(column);
    }
    if order[columns.len()..].iter().any(|asset| left[*asset] < -tolerance) {
        let reason = "the covariance is not positive semidefinite: repair it to the nearest one that is";
        return Err(RiskError::new("not_positive_semidefinite", field, reason));
    }
    let rank = columns.len();
    let rows = order.iter().flat_map(|asset| columns.iter().map(|column| column[*asset])).collect();
    Ok(Factored { summary: Factor { kind: FactorKind::PivotedCholesky, rank }, rows, order })
}
