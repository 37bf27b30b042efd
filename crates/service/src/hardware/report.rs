//! What the machine is, what runs on it and how fast: the shapes of `/v1/hardware` and of `nautilus hardware --json`.
//!
//! Every number was measured or counted here; what was not is null.

use std::sync::OnceLock;

use nautilus_hardware::jit::CacheStatistics;
use nautilus_hardware::probe::{Class, CpuCache, Machine as Probed};
use nautilus_hardware::{
    BackendId, BackendStatus, Calibration, Candidate, ElementType, Family, Hardware, Op, Peaks, Row, Spec,
};
use serde::Serialize;
use utoipa::ToSchema;

/// The machine, its backends and what they did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Report {
    /// What was found.
    pub machine: Machine,
    /// Every backend of this build; those that are off say why.
    #[schema(value_type = Vec<Object>)]
    pub backends: Vec<BackendStatus>,
    /// What the environment says about them.
    pub switches: Switches,
    /// Whether jobs go by measurement.
    #[schema(value_type = Object)]
    pub calibration: Calibration,
    /// The only backend in use, where one is pinned.
    #[schema(value_type = Option<String>)]
    pub pinned: Option<BackendId>,
    /// The most cores that one job may use.
    pub workers_max: usize,
    /// The cache of kernels generated at run time; null where none are.
    pub generated: Option<Generated>,
    /// What was done since the process started, by operation, element, size and backend.
    pub work: Vec<Work>,
}

/// What was found of the machine.
#[derive(Debug, Serialize, ToSchema)]
pub struct Machine {
    /// The operating system.
    #[schema(example = "linux")]
    pub system: &'static str,
    /// The instruction set.
    #[schema(example = "x86_64")]
    pub architecture: &'static str,
    /// The processor's own name.
    pub processor: String,
    /// Who runs the machine as a guest.
    pub hypervisor: Option<String>,
    /// Which kernels the processor wants.
    #[schema(value_type = String, example = "avx512")]
    pub class: Class,
    /// Extensions that matter here and are present.
    pub instructions: Vec<&'static str>,
    /// Cores.
    pub cores: usize,
    /// Logical processors.
    pub threads: usize,
    /// NUMA nodes.
    pub numa_nodes: usize,
    /// From the nearest.
    #[schema(value_type = Vec<Object>)]
    pub caches: Vec<CpuCache>,
    /// All memory.
    pub memory_bytes: Option<u64>,
    /// What this process may use, where that is less.
    pub memory_limit_bytes: Option<u64>,
    /// What sets the clock.
    pub governor: Option<String>,
    /// Signs of GPUs.
    pub gpus: Vec<String>,
    /// The most that one core can do, where that was measured.
    #[schema(value_type = Option<Object>)]
    pub peaks: Option<Peaks>,
}

/// Kernels generated at run time, since the process started.
#[derive(Debug, Serialize, ToSchema)]
pub struct Generated {
    /// Jobs whose kernel was there.
    pub hits: u64,
    /// Jobs whose kernel was not.
    pub misses: u64,
    /// Kernels generated.
    pub kernels_generated: u64,
    /// Time that took, together.
    pub generation_ns: u64,
    /// Kernels thrown out to stay within the bounds.
    pub evicted: u64,
    /// Kernels held now.
    pub kernels: usize,
    /// Bytes of their pages.
    pub bytes: usize,
}

/// What the environment says about backends.
#[derive(Debug, Serialize, ToSchema)]
pub struct Switches {
    /// The only one that may run.
    #[schema(value_type = Option<String>)]
    pub force: Option<BackendId>,
    /// Those that may not.
    #[schema(value_type = Vec<String>)]
    pub forbid: Vec<BackendId>,
    /// Each family that this build has.
    pub families: Vec<FamilySwitch>,
}

/// Backends that are switched together.
#[derive(Debug, Serialize, ToSchema)]
pub struct FamilySwitch {
    /// Which.
    #[schema(value_type = String, example = "kernel")]
    pub family: Family,
    /// Whether they may run.
    pub on: bool,
}

/// What one backend did of one kind of job.
#[derive(Debug, Serialize, ToSchema)]
pub struct Work {
    /// The operation.
    #[schema(value_type = String, example = "gemm")]
    pub op: Op,
    /// What the matrices were made of.
    #[schema(value_type = String, example = "f64")]
    pub element: ElementType,
    /// How large: `le32` does no more than a product of 32×32×32.
    #[schema(example = "le32")]
    pub shape: String,
    /// Who ran it.
    #[schema(value_type = String, example = "avx512")]
    pub backend: BackendId,
    /// Calls.
    pub calls: u64,
    /// Of these, how many were timed.
    pub timed: u64,
    /// Calls that this backend could not do and another one did.
    pub fallbacks: u64,
    /// Median time of the timed calls.
    pub p50_ns: Option<u64>,
    /// The 99th percentile.
    pub p99_ns: Option<u64>,
    /// 10⁹ additions and multiplications a second.
    pub gflops: Option<f64>,
    /// 10⁹ bytes of operands a second.
    pub gbps: Option<f64>,
    /// `gflops` as a share of one core's measured peak.
    pub peak_share: Option<f64>,
    /// `gbps` as a share of the measured rate of the first cache.
    pub bandwidth_share: Option<f64>,
    /// By how much the timed calls took longer than the best prediction.
    pub regret: Option<f64>,
}

