//! What closed forms and simulations know of returns: means, covariance, and what is held of each.

use nautilus_hardware::Hardware;
use nautilus_numerics::covariance;
use ndarray::{Array1, Array2, ArrayView2};

use super::refused;
use crate::RiskError;
use crate::measures::check::{Source, not_finite};
use crate::measures::{HorizonRule, VarRequest};

/// Returns over the horizon, and exposures to them.
#[derive(Debug, Clone)]
pub(crate) struct Moments<'a> {
    /// Daily returns, scenarios × assets; P&L of the whole is one asset of which one is held.
    pub(crate) returns: ArrayView2<'a, f64>,
    pub(crate) exposures: Vec<f64>,
    /// Of the horizon's returns: the sample mean times its days, or zeros where the question leaves it out.
    pub(crate) mean: Array1<f64>,
    /// Of the horizon's returns: the sample covariance (ddof = 1) times its days.
    pub(crate) covariance: Array2<f64>,
    /// √days.
    pub(crate) scale: f64,
    /// Whether positions are known.
    pub(crate) per_asset: bool,
    /// The field that returns stand in.
    pub(crate) field: &'static str,
}

/// Assets, at most: a covariance of 128 MiB.
const ASSETS_MAX: usize = 4_096;

impl<'a> Moments<'a> {
    /// # Errors
    /// A return is not finite, there are too many assets, or the horizon is made of overlapping scenarios.
    pub(crate) fn of(
        hardware: &Hardware,
        request: &VarRequest,
        source: &Source<'a>,
    ) -> Result<Self, RiskError> {
        if request.horizon_rule == HorizonRule::Overlapping {
            let reason =
                "only scenarios of the past overlap: send sqrt_time, which multiplies mean and covariance";
            return Err(RiskError::new("not_supported", "horizon_rule", reason));
        }
        let field = source.field();
        let (values, columns, exposures) = match *source {
            Source::Returns { returns, exposures } => {
                (returns.values(), returns.columns(), exposures.to_vec())
            }
            Source::Pnl(pnl) => (pnl, 1, vec![1.0]),
        };
        if columns > ASSETS_MAX {
            let reason =
                format!("{columns} assets are more than the {ASSETS_MAX} that a covariance may have here");
            return Err(RiskError::new("too_large", field, reason));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(not_finite(format!("{field}[{}][{}]", at / columns, at % columns), values[at]));
        }
        let shaped = ArrayView2::from_shape((values.len() / columns, columns), values);
        let returns = shaped.map_err(|error| RiskError::new("ragged", field, error.to_string()))?;
        let mut covariance = covariance(hardware, &returns, 1).map_err(|error| refused(field, &error))?;
        covariance *= request.horizon_days;
        let mean = if request.include_mean {
            returns.mean_axis(ndarray::Axis(0)).unwrap_or_default() * request.horizon_days
        } else {
            Array1::zeros(columns)
        };
        if !covariance.iter().chain(&mean).all(|value| value.is_finite()) {
            return Err(crate::measures::check::overflow(field));
        }
        let per_asset = matches!(source, Source::Returns { .. });
        let scale = libm::sqrt(request.horizon_days);
        Ok(Self { returns, exposures, mean, covariance, scale, per_asset, field })
    }

    pub(crate) fn assets(&self) -> usize {
        self.exposures.len()
    }

    /// Σ·e, by rows in order.
    pub(crate) fn covariance_with(&self, exposures: &[f64]) -> Vec<f64> {
        let rows = self.covariance.rows();
        rows.into_iter().map(|row| row.iter().zip(exposures).map(|(a, b)| a * b).sum()).collect()
    }

    /// The expected P&L over the horizon.
    pub(crate) fn mean_pnl(&self) -> f64 {
        self.mean.iter().zip(&self.exposures).map(|(mean, exposure)| mean * exposure).sum()
    }
}
