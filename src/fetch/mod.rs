//! The batch downloader: a greenlet per URL, on one HTTP client.
//!
//! ```text
//!   input ──► plan ──► run ──► greenlet per URL (worker) ──► client ──► reactor (sockets)
//!  (lines)  (entries)   │            │  retry, resume, hosts
//!                       │            └──► sink ──► NAME.part ──► NAME
//!                       └──► events, outcomes, report
//! ```
//!
//! Promises:
//! - a file under its final name is whole: its length was checked where the server says
//!   one, and it was written as `NAME.part` and renamed;
//! - two versions of a file are never joined: what is kept of an earlier attempt or run is
//!   checked against the version that the server has now;
//! - names stay in the folder, and what is there already is not overwritten unasked;
//! - headers and passwords meant for one host are not sent to another.
//!
//! Bodies are stored as they are sent: no encoding is asked for, and one that comes anyway
//! is not undone.
//!
//! Printing does not belong here: see [`Observer`] for progress and [`Report`] for the end.

mod client;
mod failure;
mod folder;
mod hosts;
mod name;
mod plan;
mod reactor;
mod report;
mod resume;
mod retry;
mod run;
mod sink;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::client::ClientConfigParts;
use self::retry::RetryPolicy;
use self::run::Run;
use crate::error::{Error, Result};
use crate::fs::name::safe;

pub use self::failure::{Failure, FailureKind};
pub use self::plan::{Entry, LINE_BYTES_MAX, UrlList};
pub use self::report::{End, Event, Observer, Outcome, Report};
pub use self::run::Stop;
/// The URL type that [`Entry`] is made from.
pub use reqwest::Url;

/// What to do where a file of the name is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Save beside it, under the next free number: `photo.1.jpg`.
    #[default]
    Number,
    /// Replace it, when the new one is whole. Two URLs of one run never replace each
    /// other: the second is numbered.
    Overwrite,
    /// Leave it alone and count the URL as done. Nothing is asked of the server if the
    /// URL alone tells the name.
    Skip,
}

/// What a run goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    dir: PathBuf,
    discard: bool,
    out_name: Option<String>,
    existing: Existing,
    jobs: usize,
    per_host: usize,
    retry: RetryPolicy,
    idle_timeout: Duration,
    total_timeout: Option<Duration>,
    /// Bytes per second, and for how long fewer are put up with.
    speed_min: (u64, Duration),
    sync: bool,
    keep_outcomes: bool,
    seed: u64,
    client: ClientConfigParts,
}

fn is_discarding(settings: &Settings) -> bool {
    settings.discard
}

/// Downloads many URLs at once.
///
/// # Examples
///
/// ```no_run
/// use greenloop::fetch::{Downloader, Event};
///
/// let report = Downloader::new()
///     .dir("downloads")
///     .jobs(64)
///     .observer(|id: u64, event: &Event<'_>| {
///         if let Event::Failed(outcome) = event {
///             log::warn!("{id}: {}: {:?}", outcome.url, outcome.failure());
///         }
///     })
///     .run(["https://example.org/a.bin", "https://example.org/b.bin"])?;
/// assert!(report.is_success());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: a `Pool` whose greenlets call `requests.get`, written out by hand.
#[derive(Clone)]
#[must_use]
pub struct Downloader {
    settings: Settings,
    observer: Option<Arc<dyn Observer>>,
    stop: Stop,
}

impl Default for Downloader {
    fn default() -> Self {
        Self::new()
    }
}

impl Downloader {
    /// A downloader into the current folder, with the defaults named at each option.
    pub fn new() -> Self {
        let client = ClientConfigParts {
            user_agent: concat!("greenloop/", env!("CARGO_PKG_VERSION")).to_owned(),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            idle_connections: 0,
            ca_file: None,
        };
        Self {
            settings: Settings {
                dir: PathBuf::from("."),
                discard: false,
                out_name: None,
                existing: Existing::default(),
                jobs: 16,
                per_host: usize::MAX,
                retry: RetryPolicy::default(),
                idle_timeout: Duration::from_secs(30),
                total_timeout: None,
                speed_min: (1024, Duration::from_secs(60)),
                sync: true,
                keep_outcomes: true,
                seed: u64::from(std::process::id()),
                client,
            },
            observer: None,
            stop: Stop::default(),
        }
    }

