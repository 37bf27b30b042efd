//! A bounded log whose past can be shared without copying it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

const CHUNK: usize = 256;

/// The newest entries of a log, in chunks: sealed chunks are shared by reference, so that a view of thousands of
/// entries costs a few hundred copies at most.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History<T> {
    sealed: VecDeque<Arc<[T]>>,
    open: Vec<T>,
    chunks: usize,
}

impl<T: Clone> History<T> {
    /// Keeps at least `entries`, at most one chunk more.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self {
            sealed: VecDeque::new(),
            // Thousands of instruments have a log each, and most of those stay nearly empty.
            open: Vec::new(),
            chunks: entries.div_ceil(CHUNK).max(1),
        }
    }

    /// Appends an entry, dropping the oldest chunk when full.
    #[inline]
    pub fn push(&mut self, entry: T) {
        self.open.push(entry);
        if self.open.len() == CHUNK {
            self.sealed.push_back(Arc::from(self.open.as_slice()));
            self.open.clear();
            if self.sealed.len() > self.chunks {
                self.sealed.pop_front();
            }
        }
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed.len() * CHUNK + self.open.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest entry.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.open.last().or_else(|| self.sealed.back().and_then(|chunk| chunk.last()))
    }

    /// Oldest to newest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.sealed.iter().flat_map(|chunk| chunk.iter()).chain(&self.open)
    }

    /// An immutable view of the present content.
    #[must_use]
    pub fn view(&self) -> HistoryView<T> {
        HistoryView { sealed: self.sealed.iter().cloned().collect(), open: self.open.as_slice().into() }
    }
}

/// What a [`History`] held when the view was made.
#[derive(Debug, Clone)]
pub struct HistoryView<T> {
    sealed: Vec<Arc<[T]>>,
    open: Box<[T]>,
}

impl<T> HistoryView<T> {
    /// Oldest to newest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.sealed.iter().flat_map(|chunk| chunk.iter()).chain(self.open.iter())
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed.len() * CHUNK + self.open.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_shares_the_past() {
        let mut history = History::new(500);
        for n in 0..10_000u32 {
            history.push(n);
        }
        let view = history.view();
        history.push(10_000);
        assert_eq!(view.iter().next_back(), Some(&9_999));
        assert_eq!(history.last(), Some(&10_000));
        assert!(view.len() >= 500 && view.len() <= 500 + 2 * CHUNK, "{}", view.len());
        assert!(view.iter().zip(view.iter().skip(1)).all(|(a, b)| a + 1 == *b));
    }
}
