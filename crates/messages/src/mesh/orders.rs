//! Orders, the gate's answers, and what executions do to positions.

use std::fmt;
use std::str::FromStr;

use nautilus_types::{DeskName, Money, Price, Quantity, Side, Symbol, UnixNanos, Venue};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where an order or a position belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desk {
    /// The portfolio, which has a currency and capital.
    pub portfolio: DeskName,
    /// A book of the portfolio.
    pub book: DeskName,
    /// A strategy of the book.
    pub strategy: DeskName,
}

impl fmt::Display for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.portfolio, self.book, self.strategy)
    }
}

/// An identifier of 128 bits that its maker chooses, unique for all time; as text a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u128);

/// A text is not a [`Uid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID: 32 hexadecimal digits, with or without hyphens")]
pub struct UidError;

impl FromStr for Uid {
    type Err = UidError;

    fn from_str(text: &str) -> Result<Self, UidError> {
        let digits = text.bytes().filter(|byte| *byte != b'-');
        let digit = |byte: u8| (byte as char).to_digit(16).map(u128::from);
        let (mut value, mut count) = (0u128, 0);
        for byte in digits {
            count += 1;
            value = digit(byte).filter(|_| count <= 32).map(|digit| value << 4 | digit).ok_or(UidError)?;
        }
        if count == 32 { Ok(Self(value)) } else { Err(UidError) }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id) = self;
        let group = |shift: u32, bits: u32| id >> shift & ((1 << bits) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            group(96, 32),
            group(80, 16),
            group(64, 16),
            group(48, 16),
            group(0, 48)
        )
    }
}

impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u128::deserialize(deserializer).map(Self);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is asked of the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OrderAction {
    /// A new order.
    New {
        /// Bought or sold.
        side: Side,
        /// How much, above zero.
        quantity: Quantity,
        /// The worst price; a market order without one.
        limit_price: Option<Price>,
    },
    /// The order is to be cancelled. Always let through.
    Cancel,
}

/// Asks the gate whether an order may go to the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// The order's id, made by whoever sends it. The same order sent twice gets the same answer.
    pub order_id: Uid,
    /// For whom.
    pub desk: Desk,
    /// Which instrument.
    pub instrument: Symbol,
    /// What is asked.
    pub action: OrderAction,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why the gate rejects an order. Codes are stable; numbers are never used again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

reasons! {
    /// The id was used for another order.
    OrderIdReused = "order_id_reused",
    /// There is no such portfolio, book or strategy.
    UnknownDesk = "unknown_desk",
    /// The instrument has not been defined.
    UnknownInstrument = "unknown_instrument",
    /// The quantity is not above zero, or no multiple of the lot.
    InvalidQuantity = "invalid_quantity",
    /// The price is no multiple of the tick.
    InvalidPrice = "invalid_price",
    /// The kill switch is on.
    Halted = "halted",
    /// Only orders that reduce exposure are let through.
    Reducing = "reducing",
    /// A kind of limit is set nowhere above the strategy.
    LimitNotSet = "limit_not_set",
    /// The instrument has no price yet.
    NoMark = "no_mark",
    /// The instrument's price is too old.
    StaleMark = "stale_mark",
    /// A currency has no rate.
    NoFxRate = "no_fx_rate",
    /// The instrument is on a restricted list.
    Restricted = "restricted",
    /// The order is too large.
    OrderSize = "order_size",
    /// The price is too far from the market.
    PriceCollar = "price_collar",
    /// Too many orders a second.
    OrderRate = "order_rate",
    /// The same order came moments ago.
    DuplicateOrder = "duplicate_order",
    /// The position in the instrument would be too large.
    PositionLimit = "position_limit",
    /// Gross exposure would be too large.
    GrossLimit = "gross_limit",
    /// Net exposure would be too large.
    NetLimit = "net_limit",
    /// Too much of the equity would stand in one instrument.
    ConcentrationLimit = "concentration_limit",
    /// Value at risk would be too large.
    VarLimit = "var_limit",
    /// The instrument is not in the risk model, so that value at risk is not known.
    VarUnknown = "var_unknown",
    /// Too much was lost since the peak.
    DrawdownLimit = "drawdown_limit",
    /// Too much was lost today.
    DailyLossLimit = "daily_loss_limit",
    /// No further order can be remembered.
    TooManyOrders = "too_many_orders",
    /// The journal has no room for orders.
    JournalFull = "journal_full",
    /// The amount is out of range.
    Overflow = "overflow",
    /// Something that is held has no price or no rate, so that exposures and losses are not known.
    Unvalued = "unvalued",
}

