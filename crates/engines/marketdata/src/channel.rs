//! One instrument: puts its frames in order, applies them, and publishes what follows from them.
//!
//! The order of publication for one frame: bars that the clock closes, the frame itself, bars that it fills, a
//! status if a state changed, a quote if an event is complete and the touch moved. Nothing here knows of other
//! instruments.

use std::sync::Arc;

use nautilus_book::{Applied, BookError, BookView, Depth, QuoteView, is_absurd};
use nautilus_engine::Effects;
use nautilus_messages::frame::{
    BookState, Definition, FrameRef, Gap, GapCause, Header, Kind, LevelChange, NO_PRICE, OrderAction,
    OrderChange, Quote, Snapshot, SnapshotPhase, Status, Trade, TradingState, WireSide, flags,
};
use nautilus_messages::record::Record;
use nautilus_types::{Instrument, Price, Quantity};
use zerocopy::byteorder::little_endian::{I64, U64};

use crate::clock::{Reading, SourceClock};
use crate::config::Config;
use crate::line::Line;
use crate::sequencer::{Order, Sequencer};
use crate::sync::{Phase, Sync};
use crate::tape::Tape;
use crate::view::Counters;

#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) instrument: Instrument,
    pub(crate) definition: Definition,
    pub(crate) line: Line,
    pub(crate) clock: SourceClock,
    pub(crate) sequencer: Sequencer,
    pub(crate) sync: Sync,
    pub(crate) depth: Depth,
    pub(crate) tape: Tape,
    /// The book's best levels as published last.
    pub(crate) touch: QuoteView,
    /// The newest quote, the book's or the source's.
    pub(crate) quote: QuoteView,
    pub(crate) crossed: bool,
    /// The book changed since the touch was last looked at.
    pub(crate) event_changed: bool,
    /// The source marks the last frame of an event; until it did once, every frame is taken for one.
    pub(crate) marks_last: bool,
    pub(crate) counters: Counters,
    /// Something differs from the last view that was made.
    pub(crate) changed: bool,
    pub(crate) book_view: Option<Arc<BookView>>,
}

impl Channel {
    /// A channel whose definition has not been published yet.
    pub(crate) fn new(definition: &Definition, instrument: Instrument, tape: Tape, config: &Config) -> Self {
        Self {
            instrument,
            definition: *definition,
            line: Line::new(instrument.id),
            clock: SourceClock::default(),
            sequencer: Sequencer::default(),
            sync: Sync::new(),
            depth: Depth::new(instrument.tick, config.book),
            tape,
            touch: QuoteView::default(),
            quote: QuoteView::default(),
            crossed: false,
            event_changed: false,
            marks_last: false,
            counters: Counters::default(),
            changed: false,
            book_view: None,
        }
    }

    /// Takes a frame in, when its turn has come.
    #[inline]
    pub(crate) fn take(&mut self, frame: FrameRef<'_>, config: &Config, out: &mut Effects) {
        self.counters.frames += 1;
        let header = frame.header();
        if !header.has(flags::CONTIGUOUS) {
            self.handle_and_drain(frame, config, out);
            return;
        }
        let sequence = header.sequence.get();
        if matches!(frame, FrameRef::Definition(_)) && self.sequencer.is_restart(sequence) {
            self.sequencer = Sequencer::default();
            self.sync.begin(Phase::Outside);
            self.empty(0, out);
        }
        match self.sequencer.offer(sequence, || frame.as_bytes().to_vec()) {
            Order::Next => {
                if sequence <= 1 && self.sync.state == BookState::Syncing && self.sync.phase == Phase::Outside
                {
                    self.sync.complete();
                }
                self.handle_and_drain(frame, config, out);
            }
            Order::Duplicate => self.counters.duplicates += 1,
            Order::Absurd => self.counters.absurd += 1,
            Order::Early => self.wait(config, out),
        }
    }

    /// Takes in a frame that concerns the whole feed; its number is not one of this instrument's.
    pub(crate) fn take_feed_wide(&mut self, frame: FrameRef<'_>, config: &Config, out: &mut Effects) {
        self.counters.frames += 1;
        self.handle_and_drain(frame, config, out);
    }

    /// A frame may make held ones the next: by its number, or by what it says (a snapshot's end, a gap).
    #[inline]
    fn handle_and_drain(&mut self, frame: FrameRef<'_>, config: &Config, out: &mut Effects) {
        self.handle(frame, config, out);
        if self.sequencer.is_waiting() {
            self.drain(config, out);
        }
    }

