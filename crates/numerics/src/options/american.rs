//! American options: exercised whenever that is best.

use super::approximation::never_early;
use super::boundary::{Boundary, Premium};
use super::european::finite;
use super::lattice::{STEPS, leisen_reimer};
use super::{European, Greeks, OptionError, OptionKind, OptionTerms, not_negative};

/// Steps of the differences, relative for the volatility and absolute for rate and yield.
const VOLATILITY_STEP: f64 = 1e-3;
const RATE_STEP: f64 = 1e-5;

/// An American option, ready to be valued at any spot.
///
/// European value + the premium of early exercise, from the exercise boundary (Andersen, Lake and Offengenden 2016).
/// Checked to 1e-7 of the strike against QuantLib's scheme of highest precision. Where exercising early never pays it is the European option. Where the
/// boundary has two branches (a put with q < r < 0, a call with r < q < 0), or its iterations do not settle, the value
/// comes from the tree of Leisen and Reimer.
#[derive(Debug, Clone, PartialEq)]
pub struct American {
    european: European,
    exercise: Exercise,
}

#[derive(Debug, Clone, PartialEq)]
enum Exercise {
    /// At the end only.
    Late,
    /// The future is certain, and so is the best moment.
    Certain,
    /// Where the spot meets the boundary.
    Boundary(Boundary),
    /// Found step by step.
    Tree,
}

impl American {
    /// Prepares what does not depend on the spot; that is the most of it.
    ///
    /// # Errors
    /// A field is out of its range, or a discount factor is not finite.
    pub fn new(terms: OptionTerms) -> Result<Self, OptionError> {
        let european = European::new(terms)?;
        // A call is a put with spot and strike, rate and yield exchanged (McDonald and Schroder 1998).
        let (rate, dividend_yield) = match terms.kind {
            OptionKind::Put => (terms.rate, terms.dividend_yield),
            OptionKind::Call => (terms.dividend_yield, terms.rate),
        };
        let exercise = if terms.volatility == 0.0 || terms.expiry == 0.0 {
            Exercise::Certain
        } else if never_early(&terms) {
            Exercise::Late
        } else if rate < 0.0 {
            Exercise::Tree
        } else {
            Boundary::new(rate, dividend_yield, terms.volatility, terms.expiry)?
                .map_or(Exercise::Tree, Exercise::Boundary)
        };
        Ok(Self { european, exercise })
    }

