//! A trading day's trades summed up, exactly.
//!
//! It decides nothing about when a day ends or which trades count.

use nautilus_messages::record::SessionStatistics;
use nautilus_types::{Money, NANOS_PER_DAY, Price, Quantity, Side, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

/// One print, as statistics and bars see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Print {
    pub(crate) ts: UnixNanos,
    pub(crate) price: Price,
    pub(crate) quantity: Quantity,
    pub(crate) aggressor: Option<Side>,
}

impl Print {
    /// Price × quantity in 1e-18 units; both factors are below 2^63, so it fits.
    #[inline]
    pub(crate) fn turnover(&self) -> i128 {
        i128::from(self.price.nanos()) * i128::from(self.quantity.nanos())
    }
}

/// Sums over prints. All sums are exact integers, so their order does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) open: Price,
    pub(crate) high: Price,
    pub(crate) low: Price,
    pub(crate) close: Price,
    pub(crate) trades: u64,
    pub(crate) volume: i128,
    pub(crate) buy: i128,
    pub(crate) sell: i128,
    /// Σ price × quantity in 1e-18 units.
    pub(crate) turnover: i128,
}

impl Sums {
    pub(crate) fn starting_at(price: Price) -> Self {
        let (open, high, low, close) = (price, price, price, price);
        Self { open, high, low, close, trades: 0, volume: 0, buy: 0, sell: 0, turnover: 0 }
    }

    /// The sums with one more print, where they fit.
    #[inline]
    pub(crate) fn with(mut self, print: &Print) -> Option<Self> {
        let quantity = i128::from(print.quantity.nanos());
        self.turnover = self.turnover.checked_add(print.turnover())?;
        self.volume = self.volume.checked_add(quantity)?;
        self.trades += 1;
        match print.aggressor {
            Some(Side::Buy) => self.buy += quantity,
            Some(Side::Sell) => self.sell += quantity,
            None => {}
        }
        self.high = self.high.max(print.price);
        self.low = self.low.min(print.price);
        self.close = print.price;
        Some(self)
    }

    /// Σ price × quantity ÷ Σ quantity, rounded towards zero; the last price when nothing was traded.
    pub(crate) fn vwap(&self) -> Price {
        let quotient = self.turnover.checked_div(self.volume).and_then(|nanos| i64::try_from(nanos).ok());
        quotient.map_or(self.close, Price::from_nanos)
    }
}

/// The sums of one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Midnight UTC of the day of the first trade.
    pub(crate) day: UnixNanos,
    pub(crate) sums: Sums,
}

impl Session {
    pub(crate) fn starting_with(print: &Print) -> Self {
        Self { day: print.ts.floor(NANOS_PER_DAY), sums: Sums::starting_at(print.price) }
    }

    pub(crate) fn end(&self) -> u64 {
        self.day.0.saturating_add(NANOS_PER_DAY)
    }

    pub(crate) fn record(&self, instrument: Symbol) -> SessionStatistics {
        let sums = &self.sums;
        SessionStatistics {
            instrument,
            day: self.day,
            trades: sums.trades,
            volume: Money::from_nanos(sums.volume),
            volume_buy: Money::from_nanos(sums.buy),
            volume_sell: Money::from_nanos(sums.sell),
            volume_unknown: Money::from_nanos(sums.volume - sums.buy - sums.sell),
            vwap: sums.vwap(),
            low: sums.low,
            high: sums.high,
            first: sums.open,
            last: sums.close,
        }
    }
}
