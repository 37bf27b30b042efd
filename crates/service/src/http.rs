//! The HTTP surface that every service shares: health, metrics, OpenAPI, the engine's own state, and the layers
//! around all routes. Which routes an engine adds is not decided here.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use nautilus_bus::BusHealth;
use nautilus_engine::Engine;
use nautilus_hardware::Hardware;
use nautilus_store::StoreState;
use serde::{Deserialize, Serialize};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::ToSchema;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{self, Guard, KeyRing, SECURITY_SCHEME, ScopeTable, security_scheme};
use crate::config::ServiceName;
use crate::hardware;
use crate::metrics::Exporter;
use crate::platform::{Base, Connections};
use crate::problem::{Json, Problem};
use crate::shell::{EngineHandle, Progress};

/// How a reason begins that a bus or the store gives.
pub const MARKET_DATA_BUS: &str = "market data bus";
/// The same for the mesh.
pub const ENGINE_LOGIC_BUS: &str = "engine logic bus";
/// The same for the database.
pub const STORE: &str = "store";

/// Routes that programs poll; they say nothing about what users are served.
const SHARED_ROUTES: [&str; 8] = [
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/v1/engine",
    "/v1/engine/digest",
    "/v1/hardware",
    "/v1/hardware/route",
];

/// The stages of an event's way that have a histogram.
const STAGES: [(&str, &str); 6] = [
    ("step", "nautilus_step_seconds"),
    ("star_hop", "nautilus_star_hop_seconds"),
    ("market_data_latency", "nautilus_market_data_latency_seconds"),
    ("store_commit", "nautilus_store_commit_seconds"),
    ("fan_out", "nautilus_fan_out_seconds"),
    ("proxy", "nautilus_proxy_seconds"),
];

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
type DigestAnswer = Pin<Box<dyn Future<Output = Result<u64, Problem>> + Send>>;

/// What the shared routes answer from.
pub(crate) struct Chassis {
    base: Base,
    engine: Option<Arc<EnginePart>>,
    started: Instant,
    requests: AtomicU64,
    /// Answers to users, and those of them that were 5xx.
    answered: AtomicU64,
    failed: AtomicU64,
    /// The keys that are asked for; empty where the listener is open.
    pub(crate) keys: OnceLock<Arc<KeyRing>>,
    /// Set when the stop begins: not ready any more.
    pub(crate) draining: AtomicBool,
}

/// What a service with an engine has beyond the others.
struct EnginePart {
    connections: Connections,
    progress: Arc<Progress>,
    digest: Box<dyn Fn() -> DigestAnswer + Send + Sync>,
    started: Instant,
}

impl EnginePart {
    fn new<E: Engine>(connections: Connections, handle: &EngineHandle<E>) -> Arc<Self> {
        let asked = handle.clone();
        let digest = move || -> DigestAnswer {
            let asked = asked.clone();
            Box::pin(async move { asked.inspect(E::digest).await })
        };
        let progress = Arc::clone(handle.progress());
        Arc::new(Self { connections, progress, digest: Box::new(digest), started: Instant::now() })
    }

    /// Whether what the engine stands on is there, for alerts.
    fn record_health(&self) {
        let Connections { star, mesh, store, .. } = &self.connections;
        let service = self.connections.service.as_str();
        let number = |up: bool| if up { 1.0 } else { 0.0 };
        for (bus, health) in [("market_data", star.health()), ("engine_logic", mesh.health())] {
            metrics::gauge!("nautilus_bus_up", "service" => service, "bus" => bus)
                .set(number(!matches!(health, BusHealth::Down { .. })));
        }
        metrics::gauge!("nautilus_store_up", "service" => service)
            .set(number(!matches!(store.health().state, StoreState::Down { .. })));
    }

    /// Why the engine cannot do its work.
    fn reasons(&self, reasons: &mut Vec<String>) {
        if !self.progress.running.load(Relaxed) {
            reasons.push("the engine has stopped".to_owned());
        }
        let connections = &self.connections;
        for (bus, health) in
            [(MARKET_DATA_BUS, connections.star.health()), (ENGINE_LOGIC_BUS, connections.mesh.health())]
        {
            if let BusHealth::Down { reason } = health {
                reasons.push(format!("{bus}: {reason}"));
            }
        }
        if let StoreState::Down { reason } = connections.store.health().state {
            reasons.push(format!("{STORE}: {reason}"));
        }
    }
}

