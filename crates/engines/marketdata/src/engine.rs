//! The marketdata engine: hands every frame to its instrument and carries out commands.
//!
//! It decides which frames belong to an instrument; [`Channel`] decides what they mean.

use std::collections::BTreeMap;

use nautilus_book::{Depth, OrderBook};
use nautilus_engine::{Effects, Engine, Input, RestoreError, Stamp};
use nautilus_messages::frame::{Definition, FrameRef, flags};
use nautilus_messages::{BarSpec, EngineName};
use nautilus_types::{InstrumentId, Symbol};
use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::config::{BAR_SPECS_MAX, Command, Config};
use crate::picture::SavedChannel;
use crate::tape::Tape;
use crate::view::{HubCounters, InstrumentView};

/// The saved state's layout. Raise it with every change of what is saved.
const SNAPSHOT_VERSION: u32 = 2;

/// The engine.
#[derive(Debug)]
pub struct MarketdataEngine {
    config: Config,
    /// By instrument number; place zero stays empty.
    channels: Vec<Option<Box<Channel>>>,
    numbers: BTreeMap<Symbol, InstrumentId>,
    /// The bars of instruments to come.
    bars: Vec<BarSpec>,
    counters: HubCounters,
    /// Instruments that changed since their views were made.
    changed: Vec<InstrumentId>,
}

impl MarketdataEngine {
    /// An engine without instruments.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut bars = config.bars.clone();
        bars.truncate(BAR_SPECS_MAX);
        Self {
            config,
            channels: Vec::new(),
            numbers: BTreeMap::new(),
            bars,
            counters: HubCounters::default(),
            changed: Vec::new(),
        }
    }

    /// Frames refused that belong to no instrument.
    #[must_use]
    pub fn counters(&self) -> HubCounters {
        self.counters
    }

    /// The hub's last number of an instrument and the frames that rebuild its book up to there: definition,
    /// status, snapshot begin, the book, snapshot end. `None` for an instrument that was never defined.
    #[must_use]
    pub fn book_snapshot(&self, instrument: InstrumentId) -> Option<(u64, Vec<u8>)> {
        let channel = self.channel(instrument)?;
        Some((channel.line.sequence, channel.star_snapshot()))
    }

    /// The order book of an instrument, where its source shows orders.
    #[must_use]
    pub fn order_book(&self, instrument: InstrumentId) -> Option<&OrderBook> {
        match &self.channel(instrument)?.depth {
            Depth::Orders(book) => Some(book),
            Depth::Levels(_) => None,
        }
    }

    fn channel(&self, instrument: InstrumentId) -> Option<&Channel> {
        self.channels.get(instrument.index())?.as_deref()
    }

    #[inline]
    fn frame(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        if let FrameRef::Definition(definition) = frame
            && !self.admit(definition, out)
        {
            return;
        }
        let id = frame.header().instrument();
        if let Some(Some(channel)) = self.channels.get_mut(id.index()) {
            if !channel.changed {
                channel.changed = true;
                self.changed.push(id);
            }
            channel.take(frame, &self.config, out);
            return;
        }
        self.without_instrument(frame, out);
    }

    /// A status or gap of the whole feed concerns every instrument; anything else without a definition is refused.
    #[cold]
    fn without_instrument(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        let concerns_all = matches!(frame, FrameRef::Gap(_) | FrameRef::Status(_))
            && frame.header().instrument() == InstrumentId::NONE;
        if !concerns_all {
            self.counters.unknown_instrument += 1;
            return;
        }
        for channel in self.channels.iter_mut().flatten() {
            mark(channel, &mut self.changed);
            channel.take_feed_wide(frame, &self.config, out);
        }
    }

    /// Makes room for an instrument, or has it start over; false when its definition is refused.
    #[cold]
    fn admit(&mut self, definition: &Definition, out: &mut Effects) -> bool {
        let id = definition.header.instrument();
        let Ok(Ok(instrument)) = definition.instrument().map(nautilus_types::Instrument::checked) else {
            self.counters.conflicting_definition += 1;
            return false;
        };
        if id == InstrumentId::NONE || id.0 > self.config.instruments_max {
            self.counters.too_many_instruments += 1;
            return false;
        }
        let known = self.channel(id).map(|channel| channel.instrument.symbol);
        let number = self.numbers.get(&instrument.symbol).copied();
        match (known, number) {
            (Some(symbol), Some(number)) if symbol == instrument.symbol && number == id => {
                if definition.header.has(flags::STARTS_OVER)
                    && let Some(Some(channel)) = self.channels.get_mut(id.index())
                {
                    channel.forget(&self.config, out);
                }
                true
            }
            (None, None) => {
                if self.channels.len() <= id.index() {
                    self.channels.resize_with(id.index() + 1, || None);
                }
                let tape = Tape::new(&self.bars, &self.config);
                let channel = Channel::new(definition, instrument, tape, &self.config);
                self.channels[id.index()] = Some(Box::new(channel));
                self.numbers.insert(instrument.symbol, id);
                true
            }
            _ => {
                self.counters.conflicting_definition += 1;
                false
            }
        }
    }

    fn command(&mut self, command: Command, out: &mut Effects) {
        match command {
            Command::Flush => {
                for channel in self.channels.iter_mut().flatten() {
                    mark(channel, &mut self.changed);
                    channel.give_up(&self.config, out);
                    channel.tape.flush(channel.instrument.symbol, out);
                }
            }
            Command::SetBars { instrument, bars } => self.set_bars(instrument, bars, out),
        }
    }

    fn set_bars(&mut self, instrument: Option<Symbol>, mut bars: Vec<BarSpec>, out: &mut Effects) {
        let mut seen = std::collections::BTreeSet::new();
        bars.retain(|spec| seen.insert(*spec));
        if bars.len() > BAR_SPECS_MAX {
            let detail =
                format!("{} bar intervals were asked for; ask for at most {BAR_SPECS_MAX}", bars.len());
            out.refuse("too_many_bars", detail);
            return;
        }
        let keep = self.config.bars_kept;
        self.each(instrument, out, |channel, _| channel.tape.set_specs(&bars, keep));
        if instrument.is_none() {
            self.bars = bars;
        }
    }

    /// Changes one instrument or all; refuses an unknown one.
    fn each(
        &mut self,
        instrument: Option<Symbol>,
        out: &mut Effects,
        mut change: impl FnMut(&mut Channel, &mut Effects),
    ) {
        let Some(symbol) = instrument else {
            for channel in self.channels.iter_mut().flatten() {
                mark(channel, &mut self.changed);
                change(channel, out);
            }
            return;
        };
        let id = self.numbers.get(&symbol).copied().unwrap_or(InstrumentId::NONE);
        match self.channels.get_mut(id.index()) {
            Some(Some(channel)) => {
                mark(channel, &mut self.changed);
                change(channel, out);
            }
            _ => out.refuse(
                "unknown_instrument",
                format!("{symbol} is not known; GET /v1/instruments lists the instruments that are"),
            ),
        }
    }
}

