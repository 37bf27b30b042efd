//! How prices move together: the covariance of a question, checked, and which position follows which column.

use nautilus_hardware::Hardware;
use nautilus_numerics::{MatrixError, covariance};
use ndarray::{Array1, Array2, ArrayView2};

use super::book::{Book, range};
use crate::{RiskError, ScenarioMatrix};

/// Instruments of a covariance, at most: what follows takes the cube of it.
const INSTRUMENTS_MAX: usize = 500;
/// How far a matrix may be from symmetric, and a diagonal from 1.
const ROUNDING: f64 = 1e-9;

/// The part of a question that says how prices move together.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) instruments: &'a [String],
    pub(super) returns: Option<&'a ScenarioMatrix>,
    pub(super) covariance: Option<&'a ScenarioMatrix>,
    pub(super) correlations: Option<&'a ScenarioMatrix>,
    pub(super) volatilities: Option<&'a [f64]>,
}

/// Correlations and standard deviations of one period.
pub(super) struct Joint {
    pub(super) correlations: Array2<f64>,
    pub(super) deviations: Array1<f64>,
    /// By place of the book's names, the column.
    pub(super) columns: Vec<Option<usize>>,
}

/// By column, the place of the name in the book; `None` where no position follows it.
///
/// # Errors
/// There are none, or one twice.
pub(super) fn places(instruments: &[String], book: &Book) -> Result<Vec<Option<usize>>, RiskError> {
    if instruments.is_empty() {
        let reason = "the columns need names: send one per column";
        return Err(RiskError::new("missing", "instruments", reason));
    }
    let mut sorted: Vec<(&String, usize)> = instruments.iter().zip(0..).collect();
    sorted.sort();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let reason = format!("{} has a column already: leave one out", twice[1].0);
        return Err(RiskError::new("conflict", format!("instruments[{}]", twice[1].1), reason));
    }
    Ok(instruments.iter().map(|name| book.place(name)).collect())
}

/// Every number is one, and a matrix has a column per instrument.
///
/// # Errors
/// The first that is not.
pub(super) fn matrix(field: &str, matrix: &ScenarioMatrix, columns: usize) -> Result<(), RiskError> {
    if matrix.columns() != columns {
        let reason = format!("{} columns for {columns} instruments: send one each", matrix.columns());
        return Err(RiskError::new("unequal_lengths", field, reason));
    }
    match matrix.values().iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, column, value) = (at / columns, at % columns, matrix.values()[at]);
            let reason = format!("{value} is not a finite number: fill the gap or leave it out");
            Err(RiskError::new("not_finite", format!("{field}[{row}][{column}]"), reason))
        }
    }
}

impl Source<'_> {
    /// The covariance, whichever way it was sent.
    ///
    /// # Errors
    /// The first field at fault.
    pub(super) fn joint(&self, hardware: &Hardware, book: &Book) -> Result<Joint, RiskError> {
        let places = places(self.instruments, book)?;
        let n = places.len();
        if n > INSTRUMENTS_MAX {
            let reason = format!("{n} are too many for a covariance: send at most {INSTRUMENTS_MAX}");
            return Err(RiskError::new("too_large", "instruments", reason));
        }
        let mut columns = vec![None; book.names.len()];
        for (column, place) in places.iter().enumerate() {
            if let Some(place) = place {
                columns[*place] = Some(column);
            }
        }
        if let Some(held) = book.positions.iter().find(|held| columns[held.instrument].is_none()) {
            let name = &book.names[held.instrument];
            let reason = format!("{name} is held and has no column: add it");
            return Err(RiskError::new("missing", "instruments", reason));
        }
        let (correlations, deviations) = match (self.covariance, self.correlations, self.returns) {
            (Some(_), Some(_), _) => {
                let reason = "covariance says the same: send one of both";
                return Err(RiskError::new("conflict", "correlations", reason));
            }
            (None, Some(correlations), _) => self.given(correlations, n)?,
            (Some(covariance), None, _) => {
                matrix("covariance", covariance, n)?;
                parts("covariance", &square("covariance", covariance, n)?)?
            }
            (None, None, Some(returns)) => {
                matrix("returns", returns, n)?;
                let view = view(returns, n)?;
                let sample = covariance(hardware, &view, 1).map_err(|error| failed("returns", &error))?;
                parts("returns", &sample)?
            }
            (None, None, None) => {
                let reason = "nothing says how prices move together: send it, or returns, or correlations and volatilities";
                return Err(RiskError::new("missing", "covariance", reason));
            }
        };
        Ok(Joint { correlations, deviations, columns })
    }

    fn given(
        &self,
        correlations: &ScenarioMatrix,
        n: usize,
    ) -> Result<(Array2<f64>, Array1<f64>), RiskError> {
        let Some(volatilities) = self.volatilities else {
            let reason = "correlations need the standard deviations of returns: send one per instrument";
            return Err(RiskError::new("missing", "volatilities", reason));
        };
        if volatilities.len() != n {
            let reason = format!("{} numbers for {n} instruments: send one each", volatilities.len());
            return Err(RiskError::new("unequal_lengths", "volatilities", reason));
        }
        for (at, value) in volatilities.iter().enumerate() {
            let legal = value.is_finite() && *value >= 0.0;
            range(legal, || format!("volatilities[{at}]"), *value, "it is at least 0")?;
        }
        matrix("correlations", correlations, n)?;
        let square = square("correlations", correlations, n)?;
        for ((i, j), value) in square.indexed_iter() {
            let field = || format!("correlations[{i}][{j}]");
            if i == j {
                range((value - 1.0).abs() <= ROUNDING, field, *value, "the diagonal is 1")?;
            }
            range(value.abs() <= 1.0 + ROUNDING, field, *value, "it lies between −1 and 1")?;
        }
        let mut correlations = square;
        correlations.diag_mut().fill(1.0);
        Ok((correlations, volatilities.iter().copied().collect()))
    }
}

