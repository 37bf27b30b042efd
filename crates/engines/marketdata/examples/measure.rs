//! Times the books and the engine over a DBN recording of orders: `cargo run --release --example measure -- FILE`.
//!
//! Prints the median and tail per frame, clock reads subtracted, and throughputs without any clock in the loop. It
//! checks nothing.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_marketdata::{BookLimits, Config, MarketdataEngine, NaiveBook, OrderBook};
use nautilus_feeds::{FileFeed, Read, Registry};
use nautilus_messages::frame::{FrameRef, Frames, OrderChange};
use nautilus_types::{Price, Side};

const ROUNDS: u32 = 20;

fn main() {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("give the path of a DBN recording of orders");
        std::process::exit(64);
    };
    let mut feed = FileFeed::open(path.as_ref(), &Registry::new()).expect("the recording opens");
    let mut frames = Vec::new();
    while feed.read(10_000, &mut frames).expect("the recording reads") == Read::Frames {}
    let decoded: Vec<FrameRef<'_>> =
        Frames::new(&frames).map(|frame| frame.expect("a legal frame")).collect();
    let changes: Vec<&OrderChange> = decoded
        .iter()
        .filter_map(|frame| if let FrameRef::OrderChange(change) = frame { Some(*change) } else { None })
        .collect();
    println!("{} frames, {} order changes", decoded.len(), changes.len());

    let limits = BookLimits::default();
    let new_book = || OrderBook::new(Price::ZERO, limits);
    let new_naive = || NaiveBook::new(Price::ZERO);
    let new_engine = || (MarketdataEngine::new(Config::default()), Effects::default());
    latency("OrderBook::apply", &changes, new_book, |book, change| _ = black_box(book.apply(change)));
    latency("NaiveBook::apply", &changes, new_naive, |book, change| _ = black_box(book.apply(change)));
    latency("MarketdataEngine::step", &decoded, new_engine, |(engine, out), frame| {
        out.clear();
        engine.step(Stamp::default(), Input::Frame(*frame), out);
    });

    throughput("decode only", decoded.len(), || {
        for frame in Frames::new(&frames) {
            black_box(frame.expect("a legal frame"));
        }
    });
    throughput("decode + OrderBook::apply", changes.len(), || {
        let mut book = new_book();
        for frame in Frames::new(&frames) {
            if let FrameRef::OrderChange(change) = frame.expect("a legal frame") {
                _ = black_box(book.apply(change));
            }
        }
        black_box(book.best(Side::Buy));
    });
    throughput("decode + NaiveBook::apply", changes.len(), || {
        let mut book = new_naive();
        for frame in Frames::new(&frames) {
            if let FrameRef::OrderChange(change) = frame.expect("a legal frame") {
                _ = black_box(book.apply(change));
            }
        }
        black_box(book.best(Side::Buy));
    });
    throughput("decode + MarketdataEngine::step, batches of 1,024", decoded.len(), || {
        let (mut engine, mut out) = new_engine();
        for (n, frame) in Frames::new(&frames).enumerate() {
            if n % 1_024 == 0 {
                out.clear();
            }
            engine.step(Stamp::default(), Input::Frame(frame.expect("a legal frame")), &mut out);
        }
    });
    let (mut engine, mut out) = new_engine();
    for frame in &decoded {
        engine.step(Stamp::default(), Input::Frame(*frame), &mut out);
        out.clear();
    }
    let change = decoded.last().expect("frames");
    throughput("step + publish of one view", 1_000, || {
        for _ in 0..1_000 {
            engine.step(Stamp::default(), Input::Frame(*change), &mut out);
            out.clear();
            engine.publish(&mut |_, view| drop(black_box(view)));
        }
    });
}

fn latency<T, S>(name: &str, inputs: &[T], create: impl Fn() -> S, mut step: impl FnMut(&mut S, &T)) {
    let overhead = clock_overhead_ns();
    let mut samples = Vec::with_capacity(inputs.len() * ROUNDS as usize);
    for _ in 0..ROUNDS {
        let mut state = create();
        for input in inputs {
            let start = Instant::now();
            step(&mut state, input);
            let nanos = u64::try_from(start.elapsed().as_nanos()).expect("short");
            samples.push(nanos.saturating_sub(overhead));
        }
    }
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    println!(
        "{name:44} p50 {:>5} ns  p90 {:>5} ns  p99 {:>6} ns  p99.9 {:>6} ns  (clock read of {overhead} ns subtracted)",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
    );
}

fn clock_overhead_ns() -> u64 {
    let mut samples: Vec<u64> = (0..100_000)
        .map(|_| {
            let start = Instant::now();
            u64::try_from(black_box(start).elapsed().as_nanos()).expect("short")
        })
        .collect();
    samples.sort_unstable();
    samples[samples.len() / 2]
}

fn throughput(name: &str, events: usize, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    let mut total = 0.0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run();
        let per_event = start.elapsed().as_nanos() as f64 / events as f64;
        best = best.min(per_event);
        total += per_event;
    }
    println!("{name:44} mean {:>7.1} ns  best round {best:>7.1} ns  per event", total / f64::from(ROUNDS));
}
