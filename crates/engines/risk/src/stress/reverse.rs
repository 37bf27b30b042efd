//! Reverse stress: of all shocks that lose as much, the most likely one.
//!
//! Minimise x′Σ⁺x subject to P&L(x) = −L, x the simple returns of instruments: x = C·u with Σ = C·C′ from its positive
//! eigenvalues, so that a singular Σ needs no inverse, x stays in its range, and x′Σ⁺x = u′u. For a portfolio that is
//! linear in them x = −L·Σw/(w′Σw). With options it is the design point of reliability theory (Hasofer and Lind 1974):
//! iterations of Rackwitz and Fiessler (1978), with the curvature of the P&L as in sequential quadratic programming (Liu
//! and Der Kiureghian 1991), for without it a strongly curved loss is approached slowly or never.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use nautilus_hardware::Hardware;
use nautilus_numerics::{chi_squared_upper, normal_cdf, product, solve_spd, symmetric_eigen};
use ndarray::{Array1, Array2, Axis};

use super::answer::{InstrumentShock, ReverseStressAnswer};
use super::book::{Book, Held, range};
use super::joint::{Joint, Source, failed};
use super::request::ReverseStressRequest;
use crate::RiskError;

const ITERATIONS_MAX: usize = 100;
const HALVINGS_MAX: usize = 25;
/// Underlyings of options that the search begins at, one by one, at most: those whose curvature matters most.
const UNDERLYINGS_MAX: usize = 12;
/// How far from 0 those starts are, in standard deviations.
const START: f64 = 3.0;
/// Relative: of the loss, and of the shock by Mahalanobis.
const LOSS_SETTLED: f64 = 1e-9;
const SHOCK_SETTLED: f64 = 1e-7;

const CONVENTION: &str = "shocks are simple returns over the horizon, normal with zero mean and covariance Σ·horizon; \
    volatilities, rates and time stay; losses are positive";
const LINEAR: &str = "closed form x = −L·Σw/(w′Σw)";
const SEARCHED: &str = "the nearest of the points that iterations of Rackwitz and Fiessler (1978) with curvature \
    converged to, full revaluation; nearer ones that no start leads to are not excluded";

/// A shock x = C·u and the P&L there.
#[derive(Clone)]
struct Point {
    u: Array1<f64>,
    x: Array1<f64>,
    pnl: f64,
    /// Of the P&L by u.
    slope: Array1<f64>,
    /// Of the P&L by pairs of x, where it is not 0; each pair once.
    curvature: BTreeMap<(usize, usize), f64>,
}

/// The book and how its prices move.
struct Problem<'a> {
    hardware: &'a Hardware,
    book: &'a Book,
    joint: Joint,
    /// C, instruments × rank.
    factor: Array2<f64>,
    loss: f64,
    /// Whether no position is worth anything but price times quantity.
    linear: bool,
}

/// The most likely shock that loses `loss`.
///
/// # Errors
/// The first field at fault; the covariance has a negative eigenvalue; the positions do not move; or no start converged.
pub(super) fn reverse(
    hardware: &Hardware,
    request: &ReverseStressRequest,
) -> Result<ReverseStressAnswer, RiskError> {
    let book = Book::new(&request.positions, &request.currencies)?;
    let (loss, horizon) = (request.loss, request.horizon);
    range(loss.is_finite() && loss > 0.0, || "loss".to_owned(), loss, "it is above 0")?;
    range(horizon.is_finite() && horizon > 0.0, || "horizon".to_owned(), horizon, "it is above 0")?;
    let source = Source {
        instruments: &request.instruments,
        returns: request.returns.as_ref(),
        covariance: request.covariance.as_ref(),
        correlations: request.correlations.as_ref(),
        volatilities: request.volatilities.as_deref(),
    };
    let joint = source.joint(hardware, &book)?;
    let factor = factor(&joint, horizon)?;
    let rank = factor.ncols();
    let linear = book.positions.iter().all(|held| {
        held.terms().is_none() && held.currency.is_none_or(|place| joint.columns[place].is_none())
    });
    let problem = Problem { hardware, book: &book, joint, factor, loss, linear };
    let starts = problem.starts()?;
    if starts.is_empty() {
        let reason = "no position moves with these instruments: nothing loses that much";
        return Err(RiskError::new("unreachable", "loss", reason));
    }
    let (mut best, mut converged, mut largest) = (None::<(f64, Point, usize)>, 0, 0.0_f64);
    for start in &starts {
        let (found, lost) = problem.search(start)?;
        largest = largest.max(lost);
        let Some((point, iterations)) = found else { continue };
        converged += 1;
        let distance = point.distance();
        if best.as_ref().is_none_or(|(least, ..)| distance < *least) {
            best = Some((distance, point, iterations));
        }
    }
    let Some((distance, point, iterations)) = best else {
        let reason = format!(
            "no shock was found that loses {loss} and is the nearest: the largest loss on the way from {} starts was \
             {largest}; ask for a smaller one",
            starts.len()
        );
        return Err(RiskError::new("not_converged", "loss", reason));
    };
    let shocks = problem.shocks(&request.instruments, &point.x, horizon)?;
    Ok(ReverseStressAnswer {
        loss,
        loss_at_shock: -point.pnl,
        mahalanobis_distance: distance,
        probability: normal_cdf(-distance),
        probability_of_distance: chi_squared_upper(distance * distance, length(rank)),
        rank,
        warnings: warnings(&shocks),
        shocks,
        iterations,
        converged,
        starts: starts.len(),
        method: format!("{}; {CONVENTION}", if linear { LINEAR } else { SEARCHED }),
    })
}

