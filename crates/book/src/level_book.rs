//! The level book: one absolute quantity per price, for sources that do not show orders.
//!
//! It holds what the venue says, crossed or not; it never derives one level from another.

use nautilus_messages::frame::LevelChange;
use nautilus_types::{Money, Price, Quantity, Side};

use crate::book::{Applied, BookError, BookLevel, BookLimits, OffGrid, SideTotals, grid, index, key};
use crate::ladder::{Ladder, NONE};
use crate::tick::{TickScale, TickSource};

#[derive(Debug, Clone, Copy, Default)]
struct Level {
    quantity: i64,
    orders: u32,
}

/// A level book.
#[derive(Debug, Clone)]
pub struct LevelBook {
    scale: TickScale,
    limits: BookLimits,
    ladders: [Ladder<Level>; 2],
    totals: [(u64, i128); 2],
}

impl LevelBook {
    /// An empty book. A tick of zero is inferred from the prices and refined as they come.
    #[must_use]
    pub fn new(tick: Price, limits: BookLimits) -> Self {
        Self::with_scale(TickScale::new(tick), limits)
    }

    pub(crate) fn with_scale(scale: TickScale, limits: BookLimits) -> Self {
        Self {
            scale,
            limits,
            ladders: [Ladder::new(limits.window_ticks), Ladder::new(limits.window_ticks)],
            totals: [(0, 0); 2],
        }
    }

    /// Applies a change.
    ///
    /// # Errors
    /// When the change makes no sense; the book is as before then.
    #[inline]
    pub fn apply(&mut self, change: &LevelChange) -> Result<Applied, BookError> {
        let quantity = change.quantity_nanos.get();
        let Some(side) = change.side.get() else {
            if quantity != 0 {
                return Err(BookError::NoSide);
            }
            self.clear();
            return Ok(Applied::Changed);
        };
        self.set(side, change.price_nanos.get(), quantity, change.orders.get())
    }

    pub(crate) fn set(
        &mut self,
        side: Side,
        price: i64,
        quantity: i64,
        orders: u32,
    ) -> Result<Applied, BookError> {
        if quantity < 0 {
            return Err(BookError::Overflow(Price::from_nanos(price)));
        }
        let key = key(side, self.ticks(price)?);
        let ladder = &mut self.ladders[index(side)];
        let old = ladder.get(key).copied();
        let (total_orders, total) = &mut self.totals[index(side)];
        if old.is_none() && quantity > 0 && ladder.len() >= self.limits.orders_max {
            return Err(BookError::Full(self.limits.orders_max));
        }
        match (old, quantity) {
            (None, 0) => return Ok(Applied::Unchanged),
            (Some(_), 0) => ladder.close(key),
            _ => *ladder.open(key) = Level { quantity, orders },
        }
        let old = old.unwrap_or_default();
        let orders = if quantity == 0 { 0 } else { orders };
        *total += i128::from(quantity) - i128::from(old.quantity);
        *total_orders = *total_orders + u64::from(orders) - u64::from(old.orders);
        Ok(Applied::Changed)
    }

    /// Empties the book and keeps its memory and its tick.
    pub fn clear(&mut self) {
        self.ladders.iter_mut().for_each(Ladder::clear);
        self.totals = [(0, 0); 2];
    }

    #[inline]
    fn ticks(&mut self, price: i64) -> Result<i64, BookError> {
        match grid(&self.scale, price) {
            Ok(ticks) => Ok(ticks),
            Err(OffGrid::Refuse(error)) => Err(error),
            Err(OffGrid::Refine(scale)) => {
                self.rebuild(scale);
                Ok(self.scale.ticks_on_grid(price))
            }
        }
    }

    #[cold]
    fn rebuild(&mut self, scale: TickScale) {
        for side in [Side::Buy, Side::Sell] {
            let mut ladder = Ladder::new(self.limits.window_ticks);
            for (at, level) in self.ladders[index(side)].iter() {
                let price = self.scale.price(key(side, at));
                *ladder.open(key(side, scale.ticks_on_grid(price))) = *level;
            }
            self.ladders[index(side)] = ladder;
        }
        self.scale = scale;
    }

    /// The best level's price and quantity.
    #[must_use]
    #[inline]
    pub fn best(&self, side: Side) -> Option<(Price, Quantity)> {
        let ladder = &self.ladders[index(side)];
        let best = ladder.best();
        if best == NONE {
            return None;
        }
        let level = ladder.get(best).expect("the best level exists");
        Some((Price::from_nanos(self.scale.price(key(side, best))), Quantity::from_nanos(level.quantity)))
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = BookLevel> {
        self.ladders[index(side)].iter().map(move |(at, level)| BookLevel {
            price: Price::from_nanos(self.scale.price(key(side, at))),
            quantity: Quantity::from_nanos(level.quantity),
            orders: level.orders,
        })
    }

    /// The level at a price, where there is one.
    #[must_use]
    pub fn level(&self, side: Side, price: Price) -> Option<BookLevel> {
        let ticks = grid(&self.scale, price.nanos()).ok()?;
        let level = self.ladders[index(side)].get(key(side, ticks))?;
        Some(BookLevel { price, quantity: Quantity::from_nanos(level.quantity), orders: level.orders })
    }

    /// A side summed up.
    #[must_use]
    pub fn totals(&self, side: Side) -> SideTotals {
        let (orders, quantity) = self.totals[index(side)];
        SideTotals { levels: self.ladders[index(side)].len(), orders, quantity: Money::from_nanos(quantity) }
    }

    /// Whether no level is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ladders.iter().all(|ladder| ladder.len() == 0)
    }

    /// The tick, where one is known yet, and where it comes from.
    #[must_use]
    pub fn tick(&self) -> (Option<Price>, TickSource) {
        (self.scale.known(), self.scale.source)
    }

    pub(crate) fn scale(&self) -> TickScale {
        self.scale
    }
}
