//! Everything of one instrument: its book, trades, bars, buckets and alerts.
//!
//! It decides what belongs to the session at hand: an instrument that starts over forgets what came later.

use std::sync::Arc;

use nautilus_book::BookLimits;
use nautilus_messages::BarSpec;
use nautilus_messages::frame::{Bar, FrameRef, NO_PRICE, Trade, flags};
use nautilus_messages::mesh::{ToxicityAlert, VpinUpdate};
use nautilus_messages::record::BarRecord;
use nautilus_types::{Money, Price, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::book::{Book, SavedBook};
use crate::change::{Change, Print, Publication, TopicPicture};
use crate::log::Log;
use crate::topic::Topic;

/// Recent trades and alerts kept of an instrument.
const TRADES: usize = 100;
const ALERTS: usize = 100;
/// Recent bars kept of an interval, and buckets of an instrument.
const BARS: usize = 500;
const BUCKETS: usize = 500;
/// Bar intervals of an instrument; bars of further ones are left out.
const INTERVALS_MAX: usize = 64;

/// The bars of one interval.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Interval {
    spec: BarSpec,
    name: Symbol,
    log: Log<BarRecord, BARS>,
}

/// One instrument.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) symbol: Symbol,
    /// From the first definition on.
    pub(crate) book: Option<Box<Book>>,
    trades: Log<Print, TRADES>,
    intervals: Vec<Interval>,
    vpin: Log<VpinUpdate, BUCKETS>,
    alerts: Log<ToxicityAlert, ALERTS>,
    /// The newest trade's or bar's time.
    newest: UnixNanos,
    /// The source starts over: when its next trade or bar is not newer, this is an earlier session or the same one
    /// again.
    starts_over: bool,
    /// It stands in the engine's list of what changed.
    pub(crate) changed: bool,
}

impl Slot {
    pub(crate) fn new(symbol: Symbol) -> Self {
        Self {
            symbol,
            book: None,
            trades: Log::default(),
            intervals: Vec::new(),
            vpin: Log::default(),
            alerts: Log::default(),
            newest: UnixNanos(0),
            starts_over: false,
            changed: false,
        }
    }

    /// Takes a frame in; whether that is news.
    #[inline]
    pub(crate) fn frame(&mut self, frame: FrameRef<'_>) -> bool {
        let event = match frame {
            FrameRef::Trade(trade) => self.trade(trade),
            FrameRef::Bar(bar) => self.bar(bar),
            FrameRef::Definition(definition) => {
                self.starts_over |= definition.header.has(flags::STARTS_OVER);
                false
            }
            _ => false,
        };
        let book = self.book.as_mut().is_some_and(|book| book.step(frame));
        event || book
    }

    fn trade(&mut self, trade: &Trade) -> bool {
        let header = &trade.header;
        self.begin_session(header.ts_event());
        let print = Print {
            sequence: header.sequence.get(),
            ts_event: header.ts_event(),
            price: trade.price(),
            quantity: trade.quantity(),
            aggressor: trade.aggressor.get(),
        };
        self.trades.push(print, print.ts_event);
        true
    }

    fn bar(&mut self, bar: &Bar) -> bool {
        let Ok(spec) = BarSpec::new(bar.unit, bar.interval.get()) else { return false };
        self.begin_session(bar.header.ts_event());
        let record = record_of(bar, self.symbol);
        let Some(interval) = self.interval(spec) else { return false };
        interval.log.push(record, record.ts_close);
        true
    }

    /// Forgets the session before where the source has started over.
    fn begin_session(&mut self, ts: UnixNanos) {
        if std::mem::take(&mut self.starts_over) && ts <= self.newest {
            self.trades.retain(|_| false);
            self.intervals.iter_mut().for_each(|interval| interval.log.retain(|_| false));
            self.newest = ts;
        }
        self.newest = self.newest.max(ts);
    }

