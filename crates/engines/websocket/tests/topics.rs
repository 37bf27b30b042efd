//! What is published, kept and merged for each topic, from hand-made frames and messages.

mod client;

use client::{BookReader, feed, published, settled};
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_websocket::{BookChange, Change, Level, Print, Publication, Topic, WebsocketEngine};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{
    Bar, BarUnit, BookState, Definition, Header, Kind, LevelChange, OrderAction, OrderChange, Status, Trade,
    TradingState, WireSide, flags,
};
use nautilus_messages::mesh::{
    AlertKind, AlertLevel, Body, Classification, EngineHealth, Message, MessageId, Priority, RiskAlert,
    RiskMetric, Scope, ToxicityAlert, ToxicityLevel, VpinUpdate,
};
use nautilus_types::{AssetClass, Instrument, InstrumentId, Money, Price, Quantity, Side, Symbol, UnixNanos};

const UNIT: i64 = nautilus_types::SCALE;

fn symbol() -> Symbol {
    "ESH4".parse().expect("a symbol")
}

fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

/// Numbers frames of instrument 1 as its hub does.
#[derive(Default)]
struct Line {
    sequence: u64,
    bytes: Vec<u8>,
}

impl Line {
    fn header(&mut self, kind: Kind, ts: u64, flags: u16) -> Header {
        self.sequence += 1;
        Header::new(kind, InstrumentId(1), self.sequence, UnixNanos(ts), UnixNanos(ts))
            .with_flags(flags::CONTIGUOUS | flags)
    }

    fn define(&mut self, flags: u16) {
        let instrument = Instrument {
            id: InstrumentId(1),
            symbol: symbol(),
            venue: "GLBX".parse().expect("a venue"),
            class: AssetClass::Future,
            currency: "USD".parse().expect("a currency"),
            tick: Price::ZERO,
            lot: Quantity::from_units(1).expect("fits"),
            multiplier: Quantity::from_units(50).expect("fits"),
        };
        let header = self.header(Kind::Definition, 0, flags);
        self.bytes.extend_from_slice(Definition { header, ..Definition::of(&instrument, 0) }.to_bytes());
    }

    fn live(&mut self) {
        let header = self.header(Kind::Status, 0, 0);
        let status = Status { header, trading: TradingState::Open, book: BookState::Live, reserved: [0; 30] };
        self.bytes.extend_from_slice(status.to_bytes());
    }

    fn order(&mut self, action: OrderAction, id: u64, side: Side, price: i64, quantity: i64, last: bool) {
        let header = self.header(Kind::OrderChange, 7, if last { flags::LAST } else { 0 });
        let change = OrderChange {
            header,
            order_id: id.into(),
            price_nanos: (price * UNIT).into(),
            quantity_nanos: (quantity * UNIT).into(),
            action,
            side: WireSide::from(Some(side)),
            reserved: [0; 6],
        };
        self.bytes.extend_from_slice(change.to_bytes());
    }

    fn trade(&mut self, ts: u64) {
        let header = self.header(Kind::Trade, ts, 0);
        let trade = Trade {
            header,
            price_nanos: UNIT.into(),
            quantity_nanos: UNIT.into(),
            trade_id: 0.into(),
            aggressor: WireSide::Buy,
            reserved: [0; 7],
        };
        self.bytes.extend_from_slice(trade.to_bytes());
    }

    fn bar(&mut self, close: u64, unit: BarUnit, interval: u64) {
        let header = self.header(Kind::Bar, close, 0);
        let one = UNIT.into();
        let bar = Bar {
            header,
            open_nanos: one,
            high_nanos: one,
            low_nanos: one,
            close_nanos: one,
            volume_nanos: one,
            volume_buy_nanos: one,
            volume_sell_nanos: 0.into(),
            vwap_nanos: one,
            ts_open_ns: (close.saturating_sub(interval)).into(),
            trades: 1.into(),
            unit,
            reserved: [0; 3],
            interval: interval.into(),
        };
        self.bytes.extend_from_slice(bar.to_bytes());
    }

