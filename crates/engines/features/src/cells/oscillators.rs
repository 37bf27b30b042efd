//! Oscillators as TA-Lib 0.8.1 computes them: the same seeds, the same running sums, the same order of operations, so
//! that results agree in every bit.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, WINDOW_MAX, cell, count, window};

use super::past::Window;

/// Gains and losses smoothed as Wilder did: `[how many came, previous, gain, loss]`. `share` is the n-th part of a sum.
#[inline]
fn gains(state: &mut [f64], n: usize, x: f64, share: fn(f64, f64) -> f64) -> Option<(f64, f64)> {
    let [came, previous, gain, loss] = state else { return None };
    let n = n as f64;
    let change = x - *previous;
    *previous = x;
    let up = if change > 0.0 { change } else { 0.0 };
    let down = up - change;
    if *came > n {
        (*gain, *loss) = (share(*gain * (n - 1.0) + up, n), share(*loss * (n - 1.0) + down, n));
        return Some((*gain, *loss));
    }
    *came += 1.0;
    if *came == 1.0 {
        return None;
    }
    *gain += up;
    *loss += down;
    if *came <= n {
        return None;
    }
    (*gain, *loss) = (share(*gain, n), share(*loss, n));
    Some((*gain, *loss))
}

/// Wilder's relative strength index; 0 where nothing ever moved.
#[derive(Debug)]
struct Strength(usize);

impl Cell<1, 1> for Strength {
    fn slots(&self) -> usize {
        4
    }

    fn warm(&self) -> [usize; 1] {
        [self.0]
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        [gains(state, self.0, x, |sum, n| sum * (1.0 / n)).map_or(UNDEFINED, |(gain, loss)| {
            let both = gain + loss;
            if both > 0.0 { 100.0 * (gain / both) } else { 0.0 }
        })]
    }
}

/// Chande's momentum oscillator, smoothed; 0 where nothing moved.
#[derive(Debug)]
struct Momentum(usize);

impl Cell<1, 1> for Momentum {
    fn slots(&self) -> usize {
        4
    }

    fn warm(&self) -> [usize; 1] {
        [self.0]
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        [gains(state, self.0, x, |sum, n| sum / n).map_or(UNDEFINED, |(gain, loss)| {
            let both = gain + loss;
            if both > 0.0 { 100.0 * ((gain - loss) / both) } else { 0.0 }
        })]
    }
}

/// What TA-Lib takes for no range at all, relative to its ends.
const NO_RANGE: f64 = 1e-14;

/// Where z stands between the highest x and the lowest y of the last n: from the lowest in 0 … 100, and from the
/// highest in 0 … −100. Both are 0 where there is no range.
#[derive(Debug)]
struct Place(usize);

impl Cell<3, 2> for Place {
    fn windows(&self) -> [usize; 3] {
        [self.0, self.0, 0]
    }

    #[inline]
    fn step(&self, _: &mut [f64], [_, _, z]: [f64; 3], [x, y, _]: [&[f64]; 3]) -> [f64; 2] {
        if x.len() < self.0 || y.len() < self.0 {
            return [UNDEFINED; 2];
        }
        let highest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = y.iter().copied().fold(f64::INFINITY, f64::min);
        let range = highest - lowest;
        if range.abs() <= NO_RANGE * (highest.abs() + lowest.abs()) {
            return [0.0; 2];
        }
        [(z - lowest) / range * 100.0, ((highest - z) / range * -100.0).clamp(-100.0, 0.0)]
    }
}

/// The commodity channel index of x. TA-Lib adds its ring up from the first slot on, so the order of the sums follows
/// from how many values came: `[slot]`.
#[derive(Debug)]
struct Channel(usize);

impl Channel {
    /// The window in the order of the ring's slots, the newest value being in `slot`.
    fn ring(w: &[f64], slot: usize) -> impl Iterator<Item = f64> {
        let (older, newer) = w.split_at(w.len() - 1 - slot);
        newer.iter().chain(older).copied()
    }
}

