//! How fast one order-level message is decoded and applied to the full book, beside the books that people write first.
//!
//! All books must end with the same levels, or nothing is reported. It reads one file into memory and no clock but its own.

mod session;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;
use dbn::VersionUpgradePolicy;
use dbn::decode::{DbnMetadata as _, DecodeRecordRef as _, DynReader, dbn::Decoder};
use nautilus_benches::{Contest, Figures, Goal, Peer, Report, Unit, percentile, timed};
use nautilus_bus::Star;
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_marketdata::{BookLevel, BookLimits, Config, MarketdataEngine, NaiveBook, OrderBook};
use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_messages::frame::{FrameRef, Frames, OrderAction, OrderChange};
use nautilus_types::{Price, Quantity, Side};

use session::Session;

const ROUNDS: usize = 15;
/// Messages per clock reading, so that the clock weighs less than a nanosecond.
const CLOCKED: usize = 64;
/// Frames that the engine is handed at once.
const BATCH: usize = 512;
/// Million messages a second, end to end, ITCH on an Apple M: an order of magnitude, not a race.
const PUBLISHED: Peer<'_> = Peer::Published("best published ITCH book; other machine, other data", 3.77);

/// What is usually written first: orders in a hash map, level totals in trees. It knows no place in the queue.
#[derive(Default)]
struct TreeBook {
    orders: HashMap<u64, (Side, i64, i64)>,
    levels: [BTreeMap<i64, (i64, u32)>; 2],
}

impl TreeBook {
    fn apply(&mut self, change: &OrderChange) {
        let (id, quantity) = (change.order_id.get(), change.quantity_nanos.get());
        match change.action {
            OrderAction::Fill => {}
            OrderAction::Clear => *self = Self::default(),
            OrderAction::Add => self.add(change),
            OrderAction::Modify => {
                self.take(id, i64::MAX);
                self.add(change);
            }
            OrderAction::Cancel => self.take(id, quantity),
        }
    }

    fn add(&mut self, change: &OrderChange) {
        let Some(side) = change.side.get() else { return };
        let (price, quantity) = (change.price_nanos.get(), change.quantity_nanos.get());
        self.orders.insert(change.order_id.get(), (side, price, quantity));
        let level = self.levels[side as usize].entry(price).or_default();
        *level = (level.0 + quantity, level.1 + 1);
    }

    fn take(&mut self, id: u64, quantity: i64) {
        let Some((side, price, held)) = self.orders.get_mut(&id) else { return };
        let (side, price, taken) = (*side, *price, quantity.min(*held));
        *held -= taken;
        let gone = u32::from(*held == 0);
        if gone == 1 {
            self.orders.remove(&id);
        }
        let level = self.levels[side as usize].get_mut(&price).expect("an order's level exists");
        *level = (level.0 - taken, level.1 - gone);
        if level.1 == 0 {
            self.levels[side as usize].remove(&price);
        }
    }

    fn levels(&self, side: Side) -> Vec<BookLevel> {
        let level = |(&price, &(quantity, orders)): (&i64, &(i64, u32))| BookLevel {
            price: Price::from_nanos(price),
            quantity: Quantity::from_nanos(quantity),
            orders,
        };
        let mut levels: Vec<_> = self.levels[side as usize].iter().map(level).collect();
        if side == Side::Buy {
            levels.reverse();
        }
        levels
    }
}

fn new_book() -> OrderBook {
    OrderBook::new(Price::ZERO, BookLimits::default())
}

/// Decodes frames and hands over the changes.
fn replay(mut frames: &[u8], mut apply: impl FnMut(&OrderChange)) {
    while !frames.is_empty() {
        let (frame, rest) = FrameRef::split_first(frames).expect("a legal frame");
        if let FrameRef::OrderChange(change) = frame {
            apply(change);
        }
        frames = rest;
    }
}

fn ours(frames: &[u8]) -> OrderBook {
    let mut book = new_book();
    replay(frames, |change| _ = black_box(book.apply(change)));
    book
}

fn naive(frames: &[u8]) -> NaiveBook {
    let mut book = NaiveBook::new(Price::ZERO);
    replay(frames, |change| _ = black_box(book.apply(change)));
    book
}

