//! Data that no market should send: whatever comes, a value is a finite number or absent with a reason that fits.
//!
//! Which finite number is asked elsewhere.

mod tape;

use std::collections::BTreeMap;

use nautilus_engine_features::{
    Absence, CalculateRequest, Clock, Config, FeaturesEngine, Publish, Registry, Series, Snapshot, Values,
    Vector, Wanted, calculate,
};
use nautilus_messages::EngineName;
use nautilus_messages::mesh::{Body, Message, MessageId, Priority};
use nautilus_types::{Side, UnixNanos};
use proptest::prelude::*;
use tape::{
    MINUTE, Prices, SECOND, START, Tape, UNIT, engine_of, feed, name, picture, registry, set, symbol, value,
    vectors,
};

const SYMBOLS: [&str; 3] = ["AAA", "BBB", "CCC"];

/// An engine that sends every feature at every bar.
fn engine() -> FeaturesEngine {
    let mut engine = engine_of(registry(), Config::default());
    let all = registry();
    let ids: Vec<&str> = all.definitions().iter().map(|definition| definition.id.as_str()).collect();
    let set = set(&ids, Publish::Bar);
    tape::command(&mut engine, nautilus_engine_features::Command::PutSet { name: name("all"), set });
    engine
}

fn assert_fits(registry: &Registry, feature: usize, absence: &Absence, bars: Option<u64>) {
    let definition = &registry.definitions()[feature];
    match absence {
        Absence::WarmingUp { have, need } => {
            assert!(have < need && *need == definition.warm_up as u64 + 1, "{}: {absence}", definition.id);
            let counted = bars.filter(|_| definition.clock == Clock::BAR);
            assert!(counted.is_none_or(|bars| bars == *have), "{}: {absence}, {bars:?}", definition.id);
        }
        Absence::NoInput { input } => {
            assert!(definition.inputs.contains(input), "{}: {absence}", definition.id);
        }
        Absence::Undefined { detail } => assert!(detail.len() > 10, "{}: '{detail}'", definition.id),
    }
}

fn assert_sound(registry: &Registry, vector: &Vector<'_>, bars: Option<u64>) {
    for feature in 0..registry.definitions().len() {
        match vector.value(feature) {
            Some(value) => assert!(value.is_finite(), "{}: {value}", registry.definitions()[feature].id),
            None => assert_fits(registry, feature, &vector.absence(feature), bars),
        }
    }
}

/// Everything that readers can see.
fn assert_all_sound(picture: &Snapshot) {
    for place in 0..picture.instruments.len() {
        assert_sound(&picture.registry, &picture.vector(place), None);
        let closes = picture.history(place, UnixNanos(0), UnixNanos(u64::MAX));
        for (bars, vector) in (1..).zip(closes) {
            assert_sound(&picture.registry, &vector, Some(bars));
        }
    }
}

/// Feeds a tape and looks at everything that leaves the engine.
fn fed(tape: &Tape) -> Snapshot {
    let mut engine = engine();
    let effects = feed(&mut engine, &tape.bytes);
    for vector in vectors(&effects) {
        let id = MessageId { producer: EngineName::Features, epoch: 1, sequence: 1 };
        let body = Body::FeatureVector(vector);
        let message = Message { id, ts: UnixNanos(1), correlation_id: 0, priority: Priority::Normal, body };
        message.encode(&mut Vec::new()).expect("nothing but finite numbers");
    }
    let picture = picture(&mut engine);
    assert_all_sound(&picture);
    picture
}

fn defined() -> Tape {
    let mut tape = Tape::default();
    for (id, text) in (1..).zip(SYMBOLS) {
        tape.define(id, text);
    }
    tape
}

/// One bar after the other for all instruments.
fn bars(of: impl Fn(u64, u32) -> Option<Prices>, minutes: u64) -> Tape {
    let mut tape = defined();
    for minute in 1..=minutes {
        for id in 1..4 {
            if let Some(prices) = of(minute, id) {
                tape.bar(id, START + minute * MINUTE, prices);
            }
        }
    }
    tape.quote(1, START + (minutes + 1) * MINUTE, None, None);
    tape
}

/// A walk that goes up and down.
fn walk(minute: u64, id: u32) -> Prices {
    let at = |minute: u64| (100 + (minute * u64::from(id) * 7 % 13) as i64) * UNIT;
    Prices::moving(at(minute - 1), at(minute), (1 + minute as i64 % 5) * UNIT)
}

fn absence(picture: &Snapshot, text: &str, id: &str) -> Absence {
    picture.vector(picture.find(symbol(text)).unwrap()).absence(picture.registry.find(id).unwrap())
}

