//! The GPU against the processor: products, batches of frames, and a device that disappears.
//!
//! `NAUTILUS_GPU_SOFTWARE=1` admits a software adapter such as Mesa's lavapipe.

#![cfg(feature = "gpu")]

mod frames;
mod products;
#[path = "../frames/random.rs"]
mod random;

use nautilus_hardware::backends::gpu::Gpu;

/// A GPU of the test's own. Where there is none, that is printed past the harness's capture and the test is to end.
fn gpu(unchecked: &str) -> Option<Gpu> {
    opened(unchecked, Gpu::open())
}

/// As [`gpu`], with each way of bytes to it and back.
fn both_transfers(unchecked: &str) -> Vec<Gpu> {
    [Gpu::open(), Gpu::open_staged()].into_iter().filter_map(|gpu| opened(unchecked, gpu)).collect()
}

fn opened(unchecked: &str, gpu: Result<Gpu, String>) -> Option<Gpu> {
    match gpu {
        Ok(gpu) => Some(gpu),
        Err(reason) => {
            let notice = format!("\n!!! SKIPPED: {unchecked} was not checked on a GPU: {reason}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), notice.as_bytes());
            None
        }
    }
}
