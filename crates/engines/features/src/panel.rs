//! The graph's columns with the instruments in them, stepped by bars: what the live engine and a batch have in common.
//!
//! It knows rows and bars; symbols, frames and time zones are its callers' business.

use crate::columns::{Columns, UNDEFINED};
use crate::graph::Graph;
use crate::inputs::{Clock, Source};
use crate::kernel::Universe;

/// A bar as the graph takes it. What the source does not say is undefined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BarValues {
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume: f64,
    pub(crate) vwap: f64,
    pub(crate) buy_volume: f64,
    pub(crate) sell_volume: f64,
    pub(crate) trades: f64,
}

impl BarValues {
    /// Numbers of a bar.
    pub(crate) const FIELDS: usize = 9;
    const SOURCES: [Source; Self::FIELDS] = [
        Source::Open,
        Source::High,
        Source::Low,
        Source::Close,
        Source::Volume,
        Source::Vwap,
        Source::BuyVolume,
        Source::SellVolume,
        Source::Trades,
    ];

    /// In the order of the fields.
    pub(crate) fn to_array(self) -> [f64; Self::FIELDS] {
        let Self { open, high, low, close, volume, vwap, buy_volume, sell_volume, trades } = self;
        [open, high, low, close, volume, vwap, buy_volume, sell_volume, trades]
    }

    pub(crate) fn from_array(values: [f64; Self::FIELDS]) -> Self {
        let [open, high, low, close, volume, vwap, buy_volume, sell_volume, trades] = values;
        Self { open, high, low, close, volume, vwap, buy_volume, sell_volume, trades }
    }

    /// A bar of nothing but its close.
    pub(crate) fn at(close: f64) -> Self {
        Self {
            open: close,
            high: close,
            low: close,
            close,
            volume: UNDEFINED,
            vwap: UNDEFINED,
            buy_volume: UNDEFINED,
            sell_volume: UNDEFINED,
            trades: UNDEFINED,
        }
    }
}

/// What ticks by events, as it stands when an instrument's bar comes. The bar may wait for those of other instruments,
/// and what happens meanwhile is none of its business.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AtClose {
    /// By port of [`Graph::at_close`].
    pub(crate) values: Vec<f64>,
    /// Ticks of trades and quotes.
    pub(crate) ticks: [u64; 2],
}

/// The state of every instrument.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) columns: Columns,
    pub(crate) universe: Universe,
    /// By row, ticks of each clock so far.
    pub(crate) ticks: Vec<[u64; 3]>,
}

impl Panel {
    pub(crate) fn new(graph: &Graph) -> Self {
        Self { columns: graph.columns(), universe: Universe::default(), ticks: Vec::new() }
    }

    /// Appends an instrument; sector 0 is none.
    pub(crate) fn add_row(&mut self, graph: &Graph, sector: u32) -> usize {
        self.universe.sectors.push(sector);
        self.universe.streaks.push(0);
        self.ticks.push([0; 3]);
        graph.add_row(&mut self.columns)
    }

    /// Forgets the past of an instrument.
    pub(crate) fn reset_row(&mut self, graph: &Graph, row: usize) {
        self.universe.streaks[row] = 0;
        self.ticks[row] = [0; 3];
        graph.reset_row(&mut self.columns, row);
    }

    pub(crate) fn set_bar(&mut self, row: usize, bar: &BarValues) {
        for (source, value) in BarValues::SOURCES.into_iter().zip(bar.to_array()) {
            self.columns.set(source.port(), row, value);
        }
    }

    /// What ticks by events, as it stands.
    pub(crate) fn at_close(&self, graph: &Graph, row: usize) -> AtClose {
        let values = graph.at_close.iter().map(|port| self.columns.get(*port, row)).collect();
        let [trades, quotes, _] = self.ticks[row];
        AtClose { values, ticks: [trades, quotes] }
    }

    /// Exchanges what ticks by events with what it was, or was later.
    pub(crate) fn exchange(&mut self, graph: &Graph, row: usize, with: &mut AtClose) {
        for (port, value) in graph.at_close.iter().zip(&mut with.values) {
            std::mem::swap(&mut self.columns.values[*port as usize][row], value);
        }
        self.ticks[row][..2].swap_with_slice(&mut with.ticks);
    }

    /// Steps the instruments of `rows`, in rising order, whose bars close together. Who is compared with whom stands
    /// in `universe.fresh`.
    pub(crate) fn close(&mut self, graph: &Graph, rows: &[u32]) {
        for &row in rows {
            self.ticks[row as usize][2] += 1;
        }
        graph.step(Clock::BAR, &mut self.columns, rows, &self.universe);
    }

    /// Steps one instrument by a trade or a quote, whose inputs are set.
    #[inline]
    pub(crate) fn event(&mut self, graph: &Graph, clock: Clock, row: u32) {
        self.ticks[row as usize][usize::from(clock == Clock::QUOTE)] += 1;
        graph.step(clock, &mut self.columns, &[row], &self.universe);
    }
}
