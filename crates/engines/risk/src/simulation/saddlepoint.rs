//! The lower tail from the cumulant generating function: Lugannani and Rice, Saddle point approximation for the
//! distribution of the sum of independent random variables (1980).

use std::f64::consts::PI;

use nautilus_numerics::normal_cdf;

use super::cumulants::{Cumulants, Differentiable, Generating, Shape4, Tilt};
use crate::RiskError;
use crate::measures::tail::Measures;

/// Closer to the mean than this, in standard deviations, the formula is 0/0 and its limit is taken.
const NEAR_MEAN: f64 = 1e-4;
/// Steps to the quantile, at most; ten are usual.
const STEPS_MAX: u32 = 2_000;

/// VaR: the loss whose probability by Lugannani and Rice is `tail`. ES: the mean of that distribution's tail,
/// VaR + ∫F(x)dx/q over x below −VaR, with x = K′(t).
///
/// The derivatives by a position's size are those of these formulas, not the saddlepoint approximation of a conditional mean
/// (Martin, Thompson and Browne 2001), which does not add up to the same VaR. With P(t) the probability and i for the
/// derivative at a fixed t, q = P(t) at the quantile gives ∂VaR = K″·Pᵢ/P′ − K′ᵢ and ∂ES = −K′ᵢ + ∫(Pᵢ·K″ + P·K″ᵢ)dt/q.
///
/// # Errors
/// The distribution does not reach so far.
pub(crate) fn measures(cumulants: &Cumulants, tail: f64) -> Result<Differentiable, RiskError> {
    let shape = cumulants.shape();
    if shape.deviation == 0.0 {
        return Ok(Differentiable::certain(shape.mean));
    }
    let distribution = Distribution { cumulants, shape };
    let (least, most) = cumulants.domain();
    let quantile = distribution.quantile((least, most), tail).ok_or_else(|| {
        let reason =
            "the distribution does not reach so far into its tail: lower the confidence, or use monte_carlo";
        RiskError::new("out_of_range", "confidence", reason)
    })?;
    let t = quantile.t;
    // What is nearer to the mean is integrated straight, the rest on a scale on which it fades.
    let far = t.min((-0.5 / shape.deviation).max(0.5 * least));
    let mut nodes = distribution.straight(far, t);
    nodes.extend(distribution.fading(far, least));
    let beyond = nodes.iter().map(|(weight, node)| weight * node.height()).sum::<f64>() / tail;
    let value = 0.0 - quantile.at.first;
    let negated = Tilt { t, counts: [-1.0, -t, 0.0, 0.0] };
    let mut es = vec![negated];
    for (weight, node) in &nodes {
        let share = weight / tail;
        add(&mut es, node.owed, share * node.at.second);
        add(&mut es, Tilt { t: node.t, counts: [0.0, 2.0, node.t, 0.0] }, share * node.probability);
    }
    let mut var = vec![negated];
    add(&mut var, quantile.owed, quantile.at.second / quantile.slope);
    let measures = Measures { var: value, es: value + beyond.max(0.0) };
    Ok(Differentiable { measures, var, es })
}

/// Adds a multiple, to the last of the sum where both are of one t.
fn add(sum: &mut Vec<Tilt>, tilt: Tilt, factor: f64) {
    let counts = tilt.counts.map(|count| factor * count);
    match sum.last_mut() {
        Some(last) if last.t == tilt.t => {
            last.counts.iter_mut().zip(counts).for_each(|(to, count)| *to += count);
        }
        _ => sum.push(Tilt { counts, ..tilt }),
    }
}

struct Distribution<'a> {
    cumulants: &'a Cumulants,
    shape: Shape4,
}

/// The probability of P&L below K′(t), its derivative by t, and what a position's size adds to it at that t.
struct Point {
    t: f64,
    at: Generating,
    probability: f64,
    slope: f64,
    owed: Tilt,
}

impl Point {
    /// F(x)dx/dt.
    fn height(&self) -> f64 {
        self.probability * self.at.second
    }
}

