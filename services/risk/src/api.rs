//! The routes of the risk service.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use nautilus_engine_risk::{
    Change, CheckView, Command, GivenCloses, Limits, OrderView, PartView, PortfolioView, ReverseStressAnswer,
    ReverseStressRequest, RiskEngine, RiskError, ScenarioSet, Scenarios, ScenariosView, StressAnswer,
    StressRequest, VarAnswer, VarRequest, WhatIf, backtest_of, calculate_var, reverse_stress, stress,
};
use nautilus_hardware::Hardware;
use nautilus_messages::mesh::{OrderRequest, PositionChange, Scope};
use nautilus_service::paging::{PAGE_MAX, within};
use nautilus_service::{
    ComputePool, EngineHandle, Json, Operator, Path, Problem, Query, RawBody, wall_clock,
};
use nautilus_types::{Currency, DeskName, Price};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::collected;
use crate::shapes::{
    BacktestView, DeadManBody, LimitsAnswer, OrdersQuery, PortfolioBody, ProposalAnswer, Proposals,
    RatesAnswer, RiskAnswer, RiskQuery, ScopeQuery, StateAnswer, StateBody, WhatIfBody, cancel, order_id,
};

/// The largest body of scenarios: some four million numbers of eight digits.
const SCENARIOS_BODY_MAX: usize = 64 << 20;
/// The largest body of a question: some ten million numbers.
const QUESTION_BODY_MAX: usize = 128 << 20;

#[derive(Clone)]
struct Api {
    engine: EngineHandle<RiskEngine>,
    pool: ComputePool,
}

pub(crate) fn router(engine: EngineHandle<RiskEngine>) -> OpenApiRouter {
    let scenarios = OpenApiRouter::new()
        .routes(routes!(get_scenarios, put_scenarios, delete_scenarios))
        .routes(routes!(put_closes));
    let questions = OpenApiRouter::new()
        .routes(routes!(post_var))
        .routes(routes!(post_stress))
        .routes(routes!(post_reverse_stress));
    OpenApiRouter::new()
        .routes(routes!(list_portfolios))
        .routes(routes!(get_portfolio, put_portfolio))
        .routes(routes!(get_rates, put_rates))
        .routes(routes!(get_limits, put_limits))
        .routes(routes!(list_proposals))
        .routes(routes!(approve_proposal, withdraw_proposal))
        .routes(routes!(get_state, put_state))
        .routes(routes!(put_dead_man))
        .routes(routes!(heartbeat))
        .routes(routes!(list_orders, post_order))
        .routes(routes!(check_order))
        .routes(routes!(get_order, cancel_order))
        .routes(routes!(post_execution))
        .routes(routes!(list_unbooked))
        .routes(routes!(get_risk))
        .routes(routes!(what_if))
        .routes(routes!(get_backtest))
        .merge(scenarios.layer(DefaultBodyLimit::max(SCENARIOS_BODY_MAX)))
        .merge(questions.layer(DefaultBodyLimit::max(QUESTION_BODY_MAX)))
        .with_state(Api { engine, pool: ComputePool::default() })
}

fn unknown_portfolio(name: DeskName) -> Problem {
    Problem::not_found("unknown_desk", format!("there is no portfolio {name}; GET /v1/portfolios lists all"))
}

fn unknown_scope(scope: &Scope) -> Problem {
    Problem::not_found(
        "unknown_desk",
        format!("there is no {scope}; GET /v1/portfolios/{{name}} lists its parts"),
    )
}

fn desk_name(text: &str) -> Result<DeskName, Problem> {
    text.parse().map_err(|error| Problem::bad_request("invalid_name", format!("portfolio: {error}")))
}

/// A list under a name, so that more can stand beside it one day.
#[derive(Debug, Serialize)]
struct Portfolios {
    portfolios: Vec<PartView>,
}

/// The firm, then every portfolio, with what they add up to.
#[utoipa::path(get, path = "/v1/portfolios", tag = "positions",
    security(("api_key" = ["read"])), responses((status = 200, body = serde_json::Value)))]
async fn list_portfolios(State(api): State<Api>) -> Result<Json<Portfolios>, Problem> {
    let portfolios = api.engine.inspect(RiskEngine::overview).await?;
    Ok(Json(Portfolios { portfolios }))
}

