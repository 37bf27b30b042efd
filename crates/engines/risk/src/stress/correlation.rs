//! VaR as correlations move: towards one another, apart, or to nothing, repaired where they are none any more.

use nautilus_hardware::Hardware;
use nautilus_numerics::{NearestCorrelation, nearest_correlation, normal_quantile, quadratic_form};
use ndarray::{Array1, Array2};

use super::answer::CorrelationAnswer;
use super::book::{Book, overflow, range};
use super::joint::{Joint, Source, failed};
use super::request::CorrelationStress;
use crate::RiskError;

const METHOD: &str = "normal VaR z·√(w′Σw·horizon) of the exposures w = delta · spot in the base currency, zero mean; correlations ρ + by·(toward − ρ), then the nearest correlation matrix in the Frobenius norm (Higham 2002; Newton method of Qi and Sun 2006)";

/// Both VaRs and what the repair did.
///
/// # Errors
/// The first field at fault.
pub(super) fn correlation(
    hardware: &Hardware,
    book: &Book,
    source: &Source<'_>,
    request: &CorrelationStress,
) -> Result<CorrelationAnswer, RiskError> {
    check(request)?;
    let joint = source.joint(hardware, book)?;
    let inside = block(source.instruments, request)?;
    let exposures = exposures(book, &joint)?;
    let repaired = |correlations: &Array2<f64>| {
        nearest_correlation(hardware, correlations).map_err(|error| failed("correlation", &error))
    };
    let given = repaired(&joint.correlations)?;
    let moved = Array2::from_shape_fn(given.matrix.dim(), |(i, j)| {
        let rho = given.matrix[[i, j]];
        if i != j && inside[i] && inside[j] { rho + request.by * (request.toward - rho) } else { rho }
    });
    let stressed = repaired(&moved)?;
    let deviation = |of: &NearestCorrelation| -> Result<f64, RiskError> {
        let covariance = joint.covariance(&of.matrix, request.horizon);
        let variance = quadratic_form(hardware, &covariance, &exposures);
        let deviation = variance.map_err(|error| failed("correlation", &error))?.max(0.0).sqrt();
        if deviation.is_finite() { Ok(deviation) } else { Err(overflow("correlation")) }
    };
    let (deviation_before, deviation_after) = (deviation(&given)?, deviation(&stressed)?);
    let z = normal_quantile(request.confidence);
    let rows = || stressed.matrix.rows().into_iter().map(|row| row.to_vec()).collect();
    Ok(CorrelationAnswer {
        var_before: z * deviation_before,
        var_after: z * deviation_after,
        deviation_before,
        deviation_after,
        smallest_eigenvalue_given: given.smallest_eigenvalue,
        repair_distance_given: given.distance,
        smallest_eigenvalue_stressed: stressed.smallest_eigenvalue,
        repair_distance_stressed: stressed.distance,
        correlations: request.matrix.then(rows),
        method: METHOD.to_owned(),
    })
}

fn check(request: &CorrelationStress) -> Result<(), RiskError> {
    let CorrelationStress { toward, by, confidence, horizon, .. } = *request;
    let field = |name: &str| format!("correlation.{name}");
    let legal = (-1.0..=1.0).contains(&toward);
    range(legal, || field("toward"), toward, "a correlation lies between −1 and 1")?;
    range((0.0..=1.0).contains(&by), || field("by"), by, "a share of the way lies between 0 and 1")?;
    let legal = confidence > 0.5 && confidence < 1.0;
    range(legal, || field("confidence"), confidence, "it is above 0.5 and below 1: send for example 0.99")?;
    range(horizon > 0.0 && horizon.is_finite(), || field("horizon"), horizon, "it is above 0")
}

/// Which columns move.
fn block(instruments: &[String], request: &CorrelationStress) -> Result<Vec<bool>, RiskError> {
    let Some(block) = &request.block else { return Ok(vec![true; instruments.len()]) };
    let mut inside = vec![false; instruments.len()];
    for (at, name) in block.iter().enumerate() {
        let field = || format!("correlation.block[{at}]");
        let Some(column) = instruments.iter().position(|other| other == name) else {
            let reason = format!("{name} is not among instruments: correct it");
            return Err(RiskError::new("unknown", field(), reason));
        };
        inside[column] = true;
    }
    Ok(inside)
}

/// By column, the P&L of its simple return, to first order.
fn exposures(book: &Book, joint: &Joint) -> Result<Array1<f64>, RiskError> {
    let mut exposures = Array1::zeros(joint.deviations.len());
    for (index, held) in book.positions.iter().enumerate() {
        let greeks = held.by_spot(index, held.spot)?;
        if let Some(column) = joint.columns[held.instrument] {
            exposures[column] += held.scale * greeks.delta * held.spot;
        }
        if let Some(column) = held.currency.and_then(|place| joint.columns[place]) {
            exposures[column] += held.scale * greeks.value;
        }
    }
    Ok(exposures)
}
