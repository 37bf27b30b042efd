//! The mesh's promises.

use std::time::{Duration, Instant};

use nautilus_bus::{BusError, BusHealth, Doorbell, MeshLimits, MeshPublisher, PublishError};
use nautilus_messages::EngineName;
use nautilus_messages::mesh::{
    Body, Classification, Message, MessageError, MessageType, Priority, ToxicityAlert, ToxicityLevel,
};
use nautilus_types::UnixNanos;

use crate::both_transports;
use crate::fixture::{
    DEADLINE, ENGINE, Transport, body, eventually_async, next, nothing_more, number_of, quick, take,
};

const REQUESTS: &[MessageType] = &[MessageType::VpinRequest];

both_transports! {
    messages_arrive_once_and_in_order(64, quick()),
    every_engine_gets_every_message_and_nobody_else(64, quick()),
    an_engine_that_subscribes_late_gets_what_is_retained(64, quick()),
    what_a_dead_consumer_left_comes_again(64, quick()),
    a_repeated_message_is_left_out(64, quick()),
    what_is_too_old_to_be_told_apart_is_a_dead_letter(64, quick()),
    what_fails_repeatedly_is_a_dead_letter(64, quick()),
    what_failed_once_comes_again_after_a_pause(64, quick()),
    a_stalled_consumer_holds_no_more_than_its_inbox(64, MeshLimits { inbox: 8, ..quick() }),
    a_sleeping_consumer_is_woken(64, quick()),
    mistakes_are_refused(64, quick()),
}

pub(crate) fn send(publisher: &mut MeshPublisher, numbers: std::ops::Range<u64>) {
    for number in numbers {
        publisher.publish(UnixNanos(number), Priority::Normal, 0, body(number)).expect("room on the mesh");
    }
}

async fn confirmed(publisher: &MeshPublisher) {
    publisher.flush(DEADLINE).await.expect("the transport confirms");
    assert_eq!(publisher.unacknowledged(), 0);
}

async fn messages_arrive_once_and_in_order(transport: &impl Transport) {
    let mesh = transport.mesh().await;
    let mut publisher = mesh.publisher(EngineName::Marketdata, 7);
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..500);
    confirmed(&publisher).await;
    let first = next(&mut consumer).await;
    assert_eq!((first.attempt, first.message.id.epoch, first.message.id.sequence), (1, 7, 1));
    assert_eq!((first.message.ts, first.message.id.producer), (UnixNanos(0), EngineName::Marketdata));
    consumer.ack(first);
    assert_eq!(take(&mut consumer, 499).await, Vec::from_iter(1..500));
    nothing_more(&mut consumer).await;
    assert!(consumer.flush(DEADLINE).await);
    drop(consumer);
    let mut again = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    nothing_more(&mut again).await;
    assert_eq!(mesh.health(), BusHealth::Up);
}

async fn every_engine_gets_every_message_and_nobody_else(transport: &impl Transport) {
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mesh = transport.mesh().await;
    let mut one = mesh.consumer(EngineName::Vpin, REQUESTS).expect("a consumer");
    let both = [MessageType::ToxicityAlert, MessageType::VpinRequest];
    let mut two = mesh.consumer(EngineName::Marketdata, &both).expect("a consumer");
    let mut sharing =
        transport.mesh().await.consumer(EngineName::Vpin, &[MessageType::VpinUpdate]).expect("a consumer");
    send(&mut publisher, 0..20);
    let alert = publisher.publish(UnixNanos(1), Priority::Urgent, 9, alert(0.5)).expect("room");
    assert_eq!(take(&mut one, 20).await, Vec::from_iter(0..20));
    let mut numbers = Vec::new();
    for _ in 0..21 {
        let delivery = next(&mut two).await;
        if delivery.message.id == alert {
            assert_eq!((delivery.message.correlation_id, delivery.message.priority), (9, Priority::Urgent));
        } else {
            numbers.push(number_of(&delivery.message.body));
        }
        two.ack(delivery);
    }
    assert_eq!(numbers, Vec::from_iter(0..20));
    for consumer in [&mut one, &mut two, &mut sharing] {
        nothing_more(consumer).await;
        assert_eq!(consumer.duplicates(), 0);
    }
}

