//! Philox 4x32-10, a counter-based generator: the block of random bits at any place of any stream, without a state.
//!
//! Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011). The key names the stream, the
//! counter the place, so that draws do not depend on who makes them or in what order.

use nautilus_hardware::Hardware;

use crate::quantile::normal_quantiles_of_offsets;

const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;
const LOW: u64 = 0xFFFF_FFFF;

/// A stream of random blocks of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Philox {
    keys: [[u64; 2]; ROUNDS],
}

impl Philox {
    /// The stream that a seed names.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn new(seed: u64) -> Self {
        let mut key = [seed as u32, (seed >> 32) as u32];
        let keys = [(); ROUNDS].map(|()| {
            let now = key.map(u64::from);
            key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
            now
        });
        Self { keys }
    }

    /// The block at a place: four words of 32 bits.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn block(&self, counter: [u32; 4]) -> [u32; 4] {
        self.words(counter.map(u64::from)).map(|word| word as u32)
    }

    /// Words stand in 64 bits each, which is how vector units multiply them.
    #[inline(always)]
    fn words(&self, mut c: [u64; 4]) -> [u64; 4] {
        for key in &self.keys {
            let products = [MULTIPLIERS[0] * (c[0] & LOW), MULTIPLIERS[1] * (c[2] & LOW)];
            c = [
                (products[1] >> 32) ^ c[1] ^ key[0],
                products[1] & LOW,
                (products[0] >> 32) ^ c[3] ^ key[1],
                products[0] & LOW,
            ];
        }
        c
    }

    /// Standard normal draws: `rows` is row by row `width` places wide, and the number of row r and column c is a function
    /// of the seed, `domain`, r and `first` + c alone. By inversion of 52 bits each, so that ±8.2 is the largest.
    ///
    /// # Panics
    /// `rows` has no whole number of rows, or `width` is 0.
    pub fn normals(&self, hardware: &Hardware, domain: u32, first: u64, width: usize, rows: &mut [f64]) {
        assert!(width > 0 && rows.len().is_multiple_of(width), "whole rows");
        hardware.vectorised(
            #[inline(always)]
            || {
                for (pair, rows) in (0..).zip(rows.chunks_mut(2 * width)) {
                    self.offsets(domain, first, pair, rows, width);
                    normal_quantiles_of_offsets(rows);
                }
            },
        );
    }

    /// Uniform draws less a half, for the two rows of a pair, or for one where there is no second.
    #[inline(always)]
    fn offsets(&self, domain: u32, first: u64, pair: u64, rows: &mut [f64], width: usize) {
        let at = |column: u64| self.words([column & LOW, column >> 32, pair, u64::from(domain)]);
        let (upper, lower) = rows.split_at_mut(width);
        if lower.is_empty() {
            for (column, upper) in (first..).zip(upper) {
                let words = at(column);
                *upper = offset(words[0], words[1]);
            }
            return;
        }
        for ((column, upper), lower) in (first..).zip(upper).zip(lower) {
            let words = at(column);
            *upper = offset(words[0], words[1]);
            *lower = offset(words[2], words[3]);
        }
    }
}

/// 52 random bits as a number between −½ and ½, at the middle of its step.
#[inline(always)]
fn offset(high: u64, low: u64) -> f64 {
    let bits = (high << 20) | ((low & LOW) >> 12);
    (f64::from_bits(0x3FF0_0000_0000_0000 | bits) - 1.5) + f64::EPSILON / 2.0
}

#[cfg(test)]
#[path = "philox_tests.rs"]
mod tests;
