//! Mesh messages byte by byte: golden layouts, what is refused and why, and that no bytes panic.

use nautilus_messages::EngineName;
use nautilus_messages::mesh::{
    AlertKind, AlertLevel, Body, Classification, Desk, ENVELOPE_LEN, EngineHealth, FEATURES_MAX,
    FeatureValues, FeatureVector, Message, MessageError, MessageId, MessageType, OrderAction, OrderDecision,
    OrderRequest, PAYLOAD_MAX, PositionChange, Priority, Reason, Reasons, RiskAlert, RiskMetric, Scope,
    ToxicityAlert, ToxicityLevel, Uid, VpinRequest, VpinResponse, VpinUpdate,
};
use nautilus_types::{Money, Quantity, Side, UnixNanos};
use proptest::prelude::*;

fn update() -> VpinUpdate {
    VpinUpdate {
        instrument: "ESH4".parse().unwrap(),
        classification: Classification::BulkStudentT,
        bucket: 300,
        ts_event: UnixNanos(0x1122_3344_5566_7788),
        vpin: Some(0.25),
        cdf: None,
    }
}

fn features(values: impl Into<FeatureValues>) -> FeatureVector {
    FeatureVector {
        set: "core".parse().unwrap(),
        instrument: "ESH4".parse().unwrap(),
        definition: 0x8877_6655_4433_2211,
        ts_event: UnixNanos(2),
        sequence: 300,
        values: values.into(),
    }
}

fn message(body: Body) -> Message {
    Message {
        id: MessageId { producer: EngineName::Vpin, epoch: 0x0102_0304_0506_0708, sequence: 9 },
        ts: UnixNanos(0x1122_3344_5566_7799),
        correlation_id: 0xF0E0_D0C0_B0A0_9080_7060_5040_3020_1000,
        priority: Priority::Urgent,
        body,
    }
}

fn one_of_each() -> [Message; MessageType::ALL.len()] {
    let alert = ToxicityAlert {
        instrument: "ESH4".parse().unwrap(),
        classification: Classification::Aggressor,
        previous: ToxicityLevel::Low,
        level: ToxicityLevel::High,
        vpin: 0.5,
        cdf: 0.96875,
        ts_event: UnixNanos(1),
    };
    let instrument = "ESH4".parse().unwrap();
    [
        message(Body::VpinUpdate(update())),
        message(Body::ToxicityAlert(alert)),
        message(Body::VpinRequest(VpinRequest { instrument })),
        message(Body::VpinResponse(VpinResponse { instrument, latest: Some(update()) })),
        message(Body::EngineHealth(EngineHealth {
            engine: EngineName::Websocket,
            uptime_ms: 60_000,
            steps: 300,
            star_read: 5,
            star_missed: 0,
            mesh_handled: 1,
        })),
        message(Body::FeatureVector(features(vec![Some(0.25), None, Some(-1.0)]))),
        message(Body::OrderRequest(order())),
        message(Body::OrderDecision(OrderDecision {
            order_id: order().order_id,
            accepted: false,
            reasons: Reason::Halted.into(),
            warnings: Reasons::NONE,
        })),
        message(Body::PositionChange(execution())),
        message(Body::RiskMetric(metric())),
        message(Body::RiskAlert(RiskAlert {
            scope: Scope {
                portfolio: Some(order().desk.portfolio),
                book: Some(order().desk.book),
                strategy: None,
            },
            kind: AlertKind::DailyLoss,
            level: AlertLevel::Hard,
            limit: Some(Money::from_nanos(8)),
            used: None,
            ts_event: UnixNanos(5),
        })),
    ]
}

fn order() -> OrderRequest {
    OrderRequest {
        order_id: Uid(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10),
        desk: Desk {
            portfolio: "main".parse().unwrap(),
            book: "index".parse().unwrap(),
            strategy: "carry".parse().unwrap(),
        },
        instrument: "ESH4".parse().unwrap(),
        action: OrderAction::New {
            side: Side::Sell,
            quantity: Quantity::from_units(3).unwrap(),
            limit_price: Some("4810.25".parse().unwrap()),
        },
    }
}