impl Cell<1, 1> for Channel {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn slots(&self) -> usize {
        1
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let slot = if w.len() == 1 { 0 } else { state[0] as usize };
        state[0] = ((slot + 1) % self.0) as f64;
        if w.len() < self.0 {
            return [UNDEFINED];
        }
        let n = self.0 as f64;
        let mean = Self::ring(w, slot).fold(0.0, |sum, value| sum + value) / n;
        let distance = Self::ring(w, slot).fold(0.0, |sum, value| sum + (value - mean).abs()) / n;
        let none = NO_RANGE * mean.abs();
        let from = x - mean;
        [if from.abs() > none && distance.abs() > none && 0.015 * distance != 0.0 {
            from / (0.015 * distance)
        } else {
            0.0
        }]
    }
}

/// The money flow index of the price x and the volume y: `[rising, falling, ticks in a row without any flow]`.
#[derive(Debug)]
struct Flow(usize);

impl Flow {
    /// The flow of the newest bar of `x` and `y`, and whether it is a rising one.
    fn of(x: &[f64], y: &[f64]) -> (f64, f64) {
        let (now, before) = (x[x.len() - 1], x[x.len() - 2]);
        let change = now - before;
        let level = now.abs() + before.abs();
        let flow = if change.abs() <= NO_RANGE * level { 0.0 } else { now * y[y.len() - 1] };
        if change < 0.0 { (0.0, flow) } else { (flow, 0.0) }
    }
}

impl Cell<2, 1> for Flow {
    fn windows(&self) -> [usize; 2] {
        [self.0 + 2; 2]
    }

    fn slots(&self) -> usize {
        3
    }

    fn warm(&self) -> [usize; 1] {
        [self.0]
    }

    fn step(&self, state: &mut [f64], _: [f64; 2], [x, y]: [&[f64]; 2]) -> [f64; 1] {
        let came = x.len().min(y.len());
        if came < 2 {
            state.fill(0.0);
            return [UNDEFINED];
        }
        let (x, y) = (&x[x.len() - came..], &y[y.len() - came..]);
        let [rising, falling, none] = state else { return [UNDEFINED] };
        if came == self.0 + 2 {
            let (up, down) = Self::of(&x[..2], &y[..2]);
            *rising -= up;
            *falling -= down;
        }
        let (up, down) = Self::of(x, y);
        *rising += up;
        *falling += down;
        *none = if up == 0.0 && down == 0.0 { *none + 1.0 } else { 0.0 };
        if *none >= self.0 as f64 {
            // No flow in the whole window, so what is left in the sums is rounding.
            (*rising, *falling, *none) = (0.0, 0.0, self.0 as f64);
        }
        if came <= self.0 {
            return [UNDEFINED];
        }
        let both = *rising + *falling;
        let rising = if *rising < 0.0 { 0.0 } else { rising.min(both) };
        [if both <= 0.0 { 0.0 } else { 100.0 * (rising / both) }]
    }
}

/// Williams' ultimate oscillator of buying pressure x and true range y, over three windows, shortest first. The running
/// sums begin as late as the longest window allows: `[pressure and range by window, ticks in a row without any range]`.
#[derive(Debug)]
struct Ultimate([usize; 3]);

impl Cell<2, 1> for Ultimate {
    fn windows(&self) -> [usize; 2] {
        [self.0[2]; 2]
    }

    fn slots(&self) -> usize {
        7
    }

    fn step(&self, state: &mut [f64], [pressure, range]: [f64; 2], [x, y]: [&[f64]; 2]) -> [f64; 1] {
        let came = x.len().min(y.len());
        if came == 1 {
            state.fill(0.0);
        }
        let (sums, none) = state.split_at_mut(6);
        let longest = self.0[2];
        none[0] = if range + pressure.abs() <= 0.0 { none[0] + 1.0 } else { 0.0 };
        for (sum, n) in sums.chunks_exact_mut(2).zip(self.0) {
            if came > longest - n {
                sum[0] += pressure;
                sum[1] += range;
            }
            if came == longest && none[0] >= n as f64 {
                // Nothing moved in the whole window, so what is left in the sums is rounding.
                sum.fill(0.0);
            }
        }
        if came < longest {
            return [UNDEFINED];
        }
        none[0] = none[0].min(longest as f64);
        let mut total = 0.0;
        for (sum, weight) in sums.chunks_exact(2).zip([4.0, 2.0, 1.0]) {
            if sum[1] > 0.0 {
                total += weight * (sum[0] / sum[1]);
            }
        }
        for (sum, n) in sums.chunks_exact_mut(2).zip(self.0) {
            sum[0] -= x[x.len() - n];
            sum[1] -= y[y.len() - n];
        }
        [100.0 * (total / 7.0)]
    }
}

