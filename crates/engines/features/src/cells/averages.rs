//! Moving averages as TA-Lib 0.8.1 computes them: the same seeds, the same running sums, the same order of operations,
//! so that results agree in every bit.
//!
//! A running sum begins afresh after a hole in its input; a recursion keeps its state over one.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, cell, count, window, within};

/// The simple mean by a running sum (TA-Lib's SMA).
#[derive(Debug)]
struct Simple(usize);

impl Cell<1, 1> for Simple {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn slots(&self) -> usize {
        1
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        if w.len() == 1 {
            state[0] = 0.0;
        }
        state[0] += x;
        if w.len() < self.0 {
            return [UNDEFINED];
        }
        let total = state[0];
        state[0] -= w[0];
        [total / self.0 as f64]
    }
}

/// How a recursive mean takes in a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Blend {
    /// `(x − mean) · k + mean`, the product exact.
    Towards(f64),
    /// `kept · mean + taken · x`, the first product exact.
    Fused { kept: f64, taken: f64 },
}

impl Blend {
    /// Of TA-Lib's EMA: k = 2 ÷ (n + 1).
    fn exponential(n: usize) -> Self {
        Self::Towards(2.0 / (n as f64 + 1.0))
    }

    /// Of Wilder's smoothing: 1 ÷ n of the new value is taken.
    fn wilder(n: usize) -> Self {
        let kept = (n as f64 - 1.0) / n as f64;
        Self::Fused { kept, taken: 1.0 - kept }
    }

    #[inline]
    fn apply(self, mean: f64, x: f64) -> f64 {
        match self {
            Self::Towards(k) => (x - mean).mul_add(k, mean),
            Self::Fused { kept, taken } => kept.mul_add(mean, taken * x),
        }
    }
}

/// A recursive mean seeded by the plain mean of its first n values. `state` holds how many came, and the mean.
#[inline]
fn seeded(state: &mut [f64], n: usize, blend: Blend, x: f64) -> f64 {
    let [came, mean] = state else { return UNDEFINED };
    if *came >= n as f64 {
        *mean = blend.apply(*mean, x);
        return *mean;
    }
    *mean += x;
    *came += 1.0;
    if *came < n as f64 {
        return UNDEFINED;
    }
    *mean /= n as f64;
    *mean
}

/// TA-Lib's EMA and Wilder's smoothing, seeded by a mean, over all values but the first few.
#[derive(Debug)]
struct Recursive {
    n: usize,
    skip: usize,
    blend: Blend,
}

impl Cell<1, 1> for Recursive {
    fn slots(&self) -> usize {
        3
    }

    fn warm(&self) -> [usize; 1] {
        [self.skip + self.n - 1]
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        if self.n == 1 && self.skip == 0 {
            // One value is its own mean; the recursion would round it.
            return [x];
        }
        if state[2] < self.skip as f64 {
            state[2] += 1.0;
            return [UNDEFINED];
        }
        [if self.n == 1 { x } else { seeded(&mut state[..2], self.n, self.blend, x) }]
    }
}

/// The linearly weighted mean by two running sums, taken afresh every 8 · n values (TA-Lib's WMA).
#[derive(Debug)]
struct Weighted(usize);

impl Cell<1, 1> for Weighted {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn slots(&self) -> usize {
        4
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let n = self.0 as f64;
        if self.0 == 1 {
            return [x];
        }
        let [plain, weighted, leaving, left] = state else { return [UNDEFINED] };
        if w.len() == 1 {
            (*plain, *weighted, *leaving, *left) = (0.0, 0.0, 0.0, 8.0 * n);
        }
        *plain += x;
        *plain -= *leaving;
        *weighted += x * w.len() as f64;
        if w.len() < self.0 {
            return [UNDEFINED];
        }
        *left -= 1.0;
        if *left <= 0.0 {
            (*plain, *weighted, *left) = (0.0, 0.0, 8.0 * n);
            for (weight, value) in (1..).zip(w) {
                *plain += value;
                *weighted += value * f64::from(weight);
            }
        }
        *leaving = w[0];
        let mean = *weighted / (n * (n + 1.0) / 2.0);
        *weighted -= *plain;
        [mean]
    }
}

/// The triangularly weighted mean by running sums of its rising and falling half (TA-Lib's TRIMA).
#[derive(Debug)]
struct Triangular(usize);

