//! Positions, profit and executions: to the billionth, in several currencies, once each, whenever they come.

mod desk;

use desk::{
    Floor, JPY, LEVELS, MS, carry, desk as desk_of, limit, money, name, portfolio, reasons, scope, units,
    wide,
};
use nautilus_engine::{Effects, Engine as _, Input, Stamp};
use nautilus_engine_risk::{Command, Limits};
use nautilus_messages::frame::{FrameRef, flags};
use nautilus_messages::mesh::{AlertKind, AlertLevel, Body, OrderAction, PositionChange, Reason, Uid};
use nautilus_types::{Money, Quantity, SCALE, UnixNanos};

const ONE: i64 = SCALE;

#[test]
fn a_position_by_hand() {
    let mut floor = Floor::open();
    let mut first = floor.fill(None, carry(), "BUND", 10 * ONE, 129 * ONE);
    first.fee = money(2_500_000_001);
    floor.book(first);
    floor.hold(carry(), "BUND", -4 * ONE, 131 * ONE);
    let position = floor.position(carry(), "BUND").unwrap();
    // 50 euros a point: 10 bought at 129, 4 sold at 131, at 130 now.
    assert_eq!(position.quantity.to_string(), "6");
    assert_eq!(position.average_price.unwrap().to_string(), "129");
    assert_eq!(position.realised.to_string(), "400");
    assert_eq!(position.unrealised.unwrap().to_string(), "300");
    assert_eq!(position.fees.to_string(), "2.500000001");
    assert_eq!(position.value.unwrap().to_string(), "39000");
    assert_eq!(
        (position.currency, position.mark.unwrap().to_string()),
        (Some(name("EUR")), "130".to_owned())
    );
    // 697.499999999 euros in dollars, at every level above.
    for level in LEVELS {
        let part = floor.part(level);
        assert_eq!(part.profit.to_string(), "871.874999998", "{level}");
        assert_eq!((part.gross.to_string(), part.net.to_string()), ("48750".to_owned(), "48750".to_owned()));
    }
    floor.rates(&[("EUR", ONE), ("JPY", JPY)]).unwrap();
    assert_eq!(floor.part("firm").profit.to_string(), "697.499999999");
}

#[test]
fn a_portfolio_counts_in_its_currency_and_the_firm_in_its_own() {
    let mut floor = Floor::open();
    let one = desk_of("euro", "rates", "one");
    floor.hold(one, "YENS", 1_000 * ONE, 15_000 * ONE);
    floor.price(3, 15_100 * ONE);
    // 100,000 yen made: 670.0001 dollars, 536.00008 euros.
    assert_eq!(floor.part("euro").profit.to_string(), "536.00008");
    assert_eq!(floor.part("firm").profit.to_string(), "670.0001");
    assert_eq!(floor.part("firm").gross.to_string(), "101170.0151");
    assert_eq!(floor.part("firm").capital.to_string(), "2250000");
    floor.rates(&[("EUR", 2 * ONE), ("JPY", JPY)]).unwrap();
    assert_eq!(floor.part("euro").profit.to_string(), "335.00005");
    assert_eq!(floor.part("firm").profit.to_string(), "670.0001");
    assert_eq!(floor.part("firm").capital.to_string(), "3000000");
}

#[test]
fn strategies_net_above_and_profits_add_up() {
    let mut floor = Floor::open();
    let beside = desk_of("main", "index", "momentum");
    floor.hold(carry(), "ACME", 70, ONE);
    floor.hold(beside, "ACME", -30, ONE);
    for (path, gross, net) in [
        ("main/index/carry", 70, 70),
        ("main/index/momentum", 30, -30),
        ("main/index", 40, 40),
        ("firm", 40, 40),
    ] {
        let part = floor.part(path);
        assert_eq!((part.gross, part.net), (money(gross), money(net)), "{path}");
    }
    floor.price(1, 2 * ONE);
    assert_eq!(floor.part("main/index/carry").profit, money(70));
    assert_eq!(floor.part("main/index/momentum").profit, money(-30));
    assert_eq!(floor.part("main/index").profit, money(40));
}

#[test]
fn an_execution_is_booked_once_whoever_repeats_it() {
    let mut floor = Floor::open();
    let order = floor.accept(carry(), "ACME", 10);
    let change = floor.fill(Some(order.order_id), carry(), "ACME", 4, ONE);
    floor.book(change);
    let facts = floor.facts.len();
    floor.book(change);
    let message = desk::message(Body::PositionChange(change), floor.now);
    floor.step(Input::Message(&message));
    // Another text under the same number is still the same execution; another venue's is not.
    let mut louder = change;
    louder.quantity = Quantity::from_nanos(9);
    floor.book(louder);
    assert_eq!(floor.facts.len(), facts);
    assert_eq!(floor.position(carry(), "ACME").unwrap().quantity.nanos(), 4);
    floor.engine = floor.recovered(None, 0);
    floor.book(change);
    assert_eq!(floor.facts.len(), facts);
    let elsewhere = PositionChange { venue: name("OTHER"), ..change };
    floor.book(elsewhere);
    assert_eq!(floor.position(carry(), "ACME").unwrap().quantity.nanos(), 8);
    let view = floor.engine.order(order.order_id).unwrap();
    assert_eq!((view.left.nanos(), view.filled.nanos()), (2, 8));
}

