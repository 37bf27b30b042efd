//! The loops of x86-64. Registers only, or reads of a slice: nothing is written.
#![allow(unsafe_code)]

use std::arch::asm;

use super::{Features, Instructions, Loop};
use crate::element::ElementType;

/// A function of `rounds` that runs one instruction on every register of `chains`, each of which waits for nobody but
/// itself, with `factors` as the other operands.
macro_rules! chains {
    ($name:ident, $feature:tt, $instruction:literal, $width:literal, $factors:literal,
     [$($chain:literal)*], [$($clobbered:tt)*]) => {
        #[target_feature(enable = $feature)]
        fn $name(rounds: u64) {
            // SAFETY: only registers that are named as clobbered change; the caller has checked the feature.
            unsafe {
                asm!(
                    $(concat!("vpxor xmm", $chain, ", xmm", $chain, ", xmm", $chain),)*
                    "vpxor xmm14, xmm14, xmm14",
                    "vpxor xmm15, xmm15, xmm15",
                    "2:",
                    $(concat!($instruction, " ", $width, "mm", $chain, ", ", $factors),)*
                    "dec {rounds}",
                    "jnz 2b",
                    "vzeroupper",
                    rounds = inout(reg) rounds.max(1) => _,
                    $(out($clobbered) _,)*
                    // VZEROUPPER changes these too.
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nomem, nostack)
                );
            }
        }
    };
}

/// Twelve chains fill two units of latency five; more would leave no registers for the factors.
macro_rules! chains_of_256_bits {
    ($name:ident, $instruction:literal) => {
        chains!(
            $name, "avx2,fma", $instruction, "y", "ymm14, ymm15",
            ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"],
            ["xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7" "xmm8" "xmm9" "xmm10" "xmm11"]
        );
    };
}

macro_rules! chains_of_512_bits {
    ($name:ident, $feature:tt, $instruction:literal) => {
        chains!(
            $name, $feature, $instruction, "z", "zmm14, zmm15",
            ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"],
            ["xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7" "xmm8" "xmm9" "xmm10" "xmm11"]
        );
    };
}

chains_of_256_bits!(avx2_f32, "vfmadd231ps");
chains_of_256_bits!(avx2_f64, "vfmadd231pd");
chains_of_512_bits!(avx512_f32, "avx512f", "vfmadd231ps");
chains_of_512_bits!(avx512_f64, "avx512f", "vfmadd231pd");
chains_of_512_bits!(avx512_i8, "avx512vnni", "vpdpbusd");

const CHAINS: u64 = 12;

/// The loops that this processor can run.
pub(super) fn arithmetic(features: &Features) -> Vec<Loop> {
    let mut loops = Vec::new();
    let mut add = |instructions, element, lanes: u64, run| {
        loops.push(Loop { instructions, element, operations: 2 * lanes * CHAINS, run });
    };
    if features.has("AVX2") && features.has("FMA") {
        // SAFETY: the features were just seen.
        add(Instructions::Avx2, ElementType::F32, 8, |rounds| unsafe { avx2_f32(rounds) });
        // SAFETY: likewise.
        add(Instructions::Avx2, ElementType::F64, 4, |rounds| unsafe { avx2_f64(rounds) });
    }
    if features.has("AVX-512F") {
        // SAFETY: the feature was just seen.
        add(Instructions::Avx512, ElementType::F32, 16, |rounds| unsafe { avx512_f32(rounds) });
        // SAFETY: likewise.
        add(Instructions::Avx512, ElementType::F64, 8, |rounds| unsafe { avx512_f64(rounds) });
    }
    if features.has("AVX-512 VNNI") {
        // SAFETY: the feature was just seen.
        add(Instructions::Avx512Vnni, ElementType::I8, 64, |rounds| unsafe { avx512_i8(rounds) });
    }
    loops
}

/// A function that reads a slice once, eight vectors a round, and then runs `end`; less than a round at the end is left
/// out.
macro_rules! reads {
    ($name:ident, $feature:tt, $bytes:literal, $load:literal, [$($register:literal)*], [$($offset:literal)*], $end:literal) => {
        #[target_feature(enable = $feature)]
        fn $name(buffer: &[u64]) {
            let rounds = buffer.len() / $bytes;
            if rounds == 0 {
                return;
            }
            // SAFETY: it reads `rounds` times 8 · $bytes bytes from the start of the slice, which has
            // `len` · 8 ≥ `rounds` · 8 · $bytes of them, and writes nothing but clobbered registers.
            unsafe {
                asm!(
                    "2:",
                    $(concat!($load, " ", $register, ", [{at} + ", $offset, " * ", $bytes, "]"),)*
                    concat!("add {at}, 8 * ", $bytes),
                    "dec {rounds}",
                    "jnz 2b",
                    $end,
                    at = inout(reg) buffer.as_ptr() => _,
                    rounds = inout(reg) rounds => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(readonly, nostack)
                );
            }
        }
    };
}

reads!(read_128, "sse2", 16, "movups",
    ["xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7"], [0 1 2 3 4 5 6 7], "");
reads!(read_256, "avx2", 32, "vmovups",
    ["ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7"], [0 1 2 3 4 5 6 7], "vzeroupper");
reads!(read_512, "avx512f", 64, "vmovups",
    ["zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7"], [0 1 2 3 4 5 6 7], "vzeroupper");

/// The widest loads that this processor has.
pub(super) fn reader(features: &Features) -> fn(&[u64]) {
    if features.has("AVX-512F") {
        // SAFETY: the feature was just seen.
        |buffer| unsafe { read_512(buffer) }
    } else if features.has("AVX2") {
        // SAFETY: the feature was just seen.
        |buffer| unsafe { read_256(buffer) }
    } else {
        // SAFETY: every x86-64 has SSE2.
        |buffer| unsafe { read_128(buffer) }
    }
}
