//! The live engine, fed as the star feeds it: equal in any batch, across any restart and in any order of instruments.
//!
//! What values are right is asked elsewhere; here they have to be the same.

mod tape;

use nautilus_engine::Engine as _;
use nautilus_engine::replay::{Plan, run};
use nautilus_engine_features::{
    AsOf, Clock, Command, FeatureSet, FeaturesEngine, Publish, SET_FEATURES_MAX, SETS_MAX, Snapshot,
};
use nautilus_messages::EngineName;
use nautilus_messages::frame::Frames;
use nautilus_messages::record::{Record, Setting};
use nautilus_types::{Side, UnixNanos};
use tape::{
    MINUTE, Prices, SECOND, START, Tape, UNIT, busy, command, engine, engine_with, feed, name, newest, past,
    picture, published, registry, set, symbol, value, vectors,
};

const SYMBOLS: [&str; 4] = ["AAA", "BBB", "CCC", "DDD"];

/// One set at each bar, one at each event as well.
fn sets() -> Vec<(&'static str, FeatureSet)> {
    vec![
        ("bars", set(&["return_1", "rank_return_1", "mid"], Publish::Bar)),
        ("events", set(&["ofi_10", "mid", "kyle_trades_100", "return_5"], Publish::Event)),
    ]
}

#[test]
fn batches_and_restarts_change_nothing() {
    let tape = busy(3, &SYMBOLS, 12).bytes;
    let create = || engine_with(&sets());
    let reference = run(create, &tape, Plan { batch: 1, restart_every: None }).unwrap();
    assert!(reference.effects.mesh.len() > 1_000);
    for (batch, restart_every) in [(7, None), (1_000, None), (100_000, None), (64, Some(7)), (13, Some(501))]
    {
        let outcome = run(create, &tape, Plan { batch, restart_every }).unwrap();
        assert!(outcome == reference, "batches of {batch}, restarts every {restart_every:?}");
    }
    let start = busy(5, &SYMBOLS, 3).bytes;
    let start: Vec<u8> =
        Frames::new(&start).take(400).flat_map(|frame| frame.unwrap().as_bytes().to_vec()).collect();
    let reference = run(create, &start, Plan { batch: 1_000, restart_every: None }).unwrap();
    assert!(run(create, &start, Plan { batch: 1, restart_every: Some(1) }).unwrap() == reference);
}

/// The same frames, instrument by instrument within each `span`, in another order of instruments.
fn interleaved(tape: &[u8], span: u64, order: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut frames: Vec<_> = Frames::new(tape).map(Result::unwrap).collect();
    frames.sort_by_key(|frame| {
        let header = frame.header();
        // A bar closes with the trades and quotes before it.
        let instant = header.ts_event().0.saturating_sub(1) / span;
        (instant, order(header.instrument.get()))
    });
    frames.iter().flat_map(|frame| frame.as_bytes().to_vec()).collect()
}

#[test]
fn the_order_of_instruments_makes_no_difference() {
    let tape = busy(11, &SYMBOLS, 90).bytes;
    let run = |bytes: &[u8]| {
        let mut engine = engine();
        feed(&mut engine, bytes);
        picture(&mut engine)
    };
    let reference = run(&tape);
    for (words, bytes) in [
        ("backwards at each instant", interleaved(&tape, 1, |id| 9 - id)),
        ("shuffled at each instant", interleaved(&tape, 1, |id| id * 7 % 5)),
        ("instrument by instrument within a minute", interleaved(&tape, MINUTE, |id| id)),
        ("the other way round within a minute", interleaved(&tape, MINUTE, |id| 9 - id)),
    ] {
        let other = run(&bytes);
        for text in SYMBOLS {
            assert_same_past(&reference, &other, text, words);
        }
    }
}

