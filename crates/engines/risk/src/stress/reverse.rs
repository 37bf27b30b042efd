//! Reverse stress: of all shocks that lose as much, the most likely one.
//!
//! Minimise x′Σ⁻¹x subject to P&L(x) ≤ −L, x the simple returns of instruments. For a portfolio that is linear in them
//! x = −L·Σw/(w′Σw). With options it is the design point of reliability theory: Hasofer and Lind (1974), Rackwitz and
//! Fiessler (1978), with the merit function of Zhang and Der Kiureghian (1995). Every x is Σ·y, so that it lies in the
//! range of a singular Σ, and x′Σ⁺x = y′x needs no inverse.

use nautilus_hardware::Hardware;
use nautilus_numerics::{normal_cdf, product, symmetric_eigen};
use ndarray::{Array1, Array2, Axis};

use super::answer::{InstrumentShock, ReverseStressAnswer};
use super::book::{Book, Held, range};
use super::correlation::exposures;
use super::joint::{Joint, Source, failed};
use super::request::ReverseStressRequest;
use crate::RiskError;

const ITERATIONS_MAX: usize = 100;
const HALVINGS_MAX: usize = 20;
/// Underlyings of options that the search begins at, one by one, at most.
const UNDERLYINGS_MAX: usize = 32;
/// How far from 0 those starts are, in standard deviations.
const START: f64 = 3.0;
/// Relative: of the loss, and of the shock by Mahalanobis.
const LOSS_SETTLED: f64 = 1e-9;
const SHOCK_SETTLED: f64 = 1e-6;

const CONVENTION: &str = "shocks are simple returns over the horizon, normal with zero mean and covariance Σ·horizon; volatilities, rates and time stay; losses are positive";

/// A shock x = Σ·y, and the P&L there.
#[derive(Clone)]
struct Point {
    y: Array1<f64>,
    x: Array1<f64>,
    pnl: f64,
    slope: Array1<f64>,
}

/// The book and how its prices move.
struct Problem<'a> {
    hardware: &'a Hardware,
    book: &'a Book,
    joint: Joint,
    covariance: Array2<f64>,
    loss: f64,
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
    let rank = rank(&joint)?;
    let covariance = joint.covariance(&joint.correlations, horizon);
    let problem = Problem { hardware, book: &book, joint, covariance, loss };
    let linear = book.positions.iter().all(|held| held.terms().is_none())
        && book
            .positions
            .iter()
            .all(|held| held.currency.is_none_or(|at| problem.joint.columns[at].is_none()));
    let starts = problem.starts(linear)?;
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
            "no shock was found that loses {loss} and is the nearest: the largest loss on the way from {} starts was {largest}; ask for a smaller one",
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
        probability_of_distance: chi_square_above(distance * distance, rank),
        rank,
        warnings: warnings(&shocks),
        shocks,
        iterations,
        converged,
        starts: starts.len(),
        method: format!("{}; {CONVENTION}", if linear { LINEAR } else { SEARCHED }),
    })
}

const LINEAR: &str = "closed form x = −L·Σw/(w′Σw)";
const SEARCHED: &str = "the nearest of the points that HL-RF iterations (Rackwitz and Fiessler 1978) converged to, full revaluation; nearer ones that no start leads to are not excluded";

/// How many directions prices move in.
///
/// # Errors
/// An eigenvalue is negative.
fn rank(joint: &Joint) -> Result<usize, RiskError> {
    let (values, _) = symmetric_eigen(&joint.correlations).map_err(|error| failed("covariance", &error))?;
    let largest = values.first().copied().unwrap_or(0.0);
    let rounding = 1e-12 * largest * length(values.len());
    if let Some(smallest) = values.last().filter(|value| **value < -1e-9_f64.max(rounding)) {
        let reason = format!(
            "its correlations have the eigenvalue {smallest}, so it is no covariance: ask for correlation stress, which repairs it, or correct it"
        );
        return Err(RiskError::new("not_positive_semidefinite", "covariance", reason));
    }
    let moving = joint.deviations.iter().filter(|deviation| **deviation > 0.0).count();
    // What does not move is correlated with nothing and has an eigenvalue of 1.
    let fixed = joint.deviations.len() - moving;
    Ok(values.iter().filter(|value| **value > rounding).count() - fixed)
}

