//! The marketdata engine: sequences market data, keeps the books, sums up trades, and says what the star gets.
//!
//! [`MarketdataEngine`] takes the frames of the feeds in and publishes every accepted one again under the hub's own
//! contiguous numbers, with quotes, bars, gaps and states that follow from them. Books hold prices as integer
//! ticks and take crossed states as they come. Nothing a frame holds can stop it: what makes no sense is refused
//! and counted by reason. It reads no clock, no file and no socket.
//!
//! - [`OrderBook`] and [`LevelBook`] can be used alone; [`NaiveBook`] is their slow, obvious twin.
//! - The states of a book and how it gets from one to the other stand at the top of `sync.rs`.

mod bar_spec;
mod bars;
#[cfg(test)]
mod bars_tests;
mod book;
#[cfg(test)]
mod book_tests;
mod channel;
mod clock;
mod config;
mod depth;
mod engine;
#[cfg(test)]
mod engine_tests;
mod ladder;
mod level_book;
mod line;
mod naive_book;
mod order_book;
mod order_map;
mod picture;
mod sequencer;
mod statistics;
mod sync;
mod tape;
mod tick;
mod view;

pub use bar_spec::{BarSpec, BarSpecError};
pub use book::{Applied, BookError, BookLevel, BookLimits, SideTotals};
pub use config::{BAR_SPECS_MAX, Command, Config};
pub use engine::MarketdataEngine;
pub use level_book::LevelBook;
pub use naive_book::NaiveBook;
pub use order_book::{OrderBook, RestingOrder};
pub use sequencer::HELD_MAX;
pub use tick::{PRICE_LIMIT_NANOS, TickSource};
pub use view::{BarsView, BookView, Counters, HubCounters, InstrumentView, QuoteView, TradeView};
