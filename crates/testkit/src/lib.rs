//! Real servers for tests, each private: free port, temporary data folder, stopped when dropped.
//!
//! Used by tests and by `cargo xtask test` only; no product crate depends on it.

mod allocations;
mod postgres;
mod process;
mod prometheus;
mod redis;
mod shared_data;

pub use allocations::{CountingAllocator, allocations};
pub use postgres::PostgresServer;
pub use process::ServiceProcess;
pub use prometheus::PrometheusServer;
pub use redis::RedisServer;
pub use shared_data::{es_session, shared_data};

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A TCP port that was free a moment ago.
///
/// # Panics
/// When the machine has no free port on loopback.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// The status of `GET path` on a port of this machine; `None` where nobody answers.
fn http_status(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(4_096).read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
