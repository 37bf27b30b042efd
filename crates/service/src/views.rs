//! What readers see: per instrument one immutable view, replaced by the engine's thread, read without waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use nautilus_types::Symbol;

use crate::problem::Problem;

/// The newest view of every instrument.
#[derive(Debug)]
pub struct Views<V> {
    slots: RwLock<BTreeMap<Symbol, Arc<ArcSwap<V>>>>,
}

impl<V> Default for Views<V> {
    fn default() -> Self {
        Self { slots: RwLock::default() }
    }
}

impl<V> Views<V> {
    /// The newest view of one instrument.
    #[must_use]
    pub fn get(&self, symbol: Symbol) -> Option<Arc<V>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(&symbol).map(|slot| slot.load_full())
    }

    /// The newest view of the instrument of that name.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn named(&self, name: &str) -> Result<Arc<V>, Problem> {
        let view = name.parse().ok().and_then(|symbol| self.get(symbol));
        view.ok_or_else(|| Problem::unknown_instrument(name))
    }

    /// The newest views in order of symbol, from the first symbol after `after`, at most `limit`.
    #[must_use]
    pub fn page(&self, after: Option<Symbol>, limit: usize) -> Vec<(Symbol, Arc<V>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Unbounded, Excluded);
        slots.range((from, Unbounded)).take(limit).map(|(symbol, slot)| (*symbol, slot.load_full())).collect()
    }

    /// How many instruments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is no instrument.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn set(&self, symbol: Symbol, view: V) {
        let view = Arc::new(view);
        if let Some(slot) = self.slots.read().unwrap_or_else(PoisonError::into_inner).get(&symbol) {
            slot.store(view);
            return;
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.insert(symbol, Arc::new(ArcSwap::new(view)));
    }
}
