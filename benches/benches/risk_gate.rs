//! What an order, a price and an execution cost the risk engine, in process: 12 kinds of limits at the firm and at the
//! portfolio, 1,000 instruments, 500 strategies.
//!
//! Single calls are timed one by one, the clock's own cost included; what is said of many is processor time. It measures no
//! journal, no bus and no HTTP.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use nautilus_benches::{Contest, Figures, Goal, Peer, Report, Unit, percentile, processor_time};
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_risk::{
    Change, Command, Limit, Limits, Portfolio, RiskEngine, ScenarioSet, Scenarios, Settings,
};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, Header, Kind, Quote};
use nautilus_messages::mesh::{
    Body, Desk, Message, MessageId, OrderAction, OrderRequest, PositionChange, Priority, Scope, Uid,
};
use nautilus_types::{
    AssetClass, Instrument, InstrumentId, Money, Price, Quantity, SCALE, Side, Symbol, UnixNanos,
};

const ROUNDS: usize = 16;
/// Calls of one round, each timed alone: a million in all.
const CALLS: usize = 62_500;
const INSTRUMENTS: u32 = 1_000;
const PORTFOLIOS: usize = 50;
const BOOKS: usize = 2;
const STRATEGIES: usize = 5;
const START: u64 = 1_700_040_600_000_000_000;
const SCENARIOS: usize = 256;

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

fn symbol(id: u32) -> Symbol {
    name(&format!("SYM{id}"))
}

fn desk(number: usize) -> Desk {
    let (portfolio, rest) = (number % PORTFOLIOS, number / PORTFOLIOS);
    Desk {
        portfolio: name(&format!("p{portfolio}")),
        book: name(&format!("b{}", rest % BOOKS)),
        strategy: name(&format!("s{}", rest / BOOKS % STRATEGIES)),
    }
}

