//! The JSON shapes of the features service, made from the engine's picture. Values are written as they are met, so
//! that a vector of a thousand costs no map.

use std::collections::BTreeMap;
use std::sync::Arc;

use nautilus_engine_features::{
    Absence, AsOf, Clock, Definition, Family, FeatureSet, FunctionView, Publish, Snapshot, Source, Vector,
};
use nautilus_service::paging::default_limit;
use nautilus_types::{FeatureSetName, Symbol, UnixNanos};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use crate::selection::{Places, defined};

/// Which definitions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeaturesQuery {
    /// For example momentum.
    #[param(value_type = Option<String>, example = "momentum")]
    pub(crate) family: Option<Family>,
    /// bar, trade or quote: those that tick by it.
    #[param(value_type = Option<String>, example = "bar")]
    pub(crate) clock: Option<Ticks>,
    /// Definitions behind this one only.
    pub(crate) after: Option<String>,
    /// Definitions at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// A clock of a query.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ticks {
    Bar,
    Trade,
    Quote,
}

impl From<Ticks> for Clock {
    fn from(ticks: Ticks) -> Self {
        match ticks {
            Ticks::Bar => Self::BAR,
            Ticks::Trade => Self::TRADE,
            Ticks::Quote => Self::QUOTE,
        }
    }
}

/// A page of definitions, in the order of values.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeaturesPage<'a> {
    /// Equal where ids, versions and formulas are, in their order.
    pub(crate) digest: String,
    /// Definitions that match, on all pages.
    pub(crate) total: usize,
    /// Of those, by family.
    #[schema(value_type = BTreeMap<String, usize>)]
    pub(crate) by_family: BTreeMap<Family, usize>,
    #[schema(value_type = Vec<Object>)]
    pub(crate) features: Vec<&'a Definition>,
    /// Give it as `after` for the next page; absent on the last.
    pub(crate) next: Option<&'a str>,
}

/// What formulas are made of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FunctionsAnswer {
    #[schema(value_type = Vec<Object>)]
    pub(crate) functions: Vec<FunctionView>,
    pub(crate) inputs: Vec<InputAnswer>,
}

/// What a formula can start from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InputAnswer {
    #[schema(example = "close")]
    name: &'static str,
    #[schema(value_type = String, example = "bar")]
    clock: Clock,
    #[schema(example = "price")]
    unit: &'static str,
    words: &'static str,
}

impl From<Source> for InputAnswer {
    fn from(source: Source) -> Self {
        Self { name: source.name(), clock: source.clock(), unit: source.unit(), words: source.words() }
    }
}

/// The bar that features of bars are as of.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct BarAsOf {
    /// The hub's number of the bar within the instrument.
    pub(crate) sequence: u64,
    #[schema(value_type = u64)]
    pub(crate) ts_event_ns: UnixNanos,
    /// When the bars that are compared closed.
    #[schema(value_type = u64)]
    pub(crate) ts_close_ns: UnixNanos,
}

impl BarAsOf {
    pub(crate) fn of(vector: &Vector<'_>) -> Option<Self> {
        let AsOf { sequence, ts_event_ns } = vector.bar_as_of()?;
        Some(Self { sequence, ts_event_ns, ts_close_ns: vector.ts_close? })
    }
}

/// Where an instrument stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstrumentAnswer {
    #[schema(value_type = String, example = "ESH4")]
    instrument: Symbol,
    bar: Option<BarAsOf>,
    /// The trade or quote that features of events are as of.
    #[schema(value_type = Option<Object>)]
    event: Option<AsOf>,
    /// Features that have a value.
    defined: usize,
    /// Frames of this instrument known to be lost.
    lost: u64,
}

impl InstrumentAnswer {
    pub(crate) fn new(picture: &Snapshot, place: usize) -> Self {
        let (view, vector) = (&picture.instruments[place], picture.vector(place));
        Self {
            instrument: view.symbol,
            bar: BarAsOf::of(&vector),
            event: vector.event_as_of(),
            defined: defined(picture, vector),
            lost: view.lost,
        }
    }
}

/// Which vector.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct VectorQuery {
    /// The features of this set.
    pub(crate) set: Option<String>,
    /// These features, with commas between them; all where there is no set either.
    pub(crate) features: Option<String>,
    /// Whether the answer says why features have no value.
    #[serde(default = "yes")]
    pub(crate) absent: bool,
}

