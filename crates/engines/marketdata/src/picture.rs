//! Pictures of one instrument: the readers' view, the star's snapshot, and the saved state.
//!
//! Each is made from a channel between two steps and changes nothing in it.

use std::sync::Arc;

use nautilus_book::{Depth, QuoteView, SavedDepth};
use nautilus_engine::Effects;
use nautilus_messages::frame::BookState;
use nautilus_messages::frame::{
    Definition, FrameRef, Header, Kind, LevelChange, OrderAction, OrderChange, Snapshot, SnapshotPhase,
    Status, WireSide, flags,
};
use nautilus_types::Side;
use serde::{Deserialize, Serialize};
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use crate::channel::Channel;
use crate::clock::SourceClock;
use crate::config::Config;
use crate::line::Line;
use crate::sequencer::Sequencer;
use crate::sync::Sync;
use crate::tape::Tape;
use crate::view::{Counters, InstrumentView};

impl Channel {
    /// What readers see. Costs the levels shown, and what was traded since the last time.
    pub(crate) fn view(&mut self, depth: usize) -> InstrumentView {
        let (tick, tick_source) = self.depth.tick();
        let symbol = self.instrument.symbol;
        let book = self.book_view.get_or_insert_with(|| Arc::new(self.depth.view(depth)));
        InstrumentView {
            instrument: self.instrument,
            venue_id: self.definition.venue_id.get(),
            tick,
            tick_source,
            trading: self.sync.trading,
            state: self.sync.visible(self.sequencer.is_waiting()),
            crossed: self.crossed,
            sequence: self.line.sequence,
            ts_event: self.line.ts_event,
            ts_recv: self.line.ts_recv,
            book: Arc::clone(book),
            quote: self.quote,
            statistics: self.tape.session().map(|session| session.record(symbol)),
            trades: self.tape.trades_view(),
            bars: self.tape.bars_view(symbol),
            counters: self.counters,
        }
    }

    /// The frames that rebuild the book, all under the hub's last number and none of them contiguous: definition,
    /// status, begin, the book best first in queue order, end. The end of a doubtful book is marked so.
    pub(crate) fn star_snapshot(&self) -> Vec<u8> {
        let visible = self.sync.visible(self.sequencer.is_waiting());
        let header = |kind| self.snapshot_header(kind);
        let mut frames = Vec::new();
        let mut put = |frame: FrameRef<'_>| frames.extend_from_slice(frame.as_bytes());
        put((&Definition { header: header(Kind::Definition), ..self.definition }).into());
        let status = Status {
            header: header(Kind::Status),
            trading: self.sync.trading,
            book: visible,
            reserved: [0; 30],
        };
        put((&status).into());
        let mut body = Vec::new();
        let count = self.put_book(&mut body);
        let bracket = |phase| Snapshot {
            header: header(Kind::Snapshot),
            frames: U32::new(u32::try_from(count).expect("a bounded book")),
            phase,
            reserved: [0; 27],
        };
        put((&bracket(SnapshotPhase::Begin)).into());
        frames.extend_from_slice(&body);
        let mut end = bracket(SnapshotPhase::End);
        let doubtful = if visible == BookState::Live { 0 } else { flags::MAYBE_BAD };
        end.header = end.header.with_flags(flags::LAST | doubtful);
        frames.extend_from_slice(end.to_bytes());
        frames
    }

    fn snapshot_header(&self, kind: Kind) -> Header {
        let mut header = self.line.header(kind).with_flags(flags::SNAPSHOT);
        header.sequence.set(self.line.sequence);
        header
    }

    fn put_book(&self, frames: &mut Vec<u8>) -> usize {
        let before = frames.len();
        for side in [Side::Buy, Side::Sell] {
            match &self.depth {
                Depth::Orders(book) => {
                    for order in book.orders(side) {
                        let frame = OrderChange {
                            header: self.snapshot_header(Kind::OrderChange),
                            order_id: U64::new(order.id),
                            price_nanos: I64::new(order.price.nanos()),
                            quantity_nanos: I64::new(order.quantity.nanos()),
                            action: OrderAction::Add,
                            side: WireSide::from(Some(side)),
                            reserved: [0; 6],
                        };
                        frames.extend_from_slice(frame.to_bytes());
                    }
                }
                Depth::Levels(book) => {
                    for level in book.levels(side) {
                        let frame = LevelChange {
                            header: self.snapshot_header(Kind::LevelChange),
                            price_nanos: I64::new(level.price.nanos()),
                            quantity_nanos: I64::new(level.quantity.nanos()),
                            orders: U32::new(level.orders),
                            side: WireSide::from(Some(side)),
                            reserved: [0; 11],
                        };
                        frames.extend_from_slice(frame.to_bytes());
                    }
                }
            }
        }
        (frames.len() - before) / Kind::OrderChange.len()
    }
}

/// A channel in canonical form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedChannel {
    definition: Vec<u8>,
    line: Line,
    clock: SourceClock,
    sequencer: Sequencer,
    sync: Sync,
    depth: SavedDepth,
    tape: Tape,
    touch: QuoteView,
    quote: QuoteView,
    crossed: bool,
    event_changed: bool,
    marks_last: bool,
    counters: Counters,
}

impl Channel {
    pub(crate) fn save(&self) -> SavedChannel {
        SavedChannel {
            definition: self.definition.to_bytes().to_vec(),
            line: self.line,
            clock: self.clock,
            sequencer: self.sequencer.clone(),
            sync: self.sync,
            depth: self.depth.save(),
            tape: self.tape.clone(),
            touch: self.touch,
            quote: self.quote,
            crossed: self.crossed,
            event_changed: self.event_changed,
            marks_last: self.marks_last,
            counters: self.counters,
        }
    }

    /// # Errors
    /// A reason, when the saved state makes no sense.
    pub(crate) fn restore(saved: SavedChannel, config: &Config) -> Result<Self, String> {
        let frame = FrameRef::parse(&saved.definition).map_err(|error| error.to_string())?;
        let FrameRef::Definition(definition) = frame else {
            return Err("an instrument's definition is a frame of another kind".to_owned());
        };
        let instrument = definition.instrument().map_err(|error| error.to_string())?;
        if saved.line.id != instrument.id {
            return Err(format!("instrument {} has two numbers", instrument.symbol));
        }
        saved.sequencer.check()?;
        let mut channel = Self::new(definition, instrument, saved.tape, config);
        channel.depth = Depth::restore(&saved.depth, config.book).map_err(|error| error.to_string())?;
        channel.line = saved.line;
        channel.clock = saved.clock;
        channel.sequencer = saved.sequencer;
        channel.sync = saved.sync;
        channel.touch = saved.touch;
        channel.quote = saved.quote;
        channel.crossed = saved.crossed;
        channel.event_changed = saved.event_changed;
        channel.marks_last = saved.marks_last;
        channel.counters = saved.counters;
        Ok(channel)
    }

    /// The same instrument as if its source had never sent anything. The hub's numbers and counters go on.
    pub(crate) fn forget(&mut self, config: &Config, out: &mut Effects) {
        self.empty(0, out);
        let tape = Tape::new(&self.tape.specs(), config);
        let mut fresh = Self::new(&self.definition, self.instrument, tape, config);
        fresh.line = self.line;
        fresh.counters = self.counters;
        fresh.changed = self.changed;
        fresh.sync.keep_announced(&self.sync);
        *self = fresh;
    }
}
