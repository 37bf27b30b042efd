//! Random numbers that are the same on every platform.
//!
//! The generator is PCG; floats are made by exact operations and by `libm` in pure Rust, never by the platform's
//! mathematics library, whose last digit differs from machine to machine.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// One instrument's stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(Pcg64);

impl Random {
    /// Streams of one seed are independent of each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Pcg64::seed_from_u64(seed);
        Self(Pcg64::new(
            u128::from(mixed.next_u64()) << 64 | u128::from(mixed.next_u64()),
            u128::from(stream) << 64 | u128::from(mixed.next_u64()),
        ))
    }

    /// Uniform over (0, 1], in steps of 2⁻⁵³.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() <= probability
    }

    /// A whole number below `bound`, which must not be zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of the product is below the bound")
    }

    /// Exponential with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(self.uniform()) * mean
    }

    /// Nearly normal with variance one: four uniforms (Irwin–Hall), enough for the steps of a random walk.
    pub(super) fn normal(&mut self) -> f64 {
        let sum = self.uniform() + self.uniform() + self.uniform() + self.uniform();
        (sum - 2.0) * libm::sqrt(3.0)
    }

    /// A whole number from 1 with P(X ≥ k) = k^(-3/2), the tail of order sizes reported by Gopikrishnan et al.,
    /// Physical Review E 62 (2000) R4493; cut at `most`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn heavy_tailed(&mut self, most: u32) -> u32 {
        let uniform = self.uniform();
        libm::cbrt(1.0 / (uniform * uniform)).min(f64::from(most)) as u32
    }
}
