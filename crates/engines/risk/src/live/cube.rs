//! The historical cube: the P&L of every portfolio in every scenario, kept up to date change by change.
//!
//! It decides what a change of value does to the P&L of the scenarios, and what VaR and ES follow from them. It knows no
//! prices and no positions: values are handed in.

use nautilus_hardware::vector::add_scaled_counting;
use serde::{Deserialize, Serialize};

use super::aligned::Aligned;
use super::tail::{Tail, tail_count};
use super::{
    CHANGES_MAX, Change, PORTFOLIOS_MAX, Scenarios, Uncovered, checked_confidence, checked_value, too_many,
    unknown,
};
use crate::RiskError;

/// VaR and ES of a portfolio by historical simulation, in its currency, losses positive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TailRisk {
    /// Value at risk: the k-th largest loss, `inverted_cdf` of Hyndman and Fan (1996), type 1, without interpolation.
    pub var: f64,
    /// Expected shortfall: the mean of the k largest losses.
    pub es: f64,
    /// k = ⌈scenarios · (1 − confidence)⌉, 1 at least.
    pub tail: usize,
    /// Scenarios that both are taken over.
    pub scenarios: usize,
    /// What is held and not in them.
    pub uncovered: Uncovered,
}

/// Room that measures and what-ifs use again. It is no state: any one serves any cube.
#[derive(Debug, Default)]
pub struct Scratch {
    pnl: Aligned,
    tail: Tail,
    uncovered: Vec<(usize, f64)>,
}

/// Portfolios over the same [`Scenarios`].
///
/// Sums drift by rounding: between two rebuilds by at most 2⁻⁵³ · Σ(|P&L after the update| + 2·|change · return|) over
/// the updates in each scenario, and about as much for the sum that a rebuild is. A rebuild takes the P&L anew as Σ value
/// · return in the order of the instruments' numbers, so that it follows from values and returns alone, bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Content")]
pub struct Cube {
    scenarios: Scenarios,
    rebuild_every: u32,
    portfolios: Vec<Portfolio>,
}

#[derive(Deserialize)]
struct Content {
    scenarios: Scenarios,
    rebuild_every: u32,
    portfolios: Vec<Portfolio>,
}

/// What is kept of one portfolio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Portfolio {
    /// By instrument.
    values: Vec<f64>,
    /// By scenario; what is behind the last one is 0.
    pnl: Aligned,
    /// The P&L below which scenarios are counted, and how many there are.
    threshold: f64,
    below: usize,
    /// Since the last rebuild.
    updates: u32,
}

impl Portfolio {
    /// Adds factor · returns to the P&L of all scenarios. No instrument's returns, no P&L.
    #[inline]
    fn shift(&mut self, returns: Option<&[f64]>, factor: f64) {
        if let Some(returns) = returns {
            let pnl = &mut self.pnl[..returns.len()];
            self.below = add_scaled_counting(pnl, returns, factor, self.threshold);
        }
    }

    /// Σ value · return in the order of the instruments.
    fn rebuild(&mut self, scenarios: &Scenarios) {
        self.updates = 0;
        self.pnl.fill(0.0);
        for instrument in 0..self.values.len() {
            let value = self.values[instrument];
            if value != 0.0 {
                self.shift(scenarios.returns(instrument), value);
            }
        }
        self.count(scenarios.len());
    }

    /// The same sum for one scenario.
    fn rebuild_one(&mut self, scenarios: &Scenarios, slot: usize) {
        let mut sum = 0.0;
        for (instrument, value) in self.values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            if let Some(returns) = scenarios.returns(instrument) {
                sum += value * returns[slot];
            }
        }
        self.pnl[slot] = sum;
        self.count(scenarios.len());
    }

    fn count(&mut self, scenarios: usize) {
        self.below = self.pnl[..scenarios].iter().filter(|pnl| **pnl < self.threshold).count();
    }
}

impl Cube {
    /// No instruments, portfolios or scenarios yet, room for `scenarios_max` of the latter. Each portfolio is rebuilt with
    /// its update number `rebuild_every`, which costs an update for each position; never by itself if that is 0.
    ///
    /// # Errors
    /// The number of scenarios is 0 or too large.
    pub fn new(scenarios_max: usize, rebuild_every: u32) -> Result<Self, RiskError> {
        let scenarios = Scenarios::new(scenarios_max)?;
        Ok(Self { scenarios, rebuild_every, portfolios: Vec::new() })
    }

