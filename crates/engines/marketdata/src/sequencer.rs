//! Puts the frames of a source that promises contiguous numbers back in order, and says what is missing.
//!
//! A frame that comes early is held, up to [`HELD_MAX`] of them; then the hole before the first is a gap. This
//! file never looks at what a frame says.

use std::collections::BTreeMap;

use nautilus_messages::frame::FrameRef;
use serde::{Deserialize, Serialize};

/// Early frames that are held before a gap is declared.
pub const HELD_MAX: usize = 64;

/// What is to be done with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is the next one.
    Next,
    /// It was there already, or comes after its gap was declared.
    Duplicate,
    /// It is held until those before it come.
    Early,
    /// Its number cannot be one.
    Absurd,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sequencer {
    /// The number that comes next, once one was seen.
    next: Option<u64>,
    held: BTreeMap<u64, Vec<u8>>,
}

impl Sequencer {
    #[inline]
    pub(crate) fn offer(&mut self, sequence: u64, bytes: impl FnOnce() -> Vec<u8>) -> Order {
        let next = *self.next.get_or_insert_with(|| first_expected(sequence));
        if sequence == next && sequence < u64::MAX {
            self.next = Some(sequence + 1);
            return Order::Next;
        }
        self.offer_out_of_order(sequence, next, bytes)
    }

    #[cold]
    fn offer_out_of_order(&mut self, sequence: u64, next: u64, bytes: impl FnOnce() -> Vec<u8>) -> Order {
        if sequence == u64::MAX {
            return Order::Absurd;
        }
        if sequence < next || self.held.contains_key(&sequence) {
            return Order::Duplicate;
        }
        self.held.insert(sequence, bytes());
        Order::Early
    }

    /// Whether frames are held.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the hole is to be given up.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= HELD_MAX
    }

    /// The held frame that is next.
    pub(crate) fn release(&mut self) -> Option<Vec<u8>> {
        let next = self.next?;
        let bytes = self.held.remove(&next)?;
        self.next = Some(next + 1);
        Some(bytes)
    }

    /// Gives up the hole before the first held frame: the first and last number missing.
    pub(crate) fn give_up(&mut self) -> Option<(u64, u64)> {
        let (&first_held, _) = self.held.first_key_value()?;
        let first_missing = self.next.filter(|next| *next < first_held)?;
        self.next = Some(first_held);
        Some((first_missing, first_held - 1))
    }

    /// Whether a definition of this number says that the source has started over: it comes first or not at all.
    pub(crate) fn is_restart(&self, sequence: u64) -> bool {
        sequence <= 1 && self.next.is_some_and(|next| next > HELD_MAX as u64 + 1)
    }

    /// Everything up to and including `sequence` is known from elsewhere: a snapshot, or the source's own gap.
    pub(crate) fn skip_to(&mut self, sequence: u64) {
        let after = sequence.saturating_add(1);
        if self.next.is_none_or(|next| next < after) {
            self.next = Some(after);
            self.held = self.held.split_off(&after);
        }
    }

    /// # Errors
    /// A reason, when a saved sequencer holds what is no frame.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.held.contains_key(&u64::MAX) {
            return Err("a held frame has a number that cannot be one".to_owned());
        }
        self.held.values().try_for_each(|bytes| match FrameRef::parse(bytes) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// A source that starts near one is expected to start at one, so that a swap at the very start is mended; any
/// other has been joined in mid-stream.
fn first_expected(sequence: u64) -> u64 {
    if sequence <= HELD_MAX as u64 { sequence.min(1) } else { sequence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Order::{Absurd, Duplicate, Early, Next};

    #[test]
    fn orders_holds_and_gives_up() {
        let mut sequencer = Sequencer::default();
        for (sequence, order) in [(2, Early), (2, Duplicate), (1, Next), (1, Duplicate), (u64::MAX, Absurd)] {
            assert_eq!(sequencer.offer(sequence, Vec::new), order, "{sequence}");
        }
        assert_eq!(sequencer.release(), Some(vec![]));
        assert_eq!(sequencer.release(), None);
        assert_eq!((sequencer.offer(7, || vec![7]), sequencer.offer(9, || vec![9])), (Early, Early));
        assert_eq!(sequencer.give_up(), Some((3, 6)));
        assert_eq!(sequencer.release(), Some(vec![7]));
        assert_eq!(sequencer.release(), None);
        sequencer.skip_to(8);
        assert_eq!(sequencer.release(), Some(vec![9]));
        assert!(!sequencer.is_waiting());
        assert_eq!(Sequencer::default().offer(123_456, Vec::new), Next);
        assert_eq!(Sequencer::default().offer(0, Vec::new), Next);
    }
}
