//! Tests of the whole forecast distribution by its probability integral transforms, which are uniform and independent if
//! it is right (Rosenblatt 1952; Diebold, Gunther and Tay 1998).

use std::f64::consts::PI;

use nautilus_numerics::{chi_squared_upper, normal_quantile};

use super::{Finding, TestName, count};

/// Observations from which on the distributions of the statistics are near those that p-values are taken from.
const KOLMOGOROV_MIN: usize = 10;
const BERKOWITZ_MIN: usize = 30;
/// How near to 0 and 1 a PIT counts: it has no normal quantile there.
const EDGE: f64 = 1e-12;
/// Places of the first search for the autocorrelation, and steps of the golden section behind it.
const GRID: i32 = 200;
const STEPS: u32 = 80;

pub(super) fn findings(pits: &[f64]) -> [Finding; 2] {
    let n = pits.len();
    let needs = |min: usize| (n < min).then(|| format!("{n} PITs are too few: give {min}"));
    let distance = kolmogorov_distance(pits);
    let berkowitz = berkowitz(pits).map(|statistic| (statistic, chi_squared_upper(statistic, 3.0)));
    [
        Finding {
            test: TestName::KolmogorovSmirnov,
            found: Some((distance, kolmogorov_upper(distance, n))),
            distribution: "Kolmogorov's limit, corrected for finite samples (Stephens 1970)".to_owned(),
            needs: needs(KOLMOGOROV_MIN),
        },
        Finding {
            test: TestName::Berkowitz,
            needs: needs(BERKOWITZ_MIN)
                .or_else(|| berkowitz.is_none().then(|| "PITs do not vary: give others".to_owned())),
            found: berkowitz,
            distribution: "chi-squared with 3 degrees of freedom".to_owned(),
        },
    ]
}

/// The largest distance of the empirical from the uniform distribution function.
fn kolmogorov_distance(pits: &[f64]) -> f64 {
    let mut sorted = pits.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = count(sorted.len());
    let distance = |(at, pit): (usize, &f64)| (count(at + 1) / n - pit).max(pit - count(at) / n);
    sorted.iter().enumerate().map(distance).fold(0.0, f64::max)
}

/// The probability of a distance above d among n: 1 less Kolmogorov's limit at λ = (√n + 0.12 + 0.11/√n)·d (Stephens 1970).
/// From 10 observations on it is within 0.002 of the exact one where that is below 0.15, and within 0.03 anywhere.
fn kolmogorov_upper(d: f64, n: usize) -> f64 {
    let root = count(n).sqrt();
    kolmogorov_limit_upper((root + 0.12 + 0.11 / root) * d)
}

/// 2·Σ (−1)^(k−1)·exp(−2k²λ²), and for small λ what it is equal to, 1 − √(2π)/λ·Σ exp(−(2k−1)²π²/(8λ²)) (Feller 1948):
/// so a dozen terms are enough anywhere.
fn kolmogorov_limit_upper(lambda: f64) -> f64 {
    if lambda <= 0.0 {
        return 1.0;
    }
    let terms = (1..=12).map(f64::from);
    if lambda < 1.0 {
        let odd = |k: f64| (2.0 * k - 1.0) * PI / lambda;
        let sum: f64 = terms.map(|k| libm::exp(-odd(k) * odd(k) / 8.0)).sum();
        return (1.0 - (2.0 * PI).sqrt() / lambda * sum).clamp(0.0, 1.0);
    }
    let mut sign = -1.0;
    let sum: f64 = terms
        .map(|k| {
            sign = -sign;
            sign * libm::exp(-2.0 * k * k * lambda * lambda)
        })
        .sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

/// 2·(ln L(μ, σ, ρ) − ln L(0, 1, 0)) of the normal quantiles z of the PITs, with z₁ from the stationary distribution of
/// zₜ − μ = ρ·(zₜ₋₁ − μ) + ε, as Berkowitz (2001) has it; none where all are one number.
fn berkowitz(pits: &[f64]) -> Option<f64> {
    let quantile = |pit: &f64| normal_quantile(pit.clamp(EDGE, 1.0 - EDGE));
    let z: Vec<f64> = pits.iter().map(quantile).collect();
    let null: f64 = -0.5 * z.iter().map(|z| z * z).sum::<f64>();
    let profile = |rho: f64| profile(&z, rho);
    let best = |left: f64, right: f64| if profile(left) >= profile(right) { left } else { right };
    let at = |place: i32| f64::from(place) / f64::from(GRID);
    let coarse = (1 - GRID..GRID).map(at).reduce(best)?;
    let (mut low, mut high) = (coarse - at(1), coarse + at(1));
    let golden = (5_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..STEPS {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if profile(left) >= profile(right) { high = right } else { low = left }
    }
    let largest = profile(best(coarse, 0.5 * (low + high)));
    // The constants of both likelihoods are the same and left out.
    largest.is_finite().then(|| 2.0 * (largest - null).max(0.0))
}

/// The largest ln L for a given ρ, without its constant: μ and σ² follow in closed form.
fn profile(z: &[f64], rho: f64) -> f64 {
    let (Some(first), n) = (z.first(), count(z.len())) else { return f64::NEG_INFINITY };
    // With weights 1 − ρ² for the first and (1 − ρ)² for each of the others; the latter divided out.
    let innovations = || z.windows(2).map(|pair| pair[1] - rho * pair[0]);
    let weight = (1.0 + rho) + (n - 1.0) * (1.0 - rho);
    let mean = ((1.0 + rho) * first + innovations().sum::<f64>()) / weight;
    let of_first = (1.0 - rho * rho) * (first - mean) * (first - mean);
    let others = innovations().map(|value| value - (1.0 - rho) * mean).map(|rest| rest * rest);
    let variance = (of_first + others.sum::<f64>()) / n;
    if variance <= 0.0 {
        return f64::NEG_INFINITY;
    }
    0.5 * (libm::log1p(-rho * rho) - n * libm::log(variance) - n)
}
