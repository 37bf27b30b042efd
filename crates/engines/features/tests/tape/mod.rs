//! A tape for tests, as the hub would send it, and looks at what the engine makes of it.
//!
//! It decides no expectation.
#![allow(dead_code)] // Every test file uses some of it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use nautilus_book::BookLimits;
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_features::{
    Command, Config, FeatureSet, FeaturesEngine, Fundamentals, Publish, Registry, Snapshot,
};
use nautilus_messages::BarSpec;
use nautilus_messages::frame::{
    Bar, Definition, FrameRef, Frames, Gap, GapCause, Header, Kind, NO_PRICE, Quote, Trade, WireSide, flags,
};
use nautilus_messages::mesh::{Body, FeatureVector};
use nautilus_types::{
    AssetClass, FeatureSetName, Instrument, InstrumentId, NANOS_PER_SECOND, Price, Quantity, Side, Symbol,
    UnixNanos,
};

/// 2023-11-15 09:30 UTC, a full minute.
pub(crate) const START: u64 = 1_700_040_600 * NANOS_PER_SECOND;
pub(crate) const SECOND: u64 = NANOS_PER_SECOND;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const UNIT: i64 = 1_000_000_000;

/// Marsaglia's xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// From −`reach` to `reach`.
    pub(crate) fn step(&mut self, reach: i64) -> i64 {
        self.below(2 * reach as u64 + 1) as i64 - reach
    }
}

/// A bar's numbers, in billionths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Prices {
    pub(crate) open: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) close: i64,
    pub(crate) volume: i64,
}

impl Prices {
    /// A bar that never moved.
    pub(crate) fn flat(price: i64, volume: i64) -> Self {
        Self { open: price, high: price, low: price, close: price, volume }
    }

    /// From one price to another, a little beyond both on the way.
    pub(crate) fn moving(open: i64, close: i64, volume: i64) -> Self {
        let reach = (close - open).abs() / 3;
        Self { open, high: open.max(close) + reach, low: open.min(close) - reach, close, volume }
    }
}

/// Frames end to end, each instrument's numbered from 1 without holes.
#[derive(Debug, Clone)]
pub(crate) struct Tape {
    pub(crate) bytes: Vec<u8>,
    bar: BarSpec,
    sequences: BTreeMap<u32, u64>,
}

impl Default for Tape {
    fn default() -> Self {
        Self::of("1m")
    }
}

impl Tape {
    /// A tape whose bars are of this interval.
    pub(crate) fn of(bar: &str) -> Self {
        Self { bytes: Vec::new(), bar: bar.parse().unwrap(), sequences: BTreeMap::new() }
    }