impl Joint {
    /// ρᵢⱼ·σᵢ·σⱼ·horizon.
    pub(super) fn covariance(&self, correlations: &Array2<f64>, horizon: f64) -> Array2<f64> {
        let sigma = &self.deviations;
        Array2::from_shape_fn(correlations.dim(), |(i, j)| {
            correlations[[i, j]] * sigma[i] * sigma[j] * horizon
        })
    }
}

fn view(matrix: &ScenarioMatrix, columns: usize) -> Result<ArrayView2<'_, f64>, RiskError> {
    ArrayView2::from_shape((matrix.rows(), columns), matrix.values())
        .map_err(|error| RiskError::new("unequal_lengths", "returns", error.to_string()))
}

/// Square and symmetric, its two triangles averaged.
fn square(field: &str, matrix: &ScenarioMatrix, n: usize) -> Result<Array2<f64>, RiskError> {
    if matrix.rows() != n {
        let reason = format!("{} rows for {n} instruments: send a square matrix", matrix.rows());
        return Err(RiskError::new("unequal_lengths", field, reason));
    }
    let at = |i: usize, j: usize| matrix.row(i)[j];
    for i in 0..n {
        for j in 0..i {
            let size = at(i, i).abs().max(at(j, j).abs()).max(at(i, j).abs());
            if (at(i, j) - at(j, i)).abs() > ROUNDING * size {
                let reason =
                    format!("{} is not {} of [{j}][{i}]: send a symmetric matrix", at(i, j), at(j, i));
                return Err(RiskError::new("not_symmetric", format!("{field}[{i}][{j}]"), reason));
            }
        }
    }
    Ok(Array2::from_shape_fn((n, n), |(i, j)| 0.5 * (at(i, j) + at(j, i))))
}

/// Correlations and standard deviations of a covariance. What does not move is correlated with nothing.
fn parts(field: &str, covariance: &Array2<f64>) -> Result<(Array2<f64>, Array1<f64>), RiskError> {
    for (i, variance) in covariance.diag().iter().enumerate() {
        let reason = "a variance is at least 0";
        range(*variance >= 0.0 && variance.is_finite(), || format!("{field}[{i}][{i}]"), *variance, reason)?;
    }
    let deviations = covariance.diag().mapv(f64::sqrt);
    let mut correlations = Array2::eye(covariance.nrows());
    for ((i, j), value) in covariance.indexed_iter() {
        let size = deviations[i] * deviations[j];
        if i != j && size > 0.0 {
            let value = value / size;
            let reason = "it is larger than the product of both standard deviations";
            range(value.abs() <= 1.0 + ROUNDING, || format!("{field}[{i}][{j}]"), value, reason)?;
            correlations[[i, j]] = value.clamp(-1.0, 1.0);
        }
    }
    Ok((correlations, deviations))
}

/// The matrix work's refusal, as one of a field.
pub(super) fn failed(field: &str, error: &MatrixError) -> RiskError {
    let code = match error {
        MatrixError::TooFewObservations { .. } => "too_few_scenarios",
        MatrixError::NotFinite { .. } | MatrixError::Overflow => "overflow",
        _ => "matrix",
    };
    RiskError::new(code, field, error.to_string())
}