fn assert_same_past(one: &Snapshot, other: &Snapshot, text: &str, words: &str) {
    let (one, other, definitions) = (past(one, text), past(other, text), registry());
    assert_eq!(one.len(), other.len(), "{text} {words}");
    for ((ts, left), (other_ts, right)) in one.iter().zip(&other) {
        assert_eq!(ts, other_ts, "{text} {words}");
        for ((definition, left), right) in definitions.definitions().iter().zip(left).zip(right) {
            let show = |bits: &Option<u64>| bits.map(f64::from_bits);
            assert_eq!(left, right, "{} of {text} {words}: {:?}", definition.id, (show(left), show(right)));
        }
    }
}

/// Whether a feature of one instrument says anything of others.
fn compares(id: &str) -> bool {
    fn within(id: &str, depth: usize) -> bool {
        let all = registry();
        let formula = &all.definitions()[all.find(id).expect(id)].formula;
        let names = formula.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty());
        names.into_iter().any(|name| {
            ["universe_", "sector_", "pca_", "market_ret"].iter().any(|start| name.starts_with(start))
                || depth < 5 && all.find(name).is_some() && within(name, depth + 1)
        })
    }
    within(id, 0)
}

/// Bars wait for each other; what happens meanwhile does not change what they saw.
#[test]
fn a_bar_that_waits_sees_nothing_that_came_after_it() {
    let quote = |tape: &mut Tape, ts: u64, bid: i64| {
        tape.quote(1, ts, Some((bid * UNIT, 2 * UNIT)), Some(((bid + 1) * UNIT, UNIT)));
    };
    let mut tape = Tape::default();
    tape.define(1, "AAA").define(2, "BBB");
    for minute in 1..4 {
        quote(&mut tape, START + minute * MINUTE - SECOND, 10 * minute as i64);
        tape.bar(1, START + minute * MINUTE, Prices::flat(10 * UNIT, UNIT));
        quote(&mut tape, START + minute * MINUTE + 1, 10 * minute as i64 + 5);
        tape.trade(1, START + minute * MINUTE + 2, UNIT, UNIT, None);
        tape.bar(2, START + minute * MINUTE, Prices::flat(10 * UNIT, UNIT));
    }
    let mut engine = engine();
    feed(&mut engine, &tape.bytes);
    let picture = picture(&mut engine);
    let place = picture.find(symbol("AAA")).unwrap();
    let of =
        |vector: &nautilus_engine_features::Vector<'_>, id| vector.value(picture.registry.find(id).unwrap());
    let closes: Vec<_> = picture.history(place, UnixNanos(0), UnixNanos(u64::MAX)).collect();
    let mids: Vec<_> = closes.iter().map(|vector| of(vector, "mid")).collect();
    assert_eq!(mids, [Some(10.5), Some(20.5), Some(30.5)]);
    let rates: Vec<_> = closes.iter().map(|vector| of(vector, "trade_rate_1").is_some()).collect();
    assert_eq!(rates, [false, true, true], "there was no trade before the first close");
    assert_eq!(of(&picture.vector(place), "mid"), Some(35.5), "and now it is later");
    assert!(of(&picture.vector(place), "trade_rate_1").is_some());
}

