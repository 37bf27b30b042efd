//! Why orders are rejected: for every reason an order that passes by one unit and one that fails by one, at every level
//! of the hierarchy.

mod desk;

use desk::{
    EUR, Floor, JPY, LEVELS, MS, carry, desk as desk_of, limit, money, name, new, reasons, units, wide,
};
use nautilus_engine_risk::{Command, Limit, Limits, ScenarioSet, Scenarios, Settings, TradingState};
use nautilus_messages::frame::flags;
use nautilus_messages::mesh::{OrderDecision, Reason, Reasons};
use nautilus_types::{Money, SCALE};

const ONE: i64 = SCALE;

/// Decides one market order of so many billionths of ACME at 1, in a desk of its own with one limit changed somewhere.
fn decided(level: &str, change: impl Fn(&mut Limits), quantity: i64) -> OrderDecision {
    let mut floor = Floor::open();
    let mut limits = wide();
    change(&mut limits);
    floor.limits(level, limits);
    let request = floor.market(carry(), "ACME", quantity);
    floor.decide(request)
}

fn said(decision: OrderDecision) -> (Reasons, Reasons) {
    (decision.reasons, decision.warnings)
}

const NONE: Reasons = Reasons::NONE;

#[test]
fn limits_on_amounts_hold_to_the_billionth_at_every_level() {
    type Set = fn(&mut Limits);
    let amount = || limit(money(700), money(1_000));
    let kinds: [(Reason, Set); 4] = [
        (Reason::GrossLimit, |limits| limits.gross = limit(money(700), money(1_000))),
        (Reason::NetLimit, |limits| limits.net = limit(money(700), money(1_000))),
        (Reason::PositionLimit, |limits| limits.position = limit(money(700), money(1_000))),
        (Reason::OrderSize, |limits| limits.order_size = limit(money(700), money(1_000))),
    ];
    assert_eq!(amount().unwrap().hard.nanos(), 1_000);
    for (reason, set) in kinds {
        let beyond = reasons(&[reason]);
        for level in LEVELS {
            for sign in [1, -1] {
                for (quantity, expected) in [
                    (700, (NONE, NONE)),
                    (701, (NONE, beyond)),
                    (1_000, (NONE, beyond)),
                    (1_001, (beyond, NONE)),
                ] {
                    let decision = decided(level, set, sign * quantity);
                    assert_eq!(said(decision), expected, "{reason:?} {level} {quantity}");
                }
            }
        }
    }
}

#[test]
fn concentration_is_a_share_of_capital_and_profit() {
    // The firm has the capital of both portfolios: 1,000,000 and 1.25 times as much.
    for (level, capital) in [("main/index/carry", 1_000_000), ("main", 1_000_000), ("firm", 2_250_000)] {
        let set = |limits: &mut Limits| limits.concentration_bps = limit(1_000, 2_000);
        let whole = capital * ONE / 10;
        let beyond = reasons(&[Reason::ConcentrationLimit]);
        for (quantity, expected) in [
            (whole, (NONE, NONE)),
            (whole + 1, (NONE, beyond)),
            (2 * whole, (NONE, beyond)),
            (2 * whole + 1, (beyond, NONE)),
        ] {
            assert_eq!(said(decided(level, set, quantity)), expected, "{level} {quantity}");
        }
    }
    // Profit counts: 1,000 made on something else let through a hundred more.
    let mut floor = Floor::open();
    floor.limits("main", Limits { concentration_bps: limit(1_000, 1_000), ..wide() });
    floor.define(4, "ELSE", "USD", (1, 1, ONE));
    floor.price(4, 2 * ONE);
    floor.hold(carry(), "ELSE", 1_000 * ONE, ONE);
    assert_eq!(floor.part("main").profit, units(1_000));
    assert_eq!(floor.reject(carry(), "ACME", 100_100 * ONE + 1), reasons(&[Reason::ConcentrationLimit]));
    floor.accept(carry(), "ACME", 100_100 * ONE);
    // With nothing left, any exposure is all of it.
    floor.price(4, -1_000 * ONE);
    assert_eq!(
        floor.reject(desk_of("main", "macro", "one"), "ACME", 1),
        reasons(&[Reason::ConcentrationLimit])
    );
}