/// Where a job would go.
#[derive(Debug, Serialize, ToSchema)]
pub struct Route {
    /// The operation.
    #[schema(value_type = String, example = "gemm")]
    pub op: Op,
    /// What the matrices are made of.
    #[schema(value_type = String, example = "f64")]
    pub element: ElementType,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// The length of each sum.
    pub k: usize,
    /// How many times.
    pub batch: usize,
    /// Who would run it now.
    #[schema(value_type = String, example = "avx512")]
    pub chosen: BackendId,
    /// On how many cores.
    pub workers: usize,
    /// Every way to run it, the fastest prediction first, with what each was last measured to take; null where nothing
    /// was measured yet. Those that cannot be chosen say why.
    #[schema(value_type = Vec<Object>)]
    pub candidates: Vec<Candidate>,
}

impl Report {
    /// Everything that is known now.
    #[must_use]
    pub fn of(hardware: &Hardware) -> Self {
        let status = hardware.status();
        let mut families: Vec<Family> = status.backends.iter().filter_map(|backend| backend.family).collect();
        families.retain(|family| family.is_built());
        families.sort_unstable();
        families.dedup();
        let switch = |family| FamilySwitch { family, on: !status.switches.off.contains(&family) };
        Self {
            machine: Machine::of(probed(), hardware.monitor().peaks()),
            switches: Switches {
                force: status.switches.force,
                forbid: status.switches.forbid.clone(),
                families: families.into_iter().map(switch).collect(),
            },
            backends: status.backends,
            calibration: status.calibration,
            pinned: status.pinned,
            workers_max: status.workers_max,
            generated: hardware.generated().map(Generated::from),
            work: worked(hardware).map(Work::from).collect(),
        }
    }
}

/// Rows that stand for a job; asking for a route makes some that do not.
pub(super) fn worked(hardware: &Hardware) -> impl Iterator<Item = Row> {
    hardware.monitor().snapshot().into_iter().filter(|row| row.calls > 0)
}

/// What does not change while the process runs is looked at once.
pub(super) fn probed() -> &'static Probed {
    static MACHINE: OnceLock<Probed> = OnceLock::new();
    MACHINE.get_or_init(Probed::detect)
}

impl Machine {
    fn of(machine: &Probed, peaks: Option<Peaks>) -> Self {
        let present = machine.features.all.iter().filter(|feature| feature.present);
        Self {
            system: machine.system,
            architecture: machine.architecture,
            processor: machine.cpu.brand.clone(),
            hypervisor: machine.cpu.hypervisor.clone(),
            class: machine.features.class,
            instructions: present.map(|feature| feature.name).collect(),
            cores: machine.topology.cores(),
            threads: machine.topology.cpus.len(),
            numa_nodes: machine.topology.nodes(),
            caches: machine.caches.clone(),
            memory_bytes: machine.memory.total_bytes,
            memory_limit_bytes: machine.memory.limit_bytes,
            governor: machine.governor.clone(),
            gpus: machine.gpus.iter().map(|gpu| gpu.name.clone()).collect(),
            peaks,
        }
    }
}

impl From<CacheStatistics> for Generated {
    fn from(cache: CacheStatistics) -> Self {
        let CacheStatistics { hits, misses, generated, generation_ns, evicted, kernels, bytes } = cache;
        Self { hits, misses, kernels_generated: generated, generation_ns, evicted, kernels, bytes }
    }
}

impl From<Row> for Work {
    fn from(row: Row) -> Self {
        Self {
            op: row.op,
            element: row.element,
            shape: row.shape_class.to_string(),
            backend: row.backend,
            calls: row.calls,
            timed: row.sampled,
            fallbacks: row.fallbacks,
            p50_ns: row.time.p50_ns,
            p99_ns: row.time.p99_ns,
            gflops: row.gflops,
            gbps: row.gbps,
            peak_share: row.peak_share,
            bandwidth_share: row.bandwidth_share,
            regret: row.regret,
        }
    }
}

impl Route {
    /// The decision about a job.
    #[must_use]
    pub fn of(hardware: &Hardware, spec: &Spec) -> Self {
        let route = hardware.route(spec);
        let Spec { op, element, m, n, k, batch, .. } = route.spec;
        let (chosen, workers, candidates) = (route.chosen, route.workers, route.candidates);
        Self { op, element, m, n, k, batch, chosen, workers, candidates }
    }
}
