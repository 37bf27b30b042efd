//! What the system would allow and refuse, and what would disturb a pinned thread: found out without changing anything.

use serde::Serialize;

use super::system;
use crate::probe::{Root, Topology};

/// Linux, include/uapi/linux/capability.h.
const CAP_IPC_LOCK: u32 = 14;

/// What pinning may need of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// To choose a thread's CPU.
    Affinity,
    /// To run before everything else.
    RealtimePriority,
    /// To keep memory from being paged out.
    MemoryLock,
    /// To keep cores from sleeping deep.
    LatencyRequest,
}

impl Need {
    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::RealtimePriority => "real-time priority",
            Self::MemoryLock => "memory lock",
            Self::LatencyRequest => "latency request",
        }
    }
}

/// One thing that pinning may need, and whether it can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// What.
    pub need: Need,
    /// It would be granted.
    pub granted: bool,
    /// How it is, and where it is refused what to do about it.
    pub detail: String,
}

/// What pinning could do here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// What would be granted and what refused.
    pub all: Vec<Ability>,
    /// What would disturb a pinned thread all the same.
    pub warnings: Vec<String>,
}

impl Abilities {
    /// Looks at the system's files below `root`, and has a thread of its own try what no file tells: whether it may
    /// have real-time priority, the one given or else the lowest.
    #[must_use]
    pub fn detect(root: &Root, topology: &Topology, priority: u8) -> Self {
        let ability = |need, outcome: Result<String, String>| Ability {
            need,
            granted: outcome.is_ok(),
            detail: outcome.unwrap_or_else(|refused| refused),
        };
        let all = vec![
            ability(Need::Affinity, affinity(topology)),
            ability(
                Need::RealtimePriority,
                system::try_realtime(priority.max(1)).map(|()| "SCHED_FIFO and SCHED_RR".to_owned()),
            ),
            ability(
                Need::MemoryLock,
                if cfg!(target_os = "linux") {
                    LockLimit::read(root).allows_everything().map(|()| "everything may be locked".to_owned())
                } else {
                    Err("only Linux is supported".to_owned())
                },
            ),
            ability(Need::LatencyRequest, system::try_latency().map(|()| "/dev/cpu_dma_latency".to_owned())),
        ];
        Self { all, warnings: if cfg!(target_os = "linux") { warnings(root, topology) } else { Vec::new() } }
    }
}

fn affinity(topology: &Topology) -> Result<String, String> {
    if !cfg!(target_os = "linux") {
        // The sentence of the system's own.
        return system::Thread::current().pin(0).map(|_| String::new());
    }
    let cores: std::collections::BTreeSet<_> =
        topology.allowed.iter().filter_map(|id| topology.cpu(*id)).map(|cpu| cpu.core).collect();
    match cores.len() {
        0 | 1 => Err("this process has one core, which is left to everybody".to_owned()),
        cores => Ok(format!("{cores} cores, of which the first is left to everybody else")),
    }
}

fn warnings(root: &Root, topology: &Topology) -> Vec<String> {
    let mut warnings = Vec::new();
    let runtime = root.number::<i64>("proc/sys/kernel/sched_rt_runtime_us");
    let period = root.number::<i64>("proc/sys/kernel/sched_rt_period_us").unwrap_or(1_000_000);
    match runtime {
        Some(-1) => warnings.push(
            "real-time threads are not throttled (sched_rt_runtime_us = -1): one that spins starves its core's kernel \
             threads"
                .to_owned(),
        ),
        Some(runtime) if (0..period).contains(&runtime) => warnings.push(format!(
            "a real-time thread that spins is stopped for {} of every {period} µs (sched_rt_runtime_us = {runtime})",
            period - runtime
        )),
        _ => {}
    }
    if let Some(budget) = group_budget(root).filter(|budget| Some(*budget) != runtime) {
        warnings.push(format!(
            "RT_GROUP_SCHED: this control group's real-time threads have {budget} µs in each period \
             (cpu.rt_runtime_us)"
        ));
    }
    if topology.tickless.is_empty() {
        warnings.push("no CPU is without timer ticks: boot with nohz_full= for the pinned cores".to_owned());
    }
    if topology.isolated.is_empty() {
        warnings.push("no CPU is set aside: boot with isolcpus= to keep other threads off".to_owned());
    }
    if root
        .field("proc/cpuinfo", "flags")
        .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
    {
        warnings.push("this is a virtual machine: its host interrupts even real-time threads".to_owned());
    }
    warnings
}

/// The real-time budget of this process's control group, where the kernel keeps one for each (version 1 only).
fn group_budget(root: &Root) -> Option<i64> {
    let groups = root.text("proc/self/cgroup")?;
    let mine = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|controller| controller == "cpu").then(|| parts.next()).flatten()
    })?;
    // Its own path could name anything: only its group's file below the mount is read.
    let mine = mine.trim_matches('/');
    if mine.split('/').any(|part| part == "..") {
        return None;
    }
    ["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"].into_iter().find_map(|mount| {
        let group = if mine.is_empty() { mount.to_owned() } else { format!("{mount}/{mine}") };
        root.number(&format!("{group}/cpu.rt_runtime_us"))
    })
}

/// How much memory a process may lock.
pub(super) struct LockLimit {
    /// Whether no limit counts.
    unlimited: bool,
    shown: String,
}

impl LockLimit {
    pub(super) fn read(root: &Root) -> Self {
        let capabilities = root.field("proc/self/status", "CapEff");
        let capabilities = capabilities.and_then(|text| u64::from_str_radix(&text, 16).ok()).unwrap_or(0);
        let limits = root.text("proc/self/limits").unwrap_or_default();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
        let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("unknown");
        let unlimited = capabilities >> CAP_IPC_LOCK & 1 == 1 || soft == "unlimited";
        Self { unlimited, shown: soft.to_owned() }
    }

    pub(super) fn allows_everything(&self) -> Result<(), String> {
        if self.unlimited {
            return Ok(());
        }
        Err(format!(
            "the limit is {} bytes, and a process that grew beyond it would fail: give it CAP_IPC_LOCK or ulimit -l \
             unlimited",
            self.shown
        ))
    }
}
