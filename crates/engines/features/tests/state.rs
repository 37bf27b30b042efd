//! The engine's state as bytes: what is not a state of this engine is refused, what is one goes on without a trace, and
//! memory is bounded.
//!
//! Equal bytes mean equal states.

mod tape;

use std::sync::{Arc, OnceLock};

use nautilus_book::BookLimits;
use nautilus_engine::Engine as _;
use nautilus_engine::replay::{Plan, run};
use nautilus_engine_features::{Config, FeaturesEngine, Fundamentals, Registry};
use nautilus_messages::frame::Frames;
use proptest::prelude::*;
use tape::{
    MINUTE, Prices, START, Tape, UNIT, busy, engine_of, feed, newest, only, past, picture, published,
    registry, with_formula,
};
use xxhash_rust::xxh3::xxh3_64;

const SYMBOLS: [&str; 3] = ["AAA", "BBB", "CCC"];

/// Few definitions, of every kind.
fn few() -> Arc<Registry> {
    static FEW: OnceLock<Arc<Registry>> = OnceLock::new();
    let bars =
        ["return_5", "volatility_20", "rank_return_1", "sector_percentile_return_1", "spread_at_close_5"];
    let events = ["mid", "ofi_10", "kyle_trades_100", "depth_imbalance_5"];
    Arc::clone(FEW.get_or_init(|| only(&[&bars[..], &events].concat())))
}

fn small() -> FeaturesEngine {
    engine_of(few(), Config::default())
}

/// In the middle of a cut.
fn mid_cut() -> (FeaturesEngine, Tape) {
    let mut tape = busy(7, &SYMBOLS, 6);
    let mut engine = small();
    feed(&mut engine, &tape.take());
    tape.bar(1, START + 7 * MINUTE, Prices::flat(50 * UNIT, UNIT));
    tape.quote(1, START + 7 * MINUTE + 1, Some((40 * UNIT, UNIT)), Some((41 * UNIT, UNIT)));
    feed(&mut engine, &tape.take());
    (engine, tape)
}

/// What comes next, whatever came before.
fn next_frames(mut tape: Tape) -> Vec<u8> {
    tape.take();
    for minute in 7..11 {
        for id in 1..4u32 {
            let ts = START + minute * MINUTE;
            tape.quote(id, ts - 2_000, Some((50 * UNIT, UNIT)), Some((51 * UNIT, UNIT)));
            tape.trade(id, ts - 1_000, 50 * UNIT + i64::from(id), UNIT, None);
            tape.bar(id, ts, Prices::flat((50 + i64::from(id)) * UNIT, UNIT));
        }
    }
    tape.start_over(2, "BBB").trade(2, START, UNIT, UNIT, None).define(9, "NEW").bar(
        9,
        START + 11 * MINUTE,
        Prices::flat(UNIT, UNIT),
    );
    tape.bytes
}

#[test]
fn a_state_taken_in_the_middle_of_a_cut_keeps_the_bars_that_wait() {
    let (mut engine, tape) = mid_cut();
    let mut restored = small();
    restored.restore(&engine.snapshot()).unwrap();
    assert_eq!(restored.digest(), engine.digest());
    let rest = next_frames(tape);
    assert!(feed(&mut restored, &rest) == feed(&mut engine, &rest));
    assert_eq!(restored.digest(), engine.digest());
    let (restored, engine) = (picture(&mut restored), picture(&mut engine));
    assert_eq!(restored.figures, engine.figures);
    for text in SYMBOLS {
        assert_eq!(newest(&restored, text), newest(&engine, text));
        assert_eq!(past(&restored, text), past(&engine, text));
    }
}

#[test]
fn bytes_that_are_no_state_are_refused_and_change_nothing() {
    let (mut engine, tape) = mid_cut();
    let (snapshot, digest) = (engine.snapshot(), engine.digest());
    for (bad, says) in [
        (vec![], "empty"),
        (vec![9], "version"),
        ([&[99], &snapshot[1..]].concat(), "version is 99"),
        (snapshot[..1].to_vec(), "damaged"),
        (snapshot[..snapshot.len() - 1].to_vec(), "damaged"),
        (snapshot[..snapshot.len() / 2].to_vec(), "damaged"),
        ([&snapshot[..], &[0]].concat(), "damaged"),
        (sealed(&snapshot[..snapshot.len() - 16]), "cut short"),
        (sealed(&[&snapshot[..snapshot.len() - 8], &[0; 8]].concat()), "8 bytes are left over"),
    ] {
        let error = engine.restore(&bad).unwrap_err().to_string();
        assert!(error.contains("cannot be restored") && error.contains(says), "{says}: {error}");
        assert_eq!(engine.digest(), digest, "{says}");
    }
    let mut others = [
        (engine_of(only(&["return_5"]), Config::default()), "definitions have changed"),
        (engine_of_bar("5m"), "1m bars, now they are 5m"),
        (engine_of_instruments(2), "contradicts itself"),
    ];
    for (other, says) in &mut others {
        let before = other.digest();
        let error = other.restore(&snapshot).unwrap_err().to_string();
        assert!(error.contains(*says), "{says}: {error}");
        assert_eq!(other.digest(), before);
    }
    // It goes on as if nothing had been tried.
    feed(&mut engine, &next_frames(tape));
    assert!(published(&mut engine).is_some());
}

