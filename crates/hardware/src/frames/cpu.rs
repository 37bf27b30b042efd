//! A batch of frames on the processor, written as it is defined: what the GPU is checked against, and what runs below
//! the break-even.

use nautilus_messages::frame::{FrameRef, Trade, WireSide};

use super::{BatchError, Bucket, FRAME_LEN, Lane, LaneOutcome, Outcome, Plan, Progress, Refusal};

/// Decodes, routes and reduces a batch; `progress` is what the batch before left.
///
/// # Errors
/// The bytes or the progress are not what the plan works on.
pub fn process(plan: &Plan, progress: &[Progress], frames: &[u8]) -> Result<Outcome, BatchError> {
    let count = plan.check(progress, frames)?;
    let mut lanes: Vec<Filling<'_>> =
        plan.lanes().iter().zip(progress).map(|(lane, begun)| Filling::new(lane, *begun, plan)).collect();
    let (unlisted, refused) = (lanes.len(), lanes.len() + 1);
    let (mut refusals, mut groups) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (place, bytes) in (0_u32..).zip(frames.chunks_exact(FRAME_LEN)) {
        let frame = FrameRef::parse(bytes);
        let group = match &frame {
            Err(_) => refused,
            Ok(frame) => {
                let instrument = frame.header().instrument();
                let lane = plan.lanes().binary_search_by_key(&instrument, |lane| lane.instrument);
                lane.unwrap_or(unlisted)
            }
        };
        match (&frame, lanes.get_mut(group)) {
            (Ok(FrameRef::Trade(trade)), Some(lane)) => lane.trade(trade),
            (Ok(FrameRef::Quote(_)), Some(lane)) => lane.last_quote = Some(place),
            _ => {}
        }
        refusals.push(frame.err().map(|error| Refusal::of(&error)));
        groups.push(group);
    }
    let (order, offsets) = sorted(&groups, lanes.len() + 2);
    Ok(Outcome { refusals, order, offsets, lanes: lanes.into_iter().map(Filling::end).collect() })
}

/// The places of `groups` by group, each group in order, and where each group begins.
fn sorted(groups: &[usize], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0_u32; count + 1];
    for &group in groups {
        offsets[group + 1] += 1;
    }
    for group in 0..count {
        offsets[group + 1] += offsets[group];
    }
    let (mut next, mut order) = (offsets.clone(), vec![0; groups.len()]);
    for (place, &group) in (0_u32..).zip(groups) {
        order[next[group] as usize] = place;
        next[group] += 1;
    }
    (order, offsets)
}

/// A lane while the frames of a batch pass.
struct Filling<'a> {
    lane: &'a Lane,
    buckets_max: usize,
    before: Progress,
    progress: Progress,
    buckets: Vec<Bucket>,
    /// Volume of the batch and the bucket that was begun before it.
    total: u128,
    last_quote: Option<u32>,
}

impl<'a> Filling<'a> {
    fn new(lane: &'a Lane, before: Progress, plan: &Plan) -> Self {
        Self {
            lane,
            buckets_max: plan.buckets_max(),
            before,
            progress: before,
            buckets: Vec::new(),
            total: before.volume.into(),
            last_quote: None,
        }
    }

    fn trade(&mut self, trade: &Trade) {
        let mut left = trade.quantity_nanos.get().unsigned_abs();
        self.total += u128::from(left);
        while left > 0 && !self.is_too_much() {
            let part = left.min(self.lane.bucket_volume - self.progress.volume);
            left -= part;
            self.progress.volume += part;
            match trade.aggressor {
                WireSide::Buy => self.progress.bought += part,
                WireSide::Sell => self.progress.sold += part,
                WireSide::None => {}
            }
            if self.progress.volume == self.lane.bucket_volume {
                let Progress { bought, sold, .. } = std::mem::take(&mut self.progress);
                self.buckets.push(Bucket { bought, sold });
            }
        }
    }

    fn is_too_much(&self) -> bool {
        self.buckets.len() > self.buckets_max || self.total >= u128::from(u64::MAX)
    }

    fn end(self) -> LaneOutcome {
        let last_quote = self.last_quote;
        if self.is_too_much() {
            return LaneOutcome { last_quote, buckets: None, progress: self.before };
        }
        LaneOutcome { last_quote, buckets: Some(self.buckets), progress: self.progress }
    }
}
