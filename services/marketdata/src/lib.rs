//! The marketdata service: feeds in, order books and bars out, over HTTP and the star.
//!
//! It runs feeds into the marketdata engine and serves its views; what a frame does to a book is the engine's business.

mod api;
mod feeds;
mod settings;
mod shapes;

use nautilus_bus::Star;
use nautilus_engine_marketdata::MarketdataEngine;
use nautilus_feeds::{Registry, Simulator, SimulatorConfig};
use nautilus_messages::EngineName;
use nautilus_service::{ConfigError, Connections, EngineHandle, Running, Shell, StartError};
use nautilus_store::Store;
use nautilus_types::{NANOS_PER_SECOND, UnixNanos};
use tokio::net::TcpListener;

pub use feeds::{FeedManager, FeedState, Job, Pace};
pub use settings::{Settings, SimulatorSettings};

const ABOUT: &str = "Order books, trades, bars and session statistics of every instrument, from recordings and the \
                     exchange simulator.";

/// A longer past would take the simulator minutes to make.
const PAST_MINUTES_MAX: u16 = 1_440;

/// The service, up.
#[derive(Debug)]
pub struct Marketdata {
    /// The server.
    pub running: Running,
    /// The engine.
    pub engine: EngineHandle<MarketdataEngine>,
    /// What feeds it.
    pub feeds: FeedManager,
    /// Its database.
    pub store: Store,
    /// The market data bus it is the hub of.
    pub star: Star,
    settings: Settings,
}

/// Starts the engine as hub of the star and serves it. No feed runs yet.
///
/// # Errors
/// When a setting is wrong, the star has a hub already or a bus refuses.
pub async fn start(connections: Connections, listener: TcpListener) -> Result<Marketdata, StartError> {
    let settings: Settings = connections.config.engine(EngineName::Marketdata)?;
    let engine = MarketdataEngine::new(settings.engine.clone());
    let source = |engine: &MarketdataEngine, instrument| engine.book_snapshot(instrument);
    let shell = Shell::new(engine, &connections)?;
    let engine = shell.publish_star(&connections, source)?.spawn()?;
    let capacity = connections.config.bus.market_data.capacity;
    let feeds = FeedManager::new(engine.clone(), Registry::new(), capacity);
    let (store, star) = (connections.store.clone(), connections.star.clone());
    let api = api::router(engine.clone(), feeds.clone(), store.clone(), settings.clone());
    let running = Running::start(connections, listener, engine.clone(), ABOUT, api)?;
    let stopped = feeds.clone();
    let running = running.with_feeds(async move { stopped.stop().await });
    Ok(Marketdata { running, engine, feeds, store, star, settings })
}

impl Marketdata {
    /// Starts the exchange simulator: its past at once, then in real time. Returns the symbols it makes, separated by
    /// spaces.
    ///
    /// # Errors
    /// When its settings are out of range.
    pub fn simulate(&self, now: UnixNanos) -> Result<String, StartError> {
        let SimulatorSettings { seed, instruments, events_per_second, past_minutes } =
            self.settings.simulator;
        let refused = |message: String| {
            StartError::Config(ConfigError::Setting { key: "engines.marketdata.simulator".into(), message })
        };
        if past_minutes > PAST_MINUTES_MAX {
            return Err(refused(format!(
                "past_minutes is {past_minutes}; it must be at most {PAST_MINUTES_MAX}, a day"
            )));
        }
        let past_ns = u64::from(past_minutes) * 60 * NANOS_PER_SECOND;
        let start = UnixNanos(now.0.saturating_sub(past_ns));
        let config =
            SimulatorConfig { seed, instruments, start, events_per_second, ..SimulatorConfig::default() };
        let simulator =
            Simulator::new(config, self.feeds.registry()).map_err(|error| refused(error.to_string()))?;
        let job = self.feeds.start(Box::new(simulator), Pace::Live);
        let job = job.map_err(|problem| refused(problem.detail().to_owned()))?;
        let symbols: Vec<_> = job.description.symbols.iter().map(ToString::to_string).collect();
        Ok(symbols.join(" "))
    }

    /// Stops feeds, then the service.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}