fn execution() -> PositionChange {
    PositionChange {
        desk: order().desk,
        instrument: order().instrument,
        order_id: Some(order().order_id),
        venue: "GLBX".parse().unwrap(),
        trade_id: Uid(7),
        side: Side::Buy,
        quantity: Quantity::from_units(2).unwrap(),
        price: "-0.25".parse().unwrap(),
        fee: "1.25".parse().unwrap(),
        done: true,
        ts_event: UnixNanos(3),
    }
}

fn metric() -> RiskMetric {
    RiskMetric {
        portfolio: order().desk.portfolio,
        ts_event: UnixNanos(4),
        confidence: 0.96875,
        var: Some(0.25),
        es: None,
        gross: Money::from_nanos(5),
        net: Money::from_nanos(-6),
        pnl: Money::from_nanos(7),
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Producer, reserved, epoch, sequence, time, correlation id and the reserved tail of every message made here.
const TAIL: &str = "0200000008070605040302010900000000000000997766554433221100102030405060708090a0b0c0d0e0f00000000000000000";

#[test]
fn every_type_has_its_golden_bytes() {
    let update = "0445534834 01 ac02 88ef99abc5e88c9111 01000000000000d03f 00";
    let golden = [
        format!("4e4d0103 0100 0100 1b000000 {TAIL} {update}"),
        format!(
            "4e4d0103 0200 0100 19000000 {TAIL} 0445534834 02 00 02 000000000000e03f 000000000000ef3f 01"
        ),
        format!("4e4d0103 0300 0100 05000000 {TAIL} 0445534834"),
        format!("4e4d0103 0400 0100 21000000 {TAIL} 0445534834 01 {update}"),
        format!("4e4d0103 0500 0100 09000000 {TAIL} 02 e0d403 ac02 05 00 01"),
        format!(
            "4e4d0103 0600 0100 2b000000 {TAIL} 04636f7265 0445534834 91c4cca1d4cad9bb8801 02 ac02
             03 01 05 02 000000000000d03f 000000000000f0bf"
        ),
        format!(
            "4e4d0103 0700 0100 37000000 {TAIL} 909eb8e8c0e1828589909cb0d080c1818202046d61696e05696e6465780563617272790445534834000180f882ad160180daf093ff9702"
        ),
        format!("4e4d0103 0800 0100 15000000 {TAIL} 909eb8e8c0e1828589909cb0d080c1818202002000"),
        format!(
            "4e4d0103 0900 0100 41000000 {TAIL} 046d61696e05696e646578056361727279044553483401909eb8e8c0e1828589909cb0d080c181820204474c4258070080d0acf30effc9b5ee0180f28ba8090103"
        ),
        format!("4e4d0103 0a00 0100 1b000000 {TAIL} 046d61696e04000000000000ef3f01000000000000d03f000a0b0e"),
        format!("4e4d0103 0b00 0100 14000000 {TAIL} 01046d61696e0105696e64657800040201100005"),
    ];
    for ((message, golden), kind) in one_of_each().iter().zip(golden).zip(MessageType::ALL) {
        let bytes = encoded(message);
        assert_eq!(hex(&bytes), golden.replace([' ', '\n'], ""), "{}", kind.as_str());
        assert_eq!(message.body.message_type(), kind);
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(message));
    }
}

#[test]
fn every_type_is_a_seed_of_the_fuzzer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/mesh");
    for message in one_of_each() {
        let file = folder.join(message.body.message_type().as_str()).with_extension("bin");
        let seed = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(hex(&seed), hex(&encoded(&message)), "write these bytes to {}", file.display());
    }
}

#[test]
fn an_identity_is_one_number() {
    let id = MessageId { producer: EngineName::Vpin, epoch: 0x0A, sequence: 0x0B };
    assert_eq!(id.as_u128(), 0x0000_0000_0000_000A_0002_0000_0000_000B);
}

