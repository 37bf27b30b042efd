//! Statistics, distributions and windows that several engines compute.
//!
//! Every function is pure and gives the same bits on every machine: elementary functions come from `libm`, never
//! from the platform. Nothing here knows markets, messages or time.

mod deviation;
mod distribution;

pub use deviation::RollingDeviation;
pub use distribution::{normal_cdf, student_t_cdf};
