//! Runs feeds into the engine: one thread each, paced by the recording's own clock or as fast as the platform takes it.
//!
//! The hub never waits for a reader of the star; a replay does, so that at full speed nobody misses a frame.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use nautilus_engine_marketdata::{Command, MarketdataEngine};
use nautilus_feeds::{Feed, FeedDescription, FileFeed, Progress, Read, Registry};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Frames, flags, header_mut};
use nautilus_service::{EngineHandle, Problem, wall_clock};
use serde::Serialize;
use utoipa::ToSchema;

/// Frames handed to the engine at once, at most.
const BATCH_FRAMES: usize = 512;
/// Hand-overs the engine may be behind before the feed waits.
const OUTSTANDING_MAX: u64 = 8;
/// How long a feed waits for a reader of the star that does not move before it goes on without it.
const READER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a stop waits for feeds: one may hang in its file.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How soon a waiting feed notices that it is to stop.
const CANCEL_NOTICE: Duration = Duration::from_millis(50);
/// Feeds running at the same time, and finished ones that are remembered.
const RUNNING_MAX: usize = 8;
const REMEMBERED_MAX: usize = 64;

/// How fast a feed runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the platform takes it.
    Max,
    /// So many times as fast as it was recorded.
    Times(f64),
    /// When the wall clock reaches an event's time; what is past already, at once, marked as a replay.
    Live,
}

impl std::str::FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(format!("speed '{text}' is neither 'max' nor a positive number of times real time")),
        }
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(times) => write!(f, "{times}"),
            Self::Live => f.write_str("live"),
        }
    }
}

/// Where a feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum FeedState {
    Running,
    Finished,
    Cancelled,
    Failed,
}

/// A feed that runs or has run.
#[derive(Debug)]
pub struct Job {
    /// Its number, from 1.
    pub id: u64,
    /// What it reads.
    pub description: FeedDescription,
    /// How fast.
    pub pace: Pace,
    cancel: AtomicBool,
    status: Mutex<(FeedState, Progress, Option<String>)>,
}

impl Job {
    /// State, progress and, where it failed, the reason.
    #[must_use]
    pub fn status(&self) -> (FeedState, Progress, Option<String>) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_running(&self) -> bool {
        self.status().0 == FeedState::Running
    }

    /// Asks the feed to stop.
    pub fn cancel(&self) {
        self.cancel.store(true, Relaxed);
    }

    fn set_progress(&self, progress: Progress) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).1 = progress;
    }

    fn end(&self, state: FeedState, reason: Option<String>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.0, status.2) = (state, reason);
        running_gauge().decrement(1.0);
    }
}

/// Every feed of the service.
#[derive(Debug, Clone)]
pub struct FeedManager {
    engine: EngineHandle<MarketdataEngine>,
    registry: Registry,
    star_capacity: u64,
    jobs: Arc<Mutex<BTreeMap<u64, Arc<Job>>>>,
    runtime: tokio::runtime::Handle,
}

impl FeedManager {
    /// Feeds go into `engine`; `star_capacity` is how many frames a reader of the star may fall behind.
    #[must_use]
    pub fn new(engine: EngineHandle<MarketdataEngine>, registry: Registry, star_capacity: usize) -> Self {
        let runtime = tokio::runtime::Handle::current();
        running_gauge().set(0.0);
        Self { engine, registry, star_capacity: star_capacity as u64, jobs: Arc::default(), runtime }
    }

    /// Who is who among the instruments.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Feeds that run or ran, oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Arc<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One feed.
    #[must_use]
    pub fn job(&self, id: u64) -> Option<Arc<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Opens a recording and starts to replay it.
    ///
    /// # Errors
    /// When the file cannot be read, an instrument of it is being fed already or too many feeds run.
    pub async fn replay(&self, path: PathBuf, pace: Pace) -> Result<Arc<Job>, Problem> {
        let registry = self.registry.clone();
        let opened = tokio::task::spawn_blocking(move || FileFeed::open(&path, &registry)).await;
        let opened =
            opened.map_err(|_| Problem::unprocessable("unreadable_file", "the file could not be read"))?;
        let feed = opened.map_err(|error| Problem::unprocessable("unreadable_file", error.to_string()))?;
        self.start(feed, pace)
    }

