//! What each position adds to VaR and ES, and what they would be without it.

use super::tail::{Measures, Outcome, Tail};

/// Columns that are compared at once.
const LANES: usize = 16;

/// The loss of each asset per unit of value: the weighted sum of its returns in `scenarios`, times −1. A zero is +0.
pub(crate) fn marginal(returns: Rows<'_>, scenarios: &[(usize, f64)]) -> Vec<f64> {
    let mut losses = vec![0.0; returns.columns];
    for (scenario, share) in scenarios {
        let row = returns.row(*scenario);
        losses.iter_mut().zip(row).for_each(|(loss, value)| *loss -= share * value);
    }
    losses
}

/// Returns, scenario by scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f64],
    pub(crate) columns: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn row(&self, index: usize) -> &'a [f64] {
        &self.values[index * self.columns..(index + 1) * self.columns]
    }
}

/// VaR and ES without each position: those of P&L less exposure · return, exactly, in one pass over the returns.
///
/// The scenarios that are worst for the whole give each asset a bound: as many outcomes as its tail needs are not above it.
/// Of all others only those below the bound are kept, and whenever they are many, the bound is lowered to what they prove.
/// So each asset's outcomes hold its whole tail. The difference rounds at the size of its terms: a P&L that a position
/// dominates is known without it to 1e-16 of that position.
pub(crate) fn without_each(
    returns: Rows<'_>,
    exposures: &[f64],
    pnl: &[f64],
    tail: &Tail<'_>,
) -> Vec<Measures> {
    let first = &tail.lowest[..tail.lowest.len().min(2 * tail.rank.below + 64)];
    let mut candidates = Candidates::new(exposures, tail, first.len() + LANES);
    let mut done = vec![false; pnl.len()];
    for (total, scenario) in first {
        candidates.take(returns.row(*scenario as usize), *total, *scenario);
        done[*scenario as usize] = true;
    }
    candidates.bound_all();
    for ((scenario, total), row) in (0..).zip(pnl).zip(returns.values.chunks_exact(returns.columns)) {
        if !done[scenario as usize] {
            candidates.take_lower(row, *total, scenario);
        }
    }
    candidates.measures()
}

/// Outcomes without each asset that may lie in its tail.
struct Candidates<'a> {
    exposures: &'a [f64],
    tail: &'a Tail<'a>,
    outcomes: Vec<Vec<Outcome>>,
    /// Outcomes from here on are not needed.
    bounds: Vec<f64>,
    /// More outcomes of an asset than these are sifted.
    full: Vec<usize>,
}

impl<'a> Candidates<'a> {
    fn new(exposures: &'a [f64], tail: &'a Tail<'a>, capacity: usize) -> Self {
        Self {
            exposures,
            tail,
            outcomes: exposures.iter().map(|_| Vec::with_capacity(capacity)).collect(),
            bounds: vec![f64::INFINITY; exposures.len()],
            full: vec![0; exposures.len()],
        }
    }

    /// Takes a scenario for every asset.
    fn take(&mut self, row: &[f64], total: f64, scenario: u32) {
        for ((outcomes, exposure), value) in self.outcomes.iter_mut().zip(self.exposures).zip(row) {
            outcomes.push((total - exposure * value, scenario));
        }
    }

    fn bound_all(&mut self) {
        for asset in 0..self.outcomes.len() {
            self.bound(asset);
        }
    }

    /// Takes a scenario for the assets whose tail it may lie in.
    fn take_lower(&mut self, row: &[f64], total: f64, scenario: u32) {
        let columns = row.len();
        let whole = columns - columns % LANES;
        for from in (0..whole).step_by(LANES) {
            let range = from..from + LANES;
            let (values, exposures) = (&row[range.clone()], &self.exposures[range.clone()]);
            let lower = |below: bool, ((value, exposure), bound): ((&f64, &f64), &f64)| {
                below | (total - exposure * value < *bound)
            };
            if values.iter().zip(exposures).zip(&self.bounds[range.clone()]).fold(false, lower) {
                range.for_each(|asset| self.take_one(asset, row[asset], total, scenario));
            }
        }
        (whole..columns).for_each(|asset| self.take_one(asset, row[asset], total, scenario));
    }

    fn take_one(&mut self, asset: usize, value: f64, total: f64, scenario: u32) {
        let outcome = total - self.exposures[asset] * value;
        if outcome < self.bounds[asset] {
            self.outcomes[asset].push((outcome, scenario));
            if self.outcomes[asset].len() > self.full[asset] {
                self.bound(asset);
            }
        }
    }

    fn bound(&mut self, asset: usize) {
        let outcomes = &mut self.outcomes[asset];
        self.bounds[asset] = self.tail.rule.sift(outcomes, self.tail.count);
        // So each is sifted at most twice, on average.
        self.full[asset] = 2 * outcomes.len() + LANES;
    }

    fn measures(mut self) -> Vec<Measures> {
        let (rule, count) = (self.tail.rule, self.tail.count);
        let measured = |outcomes: &mut Vec<Outcome>| {
            rule.keep_lowest(outcomes, count);
            rule.measures(outcomes, count)
        };
        self.outcomes.iter_mut().map(measured).collect()
    }
}
