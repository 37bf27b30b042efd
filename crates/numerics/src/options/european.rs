//! European options in closed form.

use super::{Greeks, OptionError, OptionTerms, normal_density, not_negative};
use crate::distribution::normal_cdf;

/// A European option, ready to be valued at any spot.
///
/// V = w·(S·e^(−qT)·Φ(w·d₁) − K·e^(−rT)·Φ(w·d₂)), w = 1 for a call and −1 for a put (Black and Scholes 1973, Merton
/// 1973; greeks as in Haug 2007, chapter 2). Without volatility or time the forward is certain, d₁ = d₂ = ±∞, and the
/// same formulas hold: gamma, vega, vanna and volga are 0, and delta at the kink itself is the mean of both sides. The
/// value is right to some roundings of the spot or strike, also where it is far smaller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct European {
    terms: OptionTerms,
    /// e^(−rT).
    discount: f64,
    /// e^(−qT).
    dividends: f64,
    /// σ·√T.
    deviation: f64,
    /// (r − q)·T − ln K.
    drift: f64,
}

/// What all formulas are made of, at one spot.
struct Parts {
    d1: f64,
    d2: f64,
    /// S·e^(−qT)·Φ(w·d₁).
    asset: f64,
    /// K·e^(−rT)·Φ(w·d₂).
    cash: f64,
    /// Φ(w·d₁).
    share: f64,
}

impl European {
    /// Prepares what does not depend on the spot.
    ///
    /// # Errors
    /// A field is out of its range, or a discount factor is not finite.
    pub fn new(terms: OptionTerms) -> Result<Self, OptionError> {
        terms.check()?;
        let OptionTerms { strike, rate, dividend_yield, volatility, expiry, .. } = terms;
        let discount = libm::exp(-rate * expiry);
        let dividends = libm::exp(-dividend_yield * expiry);
        let deviation = volatility * expiry.sqrt();
        let drift = (rate - dividend_yield) * expiry - libm::log(strike);
        let finite = [discount, dividends, deviation, drift].iter().all(|part| part.is_finite());
        if !finite {
            return Err(OptionError::Overflow);
        }
        Ok(Self { terms, discount, dividends, deviation, drift })
    }

    /// The terms it was made from.
    #[must_use]
    pub const fn terms(&self) -> &OptionTerms {
        &self.terms
    }

    /// The value at a spot of at least 0.
    ///
    /// # Errors
    /// The spot is negative or not finite, or the value is not finite.
    pub fn value(&self, spot: f64) -> Result<f64, OptionError> {
        not_negative("spot", spot)?;
        let value = self.value_of(&self.parts(spot));
        if value.is_finite() { Ok(value) } else { Err(OptionError::Overflow) }
    }

    /// The value and its derivatives at a spot of at least 0.
    ///
    /// # Errors
    /// The spot is negative or not finite, or a derivative is not finite.
    pub fn greeks(&self, spot: f64) -> Result<Greeks, OptionError> {
        not_negative("spot", spot)?;
        let OptionTerms { kind, rate, dividend_yield, volatility, expiry, .. } = self.terms;
        let parts = self.parts(spot);
        let Parts { d1, d2, asset, cash, share } = parts;
        let sign = kind.sign();
        let mut greeks = Greeks {
            value: self.value_of(&parts),
            delta: sign * self.dividends * share,
            theta: sign * (dividend_yield * asset - rate * cash),
            rho: sign * expiry * cash,
            dividend_rho: -sign * expiry * asset,
            ..Greeks::default()
        };
        let density = self.dividends * if self.deviation > 0.0 { normal_density(d1) } else { 0.0 };
        if density > 0.0 {
            let root = expiry.sqrt();
            greeks.gamma = density / (spot * self.deviation);
            greeks.vega = spot * density * root;
            greeks.theta -= 0.5 * spot * density * volatility / root;
            greeks.vanna = -density * d2 / volatility;
            greeks.volga = greeks.vega * d1 * d2 / volatility;
        }
        finite(greeks)
    }

    fn value_of(&self, parts: &Parts) -> f64 {
        (self.terms.kind.sign() * (parts.asset - parts.cash)).max(0.0)
    }

    fn parts(&self, spot: f64) -> Parts {
        let sign = self.terms.kind.sign();
        let moneyness = libm::log(spot) + self.drift;
        let (d1, d2) = if self.deviation > 0.0 {
            let middle = moneyness / self.deviation;
            (middle + 0.5 * self.deviation, middle - 0.5 * self.deviation)
        } else {
            let certain = match spot * self.dividends - self.terms.strike * self.discount {
                0.0 => 0.0,
                ahead => f64::INFINITY.copysign(ahead),
            };
            (certain, certain)
        };
        let share = normal_cdf(sign * d1);
        let cash = self.terms.strike * self.discount * normal_cdf(sign * d2);
        Parts { d1, d2, asset: spot * self.dividends * share, cash, share }
    }
}

pub(super) fn finite(greeks: Greeks) -> Result<Greeks, OptionError> {
    let Greeks { value, delta, gamma, vega, theta, rho, dividend_rho, vanna, volga } = greeks;
    let all = [value, delta, gamma, vega, theta, rho, dividend_rho, vanna, volga];
    if all.iter().all(|each| each.is_finite()) { Ok(greeks) } else { Err(OptionError::Overflow) }
}
