//! The order-level book: every resting order, in its level's queue, in its place.
//!
//! Orders live in a slab and are linked into one first-in-first-out queue per level; a map finds them by the
//! venue's number; one ladder per side finds the level. It holds what the venue says, crossed or not, and never
//! matches anything.

use nautilus_messages::frame::{OrderAction, OrderChange};
use nautilus_types::{Money, Price, Quantity, Side};

use crate::book::{Applied, BookError, BookLevel, BookLimits, OffGrid, SideTotals, grid, index, key};
use crate::ladder::{Ladder, NONE};
use crate::order_map::OrderMap;
use crate::tick::{TickScale, TickSource};

const NIL: u32 = u32::MAX;

/// A resting order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestingOrder {
    /// The venue's number.
    pub id: u64,
    /// Which side.
    pub side: Side,
    /// Limit price.
    pub price: Price,
    /// What is left of it.
    pub quantity: Quantity,
}

/// 32 bytes, so that two share a cache line.
#[derive(Debug, Clone, Copy)]
struct Order {
    id: u64,
    quantity: i64,
    /// The price in billionths, shifted left by one, with the side in the lowest bit.
    price_and_side: i64,
    /// Towards the front of the queue.
    ahead: u32,
    /// Towards the back of the queue; in a free slot the next free one.
    behind: u32,
}

impl Order {
    #[inline]
    fn price(&self) -> i64 {
        self.price_and_side >> 1
    }

    #[inline]
    fn side(&self) -> Side {
        if self.price_and_side & 1 == 0 { Side::Buy } else { Side::Sell }
    }

    fn describe(&self) -> RestingOrder {
        RestingOrder {
            id: self.id,
            side: self.side(),
            price: Price::from_nanos(self.price()),
            quantity: Quantity::from_nanos(self.quantity),
        }
    }
}

#[inline]
fn pack(side: Side, price: i64) -> i64 {
    price << 1 | i64::from(side == Side::Sell)
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    quantity: i64,
    orders: u32,
    front: u32,
    back: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { quantity: 0, orders: 0, front: NIL, back: NIL }
    }
}

/// An order-level book.
#[derive(Debug, Clone)]
pub struct OrderBook {
    scale: TickScale,
    limits: BookLimits,
    slab: Vec<Order>,
    free: u32,
    live: usize,
    map: OrderMap,
    ladders: [Ladder<Queue>; 2],
    /// Orders and quantity per side.
    totals: [(u64, i128); 2],
}

impl OrderBook {
    /// An empty book. A tick of zero is inferred from the prices and refined as they come.
    #[must_use]
    pub fn new(tick: Price, limits: BookLimits) -> Self {
        Self::with_scale(TickScale::new(tick), limits)
    }

    pub(crate) fn with_scale(scale: TickScale, limits: BookLimits) -> Self {
        let limits = BookLimits { orders_max: limits.orders_max.min(1 << 30), ..limits };
        Self {
            scale,
            limits,
            slab: Vec::new(),
            free: NIL,
            live: 0,
            map: OrderMap::new(),
            ladders: [Ladder::new(limits.window_ticks), Ladder::new(limits.window_ticks)],
            totals: [(0, 0); 2],
        }
    }

    /// Applies a change.
    ///
    /// # Errors
    /// When the change makes no sense; the book is as before then.
    #[inline]
    pub fn apply(&mut self, change: &OrderChange) -> Result<Applied, BookError> {
        let (id, price) = (change.order_id.get(), change.price_nanos.get());
        let quantity = change.quantity_nanos.get();
        match (change.action, change.side.get()) {
            (OrderAction::Fill, _) => Ok(Applied::Unchanged),
            (OrderAction::Clear, _) => {
                self.clear();
                Ok(Applied::Changed)
            }
            (OrderAction::Cancel, _) => Ok(self.cancel(id, quantity)),
            (OrderAction::Add, Some(side)) => self.add(id, side, price, quantity),
            (OrderAction::Modify, Some(side)) => self.modify(id, side, price, quantity),
            (OrderAction::Add | OrderAction::Modify, None) => Err(BookError::NoSide),
        }
    }

    #[inline]
    fn find(&self, id: u64) -> Option<(usize, u32)> {
        self.map.find(id, |slot| self.slab[slot as usize].id)
    }

