//! Plain loops, always there: the reference that every other backend is checked against.
//!
//! Sums are added in the order of their index with a fused multiply-add, so the result depends on the operands alone.

use crate::backend::{Backend, BackendId, Failure};
use crate::element::Element;
use crate::job::{
    Axpy, BatchedGemm, Cholesky, Dot, Gemm, GemmI8, Job, QuadraticForm, Solve, Spec, Syrk, Task,
};
use crate::view::{Matrix, MatrixMut};

/// The reference backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Portable;

impl Backend for Portable {
    fn id(&self) -> BackendId {
        BackendId::Portable
    }

    fn supports(&self, _: &Spec) -> bool {
        true
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        match job {
            Job::F32(task) => run(task),
            Job::F64(task) => run(task),
            Job::I8(gemm) => {
                gemm_i8(gemm);
                Ok(())
            }
        }
    }
}

fn run<T: Element>(task: &mut Task<'_, T>) -> Result<(), Failure> {
    match task {
        Task::Gemm(Gemm { alpha, a, b, beta, c }) => product(*alpha, *a, *b, *beta, c.reborrow()),
        Task::Syrk(syrk) => rank_update(syrk),
        Task::QuadraticForm(form) => quadratic_form(form),
        Task::BatchedGemm(BatchedGemm { alpha, a, b, beta, c }) => {
            for i in 0..c.count() {
                product(*alpha, a.matrix(i), b.matrix(i), *beta, c.matrix(i));
            }
        }
        Task::Cholesky(Cholesky { a }) => return factor(a),
        Task::Solve(Solve { l, b }) => solve(l, b),
        Task::Dot(Dot { x, y, result }) => **result = dot(x.rows(), |i| x.at(i, 0), |i| y.at(i, 0)),
        Task::Axpy(Axpy { alpha, x, y }) => {
            for i in 0..x.rows() {
                y.set(i, 0, alpha.mul_add(x.at(i, 0), y.at(i, 0)));
            }
        }
    }
    Ok(())
}

fn dot<T: Element>(count: usize, x: impl Fn(usize) -> T, y: impl Fn(usize) -> T) -> T {
    (0..count).fold(T::ZERO, |sum, i| x(i).mul_add(y(i), sum))
}

/// α·sum + β·old, where nothing that is scaled by zero has been read.
fn scaled<T: Element>(alpha: T, sum: impl FnOnce() -> T, beta: T, old: impl FnOnce() -> T) -> T {
    let product = if alpha == T::ZERO { T::ZERO } else { alpha * sum() };
    if beta == T::ZERO { product } else { beta.mul_add(old(), product) }
}

fn product<T: Element>(alpha: T, a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, mut c: MatrixMut<'_, T>) {
    for i in 0..c.rows() {
        for j in 0..c.columns() {
            let sum = || dot(a.columns(), |p| a.at(i, p), |p| b.at(p, j));
            let value = scaled(alpha, sum, beta, || c.at(i, j));
            c.set(i, j, value);
        }
    }
}

fn rank_update<T: Element>(Syrk { alpha, a, beta, c }: &mut Syrk<'_, T>) {
    for i in 0..c.rows() {
        for j in 0..=i {
            let sum = || dot(a.columns(), |p| a.at(i, p), |p| a.at(j, p));
            let value = scaled(*alpha, sum, *beta, || c.at(i, j));
            c.set(i, j, value);
            c.set(j, i, value);
        }
    }
}

fn quadratic_form<T: Element>(QuadraticForm { a, x, result }: &mut QuadraticForm<'_, T>) {
    let row = |i| dot(a.columns(), |j| a.at(i, j), |j| x.at(j, 0));
    **result = dot(a.rows(), |i| x.at(i, 0), row);
}

fn factor<T: Element>(a: &mut MatrixMut<'_, T>) -> Result<(), Failure> {
    for j in 0..a.rows() {
        let pivot = a.at(j, j) - dot(j, |p| a.at(j, p), |p| a.at(j, p));
        // NaN is not above zero either.
        if pivot.partial_cmp(&T::ZERO) != Some(std::cmp::Ordering::Greater) {
            return Err(Failure::NotPositiveDefinite { column: j });
        }
        let root = pivot.sqrt();
        a.set(j, j, root);
        for i in j + 1..a.rows() {
            let rest = a.at(i, j) - dot(j, |p| a.at(i, p), |p| a.at(j, p));
            a.set(i, j, rest / root);
        }
    }
    Ok(())
}

