//! Products, factors and solutions of `ndarray` matrices, each computed by whatever this machine is fastest with.
//!
//! Every multiplication goes through [`Hardware`], which the caller hands in: the process's own, or one that is pinned
//! to a backend where equal inputs have to give equal bits everywhere. What the matrices mean is not known here.

use std::borrow::Cow;

use nautilus_hardware::{Error, Hardware, Matrix, MatrixMut};
use ndarray::{Array2, ArrayRef1, ArrayRef2};

/// Elements of a result, at most: 2 GiB. A wide matrix of one row must not ask for its square in memory.
pub const ELEMENTS_MAX: usize = 1 << 28;

/// Why there is no result. One sentence each.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MatrixError {
    /// The shapes do not belong together, the matrix is not positive definite, or no backend could run the job.
    #[error(transparent)]
    Hardware(#[from] Error),
    /// There is nothing to divide by.
    #[error("{observations} observations are too few for ddof {ddof}: give at least {}", ddof + 1)]
    TooFewObservations {
        /// Rows that were given.
        observations: usize,
        /// Degrees of freedom that are taken off.
        ddof: usize,
    },
    /// The decay is not one.
    #[error("a decay of {0} weighs nothing: use a number above 0 and at most 1, for example 0.94")]
    Decay(f64),
    /// There is a gap in what must not have any.
    #[error("row {row}, column {column} (from 0) is not a finite number: fill the gap or leave the row out")]
    NotFinite {
        /// Row of the first that is not.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// The numbers are finite and the result is not.
    #[error("the result is too large for a double: measure in a larger unit")]
    Overflow,
    /// The iterations did not settle.
    #[error("an eigenvalue did not settle within {iterations} iterations: report the matrix")]
    NotConverged {
        /// How many there were.
        iterations: usize,
    },
    /// The result would not fit.
    #[error(
        "a result of {rows}×{columns} has more than {ELEMENTS_MAX} elements: ask for fewer columns at once"
    )]
    TooLarge {
        /// Rows of the result.
        rows: usize,
        /// Columns of the result.
        columns: usize,
    },
}

/// A·B, with A m×k and B k×n.
///
/// # Errors
/// The inner sizes differ, or the result is above [`ELEMENTS_MAX`].
pub fn product(
    hardware: &Hardware,
    a: &ArrayRef2<f64>,
    b: &ArrayRef2<f64>,
) -> Result<Array2<f64>, MatrixError> {
    let mut result = zeros(a.nrows(), b.ncols())?;
    let (a, b) = (Operand::of(a), Operand::of(b));
    hardware.gemm(1.0, a.matrix()?, b.matrix()?, 0.0, writable(&mut result)?)?;
    Ok(result)
}

/// xᵀ·A·x. With a covariance of returns and weights it is the variance of the portfolio's return, in the square of the
/// returns' unit.
///
/// # Errors
/// A is not square, or x is not as long as A is wide.
pub fn quadratic_form(
    hardware: &Hardware,
    a: &ArrayRef2<f64>,
    x: &ArrayRef1<f64>,
) -> Result<f64, MatrixError> {
    Ok(hardware.quadratic_form(Operand::of(a).matrix()?, &elements(x))?)
}

/// The lower triangular L with L·Lᵀ = A, zeros above its diagonal. Only the lower triangle of A is read.
///
/// # Errors
/// A is not square, or not positive definite; the latter names the column.
pub fn cholesky(hardware: &Hardware, a: &ArrayRef2<f64>) -> Result<Array2<f64>, MatrixError> {
    let mut l = zeros(a.nrows(), a.ncols())?;
    for (row, (mut to, from)) in l.rows_mut().into_iter().zip(a.rows()).enumerate() {
        to.iter_mut().zip(from).take(row + 1).for_each(|(to, from)| *to = *from);
    }
    hardware.cholesky(writable(&mut l)?)?;
    Ok(l)
}

/// X with A·X = B for a symmetric positive definite A, by [`cholesky`]. Only the lower triangle of A is read.
///
/// # Errors
/// A is not square or not positive definite, or B has not as many rows as A.
pub fn solve_spd(
    hardware: &Hardware,
    a: &ArrayRef2<f64>,
    b: &ArrayRef2<f64>,
) -> Result<Array2<f64>, MatrixError> {
    let l = cholesky(hardware, a)?;
    let mut x = zeros(b.nrows(), b.ncols())?;
    x.assign(b);
    hardware.solve(Operand::of(&l).matrix()?, writable(&mut x)?)?;
    Ok(x)
}

/// A result to be, row by row.
pub(crate) fn zeros(rows: usize, columns: usize) -> Result<Array2<f64>, MatrixError> {
    let size = rows.checked_mul(columns).filter(|size| *size <= ELEMENTS_MAX);
    size.map(|_| Array2::zeros((rows, columns))).ok_or(MatrixError::TooLarge { rows, columns })
}

/// A result that `zeros` made, to be written.
pub(crate) fn writable(result: &mut Array2<f64>) -> Result<MatrixMut<'_, f64>, Error> {
    let (rows, columns) = result.dim();
    let data = result.as_slice_mut().unwrap_or_default();
    Ok(MatrixMut::row_major(data, rows, columns)?)
}

/// A matrix to read: in place where its elements are one block of memory by rows or by columns, otherwise a copy by
/// rows. A copy costs a pass over the elements, which is little beside any product of them.
pub(crate) struct Operand<'a> {
    elements: Cow<'a, [f64]>,
    shape: (usize, usize),
    strides: (usize, usize),
}

impl<'a> Operand<'a> {
    pub(crate) fn of(matrix: &'a ArrayRef2<f64>) -> Self {
        let shape = matrix.dim();
        if let Some(elements) = matrix.as_slice() {
            return Self { elements: elements.into(), shape, strides: (shape.1, 1) };
        }
        // Transposed, a block by columns is one by rows.
        if let Some(elements) = matrix.t().to_slice() {
            return Self { elements: elements.into(), shape, strides: (1, shape.0) };
        }
        let copied = matrix.iter().copied().collect::<Vec<_>>();
        Self { elements: copied.into(), shape, strides: (shape.1, 1) }
    }

    pub(crate) fn matrix(&self) -> Result<Matrix<'_, f64>, Error> {
        let ((rows, columns), (row_stride, column_stride)) = (self.shape, self.strides);
        Ok(Matrix::new(&self.elements, rows, columns, row_stride, column_stride)?)
    }
}

fn elements(vector: &ArrayRef1<f64>) -> Cow<'_, [f64]> {
    vector.as_slice().map_or_else(|| vector.iter().copied().collect(), Cow::Borrowed)
}
