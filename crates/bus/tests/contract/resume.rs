//! A reader that goes on where one of an earlier process was: nothing twice, nothing missed without being told.

use std::time::Duration;

use nautilus_bus::{BusError, StarPlace, StarReader};
use nautilus_types::InstrumentId;

use crate::fixture::{Account, DEADLINE, OverRedis, Transport, eventually, frame, frames, quick};

const STAR: &str = "nautilus:star:0";

async fn publish(transport: &OverRedis, epoch: u64, positions: std::ops::Range<u64>) {
    let mut publisher = transport.star().await.publisher(epoch).expect("the first publisher");
    publisher.publish(&frames(positions));
    assert!(publisher.flush(DEADLINE).await);
}

async fn resumed(transport: &OverRedis, epoch: u64, position: u64) -> StarReader {
    transport.star().await.resume(StarPlace { epoch, position }).expect("nobody else reads this star")
}

/// How many frames a reader finds from `next` on, and how many are lost, up to `end` and not one further.
async fn read(reader: &mut StarReader, next: u64, end: u64) -> (u64, u64) {
    let mut account = Account { next, ..Account::default() };
    while account.next < end {
        eventually("the next frame", || account.take(reader).then_some(())).await;
    }
    assert_eq!(account.next, end);
    (account.read, account.lost)
}

