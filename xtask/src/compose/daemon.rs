//! The Docker daemon of the test: the one that `DOCKER_HOST` names, or a private one that leaves no trace.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::{quietly, text_of};
use crate::install::{Missing, find, is_root};

const START_DEADLINE: Duration = Duration::from_secs(60);
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const TABLES: [&str; 2] = ["filter", "nat"];

pub(super) struct Daemon {
    host: String,
    /// Stopped when dropped.
    _own: Option<Own>,
}

/// A daemon that was started here, and what it found.
struct Own {
    child: Child,
    folder: TempDir,
    forwarding: String,
    rules: Vec<String>,
    bridge_was_there: bool,
}

impl Daemon {
    pub(super) fn find_or_start() -> Result<Self> {
        if let Ok(host) = std::env::var("DOCKER_HOST") {
            return Ok(Self { host, _own: None });
        }
        if !is_root() || find("dockerd").is_none() {
            let advice = "set DOCKER_HOST to a daemon, or run as root with dockerd installed (on Debian: apt-get \
                          install docker.io docker-compose debootstrap)";
            return Err(Missing::new(advice).into());
        }
        let own = Own::start()?;
        Ok(Self { host: own.host(), _own: Some(own) })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

impl Own {
    fn start() -> Result<Self> {
        // Data of images, which would fill a temporary folder in memory.
        let target = crate::root().join("target");
        std::fs::create_dir_all(&target)?;
        let folder = tempfile::Builder::new().prefix("docker-").tempdir_in(target)?;
        let rules = TABLES.map(|table| {
            let mut save = Command::new("iptables-save");
            save.args(["-t", table]);
            text_of(save)
        });
        let forwarding = std::fs::read_to_string(FORWARDING)?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let path = |name: &str| folder.path().join(name);
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("-H")
            .arg(format!("unix://{}", path("socket").display()));
        // A group of its own: Ctrl-C is for the test, which then stops the daemon in good order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let bridge_was_there = has_bridge();
        let rules = rules.into_iter().collect::<Result<_>>()?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut own = Self { child, folder, forwarding, rules, bridge_was_there };
        own.wait()?;
        println!("started a private dockerd");
        Ok(own)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let mut info = Command::new("docker");
            info.arg("info").env("DOCKER_HOST", self.host());
            if quietly(info).is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait().context("dockerd")?.is_some();
            if ended || started.elapsed() > START_DEADLINE {
                let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
                bail!("dockerd does not start: {log}");
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    /// Puts the machine's network back as it was.
    fn restore(&self) -> Result<()> {
        if !self.bridge_was_there && has_bridge() {
            let mut delete = Command::new("ip");
            delete.args(["link", "delete", "docker0"]);
            quietly(delete)?;
        }
        for rules in &self.rules {
            let mut restore = Command::new("iptables-restore");
            let mut child = restore.stdin(Stdio::piped()).spawn()?;
            let mut input = child.stdin.take().context("it is piped")?;
            std::io::Write::write_all(&mut input, rules.as_bytes())?;
            drop(input);
            ensure!(child.wait()?.success(), "iptables-restore failed");
        }
        Ok(std::fs::write(FORWARDING, &self.forwarding)?)
    }
}

fn has_bridge() -> bool {
    std::path::Path::new("/sys/class/net/docker0").exists()
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        match self.restore() {
            Ok(()) => println!("stopped the private dockerd; firewall rules and forwarding are as before"),
            Err(error) => eprintln!("the machine's network is not as before: {error:#}"),
        }
        // Empty groups are of no use to anybody, and others may hold some: what cannot be removed stays.
        for folder in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(folder.path().join("docker"));
        }
    }
}
