//! One instrument's book topic: the followed book, and which levels differ from what readers were told.
//!
//! It decides when a change is told; the follower decides what the book is.

use nautilus_book::{BookFollower, BookLevel, BookLimits, SavedFollower, Touched};
use nautilus_messages::frame::{BookState, FrameRef};
use nautilus_types::{Price, Quantity, Side, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::change::{BookChange, BookPicture, Level};
use crate::checksum::checksum;

/// Levels noted one by one; when more changed, the whole book is told.
const TOUCHED_MAX: usize = 4_096;
/// How often a change is held back because its event is not complete; the rest of an event that does not come by
/// then may have been lost.
const HOLDS_MAX: u8 = 8;

/// A book and what is to be told of it.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) follower: BookFollower,
    /// Changes ever.
    pub(crate) seq: u64,
    /// The newest change's time.
    pub(crate) ts: UnixNanos,
    published: u64,
    touched: Vec<(Side, Price)>,
    /// The whole book is to be told.
    all: bool,
    holds: u8,
}

impl Book {
    pub(crate) fn new(limits: BookLimits) -> Self {
        Self {
            follower: BookFollower::new(limits),
            seq: 0,
            ts: UnixNanos(0),
            published: 0,
            touched: Vec::new(),
            all: false,
            holds: 0,
        }
    }

    /// Takes a frame in; whether that is news.
    #[inline]
    pub(crate) fn step(&mut self, frame: FrameRef<'_>) -> bool {
        let state = self.follower.state();
        let Self { follower, touched, all, .. } = self;
        let mut news = false;
        follower.step(frame, &mut |what| {
            news = true;
            match what {
                Touched::Level(side, price) if !*all => touched.push((side, price)),
                Touched::Level(..) => {}
                Touched::All => {
                    *all = true;
                    touched.clear();
                }
            }
        });
        if touched.len() > TOUCHED_MAX {
            self.condense();
        }
        if news || self.follower.state() != state {
            self.note(frame.header().ts_event());
            return true;
        }
        false
    }

    /// Frames were missed, perhaps some of this instrument; whether that is news.
    pub(crate) fn miss(&mut self) -> bool {
        self.doubt(BookFollower::miss)
    }

    /// The hub counts anew; whether that is news.
    pub(crate) fn restart(&mut self) -> bool {
        self.doubt(BookFollower::restart)
    }

    fn doubt(&mut self, doubt: impl FnOnce(&mut BookFollower)) -> bool {
        let state = self.follower.state();
        doubt(&mut self.follower);
        let news = self.follower.state() != state;
        if news {
            self.note(self.ts);
        }
        news
    }

    fn note(&mut self, ts: UnixNanos) {
        self.seq += 1;
        self.ts = ts;
    }

    #[cold]
    fn condense(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        if self.touched.len() > TOUCHED_MAX / 2 {
            self.all = true;
            self.touched.clear();
        }
    }

    /// Whether there is news that has to wait for the rest of its event.
    pub(crate) fn holds_back(&mut self) -> bool {
        let incomplete = self.follower.state() == BookState::Live && self.follower.is_mid_event();
        if self.seq == self.published || !incomplete || self.holds >= HOLDS_MAX {
            self.holds = 0;
            return false;
        }
        self.holds += 1;
        true
    }

    /// What changed since the last time, and the number before.
    pub(crate) fn take(&mut self) -> Option<(u64, BookChange)> {
        let before = std::mem::replace(&mut self.published, self.seq);
        if before == self.seq {
            return None;
        }
        if std::mem::take(&mut self.all) {
            return Some((before, self.picture()));
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        let mut change = self.outline();
        for &(side, price) in &self.touched {
            let level = self.follower.book().at(side, price).map_or_else(|| gone(price), level);
            match side {
                Side::Buy => change.bids.push(level),
                Side::Sell => change.asks.push(level),
            }
        }
        change.bids.reverse();
        self.touched.clear();
        Some((before, change))
    }

    /// The whole book.
    pub(crate) fn picture(&self) -> BookPicture {
        let mut picture = BookChange { cleared: true, ..self.outline() };
        let book = self.follower.book();
        book.each_level(Side::Buy, usize::MAX, |found| picture.bids.push(level(found)));
        book.each_level(Side::Sell, usize::MAX, |found| picture.asks.push(level(found)));
        picture
    }

    fn outline(&self) -> BookChange {
        BookChange {
            state: self.follower.state(),
            sequence: self.follower.sequence(),
            cleared: false,
            bids: Vec::new(),
            asks: Vec::new(),
            checksum: checksum(self.follower.book()),
        }
    }
}

fn level(level: BookLevel) -> Level {
    let BookLevel { price, quantity, orders } = level;
    Level { price, quantity, orders }
}

fn gone(price: Price) -> Level {
    Level { price, quantity: Quantity::ZERO, orders: 0 }
}

/// A book in canonical form.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedBook {
    follower: SavedFollower,
    seq: u64,
    ts: UnixNanos,
}

impl Book {
    pub(crate) fn save(&self) -> SavedBook {
        SavedBook { follower: self.follower.save(), seq: self.seq, ts: self.ts }
    }

    /// # Errors
    /// A reason, when the saved state makes no sense.
    pub(crate) fn restore(saved: SavedBook, limits: BookLimits) -> Result<Self, String> {
        let follower = BookFollower::restore(saved.follower, limits)?;
        // What was told of the book before is not known: the next change tells all of it.
        let (seq, ts, all) = (saved.seq, saved.ts, true);
        Ok(Self { follower, seq, ts, all, published: seq, ..Self::new(limits) })
    }
}