    pub(crate) fn add(
        &mut self,
        id: u64,
        side: Side,
        price: i64,
        quantity: i64,
    ) -> Result<Applied, BookError> {
        if quantity <= 0 {
            return Err(BookError::NoQuantity(id));
        }
        if self.find(id).is_some() {
            return Err(BookError::DuplicateOrder(id));
        }
        if self.live >= self.limits.orders_max {
            return Err(BookError::Full(self.limits.orders_max));
        }
        let ticks = self.ticks(price)?;
        self.check_room(side, ticks, quantity)?;
        let slot = self.take_slot(Order {
            id,
            quantity,
            price_and_side: pack(side, price),
            ahead: NIL,
            behind: NIL,
        });
        self.map.insert(id, slot);
        self.live += 1;
        self.join(slot, side, ticks, quantity);
        Ok(Applied::Changed)
    }

    #[inline]
    fn cancel(&mut self, id: u64, quantity: i64) -> Applied {
        let Some((position, slot)) = self.find(id) else { return Applied::UnknownOrder };
        let order = &mut self.slab[slot as usize];
        if quantity >= order.quantity {
            self.remove(position, slot);
            return Applied::Changed;
        }
        if quantity <= 0 {
            return Applied::Unchanged;
        }
        order.quantity -= quantity;
        let order = *order;
        self.resize_level(&order, -quantity);
        Applied::Changed
    }

    fn modify(&mut self, id: u64, side: Side, price: i64, quantity: i64) -> Result<Applied, BookError> {
        let Some((position, slot)) = self.find(id) else {
            return self.add(id, side, price, quantity).map(|_| Applied::AddedUnknown);
        };
        if quantity <= 0 {
            self.remove(position, slot);
            return Ok(Applied::Changed);
        }
        let order = self.slab[slot as usize];
        let stays = order.price_and_side == pack(side, price);
        if stays && quantity <= order.quantity {
            self.slab[slot as usize].quantity = quantity;
            self.resize_level(&order, quantity - order.quantity);
            return Ok(Applied::Changed);
        }
        let ticks = self.ticks(price)?;
        self.check_room(side, ticks, if stays { quantity - order.quantity } else { quantity })?;
        self.leave(slot);
        let order = &mut self.slab[slot as usize];
        order.quantity = quantity;
        order.price_and_side = pack(side, price);
        self.join(slot, side, ticks, quantity);
        Ok(Applied::Changed)
    }

