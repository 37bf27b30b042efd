//! A million random commands: every decision is the one of a slow, obvious model, every sum is the one that the model adds
//! up anew, and an engine from a snapshot and facts, or from facts alone, is the same as the one that lived on.

mod desk;
mod model;

use desk::{EUR, Floor, JPY, MS, Random, carry, desk as desk_of, limit, money, name, portfolio, scope};
use model::{Holding, Model, Totals};
use nautilus_engine::{Effects, Engine as _, Input, Stamp};
use nautilus_engine_risk::{Change, Command, Limit, Limits, RiskEngine, TradingState};
use nautilus_messages::frame::{FrameRef, Frames};
use nautilus_messages::mesh::{Desk, OrderAction, OrderRequest, Reason, Reasons};
use nautilus_types::{Currency, Money, Quantity, SCALE, Side, Symbol, UnixNanos};

const COMMANDS: u64 = 1_000_000;
const SEEDS: u64 = 8;
const ONE: i64 = SCALE;
const LATE: (&str, &str, (i64, i64, i64)) = ("LATE", "EUR", (ONE / 100, ONE / 10, ONE / 2));
const SYMBOLS: [&str; 5] = ["ACME", "BUND", "YENS", "PRNT", "LATE"];
/// Prices that instruments stay about.
const PRICES: [i64; 5] = [ONE, 130 * ONE, 15_000 * ONE, 20 * ONE, 50 * ONE];
const STEPS: [i64; 5] = [1, ONE / 100, 1, ONE / 100, ONE / 100];
const LOTS: [i64; 5] = [1, ONE, ONE, ONE / 10, ONE / 10];
const PATHS: [&str; 10] = [
    "firm",
    "main",
    "main/index",
    "main/index/carry",
    "main/index/momentum",
    "main/macro",
    "main/macro/one",
    "euro",
    "euro/rates",
    "euro/rates/one",
];

fn desks() -> [Desk; 5] {
    [
        carry(),
        desk_of("main", "index", "momentum"),
        desk_of("main", "macro", "one"),
        desk_of("euro", "rates", "one"),
        desk_of("later", "b", "s"),
    ]
}

/// An earlier moment to start again from: the snapshot, and how many facts and bytes of frames there were.
struct Moment {
    snapshot: Vec<u8>,
    facts: usize,
    frames: usize,
}

