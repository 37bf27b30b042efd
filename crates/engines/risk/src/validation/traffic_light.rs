//! The traffic light of the Basel Committee: which number of exceptions is a coincidence, and what it costs.
//!
//! Supervisory framework for the use of "backtesting" in conjunction with the internal models approach to market risk
//! capital requirements (1996), for 250 days and 99 %; the zones are defined by probabilities, so that they extend to any
//! number of days and any confidence.

use nautilus_numerics::{beta_cdf, normal_quantile};
use serde::{Deserialize, Serialize};

use super::count;

/// Probabilities of so many exceptions or fewer, from which on the zones begin.
const YELLOW: f64 = 0.95;
const RED: f64 = 0.9999;
/// The multiplier of capital in the green zone, by the framework of 1996 and by that of 2019 (MAR32.9).
const BASES: [f64; 2] = [3.0, 1.5];
/// What the committee adds to either for 5 to 9 exceptions in 250 days at 99 %.
const YELLOW_FROM: usize = 5;
const ADDED: [[f64; 5]; 2] = [[0.40, 0.50, 0.65, 0.75, 0.85], [0.20, 0.26, 0.33, 0.38, 0.42]];

/// A zone of the traffic light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// A right model may well have so many exceptions.
    Green,
    /// It may, but so may a wrong one.
    Yellow,
    /// It hardly ever has.
    Red,
}

/// The zone of a number of exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrafficLight {
    /// Where the number of exceptions lies.
    pub zone: Zone,
    /// The probability that a right model has so many exceptions or fewer, by the binomial distribution.
    pub cumulative_probability: f64,
    /// The smallest number of exceptions in the yellow zone: the probability reaches 95 %. It is 1 at least.
    pub yellow_from: usize,
    /// The smallest one in the red zone: the probability reaches 99.99 %.
    pub red_from: usize,
    /// What capital is multiplied by, framework of 1996: 3 in the green zone, 4 in the red one. Between them the committee's
    /// table for 250 days and 99 %, otherwise what the table was rounded from: 3·z(confidence)/z(1 − exceptions/days).
    pub multiplier_1996: f64,
    /// The same in the framework of 2019 (MAR32.9), from 1.5 to 2.
    pub multiplier_2019: f64,
}

/// Of n observations with so many exceptions, each of them of the probability `share` if the model is right.
pub(super) fn of(n: usize, exceptions: usize, share: f64) -> TrafficLight {
    let yellow_from = first_at(n, share, YELLOW).max(1);
    let red_from = first_at(n, share, RED).max(1);
    let zone = match exceptions {
        few if few < yellow_from => Zone::Green,
        some if some < red_from => Zone::Yellow,
        _ => Zone::Red,
    };
    let multiplier = |framework: usize| {
        let base = BASES[framework];
        base + match zone {
            Zone::Green => 0.0,
            Zone::Red => base / 3.0,
            Zone::Yellow if n == 250 && (share - 0.01).abs() < 1e-12 => {
                ADDED[framework][exceptions - YELLOW_FROM]
            }
            Zone::Yellow => {
                let seen = normal_quantile(1.0 - count(exceptions) / count(n));
                let ratio = normal_quantile(1.0 - share) / seen;
                // Of exceptions in every other period or more there is no such multiplier.
                if seen > 0.0 { (base * (ratio - 1.0)).clamp(0.0, base / 3.0) } else { base / 3.0 }
            }
        }
    };
    TrafficLight {
        zone,
        cumulative_probability: at_most(exceptions, n, share),
        yellow_from,
        red_from,
        multiplier_1996: multiplier(0),
        multiplier_2019: multiplier(1),
    }
}

/// P(X ≤ k) of a binomial X.
fn at_most(k: usize, n: usize, share: f64) -> f64 {
    if k >= n { 1.0 } else { beta_cdf(1.0 - share, count(n - k), count(k + 1)) }
}

/// The smallest number that is not exceeded with at least the probability.
fn first_at(n: usize, share: f64, probability: f64) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low.midpoint(high);
        if at_most(middle, n, share) >= probability { high = middle } else { low = middle + 1 }
    }
    low
}
