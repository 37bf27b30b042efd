//! All topics, and the way of a publication from the engine's thread to the bells of those who listen. It encodes
//! nothing and never waits for a client.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nautilus_engine_websocket::{Publication, Topic, TopicPicture};
use nautilus_service::Problem;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::client::{Bell, Tap};
use crate::history::{Budget, Snapshot};
use crate::lanes::{PACES, TopicLanes};
use crate::settings::Settings;

/// How often, and how long apart, a busy engine is asked for a snapshot before the client is left to wait.
const ASK: (u32, Duration) = (20, Duration::from_millis(25));

/// Asks the engine for a topic's whole state; none for a topic that it does not know.
pub(crate) type Pictures = Box<dyn Fn(Topic) -> Picture + Send + Sync>;
pub(crate) type Picture = Pin<Box<dyn Future<Output = Result<Option<TopicPicture>, Problem>> + Send>>;

/// Every topic that was ever published or is listened to.
#[derive(Debug)]
pub(crate) struct FanOut {
    /// The engine's start, in milliseconds since 1970.
    pub(crate) epoch: u64,
    budget: Arc<Budget>,
    topics: RwLock<Topics>,
    /// Connections with wildcards: they want to hear of new topics.
    watchers: Mutex<BTreeMap<u64, Arc<Bell>>>,
    paces: [Pace; PACES.len()],
}

#[derive(Debug, Default)]
struct Topics {
    by_name: BTreeMap<String, Arc<TopicLanes>>,
    /// Those that were published, in that order. None is ever taken away.
    published: Vec<Topic>,
}

/// Topics whose conflated lane has something to send when the interval ends.
#[derive(Debug, Default)]
struct Pace {
    due: Mutex<Vec<Arc<TopicLanes>>>,
    any: Notify,
}

