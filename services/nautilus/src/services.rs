//! The services of the platform: how each is started and where its settings are read. A new engine is one line in
//! each function here.
//!
//! In which process a service runs is decided elsewhere.

use nautilus_features::Features;
use nautilus_marketdata::Marketdata;
use nautilus_messages::EngineName;
use nautilus_service::{Config, ConfigError, Platform, Running, ServiceName, StartError, wall_clock};
use nautilus_vpin::Vpin;
use tokio::net::TcpListener;

/// The service that publishes market data: readers start before it and stop after it.
const HUB: ServiceName = ServiceName::Engine(EngineName::Marketdata);

/// A service that was started.
pub(crate) enum Started {
    /// Feeds are started on it and a replay's summary reads from it.
    Marketdata(Box<Marketdata>),
    /// A replay waits for it and its summary reads from it.
    Vpin(Box<Vpin>),
    /// The same.
    Features(Box<Features>),
    /// The launcher only starts and stops the others.
    Other(Running),
}

/// Every service in start order: readers of the star, the hub, and at last the door.
pub(crate) fn in_start_order() -> impl Iterator<Item = ServiceName> {
    let readers = ServiceName::all().filter(|service| !matches!(*service, HUB | ServiceName::Gateway));
    readers.chain([HUB, ServiceName::Gateway])
}

/// Every service in stages to stop: the hub with its feeds, then who reads from it, then the door.
pub(crate) fn in_stop_order() -> [Vec<ServiceName>; 3] {
    let readers = ServiceName::all().filter(|service| !matches!(*service, HUB | ServiceName::Gateway));
    [vec![HUB], readers.collect(), vec![ServiceName::Gateway]]
}

/// Starts one service.
pub(crate) async fn start(
    service: ServiceName,
    platform: &Platform,
    listener: TcpListener,
) -> Result<Started, StartError> {
    let engine = match service {
        ServiceName::Gateway => {
            return nautilus_gateway::start(platform.base(service), listener).map(Started::Other);
        }
        ServiceName::Engine(engine) => engine,
    };
    let connections = platform.connect(engine).await?;
    Ok(match engine {
        EngineName::Marketdata => {
            Started::Marketdata(Box::new(nautilus_marketdata::start(connections, listener).await?))
        }
        EngineName::Vpin => Started::Vpin(Box::new(nautilus_vpin::start(connections, listener).await?)),
        EngineName::Features => {
            Started::Features(Box::new(nautilus_features::start(connections, listener).await?))
        }
        EngineName::Risk => Started::Other(nautilus_risk::start(connections, listener).await?.running),
        EngineName::Websocket => {
            Started::Other(nautilus_websocket::start(connections, listener).await?.running)
        }
    })
}

impl Started {
    /// The server, with simulated markets where they are wanted and the service is the one that makes them.
    pub(crate) fn into_running(self, simulate: bool) -> Result<Running, StartError> {
        match self {
            Self::Marketdata(marketdata) => {
                if simulate {
                    let symbols = marketdata.simulate(wall_clock())?;
                    tracing::info!("SIMULATED markets are streaming: {symbols}");
                }
                Ok(marketdata.running)
            }
            Self::Vpin(vpin) => Ok(vpin.running),
            Self::Features(features) => Ok(features.running),
            Self::Other(running) => Ok(running),
        }
    }
}

/// Checks every engine's own settings and fills in their defaults.
pub(crate) fn complete(config: &mut Config) -> Result<(), ConfigError> {
    config.complete_engine::<nautilus_marketdata::Settings>(EngineName::Marketdata)?;
    config.complete_engine::<nautilus_vpin::Configuration>(EngineName::Vpin)?;
    config.complete_engine::<nautilus_features::Settings>(EngineName::Features)?;
    config.complete_engine::<nautilus_risk::Settings>(EngineName::Risk)?;
    config.complete_engine::<nautilus_websocket::Settings>(EngineName::Websocket)
}
