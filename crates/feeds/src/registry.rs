//! Gives every symbol its dense number and remembers which feed speaks for it now.
//!
//! It decides ids and ownership; it never reads data and forgets no id while the process lives.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nautilus_types::{Instrument, InstrumentId, Symbol};

use crate::FeedError;

/// The most instruments that get an id: a damaged file must not fill the tables of every engine.
pub(crate) const MAX_INSTRUMENTS: usize = 100_000;

/// A feed's number, for ownership only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(u64);

#[derive(Debug)]
struct Entry {
    id: InstrumentId,
    owner: Option<FeedId>,
}

#[derive(Debug, Default)]
struct Table {
    symbols: HashMap<Symbol, Entry>,
    ids: HashSet<InstrumentId>,
    last_id: u32,
    last_feed: u64,
}

/// Who is who. Cheap to clone; all clones are one registry.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<Table>>);

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every change of the table is one assignment, so a holder that panicked leaves it whole.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new feed.
    #[must_use]
    pub fn new_feed(&self) -> FeedId {
        let mut table = self.table();
        table.last_feed += 1;
        FeedId(table.last_feed)
    }

    /// Gives the symbol to `feed` and returns its id: the one it always had, or the next. The id that
    /// `instrument` carries is ignored.
    ///
    /// # Errors
    /// When another live feed owns the symbol, the definition is illegal or there are too many instruments.
    pub fn register(&self, feed: FeedId, instrument: Instrument) -> Result<InstrumentId, FeedError> {
        let symbol = instrument.checked()?.symbol;
        let mut table = self.table();
        if let Some(entry) = table.symbols.get_mut(&symbol) {
            if entry.owner.is_some_and(|owner| owner != feed) {
                return Err(FeedError::Busy { symbol });
            }
            entry.owner = Some(feed);
            return Ok(entry.id);
        }
        if table.symbols.len() >= MAX_INSTRUMENTS || table.last_id == u32::MAX {
            return Err(FeedError::TooManyInstruments { limit: MAX_INSTRUMENTS });
        }
        table.last_id += 1;
        let id = InstrumentId(table.last_id);
        table.ids.insert(id);
        table.symbols.insert(symbol, Entry { id, owner: Some(feed) });
        Ok(id)
    }

    /// Frees every symbol of `feed` for others; the ids stay.
    pub fn release(&self, feed: FeedId) {
        let mut table = self.table();
        for entry in table.symbols.values_mut().filter(|entry| entry.owner == Some(feed)) {
            entry.owner = None;
        }
    }

    /// Reserves the id that an instrument had before a restart. A symbol or id already known is left alone.
    pub fn restore(&self, instrument: &Instrument) {
        let mut table = self.table();
        let known = table.symbols.contains_key(&instrument.symbol);
        if known || instrument.id == InstrumentId::NONE || !table.ids.insert(instrument.id) {
            return;
        }
        table.last_id = table.last_id.max(instrument.id.0);
        table.symbols.insert(instrument.symbol, Entry { id: instrument.id, owner: None });
    }

    /// The symbol's id, where it has one.
    #[must_use]
    pub fn lookup(&self, symbol: &str) -> Option<InstrumentId> {
        let symbol: Symbol = symbol.parse().ok()?;
        self.table().symbols.get(&symbol).map(|entry| entry.id)
    }
}

/// A feed's hold on its instruments: released when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    registry: Registry,
    feed: FeedId,
}

impl Lease {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), feed: registry.new_feed() }
    }

    /// The instrument with the platform's id, now owned by this feed.
    pub(crate) fn register(&self, mut instrument: Instrument) -> Result<Instrument, FeedError> {
        instrument.id = self.registry.register(self.feed, instrument)?;
        Ok(instrument)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.registry.release(self.feed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::unknown_instrument;

    fn named(symbol: &str) -> Instrument {
        unknown_instrument(symbol.parse().unwrap(), "TEST".parse().unwrap())
    }

    #[test]
    fn ids_are_dense_and_stay() {
        let registry = Registry::new();
        let (one, two) = (registry.new_feed(), registry.new_feed());
        assert_eq!(registry.register(one, named("A")), Ok(InstrumentId(1)));
        assert_eq!(registry.register(one, named("B")), Ok(InstrumentId(2)));
        assert_eq!(registry.register(one, named("A")), Ok(InstrumentId(1)));
        let busy = registry.register(two, named("A")).unwrap_err();
        assert_eq!(busy, FeedError::Busy { symbol: "A".parse().unwrap() });
        registry.release(one);
        assert_eq!(registry.register(two, named("A")), Ok(InstrumentId(1)));
        assert_eq!(registry.lookup("B"), Some(InstrumentId(2)));
        assert_eq!(registry.lookup("no such symbol"), None);
    }

    #[test]
    fn a_dropped_lease_frees_its_symbols() {
        let registry = Registry::new();
        let lease = Lease::new(&registry);
        lease.register(named("A")).unwrap();
        assert!(Lease::new(&registry).register(named("A")).is_err());
        drop(lease);
        assert!(Lease::new(&registry).register(named("A")).is_ok());
    }

    #[test]
    fn restored_ids_are_not_given_away() {
        let registry = Registry::new();
        registry.restore(&Instrument { id: InstrumentId(7), ..named("OLD") });
        registry.restore(&Instrument { id: InstrumentId(7), ..named("TWIN") });
        assert_eq!(registry.lookup("OLD"), Some(InstrumentId(7)));
        assert_eq!(registry.lookup("TWIN"), None);
        let feed = registry.new_feed();
        assert_eq!(registry.register(feed, named("NEW")), Ok(InstrumentId(8)));
        assert_eq!(registry.register(feed, named("OLD")), Ok(InstrumentId(7)));
    }

    #[test]
    fn illegal_definitions_are_refused() {
        let registry = Registry::new();
        let broken = Instrument { lot: nautilus_types::Quantity::ZERO, ..named("A") };
        assert!(matches!(registry.register(registry.new_feed(), broken), Err(FeedError::Instrument(_))));
        assert_eq!(registry.lookup("A"), None);
    }
}