impl Chassis {
    pub(crate) fn new(base: Base) -> Arc<Self> {
        Arc::new(Self::without_engine(base))
    }

    pub(crate) fn with_engine<E: Engine>(connections: Connections, handle: &EngineHandle<E>) -> Arc<Self> {
        let base = connections.base();
        let engine = Some(EnginePart::new(connections, handle));
        Arc::new(Self { engine, ..Self::without_engine(base) })
    }

    pub(crate) const fn base(&self) -> &Base {
        &self.base
    }

    fn without_engine(base: Base) -> Self {
        let [requests, answered, failed] = [const { AtomicU64::new(0) }; 3];
        let (started, keys, draining) = (Instant::now(), OnceLock::new(), AtomicBool::new(false));
        Self { base, engine: None, started, requests, answered, failed, keys, draining }
    }

    fn count(&self, route: &str, status: StatusCode) {
        if !SHARED_ROUTES.contains(&route) {
            self.answered.fetch_add(1, Relaxed);
            self.failed.fetch_add(u64::from(status.is_server_error()), Relaxed);
        }
    }

    /// What users were answered since the start.
    #[allow(clippy::cast_precision_loss)]
    fn http(&self) -> HttpFigures {
        let (requests, errors) = (self.answered.load(Relaxed), self.failed.load(Relaxed));
        let shared: Vec<_> = SHARED_ROUTES.iter().map(|route| format!("route=\"{route}\"")).collect();
        let users = |labels: &str| !shared.iter().any(|route| labels.contains(route));
        let Base { exporter, service, .. } = &self.base;
        let took = exporter.distribution("nautilus_http_request_seconds", service.as_str(), users);
        HttpFigures {
            requests,
            errors,
            error_rate: (requests > 0).then(|| errors as f64 / requests as f64),
            p50_s: took.quantile(0.5),
            p99_s: took.quantile(0.99),
        }
    }

    /// Why the service is not ready; empty when it is.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining.load(Relaxed) {
            reasons.push("the service is stopping".to_owned());
        }
        if let Some(engine) = &self.engine {
            engine.reasons(&mut reasons);
        }
        reasons
    }
}

/// Whether the service can do its work.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    /// What is missing; empty when ready.
    reasons: Vec<String>,
    /// What works but should be mended.
    warnings: Vec<String>,
}

/// The service's process is alive.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()),
    responses((status = 200, description = "Alive")))]
async fn live() -> StatusCode {
    StatusCode::OK
}

/// The service can do its work: where it has an engine, the engine, both buses and the store are there.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Not ready, with the reasons", body = Readiness),
))]
async fn ready(State(chassis): State<Arc<Chassis>>) -> Response {
    let reasons = chassis.reasons();
    let mesh = chassis.engine.as_ref().and_then(|engine| engine.connections.mesh.warning());
    let keys = chassis.keys.get().and_then(|keys| keys.warning());
    let warnings = mesh.map(str::to_owned).into_iter().chain(keys).collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready: reasons.is_empty(), reasons, warnings })).into_response()
}

/// What users were answered since the start; what programs poll (health, metrics, this) is not counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HttpFigures {
    /// Answers.
    pub requests: u64,
    /// Those of them with a 5xx status.
    pub errors: u64,
    /// Their share; null before the first answer.
    pub error_rate: Option<f64>,
    /// Median time of an answer, in seconds, interpolated within the fixed buckets of /metrics.
    pub p50_s: Option<f64>,
    /// The 99th percentile.
    pub p99_s: Option<f64>,
}

/// How long one stage of an event's way takes, since the start, interpolated within the fixed buckets of /metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct Stage {
    /// step, star_hop, market_data_latency, store_commit, fan_out or proxy.
    #[schema(example = "star_hop")]
    pub stage: String,
    /// The unit of the percentiles: `s`.
    pub unit: String,
    /// Samples.
    pub count: u64,
    pub p50_s: Option<f64>,
    pub p90_s: Option<f64>,
    pub p99_s: Option<f64>,
    pub p999_s: Option<f64>,
}

/// How far the slowest reader is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lag {
    /// Frames of the market data bus, where this engine publishes them.
    pub star_frames: Option<u64>,
}

