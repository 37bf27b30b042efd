//! The correlation matrix that is nearest to a symmetric matrix which is none.
//!
//! Higham (2002) posed the problem, in the Frobenius norm; here it is solved by the Newton method of Qi and Sun (2006) on
//! its dual, min over y of ½·‖(A + Diag y)₊‖² − Σ y, whose convergence is quadratic where alternating projections
//! take hundreds of eigenvalue problems.

use nautilus_hardware::{Error, Hardware, ShapeError};
use ndarray::{Array1, Array2, ArrayRef2};

use crate::eigen::symmetric_eigen;
use crate::matrix::{MatrixError, product};

/// Newton steps, at most, conjugate gradients in each, and halvings of one step.
const ITERATIONS_MAX: usize = 50;
const GRADIENTS_MAX: usize = 200;
const HALVINGS_MAX: usize = 30;
/// How far the diagonal may be from 1 before it is scaled to it, per row.
const SETTLED: f64 = 1e-13;

/// A repaired correlation matrix and what the repair did.
#[derive(Debug, Clone, PartialEq)]
pub struct NearestCorrelation {
    /// Symmetric, 1 on the diagonal, no eigenvalue below 0 but by rounding.
    pub matrix: Array2<f64>,
    /// ‖A − matrix‖ by Frobenius; 0 where nothing had to be repaired.
    pub distance: f64,
    /// The smallest eigenvalue of A.
    pub smallest_eigenvalue: f64,
    /// Newton steps.
    pub iterations: usize,
}

/// A point of the dual problem.
struct Point {
    y: Array1<f64>,
    values: Array1<f64>,
    vectors: Array2<f64>,
    /// diag((A + Diag y)₊) − 1.
    gradient: Array1<f64>,
    objective: f64,
}

/// The correlation matrix nearest to A, n×n, of which only the lower triangle is read. One that is positive
/// semidefinite with a diagonal of 1 is its own answer, to the bit.
///
/// # Errors
/// A is not square, an element is not finite, or the iterations do not settle.
pub fn nearest_correlation(
    hardware: &Hardware,
    a: &ArrayRef2<f64>,
) -> Result<NearestCorrelation, MatrixError> {
    let (n, columns) = a.dim();
    if n != columns {
        let what = "rows and columns of a correlation";
        return Err(Error::from(ShapeError::Mismatch { what, left: n, right: columns }).into());
    }
    let a = Array2::from_shape_fn((n, n), |(i, j)| a[[i.max(j), i.min(j)]]);
    let mut point = Point::at(&a, 1.0 - &a.diag())?;
    let smallest_eigenvalue = match symmetric_eigen(&a)?.0.last() {
        Some(smallest) => *smallest,
        None => return Ok(unchanged(a, f64::NAN)),
    };
    let largest = point.values.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
    let rounding = f64::EPSILON * size(n) * largest;
    if a.diag().iter().all(|element| *element == 1.0) && smallest_eigenvalue >= -rounding {
        return Ok(unchanged(a, smallest_eigenvalue));
    }
    for iterations in 0..=ITERATIONS_MAX {
        let off = norm(&point.gradient);
        let next = if off <= SETTLED * size(n) { None } else { point.step(hardware, &a)? };
        match next {
            Some(next) if iterations < ITERATIONS_MAX => point = next,
            // Where no step is lower any more, the rest is rounding if it is small.
            None if off <= 1e3 * SETTLED * size(n) => {
                let matrix = point.correlation(hardware)?;
                let distance = norm(&(&matrix - &a));
                return Ok(NearestCorrelation { matrix, distance, smallest_eigenvalue, iterations });
            }
            _ => break,
        }
    }
    Err(MatrixError::NotConverged { iterations: ITERATIONS_MAX })
}

fn unchanged(matrix: Array2<f64>, smallest_eigenvalue: f64) -> NearestCorrelation {
    NearestCorrelation { matrix, distance: 0.0, smallest_eigenvalue, iterations: 0 }
}

impl Point {
    fn at(a: &Array2<f64>, y: Array1<f64>) -> Result<Self, MatrixError> {
        let mut shifted = a.clone();
        shifted.diag_mut().iter_mut().zip(&y).for_each(|(element, y)| *element += y);
        let (values, vectors) = symmetric_eigen(&shifted)?;
        let mut gradient = Array1::from_elem(y.len(), -1.0);
        let mut objective = -y.sum();
        for (value, vector) in values.iter().zip(vectors.rows()).filter(|(value, _)| **value > 0.0) {
            gradient.iter_mut().zip(vector).for_each(|(sum, v)| *sum += value * v * v);
            objective += 0.5 * value * value;
        }
        Ok(Self { y, values, vectors, gradient, objective })
    }

