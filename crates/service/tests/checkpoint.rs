//! Engines that keep checkpoints: a restart, a crash, files that are not right, streams and hubs that went on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nautilus_bus::{RedisStar, Star, StarPublisher};
use nautilus_engine::{Effects, Engine, Input, RestoreError, Stamp, replay};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{FrameRef, Header, Kind, Trade, WireSide};
use nautilus_service::config::Transport;
use nautilus_service::{Config, Connections, EngineHandle, Platform, Running, Shell};
use nautilus_testkit::RedisServer;
use nautilus_types::{InstrumentId, Symbol, UnixNanos};
use tempfile::TempDir;
use utoipa_axum::router::OpenApiRouter;

/// What the engine was handed, in order; runs of frames with their first and last number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Frames(u64, u64),
    Gap(u64, u64),
    Restart,
}

/// Counts and sums frames per instrument, and chains their numbers, so that none can be missing, twice or out of order.
/// Variant 2 is another version of the same engine, variant 3 another engine.
#[derive(Debug, Default)]
struct Sums<const VARIANT: u8> {
    instruments: BTreeMap<u32, (u64, u64, u64)>,
    lost: u64,
    index: u64,
    /// Not part of the state.
    heard: Vec<Heard>,
}

type Engine1 = Sums<1>;

enum Order {
    Crash,
}

impl<const VARIANT: u8> Engine for Sums<VARIANT> {
    const NAME: EngineName = if VARIANT == 3 { EngineName::Marketdata } else { EngineName::Vpin };
    type Command = Order;
    type View = ();

    fn step(&mut self, at: Stamp, input: Input<'_, Order>, _: &mut Effects) {
        self.index = at.index;
        match input {
            Input::Frame(FrameRef::Gap(gap)) => {
                self.lost += gap.lost();
                self.heard.push(Heard::Gap(gap.first_missing.get(), gap.last_missing.get()));
            }
            Input::Frame(frame) => {
                let header = frame.header();
                let number = frame_number(&frame);
                let (count, sum, chain) = self.instruments.entry(header.instrument().0).or_default();
                *count += 1;
                *sum += number;
                *chain = chain.wrapping_mul(0x0100_0000_01b3).wrapping_add(number + 1);
                match self.heard.last_mut() {
                    Some(Heard::Frames(_, last)) if *last + 1 == number => *last = number,
                    _ => self.heard.push(Heard::Frames(number, number)),
                }
            }
            Input::HubRestarted => self.heard.push(Heard::Restart),
            Input::Message(_) => {}
            Input::Command(Order::Crash) => panic!("the engine crashes, as the test asked"),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        postcard::to_allocvec(&(VARIANT, &self.instruments, self.lost, self.index)).unwrap()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let refuse = |reason: &str| RestoreError { engine: Self::NAME, reason: reason.to_owned() };
        let (variant, instruments, lost, index): (u8, _, _, _) =
            postcard::from_bytes(snapshot).map_err(|_| refuse("it does not decode"))?;
        if variant != VARIANT {
            return Err(refuse("it is of another version"));
        }
        *self = Self { instruments, lost, index, heard: Vec::new() };
        Ok(())
    }

    fn publish(&mut self, _: &mut dyn FnMut(Symbol, ())) {}
}

/// Frames of three instruments; each carries its position in the hub's numbering as its trade id.
fn frames(positions: Range<u64>) -> Vec<u8> {
    let frame = |position: u64| {
        let id = InstrumentId(u32::try_from(position % 3).unwrap() + 1);
        let header = Header::new(Kind::Trade, id, position / 3 + 1, UnixNanos(position), UnixNanos(position));
        let trade = Trade {
            header,
            price_nanos: 1.into(),
            quantity_nanos: 1.into(),
            trade_id: position.into(),
            aggressor: WireSide::None,
            reserved: [0; 7],
        };
        trade.to_bytes().to_vec()
    };
    positions.flat_map(frame).collect()
}

fn frame_number(frame: &FrameRef<'_>) -> u64 {
    let FrameRef::Trade(trade) = frame else { panic!("{frame:?}") };
    trade.trade_id.get()
}

/// The digest of an engine that was never interrupted.
fn uninterrupted(positions: Range<u64>) -> u64 {
    let plan = replay::Plan { batch: 1_000, restart_every: None };
    replay::run(Engine1::default, &frames(positions), plan).unwrap().digest
}

/// One folder, in which a platform runs again and again.
struct Place {
    folder: TempDir,
    redis: Option<RedisServer>,
}

/// An engine that runs.
struct Run<const VARIANT: u8> {
    connections: Connections,
    handle: EngineHandle<Sums<VARIANT>>,
    _platform: Platform,
}

impl Place {
    fn over_redis() -> Self {
        Self { redis: Some(RedisServer::start()), ..Self::local() }
    }

