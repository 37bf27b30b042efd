//! The kernels that exist: bounded in number and in bytes, shared by all threads, found without a lock when hot.
//!
//! Each thread keeps a direct-mapped front of the kernels that it used last; behind it stands one locked map from which
//! the least recently used kernel goes when a bound is reached. A kernel lives as long as anybody holds it, so code
//! that runs is never unmapped. It never generates the same kernel twice at the same time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Kernel;
use super::key::KernelKey;

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

/// The kernels that a thread used last, of one cache.
struct Front {
    cache: u64,
    slots: Box<[Option<Arc<Kernel>>; FRONT]>,
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
    limits: Limits,
    /// Goes up when a kernel is added, so that "recently used" is known without writing on every hit.
    epoch: AtomicU64,
    shelf: Mutex<Shelf>,
}

static CACHES: AtomicU64 = AtomicU64::new(1);

impl Cache {
    pub(crate) fn new(limits: Limits) -> Self {
        let id = CACHES.fetch_add(1, Relaxed);
        Self { id, limits, epoch: AtomicU64::new(1), shelf: Mutex::default() }
    }

    /// The kernel of `key`, generated if need be.
    ///
    /// # Errors
    /// One sentence, where it cannot be generated.
    pub(crate) fn get(&self, key: &KernelKey) -> Result<Arc<Kernel>, String> {
        self.with(key, Arc::clone)
    }

    /// Calls `use_it` with the kernel of `key`.
    ///
    /// # Errors
    /// One sentence, where the kernel cannot be generated.
    #[inline]
    pub(crate) fn with<R>(
        &self,
        key: &KernelKey,
        use_it: impl FnOnce(&Arc<Kernel>) -> R,
    ) -> Result<R, String> {
        let slot = usize::try_from(key.hash() >> 58).unwrap_or(0) % FRONT;
        LAST_USED.with_borrow_mut(|front| {
            if let Some(Front { cache, slots, hits }) = front
                && *cache == self.id
                && let Some(kernel) = &slots[slot]
                && kernel.key == *key
            {
                // This thread alone writes its counter.
                hits.store(hits.load(Relaxed) + 1, Relaxed);
                self.touch(kernel);
                return Ok(use_it(kernel));
            }
            let kernel = self.find_or_generate(key)?;
            let front = self.own(front);
            Ok(use_it(front.slots[slot].insert(kernel)))
        })
    }

    fn touch(&self, kernel: &Kernel) {
        let epoch = self.epoch.load(Relaxed);
        if kernel.used.load(Relaxed) != epoch {
            kernel.used.store(epoch, Relaxed);
        }
    }

    /// The thread's front, emptied if it served another cache.
    #[cold]
    fn own<'a>(&self, front: &'a mut Option<Front>) -> &'a mut Front {
        if front.as_ref().is_none_or(|front| front.cache != self.id) {
            let hits = Arc::<AtomicU64>::default();
            self.lock().fronts.push(hits.clone());
            *front = Some(Front { cache: self.id, slots: Box::new([const { None }; FRONT]), hits });
        }
        front.as_mut().expect("just made")
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
