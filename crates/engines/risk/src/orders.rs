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

/// Decided orders: all open ones, and at least a day's worth of the others.
#[derive(Debug)]
pub(crate) struct Orders {
    ring: VecDeque<Order>,
    /// The number of the ring's first; numbers wrap.
    base: u32,
    index: Index<16>,
    most: usize,
}

fn key(id: Uid) -> [u8; 16] {
    id.0.to_le_bytes()
}

impl Orders {
    pub(crate) fn new(most: usize) -> Self {
        Self { ring: VecDeque::with_capacity(most), base: 0, index: Index::with_capacity(most), most }
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
    fn number(&self, id: Uid) -> Option<u32> {
        let (ring, base) = (&self.ring, self.base);
        self.index.find(&key(id), |number| key(ring[number.wrapping_sub(base) as usize].request.order_id))
    }

    #[inline]
    pub(crate) fn find(&self, id: Uid) -> Option<&Order> {
        self.number(id).map(|number| &self.ring[number.wrapping_sub(self.base) as usize])
    }

    pub(crate) fn find_mut(&mut self, id: Uid) -> Option<&mut Order> {
        let position = self.number(id)?.wrapping_sub(self.base) as usize;
        self.ring.get_mut(position)
    }

    /// Whether one more can be remembered.
    #[inline]
    pub(crate) fn has_room(&self, now: UnixNanos) -> bool {
        self.ring.len() < self.most || self.ring.iter().take(64).any(|order| is_over(order, now))
    }

    /// Adds a decided order. Orders that are over for a day make room.
    pub(crate) fn push(&mut self, order: Order) {
        // Open orders in front of one that can go move to the end, a bounded number of them each time.
        for _ in 0..64 {
            if self.ring.len() < self.most {
                break;
            }
            let Some(oldest) = self.ring.pop_front() else { break };
            self.index.remove(&key(oldest.request.order_id), self.base);
            self.base = self.base.wrapping_add(1);
            if !is_over(&oldest, order.at) {
                self.append(oldest);
            }
        }
        self.append(order);
    }

    fn append(&mut self, order: Order) {
        let number = self.base.wrapping_add(self.ring.len() as u32);
        let id = key(order.request.order_id);
        self.ring.push_back(order);
        let (ring, base) = (&self.ring, self.base);
        self.index
            .insert(&id, number, |number| key(ring[number.wrapping_sub(base) as usize].request.order_id));
    }

    /// How many may still be executed.
    pub(crate) fn open(&self) -> usize {
        self.ring.iter().filter(|order| order.left != 0).count()
    }

    /// Oldest to newest.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Order> {
        self.ring.iter()
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
