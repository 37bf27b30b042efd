//! Measures of the normal distribution with the sample's moments, without drawing.

use std::f64::consts::PI;

use nautilus_hardware::Hardware;
use nautilus_numerics::normal_quantile;
use serde::{Deserialize, Serialize};

use super::cumulants::{Cumulants, Differentiable, Positions, Shape4, Tilt, Tilted};
use super::moments::Moments;
use super::past::Past;
use super::quadratic::Quadratic;
use super::{pinned, saddlepoint};
use crate::RiskError;
use crate::measures::check::{Source, overflow};
use crate::measures::scenarios::checked;
use crate::measures::tail::{Measures, count_f64};
use crate::measures::{
    ConfidenceInterval, ErrorRule, Interval, Method, QuantileConvention, StandardError, VarAnswer, VarRequest,
};

/// Returns of the past from which the saddlepoint without each position follows, at most: some ten seconds of one core.
const RETURNS_MAX: usize = 1 << 22;
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
    if request.method == Method::Parametric {
        return normal(request, &moments);
    }
    match &request.gamma {
        Some(gamma) => by_cumulants(request, &moments, &Quadratic::of(&hardware, &moments, gamma)?),
        None => by_cumulants(request, &moments, &Past::of(&moments)),
    }
}

/// Measures that follow from cumulants, their derivatives by the sizes of positions, and those without each.
fn by_cumulants(
    request: &VarRequest,
    moments: &Moments<'_>,
    positions: &dyn Positions,
) -> Result<VarAnswer, RiskError> {
    let cumulants = positions.cumulants();
    let (shape, whole) = (cumulants.shape(), measured(request, &cumulants)?);
    let mut answer = empty(request, moments, whole.measures.var, whole.measures.es)?;
    let mut left_out = None;
    if moments.per_asset {
        split(&mut answer, positions, &shape, &whole)?;
    }
    if moments.per_asset && request.incremental {
        match others(request, moments, positions, &shape) {
            Ok(others) => {
                answer.incremental_var = Some(others.iter().map(|left| answer.var - left.var).collect());
                answer.incremental_es = Some(others.iter().map(|left| answer.es - left.es).collect());
            }
            Err(reason) => left_out = Some(reason),
        }
    }
    answer.higher_moments = Some(HigherMoments {
        skewness: shape.skewness,
        excess_kurtosis: shape.excess_kurtosis,
        incremental_left_out: left_out,
    });
    checked(answer)
}

fn measured(request: &VarRequest, cumulants: &Cumulants) -> Result<Differentiable, RiskError> {
    let tail = 1.0 - request.confidence;
    match request.method {
        Method::Saddlepoint => saddlepoint::measures(cumulants, tail),
        _ => cornish_fisher(&cumulants.shape(), tail),
    }
}

/// Measures without each position, or why there are none.
fn others(
    request: &VarRequest,
    moments: &Moments<'_>,
    positions: &dyn Positions,
    whole: &Shape4,
) -> Result<Vec<Measures>, String> {
    let numbers = moments.returns.len();
    if request.method == Method::Saddlepoint && request.gamma.is_none() && numbers > RETURNS_MAX {
        return Err(format!(
            "{numbers} returns are more than {RETURNS_MAX}, past which the tail without each position takes too long: send fewer, \
             or use historical"
        ));
    }
    let without = |asset: usize| {
        let left = positions.without(asset);
        let shape = left.shape();
        // Of a portfolio of one position nothing but rounding is left.
        if shape.deviation <= 1e-14 * whole.deviation {
            return Ok(Differentiable::certain(shape.mean).measures);
        }
        let measured = measured(request, &left).map(|left| left.measures);
        measured.map_err(|error| format!("without position {asset}, {error}"))
    };
    (0..moments.assets()).map(without).collect()
}

