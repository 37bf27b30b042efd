//! One process that is kept up: started, started again when it crashed, drained or killed when it is to end.
//!
//! A process holds a pipe from here as its standard input: it drains when that ends, which it also does when this
//! process is killed. So nothing is left behind, whoever dies first.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::{Child as Process, Command};
use tokio::sync::{mpsc, watch};

use super::logs::{Labels, Said};

/// The pause before another start: doubled at every crash, the first again after a stable run.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const STABLE: Duration = Duration::from_secs(30);
/// How long the last lines of a process that ended may take.
const LAST_LINES: Duration = Duration::from_millis(200);
/// Statuses that another start does not change: bad configuration, a file that is not usable.
const FINAL: [u8; 2] = [64, 66];

/// What to run: this program again.
pub(super) struct Program {
    /// How it is called in logs.
    pub(super) name: &'static str,
    pub(super) arguments: Vec<OsString>,
    /// Environment variables over this process's own.
    pub(super) settings: Vec<(String, String)>,
    /// Killed when it takes longer than this to end, or is to end at once. Without it the process is only ever asked to:
    /// it has something of its own to end, for which it has bounds of its own.
    pub(super) kill_after: Option<Duration>,
}

/// A process ended for a reason that another start does not change.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) service: &'static str,
    pub(super) code: u8,
    pub(super) sentence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Run,
    Drain,
    Kill,
}

/// A process that is kept up.
pub(super) struct Child {
    wish: watch::Sender<Wish>,
}

impl Child {
    /// Starts it, and a task that keeps it up.
    pub(super) fn start(
        program: Program,
        binary: &Arc<Path>,
        labels: Labels,
        finals: mpsc::Sender<Final>,
    ) -> Self {
        let (wish, wished) = watch::channel(Wish::Run);
        let binary = Arc::clone(binary);
        let keeper = Keeper { program, binary, labels, finals, wished };
        tokio::spawn(keeper.keep_up());
        Self { wish }
    }

    /// Asks it to finish what it does and end.
    pub(super) fn drain(&self) {
        self.wish.send_replace(Wish::Drain);
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        self.wish.send_replace(Wish::Kill);
    }

    /// Waits until it has ended and is not started again.
    pub(super) async fn ended(&self) {
        self.wish.closed().await;
    }
}

struct Keeper {
    program: Program,
    binary: Arc<Path>,
    labels: Labels,
    finals: mpsc::Sender<Final>,
    wished: watch::Receiver<Wish>,
}

impl Keeper {
    async fn keep_up(mut self) {
        let name = self.program.name;
        let mut pause = PAUSE_FIRST;
        loop {
            let started = Instant::now();
            let how = match self.launch() {
                Err(error) => format!("cannot be started: {error}"),
                Ok((mut process, said)) => {
                    // Taken out, since a wait would close it.
                    let life = process.stdin.take();
                    tokio::select! {
                        status = process.wait() => match self.ended(status, said).await {
                            Some(how) => how,
                            None => return,
                        },
                        () = until_not_run(&mut self.wished) => {
                            drop(life);
                            self.end(process).await;
                            said.all(LAST_LINES).await;
                            return;
                        }
                    }
                }
            };
            if started.elapsed() >= STABLE {
                pause = PAUSE_FIRST;
            }
            tracing::error!("{name} {how}; it is started again in {pause:?}, as often as it takes");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = until_not_run(&mut self.wished) => return,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn launch(&self) -> std::io::Result<(Process, Said)> {
        let (reader, writer) = std::io::pipe()?;
        let mut command = Command::new(&*self.binary);
        command.args(&self.program.arguments).envs(self.program.settings.iter().cloned());
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        // A Ctrl-C at the terminal reaches this process only, which then ends the others in order.
        #[cfg(unix)]
        command.process_group(0);
        let process = command.spawn()?;
        // The command holds the writing end of the pipe.
        drop(command);
        tracing::info!("{} runs as process {}", self.program.name, process.id().unwrap_or_default());
        Ok((process, Said::forward(reader, self.program.name, self.labels)?))
    }

    /// How a process ended that nobody had asked to; `None` when another start would not change it.
    async fn ended(&self, status: std::io::Result<ExitStatus>, said: Said) -> Option<String> {
        let error = said.all(LAST_LINES).await;
        let status = match status {
            Ok(status) => status,
            Err(error) => return Some(format!("cannot be waited for: {error}")),
        };
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let Some(code) = code.filter(|code| FINAL.contains(code)) else {
            return Some(format!("ended by itself ({status})"));
        };
        let sentence = error.unwrap_or_else(|| format!("it ended with {status}"));
        let ended = Final { service: self.program.name, code, sentence };
        // Where another one was faster, its reason is as good.
        let _ = self.finals.try_send(ended);
        None
    }

    /// Waits for a process that was told to end; ends it by force when that takes too long or is not wished.
    async fn end(&mut self, mut process: Process) {
        let name = self.program.name;
        if let Some(kill_after) = self.program.kill_after {
            tokio::select! {
                _ = process.wait() => return,
                () = tokio::time::sleep(kill_after) => {
                    tracing::error!("{name} did not end within {kill_after:?} and is killed");
                }
                Ok(_) = self.wished.wait_for(|wish| *wish == Wish::Kill) => {}
            }
            if let Err(error) = process.kill().await {
                tracing::error!("{name} cannot be killed: {error}");
            }
        }
        let _ = process.wait().await;
    }
}

/// Returns at once where the supervisor is gone.
async fn until_not_run(wished: &mut watch::Receiver<Wish>) {
    let _ = wished.wait_for(|wish| *wish != Wish::Run).await;
}
