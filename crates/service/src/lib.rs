//! The chassis of every service: what twelve engines have in common stands here once.
//!
//! Configuration, HTTP, errors, metrics, tracing, health, the engine's run loop and the orderly stop. It knows no
//! engine: a service hands it an [`nautilus_engine::Engine`] and a router and gets back a running server.

pub mod access;
pub mod alone;
pub mod compute;
pub mod config;
pub mod hardware;
pub mod http;
pub mod metrics;
pub mod paging;
pub mod pinning;
pub mod platform;
pub mod problem;
pub mod server;
pub mod shell;
pub mod telemetry;

mod listener;
mod saved;
mod tls;
mod views;

pub use access::{Operator, Principal, Scope};
pub use alone::{Alone, run_alone, run_alone_without_engine};
pub use compute::ComputePool;
pub use config::{Config, ConfigError, ServiceName};
pub use listener::StopSignal;
pub use platform::{Base, Connections, Platform, StartError};
pub use problem::{Json, Path, Problem, Query, RawBody};
pub use saved::saved_settings;
pub use server::Running;
pub use shell::{EngineHandle, Shell, wall_clock};
pub use views::Views;
