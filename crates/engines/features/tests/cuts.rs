//! Which bars step together: when a cut is complete, what it waits for, and what happens to bars that come late.
//!
//! Values serve as witnesses only: a rank tells with whom an instrument was compared.

mod tape;

use nautilus_engine_features::{Config, FeaturesEngine, Publish, Snapshot};
use tape::{
    MINUTE, Prices, SECOND, START, Tape, UNIT, engine_of, feed, name, only, picture, set, symbol, value,
    vectors,
};

/// Ranks of the present bar's return, and its own return.
fn engine_of_ranks(config: Config) -> FeaturesEngine {
    let mut engine = engine_of(only(&["rank_return_1", "percentile_return_1", "return_1"]), config);
    let set = set(&["return_1"], Publish::Bar);
    tape::command(&mut engine, nautilus_engine_features::Command::PutSet { name: name("all"), set });
    engine
}

fn engine() -> FeaturesEngine {
    engine_of_ranks(Config::default())
}

/// The close of the n-th minute.
fn close(minute: u64) -> u64 {
    START + minute * MINUTE
}

/// A bar of the n-th minute, of instruments whose returns rank by their number.
fn bar(tape: &mut Tape, id: u32, minute: u64) -> Vec<u8> {
    tape.bar(id, close(minute), Prices::flat(UNIT * i64::from(id * minute as u32 + 100), UNIT)).take()
}

/// Three instruments that have had bars at the first two minutes.
fn three() -> (FeaturesEngine, Tape) {
    let (mut engine, mut tape) = (engine(), Tape::default());
    feed(&mut engine, &tape.define(1, "AAA").define(2, "BBB").define(3, "CCC").take());
    for minute in 1..3 {
        for id in 1..4 {
            feed(&mut engine, &bar(&mut tape, id, minute));
        }
    }
    (engine, tape)
}

/// Who steps when a frame comes.
fn stepped(engine: &mut FeaturesEngine, bytes: &[u8]) -> Vec<String> {
    vectors(&feed(engine, bytes)).iter().map(|vector| vector.instrument.to_string()).collect()
}

/// A quote of an instrument, so that market time goes on.
fn quote_at(tape: &mut Tape, id: u32, ts: u64) -> Vec<u8> {
    tape.quote(id, ts, Some((UNIT, UNIT)), Some((2 * UNIT, UNIT))).take()
}

fn ranks(picture: &Snapshot) -> [Option<f64>; 3] {
    ["AAA", "BBB", "CCC"].map(|text| value(picture, text, "rank_return_1"))
}

