//! Asks every engine once a second how it is, and keeps the newest answer of each.
//!
//! Engines are asked independently, in bounded time and memory; nobody who reads the answers waits for an engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use metrics::Gauge;
use nautilus_messages::EngineName;
use nautilus_service::{Base, ConfigError, wall_clock};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::document::Documents;
use crate::shapes::{EngineAnswer, EngineState};
use crate::upstream::{Client, Upstream};

const PERIOD: Duration = Duration::from_secs(1);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_millis(800);
/// The largest answers that are read.
const STATUS_MAX: usize = 256 << 10;
const FEEDS_MAX: usize = 1 << 20;
const DOCUMENT_MAX: usize = 4 << 20;
/// How often an engine that answers something else is asked for its API document, until it starts anew.
const DOCUMENT_ATTEMPTS: u32 = 5;

/// What a poll found.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) state: EngineState,
    pub(crate) reasons: Vec<String>,
    pub(crate) answer: Option<EngineAnswer>,
    pub(crate) feeds: Vec<Value>,
    pub(crate) answer_ms: Option<f64>,
    pub(crate) checked_at_ns: u64,
}

impl Seen {
    fn nothing(state: EngineState, reason: String) -> Self {
        Self {
            state,
            reasons: vec![reason],
            answer: None,
            feeds: Vec::new(),
            answer_ms: None,
            checked_at_ns: wall_clock().0,
        }
    }
}

/// One engine with what is known of it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) upstream: Upstream,
    newest: ArcSwap<Seen>,
}

impl Watched {
    pub(crate) fn newest(&self) -> Arc<Seen> {
        self.newest.load_full()
    }
}

/// Why there is no usable answer.
enum Miss {
    /// Nothing came.
    Silent(String),
    /// Something came, and it is not what was asked for.
    Wrong(String),
}

/// Every engine with what is known of it.
pub(crate) fn watched(base: &Base) -> Result<Vec<Arc<Watched>>, ConfigError> {
    let unasked = |upstream| {
        let seen = Seen::nothing(EngineState::Down, "it has not been asked yet".to_owned());
        Arc::new(Watched { upstream, newest: ArcSwap::from_pointee(seen) })
    };
    Ok(Upstream::all(&base.config)?.into_iter().map(unasked).collect())
}

/// Polls until the set is dropped.
pub(crate) fn poll(
    base: &Base,
    client: &Client,
    key: Option<&HeaderValue>,
    watched: &[Arc<Watched>],
    documents: &Arc<Documents>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for engine in watched {
        let (service, name) = (base.service.as_str(), engine.upstream.engine.as_str());
        let poller = Poller {
            client: client.clone(),
            key: key.cloned(),
            watched: Arc::clone(engine),
            documents: Arc::clone(documents),
            up: metrics::gauge!("nautilus_engine_up", "service" => service, "engine" => name),
            document: None,
        };
        tasks.spawn(poller.run());
    }
    tasks
}

/// Polls one engine.
struct Poller {
    client: Client,
    key: Option<HeaderValue>,
    watched: Arc<Watched>,
    documents: Arc<Documents>,
    up: Gauge,
    /// The start of the engine whose document was asked for, and how often in vain.
    document: Option<(u64, u32)>,
}

