//! Second derivatives of P&L on drawn paths: what is bent there, and whose it is.

use nautilus_hardware::{Error, Hardware, Matrix, MatrixMut};

use super::paths::{Block, Paths};
use super::quadratic::square;
use crate::RiskError;
use crate::measures::ScenarioMatrix;

/// Γ, assets in the factor's order. Of two assets' mixed derivative each position has half; without a position all of it is gone.
#[derive(Debug)]
pub(crate) enum Curvature {
    Diagonal(Vec<f64>),
    /// Assets × assets, row by row.
    Full(Vec<f64>),
}

impl Curvature {
    /// # Errors
    /// Γ is not of the assets, or not finite.
    pub(crate) fn of(gamma: &ScenarioMatrix, order: &[usize]) -> Result<Self, RiskError> {
        let square = square(gamma, order.len())?;
        if gamma.rows() == 1 {
            return Ok(Self::Diagonal(order.iter().map(|asset| square[[*asset, *asset]]).collect()));
        }
        let rows = order.iter().flat_map(|i| order.iter().map(|j| square[[*i, *j]]));
        Ok(Self::Full(rows.collect()))
    }

    /// Γr of `width` paths, one asset after the other.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn bent(
        &self,
        hardware: &Hardware,
        returns: &[f64],
        width: usize,
    ) -> Result<Vec<f64>, RiskError> {
        let assets = returns.len() / width;
        match self {
            Self::Diagonal(own) => {
                let rows = returns.chunks_exact(width).zip(own);
                Ok(rows.flat_map(|(row, own)| row.iter().map(move |value| own * value)).collect())
            }
            Self::Full(rows) => {
                let mut bent = vec![0.0; returns.len()];
                let multiplied =
                    Matrix::row_major(rows, assets, assets).map_err(Error::from).and_then(|gamma| {
                        let returns = Matrix::row_major(returns, assets, width)?;
                        let to = MatrixMut::row_major(&mut bent, assets, width)?;
                        hardware.gemm(1.0, gamma, returns, 0.0, to)
                    });
                multiplied.map_err(|error| RiskError::new("hardware", "gamma", error.to_string()))?;
                Ok(bent)
            }
        }
    }

    /// Adds ½·r′Γr to the P&L of the block's first `width` paths, and answers what of it moves with each asset:
    /// eᵢrᵢ + rᵢ(Γr)ᵢ − ½·Γᵢᵢrᵢ².
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn add(
        &self,
        paths: &Paths<'_>,
        block: &mut Block,
        width: usize,
    ) -> Result<Vec<f64>, RiskError> {
        let Block { returns, pnl, .. } = block;
        let returns = &returns[..paths.assets() * width];
        let mut moving = self.bent(paths.hardware, returns, width)?;
        let rows = moving.chunks_exact_mut(width).zip(returns.chunks_exact(width)).enumerate();
        for (asset, (moving, returns)) in rows {
            let (held, own) = (paths.exposures[asset], 0.5 * self.own(asset));
            for ((moving, value), pnl) in moving.iter_mut().zip(returns).zip(pnl.iter_mut()) {
                let bent = *moving * value;
                *pnl += 0.5 * bent;
                *moving = held * value + bent - own * value * value;
            }
        }
        Ok(moving)
    }

    fn own(&self, asset: usize) -> f64 {
        match self {
            Self::Diagonal(own) => own[asset],
            Self::Full(rows) => rows[asset * (rows.len().isqrt() + 1)],
        }
    }
}
