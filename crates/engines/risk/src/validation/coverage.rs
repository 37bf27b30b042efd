//! Tests of VaR by its exceptions: their number, the first one, and whether one follows another.
//!
//! Likelihood ratios with 0·ln 0 = 0, against the chi-squared distribution that they have in large samples.

use nautilus_numerics::chi_squared_upper;

use super::{Finding, TestName, count};

/// Exceptions that make a pattern, at least.
const PATTERN_MIN: usize = 2;

/// How often each follows each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Transitions {
    /// First whether there was an exception, then whether one came next.
    counts: [[usize; 2]; 2],
}

impl Transitions {
    fn of(hits: &[bool]) -> Self {
        let mut transitions = Self::default();
        for pair in hits.windows(2) {
            transitions.counts[usize::from(pair[0])][usize::from(pair[1])] += 1;
        }
        transitions
    }

    /// 2·(ln L(one rate after each) − ln L(one rate)).
    fn likelihood_ratio(&self) -> f64 {
        let [after_none, after_one] = self.counts;
        let best = |[misses, hits]: [usize; 2]| ln_likelihood(misses, hits, rate(misses, hits));
        let (misses, hits) = (after_none[0] + after_one[0], after_none[1] + after_one[1]);
        2.0 * (best(after_none) + best(after_one) - best([misses, hits])).max(0.0)
    }
}

/// The share of hits that makes them most likely; 0 of none.
fn rate(misses: usize, hits: usize) -> f64 {
    if hits == 0 { 0.0 } else { count(hits) / count(misses + hits) }
}

/// misses·ln(1 − p) + hits·ln p.
fn ln_likelihood(misses: usize, hits: usize, p: f64) -> f64 {
    let part = |n: usize, log: f64| if n == 0 { 0.0 } else { count(n) * log };
    part(misses, libm::log1p(-p)) + part(hits, libm::log(p))
}

/// 2·(ln L(own rate) − ln L(p)).
fn proportion(misses: usize, hits: usize, p: f64) -> f64 {
    let own = ln_likelihood(misses, hits, rate(misses, hits));
    2.0 * (own - ln_likelihood(misses, hits, p)).max(0.0)
}

/// The four tests of hits that each have the probability `share` if VaR is right.
pub(super) fn findings(hits: &[bool], share: f64) -> Vec<Finding> {
    let (n, exceptions) = (hits.len(), hits.iter().filter(|hit| **hit).count());
    let finding = |test, degrees: f64, statistic: Option<f64>, needs: Option<String>| {
        let plural = if degrees > 1.0 { "degrees" } else { "degree" };
        Finding {
            test,
            found: statistic.map(|statistic| (statistic, chi_squared_upper(statistic, degrees))),
            distribution: format!("chi-squared with {degrees} {plural} of freedom"),
            needs,
        }
    };
    let expected = count(n) * share;
    let too_short = (expected < 1.0 - 1e-9).then(|| {
        format!("{expected} exceptions are expected: give {} observations", libm::ceil(1.0 / share - 1e-9))
    });
    let no_pattern = (exceptions < PATTERN_MIN)
        .then(|| format!("{exceptions} exceptions make no pattern: it takes {PATTERN_MIN}"));
    let of_number = proportion(n - exceptions, exceptions, share);
    let of_pattern = Transitions::of(hits).likelihood_ratio();
    let first = hits.iter().position(|hit| *hit);
    let none_yet = first.is_none().then(|| "there is no exception yet".to_owned());
    vec![
        finding(TestName::KupiecProportion, 1.0, Some(of_number), too_short.clone()),
        finding(
            TestName::KupiecFirstFailure,
            1.0,
            first.map(|before| proportion(before, 1, share)),
            none_yet,
        ),
        finding(TestName::ChristoffersenIndependence, 1.0, Some(of_pattern), no_pattern.clone()),
        finding(
            TestName::ChristoffersenConditionalCoverage,
            2.0,
            Some(of_number + of_pattern),
            too_short.or(no_pattern),
        ),
    ]
}