    #[cold]
    fn wait(&mut self, config: &Config, out: &mut Effects) {
        self.counters.reordered += 1;
        if self.sequencer.is_full() {
            self.give_up(config, out);
        }
        self.settle(out);
    }

    /// Declares the hole before the held frames lost.
    pub(crate) fn give_up(&mut self, config: &Config, out: &mut Effects) {
        while let Some((first, last)) = self.sequencer.give_up() {
            self.lose(first, last, out);
            self.drain(config, out);
        }
        self.settle(out);
    }

    fn lose(&mut self, first: u64, last: u64, out: &mut Effects) {
        let gap = Gap {
            header: self.line.header(Kind::Gap),
            first_missing: U64::new(first),
            last_missing: U64::new(last),
            cause: GapCause::Source,
            reserved: [0; 15],
        };
        self.count_gap(&gap);
        self.line.publish(&gap, out);
        self.sync.doubt();
        self.settle(out);
    }

    fn count_gap(&mut self, gap: &Gap) {
        self.counters.gaps += 1;
        self.counters.lost = self.counters.lost.saturating_add(gap.lost());
    }

    #[cold]
    fn drain(&mut self, config: &Config, out: &mut Effects) {
        while let Some(bytes) = self.sequencer.release() {
            let frame = FrameRef::parse(&bytes).expect("a held frame was decoded before");
            self.handle(frame, config, out);
        }
        self.settle(out);
    }

    #[inline]
    fn handle(&mut self, frame: FrameRef<'_>, config: &Config, out: &mut Effects) {
        let header = frame.header();
        let ts = match self.clock.read(header) {
            Reading::At(ts) => ts,
            Reading::StartsOver(ts) => {
                self.tape = Tape::new(&self.tape.specs(), config);
                self.announce_start(out);
                ts
            }
            // Nobody can read an instrument that was never defined, whenever that was.
            Reading::Absurd if matches!(frame, FrameRef::Definition(_)) => self.line.ts_event.0,
            Reading::Absurd => return self.refuse_instant(frame, out),
        };
        self.line.observe(header, ts);
        if self.tape.is_due(ts) {
            self.tape.roll(ts, self.instrument.symbol, &mut self.line, &mut self.counters, out);
        }
        match frame {
            FrameRef::OrderChange(change) => self.order_change(change, config, out),
            FrameRef::LevelChange(change) => self.level_change(change, config, out),
            FrameRef::Trade(trade) => self.trade(trade, out),
            FrameRef::Quote(quote) => self.source_quote(quote, out),
            FrameRef::Bar(bar) => self.tape.source_bar(
                bar,
                &self.instrument,
                config.bars_kept,
                &mut self.line,
                &mut self.counters,
                out,
            ),
            FrameRef::Snapshot(snapshot) => self.snapshot(snapshot, out),
            FrameRef::Status(status) => self.status(status),
            FrameRef::Gap(gap) => self.source_gap(gap, out),
            FrameRef::Definition(definition) => self.define(definition, config, out),
        }
        if header.has(flags::MAYBE_BAD) {
            self.counters.maybe_bad += 1;
            self.sync.doubt();
        }
        let last = header.has(flags::LAST);
        self.marks_last |= last;
        let ends_snapshot = matches!(frame, FrameRef::Snapshot(_));
        self.end_of_event(last || ends_snapshot, out);
    }

    /// A book change that is left out leaves the book wrong.
    #[cold]
    fn refuse_instant(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        self.counters.absurd += 1;
        if matches!(frame, FrameRef::OrderChange(_) | FrameRef::LevelChange(_) | FrameRef::Snapshot(_)) {
            self.sync.doubt();
            self.settle(out);
        }
    }

    /// Tells readers that time may go back from here on.
    #[cold]
    fn announce_start(&mut self, out: &mut Effects) {
        let header = self.line.header(Kind::Definition).with_flags(flags::STARTS_OVER | flags::LAST);
        self.line.publish(&Definition { header, ..self.definition }, out);
    }

    #[inline]
    fn order_change(&mut self, change: &OrderChange, config: &Config, out: &mut Effects) {
        let clears = change.action == OrderAction::Clear;
        self.before_change(&change.header, clears, out);
        let applied = if clears {
            self.depth.clear();
            Some(Ok(Applied::Changed))
        } else {
            self.depth.order(change, config.book)
        };
        if self.accepts(applied) {
            self.line.publish(change, out);
        }
        self.after_change(&change.header);
    }

