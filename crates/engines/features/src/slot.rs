//! One instrument as the bus shows it: what its frames set before the graph steps.
//!
//! Nothing is computed here; it keeps what the next frame is measured against.

use nautilus_book::{BookFollower, BookLimits, SavedFollower};
use nautilus_messages::frame::{Bar, BookState, FrameRef, NO_PRICE, Quote, Trade};
use nautilus_types::{Side, UnixNanos};
use serde::{Deserialize, Serialize};
use zerocopy::byteorder::little_endian::I64;

use crate::columns::{Columns, UNDEFINED};
use crate::inputs::Source;
use crate::panel::BarValues;
use crate::view::AsOf;

/// An instrument's place between frames.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The hub's book, where features need it.
    pub(crate) book: Option<Box<BookFollower>>,
    pub(crate) heard: Heard,
}

/// What was heard of an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// The source starts over: if what comes next is no later than the newest, it is an earlier session or the same one
    /// again, and all starts afresh.
    pub(crate) starts_over: bool,
    /// The newest trade, quote or bar.
    pub(crate) newest: UnixNanos,
    /// What its newest bar is told apart by: the close of a time bar. Of the others many may close at one instant, but
    /// each opens at its own.
    pub(crate) closed: UnixNanos,
    /// The cut in the making expects a bar of it.
    pub(crate) awaited: bool,
    /// Cuts up to this one are of a past that its source has started over.
    pub(crate) begun: u64,
    /// The close of the newest bar that was evaluated.
    pub(crate) evaluated: Option<UnixNanos>,
    /// The number of the bar close that its newest bar came in time for; 0 when it was late.
    pub(crate) close: u64,
    trade: Option<UnixNanos>,
    quote: Option<UnixNanos>,
    pub(crate) bar_as_of: AsOf,
    pub(crate) event_as_of: AsOf,
    pub(crate) lost: u64,
}

impl Heard {
    /// Nothing but what was lost, after so many cuts.
    pub(crate) fn afresh(self, cuts: u64) -> Self {
        Self { lost: self.lost, begun: cuts, ..Self::default() }
    }
}

/// An instrument over a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedSlot {
    book: Option<SavedFollower>,
    pub(crate) heard: Heard,
}

/// Levels on each side that features look at.
const DEPTHS: [usize; 2] = [5, 10];

impl Slot {
    pub(crate) fn new(book: Option<BookLimits>) -> Self {
        let book = book.map(|limits| Box::new(BookFollower::new(limits)));
        Self { book, heard: Heard::default() }
    }

    pub(crate) fn save(&self) -> SavedSlot {
        SavedSlot { book: self.book.as_ref().map(|book| book.save()), heard: self.heard }
    }

    pub(crate) fn restore(saved: SavedSlot, limits: BookLimits) -> Result<Self, String> {
        let book = saved.book.map(|book| BookFollower::restore(book, limits).map(Box::new)).transpose()?;
        Ok(Self { book, heard: saved.heard })
    }

    /// Follows the book; whether it needs a snapshot.
    #[inline]
    pub(crate) fn follow(&mut self, frame: FrameRef<'_>) -> bool {
        self.book.as_mut().is_some_and(|book| {
            book.step(frame, &mut |_| {});
            book.wants_snapshot()
        })
    }

    /// Sets what a trade says.
    #[inline]
    pub(crate) fn set_trade(&mut self, trade: &Trade, row: usize, columns: &mut Columns) {
        let ts = trade.header.ts_event();
        let sign = match trade.aggressor.get() {
            Some(Side::Buy) => 1.0,
            Some(Side::Sell) => -1.0,
            None => 0.0,
        };
        columns.set(Source::TradePrice.port(), row, units(trade.price_nanos));
        columns.set(Source::TradeSize.port(), row, units(trade.quantity_nanos));
        columns.set(Source::TradeSign.port(), row, sign);
        columns.set(Source::TradeElapsed.port(), row, elapsed(&mut self.heard.trade, ts));
    }

    /// Sets what a quote says. A side that is empty, or both where they cross, have no values.
    #[inline]
    pub(crate) fn set_quote(&mut self, quote: &Quote, row: usize, columns: &mut Columns) {
        let ts = quote.header.ts_event();
        let (bid, ask) = (price(quote.bid_nanos), price(quote.ask_nanos));
        let values = if bid >= ask {
            [UNDEFINED; 4]
        } else {
            let size = |price: f64, size: I64| if price.is_nan() { UNDEFINED } else { units(size) };
            [bid, ask, size(bid, quote.bid_quantity_nanos), size(ask, quote.ask_quantity_nanos)]
        };
        let sources = [Source::Bid, Source::Ask, Source::BidSize, Source::AskSize];
        for (source, value) in sources.into_iter().zip(values) {
            columns.set(source.port(), row, value);
        }
        columns.set(Source::QuoteElapsed.port(), row, elapsed(&mut self.heard.quote, ts));
        self.set_depths(row, columns, bid < ask);
    }

    #[inline]
    fn set_depths(&self, row: usize, columns: &mut Columns, orderly: bool) {
        let Some(book) = &self.book else { return };
        let sides = [
            (Side::Buy, [Source::BidDepth5, Source::BidDepth10]),
            (Side::Sell, [Source::AskDepth5, Source::AskDepth10]),
        ];
        let believed = orderly && book.state() == BookState::Live;
        for (side, sources) in sides {
            let (mut levels, mut total, mut totals) = (0, 0i64, [0; DEPTHS.len()]);
            if believed {
                book.book().each_level(side, DEPTHS[1], |level| {
                    levels += 1;
                    total = total.saturating_add(level.quantity.nanos());
                    totals[1] = total;
                    if levels <= DEPTHS[0] {
                        totals[0] = total;
                    }
                });
            }
            for (source, total) in sources.into_iter().zip(totals) {
                let value = if levels == 0 { UNDEFINED } else { total as f64 / 1e9 };
                columns.set(source.port(), row, value);
            }
        }
    }

    /// What a bar says.
    pub(crate) fn bar(bar: &Bar) -> BarValues {
        let volume = units(bar.volume_nanos);
        let (buy, sell) = (units(bar.volume_buy_nanos), units(bar.volume_sell_nanos));
        // A bar with a volume and no side at all is one whose source does not say.
        let sided = volume == 0.0 || buy + sell > 0.0;
        BarValues {
            open: price(bar.open_nanos),
            high: price(bar.high_nanos),
            low: price(bar.low_nanos),
            close: price(bar.close_nanos),
            volume,
            vwap: price(bar.vwap_nanos),
            buy_volume: if sided { buy } else { UNDEFINED },
            sell_volume: if sided { sell } else { UNDEFINED },
            trades: match bar.trades.get() {
                0 if volume > 0.0 => UNDEFINED,
                trades => f64::from(trades),
            },
        }
    }
}

/// Billionths as units; the nearest `f64`.
#[inline]
fn units(nanos: I64) -> f64 {
    nanos.get() as f64 / 1e9
}

#[inline]
fn price(nanos: I64) -> f64 {
    if nanos.get() == NO_PRICE { UNDEFINED } else { units(nanos) }
}

/// Seconds since `last`, which becomes `now`.
#[inline]
fn elapsed(last: &mut Option<UnixNanos>, now: UnixNanos) -> f64 {
    let before = last.replace(now).unwrap_or(now);
    now.0.saturating_sub(before.0) as f64 / 1e9
}
