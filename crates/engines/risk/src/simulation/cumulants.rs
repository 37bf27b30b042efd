//! Distributions of P&L that are known by their cumulant generating function: quadratic forms of normal returns, and the
//! past itself; and what of it each position owes.

use crate::RiskError;
use crate::measures::tail::{Measures, count_f64};

/// The derivatives of the generating function K(t) = ln E exp(t·P&L), and t·K′ − K, which is never negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generating {
    pub(crate) entropy: f64,
    pub(crate) first: f64,
    pub(crate) second: f64,
    pub(crate) third: f64,
}

/// Mean, variance, standard deviation, skewness and excess kurtosis. The past's variance is that of its scenarios, its
/// deviation that of a sample; of a quadratic form one is the square of the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape4 {
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    pub(crate) deviation: f64,
    pub(crate) skewness: f64,
    pub(crate) excess_kurtosis: f64,
}

/// What the mean under the distribution that is tilted by exp(t·P&L), and its first three derivatives by t, count in a sum.
///
/// With Dᵢ(t) the tilted mean of position i's share of P&L, the derivative of K(t) by the position's size is t·Dᵢ(t) (Martin,
/// Saddlepoint methods in portfolio theory, in The Oxford Handbook of Credit Derivatives, 2011), and ΣDᵢ is K′(t).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tilt {
    pub(crate) t: f64,
    pub(crate) counts: [f64; 4],
}

/// Sums of tilted means: of each position's share of P&L, and of each asset's return.
#[derive(Debug)]
pub(crate) struct Tilted {
    pub(crate) pnl: Vec<f64>,
    pub(crate) returns: Vec<f64>,
}

/// VaR and ES, and their derivatives by a position's size.
#[derive(Debug)]
pub(crate) struct Differentiable {
    pub(crate) measures: Measures,
    pub(crate) var: Vec<Tilt>,
    pub(crate) es: Vec<Tilt>,
}

impl Differentiable {
    /// P&L that does not vary: what is expected is lost or won.
    pub(crate) fn certain(mean: f64) -> Self {
        let tilts = || vec![Tilt { t: 0.0, counts: [-1.0, 0.0, 0.0, 0.0] }];
        Self { measures: Measures { var: 0.0 - mean, es: 0.0 - mean }, var: tilts(), es: tilts() }
    }
}

/// A distribution that is made of positions.
pub(crate) trait Positions {
    fn cumulants(&self) -> Cumulants;

    /// # Errors
    /// No backend could multiply.
    fn tilted(&self, tilts: &[Tilt]) -> Result<Tilted, RiskError>;

    /// The distribution without an asset: what is held of it and every second derivative by it are 0.
    fn without(&self, asset: usize) -> Cumulants;
}

#[derive(Debug)]
pub(crate) enum Cumulants {
    /// constant + Σ aⱼ·yⱼ + ½·λⱼ·yⱼ² of independent standard normal y: pairs (aⱼ, λⱼ).
    Quadratic { constant: f64, terms: Vec<(f64, f64)> },
    /// Equally likely P&L, and its shape.
    Empirical { pnl: Vec<f64>, shape: Shape4 },
}

impl Cumulants {
    /// Equally likely deviations from their mean, around another one.
    pub(crate) fn empirical(deviations: &[f64], mean: f64) -> Self {
        let count = count_f64(deviations.len());
        let moment = |power: i32| deviations.iter().map(|x| x.powi(power)).sum::<f64>() / count;
        let variance = moment(2);
        let standard = |power: i32| {
            if variance > 0.0 { moment(power) / libm::pow(variance, 0.5 * f64::from(power)) } else { 0.0 }
        };
        let shape = Shape4 {
            mean,
            variance,
            deviation: libm::sqrt(variance * count / (count - 1.0)),
            skewness: standard(3),
            excess_kurtosis: if variance > 0.0 { standard(4) - 3.0 } else { 0.0 },
        };
        Self::Empirical { pnl: deviations.iter().map(|x| x + mean).collect(), shape }
    }

    /// From the first four cumulants: of a quadratic form κ₁ = c + ½Σλ and κₖ = ½·Σ (k − 1)!·λᵏ + k!·a²·λᵏ⁻².
    pub(crate) fn shape(&self) -> Shape4 {
        let (constant, terms) = match self {
            Self::Empirical { shape, .. } => return *shape,
            Self::Quadratic { constant, terms } => (constant, terms),
        };
        let sum = |of: &dyn Fn(f64, f64) -> f64| terms.iter().map(|(a, l)| of(*a, *l)).sum::<f64>();
        let variance = sum(&|a, l| a * a + 0.5 * l * l);
        let third = sum(&|a, l| l * (3.0 * a * a + l * l));
        let fourth = sum(&|a, l| l * l * (12.0 * a * a + 3.0 * l * l));
        let over = |cumulant: f64, power: f64| {
            if variance > 0.0 { cumulant / libm::pow(variance, power) } else { 0.0 }
        };
        Shape4 {
            mean: constant + sum(&|_, l| 0.5 * l),
            variance,
            deviation: libm::sqrt(variance),
            skewness: over(third, 1.5),
            excess_kurtosis: over(fourth, 2.0),
        }
    }

    /// The derivatives of K at t, which lies inside the domain.
    pub(crate) fn at(&self, t: f64) -> Generating {
        match self {
            Self::Quadratic { constant, terms } => {
                let mut sum = Generating { entropy: 0.0, first: *constant, second: 0.0, third: 0.0 };
                for (a, l) in terms {
                    let inverse = 1.0 / (1.0 - l * t);
                    let (tilted, curved) = (a * inverse, l * inverse);
                    let (square, bent) = (tilted * tilted, t * curved);
                    sum.entropy += 0.5 * (square * t * t + bent + libm::log1p(-l * t));
                    sum.first += 0.5 * curved + square * t * (1.0 - 0.5 * l * t);
                    sum.second += 0.5 * curved * curved + square * inverse;
                    sum.third += curved * (curved * curved + 3.0 * square * inverse);
                }
                sum
            }
            Self::Empirical { pnl, .. } => {
                let origin = foremost(pnl, t);
                let (mut all, mut sums) = (0.0, [0.0; 3]);
                for x in pnl {
                    let distance = x - origin;
                    let weight = libm::exp(t * distance);
                    all += weight;
                    sums[0] += weight * distance;
                    sums[1] += weight * distance * distance;
                    sums[2] += weight * distance * distance * distance;
                }
                let [mean, square, cube] = sums.map(|sum| sum / all);
                Generating {
                    entropy: t * mean - libm::log(all / count_f64(pnl.len())),
                    first: origin + mean,
                    second: square - mean * mean,
                    third: cube - 3.0 * mean * square + 2.0 * mean * mean * mean,
                }
            }
        }
    }

    /// The open interval on which K is finite.
    pub(crate) fn domain(&self) -> (f64, f64) {
        let Self::Quadratic { terms, .. } = self else { return (f64::NEG_INFINITY, f64::INFINITY) };
        let (low, high) =
            terms.iter().fold((0.0_f64, 0.0_f64), |(low, high), (_, l)| (low.min(*l), high.max(*l)));
        (1.0 / low.min(-0.0), 1.0 / high)
    }
}

/// The P&L that exp(t·P&L) is largest for: relative to it nothing overflows, and what is far from it counts for nothing.
pub(crate) fn foremost(pnl: &[f64], t: f64) -> f64 {
    let further = |most: f64, x: &f64| if t < 0.0 { most.min(*x) } else { most.max(*x) };
    pnl[1..].iter().fold(pnl[0], further)
}
