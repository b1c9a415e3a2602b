//! How often something may be done: a token bucket whose clock is an argument.

use std::time::{Duration, Instant};

/// Lets `burst` events through at once, and one more every `interval`.
///
/// # Examples
///
/// ```
/// use greenloop::proto::rate::TokenBucket;
/// use std::time::{Duration, Instant};
///
/// let mut bucket = TokenBucket::new(2, Duration::from_secs(1));
/// let now = Instant::now();
/// assert_eq!(bucket.take(now), Ok(()));
/// assert_eq!(bucket.take(now), Ok(()));
/// assert_eq!(bucket.take(now), Err(Duration::from_secs(1)));
/// assert_eq!(bucket.take(now + Duration::from_secs(1)), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct TokenBucket {
    interval: Duration,
    /// What a burst takes to be paid back, less its last event.
    credit: Duration,
    /// When all that was taken is paid back; `None` before the first event.
    paid_at: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket of `burst` (at least 1), refilled by one every `interval`.
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self {
            interval,
            credit: interval.saturating_mul(burst.saturating_sub(1)),
            paid_at: None,
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long it takes until there is one; nothing was taken then.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let paid_at = self.paid_at.map_or(now, |at| at.max(now));
        match (paid_at - now).checked_sub(self.credit) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.paid_at = Some(paid_at + self.interval);
                Ok(())
            }
        }
    }

    /// Takes `count` more that nobody asked for: what is done already, and turned out to be
    /// dear. They are paid back before the next one is to be had.
    pub fn charge(&mut self, now: Instant, count: u32) {
        let paid_at = self.paid_at.map_or(now, |at| at.max(now));
        self.paid_at = paid_at.checked_add(self.interval.saturating_mul(count));
    }
}

#[cfg(test)]
mod tests {
    use super::TokenBucket;
    use std::time::{Duration, Instant};

    #[test]
    fn burst_passes_then_one_an_interval() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut bucket = TokenBucket::new(3, ms(100));
        // When it is tried, and what comes.
        let table = [
            (0, Ok(())),
            (0, Ok(())),
            (10, Ok(())),
            (10, Err(ms(90))),
            (99, Err(ms(1))),
            (100, Ok(())),
            (100, Err(ms(100))),
            (199, Err(ms(1))),
            (250, Ok(())),
            // Never more than a burst is saved up.
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Err(ms(100))),
        ];
        for (at, expected) in table {
            assert_eq!(bucket.take(start + ms(at)), expected, "at {at} ms");
        }
    }

    #[test]
    fn what_is_charged_is_paid_back_first() {
        let ms = Duration::from_millis;
        let now = Instant::now();
        let mut bucket = TokenBucket::new(3, ms(100));
        assert_eq!(bucket.take(now), Ok(()));
        bucket.charge(now, 10);
        assert_eq!(bucket.take(now), Err(ms(900)));
        assert_eq!(bucket.take(now + ms(900)), Ok(()));
        bucket.charge(now + ms(900), 0);
        assert_eq!(bucket.take(now + ms(999)), Err(ms(1)));
    }

    #[test]
    fn clock_that_stands_still_or_goes_back_is_no_panic() {
        let now = Instant::now() + Duration::from_secs(1);
        let mut bucket = TokenBucket::new(0, Duration::from_secs(1));
        assert_eq!(bucket.take(now), Ok(()));
        let before = now - Duration::from_secs(1);
        assert_eq!(bucket.take(before), Err(Duration::from_secs(2)));
    }
}
