//! The websocket engine: hears both buses and says, topic by topic, what changed since it last said so.
//!
//! It keeps the books that snapshots are made from and knows nothing of clients, JSON or sockets.

mod book;
mod change;
mod checksum;
mod engine;
mod latest;
mod log;
mod risk;
mod slot;
mod topic;

pub use change::{BookChange, BookPicture, Change, EVENTS_MAX, Level, Print, Publication, TopicPicture};
pub use engine::WebsocketEngine;
pub use nautilus_book::BookLimits;
pub use topic::{Topic, TopicError};
