//! What every source of market data is: something that appends frames and says where it stands.
//!
//! It fixes the contract only; it neither paces a feed nor decides who consumes it.

use nautilus_types::{Symbol, UnixNanos};

use crate::FeedError;

/// The kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FeedKind {
    Dbn,
    Csv,
    Simulator,
}

impl FeedKind {
    /// The kind's name in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dbn => "dbn",
            Self::Csv => "csv",
            Self::Simulator => "simulator",
        }
    }
}

impl std::fmt::Display for FeedKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a feed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedDescription {
    /// The file's name, or the simulator's.
    pub name: String,
    /// How it is read.
    pub kind: FeedKind,
    /// What it holds: "mbo", "trades", "bars", "mixed" …
    pub schema: String,
    /// Whether the data was generated rather than recorded from a venue.
    pub simulated: bool,
    /// The instruments known so far, in order of registration.
    pub symbols: Vec<Symbol>,
}

/// Where a feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of the file read so far, as they lie on disk; for the simulator, bytes of frames made.
    pub done_bytes: u64,
    /// The file's size, or none for a feed without an end.
    pub total_bytes: Option<u64>,
    /// Records, lines or events read.
    pub records: u64,
    /// Of these, the ones that say nothing a frame could carry.
    pub skipped: u64,
    /// When the last of them happened.
    pub ts_event: UnixNanos,
}

/// What a call of [`Feed::read`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Read {
    /// Some frames were appended.
    Frames,
    /// Nothing was appended and nothing will be.
    End,
}

/// A source of market data. Dropping it releases its instruments for another feed.
pub trait Feed: Send {
    /// Appends about `max` frames to `out`, laid end to end; at most one record more.
    ///
    /// The first frame of every instrument is its definition, flagged [`STARTS_OVER`]. Whatever was decoded before a fault is delivered
    /// first, and the fault by the call after.
    ///
    /// # Errors
    /// When the source is damaged, cut short or claims an instrument of another feed. The feed has ended then.
    ///
    /// [`STARTS_OVER`]: nautilus_messages::frame::flags::STARTS_OVER
    fn read(&mut self, max: usize, out: &mut Vec<u8>) -> Result<Read, FeedError>;

    /// Where it stands.
    fn progress(&self) -> Progress;

    /// What it is.
    fn description(&self) -> &FeedDescription;
}

/// Delivers what was decoded before a fault, then the fault, then the end.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    fault: Option<FeedError>,
    ended: bool,
}

impl Ending {
    /// Whether nothing more is to be decoded.
    pub(crate) fn reached(&self) -> bool {
        self.ended
    }

    /// Turns the outcome of a decoding loop into the answer of [`Feed::read`].
    pub(crate) fn settle(
        &mut self,
        outcome: Result<Read, FeedError>,
        appended: bool,
    ) -> Result<Read, FeedError> {
        match outcome {
            Ok(Read::Frames) => return Ok(Read::Frames),
            Ok(Read::End) => self.ended = true,
            Err(error) => {
                self.ended = true;
                self.fault = Some(error);
            }
        }
        if appended { Ok(Read::Frames) } else { self.finish() }
    }

    /// The fault once, then the end for ever.
    pub(crate) fn finish(&mut self) -> Result<Read, FeedError> {
        self.fault.take().map_or(Ok(Read::End), Err)
    }
}
