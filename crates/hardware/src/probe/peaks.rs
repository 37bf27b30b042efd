//! What this processor reaches at most, by measurement: arithmetic per type, reading per level of memory, and what a
//! thread costs. One thread, on whatever core it runs.
//!
//! The loops are written in assembly, because what a compiler schedules spills registers and shows half of the truth.
//! Everything is repeated: the best repeat is the peak, since noise only slows down, and the median beside it says how
//! noisy it was. Nothing is taken from a data sheet.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod threads;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::cache;
use super::topology::CpuCache;
use super::{Features, Machine};
use crate::element::ElementType;

pub use super::cache::{CacheError, ENV_FOLDER};

#[cfg(target_arch = "aarch64")]
use aarch64 as kernels;
#[cfg(target_arch = "x86_64")]
use x86 as kernels;

/// Raised when the file or what is measured changes: older files are then measured again.
const FORMAT: u32 = 1;
/// All of it together, about; each rate is still repeated [`REPEATS_MIN`] times.
const BUDGET: Duration = Duration::from_millis(1_500);
/// One repeat of a rate.
const REPEAT: Duration = Duration::from_millis(2);
/// Far more than any repeat needs: a clock that stands still does not keep us for ever.
const ROUNDS_MAX: u64 = 1 << 28;
const REPEATS: usize = 25;
const REPEATS_MIN: usize = 3;
/// The buffer that is to be in memory and not in a cache.
const MEMORY_MIN: u64 = 64 << 20;
const MEMORY_MAX: u64 = 512 << 20;
/// No machine of ours does or moves more in a second; a file that says so is damaged.
const SANE_MAX: f64 = 1e17;

/// A rate, from repeats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The best repeat: the peak.
    pub best: f64,
    /// The middle one: far below the best where the machine was busy.
    pub median: f64,
}

/// The instructions that a rate was reached with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instructions {
    /// AVX2 with FMA, 256 bits.
    Avx2,
    /// AVX-512, 512 bits.
    Avx512,
    /// AVX-512 VNNI, 512 bits.
    Avx512Vnni,
    /// NEON, 128 bits.
    Neon,
    /// NEON with 8-bit dot products, 128 bits.
    NeonDotProd,
}

/// How much arithmetic one core does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arithmetic {
    /// With which instructions.
    pub instructions: Instructions,
    /// On what.
    pub element: ElementType,
    /// Additions and multiplications a second.
    pub per_second: Rate,
}

/// Where data is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The first cache.
    L1,
    /// The second.
    L2,
    /// The third.
    L3,
    /// Memory itself.
    Memory,
}

/// How fast one core reads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// From where.
    pub level: Level,
    /// The buffer that was read again and again.
    pub buffer_bytes: u64,
    /// Bytes a second.
    pub per_second: Rate,
}

/// What was measured on a processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peaks {
    format: u32,
    /// The processor: [`cache::cpu_id`].
    pub cpu_id: String,
    /// When, in seconds since 1970.
    pub taken_at: u64,
    /// Arithmetic; empty on architectures that have no loop here.
    pub arithmetic: Vec<Arithmetic>,
    /// Reading, from the nearest; levels whose size is unknown are absent.
    pub bandwidth: Vec<Bandwidth>,
    /// Starting a thread that does nothing and waiting for its end, in nanoseconds; the median.
    pub thread_spawn_ns: f64,
    /// From waking a sleeping thread until it runs, in nanoseconds; half of the median there and back.
    pub thread_wake_ns: f64,
}

/// Where peaks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Read from the file of an earlier measurement.
    Cached,
    /// Measured now.
    Measured,
}

impl Peaks {
    /// The highest rate on elements of this type, in operations a second.
    #[must_use]
    pub fn arithmetic_of(&self, element: ElementType) -> Option<f64> {
        let of = self.arithmetic.iter().filter(|rate| rate.element == element);
        of.map(|rate| rate.per_second.best).max_by(f64::total_cmp)
    }

