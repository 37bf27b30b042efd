//! Live measures of portfolios: asked for, published when they move, and recorded as forecasts when a day begins.

use std::collections::BTreeMap;

use nautilus_engine::Effects;
use nautilus_messages::mesh::{Body, Priority, RiskMetric, Scope};
use nautilus_types::{DeskName, Money, Quantity, Side, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::closes::Source;
use crate::engine::RiskEngine;
use crate::facts::Fact;
use crate::forecasts::{CONFIDENCE, Forecast, ForecastRow};
use crate::live::{TailRisk, Uncovered};
use crate::model::{ScenarioSet, Scenarios};
use crate::positions::Positions;
use crate::validation::{self, BacktestAnswer, backtest};
use crate::{RiskError, ScenarioMatrix};

/// Measures are looked at no more often than this, to see whether they have moved.
const INTERVAL_NS: u64 = 1_000_000_000;
/// Trades of one question, at most.
const TRADES_MAX: usize = 1_000;

/// What was published last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    looked_at: UnixNanos,
    sent: BTreeMap<u32, RiskMetric>,
}

/// Live measures of a portfolio, in its currency. Losses are positive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RiskView {
    /// Instruments with scenarios, and what the portfolio holds of each.
    pub instruments: Vec<Symbol>,
    /// See `instruments`.
    pub positions: Vec<f64>,
    /// 99 % value at risk of the factor model, all open orders counted as filled: what limits are held against.
    pub factor_var: f64,
    /// Held, but in no scenario, so that no measure contains it.
    pub uncovered: Vec<(Symbol, f64)>,
    /// Positions without a price or a rate.
    pub unvalued: u32,
}

/// A trade that might be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trade {
    /// In what.
    pub instrument: Symbol,
    /// Bought or sold.
    pub side: Side,
    /// How much, above zero.
    pub quantity: Quantity,
}

/// What trades would make of a portfolio's measures. Losses are positive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIf {
    /// As it is: historical value at risk and expected shortfall over one scenario's horizon.
    pub before: Measures,
    /// With the trades.
    pub after: Measures,
    /// What the trades are worth at the market's price, bought less sold.
    pub value: f64,
    /// The confidence of the measures.
    pub confidence: f64,
    /// inverted_cdf: an order statistic, not interpolated.
    pub convention: &'static str,
}

/// Historical measures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measures {
    /// Value at risk.
    pub var: f64,
    /// Expected shortfall.
    pub es: f64,
    /// How many scenarios.
    pub scenarios: usize,
    /// Held, but in no scenario.
    pub uncovered: Uncovered,
}

impl From<TailRisk> for Measures {
    fn from(TailRisk { var, es, scenarios, uncovered, .. }: TailRisk) -> Self {
        Self { var, es, scenarios, uncovered }
    }
}

fn portfolio_node(positions: &Positions, portfolio: DeskName) -> Option<u32> {
    positions.hierarchy.find(&Scope { portfolio: Some(portfolio), ..Scope::default() })
}

fn no_scenarios() -> RiskError {
    RiskError::new(
        "no_scenarios",
        "scenarios",
        "there are none yet; PUT /v1/scenarios, or PUT /v1/closes of 21 days and more",
    )
}

impl RiskEngine {
    /// What a portfolio holds, as the question of value at risk wants it; `None` for an unknown portfolio.
    ///
    /// # Errors
    /// There are no scenarios.
    pub fn exposures(&self, portfolio: DeskName) -> Option<Result<RiskView, RiskError>> {
        let node = portfolio_node(&self.positions, portfolio)?;
        let model = &self.positions.model;
        if model.set.is_empty() {
            return Some(Err(no_scenarios()));
        }
        let measured = model.measure(node, CONFIDENCE);
        let named = |(row, value): (u32, f64)| (self.positions.roster.symbol(row), value);
        Some(measured.transpose().map(|measured| RiskView {
            instruments: model.set.instruments.clone(),
            positions: model.held(node),
            factor_var: measured.map_or(0.0, |measured| measured.factor_var),
            uncovered: model.uncovered(node).into_iter().map(named).collect(),
            unvalued: self.positions.hierarchy.node(node).sums.unvalued,
        }))
    }

