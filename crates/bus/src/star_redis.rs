//! The star over Redis: a pump that copies the hub's ring into a stream, and a feeder that copies the stream into
//! a reading process's ring.
//!
//! The stream is keyed by what is in it. An entry holds frames of consecutive positions, so a reader recognises
//! holes and repetitions by position alone, whatever was trimmed, retried or lost. When Redis is away the pump
//! keeps trying and the hub's ring overwrites: the hub never waits for it. What comes from Redis is decoded
//! before it is believed; an entry that is not right is counted and left out, and shows as a loss.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metrics::Counter;
use nautilus_messages::frame::Frames;
use nautilus_types::InstrumentId;
use redis::{Pipeline, Value};

use crate::config::RedisStar;
use crate::doorbell::Doorbell;
use crate::health::{Health, HealthPart};
use crate::link::{BLOCK, IDLE, Link, Session, StreamEntry, TaskHandle, bytes, entries, streams};
use crate::ring::{Found, FrameBytes, Ring, RingReader, RingWriter};
use crate::snapshots::{Snapshots, StarSnapshot};
use crate::star::StarPlace;

const STREAM: &str = "nautilus:star:0";
/// Hash: instrument to epoch, position, sequence and frames.
const SNAPSHOTS: &str = "nautilus:star:0:snapshots";
/// Stream: which instrument has a new snapshot.
const NOTICES: &str = "nautilus:star:0:notices";
const NOTICES_MAX: usize = 1_000;
const SNAPSHOTS_PER_TRIP: usize = 4;
const ENTRIES_PER_READ: usize = 64;
/// Epochs of the hub that a reading process remembers.
const EPOCHS_MAX: usize = 64;
/// Positions are below: twice as many have to fit into 64 bits, in a process's own numbering, too.
pub(crate) const POSITION_MAX: u64 = u64::MAX / 4;

fn wall_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// The hub's side.
#[derive(Debug)]
pub(crate) struct Pump {
    epoch: u64,
    reader: RingReader,
    snapshots: Arc<Snapshots>,
    bell: Arc<Doorbell>,
}

impl Pump {
    pub(crate) fn new(
        epoch: u64,
        reader: RingReader,
        snapshots: Arc<Snapshots>,
        bell: Arc<Doorbell>,
    ) -> Self {
        Self { epoch, reader, snapshots, bell }
    }

    pub(crate) async fn run(mut self, config: RedisStar, link: Link, health: HealthPart) {
        let mut session = Session::new(link, health);
        self.reader.report_by_hand();
        while !self.begin(&mut session).await {}
        let mut seen = 0;
        let mut rest = Instant::now();
        loop {
            let Some(connection) = session.connect().await else { continue };
            if connection != seen {
                // The server may have come back without its data.
                seen = connection;
                self.snapshots.mark_all_unsent();
            }
            let batch = self.batch(&config);
            if !batch.is_empty() {
                while !session.exec(&batch).await {}
                self.reader.report();
                rest = Instant::now();
            } else if rest.elapsed() >= IDLE {
                session.exec(redis::pipe().ping()).await;
                rest = Instant::now();
            } else {
                self.bell.wait_async(IDLE).await;
            }
        }
    }

