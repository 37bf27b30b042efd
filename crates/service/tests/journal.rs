//! Engines that keep a journal: what was acknowledged outlives a crash, a refused checkpoint and a change of version; what
//! cannot be kept is not acknowledged, and an engine never starts with less.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nautilus_engine::{Effects, Engine, Input, RestoreError, Stamp};
use nautilus_messages::EngineName;
use nautilus_service::{Config, Connections, EngineHandle, Platform, Running, Shell, StartError};
use nautilus_types::{Symbol, UnixNanos};
use tempfile::TempDir;
use utoipa_axum::router::OpenApiRouter;
use xxhash_rust::xxh3::Xxh3Default;

const MIB: usize = 1 << 20;

/// An account: every deposit is a fact. Variant 2 has another layout of its snapshot.
#[derive(Debug, Default)]
struct Account<const VARIANT: u8> {
    deposits: u64,
    total: u64,
    /// Not part of the state.
    recovered: u64,
    no_room: bool,
}

enum Order {
    Deposit(u64),
    /// So many deposits of one, each in a fact of nearly a mebibyte.
    Flood(usize),
    Crash,
}

impl<const VARIANT: u8> Account<VARIANT> {
    fn deposit(&mut self, amount: u64) {
        self.deposits += 1;
        self.total += amount;
    }
}

impl<const VARIANT: u8> Engine for Account<VARIANT> {
    const NAME: EngineName = EngineName::Vpin;
    type Command = Order;
    type View = (u64, u64);

    fn step(&mut self, at: Stamp, input: Input<'_, Order>, out: &mut Effects) {
        let Input::Command(order) = input else { return };
        match order {
            Order::Deposit(_) if self.no_room => out.refuse("no_room", "the disk is full"),
            Order::Deposit(amount) => {
                self.deposit(amount);
                out.facts.push(at.now, |buffer| buffer.extend_from_slice(&amount.to_le_bytes()));
            }
            Order::Flood(facts) => {
                for _ in 0..facts {
                    self.deposit(1);
                    out.facts.push(at.now, |buffer| {
                        buffer.extend_from_slice(&1_u64.to_le_bytes());
                        buffer.resize(buffer.len() + MIB - 64, 0);
                    });
                }
            }
            Order::Crash => panic!("the engine crashes, as the test asked"),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        [&[VARIANT][..], &self.deposits.to_le_bytes(), &self.total.to_le_bytes()].concat()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let refuse = |reason: &str| RestoreError { engine: Self::NAME, reason: reason.to_owned() };
        if snapshot.len() != 17 || snapshot[0] != VARIANT {
            return Err(refuse("it is of another layout"));
        }
        let word = |at: usize| u64::from_le_bytes(snapshot[at..at + 8].try_into().unwrap());
        (self.deposits, self.total) = (word(1), word(9));
        Ok(())
    }

    fn recover(&mut self, at: UnixNanos, fact: &[u8]) -> Result<(), RestoreError> {
        assert!(at.0 > 0);
        let amount = u64::from_le_bytes(fact[..8].try_into().unwrap());
        self.deposit(amount);
        self.recovered += 1;
        Ok(())
    }

    fn journal_room(&mut self, has_room: bool) {
        self.no_room = !has_room;
    }

    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, (u64, u64))) {
        sink("ACCOUNT".parse().unwrap(), (self.deposits, self.total));
    }
}

/// One folder, in which a platform runs again and again.
struct Place(TempDir);

