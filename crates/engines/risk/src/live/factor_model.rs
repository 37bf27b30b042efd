//! Parametric VaR by a factor model, kept up to date change by change: the exposure of every portfolio to each factor.
//!
//! It decides what a change of value does to the variance of the portfolio's P&L. It knows no prices and no positions.

use nautilus_hardware::vector::add_scaled_squaring;
use nautilus_hardware::{Hardware, Matrix, MatrixMut};
use nautilus_numerics::normal_quantile;
use serde::{Deserialize, Serialize};

use super::aligned::Aligned;
use super::{
    CHANGES_MAX, Change, Loadings, PORTFOLIOS_MAX, Uncovered, checked_confidence, checked_value, too_many,
    unknown,
};
use crate::RiskError;

/// VaR and ES of a portfolio whose P&L is normal with mean 0, in its currency, losses positive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GaussianRisk {
    /// The standard deviation σ of the P&L over the horizon.
    pub sigma: f64,
    /// Value at risk: σ · Φ⁻¹(confidence).
    pub var: f64,
    /// Expected shortfall: σ · φ(Φ⁻¹(confidence)) / (1 − confidence) (McNeil, Frey, Embrechts 2015, example 2.14).
    pub es: f64,
    /// What is held and not in them.
    pub uncovered: Uncovered,
}

/// Room that what-ifs use again. It is no state: any one serves any model.
#[derive(Debug, Default)]
pub struct FactorScratch {
    exposures: Aligned,
    changes: Vec<(usize, f64)>,
}

/// Portfolios over the same [`Loadings`].
///
/// Kept of a portfolio with values v are its exposures x = Σ vᵢ·hᵢ and its specific variance s = Σ vᵢ²·dᵢ. A change of
/// value makes x ← x + Δ·h, and in the same pass |x|² is summed anew, so that the variance |x|² + s follows from x and
/// cannot drift away from it; x and s are taken anew from the values after a number of updates. Between two rebuilds
/// each exposure drifts by at most 2⁻⁵³ · Σ(|exposure after the update| + 2·|change · loading|) over the updates, and s by
/// as much of its own terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Content")]
pub struct FactorModel {
    loadings: Loadings,
    rebuild_every: u32,
    portfolios: Vec<Portfolio>,
}

#[derive(Deserialize)]
struct Content {
    loadings: Loadings,
    rebuild_every: u32,
    portfolios: Vec<Portfolio>,
}

/// What is kept of one portfolio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Portfolio {
    /// By instrument.
    values: Vec<f64>,
    /// By factor, as long as a row of loadings.
    exposures: Aligned,
    /// |exposures|², and the specific variance.
    common: f64,
    specific: f64,
    /// Since the last rebuild.
    updates: u32,
}

impl Portfolio {
    fn new(loadings: &Loadings) -> Self {
        Self {
            values: vec![0.0; loadings.instruments()],
            exposures: Aligned::zeros(loadings.stride()),
            common: 0.0,
            specific: 0.0,
            updates: 0,
        }
    }

    /// Takes the value of an instrument from `old` to `new`, `change` more.
    #[inline]
    fn shift(&mut self, loadings: &Loadings, instrument: usize, (old, new, change): (f64, f64, f64)) {
        if let Some((row, own)) = loadings.row(instrument).zip(loadings.specific(instrument)) {
            self.common = add_scaled_squaring(&mut self.exposures, row, change);
            self.specific += own * (change * (old + new));
        }
    }

    fn rebuild(&mut self, loadings: &Loadings) {
        self.exposures.fill(0.0);
        (self.common, self.specific, self.updates) = (0.0, 0.0, 0);
        for instrument in 0..self.values.len() {
            let value = self.values[instrument];
            if value != 0.0 {
                self.shift(loadings, instrument, (0.0, value, value));
            }
        }
    }

    /// The variance of the P&L of one period. What is left of specific variances may be a rounding below 0.
    #[inline]
    fn variance(&self) -> f64 {
        self.common + self.specific.max(0.0)
    }
}

impl FactorModel {
    /// A model of as many instruments as the loadings have, without portfolios. Each portfolio is rebuilt with its update
    /// number `rebuild_every`, which costs an update for each position; never by itself if that is 0.
    #[must_use]
    pub const fn new(loadings: Loadings, rebuild_every: u32) -> Self {
        Self { loadings, rebuild_every, portfolios: Vec::new() }
    }

