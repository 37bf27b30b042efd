//! The routes of the gateway.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use nautilus_service::http::shared_document;
use nautilus_service::{Json, Problem};
use serde_json::Value;
use utoipa::openapi::{InfoBuilder, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::document::Documents;
use crate::page;
use crate::plain;
use crate::proxy::Proxy;
use crate::shapes::{Status, Topology};
use crate::status::StatusBoard;
use crate::topology::topology;
use crate::tunnel::Tunnels;

/// The WebSocket under the path that the engines' documents give it; only a tunnel carries it.
const ENGINE_WEBSOCKET: &str = "/api/websocket/ws";

/// What the routes answer from.
pub(crate) struct Gateway {
    pub(crate) proxy: Proxy,
    pub(crate) tunnels: Tunnels,
    pub(crate) documents: Arc<Documents>,
    pub(crate) board: StatusBoard,
    /// Nobody is asked for a key.
    pub(crate) open: bool,
}

pub(crate) fn router(gateway: Arc<Gateway>) -> OpenApiRouter {
    routes().with_state(gateway)
}

fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(forward))
        .routes(routes!(open_websocket))
        .routes(routes!(get_status))
        .routes(routes!(get_topology))
        .routes(routes!(get_document))
        .routes(routes!(get_page))
        .routes(routes!(get_reference))
        .routes(routes!(get_asset))
        .routes(routes!(get_file))
}

/// What the gateway itself answers, as the beginning of the whole document.
pub(crate) fn own_document(about: &str) -> Value {
    let mut own: OpenApi = shared_document();
    own.info = InfoBuilder::new()
        .title("Nautilus")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(about))
        .build();
    own.merge(routes().into_openapi());
    let mut own = serde_json::to_value(own).unwrap_or_default();
    if let Some(paths) = own["paths"].as_object_mut() {
        // The engines' own paths tell what stands here.
        paths.remove("/api/{engine}/{*path}");
    }
    own
}

/// Passes a request on to an engine: method, query, body and headers as they are.
#[utoipa::path(method(get, post, put, patch, delete, head), path = "/api/{engine}/{*path}", tag = "engines",
    security(("api_key" = ["read"])),
    params(("engine" = String, Path, example = "marketdata"), ("path" = String, Path, example = "v1/instruments")),
    responses(
    (status = 200, description = "What the engine answers"), (status = 404, body = Problem),
    (status = 413, body = Problem), (status = 502, body = Problem), (status = 504, body = Problem),
))]
async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Problem> {
    if request.uri().path() == ENGINE_WEBSOCKET {
        return gateway.tunnels.open(request).await;
    }
    gateway.proxy.forward(request).await
}

/// The WebSocket of the websocket engine; docs/websocket.md describes its messages.
#[utoipa::path(get, path = "/ws", tag = "stream", security(("api_key" = ["read"])), responses(
    (status = 101, description = "The connection is a WebSocket now"), (status = 426, body = Problem),
    (status = 502, body = Problem), (status = 503, body = Problem),
))]
async fn open_websocket(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Problem> {
    gateway.tunnels.open(request).await
}

/// The state of every engine, bus, store and feed, at most a second old.
#[utoipa::path(get, path = "/v1/status", tag = "platform", security(("api_key" = ["read"])),
    responses((status = 200, body = Status)))]
async fn get_status(State(gateway): State<Arc<Gateway>>) -> Json<Status> {
    Json(gateway.board.status())
}

/// Who is connected to whom, and with which messages.
#[utoipa::path(get, path = "/v1/topology", tag = "platform", security(("api_key" = ["read"])),
    responses((status = 200, body = Topology)))]
async fn get_topology(State(gateway): State<Arc<Gateway>>) -> Json<Topology> {
    Json(topology(&gateway.board.status().feeds))
}

/// This document: every engine's routes and the gateway's own.
#[utoipa::path(get, path = "/openapi.json", tag = "platform", security(("api_key" = ["read"])),
    responses((status = 200, body = Value, description = "OpenAPI 3.1")))]
async fn get_document(State(gateway): State<Arc<Gateway>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], gateway.documents.json()).into_response()
}

/// The page.
#[utoipa::path(get, path = "/", tag = "page", security(()),
    responses((status = 200, body = String, content_type = "text/html")))]
async fn get_page(State(gateway): State<Arc<Gateway>>) -> Response {
    page::file("/index.html").unwrap_or_else(|| {
        let status = gateway.open.then(|| gateway.board.status());
        page::html(plain::page(status.as_ref()))
    })
}

/// The API reference, to browse.
#[utoipa::path(get, path = "/reference", tag = "page", security(()),
    responses((status = 200, body = String, content_type = "text/html")))]
async fn get_reference(State(gateway): State<Arc<Gateway>>) -> Response {
    page::file("/reference.html").unwrap_or_else(|| {
        let document = gateway.open.then(|| gateway.documents.json());
        page::html(plain::reference(document.as_deref()))
    })
}

/// A part of the page.
#[utoipa::path(get, path = "/assets/{*path}", tag = "page", security(()), params(("path" = String, Path)), responses(
    (status = 200, description = "The file"), (status = 404, body = Problem),
))]
async fn get_asset(request: Request) -> Result<Response, Problem> {
    page::file(request.uri().path()).ok_or_else(|| no_file(&request))
}

/// Another file of the page.
#[utoipa::path(get, path = "/{file}", tag = "page", security(()), params(("file" = String, Path)), responses(
    (status = 200, description = "The file"), (status = 404, body = Problem),
))]
async fn get_file(request: Request) -> Result<Response, Problem> {
    page::file(request.uri().path()).ok_or_else(|| no_file(&request))
}

fn no_file(request: &Request) -> Problem {
    let path: String = request.uri().path().chars().take(80).collect();
    let detail = format!("there is nothing at {path}; GET /openapi.json lists every route");
    Problem::not_found("no_such_route", detail)
}
