//! The generator for x86-64: AVX-512 (F, VL, DQ, BW) and AVX2 with FMA.
//!
//! It picks the loop nest of a key and writes its bytes. It never runs code and never depends on the machine it runs on.

mod dot;
mod encode;
mod outer;
mod piece;
pub(super) mod transpose;

use std::arch::x86_64::__cpuid;

use super::Generated;
use super::key::{Form, Isa, KernelKey};

/// Code larger than this is generated again with shorter unrolled bodies.
const MAX_CODE: usize = 16 << 10;

/// The code of `key`, whose instruction set is AVX-512 or AVX2.
pub(super) fn generate(key: &KernelKey) -> Generated {
    let mut budget = 512;
    loop {
        let generated = match key.form {
            Form::Outer => outer::generate(key, budget),
            Form::Dot => dot::generate(key, budget),
        };
        if generated.code.len() <= MAX_CODE || budget == 1 {
            return generated;
        }
        budget /= 4;
    }
}

/// The best instruction set of this processor.
pub(super) fn detect() -> Option<Isa> {
    let avx512 = if computes_in_halves() { Isa::Avx512Halves } else { Isa::Avx512 };
    [avx512, Isa::Avx2].into_iter().find(|&isa| runs(isa))
}

/// Whether this is AMD's family 19h, whose members with AVX-512 (Zen 4) have data paths of 256 bits (AMD, Software
/// Optimization Guide for the AMD Zen4 Microarchitecture, publication 57647).
fn computes_in_halves() -> bool {
    let vendor = __cpuid(0);
    let signature = __cpuid(1).eax;
    let family = ((signature >> 8) & 15) + ((signature >> 20) & 255);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD" && family == 0x19
}

/// Whether this processor and its operating system run code for `isa`.
pub(super) fn runs(isa: Isa) -> bool {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match isa {
        Isa::Avx2 => avx2,
        Isa::Avx512 | Isa::Avx512Halves => {
            avx2 && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
        }
        _ => false,
    }
}
