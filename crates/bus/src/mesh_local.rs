//! The mesh within one process: per type a bounded queue of messages, per consuming engine a place in it.
//!
//! It behaves like the streams it stands in for: an engine that subscribes late gets what is retained, and a
//! message waits until every subscribed engine has acknowledged it. A full queue makes publishers wait; only
//! messages that nobody is subscribed to, or that everybody has acknowledged, make room by themselves. It keeps
//! nothing over the end of the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use nautilus_messages::EngineName;
use nautilus_messages::mesh::{Message, MessageType};

use crate::config::MeshLimits;
use crate::doorbell::Doorbell;
use crate::mesh::{Arrived, DeadLetter, EntryKey, PublishError, Settled, type_index};

#[derive(Debug)]
pub(crate) struct LocalMesh {
    state: Mutex<State>,
    room: Condvar,
    limits: MeshLimits,
    trimmed: Counter,
}

#[derive(Debug, Default)]
struct State {
    streams: [Stream; MessageType::ALL.len()],
    groups: BTreeMap<EngineName, Group>,
    bells: Vec<Subscription>,
    dead: BTreeMap<EngineName, VecDeque<DeadLetter>>,
    consumers: u64,
    arrivals: u64,
}

#[derive(Debug, Default)]
struct Stream {
    /// The index of the first entry retained; indices count from 0.
    first: u64,
    /// Each with its number among the messages of all types.
    entries: VecDeque<(u64, Message)>,
}

impl Stream {
    fn get(&self, index: u64) -> Option<&(u64, Message)> {
        self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }
}

#[derive(Debug, Default)]
struct Group {
    /// The index that is handed over next.
    next: BTreeMap<MessageType, u64>,
    /// Handed over and not settled: to whom, and how often.
    pending: BTreeMap<EntryKey, (u64, u32)>,
    /// Pending entries whose consumer is gone.
    returned: BTreeSet<EntryKey>,
}

impl Group {
    fn is_done_with(&self, message_type: MessageType, index: u64) -> bool {
        let key = EntryKey { message_type, id: (index, 0) };
        self.next.get(&message_type).is_none_or(|next| *next > index) && !self.pending.contains_key(&key)
    }
}

#[derive(Debug)]
struct Subscription {
    consumer: u64,
    types: Vec<MessageType>,
    bell: Arc<Doorbell>,
}

impl LocalMesh {
    pub(crate) fn new(limits: MeshLimits, service: &'static str) -> Arc<Self> {
        let trimmed = metrics::counter!("nautilus_mesh_trimmed_total", "service" => service);
        Arc::new(Self { state: Mutex::default(), room: Condvar::new(), limits, trimmed })
    }

