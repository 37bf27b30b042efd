//! Takes a snapshot of the star in: definition, status, begin, the book, end.
//!
//! It decides whether a snapshot is whole and whether it meets the frames that are held. The book that is there
//! stays until then.

use nautilus_messages::frame::{BookState, FrameRef, Frames, Snapshot, SnapshotPhase, TradingState, flags};
use nautilus_types::Price;

use super::{BookFollower, Held, Standing, Touched};
use crate::book::{Applied, BookError};
use crate::depth::Depth;

/// A snapshot in the making: it counts only once its end has come.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    pub(super) sequence: u64,
    pub(super) tick: Price,
    pub(super) trading: TradingState,
    pub(super) state: BookState,
    /// `None` when the book that is there contains it.
    pub(super) depth: Option<Depth>,
    pub(super) changes: u32,
    pub(super) refused: bool,
}

impl BookFollower {
    pub(super) fn stage(&mut self, frame: FrameRef<'_>, touched: &mut impl FnMut(Touched)) {
        match frame {
            FrameRef::Definition(definition) => {
                let tick = Price::from_nanos(definition.tick_nanos.get());
                self.staged = Some(self.staging(definition.header.sequence.get(), tick));
            }
            FrameRef::Status(status) => {
                if let Some(staged) = &mut self.staged {
                    (staged.trading, staged.state) = (status.trading, status.book);
                }
            }
            FrameRef::Snapshot(snapshot) if snapshot.phase == SnapshotPhase::Begin => {
                let staged = self.staged.take().filter(|staged| staged.changes == 0);
                let fresh = || self.staging(snapshot.header.sequence.get(), self.tick);
                self.staged = Some(staged.unwrap_or_else(fresh));
            }
            FrameRef::Snapshot(snapshot) => {
                if let Some(staged) = self.staged.take() {
                    self.finish(staged, snapshot, touched);
                }
            }
            FrameRef::OrderChange(change) => {
                let limits = self.limits;
                self.put(|depth| depth.order(change, limits));
            }
            FrameRef::LevelChange(change) => {
                let limits = self.limits;
                self.put(|depth| depth.level(change, limits));
            }
            FrameRef::Trade(_) | FrameRef::Quote(_) | FrameRef::Bar(_) | FrameRef::Gap(_) => {}
        }
    }

    fn staging(&self, sequence: u64, tick: Price) -> Staged {
        let contained = self.standing != Standing::Behind && sequence <= self.applied;
        Staged {
            sequence,
            tick,
            trading: self.trading,
            state: BookState::Live,
            depth: (!contained).then(|| Depth::new(tick, self.limits)),
            changes: 0,
            refused: false,
        }
    }

    fn put(&mut self, apply: impl FnOnce(&mut Depth) -> Option<Result<Applied, BookError>>) {
        let Some(staged) = &mut self.staged else { return };
        staged.changes = staged.changes.saturating_add(1);
        if let Some(depth) = &mut staged.depth {
            staged.refused |= !matches!(apply(depth), Some(Ok(_)));
        }
    }

    fn finish(&mut self, staged: Staged, end: &Snapshot, touched: &mut impl FnMut(Touched)) {
        let Staged { sequence, tick, trading, mut state, depth, changes, refused } = staged;
        let whole = changes == end.frames.get() && sequence == end.header.sequence.get();
        if !whole || refused {
            return;
        }
        let Some(depth) = depth else {
            // It says nothing new, except that there is nothing new.
            if self.standing == Standing::Unproven && sequence == self.applied {
                self.standing = Standing::InStep;
            }
            return;
        };
        if self.standing == Standing::Behind && !self.held.meets(sequence) {
            return;
        }
        if end.header.has(flags::MAYBE_BAD) && state == BookState::Live {
            state = BookState::Stale;
        }
        let held = std::mem::take(&mut self.held);
        (self.tick, self.depth, self.applied) = (tick, depth, sequence);
        (self.trading, self.state, self.mid_event) = (trading, state, false);
        self.standing = Standing::InStep;
        touched(Touched::All);
        self.catch_up(&held, touched);
    }

    /// Applies the held frames that the snapshot does not contain.
    fn catch_up(&mut self, held: &Held, touched: &mut impl FnMut(Touched)) {
        for frame in Frames::new(&held.bytes).flatten() {
            if frame.header().sequence.get() > self.applied && self.standing == Standing::InStep {
                self.apply(frame, touched);
            }
        }
        if self.standing == Standing::InStep {
            self.applied = self.applied.max(held.next.saturating_sub(1));
        }
    }
}