#[test]
fn the_end_of_an_order_frees_what_it_held() {
    let mut floor = Floor::open();
    let order = floor.accept(carry(), "ACME", 10);
    let open =
        |floor: &Floor| floor.position(carry(), "ACME").map_or(0, |position| position.open_buy.nanos());
    assert_eq!(open(&floor), 10);
    let part = floor.fill(Some(order.order_id), carry(), "ACME", 3, ONE);
    floor.book(part);
    assert_eq!(open(&floor), 7);
    // Done without an execution: cancelled, expired or refused. A fee may come with it.
    let mut end = floor.fill(Some(order.order_id), carry(), "ACME", 0, 0);
    (end.done, end.fee) = (true, money(5));
    floor.book(end);
    assert_eq!(open(&floor), 0);
    let position = floor.position(carry(), "ACME").unwrap();
    assert_eq!(
        (position.quantity.nanos(), position.fees, position.mark.unwrap().nanos()),
        (3, money(5), ONE)
    );
    let view = floor.engine.order(order.order_id).unwrap();
    assert_eq!((view.left.nanos(), view.filled.nanos()), (0, 3));
    // One that comes late is booked all the same, and is not more than was ordered.
    let late = floor.fill(Some(order.order_id), carry(), "ACME", 7, ONE);
    floor.book(late);
    assert_eq!((floor.position(carry(), "ACME").unwrap().quantity.nanos(), open(&floor)), (10, 0));
    assert_eq!(floor.alerts(), []);
    assert_eq!(floor.engine.orders(None, true, 10), []);
}

#[test]
fn more_than_was_ordered_is_booked_and_said() {
    let said = [("main/index/carry".to_owned(), AlertKind::Overfill, AlertLevel::Hard)];
    let mut floor = Floor::open();
    let order = floor.accept(carry(), "ACME", 10);
    let fills = [(10, false), (1, true)];
    for (quantity, is_too_much) in fills {
        let change = floor.fill(Some(order.order_id), carry(), "ACME", quantity, ONE);
        floor.book(change);
        assert_eq!(floor.alerts(), if is_too_much { said.to_vec() } else { Vec::new() }, "{quantity}");
    }
    assert_eq!(floor.position(carry(), "ACME").unwrap().quantity.nanos(), 11);
    // Of an order that was rejected, everything is too much.
    floor.limits("firm", Limits { restricted: Some(vec![name("ACME")]), ..wide() });
    let rejected = floor.market(carry(), "ACME", 10);
    assert!(!floor.decide(rejected).accepted);
    let change = floor.fill(Some(rejected.order_id), carry(), "ACME", 1, ONE);
    floor.book(change);
    assert_eq!(floor.alerts(), said);
    // An order that nobody knows here may be from before.
    let change = floor.fill(Some(Uid(77)), carry(), "ACME", 1, ONE);
    floor.book(change);
    assert_eq!((floor.alerts(), floor.position(carry(), "ACME").unwrap().quantity.nanos()), (Vec::new(), 13));
}

#[test]
fn executions_wait_for_their_desk_and_instrument() {
    let mut floor = Floor::open();
    let early = desk_of("later", "b", "s");
    let waits = [("later/b/s".to_owned(), AlertKind::UnbookedFill, AlertLevel::Hard)];
    floor.hold(early, "ACME", 5, ONE);
    assert_eq!(floor.alerts(), waits);
    floor.hold(early, "LATE", 7, 3 * ONE);
    floor.hold(carry(), "LATE", 1, 3 * ONE);
    assert_eq!(floor.engine.unbooked().len(), 3);
    assert_eq!(floor.part("firm").profit, Money::ZERO);
    floor.tell(Command::Portfolio(portfolio("later", "USD", 1_000, &[("b", &["s"])]))).unwrap();
    assert_eq!(floor.engine.unbooked().len(), 2);
    assert_eq!(floor.position(early, "ACME").unwrap().quantity.nanos(), 5);
    floor.define(4, "LATE", "USD", (1, 1, ONE));
    assert_eq!(floor.engine.unbooked(), []);
    assert_eq!(floor.position(early, "LATE").unwrap().quantity.nanos(), 7);
    // The same after a restart, from facts alone.
    let engine = floor.recovered(None, 0);
    assert_eq!(engine.portfolio(name("later")).unwrap().positions.len(), 2);
    assert_eq!(engine.unbooked(), []);
}

