//! The star's promises.

use std::time::Duration;

use nautilus_bus::{BusError, BusHealth, Doorbell, Next};
use nautilus_types::InstrumentId;

use crate::both_transports;
use crate::fixture::{Account, Transport, eventually, frame, frames, position_of, quick};

both_transports! {
    frames_arrive_in_order(1 << 12, quick()),
    every_reader_sees_all(1 << 12, quick()),
    a_late_reader_begins_with_the_oldest_frame(1 << 12, quick()),
    a_stalled_reader_learns_exactly_what_it_missed(64, quick()),
    a_reader_that_lost_frames_starts_again_from_a_snapshot(64, quick()),
    the_newest_snapshot_replaces_the_former(64, quick()),
    a_star_has_one_publisher(64, quick()),
    a_sleeping_reader_is_woken(64, quick()),
    a_hop_is_measured(64, quick()),
}

async fn frames_arrive_in_order(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let mut reader = transport.star().await.reader();
    for start in (0..3_000).step_by(10) {
        publisher.publish(&frames(start..start + 10));
    }
    publisher.publish(&[]);
    assert_eq!(publisher.position(), 3_000);
    let account = Account::default().up_to(&mut reader, 3_000).await;
    assert_eq!((account.read, account.lost), (3_000, 0));
    assert_eq!(reader.position(), 3_000);
    eventually("no lag", || (publisher.lag() == 0).then_some(())).await;
    assert_eq!(transport.star().await.health(), BusHealth::Up);
}

async fn every_reader_sees_all(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let star = transport.star().await;
        for _ in 0..4 {
            let mut reader = star.reader();
            tasks.push(tokio::spawn(async move { Account::default().up_to(&mut reader, 2_000).await }));
        }
    }
    for position in 0..2_000 {
        publisher.publish(&frame(position));
    }
    for task in tasks {
        let account = task.await.expect("the reader ends");
        assert_eq!((account.read, account.lost), (2_000, 0));
    }
}

async fn a_late_reader_begins_with_the_oldest_frame(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    publisher.publish(&frames(0..100));
    let star = transport.star().await;
    let mut early = star.reader();
    Account::default().up_to(&mut early, 100).await;
    for mut late in [star.reader(), transport.star().await.reader()] {
        let account = Account::default().up_to(&mut late, 100).await;
        assert_eq!(account.read, 100);
    }
    let mut from_snapshot = star.reader();
    from_snapshot.seek(90);
    let account = Account { next: 90, ..Account::default() }.up_to(&mut from_snapshot, 100).await;
    assert_eq!((account.read, account.lost), (10, 0));
}

async fn a_stalled_reader_learns_exactly_what_it_missed(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let star = transport.star().await;
    let (mut stalled, mut awake) = (star.reader(), star.reader());
    publisher.publish(&frames(0..10));
    let account = Account::default().up_to(&mut stalled, 10).await;
    let mut seen = Account::default();
    for position in 10..1_000 {
        publisher.publish(&frame(position));
        while seen.take(&mut awake) {}
    }
    // The hub did not wait for either of them.
    assert_eq!(publisher.position(), 1_000);
    seen.up_to(&mut awake, 1_000).await;
    let account = account.up_to(&mut stalled, 1_000).await;
    assert_eq!(account.read + account.lost, 1_000);
    assert!(account.lost >= 1_000 - 10 - 64 - 256, "a ring of 64 cannot have kept {} frames", account.read);
}

async fn a_reader_that_lost_frames_starts_again_from_a_snapshot(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let star = transport.star().await;
    let (mut stalled, mut awake) = (star.reader(), star.reader());
    publisher.publish(&frames(0..600));
    publisher.publish_snapshot(InstrumentId(1), 600, frames(597..600));
    publisher.publish(&frames(600..630));
    Account::default().up_to(&mut awake, 630).await;
    let snapshot = eventually("the snapshot", || stalled.snapshot(InstrumentId(1))).await;
    assert_eq!((snapshot.sequence, snapshot.position), (600, 600));
    assert_eq!(snapshot.frames[..], frames(597..600)[..]);
    assert_eq!(stalled.snapshots(), std::slice::from_ref(&snapshot));
    let (mut lost, mut sequence) = (0, 0);
    eventually("the end", || {
        while let Some(next) = stalled.next() {
            match next {
                Next::Lost { first, last } => {
                    lost += last - first + 1;
                    sequence = snapshot.sequence;
                }
                Next::Frame(bytes) if position_of(bytes) < sequence => {}
                Next::Frame(bytes) => {
                    assert_eq!(position_of(bytes), sequence, "sequences join the snapshot without a hole");
                    sequence += 1;
                }
            }
        }
        (sequence == 630).then_some(())
    })
    .await;
    assert!(lost > 0, "the test wants a loss");
}

async fn the_newest_snapshot_replaces_the_former(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let reader = transport.star().await.reader();
    assert_eq!(reader.snapshot(InstrumentId(1)), None);
    for sequence in 1..=50 {
        publisher.publish_snapshot(InstrumentId(1), sequence, frame(sequence));
        publisher.publish_snapshot(InstrumentId(2), sequence + 100, frame(sequence));
    }
    eventually("the last snapshots", || {
        let sequences: Vec<_> = reader.snapshots().iter().map(|s| (s.instrument.0, s.sequence)).collect();
        (sequences == [(1, 50), (2, 150)]).then_some(())
    })
    .await;
    // Whoever comes later finds them too.
    let late = transport.star().await.reader();
    eventually("the snapshot for a late reader", || late.snapshot(InstrumentId(2))).await;
}

async fn a_star_has_one_publisher(transport: &impl Transport) {
    let star = transport.star().await;
    let _first = star.publisher(1).expect("the first publisher");
    assert!(matches!(star.publisher(2), Err(BusError::SecondPublisher)));
}

async fn a_sleeping_reader_is_woken(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let mut reader = transport.star().await.reader();
    let bell = Doorbell::new();
    reader.attach(bell.clone());
    let sleeper = std::thread::spawn(move || {
        let start = std::time::Instant::now();
        while reader.next().is_none() {
            bell.wait(Duration::from_secs(60));
        }
        start.elapsed()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    publisher.publish(&frame(0));
    let slept = tokio::task::spawn_blocking(move || sleeper.join()).await.expect("it runs").expect("it ends");
    assert!(slept < Duration::from_secs(30));
}

async fn a_hop_is_measured(transport: &impl Transport) {
    let mut publisher = transport.star().await.publisher(1).expect("the first publisher");
    let mut reader = transport.star().await.reader();
    publisher.publish(&frames(0..2));
    eventually("the first frame", || reader.next().map(drop)).await;
    assert!(reader.sample_hop().is_some_and(|hop| hop < Duration::from_secs(20)));
    eventually("the second frame", || reader.next().map(drop)).await;
    assert_eq!(reader.sample_hop(), None);
}
