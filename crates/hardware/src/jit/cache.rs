//! The kernels that exist: bounded in number and in bytes, shared by all threads, found without a lock when hot.
//!
//! Each thread keeps a direct-mapped front of the kernels that it used last; behind it stands one locked map from which
//! the least recently used kernel goes when a bound is reached. A kernel lives as long as anybody holds it, so code
//! that runs is never unmapped. It never generates the same kernel twice at the same time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::{Isa, KernelKey, Request};
use super::{Kernel, Program};

/// How much a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Kernels, at least 1.
    pub kernels: usize,
    /// Bytes of code, counted in the pages of 4 KiB that hold it.
    pub bytes: usize,
}

impl Default for Limits {
    /// 1,024 kernels, 16 MiB.
    fn default() -> Self {
        Self { kernels: 1024, bytes: 16 << 20 }
    }
}

/// What a cache did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStatistics {
    /// Kernels found.
    pub hits: u64,
    /// Kernels not found.
    pub misses: u64,
    /// Kernels generated.
    pub generated: u64,
    /// Nanoseconds spent generating them.
    pub generation_ns: u64,
    /// Kernels thrown out to stay within the limits.
    pub evicted: u64,
    /// Kernels held now.
    pub kernels: usize,
    /// Bytes of code pages held now.
    pub bytes: usize,
}

const FRONT: usize = 64;

/// What was asked for and what runs it.
struct Slot {
    request: Request,
    program: Program,
    kernel: Arc<Kernel>,
}

/// The kernels that a thread used last, of one cache.
struct Front {
    cache: u64,
    slots: Box<[Option<Slot>; FRONT]>,
    hits: Arc<AtomicU64>,
}

thread_local! {
    static LAST_USED: RefCell<Option<Front>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Shelf {
    kernels: HashMap<KernelKey, Arc<Kernel>>,
    bytes: usize,
    counted: CacheStatistics,
    /// The hits of each thread that has a front; those of threads that ended are added to `counted`.
    fronts: Vec<Arc<AtomicU64>>,
}

/// A bounded cache of kernels.
pub(crate) struct Cache {
    id: u64,
    isa: Isa,
    limits: Limits,
    /// Goes up when a kernel is added, so that "recently used" is known without writing on every hit.
    epoch: AtomicU64,
    shelf: Mutex<Shelf>,
}

static CACHES: AtomicU64 = AtomicU64::new(1);

impl Cache {
    pub(crate) fn new(isa: Isa, limits: Limits) -> Self {
        let id = CACHES.fetch_add(1, Relaxed);
        Self { id, isa, limits, epoch: AtomicU64::new(1), shelf: Mutex::default() }
    }

    /// The instruction set of its kernels.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Calls `run` with the program of `request` and its kernel, generated if need be.
    ///
    /// # Errors
    /// One sentence, where the kernel cannot be generated.
    #[inline]
    pub(crate) fn with<R>(
        &self,
        request: &Request,
        run: impl FnOnce(&Program, &Kernel) -> R,
    ) -> Result<R, String> {
        let at = request.slot();
        LAST_USED.with_borrow_mut(|front| {
            if let Some(Front { cache, slots, hits }) = front
                && *cache == self.id
                && let Some(slot) = &slots[at]
                && slot.request.is(request)
            {
                // This thread alone writes its counter.
                hits.store(hits.load(Relaxed) + 1, Relaxed);
                self.touch(&slot.kernel);
                return Ok(run(&slot.program, &slot.kernel));
            }
            let slot = self.fill(front, at, request)?;
            Ok(run(&slot.program, &slot.kernel))
        })
    }

    /// Puts the kernel of `request` into the thread's front, which is emptied if it served another cache.
    #[cold]
    fn fill<'a>(
        &self,
        front: &'a mut Option<Front>,
        at: usize,
        request: &Request,
    ) -> Result<&'a mut Slot, String> {
        let program = Program::new(request, self.isa).map_err(|error| error.to_string())?;
        let kernel = self.find_or_generate(program.key())?;
        if front.as_ref().is_none_or(|front| front.cache != self.id) {
            *front = None;
            let hits = Arc::<AtomicU64>::default();
            self.lock().fronts.push(hits.clone());
            let slots = Box::new([const { None }; FRONT]);
            *front = Some(Front { cache: self.id, slots, hits });
        }
        let slots = &mut front.as_mut().expect("just made").slots;
        Ok(slots[at].insert(Slot { request: *request, program, kernel }))
    }

    fn touch(&self, kernel: &Kernel) {
        let epoch = self.epoch.load(Relaxed);
        if kernel.used.load(Relaxed) != epoch {
            kernel.used.store(epoch, Relaxed);
        }
    }

    #[cold]
    fn find_or_generate(&self, key: &KernelKey) -> Result<Arc<Kernel>, String> {
        // Held while generating: tens of microseconds, and no second thread makes the same kernel.
        let mut shelf = self.lock();
        if let Some(kernel) = shelf.kernels.get(key) {
            let kernel = kernel.clone();
            shelf.counted.hits += 1;
            self.touch(&kernel);
            return Ok(kernel);
        }
        shelf.counted.misses += 1;
        let started = std::time::Instant::now();
        let kernel = Arc::new(Kernel::generate(key)?);
        shelf.counted.generation_ns += u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        shelf.counted.generated += 1;
        while shelf.kernels.len() >= self.limits.kernels.max(1)
            || (shelf.bytes + kernel.page_bytes() > self.limits.bytes && !shelf.kernels.is_empty())
        {
            evict_the_oldest(&mut shelf);
        }
        self.epoch.fetch_add(1, Relaxed);
        self.touch(&kernel);
        shelf.bytes += kernel.page_bytes();
        shelf.kernels.insert(*key, kernel.clone());
        Ok(kernel)
    }

    pub(crate) fn statistics(&self) -> CacheStatistics {
        let mut shelf = self.lock();
        collect_ended(&mut shelf);
        let fronts: u64 = shelf.fronts.iter().map(|hits| hits.load(Relaxed)).sum();
        let (kernels, bytes) = (shelf.kernels.len(), shelf.bytes);
        CacheStatistics { hits: shelf.counted.hits + fronts, kernels, bytes, ..shelf.counted }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Every change leaves the shelf whole, so a panic elsewhere does not matter.
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.fronts.len() > 64 {
            collect_ended(&mut shelf);
        }
        shelf
    }
}