impl FanOut {
    pub(crate) fn new(epoch: u64, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            budget: Arc::new(Budget::new(settings)),
            topics: RwLock::default(),
            watchers: Mutex::default(),
            paces: Default::default(),
        })
    }

    /// Takes what the engine publishes, on the engine's thread.
    pub(crate) fn sink(self: &Arc<Self>) -> impl FnMut(&Publication) + Send + use<> {
        let this = Arc::clone(self);
        // Published topics stay, so that each is looked up by name only once.
        let mut known: HashMap<Topic, Arc<TopicLanes>> = HashMap::new();
        move |publication| {
            let topic = publication.topic;
            let lanes = known.entry(topic).or_insert_with(|| this.published(topic));
            let is_new = lanes.newest() == 0;
            let published = lanes.publish(publication, Instant::now());
            published.taps.iter().for_each(Tap::ring);
            for every_ms in published.due {
                this.will_flush(every_ms, lanes);
            }
            if is_new {
                lanes.ring_all();
                this.watchers().values().for_each(|bell| bell.announce_topics());
            }
        }
    }

    /// The topic, which from now on stays.
    fn published(&self, topic: Topic) -> Arc<TopicLanes> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.published.push(topic);
        let lanes = topics.entry(topic, self.epoch, &self.budget);
        lanes.stay();
        Arc::clone(lanes)
    }

    fn will_flush(&self, every_ms: u16, lanes: &Arc<TopicLanes>) {
        let Some(pace) = PACES.iter().position(|pace| *pace == every_ms).map(|at| &self.paces[at]) else {
            return;
        };
        pace.due.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(lanes));
        pace.any.notify_one();
    }

    /// One task per pace, which sleeps while nothing is due.
    pub(crate) fn keep_pace(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let start = tokio::time::Instant::now();
        let task = |(at, every_ms): (usize, u16)| {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                let pace = &this.paces[at];
                loop {
                    pace.any.notified().await;
                    let every = u64::from(every_ms);
                    let gone = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let next = (gone / every).saturating_add(1).saturating_mul(every);
                    tokio::time::sleep_until(start + Duration::from_millis(next)).await;
                    let due = std::mem::take(&mut *pace.due.lock().unwrap_or_else(PoisonError::into_inner));
                    for lanes in due {
                        lanes.flush(every_ms).iter().for_each(Tap::ring);
                    }
                }
            })
        };
        PACES.into_iter().enumerate().map(task).collect()
    }

    fn watchers(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Bell>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection wants to hear of new topics.
    pub(crate) fn watch(&self, client: u64, bell: &Arc<Bell>) {
        self.watchers().insert(client, Arc::clone(bell));
    }

    /// It no longer does.
    pub(crate) fn unwatch(&self, client: u64) {
        self.watchers().remove(&client);
    }

    /// The published topics from number `from` on, and how many there are.
    pub(crate) fn published_from(&self, from: usize) -> (Vec<Topic>, usize) {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        (topics.published.get(from..).unwrap_or_default().to_vec(), topics.published.len())
    }

    /// A page of the published topics, by name, from the first behind `after`.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<TopicLanes>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Unbounded, Excluded);
        let behind = topics.by_name.range::<str, _>((from, Unbounded)).map(|(_, lanes)| lanes);
        behind.filter(|lanes| lanes.newest() > 0).take(limit).cloned().collect()
    }

    /// Topics that there are, published or not.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).by_name.len()
    }

    /// Has a client listen to a topic, which need not have been published yet.
    pub(crate) fn open(&self, topic: Topic, tap: impl FnOnce(Arc<TopicLanes>) -> Arc<Tap>) -> Arc<Tap> {
        // Attached under the lock, so that nobody takes an unpublished topic away in between.
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let lanes = topics.entry(topic, self.epoch, &self.budget);
        let tap = tap(Arc::clone(lanes));
        lanes.attach(&tap);
        tap
    }

    /// Has a client listen no longer.
    pub(crate) fn close(&self, tap: &Arc<Tap>) {
        tap.close();
        tap.lanes.detach(tap);
        if tap.lanes.is_needed() {
            return;
        }
        // Asked again under the lock: in between somebody may have come, or the engine.
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if tap.lanes.is_needed() {
            return;
        }
        // Others that left at the same time may have taken it away already, and a newcomer made another.
        if topics.by_name.get(&tap.lanes.name).is_some_and(|lanes| Arc::ptr_eq(lanes, &tap.lanes)) {
            topics.by_name.remove(&tap.lanes.name);
        }
    }

    /// A snapshot that the kept updates follow on: the newest one made, or a new one. Clients that ask at the same
    /// time share one question to the engine.
    pub(crate) async fn snapshot(
        &self,
        lanes: &TopicLanes,
        pictures: &Pictures,
    ) -> Result<Option<Arc<Snapshot>>, Problem> {
        if let Some(snapshot) = lanes.snapshot() {
            return Ok(Some(snapshot));
        }
        let _turn = lanes.asking.lock().await;
        if let Some(snapshot) = lanes.snapshot() {
            return Ok(Some(snapshot));
        }
        let (times, pause) = ASK;
        let mut asked = 1;
        let picture = loop {
            match pictures(lanes.topic).await {
                Ok(picture) => break picture,
                Err(problem) if asked == times => return Err(problem),
                Err(_) => tokio::time::sleep(pause).await,
            }
            asked += 1;
        };
        Ok(picture.map(|picture| {
            let snapshot = Arc::new(Snapshot::new(picture));
            lanes.keep(&snapshot);
            snapshot
        }))
    }
}

impl Topics {
    fn entry(&mut self, topic: Topic, epoch: u64, budget: &Arc<Budget>) -> &Arc<TopicLanes> {
        let lanes = || Arc::new(TopicLanes::new(topic, epoch, Arc::clone(budget)));
        self.by_name.entry(topic.to_string()).or_insert_with(lanes)
    }
}

#[cfg(test)]
mod tests {
    use nautilus_types::UnixNanos;

    use super::*;
    use crate::history::tests::change;
    use crate::wishes::Options;

    #[test]
    fn two_who_leave_at_once_take_nothing_from_a_newcomer() {
        let fan_out = FanOut::new(7, &Settings::default());
        let topic: Topic = "system.vpin".parse().unwrap();
        let open = || {
            let bell = Arc::new(Bell::default());
            let tap = fan_out.open(topic, |lanes| Tap::new(lanes, Options::default(), Arc::clone(&bell)));
            (tap, bell)
        };
        let ((first, _), (second, _)) = (open(), open());
        // The second has left too when the first finds that nobody is there.
        second.lanes.detach(&second);
        fan_out.close(&first);
        let (_newcomer, bell) = open();
        fan_out.close(&second);
        let change = Arc::new(change(1));
        fan_out.sink()(&Publication { topic, seq: 1, prev_seq: 0, ts: UnixNanos(1), change });
        assert_eq!(bell.ready().len(), 1, "it hears of the first publication");
    }
}
