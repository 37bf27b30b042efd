//! The live engine: market data, orders and executions in; decisions, facts and alerts out.
//!
//! What an order may do is decided by `gate`, what positions are worth by `positions`. Here is which of them is asked,
//! and that everything which must last is a fact first.

use std::collections::BTreeMap;

use nautilus_engine::{Effects, Engine, Input, RestoreError, Stamp};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, Header, NO_PRICE, Quote, Trade, flags};
use nautilus_messages::mesh::{
    AlertKind, AlertLevel, Body, Message, OrderAction, OrderDecision, OrderRequest, PositionChange, Priority,
    Reason, Reasons, Scope, Uid,
};
use nautilus_types::{Currency, InstrumentId, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::alerts::Alerts;
use crate::closes::{CLOSES_DAYS_MAX, Closes, GivenCloses, SCENARIO_DAYS_MIN, Source};
use crate::facts::{Change, Fact, Portfolio};
use crate::forecasts::Forecasts;
use crate::gate::{Answer, Clock, Gate};
use crate::hierarchy::{FIRM, Node, TradingState};
use crate::limits::{Breach, Limits};
use crate::live::Loadings;
use crate::measured::Metrics;
use crate::model::{ScenarioSet, Scenarios};
use crate::orders::{Executions, Orders};
use crate::positions::{Contract, Mark, Positions};
use crate::proposals::Proposals;

/// Executions kept until their desk or instrument is known.
pub(crate) const UNBOOKED_MAX: usize = 4_096;
/// How far clocks that are right may be apart. One that is behind by more was put back.
const CLOCKS_DIFFER_NS: u64 = 5_000_000_000;

/// What the engine is told once: section `[engines.risk]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The firm's currency: what portfolios in others are converted into.
    pub currency: Currency,
    /// A price that is older, in milliseconds, is too old to trade on.
    pub mark_age_max_ms: u64,
    /// Accepted orders that are remembered; when so many are younger than a day, further ones are rejected. Of rejected ones
    /// the newest are, a quarter as many.
    pub orders_remembered: usize,
    /// Whether what loosens a limit, or lets trading go on, needs a second person.
    pub second_approver: bool,
    /// Measures go to the mesh when one has moved by more than this share of itself, in basis points.
    pub metric_move_bps: u32,
    /// Whether closes are recorded when a UTC day of market time ends, and scenarios made of them.
    pub scenarios_from_market: bool,
    /// Scenarios of the market, at most: the newest daily returns.
    pub scenario_days: usize,
}

impl Settings {
    /// Refuses what no setting can be.
    ///
    /// # Errors
    /// The setting, and what to give.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(1..=86_400_000).contains(&self.mark_age_max_ms) {
            return Err(("mark_age_max_ms", "give 1 to 86400000 (a day)"));
        }
        if !(1_024..=1 << 22).contains(&self.orders_remembered) {
            return Err(("orders_remembered", "give 1024 to 4194304; each takes some 200 bytes"));
        }
        if !(SCENARIO_DAYS_MIN..CLOSES_DAYS_MAX).contains(&self.scenario_days) {
            return Err(("scenario_days", "give 20 to 1260"));
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            currency: "USD".parse().expect("a currency"),
            mark_age_max_ms: 60_000,
            orders_remembered: 1 << 18,
            second_approver: true,
            metric_move_bps: 100,
            scenarios_from_market: true,
            scenario_days: 250,
        }
    }
}

/// What the HTTP interface may ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Declares a portfolio, or more of one.
    Portfolio(Portfolio),
    /// What currencies are worth in the firm's.
    Rates {
        /// In billionths.
        rates: BTreeMap<Currency, i64>,
        /// Who says so.
        by: String,
    },
    /// Other limits, another state or dead-man timer. What loosens any waits for a second person.
    Change {
        /// Where.
        scope: Scope,
        /// What.
        change: Change,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
    },
    /// A second person lets a change come into force.
    Approve {
        /// Which.
        id: u64,
        /// Who.
        by: String,
    },
    /// A change is not wanted any more.
    Withdraw {
        /// Which.
        id: u64,
        /// Who.
        by: String,
    },
    /// Other scenarios. Those of the market do not replace them.
    Scenarios {
        /// With the model that follows from them.
        scenarios: Box<Scenarios>,
        /// Who says so.
        by: String,
    },
    /// Scenarios made of [`RiskEngine::new_closes`]; nothing where newer ones or a person's are in force.
    Collected {
        /// With the model that follows from them.
        scenarios: Box<Scenarios>,
        /// Of the closes.
        revision: u64,
    },
    /// The scenarios in force are not wanted any more: those of the market are.
    WithdrawScenarios {
        /// Who says so.
        by: String,
    },
    /// Closes of days that are over.
    Closes {
        /// By day and instrument.
        closes: GivenCloses,
        /// Who says so.
        by: String,
    },
    /// An order, or its cancel.
    Order(OrderRequest),
    /// An execution, or the end of an order.
    Execution(PositionChange),
    /// Whoever watches over trading is alive.
    Heartbeat,
    /// Time goes on: what was left for later is done, so that measures are of now.
    Tick,
}

