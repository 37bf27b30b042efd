//! Sends each job to the backend that is predicted to be fastest, and learns from what it took.
//!
//! It never changes what a job computes, and never makes a time up: before calibration there are no predictions, only
//! the order of [`PREFERENCE`].

mod clock;
mod shape;

pub use clock::{Clock, Monotonic};
pub use shape::ShapeClass;

use crate::backend::BackendId;

/// Who is asked first while nothing has been measured. Generated code before hand-written, wide before narrow, and the
/// GPU last of all: whether it is worth its transfers is never known without measuring.
pub const PREFERENCE: [BackendId; 11] = [
    BackendId::Jit,
    BackendId::Amx,
    BackendId::Vnni,
    BackendId::Accelerate,
    BackendId::Sme,
    BackendId::Avx512,
    BackendId::Avx2,
    BackendId::Neon,
    BackendId::Large,
    BackendId::Portable,
    BackendId::Gpu,
];
