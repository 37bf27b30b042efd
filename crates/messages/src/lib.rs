//! Every message of the platform and how it is laid out in bytes.
//!
//! [`frame`] holds the market-data frames of the star, [`mesh`] the engine messages of the mesh and
//! [`record`] what engines ask the store to keep. This crate decodes and refuses; it sends nothing.

pub mod frame;
pub mod mesh;
pub mod record;

mod bar_spec;
mod engine_name;

pub use bar_spec::{BarSpec, BarSpecError};
pub use engine_name::EngineName;
