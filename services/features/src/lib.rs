//! The features service: live feature values per instrument, over HTTP and the mesh.
//!
//! It connects the features engine and serves its picture; what a feature is and how it is computed stands in
//! `nautilus-engine-features`.

mod api;
mod arrow;
mod meters;
mod selection;
mod settings;
mod shapes;

use std::sync::Arc;

use arc_swap::ArcSwap;
use nautilus_bus::Star;
use nautilus_engine_features::{BookLimits, FeatureSet, FeaturesEngine, Snapshot};
use nautilus_messages::{BarSpec, EngineName};
use nautilus_service::{ConfigError, Connections, EngineHandle, Running, Shell, StartError, saved_settings};
use nautilus_store::Store;
use serde::Deserialize;
use tokio::net::TcpListener;

pub use settings::Settings;

const ABOUT: &str = "Live features of every instrument: definitions as data, evaluated incrementally, with history, \
                     named sets and calculation on demand. What is not defined is absent with a reason, never a NaN.";

/// The service, up.
#[derive(Debug)]
pub struct Features {
    /// The server.
    pub running: Running,
    /// The engine.
    pub engine: EngineHandle<FeaturesEngine>,
    /// Its database.
    pub store: Store,
    /// Its market data bus.
    pub star: Star,
    picture: Picture,
}

/// What readers see: the engine's newest picture. A reader keeps the one it got; nobody waits for anybody.
pub(crate) type Picture = Arc<ArcSwap<Snapshot>>;

/// What is wanted of the hub's settings: the bars that it builds, and how deep books are, which are the same here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hub {
    engine: HubEngine,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct HubEngine {
    bars: Vec<BarSpec>,
    book: BookLimits,
}

impl Default for HubEngine {
    fn default() -> Self {
        Self { bars: BarSpec::defaults(), book: BookLimits::default() }
    }
}

/// Starts the engine with the configured definitions and the saved sets, and serves it.
///
/// # Errors
/// When a setting, a definition or the table of fundamentals is wrong, or a bus refuses.
pub async fn start(connections: Connections, listener: TcpListener) -> Result<Features, StartError> {
    let settings: Settings = connections.config.engine(EngineName::Features)?;
    let hub: Hub = connections.config.engine(EngineName::Marketdata)?;
    let config = settings.engine()?;
    let registry = settings.registry(&connections.config)?;
    let fundamentals = settings.fundamentals(&connections.config)?;
    if !hub.engine.bars.contains(&config.bar) {
        let (bar, key) = (config.bar, "engines.marketdata.engine.bars");
        tracing::warn!("no {bar} bars are built: features of bars stay absent until {key} lists {bar}");
    }
    let read = |text: &str| serde_json::from_str::<FeatureSet>(text);
    let sets = saved_settings(&connections.store, EngineName::Features, read).await;
    let mut engine = FeaturesEngine::new(config, hub.engine.book, registry, fundamentals, sets)
        .map_err(|message| ConfigError::Setting { key: "engines.features".to_owned(), message })?;
    let picture: Picture = Arc::new(ArcSwap::from_pointee(engine.picture()));
    let shown = Arc::clone(&picture);
    let shell = Shell::new(engine, &connections)?.follow_star(&connections).checkpoint(&connections);
    let engine = shell.publish_to(move |_, picture| shown.store(Arc::new(picture))).spawn()?;
    let (store, star) = (connections.store.clone(), connections.star.clone());
    let api = api::router(engine.clone(), Arc::clone(&picture), store.clone());
    let running = Running::start(connections, listener, engine.clone(), ABOUT, api)?;
    meters::start(&picture);
    Ok(Features { running, engine, store, star, picture })
}

impl Features {
    /// How many values are defined, of how many.
    #[must_use]
    pub fn defined(&self) -> (usize, usize) {
        let picture = self.picture.load_full();
        let places = 0..picture.instruments.len();
        let defined = places.map(|place| selection::defined(&picture, picture.vector(place))).sum();
        (defined, picture.figures.values)
    }
}
