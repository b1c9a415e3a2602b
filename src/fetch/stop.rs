//! Ends runs, or one of their downloads, early.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::runtime::greenlet::Handle;
use crate::util::lock;

/// Ends the runs of a downloader early. Clones stop the same runs.
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
    runs: Mutex<Vec<Weak<RunStop>>>,
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
        for run in self.runs() {
            run.stop();
        }
    }

    /// Tells whether [`Stop::stop`] was called.
    ///
    /// # Switching
    /// Never switches.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Ends one download, by its id in the [`Event`](super::Event)s; false if it is not
    /// under way. Of several runs at once, each that has such a download ends it.
    ///
    /// Its partial file stays if it can be gone on from.
    ///
    /// # Switching
    /// Never switches.
    pub fn kill(&self, id: u64) -> bool {
        let killed = self.runs().into_iter().filter(|run| run.kill(id));
        killed.count() > 0
    }

    /// The end of a run that begins. `on_stop` is called when it is stopped, by whomever.
    pub(crate) fn begin_run(&self, on_stop: Option<OnStop>) -> Arc<RunStop> {
        let run = Arc::new(RunStop {
            stopped: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            told: AtomicBool::new(false),
            active: Mutex::default(),
            on_stop,
        });
        {
            let mut runs = lock(&self.0.runs);
            runs.retain(|run| run.strong_count() > 0);
            runs.push(Arc::downgrade(&run));
        }
        // A stop that came in between has not seen it.
        if self.is_stopped() {
            run.stop();
        }
        run
    }

    fn runs(&self) -> Vec<Arc<RunStop>> {
        lock(&self.0.runs)
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop")
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

/// What is called when a run is stopped.
pub(crate) type OnStop = Arc<dyn Fn() + Send + Sync>;

/// Ends one run.
pub(crate) struct RunStop {
    stopped: AtomicBool,
    /// Nothing more begins.
    closed: AtomicBool,
    /// `on_stop` was called.
    told: AtomicBool,
    /// Downloads that have not ended, by their id.
    active: Mutex<HashMap<u64, Active>>,
    on_stop: Option<OnStop>,
}

/// A download that has not ended.
#[derive(Default)]
struct Active {
    /// `None` for one that is just being started.
    handle: Option<Handle>,
    /// It has made a request.
    has_begun: bool,
}

impl RunStop {
    /// Stops the run.
    pub(crate) fn stop(&self) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            self.end(|_| true);
        }
    }

    /// Lets nothing more begin: downloads that have not made a request end without one, and
    /// the others go on.
    pub(crate) fn close(&self) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            self.end(|download| !download.has_begun);
        }
    }

    fn end(&self, ends: impl Fn(&Active) -> bool) {
        let ended: Vec<_> = lock(&self.active)
            .values()
            .filter(|download| ends(download))
            .filter_map(|download| download.handle.clone())
            .collect();
        for handle in ended {
            handle.kill();
        }
        if let Some(on_stop) = &self.on_stop
            && !self.told.swap(true, Ordering::SeqCst)
        {
            on_stop();
        }
    }

    /// Nothing more is let begin, though what has may go on.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn kill(&self, id: u64) -> bool {
        let active = lock(&self.active);
        let handle = active.get(&id).and_then(|active| active.handle.clone());
        drop(active);
        handle.inspect(Handle::kill).is_some()
    }

    /// Makes a place for a download that is about to start; false if all are stopped.
    pub(crate) fn enlist(&self, id: u64) -> bool {
        lock(&self.active).insert(id, Active::default());
        !self.is_stopped()
    }

    /// Takes the handle of a download that was started, unless it has ended by now.
    pub(crate) fn list(&self, id: u64, handle: Handle) {
        let mut has_begun = false;
        if let Some(place) = lock(&self.active).get_mut(&id) {
            place.handle = Some(handle.clone());
            has_begun = place.has_begun;
        }
        // A stop that came in between has not seen it.
        if self.is_stopped() || self.is_closed() && !has_begun {
            handle.kill();
        }
    }

    /// A download is about to make its first request; false if it may not.
    pub(crate) fn begin(&self, id: u64) -> bool {
        let mut active = lock(&self.active);
        // Under the lock: whoever closes has it afterwards, and finds this one begun.
        if self.is_closed() {
            return false;
        }
        if let Some(place) = active.get_mut(&id) {
            place.has_begun = true;
        }
        true
    }

    /// Forgets a download that has ended.
    pub(crate) fn unlist(&self, id: u64) {
        lock(&self.active).remove(&id);
    }
}
