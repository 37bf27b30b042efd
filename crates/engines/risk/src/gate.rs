//! The gate: whether an order may go to the venue, and what it would be beyond.
//!
//! Every check is integer arithmetic on sums that are kept up to date, so that a decision costs the same whatever the
//! number of positions. Open orders count as filled, on the side where that is worse. What an order makes no worse is
//! not held against it: one that closes a position passes limits that are exceeded already. What an order would be beyond
//! but cannot be known, such as a loss while something held has no price, lets through only what reduces a position.

use nautilus_messages::mesh::{OrderAction, OrderRequest, Reason, Reasons};
use nautilus_types::{Money, Price, Quantity, Side, UnixNanos};

use crate::hierarchy::{Node, TradingState};
use crate::limits::{Breach, Limit, kinds};
use crate::money::{unit_price, worth};
use crate::positions::{Cell, Contract, Positions, within};

/// Equity beyond this counts as this much where concentration is looked at for the first time, so that a product fits.
const EQUITY_MAX: i128 = 1 << 90;

/// What time it is, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Clock {
    /// The latest instant of messages and commands.
    pub(crate) now: UnixNanos,
    /// The latest instant of the market.
    pub(crate) market: UnixNanos,
}

/// An order as far as it is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) leaf: u32,
    pub(crate) row: u32,
    pub(crate) side: Side,
    pub(crate) quantity: i64,
    pub(crate) limit: Option<Price>,
}

/// What the gate says of a new order: its place in the books, reasons to reject, reasons to warn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) ticket: Option<Ticket>,
    pub(crate) reasons: Reasons,
    pub(crate) warnings: Reasons,
}

impl From<Reason> for Answer {
    fn from(reason: Reason) -> Self {
        Self { ticket: None, reasons: reason.into(), warnings: Reasons::NONE }
    }
}

/// What [`Gate::check`] needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) positions: &'a Positions,
    pub(crate) clock: Clock,
    pub(crate) mark_age_max_ns: u64,
}

/// One order under examination.
struct Examination<'a, S> {
    gate: Gate<'a>,
    ticket: Ticket,
    /// Price of one unit at the mark.
    unit: i64,
    /// The strategy's cell.
    strategy: Option<&'a Cell>,
    /// The strategy's position comes nearer to zero, and not beyond, with all open orders of that side filled.
    reduces: bool,
    /// What the order is worth at its limit or the market's price, whichever is higher, in the instrument's currency.
    size: Option<i128>,
    /// Basis points by which the limit price is worse than the market's.
    away_bps: u32,
    reasons: Reasons,
    warnings: Reasons,
    sink: S,
}

impl Gate<'_> {
    /// Examines a new order; every limit that it would be beyond is handed to `sink`. Nothing is changed.
    pub(crate) fn check(&self, request: &OrderRequest, sink: impl FnMut(Breach)) -> Answer {
        let OrderAction::New { side, quantity, limit_price } = request.action else {
            return Answer { ticket: None, reasons: Reasons::NONE, warnings: Reasons::NONE };
        };
        let Some(leaf) = self.positions.leaf(&request.desk) else { return Reason::UnknownDesk.into() };
        let Some(row) = self.positions.find(request.instrument) else {
            return Reason::UnknownInstrument.into();
        };
        let ticket = Ticket { leaf, row, side, quantity: quantity.nanos(), limit: limit_price };
        let entry = &self.positions.rows[row as usize];
        let Some(contract) = entry.contract else { return Reason::UnknownInstrument.into() };
        let mut early = Reasons::NONE;
        if !is_step(quantity, contract.lot) {
            early.insert(Reason::InvalidQuantity);
        }
        if limit_price
            .is_some_and(|price| contract.tick.is_positive() && price.nanos() % contract.tick.nanos() != 0)
        {
            early.insert(Reason::InvalidPrice);
        }
        match (entry.mark, entry.unit) {
            (Some(mark), Some(unit)) if early.is_empty() => {
                let age =
                    if mark.live { self.clock.now } else { self.clock.market }.0.saturating_sub(mark.at.0);
                if age > self.mark_age_max_ns {
                    early.insert(Reason::StaleMark);
                }
                let (reasons, warnings) = (early, Reasons::NONE);
                let strategy = self.positions.cell(leaf, row);
                let reduces = strategy.is_some_and(|cell| reduces(cell, &ticket));
                let (size, away_bps) = (size(&ticket, unit, contract), away_bps(&ticket, mark.price));
                let gate = *self;
                Examination { gate, ticket, unit, strategy, reduces, size, away_bps, reasons, warnings, sink }
                    .run()
            }
            (None, _) => Answer { ticket: Some(ticket), ..Answer::from(with(early, Reason::NoMark)) },
            (_, None) => Answer { ticket: Some(ticket), ..Answer::from(with(early, Reason::Overflow)) },
            _ => Answer { ticket: Some(ticket), reasons: early, warnings: Reasons::NONE },
        }
    }
}

impl From<Reasons> for Answer {
    fn from(reasons: Reasons) -> Self {
        Self { ticket: None, reasons, warnings: Reasons::NONE }
    }
}

