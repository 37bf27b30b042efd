//! The store's promises, each against SQLite and against a real PostgreSQL.

use std::future::Future;
use std::time::{Duration, Instant};

use nautilus_messages::EngineName;
use nautilus_messages::frame::BarUnit;
use nautilus_messages::mesh::Classification;
use nautilus_messages::record::{BarRecord, Record, SessionStatistics, Setting, VpinBucket};
use nautilus_store::{Store, StoreConfig, StoreError};
use nautilus_testkit::PostgresServer;
use nautilus_types::{AssetClass, Instrument, InstrumentId, Money, Price, Quantity, Symbol, UnixNanos};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one test against a fresh SQLite file and a fresh PostgreSQL database.
fn on_both<F: Future<Output = ()>>(test: impl Fn(String) -> F) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(test(format!("sqlite://{}", folder.path().join("new/folder/n.db").display())));
    let server = PostgresServer::shared();
    runtime.block_on(test(server.fresh_database()));
}

async fn open(url: &str) -> Store {
    Store::open(StoreConfig::new(url, "test")).await.unwrap()
}

/// Waits on a condition, with a deadline.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs SQL past the store.
async fn execute(url: &str, sql: &'static str) {
    if url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    } else {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    }
}

fn es() -> Symbol {
    "ESH4".parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn bar(ts_open: u64) -> BarRecord {
    BarRecord {
        instrument: es(),
        unit: BarUnit::Time,
        interval: 60_000_000_000,
        ts_open: UnixNanos(ts_open),
        ts_close: UnixNanos(ts_open + 60_000_000_000),
        open: price("4810.25"),
        high: price("4811"),
        low: price("-37.63"),
        close: price("4810.5"),
        vwap: Some(price("4810.123456789")),
        volume: Money::from_nanos(9_892_000_000_000),
        volume_buy: Money::from_nanos(1),
        volume_sell: Money::ZERO,
        trades: 17,
    }
}

fn instrument(symbol: &str, id: u32, class: AssetClass) -> Instrument {
    Instrument {
        id: InstrumentId(id),
        symbol: symbol.parse().unwrap(),
        venue: "GLBX".parse().unwrap(),
        class,
        currency: "USD".parse().unwrap(),
        tick: Price::from_nanos(1),
        lot: Quantity::MAX,
        multiplier: Quantity::from_units(50).unwrap(),
    }
}

fn statistics(day: u64) -> SessionStatistics {
    let largest = Money::MAX;
    SessionStatistics {
        instrument: es(),
        day: UnixNanos(day),
        trades: i64::MAX.unsigned_abs(),
        volume: largest,
        volume_buy: Money::from_nanos(-largest.nanos()),
        volume_sell: Money::ZERO,
        volume_unknown: Money::from_nanos(i128::from(i64::MAX) * 1_000),
        vwap: Price::MAX,
        low: Price::from_nanos(i64::MIN),
        high: Price::from_nanos(-1),
        first: price("0.000000001"),
        last: Price::ZERO,
    }
}

fn bucket(number: u64, vpin: Option<f64>) -> VpinBucket {
    VpinBucket {
        instrument: es(),
        classification: Classification::BulkStudentT,
        bucket: number,
        ts_close: UnixNanos(1_700_000_000_000_000_000),
        buy: 0.1 + 0.2,
        sell: f64::MIN_POSITIVE,
        vpin,
    }
}

fn setting(key: &str, value: &str) -> Setting {
    Setting { engine: EngineName::Vpin, key: key.into(), value: value.into() }
}

async fn bars(store: &Store) -> Vec<BarRecord> {
    let all = UnixNanos(u64::MAX);
    store.bars(es(), BarUnit::Time, 60_000_000_000, UnixNanos(0), all, 1_000_000).await.unwrap()
}

#[test]
fn every_record_comes_back_as_it_was_and_twice_changes_nothing() {
    on_both(|url| async move {
        let store = open(&url).await;
        let classes = [
            AssetClass::Unknown,
            AssetClass::Equity,
            AssetClass::Future,
            AssetClass::Option,
            AssetClass::Spread,
            AssetClass::Currency,
            AssetClass::Crypto,
        ];
        let instruments: Vec<Instrument> =
            (1..).zip(classes).map(|(id, c)| instrument(&format!("I{id}"), id, c)).collect();
        let units = [BarUnit::Time, BarUnit::Tick, BarUnit::Volume, BarUnit::Notional];
        let unit_bars = units.map(|unit| BarRecord { unit, interval: i64::MAX.unsigned_abs(), ..bar(0) });
        let buckets = [bucket(1, None), bucket(2, Some(1.0 / 3.0)), bucket(3, None)];
        let methods =
            Classification::ALL.map(|classification| VpinBucket { classification, ..bucket(9, None) });
        let settings = [setting("ESH4", "{\"window\":50,\"ü\":\"'; DROP\"}"), setting("", "")];
        let mut records: Vec<Record> = Vec::new();
        records.extend(instruments.iter().copied().map(Record::Instrument));
        records.extend(unit_bars.into_iter().chain([bar(0), bar(7)]).map(Record::Bar));
        records.extend([statistics(0), statistics(86_400)].map(Record::SessionStatistics));
        records.extend(buckets.into_iter().chain(methods).map(Record::VpinBucket));
        records.extend(settings.iter().cloned().map(Record::Setting));
        for _ in 0..2 {
            store.write(records.clone());
            store.flush(PATIENCE).await.unwrap();
        }
        assert_eq!(store.instruments().await.unwrap(), instruments);
        assert_eq!(bars(&store).await, [bar(0), bar(7)]);
        for expected in unit_bars {
            let (from, to) = (UnixNanos(0), UnixNanos(1));
            let found = store.bars(es(), expected.unit, expected.interval, from, to, 9).await.unwrap();
            assert_eq!(found, [expected]);
        }
        assert_eq!(store.session_statistics(es()).await.unwrap(), [statistics(0), statistics(86_400)]);
        let all = UnixNanos(u64::MAX);
        let of = |method| store.vpin_buckets(es(), method, UnixNanos(0), all, 100);
        let student: Vec<VpinBucket> = buckets.into_iter().chain([methods[1]]).collect();
        assert_eq!(of(Classification::BulkStudentT).await.unwrap(), student);
        assert_eq!(of(Classification::TickRule).await.unwrap(), [methods[3]]);
        assert_eq!(
            store.settings(EngineName::Vpin).await.unwrap(),
            [settings[1].clone(), settings[0].clone()]
        );
        assert_eq!(store.settings(EngineName::Marketdata).await.unwrap(), []);
        let health = store.health();
        assert!(health.is_up());
        assert_eq!((health.queued_rows, health.dropped_rows, health.rejected_rows), (0, 0, 0));
        store.close(PATIENCE).await.unwrap();
    });
}

#[test]
fn a_later_row_replaces_an_earlier_one_even_in_one_batch() {
    on_both(|url| async move {
        let store = open(&url).await;
        let later = BarRecord { close: price("1"), trades: 18, ..bar(0) };
        store.write([Record::Bar(bar(0)), Record::Bar(bar(7)), Record::Bar(later)]);
        store.write([setting("a", "1"), setting("a", "2")].map(Record::Setting));
        store.flush(PATIENCE).await.unwrap();
        assert_eq!(bars(&store).await, [later, bar(7)]);
        store.write([Record::Setting(setting("a", "3"))]);
        store.flush(PATIENCE).await.unwrap();
        assert_eq!(store.settings(EngineName::Vpin).await.unwrap(), [setting("a", "3")]);
    });
}

#[test]
fn a_limit_keeps_the_latest_oldest_first() {
    on_both(|url| async move {
        let store = open(&url).await;
        store.write((0..10).map(|ts| Record::Bar(bar(ts))));
        store.flush(PATIENCE).await.unwrap();
        let found =
            store.bars(es(), BarUnit::Time, 60_000_000_000, UnixNanos(2), UnixNanos(8), 3).await.unwrap();
        assert_eq!(found, [bar(5), bar(6), bar(7)]);
    });
}

#[test]
fn rows_survive_a_restart_and_migrations_apply_once() {
    on_both(|url| async move {
        for start in 0..3 {
            let store = open(&url).await;
            assert_eq!(bars(&store).await.len(), start);
            store.write([Record::Bar(bar(start as u64))]);
            store.close(PATIENCE).await.unwrap();
            store.write([Record::Bar(bar(99))]);
            assert_eq!(store.health().dropped_rows, 1, "a closed store takes nothing");
        }
    });
}

#[test]
fn dropping_the_last_handle_still_writes_what_was_queued() {
    on_both(|url| async move {
        let store = open(&url).await;
        store.write((0..5_000).map(|ts| Record::Bar(bar(ts))));
        drop(store);
        let store = open(&url).await;
        let deadline = Instant::now() + PATIENCE;
        while bars(&store).await.len() < 5_000 {
            assert!(Instant::now() < deadline, "the writer drains after the last handle is gone");
        }
    });
}

#[test]
fn a_schema_newer_than_the_build_is_refused() {
    on_both(|url| async move {
        open(&url).await.close(PATIENCE).await.unwrap();
        execute(
            &url,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 99, 'future', success, checksum, 0 FROM _sqlx_migrations",
        )
        .await;
        let error = Store::open(StoreConfig::new(&url, "test")).await.unwrap_err();
        assert!(matches!(error, StoreError::Schema { .. }), "{error}");
        assert!(error.to_string().contains("migration 99"), "{error}");
    });
}

#[test]
fn a_row_that_cannot_be_stored_does_not_hold_up_the_others() {
    on_both(|url| async move {
        let store = open(&url).await;
        execute(&url, "CREATE UNIQUE INDEX one_symbol_per_number ON instruments (id)").await;
        let number = |i: u32| if i == 500 { 7 } else { i };
        let row = |i| Record::Instrument(instrument(&format!("I{i}"), number(i), AssetClass::Future));
        let too_late = BarRecord { ts_close: UnixNanos(u64::MAX), ..bar(1) };
        let endless = VpinBucket { buy: f64::INFINITY, ..bucket(1, None) };
        store.write((0..1_500).map(row));
        store.write([Record::Bar(too_late), Record::VpinBucket(endless)]);
        store.write([Record::VpinBucket(bucket(1, Some(f64::NAN))), Record::Setting(setting("a\0", ""))]);
        store.write([Record::Bar(bar(0))]);
        store.flush(PATIENCE).await.unwrap();
        assert_eq!(store.instruments().await.unwrap().len(), 1_499);
        assert_eq!(bars(&store).await, [bar(0)]);
        let health = store.health();
        assert_eq!((health.rejected_rows, health.written_rows, health.queued_rows), (5, 1_500, 0));
        assert!(health.is_up());
    });
}

#[test]
fn two_stores_write_to_one_database_at_the_same_time() {
    on_both(|url| async move {
        // Opened together too, so that both find the schema missing.
        let (one, two) =
            tokio::join!(tokio::spawn(open_owned(url.clone())), tokio::spawn(open_owned(url.clone())));
        let (one, two) = (one.unwrap(), two.unwrap());
        for step in 0..20 {
            one.write((0..100).map(|i| Record::Bar(bar(step * 200 + i))));
            two.write((0..100).map(|i| Record::Bar(bar(step * 200 + 100 + i))));
        }
        one.flush(PATIENCE).await.unwrap();
        two.flush(PATIENCE).await.unwrap();
        assert_eq!(bars(&one).await.len(), 4_000);
        assert_eq!(one.health().rejected_rows + two.health().rejected_rows, 0);
    });
}

async fn open_owned(url: String) -> Store {
    open(&url).await
}

#[test]
fn a_hundred_thousand_rows_are_written_in_a_moment() {
    on_both(|url| async move {
        let store = open(&url).await;
        let started = Instant::now();
        store.write((0..100_000).map(|ts| Record::Bar(bar(ts))));
        let queued = started.elapsed();
        store.flush(PATIENCE).await.unwrap();
        let scheme = url.split(':').next().unwrap();
        println!("{scheme}: 100,000 bars queued in {queued:?}, committed after {:?}", started.elapsed());
        assert_eq!(bars(&store).await.len(), 100_000);
    });
}

#[test]
fn a_server_that_stops_costs_nothing_but_time() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut server = PostgresServer::start();
    let url = server.fresh_database();
    runtime.block_on(async {
        server.stop();
        // Down at the start already: not an error.
        let store = open(&url).await;
        assert!(!store.health().is_up());
        store.write((0..1_000).map(|ts| Record::Bar(bar(ts))));
        let error = store.flush(Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFlushed { queued_rows: 1_000, .. }), "{error}");
        server.start_again();
        store.flush(PATIENCE).await.unwrap();
        eventually("up after the first start", || store.health().is_up()).await;
        // Stopped in the middle of writing.
        for step in 1..=20_u64 {
            store.write((0..1_000).map(|ts| Record::Bar(bar(step * 1_000 + ts))));
            if step == 10 {
                server.stop();
            }
        }
        eventually("down when the server stops", || !store.health().is_up()).await;
        let error = store.instruments().await.unwrap_err();
        assert!(matches!(error, StoreError::Down { .. }), "{error}");
        server.start_again();
        store.flush(PATIENCE).await.unwrap();
        assert_eq!(bars(&store).await.len(), 21_000);
        let health = store.health();
        assert_eq!((health.dropped_rows, health.rejected_rows, health.written_rows), (0, 0, 21_000));
        // An idle store notices as well.
        server.stop();
        eventually("down while idle", || !store.health().is_up()).await;
        let started = Instant::now();
        assert!(store.close(Duration::from_millis(100)).await.is_ok(), "nothing is queued");
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn while_the_server_is_away_the_queue_is_bounded() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let nobody = format!("postgres://user:secret@127.0.0.1:{}/db", nautilus_testkit::free_port());
        let store = Store::open(StoreConfig { queue_limit: 5_000, ..StoreConfig::new(nobody, "test") })
            .await
            .unwrap();
        for step in 0..50 {
            store.write((0..1_000).map(|ts| Record::Bar(bar(step * 1_000 + ts))));
            store.write([Record::Setting(setting(&step.to_string(), "kept"))]);
        }
        let health = store.health();
        assert_eq!(health.dropped_rows, 45_000);
        assert_eq!(health.queued_rows, 5_050);
        let error = store.close(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("5050 rows") && !error.contains("secret"), "{error}");
    });
}

