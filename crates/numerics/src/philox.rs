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

    /// Words stand in 64 bits each, which is how vector units multiply them; of an answer only the low half counts.
    #[inline(always)]
    fn words(&self, mut c: [u64; 4]) -> [u64; 4] {
        for key in &self.keys {
            let products = [MULTIPLIERS[0] * (c[0] & LOW), MULTIPLIERS[1] * (c[2] & LOW)];
            c = [
                (products[1] >> 32) ^ c[1] ^ key[0],
                products[1],
                (products[0] >> 32) ^ c[3] ^ key[1],
                products[0],
            ];
        }
        c
    }

    /// Standard normal draws: `rows` is row by row `width` places wide, and the number of row r and column c is a function
    /// of the seed, `domain`, r and `first` + c alone. By inversion of 32 bits each: the largest is ±6.34, and what is
    /// rarer than one in ten thousand million is not drawn.
    ///
    /// # Panics
    /// `rows` has no whole number of rows, or `width` is 0.
    pub fn normals(&self, hardware: &Hardware, domain: u32, first: u64, width: usize, rows: &mut [f64]) {
        assert!(width > 0 && rows.len().is_multiple_of(width), "whole rows");
        hardware.vectorised(
            #[inline(always)]
            || {
                // A copy of its own, of which the compiler knows that no row overwrites it.
                let stream = *self;
                if width == 1 {
                    stream.column(u64::from(domain), first, rows);
                    return normal_quantiles_of_offsets(rows);
                }
                let mut unused = vec![0.0; 3 * width];
                for (four, rows) in (0..).zip(rows.chunks_mut(4 * width)) {
                    stream.offsets([four, u64::from(domain)], first, rows, &mut unused);
                    normal_quantiles_of_offsets(rows);
                }
            },
        );
    }

    /// Uniform draws less a half, for all rows of one place.
    #[inline(always)]
    fn column(&self, domain: u64, at: u64, rows: &mut [f64]) {
        let words = |four: u64| self.words([at & LOW, at >> 32, four, domain]).map(uniform_offset);
        let (fours, rest) = rows.as_chunks_mut::<4>();
        let count = fours.len() as u64;
        (0..count).zip(fours).for_each(|(four, to)| *to = words(four));
        rest.iter_mut().zip(words(count)).for_each(|(to, offset)| *to = offset);
    }

    /// Uniform draws less a half, for up to four rows; what one block has beyond them goes to `unused`.
    #[inline(always)]
    fn offsets(&self, [four, domain]: [u64; 2], first: u64, rows: &mut [f64], unused: &mut [f64]) {
        let width = unused.len() / 3;
        let mut rows = rows.chunks_exact_mut(width).chain(unused.chunks_exact_mut(width));
        let [Some(a), Some(b), Some(c), Some(d)] = [rows.next(), rows.next(), rows.next(), rows.next()]
        else {
            return;
        };
        let (a, b, c, d) = (&mut a[..width], &mut b[..width], &mut c[..width], &mut d[..width]);
        for column in 0..width {
            let at = first.wrapping_add(column as u64);
            let words = self.words([at & LOW, at >> 32, four, domain]);
            a[column] = uniform_offset(words[0]);
            b[column] = uniform_offset(words[1]);
            c[column] = uniform_offset(words[2]);
            d[column] = uniform_offset(words[3]);
        }
    }
}

/// The low 32 bits of a word as a number between −½ and ½, at the middle of its step.
#[inline(always)]
pub(crate) fn uniform_offset(word: u64) -> f64 {
    const HALF_STEP: f64 = 0.5 / (1_u64 << 32) as f64;
    (f64::from_bits(0x3FF0_0000_0000_0000 | ((word & LOW) << 20)) - 1.5) + HALF_STEP
}

#[cfg(test)]
#[path = "philox_tests.rs"]
mod tests;