/// A portfolio: its books and strategies, positions and profit.
#[utoipa::path(get, path = "/v1/portfolios/{portfolio}", tag = "positions",
    security(("api_key" = ["read"])),
    params(("portfolio" = String, Path, example = "main")), responses(
    (status = 200, body = serde_json::Value), (status = 404, body = Problem),
))]
async fn get_portfolio(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<PortfolioView>, Problem> {
    let name = desk_name(&name)?;
    let view = api.engine.inspect(move |engine| engine.portfolio(name)).await?;
    view.map(Json).ok_or_else(|| unknown_portfolio(name))
}

/// Declares a portfolio, or adds to one. Names are 1 to 24 letters, digits, `_`, `-` or `.`. What exists stays; more capital
/// for it waits for a second person (202).
#[utoipa::path(put, path = "/v1/portfolios/{portfolio}", tag = "positions",
    security(("api_key" = ["risk:admin"])),
    params(("portfolio" = String, Path, example = "main")),
    request_body(content = serde_json::Value, example = json!({
        "currency": "USD", "capital": "1000000", "books": {"index": ["carry", "momentum"]},
    })),
    responses(
        (status = 200, body = serde_json::Value), (status = 202, body = serde_json::Value),
        (status = 400, body = Problem), (status = 422, body = Problem),
    ))]
async fn put_portfolio(
    State(api): State<Api>,
    Operator(by): Operator,
    Path(name): Path<String>,
    Json(body): Json<PortfolioBody>,
) -> Result<(StatusCode, Json<PortfolioView>), Problem> {
    let name = desk_name(&name)?;
    api.engine.command(Command::Portfolio(body.named(name, by))).await?;
    let view = api.engine.inspect(move |engine| engine.portfolio(name)).await?;
    let view = view.ok_or_else(|| unknown_portfolio(name))?;
    let mut waiting = proposals_of(&api, &Scope { portfolio: Some(name), ..Scope::default() }).await?;
    waiting.retain(|proposal| matches!(proposal.change, Change::Capital(_)));
    Ok((accepted(&waiting), Json(view)))
}

/// What currencies are worth in the firm's.
#[utoipa::path(get, path = "/v1/fx", tag = "positions",
    security(("api_key" = ["read"])), responses((status = 200, body = serde_json::Value)))]
async fn get_rates(State(api): State<Api>) -> Result<Json<RatesAnswer>, Problem> {
    let (currency, rates) = api.engine.inspect(RiskEngine::rates).await?;
    Ok(Json(RatesAnswer { currency, rates }))
}

/// Says what currencies are worth in the firm's; all that is held in them is valued anew.
#[utoipa::path(put, path = "/v1/fx", tag = "positions",
    security(("api_key" = ["risk:admin"])),
    request_body(content = serde_json::Value, example = json!({"EUR": "1.0825", "JPY": "0.0067"})),
    responses((status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 422, body = Problem)))]
async fn put_rates(
    State(api): State<Api>,
    Operator(by): Operator,
    Json(rates): Json<BTreeMap<Currency, Price>>,
) -> Result<Json<RatesAnswer>, Problem> {
    let rates = rates.into_iter().map(|(currency, rate)| (currency, rate.nanos())).collect();
    api.engine.command(Command::Rates { rates, by }).await?;
    get_rates(State(api)).await
}

async fn limits_of(api: &Api, scope: Scope) -> Result<LimitsAnswer, Problem> {
    let view = api.engine.inspect(move |engine| engine.limits_of(&scope)).await?;
    view.map(Into::into).ok_or_else(|| unknown_scope(&scope))
}

/// The limits of the firm, a portfolio, a book or a strategy, and what is used of them.
#[utoipa::path(get, path = "/v1/limits", tag = "limits",
    security(("api_key" = ["read"])), params(ScopeQuery), responses(
    (status = 200, body = serde_json::Value), (status = 404, body = Problem),
))]
async fn get_limits(
    State(api): State<Api>,
    Query(scope): Query<ScopeQuery>,
) -> Result<Json<LimitsAnswer>, Problem> {
    limits_of(&api, scope.into()).await.map(Json)
}

