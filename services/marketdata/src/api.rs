//! The routes of the marketdata service.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use nautilus_engine_marketdata::{Command, MarketdataEngine};
use nautilus_service::paging::{InstrumentsPage, InstrumentsQuery, PAGE_MAX, within};
use nautilus_service::{EngineHandle, Json, Path, Problem, Query};
use nautilus_store::Store;
use nautilus_types::{Symbol, UnixNanos};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::feeds::{FeedManager, FeedState, Job, Pace};
use crate::settings::Settings;
use crate::shapes::{
    BarsAnswer, BarsQuery, BarsRequest, BookAnswer, BookQuery, FeedAnswer, InstrumentAnswer, ReplayRequest,
    StatsAnswer, TradesAnswer, TradesQuery,
};

#[derive(Clone)]
struct Api {
    engine: EngineHandle<MarketdataEngine>,
    feeds: FeedManager,
    store: Store,
    settings: Arc<Settings>,
}

pub(crate) fn router(
    engine: EngineHandle<MarketdataEngine>,
    feeds: FeedManager,
    store: Store,
    settings: Settings,
) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(instruments))
        .routes(routes!(book))
        .routes(routes!(trades))
        .routes(routes!(bars, put_bars))
        .routes(routes!(stats))
        .routes(routes!(list_replays, post_replay))
        .routes(routes!(get_replay, delete_replay))
        .routes(routes!(list_feeds))
        .with_state(Api { engine, feeds, store, settings: Arc::new(settings) })
}

impl Api {
    fn job(&self, id: u64) -> Result<Arc<Job>, Problem> {
        let unknown = || {
            Problem::not_found(
                "unknown_replay",
                format!("there is no replay {id} since this service started; GET /v1/replays lists all"),
            )
        };
        self.feeds.job(id).ok_or_else(unknown)
    }
}

/// Every instrument, by symbol.
#[utoipa::path(get, path = "/v1/instruments", tag = "marketdata",
    security(("api_key" = ["read"])),
    params(InstrumentsQuery), responses(
    (status = 200, body = InstrumentsPage<InstrumentAnswer>), (status = 400, body = Problem),
))]
async fn instruments(
    State(api): State<Api>,
    Query(query): Query<InstrumentsQuery>,
) -> Result<Json<InstrumentsPage<InstrumentAnswer>>, Problem> {
    InstrumentsPage::of(api.engine.views(), query).map(Json)
}

/// An instrument's order book.
#[utoipa::path(get, path = "/v1/books/{instrument}", tag = "marketdata",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4"), BookQuery), responses(
    (status = 200, body = BookAnswer), (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn book(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<BookQuery>,
) -> Result<Json<BookAnswer>, Problem> {
    let view = api.engine.views().named(&name)?;
    let depth = within("depth", query.depth, api.settings.engine.depth)?;
    Ok(Json(BookAnswer::new(&view, depth)))
}

/// An instrument's recent trades; the newest 4,096 are kept.
#[utoipa::path(get, path = "/v1/trades/{instrument}", tag = "marketdata",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4"), TradesQuery), responses(
    (status = 200, body = TradesAnswer), (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn trades(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<TradesQuery>,
) -> Result<Json<TradesAnswer>, Problem> {
    let view = api.engine.views().named(&name)?;
    let limit = within("limit", query.limit, PAGE_MAX)?;
    Ok(Json(TradesAnswer::new(&view, query.before.unwrap_or(u64::MAX), limit)))
}

/// An instrument's bars: the newest from memory, or a range from the database, where those of a minute and longer and
/// all bars by trades, volume and notional are kept.
#[utoipa::path(get, path = "/v1/bars/{instrument}", tag = "marketdata",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4"), BarsQuery), responses(
    (status = 200, body = BarsAnswer), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
async fn bars(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<BarsQuery>,
) -> Result<Json<BarsAnswer>, Problem> {
    let limit = within("limit", query.limit, PAGE_MAX)?;
    if query.from_ns.is_some() || query.to_ns.is_some() {
        return stored_bars(&api, &name, &query, limit).await.map(Json);
    }
    let view = api.engine.views().named(&name)?;
    let bars = view.bars.iter().find(|bars| bars.spec == query.interval).ok_or_else(|| {
        let built: Vec<_> = view.bars.iter().map(|bars| bars.spec.to_string()).collect();
        let detail = format!("{} bars are not built; there are {}", query.interval, built.join(", "));
        Problem::not_found("unknown_interval", detail)
    })?;
    let skip = bars.closed.len().saturating_sub(limit);
    Ok(Json(BarsAnswer {
        instrument: view.instrument.symbol,
        interval: bars.spec,
        bars: bars.closed.iter().skip(skip).map(Into::into).collect(),
        forming: bars.forming.as_ref().map(Into::into),
    }))
}

/// Changes which bars are built for an instrument. Intervals that stay keep their past. Until the next start.
#[utoipa::path(put, path = "/v1/bars/{instrument}", tag = "marketdata",
    security(("api_key" = ["operate"])),
    params(("instrument" = String, Path, example = "ESH4")), request_body = BarsRequest, responses(
    (status = 200, body = BarsRequest), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn put_bars(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<BarsRequest>,
) -> Result<Json<BarsRequest>, Problem> {
    let instrument = api.engine.views().named(&name)?.instrument.symbol;
    let bars = request.intervals.clone();
    api.engine.command(Command::SetBars { instrument: Some(instrument), bars }).await?;
    Ok(Json(request))
}

async fn stored_bars(api: &Api, name: &str, query: &BarsQuery, limit: usize) -> Result<BarsAnswer, Problem> {
    let instrument: Symbol = name.parse().map_err(|_| Problem::unknown_instrument(name))?;
    let (from, to) = (UnixNanos(query.from_ns.unwrap_or(0)), UnixNanos(query.to_ns.unwrap_or(u64::MAX)));
    let (unit, interval) = (query.interval.unit(), query.interval.interval());
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let rows = api.store.bars(instrument, unit, interval, from, to, limit).await.map_err(store_problem)?;
    if rows.is_empty() && api.engine.views().get(instrument).is_none() {
        return Err(Problem::unknown_instrument(name));
    }
    Ok(BarsAnswer {
        instrument,
        interval: query.interval,
        bars: rows.iter().map(Into::into).collect(),
        forming: None,
    })
}

#[allow(clippy::needless_pass_by_value)]
fn store_problem(error: nautilus_store::StoreError) -> Problem {
    tracing::warn!(%error, "a question to the database failed");
    Problem::unavailable(
        "store_unavailable",
        "the database does not answer; try again, or leave out from_ns and to_ns",
    )
}

/// The newest trading day's statistics.
#[utoipa::path(get, path = "/v1/stats/{instrument}", tag = "marketdata",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4")), responses(
    (status = 200, body = StatsAnswer), (status = 404, body = Problem),
))]
async fn stats(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<StatsAnswer>, Problem> {
    let view = api.engine.views().named(&name)?;
    let day = view.statistics.as_ref();
    let none = || Problem::not_found("no_trades", format!("{} has not traded yet", view.instrument.symbol));
    Ok(Json(day.ok_or_else(none)?.into()))
}

/// Replays that run or ran, oldest first; the newest 64 are remembered.
#[utoipa::path(get, path = "/v1/replays", tag = "replays",
    security(("api_key" = ["read"])),
    responses((status = 200, body = Vec<FeedAnswer>)))]