    /// Starts a feed. Instruments that were fed before start anew instead of adding up.
    ///
    /// # Errors
    /// When an instrument of it is being fed already, too many feeds run or the system refuses a thread.
    pub fn start(&self, feed: Box<dyn Feed>, pace: Pace) -> Result<Arc<Job>, Problem> {
        let job = self.remember(feed.as_ref(), pace)?;
        let runner = Runner {
            engine: self.engine.clone(),
            lag_limit: self.star_capacity / 4,
            batch: usize::try_from(self.star_capacity / 32)
                .map_or(BATCH_FRAMES, |share| share.min(BATCH_FRAMES)),
            job: Arc::clone(&job),
            sent: 0,
            fed_before: self.engine.progress().fed.load(Relaxed),
            out_of_patience: false,
            runtime: self.runtime.clone(),
        };
        let thread = std::thread::Builder::new().name(format!("feed-{}", job.id));
        let spawned = thread.spawn(move || {
            let job = Arc::clone(&runner.job);
            // A job whose thread is gone must not count as running: its instruments would stay taken.
            let ended = catch_unwind(AssertUnwindSafe(|| runner.run_to_end(feed)));
            match ended.unwrap_or_else(|_| Err("the feed broke; see the log".to_owned())) {
                Ok(state) => job.end(state, None),
                Err(reason) => job.end(FeedState::Failed, Some(reason)),
            }
        });
        match spawned {
            Ok(_) => Ok(job),
            Err(error) => {
                job.end(FeedState::Failed, Some(error.to_string()));
                Err(Problem::unavailable(
                    "no_thread",
                    "the system refused a thread for the feed; try again later",
                ))
            }
        }
    }

    /// Asks every feed to stop and waits until all have, but not for ever.
    pub async fn stop(&self) {
        let jobs = self.jobs();
        jobs.iter().for_each(|job| job.cancel());
        let ended = async {
            while jobs.iter().any(|job| job.is_running()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!("a feed did not stop in time");
        }
    }

    fn remember(&self, feed: &dyn Feed, pace: Pace) -> Result<Arc<Job>, Problem> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let running = || jobs.values().filter(|job| job.is_running());
        let symbols = &feed.description().symbols;
        if let Some(job) = running().find(|job| symbols.iter().any(|s| job.description.symbols.contains(s))) {
            let detail =
                format!("feed {} has instruments of this one; wait for its end or DELETE it", job.id);
            return Err(Problem::new(StatusCode::CONFLICT, "already_fed", detail));
        }
        if running().count() >= RUNNING_MAX {
            let detail = format!("{RUNNING_MAX} feeds are running; wait for one to end or DELETE one");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_feeds", detail));
        }
        while jobs.len() >= REMEMBERED_MAX {
            let Some(oldest) = jobs.values().find(|job| !job.is_running()).map(|job| job.id) else { break };
            jobs.remove(&oldest);
        }
        let id = jobs.last_key_value().map_or(1, |(last, _)| last + 1);
        let job = Arc::new(Job {
            id,
            description: feed.description().clone(),
            pace,
            cancel: AtomicBool::new(false),
            status: Mutex::new((FeedState::Running, feed.progress(), None)),
        });
        jobs.insert(id, Arc::clone(&job));
        running_gauge().increment(1.0);
        Ok(job)
    }
}

/// How many feeds run: without one, silence on the star is no alarm.
fn running_gauge() -> metrics::Gauge {
    metrics::gauge!("nautilus_feeds_running", "service" => EngineName::Marketdata.as_str())
}

/// The thread of one feed.
struct Runner {
    engine: EngineHandle<MarketdataEngine>,
    lag_limit: u64,
    /// What is outstanding at most must fit into the star beside what a reader may be behind.
    batch: usize,
    job: Arc<Job>,
    sent: u64,
    fed_before: u64,
    /// A reader did not move: it is not waited for again until it does.
    out_of_patience: bool,
    runtime: tokio::runtime::Handle,
}

impl Runner {
    /// Runs a feed from its first frame until its last one can be seen.
    fn run_to_end(mut self, feed: Box<dyn Feed>) -> Result<FeedState, String> {
        let ended = self.run(feed);
        // The queue is first in, first out: once this is answered, all frames are in and can be seen.
        let flushed = self.command(|| Command::Flush);
        let state = ended?;
        flushed.map(|()| state)
    }

