//! Whether forecasts of VaR and ES were right: backtests of a record of forecasts and outcomes.
//!
//! It decides which tests are run, what they may say of so few observations, and what a record must be. Every statistic
//! that can be computed is answered with its p-value, also where the verdict is that there are too few observations to
//! believe it. P&L is signed, VaR and ES are losses; an outcome is an *exception* if it is below −VaR.

mod coverage;
mod distribution;
mod shortfall;
mod traffic_light;

use serde::{Deserialize, Serialize};

use crate::RiskError;

pub use traffic_light::{TrafficLight, Zone};

/// Forecasts of one record, at most: forty years of days.
pub const FORECASTS_MAX: usize = 10_000;
/// The p-value up to which a test rejects.
pub const SIGNIFICANCE: f64 = 0.05;
/// A VaR, ES or P&L above this is a mistake in the data.
const AMOUNT_MAX: f64 = 1e30;

/// What was forecast for one period, and what came. Amounts are in one currency, periods follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Value at risk, positive for a loss.
    pub var: f64,
    /// Expected shortfall, not below VaR and above 0; for all periods or for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub es: Option<f64>,
    /// Of both, for example 0.99; the same in all periods.
    pub confidence: f64,
    /// The forecast probability that P&L is not above the outcome (probability integral transform); for all periods or for
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pit: Option<f64>,
    /// The profit, or below 0 the loss, that came.
    pub pnl: f64,
}

/// A test and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestName {
    /// Whether there are as many exceptions as forecast: proportion of failures (Kupiec 1995).
    KupiecProportion,
    /// Whether the first exception came when it should: time until first failure (Kupiec 1995).
    KupiecFirstFailure,
    /// Whether an exception makes one in the next period more or less likely (Christoffersen 1998).
    ChristoffersenIndependence,
    /// Both number and independence (Christoffersen 1998).
    ChristoffersenConditionalCoverage,
    /// Whether the losses of exceptions are as large as ES: Z₁ (Acerbi and Szekely 2014).
    AcerbiSzekelyZ1,
    /// Whether number and losses of exceptions together are as ES says: Z₂ (Acerbi and Szekely 2014).
    AcerbiSzekelyZ2,
    /// Whether PITs are uniform: the largest distance of distribution functions (Kolmogorov 1933, Smirnov 1948).
    KolmogorovSmirnov,
    /// Whether normal quantiles of PITs have mean 0, variance 1 and no autocorrelation (Berkowitz 2001).
    Berkowitz,
}

/// What a test says at 5 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing speaks against the forecasts here.
    NotRejected,
    /// Right forecasts would give such a statistic in 5 % of records at most.
    Rejected,
    /// There are too few observations for an answer, whatever the p-value.
    TooFewObservations,
}

/// What a test has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestAnswer {
    /// Which one.
    pub test: TestName,
    /// Its statistic; absent where it is not defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistic: Option<f64>,
    /// The probability of such a statistic or one further out if the forecasts are right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// What the p-value was taken from.
    pub distribution: String,
    /// At 5 %.
    pub verdict: Verdict,
    /// What it would take for an answer, where observations are too few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// What a record of forecasts is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestAnswer {
    /// Periods.
    pub observations: usize,
    /// Periods whose outcome was below −VaR.
    pub exceptions: usize,
    /// Exceptions that right forecasts have on average.
    pub expected_exceptions: f64,
    /// Of VaR and ES.
    pub confidence: f64,
    /// The zone of the Basel Committee (1996).
    pub traffic_light: TrafficLight,
    /// What was tested: the tests of VaR always, those of ES and of PITs where these are given.
    pub tests: Vec<TestAnswer>,
}

/// A test before its verdict.
struct Finding {
    test: TestName,
    /// Statistic and p-value.
    found: Option<(f64, f64)>,
    distribution: String,
    /// What is missing for an answer.
    needs: Option<String>,
}

