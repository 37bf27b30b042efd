//! The live engine: frames in, values, messages and pictures out.
//!
//! Trades and quotes step an instrument's microstructure at once. Bars that close together make a *cut*: they step
//! together, so that instruments are compared at the same instant. A cut is complete when every instrument that had a
//! bar recently has delivered, or when market time has gone on by `settle_ms`; a bar that comes later makes a cut of its
//! own. What an instrument's bar sees of its trades and quotes is what there was when it came, however long it waits.
//!
//! When an instrument's source starts over with a time that was there already, its past is forgotten: values and the
//! history that readers see are those of one session, however often it is replayed. Cuts, events and losses are counted on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nautilus_book::BookLimits;
use nautilus_engine::{Effects, Engine, Input, RestoreError, Roster, Stamp};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{
    Bar, BarUnit, Definition, FrameRef, Gap, GapCause, Header, Quote, Trade, flags,
};
use nautilus_messages::mesh::{Body, FeatureVector, Priority};
use nautilus_messages::record::{Record, Setting};
use nautilus_types::{FeatureSetName, InstrumentId, Symbol, UnixNanos};

use crate::calculate::present;
use crate::config::{Command, Config};
use crate::fundamentals::{FIELDS, Fundamentals};
use crate::inputs::{Clock, Source};
use crate::panel::{AtClose, BarValues, Panel};
use crate::registry::Registry;
use crate::sets::{FeatureSet, Publish, SETS_MAX, Subscribed};
use crate::slot::{Heard, Slot};
use crate::view::{AsOf, Cut, CutRow, Figures, Inputs, InstrumentView, Live, Snapshot};

/// A bar that waits for the others of its cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) row: u32,
    pub(crate) bar: BarValues,
    pub(crate) events: AtClose,
    pub(crate) as_of: AsOf,
}

/// The bars of the cut in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forming {
    /// When they close; while there are none, when those of the newest cut did.
    pub(crate) ts_close: UnixNanos,
    pub(crate) bars: Vec<Waiting>,
    /// Instruments that are awaited and have not delivered yet.
    pub(crate) missing: u32,
}

/// The engine of the features service.
#[derive(Debug)]
pub struct FeaturesEngine {
    pub(crate) config: Config,
    pub(crate) limits: BookLimits,
    pub(crate) registry: Arc<Registry>,
    event_features: Arc<[u32]>,
    follows_books: bool,
    pub(crate) fundamentals: Arc<Fundamentals>,
    pub(crate) sets: Arc<BTreeMap<FeatureSetName, FeatureSet>>,
    subscribed: BTreeMap<FeatureSetName, Subscribed>,
    pub(crate) roster: Roster,
    pub(crate) slots: Vec<Slot>,
    /// Numbers that were heard before their definition, with the last frame's sequence: a snapshot of the star must not
    /// be older than that.
    pub(crate) strangers: BTreeMap<InstrumentId, u64>,
    pub(crate) panel: Panel,
    pub(crate) forming: Forming,
    pub(crate) history: VecDeque<Arc<Cut>>,
    pub(crate) history_bytes: usize,
    pub(crate) cuts: u64,
    /// Of the cuts, those that instruments came in time for.
    pub(crate) closes: u64,
    pub(crate) events: u64,
    pub(crate) bars_refused: u64,
    pub(crate) lost_on_star: u64,
    /// By row, what readers see.
    views: Vec<RowView>,
    changed_rows: Vec<u32>,
    changed: bool,
    /// The history as readers see it, until a cut is added.
    shared_history: Option<Arc<[Arc<Cut>]>>,
}

#[derive(Debug, Default)]
struct RowView {
    latest: Option<(Arc<Cut>, u32)>,
    live: Option<Arc<Live>>,
    changed: bool,
}

