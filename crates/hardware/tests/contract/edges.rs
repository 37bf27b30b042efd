//! The edges of the contract, on every backend and for every operation: nothing to do, nothing that may be read, strides
//! that mean nothing, operands that share memory.

use nautilus_hardware::{
    Axpy, Backend, Batch, BatchMut, BatchedGemm, Cholesky, Dot, Element, Gemm, GemmI8, Job, Matrix,
    MatrixMut, QuadraticForm, ShapeError, Solve, Syrk, Task, backends,
};

use crate::ran;

const SIZES: [(usize, usize, usize); 8] =
    [(0, 3, 3), (3, 0, 3), (0, 0, 0), (3, 3, 0), (3, 1, 0), (1, 3, 0), (1, 1, 0), (40, 50, 0)];

/// Where α or k is 0, C ← β·C, and with β = 0 not even C is read.
fn products_of_nothing<T: Element>() {
    let (nan, four, two) = (T::from_f64(f64::NAN), T::from_f64(4.0), T::from_f64(2.0));
    let full = [(3, 3, 3), (20, 1, 9), (1, 20, 9), (40, 40, 40)].map(|shape| (shape, T::ZERO));
    for ((m, n, k), alpha) in SIZES.map(|shape| (shape, T::ONE)).into_iter().chain(full) {
        for (before, beta, after) in [(four, T::from_f64(0.5), two), (nan, T::ZERO, T::ZERO)] {
            for backend in backends::available() {
                let (a, b) = (vec![nan; m * k], vec![nan; k * n]);
                let (a, b) = (Matrix::row_major(&a, m, k).unwrap(), Matrix::row_major(&b, k, n).unwrap());
                let check = |c: &[T], op| {
                    assert!(c.iter().all(|c| *c == after), "{}: {op} {m}×{n}×{k}: {c:?}", backend.id());
                };
                let mut c = vec![before; m * n];
                let gemm = Gemm::new(alpha, a, b, beta, MatrixMut::row_major(&mut c, m, n).unwrap());
                if ran(&*backend, T::job(Task::Gemm(gemm.unwrap()))) {
                    check(&c, "gemm");
                }
                let mut c = vec![before; m * m];
                let syrk = Syrk::new(alpha, a, beta, MatrixMut::row_major(&mut c, m, m).unwrap());
                // With n = 0 there may still be an A.
                if (k == 0 || alpha == T::ZERO) && ran(&*backend, T::job(Task::Syrk(syrk.unwrap()))) {
                    check(&c, "syrk");
                }
                let mut c = vec![before; 3 * m * n];
                let all = |columns: usize| (columns.max(1), 1);
                let (one_a, one_b) = (vec![nan; m * k], vec![nan; k * n]);
                let of_a = Batch::new(&one_a, 3, 0, (m, k), all(k)).unwrap();
                let of_b = Batch::new(&one_b, 3, 0, (k, n), all(n)).unwrap();
                let of_c = BatchMut::new(&mut c, 3, m * n, (m, n), all(n)).unwrap();
                let batch = BatchedGemm::new(alpha, of_a, of_b, beta, of_c).unwrap();
                if ran(&*backend, T::job(Task::BatchedGemm(batch))) {
                    check(&c, "batched_gemm");
                }
            }
        }
    }
}

#[test]
fn products_of_nothing_scale_or_clear() {
    products_of_nothing::<f32>();
    products_of_nothing::<f64>();
}

fn run(backend: &dyn Backend, task: Task<'_, f64>) -> bool {
    ran(backend, Job::F64(task))
}

#[test]
fn other_operations_on_nothing() {
    let none: [f64; 0] = [];
    let (empty, no_batch) = (Matrix::column(&none), Batch::new(&none, 0, 9, (3, 3), (3, 1)).unwrap());
    let square = Matrix::row_major(&none, 0, 0).unwrap();
    for backend in backends::available() {
        let mut result = 5.0;
        if run(&*backend, Task::Dot(Dot::new(empty, empty, &mut result).unwrap())) {
            assert_eq!(result, 0.0, "{}", backend.id());
        }
        result = 5.0;
        if run(&*backend, Task::QuadraticForm(QuadraticForm::new(square, empty, &mut result).unwrap())) {
            assert_eq!(result, 0.0, "{}", backend.id());
        }
        run(&*backend, Task::Axpy(Axpy::new(2.0, empty, MatrixMut::column(&mut [])).unwrap()));
        run(&*backend, Task::Cholesky(Cholesky::new(MatrixMut::row_major(&mut [], 0, 0).unwrap()).unwrap()));
        let l = Matrix::row_major(&[2.0, 0.0, 0.0, 2.0], 2, 2).unwrap();
        run(
            &*backend,
            Task::Solve(Solve::new(square, MatrixMut::row_major(&mut [], 0, 4).unwrap()).unwrap()),
        );
        run(&*backend, Task::Solve(Solve::new(l, MatrixMut::row_major(&mut [], 2, 0).unwrap()).unwrap()));
        let no_result = BatchMut::new(&mut [], 0, 9, (3, 3), (3, 1)).unwrap();
        run(&*backend, Task::BatchedGemm(BatchedGemm::new(1.0, no_batch, no_batch, 0.0, no_result).unwrap()));
        for (m, n, k) in SIZES {
            let (a, b, mut c) = (vec![1_u8; m * k], vec![1_i8; k * n], vec![i32::MIN; m * n]);
            let gemm = GemmI8::new(
                Matrix::row_major(&a, m, k).unwrap(),
                Matrix::row_major(&b, k, n).unwrap(),
                MatrixMut::row_major(&mut c, m, n).unwrap(),
            );
            if ran(&*backend, Job::I8(gemm.unwrap())) {
                assert!(c.iter().all(|&c| c == 0), "{}: {m}×{n}×{k}", backend.id());
            }
        }
    }
}