#[test]
fn so_many_executions_wait_and_no_more() {
    let mut floor = Floor::open();
    for _ in 0..4_096 {
        floor.hold(desk_of("later", "b", "s"), "ACME", 5, ONE);
    }
    let one_more = floor.fill(None, desk_of("later", "b", "s"), "ACME", 5, ONE);
    assert_eq!(floor.refused(Command::Execution(one_more)), "too_many_unbooked");
    // What has its place is booked, and what is dropped on the mesh is said.
    floor.hold(carry(), "ACME", 5, ONE);
    assert_eq!(floor.position(carry(), "ACME").unwrap().quantity.nanos(), 5);
    let message = desk::message(Body::PositionChange(one_more), floor.now);
    floor.step(Input::Message(&message));
    assert_eq!((floor.out.refusal.clone(), floor.alerts().len()), (None, 1));
    let mut again = floor.recovered(None, 0);
    let snapshot = floor.engine.snapshot();
    again.restore(&snapshot).unwrap();
    floor.tell(Command::Portfolio(portfolio("later", "USD", 1_000, &[("b", &["s"])]))).unwrap();
    assert_eq!(floor.position(desk_of("later", "b", "s"), "ACME").unwrap().quantity.nanos(), 5 * 4_096);
}

#[test]
fn executions_that_cannot_be_are_refused() {
    let mut floor = Floor::open();
    let mut change = floor.fill(None, carry(), "ACME", 5, ONE);
    change.quantity = Quantity::from_nanos(-5);
    assert_eq!(floor.refused(Command::Execution(change)), "invalid_quantity");
    change.quantity = Quantity::from_nanos(i64::MIN);
    assert_eq!(floor.refused(Command::Execution(change)), "invalid_quantity");
    // An amount that does not fit waits, and nothing is changed by it.
    floor.hold(carry(), "ACME", i64::MAX, ONE);
    floor.hold(carry(), "ACME", 1, ONE);
    assert_eq!(floor.engine.unbooked().len(), 1);
    assert_eq!(floor.position(carry(), "ACME").unwrap().quantity.nanos(), i64::MAX);
    let mut fee = floor.fill(None, carry(), "BUND", ONE, ONE);
    fee.fee = Money::MAX;
    floor.book(fee);
    floor.book(PositionChange { trade_id: Uid(1 << 90), ..fee });
    assert_eq!(floor.engine.unbooked().len(), 2, "one of them fits");
    floor.engine.restore(&floor.engine.snapshot()).unwrap();
}

#[test]
fn one_id_is_one_order_with_one_answer() {
    let mut floor = Floor::open();
    let accepted = floor.accept(carry(), "ACME", 5);
    let rejected = floor.market(carry(), "NONE", 5);
    let answer = floor.decide(rejected);
    let facts = floor.facts.len();
    floor.limits("firm", Limits { restricted: Some(vec![name("ACME")]), ..wide() });
    for round in 0..3 {
        match round {
            0 => {}
            1 => floor.engine = floor.recovered(None, 0),
            _ => floor.engine.restore(&floor.engine.snapshot()).unwrap(),
        }
        let before = floor.facts.len();
        assert!(floor.decide(accepted).accepted);
        assert_eq!(floor.decide(rejected), answer);
        let mut other = accepted;
        other.action = desk::new(6, None);
        assert_eq!(floor.decide(other).reasons, reasons(&[Reason::OrderIdReused]));
        other = accepted;
        other.desk = desk_of("main", "index", "momentum");
        assert_eq!(floor.decide(other).reasons, reasons(&[Reason::OrderIdReused]));
        assert_eq!(floor.facts.len(), before);
        assert_eq!(floor.position(carry(), "ACME").unwrap().open_buy.nanos(), 5, "counted once");
    }
    assert!(floor.facts.len() > facts);
}

#[test]
fn cancels_of_anything_are_let_through() {
    let mut floor = Floor::new();
    let mut request = floor.request(desk_of("no", "such", "desk"), "NONE", OrderAction::Cancel);
    assert!(floor.decide(request).accepted);
    assert_eq!(floor.engine.known(&request).map(|decision| decision.accepted), Some(true));
    floor.limits("firm", wide());
    request = floor.accept(carry(), "ACME", 5);
    let facts = floor.facts.len();
    let cancel = nautilus_messages::mesh::OrderRequest { action: OrderAction::Cancel, ..request };
    for _ in 0..2 {
        assert!(floor.decide(cancel).accepted);
        assert_eq!(floor.facts.len(), facts + 1, "one fact, however often it comes");
    }
    assert_eq!(floor.position(carry(), "ACME").unwrap().open_buy.nanos(), 5, "the venue has the last word");
    assert!(floor.recovered(None, 0).order(request.order_id).unwrap().cancelling);
    assert!(floor.decide(request).accepted, "the order itself keeps its answer");
}

