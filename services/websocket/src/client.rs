//! What the rest of the service knows of a connected client: its counters, its bell and its taps into topics. The
//! connection's own task does everything else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nautilus_engine_websocket::Topic;
use nautilus_types::UnixNanos;
use tokio::sync::Notify;

use crate::lanes::TopicLanes;
use crate::wishes::Options;

/// No number: the client has no snapshot yet.
const NOWHERE: u64 = u64::MAX;

/// Wakes a connection and tells it where there is something to fetch.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: Notify,
    /// None once the connection is gone.
    ready: Mutex<Option<Vec<Arc<Tap>>>>,
    new_topics: AtomicBool,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: Notify::new(), ready: Mutex::new(Some(Vec::new())), new_topics: AtomicBool::new(false) }
    }
}

impl Bell {
    /// There are topics that were not there before.
    pub(crate) fn announce_topics(&self) {
        if !self.new_topics.swap(true, Relaxed) {
            self.rung.notify_one();
        }
    }

    /// Whether there are, since this was last asked.
    pub(crate) fn has_new_topics(&self) -> bool {
        self.new_topics.load(Relaxed) && self.new_topics.swap(false, Relaxed)
    }

    pub(crate) async fn rung(&self) {
        self.rung.notified().await;
    }

    /// The taps that have rung since this was last asked, each once.
    pub(crate) fn ready(&self) -> Vec<Arc<Tap>> {
        let ready = self.lock().as_mut().map(std::mem::take).unwrap_or_default();
        // From here on they may ring again; whatever came before is fetched now.
        ready.iter().for_each(|tap| tap.queued.store(false, Relaxed));
        ready
    }

    /// The connection is gone: what still rings is let go, and what had rung as well.
    fn retire(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Arc<Tap>>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place in a topic.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) lanes: Arc<TopicLanes>,
    pub(crate) every_ms: u16,
    pub(crate) checksum: bool,
    bell: Arc<Bell>,
    /// The number up to which the client has everything.
    seq: AtomicU64,
    /// Updates up to here were there before the client: being behind them is not being slow.
    began: AtomicU64,
    queued: AtomicBool,
    closed: AtomicBool,
}

impl Tap {
    pub(crate) fn new(lanes: Arc<TopicLanes>, options: Options, bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self {
            every_ms: options.conflate_ms,
            checksum: options.checksum,
            bell,
            seq: AtomicU64::new(NOWHERE),
            began: AtomicU64::new(lanes.newest()),
            queued: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            lanes,
        })
    }

    /// There is something to fetch.
    pub(crate) fn ring(self: &Arc<Self>) {
        // A store first would share the cache line for nothing: most rings find it rung already.
        if self.queued.load(Relaxed) || self.queued.swap(true, Relaxed) {
            return;
        }
        if let Some(ready) = &mut *self.bell.lock() {
            ready.push(Arc::clone(self));
        }
        self.bell.rung.notify_one();
    }

    /// Where the client is; none while it waits for a snapshot.
    pub(crate) fn seq(&self) -> Option<u64> {
        Some(self.seq.load(Relaxed)).filter(|seq| *seq != NOWHERE)
    }

    pub(crate) fn advance(&self, seq: u64) {
        self.seq.store(seq, Relaxed);
    }

    /// The client needs a snapshot.
    pub(crate) fn start_over(&self) {
        self.began.store(self.lanes.newest(), Relaxed);
        self.seq.store(NOWHERE, Relaxed);
    }

    /// Whether being behind is the client's fault.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.seq.load(Relaxed) >= self.began.load(Relaxed)
    }

    pub(crate) fn close(self: &Arc<Self>) {
        self.closed.store(true, Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Updates that wait for the client.
    fn lag(&self) -> u64 {
        // Whatever waits has rung.
        let seq = self.seq().filter(|_| self.queued.load(Relaxed));
        seq.map_or(0, |seq| self.lanes.waiting(self.every_ms, seq))
    }
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) key: Option<String>,
    pub(crate) since: UnixNanos,
    pub(crate) bell: Arc<Bell>,
    /// Wildcards and topics subscribed to.
    pub(crate) subscriptions: AtomicUsize,
    /// Messages sent.
    pub(crate) messages: AtomicU64,
    /// Bytes of these messages.
    pub(crate) bytes: AtomicU64,
    /// How often a topic was slowed down for it.
    pub(crate) conflated: AtomicU64,
    /// How often it needed a fresh snapshot.
    pub(crate) resynchronised: AtomicU64,
    /// Messages of its own that were refused.
    pub(crate) refused: AtomicU64,
    taps: Mutex<BTreeMap<Topic, Arc<Tap>>>,
}

impl Client {
    pub(crate) fn new(id: u64, address: Option<SocketAddr>, key: Option<String>, since: UnixNanos) -> Self {
        Self {
            id,
            address,
            key,
            since,
            bell: Arc::default(),
            subscriptions: AtomicUsize::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            conflated: AtomicU64::new(0),
            resynchronised: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            taps: Mutex::default(),
        }
    }

    pub(crate) fn taps(&self) -> MutexGuard<'_, BTreeMap<Topic, Arc<Tap>>> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is gone. Returns the taps it had.
    pub(crate) fn retire(&self) -> Vec<Arc<Tap>> {
        self.bell.retire();
        std::mem::take(&mut *self.taps()).into_values().collect()
    }

    /// Updates that wait for it in the topic furthest behind.
    pub(crate) fn lag(&self) -> u64 {
        self.taps().values().map(|tap| tap.lag()).max().unwrap_or(0)
    }
}
