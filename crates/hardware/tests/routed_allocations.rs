//! A routed job of a shape that the thread knows allocates nothing, whether it is timed or not.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use nautilus_hardware::{Hardware, Matrix, MatrixMut, Options, Switches, backends};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Many calls of a few shapes by turns; how many of them were timed is the monitor's word.
fn run(hardware: &Hardware, calls: usize) -> u64 {
    let data = [0.5_f64; 400];
    let mut result = [0.0; 400];
    for _ in 0..calls {
        for n in [2, 8, 20] {
            let view = || Matrix::row_major(&data, n, n).unwrap();
            let c = MatrixMut::row_major(&mut result, n, n).unwrap();
            hardware.gemm(1.0, view(), view(), 0.0, c).unwrap();
            hardware.gemv(1.0, view(), &data[..n], 0.0, &mut result[..n]).unwrap();
        }
        assert_eq!(hardware.dot(&data[..100], &data[..100]).unwrap().to_bits(), 25.0_f64.to_bits());
        hardware.axpy(0.25, &data, &mut result).unwrap();
    }
    ALLOCATIONS.get()
}

#[test]
fn nothing_is_allocated_once_a_shape_is_known() {
    let options = Options { workers_max: 1, ..Options::default() };
    let hardware = Hardware::new(backends::listings(), Switches::default(), options);
    let sampled = || hardware.monitor().snapshot().iter().map(|row| row.sampled).sum::<u64>();
    let before = run(&hardware, 1_000);
    let sampled_before = sampled();
    let start = ALLOCATIONS.get();
    assert!(before > 0 && start > before, "the counter counts");
    let after = run(&hardware, 10_000);
    assert_eq!(after - start, 0);
    assert!(sampled() > sampled_before, "timed calls are among them");
}
