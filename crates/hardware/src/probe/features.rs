//! Which instructions the processor has and the system lets us use.
//!
//! The one thing it changes is asked for by name: on processors with Intel AMX, Linux hands out the tiles only on
//! request, so the request is made and its answer reported.
#![allow(unsafe_code)]

use serde::Serialize;

/// An extension of the instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// As its maker writes it.
    pub name: &'static str,
    /// The processor has it and the system saves its registers.
    pub present: bool,
    /// What it is good for here.
    pub meaning: &'static str,
}

/// Processors that want the same kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// x86-64 without AVX2 and FMA.
    X86Baseline,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    Avx512,
    /// The same with AMX tiles.
    Amx,
    /// aarch64 with NEON alone.
    Neon,
    /// aarch64 with SVE, without SME.
    Sve,
    /// aarch64 with SVE and SME.
    SveSme,
    /// aarch64 with SME whose vectors exist in streaming mode only, as in Apple's M4: SVE instructions outside of it
    /// trap.
    SmeWithoutSve,
    /// Another architecture.
    Other,
}

/// What became of the request for AMX tiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AmxPermission {
    /// The processor has no AMX: nothing was asked.
    NotPresent,
    /// The system grants the tiles to every thread of this process.
    Granted,
    /// It does not, for this reason.
    Refused(String),
}

/// The instructions of a processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Features {
    /// Which kernels it wants.
    pub class: Class,
    /// Those that matter here, present or not.
    pub all: Vec<Feature>,
    /// Whether Intel AMX may be used.
    pub amx_permission: AmxPermission,
}

impl Features {
    /// Asks the processor that runs this.
    #[must_use]
    pub fn detect() -> Self {
        let (all, amx_permission) = detect();
        let has = |name: &str| all.iter().any(|feature: &Feature| feature.present && feature.name == name);
        let class = match std::env::consts::ARCH {
            "x86_64" => x86_class(has, &amx_permission),
            "aarch64" => arm_class(has),
            _ => Class::Other,
        };
        Self { class, all, amx_permission }
    }

    /// Whether the feature of this name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all.iter().any(|feature| feature.present && feature.name == name)
    }
}

fn x86_class(has: impl Fn(&str) -> bool, amx: &AmxPermission) -> Class {
    let avx512 = ["AVX-512F", "AVX-512BW", "AVX-512DQ", "AVX-512VL"].into_iter().all(&has);
    match (has("AVX2") && has("FMA"), avx512, *amx == AmxPermission::Granted) {
        (_, true, true) => Class::Amx,
        (_, true, false) => Class::Avx512,
        (true, ..) => Class::Avx2,
        _ => Class::X86Baseline,
    }
}

fn arm_class(has: impl Fn(&str) -> bool) -> Class {
    match (has("SVE"), has("SME")) {
        (true, true) => Class::SveSme,
        (true, false) => Class::Sve,
        (false, true) => Class::SmeWithoutSve,
        (false, false) => Class::Neon,
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> (Vec<Feature>, AmxPermission) {
    macro_rules! features {
        ($($name:literal $flag:tt $meaning:literal;)*) => {
            vec![$(Feature {
                name: $name,
                present: std::is_x86_feature_detected!($flag),
                meaning: $meaning,
            }),*]
        };
    }
    let mut all = features! {
        "AVX2" "avx2" "256-bit vectors: 8 floats or 4 doubles at once";
        "FMA" "fma" "multiply and add in one instruction, rounded once";
        "AVX-512F" "avx512f" "512-bit vectors, 32 registers, masks for remainders";
        "AVX-512BW" "avx512bw" "512-bit vectors of bytes and words";
        "AVX-512DQ" "avx512dq" "512-bit logic on floats, 64-bit products";
        "AVX-512VL" "avx512vl" "masks and 32 registers for shorter vectors";
        "AVX-512CD" "avx512cd" "conflict detection for scattered sums";
        "AVX-512 IFMA" "avx512ifma" "52-bit integer multiply and add";
        "AVX-512 VBMI" "avx512vbmi" "byte permutations";
        "AVX-512 VNNI" "avx512vnni" "8-bit dot products, four products an instruction and lane";
        "AVX-VNNI" "avxvnni" "the same in 256 bits, without AVX-512";
        "AVX-512 BF16" "avx512bf16" "dot products of 16-bit floats";
        "AVX-512 FP16" "avx512fp16" "arithmetic on 16-bit floats";
    };
    let tiles = amx_bits();
    all.extend([
        Feature { name: "AMX-TILE", present: tiles[0], meaning: "tile registers of 1 KiB" },
        Feature { name: "AMX-INT8", present: tiles[1], meaning: "products of 8-bit tiles" },
        Feature { name: "AMX-BF16", present: tiles[2], meaning: "products of 16-bit float tiles" },
    ]);
    (all, if tiles[0] { request_amx() } else { AmxPermission::NotPresent })
}

/// Tiles, 8-bit products, 16-bit float products.
#[cfg(target_arch = "x86_64")]
fn amx_bits() -> [bool; 3] {
    let leaf = raw_cpuid::CpuId::new().get_extended_feature_info();
    leaf.map_or([false; 3], |leaf| [leaf.has_amx_tile(), leaf.has_amx_int8(), leaf.has_amx_bf16()])
}

/// Linux, Documentation/arch/x86/xstate.rst: dynamically enabled features are requested once for the process.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn request_amx() -> AmxPermission {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the request takes two numbers and touches no memory of ours.
    let status = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) };
    if status == 0 {
        return AmxPermission::Granted;
    }
    AmxPermission::Refused(format!(
        "Linux refuses the tile registers to this process: {}; AMX needs Linux 5.16 or later",
        std::io::Error::last_os_error()
    ))
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn request_amx() -> AmxPermission {
    AmxPermission::Refused("only Linux hands out the tile registers".to_owned())
}

