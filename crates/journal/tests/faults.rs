//! A journal on a disk that fails, seed by seed: no committed record is lost, altered or doubled without a word.
//! `NAUTILUS_SEEDS=100000` tries more of them.

mod faulty;

use std::collections::BTreeMap;

use faulty::{Disk, Faults, Random};
use nautilus_journal::{Error, Journal, Settings, prune, verify};

const SEEDS: u64 = 3_000;

type Records = Vec<(u64, Vec<u8>)>;

/// One journal over several lives.
struct World {
    disk: Disk,
    random: Random,
    segment_len: u64,
    /// Everything that was acknowledged, from record 1 on.
    acked: Records,
    /// What was appended behind it, and may be there or not, from its beginning on.
    tried: Records,
    /// The oldest record that is not pruned.
    first: u64,
    /// Bytes have changed on the disk, or were written elsewhere.
    decayed: bool,
    /// The last power cut may have torn what shared a sector with what was under way.
    tore: bool,
    log: Vec<String>,
    seen: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        Self {
            disk: Disk::new(random.next()),
            segment_len: 96 * 1024 + 8 * random.below(6_000) as u64,
            random,
            acked: Vec::new(),
            tried: Vec::new(),
            first: 1,
            decayed: false,
            tore: false,
            log: vec![format!("seed {seed}")],
            seen: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
        self.log.push(what.to_owned());
    }

    /// Opens the journal and holds it against what was acknowledged. None when it refused for a good reason.
    fn open(&mut self) -> Option<Journal<Disk>> {
        let known = self.acked.len() as u64;
        let from = if self.random.one_in(3) { known + 1 } else { self.first };
        let from = self.first + self.random.below((from - self.first) as usize + 1) as u64;
        let settings =
            Settings { owner: "toy".into(), segment_len: self.segment_len, salt: self.random.next() };
        let mut found: Records = self.acked[..from as usize - 1].to_vec();
        let mut next = from;
        let opened = Journal::open(self.disk.clone(), settings, from, |position, at, payload| {
            assert_eq!(position, next, "none is missing and none comes twice");
            next += 1;
            found.push((at, payload.to_vec()));
            Ok(())
        });
        match opened {
            Ok(journal) => {
                self.compare(&found, journal.committed());
                (self.acked, self.tried) = (found, Vec::new());
                Some(journal)
            }
            Err(Error::Damaged(damage)) => {
                assert!(self.decayed, "refused without damage: {damage}\n{:#?}", self.log);
                assert!(damage.position <= known + self.tried.len() as u64 + 1, "{damage}\n{:#?}", self.log);
                self.note("refused");
                None
            }
            Err(Error::Short { last, known }) => {
                panic!("silently cut to {last} of {known}\n{:#?}", self.log)
            }
            Err(error) => panic!("{error}\n{:#?}", self.log),
        }
    }

    fn compare(&mut self, found: &Records, committed: u64) {
        let known = self.acked.len();
        assert_eq!(found.len() as u64, committed);
        assert!(found.len() >= known, "{} of {known} are left\n{:#?}", found.len(), self.log);
        assert!(found[..known] == self.acked[..], "acknowledged records changed\n{:#?}", self.log);
        let more = &found[known..];
        assert!(
            self.tried.len() >= more.len() && more == &self.tried[..more.len()],
            "what was never appended is there\n{:#?}",
            self.log
        );
        if more.len() < self.tried.len() {
            self.note("cut");
        } else if !more.is_empty() {
            self.note("kept unacknowledged");
        }
    }

    /// Appends and commits until enough is done, or something fails.
    fn work(&mut self, journal: &mut Journal<Disk>) -> Result<(), Error> {
        for _ in 0..self.random.below(30) {
            let records = match self.random.below(8) {
                0 => 1 + self.random.below(200),
                1 | 2 => 1 + self.random.below(10),
                _ => 1,
            };
            for _ in 0..records {
                let longest = if self.random.one_in(40) { 25_000 } else { 300 };
                let length = self.random.below(longest);
                let (at, payload) = (self.random.next(), self.random.bytes(length));
                self.tried.push((at, payload.clone()));
                let position = journal.append(at, &payload)?;
                assert_eq!(position, (self.acked.len() + self.tried.len()) as u64);
            }
            journal.commit()?;
            self.acked.append(&mut self.tried);
            assert_eq!(journal.committed(), self.acked.len() as u64);
            if !journal.has_room() {
                self.note("no room");
            }
        }
        Ok(())
    }

