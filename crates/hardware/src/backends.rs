//! The backends of this build, and why some of them cannot run on this machine.

#[cfg(target_os = "macos")]
mod accelerate;
#[cfg(target_arch = "x86_64")]
mod blocked;
mod large;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

#[cfg(target_os = "macos")]
pub use accelerate::Accelerate;
pub use large::Large;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use vnni::Vnni;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

use crate::backend::{Backend, BackendId};

/// A backend, or the reason why this build or this machine does not have it.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Which one.
    pub id: BackendId,
    /// Ready to run, or one sentence that says what is missing.
    pub backend: Result<Arc<dyn Backend>, String>,
}

impl Listing {
    fn of<B: Backend + 'static>(id: BackendId, opened: Result<B, String>) -> Self {
        Self { id, backend: opened.map(|backend| Arc::new(backend) as Arc<dyn Backend>) }
    }

    #[cfg(any(not(target_arch = "x86_64"), not(target_os = "macos")))]
    fn absent(id: BackendId, reason: &str) -> Self {
        Self { id, backend: Err(reason.to_owned()) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
const X86: &str = "needs an x86-64 processor";

/// Every backend, in the order of [`BackendId::ALL`].
#[must_use]
pub fn listings() -> Vec<Listing> {
    vec![
        Listing::of(BackendId::Portable, Ok(Portable)),
        #[cfg(target_arch = "x86_64")]
        Listing::of(BackendId::Avx2, Avx2::open()),
        #[cfg(not(target_arch = "x86_64"))]
        Listing::absent(BackendId::Avx2, X86),
        #[cfg(target_arch = "x86_64")]
        Listing::of(BackendId::Avx512, Avx512::open()),
        #[cfg(not(target_arch = "x86_64"))]
        Listing::absent(BackendId::Avx512, X86),
        Listing::of(BackendId::Large, Ok(Large)),
        #[cfg(target_os = "macos")]
        Listing::of(BackendId::Accelerate, Ok(Accelerate)),
        #[cfg(not(target_os = "macos"))]
        Listing::absent(BackendId::Accelerate, "needs macOS"),
        #[cfg(target_arch = "x86_64")]
        Listing::of(BackendId::Vnni, Vnni::open()),
        #[cfg(not(target_arch = "x86_64"))]
        Listing::absent(BackendId::Vnni, X86),
    ]
}

/// Those that can run here.
#[must_use]
pub fn available() -> Vec<Arc<dyn Backend>> {
    listings().into_iter().filter_map(|listing| listing.backend.ok()).collect()
}
