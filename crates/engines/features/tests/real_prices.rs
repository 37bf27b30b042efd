//! Real daily closes of twenty stocks: the live engine gives the bits of the batch calculation, every feature at every
//! bar.
//!
//! The record has closes only; open, high, low and volume are made from them, the same for both.

mod tape;

use std::collections::BTreeMap;
use std::io::Read as _;

use nautilus_engine_features::{CalculateRequest, Config, Series, Values, Wanted, calculate};
use tape::{Prices, START, Tape, UNIT, engine_of, feed, newest, past, picture, registry};

const DAY: u64 = 86_400_000_000_000;
/// Long enough for a year's windows to fill and move on.
const BARS: usize = 320;

/// Each symbol's bars, oldest first, in billionths.
#[allow(clippy::disallowed_methods)] // A test may read a file.
fn prices() -> Option<Vec<(String, Vec<Prices>)>> {
    let path = nautilus_testkit::shared_data("prices_skfolio/sp500_dataset.csv.gz")?;
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the record opens");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the record reads");
    let mut lines = text.lines();
    let symbols = lines.next().expect("a first line").split(',').skip(1);
    let mut all: Vec<(String, Vec<Prices>)> = symbols.map(|s| (s.to_owned(), Vec::new())).collect();
    for (day, line) in lines.enumerate() {
        for ((_, bars), cell) in all.iter_mut().zip(line.split(',').skip(1)) {
            let close = cell.parse::<nautilus_types::Price>().expect("a price").nanos();
            let open = bars.last().map_or(close, |bar: &Prices| (bar.close + close) / 2);
            let volume = (1_000 + (day as i64 * 7_919 + close / 1_000_000) % 10_000) * UNIT;
            bars.push(Prices::moving(open, close, volume));
        }
    }
    for (_, bars) in &mut all {
        bars.drain(..bars.len() - BARS);
    }
    assert_eq!(all.len(), 20);
    Some(all)
}

fn series(bars: &[Prices]) -> Series {
    let all = |field: fn(&Prices) -> i64| bars.iter().map(|bar| field(bar) as f64 / 1e9).collect::<Vec<_>>();
    Series {
        open: Some(all(|bar| bar.open)),
        high: Some(all(|bar| bar.high)),
        low: Some(all(|bar| bar.low)),
        close: all(|bar| bar.close),
        volume: Some(all(|bar| bar.volume)),
    }
}

/// The frames of all bars, one day after the other.
fn tape(prices: &[(String, Vec<Prices>)], from: usize, to: usize) -> Vec<u8> {
    let mut tape = Tape::of("1d");
    for (id, (symbol, _)) in (1..).zip(prices) {
        tape.define(id, symbol);
    }
    for day in from..to {
        for (id, (_, bars)) in (1..).zip(prices) {
            tape.bar(id, START + day as u64 * DAY, bars[day]);
        }
    }
    // Market time goes on, so that the last cut need not be awaited.
    tape.quote(1, START + to as u64 * DAY, None, None);
    tape.bytes
}

/// Features that need nothing but open, high, low, close and volume.
fn features() -> Vec<String> {
    let known = ["open", "high", "low", "close", "volume"];
    let all = registry();
    let from_bars = all.definitions().iter().filter(|d| d.inputs.iter().all(|input| known.contains(input)));
    from_bars.map(|d| d.id.clone()).collect()
}

#[test]
fn live_gives_the_bits_of_the_batch() {
    let Some(prices) = prices() else { return };
    let config = Config { bar: "1d".parse().unwrap(), ..Config::default() };
    let mut engine = engine_of(registry(), config);
    feed(&mut engine, &tape(&prices, 0, BARS));
    let picture = picture(&mut engine);
    assert_eq!(picture.figures.history_cuts, BARS, "the whole past is kept");
    let live: BTreeMap<&str, _> =
        prices.iter().map(|(symbol, _)| (symbol.as_str(), past(&picture, symbol))).collect();
    let series: BTreeMap<String, Series> =
        prices.iter().map(|(symbol, bars)| (symbol.clone(), series(bars))).collect();
    let features = features();
    let mut defined = 0;
    // An answer has at most a million values.
    for features in features.chunks(1_000_000 / (20 * BARS)) {
        let request =
            CalculateRequest { series: series.clone(), features: features.to_vec(), output: Wanted::Series };
        let answer = calculate(&registry(), &request).unwrap();
        for (symbol, by_feature) in &answer.features {
            for (id, values) in by_feature {
                let Values::Series(values) = values else { panic!("a series was asked for") };
                let place = picture.registry.find(id).unwrap();
                assert_eq!((values.len(), live[symbol.as_str()].len()), (BARS, BARS));
                for (bar, (value, (_, bits))) in values.iter().zip(&live[symbol.as_str()]).enumerate() {
                    let shown = (*value, bits[place].map(f64::from_bits));
                    assert_eq!(value.map(f64::to_bits), bits[place], "{id} of {symbol} at {bar}: {shown:?}");
                    defined += usize::from(value.is_some());
                }
            }
        }
    }
    let all = features.len() * 20 * BARS;
    assert!(defined > all / 2, "{defined} of {all} values are there");
}

