//! The routes of the features service.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nautilus_engine_features::{
    CalculateAnswer, CalculateRequest, Clock, Command, Definition, FeatureSet, FeaturesEngine, Figures,
    Snapshot, Source, Vector, calculate,
};
use nautilus_service::paging::{InstrumentsPage, InstrumentsQuery, PAGE_MAX, within};
use nautilus_service::{ComputePool, EngineHandle, Json, Path, Problem, Query, RawBody};
use nautilus_store::Store;
use nautilus_types::{FeatureSetName, UnixNanos};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Picture;
use crate::arrow;
use crate::selection::{self, Places, unknown_feature, unknown_set};
use crate::shapes::{
    ArrowStream, FeaturesPage, FeaturesQuery, FunctionsAnswer, HistoryPage, HistoryQuery, HistoryRow,
    InputAnswer, InstrumentAnswer, Kept, Matrix, MatrixAnswer, MatrixQuery, SetAnswer, SetsAnswer,
    VectorAnswer, VectorQuery, digest,
};

/// The largest body of a calculation: about a million numbers.
const CALCULATE_BODY_MAX: usize = 16 << 20;
/// The most values of one answer.
const VALUES_MAX: usize = 1_000_000;

#[derive(Clone)]
struct Api {
    engine: EngineHandle<FeaturesEngine>,
    picture: Picture,
    store: Store,
    pool: ComputePool,
}

impl Api {
    /// Everything as of now; it does not change while it is held.
    fn now(&self) -> Arc<Snapshot> {
        self.picture.load_full()
    }
}

pub(crate) fn router(engine: EngineHandle<FeaturesEngine>, picture: Picture, store: Store) -> OpenApiRouter {
    let calculation = OpenApiRouter::new().routes(routes!(post_calculate));
    OpenApiRouter::new()
        .routes(routes!(list_features))
        .routes(routes!(get_feature))
        .routes(routes!(list_functions))
        .routes(routes!(list_instruments))
        .routes(routes!(get_vector))
        .routes(routes!(get_matrix))
        .routes(routes!(get_history))
        .routes(routes!(list_sets))
        .routes(routes!(get_set, put_set, delete_set))
        .routes(routes!(get_graph))
        .merge(calculation.layer(DefaultBodyLimit::max(CALCULATE_BODY_MAX)))
        .with_state(Api { engine, picture, store, pool: ComputePool::default() })
}

/// Every definition, in the order of values.
#[utoipa::path(get, path = "/v1/features", tag = "features",
    security(("api_key" = ["read"])),
    params(FeaturesQuery), responses(
    (status = 200, body = FeaturesPage<'_>), (status = 400, body = Problem),
))]
async fn list_features(
    State(api): State<Api>,
    Query(query): Query<FeaturesQuery>,
) -> Result<Response, Problem> {
    let picture = api.now();
    let limit = within("limit", query.limit, PAGE_MAX)?;
    let registry = &picture.registry;
    let begin = match &query.after {
        Some(id) => {
            registry.find(id).ok_or_else(|| {
                Problem::bad_request("invalid_query", format!("after: {}", unknown_feature(id).detail()))
            })? + 1
        }
        None => 0,
    };
    let matches = |definition: &Definition| {
        query.family.is_none_or(|family| definition.family == family)
            && query.clock.is_none_or(|clock| definition.clock.ticks_with(Clock::from(clock)))
    };
    let all = registry.definitions();
    let mut by_family = std::collections::BTreeMap::new();
    all.iter().filter(|d| matches(d)).for_each(|d| *by_family.entry(d.family).or_insert(0) += 1);
    let mut rest = all[begin..].iter().filter(|definition| matches(definition)).peekable();
    let features: Vec<&Definition> = rest.by_ref().take(limit).collect();
    let next = features.last().filter(|_| rest.peek().is_some()).map(|definition| definition.id.as_str());
    let (digest, total) = (digest(&picture), by_family.values().sum());
    Ok(Json(FeaturesPage { digest, total, by_family, features, next }).into_response())
}

/// One definition.
#[utoipa::path(get, path = "/v1/features/{id}", tag = "features",
    security(("api_key" = ["read"])),
    params(("id" = String, Path, example = "return_20")), responses(
    (status = 200, body = serde_json::Value), (status = 404, body = Problem),
))]
async fn get_feature(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Definition>, Problem> {
    let picture = api.now();
    let place = picture.registry.find(&id).ok_or_else(|| unknown_feature(&id))?;
    Ok(Json(picture.registry.definitions()[place].clone()))
}

/// The functions of formulas, and the inputs that formulas can start from.
#[utoipa::path(get, path = "/v1/functions", tag = "features",
    security(("api_key" = ["read"])), responses(
    (status = 200, body = FunctionsAnswer),
))]
async fn list_functions(State(api): State<Api>) -> Json<FunctionsAnswer> {
    let inputs = Source::ALL.iter().copied().map(InputAnswer::from).collect();
    Json(FunctionsAnswer { functions: api.now().registry.functions(), inputs })
}

