//! Backends that break: the result is right all the same, it is counted, and who breaks again and again is left out.

use std::sync::atomic::Ordering::Relaxed;

use nautilus_hardware::router::Workload;
use nautilus_hardware::{BackendId, Error, Failure, Hardware, Matrix, MatrixMut};

use crate::fakes::{Bed, gemm};

/// C ← 2·A·B + 3·C for a 2×2 example; who did it, and whether the result is right.
fn example(hardware: &Hardware) -> (Result<BackendId, Error>, [f64; 4]) {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
    let mut c = [1.0, 0.0, 0.0, 1.0];
    let view = |data| Matrix::row_major(data, 2, 2).unwrap();
    let answer = hardware.gemm(2.0, view(&a), view(&b), 3.0, MatrixMut::row_major(&mut c, 2, 2).unwrap());
    (answer, c)
}

const RIGHT: [f64; 4] = [41.0, 44.0, 86.0, 103.0];
const FOREVER: usize = usize::MAX;

fn fallbacks(hardware: &Hardware, id: BackendId) -> u64 {
    hardware.monitor().snapshot().iter().filter(|row| row.backend == id).map(|row| row.fallbacks).sum()
}

#[test]
fn what_one_backend_cannot_do_another_does_and_it_is_counted() {
    let bed = Bed::usual();
    let hardware = bed.hardware(bed.options());
    bed.fake(BackendId::Avx512).broken.store(1, Relaxed);
    assert_eq!(example(&hardware), (Ok(BackendId::Portable), RIGHT));
    assert_eq!(fallbacks(&hardware, BackendId::Avx512), 1);
    assert_eq!(example(&hardware), (Ok(BackendId::Avx512), RIGHT), "one failure is forgiven");
}

#[test]
fn who_breaks_three_times_is_left_out_for_a_while_and_then_tried_again() {
    let bed = Bed::usual();
    let hardware = bed.hardware(bed.options());
    let avx512 = bed.fake(BackendId::Avx512);
    avx512.broken.store(FOREVER, Relaxed);
    for _ in 0..50 {
        assert_eq!(example(&hardware), (Ok(BackendId::Portable), RIGHT));
    }
    assert_eq!(avx512.calls.load(Relaxed), 3);
    let status = hardware.status();
    let out = status.backends.iter().find(|backend| backend.backend == BackendId::Avx512).unwrap();
    assert!(!out.on && out.reason.as_deref().unwrap().contains("left out for another 1 s"), "{out:?}");
    let route = hardware.route(&gemm(2, 2, 2));
    let last = route.candidates.last().unwrap();
    assert!(last.backend == BackendId::Avx512 && last.refused.is_some(), "{route:?}");

    // Still broken when its time is over: out again, for twice as long.
    bed.clock.advance(1.1e9);
    for _ in 0..10_000 {
        assert_eq!(example(&hardware).1, RIGHT);
    }
    assert_eq!(avx512.calls.load(Relaxed), 4);
    bed.clock.advance(1.1e9);
    for _ in 0..10_000 {
        assert_eq!(example(&hardware).1, RIGHT);
    }
    assert_eq!(avx512.calls.load(Relaxed), 4, "the second back-off is longer");

    // Whole again.
    avx512.broken.store(0, Relaxed);
    bed.clock.advance(1e9);
    for _ in 0..10_000 {
        assert_eq!(example(&hardware).1, RIGHT);
    }
    assert_eq!(example(&hardware), (Ok(BackendId::Avx512), RIGHT));
}

#[test]
fn a_gpu_that_disappears_is_replaced_and_comes_back() {
    let bed = Bed::usual();
    let hardware = bed.calibrated();
    let spec = gemm(600, 600, 600);
    let mut workload = Workload::new(&spec).unwrap();
    let mut run = || hardware.run(workload.job().unwrap()).unwrap();
    assert_eq!(run(), BackendId::Gpu);
    let gpu = bed.fake(BackendId::Gpu);
    gpu.broken.store(FOREVER, Relaxed);
    for _ in 0..20 {
        assert_eq!(run(), BackendId::Avx512);
    }
    assert_eq!(fallbacks(&hardware, BackendId::Gpu), 3);
    gpu.broken.store(0, Relaxed);
    bed.clock.advance(70e9);
    for _ in 0..50 {
        run();
    }
    assert_eq!(hardware.route(&spec).chosen, BackendId::Gpu);
}

#[test]
fn when_nobody_can_the_failure_says_why_and_the_result_is_as_it_was() {
    let bed = Bed::usual();
    let hardware = bed.hardware(bed.options());
    for fake in &bed.fakes {
        fake.broken.store(FOREVER, Relaxed);
    }
    for _ in 0..20 {
        let (answer, c) = example(&hardware);
        assert!(matches!(answer, Err(Error::Failure(Failure::Broken(_)))), "{answer:?}");
        assert_eq!(c, [1.0, 0.0, 0.0, 1.0]);
    }
}

#[test]
fn no_factor_is_an_answer_and_nobody_else_is_asked() {
    let bed = Bed::usual();
    let hardware = bed.hardware(bed.options());
    let mut a = [1.0, 0.0, 2.0, 1.0];
    let answer = hardware.cholesky(MatrixMut::row_major(&mut a, 2, 2).unwrap());
    assert_eq!(answer, Err(Error::Failure(Failure::NotPositiveDefinite { column: 1 })));
    assert_eq!(bed.fake(BackendId::Portable).calls.load(Relaxed), 0);
    assert_eq!(fallbacks(&hardware, BackendId::Avx512), 0);
}

#[test]
fn shapes_that_do_not_belong_together_never_reach_a_backend() {
    let bed = Bed::usual();
    let hardware = bed.hardware(bed.options());
    let mut y = [0.0; 3];
    let error = hardware.axpy(1.0, &[1.0, 2.0], &mut y).unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
    assert!(bed.fakes.iter().all(|fake| fake.calls.load(Relaxed) == 0));
}
