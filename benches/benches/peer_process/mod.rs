//! The libraries that people use today in a process of their own, which answers round by round, so that contestants take
//! turns.
//!
//! It knows nothing of what is raced.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The peers' process, between two rounds.
pub(crate) struct Peers {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Peers {
    /// Runs `peers/<folder>/race.py`, which writes what is raced into `data` and then says that it is ready.
    pub(crate) fn start(python: &str, folder: &str, data: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(folder).join("race.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peers' Python runs");
        let lines = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut peers = Self { process, lines };
        assert_eq!(peers.line().trim(), "ready", "the peers failed");
        peers
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the peers answer");
        line
    }

    /// What one round came to.
    pub(crate) fn round(&mut self) -> Value {
        self.process.stdin.as_mut().expect("a pipe").write_all(b"round\n").expect("the peers listen");
        serde_json::from_str(&self.line()).expect("the peers write JSON")
    }

    /// What they say at the end.
    pub(crate) fn finish<T: DeserializeOwned>(mut self) -> T {
        drop(self.process.stdin.take());
        let report = serde_json::from_str(&self.line()).expect("the peers write JSON");
        assert!(self.process.wait().expect("the peers end").success(), "the peers failed");
        report
    }
}
