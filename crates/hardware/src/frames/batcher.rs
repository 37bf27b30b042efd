//! Collects frames into batches and sends each to the processor or the GPU, whichever is faster for its size.
//!
//! A batch is closed when it is full or when its first frame has waited for the deadline. It goes to the GPU where the
//! measured costs say so, up to as many at once as fit in flight; a batch for the processor waits for those before it,
//! for results come in order and each begins with the buckets that the one before left. What the GPU fails at is done
//! again on the processor, once and for all batches in flight. Nothing here reads a clock but the one it is given, and
//! nothing grows: when everything is full, frames are refused until a result is taken.

use std::collections::VecDeque;
use std::fmt;

use super::{BatchError, FRAME_LEN, FRAMES_MAX, Outcome, Plan, Progress, frames_in, process};
use crate::backend::Failure;

/// Something beside the processor that works on batches, in the order of submission.
pub trait Accelerator: Send + fmt::Debug {
    /// Batches in flight at most.
    fn capacity(&self) -> usize;

    /// Starts a batch. Its buckets begin with `progress`, or where the batch before leaves them.
    ///
    /// # Errors
    /// It cannot; no batch was started.
    fn submit(&mut self, progress: Option<&[Progress]>, frames: &[u8]) -> Result<(), Failure>;

    /// The result of the oldest batch in flight; with `wait` it is waited for. Absent when it is not there yet.
    fn collect(&mut self, wait: bool) -> Option<Result<Outcome, Failure>>;

    /// Forgets everything in flight.
    fn abandon(&mut self);
}

/// Where a batch was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Processor {
    /// The calling thread.
    Cpu,
    /// The accelerator.
    Gpu,
}

/// When a batch is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Frames of a full batch.
    pub frames: usize,
    /// How long the first frame waits for others, in nanoseconds.
    pub deadline_ns: u64,
}

/// What n frames cost: `start` + n · `frame`, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Whatever the size.
    pub start: f64,
    /// Each frame.
    pub frame: f64,
}

impl Line {
    /// Through two measured batches of different sizes, as (frames, nanoseconds).
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn through((few, short): (usize, f64), (many, long): (usize, f64)) -> Self {
        let frame = ((long - short) / (many as f64 - few as f64).max(1.0)).max(0.0);
        Self { start: (short - frame * few as f64).max(0.0), frame }
    }

    #[allow(clippy::cast_precision_loss)]
    fn of(&self, frames: usize) -> f64 {
        self.start + self.frame * frames as f64
    }

    /// Moves the line an eighth of the way to a measurement, by the same factor at every size. One pause of the whole
    /// machine does not count for more than 64 times what was expected.
    fn correct(&mut self, frames: usize, took_ns: f64) {
        let ratio = (took_ns / self.of(frames).max(1.0)).min(64.0);
        let factor = 1.0 + (ratio - 1.0) / 8.0;
        self.start *= factor;
        self.frame *= factor;
    }
}

/// Measured costs of both; absent for a GPU that is not used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// On the calling thread.
    pub cpu: Line,
    /// From submission to result.
    pub gpu: Option<Line>,
}

impl Costs {
    /// Measures both on `sample`, frames like those that are expected: on a sixteenth of it and on the whole, the
    /// fastest of `rounds` each. An accelerator that fails has no costs.
    ///
    /// # Errors
    /// The sample is no batch.
    pub fn measure(
        plan: &Plan,
        accelerator: Option<&mut dyn Accelerator>,
        sample: &[u8],
        rounds: usize,
        clock: &mut dyn FnMut() -> u64,
    ) -> Result<Self, BatchError> {
        let many = frames_in(sample)?;
        let few = many.div_ceil(16);
        let begin = plan.beginning();
        let mut fastest = |frames: usize, run: &mut dyn FnMut(&[u8]) -> bool| {
            let mut best = f64::INFINITY;
            for _ in 0..rounds.max(1) {
                let started = clock();
                if !run(&sample[..frames * FRAME_LEN]) {
                    return None;
                }
                best = best.min(nanoseconds(started, clock()));
            }
            Some((frames, best))
        };
        let mut line =
            |run: &mut dyn FnMut(&[u8]) -> bool| Some(Line::through(fastest(few, run)?, fastest(many, run)?));
        let cpu = line(&mut |frames| process(plan, &begin, frames).is_ok()).ok_or(BatchError::Progress)?;
        let gpu = accelerator.and_then(|gpu| {
            line(&mut |frames| {
                gpu.submit(Some(&begin), frames).is_ok() && matches!(gpu.collect(true), Some(Ok(_)))
            })
        });
        Ok(Self { cpu, gpu })
    }

