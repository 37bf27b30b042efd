//! Measures of drawn scenarios.

use nautilus_hardware::Hardware;
use serde::{Deserialize, Serialize};

use super::curvature::Curvature;
use super::factor::Factor;
use super::moments::Moments;
use super::normals::{BLOCK, Draws};
use super::paths::{Block, Paths, Shape};
use super::pinned;
use super::shape::shape;
use super::without::Without;
use crate::RiskError;
use crate::measures::check::{Source, overflow};
use crate::measures::tail::{Measures, Tail, TailRule, count_f64, sorted};
use crate::measures::{
    Distribution, ErrorRule, Interval, Sampling, StandardError, VarAnswer, VarRequest, coherent,
};

/// Paths where the question does not say how many.
const PATHS: usize = 100_000;
/// Paths, at most.
const PATHS_MAX: usize = 10_000_000;
/// Paths times assets, at most: some ten seconds of one core.
const DRAWS_MAX: usize = 1_000_000_000;
/// t of 15 degrees of freedom, 0.975: for intervals from 16 replicates.
const T: f64 = 2.131_449_545_559_323;

/// How scenarios were drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// The number that all draws follow from.
    pub seed: u64,
    /// How many scenarios were drawn: with `sobol` rounded up to 16 scramblings of a power of two each.
    pub paths: usize,
    /// Multivariate normal and t: of the sample's covariance. Copula: past returns, tied together by the correlation of
    /// their ranks.
    pub distribution: Distribution,
    /// Of the t distribution or copula: as given, or fitted to the assets' mean excess kurtosis κ as 4 + 6/κ.
    pub degrees_of_freedom: Option<f64>,
    /// How numbers were drawn.
    pub sampling: Sampling,
    /// Of the covariance, or the copula's correlation.
    pub factor: Factor,
    /// Why there is nothing without each position, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental_left_out: Option<String>,
}

/// # Errors
/// The question asks for too much, or its numbers are no moments.
pub(crate) fn answer(
    hardware: &Hardware,
    request: &VarRequest,
    source: &Source<'_>,
) -> Result<VarAnswer, RiskError> {
    let hardware = pinned(hardware);
    let moments = Moments::of(&hardware, request, source)?;
    let asked = asked(request, &moments)?;
    let (shape, factor) = shape(&hardware, request, &moments)?;
    let (sampling, seed) = (request.sampling.unwrap_or_default(), request.seed.unwrap_or_default());
    let draws = Draws::new(sampling, seed, asked, factor.rank(), "sampling")?;
    let count = draws.paths(asked);
    let rule = TailRule {
        confidence: request.confidence,
        convention: request.convention,
        weights: None,
        overlap: 1,
    };
    rule.enough(count, "paths")?;
    let curvature = request.gamma.as_ref().map(|gamma| Curvature::of(gamma, &factor.order)).transpose()?;
    let paths = Paths::new(&hardware, draws, shape, factor, &moments)?;
    let asks_without = request.incremental && moments.per_asset;
    let mut without = asks_without.then(|| Without::new(rule, count, moments.assets())).flatten();
    let left_out = asks_without && without.is_none();
    let linear = curvature.is_none() && !matches!(paths.shape, Shape::Copula { .. });
    let pnl = if linear {
        projected(&paths, count, without.as_mut())?
    } else {
        full(&paths, curvature.as_ref(), count, without.as_mut())?
    };
    if !pnl.iter().all(|pnl| pnl.is_finite()) {
        return Err(overflow(moments.field));
    }
    let tail = Tail::of(&pnl, rule, "paths")?;
    let mut answer = VarAnswer::of_tail(request, &tail, hardware.status().pinned)?;
    if sampling == Sampling::Sobol {
        replicated(&mut answer, &pnl, rule)?;
    }
    if moments.per_asset {
        contributions(&mut answer, &paths, curvature.as_ref(), &tail)?;
    }
    if let Some(without) = without {
        incremental(&mut answer, &paths, &without.measures());
    }
    if request.spectral.is_some() || request.evar {
        let sorted = sorted(&pnl);
        answer.spectral =
            request.spectral.as_ref().map(|spectrum| coherent::spectral(&sorted, None, spectrum));
        answer.evar = request.evar.then(|| coherent::entropic(&sorted, None, rule.tail()));
    }
    answer.simulation = Some(Simulation {
        seed,
        paths: count,
        distribution: request.distribution.unwrap_or_default(),
        degrees_of_freedom: paths.shape.degrees_of_freedom(),
        sampling,
        factor: paths.factor.summary,
        incremental_left_out: left_out.then(|| LEFT_OUT.to_owned()),
    });
    Ok(answer)
}

const LEFT_OUT: &str = "the tails without each of so many positions do not fit in memory: ask for fewer paths or assets, \
                        or a higher confidence";

/// How many paths are asked for.
fn asked(request: &VarRequest, moments: &Moments<'_>) -> Result<usize, RiskError> {
    let paths = request.paths.unwrap_or(PATHS);
    let most = PATHS_MAX.min(DRAWS_MAX / moments.assets());
    if paths == 0 || paths > most {
        let reason = format!("{paths} is not from 1 to {most}, the most of {} assets", moments.assets());
        return Err(RiskError::new("out_of_range", "paths", reason));
    }
    Ok(paths)
}

