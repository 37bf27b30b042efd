//! Recognises messages that came before, by (producer, epoch, sequence), within a bounded window.
//!
//! It says what it knows; whether a repeated or too old message is dropped is its caller's decision.

use std::collections::BTreeMap;

use nautilus_messages::EngineName;
use nautilus_messages::mesh::{MessageId, MessageType};

/// Sequence numbers behind the newest that are told apart: more than a publisher can have in flight.
pub(crate) const WINDOW: u64 = 1 << 14;
/// Epochs of one producer that are told apart.
const EPOCHS: usize = 4;
const WORDS: usize = (WINDOW / 64) as usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Seen,
    /// Too far behind the newest to be told.
    TooOld,
}

/// What one consumer has seen.
#[derive(Debug, Default)]
pub(crate) struct Dedup(BTreeMap<(EngineName, MessageType), BTreeMap<u64, Window>>);

impl Dedup {
    /// Notes a message and says whether it was noted before.
    pub(crate) fn see(&mut self, message_type: MessageType, id: MessageId) -> Verdict {
        let epochs = self.0.entry((id.producer, message_type)).or_default();
        if !epochs.contains_key(&id.epoch) && epochs.len() == EPOCHS {
            let oldest = epochs.first_key_value().map_or(0, |(epoch, _)| *epoch);
            if id.epoch < oldest {
                return Verdict::TooOld;
            }
            epochs.remove(&oldest);
        }
        epochs.entry(id.epoch).or_default().see(id.sequence)
    }
}

/// One bit per sequence number in (newest - WINDOW, newest].
#[derive(Debug)]
struct Window {
    newest: u64,
    bits: Box<[u64; WORDS]>,
}

impl Default for Window {
    fn default() -> Self {
        Self { newest: 0, bits: Box::new([0; WORDS]) }
    }
}

impl Window {
    fn see(&mut self, sequence: u64) -> Verdict {
        if sequence > self.newest {
            if sequence - self.newest >= WINDOW {
                self.bits.fill(0);
            } else {
                (self.newest + 1..sequence).for_each(|skipped| *self.word(skipped) &= !bit(skipped));
            }
            self.newest = sequence;
            *self.word(sequence) |= bit(sequence);
            return Verdict::New;
        }
        if self.newest - sequence >= WINDOW {
            return Verdict::TooOld;
        }
        let word = self.word(sequence);
        if *word & bit(sequence) != 0 {
            return Verdict::Seen;
        }
        *word |= bit(sequence);
        Verdict::New
    }

    fn word(&mut self, sequence: u64) -> &mut u64 {
        &mut self.bits[(sequence / 64) as usize % WORDS]
    }
}

const fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(epoch: u64, sequence: u64) -> MessageId {
        MessageId { producer: EngineName::Vpin, epoch, sequence }
    }

    proptest! {
        /// Against a set of everything seen.
        #[test]
        fn the_window_agrees_with_a_set(
            steps in prop::collection::vec((-40_i64..40, prop::bool::weighted(0.02)), 1..600)
        ) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            let (mut newest, mut at) = (0_u64, 1_i64);
            for (step, leap) in steps {
                at = (at + step + if leap { WINDOW as i64 } else { 0 }).max(1);
                let sequence = at as u64;
                let expected = if sequence + WINDOW <= newest {
                    Verdict::TooOld
                } else if seen.insert(sequence) {
                    Verdict::New
                } else {
                    Verdict::Seen
                };
                newest = newest.max(sequence);
                prop_assert_eq!(window.see(sequence), expected);
            }
        }
    }

    #[test]
    fn epochs_and_types_are_told_apart_and_old_epochs_forgotten() {
        let mut dedup = Dedup::default();
        let kind = MessageType::VpinUpdate;
        for epoch in 10..14 {
            assert_eq!(dedup.see(kind, id(epoch, 1)), Verdict::New);
            assert_eq!(dedup.see(kind, id(epoch, 1)), Verdict::Seen);
        }
        assert_eq!(dedup.see(MessageType::ToxicityAlert, id(10, 1)), Verdict::New);
        assert_eq!(dedup.see(kind, id(9, 1)), Verdict::TooOld);
        assert_eq!(dedup.see(kind, id(14, 1)), Verdict::New);
        assert_eq!(dedup.see(kind, id(10, 2)), Verdict::TooOld);
    }
}
