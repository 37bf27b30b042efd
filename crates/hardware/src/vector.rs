//! Kernels on a few hundred to a few thousand numbers that lie in the cache, for work that is done at every event.
//!
//! They are too short for the router: asking it would take longer than they do. So nothing is measured here; the widest
//! vectors of the processor are taken. Each kernel is written once, in plain code, and compiled for every unit: products
//! are rounded before they are added, sums are added up in one fixed order, so that all units give the same bits. The
//! environment's switches, which may change bits, say nothing about them.

#![allow(unsafe_code)]

/// Sums that are kept apart while a vector is added up: two registers of the widest unit.
const LANES: usize = 16;

/// A vector unit that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A method of [`Unit`] that runs a function of this file, compiled for the unit.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident = $body:ident($($argument:ident: $type:ty),+) -> $result:ty) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(self, $($argument: $type),+) -> $result {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),+) -> $result {
                $body($($argument),+)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($argument: $type),+) -> $result {
                $body($($argument),+)
            }
            match self.0 {
                Kind::Portable => $body($($argument),+),
                // SAFETY: a unit of this kind is made only where the processor has it.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => unsafe { avx2($($argument),+) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => unsafe { avx512($($argument),+) },
            }
        }
    };
}

impl Unit {
    /// Every unit of this processor, the widest first. The last one is plain code, which every processor runs.
    pub fn all() -> impl Iterator<Item = Self> {
        let units = [
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512, has_avx512()),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2, is_x86_feature_detected!("avx2")),
            (Kind::Portable, true),
        ];
        units.into_iter().filter(|(_, there)| *there).map(|(kind, _)| Self(kind))
    }

    /// The widest one. The processor is asked once; from then on this is a look at memory.
    #[must_use]
    #[inline]
    pub fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                return Self(Kind::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                return Self(Kind::Avx2);
            }
        }
        Self(Kind::Portable)
    }

    kernel!(
        /// yᵢ ← yᵢ + factor·xᵢ, product and sum each rounded, for as many as the shorter slice has. Answers how many of
        /// the new yᵢ are below the threshold.
        add_scaled_counting = add_and_count(y: &mut [f64], x: &[f64], factor: f64, threshold: f64) -> usize
    );

    kernel!(
        /// yᵢ ← yᵢ + factor·xᵢ as above, and answers Σ yᵢ² of the new ones: element i goes to sum i mod 16, and the
        /// sixteen are added by halves, 8 apart, then 4, 2 and 1.
        add_scaled_squaring = add_and_square(y: &mut [f64], x: &[f64], factor: f64) -> f64
    );
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
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
    let (y, x) = (&mut y[..length], &x[..length]);
    let mut sums = [0.0; LANES];
    let (mut y_chunks, x_chunks) = (y.chunks_exact_mut(LANES), x.chunks_exact(LANES));
    let x_rest = x_chunks.remainder();
    for (y, x) in (&mut y_chunks).zip(x_chunks) {
        for lane in 0..LANES {
            y[lane] += factor * x[lane];
            sums[lane] += y[lane] * y[lane];
        }
    }
    for (sum, (y, x)) in sums.iter_mut().zip(y_chunks.into_remainder().iter_mut().zip(x_rest)) {
        *y += factor * x;
        *sum += *y * *y;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn the_widest_unit_is_the_first() {
        assert_eq!(Unit::all().next(), Some(Unit::widest()));
        assert_eq!(Unit::all().last(), Some(Unit(Kind::Portable)));
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
            for unit in Unit::all() {
                let mut counted = y.clone();
                prop_assert_eq!(unit.add_scaled_counting(&mut counted, x, factor, threshold), below);
                prop_assert_eq!(bits(&counted), bits(&expected), "{:?}", unit);
                let mut squared = y.clone();
                let sum = unit.add_scaled_squaring(&mut squared, x, factor);
                prop_assert_eq!(sum.to_bits(), squares.to_bits(), "{:?}", unit);
                prop_assert_eq!(bits(&squared), bits(&expected), "{:?}", unit);
            }
        }
    }
}
