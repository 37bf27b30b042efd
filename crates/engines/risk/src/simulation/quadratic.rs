//! P&L that is quadratic in normal returns, and its positions.

use nautilus_hardware::Hardware;
use nautilus_numerics::{product, rank_one_update, symmetric_eigen};
use ndarray::{Array2, ArrayView2};

use super::cumulants::{Cumulants, Positions, Tilt, Tilted};
use super::factor::Factored;
use super::moments::Moments;
use super::refused;
use crate::RiskError;
use crate::measures::ScenarioMatrix;

/// Assets with second derivatives, at most: their eigenvalues take a second.
const ASSETS_MAX: usize = 500;
/// Tilts that are summed up at once.
const TILTS: usize = 128;

/// P&L = e′r + ½·r′Γr of normal returns r = μ + Y·y of independent standard normal y in which Γ is diagonal: with Σ = F·F′ and
/// F′ΓF = Q·Λ·Q′ (Britten-Jones and Schaefer, Non-linear value-at-risk, 1999) Y is F·Q, Y′ΓY = Λ, and P&L is
/// c + Σ aⱼ·yⱼ + ½·λⱼ·yⱼ² with a = Y′(e + Γμ).
///
/// The size x of a position is 1. It scales what is held of the asset and its second derivative, eᵢ·xᵢ and Γᵢᵢ·xᵢ; a mixed
/// second derivative is Γᵢⱼ·√(xᵢxⱼ). So P&L of all sizes together scales as one, half of each mixed term is each position's
/// at the margin, and at size 0 nothing is left that moves with the asset.
pub(crate) struct Quadratic<'a> {
    hardware: &'a Hardware,
    moments: &'a Moments<'a>,
    gamma: Array2<f64>,
    /// Γμ.
    bent: Vec<f64>,
    /// Y, assets × rank, and ΓY.
    loadings: Array2<f64>,
    curved: Array2<f64>,
    constant: f64,
    /// Pairs (aⱼ, λⱼ).
    terms: Vec<(f64, f64)>,
}

impl<'a> Quadratic<'a> {
    /// # Errors
    /// Γ is not of the assets, or too large to decompose.
    pub(crate) fn of(
        hardware: &'a Hardware,
        moments: &'a Moments<'a>,
        gamma: &ScenarioMatrix,
    ) -> Result<Self, RiskError> {
        let assets = moments.assets();
        let gamma = square(gamma, assets)?;
        if assets > ASSETS_MAX {
            let reason =
                format!("{assets} assets are more than {ASSETS_MAX}: use monte_carlo, or fewer assets");
            return Err(RiskError::new("too_large", "gamma", reason));
        }
        let factored = Factored::of(hardware, &moments.covariance, moments.field)?;
        let rank = factored.rank();
        let mut factor = Array2::zeros((assets, rank));
        for (asset, row) in factored.order.iter().zip(factored.rows.chunks_exact(rank.max(1))) {
            factor.row_mut(*asset).iter_mut().zip(row).for_each(|(to, from)| *to = *from);
        }
        let of = |error| refused("gamma", &error);
        let across = product(hardware, &gamma, &factor).map_err(of)?;
        let inner = product(hardware, &factor.t(), &across).map_err(of)?;
        let (values, vectors) = symmetric_eigen(&inner).map_err(of)?;
        let loadings = product(hardware, &factor, &vectors.t()).map_err(of)?;
        let curved = product(hardware, &across, &vectors.t()).map_err(of)?;
        let bent: Vec<f64> = gamma.rows().into_iter().map(|row| sum(row, &moments.mean)).collect();
        let mut slopes = vec![0.0; rank];
        for ((row, exposure), bent) in loadings.rows().into_iter().zip(&moments.exposures).zip(&bent) {
            slopes.iter_mut().zip(row).for_each(|(slope, y)| *slope += y * (exposure + bent));
        }
        let constant = moments.mean_pnl() + 0.5 * sum(&bent, &moments.mean);
        let terms = slopes.into_iter().zip(values).collect();
        Ok(Self { hardware, moments, gamma, bent, loadings, curved, constant, terms })
    }
}

