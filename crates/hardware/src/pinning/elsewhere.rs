//! Systems that let nobody choose a core for a thread of another's: everything is refused, with the reason.

use super::Policy;

/// A thread of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its name.
    pub name: String,
}

/// A thread that was moved: there is none here.
#[derive(Debug)]
#[must_use]
pub struct Placed(std::convert::Infallible);

#[cfg(target_os = "macos")]
const REASON: &str = "macOS has no hard pinning, on Apple silicon not even a hint: a thread can only choose its own \
                      quality of service";
#[cfg(not(target_os = "macos"))]
const REASON: &str = "only Linux is supported";

pub(super) fn threads() -> Vec<Thread> {
    Vec::new()
}

impl Thread {
    /// The one that asks.
    #[must_use]
    pub fn current() -> Self {
        Self { name: std::thread::current().name().unwrap_or_default().to_owned() }
    }

    /// Refused here.
    ///
    /// # Errors
    /// Always: one sentence that says why.
    pub fn pin(&self, _: usize) -> Result<Placed, String> {
        Err(REASON.to_owned())
    }
}

impl Placed {
    /// Cannot be called.
    ///
    /// # Errors
    /// Never.
    pub fn set_policy(&mut self, _: Policy) -> Result<(), String> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// Never.
    pub fn restore(&mut self) -> Result<(), String> {
        match self.0 {}
    }

    pub(super) fn seen(&self) -> Option<(Vec<usize>, Option<Policy>)> {
        match self.0 {}
    }
}

/// What holds for the process as a whole: nothing.
#[derive(Debug, Default)]
pub(super) struct ProcessState {}

impl ProcessState {
    pub(super) fn avoid_huge_pages(&mut self) -> Result<(), String> {
        Err(REASON.to_owned())
    }

    pub(super) fn lock_memory(&mut self) -> Result<(), String> {
        Err("only Linux is supported".to_owned())
    }

    pub(super) fn request_latency(&mut self) -> Result<(), String> {
        Err("only Linux has /dev/cpu_dma_latency".to_owned())
    }

    pub(super) fn differences(&self) -> Vec<String> {
        Vec::new()
    }

    pub(super) fn undo(&mut self) -> Vec<String> {
        Vec::new()
    }
}

pub(super) fn try_realtime(_: u8) -> Result<(), String> {
    Err(REASON.to_owned())
}

pub(super) fn try_latency() -> Result<(), String> {
    Err("only Linux has /dev/cpu_dma_latency".to_owned())
}
