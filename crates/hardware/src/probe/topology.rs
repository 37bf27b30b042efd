//! Cores, the groups they form, and the caches between them and memory: what Linux writes under
//! `/sys/devices/system`, what the processor says of itself where that is absent.

use std::collections::BTreeSet;

use serde::Serialize;

use super::files::{Root, parse_list};

/// Levels and kinds of caches of one CPU at most.
const CACHES_MAX: usize = 16;

/// One CPU as the system counts them: a core, or a thread of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogicalCpu {
    /// The system's number for it.
    pub id: usize,
    /// The lowest number among the threads of its core.
    pub core: usize,
    /// Its socket.
    pub package: usize,
    /// The lowest number in its cluster of cores, where the system knows clusters.
    pub cluster: Option<usize>,
    /// Its NUMA node.
    pub node: usize,
    /// Its speed beside the fastest, which has 1024, where cores differ.
    pub capacity: Option<u32>,
}

/// How the CPUs of a machine hang together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Those that are on, in order; never empty.
    pub cpus: Vec<LogicalCpu>,
    /// Those that this process may run on; never empty.
    pub allowed: Vec<usize>,
    /// Those that the scheduler leaves alone (`isolcpus`).
    pub isolated: Vec<usize>,
    /// Those whose timer tick stops while one thread runs (`nohz_full`).
    pub tickless: Vec<usize>,
}

impl Topology {
    /// Reads what the system says. Where it says nothing, as in some containers, there are as many CPUs as this process
    /// may use at once, of which nothing else is known.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        const CPUS: &str = "sys/devices/system/cpu";
        let list = |file: &str| root.list(&format!("{CPUS}/{file}")).unwrap_or_default();
        let mut online = list("online");
        if online.is_empty() {
            online = root.numbered(CPUS, "cpu");
        }
        if online.is_empty() {
            online = (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
        }
        let nodes = nodes(root);
        let cpus: Vec<_> = online.into_iter().map(|id| cpu(root, id, &nodes)).collect();
        let on = |id: &usize| cpus.iter().any(|cpu| cpu.id == *id);
        let allowed = root.field("proc/self/status", "Cpus_allowed_list").and_then(|text| parse_list(&text));
        let mut allowed: Vec<usize> = allowed.unwrap_or_default().into_iter().filter(on).collect();
        if allowed.is_empty() {
            allowed = cpus.iter().map(|cpu| cpu.id).collect();
        }
        Self { cpus, allowed, isolated: list("isolated"), tickless: list("nohz_full") }
    }

    /// Cores, each with one or more threads.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.count(|cpu| Some(cpu.core))
    }

    /// Sockets.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.count(|cpu| Some(cpu.package))
    }

    /// Clusters of cores; 0 where the system knows none.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.count(|cpu| cpu.cluster)
    }

    /// NUMA nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.count(|cpu| Some(cpu.node))
    }

    /// Speeds that cores have beside the fastest, slowest first; one, or none, where all are alike.
    #[must_use]
    pub fn capacities(&self) -> Vec<u32> {
        let all: BTreeSet<_> = self.cpus.iter().filter_map(|cpu| cpu.capacity).collect();
        all.into_iter().collect()
    }

    /// The CPU of this number, where it is on.
    #[must_use]
    pub fn cpu(&self, id: usize) -> Option<&LogicalCpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    fn count(&self, group: impl Fn(&LogicalCpu) -> Option<usize>) -> usize {
        self.cpus.iter().filter_map(group).collect::<BTreeSet<_>>().len()
    }
}

/// Each node with its CPUs.
fn nodes(root: &Root) -> Vec<(usize, Vec<usize>)> {
    const NODES: &str = "sys/devices/system/node";
    let cpus = |node| root.list(&format!("{NODES}/node{node}/cpulist")).map(|cpus| (node, cpus));
    root.numbered(NODES, "node").into_iter().filter_map(cpus).collect()
}

fn cpu(root: &Root, id: usize, nodes: &[(usize, Vec<usize>)]) -> LogicalCpu {
    let folder = format!("sys/devices/system/cpu/cpu{id}");
    let first = |file: &str| root.list(&format!("{folder}/topology/{file}"))?.first().copied();
    let core = first("core_cpus_list").or_else(|| first("thread_siblings_list")).unwrap_or(id);
    // The kernel writes -1 or 65535 where there is no such group, and then lists just the core's own threads.
    let known = root.number::<u16>(&format!("{folder}/topology/cluster_id")).is_some_and(|id| id != u16::MAX);
    let cluster = first("cluster_cpus_list").filter(|_| known);
    let package = root.number(&format!("{folder}/topology/physical_package_id")).unwrap_or(0);
    let node = nodes.iter().find(|(_, cpus)| cpus.contains(&id)).map_or(0, |(node, _)| *node);
    LogicalCpu { id, core, package, cluster, node, capacity: root.number(&format!("{folder}/cpu_capacity")) }
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheKind {
    /// Data alone.
    Data,
    /// Instructions alone.
    Instruction,
    /// Both.
    Unified,
}

/// A cache, and how many of its like there are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CpuCache {
    /// 1 is the nearest.
    pub level: u8,
    /// What it holds.
    pub kind: CacheKind,
    /// The size of one.
    pub bytes: u64,
    /// The CPUs that share one.
    pub shared_by: usize,
    /// How many there are.
    pub instances: usize,
    /// Bytes in a line.
    pub line_bytes: Option<u32>,
}

