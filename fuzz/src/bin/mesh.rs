//! Any bytes as a mesh message: decoded without a panic, and what is accepted encodes to a message that is equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nautilus_messages::mesh::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    let mut again = Vec::new();
    message.encode(&mut again).expect("a decoded message is legal");
    assert_eq!(Message::decode(&again), Ok(message));
});
