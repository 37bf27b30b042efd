//! The gateway as a process of its own.

use std::process::ExitCode;

use nautilus_service::{ServiceName, run_alone_without_engine};

fn main() -> ExitCode {
    run_alone_without_engine(ServiceName::Gateway, async |base, listener| {
        nautilus_gateway::start(base, listener)
    })
}
