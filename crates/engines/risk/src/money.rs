//! Integer money: products and quotients that neither wrap nor lose the last billionth silently.

use nautilus_types::SCALE;

const ONE: i128 = SCALE as i128;

/// a·b/c, rounded towards zero. `None` when it does not fit, or c is zero.
#[inline]
pub(crate) fn mul_div(a: i128, b: i64, c: i64) -> Option<i128> {
    if c == 0 {
        return None;
    }
    let (b, c) = (i128::from(b), i128::from(c));
    // The remainder is below 2⁶³, so that only the first product can overflow.
    (a / c).checked_mul(b)?.checked_add(a % c * b / c)
}

/// amount / 1e9, rounded towards zero, in quotients of 64 bits by a constant: the general one of 128 bits costs many times
/// as much, and every position asks for several at every price.
#[inline]
fn billionth(amount: i128) -> i128 {
    // 1e9 is 2⁹ · 5⁹; every remainder by 5⁹ and 32 more bits fit 64.
    const FIVES: u64 = 1_953_125;
    let magnitude = amount.unsigned_abs() >> 9;
    let (high, low) = ((magnitude >> 64) as u64, magnitude as u64);
    let middle = ((high % FIVES) << 32) | (low >> 32);
    let last = ((middle % FIVES) << 32) | (low & u64::from(u32::MAX));
    let quotient =
        u128::from(high / FIVES) << 64 | u128::from(middle / FIVES) << 32 | u128::from(last / FIVES);
    if amount < 0 { -(quotient as i128) } else { quotient as i128 }
}

/// What one unit costs: price times multiplier, in billionths. `None` beyond the range of a price.
#[inline]
pub(crate) fn unit_price(price: i64, multiplier: i64) -> Option<i64> {
    if i128::from(multiplier) == ONE {
        return Some(price);
    }
    i64::try_from(billionth(i128::from(price) * i128::from(multiplier))).ok()
}

/// What a quantity is worth at a price per unit. Cannot overflow.
#[inline]
pub(crate) fn worth(quantity: i64, unit: i64) -> i128 {
    billionth(i128::from(quantity) * i128::from(unit))
}

/// From one currency into another, by what a unit of either is worth in a third.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Rate {
    pub(crate) const SAME: Self = Self { from: 1, to: 1 };

    #[inline]
    pub(crate) fn convert(self, amount: i128) -> Option<i128> {
        if self.from == self.to { Some(amount) } else { mul_div(amount, self.from, self.to) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_none() {
        assert_eq!(mul_div(i128::MAX, 2, 1), None);
        assert_eq!(mul_div(1, 1, 0), None);
        assert_eq!(mul_div(i128::MAX, i64::MAX, i64::MAX), Some(i128::MAX));
        assert_eq!(unit_price(i64::MAX, 50 * SCALE), None);
        assert_eq!(unit_price(4_810_250_000_000, 50 * SCALE), Some(240_512_500_000_000));
        assert_eq!(worth(-3 * SCALE, 2 * SCALE), -6 * ONE);
        assert_eq!(Rate { from: 1_082_500_000, to: SCALE }.convert(ONE), Some(1_082_500_000));
    }

    #[test]
    fn a_billionth_of_the_ends_of_the_range() {
        for amount in [
            0,
            1,
            -1,
            ONE - 1,
            ONE,
            -ONE,
            1 - ONE,
            i128::MAX,
            i128::MIN,
            1 << 73,
            (1 << 73) - 1,
            512 * 1_953_125,
        ] {
            assert_eq!(billionth(amount), amount / ONE, "{amount}");
        }
    }

    proptest! {
        #[test]
        fn a_billionth_is_the_quotient(amount: i128, shift in 0u32..127) {
            prop_assert_eq!(billionth(amount >> shift), (amount >> shift) / ONE);
        }

        #[test]
        fn quotients_are_those_of_wide_integers(a in -(1i128 << 62)..1i128 << 62, b: i64, c: i64) {
            let wide = (c != 0).then(|| a * i128::from(b) / i128::from(c));
            prop_assert_eq!(mul_div(a, b, c), wide);
        }
    }
}