#[test]
fn a_cut_is_complete_when_all_have_delivered() {
    let (mut engine, mut tape) = three();
    assert!(stepped(&mut engine, &bar(&mut tape, 2, 3)).is_empty());
    assert!(stepped(&mut engine, &bar(&mut tape, 3, 3)).is_empty());
    assert_eq!(stepped(&mut engine, &bar(&mut tape, 1, 3)), ["AAA", "BBB", "CCC"], "in order of rows");
    let picture = picture(&mut engine);
    assert_eq!(ranks(&picture), [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(picture.figures.cuts, 3);
}

#[test]
fn a_cut_waits_for_market_time_and_no_longer() {
    let (mut engine, mut tape) = three();
    let settle = Config::default().settle_ms * 1_000_000;
    assert!(stepped(&mut engine, &bar(&mut tape, 1, 3)).is_empty());
    assert!(stepped(&mut engine, &bar(&mut tape, 2, 3)).is_empty());
    let quote = quote_at(&mut tape, 1, close(3) + settle);
    assert!(stepped(&mut engine, &quote).is_empty(), "not yet past it");
    // Any instrument's frame tells the time, even that of one that is not known.
    let mut other = Tape::default();
    let quote = quote_at(&mut other, 77, close(3) + settle + 1);
    assert_eq!(stepped(&mut engine, &quote), ["AAA", "BBB"]);
    assert_eq!(ranks(&picture(&mut engine))[..2], [Some(1.0), Some(2.0)]);
}

#[test]
fn a_bar_of_the_next_close_ends_the_wait() {
    let (mut engine, mut tape) = three();
    feed(&mut engine, &bar(&mut tape, 1, 3));
    assert_eq!(stepped(&mut engine, &bar(&mut tape, 2, 4)), ["AAA"]);
}

#[test]
fn a_late_bar_makes_a_cut_of_its_own_among_the_newest_of_the_others() {
    let settle = Config::default().settle_ms * 1_000_000;
    for (words, by) in
        [("after the settling", None), ("while the next cut is forming", Some(4)), ("much later", Some(6))]
    {
        let (mut engine, mut tape) = three();
        feed(&mut engine, &bar(&mut tape, 1, 3));
        feed(&mut engine, &bar(&mut tape, 2, 3));
        feed(&mut engine, &quote_at(&mut tape, 1, close(3) + settle + 1));
        for minute in 4..=by.unwrap_or(3) {
            feed(&mut engine, &bar(&mut tape, 1, minute));
        }
        assert_eq!(stepped(&mut engine, &bar(&mut tape, 3, 3)), ["CCC"], "{words}");
        let picture = picture(&mut engine);
        assert_eq!(value(&picture, "CCC", "rank_return_1"), Some(3.0), "{words}");
        let place = picture.find(symbol("CCC")).unwrap();
        assert_eq!(picture.vector(place).ts_close.unwrap().0, close(3), "{words}");
    }
}

#[test]
fn after_a_late_bar_the_others_are_awaited_as_before() {
    // The third instrument was silent for so long that nobody waits for it, when its bars come late.
    let (mut engine, mut tape) = three();
    for minute in 3..12 {
        feed(&mut engine, &bar(&mut tape, 1, minute));
        feed(&mut engine, &bar(&mut tape, 2, minute));
    }
    feed(&mut engine, &bar(&mut tape, 1, 12));
    assert_eq!(stepped(&mut engine, &bar(&mut tape, 3, 11)), ["CCC"], "late");
    assert!(stepped(&mut engine, &bar(&mut tape, 3, 12)).is_empty(), "the second is still awaited");
    assert_eq!(stepped(&mut engine, &bar(&mut tape, 2, 12)), ["AAA", "BBB", "CCC"]);
    // From now on it is awaited again.
    feed(&mut engine, &bar(&mut tape, 1, 13));
    assert!(stepped(&mut engine, &bar(&mut tape, 2, 13)).is_empty());
    assert_eq!(stepped(&mut engine, &bar(&mut tape, 3, 13)), ["AAA", "BBB", "CCC"]);
}

#[test]
fn bars_that_were_there_already_are_refused_and_counted() {
    let (mut engine, mut tape) = three();
    for (minute, refused) in [(2, 1), (1, 2), (2, 3)] {
        assert!(stepped(&mut engine, &bar(&mut tape, 1, minute)).is_empty());
        assert_eq!(picture(&mut engine).figures.bars_refused, refused);
    }
    // A bar that waits is there, too.
    feed(&mut engine, &bar(&mut tape, 1, 3));
    feed(&mut engine, &bar(&mut tape, 1, 3));
    let figures = picture(&mut engine).figures;
    assert_eq!((figures.bars_refused, figures.cuts), (4, 2));
    feed(&mut engine, &bar(&mut tape, 2, 3));
    assert_eq!(stepped(&mut engine, &bar(&mut tape, 3, 3)).len(), 3);
}

#[test]
fn a_silent_instrument_is_awaited_and_compared_for_so_many_bars() {
    let age = 3;
    let config = Config { universe_age_bars: age, ..Config::default() };
    let (mut engine, mut tape) = (engine_of_ranks(config), Tape::default());
    feed(&mut engine, &tape.define(1, "AAA").define(2, "BBB").define(3, "CCC").take());
    for minute in 1..3 {
        for id in 1..4 {
            feed(&mut engine, &bar(&mut tape, id, minute));
        }
    }
    // The third, whose return is the highest, is silent from now on; then the second's is.
    for minute in 3..9 {
        feed(&mut engine, &bar(&mut tape, 1, minute));
        let at_once = stepped(&mut engine, &bar(&mut tape, 2, minute)).len();
        let is_recent = minute <= 2 + age;
        assert_eq!(at_once, if is_recent { 0 } else { 2 }, "at {minute}");
        feed(&mut engine, &quote_at(&mut tape, 1, close(minute) + SECOND));
        let place = value(&picture(&mut engine), "BBB", "percentile_return_1");
        assert_eq!(place, Some(if is_recent { 0.5 } else { 1.0 }), "at {minute}");
    }
}

#[test]
fn bars_of_another_interval_are_nobodys() {
    let (mut engine, tape) = three();
    let cuts = picture(&mut engine).figures.cuts;
    for spec in ["1s", "5m", "1h", "1d", "60tick", "1volume", "1notional"] {
        let mut other = Tape::of(spec);
        assert!(stepped(&mut engine, &bar(&mut other, 1, 3)).is_empty(), "{spec}");
    }
    drop(tape);
    let set = set(&["return_1"], Publish::Never);
    tape::command(&mut engine, nautilus_engine_features::Command::PutSet { name: name("x"), set });
    let figures = picture(&mut engine).figures;
    assert_eq!((figures.cuts, figures.bars_refused), (cuts, 0));
}

#[test]
fn bars_of_trades_are_a_cut_each_however_many_close_at_once() {
    let config = Config { bar: "100tick".parse().unwrap(), ..Config::default() };
    let (mut engine, mut tape) = (engine_of_ranks(config), Tape::of("100tick"));
    feed(&mut engine, &tape.define(1, "AAA").define(2, "BBB").take());
    // One large print fills several bars at one instant; each opens a nanosecond after the one before.
    for n in 0..3 {
        for id in 1..3 {
            let prices = Prices::flat(UNIT * (100 + i64::from(id) * n as i64), UNIT);
            let bytes = tape.bar_opened(id, START + n, START + SECOND, prices).take();
            assert_eq!(stepped(&mut engine, &bytes).len(), 1, "{n} {id}");
        }
    }
    let figures = picture(&mut engine).figures;
    assert_eq!((figures.cuts, figures.bars_refused), (6, 0));
    assert_eq!(value(&picture_again(&mut engine), "BBB", "return_1"), Some(104.0 / 102.0 - 1.0));
    assert_eq!(value(&picture_again(&mut engine), "BBB", "rank_return_1"), Some(2.0));
    let again = tape.bar_opened(1, START + 2, START + SECOND, Prices::flat(UNIT, UNIT)).take();
    assert!(stepped(&mut engine, &again).is_empty());
    assert_eq!(picture(&mut engine).figures.bars_refused, 1);
}

fn picture_again(engine: &mut FeaturesEngine) -> Snapshot {
    let set = set(&["return_1"], Publish::Never);
    tape::command(engine, nautilus_engine_features::Command::PutSet { name: name("x"), set });
    picture(engine)
}

#[test]
fn an_earlier_session_is_not_compared_with_instruments_of_a_later_one() {
    let (mut engine, mut tape) = (engine(), Tape::default());
    feed(&mut engine, &tape.define(1, "AAA").define(2, "BBB").take());
    for minute in 1_000..1_004 {
        for id in 1..3 {
            feed(&mut engine, &bar(&mut tape, id, minute));
        }
    }
    feed(&mut engine, &tape.start_over(1, "AAA").take());
    for minute in 1..4 {
        feed(&mut engine, &bar(&mut tape, 1, minute));
    }
    feed(&mut engine, &quote_at(&mut tape, 1, close(4)));
    let picture = picture(&mut engine);
    assert!(value(&picture, "AAA", "return_1").is_some());
    assert_eq!(value(&picture, "AAA", "rank_return_1"), None, "nobody else is there at that time");
}
