//! One consumer's way from Redis: a bounded inbox, the task that fills it and the task that settles.
//!
//! The reading task first takes what its instance left pending, then what is new, and now and then what other
//! instances left behind. The settling task acknowledges in batches after the engine's step, and files a dead
//! letter before it acknowledges it. Whether a message is a duplicate or has failed too often is not decided here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use nautilus_messages::EngineName;
use nautilus_messages::mesh::{Message, MessageType};
use redis::{Pipeline, Value};
use tokio::sync::watch;

use crate::config::RedisMesh;
use crate::doorbell::Doorbell;
use crate::health::Health;
use crate::link::{BLOCK, IDLE, Link, Session, StreamEntry, TaskHandle, entries, named, streams, text};
use crate::mesh::{Arrived, DeadLetter, EntryKey, Settled};
use crate::mesh_redis::{dead_key, stream_key};

/// Entries in one reply, per stream.
const READ_MAX: usize = 128;
/// Acknowledgements in one round trip.
const SETTLE_MAX: usize = 128;
/// Rounds of taking over in one go: each looks at up to [`READ_MAX`] pending entries.
const CLAIM_ROUNDS: usize = 16;

#[derive(Debug)]
struct InletShared {
    state: Mutex<InletState>,
    engine_bell: Mutex<Option<Arc<Doorbell>>>,
    /// Rung when the reading task may go on.
    room: Arc<Doorbell>,
    /// Rung when the settling task has work.
    settling: Arc<Doorbell>,
    unsettled: watch::Sender<usize>,
    lost: AtomicU64,
    inbox: usize,
}

#[derive(Debug, Default)]
struct InletState {
    arrived: VecDeque<Arrived>,
    /// Everything between arrival and acknowledgement.
    held: BTreeSet<EntryKey>,
    settled: VecDeque<Settled>,
    closing: bool,
}

impl InletShared {
    fn state(&self) -> MutexGuard<'_, InletState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room_left(&self) -> usize {
        self.inbox.saturating_sub(self.state().held.len())
    }

    fn ring_engine(&self) {
        if let Some(bell) = &*self.engine_bell.lock().unwrap_or_else(PoisonError::into_inner) {
            bell.ring();
        }
    }

    fn settle(&self, settled: Settled) {
        // Counted first: the settling task may be done with it before this thread goes on.
        self.unsettled.send_modify(|count| *count += 1);
        self.state().settled.push_back(settled);
        self.settling.ring();
    }
}

/// One consumer's end.
#[derive(Debug)]
pub(crate) struct RedisInlet {
    shared: Arc<InletShared>,
    _reading: TaskHandle,
}

impl RedisInlet {
    pub(crate) fn open(
        link: &Link,
        config: &RedisMesh,
        engine: EngineName,
        types: &[MessageType],
        health: &Arc<Health>,
        service: &'static str,
    ) -> Self {
        let shared = Arc::new(InletShared {
            state: Mutex::default(),
            engine_bell: Mutex::default(),
            room: Doorbell::new(),
            settling: Doorbell::new(),
            unsettled: watch::Sender::new(0),
            lost: AtomicU64::new(0),
            inbox: config.limits.inbox.max(1),
        });
        let reader = Reader {
            shared: Arc::clone(&shared),
            types: BTreeSet::from_iter(types.iter().copied()).into_iter().collect(),
            group: engine.as_str(),
            consumer: format!("{engine}-{}", config.instance),
            claim_idle: config.claim_idle,
            lost: metrics::counter!("nautilus_mesh_lost_total", "service" => service),
            dead: metrics::counter!("nautilus_mesh_dead_letters_total", "service" => service),
        };
        let settling = Session::new(link.clone(), health.part());
        link.spawn_detached(settle(Arc::clone(&shared), settling, engine, config.limits.dead_letters));
        let reading = link.spawn(reader.run(Session::blocking(link.clone(), health.part())));
        Self { shared, _reading: reading }
    }

    pub(crate) fn take(&mut self) -> Option<Arrived> {
        self.shared.state().arrived.pop_front()
    }

