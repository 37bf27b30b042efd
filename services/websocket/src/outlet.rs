//! The sending half of a connection: many messages, one write; a client that takes nothing is given up. What is sent
//! is not decided here.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;

use crate::client::Client;
use crate::connection::End;
use crate::protocol::Answer;
use crate::server::{Guest, Server};

/// One update in so many is timed until it was written.
const SAMPLE: u64 = 32;

/// The sending half of a connection.
pub(crate) struct Outlet<'a> {
    pub(crate) socket: &'a mut WebSocket,
    server: Arc<Server>,
    client: Arc<Client>,
    stall: Duration,
    /// Messages and bytes since the last flush.
    fed: (u64, u64),
    updates: u64,
    /// When the update that is timed was published.
    timed: Option<Instant>,
}

impl<'a> Outlet<'a> {
    pub(crate) fn new(socket: &'a mut WebSocket, guest: &Guest) -> Self {
        let (server, client) = (Arc::clone(&guest.server), Arc::clone(&guest.client));
        let stall = Duration::from_millis(server.settings.stall_ms);
        Self { socket, server, client, stall, fed: (0, 0), updates: 0, timed: None }
    }

    /// An answer, or what else is not a topic's data.
    pub(crate) async fn tell(&mut self, answer: &Answer<'_>) -> Result<(), End> {
        self.feed(answer.text()).await
    }

    /// An update that was published at `published`, where that is worth timing.
    pub(crate) async fn update(&mut self, text: Utf8Bytes, published: Option<Instant>) -> Result<(), End> {
        self.updates += 1;
        if self.updates.is_multiple_of(SAMPLE) && self.timed.is_none() {
            self.timed = published;
        }
        self.feed(text).await
    }

    /// Puts a message behind the others. It waits while the connection takes nothing and the buffer is full.
    pub(crate) async fn feed(&mut self, text: Utf8Bytes) -> Result<(), End> {
        self.fed = (self.fed.0 + 1, self.fed.1 + text.len() as u64);
        let fed = tokio::time::timeout(self.stall, self.socket.feed(Message::Text(text)));
        fed.await.map_err(|_| End::Stalled)?.map_err(|_| End::Gone)
    }

    /// Asks the client for a sign of life.
    pub(crate) async fn ping(&mut self) -> Result<(), End> {
        let ping = Message::Ping(axum::body::Bytes::new());
        let fed = tokio::time::timeout(self.stall, self.socket.feed(ping));
        fed.await.map_err(|_| End::Stalled)?.map_err(|_| End::Gone)?;
        self.write().await
    }

    /// Writes everything, if there is anything.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        let (messages, bytes) = std::mem::take(&mut self.fed);
        if messages == 0 {
            return Ok(());
        }
        self.client.messages.fetch_add(messages, Relaxed);
        self.client.bytes.fetch_add(bytes, Relaxed);
        self.server.meters.messages.increment(messages);
        self.server.meters.bytes.increment(bytes);
        self.write().await?;
        if let Some(published) = self.timed.take() {
            self.server.meters.fanned_out(published.elapsed());
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), End> {
        let written = tokio::time::timeout(self.stall, self.socket.flush());
        written.await.map_err(|_| End::Stalled)?.map_err(|_| End::Gone)
    }
}