    /// The frames since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn header(&mut self, kind: Kind, id: u32, ts: u64) -> Header {
        let sequence = self.sequences.entry(id).or_default();
        *sequence += 1;
        Header::new(kind, InstrumentId(id), *sequence, UnixNanos(ts), UnixNanos(ts))
            .with_flags(flags::CONTIGUOUS | flags::LAST)
    }

    /// A frame that nobody could decode reaches no engine.
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        if FrameRef::parse(bytes).is_ok() {
            self.bytes.extend_from_slice(bytes);
        }
        self
    }

    pub(crate) fn define(&mut self, id: u32, symbol: &str) -> &mut Self {
        self.definition(id, symbol, 0)
    }

    /// As a replay begins.
    pub(crate) fn start_over(&mut self, id: u32, symbol: &str) -> &mut Self {
        self.definition(id, symbol, flags::STARTS_OVER)
    }

    fn definition(&mut self, id: u32, symbol: &str, extra: u16) -> &mut Self {
        let instrument = Instrument {
            id: InstrumentId(id),
            symbol: symbol.parse().unwrap(),
            venue: "XSIM".parse().unwrap(),
            class: AssetClass::Equity,
            currency: "USD".parse().unwrap(),
            tick: Price::from_nanos(10_000_000),
            lot: Quantity::from_units(1).unwrap(),
            multiplier: Quantity::from_units(1).unwrap(),
        };
        let header = self.header(Kind::Definition, id, 0).with_flags(extra);
        let frame = Definition { header, ..Definition::of(&instrument, 0) };
        self.put(frame.to_bytes())
    }

    pub(crate) fn trade(&mut self, id: u32, ts: u64, price: i64, size: i64, side: Option<Side>) -> &mut Self {
        let frame = Trade {
            header: self.header(Kind::Trade, id, ts),
            price_nanos: price.into(),
            quantity_nanos: size.into(),
            trade_id: 0.into(),
            aggressor: WireSide::from(side),
            reserved: [0; 7],
        };
        self.put(frame.to_bytes())
    }

    /// Prices with their quantities; a side may be empty.
    pub(crate) fn quote(
        &mut self,
        id: u32,
        ts: u64,
        bid: Option<(i64, i64)>,
        ask: Option<(i64, i64)>,
    ) -> &mut Self {
        let price = |side: Option<(i64, i64)>| side.map_or(NO_PRICE, |(price, _)| price).into();
        let size = |side: Option<(i64, i64)>| side.map_or(0, |(_, size)| size).into();
        let frame = Quote {
            header: self.header(Kind::Quote, id, ts),
            bid_nanos: price(bid),
            ask_nanos: price(ask),
            bid_quantity_nanos: size(bid),
            ask_quantity_nanos: size(ask),
        };
        self.put(frame.to_bytes())
    }

    pub(crate) fn bar(&mut self, id: u32, ts_close: u64, prices: Prices) -> &mut Self {
        let ts_open = match self.bar.unit() {
            nautilus_messages::frame::BarUnit::Time => ts_close.saturating_sub(self.bar.interval()),
            _ => ts_close.saturating_sub(SECOND),
        };
        self.bar_opened(id, ts_open, ts_close, prices)
    }

    pub(crate) fn bar_opened(&mut self, id: u32, ts_open: u64, ts_close: u64, prices: Prices) -> &mut Self {
        let Prices { open, high, low, close, volume } = prices;
        let frame = Bar {
            header: self.header(Kind::Bar, id, ts_close),
            open_nanos: open.into(),
            high_nanos: high.into(),
            low_nanos: low.into(),
            close_nanos: close.into(),
            volume_nanos: volume.into(),
            volume_buy_nanos: (volume / 3).into(),
            volume_sell_nanos: (volume - volume / 3).into(),
            vwap_nanos: close.into(),
            ts_open_ns: ts_open.into(),
            trades: u32::from(volume > 0).into(),
            unit: self.bar.unit(),
            reserved: [0; 3],
            interval: self.bar.interval().into(),
        };
        self.put(frame.to_bytes())
    }

    /// Frames that the source says were lost.
    pub(crate) fn source_gap(&mut self, id: u32, lost: u64) -> &mut Self {
        let mut frame = gap(GapCause::Source, lost);
        frame.header = self.header(Kind::Gap, id, START);
        self.put(frame.to_bytes())
    }
}

/// A gap of the whole star.
pub(crate) fn gap(cause: GapCause, lost: u64) -> Gap {
    Gap {
        header: Header::new(Kind::Gap, InstrumentId::NONE, 0, UnixNanos(0), UnixNanos(0)),
        first_missing: 1.into(),
        last_missing: lost.into(),
        cause,
        reserved: [0; 15],
    }
}

/// Some minutes of trades, quotes and bars of several instruments: walks of cents, a quote and a trade every few
/// seconds, a bar at each minute, now and then a hole.
pub(crate) fn busy(seed: u64, symbols: &[&str], minutes: u64) -> Tape {
    let mut tape = Tape::default();
    let mut random = Random(seed * 2 + 1);
    let mut prices: Vec<i64> = (0..symbols.len() as i64).map(|n| (50 + 10 * n) * UNIT).collect();
    for (id, symbol) in (1..).zip(symbols) {
        tape.define(id, symbol);
    }
    for minute in 0..minutes {
        let opens = prices.clone();
        for second in (0..60).step_by(5) {
            for (id, price) in (1..).zip(&mut prices) {
                let ts = START + minute * MINUTE + second * SECOND + u64::from(id) * 1_000;
                *price = (*price + random.step(5) * 10_000_000).max(UNIT);
                let size = |random: &mut Random| (1 + random.below(20) as i64) * UNIT;
                let (bid, ask) = (*price - 10_000_000, *price + 10_000_000 * (1 + random.below(3) as i64));
                tape.quote(id, ts, Some((bid, size(&mut random))), Some((ask, size(&mut random))));
                if random.below(3) > 0 {
                    let side = [Some(Side::Buy), Some(Side::Sell), None][random.below(3) as usize];
                    tape.trade(id, ts + 500, *price, size(&mut random), side);
                }
            }
        }
        for ((id, open), close) in (1..).zip(opens).zip(&prices) {
            // An instrument without a trade has no bar.
            if random.below(12) > 0 {
                let volume = (1 + random.below(500) as i64) * UNIT;
                tape.bar(id, START + (minute + 1) * MINUTE, Prices::moving(open, *close, volume));
            }
        }
    }
    tape
}