    pub(crate) fn settle(&mut self, settled: Settled) {
        self.shared.settle(settled);
    }

    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn attach(&mut self, bell: Arc<Doorbell>) {
        *self.shared.engine_bell.lock().unwrap_or_else(PoisonError::into_inner) = Some(bell);
    }

    pub(crate) async fn flush(&self, timeout: Duration) -> bool {
        let mut unsettled = self.shared.unsettled.subscribe();
        tokio::time::timeout(timeout, unsettled.wait_for(|count| *count == 0)).await.is_ok()
    }
}

impl Drop for RedisInlet {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.settling.ring();
    }
}

/// The settling task: acknowledges, and files dead letters before it acknowledges them.
async fn settle(shared: Arc<InletShared>, mut session: Session, engine: EngineName, dead_max: usize) {
    loop {
        let (batch, closing) = {
            let mut state = shared.state();
            let count = state.settled.len().min(SETTLE_MAX);
            (state.settled.drain(..count).collect::<Vec<_>>(), state.closing)
        };
        if batch.is_empty() {
            if closing {
                return;
            }
            shared.settling.wait_async(IDLE).await;
            continue;
        }
        let commands = settling(&batch, engine, dead_max);
        while !session.exec(&commands).await {
            if shared.state().closing {
                return; // Not acknowledged: it comes again.
            }
        }
        let mut state = shared.state();
        for settled in &batch {
            state.held.remove(&settled.key);
        }
        drop(state);
        shared.unsettled.send_modify(|count| *count = count.saturating_sub(batch.len()));
        shared.room.ring();
    }
}

fn settling(batch: &[Settled], engine: EngineName, dead_max: usize) -> Pipeline {
    let mut commands = redis::pipe();
    for letter in batch.iter().filter_map(|settled| settled.dead.as_ref()) {
        commands.cmd("XADD").arg(dead_key(engine)).arg("MAXLEN").arg("~").arg(dead_max).arg("*");
        commands.arg("type").arg(letter.message_type.as_str()).arg("id").arg(&letter.original_id);
        commands.arg("attempts").arg(letter.attempts).arg("reason").arg(&letter.reason);
        commands.arg("m").arg(&letter.bytes[..]);
    }
    for kind in BTreeSet::from_iter(batch.iter().map(|settled| settled.key.message_type)) {
        commands.cmd("XACK").arg(stream_key(kind)).arg(engine.as_str());
        for settled in batch.iter().filter(|settled| settled.key.message_type == kind) {
            commands.arg(format!("{}-{}", settled.key.id.0, settled.key.id.1));
        }
    }
    commands
}

/// The reading task.
#[derive(Debug)]
struct Reader {
    shared: Arc<InletShared>,
    types: Vec<MessageType>,
    group: &'static str,
    consumer: String,
    claim_idle: Duration,
    lost: Counter,
    dead: Counter,
}

impl Reader {
    async fn run(self, mut session: Session) {
        let mut seen = 0;
        // Streams whose own pending entries are still to be read, with the id after which they go on.
        let mut leftovers: Vec<(MessageType, String)> = Vec::new();
        let mut claimed = Instant::now();
        // After an absence or a stall the stream may have been trimmed past this engine's place.
        let mut unsure = true;
        loop {
            // What a broken connection swallowed is pending, and older than anything new: it is read first.
            let Some(connection) = session.connect().await else { continue };
            if connection != seen {
                if !self.make_groups(&mut session).await {
                    continue;
                }
                (seen, unsure) = (connection, true);
                leftovers = self.types.iter().map(|kind| (*kind, "0".to_owned())).collect();
            }
            if self.shared.room_left() == 0 {
                self.shared.room.wait_async(IDLE).await;
                unsure = true;
            } else if unsure {
                unsure = false;
                for kind in &self.types {
                    self.look_for_trimmed(&mut session, *kind).await;
                }
            } else if let Some((kind, after)) = leftovers.last_mut() {
                match self.read_leftovers(&mut session, *kind, after).await {
                    Some(Some(last)) => *after = last,
                    Some(None) => drop(leftovers.pop()),
                    None => {}
                }
            } else if claimed.elapsed() >= self.claim_idle.max(Duration::from_millis(100)) {
                for kind in &self.types {
                    self.claim(&mut session, *kind).await;
                }
                claimed = Instant::now();
            } else {
                self.read_new(&mut session).await;
            }
        }
    }

