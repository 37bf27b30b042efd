//! Reads a journal: which records there are, where it ends, and whether what does not read was ever acknowledged.

use std::ops::Range;

use crate::layout::{self, Header, RECORDS_AT};
use crate::{Damage, Error, Storage};

/// A segment that is allocated and not begun.
pub(crate) const SPARE: &str = "spare";
/// What an unwritten part of a segment holds.
static ZEROS: [u8; 4_096] = [0; 4_096];
const SUFFIX: &str = ".segment";

/// The file of the segment that begins with this record.
pub(crate) fn name_of(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The first positions of all segments, in order.
pub(crate) fn segments<S: Storage>(storage: &S) -> Result<Vec<u64>, Error> {
    let names = storage.names().map_err(Error::io("listing", "the journal"))?;
    let first = |name: &String| name.strip_suffix(SUFFIX)?.parse().ok();
    let mut firsts: Vec<u64> = names.iter().filter_map(first).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Where a journal ends.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// The last segment's bytes, and what its header says.
    pub(crate) bytes: Vec<u8>,
    pub(crate) first: u64,
    pub(crate) seed: u64,
    /// Where the next record belongs.
    pub(crate) offset: usize,
    /// The last record, and its checksum.
    pub(crate) position: u64,
    pub(crate) previous: u64,
    /// The last record that is known to be on the disk.
    pub(crate) known: u64,
    /// The next mirror's.
    pub(crate) sequence: u64,
    /// Bytes that are to be written once more: put back from a mirror, or not known to be on the disk.
    pub(crate) doubtful: Range<usize>,
}

impl End {
    fn place(&self, reason: &'static str) -> Damage {
        let (file, offset) = (name_of(self.first), self.offset as u64);
        Damage { file, offset, position: self.position + 1, reason }
    }

    /// Replaces the bytes by those of a segment's file, which has to begin behind what was read so far.
    fn load<S: Storage>(&mut self, storage: &S, first: u64, owner: Option<u64>) -> Result<(), Error> {
        let name = name_of(first);
        let file = storage.open(&name).map_err(Error::io("opening", &name))?;
        let length = storage.length(&file).map_err(Error::io("reading", &name))?;
        self.bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        storage.read(&file, 0, &mut self.bytes).map_err(Error::io("reading", &name))?;
        let before = (self.first != 0).then_some(self.previous);
        (self.first, self.position, self.offset) = (first, first.saturating_sub(1), 0);
        let (header, seed) = Header::decode(&self.bytes).map_err(|reason| self.place(reason))?;
        let wrong = if header.first != first {
            Some("its header is that of another segment")
        } else if header.length != length {
            Some("the file is not as long as its header says")
        } else if owner.is_some_and(|owner| owner != header.owner) {
            Some("it is another engine's")
        } else if before.is_some_and(|before| before != header.previous) {
            Some("it does not go on from the segment before")
        } else {
            None
        };
        if let Some(reason) = wrong {
            return Err(self.place(reason).into());
        }
        (self.seed, self.previous, self.offset) = (seed, header.previous, RECORDS_AT);
        (self.sequence, self.doubtful) = (0, 0..0);
        Ok(())
    }

    /// Goes over the records that follow; returns the last one that they know to be on the disk.
    fn scan(&mut self) -> u64 {
        let mut durable = 0;
        while let Some(record) = layout::record(&self.bytes, self.seed, self.offset) {
            if record.position != self.position + 1 || record.previous != self.previous {
                break;
            }
            durable = record.durable;
            (self.position, self.previous, self.offset) = (record.position, record.checksum, record.end);
        }
        durable
    }

    /// Puts back what a mirror has of the place that does not read, if it has any, and reads on.
    fn put_back(&mut self, mirror: usize) -> u64 {
        let mirrors = layout::mirrors(&self.bytes, self.seed);
        let Some(place) = mirrors.get(mirror).map(|m| m.offset..m.offset + m.bytes.len()) else { return 0 };
        let bytes = mirrors[mirror].bytes.to_vec();
        if place.end <= self.offset || self.bytes[place.clone()] == bytes[..] {
            return 0;
        }
        self.bytes[place.clone()].copy_from_slice(&bytes);
        self.doubt(place);
        self.scan()
    }

    fn doubt(&mut self, more: Range<usize>) {
        let former = std::mem::take(&mut self.doubtful);
        let start = if former.is_empty() { more.start } else { former.start.min(more.start) };
        self.doubtful = start..former.end.max(more.end);
    }

    /// Reads the segment's records as far as they go. `durable` were on the disk, for there is a later segment.
    fn judge(&mut self, durable: u64) -> Result<(), Damage> {
        let mut known = durable.max(self.scan());
        // The older one first: it reaches as far as the other begins.
        for mirror in 0..2 {
            known = known.max(self.put_back(mirror));
        }
        let mirrors = layout::mirrors(&self.bytes, self.seed);
        known = mirrors.iter().map(|mirror| mirror.durable).fold(known, u64::max);
        self.sequence = mirrors.last().map_or(0, |newest| newest.sequence + 1);
        if known > self.position {
            return Err(self.place("records were on the disk from here on and do not read"));
        }
        let stray = |at| layout::record(&self.bytes, self.seed, at);
        let later = (self.offset..self.torn()).step_by(8).filter_map(stray);
        if later.into_iter().any(|record| record.durable > self.position) {
            return Err(self.place(
                "a record does not read, and later ones do that were written when it was on the disk",
            ));
        }
        if known < self.position {
            let from = self.start_of(known + 1);
            self.doubt(from..self.offset);
        }
        self.known = known;
        Ok(())
    }

    /// Where a record begins, of those that read.
    fn start_of(&self, position: u64) -> usize {
        let mut records = self.records();
        records.find(|(record, _)| record.position >= position).map_or(self.offset, |(_, start)| start)
    }

    /// The records that read, with where they begin.
    fn records(&self) -> impl Iterator<Item = (layout::Record<'_>, usize)> {
        let mut at = RECORDS_AT;
        std::iter::from_fn(move || {
            let record = (at < self.offset).then(|| layout::record(&self.bytes, self.seed, at))??;
            Some((record, std::mem::replace(&mut at, record.end)))
        })
    }

    /// Where the bytes end that are not zero.
    pub(crate) fn torn(&self) -> usize {
        let mut end = self.bytes.len();
        // Most of a segment is zeros: in steps of which each is one comparison.
        while end - self.offset >= ZEROS.len() && self.bytes[end - ZEROS.len()..end] == ZEROS {
            end -= ZEROS.len();
        }
        let rest = &self.bytes[self.offset..end];
        rest.iter().rposition(|byte| *byte != 0).map_or(self.offset, |last| self.offset + last + 1)
    }
}

/// Writes the doubtful bytes once more.
fn mend<S: Storage>(storage: &S, end: &End) -> Result<(), Error> {
    if end.doubtful.is_empty() {
        return Ok(());
    }
    let name = name_of(end.first);
    let file = storage.open(&name).map_err(Error::io("opening", &name))?;
    let bytes = &end.bytes[end.doubtful.clone()];
    storage.write(&file, end.doubtful.start as u64, bytes).map_err(Error::io("writing", &name))?;
    storage.sync(&file).map_err(Error::io("flushing", &name))
}

/// What is taken from a record: its position, its instant and its payload.
pub(crate) type Each<'a> = &'a mut dyn FnMut(u64, u64, &[u8]) -> Result<(), String>;

/// Hands over every record from `from` on, segment by segment, each segment judged before; `write` puts back what can be in all but the last one.
pub(crate) fn walk<S: Storage>(
    storage: &S,
    owner: Option<u64>,
    from: u64,
    write: bool,
    each: Each<'_>,
) -> Result<End, Error> {
    let firsts = segments(storage)?;
    let mut end = End::default();
    match firsts.first() {
        Some(&first) if first > from => return Err(Error::Pruned { first, wanted: from }),
        _ => {}
    }
    let begin = firsts.partition_point(|first| *first <= from).saturating_sub(1);
    for (index, first) in firsts.iter().enumerate().skip(begin) {
        end.load(storage, *first, owner)?;
        let next = firsts.get(index + 1);
        end.judge(next.map_or(0, |next| next - 1))?;
        if next.is_some_and(|next| *next != end.position + 1) {
            return Err(end.place("the next segment begins before").into());
        }
        // What the last segment needs is more.
        if write && next.is_some() {
            mend(storage, &end)?;
        }
        for (record, _) in end.records().filter(|(record, _)| record.position >= from) {
            let position = record.position;
            let refused = |reason| Error::Refused { position, reason };
            each(position, record.at, record.payload).map_err(refused)?;
        }
    }
    if end.position + 1 < from {
        return Err(Error::Short { last: end.position, known: from - 1 });
    }
    Ok(end)
}

/// What a journal holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that were begun.
    pub segments: usize,
    /// Records that read.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Position and instant of the first one.
    pub first: Option<(u64, u64)>,
    /// Position and instant of the last one that reads.
    pub last: Option<(u64, u64)>,
    /// Bytes of a torn end, which an open cuts off, or of a commit that is under way.
    pub torn: usize,
    /// The first place that is damaged; nothing behind it was read.
    pub damage: Option<Damage>,
}

