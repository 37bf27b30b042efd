//! Finds a record's number by its key, in constant time and without allocation once grown.
//!
//! The map is only ever asked for one key and never iterated, so that its order does not matter.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Numbers of records by keys of `N` bytes; the keys stand in the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index<const N: usize>(HashTable<u32>);

impl<const N: usize> Index<N> {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self(HashTable::with_capacity(entries))
    }

    /// The number of the record with this key.
    #[inline]
    pub(crate) fn find(&self, key: &[u8; N], key_of: impl Fn(u32) -> [u8; N]) -> Option<u32> {
        self.0.find(xxh3_64(key), |number| key_of(*number) == *key).copied()
    }

    /// Adds a record whose key is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, key: &[u8; N], number: u32, key_of: impl Fn(u32) -> [u8; N]) {
        self.0.insert_unique(xxh3_64(key), number, |number| xxh3_64(&key_of(*number)));
    }

    /// Takes a record out.
    #[inline]
    pub(crate) fn remove(&mut self, key: &[u8; N], number: u32) {
        if let Ok(entry) = self.0.find_entry(xxh3_64(key), |found| *found == number) {
            entry.remove();
        }
    }
}