#[test]
fn collars_hold_to_the_billionth_on_both_sides() {
    let beyond = reasons(&[Reason::PriceCollar]);
    for level in LEVELS {
        let mut floor = Floor::open();
        floor.limits(level, Limits { price_collar_bps: limit(100, 200), ..wide() });
        for (quantity, price, expected) in [
            (5, ONE + 10_000_000, (NONE, NONE)),
            (5, ONE + 10_000_001, (NONE, beyond)),
            (5, ONE + 20_000_000, (NONE, beyond)),
            (5, ONE + 20_000_001, (beyond, NONE)),
            (-5, ONE - 10_000_000, (NONE, NONE)),
            (-5, ONE - 10_000_001, (NONE, beyond)),
            (-5, ONE - 20_000_000, (NONE, beyond)),
            (-5, ONE - 20_000_001, (beyond, NONE)),
            // Better than the market is not far from it.
            (5, 1, (NONE, NONE)),
            (-5, 9 * ONE, (NONE, NONE)),
        ] {
            let request = floor.request(carry(), "ACME", new(quantity, Some(price)));
            assert_eq!(said(floor.decide(request)), expected, "{level} {quantity} at {price}");
        }
        floor.accept(carry(), "ACME", 5);
        // Any price is infinitely far from a market at zero.
        floor.price(1, 0);
        let request = floor.request(carry(), "ACME", new(5, Some(1)));
        assert_eq!(said(floor.decide(request)), (beyond, NONE));
    }
}

#[test]
fn an_order_is_as_large_as_its_worse_price_says() {
    let mut floor = Floor::open();
    floor.limits("firm", Limits { order_size: limit(money(2_000), money(2_000)), ..wide() });
    let beyond = reasons(&[Reason::OrderSize]);
    for (quantity, price, expected) in
        [(1_000, 2 * ONE, NONE), (1_001, 2 * ONE, beyond), (2_000, ONE / 2, NONE), (2_001, ONE / 2, beyond)]
    {
        let request = floor.request(carry(), "ACME", new(quantity, Some(price)));
        assert_eq!(floor.decide(request).reasons, expected, "{quantity} at {price}");
    }
}

#[test]
fn losses_let_through_only_what_reduces() {
    type Set = fn(&mut Limits);
    let kinds: [(Reason, Set); 2] = [
        (Reason::DrawdownLimit, |limits| limits.drawdown = limit(money(700), money(1_000))),
        (Reason::DailyLossLimit, |limits| limits.daily_loss = limit(money(700), money(1_000))),
    ];
    for (reason, set) in kinds {
        let beyond = reasons(&[reason]);
        for level in LEVELS {
            let mut floor = Floor::open();
            let mut limits = wide();
            set(&mut limits);
            floor.limits(level, limits);
            floor.hold(carry(), "ACME", ONE, ONE);
            for (lost, expected) in
                [(700, (NONE, NONE)), (701, (NONE, beyond)), (1_000, (NONE, beyond)), (1_001, (beyond, NONE))]
            {
                floor.price(1, ONE - lost);
                let request = floor.market(carry(), "ACME", 1);
                assert_eq!(said(floor.decide(request)), expected, "{reason:?} {level} {lost}");
            }
            // All that is held may go, and nothing more; another strategy may not sell what it has not.
            assert_eq!(floor.reject(carry(), "ACME", -ONE - 1), beyond);
            floor.accept(carry(), "ACME", -ONE);
            assert_eq!(floor.reject(carry(), "ACME", -1), beyond, "an open order counts as filled");
            if !level.ends_with("carry") {
                assert_eq!(floor.reject(desk_of("main", "index", "momentum"), "ACME", -1), beyond);
            }
        }
    }
}

