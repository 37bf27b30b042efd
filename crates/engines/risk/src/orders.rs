//! Orders and executions that were seen: one id, one answer; one execution, one booking.

use std::collections::VecDeque;

use nautilus_messages::mesh::{OrderRequest, Reasons, Uid};
use nautilus_types::{NANOS_PER_DAY, UnixNanos, Venue};
use serde::{Deserialize, Serialize};

use crate::index::Index;

/// An order that the gate has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) request: OrderRequest,
    pub(crate) reasons: Reasons,
    pub(crate) warnings: Reasons,
    pub(crate) at: UnixNanos,
    /// The strategy's node and the instrument's row; nowhere when one of them was not known.
    pub(crate) leaf: u32,
    pub(crate) row: u32,
    /// What may still be executed; zero once it is over.
    pub(crate) left: i64,
    pub(crate) filled: i64,
    /// A cancel came by.
    pub(crate) cancelling: bool,
}

/// Decided orders: of accepted ones all that are open and at least a day's worth of the others; of rejected ones the newest,
/// so that nobody who sends what is refused keeps others from trading.
#[derive(Debug)]
pub(crate) struct Orders {
    accepted: Ring,
    rejected: Ring,
    most: usize,
}

/// For so many accepted orders one rejected is remembered.
const ACCEPTED_FOR_EACH: usize = 4;

impl Orders {
    pub(crate) fn new(most: usize) -> Self {
        let rejected = Ring::with_capacity(Self::rejected_most(most));
        Self { accepted: Ring::with_capacity(most), rejected, most }
    }

    const fn rejected_most(most: usize) -> usize {
        most.div_ceil(ACCEPTED_FOR_EACH)
    }

    pub(crate) fn from_list(list: Vec<Order>, most: usize) -> Result<Self, String> {
        let mut this = Self::new(most.max(list.len()));
        this.most = most;
        for order in list {
            if this.find(order.request.order_id).is_some() {
                return Err("an order stands there twice".to_owned());
            }
            this.push(order);
        }
        Ok(this)
    }

    #[inline]
    pub(crate) fn find(&self, id: Uid) -> Option<&Order> {
        self.accepted.find(id).or_else(|| self.rejected.find(id))
    }

    pub(crate) fn find_mut(&mut self, id: Uid) -> Option<&mut Order> {
        self.accepted.find_mut(id).or_else(|| self.rejected.find_mut(id))
    }

    /// Whether one more that is accepted can be remembered.
    #[inline]
    pub(crate) fn has_room(&self, now: UnixNanos) -> bool {
        let orders = &self.accepted.orders;
        orders.len() < self.most || orders.iter().take(64).any(|order| is_over(order, now))
    }

    /// Adds a decided order. Accepted ones that are over for a day make room, and the oldest of those that were rejected.
    pub(crate) fn push(&mut self, order: Order) {
        if !order.reasons.is_empty() {
            if self.rejected.orders.len() >= Self::rejected_most(self.most) {
                self.rejected.pop();
            }
            return self.rejected.append(order);
        }
        // Open orders in front of one that can go move to the end, a bounded number of them each time.
        for _ in 0..64 {
            if self.accepted.orders.len() < self.most {
                break;
            }
            let Some(oldest) = self.accepted.pop() else { break };
            if !is_over(&oldest, order.at) {
                self.accepted.append(oldest);
            }
        }
        self.accepted.append(order);
    }

    /// How many may still be executed.
    pub(crate) fn open(&self) -> usize {
        self.accepted.orders.iter().filter(|order| order.left != 0).count()
    }

    /// Oldest to newest: accepted ones, then rejected ones.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.accepted.orders.iter().chain(&self.rejected.orders)
    }

    /// Newest to oldest, whatever was decided.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Order> {
        let mut accepted = self.accepted.orders.iter().rev().peekable();
        let mut rejected = self.rejected.orders.iter().rev().peekable();
        std::iter::from_fn(move || match (accepted.peek(), rejected.peek()) {
            (Some(one), Some(other)) if other.at > one.at => rejected.next(),
            (Some(_), _) => accepted.next(),
            (None, _) => rejected.next(),
        })
    }
}

