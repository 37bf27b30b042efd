//! The live engine: equal to the batch calculation, whatever the batch size and however often it was restarted.
//!
//! It feeds frames and looks at effects and views, as the service does.

mod tape;

use nautilus_engine::replay::{Plan, run};
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_vpin::{
    BatchAnswer, BatchRequest, BatchTrade, BucketVolumeSource, Command, Configuration, Rules, VpinEngine,
    VpinView, calculate,
};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, Frames, flags};
use nautilus_messages::mesh::{
    Body, Classification, Message, MessageId, Priority, ToxicityLevel, VpinRequest,
};
use nautilus_messages::record::{Record, VpinBucket};
use nautilus_types::{NANOS_PER_DAY, Quantity, Side, Symbol, UnixNanos};
use tape::{definition, frames, gap_frame, request, tape, trade, trade_frame};
use zerocopy::IntoBytes;

fn configuration() -> Configuration {
    Configuration {
        window: 7,
        calibration_trades: 40,
        sigma_bars: 30,
        average_days: 2,
        ..Configuration::default()
    }
}

fn engine() -> VpinEngine {
    VpinEngine::new(configuration(), []).unwrap()
}

fn feed(engine: &mut VpinEngine, bytes: &[u8]) -> Effects {
    let mut out = Effects::default();
    for frame in Frames::new(bytes) {
        engine.step(Stamp::default(), Input::Frame(frame.unwrap()), &mut out);
    }
    out
}

fn command(engine: &mut VpinEngine, instrument: &str, configuration: Configuration) -> Effects {
    let mut out = Effects::default();
    let instrument = instrument.parse().unwrap();
    engine.step(Stamp::default(), Input::Command(Command::Configure { instrument, configuration }), &mut out);
    out
}

fn views(engine: &mut VpinEngine) -> Vec<(Symbol, VpinView)> {
    let mut views = Vec::new();
    engine.publish(&mut |symbol, view| views.push((symbol, view)));
    views
}

fn stored(effects: &Effects, classification: Classification) -> Vec<VpinBucket> {
    let bucket = |record: &Record| match record {
        Record::VpinBucket(bucket) if bucket.classification == classification => Some(*bucket),
        _ => None,
    };
    effects.records.iter().filter_map(bucket).collect()
}

fn batch(trades: &[BatchTrade], classification: Classification) -> BatchAnswer {
    let asked = BatchRequest {
        classification: Some(classification),
        window: Some(7),
        calibration_trades: Some(40),
        sigma_bars: Some(30),
        average_days: Some(2),
        rules: Rules::Trailing,
        ..request(trades.to_vec())
    };
    calculate(&asked).unwrap()
}

/// Three days, so that calibrated and averaged bucket volumes both occur.
fn three_days() -> Vec<BatchTrade> {
    tape(11, 2_500, 100)
}

#[test]
fn streaming_equals_batch_to_the_bit_whatever_the_plan() {
    let trades = three_days();
    assert!(trades.last().unwrap().ts_ns > tape::START_NS + 2 * NANOS_PER_DAY);
    let bytes = frames(1, "ESH4", &trades);
    let reference = run(engine, &bytes, Plan { batch: 1, restart_every: None }).unwrap();
    for (batch_size, restart_every) in
        [(7, None), (1_000, None), (64, Some(1)), (13, Some(500)), (100_000, Some(777))]
    {
        let outcome = run(engine, &bytes, Plan { batch: batch_size, restart_every }).unwrap();
        assert_eq!(outcome, reference, "batches of {batch_size}, restarts every {restart_every:?}");
    }
    for classification in Classification::ALL {
        let streamed = stored(&reference.effects, classification);
        let answer = batch(&trades, classification);
        assert!(streamed.len() > 100, "{}", streamed.len());
        assert_eq!(streamed.len(), answer.buckets.len());
        for (live, calculated) in streamed.iter().zip(&answer.buckets) {
            assert_eq!(live.ts_close.0, calculated.ts_close_ns);
            assert_eq!(
                (live.buy.to_bits(), live.sell.to_bits()),
                (calculated.buy.to_bits(), calculated.sell.to_bits())
            );
            assert_eq!(live.vpin.map(f64::to_bits), calculated.vpin.map(f64::to_bits));
        }
    }
}