    /// Has the engine carry out a command, waiting for room in its queue.
    fn command(&self, command: impl Fn() -> Command) -> Result<(), String> {
        loop {
            match self.runtime.block_on(self.engine.command(command())) {
                Err(problem) if problem.code() == "engine_busy" => std::thread::park_timeout(CANCEL_NOTICE),
                done => return done.map_err(|problem| problem.detail().to_owned()),
            }
        }
    }

    fn run(&mut self, mut feed: Box<dyn Feed>) -> Result<FeedState, String> {
        let mut frames = Vec::new();
        let mut clock = None;
        loop {
            frames.clear();
            let read = feed.read(self.batch, &mut frames).map_err(|error| error.to_string());
            // What was read before an error is good and goes in.
            match self.job.pace {
                Pace::Max => self.hand_over(&frames)?,
                Pace::Times(times) => {
                    let clock = clock.get_or_insert_with(|| Clock::recorded(&frames, times));
                    self.hand_over_paced(&frames, clock)?;
                }
                Pace::Live => {
                    let clock = clock.get_or_insert_with(Clock::live);
                    mark_past(&mut frames, clock.first_ns);
                    self.hand_over_paced(&frames, clock)?;
                }
            }
            self.job.set_progress(feed.progress());
            match read? {
                _ if self.job.cancel.load(Relaxed) => return Ok(FeedState::Cancelled),
                Read::End => return Ok(FeedState::Finished),
                Read::Frames => {}
            }
        }
    }

    fn hand_over(&mut self, frames: &[u8]) -> Result<(), String> {
        if frames.is_empty() {
            return Ok(());
        }
        self.wait_for_room()?;
        self.sent += 1;
        self.engine.feed(frames.to_vec()).map_err(|error| error.to_string())
    }

    /// Hands over frames when they are due.
    fn hand_over_paced(&mut self, frames: &[u8], clock: &Clock) -> Result<(), String> {
        let mut rest = frames;
        while !rest.is_empty() && !self.job.cancel.load(Relaxed) {
            let (due, wait) = clock.due(rest);
            let (now, later) = rest.split_at(due);
            self.hand_over(now)?;
            rest = later;
            if let Some(wait) = wait {
                std::thread::park_timeout(wait.min(CANCEL_NOTICE));
            }
        }
        Ok(())
    }

