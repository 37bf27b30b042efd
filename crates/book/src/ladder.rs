//! One side of a book: price levels by integer key, a dense window around the touch and a tree for the far tail.
//!
//! Keys grow away from the touch (asks: ticks, bids: minus ticks), so the best level is the smallest key on
//! either side. This file decides where a level is kept; it never looks into one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The best key of an empty side.
pub(crate) const NONE: i64 = i64::MAX;
/// How often the touch must be seen outside the comfortable part of the window before the window follows it:
/// one stub quote that comes and goes must not move a thousand levels.
const PATIENCE: u32 = 32;
const WORD: usize = u64::BITS as usize;

#[derive(Debug, Clone)]
pub(crate) struct Ladder<L> {
    window: usize,
    /// The key of the window's first place.
    base: i64,
    best: i64,
    far_first: i64,
    strikes: u32,
    levels: usize,
    dense: Vec<L>,
    occupied: Vec<u64>,
    /// Levels whose key lies outside of the window.
    far: BTreeMap<i64, L>,
}

impl<L: Copy + Default> Ladder<L> {
    /// A ladder whose window spans at least `window` ticks; memory is taken at the first level.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window: window.clamp(WORD, 1 << 20).next_multiple_of(WORD),
            base: 0,
            best: NONE,
            far_first: NONE,
            strikes: 0,
            levels: 0,
            dense: Vec::new(),
            occupied: Vec::new(),
            far: BTreeMap::new(),
        }
    }

    /// The best key, [`NONE`] when the side is empty.
    #[inline]
    pub(crate) fn best(&self) -> i64 {
        self.best
    }

    pub(crate) fn len(&self) -> usize {
        self.levels
    }

    #[inline]
    fn place(&self, key: i64) -> Option<usize> {
        let offset = key.wrapping_sub(self.base).cast_unsigned();
        if offset < self.dense.len() as u64 { usize::try_from(offset).ok() } else { None }
    }

    #[inline]
    pub(crate) fn get(&self, key: i64) -> Option<&L> {
        match self.place(key) {
            Some(place) => {
                (self.occupied[place / WORD] >> (place % WORD) & 1 == 1).then(|| &self.dense[place])
            }
            None => self.far.get(&key),
        }
    }

    /// The level at `key`, which exists.
    #[inline]
    pub(crate) fn existing(&mut self, key: i64) -> &mut L {
        match self.place(key) {
            Some(place) => {
                debug_assert!(self.occupied[place / WORD] >> (place % WORD) & 1 == 1);
                &mut self.dense[place]
            }
            None => self.far_level(key),
        }
    }

    #[cold]
    fn far_level(&mut self, key: i64) -> &mut L {
        self.settle();
        match self.place(key) {
            Some(place) => &mut self.dense[place],
            None => self.far.get_mut(&key).expect("a level that holds orders is in the ladder"),
        }
    }

    /// The level at `key`, made if absent.
    #[inline]
    pub(crate) fn open(&mut self, key: i64) -> &mut L {
        if self.levels == 0 {
            self.start_at(key);
        }
        let Some(place) = self.place(key) else { return self.open_far(key) };
        let (word, bit) = (place / WORD, 1 << (place % WORD));
        if self.occupied[word] & bit == 0 {
            self.occupied[word] |= bit;
            self.dense[place] = L::default();
            self.levels += 1;
            if key < self.best {
                self.best = key;
                self.settle();
            }
        }
        // Settling may have moved the window.
        self.existing(key)
    }

    #[cold]
    fn open_far(&mut self, key: i64) -> &mut L {
        if let Entry::Vacant(vacant) = self.far.entry(key) {
            vacant.insert(L::default());
            self.levels += 1;
        }
        self.far_first = self.far_first.min(key);
        self.best = self.best.min(key);
        self.far_level(key)
    }

    /// Removes the level at `key`, which exists.
    #[inline]
    pub(crate) fn close(&mut self, key: i64) {
        match self.place(key) {
            Some(place) => self.occupied[place / WORD] &= !(1 << (place % WORD)),
            None => {
                self.far.remove(&key);
                self.far_first = self.far.first_key_value().map_or(NONE, |(&first, _)| first);
            }
        }
        self.levels -= 1;
        if key == self.best {
            self.best = self.find_best();
            self.settle();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.occupied.fill(0);
        self.far.clear();
        self.levels = 0;
        self.strikes = 0;
        self.best = NONE;
        self.far_first = NONE;
    }

    /// Best first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &L)> {
        let end = self.base.saturating_add(self.dense.len().cast_signed() as i64);
        let better = self.far.range(..self.base).map(|(&key, level)| (key, level));
        let worse = self.far.range(end..).map(|(&key, level)| (key, level));
        let dense = self.occupied.iter().enumerate().flat_map(move |(index, &word)| {
            Bits(word).map(move |bit| {
                let place = index * WORD + bit;
                (self.base + place.cast_signed() as i64, &self.dense[place])
            })
        });
        better.chain(dense).chain(worse)
    }

    #[inline]
    fn find_best(&self) -> i64 {
        if self.far_first < self.base {
            return self.far_first;
        }
        // Nothing stands before the old best, so the search starts at its word.
        let first = self.place(self.best).unwrap_or(0) / WORD;
        for (index, &word) in self.occupied.iter().enumerate().skip(first) {
            if word != 0 {
                return self.base + (index * WORD + word.trailing_zeros() as usize).cast_signed() as i64;
            }
        }
        self.far_first
    }

    #[cold]
    fn start_at(&mut self, key: i64) {
        if self.dense.is_empty() {
            self.dense = vec![L::default(); self.window];
            self.occupied = vec![0; self.window / WORD];
        }
        self.base = key - self.window.cast_signed() as i64 / 4;
    }

    /// Lets the window follow the touch, patiently.
    #[inline]
    fn settle(&mut self) {
        let offset = self.best.wrapping_sub(self.base).cast_unsigned();
        if offset < self.window as u64 / 4 * 3 || self.levels == 0 {
            self.strikes = 0;
            return;
        }
        self.strikes += 1;
        if self.strikes >= PATIENCE {
            self.recentre();
        }
    }

    #[cold]
    fn recentre(&mut self) {
        self.strikes = 0;
        for (index, word) in self.occupied.iter_mut().enumerate() {
            for bit in Bits(std::mem::take(word)) {
                let place = index * WORD + bit;
                self.far.insert(self.base + place.cast_signed() as i64, self.dense[place]);
            }
        }
        self.base = self.best - self.window.cast_signed() as i64 / 4;
        let end = self.base + self.window.cast_signed() as i64;
        for (key, level) in self.far.extract_if(self.base..end, |_, _| true) {
            let place = usize::try_from(key - self.base).expect("inside the window");
            self.occupied[place / WORD] |= 1 << (place % WORD);
            self.dense[place] = level;
        }
        self.far_first = self.far.first_key_value().map_or(NONE, |(&first, _)| first);
    }
}

