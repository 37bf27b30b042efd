//! The JSON shapes of the websocket service's lists, made from what the connections count.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use nautilus_service::paging::default_limit;
use nautilus_types::UnixNanos;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::client::Client;
use crate::lanes::TopicLanes;

/// Which page of the connections.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionsQuery {
    /// Connections with a larger number only.
    #[serde(default)]
    pub(crate) after: u64,
    /// Connections at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// A page of connections, by number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionsPage {
    pub(crate) connections: Vec<ConnectionAnswer>,
    /// Give it as `after` for the next page; absent on the last.
    pub(crate) next: Option<u64>,
}

/// A connected client.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionAnswer {
    /// Counted from 1 since the service's start.
    id: u64,
    /// Where it comes from; behind the gateway that is the gateway.
    #[schema(value_type = Option<String>, example = "127.0.0.1:50412")]
    address: Option<SocketAddr>,
    /// The id of the key it showed.
    key: Option<String>,
    #[schema(value_type = u64)]
    connected_since_ns: UnixNanos,
    /// Topics and wildcards subscribed to.
    subscriptions: usize,
    /// Messages sent to it.
    messages: u64,
    /// Bytes of these messages.
    bytes: u64,
    /// How often a topic was slowed down for it.
    conflated: u64,
    /// How often it fell so far behind that it needed a fresh snapshot.
    resynchronised: u64,
    /// Messages of its own that were refused.
    refused: u64,
    /// Updates that wait for it in the topic furthest behind.
    lag: u64,
}

impl From<&Client> for ConnectionAnswer {
    fn from(client: &Client) -> Self {
        Self {
            id: client.id,
            address: client.address,
            key: client.key.clone(),
            connected_since_ns: client.since,
            subscriptions: client.subscriptions.load(Relaxed),
            messages: client.messages.load(Relaxed),
            bytes: client.bytes.load(Relaxed),
            conflated: client.conflated.load(Relaxed),
            resynchronised: client.resynchronised.load(Relaxed),
            refused: client.refused.load(Relaxed),
            lag: client.lag(),
        }
    }
}

/// Which page of the topics.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicsQuery {
    /// Topics behind this name only.
    pub(crate) after: Option<String>,
    /// Topics at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// A page of topics, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicsPage {
    /// The epoch that all numbers belong to.
    pub(crate) epoch: u64,
    pub(crate) topics: Vec<TopicAnswer>,
    /// Give it as `after` for the next page; absent on the last.
    pub(crate) next: Option<String>,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicAnswer {
    #[schema(example = "books.ESH4")]
    topic: String,
    /// Its events so far.
    seq: u64,
    /// Clients that listen to it.
    subscribers: usize,
    /// Updates kept, from which clients may resume.
    updates_kept: usize,
}

impl From<&TopicLanes> for TopicAnswer {
    fn from(lanes: &TopicLanes) -> Self {
        let (subscribers, updates_kept) = lanes.counts();
        Self { topic: lanes.name.clone(), seq: lanes.newest(), subscribers, updates_kept }
    }
}
