//! Each day's forecast of each portfolio's loss, and what became of it: what backtests are made of.

use std::collections::{BTreeMap, VecDeque};

use nautilus_types::DeskName;
use serde::{Deserialize, Serialize};

/// Days kept of a portfolio.
pub(crate) const DAYS_MAX: usize = 4_096;
/// Points of a forecast distribution that are kept.
const POINTS: usize = 513;
/// The confidence of forecasts.
pub(crate) const CONFIDENCE: f64 = 0.99;

/// A forecast of one day's loss, made when the day began, from positions and scenarios as they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forecast {
    pub(crate) day: u64,
    pub(crate) var: f64,
    pub(crate) es: f64,
    /// Quantiles of the P&L at equal steps from the smallest to the largest.
    pub(crate) quantiles: Vec<f64>,
}

/// A forecast and its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastRow {
    /// Days since 1970-01-01.
    pub day: u64,
    /// Forecast 99 % value at risk.
    pub var: f64,
    /// Forecast expected shortfall.
    pub es: f64,
    /// Profit of the day, fees taken off.
    pub outcome: f64,
    /// The share of the forecast distribution below the outcome.
    pub pit: f64,
}

/// What is known of one portfolio's forecasts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Record {
    open: Option<Forecast>,
    closed: VecDeque<ForecastRow>,
}

/// Forecasts of all portfolios.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Forecasts(BTreeMap<DeskName, Record>);

impl Forecast {
    /// From the P&L of equally likely scenarios.
    pub(crate) fn new(day: u64, (var, es): (f64, f64), pnl: &[f64]) -> Self {
        let mut sorted = pnl.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let points = POINTS.min(sorted.len());
        let at = |point: usize| sorted[point * (sorted.len() - 1) / (points - 1).max(1)];
        Self { day, var, es, quantiles: (0..points).map(at).collect() }
    }

    /// The share of the distribution below an outcome, linear between quantiles. The ends are half a step from 0 and 1, so
    /// that a transform to the normal distribution is finite.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn pit(&self, outcome: f64) -> f64 {
        let points = &self.quantiles;
        let above = points.partition_point(|point| *point < outcome);
        let position = match above {
            0 => 0.0,
            above if above == points.len() => points.len() as f64 - 1.0,
            above => {
                let (low, high) = (points[above - 1], points[above]);
                (above - 1) as f64 + if high > low { (outcome - low) / (high - low) } else { 0.5 }
            }
        };
        (position + 0.5) / points.len() as f64
    }
}

impl Forecasts {
    /// The outcome of a portfolio's open forecast, as a row.
    pub(crate) fn outcome(&self, portfolio: DeskName, outcome: f64) -> Option<ForecastRow> {
        let Forecast { day, var, es, .. } = *self.0.get(&portfolio)?.open.as_ref()?;
        let pit = self.0.get(&portfolio)?.open.as_ref()?.pit(outcome);
        Some(ForecastRow { day, var, es, outcome, pit })
    }

    /// Closes the open forecast of a portfolio and opens the next.
    pub(crate) fn turn(&mut self, portfolio: DeskName, closed: Option<ForecastRow>, next: Option<Forecast>) {
        let record = self.0.entry(portfolio).or_default();
        record.open = next;
        if let Some(row) = closed {
            if record.closed.len() == DAYS_MAX {
                record.closed.pop_front();
            }
            record.closed.push_back(row);
        }
    }

    /// A portfolio's rows, oldest first.
    pub(crate) fn rows(&self, portfolio: DeskName) -> Vec<ForecastRow> {
        self.0.get(&portfolio).map(|record| record.closed.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether no list is too long.
    pub(crate) fn is_bounded(&self) -> bool {
        self.0.values().all(|record| {
            record.closed.len() <= DAYS_MAX
                && record.open.as_ref().is_none_or(|open| open.quantiles.len() <= POINTS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pit_is_the_share_below() {
        let pnl: Vec<f64> = (0..1_000).rev().map(f64::from).collect();
        let forecast = Forecast::new(1, (2.0, 3.0), &pnl);
        assert_eq!(forecast.quantiles.len(), POINTS);
        for outcome in [10.0, 250.0, 500.5, 990.0] {
            assert!((forecast.pit(outcome) - outcome / 1_000.0).abs() < 2e-3, "{outcome}");
        }
        assert!(forecast.pit(-1.0) > 0.0 && forecast.pit(2_000.0) < 1.0);
        let one = Forecast::new(1, (0.0, 0.0), &[5.0]);
        assert_eq!((one.pit(4.0), one.pit(6.0)), (0.5, 0.5));
    }

    #[test]
    fn a_day_closes_one_forecast_and_opens_the_next() {
        let mut forecasts = Forecasts::default();
        let name: DeskName = "main".parse().unwrap();
        assert_eq!(forecasts.outcome(name, 1.0), None);
        let forecast = |day| Forecast::new(day, (2.0, 3.0), &[-3.0, -2.0, 0.0, 1.0]);
        forecasts.turn(name, None, Some(forecast(1)));
        let row = forecasts.outcome(name, -2.5).unwrap();
        assert_eq!((row.day, row.var, row.outcome), (1, 2.0, -2.5));
        for day in 2..=DAYS_MAX as u64 + 5 {
            forecasts.turn(name, Some(row), Some(forecast(day)));
        }
        assert_eq!(forecasts.rows(name).len(), DAYS_MAX);
        assert!(forecasts.is_bounded());
    }
}
