//! The routes of the vpin service.

use axum::extract::{DefaultBodyLimit, State};
use nautilus_engine_vpin::{BatchAnswer, BatchRequest, Command, Configuration, VpinEngine, calculate};
use nautilus_service::paging::{InstrumentsPage, InstrumentsQuery, PAGE_MAX, within};
use nautilus_service::{ComputePool, EngineHandle, Json, Path, Problem, Query, RawBody};
use nautilus_store::Store;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::shapes::{ConfigurationAnswer, HistoryPage, HistoryQuery, VpinAnswer};

/// The largest body of a calculation: about 100,000 trades.
const CALCULATE_BODY_MAX: usize = 8 << 20;

#[derive(Clone)]
struct Api {
    engine: EngineHandle<VpinEngine>,
    store: Store,
    pool: ComputePool,
}

pub(crate) fn router(engine: EngineHandle<VpinEngine>, store: Store) -> OpenApiRouter {
    let calculation = OpenApiRouter::new().routes(routes!(post_calculate));
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get_vpin))
        .routes(routes!(get_history))
        .routes(routes!(get_configuration, put_configuration))
        .merge(calculation.layer(DefaultBodyLimit::max(CALCULATE_BODY_MAX)))
        .with_state(Api { engine, store, pool: ComputePool::default() })
}

/// Every instrument's VPIN, by symbol.
#[utoipa::path(get, path = "/v1/vpin", tag = "vpin",
    security(("api_key" = ["read"])),
    params(InstrumentsQuery), responses(
    (status = 200, body = InstrumentsPage<VpinAnswer>), (status = 400, body = Problem),
))]
async fn list(
    State(api): State<Api>,
    Query(query): Query<InstrumentsQuery>,
) -> Result<Json<InstrumentsPage<VpinAnswer>>, Problem> {
    InstrumentsPage::of(api.engine.views(), query).map(Json)
}

/// An instrument's VPIN now, for every classification.
#[utoipa::path(get, path = "/v1/vpin/{instrument}", tag = "vpin",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4")), responses(
    (status = 200, body = VpinAnswer), (status = 404, body = Problem),
))]
async fn get_vpin(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<VpinAnswer>, Problem> {
    Ok(Json(api.engine.views().named(&name)?.as_ref().into()))
}

/// An instrument's completed buckets, newest last; the newest 4,096 are kept here, all of them in the database.
#[utoipa::path(get, path = "/v1/vpin/{instrument}/history", tag = "vpin",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4"), HistoryQuery), responses(
    (status = 200, body = HistoryPage), (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn get_history(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<HistoryPage>, Problem> {
    let view = api.engine.views().named(&name)?;
    let limit = within("limit", query.limit, PAGE_MAX)?;
    let classification = query.classification.unwrap_or(view.configuration.classification);
    let before = query.before.unwrap_or(u64::MAX);
    let history = &view.lane(classification).history;
    let mut buckets: Vec<_> =
        history.iter().rev().filter(|row| row.bucket < before).take(limit).copied().collect();
    buckets.reverse();
    let oldest = history.iter().next().map(|row| row.bucket);
    let next =
        buckets.first().map(|row| row.bucket).filter(|first| oldest.is_some_and(|oldest| oldest < *first));
    Ok(Json(HistoryPage { instrument: view.instrument, classification, buckets, next }))
}

/// How an instrument's VPIN is computed.
#[utoipa::path(get, path = "/v1/vpin/{instrument}/configuration", tag = "vpin",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path)), responses(
    (status = 200, body = ConfigurationAnswer), (status = 404, body = Problem),
))]
async fn get_configuration(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<ConfigurationAnswer>, Problem> {
    let view = api.engine.views().named(&name)?;
    Ok(Json(ConfigurationAnswer { instrument: view.instrument, configuration: view.configuration }))
}

/// Changes how an instrument's VPIN is computed; its buckets start afresh. The change survives a restart.
///
/// Fields left out take their defaults: `classification`, `bar_seconds`, `buckets_per_day`, `window`,
/// `bucket_volume`, `sigma_bars`, `average_days`, `calibration_trades`, `moderate_above`, `high_above`.
#[utoipa::path(put, path = "/v1/vpin/{instrument}/configuration", tag = "vpin",
    security(("api_key" = ["operate"])),
    params(("instrument" = String, Path)),
    request_body(content = serde_json::Value, example = json!({"classification": "aggressor", "window": 20})),
    responses(
    (status = 200, body = ConfigurationAnswer), (status = 400, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn put_configuration(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(configuration): Json<Configuration>,
) -> Result<Json<ConfigurationAnswer>, Problem> {
    let instrument = api.engine.views().named(&name)?.instrument;
    api.engine.command_kept(Command::Configure { instrument, configuration }, &api.store).await?;
    Ok(Json(ConfigurationAnswer { instrument, configuration }))
}

/// VPIN of the trades in the request. Bodies up to 8 MiB; trades in order of time.
#[utoipa::path(post, path = "/v1/vpin/calculate", tag = "vpin",
    security(("api_key" = ["read"])),
    request_body(content = serde_json::Value, example = json!({
        "trades": [{"ts_ns": 1_700_000_000_000_000_000_u64, "price": "100.25", "quantity": 3, "side": "buy"}],
        "bar_seconds": 60, "buckets_per_day": 50, "window": 50, "classification": "aggressor",
    })),
    responses(
    (status = 200, body = serde_json::Value, description = "vpin, bucket_volume and the buckets"),
    (status = 400, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
))]
async fn post_calculate(State(api): State<Api>, body: RawBody) -> Result<Json<BatchAnswer>, Problem> {
    let question = |request: BatchRequest| {
        calculate(&request).map_err(|error| Problem::unprocessable(error.code(), error.to_string()))
    };
    api.pool.answer(body, question).await.map(Json)
}
