//! What formulas can start from, and by which clock each of it ticks.
//!
//! Names and their meaning only; values are set by whoever hears the bus or reads a table.

use serde::Serialize;

use crate::columns::Port;

/// The clocks that a value ticks by. A value of several ticks with each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Clock(u8);

impl Clock {
    /// Of no clock: constants.
    pub const NONE: Self = Self(0);
    /// At each trade of the instrument.
    pub const TRADE: Self = Self(1);
    /// At each change of the instrument's best bid or ask.
    pub const QUOTE: Self = Self(2);
    /// At each bar of the instrument.
    pub const BAR: Self = Self(4);
    /// The single clocks.
    pub const ALL: [Self; 3] = [Self::TRADE, Self::QUOTE, Self::BAR];

    /// Whether it ticks with any of the others.
    #[must_use]
    pub const fn ticks_with(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The clock of something that follows from both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In words: `bar`, `trade`, `quote`, `trade or quote`, `constant`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            0 => "constant",
            1 => "trade",
            2 => "quote",
            3 => "trade or quote",
            4 => "bar",
            _ => "bar and event",
        }
    }
}

impl Serialize for Clock {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! inputs {
    ($($variant:ident, $name:literal, $clock:ident, $unit:literal, $words:literal;)*) => {
        /// What formulas can start from.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum Source { $($variant),* }

        impl Source {
            /// Every input.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in formulas.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// When it ticks.
            #[must_use]
            pub const fn clock(self) -> Clock {
                match self { $(Self::$variant => Clock::$clock),* }
            }

            /// Its unit.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit),* }
            }

            /// What it is.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words),* }
            }
        }
    };
}

inputs! {
    Open, "open", BAR, "price", "first price of the bar";
    High, "high", BAR, "price", "highest price of the bar";
    Low, "low", BAR, "price", "lowest price of the bar";
    Close, "close", BAR, "price", "last price of the bar";
    Volume, "volume", BAR, "quantity", "quantity traded in the bar";
    Vwap, "vwap", BAR, "price", "volume-weighted average price of the bar; absent where the source sums up without saying it";
    BuyVolume, "buy_volume", BAR, "quantity", "quantity of the bar that buyers took";
    SellVolume, "sell_volume", BAR, "quantity", "quantity of the bar that sellers took";
    Trades, "trades", BAR, "count", "trades in the bar; absent where the source does not say";
    Shares, "shares", BAR, "quantity", "shares outstanding, from the fundamentals table";
    BookValue, "book_value", BAR, "money", "book value of equity, from the fundamentals table";
    Earnings, "earnings", BAR, "money", "earnings of the last twelve months, from the fundamentals table";
    Sales, "sales", BAR, "money", "sales of the last twelve months, from the fundamentals table";
    CashFlow, "cash_flow", BAR, "money", "operating cash flow of the last twelve months, from the fundamentals table";
    Dividends, "dividends", BAR, "money", "dividends of the last twelve months, from the fundamentals table";
    Debt, "debt", BAR, "money", "total debt, from the fundamentals table";
    Assets, "assets", BAR, "money", "total assets, from the fundamentals table";
    TradePrice, "trade_price", TRADE, "price", "price of the trade";
    TradeSize, "trade_size", TRADE, "quantity", "quantity of the trade";
    TradeSign, "trade_sign", TRADE, "sign", "1 where the buyer took, −1 where the seller did, 0 where the venue does not say";
    TradeElapsed, "trade_elapsed", TRADE, "seconds", "time since the trade before";
    Bid, "bid", QUOTE, "price", "best bid";
    Ask, "ask", QUOTE, "price", "best ask";
    BidSize, "bid_size", QUOTE, "quantity", "quantity at the best bid";
    AskSize, "ask_size", QUOTE, "quantity", "quantity at the best ask";
    BidDepth5, "bid_depth_5", QUOTE, "quantity", "quantity at the five best bids; absent without a book that is in step";
    AskDepth5, "ask_depth_5", QUOTE, "quantity", "quantity at the five best asks; absent without a book that is in step";
    BidDepth10, "bid_depth_10", QUOTE, "quantity", "quantity at the ten best bids; absent without a book that is in step";
    AskDepth10, "ask_depth_10", QUOTE, "quantity", "quantity at the ten best asks; absent without a book that is in step";
    QuoteElapsed, "quote_elapsed", QUOTE, "seconds", "time since the quote before";
}

impl Source {
    /// The column that holds it: inputs come first.
    #[must_use]
    pub(crate) const fn port(self) -> Port {
        self as Port
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|source| source.name() == name)
    }
}