/// Euler's parts. What a sum of them lacks of the measure is the error of an integral, which scales with the standard deviation
/// where its nodes stay in units of that: it is shared like the deviation, and then parts are the exact derivatives.
fn split(
    answer: &mut VarAnswer,
    positions: &dyn Positions,
    shape: &Shape4,
    whole: &Differentiable,
) -> Result<(), RiskError> {
    let per_variance = if shape.variance > 0.0 { 1.0 / shape.variance } else { 0.0 };
    let deviation = positions.tilted(&[Tilt { t: 0.0, counts: [0.0, per_variance, 0.0, 0.0] }])?;
    let parts = |measure: f64, tilts: &[Tilt]| {
        let Tilted { mut pnl, mut returns } = positions.tilted(tilts)?;
        let lacking = measure - pnl.iter().sum::<f64>();
        pnl.iter_mut().zip(&deviation.pnl).for_each(|(part, share)| *part += lacking * share);
        returns.iter_mut().zip(&deviation.returns).for_each(|(part, share)| *part += lacking * share);
        Ok::<_, RiskError>((Some(pnl), Some(returns)))
    };
    (answer.component_var, answer.marginal_var) = parts(answer.var, &whole.var)?;
    (answer.component_es, answer.marginal_es) = parts(answer.es, &whole.es)?;
    Ok(())
}

/// Skewness and excess kurtosis of P&L that a measure was computed from: those of the quadratic form, or of the past
/// (m₃/m₂^1.5 and m₄/m₂² − 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HigherMoments {
    /// 0 for a symmetric distribution.
    pub skewness: f64,
    /// 0 for a normal distribution.
    pub excess_kurtosis: f64,
    /// Why there is nothing without each position, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental_left_out: Option<String>,
}

/// VaR by the expansion w(z) = z + (z² − 1)·S/6 + (z³ − 3z)·K/24 − (2z³ − 5z)·S²/36 (Cornish and Fisher 1938) and ES as the
/// integral of it over the tail (Maillard, A user's guide to the Cornish Fisher expansion, 2012). Both are −κ₁ − σ·v with v linear in
/// S, S² and K, which gives their derivatives by the cumulants and so by positions.
///
/// # Errors
/// w falls somewhere in the tail, where it is no quantile function.
fn cornish_fisher(shape: &Shape4, tail: f64) -> Result<Differentiable, RiskError> {
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
    let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * PI);
    let of_var = [z, z * z - 1.0, z * z * z - 3.0 * z, 2.0 * z * z * z - 5.0 * z];
    let of_es = [1.0, z, z * z - 1.0, 2.0 * z * z - 1.0].map(|factor| -density / tail * factor);
    let ((var, var_tilt), (es, es_tilt)) = (expanded(shape, of_var), expanded(shape, of_es));
    Ok(Differentiable { measures: Measures { var, es }, var: vec![var_tilt], es: vec![es_tilt] })
}

/// −κ₁ − σ·v with v = v₀ + v₁·S/6 + v₂·K/24 − v₃·S²/36, and its derivative by a position's size: that of the k-th cumulant is k
/// times the derivative k − 1 of the tilted mean at 0.
fn expanded(shape: &Shape4, [v0, v1, v2, v3]: [f64; 4]) -> (f64, Tilt) {
    let Shape4 { mean, variance, deviation, skewness: s, excess_kurtosis: k } = *shape;
    let v = v0 + v1 * s / 6.0 + v2 * k / 24.0 - v3 * s * s / 36.0;
    let (by_skewness, by_kurtosis) = (v1 / 6.0 - v3 * s / 18.0, v2 / 24.0);
    let by_variance = 0.5 * v - 1.5 * s * by_skewness - 2.0 * k * by_kurtosis;
    let per = if variance > 0.0 { deviation / variance } else { 0.0 };
    let third = if variance > 0.0 { per / libm::sqrt(variance) } else { 0.0 };
    let fourth = if variance > 0.0 { per / variance } else { 0.0 };
    let counts = [-1.0, -2.0 * per * by_variance, -3.0 * third * by_skewness, -4.0 * fourth * by_kurtosis];
    (-mean - deviation * v, Tilt { t: 0.0, counts })
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
