//! CSV files of trades or bars, plain or gzip.
//!
//! The first line is a header row that names the columns; their order is free and columns not listed here are
//! refused. Prices and quantities are plain decimals with at most nine decimals (`4810.25`); `symbol` is up to 24
//! visible ASCII characters. Empty lines and rows with a quantity or volume of zero carry nothing: the latter are
//! counted as skipped.
//!
//! **Trades**, one per line:
//!
//! | column | meaning |
//! |---|---|
//! | `ts_ns` | when it happened, nanoseconds since 1970 UTC |
//! | `symbol` | the instrument |
//! | `price` | price per unit; may be negative |
//! | `quantity` | units traded |
//! | `side` (optional) | who took: `B` or `buy`, `S` or `sell`, in any case; empty when unknown |
//! | `sequence` (optional) | the source's number, counting up by one per symbol: a hole then counts as a loss |
//!
//! **Bars**, one per line:
//!
//! | column | meaning |
//! |---|---|
//! | `ts_ns` | when the bar opened, nanoseconds since 1970 UTC |
//! | `symbol` | the instrument |
//! | `open`, `high`, `low`, `close` | prices |
//! | `volume` | units traded |
//! | `interval_s` (optional) | the bar's length in whole seconds, 60 without the column |
//!
//! It decides what a line means; it neither sorts lines nor judges prices. No column can hold a comma, so quotes
//! around a field are taken off and mean nothing else.

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};

use nautilus_messages::frame::{SHORT_LEN, WireSide, flags};
use nautilus_types::{InstrumentId, NANOS_PER_SECOND, Price, Quantity, Symbol, UnixNanos};

use crate::feed::Ending;
use crate::file::Origin;
use crate::frames::{RecordedBar, Stamp, unknown_instrument};
use crate::registry::Lease;
use crate::{Feed, FeedDescription, FeedError, FeedKind, Progress, Read, Registry};

/// No line of legal columns comes near this.
const LINE_MAX: u64 = 4_096;
const DEFAULT_INTERVAL_S: u64 = 60;
const TRADES: &[&str] = &["ts_ns", "symbol", "price", "quantity", "side", "sequence"];
const BARS: &[&str] = &["ts_ns", "symbol", "open", "high", "low", "close", "volume", "interval_s"];
const TRADES_HINT: &str = "trades need ts_ns,symbol,price,quantity and may have side,sequence";
const BARS_HINT: &str = "bars need ts_ns,symbol,open,high,low,close,volume and may have interval_s";

/// A CSV file being read.
pub(crate) struct CsvFeed {
    lines: Lines,
    columns: Columns,
    lease: Lease,
    ids: HashMap<Symbol, InstrumentId>,
    description: FeedDescription,
    progress: Progress,
    ending: Ending,
}

/// Where each column stands: the place in the line of every name of [`TRADES`] or [`BARS`].
struct Columns {
    bars: bool,
    places: Vec<Option<usize>>,
    count: usize,
}

/// The lines of the file, bounded in length.
struct Lines {
    origin: Origin,
    reader: Box<dyn BufRead + Send>,
    line: String,
    number: u64,
}

impl CsvFeed {
    pub(crate) fn open(
        origin: Origin,
        reader: Box<dyn BufRead + Send>,
        registry: &Registry,
    ) -> Result<Self, FeedError> {
        let name = origin.name();
        let mut lines = Lines { origin, reader, line: String::new(), number: 0 };
        if !lines.next()? {
            return Err(FeedError::Empty { path: lines.origin.path.to_path_buf() });
        }
        let header = lines.line.strip_prefix('\u{FEFF}').unwrap_or(&lines.line);
        let columns = Columns::of(header)
            .map_err(|reason| FeedError::CsvHeader { path: lines.origin.path.to_path_buf(), reason })?;
        let schema = if columns.bars { "bars" } else { "trades" };
        Ok(Self {
            lines,
            columns,
            lease: Lease::new(registry),
            ids: HashMap::new(),
            description: FeedDescription {
                name,
                kind: FeedKind::Csv,
                schema: schema.to_owned(),
                simulated: false,
                symbols: Vec::new(),
            },
            progress: Progress::default(),
            ending: Ending::default(),
        })
    }

    fn decode(&mut self, enough: usize, out: &mut Vec<u8>) -> Result<Read, FeedError> {
        while out.len() < enough {
            if !self.lines.next()? {
                return Ok(Read::End);
            }
            if self.lines.line.trim().is_empty() {
                continue;
            }
            let row = Row::of(&self.lines, &self.columns)?;
            self.progress.records += 1;
            let parsed = if self.columns.bars { row.bar()? } else { row.trade()? };
            let symbol = row.symbol()?;
            let Some(parsed) = parsed else {
                self.progress.skipped += 1;
                continue;
            };
            self.append(symbol, &parsed, out)?;
        }
        Ok(Read::Frames)
    }