/// Replaces limits. What tightens is in force at once (200); what loosens any waits for a second person (202).
///
/// Money is decimal text in the portfolio's currency; `soft` warns and may be left out, `hard` rejects. Kinds: `gross`,
/// `net`, `position`, `concentration_bps`, `var`, `drawdown`, `daily_loss`, `order_size`, `price_collar_bps`,
/// `orders_per_second`, `duplicate_window_ms`, `restricted`. One that is set nowhere above a strategy rejects its orders.
#[utoipa::path(put, path = "/v1/limits", tag = "limits",
    security(("api_key" = ["risk:admin"])), params(ScopeQuery),
    request_body(content = serde_json::Value, example = json!({
        "gross": {"soft": "800000", "hard": "1000000"}, "order_size": {"hard": "50000"}, "orders_per_second": 10,
    })),
    responses(
    (status = 200, body = serde_json::Value), (status = 202, body = serde_json::Value),
    (status = 400, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn put_limits(
    State(api): State<Api>,
    Operator(by): Operator,
    Query(scope): Query<ScopeQuery>,
    Json(limits): Json<Limits>,
) -> Result<(StatusCode, Json<LimitsAnswer>), Problem> {
    let scope = Scope::from(scope);
    change(&api, scope, Change::Limits(Box::new(limits)), by, String::new()).await?;
    let answer = limits_of(&api, scope).await?;
    Ok((accepted(&answer.proposals), Json(answer)))
}

async fn change(api: &Api, scope: Scope, change: Change, by: String, reason: String) -> Result<(), Problem> {
    api.engine.command(Command::Change { scope, change, by, reason }).await
}

/// 202 where something waits for a second person.
fn accepted(proposals: &[ProposalAnswer]) -> StatusCode {
    if proposals.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED }
}

async fn proposals(api: &Api) -> Result<Vec<ProposalAnswer>, Problem> {
    let waiting = api.engine.inspect(RiskEngine::proposals).await?;
    Ok(waiting.into_iter().map(Into::into).collect())
}

async fn proposals_of(api: &Api, scope: &Scope) -> Result<Vec<ProposalAnswer>, Problem> {
    let mut proposals = proposals(api).await?;
    proposals.retain(|proposal| proposal.scope == scope.to_string());
    Ok(proposals)
}

/// Changes that wait for a second person.
#[utoipa::path(get, path = "/v1/proposals", tag = "limits",
    security(("api_key" = ["read"])), responses((status = 200, body = serde_json::Value)))]
async fn list_proposals(State(api): State<Api>) -> Result<Json<Proposals>, Problem> {
    Ok(Json(Proposals { proposals: proposals(&api).await? }))
}

/// Lets a change come into force: by anybody but who asked for it. Without keys, the header `x-operator` says who asks.
#[utoipa::path(post, path = "/v1/proposals/{id}", tag = "limits",
    security(("api_key" = ["risk:admin"])), params(("id" = u64, Path)), responses(
    (status = 200, body = serde_json::Value), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn approve_proposal(
    State(api): State<Api>,
    Operator(by): Operator,
    Path(id): Path<u64>,
) -> Result<Json<Proposals>, Problem> {
    api.engine.command(Command::Approve { id, by }).await?;
    list_proposals(State(api)).await
}

/// Takes back a change that waits.
#[utoipa::path(delete, path = "/v1/proposals/{id}", tag = "limits",
    security(("api_key" = ["risk:admin"])), params(("id" = u64, Path)), responses(
    (status = 200, body = serde_json::Value), (status = 404, body = Problem),
))]
async fn withdraw_proposal(
    State(api): State<Api>,
    Operator(by): Operator,
    Path(id): Path<u64>,
) -> Result<Json<Proposals>, Problem> {
    api.engine.command(Command::Withdraw { id, by }).await?;
    list_proposals(State(api)).await
}

async fn state_of(api: &Api, scope: Scope) -> Result<StateAnswer, Problem> {
    let state = api.engine.inspect(move |engine| engine.trading(&scope)).await?;
    let (state, dead_man_timeout_ms) = state.ok_or_else(|| unknown_scope(&scope))?;
    let proposals = proposals_of(api, &scope).await?;
    Ok(StateAnswer { scope: scope.to_string(), state, dead_man_timeout_ms, proposals })
}

