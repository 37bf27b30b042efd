//! `cargo xtask fuzz`: coverage-guided fuzzing of the decoders with libFuzzer on the stable toolchain.
//!
//! The targets stand in `fuzz/`, a workspace of its own, so that no other build compiles libFuzzer.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, code_of, root};

/// The compiler pass that libFuzzer listens to. cargo-fuzz sets the same on nightly.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// Fuzzes one target, or each in turn, and returns the exit code of the first that fails.
pub(crate) fn run(target: Option<&str>, seconds: u64) -> Result<u8> {
    let folder = root().join("fuzz");
    let known = targets(&folder)?;
    if let Some(unknown) = target.filter(|target| !known.iter().any(|name| name == target)) {
        bail!("there is no fuzz target '{unknown}'; there are {}", known.join(", "));
    }
    let host = host()?;
    let output = root().join("target/fuzz");
    let status = Command::new(cargo())
        // Only with an explicit target do the flags spare build scripts.
        .args(["build", "--release", "--locked", "--target", &host, "--target-dir"])
        .arg(&output)
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .env("RUSTFLAGS", RUSTFLAGS)
        .status()
        .context("cargo does not run")?;
    if !status.success() {
        return Ok(code_of(status));
    }
    // Memory rather than a disk, where there is such a folder: one target writes a file for every input.
    let temporary = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    for name in known.iter().filter(|name| target.is_none_or(|target| target == *name)) {
        let corpus = output.join("corpus").join(name);
        std::fs::create_dir_all(&corpus)?;
        let status = Command::new(output.join(&host).join("release").join(name))
            .arg(&corpus)
            .arg(folder.join("seeds").join(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", output.display()))
            .env("TMPDIR", temporary.path())
            .args(["-print_final_stats=1", "-verbosity=0", "-timeout=10", "-max_len=4096"])
            .status()
            .with_context(|| format!("the fuzzer {name} does not run"))?;
        if !status.success() {
            eprintln!("{name}: failed; the input that did it lies under {}", output.display());
            return Ok(code_of(status));
        }
        eprintln!("{name}: {seconds} seconds without a failure");
    }
    Ok(0)
}

/// The targets are the files under `fuzz/src/bin`.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join("src/bin"))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc does not run")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        let folder = root().join("fuzz");
        let targets = targets(&folder).unwrap();
        assert!(!targets.is_empty());
        for name in targets {
            let mut seeds = std::fs::read_dir(folder.join("seeds").join(&name)).expect(&name);
            assert!(seeds.next().is_some(), "fuzz/seeds/{name} is empty");
        }
    }
}
