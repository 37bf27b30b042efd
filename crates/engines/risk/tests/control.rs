//! What people may change: limits and the kill switch with a second person, the dead-man timer, and every command that is
//! refused.

mod desk;

use std::collections::BTreeMap;

use desk::{
    EUR, Floor, JPY, LEVELS, MS, carry, desk as desk_of, limit, name, portfolio, reasons, scope, units, wide,
};
use nautilus_engine::Engine as _;
use nautilus_engine_risk::{Change, Command, Limit, Limits, RESTRICTED_MAX, Settings, TradingState};
use nautilus_messages::mesh::{AlertKind, AlertLevel, OrderAction, Reason};
use nautilus_types::{Money, SCALE};

fn gross(hard: i64) -> Limits {
    Limits { gross: Some(Limit { soft: None, hard: units(hard) }), ..wide() }
}

fn limits(limits: Limits) -> Change {
    Change::Limits(Box::new(limits))
}

#[test]
fn what_loosens_waits_for_a_second_person() {
    let mut floor = Floor::new();
    // The first limits let through what was rejected before.
    floor.change("firm", limits(gross(100)), "ann").unwrap();
    assert_eq!(floor.engine.limits(&scope("firm")), Some(&Limits::default()));
    let [(id, proposal)] = &floor.engine.proposals()[..] else { panic!("one waits") };
    assert_eq!((proposal.by.as_str(), proposal.at.0), ("ann", floor.now));
    let id = *id;
    for who in ["ann", "ANN", " ann "] {
        assert_eq!(floor.refused(Command::Approve { id, by: who.to_owned() }), "same_person", "{who}");
    }
    assert_eq!(floor.refused(Command::Approve { id: id + 1, by: "bob".to_owned() }), "unknown_proposal");
    floor.tell(Command::Approve { id, by: "bob".to_owned() }).unwrap();
    assert_eq!(floor.engine.limits(&scope("firm")), Some(&gross(100)));
    assert_eq!(floor.refused(Command::Approve { id, by: "bob".to_owned() }), "unknown_proposal");
    // What tightens is in force at once, and so is a limit below one that is set above.
    floor.change("firm", limits(gross(90)), "ann").unwrap();
    floor.change("main/index", limits(gross(1_000)), "ann").unwrap();
    assert_eq!(floor.engine.limits(&scope("firm")), Some(&gross(90)));
    assert_eq!(floor.engine.limits(&scope("main/index")), Some(&gross(1_000)));
    assert_eq!(floor.engine.proposals(), []);
    // Taking one away loosens.
    floor.change("main/index", limits(Limits::default()), "ann").unwrap();
    assert_eq!(floor.engine.proposals().len(), 1);
}

#[test]
fn a_proposal_is_withdrawn_or_superseded() {
    let mut floor = Floor::new();
    floor.limits("firm", gross(100));
    floor.change("firm", limits(gross(200)), "ann").unwrap();
    let id = floor.engine.proposals()[0].0;
    assert_eq!(floor.refused(Command::Withdraw { id: id + 7, by: "ann".to_owned() }), "unknown_proposal");
    floor.tell(Command::Withdraw { id, by: "ann".to_owned() }).unwrap();
    assert_eq!(floor.refused(Command::Withdraw { id, by: "ann".to_owned() }), "unknown_proposal");
    assert_eq!(floor.engine.limits(&scope("firm")), Some(&gross(100)));
    // Numbers are never used again.
    floor.change("firm", limits(gross(300)), "ann").unwrap();
    floor.change("main", limits(Limits { orders_per_second: Some(9), ..Limits::default() }), "ann").unwrap();
    assert_eq!(floor.engine.proposals().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id + 1]);
    // Limits that were tightened meanwhile are not what the proposal was about.
    floor.change("firm", limits(gross(50)), "bob").unwrap();
    assert_eq!(floor.engine.proposals(), []);
    // A halt supersedes whatever waited to end the former one, and nothing else.
    floor.change("firm", Change::State(TradingState::Halted), "ann").unwrap();
    floor.change("firm", Change::State(TradingState::Active), "ann").unwrap();
    floor.change("firm", limits(gross(400)), "ann").unwrap();
    floor.change("firm", Change::State(TradingState::Halted), "bob").unwrap();
    let [(_, waits)] = &floor.engine.proposals()[..] else { panic!("one waits") };
    assert_eq!(waits.change, limits(gross(400)));
}

