//! Know the machine, measure it, send each matrix job to what is fastest on it.
//!
//! A [`Job`] is one operation on views of the caller's memory, checked when it is made. A [`Backend`] runs
//! jobs on one kind of kernel. The router holds a cost model per backend, fitted to measurements of this very machine,
//! and picks. Nothing here invents a number: what was not measured is absent.
//!
//! `unsafe` lives only in the files that begin with `#![allow(unsafe_code)]`; everything else of this crate, and every
//! other crate of the workspace, is safe code on checked views.

mod backend;
pub mod backends;
mod element;
pub mod frames;
mod hardware;
pub mod jit;
mod job;
pub mod monitor;
pub mod pinning;
pub mod probe;
pub mod router;
mod switches;
pub mod vector;
mod vectorised;
mod view;

pub use backend::{Backend, BackendId, Failure, Family};
pub use element::{Element, ElementType};
pub use hardware::{
    AlreadyInUse, BackendStatus, Calibration, CalibrationError, Candidate, Error, Hardware, Options, Route,
    Status,
};
pub use job::{
    Axpy, BatchedGemm, Cholesky, Dot, Gemm, GemmI8, Job, Layout, Op, Order, QuadraticForm, Solve, Spec, Syrk,
    Task,
};
pub use monitor::{Monitor, Peaks, Row};
pub use switches::{SwitchError, Switches};
pub use view::{Batch, BatchMut, Matrix, MatrixMut, ShapeError};
