//! Ehlers' Hilbert transform and what follows from it, as TA-Lib 0.8.1 computes it (Ehlers, Rocket Science for Traders,
//! 2001): the same order of operations. Angles come from another arctangent than the C library's, so the last digits may
//! differ.

use std::f64::consts::PI;

use crate::columns::UNDEFINED;
use crate::kernel::Cell;
use crate::operations::{Operation, cell, within};

const DEGREES: f64 = 180.0 / PI;

/// Slots of one transform of one parity: three past inputs times A, B times the input before, that input.
const TRANSFORM: usize = 5;
/// Where it stands how many prices came.
const CAME: usize = 8 * TRANSFORM;
/// Slots of all transforms and of what they share.
const HILBERT: usize = CAME + 15;

/// What one bar gives.
struct Turn {
    smoothed: f64,
    in_phase: f64,
    quadrature: f64,
    /// The dominant cycle's period, and that smoothed.
    smooth_period: f64,
}

/// One transform of one parity.
#[inline]
fn transform(slots: &mut [f64], at: usize, input: f64, adjust: f64) -> f64 {
    let taken = 0.0962 * input;
    let mut out = -slots[at];
    slots[at] = taken;
    out += taken;
    out -= slots[3];
    slots[3] = 0.5769 * slots[4];
    out += slots[3];
    slots[4] = input;
    out * adjust
}

/// Takes in a price whose last four are `w`; nothing before `begin` prices came.
///
/// State: transforms (detrender, Q1, jI, jQ; even and odd bars), then `[prices so far, sum, weighted sum, leaving, slot,
/// I1 of odd bars (2 and 3 ago), of even bars, I2, Q2, Re, Im, period, smooth period]`.
fn turn(state: &mut [f64], x: f64, w: &[f64], begin: usize) -> Option<Turn> {
    let (transforms, shared) = state.split_at_mut(CAME);
    let [
        came,
        plain,
        weighted,
        leaving,
        slot,
        odd2,
        odd3,
        even2,
        even3,
        i2,
        q2,
        re,
        im,
        period,
        smooth_period,
        ..,
    ] = shared
    else {
        return None;
    };
    let bar = *came as usize;
    *came += 1.0;
    *plain += x;
    *plain -= *leaving;
    *weighted += x * (bar + 1).min(4) as f64;
    if bar < 3 {
        return None;
    }
    *leaving = w[0];
    let smoothed = *weighted * 0.1;
    *weighted -= *plain;
    if bar < begin {
        return None;
    }
    let adjust = 0.075f64.mul_add(*period, 0.54);
    let even = bar.is_multiple_of(2);
    let at = *slot as usize;
    let offset = if even { 0 } else { 4 * TRANSFORM };
    let mut of = |which: usize, input: f64| {
        transform(&mut transforms[offset + which * TRANSFORM..][..TRANSFORM], at, input, adjust)
    };
    let in_phase = if even { *even3 } else { *odd3 };
    let detrended = of(0, smoothed);
    let quadrature = of(1, detrended);
    let ahead = of(2, in_phase);
    let behind = of(3, quadrature);
    let q = 0.2f64.mul_add(quadrature + ahead, 0.8 * *q2);
    let i = 0.2f64.mul_add(in_phase - behind, 0.8 * *i2);
    if even {
        *slot = ((at + 1) % 3) as f64;
        (*odd3, *odd2) = (*odd2, detrended);
    } else {
        (*even3, *even2) = (*even2, detrended);
    }
    *re = 0.8f64.mul_add(*re, 0.2 * i.mul_add(*i2, q * *q2));
    *im = 0.8f64.mul_add(*im, 0.2 * (i * *q2 - q * *i2));
    (*q2, *i2) = (q, i);
    *period = next_period(*period, *re, *im);
    *smooth_period = 0.67f64.mul_add(*smooth_period, 0.33 * *period);
    Some(Turn { smoothed, in_phase, quadrature, smooth_period: *smooth_period })
}

/// The period of the cycle, which changes by half at most, stays in 6 … 50 and is smoothed.
fn next_period(before: f64, re: f64, im: f64) -> f64 {
    let mut period = before;
    if im != 0.0 && re != 0.0 {
        period = 360.0 / (libm::atan(im / re) * DEGREES);
    }
    if period > 1.5 * before {
        period = 1.5 * before;
    }
    if period < 0.67 * before {
        period = 0.67 * before;
    }
    period = period.clamp(6.0, 50.0);
    0.2f64.mul_add(period, 0.8 * before)
}

/// Starts over where the past has a hole.
fn begin_afresh(state: &mut [f64], w: &[f64]) {
    if w.len() == 1 {
        state.fill(0.0);
    }
}