    /// Makes the consumer groups; each begins with the oldest entry retained.
    async fn make_groups(&self, session: &mut Session) -> bool {
        for kind in &self.types {
            let mut create = redis::cmd("XGROUP");
            create.arg("CREATE").arg(stream_key(*kind)).arg(self.group).arg("0").arg("MKSTREAM");
            if !session.exec_unless(&create, "BUSYGROUP").await {
                return false;
            }
        }
        true
    }

    /// Own pending entries after an id: the last id read, or `None` at their end; the outer `None` is a failure.
    async fn read_leftovers(
        &self,
        session: &mut Session,
        kind: MessageType,
        after: &str,
    ) -> Option<Option<String>> {
        let room = self.shared.room_left().clamp(1, READ_MAX);
        let mut read = redis::pipe();
        read.cmd("XREADGROUP").arg("GROUP").arg(self.group).arg(&self.consumer);
        read.arg("COUNT").arg(room).arg("STREAMS").arg(stream_key(kind)).arg(after);
        let mut replies = session.query(&read).await?;
        let list = streams(replies.pop()?).pop().map(|(_, list)| list).unwrap_or_default();
        let Some(last) = list.last().map(|entry| entry.id.clone()) else { return Some(None) };
        self.recover(session, kind, list).await?;
        Some(Some(last))
    }

    /// Takes over entries that no consumer touched for a while.
    async fn claim(&self, session: &mut Session, kind: MessageType) {
        let mut from = "0-0".to_owned();
        for _ in 0..CLAIM_ROUNDS {
            let room = self.shared.room_left().min(READ_MAX);
            if room == 0 {
                return;
            }
            let mut claim = redis::pipe();
            claim.cmd("XAUTOCLAIM").arg(stream_key(kind)).arg(self.group).arg(&self.consumer);
            claim.arg(self.claim_idle.as_millis() as u64).arg(&from).arg("COUNT").arg(room);
            let Some(Some(Value::Array(parts))) = session.query(&claim).await.map(|mut r| r.pop()) else {
                return;
            };
            let mut parts = parts.into_iter();
            let next = parts.next().and_then(text).unwrap_or_else(|| "0-0".to_owned());
            let list = parts.next().map(entries).unwrap_or_default();
            if let Some(Value::Array(deleted)) = parts.next() {
                self.count_lost(kind, deleted.len() as u64);
            }
            if self.recover(session, kind, list).await.is_none() || next == "0-0" {
                return;
            }
            from = next;
        }
    }

    /// Notes what was trimmed before this engine got it: its place in the stream is before the oldest entry.
    async fn look_for_trimmed(&self, session: &mut Session, kind: MessageType) -> Option<()> {
        let mut query = redis::pipe();
        query.cmd("XINFO").arg("STREAM").arg(stream_key(kind));
        query.cmd("XINFO").arg("GROUPS").arg(stream_key(kind));
        let mut replies = session.query(&query).await?;
        let (groups, mut stream) = (replies.pop()?, named(replies.pop()?));
        let Value::Array(groups) = groups else { return Some(()) };
        let named_ours = |group: &BTreeMap<String, Value>| {
            group.get("name").cloned().and_then(text).as_deref() == Some(self.group)
        };
        let Some(mut group) = groups.into_iter().map(named).find(named_ours) else { return Some(()) };
        let first = stream.remove("first-entry").map(|entry| entries(Value::Array(vec![entry])));
        let first = first.and_then(|list| parse_id(&list.first()?.id));
        let delivered = group.remove("last-delivered-id").and_then(text).and_then(|id| parse_id(&id));
        // Redis before 7 does not count; a group that never read has lost nothing it was promised.
        let count = |map: &mut BTreeMap<String, Value>, name| text(map.remove(name)?)?.parse::<u64>().ok();
        let added = count(&mut stream, "entries-added");
        let (length, read) = (count(&mut stream, "length"), count(&mut group, "entries-read"));
        if let (Some(added), Some(length), Some(read), true) = (added, length, read, delivered < first) {
            self.count_lost(kind, added.saturating_sub(length).saturating_sub(read));
        }
        Some(())
    }

