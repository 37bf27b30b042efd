//! Says on the mesh, once a second, how far the engine has come.
//!
//! It reads counters only. It never waits for room and is no step of the engine: a mesh that is full misses a beat.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nautilus_bus::MeshPublisher;
use nautilus_messages::EngineName;
use nautilus_messages::mesh::{Body, EngineHealth, Priority};

use super::{Progress, wall_clock};

const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    last: Option<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { started: Instant::now(), last: None }
    }
}

impl Pulse {
    /// Sends the engine's health when it is due. The run loop comes by at least every few milliseconds.
    pub(super) fn beat(&mut self, engine: EngineName, progress: &Progress, publisher: &mut MeshPublisher) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return;
        }
        self.last = Some(now);
        let health = EngineHealth {
            engine,
            uptime_ms: u64::try_from(now.duration_since(self.started).as_millis()).unwrap_or(u64::MAX),
            steps: progress.steps.load(Relaxed),
            star_read: progress.star_read.load(Relaxed),
            star_missed: progress.star_lost.load(Relaxed),
            mesh_handled: progress.mesh_handled.load(Relaxed),
        };
        // The bus counts what it refuses; the next beat says more than a late one.
        let _ = publisher.try_publish(wall_clock(), Priority::Low, 0, Body::EngineHealth(health));
    }
}
