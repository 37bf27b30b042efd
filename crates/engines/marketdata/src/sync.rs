//! Whether a book may be believed: waiting for a snapshot, complete, or wrong since something was lost.
//!
//! The rules, in one place. A book is live after
//! - a run of frames flagged `SNAPSHOT`, which ends at a `LAST` or before the first frame without the flag,
//! - a bracketed snapshot's end,
//! - a clear outside of a snapshot (an empty book is a complete one),
//! - frame number one (or zero) of a source that promises contiguous numbers.
//!
//! A source that offers none of these stays syncing: nobody can know whether its book is complete. A gap or a
//! doubtful mark makes the book stale, also the one that a snapshot in progress would give.

use nautilus_messages::frame::{BookState, TradingState};
use serde::{Deserialize, Serialize};

/// In what kind of snapshot the source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Outside,
    Flagged,
    Bracketed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sync {
    pub(crate) state: BookState,
    pub(crate) phase: Phase,
    /// Something was lost inside the snapshot in progress.
    broken: bool,
    pub(crate) trading: TradingState,
    /// What the star was told last.
    announced: (TradingState, BookState),
}

impl Sync {
    pub(crate) fn new() -> Self {
        Self {
            state: BookState::Syncing,
            phase: Phase::Outside,
            broken: false,
            trading: TradingState::Unknown,
            announced: (TradingState::Unknown, BookState::Syncing),
        }
    }

    pub(crate) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.state = BookState::Syncing;
        self.broken = false;
    }

    /// The snapshot is over, or the book was emptied.
    pub(crate) fn complete(&mut self) {
        self.state = if self.broken { BookState::Stale } else { BookState::Live };
        self.phase = Phase::Outside;
        self.broken = false;
    }

    pub(crate) fn doubt(&mut self) {
        self.state = BookState::Stale;
        self.broken = self.phase != Phase::Outside;
    }

    /// After a reset: the star still believes what it was told.
    pub(crate) fn keep_announced(&mut self, before: &Self) {
        self.announced = before.announced;
    }

    /// What readers are to be told. While early frames wait for missing ones the book lags behind its source.
    #[inline]
    pub(crate) fn visible(&self, waiting: bool) -> BookState {
        if waiting && self.state == BookState::Live { BookState::Stale } else { self.state }
    }

    /// What the star has to be told, if it was told otherwise.
    #[inline]
    pub(crate) fn news(&mut self, waiting: bool) -> Option<(TradingState, BookState)> {
        let now = (self.trading, self.visible(waiting));
        (now != self.announced).then(|| {
            self.announced = now;
            now
        })
    }
}
