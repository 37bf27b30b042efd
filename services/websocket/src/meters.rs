//! What the service counts for Prometheus. Clients are not labels: `GET /v1/connections` tells of each.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use nautilus_messages::EngineName;

const SERVICE: &str = EngineName::Websocket.as_str();

/// The service's own series.
pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    pub(crate) messages: Counter,
    pub(crate) bytes: Counter,
    pub(crate) conflated: Counter,
    pub(crate) resynchronised: Counter,
    /// Updates that wait for the client furthest behind, in one topic.
    pub(crate) lag: Gauge,
    fan_out: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            connections: gauge!("nautilus_websocket_active_connections", "service" => SERVICE),
            messages: counter!("nautilus_websocket_messages_total", "service" => SERVICE),
            bytes: counter!("nautilus_websocket_bytes_total", "service" => SERVICE),
            conflated: counter!("nautilus_websocket_conflated_total", "service" => SERVICE),
            resynchronised: counter!("nautilus_websocket_resynchronised_total", "service" => SERVICE),
            lag: gauge!("nautilus_websocket_message_queue_size", "service" => SERVICE),
            fan_out: histogram!("nautilus_fan_out_seconds", "service" => SERVICE),
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    /// From a publication until a client's socket had it.
    pub(crate) fn fanned_out(&self, took: Duration) {
        self.fan_out.record(took.as_secs_f64());
    }

    /// A connection that the service closed, or that ended.
    pub(crate) fn closed(&self, reason: &'static str) {
        counter!("nautilus_websocket_closed_total", "service" => SERVICE, "reason" => reason).increment(1);
    }

    /// A message, a topic or a connection that was refused.
    pub(crate) fn refused(&self, code: &'static str) {
        counter!("nautilus_websocket_refused_total", "service" => SERVICE, "code" => code).increment(1);
    }
}
