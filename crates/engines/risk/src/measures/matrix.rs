//! Scenarios × assets in one block of memory, read from nested lists without a list per row.

use std::fmt;

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::RiskError;

/// Numbers row by row: a row is a scenario, a column an asset. It has at least one of each.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioMatrix {
    values: Vec<f64>,
    columns: usize,
}

impl ScenarioMatrix {
    /// The most numbers: 256 MiB.
    pub const ELEMENTS_MAX: usize = 1 << 25;

    /// `values` holds one row of `columns` numbers after the other.
    ///
    /// # Errors
    /// There are none, too many, or not a whole number of rows.
    pub fn new(values: Vec<f64>, columns: usize) -> Result<Self, RiskError> {
        if values.is_empty() || columns == 0 {
            return Err(RiskError::new("empty", "returns", EMPTY));
        }
        if values.len() > Self::ELEMENTS_MAX {
            return Err(RiskError::new("too_large", "returns", too_large()));
        }
        if !values.len().is_multiple_of(columns) {
            let reason =
                format!("{} numbers are no whole rows of {columns}: fill the last row", values.len());
            return Err(RiskError::new("ragged", "returns", reason));
        }
        Ok(Self { values, columns })
    }

    /// Scenarios.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Assets.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row after the other.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The scenario `index`.
    ///
    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.columns..(index + 1) * self.columns]
    }
}

const EMPTY: &str = "there are no numbers: send a list of scenarios, each a list with one return per asset";

fn too_large() -> String {
    format!("more than {} numbers: send fewer scenarios or assets", ScenarioMatrix::ELEMENTS_MAX)
}

impl Serialize for ScenarioMatrix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.rows()))?;
        self.values.chunks_exact(self.columns).try_for_each(|row| rows.serialize_element(row))?;
        rows.end()
    }
}

impl<'de> Deserialize<'de> for ScenarioMatrix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Rows)
    }
}

struct Rows;

impl<'de> Visitor<'de> for Rows {
    type Value = ScenarioMatrix;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of scenarios, each a list with one return per asset")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<ScenarioMatrix, A::Error> {
        let (mut values, mut columns, mut row) = (Vec::new(), 0, 0);
        while let Some(()) = rows.next_element_seed(Row(&mut values))? {
            let length = values.len() - row * columns;
            if row == 0 {
                columns = length;
            }
            if length != columns || columns == 0 {
                let reason = if columns == 0 { EMPTY.to_owned() } else { ragged(row, length, columns) };
                return Err(Error::custom(reason));
            }
            row += 1;
        }
        if values.is_empty() { Err(Error::custom(EMPTY)) } else { Ok(ScenarioMatrix { values, columns }) }
    }
}

fn ragged(row: usize, length: usize, columns: usize) -> String {
    format!("row [{row}] has {length} numbers, the first has {columns}: give every row one return per asset")
}

/// Appends the numbers of a row.
struct Row<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list with one return per asset")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<(), A::Error> {
        while let Some(number) = numbers.next_element::<f64>()? {
            if self.0.len() == ScenarioMatrix::ELEMENTS_MAX {
                return Err(Error::custom(too_large()));
            }
            self.0.push(number);
        }
        Ok(())
    }
}