    /// The model of the instruments.
    #[must_use]
    pub const fn loadings(&self) -> &Loadings {
        &self.loadings
    }

    /// Another model of the same instruments; all portfolios are rebuilt.
    ///
    /// # Errors
    /// It is of another number of instruments.
    pub fn replace(&mut self, loadings: Loadings) -> Result<(), RiskError> {
        let (given, known) = (loadings.instruments(), self.loadings.instruments());
        if given != known {
            let reason = format!("they are of {given} instruments, not of {known}: give rows for each");
            return Err(RiskError::new("count", "loadings", reason));
        }
        self.loadings = loadings;
        for portfolio in &mut self.portfolios {
            portfolio.exposures = Aligned::zeros(self.loadings.stride());
            portfolio.rebuild(&self.loadings);
        }
        Ok(())
    }

    /// Portfolios that there are.
    #[must_use]
    pub const fn portfolios(&self) -> usize {
        self.portfolios.len()
    }

    /// One more portfolio that holds nothing; its number.
    ///
    /// # Errors
    /// There are too many.
    pub fn add_portfolio(&mut self) -> Result<usize, RiskError> {
        let number = self.portfolios.len();
        if number >= PORTFOLIOS_MAX {
            return Err(too_many("portfolios", PORTFOLIOS_MAX));
        }
        self.portfolios.push(Portfolio::new(&self.loadings));
        Ok(number)
    }

    /// One more instrument, which nobody holds and which is uncovered until the next [`FactorModel::replace`]; its number.
    ///
    /// # Errors
    /// There are too many.
    pub fn add_instrument(&mut self) -> Result<usize, RiskError> {
        self.loadings.add_instrument()?;
        self.portfolios.iter_mut().for_each(|portfolio| portfolio.values.push(0.0));
        Ok(self.loadings.instruments() - 1)
    }

    /// A change of the value that a portfolio holds of an instrument. Answers the standard deviation of its P&L over one
    /// period now. An uncovered instrument does not change it.
    ///
    /// # Errors
    /// The portfolio or the instrument is unknown, or the new value is none: nothing is changed then.
    #[inline]
    pub fn apply(
        &mut self,
        portfolio: usize,
        instrument: usize,
        value_change: f64,
    ) -> Result<f64, RiskError> {
        let old = self.value(portfolio, instrument)?;
        let new = checked_value(old + value_change)?;
        Ok(self.update(portfolio, instrument, (old, new, value_change)))
    }

