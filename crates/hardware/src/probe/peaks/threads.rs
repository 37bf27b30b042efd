//! What a thread costs: to start and join one, to wake one that sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

const SPAWNS: usize = 51;
const WAKES: u32 = 301;

/// The median of starting a thread that does nothing and joining it.
pub(super) fn spawn_ns() -> f64 {
    let times = (0..SPAWNS).map(|_| {
        let start = Instant::now();
        // A system that refuses a thread refuses quickly; that is not worth a failure of everything else.
        if let Ok(thread) = std::thread::Builder::new().spawn(|| {}) {
            let _ = thread.join();
        }
        nanoseconds(start)
    });
    median(times.collect())
}

/// Half of the median of waking another thread and being woken by it.
pub(super) fn wake_ns() -> f64 {
    let turn = Arc::new(AtomicU32::new(0));
    let (here, theirs) = (std::thread::current(), Arc::clone(&turn));
    let echo = std::thread::Builder::new().spawn(move || {
        for round in 0..WAKES {
            wait_for(&theirs, 2 * round + 1);
            theirs.store(2 * round + 2, Ordering::Release);
            here.unpark();
        }
    });
    let Ok(echo) = echo else { return spawn_ns() };
    let times = (0..WAKES).map(|round| {
        let start = Instant::now();
        turn.store(2 * round + 1, Ordering::Release);
        echo.thread().unpark();
        wait_for(&turn, 2 * round + 2);
        nanoseconds(start) / 2.0
    });
    let median = median(times.collect());
    let _ = echo.join();
    median
}

fn wait_for(turn: &AtomicU32, value: u32) {
    while turn.load(Ordering::Acquire) != value {
        std::thread::park();
    }
}

#[allow(clippy::cast_precision_loss)]
fn nanoseconds(start: Instant) -> f64 {
    (start.elapsed().as_nanos() as f64).max(1.0)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