    fn append(&mut self, symbol: Symbol, parsed: &Parsed, out: &mut Vec<u8>) -> Result<(), FeedError> {
        let ts_event = UnixNanos(parsed.ts_ns);
        let base = flags::REPLAY | flags::LAST;
        let mut stamp =
            Stamp { instrument: InstrumentId::NONE, sequence: 0, ts_event, ts_recv: ts_event, flags: base };
        stamp.instrument = match self.ids.get(&symbol) {
            Some(&id) => id,
            None => self.define(symbol, stamp, out)?,
        };
        if let Some(sequence) = parsed.sequence {
            stamp.sequence = sequence;
            stamp.flags |= flags::CONTIGUOUS;
        }
        match &parsed.content {
            Content::Trade { price, quantity, side } => stamp.trade(*price, *quantity, *side, out),
            Content::Bar(bar) => stamp.bar(bar, out),
        }
        self.progress.ts_event = ts_event;
        Ok(())
    }

    fn define(&mut self, symbol: Symbol, stamp: Stamp, out: &mut Vec<u8>) -> Result<InstrumentId, FeedError> {
        let venue = "CSV".parse().expect("a legal venue");
        let instrument = self.lease.register(unknown_instrument(symbol, venue))?;
        let flags = stamp.flags | flags::STARTS_OVER;
        Stamp { instrument: instrument.id, flags, ..stamp }.definition(&instrument, 0, 0, out);
        self.ids.insert(symbol, instrument.id);
        self.description.symbols.push(symbol);
        Ok(instrument.id)
    }
}

impl Feed for CsvFeed {
    fn read(&mut self, max: usize, out: &mut Vec<u8>) -> Result<Read, FeedError> {
        if self.ending.reached() {
            return self.ending.finish();
        }
        let before = out.len();
        let outcome = self.decode(before + max.max(1) * SHORT_LEN, out);
        self.ending.settle(outcome, out.len() > before)
    }

    fn progress(&self) -> Progress {
        let origin = &self.lines.origin;
        Progress { done_bytes: origin.done_bytes(), total_bytes: Some(origin.total_bytes), ..self.progress }
    }

    fn description(&self) -> &FeedDescription {
        &self.description
    }
}

impl Lines {
    /// Reads the next line; false at the end of the file.
    fn next(&mut self) -> Result<bool, FeedError> {
        self.line.clear();
        self.number += 1;
        match self.reader.by_ref().take(LINE_MAX).read_line(&mut self.line) {
            Ok(0) => Ok(false),
            Ok(_) if self.line.ends_with('\n') || (self.line.len() as u64) < LINE_MAX => Ok(true),
            Ok(_) => {
                Err(self.fault("line", format!("it is longer than {LINE_MAX} bytes; no row of data is")))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(FeedError::Truncated { path: self.origin.path.to_path_buf(), record: self.number })
            }
            Err(error) => Err(FeedError::Corrupt {
                path: self.origin.path.to_path_buf(),
                record: self.number,
                reason: error.to_string(),
            }),
        }
    }

    fn fault(&self, column: &'static str, reason: String) -> FeedError {
        FeedError::CsvLine { path: self.origin.path.to_path_buf(), line: self.number, column, reason }
    }
}

/// The fields of a line, without blanks and quotes around them.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.trim_end_matches(['\r', '\n']).split(',').map(|field| {
        let field = field.trim();
        field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(field)
    })
}

impl Columns {
    fn of(header: &str) -> Result<Self, String> {
        let names: Vec<&str> = fields(header).collect();
        let bars = names.iter().any(|name| BARS[2..].contains(name));
        let (legal, required, hint) = if bars { (BARS, 7, BARS_HINT) } else { (TRADES, 4, TRADES_HINT) };
        for (i, name) in names.iter().enumerate() {
            if !legal.contains(name) {
                let shown: String = name.chars().take(32).collect();
                return Err(format!("column '{shown}' is unknown; {hint}"));
            }
            if names[..i].contains(name) {
                return Err(format!("column '{name}' stands there twice"));
            }
        }
        let places: Vec<_> =
            legal.iter().map(|column| names.iter().position(|name| name == column)).collect();
        match (0..required).find(|&i| places[i].is_none()) {
            Some(i) => Err(format!("column '{}' is missing; {hint}", legal[i])),
            None => Ok(Self { bars, places, count: names.len() }),
        }
    }
}

enum Content {
    Trade { price: i64, quantity: i64, side: WireSide },
    Bar(RecordedBar),
}

struct Parsed {
    ts_ns: u64,
    sequence: Option<u64>,
    content: Content,
}

