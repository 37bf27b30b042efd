//! Coherent measures of the whole distribution: spectral ones and the entropic value at risk.

use super::Spectrum;
use super::tail::{Outcome, count_f64};
use crate::RiskError;

/// The most bands of a spectrum.
const BANDS_MAX: usize = 1 << 20;

/// Refuses a spectrum that is none, or whose measure would not be coherent.
///
/// # Errors
/// The parameter at fault.
pub(crate) fn check(spectrum: &Spectrum) -> Result<(), RiskError> {
    let weights = match spectrum {
        Spectrum::RiskAversion(aversion) if *aversion > 0.0 && aversion.is_finite() => return Ok(()),
        Spectrum::RiskAversion(aversion) => {
            let reason = format!("{aversion} is no finite number above 0: send for example 20");
            return Err(RiskError::new("out_of_range", "spectral.risk_aversion", reason));
        }
        Spectrum::Weights(weights) => weights,
    };
    let refuse = |field: String, reason: &str| Err(RiskError::new("out_of_range", field, reason));
    let at = |index: usize| format!("spectral.weights[{index}]");
    if weights.is_empty() || weights.len() > BANDS_MAX {
        let reason = format!("{} weights: send 1 to {BANDS_MAX}", weights.len());
        return refuse("spectral.weights".to_owned(), &reason);
    }
    if let Some(index) = weights.iter().position(|weight| !(*weight >= 0.0 && weight.is_finite())) {
        return refuse(at(index), "a weight is a finite number, not below 0");
    }
    if let Some(index) = weights.windows(2).position(|pair| pair[1] > pair[0]) {
        return refuse(at(index + 1), "it is above the one before it: a worse scenario never weighs less");
    }
    let sum: f64 = weights.iter().sum();
    if !(sum > 0.0 && sum.is_finite()) {
        return refuse("spectral.weights".to_owned(), "they add up to nothing, or to too much: rescale them");
    }
    Ok(())
}

/// Probabilities of sorted outcomes, and of all up to each.
struct Probabilities<'a>(Option<&'a [f64]>, f64);

impl Probabilities<'_> {
    /// The probabilities before and with each outcome.
    fn edges<'b>(&'b self, sorted: &'b [Outcome]) -> impl Iterator<Item = (f64, f64, f64)> + 'b {
        let mut sum = 0.0;
        sorted.iter().enumerate().map(move |(at, (pnl, scenario))| {
            let before = sum;
            sum = match self.0 {
                _ if at + 1 == sorted.len() => 1.0,
                None => count_f64(at + 1) / self.1,
                Some(weights) => f64::min(1.0, sum + weights[*scenario as usize]),
            };
            (*pnl, before, sum)
        })
    }
}

/// −∫φ(p)·x(p) dp over the quantiles x(p) of P&L (Acerbi 2002). `sorted` holds every scenario.
pub(crate) fn spectral(sorted: &[Outcome], weights: Option<&[f64]>, spectrum: &Spectrum) -> f64 {
    let probabilities = Probabilities(weights, count_f64(sorted.len()));
    let edges = probabilities.edges(sorted);
    match spectrum {
        Spectrum::RiskAversion(aversion) => {
            let whole = libm::expm1(-aversion);
            let mass = |from: f64, to: f64| {
                libm::exp(-aversion * from) * libm::expm1(-aversion * (to - from)) / whole
            };
            edges.map(|(pnl, from, to)| -mass(from, to) * pnl).sum()
        }
        Spectrum::Weights(bands) => {
            let up_to = cumulative(bands);
            edges.map(|(pnl, from, to)| -(up_to(to) - up_to(from)) * pnl).sum()
        }
    }
}

/// ∫φ from 0 to p for a spectrum in steps.
fn cumulative(bands: &[f64]) -> impl Fn(f64) -> f64 {
    let sum: f64 = bands.iter().sum();
    let mut before = vec![0.0];
    for band in bands {
        before.push(before[before.len() - 1] + band / sum);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    move |p: f64| {
        let place = p * count_f64(before.len() - 1);
        let band = (place as usize).min(before.len() - 2);
        before[band] + (place - count_f64(band)) * (before[band + 1] - before[band])
    }
}

/// The entropic value at risk, min over t > 0 of (K(t) − ln q)/t, K(t) = ln E exp(t·loss) (Ahmadi-Javid 2012).
///
/// With losses taken from the worst one, in units of their range, the minimum is where t·K′(t) − K(t) = −ln q; the left
/// side rises from 0 to −ln P(the worst loss). Where q is not above that probability, the minimum lies at infinity and the
/// measure is the worst loss.
pub(crate) fn entropic(sorted: &[Outcome], weights: Option<&[f64]>, q: f64) -> f64 {
    let (worst, best) = (-sorted[0].0, -sorted[sorted.len() - 1].0);
    let range = worst - best;
    let probabilities = Probabilities(weights, count_f64(sorted.len()));
    let at_worst: f64 =
        probabilities.edges(sorted).filter(|(pnl, _, _)| -pnl == worst).map(|(_, from, to)| to - from).sum();
    let wanted = -libm::log(q);
    if range == 0.0 || q <= at_worst * (1.0 + 1e-12) {
        return worst;
    }
    let losses: Vec<(f64, f64)> =
        probabilities.edges(sorted).map(|(pnl, from, to)| ((-pnl - worst) / range, to - from)).collect();
    // K, t·K′ − K and the derivative of the latter, t·K″.
    let cumulant = |t: f64| {
        let (mut m0, mut m1, mut m2) = (0.0, 0.0, 0.0);
        for (loss, probability) in &losses {
            let mass = probability * libm::exp(t * loss);
            m0 += mass;
            m1 += mass * loss;
            m2 += mass * loss * loss;
        }
        let (mean, k) = (m1 / m0, libm::log(m0));
        (k, t * mean - k, t * (m2 / m0 - mean * mean))
    };
    let (mut low, mut high) = (0.0, 1.0);
    while cumulant(high).1 < wanted && high < 1e300 {
        (low, high) = (high, 2.0 * high);
    }
    let mut t = 0.5 * (low + high);
    // The measure is flat around its minimum: half of the digits of t give all of its own.
    while high - low > 1e-9 * high {
        let (_, value, slope) = cumulant(t);
        *(if value < wanted { &mut low } else { &mut high }) = t;
        let newton = t + (wanted - value) / slope;
        if (newton - t).abs() <= 1e-9 * t {
            break;
        }
        t = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
    }
    worst + range * (cumulant(t).0 + wanted) / t
}