struct Run<const VARIANT: u8> {
    connections: Connections,
    handle: EngineHandle<Account<VARIANT>>,
    platform: Platform,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("journal/vpin").join(name)
    }

    fn checkpoint(&self) -> PathBuf {
        self.path("vpin.checkpoint")
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.store.url = format!("sqlite://{}", self.0.path().join("test.db").display());
        // The journal's own checkpoints do not depend on it.
        config.checkpoint.folder = PathBuf::new();
        config.checkpoint.interval_s = 86_400;
        config.journal.folder = self.0.path().join("journal");
        config.journal.segment_mib = 2;
        config.journal.keep_mib = 0;
        config.http.drain_timeout_ms = 60_000;
        config
    }

    async fn try_start<const VARIANT: u8>(&self, config: Config) -> Result<Run<VARIANT>, StartError> {
        let platform = Platform::new(config);
        let connections = platform.connect(EngineName::Vpin).await?;
        let shell = Shell::new(Account::<VARIANT>::default(), &connections)?.journal(&connections)?;
        Ok(Run { handle: shell.spawn()?, connections, platform })
    }

    /// The lock of a run that crashed is free when its thread has ended.
    async fn start_variant<const VARIANT: u8>(&self) -> Run<VARIANT> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.try_start(self.config()).await {
                Ok(run) => return run,
                Err(error) => {
                    let locked = error.to_string().ends_with("is open in another process");
                    assert!(locked && Instant::now() < deadline, "{error}");
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn start(&self) -> Run<1> {
        self.start_variant().await
    }

    /// Why the engine does not start.
    async fn refusal(&self) -> String {
        let Err(error) = self.try_start::<1>(self.config()).await else { panic!("it starts") };
        assert_eq!(error.exit_code(), 66);
        error.to_string()
    }

    /// A state of 6 deposits, whose first records are only in the checkpoint.
    async fn pruned(&self) {
        let run = self.start().await;
        run.deposit(10).await;
        run.handle.command(Order::Flood(5)).await.unwrap();
        assert!(self.path("00000000000000000001.segment").exists());
        run.stop().await;
        assert!(!self.path("00000000000000000001.segment").exists(), "the checkpoint contains it");
    }
}

impl<const VARIANT: u8> Run<VARIANT> {
    async fn deposit(&self, amount: u64) {
        self.handle.command(Order::Deposit(amount)).await.unwrap();
    }

    /// Deposits, their sum, and how many of them were taken from the journal.
    async fn state(&self) -> (u64, u64, u64) {
        self.handle.inspect(|engine| (engine.deposits, engine.total, engine.recovered)).await.unwrap()
    }

    async fn stop(self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = OpenApiRouter::new();
        Running::start(self.connections, listener, self.handle, "Account.", api).unwrap().stop().await;
    }

    async fn crash(self) {
        assert!(self.handle.command(Order::Crash).await.is_err());
        self.until_ended().await;
    }

    async fn until_ended(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.handle.progress().running.load(Relaxed) {
            assert!(Instant::now() < deadline, "the thread goes on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_crash() {
    let place = Place::new();
    let run = place.start().await;
    for amount in 1..=100 {
        run.deposit(amount).await;
    }
    run.crash().await;
    assert!(!place.checkpoint().exists(), "a crash writes nothing");
    let run = place.start().await;
    assert_eq!(run.state().await, (100, 5_050, 100));
    // Many at once share a wait for the disk.
    let more = (0..200).map(|_| {
        let handle = run.handle.clone();
        tokio::spawn(async move { handle.command(Order::Deposit(1)).await.is_ok() })
    });
    let mut acknowledged = 0;
    for more in more.collect::<Vec<_>>() {
        acknowledged += u64::from(more.await.unwrap());
    }
    assert!(acknowledged > 0);
    run.crash().await;
    let run = place.start().await;
    assert_eq!(run.state().await, (100 + acknowledged, 5_050 + acknowledged, 100 + acknowledged));
    // It is shown without a step.
    let deadline = Instant::now() + Duration::from_secs(60);
    while run.handle.views().is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(*run.handle.views().named("ACCOUNT").unwrap(), (100 + acknowledged, 5_050 + acknowledged));
    run.deposit(1).await;
    let text = run.connections.exporter.render("vpin");
    for series in [
        "nautilus_journal_commit_seconds_count{service=\"vpin\"}",
        "nautilus_journal_records_total{service=\"vpin\"}",
        "nautilus_journal_bytes{service=\"vpin\"}",
        "nautilus_journal_room{service=\"vpin\"}",
    ] {
        assert!(text.contains(series), "{series} is missing:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_leaves_a_checkpoint_and_only_what_is_behind_it_is_recovered() {
    let place = Place::new();
    let run = place.start().await;
    run.deposit(5).await;
    run.stop().await;
    assert!(place.checkpoint().exists());
    let run = place.start().await;
    assert_eq!(run.state().await, (1, 5, 0));
    run.deposit(6).await;
    run.crash().await;
    let run = place.start().await;
    assert_eq!(run.state().await, (2, 11, 1));
    let locked = place.refusal().await;
    assert!(locked.ends_with("is open in another process"), "{locked}");
    run.stop().await;
    assert_eq!(place.start().await.state().await, (2, 11, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_refused_is_made_good_from_the_journal_where_that_begins_with_record_one() {
    let place = Place::new();
    let run = place.start().await;
    run.deposit(5).await;
    run.deposit(6).await;
    run.stop().await;
    std::fs::write(place.checkpoint(), "no checkpoint").unwrap();
    let run = place.start().await;
    assert_eq!(run.state().await, (2, 11, 2));
    assert!(place.path("vpin.checkpoint.refused").exists());
    run.deposit(1).await;
    run.stop().await;
    // One of another layout of the engine's snapshot.
    let run: Run<2> = place.start_variant().await;
    assert_eq!(run.state().await, (3, 12, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_does_not_start_with_less_than_was_acknowledged() {
    let place = Place::new();
    place.pruned().await;
    let good = std::fs::read(place.checkpoint()).unwrap();
    let bad = [&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat();
    std::fs::write(place.checkpoint(), &bad).unwrap();
    let refused = place.refusal().await;
    assert!(
        refused.contains("its checksum does not fit its bytes, and its journal begins with"),
        "{refused}"
    );
    assert_eq!(std::fs::read(place.checkpoint()).unwrap(), bad, "it stays where it is");
    std::fs::remove_file(place.checkpoint()).unwrap();
    let missing = place.refusal().await;
    assert!(missing.contains("there is no checkpoint, and its journal begins with record"), "{missing}");
    std::fs::write(place.checkpoint(), &good).unwrap();
    let run = place.start().await;
    assert_eq!(run.state().await, (6, 15, 0));
    run.stop().await;
    // The journal is gone, or was never of this place.
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "segment") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let short = place.refusal().await;
    assert!(short.contains("the journal ends with record 0, and is known to have had record 6"), "{short}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_with_file_and_byte() {
    let place = Place::new();
    let run = place.start().await;
    run.deposit(5).await;
    run.deposit(6).await;
    run.stop().await;
    std::fs::remove_file(place.checkpoint()).unwrap();
    let file = place.path("00000000000000000001.segment");
    let mut bytes = std::fs::read(&file).unwrap();
    // The first record and both mirrors: else it is put back.
    for byte in [4_100, 36_870, 69_650] {
        bytes[byte] ^= 1;
    }
    std::fs::write(&file, bytes).unwrap();
    let damaged = place.refusal().await;
    let place = "00000000000000000001.segment is damaged at byte 69632, where record 1 should be";
    assert!(damaged.contains(place), "{damaged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_outlives_a_change_of_the_platforms_version() {
    let place = Place::new();
    place.pruned().await;
    let mut bytes = std::fs::read(place.checkpoint()).unwrap();
    // Thirty-two bytes, then the engine's name and the version, each behind its length.
    assert_eq!(bytes[32..37], *b"\x04vpin");
    let version = usize::from(bytes[37]);
    bytes[38..38 + version].fill(b'9');
    let mut hash = Xxh3Default::new();
    hash.update(&bytes[..24]);
    hash.update(&bytes[32..]);
    bytes[24..32].copy_from_slice(&hash.digest().to_le_bytes());
    std::fs::write(place.checkpoint(), bytes).unwrap();
    assert_eq!(place.start().await.state().await, (6, 15, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_not_acknowledged_and_stops_the_process() {
    let place = Place::new();
    let run = place.start().await;
    run.deposit(10).await;
    // The next segment cannot be begun.
    std::fs::remove_file(place.path("spare")).unwrap();
    std::fs::create_dir(place.path("spare")).unwrap();
    let failed = run.handle.command(Order::Flood(5)).await.unwrap_err();
    assert_eq!(failed.code(), "engine_stopped");
    run.until_ended().await;
    assert!(*run.platform.failed().borrow());
    assert_eq!(*run.handle.views().named("ACCOUNT").unwrap(), (1, 10), "nothing of the batch is shown");
    assert!(run.handle.inspect(|engine| engine.total).await.is_err());
    run.stop().await;
    assert!(!place.checkpoint().exists(), "it would contain what is not kept");
    std::fs::remove_dir(place.path("spare")).unwrap();
    let (deposits, total, _) = place.start().await.state().await;
    assert!((1..6).contains(&deposits) && total == 9 + deposits, "{deposits} deposits of {total}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_told_that_there_is_no_room() {
    let place = Place::new();
    place.start().await.stop().await;
    std::fs::remove_file(place.path("spare")).unwrap();
    std::fs::create_dir(place.path("spare")).unwrap();
    let run = place.start().await;
    let refused = run.handle.command(Order::Deposit(1)).await.unwrap_err();
    assert_eq!(refused.code(), "no_room");
    std::fs::remove_dir(place.path("spare")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while run.handle.command(Order::Deposit(1)).await.is_err() {
        assert!(Instant::now() < deadline, "there is room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(run.state().await, (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_with_facts_needs_a_journal() {
    let place = Place::new();
    let mut config = place.config();
    config.journal.folder = PathBuf::new();
    let Err(refused) = place.try_start::<1>(config).await else { panic!("it starts") };
    assert!(refused.to_string().starts_with("setting journal.folder: it must name a folder"), "{refused}");
    let platform = Platform::new(place.config());
    let connections = platform.connect(EngineName::Vpin).await.unwrap();
    let handle = Shell::new(Account::<1>::default(), &connections).unwrap().spawn().unwrap();
    assert!(handle.command(Order::Deposit(1)).await.is_err());
    assert!(*platform.failed().borrow());
}
