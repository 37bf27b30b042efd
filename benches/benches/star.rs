//! What publishing on the local star costs and how long a frame takes to a reader, beside tokio's broadcast channel.
//!
//! Hops are told as percentiles of single frames, which criterion does not do. It measures no engine.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use criterion::Criterion;
use nautilus_benches::{Contest, Figures, Goal, Peer, Report, Unit, percentile, timed};
use nautilus_bus::{Doorbell, Next, Star, StarReader};
use nautilus_messages::frame::{Header, Kind, Trade, WireSide};
use nautilus_types::{InstrumentId, UnixNanos};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

const ROUNDS: usize = 15;
const CAPACITY: usize = 1 << 16;
/// Frames published before the readers drain.
const BATCH: usize = 1_024;
const BATCHES: usize = 50;
const HOP_ROUNDS: usize = 7;
/// Between two frames of a polling reader: long enough for it to be waiting again.
const POLLED_GAP: Duration = Duration::from_micros(5);
/// Of a sleeping reader: long enough for it to be asleep.
const ASLEEP_GAP: Duration = Duration::from_micros(450);

/// What the hub does after a frame before it sleeps itself.
const WORK: Duration = Duration::from_micros(50);

type Bytes = [u8; 64];

/// A frame that carries an instant, in nanoseconds of [`clock_ns`].
fn frame(ts_ns: u64) -> Bytes {
    let ts = UnixNanos(ts_ns);
    let trade = Trade {
        header: Header::new(Kind::Trade, InstrumentId(1), 1, ts, ts),
        price_nanos: 1.into(),
        quantity_nanos: 1.into(),
        trade_id: 0.into(),
        aggressor: WireSide::from(None),
        reserved: [0; 7],
    };
    trade.to_bytes().try_into().expect("a trade is 64 bytes")
}

fn clock_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos())
        .expect("a bench ends within centuries")
}

/// How old a frame is.
fn age_ns(frame: &[u8]) -> f64 {
    let now = clock_ns();
    let stamped = u64::from_le_bytes(frame[16..24].try_into().expect("eight bytes"));
    now.saturating_sub(stamped) as f64
}

/// What of a batch is timed.
#[derive(Clone, Copy, PartialEq)]
enum Timed {
    Publish,
    /// And every reader reading it, on the same core.
    PublishAndRead,
}

/// Publishes and reads batches and adds up what is timed of each.
fn batches(what: Timed, mut publish: impl FnMut(), mut read: impl FnMut()) -> Duration {
    let batch = |_| {
        let published = timed(&mut publish);
        let read = timed(&mut read);
        if what == Timed::Publish { published } else { published + read }
    };
    (0..BATCHES).map(batch).sum()
}

fn star_publish(readers: usize, per_call: usize, what: Timed) -> impl FnMut() -> Duration {
    let star = Star::local(CAPACITY, "bench");
    let mut publisher = star.publisher(1).expect("the only publisher");
    let mut readers: Vec<(StarReader, Arc<Doorbell>)> =
        (0..readers).map(|_| (star.reader(), Doorbell::new())).collect();
    for (reader, bell) in &mut readers {
        reader.attach(Arc::clone(bell));
    }
    let frames = frame(0).repeat(per_call);
    move || {
        let publish = || (0..BATCH / per_call).for_each(|_| publisher.publish(black_box(&frames)));
        let read = || {
            for (reader, bell) in &mut readers {
                bell.wait(Duration::ZERO);
                let mut read = 0;
                while let Some(Next::Frame(frame)) = reader.next() {
                    black_box(frame);
                    read += 1;
                }
                assert_eq!(read, BATCH, "a reader misses frames");
            }
        };
        batches(what, publish, read)
    }
}

fn tokio_publish(readers: usize, what: Timed) -> impl FnMut() -> Duration {
    let (sender, first) = broadcast::channel::<Bytes>(CAPACITY);
    let mut readers: Vec<_> = (0..readers).map(|_| first.resubscribe()).collect();
    drop(first);
    let frame = frame(0);
    move || {
        let publish = || {
            for _ in 0..BATCH {
                sender.send(black_box(frame)).expect("readers live");
            }
        };
        let read = || {
            for reader in &mut readers {
                let read = std::iter::from_fn(|| reader.try_recv().ok()).map(black_box).count();
                assert_eq!(read, BATCH, "a reader misses frames");
            }
        };
        batches(what, publish, read)
    }
}

fn report_publish(report: &mut Report, criterion: &mut Criterion) {
    let (only, both) = (Timed::Publish, Timed::PublishAndRead);
    let cases = [
        ("star publish, 1 reader", 1, 1, only, Goal::None),
        ("star publish, 8 readers", 8, 1, only, Goal::AtMost(100.0)),
        ("star publish, 8 readers, 64 frames a call", 8, 64, only, Goal::AtMost(100.0)),
        ("star publish, 16 readers", 16, 1, only, Goal::None),
        ("star publish and 8 readers reading", 8, 1, both, Goal::None),
    ];
    for (name, readers, per_call, what, goal) in cases {
        let mut contest = Contest::new(name, BATCH * BATCHES)
            .enter("star", star_publish(readers, per_call, what))
            .enter("tokio broadcast", tokio_publish(readers, what));
        let [ours, tokio] = &contest.race(ROUNDS)[..] else { unreachable!("two were entered") };
        report.row(name, Unit::Nanoseconds, ours, Peer::Here("tokio broadcast, one by one", tokio), goal);
        contest.criterion(criterion);
    }
}

