//! Which volatility a price stands for.

use super::{European, OptionError, OptionKind, OptionTerms, not_negative, positive};

/// Steps, at most: each Newton's or a halving.
const STEPS_MAX: u32 = 200;

/// The volatility at which the European option is worth the price; that of `terms` is not looked at. Newton's method
/// within an interval that is halved where a step would leave it, on the logarithm of the value of whichever of call
/// and put is out of the money (parity gives one from the other), which keeps its slope in the tails. The error is that
/// of the price: a rounding of the price divided by vega.
///
/// # Errors
/// An input is out of its range, or no volatility gives the price; at or below the value without volatility there is
/// none, and where nothing of the time value is left beside the intrinsic one neither.
pub fn implied_volatility(terms: &OptionTerms, spot: f64, price: f64) -> Result<f64, OptionError> {
    positive("spot", spot)?;
    positive("expiry", terms.expiry)?;
    not_negative("price", price)?;
    let with = |kind: OptionKind, volatility: f64| European::new(OptionTerms { kind, volatility, ..*terms });
    let lowest = with(terms.kind, 0.0)?.value(spot)?;
    let asset = spot * libm::exp(-terms.dividend_yield * terms.expiry);
    let cash = terms.strike * libm::exp(-terms.rate * terms.expiry);
    let highest = if terms.kind == OptionKind::Call { asset } else { cash };
    if !(price > lowest && price < highest) {
        return Err(OptionError::NoVolatility { price, lowest, highest });
    }
    let outside = if asset > cash { OptionKind::Put } else { OptionKind::Call };
    let target = libm::log(if outside == terms.kind { price } else { price - lowest });
    let root = terms.expiry.sqrt();
    // σ·√T from 1e-9 to 40: beyond these the value is that of no or of endless volatility.
    let (mut low, mut high) = (1e-9 / root, 40.0 / root);
    // Where the value turns from convex to concave in the volatility (Manaster and Koehler 1982).
    let mut volatility = (2.0 * libm::log(asset / cash).abs() / terms.expiry).sqrt().clamp(0.01 / root, high);
    for _ in 0..STEPS_MAX {
        let greeks = with(outside, volatility)?.greeks(spot)?;
        let missing = target - libm::log(greeks.value);
        if missing > 0.0 {
            low = volatility;
        } else {
            high = volatility;
        }
        let newton = volatility + missing * greeks.value / greeks.vega;
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - volatility).abs() <= 2.0 * f64::EPSILON * volatility {
            return Ok(next);
        }
        volatility = next;
    }
    Ok(volatility)
}
