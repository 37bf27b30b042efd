//! The slow, obvious desk: it keeps what happened and adds everything up anew for every question.
//!
//! It shares no arithmetic with the engine.

use std::collections::{BTreeMap, BTreeSet};

use nautilus_engine_risk::{Limit, Limits, TradingState};
use nautilus_messages::mesh::{Desk, OrderAction, OrderRequest, PositionChange, Reason, Reasons, Scope, Uid};
use nautilus_types::{Currency, Money, Price, Side, Symbol, Venue};

const ONE: i128 = 1_000_000_000;
const DAY: u64 = 86_400_000_000_000;
const SECOND: u64 = 1_000_000_000;

pub(crate) struct Instrument {
    pub(crate) currency: Currency,
    pub(crate) tick: i64,
    pub(crate) lot: i64,
    pub(crate) multiplier: i64,
    pub(crate) quoted: bool,
    /// Price and instant; the instant is zero where only an execution said it.
    pub(crate) mark: Option<(i64, u64)>,
}

pub(crate) struct Node {
    pub(crate) scope: Scope,
    pub(crate) currency: Currency,
    pub(crate) capital: i128,
    pub(crate) limits: Limits,
    pub(crate) state: TradingState,
    pub(crate) peak: i128,
    pub(crate) day_start: i128,
    /// Billionths of orders that may come, and since when.
    tokens: (i128, u64),
}

/// An order that was accepted.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    pub(crate) id: Uid,
    pub(crate) desk: Desk,
    pub(crate) symbol: Symbol,
    pub(crate) side: Side,
    pub(crate) left: i64,
}

#[derive(Default, Clone, Copy, PartialEq, Debug)]
pub(crate) struct Holding {
    pub(crate) quantity: i64,
    /// What was paid for all executions, less what they brought, in the instrument's currency.
    pub(crate) paid: i128,
    pub(crate) fees: i128,
}

/// What a node adds up to.
#[derive(Default, Debug, PartialEq)]
pub(crate) struct Totals {
    pub(crate) gross: i128,
    pub(crate) long: i128,
    pub(crate) short: i128,
    pub(crate) net: i128,
    pub(crate) profit: i128,
    pub(crate) unvalued: u32,
}

type Accepted = (Side, i64, Option<i64>, u64);

pub(crate) struct Model {
    firms: Currency,
    pub(crate) now: u64,
    pub(crate) market: u64,
    day: u64,
    looked_at: u64,
    peaks_at: u64,
    pub(crate) rates: BTreeMap<Currency, i64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) instruments: BTreeMap<Symbol, Instrument>,
    pub(crate) holdings: BTreeMap<(Desk, Symbol), Holding>,
    pub(crate) open: Vec<Open>,
    accepted: BTreeMap<(Desk, Symbol), Vec<Accepted>>,
    pub(crate) answers: BTreeMap<Uid, (OrderRequest, Reasons, Reasons)>,
    executions: BTreeSet<(Venue, Uid)>,
    pub(crate) waiting: Vec<PositionChange>,
}

fn covers(scope: &Scope, desk: &Desk) -> bool {
    scope.portfolio.is_none_or(|portfolio| portfolio == desk.portfolio)
        && scope.book.is_none_or(|book| book == desk.book)
        && scope.strategy.is_none_or(|strategy| strategy == desk.strategy)
}

impl Model {
    pub(crate) fn new(firms: Currency) -> Self {
        let mut this = Self {
            firms,
            now: 0,
            market: 0,
            day: 0,
            looked_at: 0,
            peaks_at: 0,
            rates: BTreeMap::new(),
            nodes: Vec::new(),
            instruments: BTreeMap::new(),
            holdings: BTreeMap::new(),
            open: Vec::new(),
            accepted: BTreeMap::new(),
            answers: BTreeMap::new(),
            executions: BTreeSet::new(),
            waiting: Vec::new(),
        };
        this.node(Scope::default(), firms, 0);
        this
    }

