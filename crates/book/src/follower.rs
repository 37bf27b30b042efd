//! Keeps a reader's copy of one instrument's book in step with the hub, by the hub's numbers without holes.
//!
//! The rules, in one place. The book is in step when it contains every frame up to a number and nothing is known to
//! be missing.
//! - A frame with the next number is applied; one that is contained already is passed over.
//! - When frames of the star were missed, perhaps of this instrument, the next number tells: it continues, or the
//!   book has fallen behind.
//! - A book that has fallen behind holds the frames that come. A snapshot of number S mends it when the held frames
//!   go on from S or lie within it: a snapshot is up to a second older than the stream, and one that does not meet
//!   the frames would leave a hole that nobody sees.
//! - Whoever hands snapshots in does so in the order of the star: one that is older than missed frames comes before
//!   [`BookFollower::miss`], and any other contains whatever was missed.
//! - Frame number one, a definition, begins an empty book: the hub has just begun.
//!
//! A doubtful book of the hub is followed like any other: what its hub says of it is what readers are told.

mod saved;
mod staging;

use nautilus_messages::frame::{
    BookState, Definition, FrameRef, LevelChange, OrderAction, OrderChange, Snapshot, SnapshotPhase, Status,
    TradingState, flags,
};
use nautilus_types::{Price, Side};
use serde::{Deserialize, Serialize};

use crate::book::{Applied, BookLimits};
use crate::depth::Depth;

pub use saved::SavedFollower;
use staging::Staged;

/// Bytes of frames that a book holds while it waits for a snapshot, at most: beyond, it waits for a later one.
pub const HELD_MAX: usize = 2 << 20;

/// What a frame did to a followed book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// The content of one level.
    Level(Side, Price),
    /// Everything may differ.
    All,
}

/// Where a book stands towards the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    /// Nothing is known to be missing.
    InStep,
    /// Frames were missed, perhaps of this instrument.
    Unproven,
    /// Frames are missing.
    Behind,
}

/// Frames that wait for a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Held {
    /// The first number heard without a hole since; zero when nothing was.
    from: u64,
    /// The number after the last one heard.
    next: u64,
    /// Those of the frames that concern a book.
    bytes: Vec<u8>,
}

impl Held {
    fn push(&mut self, frame: FrameRef<'_>) {
        let sequence = frame.header().sequence.get();
        if sequence != self.next {
            *self = Self { from: sequence, ..Self::default() };
        }
        self.next = sequence.saturating_add(1);
        if !concerns_books(&frame) {
            return;
        }
        if self.bytes.len() + frame.as_bytes().len() > HELD_MAX {
            *self = Self { from: self.next, next: self.next, bytes: Vec::new() };
            return;
        }
        self.bytes.extend_from_slice(frame.as_bytes());
    }

    /// Whether a snapshot of this number leaves no hole before the held frames.
    fn meets(&self, sequence: u64) -> bool {
        self.from <= sequence.saturating_add(1)
    }
}

fn concerns_books(frame: &FrameRef<'_>) -> bool {
    !matches!(frame, FrameRef::Trade(_) | FrameRef::Quote(_) | FrameRef::Bar(_) | FrameRef::Gap(_))
}

/// One instrument's book, kept in step with the star.
#[derive(Debug, Clone)]
pub struct BookFollower {
    limits: BookLimits,
    tick: Price,
    depth: Depth,
    standing: Standing,
    /// The number of the last frame that the book contains.
    applied: u64,
    trading: TradingState,
    /// What the hub says of its book.
    state: BookState,
    /// The source marks the last frame of an event.
    marks_last: bool,
    mid_event: bool,
    held: Held,
    staged: Option<Staged>,
}

impl BookFollower {
    /// A book of which nothing is known yet.
    #[must_use]
    pub fn new(limits: BookLimits) -> Self {
        Self {
            limits,
            tick: Price::ZERO,
            depth: Depth::new(Price::ZERO, limits),
            standing: Standing::Behind,
            applied: 0,
            trading: TradingState::Unknown,
            state: BookState::Syncing,
            marks_last: false,
            mid_event: false,
            held: Held::default(),
            staged: None,
        }
    }

