//! The record of refusals: one log line of target `nautilus_audit` and one count each. Never a secret.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::bucket::Bucket;
use crate::config::ServiceName;

/// Lines a minute, on average: a stranger's flood must not fill the disk. All refusals are counted.
const LINES_PER_MINUTE: u32 = 600;

/// What is told of a refusal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) code: &'static str,
    pub(super) request_id: &'a str,
    pub(super) method: &'a str,
    /// The route's template, never the path that was asked.
    pub(super) route: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) address: Option<SocketAddr>,
}

#[derive(Debug)]
pub(super) struct Audit {
    service: ServiceName,
    lines: Mutex<Bucket>,
    unwritten: AtomicU64,
}

impl Audit {
    pub(super) fn new(service: ServiceName) -> Self {
        let lines = Mutex::new(Bucket::per_minute(LINES_PER_MINUTE, Instant::now()));
        Self { service, lines, unwritten: AtomicU64::new(0) }
    }

    pub(super) fn refused(&self, refused: &Refused<'_>) {
        let Refused { code, request_id, method, route, key, address } = *refused;
        let service = self.service.as_str();
        metrics::counter!("nautilus_access_refused_total", "service" => service, "code" => code).increment(1);
        if self.lines.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()).is_err() {
            self.unwritten.fetch_add(1, Relaxed);
            return;
        }
        let unwritten = self.unwritten.swap(0, Relaxed);
        let address = address.map(|address| address.to_string());
        tracing::warn!(
            target: "nautilus_audit",
            service, code, request_id, method, route, key, address, unwritten, "access refused"
        );
    }
}
