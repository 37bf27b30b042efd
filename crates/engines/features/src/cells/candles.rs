//! What candlestick patterns need beyond formulas: averages of the bars before, which TA-Lib keeps as running sums, and
//! the patterns that wait for their confirmation.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, WINDOW_MAX, cell, count};

/// The mean of the n values before the present one by a running sum that begins after `skip` values; what leaves and
/// what joins it is netted first, as TA-Lib does. State: `[sum, values left out]`.
#[derive(Debug)]
struct MeanBefore {
    n: usize,
    skip: usize,
}

impl Cell<1, 1> for MeanBefore {
    fn windows(&self) -> [usize; 1] {
        [self.n + 1]
    }

    fn slots(&self) -> usize {
        2
    }

    fn warm(&self) -> [usize; 1] {
        [self.n + self.skip]
    }

    #[inline]
    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        let [sum, came] = state else { return [UNDEFINED] };
        if w.len() == 1 {
            (*sum, *came) = (0.0, 0.0);
        }
        let before = *came as usize;
        *came += 1.0;
        if before < self.skip {
            return [UNDEFINED];
        }
        if before < self.skip + self.n {
            *sum += x;
            return [UNDEFINED];
        }
        let mean = *sum / self.n as f64;
        *sum += x - w[0];
        [mean]
    }
}

/// x · y + z, rounded once.
#[derive(Debug)]
struct Fused;

impl Cell<3, 1> for Fused {
    #[inline]
    fn step(&self, _: &mut [f64], [x, y, z]: [f64; 3], _: [&[f64]; 3]) -> [f64; 1] {
        [x.mul_add(y, z)]
    }
}

/// Bars in which a hikkake can be confirmed, its own included.
const PATIENCE: f64 = 4.0;
/// Bars that TA-Lib looks at before the first result.
const SILENT: f64 = 3.0;

/// One bar of a hikkake: `sign` where a pattern ends here, otherwise whether the last one is confirmed.
///
/// State: `[bars left, sign, high, low, bars so far]`.
fn hikkake(state: &mut [f64], sign: f64, [high, low]: [f64; 2], close: f64) -> f64 {
    let [left, last, top, bottom, came] = state else { return UNDEFINED };
    let mut out = 0.0;
    if sign != 0.0 {
        (*left, *last, *top, *bottom) = (PATIENCE, sign, high, low);
        out = 100.0 * sign;
    } else if *left > 0.0 && ((*last > 0.0 && close > *top) || (*last < 0.0 && close < *bottom)) {
        out = 200.0 * *last;
        *left = 0.0;
    }
    *left = (*left - 1.0).max(0.0);
    *came += 1.0;
    if *came <= SILENT { UNDEFINED } else { out }
}

/// 1 where the newest bar falls out of the bar before it downwards, −1 upwards, 0 otherwise; `inside` tells whether that
/// bar lies inside the one before.
fn leaves(high: &[f64], low: &[f64]) -> f64 {
    let last = high.len() - 1;
    if high[last] < high[last - 1] && low[last] < low[last - 1] {
        1.0
    } else if high[last] > high[last - 1] && low[last] > low[last - 1] {
        -1.0
    } else {
        0.0
    }
}

/// Whether bar `at` lies inside the one before.
fn inside(high: &[f64], low: &[f64], at: usize) -> bool {
    high[at] < high[at - 1] && low[at] > low[at - 1]
}

/// Chesler's hikkake of high x, low y and close z: an inside bar, a false start, and its confirmation within three bars.
#[derive(Debug)]
struct Hikkake;

impl Cell<3, 1> for Hikkake {
    fn windows(&self) -> [usize; 3] {
        [3, 3, 0]
    }

    fn slots(&self) -> usize {
        5
    }

    fn warm(&self) -> [usize; 1] {
        [2 + SILENT as usize]
    }

    fn step(&self, state: &mut [f64], [.., close]: [f64; 3], [high, low, _]: [&[f64]; 3]) -> [f64; 1] {
        if high.len() < 3 || low.len() < 3 {
            return [UNDEFINED];
        }
        let sign = if inside(high, low, 1) { leaves(high, low) } else { 0.0 };
        [hikkake(state, sign, [high[1], low[1]], close)]
    }
}

/// The modified hikkake: two inside bars, of which the first closes near (u) the end that the false start leaves by.
#[derive(Debug)]
struct ModifiedHikkake;

impl Cell<4, 1> for ModifiedHikkake {
    fn windows(&self) -> [usize; 4] {
        [4, 4, 3, 0]
    }

    fn slots(&self) -> usize {
        5
    }

    fn warm(&self) -> [usize; 1] {
        [SILENT as usize]
    }

    fn step(&self, state: &mut [f64], [.., near]: [f64; 4], [high, low, close, _]: [&[f64]; 4]) -> [f64; 1] {
        if high.len() < 4 || low.len() < 4 || close.len() < 3 {
            return [UNDEFINED];
        }
        let sign = if inside(high, low, 1) && inside(high, low, 2) { leaves(high, low) } else { 0.0 };
        let closes_near = if sign > 0.0 { close[0] <= low[1] + near } else { close[0] >= high[1] - near };
        [hikkake(state, if closes_near { sign } else { 0.0 }, [high[2], low[2]], close[2])]
    }
}

fn mean_before(p: &[f64]) -> Result<MeanBefore, String> {
    Ok(MeanBefore { n: count("n", p[0], 1, WINDOW_MAX - 1)?, skip: count("skip", p[1], 0, WINDOW_MAX)? })
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(
        "mean_before",
        1,
        &["n", "skip"],
        "the mean of the n values before, by a running sum over all but the first skip",
        |p| cell(mean_before(p)?),
    ),
    Operation::new("fused", 3, &[], "x · y + z, rounded once", |_| cell(Fused)),
    Operation::new(
        "hikkake",
        3,
        &[],
        "Chesler's hikkake of high x, low y, close z: ±100, ±200 where it is confirmed (TA-Lib's CDLHIKKAKE)",
        |_| cell(Hikkake),
    ),
    Operation::new(
        "modified_hikkake",
        4,
        &[],
        "the modified hikkake of high x, low y, close z, where near is u (TA-Lib's CDLHIKKAKEMOD)",
        |_| cell(ModifiedHikkake),
    ),
];
