//! The simulator against what markets are known to look like, and against an order book kept from its frames alone.

use std::collections::{BTreeMap, HashMap};

use nautilus_messages::frame::{FrameRef, Frames, OrderAction, OrderChange, TradingState, WireSide, flags};
use nautilus_types::{NANOS_PER_SECOND, SCALE};

use super::*;

fn config(seed: u64, instruments: usize, seconds: u64) -> SimulatorConfig {
    let from = SimulatorConfig::default();
    let until = Some(UnixNanos(from.start.0 + seconds * NANOS_PER_SECOND));
    SimulatorConfig { seed, instruments, until, ..from }
}

fn run(config: SimulatorConfig, batch: usize) -> Vec<u8> {
    let mut simulator = Simulator::new(config, &Registry::new()).unwrap();
    let mut frames = Vec::new();
    while simulator.read(batch, &mut frames).unwrap() == Read::Frames {}
    frames
}

/// FNV-1a, so that the golden digest depends on no crate.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn one_seed_gives_the_same_bytes_for_ever_and_in_any_batches() {
    let whole = run(config(7, 3, 60), 4_096);
    assert_eq!(whole, run(config(7, 3, 60), 1));
    assert_ne!(digest(&whole), digest(&run(config(8, 3, 60), 4_096)));
    // Changes with the layout of frames, and when the simulation itself is changed; then the sample is to be made
    // anew too.
    assert_eq!(digest(&whole), 0x5490_d0fd_71bf_e101);
}

/// A book rebuilt from frames, refusing whatever a venue could not have said.
#[derive(Default)]
struct Oracle {
    orders: HashMap<u64, (WireSide, i64, i64)>,
    levels: HashMap<WireSideKey, BTreeMap<i64, i64>>,
    /// Fills told but not yet followed by the change they announce.
    announced: Vec<(u64, i64)>,
    print: i64,
}

type WireSideKey = u8;

impl Oracle {
    fn level(&mut self, side: WireSide, price: i64, by: i64) {
        let levels = self.levels.entry(side as u8).or_default();
        let total = levels.entry(price).or_default();
        *total += by;
        assert!(*total >= 0);
        if *total == 0 {
            levels.remove(&price);
        }
    }

    fn best(&self) -> Option<(i64, i64)> {
        let side = |side: WireSide| self.levels.get(&(side as u8)).filter(|levels| !levels.is_empty());
        let (bids, asks) = (side(WireSide::Buy)?, side(WireSide::Sell)?);
        Some((*bids.last_key_value()?.0, *asks.first_key_value()?.0))
    }

    fn apply(&mut self, change: &OrderChange) {
        let (id, price, quantity) =
            (change.order_id.get(), change.price_nanos.get(), change.quantity_nanos.get());
        match change.action {
            OrderAction::Clear => assert!(self.orders.is_empty()),
            OrderAction::Add => {
                assert!(quantity > 0 && self.orders.insert(id, (change.side, price, quantity)).is_none());
                self.level(change.side, price, quantity);
            }
            OrderAction::Fill => {
                let order = self.orders[&id];
                assert!(order.0 == change.side && order.1 == price && quantity <= order.2);
                self.announced.push((id, order.2 - quantity));
                self.print -= quantity;
            }
            OrderAction::Cancel | OrderAction::Modify => {
                let (side, old_price, old) = self.orders[&id];
                assert_eq!(side, change.side);
                let left = if change.action == OrderAction::Cancel { old - quantity } else { quantity };
                if !self.announced.is_empty() {
                    assert_eq!(
                        self.announced.remove(0),
                        (id, left),
                        "changes follow the fills in their order"
                    );
                }
                self.level(side, old_price, -old);
                assert!(left >= 0);
                if left == 0 {
                    self.orders.remove(&id);
                } else {
                    self.orders.insert(id, (side, price, left));
                    self.level(side, price, left);
                }
            }
        }
    }
}

/// What one instrument's session showed.
#[derive(Default)]
struct Seen {
    oracle: Oracle,
    sequence: u64,
    states: Vec<TradingState>,
    /// Spreads in ticks after every event in continuous trading.
    spreads: Vec<i64>,
    arrivals: Vec<u64>,
    sizes: Vec<f64>,
    /// Signed volume of trades with their time.
    trades: Vec<(u64, i64)>,
}

