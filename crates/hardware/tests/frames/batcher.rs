//! The batcher with a clock that only the test moves and an accelerator that is none: every decision is determined.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nautilus_hardware::Failure;
use nautilus_hardware::frames::{
    Accelerator, BatchError, BatchLimits, Batcher, Costs, Counts, Done, FRAME_LEN, FRAMES_MAX, Full, Line,
    Outcome, Plan, Processor, Progress, process,
};

use crate::random::Recipe;

const RECIPE: Recipe =
    Recipe { seed: 11, frames: 1_000, instruments: 6, largest: 1_000, extremes: 0, corrupt: 9 };
const CPU: Line = Line { start: 0.0, frame: 10.0 };
const GPU: Line = Line { start: 1_000.0, frame: 1.0 };

/// A clock that stands still unless it is moved.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn advance(&self, ns: u64) {
        self.0.fetch_add(ns, Ordering::Relaxed);
    }
}

/// What the fake does next.
#[derive(Debug, Default)]
struct Script {
    /// Results that are there without waiting.
    ready: usize,
    /// Submissions that still succeed; then none does.
    submissions: Option<usize>,
    /// Results that still come; then the device is lost.
    results: Option<usize>,
    largest_flight: usize,
}

/// Computes on the processor, takes synthetic time, and fails on demand.
#[derive(Debug)]
struct Fake {
    plan: Plan,
    clock: Clock,
    took: Line,
    script: Arc<Mutex<Script>>,
    progress: Vec<Progress>,
    in_flight: VecDeque<(Outcome, usize)>,
}

