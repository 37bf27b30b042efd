//! Moments and order statistics of windows, and how two series move together.
//!
//! Conventions are those of pandas: sample moments (n − 1), adjusted skewness and excess kurtosis, linear quantiles,
//! average ranks. Every window is computed afresh in two passes, so results depend on the window alone, never drift, and
//! survive a large common level.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, cell, count, window, within};

use super::past::{Window, highest, lowest, mean, sums, sums_of_pairs};

/// Mean, sample deviation, skewness and excess kurtosis of a window, in two passes.
#[derive(Debug)]
struct Moments(usize);

/// Deviations below this share of the level are rounding, not movement.
const LEVEL_EPSILON: f64 = 1e-14;

impl Cell<1, 3> for Moments {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 3] {
        if w.len() < self.0 {
            return [UNDEFINED; 3];
        }
        let n = w.len() as f64;
        let center = mean(w);
        let [m2, m3, m4] = sums(w, |x| {
            let d = x - center;
            let square = d * d;
            [square, square * d, square * square]
        });
        let deviation = libm::sqrt(m2 / (n - 1.0));
        if deviation <= LEVEL_EPSILON * center.abs() {
            return [0.0, UNDEFINED, UNDEFINED];
        }
        // Joanes and Gill (1998), G1 and G2, as pandas, SAS and Excel have them.
        let skewness = n * libm::sqrt(n - 1.0) / (n - 2.0) * m3 / (m2 * libm::sqrt(m2));
        let tail = n * (n + 1.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0)) * m4 / (m2 * m2);
        let kurtosis = tail - 3.0 * (n - 1.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0));
        [deviation, skewness, kurtosis]
    }
}

/// Covariance, correlation, slope and intercept of y on x, and the deviation of the residuals.
#[derive(Debug)]
struct Together(usize);

impl Cell<2, 3> for Together {
    fn windows(&self) -> [usize; 2] {
        [self.0; 2]
    }

    fn step(&self, _: &mut [f64], _: [f64; 2], [x, y]: [&[f64]; 2]) -> [f64; 3] {
        if x.len() < self.0 || y.len() < self.0 {
            return [UNDEFINED; 3];
        }
        let sums = cross(x, y);
        let covariance = sums.xy / (x.len() as f64 - 1.0);
        let correlation = (sums.xy / libm::sqrt(sums.xx * sums.yy)).clamp(-1.0, 1.0);
        [covariance, if sums.xx > 0.0 && sums.yy > 0.0 { correlation } else { UNDEFINED }, sums.xy / sums.xx]
    }
}

struct Cross {
    xx: f64,
    yy: f64,
    xy: f64,
}

/// Sums of products of deviations from the means.
fn cross(x: &[f64], y: &[f64]) -> Cross {
    let (mean_x, mean_y) = (mean(x), mean(y));
    let [xx, yy, xy] = sums_of_pairs(x, y, |x, y| {
        let (dx, dy) = (x - mean_x, y - mean_y);
        [dx * dx, dy * dy, dx * dy]
    });
    Cross { xx, yy, xy }
}

/// The correlation of the last n values with those `lag` ticks before each.
#[derive(Debug)]
struct Autocorrelation {
    lag: usize,
    n: usize,
}

impl Cell<1, 1> for Autocorrelation {
    fn windows(&self) -> [usize; 1] {
        [self.n + self.lag]
    }

    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        if w.len() < self.n + self.lag {
            return [UNDEFINED];
        }
        let sums = cross(&w[self.lag..], &w[..self.n]);
        if sums.xx > 0.0 && sums.yy > 0.0 {
            return [(sums.xy / libm::sqrt(sums.xx * sums.yy)).clamp(-1.0, 1.0)];
        }
        [UNDEFINED]
    }
}

/// Keeps the last `n` values in rising order: one leaves and one enters per tick. `w` are the last n + 1 where there are
/// so many, and the state holds what was there before. The present values come back once there are n.
#[inline]
fn keep_sorted<'a>(state: &'a mut [f64], w: &[f64], n: usize) -> Option<&'a [f64]> {
    let new = *w.last()?;
    let before = (w.len() - 1).min(n);
    // A full window hands its oldest value's place over to the new one.
    let from = if w.len() > n { state[..before].partition_point(|x| x.total_cmp(&w[0]).is_lt()) } else { before };
    let to = state[..before].partition_point(|x| x.total_cmp(&new).is_lt());
    if to > from {
        state.copy_within(from + 1..to, from);
        state[to - 1] = new;
    } else {
        state.copy_within(to..from, to + 1);
        state[to] = new;
    }
    (w.len() >= n).then(|| &state[..n])
}

/// A quantile by linear interpolation between order statistics.
#[derive(Debug)]
struct Quantile {
    n: usize,
    q: f64,
}

impl Cell<1, 1> for Quantile {
    fn windows(&self) -> [usize; 1] {
        [self.n + 1]
    }

