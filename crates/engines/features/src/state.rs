//! The engine's state as bytes, in canonical form: equal states, equal bytes.
//!
//! What is counted and named is postcard, behind it come the columns and the kept vectors as they stand in memory, and a
//! checksum of all: a node cannot tell a damaged state from one that it made itself. The sets are not state: the store
//! keeps them. Nor are the fundamentals: the table may have become another. A state of other definitions is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use nautilus_engine::Roster;
use nautilus_engine::snapshot::check_version;
use nautilus_messages::BarSpec;
use nautilus_types::{InstrumentId, UnixNanos};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::columns::{Columns, fill, put};
use crate::engine::{FeaturesEngine, Forming, Waiting};
use crate::kernel::Universe;
use crate::panel::{AtClose, BarValues, Panel};
use crate::slot::{SavedSlot, Slot};
use crate::view::{AsOf, Cut, CutRow};

/// The saved state's layout. Raise it with every change of what is saved, or of what a kernel keeps.
const VERSION: u8 = 2;
/// Bytes of the checksum at the end.
const SEAL: usize = 8;

/// A bar that waits: its row, as of when, and the ticks of trades and quotes then. Its values stand behind.
type SavedWaiting = (u32, AsOf, [u64; 2]);

#[derive(Serialize, Deserialize)]
struct Head {
    version: u8,
    definitions: u64,
    bar: BarSpec,
    roster: Roster,
    slots: Vec<SavedSlot>,
    strangers: BTreeMap<InstrumentId, u64>,
    ticks: Vec<[u64; 3]>,
    streaks: Vec<u32>,
    forming: (UnixNanos, u32, Vec<SavedWaiting>),
    counters: [u64; 5],
    cuts: Vec<(u64, UnixNanos, Vec<CutRow>)>,
    /// How many of the cuts are older than the history, kept because an instrument has had no bar since.
    pinned: u32,
}

impl FeaturesEngine {
    pub(crate) fn save(&self) -> Vec<u8> {
        let pinned = self.pinned();
        let cuts = || pinned.iter().chain(&self.history);
        let mut waiting = self.forming.bars.clone();
        waiting.sort_unstable_by_key(|waiting| waiting.row);
        let head = Head {
            version: VERSION,
            definitions: self.registry.digest(),
            bar: self.config.bar,
            roster: self.roster.clone(),
            slots: self.slots.iter().map(Slot::save).collect(),
            strangers: self.strangers.clone(),
            ticks: self.panel.ticks.clone(),
            streaks: self.panel.universe.streaks.clone(),
            forming: (
                self.forming.ts_close,
                self.forming.missing,
                waiting.iter().map(|waiting| (waiting.row, waiting.as_of, waiting.events.ticks)).collect(),
            ),
            counters: [self.cuts, self.closes, self.events, self.bars_refused, self.lost_on_star],
            cuts: cuts().map(|cut| (cut.number, cut.ts_close, cut.rows.clone())).collect(),
            pinned: pinned.len() as u32,
        };
        let mut bytes = postcard::to_allocvec(&head).expect("plain data, which postcard always encodes");
        bytes.reserve(self.panel.columns.memory() + self.history_bytes);
        for waiting in &waiting {
            put(&mut bytes, &waiting.bar.to_array());
            put(&mut bytes, &waiting.events.values);
        }
        self.panel.columns.save(&mut bytes);
        cuts().for_each(|cut| put(&mut bytes, &cut.values));
        let seal = xxh3_64(&bytes);
        bytes.extend_from_slice(&seal.to_le_bytes());
        bytes
    }