struct Play {
    floor: Floor,
    model: Model,
    random: Random,
    ids: Vec<OrderRequest>,
    moment: Moment,
    accepted: u64,
    reasons: Reasons,
    warnings: Reasons,
    recoveries: u64,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut floor = Floor::new();
        let mut model = Model::new(name("USD"));
        model.now = floor.now;
        model.rates = [(name("EUR"), EUR), (name("JPY"), JPY)].into();
        for path in &PATHS[1..] {
            let currency = if path.starts_with("main") { "USD" } else { "EUR" };
            model.node(scope(path), name(currency), 1_000_000 * i128::from(ONE));
        }
        for (at, (currency, steps)) in
            [("USD", (1, 1, ONE)), ("EUR", (ONE / 100, ONE, 50 * ONE)), ("JPY", (1, ONE, ONE))]
                .into_iter()
                .enumerate()
        {
            model.define(name(SYMBOLS[at]), name(currency), steps);
        }
        for at in 0..3 {
            model.frame(name(SYMBOLS[at]), Some(PRICES[at]), true);
        }
        floor.define(4, "PRNT", "USD", (ONE / 100, ONE / 10, ONE / 2));
        model.define(name("PRNT"), name("USD"), (ONE / 100, ONE / 10, ONE / 2));
        let moment = Moment { snapshot: RiskEngine::new(floor.settings).snapshot(), facts: 0, frames: 0 };
        let (ids, random) = (Vec::new(), Random(seed * 7_919 + 1));
        let (accepted, recoveries, reasons, warnings) = (0, 0, Reasons::NONE, Reasons::NONE);
        let mut this = Self { floor, model, random, ids, moment, accepted, reasons, warnings, recoveries };
        // Everything is referred to in order of definition, so that rows are the same from facts alone.
        for at in 0..4 {
            this.mark(at);
            let request = this.floor.market(carry(), SYMBOLS[at], LOTS[at]);
            this.decide(request);
        }
        for path in PATHS {
            this.limit(path);
        }
        this
    }

    fn wait(&mut self) {
        let ns = match self.random.below(2_000) {
            0 => 3_600_000 * MS + self.random.below(86_400_000 * MS),
            1..100 => self.random.below(2_000 * MS),
            _ => 1 + self.random.below(5 * MS),
        };
        self.floor.wait(ns);
        self.model.now = self.floor.now;
        if ns > 30_000 * MS {
            (0..4).for_each(|at| self.mark(at));
        }
    }

    fn known(&self) -> usize {
        if self.model.instruments.contains_key(&name::<Symbol>("LATE")) { 5 } else { 4 }
    }

    /// A price: quotes, but for the instrument that only prints. Not too far from where it began.
    fn mark(&mut self, at: usize) {
        self.floor.wait(1);
        self.model.now = self.floor.now;
        let step = STEPS[at] * (self.random.below(PRICES[at] as u64 / STEPS[at] as u64 / 10 + 1) as i64);
        let price = PRICES[at] - PRICES[at] / 20 / STEPS[at] * STEPS[at] + step;
        let (id, is_trade) = (at as u32 + 1, at == 3 || self.random.below(4) == 0);
        if is_trade {
            self.floor.trade(id, price, 0);
        } else {
            let spread = STEPS[at] * self.random.below(3) as i64;
            self.floor.quote(id, price - spread, price + spread, 0);
        }
        self.model.frame(name(SYMBOLS[at]), Some(price), !is_trade);
    }

    fn decide(&mut self, request: OrderRequest) {
        let expected = self.model.decide(&request);
        let decision = self.floor.decide(request);
        assert_eq!((decision.reasons, decision.warnings), expected, "{request:?} at {}", self.floor.now);
        self.accepted += u64::from(decision.accepted);
        decision.reasons.iter().for_each(|reason| self.reasons.insert(reason));
        decision.warnings.iter().for_each(|reason| self.warnings.insert(reason));
    }

    fn any_order(&mut self) -> OrderRequest {
        let at = self.random.below(SYMBOLS.len() as u64) as usize;
        let desk = self.random.of(&desks());
        let lots = 1 + self.random.below(self.random_size()) as i64;
        let mut quantity = lots * LOTS[at];
        if self.random.below(50) == 0 {
            quantity += 1;
        }
        let side = if self.random.below(2) == 0 { 1 } else { -1 };
        let price = match self.random.below(3) {
            0 => {
                let step = self.random.below(PRICES[at] as u64 / STEPS[at] as u64 / 20) as i64;
                Some(
                    PRICES[at]
                        + (step - PRICES[at] / STEPS[at] / 40) * STEPS[at]
                        + i64::from(self.random.below(60) == 0),
                )
            }
            _ => None,
        };
        let symbol = if self.random.below(100) == 0 { "NONE" } else { SYMBOLS[at] };
        self.floor.request(desk, symbol, desk::new(side * quantity, price))
    }

    fn random_size(&self) -> u64 {
        [3, 20, 2_000, 40][(self.random.0 % 4) as usize]
    }

    fn order(&mut self) {
        let request = match self.random.below(20) {
            0 if !self.ids.is_empty() => {
                let mut request = self.ids[self.random.below(self.ids.len() as u64) as usize];
                match self.random.below(3) {
                    0 => request.action = OrderAction::Cancel,
                    1 => request.desk = desks()[0],
                    _ => {}
                }
                request
            }
            _ => self.any_order(),
        };
        if self.ids.len() < 512 {
            self.ids.push(request);
        } else {
            let place = self.random.below(512) as usize;
            self.ids[place] = request;
        }
        self.decide(request);
    }

    fn execution(&mut self) {
        let (order, desk, symbol, side, left) = match self.random.below(8) {
            0 => {
                let at = self.random.below(SYMBOLS.len() as u64) as usize;
                let (desk, side) = (self.random.of(&desks()), self.random.of(&[Side::Buy, Side::Sell]));
                (None, desk, name(SYMBOLS[at]), side, LOTS[at] * 20)
            }
            _ if self.model.open.is_empty() => return,
            _ => {
                let open = self.random.below(self.model.open.len() as u64) as usize;
                let open = self.model.open[open];
                (Some(open.id), open.desk, open.symbol, open.side, open.left)
            }
        };
        let at = SYMBOLS.iter().position(|text| name::<Symbol>(text) == symbol).unwrap();
        let quantity = match self.random.below(6) {
            0 => 0,
            1 => left,
            2 => left + LOTS[at],
            _ => 1 + self.random.below(left as u64) as i64,
        };
        let away = (self.random.below(2_000_001) as i64 - 1_000_000) * (PRICES[at] / 100_000_000).max(1);
        let mut change = self.floor.fill(order, desk, SYMBOLS[at], 0, PRICES[at] + away);
        change.side = side;
        change.quantity = Quantity::from_nanos(quantity);
        change.fee = money(i128::from(self.random.below(1_000)) - 100);
        // Few orders stay open: the model looks at each of them for every sum.
        change.done = self.random.below(2) == 0 || self.model.open.len() > 60;
        for _ in 0..=u64::from(self.random.below(10) == 0) {
            self.floor.book(change);
            self.model.execute(change);
        }
    }

    /// Limits about where things stand, so that orders are just within and just beyond.
    fn limit(&mut self, path: &str) {
        let totals = self.totals(path);
        let mut about = |used: i128, least: i128| {
            let spare = i128::from(self.random.below(60)) * least;
            let hard = (used.abs() + spare + i128::from(self.random.below(3)) - 1).max(0);
            let soft = (self.random.below(3) != 0).then(|| money(hard * 9 / 10));
            (self.random.below(12) != 0).then_some(Limit { soft, hard: money(hard) })
        };
        let thousand = 1_000 * i128::from(ONE);
        let mut limits = Limits {
            gross: about(totals.gross, 20 * thousand),
            net: about(totals.long.abs().max(totals.short.abs()), 20 * thousand),
            position: about(totals.gross / 3, 20 * thousand),
            drawdown: about(0, 2 * thousand),
            daily_loss: about(0, 2 * thousand),
            order_size: about(0, 2 * thousand),
            var: Some(Limit { soft: None, hard: Money::MAX }),
            concentration_bps: limit(self.random.below(500) as u32, 500 + self.random.below(9_000) as u32),
            price_collar_bps: limit(self.random.below(50) as u32, 50 + self.random.below(200) as u32),
            orders_per_second: Some(self.random.of(&[1, 20, 1_000, 1_000])),
            duplicate_window_ms: Some(self.random.of(&[0, 10, 1_000])),
            restricted: Some(Vec::new()),
        };
        if self.random.below(10) == 0 {
            limits.restricted = Some(vec![name(self.random.of(&SYMBOLS)), name("OTHER")]);
        }
        match self.random.below(3) {
            // The firm mostly has what would be missing elsewhere.
            0 if path != "firm" => limits = Limits { orders_per_second: Some(50), ..Limits::default() },
            1 => limits = Limits { gross: None, drawdown: None, daily_loss: None, ..limits },
            _ => {}
        }
        if path == "firm" && self.random.below(8) != 0 {
            limits = desk::wide();
        }
        self.floor.limits(path, limits.clone());
        self.model.at(&scope(path)).limits = limits;
    }

    fn totals(&mut self, path: &str) -> Totals {
        let scope = scope(path);
        let node = self.model.nodes.iter().find(|node| node.scope == scope).unwrap();
        self.model.totals(node)
    }

    fn control(&mut self) {
        let path = self.random.of(&PATHS);
        match self.random.below(12) {
            0..6 => self.limit(path),
            6..8 => {
                let states = [TradingState::Active, TradingState::Reducing, TradingState::Halted];
                let state = self.random.of(&states);
                self.floor.turn(path, state);
                self.model.at(&scope(path)).state = state;
            }
            // Nobody trades for long where all is halted.
            8..10 => {
                for path in PATHS {
                    self.floor.turn(path, TradingState::Active);
                    self.model.at(&scope(path)).state = TradingState::Active;
                }
            }
            10 => {
                let rates = [
                    ("EUR", EUR + self.random.below(10_000_000) as i64),
                    ("JPY", JPY + self.random.below(100_000) as i64),
                ];
                self.floor.rates(&rates).unwrap();
                let rates = rates.into_iter().map(|(currency, rate)| (name::<Currency>(currency), rate));
                self.model.rates = rates.collect();
            }
            _ => {
                self.floor.tell(Command::Tick).unwrap();
                let change = Change::Limits(Box::default());
                self.floor.change("firm", change, "ann").unwrap();
                for (id, _) in self.floor.engine.proposals() {
                    self.floor.tell(Command::Withdraw { id, by: "ann".to_owned() }).unwrap();
                }
            }
        }
    }

    /// One moment at which what executions have waited for turns up.
    fn newcomers(&mut self) {
        self.floor.hold(carry(), "LATE", LOTS[4], 51 * ONE);
        let mut change = self.floor.fill(None, carry(), "LATE", LOTS[4], 50 * ONE);
        change.desk = desks()[4];
        self.floor.book(change);
        // The model hears of the same executions.
        let waiting = self.floor.engine.unbooked().to_vec();
        self.model.waiting = waiting;
        self.floor.wait(1);
        self.model.now = self.floor.now;
        self.floor.define(5, LATE.0, LATE.1, LATE.2);
        self.model.define(name(LATE.0), name(LATE.1), LATE.2);
        self.check();
        self.floor.tell(Command::Portfolio(portfolio("later", "EUR", 500_000, &[("b", &["s"])]))).unwrap();
        for path in ["later", "later/b", "later/b/s"] {
            self.model.node(scope(path), name("EUR"), 500_000 * i128::from(ONE));
        }
        self.check();
    }

    /// Every sum, position and order.
    fn check(&self) {
        let mut profits = Vec::new();
        for node in &self.model.nodes {
            let path = node.scope.to_string();
            let (part, totals) = (self.floor.part(&path), self.model.totals(node));
            let seen = (part.gross, part.net, part.profit, part.unvalued, part.capital);
            let expected = (
                money(totals.gross),
                money(totals.net),
                money(totals.profit),
                totals.unvalued,
                money(self.model.capital(node)),
            );
            assert_eq!(seen, expected, "{path} at {}", self.floor.now);
            assert_eq!(part.drawdown, money((node.peak - totals.profit).max(0)), "{path}");
            assert_eq!(part.profit_today, money(totals.profit - node.day_start), "{path}");
            assert_eq!(part.state, node.state, "{path}");
            let used = self.floor.engine.limits_of(&node.scope).unwrap().utilisation;
            if let Some(net) = used.iter().find(|used| used.limit == "net") {
                assert_eq!(net.used, money(totals.long.abs().max(totals.short.abs())), "{path}");
            }
            if node.scope.strategy.is_some() {
                profits.push((node.scope.portfolio, part.profit.nanos()));
            }
        }
        // Strategies add up to their portfolio, to the billionth.
        for node in
            self.model.nodes.iter().filter(|node| node.scope.portfolio.is_some() && node.scope.book.is_none())
        {
            let below = profits.iter().filter(|(portfolio, _)| *portfolio == node.scope.portfolio);
            let below: i128 = below.map(|(_, profit)| profit).sum();
            assert_eq!(self.floor.part(&node.scope.to_string()).profit, money(below));
        }
        self.check_positions();
        assert_eq!(self.floor.engine.unbooked(), self.model.waiting);
        let open = self.floor.engine.orders(None, true, usize::MAX);
        assert_eq!(open.len(), self.model.open.len());
        for order in &self.model.open {
            let view = self.floor.engine.order(order.id).unwrap();
            assert_eq!(view.left.nanos(), order.left, "{}", order.id);
        }
    }

    fn check_positions(&self) {
        for desk in desks() {
            for symbol in SYMBOLS {
                let symbol: Symbol = name(symbol);
                let Holding { quantity, paid, fees } =
                    self.model.holdings.get(&(desk, symbol)).copied().unwrap_or_default();
                let open = |side: Side| -> i64 {
                    let of =
                        self.model.open.iter().filter(|order| (order.desk, order.symbol) == (desk, symbol));
                    of.filter(|order| order.side == side).map(|order| order.left).sum()
                };
                let expected = (quantity, open(Side::Buy), open(Side::Sell));
                let view = self.floor.position(desk, symbol.as_str());
                let seen = view
                    .as_ref()
                    .map(|view| (view.quantity.nanos(), view.open_buy.nanos(), view.open_sell.nanos()));
                assert_eq!(seen.unwrap_or_default(), expected, "{desk} {symbol}");
                let Some(view) = view else { continue };
                assert_eq!(view.fees, money(fees));
                // Realised and unrealised profit are worth less what was paid, to the billionth.
                if let (Some(value), Some(unrealised)) = (view.value, view.unrealised) {
                    let made = view.realised.nanos() + unrealised.nanos();
                    assert_eq!(made, value.nanos() - paid, "{desk} {symbol}");
                }
            }
        }
    }

    /// The engine from an earlier snapshot and the facts since, and the one from facts alone, are the one that lived.
    fn recover(&mut self) {
        let floor = &mut self.floor;
        let mut from_snapshot = floor.recovered(Some(&self.moment.snapshot), self.moment.facts);
        Floor::feed(&mut from_snapshot, &floor.frames[self.moment.frames..]);
        let mut from_facts = self.recoveries.is_multiple_of(8).then(|| floor.recovered(None, 0));
        if let Some(engine) = &mut from_facts {
            Floor::feed(engine, &floor.frames);
        }
        // A look at all limits, and the same time: which alerts were sent is no fact, nor is the clock.
        floor.wait(200 * MS).tell(Command::Tick).unwrap();
        let (frames, facts) = (floor.frames.len(), floor.facts.len());
        let price = PRICES[0];
        floor.price(1, price);
        self.model.now = floor.now;
        self.model.frame(name("ACME"), Some(price), true);
        let frame: FrameRef<'_> = Frames::new(&floor.frames[frames..]).next().unwrap().unwrap();
        let at = Stamp { now: UnixNanos(floor.now), index: 0 };
        let lived = floor.engine.snapshot();
        for engine in [Some(&mut from_snapshot), from_facts.as_mut()].into_iter().flatten() {
            let mut out = Effects::default();
            engine.step(at, Input::Command(Command::Tick), &mut out);
            engine.step(at, Input::Frame(frame), &mut out);
            let said: Vec<_> = floor.facts.iter().skip(facts).collect();
            assert_eq!(out.facts.iter().collect::<Vec<_>>(), said);
            assert!(engine.snapshot() == lived, "at {}: {} facts", floor.now, floor.facts.len());
        }
        self.recoveries += 1;
        // One of them goes on in its place.
        floor.engine = match from_facts {
            Some(engine) if self.recoveries.is_multiple_of(2) => engine,
            _ => from_snapshot,
        };
        self.moment = Moment { snapshot: lived, facts: floor.facts.len(), frames: floor.frames.len() };
    }

    fn run(&mut self, commands: u64) {
        for n in 0..commands {
            self.wait();
            match self.random.below(1_000) {
                0..520 => self.order(),
                520..700 => self.execution(),
                700..985 => {
                    let at = self.random.below(self.known() as u64) as usize;
                    self.mark(at);
                }
                _ => self.control(),
            }
            if n % 499 == 0 {
                self.check();
            }
            if n == commands / 3 {
                self.newcomers();
            }
            if self.random.below(4_000) == 0 {
                self.recover();
            }
        }
        self.check();
        self.recover();
    }
}