/// The standard definitions, compiled once.
pub(crate) fn registry() -> Arc<Registry> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    Arc::clone(REGISTRY.get_or_init(|| Arc::new(Registry::new(&[]).unwrap())))
}

/// Some of the standard definitions.
pub(crate) fn only(ids: &[&str]) -> Arc<Registry> {
    Arc::new(registry().only(ids).unwrap())
}

/// Definitions that tests add.
pub(crate) fn with_formula(id: &str, formula: &str) -> Arc<Registry> {
    let template = serde_json::from_value(serde_json::json!({ "id": id, "formula": formula })).unwrap();
    Arc::new(Registry::new(&[template]).unwrap().only(&[id]).unwrap())
}

pub(crate) fn name(text: &str) -> FeatureSetName {
    text.parse().unwrap()
}

pub(crate) fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub(crate) fn set(features: &[&str], publish: Publish) -> FeatureSet {
    FeatureSet {
        features: features.iter().map(|id| (*id).to_owned()).collect(),
        publish,
        ..FeatureSet::default()
    }
}

pub(crate) fn engine_of(registry: Arc<Registry>, config: Config) -> FeaturesEngine {
    FeaturesEngine::new(config, BookLimits::default(), registry, Arc::new(Fundamentals::default()), [])
        .unwrap()
}

pub(crate) fn engine() -> FeaturesEngine {
    engine_of(registry(), Config::default())
}

pub(crate) fn engine_with(sets: &[(&str, FeatureSet)]) -> FeaturesEngine {
    let sets = sets.iter().map(|(text, set)| (name(text), set.clone()));
    let table = Arc::new(Fundamentals::default());
    FeaturesEngine::new(Config::default(), BookLimits::default(), registry(), table, sets).unwrap()
}

pub(crate) fn feed(engine: &mut FeaturesEngine, bytes: &[u8]) -> Effects {
    let mut out = Effects::default();
    for frame in Frames::new(bytes) {
        engine.step(Stamp::default(), Input::Frame(frame.unwrap()), &mut out);
    }
    out
}

pub(crate) fn command(engine: &mut FeaturesEngine, command: Command) -> Effects {
    let mut out = Effects::default();
    engine.step(Stamp::default(), Input::Command(command), &mut out);
    out
}

/// What readers get, if anything changed.
pub(crate) fn published(engine: &mut FeaturesEngine) -> Option<Snapshot> {
    let mut newest = None;
    engine.publish(&mut |_, snapshot| assert!(newest.replace(snapshot).is_none(), "one picture"));
    newest
}

pub(crate) fn picture(engine: &mut FeaturesEngine) -> Snapshot {
    published(engine).expect("something changed")
}

/// Values with their bits, so that equal means the same.
pub(crate) type Bits = Vec<Option<u64>>;

/// An instrument's newest values, feature by feature.
pub(crate) fn newest(picture: &Snapshot, text: &str) -> Bits {
    let vector = picture.vector(picture.find(symbol(text)).expect("it is known"));
    (0..picture.registry.definitions().len()).map(|n| vector.value(n).map(f64::to_bits)).collect()
}

/// An instrument's values at each bar close.
pub(crate) fn past(picture: &Snapshot, text: &str) -> Vec<(u64, Bits)> {
    let place = picture.find(symbol(text)).expect("it is known");
    let count = picture.registry.definitions().len();
    picture
        .history(place, UnixNanos(0), UnixNanos(u64::MAX))
        .map(|vector| {
            let bits = (0..count).map(|n| vector.value(n).map(f64::to_bits)).collect();
            (vector.ts_close.expect("of a bar").0, bits)
        })
        .collect()
}

/// The value of one feature now.
pub(crate) fn value(picture: &Snapshot, text: &str, id: &str) -> Option<f64> {
    let place = picture.find(symbol(text)).expect("it is known");
    picture.vector(place).value(picture.registry.find(id).expect(id))
}

pub(crate) fn vectors(effects: &Effects) -> Vec<FeatureVector> {
    let vector = |body: &Body| match body {
        Body::FeatureVector(vector) => Some(vector.clone()),
        _ => None,
    };
    effects.mesh.iter().filter_map(|outgoing| vector(&outgoing.body)).collect()
}