#[test]
fn views_show_what_was_stored() {
    let trades = three_days();
    let mut engine = engine();
    let effects = feed(&mut engine, &frames(1, "ESH4", &trades));
    let (symbol, view) = views(&mut engine).pop().unwrap();
    assert_eq!((symbol.as_str(), view.trades), ("ESH4", trades.len() as u64));
    assert_eq!(view.bucket_volume_source, BucketVolumeSource::DailyAverage);
    assert!(view.sigma.is_some() && view.bucket_volume.is_some());
    for classification in Classification::ALL {
        let (lane, rows) = (view.lane(classification), stored(&effects, classification));
        assert_eq!(lane.classification, classification);
        assert_eq!(lane.buckets, rows.len() as u64);
        assert_eq!(lane.vpin, rows.last().unwrap().vpin);
        assert!(lane.level.is_some() && lane.cdf.is_some());
        assert!(lane.filled <= lane.bucket_size.unwrap_or_default());
        let shown: Vec<_> =
            lane.history.iter().map(|r| (r.bucket, r.ts_close_ns, r.buy, r.sell, r.vpin)).collect();
        let kept: Vec<_> = rows.iter().map(|b| (b.bucket, b.ts_close, b.buy, b.sell, b.vpin)).collect();
        assert_eq!(shown, kept);
    }
    assert!(views(&mut engine).is_empty(), "only what changed is published");
}

#[test]
fn alerts_follow_every_change_of_level_and_nothing_else() {
    let mut engine = engine();
    let effects = feed(&mut engine, &frames(1, "ESH4", &three_days()));
    let (mut level, mut alerts) = (ToxicityLevel::Low, 0);
    for message in &effects.mesh {
        match &message.body {
            Body::ToxicityAlert(alert) => {
                assert_eq!(message.priority, Priority::High);
                assert_eq!((alert.previous, alert.classification), (level, Classification::BulkNormal));
                assert_ne!(alert.level, level);
                if alert.level > ToxicityLevel::Low {
                    assert!(alert.cdf > if alert.level == ToxicityLevel::High { 0.9 } else { 0.7 });
                }
                (level, alerts) = (alert.level, alerts + 1);
            }
            Body::VpinUpdate(update) => assert!(update.bucket > 0),
            other => panic!("{other:?}"),
        }
    }
    assert!(alerts > 3, "{alerts}");
    let (_, view) = views(&mut engine).pop().unwrap();
    assert_eq!(view.primary().level, Some(level));
}

#[test]
fn a_fixed_bucket_volume_gives_exact_buckets_at_once() {
    let size = Quantity::from_units(10);
    let configuration = Configuration {
        bucket_volume: size,
        window: 2,
        classification: Classification::Aggressor,
        ..Configuration::default()
    };
    let mut engine = VpinEngine::new(configuration, []).unwrap();
    let side = |n: usize| Some(if n == 1 { Side::Sell } else { Side::Buy });
    let trades: Vec<BatchTrade> = [6, 9, 25]
        .iter()
        .enumerate()
        .map(|(n, q)| trade(tape::START_NS, 5, q * 1_000_000_000, side(n)))
        .collect();
    let effects = feed(&mut engine, &frames(3, "X", &trades));
    let rows: Vec<_> =
        stored(&effects, Classification::Aggressor).iter().map(|b| (b.buy, b.sell, b.vpin)).collect();
    // 6 bought and 4 sold; 5 sold and 5 bought; twice 10 bought. (2 + 0)/20, (0 + 10)/20, 20/20.
    assert_eq!(
        rows,
        [(6.0, 4.0, None), (5.0, 5.0, Some(0.1)), (10.0, 0.0, Some(0.5)), (10.0, 0.0, Some(1.0))]
    );
    let (_, view) = views(&mut engine).pop().unwrap();
    assert_eq!((view.bucket_volume, view.primary().buckets), (size, 4));
    assert_eq!((view.primary().bucket_size, view.primary().filled), (None, Quantity::ZERO));
}

