//! A reader that knows nothing but publications and pictures, and rebuilds every topic from them.
#![allow(dead_code)] // Every test file uses some of it.

use std::collections::BTreeMap;

use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_websocket::{BookChange, Change, Level, Publication, Topic, WebsocketEngine};
use nautilus_messages::frame::Frames;
use nautilus_types::Price;

/// Steps every frame of `bytes`.
pub(crate) fn feed(engine: &mut WebsocketEngine, bytes: &[u8]) -> Effects {
    let mut out = Effects::default();
    for frame in Frames::new(bytes) {
        engine.step(Stamp::default(), Input::Frame(frame.expect("a legal frame")), &mut out);
    }
    out
}

/// What the engine publishes now.
pub(crate) fn published(engine: &mut WebsocketEngine) -> Vec<Publication> {
    let mut all = Vec::new();
    engine.publish(&mut |_, publication| all.push(publication));
    all
}

/// What the engine publishes, asked until nothing is held back.
pub(crate) fn settled(engine: &mut WebsocketEngine) -> Vec<Publication> {
    (0..20).flat_map(|_| published(engine)).collect()
}

/// CRC-32 as ISO 3309 has it, bit by bit.
pub(crate) fn crc32(text: &str) -> u32 {
    !text.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }
            },
        )
    })
}

/// A book rebuilt from changes.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub(crate) struct BookCopy {
    pub(crate) bids: BTreeMap<Price, Level>,
    pub(crate) asks: BTreeMap<Price, Level>,
}

impl BookCopy {
    /// Applies a change and proves the book by its checksum.
    pub(crate) fn apply(&mut self, change: &BookChange) {
        if change.cleared {
            *self = Self::default();
        }
        put(&mut self.bids, &change.bids);
        put(&mut self.asks, &change.asks);
        assert!(change.bids.is_sorted_by(|a, b| a.price > b.price), "best first");
        assert!(change.asks.is_sorted_by(|a, b| a.price < b.price), "best first");
        assert_eq!(self.checksum(), change.checksum, "after {}", change.sequence);
    }

    fn checksum(&self) -> u32 {
        let best = self.asks.values().take(10).chain(self.bids.values().rev().take(10));
        let text: String = best.map(|level| format!("{}:{}|", level.price, level.quantity)).collect();
        crc32(&text)
    }

    /// Both sides, best first.
    pub(crate) fn levels(&self) -> [Vec<Level>; 2] {
        [self.bids.values().rev().copied().collect(), self.asks.values().copied().collect()]
    }
}

fn put(side: &mut BTreeMap<Price, Level>, levels: &[Level]) {
    for level in levels {
        if level.quantity.is_positive() {
            side.insert(level.price, *level);
        } else {
            side.remove(&level.price);
        }
    }
}

/// Follows one book topic by its numbers.
#[derive(Debug, Default)]
pub(crate) struct BookReader {
    pub(crate) copy: BookCopy,
    pub(crate) seq: u64,
    pub(crate) publications: u64,
    pub(crate) newest: Option<BookChange>,
}

impl BookReader {
    /// Takes the book's publications out of what an engine published.
    pub(crate) fn take(&mut self, publications: &[Publication]) {
        for publication in publications {
            let (Topic::Book(_), Change::Book(change)) = (publication.topic, &*publication.change) else {
                continue;
            };
            assert_eq!(publication.prev_seq, self.seq);
            assert!(publication.seq > self.seq);
            self.seq = publication.seq;
            self.copy.apply(change);
            self.newest = Some(change.clone());
            self.publications += 1;
        }
    }
}