fn watch(bytes: &[u8], ticks: &HashMap<u32, i64>) -> HashMap<u32, Seen> {
    let mut all: HashMap<u32, Seen> = HashMap::new();
    let (mut last_event, mut last_recv) = (0, 0);
    for frame in Frames::new(bytes) {
        let frame = frame.expect("every frame is legal");
        let header = frame.header();
        let seen = all.entry(header.instrument.get()).or_default();
        seen.sequence += 1;
        assert_eq!(header.sequence.get(), seen.sequence, "numbers have no holes");
        assert!(header.has(flags::SIMULATED | flags::CONTIGUOUS) && !header.has(flags::REPLAY));
        assert!(header.ts_event_ns.get() >= last_event && header.ts_recv_ns.get() >= last_recv);
        assert!(header.ts_recv_ns > header.ts_event_ns || seen.sequence == 1);
        (last_event, last_recv) = (header.ts_event_ns.get(), header.ts_recv_ns.get());
        match frame {
            FrameRef::Definition(_) => assert_eq!(seen.sequence, 1),
            FrameRef::Status(status) => seen.states.push(status.trading),
            FrameRef::OrderChange(change) => {
                if change.action == OrderAction::Add {
                    seen.sizes.push(change.quantity().to_f64());
                }
                seen.oracle.apply(change);
            }
            FrameRef::Trade(trade) => {
                assert_eq!(seen.oracle.print, 0, "each print is matched by its fills");
                seen.oracle.print = trade.quantity_nanos.get();
                let units = trade.quantity_nanos.get() / SCALE;
                let signed = if trade.aggressor == WireSide::Buy { units } else { -units };
                seen.trades.push((last_event, signed));
                let (bid, ask) = seen.oracle.best().expect("both sides are quoted");
                // The fills of the level before are still to be applied, so later prints stand behind the best.
                let price = trade.price_nanos.get();
                assert!(if trade.aggressor == WireSide::Buy { price >= ask } else { price <= bid });
            }
            other => panic!("the simulator sends no {other:?}"),
        }
        if header.has(flags::LAST) && seen.states.last() == Some(&TradingState::Open) {
            assert!(seen.oracle.announced.is_empty() && seen.oracle.print == 0);
            let (bid, ask) = seen.oracle.best().expect("both sides are quoted");
            let tick = ticks[&header.instrument.get()];
            assert_eq!((ask - bid) % tick, 0);
            seen.spreads.push((ask - bid) / tick);
            seen.arrivals.push(last_event);
        }
    }
    all
}

/// Twenty minutes of two instruments.
fn session(seed: u64) -> HashMap<u32, Seen> {
    let ticks = HashMap::from([(1, 250_000_000), (2, 10_000_000)]);
    watch(&run(config(seed, 2, 1_200), 4_096), &ticks)
}

#[allow(clippy::cast_precision_loss)]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean_value = mean(values);
    mean(&values.iter().map(|value| (value - mean_value) * (value - mean_value)).collect::<Vec<_>>())
}

fn correlation_with_next(values: &[f64], lag: usize) -> f64 {
    let mean_value = mean(values);
    let pairs: Vec<f64> =
        values.iter().zip(&values[lag..]).map(|(a, b)| (a - mean_value) * (b - mean_value)).collect();
    mean(&pairs) / variance(values)
}

