//! The backends of this build, and why some of them cannot run on this machine.

#[cfg(feature = "gpu")]
pub mod gpu;
mod portable;

use std::sync::Arc;

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
    vec![Listing::of(BackendId::Portable, Ok(Portable)), gpu_listing()]
}

#[cfg(feature = "gpu")]
fn gpu_listing() -> Listing {
    Listing::of(BackendId::Gpu, gpu::Gpu::shared())
}

#[cfg(not(feature = "gpu"))]
fn gpu_listing() -> Listing {
    let reason = "this build has no GPU support: build with --features gpu".to_owned();
    Listing { id: BackendId::Gpu, backend: Err(reason) }
}

/// Those that can run here.
#[must_use]
pub fn available() -> Vec<Arc<dyn Backend>> {
    listings().into_iter().filter_map(|listing| listing.backend.ok()).collect()
}