    /// The scenarios as a matrix, one row each.
    ///
    /// # Errors
    /// There are none.
    pub fn scenario_matrix(&self) -> Result<ScenarioMatrix, RiskError> {
        let set = &self.positions.model.set;
        if set.is_empty() {
            return Err(no_scenarios());
        }
        let rows = (0..set.len()).flat_map(|row| set.returns.iter().map(move |returns| returns[row]));
        ScenarioMatrix::new(rows.collect(), set.instruments.len())
    }

    /// What trades would make of a portfolio's measures; `None` for an unknown portfolio. Changes nothing.
    ///
    /// # Errors
    /// A trade is not possible, its instrument has no price, or there are no scenarios.
    pub fn what_if(
        &self,
        portfolio: DeskName,
        trades: &[Trade],
        confidence: f64,
    ) -> Option<Result<WhatIf, RiskError>> {
        let node = portfolio_node(&self.positions, portfolio)?;
        Some(self.try_trades(node, trades, confidence))
    }

    fn try_trades(&self, node: u32, trades: &[Trade], confidence: f64) -> Result<WhatIf, RiskError> {
        if !(1..=TRADES_MAX).contains(&trades.len()) {
            let reason = format!("give 1 to {TRADES_MAX}, not {}", trades.len());
            return Err(RiskError::new("invalid_trades", "trades", reason));
        }
        let change = |(at, trade): (usize, &Trade)| {
            let refuse = |field: &str, code, reason: &str| {
                RiskError::new(code, format!("trades[{at}].{field}"), reason)
            };
            let row = self.positions.find(trade.instrument);
            let row =
                row.ok_or_else(|| refuse("instrument", "unknown_instrument", "nobody has defined it"))?;
            if !trade.quantity.is_positive() {
                return Err(refuse(
                    "quantity",
                    "invalid_quantity",
                    "give one above zero; side says which way",
                ));
            }
            let unit = self.positions.per_unit(row, node);
            let unit =
                unit.ok_or_else(|| refuse("instrument", "no_mark", "it has no price or no rate yet"))?;
            let units = trade.quantity.to_f64();
            Ok((row, if trade.side == Side::Buy { units * unit } else { -(units * unit) }))
        };
        let changes = trades.iter().enumerate().map(change).collect::<Result<Vec<_>, RiskError>>()?;
        let value = changes.iter().map(|(_, change)| change).sum();
        let answer = self.positions.model.what_if(node, &changes, confidence).ok_or_else(no_scenarios)?;
        let (before, after) = answer?;
        Ok(WhatIf {
            before: before.into(),
            after: after.into(),
            value,
            confidence,
            convention: "inverted_cdf",
        })
    }

    /// Rows of a portfolio's record of forecasts, oldest first; `None` for an unknown portfolio.
    #[must_use]
    pub fn forecasts(&self, portfolio: DeskName) -> Option<Vec<ForecastRow>> {
        portfolio_node(&self.positions, portfolio).map(|_| self.forecasts.rows(portfolio))
    }

    /// Takes scenarios in that `fact` announces.
    pub(crate) fn take_scenarios(&mut self, scenarios: Scenarios, fact: Fact, out: &mut Effects) {
        let Scenarios { set, loadings } = scenarios;
        self.prepared = Some(loadings);
        self.record(fact, out);
        for returns in set.returns {
            self.record(Fact::Returns(returns), out);
        }
    }

    pub(crate) fn expect_returns(&mut self, instruments: Vec<Symbol>, source: Source) {
        self.incoming = Some((ScenarioSet { instruments, returns: Vec::new() }, source));
    }

    pub(crate) fn take_returns(&mut self, returns: Vec<f64>) {
        let Some((mut set, source)) = self.incoming.take() else { return };
        set.returns.push(returns);
        if set.returns.len() < set.instruments.len() {
            self.incoming = Some((set, source));
            return;
        }
        // What was checked before it became a fact; one that no model can be made of leaves the former in force.
        if set.check().is_ok() && self.positions.adopt(set, self.prepared.take()).is_ok() {
            self.source = source;
        }
    }

