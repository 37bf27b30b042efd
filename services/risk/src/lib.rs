//! The risk service: positions, measures, stress, limits and the gate that orders pass, over HTTP and the mesh.
//!
//! It connects the risk engine with its journal and carries questions to it; what risk is stands in `nautilus-engine-risk`.

mod api;
mod collected;
mod meters;
mod shapes;

use std::time::Duration;

use nautilus_bus::Star;
use nautilus_engine_risk::{Command, RiskEngine};
use nautilus_messages::EngineName;
use nautilus_service::{ConfigError, Connections, EngineHandle, Running, Shell, StartError};
use tokio::net::TcpListener;

pub use nautilus_engine_risk::Settings;

const ABOUT: &str = "Positions and profit, value at risk and stress, limits and the gate that no order passes unseen. What \
                     was accepted is on the disk; what loosens a limit needs a second person; losses are positive.";

/// How often the engine is told that time goes on: the dead-man timer acts within this much.
const TICK: Duration = Duration::from_millis(50);

/// The service, up.
#[derive(Debug)]
pub struct Risk {
    /// The server.
    pub running: Running,
    /// The engine.
    pub engine: EngineHandle<RiskEngine>,
    /// Its market data bus.
    pub star: Star,
}

/// Starts the engine with what its journal holds, and serves it.
///
/// # Errors
/// When a setting is wrong, the journal is damaged, or a bus refuses.
pub async fn start(connections: Connections, listener: TcpListener) -> Result<Risk, StartError> {
    let settings: Settings = connections.config.engine(EngineName::Risk)?;
    settings.check().map_err(|(key, message)| ConfigError::Setting {
        key: format!("engines.risk.{key}"),
        message: message.to_owned(),
    })?;
    let engine = RiskEngine::new(settings);
    let shell = Shell::new(engine, &connections)?.follow_star(&connections).journal(&connections)?;
    let engine = shell.spawn()?;
    let star = connections.star.clone();
    let api = api::router(engine.clone());
    let running = Running::start(connections, listener, engine.clone(), ABOUT, api)?;
    tell_time(engine.clone());
    meters::start(engine.clone());
    collected::start(engine.clone());
    Ok(Risk { running, engine, star })
}

/// Lets the engine know that time goes on, as long as it runs. A queue that is full is work enough to tell the time by.
fn tell_time(engine: EngineHandle<RiskEngine>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::spawn(async move {
        while engine.is_running() {
            interval.tick().await;
            let _ = engine.command(Command::Tick).await;
        }
    });
}