impl FeaturesEngine {
    /// An engine without instruments. Saved sets that are no longer legal are left out.
    ///
    /// # Errors
    /// When a setting is not legal.
    pub fn new(
        config: Config,
        limits: BookLimits,
        registry: Arc<Registry>,
        fundamentals: Arc<Fundamentals>,
        sets: impl IntoIterator<Item = (FeatureSetName, FeatureSet)>,
    ) -> Result<Self, String> {
        config.check()?;
        let events = Clock::TRADE.and(Clock::QUOTE);
        let definitions = registry.definitions();
        let ticks_by_events =
            |(place, d): (usize, &crate::Definition)| d.clock.ticks_with(events).then_some(place as u32);
        let event_features = definitions.iter().enumerate().filter_map(ticks_by_events).collect();
        let depths = [Source::BidDepth5, Source::AskDepth5, Source::BidDepth10, Source::AskDepth10];
        let follows_books =
            definitions.iter().any(|d| depths.iter().any(|depth| d.inputs.contains(&depth.name())));
        let mut engine = Self {
            panel: Panel::new(&registry.graph),
            config,
            limits,
            registry,
            event_features,
            follows_books,
            fundamentals,
            sets: Arc::default(),
            subscribed: BTreeMap::new(),
            roster: Roster::default(),
            slots: Vec::new(),
            strangers: BTreeMap::new(),
            forming: Forming::default(),
            history: VecDeque::new(),
            history_bytes: 0,
            cuts: 0,
            closes: 0,
            events: 0,
            bars_refused: 0,
            lost_on_star: 0,
            views: Vec::new(),
            changed_rows: Vec::new(),
            changed: true,
            shared_history: None,
        };
        for (name, set) in sets {
            if let Ok(subscribed) = set.subscribe(&engine.registry) {
                engine.keep_set(name, set, subscribed);
            }
        }
        Ok(engine)
    }

