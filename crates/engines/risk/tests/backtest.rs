//! Thirty-three years of twenty real stocks through the live engine: closes are collected, scenarios made of them every
//! day, and every day's forecast of value at risk and expected shortfall is recorded with what became of it.
//!
//! Every forecast is held against a slow one that sorts all P&L, some of them and all tests against numpy and scipy.

mod desk;

use std::collections::BTreeMap;
use std::io::Read as _;

use desk::{Floor, carry, name, portfolio};
use nautilus_engine::Engine as _;
use nautilus_engine_risk::validation::{BacktestAnswer, TestName, Zone};
use nautilus_engine_risk::{Command, ForecastRow, RiskEngine, Scenarios, Settings, backtest_of};
use nautilus_types::{NANOS_PER_DAY, Price, SCALE, UtcDay};
use serde::Deserialize;

/// Written by `backtest_reference.py` with numpy and scipy.
const REFERENCE: &str = include_str!("backtest_reference.json");
/// Returns that a forecast is made of, at most and at least.
const WINDOW: usize = 250;
const FEWEST: usize = 20;
/// Forecasts that the engine keeps.
const KEPT: usize = 4_096;
/// The last days are recovered from a snapshot and facts.
const RECOVERED: usize = 60;

#[derive(Deserialize)]
struct Reference {
    forecasts: Vec<(UtcDay, f64, f64, f64)>,
    count: usize,
    record: Tested,
    years: Vec<Tested>,
}

#[derive(Deserialize)]
struct Tested {
    exceptions: usize,
    tests: BTreeMap<TestName, Option<(f64, Option<f64>)>>,
    cumulative: f64,
    zone: Zone,
}

/// Closes in billionths.
struct Record {
    symbols: Vec<String>,
    days: Vec<(UtcDay, Vec<i64>)>,
}

#[allow(clippy::disallowed_methods)] // A test may read a file.
fn record() -> Option<Record> {
    let path = nautilus_testkit::shared_data("prices_skfolio/sp500_dataset.csv.gz")?;
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the record opens");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the record reads");
    let mut lines = text.lines();
    let symbols = lines.next().expect("a first line").split(',').skip(1).map(str::to_owned).collect();
    let day = |line: &str| {
        let (date, cells) = line.split_once(',').expect("a date");
        let closes = cells.split(',').map(|cell| cell.parse::<Price>().expect("a price").nanos());
        (date.parse().expect("a date"), closes.collect())
    };
    Some(Record { symbols, days: lines.map(day).collect() })
}

fn quantity(instrument: usize) -> i64 {
    100 * (1 + instrument as i64)
}

fn near(found: f64, expected: f64, bound: f64) -> bool {
    (found - expected).abs() <= bound * expected.abs().max(1.0)
}

/// The desk on the first day: every stock at its close, and nothing known of the past.
fn begin(record: &Record) -> Floor {
    let mut floor = Floor::bare(Settings { scenario_days: WINDOW, ..Settings::default() });
    floor.now = record.days[0].0.0 * NANOS_PER_DAY;
    floor.tell(Command::Portfolio(portfolio("main", "USD", 1_000_000, &[("index", &["carry"])]))).unwrap();
    for (id, symbol) in (1..).zip(&record.symbols) {
        floor.define(id, symbol, "USD", (1_000_000, SCALE, SCALE));
    }
    close(&mut floor, &record.days[0]);
    for (at, symbol) in record.symbols.iter().enumerate() {
        floor.hold(carry(), symbol, quantity(at) * SCALE, record.days[0].1[at]);
    }
    floor
}

/// Every stock's close, at 21:00.
fn close(floor: &mut Floor, (day, closes): &(UtcDay, Vec<i64>)) {
    floor.now = day.0 * NANOS_PER_DAY + 21 * NANOS_PER_DAY / 24;
    for (id, price) in (1..).zip(closes) {
        floor.trade(id, *price, 0);
    }
}

/// What the service does once a second.
fn collect(floor: &mut Floor) {
    let Some(window) = floor.engine.new_closes(0) else { return };
    let Some(set) = window.scenarios() else { return };
    let scenarios = Box::new(Scenarios::new(set).unwrap());
    floor.tell(Command::Collected { scenarios, revision: window.revision() }).unwrap();
}

/// P&L of the positions in every scenario that is known when a day begins, sorted: scenarios were made the day before.
fn slow_pnl(days: &[(UtcDay, Vec<i64>)], day: usize) -> Vec<f64> {
    let returns = (day - 2).min(WINDOW);
    let pnl = |to: usize| -> f64 {
        let of = |at: usize| {
            let (before, after, now) = (days[to - 1].1[at], days[to].1[at], days[day - 1].1[at]);
            quantity(at) as f64 * now as f64 / 1e9 * (after as f64 / before as f64 - 1.0)
        };
        (0..days[0].1.len()).map(of).sum()
    };
    let mut pnl: Vec<f64> = (day - 1 - returns..day - 1).map(pnl).collect();
    pnl.sort_by(f64::total_cmp);
    pnl
}

