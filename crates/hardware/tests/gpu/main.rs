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
    match Gpu::open() {
        Ok(gpu) => Some(gpu),
        Err(reason) => {
            let notice = format!("\n!!! SKIPPED: {unchecked} was not checked on a GPU: {reason}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), notice.as_bytes());
            None
        }
    }
}