async fn an_engine_that_subscribes_late_gets_what_is_retained(transport: &impl Transport) {
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    send(&mut publisher, 0..50);
    confirmed(&publisher).await;
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    assert_eq!(take(&mut consumer, 50).await, Vec::from_iter(0..50));
}

async fn what_a_dead_consumer_left_comes_again(transport: &impl Transport) {
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mut dying = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..30);
    confirmed(&publisher).await;
    assert_eq!(take(&mut dying, 5).await, Vec::from_iter(0..5));
    for number in 5..10 {
        let delivery = next(&mut dying).await;
        assert_eq!(number_of(&delivery.message.body), number);
    }
    assert!(dying.flush(DEADLINE).await);
    drop(dying);
    let mut heir = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    for number in 5..30 {
        let delivery = next(&mut heir).await;
        assert_eq!(number_of(&delivery.message.body), number);
        assert!(number >= 10 || delivery.attempt == 2, "attempt {} of {number}", delivery.attempt);
        heir.ack(delivery);
    }
    nothing_more(&mut heir).await;
}

async fn a_repeated_message_is_left_out(transport: &impl Transport) {
    let mesh = transport.mesh().await;
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    for _ in 0..3 {
        // A publisher of the same engine and epoch sends the same identities.
        let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
        send(&mut publisher, 0..10);
        confirmed(&publisher).await;
    }
    let mut restarted = mesh.publisher(EngineName::Marketdata, 2);
    send(&mut restarted, 100..101);
    assert_eq!(take(&mut consumer, 11).await, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100]);
    assert_eq!(consumer.duplicates(), 20);
    nothing_more(&mut consumer).await;
}

async fn what_is_too_old_to_be_told_apart_is_a_dead_letter(transport: &impl Transport) {
    let mesh = transport.mesh().await;
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
    for start in (0..17_000).step_by(1_000) {
        send(&mut publisher, start..start + 1_000);
        take(&mut consumer, 1_000).await;
    }
    let mut repeating = mesh.publisher(EngineName::Marketdata, 1);
    send(&mut repeating, 0..1);
    let letters = eventually_async("the dead letter", async || {
        assert!(consumer.try_next().is_none());
        let letters = mesh.dead_letters(ENGINE, 10).await.expect("dead letters can be read");
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert!(letters[0].reason.contains("older than the window"), "{}", letters[0].reason);
}

async fn what_fails_repeatedly_is_a_dead_letter(transport: &impl Transport) {
    let mesh = transport.mesh().await;
    let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..3);
    let (mut attempts, mut others) = (Vec::new(), Vec::new());
    while attempts.len() < 3 || others.len() < 2 {
        let delivery = next(&mut consumer).await;
        match number_of(&delivery.message.body) {
            1 => {
                attempts.push(delivery.attempt);
                consumer.fail(delivery, "the test says so");
            }
            number => {
                others.push(number);
                consumer.ack(delivery);
            }
        }
    }
    assert_eq!((attempts, others), (vec![1, 2, 3], vec![0, 2]));
    nothing_more(&mut consumer).await;
    assert!(consumer.flush(DEADLINE).await);
    let letters = mesh.dead_letters(ENGINE, 10).await.expect("dead letters can be read");
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].attempts, letters[0].reason.as_str()), (3, "the test says so"));
    let message = Message::decode(&letters[0].bytes).expect("the whole message is kept");
    assert_eq!((number_of(&message.body), message.id.sequence), (1, 2));
    assert_eq!(mesh.dead_letters(EngineName::Marketdata, 10).await.expect("readable"), []);
    // It is settled: nobody gets it again.
    drop(consumer);
    nothing_more(&mut transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer")).await;
}

async fn what_failed_once_comes_again_after_a_pause(transport: &impl Transport) {
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..1);
    let delivery = next(&mut consumer).await;
    let failed = Instant::now();
    consumer.fail(delivery, "not yet");
    let delivery = next(&mut consumer).await;
    assert!(failed.elapsed() >= Duration::from_millis(20));
    assert_eq!(delivery.attempt, 2);
    consumer.ack(delivery);
    nothing_more(&mut consumer).await;
}

