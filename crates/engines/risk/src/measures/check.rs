//! What a question has to be before anything is computed: each refusal names the field and what to do.

use super::{HorizonRule, Method, QuantileConvention, ScenarioMatrix, VarRequest, Volatility, coherent};
use crate::RiskError;

/// The most numbers of a vector of P&L.
pub(crate) const PNL_MAX: usize = ScenarioMatrix::ELEMENTS_MAX;

/// Where the distribution comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Returns, and what is held of each asset.
    Returns { returns: &'a ScenarioMatrix, exposures: &'a [f64] },
    /// P&L as it is.
    Pnl(&'a [f64]),
}

impl Source<'_> {
    /// The field that scenarios stand in.
    pub(crate) const fn field(&self) -> &'static str {
        match self {
            Self::Returns { .. } => "returns",
            Self::Pnl(_) => "scenario_pnl",
        }
    }
}

/// The parts of a legal question. Whether `returns` are finite is not looked at: their products tell.
///
/// # Errors
/// The first field at fault.
pub(crate) fn check(request: &VarRequest) -> Result<Source<'_>, RiskError> {
    if !(request.confidence > 0.0 && request.confidence < 1.0) {
        let reason = format!("{} is not above 0 and below 1: send for example 0.99", request.confidence);
        return Err(RiskError::new("out_of_range", "confidence", reason));
    }
    horizon(request)?;
    options(request)?;
    request.spectral.as_ref().map_or(Ok(()), coherent::check)?;
    source(request)
}

fn horizon(request: &VarRequest) -> Result<(), RiskError> {
    let days = request.horizon_days;
    let refuse = |reason: String| Err(RiskError::new("out_of_range", "horizon_days", reason));
    if !(days > 0.0 && days.is_finite()) {
        return refuse(format!("{days} is no number of days above 0: send for example 1 or 10"));
    }
    if request.horizon_rule == HorizonRule::Overlapping && (days.fract() != 0.0 || days > 1e6) {
        return refuse(format!("{days} is no whole number of scenarios to add up: send one, or sqrt_time"));
    }
    Ok(())
}

/// Options that the method does not read are refused: whoever sent them expects another answer.
fn options(request: &VarRequest) -> Result<(), RiskError> {
    let (method, drawn) = (request.method, request.method == Method::MonteCarlo);
    let filtered = method == Method::FilteredHistorical;
    let faded = method == Method::AgeWeighted
        || (filtered && request.volatility.unwrap_or_default() == Volatility::Ewma);
    let scenarios = matches!(method, Method::Historical | Method::FilteredHistorical | Method::AgeWeighted);
    let curved = matches!(method, Method::CornishFisher | Method::Saddlepoint | Method::MonteCarlo);
    let unused = [
        ("decay", request.decay.is_some() && !faded, "age_weighted, and filtered_historical by ewma"),
        ("volatility", request.volatility.is_some() && !filtered, "filtered_historical"),
        ("include_mean", request.include_mean && scenarios, "methods that know returns by their moments"),
        ("gamma", request.gamma.is_some() && !curved, "cornish_fisher, saddlepoint and monte_carlo"),
        ("seed", request.seed.is_some() && !drawn, "monte_carlo"),
        ("paths", request.paths.is_some() && !drawn, "monte_carlo"),
        ("distribution", request.distribution.is_some() && !drawn, "monte_carlo"),
        ("degrees_of_freedom", request.degrees_of_freedom.is_some() && !drawn, "monte_carlo"),
        ("sampling", request.sampling.is_some() && !drawn, "monte_carlo"),
    ];
    if let Some((field, _, reader)) = unused.into_iter().find(|(_, unused, _)| *unused) {
        let reason = format!("this method does not read it, only {reader}: leave it out");
        return Err(RiskError::new("not_used", field, reason));
    }
    if let Some(decay) = request.decay
        && !(decay > 0.0 && decay < 1.0)
    {
        let reason = format!("{decay} is not above 0 and below 1: send for example 0.94");
        return Err(RiskError::new("out_of_range", "decay", reason));
    }
    if method == Method::AgeWeighted && request.convention != QuantileConvention::InvertedCdf {
        let reason = "weighted scenarios have no other quantile than inverted_cdf: leave it out";
        return Err(RiskError::new("not_supported", "convention", reason));
    }
    Ok(())
}

fn source(request: &VarRequest) -> Result<Source<'_>, RiskError> {
    let refuse = |code, field: &str, reason: &str| Err(RiskError::new(code, field, reason));
    let held = match (&request.positions, &request.weights) {
        (Some(_), Some(_)) => {
            return refuse("conflict", "weights", "positions say the same in money: send one of both");
        }
        (Some(positions), None) => Some(("positions", positions)),
        (None, Some(weights)) => Some(("weights", weights)),
        (None, None) => None,
    };
    match (&request.returns, &request.scenario_pnl, held) {
        (Some(returns), None, Some((field, exposures))) => {
            if exposures.len() != returns.columns() {
                let (given, columns) = (exposures.len(), returns.columns());
                let reason = format!("{given} numbers for {columns} assets in returns: send one per asset");
                return Err(RiskError::new("unequal_lengths", field, reason));
            }
            finite(exposures, field)?;
            several(returns.rows(), "returns")?;
            Ok(Source::Returns { returns, exposures })
        }
        (None, Some(pnl), None) => {
            if pnl.len() > PNL_MAX {
                return refuse("too_large", "scenario_pnl", &format!("send at most {PNL_MAX} numbers"));
            }
            several(pnl.len(), "scenario_pnl")?;
            finite(pnl, "scenario_pnl")?;
            Ok(Source::Pnl(pnl))
        }
        (Some(_), Some(_), _) => {
            refuse("conflict", "scenario_pnl", "returns bring scenarios, too: send one of both")
        }
        (Some(_), None, None) => refuse(
            "missing",
            "positions",
            "returns need the value held of each asset: send positions or weights",
        ),
        (None, Some(_), Some((field, _))) => {
            refuse("conflict", field, "scenario_pnl is of the whole portfolio: leave it out, or send returns")
        }
        (None, None, _) => refuse(
            "missing",
            "returns",
            "there are no scenarios: send returns with positions, or scenario_pnl",
        ),
    }
}

fn several(count: usize, field: &str) -> Result<(), RiskError> {
    if count >= 2 {
        return Ok(());
    }
    let reason =
        format!("{count} scenarios are no distribution: send at least 2, and more for a high confidence");
    Err(RiskError::new("too_few_scenarios", field, reason))
}

/// Refuses what is not a number, with its place.
///
/// # Errors
/// The first element that is NaN or infinite.
pub(crate) fn finite(values: &[f64], field: &str) -> Result<(), RiskError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(not_finite(format!("{field}[{at}]"), values[at])),
    }
}

pub(crate) fn not_finite(field: String, value: f64) -> RiskError {
    RiskError::new(
        "not_finite",
        field,
        format!("{value} is not a finite number: fill the gap or leave it out"),
    )
}

/// The numbers are finite and what follows from them is not.
pub(crate) fn overflow(field: &str) -> RiskError {
    RiskError::new("overflow", field, "the result is too large for a double: measure in a larger unit")
}
