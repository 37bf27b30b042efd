//! The recorded ES session behind the hub: a reader of the publications ends with the true book, whatever is lost on
//! the way and however changes are batched.

mod client;

use client::{BookReader, published, settled};
use nautilus_engine::replay::{self, Plan};
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_marketdata::{Config, MarketdataEngine};
use nautilus_engine_websocket::{Change, Level, Topic, WebsocketEngine};
use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_messages::frame::{BookState, FrameRef, Frames, Gap, GapCause, Header, Kind};
use nautilus_types::{InstrumentId, Quantity, Side, Symbol, UnixNanos};

const ES: InstrumentId = InstrumentId(1);

fn session() -> Option<Vec<u8>> {
    let path = nautilus_testkit::es_session()?;
    let mut feed = FileFeed::open(&path, &Registry::new()).expect("the recording opens");
    let mut frames = Vec::new();
    while feed.read(10_000, &mut frames).expect("the recording reads") == Read::Frames {}
    Some(frames)
}

fn symbol() -> Symbol {
    "ESH4".parse().expect("a symbol")
}

/// A hub that hands out what every frame of the recording makes it publish.
struct Hub {
    engine: MarketdataEngine,
    out: Effects,
}

impl Hub {
    fn new() -> Self {
        Self { engine: MarketdataEngine::new(Config::default()), out: Effects::default() }
    }

    fn take(&mut self, frame: FrameRef<'_>) -> &[u8] {
        self.out.clear();
        self.engine.step(Stamp::default(), Input::Frame(frame), &mut self.out);
        &self.out.star
    }

    fn snapshot(&self) -> Vec<u8> {
        self.engine.book_snapshot(ES).expect("defined").1
    }

    fn state(&mut self) -> BookState {
        let mut state = BookState::Syncing;
        self.engine.publish(&mut |_, view| state = view.state);
        state
    }

    fn levels(&self) -> [Vec<Level>; 2] {
        let book = self.engine.order_book(ES).expect("an order book");
        let level = |l: nautilus_engine_marketdata::BookLevel| Level {
            price: l.price,
            quantity: l.quantity,
            orders: l.orders,
        };
        [Side::Buy, Side::Sell].map(|side| book.levels(side).map(level).collect())
    }
}

fn star(frames: &[u8]) -> Vec<u8> {
    let mut hub = Hub::new();
    Frames::new(frames).flat_map(|frame| hub.take(frame.expect("a legal frame")).to_vec()).collect()
}

fn step(engine: &mut WebsocketEngine, bytes: &[u8]) {
    client::feed(engine, bytes);
}

fn gap(first: u64, last: u64) -> Gap {
    Gap {
        header: Header::new(Kind::Gap, InstrumentId::NONE, 0, UnixNanos(0), UnixNanos(0)),
        first_missing: first.into(),
        last_missing: last.into(),
        cause: GapCause::Overrun,
        reserved: [0; 15],
    }
}

fn assert_published_end(engine: &WebsocketEngine, reader: &BookReader) {
    let [bids, asks] = reader.copy.levels();
    assert_eq!((bids.len(), asks.len()), (922, 565));
    let best = |level: &Level| (level.price.to_string(), level.quantity);
    let lots = |count| Quantity::from_units(count).expect("fits");
    assert_eq!((best(&bids[0]), best(&asks[0])), (("4810".into(), lots(22)), ("4810.25".into(), lots(28))));
    let picture = engine.picture(Topic::Book(symbol())).expect("the book");
    let Change::Book(book) = picture.state else { panic!("a book") };
    assert_eq!((book.state, [book.bids, book.asks]), (BookState::Live, [bids, asks]));
    assert_eq!(picture.seq, reader.seq);
    assert_eq!(reader.newest.as_ref().map(|change| change.state), Some(BookState::Live));
}