async fn a_stalled_consumer_holds_no_more_than_its_inbox(transport: &impl Transport) {
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    send(&mut publisher, 0..100);
    let mut held = Vec::new();
    while held.len() < 8 {
        held.push(next(&mut consumer).await);
    }
    nothing_more(&mut consumer).await;
    for delivery in held {
        consumer.ack(delivery);
    }
    assert_eq!(take(&mut consumer, 92).await, Vec::from_iter(8..100));
}

async fn a_sleeping_consumer_is_woken(transport: &impl Transport) {
    let mut publisher = transport.mesh().await.publisher(EngineName::Marketdata, 1);
    let mut consumer = transport.mesh().await.consumer(ENGINE, REQUESTS).expect("a consumer");
    let bell = Doorbell::new();
    consumer.attach(bell.clone());
    let sleeper = std::thread::spawn(move || {
        let start = Instant::now();
        while consumer.try_next().is_none() {
            bell.wait(Duration::from_secs(60));
        }
        start.elapsed()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    send(&mut publisher, 0..1);
    let slept = tokio::task::spawn_blocking(move || sleeper.join()).await.expect("it runs").expect("it ends");
    assert!(slept < Duration::from_secs(30));
}

async fn mistakes_are_refused(transport: &impl Transport) {
    let mesh = transport.mesh().await;
    let error = mesh.consumer(ENGINE, &[]).expect_err("nothing is subscribed to");
    assert!(matches!(error, BusError::NoSubscription { engine: ENGINE }));
    assert!(error.to_string().starts_with("vpin subscribes to no message type"));
    let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
    let result = publisher.publish(UnixNanos(0), Priority::Low, 0, alert(f64::NAN));
    assert!(matches!(result, Err(PublishError::Message(MessageError::NotFinite { .. }))));
    // The number was not used up.
    let id = publisher.publish(UnixNanos(0), Priority::Low, 0, alert(0.5)).expect("room");
    assert_eq!(id.sequence, 1);
}

/// Local only: over Redis the stream holds what consumers have not read, up to its own bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_local_queue_holds_its_publisher_back() {
    let limits = MeshLimits { outbox: 16, ..quick() };
    let mesh = nautilus_bus::Mesh::local(limits, "test");
    let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
    // Nobody is subscribed: the oldest messages make room.
    send(&mut publisher, 0..100);
    let mut consumer = mesh.consumer(ENGINE, REQUESTS).expect("a consumer");
    let full = publisher.publish(UnixNanos(0), Priority::Normal, 0, body(100));
    assert!(matches!(full, Err(PublishError::Full { bound: 16, .. })), "{full:?}");
    let unread = next(&mut consumer).await;
    assert_eq!(number_of(&unread.message.body), 84);
    let full = publisher.publish(UnixNanos(0), Priority::Normal, 0, body(100));
    assert!(full.is_err(), "what is delivered and not acknowledged takes its place still");
    consumer.ack(unread);
    send(&mut publisher, 100..101);
    assert_eq!(take(&mut consumer, 16).await, Vec::from_iter(85..101));
}

/// One wait tells that there is no room; an engine's thread must not spend one on every message of a batch.
#[tokio::test(flavor = "multi_thread")]
async fn waits_in_vain_do_not_add_up() {
    let mesh = nautilus_bus::Mesh::local(MeshLimits { outbox: 4, ..quick() }, "test");
    let mut publisher = mesh.publisher(EngineName::Marketdata, 1);
    let mut consumer = mesh.consumer(ENGINE, REQUESTS).expect("a consumer");
    for _ in 0..2 {
        send(&mut publisher, 0..4);
        let start = Instant::now();
        for number in 0..50 {
            let full = publisher.publish(UnixNanos(0), Priority::Normal, 0, body(number));
            assert!(matches!(full, Err(PublishError::Full { .. })), "{full:?}");
        }
        let waited = start.elapsed();
        assert!(waited >= quick().publish_wait && waited < 20 * quick().publish_wait, "{waited:?}");
        assert_eq!(take(&mut consumer, 4).await, Vec::from_iter(0..4));
    }
}

fn alert(vpin: f64) -> Body {
    Body::ToxicityAlert(ToxicityAlert {
        instrument: "S0".parse().expect("a symbol"),
        classification: Classification::Aggressor,
        previous: ToxicityLevel::Low,
        level: ToxicityLevel::High,
        vpin,
        cdf: 0.5,
        ts_event: UnixNanos(1),
    })
}
