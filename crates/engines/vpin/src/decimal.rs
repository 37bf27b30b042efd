//! Reads prices and quantities from JSON as numbers or as decimal strings, exactly to a billionth.
//!
//! A JSON number is taken by its shortest decimal text; digits beyond the ninth decimal are rounded away. A string
//! with more than nine decimals is refused. Whether a value makes sense is for the caller to say.

use std::fmt;

use nautilus_types::{FixedError, Price, SCALE};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number from outside: its billionths, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal(Result<i64, Box<str>>);

impl Decimal {
    /// The billionths.
    ///
    /// # Errors
    /// A sentence that says why the value has none.
    pub fn nanos(&self) -> Result<i64, &str> {
        self.0.as_ref().copied().map_err(|reason| &**reason)
    }

    /// From billionths.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(Ok(nanos))
    }

    fn from_text(text: &str) -> Self {
        Self(text.parse::<Price>().map(Price::nanos).map_err(|e| e.to_string().into()))
    }

    fn from_integer(value: i128) -> Self {
        let nanos = value.checked_mul(i128::from(SCALE)).and_then(|n| i64::try_from(n).ok());
        Self(nanos.ok_or_else(|| Self::from_text(&value.to_string()).0.err().unwrap_or_default()))
    }

    #[allow(clippy::cast_possible_truncation)]
    fn from_float(value: f64) -> Self {
        if !value.is_finite() {
            return Self(Err("it is not a finite number".into()));
        }
        // Below 2^50 the product is off by less than half a billionth, so rounding finds the decimal that was meant.
        let nanos = (value * 1e9).round();
        if nanos.abs() < 1_125_899_906_842_624.0 {
            return Self(Ok(nanos as i64));
        }
        match value.to_string().parse::<Price>() {
            Err(FixedError::TooFine(_)) => Self::from_text(&format!("{value:.9}")),
            parsed => Self(parsed.map(Price::nanos).map_err(|e| e.to_string().into())),
        }
    }
}

struct DecimalVisitor;

impl Visitor<'_> for DecimalVisitor {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a decimal string such as \"4810.25\"")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Decimal, E> {
        Ok(Decimal::from_integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Decimal, E> {
        Ok(Decimal::from_integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Decimal, E> {
        Ok(Decimal::from_float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Decimal, E> {
        Ok(Decimal::from_text(value))
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor)
    }
}

/// A decimal string, as everywhere in the platform's JSON.
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = self.nanos().map_err(serde::ser::Error::custom)?;
        Price::from_nanos(nanos).serialize(serializer)
    }
}

/// An optional quantity that may be written as a number in JSON.
pub(crate) mod optional_quantity {
    use nautilus_types::Quantity;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Decimal;

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)]
    pub(crate) fn serialize<S: Serializer>(value: &Option<Quantity>, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Quantity>, D::Error> {
        if !from.is_human_readable() {
            return Option::<Quantity>::deserialize(from);
        }
        let decimal = Option::<Decimal>::deserialize(from)?;
        let nanos = decimal.map(|d| d.nanos().map_err(serde::de::Error::custom)).transpose()?;
        Ok(nanos.map(Quantity::from_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_strings_mean_the_same() {
        for (json, nanos) in [
            ("100.01", 100_010_000_000),
            ("\"100.01\"", 100_010_000_000),
            ("-3", -3_000_000_000),
            ("0.1", 100_000_000),
            ("0.30000000000000004", 300_000_000),
            ("1e-9", 1),
            ("4e-10", 0),
            ("9223372036", 9_223_372_036_000_000_000),
            ("5000000000.25", 5_000_000_000_250_000_000),
        ] {
            assert_eq!(serde_json::from_str::<Decimal>(json).unwrap().nanos(), Ok(nanos), "{json}");
        }
    }

    #[test]
    fn what_is_no_number_says_why() {
        for json in ["\"NaN\"", "\"\"", "\"1e3\"", "\"0.0000000001\"", "1e300", "18446744073709551615"] {
            assert!(serde_json::from_str::<Decimal>(json).unwrap().nanos().is_err(), "{json}");
        }
        for json in ["null", "true", "[]", "NaN"] {
            assert!(serde_json::from_str::<Decimal>(json).is_err(), "{json}");
        }
        assert!(Decimal::from_float(f64::NAN).nanos().is_err());
    }

    proptest! {
        #[test]
        fn six_decimals_survive_a_json_number(micros in -1_000_000_000_000_000i64..1_000_000_000_000_000) {
            let nanos = micros * 1_000;
            let json = Price::from_nanos(nanos).to_string();
            let read: Decimal = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read.nanos(), Ok(nanos));
        }
    }
}
