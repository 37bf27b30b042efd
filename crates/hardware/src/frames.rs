//! Batches of market frames: decoded and validated, routed by instrument, reduced to volume buckets and best quotes.
//!
//! A batch is contiguous 64-byte frames of [`nautilus_messages::frame`]. All arithmetic is on integers, so the
//! processor's result (`cpu`) and the GPU's (`gpu`, with the feature of that name) are equal bit for bit. The
//! [`Batcher`] collects frames until a batch is full or due and sends it to whichever is faster for its size.
//!
//! Volume buckets follow Easley, López de Prado and O'Hara (2012), "Flow Toxicity and Liquidity in a High-Frequency
//! World": trades fill buckets of one volume in the order of their frames, and a trade that reaches over the end of a
//! bucket is split. Volume is bought or sold by the frame's aggressor; what has none is neither (the estimator counts
//! it half and half). Nothing here computes the estimator itself.

mod batcher;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;

use nautilus_messages::frame::{FrameError, SHORT_LEN};
use nautilus_types::InstrumentId;

pub use batcher::{Accelerator, BatchLimits, Batcher, Costs, Counts, Done, Full, Line, Processor};
pub use cpu::process;
#[cfg(feature = "gpu")]
pub use gpu::GpuFrames;

/// Bytes of a frame in a batch.
pub const FRAME_LEN: usize = SHORT_LEN;
/// Frames in a batch at most.
pub const FRAMES_MAX: usize = 1 << 17;
/// Lanes of a plan at most.
pub const LANES_MAX: usize = 4096;
/// Buckets that one lane may complete in one batch at most.
pub const BUCKETS_MAX: usize = 1024;

/// Why a frame of a batch is refused: what [`FrameError`] says, as a number that a shader can say too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// A first byte that names no kind.
    UnknownKind = 1,
    /// A layout of another version.
    UnknownVersion = 2,
    /// A kind that takes more than 64 bytes.
    Truncated = 3,
    /// A byte outside its enumeration.
    Enumeration = 4,
    /// A flag that this build does not know.
    Flag = 5,
    /// A trade without a positive quantity.
    TradeQuantity = 6,
    /// A trade without a price.
    TradePrice = 7,
    /// A quote whose bid quantity is negative, or there without a bid.
    BidQuantity = 8,
    /// A quote whose ask quantity is negative, or there without an ask.
    AskQuantity = 9,
    /// An order change without a side.
    OrderSide = 10,
    /// An order change of a negative quantity.
    OrderQuantity = 11,
    /// An added order without a price.
    OrderPrice = 12,
    /// A level change of a negative quantity.
    LevelQuantity = 13,
    /// A level change without a side that has a quantity.
    LevelSide = 14,
    /// A gap that ends before it begins.
    GapRange = 15,
    /// Refused by the decoder for a reason that this build has no number for.
    Other = 255,
}

impl Refusal {
    /// The reasons of a field, as the decoder names kind and field.
    const FIELDS: [(&'static str, &'static str, Self); 10] = [
        ("trade", "quantity", Self::TradeQuantity),
        ("trade", "price", Self::TradePrice),
        ("quote", "bid quantity", Self::BidQuantity),
        ("quote", "ask quantity", Self::AskQuantity),
        ("order_change", "side", Self::OrderSide),
        ("order_change", "quantity", Self::OrderQuantity),
        ("order_change", "price", Self::OrderPrice),
        ("level_change", "quantity", Self::LevelQuantity),
        ("level_change", "side", Self::LevelSide),
        ("gap", "range", Self::GapRange),
    ];

    /// The number of what the decoder says.
    #[must_use]
    pub fn of(error: &FrameError) -> Self {
        match error {
            FrameError::UnknownKind(_) => Self::UnknownKind,
            FrameError::UnknownVersion(_) => Self::UnknownVersion,
            FrameError::Truncated { .. } => Self::Truncated,
            FrameError::Illegal { field: "enumeration value", .. } => Self::Enumeration,
            FrameError::Illegal { field: "flag", .. } => Self::Flag,
            FrameError::Illegal { kind, field } => {
                // Behind the colon stands what is wrong with it.
                let name = field.split(':').next().unwrap_or_default();
                let known = Self::FIELDS.iter().find(|(of, at, _)| of == kind && *at == name);
                known.map_or(Self::Other, |(_, _, refusal)| *refusal)
            }
        }
    }