#[test]
fn without_second_approvers_changes_are_in_force_at_once() {
    let mut floor = Floor::with(Settings { second_approver: false, ..Settings::default() });
    floor.change("firm", limits(gross(100)), "ann").unwrap();
    floor.change("firm", limits(gross(200)), "ann").unwrap();
    assert_eq!(floor.engine.limits(&scope("firm")), Some(&gross(200)));
}

#[test]
fn the_kill_switch_stops_what_is_below_and_never_a_cancel() {
    for level in LEVELS {
        let mut floor = Floor::open();
        floor.hold(carry(), "ACME", 10, SCALE);
        let order = floor.accept(carry(), "ACME", 5);
        floor.change(level, Change::State(TradingState::Reducing), "ann").unwrap();
        assert_eq!(floor.alerts(), [(level.to_owned(), AlertKind::KillSwitch, AlertLevel::Soft)]);
        assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::Reducing]));
        assert_eq!(floor.reject(carry(), "ACME", -11), reasons(&[Reason::Reducing]));
        floor.accept(carry(), "ACME", -6);
        assert_eq!(floor.reject(carry(), "ACME", -5), reasons(&[Reason::Reducing]), "6 of 10 are ordered");
        floor.accept(carry(), "ACME", -4);
        floor.change(level, Change::State(TradingState::Halted), "ann").unwrap();
        assert_eq!(floor.alerts(), [(level.to_owned(), AlertKind::KillSwitch, AlertLevel::Hard)]);
        assert_eq!(floor.reject(carry(), "ACME", -1), reasons(&[Reason::Halted]));
        let mut cancel = order;
        cancel.action = OrderAction::Cancel;
        assert!(floor.decide(cancel).accepted);
        assert!(floor.engine.order(order.order_id).unwrap().cancelling);
        // Who stands elsewhere trades on.
        let beside = desk_of("main", "index", "momentum");
        if level.ends_with("carry") {
            floor.accept(beside, "ACME", 1);
        } else {
            assert_eq!(floor.reject(beside, "ACME", 1), reasons(&[Reason::Halted]));
        }
        if level != "firm" {
            floor.accept(desk_of("euro", "rates", "one"), "BUND", SCALE);
        }
        // Back takes two, step by step or at once.
        floor.change(level, Change::State(TradingState::Active), "ann").unwrap();
        assert_eq!(floor.reject(carry(), "ACME", -1), reasons(&[Reason::Halted]));
        let id = floor.engine.proposals()[0].0;
        assert_eq!(floor.refused(Command::Approve { id, by: "ann".to_owned() }), "same_person");
        floor.tell(Command::Approve { id, by: "bob".to_owned() }).unwrap();
        assert_eq!(floor.alerts(), [(level.to_owned(), AlertKind::KillSwitch, AlertLevel::Cleared)]);
        floor.accept(carry(), "ACME", 1);
    }
}

#[test]
fn a_halt_outlives_a_restart() {
    let mut floor = Floor::open();
    floor.change("main", Change::State(TradingState::Halted), "ann").unwrap();
    let engine = floor.recovered(None, 0);
    assert_eq!(engine.trading(&scope("main")), Some((TradingState::Halted, 0)));
    assert_eq!(engine.trading(&scope("nobody")), None);
}

