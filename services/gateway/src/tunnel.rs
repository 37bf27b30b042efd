//! `/ws`: carries a WebSocket's bytes between a caller and the websocket engine.
//!
//! It reads no message: limits, keys of topics and keeping alive are the engine's business.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use metrics::Gauge;
use nautilus_messages::EngineName;
use nautilus_service::{Base, ConfigError, Problem};
use tokio::io::{AsyncWriteExt as _, copy, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_http::timeout::TimeoutBody;

use crate::headers::{Front, drop_one_hop};
use crate::proxy::unreachable;
use crate::upstream::{Client, Upstream};

/// Tunnels at the same time, however many connections (`http.connections_max`) the configuration allows.
const TUNNELS_MAX: usize = 10_000;
/// How long the engine has to answer, and the caller's side to become a tunnel.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one direction may go on when the other has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Every tunnel.
pub(crate) struct Tunnels {
    client: Client,
    front: Front,
    upstream: Upstream,
    places: Arc<Semaphore>,
    open: Gauge,
    stopping: watch::Receiver<bool>,
}

impl Tunnels {
    pub(crate) fn new(
        base: &Base,
        client: Client,
        front: Front,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, ConfigError> {
        let engine = EngineName::Websocket;
        let upstream = Upstream::new(engine, base.config.services.url(engine))?;
        let open = metrics::gauge!("nautilus_gateway_tunnels", "service" => base.service.as_str());
        Ok(Self { client, front, upstream, places: Arc::new(Semaphore::new(TUNNELS_MAX)), open, stopping })
    }

    /// Asks the engine for the upgrade; what it refuses the caller is told in its own words.
    pub(crate) async fn open(&self, mut request: Request) -> Result<Response, Problem> {
        let wanted = request.headers().get(header::UPGRADE).is_some_and(is_websocket);
        if !wanted {
            let detail = "this is a WebSocket; connect with a WebSocket client, see docs/websocket.md";
            return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail));
        }
        let full = |_| {
            Problem::unavailable(
                "too_many_connections",
                "every WebSocket connection is taken; try again later",
            )
        };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(full)?;
        let caller = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let mut asked = Request::new(Body::empty());
        *asked.headers_mut() = head.headers;
        drop_one_hop(asked.headers_mut());
        upgrade(asked.headers_mut());
        self.front.introduce(asked.headers_mut(), &head.extensions);
        self.upstream.address(&mut asked, PathAndQuery::from_static("/ws"));
        let answer = tokio::time::timeout(PATIENCE, self.client.request(asked)).await;
        let mut answer =
            answer.ok().and_then(Result::ok).ok_or_else(|| unreachable(EngineName::Websocket))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            drop_one_hop(answer.headers_mut());
            return Ok(answer.map(|body| Body::new(TimeoutBody::new(PATIENCE, body))));
        }
        let engine = hyper::upgrade::on(&mut answer);
        tokio::spawn(carry(caller, engine, place, self.open.clone(), self.stopping.clone()));
        Ok(answer.map(|_| Body::empty()))
    }
}

fn is_websocket(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"websocket")
}

fn upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Carries both directions until one end closes or the gateway stops.
async fn carry(
    caller: OnUpgrade,
    engine: OnUpgrade,
    _place: OwnedSemaphorePermit,
    open: Gauge,
    mut stopping: watch::Receiver<bool>,
) {
    let both = tokio::time::timeout(PATIENCE, async { tokio::try_join!(caller, engine) }).await;
    let Ok(Ok((caller, engine))) = both else {
        tracing::debug!("a WebSocket was gone before it began");
        return;
    };
    open.increment(1.0);
    tokio::select! {
        () = exchange(caller, engine) => {}
        // An error means that the sender is gone: then it is time to go as well.
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    open.decrement(1.0);
}

async fn exchange(caller: Upgraded, engine: Upgraded) {
    let (mut from_caller, mut to_caller) = split(TokioIo::new(caller));
    let (mut from_engine, mut to_engine) = split(TokioIo::new(engine));
    // A failed copy and a clean end mean the same here: that direction is over, and the other end is told.
    let up = async {
        let _ = copy(&mut from_caller, &mut to_engine).await;
        let _ = to_engine.shutdown().await;
    };
    let down = async {
        let _ = copy(&mut from_engine, &mut to_caller).await;
        let _ = to_caller.shutdown().await;
    };
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut up => drop(tokio::time::timeout(GRACE, down).await),
        () = &mut down => drop(tokio::time::timeout(GRACE, up).await),
    }
}
