//! A private redis-server.

/// A running redis-server.
#[derive(Debug)]
pub struct RedisServer;
