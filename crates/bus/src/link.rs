//! One process's way to one Redis server: connecting, telling that it is down, trying again, taking replies apart.
//!
//! Every error counts as "down" with the server's own words as the reason (`-MISCONF`, `-OOM`, `-READONLY`,
//! `-LOADING`, a closed socket, silence): the command is tried again on a fresh connection. It knows nothing of
//! what the streams hold.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use metrics::Counter;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::RedisUrl;
use crate::health::{BusError, HealthPart};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long a blocking read waits in the server. Its connection's response timeout is this much longer.
pub(crate) const BLOCK: Duration = Duration::from_secs(1);

/// How often an idle task makes sure that the server is there.
pub(crate) const IDLE: Duration = Duration::from_secs(1);

/// A task that ends with the handle that owns it.
#[derive(Debug)]
pub(crate) struct TaskHandle(JoinHandle<()>);

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    url: RedisUrl,
    response_timeout: Duration,
    runtime: Handle,
    reconnects: Counter,
}

/// Without the client, which knows the password.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Link {
    /// To be called within a tokio runtime.
    pub(crate) fn new(
        url: &RedisUrl,
        response_timeout: Duration,
        service: &'static str,
    ) -> Result<Self, BusError> {
        let client = Client::open(url.as_str()).map_err(|_| BusError::Address { url: url.to_string() })?;
        Ok(Self {
            client,
            url: url.clone(),
            response_timeout,
            runtime: Handle::current(),
            reconnects: metrics::counter!("nautilus_bus_reconnects_total", "service" => service),
        })
    }

    /// Connects and asks for a sign of life.
    pub(crate) async fn check(&self) -> Result<MultiplexedConnection, BusError> {
        let mut connection = self.connect(Duration::ZERO).await.map_err(|e| self.error(e))?;
        redis::cmd("PING").exec_async(&mut connection).await.map_err(|e| self.error(e))?;
        Ok(connection)
    }

    pub(crate) fn error(&self, source: RedisError) -> BusError {
        BusError::connect(&self.url, source)
    }

    pub(crate) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// A connection of its own, for commands that block up to `block` in the server.
    async fn connect(&self, block: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout + block));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        TaskHandle(self.runtime.spawn(task))
    }

    /// Runs a task that ends by itself.
    pub(crate) fn spawn_detached(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }
}

/// A connection that a task keeps for itself and renews when it fails.
#[derive(Debug)]
pub(crate) struct Session {
    link: Link,
    health: HealthPart,
    block: Duration,
    connection: Option<MultiplexedConnection>,
    connections: u64,
    backoff: Duration,
    down: bool,
}

impl Session {
    /// For commands that answer at once.
    pub(crate) fn new(link: Link, health: HealthPart) -> Self {
        let (connection, connections, down) = (None, 0, false);
        Self { link, health, block: Duration::ZERO, connection, connections, backoff: BACKOFF_FIRST, down }
    }

    /// For commands that wait up to [`BLOCK`] in the server.
    pub(crate) fn blocking(link: Link, health: HealthPart) -> Self {
        Self { block: BLOCK, ..Self::new(link, health) }
    }

    /// Connects unless connected and gives the connection's number: a new one says that the former was lost,
    /// before anything is asked over it. On failure waits before it returns `None`.
    pub(crate) async fn connect(&mut self) -> Option<u64> {
        self.connection().await?;
        Some(self.connections)
    }

