//! Stress: scenarios, sensitivity grids, correlation stress, and the shock behind a given loss.
//!
//! Every position is revalued in full; nothing is read off a Taylor series but the explanation that says so. European
//! options by Black, Scholes and Merton, American ones by their exercise boundary. P&L is signed, losses negative; what
//! is named a loss or VaR is positive.

mod answer;
mod book;
mod correlation;
mod grid;
mod joint;
mod library;
mod request;
mod reverse;
mod scenarios;

pub use answer::{
    CorrelationAnswer, Explanation, GridStress, InstrumentShock, PositionGreeks, PositionStress,
    ReverseStressAnswer, ScenarioStress, StressAnswer,
};
pub use request::{
    CorrelationStress, HistoricalStress, ReverseStressRequest, Shock, StressDetail, StressGrid,
    StressOptionKind, StressOptionStyle, StressPosition, StressRequest, StressScenario,
};

use nautilus_hardware::Hardware;

use crate::RiskError;
use book::{Book, Preparations};
use joint::Source;

const METHOD: &str = "full revaluation: European options by Black, Scholes and Merton (1973), American ones by the exercise \
    boundary of Andersen, Lake and Offengenden (2016); relative shocks of prices and volatilities, then added volatility \
    points, rates and yields; library scenarios move every price as the S&P 500 and every volatility as the VIX, \
    historical ones prices alone; greeks and P&L are of whole positions in the base currency";

/// Puts positions through scenarios, grids and moved correlations.
///
/// # Errors
/// The question is not legal, asks for too much, or its numbers are too large; the error names the field.
pub fn stress(hardware: &Hardware, request: &StressRequest) -> Result<StressAnswer, RiskError> {
    let book = Book::new(&request.positions, &request.currencies)?;
    let mut preparations = Preparations::default();
    let mut resolved = scenarios::resolve(request, &book)?;
    if let Some(historical) = &request.historical {
        resolved.extend(worst(request, &book, historical.worst)?);
    }
    let scenarios = scenarios::revalue(&book, &resolved, request.detail, &mut preparations)?;
    let grids = grid::grids(&book, &request.grids, &mut preparations)?;
    let source = Source {
        instruments: &request.instruments,
        returns: request.returns.as_ref(),
        covariance: request.covariance.as_ref(),
        correlations: request.correlations.as_ref(),
        volatilities: request.volatilities.as_deref(),
    };
    let moved = request.correlation.as_ref();
    let moved = moved.map(|moved| correlation::correlation(hardware, &book, &source, moved)).transpose()?;
    Ok(StressAnswer { value: book.value, scenarios, grids, correlation: moved, method: METHOD.to_owned() })
}

/// The most likely shock of prices that loses what is asked.
///
/// # Errors
/// The question is not legal, or no shock was found that loses that much; the error names the field.
pub fn reverse_stress(
    hardware: &Hardware,
    request: &ReverseStressRequest,
) -> Result<ReverseStressAnswer, RiskError> {
    reverse::reverse(hardware, request)
}

fn worst(request: &StressRequest, book: &Book, count: usize) -> Result<Vec<scenarios::Resolved>, RiskError> {
    let Some(returns) = &request.returns else {
        let reason = "historical scenarios come from them: send periods × instruments";
        return Err(RiskError::new("missing", "returns", reason));
    };
    let places = joint::places(&request.instruments, book)?;
    joint::matrix("returns", returns, places.len())?;
    if let Some(at) = returns.values().iter().position(|value| *value < -1.0) {
        let (row, column) = (at / places.len(), at % places.len());
        let reason = "a simple return is at least −1: send returns, not changes of price";
        return Err(RiskError::new("out_of_range", format!("returns[{row}][{column}]"), reason));
    }
    if count == 0 || count > scenarios::SCENARIOS_MAX {
        let reason = format!("{count}: send 1 to {}", scenarios::SCENARIOS_MAX);
        return Err(RiskError::new("out_of_range", "historical.worst", reason));
    }
    scenarios::worst(book, returns, &places, count)
}
