//! Directional movement, true range, stops and ages of extremes as TA-Lib 0.8.1 computes them: the same seeds, the same
//! order of operations, so that results agree in every bit.

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, WINDOW_MAX, cell, count, window, within};

/// Wilder's true range of high x, low y and the close z before.
#[derive(Debug)]
struct TrueRange;

/// The greatest of the three distances.
#[inline]
fn true_range(high: f64, low: f64, before: f64) -> f64 {
    (high - low).max((before - high).abs()).max((before - low).abs())
}

impl Cell<3, 1> for TrueRange {
    fn windows(&self) -> [usize; 3] {
        [0, 0, 2]
    }

    #[inline]
    fn step(&self, _: &mut [f64], [high, low, _]: [f64; 3], [_, _, close]: [&[f64]; 3]) -> [f64; 1] {
        [if close.len() == 2 { true_range(high, low, close[0]) } else { UNDEFINED }]
    }
}

/// Wilder's directional movement of high x, low y and close z: +DM, −DM, +DI, −DI, DX, ADX.
///
/// State: `[how many came, high, low, close, +DM, −DM, true range, DX, ADX, sum of the first DX]`.
#[derive(Debug)]
struct Directional(usize);

/// What TA-Lib takes for zero where it divides by the sum of both indices.
const NO_DIRECTION: f64 = 1e-14;

impl Directional {
    /// The movements up and down of one bar, of which at most one is not zero.
    #[inline]
    fn movements(up: f64, down: f64) -> (f64, f64) {
        if down > 0.0 && up < down {
            (0.0, down)
        } else if up > 0.0 && up > down {
            (up, 0.0)
        } else {
            (0.0, 0.0)
        }
    }

    /// Takes the bar in: the sums of the first n − 1, from then on those with an n-th part less.
    #[inline]
    fn take_in(&self, state: &mut [f64], [high, low, close]: [f64; 3]) -> f64 {
        let [came, last_high, last_low, last_close, plus, minus, range, ..] = state else { return 0.0 };
        let n = self.0 as f64;
        if *came > 0.0 {
            let (up, down) = Self::movements(high - *last_high, *last_low - low);
            let moved = true_range(high, low, *last_close);
            if *came < n {
                (*plus, *minus, *range) = (*plus + up, *minus + down, *range + moved);
            } else {
                *plus = *plus - *plus / n + up;
                *minus = *minus - *minus / n + down;
                *range = *range - *range / n + moved;
            }
        }
        (*last_high, *last_low, *last_close) = (high, low, close);
        *came += 1.0;
        // Enough to count to the end of the warm-up.
        *came = came.min(3.0 * n);
        *came
    }

    /// The index of directional movement; the last one where nothing moved.
    #[inline]
    fn index(plus: f64, minus: f64) -> Option<f64> {
        let both = minus + plus;
        (both.abs() >= NO_DIRECTION).then(|| 100.0 * ((minus - plus).abs() / both))
    }
}

impl Cell<3, 6> for Directional {
    fn slots(&self) -> usize {
        10
    }

    fn warm(&self) -> [usize; 6] {
        let n = self.0;
        [n - 1, n - 1, n, n, n, 2 * n - 1]
    }

    fn step(&self, state: &mut [f64], bar: [f64; 3], _: [&[f64]; 3]) -> [f64; 6] {
        let n = self.0 as f64;
        let came = self.take_in(state, bar);
        let mut out = [UNDEFINED; 6];
        let [_, _, _, _, plus, minus, range, dx, adx, first] = state else { return out };
        if came >= n {
            (out[0], out[1]) = (*plus, *minus);
        }
        if came <= n {
            return out;
        }
        let moved = *range > 0.0;
        let share = |movement: f64| if moved { 100.0 * (movement / *range) } else { 0.0 };
        (out[2], out[3]) = (share(*plus), share(*minus));
        let index = if moved { Self::index(out[2], out[3]) } else { None };
        if let Some(index) = index {
            *dx = index;
        }
        out[4] = *dx;
        if came <= 2.0 * n {
            *first += index.unwrap_or(0.0);
            *adx = *first / n;
        } else if let Some(index) = index {
            *adx = (*adx * (n - 1.0) + index) / n;
        }
        if came >= 2.0 * n {
            out[5] = *adx;
        }
        out
    }
}

