//! Indicators that practitioners expect beside TA-Lib's and that no formula can say: weights, ranks and recursions of
//! their own.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, WINDOW_MAX, cell, count, window, within};

use super::past::Window;

/// Arnaud Legoux' mean (2009): weights are a normal curve around a place late in the window.
#[derive(Debug)]
struct Legoux {
    n: usize,
    offset: f64,
    sigma: f64,
}

impl Cell<1, 1> for Legoux {
    fn windows(&self) -> [usize; 1] {
        [self.n]
    }

    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        if w.len() < self.n {
            return [UNDEFINED];
        }
        let (center, width) = (self.offset * (self.n as f64 - 1.0), self.n as f64 / self.sigma);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (index, x) in w.iter().enumerate() {
            let from = index as f64 - center;
            let weight = libm::exp(-(from * from) / (2.0 * width * width));
            sum += weight * x;
            weights += weight;
        }
        [sum / weights]
    }
}

/// The share of the last n values before the present one that are below it, in per cent.
#[derive(Debug)]
struct ShareBelow(usize);

impl Cell<1, 1> for ShareBelow {
    fn windows(&self) -> [usize; 1] {
        [self.0 + 1]
    }

    fn step(&self, _: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        if w.len() <= self.0 {
            return [UNDEFINED];
        }
        [w[..self.0].iter().filter(|before| **before < x).count() as f64 * 100.0 / self.0 as f64]
    }
}

/// Martin's ulcer index (1987): the root mean square of drawdowns, in per cent, from the highest value of the window
/// so far.
fn ulcer(w: &[f64]) -> f64 {
    let (mut highest, mut squares) = (f64::NEG_INFINITY, 0.0);
    for x in w {
        highest = highest.max(*x);
        let down = 100.0 * (x - highest) / highest;
        squares += down * down;
    }
    libm::sqrt(squares / w.len() as f64)
}

/// Ehlers' Fisher transform (2002) of where x stands in its range of n, smoothed before and after; the range is that of
/// what there is at first. State: `[place, transform, begun]`.
#[derive(Debug)]
struct Fisher(usize);

impl Cell<1, 1> for Fisher {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn slots(&self) -> usize {
        3
    }

    fn warm(&self) -> [usize; 1] {
        [0]
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let [place, transform, begun] = state else { return [UNDEFINED] };
        if *begun == 0.0 {
            *begun = 1.0;
            return [0.0];
        }
        let low = w.iter().copied().fold(f64::INFINITY, f64::min);
        let range = w.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
        *place = if range == 0.0 { 0.0 } else { 0.33 * 2.0 * ((x - low) / range - 0.5) + 0.67 * *place };
        if place.abs() > 0.99 {
            *place = 0.999f64.copysign(*place);
        }
        *transform = 0.5 * libm::log((1.0 + *place) / (1.0 - *place)) + 0.5 * *transform;
        [*transform]
    }
}

/// Seban's supertrend of high x, low y, close z and a range u: a stop k ranges away from the middle of the bar, which
/// only follows and turns when the close passes it. State: `[upper, lower, rising, close before, begun]`.
#[derive(Debug)]
struct Supertrend(f64);

impl Cell<4, 1> for Supertrend {
    fn slots(&self) -> usize {
        5
    }

    fn step(&self, state: &mut [f64], [high, low, close, range]: [f64; 4], _: [&[f64]; 4]) -> [f64; 1] {
        let [upper, lower, rising, before, begun] = state else { return [UNDEFINED] };
        let middle = (high + low) / 2.0;
        let (above, below) = (middle + self.0 * range, middle - self.0 * range);
        if *begun == 0.0 {
            (*upper, *lower, *begun) = (above, below, 1.0);
            *rising = f64::from(u8::from(close >= middle));
        }
        if above < *upper || *before > *upper {
            *upper = above;
        }
        if below > *lower || *before < *lower {
            *lower = below;
        }
        let stop = if *rising == 0.0 { *upper } else { *lower };
        *rising = f64::from(u8::from(close > stop));
        *before = close;
        [if *rising == 0.0 { *upper } else { *lower }]
    }
}

fn legoux(p: &[f64]) -> Result<Legoux, String> {
    let (offset, sigma) = (within("offset", p[1], 0.0, 1.0)?, within("sigma", p[2], 0.01, 1e3)?);
    Ok(Legoux { n: window(p[0], 2)?, offset, sigma })
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(
        "alma",
        1,
        &["n", "offset", "sigma"],
        "Arnaud Legoux' mean: normal weights around the share offset of the window",
        |p| cell(legoux(p)?),
    ),
    Operation::new(
        "share_below",
        1,
        &["n"],
        "the share of the n values before that are below x, in per cent",
        |p| cell(ShareBelow(count("n", p[0], 1, WINDOW_MAX - 1)?)),
    ),
    Operation::new(
        "ulcer",
        1,
        &["n"],
        "the root mean square of the drawdowns in the last n, in per cent (Martin's ulcer index)",
        |p| cell(Window(window(p[0], 2)?, ulcer)),
    ),
    Operation::new(
        "fisher",
        1,
        &["n"],
        "Ehlers' Fisher transform of where x stands in its range of n",
        |p| cell(Fisher(window(p[0], 1)?)),
    ),
    Operation::new(
        "supertrend",
        4,
        &["k"],
        "the supertrend of high x, low y, close z: a stop k times the range u away",
        |p| cell(Supertrend(within("k", p[0], 0.0, 1e3)?)),
    ),
];