/// A backend may refuse strides that it cannot count, if it leaves the result alone.
#[test]
fn strides_that_lead_nowhere_may_be_anything() {
    let data = [2.0_f64; 70];
    for huge in [1 << 29, isize::MAX as usize, usize::MAX] {
        for backend in backends::available() {
            for (m, n, k) in [(1, 1, 1), (70, 1, 1), (1, 70, 1), (1, 1, 70)] {
                let strides = |rows: usize, columns: usize| {
                    (if rows == 1 { huge } else { 1 }, if columns == 1 { huge } else { 1 })
                };
                let view = |rows, columns| {
                    let (row, column) = strides(rows, columns);
                    Matrix::new(&data, rows, columns, row, column).unwrap()
                };
                let mut c = [1.0; 70];
                let (row, column) = strides(m, n);
                let result = MatrixMut::new(&mut c, m, n, row, column).unwrap();
                let gemm = Gemm::new(1.0, view(m, k), view(k, n), 1.0, result).unwrap();
                let mut job = Job::F64(Task::Gemm(gemm));
                if backend.supports(&job.spec()) {
                    let done = backend.run(&mut job).is_ok();
                    let expected = if done { 4.0 * k as f64 + 1.0 } else { 1.0 };
                    let whole =
                        c[..m * n].iter().all(|&c| c == expected) && c[m * n..].iter().all(|&c| c == 1.0);
                    assert!(whole, "{}: {m}×{n}×{k} by {huge}: {c:?}", backend.id());
                }
            }
        }
    }
}

/// What is read may share memory, with itself too.
#[test]
fn factors_may_be_one_matrix_and_one_element() {
    const N: usize = 37;
    let data: Vec<f32> = (0..N * N).map(|at| (at % 5) as f32 - 2.0).collect();
    let a = Matrix::row_major(&data, N, N).unwrap();
    let same = Matrix::new(&data[..1], N, N, 0, 0).unwrap();
    for backend in backends::available() {
        for (left, right) in [(a, a), (a, a.transposed()), (same, a), (a, same), (same, same)] {
            let mut c = vec![0.0; N * N];
            let result = MatrixMut::column_major(&mut c, N, N).unwrap();
            let gemm = Gemm::new(1.0, left, right, 0.0, result).unwrap();
            if ran(&*backend, Job::F32(Task::Gemm(gemm))) {
                for (at, &got) in c.iter().enumerate() {
                    let sum: f32 = (0..N).map(|p| left.at(at % N, p) * right.at(p, at / N)).sum();
                    assert_eq!(got, sum, "{}: small integers are exact", backend.id());
                }
            }
        }
        let (x, mut result) = (a.block(0, N, 3, 1), 0.0);
        if ran(&*backend, Job::F32(Task::Dot(Dot::new(x, x, &mut result).unwrap()))) {
            assert_eq!(result, (0..N).map(|i| a.at(i, 3) * a.at(i, 3)).sum::<f32>(), "{}", backend.id());
        }
    }
}

#[test]
fn operands_that_do_not_belong_together_are_refused() {
    let (data, mut c, mut sum) = ([1.0_f64; 12], [0.0_f64; 12], 0.0);
    let of = |rows, columns| Matrix::row_major(&data, rows, columns).unwrap();
    macro_rules! refused {
        ($($made:expr;)*) => { $(assert!(matches!($made, Err(ShapeError::Mismatch { .. })), stringify!($made));)* };
    }
    macro_rules! c {
        ($rows:literal, $columns:literal) => {
            MatrixMut::row_major(&mut c, $rows, $columns).unwrap()
        };
    }
    let batch = |count, rows| Batch::new(&data, count, 2, (rows, 2), (1, 1)).unwrap();
    refused! {
        Syrk::new(1.0, of(3, 2), 0.0, c!(2, 2));
        Syrk::new(1.0, of(3, 2), 0.0, c!(3, 4));
        QuadraticForm::new(of(2, 3), of(3, 1), &mut sum);
        QuadraticForm::new(of(3, 3), of(2, 1), &mut sum);
        QuadraticForm::new(of(3, 3), of(3, 2), &mut sum);
        Cholesky::new(c!(3, 4));
        Solve::new(of(3, 4), c!(3, 1));
        Solve::new(of(3, 3), c!(4, 1));
        Dot::new(of(3, 1), of(4, 1), &mut sum);
        Dot::new(of(3, 2), of(3, 1), &mut sum);
        Axpy::new(1.0, of(3, 1), c!(4, 1));
        Axpy::new(1.0, of(3, 1), c!(3, 2));
        BatchedGemm::new(1.0, batch(2, 2), batch(3, 2), 0.0, BatchMut::new(&mut c, 2, 4, (2, 2), (2, 1)).unwrap());
        BatchedGemm::new(1.0, batch(2, 3), batch(2, 2), 0.0, BatchMut::new(&mut c, 2, 4, (2, 2), (2, 1)).unwrap());
    }
    let (long, mut one) = (vec![0_i8; GemmI8::K_MAX + 1], [0]);
    let unsigned = vec![0_u8; long.len()];
    let a = Matrix::row_major(&unsigned, 1, long.len()).unwrap();
    refused! { GemmI8::new(a, Matrix::column(&long), MatrixMut::column(&mut one)); }
}
