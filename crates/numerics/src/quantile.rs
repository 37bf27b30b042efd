//! Quantile functions: the value that a share of a distribution lies at or below.

use std::f64::consts::PI;

use crate::distribution::student_t_cdf;

/// Where the centre of the normal quantile ends: a probability of 0.0005 on either side.
const CENTRE: f64 = 0.4995;

/// Numerator and denominator of Φ⁻¹(½ + q)/q as a rational function of CENTRE² − q², lowest power first; minimax to 6e-16
/// on |q| ≤ CENTRE, fitted by `quantile_fit.py`. All are positive, so nothing cancels.
const CENTRE_NUMERATOR: [f64; 17] = [
    6.587_641_104_087_828,
    41_185.976_352_770_44,
    102_959_639.247_282_9,
    133_293_776_610.336_53,
    97_387_839_332_408.1,
    41_425_299_152_521_632.0,
    10_333_581_324_365_572_096.0,
    1_504_999_125_173_451_358_208.0,
    1.265_821_993_813_035_3e23,
    6.051_053_929_026_669e24,
    1.608_200_104_685_69e26,
    2.302_609_669_467_674_2e27,
    1.693_801_694_271_969_9e28,
    5.932_818_803_951_023e28,
    8.665_937_932_016_82e28,
    4.029_160_754_354_708e28,
    2.650_905_024_915_613_7e27,
];
const CENTRE_DENOMINATOR: [f64; 17] = [
    1.0,
    6_421.175_651_926_062_5,
    16_557_359.206_255_885,
    22_224_026_580.496_35,
    16_936_836_899_014.133,
    7_567_408_783_263_143.0,
    1_998_776_997_447_866_112.0,
    311_076_060_686_809_169_920.0,
    28_259_298_102_911_287_951_360.0,
    1.477_908_910_382_784_6e24,
    4.366_532_348_910_708e25,
    7.097_370_784_184_224e26,
    6.101_650_628_545_618e27,
    2.608_999_632_787_946e28,
    5.005_292_698_894_624e28,
    3.550_690_760_366_417_6e28,
    5.869_471_371_032_303e27,
];

/// The tails of Wichura's algorithm AS 241 (1988), PPND16, in √(−ln p) less 1.6 and, from 5 on, less 5.
const NEAR_NUMERATOR: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    0.000_774_545_014_278_341_4,
];
const NEAR_DENOMINATOR: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    0.000_547_593_808_499_534_5,
    1.050_750_071_644_416_9e-09,
];
const FAR_NUMERATOR: [f64; 8] = [
    6.657_904_643_501_103,
    5.463_784_911_164_114,
    1.784_826_539_917_291_3,
    0.296_560_571_828_504_87,
    0.026_532_189_526_576_124,
    0.001_242_660_947_388_078_4,
    2.711_555_568_743_487_6e-05,
    2.010_334_399_292_288_1e-07,
];
const FAR_DENOMINATOR: [f64; 8] = [
    1.0,
    0.599_832_206_555_888,
    0.136_929_880_922_735_8,
    0.014_875_361_290_850_615,
    0.000_786_869_131_145_613_3,
    1.846_318_317_510_054_8e-05,
    1.421_511_758_316_446e-07,
    2.044_263_103_389_939_7e-15,
];

/// By Horner's rule, lowest power first, each step rounded once.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: &[f64; N], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum.mul_add(x, *coefficient))
}

/// Φ⁻¹(½ + q) for |q| ≤ CENTRE; a finite number beyond.
#[inline(always)]
fn centre(q: f64) -> f64 {
    let x = q.mul_add(-q, CENTRE * CENTRE);
    q * polynomial(&CENTRE_NUMERATOR, x) / polynomial(&CENTRE_DENOMINATOR, x)
}

/// −Φ⁻¹(p) for p ≤ ½ − CENTRE.
#[cold]
#[inline(never)]
fn tail(p: f64) -> f64 {
    let r = libm::sqrt(-libm::log(p));
    if r <= 5.0 {
        polynomial(&NEAR_NUMERATOR, r - 1.6) / polynomial(&NEAR_DENOMINATOR, r - 1.6)
    } else {
        polynomial(&FAR_NUMERATOR, r - 5.0) / polynomial(&FAR_DENOMINATOR, r - 5.0)
    }
}

