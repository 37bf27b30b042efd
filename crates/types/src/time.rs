//! Instants: unsigned nanoseconds since 1970-01-01T00:00:00 UTC, good until the year 2554.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a day.
pub const NANOS_PER_DAY: u64 = 86_400 * NANOS_PER_SECOND;

/// An instant, UTC, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The start of the interval of `width_ns` that holds this instant, aligned to the clock.
    #[must_use]
    #[inline]
    pub const fn floor(self, width_ns: u64) -> Self {
        Self(self.0 - self.0 % width_ns)
    }

    /// Whole days since the epoch.
    #[must_use]
    pub const fn day(self) -> u64 {
        self.0 / NANOS_PER_DAY
    }
}

/// RFC 3339 with nanoseconds: `2023-12-25T23:00:00.000000000Z`.
impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.day());
        let second = self.0 % NANOS_PER_DAY / NANOS_PER_SECOND;
        let (h, m, s, ns) = (second / 3600, second / 60 % 60, second % 60, self.0 % NANOS_PER_SECOND);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ns:09}Z")
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`, for days after the epoch.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`, for days after the epoch; `None`
/// before it. Months and days are 1 and above, and not checked.
#[must_use]
pub fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// A day of the calendar, UTC, in days since 1970-01-01. As text it is `2026-11-27`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcDay(pub u64);

impl fmt::Display for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Why a text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a day of the calendar since 1970, such as 2026-11-27")]
pub struct DayError;

impl FromStr for UtcDay {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse().ok().filter(|number| *number > 0);
        let civil = || Some((number(0, 4)?, number(5, 7)?, number(8, 10)?));
        let day = civil().and_then(|(year, month, day)| days_from_civil(year, month, day).map(Self));
        // What is no day, such as the 30th of February, prints as another one.
        day.filter(|day| day.to_string() == text).ok_or(DayError)
    }
}

impl Serialize for UtcDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_they_are_printed() {
        for day in (0..80_000).chain([213_503]) {
            let text = UtcDay(day).to_string();
            assert!(UnixNanos(day * NANOS_PER_DAY).to_string().starts_with(&text));
            assert_eq!(text.parse(), Ok(UtcDay(day)), "{text}");
        }
        for text in [
            "",
            "2026-11-31",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-10",
            "1969-12-31",
            "0000-01-01",
            "2026-11-27 ",
            "2026/11/27",
            "+026-11-27",
            "2026-11-27T00:00:00Z",
            "2026-99-99",
            "zwölf-11-27",
        ] {
            assert_eq!(text.parse::<UtcDay>(), Err(DayError), "{text}");
        }
    }

    #[test]
    fn instants_print_as_rfc3339() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_703_545_200_000_000_001, "2023-12-25T23:00:00.000000001Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(UnixNanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn floor_aligns_to_the_clock() {
        assert_eq!(UnixNanos(125).floor(60), UnixNanos(120));
    }
}