/// P&L of every path, from every asset's return.
fn full(
    paths: &Paths<'_>,
    curvature: Option<&Curvature>,
    count: usize,
    mut without: Option<&mut Without<'_>>,
) -> Result<Vec<f64>, RiskError> {
    let mut block = paths.block();
    let mut pnl = Vec::with_capacity(count);
    for first in (0..count).step_by(BLOCK) {
        let width = BLOCK.min(count - first);
        paths.full(&mut block, first, width)?;
        let moving = curvature.map(|curvature| curvature.add(paths, &mut block, width)).transpose()?;
        let Block { returns, pnl: outcomes, .. } = &block;
        if let Some(without) = &mut without {
            let some: Vec<usize> = (first..first + width).collect();
            let held = |asset: usize| if moving.is_some() { 1.0 } else { paths.exposures[asset] };
            let assets = (0..paths.assets()).map(|asset| (asset, held(asset)));
            let returns = moving.as_ref().unwrap_or(returns);
            without.take(paths.hardware, (&some, &outcomes[..width]), assets, returns);
        }
        pnl.extend_from_slice(&outcomes[..width]);
    }
    Ok(pnl)
}

/// P&L of every path, where it is linear in normal numbers. Returns are drawn only where something needs them.
fn projected(
    paths: &Paths<'_>,
    count: usize,
    without: Option<&mut Without<'_>>,
) -> Result<Vec<f64>, RiskError> {
    let mut block = paths.block();
    let (mut pnl, mut reach) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for first in (0..count).step_by(BLOCK) {
        let width = BLOCK.min(count - first);
        paths.projected(&mut block, first, width)?;
        pnl.extend_from_slice(&block.pnl[..width]);
        reach.extend_from_slice(&block.reach[..width]);
    }
    if let Some(without) = without {
        without.take_drawn(paths, (&pnl, &reach))?;
    }
    Ok(pnl)
}

/// Errors from the spread of independent scramblings, each measured alone: their standard deviation / √16.
fn replicated(answer: &mut VarAnswer, pnl: &[f64], rule: TailRule<'_>) -> Result<(), RiskError> {
    let points = pnl.len() / super::normals::REPLICATES;
    rule.enough(points, "paths")?;
    let measured: Result<Vec<_>, _> =
        pnl.chunks_exact(points).map(|pnl| Ok(Tail::of(pnl, rule, "paths")?.measures)).collect();
    let measured = measured?;
    let error = |values: Vec<f64>| {
        let count = count_f64(values.len());
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        libm::sqrt(squares / (count - 1.0) / count)
    };
    let var = error(measured.iter().map(|measures| measures.var).collect());
    let es = error(measured.iter().map(|measures| measures.es).collect());
    let rule = ErrorRule::Replicates;
    answer.standard_error = StandardError { var: Some(var), es: Some(es), var_rule: rule, es_rule: rule };
    let around = |value: f64, error: f64| Interval {
        lower: Some(value - T * error),
        upper: Some(value + T * error),
        rule,
    };
    answer.confidence_interval.var = around(answer.var, var);
    answer.confidence_interval.es = around(answer.es, es);
    Ok(())
}

/// Components and derivatives, from the returns of the tail's paths, which are drawn once more.
fn contributions(
    answer: &mut VarAnswer,
    paths: &Paths<'_>,
    curvature: Option<&Curvature>,
    tail: &Tail<'_>,
) -> Result<(), RiskError> {
    let mut block = paths.block();
    let mut parts = |scenarios: &[(usize, f64)]| {
        let (mut losses, mut curved) = (vec![0.0; paths.assets()], vec![0.0; paths.assets()]);
        for some in scenarios.chunks(BLOCK) {
            let chosen: Vec<usize> = some.iter().map(|(path, _)| *path).collect();
            paths.again(&mut block, &chosen)?;
            for (row, asset) in block.returns.chunks_exact(some.len()).zip(&paths.factor.order) {
                let loss: f64 = row.iter().zip(some).map(|(value, (_, share))| value * share).sum();
                losses[*asset] -= loss;
            }
            let Some(curvature) = curvature else { continue };
            let width = some.len();
            let returns = &block.returns[..paths.assets() * width];
            let bent = curvature.bent(paths.hardware, returns, width)?;
            let rows = returns.chunks_exact(width).zip(bent.chunks_exact(width)).zip(&paths.factor.order);
            for ((returns, bent), asset) in rows {
                let both = returns.iter().zip(bent).zip(some);
                curved[*asset] -=
                    both.map(|((value, bent), (_, share))| 0.5 * share * value * bent).sum::<f64>();
            }
        }
        let exposures = in_order(paths, &paths.exposures);
        let parts = losses.iter().zip(exposures).zip(curved);
        let components: Vec<f64> = parts.map(|((loss, exposure), curved)| loss * exposure + curved).collect();
        Ok::<_, RiskError>((Some(components), Some(losses)))
    };
    (answer.component_var, answer.marginal_var) = parts(&tail.var_scenarios())?;
    (answer.component_es, answer.marginal_es) = parts(&tail.es_scenarios())?;
    Ok(())
}

fn incremental(answer: &mut VarAnswer, paths: &Paths<'_>, without: &[Measures]) {
    let var: Vec<f64> = without.iter().map(|measures| answer.var - measures.var).collect();
    let es: Vec<f64> = without.iter().map(|measures| answer.es - measures.es).collect();
    answer.incremental_var = Some(in_order(paths, &var));
    answer.incremental_es = Some(in_order(paths, &es));
}

/// From the factor's order to that of the question.
fn in_order(paths: &Paths<'_>, values: &[f64]) -> Vec<f64> {
    let mut ordered = vec![0.0; values.len()];
    paths.factor.order.iter().zip(values).for_each(|(asset, value)| ordered[*asset] = *value);
    ordered
}