impl Problem<'_> {
    /// Where the search begins: at the solution of the linear portfolio, at its mirror image, and where one underlying of options moves
    /// by itself, up or down.
    fn starts(&self, linear: bool) -> Result<Vec<Array1<f64>>, RiskError> {
        let weights = exposures(self.book, &self.joint)?;
        let spread = self.times(&weights)?;
        let variance = sum(&weights, &spread);
        let mut starts = Vec::new();
        if variance > 0.0 {
            let solution = &weights * (-self.loss / variance);
            if linear {
                return Ok(vec![solution]);
            }
            starts.push(-&solution);
            starts.push(solution);
        }
        let mut underlyings: Vec<usize> = self
            .book
            .positions
            .iter()
            .filter(|held| held.terms().is_some())
            .map(|held| held.instrument)
            .collect();
        underlyings.sort_unstable();
        underlyings.dedup();
        for column in underlyings.into_iter().take(UNDERLYINGS_MAX).filter_map(|at| self.joint.columns[at]) {
            let deviation = self.covariance[[column, column]].sqrt();
            for distance in [START, -START] {
                if deviation > 0.0 {
                    let mut y = Array1::zeros(weights.len());
                    y[column] = distance / deviation;
                    starts.push(y);
                }
            }
        }
        Ok(starts)
    }

    /// HL-RF from a start: the point it converged to with its iterations, if it did, and the largest loss on the way.
    fn search(&self, start: &Array1<f64>) -> Result<(Option<(Point, usize)>, f64), RiskError> {
        let mut point = self.at(start.clone())?;
        let mut largest = -point.pnl;
        for iteration in 0..ITERATIONS_MAX {
            let spread = self.times(&point.slope)?;
            let steepness = sum(&point.slope, &spread);
            if steepness <= 0.0 || !steepness.is_finite() {
                break;
            }
            let gap = self.loss + point.pnl;
            let multiplier = (sum(&point.slope, &point.x) - gap) / steepness;
            let direction = &point.slope * multiplier - &point.y;
            let length = sum(&direction, &self.times(&direction)?).max(0.0).sqrt();
            let distance = point.distance();
            if gap.abs() <= LOSS_SETTLED * self.loss && length <= SHOCK_SETTLED * distance.max(1.0) {
                // What makes a loss smaller is no way to reach it.
                return Ok(((multiplier <= 0.0).then_some((point, iteration)), largest));
            }
            // Above the multiplier that makes the merit fall along the direction.
            let weight = 2.0
                * (distance / steepness.sqrt())
                    .max(0.5 * distance * distance / gap.abs().max(LOSS_SETTLED * self.loss));
            let merit = |point: &Point| 0.5 * point.square() + weight * (self.loss + point.pnl).abs();
            let (before, mut step, mut next) = (merit(&point), 1.0, None);
            for _ in 0..HALVINGS_MAX {
                let tried = self.at(&point.y + &(&direction * step))?;
                largest = largest.max(-tried.pnl);
                let lower = merit(&tried) < before;
                next = Some(tried);
                if lower {
                    break;
                }
                step *= 0.5;
            }
            let Some(next) = next else { break };
            point = next;
        }
        Ok((None, largest))
    }

    fn at(&self, y: Array1<f64>) -> Result<Point, RiskError> {
        let x = self.times(&y)?;
        let (mut pnl, mut slope) = (0.0, Array1::zeros(x.len()));
        for (index, held) in self.book.positions.iter().enumerate() {
            let (column, currency) = self.columns(held);
            let price = column.map_or(0.0, |column| x[column]);
            let grown = 1.0 + currency.map_or(0.0, |column| x[column]);
            let (value, by_price) = shocked(index, held, price)?;
            pnl += held.scale * (value * grown - self.book.values[index]);
            if let Some(column) = column {
                slope[column] += held.scale * grown * by_price * held.spot;
            }
            if let Some(column) = currency {
                slope[column] += held.scale * value;
            }
        }
        Ok(Point { y, x, pnl, slope })
    }

    fn columns(&self, held: &Held) -> (Option<usize>, Option<usize>) {
        let columns = &self.joint.columns;
        (columns[held.instrument], held.currency.and_then(|place| columns[place]))
    }

    /// Σ·v.
    fn times(&self, v: &Array1<f64>) -> Result<Array1<f64>, RiskError> {
        let column = v.view().insert_axis(Axis(1));
        let product = product(self.hardware, &self.covariance, &column);
        Ok(product.map_err(|error| failed("covariance", &error))?.column(0).to_owned())
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

/// The value of a unit after a relative move of the price, and its slope by the price. An option's underlying is worth
/// nothing at the least; a position in it follows the straight line.
fn shocked(index: usize, held: &Held, by: f64) -> Result<(f64, f64), RiskError> {
    let spot = held.spot * (1.0 + by);
    if held.terms().is_some() && spot < 0.0 {
        return Ok((held.slope(index, 0.0)?.0, 0.0));
    }
    held.slope(index, spot)
}

impl Point {
    /// y′Σy.
    fn square(&self) -> f64 {
        sum(&self.y, &self.x).max(0.0)
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

/// P(χ² with `degrees` of freedom > x) by its finite sum (Abramowitz and Stegun 26.4.4 and 26.4.5).
fn chi_square_above(x: f64, degrees: usize) -> f64 {
    let half = 0.5 * x;
    if half <= 0.0 || degrees == 0 {
        return if degrees == 0 { 0.0 } else { 1.0 };
    }
    let odd = degrees % 2 == 1;
    let first = if odd { 0.5 } else { 0.0 };
    let tail = if odd { libm::erfc(half.sqrt()) } else { 0.0 };
    let term = |k: usize| {
        let power = first + length(k);
        libm::exp(power * libm::log(half) - half - libm::lgamma(power + 1.0))
    };
    (tail + (0..degrees / 2).map(term).sum::<f64>()).min(1.0)
}

#[allow(clippy::cast_precision_loss)]
fn length(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy.stats.chi2.sf.
    const CHI_SQUARE: [(f64, usize, f64); 10] = [
        (0.1, 1, 0.7518296340458492),
        (3.84, 1, 0.05004352124870519),
        (9.0, 2, 0.011108996538242308),
        (7.5, 3, 0.0575584519726364),
        (25.0, 7, 0.0007588002556582502),
        (40.0, 20, 0.0049954123083075785),
        (1000.0, 500, 1.2085183611328796e-35),
        (620.0, 500, 0.00019383355388099416),
        (200.0, 2, 3.7200759760208177e-44),
        (0.001, 9, 1.0),
    ];

    #[test]
    fn chi_square_agrees_with_scipy() {
        for (x, degrees, expected) in CHI_SQUARE {
            let found = chi_square_above(x, degrees);
            assert!((found - expected).abs() <= 1e-12 * expected, "{x} {degrees}: {found} is not {expected}");
        }
        assert_eq!((chi_square_above(0.0, 3), chi_square_above(5.0, 0)), (1.0, 0.0));
    }
}
