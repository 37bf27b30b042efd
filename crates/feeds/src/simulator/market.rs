//! One simulated instrument: when something happens, what happens, and the frames that tell of it.
//!
//! Arrivals are a Hawkes process, a slowly moving value that only informed traders know pulls the flow, and now
//! and then it jumps and they trade on it. Nothing here is fitted to a venue: it has the shape of a market and
//! none of its history.

use nautilus_messages::frame::{OrderAction, TradingState, WireSide, flags, header_mut};
use nautilus_types::{Instrument, NANOS_PER_SECOND, SCALE, Side, UnixNanos};

use super::book::{Book, Order};
use super::random::Random;
use crate::frames::Stamp;

/// How long the pre-open lasts.
pub(super) const PRE_OPEN_NS: u64 = NANOS_PER_SECOND;
/// The venue's clock counts in steps of about a microsecond; a power of two packs better.
const CLOCK_NS: u64 = 1_024;
/// Levels that neither cancels nor trades may take from a side, so that both sides are always quoted.
const LEVELS_KEPT: usize = 3;
/// Levels a side opens with, and further ones an order may be placed away from the best.
const OPENING_LEVELS: i64 = 20;
/// Orders around which additions and cancellations balance.
const ORDERS_AIM: f64 = 240.0;
/// How far through the book, in ticks, one marketable order reaches.
const REACH_TICKS: i64 = 3;
const SIZE_MAX: u32 = 500;
/// Mean number of events that one event sets off (the Hawkes process's branching ratio).
const OFFSPRING: f64 = 0.7;
/// The hidden value: ticks per square root of a second, and how fast it is drawn back to where it began.
const VALUE_TICKS_PER_SQRT_S: f64 = 0.5;
const VALUE_RETURN_S: f64 = 7_200.0;
/// Mean seconds from one burst of informed trading to the next, and mean length of one.
const CALM_S: f64 = 120.0;
const BURST_S: f64 = 10.0;

/// A spell in which informed traders buy or sell what they know to be mispriced.
#[derive(Debug, Clone, Copy)]
struct Burst {
    side: Side,
    until_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    PreOpen,
    Waiting,
    Open,
}

/// One instrument's market.
#[derive(Debug)]
pub(super) struct Market {
    instrument: Instrument,
    number: u64,
    random: Random,
    book: Book,
    phase: Phase,
    next_ns: u64,
    /// Events per second without and with what earlier events set off.
    base_rate: f64,
    excited_rate: f64,
    anchor: f64,
    value: f64,
    burst: Option<Burst>,
    calm_until_ns: u64,
    sequence: u64,
    order_id: u64,
    /// The frame under construction: its event's times.
    ts_event: UnixNanos,
    ts_recv: UnixNanos,
}

impl Market {
    /// `mean_rate` is in events per second; `anchor` is the opening price in ticks.
    pub(super) fn new(
        instrument: Instrument,
        number: u64,
        random: Random,
        start: UnixNanos,
        mean_rate: f64,
        anchor: u32,
    ) -> Self {
        Self {
            instrument,
            number,
            random,
            book: Book::default(),
            phase: Phase::PreOpen,
            next_ns: start.0,
            base_rate: mean_rate * (1.0 - OFFSPRING),
            excited_rate: 0.0,
            anchor: f64::from(anchor),
            value: f64::from(anchor),
            burst: None,
            calm_until_ns: 0,
            sequence: 0,
            // Numbers of different instruments differ, as on a venue that has one counter.
            order_id: number << 40,
            ts_event: start,
            ts_recv: start,
        }
    }

    /// When the next event happens.
    pub(super) fn next_ns(&self) -> u64 {
        self.next_ns
    }

    pub(super) fn define(&mut self, out: &mut Vec<u8>) {
        let stamp = self.stamp(flags::LAST | flags::STARTS_OVER);
        stamp.definition(&self.instrument, self.number, 0, out);
    }

    /// The state in which trading ends.
    pub(super) fn close(&mut self, at: UnixNanos, last_recv: &mut UnixNanos, out: &mut Vec<u8>) {
        self.at(at, last_recv);
        self.stamp(flags::LAST).status(TradingState::Closed, out);
    }

