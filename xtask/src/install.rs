//! Finds the programs that the tests need, installs them where a package manager is known, and otherwise says
//! what to install. It starts nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nautilus_testkit::PostgresServer;

use crate::{arm, gpu};

/// Links programs for aarch64 Linux.
pub(crate) const ARM_LINKER: &str = "aarch64-linux-gnu-gcc";

/// Programs that could not be found and not be installed.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl Missing {
    pub(crate) fn new(advice: &str) -> Self {
        Self(advice.to_owned())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// A program that tests start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Redis,
    Postgres,
    Prometheus,
    Alertmanager,
    Chromium,
    Node,
    ArmLinker,
    ArmEmulator,
    Vulkan,
}

impl Program {
    /// Without these the tests cannot run; the rest is skipped, loudly, where it is absent.
    const NEEDED: [Self; 3] = [Self::Redis, Self::Postgres, Self::Prometheus];
    const WANTED: [Self; 4] = [Self::Alertmanager, Self::Chromium, Self::Node, Self::Vulkan];

    /// What the hardware crate's emulated tests want.
    const EMULATION: [Self; 2] = [Self::ArmLinker, Self::ArmEmulator];

    fn is_installed(self) -> bool {
        let found = |program: &str| find(program).is_some();
        match self {
            Self::Redis => found("redis-server"),
            Self::Postgres => PostgresServer::find_binaries().is_some(),
            Self::Prometheus => found("prometheus") && found("promtool"),
            Self::Alertmanager => found("amtool"),
            Self::Chromium => found("chromium") || std::env::var_os("CHROMIUM").is_some(),
            // Whichever version is there is somebody's choice and stays.
            Self::Node => found("node") && found("npm"),
            Self::ArmLinker => has_arm_linker(),
            Self::ArmEmulator => emulator().is_some(),
            Self::Vulkan => gpu::has_driver(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Postgres => "PostgreSQL",
            Self::Prometheus => "Prometheus",
            Self::Alertmanager => "Alertmanager's amtool",
            Self::Chromium => "Chromium",
            Self::Node => "Node",
            Self::ArmLinker => "the GNU compiler for aarch64",
            Self::ArmEmulator => "QEMU for aarch64 programs",
            Self::Vulkan => "Mesa's Vulkan drivers",
        }
    }

    /// What to install, where the manager has it.
    const fn packages(self, manager: Manager) -> &'static [&'static str] {
        match (self, manager) {
            (Self::Redis, Manager::Apt) => &["redis-server"],
            (Self::Postgres, Manager::Apt) => &["postgresql"],
            (Self::Prometheus, _) => &["prometheus"],
            (Self::Alertmanager, Manager::Apt) => &["prometheus-alertmanager"],
            (Self::Chromium, Manager::Apt) => &["chromium"],
            (Self::Node, Manager::Apt) => &["nodejs", "npm"],
            (Self::ArmLinker, Manager::Apt) => {
                &["gcc-aarch64-linux-gnu", "binutils-aarch64-linux-gnu", "libc6-dev-arm64-cross"]
            }
            (Self::ArmEmulator, Manager::Apt) => &["qemu-user"],
            // lavapipe among them; the loader is only a recommendation of theirs.
            (Self::Vulkan, Manager::Apt) => &["libvulkan1", "mesa-vulkan-drivers"],
            (Self::Redis, Manager::Homebrew) => &["redis"],
            (Self::Postgres, Manager::Homebrew) => &["postgresql@17"],
            (Self::Node, Manager::Homebrew) => &["node"],
            (
                Self::Alertmanager | Self::Chromium | Self::Vulkan | Self::ArmLinker | Self::ArmEmulator,
                Manager::Homebrew,
            ) => &[],
        }
    }
}

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Homebrew,
}

/// Makes sure that every program the tests need is installed, and those they want as far as that goes.
pub(crate) fn programs() -> Result<()> {
    let needed = missing(&Program::NEEDED);
    if !needed.is_empty() {
        let names = names(&needed);
        let manager = manager().ok_or_else(|| Missing(advice(&names)))?;
        eprintln!("{names}: not installed yet; the tests start private servers, so they are installed now");
        install(manager, &needed).map_err(|error| Missing(format!("{error:#}. {}", advice(&names))))?;
        if !missing(&needed).is_empty() {
            let advice = advice(&names);
            return Err(Missing(format!(
                "the packages are installed, yet the servers are not found. {advice}"
            ))
            .into());
        }
    }
    want(&Program::WANTED);
    Ok(())
}

/// Installs what the emulated tests of the hardware crate want, as far as that goes.
pub(crate) fn emulation() {
    want(&Program::EMULATION);
}

