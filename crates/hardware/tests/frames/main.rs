//! Batches of market frames on the processor, and the batcher with a synthetic clock and a fake accelerator.

mod batcher;
mod random;

use std::collections::{BTreeMap, BTreeSet};

use nautilus_hardware::frames::{
    BatchError, Bucket, FRAME_LEN, FRAMES_MAX, Lane, Plan, Progress, Refusal, process,
};
use nautilus_messages::frame::{FrameRef, Kind};
use nautilus_types::InstrumentId;
use proptest::prelude::*;
use random::Recipe;

const RECIPE: Recipe =
    Recipe { seed: 7, frames: 20_000, instruments: 23, largest: 1_000, extremes: 9, corrupt: 3 };

#[test]
fn every_refusal_of_the_decoder_has_a_number_and_occurs() {
    let outcome =
        process(&RECIPE.plan(5_000, 64), &RECIPE.plan(5_000, 64).beginning(), &RECIPE.batch()).unwrap();
    let seen: BTreeSet<u8> = outcome.refusals.iter().flatten().map(|refusal| *refusal as u8).collect();
    assert_eq!(seen, (1..=15).collect(), "of 15 refusals these occur, and 255 means one without a number");
}

#[test]
fn the_order_is_by_lane_and_within_a_lane_that_of_the_batch() {
    let (plan, frames) = (RECIPE.plan(5_000, 64), RECIPE.batch());
    let outcome = process(&plan, &plan.beginning(), &frames).unwrap();
    let mut expected: BTreeMap<Option<u32>, Vec<u32>> = BTreeMap::new();
    for (place, bytes) in (0..).zip(frames.chunks_exact(FRAME_LEN)) {
        let instrument = FrameRef::parse(bytes).ok().map(|frame| frame.header().instrument().0);
        expected.entry(instrument).or_default().push(place);
    }
    for (index, lane) in plan.lanes().iter().enumerate() {
        assert_eq!(outcome.of_lane(index), expected[&Some(lane.instrument.0)]);
        let is_quote = |place: &&u32| frames[**place as usize * FRAME_LEN] == Kind::Quote as u8;
        assert_eq!(outcome.lanes[index].last_quote, outcome.of_lane(index).iter().rfind(is_quote).copied());
    }
    assert_eq!(outcome.refused(), expected[&None]);
    let mut unlisted: Vec<u32> =
        [5, 10, 15, 20].iter().flat_map(|id| expected[&Some(*id)].iter().copied()).collect();
    unlisted.sort_unstable();
    // Corrupt frames may name instruments that no recipe has.
    assert!(
        outcome.unlisted().is_sorted() && unlisted.iter().all(|place| outcome.unlisted().contains(place))
    );
}

fn trade(quantity: i64, aggressor: u8) -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    (frame[0], frame[1], frame[4], frame[32], frame[56]) = (1, 1, 1, 9, aggressor);
    frame[40..48].copy_from_slice(&quantity.to_le_bytes());
    frame
}

fn one_lane(bucket_volume: u64, buckets_max: usize) -> Plan {
    Plan::new(vec![Lane { instrument: InstrumentId(1), bucket_volume }], buckets_max).unwrap()
}

#[test]
fn a_trade_over_the_end_of_a_bucket_is_split() {
    let frames = [trade(7, 1), trade(4, 2), trade(2, 0), trade(30, 1)].concat();
    let plan = one_lane(10, 8);
    let outcome = process(&plan, &plan.beginning(), &frames).unwrap();
    let bucket = |bought, sold| Bucket { bought, sold };
    // 7 bought and 3 sold; 1 sold, 2 without a side and 7 bought; 10 bought twice; 3 are left.
    let buckets = vec![bucket(7, 3), bucket(7, 1), bucket(10, 0), bucket(10, 0)];
    assert_eq!(outcome.lanes[0].buckets, Some(buckets));
    assert_eq!(outcome.lanes[0].progress, Progress { volume: 3, bought: 3, sold: 0 });
}

