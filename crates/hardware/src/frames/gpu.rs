//! A batch of frames on the GPU: the shader set of `batch.wgsl`, with several batches in flight.
//!
//! The buckets in progress stay on the GPU from one batch to the next, so a batch can be submitted before the one in
//! front of it is done. Results come back in the order of submission, and after a fault nothing does.

use std::collections::VecDeque;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::{Accelerator, Bucket, FRAME_LEN, LaneOutcome, Outcome, Plan, Progress, Refusal};
use crate::backend::Failure;
use crate::backends::gpu::{Adapter, Binding, Device, Fault, Gpu, Lease, Pending, Pipelines, Role};

const SOURCE: &str = include_str!("batch.wgsl");
const STAGES: [&str; 5] = ["classify", "scan_tiles", "scan_groups", "place", "reduce"];
const BINDINGS: [Binding; 8] = [
    Binding::Uniform,
    Binding::Input,
    Binding::Input,
    Binding::Output,
    Binding::Output,
    Binding::Output,
    Binding::Output,
    Binding::Output,
];
/// Frames in a tile; as in the shader.
const TILE: usize = 256;
/// Words of a lane's result before its buckets, and of a bucket; as in the shader.
const LANE_WORDS: usize = 9;
const BUCKET_WORDS: usize = 4;
/// Words of volume, bought and sold.
const SUMS_WORDS: usize = 6;
/// Batches in flight at most: a second one hides the transfers of the first, a third the processor's pauses.
const IN_FLIGHT_MAX: usize = 3;

/// The GPU as a processor of frame batches.
#[derive(Debug)]
pub struct GpuFrames {
    device: Arc<Device>,
    pipelines: Pipelines<5>,
    plan: Plan,
    lanes: Lease,
    progress: Lease,
    in_flight: VecDeque<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    frames: usize,
    pending: Pending,
    leases: [Lease; 5],
}

/// Where in the output words each part begins.
#[derive(Debug, Clone, Copy)]
struct Layout {
    order: usize,
    offsets: usize,
    lanes: usize,
    end: usize,
}

impl Layout {
    fn of(frames: usize, plan: &Plan) -> Self {
        let order = frames;
        let offsets = order + frames;
        let lanes = offsets + plan.lanes().len() + 3;
        let end = lanes + plan.lanes().len() * (LANE_WORDS + BUCKET_WORDS * plan.buckets_max());
        Self { order, offsets, lanes, end }
    }
}

impl GpuFrames {
    /// Compiles the shaders for `gpu` and lays the plan's lanes out there, with no bucket begun.
    ///
    /// # Errors
    /// In one sentence, what the GPU cannot do.
    pub fn new(gpu: &Gpu, plan: Plan) -> Result<Self, Failure> {
        let device = Arc::clone(gpu.device());
        let ready = || {
            let pipelines = device.pipelines(SOURCE, &BINDINGS, STAGES)?;
            let words: Vec<[u32; 4]> = plan
                .lanes()
                .iter()
                .map(|lane| {
                    let [low, high] = halves(lane.bucket_volume);
                    [lane.instrument.0, low, high, 0]
                })
                .collect();
            device.guarded(|| {
                let bytes = size_of_val(words.as_slice()).max(size_of::<[u32; 4]>());
                let lanes = device.input("the lanes", bytes, |write| write(0, words.as_bytes()))?;
                let progress =
                    device.lease(Role::Scratch, "the buckets in progress", progress_bytes(&plan))?;
                Ok((pipelines, lanes, progress))
            })
        };
        let (pipelines, lanes, progress) = ready().map_err(broken)?;
        let frames = Self { device, pipelines, plan, lanes, progress, in_flight: VecDeque::new() };
        frames.begin(&frames.plan.beginning());
        Ok(frames)
    }