    /// Appends the event that is due and draws the time of the next one.
    pub(super) fn step(&mut self, last_recv: &mut UnixNanos, out: &mut Vec<u8>) {
        let now = self.next_ns;
        self.at(UnixNanos(now), last_recv);
        match self.phase {
            Phase::PreOpen => {
                self.stamp(flags::LAST).status(TradingState::PreOpen, out);
                self.open_book(out);
                self.phase = Phase::Waiting;
                self.next_ns = now.saturating_add(PRE_OPEN_NS);
            }
            Phase::Waiting => {
                self.stamp(flags::LAST).status(TradingState::Open, out);
                self.phase = Phase::Open;
                self.calm_until_ns = after(now, self.random.exponential(CALM_S));
                self.draw_arrival();
            }
            Phase::Open => {
                self.act(out);
                mark_last(out);
                self.draw_arrival();
            }
        }
    }

    fn at(&mut self, ts_event: UnixNanos, last_recv: &mut UnixNanos) {
        self.ts_event = ts_event;
        let latency_s = 20e-6 + self.random.exponential(15e-6);
        self.ts_recv = UnixNanos(after(ts_event.0, latency_s).max(last_recv.0));
        *last_recv = self.ts_recv;
    }

    fn stamp(&mut self, extra: u16) -> Stamp {
        self.sequence += 1;
        Stamp {
            instrument: self.instrument.id,
            sequence: self.sequence,
            ts_event: self.ts_event,
            ts_recv: self.ts_recv,
            flags: flags::SIMULATED | flags::CONTIGUOUS | extra,
        }
    }

    fn tell(&mut self, action: OrderAction, order: &Order, quantity: u32, extra: u16, out: &mut Vec<u8>) {
        let price = order.price * self.instrument.tick.nanos();
        let (side, size) = (WireSide::from(Some(order.side)), i64::from(quantity) * SCALE);
        self.stamp(extra).order(action, side, order.id, (price, size), out);
    }

    /// The opening book, sent as a snapshot: two ticks wide.
    #[allow(clippy::cast_possible_truncation)]
    fn open_book(&mut self, out: &mut Vec<u8>) {
        self.stamp(flags::SNAPSHOT).order(OrderAction::Clear, WireSide::None, 0, (0, 0), out);
        let middle = self.anchor as i64;
        for distance in 1..=OPENING_LEVELS {
            for side in [Side::Buy, Side::Sell] {
                for _ in 0..2 + self.random.below(4) {
                    let price = middle + away(side, distance);
                    self.rest(side, price, flags::SNAPSHOT, out);
                }
            }
        }
        mark_last(out);
    }

    fn rest(&mut self, side: Side, price: i64, extra: u16, out: &mut Vec<u8>) {
        assert!(price > 0, "simulated prices stay far above zero");
        self.order_id += 1;
        let quantity = self.random.heavy_tailed(SIZE_MAX);
        let order = Order { id: self.order_id, side, price, quantity };
        self.book.add(order);
        self.tell(OrderAction::Add, &order, quantity, extra, out);
    }

    /// Ogata's thinning (IEEE Transactions on Information Theory 27 (1981) 23): candidates at the highest rate
    /// possible until one is accepted. The kernel is exponential.
    fn draw_arrival(&mut self) {
        let informed = if self.burst.is_some() { 3.0 } else { 1.0 };
        let base = self.base_rate * informed;
        let decay = 2.0 * self.base_rate / (1.0 - OFFSPRING);
        let mut waited_s = 0.0;
        loop {
            let bound = base + self.excited_rate;
            let wait_s = self.random.exponential(1.0 / bound);
            waited_s += wait_s;
            self.excited_rate *= libm::exp(-decay * wait_s);
            if self.random.chance((base + self.excited_rate) / bound) {
                break;
            }
        }
        self.excited_rate += OFFSPRING * decay;
        let now = self.next_ns;
        self.next_ns = after(now, waited_s).max(now.saturating_add(CLOCK_NS));
        self.move_value(waited_s);
    }

