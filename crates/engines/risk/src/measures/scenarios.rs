//! Measures of scenarios that the question brings: historical, filtered and age-weighted.

use std::borrow::Cow;

use nautilus_hardware::{BackendId, Hardware, Matrix};

use super::check::{Source, finite, not_finite, overflow};
use super::contributions::{Rows, marginal, without_each};
use super::tail::{Outcome, Tail, TailRule, sorted, to_usize};
use super::{HorizonRule, Method, VarAnswer, VarRequest, coherent, filter, horizon};
use crate::RiskError;
use crate::simulation::pinned;

/// What a scenario weighs beside the one after it; Boudoukh, Richardson and Whitelaw (1998) use 0.97 and 0.99.
const AGE_DECAY: f64 = 0.99;

/// VaR and ES of the question's scenarios, and what was asked for besides.
///
/// # Errors
/// Scenarios are too few, or a number is not finite.
pub(crate) fn answer(
    hardware: &Hardware,
    request: &VarRequest,
    source: &Source<'_>,
) -> Result<VarAnswer, RiskError> {
    let cube = Cube::of(request, source)?;
    let scale = match request.horizon_rule {
        HorizonRule::SqrtTime => libm::sqrt(request.horizon_days),
        HorizonRule::Overlapping => 1.0,
    };
    let rows = Rows { values: &cube.values, columns: cube.columns };
    let (pnl, exposures, backend) = match source {
        Source::Pnl(_) => (rows.values.iter().map(|pnl| scale * pnl).collect(), None, None),
        Source::Returns { exposures, .. } => {
            let exposures: Vec<f64> = exposures.iter().map(|exposure| scale * exposure).collect();
            let (pnl, backend) = total(hardware, rows, &exposures, source.field())?;
            (pnl, Some(exposures), Some(backend))
        }
    };
    cube.check_pnl(&pnl, source.field())?;
    let weights = (request.method == Method::AgeWeighted)
        .then(|| age_weights(pnl.len(), request.decay.unwrap_or(AGE_DECAY)));
    let rule = TailRule {
        confidence: request.confidence,
        convention: request.convention,
        weights: weights.as_deref(),
        overlap: cube.overlap,
    };
    let tail = Tail::of(&pnl, rule, source.field())?;
    let mut answer = VarAnswer::of_tail(request, &tail, backend)?;
    if let Some(exposures) = exposures {
        contributions(&mut answer, rows, &exposures, scale, &tail);
        if request.incremental {
            incremental(&mut answer, rows, &exposures, &pnl, &tail);
        }
    }
    if request.spectral.is_some() || request.evar {
        whole(&mut answer, request, &sorted(&pnl), &rule);
    }
    checked(answer)
}

/// The question's scenarios after filter and horizon.
struct Cube<'a> {
    values: Cow<'a, [f64]>,
    columns: usize,
    overlap: usize,
}

impl<'a> Cube<'a> {
    fn of(request: &VarRequest, source: &Source<'a>) -> Result<Self, RiskError> {
        let (values, columns) = match *source {
            Source::Returns { returns, .. } => (returns.values(), returns.columns()),
            Source::Pnl(pnl) => (pnl, 1),
        };
        let mut cube = Self { values: Cow::Borrowed(values), columns, overlap: 1 };
        let overlapping = request.horizon_rule == HorizonRule::Overlapping;
        let filtered = request.method == Method::FilteredHistorical;
        if overlapping || filtered {
            // What is computed from a number that is none may stand anywhere.
            cube.check_values(source.field())?;
        }
        if filtered {
            cube.values = filter::filtered(&cube.values, columns, request, source.field())?.into();
        }
        if overlapping {
            cube.overlap = to_usize(request.horizon_days);
            cube.values = horizon::overlapping(&cube.values, columns, cube.overlap, source.field())?.into();
        }
        Ok(cube)
    }

