//! The recorded ES session behind the real hub: microstructure against slow and obvious recomputation, over lost frames
//! and restarts of the hub and of the engine.
//!
//! The oracle sees the hub's own frames and book and shares no arithmetic with the engine. Agreement is asked to one part
//! in 10⁹: both sum thousands of terms, in different orders.

mod tape;

use std::sync::{Arc, OnceLock};

use nautilus_engine::replay::{self, Plan};
use nautilus_engine::{Effects, Engine as _, Input, Stamp};
use nautilus_engine_features::{Absence, Family, FeaturesEngine, Publish, Registry, Snapshot};
use nautilus_engine_marketdata::{Config as HubConfig, MarketdataEngine};
use nautilus_feeds::{FileFeed, Read, Registry as Formats};
use nautilus_messages::frame::{FrameRef, Frames, GapCause, NO_PRICE, Quote, Trade};
use nautilus_types::{InstrumentId, Side};
use tape::{command, engine_of, feed, gap, name, newest, past, picture, published, set, value};

const ES: InstrumentId = InstrumentId(1);
const RELATIVE: f64 = 1e-9;

fn session() -> Option<Vec<u8>> {
    let path = nautilus_testkit::es_session()?;
    let mut feed = FileFeed::open(&path, &Formats::new()).expect("the recording opens");
    let mut frames = Vec::new();
    while feed.read(10_000, &mut frames).expect("the recording reads") == Read::Frames {}
    Some(frames)
}

/// A hub that hands out what every frame of the recording makes it publish.
struct Hub {
    engine: MarketdataEngine,
    out: Effects,
}

impl Hub {
    fn new() -> Self {
        Self { engine: MarketdataEngine::new(HubConfig::default()), out: Effects::default() }
    }

    fn take(&mut self, frame: FrameRef<'_>) -> &[u8] {
        self.out.clear();
        self.engine.step(Stamp::default(), Input::Frame(frame), &mut self.out);
        &self.out.star
    }

    fn snapshot(&self) -> Vec<u8> {
        self.engine.book_snapshot(ES).expect("defined").1
    }

    /// The quantity of the best levels of both sides.
    fn depth(&self, levels: usize) -> [f64; 2] {
        let book = self.engine.order_book(ES).expect("an order book");
        let total = |side| book.levels(side).take(levels).map(|level| level.quantity.nanos()).sum::<i64>();
        [Side::Buy, Side::Sell].map(|side| total(side) as f64 / 1e9)
    }
}

/// Everything that the hub publishes.
fn star(frames: &[u8]) -> Vec<u8> {
    let mut hub = Hub::new();
    Frames::new(frames).flat_map(|frame| hub.take(frame.expect("a legal frame")).to_vec()).collect()
}

/// Microstructure and some returns.
fn registry() -> Arc<Registry> {
    static SOME: OnceLock<Arc<Registry>> = OnceLock::new();
    let make = || {
        let all = tape::registry();
        let micro = all.definitions().iter().filter(|d| d.family == Family::Microstructure);
        let ids: Vec<&str> =
            micro.map(|d| d.id.as_str()).chain(["return_1", "return_5", "volatility_20"]).collect();
        tape::only(&ids)
    };
    Arc::clone(SOME.get_or_init(make))
}

fn engine() -> FeaturesEngine {
    engine_of(registry(), nautilus_engine_features::Config::default())
}

// The oracle

/// A quote that has two sides in order.
#[derive(Debug, Clone, Copy)]
struct Touch {
    bid: f64,
    ask: f64,
    bid_size: f64,
    ask_size: f64,
}

impl Touch {
    fn of(quote: &Quote) -> Option<Self> {
        let (bid, ask) = (quote.bid_nanos.get(), quote.ask_nanos.get());
        (bid != NO_PRICE && ask != NO_PRICE && bid < ask).then(|| Self {
            bid: bid as f64 / 1e9,
            ask: ask as f64 / 1e9,
            bid_size: quote.bid_quantity_nanos.get() as f64 / 1e9,
            ask_size: quote.ask_quantity_nanos.get() as f64 / 1e9,
        })
    }

    fn mid(self) -> f64 {
        f64::midpoint(self.bid, self.ask)
    }
}

/// What an event was: time in seconds since the first, and what the formulas need.
#[derive(Default)]
struct Oracle {
    start: Option<u64>,
    quotes: Vec<(f64, Option<Touch>)>,
    trades: Vec<Print>,
}