    /// The refusal with this number; absent for 0, which says that a frame is legal.
    #[cfg(feature = "gpu")]
    fn from_code(code: u32) -> Option<Self> {
        const CODES: [Refusal; 15] = {
            use Refusal::{
                AskQuantity, BidQuantity, Enumeration, Flag, GapRange, LevelQuantity, LevelSide, OrderPrice,
                OrderQuantity, OrderSide, TradePrice, TradeQuantity, Truncated, UnknownKind, UnknownVersion,
            };
            [
                UnknownKind,
                UnknownVersion,
                Truncated,
                Enumeration,
                Flag,
                TradeQuantity,
                TradePrice,
                BidQuantity,
                AskQuantity,
                OrderSide,
                OrderQuantity,
                OrderPrice,
                LevelQuantity,
                LevelSide,
                GapRange,
            ]
        };
        let index = usize::try_from(code).ok()?.checked_sub(1)?;
        Some(CODES.get(index).copied().unwrap_or(Self::Other))
    }
}

/// An instrument whose frames are routed and reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// Whose frames.
    pub instrument: InstrumentId,
    /// What a bucket takes, in billionths; at least 1.
    pub bucket_volume: u64,
}

/// Why a batch or a plan cannot be worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Too many lanes or buckets, or a lane that means nothing.
    #[error("{0}")]
    Plan(String),
    /// Bytes that are no whole number of frames, none at all, or too many.
    #[error("{0} bytes are no batch: give 1 to {FRAMES_MAX} frames of {FRAME_LEN} bytes")]
    Length(usize),
    /// Buckets in progress that do not belong to the plan.
    #[error(
        "the buckets in progress do not fit the plan: there is one for each lane, less full than its bucket"
    )]
    Progress,
}

/// Which instruments a batch is routed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    lanes: Vec<Lane>,
    buckets_max: usize,
}

impl Plan {
    /// Lanes by instrument, and how many buckets each may complete in one batch.
    ///
    /// # Errors
    /// Lanes out of order, twice the same, without an instrument or without a volume, or more than the maxima.
    pub fn new(lanes: Vec<Lane>, buckets_max: usize) -> Result<Self, BatchError> {
        let wrong = |sentence: &str| Err(BatchError::Plan(sentence.to_owned()));
        if lanes.len() > LANES_MAX {
            return wrong("a plan has too many lanes: route fewer instruments");
        }
        if !(1..=BUCKETS_MAX).contains(&buckets_max) {
            return wrong("a lane completes 1 to 1024 buckets in a batch");
        }
        if lanes.iter().any(|lane| lane.instrument == InstrumentId::NONE || lane.bucket_volume == 0) {
            return wrong("a lane needs an instrument and a bucket volume above zero");
        }
        if !lanes.is_sorted_by(|one, next| one.instrument < next.instrument) {
            return wrong("lanes stand in the order of their instruments, each once");
        }
        Ok(Self { lanes, buckets_max })
    }

    /// The lanes, by instrument.
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Buckets that a lane may complete in one batch.
    #[must_use]
    pub fn buckets_max(&self) -> usize {
        self.buckets_max
    }

    /// No bucket begun in any lane.
    #[must_use]
    pub fn beginning(&self) -> Vec<Progress> {
        vec![Progress::default(); self.lanes.len()]
    }

    /// Checks what a batch is made of and says how many frames it has.
    fn check(&self, progress: &[Progress], frames: &[u8]) -> Result<usize, BatchError> {
        let fit = self.lanes.iter().zip(progress).all(|(lane, progress)| progress.fits(lane));
        if progress.len() != self.lanes.len() || !fit {
            return Err(BatchError::Progress);
        }
        frames_in(frames)
    }
}

fn frames_in(frames: &[u8]) -> Result<usize, BatchError> {
    let count = frames.len() / FRAME_LEN;
    let legal = frames.len().is_multiple_of(FRAME_LEN) && (1..=FRAMES_MAX).contains(&count);
    if legal { Ok(count) } else { Err(BatchError::Length(frames.len())) }
}

