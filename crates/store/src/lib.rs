//! SQL storage of engine results on SQLite or PostgreSQL, by URL, behind one bounded writer.
//!
//! It decides how rows are laid out, queued, batched and retried. It never blocks or stops an engine:
//! [`Store::write`] only queues, a database that is down makes [`Store::health`] say so, and the rows catch up
//! when it is back.

mod config;
mod database;
mod error;
mod queue;
mod reads;
mod rows;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use nautilus_messages::record::Record;

pub use config::{StoreConfig, mask_url};
pub use error::StoreError;

use config::Target;
use database::Database;
use queue::Shared;

/// Whether the database takes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreState {
    /// It does.
    Up,
    /// It does not; rows queue and are written when it is back.
    Down {
        /// Why, in one sentence.
        reason: String,
    },
}

/// The store's condition and its counts since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether the database takes rows.
    pub state: StoreState,
    /// Rows accepted and not yet committed.
    pub queued_rows: u64,
    /// Rows committed.
    pub written_rows: u64,
    /// Rows given up because the queue was full or the store was closed.
    pub dropped_rows: u64,
    /// Rows that the tables cannot hold: a value out of range, or a constraint of the database.
    pub rejected_rows: u64,
}

impl StoreHealth {
    /// Whether the database takes rows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == StoreState::Up
    }
}

/// A handle on the store; clones share one queue and one writer.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    database: Database,
    // The writer stops when the last handle is dropped.
    _last_handle: Arc<LastHandle>,
}

#[derive(Debug)]
struct LastHandle(Arc<Shared>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Store {
    /// Opens the database, creates the SQLite file and its folder where needed, and applies the migrations.
    ///
    /// A PostgreSQL server that does not answer is not an error: the store starts down, queues, and keeps trying.
    /// Must be called inside a tokio runtime, on which the writer then runs.
    ///
    /// # Errors
    /// When the URL is malformed, the SQLite file cannot be created or written, the server refuses the user or
    /// knows no such database, or the schema is newer than this build.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let target = Target::parse(&config.url)?;
        let must_answer = matches!(target, Target::Sqlite(_));
        let database = Database::new(target, config.masked_url())?;
        let down = match database.prepare().await {
            Ok(()) => None,
            Err(StoreError::Down { reason }) if !must_answer => Some(reason),
            Err(error) => return Err(error),
        };
        if let Some(reason) = &down {
            tracing::warn!(%reason, "the store starts down: rows queue until the database answers");
        }
        let shared = Arc::new(Shared::new(config.queue_limit, config.service, down.clone()));
        writer::spawn(Arc::clone(&shared), database.clone(), down.is_none());
        Ok(Self { _last_handle: Arc::new(LastHandle(Arc::clone(&shared))), shared, database })
    }

    /// Queues rows. Never blocks and never fails: at the bound the oldest rows are dropped and counted, except
    /// settings, of which only the latest of each key waits. A row with the key of an earlier one replaces it.
    pub fn write(&self, records: impl IntoIterator<Item = Record>) {
        self.shared.push(records);
    }

    /// The store's condition now.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.shared.health()
    }

    /// Waits until everything written before this call is committed (or counted as dropped or rejected).
    ///
    /// # Errors
    /// When that takes longer than `timeout`.
    pub async fn flush(&self, timeout: Duration) -> Result<(), StoreError> {
        self.shared.flush(timeout).await
    }

    /// Takes no more rows, writes what is queued, and closes the connections.
    ///
    /// # Errors
    /// When rows are still queued after `timeout`; they are lost.
    pub async fn close(&self, timeout: Duration) -> Result<(), StoreError> {
        self.shared.close();
        let flushed = self.shared.flush(timeout).await;
        self.shared.abandon();
        // A connection that hangs must not hold up a shutdown: the process closes it.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.database.close()).await;
        flushed
    }
}
