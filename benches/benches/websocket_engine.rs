//! What a frame of the star costs the websocket engine: following the book and saying what changed, beside the bare
//! book that is told the same changes and checks no sequence.

mod session;

use std::hint::black_box;

use criterion::Criterion;
use nautilus_benches::{Contest, Goal, Peer, Report, Unit, timed};
use nautilus_book::Depth;
use nautilus_engine::{Effects, Engine, Input, Stamp};
use nautilus_engine_marketdata::{Config, MarketdataEngine};
use nautilus_engine_websocket::WebsocketEngine;
use nautilus_messages::frame::{FrameRef, Frames};
use nautilus_types::Price;

use session::Session;

const ROUNDS: usize = 15;

/// What the hub publishes over the session.
fn star(session: &Session) -> Vec<u8> {
    let mut hub = MarketdataEngine::new(Config::default());
    let mut out = Effects::default();
    session.decoded().into_iter().for_each(|frame| hub.step(Stamp::default(), Input::Frame(frame), &mut out));
    out.star
}

fn bare_book(frames: &[FrameRef<'_>]) -> Depth {
    let mut depth = Depth::new(Price::ZERO, Default::default());
    for frame in frames {
        if let FrameRef::OrderChange(change) = frame {
            let _ = depth.order(change, Default::default());
        }
    }
    depth
}

/// Steps every frame, and publishes after every so many.
fn engine(frames: &[FrameRef<'_>], every: usize) -> WebsocketEngine {
    let (mut engine, mut out) = (WebsocketEngine::default(), Effects::default());
    for batch in frames.chunks(every) {
        batch.iter().for_each(|frame| engine.step(Stamp::default(), Input::Frame(*frame), &mut out));
        engine.publish(&mut |_, publication| {
            black_box(publication);
        });
        out.clear();
    }
    engine
}

fn main() {
    let Some(mut report) = Report::begin("websocket_engine") else { return };
    let session = Session::load();
    let star = star(&session);
    let frames: Vec<_> = Frames::new(&star).map(|frame| frame.expect("a legal frame")).collect();
    let mut contest = Contest::new("websocket engine", frames.len())
        .enter("bare book", || timed(|| bare_book(&frames)))
        .enter("published every 1,000 frames", || timed(|| engine(&frames, 1_000)))
        .enter("published every 10 frames", || timed(|| engine(&frames, 10)))
        .enter("published at every frame", || timed(|| engine(&frames, 1)));
    let figures = contest.race(ROUNDS);
    for (name, ours) in ["every 1,000 frames", "every 10 frames", "every frame"].iter().zip(&figures[1..]) {
        let peer = Peer::Here("bare book, nothing published", &figures[0]);
        report.row(&format!("step, published at {name}"), Unit::Nanoseconds, ours, peer, Goal::None);
    }
    report.note(&format!("Per frame; {}, {} frames of the star.", session.name, frames.len()));
    let mut criterion = Criterion::default().configure_from_args();
    contest.criterion(&mut criterion);
    criterion.final_summary();
}
