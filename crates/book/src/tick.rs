//! Turns prices into integer ticks, exactly, and infers the tick where the venue does not name it.
//!
//! An inferred tick is the greatest common divisor of all book prices seen so far: it can only shrink, and
//! when it does the book is rebuilt on the finer grid. It never rounds a price.

use nautilus_types::Price;
use serde::{Deserialize, Serialize};
use zerocopy::byteorder::little_endian::I64;

/// Prices from this magnitude on (4.6 billion) are refused as absurd.
pub const PRICE_LIMIT_NANOS: i64 = 1 << 62;

/// Whether a price is beyond the limit; the undefined price is.
#[must_use]
#[inline]
pub fn is_absurd(price: I64) -> bool {
    price.get().unsigned_abs() >= PRICE_LIMIT_NANOS.unsigned_abs()
}

/// Where a book's tick comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TickSource {
    /// The venue's definition names it; prices off it are refused.
    Definition,
    /// The greatest common divisor of the book's prices so far.
    Inferred,
}

/// A tick, prepared for exact division by multiplication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TickScale {
    pub(crate) source: TickSource,
    /// Zero while nothing is known.
    divisor: i64,
    /// [`PRICE_LIMIT_NANOS`] while nothing is known: only the price zero lies on that grid.
    tick: i64,
    twos: u32,
    /// The inverse of the tick's odd part modulo 2^64.
    inverse: u64,
}

impl TickScale {
    /// `tick` of zero means that it is to be inferred.
    pub(crate) fn new(tick: Price) -> Self {
        let source = if tick.is_positive() { TickSource::Definition } else { TickSource::Inferred };
        Self::prepared(source, tick.nanos().max(0))
    }

    /// An inferred tick as it was found earlier.
    pub(crate) fn inferred(divisor: i64) -> Self {
        Self::prepared(TickSource::Inferred, divisor.max(0))
    }

    fn prepared(source: TickSource, divisor: i64) -> Self {
        let tick = if divisor == 0 { PRICE_LIMIT_NANOS } else { divisor };
        let twos = tick.trailing_zeros();
        let odd = (tick >> twos).cast_unsigned();
        // Newton's iteration doubles the correct low bits: 3, 6, 12, 24, 48, 96.
        let mut inverse = odd;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        }
        Self { source, divisor, tick, twos, inverse }
    }

    /// The tick, where one is known.
    pub(crate) fn known(&self) -> Option<Price> {
        (self.divisor > 0).then_some(Price::from_nanos(self.divisor))
    }

    /// How many ticks a price that lies on the grid is (exact division: Hacker's Delight, section 10-16).
    #[inline]
    pub(crate) fn ticks_on_grid(&self, price: i64) -> i64 {
        (price >> self.twos).cast_unsigned().wrapping_mul(self.inverse).cast_signed()
    }

    /// How many ticks `price` is, `None` off the grid.
    #[inline]
    pub(crate) fn ticks(&self, price: i64) -> Option<i64> {
        let ticks = self.ticks_on_grid(price);
        // Off the grid the product differs from the price by a multiple of 2^64, so it overflows or differs.
        (ticks.checked_mul(self.tick) == Some(price)).then_some(ticks)
    }

    #[inline]
    pub(crate) fn price(&self, ticks: i64) -> i64 {
        ticks * self.tick
    }

    /// The coarsest grid that holds both the inferred one and `price`; `None` when the tick is defined or does.
    pub(crate) fn refined(&self, price: i64) -> Option<Self> {
        if self.source == TickSource::Definition {
            return None;
        }
        let divisor = gcd(self.divisor.unsigned_abs(), price.unsigned_abs()).cast_signed();
        (divisor != self.divisor).then(|| Self::prepared(TickSource::Inferred, divisor))
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_tick_is_the_divisor_of_all_prices() {
        let mut scale = TickScale::new(Price::ZERO);
        assert_eq!((scale.known(), scale.ticks(0)), (None, Some(0)));
        for (price, tick) in [(4810, 4810), (0, 4810), (-9620, 4810), (4815, 5), (4811, 1)] {
            scale = scale.refined(price).unwrap_or(scale);
            assert_eq!(scale.known(), Some(Price::from_nanos(tick)));
        }
    }

    proptest! {
        #[test]
        fn exact_division_is_division(
            tick in prop_oneof![1i64..1000, 1i64..PRICE_LIMIT_NANOS, Just(250_000_000)],
            price in prop_oneof![-PRICE_LIMIT_NANOS..PRICE_LIMIT_NANOS, -5000i64..5000],
        ) {
            let scale = TickScale::new(Price::from_nanos(tick));
            let expected = (price % tick == 0).then(|| price / tick);
            prop_assert_eq!(scale.ticks(price), expected);
            let on_grid = price / tick * tick;
            prop_assert_eq!(scale.ticks(on_grid), Some(price / tick));
            prop_assert_eq!(scale.price(price / tick), on_grid);
        }
    }
}
