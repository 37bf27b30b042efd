//! Signs of GPUs in the system's files. It opens no device: whether one can be used is for the GPU backend to say.

use serde::Serialize;

use super::files::Root;

/// A sign of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuHint {
    /// A device's vendor and model numbers, or a driver's name.
    pub name: String,
    /// The file or folder that says so.
    pub source: String,
}

impl GpuHint {
    /// Cards of the kernel and drivers of Vulkan.
    #[must_use]
    pub fn read_all(root: &Root) -> Vec<Self> {
        let mut hints = Vec::new();
        for card in root.numbered("sys/class/drm", "card") {
            let source = format!("sys/class/drm/card{card}");
            let id = |file: &str| root.text(&format!("{source}/device/{file}"));
            if let (Some(vendor), Some(device)) = (id("vendor"), id("device")) {
                let name = format!("{} device {device}", vendor_name(&vendor));
                hints.push(Self { name, source });
            }
        }
        for folder in ["usr/share/vulkan/icd.d", "etc/vulkan/icd.d"] {
            for file in root.names(folder) {
                if let Some(driver) = file.strip_suffix(".json") {
                    let name = format!("Vulkan driver {driver}");
                    hints.push(Self { name, source: format!("{folder}/{file}") });
                }
            }
        }
        hints
    }
}

/// PCI vendor numbers of those who make GPUs, and of virtual ones.
fn vendor_name(id: &str) -> String {
    match id {
        "0x10de" => "NVIDIA".into(),
        "0x1002" => "AMD".into(),
        "0x8086" => "Intel".into(),
        "0x1af4" => "virtio".into(),
        _ => format!("vendor {id}"),
    }
}