    fn count_lost(&self, kind: MessageType, count: u64) {
        if count > 0 {
            self.lost.increment(count);
            self.shared.lost.fetch_add(count, Ordering::Relaxed);
            tracing::error!(
                count,
                kind = kind.as_str(),
                "messages were trimmed from their stream unprocessed"
            );
        }
    }

    /// Accepts entries that were delivered before, with the number of times.
    async fn recover(&self, session: &mut Session, kind: MessageType, list: Vec<StreamEntry>) -> Option<()> {
        let (Some(first), Some(last)) = (list.first(), list.last()) else { return Some(()) };
        let mut query = redis::pipe();
        query.cmd("XPENDING").arg(stream_key(kind)).arg(self.group).arg(&first.id).arg(&last.id);
        query.arg(list.len()).arg(&self.consumer);
        let counts = session.query(&query).await?.pop().map(delivery_counts).unwrap_or_default();
        for entry in list {
            let attempt = counts.iter().find(|(id, _)| *id == entry.id).map_or(1, |(_, count)| *count);
            self.accept(kind, &entry, attempt, true);
        }
        self.shared.ring_engine();
        Some(())
    }

    async fn read_new(&self, session: &mut Session) {
        let room = (self.shared.room_left() / self.types.len()).clamp(1, READ_MAX);
        let mut read = redis::pipe();
        read.cmd("XREADGROUP").arg("GROUP").arg(self.group).arg(&self.consumer);
        let block = BLOCK.min(self.claim_idle).as_millis().max(1) as u64;
        read.arg("COUNT").arg(room).arg("BLOCK").arg(block).arg("STREAMS");
        for kind in &self.types {
            read.arg(stream_key(*kind));
        }
        for _ in &self.types {
            read.arg(">");
        }
        let Some(mut replies) = session.query(&read).await else { return };
        for (key, list) in replies.pop().map(streams).unwrap_or_default() {
            let Some(kind) = self.types.iter().find(|kind| stream_key(**kind) == key) else { continue };
            for entry in list {
                self.accept(*kind, &entry, 1, false);
            }
        }
        self.shared.ring_engine();
    }

    /// Decodes an entry into the inbox; what is no message goes straight to the dead letters.
    fn accept(&self, message_type: MessageType, entry: &StreamEntry, attempt: u32, recovered: bool) {
        let Some(id) = parse_id(&entry.id) else { return };
        let key = EntryKey { message_type, id };
        let mut state = self.shared.state();
        if !state.held.insert(key) {
            return; // The engine has it.
        }
        if entry.fields.is_none() {
            drop(state);
            self.count_lost(message_type, 1);
            return self.shared.settle(Settled { key, dead: None });
        }
        let bytes = entry.field("m").unwrap_or_default();
        match Message::decode(bytes) {
            Ok(message) if message.body.message_type() == message_type => {
                state.arrived.push_back(Arrived { key, message, attempt, recovered });
            }
            other => {
                drop(state);
                let reason = match other {
                    Ok(message) => format!("a {} in this stream", message.body.message_type().as_str()),
                    Err(error) => error.to_string(),
                };
                let (original_id, bytes) = (entry.id.clone(), bytes.to_vec());
                let letter = DeadLetter { message_type, original_id, attempts: attempt, reason, bytes };
                tracing::warn!(id = letter.original_id, reason = letter.reason, "an entry is no message");
                self.dead.increment(1);
                self.shared.settle(Settled { key, dead: Some(letter) });
            }
        }
    }
}

fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (milliseconds, sequence) = id.split_once('-')?;
    Some((milliseconds.parse().ok()?, sequence.parse().ok()?))
}

/// The extended reply of XPENDING: id and number of deliveries.
fn delivery_counts(reply: Value) -> Vec<(String, u32)> {
    let Value::Array(list) = reply else { return Vec::new() };
    let count = |item| {
        let Value::Array(parts) = item else { return None };
        let [id, _, _, count] = <[Value; 4]>::try_from(parts).ok()?;
        Some((text(id)?, text(count)?.parse().ok()?))
    };
    list.into_iter().filter_map(count).collect()
}
