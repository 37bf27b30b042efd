//! One instrument's place on the star: numbers every frame that leaves, without holes.
//!
//! It decides sequence numbers and flags of outgoing frames, never their content.

use nautilus_engine::Effects;
use nautilus_messages::frame::{FrameRef, Header, Kind, flags, header_mut};
use nautilus_types::{InstrumentId, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::clock::NO_INSTANT;

/// What a frame made here inherits from the frame that caused it.
const INHERITED: u16 = flags::REPLAY | flags::SIMULATED;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) id: InstrumentId,
    /// The number of the last frame that left.
    pub(crate) sequence: u64,
    /// The instants of the last frame taken in.
    pub(crate) ts_event: UnixNanos,
    pub(crate) ts_recv: UnixNanos,
    origin: u16,
}

impl Line {
    pub(crate) fn new(id: InstrumentId) -> Self {
        Self { id, sequence: 0, ts_event: UnixNanos(0), ts_recv: UnixNanos(0), origin: 0 }
    }

    /// Notes the instants and the origin of a frame taken in.
    #[inline]
    pub(crate) fn observe(&mut self, header: &Header, ts_event: u64) {
        self.ts_event = UnixNanos(ts_event);
        self.ts_recv = header.ts_recv();
        self.origin = header.flags.get() & INHERITED;
    }

    /// Publishes a frame under the next number, with its own flags and instants; where the venue gave none, with
    /// the instant that stands for it here, so that every reader counts by the same clock.
    #[inline]
    pub(crate) fn publish<'a>(&mut self, frame: impl Into<FrameRef<'a>>, out: &mut Effects) {
        let at = out.star.len();
        out.publish(frame);
        self.sequence += 1;
        let header = header_mut(&mut out.star[at..]).expect("a frame opens with a header");
        header.sequence.set(self.sequence);
        header.instrument.set(self.id.0);
        header.flags.set(header.flags.get() | flags::CONTIGUOUS);
        if matches!(header.ts_event_ns.get(), 0 | NO_INSTANT) {
            header.ts_event_ns.set(self.ts_event.0);
        }
    }

    /// The header of a frame made here in answer to the frame at hand.
    #[inline]
    pub(crate) fn header(&self, kind: Kind) -> Header {
        Header::new(kind, self.id, 0, self.ts_event, self.ts_recv).with_flags(self.origin)
    }
}
