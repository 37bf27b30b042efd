//! Market-data frames byte by byte: golden layouts, what is refused and why, and that no bytes panic.

use nautilus_messages::frame::{
    Bar, BarUnit, BookState, Definition, FrameError, FrameRef, Frames, Gap, GapCause, Header, Kind,
    LevelChange, NO_PRICE, OrderAction, OrderChange, Quote, Snapshot, SnapshotPhase, Status, Trade,
    TradingState, VERSION, WireSide, flags, header_mut,
};
use nautilus_types::{AssetClass, Instrument, InstrumentId, Price, Quantity, UnixNanos};
use proptest::prelude::*;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

fn header(kind: Kind) -> Header {
    let (event, received) = (UnixNanos(0x1122_3344_5566_7788), UnixNanos(0x1122_3344_5566_7799));
    Header::new(kind, InstrumentId(0xA1B2_C3D4), 0x0102_0304_0506_0708, event, received)
        .with_flags(flags::LAST | flags::REPLAY)
}

fn trade() -> Trade {
    Trade {
        header: header(Kind::Trade),
        price_nanos: I64::new(4_810_250_000_000),
        quantity_nanos: I64::new(22_000_000_000),
        trade_id: U64::new(7),
        aggressor: WireSide::Sell,
        reserved: [0; 7],
    }
}

fn quote() -> Quote {
    Quote {
        header: header(Kind::Quote),
        bid_nanos: I64::new(-37_630_000_000),
        ask_nanos: I64::new(NO_PRICE),
        bid_quantity_nanos: I64::new(1),
        ask_quantity_nanos: I64::new(0),
    }
}

fn order_change() -> OrderChange {
    OrderChange {
        header: header(Kind::OrderChange),
        order_id: U64::new(u64::MAX),
        price_nanos: I64::new(4_810_250_000_000),
        quantity_nanos: I64::new(1_000_000_000),
        action: OrderAction::Add,
        side: WireSide::Buy,
        reserved: [0; 6],
    }
}

fn level_change() -> LevelChange {
    LevelChange {
        header: header(Kind::LevelChange),
        price_nanos: I64::new(4_810_000_000_000),
        quantity_nanos: I64::new(0),
        orders: U32::new(3),
        side: WireSide::Sell,
        reserved: [0; 11],
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        header: header(Kind::Snapshot),
        frames: U32::new(11_217),
        phase: SnapshotPhase::Begin,
        reserved: [0; 27],
    }
}

fn status() -> Status {
    Status {
        header: header(Kind::Status),
        trading: TradingState::PreOpen,
        book: BookState::Stale,
        reserved: [0; 30],
    }
}

fn gap() -> Gap {
    Gap {
        header: header(Kind::Gap),
        first_missing: U64::new(10),
        last_missing: U64::new(12),
        cause: GapCause::Overrun,
        reserved: [0; 15],
    }
}

fn bar() -> Bar {
    Bar {
        header: header(Kind::Bar),
        open_nanos: I64::new(2),
        high_nanos: I64::new(4),
        low_nanos: I64::new(-1),
        close_nanos: I64::new(3),
        volume_nanos: I64::new(9),
        volume_buy_nanos: I64::new(5),
        volume_sell_nanos: I64::new(4),
        vwap_nanos: I64::new(2),
        ts_open_ns: U64::new(0x1122_3344_5566_0000),
        trades: U32::new(17),
        unit: BarUnit::Notional,
        reserved: [0; 3],
        interval: U64::new(60_000_000_000),
    }
}

fn definition() -> Definition {
    Definition::of(
        &Instrument {
            id: InstrumentId(5),
            symbol: "ESH4".parse().unwrap(),
            venue: "GLBX".parse().unwrap(),
            class: AssetClass::Future,
            currency: "USD".parse().unwrap(),
            tick: Price::from_nanos(250_000_000),
            lot: Quantity::from_nanos(1_000_000_000),
            multiplier: Quantity::from_nanos(50_000_000_000),
        },
        17_077,
    )
}

