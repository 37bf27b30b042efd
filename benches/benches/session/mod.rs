//! The recorded session that the benches run through: the ES session, or the simulated sample where that is absent.
//!
//! It decides which instrument counts (the busiest one) and measures nothing.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_messages::frame::{FrameRef, Frames, OrderChange, Trade};

/// A session in memory.
pub(crate) struct Session {
    pub(crate) path: PathBuf,
    /// For the rows: "ES session" or "simulated sample".
    pub(crate) name: &'static str,
    /// Records in the file, of all instruments.
    pub(crate) records: usize,
    /// The frames of the busiest instrument, end to end.
    pub(crate) frames: Vec<u8>,
}

impl Session {
    pub(crate) fn load() -> Self {
        let (path, name) = path();
        let mut feed = FileFeed::open(&path, &Registry::new()).expect("the recording opens");
        let mut bytes = Vec::new();
        while feed.read(10_000, &mut bytes).expect("the recording reads") == Read::Frames {}
        let records = usize::try_from(feed.progress().records).expect("a count in memory");
        Self { path, name, records, frames: busiest(&bytes) }
    }

    pub(crate) fn decoded(&self) -> Vec<FrameRef<'_>> {
        Frames::new(&self.frames).map(|frame| frame.expect("a legal frame")).collect()
    }

    pub(crate) fn order_changes(&self) -> Vec<&OrderChange> {
        let change = |frame| if let FrameRef::OrderChange(change) = frame { Some(change) } else { None };
        self.decoded().into_iter().filter_map(change).collect()
    }

    pub(crate) fn trades(&self) -> Vec<Trade> {
        let trade = |frame| if let FrameRef::Trade(trade) = frame { Some(*trade) } else { None };
        self.decoded().into_iter().filter_map(trade).collect()
    }
}

/// The session's file and its name in the rows.
pub(crate) fn path() -> (PathBuf, &'static str) {
    if let Some(path) = nautilus_testkit::es_session() {
        return (path, "ES session");
    }
    eprintln!("!!! the ES session is absent: THE SIMULATED SAMPLE IS MEASURED INSTEAD");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/simulated-session.mbo.dbn.zst");
    (sample, "SIMULATED sample")
}

fn busiest(bytes: &[u8]) -> Vec<u8> {
    let decoded: Vec<_> = Frames::new(bytes).map(|frame| frame.expect("a legal frame")).collect();
    let mut counts = std::collections::BTreeMap::new();
    for frame in &decoded {
        *counts.entry(frame.header().instrument()).or_insert(0) += 1;
    }
    let (&busiest, _) = counts.iter().max_by_key(|(_, count)| **count).expect("the recording has frames");
    let own = decoded.iter().filter(|frame| frame.header().instrument() == busiest);
    own.flat_map(FrameRef::as_bytes).copied().collect()
}
