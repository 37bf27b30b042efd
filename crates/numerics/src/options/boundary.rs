//! From which spot on an American put is exercised, over the time that is left, and what that right is worth.
//!
//! The integral equation of Kim (1990) in the fixed-point form of Andersen, Lake and Offengenden (2016), solved by
//! collocation: ln²(B/X) is a polynomial in the root of time, by Chebyshev nodes. The integrals run over an angle, time
//! from now = T·sin²α: both the roots of it and of what is left are smooth in α, and Gauss-Legendre converges fast. Strike 1 throughout; a call is a put with its roles exchanged.

use std::f64::consts::{FRAC_PI_2, PI};
use std::sync::LazyLock;

use super::approximation::critical_price;
use super::{European, OptionError, OptionKind, OptionTerms, normal_density};
use crate::distribution::normal_cdf;

/// Collocation nodes, without the one at no time left.
const NODES: usize = 14;
/// Quadrature points while the boundary is sought, and for what the right is worth.
const POINTS: usize = 24;
const PRICING_POINTS: usize = 48;
/// Iterations, at most, and the relative change of the boundary that ends them.
const ITERATIONS_MAX: usize = 60;
const SETTLED: f64 = 1e-12;

/// Of a quadrature over α in 0..π/2.
#[derive(Clone, Copy)]
struct Point {
    sin: f64,
    cos: f64,
    weight: f64,
}

/// What is the same for all options.
struct Tables {
    points: Vec<Point>,
    pricing: Vec<Point>,
    /// ξ = √(τ/T) of each node, the last node being T itself left out of nothing: 1 at the first.
    roots: [f64; NODES],
    /// By node and point, the weights of the nodes in ln² at ξ·cos α.
    between: Vec<[f64; NODES]>,
    /// The same at cos α of the pricing points.
    at_pricing: Vec<[f64; NODES]>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

impl Tables {
    fn new() -> Self {
        let nodes: [f64; NODES] = std::array::from_fn(|i| libm::cos(PI * number(i) / number(NODES)));
        let roots = nodes.map(|z| 0.5 * (1.0 + z));
        let (points, pricing) = (quadrature(POINTS), quadrature(PRICING_POINTS));
        let at = |root: f64| interpolation(&nodes, 2.0 * root - 1.0);
        let between = roots.iter().flat_map(|root| points.iter().map(move |p| root * p.cos)).map(at);
        let between = between.collect();
        let at_pricing = pricing.iter().map(|p| at(p.cos)).collect();
        Self { points, pricing, roots, between, at_pricing }
    }
}

/// The weights of the nodes' values in the polynomial's at z, by the second barycentric formula (Berrut and Trefethen
/// 2004). The last node, z = −1, has the value 0 and no weight of its own.
fn interpolation(nodes: &[f64; NODES], z: f64) -> [f64; NODES] {
    if let Some(same) = nodes.iter().position(|node| *node == z) {
        return std::array::from_fn(|i| f64::from(u8::from(i == same)));
    }
    let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    let half = |i: usize| if i == 0 || i == NODES { 0.5 } else { 1.0 };
    let part = |i: usize, node: f64| sign(i) * half(i) / (z - node);
    let parts: [f64; NODES] = std::array::from_fn(|i| part(i, nodes[i]));
    if z == -1.0 {
        return [0.0; NODES];
    }
    let sum: f64 = parts.iter().sum::<f64>() + part(NODES, -1.0);
    parts.map(|part| part / sum)
}

/// Gauss-Legendre on α in 0..π/2. The roots by Newton's method from Tricomi's estimate.
fn quadrature(count: usize) -> Vec<Point> {
    let n = number(count);
    let point = |i: usize| {
        let mut x = -libm::cos(PI * (number(i) + 0.75) / (n + 0.5));
        let mut slope = 1.0;
        for _ in 0..8 {
            let (mut previous, mut value) = (1.0, x);
            for k in 2..=count {
                let k = number(k);
                (previous, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k);
            }
            slope = n * (x * value - previous) / (x * x - 1.0);
            x -= value / slope;
        }
        let alpha = 0.5 * FRAC_PI_2 * (1.0 + x);
        let weight = FRAC_PI_2 / ((1.0 - x * x) * slope * slope);
        Point { sin: libm::sin(alpha), cos: libm::cos(alpha), weight }
    };
    (0..count).map(point).collect()
}

/// The boundary of a put with strike 1, as the pricing needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boundary {
    /// At or below this spot it is exercised now.
    critical: f64,
    moments: Vec<Moment>,
}

