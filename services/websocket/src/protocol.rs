//! What clients say and what they are told beside the topics' data: reads and writes single messages, refuses what is
//! not one. What a message leads to is not decided here.

use axum::extract::ws::Utf8Bytes;
use nautilus_types::UnixNanos;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wishes::Options;

/// The largest message of a client.
pub(crate) const MESSAGE_MAX: usize = 64 * 1024;
/// Topics in one message.
const TOPICS_MAX: usize = 1_024;
/// How often conflated topics may come, in milliseconds.
pub(crate) const INTERVALS: [u16; 10] = [0, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];
/// The largest number that JavaScript reads exactly.
const ID_MAX: u64 = (1 << 53) - 1;
/// Letters of a client's own text that are told back to it.
const SHOWN_MAX: usize = 200;

/// A message of a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Subscribe { id: Option<u64>, topics: Vec<String>, options: Options },
    Unsubscribe { id: Option<u64>, topics: Vec<String> },
    Resume { id: Option<u64>, topic: String, epoch: u64, seq: u64, options: Options },
    Ping { id: Option<u64> },
}

/// Why a message is refused; one sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) id: Option<u64>,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl Refused {
    pub(crate) fn new(id: Option<u64>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { id, code, detail: detail.into() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    #[serde(rename = "type")]
    _type: String,
    #[serde(rename = "id", default)]
    _id: Option<u64>,
    topics: Vec<String>,
    #[serde(default)]
    conflate_ms: u64,
    #[serde(default)]
    checksum: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    #[serde(rename = "type")]
    _type: String,
    #[serde(rename = "id", default)]
    _id: Option<u64>,
    topics: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    #[serde(rename = "type")]
    _type: String,
    #[serde(rename = "id", default)]
    _id: Option<u64>,
    topic: String,
    epoch: u64,
    seq: u64,
    #[serde(default)]
    conflate_ms: u64,
    #[serde(default)]
    checksum: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {
    #[serde(rename = "type")]
    _type: String,
    #[serde(rename = "id", default)]
    _id: Option<u64>,
}

impl Request {
    /// Reads a message of a client.
    ///
    /// # Errors
    /// The code and the sentence that the client is told, with its `id` where that could be read.
    pub(crate) fn read(text: &str) -> Result<Self, Refused> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            Refused::new(None, "malformed_message", format!("the message is not JSON: {error}"))
        })?;
        let id = read_id(&value)?;
        let Some(kind) = value.get("type").and_then(Value::as_str) else {
            let detail = r#"the message has no "type"; send an object such as {"type":"ping"}"#;
            return Err(Refused::new(id, "malformed_message", detail));
        };
        match kind {
            "subscribe" => {
                let Subscribe { topics, conflate_ms, checksum, .. } = read_as(id, &value)?;
                let options = options(id, conflate_ms, checksum)?;
                Ok(Self::Subscribe { id, topics: some_topics(id, topics)?, options })
            }
            "unsubscribe" => {
                let Unsubscribe { topics, .. } = read_as(id, &value)?;
                Ok(Self::Unsubscribe { id, topics: some_topics(id, topics)? })
            }
            "resume" => {
                let Resume { topic, epoch, seq, conflate_ms, checksum, .. } = read_as(id, &value)?;
                let options = options(id, conflate_ms, checksum)?;
                Ok(Self::Resume { id, topic, epoch, seq, options })
            }
            "ping" => read_as(id, &value).map(|Ping { .. }| Self::Ping { id }),
            other => {
                let detail = format!(
                    "there is no message of type '{}'; send subscribe, unsubscribe, resume or ping",
                    shown(other, 40)
                );
                Err(Refused::new(id, "unknown_type", detail))
            }
        }
    }
}

fn read_id(value: &Value) -> Result<Option<u64>, Refused> {
    match value.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(id) => match id.as_u64().filter(|id| *id <= ID_MAX) {
            Some(id) => Ok(Some(id)),
            None => {
                let detail = "id must be a whole number from 0 to 9007199254740991";
                Err(Refused::new(None, "malformed_message", detail))
            }
        },
    }
}

fn read_as<'a, T: Deserialize<'a>>(id: Option<u64>, value: &'a Value) -> Result<T, Refused> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{}: ", shown(&path, 40)) };
        let detail = shown(&format!("{place}{}", error.inner()), SHOWN_MAX);
        Refused::new(id, "malformed_message", detail)
    })
}

