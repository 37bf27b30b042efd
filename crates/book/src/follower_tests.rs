//! The follower behind a hub, a lossy star and late snapshots, against the naive book that was fed with everything.

use std::collections::BTreeMap;

use nautilus_messages::frame::{
    BookState, Definition, FrameRef, Frames, Header, Kind, LevelChange, OrderAction, OrderChange, Snapshot,
    SnapshotPhase, Status, Trade, TradingState, WireSide, flags,
};
use nautilus_types::{AssetClass, Instrument, InstrumentId, Price, Quantity, Side, UnixNanos};
use proptest::prelude::*;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use crate::{BookFollower, BookLevel, BookLimits, HELD_MAX, NaiveBook, Touched};

const SMALL: BookLimits = BookLimits { window_ticks: 64, orders_max: 1 << 20 };
const TICK: i64 = 250_000_000;

type Levels = [Vec<BookLevel>; 2];

fn header(kind: Kind, sequence: u64, flags: u16) -> Header {
    Header::new(kind, InstrumentId(1), sequence, UnixNanos(0), UnixNanos(0)).with_flags(flags)
}

fn definition(header: Header) -> Definition {
    let instrument = Instrument {
        id: InstrumentId(1),
        symbol: "ESH4".parse().unwrap(),
        venue: "GLBX".parse().unwrap(),
        class: AssetClass::Future,
        currency: "USD".parse().unwrap(),
        tick: Price::ZERO,
        lot: Quantity::from_units(1).unwrap(),
        multiplier: Quantity::from_units(50).unwrap(),
    };
    Definition { header, ..Definition::of(&instrument, 0) }
}

fn change(
    header: Header,
    action: OrderAction,
    id: u64,
    side: Option<Side>,
    price: i64,
    quantity: i64,
) -> OrderChange {
    OrderChange {
        header,
        order_id: U64::new(id),
        price_nanos: I64::new(price),
        quantity_nanos: I64::new(quantity),
        action,
        side: WireSide::from(side),
        reserved: [0; 6],
    }
}

fn status(header: Header, book: BookState) -> Status {
    Status { header, trading: TradingState::Open, book, reserved: [0; 30] }
}

fn trade(header: Header) -> Trade {
    Trade {
        header,
        price_nanos: I64::new(TICK),
        quantity_nanos: I64::new(1),
        trade_id: U64::ZERO,
        aggressor: WireSide::None,
        reserved: [0; 7],
    }
}

fn bracket(header: Header, phase: SnapshotPhase, frames: usize) -> Snapshot {
    Snapshot { header, frames: U32::new(u32::try_from(frames).unwrap()), phase, reserved: [0; 27] }
}

/// A snapshot of the star as the hub makes it.
fn snapshot(book: &NaiveBook, sequence: u64, state: BookState) -> Vec<u8> {
    let header = |kind| header(kind, sequence, flags::SNAPSHOT);
    let mut bytes = definition(header(Kind::Definition)).to_bytes().to_vec();
    bytes.extend_from_slice(status(header(Kind::Status), state).to_bytes());
    let begin = bracket(header(Kind::Snapshot), SnapshotPhase::Begin, book.len());
    bytes.extend_from_slice(begin.to_bytes());
    for side in [Side::Buy, Side::Sell] {
        for (id, price, quantity) in book.orders(side) {
            let add = change(
                header(Kind::OrderChange),
                OrderAction::Add,
                id,
                Some(side),
                price.nanos(),
                quantity.nanos(),
            );
            bytes.extend_from_slice(add.to_bytes());
        }
    }
    let doubtful = if state == BookState::Live { 0 } else { flags::MAYBE_BAD };
    let mut end = bracket(header(Kind::Snapshot), SnapshotPhase::End, book.len());
    end.header = end.header.with_flags(flags::LAST | doubtful);
    bytes.extend_from_slice(end.to_bytes());
    bytes
}

fn levels_of(book: &NaiveBook) -> Levels {
    [Side::Buy, Side::Sell].map(|side| book.levels(side).collect())
}

fn levels(follower: &BookFollower) -> Levels {
    [Side::Buy, Side::Sell].map(|side| {
        let mut levels = Vec::new();
        follower.book().each_level(side, usize::MAX, |level| levels.push(level));
        levels
    })
}

/// The newest snapshot on the star.
#[derive(Clone)]
struct Newest {
    epoch: usize,
    position: usize,
    sequence: u64,
    frames: Vec<u8>,
}

/// A hub and everything it ever published.
struct Hub {
    book: NaiveBook,
    epoch: usize,
    sequence: u64,
    /// By position: epoch, the instrument's number, and the frame; none for one of another instrument.
    star: Vec<(usize, u64, Option<Vec<u8>>)>,
    /// The book after every number of every epoch.
    books: BTreeMap<(usize, u64), Levels>,
    /// A snapshot that readers cannot get yet.
    made: Option<Newest>,
    newest: Option<Newest>,
}

