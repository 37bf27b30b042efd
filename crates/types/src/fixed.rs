//! Fixed-point numbers: integers counting billionths, never floats.
//!
//! A [`Price`] and a [`Quantity`] are an `i64` of 1e-9 units, the scale of DBN, reaching ±9.2 billion.
//! [`Money`] is an `i128` of the same scale, so that a session's notional never overflows in practice.
//! Arithmetic is checked: an overflow is a `None` to handle, never a wrapped value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many raw units make one: 1e9.
pub const SCALE: i64 = 1_000_000_000;
const DECIMALS: usize = 9;

/// Why a decimal text is not a fixed-point number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixedError {
    /// The text is not of the form `-123.456`.
    #[error("'{0}' is not a decimal number; write digits with at most one point, for example 4810.25")]
    Malformed(String),
    /// More than nine decimals.
    #[error("'{0}' has more than 9 decimals; the finest step is 0.000000001")]
    TooFine(String),
    /// The magnitude does not fit.
    #[error("'{0}' is too large; the largest magnitude is {1}")]
    TooLarge(String, &'static str),
}

/// Parses a plain decimal into billionths. No exponent, no `NaN`, no `inf`.
fn parse_nanos(text: &str) -> Result<i128, FixedError> {
    let malformed = || FixedError::Malformed(shorten(text));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || (digits.contains('.') && fraction.is_empty()) {
        return Err(malformed());
    }
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    if fraction.len() > DECIMALS {
        return Err(FixedError::TooFine(shorten(text)));
    }
    let digit_value = |acc: i128, b: u8| acc * 10 + i128::from(b - b'0');
    // Thirty digits hold every i128 of billionths and do not overflow one themselves.
    let whole = if whole.len() <= 30 { whole.bytes().fold(0, digit_value) } else { i128::MAX };
    let missing = u32::try_from(DECIMALS - fraction.len()).expect("at most nine");
    let fraction = fraction.bytes().fold(0, digit_value) * 10i128.pow(missing);
    let magnitude = whole.checked_mul(i128::from(SCALE)).and_then(|whole| whole.checked_add(fraction));
    let magnitude = magnitude.ok_or_else(|| FixedError::TooLarge(shorten(text), "about 1.7e29"))?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// Text from outside is quoted in an error, but never at length.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 32 {
        return text.to_owned();
    }
    text.chars().take(32).chain("…".chars()).collect()
}

/// Writes billionths as a decimal with at least `min_decimals` decimals and no superfluous zeros beyond.
#[must_use]
pub fn format_nanos(nanos: i128, min_decimals: usize) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    let scale = SCALE.unsigned_abs();
    let whole = magnitude / u128::from(scale);
    let fraction = format!("{:09}", magnitude % u128::from(scale));
    let significant = fraction.trim_end_matches('0').len();
    let decimals = significant.max(min_decimals.min(DECIMALS));
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", &fraction[..decimals])
}