#[test]
fn a_drawdown_counts_from_the_highest_profit_and_a_day_from_its_beginning() {
    let mut floor = Floor::open();
    floor.limits("main", Limits { drawdown: limit(money(500), money(500)), ..wide() });
    floor.hold(carry(), "ACME", ONE, ONE);
    floor.wait(2_000 * MS).price(1, ONE + 400);
    floor.wait(2_000 * MS).price(1, ONE - 100);
    floor.accept(carry(), "ACME", 1);
    floor.wait(2_000 * MS).price(1, ONE - 101);
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::DrawdownLimit]));
    assert_eq!(floor.part("main").drawdown, money(501));

    let mut floor = Floor::open();
    floor.limits("main", Limits { daily_loss: limit(money(500), money(500)), ..wide() });
    floor.hold(carry(), "ACME", ONE, ONE);
    floor.price(1, ONE - 501);
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::DailyLossLimit]));
    floor.wait(86_400_000 * MS).price(1, ONE - 501);
    assert_eq!(floor.part("main").profit_today, money(0));
    floor.accept(carry(), "ACME", 1);
    floor.price(1, ONE - 1_002);
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::DailyLossLimit]));
}

#[test]
fn a_venue_whose_clock_is_years_ahead_begins_no_day() {
    let mut floor = Floor::open();
    floor.limits("main", Limits { daily_loss: limit(money(500), money(500)), ..wide() });
    floor.hold(carry(), "ACME", ONE, ONE);
    floor.price(1, ONE - 501);
    for ahead in [86_400_000 * MS, u64::MAX / 2] {
        floor.ahead(ahead).price(1, ONE - 501);
        assert_eq!(floor.part("main").profit_today, money(-501));
        assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::DailyLossLimit]));
    }
}

#[test]
fn orders_a_second_are_counted_where_the_limit_stands() {
    for level in LEVELS {
        let mut floor = Floor::open();
        floor.limits(level, Limits { orders_per_second: Some(3), ..wide() });
        for _ in 0..3 {
            floor.accept(carry(), "ACME", 5);
        }
        let beyond = reasons(&[Reason::OrderRate]);
        assert_eq!(floor.reject(carry(), "ACME", 5), beyond);
        floor.wait(333_333_333);
        assert_eq!(floor.reject(carry(), "ACME", 5), beyond);
        floor.wait(1);
        floor.accept(carry(), "ACME", 5);
        assert_eq!(floor.reject(carry(), "ACME", 5), beyond);
        // Who stands beside is counted where the limit is above both.
        let beside = desk_of("main", "index", "momentum");
        if level.ends_with("carry") {
            floor.accept(beside, "ACME", 5);
        } else {
            assert_eq!(floor.reject(beside, "ACME", 5), beyond);
        }
    }
}

#[test]
fn the_same_order_waits_until_the_window_is_over() {
    for level in LEVELS {
        let mut floor = Floor::open();
        floor.limits(level, Limits { duplicate_window_ms: Some(10), ..wide() });
        let beyond = reasons(&[Reason::DuplicateOrder]);
        floor.accept(carry(), "ACME", 5);
        for other in [4, -5] {
            floor.accept(carry(), "ACME", other);
        }
        let priced = floor.request(carry(), "ACME", new(5, Some(ONE)));
        assert!(floor.decide(priced).accepted);
        floor.accept(desk_of("main", "index", "momentum"), "ACME", 5);
        floor.wait(10 * MS - 1);
        assert_eq!(floor.reject(carry(), "ACME", 5), beyond);
        floor.wait(1);
        floor.accept(carry(), "ACME", 5);
        // One that was rejected did not come.
        floor.wait(10 * MS);
        floor.turn("firm", TradingState::Halted);
        floor.reject(carry(), "ACME", 5);
        floor.turn("firm", TradingState::Active);
        floor.accept(carry(), "ACME", 5);
    }
}