    /// The value that a portfolio holds of an instrument. Answers as [`FactorModel::apply`] does.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn set_value(&mut self, portfolio: usize, instrument: usize, value: f64) -> Result<f64, RiskError> {
        let old = self.value(portfolio, instrument)?;
        let new = checked_value(value)?;
        Ok(self.update(portfolio, instrument, (old, new, new - old)))
    }

    #[inline]
    fn update(&mut self, portfolio: usize, instrument: usize, step: (f64, f64, f64)) -> f64 {
        let portfolio = &mut self.portfolios[portfolio];
        portfolio.values[instrument] = step.1;
        portfolio.updates = portfolio.updates.saturating_add(1);
        if portfolio.updates == self.rebuild_every {
            portfolio.rebuild(&self.loadings);
        } else {
            portfolio.shift(&self.loadings, instrument, step);
        }
        portfolio.variance().sqrt()
    }

    /// The value that a portfolio holds of an instrument.
    ///
    /// # Errors
    /// The portfolio or the instrument is unknown.
    #[inline]
    pub fn value(&self, portfolio: usize, instrument: usize) -> Result<f64, RiskError> {
        let value = self.portfolio(portfolio)?.values.get(instrument);
        value.copied().ok_or_else(|| unknown("instrument", instrument, self.loadings.instruments()))
    }

    /// The standard deviation of the P&L of one period.
    ///
    /// # Errors
    /// The portfolio is unknown.
    #[inline]
    pub fn sigma(&self, portfolio: usize) -> Result<f64, RiskError> {
        Ok(self.portfolio(portfolio)?.variance().sqrt())
    }

    /// What [`FactorModel::sigma`] would be after one change, without allocation; none for an uncovered instrument. Nothing
    /// is changed.
    ///
    /// # Errors
    /// The portfolio or the instrument is unknown.
    #[inline]
    pub fn sigma_after(
        &self,
        portfolio: usize,
        instrument: usize,
        value_change: f64,
    ) -> Result<Option<f64>, RiskError> {
        let old = self.value(portfolio, instrument)?;
        let held = self.portfolio(portfolio)?;
        let Some((row, own)) = self.loadings.row(instrument).zip(self.loadings.specific(instrument)) else {
            return Ok(None);
        };
        let (mut room, mut common) = ([0.0; 64], 0.0);
        for (exposures, row) in held.exposures.chunks(room.len()).zip(row.chunks(64)) {
            let room = &mut room[..exposures.len()];
            room.copy_from_slice(exposures);
            common += add_scaled_squaring(room, row, value_change);
        }
        let specific = held.specific + own * (value_change * (2.0 * old + value_change));
        Ok(Some((common + specific.max(0.0)).sqrt()))
    }

    /// What is invested in each factor, which has the variance 1.
    ///
    /// # Errors
    /// The portfolio is unknown.
    pub fn exposures(&self, portfolio: usize) -> Result<&[f64], RiskError> {
        Ok(&self.portfolio(portfolio)?.exposures[..self.loadings.factors()])
    }

    /// Takes exposures and specific variance anew from values and loadings.
    ///
    /// # Errors
    /// The portfolio is unknown.
    pub fn rebuild(&mut self, portfolio: usize) -> Result<(), RiskError> {
        self.portfolio(portfolio)?;
        self.portfolios[portfolio].rebuild(&self.loadings);
        Ok(())
    }

    /// VaR and ES over `horizon` periods, whose variances add up.
    ///
    /// # Errors
    /// The portfolio is unknown, the confidence is not between 0 and 1, or the horizon is not above 0.
    pub fn measure(
        &self,
        portfolio: usize,
        confidence: f64,
        horizon: f64,
    ) -> Result<GaussianRisk, RiskError> {
        let held = self.portfolio(portfolio)?;
        gaussian_risk(held.variance(), confidence, horizon, self.uncovered_after(held, &[]))
    }

    /// What [`FactorModel::measure`] would be after some changes. Nothing is changed.
    ///
    /// # Errors
    /// As there, or a change is not possible.
    pub fn what_if(
        &self,
        portfolio: usize,
        changes: &[Change],
        (confidence, horizon): (f64, f64),
        scratch: &mut FactorScratch,
    ) -> Result<GaussianRisk, RiskError> {
        let held = self.portfolio(portfolio)?;
        if changes.len() > CHANGES_MAX {
            return Err(too_many("changes", CHANGES_MAX));
        }
        scratch.changes.clear();
        for Change { instrument, value_change } in changes {
            let known = held.values.get(*instrument);
            let value = known.ok_or_else(|| unknown("instrument", *instrument, held.values.len()))?;
            checked_value(value + value_change)?;
            scratch.changes.push((*instrument, *value_change));
        }
        scratch.changes.sort_by_key(|(instrument, _)| *instrument);
        if scratch.exposures.len() != held.exposures.len() {
            scratch.exposures = Aligned::zeros(held.exposures.len());
        }
        scratch.exposures.copy_from_slice(&held.exposures);
        let (mut common, mut specific) = (held.common, held.specific);
        for same in scratch.changes.chunk_by(|(left, _), (right, _)| left == right) {
            let instrument = same[0].0;
            let Some((row, own)) = self.loadings.row(instrument).zip(self.loadings.specific(instrument))
            else {
                continue;
            };
            let change: f64 = same.iter().map(|(_, change)| change).sum();
            common = add_scaled_squaring(&mut scratch.exposures, row, change);
            specific += own * (change * (2.0 * held.values[instrument] + change));
        }
        scratch.changes.retain(|(instrument, _)| self.loadings.row(*instrument).is_none());
        let uncovered = self.uncovered_after(held, &scratch.changes);
        gaussian_risk(common + specific.max(0.0), confidence, horizon, uncovered)
    }

    /// What each instrument adds to VaR, by number: valueᵢ · ∂VaR/∂valueᵢ, which sum to VaR (Euler). It is 0 for all where
    /// there is no risk, and for an uncovered instrument, which [`FactorModel::uncovered`] names.
    ///
    /// # Errors
    /// As for [`FactorModel::measure`], or no backend multiplies.
    pub fn components(
        &self,
        hardware: &Hardware,
        portfolio: usize,
        (confidence, horizon): (f64, f64),
        components: &mut Vec<f64>,
    ) -> Result<(), RiskError> {
        let held = self.portfolio(portfolio)?;
        let GaussianRisk { sigma, var, .. } = self.measure(portfolio, confidence, horizon)?;
        components.clear();
        components.resize(held.values.len(), 0.0);
        if sigma == 0.0 {
            return Ok(());
        }
        let refused =
            |error: nautilus_hardware::Error| RiskError::new("matrix", "loadings", error.to_string());
        let shape = |error: nautilus_hardware::ShapeError| refused(error.into());
        let (rows, stride) = (held.values.len(), self.loadings.stride());
        let loadings = Matrix::row_major(self.loadings.rows(), rows, stride).map_err(shape)?;
        let exposures = Matrix::column(&held.exposures);
        let sums = MatrixMut::column(components);
        hardware.gemm(1.0, loadings, exposures, 0.0, sums).map_err(refused)?;
        let scale = var / held.variance();
        for (instrument, (component, value)) in components.iter_mut().zip(&held.values).enumerate() {
            let own = self.loadings.specific(instrument).unwrap_or_default();
            *component = value * (*component + own * value) * scale;
        }
        Ok(())
    }

    /// The instruments that a portfolio holds and that no measure covers, with their values.
    ///
    /// # Errors
    /// The portfolio is unknown.
    pub fn uncovered(&self, portfolio: usize) -> Result<impl Iterator<Item = (usize, f64)>, RiskError> {
        let values = &self.portfolio(portfolio)?.values;
        let uncovered = self.loadings.uncovered().map(|instrument| (instrument, values[instrument]));
        Ok(uncovered.filter(|(_, value)| *value != 0.0))
    }

    fn uncovered_after(&self, held: &Portfolio, changes: &[(usize, f64)]) -> Uncovered {
        Uncovered::after(self.loadings.uncovered(), &held.values, changes)
    }

    #[inline]
    fn portfolio(&self, number: usize) -> Result<&Portfolio, RiskError> {
        self.portfolios.get(number).ok_or_else(|| unknown("portfolio", number, self.portfolios.len()))
    }
}