/// C with Σ·horizon = C·C′, a column per positive eigenvalue of the correlations.
///
/// # Errors
/// An eigenvalue is negative.
fn factor(joint: &Joint, horizon: f64) -> Result<Array2<f64>, RiskError> {
    let (values, vectors) =
        symmetric_eigen(&joint.correlations).map_err(|error| failed("covariance", &error))?;
    let largest = values.first().copied().unwrap_or(0.0);
    let rounding = 1e-12 * largest * length(values.len());
    if let Some(smallest) = values.last().filter(|value| **value < -1e-9_f64.max(rounding)) {
        let reason = format!(
            "its correlations have the eigenvalue {smallest}, so it is no covariance: correct it, or send the \
             correlations that a correlation stress repaired"
        );
        return Err(RiskError::new("not_positive_semidefinite", "covariance", reason));
    }
    // What does not move is correlated with nothing: its eigenvector is its own and would be a column of zeros.
    let scaled = |at: usize| {
        let column = &vectors.row(at) * &joint.deviations * (values[at] * horizon).sqrt();
        (values[at] > rounding && column.iter().any(|element| *element != 0.0)).then_some(column)
    };
    let columns: Vec<Array1<f64>> = (0..values.len()).filter_map(scaled).collect();
    Ok(Array2::from_shape_fn((values.len(), columns.len()), |(row, column)| columns[column][row]))
}

