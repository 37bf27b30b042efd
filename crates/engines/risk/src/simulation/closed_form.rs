//! Measures of the normal distribution with the sample's moments, without drawing.

use std::f64::consts::PI;

use nautilus_hardware::Hardware;
use nautilus_numerics::normal_quantile;
use serde::{Deserialize, Serialize};

use super::cumulants::{Cumulants, Shape4};
use super::moments::Moments;
use super::{pinned, saddlepoint};
use crate::RiskError;
use crate::measures::check::{Source, overflow};
use crate::measures::tail::{Measures, count_f64};
use crate::measures::{
    ConfidenceInterval, ErrorRule, Interval, Method, QuantileConvention, StandardError, VarAnswer, VarRequest,
};

/// Φ⁻¹(0.975).
const Z: f64 = 1.959_963_984_540_054;

/// # Errors
/// The question asks for what no closed form has, or its numbers are no moments.
pub(crate) fn answer(
    hardware: &Hardware,
    request: &VarRequest,
    source: &Source<'_>,
) -> Result<VarAnswer, RiskError> {
    if request.convention != QuantileConvention::InvertedCdf {
        let reason = "a closed form has one quantile only: leave it out";
        return Err(RiskError::new("not_used", "convention", reason));
    }
    for (field, asked) in [("spectral", request.spectral.is_some()), ("evar", request.evar)] {
        if asked {
            let reason = "closed forms do not have it: use historical or monte_carlo, or leave it out";
            return Err(RiskError::new("not_supported", field, reason));
        }
    }
    let hardware = pinned(hardware);
    let moments = Moments::of(&hardware, request, source)?;
    let tail = 1.0 - request.confidence;
    if request.method == Method::Parametric {
        return normal(request, &moments);
    }
    let cumulants = match &request.gamma {
        Some(gamma) => Cumulants::quadratic(&hardware, &moments, gamma)?,
        None => Cumulants::empirical(&moments),
    };
    let shape = cumulants.shape();
    let measures = match request.method {
        Method::Saddlepoint => saddlepoint::measures(&cumulants, tail)?,
        _ => cornish_fisher(&shape, tail)?,
    };
    let mut answer = empty(request, &moments, measures.var, measures.es)?;
    answer.higher_moments =
        Some(HigherMoments { skewness: shape.skewness, excess_kurtosis: shape.excess_kurtosis });
    Ok(answer)
}

/// Skewness and excess kurtosis of P&L that a measure was computed from: those of the quadratic form, or of the past
/// (m₃/m₂^1.5 and m₄/m₂² − 3).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HigherMoments {
    /// 0 for a symmetric distribution.
    pub skewness: f64,
    /// 0 for a normal distribution.
    pub excess_kurtosis: f64,
}

/// VaR by the expansion w(z) = z + (z² − 1)·S/6 + (z³ − 3z)·K/24 − (2z³ − 5z)·S²/36 (Cornish and Fisher 1938) and ES as the
/// integral of it over the tail (Maillard, A user's guide to the Cornish Fisher expansion, 2012).
///
/// # Errors
/// w falls somewhere in the tail, where it is no quantile function.
fn cornish_fisher(shape: &Shape4, tail: f64) -> Result<Measures, RiskError> {
    let (z, s, k) = (normal_quantile(tail), shape.skewness, shape.excess_kurtosis);
    // The slope of w as a polynomial.
    let (a, b, c) = (k / 8.0 - s * s / 6.0, s / 3.0, 1.0 - k / 8.0 + 5.0 * s * s / 36.0);
    let slope = |x: f64| (a * x + b) * x + c;
    let lowest = if a > 0.0 { (-0.5 * b / a).min(z) } else { z };
    let rises_before = a > 0.0 || (a == 0.0 && b <= 0.0);
    if !(rises_before && slope(lowest) > 0.0) {
        let reason = format!(
            "a skewness of {s} and an excess kurtosis of {k} are outside the domain of the expansion, which falls somewhere \
             in the tail: use saddlepoint or monte_carlo"
        );
        return Err(RiskError::new("out_of_domain", "method", reason));
    }
    let w = z + (z * z - 1.0) * s / 6.0 + (z * z * z - 3.0 * z) * k / 24.0
        - (2.0 * z * z * z - 5.0 * z) * s * s / 36.0;
    let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * PI);
    let mean =
        density / tail * (1.0 + z * s / 6.0 + (z * z - 1.0) * k / 24.0 - (2.0 * z * z - 1.0) * s * s / 36.0);
    Ok(Measures { var: -shape.mean - shape.deviation * w, es: -shape.mean + shape.deviation * mean })
}

