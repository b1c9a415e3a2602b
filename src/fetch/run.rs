//! One run: takes URLs from the input as slots free up, gives each its greenlet, and
//! gathers the outcomes.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::client::Client;
use super::commit::Committer;
use super::entry::Entry;
use super::failure::{Failure, FailureKind};
use super::flow::Flow;
use super::folder::Folder;
use super::folders::Folders;
use super::hosts::Hosts;
use super::journal::{JOURNAL, Journal};
use super::meter::Meter;
use super::options::{Flush, Settings};
use super::report::{End, Event, Observer, Outcome, Report};
use super::seen::Seen;
use super::space::Space;
use super::stop::{OnStop, RunStop, Stop};
use super::ticket::Ticket;
use crate::error::Result;
use crate::runtime::kill::shield;
use crate::runtime::spawn::Builder;
use crate::util::lock;

/// URLs taken from the input where so many downloads may run: those beyond wait for a slot
/// or for a server's pause, so that one slow host does not empty the others' queue. Each is
/// a greenlet with its stack.
fn taken_max(jobs: usize) -> usize {
    jobs.saturating_add(jobs.div_ceil(4))
}

/// What the downloads of a run share.
pub(crate) struct Run {
    pub(crate) settings: Box<Settings>,
    pub(crate) client: Client,
    pub(crate) hosts: Hosts,
    pub(crate) committer: Committer,
    /// `None`: nothing is saved.
    pub(crate) folders: Option<Folders>,
    /// `None`: nothing is saved, or no journal is kept.
    pub(crate) journal: Option<Journal>,
    pub(crate) flow: Flow,
    pub(crate) meter: Meter,
    pub(crate) stop: Arc<RunStop>,
    space: Space,
    observer: Option<Arc<dyn Observer>>,
    report: Mutex<Report>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}

