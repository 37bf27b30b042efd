//! The features against TA-Lib: reference columns of its C library, and its own Rust port called side by side.
//!
//! Equal means equal bit by bit, and undefined at the same bars.

mod columns;
mod data;
mod peer;
