//! Any bytes as a recording, DBN or CSV, plain or packed: read without a panic, and every frame is legal.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_messages::frame::Frames;

/// A few packed bytes may unpack to very many records.
const READS_MAX: usize = 64;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| std::env::temp_dir().join("recording"));

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("the temporary folder can be written");
    let registry = Registry::new();
    let Ok(mut feed) = FileFeed::open(&FILE, &registry) else { return };
    let mut frames = Vec::new();
    for _ in 0..READS_MAX {
        frames.clear();
        let Ok(Read::Frames) = feed.read(256, &mut frames) else { break };
        for frame in Frames::new(&frames) {
            frame.expect("a feed makes legal frames only");
        }
    }
    let _ = (feed.progress(), feed.description());
});