/// Whether orders are let through: `active`, `reducing` or `halted`. What stands above counts, too.
#[utoipa::path(get, path = "/v1/kill-switch", tag = "limits",
    security(("api_key" = ["read"])), params(ScopeQuery), responses(
    (status = 200, body = serde_json::Value), (status = 404, body = Problem),
))]
async fn get_state(
    State(api): State<Api>,
    Query(scope): Query<ScopeQuery>,
) -> Result<Json<StateAnswer>, Problem> {
    state_of(&api, scope.into()).await.map(Json)
}

/// Stops trading at once (200), or lets it go on once a second person approves (202). Cancels are always let through.
#[utoipa::path(put, path = "/v1/kill-switch", tag = "limits",
    security(("api_key" = ["trade"])), params(ScopeQuery),
    request_body(content = serde_json::Value, example = json!({"state": "halted", "reason": "runaway strategy"})),
    responses(
    (status = 200, body = serde_json::Value), (status = 202, body = serde_json::Value),
    (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn put_state(
    State(api): State<Api>,
    Operator(by): Operator,
    Query(scope): Query<ScopeQuery>,
    Json(body): Json<StateBody>,
) -> Result<(StatusCode, Json<StateAnswer>), Problem> {
    let scope = Scope::from(scope);
    change(&api, scope, Change::State(body.state), by, body.reason).await?;
    let answer = state_of(&api, scope).await?;
    Ok((accepted(&answer.proposals), Json(answer)))
}

/// Sets the dead-man timer: all trading halts when no heartbeat came for so long; 0 turns it off. Later and off wait for
/// a second person.
#[utoipa::path(put, path = "/v1/dead-man", tag = "limits",
    security(("api_key" = ["risk:admin"])),
    request_body(content = serde_json::Value, example = json!({"timeout_ms": 5_000})),
    responses(
    (status = 200, body = serde_json::Value), (status = 202, body = serde_json::Value), (status = 400, body = Problem),
))]
async fn put_dead_man(
    State(api): State<Api>,
    Operator(by): Operator,
    Json(body): Json<DeadManBody>,
) -> Result<(StatusCode, Json<StateAnswer>), Problem> {
    let scope = Scope::default();
    change(&api, scope, Change::DeadMan(body.timeout_ms), by, String::new()).await?;
    let answer = state_of(&api, scope).await?;
    Ok((accepted(&answer.proposals), Json(answer)))
}

/// Whoever watches over trading is alive.
#[utoipa::path(post, path = "/v1/heartbeat", tag = "limits",
    security(("api_key" = ["trade"])), responses((status = 204), (status = 503, body = Problem)))]
async fn heartbeat(State(api): State<Api>) -> Result<StatusCode, Problem> {
    api.engine.command(Command::Heartbeat).await.map(|()| StatusCode::NO_CONTENT)
}

/// A list under a name.
#[derive(Debug, Serialize)]
struct Orders {
    orders: Vec<OrderView>,
}

/// Orders that were decided, newest first.
#[utoipa::path(get, path = "/v1/orders", tag = "orders",
    security(("api_key" = ["read"])), params(OrdersQuery), responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem),
))]
async fn list_orders(
    State(api): State<Api>,
    Query(query): Query<OrdersQuery>,
) -> Result<Json<Orders>, Problem> {
    let OrdersQuery { portfolio, open, limit } = query;
    let limit = within("limit", limit, PAGE_MAX)?;
    let orders = api.engine.inspect(move |engine| engine.orders(portfolio, open, limit)).await?;
    Ok(Json(Orders { orders }))
}

/// Decides an order. What is accepted is on the disk; the same order sent again gets the same answer.
#[utoipa::path(post, path = "/v1/orders", tag = "orders",
    security(("api_key" = ["trade"])),
    request_body(content = serde_json::Value, example = json!({
        "order_id": "0192f3c8-1d6e-7c3a-9b1e-0123456789ab",
        "desk": {"portfolio": "main", "book": "index", "strategy": "carry"}, "instrument": "ESH4",
        "action": {"new": {"side": "buy", "quantity": "1", "limit_price": "4810.25"}},
    })),
    responses(
    (status = 200, body = serde_json::Value, description = "accepted or rejected, with reasons"),
    (status = 400, body = Problem), (status = 503, body = Problem),
))]
async fn post_order(
    State(api): State<Api>,
    Json(order): Json<OrderRequest>,
) -> Result<Json<nautilus_messages::mesh::OrderDecision>, Problem> {
    api.engine.command(Command::Order(order)).await?;
    let decision = api.engine.inspect(move |engine| engine.known(&order)).await?;
    decision.map(Json).ok_or_else(|| unknown_order(&order.order_id.to_string()))
}