#[derive(Clone, Copy)]
struct Print {
    at: f64,
    price: f64,
    size: f64,
    sign: f64,
    mid: Option<f64>,
}

impl Oracle {
    fn seconds(&mut self, ts: u64) -> f64 {
        let start = *self.start.get_or_insert(ts);
        (ts - start) as f64 / 1e9
    }

    fn quote(&mut self, quote: &Quote) {
        let at = self.seconds(quote.header.ts_event().0);
        self.quotes.push((at, Touch::of(quote)));
    }

    fn trade(&mut self, trade: &Trade) {
        let sign = match trade.aggressor.get() {
            Some(Side::Buy) => 1.0,
            Some(Side::Sell) => -1.0,
            None => 0.0,
        };
        let mid = self.touch().map(Touch::mid);
        let at = self.seconds(trade.header.ts_event().0);
        let (price, size) = (trade.price_nanos.get() as f64 / 1e9, trade.quantity_nanos.get() as f64 / 1e9);
        self.trades.push(Print { at, price, size, sign, mid });
    }

    fn touch(&self) -> Option<Touch> {
        self.quotes.last().and_then(|(_, touch)| *touch)
    }

    /// Cont, Kukanov and Stoikov's e of every quote, each faded by its own age.
    fn ofi(&self, half_life: f64) -> Option<f64> {
        self.quotes.last()?.1?;
        let now = self.quotes.last()?.0;
        let before = self.quotes.len().checked_sub(2)?;
        self.quotes[before].1?;
        let mut total = 0.0;
        for pair in self.quotes.windows(2) {
            let [(_, Some(old)), (at, Some(new))] = pair else { continue };
            let bid =
                f64::from(new.bid >= old.bid) * new.bid_size - f64::from(new.bid <= old.bid) * old.bid_size;
            let ask =
                f64::from(new.ask <= old.ask) * new.ask_size - f64::from(new.ask >= old.ask) * old.ask_size;
            total += (bid - ask) * 0.5f64.powf((now - at) / half_life);
        }
        Some(total)
    }

    fn faded(&self, half_life: f64, of: impl Fn(&Print) -> f64) -> f64 {
        let now = self.trades.last().expect("a trade").at;
        self.trades.iter().map(|print| of(print) * 0.5f64.powf((now - print.at) / half_life)).sum()
    }

    /// The slope of the change of the mid on signed quantity.
    fn kyle(&self, n: usize) -> Option<f64> {
        let last = &self.trades[self.trades.len().checked_sub(n + 1)?..];
        let change = |pair: &[Print]| Some(pair[1].mid? - pair[0].mid?);
        let y: Vec<f64> = last.windows(2).map(change).collect::<Option<_>>()?;
        let x: Vec<f64> = last[1..].iter().map(|print| print.sign * print.size).collect();
        Some(covariance(&x, &y) / covariance(&x, &x))
    }

    fn roll(&self, n: usize) -> Option<f64> {
        let last = &self.trades[self.trades.len().checked_sub(n + 2)?..];
        let changes: Vec<f64> = last.windows(2).map(|pair| pair[1].price - pair[0].price).collect();
        Some(2.0 * (-covariance(&changes[1..], &changes[..n])).max(0.0).sqrt())
    }
}

fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / (n - 1.0)
}

fn assert_near(picture: &Snapshot, id: &str, expected: Option<f64>, n: usize) {
    assert_near_from(1e-6, picture, id, expected, n);
}

/// Below `least` it is the difference itself that counts.
fn assert_near_from(least: f64, picture: &Snapshot, id: &str, expected: Option<f64>, n: usize) {
    let found = value(picture, "ESH4", id);
    let near = match (found, expected) {
        (Some(found), Some(expected)) => {
            (found - expected).abs() <= RELATIVE * expected.abs().max(found.abs()).max(least)
        }
        (None, expected) => expected.is_none_or(|value| !value.is_finite()),
        (Some(_), None) => false,
    };
    assert!(near, "{id} after frame {n}: {found:?}, expected {expected:?}");
}