/// One frame of every kind.
fn one_of_each() -> Vec<(Kind, Vec<u8>)> {
    vec![
        (Kind::Trade, trade().to_bytes().to_vec()),
        (Kind::Quote, quote().to_bytes().to_vec()),
        (Kind::OrderChange, order_change().to_bytes().to_vec()),
        (Kind::LevelChange, level_change().to_bytes().to_vec()),
        (Kind::Snapshot, snapshot().to_bytes().to_vec()),
        (Kind::Status, status().to_bytes().to_vec()),
        (Kind::Gap, gap().to_bytes().to_vec()),
        (Kind::Bar, bar().to_bytes().to_vec()),
        (Kind::Definition, definition().to_bytes().to_vec()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands behind the kind in every header made here: version, flags, instrument, sequence and two instants.
const HEADER: &str = "010900d4c3b2a1080706050403020188776655443322119977665544332211";
/// The header of the definition: version 1 and instrument 5, nothing else.
const BARE_HEADER: &str = "01000005000000000000000000000000000000000000000000000000000000";

#[test]
fn every_kind_has_its_golden_bytes() {
    let golden = [
        format!("01{HEADER}80163ef95f040000005c4d1f0500000007000000000000000200000000000000"),
        format!("02{HEADER}80c4133df7ffffffffffffffffffff7f01000000000000000000000000000000"),
        format!("03{HEADER}ffffffffffffffff80163ef95f04000000ca9a3b000000000101000000000000"),
        format!("04{HEADER}006457ea5f040000000000000000000003000000020000000000000000000000"),
        format!("05{HEADER}d12b000001000000000000000000000000000000000000000000000000000000"),
        format!("06{HEADER}0102000000000000000000000000000000000000000000000000000000000000"),
        format!("07{HEADER}0a000000000000000c0000000000000002000000000000000000000000000000"),
        format!(
            "08{HEADER}02000000000000000400000000000000ffffffffffffffff0300000000000000\
             0900000000000000050000000000000004000000000000000200000000000000\
             00006655443322111100000004000000005847f80d000000"
        ),
        format!(
            "09{BARE_HEADER}455348340000000000000000000000000000000000000000474c425800000000\
             55534400020000000000000000000000\
             80b2e60e0000000000ca9a3b0000000000743ba40b000000b5420000000000000000000000000000"
        ),
    ];
    assert_eq!(one_of_each().len(), golden.len());
    for ((kind, bytes), golden) in one_of_each().into_iter().zip(golden) {
        assert_eq!(hex(&bytes), golden, "{}", kind.as_str());
        let frame = FrameRef::parse(&bytes).unwrap();
        assert_eq!((frame.header().kind, frame.as_bytes()), (kind, bytes.as_slice()));
        assert_eq!(bytes.len(), kind.len());
    }
}

#[test]
fn fields_read_back_as_they_were_laid_out() {
    let order = order_change();
    let bytes = order.to_bytes();
    let FrameRef::OrderChange(read) = FrameRef::parse(bytes).unwrap() else { panic!("an order change") };
    assert_eq!(*read, order);
    assert_eq!((read.price().to_string(), read.quantity().to_string()), ("4810.25".into(), "1".into()));
    assert!(read.header.has(flags::LAST | flags::REPLAY) && !read.header.has(flags::SNAPSHOT));
    assert_eq!(quote().bid(), Some((Price::from_nanos(-37_630_000_000), Quantity::from_nanos(1))));
    assert_eq!(quote().ask(), None);
    assert_eq!(gap().lost(), 3);
    let whole = Gap { first_missing: U64::new(0), last_missing: U64::new(u64::MAX), ..gap() };
    assert_eq!(whole.lost(), u64::MAX, "saturated");
}

#[test]
fn every_length_that_is_too_short_is_refused_and_says_how_short() {
    for (kind, bytes) in one_of_each() {
        for have in 0..bytes.len() {
            let named = if have < 2 { "any" } else { kind.as_str() };
            let needed = if have < 2 { size_of::<Header>() } else { kind.len() };
            let error = FrameError::Truncated { kind: named, needed, have };
            assert_eq!(FrameRef::split_first(&bytes[..have]), Err(error));
        }
    }
}

/// Sets bytes of a frame and expects a refusal that names the kind and the field.
fn refuses(frame: &[u8], at: usize, bytes: &[u8], field: &str) {
    let mut changed = frame.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    let kind = FrameRef::parse(frame).unwrap().header().kind.as_str();
    match FrameRef::parse(&changed) {
        Err(FrameError::Illegal { kind: named, field: said }) => {
            assert_eq!(named, kind, "{field}");
            assert!(said.contains(field), "{kind}: expected '{field}', got '{said}'");
        }
        other => panic!("{kind} with {bytes:?} at {at} should be refused for its {field}: {other:?}"),
    }
}

#[test]
fn unknown_kinds_and_versions_are_refused() {
    for (_, bytes) in one_of_each() {
        for kind in (0..=255).filter(|kind| !(1..=9).contains(kind)) {
            let mut changed = bytes.clone();
            changed[0] = kind;
            assert_eq!(FrameRef::parse(&changed), Err(FrameError::UnknownKind(kind)));
        }
        for version in (0..=255).filter(|version| *version != VERSION) {
            let mut changed = bytes.clone();
            changed[1] = version;
            assert_eq!(FrameRef::parse(&changed), Err(FrameError::UnknownVersion(version)));
        }
        let left_over = [bytes.as_slice(), &[0]].concat();
        let error = FrameRef::parse(&left_over).unwrap_err().to_string();
        assert!(error.contains("left over"), "{error}");
    }
}

#[test]
fn illegal_enumerations_are_refused() {
    for (frame, at, legal) in [
        (trade().to_bytes(), 56, 0..=2),
        (order_change().to_bytes(), 56, 1..=5),
        (order_change().to_bytes(), 57, 0..=2),
        (level_change().to_bytes(), 52, 0..=2),
        (snapshot().to_bytes(), 36, 1..=2),
        (status().to_bytes(), 32, 0..=4),
        (status().to_bytes(), 33, 0..=2),
        (gap().to_bytes(), 48, 1..=2),
        (bar().to_bytes(), 108, 1..=4),
        (definition().to_bytes(), 68, 0..=6),
    ] {
        for value in (0..=255).filter(|value| !legal.contains(value)) {
            refuses(frame, at, &[value], "enumeration value");
        }
    }
}

#[test]
fn illegal_values_are_refused() {
    let (no_price, minus_one) = (NO_PRICE.to_le_bytes(), (-1_i64).to_le_bytes());
    let zero = [0; 8];
    let (definition, bar) = (definition(), bar());
    for (frame, at, bytes, field) in [
        (trade().to_bytes(), 32, &no_price[..], "price"),
        (trade().to_bytes(), 40, &zero, "quantity"),
        (trade().to_bytes(), 40, &minus_one, "quantity"),
        (quote().to_bytes(), 48, &minus_one, "bid quantity"),
        (quote().to_bytes(), 32, &no_price, "bid quantity"),
        (quote().to_bytes(), 56, &[1], "ask quantity"),
        (order_change().to_bytes(), 57, &[0], "side"),
        (order_change().to_bytes(), 48, &minus_one, "quantity"),
        (order_change().to_bytes(), 40, &no_price, "price"),
        (level_change().to_bytes(), 40, &minus_one, "quantity"),
        (gap().to_bytes(), 32, &[13], "range"),
        (bar.to_bytes(), 32, &5_i64.to_le_bytes(), "range"),
        (bar.to_bytes(), 56, &(-2_i64).to_le_bytes(), "range"),
        (bar.to_bytes(), 64, &minus_one, "volume"),
        (bar.to_bytes(), 72, &minus_one, "volume"),
        (bar.to_bytes(), 80, &minus_one, "volume"),
        (bar.to_bytes(), 112, &zero, "interval"),
        (definition.to_bytes(), 4, &[0], "instrument"),
        (definition.to_bytes(), 32, &[0], "symbol"),
        (definition.to_bytes(), 33, b"/", "symbol"),
        (definition.to_bytes(), 40, b"X", "symbol"),
        (definition.to_bytes(), 56, &[0xC3], "venue"),
        (definition.to_bytes(), 64, &[0], "currency"),
        (definition.to_bytes(), 80, &minus_one, "tick"),
        (definition.to_bytes(), 88, &zero, "lot"),
        (definition.to_bytes(), 96, &minus_one, "multiplier"),
    ] {
        refuses(frame, at, bytes, field);
    }
    let sideless = LevelChange { quantity_nanos: I64::new(1), ..level_change() };
    refuses(sideless.to_bytes(), 52, &[0], "side");
}

#[test]
fn a_clear_needs_neither_side_nor_price() {
    let clear = OrderChange {
        action: OrderAction::Clear,
        side: WireSide::None,
        price_nanos: I64::new(NO_PRICE),
        ..order_change()
    };
    assert!(FrameRef::parse(clear.to_bytes()).is_ok());
    let empty = LevelChange { side: WireSide::None, ..level_change() };
    assert!(FrameRef::parse(empty.to_bytes()).is_ok());
}

#[test]
fn frames_end_to_end_are_read_in_order_until_the_first_error() {
    let kinds = |bytes: &[u8]| -> Vec<Option<Kind>> {
        Frames::new(bytes).map(|frame| frame.ok().map(|frame| frame.header().kind)).collect()
    };
    let all: Vec<u8> = one_of_each().into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(kinds(&all), Kind::ALL.map(Some));
    assert_eq!(kinds(&[]), []);
    assert_eq!(kinds(&all[..100]), [Some(Kind::Trade), None]);
    let mut broken = all.clone();
    broken[64] = 77;
    assert_eq!(kinds(&broken), [Some(Kind::Trade), None], "what follows an error is not guessed at");
}

#[test]
fn a_header_can_be_renumbered_in_place_and_bad_ones_are_refused() {
    let mut bytes = trade().to_bytes().to_vec();
    header_mut(&mut bytes).unwrap().sequence = U64::new(99);
    assert_eq!(FrameRef::parse(&bytes).unwrap().header().sequence.get(), 99);
    assert!(matches!(header_mut(&mut bytes[..31]), Err(FrameError::Truncated { have: 31, .. })));
    bytes[0] = 0;
    assert!(matches!(header_mut(&mut bytes), Err(FrameError::Illegal { .. })));
}

/// Decodes everything, touching every frame found.
fn decode_all(bytes: &[u8]) {
    for frame in Frames::new(bytes).flatten() {
        assert_eq!(FrameRef::parse(frame.as_bytes()), Ok(frame));
        match frame {
            FrameRef::Definition(definition) => drop(definition.instrument().unwrap()),
            FrameRef::Gap(gap) => assert!(gap.lost() > 0),
            FrameRef::Quote(quote) => drop((quote.bid(), quote.ask())),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn trades_round_trip(sequence: u64, event: u64, price in i64::MIN..NO_PRICE, quantity in 1..=i64::MAX, id: u64) {
        let header = Header::new(Kind::Trade, InstrumentId(1), sequence, UnixNanos(event), UnixNanos(event));
        let frame = Trade {
            header, price_nanos: I64::new(price), quantity_nanos: I64::new(quantity), trade_id: U64::new(id),
            ..trade()
        };
        prop_assert_eq!(FrameRef::parse(frame.to_bytes()), Ok(FrameRef::Trade(&frame)));
        prop_assert_eq!((frame.price().nanos(), frame.quantity().nanos()), (price, quantity));
    }

    #[test]
    fn instruments_round_trip(
        id in 1..=u32::MAX, symbol in "[!-~&&[^/,\"'\\\\]]{1,24}", tick in 0..=i64::MAX, lot in 1..=i64::MAX,
    ) {
        let instrument = Instrument {
            id: InstrumentId(id),
            symbol: symbol.parse().unwrap(),
            venue: "XSIM".parse().unwrap(),
            class: AssetClass::Crypto,
            currency: "USDT".parse().unwrap(),
            tick: Price::from_nanos(tick),
            lot: Quantity::from_nanos(lot),
            multiplier: Quantity::from_nanos(lot),
        };
        let frame = Definition::of(&instrument, 0);
        let FrameRef::Definition(read) = FrameRef::parse(frame.to_bytes()).unwrap() else { panic!("a definition") };
        prop_assert_eq!(read.instrument().unwrap(), instrument);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50_000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&bytes);
    }

    #[test]
    fn no_damaged_frame_panics(
        start in 0_usize..9, damage in proptest::collection::vec((0_usize..2_000, any::<u8>()), 1..6), cut in 0_usize..800,
    ) {
        let frames = one_of_each();
        let mut bytes: Vec<u8> = frames.into_iter().skip(start).flat_map(|(_, bytes)| bytes).collect();
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut.max(1));
        decode_all(&bytes);
    }
}
