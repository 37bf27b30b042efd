//! One publisher's way to Redis: a bounded queue and the task that empties it.
//!
//! A message stays in the queue until Redis has acknowledged it and is sent again as long as that takes, so it may
//! be stored twice and is never lost while the process lives. The order of handing over is the order of storing.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use nautilus_messages::mesh::{Message, MessageType};
use redis::Pipeline;
use tokio::sync::watch;

use crate::config::RedisMesh;
use crate::doorbell::Doorbell;
use crate::health::Health;
use crate::link::{IDLE, Link, Session};
use crate::mesh::PublishError;
use crate::mesh_redis::stream_key;

#[derive(Debug)]
struct OutboxShared {
    state: Mutex<OutboxState>,
    room: Condvar,
    bell: Arc<Doorbell>,
    acknowledged: watch::Sender<u64>,
    bound: usize,
    retried: Counter,
}

#[derive(Debug, Default)]
struct OutboxState {
    /// Not acknowledged, in order.
    messages: VecDeque<(MessageType, u64, Arc<[u8]>)>,
    closing: bool,
}

impl OutboxShared {
    fn state(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one publisher has handed over and Redis has not acknowledged. When it is dropped its task still sends what
/// is there, until the first failure.
#[derive(Debug)]
pub(crate) struct Outbox(Arc<OutboxShared>);

impl Outbox {
    pub(crate) fn open(link: &Link, config: &RedisMesh, health: &Arc<Health>, service: &'static str) -> Self {
        let shared = Arc::new(OutboxShared {
            state: Mutex::default(),
            room: Condvar::new(),
            bell: Doorbell::new(),
            acknowledged: watch::Sender::new(0),
            bound: config.limits.outbox.max(1),
            retried: metrics::counter!("nautilus_mesh_retried_total", "service" => service),
        });
        let session = Session::new(link.clone(), health.part());
        link.spawn_detached(send(Arc::clone(&shared), session, config.clone()));
        Self(shared)
    }

    pub(crate) fn push(&self, message: &Message, bytes: Vec<u8>, wait: Duration) -> Result<(), PublishError> {
        let message_type = message.body.message_type();
        let bound = self.0.bound;
        let (mut state, timeout) = self
            .0
            .room
            .wait_timeout_while(self.0.state(), wait, |state| state.messages.len() >= bound)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(PublishError::Full { message_type: message_type.as_str(), waited: wait, bound });
        }
        state.messages.push_back((message_type, message.id.sequence, bytes.into()));
        drop(state);
        self.0.bell.ring();
        Ok(())
    }

    pub(crate) async fn flush(&self, sequence: u64, timeout: Duration) -> Result<(), PublishError> {
        let mut acknowledged = self.0.acknowledged.subscribe();
        let all = acknowledged.wait_for(|done| *done >= sequence);
        match tokio::time::timeout(timeout, all).await {
            Ok(_) => Ok(()),
            Err(_) => Err(PublishError::Unconfirmed { left: self.len(), waited: timeout }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.state().messages.len()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.state().closing = true;
        self.0.bell.ring();
    }
}

/// The publisher's task.
async fn send(shared: Arc<OutboxShared>, mut session: Session, config: RedisMesh) {
    let mut rest = Instant::now();
    loop {
        let (batch, last, count, closing) = next_batch(&shared, &config);
        if count == 0 {
            if closing {
                return;
            }
            if rest.elapsed() >= IDLE {
                session.exec(redis::pipe().ping()).await;
                rest = Instant::now();
            }
            shared.bell.wait_async(IDLE).await;
            continue;
        }
        while !session.exec(&batch).await {
            shared.retried.increment(count as u64);
            if shared.state().closing {
                let count = shared.state().messages.len();
                tracing::error!(count, "messages were given up: their publisher ended while Redis was down");
                return;
            }
        }
        rest = Instant::now();
        shared.state().messages.drain(..count);
        shared.room.notify_all();
        shared.acknowledged.send_replace(last);
    }
}

/// The commands for what is there now, the last message's sequence number, how many, and whether the end has come.
fn next_batch(shared: &OutboxShared, config: &RedisMesh) -> (Pipeline, u64, usize, bool) {
    let state = shared.state();
    // All or nothing: a server that fills up in the middle must not put a message before its predecessor.
    let mut batch = redis::pipe();
    batch.atomic();
    let (mut last, mut count) = (0, 0);
    for (message_type, sequence, bytes) in state.messages.iter().take(config.batch.max(1)) {
        batch.cmd("XADD").arg(stream_key(*message_type)).arg("MAXLEN").arg("~").arg(config.max_len).arg("*");
        batch.arg("m").arg(&bytes[..]);
        (last, count) = (*sequence, count + 1);
    }
    (batch, last, count, state.closing)
}
