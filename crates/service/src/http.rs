//! The HTTP surface that every service shares: health, metrics, OpenAPI, the engine's own state, and the layers
//! around all routes. Which routes an engine adds is not decided here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nautilus_bus::BusHealth;
use nautilus_engine::Engine;
use nautilus_store::StoreState;
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::ToSchema;
use utoipa::openapi::{InfoBuilder, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::platform::{Base, Connections};
use crate::problem::{Json, Problem};
use crate::shell::{EngineHandle, Progress};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
type DigestAnswer = Pin<Box<dyn Future<Output = Result<u64, Problem>> + Send>>;

/// What the shared routes answer from.
pub(crate) struct Chassis {
    base: Base,
    engine: Option<Arc<EnginePart>>,
    started: Instant,
    requests: AtomicU64,
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

    /// Why the engine cannot do its work.
    fn reasons(&self, reasons: &mut Vec<String>) {
        if !self.progress.running.load(Relaxed) {
            reasons.push("the engine has stopped".to_owned());
        }
        let connections = &self.connections;
        for (bus, health) in
            [("market data bus", connections.star.health()), ("engine logic bus", connections.mesh.health())]
        {
            if let BusHealth::Down { reason } = health {
                reasons.push(format!("{bus}: {reason}"));
            }
        }
        if let StoreState::Down { reason } = connections.store.health().state {
            reasons.push(format!("store: {reason}"));
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
        let (requests, draining) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { base, engine: None, started: Instant::now(), requests, draining }
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
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, description = "Alive")))]
async fn live() -> StatusCode {
    StatusCode::OK
}

/// The service can do its work: where it has an engine, the engine, both buses and the store are there.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Not ready, with the reasons", body = Readiness),
))]
async fn ready(State(chassis): State<Arc<Chassis>>) -> Response {
    let reasons = chassis.reasons();
    let warning = chassis.engine.as_ref().and_then(|engine| engine.connections.mesh.warning());
    let warnings = warning.map(str::to_owned).into_iter().collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready: reasons.is_empty(), reasons, warnings })).into_response()
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
}

/// The engine and how far it has come.
#[utoipa::path(get, path = "/v1/engine", tag = "engine", responses((status = 200, body = EngineStatus)))]
async fn engine_status(State(engine): State<Arc<EnginePart>>) -> Json<EngineStatus> {
    let EnginePart { connections, progress, started, .. } = engine.as_ref();
    Json(EngineStatus {
        engine: connections.service.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        epoch: connections.epoch,
        uptime_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        steps: progress.steps.load(Relaxed),
        star_published: progress.star_published.load(Relaxed),
        star_read: progress.star_read.load(Relaxed),
        star_missed: progress.star_lost.load(Relaxed),
        mesh_handled: progress.mesh_handled.load(Relaxed),
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
#[utoipa::path(get, path = "/v1/engine/digest", tag = "engine", responses(
    (status = 200, body = EngineDigest), (status = 503, body = Problem),
))]
async fn engine_digest(State(engine): State<Arc<EnginePart>>) -> Result<Json<EngineDigest>, Problem> {
    let digest = (engine.digest)().await?;
    Ok(Json(EngineDigest { engine: engine.connections.service.as_str(), digest: format!("{digest:016x}") }))
}

async fn metrics(State(chassis): State<Arc<Chassis>>) -> impl IntoResponse {
    let service = chassis.base.service.as_str();
    if let Some(engine) = &chassis.engine {
        engine.connections.star.record_metrics();
    }
    metrics::gauge!("nautilus_uptime_seconds", "service" => service)
        .set(chassis.started.elapsed().as_secs_f64());
    metrics::gauge!("nautilus_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    let ready = if chassis.reasons().is_empty() { 1.0 } else { 0.0 };
    metrics::gauge!("nautilus_ready", "service" => service).set(ready);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], chassis.base.exporter.render(service))
}

/// The whole router of a service: its own routes, the shared ones and the layers around them.
pub(crate) fn router(chassis: &Arc<Chassis>, about: &str, api: OpenApiRouter) -> Router {
    let health =
        OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).with_state(Arc::clone(chassis));
    let shared = match &chassis.engine {
        Some(engine) => {
            let own = OpenApiRouter::new().routes(routes!(engine_status)).routes(routes!(engine_digest));
            health.merge(own.with_state(Arc::clone(engine)))
        }
        None => health,
    };
    let title = format!("Nautilus {}", chassis.base.service);
    let info = InfoBuilder::new().title(title).version(env!("CARGO_PKG_VERSION")).description(Some(about));
    let base = OpenApiBuilder::new().info(info).build();
    let (router, openapi) = OpenApiRouter::with_openapi(base).merge(api).merge(shared).split_for_parts();
    let http = &chassis.base.config.http;
    router
        .route("/metrics", get(metrics).with_state(Arc::clone(chassis)))
        .route("/openapi.json", get(move || std::future::ready(axum::Json(openapi.clone()))))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(http.body_limit_bytes))
        .layer(from_fn_with_state(Arc::clone(chassis), observe))
}

async fn no_route(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(80).collect();
    Problem::not_found(
        "no_such_route",
        format!("there is nothing at {path}; GET /openapi.json lists every route"),
    )
}

async fn wrong_method(request: Request) -> Problem {
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
