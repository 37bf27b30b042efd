//! A made-up market of one-minute bars: the same for every contestant, from a fixed seed.
//!
//! Prices walk by a normal-looking step around a common factor; it decides no expectation.

use nautilus_messages::frame::{Bar, BarUnit, Definition, Header, Kind, flags};
use nautilus_types::{
    AssetClass, Instrument, InstrumentId, NANOS_PER_SECOND, Price, Quantity, UnixNanos,
};

pub(crate) const MINUTE: u64 = 60 * NANOS_PER_SECOND;
const START: u64 = 1_700_000_040 * NANOS_PER_SECOND;

/// Bars by instrument, then by time: open, high, low, close, volume.
pub(crate) struct Market {
    pub(crate) bars: Vec<Vec<[f64; 5]>>,
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The sum of twelve: close to normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

impl Market {
    pub(crate) fn new(instruments: usize, bars: usize) -> Self {
        let mut random = Random(88_172_645_463_325_252);
        let mut prices: Vec<f64> = (0..instruments).map(|n| 20.0 + n as f64).collect();
        let mut all = vec![Vec::with_capacity(bars); instruments];
        for _ in 0..bars {
            let common = random.normal();
            for (price, series) in prices.iter_mut().zip(&mut all) {
                let open = *price;
                let close = open * (1.0 + 1e-3 * (0.5 * common + random.normal()));
                let reach = open * 1e-3;
                let high = open.max(close) + reach * random.unit();
                let low = open.min(close) - reach * random.unit();
                let volume = (100.0 + 1e4 * random.unit()).floor();
                let cents = |x: f64| (x * 100.0).round() / 100.0;
                series.push([cents(open), cents(high), cents(low), cents(close), volume]);
                *price = cents(close).max(1.0);
            }
        }
        Self { bars: all }
    }

    pub(crate) fn definitions(&self) -> Vec<Definition> {
        let definition = |n: usize| {
            let instrument = Instrument {
                id: id(n),
                symbol: symbol(n).parse().expect("a symbol"),
                venue: "XSIM".parse().expect("a venue"),
                class: AssetClass::Equity,
                currency: "USD".parse().expect("a currency"),
                tick: Price::from_nanos(10_000_000),
                lot: Quantity::from_nanos(1_000_000_000),
                multiplier: Quantity::from_nanos(1_000_000_000),
            };
            let mut definition = Definition::of(&instrument, 0);
            definition.header.sequence = 1.into();
            definition.header = definition.header.with_flags(flags::CONTIGUOUS);
            definition
        };
        (0..self.bars.len()).map(definition).collect()
    }

    /// The frames of one bar close, in order of instruments.
    pub(crate) fn close(&self, at: usize) -> Vec<Bar> {
        (0..self.bars.len()).map(|n| self.bar(n, at)).collect()
    }

    fn bar(&self, instrument: usize, at: usize) -> Bar {
        let [open, high, low, close, volume] = self.bars[instrument][at];
        let nanos = |x: f64| ((x * 100.0).round() as i64) * 10_000_000;
        let ts = UnixNanos(START + (at as u64 + 1) * MINUTE);
        let half = (volume / 2.0).floor();
        Bar {
            header: Header::new(Kind::Bar, id(instrument), at as u64 + 2, ts, ts)
                .with_flags(flags::CONTIGUOUS | flags::LAST),
            open_nanos: nanos(open).into(),
            high_nanos: nanos(high).into(),
            low_nanos: nanos(low).into(),
            close_nanos: nanos(close).into(),
            volume_nanos: nanos(volume).into(),
            volume_buy_nanos: nanos(half).into(),
            volume_sell_nanos: nanos(volume - half).into(),
            vwap_nanos: nanos((open + close) / 2.0).into(),
            ts_open_ns: (ts.0 - MINUTE).into(),
            trades: 40.into(),
            unit: BarUnit::Time,
            reserved: [0; 3],
            interval: MINUTE.into(),
        }
    }
}

pub(crate) fn symbol(n: usize) -> String {
    format!("S{n:04}")
}

fn id(n: usize) -> InstrumentId {
    InstrumentId(n as u32 + 1)
}
