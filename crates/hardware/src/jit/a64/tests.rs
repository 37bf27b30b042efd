//! The A64 generator on any machine: each encoding against GNU as, and every instruction of generated kernels.
//!
//! `golden.s` names each form once and `golden.sh` makes `golden.txt` of it; [`forms`] lists the same in the same
//! order. What the kernels compute is tested where they run, natively or under an emulator.

use std::io::Write;
use std::process::Command;

use super::encoder::*;
use super::{Streaming, generate};
use crate::element::ElementType;
use crate::jit::key::{Form, Isa, KernelKey, Scale};

#[rustfmt::skip]
fn forms() -> Vec<u32> {
    vec![
        movz(X(3), 0xbeef, 0),
        movk(X(17), 0x12, 1),
        mov(X(22), X(0)),
        add(X(14), X(14), X(21), 0),
        add(X(15), X(4), X(13), 3),
        add_immediate(X(1), X(2), 4095),
        sub_immediate(SP, SP, 112),
        sub(X(16), X(1), X(13)),
        subs_immediate(X(13), X(13), 1),
        cmp(X(16), X(11)),
        csel(X(17), X(16), X(11), Condition::Lower),
        madd(X(15), X(13), X(9), X(8)),
        ret(),
        stp(X(19), X(20), SP, 8),
        ldp(X(23), X(24), SP, 12),
        stp_d(V(8), V(9), SP, 0),
        ldp_d(V(14), V(15), SP, 6),
        ldr(Width::S, V(3), X(5), 4),
        ldr(Width::D, V(3), X(5), 8),
        ldr(Width::Q, V(31), X(14), 32),
        str(Width::S, V(3), X(5), 28),
        str(Width::D, V(3), X(5), 0),
        str(Width::Q, V(17), X(15), 112),
        ld1r_then_add(Lane::S, V(27), X(5), X(20)),
        ld1r_then_add(Lane::D, V(27), X(5), X(20)),
        ld1r_then_add(Lane::S, V(27), X(16), ZERO),
        ld1_third(V(24), X(16)),
        st1_third(V(24), X(16)),
        clear(V(9)),
        fmla(Lane::S, V(1), V(25), V(30)),
        fmla(Lane::D, V(1), V(25), V(30)),
        fmls(Lane::S, V(1), V(25), V(30)),
        fmls(Lane::D, V(1), V(25), V(30)),
        fmul(Lane::S, V(1), V(25), V(30)),
        fmul(Lane::D, V(1), V(25), V(30)),
        fadd(Lane::S, V(1), V(25), V(30)),
        fadd(Lane::D, V(1), V(25), V(30)),
        faddp(Lane::S, V(1), V(25), V(30)),
        faddp(Lane::D, V(1), V(25), V(30)),
        smstart(),
        smstop(),
        count(Lane::S, X(11)),
        count(Lane::D, X(11)),
        ptrue(Lane::S, P(0)),
        ptrue(Lane::D, P(1)),
        whilelo(Lane::S, P(2), X(15), X(1)),
        whilelo(Lane::D, P(2), X(15), X(1)),
        ld1(Lane::S, V(1), P(2), X(15), 1),
        ld1(Lane::D, V(1), P(5), X(15), 3),
        st1(Lane::S, V(1), P(4), X(15), 1),
        st1(Lane::D, V(1), P(4), X(15), 0),
        ld1r(Lane::S, V(31), P(0), X(3), 1),
        ld1r(Lane::D, V(31), P(0), X(3), 1),
        zero_za(),
        fmopa(Lane::S, 3, (P(2), P(4)), V(1), V(3)),
        fmopa(Lane::D, 5, (P(1), P(5)), V(1), V(7)),
        fmops(Lane::S, 1, (P(2), P(4)), V(1), V(3)),
        fmops(Lane::D, 2, (P(2), P(4)), V(1), V(3)),
        mova_from(Lane::S, V(1), P(2), 3, Slice::Row),
        mova_from(Lane::D, V(1), P(0), 5, Slice::Column),
        mova_to(Lane::S, 3, Slice::Row, P(2), V(1)),
        mova_to(Lane::D, 5, Slice::Column, P(0), V(9)),
        sve_fmul(Lane::S, V(1), V(2), V(30)),
        sve_fmul(Lane::D, V(1), V(2), V(30)),
        sve_fadd(Lane::S, V(1), V(2), V(3)),
        sve_fadd(Lane::D, V(1), V(2), V(3)),
        sve_fmla(Lane::S, V(1), P(2), V(3), V(31)),
        sve_fmla(Lane::D, V(1), P(0), V(3), V(31)),
    ]
}

