//! Distributions of P&L that are known by their cumulant generating function: quadratic forms of normal returns, and the
//! past itself.

use nautilus_hardware::Hardware;
use nautilus_numerics::{product, symmetric_eigen};
use ndarray::{Array2, ArrayView2};

use super::factor::Factored;
use super::moments::Moments;
use super::refused;
use crate::RiskError;
use crate::measures::ScenarioMatrix;
use crate::measures::tail::count_f64;

/// Assets with second derivatives, at most: their eigenvalues take a second.
const ASSETS_MAX: usize = 500;

/// The generating function K(t) = ln E exp(t·P&L) and its first two derivatives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generating {
    pub(crate) value: f64,
    pub(crate) first: f64,
    pub(crate) second: f64,
}

/// Mean, standard deviation, skewness and excess kurtosis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape4 {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    pub(crate) skewness: f64,
    pub(crate) excess_kurtosis: f64,
}

#[derive(Debug)]
pub(crate) enum Cumulants {
    /// constant + Σ aⱼ·yⱼ + ½·λⱼ·yⱼ² of independent standard normal y: pairs (aⱼ, λⱼ).
    Quadratic { constant: f64, terms: Vec<(f64, f64)> },
    /// Equally likely P&L, and its shape.
    Empirical { pnl: Vec<f64>, shape: Shape4 },
}

impl Cumulants {
    /// P&L = e′r + ½·r′Γr of normal returns r: with Σ = F·F′ and F′ΓF = Q·Λ·Q′ the sum of independent terms with
    /// a = Q′F′(e + Γμ) (Britten-Jones and Schaefer 1999).
    ///
    /// # Errors
    /// Γ is not of the assets, or too large to decompose.
    pub(crate) fn quadratic(
        hardware: &Hardware,
        moments: &Moments<'_>,
        gamma: &ScenarioMatrix,
    ) -> Result<Self, RiskError> {
        let gamma = square(gamma, moments.assets())?;
        let factored = Factored::of(hardware, &moments.covariance, moments.field)?;
        let rank = factored.rank();
        let mut factor = Array2::zeros((moments.assets(), rank));
        for (asset, row) in factored.order.iter().zip(factored.rows.chunks_exact(rank.max(1))) {
            factor.row_mut(*asset).iter_mut().zip(row).for_each(|(to, from)| *to = *from);
        }
        let of = |error| refused("gamma", &error);
        let across = product(hardware, &gamma, &factor).map_err(of)?;
        let inner = product(hardware, &factor.t(), &across).map_err(of)?;
        let (values, vectors) = symmetric_eigen(&inner).map_err(of)?;
        let curved = |row: ndarray::ArrayView1<'_, f64>| {
            row.iter().zip(&moments.mean).map(|(element, mean)| element * mean).sum::<f64>()
        };
        let curvature: Vec<f64> = gamma.rows().into_iter().map(curved).collect();
        let slopes = moments.exposures.iter().zip(&curvature).map(|(exposure, curved)| exposure + curved);
        let slopes = Array2::from_shape_vec((moments.assets(), 1), slopes.collect());
        let slopes = slopes.map_err(|error| RiskError::new("ragged", "gamma", error.to_string()))?;
        let turned =
            product(hardware, &vectors, &product(hardware, &factor.t(), &slopes).map_err(of)?).map_err(of)?;
        let constant = moments.mean_pnl()
            + 0.5 * curvature.iter().zip(&moments.mean).map(|(curved, mean)| curved * mean).sum::<f64>();
        Ok(Self::Quadratic { constant, terms: turned.iter().copied().zip(values).collect() })
    }

    /// P&L of the past, its deviations from the mean times √days around the mean that the question asks for.
    pub(crate) fn empirical(moments: &Moments<'_>) -> Self {
        let rows = moments.returns.rows().into_iter();
        let total = |row: ndarray::ArrayView1<'_, f64>| {
            row.iter().zip(&moments.exposures).map(|(value, exposure)| value * exposure).sum::<f64>()
        };
        let daily: Vec<f64> = rows.map(total).collect();
        let count = count_f64(daily.len());
        let average = daily.iter().sum::<f64>() / count;
        let mean = moments.mean_pnl();
        let deviations: Vec<f64> = daily.iter().map(|pnl| moments.scale * (pnl - average)).collect();
        let moment = |power: i32| deviations.iter().map(|x| x.powi(power)).sum::<f64>() / count;
        let variance = moment(2);
        let standard = |power: i32| {
            if variance > 0.0 { moment(power) / libm::pow(variance, 0.5 * f64::from(power)) } else { 0.0 }
        };
        let shape = Shape4 {
            mean,
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
            deviation: libm::sqrt(variance),
            skewness: over(third, 1.5),
            excess_kurtosis: over(fourth, 2.0),
        }
    }

    /// K and its derivatives at t, which lies inside the domain.
    pub(crate) fn at(&self, t: f64) -> Generating {
        match self {
            Self::Quadratic { constant, terms } => {
                let mut sum = Generating { value: constant * t, first: *constant, second: 0.0 };
                for (a, l) in terms {
                    let left = 1.0 - l * t;
                    sum.value += 0.5 * (a * a * t * t / left - libm::log1p(-l * t));
                    sum.first += 0.5 * l / left + a * a * t * (1.0 - 0.5 * l * t) / (left * left);
                    sum.second += 0.5 * l * l / (left * left) + a * a / (left * left * left);
                }
                sum
            }
            Self::Empirical { pnl, .. } => {
                // Relative to the largest term, so that nothing overflows.
                let largest = pnl.iter().fold(f64::NEG_INFINITY, |most, x| most.max(t * x));
                let (mut all, mut mean, mut square) = (0.0, 0.0, 0.0);
                for x in pnl {
                    let weight = libm::exp(t * x - largest);
                    all += weight;
                    mean += weight * x;
                    square += weight * x * x;
                }
                let first = mean / all;
                let second = square / all - first * first;
                Generating { value: largest + libm::log(all / count_f64(pnl.len())), first, second }
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

/// Γ as a symmetric matrix: one row is its diagonal.
fn square(gamma: &ScenarioMatrix, assets: usize) -> Result<Array2<f64>, RiskError> {
    let (rows, columns) = (gamma.rows(), gamma.columns());
    if columns != assets || (rows != 1 && rows != assets) {
        let reason =
            format!("{rows}×{columns} numbers for {assets} assets: send one row of them, or a square");
        return Err(RiskError::new("unequal_lengths", "gamma", reason));
    }
    if assets > ASSETS_MAX {
        let reason = format!("{assets} assets are more than {ASSETS_MAX}: use monte_carlo, or fewer assets");
        return Err(RiskError::new("too_large", "gamma", reason));
    }
    if let Some(at) = gamma.values().iter().position(|value| !value.is_finite()) {
        let field = format!("gamma[{}][{}]", at / columns, at % columns);
        return Err(crate::measures::check::not_finite(field, gamma.values()[at]));
    }
    if rows == 1 && assets > 1 {
        return Ok(Array2::from_diag(&ndarray::aview1(gamma.values())));
    }
    let full = ArrayView2::from_shape((rows, columns), gamma.values());
    let full = full.map_err(|error| RiskError::new("ragged", "gamma", error.to_string()))?;
    // The form is that of its symmetric part.
    Ok(0.5 * (&full + &full.t()))
}
