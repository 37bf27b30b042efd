//! Plain looks at the past: earlier values, sums and extremes of a window, running totals.
//!
//! Sums of a window are taken afresh, so they depend on the window alone and never drift.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Made, Operation, cell, window, within};

/// The value `n` ticks ago.
#[derive(Debug)]
struct Lag(usize);

impl Cell<1, 1> for Lag {
    fn windows(&self) -> [usize; 1] {
        [self.0 + 1]
    }

    #[inline]
    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        [if w.len() > self.0 { w[0] } else { UNDEFINED }]
    }
}

/// The present value beside the one `n` ticks ago.
#[derive(Debug)]
struct Beside(usize, fn(f64, f64) -> f64);

impl Cell<1, 1> for Beside {
    fn windows(&self) -> [usize; 1] {
        [self.0 + 1]
    }

    #[inline]
    fn step(&self, _: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        [if w.len() > self.0 { (self.1)(x, w[0]) } else { UNDEFINED }]
    }
}

fn beside(n: f64, function: fn(f64, f64) -> f64) -> Made {
    cell(Beside(window(n + 1.0, 2)? - 1, function))
}

/// A function of a full window.
#[derive(Debug)]
pub(super) struct Window(pub(super) usize, pub(super) fn(&[f64]) -> f64);

impl Cell<1, 1> for Window {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    #[inline]
    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        [if w.len() == self.0 { (self.1)(w) } else { UNDEFINED }]
    }
}

/// The sum of everything since the start.
#[derive(Debug)]
struct Total;

impl Cell<1, 1> for Total {
    fn slots(&self) -> usize {
        1
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        state[0] += x;
        [state[0]]
    }
}

/// The mean of everything so far, in which a value weighs the share `y` of what it weighed at the tick before.
#[derive(Debug)]
struct FadedMean;

impl Cell<2, 1> for FadedMean {
    /// Time goes on where there is nothing to add.
    const TAKES_UNDEFINED: bool = true;

    fn slots(&self) -> usize {
        2
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x, kept]: [f64; 2], _: [&[f64]; 2]) -> [f64; 1] {
        let [sum, weight] = state else { return [UNDEFINED] };
        if kept.is_nan() {
            return [UNDEFINED];
        }
        (*sum, *weight) = (*sum * kept, *weight * kept);
        if x.is_nan() {
            return [UNDEFINED];
        }
        (*sum, *weight) = (*sum + x, *weight + 1.0);
        [*sum / *weight]
    }
}

/// What a change of the best bid and ask says of supply and demand at the touch: e_n of Cont, Kukanov and Stoikov (2014).
/// Prices and quantities of bid and ask, each with the one before.
#[derive(Debug)]
struct OrderFlow;

impl Cell<4, 1> for OrderFlow {
    fn windows(&self) -> [usize; 4] {
        [2; 4]
    }

    #[inline]
    fn step(&self, _: &mut [f64], _: [f64; 4], windows: [&[f64]; 4]) -> [f64; 1] {
        let [&[bid0, bid], &[ask0, ask], &[bid_size0, bid_size], &[ask_size0, ask_size]] = windows else {
            return [UNDEFINED];
        };
        let counted = |counts: bool, size: f64| if counts { size } else { 0.0 };
        let bought = counted(bid >= bid0, bid_size) - counted(bid <= bid0, bid_size0);
        let sold = counted(ask <= ask0, ask_size) - counted(ask >= ask0, ask_size0);
        [bought - sold]
    }
}

/// Ticks in a row in which `x` was not zero.
#[derive(Debug)]
struct Streak;

impl Cell<1, 1> for Streak {
    fn slots(&self) -> usize {
        1
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        state[0] = if x == 0.0 { 0.0 } else { state[0] + 1.0 };
        [state[0]]
    }
}

/// What is left of a weight after `x` seconds, when half of it goes in `half_life` seconds.
#[derive(Debug)]
struct Fade {
    half_life: f64,
}

impl Cell<1, 1> for Fade {
    #[inline]
    fn step(&self, _: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        [libm::exp2(-x.max(0.0) / self.half_life)]
    }
}

/// A sum of everything so far, of which the share `y` is kept from one tick to the next.
#[derive(Debug)]
struct Faded;

impl Cell<2, 1> for Faded {
    /// Time goes on where there is nothing to add.
    const TAKES_UNDEFINED: bool = true;

    fn slots(&self) -> usize {
        1
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x, kept]: [f64; 2], _: [&[f64]; 2]) -> [f64; 1] {
        if kept.is_nan() {
            return [UNDEFINED];
        }
        state[0] *= kept;
        if x.is_nan() {
            return [UNDEFINED];
        }
        state[0] += x;
        [state[0]]
    }
}

/// Lanes of a sum: enough for the processor to add several at once, whatever its vectors' width.
const LANES: usize = 8;

