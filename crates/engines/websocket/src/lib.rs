//! The websocket engine: hears both buses and says, topic by topic, what changed since it last said so.
//!
//! It keeps the books that snapshots are made from and knows nothing of clients, JSON or sockets.

mod topic;

pub use topic::{BookChange, BookPicture, Change, Level, Print, Publication, Topic, TopicPicture};
