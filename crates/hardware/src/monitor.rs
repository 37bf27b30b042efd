//! What was done and how long it took: per operation, element, shape class and backend.
//!
//! Counters are exact. Times are of the calls that were timed, which for small jobs is one in many. It holds no figure
//! that was not measured; a share of the peak stands only where the peak is known.

mod histogram;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde::Serialize;

use crate::backend::BackendId;
use crate::element::ElementType;
use crate::job::{Op, Spec};
use crate::router::ShapeClass;
pub use histogram::Histogram;
use histogram::Recorder;

/// What this machine can do at most, on one core, as measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Peaks {
    /// Additions and multiplications in `f32`, 10⁹ a second.
    pub gflops_f32: f64,
    /// Additions and multiplications in `f64`, 10⁹ a second.
    pub gflops_f64: f64,
    /// Reading from the first, second and third level of cache and from memory, 10⁹ bytes a second.
    pub gbps: [f64; 4],
}

/// A row's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    op: Op,
    element: ElementType,
    shape: ShapeClass,
    backend: BackendId,
}

/// Counters of one row.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    calls: AtomicU64,
    /// Calls that are counted by [`Counter`]s still in use.
    counters: Mutex<Vec<Arc<AtomicU64>>>,
    fallbacks: AtomicU64,
    timed: Recorder,
    /// Work and traffic of the timed calls, and the best time that was predicted for them.
    flops: AtomicU64,
    bytes: AtomicU64,
    predicted_ns: AtomicU64,
    best_predicted_ns: AtomicU64,
}

impl Cell {
    /// Counts a call.
    pub(crate) fn call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    fn calls(&self) -> u64 {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        self.calls.load(Relaxed) + counters.iter().map(|count| count.load(Relaxed)).sum::<u64>()
    }

    /// A call that this backend could not do.
    pub(crate) fn fallback(&self) {
        self.fallbacks.fetch_add(1, Relaxed);
    }

    /// A call that was timed; `best_ns` is what the fastest candidate was predicted to take.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn time(&self, spec: &Spec, took_ns: u64, best_ns: Option<f64>) {
        self.timed.record(took_ns);
        self.flops.fetch_add(spec.flops() as u64, Relaxed);
        self.bytes.fetch_add(spec.bytes() as u64, Relaxed);
        if let Some(best) = best_ns {
            self.predicted_ns.fetch_add(took_ns, Relaxed);
            self.best_predicted_ns.fetch_add(best as u64, Relaxed);
        }
    }
}

/// One thread's part of a row's calls: it alone writes it, so that counting waits for no other core.
#[derive(Debug)]
pub(crate) struct Counter {
    cell: Arc<Cell>,
    count: Arc<AtomicU64>,
    /// Two writers would lose calls.
    _one_thread: PhantomData<*const ()>,
}

impl Counter {
    pub(crate) fn new(cell: Arc<Cell>) -> Self {
        let count = Arc::<AtomicU64>::default();
        cell.counters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&count));
        Self { cell, count, _one_thread: PhantomData }
    }

    /// Counts a call.
    #[inline]
    pub(crate) fn call(&self) {
        self.count.store(self.count.load(Relaxed) + 1, Relaxed);
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let mut counters = self.cell.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.retain(|count| !Arc::ptr_eq(count, &self.count));
        self.cell.calls.fetch_add(self.count.load(Relaxed), Relaxed);
    }
}

/// What one backend did of one kind of job.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The operation.
    pub op: Op,
    /// What the matrices were made of.
    pub element: ElementType,
    /// How large the jobs were.
    pub shape_class: ShapeClass,
    /// Who ran them.
    pub backend: BackendId,
    /// Calls, each counted.
    pub calls: u64,
    /// Of these, how many were timed.
    pub sampled: u64,
    /// Calls that this backend could not do and another one did.
    pub fallbacks: u64,
    /// Times of the timed calls.
    pub time: Histogram,
    /// Additions and multiplications of the timed calls over their time, 10⁹ a second.
    pub gflops: Option<f64>,
    /// Bytes of the operands of the timed calls over their time, 10⁹ a second.
    pub gbps: Option<f64>,
    /// [`Row::gflops`] as a share of the peak of one core, where that was measured.
    pub peak_share: Option<f64>,
    /// [`Row::gbps`] as a share of the rate of the first level of cache, where that was measured.
    pub bandwidth_share: Option<f64>,
    /// By how much the timed calls took longer than the best prediction for them: 0.03 is 3 %.
    pub regret: Option<f64>,
}

