//! What can be asked for: operations on views, each checked when it is made, and their outline without the data.
//!
//! Conventions are those of BLAS and LAPACK: with `beta` = 0 the result is written without being read, with
//! `alpha` = 0 the factors are not read; everything else follows IEEE 754, so NaN and infinities propagate. Which order
//! sums are added in is each backend's own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::element::{Element, ElementType};
use crate::view::{Batch, BatchMut, Extent, Matrix, MatrixMut, ShapeError};

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// C ← α·A·B + β·C, A m×k, B k×n.
    Gemm,
    /// [`Op::Gemm`] with one column: y ← α·A·x + β·y, A m×k.
    Gemv,
    /// C ← α·A·Aᵀ + β·C, A m×k, both triangles of C written.
    Syrk,
    /// xᵀ·A·x, A m×m.
    QuadraticForm,
    /// [`Op::Gemm`] over many matrices of one shape.
    BatchedGemm,
    /// A = L·Lᵀ in place, A m×m.
    Cholesky,
    /// X with L·Lᵀ·X = B in place, L m×m, B m×n.
    Solve,
    /// Σ xᵢ·yᵢ over k elements.
    Dot,
    /// y ← α·x + y over k elements.
    Axpy,
    /// C ← A·B with A unsigned and B signed 8-bit integers and C 32-bit: exact while k ≤ 66,051.
    GemmI8,
}

impl Op {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::Gemm,
        Self::Gemv,
        Self::Syrk,
        Self::QuadraticForm,
        Self::BatchedGemm,
        Self::Cholesky,
        Self::Solve,
        Self::Dot,
        Self::Axpy,
        Self::GemmI8,
    ];

    /// Its name in requests, labels and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::Gemv => "gemv",
            Self::Syrk => "syrk",
            Self::QuadraticForm => "quadratic_form",
            Self::BatchedGemm => "batched_gemm",
            Self::Cholesky => "cholesky",
            Self::Solve => "solve",
            Self::Dot => "dot",
            Self::Axpy => "axpy",
            Self::GemmI8 => "gemm_i8",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|op| op.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|op| op.as_str()).collect();
            format!("there is no operation '{text}': use one of {}", names.join(", "))
        })
    }
}

/// Which neighbours of a matrix stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Those of a row.
    Rows,
    /// Those of a column.
    Columns,
    /// Neither.
    Strided,
}

impl Order {
    #[inline]
    fn of(extent: Extent) -> Self {
        match (extent.row_stride, extent.column_stride) {
            (_, 1) => Self::Rows,
            (1, _) => Self::Columns,
            _ => Self::Strided,
        }
    }
}

/// The orders of the operands of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Of the left factor.
    pub a: Order,
    /// Of the right factor.
    pub b: Order,
    /// Of the result.
    pub c: Order,
}

impl Layout {
    /// Everything by rows.
    pub const ROWS: Self = Self { a: Order::Rows, b: Order::Rows, c: Order::Rows };
}

/// A job without its data: what a decision about it may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spec {
    /// The operation.
    pub op: Op,
    /// What the matrices are made of.
    pub element: ElementType,
    /// Rows of the result; the order of a square operand.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// The length of each sum.
    pub k: usize,
    /// How many times.
    pub batch: usize,
    /// How the operands lie in memory.
    pub layout: Layout,
}

impl Spec {
    /// A spec with everything by rows, where sizes that `op` does not have are set to what they are by definition.
    #[must_use]
    pub fn new(op: Op, element: ElementType, m: usize, n: usize, k: usize) -> Self {
        let (m, n, k) = match op {
            Op::Gemm | Op::BatchedGemm | Op::GemmI8 => (m, n, k),
            Op::Gemv => (m, 1, k),
            Op::Syrk => (m, m, k),
            Op::QuadraticForm => (m, 1, m),
            Op::Cholesky => (m, m, m),
            Op::Solve => (m, n, m),
            Op::Dot | Op::Axpy => (1, 1, k),
        };
        Self { op, element, m, n, k, batch: 1, layout: Layout::ROWS }
    }

