//! The lower tail from the cumulant generating function: Lugannani and Rice, Saddle point approximation for the
//! distribution of the sum of independent random variables (1980).

use std::f64::consts::PI;

use nautilus_numerics::normal_cdf;

use super::cumulants::{Cumulants, Generating};
use crate::RiskError;
use crate::measures::tail::Measures;

/// Closer to the mean than this, in standard deviations, the formula is 0/0 and its limit is taken.
const NEAR_MEAN: f64 = 1e-4;
/// Halvings of the bracket: until its ends are neighbours.
const HALVINGS: u32 = 2_000;

/// VaR: the loss whose probability by Lugannani and Rice is `tail`. ES: the mean of that distribution's tail,
/// VaR + ∫F(x)dx/q over x below −VaR, with x = K′(t).
///
/// # Errors
/// The distribution does not reach so far.
pub(crate) fn measures(cumulants: &Cumulants, tail: f64) -> Result<Measures, RiskError> {
    let shape = cumulants.shape();
    if shape.deviation == 0.0 {
        return Ok(Measures { var: 0.0 - shape.mean, es: 0.0 - shape.mean });
    }
    let probability = |t: f64| {
        let at = cumulants.at(t);
        let distance = t * shape.deviation;
        if distance.abs() < NEAR_MEAN {
            return 0.5 + (shape.skewness / 6.0 + distance) / libm::sqrt(2.0 * PI);
        }
        let (w, u) = (root(t, &at), t * libm::sqrt(at.second));
        normal_cdf(w) + density(w) * (1.0 / w - 1.0 / u)
    };
    let (least, most) = cumulants.domain();
    let t = bracket((least, most), shape.deviation, tail, &probability).ok_or_else(|| {
        let reason =
            "the distribution does not reach so far into its tail: lower the confidence, or use monte_carlo";
        RiskError::new("out_of_range", "confidence", reason)
    })?;
    let slope = |t: f64| probability(t) * cumulants.at(t).second;
    // What is nearer to the mean is integrated straight, the rest on a scale on which it fades.
    let far = t.min((-0.5 / shape.deviation).max(0.5 * least));
    let beyond = straight(far, t, &slope) + fading(far, least, &slope);
    let var = 0.0 - cumulants.at(t).first;
    Ok(Measures { var, es: var + (beyond / tail).max(0.0) })
}

/// ∫ f(t)dt from `from` to `to` by Simpson's rule.
fn straight(from: f64, to: f64, f: &dyn Fn(f64) -> f64) -> f64 {
    const STEPS: u32 = 256;
    let step = (to - from) / f64::from(STEPS);
    let weight = |at: u32| if at == 0 || at == STEPS { 1.0 } else { f64::from(2 + 2 * (at % 2)) };
    let terms = (0..=STEPS).map(|at| weight(at) * f(from + step * f64::from(at)));
    if step > 0.0 { terms.sum::<f64>() * step / 3.0 } else { 0.0 }
}

/// ∫ f(t)dt from the end of the domain to `from` < 0: by Simpson's rule in y, t = end + (from − end)·exp(−y), or
/// t = from·exp(y) where there is no end, as far as f fades doubly exponentially.
fn fading(from: f64, end: f64, f: &dyn Fn(f64) -> f64) -> f64 {
    const STEP: f64 = 1.0 / 64.0;
    const STEPS: u32 = 2_560;
    let term = |at: u32| {
        let y = STEP * f64::from(at);
        if end.is_finite() {
            let distance = (from - end) * libm::exp(-y);
            distance * f(end + distance)
        } else {
            let t = from * libm::exp(y);
            -t * f(t)
        }
    };
    let mut sum = term(0);
    for at in (1..STEPS).step_by(2) {
        let (odd, even) = (term(at), term(at + 1));
        let more = 4.0 * odd + 2.0 * even;
        if more.is_nan() || more.abs() < 1e-13 * sum.abs() {
            break;
        }
        sum += more;
    }
    sum * STEP / 3.0
}

/// sign(t)·√(2(t·K′ − K)).
fn root(t: f64, at: &Generating) -> f64 {
    libm::sqrt((2.0 * (t * at.first - at.value)).max(0.0)).copysign(t)
}

fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / libm::sqrt(2.0 * PI)
}

/// The t whose probability is `tail`, which rises with t.
fn bracket(
    (least, most): (f64, f64),
    deviation: f64,
    tail: f64,
    probability: &dyn Fn(f64) -> f64,
) -> Option<f64> {
    let below = probability(0.0) > tail;
    let end = if below { least } else { most };
    // Steps that double, or halve the way to an end that is near.
    let (mut near, mut far) = (0.0, 0.1_f64.copysign(if below { -1.0 } else { 1.0 }) / deviation);
    for _ in 0..200 {
        if far.abs() >= end.abs() {
            far = 0.5 * (near + end);
        }
        let reached = probability(far);
        if reached.is_nan() {
            return None;
        }
        if (reached > tail) != below {
            return Some(halve(near, far, tail, probability));
        }
        (near, far) = (far, 2.0 * far);
    }
    None
}

fn halve(mut near: f64, mut far: f64, tail: f64, probability: &dyn Fn(f64) -> f64) -> f64 {
    let below = probability(near) > tail;
    for _ in 0..HALVINGS {
        let middle = 0.5 * (near + far);
        if middle == near || middle == far {
            break;
        }
        if (probability(middle) > tail) == below { near = middle } else { far = middle }
    }
    far
}
