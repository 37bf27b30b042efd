//! The engine: hands every frame and message to what it concerns, and lists what changed.
//!
//! It routes; books and lists decide what a change is.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use nautilus_book::BookLimits;
use nautilus_engine::{Effects, Engine, Input, RestoreError, Roster, Stamp, snapshot};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, GapCause, flags};
use nautilus_messages::mesh::{Body, EngineHealth, Message};
use nautilus_types::{InstrumentId, Symbol};
use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::change::{Change, Publication, TopicPicture};
use crate::latest::Latest;
use crate::risk::Risk;
use crate::slot::{Lists, SavedSlot, Slot};
use crate::topic::Topic;

/// Instruments; further ones are ignored. The star keeps snapshots of as many.
const INSTRUMENTS_MAX: usize = 1 << 16;
/// The saved state's layout. Raise it with every change of what is saved.
const SNAPSHOT_VERSION: u8 = 3;

/// How far each engine has come.
type Systems = [Latest<EngineHealth>; EngineName::ALL.len()];

/// The engine of the websocket service.
#[derive(Debug, Default)]
pub struct WebsocketEngine {
    limits: BookLimits,
    /// A hub that restarted numbers instruments anew: until it defines one again, it has no number.
    roster: Roster,
    slots: Vec<Slot>,
    /// Numbers that were heard before their definition, with the last frame's sequence: a snapshot must not be
    /// older than that.
    strangers: BTreeMap<InstrumentId, u64>,
    systems: Systems,
    risk: Risk,
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
        let slots = self.roster.symbols().flat_map(|(_, row)| self.slots[row as usize].topics());
        slots.chain(self.risk.topics()).chain(systems)
    }

    /// A topic's whole state; `None` when it does not exist yet.
    #[must_use]
    pub fn picture(&self, topic: Topic) -> Option<TopicPicture> {
        let symbol = match topic {
            Topic::System(engine) => {
                let Latest { seq, ts, state, .. } = self.systems[index(engine)];
                return Some(TopicPicture { topic, seq, ts, state: Change::System(state?) });
            }
            Topic::Risk(portfolio) => return self.risk.measures(portfolio),
            Topic::RiskAlerts => return self.risk.alerts(),
            Topic::Bars(symbol, _)
            | Topic::Book(symbol)
            | Topic::Trades(symbol)
            | Topic::Vpin(symbol)
            | Topic::Alerts(symbol) => symbol,
        };
        self.slots[self.roster.find(symbol)? as usize].picture(topic)
    }

    #[inline]
    fn frame(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        match frame {
            FrameRef::Definition(definition) => self.define(definition),
            FrameRef::Gap(gap) if gap.cause == GapCause::Overrun => return self.missed(out),
            _ => {}
        }
        let Some(row) = self.roster.row(frame.header().instrument()) else {
            return self.note_stranger(frame, out);
        };
        if self.slots[row as usize].frame(frame) {
            self.mark(row);
        }
        self.want_if_needed(row, out);
    }

    #[inline]
    fn mark(&mut self, row: u32) {
        let slot = &mut self.slots[row as usize];
        if !slot.changed {
            slot.changed = true;
            self.changed.push(row);
        }
    }

    #[inline]
    fn want_if_needed(&self, row: u32, out: &mut Effects) {
        let slot = &self.slots[row as usize];
        if slot.book.as_ref().is_some_and(|book| book.follower.wants_snapshot()) {
            out.want_snapshot(self.roster.id(row));
        }
    }

    /// Remembers how far an instrument is that has not been defined yet, and asks for its definition.
    #[cold]
    fn note_stranger(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        let header = frame.header();
        let id = header.instrument();
        if id == InstrumentId::NONE || id.index() >= Roster::NUMBERS_END || !header.has(flags::CONTIGUOUS) {
            return;
        }
        self.strangers.insert(id, header.sequence.get());
        out.want_snapshot(id);
    }

    /// Frames of the star were missed: every book is in doubt until its next frame, or a snapshot.
    #[cold]
    fn missed(&mut self, out: &mut Effects) {
        for row in 0..self.slots.len() as u32 {
            if self.slots[row as usize].book.as_mut().is_some_and(|book| book.miss()) {
                self.mark(row);
            }
            if self.roster.id(row) != InstrumentId::NONE {
                self.want_if_needed(row, out);
            }
        }
    }

    /// The hub numbers instruments anew, so nothing is known by number any more.
    #[cold]
    fn hub_restarted(&mut self, out: &mut Effects) {
        self.strangers.clear();
        for row in 0..self.slots.len() as u32 {
            let id = self.roster.id(row);
            if id != InstrumentId::NONE {
                out.want_snapshot(id);
            }
            if self.slots[row as usize].book.as_mut().is_some_and(|book| book.restart()) {
                self.mark(row);
            }
        }
        self.roster.forget_numbers();
    }

    /// A symbol keeps its state when the hub numbers it anew.
    #[cold]
    fn define(&mut self, definition: &Definition) {
        let Ok(instrument) = definition.instrument() else { return };
        let (id, symbol) = (instrument.id, instrument.symbol);
        let known = self.roster.row(id);
        let Some(defined) = self.roster.define(id, symbol, INSTRUMENTS_MAX) else { return };
        if known == Some(defined.row) {
            return;
        }
        let (limits, heard_up_to) = (self.limits, self.strangers.remove(&id));
        let slot = self.slot(defined.row, symbol);
        let book = slot.book.get_or_insert_with(|| Box::new(Book::new(limits)));
        if defined.former.is_some() {
            book.restart();
        }
        if let Some(sequence) = heard_up_to {
            book.follower.heard_up_to(sequence);
        }
        self.mark(defined.row);
    }

    /// The slot of a symbol's row, made where the row is new.
    fn slot(&mut self, row: u32, symbol: Symbol) -> &mut Slot {
        if self.slots.len() == row as usize {
            self.slots.push(Slot::new(symbol));
        }
        &mut self.slots[row as usize]
    }

    fn message(&mut self, message: &Message) {
        match &message.body {
            Body::VpinUpdate(update) => self.heard_of(update.instrument, |slot| slot.bucket(*update)),
            Body::ToxicityAlert(alert) => self.heard_of(alert.instrument, |slot| slot.alert(*alert)),
            Body::EngineHealth(health) => self.systems[index(health.engine)].replace(*health, message.ts),
            Body::RiskMetric(metric) => self.risk.metric(*metric),
            Body::RiskAlert(alert) => self.risk.alert(*alert),
            // None of these is routed here.
            Body::VpinRequest(_)
            | Body::VpinResponse(_)
            | Body::FeatureVector(_)
            | Body::OrderRequest(_)
            | Body::OrderDecision(_)
            | Body::PositionChange(_) => {}
        }
    }

    fn heard_of(&mut self, symbol: Symbol, take: impl FnOnce(&mut Slot)) {
        if let Some(row) = self.roster.admit(symbol, INSTRUMENTS_MAX) {
            take(self.slot(row, symbol));
            self.mark(row);
        }
    }

    fn publish_systems(&mut self, sink: &mut dyn FnMut(Symbol, Publication)) {
        for (engine, system) in EngineName::ALL.into_iter().zip(&mut self.systems) {
            if let Some((prev_seq, health)) = system.take() {
                let symbol = engine.as_str().parse().expect("an engine's name is a legal symbol");
                let (topic, change) = (Topic::System(engine), Arc::new(Change::System(health)));
                sink(symbol, Publication { topic, seq: system.seq, prev_seq, ts: system.ts, change });
            }
        }
    }

    /// Puts decoded slots in the place of the present ones, or says why they do not fit together.
    fn adopt(&mut self, saved: Saved<Vec<SavedSlot<Lists>>, Risk>) -> Result<(), String> {
        let Saved { roster, slots, strangers, mut systems, mut risk, .. } = saved;
        if !roster.is_consistent() || roster.len() != slots.len() || roster.len() > INSTRUMENTS_MAX {
            return Err("its instruments contradict each other, or are too many".to_owned());
        }
        let limits = self.limits;
        let restored = (0..).zip(slots).map(|(row, saved)| Slot::restore(roster.symbol(row), saved, limits));
        let slots = restored.collect::<Result<_, _>>()?;
        systems.iter_mut().for_each(Latest::resume);
        risk.resume()?;
        *self = Self { limits, roster, slots, strangers, systems, risk, changed: Vec::new() };
        Ok(())
    }
}