fn gaussian_risk(
    variance: f64,
    confidence: f64,
    horizon: f64,
    uncovered: Uncovered,
) -> Result<GaussianRisk, RiskError> {
    let confidence = checked_confidence(confidence)?;
    if !(horizon > 0.0 && horizon.is_finite()) {
        let reason = format!("{horizon} is not above 0: give a number of periods, for example 1");
        return Err(RiskError::new("horizon", "horizon", reason));
    }
    let sigma = (variance * horizon).sqrt();
    let z = normal_quantile(confidence);
    let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * std::f64::consts::PI);
    let (var, es) = (sigma * z, sigma * density / (1.0 - confidence));
    Ok(GaussianRisk { sigma, var, es, uncovered })
}

impl TryFrom<Content> for FactorModel {
    type Error = RiskError;

    fn try_from(content: Content) -> Result<Self, RiskError> {
        let Content { loadings, rebuild_every, portfolios } = content;
        let legal = portfolios.len() <= PORTFOLIOS_MAX
            && portfolios.iter().all(|portfolio| {
                portfolio.values.len() == loadings.instruments()
                    && portfolio.exposures.len() == loadings.stride()
                    && portfolio.values.iter().all(|value| value.abs() <= super::VALUE_MAX)
                    && portfolio.exposures.iter().all(|exposure| exposure.is_finite())
                    && portfolio.common.is_finite()
                    && portfolio.specific.is_finite()
            });
        if !legal {
            return Err(RiskError::new("snapshot", "portfolios", "the parts do not belong together"));
        }
        Ok(Self { loadings, rebuild_every, portfolios })
    }
}
