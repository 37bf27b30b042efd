//! Kernels on a few hundred to a few thousand numbers that lie in the cache, for work that is done at every event.
//!
//! They are too short for the router: asking it would take longer than they do. So nothing is measured here; the widest
//! vectors of the processor are taken, asked for once. Each kernel is plain code that is compiled for every unit:
//! products are rounded before they are added, sums are added up in one fixed order, so that all units give the same
//! bits, and the environment's switches, which may change bits, have nothing to say.

use std::sync::OnceLock;

use crate::vectorised::Unit;

/// Sums that are kept apart while a vector is added up: two registers of the widest unit.
const LANES: usize = 16;

/// yᵢ ← yᵢ + factor·xᵢ, product and sum each rounded, for as many as the shorter slice has. Answers how many of the new
/// yᵢ are below the threshold.
#[inline]
pub fn add_scaled_counting(y: &mut [f64], x: &[f64], factor: f64, threshold: f64) -> usize {
    unit().call(
        #[inline(always)]
        move || add_and_count(y, x, factor, threshold),
    )
}

/// yᵢ ← yᵢ + factor·xᵢ as above, and answers Σ yᵢ² of the new ones: element i goes to sum i mod 16, and the sixteen are
/// added by halves, 8 apart, then 4, 2 and 1.
#[inline]
pub fn add_scaled_squaring(y: &mut [f64], x: &[f64], factor: f64) -> f64 {
    unit().call(
        #[inline(always)]
        move || add_and_square(y, x, factor),
    )
}

#[inline]
fn unit() -> Unit {
    static UNIT: OnceLock<Unit> = OnceLock::new();
    *UNIT.get_or_init(|| Unit::widest(|_| true))
}

#[inline(always)]
fn add_and_count(y: &mut [f64], x: &[f64], factor: f64, threshold: f64) -> usize {
    let mut below = 0;
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
        below += u64::from(*y < threshold);
    }
    // No slice is longer than a usize says.
    below as usize
}

#[inline(always)]
fn add_and_square(y: &mut [f64], x: &[f64], factor: f64) -> f64 {
    let length = y.len().min(x.len());
    let (whole, rest) = y[..length].as_chunks_mut::<LANES>();
    let (whole_x, rest_x) = x[..length].as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (y, x) in whole.iter_mut().zip(whole_x) {
        add_and_square_one(y, x, factor, &mut sums);
    }
    if !rest.is_empty() {
        sums = add_and_square_rest(rest, rest_x, factor, sums);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// In arrays of its own, since the compiler has to know that nothing overlaps to use vectors.
#[inline(always)]
fn add_and_square_one(y: &mut [f64; LANES], x: &[f64; LANES], factor: f64, sums: &mut [f64; LANES]) {
    let mut new = *y;
    for (new, x) in new.iter_mut().zip(x) {
        *new += factor * x;
    }
    *y = new;
    for (sum, new) in sums.iter_mut().zip(&new) {
        *sum += new * new;
    }
}

/// What is left over, out of the way of vectors of which nothing is.
#[cold]
#[inline(never)]
fn add_and_square_rest(y: &mut [f64], x: &[f64], factor: f64, mut sums: [f64; LANES]) -> [f64; LANES] {
    for ((y, x), sum) in y.iter_mut().zip(x).zip(&mut sums) {
        *y += factor * x;
        *sum += *y * *y;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// Every unit of this processor, the plain one too.
    fn units() -> [Unit; 3] {
        #[cfg(target_arch = "x86_64")]
        let narrower = |id| id == crate::BackendId::Avx2;
        #[cfg(not(target_arch = "x86_64"))]
        let narrower = |_| false;
        [Unit::widest(|_| true), Unit::widest(narrower), Unit::Plain]
    }

    proptest! {
        /// Against the definition, element by element, for every unit and any remainder of lanes.
        #[test]
        fn all_units_give_the_bits_of_the_definition(
            pairs in prop::collection::vec((-1e6..1e6f64, -0.2..0.2f64), 0..300),
            factor in -1e7..1e7f64,
            threshold in -1e6..1e6f64,
            cut in 0usize..3,
        ) {
            let (y, x): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let x = &x[..x.len().saturating_sub(cut)];
            let mut expected = y.clone();
            let mut sums = [0.0; LANES];
            for (i, x) in x.iter().enumerate() {
                let product = factor * x;
                expected[i] += product;
                let square = expected[i] * expected[i];
                sums[i % LANES] += square;
            }
            let below = expected[..x.len()].iter().filter(|y| **y < threshold).count();
            let pair = |at: usize| sums[at] + sums[at + 8];
            let four = |at: usize| pair(at) + pair(at + 4);
            let squares: f64 = (four(0) + four(2)) + (four(1) + four(3));
            for unit in units() {
                let mut counted = y.clone();
                prop_assert_eq!(unit.call(#[inline(always)] || add_and_count(&mut counted, x, factor, threshold)), below);
                prop_assert_eq!(bits(&counted), bits(&expected), "{:?}", unit);
                let mut squared = y.clone();
                let sum = unit.call(#[inline(always)] || add_and_square(&mut squared, x, factor));
                prop_assert_eq!(sum.to_bits(), squares.to_bits(), "{:?}", unit);
                prop_assert_eq!(bits(&squared), bits(&expected), "{:?}", unit);
            }
        }
    }
}
