//! Where the router takes time from, so that tests can say what time it is. It never reads the time of day.

use std::fmt;
use std::sync::OnceLock;
use std::time::Instant;

/// A clock that never goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Nanoseconds since some moment of this process.
    fn now_ns(&self) -> u64;
}

/// The system's monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now_ns(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