    /// The rate of reading from a level, in bytes a second.
    #[must_use]
    pub fn bandwidth_of(&self, level: Level) -> Option<f64> {
        self.bandwidth.iter().find(|rate| rate.level == level).map(|rate| rate.per_second.best)
    }

    /// What this could not have been written with.
    fn check(&self) -> Result<(), String> {
        let rates = self.arithmetic.iter().map(|rate| rate.per_second);
        let rates = rates.chain(self.bandwidth.iter().map(|rate| rate.per_second));
        let sane = |rate: Rate| {
            rate.median.is_finite() && rate.median > 0.0 && rate.median <= rate.best && rate.best <= SANE_MAX
        };
        if self.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", self.format));
        }
        if self.cpu_id != cache::cpu_id() {
            return Err(format!("it is of the processor {}", self.cpu_id));
        }
        if self.arithmetic.len() > 64 || self.bandwidth.len() > 64 || !rates.clone().all(sane) {
            return Err("a rate in it cannot be".to_owned());
        }
        let spans = [self.thread_spawn_ns, self.thread_wake_ns];
        if !spans.into_iter().all(|span| span.is_finite() && span > 0.0 && span < 1e12) {
            return Err("a time in it cannot be".to_owned());
        }
        Ok(())
    }
}

/// The file of this processor's peaks.
///
/// # Errors
/// There is no folder for it.
pub fn file() -> Result<PathBuf, CacheError> {
    Ok(cache::folder()?.join(format!("peaks-{}.json", cache::cpu_id())))
}

/// The peaks that were measured earlier, if any.
///
/// # Errors
/// There is no folder, or the file is damaged or of another version or processor.
pub fn load() -> Result<Option<Peaks>, CacheError> {
    load_from(file()?)
}

fn load_from(path: PathBuf) -> Result<Option<Peaks>, CacheError> {
    let Some(peaks) = cache::read_json::<Peaks>(&path)? else { return Ok(None) };
    peaks.check().map_err(|cause| CacheError::Corrupt { path, cause })?;
    Ok(Some(peaks))
}

/// Keeps peaks for later processes.
///
/// # Errors
/// The file cannot be written.
pub fn store(peaks: &Peaks) -> Result<(), CacheError> {
    cache::write_json_atomically(&file()?, peaks)
}

/// The peaks of earlier, or else measured now and kept. What went wrong with the file is said through `complain`, and
/// is no reason not to have peaks.
pub fn cached_or_measured(
    machine: &Machine,
    progress: impl FnMut(usize, usize),
    mut complain: impl FnMut(CacheError),
) -> (Peaks, Source) {
    match load() {
        Ok(Some(peaks)) => return (peaks, Source::Cached),
        Ok(None) => {}
        Err(error) => complain(error),
    }
    let peaks = measure(machine, progress);
    if let Err(error) = store(&peaks) {
        complain(error);
    }
    (peaks, Source::Measured)
}

/// Measures for about a second. `progress` hears how many of how many parts are done.
pub fn measure(machine: &Machine, mut progress: impl FnMut(usize, usize)) -> Peaks {
    let loops = kernels::arithmetic(&machine.features);
    let buffers = buffers(machine);
    let total = loops.len() + buffers.len() + 2;
    let mut done = 0;
    let mut step = || {
        progress(done, total);
        done += 1;
    };
    let share = BUDGET / u32::try_from(total).unwrap_or(u32::MAX);
    let mut arithmetic = Vec::new();
    for part in loops {
        step();
        let per_second = rate(share, part.operations, |rounds| (part.run)(rounds));
        arithmetic.push(Arithmetic { instructions: part.instructions, element: part.element, per_second });
    }
    let mut bandwidth = Vec::new();
    for (level, buffer_bytes) in buffers {
        step();
        if let Some(per_second) = read_rate(share, buffer_bytes, &machine.features) {
            bandwidth.push(Bandwidth { level, buffer_bytes, per_second });
        }
    }
    step();
    let thread_spawn_ns = threads::spawn_ns();
    step();
    let thread_wake_ns = threads::wake_ns();
    step();
    let taken_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let cpu_id = cache::cpu_id().to_owned();
    Peaks { format: FORMAT, cpu_id, taken_at, arithmetic, bandwidth, thread_spawn_ns, thread_wake_ns }
}

