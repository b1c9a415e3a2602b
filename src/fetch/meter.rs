//! What a run has received, and how fast it may.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::failure::Failure;
use super::limit::Limiter;
use super::options::Pace;
use crate::runtime::deadline::Deadline;

/// Counts the bytes of a run, and holds back those who are too fast.
#[derive(Debug)]
pub(crate) struct Meter {
    received: AtomicU64,
    quota: Option<NonZeroU64>,
    all: Option<Limiter>,
    each: Option<NonZeroU64>,
}

/// The limit of one download, shared by all its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileLimit(Option<Arc<Limiter>>);

impl Meter {
    pub(crate) fn new(pace: &Pace) -> Self {
        Self {
            received: AtomicU64::new(0),
            quota: pace.quota,
            all: pace.speed_max.map(|speed| Limiter::new(speed.get())),
            each: pace.file_speed_max,
        }
    }

    /// The limit of a download that begins.
    pub(crate) fn file_limit(&self) -> FileLimit {
        FileLimit(self.each.map(|speed| Arc::new(Limiter::new(speed.get()))))
    }

    /// Counts `bytes` that have come; true for those that use the quota up.
    pub(crate) fn count(&self, bytes: u64) -> bool {
        let before = self.received.fetch_add(bytes, Ordering::Relaxed);
        self.quota.is_some_and(|quota| {
            before < quota.get() && before.saturating_add(bytes) >= quota.get()
        })
    }

    /// Waits while `bytes` that have come are ahead of the limits; returns for how long.
    ///
    /// # Switching
    /// May switch, if there is a limit.
    pub(crate) fn hold_back(
        &self,
        bytes: u64,
        file: &FileLimit,
        deadline: Deadline,
    ) -> Result<Duration, Failure> {
        let mut waited = Duration::ZERO;
        // The file's own first: who is slow there takes nobody's turn here.
        for limiter in [file.0.as_deref(), self.all.as_ref()].into_iter().flatten() {
            waited += limiter.pay(bytes, deadline)?;
        }
        Ok(waited)
    }
}