/// Sends stamped frames, each once the one before was read and a gap has passed, until `receive` on another thread
/// has its samples; it counts them in the counter it is given.
fn hops(
    gap: Duration,
    mut send: impl FnMut(Bytes),
    receive: impl FnOnce(&AtomicUsize) -> Vec<f64> + Send,
) -> [f64; 2] {
    let (read, mut sent) = (AtomicUsize::new(0), 0);
    let mut samples = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&read));
        while !receiver.is_finished() {
            send(frame(clock_ns()));
            sent += 1;
            wait(gap);
            while read.load(Relaxed) < sent && !receiver.is_finished() {
                std::thread::yield_now();
            }
        }
        receiver.join().expect("the receiver ends")
    });
    [percentile(&mut samples, 0.5), percentile(&mut samples, 0.99)]
}

/// A hub goes on working after it has published. The scheduler often puts a woken reader on the hub's core, where it
/// either preempts the hub or waits for it to rest: a hub that slept at once would hide the difference.
fn wait(gap: Duration) {
    let start = Instant::now();
    while start.elapsed() < gap.min(WORK) {
        std::hint::spin_loop();
    }
    if gap > WORK {
        std::thread::sleep(gap - WORK);
    }
}

fn star_hops(gap: Duration, samples: usize) -> [f64; 2] {
    let star = Star::local(CAPACITY, "bench");
    let mut publisher = star.publisher(1).expect("the only publisher");
    let (mut reader, bell) = (star.reader(), Doorbell::new());
    reader.attach(Arc::clone(&bell));
    let receive = move |read: &AtomicUsize| {
        let mut ages = Vec::with_capacity(samples);
        while ages.len() < samples {
            match reader.next() {
                Some(Next::Frame(frame)) => ages.push(age_ns(frame)),
                Some(Next::Lost { .. }) => panic!("the only reader misses frames"),
                None if gap >= ASLEEP_GAP => bell.wait(Duration::from_secs(1)),
                None => std::hint::spin_loop(),
            }
            read.store(ages.len(), Relaxed);
        }
        ages
    };
    hops(gap, |frame| publisher.publish(&frame), receive)
}

fn tokio_hops(gap: Duration, samples: usize) -> [f64; 2] {
    let (sender, mut reader) = broadcast::channel::<Bytes>(CAPACITY);
    let receive = move |read: &AtomicUsize| {
        let mut ages = Vec::with_capacity(samples);
        while ages.len() < samples {
            if gap >= ASLEEP_GAP {
                ages.push(age_ns(&reader.blocking_recv().expect("frames come")));
            } else {
                match reader.try_recv() {
                    Ok(frame) => ages.push(age_ns(&frame)),
                    Err(TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(error) => panic!("the only reader misses frames: {error}"),
                }
            }
            read.store(ages.len(), Relaxed);
        }
        ages
    };
    // The last frame may find no reader any more.
    hops(gap, |frame| _ = sender.send(frame), receive)
}

fn report_hops(report: &mut Report, reader: &str, gap: Duration, samples: usize, goal: Goal) {
    let mut figures: [[Figures; 2]; 2] = Default::default();
    for round in 0..HOP_ROUNDS {
        let mut turns = [0, 1];
        turns.rotate_left(round % 2);
        for who in turns {
            let hops = if who == 0 { star_hops(gap, samples) } else { tokio_hops(gap, samples) };
            figures[who].iter_mut().zip(hops).for_each(|(figures, ns)| figures.push(ns / 1e3));
        }
    }
    let [ours, tokio] = &figures;
    let peer = |n: usize| Peer::Here("tokio broadcast", &tokio[n]);
    report.row(&format!("hop to a reader that {reader}, p50"), Unit::Microseconds, &ours[0], peer(0), goal);
    report.row(
        &format!("hop to a reader that {reader}, p99"),
        Unit::Microseconds,
        &ours[1],
        peer(1),
        Goal::None,
    );
}

fn main() {
    let Some(mut report) = Report::begin("star") else { return };
    let mut criterion = Criterion::default().configure_from_args();
    report_publish(&mut report, &mut criterion);
    report_hops(&mut report, "polls", POLLED_GAP, 10_000, Goal::AtMost(1.0));
    report_hops(&mut report, "sleeps", ASLEEP_GAP, 1_000, Goal::None);
    report.note(
        "Per frame of 64 bytes; every reader of the star with a doorbell, drained every 1,024 frames. Hops: one frame \
         under way at a time, two clock reads in each; for a sleeping reader the hub works on for 50 µs after each frame.",
    );
    criterion.final_summary();
}