#[test]
fn orders_are_conserved_and_the_book_is_never_crossed() {
    for (_, seen) in session(3) {
        assert_eq!(seen.states, [TradingState::PreOpen, TradingState::Open, TradingState::Closed]);
        assert!(seen.spreads.len() > 10_000);
        assert!(seen.spreads.iter().all(|&spread| spread >= 1));
        assert!((100..1_000).contains(&seen.oracle.orders.len()), "{} orders rest", seen.oracle.orders.len());
    }
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn the_spread_returns_to_its_mean() {
    for (_, seen) in session(4) {
        let spreads: Vec<f64> = seen.spreads.iter().map(|&spread| spread as f64).collect();
        let average = mean(&spreads);
        assert!((1.0..4.0).contains(&average), "mean spread {average} ticks");
        // Autocorrelation that starts high and is gone after 200 events: no trend, no drift.
        let (near, far) = (correlation_with_next(&spreads, 1), correlation_with_next(&spreads, 200));
        assert!(near > 0.2 && far.abs() < 0.1, "autocorrelation {near} then {far}");
        // From a wide spread the way leads back: ten events later it is nearer the mean.
        let later: Vec<f64> =
            spreads.windows(11).filter(|w| w[0] >= average + 2.0).map(|w| w[10] - w[0]).collect();
        assert!(later.len() > 20 && mean(&later) < -0.5, "{} times, {}", later.len(), mean(&later));
    }
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn arrivals_cluster() {
    for (_, seen) in session(5) {
        let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
        for at in &seen.arrivals {
            *counts.entry(at / NANOS_PER_SECOND).or_default() += 1.0;
        }
        let (first, last) = (*counts.keys().next().unwrap(), *counts.keys().last().unwrap());
        let counts: Vec<f64> =
            (first..=last).map(|second| counts.get(&second).copied().unwrap_or(0.0)).collect();
        let ratio = variance(&counts) / mean(&counts);
        // A Poisson process has 1; the Hawkes process tends to 1/(1 − 0.7)² ≈ 11 over long intervals.
        assert!(ratio > 3.0, "variance over mean {ratio}");
        assert!((10.0..60.0).contains(&mean(&counts)), "{} events a second", mean(&counts));
    }
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn sizes_have_a_heavy_tail() {
    for (_, mut seen) in session(6) {
        seen.sizes.sort_by(f64::total_cmp);
        // P(X ≥ 10) / P(X ≥ 40) is 8 for the exponent 3/2, and e³⁰ᐟ³ ≈ 22,000 for an exponential of mean 3.
        let at_least = |bound: f64| seen.sizes.iter().filter(|&&size| size >= bound).count() as f64;
        let ratio = at_least(10.0) / at_least(40.0);
        assert!((5.0..13.0).contains(&ratio), "tail ratio {ratio}");
        assert_eq!(seen.sizes[seen.sizes.len() / 2], 1.0);
    }
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn order_flow_has_spells_of_one_side() {
    for (_, seen) in session(7) {
        // Imbalance over buckets of 50 trades: with independent sides it would hardly pass 0.4.
        let imbalances: Vec<f64> = seen
            .trades
            .chunks_exact(50)
            .map(|bucket| {
                let signs: i64 = bucket.iter().map(|&(_, signed)| signed.signum()).sum();
                signs.abs() as f64 / 50.0
            })
            .collect();
        let (calm, informed) = (
            imbalances.iter().filter(|&&imbalance| imbalance < 0.2).count(),
            imbalances.iter().filter(|&&imbalance| imbalance > 0.45).count(),
        );
        assert!(calm >= 5 && informed >= 5, "{calm} calm and {informed} informed of {}", imbalances.len());
    }
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let from = SimulatorConfig::default;
    for (config, named) in [
        (SimulatorConfig { instruments: 0, ..from() }, "number of instruments is 0"),
        (SimulatorConfig { instruments: 1_001, ..from() }, "number of instruments is 1001"),
        (SimulatorConfig { events_per_second: f64::NAN, ..from() }, "event rate is NaN"),
        (SimulatorConfig { until: Some(from().start), ..from() }, "end is 2024-01-02"),
    ] {
        let error = Simulator::new(config, &Registry::new()).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn many_instruments_run_at_the_edge_of_time() {
    let config =
        SimulatorConfig { instruments: 1_000, start: UnixNanos(u64::MAX - 5), ..SimulatorConfig::default() };
    let mut simulator = Simulator::new(config, &Registry::new()).unwrap();
    let mut frames = Vec::new();
    assert_eq!(simulator.read(100_000, &mut frames), Ok(Read::Frames));
    assert!(Frames::new(&frames).all(|frame| frame.is_ok()));
    assert_eq!(simulator.description().symbols.len(), 1_000);
}

#[test]
fn two_simulators_do_not_share_symbols() {
    let registry = Registry::new();
    let first = Simulator::new(SimulatorConfig::default(), &registry).unwrap();
    let refused = Simulator::new(SimulatorConfig::default(), &registry).unwrap_err();
    assert!(refused.to_string().starts_with("SIM01 is already fed by another source"), "{refused}");
    drop(first);
    assert!(Simulator::new(SimulatorConfig::default(), &registry).is_ok());
}
