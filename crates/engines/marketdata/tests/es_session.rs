//! The recorded ES session of 25 December 2023, with the figures that others computed from it.
//!
//! It checks the engine against a real market, in any batch size and across restarts; it invents nothing.

use nautilus_engine::replay::{self, Plan};
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_marketdata::{
    Command, Config, InstrumentView, MarketdataEngine, NaiveBook, OrderBook, TickSource,
};
use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_messages::frame::{BookState, FrameRef, Frames, Header, Kind};
use nautilus_messages::record::Record;
use nautilus_types::{InstrumentId, Money, Price, Quantity, Side};

fn session() -> Option<Vec<u8>> {
    let path = nautilus_testkit::es_session()?;
    let mut feed = FileFeed::open(&path, &Registry::new()).expect("the recording opens");
    let mut frames = Vec::new();
    while feed.read(10_000, &mut frames).expect("the recording reads") == Read::Frames {}
    assert_eq!(feed.progress().records, 68_792);
    Some(frames)
}

fn headers(frames: &[u8]) -> impl Iterator<Item = &Header> {
    Frames::new(frames).map(|frame| frame.expect("a legal frame").header())
}

fn replayed(frames: &[u8]) -> (MarketdataEngine, Effects) {
    let (mut engine, mut out) = (MarketdataEngine::new(Config::default()), Effects::default());
    for frame in Frames::new(frames) {
        engine.step(Stamp::default(), Input::Frame(frame.expect("a legal frame")), &mut out);
    }
    (engine, out)
}

fn view(engine: &mut MarketdataEngine) -> InstrumentView {
    let mut views = Vec::new();
    engine.publish(&mut |symbol, view| views.push((symbol, view)));
    let (symbol, view) = views.pop().expect("one instrument changed");
    assert_eq!((symbol.as_str(), views.len()), ("ESH4", 0));
    view
}

fn lots(count: i64) -> Quantity {
    Quantity::from_units(count).expect("fits")
}

fn price(text: &str) -> Price {
    text.parse().expect("a price")
}

#[test]
fn the_session_ends_as_published() {
    let Some(frames) = session() else { return };
    let (mut engine, _) = replayed(&frames);
    let view = view(&mut engine);
    assert_eq!(view.state, BookState::Live);
    assert!(!view.crossed);
    assert_eq!(view.quote.bid, Some((price("4810"), lots(22))));
    assert_eq!(view.quote.ask, Some((price("4810.25"), lots(28))));
    let (bids, asks) = (&view.book.bid_totals, &view.book.ask_totals);
    assert_eq!((bids.levels, asks.levels), (922, 565));
    assert_eq!((view.book.bids.len(), view.book.asks.len()), (922, 565));
    assert_eq!(bids.orders + asks.orders, 11_217);
    assert_eq!((bids.quantity, asks.quantity), (lots(22_050).into(), lots(20_110).into()));
    assert_eq!((view.tick, view.tick_source), (Some(price("0.25")), TickSource::Inferred));
    let counters = view.counters;
    assert_eq!((counters.unknown_orders, counters.refused()), (0, 0));
    assert_eq!((counters.crossed_pre_open, counters.crossed_open), (891, 0));
    let statistics = view.statistics.expect("there were trades");
    assert_eq!((statistics.trades, statistics.volume), (2_973, Money::from(lots(9_892))));
    assert_eq!(statistics.vwap.nanos() / 100, price("4808.7227052").nanos() / 100);
    assert_eq!(statistics.day.to_string(), "2023-12-25T00:00:00.000000000Z");
    let sides = [statistics.volume_buy, statistics.volume_sell, statistics.volume_unknown];
    assert_eq!(sides.iter().map(|side| side.nanos()).sum::<i128>(), statistics.volume.nanos());
    assert_eq!(view.trades.iter().next_back().map(|trade| trade.price), Some(statistics.last));
}

#[test]
fn replayed_twice_in_one_run_it_ends_the_same() {
    let Some(frames) = session() else { return };
    let (mut engine, mut out) = replayed(&frames);
    let once = view(&mut engine);
    for frame in Frames::new(&frames) {
        engine.step(Stamp::default(), Input::Frame(frame.expect("a legal frame")), &mut out);
    }
    let twice = view(&mut engine);
    assert_eq!((twice.statistics, &twice.book, twice.state), (once.statistics, &once.book, once.state));
    assert!(twice.bars.iter().zip(&once.bars).all(|(a, b)| a.closed.iter().eq(b.closed.iter())));
}

