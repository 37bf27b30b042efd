//! Scenarios that are drawn or come from a closed form: Monte Carlo and parametric measures.
//!
//! All of them know returns by their sample mean and covariance only (the copula by its margins besides). Whatever is
//! multiplied here goes to one backend on one core, so that equal questions give equal bits on any number of threads.

mod closed_form;
mod cumulants;
mod curvature;
mod factor;
mod moments;
mod monte_carlo;
mod normals;
mod past;
mod paths;
mod quadratic;
mod saddlepoint;
mod shape;
mod without;

pub use closed_form::HigherMoments;
pub(crate) use closed_form::answer as closed_form;
pub use factor::{Factor, FactorKind};
pub use monte_carlo::Simulation;
pub(crate) use monte_carlo::answer as monte_carlo;

use std::sync::Arc;

use nautilus_hardware::backends::{self, Listing};
use nautilus_hardware::{Backend, BackendId, Hardware, Options, Switches};
use nautilus_numerics::MatrixError;

use crate::RiskError;

/// One backend on one core: the widest vector unit that `hardware` uses.
pub(crate) fn pinned(hardware: &Hardware) -> Hardware {
    let on =
        |id: BackendId| hardware.status().backends.iter().any(|status| status.backend == id && status.on);
    let portable = Listing { id: BackendId::Portable, backend: Ok(Arc::new(backends::Portable)) };
    let fast = vector_backends().into_iter().find(|backend| on(backend.id()));
    let pin = fast.as_ref().map_or(BackendId::Portable, |backend| backend.id());
    let fast = fast.map(|backend| Listing { id: backend.id(), backend: Ok(backend) });
    let listings = fast.into_iter().chain([portable]).collect();
    Hardware::new(listings, Switches::default(), Options { pin: Some(pin), ..Options::default() })
}

/// Those that can run here, the widest first.
#[cfg(target_arch = "x86_64")]
fn vector_backends() -> Vec<Arc<dyn Backend>> {
    let wide = backends::Avx512::open().ok().map(|backend| Arc::new(backend) as Arc<dyn Backend>);
    let narrow = backends::Avx2::open().ok().map(|backend| Arc::new(backend) as Arc<dyn Backend>);
    wide.into_iter().chain(narrow).collect()
}

#[cfg(target_arch = "aarch64")]
fn vector_backends() -> Vec<Arc<dyn Backend>> {
    vec![Arc::new(backends::Neon)]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn vector_backends() -> Vec<Arc<dyn Backend>> {
    Vec::new()
}

/// What a matrix job says about the question's `field`.
fn refused(field: &str, error: &MatrixError) -> RiskError {
    let code = match error {
        MatrixError::Hardware(_) => "hardware",
        MatrixError::TooFewObservations { .. } => "too_few_scenarios",
        MatrixError::NotFinite { .. } => "not_finite",
        MatrixError::Overflow => "overflow",
        _ => "matrix",
    };
    RiskError::new(code, field, error.to_string())
}
