//! Standard normal numbers and mixing variables of paths: a function of the seed and of the path alone.

use nautilus_hardware::Hardware;
use nautilus_numerics::{Philox, SOBOL_DIMENSIONS_MAX, Sobol, chi_squared_quantile};

use crate::RiskError;
use crate::measures::Sampling;

/// Scramblings whose spread is the standard error.
pub(crate) const REPLICATES: usize = 16;
/// Paths that are drawn together; every block begins at a multiple.
pub(crate) const BLOCK: usize = 128;

/// Uses of one seed that must not meet.
const NORMALS: u32 = 0;
const MIXING: u32 = 1;

#[derive(Debug)]
pub(crate) enum Draws {
    Pseudo(Philox),
    /// One scrambling after the other, each of `points`; dimension 0 is the mixing variable's.
    Sobol {
        replicates: Vec<Sobol>,
        points: usize,
    },
}

impl Draws {
    /// Draws of `paths` paths or, where a sequence has to be whole, of somewhat more.
    ///
    /// # Errors
    /// A path has more dimensions than the sequence.
    pub(crate) fn new(
        sampling: Sampling,
        seed: u64,
        paths: usize,
        rank: usize,
        field: &str,
    ) -> Result<Self, RiskError> {
        if sampling == Sampling::PseudoRandom {
            return Ok(Self::Pseudo(Philox::new(seed)));
        }
        if rank >= SOBOL_DIMENSIONS_MAX {
            let reason = format!(
                "a path of {rank} independent numbers has more dimensions than the sequence, {}: send pseudo_random, or fewer assets",
                SOBOL_DIMENSIONS_MAX - 1
            );
            return Err(RiskError::new("too_large", field, reason));
        }
        let points = paths.div_ceil(REPLICATES).next_power_of_two().max(BLOCK);
        let replicates = (0..).take(REPLICATES).map(|replicate| Sobol::scrambled(rank + 1, seed, replicate));
        Ok(Self::Sobol { replicates: replicates.collect(), points })
    }

    /// How many paths there are where `paths` were asked for.
    pub(crate) fn paths(&self, paths: usize) -> usize {
        match self {
            Self::Pseudo(_) => paths,
            Self::Sobol { replicates, points } => replicates.len() * points,
        }
    }

    /// Fills `rows`, one per independent number, with `width` paths from `first` on. A block is aligned: `width` is a power of
    /// two that divides `first`.
    pub(crate) fn normals(&self, hardware: &Hardware, first: usize, width: usize, rows: &mut [f64]) {
        match self {
            Self::Pseudo(stream) => stream.normals(hardware, NORMALS, first as u64, width, rows),
            Self::Sobol { replicates, points } => {
                let sequence = &replicates[first / points];
                sequence.normals(hardware, 1, (first % points) as u64, width, rows);
            }
        }
    }

    /// √(ν/χ²) of each path, by inversion.
    pub(crate) fn mixing(&self, hardware: &Hardware, degrees_of_freedom: f64, first: usize, to: &mut [f64]) {
        match self {
            Self::Pseudo(stream) => {
                for (path, to) in (first as u64..).zip(to.iter_mut()) {
                    *to = uniform(stream, path);
                }
            }
            Self::Sobol { replicates, points } => {
                let width = to.len();
                replicates[first / points].offsets(hardware, 0, (first % points) as u64, width, to);
                to.iter_mut().for_each(|offset| *offset += 0.5);
            }
        }
        for value in to {
            *value = libm::sqrt(degrees_of_freedom / chi_squared_quantile(*value, degrees_of_freedom));
        }
    }
}

/// 52 random bits as a number between 0 and 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn uniform(stream: &Philox, path: u64) -> f64 {
    let words = stream.block([path as u32, (path >> 32) as u32, 0, MIXING]);
    let bits = (u64::from(words[0]) << 32 | u64::from(words[1])) >> 12;
    (bits as f64 + 0.5) / (1_u64 << 52) as f64
}
