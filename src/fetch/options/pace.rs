//! How much at once, how patiently, how fast.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::fetch::breaker::BreakerPolicy;
use crate::fetch::retry::RetryPolicy;
use crate::fetch::{Downloader, Statuses};

/// How hard servers are pressed.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) jobs: usize,
    pub(crate) per_host: usize,
    /// The widths are searched for within these bounds.
    pub(crate) auto: bool,
    pub(crate) retry: RetryPolicy,
    pub(crate) breaker: BreakerPolicy,
    /// Requests to one host, in so much time.
    pub(crate) rate: Option<(u64, Duration)>,
    /// Bytes per second of all downloads together.
    pub(crate) speed_max: Option<NonZeroU64>,
    /// Bytes per second of each download.
    pub(crate) file_speed_max: Option<NonZeroU64>,
    /// Failed downloads after which the run is stopped.
    pub(crate) failures_max: Option<u64>,
    /// Bytes received after which nothing more is begun.
    pub(crate) quota: Option<NonZeroU64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            jobs: 16,
            per_host: usize::MAX,
            auto: false,
            retry: RetryPolicy::default(),
            breaker: BreakerPolicy::default(),
            rate: None,
            speed_max: None,
            file_speed_max: None,
            failures_max: None,
            quota: None,
        }
    }
}

impl Downloader {
    /// Requests under way at once. Default: 16; at least 1. Further URLs wait.
    ///
    /// A host that has not answered yet gets at most half of them, so that one that takes
    /// connections and says nothing does not hold all.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.settings.pace.jobs = jobs.max(1);
        self
    }

    /// Requests under way at once to one host and port. Default: no limit of its own; at
    /// least 1.
    ///
    /// A host that answers 429, 502, 503 or 504, times out or resets connections gets
    /// half as many from then on, and wins them back one by one with its answers.
    pub fn per_host(mut self, requests: usize) -> Self {
        self.settings.pace.per_host = requests.max(1);
        self
    }

    /// Searches for the number of requests at once, in all and per host, at which the most
    /// comes in; [`jobs`](Self::jobs) and [`per_host`](Self::per_host) are its bounds.
    /// Default: no, the bounds are used.
    ///
    /// It begins with 4 and doubles every 200 ms while that brings at least 8 % more; then
    /// it holds the width and tries one eighth more now and then. What a host complains
    /// about is cut as ever.
    pub fn auto(mut self, auto: bool) -> Self {
        self.settings.pace.auto = auto;
        self
    }

    /// Attempts after the first one, in a row and without progress. Default: 4.
    ///
    /// The same as [`tries`](Self::tries) of one more.
    pub fn retries(self, retries: u32) -> Self {
        self.tries(retries.saturating_add(1))
    }

    /// Attempts in a row without progress, the first one included. Default: 5; 0 is no
    /// limit.
    ///
    /// Beyond that, a host is worth a number of retries, whichever of its URLs they are for:
    /// 64 to begin with, one for each answer that brought something, four for each second;
    /// a retry waits for its turn up to 10 s, or is not made.
    ///
    /// And a host that fails 5 times in a row (or `tries` times, if that is more) with no
    /// answer or with 5xx is left alone for 1 s, then tried with a single request, and left
    /// alone twice as long each time that fails. After the third one, a host that did not
    /// answer is given up: its URLs fail without being asked for, except for one every
    /// 30 s. From one that does answer, each URL is asked for. With no limit on the tries,
    /// no host is given up.
    ///
    #[doc = include_str!("../retries.md")]
    pub fn tries(mut self, tries: u32) -> Self {
        self.settings.pace.retry.tries = if tries == 0 { u32::MAX } else { tries };
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

    /// How long a host that fails many times in a row is left alone: `first`, twice as long
    /// after each single request that fails then, up to `max`. Default: 1 s, up to 30 s.
    ///
    /// See [`tries`](Self::tries).
    pub fn breaker_pause(mut self, first: Duration, max: Duration) -> Self {
        self.settings.pace.breaker.open_first = first;
        self.settings.pace.breaker.open_max = max;
        self
    }

    /// How long after its first request a URL may begin another attempt. Default: no limit.
    pub fn retry_time_max(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.pace.retry.time_max = limit.into();
        self
    }

    /// Whether a refused connection is tried as often as others. Default: no, at most three
    /// times.
    pub fn retry_refused(mut self, retry: bool) -> Self {
        self.settings.pace.retry.refused = retry;
        self
    }

    /// Statuses that are tried again, or are not, whatever the table at
    /// [`tries`](Self::tries) says. Default: none.
    pub fn retry_on(mut self, statuses: Statuses) -> Self {
        self.settings.pace.retry.statuses = statuses;
        self
    }

    /// Requests to one host and port, evenly spread over so much `time`: 10 in one second
    /// is one every 100 ms. Default: no limit. Zero requests: no limit.
    pub fn rate(mut self, requests: u64, time: Duration) -> Self {
        self.settings.pace.rate = (requests > 0).then_some((requests, time));
        self
    }

    /// Bytes per second of all downloads together, shared evenly among them. Default: no
    /// limit; zero is none either.
    ///
    /// Kept within 50 ms; what comes beyond waits in the connections, so that the servers
    /// slow down.
    pub fn speed_max(mut self, bytes_per_second: u64) -> Self {
        self.settings.pace.speed_max = NonZeroU64::new(bytes_per_second);
        self
    }

    /// Bytes per second of each download. Default: no limit; zero is none either.
    pub fn file_speed_max(mut self, bytes_per_second: u64) -> Self {
        self.settings.pace.file_speed_max = NonZeroU64::new(bytes_per_second);
        self
    }

    /// Stops the run when so many downloads have failed. Default: never; at least 1.
    pub fn failures_max(mut self, failures: u64) -> Self {
        self.settings.pace.failures_max = Some(failures.max(1));
        self
    }

    /// Begins nothing more once so many bytes have been received; what is under way then
    /// goes on to its end, also in further attempts. Default: no limit; zero is none either.
    ///
    /// What had been read of the input ends without a request, and
    /// [`Report::is_over_quota`](super::super::Report::is_over_quota) tells.
    pub fn quota(mut self, bytes: u64) -> Self {
        self.settings.pace.quota = NonZeroU64::new(bytes);
        self
    }
}
