//! A trading desk for tests: an engine with what it was told, every fact that it pushed and every frame that it saw.
//!
//! It decides no expectation.
#![allow(dead_code)]

use std::collections::BTreeMap;

use nautilus_engine::{Effects, Engine as _, Facts, Input, Refusal, Stamp};
use nautilus_engine_risk::{
    Change, Command, Limit, Limits, PartView, Portfolio, PositionView, RiskEngine, Settings, TradingState,
};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, Frames, Header, Kind, Quote, Trade, WireSide};
use nautilus_messages::mesh::{
    AlertKind, AlertLevel, Body, Desk, Message, MessageId, OrderAction, OrderDecision, OrderRequest,
    PositionChange, Priority, Reason, Reasons, RiskAlert, Scope, Uid,
};
use nautilus_types::{
    AssetClass, Currency, Instrument, InstrumentId, Money, NANOS_PER_SECOND, Price, Quantity, SCALE, Side,
    Symbol, UnixNanos,
};

/// 2023-11-15 09:30 UTC.
pub(crate) const START_NS: u64 = 1_700_040_600 * NANOS_PER_SECOND;
pub(crate) const MS: u64 = 1_000_000;
/// The currencies' rates that a desk begins with.
pub(crate) const EUR: i64 = 1_250_000_000;
pub(crate) const JPY: i64 = 6_700_001;

/// Marsaglia's xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

/// An engine and all that happened to it.
pub(crate) struct Floor {
    pub(crate) engine: RiskEngine,
    pub(crate) settings: Settings,
    /// Every fact since the beginning.
    pub(crate) facts: Facts,
    /// Every frame since the beginning, end to end.
    pub(crate) frames: Vec<u8>,
    /// What the last step wanted done, its facts moved to `facts`.
    pub(crate) out: Effects,
    pub(crate) now: u64,
    next_id: u128,
    sequence: u64,
    ahead: u64,
}

pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn money(nanos: i128) -> Money {
    Money::from_nanos(nanos)
}

/// Whole units of money.
pub(crate) fn units(units: i64) -> Money {
    Money::from_units(units).unwrap()
}

pub(crate) fn desk(portfolio: &str, book: &str, strategy: &str) -> Desk {
    Desk { portfolio: name(portfolio), book: name(book), strategy: name(strategy) }
}

/// `firm`, or a path such as `main/index`.
pub(crate) fn scope(path: &str) -> Scope {
    let mut parts = path.split('/').filter(|part| *part != "firm").map(name);
    Scope { portfolio: parts.next(), book: parts.next(), strategy: parts.next() }
}

pub(crate) fn carry() -> Desk {
    desk("main", "index", "carry")
}

/// The scopes above and of [`carry`].
pub(crate) const LEVELS: [&str; 4] = ["firm", "main", "main/index", "main/index/carry"];

/// Limits that nothing in a test is beyond, of every kind.
pub(crate) fn wide() -> Limits {
    let amount = Some(Limit { soft: None, hard: units(1_000_000_000) });
    Limits {
        gross: amount,
        net: amount,
        position: amount,
        concentration_bps: Some(Limit { soft: None, hard: u32::MAX }),
        var: Some(Limit { soft: None, hard: Money::MAX }),
        drawdown: amount,
        daily_loss: amount,
        order_size: amount,
        price_collar_bps: Some(Limit { soft: None, hard: u32::MAX }),
        orders_per_second: Some(1_000_000),
        duplicate_window_ms: Some(0),
        restricted: Some(Vec::new()),
    }
}

/// A limit with its warning.
pub(crate) fn limit<T>(soft: T, hard: T) -> Option<Limit<T>> {
    Some(Limit { soft: Some(soft), hard })
}

pub(crate) fn portfolio(
    portfolio: &str,
    currency: &str,
    capital: i64,
    books: &[(&str, &[&str])],
) -> Portfolio {
    let names = |strategies: &[&str]| strategies.iter().map(|strategy| name(strategy)).collect();
    Portfolio {
        name: name(portfolio),
        currency: name(currency),
        capital: units(capital),
        books: books.iter().map(|(book, strategies)| (name(book), names(strategies))).collect(),
        by: "ann".to_owned(),
    }
}

