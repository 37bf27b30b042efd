//! Instants: unsigned nanoseconds since 1970-01-01T00:00:00 UTC, good until the year 2554.

use std::fmt;

use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;

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