    /// The folder to save to; created if need be. Default: the current one.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.dir = dir.into();
        self
    }

    /// Saves nothing: bodies are read, counted and dropped.
    pub fn discard(mut self) -> Self {
        self.settings.discard = true;
        self
    }

    /// The name to save under, instead of the server's or the URL's. Made safe as those
    /// are; with several URLs the others are numbered.
    pub fn out_name(mut self, name: &str) -> Self {
        self.settings.out_name = Some(safe(name).unwrap_or_else(|| "_".to_owned()));
        self
    }

    /// What to do where a file of the name is there. Default: [`Existing::Number`].
    pub fn existing(mut self, existing: Existing) -> Self {
        self.settings.existing = existing;
        self
    }

    /// Requests under way at once. Default: 16; at least 1. Further URLs wait.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.settings.jobs = jobs.max(1);
        self
    }

    /// Requests under way at once to one host and port. Default: no limit of its own; at
    /// least 1.
    pub fn per_host(mut self, requests: usize) -> Self {
        self.settings.per_host = requests.max(1);
        self
    }

    /// Attempts after the first one, in a row and without progress. Default: 4. Pauses that
    /// a server asks for are not counted, up to a bound.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retry.tries = retries.saturating_add(1);
        self
    }

    /// The delay before the second attempt, doubled before each further one up to `max`;
    /// each is shortened by chance. Default: 500 ms, up to 30 s.
    pub fn retry_delay(mut self, first: Duration, max: Duration) -> Self {
        self.settings.retry.delay_first = first;
        self.settings.retry.delay_max = max;
        self
    }

    /// The longest pause that is granted to a server (`Retry-After`). Default: 60 s. A
    /// server that asks for more fails, and all its URLs with it.
    pub fn pause_max(mut self, pause: Duration) -> Self {
        self.settings.retry.pause_max = pause;
        self
    }

    /// The limit on name resolution, connection and TLS together. Default: 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.client.connect_timeout = limit;
        self
    }

    /// The limit on the head of an answer, once connected. Default: 30 s.
    pub fn head_timeout(mut self, limit: Duration) -> Self {
        self.settings.client.head_timeout = limit;
        self
    }

    /// The limit on a body that brings nothing at all. Default: 30 s.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.idle_timeout = limit;
        self
    }

    /// The limit on one URL, from its first request to its end, pauses included. Default:
    /// none.
    pub fn total_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.total_timeout = limit.into();
        self
    }

    /// The lowest speed, in bytes per second over `window`; a slower attempt fails.
    /// Default: 1024 over 60 s. Zero bytes: no limit.
    pub fn speed_min(mut self, bytes_per_second: u64, window: Duration) -> Self {
        self.settings.speed_min = (bytes_per_second, window);
        self
    }

    /// The `User-Agent` field. Default: `greenloop/VERSION`.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.settings.client.user_agent = text.into();
        self
    }

    /// Adds a header field to the requests. A redirect to another host does not get it.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings
            .client
            .headers
            .push((name.into(), value.into()));
        self
    }

    /// A PEM file with certificate authorities to trust besides Mozilla's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.client.ca_file = Some(path.into());
        self
    }

    /// Whether a file is flushed to the disk before it gets its name. Default: yes.
    ///
    /// Without, a power failure can leave an empty file under a final name; a crash or
    /// kill of the program cannot. Many small files are several times as fast without.
    pub fn sync(mut self, sync: bool) -> Self {
        self.settings.sync = sync;
        self
    }

    /// Whether [`Report::outcomes`] lists every URL. Default: yes. Without, the memory of a
    /// run does not grow with the length of its input, save for 16 bytes per URL.
    pub fn keep_outcomes(mut self, keep: bool) -> Self {
        self.settings.keep_outcomes = keep;
        self
    }

    /// Who sees the events. Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// What stops its runs early.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Downloads every URL of the input, each once, and waits for all.
    ///
    /// The input is read as slots free up, so it may be endless; its `next` is called here,
    /// and a source that blocks its thread is best read on a thread of its own, or with
    /// `run` called from a plain thread. A URL that fails is an [`Outcome`] like any
    /// other. If the caller is killed or times out, the run is stopped and reported.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Nothing was downloaded: the folder cannot be made or written to, an option is not
    /// valid, or the reactor cannot be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::{Downloader, FailureKind};
    ///
    /// let report = Downloader::new().discard().run(["no url at all"])?;
    /// assert_eq!(report.failures[&FailureKind::BadUrl], 1);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn run<I>(&self, urls: I) -> Result<Report>
    where
        I: IntoIterator,
        I::Item: Into<Entry>,
    {
        let mut settings = self.settings.clone();
        settings.per_host = settings.per_host.min(settings.jobs);
        settings.client.idle_connections = settings.jobs;
        let run = Run::new(settings, self.stop.clone(), self.observer.clone())
            .map_err(|e: Error| e.context("starting the downloads"))?;
        Ok(run.take(urls.into_iter().map(Into::into)))
    }
}

impl fmt::Debug for Downloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downloader")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
