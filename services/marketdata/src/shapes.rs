//! The JSON shapes of the marketdata service, made from the engine's views.
//!
//! Prices are written with the tick's decimals, so that a column of them lines up; quantities as short as they are.

use nautilus_engine_marketdata::{BarSpec, BookLevel, Counters, InstrumentView, TradeView};
use nautilus_messages::frame::{BookState, TradingState};
use nautilus_messages::record::{BarRecord, SessionStatistics};
use nautilus_service::paging::default_limit;
use nautilus_types::{Instrument, Money, Price, Quantity, Side, Symbol, UnixNanos};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::feeds::{FeedState, Job, Pace};

/// An instrument.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstrumentAnswer {
    #[schema(value_type = Object)]
    #[serde(flatten)]
    definition: Instrument,
    /// The tick the book uses: as defined, or inferred from the prices seen.
    #[schema(value_type = Option<String>, example = "0.25")]
    tick_in_use: Option<Price>,
    #[schema(value_type = String, example = "inferred")]
    tick_source: String,
    #[schema(value_type = String, example = "open")]
    trading: TradingState,
    #[schema(value_type = String, example = "live")]
    state: BookState,
    sequence: u64,
    #[schema(value_type = u64)]
    ts_event_ns: UnixNanos,
    /// What happened to its frames, by reason.
    #[schema(value_type = Object)]
    counters: Counters,
}

impl From<&InstrumentView> for InstrumentAnswer {
    fn from(view: &InstrumentView) -> Self {
        Self {
            definition: view.instrument,
            tick_in_use: view.tick,
            tick_source: format!("{:?}", view.tick_source).to_lowercase(),
            trading: view.trading,
            state: view.state,
            sequence: view.sequence,
            ts_event_ns: view.ts_event,
            counters: view.counters,
        }
    }
}

/// An order book.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BookAnswer {
    #[schema(value_type = String, example = "ESH4")]
    instrument: Symbol,
    /// `live`: complete and current. `syncing`, `stale`: not to be traded on.
    #[schema(value_type = String, example = "live")]
    state: BookState,
    #[schema(value_type = String, example = "open")]
    trading: TradingState,
    /// Best bid at or above best ask: normal before the open.
    crossed: bool,
    sequence: u64,
    #[schema(value_type = u64)]
    ts_event_ns: UnixNanos,
    /// Best first.
    bids: Vec<LevelAnswer>,
    /// Best first.
    asks: Vec<LevelAnswer>,
    /// The whole bid side, whatever the depth.
    bid_totals: TotalsAnswer,
    /// The whole ask side, whatever the depth.
    ask_totals: TotalsAnswer,
}

/// One price level.
#[derive(Debug, Serialize, ToSchema)]
struct LevelAnswer {
    #[schema(example = "4810.00")]
    price: String,
    #[schema(value_type = String, example = "22")]
    quantity: Quantity,
    orders: u32,
}

/// A side summed up.
#[derive(Debug, Serialize, ToSchema)]
struct TotalsAnswer {
    levels: usize,
    orders: u64,
    #[schema(value_type = String)]
    quantity: Money,
}

impl BookAnswer {
    pub(crate) fn new(view: &InstrumentView, depth: usize) -> Self {
        let decimals = price_decimals(view.tick);
        let side = |levels: &[BookLevel]| {
            levels
                .iter()
                .take(depth)
                .map(|level| LevelAnswer {
                    price: level.price.to_decimal(decimals),
                    quantity: level.quantity,
                    orders: level.orders,
                })
                .collect()
        };
        let totals = |totals: &nautilus_engine_marketdata::SideTotals| TotalsAnswer {
            levels: totals.levels,
            orders: totals.orders,
            quantity: totals.quantity,
        };
        Self {
            instrument: view.instrument.symbol,
            state: view.state,
            trading: view.trading,
            crossed: view.crossed,
            sequence: view.sequence,
            ts_event_ns: view.ts_event,
            bids: side(&view.book.bids),
            asks: side(&view.book.asks),
            bid_totals: totals(&view.book.bid_totals),
            ask_totals: totals(&view.book.ask_totals),
        }
    }
}

