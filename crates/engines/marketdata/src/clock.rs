//! When a frame happened, and whether that can be believed: one wrong instant must not close every bar, nor hold
//! them open for years.
//!
//! An instant more than a day after it was received is refused. One more than a year away from the frame before is
//! refused once; the next such frame is believed, because then the source has truly moved. This file never reads a
//! clock of its own.

use nautilus_messages::frame::Header;
use nautilus_types::NANOS_PER_DAY;
use serde::{Deserialize, Serialize};

/// The instant that stands for "none": DBN's undefined time.
pub(crate) const NO_INSTANT: u64 = u64::MAX;
/// No source is silent for so long between two frames of one instrument.
const LEAP_NS: u64 = 366 * NANOS_PER_DAY;

/// What a frame's instant says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It happened then.
    At(u64),
    /// It happened then, and the source's time starts over: it lies a year and more before what came earlier.
    StartsOver(u64),
    /// It is not believed.
    Absurd,
}

/// The time of one instrument's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SourceClock {
    /// When the last frame happened that had a time.
    last: Option<u64>,
    /// The frame before was refused for its leap.
    doubted: bool,
}

impl SourceClock {
    /// Reads a frame's venue time, or its receive time where the venue gave none. A frame without any time happens
    /// when the frame before it did.
    #[inline]
    pub(crate) fn read(&mut self, header: &Header) -> Reading {
        let (event, recv) = (header.ts_event_ns.get(), header.ts_recv_ns.get());
        let ts = if event == NO_INSTANT { recv } else { event };
        if ts == 0 {
            return Reading::At(self.last.unwrap_or(0));
        }
        if ts == NO_INSTANT || (recv != 0 && ts > recv.saturating_add(NANOS_PER_DAY)) {
            return Reading::Absurd;
        }
        match self.last {
            Some(last) if ts.abs_diff(last) > LEAP_NS => self.leap(last, ts),
            _ => {
                *self = Self { last: Some(ts), doubted: false };
                Reading::At(ts)
            }
        }
    }

    #[cold]
    fn leap(&mut self, last: u64, ts: u64) -> Reading {
        if !self.doubted {
            self.doubted = true;
            return Reading::Absurd;
        }
        *self = Self { last: Some(ts), doubted: false };
        if ts < last { Reading::StartsOver(ts) } else { Reading::At(ts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reading::{Absurd, At, StartsOver};
    use nautilus_messages::frame::Kind;
    use nautilus_types::{InstrumentId, UnixNanos};

    #[test]
    fn one_leap_is_a_slip_and_two_are_a_move() {
        const NOW: u64 = 1_703_545_200_000_000_000;
        const FAR: u64 = 7_258_118_400_000_000_000;
        let mut clock = SourceClock::default();
        for (event, recv, reading) in [
            (0, 0, At(0)),
            (NOW, NOW, At(NOW)),
            (NO_INSTANT, NOW + 1, At(NOW + 1)),
            (NO_INSTANT, NO_INSTANT, Absurd),
            (NOW + 2 * NANOS_PER_DAY, NOW, Absurd),
            (0, 0, At(NOW + 1)),
            (FAR, FAR, Absurd),
            (NOW - 5, NOW, At(NOW - 5)),
            (FAR, FAR, Absurd),
            (FAR + 1, FAR, At(FAR + 1)),
            (NOW, NOW, Absurd),
            (NOW + 2, NOW, StartsOver(NOW + 2)),
            (NOW + 300 * NANOS_PER_DAY, 0, At(NOW + 300 * NANOS_PER_DAY)),
        ] {
            let (ts_event, ts_recv) = (UnixNanos(event), UnixNanos(recv));
            let header = Header::new(Kind::Trade, InstrumentId(1), 0, ts_event, ts_recv);
            assert_eq!(clock.read(&header), reading, "{event} {recv}");
        }
    }
}