    fn local() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), redis: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("checkpoints").join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("vpin.checkpoint")
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.store.url = format!("sqlite://{}", self.folder.path().join("test.db").display());
        config.checkpoint.folder = self.folder.path().join("checkpoints");
        config.checkpoint.interval_s = 86_400;
        config.http.drain_timeout_ms = 60_000;
        if let Some(redis) = &self.redis {
            config.bus.market_data.transport = Transport::Redis;
            config.bus.market_data.url = redis.url();
        }
        config
    }

    async fn hub(&self, epoch: u64) -> StarPublisher {
        self.hub_with(epoch, RedisStar::default()).await
    }

    async fn hub_with(&self, epoch: u64, star: RedisStar) -> StarPublisher {
        let url = self.redis.as_ref().unwrap().url().as_str().into();
        Star::redis(RedisStar { url, ..star }, "hub").await.unwrap().publisher(epoch).unwrap()
    }

    async fn start(&self) -> Run<1> {
        self.start_on(Platform::new(self.config())).await
    }

    async fn start_on<const VARIANT: u8>(&self, platform: Platform) -> Run<VARIANT> {
        let connections = platform.connect(Sums::<VARIANT>::NAME).await.unwrap();
        let shell = Shell::new(Sums::<VARIANT>::default(), &connections).unwrap();
        let handle = shell.checkpoint(&connections).follow_star(&connections).spawn().unwrap();
        Run { connections, handle, _platform: platform }
    }
}

impl<const VARIANT: u8> Run<VARIANT> {
    async fn heard(&self) -> Vec<Heard> {
        self.handle.inspect(|engine| engine.heard.clone()).await.unwrap()
    }

    async fn digest(&self) -> u64 {
        self.handle.inspect(Engine::digest).await.unwrap()
    }

    /// Waits until the engine has heard this and nothing else.
    async fn until_heard(&self, expected: &[Heard]) {
        until_is(expected, async || self.heard().await).await;
    }

    /// The orderly stop of a service.
    async fn stop(self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = OpenApiRouter::new();
        Running::start(self.connections, listener, self.handle, "Sums.", api).unwrap().stop().await;
    }

    /// The engine's thread ends in the middle of a step.
    async fn crash(self) {
        assert!(self.handle.command(Order::Crash).await.is_err());
        let progress = self.handle.progress().clone();
        until_is(&false, async || progress.running.load(Relaxed)).await;
    }
}

