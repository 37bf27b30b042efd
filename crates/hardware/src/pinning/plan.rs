//! From a topology and a request to a plan. Pure: it asks the system nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{PRIORITY_MAX, PinningError, Policy, Refusal};
use crate::probe::{LogicalCpu, Topology};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Names of the threads that matter, in order of importance. Every process of a platform names them all, so that
    /// the plans of all of them are the same one.
    pub roles: Vec<String>,
    /// CPUs for them, taken in turn; empty leaves the choice to the planner.
    pub cores: Vec<usize>,
    /// 1 to 99, or 0 for none.
    pub realtime_priority: u8,
    /// Keep everything that was touched in memory.
    pub lock_memory: bool,
    /// No transparent huge pages, whose making stalls a thread at times of the kernel's choosing.
    pub avoid_huge_pages: bool,
    /// Ask the processor to wake up fast rather than to sleep deep.
    pub latency_request: bool,
    /// What is refused ends the attempt, instead of being left out.
    pub required: bool,
}

/// A thread and where it is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The thread's name.
    pub role: String,
    /// The CPU.
    pub cpu: usize,
    /// How it is scheduled there.
    pub policy: Policy,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One for each role, in their order; none where a machine has one core.
    pub placements: Vec<Placement>,
    /// Keep everything that was touched in memory.
    pub lock_memory: bool,
    /// No transparent huge pages for this process.
    pub avoid_huge_pages: bool,
    /// Hold the latency request.
    pub latency_request: bool,
    /// What is refused ends the attempt.
    pub required: bool,
    /// What the planner itself refuses.
    pub refused: Vec<Refusal>,
}

impl Plan {
    /// Places every role of the request.
    ///
    /// # Errors
    /// A core or a priority does not exist, or something is required that the planner refuses.
    pub fn new(topology: &Topology, request: &Request) -> Result<Self, PinningError> {
        if request.realtime_priority > PRIORITY_MAX {
            return Err(PinningError::Priority(request.realtime_priority));
        }
        let mut refused = Vec::new();
        let cpus = if request.cores.is_empty() { choose(topology) } else { named(topology, &request.cores)? };
        let mut placements: Vec<_> = Vec::new();
        if cpus.is_empty() {
            refused
                .push(Refusal::new("affinity", "there is one core, where pinning would only get in the way"));
        } else {
            let place = |(role, cpu): (&String, &usize)| Placement {
                role: role.clone(),
                cpu: *cpu,
                policy: Policy::Unchanged,
            };
            placements.extend(request.roles.iter().zip(cpus.iter().cycle()).map(place));
        }
        if request.realtime_priority > 0 && !placements.is_empty() {
            match leaves_a_core(topology, &placements) {
                true => make_realtime(&mut placements, request.realtime_priority),
                false => refused.push(Refusal::new(
                    "real-time priority",
                    "no core would be left for everything else, and a thread that spins would stop the machine: name \
                     fewer cores",
                )),
            }
        }
        if let Some(refusal) = refused.first().filter(|_| request.required) {
            return Err(PinningError::Refused(refusal.clone()));
        }
        let Request { lock_memory, avoid_huge_pages, latency_request, required, .. } = *request;
        Ok(Self { placements, lock_memory, avoid_huge_pages, latency_request, required, refused })
    }
}

/// CPUs that a thread can be moved to: those of this process, and those set aside for just that.
fn usable(topology: &Topology) -> impl Iterator<Item = &LogicalCpu> {
    let may = |cpu: &&LogicalCpu| topology.allowed.contains(&cpu.id) || topology.isolated.contains(&cpu.id);
    topology.cpus.iter().filter(may)
}

fn named(topology: &Topology, cores: &[usize]) -> Result<Vec<usize>, PinningError> {
    for core in cores {
        if !usable(topology).any(|cpu| cpu.id == *core) {
            let usable: Vec<_> = usable(topology).map(|cpu| cpu.id.to_string()).collect();
            return Err(PinningError::UnknownCore { core: *core, usable: usable.join(", ") });
        }
    }
    Ok(cores.to_vec())
}

/// One CPU of each core but the first, which is left to interrupts and everybody else: those that the scheduler leaves
/// alone, if there are any, or else the fastest first.
fn choose(topology: &Topology) -> Vec<usize> {
    let Some(first) = usable(topology)
        .find(|cpu| !topology.isolated.contains(&cpu.id))
        .or_else(|| usable(topology).next())
        .map(|cpu| cpu.core)
    else {
        return Vec::new();
    };
    let mut cores = BTreeSet::from([first]);
    let mut chosen: Vec<_> = usable(topology).filter(|cpu| cores.insert(cpu.core)).collect();
    let isolated = |cpu: &LogicalCpu| topology.isolated.contains(&cpu.id);
    if chosen.iter().any(|cpu| isolated(cpu)) {
        chosen.retain(|cpu| isolated(cpu));
    }
    chosen.sort_by_key(|cpu| (std::cmp::Reverse(cpu.capacity), cpu.id));
    chosen.into_iter().map(|cpu| cpu.id).collect()
}

/// Whether a core that everybody may use has none of these threads, on none of its own threads.
fn leaves_a_core(topology: &Topology, placements: &[Placement]) -> bool {
    let core = |id: usize| topology.cpu(id).map_or(id, |cpu| cpu.core);
    let taken: BTreeSet<_> = placements.iter().map(|placement| core(placement.cpu)).collect();
    let common = topology.allowed.iter().filter(|cpu| !topology.isolated.contains(cpu));
    common.map(|cpu| core(*cpu)).any(|core| !taken.contains(&core))
}

/// Threads that share a CPU take turns: of two in FIFO order the first would never let the second run while it spins.
fn make_realtime(placements: &mut [Placement], priority: u8) {
    let shared = |cpu: usize| placements.iter().filter(|placement| placement.cpu == cpu).count() > 1;
    let policies: Vec<_> = placements
        .iter()
        .map(|placement| match shared(placement.cpu) {
            true => Policy::RoundRobin(priority),
            false => Policy::Fifo(priority),
        })
        .collect();
    for (placement, policy) in placements.iter_mut().zip(policies) {
        placement.policy = policy;
    }
}