#[test]
fn too_much_volume_is_said_and_changes_nothing() {
    let begun = [Progress { volume: 3, bought: 1, sold: 1 }];
    for (plan, frames, fits) in [
        (one_lane(10, 2), vec![trade(26, 1)], true),
        (one_lane(10, 2), vec![trade(27, 1)], false),
        (one_lane(u64::MAX, 1), vec![trade(i64::MAX, 1); 2], false),
        (one_lane(u64::MAX, 1), vec![trade(i64::MAX, 1), trade(i64::MAX - 3, 1)], true),
        (one_lane(1 << 62, 1), vec![trade(i64::MAX, 1)], false),
        (one_lane(5, 1024), vec![trade(i64::MAX, 1)], false),
    ] {
        let outcome = process(&plan, &begun, &frames.concat()).unwrap();
        assert_eq!(outcome.lanes[0].buckets.is_some(), fits, "{plan:?}");
        assert_eq!(outcome.lanes[0].progress == begun[0], !fits);
    }
}

#[test]
fn what_is_no_batch_and_no_plan_is_refused_in_a_sentence() {
    let plan = one_lane(10, 2);
    for bytes in [0, 1, FRAME_LEN - 1, FRAME_LEN + 1, (FRAMES_MAX + 1) * FRAME_LEN] {
        assert_eq!(process(&plan, &plan.beginning(), &vec![0; bytes]), Err(BatchError::Length(bytes)));
    }
    let frame = trade(1, 1);
    for begun in [
        vec![],
        vec![Progress { volume: 10, bought: 0, sold: 0 }],
        vec![Progress { volume: 5, bought: 3, sold: 3 }],
        vec![Progress { volume: 5, bought: u64::MAX, sold: 6 }],
    ] {
        assert_eq!(process(&plan, &begun, &frame), Err(BatchError::Progress), "{begun:?}");
    }
    let lane = |id, bucket_volume| Lane { instrument: InstrumentId(id), bucket_volume };
    for (lanes, buckets) in [
        (vec![lane(0, 1)], 1),
        (vec![lane(1, 0)], 1),
        (vec![lane(2, 1), lane(1, 1)], 1),
        (vec![lane(1, 1), lane(1, 1)], 1),
        ((1..5_000).map(|id| lane(id, 1)).collect(), 1),
        (vec![], 0),
        (vec![], 1_025),
    ] {
        let error = Plan::new(lanes, buckets).unwrap_err();
        assert!(matches!(&error, BatchError::Plan(sentence) if !sentence.contains('\n')), "{error}");
    }
}

#[test]
fn refusals_that_this_build_does_not_know_are_not_lost() {
    let error = nautilus_messages::frame::FrameError::Illegal { kind: "trade", field: "colour" };
    assert_eq!(Refusal::of(&error), Refusal::Other);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Buckets depend on the trades alone, not on how they are cut into batches.
    #[test]
    fn batches_go_on_where_the_one_before_ended(
        seed in any::<u64>(), cut in 1..499_usize, bucket_volume in 1_000..50_000_u64
    ) {
        let recipe = Recipe { seed, frames: 500, instruments: 4, largest: 1_000, extremes: 0, corrupt: 0 };
        let (plan, frames) = (recipe.plan(bucket_volume, 1024), recipe.batch());
        let whole = process(&plan, &plan.beginning(), &frames).unwrap();
        let first = process(&plan, &plan.beginning(), &frames[..cut * FRAME_LEN]).unwrap();
        let begun: Vec<Progress> = first.lanes.iter().map(|lane| lane.progress).collect();
        let second = process(&plan, &begun, &frames[cut * FRAME_LEN..]).unwrap();
        for ((whole, first), second) in whole.lanes.iter().zip(&first.lanes).zip(&second.lanes) {
            let parts = [first.buckets.clone().unwrap(), second.buckets.clone().unwrap()].concat();
            prop_assert_eq!(whole.buckets.as_ref(), Some(&parts));
            prop_assert_eq!(whole.progress, second.progress);
        }
    }
}