const _: () = assert!(Reason::ALL.len() <= 32);

/// A set of [`Reason`]s; in JSON the list of their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Reasons(u32);

impl Reasons {
    /// None.
    pub const NONE: Self = Self(0);

    /// Adds one.
    #[inline]
    pub const fn insert(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u8;
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one is there.
    #[must_use]
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 >> reason as u8 & 1 == 1
    }

    /// By number.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.contains(*reason))
    }
}

impl From<Reason> for Reasons {
    fn from(reason: Reason) -> Self {
        let mut reasons = Self::NONE;
        reasons.insert(reason);
        reasons
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.iter().map(Reason::as_str))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Reasons {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if !deserializer.is_human_readable() {
            let bits = u32::deserialize(deserializer)?;
            let known = bits >> Reason::ALL.len() == 0;
            return if known { Ok(Self(bits)) } else { Err(D::Error::custom("a reason is unknown")) };
        }
        let names = Vec::<String>::deserialize(deserializer)?;
        let mut reasons = Self::NONE;
        for name in names {
            let known = Reason::ALL.iter().find(|reason| reason.as_str() == name);
            reasons.insert(*known.ok_or_else(|| D::Error::custom("a reason is unknown"))?);
        }
        Ok(reasons)
    }
}

/// The gate's answer; the envelope's correlation id is the request's message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDecision {
    /// Which order.
    pub order_id: Uid,
    /// It may go to the venue, and the journal says so.
    pub accepted: bool,
    /// Why not; empty when accepted.
    pub reasons: Reasons,
    /// Soft limits that the order is beyond.
    pub warnings: Reasons,
}

/// An execution, or the end of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionChange {
    /// Whose position.
    pub desk: Desk,
    /// In what.
    pub instrument: Symbol,
    /// The order behind it; absent for a position that came otherwise.
    pub order_id: Option<Uid>,
    /// Who reports it.
    pub venue: Venue,
    /// The venue's number of the execution: one that was seen is not booked again.
    pub trade_id: Uid,
    /// Bought or sold.
    pub side: Side,
    /// How much; zero where the order ended without an execution.
    pub quantity: Quantity,
    /// The price per unit.
    pub price: Price,
    /// What it cost beside the price, in the instrument's currency.
    #[serde(default)]
    pub fee: Money,
    /// The order is over: filled, cancelled, expired or refused by the venue.
    #[serde(default)]
    pub done: bool,
    /// When it happened.
    pub ts_event: UnixNanos,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids() {
        let id: Uid = "0192f3c8-1d6e-7c3a-9b1e-0123456789ab".parse().unwrap();
        assert_eq!(id.to_string(), "0192f3c8-1d6e-7c3a-9b1e-0123456789ab");
        assert_eq!("0192f3c81d6e7c3a9b1e0123456789AB".parse(), Ok(id));
        for text in ["", "1", "0192f3c8-1d6e-7c3a-9b1e-0123456789abc", "0192f3c8-1d6e-7c3a-9b1e-0123456789ag"]
        {
            assert_eq!(text.parse::<Uid>(), Err(UidError), "{text}");
        }
    }

    #[test]
    fn reasons_are_a_set_with_names() {
        let mut reasons = Reasons::from(Reason::Halted);
        reasons.insert(Reason::GrossLimit);
        let json = serde_json::to_string(&reasons).unwrap();
        assert_eq!(json, r#"["halted","gross_limit"]"#);
        assert_eq!(serde_json::from_str::<Reasons>(&json).unwrap(), reasons);
        assert!(serde_json::from_str::<Reasons>(r#"["no"]"#).is_err());
        let bytes = postcard::to_allocvec(&reasons).unwrap();
        assert_eq!(postcard::from_bytes::<Reasons>(&bytes).unwrap(), reasons);
        assert!(postcard::from_bytes::<Reasons>(&postcard::to_allocvec(&u32::MAX).unwrap()).is_err());
    }
}
