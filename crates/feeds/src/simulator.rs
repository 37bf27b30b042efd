//! The exchange simulator: many instruments, one seed, always the same bytes.
//!
//! Every instrument has a limit order book of its own, and every cancel, change and fill is of an order that rests
//! in it. Flow is made to look like a market (clustered arrivals, heavy-tailed sizes, a spread that returns,
//! bursts of informed trading) and everything it emits carries [`flags::SIMULATED`]. It reads no clock: time is
//! the simulation's own, from the start it was given, and pacing is the reader's business.
//!
//! [`flags::SIMULATED`]: nautilus_messages::frame::flags::SIMULATED

mod book;
mod market;
mod random;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use nautilus_messages::frame::SHORT_LEN;
use nautilus_types::{
    AssetClass, Instrument, InstrumentId, NANOS_PER_SECOND, Price, Quantity, SCALE, UnixNanos,
};

use crate::registry::Lease;
use crate::{Feed, FeedDescription, FeedError, FeedKind, Progress, Read, Registry};
use market::Market;
use random::Random;

const INSTRUMENTS_MAX: usize = 1_000;

/// How a simulation runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatorConfig {
    /// Equal configurations give equal bytes, other seeds other markets.
    pub seed: u64,
    /// How many instruments, 1 to 1,000: `SIM01`, `SIM02` …
    pub instruments: usize,
    /// When the pre-open begins; trading opens one second later.
    pub start: UnixNanos,
    /// When trading closes and the feed ends. Without it there is no end.
    pub until: Option<UnixNanos>,
    /// Mean number of events a second and instrument outside bursts, 0.1 to 100,000.
    pub events_per_second: f64,
}

impl Default for SimulatorConfig {
    /// Three instruments from 2 January 2024, 14:30 UTC, without an end.
    fn default() -> Self {
        let start = UnixNanos(1_704_205_800 * NANOS_PER_SECOND);
        Self { seed: 1, instruments: 3, start, until: None, events_per_second: 20.0 }
    }
}

impl SimulatorConfig {
    /// The session that is shipped as `samples/simulated-session.mbo.dbn.zst`.
    #[must_use]
    pub fn sample() -> Self {
        let from = Self::default();
        let until = Some(UnixNanos(from.start.0 + 1_500 * NANOS_PER_SECOND));
        Self { seed: 20_240_102, instruments: 2, until, events_per_second: 8.0, ..from }
    }

    fn check(&self) -> Result<(), FeedError> {
        let wrong = |setting, value: String, expected| Err(FeedError::Setting { setting, value, expected });
        if !(1..=INSTRUMENTS_MAX).contains(&self.instruments) {
            return wrong("number of instruments", self.instruments.to_string(), "1 to 1,000");
        }
        if !(0.1..=100_000.0).contains(&self.events_per_second) {
            return wrong("event rate", self.events_per_second.to_string(), "0.1 to 100,000 a second");
        }
        match self.until {
            Some(until) if until <= self.start => wrong("end", until.to_string(), "later than its start"),
            _ => Ok(()),
        }
    }
}

/// The exchange simulator. Endless unless it is told when trading closes.
#[derive(Debug)]
pub struct Simulator {
    markets: Vec<Market>,
    /// When each market's next event is due; the earliest first, the lower number first among equals.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    until: Option<UnixNanos>,
    defined: bool,
    last_recv: UnixNanos,
    description: FeedDescription,
    progress: Progress,
    /// Held until dropped: the simulator's symbols are its own while it lives.
    _lease: Lease,
}

impl Simulator {
    /// Sets the markets up and registers their instruments.
    ///
    /// # Errors
    /// When a setting is out of range or another live feed owns one of the symbols.
    pub fn new(config: SimulatorConfig, registry: &Registry) -> Result<Self, FeedError> {
        config.check()?;
        let lease = Lease::new(registry);
        let mut markets = Vec::with_capacity(config.instruments);
        let mut symbols = Vec::with_capacity(config.instruments);
        for number in 1..=config.instruments {
            let (instrument, anchor) = instrument(number);
            let instrument = lease.register(instrument)?;
            let stream = number as u64;
            let random = Random::new(config.seed, stream);
            symbols.push(instrument.symbol);
            markets.push(Market::new(
                instrument,
                stream,
                random,
                config.start,
                config.events_per_second,
                anchor,
            ));
        }
        Ok(Self {
            due: markets.iter().enumerate().map(|(i, market)| Reverse((market.next_ns(), i))).collect(),
            markets,
            until: config.until,
            defined: false,
            last_recv: config.start,
            description: FeedDescription {
                name: format!("simulator (seed {})", config.seed),
                kind: FeedKind::Simulator,
                schema: "mbo".to_owned(),
                simulated: true,
                symbols,
            },
            progress: Progress { ts_event: config.start, ..Progress::default() },
            _lease: lease,
        })
    }

    /// Appends the next event of any market; false when trading has closed.
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(Reverse((at, i))) = self.due.pop() else { return false };
        let closes = self.until.filter(|until| at >= until.0);
        let market = &mut self.markets[i];
        match closes {
            Some(until) => market.close(until, &mut self.last_recv, out),
            None => {
                market.step(&mut self.last_recv, out);
                self.due.push(Reverse((market.next_ns(), i)));
            }
        }
        self.progress.ts_event = closes.unwrap_or(UnixNanos(at));
        self.progress.records += 1;
        true
    }
}

impl Feed for Simulator {
    fn read(&mut self, max: usize, out: &mut Vec<u8>) -> Result<Read, FeedError> {
        let before = out.len();
        if !self.defined {
            self.defined = true;
            self.markets.iter_mut().for_each(|market| market.define(out));
        }
        let enough = before + max.max(1) * SHORT_LEN;
        while out.len() < enough && self.step(out) {}
        self.progress.done_bytes += (out.len() - before) as u64;
        Ok(if out.len() > before { Read::Frames } else { Read::End })
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn description(&self) -> &FeedDescription {
        &self.description
    }
}

/// The n-th instrument, counting from 1, and its opening price in ticks. Four kinds take turns.
fn instrument(number: usize) -> (Instrument, u32) {
    let kinds = [
        (AssetClass::Future, "USD", 250_000_000, 50, 19_200),
        (AssetClass::Equity, "USD", 10_000_000, 1, 18_750),
        (AssetClass::Currency, "USD", 50_000, 125_000, 21_700),
        (AssetClass::Equity, "EUR", 20_000_000, 1, 32_000),
    ];
    let (class, currency, tick, multiplier, anchor) = kinds[(number - 1) % kinds.len()];
    let instrument = Instrument {
        id: InstrumentId::NONE,
        symbol: format!("SIM{number:02}").parse().expect("a legal symbol"),
        venue: "XSIM".parse().expect("a legal venue"),
        class,
        currency: currency.parse().expect("a legal currency"),
        tick: Price::from_nanos(tick),
        lot: Quantity::from_nanos(SCALE),
        multiplier: Quantity::from_units(multiplier).expect("a small number"),
    };
    (instrument, anchor)
}

#[cfg(test)]
mod tests;
