//! Where a VPIN value stands among the instrument's own earlier values.
//!
//! It compares with the past only: a value joins the distribution after it was ranked.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Earlier values compared with.
pub(crate) const RANK_WINDOW: usize = 4_096;

/// Where a value stands among earlier ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rank {
    /// The share of them below it.
    pub(crate) below: f64,
    /// The share of them not above it: the empirical distribution function.
    pub(crate) not_above: f64,
    /// How many they are.
    pub(crate) earlier: usize,
}

/// The newest values, once in order of arrival and once sorted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<f64>", into = "Vec<f64>")]
pub(crate) struct Ranks {
    arrivals: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Ranks {
    /// Where `value` stands among the earlier values, if there are any; it then joins them.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn rank(&mut self, value: f64) -> Option<Rank> {
        let earlier = self.sorted.len();
        let share = |count: usize| count as f64 / earlier as f64;
        let below = self.sorted.partition_point(|&v| v < value);
        let not_above = below + self.sorted[below..].partition_point(|&v| v <= value);
        self.push(value);
        (earlier > 0).then(|| Rank { below: share(below), not_above: share(not_above), earlier })
    }

    fn push(&mut self, value: f64) {
        if self.arrivals.len() == RANK_WINDOW
            && let Some(oldest) = self.arrivals.pop_front()
        {
            let at = self.sorted.partition_point(|&v| v < oldest);
            self.sorted.remove(at);
        }
        let at = self.sorted.partition_point(|&v| v <= value);
        self.sorted.insert(at, value);
        self.arrivals.push_back(value);
    }
}

impl From<Vec<f64>> for Ranks {
    fn from(arrivals: Vec<f64>) -> Self {
        let mut ranks = Self::default();
        arrivals.into_iter().filter(|v| v.is_finite()).for_each(|v| ranks.push(v));
        ranks
    }
}

impl From<Ranks> for Vec<f64> {
    fn from(ranks: Ranks) -> Self {
        ranks.arrivals.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn agrees_with_counting(steps in prop::collection::vec(0u8..20, 1..200), repeat in 1usize..40) {
            let values: Vec<f64> =
                steps.iter().cycle().take(steps.len() * repeat).map(|&s| f64::from(s) / 20.0).collect();
            let mut ranks = Ranks::default();
            for (n, &value) in values.iter().enumerate() {
                let earlier = &values[n.saturating_sub(RANK_WINDOW)..n];
                let share = |is: &dyn Fn(f64) -> bool| {
                    earlier.iter().filter(|&&e| is(e)).count() as f64 / earlier.len() as f64
                };
                let expected = (n > 0).then(|| Rank {
                    below: share(&|e| e < value),
                    not_above: share(&|e| e <= value),
                    earlier: earlier.len(),
                });
                prop_assert_eq!(ranks.rank(value), expected);
            }
            prop_assert_eq!(Ranks::from(Vec::from(ranks.clone())), ranks);
        }
    }
}
