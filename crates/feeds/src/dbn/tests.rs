//! DBN recordings made by the encoder of the `dbn` crate: each kind of record, and every way a file can be broken.

use std::io::Cursor;
use std::path::Path;

use dbn::encode::{DbnEncodable, DbnEncoder, DynWriter, EncodeRecord};
use dbn::{
    BidAskPair, Compression, FlagSet, InstrumentDefMsg, MappingInterval, MboMsg, Mbp1Msg, Mbp10Msg, OhlcvMsg,
    RecordHeader, SType, StatusAction, StatusMsg, SymbolMapping, TradeMsg, UNDEF_PRICE, rtype,
};
use nautilus_messages::frame::{FrameRef, Frames, OrderAction, SnapshotPhase, TradingState, WireSide, flags};
use nautilus_types::{AssetClass, NANOS_PER_SECOND, UnixNanos};
use proptest::prelude::*;

use super::*;
use crate::file::open_bytes;
use crate::{Simulator, SimulatorConfig};

const TICK: i64 = 250_000_000;
const NUMBER: u32 = 17_077;
const NOW: u64 = 1_703_545_200_000_000_000;

fn metadata(schema: Schema, names: &[(&str, u32)]) -> Metadata {
    let metadata = Metadata::builder()
        .dataset("GLBX.MDP3")
        .schema(Some(schema))
        .start(NOW)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build();
    let (start_date, end_date) = (metadata.start().date(), metadata.start().date().next_day().unwrap());
    let mapping = |&(name, number): &(&str, u32)| SymbolMapping {
        raw_symbol: name.to_owned(),
        intervals: vec![MappingInterval { start_date, end_date, symbol: number.to_string() }],
    };
    Metadata { mappings: names.iter().map(mapping).collect(), ..metadata }
}

fn encoded<R: DbnEncodable>(schema: Schema, records: &[R], compression: Compression) -> Vec<u8> {
    encoded_as(dbn::DBN_VERSION, schema, records, compression)
}

fn encoded_as<R: DbnEncodable>(
    version: u8,
    schema: Schema,
    records: &[R],
    compression: Compression,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = DynWriter::new(&mut bytes, compression).unwrap();
    let mut encoder =
        DbnEncoder::new(&mut writer, &Metadata { version, ..metadata(schema, &[("ESH4", NUMBER)]) }).unwrap();
    encoder.encode_records(records).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn read_all(bytes: &[u8]) -> Result<(Vec<u8>, Progress), FeedError> {
    let origin = Origin::new(Path::new("x.dbn.zst"), bytes.len() as u64);
    let mut feed = open_bytes(origin, Cursor::new(bytes.to_vec()), &Registry::new())?;
    let mut frames = Vec::new();
    while feed.read(3, &mut frames)? == Read::Frames {}
    Ok((frames, feed.progress()))
}

fn decoded(frames: &[u8]) -> Vec<FrameRef<'_>> {
    Frames::new(frames).map(|frame| frame.unwrap()).collect()
}

fn letter(byte: u8) -> std::ffi::c_char {
    std::ffi::c_char::from_ne_bytes([byte])
}

fn header<R: dbn::HasRType<Header = RecordHeader>>(kind: u8) -> RecordHeader {
    RecordHeader::new::<R>(kind, 1, NUMBER, NOW)
}

fn order(action: u8, side: u8, price: i64, size: u32, bits: u8) -> MboMsg {
    MboMsg {
        hd: header::<MboMsg>(rtype::MBO),
        order_id: 99,
        price,
        size,
        flags: FlagSet::from(bits),
        channel_id: 0,
        action: letter(action),
        side: letter(side),
        ts_recv: NOW + 5,
        ts_in_delta: 0,
        sequence: 4,
    }
}