impl Hub {
    fn new() -> Self {
        let mut hub = Self {
            book: NaiveBook::default(),
            epoch: 0,
            sequence: 0,
            star: Vec::new(),
            books: BTreeMap::new(),
            made: None,
            newest: None,
        };
        hub.restart();
        hub
    }

    fn restart(&mut self) {
        (self.book, self.sequence) = (NaiveBook::default(), 0);
        self.epoch += 1;
        self.publish(Kind::Definition, 0, |header| definition(header).to_bytes().to_vec());
        self.publish(Kind::Status, 0, |header| status(header, BookState::Live).to_bytes().to_vec());
    }

    fn publish(&mut self, kind: Kind, flags: u16, frame: impl FnOnce(Header) -> Vec<u8>) {
        self.sequence += 1;
        let frame = frame(header(kind, self.sequence, flags | flags::CONTIGUOUS));
        self.star.push((self.epoch, self.sequence, Some(frame)));
        self.books.insert((self.epoch, self.sequence), levels_of(&self.book));
    }

    fn order(&mut self, action: OrderAction, id: u64, side: Side, price: i64, quantity: i64) {
        let order = change(header(Kind::OrderChange, 0, 0), action, id, Some(side), price, quantity);
        if self.book.apply(&order).is_ok() {
            self.publish(Kind::OrderChange, flags::LAST, |header| {
                OrderChange { header, ..order }.to_bytes().to_vec()
            });
        }
    }

    fn renew(&mut self) {
        self.make();
        self.newest = self.made.take();
    }

    fn make(&mut self) {
        self.made = Some(Newest {
            epoch: self.epoch,
            position: self.star.len(),
            sequence: self.sequence,
            frames: snapshot(&self.book, self.sequence, BookState::Live),
        });
    }
}

/// A reader of the star that hands snapshots in as the chassis does.
struct Reader {
    follower: BookFollower,
    position: usize,
    epoch: usize,
    /// Frames up to this number are contained in a snapshot that was handed in.
    known: u64,
    missed_before: usize,
    fed: usize,
    /// Levels as a reader of the changes keeps them.
    copy: [BTreeMap<Price, BookLevel>; 2],
}

impl Reader {
    fn new() -> Self {
        Self {
            follower: BookFollower::new(SMALL),
            position: 0,
            epoch: 0,
            known: 0,
            missed_before: 0,
            fed: 0,
            copy: Default::default(),
        }
    }

    fn step(&mut self, bytes: &[u8]) {
        for frame in Frames::new(bytes) {
            let frame = frame.expect("a legal frame");
            let contained = frame.header().has(flags::CONTIGUOUS)
                && matches!(frame, FrameRef::OrderChange(_) | FrameRef::Status(_))
                && frame.header().sequence.get() <= self.known;
            if contained {
                continue;
            }
            let mut touched = Vec::new();
            self.follower.step(frame, &mut |what| touched.push(what));
            touched.into_iter().for_each(|what| self.note(what));
        }
    }

    fn note(&mut self, what: Touched) {
        match what {
            Touched::Level(side, price) => {
                match self.follower.book().at(side, price) {
                    Some(level) => self.copy[side as usize].insert(price, level),
                    None => self.copy[side as usize].remove(&price),
                };
            }
            Touched::All => {
                self.copy =
                    levels(&self.follower).map(|side| side.into_iter().map(|l| (l.price, l)).collect());
            }
        }
    }

    fn follow(&mut self, epoch: usize) {
        if self.epoch != epoch {
            if self.epoch != 0 {
                self.follower.restart();
            }
            (self.epoch, self.known, self.fed) = (epoch, 0, 0);
        }
    }

    fn read(&mut self, hub: &Hub, count: usize) {
        for (epoch, _, frame) in hub.star.iter().skip(self.position).take(count) {
            self.position += 1;
            self.follow(*epoch);
            if let Some(frame) = frame {
                self.step(frame);
            }
        }
    }

    fn lose(&mut self, hub: &Hub, count: usize) {
        let lost = count.min(hub.star.len() - self.position);
        if lost == 0 {
            return;
        }
        self.position += lost;
        self.follow(hub.star[self.position - 1].0);
        self.missed_before = self.position;
        let newest = hub.newest.clone().filter(|newest| newest.epoch == self.epoch);
        let late = newest.as_ref().is_some_and(|newest| newest.position < self.position);
        if late {
            self.feed(newest.as_ref());
        }
        self.follower.miss();
        if !late {
            self.feed(newest.as_ref());
        }
    }

