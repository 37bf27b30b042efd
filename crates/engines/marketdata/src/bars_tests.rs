//! Bars against sums done one billionth at a time.

use nautilus_messages::BarSpec;
use nautilus_messages::frame::BarUnit;
use nautilus_messages::record::BarRecord;
use nautilus_types::{Price, Quantity, SCALE, Side, UnixNanos};
use proptest::prelude::*;

use crate::bars::{SPLITS_MAX, Series, Trouble};
use crate::statistics::Print;

fn print(ts: u64, price: i64, quantity: i64, aggressor: Option<Side>) -> Print {
    Print {
        ts: UnixNanos(ts),
        price: Price::from_nanos(price),
        quantity: Quantity::from_nanos(quantity),
        aggressor,
    }
}

fn build(spec: &str, multiplier: i64, prints: &[Print]) -> (Vec<BarRecord>, Option<BarRecord>, Trouble) {
    let (mut series, mut closed) = (Series::new(spec.parse().unwrap(), 10), Vec::new());
    let mut trouble = Trouble::default();
    for print in prints {
        let one = series.add(print, symbol(), Quantity::from_nanos(multiplier), &mut closed);
        trouble.skipped += one.skipped;
        trouble.overflow |= one.overflow;
    }
    (closed, series.record(symbol()), trouble)
}

fn symbol() -> nautilus_types::Symbol {
    "TEST".parse().unwrap()
}

#[test]
fn a_trade_across_a_boundary_is_split_exactly() {
    let buy = Some(Side::Buy);
    let (closed, forming, _) =
        build("10volume", SCALE, &[print(1, 100, 4 * SCALE, None), print(2, 200, 19 * SCALE, buy)]);
    let volumes = |bars: &[BarRecord]| {
        bars.iter().map(|bar| (bar.volume.nanos(), bar.volume_buy.nanos(), bar.trades)).collect::<Vec<_>>()
    };
    let lot = i128::from(SCALE);
    assert_eq!(volumes(&closed), [(10 * lot, 6 * lot, 2), (10 * lot, 10 * lot, 1)]);
    assert_eq!(volumes(forming.as_slice()), [(3 * lot, 3 * lot, 1)]);
    assert_eq!(closed[0].vwap, Some(Price::from_nanos(160)));
    assert_eq!((closed[0].open.nanos(), closed[0].close.nanos()), (100, 200));
    assert!(closed[0].ts_open < closed[1].ts_open && closed[1].ts_open < forming.unwrap().ts_open);
}

#[test]
fn an_absurd_trade_closes_a_bounded_number_of_bars() {
    let (closed, _, trouble) = build("0.000000001volume", SCALE, &[print(1, 100, i64::MAX, None)]);
    assert_eq!(closed.len(), SPLITS_MAX);
    assert_eq!(trouble, Trouble { skipped: u64::MAX / 2 - SPLITS_MAX as u64, overflow: false });
    let (closed, _, trouble) = build("1notional", i64::MAX, &[print(1, 1 << 61, i64::MAX, None)]);
    assert_eq!((closed.len(), trouble.overflow), (0, true));
}

#[test]
fn tick_bars_count_trades() {
    let prints: Vec<_> = (0..7).map(|n| print(n, 100, 1, None)).collect();
    let (closed, forming, _) = build("3tick", SCALE, &prints);
    assert_eq!((closed.len(), closed[1].trades, forming.unwrap().trades), (2, 3, 1));
}

proptest! {
    /// Each bar of the fast series holds what a bar filled one billionth of quantity at a time holds.
    #[test]
    fn splitting_is_counting(
        prints in prop::collection::vec((1i64..50, 1i64..60, 0u8..3), 1..80),
        // One print of at most 49 × 59 must not close more bars than are allowed.
        interval in 3u64..90,
        notional: bool,
    ) {
        let sides = [None, Some(Side::Buy), Some(Side::Sell)];
        let prints: Vec<_> = prints
            .into_iter()
            .enumerate()
            .map(|(n, (price, quantity, side))| print(n as u64, price, quantity, sides[side as usize]))
            .collect();
        let unit = if notional { BarUnit::Notional } else { BarUnit::Volume };
        // A billionth of quantity at a price of one billionth is 1e-18 of money: the interval is in 1e-9.
        let scaled = |price: i64| if notional { price * SCALE } else { price };
        let prints: Vec<_> = prints
            .iter()
            .map(|p| Print { price: Price::from_nanos(scaled(p.price.nanos())), ..*p })
            .collect();
        let spec = BarSpec::new(unit, interval).unwrap();
        let (closed, forming, trouble) = build(&spec.to_string(), SCALE, &prints);
        prop_assert_eq!(trouble, Trouble::default());
        let naive = one_at_a_time(&prints, interval, notional);
        let fast: Vec<_> = closed.iter().chain(&forming).map(summary).collect();
        prop_assert_eq!(fast, naive);
    }
}

type Summary = (i64, i64, i64, i64, i128, i128, i128);

fn summary(bar: &BarRecord) -> Summary {
    let prices = (bar.open.nanos(), bar.high.nanos(), bar.low.nanos(), bar.close.nanos());
    let volumes = (bar.volume.nanos(), bar.volume_buy.nanos(), bar.volume_sell.nanos());
    (prices.0, prices.1, prices.2, prices.3, volumes.0, volumes.1, volumes.2)
}

fn one_at_a_time(prints: &[Print], interval: u64, notional: bool) -> Vec<Summary> {
    let (mut bars, mut forming, mut filled) = (Vec::new(), None::<Summary>, 0);
    for print in prints {
        let price = print.price.nanos();
        for _ in 0..print.quantity.nanos() {
            let bar = forming.get_or_insert((price, price, price, price, 0, 0, 0));
            *bar = (bar.0, bar.1.max(price), bar.2.min(price), price, bar.4 + 1, bar.5, bar.6);
            bar.5 += i128::from(print.aggressor == Some(Side::Buy));
            bar.6 += i128::from(print.aggressor == Some(Side::Sell));
            filled += if notional { price.unsigned_abs() / SCALE.unsigned_abs() } else { 1 };
            while filled >= interval {
                filled -= interval;
                bars.extend(forming.take());
            }
        }
    }
    bars.extend(forming);
    bars
}
