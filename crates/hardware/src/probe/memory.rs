//! How much memory there is, and in which pages.

use serde::Serialize;

use super::files::Root;

/// The memory of a machine; what it does not tell is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Memory {
    /// All of it.
    pub total_bytes: Option<u64>,
    /// What could be used without swapping, when it was looked at.
    pub available_bytes: Option<u64>,
    /// What the control group of this process may use, where that is less.
    pub limit_bytes: Option<u64>,
    /// How pages are merged into huge ones by themselves.
    pub transparent_huge_pages: Option<HugePages>,
    /// Huge pages set aside.
    pub huge_pages: Option<u64>,
    /// The size of each of them.
    pub huge_page_bytes: Option<u64>,
}

/// When the kernel makes huge pages by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HugePages {
    /// Wherever it can.
    Always,
    /// Where a program asks for them.
    Madvise,
    /// Nowhere.
    Never,
}

impl Memory {
    /// Reads what the system says.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let kilobytes = |name| {
            let field = root.field("proc/meminfo", name)?;
            field.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        let total_bytes = kilobytes("MemTotal").or_else(total_elsewhere);
        // Version 2 of control groups, then version 1; without a limit the number is absent or beyond all memory.
        let limit = root
            .number("sys/fs/cgroup/memory.max")
            .or_else(|| root.number("sys/fs/cgroup/memory/memory.limit_in_bytes"));
        Self {
            total_bytes,
            available_bytes: kilobytes("MemAvailable"),
            limit_bytes: limit.filter(|limit| total_bytes.is_some_and(|total| *limit < total)),
            transparent_huge_pages: root
                .text("sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| HugePages::chosen(&text)),
            huge_pages: root.field("proc/meminfo", "HugePages_Total").and_then(|text| text.parse().ok()),
            huge_page_bytes: kilobytes("Hugepagesize"),
        }
    }
}

#[cfg(target_os = "macos")]
fn total_elsewhere() -> Option<u64> {
    super::apple::number(c"hw.memsize")
}

#[cfg(not(target_os = "macos"))]
fn total_elsewhere() -> Option<u64> {
    None
}

impl HugePages {
    /// `always [madvise] never` → the one in brackets.
    fn chosen(text: &str) -> Option<Self> {
        match text.split_once('[')?.1.split_once(']')?.0 {
            "always" => Some(Self::Always),
            "madvise" => Some(Self::Madvise),
            "never" => Some(Self::Never),
            _ => None,
        }
    }
}
