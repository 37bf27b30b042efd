//! What both kinds of book share: levels, totals, limits and the reasons for which a change is refused.
//!
//! This file decides which prices are legal; it keeps no book.

use nautilus_messages::frame::NO_PRICE;
use nautilus_types::{Money, Price, Quantity, Side};
use serde::{Deserialize, Serialize};

use crate::tick::{PRICE_LIMIT_NANOS, TickScale};

/// A price level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookLevel {
    /// Its price.
    pub price: Price,
    /// The quantity of all its orders.
    pub quantity: Quantity,
    /// How many orders, zero when the source does not say.
    pub orders: u32,
}

/// One side of a book summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SideTotals {
    /// Price levels.
    pub levels: usize,
    /// Orders, zero when the source does not say.
    pub orders: u64,
    /// The quantity of all levels.
    pub quantity: Money,
}

/// How much memory a book may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BookLimits {
    /// Ticks per side that are kept in the dense window around the touch; rounded up to a multiple of 64.
    pub window_ticks: usize,
    /// Orders (or price levels, in a level book) per book; more are refused.
    pub orders_max: usize,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self { window_ticks: 2_048, orders_max: 1 << 20 }
    }
}

/// What became of a change that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It changed the book.
    Changed,
    /// A cancel of an order that is not there: nothing changed.
    UnknownOrder,
    /// A modify of an order that is not there: it was added (Databento's convention).
    AddedUnknown,
    /// Nothing to do: a fill, which only informs, or a removal of nothing.
    Unchanged,
}

/// Why a book refuses a change. The book is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// Undefined, or 4.6 billion or more.
    #[error("the price {0} is undefined or absurd; prices must be below 4.6 billion")]
    AbsurdPrice(Price),
    /// Not a multiple of the defined tick.
    #[error("the price {price} is not a multiple of the tick {tick}; correct the definition or the price")]
    OffTick {
        /// The price.
        price: Price,
        /// The tick that the definition names.
        tick: Price,
    },
    /// An order without quantity.
    #[error("order {0} has no quantity; a new order needs a positive one")]
    NoQuantity(u64),
    /// A side is missing.
    #[error("a book change names no side; only a clear may leave it out")]
    NoSide,
    /// An order that is there already.
    #[error("order {0} is in the book already; cancel it before it is added again")]
    DuplicateOrder(u64),
    /// The book is full.
    #[error("the book holds {0} orders or levels, the most allowed; raise orders_max")]
    Full(usize),
    /// A level's total quantity would not fit.
    #[error("the quantity at price {0} would exceed 9.2 billion units")]
    Overflow(Price),
}

/// The index of a side in arrays of two.
#[inline]
pub(crate) const fn index(side: Side) -> usize {
    side as usize
}

/// The key under which a side's ladder keeps a level: smaller is better.
#[inline]
pub(crate) const fn key(side: Side, ticks: i64) -> i64 {
    match side {
        Side::Buy => -ticks,
        Side::Sell => ticks,
    }
}

/// The ticks of a price: `Err(Some(scale))` when an inferred tick has to be refined to hold it.
#[inline]
pub(crate) fn grid(scale: &TickScale, price: i64) -> Result<i64, OffGrid> {
    if price.unsigned_abs() < PRICE_LIMIT_NANOS.unsigned_abs()
        && let Some(ticks) = scale.ticks(price)
    {
        return Ok(ticks);
    }
    Err(off_grid(scale, price))
}

pub(crate) enum OffGrid {
    Refine(TickScale),
    Refuse(BookError),
}

#[cold]
fn off_grid(scale: &TickScale, price: i64) -> OffGrid {
    if price == NO_PRICE || price.unsigned_abs() >= PRICE_LIMIT_NANOS.unsigned_abs() {
        return OffGrid::Refuse(BookError::AbsurdPrice(Price::from_nanos(price)));
    }
    scale.refined(price).map_or_else(|| OffGrid::Refuse(off_tick(scale, price)), OffGrid::Refine)
}

fn off_tick(scale: &TickScale, price: i64) -> BookError {
    BookError::OffTick { price: Price::from_nanos(price), tick: scale.known().unwrap_or(Price::ZERO) }
}
