//! Sobol's sequence in up to 1,111 dimensions, scrambled: points that fill the unit cube evenly and are random each.
//!
//! Direction numbers of Joe and Kuo, Constructing Sobol sequences with better two-dimensional projections (2008). The
//! scrambling is Owen's nested uniform one (1995) by a hash of Laine and Karras's kind: Burley, Practical hash-based Owen
//! scrambling (2020), with Vegdahl's better constants (2021). Points stand in the order of the binary code, not Gray's.

use std::sync::OnceLock;

use nautilus_hardware::Hardware;

use crate::philox::{Philox, uniform_offset};
use crate::quantile::normal_quantiles_of_offsets;

/// Dimensions, at most: those of every primitive polynomial up to degree 13.
pub const SOBOL_DIMENSIONS_MAX: usize = 1_111;
/// Points, at most.
pub const SOBOL_POINTS_MAX: u64 = 1 << BITS;

const BITS: usize = 32;
const TABLE: &str = include_str!("sobol_joe_kuo.txt");

/// Direction numbers of a dimension, each with its bits in reverse: the first digit of a point is its lowest bit.
type Directions = [u32; BITS];

/// One scrambling of the sequence.
#[derive(Debug, Clone)]
pub struct Sobol {
    directions: &'static [Directions],
    /// One per dimension.
    seeds: Vec<u32>,
}

impl Sobol {
    /// The sequence in `dimensions`, scrambled as `seed` and `replicate` say; different ones are independent.
    ///
    /// # Panics
    /// There are more than [`SOBOL_DIMENSIONS_MAX`] dimensions.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn scrambled(dimensions: usize, seed: u64, replicate: u32) -> Self {
        /// Keeps these draws apart from all others of the same seed.
        const DOMAIN: u32 = u32::MAX;
        let stream = Philox::new(seed);
        let seeds = (0..dimensions as u32).map(|at| stream.block([at, replicate, 0, DOMAIN])[0]);
        Self { directions: &directions()[..dimensions], seeds: seeds.collect() }
    }

    /// Standard normal numbers of `width` points from `first` on, a row of `rows` for each dimension from `dimension` on.
    ///
    /// # Panics
    /// `width` is no power of two or does not divide `first`, there are not so many points or dimensions, or no whole rows.
    pub fn normals(&self, hardware: &Hardware, dimension: usize, first: u64, width: usize, rows: &mut [f64]) {
        self.offsets(hardware, dimension, first, width, rows);
        hardware.vectorised(
            #[inline(always)]
            || normal_quantiles_of_offsets(rows),
        );
    }

    /// The same points as numbers between −½ and ½.
    ///
    /// # Panics
    /// As [`Sobol::normals`].
    pub fn offsets(&self, hardware: &Hardware, dimension: usize, first: u64, width: usize, rows: &mut [f64]) {
        assert!(width.is_power_of_two() && first.is_multiple_of(width as u64), "an aligned block of points");
        assert!(first + width as u64 <= SOBOL_POINTS_MAX, "too many points");
        assert!(rows.len().is_multiple_of(width), "whole rows");
        let dimensions = dimension..dimension + rows.len() / width;
        let (directions, seeds) = (&self.directions[dimensions.clone()], &self.seeds[dimensions]);
        hardware.vectorised(
            #[inline(always)]
            || {
                let mut digits = vec![0_u32; width];
                for ((row, directions), seed) in rows.chunks_exact_mut(width).zip(directions).zip(seeds) {
                    block(directions, first, &mut digits);
                    for (to, digits) in row.iter_mut().zip(&digits) {
                        *to = uniform_offset(u64::from(scramble(*digits, *seed).reverse_bits()));
                    }
                }
            },
        );
    }
}

/// The digits of an aligned block of points: those of its first, and of each place in the block.
#[inline(always)]
fn block(directions: &Directions, first: u64, digits: &mut [u32]) {
    let of_bit = |(bit, direction): (usize, &u32)| if first >> bit & 1 == 1 { *direction } else { 0 };
    digits[0] = directions.iter().enumerate().map(of_bit).fold(0, |all, direction| all ^ direction);
    let mut known = 1;
    for direction in directions.iter().take(digits.len().trailing_zeros() as usize) {
        let (from, to) = digits.split_at_mut(known);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from ^ *direction);
        known *= 2;
    }
}

/// Flips each digit as the digits before it (the lower bits) and the seed say.
#[inline(always)]
fn scramble(mut digits: u32, seed: u32) -> u32 {
    digits ^= digits.wrapping_mul(0x3D20_ADEA);
    digits = digits.wrapping_add(seed);
    digits = digits.wrapping_mul((seed >> 16) | 1);
    digits ^= digits.wrapping_mul(0x0552_6C56);
    digits ^ digits.wrapping_mul(0x53A2_2864)
}

/// Every dimension's direction numbers.
fn directions() -> &'static [Directions] {
    static DIRECTIONS: OnceLock<Vec<Directions>> = OnceLock::new();
    DIRECTIONS.get_or_init(|| {
        let mut first = [0; BITS];
        first.iter_mut().enumerate().for_each(|(bit, direction)| *direction = 1 << bit);
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        std::iter::once(first).chain(lines.map(recurred)).collect()
    })
}

/// The direction numbers that follow from a line of the table, by Sobol's recurrence (Bratley and Fox 1988).
fn recurred(line: &str) -> Directions {
    let mut numbers = line.split(' ').map_while(|number| number.parse::<u32>().ok());
    let polynomial = numbers.next().unwrap_or_default();
    let mut directions = [0; BITS];
    let mut degree = 0;
    for (bit, odd) in (0..BITS).zip(numbers) {
        directions[bit] = odd << (BITS - 1 - bit);
        degree = bit + 1;
    }
    for bit in degree..BITS {
        let oldest = directions[bit - degree];
        let middle = (1..degree).filter(|back| polynomial >> (degree - 1 - back) & 1 == 1);
        let sum = middle.fold(0, |sum, back| sum ^ directions[bit - back]);
        directions[bit] = sum ^ oldest ^ (oldest >> degree);
    }
    directions.map(u32::reverse_bits)
}

#[cfg(test)]
#[path = "sobol_tests.rs"]
mod tests;
