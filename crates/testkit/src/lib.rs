//! Real servers for tests, each private: free port, temporary data folder, stopped when dropped.
//!
//! Used by tests and by `cargo xtask test` only; no product crate depends on it.

mod postgres;
mod process;
mod redis;
mod shared_data;

pub use postgres::PostgresServer;
pub use process::ServiceProcess;
pub use redis::RedisServer;
pub use shared_data::{es_session, shared_data};

use std::net::TcpListener;

/// A TCP port that was free a moment ago.
///
/// # Panics
/// When the machine has no free port on loopback.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.local_addr().expect("a bound listener has an address").port()
}