/// Every instrument with what its values are as of, by symbol.
#[utoipa::path(get, path = "/v1/instruments", tag = "features",
    security(("api_key" = ["read"])),
    params(InstrumentsQuery), responses(
    (status = 200, body = InstrumentsPage<InstrumentAnswer>), (status = 400, body = Problem),
))]
async fn list_instruments(
    State(api): State<Api>,
    Query(query): Query<InstrumentsQuery>,
) -> Result<Json<InstrumentsPage<InstrumentAnswer>>, Problem> {
    let limit = within("limit", query.limit, PAGE_MAX)?;
    let picture = api.now();
    let page = move || {
        let (places, next) = selection::instruments(&picture, None, query.after, limit)?;
        let instruments = places.iter().map(|place| InstrumentAnswer::new(&picture, *place)).collect();
        Ok(InstrumentsPage { instruments, next })
    };
    api.pool.run(page).await.map(Json)
}

/// An instrument's newest values: features of events as of its newest trade or quote, all others as of its newest bar.
#[utoipa::path(get, path = "/v1/vectors/{instrument}", tag = "features",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4"), VectorQuery), responses(
    (status = 200, body = VectorAnswer), (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn get_vector(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<VectorQuery>,
) -> Result<Json<VectorAnswer>, Problem> {
    let picture = api.now();
    let place = selection::instrument(&picture, &name)?;
    let features = selection::features(&picture, query.set.as_deref(), query.features.as_deref())?;
    Ok(Json(VectorAnswer::new(picture, place, features, query.absent)))
}

/// Instruments × features as of one moment, as JSON or as an Arrow stream.
///
/// With `Accept: application/vnd.apache.arrow.stream` the answer is one record batch: instrument, bar_ts_close_ns,
/// bar_sequence, event_sequence and a column per feature; the schema's metadata holds `definitions` and `next`.
#[utoipa::path(get, path = "/v1/matrix", tag = "features",
    security(("api_key" = ["read"])),
    params(MatrixQuery), responses(
    (status = 200, content((MatrixAnswer<'_> = "application/json"), (ArrowStream = "application/vnd.apache.arrow.stream"))),
    (status = 400, body = Problem), (status = 404, body = Problem), (status = 406, body = Problem),
))]
async fn get_matrix(
    State(api): State<Api>,
    Query(query): Query<MatrixQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let as_arrow = arrow::wanted(&headers)?;
    let limit = within("limit", query.limit, PAGE_MAX)?;
    let picture = api.now();
    let features = selection::features(&picture, query.set.as_deref(), query.features.as_deref())?;
    let named = query.instruments.as_deref();
    let (instruments, next) = selection::instruments(&picture, named, query.after, limit)?;
    at_most_values(instruments.len(), &features)?;
    let matrix = Matrix { picture, features, instruments, next };
    api.pool
        .run(move || {
            if as_arrow {
                let bytes = arrow::encode(&matrix).map_err(|error| internal(&error))?;
                return Ok(([(header::CONTENT_TYPE, arrow::MEDIA)], bytes).into_response());
            }
            written(&MatrixAnswer::from(&matrix))
        })
        .await
}

/// An instrument's values at past bars, oldest first, as they were known when each bar closed.
#[utoipa::path(get, path = "/v1/history/{instrument}", tag = "features",
    security(("api_key" = ["read"])),
    params(("instrument" = String, Path, example = "ESH4"), HistoryQuery), responses(
    (status = 200, body = HistoryPage<'_>), (status = 400, body = Problem), (status = 404, body = Problem),
))]
async fn get_history(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, Problem> {
    let limit = within("limit", query.limit, PAGE_MAX)?;
    let picture = api.now();
    let place = selection::instrument(&picture, &name)?;
    let features = selection::features(&picture, query.set.as_deref(), query.features.as_deref())?;
    at_most_values(limit, &features)?;
    let (from, to) = (UnixNanos(query.from_ns.unwrap_or(0)), UnixNanos(query.to_ns.unwrap_or(u64::MAX)));
    if from > to {
        let detail = format!("from_ns is {} and to_ns {}; the first must not be later", from.0, to.0);
        return Err(Problem::bad_request("invalid_query", detail));
    }
    api.pool
        .run(move || {
            let all = past(&picture, place, from, to);
            let next = all.get(limit).and_then(|vector| vector.ts_close);
            let page = &all[..limit.min(all.len())];
            let definitions = picture.registry.definitions();
            written(&HistoryPage {
                instrument: picture.instruments[place].symbol,
                definitions: digest(&picture),
                features: features.iter().map(|f| definitions[*f as usize].id.as_str()).collect(),
                rows: page.iter().filter_map(|vector| HistoryRow::new(vector, &features)).collect(),
                kept: picture.kept().map(|(from_ns, to_ns)| Kept { from_ns, to_ns }),
                next,
            })
        })
        .await
}

/// An instrument's past. Where its source played a time again, only the newest run of it counts.
fn past(picture: &Snapshot, place: usize, from: UnixNanos, to: UnixNanos) -> Vec<Vector<'_>> {
    let mut kept: Vec<Vector<'_>> = Vec::new();
    for vector in picture.history(place, from, to) {
        while kept.last().is_some_and(|last| last.ts_close >= vector.ts_close) {
            kept.pop();
        }
        kept.push(vector);
    }
    kept
}

/// Refuses answers that would be too long.
fn at_most_values(rows: usize, features: &Places) -> Result<(), Problem> {
    let values = rows.saturating_mul(features.len());
    if values <= VALUES_MAX {
        return Ok(());
    }
    let detail =
        format!("that is up to {values} values; ask for {VALUES_MAX} at the most, with a smaller limit");
    Err(Problem::bad_request("too_many_values", detail))
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "an answer could not be written");
    let detail = "the answer could not be written; its id stands in the log";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

/// JSON, written where it is made rather than on a thread that serves.
fn written(answer: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(answer).map_err(|error| internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// Every set, by name.
#[utoipa::path(get, path = "/v1/sets", tag = "sets",
    security(("api_key" = ["read"])), responses(
    (status = 200, body = SetsAnswer),
))]
async fn list_sets(State(api): State<Api>) -> Json<SetsAnswer> {
    let picture = api.now();
    let sets = picture.sets.iter().map(|(name, set)| SetAnswer::new(&picture, *name, set.clone())).collect();
    Json(SetsAnswer { sets })
}

/// A set.
#[utoipa::path(get, path = "/v1/sets/{name}", tag = "sets",
    security(("api_key" = ["read"])),
    params(("name" = String, Path, example = "core")), responses(
    (status = 200, body = SetAnswer), (status = 404, body = Problem),
))]
async fn get_set(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<SetAnswer>, Problem> {
    let picture = api.now();
    let (name, set) = named_set(&picture, &name)?;
    Ok(Json(SetAnswer::new(&picture, name, set.clone())))
}

fn named_set<'a>(picture: &'a Snapshot, name: &str) -> Result<(FeatureSetName, &'a FeatureSet), Problem> {
    let found = name.parse().ok().and_then(|name| Some((name, picture.sets.get(&name)?)));
    found.ok_or_else(|| unknown_set(name))
}

