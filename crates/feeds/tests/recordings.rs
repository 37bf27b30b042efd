//! Real recordings and the shipped samples: everything that is there reads, with the figures known from elsewhere,
//! or is refused in a sentence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nautilus_feeds::{Feed, FileFeed, Progress, Read, Registry, Simulator, SimulatorConfig, write_dbn};
use nautilus_messages::frame::{FrameRef, Frames, Kind, OrderAction, flags};
use nautilus_types::{AssetClass, Money};

fn read_all(feed: &mut dyn Feed) -> Vec<u8> {
    let mut frames = Vec::new();
    while feed.read(1_000, &mut frames).expect("a whole file") == Read::Frames {}
    frames
}

fn open(path: &Path) -> (Vec<u8>, Progress, Box<dyn Feed>) {
    let mut feed = FileFeed::open(path, &Registry::new()).expect("a readable file");
    let frames = read_all(feed.as_mut());
    (frames, feed.progress(), feed)
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples").join(name)
}

#[test]
fn the_es_session_has_its_known_figures() {
    let Some(path) = nautilus_testkit::es_session() else { return };
    let (frames, progress, feed) = open(&path);
    assert_eq!(progress.records, 68_792);
    assert_eq!(progress.total_bytes, Some(progress.done_bytes));
    // The 35 skipped are fills without a side, which change nothing.
    assert_eq!(progress.skipped, 35);
    assert_eq!(feed.description().symbols, ["ESH4".parse().unwrap()]);
    let mut changes: BTreeMap<u8, u64> = BTreeMap::new();
    let (mut trades, mut snapshots, mut definitions) = (0, 0, 0);
    let (mut notional, mut volume) = (Money::ZERO, Money::ZERO);
    for frame in Frames::new(&frames) {
        let frame = frame.expect("a legal frame");
        snapshots += u64::from(frame.header().has(flags::SNAPSHOT));
        match frame {
            FrameRef::OrderChange(change) => *changes.entry(change.action as u8).or_default() += 1,
            FrameRef::Trade(trade) => {
                trades += 1;
                notional = notional.checked_add(trade.price().notional(trade.quantity())).unwrap();
                volume = volume.checked_add(trade.quantity().into()).unwrap();
            }
            FrameRef::Definition(_) => definitions += 1,
            other => panic!("an order-by-order file holds no {other:?}"),
        }
    }
    let of = |action: OrderAction| changes.get(&(action as u8)).copied().unwrap_or(0);
    assert_eq!(
        (of(OrderAction::Add), of(OrderAction::Cancel), of(OrderAction::Modify)),
        (29_216, 17_999, 12_233)
    );
    assert_eq!((of(OrderAction::Fill), of(OrderAction::Clear)), (6_371 - 35, 0));
    assert_eq!((trades, snapshots, definitions), (2_973, 8_725, 1));
    assert_eq!(volume.to_string(), "9892");
    assert_eq!(&notional.per_unit(volume).unwrap().to_string()[..12], "4808.7227052");
}

#[test]
fn the_es_definition_has_its_steps() {
    let Some(path) = nautilus_testkit::shared_data("orderbook_databento_es/definition-glbx-es-fut.dbn.zst")
    else {
        return;
    };
    let (frames, ..) = open(&path);
    let instruments: Vec<_> = Frames::new(&frames)
        .filter_map(|frame| match frame {
            Ok(FrameRef::Definition(definition)) => definition.instrument().ok(),
            _ => None,
        })
        .collect();
    assert!(!instruments.is_empty());
    for es in instruments {
        assert!(es.symbol.as_str().starts_with("ES"), "{es:?}");
        assert_eq!((es.class, es.venue.as_str(), es.currency.as_str()), (AssetClass::Future, "GLBX", "USD"));
        assert_eq!((es.tick.to_string(), es.multiplier.to_string()), ("0.25".into(), "50".into()));
    }
}

#[test]
fn every_recording_reads_or_is_refused_in_a_sentence() {
    for folder in ["dbn_format_samples", "orderbook_databento_es"] {
        let Some(folder) = nautilus_testkit::shared_data(folder) else { return };
        for entry in walk(&folder) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            let outcome = FileFeed::open(&entry, &Registry::new());
            if name.contains(".frag") || name.ends_with(".dbz") || !name.contains(".dbn") {
                let error = outcome.err().unwrap_or_else(|| panic!("{name} was read")).to_string();
                assert!(error.contains(&name) && error.lines().count() == 1, "{error}");
                continue;
            }
            let mut feed = outcome.unwrap_or_else(|error| panic!("{error}"));
            let frames = read_all(feed.as_mut());
            let progress = feed.progress();
            let kinds: Vec<Kind> =
                Frames::new(&frames).map(|frame| frame.expect(&name).header().kind).collect();
            assert_eq!(Some(progress.done_bytes), progress.total_bytes, "{name}");
            if progress.records == 0 {
                assert!(name.contains("ohlcv-1d") && kinds.is_empty(), "{name} holds no record");
                continue;
            }
            let carries =
                ["mbo", "mbp-1.", "mbp-1_", "mbp-10.", "trades", "tbbo", "ohlcv-1", "definition", "status"]
                    .iter()
                    .any(|schema| name.contains(schema) && !name.contains("cmbp"));
            if carries {
                assert_eq!(kinds.first(), Some(&Kind::Definition), "{name}");
                assert!(progress.skipped < progress.records, "{name}: {progress:?}");
            } else {
                assert!(kinds.is_empty() && progress.skipped == progress.records, "{name}: {progress:?}");
            }
        }
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn the_shipped_session_is_what_the_simulator_makes() {
    let shipped = sample("simulated-session.mbo.dbn.zst");
    assert!(std::fs::metadata(&shipped).unwrap().len() <= 500_000);
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again.dbn.zst");
    let mut simulator = Simulator::new(SimulatorConfig::sample(), &Registry::new()).unwrap();
    write_dbn(&again, &mut simulator).unwrap();
    let ((shipped, _, feed), (again, ..)) = (open(&shipped), open(&again));
    assert!(shipped == again, "run the example make_samples after changing the simulator");
    assert!(feed.description().simulated);
    let all = |flag| Frames::new(&shipped).all(|frame| frame.unwrap().header().has(flag));
    assert!(all(flags::REPLAY | flags::SIMULATED));
    let trades = Frames::new(&shipped).filter(|frame| matches!(frame, Ok(FrameRef::Trade(_)))).count();
    assert!(trades >= 5_000, "{trades} trades");
}

#[test]
fn the_shipped_csv_files_read() {
    for (name, kind) in [("trades.csv", Kind::Trade), ("bars.csv", Kind::Bar)] {
        let (frames, progress, feed) = open(&sample(name));
        assert_eq!(feed.description().symbols, ["SIM01".parse().unwrap()]);
        assert_eq!(progress.skipped, 0);
        let count = Frames::new(&frames)
            .map(|frame| frame.unwrap().header().kind)
            .filter(|&found| found == kind)
            .count();
        assert!(count as u64 == progress.records && count >= 20, "{name}: {count}");
    }
}

#[test]
fn files_that_are_not_there_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.dbn.zst");
    for path in [missing.as_path(), folder.path()] {
        let error = FileFeed::open(path, &Registry::new()).err().expect("nothing to open").to_string();
        assert!(error.starts_with(&format!("cannot open {}: ", path.display())), "{error}");
    }
}
