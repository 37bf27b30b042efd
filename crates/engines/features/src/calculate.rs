//! Features over bars that are handed in: the same graph as live, from the first bar to the last.
//!
//! It is pure and bounded, and gives the bits that the live engine gives for the same bars.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::columns::UNDEFINED;
use crate::inputs::Clock;
use crate::panel::{BarValues, Panel};
use crate::reason::Absence;
use crate::registry::Registry;

/// The most symbols of one request.
const SYMBOLS_MAX: usize = 1_024;
/// The most bars of all symbols together.
const BARS_MAX: usize = 1_000_000;
/// The most values of one answer.
const VALUES_MAX: usize = 1_000_000;
/// The most steps of nodes that one request may take: some seconds of one core.
const WORK_MAX: usize = 2_000_000_000;

/// One symbol's bars, oldest first. Without open, high and low those are the close; without a volume what needs one is
/// absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// First prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Vec<f64>>,
    /// Highest prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<Vec<f64>>,
    /// Lowest prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<Vec<f64>>,
    /// Last prices.
    pub close: Vec<f64>,
    /// Quantities traded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Vec<f64>>,
}

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The values at the last bar.
    #[default]
    Last,
    /// The values at every bar, null where there is none.
    Series,
}

/// Bars and the features wanted of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalculateRequest {
    /// By symbol. Symbols are beside each other at their last bars, where they are compared.
    pub series: BTreeMap<String, Series>,
    /// Ids of definitions.
    pub features: Vec<String>,
    /// What comes back.
    #[serde(default)]
    pub output: Wanted,
}

/// A symbol's values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Values {
    /// At the last bar.
    Last(f64),
    /// At every bar.
    Series(Vec<Option<f64>>),
}

/// The answer to a [`CalculateRequest`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalculateAnswer {
    /// By symbol and feature.
    pub features: BTreeMap<String, BTreeMap<String, Values>>,
    /// By symbol and feature, why there is no value at the last bar.
    pub absent: BTreeMap<String, BTreeMap<String, Absence>>,
    /// Values at the last bars.
    pub total_features: usize,
    /// By feature, the version of its definition.
    pub versions: BTreeMap<String, u32>,
    /// By symbol.
    pub bars: BTreeMap<String, usize>,
    /// Nodes evaluated at each bar.
    pub nodes: usize,
}

/// Why a calculation is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalculateError {
    /// Nothing to compute from.
    #[error("series is empty; send at least one symbol with a close")]
    NoSeries,
    /// A symbol without bars.
    #[error("series.{0}.close is empty; send at least one bar")]
    NoBars(String),
    /// Nothing wanted.
    #[error("features is empty; name at least one, for example \"rsi_14\"")]
    NoFeatures,
    /// Too much at once.
    #[error("{what} are {count}; send at most {most}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        count: usize,
        /// The most.
        most: usize,
    },
    /// Arrays that do not belong together.
    #[error("series.{symbol}.{field} has {length} values and close has {bars}; they must be as many")]
    Lengths {
        /// Whose.
        symbol: String,
        /// Which one.
        field: &'static str,
        /// Its length.
        length: usize,
        /// The length of close.
        bars: usize,
    },
    /// A number that is none of a market.
    #[error("series.{symbol}.{field}[{index}] is {value}; {instead}")]
    Illegal {
        /// Whose.
        symbol: String,
        /// Which one.
        field: &'static str,
        /// Where, from 0.
        index: usize,
        /// The number.
        value: f64,
        /// What it has to be.
        instead: &'static str,
    },
    /// A feature that nobody defined, or a bad definition.
    #[error("{0}")]
    Feature(String),
}

impl CalculateError {
    /// Stable, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSeries => "no_series",
            Self::NoBars(_) => "no_bars",
            Self::NoFeatures => "no_features",
            Self::TooMuch { .. } => "too_much",
            Self::Lengths { .. } => "unequal_lengths",
            Self::Illegal { .. } => "illegal_value",
            Self::Feature(_) => "unknown_feature",
        }
    }
}

/// Computes the features of a request.
///
/// # Errors
/// When the request is not legal; the error says what to change.
pub fn calculate(registry: &Registry, request: &CalculateRequest) -> Result<CalculateAnswer, CalculateError> {
    check(request)?;
    let ids: Vec<&str> = request.features.iter().map(String::as_str).collect();
    let registry = registry.only(&ids).map_err(|error| CalculateError::Feature(error.to_string()))?;
    let bars: usize = request.series.values().map(|series| series.close.len()).sum();
    at_most("features × bars of all symbols", registry.nodes().max(1).saturating_mul(bars), WORK_MAX)?;
    let count = if request.output == Wanted::Series { bars } else { request.series.len() };
    at_most("values of the answer", count.saturating_mul(ids.len()), VALUES_MAX)?;
    let (panel, series) = run(&registry, request);
    Ok(answer(&registry, request, &panel, series))
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), CalculateError> {
    if count > most { Err(CalculateError::TooMuch { what, count, most }) } else { Ok(()) }
}

