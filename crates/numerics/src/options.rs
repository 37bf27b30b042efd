//! Values of European and American options on one underlying, and how they react to what they depend on.
//!
//! The underlying follows a geometric Brownian motion with a constant dividend yield (Black and Scholes 1973, Merton
//! 1973); a yield equal to the rate is a future (Black 1976), one equal to the foreign rate a currency (Garman and
//! Kohlhagen 1983). [`European`] and [`American`] are prepared once from all but the spot, and valued at as many spots
//! as wanted. Units: spot and strike in one currency; rate, yield and volatility per year, continuously compounded;
//! time in years. Pure: equal inputs give equal bits on every machine.

mod american;
mod approximation;
mod boundary;
mod european;
mod implied;
mod lattice;

pub use american::American;
pub use approximation::{Approximation, american_approximation};
pub use european::European;
pub use implied::implied_volatility;
pub use lattice::leisen_reimer;

/// The right to buy or to sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// To buy at the strike.
    Call,
    /// To sell at the strike.
    Put,
}

impl OptionKind {
    /// 1 for a call, −1 for a put.
    pub(crate) const fn sign(self) -> f64 {
        match self {
            Self::Call => 1.0,
            Self::Put => -1.0,
        }
    }
}

/// An option and its market, all but the spot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptionTerms {
    /// Call or put.
    pub kind: OptionKind,
    /// Above 0, in the currency of the spot.
    pub strike: f64,
    /// Continuously compounded, per year; may be negative.
    pub rate: f64,
    /// Continuously compounded, per year; may be negative. The cost of carry is the rate less this.
    pub dividend_yield: f64,
    /// Standard deviation of the logarithm of the spot per root of a year; 0 leaves a certain future.
    pub volatility: f64,
    /// Years until the option ends; 0 leaves what it pays now.
    pub expiry: f64,
}

/// What a value depends on, each in the currency of the spot. Time is the calendar's: theta is negative where the
/// option loses by waiting.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Greeks {
    /// The value itself.
    pub value: f64,
    /// By the spot.
    pub delta: f64,
    /// Of delta by the spot.
    pub gamma: f64,
    /// By the volatility, per 1.0 (not per point).
    pub vega: f64,
    /// By time that passes, per year.
    pub theta: f64,
    /// By the rate, per 1.0, at a constant dividend yield.
    pub rho: f64,
    /// By the dividend yield, per 1.0.
    pub dividend_rho: f64,
    /// Of delta by the volatility.
    pub vanna: f64,
    /// Of vega by the volatility.
    pub volga: f64,
}

/// Why an option has no value. One sentence each.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum OptionError {
    /// An input out of range.
    #[error("{value} is not {wanted}")]
    Illegal {
        /// Which: a field of [`OptionTerms`], `spot`, `price` or `steps`.
        field: &'static str,
        /// What it was.
        value: f64,
        /// What it has to be.
        wanted: &'static str,
    },
    /// The inputs are legal and a result is not finite.
    #[error("the value is too large for a double: rates, yields or years are far out of any market")]
    Overflow,
    /// No volatility gives that price.
    #[error("no volatility gives {price}: it has to lie above {lowest} and below {highest}")]
    NoVolatility {
        /// What was given.
        price: f64,
        /// The value without volatility.
        lowest: f64,
        /// The value at endless volatility.
        highest: f64,
    },
}

impl OptionError {
    /// The input at fault, where it is one.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Illegal { field, .. } => Some(field),
            Self::NoVolatility { .. } => Some("price"),
            Self::Overflow => None,
        }
    }
}

impl OptionTerms {
    /// Whether every field is in its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), OptionError> {
        positive("strike", self.strike)?;
        finite("rate", self.rate)?;
        finite("dividend_yield", self.dividend_yield)?;
        not_negative("volatility", self.volatility)?;
        not_negative("expiry", self.expiry)
    }

    /// What exercising now would pay.
    pub(crate) fn intrinsic(&self, spot: f64) -> f64 {
        (self.kind.sign() * (spot - self.strike)).max(0.0)
    }
}

fn illegal(field: &'static str, value: f64, wanted: &'static str) -> Result<(), OptionError> {
    Err(OptionError::Illegal { field, value, wanted })
}

fn finite(field: &'static str, value: f64) -> Result<(), OptionError> {
    if value.is_finite() { Ok(()) } else { illegal(field, value, "a finite number") }
}

pub(crate) fn positive(field: &'static str, value: f64) -> Result<(), OptionError> {
    let legal = value.is_finite() && value > 0.0;
    if legal { Ok(()) } else { illegal(field, value, "a finite number above 0") }
}

pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<(), OptionError> {
    let legal = value.is_finite() && value >= 0.0;
    if legal { Ok(()) } else { illegal(field, value, "a finite number of at least 0") }
}

/// φ(x).
pub(crate) fn normal_density(x: f64) -> f64 {
    const ROOT_OF_TWO_PI: f64 = 2.506_628_274_631_000_5;
    libm::exp(-0.5 * x * x) / ROOT_OF_TWO_PI
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