    fn level(&mut self, price: i64, quantity: i64) {
        let header = self.header(Kind::LevelChange, 7, 0);
        let change = LevelChange {
            header,
            price_nanos: (price * UNIT).into(),
            quantity_nanos: (quantity * UNIT).into(),
            orders: 1.into(),
            side: WireSide::Sell,
            reserved: [0; 11],
        };
        self.bytes.extend_from_slice(change.to_bytes());
    }

    fn send(&mut self, engine: &mut WebsocketEngine) -> Effects {
        feed(engine, &std::mem::take(&mut self.bytes))
    }
}

fn tell(engine: &mut WebsocketEngine, body: Body) {
    let message = Message {
        id: MessageId { producer: EngineName::Vpin, epoch: 1, sequence: 1 },
        ts: UnixNanos(99),
        correlation_id: 0,
        priority: Priority::Normal,
        body,
    };
    engine.step(Stamp::default(), Input::Message(&message), &mut Effects::default());
}

fn bucket(classification: Classification, bucket: u64) -> Body {
    let update = VpinUpdate {
        instrument: symbol(),
        classification,
        bucket,
        ts_event: UnixNanos(bucket),
        vpin: Some(0.25),
        cdf: None,
    };
    Body::VpinUpdate(update)
}

fn alert(ts: u64, level: ToxicityLevel) -> Body {
    Body::ToxicityAlert(ToxicityAlert {
        instrument: symbol(),
        classification: Classification::BulkNormal,
        previous: ToxicityLevel::Low,
        level,
        vpin: 0.5,
        cdf: 0.95,
        ts_event: UnixNanos(ts),
    })
}

fn health(steps: u64) -> Body {
    let engine = EngineName::Vpin;
    Body::EngineHealth(EngineHealth {
        engine,
        uptime_ms: 1,
        steps,
        star_read: 0,
        star_missed: 0,
        mesh_handled: 0,
    })
}

fn metric(portfolio: &str, ts: u64, var: f64) -> RiskMetric {
    RiskMetric {
        portfolio: portfolio.parse().expect("a name"),
        ts_event: UnixNanos(ts),
        confidence: 0.99,
        var: Some(var),
        es: Some(var),
        gross: Money::ZERO,
        net: Money::ZERO,
        pnl: Money::ZERO,
    }
}

fn risk_alert(ts: u64) -> RiskAlert {
    RiskAlert {
        scope: Scope::default(),
        kind: AlertKind::Gross,
        level: AlertLevel::Hard,
        limit: Some(Money::ZERO),
        used: None,
        ts_event: UnixNanos(ts),
    }
}

fn kept(engine: &WebsocketEngine, name: &str) -> usize {
    match engine.picture(topic(name)).map(|picture| picture.state) {
        None => 0,
        Some(Change::Trades(list)) => list.len(),
        Some(Change::Bars(list)) => list.len(),
        Some(Change::Vpin(list)) => list.len(),
        Some(Change::Alerts(list)) => list.len(),
        Some(Change::RiskAlerts(list)) => list.len(),
        Some(other) => panic!("no list: {other:?}"),
    }
}

