//! One connection from its first message to its last: hears the client, delivers what its topics have for it, keeps
//! it alive and says why it ends. Its own task, so that it delays nobody else.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::FutureExt;
use nautilus_engine_websocket::Topic;
use nautilus_service::wall_clock;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tungstenite::Error;
use tungstenite::error::CapacityError;

use crate::client::{Client, Tap};
use crate::delivery::Delivery;
use crate::outlet::Outlet;
use crate::patience::{Rate, Streak};
use crate::protocol::{Answer, MESSAGE_MAX, Refused, Request};
use crate::server::{Guest, Server};
use crate::subscriptions::{Outcome, Subscriptions};
use crate::wishes::{Options, SUBSCRIPTIONS_MAX, Wish};

/// Refused messages in a row that are answered; the next one ends the connection.
const REFUSALS_MAX: u32 = 20;
/// How long a client may take for the last message and the end.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client said goodbye.
    Left,
    /// The client is no longer there.
    Gone,
    /// It sent nothing for too long.
    Silent,
    /// It took nothing for too long.
    Stalled,
    /// It fell behind again and again.
    Slow,
    /// It sent too much that had to be refused.
    Refused,
    /// It sent a message over the limit.
    TooLarge,
    /// What it sent is not the WebSocket protocol.
    Malformed,
    /// Its key no longer holds.
    KeyEnded,
    /// The service stops.
    Stopping,
}

impl End {
    /// The reason's name in metrics, the close code and the sentence that the client is told.
    const fn tell(self) -> (&'static str, Option<(u16, &'static str)>) {
        match self {
            Self::Left => ("left", None),
            Self::Gone => ("gone", None),
            Self::Silent => ("silent", Some((1013, "no sign of life: answer pings or send a ping"))),
            Self::Stalled => ("stalled", Some((1013, "too slow: the connection took nothing for too long"))),
            Self::Slow => ("slow", Some((1013, "too slow: subscribe to less or with a longer conflate_ms"))),
            Self::Refused => ("refused", Some((1008, "too many refused messages"))),
            Self::TooLarge => ("too_large", Some((1009, "a message may have at most 65536 bytes"))),
            Self::Malformed => ("malformed", Some((1002, "this is not the WebSocket protocol"))),
            Self::KeyEnded => ("key_ended", Some((1008, "the key has expired or was revoked"))),
            Self::Stopping => ("stopping", Some((1001, "the service is stopping"))),
        }
    }
}

/// Serves a client until it leaves or has to.
pub(crate) async fn serve(mut socket: WebSocket, guest: Guest) {
    let server = Arc::clone(&guest.server);
    let end = tokio::select! {
        () = guest.stopping() => End::Stopping,
        end = Connection::new(&mut socket, &guest).run() => end,
    };
    let (label, close) = end.tell();
    server.meters.closed(label);
    tracing::debug!(client = guest.client.id, reason = label, "a connection ended");
    // It listens to nothing any more, but counts as connected until it has heard why.
    guest.client.retire().iter().for_each(|tap| server.fan_out.close(tap));
    let goodbye = async {
        if let Some((code, reason)) = close {
            let frame = CloseFrame { code, reason: reason.into() };
            if socket.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
        }
        // Read to the end, so that what the client had sent does not make the system discard our last message.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    // A client that does not even take this is let go.
    let _ = timeout(GOODBYE, goodbye).await;
}

struct Connection<'a> {
    guest: &'a Guest,
    server: Arc<Server>,
    client: Arc<Client>,
    outlet: Outlet<'a>,
    subscriptions: Subscriptions,
    delivery: Delivery,
    rate: Rate,
    refusals: Streak,
    heartbeat: Interval,
    heartbeats: u64,
    heard: Instant,
    /// The longest that a client may say nothing.
    silence: Duration,
}

impl<'a> Connection<'a> {
    fn new(socket: &'a mut WebSocket, guest: &'a Guest) -> Self {
        let (server, client) = (Arc::clone(&guest.server), Arc::clone(&guest.client));
        let every = Duration::from_millis(server.settings.heartbeat_ms);
        let mut heartbeat = interval(every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        let now = Instant::now();
        let silence = Duration::from_millis(server.settings.silence_ms);
        Self {
            guest,
            outlet: Outlet::new(socket, guest),
            subscriptions: Subscriptions::new(guest),
            delivery: Delivery::new(guest),
            server,
            client,
            rate: Rate::new(now),
            refusals: Streak::default(),
            heartbeat,
            heartbeats: 0,
            heard: now,
            silence,
        }
    }

    async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), End> {
        tokio::select! {
            message = self.outlet.socket.recv() => self.hear(message).await?,
            () = self.client.bell.rung() => {}
            _ = self.heartbeat.tick() => {
                if self.heard.elapsed() >= self.silence {
                    return Err(End::Silent);
                }
                self.beat().await?;
            }
        }
        let sending = Instant::now();
        if self.client.bell.has_new_topics() {
            self.subscriptions.follow_new_topics();
        }
        for tap in self.client.bell.ready() {
            self.delivery.deliver(&tap, &mut self.outlet, &self.subscriptions).await?;
            // A slow client with much to fetch hears heartbeats all the same.
            if self.heartbeat.tick().now_or_never().is_some() {
                self.beat().await?;
            }
        }
        self.outlet.flush().await?;
        // While sending, nobody listened: that is not the client's silence.
        self.heard += sending.elapsed();
        Ok(())
    }