    /// Puts a saved state in the place of the present one, or says why it is none. The state is unchanged then.
    pub(crate) fn adopt(&mut self, bytes: &[u8]) -> Result<(), String> {
        check_version(bytes, VERSION)?;
        let sealed = bytes.split_last_chunk::<SEAL>();
        let (bytes, _) = sealed
            .filter(|(bytes, seal)| xxh3_64(bytes) == u64::from_le_bytes(**seal))
            .ok_or("it is damaged or cut short")?;
        let (head, rest) =
            postcard::take_from_bytes::<Head>(bytes).map_err(|e| format!("it does not decode ({e})"))?;
        self.check(&head)?;
        let cut_short = || "it is cut short".to_owned();
        let mut rest = rest;
        let mut bars = Vec::with_capacity(head.forming.2.len());
        for (row, as_of, ticks) in head.forming.2 {
            let mut values = [0.0; BarValues::FIELDS];
            rest = fill(&mut values, rest).ok_or_else(cut_short)?;
            let mut events = AtClose { values: vec![0.0; self.registry.graph.at_close.len()], ticks };
            rest = fill(&mut events.values, rest).ok_or_else(cut_short)?;
            bars.push(Waiting { row, bar: BarValues::from_array(values), events, as_of });
        }
        let (columns, mut rest) = Columns::restore(&self.registry.graph.layout, head.roster.len(), rest)?;
        let features = self.registry.definitions().len();
        let mut cuts = Vec::with_capacity(head.cuts.len());
        for (number, ts_close, rows) in head.cuts {
            let count = rows.len().checked_mul(features).filter(|count| count * 8 <= rest.len());
            let mut values = vec![0.0; count.ok_or_else(cut_short)?];
            rest = fill(&mut values, rest).ok_or_else(cut_short)?;
            cuts.push(Arc::new(Cut { number, ts_close, rows, values }));
        }
        if !rest.is_empty() {
            return Err(format!("{} bytes are left over", rest.len()));
        }
        let restored = head.slots.into_iter().map(|saved| Slot::restore(saved, self.limits));
        self.slots = restored.collect::<Result<_, _>>()?;
        self.roster = head.roster;
        self.strangers = head.strangers;
        let (fresh, order) = (Vec::new(), Vec::new());
        let universe = Universe { fresh, order, sectors: self.sectors(), streaks: head.streaks };
        self.panel = Panel { columns, universe, ticks: head.ticks };
        self.forming = Forming { ts_close: head.forming.0, missing: head.forming.1, bars };
        [self.cuts, self.closes, self.events, self.bars_refused, self.lost_on_star] = head.counters;
        self.renew_views(&cuts);
        self.history = cuts.into_iter().skip(head.pinned as usize).collect();
        self.history_bytes = self.history.iter().map(|cut| cut.bytes()).sum();
        self.bound_history();
        Ok(())
    }

    /// By row, the sector as of the newest bar.
    fn sectors(&self) -> Vec<u32> {
        let sector = |(row, slot): (u32, &Slot)| {
            let known = self.fundamentals.at(self.roster.symbol(row), slot.heard.evaluated?);
            known.map(|known| known.sector)
        };
        (0..).zip(&self.slots).map(|each| sector(each).unwrap_or(0)).collect()
    }

    /// Cuts older than the history that readers still see, oldest first.
    fn pinned(&self) -> Vec<Arc<Cut>> {
        let is_kept = |cut: &Arc<Cut>| self.history.front().is_some_and(|oldest| cut.number >= oldest.number);
        let mut pinned: Vec<_> = self.latest_cuts().filter(|cut| !is_kept(cut)).map(Arc::clone).collect();
        // Each is of one instrument.
        pinned.sort_unstable_by_key(|cut| (cut.number, cut.rows[0].row));
        pinned
    }

    fn check(&self, head: &Head) -> Result<(), String> {
        if head.definitions != self.registry.digest() {
            return Err("the definitions have changed since it was made".to_owned());
        }
        if head.bar != self.config.bar {
            return Err(format!("it was made of {} bars, now they are {}", head.bar, self.config.bar));
        }
        let rows = head.roster.len();
        let lengths = [head.slots.len(), head.ticks.len(), head.streaks.len()];
        let in_range = |row: u32| (row as usize) < rows;
        let waiting = &head.forming.2;
        let awaited = head.slots.iter().filter(|slot| slot.heard.awaited).count();
        // What is counted goes on from there.
        let countable = |count: &u64| *count < u64::MAX / 2;
        let [cuts, closes, ..] = head.counters;
        let rising = |rows: &[CutRow]| rows.windows(2).all(|pair| pair[0].row < pair[1].row);
        let sound = head.roster.is_consistent()
            && rows <= self.config.instruments_max
            && lengths.iter().all(|length| *length == rows)
            && waiting.iter().all(|(row, ..)| in_range(*row))
            && waiting.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && waiting.iter().all(|(row, ..)| head.slots[*row as usize].heard.closed == head.forming.0)
            && awaited == head.forming.1 as usize
            && head.counters.iter().chain(head.ticks.iter().flatten()).all(countable)
            && waiting.iter().flat_map(|(.., ticks)| ticks).all(countable)
            && head.slots.iter().all(|slot| slot.heard.close <= closes)
            && head.pinned as usize <= head.cuts.len()
            && head.cuts.iter().all(|(number, _, rows)| {
                *number <= cuts
                    && !rows.is_empty()
                    && rising(rows)
                    && rows.iter().all(|entry| in_range(entry.row))
            });
        if sound { Ok(()) } else { Err("it contradicts itself".to_owned()) }
    }
}
