//! The writing end: one owner appends and commits.

use crate::layout::{
    self, HEADER_LEN, Header, MIRRORED_MAX, MIRRORS_AT, Mirror, PAYLOAD_MAX, RECORDS_AT, SHARED,
};
use crate::read::{End, SPARE, name_of, walk};
use crate::{Error, Folder, Storage};

/// The shortest segment: head and room for some records.
const SEGMENT_MIN: u64 = 96 * 1024;

/// How a journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whose journal it is; one of another name is refused.
    pub owner: String,
    /// Bytes of a segment's file, at least 96 KiB. A record has to fit in one.
    pub segment_len: u64,
    /// Any number that is another one at every open, such as the time.
    pub salt: u64,
}

/// A journal that is open. After any error of a method but [`Error::TooLong`] it is dead.
#[derive(Debug)]
pub struct Journal<S: Storage = Folder> {
    storage: S,
    settings: Settings,
    file: S::File,
    name: String,
    length: u64,
    seed: u64,
    /// Where the next write goes.
    offset: usize,
    /// The last bytes of the segment, and behind them records that were appended and not written.
    buffer: Vec<u8>,
    /// How much of it is written.
    written: usize,
    mirror: Vec<u8>,
    position: u64,
    committed: u64,
    /// Checksum of the last record.
    previous: u64,
    /// The next mirror's.
    sequence: u64,
    spare: bool,
    dead: bool,
}

impl<S: Storage> Journal<S> {
    /// Opens a journal, or begins one. Every record from position `from` on (the first is 1) is handed to `each` with
    /// its position, its instant and its payload; what is torn behind the last one is cut off.
    ///
    /// # Errors
    /// When a committed record does not read, `from` is not there, `each` refuses, or the system does.
    pub fn open(
        storage: S,
        settings: Settings,
        from: u64,
        mut each: impl FnMut(u64, u64, &[u8]) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let owner = layout::owner(&settings.owner);
        let mut end = walk(&storage, Some(owner), from, true, &mut each)?;
        let settings = Settings { segment_len: settings.segment_len.max(SEGMENT_MIN), ..settings };
        let mut spare = has_spare(&storage, settings.segment_len);
        if end.first == 0 {
            if !std::mem::take(&mut spare) {
                allocate(&storage, &settings)?;
            }
            begin(&storage, &settings, 1, 0)?;
            end = walk(&storage, Some(owner), 1, true, &mut each)?;
        }
        let name = name_of(end.first);
        let mirrored = RECORDS_AT.max(end.offset.saturating_sub(MIRRORED_MAX));
        let mut journal = Self {
            file: storage.open(&name).map_err(Error::io("opening", &name))?,
            length: end.bytes.len() as u64,
            storage,
            settings,
            name,
            seed: end.seed,
            offset: end.offset,
            buffer: end.bytes[mirrored..end.offset].to_vec(),
            written: end.offset - mirrored,
            mirror: Vec::new(),
            position: end.position,
            committed: end.position,
            previous: end.previous,
            sequence: end.sequence,
            spare,
            dead: false,
        };
        journal.settle(&end)?;
        journal.make_room();
        Ok(journal)
    }

    /// Writes once more what may not be on the disk, and clears what is torn behind it. In the end there is evidence of
    /// everything that was read.
    fn settle(&mut self, end: &End) -> Result<(), Error> {
        // A mirror may still be on its way from a process that is gone; the other one must not be under way, too.
        self.sync()?;
        let mut at = end.doubtful.start.max(RECORDS_AT);
        if end.doubtful.is_empty() || at > end.offset {
            at = end.offset;
        }
        // A crash may tear what is written and what shares a sector with it: so no more at once than is mirrored, and
        // always in the same mirror, for the other one may be the only place that has what is put back.
        loop {
            self.sequence = end.sequence;
            let stop = end.offset.min(at + MIRRORED_MAX - 2 * SHARED);
            let place = RECORDS_AT.max(at - SHARED)..end.offset.min(stop + SHARED);
            self.write_mirror(end.known, place.start, &end.bytes[place.clone()])?;
            self.sync()?;
            self.write(at as u64, &end.bytes[at..stop])?;
            at = stop;
            if at == end.offset {
                break;
            }
            self.sync()?;
        }
        self.write(end.offset as u64, &vec![0; end.torn() - end.offset])?;
        self.sync()?;
        if end.known < end.position {
            self.mirror_last(end.position)?;
            self.sync()?;
        }
        self.keep_last();
        Ok(())
    }

