//! One strategy's position in one instrument: quantity, cost and profit, exact to the last billionth.

use serde::{Deserialize, Serialize};

use crate::money::mul_div;

/// A position by average cost, in the instrument's currency.
///
/// Whatever happens, realised profit plus worth less cost is worth less everything that was paid: every billionth of an
/// execution stands in `realised` or in `cost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Billionths of a unit; negative when short.
    pub(crate) quantity: i64,
    /// What was paid for the present position; negative when short.
    pub(crate) cost: i128,
    /// Profit of what was closed.
    pub(crate) realised: i128,
    /// What executions cost beside the price.
    pub(crate) fees: i128,
}

impl Account {
    /// Books an execution: a signed quantity and what was paid for it, of the same sign. `None` when it does not fit;
    /// nothing is changed then.
    pub(crate) fn book(&mut self, quantity: i64, paid: i128, fee: i128) -> Option<()> {
        let held = self.quantity;
        let mut next =
            Self { quantity: held.checked_add(quantity)?, fees: self.fees.checked_add(fee)?, ..*self };
        if held == 0 || quantity == 0 || (held > 0) == (quantity > 0) {
            next.cost = self.cost.checked_add(paid)?;
        } else {
            // As much as is closed: of the execution its share of what was paid, of the position its share of the cost.
            let closed = i64::try_from(quantity.unsigned_abs().min(held.unsigned_abs())).ok()?;
            let share =
                |amount: i128, of: i64| mul_div(amount, closed, i64::try_from(of.unsigned_abs()).ok()?);
            let (released, offset) = (share(self.cost, held)?, share(paid, quantity)?);
            next.realised = self.realised.checked_sub(offset)?.checked_sub(released)?;
            next.cost = self.cost.checked_sub(released)?.checked_add(paid.checked_sub(offset)?)?;
        }
        *self = next;
        Some(())
    }

    /// Profit with the position at `worth`, fees taken off.
    #[inline]
    pub(crate) fn profit(&self, worth: i128) -> Option<i128> {
        self.realised.checked_add(worth.checked_sub(self.cost)?)?.checked_sub(self.fees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::worth;
    use proptest::prelude::*;

    const ONE: i64 = 1_000_000_000;

    #[test]
    fn average_cost_by_hand() {
        let mut account = Account::default();
        let mut book = |quantity: i64, price: i64| {
            account.book(quantity * ONE, worth(quantity * ONE, price * ONE), 0).unwrap();
            (account.quantity / ONE, account.cost / i128::from(ONE), account.realised / i128::from(ONE))
        };
        assert_eq!(book(10, 100), (10, 1_000, 0));
        assert_eq!(book(10, 110), (20, 2_100, 0));
        assert_eq!(book(-5, 120), (15, 1_575, 75));
        // Through zero: 15 are closed at 90, 5 are sold short.
        assert_eq!(book(-20, 90), (-5, -450, -150));
        assert_eq!(book(5, 80), (0, 0, -100));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut account = Account { quantity: i64::MAX, ..Account::default() };
        let before = account;
        assert_eq!(account.book(1, 1, 0), None);
        assert_eq!(account, before);
        let mut account = Account { quantity: i64::MIN + 1, cost: -5, ..Account::default() };
        assert_eq!(account.book(i64::MAX, 5, 0), Some(()));
        assert_eq!((account.quantity, account.cost, account.realised), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn nothing_paid_is_lost(
            executions in prop::collection::vec((-50_000i64..50_000, 1i64..9_999_999, 0i64..100), 1..200),
            mark in 1i64..9_999_999,
        ) {
            let mut account = Account::default();
            let (mut paid, mut fees) = (0, 0);
            for (quantity, price, fee) in executions {
                // Odd lots and prices, so that quotients leave remainders.
                let (quantity, price) = (quantity * 700_001, price * 1_013);
                let amount = worth(quantity, price);
                (paid, fees) = (paid + amount, fees + i128::from(fee));
                account.book(quantity, amount, fee.into()).unwrap();
                let value = worth(account.quantity, mark * 1_013);
                prop_assert_eq!(account.profit(value), Some(value - paid - fees));
                prop_assert!(account.quantity != 0 || account.cost == 0);
            }
        }
    }
}
