//! The websocket service's own settings: section `[engines.websocket]`. What the protocol promises to clients, such
//! as the largest message, is not a setting.

use serde::{Deserialize, Serialize};

/// Section `[engines.websocket]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Clients at the same time; beyond them the answer is 503. `http.connections_max` must leave room for them.
    pub connections_max: usize,
    /// How often each connection hears a heartbeat.
    pub heartbeat_ms: u64,
    /// A client that sent nothing for so long, not even a pong, is closed.
    pub silence_ms: u64,
    /// A client whose connection takes nothing for so long is closed.
    pub stall_ms: u64,
    /// Updates a topic may be behind before it is conflated for that client.
    pub behind_max: usize,
    /// Fresh snapshots a client may need in a row, each within a minute of the last, before it is closed.
    pub resynchronise_max: u32,
    /// Updates kept per topic for `resume` and for clients that fall behind.
    pub history_updates: usize,
    /// Bytes that these may take per topic.
    pub history_bytes: usize,
    /// Bytes that these should take over all topics, a quarter of it for snapshots. An equal share of the rest is sure
    /// to each topic; for a while, when topics come late, they may take up to twice as much.
    pub history_total_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 4_000,
            heartbeat_ms: 5_000,
            silence_ms: 30_000,
            stall_ms: 10_000,
            behind_max: 256,
            resynchronise_max: 8,
            history_updates: 1_024,
            history_bytes: 1 << 20,
            history_total_bytes: 256 << 20,
        }
    }
}

impl Settings {
    /// Checks what one setting alone cannot say.
    ///
    /// # Errors
    /// The setting's name and one sentence.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.connections_max == 0 || self.history_updates == 0 || self.behind_max == 0 {
            return Err(("", "connections_max, history_updates and behind_max must be at least 1"));
        }
        if self.heartbeat_ms == 0 || self.stall_ms == 0 {
            return Err(("", "heartbeat_ms and stall_ms must be at least 1"));
        }
        if self.silence_ms < self.heartbeat_ms.saturating_mul(3) {
            return Err((
                "silence_ms",
                "it must be at least three times heartbeat_ms: a client must get to answer",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_nonsense_is_refused() {
        assert_eq!(Settings::default().check(), Ok(()));
        let silent = Settings { silence_ms: 14_999, ..Settings::default() };
        assert_eq!(silent.check().unwrap_err().0, "silence_ms");
        for broken in [
            Settings { connections_max: 0, ..Settings::default() },
            Settings { history_updates: 0, ..Settings::default() },
            Settings { behind_max: 0, ..Settings::default() },
            Settings { heartbeat_ms: 0, ..Settings::default() },
            Settings { stall_ms: 0, ..Settings::default() },
        ] {
            assert!(broken.check().is_err(), "{broken:?}");
        }
    }
}
