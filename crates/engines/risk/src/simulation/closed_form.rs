//! Measures of the normal distribution with the sample's moments, without drawing.

use std::f64::consts::PI;

use nautilus_hardware::Hardware;
use nautilus_numerics::normal_quantile;

use super::moments::Moments;
use super::pinned;
use crate::RiskError;
use crate::measures::check::{Source, overflow};
use crate::measures::tail::count_f64;
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
    match request.method {
        Method::CornishFisher => Err(RiskError::new("not_supported", "method", "send parametric")),
        _ => normal(request, &moments),
    }
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
    Ok(VarAnswer {
        var,
        es,
        standard_error: StandardError {
            var: None,
            es: None,
            var_rule: ErrorRule::ClosedForm,
            es_rule: ErrorRule::ClosedForm,
        },
        confidence_interval: ConfidenceInterval { level: 0.95, var: none, es: none },
        component_var: None,
        marginal_var: None,
        incremental_var: None,
        component_es: None,
        marginal_es: None,
        incremental_es: None,
        spectral: None,
        evar: None,
        method: request.method,
        convention: request.convention,
        confidence: request.confidence,
        horizon_days: request.horizon_days,
        horizon_rule: request.horizon_rule,
        scenarios: moments.returns.nrows(),
        backend: None,
        compute_us: None,
        simulation: None,
    })
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