    /// Waits while the engine is too many hand-overs, or the slowest reader too many frames, behind.
    fn wait_for_room(&mut self) -> Result<(), String> {
        let progress = Arc::clone(self.engine.progress());
        let mut moved = Instant::now();
        let mut before = (u64::MAX, u64::MAX);
        loop {
            if !progress.running.load(Relaxed) {
                return Err("the engine has stopped".to_owned());
            }
            let behind = self.sent.saturating_sub(taken(&progress.fed, self.fed_before));
            let lag = progress.star_lag.load(Relaxed);
            if behind < OUTSTANDING_MAX && lag < self.lag_limit {
                self.out_of_patience = false;
                return Ok(());
            }
            if self.out_of_patience || self.job.cancel.load(Relaxed) {
                return Ok(());
            }
            if (behind, lag) != before {
                (moved, before) = (Instant::now(), (behind, lag));
            } else if moved.elapsed() > READER_PATIENCE {
                tracing::warn!(lag, "a reader of the star does not move; the replay goes on without it");
                self.out_of_patience = true;
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }
}

/// Hand-overs the engine took since the feed began. Other feeds count too, which only makes this one more patient.
fn taken(fed: &AtomicU64, before: u64) -> u64 {
    fed.load(Relaxed).saturating_sub(before)
}

/// Tells when an event is due: as long after the start as it lies behind the first one, divided by the speed.
#[derive(Debug)]
struct Clock {
    started: Instant,
    first_ns: u64,
    times: f64,
}

impl Clock {
    /// Starts with the first of these frames.
    fn recorded(frames: &[u8], times: f64) -> Self {
        let first_ns = Frames::new(frames).flatten().next().map_or(0, |frame| frame.header().ts_recv().0);
        Self { started: Instant::now(), first_ns, times }
    }

    /// Follows the wall clock.
    fn live() -> Self {
        Self { started: Instant::now(), first_ns: wall_clock().0, times: 1.0 }
    }

    /// How many bytes of whole frames are due now, and how long until the next frame is.
    fn due(&self, frames: &[u8]) -> (usize, Option<Duration>) {
        let now = Instant::now();
        let mut bytes = 0;
        for frame in Frames::new(frames) {
            // What does not decode goes on to the engine, which counts it.
            let Ok(frame) = frame else { return (frames.len(), None) };
            if let Some(early) = self.early(frame.header().ts_recv().0, now) {
                return (bytes, Some(early));
            }
            bytes += frame.as_bytes().len();
        }
        (bytes, None)
    }

    /// How long before its time an event is, if it is.
    #[allow(clippy::cast_precision_loss)]
    fn early(&self, ts_ns: u64, now: Instant) -> Option<Duration> {
        let after = ts_ns.saturating_sub(self.first_ns) as f64 / 1e9 / self.times;
        let due = Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX);
        due.checked_sub(now - self.started).filter(|early| !early.is_zero())
    }
}

/// Marks frames from before `start_ns` as a replay, so that their age does not count as latency.
fn mark_past(frames: &mut [u8], start_ns: u64) {
    let mut rest = frames;
    while let Ok(header) = header_mut(rest) {
        if header.ts_recv().0 < start_ns {
            *header = header.with_flags(flags::REPLAY);
        }
        let len = header.kind.len().min(rest.len());
        rest = &mut rest[len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_is_max_or_a_positive_number() {
        assert_eq!("max".parse(), Ok(Pace::Max));
        assert_eq!("2.5".parse(), Ok(Pace::Times(2.5)));
        for text in ["0", "-1", "NaN", "inf", "fast", ""] {
            assert!(text.parse::<Pace>().unwrap_err().contains("neither 'max'"), "{text}");
        }
    }

    /// Gives one frame and breaks, or hangs.
    struct Odd(FeedDescription, bool);

    impl Feed for Odd {
        fn read(&mut self, _: usize, _: &mut Vec<u8>) -> Result<Read, nautilus_feeds::FeedError> {
            assert!(self.1, "as the test asked");
            std::thread::sleep(Duration::from_millis(1));
            Ok(Read::Frames)
        }

        fn progress(&self) -> Progress {
            Progress::default()
        }

        fn description(&self) -> &FeedDescription {
            &self.0
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_instrument_has_one_feed_at_a_time_also_after_one_broke() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = nautilus_service::Config::default();
        config.store.url = format!("sqlite://{}", folder.path().join("test.db").display());
        let platform = nautilus_service::Platform::new(config);
        let connections = platform.connect(nautilus_messages::EngineName::Marketdata).await.unwrap();
        let engine = MarketdataEngine::new(nautilus_engine_marketdata::Config::default());
        let engine = nautilus_service::Shell::new(engine, &connections).unwrap().spawn().unwrap();
        let feeds = FeedManager::new(engine, Registry::new(), 1 << 16);
        let simulator = nautilus_feeds::Simulator::new(Default::default(), feeds.registry()).unwrap();
        let odd = |hangs| Box::new(Odd(simulator.description().clone(), hangs));
        let broken = feeds.start(odd(false), Pace::Max).unwrap();
        while broken.is_running() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(
            (broken.status().0, broken.status().2),
            (FeedState::Failed, Some("the feed broke; see the log".into()))
        );
        let running = feeds.start(odd(true), Pace::Max).unwrap();
        assert_eq!(feeds.start(odd(true), Pace::Max).unwrap_err().code(), "already_fed");
        feeds.stop().await;
        assert_eq!(running.status().0, FeedState::Cancelled);
    }

    #[test]
    fn events_are_due_by_the_recordings_clock() {
        let started = Instant::now();
        let clock = Clock { started, first_ns: 1_000, times: 2.0 };
        let second = Duration::from_secs(1);
        assert_eq!(clock.early(1_000 + 4_000_000_000, started), Some(2 * second));
        assert_eq!(clock.early(1_000 + 4_000_000_000, started + 2 * second), None);
        assert_eq!(clock.early(0, started), None);
    }
}
