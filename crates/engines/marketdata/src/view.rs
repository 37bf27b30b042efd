//! What readers see: one immutable picture per instrument, and the counters.
//!
//! Plain data. Nothing here changes after it was made.

use std::sync::Arc;

use nautilus_book::{BookView, QuoteView, TickSource};
use nautilus_engine::HistoryView;
use nautilus_messages::BarSpec;
use nautilus_messages::frame::{BookState, TradingState};
use nautilus_messages::record::{BarRecord, SessionStatistics};
use nautilus_types::{Instrument, Price, Quantity, Side, UnixNanos};
use serde::{Deserialize, Serialize};

/// An instrument as readers see it.
#[derive(Debug, Clone)]
pub struct InstrumentView {
    /// Its definition.
    pub instrument: Instrument,
    /// The venue's own number of it, zero when it has none.
    pub venue_id: u64,
    /// The tick that the book uses, absent until a price was seen.
    pub tick: Option<Price>,
    /// Where the tick comes from.
    pub tick_source: TickSource,
    /// Whether the instrument trades, as far as the source says.
    pub trading: TradingState,
    /// Whether the book may be believed.
    pub state: BookState,
    /// Best bid at or above best ask after the last complete event: normal before the open.
    pub crossed: bool,
    /// The hub's number of the last frame published.
    pub sequence: u64,
    /// When the last frame happened, by the venue's clock.
    pub ts_event: UnixNanos,
    /// When the last frame was received.
    pub ts_recv: UnixNanos,
    /// The book, where the source sends one.
    pub book: Arc<BookView>,
    /// The newest best bid and ask, from the book or from a source that sends quotes only.
    pub quote: QuoteView,
    /// The newest trading day with trades.
    pub statistics: Option<SessionStatistics>,
    /// Recent trades, oldest first.
    pub trades: Arc<HistoryView<TradeView>>,
    /// One per interval.
    pub bars: Vec<BarsView>,
    /// What was counted.
    pub counters: Counters,
}

/// A trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeView {
    /// The hub's number.
    pub sequence: u64,
    /// When it happened, by the venue's clock.
    pub ts_event: UnixNanos,
    /// Price per unit.
    pub price: Price,
    /// Quantity.
    pub quantity: Quantity,
    /// The side that took liquidity, where the venue says.
    pub aggressor: Option<Side>,
    /// The venue's number, zero when it has none.
    pub trade_id: u64,
}

/// The bars of one interval.
#[derive(Debug, Clone)]
pub struct BarsView {
    /// The interval.
    pub spec: BarSpec,
    /// Closed bars, oldest first.
    pub closed: Arc<HistoryView<BarRecord>>,
    /// The bar in the making.
    pub forming: Option<BarRecord>,
}

/// What happened to an instrument's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Frames taken in.
    pub frames: u64,
    /// Frames dropped because they were there already.
    pub duplicates: u64,
    /// Frames that came early and were held.
    pub reordered: u64,
    /// Holes declared, by this hub or by the source.
    pub gaps: u64,
    /// Frames in those holes.
    pub lost: u64,
    /// Cancels and modifies of orders that are not in the book.
    pub unknown_orders: u64,
    /// Frames that the source itself marks as doubtful.
    pub maybe_bad: u64,
    /// Events after which the book was crossed before the open: normal.
    pub crossed_pre_open: u64,
    /// Events after which the book was crossed while the instrument trades: doubtful.
    pub crossed_open: u64,
    /// Refused: orders that are in the book already.
    pub duplicate_orders: u64,
    /// Refused: prices off the defined tick.
    pub off_tick: u64,
    /// Refused: undefined or absurd prices, quantities, instants or numbers.
    pub absurd: u64,
    /// Refused: sums that would not fit.
    pub overflows: u64,
    /// Refused: the book, or the list of bars, is full.
    pub full: u64,
    /// Refused: level changes for an order book or order changes for a level book.
    pub mixed_depth: u64,
    /// Bars left out because one trade closed too many at once.
    pub bars_skipped: u64,
}

impl Counters {
    /// Frames refused for any reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.duplicate_orders + self.off_tick + self.absurd + self.overflows + self.full + self.mixed_depth
    }
}

/// What happened to frames that belong to no instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HubCounters {
    /// Refused: no definition came before.
    pub unknown_instrument: u64,
    /// Refused: a definition whose symbol or number is taken.
    pub conflicting_definition: u64,
    /// Refused: more instruments than configured.
    pub too_many_instruments: u64,
}