#[test]
fn absent_values_say_why() {
    let picture = fed(&bars(|minute, id| (id < 3).then(|| walk(minute, id)), 10));
    let warming = |have, need| Absence::WarmingUp { have, need };
    let no_input = |input| Absence::NoInput { input };
    for (text, id, reason) in [
        ("AAA", "volatility_20", warming(10, 21)),
        ("AAA", "return_20", warming(10, 21)),
        ("AAA", "rank_return_20", warming(10, 21)),
        ("AAA", "price_rank_20", warming(10, 20)),
        ("AAA", "spread_bps", no_input("bid")),
        ("AAA", "spread_at_close_5", no_input("bid")),
        ("AAA", "trade_rate_1", warming(0, 1)),
        ("AAA", "earnings_yield", no_input("shares")),
        ("BBB", "depth_imbalance_5", warming(0, 1)),
        ("CCC", "return_1", warming(0, 2)),
        ("CCC", "trade_rate_1", warming(0, 1)),
    ] {
        let Some(_) = picture.registry.find(id) else { continue };
        assert_eq!(value(&picture, text, id), None, "{id} of {text}");
        assert_eq!(absence(&picture, text, id), reason, "{id} of {text}");
    }
    let sector = absence(&picture, "AAA", "sector_percentile_return_1");
    assert_eq!(sector.to_string(), "the sector is not known or has nobody to compare with");
}

#[test]
fn missing_bars_and_bars_without_volume_leave_holes_only_where_they_matter() {
    for minutes in [40, 300] {
        fed(&bars(|minute, id| (minute % u64::from(id + 1) > 0).then(|| walk(minute, id)), minutes));
    }
    let picture = fed(&bars(|minute, id| Some(Prices { volume: 0, ..walk(minute, id) }), 80));
    assert!(value(&picture, "AAA", "volatility_20").is_some());
    assert_eq!(value(&picture, "AAA", "volume_ratio_20"), None);
}

#[test]
fn constant_prices_have_no_moments_and_no_noise() {
    let picture = fed(&bars(|_, id| Some(Prices::flat(i64::from(id) * 33_330_000_000, 5 * UNIT)), 300));
    assert_eq!(value(&picture, "AAA", "volatility_20"), Some(0.0));
    assert_eq!(value(&picture, "AAA", "return_20"), Some(0.0));
    assert_eq!(value(&picture, "AAA", "zscore_20"), None);
    assert!(matches!(absence(&picture, "AAA", "zscore_20"), Absence::Undefined { .. }));
}

#[test]
fn jumps_like_splits_and_prices_that_are_none_are_survived() {
    let at = |minute: u64, price: i64| if minute == 150 { price } else { 100 * UNIT };
    for price in [1, 10 * UNIT, 0, -5 * UNIT, 9_000_000 * UNIT, i64::MAX, i64::MIN + 1, i64::MIN] {
        fed(&bars(
            |minute, id| Some(Prices::flat(at(minute, price).saturating_add(i64::from(id - 1)), UNIT)),
            170,
        ));
    }
    fed(&bars(|minute, _| Some(Prices::flat(0, minute as i64 % 2)), 80));
    fed(&bars(|minute, id| Some(Prices::flat(-i64::from(id) * UNIT - minute as i64, UNIT)), 80));
}

#[test]
fn quotes_of_one_side_or_crossed_have_no_spread() {
    let (bid, ask) = (Some((10 * UNIT, 3 * UNIT)), Some((12 * UNIT, UNIT)));
    let wrong_way_round = (Some((12 * UNIT, UNIT)), Some((10 * UNIT, UNIT)));
    let locked = (bid, Some((10 * UNIT, UNIT)));
    for (words, (bid, ask), missing) in [
        ("no bid", (None, ask), Some("bid")),
        ("no ask", (bid, None), Some("ask")),
        ("neither", (None, None), Some("bid")),
        ("crossed", wrong_way_round, Some("bid")),
        ("locked", locked, Some("bid")),
        ("orderly", (bid, ask), None),
    ] {
        let mut tape = defined();
        tape.quote(1, START, Some((9 * UNIT, UNIT)), Some((11 * UNIT, UNIT)));
        tape.quote(1, START + SECOND, bid, ask);
        let picture = fed(&tape);
        for id in ["mid", "spread_bps", "microprice", "quote_imbalance"] {
            assert_eq!(value(&picture, "AAA", id).is_none(), missing.is_some(), "{id}: {words}");
            if let Some(input) = missing
                && id != "quote_imbalance"
            {
                assert_eq!(absence(&picture, "AAA", id), Absence::NoInput { input }, "{id}: {words}");
            }
        }
        assert!(value(&picture, "AAA", "quote_rate_1").is_some(), "it is a quote all the same: {words}");
    }
    // Quantities of nothing at prices of nothing.
    let mut tape = defined();
    tape.quote(1, START, Some((-UNIT, 0)), Some((UNIT, 0))).trade(1, START, 0, 1, Some(Side::Buy));
    let picture = fed(&tape);
    assert_eq!(value(&picture, "AAA", "mid"), Some(0.0));
    assert!(["spread_bps", "microprice"].iter().all(|id| value(&picture, "AAA", id).is_none()));
}

