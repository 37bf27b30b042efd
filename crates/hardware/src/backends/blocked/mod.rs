//! Dense linear algebra in blocks, written once for every vector unit.
//!
//! A unit is a [`Simd`]; what runs on it never allocates after a thread's first call, never reads or writes outside the
//! views of its job, and computes everything that it is asked for.

mod factor;
mod pack;
mod product;
mod simd;
mod tile;
mod vector;

pub(super) use pack::with_buffers;
pub(super) use simd::Simd;

use product::{Part, product};

use crate::backend::Failure;
use crate::job::{BatchedGemm, Cholesky, Gemm, Solve, Syrk, Task};

/// Runs a job on the unit of `simd`.
pub(super) fn run<S: Simd>(simd: S, task: &mut Task<'_, S::Element>) -> Result<(), Failure> {
    match task {
        Task::Gemm(Gemm { alpha, a, b, beta, c }) => {
            product(simd, Part::Whole, *alpha, (*a, *b), *beta, c.reborrow());
        }
        Task::Syrk(Syrk { alpha, a, beta, c }) => {
            product(simd, Part::Lower, *alpha, (*a, a.transposed()), *beta, c.reborrow());
            pack::mirror(simd, c.reborrow());
        }
        Task::QuadraticForm(form) => vector::quadratic_form(simd, form),
        Task::BatchedGemm(BatchedGemm { alpha, a, b, beta, c }) => {
            for i in 0..c.count() {
                product(simd, Part::Whole, *alpha, (a.matrix(i), b.matrix(i)), *beta, c.matrix(i));
            }
        }
        Task::Cholesky(Cholesky { a }) => return factor::factor(simd, a.reborrow(), 0),
        Task::Solve(Solve { l, b }) => {
            factor::forward(simd, *l, b.reborrow());
            factor::backward(simd, *l, b.reborrow());
        }
        Task::Dot(dot) => vector::dot(simd, dot),
        Task::Axpy(axpy) => vector::axpy(simd, axpy),
    }
    Ok(())
}