/// The dead-man timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeadMan {
    /// Zero when it is off.
    pub(crate) timeout_ms: u64,
    /// The last sign of life; none since the start.
    pub(crate) alive: Option<UnixNanos>,
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) executions: u64,
}

/// The engine of the risk service.
#[derive(Debug)]
pub struct RiskEngine {
    pub(crate) settings: Settings,
    pub(crate) positions: Positions,
    pub(crate) orders: Orders,
    pub(crate) executions: Executions,
    pub(crate) unbooked: Vec<PositionChange>,
    pub(crate) proposals: Proposals,
    pub(crate) dead_man: DeadMan,
    pub(crate) clock: Clock,
    /// When the last fact was recorded: what of the clock is kept, so that time alone changes no state.
    pub(crate) recorded_at: UnixNanos,
    /// Of the market; zero before its first.
    pub(crate) day: u64,
    pub(crate) alerts: Alerts,
    pub(crate) forecasts: Forecasts,
    pub(crate) closes: Closes,
    /// Of the scenarios in force.
    pub(crate) source: Source,
    /// Scenarios of which lists are still to come, and the model of those that are being taken in.
    pub(crate) incoming: Option<(ScenarioSet, Source)>,
    pub(crate) prepared: Option<Loadings>,
    pub(crate) metrics: Metrics,
    pub(crate) counts: Counts,
    /// The journal takes more than cancels.
    pub(crate) has_room: bool,
    /// The market's time of the last fact that was read back: prices up to then were those of other positions.
    pub(crate) known_until: UnixNanos,
}