#[test]
fn every_length_that_is_too_short_is_refused_and_says_how_short() {
    for message in one_of_each() {
        let bytes = encoded(&message);
        for have in 0..bytes.len() {
            let needed = if have < ENVELOPE_LEN { ENVELOPE_LEN } else { bytes.len() };
            assert_eq!(Message::decode(&bytes[..have]), Err(MessageError::Truncated { needed, have }));
        }
        let left_over = [bytes.as_slice(), &[1, 2]].concat();
        assert_eq!(Message::decode(&left_over), Err(MessageError::LeftOver(2)));
    }
}

#[test]
fn what_this_build_does_not_know_is_refused_with_the_reason() {
    let too_long = u32::try_from(PAYLOAD_MAX + 1).unwrap();
    let schema = MessageError::Schema { kind: "vpin_update", schema: 2, known: 1 };
    let payload = || MessageError::Payload("vpin_update");
    for (at, bytes, error) in [
        (0, &b"XM"[..], MessageError::Magic),
        (1, b"N", MessageError::Magic),
        (2, &[2], MessageError::Version(2)),
        (3, &[5], MessageError::Priority(5)),
        (3, &[255], MessageError::Priority(255)),
        (4, &[0, 0], MessageError::Type(0)),
        (4, &[99, 1], MessageError::Type(355)),
        (6, &[2, 0], schema),
        (8, &too_long.to_le_bytes(), MessageError::TooLong(PAYLOAD_MAX + 1)),
        (8, &[28], MessageError::Truncated { needed: 92, have: 91 }),
        (8, &[26], MessageError::LeftOver(1)),
        (12, &[0, 0], MessageError::Producer(0)),
        (12, &[6, 0], MessageError::Producer(6)),
        // An empty symbol, one with a character that is not allowed, one that is no UTF-8, an unknown
        // classification and an option that is neither there nor absent.
        (64, &[0], payload()),
        (65, b"/", payload()),
        (65, &[0xC3], payload()),
        (69, &[9], payload()),
        (81, &[2], payload()),
    ] {
        let mut changed = encoded(&one_of_each()[0]);
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(Message::decode(&changed), Err(error), "{bytes:?} at {at}");
    }
}

#[test]
fn a_payload_longer_or_shorter_than_its_schema_is_refused() {
    for message in one_of_each() {
        let bytes = encoded(&message);
        let kind = message.body.message_type().as_str();
        let with_payload = |payload: &[u8]| {
            let mut changed = [&bytes[..ENVELOPE_LEN], payload].concat();
            changed[8..12].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
            Message::decode(&changed)
        };
        let payload = &bytes[ENVELOPE_LEN..];
        assert_eq!(with_payload(payload), Ok(message));
        assert_eq!(with_payload(&[payload, &[0]].concat()), Err(MessageError::Payload(kind)));
        assert_eq!(with_payload(&payload[..payload.len() - 1]), Err(MessageError::Payload(kind)));
        assert_eq!(with_payload(&[]), Err(MessageError::Payload(kind)));
    }
}

