//! What only a server in between can do wrong: crash, freeze, fill up, forget, and hold what nobody wrote.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nautilus_bus::{BusError, BusHealth, Mesh, MeshLimits, PublishError, RedisMesh, RedisStar, Star};
use nautilus_messages::EngineName;
use nautilus_messages::mesh::{MessageType, Priority};
use nautilus_testkit::RedisServer;
use nautilus_types::{InstrumentId, UnixNanos};
use redis::aio::MultiplexedConnection;

use crate::fixture::{
    Account, DEADLINE, ENGINE, OverRedis, Transport, body, eventually, eventually_async, frame, frames, next,
    nothing_more, number_of, quick, take,
};
use crate::mesh::send;

const REQUESTS: &[MessageType] = &[MessageType::VpinRequest];
const STAR: &str = "nautilus:star:0";
const STREAM: &str = "nautilus:mesh:vpin_request";

async fn raw(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("an address");
    client.get_multiplexed_async_connection().await.expect("the test's Redis is there")
}

async fn command<T: redis::FromRedisValue>(connection: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(connection).await.expect("the command works")
}

fn is_down(health: BusHealth) -> Option<String> {
    match health {
        BusHealth::Down { reason } => Some(reason),
        BusHealth::Up => None,
    }
}

fn is_up(health: &BusHealth) -> Option<()> {
    (*health == BusHealth::Up).then_some(())
}

/// Publishes without end until told to stop; retries what was refused. Returns how many were accepted.
fn publish_under_load(
    mesh: &Mesh,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<(u64, nautilus_bus::MeshPublisher)> {
    let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
    std::thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let result = publisher.publish(UnixNanos(0), Priority::Normal, 0, body(number));
            number += u64::from(result.is_ok());
            if number.is_multiple_of(64) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        (number, publisher)
    })
}

