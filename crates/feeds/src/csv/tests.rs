//! CSV files good and bad.

use std::io::Write as _;
use std::path::Path;

use nautilus_messages::frame::{FrameRef, Frames};
use proptest::prelude::*;

use super::*;
use crate::file::open_bytes;

fn read(bytes: &[u8], registry: &Registry) -> Result<(Vec<u8>, Box<dyn Feed>), FeedError> {
    let origin = Origin::new(Path::new("x.csv"), bytes.len() as u64);
    let mut feed = open_bytes(origin, std::io::Cursor::new(bytes.to_vec()), registry)?;
    let mut frames = Vec::new();
    while feed.read(2, &mut frames)? == Read::Frames {}
    Ok((frames, feed))
}

const GOOD: &str = "\u{FEFF}symbol, ts_ns ,quantity,price,side\r\n\
    ESH4,1703545200000000001,2,4810.25,B\r\n\
    \"ESH4\",1703545200000000002,0,4810.25,B\r\n\
    \r\n\
    CLM0,1703545200000000000,0.5,-37.63,sell\n\
    ESH4,1703545200000000003,1,4810.5,";

#[test]
fn trades_read_in_any_order_of_columns() {
    let (frames, feed) = read(GOOD.as_bytes(), &Registry::new()).unwrap();
    let frames: Vec<FrameRef<'_>> = Frames::new(&frames).map(|frame| frame.unwrap()).collect();
    let [
        FrameRef::Definition(es),
        FrameRef::Trade(first),
        FrameRef::Definition(cl),
        FrameRef::Trade(second),
        FrameRef::Trade(third),
    ] = frames[..]
    else {
        panic!("{frames:?}")
    };
    let (es, cl) = (es.instrument().unwrap(), cl.instrument().unwrap());
    assert!(frames[0].header().has(flags::STARTS_OVER) && !frames[1].header().has(flags::STARTS_OVER));
    assert_eq!((es.symbol.as_str(), es.id.0, es.venue.as_str()), ("ESH4", 1, "CSV"));
    assert_eq!((cl.symbol.as_str(), cl.id.0, cl.tick.nanos()), ("CLM0", 2, 0));
    let told = |trade: &nautilus_messages::frame::Trade| {
        (
            trade.header.instrument.get(),
            trade.price().to_string(),
            trade.quantity().to_string(),
            trade.aggressor,
        )
    };
    assert_eq!(told(first), (1, "4810.25".into(), "2".into(), WireSide::Buy));
    assert_eq!(told(second), (2, "-37.63".into(), "0.5".into(), WireSide::Sell));
    assert_eq!(told(third), (1, "4810.5".into(), "1".into(), WireSide::None));
    assert_eq!(first.header.ts_event_ns.get(), 1_703_545_200_000_000_001);
    assert!(first.header.has(flags::REPLAY | flags::LAST) && !first.header.has(flags::CONTIGUOUS));
    let progress = feed.progress();
    assert_eq!((progress.records, progress.skipped), (4, 1));
    assert_eq!(progress.total_bytes, Some(progress.done_bytes));
    assert_eq!(feed.description().schema, "trades");
}

#[test]
fn a_sequence_column_promises_no_holes() {
    let text = "ts_ns,symbol,price,quantity,sequence\n1,A,1,1,7\n2,A,1,1,9\n";
    let (frames, _) = read(text.as_bytes(), &Registry::new()).unwrap();
    let told: Vec<_> = Frames::new(&frames)
        .map(|frame| frame.unwrap().header())
        .map(|header| (header.sequence.get(), header.has(flags::CONTIGUOUS)))
        .collect();
    assert_eq!(told, [(0, false), (7, true), (9, true)]);
}

#[test]
fn bars_read_plain_and_packed() {
    let text = "ts_ns,symbol,open,high,low,close,volume,interval_s\n60000000000,A,10,12,9,11,300,30\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let (frames, feed) = read(text.as_bytes(), &Registry::new()).unwrap();
    assert_eq!(read(&packed, &Registry::new()).unwrap().0, frames);
    let Some(Ok(FrameRef::Bar(bar))) = Frames::new(&frames).nth(1) else { panic!("no bar") };
    assert_eq!((bar.ts_open_ns.get(), bar.header.ts_event_ns.get()), (60_000_000_000, 90_000_000_000));
    assert_eq!((bar.interval.get(), bar.volume().to_string()), (30_000_000_000, "300".into()));
    assert_eq!(feed.description().schema, "bars");
    let cut = read(&packed[..packed.len() - 9], &Registry::new()).err().unwrap().to_string();
    assert!(cut.starts_with("x.csv ends in the middle of record"), "{cut}");
}

