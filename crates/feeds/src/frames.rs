//! Lays out frames: what all feeds share when they append to a buffer.
//!
//! It refuses nothing and knows no source; whoever calls it has checked that the values can stand in a frame.

use nautilus_messages::frame::{
    Bar, BarUnit, BookState, Definition, Header, Kind, LevelChange, OrderAction, OrderChange, Quote,
    Snapshot, SnapshotPhase, Status, Trade, TradingState, WireSide, flags,
};
use nautilus_types::{
    AssetClass, Instrument, InstrumentId, Price, Quantity, SCALE, Symbol, UnixNanos, Venue,
};
use zerocopy::byteorder::little_endian::{I64, U32, U64};

/// What frames of one record have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) instrument: InstrumentId,
    pub(crate) sequence: u64,
    pub(crate) ts_event: UnixNanos,
    pub(crate) ts_recv: UnixNanos,
    pub(crate) flags: u16,
}

impl Stamp {
    #[inline]
    fn header(&self, kind: Kind) -> Header {
        Header::new(kind, self.instrument, self.sequence, self.ts_event, self.ts_recv).with_flags(self.flags)
    }

    /// The same stamp for a frame that another of the same event follows.
    pub(crate) fn not_last(mut self) -> Self {
        self.flags &= !flags::LAST;
        self
    }

    #[inline]
    pub(crate) fn trade(&self, price: i64, quantity: i64, aggressor: WireSide, out: &mut Vec<u8>) {
        let frame = Trade {
            header: self.header(Kind::Trade),
            price_nanos: I64::new(price),
            quantity_nanos: I64::new(quantity),
            trade_id: U64::ZERO,
            aggressor,
            reserved: [0; 7],
        };
        out.extend_from_slice(frame.to_bytes());
    }

    #[inline]
    pub(crate) fn order(
        &self,
        action: OrderAction,
        side: WireSide,
        order_id: u64,
        (price, quantity): (i64, i64),
        out: &mut Vec<u8>,
    ) {
        let frame = OrderChange {
            header: self.header(Kind::OrderChange),
            order_id: U64::new(order_id),
            price_nanos: I64::new(price),
            quantity_nanos: I64::new(quantity),
            action,
            side,
            reserved: [0; 6],
        };
        out.extend_from_slice(frame.to_bytes());
    }

    pub(crate) fn quote(&self, bid: (i64, i64), ask: (i64, i64), out: &mut Vec<u8>) {
        let frame = Quote {
            header: self.header(Kind::Quote),
            bid_nanos: I64::new(bid.0),
            ask_nanos: I64::new(ask.0),
            bid_quantity_nanos: I64::new(bid.1),
            ask_quantity_nanos: I64::new(ask.1),
        };
        out.extend_from_slice(frame.to_bytes());
    }

    pub(crate) fn level(&self, side: WireSide, price: i64, quantity: i64, orders: u32, out: &mut Vec<u8>) {
        let frame = LevelChange {
            header: self.header(Kind::LevelChange),
            price_nanos: I64::new(price),
            quantity_nanos: I64::new(quantity),
            orders: U32::new(orders),
            side,
            reserved: [0; 11],
        };
        out.extend_from_slice(frame.to_bytes());
    }

    pub(crate) fn snapshot(&self, phase: SnapshotPhase, frames: u32, out: &mut Vec<u8>) {
        let frame = Snapshot {
            header: self.header(Kind::Snapshot),
            frames: U32::new(frames),
            phase,
            reserved: [0; 27],
        };
        out.extend_from_slice(frame.to_bytes());
    }

    /// A feed speaks of trading only; whether the book may be believed is for the engine to say.
    pub(crate) fn status(&self, trading: TradingState, out: &mut Vec<u8>) {
        let frame =
            Status { header: self.header(Kind::Status), trading, book: BookState::Live, reserved: [0; 30] };
        out.extend_from_slice(frame.to_bytes());
    }

    pub(crate) fn definition(&self, instrument: &Instrument, venue_id: u64, expiry: u64, out: &mut Vec<u8>) {
        let mut frame = Definition::of(instrument, venue_id);
        frame.header = self.header(Kind::Definition);
        frame.ts_expiry_ns = U64::new(expiry);
        out.extend_from_slice(frame.to_bytes());
    }

    /// A bar whose source knows neither sides, number of trades nor average: `vwap` is undefined then.
    pub(crate) fn bar(&self, bar: &RecordedBar, out: &mut Vec<u8>) {
        let frame = Bar {
            header: self.header(Kind::Bar),
            open_nanos: I64::new(bar.open),
            high_nanos: I64::new(bar.high),
            low_nanos: I64::new(bar.low),
            close_nanos: I64::new(bar.close),
            volume_nanos: I64::new(bar.volume),
            volume_buy_nanos: I64::ZERO,
            volume_sell_nanos: I64::ZERO,
            vwap_nanos: I64::new(nautilus_messages::frame::NO_PRICE),
            ts_open_ns: U64::new(bar.ts_open),
            trades: U32::ZERO,
            unit: BarUnit::Time,
            reserved: [0; 3],
            interval: U64::new(bar.interval_ns),
        };
        out.extend_from_slice(frame.to_bytes());
    }
}

/// A time bar as files hold it, in billionths and nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordedBar {
    pub(crate) open: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) close: i64,
    pub(crate) volume: i64,
    pub(crate) ts_open: u64,
    pub(crate) interval_ns: u64,
}

impl RecordedBar {
    /// Whether the bar can stand in a frame: open and close between low and high, volume not negative.
    pub(crate) fn is_consistent(&self) -> bool {
        let range = self.low..=self.high;
        range.contains(&self.open) && range.contains(&self.close) && self.volume >= 0 && self.interval_ns > 0
    }
}

/// An instrument of which nothing but the name is known: tick unknown, lot and multiplier one, US dollars.
pub(crate) fn unknown_instrument(symbol: Symbol, venue: Venue) -> Instrument {
    Instrument {
        id: InstrumentId::NONE,
        symbol,
        venue,
        class: AssetClass::Unknown,
        currency: "USD".parse().expect("a legal currency"),
        tick: Price::ZERO,
        lot: Quantity::from_nanos(SCALE),
        multiplier: Quantity::from_nanos(SCALE),
    }
}