    /// Additions and multiplications.
    #[must_use]
    pub fn flops(&self) -> f64 {
        let [m, n, k, batch] = [self.m, self.n, self.k, self.batch].map(to_f64);
        match self.op {
            Op::Gemm | Op::Gemv | Op::BatchedGemm | Op::GemmI8 => 2.0 * m * n * k * batch,
            // Half of the result mirrors the other half.
            Op::Syrk => m * (m + 1.0) * k,
            Op::QuadraticForm => 2.0 * m * m + 2.0 * m,
            Op::Cholesky => m * m * m / 3.0,
            Op::Solve => 2.0 * m * m * n,
            Op::Dot | Op::Axpy => 2.0 * k,
        }
    }

    /// Bytes of the operands, each counted once for each time it is read or written.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        let [m, n, k, batch] = [self.m, self.n, self.k, self.batch].map(to_f64);
        let element = to_f64(self.element.bytes());
        match self.op {
            Op::Gemm | Op::Gemv | Op::BatchedGemm => element * batch * (m * k + k * n + 2.0 * m * n),
            Op::GemmI8 => m * k + k * n + 4.0 * m * n,
            Op::Syrk => element * (m * k + 2.0 * m * m),
            Op::QuadraticForm => element * (m * m + 2.0 * m),
            Op::Cholesky => element * m * m,
            Op::Solve => element * (m * m + 2.0 * m * n),
            Op::Dot => element * 2.0 * k,
            Op::Axpy => element * 3.0 * k,
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(count: usize) -> f64 {
    count as f64
}

fn same(what: &'static str, left: usize, right: usize) -> Result<(), ShapeError> {
    if left == right { Ok(()) } else { Err(ShapeError::Mismatch { what, left, right }) }
}

/// C ← α·A·B + β·C.
#[derive(Debug)]
pub struct Gemm<'a, T> {
    pub(crate) alpha: T,
    pub(crate) a: Matrix<'a, T>,
    pub(crate) b: Matrix<'a, T>,
    pub(crate) beta: T,
    pub(crate) c: MatrixMut<'a, T>,
}

impl<'a, T: Element> Gemm<'a, T> {
    /// A is m×k, B k×n, C m×n. A single row of results is turned into a single column, so that there is one GEMV.
    ///
    /// # Errors
    /// The shapes do not belong together.
    pub fn new(
        alpha: T,
        a: Matrix<'a, T>,
        b: Matrix<'a, T>,
        beta: T,
        c: MatrixMut<'a, T>,
    ) -> Result<Self, ShapeError> {
        same("rows of A and rows of C", a.rows(), c.rows())?;
        same("columns of B and columns of C", b.columns(), c.columns())?;
        same("columns of A and rows of B", a.columns(), b.rows())?;
        if c.rows() == 1 && c.columns() > 1 {
            return Ok(Self { alpha, a: b.transposed(), b: a.transposed(), beta, c: c.transposed() });
        }
        Ok(Self { alpha, a, b, beta, c })
    }

    #[inline]
    fn spec(&self) -> Spec {
        let (m, n, k) = (self.c.rows(), self.c.columns(), self.a.columns());
        let op = if n == 1 { Op::Gemv } else { Op::Gemm };
        let layout = Layout {
            a: order(&self.a),
            b: order(&self.b),
            c: Order::of(Extent {
                rows: m,
                columns: n,
                row_stride: self.c.row_stride(),
                column_stride: self.c.column_stride(),
            }),
        };
        Spec { op, element: T::TYPE, m, n, k, batch: 1, layout }
    }
}

#[inline]
fn order<T>(matrix: &Matrix<'_, T>) -> Order {
    Order::of(Extent {
        rows: matrix.rows(),
        columns: matrix.columns(),
        row_stride: matrix.row_stride(),
        column_stride: matrix.column_stride(),
    })
}

/// C ← α·A·Aᵀ + β·C; C is symmetric before and after, and both triangles are written.
#[derive(Debug)]
pub struct Syrk<'a, T> {
    pub(crate) alpha: T,
    pub(crate) a: Matrix<'a, T>,
    pub(crate) beta: T,
    pub(crate) c: MatrixMut<'a, T>,
}