const fn yes() -> bool {
    true
}

/// An instrument's newest values.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VectorAnswer {
    #[schema(value_type = String, example = "ESH4")]
    instrument: Symbol,
    /// The digest of the definitions; see `GET /v1/features`.
    definitions: String,
    bar: Option<BarAsOf>,
    /// The trade or quote that features of events are as of.
    #[schema(value_type = Option<Object>)]
    event: Option<AsOf>,
    /// By feature.
    #[schema(value_type = BTreeMap<String, f64>)]
    values: Present,
    /// By feature, why there is no value.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<Absent>,
}

impl VectorAnswer {
    pub(crate) fn new(picture: Arc<Snapshot>, place: usize, features: Places, absent: bool) -> Self {
        let vector = picture.vector(place);
        let (bar, event) = (BarAsOf::of(&vector), vector.event_as_of());
        let looked = Looked { picture, place, features };
        Self {
            instrument: looked.picture.instruments[place].symbol,
            definitions: digest(&looked.picture),
            bar,
            event,
            absent: absent.then(|| Absent(looked.clone())),
            values: Present(looked),
        }
    }
}

/// The digest of the definitions, as it is shown.
pub(crate) fn digest(picture: &Snapshot) -> String {
    format!("{:016x}", picture.registry.digest())
}

/// Some features of one instrument in a picture that is kept meanwhile.
#[derive(Debug, Clone)]
struct Looked {
    picture: Arc<Snapshot>,
    place: usize,
    features: Places,
}

/// Those that have a value, with it.
#[derive(Debug)]
struct Present(Looked);

impl Serialize for Present {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Looked { picture, place, features } = &self.0;
        let (vector, definitions) = (picture.vector(*place), picture.registry.definitions());
        let entry = |feature: &u32| {
            let value = vector.value(*feature as usize)?;
            Some((definitions[*feature as usize].id.as_str(), value))
        };
        serializer.collect_map(features.iter().filter_map(entry))
    }
}

/// Those that have none, with the reason.
#[derive(Debug)]
struct Absent(Looked);

impl Serialize for Absent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Looked { picture, place, features } = &self.0;
        let (vector, definitions) = (picture.vector(*place), picture.registry.definitions());
        let entry = |feature: &u32| -> Option<(&str, Absence)> {
            let feature = *feature as usize;
            vector
                .value(feature)
                .is_none()
                .then(|| (definitions[feature].id.as_str(), vector.absence(feature)))
        };
        serializer.collect_map(features.iter().filter_map(entry))
    }
}

/// Which part of the matrix.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MatrixQuery {
    /// The features of this set.
    pub(crate) set: Option<String>,
    /// These features, with commas between them; all where there is no set either.
    pub(crate) features: Option<String>,
    /// These instruments, with commas between them; all when left out.
    pub(crate) instruments: Option<String>,
    /// Instruments behind this one only.
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Symbol>,
    /// Instruments at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// Instruments × features, as of one moment.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) picture: Arc<Snapshot>,
    pub(crate) features: Places,
    pub(crate) instruments: Vec<usize>,
    pub(crate) next: Option<Symbol>,
}

impl Matrix {
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|place| self.picture.registry.definitions()[*place as usize].id.as_str())
    }

    pub(crate) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.instruments.iter().map(|place| self.picture.instruments[*place].symbol)
    }

    pub(crate) fn vectors(&self) -> impl Iterator<Item = Vector<'_>> {
        self.instruments.iter().map(|place| self.picture.vector(*place))
    }
}

/// A matrix as an Arrow IPC stream of one record batch.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct ArrowStream(#[allow(dead_code)] Vec<u8>);

/// A matrix in JSON.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatrixAnswer<'a> {
    /// The digest of the definitions; see `GET /v1/features`.
    definitions: String,
    /// Columns.
    features: Vec<&'a str>,
    /// Rows.
    #[schema(value_type = Vec<String>)]
    instruments: Vec<Symbol>,
    as_of: Vec<MatrixAsOf>,
    /// By row, then by column; null where there is no value.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    values: Rows<'a>,
    /// Give it as `after` for the next page; absent on the last.
    #[schema(value_type = Option<String>)]
    next: Option<Symbol>,
}

