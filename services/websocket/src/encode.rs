//! How topics look as JSON: updates and snapshots, as `docs/websocket.md` says. It sends nothing and knows no client.

use std::fmt;

use axum::extract::ws::Utf8Bytes;
use nautilus_engine_websocket::{BookChange, Change, Level, Print};
use nautilus_messages::frame::BookState;
use nautilus_messages::mesh::{
    AlertKind, AlertLevel, Classification, EngineHealth, RiskAlert, RiskMetric, ToxicityAlert, ToxicityLevel,
    VpinUpdate,
};
use nautilus_messages::record::BarRecord;
use nautilus_types::{Money, Price, SCALE, Side, UnixNanos};
use serde::{Serialize, Serializer};

/// Where in a topic's history a message belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    /// None for a snapshot.
    pub(crate) prev_seq: Option<u64>,
    pub(crate) ts: UnixNanos,
}

/// The message's text.
pub(crate) fn message(place: Place<'_>, change: &Change, checksum: bool) -> Utf8Bytes {
    let message = Message {
        message_type: if place.prev_seq.is_some() { "update" } else { "snapshot" },
        topic: place.topic,
        epoch: place.epoch,
        seq: place.seq,
        prev_seq: place.prev_seq,
        ts_ns: place.ts,
        data: Data::new(change, checksum),
    };
    let mut text = Vec::with_capacity(256 + 32 * items(change));
    // Neither maps with strange keys nor failing writers: a vector takes everything.
    let written = serde_json::to_writer(&mut text, &message);
    debug_assert!(written.is_ok(), "{written:?}");
    Utf8Bytes::try_from(text).unwrap_or_default()
}

/// How many things a change tells of: what its size grows with.
pub(crate) fn items(change: &Change) -> usize {
    match change {
        Change::Book(book) => book.bids.len() + book.asks.len(),
        Change::Trades(trades) => trades.len(),
        Change::Bars(bars) => 4 * bars.len(),
        Change::Vpin(buckets) => 2 * buckets.len(),
        Change::Alerts(alerts) => 2 * alerts.len(),
        Change::RiskAlerts(alerts) => 4 * alerts.len(),
        Change::Risk(_) | Change::System(_) => 4,
    }
}

