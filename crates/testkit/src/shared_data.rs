//! Finds the recorded market data and reference values that lie beside a checkout, outside of it.

use std::path::{Path, PathBuf};

/// The path of `../shared/data/<relative>` seen from the workspace root, or of `$NAUTILUS_SHARED_DATA/<relative>`.
///
/// When it is absent the reason is printed, loudly, and `None` returned: the test that asked is to return then.
#[must_use]
pub fn shared_data(relative: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("NAUTILUS_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = folder.join(relative);
    if path.exists() {
        return Some(path);
    }
    // Written past the test harness's capture, so that a skipped check is always seen.
    let notice = format!("\n!!! SKIPPED: {} is absent, so nothing was checked against it\n", path.display());
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), notice.as_bytes());
    None
}

/// The recorded ES session of 25 December 2023 (order by order), where it is present.
#[must_use]
pub fn es_session() -> Option<PathBuf> {
    shared_data("orderbook_databento_es/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
}