/// The stages of a service that have samples.
#[must_use]
pub fn stages(exporter: &Exporter, service: ServiceName) -> Vec<Stage> {
    let stage = |(stage, metric): (&str, &str)| {
        let took = exporter.distribution(metric, service.as_str(), |_| true);
        (took.count() > 0).then(|| Stage {
            stage: stage.into(),
            unit: "s".into(),
            count: took.count(),
            p50_s: took.quantile(0.5),
            p90_s: took.quantile(0.9),
            p99_s: took.quantile(0.99),
            p999_s: took.quantile(0.999),
        })
    };
    STAGES.into_iter().filter_map(stage).collect()
}

/// The engine and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
struct EngineStatus {
    #[schema(example = "vpin")]
    engine: &'static str,
    version: &'static str,
    /// This start, in nanoseconds since 1970.
    epoch: u64,
    uptime_ms: u64,
    ready: bool,
    /// What is missing; empty when ready.
    reasons: Vec<String>,
    /// Inputs stepped since the start.
    steps: u64,
    /// Frames published on the market data bus.
    star_published: u64,
    /// Position of the market data bus that was read last.
    star_read: u64,
    /// Frames of the market data bus that were missed.
    star_missed: u64,
    /// Messages of the engine logic bus handled.
    mesh_handled: u64,
    lag: Lag,
    http: HttpFigures,
    /// Stages of an event's way through this engine, those with samples.
    stages: Vec<Stage>,
}

/// What the routes of an engine's own state answer from.
#[derive(Clone)]
struct EngineState {
    chassis: Arc<Chassis>,
    engine: Arc<EnginePart>,
}

/// The engine and how far it has come.
#[utoipa::path(get, path = "/v1/engine", tag = "engine", security(("api_key" = ["read"])),
    responses((status = 200, body = EngineStatus)))]
async fn engine_status(State(EngineState { chassis, engine }): State<EngineState>) -> Json<EngineStatus> {
    let EnginePart { connections, progress, started, .. } = engine.as_ref();
    let (reasons, star_published) = (chassis.reasons(), progress.star_published.load(Relaxed));
    Json(EngineStatus {
        engine: connections.service.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        epoch: connections.epoch,
        uptime_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ready: reasons.is_empty(),
        reasons,
        steps: progress.steps.load(Relaxed),
        star_published,
        star_read: progress.star_read.load(Relaxed),
        star_missed: progress.star_lost.load(Relaxed),
        mesh_handled: progress.mesh_handled.load(Relaxed),
        lag: Lag { star_frames: (star_published > 0).then(|| progress.star_lag.load(Relaxed)) },
        http: chassis.http(),
        stages: stages(&chassis.base.exporter, chassis.base.service),
    })
}

/// A digest of an engine's whole state.
#[derive(Debug, Serialize, ToSchema)]
struct EngineDigest {
    engine: &'static str,
    /// XXH3-64 of the state's canonical bytes: equal states, equal digests.
    #[schema(example = "9f2c6a01b4d3e877")]
    digest: String,
}

/// A digest of the engine's whole state, to compare two runs.
#[utoipa::path(get, path = "/v1/engine/digest", tag = "engine", security(("api_key" = ["read"])),
    responses(
    (status = 200, body = EngineDigest), (status = 503, body = Problem),
))]
async fn engine_digest(
    State(EngineState { engine, .. }): State<EngineState>,
) -> Result<Json<EngineDigest>, Problem> {
    let digest = (engine.digest)().await?;
    Ok(Json(EngineDigest { engine: engine.connections.service.as_str(), digest: format!("{digest:016x}") }))
}

/// The service's metrics as Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "metrics", security(("api_key" = ["read"])),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(chassis): State<Arc<Chassis>>) -> impl IntoResponse {
    let service = chassis.base.service.as_str();
    if let Some(engine) = &chassis.engine {
        engine.connections.star.record_metrics();
        engine.record_health();
    }
    hardware::record(service, Hardware::shared());
    metrics::gauge!("nautilus_uptime_seconds", "service" => service)
        .set(chassis.started.elapsed().as_secs_f64());
    metrics::gauge!("nautilus_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    let ready = if chassis.reasons().is_empty() { 1.0 } else { 0.0 };
    metrics::gauge!("nautilus_ready", "service" => service).set(ready);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], chassis.base.exporter.render(service))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "metrics", security(("api_key" = ["read"])),
    responses((status = 200, body = serde_json::Value, description = "OpenAPI 3.1")))]
async fn openapi_document(State(document): State<Arc<OnceLock<OpenApi>>>) -> Response {
    axum::Json(document.get()).into_response()
}

/// The routes that every service has, whether it runs an engine or not.
fn routes_of_all() -> OpenApiRouter<Arc<Chassis>> {
    let own = OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(metrics));
    own.merge(hardware::routes())
}

