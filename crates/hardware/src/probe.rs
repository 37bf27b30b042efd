//! What this machine is and what it can do: features from the processor, rates by measurement.
//!
//! [`Machine::detect`] only reads and takes milliseconds; nothing is timed there. What a machine does not tell is
//! absent, never guessed. Rates are [`peaks`], measured once and kept by [`cache`].

#[cfg(target_os = "macos")]
mod apple;
pub mod cache;
mod cpu;
mod features;
mod files;
mod gpus;
mod memory;
pub mod peaks;
mod topology;

use serde::Serialize;

pub use cpu::Cpu;
pub use features::{AmxPermission, Class, Feature, Features};
pub use files::Root;
#[cfg(target_os = "linux")]
pub(crate) use files::parse_list;
pub use gpus::GpuHint;
pub use memory::{HugePages, Memory};
pub use topology::{CacheKind, CpuCache, LogicalCpu, Topology};

/// A machine, as far as it tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// `linux`, `macos`, …
    pub system: &'static str,
    /// `x86_64`, `aarch64`, …
    pub architecture: &'static str,
    /// The processor's name and numbers.
    pub cpu: Cpu,
    /// Its instructions.
    pub features: Features,
    /// Its cores, and how they hang together.
    pub topology: Topology,
    /// Its caches, from the nearest.
    pub caches: Vec<CpuCache>,
    /// Its memory.
    pub memory: Memory,
    /// What sets its clock: `performance`, `powersave`, …; absent where the system does not say, as in most guests.
    pub governor: Option<String>,
    /// Signs of a GPU. Whether one can be used is for its backend to say.
    pub gpus: Vec<GpuHint>,
}

impl Machine {
    /// Looks at this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self::read(&Root::system())
    }

    /// Looks at the processor that runs this and at the system's files below `root`.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let topology = Topology::read(root);
        Self {
            system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            cpu: Cpu::detect(root),
            features: Features::detect(),
            caches: CpuCache::read_all(root, &topology),
            memory: Memory::read(root),
            governor: root.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            gpus: GpuHint::read_all(root),
            topology,
        }
    }
}