impl CpuCache {
    /// Every kind of cache of the machine, from the nearest.
    #[must_use]
    pub fn read_all(root: &Root, topology: &Topology) -> Vec<Self> {
        let mut seen = BTreeSet::new();
        let mut all: Vec<Self> = Vec::new();
        for cpu in &topology.cpus {
            for index in 0..CACHES_MAX {
                let folder = format!("sys/devices/system/cpu/cpu{}/cache/index{index}", cpu.id);
                let Some((cache, sharers)) = Self::read(root, &folder, cpu.id) else { break };
                if !seen.insert((cache.level, cache.kind, sharers)) {
                    continue;
                }
                match all.iter_mut().find(|other| Self { instances: 1, ..(*other).clone() } == cache) {
                    Some(same) => same.instances += 1,
                    None => all.push(cache),
                }
            }
        }
        if all.is_empty() {
            all = told_by_processor(topology.cpus.len());
        }
        all.sort();
        all
    }

    fn read(root: &Root, folder: &str, cpu: usize) -> Option<(Self, Vec<usize>)> {
        let text = |file: &str| root.text(&format!("{folder}/{file}"));
        let sharers = root.list(&format!("{folder}/shared_cpu_list")).filter(|list| !list.is_empty());
        let sharers = sharers.unwrap_or_else(|| vec![cpu]);
        let kind = match text("type")?.as_str() {
            "Data" => CacheKind::Data,
            "Instruction" => CacheKind::Instruction,
            _ => CacheKind::Unified,
        };
        let cache = Self {
            level: root.number(&format!("{folder}/level"))?,
            kind,
            bytes: parse_size(&text("size")?)?,
            shared_by: sharers.len(),
            instances: 1,
            line_bytes: root.number(&format!("{folder}/coherency_line_size")),
        };
        Some((cache, sharers))
    }

    /// The data cache of a level as one CPU sees it: the largest, where cores differ.
    #[must_use]
    pub fn of_level(all: &[Self], level: u8) -> Option<&Self> {
        let data = |cache: &&Self| cache.level == level && cache.kind != CacheKind::Instruction;
        all.iter().filter(data).max_by_key(|cache| cache.bytes)
    }
}

/// `32K`, `1M`, `512`.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.strip_suffix('K') {
        Some(digits) => (digits, 10),
        None => text.strip_suffix('M').map_or((text, 0), |digits| (digits, 20)),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// CPUID, leaf 4 of Intel and 8000_001D of AMD.
#[cfg(target_arch = "x86_64")]
fn told_by_processor(cpus: usize) -> Vec<CpuCache> {
    let Some(all) = raw_cpuid::CpuId::new().get_cache_parameters() else { return Vec::new() };
    let cache = |cache: raw_cpuid::CacheParameter| {
        let kind = match cache.cache_type() {
            raw_cpuid::CacheType::Data => CacheKind::Data,
            raw_cpuid::CacheType::Instruction => CacheKind::Instruction,
            raw_cpuid::CacheType::Unified => CacheKind::Unified,
            _ => return None,
        };
        let shape = [
            cache.associativity(),
            cache.physical_line_partitions(),
            cache.coherency_line_size(),
            cache.sets(),
        ];
        // The processor counts the most sharers it could have.
        let shared_by = cache.max_cores_for_cache().clamp(1, cpus);
        Some(CpuCache {
            level: cache.level(),
            kind,
            bytes: shape.into_iter().try_fold(1_u64, |bytes, size| bytes.checked_mul(size as u64))?,
            shared_by,
            instances: cpus.div_ceil(shared_by),
            line_bytes: u32::try_from(cache.coherency_line_size()).ok(),
        })
    };
    all.take(CACHES_MAX).filter_map(cache).collect()
}

/// macOS counts by levels of performance; the first is the fastest.
#[cfg(all(target_os = "macos", not(target_arch = "x86_64")))]
fn told_by_processor(cpus: usize) -> Vec<CpuCache> {
    use super::apple::number;
    let line_bytes = number(c"hw.cachelinesize").and_then(|bytes| u32::try_from(bytes).ok());
    let cores = number(c"hw.perflevel0.logicalcpu").and_then(|n| usize::try_from(n).ok()).unwrap_or(cpus);
    let shared = number(c"hw.perflevel0.cpusperl2").and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1);
    [
        (1, CacheKind::Data, c"hw.perflevel0.l1dcachesize", 1),
        (1, CacheKind::Instruction, c"hw.perflevel0.l1icachesize", 1),
        (2, CacheKind::Unified, c"hw.perflevel0.l2cachesize", shared),
    ]
    .into_iter()
    .filter_map(|(level, kind, name, shared_by)| {
        let instances = cores.div_ceil(shared_by);
        Some(CpuCache { level, kind, bytes: number(name)?, shared_by, instances, line_bytes })
    })
    .collect()
}

#[cfg(not(any(target_arch = "x86_64", target_os = "macos")))]
fn told_by_processor(_: usize) -> Vec<CpuCache> {
    Vec::new()
}
