//! After a thread's first job of a size, the blocked backends allocate nothing.

#[path = "common/allocations.rs"]
mod allocations;

use allocations::allocations;
use nautilus_hardware::{
    BackendId, Cholesky, Gemm, GemmI8, Job, Matrix, MatrixMut, Solve, Syrk, Task, backends,
};

const N: usize = 300;

/// The jobs that need room to pack.
fn run_all(backend: &dyn nautilus_hardware::Backend, a: &[f64], c: &mut [f64], sums: &mut [i32]) {
    let run = |mut job: Job<'_>| {
        if backend.supports(&job.spec()) {
            backend.run(&mut job).unwrap();
        }
    };
    let view = || Matrix::column_major(a, N, N).unwrap();
    let gemm = Gemm::new(1.0, view(), view(), 0.0, MatrixMut::row_major(c, N, N).unwrap()).unwrap();
    run(Job::F64(Task::Gemm(gemm)));
    let syrk = Syrk::new(1.0, view(), 0.0, MatrixMut::row_major(c, N, N).unwrap()).unwrap();
    run(Job::F64(Task::Syrk(syrk)));
    for i in 0..N {
        c[i * (N + 1)] += N as f64 * N as f64;
    }
    run(Job::F64(Task::Cholesky(Cholesky::new(MatrixMut::row_major(c, N, N).unwrap()).unwrap())));
    let mut right = [1.0; N];
    let l = Matrix::row_major(c, N, N).unwrap();
    run(Job::F64(Task::Solve(Solve::new(l, MatrixMut::column(&mut right)).unwrap())));
    let (bytes, signed) = ([3_u8; N], [-2_i8; N]);
    let a = Matrix::new(&bytes, N, N, 0, 1).unwrap();
    let b = Matrix::new(&signed, N, N, 1, 0).unwrap();
    run(Job::I8(GemmI8::new(a, b, MatrixMut::row_major(sums, N, N).unwrap()).unwrap()));
}

#[test]
fn nothing_is_allocated_after_the_first_job() {
    let a: Vec<f64> = (0..N * N).map(|i| (i % 7) as f64 - 3.0).collect();
    let (mut c, mut sums) = (vec![0.0; N * N], vec![0; N * N]);
    for backend in backends::available() {
        if ![BackendId::Avx2, BackendId::Avx512, BackendId::Vnni].contains(&backend.id()) {
            continue;
        }
        run_all(&*backend, &a, &mut c, &mut sums);
        let before = allocations();
        run_all(&*backend, &a, &mut c, &mut sums);
        assert_eq!(allocations(), before, "{}", backend.id());
    }
}