    fn interval(&mut self, spec: BarSpec) -> Option<&mut Interval> {
        if let Some(at) = self.intervals.iter().position(|interval| interval.spec == spec) {
            return self.intervals.get_mut(at);
        }
        if self.intervals.len() >= INTERVALS_MAX {
            return None;
        }
        let name = spec.to_string().parse().ok()?;
        self.intervals.push(Interval { spec, name, log: Log::default() });
        self.intervals.last_mut()
    }

    /// Buckets are numbered from one: a number that does not go on from the last begins another series.
    pub(crate) fn bucket(&mut self, update: VpinUpdate) {
        let same = |other: &VpinUpdate| other.classification == update.classification;
        let last = self.vpin.kept().rev().find(|other| same(other)).map_or(0, |other| other.bucket);
        if update.bucket <= last {
            self.vpin.retain(|other| !same(other));
        }
        self.vpin.push(update, update.ts_event);
    }

    /// What comes later than the newest alert is of another session, and the same one has come before.
    pub(crate) fn alert(&mut self, alert: ToxicityAlert) {
        self.alerts.retain(|other| {
            other.classification != alert.classification
                || (other.ts_event <= alert.ts_event && *other != alert)
        });
        self.alerts.push(alert, alert.ts_event);
    }

    /// Its topics with their numbers.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (Topic, u64)> {
        let symbol = self.symbol;
        let book = self.book.iter().map(move |book| (Topic::Book(symbol), book.seq));
        let trades = self.book.iter().map(move |_| (Topic::Trades(symbol), self.trades.seq));
        let bars = self.intervals.iter().map(move |i| (Topic::Bars(symbol, i.name), i.log.seq));
        let mesh = [(Topic::Vpin(symbol), self.vpin.seq), (Topic::Alerts(symbol), self.alerts.seq)];
        book.chain(trades).chain(bars).chain(mesh.into_iter().filter(|(_, seq)| *seq > 0))
    }

    /// The whole state of one of its topics.
    pub(crate) fn picture(&self, topic: Topic) -> Option<TopicPicture> {
        let (seq, ts, state) = match topic {
            Topic::Book(_) => {
                let book = self.book.as_ref()?;
                (book.seq, book.ts, Change::Book(book.picture()))
            }
            Topic::Trades(_) => {
                self.book.as_ref()?;
                (self.trades.seq, self.trades.ts, Change::Trades(self.trades.kept().copied().collect()))
            }
            Topic::Bars(_, name) => {
                let log = &self.intervals.iter().find(|interval| interval.name == name)?.log;
                (log.seq, log.ts, Change::Bars(log.kept().copied().collect()))
            }
            Topic::Vpin(_) => {
                (self.vpin.seq, self.vpin.ts, Change::Vpin(self.vpin.kept().copied().collect()))
            }
            Topic::Alerts(_) => {
                (self.alerts.seq, self.alerts.ts, Change::Alerts(self.alerts.kept().copied().collect()))
            }
            Topic::Risk(_) | Topic::RiskAlerts | Topic::System(_) => return None,
        };
        let exists = seq > 0 || self.book.is_some() && matches!(topic, Topic::Book(_) | Topic::Trades(_));
        exists.then_some(TopicPicture { topic, seq, ts, state })
    }

    /// Hands over what changed in each topic; false when something is held back until its event is complete.
    pub(crate) fn publish(&mut self, mut sink: impl FnMut(Publication)) -> bool {
        let symbol = self.symbol;
        let mut put = |topic, seq, ts, prev_seq, change| {
            sink(Publication { topic, seq, prev_seq, ts, change: Arc::new(change) });
        };
        let held_back = self.book.as_mut().is_some_and(|book| book.holds_back());
        if let Some(book) = self.book.as_mut().filter(|_| !held_back)
            && let Some((before, change)) = book.take()
        {
            put(Topic::Book(symbol), book.seq, book.ts, before, Change::Book(change));
        }
        if let Some((before, prints)) = self.trades.take() {
            put(Topic::Trades(symbol), self.trades.seq, self.trades.ts, before, Change::Trades(prints));
        }
        for Interval { name, log, .. } in &mut self.intervals {
            if let Some((before, bars)) = log.take() {
                put(Topic::Bars(symbol, *name), log.seq, log.ts, before, Change::Bars(bars));
            }
        }
        if let Some((before, buckets)) = self.vpin.take() {
            put(Topic::Vpin(symbol), self.vpin.seq, self.vpin.ts, before, Change::Vpin(buckets));
        }
        if let Some((before, alerts)) = self.alerts.take() {
            put(Topic::Alerts(symbol), self.alerts.seq, self.alerts.ts, before, Change::Alerts(alerts));
        }
        !held_back
    }
}

