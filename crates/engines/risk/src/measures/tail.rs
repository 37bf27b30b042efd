//! The lower tail of P&L: the order statistic of VaR, the scenarios of ES, and their weights.
//!
//! Scenarios stand in the order of (P&L, index), so that ties change nothing. P&L is signed, measures are losses.

use super::QuantileConvention;
use crate::RiskError;

/// A P&L and its scenario.
pub(crate) type Outcome = (f64, u32);

/// Which part of the distribution is asked for, and how likely scenarios are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailRule<'a> {
    /// Between 0 and 1, both excluded.
    pub(crate) confidence: f64,
    pub(crate) convention: QuantileConvention,
    /// Probabilities of the scenarios, which sum to 1; none where all are equal. Only `inverted_cdf` knows weights.
    pub(crate) weights: Option<&'a [f64]>,
    /// Days that each scenario shares with its neighbours, itself included: 1 where scenarios are independent.
    pub(crate) overlap: usize,
}

/// Where VaR lies among sorted outcomes: the first `below` are not above it, and it is `next` of the way to the one
/// after them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rank {
    pub(crate) below: usize,
    pub(crate) next: f64,
}

/// VaR and ES.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measures {
    pub(crate) var: f64,
    pub(crate) es: f64,
}

impl TailRule<'_> {
    /// The probability below the quantile, q.
    pub(crate) fn tail(&self) -> f64 {
        1.0 - self.confidence
    }

    /// How much a probability may be off because `confidence` is not what was written: 0.99 is no double.
    const ROUNDING: f64 = 4.0 * f64::EPSILON;

    /// The rank of the quantile among `count` equally likely scenarios, by the definitions of Hyndman and Fan (1996).
    pub(crate) fn rank(&self, count: usize) -> Rank {
        let (n, q) = (count_f64(count), self.tail());
        // The place counted from 1; whole where it is whole but for the rounding of `confidence`.
        let snapped = |place: f64| {
            let whole = place.round();
            if (place - whole).abs() <= n * Self::ROUNDING { whole } else { place }
        };
        let place = |alpha: f64, beta: f64| snapped(n * q + alpha + q * (1.0 - alpha - beta));
        let place = match self.convention {
            QuantileConvention::InvertedCdf => snapped(n * q).ceil(),
            QuantileConvention::InterpolatedInvertedCdf => place(0.0, 1.0),
            QuantileConvention::Hazen => place(0.5, 0.5),
            QuantileConvention::Weibull => place(0.0, 0.0),
            QuantileConvention::Linear => place(1.0, 1.0),
            QuantileConvention::MedianUnbiased => place(1.0 / 3.0, 1.0 / 3.0),
            QuantileConvention::NormalUnbiased => place(3.0 / 8.0, 3.0 / 8.0),
            QuantileConvention::Lower => place(1.0, 1.0).floor(),
            QuantileConvention::Higher => place(1.0, 1.0).ceil(),
        }
        .clamp(1.0, n);
        Rank { below: to_usize(place.floor()), next: place - place.floor() }
    }

    /// The rank among `sorted`, the lowest of `count` scenarios. With weights, VaR is the first scenario at which their
    /// sum reaches q.
    pub(crate) fn rank_in(&self, sorted: &[Outcome], count: usize) -> Rank {
        let Some(weights) = self.weights else { return self.rank(count) };
        let (mut sum, least) = (0.0, self.tail() - count_f64(count) * Self::ROUNDING);
        let reaches = sorted.iter().position(|(_, scenario)| {
            sum += weights[*scenario as usize];
            sum >= least
        });
        Rank { below: reaches.map_or(sorted.len(), |at| at + 1), next: 0.0 }
    }

    /// Sorts outcomes and drops those that are above every one that VaR and ES of `count` scenarios need.
    pub(crate) fn keep_lowest(&self, outcomes: &mut Vec<Outcome>, count: usize) {
        let needed = match self.weights {
            None => {
                let rank = self.rank(count);
                let needed = rank.below + usize::from(rank.next > 0.0);
                lowest(outcomes, needed);
                needed
            }
            Some(_) => {
                outcomes.sort_unstable_by(ascending);
                self.rank_in(outcomes, count).below
            }
        };
        outcomes.truncate(needed);
    }

    /// Drops outcomes that are above every one that VaR and ES need, and answers from where on others are: a bound that
    /// falls with every call as more outcomes are known.
    pub(crate) fn sift(&self, outcomes: &mut Vec<Outcome>, count: usize) -> f64 {
        if self.weights.is_some() {
            self.keep_lowest(outcomes, count);
            // Equal outcomes count in the order of scenarios, and their weights differ.
            return outcomes.last().map_or(f64::INFINITY, |(pnl, _)| pnl.next_up());
        }
        let rank = self.rank(count);
        let needed = rank.below + usize::from(rank.next > 0.0);
        if outcomes.len() < needed {
            return f64::INFINITY;
        }
        let bound = outcomes.select_nth_unstable_by(needed - 1, ascending).1.0;
        outcomes.truncate(needed);
        bound
    }

    /// VaR and ES from what [`TailRule::keep_lowest`] left.
    pub(crate) fn measures(&self, sorted: &[Outcome], count: usize) -> Measures {
        let rank = self.rank_in(sorted, count);
        let at = sorted[rank.below - 1].0;
        let after = sorted.get(rank.below).map_or(at, |(pnl, _)| *pnl);
        let var = if rank.next > 0.0 { at + rank.next * (after - at) } else { at };
        let tail = &sorted[..rank.below];
        let es = match self.weights {
            None => tail.iter().map(|(pnl, _)| pnl).sum::<f64>() / count_f64(rank.below),
            Some(weights) => {
                let weight = |scenario: u32| weights[scenario as usize];
                let sum: f64 = tail.iter().map(|(_, scenario)| weight(*scenario)).sum();
                tail.iter().map(|(pnl, scenario)| weight(*scenario) * pnl).sum::<f64>() / sum
            }
        };
        // From zero, so that no loss is −0; and the mean of equal numbers may round to beside them.
        Measures { var: 0.0 - var, es: (0.0 - es).max(0.0 - var) }
    }

    /// The number of independent, equally likely scenarios that tell as much as these: (Σw)²/Σw² of the weights (Kish
    /// 1965), and of overlapping ones every `overlap`-th.
    pub(crate) fn effective(&self, count: usize) -> f64 {
        let all = match self.weights {
            None => count_f64(count),
            Some(weights) => 1.0 / weights.iter().map(|weight| weight * weight).sum::<f64>(),
        };
        all / count_f64(self.overlap)
    }

    /// Refuses scenarios that are too few for the confidence.
    ///
    /// # Errors
    /// VaR would lie outside of them.
    pub(crate) fn enough(&self, count: usize, field: &str) -> Result<(), RiskError> {
        let needed = (1.0 / self.tail() * (1.0 - Self::ROUNDING / self.tail())).ceil();
        if count_f64(count) >= needed {
            return Ok(());
        }
        let reason = format!(
            "{count} scenarios are too few for a confidence of {}: give at least {needed}, or lower the confidence",
            self.confidence
        );
        Err(RiskError::new("too_few_scenarios", field, reason))
    }
}

