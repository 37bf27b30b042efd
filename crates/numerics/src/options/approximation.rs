//! American options by formulas that are near: a microsecond each, errors of some thousandths of the value.

use super::{European, OptionError, OptionKind, OptionTerms, not_negative};
use crate::distribution::normal_cdf;

/// Which formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approximation {
    /// The early exercise premium solves a quadratic equation (Barone-Adesi and Whaley 1987).
    BaroneAdesiWhaley,
    /// Exercise at one flat barrier, chosen well (Bjerksund and Stensland 1993): a lower bound.
    BjerksundStensland,
}

/// Halvings, at most, of the interval that the critical price is in.
const HALVINGS: u32 = 200;

/// The value of an American option by an approximation. Where waiting is always better it is the European value;
/// it is never below what exercising pays.
///
/// # Errors
/// An input is out of its range, or the value is not finite.
pub fn american_approximation(terms: &OptionTerms, spot: f64, by: Approximation) -> Result<f64, OptionError> {
    let european = European::new(*terms)?;
    not_negative("spot", spot)?;
    let intrinsic = terms.intrinsic(spot);
    let waiting = european.value(spot)?.max(intrinsic);
    if never_early(terms) || terms.volatility == 0.0 || terms.expiry == 0.0 || spot == 0.0 {
        return Ok(waiting);
    }
    let value = match by {
        Approximation::BaroneAdesiWhaley => quadratic(&european, spot)?,
        // A put is a call with spot and strike, rate and yield exchanged (McDonald and Schroder 1998).
        Approximation::BjerksundStensland => match terms.kind {
            OptionKind::Call => flat(terms, spot),
            OptionKind::Put => {
                let (rate, dividend_yield) = (terms.dividend_yield, terms.rate);
                flat(&OptionTerms { strike: spot, rate, dividend_yield, ..*terms }, terms.strike)
            }
        },
    };
    if value.is_finite() { Ok(value.max(waiting)) } else { Err(OptionError::Overflow) }
}

/// Exercising gains what the cash would earn and loses what the asset would pay. Where that is never a gain as long as
/// the option is in the money, nobody exercises.
pub(super) fn never_early(terms: &OptionTerms) -> bool {
    let (rate, dividend_yield) = (terms.rate, terms.dividend_yield);
    match terms.kind {
        OptionKind::Call => dividend_yield <= 0.0 && dividend_yield <= rate,
        OptionKind::Put => rate <= 0.0 && rate <= dividend_yield,
    }
}

fn quadratic(european: &European, spot: f64) -> Result<f64, OptionError> {
    let terms = european.terms();
    let sign = terms.kind.sign();
    let Some(critical) = critical_price(european, 4.0 * f64::EPSILON)? else { return european.value(spot) };
    if sign * (spot - critical) >= 0.0 {
        return Ok(terms.intrinsic(spot));
    }
    let power = root(terms);
    let at = european.greeks(critical)?;
    let premium = critical / power * (sign - at.delta);
    Ok(european.value(spot)? + premium * libm::pow(spot / critical, power))
}

/// The root of the quadratic equation that belongs to a call or to a put.
fn root(terms: &OptionTerms) -> f64 {
    let OptionTerms { rate, dividend_yield, volatility, expiry, .. } = *terms;
    let variance = volatility * volatility;
    let carry = 2.0 * (rate - dividend_yield) / variance - 1.0;
    // r / (1 − e^(−rT)), which is 1/T without a rate.
    let earned = if rate == 0.0 { 1.0 / expiry } else { rate / -libm::expm1(-rate * expiry) };
    0.5 * (-carry + terms.kind.sign() * (carry * carry + 8.0 * earned / variance).sqrt())
}

/// The spot from which on exercising is best, by the quadratic approximation, to a relative accuracy; `None` where there
/// is none.
pub(super) fn critical_price(european: &European, accuracy: f64) -> Result<Option<f64>, OptionError> {
    let terms = european.terms();
    let (sign, strike, power) = (terms.kind.sign(), terms.strike, root(terms));
    // What exercising is better than waiting by; above 0 beyond the critical price.
    let better = |spot: f64| -> Result<f64, OptionError> {
        let greeks = european.greeks(spot)?;
        Ok(sign * (spot - strike) - greeks.value - spot / power * (sign - greeks.delta))
    };
    let (mut waits, mut exercises) = (strike, strike);
    loop {
        exercises *= libm::exp2(sign);
        if !(1e-300..1e300).contains(&exercises) {
            return Ok(None);
        }
        if better(exercises)? > 0.0 {
            break;
        }
        waits = exercises;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (waits + exercises);
        if (waits - exercises).abs() <= accuracy * middle {
            break;
        }
        if better(middle)? > 0.0 { exercises = middle } else { waits = middle }
    }
    Ok(Some(0.5 * (waits + exercises)))
}

/// A call that is exercised when the spot first reaches one barrier.
fn flat(terms: &OptionTerms, spot: f64) -> f64 {
    let OptionTerms { strike, rate, dividend_yield, volatility, expiry, .. } = *terms;
    let (carry, variance) = (rate - dividend_yield, volatility * volatility);
    let middle = carry / variance - 0.5;
    let beta = -middle + (middle * middle + 2.0 * rate / variance).sqrt();
    let endless = beta / (beta - 1.0) * strike;
    let now = strike.max(rate / dividend_yield * strike);
    let exponent = -(carry * expiry + 2.0 * volatility * expiry.sqrt()) * now / (endless - now);
    let barrier = now - (endless - now) * libm::expm1(exponent);
    if spot >= barrier {
        return spot - strike;
    }
    let part = |gamma: f64, above: f64| {
        let deviation = volatility * expiry.sqrt();
        let lambda = -rate + gamma * carry + 0.5 * gamma * (gamma - 1.0) * variance;
        let kappa = 2.0 * carry / variance + 2.0 * gamma - 1.0;
        let d = -(libm::log(spot / above) + (carry + (gamma - 0.5) * variance) * expiry) / deviation;
        let mirror = normal_cdf(d - 2.0 * libm::log(barrier / spot) / deviation);
        // Nothing times a power that overflows is nothing.
        let mirrored = if mirror == 0.0 { 0.0 } else { libm::pow(barrier / spot, kappa) * mirror };
        (libm::exp(lambda * expiry), normal_cdf(d) - mirrored)
    };
    // λ of β is 0, and the powers of S and I are taken together: neither alone has to fit into a double.
    let reached = (barrier - strike) * libm::pow(spot / barrier, beta) * (1.0 - part(beta, barrier).1);
    let between = |gamma: f64| {
        let (grown, at_barrier) = part(gamma, barrier);
        grown * (at_barrier - part(gamma, strike).1)
    };
    reached + spot * between(1.0) - strike * between(0.0)
}