fn record_of(bar: &Bar, instrument: Symbol) -> BarRecord {
    let price = |nanos: i64| Price::from_nanos(nanos);
    let money = |nanos: i64| Money::from_nanos(i128::from(nanos));
    BarRecord {
        instrument,
        unit: bar.unit,
        interval: bar.interval.get(),
        ts_open: UnixNanos(bar.ts_open_ns.get()),
        ts_close: bar.header.ts_event(),
        open: price(bar.open_nanos.get()),
        high: price(bar.high_nanos.get()),
        low: price(bar.low_nanos.get()),
        close: price(bar.close_nanos.get()),
        vwap: (bar.vwap_nanos.get() != NO_PRICE).then(|| price(bar.vwap_nanos.get())),
        volume: money(bar.volume_nanos.get()),
        volume_buy: money(bar.volume_buy_nanos.get()),
        volume_sell: money(bar.volume_sell_nanos.get()),
        trades: bar.trades.get(),
    }
}

/// An instrument in canonical form: what is to be told to readers is no part of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedSlot<L> {
    book: Option<SavedBook>,
    lists: L,
    newest: UnixNanos,
    starts_over: bool,
}

/// The lists of a slot, by reference or owned.
pub(crate) type ListsRef<'a> =
    (&'a Log<Print, TRADES>, &'a [Interval], &'a Log<VpinUpdate, BUCKETS>, &'a Log<ToxicityAlert, ALERTS>);
pub(crate) type Lists =
    (Log<Print, TRADES>, Vec<Interval>, Log<VpinUpdate, BUCKETS>, Log<ToxicityAlert, ALERTS>);

impl Slot {
    pub(crate) fn save(&self) -> SavedSlot<ListsRef<'_>> {
        SavedSlot {
            book: self.book.as_ref().map(|book| book.save()),
            lists: (&self.trades, &self.intervals, &self.vpin, &self.alerts),
            newest: self.newest,
            starts_over: self.starts_over,
        }
    }

    /// # Errors
    /// A reason, when the saved state makes no sense.
    pub(crate) fn restore(
        symbol: Symbol,
        saved: SavedSlot<Lists>,
        limits: BookLimits,
    ) -> Result<Self, String> {
        let (mut trades, mut intervals, mut vpin, mut alerts) = saved.lists;
        trades.resume()?;
        vpin.resume()?;
        alerts.resume()?;
        for interval in &mut intervals {
            interval.log.resume()?;
            if interval.spec.to_string() != interval.name.as_str() {
                return Err(format!("an interval of {symbol} is called {}", interval.name));
            }
        }
        if intervals.len() > INTERVALS_MAX {
            return Err(format!("{symbol} has more than {INTERVALS_MAX} bar intervals"));
        }
        let book = saved.book.map(|book| Book::restore(book, limits).map(Box::new)).transpose()?;
        Ok(Self {
            book,
            trades,
            intervals,
            vpin,
            alerts,
            newest: saved.newest,
            starts_over: saved.starts_over,
            ..Self::new(symbol)
        })
    }
}
