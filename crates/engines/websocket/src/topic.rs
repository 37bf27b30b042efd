//! What clients subscribe to, what changed in it, and its whole state.

use std::sync::Arc;

use nautilus_messages::EngineName;
use nautilus_messages::frame::BookState;
use nautilus_messages::mesh::{EngineHealth, ToxicityAlert, VpinUpdate};
use nautilus_messages::record::BarRecord;
use nautilus_types::{Price, Quantity, Side, Symbol, UnixNanos};

/// What a client subscribes to. Its name is what `Display` writes and `FromStr` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `books.ESH4`: every level of the book.
    Book(Symbol),
    /// `trades.ESH4`: every trade.
    Trades(Symbol),
    /// `bars.ESH4.1m`: completed bars. The interval is named as in the HTTP interface of marketdata.
    Bars(Symbol, Symbol),
    /// `vpin.ESH4`: completed VPIN buckets.
    Vpin(Symbol),
    /// `alerts.ESH4`: changes of the toxicity level.
    Alerts(Symbol),
    /// `system.vpin`: how far an engine has come, once a second.
    System(EngineName),
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The number of the last publication that this contains.
    pub seq: u64,
    /// The newest event's time.
    pub ts: UnixNanos,
    /// The state: for trades, bars, buckets and alerts the most recent ones.
    pub state: Change,
}

/// A whole book is a change from nothing.
pub type BookPicture = BookChange;
