//! Kernels generated at run time, specialised to shape, strides, scale factors and type.
//!
//! A product is brought into one normal form ([`KernelKey`]), for which the generator of the processor writes machine
//! code: block loops, masked tails, no reads or writes outside the operands. Code lies in pages that are never writable
//! and executable at once, in a bounded cache. A caller who runs one shape many times holds a [`Plan`]; everybody else
//! goes through the backend, which looks the kernel up.
//!
//! It never changes the caller's memory outside C, and the same key always gives the same bytes.

#![allow(unsafe_code)]

#[cfg(any(target_arch = "aarch64", test))]
pub(crate) mod a64;
mod cache;
mod key;
mod memory;
mod plan;
mod scratch;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::AtomicU64;

pub(crate) use cache::Cache;
pub use cache::{CacheStatistics, Limits};
pub(crate) use key::Request;
pub use key::{Form, GemmShape, Isa, KernelKey, Scale, Strides};
pub(crate) use plan::{Operands, Program};
pub use plan::{Plan, PlanError};

/// How code is called: A, B, C, then α and β one after the other, then scratch memory aligned to 64 bytes.
#[cfg(target_arch = "x86_64")]
type Entry = unsafe extern "sysv64" fn(*const u8, *const u8, *mut u8, *const u8, *mut u8);
/// How code is called: A, B, C, then α and β one after the other, then scratch memory aligned to 64 bytes.
#[cfg(not(target_arch = "x86_64"))]
type Entry = unsafe extern "C" fn(*const u8, *const u8, *mut u8, *const u8, *mut u8);

/// What a generator hands over.
#[derive(Debug)]
pub(crate) struct Generated {
    /// The machine code, position independent, entered at its first byte as an [`Entry`].
    pub(crate) code: Vec<u8>,
    /// Bytes of scratch memory that it writes, at most [`MAX_SCRATCH`].
    pub(crate) scratch: usize,
}

/// The most scratch memory that a kernel may ask for.
pub(crate) const MAX_SCRATCH: usize = 1 << 20;

/// Machine code for one key.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) key: KernelKey,
    code: memory::Code,
    /// The first byte of `code`.
    entry: Entry,
    scratch: usize,
    /// The epoch of the cache in which it was last used.
    used: AtomicU64,
}

impl Kernel {
    /// Generates the code for this processor's instruction set named in the key.
    pub(crate) fn generate(key: &KernelKey) -> Result<Self, String> {
        let Generated { code, scratch } = generate(key)?;
        if scratch > MAX_SCRATCH {
            return Err(format!(
                "the kernel would need {scratch} bytes of scratch memory: use another backend"
            ));
        }
        let code = memory::Code::new(&code)?;
        // SAFETY: the generator wrote this code as an `Entry`.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(code.entry()) };
        Ok(Self { key: *key, code, entry, scratch, used: AtomicU64::new(0) })
    }

    /// Bytes of the pages that hold the code.
    pub(crate) fn page_bytes(&self) -> usize {
        self.code.bytes().len().next_multiple_of(4096)
    }

    /// The machine code.
    pub(crate) fn code(&self) -> &[u8] {
        self.code.bytes()
    }

    /// Runs the code.
    ///
    /// # Safety
    /// The pointers are operands of the shape and strides in the key, in that element type, none of which overlaps C;
    /// `scales` holds α and β; `scratch` is aligned to 64 bytes and as long as the kernel asks. The processor has the
    /// instruction set of the key.
    #[inline]
    pub(crate) unsafe fn call(
        &self,
        a: *const u8,
        b: *const u8,
        c: *mut u8,
        scales: *const u8,
        scratch: *mut u8,
    ) {
        // SAFETY: the caller keeps the conditions.
        unsafe {
            (self.entry)(a, b, c, scales, scratch);
        }
    }
}

/// Code for `key`, deterministically.
fn generate(key: &KernelKey) -> Result<Generated, String> {
    match key.isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Halves | Isa::Avx2 => Ok(x86::generate(key)),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::Sme => a64::generate(key, a64::streaming()),
        #[allow(unreachable_patterns)]
        other => Err(format!("this build has no generator for {}: use another backend", other.as_str())),
    }
}

/// The best instruction set of this processor that this build generates code for.
///
/// # Errors
/// One sentence that says what is missing.
pub fn detect() -> Result<Isa, String> {
    #[cfg(target_arch = "x86_64")]
    if let Some(isa) = x86::detect() {
        return Ok(isa);
    }
    #[cfg(target_arch = "aarch64")]
    return Ok(if a64::streaming().is_some() { Isa::Sme } else { Isa::Neon });
    #[cfg(not(target_arch = "aarch64"))]
    Err("this processor has none of the instruction sets that kernels are generated for: AVX-512 or AVX2 with FMA"
        .to_owned())
}

/// Whether code for `isa` can run here.
#[must_use]
pub fn runs(isa: Isa) -> bool {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Halves | Isa::Avx2 => x86::runs(isa),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => true,
        #[cfg(target_arch = "aarch64")]
        Isa::Sme => a64::streaming().is_some(),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

/// Whether this thread may run code for `isa`, which the processor has, now.
///
/// # Errors
/// One sentence that says why not.
#[inline]
pub(crate) fn ready(isa: Isa) -> Result<(), String> {
    match isa {
        #[cfg(target_arch = "aarch64")]
        Isa::Sme => crate::backends::za_is_free(),
        _ => Ok(()),
    }
}