/// Granville's on-balance volume of the price x and the volume y: `[begun, previous, total]`.
#[derive(Debug)]
struct OnBalance;

impl Cell<2, 1> for OnBalance {
    fn slots(&self) -> usize {
        3
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x, y]: [f64; 2], _: [&[f64]; 2]) -> [f64; 1] {
        let [begun, previous, total] = state else { return [UNDEFINED] };
        if *begun == 0.0 || x > *previous {
            *total += y;
        } else if x < *previous {
            *total -= y;
        }
        (*begun, *previous) = (1.0, x);
        [*total]
    }
}

/// Chande and Kroll's intraday momentum index of the bodies x: the share of rising ones; 50 where there is none.
fn intraday(w: &[f64]) -> f64 {
    let (mut rising, mut falling) = (0.0, 0.0);
    for body in w {
        let up = (body + body.abs()) * 0.5;
        rising += up;
        falling += up - body;
    }
    if rising + falling == 0.0 { 50.0 } else { 100.0 * (rising / (rising + falling)) }
}

/// The mean distance from the mean, both added up from the newest value on.
fn average_deviation(w: &[f64]) -> f64 {
    let n = w.len() as f64;
    let mean = w.iter().rev().fold(0.0, |sum, x| sum + x) / n;
    w.iter().rev().fold(0.0, |sum, x| sum + (x - mean).abs()) / n
}

const N: &[&str] = &["n"];

fn ultimate(p: &[f64]) -> Result<Ultimate, String> {
    let mut windows = [window(p[0], 1)?, window(p[1], 1)?, window(p[2], 1)?];
    windows.sort_unstable();
    Ok(Ultimate(windows))
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(
        "rsi",
        1,
        N,
        "Wilder's relative strength index, 0 where nothing moved (TA-Lib's RSI)",
        |p| cell(Strength(window(p[0], 2)?)),
    ),
    Operation::new("cmo", 1, N, "Chande's momentum oscillator with Wilder's smoothing (TA-Lib's CMO)", |p| {
        cell(Momentum(window(p[0], 2)?))
    }),
    Operation::new(
        "fast_k",
        3,
        N,
        "where z stands between the lowest y and the highest x of the last n, in 0 … 100 (TA-Lib's fast %K)",
        |p| cell(Place(window(p[0], 1)?)),
    )
    .output_of("place", 0),
    Operation::new(
        "willr_of",
        3,
        N,
        "where z stands between the highest x and the lowest y of the last n, in 0 … −100 (TA-Lib's WILLR)",
        |p| cell(Place(window(p[0], 1)?)),
    )
    .output_of("place", 1),
    Operation::new("cci_of", 1, N, "Lambert's commodity channel index of the price x (TA-Lib's CCI)", |p| {
        cell(Channel(window(p[0], 2)?))
    }),
    Operation::new(
        "mfi_of",
        2,
        N,
        "the money flow index of the price x and the volume y (TA-Lib's MFI)",
        |p| cell(Flow(count("n", p[0], 2, WINDOW_MAX - 2)?)),
    ),
    Operation::new(
        "obv_of",
        2,
        &[],
        "on-balance volume of the price x and the volume y, which begins with the first volume (TA-Lib's OBV)",
        |_| cell(OnBalance),
    ),
    Operation::new(
        "ultosc_of",
        2,
        &["a", "b", "c"],
        "Williams' ultimate oscillator of buying pressure x and true range y (TA-Lib's ULTOSC)",
        |p| cell(ultimate(p)?),
    ),
    Operation::new("imi_of", 1, N, "the intraday momentum index of the bodies x (TA-Lib's IMI)", |p| {
        cell(Window(window(p[0], 2)?, intraday))
    }),
    Operation::new(
        "avgdev",
        1,
        N,
        "the mean distance of the last n from their mean (TA-Lib's AVGDEV)",
        |p| cell(Window(window(p[0], 2)?, average_deviation)),
    ),
];