impl Triangular {
    /// The sums of a window from nothing: the numerator, what leaves it next, what joins it.
    fn sums(w: &[f64]) -> [f64; 3] {
        let middle = w.len().div_ceil(2);
        let (mut numerator, mut leaving, mut joining) = (0.0, 0.0, 0.0);
        for x in w[..middle].iter().rev() {
            leaving += x;
            numerator += leaving;
        }
        for x in &w[middle..] {
            joining += x;
            numerator += joining;
        }
        [numerator, leaving, joining]
    }
}

impl Cell<1, 1> for Triangular {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn slots(&self) -> usize {
        5
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let [numerator, leaving, joining, trailing, begun] = state else { return [UNDEFINED] };
        if w.len() == 1 {
            *begun = 0.0;
        }
        if w.len() < self.0 {
            return [UNDEFINED];
        }
        let half = self.0 / 2;
        let odd = !self.0.is_multiple_of(2);
        if *begun == 0.0 {
            [*numerator, *leaving, *joining] = Self::sums(w);
            *begun = 1.0;
        } else {
            let middle = w[if odd { half } else { half - 1 }];
            *numerator -= *leaving;
            *leaving -= *trailing;
            *leaving += middle;
            if odd {
                *numerator += *joining;
                *joining -= middle;
            } else {
                *joining -= middle;
                *numerator += *joining;
            }
            *joining += x;
            *numerator += x;
        }
        *trailing = w[0];
        let half = half as f64;
        let weights = if odd { (half + 1.0) * (half + 1.0) } else { half * (half + 1.0) };
        [*numerator * (1.0 / weights)]
    }
}

/// Kaufman's adaptive mean (TA-Lib's KAMA): between the EMAs of 2 and of 30, by the efficiency of the move.
#[derive(Debug)]
struct Adaptive(usize);

impl Cell<1, 1> for Adaptive {
    fn windows(&self) -> [usize; 1] {
        [self.0 + 2]
    }

    fn slots(&self) -> usize {
        4
    }

    fn warm(&self) -> [usize; 1] {
        [self.0]
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let [path, mean, still, begun] = state else { return [UNDEFINED] };
        if w.len() == 1 {
            (*path, *still, *begun) = (0.0, 0.0, 0.0);
            return [UNDEFINED];
        }
        let previous = w[w.len() - 2];
        let moved = (x - previous).abs();
        if *begun != 0.0 {
            *path -= (w[0] - w[1]).abs();
        }
        *path += moved;
        *still = if moved <= 0.0 { *still + 1.0 } else { 0.0 };
        if w.len() <= self.0 {
            return [UNDEFINED];
        }
        if *begun == 0.0 {
            *mean = previous;
        }
        let change = x - w[w.len() - 1 - self.0];
        let n = self.0 as f64;
        let efficiency = if *begun != 0.0 && *still >= n {
            // Nothing moved in the whole window, so what is left in the sum is rounding.
            (*still, *path) = (n, 0.0);
            1.0
        } else if *path <= 0.0 || *path <= change {
            1.0
        } else {
            (change / *path).abs().min(1.0)
        };
        *begun = 1.0;
        let slowest = 2.0 / 31.0;
        let factor = efficiency.mul_add(2.0 / 3.0 - slowest, slowest);
        *mean = (x - *mean).mul_add(factor * factor, *mean);
        [*mean]
    }
}

/// Tillson's T3: six EMAs of each other, combined (TA-Lib's T3).
#[derive(Debug)]
struct T3 {
    n: usize,
    factor: f64,
}

impl Cell<1, 1> for T3 {
    fn slots(&self) -> usize {
        12
    }

    fn warm(&self) -> [usize; 1] {
        [6 * (self.n - 1)]
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        let k = 2.0 / (self.n as f64 + 1.0);
        let blend = Blend::Fused { kept: 1.0 - k, taken: k };
        let mut means = [x; 6];
        let mut input = x;
        for (mean, own) in means.iter_mut().zip(state.chunks_exact_mut(2)) {
            input = seeded(own, self.n, blend, input);
            if input.is_nan() {
                return [UNDEFINED];
            }
            *mean = input;
        }
        if self.n == 1 {
            return [x];
        }
        let v = self.factor;
        let square = v * v;
        let c1 = -(square * v);
        let c2 = 3.0 * (square - c1);
        let c3 = -6.0 * square - 3.0 * (v - c1);
        let c4 = 3.0f64.mul_add(square, 3.0f64.mul_add(v, 1.0) - c1);
        let [_, _, e3, e4, e5, e6] = means;
        [c4.mul_add(e3, c3.mul_add(e4, c1.mul_add(e6, c2 * e5)))]
    }
}