impl Poller {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let seen = self.look().await;
            self.up.set(if seen.state == EngineState::Down { 0.0 } else { 1.0 });
            self.say_what_changed(&seen);
            let epoch = seen.answer.as_ref().map(|answer| answer.epoch);
            self.watched.newest.store(Arc::new(seen));
            match epoch {
                Some(epoch) => self.refresh_document(epoch).await,
                None => self.documents.lost(self.watched.upstream.engine),
            }
        }
    }

    fn say_what_changed(&self, seen: &Seen) {
        let (engine, before) = (self.watched.upstream.engine, self.watched.newest.load().state);
        if before != seen.state {
            tracing::info!(%engine, ?before, now = ?seen.state, reasons = ?seen.reasons, "an engine's state changed");
        }
    }

    async fn look(&self) -> Seen {
        let start = Instant::now();
        let answer: EngineAnswer = match self.get("/v1/engine", STATUS_MAX).await {
            Ok(answer) => answer,
            Err(Miss::Silent(reason)) => return Seen::nothing(EngineState::Down, reason),
            Err(Miss::Wrong(reason)) => return Seen::nothing(EngineState::NotReady, reason),
        };
        let answer_ms = Some(start.elapsed().as_secs_f64() * 1e3);
        let engine = self.watched.upstream.engine;
        if answer.engine != engine.as_str() {
            let other: String = answer.engine.chars().take(32).collect();
            let reason = format!("'{other}' answers at its address; correct services.{engine}.url");
            return Seen::nothing(EngineState::NotReady, reason);
        }
        let feeds = match engine {
            EngineName::Marketdata => self.get("/v1/feeds", FEEDS_MAX).await.unwrap_or_default(),
            _ => Vec::new(),
        };
        let state = if answer.ready { EngineState::Up } else { EngineState::NotReady };
        let (reasons, checked_at_ns) = (answer.reasons.clone(), wall_clock().0);
        Seen { state, reasons, answer: Some(answer), feeds, answer_ms, checked_at_ns }
    }

    /// Fetches the engine's API document once for each of its starts.
    async fn refresh_document(&mut self, epoch: u64) {
        let attempts = match self.document {
            Some((of, attempts)) if of == epoch => attempts,
            _ => 0,
        };
        let engine = self.watched.upstream.engine;
        if attempts == u32::MAX {
            self.documents.found(engine);
        } else if attempts < DOCUMENT_ATTEMPTS {
            let attempts = match self.get::<Value>("/openapi.json", DOCUMENT_MAX).await {
                Ok(document) => {
                    self.documents.replace(engine, document);
                    u32::MAX
                }
                Err(Miss::Silent(_)) => attempts,
                Err(Miss::Wrong(reason)) => {
                    // An engine that is just stopping breaks off; only what lasts is worth a warning.
                    if attempts + 1 == DOCUMENT_ATTEMPTS {
                        tracing::warn!(%engine, reason, "an engine's API document was not taken over");
                    }
                    attempts + 1
                }
            };
            self.document = Some((epoch, attempts));
        }
    }

    /// Asks and reads, all in bounded time.
    async fn get<T: DeserializeOwned>(&self, path: &'static str, limit: usize) -> Result<T, Miss> {
        let asked = tokio::time::timeout(PATIENCE, self.fetch(path, limit));
        let late = |_| Miss::Silent(format!("it did not answer within {} ms", PATIENCE.as_millis()));
        let body = asked.await.map_err(late)??;
        let alien = |error| Miss::Wrong(format!("its answer to GET {path} is not understood: {error}"));
        serde_json::from_slice(&body).map_err(alien)
    }

    async fn fetch(&self, path: &'static str, limit: usize) -> Result<Bytes, Miss> {
        let mut request = Request::new(Body::empty());
        self.watched.upstream.address(&mut request, PathAndQuery::from_static(path));
        if let Some(key) = &self.key {
            request.headers_mut().insert(header::AUTHORIZATION, key.clone());
        }
        let answer = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                Miss::Silent("it takes no connections".to_owned())
            } else {
                Miss::Wrong(format!("its answer to GET {path} is not HTTP, or broke off"))
            }
        })?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let reason =
                    "it refuses the gateway's key: set access.own_key_file to one with the scope read";
                return Err(Miss::Wrong(reason.to_owned()));
            }
            status => return Err(Miss::Wrong(format!("it answered GET {path} with {status}"))),
        }
        let body = Limited::new(answer.into_body(), limit).collect().await;
        let broken =
            |_| Miss::Wrong(format!("its answer to GET {path} broke off or is longer than {limit} bytes"));
        Ok(body.map_err(broken)?.to_bytes())
    }
}
