//! What one trade costs the vpin engine, all four classifications included, beside the textbook in plain floats.
//!
//! Both must end with the same buckets and the same VPIN, or nothing is reported. It measures no bus and no store.

mod session;

use std::collections::VecDeque;

use criterion::Criterion;
use nautilus_benches::{Contest, Goal, Peer, Report, Unit, timed};
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_vpin::{Configuration, VpinEngine, VpinView};
use nautilus_messages::frame::{Definition, FrameRef, Header, Kind, Trade, WireSide};
use nautilus_messages::mesh::Classification;
use nautilus_numerics::{normal_cdf, student_t_cdf};
use nautilus_types::{
    AssetClass, Instrument, InstrumentId, NANOS_PER_DAY, NANOS_PER_SECOND, Price, Quantity, Side, UnixNanos,
};

use session::Session;

const ROUNDS: usize = 15;
const BATCH: usize = 1_024;
/// The session is repeated so many times, each a day later.
const DAYS: u64 = 20;
const SYNTHETIC_TRADES: u64 = 60_000;
const ID: InstrumentId = InstrumentId(1);
/// Of both: some 50 buckets in an ES session.
const BUCKET_UNITS: i64 = 200;

const SIGMA_BARS: usize = 390;
const SIGMA_BARS_MIN: usize = 10;
const EARLIER_VALUES: usize = 4_096;

/// One classification's buckets as the papers write them down: everything summed anew for every bucket.
#[derive(Default)]
struct TextbookLane {
    filled: f64,
    buy: f64,
    completed: u64,
    window: VecDeque<f64>,
    values: VecDeque<f64>,
    vpin: Option<f64>,
    cdf: Option<f64>,
}

impl TextbookLane {
    fn add(&mut self, mut volume: f64, share: f64, size: f64, window: usize) {
        while volume > 0.0 {
            let part = volume.min(size - self.filled);
            self.filled += part;
            self.buy += part * share;
            volume -= part;
            if self.filled >= size {
                self.complete(size, window);
            }
        }
    }

    fn complete(&mut self, size: f64, window: usize) {
        if self.window.len() == window {
            self.window.pop_front();
        }
        self.window.push_back((2.0 * self.buy - size).abs());
        (self.filled, self.buy, self.completed) = (0.0, 0.0, self.completed + 1);
        if self.window.len() < window {
            return;
        }
        let vpin = self.window.iter().sum::<f64>() / (size * window as f64);
        let not_above = self.values.iter().filter(|value| **value <= vpin).count();
        self.cdf = (!self.values.is_empty()).then(|| not_above as f64 / self.values.len() as f64);
        if self.values.len() == EARLIER_VALUES {
            self.values.pop_front();
        }
        self.values.push_back(vpin);
        self.vpin = Some(vpin);
    }
}

#[derive(Default)]
struct TextbookBar {
    end_ns: u64,
    first: f64,
    last: f64,
    volume: f64,
}

/// Four classifications of one instrument, in the order of [`Classification::ALL`].
#[derive(Default)]
struct Textbook {
    lanes: [TextbookLane; 4],
    bar: TextbookBar,
    changes: VecDeque<f64>,
    last: Option<f64>,
    tick_share: f64,
}

impl Textbook {
    fn run(trades: &[Trade], size: f64, window: usize) -> Self {
        let mut book = Self { tick_share: 0.5, ..Self::default() };
        trades.iter().for_each(|trade| book.trade(trade, size, window));
        book
    }

    fn trade(&mut self, trade: &Trade, size: f64, window: usize) {
        let ts = trade.header.ts_event().0;
        let price = trade.price_nanos.get() as f64 / 1e9;
        let quantity = trade.quantity_nanos.get() as f64 / 1e9;
        if ts >= self.bar.end_ns {
            self.close_bar(size, window);
            let width = 60 * NANOS_PER_SECOND;
            self.bar =
                TextbookBar { end_ns: (ts / width + 1) * width, first: price, last: price, volume: 0.0 };
        }
        self.bar.last = price;
        self.bar.volume += quantity;
        match self.last {
            Some(last) if price > last => self.tick_share = 1.0,
            Some(last) if price < last => self.tick_share = 0.0,
            _ => {}
        }
        self.last = Some(price);
        let aggressor = match trade.aggressor.get() {
            Some(Side::Buy) => 1.0,
            Some(Side::Sell) => 0.0,
            None => 0.5,
        };
        self.lanes[Classification::Aggressor as usize].add(quantity, aggressor, size, window);
        self.lanes[Classification::TickRule as usize].add(quantity, self.tick_share, size, window);
    }

