//! What readers see: one immutable picture of every value, made between batches and never changed afterwards.
//!
//! A reader keeps the picture it got, so all values it looks at belong together, and the engine never waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use nautilus_messages::BarSpec;
use nautilus_types::{FeatureSetName, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::calculate::present;
use crate::inputs::{Clock, Source};
use crate::reason::Absence;
use crate::registry::Registry;
use crate::sets::FeatureSet;

/// The event that a vector is as of: the hub's number of the frame within its instrument, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AsOf {
    /// The hub's number of the frame.
    pub sequence: u64,
    /// When it happened.
    pub ts_event_ns: UnixNanos,
}

/// Bits of which inputs have a value, by [`Source`].
pub(crate) type Inputs = u32;

const _: () = assert!(Source::ALL.len() <= Inputs::BITS as usize);

/// One instrument's row of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CutRow {
    pub(crate) row: u32,
    pub(crate) as_of: AsOf,
    /// Ticks of each clock so far.
    pub(crate) ticks: [u64; 3],
    pub(crate) inputs: Inputs,
}

/// All features of the instruments whose bars closed together.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// When the bars closed.
    pub(crate) ts_close: UnixNanos,
    /// In rising order of rows.
    pub(crate) rows: Vec<CutRow>,
    /// By row of the cut, then by feature.
    pub(crate) values: Vec<f64>,
}

impl Cut {
    fn vector(&self, index: usize) -> &[f64] {
        let features = self.values.len() / self.rows.len();
        &self.values[index * features..][..features]
    }

    /// The same for one of its rows.
    pub(crate) fn alone(&self, index: usize) -> Self {
        Self { rows: vec![self.rows[index]], values: self.vector(index).to_vec(), ..*self }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * 8 + self.rows.len() * size_of::<CutRow>() + 64
    }
}

/// The features of one instrument that tick by trades and quotes, as of its newest one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Live {
    pub(crate) as_of: AsOf,
    pub(crate) ticks: [u64; 3],
    pub(crate) inputs: Inputs,
    /// In the order of [`Snapshot::event_features`].
    pub(crate) values: Vec<f64>,
}

/// What is known of one instrument.
#[derive(Debug, Clone)]
pub struct InstrumentView {
    /// Which one.
    pub symbol: Symbol,
    pub(crate) row: u32,
    /// The cut of its newest bar, and its place there.
    pub(crate) latest: Option<(Arc<Cut>, u32)>,
    pub(crate) live: Option<Arc<Live>>,
    /// Cuts up to this one are of a past that its source has started over.
    pub(crate) begun: u64,
    /// Frames of this instrument known to be lost.
    pub lost: u64,
}

/// Sizes and counts of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Figures {
    /// Definitions.
    pub features: usize,
    /// Nodes of the graph.
    pub nodes: usize,
    /// Nodes there would be if equal sub-expressions were not one.
    pub nodes_unshared: usize,
    /// Instruments.
    pub instruments: usize,
    /// Features × instruments.
    pub values: usize,
    /// Bar closes evaluated.
    pub cuts: u64,
    /// Trades and quotes evaluated.
    pub events: u64,
    /// Bytes of the graph's state.
    pub state_bytes: usize,
    /// Bytes of the kept history.
    pub history_bytes: usize,
    /// Bar closes that are kept.
    pub history_cuts: usize,
    /// Bars that were left out because a later or the same one had come before.
    pub bars_refused: u64,
    /// Frames of the whole star known to be lost.
    pub lost_on_star: u64,
}

/// Everything, as of one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The definitions, in the order of values.
    pub registry: Arc<Registry>,
    /// Which features tick by trades and quotes.
    pub event_features: Arc<[u32]>,
    /// The bars that everything else ticks by.
    pub bar: BarSpec,
    /// By symbol.
    pub instruments: Arc<[InstrumentView]>,
    /// Bar closes, oldest first.
    pub(crate) history: Arc<[Arc<Cut>]>,
    /// The named sets.
    pub sets: Arc<BTreeMap<FeatureSetName, FeatureSet>>,
    /// Sizes and counts.
    pub figures: Figures,
}

