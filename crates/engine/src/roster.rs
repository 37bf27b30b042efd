//! Which instrument stands in which row of an engine's state, by symbol and by the hub's number.
//!
//! A symbol keeps its row for good; its number may change when the hub restarts. What a row holds is the engine's
//! business.

use std::collections::BTreeMap;

use nautilus_types::{InstrumentId, Symbol};
use serde::{Deserialize, Serialize};

const NOWHERE: u32 = u32::MAX;

/// What a definition did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defined {
    /// The instrument's row.
    pub row: u32,
    /// The row was made for it: all rows before it were there.
    pub is_new: bool,
    /// The number it had before, where that was another one.
    pub former: Option<InstrumentId>,
}

/// The instruments of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Symbol, InstrumentId)>", into = "Vec<(Symbol, InstrumentId)>")]
pub struct Roster {
    /// By row.
    entries: Vec<(Symbol, InstrumentId)>,
    by_symbol: BTreeMap<Symbol, u32>,
    /// By number; [`NOWHERE`] where there is none.
    by_id: Vec<u32>,
}

impl Roster {
    /// Instrument numbers from here on are none of this platform: they are dense.
    pub const NUMBERS_END: usize = 1 << 20;

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no instrument yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The row of a number.
    #[must_use]
    #[inline]
    pub fn row(&self, id: InstrumentId) -> Option<u32> {
        self.by_id.get(id.index()).copied().filter(|row| *row != NOWHERE)
    }

    /// The row of a symbol.
    #[must_use]
    pub fn find(&self, symbol: Symbol) -> Option<u32> {
        self.by_symbol.get(&symbol).copied()
    }

    /// The symbol of a row.
    #[must_use]
    pub fn symbol(&self, row: u32) -> Symbol {
        self.entries[row as usize].0
    }

    /// The present number of a row; none while the hub has not said it.
    #[must_use]
    pub fn id(&self, row: u32) -> InstrumentId {
        self.entries[row as usize].1
    }

    /// Every symbol with its row, by symbol.
    pub fn symbols(&self) -> impl Iterator<Item = (Symbol, u32)> {
        self.by_symbol.iter().map(|(symbol, row)| (*symbol, *row))
    }

    /// The row of a symbol, made behind all others where there is none. `None` where there are `most` already.
    pub fn admit(&mut self, symbol: Symbol, most: usize) -> Option<u32> {
        if let Some(row) = self.find(symbol) {
            return Some(row);
        }
        let row = u32::try_from(self.len()).ok().filter(|row| *row != NOWHERE && self.len() < most)?;
        self.entries.push((symbol, InstrumentId::NONE));
        self.by_symbol.insert(symbol, row);
        Some(row)
    }

    /// Takes a definition in. `None` where the number is none of this platform, or there are `most` rows already.
    pub fn define(&mut self, id: InstrumentId, symbol: Symbol, most: usize) -> Option<Defined> {
        if id == InstrumentId::NONE || id.index() >= Self::NUMBERS_END {
            return None;
        }
        let rows = self.len();
        let row = self.admit(symbol, most)?;
        let old = std::mem::replace(&mut self.entries[row as usize].1, id);
        if let Some(route) = self.by_id.get_mut(old.index()).filter(|route| **route == row) {
            *route = NOWHERE;
        }
        self.route(id, row);
        Some(Defined {
            row,
            is_new: self.len() > rows,
            former: Some(old).filter(|old| *old != InstrumentId::NONE && *old != id),
        })
    }

    fn route(&mut self, id: InstrumentId, row: u32) {
        if self.by_id.len() <= id.index() {
            self.by_id.resize(id.index() + 1, NOWHERE);
        }
        // Whoever held the number before has none until it is defined anew.
        let previous = std::mem::replace(&mut self.by_id[id.index()], row);
        if previous != NOWHERE && previous != row {
            self.entries[previous as usize].1 = InstrumentId::NONE;
        }
    }

    /// The hub numbers instruments anew, so nothing is known by number any more.
    pub fn forget_numbers(&mut self) {
        self.by_id.clear();
        self.entries.iter_mut().for_each(|(_, id)| *id = InstrumentId::NONE);
    }

    /// Whether no symbol and no number stands there twice, and all are legal.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let numbered = |(row, (_, id)): (usize, &(Symbol, InstrumentId))| {
            *id == InstrumentId::NONE || self.row(*id).is_some_and(|found| found as usize == row)
        };
        self.by_symbol.len() == self.entries.len() && self.entries.iter().enumerate().all(numbered)
    }
}

impl From<Vec<(Symbol, InstrumentId)>> for Roster {
    fn from(entries: Vec<(Symbol, InstrumentId)>) -> Self {
        let mut roster = Self { entries, ..Self::default() };
        for (row, (symbol, id)) in roster.entries.clone().into_iter().enumerate() {
            let Ok(row) = u32::try_from(row) else { break };
            roster.by_symbol.insert(symbol, row);
            if id != InstrumentId::NONE && id.index() < Self::NUMBERS_END && roster.row(id).is_none() {
                roster.route(id, row);
            }
        }
        roster
    }
}

impl From<Roster> for Vec<(Symbol, InstrumentId)> {
    fn from(roster: Roster) -> Self {
        roster.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &str) -> Symbol {
        name.parse().unwrap()
    }

    #[test]
    fn symbols_keep_their_rows_whatever_their_numbers() {
        let mut roster = Roster::default();
        let (a, b) = (symbol("A"), symbol("B"));
        assert_eq!(
            roster.define(InstrumentId(1), a, 2),
            Some(Defined { row: 0, is_new: true, former: None })
        );
        assert_eq!((roster.admit(b, 2), roster.id(1)), (Some(1), InstrumentId::NONE));
        let numbered = roster.define(InstrumentId(2), b, 2).unwrap();
        assert_eq!(numbered, Defined { row: 1, is_new: false, former: None });
        assert_eq!(roster.define(InstrumentId(3), symbol("C"), 2), None, "full");
        assert_eq!((roster.admit(symbol("C"), 2), roster.admit(a, 2)), (None, Some(0)));
        assert_eq!(roster.define(InstrumentId::NONE, a, 2), None);
        assert_eq!(roster.define(InstrumentId(u32::MAX), a, 2), None);
        // B's number becomes A's.
        let moved = roster.define(InstrumentId(2), a, 2).unwrap();
        assert_eq!(moved, Defined { row: 0, is_new: false, former: Some(InstrumentId(1)) });
        assert_eq!((roster.row(InstrumentId(1)), roster.row(InstrumentId(2))), (None, Some(0)));
        assert_eq!(roster.id(1), InstrumentId::NONE);
        let entries: Vec<_> = roster.clone().into();
        let again = Roster::from(entries);
        assert!(again.is_consistent());
        assert_eq!((again.find(b), again.row(InstrumentId(2))), (Some(1), Some(0)));
        roster.forget_numbers();
        assert_eq!((roster.row(InstrumentId(2)), roster.find(a)), (None, Some(0)));
        assert!(!Roster::from(vec![(a, InstrumentId(1)), (a, InstrumentId(2))]).is_consistent());
        assert!(!Roster::from(vec![(a, InstrumentId(1)), (b, InstrumentId(1))]).is_consistent());
    }
}
