//! Changes that wait for a second person.

use std::collections::BTreeMap;

use nautilus_messages::mesh::Scope;
use nautilus_types::UnixNanos;
use serde::{Deserialize, Serialize};

use crate::facts::Change;

/// Proposals at most.
pub(crate) const PROPOSALS_MAX: usize = 256;

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Where.
    pub scope: Scope,
    /// What.
    pub change: Change,
    /// Who asked for it: somebody else has to approve.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: UnixNanos,
}

/// All that wait, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Proposals {
    waiting: BTreeMap<u64, Proposal>,
    last: u64,
}

impl Proposals {
    /// The number of the next one.
    pub(crate) fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= PROPOSALS_MAX
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Proposal> {
        self.waiting.get(&id)
    }

    pub(crate) fn insert(&mut self, id: u64, proposal: Proposal) {
        self.last = self.last.max(id);
        self.waiting.insert(id, proposal);
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// A change has come into force: what waits of its kind and at its place was asked for when things were otherwise.
    pub(crate) fn supersede(&mut self, scope: &Scope, change: &Change) {
        let kind = std::mem::discriminant(change);
        self.waiting
            .retain(|_, waits| waits.scope != *scope || std::mem::discriminant(&waits.change) != kind);
    }

    /// In order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Proposal)> {
        self.waiting.iter().map(|(id, proposal)| (*id, proposal))
    }
}
