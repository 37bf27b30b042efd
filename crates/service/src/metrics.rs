//! Metrics: the `metrics` facade, exported as Prometheus text, in bounded memory.
//!
//! Counters and gauges are the Prometheus exporter's. Histograms are our own fixed buckets, because the exporter
//! keeps every sample until somebody scrapes. All series carry the label `service`, so that engines which share
//! a process still answer each with their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Upper bounds of the latency buckets in seconds: 1, 2, 5 per decade from 1 µs to 10 s.
pub const LATENCY_BOUNDS: [f64; 22] = [
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5,
    1.0, 2.0, 5.0, 10.0,
];
/// Distinct histogram series kept; more share one overflow series, so that memory stays bounded.
const SERIES_MAX: usize = 4_096;

/// Sample counts in the fixed buckets.
#[derive(Debug)]
struct Buckets {
    counts: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Buckets {
    fn new() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum_nanos: AtomicU64::new(0) }
    }
}

impl HistogramFn for Buckets {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn record(&self, seconds: f64) {
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add((seconds.max(0.0) * 1e9) as u64, Relaxed);
    }
}

type Series = Arc<Mutex<BTreeMap<String, BTreeMap<String, Arc<Buckets>>>>>;

struct BoundedRecorder {
    inner: PrometheusRecorder,
    histograms: Series,
}

impl Recorder for BoundedRecorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.inner.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.inner.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut families = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let full = families.values().map(BTreeMap::len).sum::<usize>() >= SERIES_MAX;
        let series = families.entry(key.name().to_owned()).or_default();
        let mut labels = labels_text(key);
        if full && !series.contains_key(&labels) {
            // With its service, without which nobody would ever see it.
            let service =
                key.labels().find(|label| label.key() == "service").map_or("", |label| label.value());
            labels = format!("service=\"{service}\",overflow=\"true\"");
        }
        Histogram::from_arc(Arc::clone(series.entry(labels).or_insert_with(|| Arc::new(Buckets::new()))))
    }
}

fn labels_text(key: &Key) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    key.labels()
        .map(|label| format!("{}=\"{}\"", label.key(), escape(label.value())))
        .collect::<Vec<_>>()
        .join(",")
}

/// Renders the process's metrics.
#[derive(Clone)]
pub struct Exporter {
    prometheus: PrometheusHandle,
    histograms: Series,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

/// Installs the process's recorder, once, and returns its exporter.
pub fn install() -> Exporter {
    static EXPORTER: OnceLock<Exporter> = OnceLock::new();
    EXPORTER
        .get_or_init(|| {
            let inner = PrometheusBuilder::new().build_recorder();
            let exporter = Exporter { prometheus: inner.handle(), histograms: Series::default() };
            let recorder = BoundedRecorder { inner, histograms: Arc::clone(&exporter.histograms) };
            // Another recorder can only be there in a test binary of somebody else; then ours stays empty.
            let _ = metrics::set_global_recorder(recorder);
            exporter
        })
        .clone()
}

/// Samples of one or more histograms by bucket, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution([u64; LATENCY_BOUNDS.len() + 1]);

impl Distribution {
    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What PromQL's `histogram_quantile` answers: straight lines within a bucket, and the highest bound for what lies
    /// beyond it. Nothing where there are no samples.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = share * total as f64;
        let (mut below, mut lower) = (0, 0.0);
        for (bound, count) in LATENCY_BOUNDS.into_iter().zip(self.0) {
            if count > 0 && (below + count) as f64 >= rank {
                return Some(lower + (bound - lower) * (rank - below as f64).max(0.0) / count as f64);
            }
            (below, lower) = (below + count, bound);
        }
        Some(lower)
    }
}