#[test]
fn every_form_is_what_gnu_as_makes_of_it() {
    let (texts, words) = (include_str!("golden.s"), include_str!("golden.txt"));
    assert_eq!(texts.lines().count(), forms().len());
    assert_eq!(words.lines().count(), forms().len());
    for ((text, golden), word) in texts.lines().zip(words.lines()).zip(forms()) {
        assert_eq!(golden, format!("{word:08x}"), "{text}");
    }
}

#[test]
fn branches_go_where_they_should() {
    let mut code = Code::default();
    let back = code.begin(X(1), 2);
    let forward = code.skip(Condition::HigherOrSame);
    code.emit(ret());
    code.land(forward);
    code.end(back);
    // mov x1, #2; b.hs +8; ret; subs; b.ne -12.
    assert_eq!(code.finish(), [0xD280_0041, 0x5400_0042, ret(), 0xF100_0421, 0x54FF_FFA1]);
}

/// Keys of many shapes, strides, scale factors and both types.
fn keys(isa: Isa) -> Vec<KernelKey> {
    let sizes = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 64, 100, 128, 256];
    let scales = [(Scale::One, Scale::Zero), (Scale::General, Scale::General), (Scale::MinusOne, Scale::One)];
    let mut keys = Vec::new();
    for (index, &m) in sizes.iter().enumerate() {
        for (turn, &n) in sizes.iter().enumerate() {
            let k = sizes[(index * 5 + turn * 3) % sizes.len()];
            let (alpha, beta) = scales[(index + turn) % 3];
            let element = if (index + turn) % 2 == 0 { ElementType::F32 } else { ElementType::F64 };
            let (a_row, a_column) = [(k, 1), (1, m), (k * 3 + 5, 3), (70_000, 1)][(index * 3 + turn) % 4];
            let form = if n == 1 { Form::Dot } else { Form::Outer };
            let (b_row, c_row) = (n + 9, n + 1000 * (index as u32 % 2));
            keys.push(KernelKey { m, n, k, a_row, a_column, b_row, c_row, element, isa, form, alpha, beta });
        }
    }
    keys
}