#[test]
fn the_star_is_numbered_without_holes_and_bars_add_up() {
    let Some(frames) = session() else { return };
    let (mut engine, mut out) = replayed(&frames);
    for (n, header) in headers(&out.star).enumerate() {
        assert_eq!(header.sequence.get(), n as u64 + 1);
        assert_eq!(header.kind == Kind::Definition, n == 0);
    }
    let count = |frames: &[u8], kind| headers(frames).filter(|header| header.kind == kind).count();
    for kind in [Kind::OrderChange, Kind::Trade, Kind::Definition] {
        assert_eq!(count(&out.star, kind), count(&frames, kind), "{kind:?}");
    }
    engine.step(Stamp::default(), Input::Command(Command::Flush), &mut out);
    let view = view(&mut engine);
    let last = out.records.iter().rev().find_map(|record| match record {
        Record::SessionStatistics(statistics) => Some(*statistics),
        _ => None,
    });
    assert_eq!(last, view.statistics);
    for bars in &view.bars {
        let all = || bars.closed.iter().chain(&bars.forming);
        assert_eq!(all().map(|bar| u64::from(bar.trades)).sum::<u64>(), 2_973, "{}", bars.spec);
        assert_eq!(all().map(|bar| bar.volume.nanos()).sum::<i128>(), 9_892_000_000_000);
        assert!(all().zip(all().skip(1)).all(|(a, b)| a.ts_open < b.ts_open), "{}", bars.spec);
        let stored = out
            .records
            .iter()
            .filter(|record| matches!(record, Record::Bar(bar) if bar.interval == bars.spec.interval()));
        assert_eq!(stored.count(), if bars.spec.is_stored() { bars.closed.len() } else { 0 });
    }
}

#[test]
fn batches_and_restarts_change_nothing() {
    let Some(frames) = session() else { return };
    let create = || MarketdataEngine::new(Config::default());
    let run = |frames: &[u8], batch, restart_every| {
        replay::run(create, frames, Plan { batch, restart_every }).expect("legal frames")
    };
    let whole = run(&frames, 1_000, None);
    assert_eq!(run(&frames, 7, None), whole);
    assert_eq!(run(&frames, 1_000, Some(7_777)), whole);
    // Single steps and many restarts over the open, where everything happens at once.
    let mut ends = headers(&frames).scan(0, |at, header| {
        *at += header.kind.len();
        Some((*at, header.kind))
    });
    let (first_trade, _) = ends.find(|(_, kind)| *kind == Kind::Trade).expect("there are trades");
    let part = &frames[first_trade - 200 * 64 - 64..first_trade + 300 * 64];
    let definition = Kind::Definition.len();
    let part = [&frames[..definition], part].concat();
    let whole = run(&part, 1_000, None);
    assert_eq!(run(&part, 1, Some(1)), whole);
}

#[test]
fn the_naive_book_agrees_order_by_order() {
    let Some(frames) = session() else { return };
    let (mut fast, mut naive) = (OrderBook::new(Price::ZERO, Default::default()), NaiveBook::default());
    let mut changes = 0;
    for frame in Frames::new(&frames) {
        let FrameRef::OrderChange(change) = frame.expect("a legal frame") else { continue };
        assert_eq!(fast.apply(change), naive.apply(change));
        changes += 1;
        if changes % 5_000 == 0 || changes == 65_784 {
            for side in [Side::Buy, Side::Sell] {
                assert!(fast.levels(side).eq(naive.levels(side)));
                let orders = fast.orders(side).map(|order| (order.id, order.price, order.quantity));
                assert!(orders.eq(naive.orders(side)));
            }
        }
    }
    assert_eq!(fast.len(), 11_217);
}

#[test]
fn a_snapshot_of_the_star_rebuilds_the_book() {
    let Some(frames) = session() else { return };
    let (mut engine, _) = replayed(&frames);
    let (sequence, snapshot) = engine.book_snapshot(InstrumentId(1)).expect("defined");
    let (mut copy, _) = replayed(&snapshot);
    let (original, copied) = (view(&mut engine), view(&mut copy));
    assert_eq!(original.sequence, sequence);
    assert_eq!((copied.state, &copied.book), (BookState::Live, &original.book));
    let id = InstrumentId(1);
    let orders = |engine: &MarketdataEngine, side| {
        engine.order_book(id).expect("an order book").orders(side).collect::<Vec<_>>()
    };
    for side in [Side::Buy, Side::Sell] {
        assert_eq!(orders(&engine, side), orders(&copy, side));
    }
}