/// The dominant cycle: its period, and the phasor's components.
#[derive(Debug)]
struct Period;

/// Prices before the transforms begin, where the phase is not needed.
const EARLY: usize = 12;
/// Bars before the first period.
const WARM: usize = 32;

impl Cell<1, 3> for Period {
    fn windows(&self) -> [usize; 1] {
        [4]
    }

    fn slots(&self) -> usize {
        HILBERT
    }

    fn warm(&self) -> [usize; 3] {
        [WARM; 3]
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 3] {
        begin_afresh(state, w);
        let Some(turn) = turn(state, x, w, EARLY) else { return [UNDEFINED; 3] };
        if state[CAME] <= WARM as f64 {
            return [UNDEFINED; 3];
        }
        [turn.smooth_period, turn.in_phase, turn.quadrature]
    }
}

/// Ehlers' MESA adaptive mean, and the one that follows it (TA-Lib's MAMA and FAMA).
#[derive(Debug)]
struct Mesa {
    fast: f64,
    slow: f64,
}

impl Cell<1, 2> for Mesa {
    fn windows(&self) -> [usize; 1] {
        [4]
    }

    fn slots(&self) -> usize {
        HILBERT + 3
    }

    fn warm(&self) -> [usize; 2] {
        [WARM; 2]
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 2] {
        begin_afresh(state, w);
        let (hilbert, own) = state.split_at_mut(HILBERT);
        let [phase, mama, fama] = own else { return [UNDEFINED; 2] };
        let Some(turn) = turn(hilbert, x, w, EARLY) else { return [UNDEFINED; 2] };
        let now =
            if turn.in_phase == 0.0 { 0.0 } else { libm::atan(turn.quadrature / turn.in_phase) * DEGREES };
        let turned = *phase - now;
        *phase = now;
        let alpha = if turned > 1.0 { (self.fast / turned).max(self.slow) } else { self.fast };
        *mama = (1.0 - alpha).mul_add(*mama, alpha * x);
        *fama = (1.0 - alpha * 0.5).mul_add(*fama, alpha * 0.5 * *mama);
        if hilbert[CAME] <= WARM as f64 { [UNDEFINED; 2] } else { [*mama, *fama] }
    }
}

/// The phase of the dominant cycle, its sine and the sine ahead of it, the trend without the cycle, and whether there is
/// a trend.
#[derive(Debug)]
struct Phase;

/// Prices before the transforms begin, where the phase is needed.
const LATE: usize = 37;
/// Smoothed prices that a cycle can span.
const SPAN: usize = 50;
/// Bars before the first phase.
const PHASE_WARM: usize = 63;

impl Phase {
    /// The phase of the last cycle of smoothed prices, newest first, after `phase` before.
    fn phase(smoothed: impl Iterator<Item = f64>, period: usize, smooth_period: f64, mut phase: f64) -> f64 {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (index, price) in smoothed.take(period).enumerate() {
            let angle = index as f64 * (2.0 * PI) / period as f64;
            real += libm::sin(angle) * price;
            imaginary += libm::cos(angle) * price;
        }
        if imaginary.abs() > 0.0 {
            phase = libm::atan(real / imaginary) * DEGREES;
        } else if real < 0.0 {
            phase -= 90.0;
        } else if real > 0.0 {
            phase += 90.0;
        }
        phase += 90.0;
        phase += 360.0 / smooth_period;
        if imaginary < 0.0 {
            phase += 180.0;
        }
        if phase > 315.0 {
            phase -= 360.0;
        }
        phase
    }

    /// Whether there is a trend (Ehlers, chapter 11): not while the sines cross, nor while the phase moves with the cycle.
    fn trends(own: &mut [f64; 4], [sine, lead]: [f64; 2], phase: f64, smooth_period: f64, away: f64) -> bool {
        let [days, last_sine, last_lead, last_phase] = own;
        let mut trend = true;
        if (sine > lead && *last_sine <= *last_lead) || (sine < lead && *last_sine >= *last_lead) {
            *days = 0.0;
            trend = false;
        }
        *days += 1.0;
        if *days < 0.5 * smooth_period {
            trend = false;
        }
        let turned = phase - *last_phase;
        let cycle = |share: f64| share * 360.0 / smooth_period;
        if smooth_period != 0.0 && turned > cycle(0.67) && turned < cycle(1.5) {
            trend = false;
        }
        *own = [*days, sine, lead, phase];
        trend || away >= 0.015
    }
}

impl Cell<1, 5> for Phase {
    fn windows(&self) -> [usize; 1] {
        [SPAN]
    }