impl Finding {
    fn judged(self) -> TestAnswer {
        let verdict = match self.found {
            Some((_, p_value)) if self.needs.is_none() => {
                if p_value <= SIGNIFICANCE {
                    Verdict::Rejected
                } else {
                    Verdict::NotRejected
                }
            }
            _ => Verdict::TooFewObservations,
        };
        TestAnswer {
            test: self.test,
            statistic: self.found.map(|(statistic, _)| statistic),
            p_value: self.found.map(|(_, p_value)| p_value),
            distribution: self.distribution,
            verdict,
            needs: self.needs,
        }
    }
}

/// Tests a record of forecasts, the oldest first.
///
/// # Errors
/// There are none or too many, confidences differ, ES or PITs are given for some periods only, or a number is not legal;
/// the field says which.
pub fn backtest(forecasts: &[Forecast]) -> Result<BacktestAnswer, RiskError> {
    let confidence = check(forecasts)?;
    let share = 1.0 - confidence;
    let hits: Vec<bool> = forecasts.iter().map(|forecast| forecast.pnl < -forecast.var).collect();
    let exceptions = hits.iter().filter(|hit| **hit).count();
    let mut findings = coverage::findings(&hits, share);
    if let Some(shortfalls) = shortfall::Shortfalls::of(forecasts, share) {
        findings.extend(shortfalls.findings(shortfall::PATHS));
    }
    let pits: Vec<f64> = forecasts.iter().filter_map(|forecast| forecast.pit).collect();
    if !pits.is_empty() {
        findings.extend(distribution::findings(&pits));
    }
    Ok(BacktestAnswer {
        observations: forecasts.len(),
        exceptions,
        expected_exceptions: count(forecasts.len()) * share,
        confidence,
        traffic_light: traffic_light::of(forecasts.len(), exceptions, share),
        tests: findings.into_iter().map(Finding::judged).collect(),
    })
}

/// The confidence of a legal record.
fn check(forecasts: &[Forecast]) -> Result<f64, RiskError> {
    let Some(first) = forecasts.first() else {
        return Err(RiskError::new("empty", "forecasts", "there are none: give at least one period"));
    };
    if forecasts.len() > FORECASTS_MAX {
        let reason = format!("{} are too many: give the newest {FORECASTS_MAX}", forecasts.len());
        return Err(RiskError::new("too_many", "forecasts", reason));
    }
    for (at, forecast) in forecasts.iter().enumerate() {
        let refuse = |code, field: &str, reason: String| {
            Err(RiskError::new(code, format!("forecasts[{at}].{field}"), reason))
        };
        let Forecast { var, es, confidence, pit, pnl } = *forecast;
        for (field, value) in [("var", var), ("es", es.unwrap_or_default()), ("pnl", pnl)] {
            if value.is_nan() || value.abs() > AMOUNT_MAX {
                return refuse("number", field, format!("{value} is not an amount: correct it"));
            }
        }
        if !(confidence > 0.0 && confidence < 1.0) {
            return refuse("confidence", "confidence", format!("{confidence} is not between 0 and 1"));
        }
        if confidence.to_bits() != first.confidence.to_bits() {
            let reason = format!("{confidence} is not the first one's {}: test them apart", first.confidence);
            return refuse("confidence", "confidence", reason);
        }
        if es.is_some() != first.es.is_some() || pit.is_some() != first.pit.is_some() {
            let field = if es.is_some() == first.es.is_some() { "pit" } else { "es" };
            return refuse("missing", field, "give it for all periods or for none".to_owned());
        }
        if let Some(es) = es.filter(|es| *es <= 0.0 || *es < var) {
            let reason = format!("{es} is not above 0 and at least VaR, as the mean of larger losses is");
            return refuse("es", "es", reason);
        }
        if let Some(pit) = pit.filter(|pit| !(0.0..=1.0).contains(pit)) {
            return refuse("pit", "pit", format!("{pit} is not a probability"));
        }
    }
    Ok(first.confidence)
}

#[allow(clippy::cast_precision_loss)]
fn count(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
