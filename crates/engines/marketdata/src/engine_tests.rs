//! The engine against sources that misbehave, frame by frame.

use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_messages::frame::{
    BookState, Definition, FrameRef, Frames, Gap, GapCause, Header, Kind, LevelChange, OrderAction,
    OrderChange, Quote, Snapshot, SnapshotPhase, Status, Trade, TradingState, WireSide, flags, header_mut,
};
use nautilus_messages::record::Record;
use nautilus_types::{
    AssetClass, Instrument, InstrumentId, NANOS_PER_DAY, Price, Quantity, SCALE, Side, UnixNanos,
};
use proptest::prelude::*;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use crate::{Command, Config, InstrumentView, MarketdataEngine, TickSource};

const TICK: i64 = SCALE / 4;
const START: u64 = 1_703_545_200_000_000_000;

/// Frames of one instrument, numbered from one.
struct Source {
    frames: Vec<Vec<u8>>,
    ts: u64,
    flags: u16,
}

impl Source {
    fn new(flags: u16) -> Self {
        let mut source = Self { frames: Vec::new(), ts: START, flags };
        source.definition(TICK);
        source
    }

    fn put(&mut self, bytes: &[u8], extra: u16) -> &mut Self {
        let mut bytes = bytes.to_vec();
        let header = header_mut(&mut bytes).unwrap();
        header.sequence.set(self.frames.len() as u64 + 1);
        header.ts_event_ns.set(self.ts);
        header.ts_recv_ns.set(self.ts + 1_000);
        header.flags.set(self.flags | extra);
        self.frames.push(bytes);
        self
    }

    fn definition(&mut self, tick: i64) -> &mut Self {
        let instrument = Instrument {
            id: InstrumentId(1),
            symbol: "TEST".parse().unwrap(),
            venue: "XTST".parse().unwrap(),
            class: AssetClass::Future,
            currency: "USD".parse().unwrap(),
            tick: Price::from_nanos(tick),
            lot: Quantity::from_nanos(SCALE),
            multiplier: Quantity::from_nanos(SCALE),
        };
        self.put(Definition::of(&instrument, 7).to_bytes(), 0)
    }

    fn order(
        &mut self,
        action: OrderAction,
        id: u64,
        side: Option<Side>,
        ticks: i64,
        lots: i64,
        extra: u16,
    ) -> &mut Self {
        let frame = OrderChange {
            header: header(Kind::OrderChange),
            order_id: U64::new(id),
            price_nanos: I64::new(ticks * TICK),
            quantity_nanos: I64::new(lots * SCALE),
            action,
            side: WireSide::from(side),
            reserved: [0; 6],
        };
        self.put(frame.to_bytes(), extra)
    }

    fn add(&mut self, id: u64, side: Side, ticks: i64, lots: i64) -> &mut Self {
        self.order(OrderAction::Add, id, Some(side), ticks, lots, flags::LAST)
    }

    fn level(&mut self, side: Option<Side>, ticks: i64, lots: i64) -> &mut Self {
        let frame = LevelChange {
            header: header(Kind::LevelChange),
            price_nanos: I64::new(ticks * TICK),
            quantity_nanos: I64::new(lots * SCALE),
            orders: U32::new(1),
            side: WireSide::from(side),
            reserved: [0; 11],
        };
        self.put(frame.to_bytes(), 0)
    }

    fn trade(&mut self, price: i64, quantity: i64) -> &mut Self {
        let frame = Trade {
            header: header(Kind::Trade),
            price_nanos: I64::new(price),
            quantity_nanos: I64::new(quantity),
            trade_id: U64::ZERO,
            aggressor: WireSide::Buy,
            reserved: [0; 7],
        };
        self.put(frame.to_bytes(), flags::LAST)
    }

    fn bracket(&mut self, phase: SnapshotPhase) -> &mut Self {
        let frame = Snapshot { header: header(Kind::Snapshot), frames: U32::ZERO, phase, reserved: [0; 27] };
        self.put(frame.to_bytes(), 0)
    }

