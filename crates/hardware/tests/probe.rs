//! The probe on trees of files that look like other machines, and on this one.

use std::path::Path;

use nautilus_hardware::probe::{CacheKind, CpuCache, HugePages, Machine, Memory, Root, Topology};
use tempfile::TempDir;

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn cpu(&self, id: usize, files: &[(&str, &str)]) {
        for (file, text) in files {
            self.file(&format!("sys/devices/system/cpu/cpu{id}/{file}"), format!("{text}\n"));
        }
    }

    fn root(&self) -> Root {
        Root::at(self.0.path())
    }
}

/// Two sockets of two cores of two threads, a node each; the threads of a core are 4 apart.
fn two_sockets() -> Tree {
    let tree = Tree::new();
    tree.file("sys/devices/system/cpu/online", "0-7\n");
    tree.file("sys/devices/system/cpu/isolated", "3,7\n");
    tree.file("sys/devices/system/cpu/nohz_full", "(null)\n");
    tree.file("sys/devices/system/node/node0/cpulist", "0-1,4-5\n");
    tree.file("sys/devices/system/node/node1/cpulist", "2-3,6-7\n");
    tree.file("proc/self/status", "Name:\tx\nCpus_allowed_list:\t1-7,9\n");
    for id in 0..8 {
        let core = format!("{},{}", id % 4, id % 4 + 4);
        let package = (id % 4 / 2).to_string();
        let sharers = if package == "0" { "0-1,4-5" } else { "2-3,6-7" };
        tree.cpu(
            id,
            &[
                ("topology/core_cpus_list", &core),
                ("topology/physical_package_id", &package),
                ("topology/cluster_id", "65535"),
                ("cache/index0/level", "1"),
                ("cache/index0/type", "Data"),
                ("cache/index0/size", "32K"),
                ("cache/index0/shared_cpu_list", &core),
                ("cache/index0/coherency_line_size", "64"),
                ("cache/index1/level", "3"),
                ("cache/index1/type", "Unified"),
                ("cache/index1/size", "16384K"),
                ("cache/index1/shared_cpu_list", sharers),
            ],
        );
    }
    tree
}

#[test]
fn two_sockets_are_counted() {
    let tree = two_sockets();
    let topology = Topology::read(&tree.root());
    assert_eq!(topology.cpus.len(), 8);
    assert_eq!((topology.cores(), topology.packages(), topology.nodes(), topology.clusters()), (4, 2, 2, 0));
    assert_eq!(topology.cpu(6).map(|cpu| (cpu.core, cpu.package, cpu.node)), Some((2, 1, 1)));
    assert_eq!(topology.allowed, (1..8).collect::<Vec<_>>(), "and not 9, which is off");
    assert_eq!((topology.isolated, topology.tickless), (vec![3, 7], vec![]));
    let caches = CpuCache::read_all(&tree.root(), &Topology::read(&tree.root()));
    let shape = |cache: &CpuCache| (cache.level, cache.bytes, cache.shared_by, cache.instances);
    assert_eq!(caches.iter().map(shape).collect::<Vec<_>>(), [(1, 32 << 10, 2, 4), (3, 16 << 20, 4, 2)]);
    assert_eq!((caches[0].kind, caches[0].line_bytes), (CacheKind::Data, Some(64)));
    assert_eq!(CpuCache::of_level(&caches, 3).map(|cache| cache.bytes), Some(16 << 20));
    assert_eq!(CpuCache::of_level(&caches, 2), None);
}

/// Four small and two big cores.
#[test]
fn cores_of_different_speed_are_told_apart() {
    let tree = Tree::new();
    tree.file("sys/devices/system/cpu/online", "0-5");
    for id in 0..6 {
        let (capacity, cluster, cpus) = if id < 4 { ("446", "0", "0-3") } else { ("1024", "1", "4-5") };
        tree.cpu(
            id,
            &[
                ("cpu_capacity", capacity),
                ("topology/cluster_id", cluster),
                ("topology/cluster_cpus_list", cpus),
            ],
        );
    }
    let topology = Topology::read(&tree.root());
    assert_eq!(topology.capacities(), [446, 1024]);
    assert_eq!((topology.cores(), topology.clusters()), (6, 2));
    assert_eq!(topology.cpu(5).and_then(|cpu| cpu.cluster), Some(4));
}