fn check(request: &CalculateRequest) -> Result<(), CalculateError> {
    if request.series.is_empty() {
        return Err(CalculateError::NoSeries);
    }
    if request.features.is_empty() {
        return Err(CalculateError::NoFeatures);
    }
    at_most("symbols", request.series.len(), SYMBOLS_MAX)?;
    at_most("features", request.features.len(), crate::registry::DEFINITIONS_MAX)?;
    at_most("bars of all symbols", request.series.values().map(|series| series.close.len()).sum(), BARS_MAX)?;
    request.series.iter().try_for_each(|(symbol, series)| check_series(symbol, series))
}

fn check_series(symbol: &str, series: &Series) -> Result<(), CalculateError> {
    let bars = series.close.len();
    if bars == 0 {
        return Err(CalculateError::NoBars(symbol.to_owned()));
    }
    let optional =
        [("open", &series.open), ("high", &series.high), ("low", &series.low), ("volume", &series.volume)];
    let given = optional.into_iter().filter_map(|(field, values)| Some((field, values.as_ref()?)));
    for (field, values) in given.chain([("close", &series.close)]) {
        if values.len() != bars {
            let (symbol, length) = (symbol.to_owned(), values.len());
            return Err(CalculateError::Lengths { symbol, field, length, bars });
        }
        let (least, instead) = match field {
            "volume" => (0.0, "it must be a finite number, at least 0"),
            _ => (f64::MIN, "it must be a finite number"),
        };
        if let Some(index) = values.iter().position(|value| !value.is_finite() || *value < least) {
            let (symbol, value) = (symbol.to_owned(), values[index]);
            return Err(CalculateError::Illegal { symbol, field, index, value, instead });
        }
    }
    Ok(())
}

impl Series {
    fn bar(&self, index: usize) -> BarValues {
        let close = self.close[index];
        let of = |values: &Option<Vec<f64>>, instead| values.as_ref().map_or(instead, |values| values[index]);
        BarValues {
            open: of(&self.open, close),
            high: of(&self.high, close),
            low: of(&self.low, close),
            volume: of(&self.volume, UNDEFINED),
            ..BarValues::at(close)
        }
    }
}

/// By row and feature, the values at every bar.
type Kept = Vec<Vec<Vec<Option<f64>>>>;

fn run(registry: &Registry, request: &CalculateRequest) -> (Panel, Kept) {
    let graph = &registry.graph;
    let mut panel = Panel::new(graph);
    let all: Vec<&Series> = request.series.values().collect();
    let longest = all.iter().map(|series| series.close.len()).max().unwrap_or(0);
    let mut kept: Kept = vec![vec![Vec::new(); graph.features.len()]; all.len()];
    all.iter().for_each(|_| {
        panel.add_row(graph, 0);
    });
    // The request's symbols are in order.
    panel.universe.order = (0..all.len() as u32).collect();
    let mut rows = Vec::new();
    for at in 0..longest {
        rows.clear();
        for (row, series) in all.iter().enumerate() {
            let begins = longest - series.close.len();
            if at >= begins {
                panel.set_bar(row, &series.bar(at - begins));
                panel.universe.streaks[row] += 1;
                rows.push(row as u32);
            }
        }
        panel.universe.fresh.clone_from(&rows);
        panel.close(graph, &rows);
        if request.output == Wanted::Series {
            for &row in &rows {
                for (values, output) in kept[row as usize].iter_mut().zip(&graph.features) {
                    values.push(present(panel.columns.get(output.port, row as usize)));
                }
            }
        }
    }
    (panel, kept)
}

pub(crate) fn present(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

fn answer(registry: &Registry, request: &CalculateRequest, panel: &Panel, mut kept: Kept) -> CalculateAnswer {
    let mut features = BTreeMap::new();
    let mut absent = BTreeMap::new();
    let mut total = 0;
    for (row, symbol) in request.series.keys().enumerate() {
        let (mut values, mut reasons) = (BTreeMap::new(), BTreeMap::new());
        for (index, definition) in registry.definitions().iter().enumerate() {
            let last = present(panel.columns.get(registry.graph.features[index].port, row));
            total += usize::from(last.is_some());
            match (request.output, last) {
                (Wanted::Last, Some(value)) => {
                    values.insert(definition.id.clone(), Values::Last(value));
                }
                (Wanted::Series, _) => {
                    let series = std::mem::take(&mut kept[row][index]);
                    values.insert(definition.id.clone(), Values::Series(series));
                }
                (Wanted::Last, None) => {}
            }
            if last.is_none() {
                let ticks = if definition.clock == Clock::BAR { panel.ticks[row][2] } else { 1 };
                let given = |source: crate::Source| !panel.columns.get(source.port(), row).is_nan();
                reasons.insert(definition.id.clone(), Absence::of(definition, ticks, given));
            }
        }
        features.insert(symbol.clone(), values);
        if !reasons.is_empty() {
            absent.insert(symbol.clone(), reasons);
        }
    }
    CalculateAnswer {
        features,
        absent,
        total_features: total,
        versions: registry.definitions().iter().map(|d| (d.id.clone(), d.version)).collect(),
        bars: request.series.iter().map(|(symbol, series)| (symbol.clone(), series.close.len())).collect(),
        nodes: registry.nodes(),
    }
}