fn engine_of_bar(bar: &str) -> FeaturesEngine {
    engine_of(few(), Config { bar: bar.parse().unwrap(), ..Config::default() })
}

fn engine_of_instruments(instruments_max: usize) -> FeaturesEngine {
    engine_of(few(), Config { instruments_max, ..Config::default() })
}

/// Bytes under a checksum that fits.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &xxh3_64(bytes).to_le_bytes()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_seen(at in any::<proptest::sample::Index>(), bit in 0..8u32) {
        let (engine, _) = STATE.with(Clone::clone);
        let mut bytes = engine;
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(small().restore(&bytes).is_err());
    }

    /// A checksum that fits says nothing of what is under it: whatever is believed, nothing ever panics.
    #[test]
    fn whatever_is_believed_never_stops_the_engine(
        at in any::<proptest::sample::Index>(),
        head in any::<bool>(),
        with in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let (mut bytes, rest) = STATE.with(Clone::clone);
        bytes.truncate(bytes.len() - 8);
        // What is counted and named stands at the beginning.
        let at = at.index(if head { bytes.len() / 8 } else { bytes.len() } - with.len()).max(1);
        bytes[at..at + with.len()].copy_from_slice(&with);
        let mut engine = small();
        if engine.restore(&sealed(&bytes)).is_ok() {
            let again = engine.snapshot();
            published(&mut engine);
            feed(&mut engine, &rest);
            published(&mut engine);
            let mut restored = small();
            prop_assert!(restored.restore(&again).is_ok(), "what was believed is believed again");
            let became = small().restore(&engine.snapshot());
            prop_assert!(became.is_ok(), "and what came of it: {became:?}");
        }
    }
}

thread_local! {
    /// A state, and what comes behind it.
    static STATE: (Vec<u8>, Vec<u8>) = {
        let (engine, tape) = mid_cut();
        (engine.snapshot(), next_frames(tape))
    };
}

#[test]
fn a_total_that_overflows_is_undefined_and_a_state_like_any_other() {
    let registry = with_formula("endless", "total(pow(close, 100))");
    let mut tape = Tape::default();
    tape.define(1, "AAA");
    for minute in 1..2_500u64 {
        // 1250 to the power of 100 is 5e309.
        tape.bar(
            1,
            START + minute * MINUTE,
            Prices::flat(if minute < 2_000 { 1_200 } else { 1_207 } * UNIT, UNIT),
        );
    }
    let create = || engine_of(Arc::clone(&registry), Config::default());
    let outcome = run(create, &tape.bytes, Plan { batch: 100, restart_every: Some(499) }).unwrap();
    assert_eq!(outcome, run(create, &tape.bytes, Plan { batch: 7, restart_every: None }).unwrap());
    let mut engine = create();
    feed(&mut engine, &tape.bytes);
    let picture = picture(&mut engine);
    let vector = picture.vector(0);
    assert_eq!(vector.value(0), None);
    assert!(vector.absence(0).to_string().contains("leaves its range"), "{}", vector.absence(0));
}

// Bounds

#[test]
fn history_stays_within_its_bytes() {
    let history_bytes = 1 << 20;
    let config = Config { history_bytes, ..Config::default() };
    let mut tape = Tape::default();
    tape.define(1, "AAA").define(2, "BBB").define(3, "CCC");
    let mut engine = engine_of(registry(), config.clone());
    feed(&mut engine, &tape.take());
    let mut last = None;
    for minute in 1..600u64 {
        // One after the other falls silent.
        for id in (1..4).filter(|id| u64::from(*id) * 3 > minute || *id == 3) {
            let price = UNIT * (100 + (minute as i64 * i64::from(id)) % 7);
            tape.bar(id, START + minute * MINUTE, Prices::flat(price, UNIT));
        }
        feed(&mut engine, &tape.take());
        let figures = picture(&mut engine).figures;
        assert!(figures.history_bytes <= history_bytes, "{figures:?}");
        last = Some(figures);
    }
    let figures = last.unwrap();
    assert!(figures.history_cuts > 10 && figures.history_cuts < 590, "{figures:?}");
    // Whoever fell silent is still seen, and so across a restart.
    let mut restored = engine_of(registry(), config);
    restored.restore(&engine.snapshot()).unwrap();
    assert_eq!(restored.snapshot(), engine.snapshot());
    let restored = picture(&mut restored);
    assert_eq!(restored.figures.history_bytes, figures.history_bytes);
    for (text, bars) in [("AAA", 2), ("BBB", 5)] {
        let place = restored.find(tape::symbol(text)).unwrap();
        assert_eq!(past(&restored, text), []);
        assert_eq!(restored.vector(place).ts_close.map(|ts| ts.0), Some(START + bars * MINUTE), "{text}");
        assert!(newest(&restored, text).iter().any(Option::is_some));
    }
    assert_eq!(past(&restored, "CCC").len(), figures.history_cuts);
}

