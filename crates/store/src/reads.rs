//! Questions about what is stored. Every answer is bounded; rows still queued are not part of it.

use nautilus_messages::EngineName;
use nautilus_messages::frame::BarUnit;
use nautilus_messages::mesh::Classification;
use nautilus_messages::record::{BarRecord, SessionStatistics, Setting, VpinBucket};
use nautilus_types::{Instrument, Symbol, UnixNanos};

use crate::rows::{self, Reader, Table, Value, name_of};
use crate::{Store, StoreError};

/// The most rows of the questions that name no limit.
const ROWS_MAX: i64 = 100_000;

impl Store {
    /// The latest `limit` bars that opened in `from..to`, oldest first.
    ///
    /// # Errors
    /// When the database does not answer or holds a row this build cannot read.
    pub async fn bars(
        &self,
        instrument: Symbol,
        unit: BarUnit,
        interval: u64,
        from: UnixNanos,
        to: UnixNanos,
        limit: u32,
    ) -> Result<Vec<BarRecord>, StoreError> {
        let sql = "WHERE instrument = $1 AND unit = $2 AND interval = $3 AND ts_open_ns >= $4 \
                   AND ts_open_ns < $5 ORDER BY ts_open_ns DESC LIMIT $6";
        let arguments = vec![
            symbol(instrument),
            name_of(unit),
            clamped(interval),
            clamped(from.0),
            clamped(to.0),
            Value::BigInt(limit.into()),
        ];
        self.latest(&rows::MARKET_BARS, sql, arguments, Reader::bar).await
    }

    /// The instrument's days, oldest first.
    ///
    /// # Errors
    /// When the database does not answer or holds a row this build cannot read.
    pub async fn session_statistics(&self, instrument: Symbol) -> Result<Vec<SessionStatistics>, StoreError> {
        let sql = "WHERE instrument = $1 ORDER BY day_ns DESC LIMIT $2";
        let arguments = vec![symbol(instrument), Value::BigInt(ROWS_MAX)];
        self.latest(&rows::SESSION_STATISTICS, sql, arguments, Reader::session_statistics).await
    }

    /// The latest `limit` buckets completed in `from..to`, oldest first.
    ///
    /// # Errors
    /// When the database does not answer or holds a row this build cannot read.
    pub async fn vpin_buckets(
        &self,
        instrument: Symbol,
        classification: Classification,
        from: UnixNanos,
        to: UnixNanos,
        limit: u32,
    ) -> Result<Vec<VpinBucket>, StoreError> {
        let sql = "WHERE instrument = $1 AND classification = $2 AND ts_close_ns >= $3 AND ts_close_ns < $4 \
                   ORDER BY ts_close_ns DESC, bucket DESC LIMIT $5";
        let arguments = vec![
            symbol(instrument),
            name_of(classification),
            clamped(from.0),
            clamped(to.0),
            Value::BigInt(limit.into()),
        ];
        self.latest(&rows::VPIN_BUCKETS, sql, arguments, Reader::vpin_bucket).await
    }

    /// An engine's settings, by key.
    ///
    /// # Errors
    /// When the database does not answer or holds a row this build cannot read.
    pub async fn settings(&self, engine: EngineName) -> Result<Vec<Setting>, StoreError> {
        let sql = "WHERE engine = $1 ORDER BY key DESC LIMIT $2";
        let arguments = vec![name_of(engine), Value::BigInt(ROWS_MAX)];
        self.latest(&rows::ENGINE_SETTINGS, sql, arguments, Reader::setting).await
    }

    /// Every instrument, by number.
    ///
    /// # Errors
    /// When the database does not answer or holds a row this build cannot read.
    pub async fn instruments(&self) -> Result<Vec<Instrument>, StoreError> {
        let sql = "ORDER BY id DESC, symbol DESC LIMIT $1";
        self.latest(&rows::INSTRUMENTS, sql, vec![Value::BigInt(ROWS_MAX)], Reader::instrument).await
    }

    /// Runs a question whose rows come newest first, and turns them round.
    async fn latest<T>(
        &self,
        table: &'static Table,
        tail: &str,
        arguments: Vec<Value>,
        read: fn(Reader) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.database.fetch(table, format!("{} {tail}", table.select()), arguments).await?;
        rows.into_iter().rev().map(|values| read(Reader::new(table, values))).collect()
    }
}

fn symbol(symbol: Symbol) -> Value {
    Value::Text(Some(symbol.to_string()))
}

/// A bound beyond what is storable is as good as the largest storable one.
fn clamped(value: u64) -> Value {
    Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX))
}
