//! The obvious order-level book, kept for ever as the oracle and the baseline of [`crate::OrderBook`].
//!
//! Prices in a tree, orders in a list per price, numbers in a tree. It decides nothing that matters: no engine
//! uses it.

use std::collections::{BTreeMap, VecDeque};

use nautilus_messages::frame::{OrderAction, OrderChange};
use nautilus_types::{Price, Quantity, Side};

use crate::book::{Applied, BookError, BookLevel};
use crate::tick::PRICE_LIMIT_NANOS;

/// Prices with their orders, best first.
type Queues<'a> = Box<dyn Iterator<Item = (&'a i64, &'a VecDeque<(u64, i64)>)> + 'a>;

/// A book of trees and lists.
#[derive(Debug, Clone, Default)]
pub struct NaiveBook {
    tick: i64,
    sides: [BTreeMap<i64, VecDeque<(u64, i64)>>; 2],
    places: BTreeMap<u64, (Side, i64)>,
}

impl NaiveBook {
    /// An empty book; with a tick of zero every price is on the grid.
    #[must_use]
    pub fn new(tick: Price) -> Self {
        Self { tick: tick.nanos(), ..Self::default() }
    }

    /// Applies a change, as [`crate::OrderBook::apply`] does.
    ///
    /// # Errors
    /// When the change makes no sense; the book is as before then.
    pub fn apply(&mut self, change: &OrderChange) -> Result<Applied, BookError> {
        let (id, price) = (change.order_id.get(), change.price_nanos.get());
        let (quantity, side) = (change.quantity_nanos.get(), change.side.get());
        match change.action {
            OrderAction::Fill => Ok(Applied::Unchanged),
            OrderAction::Clear => {
                *self = Self::new(Price::from_nanos(self.tick));
                Ok(Applied::Changed)
            }
            OrderAction::Cancel => Ok(self.cancel(id, quantity)),
            OrderAction::Add => self.add(id, side.ok_or(BookError::NoSide)?, price, quantity),
            OrderAction::Modify => self.modify(id, side.ok_or(BookError::NoSide)?, price, quantity),
        }
    }

    fn add(&mut self, id: u64, side: Side, price: i64, quantity: i64) -> Result<Applied, BookError> {
        if quantity <= 0 {
            return Err(BookError::NoQuantity(id));
        }
        if self.places.contains_key(&id) {
            return Err(BookError::DuplicateOrder(id));
        }
        self.check(side, price, quantity)?;
        self.places.insert(id, (side, price));
        self.sides[side as usize].entry(price).or_default().push_back((id, quantity));
        Ok(Applied::Changed)
    }

    fn check(&self, side: Side, price: i64, more: i64) -> Result<(), BookError> {
        let at = Price::from_nanos(price);
        if price.unsigned_abs() >= PRICE_LIMIT_NANOS.unsigned_abs() {
            return Err(BookError::AbsurdPrice(at));
        }
        if self.tick > 0 && price % self.tick != 0 {
            return Err(BookError::OffTick { price: at, tick: Price::from_nanos(self.tick) });
        }
        let queue = self.sides[side as usize].get(&price);
        let held: i64 = queue.into_iter().flatten().map(|(_, quantity)| quantity).sum();
        held.checked_add(more).map(|_| ()).ok_or(BookError::Overflow(at))
    }

    fn cancel(&mut self, id: u64, quantity: i64) -> Applied {
        let Some(&(side, price)) = self.places.get(&id) else { return Applied::UnknownOrder };
        let left = self.quantity_of(side, price, id) - quantity;
        if quantity == 0 {
            return Applied::Unchanged;
        }
        if left <= 0 {
            self.remove(side, price, id);
        } else {
            self.resize(side, price, id, left);
        }
        Applied::Changed
    }

    fn modify(&mut self, id: u64, side: Side, price: i64, quantity: i64) -> Result<Applied, BookError> {
        let Some(&(old_side, old_price)) = self.places.get(&id) else {
            return self.add(id, side, price, quantity).map(|_| Applied::AddedUnknown);
        };
        let held = self.quantity_of(old_side, old_price, id);
        let stays = (old_side, old_price) == (side, price);
        if quantity <= 0 {
            self.remove(old_side, old_price, id);
        } else if stays && quantity <= held {
            self.resize(side, price, id, quantity);
        } else {
            self.check(side, price, if stays { quantity - held } else { quantity })?;
            self.remove(old_side, old_price, id);
            self.add(id, side, price, quantity)?;
        }
        Ok(Applied::Changed)
    }

    fn quantity_of(&self, side: Side, price: i64, id: u64) -> i64 {
        self.sides[side as usize][&price].iter().find(|(other, _)| *other == id).map_or(0, |(_, held)| *held)
    }

    fn resize(&mut self, side: Side, price: i64, id: u64, quantity: i64) {
        for (other, held) in self.sides[side as usize].entry(price).or_default() {
            if *other == id {
                *held = quantity;
            }
        }
    }

    fn remove(&mut self, side: Side, price: i64, id: u64) {
        let queue = self.sides[side as usize].entry(price).or_default();
        queue.retain(|(other, _)| *other != id);
        if queue.is_empty() {
            self.sides[side as usize].remove(&price);
        }
        self.places.remove(&id);
    }

    /// The best level's price and quantity.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<(Price, Quantity)> {
        self.levels(side).next().map(|level| (level.price, level.quantity))
    }

    fn queues(&self, side: Side) -> Queues<'_> {
        match side {
            Side::Buy => Box::new(self.sides[side as usize].iter().rev()),
            Side::Sell => Box::new(self.sides[side as usize].iter()),
        }
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = BookLevel> {
        self.queues(side).map(|(&price, queue)| BookLevel {
            price: Price::from_nanos(price),
            quantity: Quantity::from_nanos(queue.iter().map(|(_, quantity)| quantity).sum()),
            orders: u32::try_from(queue.len()).expect("fewer than 2^32 orders"),
        })
    }

    /// Number, price and quantity of a side's orders, best level first, each level in queue order.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = (u64, Price, Quantity)> {
        self.queues(side).flat_map(|(&price, queue)| {
            queue.iter().map(move |&(id, held)| (id, Price::from_nanos(price), Quantity::from_nanos(held)))
        })
    }

    /// Resting orders.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no order rests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