/// The lower tail of a distribution of P&L, and what its uncertainty follows from.
#[derive(Debug, Clone)]
pub(crate) struct Tail<'a> {
    pub(crate) rule: TailRule<'a>,
    /// The lowest outcomes in order: those of the tail, and beyond it as far as VaR may be off.
    pub(crate) lowest: Vec<Outcome>,
    /// Scenarios in all.
    pub(crate) count: usize,
    pub(crate) rank: Rank,
    pub(crate) measures: Measures,
}

impl<'a> Tail<'a> {
    /// The tail of `pnl`, of which every element is finite.
    ///
    /// # Errors
    /// Scenarios are too few for the confidence, which names `field`.
    pub(crate) fn of(pnl: &[f64], rule: TailRule<'a>, field: &str) -> Result<Self, RiskError> {
        let count = pnl.len();
        rule.enough(count, field)?;
        let outcomes = match rule.weights {
            Some(_) => sorted(pnl),
            None => {
                let mut outcomes = unsorted(pnl);
                let rank = rule.rank(count);
                // Where the order statistic lies with all but 1e-16 of the probability.
                let spread = 9.0 * libm::sqrt(count_f64(rank.below) * count_f64(rule.overlap)) + 40.0;
                lowest(&mut outcomes, rank.below.saturating_add(to_usize(spread)));
                outcomes
            }
        };
        let rank = rule.rank_in(&outcomes, count);
        let measures = rule.measures(&outcomes, count);
        Ok(Self { rule, lowest: outcomes, count, rank, measures })
    }

    /// The scenarios that VaR is made of, with the shares that make it up.
    pub(crate) fn var_scenarios(&self) -> Vec<(usize, f64)> {
        let Rank { below, next } = self.rank;
        let mut scenarios = vec![(self.lowest[below - 1].1 as usize, 1.0 - next)];
        scenarios.extend(self.lowest.get(below).filter(|_| next > 0.0).map(|(_, s)| (*s as usize, next)));
        scenarios
    }

    /// The scenarios that ES is the mean of, with their shares, which sum to 1.
    pub(crate) fn es_scenarios(&self) -> Vec<(usize, f64)> {
        let tail = self.lowest[..self.rank.below].iter().map(|(_, scenario)| *scenario as usize);
        match self.rule.weights {
            None => tail.map(|scenario| (scenario, 1.0 / count_f64(self.rank.below))).collect(),
            Some(weights) => {
                let sum: f64 = tail.clone().map(|scenario| weights[scenario]).sum();
                tail.map(|scenario| (scenario, weights[scenario] / sum)).collect()
            }
        }
    }
}

/// Every scenario, in order.
pub(crate) fn sorted(pnl: &[f64]) -> Vec<Outcome> {
    let mut outcomes = unsorted(pnl);
    outcomes.sort_unstable_by(ascending);
    outcomes
}

fn unsorted(pnl: &[f64]) -> Vec<Outcome> {
    (0..).zip(pnl).map(|(scenario, pnl)| (*pnl, scenario)).collect()
}

/// By P&L, then by scenario.
fn ascending(a: &Outcome, b: &Outcome) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// Leaves the `needed` lowest in order.
fn lowest(outcomes: &mut Vec<Outcome>, needed: usize) {
    if needed < outcomes.len() {
        outcomes.select_nth_unstable_by(needed - 1, ascending);
        outcomes.truncate(needed);
    }
    outcomes.sort_unstable_by(ascending);
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn count_f64(count: usize) -> f64 {
    count as f64
}

/// A whole, non-negative number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn to_usize(whole: f64) -> usize {
    whole as usize
}