    fn move_value(&mut self, elapsed_s: f64) {
        let noise = VALUE_TICKS_PER_SQRT_S * libm::sqrt(elapsed_s) * self.random.normal();
        let pull = (self.anchor - self.value) * (elapsed_s / VALUE_RETURN_S).min(1.0);
        self.value += noise + pull;
        match self.burst {
            Some(burst) if self.next_ns < burst.until_ns => {}
            Some(_) => {
                self.burst = None;
                self.calm_until_ns = after(self.next_ns, self.random.exponential(CALM_S));
            }
            None if self.next_ns < self.calm_until_ns => {}
            None => {
                let side = if self.random.chance(0.5) { Side::Buy } else { Side::Sell };
                let jump = 5.0 + 10.0 * self.random.uniform();
                self.value += if side == Side::Buy { jump } else { -jump };
                let until_ns = after(self.next_ns, self.random.exponential(BURST_S));
                self.burst = Some(Burst { side, until_ns });
            }
        }
    }

    fn best(&self, side: Side) -> i64 {
        self.book.best(side).expect("both sides are always quoted")
    }

    /// How strongly the hidden value pulls: −1 (down) to 1 (up).
    #[allow(clippy::cast_precision_loss)]
    fn pull(&self) -> f64 {
        let middle = (self.best(Side::Buy) + self.best(Side::Sell)) as f64 / 2.0;
        ((self.value - middle) / 4.0).clamp(-1.0, 1.0)
    }

    #[allow(clippy::cast_precision_loss)]
    fn act(&mut self, out: &mut Vec<u8>) {
        let take = if self.burst.is_some() { 0.35 } else { 0.16 };
        let fullness = (self.book.len() as f64 / ORDERS_AIM).clamp(0.3, 2.0);
        let (cancel, modify) = (0.3 * fullness, 0.08);
        let draw = self.random.uniform();
        if draw <= take {
            self.take(out);
        } else if draw <= take + cancel * (1.0 - take) {
            self.cancel(out);
        } else if draw <= take + (cancel + modify) * (1.0 - take) {
            self.modify(out);
        } else {
            let side = self.side(0.5 + 0.2 * self.pull());
            self.place(side, out);
        }
    }

    fn side(&mut self, buys: f64) -> Side {
        if self.random.chance(buys) { Side::Buy } else { Side::Sell }
    }

    /// A limit price that does not cross: inside a wide spread, or some way behind the best.
    fn passive_price(&mut self, side: Side) -> i64 {
        let (own, other) = (self.best(side), self.best(side.opposite()));
        let room = u64::try_from((other - own).abs() - 1).expect("the book is never crossed");
        if room > 0 {
            let eagerness = 0.25 + 0.15 * f64::from(u32::try_from(room).unwrap_or(u32::MAX));
            if self.random.chance(eagerness.min(0.95)) {
                let step = 1 + i64::try_from(self.random.below(room)).expect("less than the spread");
                return own - away(side, step);
            }
        }
        own + away(side, i64::from(self.random.heavy_tailed(30)) - 1)
    }

    fn place(&mut self, side: Side, out: &mut Vec<u8>) {
        let price = self.passive_price(side);
        self.rest(side, price, 0, out);
    }

    /// A resting order, rather one far from the touch than one near it.
    fn pick(&mut self) -> Order {
        let count = self.book.len() as u64;
        let mut draw = || {
            let n = self.random.below(count);
            self.book.nth(usize::try_from(n).expect("an index"))
        };
        let (one, two) = (draw(), draw());
        let distance = |order: &Order| (order.price - self.best(order.side)).abs();
        if distance(&one) >= distance(&two) { one } else { two }
    }

    /// Whether the order may not leave its price: it alone holds one of the last levels of its side.
    fn is_needed(&self, order: &Order) -> bool {
        self.book.levels(order.side) <= LEVELS_KEPT && self.book.company(order) == 1
    }

