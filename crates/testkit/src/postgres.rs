//! A private PostgreSQL server: finds the binaries, makes a data folder, starts, stops and starts again.
//!
//! It never touches a server it did not start: an address from the environment is only connected to.

use std::fs::File;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::free_port;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A PostgreSQL server for tests. One that [`Self::start`] made is stopped and its data removed on drop.
#[derive(Debug)]
pub struct PostgresServer {
    binaries: PathBuf,
    url: String,
    private: Option<Private>,
}

#[derive(Debug)]
struct Private {
    folder: TempDir,
    port: u16,
    account: Option<Account>,
    child: Option<Child>,
}

/// The user the server runs as when the tests run as root, whom PostgreSQL refuses.
#[derive(Debug, Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl PostgresServer {
    /// The variable that names a server which `cargo xtask test` started for all tests.
    pub const URL_VARIABLE: &str = "NAUTILUS_TEST_POSTGRES_URL";

    /// The folder of the newest installed server's binaries.
    #[must_use]
    pub fn find_binaries() -> Option<PathBuf> {
        find_binaries()
    }

    /// Starts a server of one's own, for tests that stop it. Takes some seconds.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; the text holds the end of its log.
    #[must_use]
    pub fn start() -> Self {
        let binaries = installed_binaries();
        let folder = tempfile::Builder::new().prefix("nautilus-pg-").tempdir().expect("a temporary folder");
        let account = account_instead_of_root();
        if let Some(Account { user, group }) = account {
            chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
        }
        let mut private = Private { folder, port: 0, account, child: None };
        private.initialise(&binaries);
        private.launch_on_free_port(&binaries);
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", private.port);
        Self { binaries, url, private: Some(private) }
    }

    /// The server that `cargo xtask test` started for all tests, or else one of one's own. Do not stop it.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn shared() -> Self {
        match std::env::var(Self::URL_VARIABLE) {
            Ok(url) => Self { binaries: installed_binaries(), url, private: None },
            Err(_) => Self::start(),
        }
    }

    /// The URL of the maintenance database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let output = Command::new(self.binaries.join("createdb"))
            .args(["--maintenance-db", &self.url, &name])
            .output()
            .expect("createdb runs");
        assert!(output.status.success(), "createdb: {}", String::from_utf8_lossy(&output.stderr));
        let server = self.url.rsplit_once('/').expect("a URL with a database").0;
        format!("{server}/{name}")
    }

    /// Stops the server as an administrator would; its data stay.
    ///
    /// # Panics
    /// When the server is not one's own.
    pub fn stop(&mut self) {
        let private = self.private.as_mut().expect("only a server made by start() may be stopped");
        private.stop(&self.binaries);
    }

    /// Starts the stopped server again on the same port.
    ///
    /// # Panics
    /// When it does not start, or is not one's own.
    pub fn start_again(&mut self) {
        let private = self.private.as_mut().expect("only a server made by start() may be started");
        assert!(private.launch(&self.binaries), "PostgreSQL did not start again: {}", private.log());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(private) = &mut self.private {
            private.stop(&self.binaries);
        }
    }
}

impl Private {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The caller's folder may be one that the server's account cannot enter.
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some(Account { user, group }) = self.account {
            command.gid(group).uid(user);
        }
        command
    }

    fn initialise(&self, binaries: &Path) {
        let output = self
            .command(&binaries.join("initdb"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .arg("--pgdata")
            .arg(self.data())
            .output()
            .expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A free port may be taken by somebody else before the server binds it.
    fn launch_on_free_port(&mut self, binaries: &Path) {
        for _ in 0..5 {
            self.port = free_port();
            if self.launch(binaries) {
                return;
            }
        }
        panic!("PostgreSQL did not start: {}", self.log());
    }

    /// Whether the server came up.
    fn launch(&mut self, binaries: &Path) -> bool {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        // Tests stop the server and the process, never the machine: no need to reach the disk.
        // A Unix socket's path may be too long for a temporary folder's, so there is none.
        let settings =
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "full_page_writes=off"];
        let mut command = self.command(&binaries.join("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("postgres runs");
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            if self.is_ready(binaries) {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    fn is_ready(&self, binaries: &Path) -> bool {
        let status = Command::new(binaries.join("pg_isready"))
            .args(["--quiet", "--host=127.0.0.1", "--port", &self.port.to_string()])
            .status();
        status.is_ok_and(|status| status.success())
    }

    fn stop(&mut self, binaries: &Path) {
        let Some(mut child) = self.child.take() else { return };
        let stopped = self
            .command(&binaries.join("pg_ctl"))
            .args(["stop", "--silent", "--mode=fast", "--pgdata"])
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

fn account_instead_of_root() -> Option<Account> {
    if number_of("-u", None)? != 0 {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|name| {
        Some(Account { user: number_of("-u", Some(name))?, group: number_of("-g", Some(name))? })
    })
}

/// What `id` says about the present user or the one named.
fn number_of(flag: &str, name: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(flag).args(name).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn installed_binaries() -> PathBuf {
    find_binaries().expect(
        "PostgreSQL 13 or later is not installed; `cargo xtask test` installs it on Debian, Ubuntu and macOS",
    )
}

fn find_binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps each version apart, Homebrew too; neither puts the server on the PATH by itself.
    let mut kept_apart: Vec<PathBuf> =
        ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"]
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
            .filter(|folder| version_of(folder).is_some())
            .collect();
    kept_apart.sort_by_key(|folder| std::cmp::Reverse(version_of(folder)));
    let kept_apart = kept_apart.into_iter().map(|folder| folder.join("bin"));
    std::env::split_paths(&path).chain(kept_apart).find_map(|folder| {
        let complete = ["initdb", "postgres", "pg_ctl", "createdb", "pg_isready"]
            .iter()
            .all(|program| folder.join(program).is_file());
        complete.then_some(folder)
    })
}

/// The version in a folder's name: `15`, `postgresql@16`; a plain `postgresql` is Homebrew's newest.
fn version_of(folder: &Path) -> Option<u32> {
    let name = folder.file_name()?.to_str()?;
    if name == "postgresql" {
        return Some(u32::MAX);
    }
    name.strip_prefix("postgresql@").unwrap_or(name).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_name_their_version() {
        for (folder, version) in [
            ("/usr/lib/postgresql/15", Some(15)),
            ("/opt/homebrew/opt/postgresql@16", Some(16)),
            ("/opt/homebrew/opt/postgresql", Some(u32::MAX)),
            ("/opt/homebrew/opt/openssl@3", None),
            ("/opt/homebrew/opt/redis", None),
        ] {
            assert_eq!(version_of(Path::new(folder)), version, "{folder}");
        }
    }

    #[test]
    fn a_server_starts_stops_and_starts_again_with_its_data() {
        let mut server = PostgresServer::start();
        let url = server.fresh_database();
        server.stop();
        assert!(std::net::TcpStream::connect(server.url()[20..].split('/').next().unwrap()).is_err());
        server.start_again();
        let output = Command::new(server.binaries.join("createdb"))
            .args(["--maintenance-db", server.url(), url.rsplit_once('/').unwrap().1])
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("already exists"));
    }
}