    fn slots(&self) -> usize {
        self.n
    }

    fn warm(&self) -> [usize; 1] {
        [self.n - 1]
    }

    fn step(&self, state: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let Some(sorted) = keep_sorted(state, w, self.n) else { return [UNDEFINED] };
        let place = self.q * (self.n - 1) as f64;
        let below = place as usize;
        let low = sorted[below];
        [low + (sorted[(below + 1).min(self.n - 1)] - low) * (place - below as f64)]
    }
}

/// The median of the distances from the median.
#[derive(Debug)]
struct MedianDeviation(usize);

impl Cell<1, 1> for MedianDeviation {
    fn windows(&self) -> [usize; 1] {
        [self.0 + 1]
    }

    fn slots(&self) -> usize {
        self.0
    }

    fn warm(&self) -> [usize; 1] {
        [self.0 - 1]
    }

    fn step(&self, state: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let Some(sorted) = keep_sorted(state, w, self.0) else { return [UNDEFINED] };
        let n = sorted.len();
        let center = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
        // From the centre outwards distances rise on either side, so the nearest come off one by one.
        let (mut below, mut above) = (n.div_ceil(2), n.div_ceil(2));
        let mut nearest = || {
            let down = below.checked_sub(1).map_or(f64::INFINITY, |at| center - sorted[at]);
            let up = sorted.get(above).map_or(f64::INFINITY, |x| x - center);
            if down <= up {
                below -= 1;
            } else {
                above += 1;
            }
            down.min(up)
        };
        let mut last = 0.0;
        (0..=(n - 1) / 2).for_each(|_| last = nearest());
        [if n.is_multiple_of(2) { (last + nearest()) / 2.0 } else { last }]
    }
}

/// The share of the window that is not above the present value; ties count half, the value itself wholly.
fn rank(w: &[f64]) -> f64 {
    let last = w[w.len() - 1];
    let [below, equal] = sums(w, |x| [f64::from(u8::from(x < last)), f64::from(u8::from(x == last))]);
    (below + (equal + 1.0) / 2.0) / w.len() as f64
}

fn mean_absolute_deviation(w: &[f64]) -> f64 {
    let center = mean(w);
    sums(w, |x| [(x - center).abs()])[0] / w.len() as f64
}

/// Slope of a straight line through the window by least squares, the fit's share of the variance, and the standard
/// error of the slope.
#[derive(Debug)]
struct Line(usize);

impl Cell<1, 3> for Line {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 3] {
        if w.len() < self.0 {
            return [UNDEFINED; 3];
        }
        let n = w.len() as f64;
        let (center, middle) = (mean(w), (n - 1.0) / 2.0);
        let xx = n * (n * n - 1.0) / 12.0;
        let [yy] = sums(w, |y| [(y - center) * (y - center)]);
        let mut t = -middle;
        let xy = w.iter().fold(0.0, |xy, y| {
            let next = xy + t * (y - center);
            t += 1.0;
            next
        });
        let slope = xy / xx;
        let left = (yy - slope * xy).max(0.0);
        [slope, if yy > 0.0 { 1.0 - left / yy } else { UNDEFINED }, libm::sqrt(left / (n - 2.0) / xx)]
    }
}

/// Shannon's entropy of the window's histogram, in nats.
#[derive(Debug)]
struct Entropy {
    n: usize,
    bins: usize,
}

const BINS_MAX: usize = 64;

impl Cell<1, 1> for Entropy {
    fn windows(&self) -> [usize; 1] {
        [self.n]
    }

    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        if w.len() < self.n {
            return [UNDEFINED];
        }
        let low = lowest(w);
        let width = highest(w) - low;
        if width <= 0.0 {
            return [UNDEFINED];
        }
        let mut counts = [0u32; BINS_MAX];
        for x in w {
            let bin = ((x - low) / width * self.bins as f64) as usize;
            counts[bin.min(self.bins - 1)] += 1;
        }
        let n = w.len() as f64;
        let share = |count: &u32| f64::from(*count) / n;
        let terms = counts[..self.bins].iter().filter(|count| **count > 0).map(share);
        [-terms.map(|p| p * libm::log(p)).sum::<f64>()]
    }
}

/// Hurst's exponent by rescaled range over the whole window, its halves and its quarters.
fn hurst(w: &[f64]) -> f64 {
    let mut points = [(0.0, 0.0); 3];
    for (level, point) in points.iter_mut().enumerate() {
        let parts = 1 << level;
        let length = w.len() / parts;
        let mut total = 0.0;
        for part in w.chunks_exact(length).take(parts) {
            match rescaled_range(part) {
                Some(ratio) => total += ratio,
                None => return UNDEFINED,
            }
        }
        *point = (libm::log(length as f64), libm::log(total / parts as f64));
    }
    let (x, y) = (points.map(|(x, _)| x), points.map(|(_, y)| y));
    let sums = cross(&x, &y);
    sums.xy / sums.xx
}