    /// How it is valued, in words.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self.exercise {
            Exercise::Late => "European: exercising early never pays",
            Exercise::Certain => "the best moment of a certain future",
            Exercise::Boundary(_) => "exercise boundary (Andersen, Lake and Offengenden 2016)",
            Exercise::Tree => "binomial tree (Leisen and Reimer 1996), extrapolated",
        }
    }

    /// The terms it was made from.
    #[must_use]
    pub const fn terms(&self) -> &OptionTerms {
        self.european.terms()
    }

    /// The value at a spot of at least 0.
    ///
    /// # Errors
    /// The spot is negative or not finite, or the value is not finite.
    pub fn value(&self, spot: f64) -> Result<f64, OptionError> {
        not_negative("spot", spot)?;
        let terms = self.terms();
        let intrinsic = terms.intrinsic(spot);
        let waiting = match &self.exercise {
            Exercise::Late => self.european.value(spot)?,
            _ if spot == 0.0 => self.worthless(),
            Exercise::Certain => certain(terms, spot),
            Exercise::Boundary(boundary) => {
                let (moneyness, scale) = self.as_put(spot);
                if boundary.reached(moneyness) {
                    return Ok(intrinsic);
                }
                self.european.value(spot)? + scale * boundary.premium(moneyness)
            }
            Exercise::Tree => leisen_reimer(terms, spot, STEPS)?,
        };
        if waiting.is_finite() { Ok(waiting.max(intrinsic)) } else { Err(OptionError::Overflow) }
    }

    /// The value and its derivatives at a spot of at least 0. Delta and gamma are those of the integral, theta follows
    /// from the Black-Scholes equation; the rest are central differences, of 0.001 of the volatility and 1e-5 of rate and yield.
    /// Of a tree all are differences, by the spot of 0.001 of it. Where it is exercised now, it moves with the spot only.
    ///
    /// # Errors
    /// The spot is negative or not finite, or a derivative is not finite.
    pub fn greeks(&self, spot: f64) -> Result<Greeks, OptionError> {
        not_negative("spot", spot)?;
        if self.exercise == Exercise::Late {
            return self.european.greeks(spot);
        }
        let terms = *self.terms();
        let mut greeks = self.by_spot(spot)?;
        let exercised = greeks.value == terms.intrinsic(spot) && greeks.gamma == 0.0;
        if exercised || terms.volatility == 0.0 || spot == 0.0 {
            return finite(greeks);
        }
        let at = |changed: OptionTerms| Self::new(changed)?.by_spot(spot);
        let step = VOLATILITY_STEP * terms.volatility;
        let up = at(OptionTerms { volatility: terms.volatility + step, ..terms })?;
        let down = at(OptionTerms { volatility: terms.volatility - step, ..terms })?;
        greeks.vega = (up.value - down.value) / (2.0 * step);
        greeks.vanna = (up.delta - down.delta) / (2.0 * step);
        greeks.volga = (up.value - 2.0 * greeks.value + down.value) / (step * step);
        let slope = |up: OptionTerms, down: OptionTerms| {
            Ok::<_, OptionError>(
                (Self::new(up)?.value(spot)? - Self::new(down)?.value(spot)?) / (2.0 * RATE_STEP),
            )
        };
        let rate = |step: f64| OptionTerms { rate: terms.rate + step, ..terms };
        greeks.rho = slope(rate(RATE_STEP), rate(-RATE_STEP))?;
        let dividends = |step: f64| OptionTerms { dividend_yield: terms.dividend_yield + step, ..terms };
        greeks.dividend_rho = slope(dividends(RATE_STEP), dividends(-RATE_STEP))?;
        finite(greeks)
    }

    /// The value and its slope by the spot, at a spot of at least 0: what a search asks for again and again.
    ///
    /// # Errors
    /// The spot is negative or not finite, or the value is not finite.
    pub fn value_and_delta(&self, spot: f64) -> Result<(f64, f64), OptionError> {
        not_negative("spot", spot)?;
        if self.exercise == Exercise::Late {
            return self.european.greeks(spot).map(|greeks| (greeks.value, greeks.delta));
        }
        self.by_spot(spot).map(|greeks| (greeks.value, greeks.delta))
    }

    /// Value, delta, gamma and theta.
    fn by_spot(&self, spot: f64) -> Result<Greeks, OptionError> {
        let terms = self.terms();
        let OptionTerms { kind, rate, dividend_yield, volatility, .. } = *terms;
        let value = self.value(spot)?;
        let mut greeks = Greeks { value, ..Greeks::default() };
        if spot == 0.0 || value == terms.intrinsic(spot) && value > 0.0 {
            greeks.delta = if value > 0.0 { kind.sign() } else { 0.0 };
            return Ok(greeks);
        }
        if let Exercise::Boundary(boundary) = &self.exercise {
            let (moneyness, scale) = self.as_put(spot);
            let Premium { value: premium, slope, curvature } = boundary.premium_and_derivatives(moneyness);
            let european = self.european.greeks(spot)?;
            // Of K·p(S/K) for a put and of S·p(K/S) for a call.
            let (slope, curvature) = match kind {
                OptionKind::Put => (slope, curvature / scale),
                OptionKind::Call => (premium - moneyness * slope, curvature * moneyness * moneyness / scale),
            };
            (greeks.delta, greeks.gamma) = (european.delta + slope, european.gamma + curvature);
        } else {
            let step = 1e-3 * spot;
            let (up, down) = (self.value(spot + step)?, self.value(spot - step)?);
            greeks.delta = (up - down) / (2.0 * step);
            greeks.gamma = (up - 2.0 * value + down) / (step * step);
        }
        let diffusion = 0.5 * volatility * volatility * spot * spot * greeks.gamma;
        greeks.theta = rate * value - (rate - dividend_yield) * spot * greeks.delta - diffusion;
        Ok(greeks)
    }

    /// The spot of the put with strike 1 that it is, and what that put's value is multiplied by.
    fn as_put(&self, spot: f64) -> (f64, f64) {
        let strike = self.terms().strike;
        match self.terms().kind {
            OptionKind::Put => (spot / strike, strike),
            OptionKind::Call => (strike / spot, spot),
        }
    }

    /// The value where the underlying is worth nothing and stays so.
    fn worthless(&self) -> f64 {
        let OptionTerms { kind, strike, rate, expiry, .. } = *self.terms();
        match kind {
            OptionKind::Call => 0.0,
            OptionKind::Put => strike * libm::exp(-rate * expiry).max(1.0),
        }
    }
}

/// The largest w·(S·e^(−qt) − K·e^(−rt)) over 0..T, at one end or where its derivative is 0.
fn certain(terms: &OptionTerms, spot: f64) -> f64 {
    let OptionTerms { kind, strike, rate, dividend_yield, expiry, .. } = *terms;
    let at = |t: f64| kind.sign() * (spot * libm::exp(-dividend_yield * t) - strike * libm::exp(-rate * t));
    let between = libm::log(dividend_yield * spot / (rate * strike)) / (dividend_yield - rate);
    let inside = if between > 0.0 && between < expiry { at(between) } else { 0.0 };
    at(0.0).max(at(expiry)).max(inside).max(0.0)
}
