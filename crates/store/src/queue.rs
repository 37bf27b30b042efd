//! What waits to be written: a bounded queue that drops the oldest rows, never settings, and counts everything.
//!
//! Its lock is held for memory operations only, so a writer of rows never waits for the database.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nautilus_messages::EngineName;
use nautilus_messages::record::{Record, Setting};
use tokio::sync::{Notify, watch};

use crate::{StoreError, StoreHealth, StoreState};

/// Rows that go into one transaction.
const BATCH_ROWS: usize = 1_000;

/// Rows taken off the queue together, with what their commit completes.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    upto: Ticket,
}

/// How many rows and settings were ever accepted up to some moment. Rows leave first in, first out, and a batch
/// takes all settings, so two numbers say exactly what is settled.
#[derive(Debug, Clone, Copy, Default)]
struct Ticket {
    rows: u64,
    settings: u64,
}

#[derive(Debug)]
struct State {
    rows: VecDeque<Record>,
    settings: BTreeMap<(EngineName, String), Setting>,
    in_flight: usize,
    accepted: Ticket,
    settled: Ticket,
    written: u64,
    dropped: u64,
    rejected: u64,
    down: Option<String>,
    closed: bool,
    abandoned: bool,
}

impl State {
    fn queued(&self) -> usize {
        self.rows.len() + self.settings.len() + self.in_flight
    }
}

