//! What the gateway answers: the shapes of its JSON.

use nautilus_service::http::{HttpFigures, Lag, Stage};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What an engine says about itself in `GET /v1/engine`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct EngineAnswer {
    pub(crate) engine: String,
    pub(crate) version: String,
    pub(crate) epoch: u64,
    pub(crate) uptime_ms: u64,
    pub(crate) ready: bool,
    pub(crate) reasons: Vec<String>,
    pub(crate) steps: u64,
    pub(crate) star_read: u64,
    pub(crate) star_missed: u64,
    pub(crate) mesh_handled: u64,
    pub(crate) lag: Lag,
    pub(crate) http: HttpFigures,
    pub(crate) stages: Vec<Stage>,
}

/// Whether an engine works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EngineState {
    /// It answers and is ready.
    Up,
    /// It answers, but cannot do its work.
    NotReady,
    /// It does not answer.
    Down,
}

/// Whether the platform works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlatformState {
    /// Every engine is up.
    Up,
    /// Some engines are not.
    Degraded,
    /// The hub of market data, or every engine, is down.
    Down,
}

/// What the engines say about something that they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SharedState {
    /// No engine that answers misses it.
    Up,
    /// An engine does.
    Down,
    /// No engine answers.
    Unknown,
}

/// The whole platform, as the newest poll found it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    pub(crate) uptime_ms: u64,
    pub(crate) state: PlatformState,
    pub(crate) checked_at_ns: u64,
    pub(crate) engines: Vec<EngineRow>,
    pub(crate) buses: Vec<BusRow>,
    pub(crate) store: StoreRow,
    /// As in `GET /v1/feeds` of marketdata.
    #[schema(value_type = Vec<Object>)]
    pub(crate) feeds: Vec<Value>,
    pub(crate) gateway: GatewayRow,
}

/// One engine. What only an engine that answers can say is null for the others.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EngineRow {
    #[schema(example = "vpin")]
    pub(crate) engine: &'static str,
    pub(crate) url: String,
    pub(crate) state: EngineState,
    /// What is missing; empty when up.
    pub(crate) reasons: Vec<String>,
    pub(crate) version: Option<String>,
    /// Its start, in nanoseconds since 1970.
    pub(crate) epoch: Option<u64>,
    pub(crate) uptime_ms: Option<u64>,
    pub(crate) checked_at_ns: u64,
    /// How long it took to answer the gateway's poll.
    pub(crate) answer_ms: Option<f64>,
    pub(crate) steps: Option<u64>,
    pub(crate) star_read: Option<u64>,
    pub(crate) star_missed: Option<u64>,
    pub(crate) mesh_handled: Option<u64>,
    /// How many frames the slowest reader of its bus is behind, where it is the hub.
    pub(crate) lag_frames: Option<u64>,
    pub(crate) http: Option<HttpFigures>,
    pub(crate) stages: Vec<Stage>,
}

/// One bus, as the engines see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BusRow {
    #[schema(example = "market_data")]
    pub(crate) bus: &'static str,
    /// local or redis.
    #[schema(value_type = String)]
    pub(crate) transport: nautilus_service::config::Transport,
    pub(crate) state: SharedState,
    /// What the engines that miss it say.
    pub(crate) reason: Option<String>,
}

/// The database, as the engines see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreRow {
    /// sqlite or postgres.
    pub(crate) kind: &'static str,
    pub(crate) state: SharedState,
    /// What the engines that miss it say.
    pub(crate) reason: Option<String>,
}

/// The gateway itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayRow {
    pub(crate) stages: Vec<Stage>,
}

/// What a node of the topology is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(crate) enum NodeKind {
    Engine,
    Bus,
    Store,
    Feed,
    Gateway,
    Client,
}

/// What flows along an edge of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(crate) enum EdgeKind {
    Publishes,
    Reads,
    Consumes,
    Writes,
    Proxies,
}

/// Who is connected to whom.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
}

/// A part of the platform.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Node {
    #[schema(example = "marketdata")]
    pub(crate) id: String,
    pub(crate) kind: NodeKind,
}

/// A connection of two parts.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) kind: EdgeKind,
    /// The messages on it, where they have types.
    pub(crate) types: Vec<&'static str>,
}