/// How many decimals the tick has.
fn price_decimals(tick: Option<Price>) -> usize {
    let text = tick.unwrap_or_default().to_string();
    text.split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

/// A page of trades.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TradesAnswer {
    #[schema(value_type = String)]
    instrument: Symbol,
    /// Oldest first.
    trades: Vec<TradeAnswer>,
    /// Give it as `before` for older trades; absent at the oldest kept.
    next: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TradeAnswer {
    sequence: u64,
    #[schema(value_type = u64)]
    ts_event_ns: UnixNanos,
    price: String,
    #[schema(value_type = String)]
    quantity: Quantity,
    /// The side that took liquidity, where the venue says.
    #[schema(value_type = Option<String>)]
    aggressor: Option<Side>,
    /// The venue's number, zero when it has none.
    trade_id: u64,
}

impl TradesAnswer {
    pub(crate) fn new(view: &InstrumentView, before: u64, limit: usize) -> Self {
        let decimals = price_decimals(view.tick);
        let answer = |trade: &TradeView| TradeAnswer {
            sequence: trade.sequence,
            ts_event_ns: trade.ts_event,
            price: trade.price.to_decimal(decimals),
            quantity: trade.quantity,
            aggressor: trade.aggressor,
            trade_id: trade.trade_id,
        };
        let newest_first = view.trades.iter().rev().filter(|trade| trade.sequence < before);
        let mut trades: Vec<_> = newest_first.take(limit).map(answer).collect();
        trades.reverse();
        let oldest = view.trades.iter().next().map(|trade| trade.sequence);
        let first = trades.first().map(|trade| trade.sequence);
        let next = first.filter(|first| oldest.is_some_and(|oldest| oldest < *first));
        Self { instrument: view.instrument.symbol, trades, next }
    }
}

/// Which bars are built.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BarsRequest {
    /// At most 16: times such as 1s, 5m or 1h, or 100tick, 500volume, 1000000notional.
    #[schema(value_type = Vec<String>, example = json!(["1m", "100tick"]))]
    pub(crate) intervals: Vec<BarSpec>,
}

/// Bars of one interval.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BarsAnswer {
    #[schema(value_type = String)]
    pub(crate) instrument: Symbol,
    #[schema(value_type = String, example = "1m")]
    pub(crate) interval: BarSpec,
    /// Closed bars, oldest first.
    pub(crate) bars: Vec<BarAnswer>,
    /// The bar in the making.
    pub(crate) forming: Option<BarAnswer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BarAnswer {
    #[schema(value_type = u64)]
    ts_open_ns: UnixNanos,
    #[schema(value_type = u64)]
    ts_close_ns: UnixNanos,
    #[schema(value_type = String)]
    open: Price,
    #[schema(value_type = String)]
    high: Price,
    #[schema(value_type = String)]
    low: Price,
    #[schema(value_type = String)]
    close: Price,
    /// Absent when the source does not say.
    #[schema(value_type = Option<String>)]
    vwap: Option<Price>,
    #[schema(value_type = String)]
    volume: Money,
    #[schema(value_type = String)]
    volume_buy: Money,
    #[schema(value_type = String)]
    volume_sell: Money,
    trades: u32,
}

impl From<&BarRecord> for BarAnswer {
    fn from(bar: &BarRecord) -> Self {
        Self {
            ts_open_ns: bar.ts_open,
            ts_close_ns: bar.ts_close,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            vwap: bar.vwap,
            volume: bar.volume,
            volume_buy: bar.volume_buy,
            volume_sell: bar.volume_sell,
            trades: bar.trades,
        }
    }
}

/// A trading day summed up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsAnswer {
    #[schema(value_type = String)]
    instrument: Symbol,
    /// Midnight UTC of the day.
    #[schema(value_type = u64)]
    day_ns: UnixNanos,
    trades: u64,
    #[schema(value_type = String, example = "9892")]
    volume: Money,
    /// Σ price × quantity ÷ Σ quantity.
    #[schema(value_type = String)]
    vwap: Price,
    #[schema(value_type = String)]
    low: Price,
    #[schema(value_type = String)]
    high: Price,
    #[schema(value_type = String)]
    first: Price,
    #[schema(value_type = String)]
    last: Price,
    #[schema(value_type = String)]
    volume_buy: Money,
    #[schema(value_type = String)]
    volume_sell: Money,
    #[schema(value_type = String)]
    volume_unknown: Money,
}