impl Snapshot {
    /// The place of an instrument in [`Self::instruments`].
    #[must_use]
    pub fn find(&self, symbol: Symbol) -> Option<usize> {
        self.instruments.binary_search_by_key(&symbol, |instrument| instrument.symbol).ok()
    }

    /// An instrument's newest values.
    #[must_use]
    pub fn vector(&self, place: usize) -> Vector<'_> {
        let instrument = &self.instruments[place];
        let latest = instrument.latest.as_ref();
        Vector {
            snapshot: self,
            bar: latest.map(|(cut, index)| (cut.vector(*index as usize), cut.rows[*index as usize])),
            live: instrument.live.as_deref(),
            ts_close: latest.map(|(cut, _)| cut.ts_close),
        }
    }

    /// An instrument's values at the bar closes from `from` to `to`, oldest first, as they were known then. What came
    /// before its source started over does not count.
    pub fn history(&self, place: usize, from: UnixNanos, to: UnixNanos) -> impl Iterator<Item = Vector<'_>> {
        let InstrumentView { row, begun, .. } = self.instruments[place];
        let counts = move |cut: &&Arc<Cut>| cut.number > begun && cut.ts_close >= from && cut.ts_close <= to;
        let within = self.history.iter().filter(counts);
        within.filter_map(move |cut| {
            let index = cut.rows.binary_search_by_key(&row, |entry| entry.row).ok()?;
            let bar = Some((cut.vector(index), cut.rows[index]));
            Some(Vector { snapshot: self, bar, live: None, ts_close: Some(cut.ts_close) })
        })
    }

    /// The span of time that the history covers.
    #[must_use]
    pub fn kept(&self) -> Option<(UnixNanos, UnixNanos)> {
        let closes = || self.history.iter().map(|cut| cut.ts_close);
        Some((closes().min()?, closes().max()?))
    }

    /// Whether a feature ticks by trades and quotes.
    fn is_live(&self, feature: usize) -> Option<usize> {
        self.event_features.binary_search(&(feature as u32)).ok()
    }
}

/// One instrument's values at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Vector<'a> {
    snapshot: &'a Snapshot,
    bar: Option<(&'a [f64], CutRow)>,
    live: Option<&'a Live>,
    /// When its newest bar closed.
    pub ts_close: Option<UnixNanos>,
}

impl Vector<'_> {
    /// The value of a feature, by its place in the registry.
    #[must_use]
    #[inline]
    pub fn value(&self, feature: usize) -> Option<f64> {
        match (self.live, self.snapshot.is_live(feature)) {
            (Some(live), Some(index)) => present(live.values[index]),
            _ => self.bar.and_then(|(values, _)| present(values[feature])),
        }
    }

    /// Why a feature has no value.
    #[must_use]
    pub fn absence(&self, feature: usize) -> Absence {
        let definition = &self.snapshot.registry.definitions()[feature];
        let (ticks, inputs) = match (self.live, self.bar) {
            (Some(live), _) if self.snapshot.is_live(feature).is_some() => (live.ticks, live.inputs),
            (_, Some((_, row))) => (row.ticks, row.inputs),
            _ => ([0; 3], 0),
        };
        let ticked = Clock::ALL.iter().zip(ticks).filter(|(clock, _)| definition.clock.ticks_with(**clock));
        let ticks = ticked.map(|(_, ticks)| ticks).max().unwrap_or(0);
        Absence::of(definition, ticks, |source| inputs & (1 << source.port()) != 0)
    }

    /// The bar that bar features are as of.
    #[must_use]
    pub fn bar_as_of(&self) -> Option<AsOf> {
        self.bar.map(|(_, row)| row.as_of)
    }

    /// The trade or quote that the features of events are as of.
    #[must_use]
    pub fn event_as_of(&self) -> Option<AsOf> {
        self.live.map(|live| live.as_of)
    }
}