fn mark(channel: &mut Channel, changed: &mut Vec<InstrumentId>) {
    if !channel.changed {
        channel.changed = true;
        changed.push(channel.line.id);
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    bars: Vec<BarSpec>,
    counters: HubCounters,
    channels: Vec<SavedChannel>,
}

fn refused(reason: impl Into<String>) -> RestoreError {
    RestoreError { engine: EngineName::Marketdata, reason: reason.into() }
}

impl Engine for MarketdataEngine {
    const NAME: EngineName = EngineName::Marketdata;
    type Command = Command;
    type View = InstrumentView;

    #[inline]
    fn step(&mut self, _at: Stamp, input: Input<'_, Command>, out: &mut Effects) {
        match input {
            Input::Frame(frame) => self.frame(frame, out),
            // No message type lists this engine as its consumer, and it is the hub.
            Input::Message(_) | Input::HubRestarted => {}
            Input::Command(command) => self.command(command, out),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let saved = Saved {
            version: SNAPSHOT_VERSION,
            bars: self.bars.clone(),
            counters: self.counters,
            channels: self.channels.iter().flatten().map(|channel| channel.save()).collect(),
        };
        postcard::to_allocvec(&saved).expect("plain data serialises")
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let (version, _) =
            postcard::take_from_bytes::<u32>(snapshot).map_err(|error| refused(error.to_string()))?;
        if version != SNAPSHOT_VERSION {
            return Err(refused(format!(
                "it has layout {version}, this build reads layout {SNAPSHOT_VERSION}"
            )));
        }
        let (saved, rest) =
            postcard::take_from_bytes::<Saved>(snapshot).map_err(|error| refused(error.to_string()))?;
        if !rest.is_empty() {
            return Err(refused("bytes are left over"));
        }
        let mut fresh = Self::new(self.config.clone());
        fresh.bars = saved.bars;
        fresh.counters = saved.counters;
        for saved in saved.channels {
            let mut channel = Channel::restore(saved, &self.config).map_err(refused)?;
            let (id, symbol) = (channel.line.id, channel.instrument.symbol);
            if id.0 > self.config.instruments_max {
                return Err(refused(format!("instrument number {id:?} is beyond instruments_max")));
            }
            if fresh.channels.len() <= id.index() {
                fresh.channels.resize_with(id.index() + 1, || None);
            }
            if fresh.channels[id.index()].is_some() || fresh.numbers.insert(symbol, id).is_some() {
                return Err(refused(format!("instrument {symbol} stands there twice")));
            }
            mark(&mut channel, &mut fresh.changed);
            fresh.channels[id.index()] = Some(Box::new(channel));
        }
        *self = fresh;
        Ok(())
    }

    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, InstrumentView)) {
        for id in self.changed.drain(..) {
            if let Some(Some(channel)) = self.channels.get_mut(id.index()) {
                channel.changed = false;
                sink(channel.instrument.symbol, channel.view(self.config.depth));
            }
        }
    }
}
