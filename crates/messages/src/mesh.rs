//! Engine messages of the mesh: one 64-byte envelope, then a postcard payload whose schema the envelope names.
//!
//! A message's identity is a pure function of who sent it: (producer, epoch, sequence). The epoch is new at
//! every start of a producer, the sequence counts within it, so a repeated message is recognised wherever it
//! turns up. Routing is total: [`MessageType::consumers`] is a match over all types.

mod features;
mod orders;
mod risk;

use nautilus_types::{Symbol, UnixNanos};
use serde::{Deserialize, Serialize};
use zerocopy::byteorder::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::EngineName;
pub use features::{FEATURES_MAX, FeatureValues, FeatureVector};
pub use orders::{
    Desk, OrderAction, OrderDecision, OrderRequest, PositionChange, Reason, Reasons, Uid, UidError,
};
pub use risk::{AlertKind, AlertLevel, RiskAlert, RiskMetric, Scope};

/// Length of the envelope in bytes.
pub const ENVELOPE_LEN: usize = 64;
/// The longest payload a message may carry.
pub const PAYLOAD_MAX: usize = 1 << 20;
const MAGIC: [u8; 2] = *b"NM";
const VERSION: u8 = 1;

/// How urgent a message is. Higher values overtake lower ones where a queue has to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Priority {
    Low = 0,
    Normal = 1,
    High = 2,
    Urgent = 3,
    Critical = 4,
}

impl Priority {
    const ALL: [Self; 5] = [Self::Low, Self::Normal, Self::High, Self::Urgent, Self::Critical];
}

/// What a message is. One stream of the mesh carries one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
#[allow(missing_docs)]
pub enum MessageType {
    VpinUpdate = 1,
    ToxicityAlert = 2,
    VpinRequest = 3,
    VpinResponse = 4,
    EngineHealth = 5,
    FeatureVector = 6,
    OrderRequest = 7,
    OrderDecision = 8,
    PositionChange = 9,
    RiskMetric = 10,
    RiskAlert = 11,
}

impl MessageType {
    /// Every type.
    pub const ALL: [Self; 11] = [
        Self::VpinUpdate,
        Self::ToxicityAlert,
        Self::VpinRequest,
        Self::VpinResponse,
        Self::EngineHealth,
        Self::FeatureVector,
        Self::OrderRequest,
        Self::OrderDecision,
        Self::PositionChange,
        Self::RiskMetric,
        Self::RiskAlert,
    ];

    /// The type's name in streams and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VpinUpdate => "vpin_update",
            Self::ToxicityAlert => "toxicity_alert",
            Self::VpinRequest => "vpin_request",
            Self::VpinResponse => "vpin_response",
            Self::EngineHealth => "engine_health",
            Self::FeatureVector => "feature_vector",
            Self::OrderRequest => "order_request",
            Self::OrderDecision => "order_decision",
            Self::PositionChange => "position_change",
            Self::RiskMetric => "risk_metric",
            Self::RiskAlert => "risk_alert",
        }
    }

    /// The payload's schema version that this build writes and reads.
    #[must_use]
    pub const fn schema(self) -> u16 {
        1
    }

    /// The engines that consume this type. Answers go to whoever asked and have no standing consumer, and what no
    /// engine needs yet has none either.
    #[must_use]
    pub const fn consumers(self) -> &'static [EngineName] {
        match self {
            Self::VpinRequest => &[EngineName::Vpin],
            Self::VpinUpdate
            | Self::ToxicityAlert
            | Self::EngineHealth
            | Self::RiskMetric
            | Self::RiskAlert => &[EngineName::Websocket],
            Self::OrderRequest | Self::PositionChange => &[EngineName::Risk],
            Self::VpinResponse | Self::FeatureVector | Self::OrderDecision => &[],
        }
    }

    /// The types an engine consumes.
    pub fn consumed_by(engine: EngineName) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |kind| kind.consumers().contains(&engine))
    }
}

/// How trades are told apart into bought and sold volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classification {
    /// Bulk volume classification with the normal distribution (Easley, López de Prado, O'Hara 2012).
    BulkNormal,
    /// Bulk volume classification with Student's t, 0.25 degrees of freedom.
    BulkStudentT,
    /// The venue's aggressor flag.
    Aggressor,
    /// The tick rule: above the last different price is bought, below is sold.
    TickRule,
}