    /// Connects unless connected; on failure waits before it returns `None`.
    async fn connection(&mut self) -> Option<&mut MultiplexedConnection> {
        if self.connection.is_none() {
            match self.link.connect(self.block).await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.connections += 1;
                    if self.connections > 1 {
                        self.link.reconnects.increment(1);
                    }
                }
                Err(error) => {
                    self.failed(&error).await;
                    return None;
                }
            }
        }
        self.connection.as_mut()
    }

    /// Runs a pipeline once; false when any of it failed, after a pause.
    pub(crate) async fn exec(&mut self, pipeline: &Pipeline) -> bool {
        self.query(pipeline).await.is_some()
    }

    /// Runs a pipeline once and returns its replies; `None` when any of it failed, after a pause.
    pub(crate) async fn query(&mut self, pipeline: &Pipeline) -> Option<Vec<Value>> {
        let connection = self.connection().await?;
        match pipeline.query_async::<Vec<Value>>(connection).await {
            Ok(replies) => {
                self.worked();
                Some(replies)
            }
            Err(error) => {
                self.failed(&error).await;
                None
            }
        }
    }

    /// Runs a command once, where the server's error `accepted` is as good as success.
    pub(crate) async fn exec_unless(&mut self, command: &Cmd, accepted: &str) -> bool {
        let Some(connection) = self.connection().await else { return false };
        match command.exec_async(connection).await {
            Err(error) if error.code() != Some(accepted) => {
                self.failed(&error).await;
                false
            }
            _ => {
                self.worked();
                true
            }
        }
    }

    fn worked(&mut self) {
        self.backoff = BACKOFF_FIRST;
        if self.down {
            tracing::info!(url = %self.link.url, "Redis works again");
            self.down = false;
            self.health.set(None);
        }
    }

    async fn failed(&mut self, error: &RedisError) {
        // A task that was told to end ends here: that its connection ended first is not the server's fault.
        tokio::task::yield_now().await;
        let reason = format!("Redis at {}: {error}", self.link.url);
        if !self.down {
            tracing::warn!(%reason, "Redis is down; trying again");
            self.down = true;
        }
        self.health.set(Some(reason));
        self.connection = None;
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}

/// One entry of a stream, as the server returned it.
#[derive(Debug)]
pub(crate) struct StreamEntry {
    pub(crate) id: String,
    /// `None` when the entry was trimmed and only its id is left in a pending list.
    pub(crate) fields: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl StreamEntry {
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let fields = self.fields.as_ref()?;
        fields.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        std::str::from_utf8(self.field(name)?).ok()?.parse().ok()
    }
}

/// The reply of XREAD or XREADGROUP: streams with their entries; what is not of that shape is left out.
pub(crate) fn streams(reply: Value) -> Vec<(String, Vec<StreamEntry>)> {
    let pairs = match reply {
        Value::Map(pairs) => pairs,
        Value::Array(streams) => streams.into_iter().filter_map(pair).collect(),
        _ => Vec::new(),
    };
    pairs.into_iter().filter_map(|(key, list)| Some((text(key)?, entries(list)))).collect()
}

/// The reply of XRANGE and the second part of XAUTOCLAIM's: entries.
pub(crate) fn entries(reply: Value) -> Vec<StreamEntry> {
    let Value::Array(list) = reply else { return Vec::new() };
    list.into_iter().filter_map(pair).filter_map(|(id, fields)| entry(id, fields)).collect()
}

/// The reply of an XINFO: values by name.
pub(crate) fn named(reply: Value) -> BTreeMap<String, Value> {
    let Value::Array(flat) = reply else { return BTreeMap::new() };
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((text(flat.next()?)?, flat.next()?))).collect()
}

fn entry(id: Value, fields: Value) -> Option<StreamEntry> {
    let fields = match fields {
        Value::Array(flat) => {
            let mut flat = flat.into_iter();
            let next_pair = || Some((bytes(flat.next()?)?, bytes(flat.next()?)?));
            Some(std::iter::from_fn(next_pair).collect())
        }
        _ => None,
    };
    Some(StreamEntry { id: text(id)?, fields })
}

fn pair(value: Value) -> Option<(Value, Value)> {
    let Value::Array(items) = value else { return None };
    let [first, second] = <[Value; 2]>::try_from(items).ok()?;
    Some((first, second))
}

pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

pub(crate) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}
