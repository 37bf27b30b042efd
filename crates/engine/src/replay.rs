//! The deterministic runner: drives an engine over recorded frames, in any batch size, with any number of restarts.

use nautilus_messages::frame::{FrameError, Frames};

use crate::{Effects, Engine, Input, Stamp};

/// How a replay is run. Whatever is chosen, effects and digest must come out the same.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Steps between two hand-overs of effects and views.
    pub batch: usize,
    /// Snapshot, create anew and restore after so many steps.
    pub restart_every: Option<u64>,
}

/// What came of a replay.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Steps taken.
    pub steps: u64,
    /// The engine's digest at the end.
    pub digest: u64,
    /// Everything it wanted done, in order.
    pub effects: Effects,
}

/// Runs `frames` through an engine made by `create`.
///
/// # Errors
/// When the frames do not decode.
///
/// # Panics
/// When the engine refuses its own snapshot: that is a broken engine, not bad input.
pub fn run<E: Engine>(create: impl Fn() -> E, frames: &[u8], plan: Plan) -> Result<Outcome, FrameError> {
    let mut engine = create();
    let mut all = Effects::default();
    let mut batch = Effects::default();
    let mut steps = 0;
    for frame in Frames::new(frames) {
        let frame = frame?;
        steps += 1;
        engine.step(Stamp { now: frame.header().ts_recv(), index: steps }, Input::Frame(frame), &mut batch);
        if steps % plan.batch.max(1) as u64 == 0 {
            hand_over(&mut batch, &mut all);
            engine.publish(&mut |_, _| {});
        }
        if plan.restart_every.is_some_and(|every| steps % every == 0) {
            let snapshot = engine.snapshot();
            engine = create();
            engine.restore(&snapshot).expect("an engine restores its own snapshot");
            assert_eq!(engine.snapshot(), snapshot, "a restored engine gives the same snapshot");
        }
    }
    hand_over(&mut batch, &mut all);
    Ok(Outcome { steps, digest: engine.digest(), effects: all })
}

fn hand_over(batch: &mut Effects, all: &mut Effects) {
    all.facts.append(&mut batch.facts);
    all.star.append(&mut batch.star);
    all.mesh.append(&mut batch.mesh);
    all.records.append(&mut batch.records);
    all.snapshots.append(&mut batch.snapshots);
    batch.clear();
}
