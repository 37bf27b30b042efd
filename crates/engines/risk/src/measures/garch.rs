//! GARCH(1,1) without a mean, by Gaussian maximum likelihood.
//!
//! σ²(t+1) = ω + α·r²(t) + β·σ²(t), ω > 0, α, β ≥ 0, α + β < 1 (Bollerslev 1986). The series' past is the backcast of the
//! Python package arch: the mean of the first 75 squares with weights 0.94^t.

use crate::RiskError;

/// The least observations that a fit is made from.
const OBSERVATIONS_MIN: usize = 50;
/// The most numbers of a cube that is fitted column by column.
const ELEMENTS_MAX: usize = 1 << 22;
const ITERATIONS: usize = 200;
/// A mean gradient below which the likelihood is flat.
const GRADIENT: f64 = 1e-9;
/// A gain of mean log-likelihood below which a step is the last: parameters are off by some root of it.
const GAIN: f64 = 1e-13;

/// Refuses what cannot be fitted, or not in reasonable time.
///
/// # Errors
/// There are too few rows or too many numbers.
pub(crate) fn affordable(elements: usize, rows: usize, field: &str) -> Result<(), RiskError> {
    if rows < OBSERVATIONS_MIN {
        let reason =
            format!("{rows} scenarios are too few for garch: give at least {OBSERVATIONS_MIN}, or use ewma");
        return Err(RiskError::new("too_few_scenarios", field, reason));
    }
    if elements > ELEMENTS_MAX {
        let reason =
            format!("garch fits at most {ELEMENTS_MAX} numbers at once: send fewer assets, or use ewma");
        return Err(RiskError::new("too_large", field, reason));
    }
    Ok(())
}

/// A fitted model, in the unit of its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Garch {
    pub(crate) omega: f64,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    /// What stands for r² and σ² before the first observation.
    backcast: f64,
    /// Σ of the log densities.
    pub(crate) log_likelihood: f64,
}

impl Garch {
    /// σ² of each observation and, last, of the one to come.
    pub(crate) fn variances(&self, series: &[f64]) -> Vec<f64> {
        let mut variance = self.omega + (self.alpha + self.beta) * self.backcast;
        let mut variances = Vec::with_capacity(series.len() + 1);
        variances.push(variance);
        for value in series {
            variance = self.omega + self.alpha * value * value + self.beta * variance;
            variances.push(variance);
        }
        variances
    }
}

/// The model of greatest likelihood; none of a series that does not move.
pub(crate) fn fit(series: &[f64]) -> Option<Garch> {
    let n = super::tail::count_f64(series.len());
    let unit = series.iter().map(|value| value * value).sum::<f64>() / n;
    if !(unit > 0.0 && unit.is_finite()) {
        return None;
    }
    let squares: Vec<f64> = series.iter().map(|value| value * value / unit).collect();
    let problem = Problem { backcast: backcast(&squares), squares: &squares };
    let (model, objective) = minimise(&problem, start(&problem));
    let [omega, alpha, beta] = model.parameters();
    let constant = libm::log(2.0 * std::f64::consts::PI * unit);
    Some(Garch {
        omega: omega * unit,
        alpha,
        beta,
        backcast: problem.backcast * unit,
        log_likelihood: -n * (objective + 0.5 * constant),
    })
}

fn backcast(squares: &[f64]) -> f64 {
    let (mut weight, mut sum, mut weights) = (1.0, 0.0, 0.0);
    for square in squares.iter().take(75) {
        sum += weight * square;
        weights += weight;
        weight *= 0.94;
    }
    sum / weights
}

/// ω = exp(x₀), α + β = logistic(x₁), α/(α + β) = logistic(x₂): every point is a legal model.
#[derive(Debug, Clone, Copy)]
struct Point([f64; 3]);

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

impl Point {
    fn of(omega: f64, alpha: f64, beta: f64) -> Self {
        let odds = |share: f64| libm::log(share / (1.0 - share));
        Self([libm::log(omega), odds(alpha + beta), odds(alpha / (alpha + beta))])
    }

    fn parameters(self) -> [f64; 3] {
        let (persistence, share) = (logistic(self.0[1]), logistic(self.0[2]));
        [libm::exp(self.0[0]), persistence * share, persistence * (1.0 - share)]
    }

    /// The gradient by the point's coordinates from that by ω, α and β.
    fn chain(self, by: [f64; 3]) -> [f64; 3] {
        let (persistence, share) = (logistic(self.0[1]), logistic(self.0[2]));
        let slope = persistence * (1.0 - persistence);
        [
            by[0] * libm::exp(self.0[0]),
            slope * (by[1] * share + by[2] * (1.0 - share)),
            persistence * share * (1.0 - share) * (by[1] - by[2]),
        ]
    }

