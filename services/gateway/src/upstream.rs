//! Where each engine is, and the one HTTP client that reaches them all: kept connections, bounded waits.
//!
//! It decides nothing about what is asked or answered.

use std::time::Duration;

use axum::body::Body;
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{HeaderValue, Request, Uri, header};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use nautilus_messages::EngineName;
use nautilus_service::{Config, ConfigError};

/// An engine that does not take a connection within this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle connections kept per engine.
const IDLE_MAX: usize = 64;
/// A machine that vanished without a word is noticed after this long without an answer to probes; a WebSocket through
/// the gateway would otherwise wait for it for ever.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

pub(crate) type Client = hyper_util::client::legacy::Client<HttpConnector, Body>;

pub(crate) fn client(config: &Config) -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(PROBE_AFTER));
    connector.set_keepalive_interval(Some(PROBE_EVERY));
    connector.set_keepalive_retries(Some(PROBES));
    // Half as long as engines keep theirs, or a request would meet a connection that is just being closed.
    let idle = Duration::from_millis(config.http.head_timeout_ms) / 2;
    // The Host header is set here from text that is ready, not formatted for every request.
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle)
        .pool_max_idle_per_host(IDLE_MAX)
        .set_host(false)
        .build(connector)
}

/// Where one engine is reached.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) engine: EngineName,
    pub(crate) url: String,
    authority: Authority,
    host: HeaderValue,
}

impl Upstream {
    /// Every engine, at its configured address.
    pub(crate) fn all(config: &Config) -> Result<Vec<Self>, ConfigError> {
        EngineName::ALL.into_iter().map(|engine| Self::new(engine, config.services.url(engine))).collect()
    }

    pub(crate) fn new(engine: EngineName, url: String) -> Result<Self, ConfigError> {
        let refused = || ConfigError::Setting {
            key: format!("services.{engine}.url"),
            message: format!("'{url}' is not of the form http://host:port"),
        };
        let host = url.strip_prefix("http://").ok_or_else(refused)?;
        let authority = Authority::try_from(host).map_err(|_| refused())?;
        let host = HeaderValue::from_str(host).map_err(|_| refused())?;
        Ok(Self { engine, url, authority, host })
    }

    /// Turns a request towards this engine.
    pub(crate) fn address(&self, request: &mut Request<Body>, path: PathAndQuery) {
        let mut parts = axum::http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // The parts are complete, so this cannot fail.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().insert(header::HOST, self.host.clone());
    }
}
