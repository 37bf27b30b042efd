//! The simulated venue's own book: every order in its place in the queue.
//!
//! It keeps orders and refuses to cross; it draws nothing at random and makes no frames.

use std::collections::{BTreeMap, HashMap, VecDeque};

use nautilus_types::Side;

/// A resting order. Prices are in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) side: Side,
    pub(super) price: i64,
    pub(super) quantity: u32,
}

/// Both sides, with the orders in one dense list too, so that one can be drawn at random.
#[derive(Debug, Default)]
pub(super) struct Book {
    orders: Vec<Order>,
    places: HashMap<u64, usize>,
    bids: BTreeMap<i64, VecDeque<u64>>,
    asks: BTreeMap<i64, VecDeque<u64>>,
}

impl Book {
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    /// The n-th order of the dense list, in no meaningful order.
    pub(super) fn nth(&self, n: usize) -> Order {
        self.orders[n]
    }

    /// The best price of a side that is quoted.
    pub(super) fn best(&self, side: Side) -> Option<i64> {
        match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        }
        .map(|(&price, _)| price)
    }

    fn side(&self, side: Side) -> &BTreeMap<i64, VecDeque<u64>> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<i64, VecDeque<u64>> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// How many prices a side quotes.
    pub(super) fn levels(&self, side: Side) -> usize {
        self.side(side).len()
    }

    /// How many orders wait at the order's price, itself included.
    pub(super) fn company(&self, order: &Order) -> usize {
        self.side(order.side).get(&order.price).map_or(0, VecDeque::len)
    }

    /// The orders of a side's best price, first in the queue first.
    pub(super) fn front(&self, side: Side) -> Vec<Order> {
        let Some(price) = self.best(side) else { return Vec::new() };
        self.side(side)[&price].iter().map(|id| self.orders[self.places[id]]).collect()
    }

    /// Puts an order at the end of its queue.
    pub(super) fn add(&mut self, order: Order) {
        assert!(order.quantity > 0, "an order has a quantity");
        let crosses = match (order.side, self.best(order.side.opposite())) {
            (Side::Buy, Some(ask)) => order.price >= ask,
            (Side::Sell, Some(bid)) => order.price <= bid,
            (_, None) => false,
        };
        assert!(!crosses, "what crosses is matched before it rests");
        self.side_mut(order.side).entry(order.price).or_default().push_back(order.id);
        let before = self.places.insert(order.id, self.orders.len());
        assert!(before.is_none(), "numbers of orders are never used twice");
        self.orders.push(order);
    }

    /// Takes an order out of the book.
    pub(super) fn remove(&mut self, id: u64) -> Order {
        let place = self.places.remove(&id).expect("only resting orders are removed");
        let order = self.orders.swap_remove(place);
        if let Some(moved) = self.orders.get(place) {
            self.places.insert(moved.id, place);
        }
        let levels = self.side_mut(order.side);
        let queue = levels.get_mut(&order.price).expect("a resting order has a level");
        queue.retain(|&waiting| waiting != id);
        if queue.is_empty() {
            levels.remove(&order.price);
        }
        order
    }

    /// Makes an order smaller; it keeps its place. At zero it leaves.
    pub(super) fn reduce(&mut self, id: u64, by: u32) {
        let order = &mut self.orders[self.places[&id]];
        assert!(by <= order.quantity, "no more is taken than rests");
        order.quantity -= by;
        if order.quantity == 0 {
            self.remove(id);
        }
    }
}
