//! Closes of the market become scenarios: which are recorded, what they are returns of, who may replace them, and that
//! all of it is there after a restart.

mod desk;

use std::collections::BTreeMap;

use desk::{Floor, MS, START_NS, carry, name, reasons, units, wide};
use nautilus_engine::Engine as _;
use nautilus_engine_risk::{
    CLOSES_DAYS_MAX, Command, GivenCloses, Limit, Limits, ScenarioSet, Scenarios, Settings,
};
use nautilus_messages::frame::flags;
use nautilus_messages::mesh::Reason;
use nautilus_types::{NANOS_PER_DAY, Price, SCALE, Symbol, UtcDay};

const ONE: i64 = SCALE;
const DAY_NS: u64 = NANOS_PER_DAY;
const FIRST: u64 = START_NS / DAY_NS;

/// Closes of whole days in units, by instrument; nothing where an instrument has none.
fn given(symbols: &[&str], from: u64, days: &[&[Option<i64>]]) -> GivenCloses {
    let prices = |day: &&[Option<i64>]| {
        day.iter().map(|close| close.map(|units| Price::from_nanos(units * ONE))).collect::<Vec<_>>()
    };
    GivenCloses {
        instruments: symbols.iter().map(|symbol| name(symbol)).collect(),
        days: (from..).map(UtcDay).zip(days.iter().map(prices)).collect(),
    }
}

fn give(closes: GivenCloses) -> Command {
    Command::Closes { closes, by: "ann".to_owned() }
}

/// What the service does: scenarios of new closes, if there are any.
fn collect(floor: &mut Floor) -> Option<ScenarioSet> {
    let window = floor.engine.new_closes(0)?;
    let set = window.scenarios()?;
    let scenarios = Box::new(Scenarios::new(set.clone()).unwrap());
    floor.tell(Command::Collected { scenarios, revision: window.revision() }).unwrap();
    Some(set)
}

fn names(symbols: &[&str]) -> Vec<Symbol> {
    symbols.iter().map(|symbol| name(symbol)).collect()
}

/// A day of prices in units. The first price of the next one ends it.
fn trade_day(floor: &mut Floor, prices: &[(u32, i64)]) {
    for (id, price) in prices {
        floor.wait(MS).price(*id, price * ONE);
    }
    floor.wait(DAY_NS);
}

fn acme_and_bund(floor: &mut Floor, days: i64) -> Vec<[i64; 2]> {
    // Multiplying before the remainder gives returns of both signs and many sizes.
    let prices: Vec<[i64; 2]> = (0..days).map(|day| [100 + day * 37 % 11, 130 + day * 53 % 7]).collect();
    for [acme, bund] in &prices {
        trade_day(floor, &[(1, *acme), (2, *bund)]);
    }
    prices
}

/// The returns that closes must give, by the book.
fn returns(closes: impl Iterator<Item = i64>) -> Vec<f64> {
    let closes: Vec<f64> = closes.map(|close| close as f64).collect();
    closes.windows(2).map(|pair| pair[1] / pair[0] - 1.0).collect()
}

fn near(set: &ScenarioSet, symbol: &str, expected: &[f64]) {
    let at = set.instruments.iter().position(|other| *other == name(symbol)).unwrap();
    assert_eq!(set.returns[at].len(), expected.len(), "{symbol}");
    for (found, expected) in set.returns[at].iter().zip(expected) {
        assert!((found - expected).abs() < 1e-14, "{symbol}: {found} {expected}");
    }
}