    /// A part of the hierarchy; the firm's capital is that of all portfolios.
    pub(crate) fn node(&mut self, scope: Scope, currency: Currency, capital: i128) {
        let (limits, state) = (Limits::default(), TradingState::Active);
        self.nodes.push(Node {
            scope,
            currency,
            capital,
            limits,
            state,
            peak: 0,
            day_start: 0,
            tokens: (0, 0),
        });
        self.book_those_waiting();
    }

    pub(crate) fn at(&mut self, scope: &Scope) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.scope == *scope).unwrap()
    }

    /// Into another currency, rounded towards zero.
    fn convert(&self, amount: i128, from: Currency, to: Currency) -> Option<i128> {
        let rate = |currency: Currency| {
            if currency == self.firms {
                Some(ONE)
            } else {
                self.rates.get(&currency).map(|rate| i128::from(*rate))
            }
        };
        if from == to { Some(amount) } else { Some(amount * rate(from)? / rate(to)?) }
    }

    fn unit(&self, symbol: Symbol) -> Option<i128> {
        let instrument = &self.instruments[&symbol];
        let (price, _) = instrument.mark?;
        Some(i128::from(price) * i128::from(instrument.multiplier) / ONE)
    }

    fn worth(&self, symbol: Symbol, quantity: i128, currency: Currency) -> Option<i128> {
        let amount = if quantity == 0 { 0 } else { quantity * self.unit(symbol)? / ONE };
        self.convert(amount, self.instruments[&symbol].currency, currency)
    }

    /// What is held, and what open orders would buy and sell, of an instrument below a node.
    fn quantities(&self, scope: &Scope, symbol: Symbol) -> (i128, i128, i128) {
        let of = |(desk, held): (&Desk, &Symbol)| covers(scope, desk) && *held == symbol;
        let held = self.holdings.iter().filter(|((desk, held), _)| of((desk, held)));
        let held = held.map(|(_, holding)| i128::from(holding.quantity)).sum();
        let open = |side: Side| {
            let open =
                self.open.iter().filter(|order| of((&order.desk, &order.symbol)) && order.side == side);
            open.map(|order| i128::from(order.left)).sum()
        };
        (held, open(Side::Buy), open(Side::Sell))
    }

    /// What an instrument adds to a node: gross, long, short, net.
    fn exposure(&self, node: &Node, symbol: Symbol, more: i128) -> Option<[i128; 4]> {
        let (held, mut buys, mut sells) = self.quantities(&node.scope, symbol);
        if more > 0 {
            buys += more;
        } else {
            sells -= more;
        }
        let long = self.worth(symbol, held + buys, node.currency)?;
        let short = self.worth(symbol, held - sells, node.currency)?;
        Some([long.abs().max(short.abs()), long, short, self.worth(symbol, held, node.currency)?])
    }

    fn profit_of(&self, symbol: Symbol, holding: &Holding, currency: Currency) -> Option<i128> {
        let value = self.worth(symbol, i128::from(holding.quantity), self.instruments[&symbol].currency)?;
        self.convert(value - holding.paid - holding.fees, self.instruments[&symbol].currency, currency)
    }

    pub(crate) fn totals(&self, node: &Node) -> Totals {
        let mut totals = Totals::default();
        for (symbol, instrument) in &self.instruments {
            let quantities = self.quantities(&node.scope, *symbol);
            let is_flat = quantities == (0, 0, 0);
            if let Some([gross, long, short, net]) = self.exposure(node, *symbol, 0) {
                totals.gross += gross;
                totals.long += long;
                totals.short += short;
                totals.net += net;
                totals.unvalued += u32::from(!is_flat && instrument.mark.is_none_or(|(_, at)| at == 0));
            } else {
                totals.unvalued += u32::from(!is_flat);
            }
        }
        for ((desk, symbol), holding) in &self.holdings {
            if covers(&node.scope, desk) {
                totals.profit += self.profit_of(*symbol, holding, node.currency).unwrap_or(0);
            }
        }
        totals
    }

    // What happens.

    pub(crate) fn frame(&mut self, symbol: Symbol, mark: Option<i64>, is_quote: bool) {
        self.market = self.market.max(self.now);
        if self.market / DAY > self.day {
            self.day = self.market / DAY;
            let profits: Vec<i128> = self.nodes.iter().map(|node| self.totals(node).profit).collect();
            self.nodes.iter_mut().zip(profits).for_each(|(node, profit)| node.day_start = profit);
        }
        let now = self.now;
        if let Some(price) = mark
            && let Some(instrument) = self.instruments.get_mut(&symbol)
            && (is_quote || !instrument.quoted)
        {
            instrument.quoted |= is_quote;
            instrument.mark = Some((price, now));
        }
        if self.market - self.looked_at >= SECOND / 10 {
            self.looked_at = self.market;
            if self.market - self.peaks_at >= SECOND {
                self.peaks_at = self.market;
                let totals: Vec<Totals> = self.nodes.iter().map(|node| self.totals(node)).collect();
                for (node, totals) in self.nodes.iter_mut().zip(totals) {
                    if totals.unvalued == 0 {
                        node.peak = node.peak.max(totals.profit);
                    }
                }
            }
        }
    }

    pub(crate) fn define(
        &mut self,
        symbol: Symbol,
        currency: Currency,
        (tick, lot, multiplier): (i64, i64, i64),
    ) {
        let instrument = Instrument { currency, tick, lot, multiplier, quoted: false, mark: None };
        self.instruments.insert(symbol, instrument);
        self.frame(symbol, None, false);
        self.book_those_waiting();
    }

    fn book_those_waiting(&mut self) {
        for change in std::mem::take(&mut self.waiting) {
            self.book(change);
        }
    }

    pub(crate) fn execute(&mut self, change: PositionChange) {
        if self.executions.insert((change.venue, change.trade_id)) {
            self.book(change);
        }
    }

    fn is_desk(&self, desk: &Desk) -> bool {
        let Desk { portfolio, book, strategy } = *desk;
        let scope = Scope { portfolio: Some(portfolio), book: Some(book), strategy: Some(strategy) };
        self.nodes.iter().any(|node| node.scope == scope)
    }

    fn book(&mut self, change: PositionChange) {
        if !self.is_desk(&change.desk) || !self.instruments.contains_key(&change.instrument) {
            return self.waiting.push(change);
        }
        let (quantity, price) = (change.quantity.nanos(), change.price.nanos());
        let signed = if change.side == Side::Buy { quantity } else { -quantity };
        if quantity != 0 || change.fee != Money::ZERO {
            let instrument = self.instruments.get_mut(&change.instrument).unwrap();
            let unit = i128::from(price) * i128::from(instrument.multiplier) / ONE;
            if quantity != 0 {
                instrument.mark.get_or_insert((price, 0));
            }
            let holding = self.holdings.entry((change.desk, change.instrument)).or_default();
            holding.quantity += signed;
            holding.paid += i128::from(signed) * unit / ONE;
            holding.fees += change.fee.nanos();
        }
        if let Some(order) = self.open.iter_mut().find(|order| Some(order.id) == change.order_id) {
            order.left = if change.done { 0 } else { (order.left - quantity).max(0) };
        }
        self.open.retain(|order| order.left != 0);
    }

    // What is asked.

    /// Decides an order and remembers it.
    pub(crate) fn decide(&mut self, request: &OrderRequest) -> (Reasons, Reasons) {
        if request.action == OrderAction::Cancel {
            return (Reasons::NONE, Reasons::NONE);
        }
        if let Some((known, reasons, warnings)) = self.answers.get(&request.order_id) {
            let same = known == request;
            return if same { (*reasons, *warnings) } else { (Reason::OrderIdReused.into(), Reasons::NONE) };
        }
        let (reasons, warnings) = self.judge(request);
        self.answers.insert(request.order_id, (*request, reasons, warnings));
        if let (OrderAction::New { side, quantity, limit_price }, true) = (request.action, reasons.is_empty())
        {
            let (desk, symbol) = (request.desk, request.instrument);
            let left = quantity.nanos();
            self.open.push(Open { id: request.order_id, desk, symbol, side, left });
            let limit = limit_price.map(Price::nanos);
            self.accepted.entry((desk, symbol)).or_default().push((side, left, limit, self.now));
            let now = self.now;
            for node in self.nodes.iter_mut().filter(|node| covers(&node.scope, &desk)) {
                if let Some(rate) = node.limits.orders_per_second {
                    node.tokens = (node.tokens_at(rate, now) - ONE, now);
                }
            }
        }
        (reasons, warnings)
    }

    fn judge(&self, request: &OrderRequest) -> (Reasons, Reasons) {
        let OrderAction::New { side, quantity, limit_price } = request.action else { unreachable!() };
        let reject = |reason: Reason| (reason.into(), Reasons::NONE);
        if !self.is_desk(&request.desk) {
            return reject(Reason::UnknownDesk);
        }
        let Some(instrument) = self.instruments.get(&request.instrument) else {
            return reject(Reason::UnknownInstrument);
        };
        let mut said = Said::default();
        let quantity = i128::from(quantity.nanos());
        if quantity <= 0 || quantity % i128::from(instrument.lot) != 0 {
            said.reject(Reason::InvalidQuantity);
        }
        if limit_price.is_some_and(|price| instrument.tick != 0 && price.nanos() % instrument.tick != 0) {
            said.reject(Reason::InvalidPrice);
        }
        let Some((mark, at)) = instrument.mark else {
            said.reject(Reason::NoMark);
            return (said.reasons, said.warnings);
        };
        if !said.reasons.is_empty() {
            return (said.reasons, said.warnings);
        }
        if self.now.saturating_sub(at) > 60 * SECOND {
            said.reject(Reason::StaleMark);
        }
        let order = Order {
            request,
            signed: if side == Side::Buy { quantity } else { -quantity },
            limit: limit_price.map(Price::nanos),
            mark,
        };
        let path: Vec<&Node> = self.nodes.iter().filter(|node| covers(&node.scope, &request.desk)).collect();
        let strategy = path.iter().find(|node| node.scope.strategy.is_some()).unwrap();
        let (held, buys, sells) = self.quantities(&strategy.scope, request.instrument);
        let reduces = match side {
            Side::Buy => buys + quantity <= -held,
            Side::Sell => sells + quantity <= held,
        };
        for node in &path {
            if node.limits != Limits::default() {
                self.judge_at(node, &order, reduces, &mut said);
            }
        }
        if !all_set(&path) {
            said.reject(Reason::LimitNotSet);
        }
        match path.iter().map(|node| node.state).max().unwrap() {
            TradingState::Halted => said.reject(Reason::Halted),
            TradingState::Reducing if !reduces => said.reject(Reason::Reducing),
            _ => {}
        }
        (said.reasons, said.warnings)
    }

    fn judge_at(&self, node: &Node, order: &Order<'_>, reduces: bool, said: &mut Said) {
        let symbol = order.request.instrument;
        let instrument = &self.instruments[&symbol];
        let limits = &node.limits;
        let Some([gross, long, short, _]) = self.exposure(node, symbol, order.signed) else {
            return said.reject(Reason::NoFxRate);
        };
        let [gross_before, long_before, short_before, _] = self.exposure(node, symbol, 0).unwrap();
        let totals = self.totals(node);

        let price = order.limit.map_or(0, i64::abs).max(order.mark.abs());
        let unit = i128::from(price) * i128::from(instrument.multiplier) / ONE;
        let size = self.convert(order.signed.abs() * unit / ONE, instrument.currency, node.currency).unwrap();
        said.money(limits.order_size, size, Reason::OrderSize);

        if let (Some(collar), Some(limit)) = (limits.price_collar_bps, order.limit) {
            let away = if order.signed > 0 { limit - order.mark } else { order.mark - limit };
            let beyond =
                |bps: u32| i128::from(away) * 10_000 > i128::from(bps) * i128::from(order.mark.abs());
            said.judge(collar.soft.is_some_and(beyond), beyond(collar.hard), Reason::PriceCollar);
        }
        said.judge(
            false,
            limits.restricted.as_ref().is_some_and(|list| list.contains(&symbol)),
            Reason::Restricted,
        );
        let too_many = limits.orders_per_second.is_some_and(|rate| node.tokens_at(rate, self.now) < ONE);
        said.judge(false, too_many, Reason::OrderRate);
        if let Some(window) = limits.duplicate_window_ms {
            said.judge(false, self.came(order, u64::from(window) * 1_000_000), Reason::DuplicateOrder);
        }

        if totals.unvalued != 0 && !reduces {
            said.reject(Reason::Unvalued);
        }
        if gross > gross_before {
            said.money(limits.position, gross, Reason::PositionLimit);
            said.money(limits.gross, totals.gross - gross_before + gross, Reason::GrossLimit);
        }
        let net = (totals.long - long_before + long).abs().max((totals.short - short_before + short).abs());
        if net > totals.long.abs().max(totals.short.abs()) {
            said.money(limits.net, net, Reason::NetLimit);
        }
        if let Some(limit) = limits.concentration_bps.filter(|_| gross > gross_before) {
            let equity = self.capital(node) + totals.profit;
            let beyond = |bps: u32| {
                if equity <= 0 { bps < u32::MAX } else { gross * 10_000 > i128::from(bps) * equity }
            };
            said.judge(limit.soft.is_some_and(beyond), beyond(limit.hard), Reason::ConcentrationLimit);
        }
        if !reduces {
            said.money(limits.drawdown, (node.peak - totals.profit).max(0), Reason::DrawdownLimit);
            said.money(limits.daily_loss, node.day_start - totals.profit, Reason::DailyLossLimit);
        }
    }

    pub(crate) fn capital(&self, node: &Node) -> i128 {
        if node.scope != Scope::default() {
            return node.capital;
        }
        let portfolios =
            self.nodes.iter().filter(|node| node.scope.portfolio.is_some() && node.scope.book.is_none());
        portfolios.map(|node| self.convert(node.capital, node.currency, self.firms).unwrap()).sum()
    }

    /// Whether one of the strategy's last four accepted orders was the same, moments ago.
    fn came(&self, order: &Order<'_>, window: u64) -> bool {
        let OrderAction::New { side, quantity, .. } = order.request.action else { unreachable!() };
        let all = self.accepted.get(&(order.request.desk, order.request.instrument));
        all.into_iter().flat_map(|all| all.iter().rev().take(4)).any(|(was, amount, limit, at)| {
            (*was, *amount, *limit) == (side, quantity.nanos(), order.limit) && self.now - at < window
        })
    }
}

