//! VPIN over trades handed in: the whole sample at once, or by the live rules.
//!
//! It is pure and bounded: so many trades in, so many buckets out, and a refusal names the trade at fault.

use nautilus_messages::mesh::Classification;
use nautilus_types::{NANOS_PER_DAY, Quantity, UnixNanos};

use crate::bars::{Bar, width_ns};
use crate::flow::{Flow, Print};
use crate::lane::Bucket;
use crate::volume::BucketSize;
use crate::{
    BatchAnswer, BatchBucket, BatchRequest, BatchTrade, Configuration, ConfigurationError, PartialBucket,
    Rules,
};

/// The most trades of one request.
pub(crate) const TRADES_MAX: usize = 1_000_000;
/// The most buckets of one answer.
const BUCKETS_MAX: usize = 1_000_000;

/// Why a calculation is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalculateError {
    /// Nothing to compute from.
    #[error("there are no trades; send at least one")]
    NoTrades,
    /// Too much at once.
    #[error("{0} trades are over the limit of {TRADES_MAX}; split the request by day")]
    TooManyTrades(usize),
    /// Time runs backwards.
    #[error("trade {index} (counting from 0) is earlier than the one before it; sort the trades by ts_ns")]
    Unsorted {
        /// Its place in the list.
        index: usize,
    },
    /// A price or quantity that is none.
    #[error("trade {index} (counting from 0) has an illegal {field}: {reason}")]
    Illegal {
        /// Its place in the list.
        index: usize,
        /// Price or quantity.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The flag was asked for but no trade has it.
    #[error(
        "classification 'aggressor' needs the side of trades but none has one; add side, or ask for tick_rule or bulk_normal"
    )]
    NoSides,
    /// Two ways of sizing buckets.
    #[error("bucket_volume and buckets_per_day exclude each other; send one of them")]
    TwoSizes,
    /// A bucket volume that is no positive number.
    #[error("bucket_volume is illegal: {0}")]
    BucketVolume(String),
    /// The sample's volume cannot be cut that way.
    #[error("the volume cannot be cut into so many buckets: {0}")]
    BucketCount(String),
    /// Trailing settings under sample rules.
    #[error("{0} belongs to the trailing rules; add \"rules\":\"trailing\" or leave it out")]
    TrailingOnly(&'static str),
    /// A setting out of range.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
}

impl CalculateError {
    /// Stable, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoTrades => "no_trades",
            Self::TooManyTrades(_) => "too_many_trades",
            Self::Unsorted { .. } => "unsorted_trades",
            Self::Illegal { .. } => "illegal_trade",
            Self::NoSides => "no_sides",
            Self::TwoSizes => "two_bucket_sizes",
            Self::BucketVolume(_) => "illegal_bucket_volume",
            Self::BucketCount(_) => "too_many_buckets",
            Self::TrailingOnly(_) => "trailing_only",
            Self::Configuration(_) => "invalid_configuration",
        }
    }
}

/// Computes VPIN over the trades of a request.
///
/// # Errors
/// When the request is not legal; the error says what to change.
pub fn calculate(request: &BatchRequest) -> Result<BatchAnswer, CalculateError> {
    let configuration = configuration(request)?;
    let prints = prints(&request.trades)?;
    if configuration.classification == Classification::Aggressor
        && prints.iter().all(|p| p.aggressor.is_none())
    {
        return Err(CalculateError::NoSides);
    }
    match request.rules {
        Rules::Trailing => trailing(&prints, &configuration),
        Rules::Sample => sample(&prints, &configuration),
    }
}

fn configuration(request: &BatchRequest) -> Result<Configuration, CalculateError> {
    if request.bucket_volume.is_some() && request.buckets_per_day.is_some() {
        return Err(CalculateError::TwoSizes);
    }
    let trailing_only = [
        ("sigma_bars", request.sigma_bars),
        ("average_days", request.average_days),
        ("calibration_trades", request.calibration_trades),
    ];
    if request.rules == Rules::Sample
        && let Some((field, _)) = trailing_only.into_iter().find(|(_, value)| value.is_some())
    {
        return Err(CalculateError::TrailingOnly(field));
    }
    let illegal = |reason: &str| CalculateError::BucketVolume(reason.to_owned());
    let bucket_volume = request.bucket_volume.as_ref().map(|v| v.nanos().map_err(illegal)).transpose()?;
    let default = Configuration::default();
    let configuration = Configuration {
        classification: request.classification.unwrap_or(default.classification),
        bar_seconds: request.bar_seconds.unwrap_or(default.bar_seconds),
        buckets_per_day: request.buckets_per_day.unwrap_or(default.buckets_per_day),
        window: request.window.unwrap_or(default.window),
        bucket_volume: bucket_volume.map(Quantity::from_nanos),
        sigma_bars: request.sigma_bars.unwrap_or(default.sigma_bars),
        average_days: request.average_days.unwrap_or(default.average_days),
        calibration_trades: request.calibration_trades.unwrap_or(default.calibration_trades),
        ..default
    };
    configuration.check()?;
    Ok(configuration)
}

