//! Ends a run, or one of its downloads, early.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::runtime::greenlet::Handle;
use crate::util::lock;

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

    /// Makes a place for a download that is about to start; false if all are stopped.
    pub(crate) fn enlist(&self, id: u64) -> bool {
        lock(&self.0.active).insert(id, None);
        !self.is_stopped()
    }

    /// Takes the handle of a download that was started, unless it has ended by now.
    pub(crate) fn list(&self, id: u64, handle: Handle) {
        if let Some(place) = lock(&self.0.active).get_mut(&id) {
            *place = Some(handle.clone());
        }
        // A stop that came in between has not seen it.
        if self.is_stopped() {
            handle.kill();
        }
    }

    /// Forgets a download that has ended.
    pub(crate) fn unlist(&self, id: u64) {
        lock(&self.0.active).remove(&id);
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop")
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}