async fn mesh_survives(fault: impl AsyncFnOnce(&mut OverRedis, &Mesh)) {
    let mut transport = OverRedis::new(64, MeshLimits { outbox: 512, ..quick() });
    let mesh = transport.mesh().await;
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    let stop = Arc::new(AtomicBool::new(false));
    let load = publish_under_load(&mesh, Arc::clone(&stop));
    assert_eq!(take(&mut consumer, 1_000).await, Vec::from_iter(0..1_000));
    fault(&mut transport, &mesh).await;
    take(&mut consumer, 1_000).await;
    stop.store(true, Ordering::Relaxed);
    let (count, publisher) =
        tokio::task::spawn_blocking(|| load.join()).await.expect("it runs").expect("it ends");
    publisher.flush(DEADLINE).await.expect("everything accepted is confirmed in the end");
    let rest = usize::try_from(count).expect("a count") - 2_000;
    let numbers = take(&mut consumer, rest).await;
    // Nothing lost, nothing twice, in order: up to the very last one.
    assert_eq!(numbers, Vec::from_iter(2_000..count));
    nothing_more(&mut consumer).await;
    eventually("health", || is_up(&mesh.health())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_survives_a_crash_of_redis_under_load() {
    mesh_survives(async |transport, mesh| {
        transport.server.kill();
        let reason = eventually("the mesh says that it is down", || is_down(mesh.health())).await;
        assert!(reason.contains("Redis at redis://127.0.0.1:"), "{reason}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        transport.server.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_survives_a_redis_that_freezes() {
    mesh_survives(async |transport, mesh| {
        transport.server.pause();
        eventually("the mesh says that it is down", || is_down(mesh.health())).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        transport.server.resume();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_survives_a_redis_that_is_full() {
    mesh_survives(async |transport, mesh| {
        let mut connection = raw(&transport.server.url()).await;
        let () = command(&mut connection, &["CONFIG", "SET", "maxmemory", "1"]).await;
        let reason = eventually("the mesh says that it is down", || is_down(mesh.health())).await;
        assert!(reason.contains("OOM") || reason.contains("EXECABORT"), "{reason}");
        let () = command(&mut connection, &["CONFIG", "SET", "maxmemory", "0"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_refused_when_redis_stays_away_and_resumes() {
    let mut transport = OverRedis::new(64, MeshLimits { outbox: 32, ..quick() });
    let mesh = transport.mesh().await;
    let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
    transport.server.kill();
    send(&mut publisher, 0..32);
    let full = publisher.publish(UnixNanos(0), Priority::Normal, 0, body(32));
    assert!(matches!(full, Err(PublishError::Full { bound: 32, .. })), "{full:?}");
    let unconfirmed = publisher.flush(Duration::from_millis(10)).await;
    assert!(matches!(unconfirmed, Err(PublishError::Unconfirmed { left: 32, .. })), "{unconfirmed:?}");
    transport.server.restart();
    publisher.flush(DEADLINE).await.expect("everything accepted is confirmed in the end");
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    assert_eq!(take(&mut consumer, 32).await, Vec::from_iter(0..32));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_instance_left_is_taken_over() {
    let mut transport = OverRedis::new(64, quick());
    transport.mesh.claim_idle = Duration::from_millis(200);
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mut dying = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..300);
    for _ in 0..10 {
        let _unfinished = next(&mut dying).await;
    }
    drop(dying);
    transport.mesh.instance = "other".to_owned();
    let mut heir = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    let mut numbers = take(&mut heir, 300).await;
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(0..300));
    nothing_more(&mut heir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_consumer_every_time_is_a_dead_letter() {
    let transport = OverRedis::new(64, quick());
    let mesh = transport.mesh().await;
    send(&mut mesh.publisher(EngineName::Marketdata, 1), 0..1);
    for attempt in 1..=3 {
        let mut dying = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
        assert_eq!(next(&mut dying).await.attempt, attempt);
    }
    let mut last = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    let letters = eventually_async("the dead letter", async || {
        assert!(last.try_next().is_none());
        let letters = mesh.dead_letters(ENGINE, 10).await.expect("readable");
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters[0].reason, "delivered 3 times and never acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_messages_that_were_trimmed_are_passed_over() {
    let transport = OverRedis::new(64, quick());
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mut dying = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..10);
    for _ in 0..10 {
        let _unfinished = next(&mut dying).await;
    }
    drop(dying);
    let mut connection = raw(&transport.server.url()).await;
    let trimmed: u64 = command(&mut connection, &["XTRIM", STREAM, "MAXLEN", "4"]).await;
    assert_eq!(trimmed, 6);
    let mut heir = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    assert_eq!(take(&mut heir, 4).await, Vec::from_iter(6..10));
    eventually("the loss is told", || (heir.lost() == 6).then_some(())).await;
    assert!(heir.flush(DEADLINE).await);
    let (pending, ..): (u64, redis::Value, redis::Value, redis::Value) =
        command(&mut connection, &["XPENDING", STREAM, ENGINE.as_str()]).await;
    assert_eq!(pending, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_that_were_trimmed_are_told() {
    let transport = OverRedis::new(64, quick());
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mut away = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..10);
    take(&mut away, 10).await;
    assert!(away.flush(DEADLINE).await);
    assert_eq!(away.lost(), 0);
    drop(away);
    send(&mut publisher, 10..50);
    publisher.flush(DEADLINE).await.expect("confirmed");
    let mut connection = raw(&transport.server.url()).await;
    let _trimmed: u64 = command(&mut connection, &["XTRIM", STREAM, "MAXLEN", "15"]).await;
    let mut back = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    assert_eq!(take(&mut back, 15).await, Vec::from_iter(35..50));
    eventually("the loss is told", || (back.lost() == 25).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_streams_stops_nobody() {
    let transport = OverRedis::new(1 << 10, quick());
    let mut connection = raw(&transport.server.url()).await;
    let cut = frame(0)[..60].to_vec();
    let huge = u64::MAX.to_string().into_bytes();
    let garbage: [&[(&str, &[u8])]; 7] = [
        &[("a", b"b")],
        &[("\u{0}", &[0xff, 0xfe])],
        &[("e", b"1"), ("p", b"0"), ("f", b"")],
        &[("e", b"1"), ("p", b"0"), ("f", &cut)],
        &[("e", b"x"), ("p", b"-1"), ("f", &[0xff; 64])],
        &[("e", b"1"), ("p", &huge), ("f", &[1; 64])],
        &[("m", b"NMnonsense")],
    ];
    for key in [STAR, "nautilus:star:0:notices", STREAM] {
        for fields in garbage {
            let mut add = redis::cmd("XADD");
            add.arg(key).arg("*");
            add.arg(fields);
            let () = add.query_async(&mut connection).await.expect("anything can be added");
        }
    }
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let mut reader = transport.star().await.reader();
    publisher.publish(&frames(0..500));
    let account = Account::default().up_to(&mut reader, 500).await;
    assert_eq!((account.read, account.lost), (500, 0));

    let mesh = transport.mesh().await;
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut mesh.publisher(EngineName::Marketdata, 1), 0..10);
    assert_eq!(take(&mut consumer, 10).await, Vec::from_iter(0..10));
    assert!(consumer.flush(DEADLINE).await);
    let letters = mesh.dead_letters(ENGINE, 100).await.expect("readable");
    assert_eq!(letters.len(), garbage.len());
    assert_eq!(letters[6].bytes, b"NMnonsense");
    assert!(letters[6].reason.contains("takes 64 bytes"), "{}", letters[6].reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_a_snapshot_is_left_out() {
    let transport = OverRedis::new(64, quick());
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let reader = transport.star().await.reader();
    publisher.publish_snapshot(InstrumentId(1), 5, frames(0..5));
    eventually("the snapshot", || reader.snapshot(InstrumentId(1))).await;
    let mut connection = raw(&transport.server.url()).await;
    for (field, value) in
        [("2", "short"), ("x", "any"), ("3", "longer than twenty-four bytes, and no frames")]
    {
        let () = command(&mut connection, &["HSET", "nautilus:star:0:snapshots", field, value]).await;
        let () = command(&mut connection, &["XADD", "nautilus:star:0:notices", "*", "i", field]).await;
    }
    for reader in [reader, transport.star().await.reader()] {
        publisher.publish_snapshot(InstrumentId(9), 1, frame(0));
        eventually("the good snapshot", || reader.snapshot(InstrumentId(9))).await;
        assert_eq!(reader.snapshots().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_star_tells_the_hole_that_a_crash_of_redis_made() {
    let mut transport = OverRedis::new(64, quick());
    transport.star.reader_patience = Duration::from_secs(5);
    let hub = transport.star().await;
    let mut publisher = hub.publisher(1).expect("the first publisher");
    let mut reader = transport.star().await.reader();
    publisher.publish(&frames(0..50));
    let account = Account::default().up_to(&mut reader, 50).await;
    assert_eq!(account.lost, 0);
    transport.server.kill();
    publisher.publish(&frames(50..1_000));
    eventually("the star says that it is down", || is_down(hub.health())).await;
    assert!(publisher.lag() > 0);
    transport.server.restart();
    eventually("the star is up", || is_up(&hub.health())).await;
    publisher.publish(&frames(1_000..1_030));
    let account = account.up_to(&mut reader, 1_030).await;
    assert_eq!(account.read + account.lost, 1_030);
    assert!(account.lost > 500, "a ring of 64 and one round trip cannot have kept {} frames", account.read);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_star_survives_a_redis_that_freezes() {
    let transport = OverRedis::new(1 << 16, quick());
    let hub = transport.star().await;
    let mut publisher = hub.publisher(1).expect("the first publisher");
    let mut reader = transport.star().await.reader();
    publisher.publish(&frames(0..500));
    let account = Account::default().up_to(&mut reader, 500).await;
    transport.server.pause();
    publisher.publish(&frames(500..5_000));
    tokio::time::sleep(Duration::from_secs(2)).await;
    transport.server.resume();
    publisher.publish(&frames(5_000..6_000));
    let account = account.up_to(&mut reader, 6_000).await;
    assert_eq!((account.read, account.lost), (6_000, 0));
    eventually("the star is up", || is_up(&hub.health())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_trimmed_from_the_stream_are_told_exactly() {
    let mut transport = OverRedis::new(1 << 12, quick());
    (transport.star.max_len, transport.star.batch_frames) = (100, 1);
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    for start in (0..2_000).step_by(100) {
        publisher.publish(&frames(start..start + 100));
        eventually("the pump", || (publisher.lag() == 0).then_some(())).await;
    }
    let mut connection = raw(&transport.server.url()).await;
    let stored = eventually_async("the last frame in the stream", async || {
        let last: redis::streams::StreamRangeReply =
            command(&mut connection, &["XREVRANGE", STAR, "+", "-", "COUNT", "1"]).await;
        let position: u64 = last.ids.first()?.get("p")?;
        let length: u64 = command(&mut connection, &["XLEN", STAR]).await;
        (position == 1_999).then_some(length)
    })
    .await;
    assert!(stored < 300, "the stream is bounded, not {stored} long");
    let mut late = transport.star().await.reader();
    let account = Account::default().up_to(&mut late, 2_000).await;
    assert_eq!((account.read, account.lost), (stored, 2_000 - stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_hub_is_recognised() {
    let transport = OverRedis::new(1 << 10, quick());
    let mut reader = transport.star().await.reader();
    let mut publisher = transport.star().await.publisher(10).expect("the first publisher");
    publisher.publish(&frames(0..20));
    publisher.publish_snapshot(InstrumentId(1), 20, frame(0));
    Account::default().up_to(&mut reader, 20).await;
    eventually("the snapshot", || reader.snapshot(InstrumentId(1))).await;
    drop(publisher);
    let mut restarted = transport.star().await.publisher(11).expect("the first publisher of the new hub");
    restarted.publish(&frames(0..30));
    restarted.publish_snapshot(InstrumentId(2), 30, frame(0));
    for mut reader in [reader, transport.star().await.reader()] {
        // One reader has read the first twenty frames, the other begins with them.
        while reader.position() < 20 {
            eventually("the former hub's frames", || reader.next().map(drop)).await;
        }
        assert_eq!(reader.epoch(), 10);
        Account::default().after(20).up_to(&mut reader, 50).await;
        assert_eq!(reader.epoch(), 11);
        let snapshot = eventually("the new hub's snapshot", || reader.snapshot(InstrumentId(2))).await;
        assert_eq!((snapshot.sequence, snapshot.position), (30, 50));
        assert_eq!(reader.snapshot(InstrumentId(1)), None, "the former hub's numbers mean nothing now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_does_not_silence_a_restarted_hub() {
    let transport = OverRedis::new(1 << 10, quick());
    let mut reader = transport.star().await.reader();
    let mut publisher = transport.star().await.publisher(100).expect("the first publisher");
    publisher.publish(&frames(0..10));
    Account::default().up_to(&mut reader, 10).await;
    drop(publisher);
    let mut restarted = transport.star().await.publisher(50).expect("the first publisher of the new hub");
    restarted.publish(&frames(0..10));
    let account = Account::default().after(10).up_to(&mut reader, 20).await;
    assert_eq!((account.lost, reader.epoch()), (0, 101));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_a_hub_of_its_own_passes_over_former_ones() {
    let mut transport = OverRedis::new(1 << 10, quick());
    let mut former = transport.star().await.publisher(10).expect("the first publisher");
    former.publish(&frames(0..20));
    former.publish_snapshot(InstrumentId(1), 20, frame(0));
    assert!(former.flush(DEADLINE).await);
    drop(former);
    transport.star.from_epoch = 11;
    let mut reader = transport.star().await.reader();
    let mut publisher = transport.star().await.publisher(11).expect("the first publisher of the new hub");
    publisher.publish(&frames(0..5));
    let account = Account::default().up_to(&mut reader, 5).await;
    assert_eq!((account.read, account.lost, reader.epoch()), (5, 0, 11));
    assert_eq!(reader.snapshot(InstrumentId(1)), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_flushed_is_there_when_the_hub_has_gone() {
    let transport = OverRedis::new(1 << 14, quick());
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    publisher.publish(&frames(0..10_000));
    assert!(publisher.flush(DEADLINE).await);
    drop(publisher);
    let account = Account::default().up_to(&mut transport.star().await.reader(), 10_000).await;
    assert_eq!(account.lost, 0);
    let mut publisher = transport.star().await.publisher(2).expect("the first publisher of the new hub");
    transport.server.pause();
    publisher.publish(&frames(0..1));
    assert!(!publisher.flush(Duration::from_millis(50)).await, "a server that is away has not got it");
    transport.server.resume();
}

/// A way to the server that can be made to swallow its answers.
fn wire(server: &RedisServer, swallow: &Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let upstream = server.url().trim_start_matches("redis://").to_owned();
    let swallow = Arc::clone(swallow);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.expect("a client"), TcpStream::connect(&upstream));
            let Ok(server) = server else { return };
            let (up, to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            std::thread::spawn(move || pass(up, to, &AtomicBool::new(false)));
            let swallow = Arc::clone(&swallow);
            std::thread::spawn(move || pass(server, client, &swallow));
        }
    });
    url
}

fn pass(mut from: TcpStream, mut to: TcpStream, swallow: &AtomicBool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !swallow.load(Ordering::Relaxed) && to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_delivery_was_swallowed_come_before_newer_ones() {
    let transport = OverRedis::new(64, quick());
    let swallow = Arc::new(AtomicBool::new(false));
    let url = wire(&transport.server, &swallow);
    let through = Mesh::redis(RedisMesh { url: url.into(), ..transport.mesh.clone() }, "test").await;
    let mut consumer = through.expect("reachable").consumer(ENGINE, REQUESTS).expect("a consumer");
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    send(&mut publisher, 0..1);
    assert_eq!(take(&mut consumer, 1).await, [0]);
    assert!(consumer.flush(DEADLINE).await);
    swallow.store(true, Ordering::Relaxed);
    send(&mut publisher, 1..11);
    let mut connection = raw(&transport.server.url()).await;
    eventually_async("a delivery that does not arrive", async || {
        let pending: redis::Value = command(&mut connection, &["XPENDING", STREAM, ENGINE.as_str()]).await;
        matches!(pending, redis::Value::Array(parts) if parts[0] != redis::Value::Int(0)).then_some(())
    })
    .await;
    send(&mut publisher, 11..21);
    publisher.flush(DEADLINE).await.expect("confirmed");
    swallow.store(false, Ordering::Relaxed);
    assert_eq!(take(&mut consumer, 20).await, Vec::from_iter(1..21));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_buses_use_two_servers() {
    let mut transport = OverRedis::new(64, quick());
    let other = RedisServer::start();
    transport.mesh.url = other.url().into();
    transport.star().await.publisher(1).expect("the first publisher").publish(&frame(0));
    let mut publisher = transport.star().await.publisher(2).expect("the first publisher");
    publisher.publish(&frame(0));
    let mut messages = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    send(&mut messages, 0..1);
    messages.flush(DEADLINE).await.expect("confirmed");
    for (url, key) in [(transport.server.url(), STAR), (other.url(), STREAM)] {
        let mut connection = raw(&url).await;
        eventually_async("the key", async || {
            let keys: Vec<String> = command(&mut connection, &["KEYS", "nautilus:*"]).await;
            (keys == [key]).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_end_with_their_handles() {
    let transport = OverRedis::new(64, quick());
    let mut connection = raw(&transport.server.url()).await;
    let (star, mesh) = (transport.star().await, transport.mesh().await);
    let ends = (
        star.publisher(1).expect("the first publisher"),
        star.reader(),
        mesh.publisher(EngineName::Marketdata, 1),
        mesh.consumer(ENGINE, REQUESTS).expect("a consumer"),
    );
    drop((star, mesh));
    let clients = async |connection: &mut MultiplexedConnection| {
        command::<String>(connection, &["CLIENT", "LIST"]).await.lines().count()
    };
    eventually_async("connections", async || (clients(&mut connection).await > 3).then_some(())).await;
    drop(ends);
    eventually_async("no connection left", async || (clients(&mut connection).await == 1).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_append_only_file_is_warned_of() {
    let server = RedisServer::start_volatile();
    let mesh = Mesh::redis(RedisMesh { url: server.url().into(), ..RedisMesh::default() }, "test").await;
    let mesh = mesh.expect("it is usable all the same");
    assert!(mesh.warning().is_some_and(|warning| warning.contains("set appendonly yes")));
    assert_eq!(OverRedis::new(64, quick()).mesh().await.warning(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_redis_and_a_wrong_address_are_told_in_a_sentence() {
    let url = format!("redis://:secret@127.0.0.1:{}", nautilus_testkit::free_port());
    let error = Star::redis(RedisStar { url: url.into(), ..RedisStar::default() }, "test").await;
    let error = error.expect_err("nobody listens").to_string();
    assert!(error.contains("cannot be used: ") && error.contains("; start it or correct"), "{error}");
    assert!(!error.contains("secret"));
    let error =
        Mesh::redis(RedisMesh { url: "http://me:secret@x".into(), ..RedisMesh::default() }, "test").await;
    let error = error.expect_err("not an address");
    assert!(matches!(&error, BusError::Address { .. }));
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_entry_names_its_number_in_the_dead_letters() {
    let transport = OverRedis::new(64, MeshLimits { max_attempts: 1, ..quick() });
    let mesh = transport.mesh().await;
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut mesh.publisher(EngineName::Marketdata, 1), 0..5);
    for number in 0..5 {
        let delivery = next(&mut consumer).await;
        assert_eq!(number_of(&delivery.message.body), number);
        consumer.fail(delivery, &format!("no {number}"));
    }
    assert!(consumer.flush(DEADLINE).await);
    let reasons = async |limit| {
        let letters = mesh.dead_letters(ENGINE, limit).await.expect("readable");
        Vec::from_iter(letters.into_iter().map(|letter| letter.reason))
    };
    assert_eq!(reasons(10).await, ["no 0", "no 1", "no 2", "no 3", "no 4"]);
    assert_eq!(reasons(2).await, ["no 3", "no 4"]);
}
