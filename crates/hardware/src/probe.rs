//! What this machine is and what it can do: features from the processor, rates by measurement.
//!
//! [`Machine::detect`] only reads and takes microseconds; nothing is timed there. What a machine does not tell is
//! absent, never guessed.

pub mod cache;
mod cpu;
mod files;

pub use cpu::Cpu;
pub use files::Root;
