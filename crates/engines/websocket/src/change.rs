//! What changed in a topic, and its whole state.
//!
//! Plain data, and how two changes that follow each other become one. It knows no JSON.

use std::sync::Arc;

use nautilus_messages::frame::BookState;
use nautilus_messages::mesh::{EngineHealth, RiskAlert, RiskMetric, ToxicityAlert, VpinUpdate};
use nautilus_messages::record::BarRecord;
use nautilus_types::{Price, Quantity, Side, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::topic::Topic;

/// Trades, bars, buckets or alerts from which on a merged change is not to be merged with more.
pub const EVENTS_MAX: usize = 1_000;

/// What changed in one topic since its last publication.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Which topic.
    pub topic: Topic,
    /// The topic's number after this change: events counted since the engine's start.
    pub seq: u64,
    /// The number before it: that of the topic's last publication.
    pub prev_seq: u64,
    /// The newest event's time.
    pub ts: UnixNanos,
    /// What changed.
    pub change: Arc<Change>,
}

/// What changed. Merging two that follow each other gives the change over both.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Levels with their new content.
    Book(BookChange),
    /// New trades, oldest first.
    Trades(Vec<Print>),
    /// Completed bars, oldest first.
    Bars(Vec<BarRecord>),
    /// Completed buckets, oldest first.
    Vpin(Vec<VpinUpdate>),
    /// Level changes, oldest first.
    Alerts(Vec<ToxicityAlert>),
    /// The newest measures.
    Risk(RiskMetric),
    /// What crossed a limit or stopped trading, oldest first.
    RiskAlerts(Vec<RiskAlert>),
    /// The newest state.
    System(EngineHealth),
}

/// Levels that changed, each with its whole new content.
#[derive(Debug, Clone, PartialEq)]
pub struct BookChange {
    /// Live, syncing or stale after the change.
    pub state: BookState,
    /// The hub's number of the last frame applied.
    pub sequence: u64,
    /// The book was cleared before these levels were set.
    pub cleared: bool,
    /// Best first; quantity zero: the level is gone.
    pub bids: Vec<Level>,
    /// Best first; quantity zero: the level is gone.
    pub asks: Vec<Level>,
    /// CRC-32 of the ten best levels after the change: see `docs/websocket.md`.
    pub checksum: u32,
}

/// One price level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Its price.
    pub price: Price,
    /// Everything that rests there.
    pub quantity: Quantity,
    /// How many orders that is; zero where the source does not say.
    pub orders: u32,
}

/// One trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// The hub's number.
    pub sequence: u64,
    /// When it happened.
    pub ts_event: UnixNanos,
    /// Its price.
    pub price: Price,
    /// How much.
    pub quantity: Quantity,
    /// Who was the aggressor, where known.
    pub aggressor: Option<Side>,
}

/// A topic's whole state: what a client starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPicture {
    /// Which topic.
    pub topic: Topic,
    /// The topic's number after everything that this contains: perhaps past its last publication.
    pub seq: u64,
    /// The newest event's time.
    pub ts: UnixNanos,
    /// The state: for trades, bars, buckets and alerts the most recent ones.
    pub state: Change,
}

/// A whole book is a change from nothing.
pub type BookPicture = BookChange;

impl Change {
    /// Adds what changed later. The result stands for both: levels hold their last content, lists are joined
    /// whole, so that whoever merges stops in time. A change of another kind, which no topic has, replaces this one.
    pub fn merge(&mut self, later: &Self) {
        match (self, later) {
            (Self::Book(book), Self::Book(later)) => book.merge(later),
            (Self::Trades(list), Self::Trades(later)) => list.extend_from_slice(later),
            (Self::Bars(list), Self::Bars(later)) => list.extend_from_slice(later),
            (Self::Vpin(list), Self::Vpin(later)) => list.extend_from_slice(later),
            (Self::Alerts(list), Self::Alerts(later)) => list.extend_from_slice(later),
            (Self::RiskAlerts(list), Self::RiskAlerts(later)) => list.extend_from_slice(later),
            (this, later) => *this = later.clone(),
        }
    }

    /// Trades, bars, buckets or alerts: what merging adds up. What is a state has none.
    #[must_use]
    pub fn events(&self) -> usize {
        match self {
            Self::Trades(list) => list.len(),
            Self::Bars(list) => list.len(),
            Self::Vpin(list) => list.len(),
            Self::Alerts(list) => list.len(),
            Self::RiskAlerts(list) => list.len(),
            Self::Book(_) | Self::Risk(_) | Self::System(_) => 0,
        }
    }
}

impl BookChange {
    fn merge(&mut self, later: &Self) {
        if later.cleared {
            self.clone_from(later);
            return;
        }
        self.bids = merged(&self.bids, &later.bids, |a, b| a.price > b.price);
        self.asks = merged(&self.asks, &later.asks, |a, b| a.price < b.price);
        if self.cleared {
            // Nothing is there to be removed.
            self.bids.retain(|level| level.quantity.is_positive());
            self.asks.retain(|level| level.quantity.is_positive());
        }
        (self.state, self.sequence, self.checksum) = (later.state, later.sequence, later.checksum);
    }
}

/// Two lists in book order as one; where both have a price, the later content counts.
fn merged(earlier: &[Level], later: &[Level], better: fn(&Level, &Level) -> bool) -> Vec<Level> {
    let mut all = Vec::with_capacity(earlier.len() + later.len());
    let mut later = later.iter().copied().peekable();
    for level in earlier {
        while let Some(next) = later.next_if(|next| better(next, level)) {
            all.push(next);
        }
        all.push(later.next_if(|next| next.price == level.price).unwrap_or(*level));
    }
    all.extend(later);
    all
}
