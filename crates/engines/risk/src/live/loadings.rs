//! What a factor model says of each instrument: its loadings on uncorrelated factors of variance 1, and the variance that
//! is its own. It decides how they are found; it knows no portfolios.

use nautilus_hardware::Hardware;
use nautilus_numerics::{MatrixError, cholesky, principal_components, product};
use ndarray::{Array2, ArrayRef1, ArrayRef2, ArrayView1};
use serde::{Deserialize, Serialize};

use super::aligned::Aligned;
use super::{INSTRUMENTS_MAX, RETURN_MAX, RETURNS_MAX, Scenarios, too_many};
use crate::RiskError;

/// Loadings of an instrument begin on a cache line, and on a whole number of sums of the kernel.
const LOADINGS: usize = 16;

/// The covariance of returns as H·Hᵀ + diag(d): row i of H, N×k, holds the loadings of instrument i on factors that are
/// uncorrelated and of variance 1, dᵢ is its specific variance. Both are per period of the returns that they are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Content", into = "Content")]
pub struct Loadings {
    factors: usize,
    /// From one instrument to the next; what is behind the last factor is 0.
    stride: usize,
    rows: Aligned,
    specific: Vec<f64>,
    covered: Vec<bool>,
    /// Instruments without loadings, ascending.
    uncovered: Vec<usize>,
}

/// What follows from nothing else.
#[derive(Serialize, Deserialize)]
struct Content {
    factors: usize,
    rows: Aligned,
    specific: Vec<f64>,
    covered: Vec<bool>,
}

impl Loadings {
    /// Of a model B·F·Bᵀ + diag(d) with exposures B, N×k, the factors' covariance F, k×k, and specific variances d: H =
    /// B·L with L·Lᵀ = F.
    ///
    /// # Errors
    /// The shapes do not belong together, F is not positive definite, a specific variance is negative, or a number is not
    /// finite or too large.
    pub fn new(
        hardware: &Hardware,
        exposures: &ArrayRef2<f64>,
        factor_covariance: &ArrayRef2<f64>,
        specific: &[f64],
    ) -> Result<Self, RiskError> {
        if exposures.nrows() != specific.len() {
            let (rows, variances) = (exposures.nrows(), specific.len());
            let reason = format!("{variances} variances for {rows} rows of exposures: give one for each");
            return Err(RiskError::new("count", "specific", reason));
        }
        finite("factor_covariance", factor_covariance)?;
        finite("exposures", exposures)?;
        let root =
            cholesky(hardware, factor_covariance).map_err(|error| refused("factor_covariance", &error))?;
        let rows = product(hardware, exposures, &root).map_err(|error| refused("exposures", &error))?;
        Self::of(&rows, specific.to_vec())
    }

    /// The statistical model of T returns of N instruments, one row per period: the `factors` leading principal components
    /// of their sample covariance, and what each instrument's variance has beside them as its own. There are fewer factors
    /// where the returns have a smaller rank.
    ///
    /// # Errors
    /// There are fewer than two periods, or a return is not finite or too large.
    pub fn principal(
        hardware: &Hardware,
        returns: &ArrayRef2<f64>,
        factors: usize,
    ) -> Result<Self, RiskError> {
        let found =
            principal_components(hardware, returns, factors).map_err(|error| refused("returns", &error))?;
        let mut rows = found.loadings.t().to_owned();
        for (mut column, variance) in rows.columns_mut().into_iter().zip(&found.variances) {
            column *= variance.sqrt();
        }
        let own = |(column, row): (ArrayView1<'_, f64>, ArrayView1<'_, f64>)| {
            let common: f64 = row.iter().map(|loading| loading * loading).sum();
            // A component that explains all may explain a rounding more.
            (variance(&column) - common).max(0.0)
        };
        let specific = returns.columns().into_iter().zip(rows.rows()).map(own).collect();
        Self::of(&rows, specific)
    }

    /// [`Loadings::principal`] of the instruments that these scenarios cover; the others are uncovered.
    ///
    /// # Errors
    /// As there.
    pub fn of_scenarios(
        hardware: &Hardware,
        scenarios: &Scenarios,
        factors: usize,
    ) -> Result<Self, RiskError> {
        let all = 0..scenarios.instruments();
        let columns: Vec<&[f64]> = all.clone().filter_map(|i| scenarios.returns(i)).collect();
        let mut returns = Array2::zeros((scenarios.len(), columns.len()));
        for (mut to, from) in returns.columns_mut().into_iter().zip(&columns) {
            to.iter_mut().zip(*from).for_each(|(to, from)| *to = *from);
        }
        let mut next = 0..;
        let places: Vec<Option<usize>> =
            all.map(|i| scenarios.returns(i).and_then(|_| next.next())).collect();
        Self::principal(hardware, &returns, factors)?.for_instruments(&places)
    }

    /// The same model for other instruments: each takes the row that is given for it, and is uncovered by none.
    ///
    /// # Errors
    /// A row is not there, or there are too many instruments.
    pub fn for_instruments(&self, rows: &[Option<usize>]) -> Result<Self, RiskError> {
        let mut loadings = Self::empty(self.factors, rows.len())?;
        for (instrument, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let Some(from) = self.row(*row) else {
                return Err(super::unknown("rows", *row, self.covered.len()));
            };
            loadings.row_mut(instrument).copy_from_slice(from);
            loadings.specific[instrument] = self.specific[*row];
            loadings.covered[instrument] = true;
        }
        loadings.find_uncovered();
        Ok(loadings)
    }

    /// Instruments, covered or not.
    #[must_use]
    pub const fn instruments(&self) -> usize {
        self.covered.len()
    }

    /// Factors.
    #[must_use]
    pub const fn factors(&self) -> usize {
        self.factors
    }

