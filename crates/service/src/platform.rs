//! What a service is connected to, opened from the configuration: both buses and the store.
//!
//! In one process with local buses all services share them; with Redis every service has connections of its own, as
//! if it ran alone.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nautilus_bus::{BusError, Mesh, MeshLimits, RedisMesh, RedisStar, Star};
use nautilus_messages::EngineName;
use nautilus_store::{Store, StoreConfig, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::Door;
use crate::config::{Config, ConfigError, EngineLogicBus, MarketDataBus, ServiceName, Transport};
use crate::metrics::Exporter;
use crate::shell::wall_clock;

/// The pauses between two attempts to reach a Redis that is waited for.
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Why a service did not start. One sentence each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port is taken or forbidden.
    #[error("{service} cannot listen on {address}: {cause}; free the port or set services.{service}.listen")]
    Listen {
        /// Which service.
        service: ServiceName,
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// A bus refused.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is not usable.
    #[error("{0}")]
    File(String),
    /// Something else that the platform needs is not there.
    #[error("{0}")]
    Unavailable(String),
    /// The system refused a thread or a socket option.
    #[error("the system refused a resource: {0}")]
    System(#[from] std::io::Error),
}

impl StartError {
    /// The exit status of sysexits.h that fits: 64 for configuration, 69 for what is unavailable.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => crate::config::EXIT_USAGE,
            Self::File(_) => 66,
            Self::Listen { .. } | Self::Bus(_) | Self::Store(_) | Self::Unavailable(_) | Self::System(_) => {
                69
            }
        }
    }
}

/// What the services of one process share.
#[derive(Debug)]
pub struct Platform {
    config: Arc<Config>,
    local_star: Option<Star>,
    local_mesh: Option<Mesh>,
    exporter: Exporter,
    failed: watch::Sender<bool>,
    from_epoch: u64,
    patient: bool,
}

/// What one service is connected to.
#[derive(Debug, Clone)]
pub struct Connections {
    /// Whose connections these are.
    pub service: EngineName,
    /// The effective configuration.
    pub config: Arc<Config>,
    /// Market data.
    pub star: Star,
    /// Engine logic.
    pub mesh: Mesh,
    /// The database.
    pub store: Store,
    /// The process's metrics.
    pub exporter: Exporter,
    /// This start's number: nanoseconds since 1970.
    pub epoch: u64,
    pub(crate) failed: watch::Sender<bool>,
}

/// What every service has, whether it runs an engine or not.
#[derive(Debug, Clone)]
pub struct Base {
    /// Which service.
    pub service: ServiceName,
    /// The effective configuration.
    pub config: Arc<Config>,
    /// The process's metrics.
    pub exporter: Exporter,
    /// This start's number: nanoseconds since 1970.
    pub epoch: u64,
}

impl Connections {
    pub(crate) fn base(&self) -> Base {
        let (config, exporter) = (Arc::clone(&self.config), self.exporter.clone());
        Base { service: self.service.into(), config, exporter, epoch: self.epoch }
    }
}

impl Platform {
    /// What a service without engine starts from.
    #[must_use]
    pub fn base(&self, service: ServiceName) -> Base {
        let (config, exporter) = (Arc::clone(&self.config), self.exporter.clone());
        Base { service, config, exporter, epoch: wall_clock().0 }
    }

