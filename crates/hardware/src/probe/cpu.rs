//! Which processor this is: the name it gives itself, its numbers, and who stands between it and us.

use serde::Serialize;

use super::files::Root;

/// The processor's name and numbers; what it does not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Cpu {
    /// Such as `AMD EPYC`; empty where unknown.
    pub brand: String,
    /// Such as `AuthenticAMD`; empty where unknown.
    pub vendor: String,
    /// Family, of x86 with its extension.
    pub family: Option<u32>,
    /// Model, of x86 with its extension; the part number of Arm.
    pub model: Option<u32>,
    /// Stepping of x86; the revision of Arm.
    pub stepping: Option<u32>,
    /// The microcode's version, as the kernel writes it.
    pub microcode: Option<String>,
    /// Who runs this machine as a guest: then caches, clocks and cores are shared with strangers.
    pub hypervisor: Option<String>,
}

impl Cpu {
    /// Asks the processor, and the kernel for what only it knows.
    #[must_use]
    pub fn detect(root: &Root) -> Self {
        let mut cpu = asked();
        cpu.microcode = root.field("proc/cpuinfo", "microcode");
        if cpu.brand.is_empty() {
            cpu.brand = named_by_kernel(root).unwrap_or_default();
        }
        if cpu.vendor.is_empty() {
            cpu.vendor = root.field("proc/cpuinfo", "CPU implementer").unwrap_or_default();
            let number = |name| root.field("proc/cpuinfo", name).and_then(|text| parse_number(&text));
            cpu.family = number("CPU architecture");
            cpu.model = number("CPU part");
            cpu.stepping = number("CPU revision");
        }
        cpu
    }
}

#[cfg(target_arch = "x86_64")]
fn asked() -> Cpu {
    let id = raw_cpuid::CpuId::new();
    let features = id.get_feature_info();
    Cpu {
        brand: id.get_processor_brand_string().map_or_else(String::new, |brand| squeeze(brand.as_str())),
        vendor: id.get_vendor_info().map_or_else(String::new, |vendor| vendor.as_str().to_owned()),
        family: features.as_ref().map(|features| features.family_id().into()),
        model: features.as_ref().map(|features| features.model_id().into()),
        stepping: features.as_ref().map(|features| features.stepping_id().into()),
        microcode: None,
        hypervisor: id.get_hypervisor_info().map(|hypervisor| format!("{:?}", hypervisor.identify())),
    }
}

#[cfg(all(target_os = "macos", not(target_arch = "x86_64")))]
fn asked() -> Cpu {
    use super::apple;
    let number = |name| apple::number(name).and_then(|number| u32::try_from(number).ok());
    Cpu {
        brand: apple::text(c"machdep.cpu.brand_string").unwrap_or_default(),
        vendor: "Apple".to_owned(),
        family: number(c"hw.cpufamily"),
        model: number(c"hw.cpusubfamily"),
        stepping: None,
        microcode: None,
        hypervisor: (apple::number(c"kern.hv_vmm_present") == Some(1)).then(|| "a hypervisor".to_owned()),
    }
}

#[cfg(not(any(target_arch = "x86_64", target_os = "macos")))]
fn asked() -> Cpu {
    Cpu::default()
}

/// Where the processor has no name of its own the kernel may have one, or the board's.
fn named_by_kernel(root: &Root) -> Option<String> {
    let from_parts =
        || {
            let implementer = root.field("proc/cpuinfo", "CPU implementer")?;
            let part = root.field("proc/cpuinfo", "CPU part")?;
            Some(arm_name(&implementer, &part).map_or_else(
                || format!("Arm processor, implementer {implementer} part {part}"),
                str::to_owned,
            ))
        };
    root.field("proc/cpuinfo", "model name").or_else(from_parts)
}

/// Names of the parts that servers and boards are made of (Arm's Technical Reference Manuals, MIDR_EL1).
fn arm_name(implementer: &str, part: &str) -> Option<&'static str> {
    Some(match (parse_number(implementer)?, parse_number(part)?) {
        (0x41, 0xd08) => "Arm Cortex-A72",
        (0x41, 0xd0c) => "Arm Neoverse N1",
        (0x41, 0xd40) => "Arm Neoverse V1",
        (0x41, 0xd49) => "Arm Neoverse N2",
        (0x41, 0xd4f) => "Arm Neoverse V2",
        (0x41, 0xd84) => "Arm Neoverse V3",
        (0x41, 0xd8e) => "Arm Neoverse N3",
        _ => return None,
    })
}

fn parse_number(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| u32::from_str_radix(digits, 16).ok())
}

/// One space where there are several, none at the ends.
#[cfg(target_arch = "x86_64")]
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arm_parts_are_named_where_they_are_known() {
        assert_eq!(arm_name("0x41", "0xd0c"), Some("Arm Neoverse N1"));
        assert_eq!(arm_name("0x41", "0xfff"), None);
        assert_eq!(arm_name("arm", "0xd0c"), None);
    }
}
