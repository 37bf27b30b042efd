//! Variance, correlation, beta and the straight line through a window as TA-Lib 0.8.1 computes them: running sums around
//! a shift, taken afresh where they have lost their digits and every so many values, so that results agree in every bit.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, WINDOW_MAX, cell, count, window};

/// A result below this share of what it was subtracted from has lost half of its digits.
const LOST: f64 = 0.000_001;
/// Windows until the sums are taken afresh.
const AFRESH: f64 = 32.0;

/// Sums whose leaving term was so many times what stays have lost their digits as well.
const OUTWEIGHED: f64 = 1_000_000.0;

/// The variance of a window (÷ n). State: `[shift, sum, squares, values until afresh]`.
#[derive(Debug)]
struct Variance(usize);

impl Variance {
    /// The shift, sum and squares of a window from nothing.
    fn afresh(w: &[f64], share: f64) -> [f64; 3] {
        let shift = w.iter().fold(0.0, |sum, x| sum + x) * share;
        w.iter().fold([shift, 0.0, 0.0], |[shift, sum, squares], x| {
            let d = x - shift;
            [shift, sum + d, squares + d * d]
        })
    }

    fn of(sum: f64, squares: f64, share: f64) -> f64 {
        let mean = sum * share;
        squares * share - mean * mean
    }
}

impl Cell<1, 1> for Variance {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn slots(&self) -> usize {
        4
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let n = self.0 as f64;
        let share = 1.0 / n;
        let [shift, sum, squares, left] = state else { return [UNDEFINED] };
        if w.len() == 1 {
            (*shift, *sum, *squares, *left) = (x, 0.0, 0.0, AFRESH * n);
        }
        let d = x - *shift;
        *sum += d;
        *squares += d * d;
        if w.len() < self.0 {
            return [UNDEFINED];
        }
        let mut variance = Self::of(*sum, *squares, share);
        let d = w[0] - *shift;
        *sum -= d;
        *squares -= d * d;
        *left -= 1.0;
        if variance < LOST * (*squares * share) || d * d > OUTWEIGHED * *squares || *left <= 0.0 {
            *left = AFRESH * n;
            [*shift, *sum, *squares] = Self::afresh(w, share);
            variance = Self::of(*sum, *squares, share);
            if variance < 0.000_000_000_001 * (*squares * share) {
                variance = 0.0;
            }
            let d = w[0] - *shift;
            *sum -= d;
            *squares -= d * d;
        }
        [variance.max(0.0)]
    }
}

/// Sums of two series around their shifts.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Pair {
    fn read(state: &[f64]) -> Self {
        Self { x: state[0], y: state[1], xx: state[2], yy: state[3], xy: state[4] }
    }

    fn write(self, state: &mut [f64]) {
        state[..5].copy_from_slice(&[self.x, self.y, self.xx, self.yy, self.xy]);
    }

    #[inline]
    fn add(&mut self, x: f64, y: f64) {
        self.x += x;
        self.xx += x * x;
        self.xy += x * y;
        self.y += y;
        self.yy += y * y;
    }

    #[inline]
    fn remove(&mut self, x: f64, y: f64) {
        self.x -= x;
        self.xx -= x * x;
        self.xy -= x * y;
        self.y -= y;
        self.yy -= y * y;
    }

    fn of(pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut sums = Self::default();
        pairs.for_each(|(x, y)| sums.add(x, y));
        sums
    }

    /// Squares of x, squares of y and products, around the means.
    fn centered(&self, share: f64) -> [f64; 3] {
        [
            self.xx - self.x * self.x * share,
            self.yy - self.y * self.y * share,
            self.xy - self.x * self.y * share,
        ]
    }
}

/// Pearson's correlation. State: `[five sums, shift of x, of y, squares that left of x, of y, values until afresh]`.
#[derive(Debug)]
struct Correlation(usize);

impl Correlation {
    /// The sums of a window from nothing, around its means.
    fn afresh(x: &[f64], y: &[f64], share: f64) -> (Pair, [f64; 2]) {
        let [a, b] = [x, y].map(|w| w.iter().fold(0.0, |sum, value| sum + value) * share);
        (Pair::of(x.iter().zip(y).map(|(x, y)| (x - a, y - b))), [a, b])
    }
}

