//! Generated and hand-written aarch64 kernels on operands that end (or begin) at a page that nobody may touch, for NEON
//! and, where there is SME, for streaming mode; and what is listed where there is none.
//!
//! `NAUTILUS_EXPECT_SME=on|off` (set by `cargo xtask test` for the emulator) makes the presence of SME itself a test.

#![cfg(all(target_arch = "aarch64", target_os = "linux"))]
#![allow(unsafe_code)]

#[path = "common/guarded.rs"]
mod guarded;

use std::io::Write;

use guarded::{Against, Guarded};
use nautilus_hardware::jit::{GemmShape, Isa, Plan, Strides, runs};
use nautilus_hardware::{BackendId, Element, ElementType, Gemm, Matrix, MatrixMut, Op, Spec, Task, backends};
use proptest::prelude::*;

/// How an operand lies: by rows or columns, its lines so many elements longer than they must be.
#[derive(Debug, Clone, Copy)]
struct Lie {
    by_rows: bool,
    gap: usize,
    step: usize,
}

impl Lie {
    fn strides(self, rows: usize, columns: usize) -> Strides {
        let line = if self.by_rows { columns } else { rows } * self.step + self.gap;
        if self.by_rows {
            Strides { row: line, column: self.step }
        } else {
            Strides { row: self.step, column: line }
        }
    }
}

fn reach(rows: usize, columns: usize, strides: Strides) -> usize {
    (rows - 1) * strides.row + (columns - 1) * strides.column + 1
}

#[derive(Debug, Clone)]
struct Case {
    shape: (usize, usize, usize),
    lies: [Lie; 3],
    at_the_end: bool,
    scales: (f64, f64),
}

fn case() -> impl Strategy<Value = Case> {
    let size = || prop_oneof![3 => 1..=20_usize, 1 => 21..=70_usize];
    let lie = || {
        let gap = prop_oneof![Just(0_usize), 1..6_usize];
        let step = prop_oneof![5 => Just(1_usize), 1 => Just(2_usize)];
        (any::<bool>(), gap, step).prop_map(|(by_rows, gap, step)| Lie { by_rows, gap, step })
    };
    let scale =
        || prop::sample::select(vec![(1.0, 0.0), (-1.0, 1.0), (0.5, -1.75), (1.0, 1.0), (-1.75, 0.0)]);
    ((size(), size(), size()), [lie(), lie(), lie()], any::<bool>(), scale())
        .prop_map(|(shape, lies, at_the_end, scales)| Case { shape, lies, at_the_end, scales })
}

/// Small integers, so that every sum is exact in both types and needs no tolerance.
fn integers<T: Element>(seed: usize) -> impl FnMut() -> T {
    let mut all = (0..).map(move |i| T::from_f64(((i * 7 + seed * 5) % 17) as f64 - 8.0));
    move || all.next().expect("they never end")
}

fn check<T: Element>(case: &Case) {
    let Case { shape: (m, n, k), lies, at_the_end, scales } = *case;
    let (sa, sb, sc) = (lies[0].strides(m, k), lies[1].strides(k, n), lies[2].strides(m, n));
    let operand = |rows, columns, strides, seed| {
        let against = if at_the_end { Against::Back } else { Against::Front };
        Guarded::<T>::new(reach(rows, columns, strides), against, integers(seed))
    };
    let (mut a, mut b) = (operand(m, k, sa, 1), operand(k, n, sb, 2));
    let (a, b) = (&*a.slice(), &*b.slice());
    let views = || {
        let a = Matrix::new(a, m, k, sa.row, sa.column).unwrap();
        (a, Matrix::new(b, k, n, sb.row, sb.column).unwrap())
    };
    let (alpha, beta) = (T::from_f64(scales.0), T::from_f64(scales.1));
    let judge = |name: &str, run: &dyn Fn(MatrixMut<'_, T>)| {
        let mut c = operand(m, n, sc, 3);
        let before = c.slice().to_vec();
        run(MatrixMut::new(c.slice(), m, n, sc.row, sc.column).unwrap());
        let mut expected = before;
        for i in 0..m {
            for j in 0..n {
                let (a, b) = views();
                let sum: f64 = (0..k).map(|p| a.at(i, p).to_f64() * b.at(p, j).to_f64()).sum();
                let old = &mut expected[i * sc.row + j * sc.column];
                *old = T::from_f64(scales.0 * sum + scales.1 * old.to_f64());
            }
        }
        assert!(c.slice() == expected, "{name}: {case:?}");
    };
    for isa in [Isa::Neon, Isa::Sme].into_iter().filter(|isa| runs(*isa)) {
        let plan = Plan::gemm_for(isa, GemmShape { m, n, k, a: sa, b: sb, c: sc }, alpha, beta).unwrap();
        judge(isa.as_str(), &|c| plan.run(views().0, views().1, c).unwrap());
    }
    for backend in backends::available() {
        let run = |c: MatrixMut<'_, T>| {
            let mut job = T::job(Task::Gemm(Gemm::new(alpha, views().0, views().1, beta, c).unwrap()));
            let spec = job.spec();
            let id = if backend.supports(&spec) { backend.id() } else { BackendId::Portable };
            let backends = backends::available();
            backends.iter().find(|backend| backend.id() == id).unwrap().run(&mut job).unwrap();
        };
        judge(backend.id().as_str(), &run);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn products_of_f32_are_exact_and_touch_nothing_else(case in case()) { check::<f32>(&case); }

    #[test]
    fn products_of_f64_are_exact_and_touch_nothing_else(case in case()) { check::<f64>(&case); }
}