    fn cancel(&mut self, out: &mut Vec<u8>) {
        let order = self.pick();
        if self.is_needed(&order) {
            return self.place(order.side, out);
        }
        let partly = order.quantity > 1 && self.random.chance(0.15);
        let quantity = if partly { 1 + self.smaller(order.quantity - 1) } else { order.quantity };
        self.book.reduce(order.id, quantity);
        self.tell(OrderAction::Cancel, &order, quantity, 0, out);
    }

    fn smaller(&mut self, bound: u32) -> u32 {
        u32::try_from(self.random.below(u64::from(bound))).expect("below a u32")
    }

    /// A smaller size keeps the place in the queue; another price or a larger size goes to the end.
    fn modify(&mut self, out: &mut Vec<u8>) {
        let order = self.pick();
        if self.is_needed(&order) {
            return self.place(order.side, out);
        }
        let mut changed = order;
        if self.random.chance(0.5) {
            changed.quantity = self.random.heavy_tailed(SIZE_MAX);
        } else {
            changed.price = self.passive_price(order.side);
        }
        if changed == order {
            changed.quantity += 1;
        }
        if changed.price == order.price && changed.quantity < order.quantity {
            self.book.reduce(order.id, order.quantity - changed.quantity);
        } else {
            self.book.remove(order.id);
            self.book.add(changed);
        }
        self.tell(OrderAction::Modify, &changed, changed.quantity, 0, out);
    }

    /// A marketable order, immediate or cancel. As CME tells it: per price the print and the fills, then what
    /// became of the resting orders.
    fn take(&mut self, out: &mut Vec<u8>) {
        let side = match self.burst {
            Some(burst) if self.random.chance(0.85) => burst.side,
            _ => {
                let buys = 0.5 + 0.4 * self.pull();
                self.side(buys)
            }
        };
        let resting = side.opposite();
        if self.book.levels(resting) <= LEVELS_KEPT {
            return self.place(resting, out);
        }
        let limit = self.best(resting) - away(side, REACH_TICKS);
        let mut left = self.random.heavy_tailed(SIZE_MAX);
        let mut filled: Vec<(Order, u32)> = Vec::new();
        while left > 0 && self.book.levels(resting) > LEVELS_KEPT && within(side, self.best(resting), limit) {
            let first = filled.len();
            for order in self.book.front(resting) {
                let quantity = left.min(order.quantity);
                if quantity == 0 {
                    break;
                }
                left -= quantity;
                self.book.reduce(order.id, quantity);
                filled.push((order, quantity));
            }
            self.tell_fills(side, &filled[first..], out);
        }
        for (order, quantity) in filled {
            let rest = order.quantity - quantity;
            match rest {
                0 => self.tell(OrderAction::Cancel, &order, quantity, 0, out),
                _ => self.tell(OrderAction::Modify, &order, rest, 0, out),
            }
        }
    }

    /// The print of one price level and the fills it is made of.
    fn tell_fills(&mut self, aggressor: Side, fills: &[(Order, u32)], out: &mut Vec<u8>) {
        let total: i64 = fills.iter().map(|&(_, quantity)| i64::from(quantity)).sum();
        let price = fills[0].0.price * self.instrument.tick.nanos();
        self.stamp(0).trade(price, total * SCALE, WireSide::from(Some(aggressor)), out);
        for (order, quantity) in fills {
            self.tell(OrderAction::Fill, order, *quantity, 0, out);
        }
    }
}

/// So many ticks further from the other side.
fn away(side: Side, ticks: i64) -> i64 {
    match side {
        Side::Buy => -ticks,
        Side::Sell => ticks,
    }
}

/// Whether a taker on `side` still pays `price`.
fn within(side: Side, price: i64, limit: i64) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn after(now_ns: u64, wait_s: f64) -> u64 {
    now_ns.saturating_add((wait_s * NANOS_PER_SECOND as f64) as u64 / CLOCK_NS * CLOCK_NS)
}

/// Marks the frame appended last as the end of its event. All frames of an event are short ones.
fn mark_last(out: &mut [u8]) {
    let start = out.len() - nautilus_messages::frame::SHORT_LEN;
    let header = header_mut(&mut out[start..]).expect("a frame was appended");
    *header = header.with_flags(flags::LAST);
}
