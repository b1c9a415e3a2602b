//! What a run tells: events while it goes on, an [`Outcome`] per URL, a [`Report`] at the
//! end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::checksum::{Algorithm, Checksum};
use super::entry::Entry;
use super::failure::{Failure, FailureKind};

/// What happens to one download.
///
/// For each: one [`Event::Started`] unless it fails before; then `Head`, `Progress` and
/// `Retrying` in turn; at last `Done` or `Failed`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Its first request is about to be sent.
    Started {
        /// The URL, without name and password.
        url: &'a str,
    },
    /// An answer with a file has begun.
    Head {
        /// The name of the file, safe to print; empty if nothing is saved.
        name: &'a str,
        /// Size of the whole file, if the server says it.
        total: Option<u64>,
        /// Bytes that are kept from earlier attempts; 0 if it starts over.
        kept: u64,
    },
    /// More bytes have come.
    Progress {
        /// Bytes there by now, kept ones included.
        bytes: u64,
    },
    /// An attempt failed, and there will be another one.
    Retrying {
        /// The pause before it.
        after: Duration,
        /// Why it failed.
        failure: &'a Failure,
    },
    /// The disk is full: the run waits for room.
    DiskFull {
        /// What could not be written.
        failure: &'a Failure,
        /// How long it waits at most.
        patience: Duration,
    },
    /// It has ended well: saved, or skipped because the file is there.
    Done(&'a Outcome),
    /// It has ended badly.
    Failed(&'a Outcome),
}

/// Sees the events of a run.
///
/// Called on the greenlets of the downloads, several at once: an observer must be quick
/// and must not wait, or it slows the download down. Closures of
/// `Fn(u64, &Event<'_>)` are observers.
pub trait Observer: Send + Sync {
    /// Takes one event of the download `id`, its place in the input from 1.
    fn event(&self, id: u64, event: &Event<'_>);
}

impl<F: Fn(u64, &Event<'_>) + Send + Sync> Observer for F {
    fn event(&self, id: u64, event: &Event<'_>) {
        self(id, event);
    }
}

/// How one download ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Its place in the input, from 1.
    pub id: u64,
    /// The name of the list it came from, as [`UrlList::name`](super::UrlList::name) has it.
    pub list: Option<Arc<str>>,
    /// The line of the list it came from, from 1.
    pub line: Option<u64>,
    /// The URL without name and password; or the text that is none, fit for a terminal.
    pub url: String,
    /// The file: where it is, or the partial one that stayed; where it would be, in a dry run.
    pub path: Option<PathBuf>,
    /// Size of what is at `path`, or of what came if nothing is saved; of what would come,
    /// in a dry run.
    pub bytes: u64,
    /// Bytes that came over the network as content, failed attempts included.
    pub received: u64,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// Whether the last answer says that parts of the file can be asked for.
    pub accepts_ranges: Option<bool>,
    /// Redirects that led to the last answer.
    pub redirects: u32,
    /// Whom the connection of the last answer was with: the server, or a proxy.
    pub remote: Option<SocketAddr>,
    /// The version of HTTP that it came in: `1.1`, `2`.
    pub http_version: Option<&'static str>,
    /// From the first request to the head of the last answer that was asked for outside of
    /// segments.
    pub first_byte: Option<Duration>,
    /// Requests made, redirects not counted.
    pub tries: u32,
    /// From the first request to the end.
    pub elapsed: Duration,
    /// False if the server did not say where the file ends, so that nobody knows whether
    /// all of it came; in a dry run, if it did not say the size.
    pub is_size_verified: bool,
    /// What its server says it is, without parameters: `text/html`.
    pub content_type: Option<String>,
    /// What it hashes to, by the algorithms that were asked for
    /// ([`Downloader::hash`](super::Downloader::hash)) or compared.
    pub checksums: Vec<Checksum>,
    /// Of those, the ones that it was held against, with success.
    pub verified: Vec<Algorithm>,
    /// What to ask for to try it again, if it failed and was a URL: the entry as it was,
    /// with the checksums that the run's lists have for it.
    pub again: Option<Box<Entry>>,
    /// The end itself.
    pub end: End,
}

/// The end of a download.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum End {
    /// It is there, whole.
    Saved,
    /// A file of its name was there before, and was to be left alone.
    Skipped,
    /// It would have been downloaded, but this was a
    /// [dry run](super::Downloader::dry_run).
    Checked,
    /// It is not there.
    Failed(Failure),
}

