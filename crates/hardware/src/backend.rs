//! The contract of a backend, and the names of all of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::jit::CacheStatistics;
use crate::job::{Job, Spec};

/// Everything that can run a job, on some machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendId {
    /// Plain loops: always there, and what every other backend is checked against.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512.
    Avx512,
    /// Code generated for the shape at run time: AVX-512, AVX2, NEON or SME.
    Jit,
    /// The blocked, packing product of a library, for large matrices.
    Large,
    /// aarch64 NEON.
    Neon,
    /// aarch64 SME: outer products in streaming mode.
    Sme,
    /// Apple's Accelerate, the public way to AMX.
    Accelerate,
    /// A compute shader through wgpu.
    Gpu,
    /// 8-bit integer dot products: AVX-512 VNNI.
    Vnni,
}

impl BackendId {
    /// Every backend, in the order of tables.
    pub const ALL: [Self; 10] = [
        Self::Portable,
        Self::Avx2,
        Self::Avx512,
        Self::Jit,
        Self::Large,
        Self::Neon,
        Self::Sme,
        Self::Accelerate,
        Self::Gpu,
        Self::Vnni,
    ];

    /// Its name in requests, labels, files and switches.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Jit => "jit",
            Self::Large => "large",
            Self::Neon => "neon",
            Self::Sme => "sme",
            Self::Accelerate => "accelerate",
            Self::Gpu => "gpu",
            Self::Vnni => "vnni",
        }
    }

    /// The family that a switch turns on and off as a whole; the portable one has none and is always on.
    #[must_use]
    pub const fn family(self) -> Option<Family> {
        match self {
            Self::Portable => None,
            Self::Gpu => Some(Family::Gpu),
            _ => Some(Family::Kernel),
        }
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BackendId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|backend| backend.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|backend| backend.as_str()).collect();
            format!("there is no backend '{text}': use one of {}", names.join(", "))
        })
    }
}

/// Backends that a switch of the deployment turns on and off together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Specialised CPU kernels.
    Kernel,
    /// The GPU.
    Gpu,
}

impl Family {
    /// Whether this build has any of it.
    #[must_use]
    pub const fn is_built(self) -> bool {
        match self {
            Self::Kernel => true,
            Self::Gpu => cfg!(feature = "gpu"),
        }
    }
}

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The backend could not do it; another one can try.
    #[error("{0}")]
    Broken(String),
    /// The matrix has no Cholesky factor: an answer, which no other backend would change.
    #[error(
        "the matrix is not positive definite: the pivot of column {column} (from 0) is not above zero; \
         check for duplicate or constant columns, or repair it to the nearest positive definite matrix"
    )]
    NotPositiveDefinite {
        /// The first column whose pivot is zero, negative or not a number.
        column: usize,
    },
}

/// One kind of kernel on this machine. It exists only where it can run.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Which one it is.
    fn id(&self) -> BackendId;

    /// Whether it can run jobs like this.
    fn supports(&self, spec: &Spec) -> bool;

    /// Runs the job on the calling thread and returns when the result is complete.
    ///
    /// # Errors
    /// [`Failure::Broken`] leaves the result as it was, so that another backend can run the same job.
    /// [`Failure::NotPositiveDefinite`] leaves the lower triangle in no defined state.
    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure>;

    /// What its cache of generated kernels did so far, where it has one.
    fn cache_statistics(&self) -> Option<CacheStatistics> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for backend in BackendId::ALL {
            assert_eq!(backend.as_str().parse(), Ok(backend));
        }
        assert!("cuda".parse::<BackendId>().unwrap_err().contains("portable, avx2"));
    }
}
