//! What a bus may be told: transports, addresses and bounds, each with a default that works on one host.
//!
//! It reads no file; the chassis fills these in.

use std::fmt;
use std::time::Duration;

/// A Redis address, `redis://[user:password@]host:port[/db]`; its password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl RedisUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for RedisUrl {
    fn from(url: T) -> Self {
        Self(url.into())
    }
}

/// The address with its password replaced by `***`.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("redis", &self.0));
        // A password may itself hold an '@': the host begins behind the last one.
        let Some((credentials, host)) = rest.rsplit_once('@') else {
            return write!(f, "{scheme}://{rest}");
        };
        let user = credentials.split_once(':').map_or("", |(user, _)| user);
        write!(f, "{scheme}://{user}:***@{host}")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Slots of a star's ring unless configured: 65,536 frames, 8 MiB.
pub(crate) const STAR_CAPACITY: usize = 1 << 16;

/// The star's transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StarConfig {
    /// A broadcast ring in this process.
    Local {
        /// Frames retained, rounded up to a power of two.
        capacity: usize,
    },
    /// A Redis stream.
    Redis(RedisStar),
}

impl Default for StarConfig {
    fn default() -> Self {
        Self::Local { capacity: STAR_CAPACITY }
    }
}

/// A star over Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisStar {
    /// The server, by default `redis://127.0.0.1:6380`.
    pub url: RedisUrl,
    /// Frames retained in this process's ring, rounded up to a power of two. Default 65,536.
    pub capacity: usize,
    /// Entries kept in the stream, approximately; an entry holds up to `batch_frames` frames. Default
    /// 10,000, which is some 160 MB of Redis memory when every entry is full.
    pub max_len: usize,
    /// Frames in one stream entry, at most. Default 256; 1 publishes every frame on its own.
    pub batch_frames: usize,
    /// Entries in one round trip, at most. Default 16; 1 waits for every entry's answer.
    pub pipeline: usize,
    /// How long an unanswered command may take before the server counts as down. Default 1 s.
    pub response_timeout: Duration,
    /// How long a reading process waits for its own slowest reader before it overwrites. Default 5 s.
    pub reader_patience: Duration,
    /// Readers pass over what hubs with an epoch before this one left in the stream. Default 0: they begin with the
    /// oldest entry.
    pub from_epoch: u64,
}

impl Default for RedisStar {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6380".into(),
            capacity: STAR_CAPACITY,
            max_len: 10_000,
            batch_frames: 256,
            pipeline: 16,
            response_timeout: Duration::from_secs(1),
            reader_patience: Duration::from_secs(5),
            from_epoch: 0,
        }
    }
}

/// The mesh's transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshConfig {
    /// Queues in this process.
    Local(MeshLimits),
    /// Redis streams.
    Redis(RedisMesh),
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self::Local(MeshLimits::default())
    }
}

/// The bounds of a mesh, whatever its transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshLimits {
    /// Local: messages retained per type. Redis: messages a publisher holds until acknowledged. Default 8,192.
    pub outbox: usize,
    /// Messages a consumer holds that are not yet acknowledged, at most. Default 1,024.
    pub inbox: usize,
    /// How long a publisher waits for room before it gives up. Default 1 s.
    pub publish_wait: Duration,
    /// The pause before a failed delivery comes again. Default 500 ms.
    pub retry_pause: Duration,
    /// Deliveries of one message before it is a dead letter. Default 5.
    pub max_attempts: u32,
    /// Dead letters kept per engine. Default 10,000.
    pub dead_letters: usize,
}

impl Default for MeshLimits {
    fn default() -> Self {
        Self {
            outbox: 8_192,
            inbox: 1_024,
            publish_wait: Duration::from_secs(1),
            retry_pause: Duration::from_millis(500),
            max_attempts: 5,
            dead_letters: 10_000,
        }
    }
}

/// A mesh over Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisMesh {
    /// The server, by default `redis://127.0.0.1:6381`.
    pub url: RedisUrl,
    /// Bounds of publishers and consumers.
    pub limits: MeshLimits,
    /// Entries kept per stream, approximately. Entries beyond are trimmed, read or not. Default 100,000.
    pub max_len: usize,
    /// Messages in one round trip, at most. Default 128; 1 waits for every message's answer.
    pub batch: usize,
    /// Tells instances of one engine apart; stable over restarts, so that an instance finds what it left. Default "0".
    pub instance: String,
    /// A pending entry untouched for this long is taken over from its consumer. Default 30 s.
    pub claim_idle: Duration,
    /// How long an unanswered command may take before the server counts as down. Default 1 s.
    pub response_timeout: Duration,
}

impl Default for RedisMesh {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6381".into(),
            limits: MeshLimits::default(),
            max_len: 100_000,
            batch: 128,
            instance: "0".to_owned(),
            claim_idle: Duration::from_secs(30),
            response_timeout: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_printed() {
        for (url, printed) in [
            ("redis://127.0.0.1:6380", "redis://127.0.0.1:6380"),
            ("redis://:secret@host:1/2", "redis://:***@host:1/2"),
            ("redis://me:se@cret@host:1", "redis://me:***@host:1"),
            ("rediss://me:secret@host", "rediss://me:***@host"),
            ("me:secret@host", "redis://me:***@host"),
        ] {
            assert_eq!(RedisUrl::from(url).to_string(), printed);
            assert!(
                !format!("{:?}", RedisStar { url: url.into(), ..RedisStar::default() }).contains("secret")
            );
        }
    }
}