/// Forward through L, backward through Lᵀ.
fn solve<T: Element>(l: &Matrix<'_, T>, b: &mut MatrixMut<'_, T>) {
    let order = l.rows();
    for column in 0..b.columns() {
        for i in 0..order {
            let known = dot(i, |p| l.at(i, p), |p| b.at(p, column));
            b.set(i, column, (b.at(i, column) - known) / l.at(i, i));
        }
        for i in (0..order).rev() {
            let known = dot(order - i - 1, |p| l.at(i + 1 + p, i), |p| b.at(i + 1 + p, column));
            b.set(i, column, (b.at(i, column) - known) / l.at(i, i));
        }
    }
}

fn gemm_i8(GemmI8 { a, b, c }: &mut GemmI8<'_>) {
    for i in 0..c.rows() {
        for j in 0..c.columns() {
            let sum = (0..a.columns()).map(|p| i32::from(a.at(i, p)) * i32::from(b.at(p, j))).sum();
            c.set(i, j, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_f64(task: Task<'_, f64>) -> Result<(), Failure> {
        Portable.run(&mut Job::F64(task))
    }

    #[test]
    fn a_product_by_hand() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        let mut c = [f64::NAN, 1.0, 1.0, 1.0];
        let view = |data| Matrix::row_major(data, 2, 2).unwrap();
        let gemm =
            Gemm::new(2.0, view(&a), view(&b), 0.0, MatrixMut::row_major(&mut c, 2, 2).unwrap()).unwrap();
        run_f64(Task::Gemm(gemm)).unwrap();
        assert_eq!(c, [38.0, 44.0, 86.0, 100.0]);
    }

    #[test]
    fn a_factor_and_a_solution_by_hand() {
        let mut a = [4.0, -1.0, 2.0, 5.0];
        run_f64(Task::Cholesky(Cholesky::new(MatrixMut::row_major(&mut a, 2, 2).unwrap()).unwrap())).unwrap();
        assert_eq!(a, [2.0, -1.0, 1.0, 2.0], "the upper triangle is left alone");
        let mut b = [8.0, 14.0];
        let l = Matrix::row_major(&a, 2, 2).unwrap();
        run_f64(Task::Solve(Solve::new(l, MatrixMut::column(&mut b)).unwrap())).unwrap();
        assert_eq!(b, [0.75, 2.5]);
        for bad in [[1.0, 0.0, 2.0, 1.0], [f64::NAN, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]] {
            let mut a = bad;
            let cholesky = Cholesky::new(MatrixMut::row_major(&mut a, 2, 2).unwrap()).unwrap();
            let failure = run_f64(Task::Cholesky(cholesky)).unwrap_err();
            assert!(matches!(failure, Failure::NotPositiveDefinite { .. }), "{bad:?}");
        }
    }

    #[test]
    fn empty_sums_are_zero_and_zero_reads_nothing() {
        let none: [f64; 0] = [];
        let mut c = [f64::NAN; 4];
        let a = Matrix::row_major(&none, 2, 0).unwrap();
        let b = Matrix::row_major(&none, 0, 2).unwrap();
        let gemm = Gemm::new(1.0, a, b, 0.0, MatrixMut::row_major(&mut c, 2, 2).unwrap()).unwrap();
        run_f64(Task::Gemm(gemm)).unwrap();
        assert_eq!(c, [0.0; 4]);
        let bad = [f64::NAN; 4];
        let view = Matrix::row_major(&bad, 2, 2).unwrap();
        let gemm = Gemm::new(0.0, view, view, 1.0, MatrixMut::row_major(&mut c, 2, 2).unwrap()).unwrap();
        run_f64(Task::Gemm(gemm)).unwrap();
        assert_eq!(c, [0.0; 4]);
    }
}