impl Classification {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::BulkNormal, Self::BulkStudentT, Self::Aggressor, Self::TickRule];
}

/// How toxic order flow is, by the empirical distribution of the instrument's own VPIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ToxicityLevel {
    Low,
    Moderate,
    High,
}

/// A bucket was completed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VpinUpdate {
    /// Which instrument.
    pub instrument: Symbol,
    /// How volume was classified.
    pub classification: Classification,
    /// The completed bucket's number, from 1.
    pub bucket: u64,
    /// When the bucket was completed.
    pub ts_event: UnixNanos,
    /// VPIN over the window, absent until the window is full.
    pub vpin: Option<f64>,
    /// The share of earlier VPIN values not above this one, absent until there are any.
    pub cdf: Option<f64>,
}

/// The toxicity level changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ToxicityAlert {
    /// Which instrument.
    pub instrument: Symbol,
    /// How volume was classified.
    pub classification: Classification,
    /// The level before.
    pub previous: ToxicityLevel,
    /// The level now.
    pub level: ToxicityLevel,
    /// VPIN at the crossing.
    pub vpin: f64,
    /// Its place in the empirical distribution.
    pub cdf: f64,
    /// When the bucket that crossed was completed.
    pub ts_event: UnixNanos,
}

/// Asks the vpin engine for an instrument's present value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpinRequest {
    /// Which instrument.
    pub instrument: Symbol,
}

/// Answers a [`VpinRequest`]; the envelope's correlation id is the request's message id.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VpinResponse {
    /// Which instrument.
    pub instrument: Symbol,
    /// The last completed bucket, absent when the engine does not know the instrument or has no bucket yet.
    pub latest: Option<VpinUpdate>,
}

/// How far an engine has come; every engine says so once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineHealth {
    /// Which engine.
    pub engine: EngineName,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Inputs stepped since the start.
    pub steps: u64,
    /// Position of the star that was read last.
    pub star_read: u64,
    /// Frames of the star that were missed.
    pub star_missed: u64,
    /// Messages of the mesh handled.
    pub mesh_handled: u64,
}

/// A message's content. A clone shares what is long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum Body {
    VpinUpdate(VpinUpdate),
    ToxicityAlert(ToxicityAlert),
    VpinRequest(VpinRequest),
    VpinResponse(VpinResponse),
    EngineHealth(EngineHealth),
    FeatureVector(FeatureVector),
    OrderRequest(OrderRequest),
    OrderDecision(OrderDecision),
    PositionChange(PositionChange),
    RiskMetric(RiskMetric),
    RiskAlert(RiskAlert),
}

impl Body {
    /// The type of this content.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::VpinUpdate(_) => MessageType::VpinUpdate,
            Self::ToxicityAlert(_) => MessageType::ToxicityAlert,
            Self::VpinRequest(_) => MessageType::VpinRequest,
            Self::VpinResponse(_) => MessageType::VpinResponse,
            Self::EngineHealth(_) => MessageType::EngineHealth,
            Self::FeatureVector(_) => MessageType::FeatureVector,
            Self::OrderRequest(_) => MessageType::OrderRequest,
            Self::OrderDecision(_) => MessageType::OrderDecision,
            Self::PositionChange(_) => MessageType::PositionChange,
            Self::RiskMetric(_) => MessageType::RiskMetric,
            Self::RiskAlert(_) => MessageType::RiskAlert,
        }
    }

    /// The first number that is not finite: none may cross a bus.
    fn not_finite(&self) -> Option<&'static str> {
        let bad = |value: Option<f64>| value.is_some_and(|v| !v.is_finite());
        let update = |u: &VpinUpdate| bad(u.vpin).then_some("vpin").or(bad(u.cdf).then_some("cdf"));
        match self {
            Self::VpinUpdate(u) => update(u),
            Self::ToxicityAlert(a) => {
                bad(Some(a.vpin)).then_some("vpin").or(bad(Some(a.cdf)).then_some("cdf"))
            }
            Self::VpinRequest(_)
            | Self::EngineHealth(_)
            | Self::OrderRequest(_)
            | Self::OrderDecision(_)
            | Self::PositionChange(_)
            | Self::RiskAlert(_) => None,
            Self::RiskMetric(m) => bad(Some(m.confidence))
                .then_some("confidence")
                .or(bad(m.var).then_some("var"))
                .or(bad(m.es).then_some("es")),
            Self::VpinResponse(r) => r.latest.as_ref().and_then(update),
            Self::FeatureVector(v) => (!v.values.are_finite()).then_some("values"),
        }
    }
}