#[test]
fn what_is_restricted_is_not_traded_at_all() {
    for level in LEVELS {
        let mut floor = Floor::open();
        floor.hold(carry(), "ACME", ONE, ONE);
        floor.limits(level, Limits { restricted: Some(vec![name("YENS"), name("ACME")]), ..wide() });
        for quantity in [1, -1] {
            assert_eq!(floor.reject(carry(), "ACME", quantity), reasons(&[Reason::Restricted]));
        }
        floor.accept(carry(), "BUND", ONE);
    }
}

#[test]
fn every_kind_of_limit_has_to_be_set_somewhere() {
    let missing: [fn(&mut Limits); 12] = [
        |limits| limits.gross = None,
        |limits| limits.net = None,
        |limits| limits.position = None,
        |limits| limits.concentration_bps = None,
        |limits| limits.var = None,
        |limits| limits.drawdown = None,
        |limits| limits.daily_loss = None,
        |limits| limits.order_size = None,
        |limits| limits.price_collar_bps = None,
        |limits| limits.orders_per_second = None,
        |limits| limits.duplicate_window_ms = None,
        |limits| limits.restricted = None,
    ];
    let mut floor = Floor::new();
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::LimitNotSet]));
    for leave_out in missing {
        let mut limits = wide();
        leave_out(&mut limits);
        floor.limits("main", limits);
        floor.limits("main/index/carry", Limits::default());
        assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::LimitNotSet]));
        let request = floor.market(carry(), "ACME", 1);
        let check = floor.engine.check(&request, nautilus_types::UnixNanos(floor.now));
        assert_eq!(check.limits_not_set.len(), 1);
        // Anywhere above, or at the strategy itself, will do.
        floor.limits("main/index/carry", wide());
        floor.accept(carry(), "ACME", 1);
    }
    floor.limits("main", wide());
    assert_eq!(floor.reject(desk_of("euro", "rates", "one"), "ACME", 1), reasons(&[Reason::LimitNotSet]));
}

#[test]
fn desks_instruments_quantities_and_prices_have_to_be_right() {
    let mut floor = Floor::open();
    for desk in [desk_of("x", "index", "carry"), desk_of("main", "x", "carry"), desk_of("main", "index", "x")]
    {
        assert_eq!(floor.reject(desk, "ACME", 1), reasons(&[Reason::UnknownDesk]));
    }
    assert_eq!(floor.reject(carry(), "NONE", 1), reasons(&[Reason::UnknownInstrument]));
    for (quantity, lot_is_right) in [(ONE, true), (ONE + 1, false), (0, false), (2 * ONE, true)] {
        let request = floor.market(carry(), "BUND", quantity);
        let expected = if lot_is_right { NONE } else { reasons(&[Reason::InvalidQuantity]) };
        assert_eq!(floor.decide(request).reasons, expected, "{quantity}");
    }
    let mut negative = floor.market(carry(), "BUND", ONE);
    negative.action = nautilus_messages::mesh::OrderAction::New {
        side: nautilus_types::Side::Buy,
        quantity: nautilus_types::Quantity::from_nanos(-ONE),
        limit_price: None,
    };
    assert_eq!(floor.decide(negative).reasons, reasons(&[Reason::InvalidQuantity]));
    for (price, expected) in [
        (130 * ONE + 10_000_000, NONE),
        (130 * ONE + 9_999_999, reasons(&[Reason::InvalidPrice])),
        (130 * ONE + 1, reasons(&[Reason::InvalidPrice])),
    ] {
        let request = floor.request(carry(), "BUND", new(ONE, Some(price)));
        assert_eq!(floor.decide(request).reasons, expected, "{price}");
    }
}