fn tree(frames: &[u8]) -> TreeBook {
    let mut book = TreeBook::default();
    replay(frames, |change| book.apply(change));
    book
}

fn assert_all_agree(frames: &[u8]) {
    let (ours, naive, tree) = (ours(frames), naive(frames), tree(frames));
    for side in [Side::Buy, Side::Sell] {
        let levels: Vec<_> = ours.levels(side).collect();
        assert!(!levels.is_empty(), "the session leaves a book behind");
        assert!(levels.iter().copied().eq(naive.levels(side)), "NaiveBook ends with other levels");
        assert!(levels == tree.levels(side), "the tree book ends with other levels");
    }
}

fn books<'a>(session: &'a Session, events: usize) -> Contest<'a> {
    let frames = &session.frames;
    Contest::new("decode and apply", events)
        .enter("OrderBook", || timed(|| ours(frames)))
        .enter("NaiveBook", || timed(|| naive(frames)))
        .enter("TreeBook", || timed(|| tree(frames)))
        .enter("decode only", || timed(|| replay(frames, |change| _ = black_box(change))))
}

/// Steps an engine through all frames, with `after` behind every hand-over.
fn step_all(decoded: &[FrameRef<'_>], mut after: impl FnMut(&mut MarketdataEngine, &Effects)) -> Duration {
    let (mut engine, mut out) = (MarketdataEngine::new(Config::default()), Effects::default());
    timed(|| {
        for batch in decoded.chunks(BATCH) {
            for frame in batch {
                engine.step(Stamp::default(), Input::Frame(*frame), &mut out);
            }
            after(&mut engine, &out);
            out.clear();
        }
        engine
    })
}

fn engine<'a>(decoded: &'a [FrameRef<'a>]) -> Contest<'a> {
    Contest::new("marketdata engine", decoded.len()).enter("step", || step_all(decoded, |_, _| {})).enter(
        "step, star and views",
        || {
            let star = Star::local(1 << 16, "bench");
            let mut publisher = star.publisher(1).expect("the only publisher");
            step_all(decoded, |engine, out| {
                publisher.publish(&out.star);
                engine.publish(&mut |_, view| drop(black_box(view)));
            })
        },
    )
}

/// Reads a recording to its end, batch by batch, and hands over the frames.
fn read(path: &Path, mut take: impl FnMut(&[u8])) {
    let mut feed = FileFeed::open(path, &Registry::new()).expect("the recording opens");
    let mut frames = Vec::new();
    loop {
        frames.clear();
        let state = feed.read(BATCH, &mut frames).expect("the recording reads");
        take(&frames);
        if state == Read::End {
            return;
        }
    }
}

/// The `dbn` crate's own reader, record by record.
fn read_dbn(path: &Path) -> usize {
    let file = BufReader::new(File::open(path).expect("the recording opens"));
    let as_is = VersionUpgradePolicy::AsIs;
    let mut decoder = Decoder::with_upgrade_policy(file, as_is).expect("the recording opens");
    black_box(decoder.metadata());
    let mut records = 0;
    while let Some(record) = decoder.decode_record_ref().expect("the recording reads") {
        black_box(record.get::<dbn::MboMsg>());
        records += 1;
    }
    records
}

fn files<'a>(session: &'a Session, plain: &'a Path) -> Contest<'a> {
    Contest::new("recording", session.records)
        .enter("DBN to frames", || timed(|| read(plain, |frames| _ = black_box(frames))))
        .enter("dbn crate, no frames", || timed(|| read_dbn(plain)))
        .enter("DBN to book", || {
            timed(|| {
                let mut book = new_book();
                read(plain, |frames| replay(frames, |change| _ = black_box(book.apply(change))));
                book
            })
        })
        .enter("DBN.zst to book", || {
            timed(|| {
                let mut book = new_book();
                read(&session.path, |frames| replay(frames, |change| _ = black_box(book.apply(change))));
                book
            })
        })
}

/// Nanoseconds per message over groups of messages: median and 99th percentile of one pass.
fn spread<B>(changes: &[&OrderChange], mut book: B, mut apply: impl FnMut(&mut B, &OrderChange)) -> [f64; 2] {
    let mut samples = Vec::with_capacity(changes.len() / CLOCKED + 1);
    for group in changes.chunks_exact(CLOCKED) {
        let start = Instant::now();
        for change in group {
            apply(&mut book, change);
        }
        samples.push(start.elapsed().as_nanos() as f64 / CLOCKED as f64);
    }
    [percentile(&mut samples, 0.5), percentile(&mut samples, 0.99)]
}

fn report_spread(report: &mut Report, changes: &[&OrderChange]) {
    let mut figures: [[Figures; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        let rounds = [
            spread(changes, new_book(), |book, change| _ = black_box(book.apply(change))),
            spread(changes, NaiveBook::new(Price::ZERO), |book, change| _ = black_box(book.apply(change))),
        ];
        for (book, round) in figures.iter_mut().zip(rounds) {
            book.iter_mut().zip(round).for_each(|(figures, figure)| figures.push(figure));
        }
    }
    let [ours, naive] = &figures;
    let peer = |n: usize| Peer::Here("NaiveBook", &naive[n]);
    let measured = format!("apply, groups of {CLOCKED} messages: median");
    report.row(&measured, Unit::Nanoseconds, &ours[0], peer(0), Goal::AtMost(250.0));
    let measured = format!("apply, groups of {CLOCKED} messages: 99th percentile");
    report.row(&measured, Unit::Nanoseconds, &ours[1], peer(1), Goal::None);
}

/// Unpacks the recording, so that decoding can be timed without zstd.
fn unpack(session: &Session, folder: &Path) -> std::path::PathBuf {
    let mut bytes = Vec::new();
    let mut reader = DynReader::from_file(&session.path).expect("the recording opens");
    reader.read_to_end(&mut bytes).expect("the recording reads");
    let plain = folder.join("session.dbn");
    std::fs::write(&plain, bytes).expect("the temporary folder takes a file");
    plain
}

fn main() {
    let Some(mut report) = Report::begin("order_book") else { return };
    let session = Session::load();
    let (decoded, changes) = (session.decoded(), session.order_changes());
    assert_eq!(Frames::new(&session.frames).count(), decoded.len());
    assert_all_agree(&session.frames);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = unpack(&session, folder.path());

    let ns = Unit::Nanoseconds;
    let mut books = books(&session, changes.len());
    let [ours, naive, tree, decode] = &books.race(ROUNDS)[..] else { unreachable!("four were entered") };
    report.row(
        "decode + apply, per message",
        ns,
        ours,
        Peer::Here("NaiveBook (BTreeMap)", naive),
        Goal::AtMost(250.0),
    );
    report.row("the same", ns, ours, Peer::Here("HashMap + BTreeMap levels, no queues", tree), Goal::None);
    let rate = |figures: &Figures| figures.map(|ns| 1e3 / ns);
    report.row("the same", Unit::MillionsPerSecond, &rate(ours), Peer::None, Goal::AtLeast(4.0));
    report.row("decode alone", ns, decode, Peer::None, Goal::None);
    report_spread(&mut report, &changes);

    let mut engine = engine(&decoded);
    let [step, whole] = &engine.race(ROUNDS)[..] else { unreachable!("two were entered") };
    report.row("engine `step`, per frame", ns, step, Peer::None, Goal::None);
    report.row("`step`, publish on the star, views per 512", ns, whole, Peer::None, Goal::None);

    let mut files = files(&session, &plain);
    let [read, dbn, book, zst] = &files.race(ROUNDS)[..] else { unreachable!("four were entered") };
    report.row(
        "DBN to frames, per record",
        ns,
        read,
        Peer::Here("`dbn` crate, record references only", dbn),
        Goal::None,
    );
    report.row(
        "DBN to book, end to end",
        Unit::MillionsPerSecond,
        &rate(book),
        PUBLISHED,
        Goal::AtLeast(4.0),
    );
    report.row("DBN.zst to book, end to end", Unit::MillionsPerSecond, &rate(zst), PUBLISHED, Goal::None);
    let (name, records, messages) = (session.name, session.records, changes.len());
    report.note(&format!(
        "{name}: {records} records, {messages} order messages; every book ended with the same levels."
    ));

    let mut criterion = Criterion::default().configure_from_args();
    books.criterion(&mut criterion);
    engine.criterion(&mut criterion);
    files.criterion(&mut criterion);
    criterion.final_summary();
}