#[test]
fn a_number_that_is_not_finite_is_neither_sent_nor_read() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let Body::ToxicityAlert(alert) = one_of_each()[1].body else { panic!("an alert") };
        let latest = Some(VpinUpdate { cdf: Some(value), ..update() });
        for (body, kind, field) in [
            (Body::FeatureVector(features(vec![Some(1.0), None, Some(value)])), "feature_vector", "values"),
            (Body::RiskMetric(RiskMetric { es: Some(value), ..metric() }), "risk_metric", "es"),
            (Body::VpinUpdate(VpinUpdate { vpin: Some(value), ..update() }), "vpin_update", "vpin"),
            (Body::VpinUpdate(VpinUpdate { cdf: Some(value), ..update() }), "vpin_update", "cdf"),
            (Body::ToxicityAlert(ToxicityAlert { vpin: value, ..alert }), "toxicity_alert", "vpin"),
            (Body::ToxicityAlert(ToxicityAlert { cdf: value, ..alert }), "toxicity_alert", "cdf"),
            (
                Body::VpinResponse(VpinResponse { instrument: alert.instrument, latest }),
                "vpin_response",
                "cdf",
            ),
        ] {
            let mut bytes = vec![7];
            let error = message(body).encode(&mut bytes).unwrap_err();
            assert_eq!(error, MessageError::NotFinite { kind, field });
            assert_eq!(bytes, [7], "nothing is appended");
        }
        let mut bytes = encoded(&one_of_each()[0]);
        bytes[82..90].copy_from_slice(&value.to_le_bytes());
        let error = MessageError::NotFinite { kind: "vpin_update", field: "vpin" };
        assert_eq!(Message::decode(&bytes), Err(error));
        let mut bytes = encoded(&one_of_each()[5]);
        let last = bytes.len() - 8;
        bytes[last..].copy_from_slice(&value.to_le_bytes());
        let error = MessageError::NotFinite { kind: "feature_vector", field: "values" };
        assert_eq!(Message::decode(&bytes), Err(error));
    }
}

#[test]
fn as_many_features_as_may_be_fit_and_no_more() {
    let all: Vec<_> = (0..FEATURES_MAX).map(|column| Some(column as f64)).collect();
    let full = message(Body::FeatureVector(features(all.clone())));
    let bytes = encoded(&full);
    assert!(bytes.len() < FEATURES_MAX * 8 + FEATURES_MAX / 8 + 128, "{} bytes", bytes.len());
    assert_eq!(Message::decode(&bytes), Ok(full));
    let mut over = all;
    over.push(None);
    let mut bytes = Vec::new();
    let error = message(Body::FeatureVector(features(over))).encode(&mut bytes).unwrap_err();
    assert_eq!((error, bytes), (MessageError::Payload("feature_vector"), Vec::new()));
}

#[test]
fn a_vector_whose_parts_do_not_agree_is_refused() {
    let good = encoded(&one_of_each()[5]);
    let count_at = good.len() - 16 - 4;
    // Count, bytes of the bitmap, the bitmap, values.
    assert_eq!(good[count_at..count_at + 4], [3, 1, 5, 2]);
    for (at, value) in [(0, 2), (0, 9), (2, 4), (2, 7), (2, 0b1000_0001)] {
        let mut changed = good.clone();
        changed[count_at + at] = value;
        assert_eq!(
            Message::decode(&changed),
            Err(MessageError::Payload("feature_vector")),
            "{value} at {at}"
        );
    }
    // A bit moved to another column is another vector.
    let mut moved = good;
    moved[count_at + 2] = 0b110;
    let Body::FeatureVector(vector) = Message::decode(&moved).unwrap().body else { panic!("a vector") };
    assert_eq!(vector.values[..], [None, Some(0.25), Some(-1.0)]);
}

#[test]
fn features_are_an_array_with_nulls_in_json() {
    let vector = features(vec![Some(0.25), None, Some(-1.0)]);
    let text = serde_json::to_string(&vector).unwrap();
    assert_eq!(
        text,
        r#"{"set":"core","instrument":"ESH4","definition":9833440827789222417,"ts_event":2,"sequence":300,"values":[0.25,null,-1.0]}"#
    );
    assert_eq!(serde_json::from_str::<FeatureVector>(&text).unwrap(), vector);
}

#[test]
fn routing_names_every_consumer_once() {
    for engine in EngineName::ALL {
        for kind in MessageType::consumed_by(engine) {
            assert_eq!(kind.consumers().iter().filter(|name| **name == engine).count(), 1);
        }
    }
    let consumed = |engine| MessageType::consumed_by(engine).collect::<Vec<_>>();
    assert_eq!(consumed(EngineName::Vpin), [MessageType::VpinRequest]);
    let streamed = [
        MessageType::VpinUpdate,
        MessageType::ToxicityAlert,
        MessageType::EngineHealth,
        MessageType::RiskMetric,
        MessageType::RiskAlert,
    ];
    assert_eq!(consumed(EngineName::Websocket), streamed);
}