/// What a row is as of.
#[derive(Debug, Serialize, ToSchema)]
struct MatrixAsOf {
    bar: Option<BarAsOf>,
    #[schema(value_type = Option<Object>)]
    event: Option<AsOf>,
}

impl<'a> From<&'a Matrix> for MatrixAnswer<'a> {
    fn from(matrix: &'a Matrix) -> Self {
        let as_of =
            |vector: Vector<'_>| MatrixAsOf { bar: BarAsOf::of(&vector), event: vector.event_as_of() };
        Self {
            definitions: digest(&matrix.picture),
            features: matrix.ids().collect(),
            instruments: matrix.symbols().collect(),
            as_of: matrix.vectors().map(as_of).collect(),
            values: Rows { vectors: matrix.vectors().collect(), features: &matrix.features },
            next: matrix.next,
        }
    }
}

/// Vectors as rows of numbers.
#[derive(Debug)]
struct Rows<'a> {
    vectors: Vec<Vector<'a>>,
    features: &'a [u32],
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.vectors.len()))?;
        for vector in &self.vectors {
            rows.serialize_element(&Row { vector, features: self.features })?;
        }
        rows.end()
    }
}

/// One vector as a row of numbers, null where there is none.
#[derive(Debug)]
struct Row<'a> {
    vector: &'a Vector<'a>,
    features: &'a [u32],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.features.iter().map(|feature| self.vector.value(*feature as usize)))
    }
}

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    /// The features of this set.
    pub(crate) set: Option<String>,
    /// These features, with commas between them; all where there is no set either.
    pub(crate) features: Option<String>,
    /// Bars that close at or after this instant.
    pub(crate) from_ns: Option<u64>,
    /// Bars that close at or before this instant.
    pub(crate) to_ns: Option<u64>,
    /// Rows at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// A page of an instrument's past, oldest first: each row as it was known when its bar closed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage<'a> {
    #[schema(value_type = String, example = "ESH4")]
    pub(crate) instrument: Symbol,
    /// The digest of the definitions; see `GET /v1/features`.
    pub(crate) definitions: String,
    /// Columns.
    pub(crate) features: Vec<&'a str>,
    pub(crate) rows: Vec<HistoryRow<'a>>,
    /// What is kept in memory, of all instruments.
    pub(crate) kept: Option<Kept>,
    /// Give it as `from_ns` for the next page; absent on the last.
    #[schema(value_type = Option<u64>)]
    pub(crate) next: Option<UnixNanos>,
}

/// A span of time, both ends included.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Kept {
    #[schema(value_type = u64)]
    pub(crate) from_ns: UnixNanos,
    #[schema(value_type = u64)]
    pub(crate) to_ns: UnixNanos,
}

/// An instrument's values at one bar.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryRow<'a> {
    #[serde(flatten)]
    as_of: BarAsOf,
    /// In the order of `features`; null where there is no value.
    #[schema(value_type = Vec<Option<f64>>)]
    values: Row<'a>,
}

impl<'a> HistoryRow<'a> {
    pub(crate) fn new(vector: &'a Vector<'a>, features: &'a [u32]) -> Option<Self> {
        Some(Self { as_of: BarAsOf::of(vector)?, values: Row { vector, features } })
    }
}

/// A named set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SetAnswer {
    #[schema(value_type = String, example = "core")]
    pub(crate) name: FeatureSetName,
    /// Ids of definitions, in the order in which their values are sent.
    pub(crate) features: Vec<String>,
    /// Whose vectors are sent; all when it is empty.
    #[schema(value_type = Vec<String>)]
    pub(crate) instruments: Vec<Symbol>,
    /// bar, event or never.
    #[schema(value_type = String)]
    pub(crate) publish: Publish,
    /// What its messages carry as their definition; it changes when a column means something else.
    pub(crate) definition: Option<String>,
}

impl SetAnswer {
    pub(crate) fn new(picture: &Snapshot, name: FeatureSetName, set: FeatureSet) -> Self {
        let definition = set.definition(&picture.registry).map(|digest| format!("{digest:016x}"));
        let FeatureSet { features, instruments, publish } = set;
        Self { name, features, instruments, publish, definition }
    }
}

/// Every set, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SetsAnswer {
    pub(crate) sets: Vec<SetAnswer>,
}
