//! What readers are shown: portfolios with their parts and positions, limits with what is used of them, and why an
//! order would be rejected.

use std::collections::BTreeMap;

use nautilus_messages::mesh::{Desk, OrderRequest, PositionChange, Reason, Reasons, Scope, Uid};
use nautilus_types::{Currency, DeskName, Money, Price, Quantity, Symbol, UnixNanos};
use serde::Serialize;

use crate::engine::RiskEngine;
use crate::hierarchy::{Node, TradingState};
use crate::limits::{Breach, Limits};
use crate::money::worth;
use crate::orders::Order;
use crate::positions::Cell;
use crate::proposals::Proposal;

/// A part of the hierarchy and what it adds up to, in the portfolio's currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartView {
    /// Which part: `firm`, `portfolio`, `portfolio/book` or `portfolio/book/strategy`.
    pub scope: String,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Capital of the portfolio.
    pub capital: Money,
    /// Whether orders are let through.
    pub state: TradingState,
    /// Worst sum of absolute exposures, open orders counted as filled.
    pub gross: Money,
    /// Sum of signed exposures.
    pub net: Money,
    /// Profit since the beginning, realised and not, fees taken off.
    pub profit: Money,
    /// Profit since the day began.
    pub profit_today: Money,
    /// Loss since the highest profit.
    pub drawdown: Money,
    /// Positions without a price of the market or a rate: sums hold them at an execution's price, or not at all.
    pub unvalued: u32,
}

/// A strategy's position in an instrument. Amounts are in the instrument's currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PositionView {
    /// Whose.
    pub desk: Desk,
    /// In what.
    pub instrument: Symbol,
    /// The instrument's currency.
    pub currency: Option<Currency>,
    /// Negative when short.
    pub quantity: Quantity,
    /// What accepted orders to buy may still add.
    pub open_buy: Quantity,
    /// What accepted orders to sell may still take.
    pub open_sell: Quantity,
    /// What was paid per unit, by average cost; absent without a position.
    pub average_price: Option<Price>,
    /// The market's price.
    pub mark: Option<Price>,
    /// As of.
    pub marked_at: Option<UnixNanos>,
    /// What the position is worth.
    pub value: Option<Money>,
    /// Profit of what was closed.
    pub realised: Money,
    /// Profit of what is held.
    pub unrealised: Option<Money>,
    /// What executions cost beside the price.
    pub fees: Money,
}

/// A portfolio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PortfolioView {
    /// Its name.
    pub portfolio: DeskName,
    /// The portfolio first, then its books and strategies in order of declaration.
    pub parts: Vec<PartView>,
    /// Positions, by strategy in order of first use.
    pub positions: Vec<PositionView>,
}

/// A limit and what is used of it: money, basis points or a count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsedView {
    /// Which limit.
    pub limit: &'static str,
    /// What is used now, open orders counted as filled.
    pub used: Money,
    /// Warns.
    pub soft: Option<Money>,
    /// Rejects.
    pub hard: Money,
}

/// The limits of a part, what is used of them, and what waits for approval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitsView {
    /// Which part.
    pub scope: String,
    /// Its own limits.
    pub limits: Limits,
    /// Of those on what is held.
    pub utilisation: Vec<UsedView>,
    /// Changes that wait for a second person.
    pub proposals: Vec<(u64, Proposal)>,
}

/// A limit that an order would be beyond.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreachView {
    /// Which part of the hierarchy.
    pub scope: String,
    /// Which check.
    pub reason: &'static str,
    /// It rejects; otherwise it warns.
    pub hard: bool,
    /// In words.
    pub explanation: String,
}

/// What the gate would say of an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckView {
    /// It would go to the venue.
    pub accepted: bool,
    /// Why not.
    pub reasons: Reasons,
    /// Soft limits it would be beyond.
    pub warnings: Reasons,
    /// Every limit it would be beyond.
    pub breaches: Vec<BreachView>,
    /// Limits that are set nowhere above the strategy.
    pub limits_not_set: Vec<&'static str>,
}

/// An order that was decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderView {
    /// The order as it came.
    #[serde(flatten)]
    pub request: OrderRequest,
    /// It may go to the venue.
    pub accepted: bool,
    /// Why not.
    pub reasons: Reasons,
    /// Soft limits it is beyond.
    pub warnings: Reasons,
    /// When it was decided.
    pub decided_at: UnixNanos,
    /// What may still be executed.
    pub left: Quantity,
    /// What was executed.
    pub filled: Quantity,
    /// A cancel came by.
    pub cancelling: bool,
}