    /// The returns.
    #[must_use]
    pub const fn scenarios(&self) -> &Scenarios {
        &self.scenarios
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
        self.portfolios.push(Portfolio {
            values: vec![0.0; self.scenarios.instruments()],
            pnl: Aligned::zeros(self.scenarios.capacity()),
            threshold: f64::NEG_INFINITY,
            below: 0,
            updates: 0,
        });
        Ok(number)
    }

    /// One more instrument, which nobody holds and which is uncovered unless there are no scenarios; its number.
    ///
    /// # Errors
    /// There are too many.
    pub fn add_instrument(&mut self) -> Result<usize, RiskError> {
        let number = self.scenarios.add_instrument()?;
        self.portfolios.iter_mut().for_each(|portfolio| portfolio.values.push(0.0));
        Ok(number)
    }

    /// The returns of one instrument, as [`Scenarios::set_returns`]; portfolios that hold it are rebuilt.
    ///
    /// # Errors
    /// As there.
    pub fn set_returns(&mut self, instrument: usize, returns: &[f64]) -> Result<(), RiskError> {
        self.scenarios.set_returns(instrument, returns)?;
        let holders = self.portfolios.iter_mut().filter(|portfolio| portfolio.values[instrument] != 0.0);
        holders.for_each(|portfolio| portfolio.rebuild(&self.scenarios));
        Ok(())
    }

    /// One more scenario, as [`Scenarios::append`]. Every portfolio takes up that scenario, a sum over its positions; all
    /// are rebuilt if it changes which instruments are covered.
    ///
    /// # Errors
    /// As there.
    pub fn append(&mut self, returns: &[f64]) -> Result<(), RiskError> {
        let (slot, others_are_covered) = self.scenarios.append(returns)?;
        for portfolio in &mut self.portfolios {
            if others_are_covered {
                portfolio.rebuild(&self.scenarios);
            } else {
                portfolio.rebuild_one(&self.scenarios, slot);
            }
        }
        Ok(())
    }

    /// Other scenarios, as [`Scenarios::replace`]; all portfolios are rebuilt.
    ///
    /// # Errors
    /// As there.
    pub fn replace(&mut self, count: usize, columns: &[Option<&[f64]>]) -> Result<(), RiskError> {
        self.scenarios.replace(count, columns)?;
        self.portfolios.iter_mut().for_each(|portfolio| portfolio.rebuild(&self.scenarios));
        Ok(())
    }

    /// A change of the value that a portfolio holds of an instrument, by a fill or a new mark. Answers how many scenarios
    /// are below the watched P&L now, see [`Cube::watch`]. An uncovered instrument changes no scenario.
    ///
    /// # Errors
    /// The portfolio or the instrument is unknown, or the new value is none: nothing is changed then.
    #[inline]
    pub fn apply(
        &mut self,
        portfolio: usize,
        instrument: usize,
        value_change: f64,
    ) -> Result<usize, RiskError> {
        let value = self.value(portfolio, instrument)? + value_change;
        self.update(portfolio, instrument, checked_value(value)?, value_change)
    }

