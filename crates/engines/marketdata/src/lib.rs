//! The marketdata engine: sequences market data, keeps the books, sums up trades, and says what the star gets.
//!
//! [`MarketdataEngine`] takes the frames of the feeds in and publishes every accepted one again under the hub's own
//! contiguous numbers, with quotes, bars, gaps and states that follow from them. Books hold prices as integer
//! ticks and take crossed states as they come. Nothing a frame holds can stop it: what makes no sense is refused
//! and counted by reason. It reads no clock, no file and no socket.
//!
//! - The books themselves stand in `nautilus-book`.
//! - The states of a book and how it gets from one to the other stand at the top of `sync.rs`.

mod bars;
#[cfg(test)]
mod bars_tests;
mod channel;
mod clock;
mod config;
mod engine;
#[cfg(test)]
mod engine_tests;
mod line;
mod picture;
mod sequencer;
mod statistics;
mod sync;
mod tape;
mod view;

pub use config::{BAR_SPECS_MAX, Command, Config};
pub use engine::MarketdataEngine;
pub use nautilus_book::{
    Applied, BookError, BookLevel, BookLimits, BookView, LevelBook, NaiveBook, OrderBook, PRICE_LIMIT_NANOS,
    QuoteView, RestingOrder, SideTotals, TickSource,
};
pub use nautilus_messages::{BarSpec, BarSpecError};
pub use sequencer::HELD_MAX;
pub use view::{BarsView, Counters, HubCounters, InstrumentView, TradeView};
