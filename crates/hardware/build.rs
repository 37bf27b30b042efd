//! Says what the kernels were built from: a calibration of other sources, or of an unoptimised build, does not hold.
//!
//! It generates no code and reads nothing outside this crate.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

/// The sources below a folder, in the order of their names.
fn sources(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(sources(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    // Its keys are fixed: the same sources have the same hash in every build.
    let mut hash = DefaultHasher::new();
    for path in sources(Path::new("src"))? {
        path.hash(&mut hash);
        std::fs::read(&path)?.hash(&mut hash);
    }
    for name in ["TARGET", "OPT_LEVEL", "CARGO_ENCODED_RUSTFLAGS"] {
        std::env::var_os(name).hash(&mut hash);
    }
    println!("cargo::rustc-env=NAUTILUS_HARDWARE_BUILD={:016x}", hash.finish());
    Ok(())
}