impl Cell<2, 1> for Correlation {
    fn windows(&self) -> [usize; 2] {
        [self.0; 2]
    }

    fn slots(&self) -> usize {
        10
    }

    fn step(&self, state: &mut [f64], [x, y]: [f64; 2], [wx, wy]: [&[f64]; 2]) -> [f64; 1] {
        let n = self.0 as f64;
        let share = 1.0 / n;
        let came = wx.len().min(wy.len());
        if came == 1 {
            state.fill(0.0);
            (state[5], state[6], state[9]) = (x, y, AFRESH * n);
        }
        let mut sums = Pair::read(state);
        sums.add(x - state[5], y - state[6]);
        if came < self.0 {
            sums.write(state);
            return [UNDEFINED];
        }
        let [mut xx, mut yy, mut xy] = sums.centered(share);
        state[9] -= 1.0;
        let lost = xx < LOST * sums.xx || yy < LOST * sums.yy;
        let outweighed = state[7] > OUTWEIGHED * sums.xx || state[8] > OUTWEIGHED * sums.yy;
        if lost || outweighed || state[9] <= 0.0 {
            (sums, [state[5], state[6]]) = Self::afresh(wx, wy, share);
            state[9] = AFRESH * n;
            [xx, yy, xy] = sums.centered(share);
            (xx, yy) = (if xx < 0.0 { 0.0 } else { xx }, if yy < 0.0 { 0.0 } else { yy });
        }
        let moves = xx > 1e-14 * sums.xx && yy > 1e-14 * sums.yy && xx * yy > 0.0;
        let correlation = if moves { (xy / libm::sqrt(xx * yy)).clamp(-1.0, 1.0) } else { 0.0 };
        let (x, y) = (wx[0] - state[5], wy[0] - state[6]);
        (state[7], state[8]) = (x * x, y * y);
        sums.remove(x, y);
        sums.write(state);
        [correlation]
    }
}

/// The slope of the changes of y on those of x, TA-Lib's way.
///
/// State: `[five sums, shift of x, of y, squares that left of x, of y, values until afresh]`.
#[derive(Debug)]
struct Beta(usize);

/// The relative change; none from zero.
#[inline]
fn change(from: f64, to: f64) -> f64 {
    if from == 0.0 { 0.0 } else { (to - from) / from }
}

/// The changes of both, less the shifts.
fn changes<'a>(x: &'a [f64], y: &'a [f64], [a, b]: [f64; 2]) -> impl Iterator<Item = (f64, f64)> + 'a {
    x.windows(2).zip(y.windows(2)).map(move |(x, y)| (change(x[0], x[1]) - a, change(y[0], y[1]) - b))
}

impl Cell<2, 1> for Beta {
    fn windows(&self) -> [usize; 2] {
        [self.0 + 1; 2]
    }

    fn slots(&self) -> usize {
        10
    }

    fn step(&self, state: &mut [f64], _: [f64; 2], [wx, wy]: [&[f64]; 2]) -> [f64; 1] {
        let n = self.0 as f64;
        let came = wx.len().min(wy.len());
        if came < 2 {
            return [UNDEFINED];
        }
        let (wx, wy) = (&wx[wx.len() - came..], &wy[wy.len() - came..]);
        let newest = |shifts| changes(&wx[came - 2..], &wy[came - 2..], shifts).next().unwrap_or_default();
        if came == 2 {
            state.fill(0.0);
            (state[5], state[6]) = newest([0.0; 2]);
            state[9] = AFRESH * n;
        }
        let mut sums = Pair::read(state);
        let (x, y) = newest([state[5], state[6]]);
        sums.add(x, y);
        if came <= self.0 {
            sums.write(state);
            return [UNDEFINED];
        }
        let mut scale = n * sums.xx;
        let mut below = scale - sums.x * sums.x;
        state[9] -= 1.0;
        let left = state[7] > 1000.0 * sums.xx || state[8] > 1000.0 * sums.yy;
        if below < LOST * scale || left || state[9] <= 0.0 {
            let (a, b) = changes(wx, wy, [0.0; 2]).fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
            (state[5], state[6], state[9]) = (a / n, b / n, AFRESH * n);
            sums = Pair::of(changes(wx, wy, [state[5], state[6]]));
            scale = n * sums.xx;
            below = scale - sums.x * sums.x;
            below = if below < 0.0 { 0.0 } else { below };
        }
        let beta = if below > 1e-14 * scale { (n * sums.xy - sums.x * sums.y) / below } else { 0.0 };
        let (x, y) = changes(&wx[..2], &wy[..2], [state[5], state[6]]).next().unwrap_or_default();
        (state[7], state[8]) = (x * x, y * y);
        sums.remove(x, y);
        sums.write(state);
        [beta]
    }
}

