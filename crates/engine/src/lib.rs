//! The contract every engine obeys, and the runner that proves it deterministic.
//!
//! An [`Engine`] is a state and a function: `step` takes one input and changes the state, everything it wants
//! done stands in [`Effects`]. No clock, no randomness, no file, no socket, no thread: instants arrive in
//! [`Stamp`]. So the service shell, the replay runner, a fuzzer and a benchmark all call the same code.

mod contract;
mod facts;
mod history;
pub mod replay;
mod roster;
pub mod snapshot;

pub use contract::{Effects, Engine, Input, Outgoing, Refusal, RestoreError, Stamp};
pub use facts::Facts;
pub use history::{History, HistoryView};
pub use roster::{Defined, Roster};