#[test]
fn a_reader_ends_with_the_published_figures_and_is_right_on_the_way() {
    let Some(frames) = session() else { return };
    for every in [11, 5_000] {
        let (mut hub, mut engine, mut reader) =
            (Hub::new(), WebsocketEngine::default(), BookReader::default());
        for (n, frame) in Frames::new(&frames).enumerate() {
            step(&mut engine, hub.take(frame.expect("a legal frame")));
            if n % every == 0 {
                reader.take(&published(&mut engine));
            }
            if n % 7_001 == 7_000 {
                reader.take(&settled(&mut engine));
                assert_eq!(reader.copy.levels(), hub.levels(), "after {n}");
            }
        }
        reader.take(&settled(&mut engine));
        assert_published_end(&engine, &reader);
        assert!(reader.publications > 68_000 / every as u64 / 3, "{}", reader.publications);
    }
}

#[test]
fn lost_frames_and_late_snapshots_leave_no_trace() {
    let Some(frames) = session() else { return };
    let (mut hub, mut engine, mut reader) = (Hub::new(), WebsocketEngine::default(), BookReader::default());
    let (mut late, mut syncing) = (Vec::new(), 0);
    for (n, frame) in Frames::new(&frames).enumerate() {
        let published_now = hub.take(frame.expect("a legal frame"));
        match n % 4_000 {
            // A stretch is lost; the newest snapshot comes from its middle.
            3_000..3_050 => {}
            3_050 => {
                step(&mut engine, &late);
                step(&mut engine, gap(1, 50).to_bytes());
                step(&mut engine, published_now);
            }
            _ => step(&mut engine, published_now),
        }
        if n % 4_000 == 3_020 {
            late = hub.snapshot();
        }
        // The next one is made and found somewhat later.
        if n % 4_000 == 3_300 {
            late = hub.snapshot();
        }
        if n % 4_000 == 3_400 {
            step(&mut engine, &late);
            reader.take(&settled(&mut engine));
            assert_eq!(reader.newest.as_ref().map(|change| change.state), Some(hub.state()), "after {n}");
            assert_eq!(reader.copy.levels(), hub.levels(), "after {n}");
        }
        if n % 50 == 0 {
            reader.take(&published(&mut engine));
            syncing += u64::from(reader.newest.as_ref().is_some_and(|c| c.state == BookState::Syncing));
        }
    }
    reader.take(&settled(&mut engine));
    assert_published_end(&engine, &reader);
    assert!(syncing > 20, "the book was out of step for a while each time: {syncing}");
}