/// How fast one side of the parabolic stop follows.
#[derive(Debug, Clone, Copy)]
struct Side {
    first: f64,
    step: f64,
    most: f64,
}

impl Side {
    fn new(first: f64, step: f64, most: f64) -> Self {
        Self { first: first.min(most), step: step.min(most), most }
    }
}

/// Wilder's parabolic stop and reverse of high x and low y: the stop, and the stop with the sign of the position.
///
/// State: `[bars so far, up to 2; 1 long or 0 short; stop; extreme; acceleration; low; high]`.
#[derive(Debug)]
struct Parabolic {
    /// Long above zero, short below it; zero lets the first bars decide.
    start: f64,
    /// How much further away a new stop begins, as a share of it.
    offset: f64,
    long: Side,
    short: Side,
}

impl Parabolic {
    /// The position after the first two bars.
    fn begin(&self, state: &mut [f64], high: f64, low: f64) {
        let [bars, long, stop, extreme, acceleration, last_low, last_high] = state else { return };
        let (up, down) = (high - *last_high, *last_low - low);
        let is_long = if self.start == 0.0 { !(down > 0.0 && up < down) } else { self.start > 0.0 };
        (*bars, *long) = (2.0, f64::from(u8::from(is_long)));
        *extreme = if is_long { high } else { low };
        *acceleration = if is_long { self.long.first } else { self.short.first };
        *stop = match (self.start == 0.0, is_long) {
            (false, _) => self.start.abs(),
            (true, true) => *last_low,
            (true, false) => *last_high,
        };
        (*last_low, *last_high) = (low, high);
    }

    /// The stop no nearer than both bars allow.
    fn bounded(stop: f64, is_long: bool, bars: [(f64, f64); 2]) -> f64 {
        let [before, now] = bars;
        if is_long { below(below(stop, before.0), now.0) } else { above(above(stop, before.1), now.1) }
    }
}

fn below(stop: f64, low: f64) -> f64 {
    if stop > low { low } else { stop }
}

fn above(stop: f64, high: f64) -> f64 {
    if stop < high { high } else { stop }
}

impl Cell<2, 2> for Parabolic {
    fn slots(&self) -> usize {
        7
    }

    fn warm(&self) -> [usize; 2] {
        [1; 2]
    }

    fn step(&self, state: &mut [f64], [high, low]: [f64; 2], _: [&[f64]; 2]) -> [f64; 2] {
        if state[0] == 0.0 {
            (state[0], state[5], state[6]) = (1.0, low, high);
            return [UNDEFINED; 2];
        }
        if state[0] == 1.0 {
            self.begin(state, high, low);
        }
        let [_, long, stop, extreme, acceleration, last_low, last_high] = state else {
            return [UNDEFINED; 2];
        };
        let bars = [(*last_low, *last_high), (low, high)];
        let mut is_long = *long != 0.0;
        let reversed = if is_long { low <= *stop } else { high >= *stop };
        if reversed {
            is_long = !is_long;
            *stop = Self::bounded(*extreme, is_long, bars);
            *stop += if is_long { -(*stop * self.offset) } else { *stop * self.offset };
        }
        let side = if is_long { self.long } else { self.short };
        let out = *stop;
        let farthest = if is_long { high } else { low };
        if reversed {
            (*acceleration, *extreme) = (side.first, farthest);
        } else if if is_long { high > *extreme } else { low < *extreme } {
            *extreme = farthest;
            *acceleration = (*acceleration + side.step).min(side.most);
        }
        *stop = Self::bounded(acceleration.mul_add(*extreme - out, out), is_long, bars);
        *long = f64::from(u8::from(is_long));
        (*last_low, *last_high) = (low, high);
        [out, if is_long { out } else { -out }]
    }
}

