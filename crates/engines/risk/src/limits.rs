//! Limits of one part of the hierarchy: what they are, and whether a change loosens any of them.

use nautilus_messages::mesh::Reason;
use nautilus_types::{Money, Symbol};
use serde::{Deserialize, Serialize};

/// The most restricted instruments of one part of the hierarchy.
pub const RESTRICTED_MAX: usize = 1_024;

/// A limit: beyond `soft` an order is let through with a warning, beyond `hard` it is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit<T> {
    /// Warns; absent for no warning.
    pub soft: Option<T>,
    /// Rejects.
    pub hard: T,
}

impl<T: PartialOrd + Copy> Limit<T> {
    /// Whether the new limit allows anything that the old one did not, or warns later.
    fn loosens(self, old: Self) -> bool {
        self.hard > old.hard || self.least() > old.least()
    }

    /// The soft amount, where there is one.
    fn least(self) -> T {
        self.soft.unwrap_or(self.hard)
    }
}

/// The limits of the firm, a portfolio, a book or a strategy. Money is in the currency of the portfolio, for the firm in
/// the firm's. Every kind has to be set somewhere above a strategy, or its orders are rejected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Sum over instruments of the larger of the exposures when all open orders to buy, or all to sell, are filled.
    pub gross: Option<Limit<Money>>,
    /// The same of the signed sum.
    pub net: Option<Limit<Money>>,
    /// Exposure in one instrument, open orders counted as filled.
    pub position: Option<Limit<Money>>,
    /// Exposure in one instrument as a share of capital plus profit, in basis points.
    pub concentration_bps: Option<Limit<u32>>,
    /// 99 % value at risk of the factor model over one scenario's horizon, all open orders counted as filled. The
    /// largest amount that there is says that it may be anything, and unknown.
    pub var: Option<Limit<Money>>,
    /// Loss since the highest profit so far.
    pub drawdown: Option<Limit<Money>>,
    /// Loss since the day began (UTC, by market time).
    pub daily_loss: Option<Limit<Money>>,
    /// Worth of one order, at its limit price or the market's, whichever is higher.
    pub order_size: Option<Limit<Money>>,
    /// How far a buyer's limit may stand above, a seller's below the market, in basis points.
    pub price_collar_bps: Option<Limit<u32>>,
    /// Accepted orders per second, with a second's worth at once.
    pub orders_per_second: Option<u32>,
    /// How soon the same order of a strategy may come again; its last four in the instrument are remembered.
    pub duplicate_window_ms: Option<u32>,
    /// Instruments that may not be traded; an empty list says that all may.
    pub restricted: Option<Vec<Symbol>>,
}

/// The kinds of limits, as bits of a set.
pub(crate) mod kinds {
    pub(crate) const ALL: u16 = (1 << 12) - 1;
}

/// What the gate looks at for every order: the least amount of each limit, soft or hard, that something can be beyond;
/// where there is no limit, nothing is. What it takes to say more stands in [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    pub(crate) gross: i128,
    pub(crate) net: i128,
    pub(crate) position: i128,
    pub(crate) var: i128,
    pub(crate) drawdown: i128,
    pub(crate) daily_loss: i128,
    pub(crate) order_size: i128,
    pub(crate) concentration_bps: u32,
    pub(crate) price_collar_bps: u32,
    pub(crate) orders_per_second: Option<u32>,
    /// Zero for none.
    pub(crate) duplicate_window_ms: u32,
    /// The kinds of limits that are set, one bit each.
    pub(crate) set: u16,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl From<&Limits> for Thresholds {
    fn from(limits: &Limits) -> Self {
        let money = |limit: Option<Limit<Money>>| limit.map_or(i128::MAX, |limit| limit.least().nanos());
        let share = |limit: Option<Limit<u32>>| limit.map_or(u32::MAX, Limit::least);
        Self {
            gross: money(limits.gross),
            net: money(limits.net),
            position: money(limits.position),
            var: money(limits.var),
            drawdown: money(limits.drawdown),
            daily_loss: money(limits.daily_loss),
            order_size: money(limits.order_size),
            concentration_bps: share(limits.concentration_bps),
            price_collar_bps: share(limits.price_collar_bps),
            orders_per_second: limits.orders_per_second,
            duplicate_window_ms: limits.duplicate_window_ms.unwrap_or_default(),
            set: limits.set(),
        }
    }
}

/// Which of a limit's amounts something is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) soft: bool,
    pub(crate) hard: bool,
}