fn options(id: Option<u64>, conflate_ms: u64, checksum: bool) -> Result<Options, Refused> {
    let known = INTERVALS.into_iter().find(|interval| u64::from(*interval) == conflate_ms);
    known.map(|conflate_ms| Options { conflate_ms, checksum }).ok_or_else(|| {
        let detail = format!("conflate_ms is {conflate_ms}; it must be one of {INTERVALS:?}");
        Refused::new(id, "invalid_conflate_ms", detail)
    })
}

fn some_topics(id: Option<u64>, topics: Vec<String>) -> Result<Vec<String>, Refused> {
    if (1..=TOPICS_MAX).contains(&topics.len()) {
        return Ok(topics);
    }
    let detail = format!("the message names {} topics; name 1 to {TOPICS_MAX}", topics.len());
    Err(Refused::new(id, "too_many_topics", detail))
}

/// Text that may be a client's own, cut to what is worth telling back.
pub(crate) fn shown(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a client is told beside the topics' data.
#[derive(Debug, Serialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
pub(crate) enum Answer<'a> {
    Subscription {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        topics: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejected>,
    },
    Heartbeat {
        count: u64,
        ts_ns: UnixNanos,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    System {
        event: &'static str,
        topic: &'a str,
        detail: &'static str,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        code: &'static str,
        detail: &'a str,
    },
}

/// A topic that was not subscribed to, or not unsubscribed from.
#[derive(Debug, Serialize)]
pub(crate) struct Rejected {
    topic: String,
    pub(crate) code: &'static str,
    detail: String,
}

impl Rejected {
    pub(crate) fn new(topic: &str, code: &'static str, detail: &str) -> Self {
        Self { topic: shown(topic, 64), code, detail: shown(detail, SHOWN_MAX) }
    }
}

impl Answer<'_> {
    pub(crate) fn text(&self) -> Utf8Bytes {
        // Neither maps with strange keys nor anything else that JSON cannot say.
        let text = serde_json::to_string(self);
        debug_assert!(text.is_ok(), "{text:?}");
        text.unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_read() {
        let topics = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let options = |conflate_ms, checksum| Options { conflate_ms, checksum };
        for (text, expected) in [
            (
                r#"{"type":"subscribe","id":1,"topics":["books.ESH4","trades.*"],"conflate_ms":100,"checksum":true}"#,
                Request::Subscribe {
                    id: Some(1),
                    topics: topics(&["books.ESH4", "trades.*"]),
                    options: options(100, true),
                },
            ),
            (
                r#" {"topics":["x"], "type":"subscribe"} "#,
                Request::Subscribe { id: None, topics: topics(&["x"]), options: options(0, false) },
            ),
            (
                r#"{"type":"unsubscribe","id":9007199254740991,"topics":["trades.*"]}"#,
                Request::Unsubscribe { id: Some(ID_MAX), topics: topics(&["trades.*"]) },
            ),
            (
                r#"{"type":"resume","id":3,"topic":"books.ESH4","epoch":1763600000000,"seq":4711,"conflate_ms":5000}"#,
                Request::Resume {
                    id: Some(3),
                    topic: "books.ESH4".into(),
                    epoch: 1_763_600_000_000,
                    seq: 4_711,
                    options: options(5_000, false),
                },
            ),
            (r#"{"type":"ping","id":null}"#, Request::Ping { id: None }),
            (r#"{"type":"ping","id":0}"#, Request::Ping { id: Some(0) }),
        ] {
            assert_eq!(Request::read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_one_clear_sentence() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(60_000));
        let field = format!(r#"{{"type":"ping","{}":1}}"#, "x".repeat(60_000));
        let many = format!(r#"{{"type":"subscribe","id":4,"topics":[{}"a"]}}"#, "\"a\",".repeat(TOPICS_MAX));
        for (text, id, code, part) in [
            ("", None, "malformed_message", "not JSON"),
            ("{", None, "malformed_message", "not JSON"),
            ("\u{0}", None, "malformed_message", "not JSON"),
            ("nonsense", None, "malformed_message", "not JSON"),
            (deep.as_str(), None, "malformed_message", "recursion limit"),
            ("[]", None, "malformed_message", "no \"type\""),
            ("7", None, "malformed_message", "no \"type\""),
            ("null", None, "malformed_message", "no \"type\""),
            ("{}", None, "malformed_message", "no \"type\""),
            (r#"{"type":7,"id":5}"#, Some(5), "malformed_message", "no \"type\""),
            (r#"{"type":"ping"} x"#, None, "malformed_message", "trailing"),
            (r#"{"type":"ping","id":-1}"#, None, "malformed_message", "id must be"),
            (r#"{"type":"ping","id":1.5}"#, None, "malformed_message", "id must be"),
            (r#"{"type":"ping","id":"1"}"#, None, "malformed_message", "id must be"),
            (r#"{"type":"ping","id":9007199254740992}"#, None, "malformed_message", "id must be"),
            (r#"{"type":"ping","id":1e400}"#, None, "malformed_message", "not JSON"),
            (r#"{"type":"Ping","id":2}"#, Some(2), "unknown_type", "'Ping'"),
            (
                r#"{"type":"publish","id":5}"#,
                Some(5),
                "unknown_type",
                "subscribe, unsubscribe, resume or ping",
            ),
            (long.as_str(), None, "unknown_type", "…"),
            (field.as_str(), None, "malformed_message", "unknown field"),
            (r#"{"type":"ping","id":6,"more":1}"#, Some(6), "malformed_message", "unknown field `more`"),
            (r#"{"type":"subscribe","id":7}"#, Some(7), "malformed_message", "missing field `topics`"),
            (
                r#"{"type":"subscribe","topics":"books.ESH4"}"#,
                None,
                "malformed_message",
                "topics: invalid type",
            ),
            (r#"{"type":"subscribe","topics":[1]}"#, None, "malformed_message", "topics[0]: invalid type"),
            (r#"{"type":"subscribe","id":8,"topics":[]}"#, Some(8), "too_many_topics", "names 0 topics"),
            (many.as_str(), Some(4), "too_many_topics", "names 1025 topics"),
            (
                r#"{"type":"subscribe","topics":["a"],"conflate_ms":250}"#,
                None,
                "invalid_conflate_ms",
                "[0, 10, 20",
            ),
            (
                r#"{"type":"subscribe","topics":["a"],"conflate_ms":-1}"#,
                None,
                "malformed_message",
                "conflate_ms",
            ),
            (
                r#"{"type":"subscribe","topics":["a"],"conflate_ms":18446744073709551615}"#,
                None,
                "invalid_conflate_ms",
                "one of",
            ),
            (r#"{"type":"subscribe","topics":["a"],"checksum":1}"#, None, "malformed_message", "checksum"),
            (r#"{"type":"unsubscribe","topics":[]}"#, None, "too_many_topics", "names 0"),
            (
                r#"{"type":"unsubscribe","topics":["a"],"conflate_ms":0}"#,
                None,
                "malformed_message",
                "unknown field",
            ),
            (
                r#"{"type":"resume","id":1,"topic":"a","epoch":1}"#,
                Some(1),
                "malformed_message",
                "missing field `seq`",
            ),
            (r#"{"type":"resume","topic":"a","epoch":-1,"seq":1}"#, None, "malformed_message", "epoch"),
        ] {
            let refused = Request::read(text).unwrap_err();
            assert_eq!((refused.id, refused.code), (id, code), "{text:.100}: {refused:?}");
            assert!(refused.detail.contains(part), "{text:.100}: {refused:?}");
            assert!(refused.detail.len() < 400 && !refused.detail.contains('\n'), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".{0,200}") {
            let _ = Request::read(&text);
        }

        #[test]
        fn no_message_is_too_strange(kind in "(subscribe|resume|ping|unsubscribe)", key in "(id|topics|topic|epoch|seq|conflate_ms|checksum)", value in "(null|-1|1e9|\"\\*\"|\\[\\]|\\[null\\]|\\{\\}|true|18446744073709551616)") {
            let _ = Request::read(&format!(r#"{{"type":"{kind}","{key}":{value}}}"#));
        }
    }

    #[test]
    fn answers_look_as_documented() {
        let rejected = vec![Rejected::new("bars.", "unknown_topic", "why")];
        for (answer, expected) in [
            (
                Answer::Subscription { id: Some(1), topics: vec!["trades.*".into()], rejected },
                r#"{"message_type":"subscription","id":1,"topics":["trades.*"],"rejected":[{"topic":"bars.","code":"unknown_topic","detail":"why"}]}"#,
            ),
            (
                Answer::Heartbeat { count: 17, ts_ns: UnixNanos(2) },
                r#"{"message_type":"heartbeat","count":17,"ts_ns":2}"#,
            ),
            (Answer::Pong { id: Some(4) }, r#"{"message_type":"pong","id":4}"#),
            (Answer::Pong { id: None }, r#"{"message_type":"pong"}"#),
            (
                Answer::System { event: "conflated", topic: "books.ESH4", detail: "d" },
                r#"{"message_type":"system","event":"conflated","topic":"books.ESH4","detail":"d"}"#,
            ),
            (
                Answer::Error { id: Some(5), code: "malformed_message", detail: "d\"" },
                r#"{"message_type":"error","id":5,"code":"malformed_message","detail":"d\""}"#,
            ),
        ] {
            assert_eq!(answer.text().as_str(), expected);
        }
    }
}
