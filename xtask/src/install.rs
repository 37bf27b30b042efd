//! Finds the servers that the tests need, installs them where a package manager is known, and otherwise says
//! what to install. It starts nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nautilus_testkit::PostgresServer;

/// Programs that could not be found and not be installed.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// A server that tests start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Redis,
    Postgres,
}

impl Server {
    fn is_installed(self) -> bool {
        match self {
            Self::Redis => find("redis-server").is_some(),
            Self::Postgres => PostgresServer::find_binaries().is_some(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Postgres => "PostgreSQL",
        }
    }

    const fn package(self, manager: Manager) -> &'static str {
        match (self, manager) {
            (Self::Redis, Manager::Apt) => "redis-server",
            (Self::Postgres, Manager::Apt) => "postgresql",
            (Self::Redis, Manager::Homebrew) => "redis",
            (Self::Postgres, Manager::Homebrew) => "postgresql@17",
        }
    }
}

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Homebrew,
}

/// Makes sure that every server the tests start is installed.
pub(crate) fn servers() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|server| server.name()).collect::<Vec<_>>().join(" and ");
    let manager = manager().ok_or_else(|| Missing(advice(&names)))?;
    eprintln!("{names}: not installed yet; the tests start private servers, so they are installed now");
    for command in commands(manager, &missing, is_root()) {
        eprintln!("+ {}", command.join(" "));
        let status = Command::new(&command[0])
            .args(&command[1..])
            .status()
            .with_context(|| format!("{} does not run", command[0]))?;
        if !status.success() {
            let line = command.join(" ");
            return Err(Missing(format!("'{line}' failed ({status}). {}", advice(&names))).into());
        }
    }
    match self::missing().as_slice() {
        [] => Ok(()),
        _ => Err(Missing(format!(
            "the packages are installed, yet the servers are not found. {}",
            advice(&names)
        ))
        .into()),
    }
}

fn missing() -> Vec<Server> {
    [Server::Redis, Server::Postgres].into_iter().filter(|server| !server.is_installed()).collect()
}

fn advice(names: &str) -> String {
    format!(
        "the tests need {names}: install redis-server 6.2 or later and the PostgreSQL server 13 or later (on Debian \
         and Ubuntu `apt-get install redis-server postgresql`, on macOS `brew install redis postgresql@17`), put \
         redis-server, initdb and postgres on the PATH, and run cargo xtask test again"
    )
}

fn manager() -> Option<Manager> {
    if cfg!(target_os = "macos") {
        return find("brew").map(|_| Manager::Homebrew);
    }
    (find("apt-get").is_some() && Path::new("/etc/debian_version").exists()).then_some(Manager::Apt)
}

/// The command lines that install `servers`.
fn commands(manager: Manager, servers: &[Server], root: bool) -> Vec<Vec<String>> {
    let packages = servers.iter().map(|server| server.package(manager));
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    match manager {
        Manager::Apt => {
            // Without a terminal sudo must fail at once instead of asking.
            let sudo = if root { "" } else { "sudo -n " };
            let apt = format!("{sudo}env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600");
            let mut install = words(&format!("{apt} install -y --no-install-recommends"));
            install.extend(packages.map(str::to_owned));
            vec![words(&format!("{apt} update")), install]
        }
        Manager::Homebrew => {
            let mut install = words("brew install");
            install.extend(packages.map(str::to_owned));
            vec![install]
        }
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// The first program of this name on the PATH.
fn find(program: &str) -> Option<PathBuf> {
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
        let lines = |manager, servers: &[Server], root| -> Vec<String> {
            commands(manager, servers, root).iter().map(|line| line.join(" ")).collect()
        };
        let apt = "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600";
        assert_eq!(
            lines(Manager::Apt, &[Server::Postgres], true),
            [format!("{apt} update"), format!("{apt} install -y --no-install-recommends postgresql")]
        );
        assert!(lines(Manager::Apt, &[Server::Redis], false).iter().all(|l| l.starts_with("sudo -n env")));
        let both = [Server::Redis, Server::Postgres];
        assert_eq!(lines(Manager::Homebrew, &both, false), ["brew install redis postgresql@17"]);
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