fn prints(trades: &[BatchTrade]) -> Result<Vec<Print>, CalculateError> {
    if trades.is_empty() {
        return Err(CalculateError::NoTrades);
    }
    if trades.len() > TRADES_MAX {
        return Err(CalculateError::TooManyTrades(trades.len()));
    }
    let mut earliest = 0;
    let mut prints = Vec::with_capacity(trades.len());
    for (index, trade) in trades.iter().enumerate() {
        if trade.ts_ns < earliest {
            return Err(CalculateError::Unsorted { index });
        }
        earliest = trade.ts_ns;
        prints.push(print(index, trade)?);
    }
    Ok(prints)
}

fn print(index: usize, trade: &BatchTrade) -> Result<Print, CalculateError> {
    let illegal = |field, reason: &str| CalculateError::Illegal { index, field, reason: reason.to_owned() };
    let price = trade.price.nanos().map_err(|reason| illegal("price", reason))?;
    let quantity = trade.quantity.nanos().map_err(|reason| illegal("quantity", reason))?;
    if quantity <= 0 {
        return Err(illegal("quantity", "it must be above zero (the finest step is 0.000000001)"));
    }
    Ok(Print { ts: UnixNanos(trade.ts_ns), price, quantity: quantity.unsigned_abs(), aggressor: trade.side })
}

/// The live rules. The bar in progress at the end is not counted, as it is not live.
fn trailing(prints: &[Print], configuration: &Configuration) -> Result<BatchAnswer, CalculateError> {
    let mut flow = Flow::trailing(configuration);
    let buckets = run(&mut flow, prints, configuration.classification, false)?;
    let bars = flow.scale.bars() as u64;
    let sigma = flow.scale.sigma();
    Ok(answer(&flow, buckets, Numbers { sigma, bars, days: days(prints) }, configuration, Rules::Trailing))
}

/// The conventions of the R package PINstimation: σ with n − 1 over every bar between the first and the last trade
/// on days with trades, bars without a trade counting as no change; V = volume / days with trades / buckets per day.
fn sample(prints: &[Print], configuration: &Configuration) -> Result<BatchAnswer, CalculateError> {
    let days = days(prints);
    let total: u128 = prints.iter().map(|p| u128::from(p.quantity)).sum();
    let parts = days * u64::from(configuration.buckets_per_day);
    let size = match configuration.bucket_volume {
        Some(volume) => BucketSize::whole(u128::from(volume.nanos().unsigned_abs())),
        None => BucketSize::ratio(total, parts).ok_or_else(|| {
            CalculateError::BucketCount(format!(
                "{days} days × {} buckets of it are under 0.000000001 or over the range of a quantity",
                configuration.buckets_per_day
            ))
        })?,
    };
    if total / u128::from(size.whole) > BUCKETS_MAX as u128 {
        return Err(too_many_buckets());
    }
    let (sigma, bars) = sample_sigma(prints, width_ns(configuration.bar_seconds));
    let mut flow = Flow::sample(configuration, size, sigma.unwrap_or(0.0));
    let buckets = run(&mut flow, prints, configuration.classification, true)?;
    Ok(answer(&flow, buckets, Numbers { sigma, bars, days }, configuration, Rules::Sample))
}

fn too_many_buckets() -> CalculateError {
    CalculateError::BucketCount(format!("they would be more than {BUCKETS_MAX}; choose larger buckets"))
}

fn run(
    flow: &mut Flow,
    prints: &[Print],
    wanted: Classification,
    close_last_bar: bool,
) -> Result<Vec<BatchBucket>, CalculateError> {
    let mut buckets = Vec::new();
    let mut keep = |classification, bucket: &Bucket| {
        if classification == wanted {
            buckets.push(BatchBucket::from(bucket));
        }
    };
    for print in prints {
        flow.trade(*print, &mut keep);
        if flow.lanes[wanted as usize].completed() > BUCKETS_MAX as u64 {
            return Err(too_many_buckets());
        }
    }
    if close_last_bar {
        flow.close_bar(&mut keep);
    }
    Ok(buckets)
}

/// UTC days with trades.
fn days(prints: &[Print]) -> u64 {
    1 + prints.windows(2).filter(|pair| pair[0].ts.day() != pair[1].ts.day()).count() as u64
}