#[test]
fn only_what_changed_is_published_with_numbers_that_join() {
    let (mut engine, mut line, mut reader) =
        (WebsocketEngine::default(), Line::default(), BookReader::default());
    assert_eq!(engine.picture(topic("books.ESH4")), None);
    line.define(0);
    line.live();
    line.order(OrderAction::Add, 1, Side::Buy, 10, 5, true);
    line.order(OrderAction::Add, 2, Side::Sell, 11, 5, true);
    line.trade(8);
    line.send(&mut engine);
    let told = published(&mut engine);
    let names: Vec<_> = told.iter().map(|publication| publication.topic.to_string()).collect();
    assert_eq!(names, ["books.ESH4", "trades.ESH4"]);
    reader.take(&told);
    assert_eq!((reader.newest.as_ref().map(|change| change.sequence), reader.seq), (Some(5), 4));
    assert!(published(&mut engine).is_empty());
    line.order(OrderAction::Modify, 1, Side::Buy, 9, 5, true);
    line.order(OrderAction::Cancel, 2, Side::Sell, 11, 2, true);
    line.order(OrderAction::Cancel, 77, Side::Sell, 11, 2, true);
    line.send(&mut engine);
    reader.take(&published(&mut engine));
    let change = reader.newest.clone().expect("a change");
    let level = |price: i64, quantity: i64, orders| Level {
        price: Price::from_nanos(price * UNIT),
        quantity: Quantity::from_nanos(quantity * UNIT),
        orders,
    };
    assert_eq!(change.bids, [level(10, 0, 0), level(9, 5, 1)]);
    assert_eq!(change.asks, [level(11, 3, 1)]);
    assert_eq!((change.cleared, reader.seq), (false, 6), "a cancel of nothing is no event");
    let topics: Vec<_> = engine.topics().map(|(topic, seq)| (topic.to_string(), seq)).collect();
    assert_eq!(topics, [("books.ESH4".to_owned(), 6), ("trades.ESH4".to_owned(), 1)]);
}

#[test]
fn half_an_event_is_held_back_but_not_for_ever() {
    let (mut engine, mut line, mut reader) =
        (WebsocketEngine::default(), Line::default(), BookReader::default());
    line.define(0);
    line.live();
    line.order(OrderAction::Add, 1, Side::Buy, 10, 5, true);
    line.send(&mut engine);
    reader.take(&published(&mut engine));
    line.order(OrderAction::Add, 2, Side::Buy, 11, 5, false);
    line.trade(8);
    line.send(&mut engine);
    let told = published(&mut engine);
    assert!(told.iter().all(|publication| publication.topic == topic("trades.ESH4")) && told.len() == 1);
    line.order(OrderAction::Cancel, 1, Side::Buy, 10, 5, true);
    line.send(&mut engine);
    reader.take(&published(&mut engine));
    assert_eq!(reader.newest.as_ref().map(|change| change.bids.len()), Some(2), "both halves at once");
    line.order(OrderAction::Add, 3, Side::Buy, 12, 5, false);
    line.send(&mut engine);
    reader.take(&settled(&mut engine));
    assert_eq!(reader.copy.bids.len(), 2);
}

#[test]
fn more_changes_than_are_noted_tell_the_whole_book() {
    let (mut engine, mut line, mut reader) =
        (WebsocketEngine::default(), Line::default(), BookReader::default());
    line.define(0);
    line.live();
    line.send(&mut engine);
    reader.take(&published(&mut engine));
    for price in 0..5_000 {
        line.level(price, 1);
    }
    line.send(&mut engine);
    reader.take(&published(&mut engine));
    assert_eq!(reader.newest.as_ref().map(|change| (change.cleared, change.asks.len())), Some((true, 5_000)));
    for _ in 0..5_000 {
        line.level(1, 2);
    }
    line.send(&mut engine);
    reader.take(&published(&mut engine));
    assert_eq!(reader.newest.as_ref().map(|change| (change.cleared, change.asks.len())), Some((false, 1)));
}

#[test]
fn lists_keep_the_newest_and_tell_everything_once() {
    let (mut engine, mut line) = (WebsocketEngine::default(), Line::default());
    line.define(0);
    for n in 0..700 {
        line.trade(n);
        line.bar(n, BarUnit::Tick, 100);
    }
    line.send(&mut engine);
    assert_eq!((kept(&engine, "trades.ESH4"), kept(&engine, "bars.ESH4.100tick")), (100, 500));
    let told = published(&mut engine);
    for publication in &told {
        let entries = match &*publication.change {
            Change::Trades(list) => list.len(),
            Change::Bars(list) => list.len(),
            _ => continue,
        };
        assert_eq!((entries, publication.prev_seq, publication.seq), (700, 0, 700));
    }
    assert_eq!(told.len(), 3);
}