impl<'a, T: Element> Syrk<'a, T> {
    /// A is m×k, C m×m. Only the lower triangle of C is read.
    ///
    /// # Errors
    /// The shapes do not belong together.
    pub fn new(alpha: T, a: Matrix<'a, T>, beta: T, c: MatrixMut<'a, T>) -> Result<Self, ShapeError> {
        same("rows of A and rows of C", a.rows(), c.rows())?;
        same("rows of C and columns of C", c.rows(), c.columns())?;
        Ok(Self { alpha, a, beta, c })
    }
}

/// xᵀ·A·x.
#[derive(Debug)]
pub struct QuadraticForm<'a, T> {
    pub(crate) a: Matrix<'a, T>,
    pub(crate) x: Matrix<'a, T>,
    pub(crate) result: &'a mut T,
}

impl<'a, T: Element> QuadraticForm<'a, T> {
    /// A is m×m, x m×1.
    ///
    /// # Errors
    /// The shapes do not belong together.
    pub fn new(a: Matrix<'a, T>, x: Matrix<'a, T>, result: &'a mut T) -> Result<Self, ShapeError> {
        same("rows of A and columns of A", a.rows(), a.columns())?;
        same("columns of A and rows of x", a.columns(), x.rows())?;
        same("columns of x and one", x.columns(), 1)?;
        Ok(Self { a, x, result })
    }
}

/// Cᵢ ← α·Aᵢ·Bᵢ + β·Cᵢ.
#[derive(Debug)]
pub struct BatchedGemm<'a, T> {
    pub(crate) alpha: T,
    pub(crate) a: Batch<'a, T>,
    pub(crate) b: Batch<'a, T>,
    pub(crate) beta: T,
    pub(crate) c: BatchMut<'a, T>,
}

impl<'a, T: Element> BatchedGemm<'a, T> {
    /// Each A is m×k, B k×n, C m×n.
    ///
    /// # Errors
    /// The shapes or the counts do not belong together.
    pub fn new(
        alpha: T,
        a: Batch<'a, T>,
        b: Batch<'a, T>,
        beta: T,
        c: BatchMut<'a, T>,
    ) -> Result<Self, ShapeError> {
        same("matrices of A and matrices of C", a.count(), c.count())?;
        same("matrices of B and matrices of C", b.count(), c.count())?;
        same("rows of A and rows of C", a.extent().rows, c.extent().rows)?;
        same("columns of B and columns of C", b.extent().columns, c.extent().columns)?;
        same("columns of A and rows of B", a.extent().columns, b.extent().rows)?;
        Ok(Self { alpha, a, b, beta, c })
    }
}

/// A = L·Lᵀ in place.
#[derive(Debug)]
pub struct Cholesky<'a, T> {
    pub(crate) a: MatrixMut<'a, T>,
}

impl<'a, T: Element> Cholesky<'a, T> {
    /// A is m×m. Its lower triangle is read and becomes L; its strict upper triangle is left alone.
    ///
    /// # Errors
    /// A is not square.
    pub fn new(a: MatrixMut<'a, T>) -> Result<Self, ShapeError> {
        same("rows of A and columns of A", a.rows(), a.columns())?;
        Ok(Self { a })
    }
}

/// X with L·Lᵀ·X = B, in the place of B.
#[derive(Debug)]
pub struct Solve<'a, T> {
    pub(crate) l: Matrix<'a, T>,
    pub(crate) b: MatrixMut<'a, T>,
}

