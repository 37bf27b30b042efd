//! The backends of this build, and why some of them cannot run on this machine.

#[cfg(target_os = "macos")]
mod accelerate;
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
mod vnni;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

#[cfg(target_os = "macos")]
pub use accelerate::Accelerate;
#[cfg(target_arch = "aarch64")]
pub use arm::{Neon, Sme};
pub use jit::Jit;
pub use large::Large;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use vnni::Vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::transpose_f64;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::za_is_free;

use crate::backend::{Backend, BackendId};
use crate::element::Element;
use crate::view::MatrixMut;

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
    match id {
        BackendId::Portable => ready(Portable),
        BackendId::Jit => Jit::open().and_then(ready),
        BackendId::Large => ready(Large),
        BackendId::Avx2 | BackendId::Avx512 | BackendId::Vnni => x86(id),
        BackendId::Neon | BackendId::Sme => arm(id),
        BackendId::Accelerate => accelerate(),
        BackendId::Gpu => gpu(),
    }
}

fn ready<B: Backend + 'static>(backend: B) -> Result<Arc<dyn Backend>, String> {
    Ok(Arc::new(backend))
}

#[cfg(target_arch = "x86_64")]
fn x86(id: BackendId) -> Result<Arc<dyn Backend>, String> {
    match id {
        BackendId::Avx2 => Avx2::open().and_then(ready),
        BackendId::Vnni => Vnni::open().and_then(ready),
        _ => Avx512::open().and_then(ready),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn x86(_: BackendId) -> Result<Arc<dyn Backend>, String> {
    Err("needs an x86-64 processor".to_owned())
}

#[cfg(target_arch = "aarch64")]
fn arm(id: BackendId) -> Result<Arc<dyn Backend>, String> {
    match id {
        BackendId::Sme => Sme::open().and_then(ready),
        _ => ready(Neon),
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn arm(_: BackendId) -> Result<Arc<dyn Backend>, String> {
    Err("needs an aarch64 processor".to_owned())
}

#[cfg(target_os = "macos")]
fn accelerate() -> Result<Arc<dyn Backend>, String> {
    ready(Accelerate)
}

#[cfg(not(target_os = "macos"))]
fn accelerate() -> Result<Arc<dyn Backend>, String> {
    Err("needs macOS".to_owned())
}

#[cfg(feature = "gpu")]
fn gpu() -> Result<Arc<dyn Backend>, String> {
    gpu::Gpu::shared().and_then(ready)
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Result<Arc<dyn Backend>, String> {
    Err("this build has no GPU support: build with --features gpu".to_owned())
}

/// C ← β·C, for products whose other part is zero.
fn scale<T: Element>(beta: T, c: &mut MatrixMut<'_, T>) {
    if beta == T::ONE {
        return;
    }
    for i in 0..c.rows() {
        for j in 0..c.columns() {
            let value = if beta == T::ZERO { T::ZERO } else { beta * c.at(i, j) };
            c.set(i, j, value);
        }
    }
}
