//! Batches of frames: the GPU's result is the processor's, bit for bit.

use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_hardware::Failure;
use nautilus_hardware::backends::gpu::Gpu;
use nautilus_hardware::frames::{
    Accelerator, BatchLimits, Batcher, Costs, FRAME_LEN, GpuFrames, Lane, Line, Outcome, Plan, Processor,
    Progress, process,
};
use nautilus_messages::frame::Frames;
use nautilus_types::InstrumentId;
use proptest::prelude::*;

use crate::random::Recipe;
use crate::{both_transfers, gpu};

fn shared() -> Option<Gpu> {
    Gpu::shared().ok().or_else(|| gpu("batches of frames"))
}

fn on_gpu(gpu: &mut GpuFrames, progress: &[Progress], frames: &[u8]) -> Outcome {
    gpu.submit(Some(progress), frames).unwrap();
    gpu.collect(true).unwrap().unwrap()
}

fn assert_same(gpu: &Gpu, plan: &Plan, progress: &[Progress], frames: &[u8]) -> Outcome {
    let expected = process(plan, progress, frames).unwrap();
    let mut frames_on_gpu = GpuFrames::new(gpu, plan.clone()).unwrap();
    assert_eq!(on_gpu(&mut frames_on_gpu, progress, frames), expected);
    expected
}

#[test]
fn every_refusal_and_extreme_volumes() {
    let Some(gpu) = shared() else { return };
    for (seed, extremes, bucket_volume) in [(1, 9, 5_000), (2, 3, 1), (3, 5, u64::MAX - 9), (4, 60, 1 << 40)]
    {
        let recipe = Recipe { seed, frames: 20_000, instruments: 23, largest: 1_000, extremes, corrupt: 3 };
        let plan = recipe.plan(bucket_volume, 64);
        let outcome = assert_same(&gpu, &plan, &plan.beginning(), &recipe.batch());
        assert!(outcome.refused().len() > 1_000);
    }
}

#[test]
fn volumes_that_take_both_words() {
    let Some(gpu) = shared() else { return };
    for (largest, bucket_volume, buckets_max) in [
        (1 << 40, (1 << 36) - 1, 1024),
        (1 << 33, 0xffff_ffff, 1024),
        (1 << 41, 0xffff_ffff_ffff, 64),
        // Three times as much is just over 64 bits.
        (1 << 41, 0x5555_5555_ffff_fff0, 2),
        // Eight times as much is far over.
        (1 << 41, (1 << 62) + 4_096, 7),
    ] {
        let recipe = Recipe { seed: 9, frames: 900, instruments: 3, largest, extremes: 0, corrupt: 0 };
        let plan = recipe.plan(bucket_volume, buckets_max);
        let outcome = assert_same(&gpu, &plan, &plan.beginning(), &recipe.batch());
        assert!(outcome.lanes.iter().any(|lane| lane.buckets.is_some()));
    }
}

#[test]
fn many_lanes_and_more_tiles_than_a_workgroup_is_wide() {
    let Some(gpu) = shared() else { return };
    let recipe =
        Recipe { seed: 5, frames: 70_001, instruments: 1_500, largest: 1_000, extremes: 0, corrupt: 50 };
    let plan = recipe.plan(7_000, 32);
    let outcome = assert_same(&gpu, &plan, &plan.beginning(), &recipe.batch());
    let filled = outcome.lanes.iter().filter(|lane| lane.buckets.as_ref().is_some_and(|b| !b.is_empty()));
    assert!(filled.count() > 500);
}

#[test]
fn batches_in_flight_go_on_where_the_one_before_ends() {
    for gpu in both_transfers("batches in flight") {
        check_flight(&gpu);
    }
}

fn check_flight(gpu: &Gpu) {
    let recipe = Recipe { seed: 6, frames: 9_000, instruments: 7, largest: 1_000, extremes: 0, corrupt: 9 };
    let (plan, frames) = (recipe.plan(40_000, 64), recipe.batch());
    let mut on_gpu = GpuFrames::new(gpu, plan.clone()).unwrap();
    let batches: Vec<&[u8]> = frames.chunks(3_000 * FRAME_LEN).collect();
    for (index, batch) in batches.iter().enumerate() {
        on_gpu.submit((index == 0).then_some(&*plan.beginning()), batch).unwrap();
    }
    assert!(on_gpu.submit(None, batches[0]).unwrap_err().to_string().contains("in flight"));
    let mut progress = plan.beginning();
    for batch in batches {
        let expected = process(&plan, &progress, batch).unwrap();
        assert_eq!(on_gpu.collect(true).unwrap().unwrap(), expected);
        progress = expected.lanes.iter().map(|lane| lane.progress).collect();
    }
    assert!(on_gpu.collect(true).is_none());
}

