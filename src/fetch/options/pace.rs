//! How much at once, how patiently, how fast.

use std::time::Duration;

use crate::fetch::Downloader;
use crate::fetch::retry::RetryPolicy;

/// How hard servers are pressed.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) jobs: usize,
    pub(crate) per_host: usize,
    pub(crate) retry: RetryPolicy,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            jobs: 16,
            per_host: usize::MAX,
            retry: RetryPolicy::default(),
        }
    }
}

impl Downloader {
    /// Requests under way at once. Default: 16; at least 1. Further URLs wait.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.settings.pace.jobs = jobs.max(1);
        self
    }

    /// Requests under way at once to one host and port. Default: no limit of its own; at
    /// least 1.
    pub fn per_host(mut self, requests: usize) -> Self {
        self.settings.pace.per_host = requests.max(1);
        self
    }

    /// Attempts after the first one, in a row and without progress. Default: 4. Pauses that
    /// a server asks for are not counted, up to a bound.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.pace.retry.tries = retries.saturating_add(1);
        self
    }

    /// The delay before the second attempt, doubled before each further one up to `max`;
    /// each is shortened by chance. Default: 500 ms, up to 30 s.
    pub fn retry_delay(mut self, first: Duration, max: Duration) -> Self {
        self.settings.pace.retry.delay_first = first;
        self.settings.pace.retry.delay_max = max;
        self
    }

    /// The longest pause that is granted to a server (`Retry-After`). Default: 60 s. A
    /// server that asks for more fails, and all its URLs with it.
    pub fn pause_max(mut self, pause: Duration) -> Self {
        self.settings.pace.retry.pause_max = pause;
        self
    }
}
