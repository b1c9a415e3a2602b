//! A download's place in its run, from the input to its outcome.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::checksum::{Algorithm, Checksum};
use super::commit::Whole;
use super::entry::Entry;
use super::failure::{Failure, FailureKind};
use super::heard::Heard;
use super::journal::{Saved, wish};
use super::part::Part;
use super::report::{End, Event, Outcome};
use super::resume::Pin;
use super::run::Run;
use super::worker::{Finish, Worker};

/// A download's place in the run. Its end is told when it is dropped: also for a greenlet
/// that was killed before it ran, or panicked.
pub(crate) struct Ticket {
    pub(crate) run: Arc<Run>,
    pub(crate) id: u64,
    pub(crate) entry: Entry,
    pub(crate) facts: FactsOfRun,
    /// What the journal is to say.
    pub(crate) saved: Option<Saved>,
    end: Option<End>,
    /// It counts among those that the run has taken from the input.
    taken: bool,
    /// It was never in the run.
    withdrawn: bool,
}

/// What the outcome tells besides the end.
#[derive(Debug, Default)]
pub(crate) struct FactsOfRun {
    pub(crate) path: Option<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) received: u64,
    pub(crate) heard: Option<Heard>,
    /// Since the first request.
    pub(crate) first_byte: Option<Duration>,
    pub(crate) tries: u32,
    pub(crate) elapsed: Duration,
    pub(crate) is_size_verified: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) checksums: Vec<Checksum>,
    pub(crate) verified: Vec<Algorithm>,
    /// What it has to hash to, once that is known.
    pub(crate) given: Vec<Checksum>,
}

impl Ticket {
    /// A ticket for what [`Flow::enter`](super::flow::Flow::enter) has let in.
    pub(crate) fn new(run: Arc<Run>, id: u64, entry: Entry) -> Self {
        Self {
            run,
            id,
            entry,
            facts: FactsOfRun::default(),
            saved: None,
            end: None,
            taken: true,
            withdrawn: false,
        }
    }

    /// Downloads. A file that is whole goes on its way to its name by itself.
    #[expect(
        clippy::large_stack_frames,
        reason = "the download's own frame, once per greenlet"
    )]
    pub(crate) fn work(mut self) {
        let url = match self.entry.url() {
            Ok(url) => url,
            Err(reason) => {
                let failure = Failure::new(FailureKind::BadUrl, reason);
                return self.settle(End::Failed(failure));
            }
        };
        let mut worker = Worker::new(&self.run, self.id, url, &self.entry);
        let finish = worker.work();
        let facts = worker.facts;
        self.facts = facts;
        match finish {
            Finish::Ended(end) => self.settle(end),
            Finish::Whole(part) => {
                self.taken = false;
                let run = self.run.clone();
                run.committer.submit(Whole { part, ticket: self });
                // Not before: while too many files wait, nobody new comes in.
                run.flow.give_back();
            }
        }
    }

    /// Takes it back without an outcome: the run had been stopped before it began.
    pub(crate) fn withdraw(mut self) {
        self.withdrawn = true;
    }

    /// Ends it.
    pub(crate) fn settle(mut self, end: End) {
        self.end = Some(end);
    }

    /// Notes where the file will be, or is now.
    pub(crate) fn publish(&mut self, path: PathBuf, modified: Option<SystemTime>, pin: &Pin) {
        let inside = path.strip_prefix(&self.run.settings.naming.dir);
        self.saved = Some(Saved {
            wish: wish(&self.entry, &self.run.settings.naming),
            path: inside.unwrap_or(&path).to_string_lossy().into_owned(),
            bytes: self.facts.bytes,
            modified,
            etag: pin.etag.clone(),
            last_modified: pin.last_modified.clone(),
        });
        self.facts.path = Some(path);
    }

    /// Lets go of a partial file, which stays if it can be gone on from.
    pub(crate) fn leave(&mut self, part: Box<Part>) {
        if let Ok(url) = self.entry.url() {
            self.facts.leave(part, url);
        }
    }

    /// Waits for room after a failure that says that there is none. False if the failure
    /// stands: it is another one, or the wait is over.
    pub(crate) fn wait_for_room(&self, failure: &Failure, part: &Part) -> bool {
        failure.is_no_room()
            && self
                .run
                .wait_for_room(self.id, failure, part.folder(), part.length())
    }
}

