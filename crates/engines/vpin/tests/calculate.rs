//! The batch calculation: published values, properties and refusals.
//!
//! It looks at requests and answers only, never at the engine behind them.

mod tape;

use nautilus_engine_vpin::{BatchAnswer, BatchRequest, BatchTrade, Rules, calculate};
use nautilus_messages::mesh::Classification;
use nautilus_testkit::shared_data;
use nautilus_types::Side;
use proptest::prelude::*;
use serde_json::{Value, json};
use tape::{START_NS, request, tape, trade};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// 3,000 synthetic trades and three cases; volumes to 1e-9 of V, VPIN and σ to 1e-9.
#[test]
fn meets_the_golden_values() {
    let Some(path) = shared_data("golden/vpin_golden.json") else { return };
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let trades = &golden["trades"];
    let (prices, volumes) = (numbers(&trades["price"]), numbers(&trades["volume"]));
    let rows: Vec<Value> = numbers(&trades["ts"])
        .into_iter()
        .zip(prices.iter().zip(&volumes))
        .map(
            |(ts, (p, q))| json!({"ts_ns": (ts * 1e3).round() as u64 * 1_000_000, "price": p, "quantity": q}),
        )
        .collect();
    for case in golden["cases"].as_array().unwrap() {
        let body = json!({
            "trades": rows, "bar_seconds": case["timebar_s"], "buckets_per_day": case["buckets_per_day"],
            "window": case["window"], "classification": "bulk_normal",
        });
        let answer = calculate(&serde_json::from_value(body).unwrap()).unwrap();
        check_golden(case, &answer);
    }
}

fn check_golden(case: &Value, answer: &BatchAnswer) {
    let size = case["vbs"].as_f64().unwrap();
    assert!((answer.bucket_volume.unwrap() - size).abs() <= 1e-9 * size);
    assert!((answer.sigma.unwrap() - case["sigma_dp"].as_f64().unwrap()).abs() <= 1e-9);
    assert_eq!(Some(answer.days), case["ndays"].as_u64());
    assert_eq!(Some(answer.buckets.len() as u64), case["n_buckets"].as_u64());
    let mut worst = 0.0f64;
    for ((bucket, buy), vpin) in
        answer.buckets.iter().zip(numbers(&case["buy_volume"])).zip(case["vpin"].as_array().unwrap())
    {
        worst = worst.max((bucket.buy - buy).abs() / size);
        assert_eq!(bucket.vpin.is_some(), vpin.is_number());
        worst = worst.max(bucket.vpin.map_or(0.0, |v| (v - vpin.as_f64().unwrap()).abs()));
    }
    assert!(worst <= 1e-9, "{worst}");
    eprintln!("golden case bar {} s: largest difference {worst:.1e}", case["timebar_s"]);
}

#[test]
fn numbers_and_decimal_strings_give_the_same_answer() {
    let body = |number: fn(f64) -> Value| {
        let rows: Vec<Value> = (0..200u64)
            .map(|n| {
                json!({"ts_ns": START_NS + n * 7_000_000_000, "price": number(100.0 + (n % 7) as f64 / 100.0),
                "quantity": number((n % 5) as f64 + 0.5), "side": if n % 3 == 0 { "buy" } else { "sell" }})
            })
            .collect();
        let body = json!({"trades": rows, "bucket_volume": number(12.5), "window": 5});
        calculate(&serde_json::from_value(body).unwrap()).unwrap()
    };
    let (numbers, strings) = (body(|v| json!(v)), body(|v| json!(v.to_string())));
    assert_eq!(numbers, strings);
    assert_eq!(numbers.buckets.len(), 40);
    assert!(numbers.vpin.is_some());
    let json = serde_json::to_value(&numbers).unwrap();
    assert!(json["buckets"][0].get("vpin").is_none(), "absent until the window is full");
    assert!(json["buckets"][4]["vpin"].is_number() && json["bucket_volume"] == 12.5);
}

