//! Finds an order's place in the slab by the venue's order number: open addressing, no allocation once grown.
//!
//! An entry holds 32 bits of the hash and the slot; the number itself stands in the slab, which every caller
//! reads next anyway. The map never owns an order.

const VACANT: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u32,
    slot: u32,
}

const EMPTY: Entry = Entry { tag: 0, slot: VACANT };

#[derive(Debug, Clone)]
pub(crate) struct OrderMap {
    /// A power of two of entries, at most half of them used.
    entries: Vec<Entry>,
    used: usize,
}

/// Folded multiplication (the mixing step of wyhash): venues number orders in runs and in strides, and both
/// halves of the product are needed to spread either.
#[inline]
fn tag_of(id: u64) -> u32 {
    let product = u128::from(id ^ 0xA076_1D64_78BD_642F) * 0xE703_7ED1_A0B4_28DB;
    let folded = (product >> 64) as u64 ^ product as u64;
    (folded >> 32) as u32 ^ folded as u32
}

impl OrderMap {
    pub(crate) fn new() -> Self {
        Self { entries: vec![EMPTY; 64], used: 0 }
    }

    #[inline]
    fn mask(&self) -> usize {
        self.entries.len() - 1
    }

    /// Where `id` stands: the entry's position and the slot. `id_of` reads the number of the order in a slot.
    #[inline]
    pub(crate) fn find(&self, id: u64, id_of: impl Fn(u32) -> u64) -> Option<(usize, u32)> {
        let tag = tag_of(id);
        let mut at = tag as usize & self.mask();
        loop {
            let entry = self.entries[at];
            if entry.slot == VACANT {
                return None;
            }
            if entry.tag == tag && id_of(entry.slot) == id {
                return Some((at, entry.slot));
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Adds an order that is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, id: u64, slot: u32) {
        if (self.used + 1) * 2 > self.entries.len() {
            self.grow();
        }
        self.used += 1;
        let tag = tag_of(id);
        self.put(Entry { tag, slot });
    }

    #[inline]
    fn put(&mut self, entry: Entry) {
        let mut at = entry.tag as usize & self.mask();
        while self.entries[at].slot != VACANT {
            at = (at + 1) & self.mask();
        }
        self.entries[at] = entry;
    }

    #[cold]
    fn grow(&mut self) {
        let doubled = vec![EMPTY; self.entries.len() * 2];
        for entry in std::mem::replace(&mut self.entries, doubled) {
            if entry.slot != VACANT {
                self.put(entry);
            }
        }
    }

    /// Removes the entry at a position that [`Self::find`] gave, closing the hole so that no tombstone is left
    /// (Knuth, The Art of Computer Programming 3, algorithm 6.4 R).
    #[inline]
    pub(crate) fn remove(&mut self, position: usize) {
        let mask = self.mask();
        let (mut hole, mut at) = (position, position);
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry.slot == VACANT {
                break;
            }
            let home = entry.tag as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = EMPTY;
        self.used -= 1;
    }

    pub(crate) fn clear(&mut self) {
        // A stream of clears must not sweep a large table each time.
        if self.used > 0 {
            self.entries.fill(EMPTY);
        }
        self.used = 0;
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn is_a_map(operations in prop::collection::vec((0u64..300, any::<bool>(), 0u32..40), 1..3000)) {
            let (mut map, mut tree, mut ids) = (OrderMap::new(), BTreeMap::new(), Vec::new());
            for (id, insert, shift) in operations {
                let id = id << (shift % 40);
                let found = map.find(id, |slot| ids[slot as usize]);
                prop_assert_eq!(found.map(|(_, slot)| slot), tree.get(&id).copied());
                match found {
                    None if insert => {
                        let slot = u32::try_from(ids.len()).unwrap();
                        ids.push(id);
                        map.insert(id, slot);
                        tree.insert(id, slot);
                    }
                    Some((at, _)) if !insert => {
                        map.remove(at);
                        tree.remove(&id);
                    }
                    _ => {}
                }
            }
            for (&id, &slot) in &tree {
                prop_assert_eq!(map.find(id, |slot| ids[slot as usize]).map(|(_, slot)| slot), Some(slot));
            }
        }
    }
}