/// What handles and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    limit: usize,
    service: &'static str,
    state: Mutex<State>,
    wake: Notify,
    progress: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn new(limit: usize, service: &'static str, down: Option<String>) -> Self {
        let state = State {
            rows: VecDeque::new(),
            settings: BTreeMap::new(),
            in_flight: 0,
            accepted: Ticket::default(),
            settled: Ticket::default(),
            written: 0,
            dropped: 0,
            rejected: 0,
            down,
            closed: false,
            abandoned: false,
        };
        // From zero, so that the first loss is an increase that an alert can see.
        metrics::counter!("nautilus_store_dropped_total", "service" => service).increment(0);
        for kind in ["row", "database"] {
            metrics::counter!("nautilus_store_errors_total", "service" => service, "kind" => kind)
                .increment(0);
        }
        Self {
            limit: limit.max(1),
            service,
            state: Mutex::new(state),
            wake: Notify::new(),
            progress: watch::Sender::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts and queues are consistent between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, records: impl IntoIterator<Item = Record>) {
        let mut state = self.state();
        let dropped_before = state.dropped;
        for record in records {
            if state.closed {
                state.dropped += 1;
                continue;
            }
            match record {
                Record::Setting(setting) => {
                    state.accepted.settings += 1;
                    state.settings.insert((setting.engine, setting.key.clone()), setting);
                }
                row => {
                    state.accepted.rows += 1;
                    state.rows.push_back(row);
                    if state.rows.len() + state.in_flight > self.limit {
                        state.rows.pop_front();
                        state.dropped += 1;
                    }
                }
            }
        }
        let dropped = state.dropped - dropped_before;
        self.report_queue(&state);
        drop(state);
        if dropped > 0 {
            metrics::counter!("nautilus_store_dropped_total", "service" => self.service).increment(dropped);
        }
        self.wake.notify_one();
    }

    /// The next batch: all settings, then the oldest rows. `None` when nothing waits.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut state = self.state();
        // No more than half the bound may be out of reach of dropping the oldest.
        let rows = state.rows.len().min(BATCH_ROWS).min(self.limit.div_ceil(2));
        let mut records: Vec<Record> =
            std::mem::take(&mut state.settings).into_values().map(Record::Setting).collect();
        records.extend(state.rows.drain(..rows));
        if records.is_empty() {
            // Rows that were all dropped are settled too.
            state.settled = state.accepted;
            self.progress.send_replace(());
            return None;
        }
        state.in_flight = records.len();
        let upto =
            Ticket { rows: state.accepted.rows - state.rows.len() as u64, settings: state.accepted.settings };
        Some(Batch { records, upto })
    }

    /// Rows of the batch in flight reached the database.
    pub(crate) fn wrote(&self, rows: usize) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(rows);
        state.written += rows as u64;
        self.report_queue(&state);
        metrics::counter!("nautilus_store_rows_written_total", "service" => self.service)
            .increment(rows as u64);
    }

    /// One row of the batch in flight cannot be stored.
    pub(crate) fn rejected(&self) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.rejected += 1;
        metrics::counter!("nautilus_store_errors_total", "service" => self.service, "kind" => "row")
            .increment(1);
    }

    /// Every row of a batch is written or rejected.
    pub(crate) fn settled(&self, batch: &Batch) {
        let mut state = self.state();
        state.in_flight = 0;
        state.settled = batch.upto;
        drop(state);
        self.progress.send_replace(());
    }

    pub(crate) fn down(&self, reason: &str) {
        metrics::counter!("nautilus_store_errors_total", "service" => self.service, "kind" => "database")
            .increment(1);
        let before = self.state().down.replace(reason.to_owned());
        if before.as_deref() != Some(reason) {
            tracing::warn!(%reason, "the store is down: rows queue until it is back");
        }
    }

    pub(crate) fn up(&self) {
        if self.state().down.take().is_some() {
            tracing::info!("the store is up");
        }
    }

    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Nobody waits for the queued rows any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.abandoned = true;
        let lost = state.queued() as u64;
        state.dropped += lost;
        state.rows.clear();
        state.settings.clear();
        state.in_flight = 0;
        state.down = Some("it was closed".to_owned());
        drop(state);
        metrics::counter!("nautilus_store_dropped_total", "service" => self.service).increment(lost);
        self.wake.notify_one();
    }

    /// Closed and empty, so that nothing can come any more.
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.state();
        state.closed && state.queued() == 0
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state().abandoned
    }

    /// Waits for new rows or a close, at most `timeout`.
    pub(crate) async fn wait(&self, timeout: Duration) {
        let _ = tokio::time::timeout(timeout, self.wake.notified()).await;
    }

    pub(crate) fn health(&self) -> StoreHealth {
        let state = self.state();
        StoreHealth {
            state: state.down.clone().map_or(StoreState::Up, |reason| StoreState::Down { reason }),
            queued_rows: state.queued() as u64,
            written_rows: state.written,
            dropped_rows: state.dropped,
            rejected_rows: state.rejected,
        }
    }

    pub(crate) async fn flush(&self, timeout: Duration) -> Result<(), StoreError> {
        let mut progress = self.progress.subscribe();
        let wanted = self.state().accepted;
        let settled = async {
            loop {
                progress.borrow_and_update();
                let now = self.state().settled;
                if now.rows >= wanted.rows && now.settings >= wanted.settings {
                    return;
                }
                self.wake.notify_one();
                if progress.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(timeout, settled).await.map_err(|_| {
            let state = self.state();
            let reason = state.down.clone().unwrap_or_else(|| "the database is slow".to_owned());
            StoreError::NotFlushed { queued_rows: state.queued() as u64, timeout, reason }
        })
    }

    fn report_queue(&self, state: &State) {
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!("nautilus_store_queue_rows", "service" => self.service).set(state.queued() as f64);
    }

    pub(crate) fn service(&self) -> &'static str {
        self.service
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nautilus_messages::record::SessionStatistics;
    use nautilus_types::{Money, Price, UnixNanos};

    fn row(day: u64) -> Record {
        Record::SessionStatistics(SessionStatistics {
            instrument: "ESH4".parse().unwrap(),
            day: UnixNanos(day),
            trades: 1,
            volume: Money::ZERO,
            volume_buy: Money::ZERO,
            volume_sell: Money::ZERO,
            volume_unknown: Money::ZERO,
            vwap: Price::ZERO,
            low: Price::ZERO,
            high: Price::ZERO,
            first: Price::ZERO,
            last: Price::ZERO,
        })
    }

    fn setting(key: &str, value: &str) -> Record {
        Record::Setting(Setting { engine: EngineName::Vpin, key: key.into(), value: value.into() })
    }

    fn days(batch: &Batch) -> Vec<u64> {
        let day = |record: &Record| match record {
            Record::SessionStatistics(row) => Some(row.day.0),
            _ => None,
        };
        batch.records.iter().filter_map(day).collect()
    }

    #[test]
    fn the_oldest_rows_are_dropped_and_settings_never() {
        let shared = Shared::new(4, "test", None);
        shared.push([setting("a", "1"), setting("a", "2"), setting("b", "1")]);
        shared.push((0..10).map(row));
        let health = shared.health();
        assert_eq!((health.queued_rows, health.dropped_rows), (6, 6));
        let first = shared.take().unwrap();
        assert_eq!(first.records[..2], [setting("a", "2"), setting("b", "1")]);
        assert_eq!(days(&first), [6, 7]);
        // Rows in flight count towards the bound.
        shared.push((10..14).map(row));
        assert!(shared.health().queued_rows <= 4 + 2);
        shared.wrote(first.records.len());
        shared.settled(&first);
        assert_eq!(shared.health().written_rows, 4);
    }

    #[test]
    fn after_close_rows_are_counted_as_dropped() {
        let shared = Shared::new(4, "test", None);
        shared.close();
        shared.push([row(1), setting("a", "1")]);
        assert_eq!(shared.health().dropped_rows, 2);
        assert!(shared.take().is_none());
    }

    #[tokio::test]
    async fn a_flush_waits_for_what_came_before_it_only() {
        let shared = Shared::new(10_000, "test", None);
        shared.push((0..1_500).map(row));
        let short = Duration::from_millis(1);
        let first = shared.take().unwrap();
        shared.wrote(1_000);
        shared.settled(&first);
        assert!(matches!(shared.flush(short).await, Err(StoreError::NotFlushed { queued_rows: 500, .. })));
        let second = shared.take().unwrap();
        shared.push([row(7_000)]);
        shared.wrote(500);
        shared.settled(&second);
        assert!(shared.flush(short).await.is_err(), "the last row came before this flush");
        let third = shared.take().unwrap();
        shared.wrote(1);
        shared.settled(&third);
        shared.flush(short).await.unwrap();
    }
}
