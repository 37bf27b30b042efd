//! A service's binary as a process of its own, in a temporary folder.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running service; killed when dropped.
#[derive(Debug)]
pub struct ServiceProcess {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl ServiceProcess {
    /// Starts `binary` with these settings over the environment and waits until it listens. Unless they say otherwise
    /// it does not measure the machine, which other tests use as well.
    ///
    /// # Panics
    /// When it ends before it listens; what it said is in the message.
    #[must_use]
    pub fn start(binary: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_with(binary, &[], settings)
    }

    /// The same with arguments.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(binary: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .current_dir(folder.path())
            .env("NAUTILUS__LOG__FORMAT", "json")
            .env("NAUTILUS__HARDWARE__CALIBRATE", "false")
            .envs(settings.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut said = String::new();
        let url = loop {
            let from = said.len();
            let read = log.read_line(&mut said).expect("the log is text");
            assert!(read > 0, "{binary} ended before it listened: {said}");
            if let Some((_, rest)) = said[from..].split_once("\"address\":\"") {
                break format!("http://{}", rest.split('"').next().unwrap_or_default());
            }
        };
        // Nobody reads on, but a full pipe must not stop the service.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, url, _folder: folder }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it as a crash would (SIGKILL).
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Interrupts it as Ctrl-C does and returns its exit status, `None` when a signal ended it.
    ///
    /// # Panics
    /// When the process cannot be signalled or waited for.
    pub fn interrupt(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let signalled = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        assert!(signalled.success(), "the process takes signals");
        self.child.wait().expect("it can be waited for").code()
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
