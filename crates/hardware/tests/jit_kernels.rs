//! Generated kernels between pages that nobody may touch, disassembled, and as machine code that does not change.
//!
//! Every operand stands once right before and once right behind a page without access, so one element read or written
//! outside a view ends the test. Results are held to the componentwise bound of the contract.

#![cfg(all(unix, target_arch = "x86_64"))]

#[path = "common/guarded.rs"]
mod guarded;

use guarded::{Against, Guarded};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use nautilus_hardware::jit::{Form, GemmShape, Isa, Plan, PlanError, Strides, runs};
use nautilus_hardware::{Element, ElementType, Matrix, MatrixMut};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    shape: GemmShape,
    scales: (f64, f64),
    seed: u64,
}

fn strides(rows: usize, columns: usize, by_rows: bool, gap: usize) -> Strides {
    if by_rows { Strides { row: columns + gap, column: 1 } } else { Strides { row: 1, column: rows + gap } }
}

fn reach(rows: usize, columns: usize, strides: Strides) -> usize {
    (rows - 1) * strides.row + (columns - 1) * strides.column + 1
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![5 => 1..=40_usize, 2 => 41..=100_usize, 1 => 101..=200_usize, 1 => Just(1_usize)]
}

fn case() -> impl Strategy<Value = Case> {
    let scales = prop::sample::select(vec![1.0, -1.0, 0.5, -1.75]);
    let beta = prop::sample::select(vec![0.0, 1.0, -1.0, 0.25]);
    let gap = prop_oneof![2 => Just(0_usize), 1 => 1..9_usize];
    (
        (size(), size(), size()),
        any::<[bool; 3]>(),
        [gap.clone(), gap.clone(), gap],
        (scales, beta),
        any::<u64>(),
    )
        .prop_map(|((m, n, k), rows, gaps, scales, seed)| {
            let shape = GemmShape {
                m,
                n,
                k,
                a: strides(m, k, rows[0], gaps[0]),
                b: strides(k, n, rows[1], gaps[1]),
                c: strides(m, n, rows[2], gaps[2]),
            };
            Case { shape, scales, seed }
        })
}

fn numbers(mut seed: u64) -> impl FnMut() -> f64 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from((seed >> 40) as u32) / f64::from(1 << 23) - 1.0
    }
}

fn isas() -> impl Iterator<Item = Isa> {
    [Isa::Avx512, Isa::Avx512Halves, Isa::Avx2].into_iter().filter(|isa| runs(*isa))
}

fn check_guarded<T: Element>(case: &Case, isa: Isa, against: Against) {
    let GemmShape { m, n, k, a, b, c } = case.shape;
    let mut number = numbers(case.seed);
    let mut next = || T::from_f64(number());
    let mut of_a = Guarded::new(reach(m, k, a), against, &mut next);
    let mut of_b = Guarded::new(reach(k, n, b), against, &mut next);
    let mut of_c = Guarded::new(reach(m, n, c), against, &mut next);
    let (alpha, beta) = (T::from_f64(case.scales.0), T::from_f64(case.scales.1));
    let before = of_c.slice().to_vec();
    let plan = Plan::gemm_for(isa, case.shape, alpha, beta).unwrap();
    let (of_a, of_b) = (of_a.slice(), of_b.slice());
    let view_a = Matrix::new(of_a, m, k, a.row, a.column).unwrap();
    let view_b = Matrix::new(of_b, k, n, b.row, b.column).unwrap();
    plan.run(view_a, view_b, MatrixMut::new(of_c.slice(), m, n, c.row, c.column).unwrap()).unwrap();
    let unit = if T::TYPE == ElementType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let mut inside = vec![false; before.len()];
    for i in 0..m {
        for j in 0..n {
            let at = i * c.row + j * c.column;
            inside[at] = true;
            let term = |p: usize| view_a.at(i, p).to_f64() * view_b.at(p, j).to_f64();
            let (sum, magnitude) =
                (0..k).fold((0.0, 0.0), |(sum, size), p| (sum + term(p), size + term(p).abs()));
            let old = before[at].to_f64() * case.scales.1;
            let allowed = (k + 3) as f64 * unit * (magnitude * case.scales.0.abs() + old.abs());
            let got = of_c.slice()[at].to_f64();
            let off = (got - case.scales.0 * sum - old).abs();
            assert!(off <= allowed, "{isa:?} {:?}: ({i}, {j}) is off by {off:e}", T::TYPE);
        }
    }
    for (at, (old, new)) in before.iter().zip(of_c.slice()).enumerate() {
        assert!(inside[at] || old == new, "{isa:?}: element {at} is outside the matrix and was written");
    }
}

/// What each base register may be used for: reading, writing.
fn allowed_access(base: Register, form: Form) -> (bool, bool) {
    match base {
        Register::RDI | Register::RSI | Register::RCX => (true, false),
        Register::RDX => (true, true),
        Register::R8 => (form == Form::Outer, false),
        Register::R9 => (true, false),
        // B along k; the packed panel while it is made.
        Register::R10 => (true, form == Form::Outer),
        // Masks behind the code.
        Register::RIP => (true, false),
        _ => (false, false),
    }
}

