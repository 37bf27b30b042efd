//! The vpin service as a process of its own.

use std::process::ExitCode;

use nautilus_messages::EngineName;
use nautilus_service::run_alone;

fn main() -> ExitCode {
    run_alone(EngineName::Vpin, async |connections, listener| {
        nautilus_vpin::start(connections, listener).await.map(|vpin| vpin.running)
    })
}