/// Who sent a message: unique for all time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The sending engine.
    pub producer: EngineName,
    /// The sender's start, in nanoseconds since 1970.
    pub epoch: u64,
    /// The message's number within the epoch, from 1.
    pub sequence: u64,
}

impl MessageId {
    /// As one number, for correlation ids: epoch, producer and the low 48 bits of the sequence.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        (self.epoch as u128) << 64
            | (self.producer as u128) << 48
            | (self.sequence as u128 & 0xFFFF_FFFF_FFFF)
    }
}

/// A message of the mesh.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Its identity.
    pub id: MessageId,
    /// When it was sent.
    pub ts: UnixNanos,
    /// What it answers: another message's [`MessageId::as_u128`], or zero.
    pub correlation_id: u128,
    /// How urgent it is.
    pub priority: Priority,
    /// What it says.
    pub body: Body,
}

/// Why bytes are not a message, or a message may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too few bytes.
    #[error("a message takes {needed} bytes but only {have} are there")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        have: usize,
    },
    /// More bytes than the envelope announces.
    #[error("{0} bytes are left over behind the message")]
    LeftOver(usize),
    /// Not a message of this platform.
    #[error("the bytes do not begin with a message envelope")]
    Magic,
    /// Another envelope layout.
    #[error("envelope version {0} is unknown; this build reads version {VERSION}")]
    Version(u8),
    /// A type this build does not know.
    #[error("message type {0} is unknown")]
    Type(u16),
    /// A schema this build does not read.
    #[error("{kind} has schema {schema}; this build reads schema {known}")]
    Schema {
        /// The message type.
        kind: &'static str,
        /// The schema found.
        schema: u16,
        /// The schema known.
        known: u16,
    },
    /// A producer this build does not know.
    #[error("producer {0} is unknown")]
    Producer(u16),
    /// An unknown priority.
    #[error("priority {0} is unknown")]
    Priority(u8),
    /// The payload does not follow its schema.
    #[error("the payload of {0} does not follow its schema")]
    Payload(&'static str),
    /// The payload is too long.
    #[error("a payload of {0} bytes is over the limit of {PAYLOAD_MAX}")]
    TooLong(usize),
    /// A number that is not finite.
    #[error("{kind}.{field} is not a finite number")]
    NotFinite {
        /// The message type.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Envelope {
    magic: [u8; 2],
    version: u8,
    priority: u8,
    message_type: U16,
    schema: U16,
    payload_len: U32,
    producer: U16,
    reserved: [u8; 2],
    epoch: U64,
    sequence: U64,
    ts_ns: U64,
    correlation_id: U128,
    reserved_tail: [u8; 8],
}

const _: () = assert!(size_of::<Envelope>() == ENVELOPE_LEN);

impl Message {
    /// Appends the message's bytes.
    ///
    /// # Errors
    /// When a number is not finite or the payload too long; nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), MessageError> {
        let kind = self.body.message_type();
        if let Some(field) = self.body.not_finite() {
            return Err(MessageError::NotFinite { kind: kind.as_str(), field });
        }
        let payload = match &self.body {
            Body::VpinUpdate(body) => postcard::to_allocvec(body),
            Body::ToxicityAlert(body) => postcard::to_allocvec(body),
            Body::VpinRequest(body) => postcard::to_allocvec(body),
            Body::VpinResponse(body) => postcard::to_allocvec(body),
            Body::EngineHealth(body) => postcard::to_allocvec(body),
            Body::FeatureVector(body) => postcard::to_allocvec(body),
            Body::OrderRequest(body) => postcard::to_allocvec(body),
            Body::OrderDecision(body) => postcard::to_allocvec(body),
            Body::PositionChange(body) => postcard::to_allocvec(body),
            Body::RiskMetric(body) => postcard::to_allocvec(body),
            Body::RiskAlert(body) => postcard::to_allocvec(body),
        }
        .map_err(|_| MessageError::Payload(kind.as_str()))?;
        let payload_len = u32::try_from(payload.len()).map_err(|_| MessageError::TooLong(payload.len()))?;
        if payload.len() > PAYLOAD_MAX {
            return Err(MessageError::TooLong(payload.len()));
        }
        let envelope = Envelope {
            magic: MAGIC,
            version: VERSION,
            priority: self.priority as u8,
            message_type: U16::new(kind as u16),
            schema: U16::new(kind.schema()),
            payload_len: U32::new(payload_len),
            producer: U16::new(self.id.producer as u16),
            reserved: [0; 2],
            epoch: U64::new(self.id.epoch),
            sequence: U64::new(self.id.sequence),
            ts_ns: U64::new(self.ts.0),
            correlation_id: U128::new(self.correlation_id),
            reserved_tail: [0; 8],
        };
        out.extend_from_slice(envelope.as_bytes());
        out.extend_from_slice(&payload);
        Ok(())
    }

    /// Decodes bytes that hold exactly one message.
    ///
    /// # Errors
    /// When the bytes are cut short, too long, or name anything this build does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let truncated = |needed| MessageError::Truncated { needed, have: bytes.len() };
        let (envelope, payload) = Envelope::ref_from_prefix(bytes).map_err(|_| truncated(ENVELOPE_LEN))?;
        if envelope.magic != MAGIC {
            return Err(MessageError::Magic);
        }
        if envelope.version != VERSION {
            return Err(MessageError::Version(envelope.version));
        }
        let kind = message_type(envelope)?;
        let payload_len = envelope.payload_len.get() as usize;
        if payload_len > PAYLOAD_MAX {
            return Err(MessageError::TooLong(payload_len));
        }
        let (payload, rest) =
            payload.split_at_checked(payload_len).ok_or_else(|| truncated(ENVELOPE_LEN + payload_len))?;
        if !rest.is_empty() {
            return Err(MessageError::LeftOver(rest.len()));
        }
        let producer = envelope.producer.get();
        let priority = envelope.priority;
        let message = Self {
            id: MessageId {
                producer: EngineName::from_number(producer).ok_or(MessageError::Producer(producer))?,
                epoch: envelope.epoch.get(),
                sequence: envelope.sequence.get(),
            },
            ts: UnixNanos(envelope.ts_ns.get()),
            correlation_id: envelope.correlation_id.get(),
            priority: *Priority::ALL.get(usize::from(priority)).ok_or(MessageError::Priority(priority))?,
            body: body(kind, payload)?,
        };
        match message.body.not_finite() {
            Some(field) => Err(MessageError::NotFinite { kind: kind.as_str(), field }),
            None => Ok(message),
        }
    }
}