async fn nothing_more(reader: &mut StarReader) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(reader.next(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_with_the_very_next_frame() {
    let transport = OverRedis::new(1 << 12, quick());
    let mut publisher = transport.star().await.publisher(7).expect("the first publisher");
    publisher.publish(&frames(0..1_000));
    // In the middle of an entry, at the border between two, and at the end of all.
    for stop in [0, 1, 255, 256, 300, 1_000] {
        let mut former = transport.star().await.reader();
        assert_eq!(read(&mut former, 0, 1_000).await, (1_000, 0));
        former.seek(stop);
        let place = former.place().expect("the epoch is known");
        assert_eq!(place, StarPlace { epoch: 7, position: stop });
        let mut reader = resumed(&transport, place.epoch, place.position).await;
        assert_eq!((reader.position(), reader.epoch()), (stop, 7));
        assert_eq!(reader.place(), Some(place), "nothing was read yet");
        assert_eq!(read(&mut reader, stop, 1_000).await, (1_000 - stop, 0));
        nothing_more(&mut reader).await;
    }
    let mut reader = resumed(&transport, 7, 1_000).await;
    publisher.publish(&frames(1_000..1_500));
    assert_eq!(read(&mut reader, 1_000, 1_500).await, (500, 0));
    assert_eq!(reader.place(), Some(StarPlace { epoch: 7, position: 1_500 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_retained_is_lost_exactly() {
    let transport = OverRedis::new(1 << 12, quick());
    publish(&transport, 7, 0..2_000).await;
    trim(&transport, 1).await;
    let mut whole = transport.star().await.reader();
    let (retained, _) = read(&mut whole, 0, 2_000).await;
    assert!(retained < 1_000, "the test wants frames that are gone, {retained} are there");
    assert_eq!(read(&mut resumed(&transport, 7, 50).await, 50, 2_000).await, (retained, 1_950 - retained));
    let within = 2_000 - retained + 3;
    assert_eq!(read(&mut resumed(&transport, 7, within).await, within, 2_000).await, (retained - 3, 0));
}

async fn trim(transport: &OverRedis, entries: usize) {
    let client = redis::Client::open(transport.server.url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test's Redis is there");
    let mut trim = redis::cmd("XTRIM");
    trim.arg(STAR).arg("MAXLEN").arg("=").arg(entries);
    trim.exec_async(&mut connection).await.expect("it trims");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_former_hub_comes_before_the_new_one() {
    let transport = OverRedis::new(1 << 12, quick());
    publish(&transport, 9, 0..70).await;
    publish(&transport, 10, 0..40).await;
    publish(&transport, 11, 0..30).await;
    let mut reader = resumed(&transport, 10, 20).await;
    assert_eq!(read(&mut reader, 20, 40).await, (20, 0), "of the hub before it nothing");
    assert_eq!(reader.epoch(), 10);
    assert_eq!(reader.place(), Some(StarPlace { epoch: 10, position: 40 }), "in the epoch of what was read");
    let account = Account::default().after(40).up_to(&mut reader, 70).await;
    assert_eq!((account.read, account.lost, reader.epoch()), (30, 0, 11));
    assert_eq!(reader.place(), Some(StarPlace { epoch: 11, position: 30 }));
    nothing_more(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_hub_alone_is_read_from_its_beginning() {
    let transport = OverRedis::new(1 << 12, quick());
    publish(&transport, 10, 0..40).await;
    trim(&transport, 0).await;
    let mut reader = resumed(&transport, 10, 20).await;
    nothing_more(&mut reader).await;
    publish(&transport, 11, 0..30).await;
    let account = Account::default().after(20).up_to(&mut reader, 50).await;
    assert_eq!((account.read, account.lost, reader.epoch()), (30, 0, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_a_hub_of_its_own_passes_over_the_rest_of_the_former() {
    let mut transport = OverRedis::new(1 << 12, quick());
    publish(&transport, 10, 0..40).await;
    transport.star.from_epoch = 11;
    let mut reader = resumed(&transport, 10, 20).await;
    publish(&transport, 11, 0..30).await;
    let account = Account::default().after(20).up_to(&mut reader, 50).await;
    assert_eq!((account.read, account.lost, reader.epoch()), (30, 0, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_the_places_is_read_whole() {
    let transport = OverRedis::new(1 << 12, quick());
    // Once before there is anything, once behind it.
    let mut early = resumed(&transport, 99, 5).await;
    nothing_more(&mut early).await;
    let mut publisher = transport.star().await.publisher(10).expect("the first publisher");
    publisher.publish(&frames(0..40));
    publisher.publish_snapshot(InstrumentId(1), 40, frame(39));
    assert!(publisher.flush(DEADLINE).await);
    for mut reader in [early, resumed(&transport, 99, 5).await] {
        let account = Account::default().after(5).up_to(&mut reader, 45).await;
        assert_eq!((account.read, account.lost, reader.epoch()), (40, 0, 10));
        let snapshot = eventually("the snapshot", || reader.snapshot(InstrumentId(1))).await;
        assert_eq!((snapshot.epoch, snapshot.position), (10, 45));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_stand_where_the_hub_took_them() {
    let transport = OverRedis::new(1 << 12, quick());
    let mut publisher = transport.star().await.publisher(10).expect("the first publisher");
    publisher.publish(&frames(0..40));
    publisher.publish_snapshot(InstrumentId(1), 40, frame(39));
    let reader = resumed(&transport, 10, 20).await;
    let snapshot = eventually("the snapshot", || reader.snapshot(InstrumentId(1))).await;
    assert_eq!((snapshot.epoch, snapshot.position), (10, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_gone_on_from_is_refused() {
    let place = StarPlace { epoch: 1, position: 0 };
    let reason = |result: Result<StarReader, BusError>| match result {
        Err(BusError::Resume { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let local = nautilus_bus::Star::local(64, "test");
    assert!(!local.keeps_places());
    assert!(reason(local.resume(place)).contains("in this process"));
    assert_eq!(local.reader().place(), None);
    let transport = OverRedis::new(64, quick());
    let star = transport.star().await;
    assert!(star.keeps_places());
    assert!(reason(star.resume(StarPlace { position: u64::MAX, ..place })).contains("counts that far"));
    let first = star.resume(place).expect("nobody else reads it");
    assert!(reason(star.resume(place)).contains("already"));
    drop(first);
    assert_eq!(transport.star().await.reader().place(), None, "nothing is known of an empty stream");
}