    /// The adapter that runs the shaders.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        self.device.adapter()
    }

    /// Sets the buckets in progress for the batch that is submitted next.
    fn begin(&self, progress: &[Progress]) {
        let words: Vec<u64> =
            progress.iter().flat_map(|begun| [begun.volume, begun.bought, begun.sold]).collect();
        if !words.is_empty() {
            self.device.overwrite(&self.progress, words.as_bytes());
        }
    }

    fn start(&self, frames: &[u8]) -> Result<InFlight, Fault> {
        let device = &*self.device;
        let count = frames.len() / FRAME_LEN;
        let (tiles, groups) = (count.div_ceil(TILE), self.plan.lanes().len() + 2);
        let layout = Layout::of(count, &self.plan);
        let scratch = |what, words: usize| device.lease(Role::Scratch, what, words as u64 * 4);
        let words = device.input("the frames", frames.len(), |write| write(0, frames))?;
        let counts = scratch("the counts of the tiles", groups * tiles)?;
        let group_of = scratch("the groups of the frames", count)?;
        let sums = scratch("the sums of the lanes", count * SUMS_WORDS)?;
        let output = device.lease(Role::Output, "the result", layout.end as u64 * 4)?;
        let params = [
            count,
            self.plan.lanes().len(),
            tiles,
            self.plan.buckets_max(),
            layout.order,
            layout.offsets,
            layout.lanes,
            0,
        ];
        let params = device.uniform(&params.map(word))?;
        let mut encoder = device.encoder();
        encoder.clear_buffer(&counts.buffer, 0, Some((groups * tiles) as u64 * 4));
        let (lanes, progress) = (&self.lanes.buffer, &self.progress.buffer);
        let buffers = [
            &params.buffer,
            &words.buffer,
            lanes,
            progress,
            &counts.buffer,
            &group_of.buffer,
            &sums.buffer,
            &output.buffer,
        ];
        let line = |workgroups| [word(workgroups), 1, 1];
        let workgroups = [line(tiles), line(groups), line(1), line(tiles), line(self.plan.lanes().len())];
        self.pipelines.record(device, &mut encoder, &buffers, workgroups);
        let pending = device.submit(encoder, output)?;
        Ok(InFlight { frames: count, pending, leases: [params, words, counts, group_of, sums] })
    }

    fn finish(&self, batch: InFlight) -> Result<Outcome, Fault> {
        let InFlight { frames, pending, leases } = batch;
        self.device.guarded(|| self.device.wait_for(&pending))?;
        self.device.give_back(leases);
        let outcome = self.device.read(pending, |bytes| self.outcome(frames, bytes))?;
        if outcome.is_consistent(&self.plan, frames) {
            return Ok(outcome);
        }
        Err(Fault::Refused("its result contradicts itself: update its driver, or leave it out".to_owned()))
    }

    fn outcome(&self, frames: usize, bytes: &[u8]) -> Outcome {
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let layout = Layout::of(frames, &self.plan);
        let lane_words = LANE_WORDS + BUCKET_WORDS * self.plan.buckets_max();
        Outcome {
            refusals: words[..layout.order].iter().map(|code| Refusal::from_code(*code)).collect(),
            order: words[layout.order..layout.offsets].to_vec(),
            offsets: words[layout.offsets..layout.lanes].to_vec(),
            lanes: words[layout.lanes..layout.end].chunks_exact(lane_words).map(lane_outcome).collect(),
        }
    }
}

fn lane_outcome(words: &[u32]) -> LaneOutcome {
    let wide = |at: usize| u64::from(words[at]) | u64::from(words[at + 1]) << 32;
    let buckets = words[LANE_WORDS..].chunks_exact(BUCKET_WORDS).take(words[1] as usize).map(|bucket| {
        let wide = |at: usize| u64::from(bucket[at]) | u64::from(bucket[at + 1]) << 32;
        Bucket { bought: wide(0), sold: wide(2) }
    });
    LaneOutcome {
        last_quote: words[2].checked_sub(1),
        buckets: (words[0] == 0).then(|| buckets.collect()),
        progress: Progress { volume: wide(3), bought: wide(5), sold: wide(7) },
    }
}

impl Accelerator for GpuFrames {
    fn capacity(&self) -> usize {
        IN_FLIGHT_MAX
    }

    fn submit(&mut self, progress: Option<&[Progress]>, frames: &[u8]) -> Result<(), Failure> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return Err(Failure::Broken(format!("{IN_FLIGHT_MAX} batches are in flight: collect one first")));
        }
        super::frames_in(frames).map_err(|error| Failure::Broken(error.to_string()))?;
        if let Some(progress) = progress {
            if !self.in_flight.is_empty() {
                return Err(Failure::Broken("the batches in flight say what is in progress".to_owned()));
            }
            self.plan.check(progress, frames).map_err(|error| Failure::Broken(error.to_string()))?;
        }
        let batch = self
            .device
            .guarded(|| {
                if let Some(progress) = progress {
                    self.begin(progress);
                }
                self.start(frames)
            })
            .map_err(broken)?;
        self.in_flight.push_back(batch);
        Ok(())
    }

    fn collect(&mut self, wait: bool) -> Option<Result<Outcome, Failure>> {
        let first = self.in_flight.front()?;
        if !wait {
            match self.device.look() {
                Ok(()) if !first.pending.is_ready() => return None,
                _ => {}
            }
        }
        let batch = self.in_flight.pop_front()?;
        let outcome = self.finish(batch);
        if outcome.is_err() {
            self.abandon();
        }
        Some(outcome.map_err(broken))
    }

    fn abandon(&mut self) {
        self.in_flight.clear();
    }
}

fn progress_bytes(plan: &Plan) -> u64 {
    (plan.lanes().len().max(1) * SUMS_WORDS * 4) as u64
}

fn halves(value: u64) -> [u32; 2] {
    let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    [low, u32::try_from(value >> 32).unwrap_or(u32::MAX)]
}

/// Sizes of a batch: all of them are far below 2^32, by the maxima of plans and batches.
fn word(size: usize) -> u32 {
    u32::try_from(size).expect("a batch has few enough frames, lanes and buckets")
}

#[allow(clippy::needless_pass_by_value)]
fn broken(fault: Fault) -> Failure {
    Failure::Broken(fault.to_string())
}
