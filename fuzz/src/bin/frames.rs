//! Any bytes as market-data frames: decoded without a panic, and what is accepted stands for its own bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nautilus_messages::frame::{FrameRef, Frames};

fuzz_target!(|bytes: &[u8]| {
    let mut accepted = 0;
    for frame in Frames::new(bytes) {
        let Ok(frame) = frame else { break };
        let own = frame.as_bytes();
        assert_eq!(own, &bytes[accepted..accepted + own.len()]);
        assert_eq!(FrameRef::parse(own), Ok(frame));
        accepted += own.len();
        if let FrameRef::Definition(definition) = frame {
            definition.instrument().expect("names were checked");
        }
        if let FrameRef::Gap(gap) = frame {
            assert!(gap.lost() > 0);
        }
    }
});