/// A moment at which it may be exercised.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment {
    /// ln B then, less (r − q)·θ, θ the time until then.
    level: f64,
    /// σ·√θ.
    deviation: f64,
    /// r·e^(−rθ)·dθ.
    interest: f64,
    /// q·e^(−qθ)·dθ.
    dividends: f64,
}

/// What the right to exercise early adds, for a put with strike 1, and its derivatives by the spot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Premium {
    pub(super) value: f64,
    pub(super) slope: f64,
    pub(super) curvature: f64,
}

/// The market of a put with strike 1 and the boundary's limit before its end.
struct Problem {
    rate: f64,
    dividend_yield: f64,
    volatility: f64,
    expiry: f64,
    /// ln X, with X = min(1, r/q): the boundary as no time is left.
    start: f64,
}

impl Boundary {
    /// Seeks the boundary; `None` where the iterations do not settle.
    pub(super) fn new(
        rate: f64,
        dividend_yield: f64,
        volatility: f64,
        expiry: f64,
    ) -> Result<Option<Self>, OptionError> {
        let start = if dividend_yield > rate { libm::log(rate / dividend_yield) } else { 0.0 };
        let problem = Problem { rate, dividend_yield, volatility, expiry, start };
        let Some(mut squares) = problem.guess()? else { return Ok(None) };
        for _ in 0..ITERATIONS_MAX {
            let next = problem.improved(&squares);
            let change = squares.iter().zip(&next).fold(0.0_f64, |most, (from, to)| {
                let change = (from.sqrt() - to.sqrt()).abs();
                if change.is_nan() { f64::INFINITY } else { most.max(change) }
            });
            if !change.is_finite() {
                return Ok(None);
            }
            squares = next;
            if change < SETTLED {
                return Ok(Some(problem.priced(&squares)));
            }
        }
        Ok(None)
    }

    /// Whether it is exercised now.
    pub(super) fn reached(&self, spot: f64) -> bool {
        spot <= self.critical
    }

    /// ∫ r·e^(−rθ)·Φ(−d₋) − q·S·e^(−qθ)·Φ(−d₊) dθ, d± those of the spot over the boundary after θ (Kim 1990).
    pub(super) fn premium(&self, spot: f64) -> f64 {
        let ln = libm::log(spot);
        let part = |moment: &Moment| {
            let middle = (ln - moment.level) / moment.deviation;
            let (d1, d2) = (middle + 0.5 * moment.deviation, middle - 0.5 * moment.deviation);
            moment.interest * normal_cdf(-d2) - spot * moment.dividends * normal_cdf(-d1)
        };
        self.moments.iter().map(part).sum()
    }

    /// The same with its derivatives. The boundary does not depend on the spot, so they are those of the integrand.
    pub(super) fn premium_and_derivatives(&self, spot: f64) -> Premium {
        let ln = libm::log(spot);
        let mut premium = Premium { value: 0.0, slope: 0.0, curvature: 0.0 };
        for Moment { level, deviation, interest, dividends } in &self.moments {
            let middle = (ln - level) / deviation;
            let (d1, d2) = (middle + 0.5 * deviation, middle - 0.5 * deviation);
            let (asset, density) = (dividends * normal_cdf(-d1), dividends * normal_density(d1) / deviation);
            let cash = interest * normal_density(d2) / (spot * deviation);
            premium.value += interest * normal_cdf(-d2) - spot * asset;
            premium.slope += density - cash - asset;
            premium.curvature += (cash * (1.0 + d2 / deviation) + density * (1.0 - d1 / deviation)) / spot;
        }
        premium
    }
}