#[test]
fn sme_is_listed_where_it_is_and_refused_in_a_sentence_where_it_is_not() {
    let listings = backends::listings();
    let of = |id| listings.iter().find(|listing| listing.id == id).unwrap();
    assert!(of(BackendId::Neon).backend.is_ok());
    assert!(runs(Isa::Neon));
    let sme = &of(BackendId::Sme).backend;
    assert_eq!(sme.is_ok(), runs(Isa::Sme));
    match (std::env::var("NAUTILUS_EXPECT_SME").as_deref(), sme) {
        (Ok("on"), Err(reason)) => panic!("the emulator has SME, but: {reason}"),
        (Ok("off"), Ok(_)) => panic!("SME is listed, and the processor has none"),
        (_, Ok(sme)) => {
            assert!(sme.supports(&Spec::new(Op::Gemm, f32::TYPE, 8, 8, 8)));
            assert!(!sme.supports(&Spec::new(Op::Cholesky, f32::TYPE, 8, 8, 8)));
            if !sme.supports(&Spec::new(Op::GemmI8, ElementType::I8, 8, 8, 8)) {
                // Not through a macro, whose output is hidden where tests pass.
                let line = b"!!! NOT TESTED: 8-bit products of SME, whose USMOPA this processor or emulator (QEMU 7.2) gets wrong\n";
                std::io::stderr().write_all(line).unwrap();
            }
        }
        (_, Err(reason)) => assert!(reason.contains("SME"), "{reason}"),
    }
}

/// Live ZA state is announced in TPIDR2_EL0 (S3_3_C13_C0_5), which no kernel may overlook.
#[test]
fn za_that_a_caller_still_needs_is_left_alone() {
    if !runs(Isa::Sme) {
        return;
    }
    let announce = |address: usize| {
        // SAFETY: the register is this thread's own, and nothing else in this program uses it.
        unsafe { std::arch::asm!("msr S3_3_C13_C0_5, {}", in(reg) address, options(nomem, nostack)) };
    };
    let (data, mut c) = ([1.0_f32; 64], [7.0_f32; 64]);
    let view = || Matrix::row_major(&data, 8, 8).unwrap();
    let plan = Plan::gemm_for(Isa::Sme, GemmShape::row_major(8, 8, 8), 1.0_f32, 0.0).unwrap();
    let all = backends::available();
    let mut refusals = Vec::new();
    announce(16);
    refusals.push(plan.run(view(), view(), MatrixMut::row_major(&mut c, 8, 8).unwrap()).is_err());
    for backend in all.iter().filter(|backend| [BackendId::Sme, BackendId::Jit].contains(&backend.id())) {
        let result = MatrixMut::row_major(&mut c, 8, 8).unwrap();
        let mut job = f32::job(Task::Gemm(Gemm::new(1.0, view(), view(), 0.0, result).unwrap()));
        refusals.push(backend.run(&mut job).is_err());
    }
    announce(0);
    assert_eq!((refusals, c), (vec![true; 3], [7.0; 64]));
    plan.run(view(), view(), MatrixMut::row_major(&mut c, 8, 8).unwrap()).unwrap();
    assert_eq!(c, [8.0; 64]);
}
