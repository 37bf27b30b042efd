//! VaR and ES without each position, on the same paths, while they pass by.

use nautilus_hardware::Hardware;

use crate::measures::tail::{Measures, Outcome, TailRule};

/// Paths that are compared at once.
const LANES: usize = 16;
/// Outcomes that are kept in all, at most: 256 MiB.
const KEPT_MAX: usize = 1 << 24;

/// The lowest outcomes without each asset. Of each, at most twice as many as its tail needs are kept: whenever there are
/// more, they are sifted, and from then on only lower ones are taken.
#[derive(Debug)]
pub(crate) struct Without<'a> {
    rule: TailRule<'a>,
    paths: usize,
    outcomes: Vec<Vec<Outcome>>,
    bounds: Vec<f64>,
    /// More outcomes of one asset than these are sifted.
    full: usize,
}

impl<'a> Without<'a> {
    /// None where the tails of all assets together do not fit.
    pub(crate) fn new(rule: TailRule<'a>, paths: usize, assets: usize) -> Option<Self> {
        let full = 2 * (rule.rank(paths).below + LANES);
        let fits = full.checked_mul(assets).is_some_and(|kept| kept <= KEPT_MAX);
        fits.then(|| Self {
            rule,
            paths,
            outcomes: vec![Vec::new(); assets],
            bounds: vec![f64::INFINITY; assets],
            full,
        })
    }

    /// Takes paths from `first` on: their P&L, and the returns of one asset after the other.
    pub(crate) fn take(
        &mut self,
        hardware: &Hardware,
        first: usize,
        pnl: &[f64],
        exposures: &[f64],
        returns: &[f64],
    ) {
        hardware.vectorised(
            #[inline(always)]
            || {
                for (asset, (exposure, row)) in
                    exposures.iter().zip(returns.chunks_exact(pnl.len())).enumerate()
                {
                    for (chunk, (pnl, row)) in pnl.chunks(LANES).zip(row.chunks(LANES)).enumerate() {
                        let bound = self.bounds[asset];
                        let below = |(pnl, value): (&f64, &f64)| u64::from(pnl - exposure * value < bound);
                        if pnl.iter().zip(row).map(below).sum::<u64>() > 0 {
                            self.take_lower(asset, first + chunk * LANES, pnl, *exposure, row);
                        }
                    }
                }
            },
        );
    }

    #[cold]
    #[inline(never)]
    #[allow(clippy::cast_possible_truncation)]
    fn take_lower(&mut self, asset: usize, first: usize, pnl: &[f64], exposure: f64, row: &[f64]) {
        for (path, (pnl, value)) in (first as u32..).zip(pnl.iter().zip(row)) {
            let outcome = pnl - exposure * value;
            if outcome < self.bounds[asset] {
                self.outcomes[asset].push((outcome, path));
            }
        }
        if self.outcomes[asset].len() > self.full {
            self.bounds[asset] = self.rule.sift(&mut self.outcomes[asset], self.paths);
        }
    }

    /// VaR and ES without each asset, once all paths were taken.
    pub(crate) fn measures(mut self) -> Vec<Measures> {
        let (rule, paths) = (self.rule, self.paths);
        let measured = |outcomes: &mut Vec<Outcome>| {
            rule.keep_lowest(outcomes, paths);
            rule.measures(outcomes, paths)
        };
        self.outcomes.iter_mut().map(measured).collect()
    }
}
