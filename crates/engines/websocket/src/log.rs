//! The newest entries of a topic, and those that were not published yet.
//!
//! It counts and forgets; what an entry means is not its business.

use std::collections::VecDeque;

use nautilus_types::UnixNanos;
use serde::{Deserialize, Serialize};

/// Entries that wait to be published; beyond, the older half is left out. A run loop publishes every few milliseconds.
const FRESH_MAX: usize = 1 << 16;

/// A topic of events: the newest `KEEP` for whoever comes late.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Log<T, const KEEP: usize> {
    /// Entries ever.
    pub(crate) seq: u64,
    /// The newest entry's time.
    pub(crate) ts: UnixNanos,
    kept: VecDeque<T>,
    /// Up to which entry readers were told.
    #[serde(skip)]
    published: u64,
    #[serde(skip, default = "Vec::new")]
    fresh: Vec<T>,
}

impl<T, const KEEP: usize> Default for Log<T, KEEP> {
    fn default() -> Self {
        Self { seq: 0, ts: UnixNanos(0), kept: VecDeque::new(), published: 0, fresh: Vec::new() }
    }
}

impl<T: Copy, const KEEP: usize> Log<T, KEEP> {
    pub(crate) fn push(&mut self, entry: T, ts: UnixNanos) {
        self.seq += 1;
        self.ts = ts;
        if self.kept.len() == KEEP {
            self.kept.pop_front();
        }
        self.kept.push_back(entry);
        if self.fresh.len() == FRESH_MAX {
            self.fresh.drain(..FRESH_MAX / 2);
        }
        self.fresh.push(entry);
    }

    /// The kept entries, oldest first.
    pub(crate) fn kept(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.kept.iter()
    }

    /// Forgets the kept entries that are not wanted any more. What was not published yet still is.
    pub(crate) fn retain(&mut self, wanted: impl FnMut(&T) -> bool) {
        self.kept.retain(wanted);
    }

    /// What came since the last time: the number before and the entries. `None` when nothing did.
    pub(crate) fn take(&mut self) -> Option<(u64, Vec<T>)> {
        let before = std::mem::replace(&mut self.published, self.seq);
        (before != self.seq).then(|| (before, std::mem::take(&mut self.fresh)))
    }

    /// After a restart there is nothing to be told of what came before.
    ///
    /// # Errors
    /// A reason, when there are more entries than this ever keeps.
    pub(crate) fn resume(&mut self) -> Result<(), String> {
        self.published = self.seq;
        if self.kept.len() > KEEP || self.kept.len() as u64 > self.seq {
            return Err(format!("a list holds {} entries; the most it keeps are {KEEP}", self.kept.len()));
        }
        Ok(())
    }
}
