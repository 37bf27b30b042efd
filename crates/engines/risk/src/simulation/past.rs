//! Past P&L, and its positions.

use super::cumulants::{Cumulants, Positions, Tilt, Tilted, foremost};
use super::moments::Moments;
use crate::RiskError;
use crate::measures::tail::count_f64;

/// P&L of the past, its deviations from the mean times √days around the mean that the question asks for.
pub(crate) struct Past<'a> {
    moments: &'a Moments<'a>,
    /// Of each asset's daily returns.
    averages: Vec<f64>,
    /// Deviations of P&L over the horizon.
    deviations: Vec<f64>,
}

impl<'a> Past<'a> {
    pub(crate) fn of(moments: &'a Moments<'a>) -> Self {
        let rows = moments.returns.rows().into_iter();
        let total = |row: ndarray::ArrayView1<'_, f64>| {
            row.iter().zip(&moments.exposures).map(|(value, exposure)| value * exposure).sum::<f64>()
        };
        let daily: Vec<f64> = rows.map(total).collect();
        let average = daily.iter().sum::<f64>() / count_f64(daily.len());
        let deviations: Vec<f64> = daily.iter().map(|pnl| moments.scale * (pnl - average)).collect();
        let mut averages = vec![0.0; moments.assets()];
        for row in moments.returns.rows() {
            averages.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        averages.iter_mut().for_each(|sum| *sum /= count_f64(daily.len()));
        Self { moments, averages, deviations }
    }
}

impl Positions for Past<'_> {
    fn cumulants(&self) -> Cumulants {
        Cumulants::empirical(&self.deviations, self.moments.mean_pnl())
    }

    /// A tilted mean and its derivatives are sums over scenarios of returns, by weight and by the deviation of P&L.
    fn tilted(&self, tilts: &[Tilt]) -> Result<Tilted, RiskError> {
        let (cumulants, expected) = (self.cumulants(), self.moments.mean_pnl());
        let pnl: Vec<f64> = self.deviations.iter().map(|off| off + expected).collect();
        let mut weights = vec![0.0; pnl.len()];
        for Tilt { t, counts: [a, b, c, d] } in tilts {
            let (at, origin) = (cumulants.at(*t), foremost(&pnl, *t));
            let likely: Vec<f64> = pnl.iter().map(|x| libm::exp(t * (x - origin))).collect();
            let all: f64 = likely.iter().sum();
            for ((weight, likely), x) in weights.iter_mut().zip(likely).zip(&pnl) {
                let off = x - at.first;
                let square = off * off - at.second;
                let cube = off * (off * off - 3.0 * at.second) - at.third;
                *weight += likely / all * (a + b * off + c * square + d * cube);
            }
        }
        let total: f64 = weights.iter().sum();
        let Moments { exposures, mean, scale, .. } = self.moments;
        let mut sums = vec![0.0; self.averages.len()];
        for (row, weight) in self.moments.returns.rows().into_iter().zip(&weights) {
            let off = row.iter().zip(&self.averages).map(|(value, average)| weight * (value - average));
            sums.iter_mut().zip(off).for_each(|(sum, off)| *sum += off);
        }
        let returns: Vec<f64> = sums.iter().zip(mean).map(|(sum, mean)| scale * sum + mean * total).collect();
        Ok(Tilted { pnl: returns.iter().zip(exposures).map(|(r, e)| r * e).collect(), returns })
    }

    fn without(&self, asset: usize) -> Cumulants {
        let Moments { exposures, mean, scale, returns, .. } = self.moments;
        let (exposure, average) = (exposures[asset], self.averages[asset]);
        let column = returns.column(asset);
        let off = column.iter().map(|value| exposure * scale * (value - average));
        let deviations: Vec<f64> = self.deviations.iter().zip(off).map(|(pnl, off)| pnl - off).collect();
        Cumulants::empirical(&deviations, self.moments.mean_pnl() - exposure * mean[asset])
    }
}