    fn plan(&mut self) -> Faults {
        let mut faults = Faults::default();
        match self.random.below(6) {
            0 | 1 => faults.crash_in = Some(self.random.below(60)),
            2 => faults.sync_fails_in = Some(self.random.below(20)),
            3 if !self.decayed => faults.write_strays_in = Some(self.random.below(40)),
            _ => {}
        }
        faults
    }

    /// One life of the process and its end.
    fn live(&mut self) -> bool {
        // A crash may come while an open is under way, and in the next one as well.
        let nested = self.random.one_in(4).then(|| self.random.below(12));
        if let Some(crash_in) = nested {
            self.disk.plan(Faults { crash_in: Some(crash_in), ..Faults::default() });
            let settings = Settings { owner: "toy".into(), segment_len: self.segment_len, salt: 0 };
            if Journal::open(self.disk.clone(), settings, self.first, |_, _, _| Ok(())).is_err() {
                self.note("open failed");
            }
            self.end();
        }
        let Some(mut journal) = self.open() else { return false };
        let full = self.random.one_in(8);
        self.disk.set_room(if full { self.random.below(2) as u64 * self.segment_len } else { u64::MAX });
        let faults = self.plan();
        self.disk.plan(faults);
        if let Err(error) = self.work(&mut journal) {
            self.log.push(error.to_string());
            assert!(matches!(journal.append(0, b""), Err(Error::Dead)), "{error}");
            assert!(matches!(journal.commit(), Err(Error::Dead)), "{error}");
            self.note("failed");
        }
        self.decayed |= faults.write_strays_in.is_some();
        drop(journal);
        self.end();
        self.maintain();
        true
    }

    fn end(&mut self) {
        self.disk.set_room(u64::MAX);
        self.tore = false;
        if self.random.one_in(2) {
            self.note("power cut");
            self.tore = self.random.one_in(2);
            self.disk.cut_power(self.tore);
        }
        self.disk.restart();
    }

    /// What happens between two lives: segments are pruned, bytes decay.
    fn maintain(&mut self) {
        if self.random.one_in(4) {
            let covered = self.random.below(self.acked.len() + 1) as u64;
            let keep = self.random.below(3) as u64 * self.segment_len;
            prune(&self.disk, covered, keep).unwrap();
            let names = nautilus_journal::Storage::names(&self.disk).unwrap();
            let firsts = names.iter().filter_map(|name| name.strip_suffix(".segment")?.parse().ok());
            let first = firsts.min().unwrap();
            assert!(first <= self.first.max(covered + 1), "what no snapshot has is kept");
            if first > self.first {
                self.note("pruned");
            }
            self.first = first;
        }
        // Together with a torn sector it may be two faults that hit the newest commit and its mirror alike.
        if !self.decayed && !self.tore && self.random.one_in(4) {
            self.decayed = true;
            let what = self.disk.decay();
            self.log.push(what);
        }
    }

    /// In the end a reader of the whole finds everything, or the damage.
    fn verify(&mut self) {
        let mut found = self.acked[..self.first as usize - 1].to_vec();
        let report = verify(&self.disk, |_, at, payload| found.push((at, payload.to_vec()))).unwrap();
        assert_eq!(report.records, found.len() as u64 + 1 - self.first);
        match report.damage {
            Some(damage) => assert!(self.decayed, "{damage}\n{:#?}", self.log),
            None => self.compare(&found, found.len() as u64),
        }
    }
}

#[test]
fn nothing_that_was_committed_is_lost_altered_or_doubled_without_a_word() {
    let seeds = std::env::var("NAUTILUS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let mut seen = BTreeMap::<_, u64>::new();
    for seed in 0..seeds {
        let mut world = World::new(seed);
        let lives = 1 + world.random.below(6);
        let alive = (0..lives).all(|_| world.live());
        if alive {
            world.verify();
        }
        if world.decayed && alive {
            world.note("went on although bytes had changed");
        }
        world.seen.iter().for_each(|(what, count)| *seen.entry(*what).or_default() += count);
    }
    println!("{seeds} seeds: {seen:?}");
    for what in [
        "cut",
        "failed",
        "kept unacknowledged",
        "no room",
        "open failed",
        "power cut",
        "pruned",
        "refused",
        "went on although bytes had changed",
    ] {
        assert!(seen.get(what).is_some_and(|count| *count >= seeds / 100), "{what} is too rare: {seen:?}");
    }
}
