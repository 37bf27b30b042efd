//! A private Prometheus for one test: starts it on a configuration of the test's own and stops it when dropped.
//!
//! It never listens beyond loopback and keeps its data in a temporary folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A running Prometheus; stopped, and its data deleted, when dropped.
#[derive(Debug)]
pub struct PrometheusServer {
    port: u16,
    folder: TempDir,
    child: Child,
}

impl PrometheusServer {
    /// Starts a server on the files given, each with its path below the folder of the configuration, which is
    /// `prometheus.yml` among them.
    ///
    /// # Panics
    /// When Prometheus is not installed, refuses the files or does not answer in time; what it said is in the message.
    #[must_use]
    pub fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        // Another process may take a free port before the server binds it: then take another.
        for _ in 0..3 {
            let port = crate::free_port();
            let mut child = spawn(port, folder.path());
            if answers(port, &mut child) {
                return Self { port, folder, child };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("Prometheus did not answer: {log}");
    }

    /// The server's URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where its configuration and its log are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for PrometheusServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("a log file");
    let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
    Command::new("prometheus")
        .arg(flag("config.file", &folder.join("prometheus.yml")))
        .arg(flag("storage.tsdb.path", &folder.join("data")))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("prometheus cannot be started ({error}); install it (Debian: apt-get install prometheus)")
        })
}

/// Waits until the server says that it is ready; false when the process ended instead.
fn answers(port: u16, child: &mut Child) -> bool {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return false;
        }
        if crate::http_status(port, "/-/ready") == Some(200) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_on_the_files_given_and_ends_when_dropped() {
        let server = PrometheusServer::start(&[("prometheus.yml", "global: {scrape_interval: 1s}\n")]);
        assert!(server.url().ends_with(&server.port.to_string()));
        let port = server.port;
        drop(server);
        assert_eq!(crate::http_status(port, "/-/ready"), None);
    }
}