#[test]
fn a_configuration_starts_afresh_and_is_stored() {
    let trades = three_days();
    let mut engine = engine();
    feed(&mut engine, &frames(1, "ESH4", &trades));
    let new = Configuration { window: 3, bucket_volume: Quantity::from_units(100), ..configuration() };
    let effects = command(&mut engine, "ESH4", new);
    let [Record::Setting(setting)] = &effects.records[..] else { panic!("{:?}", effects.records) };
    assert_eq!((setting.engine, setting.key.as_str()), (EngineName::Vpin, "ESH4"));
    assert_eq!(Configuration::from_json(&setting.value), Ok(new));
    let (_, view) = views(&mut engine).pop().unwrap();
    assert_eq!((view.configuration, view.trades, view.primary().buckets), (new, 0, 0));

    let mut restarted = VpinEngine::new(
        configuration(),
        [("ESH4".parse().unwrap(), Configuration::from_json(&setting.value).unwrap())],
    )
    .unwrap();
    feed(&mut restarted, definition(1, "ESH4").as_bytes());
    assert_eq!(restarted.digest(), engine.digest());
}

#[test]
fn illegal_commands_are_refused_and_change_nothing() {
    let mut engine = engine();
    feed(&mut engine, definition(1, "ESH4").as_bytes());
    let digest = engine.digest();
    let refused = |engine: &mut VpinEngine, symbol, configuration| {
        let effects = command(engine, symbol, configuration);
        assert!(effects.records.is_empty() && effects.mesh.is_empty());
        effects.refusal.expect("a refusal")
    };
    assert_eq!(refused(&mut engine, "NQH4", configuration()).code, "unknown_instrument");
    let base = configuration();
    for (bad, says) in [
        (Configuration { window: 0, ..base }, "window"),
        (Configuration { bar_seconds: 90_000, ..base }, "bar_seconds"),
        (Configuration { buckets_per_day: 0, ..base }, "buckets_per_day"),
        (Configuration { sigma_bars: 9, ..base }, "sigma_bars"),
        (Configuration { average_days: 0, ..base }, "average_days"),
        (Configuration { calibration_trades: 1, ..base }, "calibration_trades"),
        (Configuration { bucket_volume: Some(Quantity::ZERO), ..base }, "bucket_volume"),
        (Configuration { moderate_above: 0.95, ..base }, "first below the second"),
        (Configuration { high_above: f64::NAN, ..base }, "between 0 and 1"),
    ] {
        let refusal = refused(&mut engine, "ESH4", bad);
        assert_eq!(refusal.code, "invalid_configuration");
        assert!(refusal.detail.contains(says), "{}", refusal.detail);
        assert!(VpinEngine::new(bad, []).is_err());
    }
    assert_eq!(engine.digest(), digest);
    assert!(Configuration::from_json(r#"{"windows":3}"#).is_err());
    assert_eq!(
        Configuration::from_json(r#"{"bucket_volume":2.5}"#).unwrap().bucket_volume,
        "2.5".parse().ok()
    );
}

#[test]
fn requests_are_answered_and_losses_counted() {
    let mut engine = engine();
    let ask = |engine: &mut VpinEngine, symbol: &str| {
        let id = MessageId { producer: EngineName::Marketdata, epoch: 9, sequence: 4 };
        let body = Body::VpinRequest(VpinRequest { instrument: symbol.parse().unwrap() });
        let message = Message { id, ts: UnixNanos(1), correlation_id: 0, priority: Priority::Urgent, body };
        let mut out = Effects::default();
        engine.step(Stamp::default(), Input::Message(&message), &mut out);
        let [sent] = &out.mesh[..] else { panic!("one answer") };
        assert_eq!((sent.correlation_id, sent.priority), (id.as_u128(), Priority::Urgent));
        let Body::VpinResponse(response) = sent.body else { panic!("{:?}", sent.body) };
        response
    };
    assert_eq!(ask(&mut engine, "ESH4").latest, None);
    let effects = feed(&mut engine, &frames(1, "ESH4", &three_days()));
    let last = *stored(&effects, Classification::BulkNormal).last().unwrap();
    let latest = ask(&mut engine, "ESH4").latest.unwrap();
    assert_eq!((latest.bucket, latest.vpin, latest.ts_event), (last.bucket, last.vpin, last.ts_close));

    views(&mut engine);
    feed(&mut engine, gap_frame(1, 10, 12).as_bytes());
    feed(&mut engine, gap_frame(0, 5, 5).as_bytes());
    feed(&mut engine, gap_frame(77, 5, 5).as_bytes());
    let (_, view) = views(&mut engine).pop().unwrap();
    assert_eq!((view.lost, view.lost_on_star), (3, 1));
}

#[test]
fn a_symbol_keeps_its_state_when_it_is_numbered_anew() {
    let trades = three_days();
    let (first, second) = trades.split_at(1_000);
    let mut moved = engine();
    feed(&mut moved, &frames(1, "ESH4", first));
    feed(&mut moved, definition(1, "NQH4").as_bytes());
    let ignored = feed(&mut moved, trade_frame(9, &second[0]).as_bytes());
    assert_eq!(ignored, Effects::default());
    feed(&mut moved, &frames(2, "ESH4", second));
    let (_, view) = views(&mut moved).into_iter().find(|(symbol, _)| symbol.as_str() == "ESH4").unwrap();
    assert_eq!(view.trades, trades.len() as u64);
    let answer = batch(&trades, Classification::TickRule);
    assert_eq!(view.lane(Classification::TickRule).vpin, answer.vpin);
}

/// As a replay begins.
fn start() -> Definition {
    let mut definition = definition(1, "ESH4");
    definition.header = definition.header.with_flags(flags::STARTS_OVER);
    definition
}

#[test]
fn a_session_replayed_again_gives_what_it_gave() {
    let trades = three_days();
    // The whole, and sessions that lie within one bar.
    for length in [trades.len(), 1, 2] {
        let session =
            [start().as_bytes(), &frames(1, "ESH4", &trades[..length])[size_of::<Definition>()..]].concat();
        let mut engine = engine();
        let once = (feed(&mut engine, &session), engine.digest());
        feed(&mut engine, gap_frame(1, 10, 12).as_bytes());
        assert_eq!((feed(&mut engine, &session), engine.digest()), once, "{length}");
    }
}

#[test]
fn a_later_session_goes_on_and_a_late_trade_is_counted() {
    let trades = three_days();
    let mut whole = engine();
    feed(&mut whole, &frames(1, "ESH4", &trades));
    let mut parted = engine();
    feed(&mut parted, &frames(1, "ESH4", &trades[..1_000]));
    feed(&mut parted, start().as_bytes());
    trades[1_000..].iter().for_each(|trade| drop(feed(&mut parted, trade_frame(1, trade).as_bytes())));
    assert_eq!(parted.digest(), whole.digest());
    feed(&mut parted, trade_frame(1, &trades[0]).as_bytes());
    let (_, view) = views(&mut parted).pop().unwrap();
    assert_eq!(view.trades, trades.len() as u64 + 1);
}

#[test]
fn a_bad_snapshot_is_refused_and_changes_nothing() {
    let mut engine = engine();
    feed(&mut engine, &frames(1, "ESH4", &three_days()[..1_500]));
    let (snapshot, digest) = (engine.snapshot(), engine.digest());
    for bad in [&[][..], &[9], &snapshot[..snapshot.len() - 1], &[&snapshot[..], &[0]].concat()] {
        assert!(engine.restore(bad).unwrap_err().to_string().contains("cannot be restored"));
    }
    // Whatever a flipped byte makes of it, a restored engine never panics.
    for at in (1..snapshot.len()).step_by(snapshot.len() / 2_000 + 1) {
        let mut flipped = snapshot.clone();
        flipped[at] ^= 0x55;
        let mut other = self::engine();
        if other.restore(&flipped).is_ok() {
            feed(&mut other, &frames(1, "ESH4", &three_days()[1_500..1_600]));
            views(&mut other);
        }
    }
    assert_eq!(engine.digest(), digest);
}

#[test]
fn one_huge_trade_over_tiny_buckets_is_bounded() {
    let tiny = Configuration { bucket_volume: Some(Quantity::from_nanos(1)), ..configuration() };
    let mut engine = VpinEngine::new(tiny, []).unwrap();
    let huge = trade(tape::START_NS, 1, i64::MAX, Some(Side::Buy));
    let effects = feed(&mut engine, &frames(1, "X", std::slice::from_ref(&huge)));
    assert!(effects.records.len() < 40_000, "{}", effects.records.len());
    let (_, view) = views(&mut engine).pop().unwrap();
    let lane = view.lane(Classification::Aggressor);
    assert_eq!((lane.buckets, lane.vpin, lane.cdf), (i64::MAX as u64, Some(1.0), Some(1.0)));
    assert!(FrameRef::parse(trade_frame(1, &huge).as_bytes()).is_ok());
}