    pub(crate) fn publish(&self, message: Message, wait: Duration) -> Result<(), PublishError> {
        let message_type = message.body.message_type();
        let deadline = Instant::now() + wait;
        let mut state = self.state();
        while !self.make_room(&mut state, message_type) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PublishError::Full {
                    message_type: message_type.as_str(),
                    waited: wait,
                    bound: self.limits.outbox,
                });
            }
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.arrivals += 1;
        let arrival = state.arrivals;
        state.streams[type_index(message_type)].entries.push_back((arrival, message));
        state.ring(message_type);
        Ok(())
    }

    /// Whether one more message fits, after leaving out the oldest one that nobody waits for.
    fn make_room(&self, state: &mut State, message_type: MessageType) -> bool {
        let State { streams, groups, .. } = state;
        let stream = &mut streams[type_index(message_type)];
        if stream.entries.len() < self.limits.outbox.max(1) {
            return true;
        }
        let oldest = stream.first;
        if !groups.values().all(|group| group.is_done_with(message_type, oldest)) {
            return false;
        }
        if !groups.values().any(|group| group.next.contains_key(&message_type)) {
            self.trimmed.increment(1);
        }
        stream.entries.pop_front();
        stream.first += 1;
        true
    }

    pub(crate) fn inlet(mesh: &Arc<Self>, engine: EngineName, types: &[MessageType]) -> LocalInlet {
        let mut state = mesh.state();
        state.consumers += 1;
        let consumer = state.consumers;
        let State { streams, groups, .. } = &mut *state;
        let group = groups.entry(engine).or_default();
        for kind in types {
            group.next.entry(*kind).or_insert(streams[type_index(*kind)].first);
        }
        LocalInlet { mesh: Arc::clone(mesh), engine, types: types.to_vec(), consumer, held: 0 }
    }

    pub(crate) fn dead_letters(&self, engine: EngineName, limit: usize) -> Vec<DeadLetter> {
        let state = self.state();
        let letters = state.dead.get(&engine).into_iter().flatten();
        let skip = letters.clone().count().saturating_sub(limit);
        letters.skip(skip).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ring(&self, message_type: MessageType) {
        for subscription in &self.bells {
            if subscription.types.contains(&message_type) {
                subscription.bell.ring();
            }
        }
    }

    /// An entry that a former consumer left behind, or else the oldest one not handed over yet.
    fn take(&mut self, engine: EngineName, types: &[MessageType], consumer: u64) -> Option<Arrived> {
        let Self { streams, groups, .. } = self;
        let group = groups.get_mut(&engine)?;
        let returned = group.returned.iter().find(|key| types.contains(&key.message_type)).copied();
        let key = match returned {
            Some(key) => key,
            None => {
                let arrival = |kind: &MessageType| {
                    let index = group.next.get(kind)?;
                    let (arrival, _) = streams[type_index(*kind)].get(*index)?;
                    Some((*arrival, EntryKey { message_type: *kind, id: (*index, 0) }))
                };
                types.iter().filter_map(arrival).min()?.1
            }
        };
        if !group.returned.remove(&key) {
            group.next.insert(key.message_type, key.id.0 + 1);
        }
        let (_, message) =
            streams[type_index(key.message_type)].get(key.id.0).expect("a pending entry is retained");
        // The entry stays until every engine is done with it.
        let message = message.clone();
        let (owner, attempt) = group.pending.entry(key).or_insert((consumer, 0));
        *owner = consumer;
        *attempt += 1;
        Some(Arrived { key, message, attempt: *attempt, recovered: returned.is_some() })
    }
}

/// One consumer's end.
#[derive(Debug)]
pub(crate) struct LocalInlet {
    mesh: Arc<LocalMesh>,
    engine: EngineName,
    types: Vec<MessageType>,
    consumer: u64,
    held: usize,
}

impl LocalInlet {
    pub(crate) fn take(&mut self) -> Option<Arrived> {
        if self.held >= self.mesh.limits.inbox.max(1) {
            return None;
        }
        let arrived = self.mesh.state().take(self.engine, &self.types, self.consumer)?;
        self.held += 1;
        Some(arrived)
    }

    pub(crate) fn settle(&mut self, settled: Settled) {
        self.held -= 1;
        let mut state = self.mesh.state();
        if let Some(group) = state.groups.get_mut(&self.engine) {
            group.pending.remove(&settled.key);
        }
        if let Some(letter) = settled.dead {
            let letters = state.dead.entry(self.engine).or_default();
            if letters.len() >= self.mesh.limits.dead_letters.max(1) {
                letters.pop_front();
            }
            letters.push_back(letter);
        }
        self.mesh.room.notify_all();
    }

    pub(crate) fn attach(&mut self, bell: Arc<Doorbell>) {
        let mut state = self.mesh.state();
        state.bells.retain(|subscription| subscription.consumer != self.consumer);
        state.bells.push(Subscription { consumer: self.consumer, types: self.types.clone(), bell });
    }
}

impl Drop for LocalInlet {
    fn drop(&mut self) {
        let mut state = self.mesh.state();
        state.bells.retain(|subscription| subscription.consumer != self.consumer);
        if let Some(Group { pending, returned, .. }) = state.groups.get_mut(&self.engine) {
            returned.extend(
                pending.iter().filter(|(_, (owner, _))| *owner == self.consumer).map(|(key, _)| *key),
            );
        }
        for kind in &self.types {
            state.ring(*kind);
        }
    }
}