fn finite() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite())
}

fn updates() -> impl Strategy<Value = VpinUpdate> {
    let symbol = "[A-Za-z0-9.:_-]{1,24}".prop_map(|text| text.parse().unwrap());
    let classification = proptest::sample::select(Classification::ALL.to_vec());
    let optional = || proptest::option::of(finite());
    (symbol, classification, any::<u64>(), any::<u64>(), optional(), optional()).prop_map(
        |(instrument, classification, bucket, ts, vpin, cdf)| VpinUpdate {
            instrument,
            classification,
            bucket,
            ts_event: UnixNanos(ts),
            vpin,
            cdf,
        },
    )
}

fn vectors() -> impl Strategy<Value = FeatureVector> {
    let set = "[A-Za-z0-9._-]{1,32}".prop_map(|text| text.parse().unwrap());
    let values = proptest::collection::vec(proptest::option::of(finite()), 0..40);
    (set, updates(), any::<u64>(), any::<u64>(), values).prop_map(
        |(set, update, definition, sequence, values)| FeatureVector {
            set,
            instrument: update.instrument,
            definition,
            ts_event: update.ts_event,
            sequence,
            values: values.into(),
        },
    )
}

fn bodies() -> impl Strategy<Value = Body> {
    let levels = [ToxicityLevel::Low, ToxicityLevel::Moderate, ToxicityLevel::High];
    let level = move || proptest::sample::select(levels.to_vec());
    let alert =
        (updates(), level(), level(), finite(), finite()).prop_map(|(update, previous, level, vpin, cdf)| {
            let VpinUpdate { instrument, classification, ts_event, .. } = update;
            Body::ToxicityAlert(ToxicityAlert {
                instrument,
                classification,
                previous,
                level,
                vpin,
                cdf,
                ts_event,
            })
        });
    prop_oneof![
        updates().prop_map(Body::VpinUpdate),
        vectors().prop_map(Body::FeatureVector),
        alert,
        updates().prop_map(|update| Body::VpinRequest(VpinRequest { instrument: update.instrument })),
        (updates(), any::<bool>()).prop_map(|(update, known)| {
            Body::VpinResponse(VpinResponse {
                instrument: update.instrument,
                latest: known.then_some(update),
            })
        }),
        (any::<[u64; 5]>(), 0..EngineName::ALL.len()).prop_map(|([a, b, c, d, e], engine)| {
            let engine = EngineName::ALL[engine];
            let (uptime_ms, steps, star_read) = (a, b, c);
            let (star_missed, mesh_handled) = (d, e);
            Body::EngineHealth(EngineHealth {
                engine,
                uptime_ms,
                steps,
                star_read,
                star_missed,
                mesh_handled,
            })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn messages_round_trip(body in bodies(), epoch: u64, sequence: u64, ts: u64, correlation_id: u128, urgent: bool) {
        let message = Message {
            id: MessageId { producer: EngineName::Marketdata, epoch, sequence },
            ts: UnixNanos(ts),
            correlation_id,
            priority: if urgent { Priority::Critical } else { Priority::Low },
            body,
        };
        prop_assert_eq!(Message::decode(&encoded(&message)), Ok(message));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50_000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn no_damaged_message_panics_and_what_is_read_can_be_sent(
        which in 0..MessageType::ALL.len(), damage in proptest::collection::vec((0_usize..200, any::<u8>()), 1..6), cut in 0_usize..200,
    ) {
        let mut bytes = encoded(&one_of_each()[which]);
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        // Most stay whole: a cut is refused before anything else is looked at.
        if cut < 40 {
            bytes.truncate(cut);
        }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&encoded(&message)), Ok(message));
        }
    }
}
