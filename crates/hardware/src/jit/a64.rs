//! Code for aarch64: NEON for every processor, SME where there is streaming mode.
//!
//! It decides which of the two a key is served with; the code itself follows AAPCS64 (d8 to d15 and x19 to x28 kept,
//! x18 untouched, PSTATE.SM and PSTATE.ZA zero on entry and exit). It never looks at data or at the processor: code
//! for it is also generated, and checked, on other machines.

mod encoder;
mod neon;
mod sme;
#[cfg(test)]
pub(crate) mod tests;

use super::key::{Form, Isa, KernelKey};
use super::{Generated, MAX_SCRATCH};
use crate::element::ElementType;

/// What SME code is generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streaming {
    /// Bytes of a vector: which tiles are worth it depends on it, the result does not.
    pub(crate) vector_bytes: usize,
    /// Whether there are ZA tiles of `f64` (FEAT_SME_F64F64).
    pub(crate) doubles: bool,
}

/// This processor's streaming mode.
#[cfg(target_arch = "aarch64")]
pub(crate) fn streaming() -> Option<Streaming> {
    let sme = crate::backends::Sme::open().ok()?;
    Some(Streaming { vector_bytes: sme.vector_bits() / 8, doubles: sme.has_doubles() })
}

/// Code for a key of NEON or SME; `streaming` is what the processor's streaming mode offers.
///
/// With SME, one row or column of results, types without tiles and what needs too much scratch memory are NEON code.
///
/// # Errors
/// The key asks for SME and there is no streaming mode.
pub(crate) fn generate(key: &KernelKey, streaming: Option<Streaming>) -> Result<Generated, String> {
    let streaming = match (key.isa, streaming) {
        (Isa::Sme, None) => return Err("SME code needs a processor with SME: use NEON code".to_owned()),
        (Isa::Sme, Some(streaming)) if suits_tiles(key, streaming) => Some(streaming),
        _ => None,
    };
    let (words, scratch) = match streaming {
        Some(Streaming { vector_bytes, .. }) => (sme::generate(key, vector_bytes), sme::scratch(key)),
        None => (neon::generate(key), 0),
    };
    Ok(Generated { code: words.iter().flat_map(|word| word.to_le_bytes()).collect(), scratch })
}

fn suits_tiles(key: &KernelKey, streaming: Streaming) -> bool {
    let element = key.element == ElementType::F32 || streaming.doubles;
    element && key.form == Form::Outer && key.m > 1 && sme::scratch(key) <= MAX_SCRATCH
}