#[test]
fn an_instrument_added_later_changes_nothing_of_the_others_own() {
    let without = busy(21, &SYMBOLS[..3], 40).bytes;
    // The newcomer's frames among the others', by time; its bars come before theirs.
    let mut newcomer = Tape::default();
    newcomer.define(9, "NEW");
    let mut price = 30 * UNIT;
    for minute in 20..40u64 {
        for second in (3..60).step_by(7) {
            let ts = START + minute * MINUTE + second * SECOND;
            price += 10_000_000;
            newcomer.quote(9, ts, Some((price, 3 * UNIT)), Some((price + 20_000_000, 5 * UNIT)));
            newcomer.trade(9, ts + 1, price, 2 * UNIT, Some(Side::Buy));
        }
        newcomer.bar(9, START + (minute + 1) * MINUTE, Prices::moving(price - UNIT, price, 40 * UNIT));
    }
    let mut both: Vec<_> =
        Frames::new(&newcomer.bytes).chain(Frames::new(&without)).map(Result::unwrap).collect();
    let joined = START + 20 * MINUTE;
    both.sort_by_key(|frame| match frame.header().ts_event().0 {
        0 if frame.header().instrument.get() == 9 => joined,
        ts => ts,
    });
    let both: Vec<u8> = both.iter().flat_map(|frame| frame.as_bytes().to_vec()).collect();
    let run = |bytes: &[u8]| {
        let mut engine = engine();
        feed(&mut engine, bytes);
        picture(&mut engine)
    };
    let (mixed, others, alone) = (run(&both), run(&without), run(&newcomer.bytes));
    let mut compared = 0;
    for (text, reference) in [("AAA", &others), ("BBB", &others), ("CCC", &others), ("NEW", &alone)] {
        let (mixed, reference) = (past(&mixed, text), past(reference, text));
        assert!(!mixed.is_empty());
        // The newest bar of the newcomer alone waits for market time.
        assert!(mixed.len() - reference.len() <= 1);
        for ((ts, left), (_, right)) in mixed.iter().zip(&reference) {
            for ((definition, left), right) in registry().definitions().iter().zip(left).zip(right) {
                if !compares(&definition.id) {
                    assert_eq!(left, right, "{} of {text} at {ts}", definition.id);
                } else {
                    compared += usize::from(text == "NEW" && left.is_some());
                    assert!(text != "NEW" || right.is_none(), "{}: alone, nobody compares", definition.id);
                }
            }
        }
    }
    assert!(compared > 100, "{compared}");
    // A return takes two bars, and so does its rank; there is someone to compare with from the first bar on.
    let rank = registry().find("rank_return_1").unwrap();
    let ranks: Vec<bool> = past(&mixed, "NEW").iter().map(|(_, bits)| bits[rank].is_some()).collect();
    assert_eq!(ranks[..3], [false, true, true]);
}

#[test]
fn a_session_replayed_again_counts_once() {
    let mut tape = busy(31, &SYMBOLS[..3], 30);
    let session = tape.take();
    let mut engine = engine();
    feed(&mut engine, &session);
    let once = picture(&mut engine);
    let mut bytes: Vec<u8> = Vec::new();
    for (id, text) in (1..).zip(&SYMBOLS[..3]) {
        tape.start_over(id, text);
    }
    bytes.extend(tape.take());
    // The hub's numbers go on, but no feature looks at them.
    let events = Frames::new(&session).map(Result::unwrap).skip(3);
    bytes.extend(events.flat_map(|frame| frame.as_bytes().to_vec()));
    let cuts = once.figures.cuts;
    for times in 1..4u64 {
        feed(&mut engine, &bytes);
        let again = picture(&mut engine);
        for text in &SYMBOLS[..3] {
            assert_eq!(newest(&again, text), newest(&once, text), "{text}");
            assert_same_past(&once, &again, text, "again");
        }
        // Cuts and events are counted on, everything else is as after one session.
        assert_eq!(again.figures.cuts, cuts * (times + 1) + times, "the cut in the making is closed");
        assert_eq!(again.figures.bars_refused, 0);
    }
}