/// Installs what is missing of `programs`, as far as that goes.
fn want(programs: &[Program]) {
    let wanted = missing(programs);
    if let Some(manager) = manager().filter(|_| !wanted.is_empty()) {
        let names = names(&wanted);
        eprintln!("{names}: not installed yet; some tests want them, so they are installed now");
        if let Err(error) = install(manager, &wanted) {
            eprintln!("!!! {error:#}; tests that want {names} are skipped");
        }
    }
}

fn install(manager: Manager, programs: &[Program]) -> Result<()> {
    for command in commands(manager, programs, is_root()) {
        let line = command.join(" ");
        eprintln!("+ {line}");
        let mut child = Command::new(&command[0]);
        let status =
            child.args(&command[1..]).status().with_context(|| format!("{} does not run", command[0]))?;
        ensure!(status.success(), "'{line}' failed ({status})");
    }
    Ok(())
}

fn missing(programs: &[Program]) -> Vec<Program> {
    programs.iter().copied().filter(|program| !program.is_installed()).collect()
}

fn names(programs: &[Program]) -> String {
    programs.iter().map(|program| program.name()).collect::<Vec<_>>().join(" and ")
}

fn advice(names: &str) -> String {
    format!(
        "the tests need {names}: install redis-server 6.2 or later, the PostgreSQL server 13 or later and Prometheus 2.40 \
         or later (on Debian and Ubuntu `apt-get install redis-server postgresql prometheus`, on macOS `brew install \
         redis postgresql@17 prometheus`), put redis-server, initdb, postgres, prometheus and promtool on the PATH, and \
         run cargo xtask test again"
    )
}

fn manager() -> Option<Manager> {
    if cfg!(target_os = "macos") {
        return find("brew").map(|_| Manager::Homebrew);
    }
    (find("apt-get").is_some() && Path::new("/etc/debian_version").exists()).then_some(Manager::Apt)
}

/// The command lines that install `programs`.
fn commands(manager: Manager, programs: &[Program], root: bool) -> Vec<Vec<String>> {
    let packages: Vec<String> = programs
        .iter()
        .flat_map(|program| program.packages(manager))
        .map(|name| (*name).to_owned())
        .collect();
    if packages.is_empty() {
        return Vec::new();
    }
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    match manager {
        Manager::Apt => {
            // Without a terminal sudo must fail at once instead of asking.
            let sudo = if root { "" } else { "sudo -n " };
            let apt = format!("{sudo}env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600");
            let mut install = words(&format!("{apt} install -y --no-install-recommends"));
            install.extend(packages);
            vec![words(&format!("{apt} update")), install]
        }
        Manager::Homebrew => {
            let mut install = words("brew install");
            install.extend(packages);
            vec![install]
        }
    }
}

pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether programs for aarch64 Linux can be linked.
pub(crate) fn has_arm_linker() -> bool {
    find(ARM_LINKER).is_some() && Path::new(arm::SYSROOT).join("lib/libc.so.6").exists()
}

/// QEMU's emulator of aarch64 programs: the one that `QEMU_AARCH64` names, or the first on the PATH.
pub(crate) fn emulator() -> Option<PathBuf> {
    let named = std::env::var_os("QEMU_AARCH64").map(PathBuf::from);
    named.filter(|file| file.is_file()).or_else(|| find("qemu-aarch64"))
}

/// The first program of this name on the PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_in(&std::env::var_os("PATH")?, program)
}

fn find_in(path: &std::ffi::OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed_and_root_needs_no_sudo() {
        let lines = |manager, programs: &[Program], root| -> Vec<String> {
            commands(manager, programs, root).iter().map(|line| line.join(" ")).collect()
        };
        let apt = "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600";
        assert_eq!(
            lines(Manager::Apt, &[Program::Postgres], true),
            [format!("{apt} update"), format!("{apt} install -y --no-install-recommends postgresql")]
        );
        assert!(lines(Manager::Apt, &[Program::Redis], false).iter().all(|l| l.starts_with("sudo -n env")));
        let both = [Program::Redis, Program::Postgres];
        assert_eq!(lines(Manager::Homebrew, &both, false), ["brew install redis postgresql@17"]);
        let wanted = lines(Manager::Apt, &[Program::Chromium, Program::Node], true);
        assert!(wanted[1].ends_with("--no-install-recommends chromium nodejs npm"), "{wanted:?}");
        assert!(lines(Manager::Homebrew, &[Program::Chromium], false).is_empty());
    }

    #[test]
    fn programs_are_found_on_the_path_given() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("redis-server"), "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(find_in(&path, "redis-server"), Some(folder.path().join("redis-server")));
        assert_eq!(find_in(&path, "postgres"), None);
    }
}