impl<T: PartialOrd + Copy> Limit<T> {
    /// Where `used` stands.
    #[inline]
    pub(crate) fn judge(self, used: T) -> Verdict {
        Verdict { soft: self.soft.is_some_and(|soft| used > soft), hard: used > self.hard }
    }
}

impl Limits {
    /// Which kinds are set, one bit each.
    pub(crate) fn set(&self) -> u16 {
        let flags = [
            self.gross.is_some(),
            self.net.is_some(),
            self.position.is_some(),
            self.concentration_bps.is_some(),
            self.var.is_some(),
            self.drawdown.is_some(),
            self.daily_loss.is_some(),
            self.order_size.is_some(),
            self.price_collar_bps.is_some(),
            self.orders_per_second.is_some(),
            self.duplicate_window_ms.is_some(),
            self.restricted.is_some(),
        ];
        flags.iter().enumerate().fold(0, |set, (bit, is_set)| set | u16::from(*is_set) << bit)
    }

    /// Whether an instrument is on the list, which is sorted.
    #[inline]
    pub(crate) fn restricts(&self, symbol: Symbol) -> bool {
        // Numbers are compared many times faster than bytes, and in the same order.
        let key = |symbol: &Symbol| {
            let bytes = symbol.to_bytes();
            let (head, tail) = bytes.split_first_chunk::<16>().expect("a symbol has 24 bytes");
            (u128::from_be_bytes(*head), u64::from_be_bytes(tail.try_into().expect("8 are left")))
        };
        let wanted = key(&symbol);
        self.restricted.as_ref().is_some_and(|list| list.binary_search_by_key(&wanted, key).is_ok())
    }

    /// The names of the kinds that are not in a set.
    pub(crate) fn missing(set: u16) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 12] = [
            "gross",
            "net",
            "position",
            "concentration_bps",
            "var",
            "drawdown",
            "daily_loss",
            "order_size",
            "price_collar_bps",
            "orders_per_second",
            "duplicate_window_ms",
            "restricted",
        ];
        NAMES.into_iter().enumerate().filter(move |(bit, _)| set >> bit & 1 == 0).map(|(_, name)| name)
    }

    /// Whether putting these in the place of `old` lets anything through that `old` and what stands above did not:
    /// a limit that grows or goes away, one that is set where none was and nothing above has it (`above` is the set of
    /// kinds that are), or an instrument that is no longer restricted.
    pub(crate) fn loosens(&self, old: &Self, above: u16) -> bool {
        let money = [
            (self.gross, old.gross),
            (self.net, old.net),
            (self.position, old.position),
            (self.var, old.var),
            (self.drawdown, old.drawdown),
            (self.daily_loss, old.daily_loss),
            (self.order_size, old.order_size),
        ];
        let ratios =
            [(self.concentration_bps, old.concentration_bps), (self.price_collar_bps, old.price_collar_bps)];
        // Setting what nothing has yet lets orders through that were all rejected.
        let begins = self.set() & !old.set() & !above != 0;
        let ends = old.set() & !self.set() != 0;
        let grows = money.iter().any(|(new, old)| pair(*new, *old, Limit::loosens))
            || ratios.iter().any(|(new, old)| pair(*new, *old, Limit::loosens))
            || pair(self.orders_per_second, old.orders_per_second, |new, old| new > old)
            || pair(self.duplicate_window_ms, old.duplicate_window_ms, |new, old| new < old);
        let freed = match (&self.restricted, &old.restricted) {
            (Some(new), Some(old)) => old.iter().any(|symbol| !new.contains(symbol)),
            _ => false,
        };
        begins || ends || grows || freed
    }

    /// Refuses what no limit can be: the field, and what to do.
    ///
    /// # Errors
    /// The first limit that is not legal.
    pub fn check(&self) -> Result<(), String> {
        let money = [
            ("gross", self.gross),
            ("net", self.net),
            ("position", self.position),
            ("var", self.var),
            ("drawdown", self.drawdown),
            ("daily_loss", self.daily_loss),
            ("order_size", self.order_size),
        ];
        for (name, limit) in money {
            if limit
                .is_some_and(|limit| limit.hard < Money::ZERO || limit.soft.is_some_and(|s| s < Money::ZERO))
            {
                return Err(format!("{name}: a limit is an amount of zero or more; losses are positive"));
            }
            if limit.is_some_and(|limit| limit.soft.is_some_and(|soft| soft > limit.hard)) {
                return Err(format!("{name}.soft: the soft limit is above the hard one; swap them"));
            }
        }
        for (name, limit) in
            [("concentration_bps", self.concentration_bps), ("price_collar_bps", self.price_collar_bps)]
        {
            if limit.is_some_and(|limit| limit.soft.is_some_and(|soft| soft > limit.hard)) {
                return Err(format!("{name}.soft: the soft limit is above the hard one; swap them"));
            }
        }
        if self.restricted.as_ref().is_some_and(|list| list.len() > RESTRICTED_MAX) {
            return Err(format!("restricted: at most {RESTRICTED_MAX} instruments can be listed"));
        }
        Ok(())
    }
}