impl Problem<'_> {
    /// Where the search begins: at the solution of the linear portfolio, at its mirror image, and where one underlying
    /// of options moves, up or down, and the rest as it does on average then.
    fn starts(&self) -> Result<Vec<Array1<f64>>, RiskError> {
        let still = self.at(Array1::zeros(self.factor.ncols()))?;
        let steepness = sum(&still.slope, &still.slope);
        let mut starts = Vec::new();
        if steepness > 0.0 {
            let solution = &still.slope * (-self.loss / steepness);
            if self.linear {
                return Ok(vec![solution]);
            }
            starts.push(-&solution);
            starts.push(solution);
        }
        let mut curved: Vec<(u64, usize)> = Vec::new();
        for ((row, column), curvature) in &still.curvature {
            let moves = self.factor.row(*row);
            let variance = sum(&moves.to_owned(), &moves.to_owned());
            if row == column && variance > 0.0 {
                curved.push(((curvature * variance).abs().to_bits(), *row));
            }
        }
        curved.sort_by_key(|(size, row)| (Reverse(*size), *row));
        for (_, row) in curved.into_iter().take(UNDERLYINGS_MAX) {
            let moves = self.factor.row(row).to_owned();
            let unit = &moves / sum(&moves, &moves).sqrt();
            starts.extend([&unit * START, &unit * -START]);
        }
        Ok(starts)
    }

    /// From a start: the point it converged to with its iterations, if it did, and the largest loss on the way.
    fn search(&self, start: &Array1<f64>) -> Result<(Option<(Point, usize)>, f64), RiskError> {
        let mut point = self.at(start.clone())?;
        let (mut largest, mut multiplier, mut weight) = (-point.pnl, 0.0_f64, 0.0_f64);
        for iteration in 0..ITERATIONS_MAX {
            let Some((direction, next)) = self.direction(&point, multiplier)? else { break };
            let gap = (self.loss + point.pnl).abs();
            let length = sum(&direction, &direction).sqrt();
            if gap <= LOSS_SETTLED * self.loss && length <= SHOCK_SETTLED * point.distance().max(1.0) {
                // A negative multiplier is a shock that gains more the farther it is: no way to a loss.
                return Ok(((next >= 0.0).then_some((point, iteration)), largest));
            }
            multiplier = next;
            weight = weight.max(2.0 * multiplier.abs());
            let merit = |point: &Point| 0.5 * point.square() + weight * (self.loss + point.pnl).abs();
            let (before, off) = (merit(&point), self.off(&point, multiplier));
            let mut step = 1.0;
            let mut moved = None;
            for _ in 0..HALVINGS_MAX {
                let tried = self.at(&point.u + &(&direction * step))?;
                largest = largest.max(-tried.pnl);
                // Close to the solution the merit refuses good steps (Maratos 1978); what is left of the conditions
                // does not.
                if merit(&tried) < before || self.off(&tried, multiplier) < 0.5 * off {
                    moved = Some(tried);
                    break;
                }
                step *= 0.5;
            }
            let Some(tried) = moved else { break };
            point = tried;
        }
        Ok((None, largest))
    }

    /// The step to the minimum of ½·u′u with the P&L's curvature on the tangent of the loss, and the multiplier there;
    /// `None` where the P&L does not move.
    fn direction(&self, point: &Point, multiplier: f64) -> Result<Option<(Array1<f64>, f64)>, RiskError> {
        let (u, slope) = (&point.u, &point.slope);
        let [by_u, by_slope] = self.solved(point, multiplier)?.unwrap_or_else(|| [u.clone(), slope.clone()]);
        let steepness = sum(slope, &by_slope);
        if !(steepness > 0.0 && steepness.is_finite()) {
            return Ok(None);
        }
        let next = (self.loss + point.pnl - sum(slope, &by_u)) / steepness;
        Ok(Some((-(by_u + by_slope * next), next)))
    }

    /// B⁻¹·u and B⁻¹·slope with B = I + multiplier·C′HC; `None` where that is I, or not positive definite.
    fn solved(&self, point: &Point, multiplier: f64) -> Result<Option<[Array1<f64>; 2]>, RiskError> {
        if point.curvature.is_empty() || multiplier <= 0.0 {
            return Ok(None);
        }
        let mut rows: Vec<usize> = point.curvature.keys().flat_map(|(row, column)| [*row, *column]).collect();
        rows.sort_unstable();
        rows.dedup();
        let part = self.factor.select(Axis(0), &rows);
        let mut turned = Array2::zeros(part.dim());
        let place = |row: usize| rows.binary_search(&row).unwrap_or_default();
        for ((row, column), curvature) in &point.curvature {
            let (row, column) = (place(*row), place(*column));
            turned.row_mut(row).scaled_add(multiplier * curvature, &part.row(column));
            if row != column {
                turned.row_mut(column).scaled_add(multiplier * curvature, &part.row(row));
            }
        }
        let mut bent =
            product(self.hardware, &part.t(), &turned).map_err(|error| failed("covariance", &error))?;
        bent.diag_mut().iter_mut().for_each(|element| *element += 1.0);
        let right = ndarray::stack![Axis(1), point.u, point.slope];
        match solve_spd(self.hardware, &bent, &right) {
            Ok(solved) => Ok(Some([solved.column(0).to_owned(), solved.column(1).to_owned()])),
            Err(nautilus_numerics::MatrixError::Hardware(_)) => Ok(None),
            Err(error) => Err(failed("covariance", &error)),
        }
    }

    /// What is left of the conditions of a minimum: u + multiplier·slope = 0 and P&L = −L.
    fn off(&self, point: &Point, multiplier: f64) -> f64 {
        let rest = &point.u + &(&point.slope * multiplier);
        let steepness = sum(&point.slope, &point.slope).sqrt();
        sum(&rest, &rest).sqrt() + (self.loss + point.pnl).abs() / steepness
    }

    fn at(&self, u: Array1<f64>) -> Result<Point, RiskError> {
        let times = |matrix: &ndarray::ArrayRef2<f64>, v: &Array1<f64>| {
            let product = product(self.hardware, matrix, &v.view().insert_axis(Axis(1)));
            Ok::<_, RiskError>(product.map_err(|error| failed("covariance", &error))?.column(0).to_owned())
        };
        let x = times(&self.factor, &u)?;
        let (mut pnl, mut slope, mut curvature) = (0.0, Array1::zeros(x.len()), BTreeMap::new());
        for (index, held) in self.book.positions.iter().enumerate() {
            let (column, currency) = self.columns(held);
            let price = column.map_or(0.0, |column| x[column]);
            let grown = 1.0 + currency.map_or(0.0, |column| x[column]);
            let (value, delta, gamma) = shocked(index, held, price)?;
            pnl += held.scale * (value * grown - self.book.values[index]);
            if let Some(column) = column {
                slope[column] += held.scale * grown * delta * held.spot;
                if gamma != 0.0 {
                    let bent = held.scale * grown * gamma * held.spot * held.spot;
                    *curvature.entry((column, column)).or_insert(0.0) += bent;
                }
            }
            if let Some(currency) = currency {
                slope[currency] += held.scale * value;
                if let Some(column) = column {
                    *curvature.entry((column, currency)).or_insert(0.0) += held.scale * delta * held.spot;
                }
            }
        }
        let slope = times(&self.factor.t(), &slope)?;
        Ok(Point { u, x, pnl, slope, curvature })
    }

    fn columns(&self, held: &Held) -> (Option<usize>, Option<usize>) {
        let columns = &self.joint.columns;
        (columns[held.instrument], held.currency.and_then(|place| columns[place]))
    }

    fn shocks(
        &self,
        instruments: &[String],
        x: &Array1<f64>,
        horizon: f64,
    ) -> Result<Vec<InstrumentShock>, RiskError> {
        let mut pnl = vec![0.0; x.len()];
        for (index, held) in self.book.positions.iter().enumerate() {
            let (column, currency) = self.columns(held);
            let before = self.book.values[index];
            if let Some(column) = column {
                pnl[column] += held.scale * (shocked(index, held, x[column])?.0 - before);
            }
            if let Some(column) = currency {
                pnl[column] += held.scale * before * x[column];
            }
        }
        let rows = instruments.iter().zip(x).zip(&self.joint.deviations).zip(pnl);
        let shock = |(((instrument, shock), deviation), pnl): (((&String, &f64), &f64), f64)| {
            let deviation = deviation * horizon.sqrt();
            let deviations = if deviation > 0.0 { shock / deviation } else { 0.0 };
            InstrumentShock { instrument: instrument.clone(), shock: *shock, deviations, pnl }
        };
        Ok(rows.map(shock).collect())
    }
}

/// The value of a unit after a relative move of the price, delta and gamma. An option's underlying is worth nothing at
/// the least; a position in it follows the straight line.
fn shocked(index: usize, held: &Held, by: f64) -> Result<(f64, f64, f64), RiskError> {
    let spot = held.spot * (1.0 + by);
    if held.terms().is_some() && spot < 0.0 {
        return Ok((held.by_spot(index, 0.0)?.value, 0.0, 0.0));
    }
    let greeks = held.by_spot(index, spot)?;
    Ok((greeks.value, greeks.delta, greeks.gamma))
}

impl Point {
    fn square(&self) -> f64 {
        sum(&self.u, &self.u)
    }

    fn distance(&self) -> f64 {
        self.square().sqrt()
    }
}

fn sum(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn warnings(shocks: &[InstrumentShock]) -> Vec<String> {
    let beyond = shocks.iter().filter(|shock| shock.shock < -1.0);
    let warning = |shock: &InstrumentShock| {
        format!(
            "{} would lose more than everything: that loss is out of reach of the normal model",
            shock.instrument
        )
    };
    beyond.map(warning).collect()
}

#[allow(clippy::cast_precision_loss)]
fn length(n: usize) -> f64 {
    n as f64
}
