//! What an engine wants on the disk before anybody hears of it: one buffer, so that a step allocates nothing.
//!
//! What a fact means is the engine's business; the shell writes it and, after a restart, hands it back.

use nautilus_types::UnixNanos;

/// Facts of a batch, in order. Each is at most [`Facts::LEN_MAX`] bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    bytes: Vec<u8>,
    /// Of each fact: its instant, and where it ends in `bytes`.
    ends: Vec<(UnixNanos, usize)>,
}

impl Facts {
    /// The longest fact, in bytes.
    pub const LEN_MAX: usize = 1 << 20;

    /// Appends what `write` appends to the buffer as one fact, as of `at` (the step's [`crate::Stamp::now`]).
    ///
    /// # Panics
    /// When `write` removes bytes of other facts, or writes more than [`Self::LEN_MAX`].
    #[inline]
    pub fn push(&mut self, at: UnixNanos, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len().checked_sub(start);
        assert!(length.is_some_and(|length| length <= Self::LEN_MAX), "a fact is at most a mebibyte");
        self.ends.push((at, self.bytes.len()));
    }

    /// Facts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Every fact with its instant, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (UnixNanos, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(at, end)| (at, &self.bytes[std::mem::replace(&mut start, end)..end]))
    }

    /// Moves the other's facts behind these and keeps the other's memory.
    pub fn append(&mut self, other: &mut Self) {
        let start = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.ends.extend(other.ends.drain(..).map(|(at, end)| (at, start + end)));
    }

    /// Forgets all and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(facts: &Facts) -> Vec<(u64, Vec<u8>)> {
        facts.iter().map(|(at, fact)| (at.0, fact.to_vec())).collect()
    }

    #[test]
    fn facts_come_back_as_they_were_pushed() {
        let (mut first, mut second) = (Facts::default(), Facts::default());
        first.push(UnixNanos(1), |buffer| buffer.extend_from_slice(b"one"));
        first.push(UnixNanos(2), |_| {});
        second.push(UnixNanos(3), |buffer| buffer.extend_from_slice(b"three"));
        first.append(&mut second);
        assert!(second.is_empty() && second.iter().next().is_none());
        assert_eq!(all(&first), [(1, b"one".to_vec()), (2, Vec::new()), (3, b"three".to_vec())]);
        assert_eq!((first.len(), first.iter().len()), (3, 3));
        let mut same = Facts::default();
        for (at, fact) in first.iter() {
            same.push(at, |buffer| buffer.extend_from_slice(fact));
        }
        assert_eq!(same, first);
        same.clear();
        assert_eq!(same, Facts::default());
        same.push(UnixNanos(1), |buffer| buffer.extend_from_slice(b"onetwo"));
        assert_ne!(same, first);
    }

    #[test]
    #[should_panic(expected = "at most a mebibyte")]
    fn a_fact_is_bounded() {
        Facts::default().push(UnixNanos(0), |buffer| buffer.resize(Facts::LEN_MAX + 1, 0));
    }
}