    fn level_change(&mut self, change: &LevelChange, config: &Config, out: &mut Effects) {
        let clears = change.side == WireSide::None;
        self.before_change(&change.header, clears, out);
        let applied = if clears {
            self.depth.clear();
            Some(Ok(Applied::Changed))
        } else {
            self.depth.level(change, config.book)
        };
        if self.accepts(applied) {
            self.line.publish(change, out);
        }
        self.after_change(&change.header);
    }

    /// Sees where a run of snapshot frames begins and ends.
    #[inline]
    fn before_change(&mut self, header: &Header, clears: bool, out: &mut Effects) {
        match (self.sync.phase, header.has(flags::SNAPSHOT)) {
            (Phase::Outside, true) => self.begin_flagged(clears, out),
            (Phase::Flagged, false) => self.sync.complete(),
            _ => {}
        }
        if clears && self.sync.phase == Phase::Outside {
            self.sync.complete();
        }
    }

    #[cold]
    fn begin_flagged(&mut self, clears: bool, out: &mut Effects) {
        self.sync.begin(Phase::Flagged);
        if !clears {
            self.empty(flags::SNAPSHOT, out);
        }
    }

    /// Empties the book where the source starts over without saying so, and tells readers.
    pub(crate) fn empty(&mut self, flags: u16, out: &mut Effects) {
        if self.depth.is_empty() {
            return;
        }
        self.depth.clear();
        self.note_change();
        let clear = OrderChange {
            header: self.line.header(Kind::OrderChange).with_flags(flags),
            order_id: U64::ZERO,
            price_nanos: I64::ZERO,
            quantity_nanos: I64::ZERO,
            action: OrderAction::Clear,
            side: WireSide::None,
            reserved: [0; 6],
        };
        self.line.publish(&clear, out);
    }

    #[inline]
    fn after_change(&mut self, header: &Header) {
        self.note_change();
        if self.sync.phase == Phase::Flagged && header.has(flags::LAST) {
            self.sync.complete();
        }
    }

    #[inline]
    fn note_change(&mut self) {
        self.book_view = None;
        self.event_changed = true;
    }

    /// Counts what a book said to a change; whether it is to be published.
    #[inline]
    fn accepts(&mut self, applied: Option<Result<Applied, BookError>>) -> bool {
        match applied {
            Some(Ok(Applied::Changed | Applied::Unchanged)) => true,
            Some(Ok(Applied::UnknownOrder | Applied::AddedUnknown)) => {
                self.counters.unknown_orders += 1;
                true
            }
            Some(Err(error)) => {
                self.count_refusal(error);
                false
            }
            None => {
                self.counters.mixed_depth += 1;
                false
            }
        }
    }

    #[cold]
    fn count_refusal(&mut self, error: BookError) {
        let counter = match error {
            BookError::AbsurdPrice(_) | BookError::NoQuantity(_) | BookError::NoSide => {
                &mut self.counters.absurd
            }
            BookError::OffTick { .. } => &mut self.counters.off_tick,
            BookError::DuplicateOrder(_) => &mut self.counters.duplicate_orders,
            BookError::Full(_) => &mut self.counters.full,
            BookError::Overflow(_) => &mut self.counters.overflows,
        };
        *counter += 1;
        if matches!(error, BookError::Full(_) | BookError::Overflow(_)) {
            // The change made sense and the book is wrong without it.
            self.sync.doubt();
        }
    }

    fn trade(&mut self, trade: &Trade, out: &mut Effects) {
        if is_absurd(trade.price_nanos) || trade.quantity_nanos.get() <= 0 {
            self.counters.absurd += 1;
            return;
        }
        self.tape.trade(trade, &self.instrument, &mut self.line, &mut self.counters, out);
    }

    /// A quote made by the source. Where there is a book, the book's own quotes are the ones that count.
    fn source_quote(&mut self, quote: &Quote, out: &mut Effects) {
        let absurd = |price: I64| price.get() != NO_PRICE && is_absurd(price);
        if absurd(quote.bid_nanos) || absurd(quote.ask_nanos) {
            self.counters.absurd += 1;
            return;
        }
        if self.depth.is_empty() {
            self.quote = QuoteView { bid: quote.bid(), ask: quote.ask() };
            self.crossed = is_crossed(&self.quote);
        }
        self.line.publish(quote, out);
    }