    /// Empties the book and keeps its memory and its tick.
    pub fn clear(&mut self) {
        self.slab.clear();
        self.free = NIL;
        self.live = 0;
        self.map.clear();
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

    /// Moves every level onto a finer grid. Queues are kept as they are: orders remember prices, not ticks.
    #[cold]
    fn rebuild(&mut self, scale: TickScale) {
        for side in [Side::Buy, Side::Sell] {
            let mut ladder = Ladder::new(self.limits.window_ticks);
            for (_, queue) in self.ladders[index(side)].iter() {
                let price = self.slab[queue.front as usize].price();
                *ladder.open(key(side, scale.ticks_on_grid(price))) = *queue;
            }
            self.ladders[index(side)] = ladder;
        }
        self.scale = scale;
    }

    #[inline]
    fn check_room(&self, side: Side, ticks: i64, more: i64) -> Result<(), BookError> {
        let held = self.ladders[index(side)].get(key(side, ticks)).map_or(0, |queue| queue.quantity);
        if held.checked_add(more).is_none() {
            return Err(BookError::Overflow(Price::from_nanos(self.scale.price(ticks))));
        }
        Ok(())
    }

    #[inline]
    fn take_slot(&mut self, order: Order) -> u32 {
        if self.free == NIL {
            self.slab.push(order);
            return u32::try_from(self.slab.len() - 1).expect("orders_max is far below 2^32");
        }
        let slot = self.free;
        self.free = self.slab[slot as usize].behind;
        self.slab[slot as usize] = order;
        slot
    }

    /// Links an order to the back of its level's queue.
    #[inline]
    fn join(&mut self, slot: u32, side: Side, ticks: i64, quantity: i64) {
        let queue = self.ladders[index(side)].open(key(side, ticks));
        let last = queue.back;
        queue.back = slot;
        queue.orders += 1;
        queue.quantity += quantity;
        if last == NIL {
            queue.front = slot;
        } else {
            self.slab[last as usize].behind = slot;
        }
        let order = &mut self.slab[slot as usize];
        order.ahead = last;
        order.behind = NIL;
        let (orders, total) = &mut self.totals[index(side)];
        *orders += 1;
        *total += i128::from(quantity);
    }

    /// Unlinks an order from its level's queue, and the level from its side when it was the last.
    #[inline]
    fn leave(&mut self, slot: u32) {
        let order = self.slab[slot as usize];
        let side = order.side();
        let key = key(side, self.scale.ticks_on_grid(order.price()));
        let ladder = &mut self.ladders[index(side)];
        let queue = ladder.existing(key);
        queue.orders -= 1;
        queue.quantity -= order.quantity;
        if order.ahead == NIL {
            queue.front = order.behind;
        } else {
            self.slab[order.ahead as usize].behind = order.behind;
        }
        if order.behind == NIL {
            queue.back = order.ahead;
        } else {
            self.slab[order.behind as usize].ahead = order.ahead;
        }
        if queue.orders == 0 {
            ladder.close(key);
        }
        let (orders, total) = &mut self.totals[index(side)];
        *orders -= 1;
        *total -= i128::from(order.quantity);
    }

    #[inline]
    fn remove(&mut self, position: usize, slot: u32) {
        self.leave(slot);
        self.map.remove(position);
        self.slab[slot as usize].behind = self.free;
        self.free = slot;
        self.live -= 1;
    }

    #[inline]
    fn resize_level(&mut self, order: &Order, by: i64) {
        let side = order.side();
        let key = key(side, self.scale.ticks_on_grid(order.price()));
        self.ladders[index(side)].existing(key).quantity += by;
        self.totals[index(side)].1 += i128::from(by);
    }
}

impl OrderBook {
    /// The best level's price and quantity.
    #[must_use]
    #[inline]
    pub fn best(&self, side: Side) -> Option<(Price, Quantity)> {
        let ladder = &self.ladders[index(side)];
        let best = ladder.best();
        if best == NONE {
            return None;
        }
        let queue = ladder.get(best).expect("the best level exists");
        let price = self.scale.price(key(side, best));
        Some((Price::from_nanos(price), Quantity::from_nanos(queue.quantity)))
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = BookLevel> {
        self.ladders[index(side)].iter().map(move |(at, queue)| BookLevel {
            price: Price::from_nanos(self.scale.price(key(side, at))),
            quantity: Quantity::from_nanos(queue.quantity),
            orders: queue.orders,
        })
    }

    /// The orders of a side, best level first, each level in queue order.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = RestingOrder> {
        self.ladders[index(side)].iter().flat_map(move |(_, queue)| {
            std::iter::successors(self.resting(queue.front), |order| self.resting(order.behind))
                .map(|order| order.describe())
        })
    }

    fn resting(&self, slot: u32) -> Option<Order> {
        (slot != NIL).then(|| self.slab[slot as usize])
    }

    /// A resting order by the venue's number.
    #[must_use]
    pub fn order(&self, id: u64) -> Option<RestingOrder> {
        self.find(id).map(|(_, slot)| self.slab[slot as usize].describe())
    }

    /// The level at a price, where there is one.
    #[must_use]
    pub fn level(&self, side: Side, price: Price) -> Option<BookLevel> {
        let ticks = grid(&self.scale, price.nanos()).ok()?;
        let queue = self.ladders[index(side)].get(key(side, ticks))?;
        Some(BookLevel { price, quantity: Quantity::from_nanos(queue.quantity), orders: queue.orders })
    }

    /// A side summed up.
    #[must_use]
    pub fn totals(&self, side: Side) -> SideTotals {
        let (orders, quantity) = self.totals[index(side)];
        SideTotals { levels: self.ladders[index(side)].len(), orders, quantity: Money::from_nanos(quantity) }
    }

    /// Resting orders.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no order rests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The tick, where one is known yet, and where it comes from.
    #[must_use]
    pub fn tick(&self) -> (Option<Price>, TickSource) {
        (self.scale.known(), self.scale.source)
    }

    pub(crate) fn scale(&self) -> TickScale {
        self.scale
    }

    #[cfg(test)]
    pub(crate) fn capacities(&self) -> (usize, usize) {
        (self.slab.capacity(), self.map.capacity())
    }
}
