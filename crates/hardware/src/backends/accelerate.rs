//! Apple's Accelerate: its BLAS is the public way to the matrix units of Apple's processors.
//!
//! Products only, of operands whose rows or columns are lines of memory; everything else is left to other backends.
//! Compiled for macOS only. It has been checked by the compiler, but not yet run on a Mac.

#![allow(unsafe_code)]

use std::ffi::c_int;

use crate::backend::{Backend, BackendId, Failure};
use crate::job::{Gemm, Job, Op, Order, Spec, Task};

/// Products by Accelerate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accelerate;

impl Backend for Accelerate {
    fn id(&self) -> BackendId {
        BackendId::Accelerate
    }

    fn supports(&self, spec: &Spec) -> bool {
        let layout = spec.layout;
        matches!(spec.op, Op::Gemm | Op::Gemv) && ![layout.a, layout.b, layout.c].contains(&Order::Strided)
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        match job {
            Job::F32(Task::Gemm(gemm)) => product(gemm, cblas_sgemm),
            Job::F64(Task::Gemm(gemm)) => product(gemm, cblas_dgemm),
            _ => Err(Failure::Broken("Accelerate is used for products only".to_owned())),
        }
    }
}

/// CBLAS: order, transpositions of A and B, m, n, k, α, A, its line, B, its line, β, C, its line.
type CblasGemm<T> = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    T,
    *const T,
    c_int,
    *const T,
    c_int,
    T,
    *mut T,
    c_int,
);

#[link(name = "Accelerate", kind = "framework")]
unsafe extern "C" {
    fn cblas_sgemm(
        order: c_int,
        transpose_a: c_int,
        transpose_b: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: f32,
        a: *const f32,
        a_line: c_int,
        b: *const f32,
        b_line: c_int,
        beta: f32,
        c: *mut f32,
        c_line: c_int,
    );
    fn cblas_dgemm(
        order: c_int,
        transpose_a: c_int,
        transpose_b: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: f64,
        a: *const f64,
        a_line: c_int,
        b: *const f64,
        b_line: c_int,
        beta: f64,
        c: *mut f64,
        c_line: c_int,
    );
}

/// `CblasRowMajor`, `CblasNoTrans` and `CblasTrans`.
const ROW_MAJOR: c_int = 101;
const AS_IT_IS: c_int = 111;
const TRANSPOSED: c_int = 112;

fn product<T: Copy>(gemm: &mut Gemm<'_, T>, cblas: CblasGemm<T>) -> Result<(), Failure> {
    let Gemm { alpha, a, b, beta, c } = gemm;
    let (m, n, k) = (c.rows(), c.columns(), a.columns());
    let c_lines = lines(m, n, c.row_stride(), c.column_stride())?;
    let a_lines = lines(m, k, a.row_stride(), a.column_stride())?;
    let b_lines = lines(k, n, b.row_stride(), b.column_stride())?;
    let (m, n, k) = (size(m)?, size(n)?, size(k)?);
    let c = c.as_mut_ptr();
    // SAFETY: the views can be read and written everywhere, and their lines are at least as long as the library asks. A C
    // by columns is computed as Cᵀ = Bᵀ·Aᵀ, for which each operand is transposed once more.
    unsafe {
        let (a, b) = (a.as_ptr(), b.as_ptr());
        if c_lines.0 == AS_IT_IS {
            let (ta, tb) = (a_lines.0, b_lines.0);
            cblas(ROW_MAJOR, ta, tb, m, n, k, *alpha, a, a_lines.1, b, b_lines.1, *beta, c, c_lines.1);
        } else {
            let (ta, tb) = (other(a_lines.0), other(b_lines.0));
            cblas(ROW_MAJOR, tb, ta, n, m, k, *alpha, b, b_lines.1, a, a_lines.1, *beta, c, c_lines.1);
        }
    }
    Ok(())
}

fn other(transposition: c_int) -> c_int {
    if transposition == AS_IT_IS { TRANSPOSED } else { AS_IT_IS }
}

/// Whether a matrix by rows is transposed, and the distance of its lines, which is at least their length.
fn lines(
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
) -> Result<(c_int, c_int), Failure> {
    // Where there is one line only, its distance to the next means nothing.
    let distance = |lines: usize, length: usize, stride: usize| {
        let stride = if lines <= 1 { length.max(1) } else { stride };
        (stride >= length.max(1)).then_some(stride)
    };
    let by_rows = (column_stride == 1 || columns <= 1).then(|| distance(rows, columns, row_stride)).flatten();
    let by_columns = (row_stride == 1 || rows <= 1).then(|| distance(columns, rows, column_stride)).flatten();
    match (by_rows, by_columns) {
        (Some(line), _) => Ok((AS_IT_IS, size(line)?)),
        (None, Some(line)) => Ok((TRANSPOSED, size(line)?)),
        (None, None) => {
            Err(Failure::Broken("Accelerate needs rows or columns that are lines of memory".to_owned()))
        }
    }
}

fn size(count: usize) -> Result<c_int, Failure> {
    c_int::try_from(count)
        .map_err(|_| Failure::Broken(format!("Accelerate counts in 32 bits, which {count} does not fit")))
}