impl Positions for Quadratic<'_> {
    fn cumulants(&self) -> Cumulants {
        Cumulants::Quadratic { constant: self.constant, terms: self.terms.clone() }
    }

    /// Under the tilt, y is normal with means q = t·a/ℓ and variances v = 1/ℓ, ℓ = 1 − λt. With r = μ + Y·q and Γr = Γμ + ΓY·q
    /// at the means, the share of position i is eᵢrᵢ + ½·rᵢ(Γr)ᵢ + ½·Σⱼ Yᵢⱼ(ΓY)ᵢⱼ·vⱼ: linear in q, in products of two q, and in v.
    fn tilted(&self, tilts: &[Tilt]) -> Result<Tilted, RiskError> {
        let rank = self.terms.len();
        let (mut means, mut variances, mut all) = (vec![0.0; rank], vec![0.0; rank], 0.0);
        let mut products = Array2::zeros((rank, rank));
        for tilts in tilts.chunks(TILTS) {
            let mut columns = Array2::zeros((rank, 4 * tilts.len()));
            let mut counted = columns.clone();
            for (at, Tilt { t, counts: [a, b, c, d] }) in tilts.iter().enumerate() {
                all += a;
                for (j, (slope, l)) in self.terms.iter().enumerate() {
                    let v = 1.0 / (1.0 - l * t);
                    let (v1, v2, v3) = (l * v * v, 2.0 * l * l * v * v * v, 6.0 * l * l * l * v * v * v * v);
                    variances[j] += a * v + b * v1 + c * v2 + d * v3;
                    let (q, q1, q2) = (slope * t * v, slope * v * v, 2.0 * slope * l * v * v * v);
                    let q3 = 3.0 * q2 * l * v;
                    let mean = a * q + b * q1 + c * q2 + d * q3;
                    means[j] += mean;
                    // Leibniz's rule for the derivatives of q·q′.
                    let row = [mean, b * q + 2.0 * c * q1 + 3.0 * d * q2, c * q + 3.0 * d * q1, d * q];
                    for (k, (q, counts)) in [q, q1, q2, q3].into_iter().zip(row).enumerate() {
                        columns[[j, 4 * at + k]] = q;
                        counted[[j, 4 * at + k]] = counts;
                    }
                }
            }
            products += &product(self.hardware, &counted, &columns.t()).map_err(|e| refused("gamma", &e))?;
        }
        let products = product(self.hardware, &self.loadings, &products);
        let products = products.map_err(|error| refused("gamma", &error))?;
        let Moments { exposures, mean, .. } = self.moments;
        let mut tilted = Tilted { pnl: Vec::new(), returns: Vec::new() };
        for (i, (y, z)) in self.loadings.rows().into_iter().zip(self.curved.rows()).enumerate() {
            let (along, curved) = (sum(y, &means), sum(z, &means));
            let spread: f64 = y.iter().zip(z).zip(&variances).map(|((y, z), v)| y * z * v).sum();
            let own = mean[i] * (self.bent[i] * all + curved) + self.bent[i] * along;
            let returns = mean[i] * all + along;
            tilted.pnl.push(exposures[i] * returns + 0.5 * (own + sum(products.row(i), z) + spread));
            tilted.returns.push(returns);
        }
        Ok(tilted)
    }

    /// Without row and column i of Γ, Λ becomes Λ − y·h′ − h·y′ with y and z the rows of Y and ΓY and h = z − ½·Γᵢᵢ·y: two updates
    /// of rank one.
    fn without(&self, asset: usize) -> Cumulants {
        let (y, z) = (self.loadings.row(asset), self.curved.row(asset));
        let (own, mean) = (self.gamma[[asset, asset]], self.moments.mean[asset]);
        let held = self.moments.exposures[asset] + self.bent[asset];
        let left = self.terms.iter().zip(y).zip(z);
        let mut slopes: Vec<f64> =
            left.map(|(((slope, _), y), z)| slope - y * (held - mean * own) - mean * z).collect();
        let mut values: Vec<f64> = self.terms.iter().map(|(_, value)| *value).collect();
        let h: Vec<f64> = z.iter().zip(y).map(|(z, y)| z - 0.5 * own * y).collect();
        let scale = libm::sqrt(libm::sqrt(sum(&h, &h) / sum(y, y)));
        if scale > 0.0 && scale.is_finite() {
            // 2(y·h′ + h·y′) = p·p′ − m·m′, with both parts of y and h equally long.
            let p: Vec<f64> = y.iter().zip(&h).map(|(y, h)| scale * y + h / scale).collect();
            let mut m: Vec<f64> = y.iter().zip(&h).map(|(y, h)| scale * y - h / scale).collect();
            rank_one_update(&mut values, -0.5, &p, &mut [&mut slopes, &mut m]);
            rank_one_update(&mut values, 0.5, &m, &mut [&mut slopes]);
        }
        let constant = self.constant - mean * held + 0.5 * own * mean * mean;
        Cumulants::Quadratic { constant, terms: slopes.into_iter().zip(values).collect() }
    }
}

fn sum<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    a.into_iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Γ as a symmetric matrix: one row is its diagonal.
///
/// # Errors
/// It is not of the assets, or not finite.
pub(crate) fn square(gamma: &ScenarioMatrix, assets: usize) -> Result<Array2<f64>, RiskError> {
    let (rows, columns) = (gamma.rows(), gamma.columns());
    if columns != assets || (rows != 1 && rows != assets) {
        let reason =
            format!("{rows}×{columns} numbers for {assets} assets: send one row of them, or a square");
        return Err(RiskError::new("unequal_lengths", "gamma", reason));
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