fn message_type(envelope: &Envelope) -> Result<MessageType, MessageError> {
    let number = envelope.message_type.get();
    let kind =
        MessageType::ALL.into_iter().find(|kind| *kind as u16 == number).ok_or(MessageError::Type(number))?;
    let schema = envelope.schema.get();
    if schema != kind.schema() {
        return Err(MessageError::Schema { kind: kind.as_str(), schema, known: kind.schema() });
    }
    Ok(kind)
}

fn body(kind: MessageType, payload: &[u8]) -> Result<Body, MessageError> {
    fn read<'a, T: Deserialize<'a>>(kind: MessageType, payload: &'a [u8]) -> Result<T, MessageError> {
        match postcard::take_from_bytes(payload) {
            Ok((value, [])) => Ok(value),
            _ => Err(MessageError::Payload(kind.as_str())),
        }
    }
    Ok(match kind {
        MessageType::VpinUpdate => Body::VpinUpdate(read(kind, payload)?),
        MessageType::ToxicityAlert => Body::ToxicityAlert(read(kind, payload)?),
        MessageType::VpinRequest => Body::VpinRequest(read(kind, payload)?),
        MessageType::VpinResponse => Body::VpinResponse(read(kind, payload)?),
        MessageType::EngineHealth => Body::EngineHealth(read(kind, payload)?),
        MessageType::FeatureVector => Body::FeatureVector(read(kind, payload)?),
        MessageType::OrderRequest => Body::OrderRequest(read(kind, payload)?),
        MessageType::OrderDecision => Body::OrderDecision(read(kind, payload)?),
        MessageType::PositionChange => Body::PositionChange(read(kind, payload)?),
        MessageType::RiskMetric => Body::RiskMetric(read(kind, payload)?),
        MessageType::RiskAlert => Body::RiskAlert(read(kind, payload)?),
    })
}