/// Makes or replaces a set. It survives a restart.
///
/// `publish` is when an instrument's vector is sent on the mesh as `feature_vector`: at its `bar` (the default), at each
/// `event` too, or `never`. `instruments` says whose; all when left out.
#[utoipa::path(put, path = "/v1/sets/{name}", tag = "sets",
    security(("api_key" = ["operate"])),
    params(("name" = String, Path, example = "core")),
    request_body(content = serde_json::Value, example = json!({
        "features": ["return_1", "return_20"], "instruments": ["ESH4"], "publish": "bar",
    })),
    responses(
    (status = 200, body = SetAnswer), (status = 400, body = Problem), (status = 422, body = Problem),
))]
async fn put_set(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(set): Json<FeatureSet>,
) -> Result<Json<SetAnswer>, Problem> {
    let name: FeatureSetName =
        name.parse().map_err(|error| Problem::unprocessable("invalid_set", format!("{error}")))?;
    api.engine.command_kept(Command::PutSet { name, set: set.clone() }, &api.store).await?;
    Ok(Json(SetAnswer::new(&api.now(), name, set)))
}

/// Removes a set.
#[utoipa::path(delete, path = "/v1/sets/{name}", tag = "sets",
    security(("api_key" = ["operate"])),
    params(("name" = String, Path, example = "core")), responses(
    (status = 204, description = "It is gone"), (status = 404, body = Problem),
))]
async fn delete_set(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let (name, _) = named_set(&api.now(), &name)?;
    api.engine.command_kept(Command::DeleteSet { name }, &api.store).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sizes and counts: of definitions, nodes, instruments and bytes.
#[utoipa::path(get, path = "/v1/graph", tag = "features",
    security(("api_key" = ["read"])), responses(
    (status = 200, body = serde_json::Value),
))]
async fn get_graph(State(api): State<Api>) -> Json<Figures> {
    Json(api.now().figures)
}

/// Features of the bars in the request. Bodies up to 16 MiB; bars in order of time.
///
/// `open`, `high` and `low` are `close` where they are left out; without `volume`, features of volume are absent.
/// `output` is `last` (the default) or `series`.
#[utoipa::path(post, path = "/v1/calculate", tag = "features",
    security(("api_key" = ["read"])),
    request_body(content = serde_json::Value, example = json!({
        "series": {"ESH4": {"close": [4800.25, 4801.5, 4799.75]}}, "features": ["return_1"], "output": "last",
    })),
    responses(
    (status = 200, body = serde_json::Value, description = "values by symbol and feature, and why others are absent"),
    (status = 400, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
))]
async fn post_calculate(State(api): State<Api>, body: RawBody) -> Result<Json<CalculateAnswer>, Problem> {
    let registry = Arc::clone(&api.now().registry);
    let question = move |request: CalculateRequest| {
        calculate(&registry, &request)
            .map_err(|error| Problem::unprocessable(error.code(), error.to_string()))
    };
    api.pool.answer(body, question).await.map(Json)
}
