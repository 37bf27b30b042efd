//! The books against the naive one, over random operations that are mean to them.

use nautilus_messages::frame::{Header, Kind, LevelChange, OrderAction, OrderChange, WireSide};
use nautilus_types::{InstrumentId, Price, Quantity, Side, UnixNanos};
use proptest::prelude::*;
use std::collections::BTreeMap;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use crate::{Applied, BookError, BookLimits, LevelBook, NaiveBook, OrderBook, TickSource};

const SMALL: BookLimits = BookLimits { window_ticks: 64, orders_max: 1 << 20 };

fn change(action: OrderAction, id: u64, side: Option<Side>, price: i64, quantity: i64) -> OrderChange {
    OrderChange {
        header: Header::new(Kind::OrderChange, InstrumentId(1), 0, UnixNanos(0), UnixNanos(0)),
        order_id: U64::new(id),
        price_nanos: I64::new(price),
        quantity_nanos: I64::new(quantity),
        action,
        side: WireSide::from(side),
        reserved: [0; 6],
    }
}

fn level(side: Option<Side>, price: i64, quantity: i64) -> LevelChange {
    LevelChange {
        header: Header::new(Kind::LevelChange, InstrumentId(1), 0, UnixNanos(0), UnixNanos(0)),
        price_nanos: I64::new(price),
        quantity_nanos: I64::new(quantity),
        orders: U32::new(2),
        side: WireSide::from(side),
        reserved: [0; 11],
    }
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

/// Prices near a touch that wanders (`step` is the operation's number), stubs far away, absurd ones.
fn price(step: i64, kind: u8, offset: i64, tick: i64) -> i64 {
    match kind {
        0 => tick * (offset * 50_000),
        1 => tick * offset + tick / 2,
        2 => i64::MAX - offset.abs(),
        _ => tick * (4_000 + step / 4 % 900 + offset),
    }
}

type Operation = (u8, u64, Side, u8, i64, i64);

fn operation() -> impl Strategy<Value = Operation> {
    (0u8..40, 0u64..400, side(), 0u8..60, -40i64..40, 0i64..12)
}

fn run(operations: Vec<Operation>, tick: i64, defined: bool) -> Result<(), TestCaseError> {
    let given = Price::from_nanos(if defined { tick } else { 0 });
    let (mut fast, mut naive) = (OrderBook::new(given, SMALL), NaiveBook::new(given));
    for (step, (action, id, side, kind, offset, quantity)) in operations.into_iter().enumerate() {
        let price = price(step as i64, kind, offset, tick);
        let action = match action {
            0..=19 => OrderAction::Add,
            20..=30 => OrderAction::Cancel,
            31..=38 => OrderAction::Modify,
            _ if step % 7 == 0 => OrderAction::Clear,
            _ => OrderAction::Fill,
        };
        let quantity = if quantity == 11 { i64::MAX } else { quantity };
        let change = change(action, id, Some(side), price, quantity);
        prop_assert_eq!(fast.apply(&change), naive.apply(&change), "step {}", step);
        prop_assert_eq!(fast.len(), naive.len());
        for side in [Side::Buy, Side::Sell] {
            prop_assert_eq!(fast.best(side), naive.best(side));
        }
        if step % 16 == 0 {
            compare(&fast, &naive)?;
        }
    }
    compare(&fast, &naive)
}

fn compare(fast: &OrderBook, naive: &NaiveBook) -> Result<(), TestCaseError> {
    for side in [Side::Buy, Side::Sell] {
        prop_assert!(fast.levels(side).eq(naive.levels(side)));
        let orders = fast.orders(side).map(|order| (order.id, order.price, order.quantity));
        prop_assert!(orders.eq(naive.orders(side)));
        let totals = fast.totals(side);
        prop_assert_eq!(totals.levels, naive.levels(side).count());
        prop_assert_eq!(totals.orders as usize, naive.orders(side).count());
        let quantity: i128 = naive.orders(side).map(|(_, _, quantity)| i128::from(quantity.nanos())).sum();
        prop_assert_eq!(totals.quantity.nanos(), quantity);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn order_books_agree(
        operations in prop::collection::vec(operation(), 1..2_000),
        tick in prop_oneof![Just(250_000_000i64), Just(1), Just(7), Just(1_000_000)],
        defined: bool,
    ) {
        run(operations, tick, defined)?;
    }

    #[test]
    fn level_books_agree_with_a_tree(
        operations in prop::collection::vec((side(), 0u8..60, -40i64..40, 0i64..6), 1..2_000),
        defined: bool,
    ) {
        let tick = 250_000_000;
        let mut book = LevelBook::new(Price::from_nanos(if defined { tick } else { 0 }), SMALL);
        let mut tree = [BTreeMap::new(), BTreeMap::new()];
        for (step, (side, kind, offset, quantity)) in operations.into_iter().enumerate() {
            let price = price(step as i64, kind, offset, tick);
            if book.apply(&level(Some(side), price, quantity)).is_ok() {
                match quantity {
                    0 => tree[side as usize].remove(&price),
                    _ => tree[side as usize].insert(price, quantity),
                };
            } else {
                prop_assert!(price >= 1 << 62 || defined && price % tick != 0);
            }
        }
        let pair = |(price, quantity): (&i64, &i64)| (Price::from_nanos(*price), Quantity::from_nanos(*quantity));
        let levels = |side| book.levels(side).map(|level| (level.price, level.quantity)).collect::<Vec<_>>();
        prop_assert_eq!(levels(Side::Buy), tree[0].iter().rev().map(pair).collect::<Vec<_>>());
        prop_assert_eq!(levels(Side::Sell), tree[1].iter().map(pair).collect::<Vec<_>>());
        for side in [Side::Buy, Side::Sell] {
            let sum: i128 = tree[side as usize].values().map(|quantity| i128::from(*quantity)).sum();
            prop_assert_eq!(book.totals(side).quantity.nanos(), sum);
            prop_assert_eq!(book.best(side), levels(side).first().copied());
        }
    }
}

#[test]
fn ten_thousand_operations_agree() {
    use proptest::test_runner::{Config, TestRunner};
    let mut runner = TestRunner::new(Config::with_cases(2));
    let operations = prop::collection::vec(operation(), 12_000..=12_000);
    runner
        .run(&(operations, any::<bool>()), |(operations, defined)| run(operations, 250_000_000, defined))
        .unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    use OrderAction::{Add, Cancel, Modify};
    let tick = Price::from_nanos(250);
    let limits = BookLimits { orders_max: 2, ..SMALL };
    let mut book = OrderBook::new(tick, limits);
    let off = Price::from_nanos(1_001);
    let cases = [
        (change(Cancel, 9, Some(Side::Buy), 1_000, 1), Ok(Applied::UnknownOrder)),
        (change(Add, 1, Some(Side::Buy), 1_000, i64::MAX - 1), Ok(Applied::Changed)),
        (change(Add, 1, Some(Side::Buy), 1_000, 1), Err(BookError::DuplicateOrder(1))),
        (change(Add, 2, Some(Side::Buy), 1_001, 1), Err(BookError::OffTick { price: off, tick })),
        (change(Add, 2, Some(Side::Buy), 1_000, 0), Err(BookError::NoQuantity(2))),
        (change(Add, 2, Some(Side::Buy), 1_000, 2), Err(BookError::Overflow(Price::from_nanos(1_000)))),
        (
            change(Add, 2, Some(Side::Buy), i64::MIN, 2),
            Err(BookError::AbsurdPrice(Price::from_nanos(i64::MIN))),
        ),
        (change(Add, 2, None, 1_000, 2), Err(BookError::NoSide)),
        (change(Modify, 2, Some(Side::Sell), -1_000, 2), Ok(Applied::AddedUnknown)),
        (change(Add, 3, Some(Side::Sell), 1_000, 2), Err(BookError::Full(2))),
        (change(Modify, 1, Some(Side::Buy), i64::MAX, 2), Err(BookError::AbsurdPrice(Price::MAX))),
        (change(Cancel, 1, Some(Side::Buy), 0, i64::MAX), Ok(Applied::Changed)),
    ];
    for (change, expected) in cases {
        assert_eq!(book.apply(&change), expected, "{change:?}");
    }
    assert_eq!(book.best(Side::Sell), Some((Price::from_nanos(-1_000), Quantity::from_nanos(2))));
    assert_eq!((book.len(), book.best(Side::Buy)), (1, None));
    let mut levels = LevelBook::new(tick, limits);
    for (price, expected) in
        [(250, Ok(Applied::Changed)), (500, Ok(Applied::Changed)), (750, Err(BookError::Full(2)))]
    {
        assert_eq!(levels.apply(&level(Some(Side::Buy), price, 5)), expected);
    }
    assert_eq!(levels.apply(&level(None, 0, 0)), Ok(Applied::Changed));
    assert!(levels.is_empty());
}

#[test]
fn an_inferred_tick_shrinks_and_the_queues_survive() {
    let mut book = OrderBook::new(Price::ZERO, SMALL);
    for (id, price, tick) in
        [(1, 0, None), (2, 4_810, Some(4_810)), (3, 4_815, Some(5)), (4, -4_811, Some(1))]
    {
        book.apply(&change(OrderAction::Add, id, Some(Side::Sell), price, 3)).unwrap();
        assert_eq!(book.tick(), (tick.map(Price::from_nanos), TickSource::Inferred));
    }
    assert_eq!(book.orders(Side::Sell).map(|order| order.id).collect::<Vec<_>>(), [4, 1, 2, 3]);
}

#[test]
fn a_shrunk_order_keeps_its_place_and_a_grown_one_loses_it() {
    let mut book = OrderBook::new(Price::from_nanos(1), SMALL);
    for id in 1..=3 {
        book.apply(&change(OrderAction::Add, id, Some(Side::Buy), 100, 10)).unwrap();
    }
    let queue = |book: &OrderBook| book.orders(Side::Buy).map(|order| order.id).collect::<Vec<_>>();
    book.apply(&change(OrderAction::Modify, 1, Some(Side::Buy), 100, 5)).unwrap();
    book.apply(&change(OrderAction::Cancel, 2, Some(Side::Buy), 100, 4)).unwrap();
    assert_eq!(queue(&book), [1, 2, 3]);
    book.apply(&change(OrderAction::Modify, 1, Some(Side::Buy), 100, 6)).unwrap();
    assert_eq!(queue(&book), [2, 3, 1]);
    assert_eq!(book.best(Side::Buy), Some((Price::from_nanos(100), Quantity::from_nanos(22))));
}

#[test]
fn churn_takes_no_more_memory_and_a_million_orders_fit() {
    let limits = BookLimits { orders_max: 1_000_000, ..BookLimits::default() };
    let mut book = OrderBook::new(Price::from_nanos(5), limits);
    let add = |book: &mut OrderBook, id: u64| {
        let price = 5 * (100_000 + (id % 2_000) as i64);
        book.apply(&change(OrderAction::Add, id, Some(Side::Sell), price, 1))
    };
    for id in 0..10_000 {
        add(&mut book, id).unwrap();
    }
    let before = book.capacities();
    for id in 10_000..200_000 {
        book.apply(&change(OrderAction::Cancel, id - 10_000, Some(Side::Sell), 0, 1)).unwrap();
        add(&mut book, id).unwrap();
    }
    assert_eq!(book.capacities(), before);
    for id in 200_000..1_190_000 {
        add(&mut book, id).unwrap();
    }
    assert_eq!(add(&mut book, 1_190_000), Err(BookError::Full(1_000_000)));
    assert_eq!((book.len(), book.totals(Side::Sell).levels), (1_000_000, 2_000));
}
