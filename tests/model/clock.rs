//! Time that passes when a model says so.

use std::time::{Duration, Instant};

use crate::util::sync::atomic::{AtomicU64, Ordering};
use crate::util::sync::global;

pub(crate) const NEVER: u64 = u64::MAX;

global! {
    static NOW: AtomicU64 = AtomicU64::new(0);
}

/// Read by a change, which sees the newest value: a clock never gives an old one.
pub(crate) fn now() -> u64 {
    NOW.fetch_add(0, Ordering::AcqRel)
}

/// Lets time pass until `at`.
pub(crate) fn pass_until(at: u64) {
    NOW.fetch_max(at, Ordering::AcqRel);
}

pub(crate) fn from_instant(_: Instant) -> u64 {
    unreachable!("models count their own time")
}

pub(crate) fn after(limit: Duration) -> u64 {
    now().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(NEVER))
}

pub(crate) fn until(at: u64) -> Duration {
    Duration::from_nanos(at.saturating_sub(now()))
}
