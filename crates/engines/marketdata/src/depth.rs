//! The book of one instrument, order by order or level by level, whichever its source sends.
//!
//! It decides which kind of book there is; the books decide what a change does.

use nautilus_messages::frame::{LevelChange, OrderChange};
use nautilus_types::{Price, Quantity, Side};
use serde::{Deserialize, Serialize};

use crate::book::{Applied, BookError, BookLimits};
use crate::level_book::LevelBook;
use crate::order_book::OrderBook;
use crate::tick::{TickScale, TickSource};
use crate::view::{BookView, QuoteView};

#[derive(Debug, Clone)]
pub(crate) enum Depth {
    Orders(Box<OrderBook>),
    Levels(Box<LevelBook>),
}

/// A book in canonical form: content in book order, no trace of where things lie in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedDepth {
    by_order: bool,
    source: TickSource,
    tick: Price,
    /// Side, price, quantity, and the order's number or the level's orders.
    entries: Vec<(Side, Price, Quantity, u64)>,
}

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

impl Depth {
    pub(crate) fn new(tick: Price, limits: BookLimits) -> Self {
        Self::Orders(Box::new(OrderBook::new(tick, limits)))
    }

    /// Applies an order change; `None` when this is a level book with content.
    #[inline]
    pub(crate) fn order(
        &mut self,
        change: &OrderChange,
        limits: BookLimits,
    ) -> Option<Result<Applied, BookError>> {
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
    pub(crate) fn level(
        &mut self,
        change: &LevelChange,
        limits: BookLimits,
    ) -> Option<Result<Applied, BookError>> {
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

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Orders(book) => book.clear(),
            Self::Levels(book) => book.clear(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Orders(book) => book.is_empty(),
            Self::Levels(book) => book.is_empty(),
        }
    }

    #[inline]
    pub(crate) fn quote(&self) -> QuoteView {
        match self {
            Self::Orders(book) => QuoteView { bid: book.best(Side::Buy), ask: book.best(Side::Sell) },
            Self::Levels(book) => QuoteView { bid: book.best(Side::Buy), ask: book.best(Side::Sell) },
        }
    }

    pub(crate) fn tick(&self) -> (Option<Price>, TickSource) {
        match self {
            Self::Orders(book) => book.tick(),
            Self::Levels(book) => book.tick(),
        }
    }

    pub(crate) fn view(&self, depth: usize) -> BookView {
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

    pub(crate) fn save(&self) -> SavedDepth {
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

    /// # Errors
    /// When the saved content is not a book.
    pub(crate) fn restore(saved: &SavedDepth, limits: BookLimits) -> Result<Self, BookError> {
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