#[test]
fn a_state_of_a_longer_history_is_cut_to_the_shorter() {
    let mut long = engine_of(registry(), Config::default());
    feed(&mut long, &busy(3, &SYMBOLS, 150).bytes);
    let short = Config { history_bytes: 1 << 20, ..Config::default() };
    let mut restored = engine_of(registry(), short);
    restored.restore(&long.snapshot()).unwrap();
    let (short, long) = (picture(&mut restored), picture(&mut long));
    assert!(long.figures.history_bytes > 1 << 20 && short.figures.history_bytes <= 1 << 20);
    for text in SYMBOLS {
        assert_eq!(newest(&short, text), newest(&long, text));
        let (short, long) = (past(&short, text), past(&long, text));
        assert_eq!(short[..], long[long.len() - short.len()..]);
    }
}

#[test]
fn there_are_so_many_instruments_and_no_more() {
    let mut engine =
        engine_of(only(&["return_1", "mid"]), Config { instruments_max: 2, ..Config::default() });
    let bytes = busy(9, &SYMBOLS, 5).bytes;
    let effects = feed(&mut engine, &bytes);
    assert!(effects.snapshots.is_empty(), "nothing is asked for that could not be taken in");
    let pictured = picture(&mut engine);
    let known: Vec<&str> = pictured.instruments.iter().map(|instrument| instrument.symbol.as_str()).collect();
    assert_eq!((known, pictured.figures.instruments), (SYMBOLS[..2].to_vec(), 2));
    // The state of the third is nowhere.
    let mut without =
        engine_of(only(&["return_1", "mid"]), Config { instruments_max: 2, ..Config::default() });
    let others: Vec<u8> = Frames::new(&bytes)
        .map(Result::unwrap)
        .filter(|frame| frame.header().instrument.get() < 3)
        .flat_map(|frame| frame.as_bytes().to_vec())
        .collect();
    feed(&mut without, &others);
    assert_eq!(picture(&mut without).figures.state_bytes, pictured.figures.state_bytes);
}

#[test]
fn figures_say_what_there_is() {
    let mut engine = small();
    let empty = picture(&mut engine).figures;
    assert_eq!(
        (empty.instruments, empty.values, empty.history_bytes, empty.cuts, empty.events),
        (0, 0, 0, 0, 0)
    );
    let bytes = busy(13, &SYMBOLS, 10).bytes;
    feed(&mut engine, &bytes);
    let figures = picture(&mut engine).figures;
    assert_eq!(figures.values, figures.features * 3);
    let events = Frames::new(&bytes).map(Result::unwrap).filter(|frame| {
        matches!(
            frame,
            nautilus_messages::frame::FrameRef::Trade(_) | nautilus_messages::frame::FrameRef::Quote(_)
        )
    });
    assert_eq!(figures.events, events.count() as u64);
    assert!(figures.state_bytes > empty.state_bytes && figures.history_bytes > 0);
    assert_eq!(figures.history_cuts as u64, figures.cuts);
}

// Fundamentals

const SECTORS: &str = "symbol,known_from,sector\nAAA,0,Energy\nBBB,0,Banks\nCCC,0,Energy\n";
/// The same and more, so that sectors have other numbers.
const MORE_SECTORS: &str = "symbol,known_from,sector\nZZZ,0,Banks\nAAA,0,Energy\nBBB,0,Banks\nCCC,0,Energy\n";

fn with_table(text: &str) -> FeaturesEngine {
    let table = Arc::new(Fundamentals::parse(text).unwrap());
    FeaturesEngine::new(Config::default(), BookLimits::default(), few(), table, []).unwrap()
}

#[test]
fn sectors_are_those_of_the_table_at_hand() {
    let mut tape = Tape::default();
    tape.define(1, "AAA").define(2, "BBB").define(3, "CCC");
    let prices = |minute: u64, id: u32| Prices::flat(UNIT * (100 + (minute as i64) * i64::from(id)), UNIT);
    for minute in 1..5 {
        for id in 1..4 {
            tape.bar(id, START + minute * MINUTE, prices(minute, id));
        }
    }
    let mut engine = with_table(SECTORS);
    feed(&mut engine, &tape.take());
    // At the next close the first comes alone, and is compared with the third by what that was before.
    tape.bar(1, START + 5 * MINUTE, prices(5, 1)).quote(1, START + 6 * MINUTE - 1, None, None);
    let rest = tape.take();
    let place = "sector_percentile_return_1";
    for table in [SECTORS, MORE_SECTORS] {
        let mut restored = with_table(table);
        restored.restore(&engine.snapshot()).unwrap();
        feed(&mut restored, &rest);
        let picture = picture(&mut restored);
        assert_eq!(tape::value(&picture, "AAA", place), Some(0.0));
        assert_eq!(tape::value(&picture, "BBB", place), None, "alone in its sector");
        assert_eq!(tape::value(&picture, "CCC", place), Some(1.0));
    }
}
