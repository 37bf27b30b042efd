//! Bytes from disk: what is no snapshot and no fact is refused and changes nothing; and a replay is the same whatever its
//! batches and however often the engine was restarted.

mod desk;

use std::sync::LazyLock;

use desk::{Floor, MS, carry, desk as desk_of, limit, units, wide};
use nautilus_engine::{Effects, Engine as _, Input, Stamp, replay};
use nautilus_engine_risk::{Command, GivenCloses, Limits, RiskEngine, Scenarios, Settings, TradingState};
use nautilus_messages::frame::flags;
use nautilus_types::{NANOS_PER_DAY, Price, SCALE, UnixNanos, UtcDay};
use proptest::prelude::*;

fn settings() -> Settings {
    Settings { orders_remembered: 64, ..Settings::default() }
}

/// A desk where everything has happened once.
fn busy() -> Floor {
    let mut floor = Floor::with(settings());
    floor.limits("firm", wide());
    floor.limits(
        "main",
        Limits {
            gross: limit(units(50), units(60)),
            restricted: Some(vec!["YENS".parse().unwrap()]),
            ..wide()
        },
    );
    for quantity in 1..8 {
        let order = floor.accept(carry(), "ACME", quantity * SCALE);
        let fill = floor.fill(Some(order.order_id), carry(), "ACME", SCALE, SCALE + 7);
        floor.book(fill);
        floor.wait(700 * MS).price(1, SCALE + quantity);
    }
    floor.reject(carry(), "ACME", 100 * SCALE);
    floor.hold(desk_of("euro", "rates", "one"), "YENS", 3 * SCALE, 14_000 * SCALE);
    floor.hold(desk_of("later", "b", "s"), "ACME", SCALE, SCALE);
    floor.change("firm", nautilus_engine_risk::Change::Limits(Box::default()), "ann").unwrap();
    floor.turn("euro", TradingState::Reducing);
    floor
}

/// The same with scenarios of closes, over which forecasts differ by rounding after a restart.
fn measured() -> Floor {
    let mut floor = busy();
    let close = |day: u64| vec![Some(Price::from_nanos(SCALE + 7 * (day * 31 % 17) as i64)), None];
    let today = desk::START_NS / NANOS_PER_DAY;
    let closes = GivenCloses {
        instruments: vec!["ACME".parse().unwrap(), "BUND".parse().unwrap()],
        days: (today - 22..today).map(|day| (UtcDay(day), close(day))).collect(),
    };
    floor.tell(Command::Closes { closes, by: "ann".to_owned() }).unwrap();
    let window = floor.engine.new_closes(0).unwrap();
    let scenarios = Box::new(Scenarios::new(window.scenarios().unwrap()).unwrap());
    floor.tell(Command::Collected { scenarios, revision: window.revision() }).unwrap();
    floor
}

static SNAPSHOT: LazyLock<Vec<u8>> = LazyLock::new(|| measured().engine.snapshot());
static FACTS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| measured().facts.iter().map(|(_, fact)| fact.to_vec()).collect());

/// Whatever state an engine was talked into, it goes on without a panic.
fn goes_on(engine: RiskEngine) {
    let mut floor = Floor::bare(settings());
    floor.engine = engine;
    floor.wait(60 * MS);
    floor.define(1, "ACME", "USD", (1, 1, SCALE));
    floor.wait(1_000 * MS).price(1, SCALE);
    for quantity in [SCALE, -SCALE] {
        let request = floor.market(carry(), "ACME", quantity);
        floor.decide(request);
        let fill = floor.fill(Some(request.order_id), carry(), "ACME", quantity, SCALE);
        floor.book(fill);
    }
    floor.tell(Command::Tick).unwrap();
    floor.wait(86_400_000 * MS).price(1, 2 * SCALE);
    let views = (floor.engine.overview(), floor.engine.portfolio("main".parse().unwrap()));
    drop(views);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_no_snapshot_changes_nothing(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut broken = SNAPSHOT.clone();
        let at = at.index(broken.len());
        for (place, byte) in broken[at..].iter_mut().zip(&bytes) {
            *place = *byte;
        }
        if let Some(cut) = cut {
            broken.truncate(cut.index(broken.len()));
        }
        let mut engine = RiskEngine::new(settings());
        let before = engine.snapshot();
        match engine.restore(&broken) {
            Ok(()) => goes_on(engine),
            Err(_) => prop_assert_eq!(engine.snapshot(), before),
        }
    }

    #[test]
    fn what_is_no_fact_changes_nothing(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut engine = RiskEngine::new(settings());
        engine.restore(&SNAPSHOT).unwrap();
        let mut broken = FACTS[which.index(FACTS.len())].clone();
        let at = at.index(broken.len());
        for (place, byte) in broken[at..].iter_mut().zip(&bytes) {
            *place = *byte;
        }
        if let Some(cut) = cut {
            broken.truncate(cut.index(broken.len()));
        }
        match engine.recover(UnixNanos(desk::START_NS), &broken) {
            Ok(()) => goes_on(engine),
            Err(error) => {
                prop_assert!(error.to_string().contains("fact"));
                prop_assert_eq!(&engine.snapshot(), &*SNAPSHOT);
            }
        }
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut engine = RiskEngine::new(settings());
        let before = engine.snapshot();
        if engine.restore(&noise).is_err() {
            prop_assert_eq!(engine.snapshot(), before);
        }
        let _ = engine.recover(UnixNanos(0), &noise);
        goes_on(engine);
    }
}

#[test]
fn a_replay_is_the_same_in_any_batches_and_after_any_restarts() {
    let mut floor = busy();
    let snapshot = floor.engine.snapshot();
    let begin = floor.frames.len();
    let mut random = desk::Random(5);
    for n in 0..4_000 {
        floor.wait(random.below(50 * MS));
        if n == 2_000 {
            floor.wait(86_400_000 * MS);
        }
        let price = SCALE + random.below(SCALE as u64) as i64;
        match random.below(3) {
            0 => floor.trade(3, 15_000 * price, flags::REPLAY),
            1 => floor.quote(2, 130 * price, 131 * price, 0),
            _ => floor.price(1, price),
        }
    }
    let create = || {
        let mut engine = RiskEngine::new(settings());
        engine.restore(&snapshot).unwrap();
        engine
    };
    // The runner restores into what `create` makes, so the frames are all there is to differ.
    let frames = &floor.frames[begin..];
    let plan = |batch, restart_every| replay::Plan { batch, restart_every };
    let once = replay::run(create, frames, plan(1, None)).unwrap();
    assert_eq!(once.steps, 4_000);
    let (facts, alerts) = (once.effects.facts.len(), once.effects.mesh.len());
    assert!(facts > 3 && alerts > 2, "{facts} {alerts}");
    for (batch, restart_every) in [(64, None), (4_000, Some(7)), (13, Some(501))] {
        assert_eq!(
            replay::run(create, frames, plan(batch, restart_every)).unwrap(),
            once,
            "{batch} {restart_every:?}"
        );
    }
    // The facts of the replay, behind the same snapshot, and the frames once more are the same state.
    let mut engine = create();
    for (at, fact) in once.effects.facts.iter() {
        engine.recover(at, fact).unwrap();
    }
    Floor::feed(&mut engine, frames);
    assert_eq!(engine.digest(), once.digest);
    let mut out = Effects::default();
    engine.step(Stamp::default(), Input::Command(Command::Heartbeat), &mut out);
    assert_eq!(out, Effects::default());
}
