//! The routes of the websocket service.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::ExtensionRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use nautilus_service::paging::{PAGE_MAX, within};
use nautilus_service::{Json, Principal, Problem, Query, StopSignal};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::connection;
use crate::protocol::MESSAGE_MAX;
use crate::server::{Origin, Server};
use crate::shapes::{ConnectionsPage, ConnectionsQuery, TopicsPage, TopicsQuery};

/// The subprotocol that clients may ask for; browsers must, beside their key.
const SUBPROTOCOL: &str = "nautilus";
/// Clients send little: most connections never need more.
const READ_BUFFER: usize = 1024;
/// Several messages become one write.
const WRITE_BUFFER: usize = 16 * 1024;

type Optional<T> = Result<Extension<T>, ExtensionRejection>;

pub(crate) fn router(server: Arc<Server>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(upgrade))
        .routes(routes!(list_connections))
        .routes(routes!(list_topics))
        .with_state(server)
}

/// Opens a WebSocket. Messages both ways are JSON texts: `docs/websocket.md` describes them.
#[utoipa::path(get, path = "/ws", tag = "websocket",
    security(("api_key" = ["read"])), responses(
    (status = 101, description = "The WebSocket is open"), (status = 400, body = Problem),
    (status = 403, body = Problem), (status = 426, body = Problem), (status = 503, body = Problem),
))]
async fn upgrade(
    State(server): State<Arc<Server>>,
    address: Optional<ConnectInfo<SocketAddr>>,
    principal: Optional<Principal>,
    stop: Optional<StopSignal>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("{}; open it with a WebSocket client", rejection.body_text());
        Problem::new(rejection.status(), "not_a_websocket", detail)
    })?;
    let origin = Origin {
        address: address.ok().map(|Extension(ConnectInfo(address))| address),
        principal: principal.ok().map(|Extension(principal)| principal),
        stop: stop.ok().map(|Extension(stop)| stop),
    };
    let guest = server.admit(origin)?;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        // Twice the limit is still read, so that whoever exceeds it by a little is told so.
        .max_message_size(2 * MESSAGE_MAX)
        .max_frame_size(2 * MESSAGE_MAX);
    Ok(upgrade.on_upgrade(|socket| connection::serve(socket, guest)))
}

/// Every connected client with what it was sent, by number.
#[utoipa::path(get, path = "/v1/connections", tag = "websocket",
    security(("api_key" = ["read"])), params(ConnectionsQuery), responses(
    (status = 200, body = ConnectionsPage), (status = 400, body = Problem),
))]
async fn list_connections(
    State(server): State<Arc<Server>>,
    Query(query): Query<ConnectionsQuery>,
) -> Result<Json<ConnectionsPage>, Problem> {
    let limit = within("limit", query.limit, PAGE_MAX)?;
    let page = server.page(query.after, limit);
    let next = page.last().filter(|_| page.len() == limit).map(|client| client.id);
    let connections = page.iter().map(|client| client.as_ref().into()).collect();
    Ok(Json(ConnectionsPage { connections, next }))
}

/// Every topic that there is, by name.
#[utoipa::path(get, path = "/v1/topics", tag = "websocket",
    security(("api_key" = ["read"])), params(TopicsQuery), responses(
    (status = 200, body = TopicsPage), (status = 400, body = Problem),
))]
async fn list_topics(
    State(server): State<Arc<Server>>,
    Query(query): Query<TopicsQuery>,
) -> Result<Json<TopicsPage>, Problem> {
    let limit = within("limit", query.limit, PAGE_MAX)?;
    let page = server.fan_out.page(query.after.as_deref(), limit);
    let next = page.last().filter(|_| page.len() == limit).map(|lanes| lanes.name.clone());
    let topics = page.iter().map(|lanes| lanes.as_ref().into()).collect();
    Ok(Json(TopicsPage { epoch: server.fan_out.epoch, topics, next }))
}