/// Delta-normal measures: VaR = z·σ − μ and ES = φ(z)/(1 − c)·σ − μ with σ² = e′Σe over the horizon.
fn normal(request: &VarRequest, moments: &Moments<'_>) -> Result<VarAnswer, RiskError> {
    let exposures = &moments.exposures;
    let with = moments.covariance_with(exposures);
    let variance: f64 = with.iter().zip(exposures).map(|(c, e)| c * e).sum();
    let (sigma, mean) = (libm::sqrt(variance.max(0.0)), moments.mean_pnl());
    let factors = Factors::of(request.confidence);
    let mut answer = empty(request, moments, factors.of_var * sigma - mean, factors.of_es * sigma - mean)?;
    let errors = [factors.of_var, factors.of_es].map(|factor| of_sigma(factor * sigma, moments));
    uncertain(&mut answer, errors.map(Some));
    if moments.per_asset {
        contribute(&mut answer, moments, &factors, &with, sigma);
        if request.incremental {
            without_each(&mut answer, moments, &factors, &with, variance);
        }
    }
    Ok(answer)
}

/// What σ is multiplied by.
struct Factors {
    of_var: f64,
    of_es: f64,
}

impl Factors {
    fn of(confidence: f64) -> Self {
        let tail = 1.0 - confidence;
        let z = -normal_quantile(tail);
        Self { of_var: z, of_es: libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * PI) / tail }
    }
}

/// The standard error of a multiple of σ from the sampling error of σ alone: that multiple / √(2(T − 1)), which holds for
/// normal returns (Kendall and Stuart, The Advanced Theory of Statistics, 1977, §10.11).
fn of_sigma(multiple: f64, moments: &Moments<'_>) -> f64 {
    multiple.abs() / libm::sqrt(2.0 * count_f64(moments.returns.nrows() - 1))
}

/// An answer that says nothing of positions yet.
fn empty(request: &VarRequest, moments: &Moments<'_>, var: f64, es: f64) -> Result<VarAnswer, RiskError> {
    if !(var.is_finite() && es.is_finite()) {
        return Err(overflow(moments.field));
    }
    let none = Interval { lower: None, upper: None, rule: ErrorRule::ClosedForm };
    let rule = ErrorRule::ClosedForm;
    let error = StandardError { var: None, es: None, var_rule: rule, es_rule: rule };
    let interval = ConfidenceInterval { level: 0.95, var: none, es: none };
    Ok(VarAnswer::of(request, (var, es), (error, interval), moments.returns.nrows()))
}

fn uncertain(answer: &mut VarAnswer, [var, es]: [Option<f64>; 2]) {
    answer.standard_error.var = var;
    answer.standard_error.es = es;
    let around = |value: f64, error: Option<f64>| Interval {
        lower: error.map(|error| value - Z * error),
        upper: error.map(|error| value + Z * error),
        rule: ErrorRule::Normal,
    };
    answer.confidence_interval.var = around(answer.var, var);
    answer.confidence_interval.es = around(answer.es, es);
}

/// Euler's parts: ∂VaR/∂eᵢ = z·(Σe)ᵢ/σ − μᵢ; times eᵢ they add up to VaR.
fn contribute(answer: &mut VarAnswer, moments: &Moments<'_>, factors: &Factors, with: &[f64], sigma: f64) {
    let parts = |factor: f64| {
        let slope = if sigma > 0.0 { factor / sigma } else { 0.0 };
        let marginal: Vec<f64> = with.iter().zip(&moments.mean).map(|(c, mean)| slope * c - mean).collect();
        let component = marginal.iter().zip(&moments.exposures).map(|(m, e)| m * e).collect();
        (Some(component), Some(marginal))
    };
    (answer.component_var, answer.marginal_var) = parts(factors.of_var);
    (answer.component_es, answer.marginal_es) = parts(factors.of_es);
}

/// σ² without asset i is σ² − 2eᵢ(Σe)ᵢ + eᵢ²Σᵢᵢ, exactly.
fn without_each(
    answer: &mut VarAnswer,
    moments: &Moments<'_>,
    factors: &Factors,
    with: &[f64],
    variance: f64,
) {
    let diagonal = moments.covariance.diag();
    let mean_pnl = moments.mean_pnl();
    let changes = with.iter().zip(diagonal).zip(moments.exposures.iter().zip(&moments.mean));
    let (var, es) = changes
        .map(|((c, own), (e, mean))| {
            let sigma = libm::sqrt((variance - 2.0 * e * c + e * e * own).max(0.0));
            let expected = mean_pnl - e * mean;
            let without = |factor: f64| factor * sigma - expected;
            (answer.var - without(factors.of_var), answer.es - without(factors.of_es))
        })
        .unzip();
    (answer.incremental_var, answer.incremental_es) = (Some(var), Some(es));
}
