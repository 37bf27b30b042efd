//! `GET /v1/status`: the state of the whole, put together from the newest poll of each engine.
//!
//! It asks nobody. Buses and the store are what the engines say about them.

use std::sync::Arc;
use std::time::Instant;

use nautilus_messages::EngineName;
use nautilus_service::http::{ENGINE_LOGIC_BUS, MARKET_DATA_BUS, STORE, stages};
use nautilus_service::{Base, Config, wall_clock};

use crate::poller::{Seen, Watched};
use crate::shapes::{
    BusRow, EngineRow, EngineState, GatewayRow, PlatformState, SharedState, Status, StoreRow,
};

/// Who knows the state of the whole.
pub(crate) struct StatusBoard {
    base: Base,
    started: Instant,
    watched: Vec<Arc<Watched>>,
}

impl StatusBoard {
    pub(crate) fn new(base: Base, watched: Vec<Arc<Watched>>) -> Self {
        Self { base, started: Instant::now(), watched }
    }

    /// The newest of everything.
    pub(crate) fn status(&self) -> Status {
        let seen: Vec<_> =
            self.watched.iter().map(|watched| (watched.upstream.engine, watched.newest())).collect();
        let urls = self.watched.iter().map(|watched| watched.upstream.url.clone());
        let states: Vec<_> = seen.iter().map(|(engine, seen)| (*engine, seen.state)).collect();
        let bus = &self.base.config.bus;
        let buses = [
            ("market_data", bus.market_data.transport, MARKET_DATA_BUS),
            ("engine_logic", bus.engine_logic.transport, ENGINE_LOGIC_BUS),
        ];
        let (store, reason) = shared(&seen, STORE);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            state: platform(&states),
            checked_at_ns: seen.iter().map(|(_, seen)| seen.checked_at_ns).max().unwrap_or(wall_clock().0),
            engines: seen.iter().zip(urls).map(|((engine, seen), url)| row(*engine, url, seen)).collect(),
            buses: buses
                .map(|(bus, transport, name)| {
                    let (state, reason) = shared(&seen, name);
                    BusRow { bus, transport, state, reason }
                })
                .into(),
            store: StoreRow { kind: store_kind(&self.base.config), state: store, reason },
            feeds: seen.iter().flat_map(|(_, seen)| seen.feeds.iter().cloned()).collect(),
            gateway: GatewayRow { stages: stages(&self.base.exporter, self.base.service) },
        }
    }
}

/// What the store's address says it is.
fn store_kind(config: &Config) -> &'static str {
    if config.store.url.starts_with("postgres") { "postgres" } else { "sqlite" }
}

/// The whole, from its engines.
fn platform(engines: &[(EngineName, EngineState)]) -> PlatformState {
    let hub_down = (EngineName::Marketdata, EngineState::Down);
    if engines.contains(&hub_down) || engines.iter().all(|(_, state)| *state == EngineState::Down) {
        PlatformState::Down
    } else if engines.iter().all(|(_, state)| *state == EngineState::Up) {
        PlatformState::Up
    } else {
        PlatformState::Degraded
    }
}

/// What the engines that answer say about something they share, and who says it.
fn shared(seen: &[(EngineName, Arc<Seen>)], name: &str) -> (SharedState, Option<String>) {
    let mut answering = seen.iter().filter(|(_, seen)| seen.answer.is_some()).peekable();
    if answering.peek().is_none() {
        return (SharedState::Unknown, None);
    }
    let missing: Vec<String> = answering
        .flat_map(|(engine, seen)| seen.reasons.iter().map(move |reason| (engine, reason)))
        .filter_map(|(engine, reason)| {
            let reason = reason.strip_prefix(name)?.strip_prefix(": ")?;
            Some(format!("{engine}: {reason}"))
        })
        .collect();
    if missing.is_empty() {
        return (SharedState::Up, None);
    }
    (SharedState::Down, Some(missing.join("; ")))
}

fn row(engine: EngineName, url: String, seen: &Seen) -> EngineRow {
    let answer = seen.answer.as_ref();
    EngineRow {
        engine: engine.as_str(),
        url,
        state: seen.state,
        reasons: seen.reasons.clone(),
        version: answer.map(|answer| answer.version.clone()),
        epoch: answer.map(|answer| answer.epoch),
        uptime_ms: answer.map(|answer| answer.uptime_ms),
        checked_at_ns: seen.checked_at_ns,
        answer_ms: seen.answer_ms,
        steps: answer.map(|answer| answer.steps),
        star_read: answer.map(|answer| answer.star_read),
        star_missed: answer.map(|answer| answer.star_missed),
        mesh_handled: answer.map(|answer| answer.mesh_handled),
        lag_frames: answer.and_then(|answer| answer.lag.star_frames),
        http: answer.map(|answer| answer.http.clone()),
        stages: answer.map(|answer| answer.stages.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_as_good_as_its_engines() {
        use EngineName::{Marketdata, Vpin, Websocket};
        use EngineState::{Down, NotReady, Up};
        for (marketdata, vpin, websocket, whole) in [
            (Up, Up, Up, PlatformState::Up),
            (Up, Down, Up, PlatformState::Degraded),
            (NotReady, Up, Up, PlatformState::Degraded),
            (Down, Up, Up, PlatformState::Down),
            (Down, Down, Down, PlatformState::Down),
        ] {
            let engines = [(Marketdata, marketdata), (Vpin, vpin), (Websocket, websocket)];
            assert_eq!(platform(&engines), whole, "{engines:?}");
        }
    }
}
