//! Live measures, updated per fill and per change of a mark: the historical cube and the factor model.
//!
//! An engine numbers its instruments and portfolios from 0 in the order in which it adds them, here and there alike; a
//! node of a hierarchy is a portfolio of its own, and what happens in a leaf is applied to its ancestors too. A *value*
//! is what a position is worth in the portfolio's currency, negative where it is short; value · return is its P&L, so for
//! a linear instrument it is quantity · price · multiplier · rate. Losses are positive in every measure.
//!
//! Per event, value by value: [`Cube::apply`] and [`FactorModel::apply`] take a change, `set_value` of both takes the new
//! value and leaves no error of earlier sums in it. Neither allocates. Sums drift by rounding, and are taken anew from
//! the values after a given number of updates, so that all that is kept after `rebuild` follows from values and returns
//! alone, bit for bit. What is not known is said: an instrument without returns is *uncovered*, and every measure names
//! how many of its portfolio are and what they are worth.

mod aligned;
mod cube;
mod factor_model;
mod loadings;
mod scenarios;
mod tail;

use serde::{Deserialize, Serialize};

use crate::RiskError;

pub use cube::{Cube, Scratch, TailRisk};
pub use factor_model::{FactorModel, FactorScratch, GaussianRisk};
pub use loadings::Loadings;
pub use scenarios::Scenarios;

/// Instruments, at most.
pub const INSTRUMENTS_MAX: usize = 1 << 16;
/// Portfolios, at most.
pub const PORTFOLIOS_MAX: usize = 1 << 16;
/// Scenarios, at most.
pub const SCENARIOS_MAX: usize = 1 << 16;
/// Returns in one store, at most: 2 GiB.
pub const RETURNS_MAX: usize = 1 << 28;
/// Changes of one what-if, at most.
pub const CHANGES_MAX: usize = 10_000;
/// A return or a loading above this is a mistake in the data.
pub const RETURN_MAX: f64 = 1e6;
/// A value above this is a mistake in the data. No sum of legal products leaves the range of a double.
pub const VALUE_MAX: f64 = 1e30;

/// What a trade does to the value that a portfolio holds of an instrument, in the portfolio's currency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The number of the instrument.
    pub instrument: usize,
    /// New value less old value.
    pub value_change: f64,
}

/// What a measure leaves out for want of returns.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Uncovered {
    /// Instruments that are held and have no returns.
    pub instruments: usize,
    /// The sum of the magnitudes of their values.
    pub gross_value: f64,
}

impl Uncovered {
    fn count(&mut self, value: f64) {
        if value != 0.0 {
            self.instruments += 1;
            self.gross_value += value.abs();
        }
    }

    /// Of a portfolio with these values after `changes`, sorted by instrument, all of them to uncovered ones.
    fn after(uncovered: impl Iterator<Item = usize>, values: &[f64], changes: &[(usize, f64)]) -> Self {
        let mut sum = Self::default();
        let mut changes = changes.iter().peekable();
        for instrument in uncovered {
            let mut value = values[instrument];
            while let Some((_, change)) = changes.next_if(|(of, _)| *of == instrument) {
                value += change;
            }
            sum.count(value);
        }
        sum
    }
}

fn unknown(what: &str, number: usize, count: usize) -> RiskError {
    RiskError::new(
        "unknown",
        what,
        format!("{number} is not one of the {count} that were added (numbered from 0): add it first"),
    )
}

fn too_many(what: &str, max: usize) -> RiskError {
    RiskError::new("too_many", what, format!("there may be {max} at most: measure the rest elsewhere"))
}

/// The new value that a position has, if it may have it.
fn checked_value(value: f64) -> Result<f64, RiskError> {
    if value.abs() <= VALUE_MAX {
        return Ok(value);
    }
    Err(RiskError::new("value", "value", format!("{value} is not a value up to {VALUE_MAX:e}: correct it")))
}

fn checked_confidence(confidence: f64) -> Result<f64, RiskError> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(confidence);
    }
    let reason = format!("{confidence} is not between 0 and 1: use for example 0.99");
    Err(RiskError::new("confidence", "confidence", reason))
}

#[cfg(test)]
mod tests;
