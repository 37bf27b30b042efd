//! What clients subscribe to, and how it is written.
//!
//! It decides which names are topics; patterns over several topics are the service's.

use std::fmt;
use std::str::FromStr;

use nautilus_messages::{BarSpec, EngineName};
use nautilus_types::{DeskName, Symbol, TextError};

/// What a client subscribes to. Its name is what `Display` writes and `FromStr` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `books.ESH4`: every level of the book.
    Book(Symbol),
    /// `trades.ESH4`: every trade.
    Trades(Symbol),
    /// `bars.ESH4.1m`: completed bars. The interval is named as a [`BarSpec`] is written; one whose name is longer
    /// than a symbol has no topic.
    Bars(Symbol, Symbol),
    /// `vpin.ESH4`: completed VPIN buckets.
    Vpin(Symbol),
    /// `alerts.ESH4`: changes of the toxicity level.
    Alerts(Symbol),
    /// `risk.main`: a portfolio's newest measures.
    Risk(DeskName),
    /// `risk_alerts.firm`: limits that were crossed and trading that was stopped, in the firm and every part of it.
    RiskAlerts,
    /// `system.vpin`: how far an engine has come, once a second.
    System(EngineName),
}

/// Why a text is not a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No kind that exists.
    #[error(
        "'{0}' is not a topic; write books, trades, vpin or alerts with an instrument, bars with an instrument and an interval, risk with a portfolio, risk_alerts.firm, or system with an engine, for example books.ESH4"
    )]
    Kind(String),
    /// The instrument cannot be one.
    #[error("the topic '{0}' names no instrument: {1}")]
    Instrument(String, TextError),
    /// The interval of a bar topic is missing or none.
    #[error("the topic '{0}' names no bar interval; write for example bars.ESH4.1m or bars.ESH4.100tick")]
    Interval(String),
    /// The portfolio cannot be one.
    #[error("the topic '{0}' names no portfolio: {1}")]
    Portfolio(String, TextError),
    /// Alerts of a part of the firm.
    #[error("there is no topic '{0}'; write risk_alerts.firm, which has the alerts of every portfolio")]
    RiskAlerts(String),
    /// No engine of that name.
    #[error("the topic '{0}' names no engine; write system with {1}")]
    Engine(String, String),
    /// A pattern where one topic is wanted.
    #[error("'{0}' stands for several topics; name one")]
    Wildcard(String),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Book(symbol) => write!(f, "books.{symbol}"),
            Self::Trades(symbol) => write!(f, "trades.{symbol}"),
            Self::Bars(symbol, interval) => write!(f, "bars.{symbol}.{interval}"),
            Self::Vpin(symbol) => write!(f, "vpin.{symbol}"),
            Self::Alerts(symbol) => write!(f, "alerts.{symbol}"),
            Self::Risk(portfolio) => write!(f, "risk.{portfolio}"),
            Self::RiskAlerts => f.write_str("risk_alerts.firm"),
            Self::System(engine) => write!(f, "system.{engine}"),
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let unknown = || TopicError::Kind(shorten(text));
        let (kind, name) = text.split_once('.').ok_or_else(unknown)?;
        match kind {
            "books" => symbol(text, name).map(Self::Book),
            "trades" => symbol(text, name).map(Self::Trades),
            "bars" => bars(text, name),
            "vpin" => symbol(text, name).map(Self::Vpin),
            "alerts" => symbol(text, name).map(Self::Alerts),
            "risk" => portfolio(text, name).map(Self::Risk),
            "risk_alerts" if name == "firm" => Ok(Self::RiskAlerts),
            "risk_alerts" => Err(TopicError::RiskAlerts(shorten(text))),
            "system" => engine(text, name).map(Self::System),
            _ => Err(unknown()),
        }
    }
}

