//! Sources of market data: recordings (DBN and CSV files) and the exchange simulator, all read as frames.
//!
//! A [`Feed`] turns what a venue said into [`nautilus_messages::frame`] frames, instrument by instrument, and
//! says where it stands. It never judges the data (absurd prices and odd sequence numbers pass through, the
//! market data engine judges them), never waits for a clock, and never panics on what a file holds.

mod csv;
mod dbn;
mod error;
mod feed;
mod file;
mod frames;
mod registry;
mod simulator;

pub use dbn::{Written, write_dbn};
pub use error::FeedError;
pub use feed::{Feed, FeedDescription, FeedKind, Progress, Read};
pub use file::FileFeed;
pub use registry::{FeedId, Registry};
pub use simulator::{Simulator, SimulatorConfig};