#[test]
fn a_source_that_starts_over_leaves_nothing_of_the_session_before() {
    let (mut engine, mut line) = (WebsocketEngine::default(), Line::default());
    let minute = 60 * UNIT.unsigned_abs();
    line.define(flags::STARTS_OVER);
    (1..=20).for_each(|n| line.trade(n * minute));
    (1..=20).for_each(|n| line.bar(n * minute, BarUnit::Time, minute));
    line.define(flags::STARTS_OVER);
    line.send(&mut engine);
    assert_eq!((kept(&engine, "trades.ESH4"), kept(&engine, "bars.ESH4.1m")), (20, 20), "nothing came yet");
    line.trade(minute / 2);
    line.bar(minute, BarUnit::Time, minute);
    line.send(&mut engine);
    assert_eq!((kept(&engine, "trades.ESH4"), kept(&engine, "bars.ESH4.1m")), (1, 1));
    // The next session, which is later, goes on.
    line.define(flags::STARTS_OVER);
    line.trade(30 * minute);
    line.send(&mut engine);
    assert_eq!((kept(&engine, "trades.ESH4"), kept(&engine, "bars.ESH4.1m")), (2, 1));
}

#[test]
fn buckets_and_alerts_of_an_earlier_run_give_way() {
    let mut engine = WebsocketEngine::default();
    for run in 0..2 {
        for n in 1..=30 {
            tell(&mut engine, bucket(Classification::BulkNormal, n));
            tell(&mut engine, bucket(Classification::TickRule, n));
        }
        tell(&mut engine, alert(10, ToxicityLevel::Moderate));
        tell(&mut engine, alert(10, ToxicityLevel::High));
        tell(&mut engine, alert(20, ToxicityLevel::Low));
        assert_eq!((kept(&engine, "vpin.ESH4"), kept(&engine, "alerts.ESH4")), (60, 3), "run {run}");
    }
    let told = published(&mut engine);
    let seqs: Vec<_> = told.iter().map(|p| (p.topic.to_string(), p.prev_seq, p.seq)).collect();
    assert_eq!(seqs, [("vpin.ESH4".to_owned(), 0, 120), ("alerts.ESH4".to_owned(), 0, 6)]);
    assert_eq!(engine.picture(topic("books.ESH4")), None, "nothing defined it");
}

#[test]
fn the_newest_health_of_an_engine_is_its_topic() {
    let mut engine = WebsocketEngine::default();
    assert_eq!(engine.picture(topic("system.vpin")), None);
    tell(&mut engine, health(1));
    tell(&mut engine, health(2));
    let mut told: Vec<(Symbol, Publication)> = Vec::new();
    engine.publish(&mut |symbol, publication| told.push((symbol, publication)));
    let [(symbol, publication)] = told.as_slice() else { panic!("one: {told:?}") };
    assert_eq!((symbol.as_str(), publication.topic), ("vpin", topic("system.vpin")));
    assert_eq!((publication.prev_seq, publication.seq, publication.ts), (0, 2, UnixNanos(99)));
    let Change::System(health) = *publication.change else { panic!("health") };
    assert_eq!(health.steps, 2);
    assert_eq!(
        engine.picture(topic("system.vpin")).map(|p| (p.seq, p.state)),
        Some((2, Change::System(health)))
    );
    assert!(published(&mut engine).is_empty());
}

/// What a publication says of its place and its change.
fn told(engine: &mut WebsocketEngine) -> Vec<(String, u64, u64, UnixNanos, Change)> {
    let said = |p: Publication| (p.topic.to_string(), p.prev_seq, p.seq, p.ts, (*p.change).clone());
    published(engine).into_iter().map(said).collect()
}

