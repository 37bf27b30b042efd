//! Order books in integer ticks, order by order and level by level.
//!
//! They decide what a change does to a book, and take crossed states as they come. Where changes come from is not
//! their business, and nothing here reads a clock, a file or a socket.
//!
//! - [`OrderBook`] and [`LevelBook`] can be used alone; [`NaiveBook`] is the slow, obvious twin of the first.
//! - [`Depth`] is the one of the two that an instrument's source sends.
//! - [`BookFollower`] keeps a reader's copy in step with the hub; its rules stand at the top of `follower.rs`.

mod book;
#[cfg(test)]
mod book_tests;
mod depth;
mod follower;
#[cfg(test)]
mod follower_tests;
mod ladder;
mod level_book;
mod naive_book;
mod order_book;
mod order_map;
mod tick;

pub use book::{Applied, BookError, BookLevel, BookLimits, SideTotals};
pub use depth::{BookView, Depth, QuoteView, SavedDepth};
pub use follower::{BookFollower, HELD_MAX, SavedFollower, Touched};
pub use level_book::LevelBook;
pub use naive_book::NaiveBook;
pub use order_book::{OrderBook, RestingOrder};
pub use tick::{PRICE_LIMIT_NANOS, TickSource, is_absurd};
