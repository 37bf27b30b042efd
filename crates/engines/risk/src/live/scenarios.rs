//! The returns of every instrument in every scenario, which all portfolios share.
//!
//! One instrument's returns lie side by side. Scenarios are a ring: the newest takes the place of the oldest once there
//! are as many as there may be. It knows no portfolios and no values.

use serde::{Deserialize, Serialize};

use super::aligned::{Aligned, LINE};
use super::{INSTRUMENTS_MAX, RETURN_MAX, RETURNS_MAX, SCENARIOS_MAX, too_many, unknown};
use crate::RiskError;

/// Scenarios of the returns of all instruments: up to a fixed number of scenarios, instrument by instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Content", into = "Content")]
pub struct Scenarios {
    capacity: usize,
    len: usize,
    /// Where the next one goes.
    next: usize,
    /// From one instrument to the next.
    stride: usize,
    returns: Aligned,
    /// Of each instrument, how many of the newest scenarios have its return.
    filled: Vec<usize>,
    /// Instruments that miss a return, ascending.
    uncovered: Vec<usize>,
}

/// What follows from nothing else.
#[derive(Clone, Serialize, Deserialize)]
struct Content {
    capacity: usize,
    len: usize,
    next: usize,
    returns: Aligned,
    filled: Vec<usize>,
}

impl Scenarios {
    /// No scenarios and no instruments yet; room for 1 to [`SCENARIOS_MAX`] scenarios.
    ///
    /// # Errors
    /// The number is not one of these.
    pub fn new(capacity: usize) -> Result<Self, RiskError> {
        if capacity == 0 {
            let reason = "there must be room for one scenario at least: use for example 1000";
            return Err(RiskError::new("capacity", "scenarios", reason));
        }
        if capacity > SCENARIOS_MAX {
            return Err(too_many("scenarios", SCENARIOS_MAX));
        }
        Ok(Self {
            capacity,
            len: 0,
            next: 0,
            stride: capacity.next_multiple_of(LINE),
            returns: Aligned::default(),
            filled: Vec::new(),
            uncovered: Vec::new(),
        })
    }

    /// Scenarios that there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Scenarios that there may be.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Instruments, covered or not.
    #[must_use]
    pub const fn instruments(&self) -> usize {
        self.filled.len()
    }

    /// Instruments that miss the return of a scenario, ascending.
    #[must_use]
    pub fn uncovered(&self) -> &[usize] {
        &self.uncovered
    }

    /// One return for each scenario, in an order that is the same for all instruments; none of an instrument that is
    /// uncovered or unknown.
    #[must_use]
    #[inline]
    pub fn returns(&self, instrument: usize) -> Option<&[f64]> {
        let from = instrument * self.stride;
        let covered = *self.filled.get(instrument)? >= self.len;
        covered.then(|| &self.returns[from..from + self.len])
    }

    /// One more instrument, uncovered unless there are no scenarios; its number.
    ///
    /// # Errors
    /// There are too many.
    pub fn add_instrument(&mut self) -> Result<usize, RiskError> {
        let number = self.filled.len();
        if number >= INSTRUMENTS_MAX {
            return Err(too_many("instruments", INSTRUMENTS_MAX));
        }
        let needed = (number + 1) * self.stride;
        if needed > RETURNS_MAX {
            return Err(too_many("returns", RETURNS_MAX));
        }
        self.returns.grow(needed);
        self.filled.push(0);
        self.find_uncovered();
        Ok(number)
    }

    /// The returns of one instrument in all scenarios, the oldest first.
    ///
    /// # Errors
    /// The instrument is unknown, there are not as many returns as scenarios, or one is not a number up to
    /// [`RETURN_MAX`]: nothing is changed then.
    pub fn set_returns(&mut self, instrument: usize, returns: &[f64]) -> Result<(), RiskError> {
        self.check(instrument)?;
        if returns.len() != self.len {
            let reason = format!("{} returns for {} scenarios: give one for each", returns.len(), self.len);
            return Err(RiskError::new("count", "returns", reason));
        }
        for (at, value) in returns.iter().enumerate() {
            checked_return(*value, || format!("returns[{at}]"))?;
        }
        let oldest = if self.len == self.capacity { self.next } else { 0 };
        let column = &mut self.returns[instrument * self.stride..][..self.len];
        let (newest, rest) = (&returns[self.len - oldest..], &returns[..self.len - oldest]);
        column[..oldest].copy_from_slice(newest);
        column[oldest..].copy_from_slice(rest);
        self.filled[instrument] = self.len;
        self.find_uncovered();
        Ok(())
    }