/// Ticks since the extreme of the last n, the newest of equal ones.
#[derive(Debug)]
struct Age(usize, fn(f64, f64) -> bool);

impl Cell<1, 1> for Age {
    fn windows(&self) -> [usize; 1] {
        [self.0]
    }

    fn step(&self, _: &mut [f64], _: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 1] {
        if w.len() < self.0 {
            return [UNDEFINED];
        }
        let mut at = 0;
        for (index, x) in w.iter().enumerate() {
            if self.1(*x, w[at]) {
                at = index;
            }
        }
        [(w.len() - 1 - at) as f64]
    }
}

const N: &[&str] = &["n"];
const STOP: &[&str] = &["acceleration", "most"];
const STOP_EXTENDED: &[&str] =
    &["start", "offset", "long_first", "long_step", "long_most", "short_first", "short_step", "short_most"];

fn stop(p: &[f64]) -> Result<Parabolic, String> {
    let number = |index: usize| within(STOP[index], p[index], 0.0, 1e6);
    let side = Side::new(number(0)?, number(0)?, number(1)?);
    Ok(Parabolic { start: 0.0, offset: 0.0, long: side, short: side })
}

fn extended(p: &[f64]) -> Result<Parabolic, String> {
    let number = |index: usize| within(STOP_EXTENDED[index], p[index], 0.0, 1e6);
    Ok(Parabolic {
        start: within("start", p[0], -1e15, 1e15)?,
        offset: number(1)?,
        long: Side::new(number(2)?, number(3)?, number(4)?),
        short: Side::new(number(5)?, number(6)?, number(7)?),
    })
}

macro_rules! directional {
    ($name:literal, $words:literal, $output:literal) => {
        Operation::new($name, 3, N, $words, |p| cell(Directional(window(p[0], 2)?)))
            .output_of("directional", $output)
    };
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("true_range", 3, &[], "Wilder's true range of high x, low y and the close z before (TA-Lib's TRANGE)", |_| {
        cell(TrueRange)
    }),
    directional!("plus_dm_of", "Wilder's sum of upward movement of high x, low y, close z (TA-Lib's PLUS_DM)", 0),
    directional!("minus_dm_of", "Wilder's sum of downward movement of high x, low y, close z (TA-Lib's MINUS_DM)", 1),
    directional!("plus_di_of", "the share of upward movement in the true range of high x, low y, close z (TA-Lib's PLUS_DI)", 2),
    directional!("minus_di_of", "the share of downward movement in the true range of high x, low y, close z (TA-Lib's MINUS_DI)", 3),
    directional!("dx_of", "the directional movement index of high x, low y, close z (TA-Lib's DX)", 4),
    directional!("adx_of", "the average directional movement index of high x, low y, close z (TA-Lib's ADX)", 5),
    Operation::new("sar_of", 2, STOP, "the parabolic stop and reverse of high x and low y (TA-Lib's SAR)", |p| cell(stop(p)?))
        .output_of("parabolic", 0),
    Operation::new("sar_sign_of", 2, STOP, "the parabolic stop of high x and low y, negative while short", |p| {
        cell(stop(p)?)
    })
    .output_of("parabolic", 1),
    Operation::new("sarext_of", 2, STOP_EXTENDED, "the parabolic stop of high x and low y with parameters by side, negative while short (TA-Lib's SAREXT)", |p| {
        cell(extended(p)?)
    })
    .output_of("sarext", 1),
    Operation::new("max_age", 1, N, "ticks since the largest of the last n, the newest of equal ones", |p| {
        cell(Age(count("n", p[0], 1, WINDOW_MAX)?, |x, best| x >= best))
    }),
    Operation::new("min_age", 1, N, "ticks since the smallest of the last n, the newest of equal ones", |p| {
        cell(Age(count("n", p[0], 1, WINDOW_MAX)?, |x, best| x <= best))
    }),
];
