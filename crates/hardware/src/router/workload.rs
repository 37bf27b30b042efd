//! Jobs on memory of their own, to measure with.
//!
//! Operands are chosen so that a job can be run over and over on its own result: factors are near the identity, scale
//! factors keep results in range, and no number is subnormal.

use crate::element::{Element, ElementType};
use crate::job::{
    Axpy, BatchedGemm, Cholesky, Dot, Gemm, GemmI8, Job, Op, Order, QuadraticForm, Solve, Spec, Syrk, Task,
};
use crate::view::{Batch, BatchMut, Matrix, MatrixMut, ShapeError};

/// Operands of one job.
#[derive(Debug)]
pub struct Workload {
    spec: Spec,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    F32(Operands<f32>),
    F64(Operands<f64>),
    I8 { a: Vec<u8>, b: Vec<i8>, c: Vec<i32> },
}

#[derive(Debug)]
struct Operands<T> {
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
    scalar: T,
}

/// Elements of A, B and C.
fn lengths(spec: &Spec) -> Option<[usize; 3]> {
    let Spec { m, n, k, batch, .. } = *spec;
    // A strided matrix takes every other place.
    let room = |x: usize, y: usize, order: Order| {
        x.checked_mul(y)?.checked_mul(if order == Order::Strided { 2 } else { 1 })
    };
    let layout = spec.layout;
    let [a, b, c] = [room(m, k, layout.a)?, room(k, n, layout.b)?, room(m, n, layout.c)?];
    Some([a.checked_mul(batch)?, b.checked_mul(batch)?, c.checked_mul(batch)?])
}

fn strides(rows: usize, columns: usize, order: Order) -> (usize, usize) {
    match order {
        Order::Rows => (columns.max(1), 1),
        Order::Columns => (1, rows.max(1)),
        Order::Strided => (2 * columns.max(1), 2),
    }
}

impl Workload {
    /// Operands for a job like `spec`, or nothing where they would take more than a gigabyte.
    #[must_use]
    pub fn new(spec: &Spec) -> Option<Self> {
        const ELEMENTS_MAX: usize = 1 << 27;
        let lengths = lengths(spec).filter(|lengths| lengths.iter().all(|&length| length <= ELEMENTS_MAX))?;
        let memory = match spec.element {
            ElementType::F32 => Memory::F32(Operands::new(spec, lengths)),
            ElementType::F64 => Memory::F64(Operands::new(spec, lengths)),
            ElementType::I8 => {
                let [a, b, c] = lengths;
                let byte = |i: usize| (i * 37 % 251) as u8;
                Memory::I8 {
                    a: (0..a).map(byte).collect(),
                    b: (0..b).map(|i| byte(i).cast_signed()).collect(),
                    c: vec![0; c],
                }
            }
        };
        Some(Self { spec: *spec, memory })
    }

    /// The job; it can be made and run again and again.
    ///
    /// # Errors
    /// The spec does not describe a job, such as 8-bit factors in an operation that has none.
    pub fn job(&mut self) -> Result<Job<'_>, ShapeError> {
        let spec = &self.spec;
        match &mut self.memory {
            Memory::F32(operands) => Ok(f32::job(operands.task(spec)?)),
            Memory::F64(operands) => Ok(f64::job(operands.task(spec)?)),
            Memory::I8 { a, b, c } => {
                let Spec { m, n, k, .. } = *spec;
                let (a, b) = (Matrix::row_major(a, m, k)?, Matrix::row_major(b, k, n)?);
                Ok(Job::I8(GemmI8::new(a, b, MatrixMut::row_major(c, m, n)?)?))
            }
        }
    }
}

#[cfg(test)]
impl Workload {
    /// The memory that results are written to.
    pub(crate) fn result(&self) -> Vec<f64> {
        match &self.memory {
            Memory::F32(operands) => operands.c.iter().map(|&value| value.into()).collect(),
            Memory::F64(operands) => operands.c.clone(),
            Memory::I8 { c, .. } => c.iter().map(|&value| value.into()).collect(),
        }
    }
}

