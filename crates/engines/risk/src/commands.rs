//! What people change: portfolios, rates, limits, the kill switch; and how every fact is applied.

use std::collections::{BTreeMap, BTreeSet};

use nautilus_engine::Effects;
use nautilus_messages::mesh::{
    AlertKind, AlertLevel, OrderAction, OrderRequest, PositionChange, Reasons, Scope,
};
use nautilus_types::{Currency, DeskName, Side, UnixNanos};

use crate::closes::Source;
use crate::engine::RiskEngine;
use crate::facts::{Change, Fact, Portfolio};
use crate::gate::Clock;
use crate::hierarchy::{FIRM, NODES_MAX, NOWHERE, Node, TradingState};
use crate::orders::Order;
use crate::positions::Recent;
use crate::proposals::Proposal;

/// Currencies at most.
const RATES_MAX: usize = 256;
/// Bytes of a person's name, and of a reason.
const NAME_MAX: usize = 64;
const REASON_MAX: usize = 1_024;

type Refused = (&'static str, String);

impl RiskEngine {
    /// More capital loosens limits that are measured against it, and waits like them.
    pub(crate) fn declare(&mut self, mut portfolio: Portfolio, out: &mut Effects) {
        if let Err((code, detail)) = self.check_portfolio(&portfolio) {
            return out.refuse(code, detail);
        }
        let scope = Scope { portfolio: Some(portfolio.name), ..Scope::default() };
        let capital = |this: &Self| {
            let hierarchy = &this.positions.hierarchy;
            hierarchy.find(&scope).map(|number| hierarchy.node(number).capital)
        };
        if capital(self).is_some_and(|present| present != portfolio.capital) {
            let change = Change::Capital(portfolio.capital);
            self.change(scope, change, portfolio.by.clone(), String::new(), out);
            if out.refusal.is_some() {
                return;
            }
            portfolio.capital = capital(self).unwrap_or(portfolio.capital);
        }
        self.record(Fact::Portfolio(portfolio), out);
    }

    fn check_portfolio(&self, portfolio: &Portfolio) -> Result<(), Refused> {
        let Portfolio { name, currency, capital, books, by } = portfolio;
        self.check_room()?;
        check_name(by)?;
        if !capital.is_positive() {
            return Err(invalid_capital());
        }
        if *currency != self.positions.currency() && !self.positions.rates.contains_key(currency) {
            let detail = format!("currency: {currency} has no rate; PUT /v1/fx first");
            return Err(("unknown_currency", detail));
        }
        if books.is_empty() || books.iter().any(|(_, strategies)| strategies.is_empty()) {
            return Err((
                "no_strategy",
                "books: give at least one book, and in each at least one strategy".to_owned(),
            ));
        }
        let hierarchy = &self.positions.hierarchy;
        let too_many = || {
            let detail = format!("books: the firm may have {NODES_MAX} portfolios, books and strategies");
            Err(("too_many_desks", detail))
        };
        if books.iter().map(|(_, strategies)| 1 + strategies.len()).sum::<usize>() > NODES_MAX {
            return too_many();
        }
        let scopes = scopes(*name, books);
        let new = scopes.iter().filter(|scope| hierarchy.find(scope).is_none()).count();
        if hierarchy.nodes.len() + new > NODES_MAX {
            return too_many();
        }
        if let Some(gone) = hierarchy.parts(*name).find(|part| !scopes.contains(&hierarchy.node(*part).scope))
        {
            let gone = hierarchy.node(gone).scope;
            return Err((
                "desk_left_out",
                format!("books: {gone} exists; what has a history cannot be taken away"),
            ));
        }
        let present = hierarchy.parts(*name).next().map(|number| hierarchy.node(number).currency);
        if present.is_some_and(|present| present != *currency) {
            return Err((
                "currency_fixed",
                "currency: a portfolio keeps its currency; declare another one".to_owned(),
            ));
        }
        Ok(())
    }

    pub(crate) fn exchange(&mut self, rates: BTreeMap<Currency, i64>, by: String, out: &mut Effects) {
        match self.check_rates(&rates, &by) {
            Ok(()) => self.record(Fact::Rates { rates: rates.into_iter().collect(), by }, out),
            Err((code, detail)) => out.refuse(code, detail),
        }
    }

    fn check_rates(&self, rates: &BTreeMap<Currency, i64>, by: &str) -> Result<(), Refused> {
        self.check_room()?;
        check_name(by)?;
        if let Some((currency, _)) = rates.iter().find(|(_, rate)| **rate <= 0) {
            return Err(("invalid_rate", format!("{currency}: a rate is above zero")));
        }
        if rates.len() > RATES_MAX {
            return Err(("too_many_rates", format!("at most {RATES_MAX} currencies are kept")));
        }
        let firms = self.positions.currency();
        if rates.contains_key(&firms) {
            return Err(("invalid_rate", format!("{firms}: this is the firm's currency; its rate is one")));
        }
        let is_missing = |currency: &Currency| *currency != firms && !rates.contains_key(currency);
        let hierarchy = &self.positions.hierarchy;
        let mut kept = hierarchy.portfolios().map(|number| hierarchy.node(number).currency);
        if let Some(currency) = kept.find(is_missing) {
            return Err((
                "rate_missing",
                format!("{currency}: a portfolio is kept in it; give its rate, too"),
            ));
        }
        // Without it, profit and exposure would go out of all sums.
        let mut traded = self.positions.currencies_with_rate();
        if let Some(currency) = traded.find(is_missing) {
            return Err((
                "rate_missing",
                format!("{currency}: there are positions in it; give its rate, too"),
            ));
        }
        Ok(())
    }

    /// What makes more work has to wait while the journal is full.
    pub(crate) fn check_room(&self) -> Result<(), Refused> {
        if self.has_room {
            return Ok(());
        }
        Err(("journal_full", "the journal has no room; free disk space, then try again".to_owned()))
    }

    /// Brings a change into force, or has it wait for a second person.
    pub(crate) fn change(
        &mut self,
        scope: Scope,
        change: Change,
        by: String,
        reason: String,
        out: &mut Effects,
    ) {
        let checked =
            check_name(&by).and_then(|()| check_reason(&reason)).and_then(|()| self.checked(&scope, change));
        let change = match checked {
            Ok(change) => change,
            Err((code, detail)) => return out.refuse(code, detail),
        };
        let loosens = self.loosens(&scope, &change);
        if let (true, Err((code, detail))) = (loosens, self.check_room()) {
            return out.refuse(code, detail);
        }
        if !self.settings.second_approver || !loosens {
            let (approved_by, proposal) = (None, None);
            return self.enact(Fact::Changed { scope, change, by, approved_by, proposal, reason }, out);
        }
        if self.proposals.is_full() {
            return out.refuse("too_many_proposals", "approve or withdraw what waits first");
        }
        let id = self.proposals.next();
        self.record(Fact::Proposed { id, scope, change, by, reason }, out);
    }

    fn checked(&self, scope: &Scope, mut change: Change) -> Result<Change, Refused> {
        if self.positions.hierarchy.find(scope).is_none() {
            return Err((
                "unknown_desk",
                format!("scope: there is no {scope}; PUT /v1/portfolios/{{name}} declares it"),
            ));
        }
        match &mut change {
            Change::Limits(limits) => {
                limits.check().map_err(|reason| ("invalid_limits", reason))?;
                if let Some(list) = &mut limits.restricted {
                    list.sort_unstable();
                    list.dedup();
                }
            }
            Change::DeadMan(_) if *scope != Scope::default() => {
                return Err(("invalid_scope", "scope: the dead-man timer is the firm's".to_owned()));
            }
            Change::Capital(_) if scope.portfolio.is_none() || scope.book.is_some() => {
                return Err(("invalid_scope", "scope: capital is a portfolio's".to_owned()));
            }
            Change::Capital(capital) if !capital.is_positive() => return Err(invalid_capital()),
            Change::State(_) | Change::DeadMan(_) | Change::Capital(_) => {}
        }
        Ok(change)
    }

    fn loosens(&self, scope: &Scope, change: &Change) -> bool {
        let hierarchy = &self.positions.hierarchy;
        let Some(number) = hierarchy.find(scope) else { return true };
        let node = hierarchy.node(number);
        match change {
            Change::Limits(limits) => {
                let above = hierarchy
                    .path(number)
                    .skip(1)
                    .fold(0, |set, above| set | hierarchy.node(above).least.set);
                limits.loosens(node.limits(), above)
            }
            Change::State(state) => *state < node.state,
            Change::Capital(capital) => *capital > node.capital,
            Change::DeadMan(timeout_ms) => {
                let never_is_last = |timeout: u64| timeout.wrapping_sub(1);
                never_is_last(*timeout_ms) > never_is_last(self.dead_man.timeout_ms)
            }
        }
    }

    fn enact(&mut self, fact: Fact, out: &mut Effects) {
        let Fact::Changed { scope, change, .. } = &fact else { return };
        let turned = if let Change::State(state) = change { Some((*scope, *state)) } else { None };
        self.record(fact, out);
        if let Some((scope, state)) = turned {
            let level = match state {
                TradingState::Active => AlertLevel::Cleared,
                TradingState::Reducing => AlertLevel::Soft,
                TradingState::Halted => AlertLevel::Hard,
            };
            self.alerts.stopped(scope, AlertKind::KillSwitch, level, self.clock.now, out);
        }
    }

    pub(crate) fn approve(&mut self, id: u64, by: String, out: &mut Effects) {
        let Some(proposal) = self.proposals.get(id).cloned() else { return unknown_proposal(id, out) };
        if proposal.by.trim().eq_ignore_ascii_case(by.trim()) {
            let detail = format!("{by} asked for this change; somebody else has to approve it");
            return out.refuse("same_person", detail);
        }
        if let Err((code, detail)) = check_name(&by).and_then(|()| self.check_room()) {
            return out.refuse(code, detail);
        }
        let Proposal { scope, change, by: asked, reason, .. } = proposal;
        let (approved_by, proposal) = (Some(by), Some(id));
        self.enact(Fact::Changed { scope, change, by: asked, approved_by, proposal, reason }, out);
    }

    pub(crate) fn withdraw(&mut self, id: u64, by: String, out: &mut Effects) {
        match (self.proposals.get(id), check_name(&by)) {
            (None, _) => unknown_proposal(id, out),
            (_, Err((code, detail))) => out.refuse(code, detail),
            (Some(_), Ok(())) => self.record(Fact::Withdrawn { id, by }, out),
        }
    }

    /// The only way in which what must last changes: while it happens, and when the journal is read back.
    pub(crate) fn apply(&mut self, clock: Clock, fact: Fact) {
        (self.clock, self.recorded_at) = (clock, clock.now);
        let at = clock.now;
        match fact {
            Fact::Instrument { symbol, contract } => {
                if let Some(row) = self.positions.row(symbol) {
                    self.positions.define(row, contract);
                    self.positions.rows[row as usize].recorded = true;
                    self.book_those_waiting();
                }
            }
            Fact::Portfolio(portfolio) => {
                self.enter(portfolio);
                self.book_those_waiting();
            }
            Fact::Rates { rates, .. } => self.positions.exchange_rates(rates.into_iter().collect()),
            Fact::Changed { scope, change, .. } => {
                self.proposals.supersede(&scope, &change);
                self.put(&scope, change);
            }
            Fact::Proposed { id, scope, change, by, reason } => {
                self.proposals.insert(id, Proposal { scope, change, by, reason, at });
            }
            Fact::Withdrawn { id, .. } => self.proposals.remove(id),
            Fact::Decision { request, reasons, warnings } => self.take_order(at, request, reasons, warnings),
            Fact::Cancel { order_id } => {
                if let Some(order) = self.orders.find_mut(order_id) {
                    order.cancelling = true;
                }
            }
            Fact::Execution(change) => {
                self.executions.push((change.venue, change.trade_id));
                self.book(change);
            }
            Fact::Day { day, nodes } => {
                self.day = day;
                self.at_nodes(nodes, |node, profit| node.day_start = profit);
            }
            Fact::Peaks(nodes) => self.at_nodes(nodes, |node, profit| node.peak = profit),
            Fact::Scenarios { instruments, by } => self.expect_returns(instruments, Source::Given { by }),
            Fact::Returns(returns) => self.take_returns(returns),
            Fact::Forecast { portfolio, closed, next } => self.forecasts.turn(portfolio, closed, next),
            Fact::Closes { day, closes, .. } => self.closes.record(day, closes),
            Fact::Collected { instruments, revision } => {
                self.expect_returns(instruments, Source::Market { revision });
            }
            Fact::ScenariosWithdrawn { .. } => self.drop_scenarios(),
        }
    }

    fn at_nodes(&mut self, amounts: Vec<(Scope, i128)>, put: impl Fn(&mut Node, i128)) {
        let hierarchy = &mut self.positions.hierarchy;
        for (scope, amount) in amounts {
            if let Some(number) = hierarchy.find(&scope) {
                put(&mut hierarchy.nodes[number as usize], amount);
            }
        }
    }

    fn enter(&mut self, portfolio: Portfolio) {
        let Portfolio { name, currency, capital, books, .. } = portfolio;
        let hierarchy = &mut self.positions.hierarchy;
        let whole = Scope { portfolio: Some(name), ..Scope::default() };
        let top = hierarchy.admit(whole, FIRM, currency);
        for (book, strategies) in books {
            let scope = Scope { book: Some(book), ..whole };
            let parent = hierarchy.admit(scope, top, currency);
            for strategy in strategies {
                hierarchy.admit(Scope { strategy: Some(strategy), ..scope }, parent, currency);
            }
        }
        self.positions.set_capital(name, capital);
    }

    fn put(&mut self, scope: &Scope, change: Change) {
        let Some(number) = self.positions.hierarchy.find(scope) else { return };
        let node = &mut self.positions.hierarchy.nodes[number as usize];
        match change {
            Change::Limits(limits) => self.positions.limit(number, limits),
            Change::State(state) => node.state = state,
            Change::Capital(capital) => {
                let portfolio = node.scope.portfolio;
                portfolio.into_iter().for_each(|name| self.positions.set_capital(name, capital));
            }
            Change::DeadMan(timeout_ms) => {
                self.dead_man.timeout_ms = timeout_ms;
                self.dead_man.alive = Some(self.clock.now);
            }
        }
    }

    fn take_order(&mut self, at: UnixNanos, request: OrderRequest, reasons: Reasons, warnings: Reasons) {
        let (leaf, row) = (NOWHERE, NOWHERE);
        let mut order =
            Order { request, reasons, warnings, at, leaf, row, left: 0, filled: 0, cancelling: false };
        if let OrderAction::New { side, quantity, limit_price } = request.action
            && reasons.is_empty()
            && let Some(leaf) = self.positions.leaf(&request.desk)
            && let Some(row) = self.positions.find(request.instrument)
        {
            (order.leaf, order.row, order.left) = (leaf, row, quantity.nanos());
            self.positions.open(leaf, row, side, order.left);
            self.positions.remember(leaf, row, Recent { side, quantity: order.left, limit: limit_price, at });
            self.spend(leaf, at);
        }
        self.orders.push(order);
    }

    /// One order less this second, wherever orders are counted.
    fn spend(&mut self, leaf: u32, at: UnixNanos) {
        let mut number = leaf;
        while number != NOWHERE {
            let node = &mut self.positions.hierarchy.nodes[number as usize];
            if let Some(rate) = node.least.orders_per_second {
                node.bucket.take(rate, at.0);
            }
            number = node.parent;
        }
    }

    fn book_those_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.unbooked);
        waiting.into_iter().for_each(|change| self.book(change));
    }

    /// Where an execution is booked: `None` while its desk or instrument is not known, or an amount does not fit.
    pub(crate) fn place(&self, change: &PositionChange) -> Option<(u32, u32)> {
        let leaf = self.positions.leaf(&change.desk)?;
        let row = self.positions.find(change.instrument)?;
        let (price, fee) = (change.price.nanos(), change.fee.nanos());
        self.positions.booked(leaf, row, signed(change), price, fee).map(|_| (leaf, row))
    }

    /// Books an execution, or keeps it until its desk and instrument are known.
    fn book(&mut self, change: PositionChange) {
        let Some((leaf, row)) = self.place(&change) else { return self.unbooked.push(change) };
        let quantity = change.quantity.nanos();
        let (price, fee) = (change.price.nanos(), change.fee.nanos());
        if quantity != 0 || fee != 0 {
            self.positions.book(leaf, row, signed(&change), price, fee).expect("it fitted a moment ago");
        }
        let Some(order) = change.order_id.and_then(|id| self.orders.find_mut(id)) else { return };
        let executed = quantity.min(order.left);
        order.filled = order.filled.saturating_add(quantity);
        let over = if change.done { order.left } else { executed };
        order.left -= over;
        if let OrderAction::New { side, .. } = order.request.action
            && over != 0
        {
            let (leaf, row) = (order.leaf, order.row);
            self.positions.open(leaf, row, side, -over);
        }
    }
}

