//! The blocked, packing product of the `gemm` crate, for large matrices on any processor.
//!
//! One thread: who has more of them splits the job. It knows products only; a symmetric one is computed as a general one.

#![allow(unsafe_code)]

use crate::backend::{Backend, BackendId, Failure};
use crate::element::Element;
use crate::job::{Gemm, Job, Op, Spec, Task};

/// Products by the `gemm` crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Large;

impl Backend for Large {
    fn id(&self) -> BackendId {
        BackendId::Large
    }

    fn supports(&self, spec: &Spec) -> bool {
        matches!(spec.op, Op::Gemm | Op::Gemv)
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        match job {
            Job::F32(Task::Gemm(gemm)) => product(gemm),
            Job::F64(Task::Gemm(gemm)) => product(gemm),
            _ => return Err(Failure::Broken("the large-matrix library computes products only".to_owned())),
        }
        Ok(())
    }
}

fn product<T: Element>(Gemm { alpha, a, b, beta, c }: &mut Gemm<'_, T>) {
    let (m, n) = (c.rows(), c.columns());
    // Nothing that is scaled by zero is read.
    let k = if *alpha == T::ZERO { 0 } else { a.columns() };
    let read = *beta != T::ZERO;
    let (row, column) = (signed(c.row_stride()), signed(c.column_stride()));
    // SAFETY: the views can be read and written everywhere, C is apart from both, and strides are those of the views.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            column,
            row,
            read,
            a.as_ptr(),
            signed(a.column_stride()),
            signed(a.row_stride()),
            b.as_ptr(),
            signed(b.column_stride()),
            signed(b.row_stride()),
            *beta,
            *alpha,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A stride as the library takes it. A stride that is ever used fits: the view reaches over it.
fn signed(stride: usize) -> isize {
    isize::try_from(stride).unwrap_or(0)
}
