//! The loops of aarch64. Registers only, or reads of a slice: nothing is written.
//!
//! SME has no loop here: entering streaming mode is its backend's business.
#![allow(unsafe_code)]

use std::arch::asm;

use super::{Features, Instructions, Loop};
use crate::element::ElementType;

/// A function of `rounds` that runs one instruction on 24 registers, each of which waits for nobody but itself: enough
/// for four units of latency five.
macro_rules! chains {
    ($name:ident, $feature:tt, $instruction:literal, $sum:literal, $factors:literal) => {
        chains!($name, $feature, $instruction, $sum, $factors,
            ["0" "1" "2" "3" "4" "5" "6" "7" "16" "17" "18" "19" "20" "21" "22" "23" "24" "25" "26" "27" "28" "29"
             "30" "31"],
            ["v0" "v1" "v2" "v3" "v4" "v5" "v6" "v7" "v16" "v17" "v18" "v19" "v20" "v21" "v22" "v23" "v24" "v25" "v26"
             "v27" "v28" "v29" "v30" "v31"]);
    };
    ($name:ident, $feature:tt, $instruction:literal, $sum:literal, $factors:literal,
     [$($chain:literal)*], [$($clobbered:tt)*]) => {
        #[target_feature(enable = $feature)]
        fn $name(rounds: u64) {
            // SAFETY: only registers that are named as clobbered change; the caller has checked the feature.
            unsafe {
                asm!(
                    $(concat!("movi v", $chain, ".2d, #0"),)*
                    "movi v8.2d, #0",
                    "movi v9.2d, #0",
                    "2:",
                    $(concat!($instruction, " v", $chain, ".", $sum, ", ", $factors),)*
                    "subs {rounds}, {rounds}, #1",
                    "b.ne 2b",
                    rounds = inout(reg) rounds.max(1) => _,
                    $(out($clobbered) _,)*
                    out("v8") _, out("v9") _,
                    options(nomem, nostack)
                );
            }
        }
    };
}

chains!(neon_f32, "neon", "fmla", "4s", "v8.4s, v9.4s");
chains!(neon_f64, "neon", "fmla", "2d", "v8.2d, v9.2d");
chains!(neon_i8, "neon,dotprod", "sdot", "4s", "v8.16b, v9.16b");

const CHAINS: u64 = 24;

/// The loops that this processor can run.
pub(super) fn arithmetic(features: &Features) -> Vec<Loop> {
    let mut loops = Vec::new();
    let mut add = |instructions, element, lanes: u64, run| {
        loops.push(Loop { instructions, element, operations: 2 * lanes * CHAINS, run });
    };
    if features.has("NEON") {
        // SAFETY: the feature was just seen.
        add(Instructions::Neon, ElementType::F32, 4, |rounds| unsafe { neon_f32(rounds) });
        // SAFETY: likewise.
        add(Instructions::Neon, ElementType::F64, 2, |rounds| unsafe { neon_f64(rounds) });
    }
    if features.has("NEON") && features.has("DotProd") {
        // SAFETY: the features were just seen.
        add(Instructions::NeonDotProd, ElementType::I8, 16, |rounds| unsafe { neon_i8(rounds) });
    }
    loops
}

/// Reads a slice once, 128 bytes a round; less than a round at the end is left out.
pub(super) fn reader(_: &Features) -> fn(&[u64]) {
    |buffer| {
        let rounds = buffer.len() / 16;
        if rounds == 0 {
            return;
        }
        // SAFETY: it reads `rounds` times 128 bytes from the start of the slice, which has `len` · 8 ≥ `rounds` · 128
        // of them, and writes nothing but clobbered registers.
        unsafe {
            asm!(
                "2:",
                "ldp q0, q1, [{at}]",
                "ldp q2, q3, [{at}, #32]",
                "ldp q4, q5, [{at}, #64]",
                "ldp q6, q7, [{at}, #96]",
                "add {at}, {at}, #128",
                "subs {rounds}, {rounds}, #1",
                "b.ne 2b",
                at = inout(reg) buffer.as_ptr() => _,
                rounds = inout(reg) rounds => _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                options(readonly, nostack)
            );
        }
    }
}