impl Run {
    #[expect(
        clippy::large_stack_frames,
        reason = "once per run; its parts are made by value"
    )]
    pub(crate) fn new(
        settings: Box<Settings>,
        stop: &Stop,
        on_stop: Option<OnStop>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Arc<Self>> {
        let folders = match settings.disk.discard || settings.disk.dry_run {
            true => None,
            false => Some(Folders::open(&settings.naming.dir)?),
        };
        let journal = match &folders {
            Some(folders) if settings.disk.journal => {
                Some(open_journal(folders.root(), &settings)?)
            }
            _ => None,
        };
        let run = Arc::new(Self {
            client: Client::new(&settings.network)?,
            hosts: Hosts::new(&settings.pace),
            committer: Committer::new(&settings.disk),
            folders,
            journal,
            flow: Flow::new(taken_max(settings.pace.jobs)),
            meter: Meter::new(&settings.pace),
            stop: stop.begin_run(on_stop),
            space: Space::new(settings.disk.full_wait),
            observer,
            report: Mutex::default(),
            settings,
        });
        if run.folders.is_some() {
            run.committer.start()?;
        }
        Ok(run)
    }

    /// Takes the input to its end, or to the stop, and waits for every download.
    pub(crate) fn take(self: &Arc<Self>, input: impl Iterator<Item = Entry>) -> Report {
        let started = Instant::now();
        let mut seen = Seen::default();
        let mut id = 0;
        for entry in input {
            if self.stop.is_closed() {
                break;
            }
            if !seen.insert(&entry) {
                lock(&self.report).duplicates += 1;
                continue;
            }
            id += 1;
            // The caller was killed or timed out: so is what it started.
            if self.flow.enter().is_err() {
                self.stop.stop();
                break;
            }
            if !self.launch(id, entry) {
                break;
            }
        }
        // An input that was still open then may have been ended for it (see `on_stop`).
        let cut_off = self.stop.is_closed();
        if self.flow.drained().is_err() {
            self.stop.stop();
            shield(|| self.flow.drained()).unwrap_or_else(|e| log::error!("waiting: {e}"));
        }
        self.committer.close();
        let mut report = std::mem::take(&mut *lock(&self.report));
        report.outcomes.sort_unstable_by_key(|outcome| outcome.id);
        report.elapsed = started.elapsed();
        let not_begun = report.failures.contains_key(&FailureKind::Stopped);
        report.is_over_quota = self.stop.is_closed() && (cut_off || not_begun);
        report.is_stopped = report.is_over_quota || self.stop.is_stopped();
        self.end_journal(&report);
        report
    }

    /// Lets go of the journal. Nobody goes on where everything is done.
    fn end_journal(&self, report: &Report) {
        let is_done = report.is_success()
            && !self.settings.disk.keep_journal
            // It tells what versions the files are of.
            && !self.settings.naming.newer;
        if let Some(journal) = &self.journal
            && let Err(error) = journal.end(is_done)
        {
            log::warn!("ending the journal: {error}");
        }
    }

    /// Starts the greenlet for one entry; false if the run has been stopped.
    #[expect(
        clippy::large_stack_frames,
        reason = "a ticket by value, on the way to its greenlet"
    )]
    fn launch(self: &Arc<Self>, id: u64, entry: Entry) -> bool {
        let ticket = Ticket::new(self.clone(), id, entry);
        // Listed before it runs, so that it finds its place to leave.
        if !self.stop.enlist(id) {
            ticket.withdraw();
            return false;
        }
        let shared = Arc::new(Mutex::new(Some(ticket)));
        let body = {
            let shared = shared.clone();
            move || {
                let ticket = lock(&shared).take();
                if let Some(ticket) = ticket {
                    ticket.work();
                }
            }
        };
        match Builder::new()
            .name(format!("download {id}"))
            .try_spawn(body)
        {
            Ok(greenlet) => self.stop.list(id, greenlet.handle()),
            Err(error) => {
                if let Some(ticket) = lock(&shared).take() {
                    let failure = Failure::new(FailureKind::Internal, error.to_string());
                    ticket.settle(End::Failed(failure));
                }
            }
        }
        true
    }

    pub(crate) fn tell(&self, id: u64, event: &Event<'_>) {
        let Some(observer) = &self.observer else {
            return;
        };
        // Events come from the thread that commits files, too, which has to live on.
        let told = catch_unwind(AssertUnwindSafe(|| observer.event(id, event)));
        if told.is_err() {
            log::error!("the observer of download {id} panicked");
        }
    }

    /// Adds an outcome to the report.
    pub(crate) fn add(&self, outcome: Outcome) {
        let mut report = lock(&self.report);
        report.add(&outcome);
        if self.settings.keep_outcomes {
            report.outcomes.push(outcome);
        }
        let failures_max = self.settings.pace.failures_max;
        let is_enough = failures_max.is_some_and(|most| report.failed >= most);
        drop(report);
        if is_enough && !self.stop.is_stopped() {
            self.stop.stop();
        }
    }

    /// Waits until the disk has room for `bytes` again. False if it does not come about.
    ///
    /// # Switching
    /// May switch; blocks the committer's thread.
    pub(crate) fn wait_for_room(
        &self,
        id: u64,
        failure: &Failure,
        folder: &Folder,
        bytes: u64,
    ) -> bool {
        let came = self.space.wait(folder, bytes, &self.stop, |patience| {
            self.tell(id, &Event::DiskFull { failure, patience });
        });
        if !came {
            // The others would only fill what little is left.
            self.stop.stop();
        }
        came
    }
}

fn open_journal(folder: &Arc<Folder>, settings: &Settings) -> Result<Journal> {
    Journal::open(folder, settings.disk.flush != Flush::Never).map_err(|error| {
        let failure = match error.kind() {
            io::ErrorKind::WouldBlock => Failure::new(
                FailureKind::CannotCreate,
                format!("{}: {error}", folder.path().display()),
            ),
            _ => {
                let path = folder.path_of(JOURNAL);
                Failure::file(&error, format_args!("opening {}", path.display()))
            }
        };
        failure.into()
    })
}