#[test]
fn a_container_that_says_nothing_has_what_the_process_may_use() {
    let tree = Tree::new();
    let machine = Machine::read(&tree.root());
    let cpus = std::thread::available_parallelism().expect("it is known").get();
    assert_eq!((machine.topology.cpus.len(), machine.topology.allowed.len()), (cpus, cpus));
    assert_eq!((machine.topology.packages(), machine.topology.nodes()), (1, 1));
    assert!(machine.gpus.is_empty() && machine.governor.is_none());
    #[cfg(target_arch = "x86_64")]
    assert!(CpuCache::of_level(&machine.caches, 1).is_some(), "the processor says: {:?}", machine.caches);
}

#[test]
fn memory_pages_and_limits_are_read() {
    let tree = Tree::new();
    tree.file(
        "proc/meminfo",
        "MemTotal:  1000 kB\nMemAvailable: 500 kB\nHugePages_Total: 7\nHugepagesize: 2048 kB\n",
    );
    tree.file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    tree.file("sys/fs/cgroup/memory.max", "max\n");
    let memory = Memory::read(&tree.root());
    assert_eq!((memory.total_bytes, memory.available_bytes), (Some(1_024_000), Some(512_000)));
    assert_eq!((memory.huge_pages, memory.huge_page_bytes), (Some(7), Some(2 << 20)));
    assert_eq!((memory.transparent_huge_pages, memory.limit_bytes), (Some(HugePages::Madvise), None));
    for (limit, read) in [("65536", Some(65_536)), ("99999999999999", None)] {
        tree.file("sys/fs/cgroup/memory.max", limit);
        assert_eq!(Memory::read(&tree.root()).limit_bytes, read);
    }
}

#[test]
fn cards_and_drivers_are_hints() {
    let tree = Tree::new();
    tree.file("sys/class/drm/card0/device/vendor", "0x10de\n");
    tree.file("sys/class/drm/card0/device/device", "0x2330\n");
    tree.file("sys/class/drm/card0-DP-1/status", "connected");
    tree.file("usr/share/vulkan/icd.d/lvp_icd.x86_64.json", "{}");
    let names: Vec<_> = Machine::read(&tree.root()).gpus.into_iter().map(|gpu| gpu.name).collect();
    assert_eq!(names, ["NVIDIA device 0x2330", "Vulkan driver lvp_icd.x86_64"]);
}

/// Whatever the files hold, the probe ends and counts at least one CPU.
#[test]
fn nonsense_in_the_files_is_survived() {
    for nonsense in [&b""[..], b"-1", b"4294967296-4294967297", b"\xff\xfe", b"0-99999999", b"9-3", b"99999M"]
    {
        let tree = two_sockets();
        for file in [
            "online",
            "isolated",
            "cpu0/topology/core_cpus_list",
            "cpu0/cache/index0/size",
            "cpu0/cpu_capacity",
        ] {
            tree.file(&format!("sys/devices/system/cpu/{file}"), nonsense);
        }
        for file in
            ["sys/devices/system/node/node0/cpulist", "proc/meminfo", "proc/cpuinfo", "proc/self/status"]
        {
            tree.file(file, nonsense);
        }
        let machine = Machine::read(&tree.root());
        assert!(!machine.topology.cpus.is_empty() && !machine.topology.allowed.is_empty(), "{nonsense:?}");
    }
}

#[test]
fn this_machine_is_known() {
    let machine = Machine::detect();
    assert!(machine.topology.cores() >= 1);
    let json = serde_json::to_value(&machine).expect("it has a form in JSON");
    assert!(json["features"]["all"].is_array() && json["topology"]["cpus"].is_array());
    if cfg!(target_os = "linux") && Path::new("/proc/meminfo").exists() {
        assert!(machine.memory.total_bytes.is_some_and(|bytes| bytes > 1 << 20));
    }
    if cfg!(target_arch = "aarch64") {
        assert!(machine.features.has("NEON"));
    }
}