#[test]
fn the_newest_measures_of_a_portfolio_are_its_topic() {
    let mut engine = WebsocketEngine::default();
    assert_eq!(engine.picture(topic("risk.main")), None);
    // Time goes back when a session is replayed: what came last counts.
    for (name, ts, var) in [("main", 5, 1.0), ("late", 9, 7.0), ("main", 3, 2.0)] {
        tell(&mut engine, Body::RiskMetric(metric(name, ts, var)));
    }
    let (main, late) = (Change::Risk(metric("main", 3, 2.0)), Change::Risk(metric("late", 9, 7.0)));
    assert_eq!(
        told(&mut engine),
        [
            ("risk.late".to_owned(), 0, 1, UnixNanos(9), late),
            ("risk.main".to_owned(), 0, 2, UnixNanos(3), main.clone()),
        ]
    );
    assert!(published(&mut engine).is_empty());
    let picture = engine.picture(topic("risk.main")).expect("it is there");
    assert_eq!((picture.seq, picture.ts, picture.state), (2, UnixNanos(3), main));
    tell(&mut engine, Body::RiskMetric(metric("main", 6, 3.0)));
    let next = ("risk.main".to_owned(), 2, 3, UnixNanos(6), Change::Risk(metric("main", 6, 3.0)));
    assert_eq!(told(&mut engine), [next]);
    let names: Vec<_> = engine.topics().map(|(topic, seq)| (topic.to_string(), seq)).collect();
    assert_eq!(names, [("risk.late".to_owned(), 1), ("risk.main".to_owned(), 3)]);
    // Conflation keeps the last one.
    let mut merged = Change::Risk(metric("main", 1, 1.0));
    merged.merge(&Change::Risk(metric("main", 2, 2.0)));
    assert_eq!((merged.events(), merged), (0, Change::Risk(metric("main", 2, 2.0))));
}

#[test]
fn portfolios_are_bounded() {
    let mut engine = WebsocketEngine::default();
    for n in 0..5_000 {
        tell(&mut engine, Body::RiskMetric(metric(&format!("p{n}"), n, 1.0)));
    }
    assert_eq!((engine.topics().count(), published(&mut engine).len()), (4_096, 4_096));
    tell(&mut engine, Body::RiskMetric(metric("p0", 1, 2.0)));
    assert_eq!(published(&mut engine).len(), 1, "those that are there go on");
    let mut twin = WebsocketEngine::default();
    twin.restore(&engine.snapshot()).expect("its twin's snapshot");
    assert_eq!((twin.digest(), published(&mut twin).len()), (engine.digest(), 0));
}

#[test]
fn risk_alerts_are_told_once_and_the_newest_are_kept() {
    let mut engine = WebsocketEngine::default();
    assert_eq!(engine.picture(topic("risk_alerts.firm")), None);
    for ts in 1..=150 {
        tell(&mut engine, Body::RiskAlert(risk_alert(ts)));
    }
    let all = Change::RiskAlerts((1..=150).map(risk_alert).collect());
    assert_eq!(all.events(), 150);
    assert_eq!(
        told(&mut engine),
        [("risk_alerts.firm".to_owned(), 0, 150, UnixNanos(150), all)],
        "each of them, in order"
    );
    assert!(published(&mut engine).is_empty());
    let picture = engine.picture(topic("risk_alerts.firm")).expect("it is there");
    let newest = Change::RiskAlerts((51..=150).map(risk_alert).collect());
    assert_eq!((picture.seq, picture.ts, picture.state), (150, UnixNanos(150), newest));
    let mut merged = Change::RiskAlerts(vec![risk_alert(1)]);
    merged.merge(&Change::RiskAlerts(vec![risk_alert(2)]));
    assert_eq!(merged, Change::RiskAlerts(vec![risk_alert(1), risk_alert(2)]));
}

#[test]
fn an_instrument_heard_before_its_definition_is_asked_for() {
    let (mut engine, mut line) = (WebsocketEngine::default(), Line::default());
    line.define(0);
    line.bytes.clear();
    line.live();
    line.order(OrderAction::Add, 1, Side::Buy, 10, 5, true);
    assert_eq!(line.send(&mut engine).snapshots, [InstrumentId(1)]);
    assert_eq!(engine.topics().count(), 0);
    // A definition in the middle of the stream names it; its book is still to come.
    line.define(0);
    assert_eq!(line.send(&mut engine).snapshots, [InstrumentId(1)]);
    let Some(Change::Book(book)) = engine.picture(topic("books.ESH4")).map(|picture| picture.state) else {
        panic!("a book")
    };
    assert_eq!((book.state, book.bids.len()), (BookState::Syncing, 0));
}