    async fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let now = Instant::now();
        self.heard = now;
        let message = match message {
            None => return Err(End::Gone),
            Some(Err(error)) => return Err(broken(error)),
            Some(Ok(Message::Close(_))) => return Err(End::Left),
            Some(Ok(message)) => message,
        };
        if !self.rate.allows(now) {
            let detail = "more than 50 messages a second; send fewer, each with many topics";
            return self.refuse(&Refused::new(None, "rate_limited", detail)).await;
        }
        match message {
            Message::Text(text) if text.len() > MESSAGE_MAX => Err(End::TooLarge),
            Message::Binary(bytes) if bytes.len() > MESSAGE_MAX => Err(End::TooLarge),
            Message::Text(text) => match Request::read(&text) {
                Ok(request) => self.obey(request).await,
                Err(refused) => self.refuse(&refused).await,
            },
            Message::Binary(_) => {
                let detail = "binary messages are not understood; send JSON as text";
                self.refuse(&Refused::new(None, "binary_message", detail)).await
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        }
    }

    async fn refuse(&mut self, refused: &Refused) -> Result<(), End> {
        let Refused { id, code, detail } = refused;
        self.count_refusal(code)?;
        self.outlet.tell(&Answer::Error { id: *id, code, detail }).await
    }

    fn count_refusal(&mut self, code: &'static str) -> Result<(), End> {
        self.server.meters.refused(code);
        self.client.refused.fetch_add(1, Relaxed);
        if self.refusals.again(Instant::now()) > REFUSALS_MAX { Err(End::Refused) } else { Ok(()) }
    }

    async fn obey(&mut self, request: Request) -> Result<(), End> {
        match request {
            Request::Ping { id } => self.outlet.tell(&Answer::Pong { id }).await,
            Request::Subscribe { id, topics, options } => {
                let outcome = self.subscriptions.subscribe(&topics, options);
                self.acknowledge(id, outcome).await
            }
            Request::Unsubscribe { id, topics } => {
                let outcome = self.subscriptions.unsubscribe(&topics);
                self.acknowledge(id, outcome).await
            }
            Request::Resume { id, topic, epoch, seq, options } => match topic.parse() {
                Ok(Wish::Exactly(topic)) => self.resume(id, topic, (epoch, seq), options).await,
                _ => {
                    let detail = "resume takes one topic by its name; subscribe to wildcards";
                    self.refuse(&Refused::new(id, "unknown_topic", detail)).await
                }
            },
        }
    }

    async fn acknowledge(&mut self, id: Option<u64>, outcome: Outcome) -> Result<(), End> {
        let Outcome { accepted, rejected } = outcome;
        if let Some(first) = rejected.first() {
            self.count_refusal(first.code)?;
        }
        self.outlet.tell(&Answer::Subscription { id, topics: accepted, rejected }).await
    }

    async fn resume(
        &mut self,
        id: Option<u64>,
        topic: Topic,
        at: (u64, u64),
        options: Options,
    ) -> Result<(), End> {
        if !self.subscriptions.add_exactly(topic, options) {
            let detail = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions");
            return self.refuse(&Refused::new(id, "too_many_subscriptions", detail)).await;
        }
        let name = topic.to_string();
        let topics = vec![name.clone()];
        self.outlet.tell(&Answer::Subscription { id, topics, rejected: Vec::new() }).await?;
        let (event, detail) = if self.subscriptions.resume(topic, at, options) {
            ("resumed", "the updates since follow")
        } else {
            ("restarted", "the updates since are not kept: a fresh snapshot follows")
        };
        self.outlet.tell(&Answer::System { event, topic: &name, detail }).await
    }

    async fn beat(&mut self) -> Result<(), End> {
        if !self.guest.may_stay() {
            return Err(End::KeyEnded);
        }
        if self.heard.elapsed() >= self.silence / 3 {
            self.outlet.ping().await?;
        }
        self.delivery.unserved().iter().for_each(Tap::ring);
        self.heartbeats += 1;
        self.outlet.tell(&Answer::Heartbeat { count: self.heartbeats, ts_ns: wall_clock() }).await
    }
}

/// What it means that nothing more can be read.
fn broken(error: axum::Error) -> End {
    match error.into_inner().downcast_ref::<Error>() {
        Some(Error::Capacity(CapacityError::MessageTooLong { .. })) => End::TooLarge,
        Some(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => End::Gone,
        Some(Error::Protocol(_) | Error::Utf8(_)) => End::Malformed,
        _ => End::Gone,
    }
}