fn with(mut reasons: Reasons, reason: Reason) -> Reasons {
    reasons.insert(reason);
    reasons
}

fn is_step(quantity: Quantity, lot: Quantity) -> bool {
    quantity.is_positive() && quantity.nanos() % lot.nanos().max(1) == 0
}

fn reduces(cell: &Cell, ticket: &Ticket) -> bool {
    let (held, open) = match ticket.side {
        Side::Buy => (i128::from(cell.quantity), cell.open_buy),
        Side::Sell => (-i128::from(cell.quantity), cell.open_sell),
    };
    held + i128::from(open) + i128::from(ticket.quantity) <= 0
}

fn size(ticket: &Ticket, unit: i64, contract: Contract) -> Option<i128> {
    let limit = match ticket.limit {
        Some(limit) => unit_price(limit.nanos(), contract.multiplier.nanos())?.saturating_abs(),
        None => 0,
    };
    Some(worth(ticket.quantity, limit.max(unit.saturating_abs())))
}

/// Rounded up: a hair beyond the collar is beyond it. A market at zero is infinitely far from any price.
fn away_bps(ticket: &Ticket, mark: i64) -> u32 {
    let (Some(limit), mark) = (ticket.limit, i128::from(mark)) else { return 0 };
    let limit = i128::from(limit.nanos());
    let worse = if ticket.side == Side::Buy { limit - mark } else { mark - limit };
    match (worse, mark.abs()) {
        (..=0, _) => 0,
        (_, 0) => u32::MAX,
        (worse, mark) => u32::try_from((worse * 10_000 - 1) / mark + 1).unwrap_or(u32::MAX),
    }
}

