//! One run: takes URLs from the input as slots free up, gives each its greenlet, and
//! gathers the outcomes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::client::Client;
use super::failure::{Failure, FailureKind};
use super::folder::Folder;
use super::hosts::Hosts;
use super::options::Settings;
use super::plan::{Entry, Seen};
use super::report::{End, Event, Observer, Outcome, Report};
use super::worker::{FactsOfRun, Worker};
use crate::error::{Error, Result};
use crate::runtime::greenlet::Handle;
use crate::runtime::kill::shield;
use crate::runtime::spawn::Builder;
use crate::sync::{Permit, Semaphore};
use crate::util::lock;

/// URLs taken from the input per download that may run: those beyond wait for a slot or
/// for a server's pause, so that one slow host does not empty the others' queue.
const TAKEN_PER_JOB: usize = 4;

/// Ends a run early. Clones stop the same runs.
///
/// # Examples
///
/// ```
/// use greenloop::fetch::Downloader;
///
/// let downloader = Downloader::new().discard();
/// let stop = downloader.stop_handle();
/// stop.stop();
/// let report = downloader.run(["http://127.0.0.1:9/a"])?;
/// assert!(report.is_stopped && !report.is_success());
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Default)]
struct StopState {
    stopped: AtomicBool,
    /// Downloads that have not ended, by their id.
    /// `None` for one that is just being started.
    active: Mutex<HashMap<u64, Option<Handle>>>,
}

impl Stop {
    /// Stops: no new downloads, and those under way end at once with what they have. Their
    /// partial files stay where a later run can go on from them; one whose last byte has
    /// come is still published.
    ///
    /// For good: later runs of the same downloader stop before they begin.
    ///
    /// # Switching
    /// Never switches.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        let active: Vec<_> = lock(&self.0.active).values().flatten().cloned().collect();
        for handle in active {
            handle.kill();
        }
    }

    /// Tells whether [`Stop::stop`] was called.
    ///
    /// # Switching
    /// Never switches.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Ends one download, by its id in the [`Event`]s; false if it is not under way.
    ///
    /// Its partial file stays if it can be gone on from.
    ///
    /// # Switching
    /// Never switches.
    pub fn kill(&self, id: u64) -> bool {
        let handle = lock(&self.0.active).get(&id).cloned().flatten();
        handle.inspect(Handle::kill).is_some()
    }

    /// Takes the handle of a download that was started, unless it has ended by now.
    fn list(&self, id: u64, handle: Handle) {
        if let Some(place) = lock(&self.0.active).get_mut(&id) {
            *place = Some(handle.clone());
        }
        // A stop that came in between has not seen it.
        if self.is_stopped() {
            handle.kill();
        }
    }

    fn any_active(&self) -> Option<Handle> {
        lock(&self.0.active).values().flatten().next().cloned()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop")
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

/// What the downloads of a run share.
pub(crate) struct Run {
    pub(crate) settings: Settings,
    pub(crate) client: Client,
    pub(crate) hosts: Hosts,
    /// `None`: nothing is saved.
    pub(crate) folder: Option<Arc<Folder>>,
    pub(crate) stop: Stop,
    observer: Option<Arc<dyn Observer>>,
    report: Mutex<Report>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}

impl Run {
    pub(crate) fn new(
        settings: Settings,
        stop: Stop,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Arc<Self>> {
        let folder = match settings.disk.discard {
            true => None,
            false => Some(Arc::new(
                Folder::open(&settings.naming.dir).map_err(Error::message)?,
            )),
        };
        Ok(Arc::new(Self {
            client: Client::new(&settings.network)?,
            hosts: Hosts::new(&settings.pace),
            folder,
            stop,
            observer,
            report: Mutex::default(),
            settings,
        }))
    }

    /// Takes the input to its end, or to the stop, and waits for every download.
    pub(crate) fn take(self: &Arc<Self>, input: impl Iterator<Item = Entry>) -> Report {
        let started = Instant::now();
        let taken = Semaphore::new(self.settings.pace.jobs.saturating_mul(TAKEN_PER_JOB));
        let mut seen = Seen::default();
        let mut id = 0;
        for entry in input {
            if entry.url().is_ok_and(|url| !seen.insert(url)) {
                lock(&self.report).duplicates += 1;
                continue;
            }
            id += 1;
            // The caller was killed or timed out: so is what it started.
            let Ok(permit) = taken.acquire() else {
                self.stop.stop();
                break;
            };
            if self.stop.is_stopped() || !self.launch(id, entry, permit) {
                break;
            }
        }
        self.wait_for_all();
        let mut report = std::mem::take(&mut *lock(&self.report));
        report.outcomes.sort_unstable_by_key(|outcome| outcome.id);
        report.elapsed = started.elapsed();
        report.is_stopped = self.stop.is_stopped();
        report
    }

    /// Starts the greenlet for one entry; false if the run has been stopped.
    fn launch(self: &Arc<Self>, id: u64, entry: Entry, permit: Permit) -> bool {
        if self.stop.is_stopped() {
            return false;
        }
        // Listed before it runs, so that it finds its place to leave.
        lock(&self.stop.0.active).insert(id, None);
        let ticket = Ticket {
            run: self.clone(),
            id,
            entry,
            end: None,
            _permit: permit,
        };
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
                    ticket.fail(Failure::new(FailureKind::Internal, error.to_string()));
                }
            }
        }
        true
    }

    fn wait_for_all(&self) {
        while let Some(handle) = self.stop.any_active() {
            if handle.wait().is_err() {
                self.stop.stop();
                shield(|| handle.wait()).unwrap_or_else(|e| log::error!("waiting: {e}"));
            }
        }
    }

    pub(crate) fn tell(&self, id: u64, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.event(id, event);
        }
    }

    fn finish(&self, outcome: Outcome) {
        let event = match outcome.end {
            End::Saved | End::Skipped => Event::Done(&outcome),
            End::Failed(_) => Event::Failed(&outcome),
        };
        self.tell(outcome.id, &event);
        let mut report = lock(&self.report);
        report.add(&outcome);
        if self.settings.keep_outcomes {
            report.outcomes.push(outcome);
        }
    }
}

