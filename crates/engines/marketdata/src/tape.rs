//! One instrument's trades: the recent ones, the day's statistics and the bars.
//!
//! It decides when bars and days close, by the clock of the frames. It never looks at the book.

use std::sync::Arc;

use nautilus_book::is_absurd;
use nautilus_engine::{Effects, History, HistoryView};
use nautilus_messages::BarSpec;
use nautilus_messages::frame::{Bar, Kind, NO_PRICE, Trade};
use nautilus_messages::record::{BarRecord, Record};
use nautilus_types::{Instrument, NANOS_PER_SECOND, Price, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use crate::bars::Series;
use crate::config::{BAR_SPECS_MAX, Config};
use crate::line::Line;
use crate::statistics::{Print, Session};
use crate::view::{BarsView, Counters, TradeView};

/// How often session statistics go to the store while there are trades.
const STATISTICS_EVERY_NS: u64 = 60 * NANOS_PER_SECOND;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tape {
    session: Option<Session>,
    /// The session's day is over; it stays to be seen until the next trade.
    session_over: bool,
    /// When statistics are next due for the store, never when nothing changed.
    statistics_due: u64,
    series: Vec<Series>,
    /// The next instant at which something closes.
    clock: u64,
    trades: History<TradeView>,
    #[serde(skip)]
    shared: Option<Arc<HistoryView<TradeView>>>,
    /// Bars that one trade closed; kept for its memory.
    #[serde(skip)]
    just_closed: Vec<BarRecord>,
}

impl Tape {
    pub(crate) fn new(specs: &[BarSpec], config: &Config) -> Self {
        Self {
            session: None,
            session_over: false,
            statistics_due: u64::MAX,
            series: specs.iter().map(|spec| Series::new(*spec, config.bars_kept)).collect(),
            clock: u64::MAX,
            trades: History::new(config.trades_kept),
            shared: None,
            just_closed: Vec::new(),
        }
    }

    pub(crate) fn specs(&self) -> Vec<BarSpec> {
        self.series.iter().map(|series| series.spec).collect()
    }

    pub(crate) fn set_specs(&mut self, specs: &[BarSpec], keep: usize) {
        let mut old = std::mem::take(&mut self.series);
        for spec in specs {
            let kept = old.iter().position(|series| series.spec == *spec).map(|at| old.swap_remove(at));
            self.series.push(kept.unwrap_or_else(|| Series::new(*spec, keep)));
        }
        self.set_clock();
    }

    /// Whether there was a trade.
    pub(crate) fn has_traded(&self) -> bool {
        self.session.is_some()
    }

    /// Whether [`Self::roll`] has something to do at this instant.
    #[inline]
    pub(crate) fn is_due(&self, ts: u64) -> bool {
        ts >= self.clock
    }

    /// Closes what the clock closes.
    #[cold]
    pub(crate) fn roll(
        &mut self,
        ts: u64,
        symbol: Symbol,
        line: &mut Line,
        counters: &mut Counters,
        out: &mut Effects,
    ) {
        let day_over = !self.session_over && self.session.is_some_and(|session| ts >= session.end());
        for series in &mut self.series {
            let ends_with_day = day_over && series.due() == u64::MAX;
            if (series.due() <= ts || ends_with_day)
                && let Some(record) = series.close(symbol)
            {
                announce(&record, series.spec, line, counters, out);
            }
        }
        if self.statistics_due <= ts || day_over {
            self.flush(symbol, out);
        }
        self.session_over |= day_over;
        self.set_clock();
    }

    /// Hands the session's statistics over if they changed since the last time.
    pub(crate) fn flush(&mut self, symbol: Symbol, out: &mut Effects) {
        if self.statistics_due == u64::MAX {
            return;
        }
        self.statistics_due = u64::MAX;
        self.set_clock();
        if let Some(session) = &self.session {
            out.records.push(Record::SessionStatistics(session.record(symbol)));
        }
    }

    fn set_clock(&mut self) {
        let day_end = match &self.session {
            Some(session) if !self.session_over => session.end(),
            _ => u64::MAX,
        };
        let bars = self.series.iter().map(Series::due);
        self.clock = bars.fold(day_end.min(self.statistics_due), u64::min);
    }

    /// Takes a trade in and publishes it, with the bars that it closes behind it. A trade whose sums would not fit
    /// is refused.
    pub(crate) fn trade(
        &mut self,
        trade: &Trade,
        instrument: &Instrument,
        line: &mut Line,
        counters: &mut Counters,
        out: &mut Effects,
    ) {
        let aggressor = trade.aggressor.get();
        let print = Print { ts: line.ts_event, price: trade.price(), quantity: trade.quantity(), aggressor };
        let mut session = match self.session {
            // A late trade reopens its day: a day begun anew would replace the whole one in the store.
            Some(session) if !self.session_over || print.ts.0 < session.end() => session,
            _ => Session::starting_with(&print),
        };
        let Some(sums) = session.sums.with(&print) else {
            counters.overflows += 1;
            return;
        };
        session.sums = sums;
        self.session = Some(session);
        self.session_over = false;
        line.publish(trade, out);
        self.trades.push(TradeView {
            sequence: line.sequence,
            ts_event: print.ts,
            price: print.price,
            quantity: print.quantity,
            aggressor,
            trade_id: trade.trade_id.get(),
        });
        self.shared = None;
        self.add_to_bars(&print, instrument, line, counters, out);
        if self.statistics_due == u64::MAX {
            let minute = print.ts.floor(STATISTICS_EVERY_NS).0;
            self.statistics_due = minute.saturating_add(STATISTICS_EVERY_NS);
        }
        self.set_clock();
    }

    fn add_to_bars(
        &mut self,
        print: &Print,
        instrument: &Instrument,
        line: &mut Line,
        counters: &mut Counters,
        out: &mut Effects,
    ) {
        for series in &mut self.series {
            let trouble = series.add(print, instrument.symbol, instrument.multiplier, &mut self.just_closed);
            counters.bars_skipped += trouble.skipped;
            counters.overflows += u64::from(trouble.overflow);
            for record in self.just_closed.drain(..) {
                announce(&record, series.spec, line, counters, out);
            }
        }
    }

    /// Takes in a bar that the source made: it replaces what would be built here from trades.
    pub(crate) fn source_bar(
        &mut self,
        bar: &Bar,
        instrument: &Instrument,
        keep: usize,
        line: &mut Line,
        counters: &mut Counters,
        out: &mut Effects,
    ) {
        let spec = BarSpec::new(bar.unit, bar.interval.get());
        let (Ok(spec), false) = (spec, is_absurd(bar.low_nanos) || is_absurd(bar.high_nanos)) else {
            counters.absurd += 1;
            return;
        };
        let at = self.series.iter().position(|series| series.spec == spec).unwrap_or(self.series.len());
        if at >= BAR_SPECS_MAX {
            counters.full += 1;
            return;
        }
        if at == self.series.len() {
            self.series.push(Series::new(spec, keep));
        }
        let series = &mut self.series[at];
        let record = record_of(bar, instrument.symbol, line.ts_event);
        series.keep_from_source(record);
        line.publish(bar, out);
        if spec.is_stored() {
            out.records.push(Record::Bar(record));
        }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    pub(crate) fn trades_view(&mut self) -> Arc<HistoryView<TradeView>> {
        let trades = &self.trades;
        Arc::clone(self.shared.get_or_insert_with(|| Arc::new(trades.view())))
    }

    pub(crate) fn bars_view(&mut self, symbol: Symbol) -> Vec<BarsView> {
        let view = |series: &mut Series| BarsView {
            spec: series.spec,
            closed: series.view(),
            forming: series.record(symbol),
        };
        self.series.iter_mut().map(view).collect()
    }
}

/// Publishes a closed bar and hands it to the store.
fn announce(record: &BarRecord, spec: BarSpec, line: &mut Line, counters: &mut Counters, out: &mut Effects) {
    match frame_of(record, line) {
        Some(frame) => line.publish(&frame, out),
        // A frame holds 9.2 billion units; the store and the readers still get the bar.
        None => counters.overflows += 1,
    }
    if spec.is_stored() {
        out.records.push(Record::Bar(*record));
    }
}

fn frame_of(record: &BarRecord, line: &Line) -> Option<Bar> {
    let mut header = line.header(Kind::Bar);
    header.ts_event_ns.set(record.ts_close.0);
    let narrow = |money: nautilus_types::Money| i64::try_from(money.nanos()).ok().map(I64::new);
    Some(Bar {
        header,
        open_nanos: I64::new(record.open.nanos()),
        high_nanos: I64::new(record.high.nanos()),
        low_nanos: I64::new(record.low.nanos()),
        close_nanos: I64::new(record.close.nanos()),
        volume_nanos: narrow(record.volume)?,
        volume_buy_nanos: narrow(record.volume_buy)?,
        volume_sell_nanos: narrow(record.volume_sell)?,
        vwap_nanos: I64::new(record.vwap.map_or(NO_PRICE, Price::nanos)),
        ts_open_ns: U64::new(record.ts_open.0),
        trades: U32::new(record.trades),
        unit: record.unit,
        reserved: [0; 3],
        interval: U64::new(record.interval),
    })
}

fn record_of(bar: &Bar, instrument: Symbol, ts_close: UnixNanos) -> BarRecord {
    let price = |nanos: I64| Price::from_nanos(nanos.get());
    let money = |nanos: I64| nautilus_types::Money::from_nanos(i128::from(nanos.get()));
    BarRecord {
        instrument,
        unit: bar.unit,
        interval: bar.interval.get(),
        ts_open: UnixNanos(bar.ts_open_ns.get()),
        ts_close,
        open: price(bar.open_nanos),
        high: price(bar.high_nanos),
        low: price(bar.low_nanos),
        close: price(bar.close_nanos),
        vwap: (bar.vwap_nanos.get() != NO_PRICE).then(|| price(bar.vwap_nanos)),
        volume: money(bar.volume_nanos),
        volume_buy: money(bar.volume_buy_nanos),
        volume_sell: money(bar.volume_sell_nanos),
        trades: bar.trades.get(),
    }
}
