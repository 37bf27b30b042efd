//! `cargo xtask test`, second part: the hardware crate's aarch64 kernels under QEMU's user-mode emulation, with SME at
//! every vector length and without. It decides what runs and says loudly what could not; it never fails because a tool
//! is absent, and never measures time, which means nothing under an emulator.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, install, root};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const PACKAGE: &str = "nautilus-hardware";
/// The C library for the emulated program.
pub(crate) const SYSROOT: &str = "/usr/aarch64-linux-gnu";
/// Bits of a streaming vector that the architecture allows.
const VECTOR_BITS: [u32; 5] = [128, 256, 512, 1024, 2048];
/// Random cases per property and processor: emulated ones take ten times as long as native ones.
const CASES: &str = "16";

/// What to run after the tests of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) commands: Vec<Command>,
    /// What is left out, and why.
    pub(crate) untested: Option<String>,
}

/// Finds or installs the tools, unless `arguments` ask for tests of something else.
pub(crate) fn plan(arguments: &[String]) -> Plan {
    if !concerned(arguments) {
        return Plan::default();
    }
    match emulator() {
        Ok(emulator) => {
            let without_sve = knows_sme_without_sve(&emulator);
            let reason = "SME without SVE, the class of Apple's M4: this QEMU cannot emulate it; put version 11 or later on \
                          the PATH, or name its qemu-aarch64 in QEMU_AARCH64";
            Plan {
                commands: commands(&emulator, without_sve),
                untested: (!without_sve).then(|| reason.to_owned()),
            }
        }
        Err(reason) => {
            let what = "the aarch64 kernels (NEON, SME at five vector lengths, their generator)";
            Plan { commands: Vec::new(), untested: Some(format!("{what}: {reason}")) }
        }
    }
}

/// Whether the hardware crate is among what is tested: with no arguments, or by its name.
fn concerned(arguments: &[String]) -> bool {
    let mut words = arguments.iter().take_while(|argument| *argument != "--").peekable();
    if words.peek().is_none() {
        return true;
    }
    let excluded = arguments.iter().any(|argument| argument.starts_with("--exclude"));
    !excluded && words.any(|word| word.trim_start_matches("--package=").trim_start_matches("-p") == PACKAGE)
}

/// QEMU for aarch64 programs, once everything that is needed to make and run such programs is there.
fn emulator() -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(
            "the emulated tests run on x86-64 Linux (elsewhere the tests above ran natively)".to_owned()
        );
    }
    install::emulation();
    if !install::has_arm_linker() {
        return Err("install gcc-aarch64-linux-gnu and libc6-dev-arm64-cross".to_owned());
    }
    if !has_target() {
        return Err(format!("rustup target add {TARGET}"));
    }
    install::emulator().ok_or_else(|| "install qemu-user, or set QEMU_AARCH64 to its qemu-aarch64".to_owned())
}

/// Whether the standard library for the target is there, installed now where rustup is.
fn has_target() -> bool {
    let there = || {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let print = ["--print", "target-libdir", "--target", TARGET];
        let output = Command::new(rustc).current_dir(root()).args(print).output();
        output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
    };
    if there() {
        return true;
    }
    eprintln!("the standard library for {TARGET} is not installed yet; the emulated tests want it");
    let status = Command::new("rustup").current_dir(root()).args(["target", "add", TARGET]).status();
    status.is_ok_and(|status| status.success()) && there()
}

/// A processor on which every SVE instruction outside streaming mode is a trap.
const SME_WITHOUT_SVE: &str = "max,sve=off,sme512=on";

/// Whether QEMU has that processor: 7.2 says that it cannot, newer ones go on and refuse this x86 program.
fn knows_sme_without_sve(emulator: &Path) -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let output = Command::new(emulator).args(["-cpu", SME_WITHOUT_SVE]).arg(program).output();
    output.is_ok_and(|output| !String::from_utf8_lossy(&output.stderr).contains("cannot enable"))
}

fn commands(emulator: &Path, without_sve: bool) -> Vec<Command> {
    let lengths = VECTOR_BITS.map(|bits| (format!("max,sme{bits}=on"), "on"));
    let processors = lengths.into_iter().chain([("max,sme=off".to_owned(), "off")]);
    let without_sve = without_sve.then(|| (SME_WITHOUT_SVE.to_owned(), "on"));
    processors
        .chain(without_sve)
        .flat_map(|(processor, sme)| {
            [&["--lib", "--", "backends::", "jit::"][..], &["--test", "contract", "--test", "arm_kernels"]]
                .map(|tests| command(emulator, &processor, sme, tests))
        })
        .collect()
}

fn command(emulator: &Path, processor: &str, sme: &str, tests: &[&str]) -> Command {
    let runner = format!("{} -L {SYSROOT} -cpu {processor}", emulator.display());
    let mut command = Command::new(cargo());
    command
        .current_dir(root())
        .args(["test", "--locked", "--package", PACKAGE, "--target", TARGET])
        // Unoptimised code is slow, and slower when emulated.
        .args(["--config", "profile.dev.opt-level=1"])
        .args(tests)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", install::ARM_LINKER)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner)
        .env("PROPTEST_CASES", CASES)
        .env("NAUTILUS_EXPECT_SME", sme);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulated_tests_run_with_everything_or_with_their_crate() {
        for (line, expected) in [
            ("", true),
            ("-- --nocapture", true),
            ("-p nautilus-hardware", true),
            ("--package=nautilus-hardware bars", true),
            ("-p nautilus-store -p nautilus-hardware", true),
            ("-p nautilus-store", false),
            ("bars", false),
            ("--workspace --exclude nautilus-hardware", false),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(concerned(&arguments), expected, "{line}");
        }
    }

    #[test]
    fn every_vector_length_is_emulated_and_none() {
        let commands = commands(Path::new("/usr/bin/qemu-aarch64"), true);
        let runner = |command: &Command| {
            let mut variables = command.get_envs();
            let found = variables.find(|(name, _)| name.to_string_lossy().ends_with("_RUNNER"));
            found.and_then(|(_, value)| Some(value?.to_string_lossy().into_owned())).unwrap_or_default()
        };
        let runners: Vec<_> = commands.iter().map(runner).collect();
        for bits in VECTOR_BITS {
            assert_eq!(
                runners.iter().filter(|line| line.ends_with(&format!("-cpu max,sme{bits}=on"))).count(),
                2
            );
        }
        for processor in ["max,sme=off", SME_WITHOUT_SVE] {
            assert_eq!(runners.iter().filter(|line| line.ends_with(&format!("-cpu {processor}"))).count(), 2);
        }
    }
}