    fn moved(self, direction: [f64; 3], step: f64) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + step * direction[i]))
    }
}

/// Squares of mean 1.
struct Problem<'a> {
    squares: &'a [f64],
    backcast: f64,
}

impl Problem<'_> {
    /// The mean of (ln σ² + r²/σ²)/2 and its gradient by ω, α and β.
    fn evaluate(&self, [omega, alpha, beta]: [f64; 3]) -> (f64, [f64; 3]) {
        let mut variance = omega + (alpha + beta) * self.backcast;
        let mut slopes = [1.0, self.backcast, self.backcast];
        let (mut logs, mut product, mut sum, mut gradient) = (0.0, 1.0, 0.0, [0.0; 3]);
        for square in self.squares {
            // One logarithm for many variances: it is most of the work otherwise.
            product *= variance;
            if !(1e-140..1e140).contains(&product) {
                logs += libm::log(product);
                product = 1.0;
            }
            let (inverse, before) = (1.0 / variance, variance);
            let ratio = square * inverse;
            sum += ratio;
            let factor = inverse * (1.0 - ratio);
            for (total, slope) in gradient.iter_mut().zip(slopes) {
                *total += factor * slope;
            }
            variance = omega + alpha * square + beta * variance;
            slopes = [1.0 + beta * slopes[0], square + beta * slopes[1], before + beta * slopes[2]];
        }
        let half = 0.5 / super::tail::count_f64(self.squares.len());
        (half * (logs + libm::log(product) + sum), gradient.map(|total| half * total))
    }
}

/// The best of a grid of models with variance 1, the one that arch begins with.
fn start(problem: &Problem<'_>) -> Point {
    let mut best = (f64::INFINITY, Point::of(0.05, 0.05, 0.9));
    for alpha in [0.01, 0.05, 0.1, 0.2] {
        for persistence in [0.5, 0.7, 0.9, 0.98] {
            let point = Point::of(1.0 - persistence, alpha, persistence - alpha);
            let objective = problem.evaluate(point.parameters()).0;
            if objective < best.0 {
                best = (objective, point);
            }
        }
    }
    best.1
}

/// Broyden, Fletcher, Goldfarb and Shanno's method (1970) with backtracking.
fn minimise(problem: &Problem<'_>, mut point: Point) -> (Point, f64) {
    let evaluate = |point: Point| {
        let (objective, by) = problem.evaluate(point.parameters());
        (objective, point.chain(by))
    };
    let (mut objective, mut gradient) = evaluate(point);
    let mut inverse = IDENTITY;
    for _ in 0..ITERATIONS {
        if gradient.iter().all(|slope| slope.abs() < GRADIENT) {
            break;
        }
        let mut direction = times(&inverse, gradient).map(|x| -x);
        let mut descent = inner(direction, gradient);
        if descent >= 0.0 {
            (inverse, direction) = (IDENTITY, gradient.map(|x| -x));
            descent = inner(direction, gradient);
        }
        // A step of 2 in a logarithm is far.
        let longest = direction.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let mut step = 1.0_f64.min(2.0 / longest);
        let found = loop {
            let (next, at) = (point.moved(direction, step), step);
            let (value, slope) = evaluate(next);
            if value <= objective + 1e-4 * at * descent {
                break Some((next, value, slope));
            }
            step *= 0.5;
            if step < 1e-12 {
                break None;
            }
        };
        let Some((next, value, slope)) = found else { break };
        let moved = std::array::from_fn(|i| next.0[i] - point.0[i]);
        update(&mut inverse, moved, std::array::from_fn(|i| slope[i] - gradient[i]));
        let gained = objective - value;
        (point, objective, gradient) = (next, value, slope);
        if gained < GAIN {
            break;
        }
    }
    (point, objective)
}

type Square = [[f64; 3]; 3];
const IDENTITY: Square = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

fn inner(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn times(matrix: &Square, x: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| inner(row, x))
}

/// The inverse Hessian that explains by `changed` what the gradient did over `moved`.
fn update(inverse: &mut Square, moved: [f64; 3], changed: [f64; 3]) {
    let curvature = inner(moved, changed);
    if curvature <= 0.0 {
        return;
    }
    let image = times(inverse, changed);
    let stretch = (curvature + inner(changed, image)) / (curvature * curvature);
    for i in 0..3 {
        for j in 0..3 {
            inverse[i][j] +=
                stretch * moved[i] * moved[j] - (image[i] * moved[j] + moved[i] * image[j]) / curvature;
        }
    }
}

#[cfg(test)]
#[path = "garch_tests.rs"]
mod tests;
