//! The section `[journal]`: where engines that own facts keep them, and how much of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

const MIB: u64 = 1 << 20;
/// A segment holds the longest fact at least, and is read into memory as a whole.
const SEGMENT_MIB: std::ops::RangeInclusive<u64> = 2..=256;
/// A tebibyte.
const KEEP_MAX_MIB: u64 = MIB;

/// Where engines that say "accepted" keep what they accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// One folder per engine lies here.
    pub folder: PathBuf,
    /// Size of a segment; room for one is always kept.
    pub segment_mib: u64,
    /// Segments that a checkpoint contains are removed beyond this.
    pub keep_mib: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { folder: "data/journal".into(), segment_mib: 64, keep_mib: 1_024 }
    }
}

impl Journal {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refuse =
            |key: &str, message: String| Err(ConfigError::Setting { key: format!("journal.{key}"), message });
        if self.folder.as_os_str().is_empty() {
            let message = "it must name a folder: what an engine accepted has to be on a disk";
            return refuse("folder", message.to_owned());
        }
        if !SEGMENT_MIB.contains(&self.segment_mib) {
            let (least, most) = SEGMENT_MIB.into_inner();
            return refuse("segment_mib", format!("it must be from {least} to {most}"));
        }
        if self.keep_mib > KEEP_MAX_MIB {
            return refuse("keep_mib", format!("it must be from 0 to {KEEP_MAX_MIB}"));
        }
        Ok(())
    }

    pub(crate) fn segment_len(&self) -> u64 {
        self.segment_mib.saturating_mul(MIB)
    }

    pub(crate) fn keep_bytes(&self) -> u64 {
        self.keep_mib.saturating_mul(MIB)
    }
}