#[test]
fn a_later_session_goes_on() {
    let whole = busy(41, &SYMBOLS[..2], 20).bytes;
    let frames: Vec<_> = Frames::new(&whole).map(Result::unwrap).collect();
    let cut = frames.len() / 2;
    let bytes = |frames: &[_]| -> Vec<u8> {
        frames
            .iter()
            .flat_map(|frame: &nautilus_messages::frame::FrameRef<'_>| frame.as_bytes().to_vec())
            .collect()
    };
    let mut reference = engine();
    feed(&mut reference, &whole);
    let mut parted = engine();
    feed(&mut parted, &bytes(&frames[..cut]));
    // Nothing waits at the break, so the same cuts are made.
    let mut starts = Tape::default();
    starts.start_over(1, "AAA").start_over(2, "BBB");
    feed(&mut parted, &starts.bytes);
    feed(&mut parted, &bytes(&frames[cut..]));
    let (reference, parted) = (picture(&mut reference), picture(&mut parted));
    for text in &SYMBOLS[..2] {
        assert_same_past(&reference, &parted, text, "in two sessions");
    }
}

#[test]
fn an_instrument_that_starts_over_shows_nothing_of_its_former_past_across_a_restart() {
    let mut tape = busy(51, &SYMBOLS[..2], 5);
    let mut engine = engine();
    feed(&mut engine, &tape.take());
    tape.start_over(1, "AAA").trade(1, START, 50 * UNIT, UNIT, None);
    feed(&mut engine, &tape.take());
    let mut restored = self::engine();
    restored.restore(&engine.snapshot()).unwrap();
    for engine in [&mut engine, &mut restored] {
        let picture = picture(engine);
        assert_eq!(past(&picture, "AAA"), []);
        let place = picture.find(symbol("AAA")).unwrap();
        assert_eq!(picture.vector(place).bar_as_of(), None);
        assert_eq!(value(&picture, "AAA", "return_1"), None);
        assert!(past(&picture, "BBB").len() > 3);
    }
}

#[test]
fn losses_are_counted_and_forget_nothing() {
    let mut tape = busy(61, &SYMBOLS[..2], 5);
    let mut engine = engine();
    feed(&mut engine, &tape.take());
    let before = picture(&mut engine);
    feed(&mut engine, &tape.source_gap(1, 12).take());
    feed(&mut engine, tape::gap(nautilus_messages::frame::GapCause::Overrun, 5).to_bytes());
    let after = picture(&mut engine);
    assert_eq!((after.instruments[0].lost, after.instruments[1].lost), (12, 0));
    assert_eq!(after.figures.lost_on_star, 5);
    for text in &SYMBOLS[..2] {
        assert_eq!(newest(&before, text), newest(&after, text));
    }
}

// Sets

#[test]
fn vectors_hold_what_readers_see() {
    let sets = sets();
    let mut engine = engine_with(&sets);
    let mut sent = [0; 2];
    for frame in Frames::new(&busy(71, &SYMBOLS, 8).bytes) {
        let frame = frame.unwrap();
        let effects = feed(&mut engine, frame.as_bytes());
        let Some(picture) = published(&mut engine) else { continue };
        for vector in vectors(&effects) {
            let (index, (_, set)) =
                sets.iter().enumerate().find(|(_, (text, _))| name(text) == vector.set).unwrap();
            sent[index] += 1;
            let place = picture.find(vector.instrument).unwrap();
            let (newest, closes) =
                (picture.vector(place), picture.history(place, UnixNanos(0), UnixNanos(u64::MAX)));
            // An event may have come behind the bar in the meantime.
            let of_event = newest.event_as_of().is_some_and(|as_of| as_of.sequence == vector.sequence);
            let seen = if of_event { newest } else { closes.last().unwrap() };
            let as_of = if of_event { seen.event_as_of() } else { seen.bar_as_of() };
            let values: Vec<_> =
                set.features.iter().map(|id| seen.value(picture.registry.find(id).unwrap())).collect();
            assert_eq!(&*vector.values, &values[..]);
            let told = AsOf { sequence: vector.sequence, ts_event_ns: vector.ts_event };
            assert_eq!(as_of, Some(told));
        }
    }
    let figures = picture_of(&mut engine).figures;
    // With its bars, each instrument's; with its events, both.
    assert_eq!(sent[1], sent[0] + figures.events);
    assert!(sent[0] > 20);
}

/// The picture, whether or not something changed.
fn picture_of(engine: &mut FeaturesEngine) -> Snapshot {
    command(engine, Command::PutSet { name: name("never"), set: set(&["mid"], Publish::Never) });
    picture(engine)
}

#[test]
fn sets_say_whose_vectors_are_sent_and_when() {
    let wanted = |publish, instruments: &[&str]| FeatureSet {
        instruments: instruments.iter().map(|text| symbol(text)).collect(),
        ..set(&["mid"], publish)
    };
    let mut engine = engine_with(&[
        ("all", wanted(Publish::Bar, &[])),
        ("none", wanted(Publish::Never, &[])),
        ("two", wanted(Publish::Bar, &["DDD", "BBB"])),
        ("events", wanted(Publish::Event, &["CCC"])),
        ("unknown", wanted(Publish::Event, &["ZZZ"])),
    ]);
    let sent = vectors(&feed(&mut engine, &busy(81, &SYMBOLS, 6).bytes));
    let of = |text: &str| -> Vec<String> {
        let mut of: Vec<String> =
            sent.iter().filter(|v| v.set == name(text)).map(|v| v.instrument.to_string()).collect();
        of.sort();
        of.dedup();
        of
    };
    assert_eq!(of("all"), SYMBOLS);
    assert_eq!(of("two"), ["BBB", "DDD"]);
    assert_eq!(of("events"), ["CCC"]);
    assert!(of("none").is_empty() && of("unknown").is_empty());
}

#[test]
fn sets_are_put_replaced_and_deleted() {
    let mut engine = engine();
    let put = |engine: &mut FeaturesEngine, text: &str, set: FeatureSet| {
        command(engine, Command::PutSet { name: name(text), set })
    };
    let first = set(&["return_1", "mid"], Publish::Bar);
    let effects = put(&mut engine, "mine", first.clone());
    let [Record::Setting(Setting { engine: of, key, value })] = &effects.records[..] else {
        panic!("{:?}", effects.records)
    };
    assert_eq!((of, key.as_str()), (&EngineName::Features, "mine"));
    assert_eq!(serde_json::from_str::<FeatureSet>(value).unwrap(), first);
    assert_eq!(picture(&mut engine).sets.get(&name("mine")), Some(&first));

    let second = set(&["mid", "return_1"], Publish::Never);
    put(&mut engine, "mine", second.clone());
    assert_eq!(picture(&mut engine).sets.get(&name("mine")), Some(&second));

    let effects = command(&mut engine, Command::DeleteSet { name: name("mine") });
    let setting = Setting { engine: EngineName::Features, key: "mine".to_owned(), value: String::new() };
    assert_eq!(effects.records, [Record::Setting(setting)]);
    assert!(picture(&mut engine).sets.is_empty());
}

#[test]
fn illegal_sets_are_refused_and_change_nothing() {
    let mut engine = engine();
    picture(&mut engine);
    let many: Vec<String> = (0..=SET_FEATURES_MAX).map(|_| "mid".to_owned()).collect();
    for (asked, code, says) in [
        (
            Command::PutSet { name: name("a"), set: set(&["mid", "nonsense"], Publish::Bar) },
            "unknown_feature",
            "nonsense",
        ),
        (Command::PutSet { name: name("a"), set: set(&[], Publish::Bar) }, "invalid_set", "has 0"),
        (
            Command::PutSet { name: name("a"), set: FeatureSet { features: many, ..FeatureSet::default() } },
            "invalid_set",
            "4097",
        ),
        (Command::DeleteSet { name: name("a") }, "unknown_set", "'a'"),
    ] {
        let effects = command(&mut engine, asked);
        assert!(effects.records.is_empty());
        let refusal = effects.refusal.expect(code);
        assert_eq!(refusal.code, code);
        assert!(refusal.detail.contains(says), "{}", refusal.detail);
    }
    assert!(published(&mut engine).is_none());
    for n in 0..SETS_MAX {
        let effects = command(&mut engine, put_mid(&format!("s{n}")));
        assert_eq!(effects.refusal, None);
    }
    let refusal = command(&mut engine, put_mid("more")).refusal.unwrap();
    assert_eq!(refusal.code, "too_many_sets");
    assert_eq!(command(&mut engine, put_mid("s0")).refusal, None, "one that is there can be replaced");
    assert_eq!(picture(&mut engine).sets.len(), SETS_MAX);
}

fn put_mid(text: &str) -> Command {
    Command::PutSet { name: name(text), set: set(&["mid"], Publish::Never) }
}

#[test]
fn a_vectors_definition_tells_other_columns_apart() {
    let mut engine = engine_with(&[
        ("a", set(&["mid", "spread"], Publish::Event)),
        ("b", set(&["spread", "mid"], Publish::Event)),
        ("c", set(&["mid", "spread"], Publish::Event)),
        ("d", set(&["mid"], Publish::Event)),
    ]);
    let mut tape = Tape::default();
    tape.define(1, "AAA").quote(1, START, Some((UNIT, UNIT)), Some((2 * UNIT, UNIT)));
    let sent = vectors(&feed(&mut engine, &tape.bytes));
    let definition = |text: &str| sent.iter().find(|v| v.set == name(text)).unwrap().definition;
    assert_eq!(definition("a"), definition("c"));
    assert!(definition("a") != definition("b") && definition("a") != definition("d"));
    let values = |text: &str| sent.iter().find(|v| v.set == name(text)).unwrap().values.to_vec();
    assert_eq!((values("a"), values("b")), (vec![Some(1.5), Some(1.0)], vec![Some(1.0), Some(1.5)]));
}

// Readers

#[test]
fn a_picture_that_was_handed_out_never_changes() {
    let bytes = busy(91, &SYMBOLS[..2], 20).bytes;
    let frames: Vec<_> = Frames::new(&bytes).map(Result::unwrap).collect();
    let mut engine = engine();
    let mut kept = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        feed(&mut engine, frame.as_bytes());
        if n % 101 == 100 {
            let picture = picture(&mut engine);
            let seen: Vec<_> =
                SYMBOLS[..2].iter().map(|text| (newest(&picture, text), past(&picture, text))).collect();
            kept.push((picture, seen));
        }
    }
    assert!(kept.len() > 4);
    for (picture, seen) in kept {
        let now: Vec<_> =
            SYMBOLS[..2].iter().map(|text| (newest(&picture, text), past(&picture, text))).collect();
        assert!(now == seen);
    }
}