#[test]
fn faults_name_the_line_the_column_and_what_is_expected() {
    let long = format!("ts_ns,symbol,price,quantity\n1,A,{},1\n", "9".repeat(5_000));
    for (text, sentence) in [
        (
            "ts_ns,symbol,price,qty\n",
            "x.csv has an unusable header row: column 'qty' is unknown; trades need",
        ),
        ("ts_ns,symbol,price\n", "column 'quantity' is missing; trades need ts_ns,symbol,price,quantity"),
        ("ts_ns,symbol,open,high,low,close\n", "column 'volume' is missing; bars need"),
        ("ts_ns,ts_ns,symbol\n", "column 'ts_ns' stands there twice"),
        ("hello world\n", "column 'hello world' is unknown"),
        (
            "ts_ns,symbol,price,quantity\n1,A,1\n",
            "x.csv line 2, column line: it has 3 fields but the header row names 4",
        ),
        (
            "ts_ns,symbol,price,quantity\n1,A,1e3,1\n",
            "x.csv line 2, column price: '1e3' is not a decimal number such as 4810.25",
        ),
        (
            "ts_ns,symbol,price,quantity\n1,A,1,1\n\n1,A,1,NaN\n",
            "x.csv line 4, column quantity: 'NaN' is not a decimal",
        ),
        ("ts_ns,symbol,price,quantity\n1,A,1,-1\n", "column quantity: -1 is negative"),
        (
            "ts_ns,symbol,price,quantity\n-5,A,1,1\n",
            "column ts_ns: '-5' is not a whole number of nanoseconds since 1970",
        ),
        ("ts_ns,symbol,price,quantity\n1,,1,1\n", "column symbol: '' is not a symbol (the symbol is empty)"),
        (
            "ts_ns,symbol,price,quantity,side\n1,A,1,1,X\n",
            "column side: 'X' is no side; write B, S or nothing",
        ),
        (
            "ts_ns,symbol,open,high,low,close,volume\n1,A,5,4,3,4,1\n",
            "column open: open and close must lie between low and high",
        ),
        (
            "ts_ns,symbol,open,high,low,close,volume,interval_s\n1,A,1,1,1,1,1,0\n",
            "column interval_s: 0 is no length of a bar",
        ),
        (long.as_str(), "x.csv line 2, column line: it is longer than 4096 bytes"),
    ] {
        let error = read(text.as_bytes(), &Registry::new()).err().expect(text).to_string();
        assert!(error.contains(sentence), "{error}\nbut expected\n{sentence}");
    }
}

#[test]
fn what_was_read_before_a_fault_is_delivered_first() {
    let text = b"ts_ns,symbol,price,quantity\n1,A,1,1\n2,A,oops,1\n3,A,1,1\n".to_vec();
    let origin = Origin::new(Path::new("x.csv"), 0);
    let mut feed = open_bytes(origin, std::io::Cursor::new(text), &Registry::new()).unwrap();
    let mut frames = Vec::new();
    assert_eq!(feed.read(100, &mut frames), Ok(Read::Frames));
    assert_eq!(Frames::new(&frames).count(), 2);
    assert!(matches!(feed.read(100, &mut frames), Err(FeedError::CsvLine { line: 3, .. })));
    assert_eq!(feed.read(100, &mut frames), Ok(Read::End));
}

proptest! {
    #[test]
    fn no_text_panics(
        header in prop::sample::select(vec!["ts_ns,symbol,price,quantity,side,sequence", "ts_ns,symbol,open,high,low,close,volume"]),
        lines in prop::collection::vec("[0-9A-Z,.\"é-]{0,40}", 0..8),
    ) {
        let text = format!("{header}\n{}", lines.join("\n"));
        if let Ok((frames, _)) = read(text.as_bytes(), &Registry::new()) {
            prop_assert!(Frames::new(&frames).all(|frame| frame.is_ok()));
        }
    }
}