#[test]
fn the_marks_of_a_day_become_its_closes_and_closes_scenarios() {
    let mut floor = Floor::open();
    let prices = acme_and_bund(&mut floor, 22);
    floor.price(1, 500 * ONE);
    let view = floor.engine.scenarios();
    // YENS had its only price on the first day.
    assert_eq!((view.closes.days, view.closes.first), (22, Some(UtcDay(FIRST))));
    assert_eq!((view.closes.last, view.source, view.scenarios), (Some(UtcDay(FIRST + 21)), None, 0));
    let set = collect(&mut floor).unwrap();
    assert_eq!(set.instruments, names(&["ACME", "BUND"]));
    near(&set, "ACME", &returns(prices.iter().map(|day| day[0])));
    near(&set, "BUND", &returns(prices.iter().map(|day| day[1])));
    let view = floor.engine.scenarios();
    assert_eq!((view.source, view.by, view.scenarios), (Some("market"), None, 21));
    assert!(view.left_out.is_empty());
    assert_eq!(floor.engine.new_closes(0), None, "nothing is new");
}

#[test]
fn a_limit_on_value_at_risk_lets_orders_through_once_a_month_is_collected() {
    let mut floor = Floor::open();
    floor.limits("firm", Limits { var: Some(Limit { soft: None, hard: units(1_000) }), ..wide() });
    acme_and_bund(&mut floor, 20);
    floor.price(1, 100 * ONE);
    assert_eq!(collect(&mut floor), None, "20 closes are 19 returns");
    assert_eq!(floor.reject(carry(), "ACME", ONE), reasons(&[Reason::VarUnknown]));
    for (id, price) in [(2, 130), (3, 15_000)] {
        floor.price(id, price * ONE);
    }
    floor.wait(DAY_NS).price(1, 100 * ONE);
    assert_eq!(collect(&mut floor).unwrap().instruments, names(&["ACME", "BUND"]));
    assert_eq!(floor.engine.scenarios().left_out, names(&["YENS"]));
    floor.accept(carry(), "ACME", ONE);
    floor.price(3, 15_000 * ONE);
    assert_eq!(floor.reject(carry(), "YENS", ONE), reasons(&[Reason::VarUnknown]));
}

#[test]
fn only_the_newest_days_are_taken_and_none_where_that_is_turned_off() {
    let mut floor = Floor::with(Settings { scenario_days: 20, ..Settings::default() });
    let prices = acme_and_bund(&mut floor, 30);
    floor.price(1, ONE);
    let set = collect(&mut floor).unwrap();
    near(&set, "ACME", &returns(prices[9..].iter().map(|day| day[0])));
    let mut floor = Floor::with(Settings { scenarios_from_market: false, ..Settings::default() });
    acme_and_bund(&mut floor, 30);
    floor.price(1, ONE);
    assert_eq!((floor.engine.scenarios().closes.days, floor.engine.new_closes(0)), (0, None));
}

#[test]
fn prices_without_a_market_or_without_a_return_are_no_closes() {
    let mut floor = Floor::bare(Settings::default());
    for id in 1..=4 {
        floor.define(id, ["FREE", "FLAT", "LEAP", "OILS"][id as usize - 1], "USD", (1, 1, SCALE));
    }
    for day in 0..25 {
        floor.wait(MS);
        // Nothing, the same every day, a fifteenth of a billion of itself, and below zero.
        floor.trade(1, 0, 0);
        floor.trade(2, 7 * ONE, flags::REPLAY);
        floor.trade(3, if day < 24 { 15 } else { ONE }, 0);
        floor.trade(4, (day % 5 - 2) * ONE - ONE / 2, 0);
        floor.wait(DAY_NS);
    }
    floor.trade(2, 7 * ONE, 0);
    let set = collect(&mut floor).unwrap();
    assert_eq!(set.instruments, names(&["FLAT", "OILS"]));
    near(&set, "FLAT", &[0.0; 24]);
    assert_eq!(set.returns[1][..2], [-1.5 / -2.5 - 1.0, -0.5 / -1.5 - 1.0]);
    assert_eq!(floor.engine.scenarios().left_out, names(&["LEAP"]));
}

