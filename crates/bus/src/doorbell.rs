//! Wakes the one thread or task that waits on several sources at once.
//!
//! A ring is remembered until the next wait, so none is lost between "nothing there" and falling asleep. It
//! carries no data and does not say who rang.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

const QUIET: u32 = 0;
const RUNG: u32 = 1;
const ASLEEP: u32 = 2;
/// Looks at the bell before sleeping: some microseconds, less than a sleep and its wake-up cost. It never yields: on a
/// shared core that gives up the right to preempt whoever rings, and the wake-up then waits until the ringer rests.
const SPINS: u32 = 200;

/// A bell that many sources ring and one thread (or one task) waits for.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Doorbell {
    state: AtomicU32,
    bed: Mutex<()>,
    wake_thread: Condvar,
    wake_task: Notify,
}

impl Doorbell {
    /// A quiet bell.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Rings. Whatever was written before is seen by the waiter after it wakes.
    ///
    /// While the waiter is busy and has been rung for already this is a fence and a load.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        self.ring_after_fence();
    }

    /// Rings, where the caller has put a sequentially consistent fence between its data and this call.
    #[inline]
    pub(crate) fn ring_after_fence(&self) {
        if self.state.load(Ordering::Relaxed) != RUNG {
            self.ring_slow();
        }
    }

    #[cold]
    fn ring_slow(&self) {
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP {
            // The sleeper holds the lock from its decision until it sleeps: waiting for it here makes the
            // wake-up arrive after that.
            drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake_thread.notify_one();
            self.wake_task.notify_one();
        }
    }

    /// Returns when the bell was rung since the last wait, or after `timeout`. Spins briefly, then sleeps.
    ///
    /// Look at every source before waiting, and again after it returns.
    pub fn wait(&self, timeout: Duration) {
        if self.spin() {
            return;
        }
        let deadline = Instant::now() + timeout;
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.fall_asleep() {
            return;
        }
        while self.state.load(Ordering::SeqCst) == ASLEEP {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            bed = self.wake_thread.wait_timeout(bed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(bed);
        self.wake_up();
    }

    /// As [`Self::wait`], but looks at the bell for at least as long as `awake` before it sleeps.
    pub fn wait_awake(&self, timeout: Duration, awake: Duration) {
        let since = Instant::now();
        while since.elapsed() < awake {
            if self.spin() {
                return;
            }
        }
        self.wait(timeout);
    }

    /// As [`Self::wait`], for a task; it does not spin.
    pub(crate) async fn wait_async(&self, timeout: Duration) {
        if self.take_ring() || !self.fall_asleep() {
            return;
        }
        let awake = async {
            while self.state.load(Ordering::SeqCst) == ASLEEP {
                self.wake_task.notified().await;
            }
        };
        let _ = tokio::time::timeout(timeout, awake).await;
        self.wake_up();
    }

    /// Whether the bell was rung while looking at it for a moment.
    fn spin(&self) -> bool {
        for _ in 0..SPINS {
            if self.take_ring() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    fn take_ring(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNG && {
            self.wake_up();
            true
        }
    }

    /// False when a ring came first; it is used up then.
    fn fall_asleep(&self) -> bool {
        let asleep = self.state.compare_exchange(QUIET, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !asleep {
            self.wake_up();
        }
        asleep
    }

    fn wake_up(&self) {
        self.state.swap(QUIET, Ordering::SeqCst);
        // Pairs with the fence in `ring`: what was written before a ring used up here is seen from here on.
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn a_ring_before_the_wait_is_remembered_once() {
        let bell = Doorbell::new();
        bell.ring();
        bell.ring();
        let start = Instant::now();
        bell.wait(Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(30));
        let start = Instant::now();
        bell.wait(Duration::from_millis(30));
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn who_stays_awake_hears_a_ring_and_then_sleeps() {
        let bell = Doorbell::new();
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(20));
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(short);
                bell.ring();
            });
            bell.wait_awake(Duration::ZERO, long);
        });
        assert!((short..long / 2).contains(&start.elapsed()), "it was awake, and rung for");
        let start = Instant::now();
        bell.wait_awake(short, short);
        assert!(start.elapsed() >= 2 * short, "the ring was used up: it stays awake, then sleeps");
    }

    #[test]
    fn no_ring_is_lost_between_looking_and_sleeping() {
        let bell = Doorbell::new();
        let written = AtomicU64::new(0);
        let read = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for value in 1..=20_000 {
                    written.store(value, Ordering::Relaxed);
                    bell.ring();
                    while value % 4 == 0 && read.load(Ordering::Acquire) < value {
                        std::thread::yield_now();
                    }
                }
            });
            let start = Instant::now();
            while read.load(Ordering::Relaxed) < 20_000 {
                let seen = written.load(Ordering::Relaxed);
                if seen == read.load(Ordering::Relaxed) {
                    bell.wait(Duration::from_secs(60));
                    assert!(start.elapsed() < Duration::from_secs(50), "a ring was lost");
                } else {
                    read.store(seen, Ordering::Release);
                }
            }
        });
    }

    #[tokio::test]
    async fn a_task_is_woken_by_a_thread() {
        let bell = Doorbell::new();
        let start = Instant::now();
        let ringer = {
            let bell = Arc::clone(&bell);
            std::thread::spawn(move || bell.ring())
        };
        bell.wait_async(Duration::from_secs(60)).await;
        assert!(start.elapsed() < Duration::from_secs(30));
        ringer.join().expect("the ringer ends");
    }
}
