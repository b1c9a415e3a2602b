//! Whether and when to restart: a function of what happened and of the time, no clock.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a supervisor waits before it restarts a child.
///
/// The delay doubles with every failure in a row, up to a cap, and begins anew for a child
/// that has run long enough.
///
/// ```
/// use greenloop::sync::{Backoff, ChildSpec, Strategy, SupervisorSpec};
/// use std::time::Duration;
///
/// // 1 ms, 2 ms, 4 ms, 4 ms, … ; anew after a second without a failure.
/// let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(4))
///     .reset_after(Duration::from_secs(1));
/// let failing = ChildSpec::new("failing", || Err::<(), _>("no"));
/// let supervisor = SupervisorSpec::new(Strategy::OneForOne)
///     .backoff(backoff)
///     .child(failing)
///     .start();
/// let error = supervisor.wait().unwrap_err(); // three restarts were not enough
/// assert_eq!(error.failure(), Some("no"));
/// ```
///
/// gevent: none. Erlang/OTP restarts at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    reset: Duration,
}

impl Backoff {
    /// No delay.
    pub const NONE: Self = Self {
        first: Duration::ZERO,
        cap: Duration::ZERO,
        reset: Duration::ZERO,
    };

    /// `first` before the first restart, then twice as long each time, at most `cap`.
    ///
    /// A child that has run for `cap` is taken to be well again; see
    /// [`Backoff::reset_after`].
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            reset: cap,
        }
    }

    /// Begins anew for a child that has run for `reset`.
    #[must_use]
    pub const fn reset_after(mut self, reset: Duration) -> Self {
        self.reset = reset;
        self
    }

    /// The delay after so many failures in a row, from 1 on.
    fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// A child's failures in a row.
#[derive(Debug, Default)]
pub(super) struct Streak(u32);

impl Streak {
    /// Counts a failure after `up` of running, and says how long to wait.
    pub(super) fn fail(&mut self, backoff: &Backoff, up: Duration) -> Duration {
        self.0 = if up >= backoff.reset {
            1
        } else {
            self.0.saturating_add(1)
        };
        backoff.delay(self.0)
    }
}

/// At most so many restarts within so much time.
#[derive(Debug)]
pub(super) struct Intensity {
    max: usize,
    within: Duration,
    /// When the latest were, oldest first; `max` at most.
    times: VecDeque<Duration>,
}

impl Intensity {
    pub(super) const fn new(max: usize, within: Duration) -> Self {
        Self {
            max,
            within,
            times: VecDeque::new(),
        }
    }

    /// Counts a restart at `now`; false if it would be one too many.
    pub(super) fn allows(&mut self, now: Duration) -> bool {
        while self
            .times
            .front()
            .is_some_and(|then| now.saturating_sub(*then) >= self.within)
        {
            self.times.pop_front();
        }
        let allowed = self.times.len() < self.max;
        if allowed {
            self.times.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn delays_double_up_to_the_cap_and_begin_anew() {
        let backoff = Backoff::new(ms(10), ms(65)).reset_after(ms(100));
        // (how long it ran, the delay that follows)
        let table = [
            (0, 10),
            (0, 20),
            (99, 40),
            (1, 65),
            (0, 65),
            (100, 10),
            (5, 20),
            (u64::MAX, 10),
        ];
        let mut streak = Streak::default();
        for (row, (up, delay)) in table.into_iter().enumerate() {
            assert_eq!(streak.fail(&backoff, ms(up)), ms(delay), "row {row}");
        }
    }

    #[test]
    fn no_delay_and_endless_failures() {
        let mut streak = Streak(u32::MAX);
        assert_eq!(streak.fail(&Backoff::NONE, ms(0)), ms(0));
        let mut streak = Streak(u32::MAX);
        let backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(streak.fail(&backoff, ms(0)), Duration::MAX);
    }

    #[test]
    fn only_so_many_restarts_within_the_time() {
        // (now, allowed) with at most 2 within 100 ms
        let table = [
            (0, true),
            (50, true),
            (60, false),
            (99, false),
            // The one at 0 is out of sight.
            (100, true),
            (149, false),
            (150, true),
            (1000, true),
            (1000, true),
            (1000, false),
        ];
        let mut intensity = Intensity::new(2, ms(100));
        for (now, allowed) in table {
            assert_eq!(intensity.allows(ms(now)), allowed, "at {now}");
        }
        assert!(!Intensity::new(0, ms(100)).allows(ms(0)), "none at all");
    }
}
