//! What the contract suite, which runs every backend, does not look at: that the GPU says what it is, keeps to its
//! bounds, and fails without touching the result.

use nautilus_hardware::backends::gpu::{AdapterKind, Gpu};
use nautilus_hardware::{
    Backend, BackendId, Element, ElementType, Failure, Gemm, Matrix, MatrixMut, Op, Spec, Task, backends,
};

use crate::{both_transfers, gpu};

/// One product of m×m matrices of ones, into `c`.
fn multiply(gpu: &Gpu, m: usize, c: &mut [f32]) -> Result<(), Failure> {
    let ones = vec![1.0_f32; m * m];
    let a = Matrix::row_major(&ones, m, m).unwrap();
    let c = MatrixMut::row_major(c, m, m).unwrap();
    gpu.run(&mut f32::job(Task::Gemm(Gemm::new(2.0, a, a, 1.0, c).unwrap())))
}

#[test]
fn the_adapter_says_what_it_is() {
    let Some(gpu) = gpu("what the adapter says of itself") else { return };
    let adapter = gpu.adapter();
    eprintln!("{adapter}, {}: transfer {:?}, IEEE {}", adapter.driver, adapter.transfer, gpu.follows_ieee());
    assert_eq!(adapter.kind == AdapterKind::Software, adapter.name.contains("llvmpipe"), "{adapter:?}");
    assert!(Gpu::adapters().contains(adapter));
    assert!(Gpu::adapters().is_sorted_by_key(|adapter| adapter.kind));
    let listed = backends::listings().into_iter().find(|listing| listing.id == BackendId::Gpu).unwrap();
    assert_eq!(listed.backend.unwrap().id(), BackendId::Gpu);
}

#[test]
fn what_does_not_fit_is_said_before_anything_runs() {
    let Some(gpu) = gpu("the bounds of products") else { return };
    let spec = |op, element, m, n, k| Spec::new(op, element, m, n, k);
    let fine = spec(Op::Gemm, ElementType::F32, 100, 100, 100);
    assert!(gpu.supports(&fine));
    assert!(gpu.supports(&Spec { batch: 7, ..spec(Op::BatchedGemm, ElementType::F32, 8, 8, 8) }));
    assert_eq!(gpu.supports(&Spec { element: ElementType::F64, ..fine }), gpu.adapter().f64);
    for no in [
        Spec { element: ElementType::I8, op: Op::GemmI8, ..fine },
        spec(Op::Cholesky, ElementType::F32, 10, 10, 10),
        spec(Op::Dot, ElementType::F32, 1, 1, 10),
        spec(Op::Gemm, ElementType::F32, usize::MAX, 2, 2),
        spec(Op::Gemm, ElementType::F32, 1 << 20, 1 << 20, 1),
        Spec { batch: 70_000, ..spec(Op::BatchedGemm, ElementType::F32, 2, 2, 2) },
    ] {
        assert!(!gpu.supports(&no), "{no:?}");
    }
}

#[test]
fn large_products_and_long_sums_reach_their_last_element() {
    for gpu in both_transfers("products of several tiles") {
        // Twice, so that buffers are used again with what the product before left in them.
        for m in [1, 63, 64, 65, 300, 65, 2] {
            let mut c = vec![3.0; m * m];
            multiply(&gpu, m, &mut c).unwrap();
            #[allow(clippy::cast_precision_loss)]
            let expected = 3.0 + 2.0 * m as f32;
            assert!(c.iter().all(|&value| value == expected), "{m}, {:?}", gpu.adapter().transfer);
        }
    }
}

#[test]
fn a_gpu_that_disappears_breaks_and_leaves_the_result() {
    for gpu in both_transfers("a GPU that disappears") {
        let mut c = vec![3.0; 64 * 64];
        multiply(&gpu, 64, &mut c).unwrap();
        gpu.destroy();
        let before = c.clone();
        let failure = multiply(&gpu, 64, &mut c).unwrap_err();
        assert!(matches!(&failure, Failure::Broken(why) if why.contains("the GPU is gone")), "{failure}");
        assert_eq!(c, before);
        assert!(gpu.is_gone());
        let small = Spec::new(Op::Gemm, ElementType::F32, 8, 8, 8);
        assert!(!gpu.supports(&small), "jobs go elsewhere from now on");
    }
}