fn signed(change: &PositionChange) -> i64 {
    let quantity = change.quantity.nanos();
    if change.side == Side::Buy { quantity } else { quantity.saturating_neg() }
}

fn invalid_capital() -> Refused {
    ("invalid_capital", "capital: give an amount above zero; limits are measured against it".to_owned())
}

pub(crate) fn check_name(by: &str) -> Result<(), Refused> {
    if !by.trim().is_empty() && by.len() <= NAME_MAX {
        return Ok(());
    }
    Err(("invalid_name", format!("by: say who asks, in 1 to {NAME_MAX} bytes")))
}

fn check_reason(reason: &str) -> Result<(), Refused> {
    if reason.len() <= REASON_MAX {
        return Ok(());
    }
    Err(("invalid_reason", format!("reason: at most {REASON_MAX} bytes are kept")))
}

fn scopes(name: DeskName, books: &[(DeskName, Vec<DeskName>)]) -> BTreeSet<Scope> {
    let whole = Scope { portfolio: Some(name), ..Scope::default() };
    let mut scopes = BTreeSet::from([whole]);
    for (book, strategies) in books {
        let book = Scope { book: Some(*book), ..whole };
        scopes.insert(book);
        scopes.extend(strategies.iter().map(|strategy| Scope { strategy: Some(*strategy), ..book }));
    }
    scopes
}

fn unknown_proposal(id: u64, out: &mut Effects) {
    out.refuse("unknown_proposal", format!("no proposal {id} waits; GET /v1/proposals lists all that do"));
}
