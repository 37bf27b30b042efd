//! How a record is laid out in its table, and read back. Knows tables and columns, never a connection.
//!
//! A value that a column cannot hold exactly is refused here, so that both databases refuse the same rows.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::str::FromStr;

use nautilus_messages::record::{BarRecord, Record, SessionStatistics, Setting, VpinBucket};
use nautilus_types::{Instrument, InstrumentId, Price, UnixNanos};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    BigInt,
    Double,
    Text,
}

/// A table: its columns in the order of the migrations, the key first.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, ColumnType)],
    key: usize,
}

use ColumnType::{BigInt, Double, Text};

pub(crate) static INSTRUMENTS: Table = Table {
    name: "instruments",
    columns: &[
        ("symbol", Text),
        ("id", BigInt),
        ("venue", Text),
        ("class", Text),
        ("currency", Text),
        ("tick", Text),
        ("lot", Text),
        ("multiplier", Text),
    ],
    key: 1,
};

pub(crate) static MARKET_BARS: Table = Table {
    name: "market_bars",
    columns: &[
        ("instrument", Text),
        ("unit", Text),
        ("interval", BigInt),
        ("ts_open_ns", BigInt),
        ("ts_close_ns", BigInt),
        ("open", Text),
        ("high", Text),
        ("low", Text),
        ("close", Text),
        ("vwap", Text),
        ("volume", Text),
        ("volume_buy", Text),
        ("volume_sell", Text),
        ("trades", BigInt),
    ],
    key: 4,
};

pub(crate) static SESSION_STATISTICS: Table = Table {
    name: "session_statistics",
    columns: &[
        ("instrument", Text),
        ("day_ns", BigInt),
        ("trades", BigInt),
        ("volume", Text),
        ("volume_buy", Text),
        ("volume_sell", Text),
        ("volume_unknown", Text),
        ("vwap", Text),
        ("low", Text),
        ("high", Text),
        ("first", Text),
        ("last", Text),
    ],
    key: 2,
};

pub(crate) static VPIN_BUCKETS: Table = Table {
    name: "vpin_buckets",
    columns: &[
        ("instrument", Text),
        ("classification", Text),
        ("ts_close_ns", BigInt),
        ("bucket", BigInt),
        ("buy", Double),
        ("sell", Double),
        ("vpin", Double),
    ],
    key: 4,
};

pub(crate) static ENGINE_SETTINGS: Table =
    Table { name: "engine_settings", columns: &[("engine", Text), ("key", Text), ("value", Text)], key: 2 };

static TABLES: [&Table; 5] =
    [&INSTRUMENTS, &MARKET_BARS, &SESSION_STATISTICS, &VPIN_BUCKETS, &ENGINE_SETTINGS];

/// How a statement with many arguments names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// `?`: SQLite looks names up one by one, so names would cost the square of their number.
    Nameless,
    /// `$1`, `$2` …
    Numbered,
}

impl Table {
    /// An insert of `rows` rows that replaces what is there under the same keys.
    fn upsert(&self, rows: usize, placeholder: Placeholder) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.name, names.join(", "));
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..names.len() {
                sql.push_str(if column == 0 { "" } else { ", " });
                match placeholder {
                    Placeholder::Nameless => sql.push('?'),
                    Placeholder::Numbered => {
                        write!(sql, "${}", row * names.len() + column + 1).expect("writing to a string");
                    }
                }
            }
            sql.push(')');
        }
        let updates: Vec<String> =
            names[self.key..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let key = names[..self.key].join(", ");
        write!(sql, " ON CONFLICT ({key}) DO UPDATE SET {}", updates.join(", "))
            .expect("writing to a string");
        sql
    }

    /// Every column of the table, for a `WHERE` or `ORDER BY` to follow.
    pub(crate) fn select(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("SELECT {} FROM {}", names.join(", "), self.name)
    }
}

/// A value in a column. Doubles stand as their bits, so that keys compare and hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    BigInt(i64),
    Double(Option<u64>),
    Text(Option<String>),
}

/// A record laid out for its table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) table: &'static Table,
    values: Vec<Value>,
}

impl Row {
    /// Table and key, for the log.
    pub(crate) fn describe(&self) -> String {
        format!("{} {:?}", self.table.name, &self.values[..self.table.key])
    }
}

/// One statement with its arguments.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) arguments: Vec<Value>,
}

/// Statements come in these sizes only, so that a connection keeps few of them prepared.
const ROWS_PER_STATEMENT: usize = 128;