    /// The next point, downhill along Newton's direction; `None` where no step leads down.
    fn step(&self, hardware: &Hardware, a: &Array2<f64>) -> Result<Option<Self>, MatrixError> {
        let direction = self.direction(hardware)?;
        let slope: f64 = self.gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let mut length = 1.0;
        for _ in 0..HALVINGS_MAX {
            let next = Self::at(a, &self.y + &(length * &direction))?;
            // Near the end the objective is flat to rounding, and the gradient tells more.
            let nearer = norm(&next.gradient) <= 0.5 * norm(&self.gradient);
            if nearer || next.objective < self.objective + 1e-4 * length * slope {
                return Ok(Some(next));
            }
            length *= 0.5;
        }
        Ok(None)
    }

    /// Solves V·d = −gradient by conjugate gradients, V the generalised Jacobian of the gradient.
    fn direction(&self, hardware: &Hardware) -> Result<Array1<f64>, MatrixError> {
        let omega = self.omega();
        let mut direction = Array1::zeros(self.y.len());
        let mut residual = -&self.gradient;
        let mut search = residual.clone();
        let start = norm(&self.gradient);
        let accuracy = start * start.min(1e-2);
        let mut square = norm(&residual) * norm(&residual);
        for _ in 0..GRADIENTS_MAX {
            if square.sqrt() <= accuracy {
                break;
            }
            let turned = self.jacobian(hardware, &omega, &search)?;
            let curvature: f64 = search.iter().zip(&turned).map(|(s, t)| s * t).sum();
            if curvature <= 0.0 {
                break;
            }
            let length = square / curvature;
            direction.scaled_add(length, &search);
            residual.scaled_add(-length, &turned);
            let next = norm(&residual) * norm(&residual);
            search = &residual + &(next / square * &search);
            square = next;
        }
        Ok(direction)
    }

    /// Weights of the pairs of eigenvectors: 1 of two positive values, λᵢ/(λᵢ − λⱼ) of a positive and another, else 0.
    fn omega(&self) -> Array2<f64> {
        let n = self.values.len();
        Array2::from_shape_fn((n, n), |(i, j)| {
            let (more, less) = (self.values[i].max(self.values[j]), self.values[i].min(self.values[j]));
            if less > 0.0 {
                1.0
            } else if more > 0.0 {
                more / (more - less)
            } else {
                0.0
            }
        })
    }

    /// diag(P·(Ω∘(Pᵀ·Diag(h)·P))·Pᵀ), and a little of h, for V may be singular. The eigenvectors are rows here.
    fn jacobian(
        &self,
        hardware: &Hardware,
        omega: &Array2<f64>,
        h: &Array1<f64>,
    ) -> Result<Array1<f64>, MatrixError> {
        let scaled = &self.vectors * h;
        let inner = product(hardware, &scaled, &self.vectors.t())? * omega;
        let outer = product(hardware, &inner, &self.vectors)? * &self.vectors;
        Ok(outer.sum_axis(ndarray::Axis(0)) + 1e-12 * h)
    }

    /// (A + Diag y)₊ with its diagonal scaled to 1.
    fn correlation(&self, hardware: &Hardware) -> Result<Array2<f64>, MatrixError> {
        let roots = self.values.mapv(|value| value.max(0.0).sqrt());
        let factor = &self.vectors * &roots.insert_axis(ndarray::Axis(1));
        let positive = product(hardware, &factor.t(), &factor)?;
        let scale: Vec<f64> = positive.diag().iter().map(|element| element.sqrt()).collect();
        Ok(Array2::from_shape_fn(positive.dim(), |(i, j)| {
            let (i, j) = (i.max(j), i.min(j));
            if i == j { 1.0 } else { (positive[[i, j]] / (scale[i] * scale[j])).clamp(-1.0, 1.0) }
        }))
    }
}

fn norm<'a>(elements: impl IntoIterator<Item = &'a f64>) -> f64 {
    elements.into_iter().map(|element| element * element).sum::<f64>().sqrt()
}

#[allow(clippy::cast_precision_loss)]
fn size(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
#[path = "nearest_tests.rs"]
mod tests;
