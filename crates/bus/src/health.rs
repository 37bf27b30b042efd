//! Whether a bus works, and why it could not be opened. It decides nothing about what follows from that.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::RedisUrl;

/// Whether a bus carries messages at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusHealth {
    /// It does.
    Up,
    /// It does not, and is being retried.
    Down {
        /// What the transport said.
        reason: String,
    },
}

/// Why a bus, or one end of it, could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The address is not one.
    #[error("{url} is not a Redis address; write redis://host:port")]
    Address {
        /// The address, without its password.
        url: String,
    },
    /// The server is not there or refuses.
    #[error("Redis at {url} cannot be used: {source}; start it or correct the address")]
    Connect {
        /// The address, without its password.
        url: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A second hub.
    #[error("this star already has its publisher; a star has one hub")]
    SecondPublisher,
    /// A reader that cannot go on where an earlier one was.
    #[error("the star cannot be read on from an earlier place: {reason}; begin with its oldest frame")]
    Resume {
        /// Why not.
        reason: &'static str,
    },
    /// A consumer of nothing.
    #[error("{engine} subscribes to no message type; name at least one or open no consumer")]
    NoSubscription {
        /// The consuming engine.
        engine: nautilus_messages::EngineName,
    },
}

impl BusError {
    /// Whether the same may succeed later by itself: nobody answers yet, or the server still loads its data.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let Self::Connect { source, .. } = self else { return false };
        source
            .downcast_ref::<redis::RedisError>()
            .is_some_and(|error| error.is_io_error() || error.is_timeout() || error.code() == Some("LOADING"))
    }

    pub(crate) fn connect(
        url: &RedisUrl,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Connect { url: url.to_string(), source: source.into() }
    }
}

/// The state of all the tasks of one bus.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Vec<(u64, Option<String>)>>);

impl Health {
    pub(crate) fn get(&self) -> BusHealth {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts
            .iter()
            .find_map(|(_, reason)| reason.clone())
            .map_or(BusHealth::Up, |reason| BusHealth::Down { reason })
    }

    /// A task's own line in the health of its bus; up at first, gone when dropped.
    pub(crate) fn part(self: &Arc<Self>) -> HealthPart {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = parts.last().map_or(0, |(id, _)| id + 1);
        parts.push((id, None));
        HealthPart { health: Arc::clone(self), id }
    }
}

#[derive(Debug)]
pub(crate) struct HealthPart {
    health: Arc<Health>,
    id: u64,
}

impl HealthPart {
    pub(crate) fn set(&self, reason: Option<String>) {
        let mut parts = self.health.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.iter_mut().find(|(id, _)| *id == self.id) {
            part.1 = reason;
        }
    }
}

impl Drop for HealthPart {
    fn drop(&mut self) {
        let mut parts = self.health.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|(id, _)| *id != self.id);
    }
}