fn words(key: &KernelKey, vector_bytes: usize) -> Vec<u32> {
    let code = generate(key, Some(Streaming { vector_bytes, doubles: true })).unwrap().code;
    code.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

fn every_kernel() -> Vec<(KernelKey, Vec<u32>)> {
    let of = |isa, vector_bytes| keys(isa).into_iter().map(move |key| (key, words(&key, vector_bytes)));
    let sme = [16, 32, 64, 128, 256].into_iter().flat_map(|bytes| of(Isa::Sme, bytes));
    of(Isa::Neon, 16).chain(sme).collect()
}

/// Instructions of SVE or SME that lie outside streaming mode, for code without branches across its borders. Reading
/// the vector length (RDSVL) is allowed everywhere.
pub(crate) fn outside_streaming_mode(words: &[u32]) -> Vec<u32> {
    let mut streaming = false;
    let mut outside = Vec::new();
    for &word in words {
        // DDI 0487, C4.1: op0 (bits 28 to 25) is 2 for SVE, 0 with bit 31 for SME.
        let group = word >> 25 & 15;
        let vectorial = group == 2 || (group == 0 && word >> 31 == 1);
        let rdsvl = word & 0xFFFF_F800 == 0x04BF_5800;
        match word {
            _ if word == smstart() => streaming = true,
            _ if word == smstop() => streaming = false,
            _ if vectorial && !rdsvl && !streaming => outside.push(word),
            _ => {}
        }
    }
    assert!(!streaming, "the code leaves streaming mode on");
    outside
}

#[test]
fn sve_instructions_lie_in_streaming_mode_only() {
    assert_eq!(
        outside_streaming_mode(&[zero_za(), smstart(), zero_za(), smstop(), 0x04BF_5823]),
        [zero_za()]
    );
    let mut streaming = 0;
    for (key, words) in every_kernel() {
        assert_eq!(outside_streaming_mode(&words), [0_u32; 0], "{key:?}");
        let is_sme = words.contains(&smstart());
        assert!(!is_sme || key.isa == Isa::Sme, "{key:?}");
        streaming += usize::from(is_sme);
    }
    assert!(streaming > 1000, "{streaming} kernels use streaming mode");
}

#[test]
fn kernels_are_small_and_the_same_every_time() {
    for (key, code) in every_kernel() {
        assert!(code.len() * 4 <= 16 << 10, "{} bytes: {key:?}", code.len() * 4);
        assert_eq!(code.last(), Some(&ret()));
    }
    for key in keys(Isa::Sme) {
        assert_eq!(words(&key, 64), words(&key, 64));
    }
    let key = keys(Isa::Sme)[40];
    assert!(generate(&key, None).unwrap_err().contains("SME"));
}

/// What objdump says of every distinct instruction of all kernels: none undefined, none that uses x18 or touches the
/// callee's registers x25 to x30.
#[test]
fn a_disassembler_knows_every_instruction() {
    let Ok(version) = Command::new("aarch64-linux-gnu-objdump").arg("--version").output() else {
        // Not through a macro, whose output is hidden where tests pass.
        let line = b"!!! NOT TESTED: disassembly of A64 kernels (install binutils-aarch64-linux-gnu)\n";
        std::io::stderr().write_all(line).unwrap();
        return;
    };
    assert!(version.status.success());
    let mut distinct: Vec<u32> = every_kernel().into_iter().flat_map(|(_, words)| words).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let file = std::env::temp_dir().join(format!("nautilus-a64-{}.bin", std::process::id()));
    std::fs::write(&file, distinct.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    let output = Command::new("aarch64-linux-gnu-objdump")
        .args(["-D", "-b", "binary", "-m", "aarch64"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(":\t")).collect();
    assert_eq!(lines.len(), distinct.len());
    for line in lines {
        assert!(!line.contains("undefined") && !line.contains(".inst"), "{line}");
        let mut operands = line.split(|letter: char| !letter.is_ascii_alphanumeric());
        let kept = ["x18", "x25", "x26", "x27", "x28", "x29", "x30"];
        assert!(!operands.any(|operand| kept.contains(&operand)), "{line}");
    }
}

/// Calls code with five arguments and returns what became of d8 to d15, which were 8.0 to 15.0, and of x20 to x24, which
/// were 20 to 24.
///
/// # Safety
/// `entry` is code for this processor that takes these arguments as AAPCS64 says.
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
pub(crate) unsafe fn kept_registers(entry: *const u8, arguments: [usize; 5]) -> ([f64; 8], [usize; 5]) {
    let (mut low, mut general) = ([0.0; 8], [20, 21, 22, 23, 24]);
    let [a, b, c, d, e] = arguments;
    // SAFETY: as the caller promises; every register that a function may change is named.
    unsafe {
        std::arch::asm!(
            "fmov d8, #8.0", "fmov d9, #9.0", "fmov d10, #10.0", "fmov d11, #11.0",
            "fmov d12, #12.0", "fmov d13, #13.0", "fmov d14, #14.0", "fmov d15, #15.0",
            "blr x16",
            "stp d8, d9, [x25]", "stp d10, d11, [x25, #16]",
            "stp d12, d13, [x25, #32]", "stp d14, d15, [x25, #48]",
            in("x16") entry,
            in("x0") a, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x25") low.as_mut_ptr(),
            inout("x20") general[0], inout("x21") general[1], inout("x22") general[2],
            inout("x23") general[3], inout("x24") general[4],
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            clobber_abi("C"),
        );
    }
    (low, general)
}

/// What [`kept_registers`] returns where everything was kept.
#[cfg(target_arch = "aarch64")]
pub(crate) const ALL_KEPT: ([f64; 8], [usize; 5]) =
    ([8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0], [20, 21, 22, 23, 24]);

#[cfg(target_arch = "aarch64")]
#[test]
#[allow(unsafe_code)]
fn kernels_keep_the_registers_of_their_caller() {
    let (mut c, mut scratch) = (vec![0.0_f64; 40 * 40], vec![0_u64; 40 * 40]);
    let (a, scales) = (vec![1.0_f64; 40 * 40], [2.0, 3.0]);
    for isa in [Isa::Neon, Isa::Sme].into_iter().filter(|isa| crate::jit::runs(*isa)) {
        for form in [Form::Outer, Form::Dot] {
            let (element, alpha, beta) = (ElementType::F64, Scale::General, Scale::General);
            let n = if form == Form::Dot { 1 } else { 40 };
            let (c_row, a_row) = (n, 40);
            let key = KernelKey {
                m: 40,
                n,
                k: 40,
                a_row,
                a_column: 1,
                b_row: n,
                c_row,
                element,
                isa,
                form,
                alpha,
                beta,
            };
            let Ok(kernel) = crate::jit::Kernel::generate(&key) else { panic!("{key:?}") };
            let arguments = [
                a.as_ptr().addr(),
                a.as_ptr().addr(),
                c.as_mut_ptr().addr(),
                scales.as_ptr().addr(),
                scratch.as_mut_ptr().addr(),
            ];
            // SAFETY: the operands are as long as the key says, and the code is for this processor.
            let kept = unsafe { kept_registers(kernel.code().as_ptr(), arguments) };
            assert_eq!(kept, ALL_KEPT, "{key:?}");
        }
    }
    assert!(c.iter().all(|&value| value > 0.0));
}