#[test]
fn a_server_that_refuses_is_an_error_that_says_so() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = PostgresServer::shared();
    runtime.block_on(async {
        let unknown = server.url().replace("/postgres", "/no_such_database");
        let error = Store::open(StoreConfig::new(unknown, "test")).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("no_such_database"), "{error}");
        let with_tls = format!("{}?sslmode=require", server.url());
        let error = Store::open(StoreConfig::new(with_tls, "test")).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    });
}

#[test]
fn a_sqlite_file_that_cannot_be_used_is_an_error_that_names_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    std::fs::write(&foreign, "no database at all, but long enough to be taken for one ".repeat(100)).unwrap();
    runtime.block_on(async {
        for path in [foreign.join("below/a/file.db"), folder.path().to_owned(), foreign.clone()] {
            let config = StoreConfig::new(format!("sqlite://{}", path.display()), "test");
            let error = Store::open(config).await.unwrap_err();
            assert!(matches!(error, StoreError::File { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    });
    assert!(std::fs::read_to_string(&foreign).unwrap().starts_with("no database"), "left as it was");
}

#[test]
fn a_sqlite_file_locked_by_another_process_catches_up() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("n.db").display());
    runtime.block_on(async {
        let store = open(&url).await;
        let other = sqlx::SqlitePool::connect(&url).await.unwrap();
        let lock = other.begin_with("BEGIN EXCLUSIVE").await.unwrap();
        store.write((0..10).map(|ts| Record::Bar(bar(ts))));
        eventually("down while locked", || !store.health().is_up()).await;
        assert_eq!(store.health().queued_rows, 10);
        lock.rollback().await.unwrap();
        store.flush(PATIENCE).await.unwrap();
        assert_eq!(bars(&store).await.len(), 10);
    });
}

/// A file system of 16 MiB at `folder`, where this machine lets one mount it.
#[cfg(target_os = "linux")]
fn small_disk(folder: &std::path::Path) -> bool {
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
        .arg(folder)
        .stderr(std::process::Stdio::null())
        .status();
    let mounted = mount.is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("\n!!! SKIPPED: mounting is not permitted, so no full disk was tried\n");
    }
    mounted
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_stops_nothing_and_catches_up_when_there_is_room() {
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    if !small_disk(folder.path()) {
        return;
    }
    let _unmount = Unmount(folder.path().to_owned());
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![1; 15 << 20]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(&format!("sqlite://{}", folder.path().join("n.db").display())).await;
        store.write((0..10_000).map(|ts| Record::Bar(bar(ts))));
        eventually("down when the disk is full", || !store.health().is_up()).await;
        assert!(store.health().queued_rows > 0);
        std::fs::remove_file(&ballast).unwrap();
        store.flush(PATIENCE).await.unwrap();
        assert_eq!(bars(&store).await.len(), 10_000);
        let health = store.health();
        assert!(health.is_up());
        assert_eq!((health.dropped_rows, health.rejected_rows), (0, 0));
    });
}
