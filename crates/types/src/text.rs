//! Short names of fixed width: symbols, venues, currencies, desks and feature sets, stored inline and never allocated.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a legal name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing was given.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// Longer than the field.
    #[error("the {0} is longer than {1} characters")]
    TooLong(&'static str, usize),
    /// A character that cannot stand in a URL path or a file column.
    #[error("the {0} may hold only visible ASCII characters other than '/', ',' and quotes")]
    Character(&'static str),
    /// A character that cannot stand in every file's or metric's name.
    #[error("the {0} may hold only letters, digits, '_', '-' and '.'")]
    NotPlain(&'static str),
}

/// What may stand in a URL path and in a column of a file.
const fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'/' | b',' | b'"' | b'\'' | b'\\')
}

/// What may stand in the name of anything.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

macro_rules! inline_text {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal, $legal:ident, $illegal:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The width of the field in bytes.
            pub const LEN: usize = $len;

            /// From a zero-padded field, as frames carry it.
            ///
            /// # Errors
            /// When the field is empty, has a byte after its padding begins or a character that is not allowed.
            pub fn from_bytes(bytes: [u8; $len]) -> Result<Self, TextError> {
                let end = bytes.iter().position(|&b| b == 0).unwrap_or($len);
                if end == 0 {
                    return Err(TextError::Empty($what));
                }
                if !bytes[..end].iter().all(|&b| $legal(b)) || bytes[end..].iter().any(|&b| b != 0) {
                    return Err(TextError::$illegal($what));
                }
                Ok(Self(bytes))
            }

            /// The zero-padded field.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; $len] {
                self.0
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                let end = self.0.iter().position(|&b| b == 0).unwrap_or($len);
                std::str::from_utf8(&self.0[..end]).expect("checked to be ASCII when made")
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                if text.len() > $len {
                    return Err(TextError::TooLong($what, $len));
                }
                let mut bytes = [0; $len];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                Self::from_bytes(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

inline_text!(
    /// The venue's own name of an instrument, for example `ESH4`.
    Symbol, 24, "symbol", is_visible, Character
);
inline_text!(
    /// A venue by market identifier code or short name, for example `GLBX` or `XSIM`.
    Venue, 8, "venue", is_visible, Character
);
inline_text!(
    /// An ISO 4217 code or a coin's ticker.
    Currency, 4, "currency", is_visible, Character
);
inline_text!(
    /// A portfolio, a book or a strategy, for example `us-equity` or `pairs.v2`.
    DeskName, 24, "name", is_plain, NotPlain
);
inline_text!(
    /// A set of features that are computed together, for example `core` or `book-imbalance.v2`.
    FeatureSetName, 32, "feature set", is_plain, NotPlain
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("ESH4".parse::<Symbol>().unwrap().as_str(), "ESH4");
        assert_eq!("".parse::<Symbol>(), Err(TextError::Empty("symbol")));
        assert_eq!("DOLLAR".parse::<Currency>(), Err(TextError::TooLong("currency", 4)));
        for text in ["a b", "a/b", "a\0b", "é", "a,b"] {
            assert_eq!(text.parse::<Symbol>(), Err(TextError::Character("symbol")), "{text:?}");
        }
        let full = "A".repeat(24);
        assert_eq!(full.parse::<Symbol>().unwrap().as_str(), full);
    }

    #[test]
    fn names_of_feature_sets_are_plain() {
        for text in ["core", "a", "Book-Imbalance_2.1", &"x".repeat(32)] {
            assert_eq!(text.parse::<FeatureSetName>().unwrap().as_str(), text);
        }
        assert_eq!("".parse::<FeatureSetName>(), Err(TextError::Empty("feature set")));
        assert_eq!("x".repeat(33).parse::<FeatureSetName>(), Err(TextError::TooLong("feature set", 32)));
        for text in ["a b", "a/b", "a:b", "a\0b", "é", "a+b"] {
            assert_eq!(text.parse::<FeatureSetName>(), Err(TextError::NotPlain("feature set")), "{text:?}");
        }
    }
}