/// Orders by arrival and by id.
#[derive(Debug)]
struct Ring {
    orders: VecDeque<Order>,
    /// The number of the first; numbers wrap.
    base: u32,
    index: Index<16>,
}

fn key(id: Uid) -> [u8; 16] {
    id.0.to_le_bytes()
}

impl Ring {
    fn with_capacity(most: usize) -> Self {
        Self { orders: VecDeque::with_capacity(most), base: 0, index: Index::with_capacity(most) }
    }

    #[inline]
    fn number(&self, id: Uid) -> Option<u32> {
        let (orders, base) = (&self.orders, self.base);
        self.index.find(&key(id), |number| key(orders[number.wrapping_sub(base) as usize].request.order_id))
    }

    #[inline]
    fn find(&self, id: Uid) -> Option<&Order> {
        self.number(id).map(|number| &self.orders[number.wrapping_sub(self.base) as usize])
    }

    fn find_mut(&mut self, id: Uid) -> Option<&mut Order> {
        let position = self.number(id)?.wrapping_sub(self.base) as usize;
        self.orders.get_mut(position)
    }

    fn pop(&mut self) -> Option<Order> {
        let oldest = self.orders.pop_front()?;
        self.index.remove(&key(oldest.request.order_id), self.base);
        self.base = self.base.wrapping_add(1);
        Some(oldest)
    }

    fn append(&mut self, order: Order) {
        let number = self.base.wrapping_add(self.orders.len() as u32);
        let id = key(order.request.order_id);
        self.orders.push_back(order);
        let (orders, base) = (&self.orders, self.base);
        self.index
            .insert(&id, number, |number| key(orders[number.wrapping_sub(base) as usize].request.order_id));
    }
}

fn is_over(order: &Order, now: UnixNanos) -> bool {
    order.left == 0 && now.0.saturating_sub(order.at.0) > NANOS_PER_DAY
}

/// The newest executions.
#[derive(Debug)]
pub(crate) struct Executions {
    ring: VecDeque<(Venue, Uid)>,
    base: u32,
    index: Index<24>,
    most: usize,
}

fn execution_key((venue, id): (Venue, Uid)) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&venue.to_bytes());
    key[8..].copy_from_slice(&id.0.to_le_bytes());
    key
}

impl Executions {
    pub(crate) fn new(most: usize) -> Self {
        Self { ring: VecDeque::new(), base: 0, index: Index::default(), most }
    }

    pub(crate) fn from_list(list: Vec<(Venue, Uid)>, most: usize) -> Self {
        let mut this = Self::new(most);
        list.into_iter().for_each(|execution| this.push(execution));
        this
    }

    pub(crate) fn contains(&self, execution: (Venue, Uid)) -> bool {
        let (ring, base) = (&self.ring, self.base);
        let key_of = |number: u32| execution_key(ring[number.wrapping_sub(base) as usize]);
        self.index.find(&execution_key(execution), key_of).is_some()
    }

    /// Adds one that is not there; the oldest makes room.
    pub(crate) fn push(&mut self, execution: (Venue, Uid)) {
        if self.ring.len() == self.most
            && let Some(oldest) = self.ring.pop_front()
        {
            self.index.remove(&execution_key(oldest), self.base);
            self.base = self.base.wrapping_add(1);
        }
        let number = self.base.wrapping_add(self.ring.len() as u32);
        self.ring.push_back(execution);
        let (ring, base) = (&self.ring, self.base);
        self.index.insert(&execution_key(execution), number, |number| {
            execution_key(ring[number.wrapping_sub(base) as usize])
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Venue, Uid)> {
        self.ring.iter()
    }
}