impl FactsOfRun {
    /// Lets go of a partial file of `url`.
    pub(crate) fn leave(&mut self, part: Box<Part>, url: &reqwest::Url) {
        let path = part.path();
        let kept = part.there();
        match part.leave(url) {
            Ok(true) => {
                self.path = Some(path);
                self.bytes = kept;
            }
            Ok(false) => {}
            Err(error) => log::warn!("leaving {}: {error}", path.display()),
        }
    }
}

impl Ticket {
    /// The entry for another try, which may know nothing of this run's lists of checksums.
    fn again(&self) -> Option<Box<Entry>> {
        self.entry.url().ok()?;
        let mut again = Box::new(self.entry.clone());
        if self.run.settings.verify.has_lists() {
            let own = &mut again.own_mut().checksums;
            for checksum in self.given() {
                if !own.contains(&checksum) {
                    own.push(checksum);
                }
            }
        }
        Some(again)
    }

    /// What its file has to hash to; before any answer, as far as the URL tells.
    fn given(&self) -> Vec<Checksum> {
        match self.facts.given.is_empty() {
            true => {
                let verify = &self.run.settings.verify;
                verify.checksums(&self.entry, Path::new(""))
            }
            false => self.facts.given.clone(),
        }
    }

    /// Says of a download that has been ended without a request why it never began.
    fn explained(&self, end: End, tries: u32) -> End {
        let stop = &self.run.stop;
        match end {
            End::Failed(failure)
                if failure.kind() == FailureKind::Stopped
                    && tries == 0
                    && stop.is_closed()
                    && !stop.is_stopped() =>
            {
                let text = "not begun: as many bytes have come as the quota allows";
                End::Failed(Failure::new(FailureKind::Stopped, text))
            }
            end => end,
        }
    }

    /// Tells the end, and adds it to the report.
    fn tell_end(&mut self) {
        let end = self.end.take().unwrap_or_else(|| {
            End::Failed(match std::thread::panicking() {
                true => Failure::new(FailureKind::Internal, "the download panicked"),
                false => Failure::new(FailureKind::Stopped, "stopped"),
            })
        });
        let again = match end {
            End::Failed(_) => self.again(),
            End::Saved | End::Skipped | End::Checked => None,
        };
        let FactsOfRun {
            path,
            bytes,
            received,
            heard,
            first_byte,
            tries,
            elapsed,
            is_size_verified,
            content_type,
            checksums,
            verified,
            given: _,
        } = std::mem::take(&mut self.facts);
        let end = self.explained(end, tries);
        let outcome = Outcome {
            id: self.id,
            list: self.entry.list().cloned(),
            line: self.entry.line(),
            url: self.entry.to_string(),
            path,
            bytes,
            received,
            status: heard.map(|heard| heard.status),
            accepts_ranges: heard.and_then(|heard| heard.accepts_ranges),
            redirects: heard.map_or(0, |heard| heard.redirects),
            remote: heard.and_then(|heard| heard.remote),
            http_version: heard.and_then(|heard| heard.version),
            first_byte,
            tries,
            elapsed,
            is_size_verified,
            content_type,
            checksums,
            verified,
            again,
            end,
        };
        let event = match outcome.end {
            End::Saved | End::Skipped | End::Checked => Event::Done(&outcome),
            End::Failed(_) => Event::Failed(&outcome),
        };
        self.run.tell(self.id, &event);
        self.run.add(outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.withdrawn {
            self.tell_end();
        }
        self.run.stop.unlist(self.id);
        if self.taken {
            self.run.flow.give_back();
        }
        self.run.flow.leave();
    }
}
