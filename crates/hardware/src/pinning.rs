//! Which core a thread runs on, and with what priority: plan, apply, verify, roll back.
//!
//! A [`Plan`] is pure: it follows from the machine's topology and a [`Request`], and is shown before anything is done.
//! [`Plan::apply`] does what the system allows and says what it refuses; the [`Applied`] it returns holds what was
//! before, and puts it back when it is dropped.
//!
//! A real-time thread that spins is not interrupted for an ordinary one (but for the throttling that [`Abilities`] warns
//! of), so no plan gives such threads the last core: at least one core, with all of its threads, stays free of them.
//! Where several share a CPU they take turns, in slices of some 100 ms.
//!
//! It starts no thread and decides nothing about what threads do.

mod apply;
mod limits;
mod plan;
#[cfg(target_os = "macos")]
pub mod quality;
#[cfg(target_os = "linux")]
#[path = "pinning/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "pinning/elsewhere.rs"]
mod system;

use std::fmt;

use serde::Serialize;

pub use apply::Applied;
pub use limits::{Abilities, Ability, Need};
pub use plan::{Placement, Plan, Request};
pub use system::{Placed, Thread};

/// The highest priority of a real-time thread.
pub const PRIORITY_MAX: u8 = 99;

/// How the scheduler treats a thread that could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// As it was: it shares its core with everybody.
    Unchanged,
    /// Until it waits or a higher priority comes (`SCHED_FIFO`), from 1 to [`PRIORITY_MAX`].
    Fifo(u8),
    /// The same, taking turns with others of its priority (`SCHED_RR`).
    RoundRobin(u8),
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("policy unchanged"),
            Self::Fifo(priority) => write!(f, "SCHED_FIFO {priority}"),
            Self::RoundRobin(priority) => write!(f, "SCHED_RR {priority}"),
        }
    }
}

/// Something that was asked for and is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What.
    pub what: String,
    /// Why not, and what would change it.
    pub reason: String,
}

impl Refusal {
    fn new(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

/// Why there is no plan, or why nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinningError {
    /// A core was named that cannot be used.
    #[error("core {core} cannot be used: this process may run on {usable}")]
    UnknownCore {
        /// Which.
        core: usize,
        /// Those that can.
        usable: String,
    },
    /// The priority does not exist.
    #[error("the real-time priority {0} does not exist: use 1 to {PRIORITY_MAX}, or 0 for none")]
    Priority(u8),
    /// Everything was required and something is refused; what had been done was undone.
    #[error("pinning is required and refused: {0}")]
    Refused(Refusal),
}