/// The document of the routes that every service has, and of how keys are presented: for a service that serves a
/// document of its own.
#[must_use]
pub fn shared_document() -> OpenApi {
    let mut document = routes_of_all().into_openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SECURITY_SCHEME, security_scheme());
    document
}

/// The whole router of a service: its own routes, the shared ones and the layers around them.
pub(crate) fn router(chassis: &Arc<Chassis>, about: &str, api: OpenApiRouter) -> Router {
    let health = routes_of_all().with_state(Arc::clone(chassis));
    let shared = match &chassis.engine {
        Some(engine) => {
            let own = OpenApiRouter::new().routes(routes!(engine_status)).routes(routes!(engine_digest));
            let (chassis, engine) = (Arc::clone(chassis), Arc::clone(engine));
            health.merge(own.with_state(EngineState { chassis, engine }))
        }
        None => health,
    };
    let title = format!("Nautilus {}", chassis.base.service);
    let info = InfoBuilder::new().title(title).version(env!("CARGO_PKG_VERSION")).description(Some(about));
    let components = ComponentsBuilder::new().security_scheme(SECURITY_SCHEME, security_scheme()).build();
    let base = OpenApiBuilder::new().info(info).components(Some(components)).build();
    // A service whose document is more than its own serves it itself.
    let documented = api.get_openapi().paths.paths.contains_key("/openapi.json");
    let mut all = OpenApiRouter::with_openapi(base).merge(api).merge(shared);
    let document = Arc::new(OnceLock::new());
    if !documented {
        all = all
            .merge(OpenApiRouter::new().routes(routes!(openapi_document)).with_state(Arc::clone(&document)));
    }
    let (router, openapi) = all.split_for_parts();
    let guard_of =
        |ring: &Arc<KeyRing>| Guard::new(chassis.base.service, Arc::clone(ring), ScopeTable::of(&openapi));
    let guard = chassis.keys.get().map(guard_of);
    let _ = document.set(openapi);
    let mut router = router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(chassis.base.config.http.body_limit_bytes));
    router = match guard {
        Some(guard) => router.layer(from_fn_with_state(guard, access::guard)),
        None => router.layer(from_fn(access::only_local)),
    };
    router.layer(from_fn_with_state(Arc::clone(chassis), observe))
}

async fn no_route(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(80).collect();
    Problem::not_found(
        "no_such_route",
        format!("there is nothing at {path}; GET /openapi.json lists every route"),
    )
}

pub(crate) async fn wrong_method(request: Request) -> Problem {
    let detail =
        format!("this route does not answer {}; GET /openapi.json lists its methods", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a handler panicked; the request was answered 500");
    let detail = "the request failed inside the service; its id stands in the log";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
}

/// Gives every request an id, a time limit, a log line and a place in the metrics.
async fn observe(State(chassis): State<Arc<Chassis>>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id(&request, &chassis);
    request.headers_mut().insert(REQUEST_ID.clone(), id.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let limit = Duration::from_millis(chassis.base.config.http.timeout_ms);
    let mut response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request took longer than {} ms; ask for less", limit.as_millis());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).into_response()
        }
    };
    let status = response.status();
    // Unmatched paths share one label: what strangers ask for must not become series.
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str).to_owned();
    tracing::debug!(request_id = ?id, %method, route, status = status.as_u16(), "answered");
    chassis.count(&route, status);
    record(chassis.base.service.as_str(), route, status, start.elapsed());
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    response
}

fn record(service: &'static str, route: String, status: StatusCode, elapsed: Duration) {
    let class = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status.as_u16() / 100).clamp(1, 5) - 1];
    metrics::counter!("nautilus_http_requests_total", "service" => service, "route" => route.clone(), "status" => class)
        .increment(1);
    metrics::histogram!("nautilus_http_request_seconds", "service" => service, "route" => route)
        .record(elapsed.as_secs_f64());
}

/// The id that a request was given.
pub(crate) fn request_id_of(request: &Request) -> &str {
    request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
}

/// The caller's id where it is short and plain, otherwise one of our own.
fn request_id(request: &Request, chassis: &Chassis) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        (1..=64).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    if let Some(given) = request.headers().get(&REQUEST_ID).filter(plain) {
        return given.clone();
    }
    let number = chassis.requests.fetch_add(1, Relaxed);
    let text = format!("{:x}-{number:x}", chassis.base.epoch);
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
}
