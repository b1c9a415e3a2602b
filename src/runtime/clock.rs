//! The monotonic clock as nanoseconds since the first look at it.
//!
//! Deadlines are compared, stored in atomics and ordered in the timer's map, so they are
//! plain numbers inside this floor. Wall-clock steps never move them.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// No time at all: later than every deadline (584 years).
pub(crate) const NEVER: u64 = u64::MAX;

/// Nanoseconds since the first call.
pub(crate) fn now() -> u64 {
    saturate(START.elapsed())
}

/// The number that stands for `instant`; an instant before the first call is 0.
pub(crate) fn from_instant(instant: Instant) -> u64 {
    saturate(instant.saturating_duration_since(*START))
}

/// The number that stands for `limit` from now; a limit too large to count never ends.
pub(crate) fn after(limit: Duration) -> u64 {
    now().saturating_add(saturate(limit))
}

/// How long until `at`; zero if it has passed.
pub(crate) fn until(at: u64) -> Duration {
    Duration::from_nanos(at.saturating_sub(now()))
}

fn saturate(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