#[test]
fn orders_become_changes_and_prints() {
    let records = [
        order(b'R', b'N', UNDEF_PRICE, 0, dbn::flags::SNAPSHOT),
        order(b'A', b'B', TICK, 3, dbn::flags::SNAPSHOT | dbn::flags::LAST),
        order(b'M', b'A', 2 * TICK, 7, dbn::flags::MAYBE_BAD_BOOK),
        order(b'T', b'A', TICK, 1, 0),
        order(b'F', b'B', TICK, 1, 0),
        order(b'C', b'B', TICK, 1, dbn::flags::LAST),
        // Nothing a frame could carry: no action, no side, no price, no quantity.
        order(b'N', b'N', UNDEF_PRICE, 0, 0),
        order(b'F', b'N', TICK, 1, 0),
        order(b'A', b'B', UNDEF_PRICE, 1, 0),
        order(b'T', b'A', TICK, 0, 0),
    ];
    let (frames, progress) = read_all(&encoded(Schema::Mbo, &records, Compression::Zstd)).unwrap();
    assert_eq!((progress.records, progress.skipped), (10, 4));
    assert_eq!(progress.ts_event.0, NOW);
    let frames = decoded(&frames);
    let FrameRef::Definition(definition) = frames[0] else { panic!("no definition first") };
    let starts = frames.iter().filter(|frame| frame.header().has(flags::STARTS_OVER));
    assert!(definition.header.has(flags::STARTS_OVER) && starts.count() == 1);
    let instrument = definition.instrument().unwrap();
    assert_eq!((instrument.symbol.as_str(), instrument.venue.as_str()), ("ESH4", "GLBX"));
    assert_eq!((instrument.tick.nanos(), definition.venue_id.get()), (0, u64::from(NUMBER)));
    let told: Vec<_> = frames[1..]
        .iter()
        .map(|frame| match frame {
            FrameRef::OrderChange(change) => {
                (change.action as u8, change.side, change.quantity().to_string(), change.header.flags.get())
            }
            FrameRef::Trade(trade) => {
                (0, trade.aggressor, trade.quantity().to_string(), trade.header.flags.get())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let replay = flags::REPLAY;
    assert_eq!(
        told,
        [
            (OrderAction::Clear as u8, WireSide::None, "0".into(), replay | flags::SNAPSHOT),
            (OrderAction::Add as u8, WireSide::Buy, "3".into(), replay | flags::SNAPSHOT | flags::LAST),
            (OrderAction::Modify as u8, WireSide::Sell, "7".into(), replay | flags::MAYBE_BAD),
            (0, WireSide::Sell, "1".into(), replay),
            (OrderAction::Fill as u8, WireSide::Buy, "1".into(), replay),
            (OrderAction::Cancel as u8, WireSide::Buy, "1".into(), replay | flags::LAST),
        ]
    );
    let header = frames[2].header();
    assert_eq!((header.sequence.get(), header.ts_event_ns.get(), header.ts_recv_ns.get()), (4, NOW, NOW + 5));
}

fn trade(side: u8) -> TradeMsg {
    TradeMsg {
        hd: header::<TradeMsg>(rtype::MBP_0),
        price: -TICK,
        size: 2,
        action: letter(b'T'),
        side: letter(side),
        flags: FlagSet::from(dbn::flags::LAST),
        depth: 0,
        ts_recv: NOW,
        ts_in_delta: 0,
        sequence: 1,
    }
}

#[test]
fn trades_keep_their_side_and_negative_prices() {
    for (side, expected) in [(b'B', WireSide::Buy), (b'A', WireSide::Sell), (b'N', WireSide::None)] {
        let (frames, _) = read_all(&encoded(Schema::Trades, &[trade(side)], Compression::None)).unwrap();
        let FrameRef::Trade(told) = decoded(&frames)[1] else { panic!("no trade") };
        assert_eq!((told.aggressor, told.price_nanos.get()), (expected, -TICK));
    }
}

fn pair(bid: i64, ask: i64) -> BidAskPair {
    BidAskPair { bid_px: bid, ask_px: ask, bid_sz: 5, ask_sz: 6, bid_ct: 1, ask_ct: 2 }
}

#[test]
fn the_top_of_book_becomes_quotes() {
    let record = |action: u8, levels| Mbp1Msg {
        hd: header::<Mbp1Msg>(rtype::MBP_1),
        price: TICK,
        size: 2,
        action: letter(action),
        side: letter(b'B'),
        flags: FlagSet::from(dbn::flags::LAST),
        depth: 0,
        ts_recv: NOW,
        ts_in_delta: 0,
        sequence: 1,
        levels: [levels],
    };
    let records = [record(b'A', pair(TICK, UNDEF_PRICE)), record(b'T', pair(TICK, 2 * TICK))];
    let (frames, _) = read_all(&encoded(Schema::Mbp1, &records, Compression::None)).unwrap();
    let [_, FrameRef::Quote(one), FrameRef::Trade(trade), FrameRef::Quote(two)] = decoded(&frames)[..] else {
        panic!("{:?}", decoded(&frames))
    };
    assert!(one.bid().is_some() && one.ask().is_none());
    assert!(!trade.header.has(flags::LAST) && two.header.has(flags::LAST));
    assert_eq!(two.ask().unwrap().1.to_string(), "6");
    let (frames, progress) = read_all(&encoded(Schema::Tbbo, &records, Compression::None)).unwrap();
    assert!(matches!(decoded(&frames)[..], [FrameRef::Definition(_), FrameRef::Trade(_)]));
    assert_eq!(progress.skipped, 1);
}

/// Ten levels with the best `top` ticks up, one tick apart.
fn ten(bid: i64, ask: i64, flag: u8) -> Mbp10Msg {
    Mbp10Msg {
        hd: header::<Mbp10Msg>(rtype::MBP_10),
        price: TICK,
        size: 2,
        action: letter(b'A'),
        side: letter(b'B'),
        flags: FlagSet::from(flag),
        depth: 0,
        ts_recv: NOW,
        ts_in_delta: 0,
        sequence: 1,
        levels: std::array::from_fn(|i| {
            let steps = i64::try_from(i).unwrap() * TICK;
            pair(bid * TICK - steps, ask * TICK + steps)
        }),
    }
}

/// The book that level frames add up to, side and price to quantity.
fn levels_of(frames: &[FrameRef<'_>]) -> std::collections::BTreeMap<(u8, i64), i64> {
    let mut book = std::collections::BTreeMap::new();
    for frame in frames {
        match frame {
            FrameRef::Snapshot(snapshot) if snapshot.phase == SnapshotPhase::Begin => book.clear(),
            FrameRef::LevelChange(change) => {
                let key = (change.side as u8, change.price_nanos.get());
                match change.quantity_nanos.get() {
                    0 => book.remove(&key),
                    total => book.insert(key, total),
                };
            }
            _ => {}
        }
    }
    book
}

#[test]
fn ten_levels_are_told_by_their_difference() {
    let last = dbn::flags::LAST;
    let mut emptied = ten(100, 103, last);
    emptied.levels[3..].fill(pair(UNDEF_PRICE, UNDEF_PRICE));
    let records = [ten(100, 102, last), ten(101, 103, last), ten(101, 103, last), ten(100, 103, 0), emptied];
    for count in 1..=records.len() {
        let (frames, _) = read_all(&encoded(Schema::Mbp10, &records[..count], Compression::None)).unwrap();
        let frames = decoded(&frames);
        // The oracle: what the last record says outright.
        let expected: std::collections::BTreeMap<_, _> = records[count - 1]
            .levels
            .iter()
            .flat_map(|level| [((1, level.bid_px), level.bid_sz), ((2, level.ask_px), level.ask_sz)])
            .filter(|&((_, price), _)| price != UNDEF_PRICE)
            .map(|(key, size)| (key, i64::from(size) * 1_000_000_000))
            .collect();
        assert_eq!(levels_of(&frames), expected);
        let ends = frames.iter().filter(|frame| frame.header().has(flags::LAST)).count();
        let told = records[..count].iter().filter(|record| record.flags.raw() & last != 0).count();
        assert_eq!(ends, told + 1, "one end per event and one for the definition");
    }
    let (frames, _) = read_all(&encoded(Schema::Mbp10, &records[..1], Compression::None)).unwrap();
    let FrameRef::Snapshot(begin) = decoded(&frames)[1] else { panic!("no snapshot") };
    assert_eq!((begin.frames.get(), decoded(&frames).len()), (20, 23));
}

#[test]
fn bars_end_an_interval_after_they_open() {
    for (kind, schema, seconds) in [
        (rtype::OHLCV_1S, Schema::Ohlcv1S, 1),
        (rtype::OHLCV_1M, Schema::Ohlcv1M, 60),
        (rtype::OHLCV_1H, Schema::Ohlcv1H, 3_600),
        (rtype::OHLCV_1D, Schema::Ohlcv1D, 86_400),
    ] {
        let hd = header::<OhlcvMsg>(kind);
        let bar = OhlcvMsg { hd, open: 2, high: 4, low: 1, close: 3, volume: 8 };
        let inverted = OhlcvMsg { high: 0, ..bar.clone() };
        let absurd = OhlcvMsg { volume: u64::MAX, ..bar.clone() };
        let (frames, progress) =
            read_all(&encoded(schema, &[bar, inverted, absurd], Compression::None)).unwrap();
        let [_, FrameRef::Bar(told)] = decoded(&frames)[..] else { panic!("no bar") };
        assert_eq!(told.header.ts_event_ns.get() - told.ts_open_ns.get(), seconds * 1_000_000_000);
        assert_eq!((told.open_nanos.get(), told.volume().to_string()), (2, "8".into()));
        assert_eq!(progress.skipped, 2);
    }
}

#[test]
fn definitions_and_states_are_read() {
    let mut es =
        InstrumentDefMsg { hd: header::<InstrumentDefMsg>(rtype::INSTRUMENT_DEF), ..Default::default() };
    es.ts_recv = NOW;
    es.min_price_increment = TICK;
    es.min_price_increment_amount = 12_500_000_000;
    es.instrument_class = letter(b'F');
    es.security_update_action = letter(b'A');
    let (frames, _) = read_all(&encoded(Schema::Definition, &[es], Compression::None)).unwrap();
    let [FrameRef::Definition(told)] = decoded(&frames)[..] else { panic!("no definition") };
    let told = told.instrument().unwrap();
    assert_eq!(
        (told.class, told.tick.to_string(), told.multiplier.to_string()),
        (AssetClass::Future, "0.25".into(), "50".into())
    );

    let mut halt = StatusMsg { hd: header::<StatusMsg>(rtype::STATUS), ..Default::default() };
    halt.ts_recv = NOW;
    halt.action = StatusAction::Halt as u16;
    let mut nothing = halt.clone();
    nothing.action = 999;
    let (frames, progress) = read_all(&encoded(Schema::Status, &[halt, nothing], Compression::None)).unwrap();
    let [_, FrameRef::Status(told)] = decoded(&frames)[..] else { panic!("no status") };
    assert_eq!((told.trading, progress.skipped), (TradingState::Halted, 1));
}

#[test]
fn an_instrument_without_a_name_goes_by_its_number() {
    let mut record = order(b'A', b'B', TICK, 1, 0);
    record.hd.instrument_id = 5;
    let (frames, _) = read_all(&encoded(Schema::Mbo, &[record], Compression::None)).unwrap();
    let FrameRef::Definition(told) = decoded(&frames)[0] else { panic!("no definition") };
    // ESH4 of the header was registered first, though nothing is said of it.
    assert_eq!((told.instrument().unwrap().symbol.as_str(), told.header.instrument.get()), ("ID5", 2));
}

#[test]
fn a_symbol_in_use_is_refused_at_once() {
    let bytes = encoded(Schema::Mbo, &[order(b'A', b'B', TICK, 1, 0)], Compression::None);
    let registry = Registry::new();
    let open = || open_bytes(Origin::new(Path::new("x.dbn"), 0), Cursor::new(bytes.clone()), &registry);
    let first = open().unwrap();
    assert_eq!(open().err(), Some(FeedError::Busy { symbol: "ESH4".parse().unwrap() }));
    drop(first);
    assert!(open().is_ok());
}

#[test]
fn broken_files_are_told_in_one_sentence() {
    let records = vec![order(b'A', b'B', TICK, 1, 0); 1_500];
    let (plain, packed) = (
        encoded(Schema::Mbo, &records, Compression::None),
        encoded(Schema::Mbo, &records, Compression::Zstd),
    );
    let start = plain.len() - records.len() * size_of::<MboMsg>();
    let mut zero_length = plain.clone();
    zero_length[start + 56] = 0;
    let mut odd_length = plain.clone();
    odd_length[start + 56 * 2] = 13;
    let mut version = plain.clone();
    version[3] = 9;
    let mut huge = plain.clone();
    huge[4..8].fill(0xFF);
    let mut flipped = packed.clone();
    let middle = flipped.len() / 2;
    flipped[middle..middle + 8].fill(0xA5);
    let text = dbn_in_zstd(b"hello, this is not a recording");
    for (bytes, sentence) in [
        (&b""[..], "x.dbn.zst is empty; fetch the file again"),
        (b"DB", "x.dbn.zst has an unusable header row"),
        (b"DBN\x03", "x.dbn.zst ends in the middle of its header; fetch the file again"),
        (&plain[..start - 3], "x.dbn.zst ends in the middle of its header; fetch the file again"),
        (
            &plain[..start + 56 * 1_233 + 17],
            "x.dbn.zst ends in the middle of record 1,234; fetch the file again",
        ),
        (&packed[..packed.len() - 5], "; fetch the file again"),
        (&packed[..packed.len() / 2], "x.dbn.zst ends in the middle of"),
        (&zero_length, "x.dbn.zst is damaged at record 2: "),
        (&odd_length, "x.dbn.zst is damaged at record 3: its length is no multiple of 8 bytes; fetch"),
        (&version, "it says DBN version 9, but versions 1 to 3 are read"),
        (&huge, "x.dbn.zst is damaged at its header: the header claims 4294967295 bytes"),
        (&flipped, "fetch the file again"),
        (&text, "x.dbn.zst is neither DBN, zstd nor CSV: what is compressed in it is not DBN"),
        (
            b"\x7FELF\x02\x01\x01",
            "neither DBN, zstd nor CSV: it begins with the bytes 7F 45 4C 46; give a .dbn",
        ),
        (b"\x51\x2A\x4D\x18rest", "it is DBZ, the forerunner of DBN; convert it"),
    ] {
        let error = read_all(bytes).err().unwrap_or_else(|| panic!("no fault, but: {sentence}")).to_string();
        assert!(error.contains(sentence), "{error}\nbut expected\n{sentence}");
    }
}

fn dbn_in_zstd(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut writer = DynWriter::new(&mut packed, Compression::Zstd).unwrap();
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    writer.finish().unwrap();
    drop(writer);
    packed
}

/// Frames as an order-by-order file can tell them: no definitions or states, and the replay flag for the promise
/// of numbers without holes.
fn as_recorded(frames: &[u8]) -> Vec<Vec<u8>> {
    decoded(frames)
        .into_iter()
        .filter(|frame| matches!(frame, FrameRef::Trade(_) | FrameRef::OrderChange(_)))
        .map(|frame| {
            let mut bytes = frame.as_bytes().to_vec();
            let header = nautilus_messages::frame::header_mut(&mut bytes).unwrap();
            header.flags = ((header.flags.get() & !flags::CONTIGUOUS) | flags::REPLAY).into();
            bytes
        })
        .collect()
}

#[test]
fn a_written_simulation_reads_back_the_same() {
    let config = SimulatorConfig::default();
    let until = Some(UnixNanos(config.start.0 + 60 * NANOS_PER_SECOND));
    let config = SimulatorConfig { until, ..config };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.dbn.zst");
    let written = write_dbn(&path, &mut Simulator::new(config, &Registry::new()).unwrap()).unwrap();
    assert!(written.records > 2_000);
    // A definition and three changes of state for each of three instruments.
    assert_eq!(written.left_out, 12);

    let mut original = Vec::new();
    let mut simulator = Simulator::new(config, &Registry::new()).unwrap();
    while simulator.read(1_000, &mut original).unwrap() == Read::Frames {}
    let mut feed = crate::FileFeed::open(&path, &Registry::new()).unwrap();
    assert!(feed.description().simulated);
    assert_eq!(feed.description().symbols, simulator.description().symbols);
    let mut reread = Vec::new();
    while feed.read(1_000, &mut reread).unwrap() == Read::Frames {}
    assert_eq!(feed.progress().records, written.records);
    assert_eq!(as_recorded(&reread), as_recorded(&original));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left");
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    let mut simulator = Simulator::new(SimulatorConfig::default(), &Registry::new()).unwrap();
    let error = write_dbn(Path::new("/nowhere/x.dbn.zst"), &mut simulator).unwrap_err().to_string();
    assert!(error.starts_with("cannot write /nowhere/x.dbn.zst: "), "{error}");
}

/// A file of some kind to be broken, with a header of any version.
fn whole_file(choice: usize, version: u8) -> Vec<u8> {
    let compression = if choice.is_multiple_of(2) { Compression::None } else { Compression::Zstd };
    let orders = vec![order(b'A', b'B', TICK, 1, 0); 40];
    match choice / 2 {
        0 => encoded_as(version, Schema::Mbo, &orders, compression),
        1 => encoded_as(version, Schema::Mbp10, &[ten(100, 102, 0), ten(101, 103, 0)], compression),
        2 => encoded_as(version, Schema::Trades, &vec![trade(b'B'); 20], compression),
        3 => encoded_as(version, Schema::Definition, &vec![InstrumentDefMsg::default(); 2], compression),
        _ => encoded_as(version, Schema::Status, &vec![StatusMsg::default(); 2], compression),
    }
}

fn survives(bytes: &[u8]) {
    if let Ok((frames, _)) = read_all(bytes) {
        assert!(Frames::new(&frames).all(|frame| frame.is_ok()), "a frame that nobody can read");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), prefix in 0usize..4) {
        let prefixes: [&[u8]; 4] = [b"", b"DBN\x01\x80\0\0\0", b"DBN\x03\x90\0\0\0", b"\x28\xB5\x2F\xFD"];
        survives(&[prefixes[prefix], &bytes].concat());
    }

    #[test]
    fn no_damage_panics(
        choice in 0usize..10,
        keep in 0.0..=1.0f64,
        version in 1u8..=3,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = whole_file(choice, version);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        bytes.truncate((bytes.len() as f64 * keep) as usize + 8);
        for (place, byte) in hits {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        survives(&bytes);
    }
}