impl RiskEngine {
    /// An engine without portfolios: it rejects every order.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            positions: Positions::new(settings.currency),
            orders: Orders::new(settings.orders_remembered),
            executions: Executions::new(settings.orders_remembered),
            unbooked: Vec::new(),
            proposals: Proposals::default(),
            dead_man: DeadMan::default(),
            clock: Clock::default(),
            recorded_at: UnixNanos(0),
            day: 0,
            alerts: Alerts::default(),
            forecasts: Forecasts::default(),
            closes: Closes::default(),
            source: Source::default(),
            incoming: None,
            prepared: None,
            metrics: Metrics::default(),
            counts: Counts::default(),
            has_room: true,
            known_until: UnixNanos(0),
        }
    }

    fn gate(&self) -> Gate<'_> {
        Gate {
            positions: &self.positions,
            clock: self.clock,
            mark_age_max_ns: self.settings.mark_age_max_ms * 1_000_000,
        }
    }

    /// What the gate would say of an order now, with every limit that it would be beyond. Changes nothing.
    pub(crate) fn examine(&self, request: &OrderRequest, now: UnixNanos, sink: impl FnMut(Breach)) -> Answer {
        let mut gate = self.gate();
        gate.clock.now = gate.clock.now.max(now);
        gate.check(request, sink)
    }

    /// The decision on an order that needs no look at the books: one that was decided before, or cannot be kept.
    #[must_use]
    pub fn known(&self, request: &OrderRequest) -> Option<OrderDecision> {
        let order_id = request.order_id;
        if request.action == OrderAction::Cancel {
            return Some(let_through(order_id));
        }
        let decision = |reasons: Reasons, warnings| {
            Some(OrderDecision { order_id, accepted: reasons.is_empty(), reasons, warnings })
        };
        match self.orders.find(order_id) {
            Some(order) if order.request == *request => decision(order.reasons, order.warnings),
            Some(_) => decision(Reason::OrderIdReused.into(), Reasons::NONE),
            None if !self.has_room => decision(Reason::JournalFull.into(), Reasons::NONE),
            None if !self.orders.has_room(self.clock.now) => {
                decision(Reason::TooManyOrders.into(), Reasons::NONE)
            }
            None => None,
        }
    }

    /// Decides an order. What was decided before is said again.
    fn decide(&mut self, request: &OrderRequest, out: &mut Effects) -> OrderDecision {
        if request.action == OrderAction::Cancel {
            return self.cancel(request.order_id, out);
        }
        if let Some(decision) = self.known(request) {
            return decision;
        }
        let Answer { ticket, reasons, warnings } = self.gate().check(request, |_| {});
        if let Some(ticket) = ticket {
            self.record_instrument(ticket.row, out);
        }
        self.record(Fact::Decision { request: *request, reasons, warnings }, out);
        let accepted = reasons.is_empty();
        let count = if accepted { &mut self.counts.accepted } else { &mut self.counts.rejected };
        *count += 1;
        OrderDecision { order_id: request.order_id, accepted, reasons, warnings }
    }

    /// Cancels are let through whatever happens, of orders that nobody knows, too.
    fn cancel(&mut self, order_id: Uid, out: &mut Effects) -> OrderDecision {
        if self.orders.find(order_id).is_some_and(|order| order.left != 0 && !order.cancelling) {
            self.record(Fact::Cancel { order_id }, out);
        }
        let_through(order_id)
    }

    /// The journal names an instrument before anything that refers to it.
    fn record_instrument(&mut self, row: u32, out: &mut Effects) {
        let entry = &self.positions.rows[row as usize];
        if let (Some(contract), false) = (entry.contract, entry.recorded) {
            self.record(Fact::Instrument { symbol: self.positions.roster.symbol(row), contract }, out);
        }
    }

    /// Books an execution once; one that nothing is known of yet waits.
    fn execute(&mut self, change: &PositionChange, out: &mut Effects) {
        if change.quantity.nanos() < 0 {
            return out.refuse(
                "invalid_quantity",
                "quantity: an execution is of zero or more; side says which way",
            );
        }
        if self.executions.contains((change.venue, change.trade_id)) {
            return;
        }
        let waits = self.place(change).is_none();
        if waits {
            self.alerts.of_execution(change, AlertKind::UnbookedFill, self.clock.now, out);
        }
        if waits && self.unbooked.len() >= UNBOOKED_MAX {
            let detail =
                format!("{UNBOOKED_MAX} executions wait for their desk or instrument; declare those first");
            return out.refuse("too_many_unbooked", detail);
        }
        if self.is_too_much(change) {
            self.alerts.of_execution(change, AlertKind::Overfill, self.clock.now, out);
        }
        if let Some(row) = self.positions.find(change.instrument) {
            self.record_instrument(row, out);
        }
        self.record(Fact::Execution(*change), out);
        self.counts.executions += 1;
        if let Some(leaf) = self.positions.leaf(&change.desk) {
            let hierarchy = &self.positions.hierarchy;
            self.alerts.watch(hierarchy, hierarchy.path(leaf), self.clock.now, out);
        }
    }

    /// Whether more was executed than was let through.
    fn is_too_much(&self, change: &PositionChange) -> bool {
        let Some(order) = change.order_id.and_then(|id| self.orders.find(id)) else { return false };
        let OrderAction::New { quantity, .. } = order.request.action else { return false };
        let most = if order.reasons.is_empty() { quantity.nanos() } else { 0 };
        order.filled.saturating_add(change.quantity.nanos()) > most
    }

    /// Applies a fact and has it written.
    pub(crate) fn record(&mut self, fact: Fact, out: &mut Effects) {
        let Clock { now, market } = self.clock;
        out.facts.push(now, |buffer| {
            let bytes = postcard::to_extend(&(market, &fact), std::mem::take(buffer));
            *buffer = bytes.expect("facts are plain data, which postcard always encodes");
        });
        self.apply(self.clock, fact);
    }

    /// Alerts of limits that were crossed, and highest profits, since the last look.
    #[cold]
    fn look(&mut self, event: UnixNanos, out: &mut Effects) {
        let nodes = &self.positions.hierarchy.nodes;
        self.alerts.watch(&self.positions.hierarchy, 0..nodes.len() as u32, self.clock.now, out);
        if !self.alerts.are_peaks_due(event) || event <= self.known_until {
            return;
        }
        let is_higher = |node: &&Node| node.sums.unvalued == 0 && node.sums.profit > node.peak;
        let higher: Vec<_> =
            nodes.iter().filter(is_higher).map(|node| (node.scope, node.sums.profit)).collect();
        if !higher.is_empty() {
            self.record(Fact::Peaks(higher), out);
        }
    }

    #[inline]
    fn market(&mut self, at: UnixNanos, out: &mut Effects) {
        self.clock.market = self.clock.market.max(at);
        let day = self.clock.market.day();
        if day > self.day {
            let begun = self.day != 0 || self.positions.hierarchy.nodes.len() > 1;
            if begun {
                let closes = self.closing_marks();
                let has_traded = !closes.is_empty();
                if self.day != 0 && has_traded && self.settings.scenarios_from_market {
                    self.record(Fact::Closes { day: self.day, closes, by: None }, out);
                }
                self.turn_forecasts(day, has_traded, out);
                let nodes = &self.positions.hierarchy.nodes;
                let nodes = nodes.iter().map(|node| (node.scope, node.sums.profit)).collect();
                self.record(Fact::Day { day, nodes }, out);
            }
            self.day = day;
        }
    }

    /// The source of an instrument starts over, so that the market's time goes back to its first event.
    #[cold]
    fn start_over(&mut self, row: u32, at: UnixNanos) {
        self.positions.rows[row as usize].starts_over = false;
        if at < self.clock.market {
            self.clock.market = at;
            self.known_until = UnixNanos(0);
            self.alerts.start_over();
        }
    }

    fn define(&mut self, definition: &Definition) {
        let Ok(instrument) = definition.instrument() else { return };
        let Some(row) = self.positions.number(instrument.id, instrument.symbol) else { return };
        self.positions.define(row, Contract::from(&instrument));
        self.positions.rows[row as usize].starts_over |= definition.header.has(flags::STARTS_OVER);
    }

    /// Executions that waited for an instrument are booked once it is defined.
    fn book_waiting(&mut self, symbol: Symbol, out: &mut Effects) {
        if self.unbooked.iter().any(|change| change.instrument == symbol)
            && let Some(row) = self.positions.find(symbol)
        {
            self.record_instrument(row, out);
        }
    }

    /// The row of an instrument; the definition of one that has none is asked for.
    #[inline]
    fn row(&mut self, header: &Header, out: &mut Effects) -> Option<u32> {
        let row = self.positions.roster.row(header.instrument());
        match row {
            Some(row) if self.positions.rows[row as usize].starts_over => {
                self.start_over(row, header.ts_event());
            }
            None if header.has(flags::CONTIGUOUS) => out.want_snapshot(header.instrument()),
            _ => {}
        }
        row
    }

    #[inline]
    fn trade(&mut self, trade: &Trade, out: &mut Effects) {
        let Some(row) = self.row(&trade.header, out) else { return };
        if !self.positions.rows[row as usize].quoted {
            self.mark(row, trade.price_nanos.get(), &trade.header);
        }
    }

    /// The middle of the best bid and ask, where there are both.
    #[inline]
    fn quote(&mut self, quote: &Quote, out: &mut Effects) {
        let Some(row) = self.row(&quote.header, out) else { return };
        let (bid, ask) = (quote.bid_nanos.get(), quote.ask_nanos.get());
        if bid == NO_PRICE || ask == NO_PRICE {
            return;
        }
        self.positions.rows[row as usize].quoted = true;
        self.mark(row, i64::midpoint(bid, ask), &quote.header);
    }

    #[inline]
    fn mark(&mut self, row: u32, price: i64, header: &Header) {
        let mark = Mark { price, at: header.ts_recv(), live: !header.has(flags::REPLAY) };
        self.positions.mark(row, mark);
    }

    fn frame(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        // By the frame's own time: behind a restart it is the same as it was before.
        let event = happened(frame.header());
        if frame.header().instrument() != InstrumentId::NONE {
            self.market(event, out);
        }
        match frame {
            FrameRef::Trade(trade) => self.trade(trade, out),
            FrameRef::Quote(quote) => self.quote(quote, out),
            FrameRef::Definition(definition) => {
                self.define(definition);
                if let Ok(instrument) = definition.instrument() {
                    self.book_waiting(instrument.symbol, out);
                }
            }
            _ => {}
        }
        if self.alerts.is_due(event) {
            self.look(event, out);
        }
    }

    fn message(&mut self, message: &Message, out: &mut Effects) {
        match &message.body {
            Body::OrderRequest(request) => {
                let decision = self.decide(request, out);
                out.answer(message, Body::OrderDecision(decision));
            }
            Body::PositionChange(change) => {
                self.execute(change, out);
                // Nobody waits for an answer on the mesh; what cannot be an execution is dropped there.
                out.refusal = None;
            }
            _ => {}
        }
    }

    fn command(&mut self, command: Command, out: &mut Effects) {
        match command {
            Command::Order(request) => {
                let decision = self.decide(&request, out);
                out.send(Priority::Normal, Body::OrderDecision(decision));
            }
            Command::Execution(change) => self.execute(&change, out),
            Command::Portfolio(portfolio) => self.declare(portfolio, out),
            Command::Rates { rates, by } => self.exchange(rates, by, out),
            Command::Change { scope, change, by, reason } => self.change(scope, change, by, reason, out),
            Command::Approve { id, by } => self.approve(id, by, out),
            Command::Withdraw { id, by } => self.withdraw(id, by, out),
            Command::Scenarios { scenarios, by } => {
                let instruments = scenarios.set.instruments.clone();
                self.take_scenarios(*scenarios, Fact::Scenarios { instruments, by }, out);
            }
            Command::Collected { scenarios, revision } => self.take_collected(*scenarios, revision, out),
            Command::WithdrawScenarios { by } => self.withdraw_scenarios(by, out),
            Command::Closes { closes, by } => self.give_closes(closes, &by, out),
            Command::Heartbeat => self.dead_man.alive = Some(self.clock.now),
            Command::Tick => self.tick(out),
        }
    }

    /// Time goes on. It never goes back by what clocks differ; one that was put back is followed, or every price would
    /// be too old until it has caught up.
    fn tell(&mut self, now: UnixNanos) {
        if now.0.saturating_add(CLOCKS_DIFFER_NS) < self.clock.now.0 {
            self.clock.now = now;
            self.dead_man.alive = None;
        } else {
            self.clock.now = self.clock.now.max(now);
        }
    }

    /// Stops all trading when nobody was heard of for too long.
    fn tick(&mut self, out: &mut Effects) {
        self.positions.model.refresh();
        self.publish_metrics(out);
        let DeadMan { timeout_ms, alive } = self.dead_man;
        if timeout_ms == 0 {
            return;
        }
        // The time before the start is nobody's fault.
        let alive = *self.dead_man.alive.get_or_insert(alive.unwrap_or(self.clock.now));
        let silent = self.clock.now.0.saturating_sub(alive.0) > timeout_ms.saturating_mul(1_000_000);
        if silent && self.positions.hierarchy.node(FIRM).state != TradingState::Halted {
            let reason = format!("no heartbeat for {timeout_ms} ms");
            let change = Change::State(TradingState::Halted);
            let by = "dead-man timer".to_owned();
            let (scope, approved_by, proposal) = (Scope::default(), None, None);
            self.record(Fact::Changed { scope, change, by, approved_by, proposal, reason }, out);
            self.alerts.stopped(scope, AlertKind::DeadMan, AlertLevel::Hard, self.clock.now, out);
        }
    }
}

