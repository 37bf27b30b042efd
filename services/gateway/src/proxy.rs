//! `/api/{engine}/…`: hands a request to its engine and streams the answer back.
//!
//! It buffers no body, keeps no state of callers and never retries what an engine may have begun.

use std::error::Error;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use http_body_util::{LengthLimitError, Limited};
use hyper_util::client::legacy;
use metrics::{Counter, Histogram};
use nautilus_service::{Base, ConfigError, Problem};
use tower_http::timeout::TimeoutBody;

use crate::headers::{Front, drop_one_hop};
use crate::upstream::{Client, Upstream};

/// Above the largest body that an engine's route takes. Engines have bounds of their own and are asked first.
const BODY_MAX: usize = 16 << 20;

/// The way to every engine.
pub(crate) struct Proxy {
    client: Client,
    front: Front,
    lanes: Vec<Lane>,
    limit: Duration,
}

/// The way to one engine.
struct Lane {
    upstream: Upstream,
    seconds: Histogram,
    unreachable: Counter,
    timeout: Counter,
    broken: Counter,
    refused: Counter,
}

impl Lane {
    fn new(upstream: Upstream, service: &'static str) -> Self {
        let engine = upstream.engine.as_str();
        let errors = |kind: &'static str| metrics::counter!("nautilus_proxy_errors_total", "service" => service, "engine" => engine, "kind" => kind);
        Self {
            upstream,
            seconds: metrics::histogram!("nautilus_proxy_seconds", "service" => service, "engine" => engine),
            unreachable: errors("unreachable"),
            timeout: errors("timeout"),
            broken: errors("broken"),
            refused: errors("refused"),
        }
    }
}

impl Proxy {
    pub(crate) fn new(base: &Base, client: Client, front: Front) -> Result<Self, ConfigError> {
        let service = base.service.as_str();
        let lanes = Upstream::all(&base.config)?.into_iter().map(|upstream| Lane::new(upstream, service));
        // A little before the chassis would answer for the gateway, so that the answer names the engine.
        let limit = Duration::from_millis(base.config.http.timeout_ms).mul_f64(0.95);
        Ok(Self { client, front, lanes: lanes.collect(), limit })
    }

    /// Asks the engine that the path names.
    pub(crate) async fn forward(&self, request: Request) -> Result<Response, Problem> {
        let (lane, path) = self.lane(request.uri())?;
        let start = Instant::now();
        let answer = self.exchange(lane, path, request).await;
        lane.seconds.record(start.elapsed().as_secs_f64());
        answer
    }

    /// The engine, and what it is asked.
    fn lane(&self, uri: &Uri) -> Result<(&Lane, PathAndQuery), Problem> {
        let whole = uri.path_and_query().map_or("", PathAndQuery::as_str);
        let rest = whole.strip_prefix("/api/").unwrap_or_default();
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let lane = self.lanes.iter().find(|lane| lane.upstream.engine.as_str() == name);
        let lane = lane.ok_or_else(|| self.unknown(name))?;
        let malformed = |_| Problem::bad_request("invalid_path", "the path is not a legal one");
        Ok((lane, PathAndQuery::try_from(path).map_err(malformed)?))
    }

    fn unknown(&self, name: &str) -> Problem {
        let shown: String = name.chars().take(32).collect();
        let known: Vec<_> = self.lanes.iter().map(|lane| lane.upstream.engine.as_str()).collect();
        Problem::not_found(
            "unknown_engine",
            format!("engine '{shown}' is unknown; there are {}", known.join(", ")),
        )
    }

    async fn exchange(&self, lane: &Lane, path: PathAndQuery, request: Request) -> Result<Response, Problem> {
        let (head, body) = request.into_parts();
        let size = body.size_hint();
        if size.lower() > BODY_MAX as u64 {
            lane.refused.increment(1);
            return Err(too_large());
        }
        // What is within its bound by its own account is held to that account by the HTTP layer.
        let body = if size.exact().is_some() { body } else { Body::new(Limited::new(body, BODY_MAX)) };
        let mut request = Request::new(body);
        (*request.method_mut(), *request.headers_mut()) = (head.method, head.headers);
        drop_one_hop(request.headers_mut());
        self.front.introduce(request.headers_mut(), &head.extensions);
        lane.upstream.address(&mut request, path);
        match tokio::time::timeout(self.limit, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(self.pass_back(answer)),
            Ok(Err(error)) => Err(lane.failed(&error)),
            Err(_) => {
                lane.timeout.increment(1);
                Err(lane.too_slow(self.limit))
            }
        }
    }

    /// An answer whose body stops coming is ended as well.
    fn pass_back(&self, answer: axum::http::Response<hyper::body::Incoming>) -> Response {
        let mut answer = answer.map(|body| Body::new(TimeoutBody::new(self.limit, body)));
        drop_one_hop(answer.headers_mut());
        answer
    }
}

impl Lane {
    fn failed(&self, error: &legacy::Error) -> Problem {
        let engine = self.upstream.engine;
        if error.is_connect() {
            self.unreachable.increment(1);
            return unreachable(engine);
        }
        if causes(error).any(<dyn Error>::is::<LengthLimitError>) {
            self.refused.increment(1);
            return too_large();
        }
        let own = |cause: &(dyn Error + 'static)| {
            cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user)
        };
        if causes(error).any(own) {
            self.refused.increment(1);
            return Problem::bad_request("invalid_body", "the request's body broke off; send it again");
        }
        self.broken.increment(1);
        tracing::warn!(%engine, ?error, "an engine's answer could not be passed on");
        let detail =
            format!("{engine} broke off or answered what is not HTTP; its log and GET /v1/status say more");
        Problem::new(StatusCode::BAD_GATEWAY, "engine_broke_off", detail)
    }

    fn too_slow(&self, limit: Duration) -> Problem {
        let engine = self.upstream.engine;
        let detail =
            format!("{engine} did not answer within {} ms; ask for less, or try again", limit.as_millis());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "engine_timeout", detail)
    }
}

/// What an error was caused by, and that by, …
fn causes(error: &legacy::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// 502 for an engine that takes no connection.
pub(crate) fn unreachable(engine: nautilus_messages::EngineName) -> Problem {
    let detail = format!("{engine} does not take connections; GET /v1/status tells when it is back");
    Problem::new(StatusCode::BAD_GATEWAY, "engine_unreachable", detail)
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than {} MiB, which no route takes; send less", BODY_MAX >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}
