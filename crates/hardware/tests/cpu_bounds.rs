//! Kernels read and write nothing beyond their views: each operand ends where a page begins that nobody may touch, so a
//! single byte too far ends the test program with a segmentation fault.

#![cfg(unix)]

#[path = "common/guarded.rs"]
mod guarded;

use guarded::{Against, Guarded};
use nautilus_hardware::{
    Axpy, Backend, Cholesky, Dot, Element, Gemm, GemmI8, Job, Matrix, MatrixMut, QuadraticForm, Solve, Syrk,
    Task, backends,
};

/// `count` ones that end where nobody may touch anything.
fn ones<T: Copy + From<u8>>(count: usize) -> Guarded<T> {
    Guarded::new(count, Against::Back, || T::from(1))
}

fn run(backend: &dyn Backend, mut job: Job<'_>) -> bool {
    let spec = job.spec();
    if backend.supports(&spec) {
        backend.run(&mut job).unwrap_or_else(|failure| panic!("{}: {spec:?}: {failure}", backend.id()));
    }
    backend.supports(&spec)
}

/// Strides of a matrix by rows or by columns.
fn strides(by_rows: bool, rows: usize, columns: usize) -> (usize, usize) {
    if by_rows { (columns, 1) } else { (1, rows) }
}

fn check_products<T: Element + From<u8>>(backend: &dyn Backend) {
    for (m, n, k) in (1..=33).map(|n| (n, n, n)).chain([
        (49, 9, 5),
        (5, 50, 17),
        (130, 3, 66),
        (100, 100, 100),
        (1_030, 1, 29),
    ]) {
        for orders in 0..8 {
            let (sa, sb) = (strides(orders & 1 == 0, m, k), strides(orders & 2 == 0, k, n));
            let sc = strides(orders & 4 == 0, m, n);
            let (mut a, mut b, mut c) = (ones(m * k), ones(k * n), ones::<T>(m * n));
            let gemm = Gemm::new(
                T::ONE,
                Matrix::new(a.slice(), m, k, sa.0, sa.1).unwrap(),
                Matrix::new(b.slice(), k, n, sb.0, sb.1).unwrap(),
                T::ONE,
                MatrixMut::new(c.slice(), m, n, sc.0, sc.1).unwrap(),
            );
            let sum = T::from_f64(k as f64 + 1.0);
            if run(backend, T::job(Task::Gemm(gemm.unwrap()))) {
                assert!(c.slice().iter().all(|&c| c == sum), "{}: {m}×{n}×{k}", backend.id());
            }
        }
    }
}

fn check_others<T: Element + From<u8>>(backend: &dyn Backend) {
    for n in (1..=34).chain([63, 64, 65, 100]) {
        for by_rows in [true, false] {
            let (row, column) = strides(by_rows, n, n);
            let mut result = T::ZERO;
            let (mut a, mut x, mut y) = (ones::<T>(n * n), ones::<T>(n), ones::<T>(n));
            let (mut c, mut factor) = (ones::<T>(n * n), ones::<T>(n * n));
            let a = Matrix::new(a.slice(), n, n, row, column).unwrap();
            let x = Matrix::column(x.slice());
            let size = T::from_f64((n * n) as f64);
            if run(backend, T::job(Task::QuadraticForm(QuadraticForm::new(a, x, &mut result).unwrap()))) {
                assert_eq!(result, size);
            }
            let c = MatrixMut::new(c.slice(), n, n, row, column).unwrap();
            run(backend, T::job(Task::Syrk(Syrk::new(T::ONE, a, T::ONE, c).unwrap())));
            let y = y.slice();
            if run(backend, T::job(Task::Dot(Dot::new(x, Matrix::column(y), &mut result).unwrap()))) {
                assert_eq!(result, T::from_f64(n as f64));
            }
            run(backend, T::job(Task::Axpy(Axpy::new(T::ONE, x, MatrixMut::column(y)).unwrap())));
            for i in 0..n {
                factor.slice()[i * (n + 1)] = size;
            }
            let l = MatrixMut::new(factor.slice(), n, n, row, column).unwrap();
            run(backend, T::job(Task::Cholesky(Cholesky::new(l).unwrap())));
            for sides in [1, 3, 9] {
                let (row, column) = strides(by_rows, n, sides);
                let mut b = ones::<T>(n * sides);
                let b = MatrixMut::new(b.slice(), n, sides, row, column).unwrap();
                run(backend, T::job(Task::Solve(Solve::new(a, b).unwrap())));
            }
        }
    }
}

fn check_integers(backend: &dyn Backend) {
    for (m, n, k) in (1..=40).map(|n| (n, n, n)).chain([(9, 17, 5), (3, 49, 130), (17, 1, 1030)]) {
        for orders in 0..8 {
            let (sa, sb) = (strides(orders & 1 == 0, m, k), strides(orders & 2 == 0, k, n));
            let sc = strides(orders & 4 == 0, m, n);
            let (mut a, mut c) = (ones(m * k), ones::<i32>(m * n));
            let mut b = Guarded::new(k * n, Against::Back, || 1_i8);
            let gemm = GemmI8::new(
                Matrix::new(a.slice(), m, k, sa.0, sa.1).unwrap(),
                Matrix::new(b.slice(), k, n, sb.0, sb.1).unwrap(),
                MatrixMut::new(c.slice(), m, n, sc.0, sc.1).unwrap(),
            );
            if run(backend, Job::I8(gemm.unwrap())) {
                assert!(c.slice().iter().all(|&c| c == k as i32), "{}: {m}×{n}×{k}", backend.id());
            }
        }
    }
}

#[test]
fn kernels_stay_inside_their_views() {
    for backend in backends::available() {
        check_products::<f32>(&*backend);
        check_products::<f64>(&*backend);
        check_others::<f32>(&*backend);
        check_others::<f64>(&*backend);
        check_integers(&*backend);
    }
}