fn symbol(text: &str, name: &str) -> Result<Symbol, TopicError> {
    if name == "*" {
        return Err(TopicError::Wildcard(shorten(text)));
    }
    name.parse().map_err(|error| TopicError::Instrument(shorten(text), error))
}

/// Symbols and intervals may both hold points (`BRK.B`, `0.5volume`): the longest end that is an interval is the
/// interval.
fn bars(text: &str, name: &str) -> Result<Topic, TopicError> {
    let points = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
    for (at, _) in points {
        let (instrument, interval) = (&name[..at], &name[at + 1..]);
        if let Some(interval) = interval_name(interval) {
            return Ok(Topic::Bars(symbol(text, instrument)?, interval));
        }
        if interval == "*" {
            return Err(TopicError::Wildcard(shorten(text)));
        }
    }
    Err(TopicError::Interval(shorten(text)))
}

/// The interval as it is written everywhere: `60s` is `1m`.
fn interval_name(text: &str) -> Option<Symbol> {
    text.parse::<BarSpec>().ok()?.to_string().parse().ok()
}

fn portfolio(text: &str, name: &str) -> Result<DeskName, TopicError> {
    if name == "*" {
        return Err(TopicError::Wildcard(shorten(text)));
    }
    name.parse().map_err(|error| TopicError::Portfolio(shorten(text), error))
}

fn engine(text: &str, name: &str) -> Result<EngineName, TopicError> {
    if name == "*" {
        return Err(TopicError::Wildcard(shorten(text)));
    }
    EngineName::ALL.into_iter().find(|engine| engine.as_str() == name).ok_or_else(|| {
        let names = EngineName::ALL.map(EngineName::as_str).join(", ");
        TopicError::Engine(shorten(text), names)
    })
}

/// Text from outside is quoted in an error, but never at length.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 64 {
        return text.to_owned();
    }
    text.chars().take(64).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn topics_read_as_they_are_written() {
        for text in [
            "books.ESH4",
            "trades.BRK.B",
            "bars.ESH4.1m",
            "bars.BRK.B.100tick",
            "bars.ESH4.0.5volume",
            "vpin.ESH4",
            "alerts.ESH4",
            "risk.us-equity.v2",
            "risk.alerts",
            "risk_alerts.firm",
            "system.vpin",
        ] {
            assert_eq!(text.parse::<Topic>().expect(text).to_string(), text);
        }
        assert_eq!("bars.ESH4.60s".parse::<Topic>().unwrap().to_string(), "bars.ESH4.1m");
    }

    #[test]
    fn what_is_no_topic_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "is not a topic"),
            ("books", "is not a topic"),
            ("orders.ESH4", "is not a topic"),
            ("books.", "the symbol is empty"),
            ("books.a/b", "visible ASCII"),
            ("books.*", "stands for several"),
            ("bars.*.1m", "stands for several"),
            ("bars.ESH4.*", "stands for several"),
            ("bars.ESH4", "no bar interval"),
            ("bars.ESH4.", "no bar interval"),
            ("bars..1m", "the symbol is empty"),
            ("bars.ESH4.1y", "no bar interval"),
            ("bars.ESH4.12345678901234567890tick", "no bar interval"),
            ("risk", "is not a topic"),
            ("risk.", "names no portfolio: the name is empty"),
            ("risk.a b", "letters, digits"),
            ("risk.*", "stands for several"),
            ("risk_alerts.main", "write risk_alerts.firm"),
            ("risk_alerts.", "write risk_alerts.firm"),
            ("system.*", "stands for several"),
            ("system.gateway", "marketdata, vpin, websocket, features"),
        ] {
            let error = text.parse::<Topic>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = format!("orders.{}", "é".repeat(4_000));
        assert!(long.parse::<Topic>().expect_err("too long").to_string().len() < 400);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_again(text in "(books|bars|risk|risk_alerts|system|x)?\\.?.{0,40}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string().parse::<Topic>(), Ok(topic));
            }
        }
    }
}