pub(crate) fn reasons(all: &[Reason]) -> Reasons {
    all.iter().fold(Reasons::NONE, |mut reasons, reason| {
        reasons.insert(*reason);
        reasons
    })
}

impl Floor {
    /// Nothing is known yet.
    pub(crate) fn bare(settings: Settings) -> Self {
        Self {
            engine: RiskEngine::new(settings),
            settings,
            facts: Facts::default(),
            frames: Vec::new(),
            out: Effects::default(),
            now: START_NS,
            next_id: 1,
            sequence: 0,
            ahead: 0,
        }
    }

    /// Portfolios `main` in dollars and `euro` in euros, three instruments with prices, and no limits:
    /// `ACME` in dollars, in steps of a billionth of everything, at 1; `BUND` in euros, multiplier 50; `YENS` in yen.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let mut floor = Self::bare(settings);
        floor.rates(&[("EUR", EUR), ("JPY", JPY)]).unwrap();
        let (index, fast): (&[&str], &[&str]) = (&["carry", "momentum"], &["one"]);
        let main = portfolio("main", "USD", 1_000_000, &[("index", index), ("macro", fast)]);
        floor.tell(Command::Portfolio(main)).unwrap();
        floor.tell(Command::Portfolio(portfolio("euro", "EUR", 1_000_000, &[("rates", fast)]))).unwrap();
        floor.define(1, "ACME", "USD", (1, 1, SCALE));
        floor.define(2, "BUND", "EUR", (10_000_000, SCALE, 50 * SCALE));
        floor.define(3, "YENS", "JPY", (1, SCALE, SCALE));
        floor.price(1, SCALE);
        floor.price(2, 130 * SCALE);
        floor.price(3, 15_000 * SCALE);
        floor
    }

    /// With limits of every kind at the firm that nothing is beyond.
    pub(crate) fn open() -> Self {
        let mut floor = Self::new();
        floor.limits("firm", wide());
        floor
    }

    // Time and the market.

    pub(crate) fn wait(&mut self, ns: u64) -> &mut Self {
        self.now += ns;
        self
    }

    /// The venue's clock is ahead of ours from now on.
    pub(crate) fn ahead(&mut self, ns: u64) -> &mut Self {
        self.ahead = ns;
        self
    }

    fn header(&mut self, kind: Kind, id: u32, flags: u16) -> Header {
        self.sequence += 1;
        let (event, now) = (UnixNanos(self.now + self.ahead), UnixNanos(self.now));
        Header::new(kind, InstrumentId(id), self.sequence, event, now).with_flags(flags)
    }

    /// Steps a frame at the desk's time.
    pub(crate) fn frame(&mut self, frame: FrameRef<'_>) {
        self.frames.extend_from_slice(frame.as_bytes());
        self.step(Input::Frame(frame));
    }

    pub(crate) fn definition(
        &mut self,
        id: u32,
        symbol: &str,
        currency: &str,
        steps: (i64, i64, i64),
    ) -> Definition {
        let instrument = Instrument {
            id: InstrumentId(id),
            symbol: name(symbol),
            venue: name("XSIM"),
            class: AssetClass::Future,
            currency: name(currency),
            tick: Price::from_nanos(steps.0),
            lot: Quantity::from_nanos(steps.1),
            multiplier: Quantity::from_nanos(steps.2),
        };
        let mut definition = Definition::of(&instrument, 0);
        definition.header = self.header(Kind::Definition, id, 0);
        definition
    }

    /// Defines an instrument: tick, lot and multiplier in billionths.
    pub(crate) fn define(&mut self, id: u32, symbol: &str, currency: &str, steps: (i64, i64, i64)) {
        let definition = self.definition(id, symbol, currency, steps);
        self.frame(FrameRef::Definition(&definition));
    }

    pub(crate) fn quote(&mut self, id: u32, bid: i64, ask: i64, flags: u16) {
        let quote = Quote {
            header: self.header(Kind::Quote, id, flags),
            bid_nanos: bid.into(),
            ask_nanos: ask.into(),
            bid_quantity_nanos: SCALE.into(),
            ask_quantity_nanos: SCALE.into(),
        };
        self.frame(FrameRef::Quote(&quote));
    }

    /// A live price.
    pub(crate) fn price(&mut self, id: u32, price: i64) {
        self.quote(id, price, price, 0);
    }

    pub(crate) fn trade(&mut self, id: u32, price: i64, flags: u16) {
        let trade = Trade {
            header: self.header(Kind::Trade, id, flags),
            price_nanos: price.into(),
            quantity_nanos: SCALE.into(),
            trade_id: 0.into(),
            aggressor: WireSide::None,
            reserved: [0; 7],
        };
        self.frame(FrameRef::Trade(&trade));
    }

    // Commands and messages.

    pub(crate) fn step(&mut self, input: Input<'_, Command>) {
        self.out.clear();
        let at = Stamp { now: UnixNanos(self.now), index: 0 };
        self.engine.step(at, input, &mut self.out);
        self.facts.append(&mut self.out.facts);
    }

    pub(crate) fn tell(&mut self, command: Command) -> Result<(), Refusal> {
        self.step(Input::Command(command));
        self.out.refusal.take().map_or(Ok(()), Err)
    }

    /// A command that is refused: the code. Nothing has changed by it, and the sentence is one.
    #[allow(clippy::needless_pass_by_value)] // A command is made for this one call.
    pub(crate) fn refused(&mut self, command: Command) -> &'static str {
        self.tell(Command::Tick).unwrap();
        let (before, facts) = (self.engine.snapshot(), self.facts.clone());
        let refusal = self.tell(command.clone()).expect_err(&format!("{command:?}"));
        assert_eq!(self.engine.snapshot(), before, "{command:?}");
        assert_eq!(self.facts, facts, "{command:?}");
        let Refusal { code, detail } = refusal;
        assert!(detail.len() > 20 && detail.len() < 200 && !detail.contains('\n'), "{code}: {detail}");
        code
    }

    pub(crate) fn rates(&mut self, rates: &[(&str, i64)]) -> Result<(), Refusal> {
        let rates: BTreeMap<Currency, i64> =
            rates.iter().map(|(currency, rate)| (name(currency), *rate)).collect();
        self.tell(Command::Rates { rates, by: "ann".to_owned() })
    }

    pub(crate) fn change(&mut self, path: &str, change: Change, by: &str) -> Result<(), Refusal> {
        let reason = "a test".to_owned();
        self.tell(Command::Change { scope: scope(path), change, by: by.to_owned(), reason })
    }

    /// Puts limits into force, with a second person where it needs one.
    pub(crate) fn limits(&mut self, path: &str, limits: Limits) {
        self.change(path, Change::Limits(Box::new(limits)), "ann").unwrap();
        self.approve_all();
    }

    /// Turns the kill switch, with a second person where it needs one.
    pub(crate) fn turn(&mut self, path: &str, state: TradingState) {
        self.change(path, Change::State(state), "ann").unwrap();
        self.approve_all();
    }

    pub(crate) fn approve_all(&mut self) {
        for (id, _) in self.engine.proposals() {
            self.tell(Command::Approve { id, by: "bob".to_owned() }).unwrap();
        }
    }

    pub(crate) fn uid(&mut self) -> Uid {
        self.next_id += 1;
        Uid(self.next_id)
    }

    pub(crate) fn request(&mut self, desk: Desk, symbol: &str, action: OrderAction) -> OrderRequest {
        OrderRequest { order_id: self.uid(), desk, instrument: name(symbol), action }
    }

    /// A market order of so many billionths; sold when negative.
    pub(crate) fn market(&mut self, desk: Desk, symbol: &str, quantity: i64) -> OrderRequest {
        self.request(desk, symbol, new(quantity, None))
    }

    /// Decides an order that came from the mesh; the decision is the only answer and goes to whoever asked.
    pub(crate) fn decide(&mut self, request: OrderRequest) -> OrderDecision {
        let message = message(Body::OrderRequest(request), self.now);
        self.step(Input::Message(&message));
        let decisions: Vec<_> =
            self.out.mesh.iter().filter(|sent| matches!(sent.body, Body::OrderDecision(_))).collect();
        let [sent] = decisions[..] else { panic!("one answer, not {:?}", self.out.mesh) };
        assert_eq!(sent.correlation_id, message.id.as_u128());
        let Body::OrderDecision(decision) = sent.body else { unreachable!() };
        assert_eq!((decision.order_id, decision.accepted), (request.order_id, decision.reasons.is_empty()));
        decision
    }

    /// A market order that is let through without a warning.
    pub(crate) fn accept(&mut self, desk: Desk, symbol: &str, quantity: i64) -> OrderRequest {
        let request = self.market(desk, symbol, quantity);
        let decision = self.decide(request);
        assert_eq!((decision.reasons, decision.warnings), (Reasons::NONE, Reasons::NONE));
        request
    }

    /// Why a market order is rejected.
    pub(crate) fn reject(&mut self, desk: Desk, symbol: &str, quantity: i64) -> Reasons {
        let request = self.market(desk, symbol, quantity);
        let decision = self.decide(request);
        assert!(!decision.accepted, "{request:?}");
        decision.reasons
    }

    /// An execution of so many billionths at a price; sold when negative.
    pub(crate) fn fill(
        &mut self,
        order: Option<Uid>,
        desk: Desk,
        symbol: &str,
        quantity: i64,
        price: i64,
    ) -> PositionChange {
        let side = if quantity < 0 { Side::Sell } else { Side::Buy };
        PositionChange {
            desk,
            instrument: name(symbol),
            order_id: order,
            venue: name("XSIM"),
            trade_id: self.uid(),
            side,
            quantity: Quantity::from_nanos(quantity.abs()),
            price: Price::from_nanos(price),
            fee: Money::ZERO,
            done: false,
            ts_event: UnixNanos(self.now),
        }
    }

    pub(crate) fn book(&mut self, change: PositionChange) {
        self.tell(Command::Execution(change)).unwrap();
    }

    /// Books an execution without an order.
    pub(crate) fn hold(&mut self, desk: Desk, symbol: &str, quantity: i64, price: i64) {
        let change = self.fill(None, desk, symbol, quantity, price);
        self.book(change);
    }

    // What is seen from outside.

    pub(crate) fn alerts(&self) -> Vec<(String, AlertKind, AlertLevel)> {
        let alert = |sent: &nautilus_engine::Outgoing| match &sent.body {
            Body::RiskAlert(RiskAlert { scope, kind, level, .. }) => Some((scope.to_string(), *kind, *level)),
            _ => None,
        };
        self.out.mesh.iter().filter_map(alert).collect()
    }

    pub(crate) fn part(&self, path: &str) -> PartView {
        let all = match scope(path).portfolio {
            None => self.engine.overview(),
            Some(portfolio) => self.engine.portfolio(portfolio).unwrap().parts,
        };
        all.into_iter().find(|part| part.scope == path).unwrap()
    }

    pub(crate) fn position(&self, desk: Desk, symbol: &str) -> Option<PositionView> {
        let symbol: Symbol = name(symbol);
        let all = self.engine.portfolio(desk.portfolio)?.positions;
        all.into_iter().find(|position| position.desk == desk && position.instrument == symbol)
    }

    /// An engine from a snapshot and the facts that came later.
    pub(crate) fn recovered(&self, snapshot: Option<&[u8]>, facts: usize) -> RiskEngine {
        let mut engine = RiskEngine::new(self.settings);
        if let Some(snapshot) = snapshot {
            engine.restore(snapshot).unwrap();
        }
        for (at, fact) in self.facts.iter().skip(facts) {
            engine.recover(at, fact).unwrap();
        }
        engine
    }

    /// Steps frames once more, as the star does behind a restart; none of them tells a fact.
    pub(crate) fn feed(engine: &mut RiskEngine, frames: &[u8]) {
        let mut out = Effects::default();
        for frame in Frames::new(frames) {
            let frame = frame.unwrap();
            engine.step(Stamp { now: frame.header().ts_recv(), index: 0 }, Input::Frame(frame), &mut out);
            assert!(out.facts.is_empty(), "{:?}", frame.header());
            out.clear();
        }
    }
}

pub(crate) fn new(quantity: i64, limit_price: Option<i64>) -> OrderAction {
    OrderAction::New {
        side: if quantity < 0 { Side::Sell } else { Side::Buy },
        quantity: Quantity::from_nanos(quantity.abs()),
        limit_price: limit_price.map(Price::from_nanos),
    }
}

pub(crate) fn message(body: Body, now: u64) -> Message {
    let id = MessageId { producer: EngineName::Vpin, epoch: 1, sequence: now };
    Message { id, ts: UnixNanos(now), correlation_id: 0, priority: Priority::Normal, body }
}
