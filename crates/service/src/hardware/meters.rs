//! The hardware's counters and times as metrics, written when somebody scrapes.
//!
//! Backends are the process's: services that share one all export the same figures.

use nautilus_hardware::{Calibration, Hardware, Row};

use super::report::worked;

/// Puts what is counted now where the scrape finds it.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn record(service: &'static str, hardware: &Hardware) {
    let status = hardware.status();
    for backend in &status.backends {
        let family = backend.family.map_or_else(|| "none".to_owned(), |family| name(&family));
        metrics::gauge!("nautilus_hardware_backend_on", "service" => service, "backend" => backend.backend.as_str(), "family" => family)
            .set(if backend.on { 1.0 } else { 0.0 });
    }
    let calibrated = matches!(status.calibration, Calibration::Measured { .. });
    metrics::gauge!("nautilus_hardware_calibrated", "service" => service).set(if calibrated {
        1.0
    } else {
        0.0
    });
    if let Some(cache) = hardware.generated() {
        metrics::counter!("nautilus_hardware_jit_cache_hits_total", "service" => service)
            .absolute(cache.hits);
        metrics::counter!("nautilus_hardware_jit_cache_misses_total", "service" => service)
            .absolute(cache.misses);
        metrics::gauge!("nautilus_hardware_jit_cache_bytes", "service" => service).set(cache.bytes as f64);
    }
    for row in worked(hardware) {
        record_row(service, &row);
    }
}

#[allow(clippy::cast_precision_loss)]
fn record_row(service: &'static str, row: &Row) {
    let labels = [
        ("service", service.to_owned()),
        ("op", row.op.as_str().to_owned()),
        ("element", row.element.as_str().to_owned()),
        ("shape", row.shape_class.to_string()),
        ("backend", row.backend.as_str().to_owned()),
    ];
    metrics::counter!("nautilus_hardware_calls_total", &labels).absolute(row.calls);
    metrics::counter!("nautilus_hardware_fallbacks_total", &labels).absolute(row.fallbacks);
    for (quantile, ns) in [("0.5", row.time.p50_ns), ("0.99", row.time.p99_ns)] {
        if let Some(ns) = ns {
            let mut labels = labels.to_vec();
            labels.push(("quantile", quantile.to_owned()));
            metrics::gauge!("nautilus_hardware_call_seconds", &labels).set(ns as f64 / 1e9);
        }
    }
    let set = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            metrics::gauge!(name, &labels).set(value);
        }
    };
    set("nautilus_hardware_gflops", row.gflops);
    set("nautilus_hardware_peak_share", row.peak_share);
    set("nautilus_hardware_gbps", row.gbps);
    set("nautilus_hardware_bandwidth_share", row.bandwidth_share);
    set("nautilus_hardware_regret", row.regret);
}

/// As it is written in JSON.
fn name(family: &nautilus_hardware::Family) -> String {
    serde_json::to_value(family).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
