//! Why the store cannot be opened, read or flushed. Every text names what to do; none holds a password.

use std::time::Duration;

/// Why the store cannot be opened, read or flushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A URL that names no database.
    #[error(
        "the store URL '{url}' cannot be used: {reason}; write sqlite://data/nautilus.db or \
         postgres://user:password@host/database"
    )]
    Url {
        /// The URL, password masked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A SQLite file that cannot be created, read or written.
    #[error("the SQLite file '{path}' cannot be used: {reason}; name a file in a folder that may be written")]
    File {
        /// The file.
        path: String,
        /// What the system or SQLite said.
        reason: String,
    },
    /// A server that answers and says no.
    #[error("the database '{url}' refuses: {reason}; check user, password, database name and TLS mode")]
    Refused {
        /// The URL, password masked.
        url: String,
        /// What the server said.
        reason: String,
    },
    /// Tables of a later build, or changed by hand.
    #[error(
        "the schema of '{url}' is not this build's: {reason}; run the build that wrote it or name another database"
    )]
    Schema {
        /// The URL, password masked.
        url: String,
        /// What differs.
        reason: String,
    },
    /// The database does not answer or cannot write at present.
    #[error("the store is down: {reason}; rows are queued and written when it is back")]
    Down {
        /// What was tried and what happened.
        reason: String,
    },
    /// A flush or close that ran out of time.
    #[error("{queued_rows} rows were still queued after {timeout:?}: {reason}")]
    NotFlushed {
        /// Rows not yet committed.
        queued_rows: u64,
        /// How long was waited.
        timeout: Duration,
        /// Why the store is down, or that it is slow.
        reason: String,
    },
    /// A stored row that this build cannot read.
    #[error(
        "a row of table {table} cannot be read: column {column} holds {value}; it was not written by this build"
    )]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}