/// The positions of the set bits, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every operation gives what a plain tree gives, wherever the window stands.
        #[test]
        fn is_a_sorted_map(operations in prop::collection::vec((-400i64..400, any::<bool>(), 0u8..20), 1..1500)) {
            let mut ladder = Ladder::<u64>::new(64);
            let mut tree = BTreeMap::new();
            let mut drift = 0;
            for (n, (key, open, jump)) in operations.into_iter().enumerate() {
                drift += i64::from(jump == 0) * 300 - i64::from(jump == 1) * 280;
                let key = if jump % 2 == 0 { key / 20 } else { key } + drift;
                if open {
                    *ladder.open(key) += n as u64;
                    *tree.entry(key).or_insert(0) += n as u64;
                } else if let Some(&first) = tree.keys().next() {
                    let key = tree.range(key..).next().map_or(first, |(&key, _)| key);
                    prop_assert_eq!(*ladder.existing(key), tree[&key]);
                    ladder.close(key);
                    tree.remove(&key);
                }
                prop_assert_eq!(ladder.best(), tree.keys().next().copied().unwrap_or(NONE));
                prop_assert_eq!(ladder.len(), tree.len());
                prop_assert_eq!(ladder.get(key), tree.get(&key));
            }
            let levels: Vec<_> = ladder.iter().map(|(key, level)| (key, *level)).collect();
            prop_assert_eq!(levels, tree.into_iter().collect::<Vec<_>>());
        }
    }
}