#[test]
fn an_instrument_with_a_gap_is_left_out_and_a_quiet_day_is_no_day() {
    let mut floor = Floor::open();
    let mut days: Vec<Vec<Option<i64>>> =
        (0..40).map(|day| (0..5).map(|at| Some(100 + (day * (3 + at)) % 13)).collect()).collect();
    days[25][1] = None;
    // Two of five trade.
    days[30] = vec![Some(90), None, None, None, Some(91)];
    let slices: Vec<&[Option<i64>]> = days.iter().map(Vec::as_slice).collect();
    floor.tell(give(given(&["A", "B", "C", "D", "E"], FIRST - 60, &slices))).unwrap();
    let set = collect(&mut floor).unwrap();
    assert_eq!(set.instruments, names(&["A", "C", "D", "E"]));
    let open = |at: usize| days.iter().filter(|day| day[2].is_some()).map(move |day| day[at].unwrap());
    near(&set, "A", &returns(open(0)));
    near(&set, "E", &returns(open(4)));
    assert_eq!(floor.engine.scenarios().left_out, names(&["B"]));
    // What was missing is given, and what stands there stays.
    floor.tell(give(given(&["B"], FIRST - 35, &[&[Some(77)]]))).unwrap();
    days[25][1] = Some(77);
    let set = collect(&mut floor).unwrap();
    assert_eq!(set.instruments, names(&["A", "B", "C", "D", "E"]));
    near(&set, "B", &returns(days.iter().filter_map(|day| day[1])));
}

#[test]
fn closes_that_cannot_be_are_refused() {
    let mut floor = Floor::open();
    let one: &[Option<i64>] = &[Some(1)];
    let days = |count: usize| vec![one; count];
    let mut twice = given(&["A", "B", "A"], FIRST - 9, &[&[Some(1), Some(2), Some(3)]]);
    let none = BTreeMap::new();
    for closes in [
        twice.clone(),
        given(&[], FIRST - 9, &[&[]]),
        given(&["A"], FIRST - 9, &[]),
        given(&["A"], FIRST - CLOSES_DAYS_MAX as u64 - 1, &days(CLOSES_DAYS_MAX + 1)),
        given(&["A"], FIRST - 1, &days(2)),
        given(&["A", "B"], FIRST - 9, &days(1)),
        given(&["A"], FIRST - 9, &[&[Some(0)]]),
        GivenCloses { instruments: names(&["A"]), days: none },
    ] {
        assert_eq!(floor.refused(give(closes)), "invalid_closes");
    }
    twice.instruments[2] = name("C");
    assert_eq!(floor.refused(Command::Closes { closes: twice.clone(), by: " ".to_owned() }), "invalid_name");
    floor.engine.journal_room(false);
    assert_eq!(floor.refused(give(twice.clone())), "journal_full");
    floor.engine.journal_room(true);
    floor.tell(give(twice)).unwrap();
    assert_eq!(floor.engine.scenarios().closes.days, 1);
    assert_eq!(floor.refused(Command::WithdrawScenarios { by: String::new() }), "invalid_name");
}

#[test]
fn the_oldest_days_go() {
    let mut floor = Floor::open();
    let day: &[Option<i64>] = &[Some(1)];
    floor.tell(give(given(&["A"], FIRST - 1_261, &vec![day; CLOSES_DAYS_MAX]))).unwrap();
    floor.tell(give(given(&["A"], FIRST - 5_000, &[day; 10]))).unwrap();
    trade_day(&mut floor, &[(1, 5)]);
    floor.price(1, ONE);
    let closes = floor.engine.scenarios().closes;
    assert_eq!((closes.days, closes.first), (CLOSES_DAYS_MAX, Some(UtcDay(FIRST - 1_260))));
}