/// Sums of `K` terms of each value, in lanes that are added up at the end: one order, always the same.
#[inline]
pub(super) fn sums<const K: usize>(w: &[f64], term: impl Fn(f64) -> [f64; K]) -> [f64; K] {
    let mut lanes = [[0.0; LANES]; K];
    let (chunks, rest) = w.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in chunk.iter().enumerate() {
            let terms = term(*x);
            for k in 0..K {
                lanes[k][lane] += terms[k];
            }
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        let terms = term(*x);
        for k in 0..K {
            lanes[k][lane] += terms[k];
        }
    }
    lanes.map(gather)
}

/// As [`sums`], of pairs.
#[inline]
pub(super) fn sums_of_pairs<const K: usize>(
    x: &[f64],
    y: &[f64],
    term: impl Fn(f64, f64) -> [f64; K],
) -> [f64; K] {
    let mut lanes = [[0.0; LANES]; K];
    let ((x_chunks, x_rest), (y_chunks, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for lane in 0..LANES {
            let terms = term(x[lane], y[lane]);
            for k in 0..K {
                lanes[k][lane] += terms[k];
            }
        }
    }
    for (lane, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
        let terms = term(*x, *y);
        for k in 0..K {
            lanes[k][lane] += terms[k];
        }
    }
    lanes.map(gather)
}

fn gather(lanes: [f64; LANES]) -> f64 {
    let quarters: [f64; 4] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 4]);
    (quarters[0] + quarters[2]) + (quarters[1] + quarters[3])
}

#[inline]
pub(super) fn sum(w: &[f64]) -> f64 {
    sums(w, |x| [x])[0]
}

#[inline]
pub(super) fn mean(w: &[f64]) -> f64 {
    sum(w) / w.len() as f64
}

/// Comparisons are several at once, too.
#[inline]
fn extreme(w: &[f64], first: f64, of: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [first; LANES];
    let (chunks, rest) = w.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = of(*lane, *x);
        }
    }
    lanes.iter().chain(rest).fold(first, |found, x| of(found, *x))
}

pub(super) fn lowest(w: &[f64]) -> f64 {
    extreme(w, f64::INFINITY, |a, b| if b < a { b } else { a })
}

pub(super) fn highest(w: &[f64]) -> f64 {
    extreme(w, f64::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

const N: &[&str] = &["n"];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("lag", 1, N, "x as it was n ticks ago", |p| cell(Lag(window(p[0] + 1.0, 2)? - 1))),
    Operation::new("diff", 1, N, "x less x n ticks ago", |p| beside(p[0], |x, before| x - before)),
    Operation::new("change", 1, N, "relative change of x over n ticks", |p| {
        beside(p[0], |x, before| x / before - 1.0)
    }),
    Operation::new("log_change", 1, N, "logarithm of the ratio of x to x n ticks ago", |p| {
        beside(p[0], |x, before| libm::log(x / before))
    }),
    Operation::new("sum", 1, N, "the sum of the last n", |p| cell(Window(window(p[0], 1)?, sum))),
    Operation::new("mean", 1, N, "the mean of the last n", |p| cell(Window(window(p[0], 1)?, mean))),
    Operation::new("min", 1, N, "the smallest of the last n", |p| cell(Window(window(p[0], 1)?, lowest))),
    Operation::new("max", 1, N, "the largest of the last n", |p| cell(Window(window(p[0], 1)?, highest))),
    Operation::new(
        "fade",
        1,
        &["half_life"],
        "what is left of a weight after x seconds when half of it goes in half_life seconds",
        |p| cell(Fade { half_life: within("half_life", p[0], 1e-3, 1e6)? }),
    ),
    Operation::new("faded", 2, &[], "the sum of x so far, of which the share y is kept at each tick", |_| {
        cell(Faded)
    }),
    Operation::new(
        "faded_mean",
        2,
        &[],
        "the mean of x so far, in which a value keeps the share y of its weight at each tick",
        |_| cell(FadedMean),
    ),
    Operation::new(
        "order_flow",
        4,
        &[],
        "order-flow imbalance of one change of bid x, ask y, bid size z and ask size u (Cont, Kukanov and Stoikov 2014, e_n)",
        |_| cell(OrderFlow),
    ),
    Operation::new(
        "total",
        1,
        &[],
        "the sum of everything since the instrument's first bar or event",
        |_| cell(Total),
    ),
    Operation::new("streak", 1, &[], "ticks in a row in which x was not 0", |_| cell(Streak)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fading_sum_fades_where_there_is_nothing_to_add() {
        let mut state = [0.0];
        let mut step = |x, kept| Faded.step(&mut state, [x, kept], [&[], &[]])[0];
        assert_eq!(step(8.0, 1.0), 8.0);
        assert!(step(UNDEFINED, 0.5).is_nan());
        assert!(step(1.0, UNDEFINED).is_nan(), "without a time nothing is known");
        assert_eq!(step(1.0, 0.5), 3.0);
    }
}