/// The statements that write `rows`. Of several rows with one key only the last is written: PostgreSQL does
/// not let one statement touch a row twice.
pub(crate) fn statements(rows: &[Row], placeholder: Placeholder) -> Vec<Statement> {
    let mut statements = Vec::new();
    for table in TABLES {
        let mut seen = HashSet::new();
        let mut latest: Vec<&Row> = rows
            .iter()
            .rev()
            .filter(|row| std::ptr::eq(row.table, table) && seen.insert(&row.values[..table.key]))
            .collect();
        latest.reverse();
        let mut rest = latest.as_slice();
        while !rest.is_empty() {
            let size = ROWS_PER_STATEMENT.min(1 << rest.len().ilog2());
            let (chunk, behind) = rest.split_at(size);
            let arguments = chunk.iter().flat_map(|row| row.values.iter().cloned()).collect();
            statements.push(Statement { sql: table.upsert(size, placeholder), arguments });
            rest = behind;
        }
    }
    statements
}

/// Lays out a record, or says which value its table cannot hold.
pub(crate) fn encode(record: &Record) -> Result<Row, String> {
    let (table, values) = match record {
        Record::Instrument(row) => (&INSTRUMENTS, instrument_values(row)?),
        Record::Bar(row) => (&MARKET_BARS, bar_values(row)?),
        Record::SessionStatistics(row) => (&SESSION_STATISTICS, statistics_values(row)?),
        Record::VpinBucket(row) => (&VPIN_BUCKETS, bucket_values(row)?),
        Record::Setting(row) => (
            &ENGINE_SETTINGS,
            vec![name_of(row.engine), plain("key", &row.key)?, plain("value", &row.value)?],
        ),
    };
    debug_assert_eq!(values.len(), table.columns.len(), "{}", table.name);
    Ok(Row { table, values })
}

fn instrument_values(row: &Instrument) -> Result<Vec<Value>, String> {
    Ok(vec![
        text(row.symbol),
        Value::BigInt(row.id.0.into()),
        text(row.venue),
        name_of(row.class),
        text(row.currency),
        text(row.tick),
        text(row.lot),
        text(row.multiplier),
    ])
}

fn bar_values(row: &BarRecord) -> Result<Vec<Value>, String> {
    Ok(vec![
        text(row.instrument),
        name_of(row.unit),
        whole("interval", row.interval)?,
        whole("ts_open", row.ts_open.0)?,
        whole("ts_close", row.ts_close.0)?,
        text(row.open),
        text(row.high),
        text(row.low),
        text(row.close),
        Value::Text(row.vwap.map(|vwap| vwap.to_string())),
        text(row.volume),
        text(row.volume_buy),
        text(row.volume_sell),
        Value::BigInt(row.trades.into()),
    ])
}

fn statistics_values(row: &SessionStatistics) -> Result<Vec<Value>, String> {
    Ok(vec![
        text(row.instrument),
        whole("day", row.day.0)?,
        whole("trades", row.trades)?,
        text(row.volume),
        text(row.volume_buy),
        text(row.volume_sell),
        text(row.volume_unknown),
        text(row.vwap),
        text(row.low),
        text(row.high),
        text(row.first),
        text(row.last),
    ])
}

fn bucket_values(row: &VpinBucket) -> Result<Vec<Value>, String> {
    Ok(vec![
        text(row.instrument),
        name_of(row.classification),
        whole("ts_close", row.ts_close.0)?,
        whole("bucket", row.bucket)?,
        double("buy", Some(row.buy))?,
        double("sell", Some(row.sell))?,
        double("vpin", row.vpin)?,
    ])
}

fn text(value: impl fmt::Display) -> Value {
    Value::Text(Some(value.to_string()))
}

fn whole(column: &str, value: u64) -> Result<Value, String> {
    i64::try_from(value).map(Value::BigInt).map_err(|_| format!("{column} {value} is over {}", i64::MAX))
}

fn double(column: &str, value: Option<f64>) -> Result<Value, String> {
    match value {
        Some(value) if !value.is_finite() => Err(format!("{column} {value} is not a finite number")),
        value => Ok(Value::Double(value.map(f64::to_bits))),
    }
}

/// PostgreSQL's text holds no zero byte.
fn plain(column: &str, value: &str) -> Result<Value, String> {
    if value.contains('\0') {
        return Err(format!("{column} holds a zero byte"));
    }
    Ok(Value::Text(Some(value.to_owned())))
}

/// An enumeration's name, as JSON also spells it.
pub(crate) fn name_of<T: Serialize>(value: T) -> Value {
    struct Name<T>(T);
    impl<T: Serialize> fmt::Display for Name<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.serialize(f)
        }
    }
    text(Name(value))
}

