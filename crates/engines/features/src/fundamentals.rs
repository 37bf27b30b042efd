//! The user's table of fundamentals: what was known of a company from when on.
//!
//! A row counts for bars that close at or after the instant it was known from, so nothing looks ahead.

use std::collections::BTreeMap;

use nautilus_types::{NANOS_PER_DAY, Symbol, UnixNanos};

use crate::columns::UNDEFINED;
use crate::inputs::Source;

/// The inputs that a table can hold, in the order of [`Row::values`].
pub(crate) const FIELDS: [Source; 8] = [
    Source::Shares,
    Source::BookValue,
    Source::Earnings,
    Source::Sales,
    Source::CashFlow,
    Source::Dividends,
    Source::Debt,
    Source::Assets,
];
/// Rows of a table, at most.
const ROWS_MAX: usize = 1_000_000;

/// Why a table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FundamentalsError {
    /// Which line, from 1.
    pub line: usize,
    /// One sentence.
    pub message: String,
}

/// What was known of one company from an instant on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    known_from: UnixNanos,
    /// 0 for none.
    pub(crate) sector: u32,
    pub(crate) values: [f64; FIELDS.len()],
}

/// A table: per company its rows in order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fundamentals {
    rows: BTreeMap<Symbol, Vec<Row>>,
    sectors: Vec<String>,
}

#[derive(Clone, Copy)]
enum Column {
    Symbol,
    KnownFrom,
    Sector,
    Field(usize),
}

impl Fundamentals {
    /// Reads a table: the first line names the columns `symbol`, `known_from` and any of `sector`, `shares`, `book_value`,
    /// `earnings`, `sales`, `cash_flow`, `dividends`, `debt` and `assets`; `known_from` is a date (UTC midnight) or
    /// nanoseconds since 1970. An empty cell is not known.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, FundamentalsError> {
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let Some((line, header)) = lines.next() else { return Ok(Self::default()) };
        let columns = columns(header).map_err(|message| FundamentalsError { line, message })?;
        let mut table = Self::default();
        for (count, (line, text)) in lines.enumerate() {
            let refuse = |message: String| FundamentalsError { line, message };
            if count >= ROWS_MAX {
                return Err(refuse(format!("there are more than {ROWS_MAX} rows")));
            }
            table.add(&columns, text).map_err(refuse)?;
        }
        table.rows.values_mut().for_each(|rows| rows.sort_by_key(|row| row.known_from));
        Ok(table)
    }

    fn add(&mut self, columns: &[Column], text: &str) -> Result<(), String> {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        if cells.len() != columns.len() {
            return Err(format!("it has {} cells and the first line {}", cells.len(), columns.len()));
        }
        let mut symbol = None;
        let mut row = Row { known_from: UnixNanos(0), sector: 0, values: [UNDEFINED; FIELDS.len()] };
        for (column, cell) in columns.iter().zip(cells) {
            match column {
                Column::Symbol => symbol = Some(cell.parse::<Symbol>().map_err(|error| error.to_string())?),
                Column::KnownFrom => row.known_from = instant(cell)?,
                Column::Sector if cell.is_empty() => {}
                Column::Sector => row.sector = self.sector(cell),
                Column::Field(_) if cell.is_empty() => {}
                Column::Field(index) => {
                    let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
                    row.values[*index] = number.ok_or_else(|| format!("'{cell}' is not a number"))?;
                }
            }
        }
        let symbol = symbol.ok_or("it names no symbol")?;
        self.rows.entry(symbol).or_default().push(row);
        Ok(())
    }

    fn sector(&mut self, name: &str) -> u32 {
        let known = self.sectors.iter().position(|sector| sector == name);
        let index = known.unwrap_or_else(|| {
            self.sectors.push(name.to_owned());
            self.sectors.len() - 1
        });
        index as u32 + 1
    }

    /// What was known of a company at an instant.
    pub(crate) fn at(&self, symbol: Symbol, at: UnixNanos) -> Option<&Row> {
        let rows = self.rows.get(&symbol)?;
        rows[..rows.partition_point(|row| row.known_from <= at)].last()
    }
}

fn columns(header: &str) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    for name in header.split(',').map(str::trim) {
        columns.push(match name {
            "symbol" => Column::Symbol,
            "known_from" => Column::KnownFrom,
            "sector" => Column::Sector,
            _ => match FIELDS.iter().position(|source| source.name() == name) {
                Some(index) => Column::Field(index),
                None => {
                    let names: Vec<&str> = FIELDS.iter().map(|source| source.name()).collect();
                    return Err(format!(
                        "'{name}' is no column; there are symbol, known_from, sector, {}",
                        names.join(", ")
                    ));
                }
            },
        });
    }
    let has = |wanted: fn(&Column) -> bool| columns.iter().any(wanted);
    if !has(|c| matches!(c, Column::Symbol)) || !has(|c| matches!(c, Column::KnownFrom)) {
        return Err("the first line has to name the columns symbol and known_from".to_owned());
    }
    Ok(columns)
}

/// A date or nanoseconds since 1970.
fn instant(text: &str) -> Result<UnixNanos, String> {
    if let Ok(nanos) = text.parse::<u64>() {
        return Ok(UnixNanos(nanos));
    }
    let refuse = || format!("'{text}' is no date such as 2024-01-31 and no nanoseconds since 1970");
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let mut part = || parts.next().flatten().ok_or_else(refuse);
    let (year, month, day) = (part()?, part()?, part()?);
    let days_of = |month: u64| match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    };
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) || !(1..=days_of(month)).contains(&day) {
        return Err(refuse());
    }
    // Days before the year, leap days included, counted from the year 1.
    let before = |year: u64| 365 * (year - 1) + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let days = before(year) - before(1970) + (1..month).map(days_of).sum::<u64>() + day - 1;
    Ok(UnixNanos(days * NANOS_PER_DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_then_is_found() {
        let table = Fundamentals::parse(
            "symbol,known_from,sector,shares,earnings\nA,2024-05-01,Energy,100,\nA,2024-02-29,Energy,90,5.5\nB,0,Banks,1,2\n",
        )
        .unwrap();
        let at = |name: &str, date: &str| table.at(name.parse().unwrap(), instant(date).unwrap());
        assert_eq!(at("A", "2024-02-28"), None);
        assert_eq!(at("A", "2024-02-29").unwrap().values[..2][0], 90.0);
        let newest = at("A", "2024-06-01").unwrap();
        assert!(newest.values[0] == 100.0 && newest.values[2].is_nan());
        assert_eq!((newest.sector, at("B", "1971-01-01").unwrap().sector), (1, 2));
        assert_eq!(instant("2000-03-01").unwrap().to_string(), "2000-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, message) in [
            ("symbol,shares\n", "line 1: the first line has to name"),
            ("symbol,known_from,beta\n", "line 1: 'beta' is no column"),
            ("symbol,known_from\nA\n", "line 2: it has 1 cells and the first line 2"),
            ("symbol,known_from\nA,2024-02-30\n", "line 2: '2024-02-30' is no date"),
            ("symbol,known_from,shares\nA,0,1\n\nA,0,inf\n", "line 4: 'inf' is not a number"),
            ("symbol,known_from\n,0\n", "line 2: the symbol is empty"),
        ] {
            let error = Fundamentals::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
