//! The backends of this build, and why some of them cannot run on this machine.

#[cfg(target_arch = "aarch64")]
mod arm;
mod jit;
mod portable;

use std::sync::Arc;

#[cfg(target_arch = "aarch64")]
pub use arm::{Neon, Sme};
pub use jit::Jit;
pub use portable::Portable;

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
}

/// Every backend, in the order of [`BackendId::ALL`].
#[must_use]
pub fn listings() -> Vec<Listing> {
    let mut all =
        vec![Listing::of(BackendId::Portable, Ok(Portable)), Listing::of(BackendId::Jit, Jit::open())];
    all.extend(arm());
    all
}

#[cfg(target_arch = "aarch64")]
fn arm() -> [Listing; 2] {
    [Listing::of(BackendId::Neon, Ok(Neon)), Listing::of(BackendId::Sme, Sme::open())]
}

#[cfg(not(target_arch = "aarch64"))]
fn arm() -> [Listing; 2] {
    [BackendId::Neon, BackendId::Sme].map(|id| {
        let reason =
            format!("needs an aarch64 processor, and this program is for {}", std::env::consts::ARCH);
        Listing { id, backend: Err(reason) }
    })
}

/// Those that can run here.
#[must_use]
pub fn available() -> Vec<Arc<dyn Backend>> {
    listings().into_iter().filter_map(|listing| listing.backend.ok()).collect()
}
