//! The distribution that is drawn from, fitted to past returns.

use nautilus_hardware::Hardware;
use nautilus_numerics::{correlation, covariance, student_t_quantile};
use ndarray::{Array2, ArrayView1};

use super::factor::Factored;
use super::moments::Moments;
use super::paths::{Margins, Shape};
use super::refused;
use crate::RiskError;
use crate::measures::tail::count_f64;
use crate::measures::{Distribution, VarRequest};

/// The shape that the question asks for, and the factor that goes with it.
///
/// # Errors
/// The degrees of freedom are not above 2, or cannot be fitted.
pub(crate) fn shape(
    hardware: &Hardware,
    request: &VarRequest,
    moments: &Moments<'_>,
) -> Result<(Shape, Factored), RiskError> {
    let distribution = request.distribution.unwrap_or_default();
    let given = request.degrees_of_freedom;
    if given.is_some() && distribution == Distribution::Normal {
        let reason = "the normal distribution has none: send student_t or t_copula, or leave it out";
        return Err(RiskError::new("not_used", "degrees_of_freedom", reason));
    }
    if let Some(given) = given.filter(|given| !(*given > 2.0 && given.is_finite())) {
        let reason = format!("{given} is not above 2, and there is no covariance: send for example 4");
        return Err(RiskError::new("out_of_range", "degrees_of_freedom", reason));
    }
    if distribution == Distribution::Normal {
        return Ok((Shape::Normal, Factored::of(hardware, &moments.covariance, moments.field)?));
    }
    let degrees_of_freedom = given.map_or_else(|| fitted(moments), Ok)?;
    if distribution == Distribution::StudentT {
        let factor = Factored::of(hardware, &moments.covariance, moments.field)?;
        return Ok((Shape::StudentT { degrees_of_freedom }, factor));
    }
    let (margins, scores) = ranks(moments, degrees_of_freedom);
    let covariance = covariance(hardware, &scores, 1).map_err(|error| refused(moments.field, &error))?;
    let mut correlation = correlation(&covariance).map_err(|error| refused(moments.field, &error))?;
    // What does not move has one return only, whatever it is drawn by.
    correlation.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
    let factor = Factored::of(hardware, &correlation, moments.field)?;
    Ok((Shape::Copula { degrees_of_freedom, margins }, factor))
}

/// 4 + 6/κ, which is Student's t of that excess kurtosis; κ is the mean of the assets' sample excess kurtosis m₄/m₂² − 3.
fn fitted(moments: &Moments<'_>) -> Result<f64, RiskError> {
    let excess: Vec<f64> =
        moments.returns.columns().into_iter().filter_map(|column| excess_kurtosis(&column)).collect();
    let mean = excess.iter().sum::<f64>() / count_f64(excess.len());
    if mean.is_nan() || mean <= 0.0 {
        let reason = format!(
            "the assets' mean excess kurtosis is {mean}, no more than a normal distribution's: send normal, or degrees of freedom"
        );
        return Err(RiskError::new("not_heavy_tailed", "degrees_of_freedom", reason));
    }
    Ok(4.0 + 6.0 / mean)
}

/// None where nothing moves.
fn excess_kurtosis(column: &ArrayView1<'_, f64>) -> Option<f64> {
    let mean = column.mean()?;
    let moment =
        |power: i32| column.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / count_f64(column.len());
    let variance = moment(2);
    (variance > 0.0).then(|| moment(4) / (variance * variance) - 3.0)
}

/// Each asset's returns in order, over the horizon, and the t quantiles of its ranks, (rank − ½)/T; ties have the mean of
/// their ranks.
fn ranks(moments: &Moments<'_>, degrees_of_freedom: f64) -> (Margins, Array2<f64>) {
    let (scenarios, assets) = moments.returns.dim();
    let share = |place: f64| place / count_f64(scenarios);
    let quantile = |share: f64| student_t_quantile(share, degrees_of_freedom);
    let bounds = (1..scenarios).map(|k| quantile(share(count_f64(k)))).collect();
    // By half ranks, which is what the mean of tied ranks may be.
    let scores: Vec<f64> =
        (0..2 * scenarios).map(|half| quantile(share(0.5 * count_f64(half.max(1))))).collect();
    let mut of_ranks = Array2::zeros((scenarios, assets));
    let mut sorted = Vec::with_capacity(scenarios * assets);
    for (asset, column) in moments.returns.columns().into_iter().enumerate() {
        let mut order: Vec<usize> = (0..scenarios).collect();
        order.sort_by(|a, b| column[*a].total_cmp(&column[*b]));
        for tied in order.chunk_by(|a, b| column[*a] == column[*b]) {
            let first = sorted.len() - asset * scenarios;
            // The mean of the ranks from `first` to `first + tied − 1`, less a half, doubled.
            let score = scores[2 * first + tied.len()];
            tied.iter().for_each(|scenario| of_ranks[[*scenario, asset]] = score);
            sorted.extend(tied.iter().map(|scenario| column[*scenario]));
        }
        over_horizon(&mut sorted[asset * scenarios..], moments.mean[asset], moments.scale);
    }
    (Margins::new(bounds, sorted), of_ranks)
}

/// Deviations from the sample mean grow with √days; the mean is the horizon's, or none.
fn over_horizon(returns: &mut [f64], mean: f64, scale: f64) {
    let average = returns.iter().sum::<f64>() / count_f64(returns.len());
    returns.iter_mut().for_each(|value| *value = scale * (*value - average) + mean);
}