    /// The faster one for a batch of `frames`; the processor where they are equal.
    #[must_use]
    pub fn faster(&self, frames: usize) -> Processor {
        let gpu_is = self.gpu.is_some_and(|gpu| gpu.of(frames) < self.cpu.of(frames));
        if gpu_is { Processor::Gpu } else { Processor::Cpu }
    }

    /// The smallest batch from which on the GPU is faster, if there is one.
    #[must_use]
    pub fn break_even(&self) -> Option<usize> {
        if self.faster(FRAMES_MAX) == Processor::Cpu {
            return None;
        }
        let (mut slower, mut faster) = (0, FRAMES_MAX);
        while faster - slower > 1 {
            let middle = usize::midpoint(slower, faster);
            *(if self.faster(middle) == Processor::Gpu { &mut faster } else { &mut slower }) = middle;
        }
        Some(faster)
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Batches done on the calling thread because it is faster there.
    pub cpu: u64,
    /// Batches done on the accelerator.
    pub gpu: u64,
    /// Batches done on the calling thread because the accelerator failed.
    pub fallbacks: u64,
}

/// A batch that is done.
#[derive(Debug)]
pub struct Done {
    /// Its frames.
    pub frames: Vec<u8>,
    /// What they say.
    pub outcome: Outcome,
    /// Where it was worked on.
    pub processor: Processor,
}

/// Every place for a batch is taken: take a result first. The frame was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("every place for a batch is taken: take a result with `poll` first, then give the frame again")]
pub struct Full;

/// See the module.
pub struct Batcher<'a> {
    plan: Plan,
    progress: Vec<Progress>,
    limits: BatchLimits,
    costs: Costs,
    clock: Box<dyn FnMut() -> u64 + Send + 'a>,
    accelerator: Option<Box<dyn Accelerator + 'a>>,
    /// Batches that may be in flight or wait to be taken.
    places: usize,
    collecting: Vec<u8>,
    /// When the first frame of the batch came.
    opened: Option<u64>,
    /// Submitted to the accelerator, with the time.
    in_flight: VecDeque<(Vec<u8>, u64)>,
    done: VecDeque<Done>,
    counts: Counts,
}