/// A row read back, taken column by column.
pub(crate) struct Reader {
    table: &'static Table,
    values: std::vec::IntoIter<Value>,
    column: usize,
}

impl Reader {
    pub(crate) fn new(table: &'static Table, values: Vec<Value>) -> Self {
        Self { table, values: values.into_iter(), column: 0 }
    }

    fn next(&mut self) -> Value {
        self.column += 1;
        self.values.next().expect("a row has every column of its table")
    }

    fn unreadable(&self, value: impl Into<String>) -> StoreError {
        StoreError::Unreadable {
            table: self.table.name,
            column: self.table.columns[self.column - 1].0,
            value: value.into(),
        }
    }

    fn string(&mut self) -> Result<String, StoreError> {
        match self.next() {
            Value::Text(Some(text)) => Ok(text),
            other => Err(self.unreadable(format!("{other:?}"))),
        }
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T, StoreError> {
        let text = self.string()?;
        text.parse().map_err(|_| self.unreadable(text))
    }

    fn optional_price(&mut self) -> Result<Option<Price>, StoreError> {
        match self.next() {
            Value::Text(None) => Ok(None),
            Value::Text(Some(text)) => text.parse().map(Some).map_err(|_| self.unreadable(text)),
            other => Err(self.unreadable(format!("{other:?}"))),
        }
    }

    fn named<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, StoreError> {
        let text = self.string()?;
        let parsed: Result<T, serde::de::value::Error> = T::deserialize(text.as_str().into_deserializer());
        parsed.map_err(|_| self.unreadable(text))
    }

    fn whole<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        match self.next() {
            Value::BigInt(value) => T::try_from(value).map_err(|_| self.unreadable(value.to_string())),
            other => Err(self.unreadable(format!("{other:?}"))),
        }
    }

    fn instant(&mut self) -> Result<UnixNanos, StoreError> {
        self.whole().map(UnixNanos)
    }

    fn optional_double(&mut self) -> Result<Option<f64>, StoreError> {
        match self.next() {
            Value::Double(bits) => Ok(bits.map(f64::from_bits)),
            other => Err(self.unreadable(format!("{other:?}"))),
        }
    }

    fn double(&mut self) -> Result<f64, StoreError> {
        self.optional_double()?.ok_or_else(|| self.unreadable("nothing"))
    }

    pub(crate) fn instrument(mut self) -> Result<Instrument, StoreError> {
        Ok(Instrument {
            symbol: self.parsed()?,
            id: InstrumentId(self.whole()?),
            venue: self.parsed()?,
            class: self.named()?,
            currency: self.parsed()?,
            tick: self.parsed()?,
            lot: self.parsed()?,
            multiplier: self.parsed()?,
        })
    }

    pub(crate) fn bar(mut self) -> Result<BarRecord, StoreError> {
        Ok(BarRecord {
            instrument: self.parsed()?,
            unit: self.named()?,
            interval: self.whole()?,
            ts_open: self.instant()?,
            ts_close: self.instant()?,
            open: self.parsed()?,
            high: self.parsed()?,
            low: self.parsed()?,
            close: self.parsed()?,
            vwap: self.optional_price()?,
            volume: self.parsed()?,
            volume_buy: self.parsed()?,
            volume_sell: self.parsed()?,
            trades: self.whole()?,
        })
    }

    pub(crate) fn session_statistics(mut self) -> Result<SessionStatistics, StoreError> {
        Ok(SessionStatistics {
            instrument: self.parsed()?,
            day: self.instant()?,
            trades: self.whole()?,
            volume: self.parsed()?,
            volume_buy: self.parsed()?,
            volume_sell: self.parsed()?,
            volume_unknown: self.parsed()?,
            vwap: self.parsed::<Price>()?,
            low: self.parsed()?,
            high: self.parsed()?,
            first: self.parsed()?,
            last: self.parsed()?,
        })
    }

    pub(crate) fn vpin_bucket(mut self) -> Result<VpinBucket, StoreError> {
        Ok(VpinBucket {
            instrument: self.parsed()?,
            classification: self.named()?,
            ts_close: self.instant()?,
            bucket: self.whole()?,
            buy: self.double()?,
            sell: self.double()?,
            vpin: self.optional_double()?,
        })
    }

    pub(crate) fn setting(mut self) -> Result<Setting, StoreError> {
        Ok(Setting { engine: self.named()?, key: self.string()?, value: self.string()? })
    }
}