/// Everything that was counted since the process started.
#[derive(Debug, Default)]
pub struct Monitor {
    cells: RwLock<BTreeMap<Key, Arc<Cell>>>,
    peaks: OnceLock<Peaks>,
}

impl Monitor {
    /// The counters of a row. There are at most as many as operations × elements × classes × backends.
    pub(crate) fn cell(&self, spec: &Spec, backend: BackendId) -> Arc<Cell> {
        let key = Key { op: spec.op, element: spec.element, shape: ShapeClass::of(spec), backend };
        if let Some(cell) = self.cells.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(cell);
        }
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(key).or_default())
    }

    /// Says what the machine can do at most; the first word stays.
    pub fn set_peaks(&self, peaks: Peaks) {
        // A second measurement of the same machine adds nothing.
        let _ = self.peaks.set(peaks);
    }

    /// What the machine can do at most, where that was measured.
    #[must_use]
    pub fn peaks(&self) -> Option<Peaks> {
        self.peaks.get().copied()
    }

    /// Every row so far, in the order of their names.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Row> {
        let peaks = self.peaks();
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|(key, cell)| row(*key, cell, peaks)).collect()
    }
}

#[allow(clippy::cast_precision_loss)]
fn row(key: Key, cell: &Cell, peaks: Option<Peaks>) -> Row {
    let time = cell.timed.snapshot();
    let rate =
        |amount: &AtomicU64| (time.total_ns > 0).then(|| amount.load(Relaxed) as f64 / time.total_ns as f64);
    let (gflops, gbps) = (rate(&cell.flops), rate(&cell.bytes));
    let peak = |peaks: Peaks| match key.element {
        ElementType::F32 => Some(peaks.gflops_f32),
        ElementType::F64 => Some(peaks.gflops_f64),
        ElementType::I8 => None,
    };
    let share = |rate: Option<f64>, of: Option<f64>| Some(rate? / of.filter(|&of| of > 0.0)?);
    let best = cell.best_predicted_ns.load(Relaxed);
    let regret = (best > 0).then(|| cell.predicted_ns.load(Relaxed) as f64 / best as f64 - 1.0);
    Row {
        op: key.op,
        element: key.element,
        shape_class: key.shape,
        backend: key.backend,
        calls: cell.calls(),
        sampled: time.count,
        fallbacks: cell.fallbacks.load(Relaxed),
        peak_share: share(gflops, peaks.and_then(peak)),
        bandwidth_share: share(gbps, peaks.map(|peaks| peaks.gbps[0])),
        time,
        gflops,
        gbps,
        regret,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_timed_calls() {
        let monitor = Monitor::default();
        let spec = Spec::new(Op::Gemm, ElementType::F64, 10, 10, 10);
        let cell = monitor.cell(&spec, BackendId::Portable);
        for _ in 0..5 {
            cell.call();
        }
        cell.time(&spec, 1_000, Some(800.0));
        cell.time(&spec, 3_000, None);
        cell.fallback();
        monitor.set_peaks(Peaks { gflops_f64: 2.0, gbps: [4.4, 1.0, 1.0, 1.0], ..Peaks::default() });
        let rows = monitor.snapshot();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!((row.calls, row.sampled, row.fallbacks), (5, 2, 1));
        assert_eq!(row.gflops, Some(1.0));
        assert_eq!(row.gbps, Some(2.0 * 3_200.0 / 4_000.0));
        assert_eq!(row.peak_share, Some(0.5));
        assert_eq!(row.regret, Some(0.25));
        assert_eq!(row.shape_class.to_string(), "le16");
    }

    #[test]
    fn without_peaks_or_times_there_are_no_shares() {
        let monitor = Monitor::default();
        let spec = Spec::new(Op::Dot, ElementType::F32, 0, 0, 10);
        monitor.cell(&spec, BackendId::Portable).call();
        let row = &monitor.snapshot()[0];
        assert_eq!((row.gflops, row.gbps, row.peak_share, row.regret), (None, None, None, None));
    }
}
