//! How uncertain VaR and ES of so many scenarios are: standard errors and intervals.
//!
//! Scenarios count as independent draws; weighted and overlapping ones as their effective number.

use nautilus_numerics::beta_cdf;

use super::tail::{Outcome, Tail, count_f64};
use super::{ConfidenceInterval, ErrorRule, Interval, StandardError};

/// The probability of intervals.
const LEVEL: f64 = 0.95;
/// Φ⁻¹(0.975).
const Z: f64 = 1.959_963_984_540_054;

/// Standard errors of VaR and ES.
///
/// VaR (Maritz and Jarrett 1978): the standard deviation of the k-th of n order statistics if the empirical distribution
/// were the true one. Outcome i has the probability of its interval of cumulative weight under Beta(k, n − k + 1). With
/// equal weights that is their formula; otherwise n is the effective number of scenarios and k is n·q. ES (Manistre and
/// Hancock 2005): √((s² + (1 − q)·(ES − VaR)²)/(n·q)), s² the variance of P&L within the tail.
pub(crate) fn standard_error(tail: &Tail<'_>) -> StandardError {
    StandardError {
        var: maritz_jarrett(tail),
        es: tail_mean(tail),
        var_rule: ErrorRule::MaritzJarrett,
        es_rule: ErrorRule::TailMean,
    }
}

/// The intervals that go with them.
///
/// VaR of equally likely scenarios: the order statistics r < s with the narrowest ranks for which
/// P(r ≤ scenarios below the quantile < s) leaves at most 2.5 % on either side. The number below is binomial, whatever
/// the distribution of P&L. Otherwise the quantiles at q ± z·√(q(1 − q)/n) (Woodruff 1952).
pub(crate) fn confidence_interval(tail: &Tail<'_>) -> ConfidenceInterval {
    let var =
        if tail.rule.weights.is_none() && tail.rule.overlap == 1 { binomial(tail) } else { woodruff(tail) };
    let around = |sign: f64| Some(tail.measures.es + sign * Z * tail_mean(tail)?);
    let es = Interval { lower: around(-1.0), upper: around(1.0), rule: ErrorRule::Normal };
    ConfidenceInterval { level: LEVEL, var, es }
}

fn maritz_jarrett(tail: &Tail<'_>) -> Option<f64> {
    let n = tail.rule.effective(tail.count);
    let k = match tail.rule.weights {
        None => (count_f64(tail.rank.below) + tail.rank.next) * n / count_f64(tail.count),
        Some(_) => n * tail.rule.tail(),
    };
    if k < 1.0 || n < k {
        return None;
    }
    let centre = tail.lowest[tail.rank.below - 1].0;
    let (mut before, mut mean, mut square) = (0.0, 0.0, 0.0);
    for (outcome, up_to) in cumulated(tail) {
        let now = beta_cdf(up_to.min(1.0), k, n - k + 1.0);
        let (probability, distance) = (now - before, outcome.0 - centre);
        mean += probability * distance;
        square += probability * distance * distance;
        before = now;
    }
    Some(libm::sqrt((square - mean * mean).max(0.0)))
}

fn tail_mean(tail: &Tail<'_>) -> Option<f64> {
    let (n, q) = (tail.rule.effective(tail.count), tail.rule.tail());
    let below = tail.rank.below;
    if below < 2 || n * q < 1.0 {
        return None;
    }
    let es = tail.measures.es;
    let variance: f64 = tail
        .es_scenarios()
        .iter()
        .zip(&tail.lowest)
        .map(|((_, share), (pnl, _))| share * (pnl + es) * (pnl + es))
        .sum();
    let beyond = es - tail.measures.var;
    Some(libm::sqrt((variance + (1.0 - q) * beyond * beyond) / (n * q)))
}

/// The outcomes in order, each with the probability of it and all before it.
fn cumulated<'a>(tail: &'a Tail<'_>) -> impl Iterator<Item = (&'a Outcome, f64)> {
    let (count, weights) = (count_f64(tail.count), tail.rule.weights);
    let mut sum = 0.0;
    tail.lowest.iter().enumerate().map(move |(at, outcome)| {
        sum = match weights {
            None => count_f64(at + 1) / count,
            Some(weights) => sum + weights[outcome.1 as usize],
        };
        (outcome, sum)
    })
}

fn binomial(tail: &Tail<'_>) -> Interval {
    let (n, q, beyond) = (tail.count, tail.rule.tail(), 0.5 * (1.0 - LEVEL));
    // P(at most `most` of n scenarios lie below the quantile).
    let at_most = |most: usize| {
        if most >= n { 1.0 } else { beta_cdf(1.0 - q, count_f64(n - most), count_f64(most + 1)) }
    };
    // The first number of scenarios for which that probability is above or at a bound.
    let first = |reached: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0, n);
        while low < high {
            let middle = low + (high - low) / 2;
            if reached(at_most(middle)) { high = middle } else { low = middle + 1 }
        }
        low
    };
    // r − 1 is the largest number whose probability is at most 2.5 %, s − 1 the smallest with at least 97.5 %.
    let r = first(&|probability| probability > beyond);
    let s = first(&|probability| probability >= 1.0 - beyond) + 1;
    let loss = |rank: usize| tail.lowest.get(rank.checked_sub(1)?).map(|(pnl, _)| -pnl);
    Interval { lower: loss(s), upper: loss(r), rule: ErrorRule::Binomial }
}

fn woodruff(tail: &Tail<'_>) -> Interval {
    let (n, q) = (tail.rule.effective(tail.count), tail.rule.tail());
    let half = Z * libm::sqrt(q * (1.0 - q) / n);
    let loss = |probability: f64| {
        let reaches = |(_, sum): &(&Outcome, f64)| *sum >= probability;
        cumulated(tail).find(reaches).filter(|_| probability > 0.0).map(|((pnl, _), _)| -pnl)
    };
    Interval { lower: loss(q + half), upper: loss(q - half), rule: ErrorRule::Woodruff }
}