fn spend(counter: &mut Option<usize>) -> Result<(), Failure> {
    match counter {
        Some(0) => Err(Failure::Broken("the script says so".to_owned())),
        Some(left) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

impl Accelerator for Fake {
    fn capacity(&self) -> usize {
        3
    }

    fn submit(&mut self, progress: Option<&[Progress]>, frames: &[u8]) -> Result<(), Failure> {
        let mut script = self.script.lock().unwrap();
        spend(&mut script.submissions)?;
        assert_eq!(
            progress.is_some(),
            self.in_flight.is_empty(),
            "only a first batch is told where to begin"
        );
        if let Some(progress) = progress {
            self.progress = progress.to_vec();
        }
        let outcome = process(&self.plan, &self.progress, frames).unwrap();
        self.progress = outcome.lanes.iter().map(|lane| lane.progress).collect();
        self.in_flight.push_back((outcome, frames.len() / FRAME_LEN));
        script.largest_flight = script.largest_flight.max(self.in_flight.len());
        Ok(())
    }

    fn collect(&mut self, wait: bool) -> Option<Result<Outcome, Failure>> {
        let mut script = self.script.lock().unwrap();
        if !wait {
            script.ready = script.ready.checked_sub(1)?;
        }
        let (outcome, frames) = self.in_flight.pop_front()?;
        self.clock.advance((self.took.start + self.took.frame * frames as f64) as u64);
        Some(spend(&mut script.results).map(|()| outcome))
    }

    fn abandon(&mut self) {
        self.in_flight.clear();
    }
}

struct Bench {
    plan: Plan,
    clock: Clock,
    script: Arc<Mutex<Script>>,
    batcher: Batcher<'static>,
    progress: Vec<Progress>,
    frames: Vec<u8>,
    checked: usize,
}

impl Bench {
    fn new(frames: usize, deadline_ns: u64, costs: Costs, script: Script) -> Self {
        let (plan, clock) = (RECIPE.plan(3_000, 1024), Clock::default());
        let script = Arc::new(Mutex::new(script));
        let fake = Fake {
            plan: plan.clone(),
            clock: clock.clone(),
            took: GPU,
            script: Arc::clone(&script),
            progress: plan.beginning(),
            in_flight: VecDeque::new(),
        };
        let read = clock.clone();
        let limits = BatchLimits { frames, deadline_ns };
        let batcher =
            Batcher::new(plan.clone(), limits, costs, move || read.now(), Some(Box::new(fake))).unwrap();
        let progress = plan.beginning();
        Self { plan, clock, script, batcher, progress, frames: RECIPE.batch(), checked: 0 }
    }

    fn frame(&self, index: usize) -> [u8; FRAME_LEN] {
        self.frames.as_chunks().0[index]
    }

    /// That a result is the next one in order and says what the processor says.
    fn check(&mut self, done: &Done) {
        let end = self.checked + done.frames.len();
        assert_eq!(done.frames, self.frames[self.checked..end]);
        let expected = process(&self.plan, &self.progress, &done.frames).unwrap();
        assert_eq!(done.outcome, expected);
        self.progress = expected.lanes.iter().map(|lane| lane.progress).collect();
        self.checked = end;
    }

    fn drain(&mut self) -> Vec<Processor> {
        let mut processors = Vec::new();
        while let Some(done) = self.batcher.drain() {
            self.check(&done);
            processors.push(done.processor);
        }
        processors
    }
}

fn costs(cpu: Line, gpu: Line) -> Costs {
    Costs { cpu, gpu: Some(gpu) }
}

#[test]
fn the_break_even_is_where_the_lines_cross() {
    assert_eq!(costs(CPU, GPU).break_even(), Some(112));
    assert_eq!((costs(CPU, GPU).faster(111), costs(CPU, GPU).faster(112)), (Processor::Cpu, Processor::Gpu));
    assert_eq!(costs(CPU, CPU).break_even(), None, "what is not faster is not used");
    assert_eq!(Costs { cpu: CPU, gpu: None }.break_even(), None);
    let slow = Line { start: 0.0, frame: 10.5 };
    assert_eq!(costs(CPU, slow).break_even(), None);
    assert_eq!(costs(CPU, Line { start: 0.0, frame: 1.0 }).break_even(), Some(1));
    assert_eq!(Line::through((10, 110.0), (20, 120.0)), Line { start: 100.0, frame: 1.0 });
    // Noise that makes the larger batch the faster one is no negative cost.
    assert_eq!(Line::through((10, 120.0), (20, 110.0)), Line { start: 120.0, frame: 0.0 });
}

#[test]
fn a_frame_waits_for_the_deadline_and_no_longer() {
    let mut bench = Bench::new(500, 1_000, costs(CPU, GPU), Script::default());
    assert_eq!(bench.batcher.due(), None);
    bench.clock.advance(70);
    bench.batcher.push(&bench.frame(0)).unwrap();
    bench.clock.advance(900);
    bench.batcher.push(&bench.frame(1)).unwrap();
    assert_eq!(bench.batcher.due(), Some(1_070), "by its first frame");
    bench.clock.advance(99);
    assert!(bench.batcher.poll().is_none());
    bench.clock.advance(1);
    let done = bench.batcher.poll().unwrap();
    assert_eq!((done.frames.len() / FRAME_LEN, done.processor), (2, Processor::Cpu), "below the break-even");
    bench.check(&done);
    assert_eq!(bench.batcher.due(), None);
    assert!(bench.batcher.drain().is_none());
}

#[test]
fn large_batches_fly_and_small_ones_wait_for_them() {
    let mut bench = Bench::new(200, 1_000, costs(CPU, GPU), Script::default());
    for index in 0..450 {
        bench.batcher.push(&bench.frame(index)).unwrap();
    }
    assert!(bench.batcher.poll().is_none(), "two full batches are in flight and none is ready");
    bench.clock.advance(1_000);
    // The rest is due, small and so the processor's: those before it are finished first.
    let first = bench.batcher.poll().unwrap();
    assert_eq!(first.processor, Processor::Gpu);
    bench.check(&first);
    assert_eq!(bench.drain(), [Processor::Gpu, Processor::Cpu]);
    assert_eq!(bench.checked, 450 * FRAME_LEN);
    assert_eq!(bench.batcher.counts(), Counts { cpu: 1, gpu: 2, fallbacks: 0 });
}

#[test]
fn nothing_grows_without_bound() {
    let mut bench = Bench::new(200, 1_000, costs(CPU, GPU), Script::default());
    let mut taken = 0;
    while bench.batcher.push(&bench.frame(taken)).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 800, "three batches in flight, and one that is full");
    assert_eq!(bench.batcher.push(&bench.frame(taken)), Err(Full));
    bench.script.lock().unwrap().ready = 1;
    let done = bench.batcher.poll().unwrap();
    bench.check(&done);
    bench.batcher.push(&bench.frame(taken)).unwrap();
    assert_eq!(bench.drain(), [Processor::Gpu, Processor::Gpu, Processor::Gpu, Processor::Cpu]);
    assert_eq!(bench.script.lock().unwrap().largest_flight, 3);
}

#[test]
fn what_the_accelerator_fails_at_is_done_on_the_processor_in_order() {
    for (submissions, results, gpu) in
        [(None, Some(0), 0), (None, Some(1), 1), (Some(0), None, 0), (Some(2), None, 2)]
    {
        let script = Script { submissions, results, ..Script::default() };
        let mut bench = Bench::new(200, 1_000, costs(CPU, GPU), script);
        for index in 0..600 {
            bench.batcher.push(&bench.frame(index)).unwrap();
        }
        let processors = bench.drain();
        assert_eq!(bench.checked, 600 * FRAME_LEN);
        assert_eq!(processors.iter().filter(|on| **on == Processor::Gpu).count(), gpu);
        let counts = bench.batcher.counts();
        assert_eq!((counts.gpu, counts.gpu + counts.cpu + counts.fallbacks), (gpu as u64, 3), "{counts:?}");
        assert!(counts.fallbacks >= 1);
        assert_eq!(bench.batcher.costs().gpu, None, "it is not asked again");
    }
}

#[test]
fn costs_follow_what_is_measured() {
    // The GPU is believed to be far faster than it is: the fake takes 1,000 ns and 1 ns a frame.
    let believed = Line { start: 10.0, frame: 0.01 };
    let mut bench = Bench::new(20, 1_000, costs(CPU, believed), Script::default());
    for index in 0..1_000 {
        bench.batcher.push(&bench.frame(index)).unwrap();
        if index % 20 == 19 {
            let done = bench.batcher.drain().unwrap();
            bench.check(&done);
        }
    }
    // 20 frames take the processor 200 ns and the GPU 1,020.
    let now = bench.batcher.costs();
    assert!(now.gpu.unwrap().start > believed.start, "{now:?}");
    assert_eq!(now.faster(20), Processor::Cpu, "{now:?}");
    assert!(bench.batcher.counts().gpu >= 1 && bench.batcher.counts().cpu >= 1);
}

#[test]
fn measuring_finds_the_lines() {
    let clock = Clock::default();
    let plan = RECIPE.plan(3_000, 64);
    let mut fake = Fake {
        plan: plan.clone(),
        clock: clock.clone(),
        took: GPU,
        script: Arc::default(),
        progress: plan.beginning(),
        in_flight: VecDeque::new(),
    };
    let sample = RECIPE.batch();
    let mut read = || clock.now();
    let costs = Costs::measure(&plan, Some(&mut fake), &sample, 3, &mut read).unwrap();
    // The processor's own work takes none of the synthetic time.
    assert_eq!(costs, Costs { cpu: Line { start: 0.0, frame: 0.0 }, gpu: Some(GPU) });
    fake.script.lock().unwrap().results = Some(0);
    assert_eq!(Costs::measure(&plan, Some(&mut fake), &sample, 3, &mut read).unwrap().gpu, None);
    assert_eq!(Costs::measure(&plan, None, &[], 3, &mut read), Err(BatchError::Length(0)));
}

#[test]
fn a_batch_has_a_size() {
    for frames in [0, FRAMES_MAX + 1, usize::MAX] {
        let limits = BatchLimits { frames, deadline_ns: 0 };
        let costs = Costs { cpu: CPU, gpu: None };
        assert!(Batcher::new(RECIPE.plan(1, 1), limits, costs, || 0, None).is_err());
    }
}
