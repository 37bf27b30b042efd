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

/// VaR: the loss whose probability by Lugannani and Rice is `tail`. ES: E(P&L; P&L ≤ −VaR) = κ₁·P − (−VaR − κ₁)/t·f with
/// the density f of Daniels (1954), by Martin, The saddlepoint method and portfolio optionalities (2006).
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
    let t = bracket(cumulants.domain(), shape.deviation, tail, &probability).ok_or_else(|| {
        let reason =
            "the distribution does not reach so far into its tail: lower the confidence, or use monte_carlo";
        RiskError::new("out_of_range", "confidence", reason)
    })?;
    let at = cumulants.at(t);
    let beyond = (at.first - shape.mean) / t;
    let height = density(root(t, &at)) / libm::sqrt(at.second);
    let es = (beyond * height - shape.mean * tail) / tail;
    Ok(Measures { var: 0.0 - at.first, es: es.max(0.0 - at.first) })
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