    /// Prepares what is shared. Connects to nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        // Handles of metrics that are made before the recorder is installed count nothing.
        let exporter = crate::metrics::install();
        let bus = &config.bus;
        // What is shared is counted where the star has its hub.
        let label = EngineName::Marketdata.as_str();
        let local_star = (bus.market_data.transport == Transport::Local)
            .then(|| Star::local(bus.market_data.capacity, label));
        let local_mesh = (bus.engine_logic.transport == Transport::Local)
            .then(|| Mesh::local(mesh_limits(&bus.engine_logic), label));
        let (failed, _) = watch::channel(false);
        Self {
            config: Arc::new(config),
            local_star,
            local_mesh,
            exporter,
            failed,
            from_epoch: 0,
            patient: false,
        }
    }

    /// The platform has its own hub: what former ones left in the Redis star is passed over, so that a run does not
    /// depend on the runs before it.
    #[must_use]
    pub fn with_own_hub(self) -> Self {
        self.with_hubs_since(wall_clock().0)
    }

    /// Passes over what hubs left in the Redis star that started before `epoch`, in nanoseconds since 1970.
    #[must_use]
    pub fn with_hubs_since(self, epoch: u64) -> Self {
        Self { from_epoch: epoch, ..self }
    }

    /// Waits for a Redis that does not answer yet instead of giving up.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { patient: true, ..self }
    }

    /// The effective configuration.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Turns true when an engine's invariant broke.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.subscribe()
    }

    /// Takes a service's port, before anything is built. Where the port was left open the configuration names the
    /// one it became from here on, so that the services of one process find each other.
    ///
    /// # Errors
    /// When the port is taken or forbidden, or others could reach it without TLS or a proxy, and a key.
    pub async fn listen(&mut self, service: impl Into<ServiceName>) -> Result<TcpListener, StartError> {
        let service = service.into();
        let address = self.config.services.listen(service);
        Door::check(&self.config, service, address)?;
        let refused = |cause| StartError::Listen { service, address, cause };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        Arc::make_mut(&mut self.config).services.set_listen(service, listener.local_addr()?);
        Ok(listener)
    }

    /// Connects one service. A PostgreSQL that is away is no error: the service starts, says so in its readiness
    /// and connects when it comes.
    ///
    /// # Errors
    /// When an address is malformed, Redis does not answer or the SQLite file cannot be used. Where the platform is
    /// patient a Redis that may yet come is waited for.
    pub async fn connect(&self, service: EngineName) -> Result<Connections, StartError> {
        let mut wait = Wait::default();
        loop {
            match self.try_connect(service).await {
                Err(StartError::Bus(error)) if self.patient && error.may_pass() => {
                    wait.once_more(service, &error).await;
                }
                done => return done,
            }
        }
    }

    async fn try_connect(&self, service: EngineName) -> Result<Connections, StartError> {
        let label = service.as_str();
        let (market_data, engine_logic) = (&self.config.bus.market_data, &self.config.bus.engine_logic);
        let star = match &self.local_star {
            Some(star) => star.clone(),
            None => {
                let from_epoch = self.from_epoch;
                Star::redis(RedisStar { from_epoch, ..redis_star(market_data) }, label).await?
            }
        };
        let mesh = match &self.local_mesh {
            Some(mesh) => mesh.clone(),
            None => Mesh::redis(redis_mesh(engine_logic), label).await?,
        };
        let queue_limit = self.config.store.queue_limit;
        let store = StoreConfig { queue_limit, ..StoreConfig::new(self.config.store.url.clone(), label) };
        Ok(Connections {
            service,
            config: Arc::clone(&self.config),
            star,
            mesh,
            store: Store::open(store).await?,
            exporter: self.exporter.clone(),
            epoch: wall_clock().0,
            failed: self.failed.clone(),
        })
    }
}

/// Pauses that double, so that a server that comes up is not stormed, and differ between processes.
struct Wait {
    next: Duration,
}

impl Default for Wait {
    fn default() -> Self {
        Self { next: WAIT_FIRST }
    }
}

impl Wait {
    async fn once_more(&mut self, service: EngineName, error: &BusError) {
        tracing::warn!(%service, "waiting: {error}");
        // Between half of it and all of it; hashers are seeded at random.
        let share = RandomState::new().hash_one(service) % 512;
        let pause = self.next.mul_f64((512.0 + share as f64) / 1024.0);
        self.next = (self.next * 2).min(WAIT_MAX);
        tokio::time::sleep(pause).await;
    }
}

fn redis_star(bus: &MarketDataBus) -> RedisStar {
    RedisStar {
        url: bus.url.as_str().into(),
        capacity: bus.capacity,
        max_len: bus.stream_limit,
        ..RedisStar::default()
    }
}

fn redis_mesh(bus: &EngineLogicBus) -> RedisMesh {
    RedisMesh {
        url: bus.url.as_str().into(),
        limits: mesh_limits(bus),
        max_len: bus.stream_limit,
        ..RedisMesh::default()
    }
}

fn mesh_limits(bus: &EngineLogicBus) -> MeshLimits {
    MeshLimits { outbox: bus.capacity, ..MeshLimits::default() }
}