    fn look(&mut self, hub: &Hub) {
        if !self.follower.wants_snapshot() {
            return;
        }
        let useful = |newest: &&Newest| {
            newest.epoch == self.epoch && newest.position > self.fed && newest.position >= self.missed_before
        };
        let newest = hub.newest.as_ref().filter(useful).cloned();
        self.feed(newest.as_ref());
    }

    fn feed(&mut self, newest: Option<&Newest>) {
        let Some(newest) = newest else { return };
        (self.known, self.fed) = (newest.sequence, newest.position);
        self.step(&newest.frames);
    }

    fn check(&self, hub: &Hub) -> Result<(), TestCaseError> {
        if self.follower.state() != BookState::Live {
            return Ok(());
        }
        let read = &hub.star[..self.position];
        let newest = read.iter().rev().find(|(epoch, _, frame)| *epoch == self.epoch && frame.is_some());
        let sequence = self.follower.sequence();
        prop_assert!(
            sequence >= newest.map_or(0, |(_, sequence, _)| *sequence),
            "live, but behind the reader"
        );
        let true_book = hub.books.get(&(self.epoch, sequence));
        prop_assert_eq!(true_book, Some(&levels(&self.follower)), "live, but another book at {}", sequence);
        let copy = |side: Side| self.copy[side as usize].values().copied();
        let asks: Vec<_> = copy(Side::Sell).collect();
        let bids: Vec<_> = copy(Side::Buy).rev().collect();
        prop_assert_eq!([bids, asks], levels(&self.follower), "the changes told do not add up");
        Ok(())
    }
}

type Happening = (u8, u64, bool, i64, i64, usize);

fn happening() -> impl Strategy<Value = Happening> {
    (0u8..100, 0u64..40, any::<bool>(), 0i64..30, 0i64..9, 0usize..30)
}