/// An exponential mean that begins with the first value, as inside TA-Lib's ADOSC.
#[derive(Debug)]
struct FromFirst {
    k: f64,
}

impl Cell<1, 1> for FromFirst {
    fn slots(&self) -> usize {
        2
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        let [begun, mean] = state else { return [UNDEFINED] };
        *mean = if *begun == 0.0 { x } else { (1.0 - self.k).mul_add(*mean, self.k * x) };
        *begun = 1.0;
        [*mean]
    }
}

/// x, but not in its first n ticks.
#[derive(Debug)]
struct After(usize);

impl Cell<1, 1> for After {
    fn slots(&self) -> usize {
        1
    }

    fn warm(&self) -> [usize; 1] {
        [self.0]
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        if state[0] < self.0 as f64 {
            state[0] += 1.0;
            return [UNDEFINED];
        }
        [x]
    }
}

/// x where y is defined as well.
#[derive(Debug)]
struct Alongside;

impl Cell<2, 1> for Alongside {
    #[inline]
    fn step(&self, _: &mut [f64], [x, _]: [f64; 2], _: [&[f64]; 2]) -> [f64; 1] {
        [x]
    }
}

const N: &[&str] = &["n"];

fn recursive(n: f64, skip: f64, blend: fn(usize) -> Blend) -> Result<Recursive, String> {
    let n = window(n, 1)?;
    Ok(Recursive { n, skip: count("skip", skip, 0, crate::operations::WINDOW_MAX)?, blend: blend(n) })
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("sma", 1, N, "the mean of the last n by a running sum (TA-Lib's SMA)", |p| {
        cell(Simple(window(p[0], 1)?))
    }),
    Operation::new(
        "ema",
        1,
        N,
        "the exponential mean with k = 2 ÷ (n + 1), seeded by the mean of the first n (TA-Lib's EMA)",
        |p| cell(recursive(p[0], 0.0, Blend::exponential)?),
    ),
    Operation::new(
        "late_ema",
        1,
        &["n", "skip"],
        "ema(x, n) of all but the first skip values, as TA-Lib lets a fast EMA begin with the slow one",
        |p| cell(recursive(p[0], p[1], Blend::exponential)?),
    ),
    Operation::new(
        "first_ema",
        1,
        N,
        "the exponential mean with k = 2 ÷ (n + 1) from the first value on, as in TA-Lib's ADOSC",
        |p| cell(FromFirst { k: 2.0 / (window(p[0], 1)? as f64 + 1.0) }),
    ),
    Operation::new(
        "rma",
        1,
        N,
        "Wilder's smoothing: 1 ÷ n of the new value is taken, seeded by the mean of the first n (TA-Lib's RMA)",
        |p| cell(recursive(p[0], 0.0, Blend::wilder)?),
    ),
    Operation::new("wma", 1, N, "the mean of the last n with weights 1 … n (TA-Lib's WMA)", |p| {
        cell(Weighted(window(p[0], 1)?))
    }),
    Operation::new(
        "trima",
        1,
        N,
        "the mean of the last n with weights that rise to the middle and fall (TA-Lib's TRIMA)",
        |p| cell(Triangular(window(p[0], 1)?)),
    ),
    Operation::new("kama", 1, N, "Kaufman's adaptive mean by the efficiency over n (TA-Lib's KAMA)", |p| {
        cell(Adaptive(count("n", p[0], 2, crate::operations::WINDOW_MAX - 2)?))
    }),
    Operation::new("t3", 1, &["n", "factor"], "Tillson's T3 of six EMAs of each other (TA-Lib's T3)", |p| {
        cell(T3 { n: window(p[0], 1)?, factor: within("factor", p[1], 0.0, 1.0)? })
    }),
    Operation::new("after", 1, N, "x, but undefined in its first n ticks", |p| {
        cell(After(count("n", p[0], 0, crate::operations::WINDOW_MAX)?))
    }),
    Operation::new("alongside", 2, &[], "x where y is defined as well", |_| cell(Alongside)),
];
