//! What closes a bar, and how that is written: `1m`, `100tick`, `500volume`, `1000000notional`.
//!
//! It decides which intervals are legal; it builds no bar.

use std::fmt;
use std::str::FromStr;

use nautilus_types::{NANOS_PER_DAY, NANOS_PER_SECOND, Price, format_nanos};
use serde::{Deserialize, Serialize};

use crate::frame::BarUnit;

/// The time suffixes, longest first.
const TIMES: [(&str, u64); 5] = [
    ("d", NANOS_PER_DAY),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", NANOS_PER_SECOND / 1_000),
];

/// Why a text is not a bar interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a bar interval; write a time of at most a day such as 1s, 5m or 1h, or 100tick, 500volume or \
     1000000notional"
)]
pub struct BarSpecError(String);

/// What closes a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BarSpec {
    unit: BarUnit,
    interval: u64,
}

impl BarSpec {
    /// From a bar frame's fields: nanoseconds, trades, or billionths of quantity or money.
    ///
    /// # Errors
    /// When the interval is zero, a time beyond a day, or more than a quantity can be.
    pub fn new(unit: BarUnit, interval: u64) -> Result<Self, BarSpecError> {
        let spec = Self { unit, interval };
        let most = if unit == BarUnit::Time { NANOS_PER_DAY } else { i64::MAX.unsigned_abs() };
        if interval == 0 || interval > most {
            return Err(BarSpecError(spec.to_string()));
        }
        Ok(spec)
    }

    const fn time(interval: u64) -> Self {
        Self { unit: BarUnit::Time, interval }
    }

    /// The time bars that are built unless configured otherwise: 1s, 1m, 5m, 1h and 1d.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let seconds = [1, 60, 300, 3_600, 86_400];
        seconds.into_iter().map(|count| Self::time(count * NANOS_PER_SECOND)).collect()
    }

    /// What is counted.
    #[must_use]
    pub const fn unit(self) -> BarUnit {
        self.unit
    }

    /// How much of it closes a bar: nanoseconds, trades, or billionths of quantity or money.
    #[must_use]
    pub const fn interval(self) -> u64 {
        self.interval
    }

    /// Whether closed bars are worth keeping in the store: all but time bars below a minute.
    #[must_use]
    pub fn is_stored(self) -> bool {
        self.unit != BarUnit::Time || self.interval >= 60 * NANOS_PER_SECOND
    }
}

impl fmt::Display for BarSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = || format_nanos(i128::from(self.interval), 0);
        match self.unit {
            BarUnit::Tick => write!(f, "{}tick", self.interval),
            BarUnit::Volume => write!(f, "{}volume", amount()),
            BarUnit::Notional => write!(f, "{}notional", amount()),
            BarUnit::Time => match TIMES.iter().find(|(_, width)| self.interval.is_multiple_of(*width)) {
                Some((suffix, width)) => write!(f, "{}{suffix}", self.interval / width),
                None => write!(f, "{}ns", self.interval),
            },
        }
    }
}

impl FromStr for BarSpec {
    type Err = BarSpecError;

    fn from_str(text: &str) -> Result<Self, BarSpecError> {
        let refused = || BarSpecError(text.chars().take(32).collect());
        let start = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refused)?;
        let (number, suffix) = text.split_at(start);
        let amount = || {
            let nanos = number.parse::<Price>().map_err(|_| refused())?.nanos();
            u64::try_from(nanos).map_err(|_| refused())
        };
        let whole = || number.parse::<u64>().map_err(|_| refused());
        let (unit, interval) = match suffix {
            "tick" => (BarUnit::Tick, whole()?),
            "volume" => (BarUnit::Volume, amount()?),
            "notional" => (BarUnit::Notional, amount()?),
            "ns" => (BarUnit::Time, whole()?),
            _ => {
                let (_, width) = TIMES.iter().find(|(name, _)| *name == suffix).ok_or_else(refused)?;
                (BarUnit::Time, whole()?.checked_mul(*width).ok_or_else(refused)?)
            }
        };
        Self::new(unit, interval).map_err(|_| refused())
    }
}

impl TryFrom<String> for BarSpec {
    type Error = BarSpecError;

    fn try_from(text: String) -> Result<Self, BarSpecError> {
        text.parse()
    }
}

impl From<BarSpec> for String {
    fn from(spec: BarSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_and_print() {
        for text in
            ["1s", "250ms", "5m", "1h", "1d", "7ns", "100tick", "500volume", "0.5volume", "1000000notional"]
        {
            assert_eq!(text.parse::<BarSpec>().expect(text).to_string(), text);
        }
        // A source's bar may ask for anything; what is accepted has to read back from a snapshot.
        assert!(BarSpec::new(BarUnit::Notional, u64::MAX).is_err());
        assert_eq!("60s".parse::<BarSpec>().unwrap().to_string(), "1m");
        assert_eq!("1m".parse::<BarSpec>().unwrap().interval(), 60_000_000_000);
        for text in [
            "",
            "1",
            "m",
            "0s",
            "25h",
            "2d",
            "-1tick",
            "1.5tick",
            "1e9s",
            "1x",
            "99999999999999999999s",
            "-1volume",
        ] {
            assert!(text.parse::<BarSpec>().is_err(), "{text}");
        }
    }
}