#[test]
fn the_dead_man_timer_halts_the_firm() {
    let mut floor = Floor::open();
    floor.tell(Command::Tick).unwrap();
    floor.change("firm", Change::DeadMan(1_000), "ann").unwrap();
    let tick = |floor: &mut Floor, ms: u64| {
        floor.wait(ms * MS).tell(Command::Tick).unwrap();
        floor.engine.trading(&scope("firm")).unwrap().0
    };
    assert_eq!(tick(&mut floor, 1_000), TradingState::Active);
    floor.tell(Command::Heartbeat).unwrap();
    assert_eq!(tick(&mut floor, 1_000), TradingState::Active);
    assert_eq!(tick(&mut floor, 1), TradingState::Halted);
    assert_eq!(floor.alerts(), [("firm".to_owned(), AlertKind::DeadMan, AlertLevel::Hard)]);
    assert_eq!(tick(&mut floor, 1), TradingState::Halted);
    assert_eq!(floor.alerts(), [], "it is said once");
    // A sign of life does not let trading go on; two people do.
    floor.tell(Command::Heartbeat).unwrap();
    assert_eq!(tick(&mut floor, 0), TradingState::Halted);
    floor.turn("firm", TradingState::Active);
    assert_eq!(tick(&mut floor, 0), TradingState::Active);
    // Later and off need a second person, sooner does not.
    floor.change("firm", Change::DeadMan(500), "ann").unwrap();
    assert_eq!(floor.engine.trading(&scope("firm")).unwrap().1, 500);
    for later in [501, 0] {
        floor.change("firm", Change::DeadMan(later), "ann").unwrap();
        assert_eq!(floor.engine.trading(&scope("firm")).unwrap().1, 500);
    }
    let (id, _) = *floor.engine.proposals().last().unwrap();
    floor.tell(Command::Approve { id, by: "bob".to_owned() }).unwrap();
    assert_eq!(tick(&mut floor, 100_000), TradingState::Active, "it is off");
}

#[test]
fn the_time_before_a_start_is_nobodys_fault() {
    let mut floor = Floor::open();
    floor.change("firm", Change::DeadMan(1_000), "ann").unwrap();
    let snapshot = floor.engine.snapshot();
    for snapshot in [None, Some(&snapshot[..])] {
        floor.engine = floor.recovered(snapshot, if snapshot.is_some() { floor.facts.len() } else { 0 });
        floor.wait(10_000 * MS).tell(Command::Tick).unwrap();
        assert_eq!(floor.engine.trading(&scope("firm")), Some((TradingState::Active, 1_000)));
        floor.wait(1_001 * MS).tell(Command::Tick).unwrap();
        assert_eq!(floor.engine.trading(&scope("firm")), Some((TradingState::Halted, 1_000)));
        floor.turn("firm", TradingState::Active);
        floor.tell(Command::Heartbeat).unwrap();
    }
}

#[test]
fn a_clock_that_was_put_back_is_followed() {
    let mut floor = Floor::open();
    floor.limits("firm", Limits { orders_per_second: Some(2), duplicate_window_ms: Some(10), ..wide() });
    floor.change("firm", Change::DeadMan(1_000), "ann").unwrap();
    // For a moment the clock was an hour ahead.
    let right = floor.now;
    floor.now += 3_600_000 * MS;
    assert_eq!(floor.reject(carry(), "ACME", 1), reasons(&[Reason::StaleMark]));
    floor.now = right + MS;
    for quantity in [1, 2] {
        floor.accept(carry(), "ACME", quantity);
    }
    assert_eq!(floor.reject(carry(), "ACME", 3), reasons(&[Reason::OrderRate]));
    floor.wait(500 * MS);
    floor.accept(carry(), "ACME", 1);
    floor.tell(Command::Tick).unwrap();
    floor.wait(1_001 * MS).tell(Command::Tick).unwrap();
    assert_eq!(floor.engine.trading(&scope("firm")).unwrap().0, TradingState::Halted, "the timer runs on");
    // Clocks that differ a little do not take time back: no order more a second comes of it.
    floor.turn("firm", TradingState::Active);
    floor.tell(Command::Heartbeat).unwrap();
    let begin = floor.now;
    let mut accepted = 0;
    for n in 0..100 {
        floor.now = if n % 2 == 0 { begin } else { begin + 100 * MS };
        let request = floor.market(carry(), "ACME", 100 + n);
        accepted += u32::from(floor.decide(request).accepted);
    }
    assert_eq!(accepted, 2);
}