#[test]
fn microstructure_is_what_the_frames_and_the_book_say() {
    let Some(frames) = session() else { return };
    let (mut hub, mut engine, mut oracle) = (Hub::new(), engine(), Oracle::default());
    let (mut quotes, mut trades, mut deep) = (0, 0, 0);
    for (n, frame) in Frames::new(&frames).enumerate() {
        let star = hub.take(frame.expect("a legal frame")).to_vec();
        for frame in Frames::new(&star) {
            let frame = frame.expect("a legal frame");
            feed(&mut engine, frame.as_bytes());
            match frame {
                FrameRef::Quote(quote) => {
                    oracle.quote(quote);
                    quotes += 1;
                    let picture = picture(&mut engine);
                    let touch = oracle.touch();
                    assert_near(&picture, "mid", touch.map(Touch::mid), n);
                    let spread = touch.map(|t| 10_000.0 * (t.ask - t.bid) / t.mid());
                    assert_near(&picture, "spread_bps", spread, n);
                    let weighted =
                        |t: Touch| (t.bid * t.ask_size + t.ask * t.bid_size) / (t.bid_size + t.ask_size);
                    assert_near(&picture, "microprice", touch.map(weighted), n);
                    let imbalance = |t: Touch| (t.bid_size - t.ask_size) / (t.bid_size + t.ask_size);
                    assert_near(&picture, "quote_imbalance", touch.map(imbalance), n);
                    for (levels, id) in [(5, "depth_imbalance_5"), (10, "depth_imbalance_10")] {
                        let [bids, asks] = hub.depth(levels);
                        let expected = touch.map(|_| (bids - asks) / (bids + asks));
                        deep += usize::from(expected.is_some());
                        assert_near(&picture, id, expected, n);
                    }
                    if quotes % 97 == 0 {
                        assert_near(&picture, "ofi_10", oracle.ofi(10.0), n);
                    }
                }
                FrameRef::Trade(trade) => {
                    oracle.trade(trade);
                    trades += 1;
                    let picture = picture(&mut engine);
                    let print = *oracle.trades.last().expect("the trade");
                    let effective = print.mid.map(|mid| 20_000.0 * print.sign * (print.price / mid - 1.0));
                    assert_near(&picture, "effective_spread_bps", effective, n);
                    let size = oracle.faded(60.0, |print| print.size);
                    let signed = oracle.faded(60.0, |print| print.sign * print.size);
                    assert_near(&picture, "trade_imbalance_60", Some(signed / size), n);
                    let rate = oracle.faded(10.0, |_| 1.0) * 2.0f64.ln() / 10.0;
                    assert_near(&picture, "trade_rate_10", Some(rate), n);
                    assert_near(&picture, "kyle_trades_100", oracle.kyle(100), n);
                    // The root of a rounding error is far larger than the error: of a price of 1, then.
                    assert_near_from(1.0, &picture, "roll_trades_100", oracle.roll(100), n);
                }
                _ => {}
            }
        }
    }
    assert_eq!(trades, 2_973);
    assert!(quotes > 5_000 && deep > 10_000, "{quotes} {deep}");
}

// Losses and restarts

/// Runs the recording through the hub and hands each frame's publications to `see`, with its number.
fn play(frames: &[u8], mut see: impl FnMut(usize, &Hub, &[u8])) {
    let mut hub = Hub::new();
    for (n, frame) in Frames::new(frames).enumerate() {
        let star = hub.take(frame.expect("a legal frame")).to_vec();
        see(n, &hub, &star);
    }
}

fn has_quote(star: &[u8]) -> bool {
    Frames::new(star).any(|frame| matches!(frame, Ok(FrameRef::Quote(_))))
}

fn depth_absence(picture: &Snapshot) -> Absence {
    picture.vector(0).absence(picture.registry.find("depth_imbalance_5").expect("defined"))
}