/// The bucket that a lane is filling, in billionths: volume that is neither bought nor sold has no aggressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What it holds so far.
    pub volume: u64,
    /// Bought by takers.
    pub bought: u64,
    /// Sold by takers.
    pub sold: u64,
}

impl Progress {
    /// Whether the lane's bucket can be filled so far.
    fn fits(&self, lane: &Lane) -> bool {
        let classified = self.bought.checked_add(self.sold);
        self.volume < lane.bucket_volume && classified.is_some_and(|sum| sum <= self.volume)
    }
}

/// A full bucket, in billionths. The rest of the lane's bucket volume has no aggressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Bought by takers.
    pub bought: u64,
    /// Sold by takers.
    pub sold: u64,
}

/// What a batch says of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOutcome {
    /// The lane's best quote after the batch: the place in the batch of its last legal quote, if it has one.
    pub last_quote: Option<u32>,
    /// The buckets that were filled, oldest first. Absent when the lane's trades fill more than the plan allows, or
    /// sum to 2^64 − 1 billionths or more: its frames are then to be worked on one by one.
    pub buckets: Option<Vec<Bucket>>,
    /// The bucket in progress; as before the batch where `buckets` is absent.
    pub progress: Progress,
}

/// What a batch holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For each frame, why it is refused.
    pub refusals: Vec<Option<Refusal>>,
    /// The places of the frames, lane after lane, each in the order of the batch; then those of frames without a
    /// lane, then those refused.
    order: Vec<u32>,
    /// Where each of these groups begins in `order`, and the end.
    offsets: Vec<u32>,
    /// What each lane's frames say.
    pub lanes: Vec<LaneOutcome>,
}

impl Outcome {
    /// The places in the batch of the legal frames of lane `lane`, in order.
    ///
    /// # Panics
    /// The plan has fewer lanes.
    #[must_use]
    pub fn of_lane(&self, lane: usize) -> &[u32] {
        assert!(lane < self.lanes.len(), "lane {lane} is not of the plan");
        self.group(lane)
    }

    /// The places of legal frames of instruments that the plan does not name.
    #[must_use]
    pub fn unlisted(&self) -> &[u32] {
        self.group(self.lanes.len())
    }

    /// The places of refused frames.
    #[must_use]
    pub fn refused(&self) -> &[u32] {
        self.group(self.lanes.len() + 1)
    }

    /// Whether a result that came from elsewhere can be relied on where the code relies on it.
    #[cfg(feature = "gpu")]
    fn is_consistent(&self, plan: &Plan, frames: usize) -> bool {
        let ends = (self.offsets.first() == Some(&0), self.offsets.last().map(|end| *end as usize));
        let inside = |place: &u32| (*place as usize) < frames;
        ends == (true, Some(frames))
            && self.offsets.len() == plan.lanes.len() + 3
            && self.offsets.is_sorted()
            && self.order.len() == frames
            && self.order.iter().all(inside)
            && self.lanes.len() == plan.lanes.len()
            && self.lanes.iter().filter_map(|lane| lane.last_quote.as_ref()).all(inside)
            && self.lanes.iter().zip(&plan.lanes).all(|(outcome, lane)| outcome.progress.fits(lane))
    }

    fn group(&self, group: usize) -> &[u32] {
        &self.order[self.offsets[group] as usize..self.offsets[group + 1] as usize]
    }
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;

    #[test]
    fn results_that_contradict_themselves_are_seen() {
        let lane = Lane { instrument: InstrumentId(1), bucket_volume: 5 };
        let plan = Plan::new(vec![lane], 4).unwrap();
        let good = process(&plan, &plan.beginning(), &[0; 3 * FRAME_LEN]).unwrap();
        assert!(good.is_consistent(&plan, 3));
        assert!(!good.is_consistent(&plan, 4));
        let spoiled: [fn(&mut Outcome); 5] = [
            |outcome| outcome.order[1] = 3,
            |outcome| outcome.offsets[1] = 4,
            |outcome| outcome.offsets[3] = 2,
            |outcome| outcome.lanes[0].last_quote = Some(3),
            |outcome| outcome.lanes[0].progress.volume = 5,
        ];
        for spoil in spoiled {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert!(!bad.is_consistent(&plan, 3), "{bad:?}");
        }
    }
}