    /// Makes this hub the newest one and removes the former's snapshots: they would make readers ignore its frames.
    async fn begin(&mut self, session: &mut Session) -> bool {
        let mut query = redis::pipe();
        query.cmd("XREVRANGE").arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1);
        query.cmd("DEL").arg(SNAPSHOTS);
        let Some(replies) = session.query(&query).await else { return false };
        let last = replies.into_iter().next().map(entries).unwrap_or_default().pop();
        // Readers pass over epochs before the newest: a clock that was set back must not silence this hub.
        let former = last.and_then(|entry| entry.number("e")).unwrap_or(0);
        self.epoch = self.epoch.max(former.saturating_add(1));
        true
    }

    /// What is there now, up to the limits of one round trip.
    fn batch(&mut self, config: &RedisStar) -> Pipeline {
        // All or nothing: a server that fills up in the middle must not store a later position alone.
        let mut batch = redis::pipe();
        batch.atomic();
        for _ in 0..config.pipeline.max(1) {
            let Some((first, frames)) = self.entry(config.batch_frames.max(1)) else { break };
            batch.cmd("XADD").arg(STREAM).arg("MAXLEN").arg("~").arg(config.max_len).arg("*");
            batch.arg("e").arg(self.epoch).arg("p").arg(first).arg("t").arg(wall_ns());
            batch.arg("f").arg(frames);
        }
        for snapshot in self.snapshots.take_unsent(SNAPSHOTS_PER_TRIP) {
            let mut value = Vec::with_capacity(24 + snapshot.frames.len());
            for number in [self.epoch, snapshot.position, snapshot.sequence] {
                value.extend_from_slice(&number.to_le_bytes());
            }
            value.extend_from_slice(&snapshot.frames);
            batch.cmd("HSET").arg(SNAPSHOTS).arg(snapshot.instrument.0).arg(value);
            batch.cmd("XADD").arg(NOTICES).arg("MAXLEN").arg("~").arg(NOTICES_MAX).arg("*");
            batch.arg("i").arg(snapshot.instrument.0);
        }
        batch
    }

    /// Frames of consecutive positions with the first one's position.
    fn entry(&mut self, limit: usize) -> Option<(u64, Vec<u8>)> {
        let mut frame = FrameBytes::EMPTY;
        let mut frames = Vec::new();
        let mut first = self.reader.position();
        let mut count = 0;
        while count < limit {
            let position = self.reader.position();
            match self.reader.read(&mut frame) {
                Found::Nothing => break,
                Found::Frame => {
                    if count == 0 {
                        first = position;
                    }
                    frames.extend_from_slice(frame.as_slice());
                    count += 1;
                }
                // The hole shows in the next entry's position.
                Found::Lost { .. } if count == 0 => {}
                Found::Lost { .. } => break,
            }
        }
        (count > 0).then_some((first, frames))
    }
}

/// Where in this process's numbering each epoch of the hub begins.
#[derive(Debug, Default)]
struct Epochs(Mutex<Vec<(u64, u64)>>);

impl Epochs {
    fn begin(&self, start: u64, epoch: u64) {
        let mut epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if epochs.len() == EPOCHS_MAX {
            epochs.remove(0);
        }
        epochs.push((start, epoch));
    }

    /// The start and the epoch that a position belongs to.
    fn at(&self, position: u64) -> Option<(u64, u64)> {
        let epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        epochs.iter().rev().find(|(start, _)| *start <= position).copied()
    }

    fn start_of(&self, epoch: u64) -> Option<u64> {
        let epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        epochs.iter().find(|(_, known)| *known == epoch).map(|(start, _)| *start)
    }
}

/// The reading process's side.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) ring: Arc<Ring>,
    pub(crate) snapshots: Arc<Snapshots>,
    epochs: Arc<Epochs>,
    task: OnceLock<TaskHandle>,
    /// Where reading goes on. Its epoch is this process's first one, so positions are the hub's own.
    place: Option<StarPlace>,
}

impl Inbound {
    pub(crate) fn new(config: &RedisStar, place: Option<StarPlace>) -> Self {
        let (ring, epochs) = (Ring::new(config.capacity), Epochs::default());
        if let Some(place) = place {
            epochs.begin(0, place.epoch);
        }
        Self { ring, snapshots: Arc::default(), epochs: Arc::new(epochs), task: OnceLock::new(), place }
    }

    pub(crate) fn epoch_at(&self, position: u64) -> u64 {
        self.epochs.at(position).map_or(0, |(_, epoch)| epoch)
    }

    /// The place of a reader that is at `position`: in the epoch of what it read last.
    pub(crate) fn place_at(&self, position: u64) -> Option<StarPlace> {
        let (start, epoch) = self.epochs.at(position.saturating_sub(1))?;
        Some(StarPlace { epoch, position: position - start })
    }

    /// Starts the feeder unless it runs.
    pub(crate) fn start(&self, config: &RedisStar, link: &Link, health: &Arc<Health>, service: &'static str) {
        self.task.get_or_init(|| {
            let mut writer = self.ring.writer().expect("an inbound ring has one feeder");
            if let Some(place) = self.place {
                writer.skip_to(place.position);
            }
            let feeder = Feeder {
                writer,
                snapshots: Arc::clone(&self.snapshots),
                snapshot_epochs: BTreeMap::new(),
                epochs: Arc::clone(&self.epochs),
                epoch: self.place.map_or(0, |place| place.epoch),
                base: 0,
                from_epoch: config.from_epoch,
                patience: config.reader_patience,
                out_of_patience: false,
                garbage: metrics::counter!("nautilus_star_garbage_total", "service" => service),
            };
            let resumes = self.place.is_some();
            link.spawn(feeder.run(Session::blocking(link.clone(), health.part()), resumes))
        });
    }
}