    fn snapshot(&mut self, snapshot: &Snapshot, out: &mut Effects) {
        match snapshot.phase {
            SnapshotPhase::Begin => {
                self.depth.clear();
                self.sync.begin(Phase::Bracketed);
            }
            SnapshotPhase::End if self.sync.phase == Phase::Bracketed => {
                self.sync.complete();
                if !snapshot.header.has(flags::CONTIGUOUS) {
                    self.sequencer.skip_to(snapshot.header.sequence.get());
                }
            }
            SnapshotPhase::End => {}
        }
        self.note_change();
        self.line.publish(snapshot, out);
    }

    /// Notes what the source says; the status that readers get is made when the event is done.
    fn status(&mut self, status: &Status) {
        self.sync.trading = status.trading;
        if status.book == BookState::Stale {
            self.sync.doubt();
        }
    }

    fn source_gap(&mut self, gap: &Gap, out: &mut Effects) {
        self.count_gap(gap);
        if gap.cause == GapCause::Source
            && gap.header.has(flags::CONTIGUOUS)
            && gap.header.instrument() == self.line.id
        {
            self.sequencer.skip_to(gap.last_missing.get());
        }
        self.line.publish(gap, out);
        self.sync.doubt();
    }

    fn define(&mut self, definition: &Definition, config: &Config, out: &mut Effects) {
        let Ok(Ok(instrument)) = definition.instrument().map(Instrument::checked) else {
            self.counters.absurd += 1;
            return;
        };
        let is_new = self.line.sequence == 0;
        if instrument.tick != self.instrument.tick {
            // Prices on the old grid may not lie on the new one: the source has to send its book again.
            if !self.depth.is_empty() {
                self.sync.doubt();
            }
            self.depth = Depth::new(instrument.tick, config.book);
            self.note_change();
        }
        if is_new || instrument != self.instrument {
            out.records.push(Record::Instrument(instrument));
        }
        self.instrument = instrument;
        self.definition = *definition;
        self.line.publish(definition, out);
    }

    /// Tells readers of a new state and, after a complete event, of a new touch.
    #[inline]
    fn end_of_event(&mut self, last: bool, out: &mut Effects) {
        self.settle(out);
        let complete = last || !self.marks_last;
        if !complete || !self.event_changed || self.sync.phase != Phase::Outside {
            return;
        }
        let best = self.depth.quote();
        self.crossed = is_crossed(&best);
        if self.sync.visible(self.sequencer.is_waiting()) != BookState::Live {
            return;
        }
        self.event_changed = false;
        if self.crossed {
            self.count_crossed();
        }
        if best != self.touch {
            self.touch = best;
            self.quote = best;
            let header = self.line.header(Kind::Quote);
            self.line.publish(&quote_frame(header, &best), out);
        }
    }

    fn count_crossed(&mut self) {
        let open = match self.sync.trading {
            TradingState::Open => true,
            TradingState::Unknown => self.tape.has_traded(),
            TradingState::PreOpen | TradingState::Halted | TradingState::Closed => false,
        };
        let counter =
            if open { &mut self.counters.crossed_open } else { &mut self.counters.crossed_pre_open };
        *counter += 1;
    }

    #[inline]
    pub(crate) fn settle(&mut self, out: &mut Effects) {
        if let Some((trading, book)) = self.sync.news(self.sequencer.is_waiting()) {
            let header = self.line.header(Kind::Status);
            self.line.publish(&Status { header, trading, book, reserved: [0; 30] }, out);
        }
    }
}

#[inline]
fn is_crossed(quote: &QuoteView) -> bool {
    matches!((quote.bid, quote.ask), (Some((bid, _)), Some((ask, _))) if bid >= ask)
}

fn quote_frame(header: Header, quote: &QuoteView) -> Quote {
    let price = |side: Option<(Price, Quantity)>| I64::new(side.map_or(NO_PRICE, |(price, _)| price.nanos()));
    let quantity =
        |side: Option<(Price, Quantity)>| I64::new(side.map_or(0, |(_, quantity)| quantity.nanos()));
    Quote {
        header,
        bid_nanos: price(quote.bid),
        ask_nanos: price(quote.ask),
        bid_quantity_nanos: quantity(quote.bid),
        ask_quantity_nanos: quantity(quote.ask),
    }
}
