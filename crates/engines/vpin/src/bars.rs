//! Time bars for bulk classification and the scale of their price changes.
//!
//! A bar's change is its last price less its first price inside the bar. Bars are aligned to the Unix clock; live,
//! minutes without a trade are no bars. σ is taken over the bars completed before the one at hand.

use nautilus_numerics::{RollingDeviation, normal_cdf, student_t_cdf};
use nautilus_types::{NANOS_PER_SECOND, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::volume::Share;

/// Completed bars needed before σ is stated.
pub(crate) const SIGMA_BARS_MIN: u32 = 10;
/// Degrees of freedom of the Student variant (Easley, López de Prado, O'Hara 2015).
const STUDENT_T_DEGREES: f64 = 0.25;

/// The trades of one interval of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bar {
    pub(crate) end: UnixNanos,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) volume: u128,
}

impl Bar {
    pub(crate) fn open(ts: UnixNanos, width_ns: u64, price: i64, quantity: u64) -> Self {
        let end = UnixNanos(ts.floor(width_ns).0.saturating_add(width_ns));
        Self { end, first: price, last: price, volume: u128::from(quantity) }
    }

    /// Last less first price, in billionths; held to the range of a price.
    pub(crate) fn change(&self) -> i64 {
        self.last.saturating_sub(self.first)
    }
}

pub(crate) const fn width_ns(bar_seconds: u32) -> u64 {
    bar_seconds as u64 * NANOS_PER_SECOND
}

/// What price changes are measured against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Scale {
    /// The deviation of the newest completed bars.
    Trailing(RollingDeviation),
    /// One value for a whole sample, in billionths; zero where a sample has none.
    Fixed(f64),
}

impl Scale {
    /// σ in billionths of price, absent while too few bars are complete.
    pub(crate) fn sigma(&self) -> Option<f64> {
        match self {
            Self::Fixed(sigma) => Some(*sigma),
            Self::Trailing(bars) => bars.sample_deviation().filter(|_| bars.len() >= SIGMA_BARS_MIN as usize),
        }
    }

    pub(crate) fn push(&mut self, change: i64) {
        if let Self::Trailing(bars) = self {
            bars.push(change);
        }
    }

    /// Completed bars in the window.
    pub(crate) fn bars(&self) -> usize {
        match self {
            Self::Fixed(_) => 0,
            Self::Trailing(bars) => bars.len(),
        }
    }
}

/// The bought share of a bar by the normal distribution and by Student's t.
///
/// Without a scale (σ = 0: every earlier bar was flat) a change says nothing, and half is bought.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn bulk_shares(change: i64, sigma: f64) -> [Share; 2] {
    if sigma <= 0.0 || change == 0 {
        return [Share::HALF; 2];
    }
    let z = change as f64 / sigma;
    [Share::nearest(normal_cdf(z)), Share::nearest(student_t_cdf(z, STUDENT_T_DEGREES))]
}
