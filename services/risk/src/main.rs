//! The risk service as a process of its own.

use std::process::ExitCode;

use nautilus_messages::EngineName;
use nautilus_service::run_alone;

fn main() -> ExitCode {
    run_alone(EngineName::Risk, async |connections, listener| {
        nautilus_risk::start(connections, listener).await.map(|risk| risk.running)
    })
}
