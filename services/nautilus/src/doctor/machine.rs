//! What the processor, its caches and its memory are.

use nautilus_hardware::probe::{AmxPermission, CacheKind, CpuCache, Features, HugePages, Machine, Memory};
use nautilus_hardware::probe::{Cpu, Topology};

use super::{Finding, Verdict};

/// One finding each of what can be seen without measuring.
pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![
        Finding::ok("system", format!("{} {}", machine.system, machine.architecture)),
        Finding::ok("processor", processor(&machine.cpu)),
        Finding::ok("cores", cores(&machine.topology)),
        Finding::ok("caches", caches(&machine.caches)),
        Finding::ok("memory", memory(&machine.memory)),
        Finding::ok("vector instructions", instructions(&machine.features)),
        governor(machine.governor.as_deref()),
        gpus(machine),
    ];
    if let AmxPermission::Refused(reason) = &machine.features.amx_permission {
        let advice = "update the kernel, or allow arch_prctl in the container's seccomp profile";
        findings.push(Finding::lacking("Intel AMX", Verdict::Optional, reason.as_str(), advice));
    }
    findings
}

/// Each extension of the instruction set, there or not, and what it is good for.
pub(super) fn print(features: &Features) {
    say!("\nInstructions");
    for feature in &features.all {
        let there = if feature.present { "yes" } else { "no" };
        say!("  {:<14} {there:<4} {}", feature.name, feature.meaning);
    }
}

fn processor(cpu: &Cpu) -> String {
    let mut text = if cpu.brand.is_empty() { "unknown model".to_owned() } else { cpu.brand.clone() };
    if let (Some(family), Some(model), Some(stepping)) = (cpu.family, cpu.model, cpu.stepping) {
        text += &format!(", family {family} model {model} stepping {stepping}");
    }
    if let Some(hypervisor) = &cpu.hypervisor {
        text += &format!(", as a guest of {hypervisor}: clocks and caches are shared with strangers");
    }
    text
}

fn cores(topology: &Topology) -> String {
    let mut text = format!(
        "{} in {}, {}",
        count(topology.cores(), "core"),
        count(topology.packages(), "socket"),
        count(topology.nodes(), "NUMA node")
    );
    if topology.cpus.len() > topology.cores() {
        text += &format!(", {} threads", topology.cpus.len());
    }
    if topology.clusters() > 0 {
        text += &format!(", {}", count(topology.clusters(), "cluster"));
    }
    if topology.capacities().len() > 1 {
        let speeds: Vec<_> =
            topology.capacities().iter().map(|capacity| format!("{capacity}/1024")).collect();
        text += &format!(", of speeds {}", speeds.join(" and "));
    }
    if topology.allowed.len() < topology.cpus.len() {
        text += &format!("; this process may run on {:?}", topology.allowed);
    }
    text
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn caches(caches: &[CpuCache]) -> String {
    let cache = |cache: &CpuCache| {
        let kind = match cache.kind {
            CacheKind::Data => "d",
            CacheKind::Instruction => "i",
            CacheKind::Unified => "",
        };
        let shared = match cache.shared_by {
            1 => String::new(),
            sharers => format!(" for {sharers} CPUs"),
        };
        format!("L{}{kind} {}{shared}", cache.level, size(cache.bytes))
    };
    let all: Vec<_> = caches.iter().map(cache).collect();
    if all.is_empty() { "unknown".to_owned() } else { all.join(", ") }
}

fn memory(memory: &Memory) -> String {
    let Some(total) = memory.total_bytes else { return "unknown".to_owned() };
    let mut text = size(total);
    if let Some(available) = memory.available_bytes {
        text += &format!(", {} available", size(available));
    }
    if let Some(limit) = memory.limit_bytes {
        text += &format!(", {} for this control group", size(limit));
    }
    if let Some(when) = memory.transparent_huge_pages {
        let when = match when {
            HugePages::Always => "always",
            HugePages::Madvise => "on request",
            HugePages::Never => "never",
        };
        text += &format!("; transparent huge pages {when}");
    }
    if let (Some(pages), Some(bytes)) = (memory.huge_pages, memory.huge_page_bytes) {
        text += &format!(", {pages} of {} set aside", size(bytes));
    }
    text
}

/// `32 KiB`, `1.5 GiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4);
    #[allow(clippy::cast_precision_loss)]
    let number = bytes as f64 / 1024_f64.powi(unit.cast_signed());
    let digits = usize::from(number.fract() > 0.0 && number < 100.0);
    format!("{number:.digits$} {}", UNITS[unit as usize])
}

fn instructions(features: &Features) -> String {
    let there: Vec<_> =
        features.all.iter().filter(|feature| feature.present).map(|feature| feature.name).collect();
    if there.is_empty() { "none beyond the architecture's own".to_owned() } else { there.join(", ") }
}

fn governor(governor: Option<&str>) -> Finding {
    const WHAT: &str = "clock governor";
    match governor {
        None => Finding::ok(WHAT, "not told, as in most virtual machines"),
        Some("performance") => Finding::ok(WHAT, "performance"),
        Some(other) => Finding::lacking(
            WHAT,
            Verdict::Optional,
            format!("{other}: the clock follows the load, and measurements with it"),
            "cpupower frequency-set -g performance (as root)",
        ),
    }
}

fn gpus(machine: &Machine) -> Finding {
    const WHAT: &str = "signs of a GPU";
    let names: Vec<_> = machine.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    if names.is_empty() && machine.system == "linux" {
        let advice = "install the vendor's Vulkan driver, or apt-get install mesa-vulkan-drivers";
        return Finding::lacking(WHAT, Verdict::Optional, "none; needed only for the GPU backend", advice);
    }
    Finding::ok(WHAT, if names.is_empty() { "not looked for here".to_owned() } else { names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_their_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (32 << 10, "32 KiB"),
            (3 << 19, "1.5 MiB"),
            (25_276_502_016, "23.5 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