/// What `POST /v1/orders` would say, and every limit that the order would be beyond. Changes nothing.
#[utoipa::path(post, path = "/v1/orders/check", tag = "orders",
    security(("api_key" = ["read"])),
    request_body(content = serde_json::Value),
    responses((status = 200, body = serde_json::Value), (status = 400, body = Problem)))]
async fn check_order(
    State(api): State<Api>,
    Json(order): Json<OrderRequest>,
) -> Result<Json<CheckView>, Problem> {
    let now = wall_clock();
    api.engine.inspect(move |engine| engine.check(&order, now)).await.map(Json)
}

fn unknown_order(id: &str) -> Problem {
    let shown: String = id.chars().take(36).collect();
    Problem::not_found(
        "unknown_order",
        format!("order {shown} was not decided here; GET /v1/orders lists what was"),
    )
}

/// An order that was decided.
#[utoipa::path(get, path = "/v1/orders/{order_id}", tag = "orders",
    security(("api_key" = ["read"])), params(("order_id" = String, Path)), responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn get_order(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<OrderView>, Problem> {
    let id = order_id(&text)?;
    let order = api.engine.inspect(move |engine| engine.order(id)).await?;
    order.map(Json).ok_or_else(|| unknown_order(&text))
}

/// Passes a cancel on. It is always let through; the order is over once the execution says so.
#[utoipa::path(delete, path = "/v1/orders/{order_id}", tag = "orders",
    security(("api_key" = ["trade"])), params(("order_id" = String, Path)), responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn cancel_order(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<OrderView>, Problem> {
    let id = order_id(&text)?;
    let order = api.engine.inspect(move |engine| engine.order(id)).await?;
    let order = order.ok_or_else(|| unknown_order(&text))?;
    api.engine.command(Command::Order(cancel(order.request))).await?;
    get_order(State(api), Path(text)).await
}

/// Books an execution, or the end of an order. One that was booked is not booked again.
#[utoipa::path(post, path = "/v1/executions", tag = "orders",
    security(("api_key" = ["trade"])),
    request_body(content = serde_json::Value, example = json!({
        "desk": {"portfolio": "main", "book": "index", "strategy": "carry"}, "instrument": "ESH4",
        "order_id": "0192f3c8-1d6e-7c3a-9b1e-0123456789ab", "venue": "GLBX",
        "trade_id": "00000000-0000-0000-0000-000000000001", "side": "buy", "quantity": "1", "price": "4810.25",
        "fee": "1.25", "done": true, "ts_event": 1_703_545_200_000_000_000_u64,
    })),
    responses((status = 204), (status = 400, body = Problem), (status = 422, body = Problem)))]
async fn post_execution(
    State(api): State<Api>,
    Json(change): Json<PositionChange>,
) -> Result<StatusCode, Problem> {
    api.engine.command(Command::Execution(change)).await.map(|()| StatusCode::NO_CONTENT)
}

/// A list under a name.
#[derive(Debug, Serialize)]
struct Unbooked {
    executions: Vec<PositionChange>,
}

/// Executions whose portfolio or instrument is not known yet; they are booked once it is.
#[utoipa::path(get, path = "/v1/executions/unbooked", tag = "orders",
    security(("api_key" = ["read"])), responses((status = 200, body = serde_json::Value)))]
async fn list_unbooked(State(api): State<Api>) -> Result<Json<Unbooked>, Problem> {
    let executions = api.engine.inspect(|engine| engine.unbooked().to_vec()).await?;
    Ok(Json(Unbooked { executions }))
}

fn refused(error: &RiskError) -> Problem {
    Problem::unprocessable(error.code(), error.to_string())
}

/// The scenarios in force: their instruments, how many there are and where they are from; and of how many days the
/// market's closes are there.
#[utoipa::path(get, path = "/v1/scenarios", tag = "measures",
    security(("api_key" = ["read"])), responses((status = 200, body = serde_json::Value)))]