    fn status(&mut self, trading: TradingState) -> &mut Self {
        let frame =
            Status { header: header(Kind::Status), trading, book: BookState::Live, reserved: [0; 30] };
        self.put(frame.to_bytes(), flags::LAST)
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.ts = START + seconds * SCALE.unsigned_abs();
        self
    }

    /// A flagged snapshot of a two-sided book.
    fn flagged_snapshot(&mut self, first_id: u64) -> &mut Self {
        self.order(OrderAction::Clear, 0, None, 0, 0, flags::SNAPSHOT)
            .order(OrderAction::Add, first_id, Some(Side::Buy), 100, 3, flags::SNAPSHOT)
            .order(OrderAction::Add, first_id + 1, Some(Side::Sell), 101, 4, flags::SNAPSHOT | flags::LAST)
    }

    fn run(&self) -> Run {
        Run::over(self.frames.iter().map(Vec::as_slice))
    }
}

fn header(kind: Kind) -> Header {
    Header::new(kind, InstrumentId(1), 0, UnixNanos(0), UnixNanos(0))
}

struct Run {
    engine: MarketdataEngine,
    out: Effects,
}

impl Run {
    fn over<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut run = Self { engine: MarketdataEngine::new(Config::default()), out: Effects::default() };
        frames.for_each(|frame| run.feed(frame));
        run
    }

    fn feed(&mut self, frame: &[u8]) {
        let frame = FrameRef::parse(frame).expect("a legal frame");
        self.engine.step(Stamp::default(), Input::Frame(frame), &mut self.out);
    }

    fn command(&mut self, command: Command) {
        self.engine.step(Stamp::default(), Input::Command(command), &mut self.out);
    }

    fn view(&mut self) -> InstrumentView {
        let mut views = Vec::new();
        self.engine.publish(&mut |_, view| views.push(view));
        views.pop().expect("the instrument changed")
    }

    /// What was published since the last call; its numbers are checked.
    fn kinds(&mut self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        let mut last = None;
        for frame in Frames::new(&self.out.star) {
            let header = frame.expect("a legal frame").header();
            assert!(header.has(flags::CONTIGUOUS));
            assert!(last.is_none_or(|last| header.sequence.get() == last + 1));
            last = Some(header.sequence.get());
            kinds.push(header.kind);
        }
        self.out.clear();
        kinds
    }
}

#[test]
fn a_source_that_starts_at_one_is_live_and_quotes_follow_events() {
    let mut source = Source::new(flags::CONTIGUOUS);
    source.add(1, Side::Buy, 100, 5).add(2, Side::Buy, 90, 5).add(3, Side::Sell, 101, 5);
    source.order(OrderAction::Cancel, 1, Some(Side::Buy), 100, 5, 0).add(4, Side::Buy, 100, 5);
    source.trade(100 * TICK, SCALE);
    let mut run = source.run();
    use Kind::{Definition, OrderChange, Quote, Status, Trade};
    let expected = [
        Definition,
        Status,
        OrderChange,
        Quote,
        OrderChange,
        OrderChange,
        Quote,
        // The touch went and came back within one event: nothing to quote.
        OrderChange,
        OrderChange,
        Trade,
    ];
    assert_eq!(run.kinds(), expected);
    let view = run.view();
    assert_eq!((view.state, view.sequence, view.tick_source), (BookState::Live, 10, TickSource::Definition));
    assert_eq!((view.instrument.symbol.as_str(), view.venue_id, view.trades.len()), ("TEST", 7, 1));
}

#[test]
fn duplicates_are_dropped_and_early_frames_wait() {
    let mut source = Source::new(flags::CONTIGUOUS);
    for id in 1..=40 {
        source.add(id, Side::Buy, id as i64, 1);
    }
    let expected = source.run().engine;
    let mut run = source.run();
    source.frames.iter().for_each(|frame| run.feed(frame));
    assert_eq!(run.view().counters.duplicates, 41);
    let mut run =
        Run::over(source.frames[..2].iter().chain(source.frames[3..].iter().rev()).map(Vec::as_slice));
    let view = run.view();
    assert_eq!((view.state, view.counters.reordered), (BookState::Stale, 38));
    run.feed(&source.frames[2]);
    let view = run.view();
    assert_eq!((view.state, view.book.bids.len(), view.counters.gaps), (BookState::Live, 40, 0));
    let orders = |engine: &MarketdataEngine| {
        engine.order_book(InstrumentId(1)).unwrap().orders(Side::Buy).collect::<Vec<_>>()
    };
    assert_eq!(orders(&run.engine), orders(&expected));
}

