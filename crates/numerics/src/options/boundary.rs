//! From which spot on an American put is exercised, over the time that is left, and what that right is worth.
//!
//! The integral equation of Kim (1990) in the fixed-point form of Andersen, Lake and Offengenden (2016), solved by
//! collocation: ln²(B/X) is a polynomial in the root of time, by Chebyshev nodes. The integrals run over an angle, time
//! from now = T·sin²α: both the roots of it and of what is left are smooth in α, and Gauss-Legendre converges fast.
//! Strike 1 throughout; a call is a put with its roles exchanged.

use std::collections::VecDeque;
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
/// Iterations, at most, and the relative change of the boundary that ends them; about ten are usual.
const ITERATIONS_MAX: usize = 100;
const SETTLED: f64 = 1e-10;
/// How near the boundary is, in σ·√T.
const MARGIN: f64 = 0.02;
/// Iterations that the next one is mixed of.
const MEMORY: usize = 6;

/// Of the boundary, or of a weight, at each node.
type Vector = [f64; NODES];

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
    /// √(τ/T) of each node, falling from 1.
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
fn interpolation(nodes: &Vector, z: f64) -> Vector {
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
    /// In the logarithm of the spot.
    margin: f64,
    curvature: f64,
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

/// Which of the two conditions on the boundary is iterated; both have the same solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Equation {
    /// Delta is −1 there: A of Andersen, Lake and Offengenden, the faster one.
    Slope,
    /// The value is 1 − B there: B of theirs, which settles where the rate is large beside the variance.
    Value,
}

impl Equation {
    /// What is integrated for the cash and for the asset, less interest and dividends.
    fn kernels(self, d1: f64, d2: f64, deviation: f64) -> (f64, f64) {
        match self {
            Self::Slope => (normal_density(d2) / deviation, normal_cdf(d1) + normal_density(d1) / deviation),
            Self::Value => (normal_cdf(d2), normal_cdf(d1)),
        }
    }
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
        let Some(guess) = problem.guess()? else { return Ok(None) };
        let settled = [Equation::Slope, Equation::Value]
            .into_iter()
            .find_map(|equation| problem.settled(&guess, equation));
        Ok(settled.map(|depths| problem.priced(&depths)))
    }

    /// Whether it is exercised now.
    pub(super) fn reached(&self, spot: f64) -> bool {
        spot <= self.critical
    }

    /// The spot that is far enough from the boundary for the integrals' second derivatives, and how much of the way there
    /// this one is, if it is nearer: close to the boundary they are all in the first moments.
    pub(super) fn near(&self, spot: f64) -> Option<(f64, f64)> {
        let way = libm::log(spot / self.critical) / self.margin;
        (way < 1.0).then(|| (self.critical * libm::exp(self.margin), way.max(0.0)))
    }

    /// The curvature of the option's value beside the boundary, where the Black-Scholes equation leaves only it unknown:
    /// σ²·B²·Γ/2 = r − q·B.
    pub(super) fn curvature_beside(&self) -> f64 {
        self.curvature
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
    /// −ln(B/X) at the nodes by the quadratic approximation.
    fn guess(&self) -> Result<Option<[f64; NODES]>, OptionError> {
        let mut depths = [0.0; NODES];
        for (depth, root) in depths.iter_mut().zip(&TABLES.roots) {
            let european = European::new(OptionTerms {
                kind: OptionKind::Put,
                strike: 1.0,
                rate: self.rate,
                dividend_yield: self.dividend_yield,
                volatility: self.volatility,
                expiry: self.expiry * root * root,
            })?;
            let Some(critical) = critical_price(&european)? else { return Ok(None) };
            *depth = (self.start - libm::log(critical)).max(0.0);
        }
        Ok(Some(depths))
    }

    fn settled(&self, guess: &Vector, equation: Equation) -> Option<Vector> {
        let (mut depths, mut memory) = (*guess, Memory::default());
        for _ in 0..ITERATIONS_MAX {
            let next = self.improved(&depths, equation);
            let off = largest_difference(&depths, &next);
            if off < SETTLED {
                return Some(next);
            }
            if off == f64::INFINITY {
                return None;
            }
            depths = memory.mixed(&depths, next);
        }
        None
    }

    /// One fixed-point iteration at all nodes.
    fn improved(&self, depths: &Vector, equation: Equation) -> Vector {
        let squares = depths.map(|depth| depth * depth);
        let Self { rate, dividend_yield, volatility, expiry, start } = *self;
        let carry = rate - dividend_yield;
        std::array::from_fn(|node| {
            let root = TABLES.roots[node];
            let time = expiry * root * root;
            let (own, deviation) = (start - depths[node], volatility * time.sqrt());
            let middle = (own + carry * time) / deviation;
            let (d1, d2) = (middle + 0.5 * deviation, middle - 0.5 * deviation);
            let (mut above, mut below) = equation.kernels(d1, d2, deviation);
            let points = &TABLES.between[node * POINTS..];
            for (point, weights) in TABLES.points.iter().zip(points) {
                let other = start - depth_at(weights, &squares);
                let (from_now, left) = (time * point.sin * point.sin, time * point.cos * point.cos);
                let deviation = deviation * point.sin;
                let middle = (own - other + carry * from_now) / deviation;
                let (d1, d2) = (middle + 0.5 * deviation, middle - 0.5 * deviation);
                let weight = point.weight * 2.0 * time * point.sin * point.cos;
                let (cash, asset) = equation.kernels(d1, d2, deviation);
                above += rate * weight * libm::exp(rate * left) * cash;
                if dividend_yield != 0.0 {
                    below += dividend_yield * weight * libm::exp(dividend_yield * left) * asset;
                }
            }
            // Beyond X it is never exercised; an iteration may overshoot by a little.
            (start + carry * time - libm::log(above / below)).max(0.0)
        })
    }

    fn priced(&self, depths: &Vector) -> Boundary {
        let squares = depths.map(|depth| depth * depth);
        let Self { rate, dividend_yield, volatility, expiry, start } = *self;
        let moments = TABLES.pricing.iter().zip(&TABLES.at_pricing).map(|(point, weights)| {
            let from_now = expiry * point.sin * point.sin;
            let weight = point.weight * 2.0 * expiry * point.sin * point.cos;
            Moment {
                level: start - depth_at(weights, &squares) - (rate - dividend_yield) * from_now,
                deviation: volatility * expiry.sqrt() * point.sin,
                interest: rate * libm::exp(-rate * from_now) * weight,
                dividends: dividend_yield * libm::exp(-dividend_yield * from_now) * weight,
            }
        });
        let critical = libm::exp(start - depths[0]);
        let curvature =
            2.0 * (rate - dividend_yield * critical) / (volatility * volatility * critical * critical);
        Boundary {
            critical,
            margin: MARGIN * volatility * expiry.sqrt(),
            curvature,
            moments: moments.collect(),
        }
    }
}