/// Reads a whole journal, hands over its records and changes nothing.
///
/// # Errors
/// When the system refuses; damage is reported instead.
pub fn verify<S: Storage>(storage: &S, mut each: impl FnMut(u64, u64, &[u8])) -> Result<Report, Error> {
    let firsts = segments(storage)?;
    let mut report = Report { segments: firsts.len(), ..Report::default() };
    let mut note = |position, at, payload: &[u8]| {
        report.records += 1;
        report.bytes += payload.len() as u64;
        report.first.get_or_insert((position, at));
        report.last = Some((position, at));
        each(position, at, payload);
        Ok(())
    };
    let from = firsts.first().copied().unwrap_or(1);
    match walk(storage, None, from, false, &mut note) {
        Ok(end) => report.torn = end.torn() - end.offset,
        Err(Error::Damaged(damage)) => report.damage = Some(damage),
        Err(error) => return Err(error),
    }
    Ok(report)
}

/// Removes segments, oldest first, whose records all stand in a snapshot of everything up to `covered`, as long as at
/// least `keep_bytes` of segments are left. Returns how many bytes are left. May be called beside the owner.
///
/// # Errors
/// When the system refuses.
pub fn prune<S: Storage>(storage: &S, covered: u64, keep_bytes: u64) -> Result<u64, Error> {
    let firsts = segments(storage)?;
    let mut lengths = Vec::with_capacity(firsts.len());
    for first in &firsts {
        let name = name_of(*first);
        let length = storage.open(&name).and_then(|file| storage.length(&file));
        lengths.push(length.map_err(Error::io("reading", &name))?);
    }
    let mut left: u64 = lengths.iter().sum();
    for (pair, length) in firsts.windows(2).zip(lengths) {
        if pair[1] > covered.saturating_add(1) || left - length < keep_bytes {
            break;
        }
        let name = name_of(pair[0]);
        storage.remove(&name).map_err(Error::io("removing", &name))?;
        left -= length;
    }
    Ok(left)
}