fn happen(hub: &mut Hub, reader: &mut Reader, what: Happening) {
    let (kind, id, buys, price, quantity, count) = what;
    let side = if buys { Side::Buy } else { Side::Sell };
    let price = (19_200 + price) * TICK;
    match kind {
        0..40 => hub.order(OrderAction::Add, id, side, price, quantity),
        40..50 => hub.order(OrderAction::Cancel, id, side, price, quantity),
        50..57 => hub.order(OrderAction::Modify, id, side, price, quantity),
        57 => hub.order(OrderAction::Clear, 0, side, 0, 0),
        58..63 => hub.publish(Kind::Trade, 0, |header| trade(header).to_bytes().to_vec()),
        63..67 => hub.star.push((hub.epoch, 0, None)),
        67..71 => hub.make(),
        71..75 => hub.newest = hub.made.take().or(hub.newest.take()),
        75..87 => reader.read(hub, count),
        87..92 => reader.lose(hub, count),
        92 => hub.restart(),
        _ => reader.look(hub),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_live_book_is_the_true_one(happenings in prop::collection::vec(happening(), 1..400)) {
        let (mut hub, mut reader) = (Hub::new(), Reader::new());
        for what in happenings {
            happen(&mut hub, &mut reader, what);
            reader.check(&hub)?;
            let saved = reader.follower.save();
            let again = BookFollower::restore(saved.clone(), SMALL).expect("its own state").save();
            prop_assert_eq!(&again, &saved);
        }
        // Whatever happened, reading on and a fresh snapshot end it.
        reader.read(&hub, usize::MAX);
        hub.renew();
        reader.look(&hub);
        reader.check(&hub)?;
        prop_assert_eq!(reader.follower.state(), BookState::Live);
        prop_assert_eq!(levels(&reader.follower), levels_of(&hub.book));
    }
}

/// A follower that has read a hub's first frames, and the hub.
fn started() -> (Hub, Reader) {
    let (mut hub, mut reader) = (Hub::new(), Reader::new());
    for id in 1..=5 {
        hub.order(OrderAction::Add, id, Side::Buy, 19_200 * TICK, 1);
    }
    reader.read(&hub, usize::MAX);
    assert_eq!((reader.follower.state(), reader.follower.sequence()), (BookState::Live, 7));
    (hub, reader)
}

#[test]
fn missed_frames_of_others_cost_nothing_and_own_ones_are_noticed() {
    let (mut hub, mut reader) = started();
    hub.star.push((1, 0, None));
    reader.lose(&hub, 1);
    assert_eq!(reader.follower.state(), BookState::Syncing);
    hub.order(OrderAction::Add, 6, Side::Buy, 19_200 * TICK, 1);
    reader.read(&hub, 1);
    assert_eq!((reader.follower.state(), reader.follower.sequence()), (BookState::Live, 8));
    for id in 7..=9 {
        hub.order(OrderAction::Add, id, Side::Buy, 19_200 * TICK, 1);
    }
    reader.lose(&hub, 1);
    reader.read(&hub, 2);
    assert_eq!((reader.follower.state(), reader.follower.sequence()), (BookState::Syncing, 8));
    assert!(reader.follower.wants_snapshot());
}

#[test]
fn a_snapshot_older_than_the_hole_does_not_mend_it() {
    let (mut hub, mut reader) = started();
    hub.order(OrderAction::Add, 6, Side::Buy, 19_200 * TICK, 1);
    hub.renew();
    let old = hub.newest.clone().expect("made just now");
    for id in 7..=9 {
        hub.order(OrderAction::Add, id, Side::Buy, 19_200 * TICK, 1);
    }
    reader.position += 2;
    reader.read(&hub, 1);
    reader.step(&old.frames);
    assert_eq!(reader.follower.state(), BookState::Syncing, "frame 9 is missing in both");
    hub.renew();
    reader.look(&hub);
    assert_eq!((reader.follower.state(), reader.follower.sequence()), (BookState::Live, 11));
    reader.read(&hub, usize::MAX);
    reader.check(&hub).expect("the true book");
}

#[test]
fn a_doubtful_book_is_followed_and_called_what_its_hub_calls_it() {
    let (mut hub, mut reader) = started();
    hub.order(OrderAction::Add, 6, Side::Buy, 19_200 * TICK, 1);
    reader.position += 1;
    hub.order(OrderAction::Add, 7, Side::Buy, 19_200 * TICK, 1);
    reader.read(&hub, 1);
    reader.step(&snapshot(&hub.book, hub.sequence, BookState::Stale));
    assert_eq!((reader.follower.state(), reader.follower.wants_snapshot()), (BookState::Stale, false));
    hub.publish(Kind::Status, 0, |header| status(header, BookState::Live).to_bytes().to_vec());
    reader.read(&hub, 1);
    reader.check(&hub).expect("the true book");
    assert_eq!(reader.follower.state(), BookState::Live);
}

#[test]
fn a_snapshot_that_is_torn_counts_for_nothing() {
    let (hub, _) = started();
    let whole = snapshot(&hub.book, hub.sequence, BookState::Live);
    let (order, end) = (Kind::Definition.len() + 2 * 64, whole.len() - 64);
    let without = |at: usize| [&whole[..at], &whole[at + 64..]].concat();
    for torn in [without(order), without(end), [&whole[..end], &whole].concat()[..end + 184].to_vec()] {
        let mut reader = Reader::new();
        reader.step(&torn);
        assert_eq!(reader.follower.state(), BookState::Syncing);
        reader.step(&whole);
        assert_eq!((reader.follower.state(), reader.follower.sequence()), (BookState::Live, 7));
    }
}

#[test]
fn what_is_held_is_bounded() {
    let (mut hub, mut reader) = started();
    hub.order(OrderAction::Add, 6, Side::Buy, 19_200 * TICK, 1);
    hub.renew();
    let old = hub.newest.clone().expect("made just now");
    let frames = (HELD_MAX / Kind::OrderChange.len()) as u64 + 10;
    let add = |sequence| {
        let header = header(Kind::OrderChange, sequence, flags::CONTIGUOUS | flags::LAST);
        change(header, OrderAction::Add, sequence, Some(Side::Buy), 19_200 * TICK, 1)
    };
    (9..9 + frames).for_each(|sequence| reader.step(add(sequence).to_bytes()));
    assert_eq!(reader.follower.state(), BookState::Syncing);
    reader.step(&old.frames);
    assert_eq!(reader.follower.state(), BookState::Syncing, "the frames after it were let go");
    reader.known = 0;
    let later = snapshot(&hub.book, 9 + frames - 5, BookState::Live);
    reader.step(&later);
    assert_eq!((reader.follower.state(), reader.follower.sequence()), (BookState::Live, 9 + frames - 1));
}

#[test]
fn a_level_book_is_followed_too() {
    let level = |sequence, side: Option<Side>, price: i64, quantity: i64| LevelChange {
        header: header(Kind::LevelChange, sequence, flags::CONTIGUOUS),
        price_nanos: I64::new(price * TICK),
        quantity_nanos: I64::new(quantity),
        orders: U32::new(2),
        side: WireSide::from(side),
        reserved: [0; 11],
    };
    let mut follower = BookFollower::new(SMALL);
    let mut touched = Vec::new();
    let mut step = |frame: FrameRef<'_>| follower.step(frame, &mut |what| touched.push(what));
    step((&definition(header(Kind::Definition, 1, flags::CONTIGUOUS))).into());
    step((&level(2, Some(Side::Sell), 4, 7)).into());
    step((&level(3, Some(Side::Sell), 4, 0)).into());
    step((&level(4, None, 0, 0)).into());
    let at = Touched::Level(Side::Sell, Price::from_nanos(4 * TICK));
    assert_eq!(touched, [Touched::All, at, at, Touched::All]);
    assert_eq!(follower.sequence(), 4);
}