#[test]
fn replayed_twice_in_one_run_it_ends_the_same() {
    let Some(frames) = session() else { return };
    let (mut hub, mut engine, mut reader) = (Hub::new(), WebsocketEngine::default(), BookReader::default());
    let mut pictures = Vec::new();
    for _ in 0..2 {
        for frame in Frames::new(&frames) {
            step(&mut engine, hub.take(frame.expect("a legal frame")));
        }
        reader.take(&settled(&mut engine));
        assert_published_end(&engine, &reader);
        let bars = Topic::Bars(symbol(), "1m".parse().expect("short"));
        let states = [bars, Topic::Trades(symbol())].map(|topic| engine.picture(topic).expect("there").state);
        pictures.push(states);
    }
    let Change::Bars(bars) = &pictures[1][0] else { panic!("bars") };
    assert!(bars.windows(2).all(|pair| pair[0].ts_open < pair[1].ts_open), "no bar of the first run is left");
    assert_eq!(pictures[0][0], pictures[1][0]);
    let Change::Trades(prints) = &pictures[1][1] else { panic!("trades") };
    assert_eq!(prints.len(), 100);
    assert!(prints.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
}

#[test]
fn every_trade_is_told_once() {
    let Some(frames) = session() else { return };
    let (star, mut engine) = (star(&frames), WebsocketEngine::default());
    let mut told = Vec::new();
    for (n, frame) in Frames::new(&star).enumerate() {
        step(&mut engine, frame.expect("a legal frame").as_bytes());
        if n % 501 == 0 {
            told.extend(published(&mut engine));
        }
    }
    told.extend(settled(&mut engine));
    let trades = told.iter().filter_map(|publication| match &*publication.change {
        Change::Trades(prints) => Some(prints),
        _ => None,
    });
    let volume: i64 = trades.clone().flatten().map(|print| print.quantity.nanos()).sum();
    assert_eq!((trades.flatten().count(), volume), (2_973, 9_892 * nautilus_types::SCALE));
}

#[test]
fn batches_and_restarts_change_nothing() {
    let Some(frames) = session() else { return };
    let star = star(&frames);
    let run = |frames: &[u8], batch, restart_every| {
        replay::run(WebsocketEngine::default, frames, Plan { batch, restart_every }).expect("legal frames")
    };
    let whole = run(&star, 1_000, None);
    assert_eq!(run(&star, 7, None), whole);
    assert_eq!(run(&star, 1_000, Some(7_777)), whole);
    // Single steps and a restart at each, with a lost stretch and snapshots among them.
    let mut hub = Hub::new();
    let mut part = Vec::new();
    for (n, frame) in Frames::new(&frames).take(400).enumerate() {
        let published = hub.take(frame.expect("a legal frame")).to_vec();
        match n {
            300..320 => {}
            320 => part.extend([hub.snapshot(), gap(1, 20).to_bytes().to_vec(), published].concat()),
            350 => part.extend([published, hub.snapshot()].concat()),
            _ => part.extend(published),
        }
    }
    let whole = run(&part, 1_000, None);
    assert_eq!(run(&part, 1, Some(1)), whole);
    assert_eq!(run(&part, 3, Some(5)), whole);
}

#[test]
fn the_hubs_restart_begins_a_new_book() {
    let Some(frames) = session() else { return };
    let (mut engine, mut reader) = (WebsocketEngine::default(), BookReader::default());
    step(&mut engine, &star(&frames));
    reader.take(&settled(&mut engine));
    let mut out = Effects::default();
    engine.step(Stamp::default(), Input::HubRestarted, &mut out);
    assert_eq!(out.snapshots, [ES]);
    // The new hub's first frames were lost, and what comes has no definition yet.
    let mut hub = Hub::new();
    let mut second = Vec::new();
    for frame in Frames::new(&frames).take(20_000) {
        second.extend_from_slice(hub.take(frame.expect("a legal frame")));
    }
    let tail: Vec<u8> =
        Frames::new(&second).flatten().skip(15_000).flat_map(|f| f.as_bytes().to_vec()).collect();
    let out = client::feed(&mut engine, &tail);
    assert_eq!(out.snapshots, [ES]);
    reader.take(&settled(&mut engine));
    assert_eq!(reader.newest.as_ref().map(|change| change.state), Some(BookState::Syncing));
    step(&mut engine, &hub.snapshot());
    reader.take(&settled(&mut engine));
    assert_eq!(
        reader.newest.as_ref().map(|change| (change.state, change.cleared)),
        Some((BookState::Live, true))
    );
    assert_eq!(reader.copy.levels(), hub.levels());
}

#[test]
fn merged_changes_give_the_same_book() {
    let Some(frames) = session() else { return };
    let (mut hub, mut engine) = (Hub::new(), WebsocketEngine::default());
    let (mut merged, mut reader): (Option<Change>, _) = (None, client::BookCopy::default());
    for (n, frame) in Frames::new(&frames).take(30_000).enumerate() {
        step(&mut engine, hub.take(frame.expect("a legal frame")));
        for publication in published(&mut engine) {
            match (publication.topic, &mut merged) {
                (Topic::Book(_), Some(merged)) => merged.merge(&publication.change),
                (Topic::Book(_), none) => *none = Some(Change::clone(&publication.change)),
                _ => {}
            }
        }
        if n % 700 == 699
            && let Some(Change::Book(change)) = merged.take()
        {
            reader.apply(&change);
        }
    }
}