impl Problem {
    /// ln²(B/X) at the nodes by the quadratic approximation.
    fn guess(&self) -> Result<Option<[f64; NODES]>, OptionError> {
        let mut squares = [0.0; NODES];
        for (square, root) in squares.iter_mut().zip(&TABLES.roots) {
            let european = European::new(OptionTerms {
                kind: OptionKind::Put,
                strike: 1.0,
                rate: self.rate,
                dividend_yield: self.dividend_yield,
                volatility: self.volatility,
                expiry: self.expiry * root * root,
            })?;
            let Some(critical) = critical_price(&european)? else { return Ok(None) };
            let below = (libm::log(critical) - self.start).min(0.0);
            *square = below * below;
        }
        Ok(Some(squares))
    }

    /// One fixed-point iteration at all nodes.
    fn improved(&self, squares: &[f64; NODES]) -> [f64; NODES] {
        let Self { rate, dividend_yield, volatility, expiry, start } = *self;
        let carry = rate - dividend_yield;
        std::array::from_fn(|node| {
            let root = TABLES.roots[node];
            let time = expiry * root * root;
            let (own, deviation) = (start - squares[node].sqrt(), volatility * time.sqrt());
            let middle = (own + carry * time) / deviation;
            let (d1, d2) = (middle + 0.5 * deviation, middle - 0.5 * deviation);
            let (mut above, mut below) =
                (normal_density(d2) / deviation, normal_density(d1) / deviation + normal_cdf(d1));
            let points = &TABLES.between[node * POINTS..];
            for (point, weights) in TABLES.points.iter().zip(points) {
                let other = start - root_at(weights, squares);
                let (from_now, left) = (time * point.sin * point.sin, time * point.cos * point.cos);
                let deviation = deviation * point.sin;
                let middle = (own - other + carry * from_now) / deviation;
                let (d1, d2) = (middle + 0.5 * deviation, middle - 0.5 * deviation);
                let weight = point.weight * 2.0 * time * point.sin * point.cos;
                above += rate * weight * libm::exp(rate * left) * normal_density(d2) / deviation;
                if dividend_yield != 0.0 {
                    let hit = normal_cdf(d1) + normal_density(d1) / deviation;
                    below += dividend_yield * weight * libm::exp(dividend_yield * left) * hit;
                }
            }
            let level = libm::log(above / below) - carry * time - start;
            // Beyond X it is never exercised; an iteration may overshoot by a little.
            let level = if level > 0.0 { 0.0 } else { level };
            level * level
        })
    }

    fn priced(&self, squares: &[f64; NODES]) -> Boundary {
        let Self { rate, dividend_yield, volatility, expiry, start } = *self;
        let moments = TABLES.pricing.iter().zip(&TABLES.at_pricing).map(|(point, weights)| {
            let from_now = expiry * point.sin * point.sin;
            let weight = point.weight * 2.0 * expiry * point.sin * point.cos;
            Moment {
                level: start - root_at(weights, squares) - (rate - dividend_yield) * from_now,
                deviation: volatility * expiry.sqrt() * point.sin,
                interest: rate * libm::exp(-rate * from_now) * weight,
                dividends: dividend_yield * libm::exp(-dividend_yield * from_now) * weight,
            }
        });
        Boundary { critical: libm::exp(start - squares[0].sqrt()), moments: moments.collect() }
    }
}

/// |ln(B/X)| where the weights belong to.
fn root_at(weights: &[f64; NODES], squares: &[f64; NODES]) -> f64 {
    let square: f64 = weights.iter().zip(squares).map(|(weight, square)| weight * square).sum();
    square.max(0.0).sqrt()
}

#[allow(clippy::cast_precision_loss)]
fn number(of: usize) -> f64 {
    of as f64
}