macro_rules! fixed_point {
    ($(#[$doc:meta])* $name:ident, $repr:ty, $largest:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($repr);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(<$repr>::MAX);

            /// From a count of billionths.
            #[must_use]
            #[inline]
            pub const fn from_nanos(nanos: $repr) -> Self {
                Self(nanos)
            }

            /// As a count of billionths.
            #[must_use]
            #[inline]
            pub const fn nanos(self) -> $repr {
                self.0
            }

            /// From a whole number, where it fits.
            #[must_use]
            pub fn from_units(units: i64) -> Option<Self> {
                <$repr>::from(units).checked_mul(<$repr>::from(SCALE)).map(Self)
            }

            /// The sum, where it fits.
            #[must_use]
            #[inline]
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference, where it fits.
            #[must_use]
            #[inline]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// The value times a whole number, where it fits.
            #[must_use]
            #[inline]
            pub fn checked_mul(self, factor: $repr) -> Option<Self> {
                self.0.checked_mul(factor).map(Self)
            }

            /// Strictly above zero.
            #[must_use]
            #[inline]
            pub const fn is_positive(self) -> bool {
                self.0 > 0
            }

            /// The nearest float; for statistics, never for books or balances.
            #[must_use]
            #[inline]
            #[allow(clippy::cast_precision_loss)]
            pub fn to_f64(self) -> f64 {
                self.0 as f64 / SCALE as f64
            }

            /// Decimal text with at least `min_decimals` decimals.
            #[must_use]
            pub fn to_decimal(self, min_decimals: usize) -> String {
                format_nanos(i128::from(self.0), min_decimals)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&format_nanos(i128::from(self.0), f.precision().unwrap_or(0)))
            }
        }

        impl FromStr for $name {
            type Err = FixedError;

            fn from_str(text: &str) -> Result<Self, FixedError> {
                <$repr>::try_from(parse_nanos(text)?)
                    .map(Self)
                    .map_err(|_| FixedError::TooLarge(shorten(text), $largest))
            }
        }

        /// A decimal string: JSON numbers would lose digits.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <$repr>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

fixed_point!(
    /// A price in billionths of the quoting currency. Negative prices are legal: spreads and power trade below zero.
    Price, i64, "9223372036.854775807"
);
fixed_point!(
    /// A quantity in billionths of one unit (contract, share, coin).
    Quantity, i64, "9223372036.854775807"
);
fixed_point!(
    /// An amount of money, or a session's volume, in billionths.
    Money, i128, "170141183460469231731687303715.884105727"
);

impl Price {
    /// Price × quantity, rounded towards zero to a billionth. Cannot overflow.
    #[must_use]
    #[inline]
    pub fn notional(self, quantity: Quantity) -> Money {
        Money(i128::from(self.0) * i128::from(quantity.0) / i128::from(SCALE))
    }
}

impl From<Quantity> for Money {
    fn from(quantity: Quantity) -> Self {
        Self(i128::from(quantity.0))
    }
}

impl Money {
    /// The price at which `volume` would cost this much: a volume-weighted average price, rounded towards zero.
    ///
    /// `None` for an empty volume or a quotient outside a price's range.
    #[must_use]
    pub fn per_unit(self, volume: Money) -> Option<Price> {
        let scaled = self.0.checked_mul(i128::from(SCALE))?;
        i64::try_from(scaled.checked_div(volume.0)?).ok().map(Price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_parse_and_print() {
        for (text, nanos, printed) in [
            ("0", 0, "0"),
            ("4810.25", 4_810_250_000_000, "4810.25"),
            ("-0.000000001", -1, "-0.000000001"),
            ("1.500", 1_500_000_000, "1.5"),
            ("9223372036.854775807", i64::MAX, "9223372036.854775807"),
        ] {
            let price: Price = text.parse().expect(text);
            assert_eq!(price.nanos(), nanos);
            assert_eq!(price.to_string(), printed);
        }
        assert_eq!(Price::from_nanos(4_810_000_000_000).to_decimal(2), "4810.00");
    }

    #[test]
    fn bad_decimals_are_refused_with_a_reason() {
        for text in ["", "-", ".5", "5.", "1e3", "NaN", "inf", "+1", "1 ", "0x1", "1.2.3", "--1", "１"] {
            assert!(matches!(text.parse::<Price>(), Err(FixedError::Malformed(_))), "{text}");
        }
        assert!(matches!("0.0000000001".parse::<Price>(), Err(FixedError::TooFine(_))));
        assert!(matches!("9223372036.854775808".parse::<Price>(), Err(FixedError::TooLarge(..))));
        assert!(matches!("9".repeat(400).parse::<Money>(), Err(FixedError::TooLarge(..))));
    }

    #[test]
    fn overflow_is_none_and_notional_is_exact() {
        assert_eq!(Price::MAX.checked_add(Price::from_nanos(1)), None);
        assert_eq!(Quantity::MAX.checked_mul(2), None);
        let (price, lots) = ("4810.25".parse::<Price>().unwrap(), Quantity::from_units(28).unwrap());
        assert_eq!(price.notional(lots).to_string(), "134687");
        assert_eq!(Price::MAX.notional(Quantity::MAX).nanos(), i128::from(i64::MAX).pow(2) / 1_000_000_000);
        assert_eq!(price.notional(lots).per_unit(lots.into()), Some(price));
        assert_eq!(Money::ZERO.per_unit(Money::ZERO), None);
    }

    proptest! {
        #[test]
        fn text_round_trips(nanos: i64) {
            let price = Price::from_nanos(nanos);
            prop_assert_eq!(price.to_string().parse::<Price>(), Ok(price));
            let json = serde_json::to_string(&price).unwrap();
            prop_assert_eq!(serde_json::from_str::<Price>(&json).unwrap(), price);
        }

        #[test]
        fn money_round_trips(nanos in -i128::MAX..=i128::MAX) {
            let money = Money::from_nanos(nanos);
            prop_assert_eq!(money.to_string().parse::<Money>(), Ok(money));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<Money>();
        }
    }
}
