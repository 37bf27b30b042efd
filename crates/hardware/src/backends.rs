//! The backends of this build, and why some of them cannot run on this machine.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(feature = "gpu")]
pub mod gpu;
mod jit;
mod large;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

#[cfg(target_arch = "aarch64")]
pub use arm::{Neon, Sme};
pub use jit::Jit;
pub use large::Large;
pub use portable::Portable;
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

/// Every backend, in the order of [`BackendId::ALL`].
#[must_use]
pub fn listings() -> Vec<Listing> {
    BackendId::ALL.into_iter().map(|id| Listing { id, backend: open(id) }).collect()
}

/// Those that can run here.
#[must_use]
pub fn available() -> Vec<Arc<dyn Backend>> {
    listings().into_iter().filter_map(|listing| listing.backend.ok()).collect()
}

fn open(id: BackendId) -> Result<Arc<dyn Backend>, String> {
    fn ready<B: Backend + 'static>(backend: B) -> Result<Arc<dyn Backend>, String> {
        Ok(Arc::new(backend))
    }
    match id {
        BackendId::Portable => ready(Portable),
        BackendId::Jit => Jit::open().and_then(ready),
        BackendId::Large => ready(Large),
        #[cfg(target_arch = "x86_64")]
        BackendId::Avx2 => Avx2::open().and_then(ready),
        #[cfg(target_arch = "x86_64")]
        BackendId::Avx512 => Avx512::open().and_then(ready),
        #[cfg(feature = "gpu")]
        BackendId::Gpu => gpu::Gpu::shared().and_then(ready),
        #[cfg(not(feature = "gpu"))]
        BackendId::Gpu => Err("this build has no GPU support: build with --features gpu".to_owned()),
        #[cfg(not(target_arch = "x86_64"))]
        BackendId::Avx2 | BackendId::Avx512 | BackendId::Vnni | BackendId::Amx => {
            Err(needs("an x86-64 processor"))
        }
        #[cfg(target_arch = "aarch64")]
        BackendId::Neon => ready(Neon),
        #[cfg(target_arch = "aarch64")]
        BackendId::Sme => Sme::open().and_then(ready),
        #[cfg(not(target_arch = "aarch64"))]
        BackendId::Neon | BackendId::Sme => Err(needs("an aarch64 processor")),
        _ => Err("x".into()),
    }
}

/// The reason where a program for another kind of machine would have the backend.
#[allow(dead_code, reason = "a build that has every backend gives no reasons")]
fn needs(what: &str) -> String {
    format!("needs {what}, and this program is for {} {}", std::env::consts::OS, std::env::consts::ARCH)
}