    /// Sizes and counts.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let features = self.registry.definitions().len();
        Figures {
            features,
            nodes: self.registry.nodes(),
            nodes_unshared: self.registry.nodes_unshared(),
            instruments: self.roster.len(),
            values: features * self.roster.len(),
            cuts: self.cuts,
            events: self.events,
            state_bytes: self.panel.columns.memory(),
            history_bytes: self.history_bytes,
            history_cuts: self.history.len(),
            bars_refused: self.bars_refused,
            lost_on_star: self.lost_on_star,
        }
    }

    #[inline]
    fn frame(&mut self, frame: FrameRef<'_>, out: &mut Effects) {
        let header = frame.header();
        if !self.forming.bars.is_empty() && self.is_settled(header) {
            self.close_cut(out);
        }
        match frame {
            FrameRef::Definition(definition) => self.define(definition, out),
            FrameRef::Gap(gap) => self.gap(gap, out),
            _ => {}
        }
        let Some(row) = self.roster.row(header.instrument()) else { return self.note_stranger(header, out) };
        if self.slots[row as usize].follow(frame) {
            out.want_snapshot(header.instrument());
        }
        // Frames of the star's snapshots tell of books only.
        if !header.has(flags::CONTIGUOUS) {
            return;
        }
        match frame {
            FrameRef::Trade(trade) => self.trade(trade, row, out),
            FrameRef::Quote(quote) => self.quote(quote, row, out),
            FrameRef::Bar(bar) => self.bar(bar, row, out),
            _ => {}
        }
    }

    /// Whether market time has gone past what the cut in the making waits for.
    #[inline]
    fn is_settled(&self, header: &Header) -> bool {
        let until = self.forming.ts_close.0.saturating_add(self.config.settle_ms * 1_000_000);
        header.ts_event_ns.get() > until
    }

    fn define(&mut self, definition: &Definition, out: &mut Effects) {
        let Ok(instrument) = definition.instrument() else { return };
        let most = self.config.instruments_max;
        let Some(defined) = self.roster.define(instrument.id, instrument.symbol, most) else { return };
        if defined.is_new {
            self.panel.add_row(&self.registry.graph, 0);
            self.slots.push(Slot::new(self.follows_books.then_some(self.limits)));
            self.views.push(RowView::default());
        }
        let heard_up_to = self.strangers.remove(&instrument.id);
        if let Some(book) = &mut self.slots[defined.row as usize].book {
            if defined.former.is_some() {
                book.restart();
            }
            if let Some(sequence) = heard_up_to {
                book.heard_up_to(sequence);
            }
        }
        if definition.header.has(flags::STARTS_OVER) {
            // What waits belongs to the time before, and what comes is not late by it.
            self.close_cut(out);
            self.forming.ts_close = UnixNanos(0);
            self.slots[defined.row as usize].heard.starts_over = true;
        }
        self.touch(defined.row);
    }

    /// Remembers how far an instrument is that has not been defined yet, and asks for its definition.
    #[cold]
    fn note_stranger(&mut self, header: &Header, out: &mut Effects) {
        let id = header.instrument();
        let full = self.roster.len() >= self.config.instruments_max;
        if id == InstrumentId::NONE || full || !header.has(flags::CONTIGUOUS) {
            return;
        }
        if self.strangers.len() < self.config.instruments_max || self.strangers.contains_key(&id) {
            self.strangers.insert(id, header.sequence.get());
        }
        out.want_snapshot(id);
    }

    fn gap(&mut self, gap: &Gap, out: &mut Effects) {
        if gap.cause == GapCause::Overrun {
            self.lost_on_star = self.lost_on_star.saturating_add(gap.lost());
            self.changed = true;
            for row in 0..self.slots.len() as u32 {
                let Some(book) = &mut self.slots[row as usize].book else { continue };
                book.miss();
                let id = self.roster.id(row);
                if book.wants_snapshot() && id != InstrumentId::NONE {
                    out.want_snapshot(id);
                }
            }
        } else if let Some(row) = self.roster.row(gap.header.instrument()) {
            let heard = &mut self.slots[row as usize].heard;
            heard.lost = heard.lost.saturating_add(gap.lost());
            self.touch(row);
        }
    }

    #[inline]
    fn touch(&mut self, row: u32) {
        self.changed = true;
        let view = &mut self.views[row as usize];
        if !view.changed {
            view.changed = true;
            self.changed_rows.push(row);
        }
    }

    /// Takes note of a trade, quote or bar; forgets the instrument's past where its source plays it again.
    #[inline]
    fn hear(&mut self, row: u32, ts: UnixNanos) {
        let heard = &mut self.slots[row as usize].heard;
        if std::mem::take(&mut heard.starts_over) && ts <= heard.newest {
            *heard = heard.afresh(self.cuts);
            self.panel.reset_row(&self.registry.graph, row as usize);
            self.views[row as usize].latest = None;
        }
        let heard = &mut self.slots[row as usize].heard;
        heard.newest = heard.newest.max(ts);
        self.touch(row);
    }

    #[inline]
    fn trade(&mut self, trade: &Trade, row: u32, out: &mut Effects) {
        self.hear(row, trade.header.ts_event());
        self.slots[row as usize].set_trade(trade, row as usize, &mut self.panel.columns);
        self.event(Clock::TRADE, &trade.header, row, out);
    }

    #[inline]
    fn quote(&mut self, quote: &Quote, row: u32, out: &mut Effects) {
        self.hear(row, quote.header.ts_event());
        self.slots[row as usize].set_quote(quote, row as usize, &mut self.panel.columns);
        self.event(Clock::QUOTE, &quote.header, row, out);
    }

    #[inline]
    fn event(&mut self, clock: Clock, header: &Header, row: u32, out: &mut Effects) {
        self.panel.event(&self.registry.graph, clock, row);
        self.events += 1;
        self.slots[row as usize].heard.event_as_of = as_of(header);
        if self.subscribed.values().any(|set| set.publish == Publish::Event) {
            self.send(row, true, out);
        }
    }

    fn bar(&mut self, bar: &Bar, row: u32, out: &mut Effects) {
        let spec = self.config.bar;
        if bar.unit != spec.unit() || bar.interval.get() != spec.interval() {
            return;
        }
        let ts_close = bar.header.ts_event();
        self.hear(row, ts_close);
        let is_time = spec.unit() == BarUnit::Time;
        let told_apart_by = if is_time { ts_close } else { UnixNanos(bar.ts_open_ns.get()) };
        let heard = &mut self.slots[row as usize].heard;
        if told_apart_by <= heard.closed && heard.closed.0 > 0 {
            self.bars_refused += 1;
            return;
        }
        heard.closed = told_apart_by;
        let events = self.panel.at_close(&self.registry.graph, row as usize);
        let waiting = Waiting { row, bar: Slot::bar(bar), events, as_of: as_of(&bar.header) };
        let forming = &self.forming;
        let is_closed = ts_close == forming.ts_close && forming.bars.is_empty();
        if !is_time || is_closed || ts_close < forming.ts_close {
            // Bars of trades and volumes close by themselves; a late one is not worth waiting for again.
            self.evaluate(ts_close, &mut [waiting], false, out);
            return;
        }
        if ts_close > forming.ts_close {
            self.close_cut(out);
        }
        if self.forming.bars.is_empty() {
            self.open_cut(ts_close, row);
        }
        self.forming.bars.push(waiting);
        // A cut that nobody was expected in waits for market time to go on.
        if std::mem::take(&mut self.slots[row as usize].heard.awaited) {
            self.forming.missing -= 1;
            if self.forming.missing == 0 {
                self.close_cut(out);
            }
        }
    }

    /// Begins a cut and finds who is awaited: whoever had a bar recently, and none at this close yet.
    fn open_cut(&mut self, ts_close: UnixNanos, first: u32) {
        self.forming = Forming { ts_close, bars: std::mem::take(&mut self.forming.bars), missing: 0 };
        for row in 0..self.slots.len() as u32 {
            let due = row == first || self.slots[row as usize].heard.closed < ts_close;
            let awaited = due && self.was_recent(row, ts_close);
            self.slots[row as usize].heard.awaited = awaited;
            self.forming.missing += u32::from(awaited);
        }
    }

    /// Whether an instrument's last evaluated bar is near enough in time for it to be compared with others at `now`. It
    /// may be later: a late bar is compared with the newest of the others.
    fn was_recent(&self, row: u32, now: UnixNanos) -> bool {
        let age = match self.config.bar.unit() {
            BarUnit::Time => self.config.bar.interval().saturating_mul(self.config.universe_age_bars),
            // Other bars have no common clock to be late by.
            _ => u64::MAX,
        };
        let evaluated = self.slots[row as usize].heard.evaluated;
        evaluated.is_some_and(|evaluated| evaluated.0.abs_diff(now.0) <= age)
    }

    /// Evaluates the cut in the making, if there is one.
    fn close_cut(&mut self, out: &mut Effects) {
        if self.forming.bars.is_empty() {
            return;
        }
        let mut bars = std::mem::take(&mut self.forming.bars);
        bars.sort_unstable_by_key(|waiting| waiting.row);
        self.forming.missing = 0;
        self.slots.iter_mut().for_each(|slot| slot.heard.awaited = false);
        self.closes += 1;
        self.evaluate(self.forming.ts_close, &mut bars, true, out);
    }

    /// Steps the instruments whose bars close together, keeps what came out and sends it.
    fn evaluate(&mut self, ts_close: UnixNanos, bars: &mut [Waiting], in_time: bool, out: &mut Effects) {
        self.cuts += 1;
        let rows: Vec<u32> = bars.iter().map(|waiting| waiting.row).collect();
        for waiting in &mut *bars {
            self.enter(waiting, ts_close, in_time);
            self.panel.exchange(&self.registry.graph, waiting.row as usize, &mut waiting.events);
        }
        self.compare(ts_close, &rows);
        self.panel.close(&self.registry.graph, &rows);
        let cut = Arc::new(self.cut(ts_close, &rows));
        for (index, &row) in rows.iter().enumerate() {
            self.views[row as usize].latest = Some((Arc::clone(&cut), index as u32));
            self.touch(row);
        }
        self.keep(cut);
        for &row in &rows {
            self.send(row, false, out);
        }
        for waiting in bars {
            self.panel.exchange(&self.registry.graph, waiting.row as usize, &mut waiting.events);
        }
    }

    /// Sets the inputs of an instrument's bar.
    fn enter(&mut self, waiting: &Waiting, ts_close: UnixNanos, in_time: bool) {
        let row = waiting.row as usize;
        self.panel.set_bar(row, &waiting.bar);
        let known = self.fundamentals.at(self.roster.symbol(waiting.row), ts_close);
        self.panel.universe.sectors[row] = known.map_or(0, |known| known.sector);
        for (index, source) in FIELDS.iter().enumerate() {
            let value = known.map_or(crate::columns::UNDEFINED, |known| known.values[index]);
            self.panel.columns.set(source.port(), row, value);
        }
        let heard = &mut self.slots[row].heard;
        let streak = &mut self.panel.universe.streaks[row];
        *streak = match in_time {
            true if heard.close + 1 == self.closes => streak.saturating_add(1),
            in_time => u32::from(in_time),
        };
        heard.close = if in_time { self.closes } else { 0 };
        heard.evaluated = Some(ts_close);
        heard.bar_as_of = waiting.as_of;
    }

    /// Finds who is compared with whom: those that step, and those whose newest bar is recent.
    fn compare(&mut self, ts_close: UnixNanos, rows: &[u32]) {
        let all = 0..self.slots.len() as u32;
        let fresh =
            all.filter(|row| rows.binary_search(row).is_ok() || self.was_recent(*row, ts_close)).collect();
        self.panel.universe.fresh = fresh;
        // Symbols keep their rows, so only new ones change the order.
        if self.panel.universe.order.len() != self.slots.len() {
            let mut order = vec![0; self.slots.len()];
            for (place, (_, row)) in self.roster.symbols().enumerate() {
                order[row as usize] = place as u32;
            }
            self.panel.universe.order = order;
        }
    }

    /// What came out, row by row.
    fn cut(&self, ts_close: UnixNanos, rows: &[u32]) -> Cut {
        let features = &self.registry.graph.features;
        let mut values = vec![0.0; rows.len() * features.len()];
        for (place, output) in features.iter().enumerate() {
            let column = &self.panel.columns.values[output.port as usize];
            for (index, &row) in rows.iter().enumerate() {
                values[index * features.len() + place] = column[row as usize];
            }
        }
        let entry = |&row: &u32| CutRow {
            row,
            as_of: self.slots[row as usize].heard.bar_as_of,
            ticks: self.panel.ticks[row as usize],
            inputs: self.inputs(row),
        };
        Cut { number: self.cuts, ts_close, rows: rows.iter().map(entry).collect(), values }
    }

    fn inputs(&self, row: u32) -> Inputs {
        let present = |source: &&Source| !self.panel.columns.get(source.port(), row as usize).is_nan();
        Source::ALL.iter().filter(present).fold(0, |bits, source| bits | 1 << source.port())
    }

    fn keep(&mut self, cut: Arc<Cut>) {
        self.history_bytes += cut.bytes();
        self.history.push_back(cut);
        self.shared_history = None;
        self.bound_history();
    }

    /// Lets the oldest cuts go. Of instruments that have had no bar since, the one row stays that readers see, so that
    /// what is held for the silent does not grow with the others.
    pub(crate) fn bound_history(&mut self) {
        while self.history_bytes > self.config.history_bytes {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= oldest.bytes();
            for (index, entry) in oldest.rows.iter().enumerate() {
                let latest = &mut self.views[entry.row as usize].latest;
                if latest.as_ref().is_some_and(|(cut, _)| Arc::ptr_eq(cut, &oldest)) {
                    *latest = Some((Arc::new(oldest.alone(index)), 0));
                    self.touch(entry.row);
                }
            }
        }
    }

    /// Sends an instrument's vector of every set that wants it.
    fn send(&self, row: u32, is_event: bool, out: &mut Effects) {
        let (symbol, slot) = (self.roster.symbol(row), &self.slots[row as usize].heard);
        for (name, set) in &self.subscribed {
            let due = set.publish == Publish::Event || (set.publish == Publish::Bar && !is_event);
            if !due || !set.wants(symbol) {
                continue;
            }
            let as_of = if is_event { slot.event_as_of } else { slot.bar_as_of };
            let port = |place: &u32| self.registry.graph.features[*place as usize].port;
            let value = |place| present(self.panel.columns.get(port(place), row as usize));
            out.send(
                Priority::Normal,
                Body::FeatureVector(FeatureVector {
                    set: *name,
                    instrument: symbol,
                    definition: set.definition,
                    ts_event: as_of.ts_event_ns,
                    sequence: as_of.sequence,
                    values: set.places.iter().map(value).collect(),
                }),
            );
        }
    }

    fn command(&mut self, command: Command, out: &mut Effects) {
        match command {
            Command::PutSet { name, set } => self.put_set(name, set, out),
            Command::DeleteSet { name } => self.delete_set(name, out),
        }
    }

    fn put_set(&mut self, name: FeatureSetName, set: FeatureSet, out: &mut Effects) {
        let subscribed = match set.subscribe(&self.registry) {
            Ok(subscribed) => subscribed,
            Err((code, detail)) => return out.refuse(code, detail),
        };
        if self.sets.len() >= SETS_MAX && !self.sets.contains_key(&name) {
            return out.refuse("too_many_sets", format!("there are {SETS_MAX} sets; delete one first"));
        }
        let value = serde_json::to_string(&set).expect("names have a JSON form");
        out.records.push(setting(name, value));
        self.keep_set(name, set, subscribed);
    }

    fn delete_set(&mut self, name: FeatureSetName, out: &mut Effects) {
        if Arc::make_mut(&mut self.sets).remove(&name).is_none() {
            return out.refuse("unknown_set", format!("there is no set '{name}'; GET /v1/sets lists all"));
        }
        self.subscribed.remove(&name);
        self.changed = true;
        out.records.push(setting(name, String::new()));
    }

    pub(crate) fn keep_set(&mut self, name: FeatureSetName, set: FeatureSet, subscribed: Subscribed) {
        Arc::make_mut(&mut self.sets).insert(name, set);
        self.subscribed.insert(name, subscribed);
        self.changed = true;
    }

    /// The hub numbers instruments anew; symbols keep their state.
    fn hub_restarted(&mut self, out: &mut Effects) {
        self.strangers.clear();
        for row in 0..self.slots.len() as u32 {
            let id = self.roster.id(row);
            if let Some(book) = &mut self.slots[row as usize].book {
                book.restart();
                if id != InstrumentId::NONE {
                    out.want_snapshot(id);
                }
            }
        }
        self.roster.forget_numbers();
    }

    /// Makes every view anew from the state and the cuts that were kept, oldest first.
    pub(crate) fn renew_views(&mut self, cuts: &[Arc<Cut>]) {
        self.views = self.slots.iter().map(|_| RowView::default()).collect();
        self.changed_rows.clear();
        self.shared_history = None;
        for cut in cuts {
            for (index, entry) in cut.rows.iter().enumerate() {
                if cut.number > self.slots[entry.row as usize].heard.begun {
                    self.views[entry.row as usize].latest = Some((Arc::clone(cut), index as u32));
                }
            }
        }
        (0..self.slots.len() as u32).for_each(|row| self.touch(row));
    }

    /// The cut of each instrument's newest bar.
    pub(crate) fn latest_cuts(&self) -> impl Iterator<Item = &Arc<Cut>> {
        self.views.iter().filter_map(|view| view.latest.as_ref().map(|(cut, _)| cut))
    }

    fn live(&self, row: u32) -> Option<Arc<Live>> {
        let ticks = self.panel.ticks[row as usize];
        if ticks[0] + ticks[1] == 0 {
            return None;
        }
        let port = |place: &u32| self.registry.graph.features[*place as usize].port;
        let value = |place| self.panel.columns.get(port(place), row as usize);
        Some(Arc::new(Live {
            as_of: self.slots[row as usize].heard.event_as_of,
            ticks,
            inputs: self.inputs(row),
            values: self.event_features.iter().map(value).collect(),
        }))
    }

    /// Everything as of now.
    pub fn picture(&mut self) -> Snapshot {
        let view = |(symbol, row): (Symbol, u32)| {
            let RowView { latest, live, .. } = &self.views[row as usize];
            let Heard { lost, begun, .. } = self.slots[row as usize].heard;
            InstrumentView { symbol, row, latest: latest.clone(), live: live.clone(), begun, lost }
        };
        let history = self.shared_history.get_or_insert_with(|| self.history.iter().cloned().collect());
        Snapshot {
            registry: Arc::clone(&self.registry),
            event_features: Arc::clone(&self.event_features),
            bar: self.config.bar,
            instruments: self.roster.symbols().map(view).collect(),
            history: Arc::clone(history),
            sets: Arc::clone(&self.sets),
            figures: self.figures(),
        }
    }
}