impl<'a, T: Element> Solve<'a, T> {
    /// L is the lower triangle of an m×m matrix (as [`Cholesky`] leaves it), B m×n.
    ///
    /// # Errors
    /// The shapes do not belong together.
    pub fn new(l: Matrix<'a, T>, b: MatrixMut<'a, T>) -> Result<Self, ShapeError> {
        same("rows of L and columns of L", l.rows(), l.columns())?;
        same("columns of L and rows of B", l.columns(), b.rows())?;
        Ok(Self { l, b })
    }
}

/// Σ xᵢ·yᵢ.
#[derive(Debug)]
pub struct Dot<'a, T> {
    pub(crate) x: Matrix<'a, T>,
    pub(crate) y: Matrix<'a, T>,
    pub(crate) result: &'a mut T,
}

impl<'a, T: Element> Dot<'a, T> {
    /// x and y are k×1.
    ///
    /// # Errors
    /// The shapes do not belong together.
    pub fn new(x: Matrix<'a, T>, y: Matrix<'a, T>, result: &'a mut T) -> Result<Self, ShapeError> {
        same("rows of x and rows of y", x.rows(), y.rows())?;
        same("columns of x and one", x.columns(), 1)?;
        same("columns of y and one", y.columns(), 1)?;
        Ok(Self { x, y, result })
    }
}

/// y ← α·x + y.
#[derive(Debug)]
pub struct Axpy<'a, T> {
    pub(crate) alpha: T,
    pub(crate) x: Matrix<'a, T>,
    pub(crate) y: MatrixMut<'a, T>,
}

impl<'a, T: Element> Axpy<'a, T> {
    /// x and y are k×1.
    ///
    /// # Errors
    /// The shapes do not belong together.
    pub fn new(alpha: T, x: Matrix<'a, T>, y: MatrixMut<'a, T>) -> Result<Self, ShapeError> {
        same("rows of x and rows of y", x.rows(), y.rows())?;
        same("columns of x and one", x.columns(), 1)?;
        same("columns of y and one", y.columns(), 1)?;
        Ok(Self { alpha, x, y })
    }
}

/// C ← A·B, exactly.
#[derive(Debug)]
pub struct GemmI8<'a> {
    pub(crate) a: Matrix<'a, u8>,
    pub(crate) b: Matrix<'a, i8>,
    pub(crate) c: MatrixMut<'a, i32>,
}

impl<'a> GemmI8<'a> {
    /// The longest sum that cannot overflow 32 bits: every product is at most 255 · 128 in size.
    pub const K_MAX: usize = i32::MAX as usize / (255 * 128);

    /// A is m×k, B k×n, C m×n.
    ///
    /// # Errors
    /// The shapes do not belong together, or k is above [`GemmI8::K_MAX`].
    pub fn new(a: Matrix<'a, u8>, b: Matrix<'a, i8>, c: MatrixMut<'a, i32>) -> Result<Self, ShapeError> {
        same("rows of A and rows of C", a.rows(), c.rows())?;
        same("columns of B and columns of C", b.columns(), c.columns())?;
        same("columns of A and rows of B", a.columns(), b.rows())?;
        let k = a.columns();
        if k > Self::K_MAX {
            let what = "columns of A, above which 32-bit sums may overflow";
            return Err(ShapeError::Mismatch { what, left: k, right: Self::K_MAX });
        }
        Ok(Self { a, b, c })
    }
}