#[test]
fn commands_that_cannot_be_are_refused_and_change_nothing() {
    let mut floor = Floor::open();
    floor.hold(carry(), "YENS", SCALE, SCALE);
    let declare = |capital: i64, currency: &str, books: &[(&str, &[&str])]| {
        Command::Portfolio(portfolio("main", currency, capital, books))
    };
    let all: &[(&str, &[&str])] = &[("index", &["carry", "momentum"]), ("macro", &["one"])];
    let many: Vec<String> = (0..4_096).map(|n| format!("s{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (command, code) in [
        (declare(0, "USD", all), "invalid_capital"),
        (declare(-1, "USD", all), "invalid_capital"),
        (declare(1_000_000, "CHF", all), "unknown_currency"),
        (declare(1_000_000, "EUR", all), "currency_fixed"),
        (declare(1_000_000, "USD", &[]), "no_strategy"),
        (declare(1_000_000, "USD", &[("index", &[])]), "no_strategy"),
        (declare(1_000_000, "USD", &all[..1]), "desk_left_out"),
        (declare(1_000_000, "USD", &[("index", &["carry"]), all[1]]), "desk_left_out"),
        (declare(1_000_000, "USD", &[all[0], all[1], ("new", &many)]), "too_many_desks"),
        (declare(1_000_000, "USD", &[all[0], all[1], ("new", &many[..4_088])]), "too_many_desks"),
    ] {
        assert_eq!(floor.refused(command), code);
    }
    for rates in
        [vec![("EUR", 0)], vec![("EUR", EUR), ("JPY", -1)], vec![("EUR", EUR), ("JPY", JPY), ("USD", SCALE)]]
    {
        assert_eq!(floor.refused(rates_of(&rates)), "invalid_rate");
    }
    assert_eq!(floor.refused(rates_of(&[("JPY", JPY)])), "rate_missing", "a portfolio is in euros");
    assert_eq!(floor.refused(rates_of(&[("EUR", EUR)])), "rate_missing", "a position is in yen");
    let many: Vec<String> = (0..257).map(|n| format!("{n:04}")).collect();
    let many: Vec<(&str, i64)> = many.iter().map(|text| (text.as_str(), 1)).collect();
    assert_eq!(floor.refused(rates_of(&many)), "too_many_rates");
}

fn rates_of(rates: &[(&str, i64)]) -> Command {
    let rates: BTreeMap<_, _> = rates.iter().map(|(currency, rate)| (name(currency), *rate)).collect();
    Command::Rates { rates, by: "ann".to_owned() }
}

fn change_of(path: &str, change: Change, by: &str, reason: &str) -> Command {
    Command::Change { scope: scope(path), change, by: by.to_owned(), reason: reason.to_owned() }
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let mut floor = Floor::open();
    let halt = || Change::State(TradingState::Halted);
    for path in ["nobody", "main/x", "main/index/x"] {
        assert_eq!(floor.refused(change_of(path, halt(), "ann", "")), "unknown_desk");
    }
    assert_eq!(floor.refused(change_of("main", Change::DeadMan(1), "ann", "")), "invalid_scope");
    for who in ["", "  ", &"x".repeat(65)] {
        assert_eq!(floor.refused(change_of("main", halt(), who, "")), "invalid_name");
        assert_eq!(
            floor.refused(Command::Rates { rates: BTreeMap::new(), by: who.to_owned() }),
            "invalid_name"
        );
        let mut anonymous = portfolio("new", "USD", 1, &[("b", &["s"])]);
        anonymous.by = who.to_owned();
        assert_eq!(floor.refused(Command::Portfolio(anonymous)), "invalid_name");
    }
    assert_eq!(floor.refused(change_of("main", halt(), "ann", &"x".repeat(1_025))), "invalid_reason");
    let symbols = |count: usize| (0..count).map(|n| name(&format!("S{n}"))).collect::<Vec<_>>();
    for bad in [
        Limits { gross: limit(units(2), units(1)), ..wide() },
        Limits { net: limit(units(-1), units(1)), ..wide() },
        Limits { var: Some(Limit { soft: None, hard: Money::from_nanos(-1) }), ..wide() },
        Limits { concentration_bps: limit(2, 1), ..wide() },
        Limits { price_collar_bps: limit(2, 1), ..wide() },
        Limits { restricted: Some(symbols(RESTRICTED_MAX + 1)), ..wide() },
    ] {
        assert_eq!(floor.refused(change_of("main", limits(bad), "ann", "")), "invalid_limits");
    }
    floor
        .change("firm", limits(Limits { restricted: Some(symbols(RESTRICTED_MAX)), ..wide() }), "ann")
        .unwrap();
    // So many may wait, and no more.
    floor.limits("firm", wide());
    for _ in 0..256 {
        floor.change("firm", Change::DeadMan(1), "ann").unwrap();
        floor.change("firm", limits(Limits::default()), "ann").unwrap();
    }
    assert_eq!(floor.engine.proposals().len(), 256);
    assert_eq!(floor.refused(change_of("firm", limits(Limits::default()), "ann", "")), "too_many_proposals");
}

#[test]
fn more_capital_waits_for_a_second_person() {
    let books: &[(&str, &[&str])] = &[("index", &["carry", "momentum"]), ("macro", &["one"])];
    let declare = |capital: i64| Command::Portfolio(portfolio("main", "USD", capital, books));
    let mut floor = Floor::open();
    let capital = |floor: &Floor, path: &str| floor.part(path).capital;
    let firm = capital(&floor, "firm");
    floor.tell(declare(2_000_000)).unwrap();
    assert_eq!((capital(&floor, "main"), capital(&floor, "firm")), (units(1_000_000), firm));
    let (id, waits) = floor.engine.proposals().remove(0);
    assert_eq!(waits.change, Change::Capital(units(2_000_000)));
    assert_eq!(floor.refused(Command::Approve { id, by: "ann".to_owned() }), "same_person");
    floor.tell(Command::Approve { id, by: "bob".to_owned() }).unwrap();
    assert_eq!(capital(&floor, "main/index/carry"), units(2_000_000));
    assert_eq!(capital(&floor, "firm").nanos(), firm.nanos() + units(1_000_000).nanos());
    // Less is in force at once, and what waited for more was asked for when there was more.
    floor.tell(declare(3_000_000)).unwrap();
    floor.tell(declare(500_000)).unwrap();
    assert_eq!(capital(&floor, "main"), units(500_000));
    assert!(floor.engine.proposals().is_empty());
    for (path, amount) in [("firm", 1), ("main/index", 1)] {
        let change = Change::Capital(units(amount));
        assert_eq!(floor.refused(change_of(path, change, "ann", "")), "invalid_scope");
    }
    assert_eq!(floor.refused(change_of("main", Change::Capital(Money::ZERO), "ann", "")), "invalid_capital");
}

#[test]
fn a_full_journal_takes_what_makes_trading_safer_and_nothing_else() {
    let mut floor = Floor::open();
    floor.change("firm", limits(Limits::default()), "ann").unwrap();
    let id = floor.engine.proposals()[0].0;
    floor.engine.journal_room(false);
    assert_eq!(floor.refused(Command::Approve { id, by: "bob".to_owned() }), "journal_full");
    assert_eq!(floor.refused(change_of("firm", limits(Limits::default()), "ann", "")), "journal_full");
    assert_eq!(floor.refused(rates_of(&[("EUR", 1), ("JPY", 1)])), "journal_full");
    assert_eq!(floor.refused(Command::Portfolio(portfolio("n", "USD", 1, &[("b", &["s"])]))), "journal_full");
    floor.change("firm", Change::State(TradingState::Halted), "ann").unwrap();
    floor.change("main", limits(wide()), "ann").unwrap();
    floor.hold(carry(), "ACME", 1, SCALE);
    assert_eq!(floor.position(carry(), "ACME").unwrap().quantity.nanos(), 1);
    floor.tell(Command::Withdraw { id, by: "ann".to_owned() }).unwrap();
}