/// A loop of independent chains of one instruction.
struct Loop {
    instructions: Instructions,
    element: ElementType,
    /// Additions and multiplications in a round.
    operations: u64,
    /// Does so many rounds.
    run: fn(rounds: u64),
}

/// Half of each cache, which then is all in it and mostly not in the one before; at last what no cache holds.
fn buffers(machine: &Machine) -> Vec<(Level, u64)> {
    let mut buffers = Vec::new();
    let mut last = 0;
    for (number, level) in [(1, Level::L1), (2, Level::L2), (3, Level::L3)] {
        let Some(cache) = CpuCache::of_level(&machine.caches, number) else { continue };
        if cache.bytes / 2 > last && cache.bytes / 2 < MEMORY_MAX {
            buffers.push((level, cache.bytes / 2));
        }
        last = cache.bytes;
    }
    let wanted = (4 * last).clamp(MEMORY_MIN, MEMORY_MAX);
    let spare = machine.memory.available_bytes.or(machine.memory.total_bytes).unwrap_or(u64::MAX);
    let spare = spare.min(machine.memory.limit_bytes.unwrap_or(u64::MAX)) / 8;
    if wanted >= 2 * last && wanted <= spare {
        buffers.push((Level::Memory, wanted));
    }
    buffers
}

fn read_rate(share: Duration, bytes: u64, features: &Features) -> Option<Rate> {
    let words = usize::try_from(bytes / 8).ok()?;
    let read = kernels::reader(features);
    // Written once, so that every page is a page of its own and not the one of zeros.
    let buffer: Vec<u64> = (0..words as u64).collect();
    Some(rate(share, words as u64 / 64 * 512, |passes| {
        for _ in 0..passes {
            read(&buffer);
        }
    }))
}

/// Repeats `run` within `share`, each time with so many rounds that it takes [`REPEAT`], and turns times into rates.
#[allow(clippy::cast_precision_loss)]
fn rate(share: Duration, work: u64, mut run: impl FnMut(u64)) -> Rate {
    let start = Instant::now();
    let mut time = |rounds| {
        let start = Instant::now();
        run(rounds);
        start.elapsed()
    };
    // Doubling finds the number of rounds and warms everything up.
    let mut rounds = 1;
    while time(rounds) < REPEAT && rounds < ROUNDS_MAX {
        rounds *= 2;
    }
    let mut rates = Vec::with_capacity(REPEATS);
    while rates.len() < REPEATS_MIN || (rates.len() < REPEATS && start.elapsed() < share) {
        // A clock that stands still would make an infinite rate.
        let seconds = time(rounds).as_secs_f64().max(1e-9);
        rates.push(rounds as f64 * work as f64 / seconds);
    }
    rates.sort_by(f64::total_cmp);
    Rate { best: rates[rates.len() - 1], median: rates[(rates.len() - 1) / 2] }
}