    /// The loadings of an instrument, one for each factor; none if it is uncovered or unknown.
    #[must_use]
    pub fn loadings(&self, instrument: usize) -> Option<&[f64]> {
        self.row(instrument).map(|row| &row[..self.factors])
    }

    /// The variance of an instrument that no factor has; none if it is uncovered or unknown.
    #[must_use]
    pub fn specific(&self, instrument: usize) -> Option<f64> {
        self.covered.get(instrument)?.then(|| self.specific[instrument])
    }

    /// The standard deviation of an instrument's return; none if it is uncovered or unknown.
    #[must_use]
    pub fn deviation(&self, instrument: usize) -> Option<f64> {
        let common: f64 = self.loadings(instrument)?.iter().map(|loading| loading * loading).sum();
        Some((common + self.specific(instrument)?).sqrt())
    }

    pub(super) const fn stride(&self) -> usize {
        self.stride
    }

    /// All rows, with what is behind the last factor.
    pub(super) fn rows(&self) -> &[f64] {
        &self.rows
    }

    /// Loadings, followed by zeros.
    #[inline]
    pub(super) fn row(&self, instrument: usize) -> Option<&[f64]> {
        let from = instrument * self.stride;
        self.covered.get(instrument)?.then(|| &self.rows[from..from + self.stride])
    }

    /// Instruments without loadings, ascending.
    pub(super) fn uncovered(&self) -> impl Iterator<Item = usize> {
        self.uncovered.iter().copied()
    }

    fn find_uncovered(&mut self) {
        let all = self.covered.iter().enumerate();
        self.uncovered = all.filter(|(_, covered)| !**covered).map(|(instrument, _)| instrument).collect();
    }

    /// One more instrument, uncovered.
    pub(super) fn add_instrument(&mut self) -> Result<(), RiskError> {
        let count = self.covered.len() + 1;
        if count > INSTRUMENTS_MAX {
            return Err(too_many("instruments", INSTRUMENTS_MAX));
        }
        self.rows.grow(count * self.stride);
        self.specific.push(0.0);
        self.uncovered.push(self.covered.len());
        self.covered.push(false);
        Ok(())
    }

    pub(crate) fn empty(factors: usize, instruments: usize) -> Result<Self, RiskError> {
        let stride = factors.next_multiple_of(LOADINGS);
        if instruments > INSTRUMENTS_MAX {
            return Err(too_many("instruments", INSTRUMENTS_MAX));
        }
        if instruments.saturating_mul(stride) > RETURNS_MAX {
            return Err(too_many("loadings", RETURNS_MAX));
        }
        Ok(Self {
            factors,
            stride,
            rows: Aligned::zeros(instruments * stride),
            specific: vec![0.0; instruments],
            covered: vec![false; instruments],
            uncovered: (0..instruments).collect(),
        })
    }

    fn of(rows: &ArrayRef2<f64>, specific: Vec<f64>) -> Result<Self, RiskError> {
        finite("loadings", rows)?;
        let mut loadings = Self::empty(rows.ncols(), rows.nrows())?;
        for (instrument, row) in rows.rows().into_iter().enumerate() {
            loadings.row_mut(instrument).iter_mut().zip(row).for_each(|(to, from)| *to = *from);
        }
        if let Some(at) = specific.iter().position(|variance| !is_variance(*variance)) {
            let reason = format!("{} is not a variance: give 0 or more", specific[at]);
            return Err(RiskError::new("variance", format!("specific[{at}]"), reason));
        }
        (loadings.specific, loadings.covered) = (specific, vec![true; rows.nrows()]);
        loadings.uncovered.clear();
        Ok(loadings)
    }

    fn row_mut(&mut self, instrument: usize) -> &mut [f64] {
        let from = instrument * self.stride;
        &mut self.rows[from..from + self.stride]
    }
}

fn is_variance(variance: f64) -> bool {
    (0.0..=RETURN_MAX * RETURN_MAX).contains(&variance)
}

/// The sample variance about the mean, with n − 1, in two passes.
#[allow(clippy::cast_precision_loss)]
fn variance(returns: &ArrayRef1<f64>) -> f64 {
    let n = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / n;
    returns.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0)
}

fn finite(field: &str, matrix: &ArrayRef2<f64>) -> Result<(), RiskError> {
    match matrix.indexed_iter().find(|(_, value)| value.is_nan() || value.abs() > RETURN_MAX) {
        None => Ok(()),
        Some(((row, column), value)) => {
            let reason = format!("{value} is not a number up to {RETURN_MAX}: correct it");
            Err(RiskError::new("number", format!("{field}[{row}][{column}]"), reason))
        }
    }
}

fn refused(field: &str, error: &MatrixError) -> RiskError {
    RiskError::new("matrix", field, error.to_string())
}

impl From<Loadings> for Content {
    fn from(loadings: Loadings) -> Self {
        let Loadings { factors, rows, specific, covered, .. } = loadings;
        Self { factors, rows, specific, covered }
    }
}

impl TryFrom<Content> for Loadings {
    type Error = RiskError;

    fn try_from(content: Content) -> Result<Self, RiskError> {
        let Content { factors, rows, specific, covered } = content;
        let empty = Self::empty(factors.min(RETURNS_MAX), covered.len())?;
        let legal = factors == empty.factors
            && rows.len() == empty.rows.len()
            && rows.iter().all(|loading| loading.abs() <= RETURN_MAX)
            && specific.len() == covered.len()
            && specific.iter().all(|variance| is_variance(*variance));
        if !legal {
            return Err(RiskError::new("snapshot", "loadings", "the parts do not belong together"));
        }
        let mut loadings = Self { rows, specific, covered, ..empty };
        loadings.find_uncovered();
        Ok(loadings)
    }
}