    /// The last record that was appended; zero when there is none.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The last record that is on the disk.
    #[must_use]
    pub const fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether there is a whole segment's room behind the present one. Where there is none the owner is to refuse new
    /// work; what is left of the present segment is for what makes less of it.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.spare
    }

    /// Tries to get the next segment's room where it is missing; whether it is there.
    pub fn make_room(&mut self) -> bool {
        self.spare = self.spare || allocate(&self.storage, &self.settings).is_ok();
        self.spare
    }

    /// The storage.
    #[must_use]
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Appends a record as of `at` and returns its position. It is on the disk after the next [`Self::commit`]. Writes
    /// nothing itself unless the segment is full.
    ///
    /// # Errors
    /// When the payload is too long; when a new segment is needed, as [`Self::commit`].
    pub fn append(&mut self, at: u64, payload: &[u8]) -> Result<u64, Error> {
        self.alive()?;
        let length = layout::record_len(payload.len()) as u64;
        let most = self.longest();
        if payload.len() > most {
            return Err(Error::TooLong { length: payload.len(), most });
        }
        if (self.offset + self.unwritten()) as u64 + length > self.length {
            self.commit()?;
            self.or_die(Self::roll)?;
        }
        let position = self.position + 1;
        let unsynced = u32::try_from(self.position - self.committed).unwrap_or(u32::MAX);
        let numbers = (position, at, unsynced);
        self.previous = layout::put_record(&mut self.buffer, self.seed, self.previous, numbers, payload);
        self.position = position;
        Ok(position)
    }

    /// Returns when everything that was appended is on the disk.
    ///
    /// # Errors
    /// When it is not known to be; nothing of it may be acknowledged then, and the journal is dead.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.alive()?;
        if self.unwritten() == 0 {
            return Ok(());
        }
        self.or_die(Self::write_out)
    }

    const fn unwritten(&self) -> usize {
        self.buffer.len() - self.written
    }

    fn longest(&self) -> usize {
        let segment = usize::try_from(self.settings.segment_len).unwrap_or(usize::MAX);
        PAYLOAD_MAX.min(segment - layout::record_len(RECORDS_AT))
    }

    fn write_out(&mut self) -> Result<(), Error> {
        self.write(self.offset as u64, &self.buffer[self.written..])?;
        self.offset += self.unwritten();
        let is_mirrored = self.unwritten() <= MIRRORED_MAX - SHARED;
        if is_mirrored {
            self.mirror_last(self.committed)?;
        }
        self.sync()?;
        self.committed = self.position;
        if !is_mirrored {
            self.mirror_last(self.committed)?;
            self.sync()?;
        }
        self.keep_last();
        Ok(())
    }

    /// Forgets what is written but for what the next write may share a sector with.
    fn keep_last(&mut self) {
        self.buffer.drain(..self.buffer.len().saturating_sub(SHARED));
        self.written = self.buffer.len();
    }

    /// Mirrors the last bytes, and says that records up to `durable` are on the disk.
    fn mirror_last(&mut self, durable: u64) -> Result<(), Error> {
        let buffer = std::mem::take(&mut self.buffer);
        let last = &buffer[buffer.len().saturating_sub(MIRRORED_MAX)..];
        let done = self.write_mirror(durable, self.offset - last.len(), last);
        self.buffer = buffer;
        done
    }

    fn write_mirror(&mut self, durable: u64, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let sequence = self.sequence;
        layout::put_mirror(&mut self.mirror, self.seed, Mirror { sequence, durable, offset, bytes });
        self.sequence += 1;
        let at = MIRRORS_AT[usize::from(!sequence.is_multiple_of(2))];
        self.write(at as u64, &self.mirror)
    }

    /// Begins the next segment; everything is committed.
    fn roll(&mut self) -> Result<(), Error> {
        if !self.spare {
            allocate(&self.storage, &self.settings)?;
        }
        let first = self.position + 1;
        self.seed = begin(&self.storage, &self.settings, first, self.previous)?;
        self.name = name_of(first);
        self.file = self.storage.open(&self.name).map_err(Error::io("opening", &self.name))?;
        (self.length, self.offset, self.sequence) = (self.settings.segment_len, RECORDS_AT, 0);
        self.buffer.clear();
        self.written = 0;
        self.spare = false;
        self.make_room();
        Ok(())
    }

    fn alive(&self) -> Result<(), Error> {
        if self.dead { Err(Error::Dead) } else { Ok(()) }
    }

    fn or_die<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let done = act(self);
        self.dead |= done.is_err();
        done
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.storage.write(&self.file, offset, bytes).map_err(Error::io("writing", &self.name))
    }

    fn sync(&self) -> Result<(), Error> {
        self.storage.sync(&self.file).map_err(Error::io("flushing", &self.name))
    }
}

/// Whether the next segment's room is there. What is there and cannot be used is no reason not to begin.
fn has_spare<S: Storage>(storage: &S, length: u64) -> bool {
    let look = || {
        let file = storage.open(SPARE)?;
        let mut head = [0; HEADER_LEN];
        let is_right = storage.length(&file)? == length;
        storage.read(&file, 0, &mut head)?;
        // A segment that was nearly begun: its header must not pass for one that is written later and goes astray.
        Ok::<_, std::io::Error>(is_right && head == [0; HEADER_LEN])
    };
    let is_usable = look().unwrap_or(false);
    if !is_usable {
        // Where it stays there is no room.
        let _ = storage.remove(SPARE);
    }
    is_usable
}

fn allocate<S: Storage>(storage: &S, settings: &Settings) -> Result<(), Error> {
    storage.allocate(SPARE, settings.segment_len).map_err(Error::io("reserving room for", SPARE))
}

/// Makes the spare the segment that begins with record `first`, and returns the seed of its checksums. Its name says
/// that all records before are on the disk.
fn begin<S: Storage>(storage: &S, settings: &Settings, first: u64, previous: u64) -> Result<u64, Error> {
    let owner = layout::owner(&settings.owner);
    let header = Header { first, previous, salt: settings.salt, length: settings.segment_len, owner };
    let bytes = header.encode();
    let file = storage.open(SPARE).map_err(Error::io("opening", SPARE))?;
    storage.write(&file, 0, &bytes).map_err(Error::io("writing", SPARE))?;
    storage.sync(&file).map_err(Error::io("flushing", SPARE))?;
    storage.rename(SPARE, &name_of(first)).map_err(Error::io("renaming", SPARE))?;
    Ok(header.seed())
}