fn play(seed: u64) {
    let mut play = Play::new(seed);
    play.run(COMMANDS / SEEDS);
    let answered = play.model.answers.len() as u64;
    println!("seed {seed}: {answered} orders, {} accepted, {} recoveries", play.accepted, play.recoveries);
    println!("  rejected for {:?}, warned of {:?}", names(play.reasons), names(play.warnings));
    assert!(play.accepted * 20 > answered && play.accepted < answered, "{} of {answered}", play.accepted);
    for reason in [
        Reason::OrderIdReused,
        Reason::UnknownInstrument,
        Reason::InvalidQuantity,
        Reason::InvalidPrice,
        Reason::Halted,
        Reason::Reducing,
        Reason::Restricted,
        Reason::OrderSize,
        Reason::PriceCollar,
        Reason::OrderRate,
        Reason::DuplicateOrder,
        Reason::PositionLimit,
        Reason::GrossLimit,
        Reason::NetLimit,
        Reason::ConcentrationLimit,
        Reason::DrawdownLimit,
        Reason::DailyLossLimit,
    ] {
        assert!(play.reasons.contains(reason), "seed {seed} never came across {reason:?}");
    }
}

fn names(reasons: Reasons) -> Vec<&'static str> {
    reasons.iter().map(Reason::as_str).collect()
}

macro_rules! plays {
    ($($name:ident = $seed:literal,)*) => { $(#[test] fn $name() { play($seed); })* };
}

plays! {
    the_first_eighth = 1,
    the_second_eighth = 2,
    the_third_eighth = 3,
    the_fourth_eighth = 4,
    the_fifth_eighth = 5,
    the_sixth_eighth = 6,
    the_seventh_eighth = 7,
    the_last_eighth = 8,
}