#[test]
fn the_recorded_es_session() {
    let Some(path) = nautilus_testkit::es_session() else { return };
    let Some(gpu) = shared() else { return };
    let mut feed = FileFeed::open(&path, &Registry::new()).unwrap();
    let mut bytes = Vec::new();
    while feed.read(10_000, &mut bytes).unwrap() == Read::Frames {}
    let frames: Vec<u8> = Frames::new(&bytes)
        .map(|frame| frame.unwrap().as_bytes())
        .filter(|frame| frame.len() == FRAME_LEN)
        .flatten()
        .copied()
        .collect();
    // 200 contracts a bucket: 9,892 were traded.
    let lane = Lane { instrument: InstrumentId(1), bucket_volume: 200_000_000_000 };
    let plan = Plan::new(vec![lane], 64).unwrap();
    let outcome = assert_same(&gpu, &plan, &plan.beginning(), &frames);
    assert_eq!(outcome.lanes[0].buckets.as_ref().map(Vec::len), Some(9_892 / 200));
    assert_eq!(outcome.lanes[0].progress.volume, (9_892 % 200) * 1_000_000_000);
    assert_eq!(outcome.of_lane(0).len(), frames.len() / FRAME_LEN);
}

#[test]
fn a_gpu_that_disappears_breaks_what_is_in_flight() {
    for gpu in both_transfers("batches in flight on a GPU that disappears") {
        let recipe = Recipe { seed: 3, frames: 600, instruments: 7, largest: 1_000, extremes: 0, corrupt: 9 };
        let (plan, frames) = (recipe.plan(40_000, 64), recipe.batch());
        let mut on_gpu = GpuFrames::new(&gpu, plan.clone()).unwrap();
        on_gpu.submit(Some(&plan.beginning()), &frames).unwrap();
        on_gpu.submit(None, &frames).unwrap();
        gpu.destroy();
        let failure = on_gpu.collect(true).unwrap().unwrap_err();
        assert!(matches!(&failure, Failure::Broken(why) if why.contains("the GPU is gone")), "{failure}");
        assert!(on_gpu.collect(true).is_none(), "nothing comes after a fault");
        assert!(on_gpu.submit(Some(&plan.beginning()), &frames).is_err());
    }
}

#[test]
fn a_gpu_that_disappears_hands_its_batches_to_the_processor() {
    let Some(gpu) = gpu("batches of a GPU that disappears") else { return };
    let recipe = Recipe { seed: 8, frames: 4_000, instruments: 7, largest: 1_000, extremes: 0, corrupt: 9 };
    let (plan, frames) = (recipe.plan(40_000, 64), recipe.batch());
    let line = |start, frame| Line { start, frame };
    let costs = Costs { cpu: line(0.0, 10.0), gpu: Some(line(0.0, 1.0)) };
    let limits = BatchLimits { frames: 1_000, deadline_ns: 1 };
    let accelerator: Box<dyn Accelerator> = Box::new(GpuFrames::new(&gpu, plan.clone()).unwrap());
    let mut batcher = Batcher::new(plan.clone(), limits, costs, || 0, Some(accelerator)).unwrap();
    let (mut done, mut progress) = (Vec::new(), plan.beginning());
    for (index, frame) in frames.as_chunks().0.iter().enumerate() {
        if index == 2_500 {
            gpu.destroy();
        }
        batcher.push(frame).unwrap();
        if index == 1_500 {
            done.extend(batcher.drain());
        }
    }
    done.extend(std::iter::from_fn(|| batcher.drain()));
    assert_eq!(done.iter().flat_map(|batch| &batch.frames).copied().collect::<Vec<_>>(), frames);
    for batch in &done {
        let expected = process(&plan, &progress, &batch.frames).unwrap();
        assert_eq!(batch.outcome, expected);
        progress = expected.lanes.iter().map(|lane| lane.progress).collect();
    }
    assert_eq!(done[0].processor, Processor::Gpu);
    assert_eq!(done.last().unwrap().processor, Processor::Cpu);
    assert!(batcher.counts().gpu >= 1 && batcher.counts().fallbacks >= 1, "{:?}", batcher.counts());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_batches(
        seed in any::<u64>(), frames in 1..1_500_usize, instruments in 1..40_u32,
        largest in prop::sample::select(vec![1_000, 1 << 20]),
        extremes in prop::sample::select(vec![0, 4, 40]), corrupt in prop::sample::select(vec![0, 2, 20]),
        (bucket_volume, buckets_max) in (1..20_000_u64, 1..70_usize), begun in any::<u64>()
    ) {
        if let Ok(gpu) = Gpu::shared() {
            let recipe = Recipe { seed, frames, instruments, largest, extremes, corrupt };
            let plan = recipe.plan(bucket_volume, buckets_max);
            let begun = |lane: &Lane| {
                let volume = begun % lane.bucket_volume;
                Progress { volume, bought: volume / 3, sold: volume / 2 }
            };
            let progress: Vec<Progress> = plan.lanes().iter().map(begun).collect();
            assert_same(&gpu, &plan, &progress, &recipe.batch());
        }
    }
}
