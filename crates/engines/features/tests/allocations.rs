//! Stepping trades and quotes takes no memory, once everything has been there.
//!
//! Bars may: each leaves a cut that is kept.

mod tape;

use nautilus_engine::{Effects, Engine as _, Input, Stamp};
use nautilus_engine_features::Publish;
use nautilus_messages::frame::{FrameRef, Frames};
use nautilus_testkit::{CountingAllocator, allocations};
use tape::{busy, engine_with, published, set};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

#[test]
fn trades_and_quotes_allocate_nothing() {
    let tape = busy(3, &["AAA", "BBB", "CCC", "DDD"], 30).bytes;
    let frames: Vec<FrameRef<'_>> = Frames::new(&tape).map(Result::unwrap).collect();
    let is_event = |frame: &FrameRef<'_>| matches!(frame, FrameRef::Trade(_) | FrameRef::Quote(_));
    let mut engine = engine_with(&[("bars", set(&["return_1", "mid"], Publish::Bar))]);
    let mut out = Effects::default();
    let (mut events, mut publications) = (0, 0);
    for (n, frame) in frames.iter().enumerate() {
        let (cuts, before) = (engine.figures().cuts, allocations());
        engine.step(Stamp::default(), Input::Frame(*frame), &mut out);
        let taken = allocations() - before;
        // A quote may be what a cut has waited for.
        if is_event(frame) && engine.figures().cuts == cuts && n > frames.len() / 2 {
            assert_eq!(taken, 0, "frame {n} of {}: {:?}", frames.len(), frame.header());
            events += 1;
        }
        out.clear();
        // What is published is a picture of its own, but the engine's lists keep their room for the next events.
        if n % 97 == 0 && published(&mut engine).is_some() {
            publications += 1;
        }
    }
    assert!(events > 1_000 && publications > 20, "{events} {publications}");
}