#[test]
fn merging_keeps_the_last_content_and_bounds_lists() {
    let level = |price: i64, quantity: i64| Level {
        price: Price::from_nanos(price),
        quantity: Quantity::from_nanos(quantity),
        orders: 1,
    };
    let book = |sequence, cleared, bids: &[(i64, i64)], asks: &[(i64, i64)]| {
        let levels = |side: &[(i64, i64)]| side.iter().map(|&(price, held)| level(price, held)).collect();
        let state = BookState::Live;
        let checksum = u32::try_from(sequence).expect("small");
        Change::Book(BookChange {
            state,
            sequence,
            cleared,
            bids: levels(bids),
            asks: levels(asks),
            checksum,
        })
    };
    let mut merged = book(1, false, &[(9, 1), (7, 1)], &[(10, 1)]);
    merged.merge(&book(2, false, &[(9, 0), (8, 2)], &[(10, 4), (12, 1)]));
    assert_eq!(merged, book(2, false, &[(9, 0), (8, 2), (7, 1)], &[(10, 4), (12, 1)]));
    merged.merge(&book(3, true, &[(5, 1)], &[]));
    merged.merge(&book(4, false, &[(5, 0), (4, 1)], &[]));
    assert_eq!(merged, book(4, true, &[(4, 1)], &[]));
    let print = |sequence| Print {
        sequence,
        ts_event: UnixNanos(1),
        price: Price::ZERO,
        quantity: Quantity::ZERO,
        aggressor: None,
    };
    let mut trades = Change::Trades((0..900).map(print).collect());
    trades.merge(&Change::Trades((900..3_000).map(print).collect()));
    let Change::Trades(list) = trades else { panic!("trades") };
    assert!(list.iter().map(|print| print.sequence).eq(0..3_000), "every trade, in order");
}

#[test]
fn a_snapshot_of_nonsense_is_refused_and_changes_nothing() {
    let (mut engine, mut line) = (WebsocketEngine::default(), Line::default());
    line.define(0);
    line.live();
    line.order(OrderAction::Add, 1, Side::Buy, 10, 5, true);
    line.trade(1);
    line.bar(1, BarUnit::Tick, 5);
    line.send(&mut engine);
    tell(&mut engine, bucket(Classification::BulkNormal, 1));
    tell(&mut engine, health(1));
    tell(&mut engine, Body::RiskMetric(metric("main", 1, 1.0)));
    tell(&mut engine, Body::RiskAlert(risk_alert(1)));
    let (saved, digest) = (engine.snapshot(), engine.digest());
    for (bytes, reason) in [
        (vec![], "it is empty"),
        (vec![9], "its version is 9"),
        (saved[..saved.len() / 2].to_vec(), "does not decode"),
        ([saved.as_slice(), &[0]].concat(), "left over"),
    ] {
        let error = engine.restore(&bytes).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(engine.digest(), digest);
    }
    for at in 0..saved.len() {
        let mut damaged = saved.clone();
        damaged[at] ^= 0x55;
        // Whatever it is taken for, nothing panics afterwards.
        if engine.restore(&damaged).is_ok() {
            let _ = (engine.snapshot(), settled(&mut engine));
        }
    }
    engine.restore(&saved).expect("its own snapshot");
    assert_eq!(engine.snapshot(), saved);
    assert!(published(&mut engine).is_empty(), "there is nobody who was told less");
    line.order(OrderAction::Add, 2, Side::Buy, 9, 5, true);
    line.send(&mut engine);
    let told = published(&mut engine);
    let Change::Book(book) = &*told[0].change else { panic!("a book") };
    assert_eq!((book.cleared, book.bids.len()), (true, 2));
}
