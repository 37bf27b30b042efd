//! The live engine: frames in, updates, alerts, records and views out.
//!
//! It routes, answers and remembers; the arithmetic is [`Flow`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use nautilus_engine::{Effects, Engine, History, HistoryView, Input, RestoreError, Roster, Stamp, snapshot};
use nautilus_messages::EngineName;
use nautilus_messages::frame::{Definition, FrameRef, Gap, Trade, flags};
use nautilus_messages::mesh::{
    Body, Classification, Message, Priority, ToxicityAlert, VpinResponse, VpinUpdate,
};
use nautilus_messages::record::{Record, Setting, VpinBucket};
use nautilus_types::{InstrumentId, Money, Quantity, Symbol};
use serde::{Deserialize, Serialize};

use crate::flow::{Flow, Print};
use crate::lane::Bucket;
use crate::{BucketRow, Configuration, ConfigurationError, LaneView, VpinView};

/// Completed buckets kept for each classification.
const HISTORY: usize = 4_096;
const SNAPSHOT_VERSION: u8 = 3;

/// What the HTTP interface may ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    /// Changes how an instrument's VPIN is computed; its buckets, bars and distribution start afresh.
    Configure {
        /// Which instrument.
        instrument: Symbol,
        /// The new configuration.
        configuration: Configuration,
    },
}