#[test]
fn bad_requests_are_refused_with_the_place_and_the_cure() {
    let base = || json!({"trades": [{"ts_ns": 5, "price": 1, "quantity": 2}, {"ts_ns": 6, "price": 1, "quantity": 2}]});
    let with = |pointer: &str, value: Value| {
        let mut body = base();
        match pointer.strip_prefix('/') {
            Some(_) => *body.pointer_mut(pointer).unwrap() = value,
            None => body[pointer] = value,
        }
        body
    };
    for (body, code, says) in [
        (with("/trades", json!([])), "no_trades", "no trades"),
        (with("/trades/1/ts_ns", json!(4)), "unsorted_trades", "trade 1"),
        (with("/trades/1/quantity", json!(0)), "illegal_trade", "trade 1"),
        (with("/trades/0/quantity", json!(-3)), "illegal_trade", "trade 0"),
        (with("/trades/0/quantity", json!(1e-10)), "illegal_trade", "quantity"),
        (with("/trades/0/price", json!("abc")), "illegal_trade", "price"),
        (with("/trades/0/price", json!(1e30)), "illegal_trade", "too large"),
        (with("classification", json!("aggressor")), "no_sides", "add side"),
        (with("window", json!(0)), "invalid_configuration", "window is 0"),
        (with("window", json!(20_000)), "invalid_configuration", "between 1 and 10000"),
        (with("bar_seconds", json!(0)), "invalid_configuration", "bar_seconds"),
        (with("buckets_per_day", json!(0)), "invalid_configuration", "buckets_per_day"),
        (with("bucket_volume", json!(0)), "invalid_configuration", "above zero"),
        (with("bucket_volume", json!("x")), "illegal_bucket_volume", "not a decimal"),
        (with("bucket_volume", json!("0.000000001")), "too_many_buckets", "1000000"),
        (with("sigma_bars", json!(50)), "trailing_only", "rules"),
    ] {
        let request: BatchRequest = serde_json::from_value(body.clone()).expect("the shape is legal");
        let error = calculate(&request).expect_err(&body.to_string());
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let mut both = with("bucket_volume", json!(1));
    both["buckets_per_day"] = json!(5);
    assert_eq!(calculate(&serde_json::from_value(both).unwrap()).unwrap_err().code(), "two_bucket_sizes");
    let many = request(vec![trade(1, 1, 1, None); 1_000_001]);
    assert_eq!(calculate(&many).unwrap_err().code(), "too_many_trades");
    for (pointer, value) in [
        ("/trades/0/price", Value::Null),
        ("/trades/0/ts_ns", json!(-1)),
        ("/trades/0/ts_ns", json!(1.5)),
        ("colour", json!(1)),
        ("classification", json!("lee_ready")),
    ] {
        assert!(serde_json::from_value::<BatchRequest>(with(pointer, value)).is_err(), "{pointer}");
    }
}

#[test]
fn edges_of_the_range_are_answered_not_panicked_on() {
    for rules in [Rules::Sample, Rules::Trailing] {
        for classification in Classification::ALL {
            let trades: Vec<BatchTrade> = (0..40)
                .map(|n| {
                    let price = if n % 2 == 0 { i64::MIN } else { i64::MAX };
                    trade(u64::MAX - (60 - n) / 20, price, i64::MAX, Some(Side::Buy))
                })
                .collect();
            let asked = BatchRequest {
                rules,
                classification: Some(classification),
                window: Some(1),
                ..request(trades)
            };
            let answer = calculate(&BatchRequest { bucket_volume: None, ..asked.clone() });
            assert!(answer.is_ok_and(|a| a.buckets.iter().all(|b| b.buy.is_finite() && b.sell.is_finite())));
            let tiny = BatchRequest { bucket_volume: Some(serde_json::from_str("0.001").unwrap()), ..asked };
            match calculate(&tiny) {
                Ok(answer) => assert!(answer.buckets.is_empty(), "no bulk bar closed with a known σ"),
                Err(error) => assert_eq!(error.code(), "too_many_buckets"),
            }
        }
    }
}

fn answer_of(trades: &[BatchTrade], classification: Classification, size: i64, rules: Rules) -> BatchAnswer {
    let asked = BatchRequest {
        classification: Some(classification),
        bucket_volume: Some(nautilus_engine_vpin::Decimal::from_nanos(size)),
        window: Some(5),
        rules,
        ..request(trades.to_vec())
    };
    calculate(&asked).unwrap()
}

/// Splits every trade in two at its price and instant.
fn split(trades: &[BatchTrade], seed: u64) -> Vec<BatchTrade> {
    let mut random = tape::Random(seed * 2 + 1);
    let pieces = |t: &BatchTrade| {
        let whole = t.quantity.nanos().unwrap();
        let first = random.below(whole as u64) as i64;
        [first, whole - first].map(|quantity| trade(t.ts_ns, t.price.nanos().unwrap(), quantity, t.side))
    };
    trades.iter().flat_map(pieces).filter(|t| t.quantity.nanos() != Ok(0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn volume_is_conserved_and_vpin_is_a_share(
        seed in 0u64..1_000_000, count in 50usize..600, size in 3_000_000_000i64..60_000_000_000,
    ) {
        let trades = tape(seed, count, 20);
        let total: f64 = trades.iter().map(|t| t.quantity.nanos().unwrap() as f64 / 1e9).sum();
        for classification in Classification::ALL {
            let answer = answer_of(&trades, classification, size, Rules::Sample);
            let volume = size as f64 / 1e9;
            for bucket in &answer.buckets {
                prop_assert!(bucket.buy >= 0.0 && bucket.sell >= 0.0);
                prop_assert!((bucket.buy + bucket.sell - volume).abs() <= 1e-12 * volume);
                prop_assert!(bucket.vpin.is_none_or(|v| (0.0..=1.0).contains(&v)));
            }
            let counted = answer.buckets.len() as f64 * volume + answer.partial.volume;
            prop_assert!((counted - total).abs() <= 1e-9 * total);
        }
    }

    #[test]
    fn one_sided_flow_is_one_and_a_constant_price_is_zero(seed in 0u64..1_000_000, buy: bool) {
        let side = Some(if buy { Side::Buy } else { Side::Sell });
        let flat: Vec<BatchTrade> = tape(seed, 400, 20)
            .into_iter()
            .map(|t| trade(t.ts_ns, 100_000_000_000, t.quantity.nanos().unwrap(), side))
            .collect();
        let vpin = |classification| {
            let answer = answer_of(&flat, classification, 20_000_000_000, Rules::Sample);
            answer.buckets.iter().filter_map(|b| b.vpin).collect::<Vec<_>>()
        };
        prop_assert!(vpin(Classification::Aggressor).iter().all(|&v| v == 1.0));
        for classification in [Classification::BulkNormal, Classification::BulkStudentT, Classification::TickRule] {
            let values = vpin(classification);
            prop_assert!(!values.is_empty() && values.iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn splitting_trades_at_one_price_changes_nothing(seed in 0u64..1_000_000) {
        let whole = tape(seed, 300, 20);
        let parts = split(&whole, seed);
        for classification in Classification::ALL {
            let of = |trades| answer_of(trades, classification, 17_000_000_001, Rules::Sample);
            prop_assert_eq!(of(&whole).buckets, of(&parts).buckets, "{:?}", classification);
        }
    }

    #[test]
    fn trailing_rules_never_look_ahead(seed in 0u64..1_000_000, keep in 50usize..500) {
        let trades = tape(seed, 500, 300);
        let mut other = trades[..keep].to_vec();
        let later = tape(seed + 1, 500 - keep, 90).into_iter();
        let (end, offset) = (other[keep - 1].ts_ns, tape::START_NS);
        other.extend(later.map(|t| BatchTrade { ts_ns: t.ts_ns - offset + end, ..t }));
        for classification in Classification::ALL {
            let of = |trades: &[BatchTrade]| {
                let rules = Rules::Trailing;
                let asked = BatchRequest {
                    rules, classification: Some(classification), window: Some(4), calibration_trades: Some(20),
                    ..request(trades.to_vec())
                };
                calculate(&asked).unwrap().buckets
            };
            let known = of(&trades[..keep]);
            prop_assert!(of(&trades).starts_with(&known));
            prop_assert!(of(&other).starts_with(&known));
        }
    }
}
