//! The marketdata service as a process of its own. It starts without a feed: recordings come over `POST /v1/replays`.

use std::process::ExitCode;

use nautilus_messages::EngineName;
use nautilus_service::run_alone;

fn main() -> ExitCode {
    run_alone(EngineName::Marketdata, async |connections, listener| {
        nautilus_marketdata::start(connections, listener).await.map(|marketdata| marketdata.running)
    })
}