/// The engine of the vpin service.
#[derive(Debug)]
pub struct VpinEngine {
    defaults: Configuration,
    /// Configurations of instruments not defined yet.
    saved: BTreeMap<Symbol, Configuration>,
    roster: Roster,
    slots: Vec<Slot>,
    lost_on_star: u64,
    changed: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Slot {
    configuration: Configuration,
    flow: Flow,
    histories: [History<BucketRow>; 4],
    lost: u64,
    /// The source starts over: if its next trade is no later than the newest, this is an earlier session or the same
    /// one again, which must not be mixed with what came before, and all starts afresh.
    starts_over: bool,
    /// Views of the histories, renewed when a bucket was completed.
    #[serde(skip)]
    views: [Option<Arc<HistoryView<BucketRow>>>; 4],
    #[serde(skip)]
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Snapshot<R, S> {
    version: u8,
    roster: R,
    slots: S,
    lost_on_star: u64,
}

impl VpinEngine {
    /// An engine without instruments: `defaults` for whatever `saved` does not name.
    ///
    /// # Errors
    /// When a configuration is not legal.
    pub fn new(
        defaults: Configuration,
        saved: impl IntoIterator<Item = (Symbol, Configuration)>,
    ) -> Result<Self, ConfigurationError> {
        let saved: BTreeMap<_, _> = saved.into_iter().collect();
        std::iter::once(&defaults).chain(saved.values()).try_for_each(Configuration::check)?;
        Ok(Self {
            defaults,
            saved,
            roster: Roster::default(),
            slots: Vec::new(),
            lost_on_star: 0,
            changed: Vec::new(),
        })
    }

    /// The symbols defined so far, in order.
    pub fn instruments(&self) -> impl Iterator<Item = Symbol> {
        self.roster.symbols().map(|(symbol, _)| symbol)
    }

    #[inline]
    fn touch(&mut self, row: u32) -> &mut Slot {
        let slot = &mut self.slots[row as usize];
        if !slot.changed {
            slot.changed = true;
            self.changed.push(row);
        }
        slot
    }

    #[inline]
    fn trade(&mut self, frame: &Trade, out: &mut Effects) {
        let Some(row) = self.roster.row(frame.header.instrument()) else { return };
        let Ok(quantity) = u64::try_from(frame.quantity_nanos.get()) else { return };
        let print = Print {
            ts: frame.header.ts_event(),
            price: frame.price_nanos.get(),
            quantity,
            aggressor: frame.aggressor.get(),
        };
        self.touch(row);
        let (roster, slot) = (&self.roster, &mut self.slots[row as usize]);
        if std::mem::take(&mut slot.starts_over) && print.ts <= slot.flow.newest {
            *slot = Slot { changed: true, ..Slot::new(slot.configuration) };
        }
        let Slot { configuration, flow, histories, views, .. } = slot;
        let primary = configuration.classification;
        flow.trade(print, &mut |classification, bucket| {
            histories[classification as usize].push(BucketRow::from(bucket));
            views[classification as usize] = None;
            report(roster.symbol(row), classification, primary, bucket, out);
        });
    }

    /// A symbol keeps its state when the hub numbers it anew.
    fn define(&mut self, definition: &Definition) {
        let Ok(instrument) = definition.instrument() else { return };
        let (id, symbol) = (instrument.id, instrument.symbol);
        // As many instruments as there are numbers.
        let Some(defined) = self.roster.define(id, symbol, Roster::NUMBERS_END) else { return };
        if defined.is_new {
            self.slots.push(Slot::new(*self.saved.get(&symbol).unwrap_or(&self.defaults)));
        }
        self.touch(defined.row).starts_over |= definition.header.has(flags::STARTS_OVER);
    }

    fn touch_all(&mut self) {
        for row in 0..self.slots.len() as u32 {
            self.touch(row);
        }
    }

    fn gap(&mut self, gap: &Gap) {
        let id = gap.header.instrument();
        if id == InstrumentId::NONE {
            self.lost_on_star = self.lost_on_star.saturating_add(gap.lost());
            self.touch_all();
        } else if let Some(row) = self.roster.row(id) {
            let slot = self.touch(row);
            slot.lost = slot.lost.saturating_add(gap.lost());
        }
    }

    fn answer(&self, request: &Message, out: &mut Effects) {
        let Body::VpinRequest(wanted) = request.body else { return };
        let instrument = wanted.instrument;
        let latest = self.roster.find(instrument).and_then(|row| {
            let slot = &self.slots[row as usize];
            let classification = slot.configuration.classification;
            let bucket = slot.flow.lanes[classification as usize].latest()?;
            Some(update(instrument, classification, bucket))
        });
        out.answer(request, Body::VpinResponse(VpinResponse { instrument, latest }));
    }

    fn configure(&mut self, instrument: Symbol, configuration: Configuration, out: &mut Effects) {
        let Some(row) = self.roster.find(instrument) else {
            return out.refuse(
                "unknown_instrument",
                format!("instrument {instrument} is not known; configure it once it has been defined"),
            );
        };
        if let Err(error) = configuration.check() {
            return out.refuse("invalid_configuration", error.to_string());
        }
        let slot = self.touch(row);
        *slot = Slot { lost: slot.lost, changed: true, ..Slot::new(configuration) };
        let (engine, key, value) = (EngineName::Vpin, instrument.to_string(), configuration.to_json());
        out.records.push(Record::Setting(Setting { engine, key, value }));
    }

    /// Puts decoded slots in the place of the present ones, or says why they do not fit together.
    fn adopt(&mut self, snapshot: Snapshot<Roster, Vec<Slot>>) -> Result<(), String> {
        let Snapshot { roster, slots, lost_on_star, .. } = snapshot;
        if !roster.is_consistent() || roster.len() != slots.len() {
            return Err("its instruments contradict each other".to_owned());
        }
        for (row, slot) in (0..).zip(&slots) {
            let symbol = roster.symbol(row);
            slot.configuration.check().map_err(|e| format!("configuration of {symbol}: {e}"))?;
            if !slot.flow.is_consistent(&slot.configuration) {
                return Err(format!("the state of {symbol} contradicts itself"));
            }
        }
        (self.roster, self.slots, self.lost_on_star) = (roster, slots, lost_on_star);
        self.changed.clear();
        self.touch_all();
        Ok(())
    }
}

impl Engine for VpinEngine {
    const NAME: EngineName = EngineName::Vpin;
    type Command = Command;
    type View = VpinView;

    #[inline]
    fn step(&mut self, _at: Stamp, input: Input<'_, Command>, out: &mut Effects) {
        match input {
            Input::Frame(FrameRef::Trade(trade)) => self.trade(trade, out),
            Input::Frame(FrameRef::Definition(definition)) => self.define(definition),
            Input::Frame(FrameRef::Gap(gap)) => self.gap(gap),
            // A symbol keeps its state when the hub numbers it anew.
            Input::Frame(_) | Input::HubRestarted => {}
            Input::Message(message) => self.answer(message, out),
            Input::Command(Command::Configure { instrument, configuration }) => {
                self.configure(instrument, configuration, out);
            }
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let Self { roster, slots, lost_on_star, .. } = self;
        let snapshot = Snapshot { version: SNAPSHOT_VERSION, roster, slots, lost_on_star: *lost_on_star };
        postcard::to_allocvec(&snapshot).expect("the state is plain data, which postcard always encodes")
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let decoded = snapshot::decode(snapshot, SNAPSHOT_VERSION);
        let adopted = decoded.and_then(|decoded| self.adopt(decoded));
        adopted.map_err(|reason| RestoreError { engine: Self::NAME, reason })
    }

    fn publish(&mut self, sink: &mut dyn FnMut(Symbol, VpinView)) {
        for row in self.changed.drain(..) {
            let (symbol, slot) = (self.roster.symbol(row), &mut self.slots[row as usize]);
            slot.changed = false;
            sink(symbol, slot.view(symbol, self.lost_on_star));
        }
    }
}

impl Slot {
    fn new(configuration: Configuration) -> Self {
        Self {
            configuration,
            flow: Flow::trailing(&configuration),
            histories: std::array::from_fn(|_| History::new(HISTORY)),
            lost: 0,
            starts_over: false,
            views: [const { None }; 4],
            changed: false,
        }
    }

    fn view(&mut self, instrument: Symbol, lost_on_star: u64) -> VpinView {
        let Self { flow, histories, views, .. } = self;
        let lanes = std::array::from_fn(|n| {
            let history = views[n].get_or_insert_with(|| Arc::new(histories[n].view()));
            lane_view(Classification::ALL[n], flow, Arc::clone(history))
        });
        VpinView {
            instrument,
            configuration: self.configuration,
            bucket_volume: flow.volume.size.map(|size| quantity(size.whole)),
            bucket_volume_source: flow.volume.source,
            calibration_trades_left: flow.volume.calibration_left(),
            sigma: flow.scale.sigma().map(|nanos| nanos / 1e9),
            sigma_bars: flow.scale.bars(),
            trades: flow.trades,
            lost: self.lost,
            lost_on_star,
            lanes,
        }
    }
}

fn lane_view(classification: Classification, flow: &Flow, history: Arc<HistoryView<BucketRow>>) -> LaneView {
    let lane = &flow.lanes[classification as usize];
    let (size, filled, buy) = lane.partial();
    let latest = lane.latest();
    LaneView {
        classification,
        vpin: latest.and_then(|bucket| bucket.vpin),
        cdf: latest.and_then(|bucket| bucket.cdf),
        level: latest.and_then(|bucket| bucket.level),
        buckets: lane.completed(),
        bucket_size: (size > 0).then(|| quantity(size)),
        filled: quantity(filled),
        filled_buy: buy.to_units(),
        left_out: Money::from_nanos(i128::try_from(flow.left_out(classification)).unwrap_or(i128::MAX)),
        last_update: latest.map(|bucket| bucket.ts_close),
        history,
    }
}

fn quantity(nanos: u64) -> Quantity {
    Quantity::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// A completed bucket goes to the mesh and to the store; a crossing of the primary classification is an alert.
fn report(
    instrument: Symbol,
    classification: Classification,
    primary: Classification,
    bucket: &Bucket,
    out: &mut Effects,
) {
    out.send(Priority::Normal, Body::VpinUpdate(update(instrument, classification, bucket)));
    out.records.push(Record::VpinBucket(VpinBucket {
        instrument,
        classification,
        bucket: bucket.number,
        ts_close: bucket.ts_close,
        buy: bucket.buy.to_units(),
        sell: bucket.sell().to_units(),
        vpin: bucket.vpin,
    }));
    let Bucket { vpin: Some(vpin), cdf: Some(cdf), level: Some(level), .. } = *bucket else { return };
    if let Some(previous) = bucket.crossed_from.filter(|_| classification == primary) {
        let ts_event = bucket.ts_close;
        let alert = ToxicityAlert { instrument, classification, previous, level, vpin, cdf, ts_event };
        out.send(Priority::High, Body::ToxicityAlert(alert));
    }
}

fn update(instrument: Symbol, classification: Classification, bucket: &Bucket) -> VpinUpdate {
    let Bucket { number, ts_close, vpin, cdf, .. } = *bucket;
    VpinUpdate { instrument, classification, bucket: number, ts_event: ts_close, vpin, cdf }
}