/// A job on `f32` or `f64`.
#[derive(Debug)]
pub enum Task<'a, T> {
    /// See [`Gemm`].
    Gemm(Gemm<'a, T>),
    /// See [`Syrk`].
    Syrk(Syrk<'a, T>),
    /// See [`QuadraticForm`].
    QuadraticForm(QuadraticForm<'a, T>),
    /// See [`BatchedGemm`].
    BatchedGemm(BatchedGemm<'a, T>),
    /// See [`Cholesky`].
    Cholesky(Cholesky<'a, T>),
    /// See [`Solve`].
    Solve(Solve<'a, T>),
    /// See [`Dot`].
    Dot(Dot<'a, T>),
    /// See [`Axpy`].
    Axpy(Axpy<'a, T>),
}

impl<T: Element> Task<'_, T> {
    /// The job without its data.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let spec = |op, m, n, k| Spec::new(op, T::TYPE, m, n, k);
        match self {
            Self::Gemm(gemm) => gemm.spec(),
            Self::Syrk(syrk) => {
                let order = order(&syrk.a);
                let layout = Layout { a: order, ..Layout::ROWS };
                Spec { layout, ..spec(Op::Syrk, syrk.c.rows(), 0, syrk.a.columns()) }
            }
            Self::QuadraticForm(form) => spec(Op::QuadraticForm, form.a.rows(), 0, 0),
            Self::BatchedGemm(all) => {
                let (c, k) = (all.c.extent(), all.a.extent().columns);
                let layout =
                    Layout { a: Order::of(all.a.extent()), b: Order::of(all.b.extent()), c: Order::of(c) };
                Spec { batch: all.c.count(), layout, ..spec(Op::BatchedGemm, c.rows, c.columns, k) }
            }
            Self::Cholesky(cholesky) => spec(Op::Cholesky, cholesky.a.rows(), 0, 0),
            Self::Solve(solve) => spec(Op::Solve, solve.l.rows(), solve.b.columns(), 0),
            Self::Dot(dot) => spec(Op::Dot, 0, 0, dot.x.rows()),
            Self::Axpy(axpy) => spec(Op::Axpy, 0, 0, axpy.x.rows()),
        }
    }
}

/// One operation on the caller's memory.
#[derive(Debug)]
pub enum Job<'a> {
    /// On single precision.
    F32(Task<'a, f32>),
    /// On double precision.
    F64(Task<'a, f64>),
    /// On 8-bit integers.
    I8(GemmI8<'a>),
}

impl Job<'_> {
    /// The job without its data.
    #[must_use]
    #[inline]
    pub fn spec(&self) -> Spec {
        match self {
            Self::F32(task) => task.spec(),
            Self::F64(task) => task.spec(),
            Self::I8(gemm) => {
                Spec::new(Op::GemmI8, ElementType::I8, gemm.c.rows(), gemm.c.columns(), gemm.a.columns())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_do_not_belong_together_are_named() {
        let data = [0.0_f64; 12];
        let mut c = [0.0; 12];
        let matrix = |rows, columns| Matrix::row_major(&data, rows, columns).unwrap();
        for ((am, ak), (bk, bn), part) in [
            ((2, 3), (4, 3), "columns of A and rows of B: 3 is not 4"),
            ((3, 3), (3, 3), "rows of A and rows of C: 3 is not 2"),
            ((2, 3), (3, 2), "columns of B and columns of C: 2 is not 3"),
        ] {
            let c = MatrixMut::row_major(&mut c, 2, 3).unwrap();
            let error = Gemm::new(1.0, matrix(am, ak), matrix(bk, bn), 0.0, c).unwrap_err();
            assert_eq!(error.to_string(), part);
        }
    }

    #[test]
    fn a_row_of_results_is_a_matrix_times_a_vector() {
        let data = [1.0_f32; 12];
        let mut c = [0.0; 4];
        let a = Matrix::row_major(&data, 1, 3).unwrap();
        let b = Matrix::row_major(&data, 3, 4).unwrap();
        let gemm = Gemm::new(1.0, a, b, 0.0, MatrixMut::row_major(&mut c, 1, 4).unwrap()).unwrap();
        let spec = Task::Gemm(gemm).spec();
        assert_eq!((spec.op, spec.m, spec.n, spec.k), (Op::Gemv, 4, 1, 3));
        assert_eq!(spec.layout.a, Order::Columns);
    }

    #[test]
    fn names_are_read_back() {
        for op in Op::ALL {
            assert_eq!(op.as_str().parse(), Ok(op));
        }
        assert!("gem".parse::<Op>().unwrap_err().contains("use one of gemm, gemv"));
    }
}
