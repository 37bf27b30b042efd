//! Feature vectors: what an engine computed of one instrument as of one frame, one value per column.
//!
//! On the wire a bitmap says which values are present, and only those follow. In JSON they are an array with nulls.

use std::ops::Deref;
use std::sync::Arc;

use nautilus_types::{FeatureSetName, Symbol, UnixNanos};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values in one vector, at most.
pub const FEATURES_MAX: usize = 65_536;

/// The features of one instrument as of one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureVector {
    /// Which set of features.
    pub set: FeatureSetName,
    /// Which instrument.
    pub instrument: Symbol,
    /// A digest of the features' ids and versions in order: another one says that the columns are others.
    pub definition: u64,
    /// When the frame happened.
    pub ts_event: UnixNanos,
    /// The hub's number, for this instrument, of the frame that the values are as of.
    pub sequence: u64,
    /// One value per column.
    pub values: FeatureValues,
}

/// The values of a vector in the order of their columns; absent where a feature has none yet. A clone shares them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureValues(Arc<[Option<f64>]>);

impl FeatureValues {
    /// Whether every value that is present is a finite number.
    pub(super) fn are_finite(&self) -> bool {
        self.0.iter().flatten().all(|value| value.is_finite())
    }
}

impl Deref for FeatureValues {
    type Target = [Option<f64>];

    fn deref(&self) -> &[Option<f64>] {
        &self.0
    }
}

impl From<Vec<Option<f64>>> for FeatureValues {
    fn from(values: Vec<Option<f64>>) -> Self {
        Self(values.into())
    }
}

impl From<&[Option<f64>]> for FeatureValues {
    fn from(values: &[Option<f64>]) -> Self {
        Self(values.into())
    }
}

impl FromIterator<Option<f64>> for FeatureValues {
    fn from_iter<I: IntoIterator<Item = Option<f64>>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// What crosses the mesh.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    /// Columns.
    count: u32,
    /// Bit i of byte b is set when column 8b + i has a value; the bits behind the last column are clear.
    presence: &'a [u8],
    /// The values that are present, in order.
    values: Vec<f64>,
}

impl Serialize for FeatureValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.len() > FEATURES_MAX {
            let message = format!("{} features are over the limit of {FEATURES_MAX}", self.len());
            return Err(S::Error::custom(message));
        }
        if serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut presence = vec![0; self.len().div_ceil(8)];
        for (column, _) in self.iter().enumerate().filter(|(_, value)| value.is_some()) {
            presence[column / 8] |= 1_u8 << (column % 8);
        }
        let count = u32::try_from(self.len()).map_err(S::Error::custom)?;
        Wire { count, presence: &presence, values: self.iter().flatten().copied().collect() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FeatureValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = if deserializer.is_human_readable() {
            Vec::<Option<f64>>::deserialize(deserializer)?.into()
        } else {
            let wire = Wire::deserialize(deserializer)?;
            let refuse = || D::Error::custom("the presence of features and their values do not agree");
            wire.unpack().ok_or_else(refuse)?
        };
        if values.len() > FEATURES_MAX {
            return Err(D::Error::custom("there are more features than a vector may have"));
        }
        Ok(values)
    }
}

impl Wire<'_> {
    /// The columns, when the three parts agree in every way: equal values have one wire form.
    fn unpack(&self) -> Option<FeatureValues> {
        let count = usize::try_from(self.count).ok().filter(|count| *count <= FEATURES_MAX)?;
        let is_set = |column: usize| self.presence[column / 8] >> (column % 8) & 1 == 1;
        if self.presence.len() != count.div_ceil(8) || (count..8 * self.presence.len()).any(is_set) {
            return None;
        }
        let present: usize = self.presence.iter().map(|byte| byte.count_ones() as usize).sum();
        if present != self.values.len() {
            return None;
        }
        let mut values = self.values.iter().copied();
        Some((0..count).map(|column| is_set(column).then(|| values.next()).flatten()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(count: u32, presence: &[u8], values: &[f64]) -> Option<FeatureValues> {
        Wire { count, presence, values: values.to_vec() }.unpack()
    }

    #[test]
    fn the_parts_on_the_wire_have_to_agree() {
        let expected = FeatureValues::from(vec![Some(1.0), None, Some(2.0)]);
        assert_eq!(unpacked(3, &[0b101], &[1.0, 2.0]), Some(expected));
        assert_eq!(unpacked(0, &[], &[]), Some(FeatureValues::default()));
        assert_eq!(unpacked(9, &[0, 1], &[5.0]).map(|values| values[8]), Some(Some(5.0)));
        for (count, presence, values) in [
            (3, &[0b101][..], &[1.0][..]),       // One value too few,
            (3, &[0b101], &[1.0, 2.0, 3.0]),     // one too many,
            (2, &[0b101], &[1.0, 2.0]),          // a bit behind the last column,
            (3, &[], &[]),                       // no bitmap,
            (3, &[0b101, 0], &[1.0, 2.0]),       // one that is too long,
            (FEATURES_MAX as u32 + 1, &[], &[]), // too many columns,
            (u32::MAX, &[0], &[]),               // and far too many.
        ] {
            assert_eq!(unpacked(count, presence, values), None, "{count} {presence:?} {values:?}");
        }
    }
}
