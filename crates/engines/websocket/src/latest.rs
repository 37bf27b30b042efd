//! The newest state of a topic that has only one, and whether readers were told of it.

use nautilus_types::UnixNanos;
use serde::{Deserialize, Serialize};

/// A topic of which only the newest state counts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latest<T> {
    /// States ever.
    pub(crate) seq: u64,
    /// The newest state's time.
    pub(crate) ts: UnixNanos,
    /// The newest state; none before the first.
    pub(crate) state: Option<T>,
    /// Up to which state readers were told.
    #[serde(skip)]
    published: u64,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { seq: 0, ts: UnixNanos(0), state: None, published: 0 }
    }
}

impl<T: Copy> Latest<T> {
    pub(crate) fn replace(&mut self, state: T, ts: UnixNanos) {
        self.seq += 1;
        (self.ts, self.state) = (ts, Some(state));
    }

    /// The number that readers were told last and the state since. `None` when there is nothing new.
    pub(crate) fn take(&mut self) -> Option<(u64, T)> {
        let before = std::mem::replace(&mut self.published, self.seq);
        self.state.filter(|_| before != self.seq).map(|state| (before, state))
    }

    /// After a restart there is nothing to be told of what came before.
    pub(crate) fn resume(&mut self) {
        self.published = self.seq;
    }
}