/// Adds up and forgets the counters of threads that ended: nobody else holds those.
fn collect_ended(shelf: &mut Shelf) {
    let mut ended = 0;
    shelf.fronts.retain(|hits| {
        let alive = Arc::strong_count(hits) > 1;
        if !alive {
            ended += hits.load(Relaxed);
        }
        alive
    });
    shelf.counted.hits += ended;
}

fn evict_the_oldest(shelf: &mut Shelf) {
    let oldest =
        shelf.kernels.values().min_by_key(|kernel| kernel.used.load(Relaxed)).map(|kernel| kernel.key);
    if let Some(kernel) = oldest.and_then(|key| shelf.kernels.remove(&key)) {
        shelf.bytes -= kernel.page_bytes();
        shelf.counted.evicted += 1;
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("limits", &self.limits).field("statistics", &self.statistics()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jit::key::GemmShape;
    use crate::jit::{Operands, detect};

    fn request(size: usize) -> Request {
        Request::new(GemmShape::row_major(size, size, size), 1.0_f64, 0.0)
    }

    fn product(cache: &Cache, size: usize) -> Vec<f64> {
        let a: Vec<f64> = (0..size * size).map(|at| (at % 7) as f64).collect();
        let mut c = vec![0.0; size * size];
        let at = Operands { a: a.as_ptr(), b: a.as_ptr(), c: c.as_mut_ptr() };
        // SAFETY: three square matrices without gaps, as the request says, on the detected instruction set.
        let run = |program: &Program, kernel: &Kernel| unsafe { program.run(kernel, at, &[1.0, 0.0]) };
        cache.with(&request(size), run).unwrap();
        c
    }

    fn expected(size: usize) -> Vec<f64> {
        let a = |i: usize, j: usize| ((i * size + j) % 7) as f64;
        let sum = |at: usize| (0..size).map(|p| a(at / size, p) * a(p, at % size)).sum();
        (0..size * size).map(sum).collect()
    }

    #[test]
    fn the_least_recently_used_kernel_goes_first() {
        let Ok(isa) = detect() else { return };
        let cache = Cache::new(isa, Limits { kernels: 3, bytes: 1 << 20 });
        for size in [2, 3, 4] {
            product(&cache, size);
        }
        product(&cache, 2);
        product(&cache, 5);
        let statistics = cache.statistics();
        assert_eq!((statistics.kernels, statistics.evicted, statistics.generated), (3, 1, 4));
        assert_eq!((statistics.hits, statistics.misses), (1, 4));
        // Not through this thread's front: what the shelf itself holds.
        let held = |size| cache.lock().kernels.contains_key(Program::new(&request(size), isa).unwrap().key());
        assert!(held(2) && !held(3) && held(4) && held(5));
    }

    #[test]
    fn bytes_are_bounded_and_one_kernel_always_fits() {
        let Ok(isa) = detect() else { return };
        let cache = Cache::new(isa, Limits { kernels: 100, bytes: 3 * 4096 });
        for size in 1..40 {
            assert_eq!(product(&cache, size), expected(size));
            let CacheStatistics { kernels, bytes, .. } = cache.statistics();
            assert!(bytes <= 3 * 4096 || kernels == 1, "{kernels} kernels in {bytes} bytes");
        }
    }

    #[test]
    fn threads_run_kernels_that_others_evict() {
        let Ok(isa) = detect() else { return };
        let cache = Cache::new(isa, Limits { kernels: 2, bytes: 1 << 20 });
        let work = |thread: usize| {
            for round in 0..200 {
                let size = 1 + (round * (thread + 3) + thread) % 11;
                assert_eq!(product(&cache, size), expected(size));
            }
        };
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
            for thread in threads {
                // Joined one by one, since a scope does not wait for the end of thread-local storage.
                thread.join().unwrap();
            }
        });
        let statistics = cache.statistics();
        assert_eq!(
            statistics.hits + statistics.misses,
            800,
            "every call is counted, also those of ended threads"
        );
        assert!(statistics.kernels <= 2 && statistics.evicted > 0);
        assert_eq!(cache.lock().fronts.len(), 0);
    }
}
