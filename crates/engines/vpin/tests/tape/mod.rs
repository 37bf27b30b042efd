//! Trades for tests: made from a seed, as a request's list or as the star's frames.
//!
//! It decides no expectation.
#![allow(dead_code)]

use nautilus_engine_vpin::{BatchRequest, BatchTrade, Decimal};
use nautilus_messages::frame::{Definition, Gap, GapCause, Header, Kind, Trade, WireSide};
use nautilus_types::{
    AssetClass, Instrument, InstrumentId, NANOS_PER_SECOND, Price, Quantity, Side, UnixNanos,
};
use zerocopy::IntoBytes;

/// 2023-11-15 09:30 UTC.
pub(crate) const START_NS: u64 = 1_700_040_600 * NANOS_PER_SECOND;

/// Marsaglia's xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A walk of quarter points with about one trade in `mean_gap_s` seconds; one trade in eight has no side.
pub(crate) fn tape(seed: u64, trades: usize, mean_gap_s: u64) -> Vec<BatchTrade> {
    let mut random = Random(seed * 2 + 1);
    let (mut ts_ns, mut price) = (START_NS, 4_800_000_000_000i64);
    (0..trades)
        .map(|_| {
            ts_ns += random.below(2 * mean_gap_s * NANOS_PER_SECOND);
            price += 250_000_000 * (random.below(3) as i64 - 1);
            let side = match random.below(8) {
                0 => None,
                1..=4 => Some(Side::Buy),
                _ => Some(Side::Sell),
            };
            trade(ts_ns, price, 1 + random.below(9_000_000_000) as i64, side)
        })
        .collect()
}

pub(crate) fn trade(ts_ns: u64, price: i64, quantity: i64, side: Option<Side>) -> BatchTrade {
    BatchTrade { ts_ns, price: Decimal::from_nanos(price), quantity: Decimal::from_nanos(quantity), side }
}

pub(crate) fn request(trades: Vec<BatchTrade>) -> BatchRequest {
    BatchRequest { trades, ..BatchRequest::default() }
}

pub(crate) fn definition(id: u32, symbol: &str) -> Definition {
    let instrument = Instrument {
        id: InstrumentId(id),
        symbol: symbol.parse().unwrap(),
        venue: "XSIM".parse().unwrap(),
        class: AssetClass::Future,
        currency: "USD".parse().unwrap(),
        tick: Price::from_nanos(250_000_000),
        lot: Quantity::from_units(1).unwrap(),
        multiplier: Quantity::from_units(50).unwrap(),
    };
    Definition::of(&instrument, 0)
}

pub(crate) fn trade_frame(id: u32, trade: &BatchTrade) -> Trade {
    let ts = UnixNanos(trade.ts_ns);
    Trade {
        header: Header::new(Kind::Trade, InstrumentId(id), 1, ts, ts),
        price_nanos: trade.price.nanos().unwrap().into(),
        quantity_nanos: trade.quantity.nanos().unwrap().into(),
        trade_id: 0.into(),
        aggressor: WireSide::from(trade.side),
        reserved: [0; 7],
    }
}

pub(crate) fn gap_frame(id: u32, first: u64, last: u64) -> Gap {
    Gap {
        header: Header::new(Kind::Gap, InstrumentId(id), 1, UnixNanos(START_NS), UnixNanos(START_NS)),
        first_missing: first.into(),
        last_missing: last.into(),
        cause: GapCause::Overrun,
        reserved: [0; 15],
    }
}

/// The definition, then every trade.
pub(crate) fn frames(id: u32, symbol: &str, trades: &[BatchTrade]) -> Vec<u8> {
    let mut bytes = definition(id, symbol).as_bytes().to_vec();
    trades.iter().for_each(|t| bytes.extend_from_slice(trade_frame(id, t).as_bytes()));
    bytes
}