    fn check_values(&self, field: &str) -> Result<(), RiskError> {
        let Some(at) = self.values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let (row, column) = (at / self.columns, at % self.columns);
        Err(not_finite(format!("{field}[{row}][{column}]"), self.values[at]))
    }

    /// A return that is not finite makes the P&L of its scenario so: no pass over the returns is needed to find none.
    fn check_pnl(&self, pnl: &[f64], field: &str) -> Result<(), RiskError> {
        if finite(pnl, field).is_ok() {
            return Ok(());
        }
        if matches!(self.values, Cow::Borrowed(_)) {
            self.check_values(field)?;
        }
        Err(overflow(field))
    }
}

/// The P&L of all positions together in each scenario, by one backend on one core: how rows are cut over cores changes
/// their last bits.
fn total(
    hardware: &Hardware,
    rows: Rows<'_>,
    exposures: &[f64],
    field: &str,
) -> Result<(Vec<f64>, BackendId), RiskError> {
    let scenarios = rows.values.len() / rows.columns;
    let mut pnl = vec![0.0; scenarios];
    let refused = |reason: &dyn std::fmt::Display| RiskError::new("hardware", field, reason.to_string());
    let matrix = Matrix::row_major(rows.values, scenarios, rows.columns).map_err(|error| refused(&error))?;
    let backend =
        pinned(hardware).gemv(1.0, matrix, exposures, 0.0, &mut pnl).map_err(|error| refused(&error))?;
    Ok((pnl, backend))
}

/// decay^age, the newest last, divided by its sum.
fn age_weights(count: usize, decay: f64) -> Vec<f64> {
    let mut weights = vec![0.0; count];
    let mut weight = 1.0;
    for place in weights.iter_mut().rev() {
        *place = weight;
        weight *= decay;
    }
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Components, which add up to VaR and ES, and the derivatives by each position's value.
fn contributions(answer: &mut VarAnswer, rows: Rows<'_>, exposures: &[f64], scale: f64, tail: &Tail<'_>) {
    let parts = |scenarios: &[(usize, f64)]| {
        let losses = marginal(rows, scenarios);
        let components = losses.iter().zip(exposures).map(|(loss, exposure)| loss * exposure).collect();
        (Some(components), Some(losses.iter().map(|loss| scale * loss).collect()))
    };
    (answer.component_var, answer.marginal_var) = parts(&tail.var_scenarios());
    (answer.component_es, answer.marginal_es) = parts(&tail.es_scenarios());
}

fn incremental(answer: &mut VarAnswer, rows: Rows<'_>, exposures: &[f64], pnl: &[f64], tail: &Tail<'_>) {
    let without = without_each(rows, exposures, pnl, tail);
    answer.incremental_var = Some(without.iter().map(|measures| answer.var - measures.var).collect());
    answer.incremental_es = Some(without.iter().map(|measures| answer.es - measures.es).collect());
}

/// Measures of the whole distribution.
fn whole(answer: &mut VarAnswer, request: &VarRequest, sorted: &[Outcome], rule: &TailRule<'_>) {
    let spectral = request.spectral.as_ref();
    answer.spectral = spectral.map(|spectrum| coherent::spectral(sorted, rule.weights, spectrum));
    answer.evar = request.evar.then(|| coherent::entropic(sorted, rule.weights, rule.tail()));
}

/// Differences and products of finite numbers may not be finite.
pub(crate) fn checked(answer: VarAnswer) -> Result<VarAnswer, RiskError> {
    let lists = [
        &answer.component_var,
        &answer.marginal_var,
        &answer.incremental_var,
        &answer.component_es,
        &answer.marginal_es,
        &answer.incremental_es,
    ];
    let errors = [answer.standard_error.var, answer.standard_error.es, answer.spectral, answer.evar];
    let finite = lists.into_iter().flatten().flatten().chain(errors.iter().flatten()).all(|x| x.is_finite());
    if finite { Ok(answer) } else { Err(overflow("positions")) }
}
