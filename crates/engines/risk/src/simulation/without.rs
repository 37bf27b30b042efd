//! VaR and ES without each position, on the same paths.
//!
//! A path's P&L p without asset i is p − eᵢ·rᵢ. Where returns are linear in a path's normal numbers z, rᵢ = meanᵢ + Fᵢ·z, and
//! |Fᵢ·z| ≤ |Fᵢ|·|z| (Cauchy and Schwarz) says of most paths and assets that they are not in the tail, without the
//! return: it is drawn only of the others. Nothing is left out that could matter.

use nautilus_hardware::Hardware;

use super::normals::BLOCK;
use super::paths::{Block, Paths};
use crate::RiskError;
use crate::measures::tail::{Measures, Outcome, TailRule};

/// Paths that are compared at once.
const LANES: usize = 16;
/// Outcomes that are kept in all, at most: 256 MiB.
const KEPT_MAX: usize = 1 << 24;
/// How far a bound may round.
const ROUNDING: f64 = 1.0 + 1e-9;

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

    /// Takes some paths, of which P&L is given: `returns` has a row for each of `assets`.
    pub(crate) fn take(
        &mut self,
        hardware: &Hardware,
        (paths, pnl): (&[usize], &[f64]),
        assets: impl Iterator<Item = (usize, f64)>,
        returns: &[f64],
    ) {
        hardware.vectorised(
            #[inline(always)]
            || {
                for ((asset, exposure), row) in assets.zip(returns.chunks_exact(pnl.len())) {
                    let chunks = paths.chunks(LANES).zip(pnl.chunks(LANES)).zip(row.chunks(LANES));
                    for ((paths, pnl), row) in chunks {
                        let bound = self.bounds[asset];
                        let below = |(pnl, value): (&f64, &f64)| u64::from(pnl - exposure * value < bound);
                        if pnl.iter().zip(row).map(below).sum::<u64>() > 0 {
                            self.take_lower(asset, paths, pnl, exposure, row);
                        }
                    }
                }
            },
        );
    }

    #[cold]
    #[inline(never)]
    #[allow(clippy::cast_possible_truncation)]
    fn take_lower(&mut self, asset: usize, paths: &[usize], pnl: &[f64], exposure: f64, row: &[f64]) {
        for (path, (pnl, value)) in paths.iter().zip(pnl.iter().zip(row)) {
            let outcome = pnl - exposure * value;
            if outcome < self.bounds[asset] {
                self.outcomes[asset].push((outcome, *path as u32));
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

    /// Takes those of all paths that may lie in the tail without some asset, whose P&L and reach are known.
    ///
    /// The worst paths come first: what they are without each asset bounds its tail from above.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn take_drawn(
        &mut self,
        paths: &Paths<'_>,
        (pnl, reach): (&[f64], &[f64]),
    ) -> Result<(), RiskError> {
        let mut block = paths.block();
        let all = || paths.exposures.iter().copied().enumerate();
        let (worst, others) = worst(pnl, self.full);
        for some in worst.chunks(BLOCK) {
            paths.again(&mut block, some)?;
            let pnl: Vec<f64> = some.iter().map(|path| pnl[*path]).collect();
            self.take(paths.hardware, (some, &pnl), all(), &block.returns);
        }
        for (bound, outcomes) in self.bounds.iter_mut().zip(&mut self.outcomes) {
            *bound = self.rule.sift(outcomes, self.paths);
        }
        let drift = |(bound, (mean, exposure)): (&f64, (&f64, &f64))| bound + mean * exposure;
        let highest = self.bounds.iter().zip(paths.mean.iter().zip(&paths.exposures)).map(drift);
        let highest = highest.fold(f64::NEG_INFINITY, f64::max);
        let widest = Widest::of(paths);
        // Each with how many assets it may matter for, most first.
        let needed = others.iter().map(|path| {
            let reach = ROUNDING * reach[*path];
            (widest.deviations.partition_point(|deviation| pnl[*path] - highest <= deviation * reach), *path)
        });
        let mut needed: Vec<(usize, usize)> = needed.filter(|(assets, _)| *assets > 0).collect();
        needed.sort_unstable_by_key(|(assets, path)| (std::cmp::Reverse(*assets), *path));
        for some in needed.chunks(BLOCK) {
            self.take_widest(paths, &mut block, pnl, (&widest, some[0].0), some)?;
        }
        Ok(())
    }

    fn take_widest(
        &mut self,
        paths: &Paths<'_>,
        block: &mut Block,
        pnl: &[f64],
        (widest, count): (&Widest, usize),
        some: &[(usize, usize)],
    ) -> Result<(), RiskError> {
        let some: Vec<usize> = some.iter().map(|(_, path)| *path).collect();
        let pnl: Vec<f64> = some.iter().map(|path| pnl[*path]).collect();
        let (assets, rank) = (&widest.assets[..count], paths.factor.rank());
        paths.some(block, &some, (assets, &widest.rows[..count * rank]))?;
        let assets = assets.iter().map(|asset| (*asset, paths.exposures[*asset]));
        self.take(paths.hardware, (&some, &pnl), assets, &block.returns);
        Ok(())
    }
}

/// So many paths with the lowest P&L, and all others.
fn worst(pnl: &[f64], count: usize) -> (Vec<usize>, Vec<usize>) {
    let mut paths: Vec<usize> = (0..pnl.len()).collect();
    let count = count.min(paths.len());
    if count < paths.len() {
        paths.select_nth_unstable_by(count, |a, b| pnl[*a].total_cmp(&pnl[*b]).then(a.cmp(b)));
    }
    let others = paths.split_off(count);
    (paths, others)
}

/// Assets in the order of the standard deviations that they add to P&L, |eᵢ|·|Fᵢ|, the largest first.
struct Widest {
    assets: Vec<usize>,
    deviations: Vec<f64>,
    /// Their rows of the factor.
    rows: Vec<f64>,
}

impl Widest {
    fn of(paths: &Paths<'_>) -> Self {
        let row = |asset: usize| &paths.factor.rows[asset * paths.factor.rank()..][..paths.factor.rank()];
        let length = |asset: usize| row(asset).iter().map(|value| value * value).sum::<f64>().sqrt();
        let deviation = |asset: usize| (paths.exposures[asset].abs() * length(asset), asset);
        let mut sorted: Vec<(f64, usize)> = (0..paths.assets()).map(deviation).collect();
        sorted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (deviations, assets): (Vec<f64>, Vec<usize>) = sorted.into_iter().unzip();
        let rows = assets.iter().flat_map(|asset| row(*asset)).copied().collect();
        Self { assets, deviations, rows }
    }
}
