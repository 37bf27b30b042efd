//! From a listener and an engine to a running service, and back down in good order.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nautilus_engine::Engine;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use utoipa_axum::router::OpenApiRouter;

use crate::access::Door;
use crate::config::ServiceName;
use crate::http::{Chassis, router};
use crate::listener::{Reception, StopSignal, serve};
use crate::platform::{Base, Connections, Platform, StartError};
use crate::shell::EngineHandle;

type Stopping = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
type StopEngine = Box<dyn FnOnce(Duration) -> Stopping + Send>;

/// A service that is up.
pub struct Running {
    /// Which service.
    pub service: ServiceName,
    /// Where it listens.
    pub address: SocketAddr,
    secure: bool,
    chassis: Arc<Chassis>,
    drain_timeout: Duration,
    shut: watch::Sender<bool>,
    server: JoinHandle<()>,
    stop_feeds: Option<Stopping>,
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
    /// When the listener has no address, or one that may not be served as things are.
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
    /// When the listener has no address, or one that may not be served as things are.
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
        let Base { service, config, .. } = chassis.base().clone();
        let Door { ring, tls } = Door::open(&config, service, address)?;
        let (shut, stop) = watch::channel(false);
        let stop = StopSignal(stop);
        if let Some(ring) = ring {
            tokio::spawn(until_stop(Arc::clone(&ring).follow(), stop.clone()));
            let _ = chassis.keys.set(ring);
        }
        let (secure, keys) = (tls.is_some(), chassis.keys.get().is_some());
        let app = router(&chassis, about, api);
        let reception = Reception {
            service,
            tls,
            connections_max: config.http.connections_max,
            head_timeout: Duration::from_millis(config.http.head_timeout_ms),
        };
        let server = tokio::spawn(serve(listener, app, reception, stop));
        let drain_timeout = Duration::from_millis(config.http.drain_timeout_ms);
        tracing::info!(%service, %address, tls = secure, keys, "listening");
        Ok(Self {
            service,
            address,
            secure,
            drain_timeout,
            chassis,
            shut,
            server,
            stop_feeds: None,
            stop_engine: None,
        })
    }

    /// Ends these feeds before anything else when the service stops.
    #[must_use]
    pub fn with_feeds(self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { stop_feeds: Some(Box::pin(stop)), ..self }
    }

    /// The service's address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// Stops in order: not ready, no feeds, no new requests, the engine finishes its queue, the mesh and the store
    /// acknowledge. Each part has at most the configured time.
    pub async fn stop(self) {
        let timeout = self.drain_timeout;
        self.chassis.draining.store(true, Relaxed);
        if let Some(stop_feeds) = self.stop_feeds {
            stop_feeds.await;
        }
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

async fn until_stop(work: impl Future<Output = ()>, mut stop: StopSignal) {
    tokio::select! {
        () = work => {}
        () = stop.wait() => {}
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
        let _ = writeln!(std::io::stderr(), "stopped at once; what was still queued is lost");
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