#[test]
fn alerts_come_once_per_crossing() {
    let mut floor = Floor::open();
    floor.limits("main", Limits { daily_loss: limit(units(1), units(2)), ..wide() });
    floor.hold(carry(), "ACME", ONE, ONE);
    let mut see = |price: i64| {
        floor.wait(100 * MS).price(1, price);
        floor.alerts()
    };
    let said = |level| vec![("main".to_owned(), AlertKind::DailyLoss, level)];
    assert_eq!(see(0), []);
    assert_eq!(see(-1), said(AlertLevel::Soft));
    assert_eq!(see(-2), []);
    assert_eq!(see(-ONE - 1), said(AlertLevel::Hard));
    assert_eq!(see(-1), said(AlertLevel::Soft));
    assert_eq!(see(ONE), said(AlertLevel::Cleared));
}

#[test]
fn a_peak_is_a_fact() {
    let mut floor = Floor::open();
    floor.hold(carry(), "ACME", ONE, ONE);
    floor.wait(1_000 * MS).price(1, 3 * ONE);
    floor.wait(1_000 * MS).price(1, ONE);
    // Flat now: what remains of the peak stands in the journal alone.
    floor.hold(carry(), "ACME", -ONE, ONE);
    assert_eq!(floor.part("main").drawdown, units(2));
    let mut engine = floor.recovered(None, 0);
    let drawdown = |engine: &nautilus_engine_risk::RiskEngine| engine.overview()[0].drawdown;
    assert_eq!(drawdown(&engine), units(2));
    // Prices from before, with what is held now, are nobody's profit.
    floor.hold(carry(), "ACME", -ONE, ONE);
    engine = floor.recovered(None, 0);
    Floor::feed(&mut engine, &floor.frames);
    assert_eq!(drawdown(&engine), units(2));
    let next = floor.frames.len();
    floor.wait(1_000 * MS).price(1, -3 * ONE);
    let mut out = Effects::default();
    for frame in nautilus_messages::frame::Frames::new(&floor.frames[next..]) {
        engine.step(Stamp::default(), Input::Frame(frame.unwrap()), &mut out);
    }
    assert_eq!(
        (out.facts.len(), drawdown(&engine), floor.part("firm").drawdown),
        (1, Money::ZERO, Money::ZERO)
    );
}

#[test]
fn an_unknown_number_on_the_star_is_asked_for() {
    let mut floor = Floor::open();
    floor.quote(9, ONE, ONE, 0);
    assert_eq!(floor.out.snapshots, [], "this source has no snapshots");
    for _ in 0..2 {
        floor.quote(9, ONE, ONE, flags::CONTIGUOUS);
        assert_eq!(floor.out.snapshots, [nautilus_types::InstrumentId(9)]);
    }
    floor.step(Input::HubRestarted);
    floor.quote(1, ONE, ONE, flags::CONTIGUOUS);
    assert_eq!(floor.out.snapshots, [nautilus_types::InstrumentId(1)]);
    let definition = floor.definition(7, "ACME", "USD", (1, 1, ONE));
    floor.frame(FrameRef::Definition(&definition));
    floor.price(7, 2 * ONE);
    floor.hold(carry(), "ACME", 1, ONE);
    assert_eq!(floor.position(carry(), "ACME").unwrap().mark.unwrap().nanos(), 2 * ONE);
}

#[test]
fn a_question_changes_nothing_and_explains_every_breach() {
    let mut floor = Floor::open();
    floor.limits("firm", Limits { gross: limit(units(5), units(10)), ..wide() });
    floor.limits("main", Limits { gross: limit(units(1), units(2)), ..wide() });
    let request = floor.market(carry(), "ACME", 7 * ONE);
    let before = floor.engine.snapshot();
    let view = floor.engine.check(&request, UnixNanos(floor.now));
    assert_eq!((view.accepted, view.reasons), (false, reasons(&[Reason::GrossLimit])));
    assert_eq!(view.warnings, reasons(&[Reason::GrossLimit]));
    let said: Vec<_> =
        view.breaches.iter().map(|breach| (breach.scope.as_str(), breach.explanation.as_str())).collect();
    assert_eq!(said, [("main", "7 USD, where the limit is 2"), ("firm", "7 USD, where the soft limit is 5")]);
    assert_eq!(floor.engine.snapshot(), before);
    let used = floor.engine.limits_of(&scope("main")).unwrap().utilisation;
    assert_eq!((used[0].limit, used[0].used, used[0].hard), ("gross", Money::ZERO, units(2)));
}