#[test]
fn prices_have_to_be_there_and_young() {
    let mut floor = Floor::open();
    floor.define(4, "LATE", "USD", (1, 1, ONE));
    assert_eq!(floor.reject(carry(), "LATE", 1), reasons(&[Reason::NoMark]));
    // One side of a book is no price; a trade is, until there are quotes.
    floor.quote(4, ONE, i64::MAX, 0);
    assert_eq!(floor.reject(carry(), "LATE", 1), reasons(&[Reason::NoMark]));
    floor.trade(4, 3 * ONE, 0);
    floor.accept(carry(), "LATE", 1);
    floor.quote(4, ONE, 2 * ONE, 0);
    floor.trade(4, 3 * ONE, 0);
    floor.hold(carry(), "LATE", ONE, ONE);
    let position = floor.position(carry(), "LATE").unwrap();
    assert_eq!(position.mark.unwrap().nanos(), ONE + ONE / 2);

    // A live price ages by the clock.
    floor.price(1, ONE);
    floor.wait(60_000 * MS);
    floor.accept(carry(), "ACME", 1);
    floor.wait(1);
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::StaleMark]));
    floor.price(1, ONE);
    floor.accept(carry(), "ACME", 1);
}

#[test]
fn a_recorded_price_ages_by_the_recording() {
    let mut floor = Floor::open();
    // Three years later, the clock says; the recording does not.
    let recorded = floor.now + 1;
    floor.now = recorded;
    floor.quote(1, ONE, ONE, flags::REPLAY);
    floor.now += 94_608_000_000 * MS;
    floor.accept(carry(), "ACME", 1);
    let clock = floor.now;
    floor.now = recorded + 60_000 * MS;
    floor.quote(2, 130 * ONE, 130 * ONE, flags::REPLAY);
    floor.now = clock;
    floor.accept(carry(), "ACME", 1);
    floor.now = recorded + 60_000 * MS + 1;
    floor.quote(2, 130 * ONE, 130 * ONE, flags::REPLAY);
    floor.now = clock;
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::StaleMark]));
    floor.accept(carry(), "BUND", ONE);
}

#[test]
fn a_recording_that_is_played_again_is_not_too_old() {
    let mut floor = Floor::open();
    let begin = floor.now;
    floor.wait(3_600_000 * MS).quote(1, ONE, ONE, flags::REPLAY);
    let clock = floor.now;
    floor.now = begin;
    let mut definition = floor.definition(1, "ACME", "USD", (1, 1, ONE));
    definition.header = definition.header.with_flags(flags::STARTS_OVER | flags::REPLAY);
    floor.frame(nautilus_messages::frame::FrameRef::Definition(&definition));
    floor.quote(1, ONE, ONE, flags::REPLAY);
    floor.now = clock;
    floor.accept(carry(), "ACME", 1);
}

#[test]
fn without_rates_nothing_can_be_counted() {
    let mut floor = Floor::open();
    floor.define(4, "SWISS", "CHF", (1, 1, ONE));
    floor.price(4, ONE);
    assert_eq!(floor.reject(carry(), "SWISS", 1), reasons(&[Reason::NoFxRate]));
    floor.rates(&[("EUR", EUR), ("JPY", JPY), ("CHF", ONE)]).unwrap();
    floor.accept(carry(), "SWISS", 1);
}

#[test]
fn while_something_held_has_no_price_only_reducing_is_let_through() {
    let mut floor = Floor::open();
    floor.hold(carry(), "ACME", ONE, ONE);
    floor.define(4, "LATE", "USD", (1, 1, ONE));
    floor.hold(carry(), "LATE", ONE, 7 * ONE);
    // It stands at the only price that there is, which is not the market's.
    assert_eq!((floor.part("main").unvalued, floor.part("main").gross), (1, units(8)));
    let unvalued = reasons(&[Reason::Unvalued]);
    assert_eq!(floor.reject(carry(), "ACME", 1), unvalued);
    assert_eq!(floor.reject(desk_of("main", "macro", "one"), "ACME", 1), unvalued, "above, it counts");
    floor.accept(carry(), "ACME", -ONE);
    assert_eq!(floor.reject(carry(), "LATE", 1), reasons(&[Reason::StaleMark, Reason::Unvalued]));
    floor.trade(4, 7 * ONE, 0);
    floor.accept(carry(), "ACME", 1);
    assert_eq!(floor.part("main").unvalued, 0);
}

