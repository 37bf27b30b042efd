//! Numbers that begin on a cache line, so that no vector of them lies on two. It decides nothing else.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

/// Numbers in a cache line.
pub(super) const LINE: usize = 8;
const LINE_BYTES: usize = LINE * size_of::<f64>();

/// A fixed number of numbers, at first 0, the first of them at the beginning of a cache line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "Vec<f64>", into = "Vec<f64>")]
pub(super) struct Aligned {
    room: Vec<f64>,
    first: usize,
    length: usize,
}

impl Aligned {
    pub(super) fn zeros(length: usize) -> Self {
        Self::with_room(length, length)
    }

    fn with_room(length: usize, room: usize) -> Self {
        let room = vec![0.0; room + LINE - 1];
        // An address that cannot be told is no reason to fail: the numbers are the same anywhere.
        let first = room.as_ptr().align_offset(LINE_BYTES).min(LINE - 1);
        Self { room, first, length }
    }

    /// So many numbers at least, those that are there and then 0, with room for as many more.
    pub(super) fn grow(&mut self, length: usize) {
        if self.first + length > self.room.len() {
            let mut grown = Self::with_room(self.length, 2 * length);
            grown.copy_from_slice(self);
            *self = grown;
        }
        self.length = self.length.max(length);
    }
}

impl Deref for Aligned {
    type Target = [f64];

    #[inline]
    fn deref(&self) -> &[f64] {
        &self.room[self.first..self.first + self.length]
    }
}

impl DerefMut for Aligned {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.room[self.first..self.first + self.length]
    }
}

impl Default for Aligned {
    fn default() -> Self {
        Self::zeros(0)
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut clone = Self::zeros(self.length);
        clone.copy_from_slice(self);
        clone
    }
}

impl PartialEq for Aligned {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<Vec<f64>> for Aligned {
    fn from(values: Vec<f64>) -> Self {
        let mut aligned = Self::zeros(values.len());
        aligned.copy_from_slice(&values);
        aligned
    }
}

impl From<Aligned> for Vec<f64> {
    fn from(aligned: Aligned) -> Self {
        aligned.to_vec()
    }
}