impl<T: Element> Operands<T> {
    #[allow(clippy::cast_precision_loss)]
    fn new(spec: &Spec, [a, b, c]: [usize; 3]) -> Self {
        let value = |i: usize| T::from_f64((i * 37 % 251) as f64 / 251.0 - 0.5);
        let near_identity = |i: usize| T::from_f64(if i.is_multiple_of(spec.m + 1) { 1.0 } else { 1e-9 });
        let (left, result): (&dyn Fn(usize) -> T, &dyn Fn(usize) -> T) = match spec.op {
            Op::Cholesky => (&value, &near_identity),
            Op::Solve => (&near_identity, &value),
            _ => (&value, &value),
        };
        Self {
            a: (0..a).map(left).collect(),
            b: (0..b).map(value).collect(),
            c: (0..c.max(spec.k)).map(result).collect(),
            scalar: T::ZERO,
        }
    }

    fn task(&mut self, spec: &Spec) -> Result<Task<'_, T>, ShapeError> {
        let Spec { op, m, n, k, batch, layout, .. } = *spec;
        let Self { a, b, c, scalar } = self;
        let [sa, sb, sc] = [strides(m, k, layout.a), strides(k, n, layout.b), strides(m, n, layout.c)];
        let left = Matrix::new(a, m, k, sa.0, sa.1);
        Ok(match op {
            Op::Gemm | Op::Gemv | Op::GemmI8 => {
                let right = Matrix::new(b, k, n, sb.0, sb.1)?;
                Task::Gemm(Gemm::new(T::ONE, left?, right, T::ZERO, MatrixMut::new(c, m, n, sc.0, sc.1)?)?)
            }
            Op::BatchedGemm => Task::BatchedGemm(BatchedGemm::new(
                T::ONE,
                Batch::new(a, batch, m * k, (m, k), sa)?,
                Batch::new(b, batch, k * n, (k, n), sb)?,
                T::ZERO,
                BatchMut::new(c, batch, m * n, (m, n), sc)?,
            )?),
            Op::Syrk => Task::Syrk(Syrk::new(T::ONE, left?, T::ZERO, MatrixMut::new(c, m, m, sc.0, sc.1)?)?),
            Op::QuadraticForm => Task::QuadraticForm(QuadraticForm::new(left?, Matrix::column(b), scalar)?),
            Op::Cholesky => Task::Cholesky(Cholesky::new(MatrixMut::row_major(c, m, m)?)?),
            Op::Solve => {
                Task::Solve(Solve::new(Matrix::row_major(a, m, m)?, MatrixMut::row_major(c, m, n)?)?)
            }
            Op::Dot => Task::Dot(Dot::new(Matrix::column(&a[..k]), Matrix::column(&b[..k]), scalar)?),
            Op::Axpy => {
                let tiny = T::from_f64(1e-9);
                Task::Axpy(Axpy::new(tiny, Matrix::column(&a[..k]), MatrixMut::column(&mut c[..k]))?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::Portable;
    use crate::{Backend, Layout};

    #[test]
    fn every_operation_can_be_run_again_and_again() {
        for op in Op::ALL {
            let element = if op == Op::GemmI8 { ElementType::I8 } else { ElementType::F32 };
            for (m, n, k) in [(9, 5, 7), (1, 1, 1), (0, 3, 2), (40, 3, 40)] {
                let spec = Spec {
                    batch: if op == Op::BatchedGemm { 3 } else { 1 },
                    ..Spec::new(op, element, m, n, k)
                };
                let mut workload = Workload::new(&spec).unwrap();
                for _ in 0..50 {
                    let mut job = workload.job().unwrap();
                    assert_eq!((job.spec().op, job.spec().flops()), (op_of(&spec), spec.flops()));
                    Portable.run(&mut job).unwrap();
                }
            }
        }
    }

    /// A product with one column is the product with a vector.
    fn op_of(spec: &Spec) -> Op {
        if spec.op == Op::Gemm && spec.n == 1 { Op::Gemv } else { spec.op }
    }

    #[test]
    fn operands_lie_as_the_spec_says_and_huge_ones_are_refused() {
        let layout = Layout { a: Order::Columns, b: Order::Strided, c: Order::Columns };
        let spec = Spec { layout, ..Spec::new(Op::Gemm, ElementType::F64, 6, 5, 4) };
        assert_eq!(Workload::new(&spec).unwrap().job().unwrap().spec(), spec);
        let huge = Spec::new(Op::Gemm, ElementType::F64, usize::MAX, usize::MAX, 2);
        assert!(Workload::new(&huge).is_none());
    }
}