/// Range of the summed deviations over the deviation (Hurst 1951; Mandelbrot and Wallis 1969).
fn rescaled_range(w: &[f64]) -> Option<f64> {
    let center = mean(w);
    let (mut walk, mut low, mut high, mut squares) = (0.0f64, f64::INFINITY, f64::NEG_INFINITY, 0.0);
    for x in w {
        let d = x - center;
        walk += d;
        low = low.min(walk);
        high = high.max(walk);
        squares += d * d;
    }
    let deviation = libm::sqrt(squares / w.len() as f64);
    (deviation > LEVEL_EPSILON * center.abs()).then(|| (high - low) / deviation)
}

/// An exponentially weighted mean that begins with the first value.
#[derive(Debug)]
struct Ewma {
    alpha: f64,
}

impl Cell<1, 1> for Ewma {
    fn slots(&self) -> usize {
        2
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        let [begun, value] = state else { return [UNDEFINED] };
        *value = if *begun == 0.0 { x } else { (1.0 - self.alpha) * *value + self.alpha * x };
        *begun = 1.0;
        [*value]
    }
}

const N: &[&str] = &["n"];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("stdev", 1, N, "the sample standard deviation of the last n (n − 1)", |p| {
        cell(Moments(window(p[0], 2)?))
    })
    .output_of("moments", 0),
    Operation::new("skew", 1, N, "the skewness of the last n, adjusted (Joanes and Gill's G1)", |p| {
        cell(Moments(window(p[0], 3)?))
    })
    .output_of("moments", 1),
    Operation::new("kurt", 1, N, "the excess kurtosis of the last n, adjusted (Joanes and Gill's G2)", |p| {
        cell(Moments(window(p[0], 4)?))
    })
    .output_of("moments", 2),
    Operation::new("covariance", 2, N, "the sample covariance of the last n of x and y (n − 1)", |p| {
        cell(Together(window(p[0], 2)?))
    })
    .output_of("together", 0),
    Operation::new("correlation", 2, N, "Pearson's correlation of the last n of x and y", |p| {
        cell(Together(window(p[0], 2)?))
    })
    .output_of("together", 1),
    Operation::new("slope", 2, N, "the slope of y on x by least squares over the last n", |p| {
        cell(Together(window(p[0], 2)?))
    })
    .output_of("together", 2),
    Operation::new(
        "autocorrelation",
        1,
        &["lag", "n"],
        "Pearson's correlation of the last n with those lag ticks before",
        |p| cell(Autocorrelation { lag: count("lag", p[0], 1, 256)?, n: window(p[1], 3)? }),
    ),
    Operation::new("median", 1, N, "the median of the last n", |p| {
        cell(Quantile { n: window(p[0], 1)?, q: 0.5 })
    }),
    Operation::new("quantile", 1, &["n", "q"], "the q-quantile of the last n, interpolated linearly", |p| {
        cell(Quantile { n: window(p[0], 1)?, q: within("q", p[1], 0.0, 1.0)? })
    }),
    Operation::new(
        "rank",
        1,
        N,
        "the place of x among the last n, in 0 … 1; ties share the average",
        |p| cell(Window(window(p[0], 2)?, rank)),
    ),
    Operation::new("mean_deviation", 1, N, "the mean distance of the last n from their mean", |p| {
        cell(Window(window(p[0], 2)?, mean_absolute_deviation))
    }),
    Operation::new("median_deviation", 1, N, "the median distance of the last n from their median", |p| {
        cell(MedianDeviation(window(p[0], 2)?))
    }),
    Operation::new(
        "trend",
        1,
        N,
        "the slope per tick of a straight line through the last n by least squares",
        |p| cell(Line(window(p[0], 3)?)),
    )
    .output_of("line", 0),
    Operation::new(
        "trend_fit",
        1,
        N,
        "the share of the variance of the last n that a straight line explains (R²)",
        |p| cell(Line(window(p[0], 3)?)),
    )
    .output_of("line", 1),
    Operation::new(
        "trend_error",
        1,
        N,
        "the standard error of the slope of a straight line through the last n",
        |p| cell(Line(window(p[0], 3)?)),
    )
    .output_of("line", 2),
    Operation::new(
        "entropy",
        1,
        &["n", "bins"],
        "Shannon's entropy in nats of the last n in bins of equal width",
        |p| cell(Entropy { n: window(p[0], 2)?, bins: count("bins", p[1], 2, BINS_MAX)? }),
    ),
    Operation::new(
        "hurst",
        1,
        N,
        "Hurst's exponent of the increments x by rescaled range over the last n, their halves and quarters",
        |p| cell(Window(window(p[0], 16)?, hurst)),
    ),
    Operation::new(
        "ewma",
        1,
        N,
        "the exponentially weighted mean with weight 2 ÷ (n + 1), from the first value on",
        |p| cell(Ewma { alpha: 2.0 / (window(p[0], 1)? as f64 + 1.0) }),
    ),
];