/// Name, bit in the kernel's first word of capabilities or in the second, Apple's name, meaning.
#[cfg(target_arch = "aarch64")]
type ArmFeature = (&'static str, Bit, &'static std::ffi::CStr, &'static str);

/// Linux, arch/arm64/include/uapi/asm/hwcap.h.
#[cfg(target_arch = "aarch64")]
#[cfg_attr(target_os = "macos", allow(dead_code))]
#[derive(Clone, Copy)]
enum Bit {
    First(u32),
    Second(u32),
}

#[cfg(target_arch = "aarch64")]
const ARM: [ArmFeature; 12] = [
    ("NEON", Bit::First(1), c"hw.optional.AdvSIMD", "128-bit vectors: 4 floats or 2 doubles at once"),
    ("FP16", Bit::First(10), c"hw.optional.arm.FEAT_FP16", "arithmetic on 16-bit floats"),
    ("DotProd", Bit::First(20), c"hw.optional.arm.FEAT_DotProd", "8-bit dot products"),
    ("I8MM", Bit::Second(13), c"hw.optional.arm.FEAT_I8MM", "8-bit matrix products"),
    ("BF16", Bit::Second(14), c"hw.optional.arm.FEAT_BF16", "dot products of 16-bit floats"),
    ("SVE", Bit::First(22), c"hw.optional.arm.FEAT_SVE", "vectors of any length"),
    ("SVE2", Bit::Second(1), c"hw.optional.arm.FEAT_SVE2", "the same for integers and cryptography"),
    ("SME", Bit::Second(23), c"hw.optional.arm.FEAT_SME", "outer products in a tile, in streaming mode"),
    ("SME I16I64", Bit::Second(24), c"hw.optional.arm.SME_I16I64", "16-bit outer products, 64-bit sums"),
    ("SME F64F64", Bit::Second(25), c"hw.optional.arm.FEAT_SME_F64F64", "outer products of doubles"),
    ("SME I8I32", Bit::Second(26), c"hw.optional.arm.SME_I8I32", "8-bit outer products"),
    ("SME2", Bit::Second(37), c"hw.optional.arm.FEAT_SME2", "several vectors an instruction"),
];

#[cfg(target_arch = "aarch64")]
fn detect() -> (Vec<Feature>, AmxPermission) {
    let all = ARM.iter().map(|&(name, bit, apple, meaning)| {
        let present = arm_has(bit, apple);
        Feature { name, present, meaning }
    });
    (all.collect(), AmxPermission::NotPresent)
}

#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
fn arm_has(bit: Bit, _: &std::ffi::CStr) -> bool {
    let (first, second) = rustix::param::linux_hwcap();
    match bit {
        Bit::First(bit) => first >> bit & 1 == 1,
        Bit::Second(bit) => second >> bit & 1 == 1,
    }
}

#[cfg(all(target_arch = "aarch64", target_os = "macos"))]
fn arm_has(_: Bit, name: &std::ffi::CStr) -> bool {
    super::apple::number(name) == Some(1)
}

#[cfg(all(target_arch = "aarch64", not(any(target_os = "linux", target_os = "macos"))))]
fn arm_has(bit: Bit, _: &std::ffi::CStr) -> bool {
    // NEON is part of the architecture; the rest is not told.
    matches!(bit, Bit::First(1))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> (Vec<Feature>, AmxPermission) {
    (Vec::new(), AmxPermission::NotPresent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_from_features() {
        let has = |names: &'static [&'static str]| move |name: &str| names.contains(&name);
        for (names, class) in [
            (&["NEON"][..], Class::Neon),
            (&["NEON", "SVE"], Class::Sve),
            (&["NEON", "SVE", "SME"], Class::SveSme),
            (&["NEON", "SME", "SME2"], Class::SmeWithoutSve),
        ] {
            assert_eq!(arm_class(has(names)), class, "{names:?}");
        }
        const AVX512: &[&str] = &["AVX2", "FMA", "AVX-512F", "AVX-512BW", "AVX-512DQ", "AVX-512VL"];
        let refused = AmxPermission::Refused(String::new());
        for (names, amx, class) in [
            (&[][..], AmxPermission::NotPresent, Class::X86Baseline),
            (&["AVX2"], AmxPermission::NotPresent, Class::X86Baseline),
            (&["AVX2", "FMA", "AVX-512F"], AmxPermission::NotPresent, Class::Avx2),
            (AVX512, refused, Class::Avx512),
            (AVX512, AmxPermission::Granted, Class::Amx),
        ] {
            assert_eq!(x86_class(has(names), &amx), class, "{names:?}");
        }
    }

    #[test]
    fn names_are_there_once() {
        let features = Features::detect();
        let mut names: Vec<_> = features.all.iter().map(|feature| feature.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), features.all.len());
        assert!(!features.has("AVX-1024"));
    }
}