/// The straight line through a window by least squares: its end, slope, beginning and continuation.
///
/// State: `[weighted sum, sum, sum of magnitudes, values until afresh, whether it is full]`.
#[derive(Debug)]
struct Line(usize);

impl Line {
    /// The weighted sum (0 for the newest value), the sum and the sum of magnitudes of a window.
    fn sums(w: &[f64]) -> [f64; 3] {
        let mut sums = [0.0; 3];
        for (index, x) in w.iter().enumerate() {
            sums[1] += x;
            sums[0] += (w.len() - 1 - index) as f64 * x;
            sums[2] += x.abs();
        }
        sums
    }
}

impl Cell<1, 4> for Line {
    fn windows(&self) -> [usize; 1] {
        [self.0 + 1]
    }

    fn slots(&self) -> usize {
        5
    }

    fn warm(&self) -> [usize; 4] {
        [self.0 - 1; 4]
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 4] {
        let n = self.0 as f64;
        let [weighted, sum, magnitude, left, full] = state else { return [UNDEFINED; 4] };
        if w.len() < self.0 {
            *full = 0.0;
            return [UNDEFINED; 4];
        }
        let window = &w[w.len() - self.0..];
        if *full == 0.0 {
            [*weighted, *sum, *magnitude] = Self::sums(window);
            (*left, *full) = (AFRESH * n, 1.0);
        } else {
            let leaving = w[0];
            let taken = n * leaving;
            *weighted = *weighted + *sum - taken;
            *sum = *sum - leaving + x;
            *magnitude = *magnitude - leaving.abs() + x.abs();
            *left -= 1.0;
            if *left <= 0.0 || taken.abs() > 100.0 * *magnitude {
                [*weighted, *sum, *magnitude] = Self::sums(window);
                *left = AFRESH * n;
            }
        }
        // Sums of 0 … n − 1 and of their squares.
        let times = n * (n - 1.0) * 0.5;
        let squares = n * (n - 1.0) * (2.0 * n - 1.0) / 6.0;
        let slope = (n * *weighted - times * *sum) / (times * times - n * squares);
        let begin = (*sum - slope * times) / n;
        [slope.mul_add(n - 1.0, begin), slope, begin, slope.mul_add(n, begin)]
    }
}

const N: &[&str] = &["n"];

macro_rules! line {
    ($name:literal, $words:literal, $output:literal) => {
        Operation::new($name, 1, N, $words, |p| cell(Line(count("n", p[0], 2, WINDOW_MAX - 1)?)))
            .output_of("linearreg", $output)
    };
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("var", 1, N, "the variance of the last n, by n, from running sums (TA-Lib's VAR)", |p| {
        cell(Variance(window(p[0], 2)?))
    }),
    Operation::new("correl", 2, N, "Pearson's correlation of the last n of x and y from running sums, 0 where one stands still (TA-Lib's CORREL)", |p| {
        cell(Correlation(window(p[0], 2)?))
    })
    .commuting(),
    Operation::new("beta", 2, N, "the slope of the relative changes of y on those of x over n (TA-Lib's BETA)", |p| {
        cell(Beta(count("n", p[0], 1, WINDOW_MAX - 1)?))
    }),
    line!("linearreg", "the end of the straight line through the last n by least squares (TA-Lib's LINEARREG)", 0),
    line!("linearreg_slope", "the slope of the straight line through the last n (TA-Lib's LINEARREG_SLOPE)", 1),
    line!("linearreg_intercept", "the beginning of the straight line through the last n (TA-Lib's LINEARREG_INTERCEPT)", 2),
    line!("tsf", "the straight line through the last n, continued by one tick (TA-Lib's TSF)", 3),
];