/// As if random (Steele, Lea, Flood 2014).
fn mix(at: u64) -> u64 {
    let mut z = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The engine, and what it is asked.
struct Market {
    engine: RiskEngine,
    out: Effects,
    ids: u128,
}

impl Market {
    fn new() -> Self {
        let settings = Settings { second_approver: false, orders_remembered: 1 << 22, ..Settings::default() };
        let mut this = Self { engine: RiskEngine::new(settings), out: Effects::default(), ids: 0 };
        this.tell(Command::Rates {
            rates: BTreeMap::from([(name("EUR"), 1_082_500_000)]),
            by: "bench".into(),
        });
        for portfolio in 0..PORTFOLIOS {
            let strategies: Vec<_> = (0..STRATEGIES).map(|s| name(&format!("s{s}"))).collect();
            this.tell(Command::Portfolio(Portfolio {
                name: name(&format!("p{portfolio}")),
                currency: name("USD"),
                capital: Money::from_units(1_000_000_000).expect("fits"),
                books: (0..BOOKS).map(|book| (name(&format!("b{book}")), strategies.clone())).collect(),
                by: "bench".into(),
            }));
        }
        for id in 1..=INSTRUMENTS {
            let instrument = Instrument {
                id: InstrumentId(id),
                symbol: symbol(id),
                venue: name("XSIM"),
                class: AssetClass::Future,
                currency: name("USD"),
                tick: Price::from_nanos(SCALE / 100),
                lot: Quantity::from_nanos(SCALE),
                multiplier: Quantity::from_nanos(50 * SCALE),
            };
            this.frame(FrameRef::Definition(&Definition::of(&instrument, 0)));
            this.frame(FrameRef::Quote(&quote(id, 0)));
        }
        this.limit(Scope::default());
        for portfolio in 0..PORTFOLIOS {
            let scope = Scope { portfolio: Some(name(&format!("p{portfolio}"))), ..Scope::default() };
            this.limit(scope);
        }
        this
    }

    fn limit(&mut self, scope: Scope) {
        let amount = |units: i64| {
            let money = |units| Money::from_units(units).expect("fits");
            Some(Limit { soft: Some(money(units / 10 * 9)), hard: money(units) })
        };
        let limits = Limits {
            gross: amount(9_000_000_000),
            net: amount(9_000_000_000),
            position: amount(9_000_000_000),
            concentration_bps: Some(Limit { soft: Some(90_000), hard: 100_000 }),
            var: Some(Limit { soft: None, hard: Money::MAX }),
            drawdown: amount(9_000_000_000),
            daily_loss: amount(9_000_000_000),
            order_size: amount(900_000_000),
            price_collar_bps: Some(Limit { soft: Some(400), hard: 500 }),
            orders_per_second: Some(1_000_000_000),
            duplicate_window_ms: Some(1),
            restricted: Some((0..100).map(|n| name(&format!("OUT{n}"))).collect()),
        };
        let change = Change::Limits(Box::new(limits));
        self.tell(Command::Change { scope, change, by: "bench".into(), reason: String::new() });
    }

    /// Puts a value at risk into the limits of a portfolio and the firm, with the model behind it.
    fn measure(&mut self) {
        let returns = |id: u32| {
            let one = |s: u64| (mix(u64::from(id) << 32 | s) >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
            (0..SCENARIOS as u64).map(|s| 0.02 * one(s)).collect()
        };
        let set = ScenarioSet {
            instruments: (1..=INSTRUMENTS).map(symbol).collect(),
            returns: (1..=INSTRUMENTS).map(returns).collect(),
        };
        let scenarios = Box::new(Scenarios::new(set).expect("legal"));
        self.tell(Command::Scenarios { scenarios, by: "bench".into() });
        for scope in [Scope::default(), Scope { portfolio: Some(name("p0")), ..Scope::default() }] {
            let mut limits = self.engine.limits(&scope).expect("known").clone();
            limits.var = Some(Limit { soft: None, hard: Money::from_units(9_000_000_000).expect("fits") });
            let change = Change::Limits(Box::new(limits));
            self.tell(Command::Change { scope, change, by: "bench".into(), reason: String::new() });
        }
    }

    fn step(&mut self, input: Input<'_, Command>) {
        self.out.clear();
        self.engine.step(
            Stamp { now: UnixNanos(START + (self.ids as u64) * 1_000), index: 0 },
            input,
            &mut self.out,
        );
    }

    fn tell(&mut self, command: Command) {
        self.step(Input::Command(command));
        assert_eq!(self.out.refusal, None);
    }

    fn frame(&mut self, frame: FrameRef<'_>) {
        self.step(Input::Frame(frame));
    }

    fn order(&mut self, desk: Desk) -> OrderRequest {
        self.ids += 1;
        let random = mix(self.ids as u64);
        let side = if random & 1 == 0 { Side::Buy } else { Side::Sell };
        let action = OrderAction::New {
            side,
            quantity: Quantity::from_nanos((1 + (random >> 8 & 7) as i64) * SCALE),
            limit_price: Some(Price::from_nanos(100 * SCALE)),
        };
        let instrument = symbol(1 + (random >> 32) as u32 % INSTRUMENTS);
        OrderRequest { order_id: Uid(self.ids), desk, instrument, action }
    }

    fn execution(&mut self, desk: Desk, id: u32, quantity: i64) -> PositionChange {
        self.ids += 1;
        PositionChange {
            desk,
            instrument: symbol(id),
            order_id: None,
            venue: name("XSIM"),
            trade_id: Uid(self.ids),
            side: if quantity < 0 { Side::Sell } else { Side::Buy },
            quantity: Quantity::from_nanos(quantity.abs()),
            price: Price::from_nanos(100 * SCALE),
            fee: Money::ZERO,
            done: false,
            ts_event: UnixNanos(START),
        }
    }
}

fn quote(id: u32, up: i64) -> Quote {
    let at = UnixNanos(START);
    let price = 100 * SCALE + up * SCALE / 100;
    Quote {
        header: Header::new(Kind::Quote, InstrumentId(id), 1, at, at),
        bid_nanos: price.into(),
        ask_nanos: price.into(),
        bid_quantity_nanos: SCALE.into(),
        ask_quantity_nanos: SCALE.into(),
    }
}

/// Percentiles of calls that are timed one by one, one figure a round, after a round that does not count.
fn single(report: &mut Report, what: &str, goals: [Goal; 3], mut call: impl FnMut() -> Duration) {
    let mut figures = [Figures::default(), Figures::default(), Figures::default()];
    for round in 0..=ROUNDS {
        let mut took: Vec<f64> = (0..CALLS).map(|_| call().as_nanos() as f64).collect();
        for (figures, share) in figures.iter_mut().zip([0.5, 0.99, 0.999]) {
            let figure = percentile(&mut took, share);
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    for ((figures, goal), of) in figures.iter().zip(goals).zip(["p50", "p99", "p99.9"]) {
        report.row(&format!("{what}, {of}"), Unit::Nanoseconds, figures, Peer::None, goal);
    }
}

fn clocked<T>(call: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let made = black_box(call());
    let took = start.elapsed();
    drop(made);
    took
}

const GOALS: [Goal; 3] = [Goal::AtMost(250.0), Goal::AtMost(1_000.0), Goal::None];
const NO_GOALS: [Goal; 3] = [Goal::None; 3];

fn check(report: &mut Report, market: &mut Market, what: &str, desks: usize, goals: [Goal; 3]) {
    let mut number = 0;
    single(report, what, goals, || {
        number += 1;
        let request = market.order(desk(number % desks * PORTFOLIOS / desks.min(PORTFOLIOS)));
        let took = clocked(|| market.engine.check(&request, UnixNanos(START)).accepted);
        assert!(market.engine.check(&request, UnixNanos(START)).accepted, "{request:?}");
        took
    });
}

fn steps(report: &mut Report, market: &mut Market) {
    let mut number = 0;
    single(report, "an order from the mesh: decided, its fact encoded, answered", NO_GOALS, || {
        number += 1;
        let request = market.order(desk(number % 500));
        let id = MessageId { producer: EngineName::Vpin, epoch: 1, sequence: number as u64 };
        let message = Message {
            id,
            ts: UnixNanos(START),
            correlation_id: 0,
            priority: Priority::Normal,
            body: Body::OrderRequest(request),
        };
        clocked(|| market.step(Input::Message(&message)))
    });
    single(report, "an execution booked", NO_GOALS, || {
        number += 1;
        let id = 1 + mix(number as u64) as u32 % INSTRUMENTS;
        let change = market.execution(desk(number % 500), id, if number % 2 == 0 { SCALE } else { -SCALE });
        clocked(|| market.step(Input::Command(Command::Execution(change))))
    });
}

fn marks(report: &mut Report) {
    for holders in [1, 10, 100] {
        let mut market = Market::new();
        for number in 0..holders {
            let change = market.execution(desk(number), 1, SCALE);
            market.tell(Command::Execution(change));
        }
        let mut figures = Figures::default();
        for round in 0..=ROUNDS {
            let quotes = [quote(1, 1), quote(1, 0)];
            let (seconds, ()) = processor_time(|| {
                for at in 0..CALLS {
                    market.frame(FrameRef::Quote(&quotes[at % 2]));
                }
            });
            if round > 0 {
                figures.push(1e9 * seconds / CALLS as f64);
            }
        }
        let what = format!("a price that moves, {holders} strategies hold the instrument");
        report.row(&what, Unit::Nanoseconds, &figures, Peer::None, Goal::None);
    }
}

fn main() {
    let Some(mut report) = Report::begin("risk_gate") else { return };
    let mut clock: Vec<f64> = (0..CALLS).map(|_| clocked(|| ()).as_nanos() as f64).collect();
    let clock = percentile(&mut clock, 0.5);
    let mut market = Market::new();
    for number in 0..5_000 {
        let id = 1 + mix(number as u64) as u32 % INSTRUMENTS;
        let change = market.execution(desk(number % 500), id, if number % 3 == 0 { -SCALE } else { SCALE });
        market.tell(Command::Execution(change));
    }
    check(&mut report, &mut market, "gate, 12 kinds of limits at two levels", 50, GOALS);
    let requests: Vec<OrderRequest> = (0..CALLS).map(|number| market.order(desk(number % 500))).collect();
    let mut contest = Contest::new("risk_gate", CALLS).enter("check", || {
        let (seconds, accepted) = processor_time(|| {
            requests.iter().filter(|request| market.engine.check(request, UnixNanos(START)).accepted).count()
        });
        black_box(accepted);
        Duration::from_secs_f64(seconds)
    });
    let [mean] = &contest.race(ROUNDS)[..] else { unreachable!("one contestant") };
    report.row("gate, mean of orders back to back", Unit::Nanoseconds, mean, Peer::None, Goal::None);
    contest.criterion(&mut Criterion::default().configure_from_args());
    drop(contest);
    steps(&mut report, &mut market);
    marks(&mut report);
    let mut market = Market::new();
    market.measure();
    for id in 1..=INSTRUMENTS {
        let change = market.execution(desk(0), id, SCALE);
        market.tell(Command::Execution(change));
    }
    check(&mut report, &mut market, "gate with value at risk of the factor model", 1, NO_GOALS);
    report.note(&format!("Of single calls, {clock:.0} ns are the clock's."));
}
