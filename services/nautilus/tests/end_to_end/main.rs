//! The platform as its user meets it: the real binary, real HTTP, real redis-server and PostgreSQL.
//!
//! Nothing here looks inside a process; what an engine computes is tested beside the engine.

mod access;
mod checkpoints;
mod command_line;
mod documents;
mod features;
mod hardware;
mod http;
mod live;
mod processes;
mod refusals;
mod risk;
mod servers;
mod session;
mod support;
