//! Tests of ES by the losses of exceptions (Acerbi and Szekely, Backtesting expected shortfall, Risk 2014).
//!
//! Both statistics are 0 on average if the forecasts are right and below 0 if ES is too small. Their p-values come from
//! records that are drawn under the forecasts. VaR and ES do not say what the distribution beyond VaR is: it is taken to
//! be exponential with the mean that ES gives, the distribution of largest entropy with that mean. Under normal and
//! Student tails critical values are nearly the same, as the authors found (−0.70 at 5 % for Z₂ of 250 days at 97.5 %).
//! Draws are a function of the seed, the record's number and the place in it, so that equal records get equal p-values.

use nautilus_numerics::Philox;

use super::{Finding, Forecast, TestName, count};

/// Drawn records. A p-value of 5 % has a standard error of 0.2 %.
pub(super) const PATHS: u32 = 10_000;
const SEED: u64 = 0x0041_6365_7262_6931;

/// What the statistics need of a record.
pub(super) struct Shortfalls {
    share: f64,
    /// VaR/ES of each period.
    ratios: Vec<f64>,
    /// The sum of pnl/ES over exceptions, and how many there are.
    sum: f64,
    exceptions: usize,
}

impl Shortfalls {
    /// None where no ES was forecast.
    pub(super) fn of(forecasts: &[Forecast], share: f64) -> Option<Self> {
        let mut shortfalls =
            Self { share, ratios: Vec::with_capacity(forecasts.len()), sum: 0.0, exceptions: 0 };
        for forecast in forecasts {
            let es = forecast.es?;
            shortfalls.ratios.push(forecast.var / es);
            if forecast.pnl < -forecast.var {
                shortfalls.sum += forecast.pnl / es;
                shortfalls.exceptions += 1;
            }
        }
        Some(shortfalls)
    }

    pub(super) fn findings(&self, paths: u32) -> [Finding; 2] {
        let z1 = first(self.sum, self.exceptions);
        let z2 = self.second(self.sum);
        let (mut with_exceptions, mut below) = (0, [0, 0]);
        let stream = Philox::new(SEED);
        for path in 0..paths {
            let (sum, exceptions) = self.draw(&stream, path);
            if let (Some(drawn), Some(z1)) = (first(sum, exceptions), z1) {
                with_exceptions += 1;
                below[0] += u32::from(drawn <= z1);
            }
            below[1] += u32::from(self.second(sum) <= z2);
        }
        // The record itself is one of those that may be drawn, so that no p-value is 0.
        let p_value = |below: u32, of: u32| f64::from(below + 1) / f64::from(of + 1);
        let distribution =
            format!("{paths} records drawn under the forecasts, exponential beyond VaR; lower tail");
        let expected = count(self.ratios.len()) * self.share;
        let too_short = (expected < 1.0 - 1e-9).then(|| {
            let needed = libm::ceil(1.0 / self.share - 1e-9);
            format!("{expected} exceptions are expected: give {needed} observations")
        });
        let none_yet = (self.exceptions == 0).then(|| "there is no exception yet".to_owned());
        [
            Finding {
                test: TestName::AcerbiSzekelyZ1,
                found: z1.map(|z1| (z1, p_value(below[0], with_exceptions))),
                distribution: format!("{distribution}, those with exceptions"),
                needs: none_yet,
            },
            Finding {
                test: TestName::AcerbiSzekelyZ2,
                found: Some((z2, p_value(below[1], paths))),
                distribution,
                needs: too_short,
            },
        ]
    }

    /// Z₂ of a sum of pnl/ES over exceptions.
    fn second(&self, sum: f64) -> f64 {
        sum / (count(self.ratios.len()) * self.share) + 1.0
    }

    /// Of a record as it may come: the sum of pnl/ES over its exceptions, and how many there are. From one exception to the
    /// next it is a geometric number of periods.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn draw(&self, stream: &Philox, path: u32) -> (f64, usize) {
        let (mut sum, mut exceptions, mut at) = (0.0, 0, 0_usize);
        let ln_miss = libm::log1p(-self.share);
        loop {
            let [high, low, loss_high, loss_low] = stream.block([exceptions, path, 0, 0]);
            let misses = libm::log(uniform(high, low)) / ln_miss;
            // The conversion saturates.
            at = at.saturating_add(misses as usize);
            let Some(ratio) = self.ratios.get(at) else { return (sum, exceptions as usize) };
            // Beyond VaR, ES − VaR on average: both over ES.
            sum -= ratio - (1.0 - ratio) * libm::log(uniform(loss_high, loss_low));
            exceptions += 1;
            at += 1;
        }
    }
}

/// Z₁, which is not defined without exceptions.
fn first(sum: f64, exceptions: usize) -> Option<f64> {
    (exceptions > 0).then(|| sum / count(exceptions) + 1.0)
}

/// Between 0 and 1, neither of them: 52 bits at the middle of their step.
fn uniform(high: u32, low: u32) -> f64 {
    let bits = (u64::from(high) << 20) | u64::from(low >> 12);
    (bits as f64 + 0.5) / (1_u64 << 52) as f64
}