#[test]
fn amounts_that_do_not_fit_are_rejected() {
    let mut floor = Floor::open();
    floor.limits(
        "firm",
        Limits { order_size: limit(Money::MAX, Money::MAX), gross: limit(Money::MAX, Money::MAX), ..wide() },
    );
    floor.define(4, "HUGE", "USD", (1, 1, i64::MAX));
    floor.price(4, ONE);
    let decision = floor.reject(carry(), "HUGE", i64::MAX);
    assert!(decision.contains(Reason::PositionLimit), "{decision:?}");
    floor.price(4, i64::MAX - 1);
    assert_eq!(floor.reject(carry(), "HUGE", 1), reasons(&[Reason::Overflow]));
    // Rates a billion times a billion apart.
    floor.rates(&[("EUR", EUR), ("JPY", 1), ("BIG", i64::MAX)]).unwrap();
    floor.tell(Command::Portfolio(desk::portfolio("yens", "JPY", 1, &[("b", &["s"])]))).unwrap();
    floor.define(5, "FAR", "BIG", (1, 1, ONE));
    floor.price(5, i64::MAX - 1);
    assert_eq!(floor.reject(desk_of("yens", "b", "s"), "FAR", i64::MAX), reasons(&[Reason::Overflow]));
}

#[test]
fn value_at_risk_is_known_or_the_order_is_rejected() {
    let mut floor = Floor::open();
    let var = |hard: Money| Limits { var: Some(Limit { soft: None, hard }), ..wide() };
    floor.hold(carry(), "ACME", 1_000 * ONE, ONE);
    floor.limits("firm", var(units(1_000_000)));
    assert_eq!(floor.reject(carry(), "ACME", ONE), reasons(&[Reason::VarUnknown]));
    floor.accept(carry(), "ACME", -ONE);

    // Returns of ±1 %: σ² = 250·0.01²/249, and the 99 % quantile of the normal distribution is 2.326347874.
    let returns = (0..250).map(|day| if day % 2 == 0 { 0.01 } else { -0.01 }).collect();
    let set = ScenarioSet { instruments: vec![name("ACME")], returns: vec![returns] };
    let scenarios = Box::new(Scenarios::new(set).unwrap());
    floor.tell(Command::Scenarios { scenarios, by: "ann".to_owned() }).unwrap();
    let sigma = 0.01 * (250.0f64 / 249.0).sqrt();
    let units_at = |share: f64| (share * 2_000.0 * sigma * 2.326_347_874_040_841 * 1e9) as i128;
    // 999 are held once the open order is done; 1,001 more make 2,000.
    let after = |floor: &mut Floor, hard| {
        floor.limits("firm", var(money(hard)));
        let request = floor.market(carry(), "ACME", 1_001 * ONE);
        floor.engine.check(&request, nautilus_types::UnixNanos(floor.now)).reasons
    };
    assert_eq!(after(&mut floor, units_at(1.0 + 1e-6)), NONE);
    assert_eq!(after(&mut floor, units_at(1.0 - 1e-6)), reasons(&[Reason::VarLimit]));
    floor.limits("firm", Limits { var: limit(money(0), units(1_000)), ..wide() });
    let request = floor.market(carry(), "ACME", ONE);
    assert_eq!(said(floor.decide(request)), (NONE, reasons(&[Reason::VarLimit])));
    // What is in no scenario is not known, and neither is anything beside it.
    assert_eq!(floor.reject(carry(), "YENS", ONE), reasons(&[Reason::VarUnknown]));
    floor.hold(desk_of("euro", "rates", "one"), "YENS", ONE, ONE);
    assert_eq!(floor.reject(carry(), "ACME", ONE), reasons(&[Reason::VarUnknown]));
    floor.accept(carry(), "ACME", -ONE);
}