    /// One more scenario with a return of every instrument, NaN where there is none, which leaves the instrument
    /// uncovered until every scenario has one. The oldest scenario goes if there is no room. Answers the place that it
    /// took, and whether that changed which instruments are covered.
    ///
    /// # Errors
    /// There are not as many returns as instruments, or one is above [`RETURN_MAX`]: nothing is changed then.
    pub fn append(&mut self, returns: &[f64]) -> Result<(usize, bool), RiskError> {
        if returns.len() != self.filled.len() {
            let (given, known) = (returns.len(), self.filled.len());
            let reason = format!("{given} returns for {known} instruments: give one for each, NaN for none");
            return Err(RiskError::new("count", "returns", reason));
        }
        for (at, value) in returns.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            checked_return(*value, || format!("returns[{at}]"))?;
        }
        let slot = self.next;
        for (instrument, (value, filled)) in returns.iter().zip(&mut self.filled).enumerate() {
            let there = !value.is_nan();
            self.returns[instrument * self.stride + slot] = if there { *value } else { 0.0 };
            *filled = if there { (*filled + 1).min(self.capacity) } else { 0 };
        }
        self.next = (slot + 1) % self.capacity;
        self.len = (self.len + 1).min(self.capacity);
        Ok((slot, self.find_uncovered()))
    }

    /// Other scenarios in the place of all: `count` of them, and the returns of each instrument, the oldest first; none
    /// for an instrument that is uncovered by them.
    ///
    /// # Errors
    /// There are more scenarios than there is room for, there are not as many columns as instruments, or a column is
    /// not right, as for [`Scenarios::set_returns`]: nothing is changed then.
    pub fn replace(&mut self, count: usize, columns: &[Option<&[f64]>]) -> Result<(), RiskError> {
        if count > self.capacity {
            return Err(too_many("scenarios", self.capacity));
        }
        if columns.len() != self.filled.len() {
            let (given, known) = (columns.len(), self.filled.len());
            let reason = format!("{given} columns for {known} instruments: give one for each, or null");
            return Err(RiskError::new("count", "columns", reason));
        }
        let mut fresh = self.clone();
        (fresh.len, fresh.next) = (count, count % self.capacity);
        fresh.filled.fill(0);
        for (instrument, returns) in columns.iter().enumerate() {
            if let Some(returns) = returns {
                fresh.set_returns(instrument, returns)?;
            }
        }
        fresh.find_uncovered();
        *self = fresh;
        Ok(())
    }

    pub(super) fn check(&self, instrument: usize) -> Result<(), RiskError> {
        let known = self.filled.len();
        if instrument < known { Ok(()) } else { Err(unknown("instrument", instrument, known)) }
    }

    /// Whether there are others than before.
    fn find_uncovered(&mut self) -> bool {
        let missing = |(_, filled): &(usize, &usize)| **filled < self.len;
        let found = || self.filled.iter().enumerate().filter(missing).map(|(instrument, _)| instrument);
        if found().eq(self.uncovered.iter().copied()) {
            return false;
        }
        let found: Vec<usize> = found().collect();
        self.uncovered = found;
        true
    }
}

fn checked_return(value: f64, field: impl Fn() -> String) -> Result<(), RiskError> {
    if value.abs() <= RETURN_MAX {
        return Ok(());
    }
    let reason =
        format!("{value} is not a return up to {RETURN_MAX}: correct it, or leave the instrument out");
    Err(RiskError::new("return", field(), reason))
}

impl From<Scenarios> for Content {
    fn from(scenarios: Scenarios) -> Self {
        let Scenarios { capacity, len, next, returns, filled, .. } = scenarios;
        Self { capacity, len, next, returns, filled }
    }
}

impl TryFrom<Content> for Scenarios {
    type Error = RiskError;

    fn try_from(content: Content) -> Result<Self, RiskError> {
        let Content { capacity, len, next, returns, filled } = content;
        let mut scenarios = Self::new(capacity)?;
        let legal = len <= capacity
            && next < capacity
            && (len == capacity || next == len)
            && filled.len() <= INSTRUMENTS_MAX
            && filled.iter().all(|filled| *filled <= capacity)
            && returns.len() == filled.len() * scenarios.stride
            && returns.iter().all(|value| value.abs() <= RETURN_MAX);
        if !legal {
            return Err(RiskError::new("snapshot", "scenarios", "the parts do not belong together"));
        }
        (scenarios.len, scenarios.next, scenarios.returns, scenarios.filled) = (len, next, returns, filled);
        scenarios.find_uncovered();
        Ok(scenarios)
    }
}