/// How much there is and was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Orders let through since the start.
    pub accepted: u64,
    /// Orders rejected since the start.
    pub rejected: u64,
    /// Executions booked since the start.
    pub executions: u64,
    /// Accepted orders that may still be executed.
    pub orders_open: usize,
    /// Executions whose desk or instrument is not known yet.
    pub unbooked: usize,
    /// Of the firm.
    pub state: TradingState,
    /// The firm, then every portfolio.
    pub parts: Vec<PartView>,
}

impl From<&Order> for OrderView {
    fn from(order: &Order) -> Self {
        Self {
            request: order.request,
            accepted: order.reasons.is_empty(),
            reasons: order.reasons,
            warnings: order.warnings,
            decided_at: order.at,
            left: Quantity::from_nanos(order.left),
            filled: Quantity::from_nanos(order.filled),
            cancelling: order.cancelling,
        }
    }
}

impl PartView {
    fn of(node: &Node) -> Self {
        let money = Money::from_nanos;
        Self {
            scope: node.scope.to_string(),
            currency: node.currency,
            capital: node.capital,
            state: node.state,
            gross: money(node.sums.gross),
            net: money(node.sums.net),
            profit: money(node.sums.profit),
            profit_today: money(node.sums.profit.saturating_sub(node.day_start)),
            drawdown: money(node.drawdown()),
            unvalued: node.sums.unvalued,
        }
    }
}

impl RiskEngine {
    /// The firm, then every portfolio.
    #[must_use]
    pub fn overview(&self) -> Vec<PartView> {
        let hierarchy = &self.positions.hierarchy;
        let firm = std::iter::once(crate::hierarchy::FIRM);
        firm.chain(hierarchy.portfolios()).map(|number| PartView::of(hierarchy.node(number))).collect()
    }