/// When it happened. A venue that says it is later than any clock can differ is not believed: one such frame would begin
/// another day, and forgive the losses of this one.
fn happened(header: &Header) -> UnixNanos {
    let (event, received) = (header.ts_event(), header.ts_recv());
    if event.0 > received.0.saturating_add(CLOCKS_DIFFER_NS) { received } else { event }
}

/// The answer to every cancel.
fn let_through(order_id: Uid) -> OrderDecision {
    OrderDecision { order_id, accepted: true, reasons: Reasons::NONE, warnings: Reasons::NONE }
}

impl Engine for RiskEngine {
    const NAME: EngineName = EngineName::Risk;
    type Command = Command;
    /// Questions are answered between two batches instead: the gate has to know the newest state.
    type View = ();

    fn step(&mut self, at: Stamp, input: Input<'_, Command>, out: &mut Effects) {
        match input {
            Input::Frame(frame) => self.frame(frame, out),
            Input::Message(message) => {
                self.tell(at.now);
                self.message(message, out);
            }
            Input::Command(command) => {
                self.tell(at.now);
                self.command(command, out);
            }
            Input::HubRestarted => self.positions.roster.forget_numbers(),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        self.save()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.load(snapshot).map_err(|reason| RestoreError { engine: Self::NAME, reason })
    }

    fn recover(&mut self, at: UnixNanos, fact: &[u8]) -> Result<(), RestoreError> {
        let refuse = |reason: String| RestoreError { engine: Self::NAME, reason };
        match postcard::take_from_bytes(fact) {
            Ok(((market, fact), [])) => {
                self.apply(Clock { now: at, market }, fact);
                self.known_until = market;
                // The time before the start is nobody's fault.
                self.dead_man.alive = None;
                Ok(())
            }
            Ok((_, rest)) => Err(refuse(format!("{} bytes are left over behind a fact", rest.len()))),
            Err(error) => Err(refuse(format!("a fact does not decode ({error})"))),
        }
    }

    fn journal_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    fn publish(&mut self, _: &mut dyn FnMut(Symbol, ())) {}
}

impl RiskEngine {
    /// The limits that are set at a part of the hierarchy.
    #[must_use]
    pub fn limits(&self, scope: &Scope) -> Option<&Limits> {
        Some(self.positions.hierarchy.node(self.positions.hierarchy.find(scope)?).limits())
    }
}
