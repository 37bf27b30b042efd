//! A service as a process of its own: waits for the Redis it needs, serves, and drains when it is told to end.
//!
//! It decides when the process ends and with which status; who starts it again is somebody else's business.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nautilus_messages::EngineName;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::{Config, ServiceName, Transport};
use crate::hardware;
use crate::pinning;
use crate::platform::{Base, Connections, Platform, StartError};
use crate::server::{Interrupts, Running, end_at_next_interrupt};
use crate::telemetry;

/// Exit status when an engine's invariant broke: EX_SOFTWARE of sysexits.h.
pub const EXIT_SOFTWARE: u8 = 70;

/// Command line of a service that runs alone.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; `NAUTILUS_CONFIG` and ./nautilus.toml are tried next.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The `main` of an engine's service that runs as a process of its own.
pub fn run_alone<F>(service: EngineName, start: impl FnOnce(Connections, TcpListener) -> F) -> ExitCode
where
    F: Future<Output = Result<Running, StartError>>,
{
    main_of(service.into(), async |platform, listener| {
        start(platform.connect(service).await?, listener).await
    })
}

/// The `main` of a service without an engine that runs as a process of its own.
pub fn run_alone_without_engine<F>(
    service: ServiceName,
    start: impl FnOnce(Base, TcpListener) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Running, StartError>>,
{
    main_of(service, async |platform, listener| start(platform.base(service), listener).await)
}

fn main_of(
    service: ServiceName,
    start: impl AsyncFnOnce(&Platform, TcpListener) -> Result<Running, StartError>,
) -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Config::load(arguments.config.as_deref()).map_err(StartError::from).and_then(|config| {
        telemetry::install(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(Alone { service, hubs_since: 0, supervised: false }.serve(config, start))
    });
    outcome.unwrap_or_else(|error| {
        // Nobody may be there to read it; that is no reason to panic.
        let _ = writeln!(std::io::stderr(), "error: {error}");
        ExitCode::from(error.exit_code())
    })
}

/// How a service that is a process of its own runs.
#[derive(Debug, Clone, Copy)]
pub struct Alone {
    /// Which service.
    pub service: ServiceName,
    /// Hubs that started before are passed over; nanoseconds since 1970.
    pub hubs_since: u64,
    /// The end of standard input means that the supervisor is gone, or wants the service to end.
    pub supervised: bool,
}

impl Alone {
    /// Serves until it is told to end, then drains. A Redis that does not answer is waited for.
    ///
    /// # Errors
    /// When it cannot start, for a reason that does not pass.
    pub async fn serve(
        self,
        config: Config,
        start: impl AsyncFnOnce(&Platform, TcpListener) -> Result<Running, StartError>,
    ) -> Result<ExitCode, StartError> {
        // Before anything is said, so that whoever hears it may end it.
        let mut ends = Ends { interrupts: Interrupts::catch()?, input: self.supervised.then(end_of_input) };
        hardware::start(&config.hardware)?;
        let plan = pinning::plan(&config)?;
        if matches!(self.service, ServiceName::Engine(_)) {
            warn_of_local_buses(&config);
        }
        let mut platform = Platform::new(config).patient().with_hubs_since(self.hubs_since);
        let listener = platform.listen(self.service).await?;
        let running = tokio::select! {
            running = start(&platform, listener) => running?,
            () = ends.next() => return Ok(ExitCode::SUCCESS),
        };
        // Holds until the service has ended.
        let _pinned = pinning::apply(plan)?;
        let mut failed = platform.failed();
        let broken = tokio::select! {
            () = ends.next() => false,
            _ = failed.wait_for(|failed| *failed) => true,
        };
        end_at_next_interrupt();
        running.stop().await;
        Ok(if broken { ExitCode::from(EXIT_SOFTWARE) } else { ExitCode::SUCCESS })
    }
}

/// What tells the service to end.
struct Ends {
    interrupts: Interrupts,
    input: Option<oneshot::Receiver<()>>,
}

impl Ends {
    async fn next(&mut self) {
        match &mut self.input {
            None => self.interrupts.next().await,
            Some(input) => tokio::select! {
                () = self.interrupts.next() => {}
                // The sender is dropped at the end of the input.
                _ = input => {}
            },
        }
    }
}

/// Resolves, with an error, at the end of standard input. The thread that reads it is never waited for: it may read for ever.
#[must_use]
pub fn end_of_input() -> oneshot::Receiver<()> {
    let (open, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        loop {
            match std::io::stdin().read(&mut ignored) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        drop(open);
    });
    end
}

/// A service by itself on a local bus works, and talks to nobody.
fn warn_of_local_buses(config: &Config) {
    for (key, transport) in [
        ("market_data", config.bus.market_data.transport),
        ("engine_logic", config.bus.engine_logic.transport),
    ] {
        if transport == Transport::Local {
            tracing::warn!("bus.{key}.transport is local: no other process is reached; set it to redis");
        }
    }
}