#[test]
fn open_orders_count_as_filled_on_the_worse_side() {
    let mut floor = Floor::open();
    floor.limits("main", Limits { gross: limit(money(1_000), money(1_000)), ..wide() });
    floor.accept(carry(), "ACME", 600);
    floor.accept(carry(), "ACME", -1_000);
    let beyond = reasons(&[Reason::GrossLimit]);
    assert_eq!(floor.reject(carry(), "ACME", 401), beyond);
    let filled = floor.accept(carry(), "ACME", 400);
    assert_eq!(floor.reject(carry(), "ACME", -1), beyond);
    // The end of an order makes room.
    let mut end = floor.fill(Some(filled.order_id), carry(), "ACME", 0, ONE);
    end.done = true;
    floor.book(end);
    floor.accept(carry(), "ACME", 400);
    // Strategies net in the portfolio, but not what each of them orders.
    floor.limits("main", Limits { net: limit(money(1_000), money(1_000)), ..wide() });
    floor.hold(desk_of("main", "macro", "one"), "ACME", -500, ONE);
    floor.accept(carry(), "ACME", 500);
}

#[test]
fn what_reduces_passes_limits_that_are_exceeded() {
    let mut floor = Floor::open();
    floor.hold(carry(), "ACME", 5_000, ONE);
    let tight = limit(money(1_000), money(1_000));
    floor.limits(
        "main",
        Limits { gross: tight, net: tight, position: tight, concentration_bps: limit(0, 0), ..wide() },
    );
    let all = [Reason::PositionLimit, Reason::GrossLimit, Reason::NetLimit, Reason::ConcentrationLimit];
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&all));
    floor.accept(carry(), "ACME", -4_999);
    floor.accept(carry(), "ACME", -1);
    // As large as before on the other side is no worse either; one more is.
    floor.accept(carry(), "ACME", -5_000);
    assert_eq!(floor.reject(carry(), "ACME", -1), reasons(&all));
}

#[test]
fn memory_and_journal_have_an_end() {
    let mut floor = Floor::with(Settings { orders_remembered: 4, ..Settings::default() });
    floor.limits("firm", wide());
    let first = floor.accept(carry(), "ACME", 1);
    for _ in 0..3 {
        let order = floor.accept(carry(), "ACME", 1);
        let fill = floor.fill(Some(order.order_id), carry(), "ACME", ONE, ONE);
        floor.book(fill);
    }
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::TooManyOrders]));
    // A day later those that are over are forgotten, the open one is not.
    floor.wait(86_400_000 * MS + 1).price(1, ONE);
    for _ in 0..3 {
        // What is rejected takes no place of what is not, however much there is.
        for _ in 0..9 {
            assert_eq!(floor.reject(carry(), "NONE", 1), reasons(&[Reason::UnknownInstrument]));
        }
        floor.accept(carry(), "ACME", 1);
    }
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::TooManyOrders]));
    assert!(floor.engine.order(first.order_id).is_some());
    let listed = floor.engine.orders(None, false, 10);
    assert_eq!(listed.len(), 5, "four that were accepted, and the newest that was not");
    assert!(listed.is_sorted_by(|one, next| one.decided_at >= next.decided_at), "newest first");

    let mut floor = Floor::open();
    let order = floor.accept(carry(), "ACME", 1);
    nautilus_engine::Engine::journal_room(&mut floor.engine, false);
    let request = floor.market(carry(), "ACME", 1);
    assert_eq!(floor.decide(request).reasons, reasons(&[Reason::JournalFull]));
    assert!(floor.decide(order).accepted, "what was decided is said again");
    let mut cancel = order;
    cancel.action = nautilus_messages::mesh::OrderAction::Cancel;
    assert!(floor.decide(cancel).accepted);
    assert!(floor.engine.order(order.order_id).unwrap().cancelling);
    nautilus_engine::Engine::journal_room(&mut floor.engine, true);
    assert!(floor.decide(request).accepted);
}