#[test]
fn a_gap_makes_the_book_stale_until_a_snapshot() {
    let mut source = Source::new(flags::CONTIGUOUS);
    source.flagged_snapshot(1);
    for id in 10..120 {
        source.add(id, Side::Buy, 50, 1);
    }
    let lost = 6;
    let kept = |frames: &[Vec<u8>]| {
        frames.iter().enumerate().filter(|(n, _)| *n != lost).map(|(_, f)| f.clone()).collect::<Vec<_>>()
    };
    let frames = kept(&source.frames);
    let mut run = Run::over(frames.iter().map(Vec::as_slice));
    let view = run.view();
    assert_eq!((view.counters.gaps, view.counters.lost, view.state), (1, 1, BookState::Stale));
    assert_eq!(view.book.bid_totals.orders, 110, "the stale book keeps applying");
    let gaps: Vec<_> = Frames::new(&run.out.star)
        .filter_map(|frame| {
            if let FrameRef::Gap(gap) = frame.unwrap() {
                Some((gap.first_missing.get(), gap.cause))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(gaps, [(lost as u64 + 1, GapCause::Source)]);
    let quoted = run.kinds().iter().filter(|kind| **kind == Kind::Quote).count();
    assert_eq!(quoted, 1, "a stale book is not quoted");
    source.flagged_snapshot(500).add(600, Side::Buy, 100, 1);
    source.frames[frames.len() + 1..].iter().for_each(|frame| run.feed(frame));
    let view = run.view();
    assert_eq!((view.state, view.book.bid_totals.orders), (BookState::Live, 2));
    assert!(run.kinds().contains(&Kind::Quote));
}

#[test]
fn a_hole_inside_a_snapshot_spoils_it_and_flush_gives_up_waiting() {
    let mut source = Source::new(flags::CONTIGUOUS);
    source.flagged_snapshot(1);
    let frames = [&source.frames[0], &source.frames[1], &source.frames[3]];
    let mut run = Run::over(frames.into_iter().map(Vec::as_slice));
    let view = run.view();
    assert_eq!((view.state, view.counters.lost), (BookState::Syncing, 0));
    run.command(Command::Flush);
    let view = run.view();
    assert_eq!((view.state, view.counters.lost), (BookState::Stale, 1));
}

#[test]
fn a_snapshot_from_elsewhere_releases_the_frames_behind_it() {
    let mut source = Source::new(flags::CONTIGUOUS);
    source.add(1, Side::Buy, 5, 1).add(2, Side::Buy, 6, 1).add(3, Side::Buy, 7, 1).add(4, Side::Buy, 8, 1);
    let mut run = Run::over([0, 1, 4].map(|at| source.frames[at].as_slice()).into_iter());
    assert_eq!(run.view().state, BookState::Stale);
    // A snapshot as of frame 4, out of band and not contiguous: frame 5 is the next after it.
    let mut snapshot = Source::new(0);
    snapshot.bracket(SnapshotPhase::Begin).add(3, Side::Buy, 7, 1).bracket(SnapshotPhase::End);
    snapshot.frames[1..].iter().for_each(|frame| run.feed(frame));
    let view = run.view();
    assert_eq!((view.state, view.book.bid_totals.orders, view.counters.gaps), (BookState::Live, 2, 0));
    run.kinds();
}

#[test]
fn a_restarted_source_is_recognised_by_its_definition() {
    let mut source = Source::new(flags::CONTIGUOUS);
    for id in 1..=100 {
        source.add(id, Side::Buy, 50, 1);
    }
    let mut run = source.run();
    let mut again = Source::new(flags::CONTIGUOUS);
    again.flagged_snapshot(1);
    again.frames.iter().for_each(|frame| run.feed(frame));
    let view = run.view();
    assert_eq!((view.state, view.counters.duplicates, view.book.bid_totals.orders), (BookState::Live, 0, 1));
    run.kinds();
}

#[test]
fn unflagged_snapshots_empty_the_book_and_say_so() {
    let mut source = Source::new(0);
    source.order(OrderAction::Add, 1, Some(Side::Buy), 10, 1, flags::SNAPSHOT);
    source.order(OrderAction::Add, 2, Some(Side::Buy), 11, 1, flags::SNAPSHOT).add(3, Side::Buy, 12, 1);
    source.order(OrderAction::Add, 1, Some(Side::Buy), 10, 1, flags::SNAPSHOT);
    let mut run = source.run();
    let view = run.view();
    assert_eq!((view.state, view.book.bid_totals.orders), (BookState::Syncing, 1));
    let clears = Frames::new(&run.out.star).filter(
        |frame| matches!(frame, Ok(FrameRef::OrderChange(change)) if change.action == OrderAction::Clear),
    );
    assert_eq!(clears.count(), 1);
}

#[test]
fn crossed_books_are_taken_and_counted_by_trading_state() {
    let mut source = Source::new(flags::CONTIGUOUS);
    source.add(1, Side::Buy, 100, 1).add(2, Side::Sell, 99, 1).add(3, Side::Sell, 98, 1);
    let view = source.run().view();
    assert_eq!((view.crossed, view.counters.crossed_pre_open, view.counters.crossed_open), (true, 2, 0));
    source.status(TradingState::Open).add(4, Side::Sell, 97, 1);
    let view = source.run().view();
    assert_eq!((view.counters.crossed_pre_open, view.counters.crossed_open), (2, 1));
    assert_eq!((view.trading, view.quote.ask.unwrap().0.nanos()), (TradingState::Open, 97 * TICK));
}

#[test]
fn what_is_absurd_is_refused_counted_and_not_published() {
    let mut source = Source::new(flags::CONTIGUOUS);
    let before = source.run().kinds();
    source.trade(i64::MIN, SCALE).trade((1 << 62) + 1, SCALE);
    source.order(OrderAction::Add, 1, Some(Side::Buy), 100, 0, flags::LAST);
    source.ts = START + 2 * NANOS_PER_DAY;
    source.trade(TICK, SCALE);
    let ahead = source.frames.last_mut().unwrap();
    header_mut(ahead).unwrap().ts_recv_ns.set(START);
    source.ts = START;
    let mut off_tick = source.frames[3].clone();
    off_tick[32 + 8] = 1;
    off_tick[32 + 16] = 1;
    source.put(&off_tick, 0);
    let mut run = source.run();
    let counters = run.view().counters;
    assert_eq!((counters.absurd, counters.off_tick, counters.refused()), (4, 1, 5));
    assert_eq!(run.kinds(), before);
    let mut bar = vec![0; Kind::Bar.len()];
    (bar[0], bar[1], bar[4], bar[108], bar[112]) = (Kind::Bar as u8, 1, 1, 1, 1);
    bar[32..64].chunks_mut(8).for_each(|price| price.copy_from_slice(&i64::MAX.to_le_bytes()));
    source.put(&bar, 0);
    run.feed(source.frames.last().unwrap());
    assert_eq!((run.view().counters.absurd, run.kinds()), (5, vec![]));
    // A negative price is legal: spreads trade below zero.
    source.trade(-5 * TICK, SCALE).level(Some(Side::Buy), -3, 1).level(Some(Side::Buy), -4, 1);
    source.add(1, Side::Buy, -5, 1);
    let view = source.run().view();
    assert_eq!(view.statistics.unwrap().low.nanos(), -5 * TICK);
    assert_eq!((view.quote.bid.unwrap().0.nanos(), view.counters.mixed_depth), (-3 * TICK, 1));
}

#[test]
fn sums_that_do_not_fit_are_refused() {
    let mut source = Source::new(0);
    for _ in 0..6 {
        source.trade((1 << 62) - 1, i64::MAX);
    }
    let view = source.run().view();
    assert_eq!((view.statistics.unwrap().trades, view.counters.overflows), (4, 2));
}

#[test]
fn frames_without_an_instrument_are_refused_unless_they_concern_all() {
    let mut source = Source::new(0);
    source.add(1, Side::Buy, 100, 1);
    let mut run = Run::over([source.frames[1].as_slice()].into_iter());
    assert_eq!((run.engine.counters().unknown_instrument, run.kinds()), (1, vec![]));
    let mut conflicting = source.frames[0].clone();
    header_mut(&mut conflicting).unwrap().instrument.set(2);
    let mut beyond = source.frames[0].clone();
    header_mut(&mut beyond).unwrap().instrument.set(u32::MAX);
    let gap = Gap {
        header: Header { instrument: U32::ZERO, ..header(Kind::Gap) },
        first_missing: U64::new(1),
        last_missing: U64::new(9),
        cause: GapCause::Overrun,
        reserved: [0; 15],
    };
    for frame in [&source.frames[0], &conflicting, &beyond, &gap.to_bytes().to_vec()] {
        run.feed(frame);
    }
    let counters = run.engine.counters();
    assert_eq!((counters.conflicting_definition, counters.too_many_instruments), (1, 1));
    assert_eq!(run.kinds(), [Kind::Definition, Kind::Gap, Kind::Status]);
    let view = run.view();
    assert_eq!((view.state, view.counters.lost), (BookState::Stale, 9));
}

#[test]
fn level_books_follow_brackets_and_quote_every_frame() {
    let mut source = Source::new(0);
    source.level(Some(Side::Buy), 5, 1).bracket(SnapshotPhase::Begin);
    source.level(Some(Side::Buy), 10, 2).level(Some(Side::Sell), 12, 3).bracket(SnapshotPhase::End);
    source.level(Some(Side::Buy), 11, 1).level(Some(Side::Buy), 9, 1);
    let mut run = source.run();
    let view = run.view();
    assert_eq!((view.state, view.book.bids.len(), view.book.asks[0].orders), (BookState::Live, 3, 1));
    let quotes = run.kinds().into_iter().filter(|kind| *kind == Kind::Quote).count();
    assert_eq!(quotes, 2);
    let (_, snapshot) = run.engine.book_snapshot(InstrumentId(1)).unwrap();
    let mut copy = Run::over([].into_iter());
    Frames::new(&snapshot).for_each(|frame| copy.feed(frame.unwrap().as_bytes()));
    assert_eq!(copy.view().book, view.book);
    source.level(None, 0, 0);
    assert_eq!(source.run().view().book.bid_totals.levels, 0);
}

#[test]
fn a_source_of_quotes_is_passed_through() {
    let mut source = Source::new(0);
    let quote = Quote {
        header: header(Kind::Quote),
        bid_nanos: I64::new(TICK),
        ask_nanos: I64::new(2 * TICK),
        bid_quantity_nanos: I64::new(1),
        ask_quantity_nanos: I64::new(2),
    };
    source.put(quote.to_bytes(), flags::LAST).trade(TICK, 1);
    let mut run = source.run();
    assert_eq!(run.kinds(), [Kind::Definition, Kind::Quote, Kind::Trade]);
    assert_eq!(run.view().quote.bid, Some((Price::from_nanos(TICK), Quantity::from_nanos(1))));
}

#[test]
fn bars_close_by_the_clock_and_statistics_reach_the_store_each_minute() {
    let mut source = Source::new(0);
    source.trade(100, SCALE).at(59).trade(110, SCALE).at(60).trade(90, SCALE).at(3_600).add(
        1,
        Side::Buy,
        1,
        1,
    );
    let mut run = source.run();
    let seconds = |nanos| nanos / SCALE.unsigned_abs();
    let stored: Vec<_> = run
        .out
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Bar(bar) => {
                Some((seconds(bar.interval), bar.trades, seconds(bar.ts_close.0 - START), bar.close.nanos()))
            }
            _ => None,
        })
        .collect();
    let expected = [
        (60, 2, 60, 110),
        (60, 1, 120, 90),
        (300, 3, 300, 90),
        (3_600, 3, 3_600, 90),
        (86_400, 3, 3_600, 90),
    ];
    assert_eq!(stored, expected);
    let statistics =
        run.out.records.iter().filter(|record| matches!(record, Record::SessionStatistics(_))).count();
    assert_eq!(statistics, 2);
    let view = run.view();
    assert_eq!(view.statistics.unwrap().vwap.nanos(), 100);
    assert_eq!(view.bars[1].closed.len(), 2);
    // The next day's first trade starts a new session.
    source.trade(50, SCALE);
    assert_eq!(source.run().view().statistics.unwrap().trades, 1);
}

#[test]
fn commands_change_bars_or_are_refused() {
    let mut source = Source::new(flags::CONTIGUOUS);
    source.add(1, Side::Buy, 5, 1).trade(TICK, 3 * SCALE);
    let mut run = source.run();
    let specs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let symbol = Some("TEST".parse().unwrap());
    run.command(Command::SetBars { instrument: symbol, bars: specs(&["1m", "1volume", "1m"]) });
    let view = run.view();
    assert_eq!(view.bars.iter().map(|bars| bars.spec).collect::<Vec<_>>(), specs(&["1m", "1volume"]));
    assert!(view.bars[0].forming.is_some());
    let nobody = Some("NOBODY".parse().unwrap());
    run.command(Command::SetBars { instrument: nobody, bars: vec![] });
    assert_eq!(run.out.refusal.take().unwrap().code, "unknown_instrument");
    let many = (1..=17).map(|n| format!("{n}tick").parse().unwrap()).collect();
    run.command(Command::SetBars { instrument: None, bars: many });
    assert_eq!(run.out.refusal.take().unwrap().code, "too_many_bars");
}

#[test]
fn a_session_replayed_again_gives_what_it_gave_and_readers_are_told() {
    let mut source = Source::new(0);
    source.flagged_snapshot(1).trade(100 * TICK, SCALE).at(70).trade(101 * TICK, 2 * SCALE).at(400);
    source.trade(99 * TICK, 3 * SCALE).add(9, Side::Buy, 99, 1);
    let mut run = source.run();
    let once = run.view();
    let records = std::mem::take(&mut run.out.records);
    run.out.star.clear();
    header_mut(&mut source.frames[0]).unwrap().flags.set(flags::STARTS_OVER);
    source.frames.iter().for_each(|frame| run.feed(frame));
    let starts = |frame: &FrameRef<'_>| frame.header().has(flags::STARTS_OVER);
    assert_eq!(Frames::new(&run.out.star).map(Result::unwrap).filter(starts).count(), 1);
    let twice = run.view();
    assert_eq!((twice.state, &twice.book, twice.quote), (once.state, &once.book, once.quote));
    assert_eq!(twice.statistics, once.statistics);
    for (bars, before) in twice.bars.iter().zip(&once.bars) {
        assert!(bars.closed.iter().eq(before.closed.iter()) && bars.forming == before.forming);
    }
    assert_eq!(run.out.records, records[1..], "the same rows, but for the definition that is known");
}

#[test]
fn a_late_trade_changes_no_closed_bar_and_reopens_its_day() {
    let mut source = Source::new(0);
    source.trade(100, SCALE).at(60).add(1, Side::Buy, 1, 1).at(59).trade(110, 2 * SCALE);
    source.at(3_600).add(2, Side::Buy, 1, 1).at(3_599).trade(120, 4 * SCALE).at(3_601).add(
        3,
        Side::Buy,
        1,
        1,
    );
    let run = source.run();
    let minutes = run.out.records.iter().filter_map(|record| match record {
        Record::Bar(bar) if bar.interval == 60 * SCALE.unsigned_abs() => {
            Some(((bar.ts_open.0 - START) / SCALE.unsigned_abs(), bar.volume.nanos() / i128::from(SCALE)))
        }
        _ => None,
    });
    let minutes: Vec<_> = minutes.collect();
    assert_eq!(minutes, [(0, 1), (60, 2), (3_540, 4)]);
    let mut days = run.out.records.iter().filter_map(|record| match record {
        Record::SessionStatistics(day) => Some((day.day.0, day.trades)),
        _ => None,
    });
    let today = START - START % NANOS_PER_DAY;
    assert_eq!(days.next_back(), Some((today, 3)), "the stored day is whole");
}

#[test]
fn one_instant_in_the_far_future_closes_nothing() {
    let mut source = Source::new(0);
    source.trade(100, SCALE);
    source.ts = 7_258_118_400_000_000_000;
    source.trade(110, SCALE).at(30).trade(90, SCALE).at(60).trade(95, SCALE);
    let view = source.run().view();
    assert_eq!((view.counters.absurd, view.statistics.unwrap().trades), (1, 3));
    assert_eq!((view.bars[1].closed.len(), view.bars[1].closed.iter().next().unwrap().trades), (1, 2));
    // Two in a row are believed, and so is the way back, with which the instrument starts over.
    source.ts = 7_258_118_400_000_000_000;
    source.trade(110, SCALE).trade(110, SCALE).at(61).trade(80, SCALE).at(62).trade(81, SCALE);
    source.at(120).trade(82, SCALE);
    let view = source.run().view();
    assert_eq!((view.counters.absurd, view.statistics.unwrap().trades), (3, 2));
    assert_eq!(view.bars[1].closed.iter().next().unwrap().trades, 1);
}

#[test]
fn a_book_that_misses_a_change_is_stale() {
    let mut source = Source::new(flags::CONTIGUOUS);
    source.add(1, Side::Buy, 100, 1);
    assert_eq!(source.run().view().state, BookState::Live);
    source.ts = START + 2 * NANOS_PER_DAY;
    source.add(2, Side::Buy, 100, 1).at(1);
    header_mut(source.frames.last_mut().unwrap()).unwrap().ts_recv_ns.set(START);
    let view = source.run().view();
    assert_eq!((view.state, view.counters.absurd), (BookState::Stale, 1));
    let mut source = Source::new(flags::CONTIGUOUS);
    source.add(1, Side::Buy, 100, i64::MAX / SCALE).add(2, Side::Buy, 100, 1);
    let view = source.run().view();
    assert_eq!((view.state, view.counters.overflows), (BookState::Stale, 1));
}

#[test]
fn readers_get_a_definition_and_an_instant_whatever_the_source_says() {
    let mut source = Source::new(0);
    header_mut(&mut source.frames[0]).unwrap().ts_event_ns.set(START + 2 * NANOS_PER_DAY);
    source.trade(TICK, 1);
    header_mut(&mut source.frames[1]).unwrap().ts_event_ns.set(u64::MAX);
    source.trade(TICK, 1);
    header_mut(&mut source.frames[2]).unwrap().ts_event_ns.set(0);
    let mut run = source.run();
    let instants = Frames::new(&run.out.star).map(|frame| frame.unwrap().header().ts_event().0);
    assert_eq!(instants.skip(1).collect::<Vec<_>>(), [START + 1_000; 2]);
    assert!(matches!(run.out.records[..], [Record::Instrument(_)]));
    assert_eq!(run.kinds(), [Kind::Definition, Kind::Trade, Kind::Trade]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is repeated or comes up to a window late, the book and the statistics come out the same.
    #[test]
    fn order_and_repetition_do_not_matter(swaps in prop::collection::vec((0usize..300, 1usize..40, any::<bool>()), 0..60)) {
        let mut source = Source::new(flags::CONTIGUOUS);
        source.flagged_snapshot(1_000);
        for id in 1..300u64 {
            let side = if id % 2 == 0 { Side::Buy } else { Side::Sell };
            source.add(id, side, 100 + (id as i64 * 7) % 40, 2);
            if id % 3 == 0 { source.order(OrderAction::Cancel, id / 2 + 1, Some(side), 0, 1, flags::LAST); }
            if id % 5 == 0 { source.trade(100 * TICK, SCALE); }
        }
        let expected = source.run().view();
        let mut order: Vec<usize> = (1..source.frames.len()).collect();
        for (at, by, repeat) in swaps {
            // Each position moves back at most once, so that no frame waits behind more than a window.
            let to = (at + by).min(order.len() - 1);
            if repeat { order.insert(to, order[at]); } else if order[at..=to].windows(2).all(|pair| pair[1] == pair[0] + 1) { order[at..=to].rotate_left(1); }
        }
        order.insert(0, 0);
        let mut run = Run::over(order.iter().map(|at| source.frames[*at].as_slice()));
        let view = run.view();
        prop_assert_eq!(view.counters.gaps, 0);
        prop_assert_eq!((view.state, view.book, view.statistics), (BookState::Live, expected.book, expected.statistics));
        run.kinds();
    }

    /// No snapshot, however damaged, makes restoring panic; a refused one leaves the engine as it was.
    #[test]
    fn damaged_snapshots_are_refused_or_restored(at in 0usize..100_000, byte: u8, cut: bool) {
        let mut source = Source::new(flags::CONTIGUOUS);
        source.flagged_snapshot(1).trade(TICK, SCALE).add(9, Side::Buy, 3, 1);
        let late = source.frames.pop().unwrap();
        source.at(1).add(10, Side::Buy, 3, 1);
        let mut run = source.run();
        run.feed(&late);
        let mut bytes = run.engine.snapshot();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let mut engine = MarketdataEngine::new(Config::default());
        let empty = engine.digest();
        if engine.restore(&bytes).is_err() {
            prop_assert_eq!(engine.digest(), empty);
        }
    }

    /// Every lost frame is counted, and whoever lost one is not believed.
    #[test]
    fn every_loss_is_found(drops in prop::collection::btree_set(1usize..400, 0..120)) {
        let mut source = Source::new(flags::CONTIGUOUS);
        for id in 1..=400u64 {
            source.add(id, Side::Buy, id as i64 % 50, 2);
        }
        let kept = source.frames.iter().enumerate().filter(|(at, _)| !drops.contains(at));
        let mut run = Run::over(kept.map(|(_, frame)| frame.as_slice()));
        run.command(Command::Flush);
        let view = run.view();
        prop_assert_eq!(view.counters.lost, drops.len() as u64);
        prop_assert_eq!(view.state == BookState::Stale, !drops.is_empty());
        prop_assert_eq!(view.book.bid_totals.orders, 400 - drops.len() as u64);
        run.kinds();
    }

    /// Frames with arbitrary legal content stop nothing, and the state survives its own snapshot.
    #[test]
    fn arbitrary_frames_stop_nothing(frames in prop::collection::vec(arbitrary_frame(), 1..200)) {
        let source = Source::new(0);
        let mut run = source.run();
        for bytes in &frames {
            if FrameRef::parse(bytes).is_ok() {
                run.feed(bytes);
            }
        }
        let digest = run.engine.digest();
        run.view();
        run.kinds();
        prop_assert!(run.engine.book_snapshot(InstrumentId(1)).is_some());
        let snapshot = run.engine.snapshot();
        let mut copy = MarketdataEngine::new(Config::default());
        copy.restore(&snapshot).unwrap();
        prop_assert_eq!(copy.digest(), digest);
        run.kinds();
    }
}

/// A frame of any kind for instrument one (rarely none) whose fields are small, huge or anything.
fn arbitrary_frame() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => (0u64..6).prop_map(|n| n * TICK.unsigned_abs()),
        2 => 0u64..300,
        1 => any::<u64>(),
        1 => prop_oneof![Just(u64::MAX), Just(i64::MAX as u64), Just(1 << 62), Just(i64::MIN as u64)],
    ];
    (1u8..9, any::<u8>(), prop::collection::vec(word, 14), 0u64..400, any::<[u8; 2]>()).prop_map(
        |(kind, frame_flags, words, sequence, [tail, rare])| {
            let mut bytes = vec![kind, 1, frame_flags, 0];
            bytes.extend(u32::from(rare > 3).to_le_bytes());
            bytes.extend(sequence.to_le_bytes());
            words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
            let is_bar = kind == Kind::Bar as u8;
            bytes.truncate(if is_bar { 120 } else { 64 });
            // The enumerations behind the numbers.
            match kind {
                3 => bytes[56..58].copy_from_slice(&[1 + tail % 5, 1 + tail / 5 % 2]),
                4 => bytes[52] = tail % 3,
                1 => bytes[56] = tail % 3,
                5 => bytes[36] = 1 + tail % 2,
                6 => bytes[32..34].copy_from_slice(&[tail % 5, tail / 5 % 3]),
                7 => bytes[48] = 1 + tail % 2,
                8 => bytes[108] = 1 + tail % 4,
                _ => {}
            }
            bytes
        },
    )
}