fn pair<T>(new: Option<T>, old: Option<T>, loosens: impl Fn(T, T) -> bool) -> bool {
    new.zip(old).is_some_and(|(new, old)| loosens(new, old))
}

/// What an order would be beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Breach {
    /// Which part of the hierarchy.
    pub(crate) node: u32,
    /// Which check.
    pub(crate) reason: Reason,
    /// It rejects; otherwise it warns.
    pub(crate) hard: bool,
    /// The limit, in billionths of money, basis points or a count; zero where there is none.
    pub(crate) limit: i128,
    /// What the order would make of it.
    pub(crate) after: i128,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(soft: Option<i64>, hard: i64) -> Option<Limit<Money>> {
        let money = |units| Money::from_units(units).unwrap();
        Some(Limit { soft: soft.map(money), hard: money(hard) })
    }

    #[test]
    fn looser_is_larger_gone_or_first() {
        let none = Limits::default();
        let gross = Limits { gross: limit(Some(8), 10), ..Limits::default() };
        assert!(gross.loosens(&none, 0), "orders were rejected before");
        assert!(!gross.loosens(&none, kinds::ALL), "it can only tighten what stands above");
        assert!(none.loosens(&gross, 0) && none.loosens(&gross, kinds::ALL));
        assert!(!gross.loosens(&gross, 0));
        for (soft, hard, looser) in [
            (Some(8), 9, false),
            (Some(7), 10, false),
            (Some(8), 11, true),
            (Some(9), 10, true),
            (None, 10, true),
            (None, 8, false),
        ] {
            let new = Limits { gross: limit(soft, hard), ..Limits::default() };
            assert_eq!(new.loosens(&gross, 0), looser, "{soft:?} {hard}");
        }
        let window = |ms| Limits { duplicate_window_ms: Some(ms), ..Limits::default() };
        assert!(window(50).loosens(&window(100), 0) && !window(200).loosens(&window(100), 0));
        let listed = |names: &[&str]| Limits {
            restricted: Some(names.iter().map(|name| name.parse().unwrap()).collect()),
            ..Limits::default()
        };
        assert!(listed(&["A"]).loosens(&listed(&["A", "B"]), 0));
        assert!(!listed(&["B", "A"]).loosens(&listed(&["A"]), 0));
        let long = ["A", "AB", "ABCDEFGHIJKLMNOPA", "ABCDEFGHIJKLMNOPZ", "B"];
        let list = listed(&long);
        assert!(long.iter().all(|name| list.restricts(name.parse().unwrap())));
        assert!(
            ["AA", "ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOPB", "C"]
                .iter()
                .all(|name| !list.restricts(name.parse().unwrap()))
        );
        assert!(!Limits::default().restricts("A".parse().unwrap()));
    }

    #[test]
    fn kinds_have_names_and_bits() {
        assert_eq!(Limits::missing(0).count(), 12);
        assert_eq!(Limits::missing(kinds::ALL).count(), 0);
        let net = Limits { net: limit(None, 1), ..Limits::default() };
        assert!(!Limits::missing(net.set()).any(|name| name == "net"));
    }

    #[test]
    fn limits_are_amounts() {
        let gross = |soft, hard| Limits { gross: limit(soft, hard), ..Limits::default() }.check();
        assert_eq!(gross(Some(1), 2), Ok(()));
        assert!(gross(Some(3), 2).unwrap_err().starts_with("gross.soft"));
        assert!(gross(None, -1).unwrap_err().starts_with("gross:"));
        let text = r#"{"gross":{"soft":"8","hard":"10"},"orders_per_second":10,"restricted":["X"]}"#;
        let limits: Limits = serde_json::from_str(text).unwrap();
        assert_eq!((limits.gross, limits.orders_per_second), (limit(Some(8), 10), Some(10)));
    }
}