impl fmt::Debug for Batcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("limits", &self.limits)
            .field("costs", &self.costs)
            .field("collecting", &(self.collecting.len() / FRAME_LEN))
            .field("in_flight", &self.in_flight.len())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl<'a> Batcher<'a> {
    /// Without an accelerator everything is done on the calling thread. `clock` counts nanoseconds.
    ///
    /// # Errors
    /// A batch would hold no frames, or more than [`FRAMES_MAX`].
    pub fn new(
        plan: Plan,
        limits: BatchLimits,
        costs: Costs,
        clock: impl FnMut() -> u64 + Send + 'a,
        accelerator: Option<Box<dyn Accelerator + 'a>>,
    ) -> Result<Self, BatchError> {
        if !(1..=FRAMES_MAX).contains(&limits.frames) {
            return Err(BatchError::Length(limits.frames.saturating_mul(FRAME_LEN)));
        }
        Ok(Self {
            progress: plan.beginning(),
            plan,
            limits,
            clock: Box::new(clock),
            costs: Costs { gpu: costs.gpu.filter(|_| accelerator.is_some()), ..costs },
            places: accelerator.as_ref().map_or(1, |accelerator| accelerator.capacity().max(1)),
            accelerator,
            collecting: Vec::with_capacity(limits.frames * FRAME_LEN),
            opened: None,
            in_flight: VecDeque::new(),
            done: VecDeque::new(),
            counts: Counts::default(),
        })
    }

    /// Adds a frame; a batch that it fills is started.
    ///
    /// # Errors
    /// [`Full`]: results have to be taken first.
    pub fn push(&mut self, frame: &[u8; FRAME_LEN]) -> Result<(), Full> {
        if self.collecting.len() >= self.limits.frames * FRAME_LEN {
            self.close()?;
        }
        if self.collecting.is_empty() {
            self.opened = Some((self.clock)());
        }
        self.collecting.extend_from_slice(frame);
        if self.collecting.len() == self.limits.frames * FRAME_LEN {
            // A full batch that finds no place waits here; the next frame is refused then.
            let _ = self.close();
        }
        Ok(())
    }

    /// When the batch that is being collected is due, by the clock.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.opened.map(|opened| opened.saturating_add(self.limits.deadline_ns))
    }

    /// Starts the batch that is due, and returns the next result if it is there. To be called when a frame was pushed
    /// and at [`Batcher::due`].
    pub fn poll(&mut self) -> Option<Done> {
        self.collect(false);
        if self.due().is_some_and(|due| (self.clock)() >= due) {
            let _ = self.close();
        }
        self.done.pop_front()
    }

    /// Starts whatever was collected and returns the next result, waiting for it; absent when everything is done.
    pub fn drain(&mut self) -> Option<Done> {
        while self.done.is_empty() {
            if self.in_flight.is_empty() {
                if self.collecting.is_empty() {
                    return None;
                }
                let _ = self.close();
            } else {
                self.collect(true);
            }
        }
        self.done.pop_front()
    }

    /// Costs as corrected by every batch that was done.
    #[must_use]
    pub fn costs(&self) -> Costs {
        self.costs
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn close(&mut self) -> Result<(), Full> {
        if self.collecting.is_empty() {
            return Ok(());
        }
        if self.in_flight.len() + self.done.len() >= self.places {
            return Err(Full);
        }
        let room = Vec::with_capacity(self.limits.frames * FRAME_LEN);
        let frames = std::mem::replace(&mut self.collecting, room);
        self.opened = None;
        match self.costs.faster(frames.len() / FRAME_LEN) {
            Processor::Cpu => {
                self.finish_flight();
                self.on_cpu(frames, false);
            }
            Processor::Gpu => {
                if let Err(frames) = self.submit(frames) {
                    self.on_cpu(frames, true);
                }
            }
        }
        Ok(())
    }

    /// The batch comes back if the accelerator does not take it.
    fn submit(&mut self, frames: Vec<u8>) -> Result<(), Vec<u8>> {
        let started = (self.clock)();
        let Some(accelerator) = &mut self.accelerator else { return Err(frames) };
        let progress = self.in_flight.is_empty().then_some(&*self.progress);
        match accelerator.submit(progress, &frames) {
            Ok(()) => {
                self.in_flight.push_back((frames, started));
                Ok(())
            }
            Err(failure) => {
                self.finish_flight();
                self.give_up(&failure);
                Err(frames)
            }
        }
    }

    fn finish_flight(&mut self) {
        while !self.in_flight.is_empty() {
            self.collect(true);
        }
    }

    /// Takes results from the accelerator: those that are there, or with `wait` one that is waited for.
    fn collect(&mut self, wait: bool) {
        while !self.in_flight.is_empty() {
            let Some(accelerator) = &mut self.accelerator else { return };
            match accelerator.collect(wait) {
                None => return,
                Some(Ok(outcome)) => self.take(outcome),
                Some(Err(failure)) => self.give_up(&failure),
            }
            if wait {
                return;
            }
        }
    }

    fn take(&mut self, outcome: Outcome) {
        let Some((frames, started)) = self.in_flight.pop_front() else { return };
        // Behind other batches it waited too, which says nothing of its cost.
        if let Some(line) = self.costs.gpu.as_mut().filter(|_| self.in_flight.is_empty()) {
            line.correct(frames.len() / FRAME_LEN, nanoseconds(started, (self.clock)()));
        }
        self.counts.gpu += 1;
        self.finished(frames, outcome, Processor::Gpu);
    }

    /// The accelerator is not used again; what it had is done here, in order.
    fn give_up(&mut self, failure: &Failure) {
        tracing::warn!(%failure, "frame batches go on without the GPU");
        if let Some(mut accelerator) = self.accelerator.take() {
            accelerator.abandon();
        }
        self.costs.gpu = None;
        for (frames, _) in std::mem::take(&mut self.in_flight) {
            self.on_cpu(frames, true);
        }
    }

    fn on_cpu(&mut self, frames: Vec<u8>, instead: bool) {
        let started = (self.clock)();
        let outcome = process(&self.plan, &self.progress, &frames)
            .expect("batches are whole frames within bounds, and the progress is that of the plan");
        self.costs.cpu.correct(frames.len() / FRAME_LEN, nanoseconds(started, (self.clock)()));
        *(if instead { &mut self.counts.fallbacks } else { &mut self.counts.cpu }) += 1;
        self.finished(frames, outcome, Processor::Cpu);
    }

    fn finished(&mut self, frames: Vec<u8>, outcome: Outcome, processor: Processor) {
        self.progress.clear();
        self.progress.extend(outcome.lanes.iter().map(|lane| lane.progress));
        self.done.push_back(Done { frames, outcome, processor });
    }
}

#[allow(clippy::cast_precision_loss)]
fn nanoseconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64
}