/// One line, split: `values[i]` belongs to the i-th legal column, absent where the file has no such column.
struct Row<'a> {
    lines: &'a Lines,
    values: [Option<&'a str>; 8],
}

impl<'a> Row<'a> {
    fn of(lines: &'a Lines, columns: &Columns) -> Result<Self, FeedError> {
        let mut values = [None; 8];
        let mut count = 0;
        for (place, field) in fields(&lines.line).enumerate() {
            count += 1;
            if let Some(column) = columns.places.iter().position(|&known| known == Some(place)) {
                values[column] = Some(field);
            }
        }
        if count == columns.count {
            return Ok(Self { lines, values });
        }
        Err(lines.fault("line", format!("it has {count} fields but the header row names {}", columns.count)))
    }

    /// Parses a column that the file has.
    fn parse<T>(&self, legal: &[&'static str], column: usize, expected: &str) -> Result<T, FeedError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.values[column].unwrap_or_default();
        text.parse().map_err(|error| {
            let shown: String = text.chars().take(32).collect();
            self.lines.fault(legal[column], format!("'{shown}' is not {expected} ({error})"))
        })
    }

    fn optional_number(&self, legal: &[&'static str], column: usize) -> Result<Option<u64>, FeedError> {
        match self.values[column] {
            None => Ok(None),
            Some(_) => self.parse(legal, column, "a whole number").map(Some),
        }
    }

    fn amount(&self, legal: &[&'static str], column: usize) -> Result<i64, FeedError> {
        let amount: Quantity = self.parse(legal, column, "a decimal number such as 3 or 0.25")?;
        if amount.nanos() >= 0 {
            return Ok(amount.nanos());
        }
        Err(self
            .lines
            .fault(legal[column], format!("{amount} is negative; a side goes into the column 'side'")))
    }

    fn ts_ns(&self) -> Result<u64, FeedError> {
        self.parse(TRADES, 0, "a whole number of nanoseconds since 1970")
    }

    fn symbol(&self) -> Result<Symbol, FeedError> {
        self.parse(TRADES, 1, "a symbol")
    }

    fn price(&self, legal: &[&'static str], column: usize) -> Result<i64, FeedError> {
        let price: Price = self.parse(legal, column, "a decimal number such as 4810.25")?;
        if price == Price::MAX {
            return Err(self
                .lines
                .fault(legal[column], "this very price stands for 'none' and cannot be used".into()));
        }
        Ok(price.nanos())
    }

    fn trade(&self) -> Result<Option<Parsed>, FeedError> {
        let side = match self.values[4].unwrap_or_default() {
            "" => WireSide::None,
            text if ["b", "buy"].iter().any(|name| text.eq_ignore_ascii_case(name)) => WireSide::Buy,
            text if ["s", "sell"].iter().any(|name| text.eq_ignore_ascii_case(name)) => WireSide::Sell,
            text => {
                let shown: String = text.chars().take(32).collect();
                return Err(self.lines.fault("side", format!("'{shown}' is no side; write B, S or nothing")));
            }
        };
        let (price, quantity) = (self.price(TRADES, 2)?, self.amount(TRADES, 3)?);
        let (ts_ns, sequence) = (self.ts_ns()?, self.optional_number(TRADES, 5)?);
        let content = Content::Trade { price, quantity, side };
        Ok((quantity > 0).then_some(Parsed { ts_ns, sequence, content }))
    }

    fn bar(&self) -> Result<Option<Parsed>, FeedError> {
        let interval_s = self.optional_number(BARS, 7)?.unwrap_or(DEFAULT_INTERVAL_S);
        let interval_ns = interval_s.checked_mul(NANOS_PER_SECOND).filter(|&interval| interval > 0);
        let ts_open = self.ts_ns()?;
        let closes = interval_ns.and_then(|interval| Some((interval, ts_open.checked_add(interval)?)));
        let Some((interval_ns, ts_ns)) = closes else {
            let reason = format!("{interval_s} is no length of a bar; write whole seconds, at least 1");
            return Err(self.lines.fault("interval_s", reason));
        };
        let bar = RecordedBar {
            open: self.price(BARS, 2)?,
            high: self.price(BARS, 3)?,
            low: self.price(BARS, 4)?,
            close: self.price(BARS, 5)?,
            volume: self.amount(BARS, 6)?,
            ts_open,
            interval_ns,
        };
        if !bar.is_consistent() {
            return Err(self.lines.fault("open", "open and close must lie between low and high".into()));
        }
        let content = Content::Bar(bar);
        Ok((bar.volume > 0).then_some(Parsed { ts_ns, sequence: None, content }))
    }
}

#[cfg(test)]
mod tests;
