//! Once everything has been there, deciding an order and following a price takes no memory.

mod desk;

use desk::{Floor, MS, carry, limit, money, wide};
use nautilus_engine::{Effects, Engine as _, Input, Stamp};
use nautilus_engine_risk::{Command, Limits};
use nautilus_messages::frame::{FrameRef, Frames};
use nautilus_messages::mesh::{Body, OrderRequest};
use nautilus_testkit::{CountingAllocator, allocations};
use nautilus_types::{SCALE, UnixNanos};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

/// Allocations of one step, and whether the order was accepted.
fn decide(floor: &mut Floor, out: &mut Effects, request: OrderRequest, by_mesh: bool) -> (u64, bool) {
    let at = Stamp { now: UnixNanos(floor.now), index: 0 };
    let message = desk::message(Body::OrderRequest(request), floor.now);
    let command = Command::Order(request);
    out.clear();
    let before = allocations();
    if by_mesh {
        floor.engine.step(at, Input::Message(&message), out);
    } else {
        floor.engine.step(at, Input::Command(command), out);
    }
    let taken = allocations() - before;
    let Some(Body::OrderDecision(decision)) = out.mesh.first().map(|sent| &sent.body) else {
        panic!("no answer")
    };
    (taken, decision.accepted)
}

#[test]
fn an_order_that_is_decided_allocates_nothing() {
    let mut floor = Floor::open();
    let tight = Limits { gross: limit(money(400), money(500)), orders_per_second: Some(1_000), ..wide() };
    floor.limits("main", tight);
    let mut out = Effects::default();
    let (mut accepted, mut rejected) = (0, 0);
    for n in 0..20_000 {
        floor.wait(MS);
        let quantity = if n % 2 == 0 { 1 + n % 3 } else { 600 };
        let mut request = floor.market(carry(), ["ACME", "NONE"][usize::from(n % 7 == 0)], quantity);
        if n % 5 == 0 {
            request.action = desk::new(quantity, Some(SCALE));
        }
        let (taken, is_accepted) = decide(&mut floor, &mut out, request, n % 3 != 0);
        if n > 100 {
            assert_eq!(taken, 0, "order {n}, accepted: {is_accepted}");
        }
        *if is_accepted { &mut accepted } else { &mut rejected } += 1;
        if is_accepted {
            let mut end = floor.fill(Some(request.order_id), carry(), "ACME", 0, 0);
            end.done = true;
            floor.book(end);
        }
        if n % 10 == 0 {
            // Once more, and its cancel.
            assert_eq!(decide(&mut floor, &mut out, request, true).0, 0);
            request.action = nautilus_messages::mesh::OrderAction::Cancel;
            assert_eq!(decide(&mut floor, &mut out, request, true).0, 0);
        }
        if n % 1_000 == 0 {
            floor.price(1, SCALE);
        }
    }
    assert!(accepted > 5_000 && rejected > 5_000, "{accepted} {rejected}");
}

#[test]
fn quotes_and_trades_allocate_nothing() {
    let mut floor = Floor::open();
    floor.limits("main", Limits { gross: limit(money(900), money(1_000)), ..wide() });
    floor.hold(carry(), "ACME", 500, SCALE);
    floor.hold(desk::desk("euro", "rates", "one"), "ACME", -300, SCALE);
    floor.define(4, "PRINTS", "USD", (1, 1, SCALE));
    let begin = floor.frames.len();
    // Profits fall, so that no highest one has to be written; exposures cross the soft limit now and then.
    for n in 0..20_000 {
        floor.wait(MS);
        let price = SCALE - n + if n % 400 < 200 { 0 } else { 3 * SCALE };
        floor.quote(1, price - 1, price + 1, 0);
        floor.trade(4, price, 0);
    }
    floor.engine = floor.recovered(None, 0);
    let mut out = Effects::default();
    let mut counted = 0;
    for frame in Frames::new(&floor.frames[..begin]) {
        floor.engine.step(Stamp::default(), Input::Frame(frame.unwrap()), &mut out);
    }
    for (n, frame) in Frames::new(&floor.frames[begin..]).enumerate() {
        let frame: FrameRef<'_> = frame.unwrap();
        out.clear();
        let before = allocations();
        floor.engine.step(Stamp { now: frame.header().ts_recv(), index: 0 }, Input::Frame(frame), &mut out);
        let taken = allocations() - before;
        if n > 1_000 && out.facts.is_empty() && out.mesh.is_empty() {
            assert_eq!(taken, 0, "frame {n}");
            counted += 1;
        }
    }
    assert!(counted > 30_000, "{counted}");
}
