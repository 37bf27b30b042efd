//! How much of a client is put up with: so many messages a second, so many mistakes in a row.

use std::time::{Duration, Instant};

/// Client messages a second, on average.
const RATE: f64 = 50.0;
/// Messages that may come at once.
const BURST: f64 = 100.0;
/// So long without another, and what happened before is forgotten.
const QUIET: Duration = Duration::from_secs(60);

/// A token bucket over a client's messages.
#[derive(Debug)]
pub(crate) struct Rate {
    tokens: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, at: now }
    }

    /// Whether one more message is within the rate.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * RATE;
        (self.tokens, self.at) = ((self.tokens + gained).min(BURST), now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

/// How often something happened in a row.
#[derive(Debug, Default)]
pub(crate) struct Streak {
    times: u32,
    last: Option<Instant>,
}

impl Streak {
    /// It happened again; how often by now.
    pub(crate) fn again(&mut self, now: Instant) -> u32 {
        let forgotten = self.last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        self.times = if forgotten { 1 } else { self.times.saturating_add(1) };
        self.last = Some(now);
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_fifty_a_second() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        assert_eq!((0..200).filter(|_| rate.allows(start)).count(), 100);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..200).filter(|_| rate.allows(later)).count(), 50);
        let much_later = start + Duration::from_secs(3_600);
        assert_eq!((0..200).filter(|_| rate.allows(much_later)).count(), 100);
        assert!(!rate.allows(start), "a clock that goes back gains nothing");
    }

    #[test]
    fn a_quiet_minute_is_a_new_beginning() {
        let start = Instant::now();
        let mut streak = Streak::default();
        assert_eq!((streak.again(start), streak.again(start)), (1, 2));
        assert_eq!(streak.again(start + Duration::from_secs(59)), 3);
        assert_eq!(streak.again(start + Duration::from_secs(59) + QUIET), 1);
    }
}
