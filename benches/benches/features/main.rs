//! What a bar close and a trade or quote cost the features engine, and how the cost grows; the libraries that people use
//! today beside it, on the same bars.
//!
//! Peers' values must agree with ours, or their row is not written. It measures no bus and no HTTP.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

mod market;
#[path = "../session/mod.rs"]
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nautilus_benches::{Figures, Goal, Peer, Report, Unit, percentile};
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_features::{Config, FeaturesEngine, Registry};
use nautilus_engine_marketdata::MarketdataEngine;
use nautilus_messages::frame::{Bar, FrameRef, Frames};

use market::Market;

const INSTRUMENTS: usize = 680;
/// Bars before anything is measured: more than the longest warm-up of the standard definitions.
const WARM_UP: usize = 320;
const ROUNDS: usize = 15;

fn engine(registry: &Arc<Registry>) -> FeaturesEngine {
    FeaturesEngine::new(Config::default(), Default::default(), Arc::clone(registry), Arc::default(), [])
        .expect("a legal configuration")
}

/// An engine that has had its definitions and `bars` closes.
fn warmed(registry: &Arc<Registry>, market: &Market, bars: usize) -> FeaturesEngine {
    let (mut engine, mut out) = (engine(registry), Effects::default());
    for definition in &market.definitions() {
        engine.step(Stamp::default(), Input::Frame(FrameRef::Definition(definition)), &mut out);
    }
    for at in 0..bars {
        close(&mut engine, &market.close(at), &mut out);
    }
    engine
}

fn close(engine: &mut FeaturesEngine, bars: &[Bar], out: &mut Effects) -> Duration {
    let start = Instant::now();
    for bar in bars {
        engine.step(Stamp::default(), Input::Frame(FrameRef::Bar(bar)), out);
    }
    let took = start.elapsed();
    out.clear();
    took
}

/// Microseconds of one bar close, round by round.
fn closes(registry: &Arc<Registry>, market: &Market) -> (Figures, FeaturesEngine) {
    let mut engine = warmed(registry, market, WARM_UP);
    let (mut figures, mut out) = (Figures::default(), Effects::default());
    for round in 0..ROUNDS {
        let bars = market.close(WARM_UP + round);
        figures.push(close(&mut engine, &bars, &mut out).as_nanos() as f64 / 1e3);
    }
    let cuts = engine.figures().cuts as usize;
    assert_eq!(cuts, WARM_UP + ROUNDS, "every close is one cut");
    (figures, engine)
}

fn bar_closes(report: &mut Report, all: &Arc<Registry>, market: &Market) {
    let (figures, engine) = closes(all, market);
    let sizes = engine.figures();
    let values = sizes.values as f64;
    let name = |what: &str| format!("bar close, {INSTRUMENTS} instruments: {what}");
    report.row(&name(&format!("all {values} values")), Unit::Microseconds, &figures, Peer::None, Goal::AtMost(50_000.0));
    let rate = figures.map(|us| values / us);
    report.row(&name("values"), Unit::MillionsPerSecond, &rate, Peer::None, Goal::AtLeast(7.6));
    for share in [8, 4, 2] {
        let part = Market::new(INSTRUMENTS / share, WARM_UP + ROUNDS);
        let (figures, _) = closes(all, &part);
        let name = format!("bar close, {} instruments", INSTRUMENTS / share);
        report.row(&name, Unit::Microseconds, &figures, Peer::None, Goal::None);
    }
    for share in [8, 4, 2] {
        let ids: Vec<&str> = all.definitions().iter().step_by(share).map(|d| d.id.as_str()).collect();
        let part = Arc::new(all.only(&ids).expect("a part of the definitions"));
        let (figures, _) = closes(&part, market);
        let name = format!("bar close, {INSTRUMENTS} instruments, {} features in {} nodes", ids.len(), part.nodes());
        report.row(&name, Unit::Microseconds, &figures, Peer::None, Goal::None);
    }
    report.note(&format!(
        "{} definitions are {} nodes, {} if equal sub-expressions were not one. State {} MB.",
        sizes.features,
        sizes.nodes,
        sizes.nodes_unshared,
        sizes.state_bytes / 1_000_000
    ));
}

/// What the hub makes of a session.
fn star(frames: &[u8]) -> Vec<u8> {
    let (mut hub, mut out) = (MarketdataEngine::new(Default::default()), Effects::default());
    for frame in Frames::new(frames) {
        hub.step(Stamp::default(), Input::Frame(frame.expect("a legal frame")), &mut out);
    }
    out.star
}

/// Nanoseconds of each trade and each quote of the session, the book's share included.
fn events(report: &mut Report, registry: &Arc<Registry>) {
    let session = session::Session::load();
    let star = star(&session.frames);
    let mut figures: [[Figures; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        let (mut engine, mut out) = (engine(registry), Effects::default());
        let mut samples = [const { Vec::new() }; 2];
        for frame in Frames::new(&star) {
            let frame = frame.expect("a legal frame");
            let kind = match frame {
                FrameRef::Trade(_) => Some(0),
                FrameRef::Quote(_) => Some(1),
                _ => None,
            };
            let start = Instant::now();
            engine.step(Stamp::default(), Input::Frame(frame), &mut out);
            if let Some(kind) = kind {
                samples[kind].push(start.elapsed().as_nanos() as f64);
            }
            out.clear();
        }
        for (figures, mut samples) in figures.iter_mut().zip(samples) {
            figures[0].push(percentile(&mut samples, 0.5));
            figures[1].push(percentile(&mut samples, 0.99));
        }
    }
    for (name, [median, tail]) in ["one trade", "one quote"].into_iter().zip(&figures) {
        let row = |what: &str| format!("{name}, all features of its instrument: {what}");
        report.row(&row("median"), Unit::Nanoseconds, median, Peer::None, Goal::AtMost(2_000.0));
        report.row(&row("99th percentile"), Unit::Nanoseconds, tail, Peer::None, Goal::None);
    }
    report.note(&format!("Trades and quotes of the {}, two clock readings (some 50 ns) in every sample.", session.name));
}

fn main() {
    let Some(mut report) = Report::begin("features") else { return };
    let registry = Arc::new(Registry::new(&[]).expect("the standard definitions are right"));
    let market = Market::new(INSTRUMENTS, WARM_UP + ROUNDS);
    bar_closes(&mut report, &registry, &market);
    events(&mut report, &registry);
}
