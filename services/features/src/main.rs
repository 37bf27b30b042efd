//! The features service as a process of its own.

use std::process::ExitCode;

use nautilus_messages::EngineName;
use nautilus_service::run_alone;

fn main() -> ExitCode {
    run_alone(EngineName::Features, async |connections, listener| {
        nautilus_features::start(connections, listener).await.map(|features| features.running)
    })
}