#[derive(Debug)]
struct Feeder {
    writer: RingWriter,
    snapshots: Arc<Snapshots>,
    snapshot_epochs: BTreeMap<InstrumentId, u64>,
    epochs: Arc<Epochs>,
    /// The hub's newest epoch, and where its position 0 is in this process's numbering.
    epoch: u64,
    base: u64,
    /// What is older is passed over.
    from_epoch: u64,
    patience: Duration,
    out_of_patience: bool,
    garbage: Counter,
}

impl Feeder {
    async fn run(mut self, mut session: Session, resumes: bool) {
        while resumes && !self.find_place(&mut session).await {}
        let mut after = "0".to_owned();
        let mut notices_after = "0".to_owned();
        let mut seen = 0;
        loop {
            let Some(connection) = session.connect().await else { continue };
            if connection != seen {
                let Some(last_notice) = self.load_snapshots(&mut session).await else { continue };
                notices_after = last_notice;
                seen = connection;
            }
            let mut read = redis::pipe();
            read.cmd("XREAD").arg("COUNT").arg(ENTRIES_PER_READ).arg("BLOCK").arg(BLOCK.as_millis() as u64);
            read.arg("STREAMS").arg(STREAM).arg(NOTICES).arg(&after).arg(&notices_after);
            let Some(mut replies) = session.query(&read).await else { continue };
            let mut noticed = BTreeSet::new();
            for (stream, entries) in replies.pop().map(streams).unwrap_or_default() {
                for entry in entries {
                    if stream == STREAM {
                        self.feed(&entry).await;
                        after = entry.id;
                    } else {
                        noticed.extend(entry.number("i"));
                        notices_after = entry.id;
                    }
                }
            }
            self.refresh_snapshots(&mut session, &noticed).await;
        }
    }

    /// Makes sure that the place to go on from is one of this stream: its hub, or a newer one, has written the last
    /// entry. False when that is not known yet.
    async fn find_place(&mut self, session: &mut Session) -> bool {
        let mut query = redis::pipe();
        query.cmd("XREVRANGE").arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1);
        let Some(mut replies) = session.query(&query).await else { return false };
        let Some(last) = replies.pop().map(entries).unwrap_or_default().pop() else {
            let mut wait = redis::pipe();
            wait.cmd("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK.as_millis() as u64);
            wait.arg("STREAMS").arg(STREAM).arg("0");
            session.query(&wait).await;
            return false;
        };
        if last.number("e").is_some_and(|newest| newest < self.epoch) {
            tracing::warn!(
                "every hub in the stream is older than the place to go on from; reading all of it"
            );
            self.epoch = 0;
        } else {
            self.from_epoch = self.from_epoch.max(self.epoch);
        }
        true
    }

    /// Copies one entry into the ring.
    async fn feed(&mut self, entry: &StreamEntry) {
        if entry.number("e").is_some_and(|epoch| epoch < self.from_epoch) {
            return;
        }
        let Some((epoch, first, frames, count)) = decode(entry) else {
            self.garbage.increment(1);
            tracing::warn!(id = entry.id, "an entry of the star is not one and was left out");
            return;
        };
        if epoch < self.epoch {
            self.garbage.increment(1); // A hub that has been replaced and does not know it.
            return;
        }
        if epoch > self.epoch {
            self.begin_epoch(epoch);
        }
        let Some(first) = self.base.checked_add(first).filter(|first| *first < POSITION_MAX) else {
            self.garbage.increment(1);
            return;
        };
        let repeated = self.writer.position().saturating_sub(first);
        if repeated >= count {
            return; // Sent twice because the answer to the first was lost.
        }
        self.wait_for_room(count).await;
        if first > self.writer.position() {
            self.writer.skip_to(first);
        }
        let mut rest = frames;
        for index in 0..count {
            if index < repeated {
                rest = &rest[crate::ring::frame_len(rest[0])..];
                continue;
            }
            if index == repeated {
                let sent_ns = entry.number("t").unwrap_or(u64::MAX);
                self.writer.mark(wall_ns().saturating_sub(sent_ns));
            }
            rest = self.writer.write_first(rest);
        }
        self.writer.ring_bells();
    }