/// A download's place in the run. Its end is told when it is dropped: also for a greenlet
/// that was killed before it ran, or panicked.
struct Ticket {
    run: Arc<Run>,
    id: u64,
    entry: Entry,
    end: Option<(End, FactsOfRun)>,
    _permit: Permit,
}

impl Ticket {
    fn work(mut self) {
        let (end, facts) = match self.entry.url() {
            Ok(url) => {
                let mut worker = Worker::new(&self.run, self.id, url);
                (worker.work(), worker.facts)
            }
            Err(reason) => {
                let failure = Failure::new(FailureKind::BadUrl, reason);
                (End::Failed(failure), FactsOfRun::default())
            }
        };
        self.end = Some((end, facts));
    }

    fn fail(mut self, failure: Failure) {
        self.end = Some((End::Failed(failure), FactsOfRun::default()));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (end, facts) = self.end.take().unwrap_or_else(|| {
            let failure = match std::thread::panicking() {
                true => Failure::new(FailureKind::Internal, "the download panicked"),
                false => Failure::new(FailureKind::Stopped, "stopped"),
            };
            (End::Failed(failure), FactsOfRun::default())
        });
        let FactsOfRun {
            path,
            bytes,
            received,
            status,
            tries,
            elapsed,
            is_size_verified,
        } = facts;
        self.run.finish(Outcome {
            id: self.id,
            line: self.entry.line(),
            url: self.entry.to_string(),
            path,
            bytes,
            received,
            status,
            tries,
            elapsed,
            is_size_verified,
            end,
        });
        lock(&self.run.stop.0.active).remove(&self.id);
    }
}