#[test]
fn values_at_the_last_bar_are_those_of_the_series() {
    let Some(prices) = prices() else { return };
    let series: BTreeMap<String, Series> =
        prices.iter().take(6).map(|(symbol, bars)| (symbol.clone(), series(&bars[..300]))).collect();
    let features: Vec<String> = features().into_iter().step_by(3).collect();
    let ask = |output| {
        let request = CalculateRequest { series: series.clone(), features: features.clone(), output };
        calculate(&registry(), &request).unwrap()
    };
    let (last, whole) = (ask(Wanted::Last), ask(Wanted::Series));
    assert_eq!((&last.absent, last.total_features), (&whole.absent, whole.total_features));
    for (symbol, by_feature) in &whole.features {
        for (id, values) in by_feature {
            let Values::Series(values) = values else { panic!("a series was asked for") };
            match (values.last().unwrap(), last.features[symbol].get(id)) {
                (Some(value), Some(Values::Last(last))) => {
                    assert_eq!(value.to_bits(), last.to_bits(), "{id}");
                }
                (None, None) => assert!(last.absent[symbol].contains_key(id)),
                other => panic!("{id} of {symbol}: {other:?}"),
            }
        }
    }
}

#[test]
fn who_comes_later_is_beside_the_others_at_the_last_bar() {
    let Some(prices) = prices() else { return };
    let (bars, joins) = (120, 70);
    let config = Config { bar: "1d".parse().unwrap(), ..Config::default() };
    let mut engine = engine_of(registry(), config);
    let mut tape = Tape::of("1d");
    let some = &prices[..5];
    // The first in the alphabet joins late, and delivers before the others.
    for (id, (symbol, _)) in (1..).zip(some) {
        tape.define(id, symbol);
    }
    for day in 0..bars {
        for (id, (_, bars)) in (1..).zip(some).filter(|(id, _)| *id > 1 || day >= joins) {
            tape.bar(id, START + day as u64 * DAY, bars[day]);
        }
    }
    feed(&mut engine, &tape.bytes);
    let picture = picture(&mut engine);
    let series = some.iter().enumerate().map(|(index, (symbol, all))| {
        (symbol.clone(), series(&all[if index == 0 { joins } else { 0 }..bars]))
    });
    let features = features();
    let request =
        CalculateRequest { series: series.collect(), features: features.clone(), output: Wanted::Last };
    let answer = calculate(&registry(), &request).unwrap();
    for (symbol, _) in some {
        let live = newest(&picture, symbol);
        for id in &features {
            let batch = answer.features[symbol].get(id).map(|value| match value {
                Values::Last(value) => value.to_bits(),
                Values::Series(_) => panic!("the last was asked for"),
            });
            assert_eq!(live[picture.registry.find(id).unwrap()], batch, "{id} of {symbol}");
        }
    }
}

#[test]
fn real_prices_in_another_order_of_instruments_give_the_same_bits() {
    let Some(prices) = prices() else { return };
    let (bars, some) = (90, &prices[..7]);
    let ids: Vec<String> = {
        let all = registry();
        let compares = |id: &str| {
            ["pca", "rank_", "percentile_", "score_", "excess_", "beta"].iter().any(|s| id.starts_with(s))
        };
        all.definitions().iter().filter(|d| compares(&d.id)).map(|d| d.id.clone()).collect()
    };
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let run = |order: &[usize]| {
        let config = Config { bar: "1d".parse().unwrap(), ..Config::default() };
        let (mut engine, mut tape) = (engine_of(tape::only(&ids), config), Tape::of("1d"));
        for (id, place) in (1..).zip(order) {
            tape.define(id, &some[*place].0);
        }
        for day in 0..bars {
            for (id, place) in (1..).zip(order) {
                tape.bar(id, START + day as u64 * DAY, some[*place].1[day]);
            }
        }
        feed(&mut engine, &tape.bytes);
        picture(&mut engine)
    };
    let reference = run(&[0, 1, 2, 3, 4, 5, 6]);
    for order in [[6, 5, 4, 3, 2, 1, 0], [3, 6, 0, 5, 1, 4, 2]] {
        let other = run(&order);
        for (symbol, _) in some {
            for ((day, left), (_, right)) in past(&reference, symbol).iter().zip(&past(&other, symbol)) {
                for ((id, left), right) in ids.iter().zip(left).zip(right) {
                    let shown = [left, right].map(|bits| bits.map(f64::from_bits));
                    assert_eq!(left, right, "{id} of {symbol} at {day}: {shown:?}");
                }
            }
        }
    }
}
