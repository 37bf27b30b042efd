//! The one task that writes: takes batches off the queue, commits each in one transaction, waits and tries
//! again while the database is down, and isolates a row that can never be stored.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nautilus_messages::record::Record;

use crate::database::{CommitError, Database};
use crate::queue::{Batch, Shared};
use crate::rows::{self, Row};

/// How often an idle writer asks whether the database is still there.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(3);

/// Starts the task. It ends when the store is closed and the queue empty, or abandoned.
pub(crate) fn spawn(shared: Arc<Shared>, database: Database, prepared: bool) {
    let writer = Writer { shared, database, prepared, work: None };
    tokio::spawn(writer.run());
}

/// A batch half done: parts not yet committed, the next one last.
struct Work {
    batch: Batch,
    parts: Vec<Vec<Row>>,
}

struct Writer {
    shared: Arc<Shared>,
    database: Database,
    prepared: bool,
    work: Option<Work>,
}

enum Step {
    Worked,
    Idle,
}

impl Writer {
    async fn run(mut self) {
        let mut backoff = BACKOFF_FIRST;
        while !self.shared.is_abandoned() {
            match self.step().await {
                Ok(step) => {
                    backoff = BACKOFF_FIRST;
                    self.shared.up();
                    if matches!(step, Step::Idle) {
                        if self.shared.is_finished() {
                            return;
                        }
                        self.shared.wait(PING_INTERVAL).await;
                    }
                }
                // Closing takes the connections away from whatever the writer was about to do.
                Err(_) if self.shared.is_abandoned() => return,
                Err(reason) => {
                    self.prepared = false;
                    self.shared.down(&reason);
                    if Arc::strong_count(&self.shared) == 1 {
                        return; // No handle is left, so nobody waits for the rows.
                    }
                    tokio::time::sleep(jittered(backoff)).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Commits one part, or looks whether the database is there when nothing waits.
    async fn step(&mut self) -> Result<Step, String> {
        if !self.prepared {
            self.database.prepare().await.map_err(|error| error.to_string())?;
            self.prepared = true;
        }
        if self.work.is_none() {
            let Some(batch) = self.shared.take() else {
                self.database.ping().await?;
                return Ok(Step::Idle);
            };
            let rows = self.laid_out(&batch.records);
            self.work = Some(Work { batch, parts: vec![rows] });
        }
        self.commit_next_part().await?;
        Ok(Step::Worked)
    }

    /// The rows of a batch, without those that no table can hold.
    fn laid_out(&self, records: &[Record]) -> Vec<Row> {
        let lay_out = |record: &Record| {
            rows::encode(record)
                .inspect_err(|reason| {
                    tracing::error!(%reason, ?record, "a row cannot be stored and is given up");
                    self.shared.rejected();
                })
                .ok()
        };
        records.iter().filter_map(lay_out).collect()
    }

    async fn commit_next_part(&mut self) -> Result<(), String> {
        let work = self.work.as_mut().expect("set by the caller");
        if let Some(part) = work.parts.pop() {
            let started = Instant::now();
            match self.database.commit(&rows::statements(&part, self.database.placeholder())).await {
                Ok(()) => {
                    metrics::histogram!("nautilus_store_commit_seconds", "service" => self.shared.service())
                        .record(started.elapsed().as_secs_f64());
                    self.shared.wrote(part.len());
                }
                Err(CommitError::Row(reason)) => isolate(&self.shared, &mut work.parts, part, &reason),
                Err(CommitError::Down(reason)) => {
                    work.parts.push(part);
                    return Err(reason);
                }
            }
        }
        if work.parts.is_empty() {
            self.shared.settled(&work.batch);
            self.work = None;
        }
        Ok(())
    }
}

/// Halves a part that holds a row that cannot be stored, until the row stands alone and is given up.
fn isolate(shared: &Shared, parts: &mut Vec<Vec<Row>>, mut part: Vec<Row>, reason: &str) {
    if part.len() > 1 {
        let second = part.split_off(part.len() / 2);
        parts.push(second);
        parts.push(part);
        return;
    }
    for row in part {
        tracing::error!(%reason, row = row.describe(), "the database refuses a row and it is given up");
        shared.rejected();
    }
}

/// Between half and all of `wait`, so that many services do not return at the same moment.
fn jittered(wait: Duration) -> Duration {
    // A new hasher state is random; no more randomness is needed than that.
    let share = RandomState::new().hash_one(0u8) % 1_000;
    wait / 2 + wait / 2 * u32::try_from(share).expect("below a thousand") / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_half_and_all() {
        let wait = Duration::from_secs(2);
        for _ in 0..1_000 {
            assert!((wait / 2..=wait).contains(&jittered(wait)));
        }
    }
}
