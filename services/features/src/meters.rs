//! What the service tells Prometheus, from the newest picture once a second. Instruments are not labels:
//! `GET /v1/instruments` tells of each.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use nautilus_engine_features::Snapshot;
use nautilus_messages::EngineName;
use nautilus_service::wall_clock;

use crate::Picture;

const SERVICE: &str = EngineName::Features.as_str();
const INTERVAL: Duration = Duration::from_secs(1);

/// Begins to tell; ends when nobody holds the picture any more.
pub(crate) fn start(picture: &Picture) {
    let picture = Arc::downgrade(picture);
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::spawn(async move {
        while let Some(picture) = picture.upgrade() {
            record(&picture.load());
            drop(picture);
            interval.tick().await;
        }
    });
}

#[allow(clippy::cast_precision_loss)]
fn record(picture: &Snapshot) {
    let figures = &picture.figures;
    gauge!("nautilus_features_values", "service" => SERVICE).set(figures.values as f64);
    gauge!("nautilus_features_nodes", "service" => SERVICE).set(figures.nodes as f64);
    gauge!("nautilus_features_state_bytes", "service" => SERVICE).set(figures.state_bytes as f64);
    gauge!("nautilus_features_history_bytes", "service" => SERVICE).set(figures.history_bytes as f64);
    counter!("nautilus_features_cuts_total", "service" => SERVICE).absolute(figures.cuts);
    counter!("nautilus_features_events_total", "service" => SERVICE).absolute(figures.events);
    // By market time, which stands still where nothing happens and lies far back in a replay.
    let newest = (0..picture.instruments.len()).filter_map(|place| {
        let vector = picture.vector(place);
        let as_of = [vector.bar_as_of(), vector.event_as_of()];
        as_of.into_iter().flatten().map(|as_of| as_of.ts_event_ns.0).max()
    });
    let age = newest.max().map_or(0, |newest| wall_clock().0.saturating_sub(newest));
    gauge!("nautilus_features_freshness_seconds", "service" => SERVICE).set(age as f64 / 1e9);
}