    /// The value that a portfolio holds of an instrument. Answers as [`Cube::apply`] does.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn set_value(&mut self, portfolio: usize, instrument: usize, value: f64) -> Result<usize, RiskError> {
        let change = checked_value(value)? - self.value(portfolio, instrument)?;
        self.update(portfolio, instrument, value, change)
    }

    #[inline]
    fn update(
        &mut self,
        portfolio: usize,
        instrument: usize,
        value: f64,
        change: f64,
    ) -> Result<usize, RiskError> {
        let portfolio = &mut self.portfolios[portfolio];
        portfolio.values[instrument] = value;
        portfolio.updates = portfolio.updates.saturating_add(1);
        if portfolio.updates == self.rebuild_every {
            portfolio.rebuild(&self.scenarios);
        } else {
            portfolio.shift(self.scenarios.returns(instrument), change);
        }
        Ok(portfolio.below)
    }

    /// The value that a portfolio holds of an instrument.
    ///
    /// # Errors
    /// The portfolio or the instrument is unknown.
    #[inline]
    pub fn value(&self, portfolio: usize, instrument: usize) -> Result<f64, RiskError> {
        let value = self.portfolio(portfolio)?.values.get(instrument);
        value.copied().ok_or_else(|| unknown("instrument", instrument, self.scenarios.instruments()))
    }

    /// Counts the scenarios that lose more than `loss` from now on, and answers how many do. VaR is above the loss if and
    /// only if they are at least [`TailRisk::tail`]: so watching the last VaR says whether it has risen, and watching a
    /// limit whether it is broken, without a look at the tail.
    ///
    /// # Errors
    /// The portfolio is unknown, or the loss is NaN.
    pub fn watch(&mut self, portfolio: usize, loss: f64) -> Result<usize, RiskError> {
        self.portfolio(portfolio)?;
        let portfolio = &mut self.portfolios[portfolio];
        portfolio.threshold = threshold(loss)?;
        portfolio.count(self.scenarios.len());
        Ok(portfolio.below)
    }

    /// How many scenarios lose more than the watched loss; none if none is watched.
    ///
    /// # Errors
    /// The portfolio is unknown.
    pub fn below(&self, portfolio: usize) -> Result<usize, RiskError> {
        Ok(self.portfolio(portfolio)?.below)
    }

    /// The P&L of each scenario, in the order of [`Scenarios::returns`].
    ///
    /// # Errors
    /// The portfolio is unknown.
    pub fn pnl(&self, portfolio: usize) -> Result<&[f64], RiskError> {
        Ok(&self.portfolio(portfolio)?.pnl[..self.scenarios.len()])
    }

    /// Takes the P&L of all scenarios anew from values and returns.
    ///
    /// # Errors
    /// The portfolio is unknown.
    pub fn rebuild(&mut self, portfolio: usize) -> Result<(), RiskError> {
        self.portfolio(portfolio)?;
        self.portfolios[portfolio].rebuild(&self.scenarios);
        Ok(())
    }

    /// VaR and ES as they are now. Takes time in proportion to the scenarios.
    ///
    /// # Errors
    /// The portfolio is unknown, there are no scenarios, or the confidence is not between 0 and 1.
    pub fn measure(
        &self,
        portfolio: usize,
        confidence: f64,
        scratch: &mut Scratch,
    ) -> Result<TailRisk, RiskError> {
        let portfolio = self.portfolio(portfolio)?;
        let uncovered = Uncovered::after(self.scenarios.uncovered().iter().copied(), &portfolio.values, &[]);
        let pnl = &portfolio.pnl[..self.scenarios.len()];
        tail_risk(&mut scratch.tail, pnl, confidence, uncovered)
    }

    /// What [`Cube::measure`] would be after some changes. Nothing is changed.
    ///
    /// # Errors
    /// As there, or a change is not possible.
    pub fn what_if(
        &self,
        portfolio: usize,
        changes: &[Change],
        confidence: f64,
        scratch: &mut Scratch,
    ) -> Result<TailRisk, RiskError> {
        self.try_out(portfolio, changes, f64::NEG_INFINITY, scratch)?;
        let values = &self.portfolio(portfolio)?.values;
        let uncovered =
            Uncovered::after(self.scenarios.uncovered().iter().copied(), values, &scratch.uncovered);
        tail_risk(&mut scratch.tail, &scratch.pnl[..self.scenarios.len()], confidence, uncovered)
    }

    /// How many scenarios would lose more than `loss` after some changes, one pass for each: the cheapest way to hold a
    /// trade against a limit, see [`Cube::watch`] and [`Cube::tail`]. Nothing is changed.
    ///
    /// # Errors
    /// The portfolio is unknown, the loss is NaN, or a change is not possible.
    pub fn what_if_below(
        &self,
        portfolio: usize,
        changes: &[Change],
        loss: f64,
        scratch: &mut Scratch,
    ) -> Result<usize, RiskError> {
        self.try_out(portfolio, changes, threshold(loss)?, scratch)
    }

    /// How many scenarios are the tail of this confidence: [`TailRisk::tail`].
    ///
    /// # Errors
    /// The confidence is not between 0 and 1.
    pub fn tail(&self, confidence: f64) -> Result<usize, RiskError> {
        Ok(tail_count(self.scenarios.len(), checked_confidence(confidence)?))
    }

    /// The instruments that a portfolio holds and that no measure covers, with their values.
    ///
    /// # Errors
    /// The portfolio is unknown.
    pub fn uncovered(&self, portfolio: usize) -> Result<impl Iterator<Item = (usize, f64)>, RiskError> {
        let values = &self.portfolio(portfolio)?.values;
        let uncovered =
            self.scenarios.uncovered().iter().map(|instrument| (*instrument, values[*instrument]));
        Ok(uncovered.filter(|(_, value)| *value != 0.0))
    }

    #[inline]
    fn portfolio(&self, number: usize) -> Result<&Portfolio, RiskError> {
        self.portfolios.get(number).ok_or_else(|| unknown("portfolio", number, self.portfolios.len()))
    }

    /// Leaves the P&L after the changes and the uncovered ones of these in `scratch`; how many scenarios are below.
    fn try_out(
        &self,
        portfolio: usize,
        changes: &[Change],
        threshold: f64,
        scratch: &mut Scratch,
    ) -> Result<usize, RiskError> {
        let held = self.portfolio(portfolio)?;
        if changes.len() > CHANGES_MAX {
            return Err(too_many("changes", CHANGES_MAX));
        }
        let scenarios = self.scenarios.len();
        if scratch.pnl.len() < scenarios {
            scratch.pnl = Aligned::zeros(scenarios);
        }
        let pnl = &mut scratch.pnl[..scenarios];
        pnl.copy_from_slice(&held.pnl[..scenarios]);
        scratch.uncovered.clear();
        let mut below = None;
        for Change { instrument, value_change } in changes {
            self.scenarios.check(*instrument)?;
            checked_value(held.values[*instrument] + value_change)?;
            match self.scenarios.returns(*instrument) {
                Some(returns) => {
                    below = Some(add_scaled_counting(pnl, returns, *value_change, threshold));
                }
                None => scratch.uncovered.push((*instrument, *value_change)),
            }
        }
        scratch.uncovered.sort_unstable_by_key(|(instrument, _)| *instrument);
        Ok(below.unwrap_or_else(|| pnl.iter().filter(|pnl| **pnl < threshold).count()))
    }
}