async fn list_replays(State(api): State<Api>) -> Json<Vec<FeedAnswer>> {
    Json(
        api.feeds.jobs().iter().filter(|job| job.pace != Pace::Live).map(|job| job.as_ref().into()).collect(),
    )
}

/// Starts to replay a recording that lies on the server.
#[utoipa::path(post, path = "/v1/replays", tag = "replays",
    security(("api_key" = ["operate"])),
    request_body = ReplayRequest, responses(
    (status = 202, body = FeedAnswer), (status = 400, body = Problem), (status = 422, body = Problem),
    (status = 429, body = Problem),
))]
async fn post_replay(
    State(api): State<Api>,
    Json(request): Json<ReplayRequest>,
) -> Result<(StatusCode, Json<FeedAnswer>), Problem> {
    let refused = |reason: String| Problem::unprocessable("unreadable_file", reason);
    let path = api.settings.recording(&request.path).map_err(refused)?;
    let job = api.feeds.replay(path, request.speed).await?;
    Ok((StatusCode::ACCEPTED, Json(job.as_ref().into())))
}

/// Where a replay stands.
#[utoipa::path(get, path = "/v1/replays/{id}", tag = "replays",
    security(("api_key" = ["read"])),
    params(("id" = u64, Path)), responses(
    (status = 200, body = FeedAnswer), (status = 404, body = Problem),
))]
async fn get_replay(State(api): State<Api>, Path(id): Path<u64>) -> Result<Json<FeedAnswer>, Problem> {
    Ok(Json(api.job(id)?.as_ref().into()))
}

/// Cancels a replay. What it has published stays.
#[utoipa::path(delete, path = "/v1/replays/{id}", tag = "replays",
    security(("api_key" = ["operate"])),
    params(("id" = u64, Path)), responses(
    (status = 202, body = FeedAnswer), (status = 404, body = Problem),
))]
async fn delete_replay(
    State(api): State<Api>,
    Path(id): Path<u64>,
) -> Result<(StatusCode, Json<FeedAnswer>), Problem> {
    let job = api.job(id)?;
    job.cancel();
    Ok((StatusCode::ACCEPTED, Json(job.as_ref().into())))
}

/// Feeds that run now.
#[utoipa::path(get, path = "/v1/feeds", tag = "feeds",
    security(("api_key" = ["read"])),
    responses((status = 200, body = Vec<FeedAnswer>)))]
async fn list_feeds(State(api): State<Api>) -> Json<Vec<FeedAnswer>> {
    let jobs = api.feeds.jobs();
    Json(
        jobs.iter()
            .filter(|job| job.status().0 == FeedState::Running)
            .map(|job| job.as_ref().into())
            .collect(),
    )
}