impl Distribution<'_> {
    /// Φ(w) + φ(w)·(1/w − 1/u) with w = sign(t)·√(2(t·K′ − K)) and u = t·√K″, of which the derivative by anything is
    /// φ(w)·((w/u − 1/w²)·∂w + ∂u/u²).
    fn point(&self, t: f64) -> Point {
        let at = self.cumulants.at(t);
        let distance = t * self.shape.deviation;
        if distance.abs() < NEAR_MEAN {
            return self.near_mean(t, at);
        }
        let (w, u) = (libm::sqrt(2.0 * at.entropy).copysign(t), t * libm::sqrt(at.second));
        let height = density(w);
        let of_w = height * (w / u - 1.0 / (w * w)) / w;
        let of_u = height / (2.0 * u * at.second);
        Point {
            t,
            at,
            probability: normal_cdf(w) + height * (1.0 / w - 1.0 / u),
            slope: of_w * t * at.second + height / (t * u) + of_u * at.third,
            owed: Tilt { t, counts: [0.0, of_w * t * t + 2.0 * of_u, of_u * t, 0.0] },
        }
    }

    /// ½ + (skewness/6 + t·deviation)/√(2π).
    fn near_mean(&self, t: f64, at: Generating) -> Point {
        let Shape4 { variance, deviation, skewness, .. } = self.shape;
        let flat = 1.0 / libm::sqrt(2.0 * PI);
        let of_second = flat * (0.5 * t * deviation - 0.25 * skewness) / variance;
        let of_third = flat / (6.0 * variance * libm::sqrt(variance));
        Point {
            t,
            at,
            probability: 0.5 + flat * (skewness / 6.0 + t * deviation),
            slope: flat * deviation,
            owed: Tilt { t: 0.0, counts: [0.0, 2.0 * of_second, 3.0 * of_third, 0.0] },
        }
    }

    /// Nodes and weights of ∫ dt from `from` to `to` by Simpson's rule.
    fn straight(&self, from: f64, to: f64) -> Vec<(f64, Point)> {
        const STEPS: u32 = 256;
        let step = (to - from) / f64::from(STEPS);
        if step <= 0.0 {
            return Vec::new();
        }
        let weight = |at: u32| if at == 0 || at == STEPS { 1.0 } else { f64::from(2 + 2 * (at % 2)) };
        let node = |at| (weight(at) * step / 3.0, self.point(from + step * f64::from(at)));
        (0..=STEPS).map(node).collect()
    }

    /// Nodes and weights from the end of the domain to `from` < 0. On the scale τ, t = τ/(1 + τ/end), the distribution fades
    /// like a normal one, or more slowly, without an end; there by the rule for what fades at infinity, τ = from − c·exp(y −
    /// exp(−y)) at equal steps of y (Takahasi and Mori, Double exponential formulas for numerical integration, 1974).
    fn fading(&self, from: f64, end: f64) -> Vec<(f64, Point)> {
        const STEP: f64 = 1.0 / 12.0;
        let start = from / (1.0 - from / end);
        let length = -start / (1.0 + 2.0 * self.cumulants.at(from).entropy);
        let (mut nodes, mut sum) = (Vec::new(), 0.0);
        for at in -43..600 {
            let y = STEP * f64::from(at);
            let fade = libm::exp(-y);
            let distance = length * libm::exp(y - fade);
            let stretch = 1.0 + (start - distance) / end;
            let weight = STEP * distance * (1.0 + fade) / (stretch * stretch);
            let point = self.point((start - distance) / stretch);
            let more = weight * point.height();
            if more.is_nan() || at > 0 && more.abs() < 1e-17 * sum {
                break;
            }
            sum += more;
            nodes.push((weight, point));
        }
        nodes
    }

    /// The point whose probability is `tail`; probabilities rise with t.
    fn quantile(&self, (least, most): (f64, f64), tail: f64) -> Option<Point> {
        let below = self.point(0.0).probability > tail;
        let end = if below { least } else { most };
        // Steps that double, or halve the way to an end that is near.
        let (mut near, mut far) =
            (0.0, 0.1_f64.copysign(if below { -1.0 } else { 1.0 }) / self.shape.deviation);
        for _ in 0..200 {
            if far.abs() >= end.abs() {
                far = 0.5 * (near + end);
            }
            let reached = self.point(far).probability;
            if reached.is_nan() {
                return None;
            }
            if (reached > tail) != below {
                return Some(self.between(far.min(near), far.max(near), tail));
            }
            (near, far) = (far, 2.0 * far);
        }
        None
    }

    /// Newton's steps for the logarithm of the probability, halvings where they lead out of the bracket.
    fn between(&self, mut low: f64, mut high: f64, tail: f64) -> Point {
        let mut point = self.point(0.5 * (low + high));
        let mut before = f64::INFINITY;
        for _ in 0..STEPS_MAX {
            let Point { t, probability, slope, .. } = point;
            let off = (probability / tail - 1.0).abs();
            // So near that what is left is rounding.
            if off <= 2.0 * f64::EPSILON || off < 1e-10 && off >= before {
                break;
            }
            before = off;
            if probability > tail {
                high = t;
            } else {
                low = t;
            }
            let next = t - libm::log(probability / tail) * probability / slope;
            let next = if next > low && next < high { next } else { 0.5 * (low + high) };
            if next <= low || next >= high {
                break;
            }
            point = self.point(next);
        }
        point
    }
}

fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / libm::sqrt(2.0 * PI)
}