impl From<&SessionStatistics> for StatsAnswer {
    fn from(day: &SessionStatistics) -> Self {
        Self {
            instrument: day.instrument,
            day_ns: day.day,
            trades: day.trades,
            volume: day.volume,
            vwap: day.vwap,
            low: day.low,
            high: day.high,
            first: day.first,
            last: day.last,
            volume_buy: day.volume_buy,
            volume_sell: day.volume_sell,
            volume_unknown: day.volume_unknown,
        }
    }
}

/// A feed that runs or ran.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeedAnswer {
    id: u64,
    name: String,
    /// dbn, csv or simulator.
    #[schema(value_type = String)]
    kind: String,
    schema: String,
    /// Generated, not recorded from a venue.
    simulated: bool,
    #[schema(value_type = Vec<String>)]
    symbols: Vec<Symbol>,
    /// `max`, or how many times real time.
    speed: String,
    state: FeedState,
    /// Share of the file read, absent for a feed without an end.
    fraction: Option<f64>,
    records: u64,
    /// Records of kinds that carry no market data.
    skipped: u64,
    #[schema(value_type = u64)]
    ts_event_ns: UnixNanos,
    /// Why it failed.
    reason: Option<String>,
}

impl From<&Job> for FeedAnswer {
    #[allow(clippy::cast_precision_loss)]
    fn from(job: &Job) -> Self {
        let (state, progress, reason) = job.status();
        let total = progress.total_bytes.filter(|total| *total > 0);
        let fraction = total.map(|total| (progress.done_bytes as f64 / total as f64).min(1.0));
        Self {
            id: job.id,
            name: job.description.name.clone(),
            kind: job.description.kind.to_string(),
            schema: job.description.schema.clone(),
            simulated: job.description.simulated,
            symbols: job.description.symbols.clone(),
            speed: job.pace.to_string(),
            state,
            fraction: if state == FeedState::Finished { Some(1.0) } else { fraction },
            records: progress.records,
            skipped: progress.skipped,
            ts_event_ns: progress.ts_event,
            reason,
        }
    }
}

/// Starts a replay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    /// A recording on the server: .dbn, .dbn.zst, .csv or .csv.gz.
    #[schema(value_type = String, example = "samples/simulated-session.mbo.dbn.zst")]
    pub(crate) path: std::path::PathBuf,
    /// `"max"`, or how many times as fast as recorded; `"max"` when left out.
    #[serde(default = "full_speed", deserialize_with = "read_pace")]
    #[schema(value_type = Object, example = "max")]
    pub(crate) speed: Pace,
}

fn full_speed() -> Pace {
    Pace::Max
}

fn read_pace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pace, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Speed {
        Number(f64),
        Text(String),
    }
    let text = match Speed::deserialize(deserializer)? {
        Speed::Number(number) => number.to_string(),
        Speed::Text(text) => text,
    };
    text.parse().map_err(serde::de::Error::custom)
}

/// How deep.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BookQuery {
    /// Levels per side, 1 to 1000.
    #[serde(default = "ten")]
    pub(crate) depth: usize,
}

fn ten() -> usize {
    10
}

/// Which trades.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradesQuery {
    /// Trades with a smaller sequence only.
    pub(crate) before: Option<u64>,
    /// Trades at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

/// Which bars.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BarsQuery {
    /// For example 1m, 100tick, 500volume or 1000000notional, as configured.
    #[serde(default = "minute")]
    #[param(value_type = Option<String>, example = "1m")]
    pub(crate) interval: BarSpec,
    /// Bars that open at or after this instant, from the database: also those of earlier runs.
    pub(crate) from_ns: Option<u64>,
    /// Bars that open before this instant.
    pub(crate) to_ns: Option<u64>,
    /// Bars at the most, 1 to 4096; the newest, or with `from_ns` the oldest of the range.
    #[serde(default = "default_limit")]
    pub(crate) limit: usize,
}

fn minute() -> BarSpec {
    "1m".parse().expect("1m is a bar interval")
}
