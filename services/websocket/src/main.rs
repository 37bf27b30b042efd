//! The websocket service as a process of its own.

use std::process::ExitCode;

use nautilus_messages::EngineName;
use nautilus_service::run_alone;

fn main() -> ExitCode {
    run_alone(EngineName::Websocket, async |connections, listener| {
        nautilus_websocket::start(connections, listener).await.map(|websocket| websocket.running)
    })
}