impl Outcome {
    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.end {
            End::Failed(failure) => Some(failure),
            End::Saved | End::Skipped | End::Checked => None,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Files saved.
    pub saved: u64,
    /// URLs left alone because their file was there.
    pub skipped: u64,
    /// URLs that would have been downloaded, in a dry run.
    pub checked: u64,
    /// URLs that failed, stopped ones included.
    pub failed: u64,
    /// URLs that were in the input before.
    pub duplicates: u64,
    /// Bytes that came over the network as content.
    pub received: u64,
    /// How long the run took.
    pub elapsed: Duration,
    /// The run was stopped before its end: URLs may be left that were not looked at.
    pub is_stopped: bool,
    /// It was stopped by its [quota](super::Downloader::quota): URLs are left that had not
    /// begun when that was used up. Those among them that had been read from the input count
    /// as failed, with [`FailureKind::Stopped`].
    pub is_over_quota: bool,
    /// How many failed of each class.
    pub failures: BTreeMap<FailureKind, u64>,
    /// Why the cookies could not be written down at the end
    /// ([`Downloader::save_cookies`](super::Downloader::save_cookies)).
    pub cookies_failure: Option<Failure>,
    /// Each download, by its place in the input; empty if they are not kept (see
    /// [`Downloader::keep_outcomes`](super::Downloader::keep_outcomes)).
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Tells whether every URL of the input is on disk.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && !self.is_stopped
    }

    /// The class of what failed, if it is one: stopped downloads do not count where
    /// something else has failed, which is why they were stopped. A run that was stopped
    /// before anything failed is of their class.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::{Downloader, FailureKind};
    ///
    /// let report = Downloader::new().discard().run(["no url at all", "nor this"])?;
    /// assert_eq!(report.failure_kind(), Some(FailureKind::BadUrl));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn failure_kind(&self) -> Option<FailureKind> {
        match self.is_stopped && self.failures.is_empty() {
            true => Some(FailureKind::Stopped),
            false => only_kind(&self.failures),
        }
    }

    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.received += outcome.received;
        match &outcome.end {
            End::Saved => self.saved += 1,
            End::Skipped => self.skipped += 1,
            End::Checked => self.checked += 1,
            End::Failed(failure) => {
                self.failed += 1;
                *self.failures.entry(failure.kind()).or_default() += 1;
            }
        }
    }
}

/// The one class of these failures, stopped ones set aside.
pub(crate) fn only_kind(failures: &BTreeMap<FailureKind, u64>) -> Option<FailureKind> {
    let stopped = |kind: &&FailureKind| **kind == FailureKind::Stopped;
    let mut others = failures.keys().filter(|kind| !stopped(kind));
    match (others.next(), others.next()) {
        (Some(kind), None) => Some(*kind),
        (None, _) => failures.keys().find(stopped).copied(),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_class_of_failures_is_told_from_several() {
        use FailureKind::{DiskFull, NotFound, Stopped};
        let kind = |kinds: &[FailureKind]| {
            let failures = kinds.iter().map(|kind| (*kind, 2)).collect();
            let report = Report {
                failures,
                ..Report::default()
            };
            report.failure_kind()
        };
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[NotFound]), Some(NotFound));
        assert_eq!(kind(&[NotFound, DiskFull]), None);
        assert_eq!(kind(&[Stopped]), Some(Stopped));
        assert_eq!(kind(&[Stopped, DiskFull]), Some(DiskFull));
        assert_eq!(kind(&[Stopped, DiskFull, NotFound]), None);
    }
}
