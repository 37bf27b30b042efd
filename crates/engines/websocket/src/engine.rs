//! The engine: hands every frame and message to what it concerns, and lists what changed.
//!
//! It routes; books and lists decide what a change is.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use nautilus_book::BookLimits;
use nautilus_engine::{Effects, Engine, Input, RestoreError, Stamp};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, GapCause, flags};
use nautilus_messages::mesh::{Body, EngineHealth, Message};
use nautilus_types::{InstrumentId, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::change::{Change, Publication, TopicPicture};
use crate::slot::{Lists, SavedSlot, Slot};
use crate::topic::Topic;

/// Instruments; further ones are ignored. The star keeps snapshots of as many.
const INSTRUMENTS_MAX: usize = 1 << 16;
/// Instrument numbers from here on are none of this platform: they are dense.
const INSTRUMENT_END: usize = 1 << 20;
/// The saved state's layout. Raise it with every change of what is saved.
const SNAPSHOT_VERSION: u8 = 1;
const NOT_DEFINED: u32 = u32::MAX;

/// How far one engine has come.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct System {
    seq: u64,
    ts: UnixNanos,
    health: Option<EngineHealth>,
    #[serde(skip)]
    published: u64,
}

/// The engine of the websocket service.
#[derive(Debug, Default)]
pub struct WebsocketEngine {
    limits: BookLimits,
    slots: Vec<Slot>,
    slot_of_symbol: BTreeMap<Symbol, u32>,
    /// By instrument number; [`NOT_DEFINED`] where there is none.
    slot_of_id: Vec<u32>,
    /// Numbers that were heard before their definition, with the last frame's sequence: a snapshot must not be
    /// older than that.
    strangers: BTreeMap<InstrumentId, u64>,
    systems: [System; EngineName::ALL.len()],
    changed: Vec<u32>,
}