impl Node {
    /// What has come in since, a second's worth at most.
    fn tokens_at(&self, rate: u32, now: u64) -> i128 {
        let (tokens, at) = self.tokens;
        (tokens + i128::from(now - at) * i128::from(rate)).min(i128::from(rate) * ONE)
    }
}

struct Order<'a> {
    request: &'a OrderRequest,
    signed: i128,
    limit: Option<i64>,
    mark: i64,
}

#[derive(Default)]
struct Said {
    reasons: Reasons,
    warnings: Reasons,
}

impl Said {
    fn reject(&mut self, reason: Reason) {
        self.reasons.insert(reason);
    }

    fn judge(&mut self, soft: bool, hard: bool, reason: Reason) {
        if hard {
            self.reasons.insert(reason);
        } else if soft {
            self.warnings.insert(reason);
        }
    }

    fn money(&mut self, limit: Option<Limit<Money>>, used: i128, reason: Reason) {
        let Some(Limit { soft, hard }) = limit else { return };
        self.judge(soft.is_some_and(|soft| used > soft.nanos()), used > hard.nanos(), reason);
    }
}

fn all_set(path: &[&Node]) -> bool {
    let any = |is_set: fn(&Limits) -> bool| path.iter().any(|node| is_set(&node.limits));
    any(|limits| limits.gross.is_some())
        && any(|limits| limits.net.is_some())
        && any(|limits| limits.position.is_some())
        && any(|limits| limits.concentration_bps.is_some())
        && any(|limits| limits.var.is_some())
        && any(|limits| limits.drawdown.is_some())
        && any(|limits| limits.daily_loss.is_some())
        && any(|limits| limits.order_size.is_some())
        && any(|limits| limits.price_collar_bps.is_some())
        && any(|limits| limits.orders_per_second.is_some())
        && any(|limits| limits.duplicate_window_ms.is_some())
        && any(|limits| limits.restricted.is_some())
}
