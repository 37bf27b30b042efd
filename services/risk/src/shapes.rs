//! The JSON shapes of requests and answers that are the service's own.

use std::collections::BTreeMap;

use nautilus_engine_risk::validation::BacktestAnswer;
use nautilus_engine_risk::{
    ForecastRow, Method, Portfolio, Proposal, RiskView, ScenarioMatrix, Trade, TradingState, VarAnswer,
    VarRequest,
};
use nautilus_messages::mesh::{OrderAction, OrderRequest, Scope, Uid};
use nautilus_service::paging::default_limit;
use nautilus_types::{Currency, DeskName, Money, Price, UnixNanos};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Which part of the hierarchy: the firm, unless a portfolio, a book of it, a strategy of that is named.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeQuery {
    /// A portfolio; the firm without one.
    #[param(value_type = Option<String>, example = "main")]
    pub(crate) portfolio: Option<DeskName>,
    /// A book of the portfolio.
    #[param(value_type = Option<String>)]
    pub(crate) book: Option<DeskName>,
    /// A strategy of the book.
    #[param(value_type = Option<String>)]
    pub(crate) strategy: Option<DeskName>,
}

impl From<ScopeQuery> for Scope {
    fn from(ScopeQuery { portfolio, book, strategy }: ScopeQuery) -> Self {
        Self { portfolio, book, strategy }
    }
}

/// A portfolio's declaration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PortfolioBody {
    currency: Currency,
    capital: Money,
    books: BTreeMap<DeskName, Vec<DeskName>>,
}

impl PortfolioBody {
    pub(crate) fn named(self, name: DeskName, by: String) -> Portfolio {
        let Self { currency, capital, books } = self;
        Portfolio { name, currency, capital, books: books.into_iter().collect(), by }
    }
}

/// Where the kill switch is to be turned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateBody {
    pub(crate) state: TradingState,
    #[serde(default)]
    pub(crate) reason: String,
}

/// Whether orders are let through.
#[derive(Debug, Serialize)]
pub(crate) struct StateAnswer {
    pub(crate) scope: String,
    pub(crate) state: TradingState,
    pub(crate) dead_man_timeout_ms: u64,
    pub(crate) proposals: Vec<ProposalAnswer>,
}

/// When nobody was heard of for too long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadManBody {
    pub(crate) timeout_ms: u64,
}

/// A change that waits for a second person.
#[derive(Debug, Serialize)]
pub(crate) struct ProposalAnswer {
    pub(crate) id: u64,
    pub(crate) scope: String,
    pub(crate) change: nautilus_engine_risk::Change,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) at: UnixNanos,
}

impl From<(u64, Proposal)> for ProposalAnswer {
    fn from((id, Proposal { scope, change, by, reason, at }): (u64, Proposal)) -> Self {
        Self { id, scope: scope.to_string(), change, by, reason, at }
    }
}

/// Limits as they are, what is used of them, and what waits.
#[derive(Debug, Serialize)]
pub(crate) struct LimitsAnswer {
    pub(crate) scope: String,
    pub(crate) limits: nautilus_engine_risk::Limits,
    pub(crate) utilisation: Vec<nautilus_engine_risk::UsedView>,
    pub(crate) proposals: Vec<ProposalAnswer>,
}

impl From<nautilus_engine_risk::LimitsView> for LimitsAnswer {
    fn from(view: nautilus_engine_risk::LimitsView) -> Self {
        let nautilus_engine_risk::LimitsView { scope, limits, utilisation, proposals } = view;
        Self { scope, limits, utilisation, proposals: proposals.into_iter().map(Into::into).collect() }
    }
}

/// A list under a name, as every list is.
#[derive(Debug, Serialize)]
pub(crate) struct Proposals {
    pub(crate) proposals: Vec<ProposalAnswer>,
}

/// What currencies are worth in the firm's.
#[derive(Debug, Serialize)]
pub(crate) struct RatesAnswer {
    pub(crate) currency: Currency,
    pub(crate) rates: BTreeMap<Currency, Price>,
}

/// Which orders.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrdersQuery {
    /// Of one portfolio only.
    #[param(value_type = Option<String>)]
    pub(crate) portfolio: Option<DeskName>,
    /// Only those that may still be executed.
    #[serde(default)]
    pub(crate) open: bool,
    /// Orders at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// How live positions are measured. What is left out takes the default of `POST /v1/var`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RiskQuery {
    /// For example historical, filtered_historical, age_weighted, parametric, cornish_fisher or monte_carlo.
    #[param(value_type = Option<String>, example = "historical")]
    method: Option<Method>,
    /// Default 0.99.
    confidence: Option<f64>,
    /// Default 1.
    horizon_days: Option<f64>,
    /// monte_carlo: default 0.
    seed: Option<u64>,
    /// monte_carlo.
    paths: Option<usize>,
}

impl RiskQuery {
    /// The question about these positions.
    pub(crate) fn of(self, returns: ScenarioMatrix, positions: Vec<f64>) -> VarRequest {
        let Self { method, confidence, horizon_days, seed, paths } = self;
        let mut request = VarRequest::new(method.unwrap_or_default());
        (request.returns, request.positions) = (Some(returns), Some(positions));
        request.confidence = confidence.unwrap_or(request.confidence);
        request.horizon_days = horizon_days.unwrap_or(request.horizon_days);
        (request.seed, request.paths) = (seed, paths);
        request
    }
}

/// A portfolio's measures.
#[derive(Debug, Serialize)]
pub(crate) struct RiskAnswer {
    pub(crate) portfolio: DeskName,
    #[serde(flatten)]
    pub(crate) exposures: RiskView,
    #[serde(flatten)]
    pub(crate) measures: VarAnswer,
}

/// A portfolio's forecasts and what became of them.
#[derive(Debug, Serialize)]
pub(crate) struct BacktestView {
    pub(crate) portfolio: DeskName,
    #[serde(flatten)]
    pub(crate) tests: BacktestAnswer,
    /// Oldest first.
    pub(crate) record: Vec<ForecastRow>,
}

/// Trades that might be done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhatIfBody {
    pub(crate) trades: Vec<Trade>,
    #[serde(default = "default_confidence")]
    pub(crate) confidence: f64,
}

const fn default_confidence() -> f64 {
    0.99
}

/// The cancel of an order.
pub(crate) fn cancel(order: OrderRequest) -> OrderRequest {
    OrderRequest { action: OrderAction::Cancel, ..order }
}

/// An order's id in a path.
pub(crate) fn order_id(text: &str) -> Result<Uid, nautilus_service::Problem> {
    text.parse().map_err(|error| {
        nautilus_service::Problem::bad_request("invalid_order_id", format!("order_id: {error}"))
    })
}
