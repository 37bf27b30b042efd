//! What a message costs in a batch of 64-byte frames, on the processor and on the GPU, by the size of the batch.
//!
//! The GPU's row needs `--features gpu` and a GPU; a software adapter takes `NAUTILUS_GPU_SOFTWARE=1` and is labelled
//! so, since its figures say nothing of any GPU. Both must give the same result, or nothing is reported.

mod session;

use nautilus_benches::{Contest, Figures, Goal, Peer, Report, Unit, timed};
use nautilus_hardware::frames::{FRAME_LEN, Lane, Outcome, Plan, process};
use nautilus_messages::frame::Frames;
use nautilus_types::InstrumentId;

use session::Session;

const ROUNDS: usize = 15;
const SIZES: [usize; 6] = [64, 512, 4_096, 16_384, 65_536, 131_072];
/// A fiftieth of what the ES session trades in a bucket, in billionths.
const BUCKET_VOLUME: u64 = 200_000_000_000;

/// The GPU, where the build and the machine have one.
#[cfg(feature = "gpu")]
mod gpu {
    use super::{Outcome, Plan};
    use nautilus_hardware::backends::gpu::{AdapterKind, Gpu};
    use nautilus_hardware::frames::{Accelerator as _, GpuFrames};

    pub(crate) struct Other {
        frames: GpuFrames,
        name: String,
    }

    impl Other {
        pub(crate) fn open(plan: &Plan) -> Result<Self, String> {
            let frames =
                GpuFrames::new(&Gpu::shared()?, plan.clone()).map_err(|failure| failure.to_string())?;
            let adapter = frames.adapter();
            let warning =
                if adapter.kind == AdapterKind::Software { ", software: never a speed figure" } else { "" };
            let name = format!("{adapter}, transfer {:?}{warning}", adapter.transfer);
            Ok(Self { frames, name })
        }

        pub(crate) fn name(&self) -> String {
            self.name.clone()
        }

        pub(crate) fn process(&mut self, plan: &Plan, batch: &[u8]) -> Outcome {
            self.frames.submit(Some(&plan.beginning()), batch).expect("the GPU takes a batch");
            self.frames.collect(true).expect("a batch is in flight").expect("the GPU answers")
        }
    }
}

/// A build without GPU support.
#[cfg(not(feature = "gpu"))]
mod gpu {
    use super::{Outcome, Plan};

    pub(crate) enum Other {}

    impl Other {
        pub(crate) fn open(_: &Plan) -> Result<Self, String> {
            Err("this build has no GPU support: add --features gpu".to_owned())
        }

        pub(crate) fn name(&self) -> String {
            match *self {}
        }

        pub(crate) fn process(&mut self, _: &Plan, _: &[u8]) -> Outcome {
            match *self {}
        }
    }
}

/// The session's 64-byte frames, over and over, `count` of them.
fn batch(session: &Session, count: usize) -> Vec<u8> {
    let short: Vec<&[u8]> = Frames::new(&session.frames)
        .map(|frame| frame.expect("a legal frame").as_bytes())
        .filter(|bytes| bytes.len() == FRAME_LEN)
        .collect();
    short.iter().cycle().take(count).copied().flatten().copied().collect()
}

/// Nanoseconds per message of the processor and, where there is one, of the GPU.
fn measure(plan: &Plan, batch: &[u8], other: Option<&mut gpu::Other>) -> Vec<Figures> {
    let on_cpu = || process(plan, &plan.beginning(), batch).expect("a batch");
    let mut contest = Contest::new("frame_batches", batch.len() / FRAME_LEN).enter("cpu", || timed(on_cpu));
    if let Some(other) = other {
        assert_eq!(other.process(plan, batch), on_cpu(), "the GPU says something else");
        contest = contest.enter("gpu", || timed(|| other.process(plan, batch)));
    }
    contest.race(ROUNDS)
}

fn main() {
    let Some(mut report) = Report::begin("frame_batches") else { return };
    let session = Session::load();
    let instrument = Frames::new(&session.frames)
        .next()
        .map_or(InstrumentId::NONE, |frame| frame.expect("a legal frame").header().instrument());
    let plan = Plan::new(vec![Lane { instrument, bucket_volume: BUCKET_VOLUME }], 1024).expect("one lane");
    let mut other = gpu::Other::open(&plan);
    for size in SIZES {
        let figures = measure(&plan, &batch(&session, size), other.as_mut().ok());
        let peer = figures.get(1).map_or(Peer::None, |gpu| Peer::Here("GPU", gpu));
        let measured = format!("decode, route, reduce, per message of {size}");
        report.row(&measured, Unit::Nanoseconds, &figures[0], peer, Goal::None);
    }
    let about = other.as_ref().map_or_else(String::clone, gpu::Other::name);
    report.note(&format!("{}, one instrument. GPU: {about}.", session.name));
}