    /// Closes every portfolio's forecast of the day that ends, and makes the next. A day without a price, such as one that
    /// only a bar's end belongs to, has no outcome.
    pub(crate) fn turn_forecasts(&mut self, day: u64, has_traded: bool, out: &mut Effects) {
        self.positions.model.refresh();
        for node in self.positions.hierarchy.portfolios().collect::<Vec<_>>() {
            let held = self.positions.hierarchy.node(node);
            let Some(portfolio) = held.scope.portfolio else { continue };
            let outcome = Money::from_nanos(held.sums.profit.saturating_sub(held.day_start)).to_f64();
            let closed = self.forecasts.outcome(portfolio, outcome).filter(|_| has_traded);
            // Nothing is forecast of a portfolio that cannot lose.
            let measured = self.positions.model.measure(node, CONFIDENCE).and_then(Result::ok);
            let next = measured.filter(|measured| measured.tail.es > 0.0).map(|measured| {
                let tail = (measured.tail.var, measured.tail.es);
                Forecast::new(day, tail, self.positions.model.pnl(node))
            });
            if closed.is_some() || next.is_some() {
                self.record(Fact::Forecast { portfolio, closed, next }, out);
            }
        }
    }

    /// Sends the measures of every portfolio of which one has moved by more than the configured share.
    pub(crate) fn publish_metrics(&mut self, out: &mut Effects) {
        let now = self.clock.now;
        if now.0.saturating_sub(self.metrics.looked_at.0) < INTERVAL_NS {
            return;
        }
        self.metrics.looked_at = now;
        for node in self.positions.hierarchy.portfolios() {
            let held = self.positions.hierarchy.node(node);
            let Some(portfolio) = held.scope.portfolio else { continue };
            let measured = self.positions.model.measure(node, CONFIDENCE).and_then(Result::ok);
            let money = Money::from_nanos;
            let metric = RiskMetric {
                portfolio,
                ts_event: now,
                confidence: CONFIDENCE,
                var: measured.map(|measured| measured.tail.var),
                es: measured.map(|measured| measured.tail.es),
                gross: money(held.sums.gross),
                net: money(held.sums.net),
                pnl: money(held.sums.profit),
            };
            let share = f64::from(self.settings.metric_move_bps) / 10_000.0;
            if self.metrics.sent.get(&node).is_none_or(|sent| has_moved(sent, &metric, share)) {
                self.metrics.sent.insert(node, metric);
                out.send(Priority::Normal, Body::RiskMetric(metric));
            }
        }
    }
}

fn has_moved(sent: &RiskMetric, now: &RiskMetric, share: f64) -> bool {
    let moved = |before: f64, after: f64| (after - before).abs() > share * before.abs();
    let may_have = |before: Option<f64>, after: Option<f64>| match (before, after) {
        (Some(before), Some(after)) => moved(before, after),
        (before, after) => before.is_some() != after.is_some(),
    };
    may_have(sent.var, now.var)
        || may_have(sent.es, now.es)
        || moved(sent.gross.to_f64(), now.gross.to_f64())
        || moved(sent.net.to_f64(), now.net.to_f64())
        || moved(sent.pnl.to_f64(), now.pnl.to_f64())
}

/// Whether a record's forecasts were right.
///
/// # Errors
/// No forecast has an outcome yet.
pub fn backtest_of(rows: &[ForecastRow]) -> Result<BacktestAnswer, RiskError> {
    if rows.is_empty() {
        let reason =
            "no day's forecast has an outcome yet: one is made when a day begins, and closed when it ends";
        return Err(RiskError::new("no_forecasts", "portfolio", reason));
    }
    let forecast = |row: &ForecastRow| validation::Forecast {
        var: row.var,
        es: Some(row.es),
        confidence: CONFIDENCE,
        pit: Some(row.pit),
        pnl: row.outcome,
    };
    backtest(&rows.iter().map(forecast).collect::<Vec<_>>())
}