    /// The book. It is the hub's as of [`Self::sequence`].
    #[must_use]
    pub fn book(&self) -> &Depth {
        &self.depth
    }

    /// The hub's number of the last frame that the book contains.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.applied
    }

    /// Whether the book may be believed: what the hub says of its own, and syncing while the copy is not in step.
    #[must_use]
    #[inline]
    pub fn state(&self) -> BookState {
        if self.standing == Standing::InStep { self.state } else { BookState::Syncing }
    }

    /// Whether the instrument trades, as far as the hub says.
    #[must_use]
    pub fn trading(&self) -> TradingState {
        self.trading
    }

    /// Whether only a snapshot, or luck, brings the book back in step.
    #[must_use]
    #[inline]
    pub fn wants_snapshot(&self) -> bool {
        self.standing != Standing::InStep
    }

    /// Whether more frames of the event at hand are to come, where the source marks the last one: the book may be
    /// crossed in between.
    #[must_use]
    #[inline]
    pub fn is_mid_event(&self) -> bool {
        self.mid_event
    }

    /// Frames of the star were missed, perhaps of this instrument.
    pub fn miss(&mut self) {
        self.staged = None;
        if self.standing == Standing::InStep {
            self.standing = Standing::Unproven;
        }
    }

    /// The hub has restarted: its numbers begin again and what was heard before says nothing about them.
    pub fn restart(&mut self) {
        self.standing = Standing::Behind;
        self.applied = 0;
        self.held = Held::default();
        self.staged = None;
    }

    /// Frames up to this number have passed unseen: a snapshot has to contain them.
    pub fn heard_up_to(&mut self, sequence: u64) {
        self.fall_behind(sequence.saturating_add(1));
    }

    /// Takes a frame of this instrument in, from the stream or from a snapshot of the star, and tells what it changed.
    #[inline]
    pub fn step(&mut self, frame: FrameRef<'_>, touched: &mut impl FnMut(Touched)) {
        // Frames of a star snapshot have no place in the numbering.
        if frame.header().has(flags::CONTIGUOUS) {
            self.follow(frame, touched);
        } else {
            self.stage(frame, touched);
        }
    }

    #[inline]
    fn follow(&mut self, frame: FrameRef<'_>, touched: &mut impl FnMut(Touched)) {
        let sequence = frame.header().sequence.get();
        if self.standing == Standing::InStep && sequence == self.applied.wrapping_add(1) && sequence > 1 {
            self.apply(frame, touched);
            return;
        }
        self.follow_out_of_step(frame, sequence, touched);
    }

    #[cold]
    fn follow_out_of_step(&mut self, frame: FrameRef<'_>, sequence: u64, touched: &mut impl FnMut(Touched)) {
        if let (FrameRef::Definition(definition), 1) = (frame, sequence) {
            self.begin(definition, touched);
            return;
        }
        let next = self.applied.saturating_add(1);
        if self.standing == Standing::Unproven && sequence <= next {
            // The stream has not come further than the book, so what was missed is not newer either.
            self.standing = Standing::InStep;
        }
        match self.standing {
            Standing::InStep if sequence == next => self.apply(frame, touched),
            Standing::InStep if sequence < next => {}
            Standing::InStep | Standing::Unproven => {
                self.standing = Standing::Behind;
                self.held = Held::default();
                self.held.push(frame);
            }
            Standing::Behind => self.held.push(frame),
        }
    }

    /// The hub has begun: there is nothing before its first frame.
    fn begin(&mut self, definition: &Definition, touched: &mut impl FnMut(Touched)) {
        let tick = Price::from_nanos(definition.tick_nanos.get());
        *self = Self { tick, depth: Depth::new(tick, self.limits), ..Self::new(self.limits) };
        (self.standing, self.applied) = (Standing::InStep, 1);
        touched(Touched::All);
    }

    #[inline]
    fn apply(&mut self, frame: FrameRef<'_>, touched: &mut impl FnMut(Touched)) {
        let header = frame.header();
        let understood = match frame {
            FrameRef::OrderChange(change) => self.order_change(change, touched),
            FrameRef::LevelChange(change) => self.level_change(change, touched),
            FrameRef::Snapshot(snapshot) => self.source_snapshot(snapshot, touched),
            FrameRef::Status(status) => self.note_status(status),
            FrameRef::Definition(definition) => self.define(definition, touched),
            FrameRef::Trade(_) | FrameRef::Quote(_) | FrameRef::Bar(_) | FrameRef::Gap(_) => true,
        };
        self.note_event(&frame);
        self.applied = header.sequence.get();
        if !understood {
            // The hub took this change, so the copy is wrong without it.
            self.fall_behind(self.applied.saturating_add(1));
        }
    }

    /// Waits for a snapshot; the frames from `next` on are held.
    #[cold]
    fn fall_behind(&mut self, next: u64) {
        self.standing = Standing::Behind;
        self.held = Held { from: next, next, bytes: Vec::new() };
    }

    #[inline]
    fn note_event(&mut self, frame: &FrameRef<'_>) {
        let last = frame.header().has(flags::LAST);
        self.marks_last |= last;
        self.mid_event = match frame {
            FrameRef::OrderChange(_) | FrameRef::LevelChange(_) => !last && self.marks_last,
            // The hub quotes complete events only.
            FrameRef::Quote(_) | FrameRef::Snapshot(_) => false,
            _ => !last && self.mid_event,
        };
    }

    #[inline]
    fn order_change(&mut self, change: &OrderChange, touched: &mut impl FnMut(Touched)) -> bool {
        if change.action == OrderAction::Clear {
            self.depth.clear();
            touched(Touched::All);
            return true;
        }
        let before = match (&self.depth, change.action) {
            (Depth::Orders(book), OrderAction::Cancel | OrderAction::Modify) => {
                book.order(change.order_id.get()).map(|order| (order.side, order.price))
            }
            _ => None,
        };
        match self.depth.order(change, self.limits) {
            Some(Ok(Applied::Changed | Applied::AddedUnknown)) => {}
            Some(Ok(Applied::Unchanged | Applied::UnknownOrder)) => return true,
            Some(Err(_)) | None => return false,
        }
        if let Some((side, price)) = before {
            touched(Touched::Level(side, price));
        }
        let after = change.side.get().map(|side| (side, change.price()));
        if let Some((side, price)) = after.filter(|_| change.action != OrderAction::Cancel)
            && after != before
        {
            touched(Touched::Level(side, price));
        }
        true
    }

    fn level_change(&mut self, change: &LevelChange, touched: &mut impl FnMut(Touched)) -> bool {
        let Some(side) = change.side.get() else {
            self.depth.clear();
            touched(Touched::All);
            return true;
        };
        let applied = self.depth.level(change, self.limits);
        if matches!(applied, Some(Ok(Applied::Changed))) {
            touched(Touched::Level(side, change.price()));
        }
        matches!(applied, Some(Ok(_)))
    }

    /// A snapshot of the source, bracketed in the stream itself.
    fn source_snapshot(&mut self, snapshot: &Snapshot, touched: &mut impl FnMut(Touched)) -> bool {
        if snapshot.phase == SnapshotPhase::Begin {
            self.depth.clear();
            touched(Touched::All);
        }
        true
    }

    fn note_status(&mut self, status: &Status) -> bool {
        (self.trading, self.state) = (status.trading, status.book);
        true
    }

    /// Prices on another grid begin another book, at the hub and here.
    fn define(&mut self, definition: &Definition, touched: &mut impl FnMut(Touched)) -> bool {
        let tick = Price::from_nanos(definition.tick_nanos.get());
        if tick != self.tick {
            self.tick = tick;
            self.depth = Depth::new(tick, self.limits);
            touched(Touched::All);
        }
        true
    }
}