    fn close_bar(&mut self, size: f64, window: usize) {
        if self.bar.end_ns == 0 {
            return;
        }
        let change = self.bar.last - self.bar.first;
        let bars = self.changes.len() as f64;
        if self.changes.len() >= SIGMA_BARS_MIN {
            let mean = self.changes.iter().sum::<f64>() / bars;
            let squares = self.changes.iter().map(|change| (change - mean).powi(2)).sum::<f64>();
            let sigma = (squares / (bars - 1.0)).sqrt();
            let z = if sigma > 0.0 { change / sigma } else { 0.0 };
            let volume = self.bar.volume;
            self.lanes[Classification::BulkNormal as usize].add(volume, normal_cdf(z), size, window);
            let student = student_t_cdf(z, 0.25);
            self.lanes[Classification::BulkStudentT as usize].add(volume, student, size, window);
        }
        if self.changes.len() == SIGMA_BARS {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

fn engine(configuration: Configuration) -> VpinEngine {
    let instrument = Instrument {
        id: ID,
        symbol: "ESH4".parse().expect("a symbol"),
        venue: "XCME".parse().expect("a venue"),
        class: AssetClass::Future,
        currency: "USD".parse().expect("a currency"),
        tick: Price::from_nanos(250_000_000),
        lot: Quantity::from_nanos(1_000_000_000),
        multiplier: Quantity::from_nanos(50_000_000_000),
    };
    let definition = Definition::of(&instrument, 0);
    let mut engine = VpinEngine::new(configuration, []).expect("a legal configuration");
    engine.step(Stamp::default(), Input::Frame(FrameRef::Definition(&definition)), &mut Effects::default());
    engine
}

fn step_all(engine: &mut VpinEngine, trades: &[Trade], out: &mut Effects) {
    for batch in trades.chunks(BATCH) {
        for trade in batch {
            engine.step(Stamp::default(), Input::Frame(FrameRef::Trade(trade)), out);
        }
        out.clear();
    }
}

fn fixed() -> Configuration {
    let size = Quantity::from_nanos(BUCKET_UNITS * 1_000_000_000);
    Configuration { bucket_volume: Some(size), ..Configuration::default() }
}

fn assert_both_agree(trades: &[Trade]) {
    let configuration = fixed();
    let mut engine = engine(configuration);
    step_all(&mut engine, trades, &mut Effects::default());
    let mut view: Option<VpinView> = None;
    engine.publish(&mut |_, made| view = Some(made));
    let view = view.expect("a view of the instrument");
    let textbook = Textbook::run(trades, BUCKET_UNITS as f64, configuration.window as usize);
    for classification in Classification::ALL {
        let (lane, expected) = (view.lane(classification), &textbook.lanes[classification as usize]);
        assert_eq!(lane.buckets, expected.completed, "{classification:?}");
        let (Some(vpin), Some(by_the_book)) = (lane.vpin, expected.vpin) else {
            panic!("no VPIN was reached")
        };
        assert!((vpin - by_the_book).abs() < 1e-9, "{classification:?}: {vpin} is not {by_the_book}");
    }
}

/// The session's trades, once for every day.
fn repeated(trades: &[Trade]) -> Vec<Trade> {
    let day = |day: u64| {
        trades.iter().map(move |trade| {
            let ts = UnixNanos(trade.header.ts_event().0 + day * NANOS_PER_DAY);
            Trade { header: Header::new(Kind::Trade, ID, 1, ts, ts), ..*trade }
        })
    };
    (0..DAYS).flat_map(day).collect()
}

/// A walk of quarter points, a trade every half second or so, from Marsaglia's xorshift64.
fn synthetic() -> Vec<Trade> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut below = move |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    let (mut ts, mut price) = (UnixNanos(1_700_000_000 * NANOS_PER_SECOND), 4_800_000_000_000_i64);
    let mut trade = move |id: u64| {
        ts.0 += below(NANOS_PER_SECOND);
        price += 250_000_000 * (below(3) as i64 - 1);
        let side = [None, Some(Side::Buy), Some(Side::Sell)][below(3) as usize];
        Trade {
            header: Header::new(Kind::Trade, ID, 1, ts, ts),
            price_nanos: price.into(),
            quantity_nanos: ((1 + below(9) as i64) * 1_000_000_000).into(),
            trade_id: id.into(),
            aggressor: WireSide::from(side),
            reserved: [0; 7],
        }
    };
    (0..SYNTHETIC_TRADES).map(&mut trade).collect()
}

fn contest<'a>(name: &'static str, trades: &'a [Trade]) -> Contest<'a> {
    let ours = move |configuration| {
        move || {
            let (mut engine, mut out) = (engine(configuration), Effects::default());
            timed(|| {
                step_all(&mut engine, trades, &mut out);
                engine
            })
        }
    };
    let window = fixed().window as usize;
    Contest::new(name, trades.len())
        .enter("engine, fixed buckets", ours(fixed()))
        .enter("engine, daily buckets", ours(Configuration::default()))
        .enter("textbook, fixed buckets", move || {
            timed(|| Textbook::run(trades, BUCKET_UNITS as f64, window))
        })
}

fn main() {
    let Some(mut report) = Report::begin("vpin") else { return };
    let session = Session::load();
    let (recorded, synthetic) = (repeated(&session.trades()), synthetic());
    let mut criterion = Criterion::default().configure_from_args();
    for (name, trades) in [("vpin, recorded trades", &recorded), ("vpin, synthetic trades", &synthetic)] {
        assert_both_agree(trades);
        let mut contest = contest(name, trades);
        let [fixed, daily, textbook] = &contest.race(ROUNDS)[..] else { unreachable!("three were entered") };
        let (ns, goal) = (Unit::Nanoseconds, Goal::AtMost(50.0));
        let peer = Peer::Here("textbook in floats, same four", textbook);
        report.row(&format!("{name}: `step`, fixed buckets"), ns, fixed, peer, goal);
        report.row(&format!("{name}: `step`, daily buckets"), ns, daily, Peer::None, goal);
        contest.criterion(&mut criterion);
    }
    let name = session.name;
    report.note(&format!(
        "Per trade, four classifications. {name} × {DAYS} days ({} trades) and {} synthetic ones; both sides ended \
         with the same buckets and VPINs within 1e-9 of each other.",
        recorded.len(),
        synthetic.len()
    ));
    criterion.final_summary();
}