/// Other architectures have no loops: their peaks are absent.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod kernels {
    use super::{Features, Loop};

    pub(super) fn arithmetic(_: &Features) -> Vec<Loop> {
        Vec::new()
    }

    /// The compiler's loop: a lower bound.
    pub(super) fn reader(_: &Features) -> fn(&[u64]) {
        |buffer| {
            std::hint::black_box(buffer.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peaks() -> Peaks {
        let per_second = Rate { best: 2e9, median: 1e9 };
        Peaks {
            format: FORMAT,
            cpu_id: cache::cpu_id().to_owned(),
            taken_at: 1,
            arithmetic: vec![Arithmetic {
                instructions: Instructions::Avx2,
                element: ElementType::F32,
                per_second,
            }],
            bandwidth: vec![Bandwidth { level: Level::L1, buffer_bytes: 1, per_second }],
            thread_spawn_ns: 1e4,
            thread_wake_ns: 1e3,
        }
    }

    #[test]
    fn only_what_could_have_been_measured_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("peaks.json");
        assert_eq!(load_from(path.clone()).unwrap(), None);
        cache::write_json_atomically(&path, &peaks()).unwrap();
        assert_eq!(load_from(path.clone()).unwrap(), Some(peaks()));
        type Damage = fn(&mut Peaks);
        let damages: [(&str, Damage); 6] = [
            ("its format is 9", |peaks| peaks.format = 9),
            ("of the processor z80", |peaks| peaks.cpu_id = "z80".into()),
            ("a rate", |peaks| peaks.arithmetic[0].per_second.best = 1e30),
            ("a rate", |peaks| peaks.bandwidth[0].per_second.median = -1.0),
            ("a rate", |peaks| peaks.bandwidth[0].per_second.median = 3e9),
            ("a time", |peaks| peaks.thread_wake_ns = 0.0),
        ];
        for (part, damage) in damages {
            let mut damaged = peaks();
            damage(&mut damaged);
            cache::write_json_atomically(&path, &damaged).unwrap();
            let error = load_from(path.clone()).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
        std::fs::write(&path, r#"{"format":1,"extra":2}"#).unwrap();
        assert!(matches!(load_from(path), Err(CacheError::Corrupt { .. })));
    }

    #[test]
    fn what_is_measured_could_be_read_back() {
        let machine = Machine::detect();
        let mut heard = Vec::new();
        let measured = measure(&machine, |done, total| heard.push((done, total)));
        measured.check().unwrap();
        assert_eq!(heard.first().map(|step| step.0), Some(0));
        assert!(heard.last().is_some_and(|(done, total)| done == total), "{heard:?}");
        if machine.features.has("FMA") || machine.features.has("NEON") {
            assert!(measured.arithmetic_of(ElementType::F32).is_some());
            assert!(measured.arithmetic_of(ElementType::F64).is_some());
        }
        assert!(measured.bandwidth.iter().all(|rate| rate.buffer_bytes <= MEMORY_MAX));
    }

    #[test]
    fn buffers_grow_from_level_to_level() {
        let mut machine = Machine::detect();
        let cache = |level, bytes| CpuCache {
            level,
            kind: super::super::CacheKind::Unified,
            bytes,
            shared_by: 1,
            instances: 1,
            line_bytes: None,
        };
        machine.memory.available_bytes = Some(64 << 30);
        machine.memory.limit_bytes = None;
        for (caches, expected) in [
            (vec![], vec![(Level::Memory, MEMORY_MIN)]),
            (
                vec![cache(1, 32 << 10), cache(2, 1 << 20), cache(3, 32 << 20)],
                vec![
                    (Level::L1, 16 << 10),
                    (Level::L2, 512 << 10),
                    (Level::L3, 16 << 20),
                    (Level::Memory, 128 << 20),
                ],
            ),
            // A third cache that is as large as the second shows nothing of itself.
            (
                vec![cache(1, 64 << 10), cache(2, 2 << 20), cache(3, 2 << 20)],
                vec![(Level::L1, 32 << 10), (Level::L2, 1 << 20), (Level::Memory, MEMORY_MIN)],
            ),
            // What would not leave a cache of 480 MiB is not called memory.
            (vec![cache(3, 480 << 20)], vec![(Level::L3, 240 << 20)]),
        ] {
            machine.caches = caches;
            assert_eq!(buffers(&machine), expected);
        }
        machine.memory.limit_bytes = Some(64 << 20);
        machine.caches.clear();
        assert_eq!(buffers(&machine), [], "a small container is not filled up");
    }
}
