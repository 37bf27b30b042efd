//! What a client wants to hear: topics by name, and wildcards over all instruments, portfolios or engines. It decides
//! which wish counts for a topic, not what is sent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use nautilus_engine_websocket::Topic;
use nautilus_types::Symbol;

/// The subscriptions a connection may have; a wildcard is one.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1_024;

/// A topic, or all topics of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Exactly(Topic),
    Books,
    Trades,
    Bars(Symbol),
    Vpin,
    Alerts,
    Risk,
    System,
}

/// Not the name of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownTopic(pub(crate) String);

impl FromStr for Wish {
    type Err = UnknownTopic;

    fn from_str(name: &str) -> Result<Self, UnknownTopic> {
        let wish = match name {
            "books.*" => Self::Books,
            "trades.*" => Self::Trades,
            "vpin.*" => Self::Vpin,
            "alerts.*" => Self::Alerts,
            "risk.*" => Self::Risk,
            "system.*" => Self::System,
            _ => match name.strip_prefix("bars.*.") {
                // What follows must do as an interval, whatever the instrument.
                Some(interval) => match topic(&format!("bars.any.{interval}"))? {
                    Topic::Bars(_, interval) => Self::Bars(interval),
                    _ => return Err(UnknownTopic("write a wildcard of bars as bars.*.1m".to_owned())),
                },
                None if name.contains('*') => {
                    let detail = "* stands for a whole instrument, portfolio or engine only, as in books.* or bars.*.1m";
                    return Err(UnknownTopic(detail.to_owned()));
                }
                None => Self::Exactly(topic(name)?),
            },
        };
        Ok(wish)
    }
}

fn topic(name: &str) -> Result<Topic, UnknownTopic> {
    name.parse().map_err(|error: <Topic as FromStr>::Err| UnknownTopic(error.to_string()))
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(topic) => topic.fmt(f),
            Self::Books => f.write_str("books.*"),
            Self::Trades => f.write_str("trades.*"),
            Self::Bars(interval) => write!(f, "bars.*.{interval}"),
            Self::Vpin => f.write_str("vpin.*"),
            Self::Alerts => f.write_str("alerts.*"),
            Self::Risk => f.write_str("risk.*"),
            Self::System => f.write_str("system.*"),
        }
    }
}

impl Wish {
    /// Whether this is a wish for `topic`.
    pub(crate) fn covers(self, topic: Topic) -> bool {
        match (self, topic) {
            (Self::Exactly(wished), topic) => wished == topic,
            (Self::Bars(wished), Topic::Bars(_, interval)) => wished == interval,
            (Self::Books, Topic::Book(_))
            | (Self::Trades, Topic::Trades(_))
            | (Self::Vpin, Topic::Vpin(_))
            | (Self::Alerts, Topic::Alerts(_))
            | (Self::Risk, Topic::Risk(_))
            | (Self::System, Topic::System(_)) => true,
            _ => false,
        }
    }

    pub(crate) fn is_wildcard(self) -> bool {
        !matches!(self, Self::Exactly(_))
    }
}

/// How a topic is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) conflate_ms: u16,
    pub(crate) checksum: bool,
}

/// A connection's wishes. A topic named exactly has its own options, whatever wildcards say; among wildcards the last
/// one said counts.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    wishes: BTreeMap<Wish, (Options, u64)>,
    said: u64,
}

impl Wishes {
    pub(crate) fn len(&self) -> usize {
        self.wishes.len()
    }

    /// Adds or replaces; false when there are too many.
    pub(crate) fn add(&mut self, wish: Wish, options: Options) -> bool {
        if self.wishes.len() >= SUBSCRIPTIONS_MAX && !self.wishes.contains_key(&wish) {
            return false;
        }
        self.said += 1;
        self.wishes.insert(wish, (options, self.said));
        true
    }

    /// False when there was no such wish.
    pub(crate) fn remove(&mut self, wish: Wish) -> bool {
        self.wishes.remove(&wish).is_some()
    }

    pub(crate) fn has(&self, wish: Wish) -> bool {
        self.wishes.contains_key(&wish)
    }

    pub(crate) fn has_wildcards(&self) -> bool {
        self.wishes.keys().any(|wish| wish.is_wildcard())
    }

    /// How `topic` is to come, if it is wished for.
    pub(crate) fn options(&self, topic: Topic) -> Option<Options> {
        if let Some((options, _)) = self.wishes.get(&Wish::Exactly(topic)) {
            return Some(*options);
        }
        let wildcards = self.wishes.iter().filter(|(wish, _)| wish.is_wildcard() && wish.covers(topic));
        wildcards.max_by_key(|(_, (_, said))| *said).map(|(_, (options, _))| *options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(name: &str) -> Wish {
        name.parse().unwrap()
    }

    #[test]
    fn names_survive_a_round_trip() {
        for name in [
            "books.ESH4",
            "trades.*",
            "bars.ESH4.1m",
            "bars.*.100tick",
            "vpin.*",
            "alerts.*",
            "risk.main",
            "risk.*",
            "risk_alerts.firm",
            "system.vpin",
            "system.*",
            "books.*",
        ] {
            assert_eq!(wish(name).to_string(), name);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            ".",
            "books",
            "books.",
            "book.ESH4",
            "books.*.*",
            "books.ES*",
            "bars.*",
            "bars.*.",
            "bars.*.*",
            "bars.ESH4",
            "bars.ESH4.*",
            "risk.",
            "risk.ma*",
            "risk_alerts.*",
            "risk_alerts.main",
            "system.nobody",
            "system.",
            "*",
            "*.*",
            "books.a b",
            "books.\u{e9}",
            "Books.ESH4",
            "books.ABCDEFGHIJKLMNOPQRSTUVWXY",
        ] {
            assert!(name.parse::<Wish>().is_err(), "{name}");
        }
    }

    #[test]
    fn exact_wishes_come_before_wildcards_and_later_wildcards_before_earlier_ones() {
        let options = |conflate_ms| Options { conflate_ms, checksum: false };
        let topic: Topic = "bars.ESH4.1m".parse().unwrap();
        let mut wishes = Wishes::default();
        assert_eq!(wishes.options(topic), None);
        wishes.add(wish("bars.ESH4.1m"), options(10));
        wishes.add(wish("bars.*.1m"), options(20));
        wishes.add(wish("bars.*.5m"), options(50));
        assert_eq!(wishes.options(topic), Some(options(10)));
        assert!(wishes.remove(wish("bars.ESH4.1m")));
        assert_eq!(wishes.options(topic), Some(options(20)));
        assert!(wishes.remove(wish("bars.*.1m")) && !wishes.remove(wish("bars.*.1m")));
        assert_eq!(wishes.options(topic), None);
        assert!(wishes.has_wildcards());
    }

    #[test]
    fn there_is_a_limit_and_replacing_is_always_possible() {
        let mut wishes = Wishes::default();
        for n in 0..SUBSCRIPTIONS_MAX {
            assert!(wishes.add(wish(&format!("books.X{n}")), Options::default()));
        }
        assert!(!wishes.add(wish("books.Y"), Options::default()));
        assert!(wishes.add(wish("books.X7"), Options { conflate_ms: 10, checksum: true }));
        assert_eq!(wishes.len(), SUBSCRIPTIONS_MAX);
    }
}