#[derive(Serialize)]
struct Message<'a> {
    message_type: &'static str,
    topic: &'a str,
    epoch: u64,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_seq: Option<u64>,
    ts_ns: UnixNanos,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Book(BookShape<'a>),
    Trades { trades: Rows<'a, Print, PrintShape> },
    Bars { bars: Rows<'a, BarRecord, BarShape> },
    Vpin { buckets: Rows<'a, VpinUpdate, BucketShape> },
    Alerts { alerts: Rows<'a, ToxicityAlert, AlertShape> },
    Risk(MetricShape),
    RiskAlerts { alerts: Rows<'a, RiskAlert, RiskAlertShape> },
    System(&'a EngineHealth),
}

impl<'a> Data<'a> {
    fn new(change: &'a Change, checksum: bool) -> Self {
        match change {
            Change::Book(book) => Self::Book(BookShape::new(book, checksum)),
            Change::Trades(trades) => Self::Trades { trades: Rows(trades, PrintShape::new) },
            Change::Bars(bars) => Self::Bars { bars: Rows(bars, BarShape::new) },
            Change::Vpin(buckets) => Self::Vpin { buckets: Rows(buckets, BucketShape::new) },
            Change::Alerts(alerts) => Self::Alerts { alerts: Rows(alerts, AlertShape::new) },
            Change::Risk(metric) => Self::Risk(MetricShape::new(metric)),
            Change::RiskAlerts(alerts) => Self::RiskAlerts { alerts: Rows(alerts, RiskAlertShape::new) },
            Change::System(health) => Self::System(health),
        }
    }
}

/// Written one by one in another shape, without a list in between.
struct Rows<'a, T, S>(&'a [T], fn(&T) -> S);

impl<T, S: Serialize> Serialize for Rows<'_, T, S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

#[derive(Serialize)]
struct BookShape<'a> {
    state: BookState,
    sequence: u64,
    cleared: bool,
    bids: Rows<'a, Level, LevelShape>,
    asks: Rows<'a, Level, LevelShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<u32>,
}

impl<'a> BookShape<'a> {
    fn new(book: &'a BookChange, checksum: bool) -> Self {
        Self {
            state: book.state,
            sequence: book.sequence,
            cleared: book.cleared,
            bids: Rows(&book.bids, LevelShape::new),
            asks: Rows(&book.asks, LevelShape::new),
            checksum: checksum.then_some(book.checksum),
        }
    }
}

/// Price, quantity, orders.
#[derive(Serialize)]
struct LevelShape(Decimal, Decimal, u32);

impl LevelShape {
    fn new(level: &Level) -> Self {
        Self(Decimal(level.price.nanos()), Decimal(level.quantity.nanos()), level.orders)
    }
}

#[derive(Serialize)]
struct PrintShape {
    sequence: u64,
    ts_event_ns: UnixNanos,
    price: Decimal,
    quantity: Decimal,
    aggressor: Option<Side>,
}

impl PrintShape {
    fn new(print: &Print) -> Self {
        Self {
            sequence: print.sequence,
            ts_event_ns: print.ts_event,
            price: Decimal(print.price.nanos()),
            quantity: Decimal(print.quantity.nanos()),
            aggressor: print.aggressor,
        }
    }
}

#[derive(Serialize)]
struct BarShape {
    ts_open_ns: UnixNanos,
    ts_close_ns: UnixNanos,
    open: Price,
    high: Price,
    low: Price,
    close: Price,
    volume: Money,
    volume_buy: Money,
    volume_sell: Money,
    trades: u32,
    vwap: Option<Price>,
}

impl BarShape {
    fn new(bar: &BarRecord) -> Self {
        Self {
            ts_open_ns: bar.ts_open,
            ts_close_ns: bar.ts_close,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: bar.volume,
            volume_buy: bar.volume_buy,
            volume_sell: bar.volume_sell,
            trades: bar.trades,
            vwap: bar.vwap,
        }
    }
}

#[derive(Serialize)]
struct BucketShape {
    classification: Classification,
    bucket: u64,
    ts_event_ns: UnixNanos,
    vpin: Option<f64>,
    cdf: Option<f64>,
}

impl BucketShape {
    fn new(update: &VpinUpdate) -> Self {
        Self {
            classification: update.classification,
            bucket: update.bucket,
            ts_event_ns: update.ts_event,
            vpin: update.vpin,
            cdf: update.cdf,
        }
    }
}

#[derive(Serialize)]
struct AlertShape {
    classification: Classification,
    previous: ToxicityLevel,
    level: ToxicityLevel,
    vpin: f64,
    cdf: f64,
    ts_event_ns: UnixNanos,
}

impl AlertShape {
    fn new(alert: &ToxicityAlert) -> Self {
        Self {
            classification: alert.classification,
            previous: alert.previous,
            level: alert.level,
            vpin: alert.vpin,
            cdf: alert.cdf,
            ts_event_ns: alert.ts_event,
        }
    }
}

#[derive(Serialize)]
struct MetricShape {
    ts_event_ns: UnixNanos,
    confidence: f64,
    var: Option<f64>,
    es: Option<f64>,
    gross: Money,
    net: Money,
    pnl: Money,
}

impl MetricShape {
    fn new(metric: &RiskMetric) -> Self {
        Self {
            ts_event_ns: metric.ts_event,
            confidence: metric.confidence,
            var: metric.var,
            es: metric.es,
            gross: metric.gross,
            net: metric.net,
            pnl: metric.pnl,
        }
    }
}

#[derive(Serialize)]
struct RiskAlertShape {
    scope: String,
    kind: AlertKind,
    level: AlertLevel,
    limit: Option<Money>,
    used: Option<Money>,
    ts_event_ns: UnixNanos,
}

impl RiskAlertShape {
    fn new(alert: &RiskAlert) -> Self {
        Self {
            scope: alert.scope.to_string(),
            kind: alert.kind,
            level: alert.level,
            limit: alert.limit,
            used: alert.used,
            ts_event_ns: alert.ts_event,
        }
    }
}

/// Billionths, written as `Price` and `Quantity` write themselves but without a text of their own: a book has
/// thousands of them.
struct Decimal(i64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = SCALE.unsigned_abs();
        let magnitude = self.0.unsigned_abs();
        let (mut whole, mut fraction) = (magnitude / scale, magnitude % scale);
        // Written from the last digit on: a sign, ten digits, the point and nine more.
        let mut digits = [0; 21];
        let mut at = digits.len();
        let mut put = |digit: u8| {
            at -= 1;
            digits[at] = digit;
        };
        let digit = |number: u64| b'0' + u8::try_from(number % 10).unwrap_or_default();
        if fraction > 0 {
            let mut decimals = 9;
            while fraction.is_multiple_of(10) {
                (fraction, decimals) = (fraction / 10, decimals - 1);
            }
            for _ in 0..decimals {
                put(digit(fraction));
                fraction /= 10;
            }
            put(b'.');
        }
        loop {
            put(digit(whole));
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        if self.0 < 0 {
            put(b'-');
        }
        f.write_str(std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use nautilus_messages::EngineName;
    use nautilus_messages::mesh::Scope;
    use nautilus_types::Quantity;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decimals_are_written_as_prices_write_themselves(nanos: i64, places in 0_u32..19) {
            for nanos in [nanos, nanos / 10_i64.pow(places), nanos / SCALE * SCALE] {
                prop_assert_eq!(Decimal(nanos).to_string(), Price::from_nanos(nanos).to_string());
            }
        }
    }

    #[test]
    fn extreme_decimals_fit() {
        for nanos in [0, 1, -1, SCALE, -SCALE, i64::MIN, i64::MAX, 4_810_250_000_000] {
            assert_eq!(Decimal(nanos).to_string(), Price::from_nanos(nanos).to_string());
        }
    }

    fn text(change: &Change, prev_seq: Option<u64>, checksum: bool) -> String {
        let place = Place { topic: "t", epoch: 7, seq: 9, prev_seq, ts: UnixNanos(5) };
        message(place, change, checksum).to_string()
    }

    #[test]
    fn books_look_as_documented() {
        let level = |price: &str, quantity: &str, orders| Level {
            price: price.parse().unwrap(),
            quantity: quantity.parse::<Quantity>().unwrap(),
            orders,
        };
        let book = Change::Book(BookChange {
            state: BookState::Live,
            sequence: 3,
            cleared: false,
            bids: vec![level("4810", "22", 3), level("-0.5", "0", 0)],
            asks: vec![],
            checksum: 99,
        });
        let expected = r#"{"message_type":"update","topic":"t","epoch":7,"seq":9,"prev_seq":8,"ts_ns":5,"data":{"state":"live","sequence":3,"cleared":false,"bids":[["4810","22",3],["-0.5","0",0]],"asks":[],"checksum":99}}"#;
        assert_eq!(text(&book, Some(8), true), expected);
        let snapshot = text(&book, None, false);
        assert!(
            snapshot.starts_with(r#"{"message_type":"snapshot","topic":"t","epoch":7,"seq":9,"ts_ns":5"#)
        );
        assert!(!snapshot.contains("checksum") && !snapshot.contains("prev_seq"), "{snapshot}");
    }

    #[test]
    fn topics_of_risk_look_as_documented() {
        let name = |text: &str| text.parse().unwrap();
        let money = |text: &str| text.parse::<Money>().unwrap();
        let metric = RiskMetric {
            portfolio: name("main"),
            ts_event: UnixNanos(4),
            confidence: 0.99,
            var: Some(1_234.5),
            es: None,
            gross: money("19234.5"),
            net: money("-19234.5"),
            pnl: money("0.1"),
        };
        let scope = Scope { portfolio: Some(name("main")), book: Some(name("index")), strategy: None };
        let alert = RiskAlert {
            scope,
            kind: AlertKind::DailyLoss,
            level: AlertLevel::Hard,
            limit: Some(money("100")),
            used: Some(money("100.5")),
            ts_event: UnixNanos(4),
        };
        let (limit, used, kind) = (None, None, AlertKind::KillSwitch);
        let stopped =
            RiskAlert { scope: Scope::default(), kind, level: AlertLevel::Cleared, limit, used, ..alert };
        for (change, expected) in [
            (
                Change::Risk(metric),
                r#"{"ts_event_ns":4,"confidence":0.99,"var":1234.5,"es":null,"gross":"19234.5","net":"-19234.5","pnl":"0.1"}"#,
            ),
            (
                Change::RiskAlerts(vec![alert, stopped]),
                r#"{"alerts":[{"scope":"main/index","kind":"daily_loss","level":"hard","limit":"100","used":"100.5","ts_event_ns":4},{"scope":"firm","kind":"kill_switch","level":"cleared","limit":null,"used":null,"ts_event_ns":4}]}"#,
            ),
        ] {
            let text = text(&change, Some(8), false);
            assert!(text.ends_with(&format!("\"data\":{expected}}}")), "{text}");
        }
    }

    #[test]
    fn the_other_topics_look_as_documented() {
        let symbol = "ESH4".parse().unwrap();
        let (ts_event, classification) = (UnixNanos(4), Classification::BulkNormal);
        let price: Price = "1.25".parse().unwrap();
        let money: Money = "10".parse().unwrap();
        let print = Print { sequence: 1, ts_event, price, quantity: "2".parse().unwrap(), aggressor: None };
        let bar = BarRecord {
            instrument: symbol,
            unit: nautilus_messages::frame::BarUnit::Time,
            interval: 1,
            ts_open: UnixNanos(1),
            ts_close: UnixNanos(2),
            open: price,
            high: price,
            low: price,
            close: price,
            vwap: None,
            volume: money,
            volume_buy: money,
            volume_sell: money,
            trades: 12,
        };
        let bucket = VpinUpdate {
            instrument: symbol,
            classification,
            bucket: 51,
            ts_event,
            vpin: Some(0.5),
            cdf: None,
        };
        let (previous, level) = (ToxicityLevel::Moderate, ToxicityLevel::High);
        let alert = ToxicityAlert {
            instrument: symbol,
            classification,
            previous,
            level,
            vpin: 0.25,
            cdf: 1.0,
            ts_event,
        };
        let health = EngineHealth {
            engine: EngineName::Vpin,
            uptime_ms: 1,
            steps: 2,
            star_read: 3,
            star_missed: 4,
            mesh_handled: 5,
        };
        for (change, expected) in [
            (
                Change::Trades(vec![print]),
                r#"{"trades":[{"sequence":1,"ts_event_ns":4,"price":"1.25","quantity":"2","aggressor":null}]}"#,
            ),
            (
                Change::Bars(vec![bar]),
                r#"{"bars":[{"ts_open_ns":1,"ts_close_ns":2,"open":"1.25","high":"1.25","low":"1.25","close":"1.25","volume":"10","volume_buy":"10","volume_sell":"10","trades":12,"vwap":null}]}"#,
            ),
            (
                Change::Vpin(vec![bucket]),
                r#"{"buckets":[{"classification":"bulk_normal","bucket":51,"ts_event_ns":4,"vpin":0.5,"cdf":null}]}"#,
            ),
            (
                Change::Alerts(vec![alert]),
                r#"{"alerts":[{"classification":"bulk_normal","previous":"moderate","level":"high","vpin":0.25,"cdf":1.0,"ts_event_ns":4}]}"#,
            ),
            (
                Change::System(health),
                r#"{"engine":"vpin","uptime_ms":1,"steps":2,"star_read":3,"star_missed":4,"mesh_handled":5}"#,
            ),
        ] {
            let text = text(&change, Some(8), true);
            assert!(text.ends_with(&format!("\"data\":{expected}}}")), "{text}");
        }
    }
}
