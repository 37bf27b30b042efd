//! From a listener and an engine to a running service, and back down in good order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Parser;
use nautilus_engine::Engine;
use nautilus_messages::EngineName;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use utoipa_axum::router::OpenApiRouter;

use crate::config::{Config, ServiceName, Transport};
use crate::http::{Chassis, router};
use crate::platform::{Base, Connections, Platform, StartError};
use crate::shell::EngineHandle;
use crate::telemetry;

type StopEngine = Box<dyn FnOnce(Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A service that is up.
pub struct Running {
    /// Which service.
    pub service: ServiceName,
    /// Where it listens.
    pub address: SocketAddr,
    chassis: Arc<Chassis>,
    drain_timeout: Duration,
    shut: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    stop_engine: Option<StopEngine>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("service", &self.service).field("address", &self.address).finish()
    }
}

impl Running {
    /// Serves an engine's own routes together with the shared ones.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start<E: Engine>(
        connections: Connections,
        listener: TcpListener,
        handle: EngineHandle<E>,
        about: &str,
        api: OpenApiRouter,
    ) -> Result<Self, StartError> {
        let chassis = Chassis::with_engine(connections.clone(), &handle);
        let service = connections.service;
        let stop_engine: StopEngine = Box::new(move |timeout| {
            Box::pin(async move {
                handle.stop(timeout).await;
                if let Err(error) = connections.store.close(timeout).await {
                    tracing::warn!(%service, %error, "the store was closed before everything was written");
                }
            })
        });
        Ok(Self { stop_engine: Some(stop_engine), ..Self::listen(chassis, listener, about, api)? })
    }

    /// Serves routes of a service that has no engine, together with the shared ones.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn without_engine(
        base: Base,
        listener: TcpListener,
        about: &str,
        api: OpenApiRouter,
    ) -> Result<Self, StartError> {
        Self::listen(Chassis::new(base), listener, about, api)
    }

    fn listen(
        chassis: Arc<Chassis>,
        listener: TcpListener,
        about: &str,
        api: OpenApiRouter,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr()?;
        let app = router(&chassis, about, api);
        let (shut, mut shutting) = watch::channel(false);
        let server = axum::serve(listener, app).with_graceful_shutdown(async move {
            // An error means that the sender is gone: then it is time to go as well.
            let _ = shutting.wait_for(|shut| *shut).await;
        });
        let server = tokio::spawn(server.into_future());
        let Base { service, config, .. } = chassis.base();
        let drain_timeout = Duration::from_millis(config.http.drain_timeout_ms);
        tracing::info!(%service, %address, "listening");
        Ok(Self { service: *service, address, drain_timeout, chassis, shut, server, stop_engine: None })
    }

    /// The service's address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops in order: not ready, no new requests, the engine finishes its queue, the mesh and the store
    /// acknowledge. Each part has at most the configured time.
    pub async fn stop(self) {
        let timeout = self.drain_timeout;
        self.chassis.draining.store(true, Relaxed);
        self.shut.send_replace(true);
        let mut server = self.server;
        if tokio::time::timeout(timeout, &mut server).await.is_err() {
            server.abort();
            tracing::warn!(service = %self.service, "requests were still under way at the stop");
        }
        if let Some(stop_engine) = self.stop_engine {
            stop_engine(timeout).await;
        }
        tracing::info!(service = %self.service, "stopped");
    }
}

/// Command line of a service that runs alone.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; `NAUTILUS_CONFIG` and ./nautilus.toml are tried next.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The `main` of a service that runs as a process of its own.
pub fn run_alone<F>(service: EngineName, start: impl FnOnce(Connections, TcpListener) -> F) -> ExitCode
where
    F: Future<Output = Result<Running, StartError>>,
{
    let arguments = Arguments::parse();
    let outcome = Config::load(arguments.config.as_deref()).map_err(StartError::from).and_then(|config| {
        telemetry::install(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            warn_of_local_buses(&config);
            let platform = Platform::new(config);
            let listener = platform.listen(service).await?;
            let running = start(platform.connect(service).await?, listener).await?;
            let failed = until_stopped(&platform, &mut Interrupts::catch()?).await;
            running.stop().await;
            Ok(failed)
        })
    });
    match outcome {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(70),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
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

/// Waits for Ctrl-C, a termination signal or a broken invariant; true in the last case. From then on a second
/// signal ends the process at once.
pub async fn until_stopped(platform: &Platform, interrupts: &mut Interrupts) -> bool {
    let mut failed = platform.failed();
    let broken = tokio::select! {
        () = interrupts.next() => false,
        _ = failed.wait_for(|failed| *failed) => true,
    };
    end_at_next_interrupt();
    broken
}

/// From here on a signal ends the process at once.
pub fn end_at_next_interrupt() {
    // Listening begins here and not when the task first runs, so that no signal falls between.
    let Ok(mut interrupts) = Interrupts::catch() else { return };
    tokio::spawn(async move {
        interrupts.next().await;
        eprintln!("stopped at once; what was still queued is lost");
        std::process::exit(130);
    });
}

/// Ctrl-C and termination signals. While it exists none is missed, and none ends the process by itself.
#[derive(Debug)]
pub struct Interrupts {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn catch() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { signals: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?] })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