impl WebsocketEngine {
    /// An engine that has heard nothing. The limits are those of the hub's books.
    #[must_use]
    pub fn new(limits: BookLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Every topic that exists, with its number.
    pub fn topics(&self) -> impl Iterator<Item = (Topic, u64)> {
        let systems = EngineName::ALL.into_iter().zip(&self.systems).filter(|(_, system)| system.seq > 0);
        let systems = systems.map(|(engine, system)| (Topic::System(engine), system.seq));
        self.slot_of_symbol.values().flat_map(|&at| self.slots[at as usize].topics()).chain(systems)
    }

    /// A topic's whole state; `None` when it does not exist yet.
    #[must_use]
    pub fn picture(&self, topic: Topic) -> Option<TopicPicture> {
        let symbol = match topic {
            Topic::System(engine) => {
                let System { seq, ts, health, .. } = self.systems[index(engine)];
                return Some(TopicPicture { topic, seq, ts, state: Change::System(health?) });
            }
            Topic::Bars(symbol, _)
            | Topic::Book(symbol)
            | Topic::Trades(symbol)
            | Topic::Vpin(symbol)
            | Topic::Alerts(symbol) => symbol,
        };
        let at = *self.slot_of_symbol.get(&symbol)?;
        self.slots[at as usize].picture(topic)
    }

    #[inline]
    fn frame(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        match frame {
            FrameRef::Definition(definition) => self.define(definition),
            FrameRef::Gap(gap) if gap.cause == GapCause::Overrun => return self.missed(out),
            _ => {}
        }
        let id = frame.header().instrument();
        match self.slot_of_id.get(id.index()) {
            Some(&at) if at != NOT_DEFINED => {
                let slot = &mut self.slots[at as usize];
                if slot.frame(frame) {
                    self.mark(at);
                }
                self.want_if_needed(at, out);
            }
            _ => self.note_stranger(frame, out),
        }
    }

    #[inline]
    fn mark(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        if !slot.changed {
            slot.changed = true;
            self.changed.push(at);
        }
    }

    #[inline]
    fn want_if_needed(&self, at: u32, out: &mut Effects) {
        let slot = &self.slots[at as usize];
        if slot.book.as_ref().is_some_and(|book| book.follower.wants_snapshot()) {
            out.want_snapshot(slot.id);
        }
    }

    /// Remembers how far an instrument is that has not been defined yet, and asks for its definition.
    #[cold]
    fn note_stranger(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        let header = frame.header();
        let id = header.instrument();
        if id == InstrumentId::NONE || id.index() >= INSTRUMENT_END || !header.has(flags::CONTIGUOUS) {
            return;
        }
        self.strangers.insert(id, header.sequence.get());
        out.want_snapshot(id);
    }

    /// Frames of the star were missed: every book is in doubt until its next frame, or a snapshot.
    #[cold]
    fn missed(&mut self, out: &mut Effects) {
        for at in 0..self.count() {
            if self.slots[at as usize].book.as_mut().is_some_and(|book| book.miss()) {
                self.mark(at);
            }
            if self.slots[at as usize].id != InstrumentId::NONE {
                self.want_if_needed(at, out);
            }
        }
    }

    /// The hub numbers instruments anew, so nothing is known by number any more.
    #[cold]
    fn hub_restarted(&mut self, out: &mut Effects) {
        self.strangers.clear();
        self.slot_of_id.clear();
        for at in 0..self.count() {
            let slot = &mut self.slots[at as usize];
            let id = std::mem::replace(&mut slot.id, InstrumentId::NONE);
            if id != InstrumentId::NONE {
                out.want_snapshot(id);
            }
            if slot.book.as_mut().is_some_and(|book| book.restart()) {
                self.mark(at);
            }
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("fewer instruments than a u32 counts")
    }

    /// A symbol keeps its state when the hub numbers it anew.
    #[cold]
    fn define(&mut self, definition: &Definition) {
        let Ok(instrument) = definition.instrument() else { return };
        let (id, symbol) = (instrument.id, instrument.symbol);
        if id == InstrumentId::NONE || id.index() >= INSTRUMENT_END {
            return;
        }
        let Some(at) = self.slot(symbol) else { return };
        let limits = self.limits;
        let slot = &mut self.slots[at as usize];
        let book = slot.book.get_or_insert_with(|| Box::new(Book::new(limits)));
        if slot.id == id {
            return;
        }
        let old = std::mem::replace(&mut slot.id, id);
        if old != InstrumentId::NONE {
            book.restart();
        }
        if let Some(sequence) = self.strangers.remove(&id) {
            book.follower.heard_up_to(sequence);
        }
        self.unroute(old, at);
        self.route(id, at);
        self.mark(at);
    }

    /// The place of a symbol, made where there is room.
    fn slot(&mut self, symbol: Symbol) -> Option<u32> {
        if let Some(&at) = self.slot_of_symbol.get(&symbol) {
            return Some(at);
        }
        if self.slots.len() >= INSTRUMENTS_MAX {
            return None;
        }
        let at = self.count();
        self.slots.push(Slot::new(symbol));
        self.slot_of_symbol.insert(symbol, at);
        Some(at)
    }

    fn unroute(&mut self, id: InstrumentId, at: u32) {
        if let Some(route) = self.slot_of_id.get_mut(id.index()).filter(|route| **route == at) {
            *route = NOT_DEFINED;
        }
    }

    fn route(&mut self, id: InstrumentId, at: u32) {
        if self.slot_of_id.len() <= id.index() {
            self.slot_of_id.resize(id.index() + 1, NOT_DEFINED);
        }
        // Whoever held the number before has none until it is defined anew.
        let previous = std::mem::replace(&mut self.slot_of_id[id.index()], at);
        if previous != NOT_DEFINED && previous != at {
            self.slots[previous as usize].id = InstrumentId::NONE;
        }
    }

    fn message(&mut self, message: &Message) {
        match &message.body {
            Body::VpinUpdate(update) => self.heard_of(update.instrument, |slot| slot.bucket(*update)),
            Body::ToxicityAlert(alert) => self.heard_of(alert.instrument, |slot| slot.alert(*alert)),
            Body::EngineHealth(health) => {
                let system = &mut self.systems[index(health.engine)];
                (system.ts, system.health) = (message.ts, Some(*health));
                system.seq += 1;
            }
            Body::VpinRequest(_) | Body::VpinResponse(_) | Body::FeatureVector(_) => {}
        }
    }

    fn heard_of(&mut self, symbol: Symbol, take: impl FnOnce(&mut Slot)) {
        if let Some(at) = self.slot(symbol) {
            take(&mut self.slots[at as usize]);
            self.mark(at);
        }
    }

    fn publish_systems(&mut self, sink: &mut dyn FnMut(Symbol, Publication)) {
        for (engine, system) in EngineName::ALL.into_iter().zip(&mut self.systems) {
            let prev_seq = std::mem::replace(&mut system.published, system.seq);
            if let Some(health) = system.health.filter(|_| prev_seq != system.seq) {
                let symbol = engine.as_str().parse().expect("an engine's name is a legal symbol");
                let (topic, change) = (Topic::System(engine), Arc::new(Change::System(health)));
                sink(symbol, Publication { topic, seq: system.seq, prev_seq, ts: system.ts, change });
            }
        }
    }

    /// Puts decoded slots in the place of the present ones, or says why they do not fit together.
    fn adopt(&mut self, saved: Saved<Vec<SavedSlot<Lists>>>) -> Result<(), String> {
        let mut fresh = Self::new(self.limits);
        for saved in saved.slots {
            let (id, symbol) = (saved.id, saved.symbol);
            let taken = id != InstrumentId::NONE
                && fresh.slot_of_id.get(id.index()).is_some_and(|route| *route != NOT_DEFINED);
            if fresh.slot_of_symbol.contains_key(&symbol) || taken || id.index() >= INSTRUMENT_END {
                return Err(format!("instrument {symbol} stands there twice or has an impossible number"));
            }
            let at = fresh.slot(symbol).ok_or_else(|| format!("more than {INSTRUMENTS_MAX} instruments"))?;
            fresh.slots[at as usize] = Slot::restore(saved, self.limits)?;
            if id != InstrumentId::NONE {
                fresh.route(id, at);
            }
        }
        fresh.strangers = saved.strangers;
        fresh.systems = saved.systems;
        fresh.systems.iter_mut().for_each(|system| system.published = system.seq);
        *self = fresh;
        Ok(())
    }
}

fn index(engine: EngineName) -> usize {
    EngineName::ALL.iter().position(|name| *name == engine).expect("ALL holds every engine")
}

#[derive(Serialize, Deserialize)]
struct Saved<S> {
    version: u8,
    slots: S,
    strangers: BTreeMap<InstrumentId, u64>,
    systems: [System; EngineName::ALL.len()],
}

impl Engine for WebsocketEngine {
    const NAME: EngineName = EngineName::Websocket;
    type Command = Infallible;
    type View = Publication;

    #[inline]
    fn step(&mut self, _at: Stamp, input: Input<'_, Infallible>, out: &mut Effects) {
        match input {
            Input::Frame(frame) => self.frame(frame, out),
            Input::Message(message) => self.message(message),
            Input::HubRestarted => self.hub_restarted(out),
            Input::Command(never) => match never {},
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let saved = Saved {
            version: SNAPSHOT_VERSION,
            slots: self.slots.iter().map(Slot::save).collect::<Vec<_>>(),
            strangers: self.strangers.clone(),
            systems: self.systems,
        };
        postcard::to_allocvec(&saved).expect("the state is plain data, which postcard always encodes")
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let refuse = |reason: String| RestoreError { engine: Self::NAME, reason };
        match snapshot.first() {
            Some(&SNAPSHOT_VERSION) => {}
            Some(version) => {
                return Err(refuse(format!("its version is {version}, this build reads {SNAPSHOT_VERSION}")));
            }
            None => return Err(refuse("it is empty".to_owned())),
        }
        match postcard::take_from_bytes::<Saved<Vec<SavedSlot<Lists>>>>(snapshot) {
            Ok((saved, [])) => self.adopt(saved).map_err(refuse),
            Ok((_, rest)) => Err(refuse(format!("{} bytes are left over", rest.len()))),
            Err(error) => Err(refuse(format!("it does not decode ({error})"))),
        }
    }

    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, Publication)) {
        let slots = &mut self.slots;
        self.changed.retain(|&at| {
            let slot = &mut slots[at as usize];
            let symbol = slot.symbol;
            slot.changed = !slot.publish(|publication| sink(symbol, publication));
            slot.changed
        });
        self.publish_systems(sink);
    }
}
