//! American options: exercised whenever that is best.

use super::approximation::never_early;
use super::boundary::{Boundary, Premium};
use super::european::finite;
use super::lattice::{STEPS, first_steps, leisen_reimer};
use super::{European, Greeks, OptionError, OptionKind, OptionTerms, not_negative};

/// Steps of the differences, relative for the volatility and absolute for rate and yield.
const VOLATILITY_STEP: f64 = 1e-3;
const RATE_STEP: f64 = 1e-5;

/// An American option, ready to be valued at any spot.
///
/// European value + the premium of early exercise, from the exercise boundary (Andersen, Lake and Offengenden 2016).
/// Checked to 3e-8 of the strike against QuantLib's scheme of highest precision, where its two equations agree. Where
/// exercising early never pays it is the European option. Where the boundary has two branches (a put with q < r < 0, a
/// call with r < q < 0; Andersen and Lake 2021), or its iterations do not settle, all comes from the tree of Leisen and
/// Reimer, to some 1e-5 of the strike.
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
            Exercise::Tree => {
                let value = leisen_reimer(terms, spot, STEPS)?;
                // The tree rounds what exercising pays.
                if value <= intrinsic + 1e-12 * terms.strike { intrinsic } else { value }
            }
        };
        if waiting.is_finite() { Ok(waiting.max(intrinsic)) } else { Err(OptionError::Overflow) }
    }

    /// The value and its derivatives at a spot of at least 0. Delta and gamma are those of the integral, theta follows
    /// from the Black-Scholes equation; the rest are central differences, of 0.001 of the volatility and 1e-5 of rate and
    /// yield. Of a tree, delta and gamma are those of its first steps. Where it is exercised now, it moves with the spot
    /// only.
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

    /// Value, delta, gamma and theta at a spot of at least 0, the rest 0: what costs little once it is prepared.
    ///
    /// # Errors
    /// The spot is negative or not finite, or a derivative is not finite.
    pub fn greeks_by_spot(&self, spot: f64) -> Result<Greeks, OptionError> {
        not_negative("spot", spot)?;
        if self.exercise != Exercise::Late {
            return finite(self.by_spot(spot)?);
        }
        let Greeks { value, delta, gamma, theta, .. } = self.european.greeks(spot)?;
        Ok(Greeks { value, delta, gamma, theta, ..Greeks::default() })
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
            let (delta, curvature) = self.integrals(boundary, moneyness)?;
            greeks.delta = delta;
            let curvature = match boundary.near(moneyness) {
                None => curvature,
                Some((far, way)) => {
                    let beside = boundary.curvature_beside();
                    beside + way * (self.integrals(boundary, far)?.1 - beside)
                }
            };
            // Of K·p(S/K) for a put and of S·p(K/S) for a call.
            let stretch = if kind == OptionKind::Put { 1.0 } else { moneyness * moneyness };
            greeks.gamma = curvature * stretch / scale;
        } else {
            (greeks.delta, greeks.gamma) = first_steps(terms, spot);
        }
        let diffusion = 0.5 * volatility * volatility * spot * spot * greeks.gamma;
        // Whoever has more time may do as whoever has less.
        greeks.theta = (rate * value - (rate - dividend_yield) * spot * greeks.delta - diffusion).min(0.0);
        Ok(greeks)
    }

    /// Delta, and the second derivative of the put with strike 1 that it is, at a spot of that.
    fn integrals(&self, boundary: &Boundary, moneyness: f64) -> Result<(f64, f64), OptionError> {
        let Premium { value, slope, curvature } = boundary.premium_and_derivatives(moneyness);
        let OptionTerms { kind, strike, .. } = *self.terms();
        match kind {
            OptionKind::Put => {
                let european = self.european.greeks(moneyness * strike)?;
                Ok((european.delta + slope, european.gamma * strike + curvature))
            }
            OptionKind::Call => {
                let spot = strike / moneyness;
                let european = self.european.greeks(spot)?;
                let bent = european.gamma * spot / (moneyness * moneyness);
                Ok((european.delta + value - moneyness * slope, bent + curvature))
            }
        }
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
