//! How often and how long to wait for an answer: a schedule, without a clock.

use std::time::Duration;

/// When something is sent again that was not answered, and when that ends.
///
/// Each wait is twice the one before, up to eight times the first. Whatever the peer says
/// that brings the transfer on begins the schedule anew.
///
/// # Examples
///
/// ```
/// use greenloop::proto::tftp::Retry;
/// use std::time::Duration;
///
/// let retry = Retry::new(Duration::from_secs(1), 5);
/// let waits: Vec<_> = retry.waits().map(|wait| wait.as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
/// assert_eq!(retry.patience(), Duration::from_secs(31));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    first: Duration,
    retries: u32,
    silence_max: Duration,
}

/// Of the first wait: a peer that has not answered for so long is not on its way to.
const GROWTH_MAX: u32 = 8;

impl Retry {
    /// Waits `first` for an answer at the first try, and tries `retries` times more.
    pub fn new(first: Duration, retries: u32) -> Self {
        Self {
            first,
            retries,
            silence_max: Duration::MAX,
        }
    }

    /// Ends when the peer was silent for so long, if there were not enough tries before.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::proto::tftp::Retry;
    /// use std::time::Duration;
    ///
    /// let retry = Retry::new(Duration::from_secs(4), 5).within(Duration::from_secs(30));
    /// assert_eq!(retry.patience(), Duration::from_secs(30)); // 4, 8, 16, and what is left
    /// ```
    #[must_use]
    pub fn within(self, silence_max: Duration) -> Self {
        Self {
            silence_max,
            ..self
        }
    }

    /// The same with another first wait (what the `timeout` option says).
    #[must_use]
    pub fn with_first(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// How long the first wait is.
    pub fn first(&self) -> Duration {
        self.first
    }

    /// The waits, from the first to the last.
    pub fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        let mut tries = Some(Tries::new(*self));
        std::iter::from_fn(move || {
            let now = tries.as_mut()?;
            let wait = now.wait();
            if !now.try_again() {
                tries = None;
            }
            Some(wait)
        })
    }

    /// How long a peer may be silent altogether.
    pub fn patience(&self) -> Duration {
        self.waits().fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// Where in a schedule somebody is.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    retry: Retry,
    /// Retries that were made since the peer was last heard, and how long that is.
    made: u32,
    waited: Duration,
    /// Fewer retries than usual, until the peer is heard.
    wary: Option<u32>,
}

impl Tries {
    pub(super) fn new(retry: Retry) -> Self {
        Self {
            retry,
            made: 0,
            waited: Duration::ZERO,
            wary: None,
        }
    }

    pub(super) fn limit_until_heard(&mut self, retries: u32) {
        self.wary = Some(retries);
    }

    /// How long to wait now.
    pub(super) fn wait(&self) -> Duration {
        let factor = 1u32.checked_shl(self.made).unwrap_or(GROWTH_MAX);
        let wait = self.retry.first.saturating_mul(factor.clamp(1, GROWTH_MAX));
        wait.min(self.retry.silence_max.saturating_sub(self.waited))
    }

    /// Notes that a wait was in vain; false if it was the last.
    pub(super) fn try_again(&mut self) -> bool {
        self.waited = self.waited.saturating_add(self.wait());
        self.made = self.made.saturating_add(1);
        let retries = self.wary.unwrap_or(u32::MAX).min(self.retry.retries);
        self.made <= retries && self.waited < self.retry.silence_max
    }

    /// The peer has brought the transfer on.
    pub(super) fn heard(&mut self) {
        self.made = 0;
        self.waited = Duration::ZERO;
        self.wary = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_limit_and_end() {
        let mut tries = Tries::new(Retry::new(Duration::from_millis(10), 4));
        let mut waits = vec![tries.wait().as_millis()];
        while tries.try_again() {
            waits.push(tries.wait().as_millis());
        }
        assert_eq!(waits, [10, 20, 40, 80, 80]);
        tries.heard();
        assert_eq!(tries.wait().as_millis(), 10);
    }

    #[test]
    fn a_peer_that_was_never_heard_gets_fewer_tries() {
        let count = |tries: &mut Tries| {
            let mut count = 1;
            while tries.try_again() {
                count += 1;
            }
            count
        };
        let mut tries = Tries::new(Retry::new(Duration::from_millis(10), 4));
        tries.limit_until_heard(1);
        assert_eq!(count(&mut tries), 2);
        tries.heard();
        assert_eq!(count(&mut tries), 5);
    }

    #[test]
    fn no_retries_and_endless_waits_are_schedules_too() {
        let once = Retry::new(Duration::from_secs(1), 0);
        assert_eq!(once.patience(), Duration::from_secs(1));
        assert!(!Tries::new(once).try_again());
        let endless = Retry::new(Duration::MAX, 100);
        assert_eq!(endless.patience(), Duration::MAX);
        assert_eq!(endless.waits().count(), 1, "the first has no end");
    }
}