fn as_of(header: &Header) -> AsOf {
    AsOf { sequence: header.sequence.get(), ts_event_ns: header.ts_event() }
}

fn setting(name: FeatureSetName, value: String) -> Record {
    Record::Setting(Setting { engine: EngineName::Features, key: name.to_string(), value })
}

impl Engine for FeaturesEngine {
    const NAME: EngineName = EngineName::Features;
    type Command = Command;
    type View = Snapshot;

    #[inline]
    fn step(&mut self, _at: Stamp, input: Input<'_, Command>, out: &mut Effects) {
        match input {
            Input::Frame(frame) => self.frame(frame, out),
            // No message type lists this engine as its consumer.
            Input::Message(_) => {}
            Input::Command(command) => self.command(command, out),
            Input::HubRestarted => self.hub_restarted(out),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        self.save()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.adopt(snapshot).map_err(|reason| RestoreError { engine: Self::NAME, reason })
    }

    /// One picture of everything, under the symbol of an instrument that changed.
    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, Snapshot)) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        for index in 0..self.changed_rows.len() {
            let row = self.changed_rows[index];
            self.views[row as usize].live = self.live(row);
            self.views[row as usize].changed = false;
        }
        self.changed_rows.clear();
        sink(
            EngineName::Features.as_str().parse().expect("an engine's name is a legal symbol"),
            self.picture(),
        );
    }
}
