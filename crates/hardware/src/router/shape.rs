//! Classes of shapes: near enough to share what is learned (fine), or to stand in one row of a table (coarse).

use std::fmt;

use serde::{Serialize, Serializer};

use crate::job::Spec;

/// Rounds a size to 16 exact values and then to eight steps per doubling.
fn step(size: usize) -> u16 {
    if size <= 16 {
        return size as u16;
    }
    let log = size.ilog2();
    (log * 8) as u16 + ((size >> (log - 3)) & 7) as u16 + 1
}

/// Jobs that are expected to behave alike: sizes within an eighth of a doubling.
pub(crate) fn fine(spec: &Spec) -> Spec {
    let round = |size: usize| usize::from(step(size));
    Spec { m: round(spec.m), n: round(spec.n), k: round(spec.k), batch: round(spec.batch), ..*spec }
}

/// How large a job is, for tables: the smallest power of two `e` such that it does no more than the work of an
/// `e`×`e`×`e` product, written `le32`; `huge` above 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeClass(u8);

impl ShapeClass {
    /// The largest power of two that has a class of its own.
    const LOG_MAX: u8 = 10;

    /// The class of a job.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let edge = (spec.flops() / 2.0).cbrt();
        let log = (0..=Self::LOG_MAX).find(|&log| edge <= f64::from(1_u32 << log) * (1.0 + 1e-9));
        Self(log.unwrap_or(Self::LOG_MAX + 1))
    }
}

impl fmt::Display for ShapeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > Self::LOG_MAX { f.write_str("huge") } else { write!(f, "le{}", 1_u32 << self.0) }
    }
}

impl Serialize for ShapeClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ElementType, Op};

    #[test]
    fn a_class_is_named_by_the_cube_that_holds_it() {
        for (m, n, k, name) in [
            (1, 1, 1, "le1"),
            (0, 4, 4, "le1"),
            (32, 32, 32, "le32"),
            (33, 32, 32, "le64"),
            (1000, 1000, 1000, "le1024"),
            (usize::MAX, usize::MAX, 9, "huge"),
        ] {
            let spec = Spec::new(Op::Gemm, ElementType::F64, m, n, k);
            assert_eq!(ShapeClass::of(&spec).to_string(), name);
        }
    }

    #[test]
    fn fine_classes_grow_with_the_size_and_hold_an_eighth_of_a_doubling() {
        let steps: Vec<u16> = (0..100_000).map(step).collect();
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_ne!(step(16), step(17));
        assert_eq!(step(64), step(71));
        assert_ne!(step(71), step(72));
        assert!(step(usize::MAX) > step(usize::MAX / 2));
    }
}
