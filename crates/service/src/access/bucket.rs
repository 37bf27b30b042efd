//! A token bucket: so many a second on average, so many at once.
//!
//! It reads no clock.

use std::time::{Duration, Instant};

/// How long a full allowance may be saved up.
const BURST_SECONDS: f64 = 10.0;

/// A bucket that starts full.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    capacity: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn per_minute(rate: u32, now: Instant) -> Self {
        let per_second = f64::from(rate) / 60.0;
        let capacity = (per_second * BURST_SECONDS).max(1.0);
        Self { per_second, capacity, tokens: capacity, filled: now }
    }

    /// Takes one, or says how long until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.capacity);
        self.filled = self.filled.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::per_minute(60, start);
        let taken = (0..100).filter(|_| bucket.take(start).is_ok()).count();
        assert_eq!(taken, 10);
        assert_eq!(bucket.take(start), Err(Duration::from_secs(1)));
        let later = start + Duration::from_secs(3);
        assert_eq!((0..100).filter(|_| bucket.take(later).is_ok()).count(), 3);
        // However long nobody came, no more than a burst is saved up; a clock that steps back gives nothing.
        let much_later = later + Duration::from_secs(100_000);
        assert_eq!((0..100).filter(|_| bucket.take(much_later).is_ok()).count(), 10);
        assert!(bucket.take(start).is_err());
        let mut rare = Bucket::per_minute(1, start);
        assert!(rare.take(start).is_ok() && rare.take(start) == Err(Duration::from_secs(60)));
    }
}