    /// How much there is and was.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            accepted: self.counts.accepted,
            rejected: self.counts.rejected,
            executions: self.counts.executions,
            orders_open: self.orders.open(),
            unbooked: self.unbooked.len(),
            state: self.positions.hierarchy.node(crate::hierarchy::FIRM).state,
            parts: self.overview(),
        }
    }

    /// A portfolio with all that is in it.
    #[must_use]
    pub fn portfolio(&self, portfolio: DeskName) -> Option<PortfolioView> {
        let hierarchy = &self.positions.hierarchy;
        let numbers: Vec<u32> = hierarchy.parts(portfolio).collect();
        numbers.first()?;
        let parts = numbers.iter().map(|number| PartView::of(hierarchy.node(*number))).collect();
        let cells = numbers.iter().flat_map(|number| self.positions.cells_of(*number));
        let mut held: Vec<&Cell> = cells.filter(|cell| !cell.is_empty()).collect();
        held.sort_by_key(|cell| (cell.node, cell.row));
        let positions = held.into_iter().filter_map(|cell| self.position(cell)).collect();
        Some(PortfolioView { portfolio, parts, positions })
    }

    /// A strategy's position; none for a sum.
    fn position(&self, cell: &Cell) -> Option<PositionView> {
        let account = cell.account?;
        let Scope { portfolio, book, strategy } = self.positions.hierarchy.node(cell.node).scope;
        let row = &self.positions.rows[cell.row as usize];
        let value = row.unit.map(|unit| worth(account.quantity, unit));
        let per_unit = |contract: crate::positions::Contract| {
            let units =
                i128::from(account.quantity) * i128::from(contract.multiplier.nanos()) / 1_000_000_000;
            Money::from_nanos(account.cost).per_unit(Money::from_nanos(units))
        };
        Some(PositionView {
            desk: Desk { portfolio: portfolio?, book: book?, strategy: strategy? },
            instrument: self.positions.roster.symbol(cell.row),
            currency: row.contract.map(|contract| contract.currency),
            quantity: Quantity::from_nanos(account.quantity),
            open_buy: Quantity::from_nanos(cell.open_buy),
            open_sell: Quantity::from_nanos(cell.open_sell),
            average_price: row.contract.and_then(per_unit),
            mark: row.mark.map(|mark| Price::from_nanos(mark.price)),
            marked_at: row.mark.map(|mark| mark.at),
            value: value.map(Money::from_nanos),
            realised: Money::from_nanos(account.realised),
            unrealised: value.map(|value| Money::from_nanos(value - account.cost)),
            fees: Money::from_nanos(account.fees),
        })
    }

    /// The limits of a part and what is used of them.
    #[must_use]
    pub fn limits_of(&self, scope: &Scope) -> Option<LimitsView> {
        let node = self.positions.hierarchy.node(self.positions.hierarchy.find(scope)?);
        let sums = &node.sums;
        let used = [
            ("gross", node.limits().gross, sums.gross),
            ("net", node.limits().net, sums.long.abs().max(sums.short.abs())),
            ("drawdown", node.limits().drawdown, node.drawdown()),
            ("daily_loss", node.limits().daily_loss, node.daily_loss()),
        ];
        let utilisation = used.into_iter().filter_map(|(name, limit, used)| {
            let limit = limit?;
            Some(UsedView { limit: name, used: Money::from_nanos(used), soft: limit.soft, hard: limit.hard })
        });
        let proposals = self.proposals.iter().filter(|(_, proposal)| proposal.scope == *scope);
        Some(LimitsView {
            scope: scope.to_string(),
            limits: node.limits().clone(),
            utilisation: utilisation.collect(),
            proposals: proposals.map(|(id, proposal)| (id, proposal.clone())).collect(),
        })
    }

    /// Every change that waits for a second person.
    #[must_use]
    pub fn proposals(&self) -> Vec<(u64, Proposal)> {
        self.proposals.iter().map(|(id, proposal)| (id, proposal.clone())).collect()
    }

    /// What the gate would say of an order at an instant, and why. Changes nothing.
    #[must_use]
    pub fn check(&self, request: &OrderRequest, now: UnixNanos) -> CheckView {
        let mut breaches = Vec::new();
        let answer = self.examine(request, now, |breach| breaches.push(breach));
        let not_set = answer.reasons.contains(Reason::LimitNotSet).then(|| self.not_set(&request.desk));
        CheckView {
            accepted: answer.reasons.is_empty(),
            reasons: answer.reasons,
            warnings: answer.warnings,
            breaches: breaches.into_iter().map(|breach| self.explain(breach)).collect(),
            limits_not_set: not_set.unwrap_or_default(),
        }
    }

    fn not_set(&self, desk: &Desk) -> Vec<&'static str> {
        let hierarchy = &self.positions.hierarchy;
        let Some(leaf) = hierarchy.leaf(desk) else { return Vec::new() };
        let set = hierarchy.path(leaf).fold(0, |set, node| set | hierarchy.node(node).least.set);
        Limits::missing(set).collect()
    }

    fn explain(&self, breach: Breach) -> BreachView {
        let Breach { node, reason, hard, limit, after } = breach;
        let node = self.positions.hierarchy.node(node);
        let (scope, currency) = (node.scope.to_string(), node.currency);
        let kind = if hard { "" } else { "soft " };
        let explanation = match reason {
            Reason::ConcentrationLimit | Reason::PriceCollar => {
                format!("{after} basis points, where the {kind}limit is {limit}")
            }
            Reason::OrderRate => format!("{limit} orders a second are let through"),
            Reason::DuplicateOrder => format!("the same order came less than {limit} ms ago"),
            Reason::Restricted => "the instrument is on the restricted list".to_owned(),
            Reason::VarUnknown => {
                "the instrument is not in the risk model, so that value at risk is not known".to_owned()
            }
            _ => {
                let (after, limit) = (Money::from_nanos(after), Money::from_nanos(limit));
                format!("{after} {currency}, where the {kind}limit is {limit}")
            }
        };
        BreachView { scope, reason: reason.as_str(), hard, explanation }
    }

    /// An order that was decided.
    #[must_use]
    pub fn order(&self, order_id: Uid) -> Option<OrderView> {
        self.orders.find(order_id).map(OrderView::from)
    }

    /// Orders, newest first: of a portfolio, or open ones only, where that is wanted.
    #[must_use]
    pub fn orders(&self, portfolio: Option<DeskName>, open: bool, limit: usize) -> Vec<OrderView> {
        let wanted = |order: &&Order| {
            portfolio.is_none_or(|name| order.request.desk.portfolio == name) && (!open || order.left != 0)
        };
        self.orders.newest().filter(wanted).take(limit).map(OrderView::from).collect()
    }

    /// The kill switch of a part, and the dead-man timer in milliseconds (0 when it is off).
    #[must_use]
    pub fn trading(&self, scope: &Scope) -> Option<(TradingState, u64)> {
        let number = self.positions.hierarchy.find(scope)?;
        Some((self.positions.hierarchy.node(number).state, self.dead_man.timeout_ms))
    }

    /// The firm's currency and what others are worth in it.
    #[must_use]
    pub fn rates(&self) -> (Currency, BTreeMap<Currency, Price>) {
        let rates = self.positions.rates.iter().map(|(currency, rate)| (*currency, Price::from_nanos(*rate)));
        (self.positions.currency(), rates.collect())
    }

    /// Executions whose desk or instrument is not known yet.
    #[must_use]
    pub fn unbooked(&self) -> &[PositionChange] {
        &self.unbooked
    }
}
