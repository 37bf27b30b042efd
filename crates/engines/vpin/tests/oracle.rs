//! The trailing rules once more, slow and obvious, in floats and plain loops over lists.
//!
//! It shares no code with the crate but the two distribution functions.

mod tape;

use nautilus_engine_vpin::{BatchRequest, BatchTrade, Decimal, Rules, calculate};
use nautilus_messages::mesh::Classification;
use nautilus_numerics::{normal_cdf, student_t_cdf};
use nautilus_types::{NANOS_PER_DAY, NANOS_PER_SECOND, Side};
use proptest::prelude::*;
use tape::{request, tape};

const SIGMA_BARS: usize = 25;
const CALIBRATION: usize = 30;
const AVERAGE_DAYS: usize = 2;
const PER_DAY: u64 = 20;
const WINDOW: usize = 6;

/// Volume with a buy share and the index of the trade after which it is known.
struct Part {
    volume: f64,
    share: f64,
    known_at: usize,
}

fn volume(trade: &BatchTrade) -> f64 {
    trade.quantity.nanos().unwrap() as f64
}

fn price(trade: &BatchTrade) -> f64 {
    trade.price.nanos().unwrap() as f64
}

/// The bucket volume in force once trade `at` is in: from the calibration trades, or from the days before.
fn size_at(trades: &[BatchTrade], at: usize) -> Option<f64> {
    let day = |t: &BatchTrade| t.ts_ns / NANOS_PER_DAY;
    let today = day(&trades[at]);
    let mut earlier: Vec<u64> = trades[..=at].iter().map(day).filter(|&d| d < today).collect();
    earlier.dedup();
    if earlier.is_empty() {
        let first: Vec<f64> = trades.iter().take(CALIBRATION).map(volume).collect();
        return (at + 1 >= CALIBRATION).then(|| (first.iter().sum::<f64>() / 8.0).floor());
    }
    let used = &earlier[earlier.len().saturating_sub(AVERAGE_DAYS)..];
    let sum: f64 = trades.iter().filter(|t| used.contains(&day(t))).map(volume).sum();
    Some((sum / used.len() as f64 / PER_DAY as f64).floor())
}

fn trade_parts(trades: &[BatchTrade], by_tick: bool) -> Vec<Part> {
    let share = |n: usize| {
        if !by_tick {
            return match trades[n].side {
                Some(Side::Buy) => 1.0,
                Some(Side::Sell) => 0.0,
                None => 0.5,
            };
        }
        let now = price(&trades[n]);
        let change = (1..=n).rev().map(|m| price(&trades[m]) - price(&trades[m - 1])).find(|&d| d != 0.0);
        assert!(now.is_finite());
        change.map_or(0.5, |d| if d > 0.0 { 1.0 } else { 0.0 })
    };
    // The trade that ends the calibration is itself still part of it.
    let known =
        |n: usize| n > 0 && size_at(trades, n).is_some() && (n >= CALIBRATION || is_later_day(trades, n));
    (0..trades.len())
        .filter(|&n| known(n))
        .map(|n| Part { volume: volume(&trades[n]), share: share(n), known_at: n })
        .collect()
}

fn is_later_day(trades: &[BatchTrade], n: usize) -> bool {
    trades[n].ts_ns / NANOS_PER_DAY > trades[0].ts_ns / NANOS_PER_DAY
}

fn bar_parts(trades: &[BatchTrade], cdf: fn(f64) -> f64) -> Vec<Part> {
    let minute = |n: usize| trades[n].ts_ns / (60 * NANOS_PER_SECOND);
    let (mut parts, mut changes, mut begin) = (Vec::new(), Vec::new(), 0);
    for n in 1..trades.len() {
        if minute(n) == minute(begin) {
            continue;
        }
        let bar = &trades[begin..n];
        let change = price(&bar[bar.len() - 1]) - price(&bar[0]);
        let window: &[f64] = &changes[changes.len().saturating_sub(SIGMA_BARS)..];
        if window.len() >= 10 && size_at(trades, n - 1).is_some() {
            let mean = window.iter().sum::<f64>() / window.len() as f64;
            let squares: f64 = window.iter().map(|c| (c - mean).powi(2)).sum();
            let sigma = (squares / (window.len() - 1) as f64).sqrt();
            let share = if sigma > 0.0 { cdf(change / sigma) } else { 0.5 };
            parts.push(Part { volume: bar.iter().map(volume).sum(), share, known_at: n - 1 });
        }
        changes.push(change);
        begin = n;
    }
    parts
}

