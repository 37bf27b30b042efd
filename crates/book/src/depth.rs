//! The book of one instrument, order by order or level by level, whichever its source sends.
//!
//! It decides which kind of book there is; the books decide what a change does.

use nautilus_messages::frame::{LevelChange, OrderChange};
use nautilus_types::{Price, Quantity, Side};
use serde::{Deserialize, Serialize};

use crate::book::{Applied, BookError, BookLevel, BookLimits, SideTotals};
use crate::level_book::LevelBook;
use crate::order_book::OrderBook;
use crate::tick::{TickScale, TickSource};

/// Both sides of a book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookView {
    /// Best first, at most as many as configured.
    pub bids: Vec<BookLevel>,
    /// Best first, at most as many as configured.
    pub asks: Vec<BookLevel>,
    /// All bids summed up, whatever the depth.
    pub bid_totals: SideTotals,
    /// All asks summed up, whatever the depth.
    pub ask_totals: SideTotals,
}

/// The best bid and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QuoteView {
    /// Best bid and the quantity there.
    pub bid: Option<(Price, Quantity)>,
    /// Best ask and the quantity there.
    pub ask: Option<(Price, Quantity)>,
}

/// A book of either kind.
#[derive(Debug, Clone)]
pub enum Depth {
    /// Order by order.
    Orders(Box<OrderBook>),
    /// Level by level.
    Levels(Box<LevelBook>),
}

/// A book in canonical form: content in book order, no trace of where things lie in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDepth {
    by_order: bool,
    source: TickSource,
    tick: Price,
    /// Side, price, quantity, and the order's number or the level's orders.
    entries: Vec<(Side, Price, Quantity, u64)>,
}

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

impl Depth {
    /// An empty book. A tick of zero is inferred from the prices and refined as they come.
    #[must_use]
    pub fn new(tick: Price, limits: BookLimits) -> Self {
        Self::Orders(Box::new(OrderBook::new(tick, limits)))
    }

    /// Applies an order change; `None` when this is a level book with content.
    #[inline]
    pub fn order(&mut self, change: &OrderChange, limits: BookLimits) -> Option<Result<Applied, BookError>> {
        if let Self::Levels(book) = self {
            if !book.is_empty() {
                return None;
            }
            *self = Self::Orders(Box::new(OrderBook::with_scale(book.scale(), limits)));
        }
        match self {
            Self::Orders(book) => Some(book.apply(change)),
            Self::Levels(_) => None,
        }
    }

    /// Applies a level change; `None` when this is an order book with content.
    #[inline]
    pub fn level(&mut self, change: &LevelChange, limits: BookLimits) -> Option<Result<Applied, BookError>> {
        if let Self::Orders(book) = self {
            if !book.is_empty() {
                return None;
            }
            *self = Self::Levels(Box::new(LevelBook::with_scale(book.scale(), limits)));
        }
        match self {
            Self::Levels(book) => Some(book.apply(change)),
            Self::Orders(_) => None,
        }
    }

    /// Empties the book and keeps its memory and its tick.
    pub fn clear(&mut self) {
        match self {
            Self::Orders(book) => book.clear(),
            Self::Levels(book) => book.clear(),
        }
    }

    /// Whether nothing rests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Orders(book) => book.is_empty(),
            Self::Levels(book) => book.is_empty(),
        }
    }

    /// The best bid and ask.
    #[must_use]
    #[inline]
    pub fn quote(&self) -> QuoteView {
        match self {
            Self::Orders(book) => QuoteView { bid: book.best(Side::Buy), ask: book.best(Side::Sell) },
            Self::Levels(book) => QuoteView { bid: book.best(Side::Buy), ask: book.best(Side::Sell) },
        }
    }

    /// The tick, where one is known yet, and where it comes from.
    #[must_use]
    pub fn tick(&self) -> (Option<Price>, TickSource) {
        match self {
            Self::Orders(book) => book.tick(),
            Self::Levels(book) => book.tick(),
        }
    }

    /// The level at a price, where there is one.
    #[must_use]
    pub fn at(&self, side: Side, price: Price) -> Option<BookLevel> {
        match self {
            Self::Orders(book) => book.level(side, price),
            Self::Levels(book) => book.level(side, price),
        }
    }

    /// Hands over up to `limit` levels of a side, best first.
    pub fn each_level(&self, side: Side, limit: usize, mut take: impl FnMut(BookLevel)) {
        match self {
            Self::Orders(book) => book.levels(side).take(limit).for_each(&mut take),
            Self::Levels(book) => book.levels(side).take(limit).for_each(&mut take),
        }
    }

    /// Both sides, `depth` levels of each.
    #[must_use]
    pub fn view(&self, depth: usize) -> BookView {
        match self {
            Self::Orders(book) => BookView {
                bids: book.levels(Side::Buy).take(depth).collect(),
                asks: book.levels(Side::Sell).take(depth).collect(),
                bid_totals: book.totals(Side::Buy),
                ask_totals: book.totals(Side::Sell),
            },
            Self::Levels(book) => BookView {
                bids: book.levels(Side::Buy).take(depth).collect(),
                asks: book.levels(Side::Sell).take(depth).collect(),
                bid_totals: book.totals(Side::Buy),
                ask_totals: book.totals(Side::Sell),
            },
        }
    }

    /// The content, to be kept.
    #[must_use]
    pub fn save(&self) -> SavedDepth {
        let (tick, source) = self.tick();
        let entries = match self {
            Self::Orders(book) => SIDES
                .into_iter()
                .flat_map(|side| book.orders(side))
                .map(|order| (order.side, order.price, order.quantity, order.id))
                .collect(),
            Self::Levels(book) => SIDES
                .into_iter()
                .flat_map(|side| book.levels(side).map(move |level| (side, level)))
                .map(|(side, level)| (side, level.price, level.quantity, u64::from(level.orders)))
                .collect(),
        };
        let by_order = matches!(self, Self::Orders(_));
        SavedDepth { by_order, source, tick: tick.unwrap_or(Price::ZERO), entries }
    }

    /// The book that was saved.
    ///
    /// # Errors
    /// When the saved content is not a book.
    pub fn restore(saved: &SavedDepth, limits: BookLimits) -> Result<Self, BookError> {
        let scale = match saved.source {
            TickSource::Definition => TickScale::new(saved.tick),
            TickSource::Inferred => TickScale::inferred(saved.tick.nanos()),
        };
        if saved.by_order {
            let mut book = OrderBook::with_scale(scale, limits);
            for &(side, price, quantity, id) in &saved.entries {
                book.add(id, side, price.nanos(), quantity.nanos())?;
            }
            return Ok(Self::Orders(Box::new(book)));
        }
        let mut book = LevelBook::with_scale(scale, limits);
        for &(side, price, quantity, orders) in &saved.entries {
            book.set(side, price.nanos(), quantity.nanos(), u32::try_from(orders).unwrap_or(u32::MAX))?;
        }
        Ok(Self::Levels(Box::new(book)))
    }
}