async fn until_is<T, U>(expected: &T, mut now: impl AsyncFnMut() -> U)
where
    T: std::fmt::Debug + ?Sized,
    U: std::fmt::Debug + std::borrow::Borrow<T>,
    T: PartialEq,
{
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = now().await;
        if found.borrow() == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn publish(hub: &mut StarPublisher, positions: Range<u64>) {
    hub.publish(&frames(positions));
    assert!(hub.flush(Duration::from_secs(60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_stopped_and_started_is_as_if_it_had_never_been() {
    use Heard::Frames;
    let place = Place::over_redis();
    let mut hub = place.hub(1).await;
    let run = place.start().await;
    publish(&mut hub, 0..1_000).await;
    run.until_heard(&[Frames(0, 999)]).await;
    assert!(!place.file().exists(), "the interval is a day");
    run.stop().await;
    publish(&mut hub, 1_000..1_500).await;
    let run = place.start().await;
    run.until_heard(&[Frames(1_000, 1_499)]).await;
    publish(&mut hub, 1_500..1_600).await;
    run.until_heard(&[Frames(1_000, 1_599)]).await;
    assert_eq!(run.digest().await, uninterrupted(0..1_600));
    let progress = run.handle.progress().clone();
    until_is(&600, async || progress.steps.load(Relaxed)).await;
    assert_eq!((progress.star_read.load(Relaxed), progress.star_lost.load(Relaxed)), (1_600, 0));
    run.stop().await;
    // With nothing new there is no new checkpoint.
    let written = std::fs::metadata(place.file()).unwrap().modified().unwrap();
    let run = place.start().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((run.heard().await, run.digest().await), (Vec::new(), uninterrupted(0..1_600)));
    run.stop().await;
    assert_eq!(std::fs::metadata(place.file()).unwrap().modified().unwrap(), written);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_nothing_is_lost_and_nothing_counts_twice() {
    use Heard::Frames;
    let place = Place::over_redis();
    let mut hub = place.hub(1).await;
    let mut every_second = place.config();
    every_second.checkpoint.interval_s = 1;
    let run: Run<1> = place.start_on(Platform::new(every_second)).await;
    publish(&mut hub, 0..700).await;
    run.until_heard(&[Frames(0, 699)]).await;
    until_is(&true, async || place.file().exists()).await;
    let text = run.connections.exporter.render("vpin");
    for series in [
        "nautilus_checkpoint_seconds_count{service=\"vpin\",part=\"snapshot\"}",
        "nautilus_checkpoint_seconds_count{service=\"vpin\",part=\"write\"}",
        "nautilus_checkpoint_bytes{service=\"vpin\"}",
        "nautilus_checkpoint_failures_total{service=\"vpin\"}",
        "nautilus_checkpoint_skipped_total{service=\"vpin\"}",
        "nautilus_checkpoint_last_success_timestamp_seconds{service=\"vpin\"}",
    ] {
        assert!(text.contains(series), "{series} is missing:\n{text}");
    }
    let checkpoint = std::fs::read(place.file()).unwrap();
    publish(&mut hub, 700..1_000).await;
    run.until_heard(&[Frames(0, 999)]).await;
    run.crash().await;
    // As if the crash had come before any later checkpoint; one may still be on its way to the disk.
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::write(place.file(), checkpoint).unwrap();
    publish(&mut hub, 1_000..1_200).await;
    let run = place.start().await;
    until_is(&uninterrupted(0..1_200), async || run.digest().await).await;
    let heard = run.heard().await;
    let [Frames(first, 1_199)] = heard[..] else { panic!("{heard:?}") };
    assert!(first <= 700, "what was stepped after the checkpoint comes again, from {first} on");
    run.crash().await;
    // A crash writes nothing.
    let names: Vec<_> =
        std::fs::read_dir(place.path("")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["vpin.checkpoint"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_right_are_put_aside_and_the_engine_starts_afresh() {
    let place = Place::over_redis();
    let mut hub = place.hub(1).await;
    publish(&mut hub, 0..100).await;
    let fresh = async || {
        let run = place.start().await;
        run.until_heard(&[Heard::Frames(0, 99)]).await;
        assert_eq!(run.digest().await, uninterrupted(0..100));
        run.stop().await;
    };
    fresh().await;
    let good = std::fs::read(place.file()).unwrap();
    let flipped = |byte: usize| {
        let mut bytes = good.clone();
        bytes[byte] ^= 0x10;
        bytes
    };
    let refused = place.path("vpin.checkpoint.refused");
    for bad in [
        good[..good.len() - 1].to_vec(),
        good[..40].to_vec(),
        Vec::new(),
        b"not a checkpoint at all, but longer than one's beginning".to_vec(),
        flipped(3),
        flipped(9),
        flipped(14),
        flipped(20),
        flipped(40),
        flipped(good.len() - 3),
    ] {
        std::fs::write(place.file(), &bad).unwrap();
        fresh().await;
        assert_eq!(std::fs::read(&refused).unwrap(), bad, "only the newest is kept");
        assert_eq!(std::fs::read(place.file()).unwrap().len(), good.len(), "a good one is in its place");
    }
    // One that another version of the engine made.
    std::fs::remove_file(&refused).unwrap();
    let run: Run<2> = place.start_on(Platform::new(place.config())).await;
    run.until_heard(&[Heard::Frames(0, 99)]).await;
    assert!(refused.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_engine_is_refused() {
    let place = Place::local();
    let run = place.start().await;
    let mut hub = run.connections.star.publisher(1).unwrap();
    hub.publish(&frames(0..10));
    run.until_heard(&[Heard::Frames(0, 9)]).await;
    run.stop().await;
    std::fs::rename(place.file(), place.path("marketdata.checkpoint")).unwrap();
    let run: Run<3> = place.start_on(Platform::new(place.config())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((run.heard().await, run.digest().await), (Vec::new(), Sums::<3>::default().digest()));
    assert!(place.path("marketdata.checkpoint.refused").exists());
    run.stop().await;
    assert!(!place.path("marketdata.checkpoint").exists(), "nothing was stepped");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_the_stream_no_longer_has_are_reported_exactly() {
    use Heard::{Frames, Gap};
    let place = Place::over_redis();
    let small = RedisStar { max_len: 20, batch_frames: 1, ..RedisStar::default() };
    let mut hub = place.hub_with(1, small).await;
    let run = place.start().await;
    for start in 0..10 {
        publish(&mut hub, 10 * start..10 * start + 10).await;
        run.until_heard(&[Frames(0, 10 * start + 9)]).await;
    }
    run.stop().await;
    publish(&mut hub, 100..2_000).await;
    let run = place.start().await;
    let progress = run.handle.progress().clone();
    until_is(&2_000, async || progress.star_read.load(Relaxed)).await;
    let heard = run.heard().await;
    let [Gap(100, last), Frames(first, 1_999)] = heard[..] else { panic!("{heard:?}") };
    assert_eq!(first, last + 1, "what is not reported as lost is there");
    assert!(last > 1_000, "the test wants a stream that is short: {heard:?}");
    assert_eq!(progress.star_lost.load(Relaxed), last - 99);
    let (count, lost) = run.handle.inspect(counts).await.unwrap();
    assert_eq!((count + lost, lost), (2_000, last - 99));
}

fn counts(engine: &Engine1) -> (u64, u64) {
    (engine.instruments.values().map(|(count, ..)| count).sum(), engine.lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_former_hub_comes_before_the_news_of_its_restart() {
    use Heard::{Frames, Restart};
    let place = Place::over_redis();
    let mut hub = place.hub(10).await;
    let run = place.start().await;
    publish(&mut hub, 0..100).await;
    run.until_heard(&[Frames(0, 99)]).await;
    run.stop().await;
    publish(&mut hub, 100..150).await;
    drop(hub);
    publish(&mut place.hub(11).await, 0..30).await;
    let run = place.start().await;
    run.until_heard(&[Frames(100, 149), Restart, Frames(0, 29)]).await;
    assert_eq!(run.handle.progress().star_lost.load(Relaxed), 0);
    // Once more, from within the new hub's frames.
    run.stop().await;
    let run = place.start().await;
    publish(&mut place.hub(12).await, 0..5).await;
    run.until_heard(&[Restart, Frames(0, 4)]).await;
    assert_eq!(run.handle.inspect(counts).await.unwrap(), (185, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_with_a_hub_of_its_own_passes_over_the_rest_of_the_former() {
    use Heard::{Frames, Restart};
    let place = Place::over_redis();
    let mut hub = place.hub(10).await;
    let run = place.start().await;
    publish(&mut hub, 0..100).await;
    run.until_heard(&[Frames(0, 99)]).await;
    run.stop().await;
    publish(&mut hub, 100..150).await;
    drop(hub);
    let run: Run<1> = place.start_on(Platform::new(place.config()).with_hubs_since(11)).await;
    publish(&mut place.hub(11).await, 0..30).await;
    run.until_heard(&[Restart, Frames(0, 29)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_hub_counts_anew_and_the_engine_is_told_first() {
    use Heard::{Frames, Restart};
    let place = Place::local();
    let run = place.start().await;
    let mut hub = run.connections.star.publisher(1).unwrap();
    hub.publish(&frames(0..100));
    run.until_heard(&[Frames(0, 99)]).await;
    run.stop().await;
    let platform = Platform::new(place.config());
    // The new hub is there before the engine.
    let mut hub = platform.connect(EngineName::Vpin).await.unwrap().star.publisher(2).unwrap();
    hub.publish(&frames(0..50));
    let run: Run<1> = place.start_on(platform).await;
    run.until_heard(&[Restart, Frames(0, 49)]).await;
    assert_eq!(run.handle.inspect(counts).await.unwrap(), (150, 0));
    run.stop().await;
    // A change of the transport is a change of the hub.
    let place = Place { redis: Some(RedisServer::start()), ..place };
    publish(&mut place.hub(3).await, 0..7).await;
    let run = place.start().await;
    run.until_heard(&[Restart, Frames(0, 6)]).await;
    assert_eq!(run.handle.inspect(counts).await.unwrap(), (157, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_input_or_without_a_folder_there_is_no_checkpoint() {
    let place = Place::local();
    place.start().await.stop().await;
    assert!(!place.file().exists());
    let mut config = place.config();
    config.checkpoint.folder = PathBuf::new();
    let run: Run<1> = place.start_on(Platform::new(config)).await;
    let mut hub = run.connections.star.publisher(1).unwrap();
    hub.publish(&frames(0..10));
    run.until_heard(&[Heard::Frames(0, 9)]).await;
    run.stop().await;
    assert!(!place.file().exists());
    assert!(!std::path::Path::new("vpin.checkpoint").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_told_and_the_engine_goes_on() {
    let place = Place::local();
    std::fs::write(place.folder.path().join("checkpoints"), "a file where the folder should be").unwrap();
    let mut config = place.config();
    config.checkpoint.interval_s = 1;
    // Its name has series of its own in this process.
    let run: Run<3> = place.start_on(Platform::new(config)).await;
    let mut hub = run.connections.star.publisher(1).unwrap();
    hub.publish(&frames(0..10));
    run.until_heard(&[Heard::Frames(0, 9)]).await;
    let failed = async || {
        let text = run.connections.exporter.render("marketdata");
        let value = text.lines().find_map(|line| {
            line.strip_prefix("nautilus_checkpoint_failures_total{service=\"marketdata\"} ")
        });
        value.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
    };
    // It is tried again although nothing was stepped since.
    let before = failed().await;
    until_is(&true, async || failed().await >= before + 2).await;
    hub.publish(&frames(10..20));
    run.until_heard(&[Heard::Frames(0, 19)]).await;
    run.stop().await;
}