impl<S: FnMut(Breach)> Examination<'_, S> {
    fn run(mut self) -> Answer {
        let positions = self.gate.positions;
        let mut set = 0;
        let mut state = TradingState::Active;
        let mut number = self.ticket.leaf;
        loop {
            let node = positions.hierarchy.node(number);
            state = state.max(node.state);
            set |= node.least.set;
            if node.least.set != 0 {
                self.examine(number, node);
            }
            if node.parent == crate::hierarchy::NOWHERE {
                break;
            }
            number = node.parent;
        }
        if set != kinds::ALL {
            self.reasons.insert(Reason::LimitNotSet);
        }
        match state {
            TradingState::Halted => self.reasons.insert(Reason::Halted),
            TradingState::Reducing if !self.reduces => self.reasons.insert(Reason::Reducing),
            _ => {}
        }
        Answer { ticket: Some(self.ticket), reasons: self.reasons, warnings: self.warnings }
    }

    fn examine(&mut self, number: u32, node: &Node) {
        let positions = self.gate.positions;
        let Some(rate) = positions.rate(self.ticket.row, number) else {
            return self.reasons.insert(Reason::NoFxRate);
        };
        let unit = self.unit;
        let value = |quantity: i64| within(rate.convert(worth(quantity, unit))?);
        let cell = positions.cell(number, self.ticket.row);
        let size = self.size.and_then(|size| within(rate.convert(size)?));
        let (Some(after), Some(size)) = (self.exposure(cell, value), size) else {
            return self.reasons.insert(Reason::Overflow);
        };
        self.order_itself(number, node, size);
        if node.sums.unvalued != 0 && !self.reduces {
            self.reasons.insert(Reason::Unvalued);
        }
        self.exposures(number, node, cell, &after);
        self.losses(number, node);
        self.value_at_risk(number, node);
    }

    /// What the cell of a node is worth once the order is filled beside all open ones.
    #[inline]
    fn exposure(&self, cell: Option<&Cell>, value: impl Fn(i64) -> Option<i128>) -> Option<After> {
        let (held, buys, sells) =
            cell.map_or((0, 0, 0), |cell| (cell.quantity, cell.open_buy, cell.open_sell));
        let (mut long, mut short) = cell.map_or((0, 0), |cell| (cell.worth.long, cell.worth.short));
        match self.ticket.side {
            Side::Buy => long = value(held.checked_add(buys)?.checked_add(self.ticket.quantity)?)?,
            Side::Sell => short = value(held.checked_sub(sells)?.checked_sub(self.ticket.quantity)?)?,
        }
        Some(After { long, short, gross: long.abs().max(short.abs()) })
    }

    /// What only looks at the order.
    fn order_itself(&mut self, number: u32, node: &Node, size: i128) {
        let least = &node.least;
        if size > least.order_size {
            self.judge(number, Reason::OrderSize, nanos(node.limits().order_size), size);
        }
        if self.away_bps > least.price_collar_bps {
            self.judge(number, Reason::PriceCollar, node.limits().price_collar_bps, self.away_bps);
        }
        if self.gate.positions.is_restricted(self.ticket.row, number) {
            self.breach(number, Reason::Restricted, true, 0, 0);
        }
        let now = self.gate.clock.now;
        if let Some(rate) = least.orders_per_second
            && !node.bucket.has_one(rate, now.0)
        {
            self.breach(number, Reason::OrderRate, true, rate.into(), i128::from(rate) + 1);
        }
        let window = least.duplicate_window_ms;
        if self.came_within(u64::from(window) * 1_000_000, now) {
            self.breach(number, Reason::DuplicateOrder, true, window.into(), 0);
        }
    }

    fn came_within(&self, window_ns: u64, now: UnixNanos) -> bool {
        let Some(cell) = self.strategy else { return false };
        let Ticket { side, quantity, limit, .. } = self.ticket;
        cell.recent.iter().flatten().any(|recent| {
            (recent.side, recent.quantity, recent.limit) == (side, quantity, limit)
                && now.0.abs_diff(recent.at.0) < window_ns
        })
    }

    /// Position, gross, net and concentration.
    fn exposures(&mut self, number: u32, node: &Node, cell: Option<&Cell>, after: &After) {
        let before = cell.map_or_else(Default::default, |cell| cell.worth);
        let (limits, least, sums) = (node.limits(), &node.least, &node.sums);
        if after.gross > before.gross {
            if after.gross > least.position {
                self.judge(number, Reason::PositionLimit, nanos(limits.position), after.gross);
            }
            let gross = sums.gross - before.gross + after.gross;
            if gross > least.gross {
                self.judge(number, Reason::GrossLimit, nanos(limits.gross), gross);
            }
            // A quotient costs more than a product, and mostly nobody wants to know it.
            let equity = node.equity().clamp(0, EQUITY_MAX);
            if after.gross * 10_000 > i128::from(least.concentration_bps) * equity {
                self.concentration(number, node, after.gross);
            }
        }
        let was = sums.long.abs().max(sums.short.abs());
        let (long, short) = (sums.long - before.long + after.long, sums.short - before.short + after.short);
        let net = long.abs().max(short.abs());
        if net > was && net > least.net {
            self.judge(number, Reason::NetLimit, nanos(limits.net), net);
        }
    }

    /// Where nothing is left, every exposure is all of it.
    #[cold]
    fn concentration(&mut self, number: u32, node: &Node, exposure: i128) {
        let share = match node.equity() {
            ..=0 => u32::MAX,
            equity => u32::try_from((exposure * 10_000 - 1) / equity + 1).unwrap_or(u32::MAX),
        };
        self.judge(number, Reason::ConcentrationLimit, node.limits().concentration_bps, share);
    }

    /// Drawdown and the day's loss: once beyond, only what reduces a position is let through.
    fn losses(&mut self, number: u32, node: &Node) {
        let (limits, drawdown, daily_loss) = (node.limits(), node.drawdown(), node.daily_loss());
        if drawdown > node.least.drawdown && !self.reduces {
            self.judge(number, Reason::DrawdownLimit, nanos(limits.drawdown), drawdown);
        }
        if daily_loss > node.least.daily_loss && !self.reduces {
            self.judge(number, Reason::DailyLossLimit, nanos(limits.daily_loss), daily_loss);
        }
    }

    fn value_at_risk(&mut self, number: u32, node: &Node) {
        // Whatever it is, it is not beyond the largest amount: so a firm says that it goes without.
        if node.least.var == i128::MAX {
            return;
        }
        let positions = self.gate.positions;
        let units = Quantity::from_nanos(self.ticket.quantity).to_f64();
        let signed = if self.ticket.side == Side::Buy { units } else { -units };
        let change = positions.per_unit(self.ticket.row, number).map(|unit| signed * unit);
        let var = change.and_then(|change| positions.model.var_after(number, self.ticket.row, change));
        let Some((before, after)) = var.filter(|_| node.sums.unvalued == 0) else {
            if !self.reduces {
                let limit = nanos(node.limits().var).map_or(0, |limit| limit.hard);
                self.breach(number, Reason::VarUnknown, true, limit, 0);
            }
            return;
        };
        if after > before && after > node.least.var {
            self.judge(number, Reason::VarLimit, nanos(node.limits().var), after);
        }
    }

    /// What is beyond the least amount of a limit: whether it rejects or warns.
    #[cold]
    fn judge<T: PartialOrd + Copy + Into<i128>>(
        &mut self,
        node: u32,
        reason: Reason,
        limit: Option<Limit<T>>,
        used: T,
    ) {
        let Some(limit) = limit else { return };
        let verdict = limit.judge(used);
        if verdict.hard {
            self.breach(node, reason, true, limit.hard.into(), used.into());
        } else if let Some(soft) = limit.soft.filter(|_| verdict.soft) {
            self.breach(node, reason, false, soft.into(), used.into());
        }
    }

    #[cold]
    fn breach(&mut self, node: u32, reason: Reason, hard: bool, limit: i128, after: i128) {
        if hard {
            self.reasons.insert(reason);
        } else {
            self.warnings.insert(reason);
        }
        (self.sink)(Breach { node, reason, hard, limit, after });
    }
}

fn nanos(limit: Option<Limit<Money>>) -> Option<Limit<i128>> {
    limit.map(|Limit { soft, hard }| Limit { soft: soft.map(Money::nanos), hard: hard.nanos() })
}

/// A cell's exposures with the order filled.
struct After {
    long: i128,
    short: i128,
    gross: i128,
}