/// One thing that may happen.
#[derive(Debug, Clone)]
enum Event {
    Bar(Prices),
    Quote(Option<(i64, i64)>, Option<(i64, i64)>),
    Trade(i64, i64, Option<Side>),
    Wait(u64),
}

fn price() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => (90_000i64..110_000).prop_map(|cents| cents * 10_000_000),
        2 => Just(100 * UNIT),
        1 => Just(0),
        1 => -200 * UNIT..0,
        1 => Just(50 * UNIT),
        1 => any::<i64>(),
    ]
}

fn size() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 1..1_000 * UNIT, 2 => Just(0), 1 => Just(UNIT), 1 => any::<i64>()]
}

fn event() -> impl Strategy<Value = (u32, Event)> {
    let bar = (price(), price(), price(), price(), size(), any::<bool>()).prop_map(
        |(open, high, low, close, volume, orderly)| {
            let most = open.max(high).max(low).max(close);
            let least = open.min(high).min(low).min(close);
            let (high, low) = if orderly { (most, least) } else { (high, low) };
            Event::Bar(Prices { open, high, low, close, volume })
        },
    );
    let side = || prop::option::weighted(0.9, (price(), size()));
    let sides = prop_oneof![Just(Some(Side::Buy)), Just(Some(Side::Sell)), Just(None)];
    let event = prop_oneof![
        6 => bar,
        3 => (side(), side()).prop_map(|(bid, ask)| Event::Quote(bid, ask)),
        3 => (price(), size(), sides).prop_map(|(price, size, side)| Event::Trade(price, size, side)),
        3 => (0..3 * MINUTE).prop_map(Event::Wait),
    ];
    (1..4u32, event)
}

fn recorded(events: &[(u32, Event)]) -> Tape {
    let (mut tape, mut now) = (defined(), START);
    let mut minutes = [START; 4];
    for (id, event) in events {
        match event {
            Event::Bar(prices) => {
                minutes[*id as usize] += MINUTE;
                tape.bar(*id, minutes[*id as usize], *prices);
            }
            Event::Quote(bid, ask) => drop(tape.quote(*id, now, *bid, *ask)),
            Event::Trade(price, size, side) => drop(tape.trade(*id, now, *price, *size, *side)),
            Event::Wait(time) => now += time,
        }
    }
    tape
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_values_are_finite_or_absent_with_a_reason(
        events in prop::collection::vec(event(), 20..160)
    ) {
        fed(&recorded(&events));
    }

    #[test]
    fn whatever_is_asked_for_is_finite_or_absent_with_a_reason(
        close in prop::collection::vec(number(), 1..60),
        volume in prop::option::of(prop::collection::vec(number().prop_map(f64::abs), 60)),
        other in prop::collection::vec(number(), 1..40),
    ) {
        let volume = volume.map(|volume| volume[..close.len()].to_vec());
        let series = BTreeMap::from([
            ("A".to_owned(), Series { close, volume, ..Series::default() }),
            ("B".to_owned(), Series { close: other, ..Series::default() }),
        ]);
        let registry = registry();
        let features: Vec<String> = registry.definitions().iter().map(|d| d.id.clone()).collect();
        let request = CalculateRequest { series, features, output: Wanted::Last };
        let answer = calculate(&registry, &request).unwrap();
        for (symbol, values) in &answer.features {
            for (id, value) in values {
                let Values::Last(value) = value else { panic!("the last was asked for") };
                prop_assert!(value.is_finite(), "{id} of {symbol}: {value}");
            }
            for (place, definition) in registry.definitions().iter().enumerate() {
                let absent = answer.absent.get(symbol).and_then(|absent| absent.get(&definition.id));
                prop_assert_eq!(absent.is_none(), values.contains_key(&definition.id), "{}", definition.id);
                if let Some(absence) = absent {
                    assert_fits(&registry, place, absence, Some(answer.bars[symbol] as u64));
                }
            }
        }
    }
}

/// A number as a request may hold it.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 50.0..200.0f64,
        2 => Just(100.0),
        1 => Just(0.0),
        1 => -50.0..0.0f64,
        1 => Just(f64::MIN_POSITIVE),
        1 => Just(f64::MAX),
        1 => any::<f64>().prop_map(|x| if x.is_finite() { x } else { 1.0 }),
    ]
}