fn check_instructions(code: &[u8], isa: Isa, form: Form) {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut starts = Vec::new();
    let mut jumps = Vec::new();
    let mut instruction = Instruction::default();
    loop {
        assert!(decoder.can_decode(), "the code ends without a return");
        decoder.decode_out(&mut instruction);
        assert_ne!(instruction.code(), Code::INVALID, "undefined at {}", instruction.ip());
        starts.push(instruction.ip());
        if isa == Isa::Avx2 {
            assert!(!format!("{:?}", instruction.code()).starts_with("EVEX"), "{instruction:?}");
        }
        match instruction.flow_control() {
            FlowControl::Return => break,
            FlowControl::Next => {}
            FlowControl::ConditionalBranch => jumps.push(instruction.near_branch_target()),
            other => panic!("{other:?} at {}", instruction.ip()),
        }
        let to_memory = instruction.op_count() > 0 && instruction.op0_kind() == OpKind::Memory;
        if (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory) {
            assert_eq!(instruction.memory_index(), Register::None, "{instruction:?}");
            let (read, write) = allowed_access(instruction.memory_base(), form);
            assert!(if to_memory { write } else { read }, "{:?} at {}", instruction.code(), instruction.ip());
        }
        if matches!(instruction.mnemonic(), Mnemonic::Push | Mnemonic::Pop) {
            assert_eq!(instruction.op0_register(), Register::RBX);
        }
    }
    for target in jumps {
        assert!(starts.contains(&target), "a jump to {target}, where no instruction begins");
    }
}

fn check_code<T: Element>(case: &Case, isa: Isa) {
    let plan =
        Plan::gemm_for(isa, case.shape, T::from_f64(case.scales.0), T::from_f64(case.scales.1)).unwrap();
    assert!(plan.code().len() <= 16 << 10, "{} bytes of code", plan.code().len());
    check_instructions(plan.code(), isa, plan.key().form);
    let again =
        Plan::gemm_for(isa, case.shape, T::from_f64(case.scales.0), T::from_f64(case.scales.1)).unwrap();
    assert_eq!(plan.code(), again.code());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn kernels_stay_inside_their_operands(case in case(), front in any::<bool>()) {
        let against = if front { Against::Front } else { Against::Back };
        for isa in isas() {
            check_guarded::<f32>(&case, isa, against);
            check_guarded::<f64>(&case, isa, against);
        }
    }

    #[test]
    fn code_is_defined_small_and_always_the_same(case in case()) {
        for isa in isas() {
            check_code::<f32>(&case, isa);
            check_code::<f64>(&case, isa);
        }
    }
}

#[test]
fn every_small_shape_stays_inside_its_operands() {
    for m in 1..=9 {
        for n in 1..=18 {
            for k in 1..=5 {
                let case = Case { shape: GemmShape::row_major(m, n, k), scales: (-1.75, 0.5), seed: 7 };
                for isa in isas() {
                    for against in [Against::Front, Against::Back] {
                        check_guarded::<f32>(&case, isa, against);
                        check_guarded::<f64>(&case, isa, against);
                    }
                }
            }
        }
    }
}

#[test]
fn the_largest_shapes_stay_within_the_code_bound() {
    for (m, n, k) in [
        (256, 256, 256),
        (4096, 1, 64),
        (64, 1, 4096),
        (1, 4096, 64),
        (4096, 20, 20),
        (129, 255, 201),
        (63, 33, 4096),
    ] {
        let case = Case { shape: GemmShape::row_major(m, n, k), scales: (0.5, 0.25), seed: 3 };
        for isa in isas() {
            check_code::<f32>(&case, isa);
            check_code::<f64>(&case, isa);
        }
    }
}

#[test]
fn plans_refuse_what_they_were_not_made_for() {
    let Some(isa) = isas().next() else { return };
    let shape = GemmShape::row_major(2, 2, 2);
    let plan = Plan::<f64>::gemm_for(isa, shape, 1.0, 0.0).unwrap();
    let data = [1.0; 8];
    let mut c = [0.0; 8];
    let square = Matrix::row_major(&data, 2, 2).unwrap();
    let wide = Matrix::row_major(&data, 2, 3).unwrap();
    let result = plan.run(wide, square, MatrixMut::row_major(&mut c, 2, 2).unwrap());
    assert_eq!(result, Err(PlanError::Mismatch('A')));
    let result = plan.run(square, square.transposed(), MatrixMut::row_major(&mut c, 2, 2).unwrap());
    assert_eq!(result, Err(PlanError::Mismatch('B')));
    let result = plan.run(square, square, MatrixMut::new(&mut c, 2, 2, 3, 1).unwrap());
    assert_eq!(result, Err(PlanError::Mismatch('C')));
    assert_eq!(c, [0.0; 8]);
    assert_eq!(Plan::<f64>::gemm_for(isa, shape, 0.0, 1.0).unwrap_err(), PlanError::Trivial("alpha"));
    let empty = GemmShape::row_major(2, 0, 2);
    assert_eq!(Plan::<f64>::gemm_for(isa, empty, 1.0, 1.0).unwrap_err(), PlanError::Trivial("n"));
    let large = GemmShape::row_major(1 << 40, 1 << 40, 1 << 40);
    assert!(matches!(Plan::<f64>::gemm_for(isa, large, 1.0, 1.0), Err(PlanError::TooLarge { .. })));
}
