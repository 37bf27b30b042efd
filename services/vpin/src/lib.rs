//! The vpin service: flow toxicity per instrument, over HTTP and the mesh.
//!
//! It connects the vpin engine and serves its views; the mathematics stands in `nautilus-engine-vpin`.

mod api;
mod shapes;

use nautilus_bus::Star;
pub use nautilus_engine_vpin::Configuration;
use nautilus_engine_vpin::VpinEngine;
use nautilus_messages::EngineName;
use nautilus_service::{ConfigError, Connections, EngineHandle, Running, Shell, StartError, saved_settings};
use nautilus_store::Store;
use tokio::net::TcpListener;

const ABOUT: &str = "Volume-synchronised probability of informed trading (VPIN), live from the market data bus and on \
                     demand. Higher values mean more one-sided flow.";

/// The service, up.
#[derive(Debug)]
pub struct Vpin {
    /// The server.
    pub running: Running,
    /// The engine.
    pub engine: EngineHandle<VpinEngine>,
    /// Its database.
    pub store: Store,
    /// Its market data bus.
    pub star: Star,
}

/// Starts the engine with the configured defaults and the saved settings of each instrument, and serves it.
///
/// # Errors
/// When a setting is wrong or a bus refuses.
pub async fn start(connections: Connections, listener: TcpListener) -> Result<Vpin, StartError> {
    let defaults: Configuration = connections.config.engine(EngineName::Vpin)?;
    let invalid = |error: String| {
        StartError::Config(ConfigError::Setting { key: "engines.vpin".into(), message: error })
    };
    defaults.check().map_err(|error| invalid(error.to_string()))?;
    let saved = saved_settings(&connections.store, EngineName::Vpin, Configuration::from_json).await;
    let engine = VpinEngine::new(defaults, saved).map_err(|error| invalid(error.to_string()))?;
    let engine = Shell::new(engine, &connections)?.follow_star(&connections).spawn()?;
    let (store, star) = (connections.store.clone(), connections.star.clone());
    let api = api::router(engine.clone(), store.clone());
    let running = Running::start(connections, listener, engine.clone(), ABOUT, api)?;
    Ok(Vpin { running, engine, store, star })
}