async fn get_scenarios(State(api): State<Api>) -> Result<Json<ScenariosView>, Problem> {
    api.engine.inspect(RiskEngine::scenarios).await.map(Json)
}

/// Replaces the scenarios that live measures and limits on value at risk are taken over: equally likely simple returns of
/// one day, one list for each instrument, oldest first. The market's do not replace them. Bodies up to 64 MiB.
#[utoipa::path(put, path = "/v1/scenarios", tag = "measures",
    security(("api_key" = ["risk:admin"])),
    request_body(content = serde_json::Value, example = json!({
        "instruments": ["ESH4"], "returns": [[0.0032, -0.0117, 0.0054]],
    })),
    responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem),
))]
async fn put_scenarios(
    State(api): State<Api>,
    Operator(by): Operator,
    body: RawBody,
) -> Result<Json<ScenariosView>, Problem> {
    let prepare = |set: ScenarioSet| Scenarios::new(set).map_err(|error| refused(&error));
    let scenarios = Box::new(api.pool.answer(body, prepare).await?);
    api.engine.command(Command::Scenarios { scenarios, by }).await?;
    get_scenarios(State(api)).await
}

/// Takes scenarios that were given back; those of the market's closes come into force, once there are 21 days of them.
#[utoipa::path(delete, path = "/v1/scenarios", tag = "measures",
    security(("api_key" = ["risk:admin"])), responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 422, body = Problem),
))]
async fn delete_scenarios(
    State(api): State<Api>,
    Operator(by): Operator,
) -> Result<Json<ScenariosView>, Problem> {
    api.engine.command(Command::WithdrawScenarios { by }).await?;
    collected::make(&api.engine, &api.pool, 0).await;
    get_scenarios(State(api)).await
}

/// Closing prices of days that are over, so that scenarios of the market need not wait for its closes. What is there of
/// the same day and instrument is replaced; null leaves it. Bodies up to 64 MiB.
#[utoipa::path(put, path = "/v1/closes", tag = "measures",
    security(("api_key" = ["risk:admin"])),
    request_body(content = serde_json::Value, example = json!({
        "instruments": ["ESH4", "NQH4"],
        "days": {"2023-12-21": ["4801.25", "17007.5"], "2023-12-22": ["4808.75", null]},
    })),
    responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem),
))]
async fn put_closes(
    State(api): State<Api>,
    Operator(by): Operator,
    body: RawBody,
) -> Result<Json<ScenariosView>, Problem> {
    let closes = api.pool.answer(body, |closes: GivenCloses| Ok(closes)).await?;
    api.engine.command(Command::Closes { closes, by }).await?;
    collected::make(&api.engine, &api.pool, 0).await;
    get_scenarios(State(api)).await
}

/// Value at risk and expected shortfall of scenarios in the request, with their errors and what each position adds.
/// Bodies up to 128 MiB.
#[utoipa::path(post, path = "/v1/var", tag = "measures",
    security(("api_key" = ["read"])),
    request_body(content = serde_json::Value, example = json!({
        "returns": [[0.01, -0.02], [-0.03, 0.01], [0.00, 0.02]], "positions": [1_000_000, -500_000],
        "confidence": 0.95, "method": "historical",
    })),
    responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem),
))]
async fn post_var(State(api): State<Api>, body: RawBody) -> Result<Json<VarAnswer>, Problem> {
    api.pool.answer(body, |request: VarRequest| measure(&request)).await.map(Json)
}

/// Asks the engine's mathematics and says how long it took.
fn measure(request: &VarRequest) -> Result<VarAnswer, Problem> {
    let start = Instant::now();
    let mut answer = calculate_var(Hardware::shared(), request).map_err(|error| refused(&error))?;
    answer.compute_us = u64::try_from(start.elapsed().as_micros()).ok();
    Ok(answer)
}

