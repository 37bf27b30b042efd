//! The standard deviation over a sliding window of integers, exact at every step.
//!
//! Sums are integers, so nothing drifts however long the window slides and the value depends on the window's
//! content alone; only the final division and root round.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Values are held to ±2^56 and windows to 2^12 values, so that no sum below can overflow an `i128`.
const LIMIT: i64 = 1 << 56;

/// The newest values of a series and their sample standard deviation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Content", into = "Content")]
pub struct RollingDeviation {
    window: usize,
    values: VecDeque<i64>,
    sum: i128,
    squares: i128,
}

impl RollingDeviation {
    /// The longest window.
    pub const WINDOW_MAX: usize = 1 << 12;

    /// Over the newest `window` values, at least one and at most [`Self::WINDOW_MAX`].
    #[must_use]
    pub fn new(window: usize) -> Self {
        let window = window.clamp(1, Self::WINDOW_MAX);
        Self { window, values: VecDeque::new(), sum: 0, squares: 0 }
    }

    /// Appends a value, dropping the oldest when the window is full. Magnitudes above 2^56 count as 2^56.
    pub fn push(&mut self, value: i64) {
        let value = value.clamp(-LIMIT, LIMIT);
        if self.values.len() == self.window
            && let Some(old) = self.values.pop_front()
        {
            self.sum -= i128::from(old);
            self.squares -= i128::from(old) * i128::from(old);
        }
        self.values.push_back(value);
        self.sum += i128::from(value);
        self.squares += i128::from(value) * i128::from(value);
    }

    /// Values in the window.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the window holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The root of Σ(x − mean)²/(n − 1), in the values' unit; absent below two values.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn sample_deviation(&self) -> Option<f64> {
        let n = self.values.len() as i128;
        if n < 2 {
            return None;
        }
        // About the whole part of the mean the sum of squares is exact; the rest of the mean is below one.
        let mean = self.sum.div_euclid(n);
        let rest = self.sum.rem_euclid(n);
        let about_mean = self.squares - 2 * mean * self.sum + n * mean * mean;
        let sum = about_mean as f64 - (rest * rest) as f64 / n as f64;
        Some((sum.max(0.0) / (n - 1) as f64).sqrt())
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    window: usize,
    values: Vec<i64>,
}

impl From<Content> for RollingDeviation {
    fn from(content: Content) -> Self {
        let mut deviation = Self::new(content.window);
        content.values.into_iter().for_each(|value| deviation.push(value));
        deviation
    }
}

impl From<RollingDeviation> for Content {
    fn from(deviation: RollingDeviation) -> Self {
        Self { window: deviation.window, values: deviation.values.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two passes over the window in floats: slow, obvious.
    #[allow(clippy::cast_precision_loss)]
    fn two_pass(values: &[i64]) -> f64 {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| v as f64).sum::<f64>() / n;
        (values.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    }

    #[test]
    fn known_values() {
        let mut deviation = RollingDeviation::new(8);
        assert_eq!(deviation.sample_deviation(), None);
        deviation.push(2);
        assert_eq!(deviation.sample_deviation(), None);
        [4, 4, 4, 5, 5, 7, 9].into_iter().for_each(|v| deviation.push(v));
        assert_eq!(deviation.sample_deviation(), Some((32.0f64 / 7.0).sqrt()));
        for _ in 0..8 {
            deviation.push(123_456_789_012_345_678);
        }
        assert_eq!(deviation.sample_deviation(), Some(0.0), "a flat window has none, exactly");
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut deviation = RollingDeviation::new(usize::MAX);
        for n in 0..10_000 {
            deviation.push(if n % 3 == 0 { i64::MAX } else { i64::MIN });
        }
        assert_eq!(deviation.len(), RollingDeviation::WINDOW_MAX);
        assert!(deviation.sample_deviation().unwrap().is_finite());
    }

    proptest! {
        #[test]
        fn agrees_with_two_passes(
            values in prop::collection::vec(-1_000_000_000_000i64..1_000_000_000_000, 2..300),
            window in 2usize..60,
        ) {
            let mut deviation = RollingDeviation::new(window);
            values.iter().for_each(|&v| deviation.push(v));
            let tail = &values[values.len().saturating_sub(window)..];
            let (got, expected) = (deviation.sample_deviation().unwrap(), two_pass(tail));
            prop_assert!((got - expected).abs() <= 1e-12 * expected.max(1.0), "{} {}", got, expected);
            let json = serde_json::to_string(&deviation).unwrap();
            prop_assert_eq!(serde_json::from_str::<RollingDeviation>(&json).unwrap(), deviation);
        }
    }
}