    fn slots(&self) -> usize {
        HILBERT + 8 + SPAN
    }

    fn warm(&self) -> [usize; 5] {
        [PHASE_WARM; 5]
    }

    fn step(&self, state: &mut [f64], [x]: [f64; 1], [w]: [&[f64]; 1]) -> [f64; 5] {
        begin_afresh(state, w);
        let (hilbert, rest) = state.split_at_mut(HILBERT);
        let (own, ring) = rest.split_at_mut(8);
        let [at, trend1, trend2, trend3, kept @ ..] = own else { return [UNDEFINED; 5] };
        let Some(turn) = turn(hilbert, x, &w[w.len().saturating_sub(4)..], LATE) else {
            return [UNDEFINED; 5];
        };
        let newest = *at as usize;
        ring[newest] = turn.smoothed;
        *at = ((newest + 1) % SPAN) as f64;
        let period = (turn.smooth_period + 0.5).max(0.0) as usize;
        let smoothed = (0..SPAN).map(|ago| ring[(newest + SPAN - ago) % SPAN]);
        let mut last: [f64; 4] = std::array::from_fn(|index| kept[index]);
        let phase = Self::phase(smoothed, period, turn.smooth_period, last[3]);
        let sines = [libm::sin(phase / DEGREES), libm::sin((phase + 45.0) / DEGREES)];
        let mut mean = w.iter().rev().take(period).fold(0.0, |sum, price| sum + price);
        if period > 0 {
            mean /= period as f64;
        }
        let line = (2.0f64.mul_add(*trend2, 4.0f64.mul_add(mean, 3.0 * *trend1)) + *trend3) / 10.0;
        (*trend3, *trend2, *trend1) = (*trend2, *trend1, mean);
        let away = if line == 0.0 { 0.0 } else { ((turn.smoothed - line) / line).abs() };
        let trend = Self::trends(&mut last, sines, phase, turn.smooth_period, away);
        kept.copy_from_slice(&last);
        if hilbert[CAME] <= PHASE_WARM as f64 {
            return [UNDEFINED; 5];
        }
        [phase, sines[0], sines[1], line, f64::from(u8::from(trend))]
    }
}

const LIMITS: &[&str] = &["fast", "slow"];

fn mesa(p: &[f64]) -> Result<Mesa, String> {
    Ok(Mesa { fast: within("fast", p[0], 0.01, 0.99)?, slow: within("slow", p[1], 0.01, 0.99)? })
}

macro_rules! cycle {
    ($name:literal, $words:literal, $cell:ident, $kernel:literal, $output:literal) => {
        Operation::new($name, 1, &[], $words, |_| cell($cell)).output_of($kernel, $output)
    };
}

pub(super) const OPERATIONS: &[Operation] = &[
    cycle!(
        "ht_dcperiod",
        "the period of the dominant cycle by Hilbert transform (TA-Lib's HT_DCPERIOD)",
        Period,
        "ht_period",
        0
    ),
    cycle!("ht_inphase", "the phasor's component in phase (TA-Lib's HT_PHASOR)", Period, "ht_period", 1),
    cycle!(
        "ht_quadrature",
        "the phasor's component in quadrature (TA-Lib's HT_PHASOR)",
        Period,
        "ht_period",
        2
    ),
    cycle!(
        "ht_dcphase",
        "the phase of the dominant cycle in degrees (TA-Lib's HT_DCPHASE)",
        Phase,
        "ht_phase",
        0
    ),
    cycle!("ht_sine", "the sine of the dominant cycle's phase (TA-Lib's HT_SINE)", Phase, "ht_phase", 1),
    cycle!(
        "ht_leadsine",
        "the sine of the dominant cycle's phase and 45 degrees (TA-Lib's HT_SINE)",
        Phase,
        "ht_phase",
        2
    ),
    cycle!(
        "ht_trendline",
        "the price without the dominant cycle (TA-Lib's HT_TRENDLINE)",
        Phase,
        "ht_phase",
        3
    ),
    cycle!("ht_trendmode", "1 in a trend, 0 in a cycle (TA-Lib's HT_TRENDMODE)", Phase, "ht_phase", 4),
    Operation::new("mama", 1, LIMITS, "Ehlers' MESA adaptive mean (TA-Lib's MAMA)", |p| cell(mesa(p)?))
        .output_of("mesa", 0),
    Operation::new("fama", 1, LIMITS, "the mean that follows the MESA adaptive mean (TA-Lib's FAMA)", |p| {
        cell(mesa(p)?)
    })
    .output_of("mesa", 1),
];