#[test]
fn a_book_that_is_out_of_step_has_no_depth_until_a_snapshot_mends_it() {
    let Some(frames) = session() else { return };
    let mut engine = engine();
    let (mut before, mut blind, mut mended) = (None, 0, None);
    play(&frames, |n, hub, star| match n {
        // A stretch that the star ran over.
        40_000..40_100 => {
            if n == 40_000 {
                before = Some(newest(&picture(&mut engine), "ESH4"));
            }
        }
        40_100 => {
            let out = feed(&mut engine, gap(GapCause::Overrun, 100).to_bytes());
            assert_eq!(out.snapshots, [ES], "its book may have lost frames");
            let after = picture(&mut engine);
            assert_eq!(Some(newest(&after, "ESH4")), before, "what was known stays as it was");
            assert_eq!(after.figures.lost_on_star, 100);
            feed(&mut engine, star);
        }
        40_101..41_000 => {
            let out = feed(&mut engine, star);
            assert!(star.is_empty() || out.snapshots.contains(&ES), "it asks again and again");
            if has_quote(star) {
                blind += 1;
                let picture = picture(&mut engine);
                assert!(value(&picture, "ESH4", "mid").is_some());
                assert_eq!(value(&picture, "ESH4", "depth_imbalance_5"), None);
                assert_eq!(depth_absence(&picture), Absence::NoInput { input: "bid_depth_5" });
            }
        }
        41_000 => {
            feed(&mut engine, star);
            let snapshot = hub.snapshot();
            let events = published(&mut engine).map(|picture| picture.figures.events);
            feed(&mut engine, &snapshot);
            assert!(
                events.is_none_or(|events| picture_events(&mut engine) == events),
                "a snapshot is no event"
            );
        }
        _ => {
            assert!(feed(&mut engine, star).snapshots.is_empty() || n < 41_000);
            if n > 41_000 && mended.is_none() && has_quote(star) {
                let picture = picture(&mut engine);
                let [bids, asks] = hub.depth(5);
                assert_near(&picture, "depth_imbalance_5", Some((bids - asks) / (bids + asks)), n);
                mended = Some(n);
            }
        }
    });
    assert!(blind > 50 && mended.is_some_and(|n| n < 41_200), "{blind} {mended:?}");
}

/// Events so far, whether or not something changed.
fn picture_events(engine: &mut FeaturesEngine) -> u64 {
    let put =
        nautilus_engine_features::Command::PutSet { name: name("x"), set: set(&["mid"], Publish::Never) };
    command(engine, put);
    picture(engine).figures.events
}

#[test]
fn the_hubs_restart_forgets_numbers_and_books_and_nothing_else() {
    let Some(frames) = session() else { return };
    let (mut whole, mut engine) = (engine(), engine());
    play(&frames, |n, hub, star| {
        feed(&mut whole, star);
        feed(&mut engine, star);
        if n != 30_000 {
            return;
        }
        // Another hub has the same book, and goes on by itself.
        let before = newest(&picture(&mut engine), "ESH4");
        let mut out = Effects::default();
        engine.step(Stamp::default(), Input::HubRestarted, &mut out);
        assert_eq!(out.snapshots, [ES]);
        feed(&mut engine, &hub.snapshot());
        let after = published(&mut engine).expect("a definition changes the picture");
        assert_eq!(newest(&after, "ESH4"), before);
    });
    let (whole, engine) = (picture(&mut whole), picture(&mut engine));
    assert_eq!(newest(&engine, "ESH4"), newest(&whole, "ESH4"));
    assert_eq!(past(&engine, "ESH4"), past(&whole, "ESH4"));
    assert!(value(&engine, "ESH4", "depth_imbalance_5").is_some());
}

#[test]
fn batches_and_restarts_change_nothing() {
    let Some(frames) = session() else { return };
    let star = star(&frames);
    let create = || {
        let mut engine = engine();
        let set = set(&["depth_imbalance_5", "ofi_10", "return_1"], Publish::Event);
        command(&mut engine, nautilus_engine_features::Command::PutSet { name: name("x"), set });
        engine
    };
    let run = |batch, restart_every| {
        replay::run(create, &star, Plan { batch, restart_every }).expect("legal frames")
    };
    let whole = run(1_000, None);
    assert!(whole.effects.mesh.len() > 8_000);
    assert!(run(7, None) == whole);
    assert!(run(1_000, Some(9_001)) == whole);
}

#[test]
fn replayed_twice_in_one_run_it_counts_once() {
    let Some(frames) = session() else { return };
    let (mut hub, mut engine) = (Hub::new(), engine());
    let mut pictures = Vec::new();
    for _ in 0..2 {
        for frame in Frames::new(&frames) {
            feed(&mut engine, hub.take(frame.expect("a legal frame")));
        }
        pictures.push(picture(&mut engine));
    }
    let [once, twice] = &pictures[..] else { panic!("two pictures") };
    assert_eq!(newest(twice, "ESH4"), newest(once, "ESH4"));
    assert_eq!(past(twice, "ESH4"), past(once, "ESH4"));
    assert!(past(once, "ESH4").len() > 10);
    // What the engine did is counted on.
    assert_eq!(twice.figures.events, 2 * once.figures.events);
    assert_eq!(twice.figures.bars_refused, 0);
}
