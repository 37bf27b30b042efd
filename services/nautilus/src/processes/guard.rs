//! Runs one of the platform's own Redis servers and ends it when the supervisor is gone: Redis itself would stay.
//!
//! The server's standard input is the lock file of its folder. So the lock lasts as long as the server, even where its
//! guard was killed, and the next guard knows of it: it ends that server before it starts one.

use std::fs::{File, TryLockError};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nautilus_service::StartError;
use nautilus_service::alone::end_of_input;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::buses::{LOCK, SERVER, SOCKET};

/// How often the server is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// How long the services may take to leave: where the supervisor was killed they drain while the server is to end.
const CLIENTS_LEAVE: Duration = Duration::from_secs(5);
/// How long a server may take to write its file and end, before it is killed.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Arguments of the hidden `nautilus guard`.
#[derive(Debug, Args)]
pub(crate) struct Guard {
    /// Where the server keeps its data and its socket; an absolute path.
    folder: PathBuf,
}

impl Guard {
    /// Runs the server until standard input ends. Ends by itself when the server does.
    pub(crate) async fn run(&self) -> std::result::Result<ExitCode, StartError> {
        let supervisor = end_of_input();
        let socket = self.folder.join(SOCKET);
        std::fs::create_dir_all(&self.folder)?;
        let lock = take_over(&self.folder, &socket).await?;
        let mut server = spawn(&self.folder, &socket, lock)?;
        tokio::select! {
            status = server.wait() => {
                Err(StartError::Unavailable(format!("{SERVER} ended by itself ({})", status?)))
            }
            _ = supervisor => {
                // However that goes, the server is ended next.
                let _ = timeout(CLIENTS_LEAVE, until_nobody_is_connected(&socket)).await;
                end(server, &socket).await?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The lock of the folder. A server that still holds it has lost its guard and is shut down.
async fn take_over(folder: &Path, socket: &Path) -> Result<File> {
    let file = File::create(folder.join(LOCK))?;
    let take = async {
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {
                    // It may be about to end anyway.
                    let _ = shut_down(socket).await;
                    sleep(ASK_AGAIN).await;
                }
            }
        }
    };
    let taken = timeout(SHUTDOWN, take).await;
    let in_use = || Error::other(format!("{} is in use by a server that does not end", folder.display()));
    taken.map_err(|_| in_use())??;
    Ok(file)
}

fn spawn(folder: &Path, socket: &Path, lock: File) -> Result<Child> {
    let mut server = Command::new(SERVER);
    server.args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"]).arg(socket);
    server.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
    server.args(["--daemonize", "no", "--loglevel", "warning", "--dir"]).arg(folder);
    server.stdin(lock).spawn()
}

async fn until_nobody_is_connected(socket: &Path) -> Result<()> {
    let mut server = UnixStream::connect(socket).await?;
    let mut answer = [0; 4096];
    loop {
        server.write_all(b"INFO clients\r\n").await?;
        let read = server.read(&mut answer).await?;
        // This one is left.
        if read == 0 || String::from_utf8_lossy(&answer[..read]).contains("connected_clients:1\r") {
            return Ok(());
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Asks a server to write what it has and end.
async fn shut_down(socket: &Path) -> Result<()> {
    let ask = async { UnixStream::connect(socket).await?.write_all(b"SHUTDOWN NOSAVE\r\n").await };
    timeout(ANSWER, ask).await?
}

async fn end(mut server: Child, socket: &Path) -> Result<()> {
    if shut_down(socket).await.is_ok() && timeout(SHUTDOWN, server.wait()).await.is_ok() {
        return Ok(());
    }
    server.kill().await
}