/// Holds a row of the record against the slow forecast.
fn check(days: &[(UtcDay, Vec<i64>)], day: usize, row: &ForecastRow) {
    let pnl = slow_pnl(days, day);
    let tail = pnl.len().div_ceil(100);
    let (var, es) = (-pnl[tail - 1], -pnl[..tail].iter().sum::<f64>() / tail as f64);
    let made = |at: usize| i128::from(quantity(at)) * i128::from(days[day].1[at] - days[day - 1].1[at]);
    let outcome = (0..days[0].1.len()).map(made).sum::<i128>() as f64 / 1e9;
    let below = pnl.iter().filter(|pnl| **pnl < outcome).count() as f64 / pnl.len() as f64;
    assert_eq!(row.day, days[day].0.0);
    assert!(near(row.var, var, 1e-9) && near(row.es, es, 1e-9), "{}: {row:?} {var} {es}", days[day].0);
    assert!(near(row.outcome, outcome, 1e-12), "{}: {row:?} {outcome}", days[day].0);
    assert!((row.pit - below).abs() <= 1.0 / pnl.len() as f64, "{}: {row:?} {below}", days[day].0);
}

fn newest(engine: &RiskEngine) -> ForecastRow {
    *engine.forecasts(name("main")).unwrap().last().expect("a forecast was closed")
}

fn agrees(what: &str, answer: &BacktestAnswer, expected: &Tested) {
    assert_eq!(answer.exceptions, expected.exceptions, "{what}");
    let light = answer.traffic_light;
    assert_eq!(light.zone, expected.zone, "{what}");
    assert!(near(light.cumulative_probability, expected.cumulative, 1e-10), "{what}: {light:?}");
    for (test, expected) in &expected.tests {
        let found = answer.tests.iter().find(|found| found.test == *test).unwrap();
        assert_eq!(found.statistic.is_some(), expected.is_some(), "{what}: {found:?}");
        let Some((statistic, p_value)) = expected else { continue };
        assert!(near(found.statistic.unwrap(), *statistic, 1e-8), "{what}: {found:?} {statistic}");
        let p_value = p_value.is_none_or(|p_value| near(found.p_value.unwrap(), p_value, 1e-8));
        assert!(p_value, "{what}: {found:?}");
    }
}

#[test]
fn every_forecast_and_every_test_of_33_years_is_right() {
    let Some(record) = record() else { return };
    let reference: Reference = serde_json::from_str(REFERENCE).unwrap();
    let days = &record.days;
    let mut floor = begin(&record);
    let (mut rows, mut snapshot) = (Vec::new(), Vec::new());
    for day in 1..days.len() {
        close(&mut floor, &days[day]);
        collect(&mut floor);
        if day > FEWEST + 2 {
            check(days, day - 1, &newest(&floor.engine));
            rows.push(newest(&floor.engine));
        }
        if day + RECOVERED <= days.len() {
            // Facts of all days are more than a test's memory should hold.
            floor.facts.clear();
            floor.frames.clear();
        }
        if day + RECOVERED == days.len() {
            snapshot = floor.engine.snapshot();
        }
    }
    let last = days.len() - 1;
    floor.now += NANOS_PER_DAY;
    floor.trade(1, days[last].1[0], 0);
    rows.push(newest(&floor.engine));
    check(days, last, &rows[rows.len() - 1]);

    assert_eq!((rows.len(), reference.count), (reference.count, days.len() - FEWEST - 2));
    for (day, var, es, outcome) in &reference.forecasts {
        let row = rows.iter().find(|row| row.day == day.0).unwrap();
        assert!(near(row.var, *var, 1e-9) && near(row.es, *es, 1e-9), "{day}: {row:?} {var} {es}");
        assert!(near(row.outcome, *outcome, 1e-9), "{day}: {row:?} {outcome}");
    }
    let kept = floor.engine.forecasts(name("main")).unwrap();
    assert_eq!(kept, rows[rows.len() - KEPT..]);
    agrees("the record", &backtest_of(&kept).unwrap(), &reference.record);
    let years: Vec<_> = rows.chunks_exact(250).collect();
    assert_eq!(years.len(), reference.years.len());
    for (at, (year, expected)) in years.iter().zip(&reference.years).enumerate() {
        agrees(&format!("year {at}"), &backtest_of(year).unwrap(), expected);
    }
    let mut engine = floor.recovered(Some(&snapshot), 0);
    Floor::feed(&mut engine, &floor.frames);
    assert_eq!(engine.digest(), floor.engine.digest());
}