fn index(engine: EngineName) -> usize {
    EngineName::ALL.iter().position(|name| *name == engine).expect("ALL holds every engine")
}

#[derive(Serialize, Deserialize)]
struct Saved<S, R> {
    version: u8,
    roster: Roster,
    slots: S,
    strangers: BTreeMap<InstrumentId, u64>,
    systems: Systems,
    risk: R,
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
            roster: self.roster.clone(),
            slots: self.slots.iter().map(Slot::save).collect::<Vec<_>>(),
            strangers: self.strangers.clone(),
            systems: self.systems,
            risk: &self.risk,
        };
        postcard::to_allocvec(&saved).expect("the state is plain data, which postcard always encodes")
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let decoded = snapshot::decode(snapshot, SNAPSHOT_VERSION);
        let adopted = decoded.and_then(|decoded| self.adopt(decoded));
        adopted.map_err(|reason| RestoreError { engine: Self::NAME, reason })
    }

    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, Publication)) {
        let slots = &mut self.slots;
        self.changed.retain(|&row| {
            let slot = &mut slots[row as usize];
            let symbol = slot.symbol;
            slot.changed = !slot.publish(|publication| sink(symbol, publication));
            slot.changed
        });
        self.risk.publish(sink);
        self.publish_systems(sink);
    }
}