/// Buckets that keep the size in force when they began.
fn buckets(trades: &[BatchTrade], parts: &[Part]) -> Vec<(f64, f64)> {
    let (mut done, mut size, mut filled, mut buy) = (Vec::new(), 0.0, 0.0, 0.0);
    for part in parts {
        let mut left = part.volume;
        while left > 0.0 {
            if size == 0.0 {
                size = size_at(trades, part.known_at).unwrap();
            }
            let taken = f64::min(left, size - filled);
            (filled, buy, left) = (filled + taken, buy + taken * part.share, left - taken);
            if filled == size {
                done.push((buy, size - buy));
                (size, filled, buy) = (0.0, 0.0, 0.0);
            }
        }
    }
    done
}

fn check(trades: &[BatchTrade], classification: Classification) -> Result<usize, TestCaseError> {
    let parts = match classification {
        Classification::BulkNormal => bar_parts(trades, normal_cdf),
        Classification::BulkStudentT => bar_parts(trades, |z| student_t_cdf(z, 0.25)),
        Classification::Aggressor => trade_parts(trades, false),
        Classification::TickRule => trade_parts(trades, true),
    };
    let expected = buckets(trades, &parts);
    let asked = BatchRequest {
        classification: Some(classification),
        buckets_per_day: Some(PER_DAY as u32),
        window: Some(WINDOW as u32),
        sigma_bars: Some(SIGMA_BARS as u32),
        average_days: Some(AVERAGE_DAYS as u32),
        calibration_trades: Some(CALIBRATION as u32),
        rules: Rules::Trailing,
        ..request(trades.to_vec())
    };
    let answer = calculate(&asked).unwrap();
    prop_assert_eq!(answer.buckets.len(), expected.len(), "{:?}", classification);
    for (n, (bucket, (buy, sell))) in answer.buckets.iter().zip(&expected).enumerate() {
        let size = (buy + sell) / 1e9;
        prop_assert!((bucket.buy - buy / 1e9).abs() <= 1e-11 * size, "{:?} bucket {}", classification, n);
        prop_assert!((bucket.sell - sell / 1e9).abs() <= 1e-11 * size);
        if n + 1 < WINDOW {
            prop_assert_eq!(bucket.vpin, None);
            continue;
        }
        let window = &expected[n + 1 - WINDOW..=n];
        let imbalance: f64 = window.iter().map(|(b, s)| (b - s).abs()).sum();
        let volume: f64 = window.iter().map(|(b, s)| b + s).sum();
        prop_assert!((bucket.vpin.unwrap() - imbalance / volume).abs() <= 1e-11);
    }
    Ok(expected.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_trailing_rules_by_plain_loops(seed in 0u64..1_000_000, gap_s in 60u64..600) {
        // Whole lots keep the floats of the slow version exact.
        let trades: Vec<BatchTrade> = tape(seed, 700, gap_s)
            .into_iter()
            .map(|t| BatchTrade { quantity: whole_lots(&t), ..t })
            .collect();
        let mut total = 0;
        for classification in Classification::ALL {
            total += check(&trades, classification)?;
        }
        prop_assert!(total > 100, "{}", total);
    }
}

fn whole_lots(trade: &BatchTrade) -> Decimal {
    Decimal::from_nanos((trade.quantity.nanos().unwrap() / 1_000_000_000 + 1) * 1_000_000_000)
}