#[test]
fn only_changes_are_published() {
    let mut engine = engine();
    assert!(published(&mut engine).is_some(), "what there is at the start");
    assert!(published(&mut engine).is_none());
    let mut tape = Tape::default();
    tape.define(1, "AAA");
    feed(&mut engine, &tape.take());
    assert!(published(&mut engine).is_some());
    tape.quote(1, START, Some((UNIT, UNIT)), Some((2 * UNIT, UNIT)));
    feed(&mut engine, &tape.take());
    assert!(published(&mut engine).is_some());
    assert!(published(&mut engine).is_none());
    // An instrument that nobody knows changes nothing.
    feed(&mut engine, &Tape::default().trade(77, START, UNIT, UNIT, None).take());
    assert!(published(&mut engine).is_none());
}

#[test]
fn features_of_events_are_of_the_newest_event_and_others_of_the_newest_bar() {
    let mut engine = engine();
    let mut tape = Tape::default();
    tape.define(1, "AAA").quote(1, START, Some((10 * UNIT, UNIT)), Some((11 * UNIT, UNIT)));
    tape.bar(1, START + MINUTE, Prices::flat(10 * UNIT, UNIT));
    tape.quote(1, START + 2 * MINUTE, Some((20 * UNIT, UNIT)), Some((21 * UNIT, UNIT)));
    feed(&mut engine, &tape.take());
    let picture = picture(&mut engine);
    assert_eq!(value(&picture, "AAA", "mid"), Some(20.5));
    let mid = picture.registry.find("mid").unwrap();
    assert_eq!(past(&picture, "AAA")[0].1[mid], Some(10.5f64.to_bits()), "as it was at the close");
    for place in &*picture.event_features {
        assert!(
            picture.registry.definitions()[*place as usize].clock.ticks_with(Clock::TRADE.and(Clock::QUOTE))
        );
    }
}
