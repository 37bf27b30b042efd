//! A private redis-server for one test: starts it, kills it, freezes it and starts it again on the same data.
//!
//! It never touches a server it did not start, and never listens beyond loopback.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running redis-server with an append-only file; stopped, and its data deleted, when dropped.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    append_only: bool,
    child: Child,
}

impl RedisServer {
    /// Starts a server that keeps its data by an append-only file.
    ///
    /// # Panics
    /// When redis-server is not installed or does not answer in time.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(true)
    }

    /// Starts a server that keeps nothing over a crash.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_volatile() -> Self {
        Self::start_with(false)
    }

    fn start_with(append_only: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Another process may take a free port before the server binds it: then take another.
        for _ in 0..5 {
            let port = crate::free_port();
            let mut child = spawn(port, folder.path(), append_only);
            if answers(port, &mut child) {
                return Self { port, folder, append_only, child };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server did not answer on a free port; run it by hand to see why");
    }

    /// The server's URL, `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server as a crash would (SIGKILL). The data folder stays.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Starts the server again, on the same port and data; kills it first when it still runs.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, self.folder.path(), self.append_only);
        assert!(answers(self.port, &mut self.child), "redis-server did not come back on port {}", self.port);
    }

    /// Freezes the server: connections stay open and nothing answers (SIGSTOP).
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "kill {signal} of the test's redis-server failed");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path, append_only: bool) -> Child {
    let binary = std::env::var_os("NAUTILUS_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
    let yes_no = if append_only { "yes" } else { "no" };
    // Not everysec: while a disk is slow to flush, that answers before it has written, and what was answered is lost when
    // the process is killed. Without flushes of its own Redis writes first, and a killed process loses nothing.
    Command::new(&binary)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
        .args(["--appendonly", yes_no, "--appendfsync", "no", "--save", ""])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{} cannot be started ({error}); install it (Debian: apt-get install redis-server) or set \
                 NAUTILUS_REDIS_SERVER to its path",
                Path::new(&binary).display()
            )
        })
}

/// Waits until the server answers a PING; false when the process ended instead.
fn answers(port: u16, child: &mut Child) -> bool {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return false;
        }
        if ping(port).is_ok_and(|answer| answer) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_killed_and_comes_back_on_the_same_port() {
        let mut server = RedisServer::start();
        let url = server.url();
        server.kill();
        assert!(ping(server.port).is_err());
        server.restart();
        assert!(ping(server.port).expect("an answer"));
        assert_eq!(server.url(), url);
    }
}
