//! A disk in memory that fails on request: crashes that keep any part of what was not flushed, flushes that fail,
//! writes that land elsewhere, no room, and bytes that change while nobody looks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::rc::Rc;

use nautilus_journal::Storage;

const SECTOR: usize = 512;

/// SplitMix64 (Steele et al., 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[derive(Debug, Default)]
struct Data {
    /// What a reader sees: with all that is only in memory.
    seen: Vec<u8>,
    /// What the disk has.
    kept: Vec<u8>,
    /// Written and not flushed.
    pending: Vec<(usize, Vec<u8>)>,
    /// Where the last write went.
    last: Range<usize>,
}

pub(crate) type File = Rc<RefCell<Inode>>;

#[derive(Debug, Default)]
pub(crate) struct Inode(Data);

#[derive(Debug)]
struct State {
    files: BTreeMap<String, File>,
    random: Random,
    /// Bytes that may still be allocated.
    room: u64,
    faults: Faults,
    dead: bool,
}

/// What is to go wrong, by the number of calls until then.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) crash_in: Option<usize>,
    pub(crate) sync_fails_in: Option<usize>,
    pub(crate) write_strays_in: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Disk(Rc<RefCell<State>>);

/// Counts down; whether it is time.
fn now(countdown: &mut Option<usize>) -> bool {
    let Some(left) = countdown else { return false };
    let is_now = *left == 0;
    *countdown = left.checked_sub(1);
    is_now
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let (random, faults) = (Random(seed), Faults::default());
        let state = State { files: BTreeMap::new(), random, room: u64::MAX, faults, dead: false };
        Self(Rc::new(RefCell::new(state)))
    }

    pub(crate) fn plan(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    pub(crate) fn set_room(&self, bytes: u64) {
        self.0.borrow_mut().room = bytes;
    }

    /// The process is started again; the system went on.
    pub(crate) fn restart(&self) {
        let mut state = self.0.borrow_mut();
        (state.dead, state.faults) = (false, Faults::default());
    }

    /// The power fails: of each sector that was not flushed the old or the new bytes are there, or some of both, or,
    /// where `garbage` says so, neither, also of what shared the sector.
    pub(crate) fn cut_power(&self, garbage: bool) {
        let state = &mut *self.0.borrow_mut();
        let random = &mut state.random;
        for file in state.files.values() {
            let data = &mut file.borrow_mut().0;
            // Sometimes all is kept or all is lost.
            let luck = random.below(4);
            for (start, bytes) in std::mem::take(&mut data.pending) {
                let mut done = 0;
                while done < bytes.len() {
                    let at = start + done;
                    let length = (SECTOR - at % SECTOR).min(bytes.len() - done);
                    let part = &bytes[done..done + length];
                    let torn = random.below(length + 1);
                    match if luck < 2 { luck } else { random.below(5) } {
                        0 => {}
                        2 => data.kept[at..at + torn].copy_from_slice(&part[..torn]),
                        3 => data.kept[at + torn..at + length].copy_from_slice(&part[torn..]),
                        4 if garbage => {
                            let sector =
                                at / SECTOR * SECTOR..(at / SECTOR * SECTOR + SECTOR).min(data.kept.len());
                            let noise = random.bytes(sector.len());
                            data.kept[sector].copy_from_slice(&noise);
                        }
                        _ => data.kept[at..at + length].copy_from_slice(part),
                    }
                    done += length;
                }
            }
            data.seen.clone_from(&data.kept);
        }
    }

    /// Bytes change on the disk, of files that are no spare: some bits of a sector, or all of it, or a file's end.
    pub(crate) fn decay(&self) -> String {
        let state = &mut *self.0.borrow_mut();
        let random = &mut state.random;
        let names: Vec<_> = state.files.keys().filter(|name| name.ends_with(".segment")).cloned().collect();
        let name = names[random.below(names.len())].clone();
        let data = &mut state.files[&name].borrow_mut().0;
        let used = data.kept.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        // Half of the time at the end of what is used.
        let near = used.saturating_sub(1 + random.below(200));
        let at = if random.one_in(2) { near } else { random.below(used) };
        let sector = at / SECTOR * SECTOR..(at / SECTOR * SECTOR + SECTOR).min(data.kept.len());
        let kind = random.below(8);
        match kind {
            0 => data.kept[sector].fill(0),
            1 => {
                let noise = random.bytes(sector.len());
                data.kept[sector].copy_from_slice(&noise);
            }
            2 => data.kept.truncate(at),
            _ => {
                for _ in 0..=random.below(3) {
                    let byte = at.min(data.kept.len() - 1).saturating_sub(random.below(64));
                    data.kept[byte] ^= 1 << random.below(8);
                }
            }
        }
        data.pending.clear();
        data.seen.clone_from(&data.kept);
        format!("{name} at {at}, kind {kind}")
    }

    fn tick(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.dead || now(&mut state.faults.crash_in) {
            state.dead = true;
            return Err(io::Error::other("the machine is gone"));
        }
        Ok(())
    }

    fn get(&self, name: &str) -> io::Result<File> {
        self.0.borrow().files.get(name).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// Where a write of `length` bytes lands that strays: not on the other copy of the same commit, which would be two
/// faults.
fn elsewhere(random: &mut Random, data: &Data, offset: usize, length: usize) -> usize {
    let taken = |place: &Range<usize>| {
        let meets = |start: usize, length: usize| start < place.end && place.start < start + length;
        meets(offset, length) || meets(data.last.start, data.last.len())
    };
    let places = (data.seen.len() - length) / SECTOR + 1;
    let mut tried = (0..100).map(|_| random.below(places) * SECTOR);
    // A long write may have no other place.
    tried.find(|at| !taken(&(*at..at + length))).unwrap_or(offset)
}

impl Storage for Disk {
    type File = File;

    fn names(&self) -> io::Result<Vec<String>> {
        self.tick()?;
        Ok(self.0.borrow().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        self.tick()?;
        self.get(name)
    }

    fn allocate(&self, name: &str, length: u64) -> io::Result<()> {
        self.tick()?;
        let mut state = self.0.borrow_mut();
        state.room = state.room.checked_sub(length).ok_or(ErrorKind::StorageFull)?;
        let zeros = vec![0; length as usize];
        let data = Data { seen: zeros.clone(), kept: zeros, ..Data::default() };
        state.files.insert(name.to_owned(), Rc::new(RefCell::new(Inode(data))));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.tick()?;
        let mut state = self.0.borrow_mut();
        let file = state.files.remove(from).ok_or(ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.tick()?;
        let mut state = self.0.borrow_mut();
        let file = state.files.remove(name).ok_or(ErrorKind::NotFound)?;
        state.room = state.room.saturating_add(file.borrow().0.seen.len() as u64);
        Ok(())
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        Ok(file.borrow().0.seen.len() as u64)
    }

    fn read(&self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.tick()?;
        let data = &file.borrow().0;
        let bytes = data.seen.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let dies = self.tick();
        let mut state = self.0.borrow_mut();
        let data = &mut file.borrow_mut().0;
        let mut at = offset as usize;
        if std::env::var("SEED").is_ok() {
            println!("write {offset} {}", bytes.len());
        }
        if now(&mut state.faults.write_strays_in) {
            at = elsewhere(&mut state.random, data, at, bytes.len());
        }
        if !state.dead || (dies.is_err() && state.faults.crash_in.is_none()) {
            data.seen[at..at + bytes.len()].copy_from_slice(bytes);
            data.pending.push((at, bytes.to_vec()));
            data.last = at..at + bytes.len();
        }
        dies
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.tick()?;
        let mut state = self.0.borrow_mut();
        let data = &mut file.borrow_mut().0;
        let fails = now(&mut state.faults.sync_fails_in);
        for (at, bytes) in std::mem::take(&mut data.pending) {
            // What could not be written is forgotten, and still seen by whoever reads it from memory.
            if !fails || state.random.one_in(3) {
                data.kept[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        if fails { Err(io::Error::other("the disk did not take it")) } else { Ok(()) }
    }
}