/// σ of the price changes of all bars, in billionths, and the number of bars.
#[allow(clippy::cast_precision_loss)]
fn sample_sigma(prints: &[Print], width_ns: u64) -> (Option<f64>, u64) {
    let bars = bars(prints, width_ns);
    let count = bar_count(&bars, width_ns);
    if count < 2 {
        return (None, count);
    }
    let n = count as f64;
    let mean = bars.iter().map(|b| b.change() as f64).sum::<f64>() / n;
    let traded: f64 = bars.iter().map(|b| (b.change() as f64 - mean).powi(2)).sum();
    let empty = (count - bars.len() as u64) as f64 * mean * mean;
    (Some(((traded + empty) / (n - 1.0)).sqrt()), count)
}

fn bars(prints: &[Print], width_ns: u64) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for print in prints {
        match bars.last_mut().filter(|bar| print.ts < bar.end) {
            Some(bar) => bar.last = print.price,
            None => bars.push(Bar::open(print.ts, width_ns, print.price, print.quantity)),
        }
    }
    bars
}

/// Bars between the first and the last, traded or not, that begin on a day on which a traded bar begins.
fn bar_count(bars: &[Bar], width_ns: u64) -> u64 {
    let index = |bar: &Bar| (bar.end.0 - 1) / width_ns;
    let (Some(first), Some(last)) = (bars.first().map(index), bars.last().map(index)) else { return 0 };
    let mut days: Vec<u64> = bars.iter().map(|bar| UnixNanos(index(bar) * width_ns).day()).collect();
    days.dedup();
    let between: u64 = days
        .into_iter()
        .map(|day| {
            let from = (day * NANOS_PER_DAY).div_ceil(width_ns).max(first);
            let end = ((day + 1).saturating_mul(NANOS_PER_DAY)).div_ceil(width_ns).min(last + 1);
            end.saturating_sub(from)
        })
        .sum();
    between.max(bars.len() as u64)
}

#[derive(Clone, Copy)]
struct Numbers {
    sigma: Option<f64>,
    bars: u64,
    days: u64,
}

fn answer(
    flow: &Flow,
    buckets: Vec<BatchBucket>,
    numbers: Numbers,
    configuration: &Configuration,
    rules: Rules,
) -> BatchAnswer {
    let classification = configuration.classification;
    let (_, filled, buy) = flow.lanes[classification as usize].partial();
    BatchAnswer {
        vpin: buckets.last().and_then(|bucket| bucket.vpin),
        bucket_volume: flow.volume.size.map(BucketSize::to_units),
        sigma: numbers.sigma.map(|nanos| nanos / 1e9),
        days: numbers.days,
        bars: numbers.bars,
        classification,
        rules,
        convention: convention(classification, rules),
        buckets,
        partial: PartialBucket { volume: units(filled.into()), buy: buy.to_units() },
        left_out: units(flow.left_out(classification)),
    }
}

#[allow(clippy::cast_precision_loss)]
fn units(nanos: u128) -> f64 {
    nanos as f64 / 1e9
}

fn convention(classification: Classification, rules: Rules) -> String {
    let how = match classification {
        Classification::BulkNormal => {
            "buy share of a bar = Φ(dp/σ), dp = last − first price in the bar; half where σ = 0"
        }
        Classification::BulkStudentT => {
            "buy share of a bar = Student t (0.25 degrees of freedom) of dp/σ, dp = last − first price in the bar; half where σ = 0"
        }
        Classification::Aggressor => "by the side that took liquidity; half and half where it is not given",
        Classification::TickRule => {
            "bought above the last different price, sold below; half and half before there is one"
        }
    };
    let which = match rules {
        Rules::Sample => {
            "V and σ from the whole sample: V = volume / days with trades / buckets_per_day unless given; σ with n − 1 over all bars on days with trades, empty bars counting as dp = 0"
        }
        Rules::Trailing => {
            "V and σ from earlier trades only, as the live engine: σ with n − 1 over earlier bars with trades, from ten on; V as given, else from the first calibration_trades trades, then from earlier days"
        }
    };
    format!("VPIN = Σ|buy − sell| / Σ volume over the last window buckets; {how}; {which}")
}

impl From<&Bucket> for BatchBucket {
    fn from(bucket: &Bucket) -> Self {
        Self {
            ts_close_ns: bucket.ts_close.0,
            buy: bucket.buy.to_units(),
            sell: bucket.sell().to_units(),
            vpin: bucket.vpin,
            cdf: bucket.cdf,
            level: bucket.level,
        }
    }
}