    fn begin_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.base = self.writer.position();
        self.epochs.begin(self.base, epoch);
        self.snapshot_epochs.retain(|_, of| *of >= epoch);
        self.snapshots.retain(|instrument| self.snapshot_epochs.contains_key(&instrument));
        for (instrument, _) in self.snapshot_epochs.iter().filter(|(_, of)| **of == epoch) {
            self.snapshots.shift(*instrument, self.base);
        }
    }

    /// Redis retains what this process has not read, so its own readers get time; but not for ever.
    async fn wait_for_room(&mut self, count: u64) {
        let fits = |ring: &Ring| ring.lag() + count <= ring.capacity();
        let ring = Arc::clone(self.writer.ring());
        if self.out_of_patience {
            self.out_of_patience = !fits(&ring);
            return;
        }
        let start = Instant::now();
        while !fits(&ring) && ring.lag() > 0 {
            if start.elapsed() >= self.patience {
                self.out_of_patience = true;
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Loads every snapshot and returns the id behind which notices are news.
    async fn load_snapshots(&mut self, session: &mut Session) -> Option<String> {
        let mut query = redis::pipe();
        query.cmd("XREVRANGE").arg(NOTICES).arg("+").arg("-").arg("COUNT").arg(1);
        query.cmd("HGETALL").arg(SNAPSHOTS);
        let mut replies = session.query(&query).await?;
        let pairs = match replies.pop() {
            Some(Value::Map(pairs)) => pairs,
            Some(Value::Array(flat)) => {
                let mut flat = flat.into_iter();
                std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
            }
            _ => Vec::new(),
        };
        for (instrument, value) in pairs {
            let instrument = bytes(instrument).and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
            self.keep_snapshot(instrument, value);
        }
        let last = replies.pop().map(entries).unwrap_or_default().pop();
        Some(last.map_or_else(|| "0".to_owned(), |entry| entry.id))
    }

    async fn refresh_snapshots(&mut self, session: &mut Session, noticed: &BTreeSet<u64>) {
        for instrument in noticed {
            let mut query = redis::pipe();
            query.cmd("HGET").arg(SNAPSHOTS).arg(*instrument);
            // After a failure every snapshot is loaded again.
            let Some(mut replies) = session.query(&query).await else { return };
            match replies.pop() {
                None | Some(Value::Nil) => {}
                Some(value) => self.keep_snapshot(u32::try_from(*instrument).ok(), value),
            }
        }
    }

    fn keep_snapshot(&mut self, instrument: Option<u32>, value: Value) {
        let decoded = instrument.map(InstrumentId).zip(bytes(value).as_deref().and_then(decode_snapshot));
        let Some((instrument, (epoch, mut snapshot))) = decoded else {
            self.garbage.increment(1);
            return;
        };
        if epoch < self.epoch.max(self.from_epoch) {
            return;
        }
        (snapshot.instrument, snapshot.epoch) = (instrument, epoch);
        // Of an epoch whose frames have not come yet: `begin_epoch` will add where it begins.
        let start = self.epochs.start_of(epoch).unwrap_or(0);
        snapshot.position = snapshot.position.saturating_add(start);
        if self.snapshots.replace(snapshot) {
            self.snapshot_epochs.insert(instrument, epoch);
        } else {
            self.garbage.increment(1);
        }
    }
}

/// Epoch, first position, frames and their number.
fn decode(entry: &StreamEntry) -> Option<(u64, u64, &[u8], u64)> {
    let frames = entry.field("f")?;
    let count = count_frames(frames)?;
    Some((entry.number("e")?, entry.number("p")?, frames, count)).filter(|_| count > 0)
}

fn decode_snapshot(value: &[u8]) -> Option<(u64, StarSnapshot)> {
    let (numbers, frames) = value.split_at_checked(24)?;
    let number = |index: usize| {
        numbers[index * 8..][..8].try_into().map(u64::from_le_bytes).expect("eight of 24 bytes")
    };
    count_frames(frames)?;
    let (position, sequence) = (number(1), number(2));
    Some((
        number(0),
        StarSnapshot { instrument: InstrumentId::NONE, sequence, epoch: 0, position, frames: frames.into() },
    ))
}

/// `None` when any frame is not one.
fn count_frames(frames: &[u8]) -> Option<u64> {
    Frames::new(frames).try_fold(0, |count, frame| frame.ok().map(|_| count + 1))
}
