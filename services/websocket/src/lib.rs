//! The websocket service: fans both buses out to many clients.
//!
//! The engine says what changed; here that becomes messages, each encoded once, which every client fetches at its own
//! pace. What a topic contains is the business of `nautilus-engine-websocket`.

mod api;
mod client;
mod connection;
mod delivery;
mod encode;
mod fan_out;
mod history;
mod lanes;
mod meters;
mod outlet;
mod patience;
mod protocol;
mod server;
mod settings;
mod shapes;
mod subscriptions;
#[cfg(test)]
mod tests;
mod wishes;

use nautilus_bus::Star;
use nautilus_engine_websocket::{BookLimits, WebsocketEngine};
use nautilus_messages::EngineName;
use nautilus_service::{ConfigError, Connections, EngineHandle, Running, Shell, StartError};
use serde::Deserialize;
use tokio::net::TcpListener;

use fan_out::{FanOut, Picture, Pictures};
use server::Server;
pub use settings::Settings;

const ABOUT: &str =
    "Books, trades, bars, VPIN, risk and health as they happen, over one WebSocket per client.";

/// The service, up.
#[derive(Debug)]
pub struct Websocket {
    /// The server.
    pub running: Running,
    /// The engine.
    pub engine: EngineHandle<WebsocketEngine>,
    /// Its market data bus.
    pub star: Star,
}

/// What is wanted of the hub's settings: books that are kept here hold what the hub's do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hub {
    engine: HubEngine,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HubEngine {
    book: BookLimits,
}

/// Starts the engine and serves what it publishes.
///
/// # Errors
/// When a setting is wrong or a bus refuses.
pub async fn start(connections: Connections, listener: TcpListener) -> Result<Websocket, StartError> {
    let settings: Settings = connections.config.engine(EngineName::Websocket)?;
    settings.check().map_err(|(key, message)| {
        let key = format!("engines.websocket.{key}").trim_end_matches('.').to_owned();
        StartError::Config(ConfigError::Setting { key, message: message.to_owned() })
    })?;
    let hub: Hub = connections.config.engine(EngineName::Marketdata)?;
    let fan_out = FanOut::new(connections.epoch / 1_000_000, &settings);
    let mut sink = fan_out.sink();
    let shell = Shell::new(WebsocketEngine::new(hub.engine.book), &connections)?.follow_star(&connections);
    let engine = shell.publish_to(move |_, publication| sink(&publication)).spawn()?;
    let server = Server::start(settings, fan_out, pictures(engine.clone()));
    let star = connections.star.clone();
    let running = Running::start(connections, listener, engine.clone(), ABOUT, api::router(server))?;
    Ok(Websocket { running, engine, star })
}

/// Snapshots come from the engine's thread.
fn pictures(engine: EngineHandle<WebsocketEngine>) -> Pictures {
    Box::new(move |topic| -> Picture {
        let engine = engine.clone();
        Box::pin(async move { engine.inspect(move |engine| engine.picture(topic)).await })
    })
}