/// The last iterations, of which the next point is mixed (Anderson 1965): where the rate is large beside the variance,
/// plain iterations swing wider and wider, and mixed ones still settle.
#[derive(Default)]
struct Memory {
    /// The last step and where it led.
    last: Option<(Vector, Vector)>,
    /// Changes of the step and of where it led, from one iteration to the next.
    changes: VecDeque<(Vector, Vector)>,
}

impl Memory {
    /// g − Σ γᵢ·Δgᵢ with the γ that leave the least of the step f − Σ γᵢ·Δfᵢ.
    fn mixed(&mut self, from: &Vector, to: Vector) -> Vector {
        let step = minus(&to, from, 1.0);
        if let Some((last_step, last_to)) = self.last.replace((step, to)) {
            if self.changes.len() == MEMORY {
                self.changes.pop_front();
            }
            self.changes.push_back((minus(&step, &last_step, 1.0), minus(&to, &last_to, 1.0)));
        }
        let (mut rest, mut mixed) = (step, to);
        let mut basis: Vec<(Vector, Vector)> = Vec::with_capacity(MEMORY);
        // Orthogonalised, the newest first, so that each takes its part by itself.
        for (change, led) in self.changes.iter().rev() {
            let (mut change, mut led) = (*change, *led);
            let before = inner(&change, &change);
            for (direction, with) in &basis {
                let part = inner(&change, direction);
                change = minus(&change, direction, part);
                led = minus(&led, with, part);
            }
            let square = inner(&change, &change);
            if square <= 1e-16 * before {
                continue;
            }
            let unit = 1.0 / square.sqrt();
            let (direction, with) = (change.map(|x| x * unit), led.map(|x| x * unit));
            let part = inner(&rest, &direction);
            rest = minus(&rest, &direction, part);
            mixed = minus(&mixed, &with, part);
            basis.push((direction, with));
        }
        mixed.map(|depth| depth.max(0.0))
    }
}

fn inner(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// a − share·b.
fn minus(a: &Vector, b: &Vector, share: f64) -> Vector {
    std::array::from_fn(|i| a[i] - share * b[i])
}

/// |ln(B/X)| where the weights belong to.
fn depth_at(weights: &Vector, squares: &Vector) -> f64 {
    let square: f64 = weights.iter().zip(squares).map(|(weight, square)| weight * square).sum();
    square.max(0.0).sqrt()
}

/// The largest difference of two boundaries; what is no number is far.
fn largest_difference(from: &Vector, to: &Vector) -> f64 {
    let differences = from.iter().zip(to).map(|(from, to)| (from - to).abs());
    differences.fold(0.0, |most: f64, each| if each.is_nan() { f64::INFINITY } else { most.max(each) })
}

#[allow(clippy::cast_precision_loss)]
fn number(of: usize) -> f64 {
    of as f64
}