fn threshold(loss: f64) -> Result<f64, RiskError> {
    if loss.is_nan() {
        Err(RiskError::new("loss", "loss", "it is not a number: give one"))
    } else {
        Ok(-loss)
    }
}

#[allow(clippy::cast_precision_loss)]
fn tail_risk(
    tail: &mut Tail,
    pnl: &[f64],
    confidence: f64,
    uncovered: Uncovered,
) -> Result<TailRisk, RiskError> {
    let confidence = checked_confidence(confidence)?;
    let count = tail_count(pnl.len(), confidence);
    let smallest = tail.smallest(pnl, count);
    let Some(last) = smallest.last() else {
        return Err(RiskError::new("no_scenarios", "scenarios", "there are none: give returns first"));
    };
    // The largest loss first: the sum follows from the tail alone, in whatever order scenarios came.
    let sum: f64 = smallest.iter().sum();
    // Not -x, which may be a zero below zero.
    let var = 0.0 - last;
    // The mean of equal numbers may round to beside them.
    let es = (0.0 - sum / count as f64).max(var);
    Ok(TailRisk { var, es, tail: count, scenarios: pnl.len(), uncovered })
}

impl TryFrom<Content> for Cube {
    type Error = RiskError;

    fn try_from(content: Content) -> Result<Self, RiskError> {
        let Content { scenarios, rebuild_every, portfolios } = content;
        let finite = |values: &[f64], max: f64| values.iter().all(|value| value.abs() <= max);
        let legal = portfolios.len() <= PORTFOLIOS_MAX
            && portfolios.iter().all(|portfolio| {
                portfolio.values.len() == scenarios.instruments()
                    && portfolio.pnl.len() == scenarios.capacity()
                    && finite(&portfolio.values, super::VALUE_MAX)
                    && finite(&portfolio.pnl, f64::MAX)
                    && !portfolio.threshold.is_nan()
            });
        if !legal {
            return Err(RiskError::new("snapshot", "portfolios", "the parts do not belong together"));
        }
        Ok(Self { scenarios, rebuild_every, portfolios })
    }
}
