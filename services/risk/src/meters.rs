//! What the service tells Prometheus, once a second. Portfolios are labels, and bounded; instruments are none.

use std::time::Duration;

use metrics::{counter, gauge};
use nautilus_engine_risk::{Figures, RiskEngine};
use nautilus_messages::EngineName;
use nautilus_service::EngineHandle;

const SERVICE: &str = EngineName::Risk.as_str();
const INTERVAL: Duration = Duration::from_secs(1);
/// Portfolios with series of their own; the firm's sums hold all.
const PORTFOLIOS_MAX: usize = 64;

/// Begins to tell; ends with the engine.
pub(crate) fn start(engine: EngineHandle<RiskEngine>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::spawn(async move {
        while engine.is_running() {
            if let Ok(figures) = engine.inspect(RiskEngine::figures).await {
                record(&figures);
            }
            interval.tick().await;
        }
    });
}

#[allow(clippy::cast_precision_loss)]
fn record(figures: &Figures) {
    counter!("nautilus_risk_orders_total", "service" => SERVICE, "decision" => "accepted")
        .absolute(figures.accepted);
    counter!("nautilus_risk_orders_total", "service" => SERVICE, "decision" => "rejected")
        .absolute(figures.rejected);
    counter!("nautilus_risk_executions_total", "service" => SERVICE).absolute(figures.executions);
    gauge!("nautilus_risk_orders_open", "service" => SERVICE).set(figures.orders_open as f64);
    gauge!("nautilus_risk_unbooked", "service" => SERVICE).set(figures.unbooked as f64);
    gauge!("nautilus_risk_trading_state", "service" => SERVICE).set(f64::from(figures.state as u8));
    for part in figures.parts.iter().take(1 + PORTFOLIOS_MAX) {
        let scope = || part.scope.clone();
        gauge!("nautilus_risk_gross", "service" => SERVICE, "scope" => scope()).set(part.gross.to_f64());
        gauge!("nautilus_risk_net", "service" => SERVICE, "scope" => scope()).set(part.net.to_f64());
        gauge!("nautilus_risk_profit", "service" => SERVICE, "scope" => scope()).set(part.profit.to_f64());
        gauge!("nautilus_risk_drawdown", "service" => SERVICE, "scope" => scope())
            .set(part.drawdown.to_f64());
    }
}
