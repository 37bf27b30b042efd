//! The JSON shapes of the vpin service, made from the engine's views.

use std::collections::BTreeMap;

use nautilus_engine_vpin::{BucketRow, BucketVolumeSource, Configuration, LaneView, VpinView};
use nautilus_messages::mesh::{Classification, ToxicityLevel};
use nautilus_service::paging::default_limit;
use nautilus_types::{Quantity, Symbol, UnixNanos};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// An instrument's VPIN now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VpinAnswer {
    #[schema(value_type = String, example = "ESH4")]
    instrument: Symbol,
    /// The classification that the figures beside it belong to.
    #[schema(value_type = String, example = "bulk_normal")]
    classification: Classification,
    /// The figures of that classification.
    #[serde(flatten)]
    primary: Lane,
    /// Every classification side by side.
    #[schema(value_type = BTreeMap<String, Lane>)]
    by_classification: BTreeMap<Classification, Lane>,
    /// Volume of one bucket, absent while it is being calibrated.
    #[schema(value_type = Option<String>, example = "49.25")]
    bucket_volume: Option<Quantity>,
    /// Where the bucket volume comes from.
    #[schema(value_type = String)]
    bucket_volume_source: BucketVolumeSource,
    /// Trades still to come before the first bucket volume is known.
    calibration_trades_left: u32,
    /// Buckets in the window.
    window: u32,
    /// Standard deviation of bar price changes, absent below ten bars.
    sigma: Option<f64>,
    /// Trades since the start or the last change of configuration.
    trades: u64,
    /// Messages of this instrument known to be lost.
    lost: u64,
    /// Messages of the whole bus known to be lost.
    lost_on_star: u64,
}

/// One classification's figures.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Lane {
    /// Σ|buy − sell| ÷ Σ volume over the window, in 0 … 1; absent until the window is full.
    vpin: Option<f64>,
    /// Share of earlier VPIN values not above this one.
    cdf: Option<f64>,
    /// By that share: low, moderate or high.
    #[schema(value_type = Option<String>)]
    level: Option<ToxicityLevel>,
    /// Completed buckets.
    buckets: u64,
    /// Volume in the bucket in progress.
    #[schema(value_type = String)]
    filled: Quantity,
    /// When the last bucket was completed.
    #[schema(value_type = Option<u64>)]
    ts_event_ns: Option<UnixNanos>,
}

impl From<&LaneView> for Lane {
    fn from(view: &LaneView) -> Self {
        Self {
            vpin: view.vpin,
            cdf: view.cdf,
            level: view.level,
            buckets: view.buckets,
            filled: view.filled,
            ts_event_ns: view.last_update,
        }
    }
}

impl From<&VpinView> for VpinAnswer {
    fn from(view: &VpinView) -> Self {
        Self {
            instrument: view.instrument,
            classification: view.configuration.classification,
            primary: view.primary().into(),
            by_classification: view.lanes.iter().map(|lane| (lane.classification, lane.into())).collect(),
            bucket_volume: view.bucket_volume,
            bucket_volume_source: view.bucket_volume_source,
            calibration_trades_left: view.calibration_trades_left,
            window: view.configuration.window,
            sigma: view.sigma,
            trades: view.trades,
            lost: view.lost,
            lost_on_star: view.lost_on_star,
        }
    }
}

/// A page of completed buckets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    #[schema(value_type = String)]
    pub(crate) instrument: Symbol,
    #[schema(value_type = String)]
    pub(crate) classification: Classification,
    /// Oldest first.
    #[schema(value_type = Vec<Object>)]
    pub(crate) buckets: Vec<BucketRow>,
    /// Give it as `before` for older buckets; absent at the oldest kept.
    pub(crate) next: Option<u64>,
}

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    /// bulk_normal, bulk_student_t, aggressor or tick_rule; the instrument's own when left out.
    #[param(value_type = Option<String>)]
    pub(crate) classification: Option<Classification>,
    /// Buckets before this number only.
    pub(crate) before: Option<u64>,
    /// Buckets at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// An instrument's configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigurationAnswer {
    #[schema(value_type = String)]
    pub(crate) instrument: Symbol,
    /// See the request body of PUT.
    #[schema(value_type = Object)]
    pub(crate) configuration: Configuration,
}