#[test]
fn what_a_person_gave_stays_until_a_person_takes_it_back() {
    let mut floor = Floor::open();
    acme_and_bund(&mut floor, 25);
    floor.price(1, 100 * ONE);
    let window = floor.engine.new_closes(0).unwrap();
    let made = Scenarios::new(window.scenarios().unwrap()).unwrap();
    let collected = || Command::Collected { scenarios: Box::new(made.clone()), revision: window.revision() };
    let set = ScenarioSet { instruments: names(&["ACME"]), returns: vec![vec![0.01, -0.02, 0.0]] };
    let scenarios = Box::new(Scenarios::new(set).unwrap());
    floor.tell(Command::Scenarios { scenarios, by: "ann".to_owned() }).unwrap();
    // Made before, and told too late.
    floor.tell(collected()).unwrap();
    let view = floor.engine.scenarios();
    assert_eq!((view.source, view.by.as_deref(), view.scenarios), (Some("given"), Some("ann"), 3));
    assert_eq!(floor.engine.new_closes(0), None);
    floor.tell(Command::WithdrawScenarios { by: "bob".to_owned() }).unwrap();
    let view = floor.engine.scenarios();
    assert_eq!((view.source, view.by, view.scenarios), (None, None, 0));
    floor.hold(carry(), "ACME", ONE, ONE);
    assert_eq!(floor.engine.exposures(name("main")).unwrap().unwrap_err().code(), "no_scenarios");
    floor.tell(collected()).unwrap();
    assert_eq!(floor.engine.scenarios().source, Some("market"));
    let held = floor.engine.exposures(name("main")).unwrap().unwrap();
    assert_eq!((held.positions, held.uncovered), (vec![100.0, 0.0], vec![]));
    // The same once more, and older ones, are nothing.
    let facts = floor.facts.len();
    floor.tell(collected()).unwrap();
    assert_eq!(floor.facts.len(), facts);
}

#[test]
fn a_day_without_a_price_has_no_close_and_no_outcome() {
    let mut floor = Floor::open();
    let set = ScenarioSet { instruments: names(&["ACME"]), returns: vec![vec![0.01, -0.02, 0.0]] };
    let scenarios = Box::new(Scenarios::new(set).unwrap());
    floor.tell(Command::Scenarios { scenarios, by: "ann".to_owned() }).unwrap();
    floor.hold(carry(), "ACME", ONE, ONE);
    for day in 1..=6_u64 {
        floor.wait(DAY_NS);
        if day % 3 == 0 {
            // Something of the market, but no price.
            floor.define(2, "BUND", "EUR", (10_000_000, SCALE, 50 * SCALE));
        } else {
            floor.price(1, (100 + day as i64) * ONE);
        }
    }
    floor.wait(DAY_NS).price(1, 200 * ONE);
    let rows = floor.engine.forecasts(name("main")).unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row.day - FIRST, row.outcome)).collect();
    assert_eq!(seen, [(1, 100.0), (2, 1.0), (4, 2.0), (5, 1.0)]);
    assert_eq!(floor.engine.scenarios().closes.days, 5);
}

#[test]
fn closes_and_scenarios_are_the_same_after_a_restart() {
    let mut floor = Floor::open();
    acme_and_bund(&mut floor, 30);
    let (snapshot, facts, frames) = (floor.engine.snapshot(), floor.facts.len(), floor.frames.len());
    floor.price(1, 100 * ONE);
    collect(&mut floor).unwrap();
    floor.tell(give(given(&["ACME", "NEWS"], FIRST - 9, &[&[Some(8), Some(9)][..]; 5]))).unwrap();
    trade_day(&mut floor, &[(1, 90), (2, 131)]);
    floor.price(2, ONE);
    collect(&mut floor).unwrap();
    floor.tell(Command::Tick).unwrap();
    let lived = floor.engine.snapshot();
    let view = floor.engine.scenarios();
    for (snapshot, facts, frames) in [(Some(&snapshot[..]), facts, frames), (None, 0, 0)] {
        let mut engine = floor.recovered(snapshot, facts);
        Floor::feed(&mut engine, &floor.frames[frames..]);
        floor.engine = engine;
        floor.tell(Command::Tick).unwrap();
        assert_eq!(floor.engine.scenarios(), view);
        assert!(floor.engine.snapshot() == lived);
        // The closes behind them are, too.
        assert_eq!(floor.engine.new_closes(0), None);
    }
    let loaded = floor.recovered(Some(&lived), floor.facts.len());
    assert_eq!((loaded.scenarios(), loaded.snapshot() == lived), (view, true));
}
