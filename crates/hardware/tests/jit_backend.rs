//! The generator as a backend: no allocation for a shape that ran before, and refusals that leave the result alone.

#![cfg(target_arch = "x86_64")]

#[path = "common/allocations.rs"]
mod allocations;

use allocations::allocations;
use nautilus_hardware::backends::Jit;
use nautilus_hardware::jit::{Isa, Limits, runs};
use nautilus_hardware::{
    Axpy, Backend, Batch, BatchMut, BatchedGemm, Dot, Element, Failure, Gemm, Matrix, MatrixMut, Task,
};

fn backends() -> Vec<Jit> {
    let all = [Isa::Avx512, Isa::Avx512Halves, Isa::Avx2];
    let here = all.into_iter().filter(|isa| runs(*isa));
    here.map(|isa| Jit::with(isa, Limits::default()).unwrap()).collect()
}

fn run_all<T: Element>(backend: &Jit, data: &[T], c: &mut [T]) {
    for (m, n, k) in [(3, 5, 7), (20, 20, 20), (64, 1, 64), (1, 40, 9), (100, 90, 80)] {
        for turned in [false, true] {
            let a = Matrix::row_major(data, m, k).unwrap();
            let b = if turned { Matrix::column_major(data, k, n) } else { Matrix::row_major(data, k, n) }
                .unwrap();
            let c = MatrixMut::new(c, m, n, 2 * n, if turned { 2 } else { 1 }).unwrap();
            let gemm = Gemm::new(T::ONE, a, b, T::ONE, c).unwrap();
            backend.run(&mut T::job(Task::Gemm(gemm))).unwrap();
        }
    }
    let batch = |count| Batch::new(data, count, 16, (4, 4), (4, 1)).unwrap();
    let of_c = BatchMut::new(c, 10, 16, (4, 4), (4, 1)).unwrap();
    let all = BatchedGemm::new(T::ONE, batch(10), batch(10), T::ZERO, of_c).unwrap();
    backend.run(&mut T::job(Task::BatchedGemm(all))).unwrap();
    let x = Matrix::column(&data[..300]);
    backend.run(&mut T::job(Task::Dot(Dot::new(x, x, &mut c[0]).unwrap()))).unwrap();
}

fn check_allocations<T: Element>() {
    let data: Vec<T> = (0..10_000).map(|at| T::from_f64(f64::from(at % 17))).collect();
    let mut c = vec![T::ZERO; 20_000];
    for backend in backends() {
        run_all(&backend, &data, &mut c);
        let statistics = backend.statistics();
        let before = allocations();
        run_all(&backend, &data, &mut c);
        assert_eq!(allocations(), before, "{:?} allocates for shapes that ran before", backend.isa());
        let again = backend.statistics();
        assert!(again.hits > statistics.hits);
        assert_eq!((again.generated, again.misses), (statistics.generated, statistics.misses));
    }
}

#[test]
fn shapes_that_ran_before_allocate_nothing() {
    check_allocations::<f32>();
    check_allocations::<f64>();
}

#[test]
fn what_cannot_be_generated_is_refused_and_leaves_the_result_alone() {
    for backend in backends() {
        let data = vec![1.0_f64; 5000];
        let mut c = vec![7.0; 5000];
        // One side above the limit.
        let a = Matrix::row_major(&data, 5000, 1).unwrap();
        let b = Matrix::row_major(&data, 1, 1).unwrap();
        let gemm = Gemm::new(1.0, a, b, 0.0, MatrixMut::row_major(&mut c, 5000, 1).unwrap()).unwrap();
        let mut job = f64::job(Task::Gemm(gemm));
        assert!(!backend.supports(&job.spec()));
        let failure = backend.run(&mut job).unwrap_err();
        assert!(failure.to_string().contains("larger than kernels are generated for"), "{failure}");
        // An operation without a generator.
        let axpy = Axpy::new(1.0, Matrix::column(&data), MatrixMut::column(&mut c)).unwrap();
        let mut job = f64::job(Task::Axpy(axpy));
        assert!(!backend.supports(&job.spec()));
        assert!(matches!(backend.run(&mut job), Err(Failure::Broken(_))));
        assert_eq!(c, vec![7.0; 5000]);
    }
}
