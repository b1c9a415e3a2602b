//! The batch downloader: a greenlet per URL, on one HTTP client.
//!
//! ```text
//!   input ──► run ──► greenlet per URL ──► worker ──► client ──► reactor (sockets)
//!  (entries)   │      (ticket, attempts)     │ └──► crew, for segments ──┘
//!              │                             ▼
//!              │                        part (memory or NAME.part) ──► commit ──► NAME
//!              └──► events, outcomes, report                              └──► journal
//! ```
//!
//! | question | files |
//! |---|---|
//! | what is to be fetched | `list/`, `glob`, `plan`, `entry`, `seen` |
//! | which run, which download | `run`, `flow`, `ticket`, `attempts`, `worker`, `stop`, `report`, `failure` |
//! | where it goes | `place`, `template`, `name`, `folders`, `folder`, `there`, `unchanged` |
//! | when, how fast, from which host | `slot`, `hosts`, `gate`, `width`, `auto`, `breaker`, `budget`, `retry`, `mirrors`, `limit`, `meter`, `speed`, `intake` |
//! | how it is asked | `client/`, `reactor`, `decode`, `statuses` |
//! | how bytes become a file | `part`, `part_file`, `facts`, `facts_file`, `resume`, `space`, `commit`, `journal` |
//! | how many fetch one file | `segments`, `crew`, `claims`, `ranges` |
//! | whether it is the right one | `check`, `verify`, `hasher`, `checksum`, `sums`, `listed`, `digests`, `expect`, `integrity` |
//!
//! `options/` has the settings of each question, with the methods that set them.
//!
//! Promises:
//! - a file under its final name is whole: its length was checked where the server says
//!   one, and it was written as `NAME.part` and renamed;
//! - two versions of a file are never joined: what is kept of an earlier attempt or run is
//!   checked against the version that the server has now;
//! - names stay in the folder, and what is there already is not overwritten unasked;
//! - headers and passwords meant for one host are not sent to another.
//!
//! Bodies are stored as they are sent, and no encoding is asked for, unless compressed
//! answers are accepted: those are undone on the way.
//!
//! Printing does not belong here: see [`Observer`] for progress and [`Report`] for the end.

mod attempts;
mod auto;
mod breaker;
mod budget;
mod check;
mod checksum;
mod claims;
mod client;
mod commit;
mod crew;
mod decode;
mod digests;
mod dry_run;
mod entry;
mod expect;
mod facts;
mod facts_file;
mod failure;
mod flow;
mod folder;
mod folders;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod glob;
mod hasher;
mod heard;
mod hosts;
mod intake;
mod integrity;
mod journal;
mod limit;
mod list;
mod listed;
mod meter;
mod mirrors;
mod name;
mod options;
mod part;
mod part_file;
mod place;
mod plan;
mod ranges;
mod reactor;
mod report;
mod resume;
mod retry;
mod run;
mod seen;
mod segments;
mod slot;
mod space;
mod speed;
mod statuses;
mod stop;
mod sums;
mod template;
mod there;
mod ticket;
mod unchanged;
mod verify;
mod width;
mod worker;

use std::fmt;
use std::sync::Arc;

use self::options::Settings;
use self::run::Run;
use self::stop::OnStop;
use crate::error::{Error, Result};

pub use self::checksum::{Algorithm, Checksum};
#[cfg(feature = "cli")]
pub(crate) use self::client::no_proxy_nonsense;
pub use self::entry::Entry;
pub use self::failure::{Failure, FailureKind};
pub use self::glob::{Expansion, Glob};
pub use self::integrity::{CheckReport, FileCheck};
pub use self::list::{LINE_BYTES_MAX, ListFormat, UrlList};
pub use self::options::{Existing, Flush, IpVersion, TlsVersion};
pub use self::report::{End, Event, Observer, Outcome, Report};
pub use self::statuses::Statuses;
pub use self::stop::Stop;
pub use self::template::NameTemplate;
/// The URL type that [`Entry`] is made from.
pub use reqwest::Url;

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
    /// In a box, because each option moves the downloader.
    settings: Box<Settings>,
    observer: Option<Arc<dyn Observer>>,
    stop: Stop,
    on_stop: Option<OnStop>,
}

impl Default for Downloader {
    fn default() -> Self {
        Self::new()
    }
}

impl Downloader {
    /// A downloader into the current folder, with the defaults named at each option.
    pub fn new() -> Self {
        Self {
            settings: Box::default(),
            observer: None,
            stop: Stop::default(),
            on_stop: None,
        }
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

    /// What is called when a run is stopped, by whomever: by its [`Stop`], by too many
    /// failures, by a full disk. An input that waits for more is ended there. Default:
    /// nothing.
    ///
    /// Called once a run, and must not wait.
    pub fn on_stop(mut self, ends: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_stop = Some(Arc::new(ends));
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
    /// Nothing was downloaded: the folder or the file for cookies cannot be made or written
    /// to, an option is not valid, or the reactor cannot be started. Unless it is the last,
    /// the error's [`source`](std::error::Error::source) is a [`Failure`], which tells the
    /// class.
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
        settings.verify.load()?;
        settings.network.idle_connections = settings.pace.jobs;
        let (on_stop, observer) = (self.on_stop.clone(), self.observer.clone());
        let run = Run::new(settings, &self.stop, on_stop, observer)
            .map_err(|e: Error| e.context("starting the downloads"))?;
        let mut report = run.take(urls.into_iter().map(Into::into));
        if !run.settings.disk.dry_run {
            report.cookies_failure = run.client.save().err();
        }
        Ok(report)
    }
}

impl fmt::Debug for Downloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downloader")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