/// Values positions anew, options included, under scenarios, on grids, and with other correlations. Bodies up to 128 MiB.
#[utoipa::path(post, path = "/v1/stress", tag = "stress",
    security(("api_key" = ["read"])),
    request_body(content = serde_json::Value, example = json!({
        "positions": [
            {"instrument": "ES", "quantity": 2, "price": 4810.25, "multiplier": 50},
        ],
        "scenarios": [{"name": "crash", "shocks": {"ES": {"price": -0.2}}}],
    })),
    responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem),
))]
async fn post_stress(State(api): State<Api>, body: RawBody) -> Result<Json<StressAnswer>, Problem> {
    let question =
        |request: StressRequest| stress(Hardware::shared(), &request).map_err(|error| refused(&error));
    api.pool.answer(body, question).await.map(Json)
}

/// The most likely shock that loses a given amount. Bodies up to 128 MiB.
#[utoipa::path(post, path = "/v1/reverse-stress", tag = "stress",
    security(("api_key" = ["read"])),
    request_body(content = serde_json::Value, example = json!({
        "positions": [{"instrument": "ES", "quantity": 2, "price": 4810.25, "multiplier": 50}],
        "instruments": ["ES"], "covariance": [[0.0001]], "loss": 50_000,
    })),
    responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem),
))]
async fn post_reverse_stress(
    State(api): State<Api>,
    body: RawBody,
) -> Result<Json<ReverseStressAnswer>, Problem> {
    let question = |request: ReverseStressRequest| {
        reverse_stress(Hardware::shared(), &request).map_err(|error| refused(&error))
    };
    api.pool.answer(body, question).await.map(Json)
}

/// A portfolio's measures from live state: positions as they are, over the scenarios in force.
#[utoipa::path(get, path = "/v1/portfolios/{portfolio}/risk", tag = "measures",
    security(("api_key" = ["read"])), params(("portfolio" = String, Path, example = "main"), RiskQuery), responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn get_risk(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<RiskQuery>,
) -> Result<Json<RiskAnswer>, Problem> {
    let name = desk_name(&name)?;
    // Prices of the last moments are told to the measures first.
    api.engine.command(Command::Tick).await?;
    let live =
        api.engine.inspect(move |engine| Some((engine.exposures(name)?, engine.scenario_matrix()))).await?;
    let (exposures, matrix) = live.ok_or_else(|| unknown_portfolio(name))?;
    let exposures = exposures.map_err(|error| refused(&error))?;
    let request = query.of(matrix.map_err(|error| refused(&error))?, exposures.positions.clone());
    let measures = api.pool.run(move || measure(&request)).await?;
    Ok(Json(RiskAnswer { portfolio: name, exposures, measures }))
}

/// What trades would make of a portfolio's value at risk and expected shortfall. Changes nothing.
#[utoipa::path(post, path = "/v1/portfolios/{portfolio}/what-if", tag = "measures",
    security(("api_key" = ["read"])), params(("portfolio" = String, Path, example = "main")),
    request_body(content = serde_json::Value, example = json!({
        "trades": [{"instrument": "ESH4", "side": "sell", "quantity": "2"}], "confidence": 0.99,
    })),
    responses(
    (status = 200, body = serde_json::Value), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn what_if(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(WhatIfBody { trades, confidence }): Json<WhatIfBody>,
) -> Result<Json<WhatIf>, Problem> {
    let name = desk_name(&name)?;
    api.engine.command(Command::Tick).await?;
    let answer = api.engine.inspect(move |engine| engine.what_if(name, &trades, confidence)).await?;
    let answer = answer.ok_or_else(|| unknown_portfolio(name))?;
    answer.map(Json).map_err(|error| refused(&error))
}

/// Whether a portfolio's daily forecasts of value at risk and expected shortfall were right, by the service's own record.
#[utoipa::path(get, path = "/v1/portfolios/{portfolio}/backtest", tag = "measures",
    security(("api_key" = ["read"])), params(("portfolio" = String, Path, example = "main")), responses(
    (status = 200, body = serde_json::Value), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn get_backtest(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<BacktestView>, Problem> {
    let name = desk_name(&name)?;
    let rows = api.engine.inspect(move |engine| engine.forecasts(name)).await?;
    let rows = rows.ok_or_else(|| unknown_portfolio(name))?;
    let tested = api.pool.run(move || {
        let tests = backtest_of(&rows).map_err(|error| refused(&error))?;
        Ok(BacktestView { portfolio: name, tests, record: rows })
    });
    tested.await.map(Json)
}