/// The standard normal quantile, Φ⁻¹(p). 0 and 1 give ∓∞; what is no probability gives NaN.
///
/// A rational function of our own in the centre, and the tails of AS 241 (Wichura 1988). Checked to a relative error of
/// 2e-14 for p from 1e-300 to ½ against the reference values of the tests; above ½ as far as 1 − p is exact.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= CENTRE {
        centre(q)
    } else if p == 0.0 || p == 1.0 {
        f64::INFINITY.copysign(q)
    } else if p > 0.0 && p < 1.0 {
        tail(p.min(1.0 - p)).copysign(q)
    } else {
        f64::NAN
    }
}

/// Writes Φ⁻¹(½ + qᵢ) in the place of each qᵢ, |qᵢ| < ½: the bits of [`normal_quantile`], many at a time.
#[inline(always)]
pub(crate) fn normal_quantiles_of_offsets(offsets: &mut [f64]) {
    const CHUNK: usize = 64;
    let mut given = [0.0; CHUNK];
    for chunk in offsets.chunks_mut(CHUNK) {
        let given = &mut given[..chunk.len()];
        given.copy_from_slice(chunk);
        // A count, for only sums of integers are free of order.
        let mut far = 0_u64;
        for q in chunk.iter_mut() {
            far += u64::from(q.abs() > CENTRE);
            *q = centre(*q);
        }
        if far > 0 {
            for (value, q) in chunk.iter_mut().zip(given) {
                if q.abs() > CENTRE {
                    *value = tail(0.5 - q.abs()).copysign(*q);
                }
            }
        }
    }
}

/// The density of Student's t distribution (Abramowitz and Stegun 26.7.1) for a positive number of degrees of freedom.
#[must_use]
pub fn student_t_density(x: f64, degrees_of_freedom: f64) -> f64 {
    let nu = degrees_of_freedom;
    let ln_front = libm::lgamma(0.5 * (nu + 1.0)) - libm::lgamma(0.5 * nu) - 0.5 * libm::log(nu * PI);
    libm::exp(ln_front - 0.5 * (nu + 1.0) * libm::log1p(x * x / nu))
}

/// Student's t quantile for any positive, also fractional, number of degrees of freedom. 0 and 1 give ∓∞; what is no
/// probability, or degrees of freedom that are not positive and finite, give NaN.
///
/// The zero of [`student_t_cdf`] − p by Newton's method inside a bracket that every step narrows. Checked to a relative
/// error of 1e-10 for 1 to 200 degrees of freedom and p from 1e-8 to ½.
#[must_use]
pub fn student_t_quantile(p: f64, degrees_of_freedom: f64) -> f64 {
    let nu = degrees_of_freedom;
    if !((0.0..=1.0).contains(&p) && nu > 0.0 && nu.is_finite()) {
        return f64::NAN;
    }
    if p == 0.5 {
        return 0.0;
    }
    if p == 0.0 || p == 1.0 {
        return f64::INFINITY.copysign(p - 0.5);
    }
    // In the lower tail, where the distribution function keeps its digits; ln F is concave there, and nearly straight
    // in ln |x|.
    let tail = p.min(1.0 - p);
    let (mut low, mut high) = (0.0, 1.0);
    while student_t_cdf(-high, nu) > tail {
        (low, high) = (high, 2.0 * high);
        if high == f64::INFINITY {
            return f64::INFINITY.copysign(p - 0.5);
        }
    }
    let mut x = 0.5 * (low + high);
    for _ in 0..200 {
        let share = student_t_cdf(-x, nu);
        if share > tail {
            low = x;
        } else {
            high = x;
        }
        let step = (share - tail) / student_t_density(x, nu);
        let newton = x + step;
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        let settled = (next - x).abs() <= 2.0 * f64::EPSILON * x;
        x = next;
        if settled {
            break;
        }
    }
    x.copysign(p - 0.5)
}

#[cfg(test)]
#[path = "quantile_tests.rs"]
mod tests;
