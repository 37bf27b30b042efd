//! Makes scenarios of the closes that the engine collects: their model is computed here, away from the engine's thread.

use std::time::Duration;

use nautilus_engine_risk::{Command, RiskEngine, Scenarios};
use nautilus_service::{ComputePool, EngineHandle};

/// How often closes are looked for.
const INTERVAL: Duration = Duration::from_secs(1);

/// Begins to look for closes; ends with the engine.
pub(crate) fn start(engine: EngineHandle<RiskEngine>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::spawn(async move {
        let (pool, mut seen) = (ComputePool::default(), 0);
        while engine.is_running() {
            interval.tick().await;
            seen = make(&engine, &pool, seen).await;
        }
    });
}

/// Makes scenarios of closes that are newer than `seen`, if there are any; answers the newest that were seen.
pub(crate) async fn make(engine: &EngineHandle<RiskEngine>, pool: &ComputePool, seen: u64) -> u64 {
    let Ok(Some(window)) = engine.inspect(move |engine| engine.new_closes(seen)).await else { return seen };
    let revision = window.revision();
    let scenarios = pool.run(move || Ok(window.scenarios().and_then(|set| Scenarios::new(set).ok())));
    let told = match scenarios.await {
        Ok(Some(scenarios)) => {
            engine.command(Command::Collected { scenarios: Box::new(scenarios), revision }).await
        }
        Ok(None) => Ok(()),
        Err(busy) => Err(busy),
    };
    if told.is_ok() { revision } else { seen }
}