impl Exporter {
    /// One service's samples of a histogram, all its series together except those whose labels are not `wanted`.
    #[must_use]
    pub fn distribution(&self, name: &str, service: &str, wanted: impl Fn(&str) -> bool) -> Distribution {
        let own = format!("service=\"{service}\"");
        let families = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Distribution([0; LATENCY_BOUNDS.len() + 1]);
        let series = families.get(name).into_iter().flatten();
        for (_, buckets) in series.filter(|(labels, _)| labels.contains(&own) && wanted(labels)) {
            for (sum, count) in sum.0.iter_mut().zip(&buckets.counts) {
                *sum += count.load(Relaxed);
            }
        }
        sum
    }

    /// One service's metrics as Prometheus text: every series labelled with it.
    #[must_use]
    pub fn render(&self, service: &str) -> String {
        let wanted = format!("service=\"{service}\"");
        let mut out = keep_series(&self.prometheus.render(), &wanted);
        let families = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, series) in families.iter() {
            let mut series = series.iter().filter(|(labels, _)| labels.contains(&wanted)).peekable();
            if series.peek().is_some() {
                let _ = writeln!(out, "# TYPE {name} histogram");
            }
            for (labels, buckets) in series {
                render_histogram(&mut out, name, labels, buckets);
            }
        }
        out
    }
}

/// Keeps the samples that carry the wanted label, and the comment lines of families that have any.
fn keep_series(text: &str, wanted: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut comments = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("# HELP") {
            comments.clear();
        }
        if line.starts_with('#') {
            if line.starts_with("# TYPE") && !comments.starts_with("# HELP") {
                comments.clear();
            }
            let _ = writeln!(comments, "{line}");
        } else if line.contains(wanted) {
            out.push_str(&std::mem::take(&mut comments));
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn render_histogram(out: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let mut total = 0;
    for (bound, count) in LATENCY_BOUNDS.iter().zip(&buckets.counts) {
        total += count.load(Relaxed);
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
    }
    total += buckets.counts[LATENCY_BOUNDS.len()].load(Relaxed);
    #[allow(clippy::cast_precision_loss)]
    let sum = buckets.sum_nanos.load(Relaxed) as f64 / 1e9;
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {total}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_sees_its_own_series() {
        let exporter = install();
        metrics::counter!("test_things_total", "service" => "one").increment(3);
        metrics::counter!("test_things_total", "service" => "two").increment(4);
        let histogram = metrics::histogram!("test_seconds", "service" => "one");
        for seconds in [0.0, 1e-6, 1.5e-6, 0.3, 99.0] {
            histogram.record(seconds);
        }
        let text = exporter.render("one");
        assert!(text.contains("test_things_total{service=\"one\"} 3"), "{text}");
        assert!(!text.contains("two"), "{text}");
        assert!(text.contains("test_seconds_bucket{service=\"one\",le=\"0.000001\"} 2"), "{text}");
        assert!(text.contains("test_seconds_bucket{service=\"one\",le=\"0.000002\"} 3"), "{text}");
        assert!(text.contains("test_seconds_bucket{service=\"one\",le=\"10\"} 4"), "{text}");
        assert!(text.contains("test_seconds_count{service=\"one\"} 5"), "{text}");
        let one = exporter.distribution("test_seconds", "one", |_| true);
        assert_eq!((one.count(), one.quantile(0.9)), (5, Some(10.0)), "beyond the highest bound");
        assert_eq!(exporter.distribution("test_seconds", "one", |labels| labels.contains("two")).count(), 0);
        assert_eq!(exporter.distribution("test_seconds", "two", |_| true).quantile(0.5), None);
    }

    #[test]
    fn quantiles_are_those_of_promql() {
        // histogram_quantile over le 0.1: 10, 0.2: 30, 0.5: 40, of which the last bucket is beyond every bound.
        let mut counts = [0; LATENCY_BOUNDS.len() + 1];
        (counts[15], counts[16], counts[17]) = (10, 20, 10);
        let distribution = Distribution(counts);
        for (share, seconds) in [(0.25, 0.1), (0.5, 0.15), (0.75, 0.2), (0.9, 0.38), (1.0, 0.5)] {
            let found = distribution.quantile(share).unwrap();
            assert!((found - seconds).abs() < 1e-12, "{share}: {found} is not {seconds}");
        }
    }
}
