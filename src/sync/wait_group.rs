//! Waiting until everything that was begun is done.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
use crate::sync::waiters::begin;
use crate::util::lock;

/// Counts pieces of work, and lets others wait until none is left.
///
/// Each piece is a [`Pending`], which is done when it is dropped: at the end of the
/// greenlet that owns it, also by a panic or a kill. When the last one goes, everyone who
/// waits at that moment is woken, in order of arrival, even if new work is added at once.
///
/// # Examples
///
/// ```
/// use greenloop::sync::WaitGroup;
///
/// let work = WaitGroup::new();
/// for _ in 0..10 {
///     let pending = work.add();
///     greenloop::spawn(move || {
///         let slept = greenloop::yield_now();
///         drop(pending);
///         slept
///     });
/// }
/// work.wait()?;
/// assert_eq!(work.pending(), 0);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none. Go: `sync.WaitGroup`, whose count is kept by hand.
#[derive(Clone, Default)]
pub struct WaitGroup {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    pending: usize,
    /// How often the last piece was done: who waits sees that, even if more was added.
    round: u64,
    waiters: WaitList,
    watchers: Watchers,
}

impl WaitGroup {
    /// A group without work.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece of work, which lasts until the value is dropped.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::WaitGroup;
    ///
    /// let work = WaitGroup::new();
    /// let pending = work.add();
    /// let more = pending.clone();
    /// assert_eq!(work.pending(), 2);
    /// drop((pending, more));
    /// assert_eq!(work.pending(), 0);
    /// ```
    pub fn add(&self) -> Pending {
        lock(&self.state).pending += 1;
        Pending {
            group: self.clone(),
        }
    }

    /// Waits until no work is left.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::WaitGroup;
    ///
    /// let work = WaitGroup::new();
    /// let pending = work.add();
    /// greenloop::spawn(move || {
    ///     let _done_at_the_end = pending;
    ///     greenloop::yield_now()
    /// });
    /// work.wait()?;
    /// assert_eq!(work.pending(), 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<()> {
        self.wait_until_done(Deadline::NEVER)
    }

    /// Waits at most `limit` until no work is left; false if there is some still.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`WaitGroup::wait`]. `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::WaitGroup;
    /// use std::time::Duration;
    ///
    /// let work = WaitGroup::new();
    /// let pending = work.add();
    /// assert!(!work.wait_timeout(Duration::from_millis(2))?);
    /// drop(pending);
    /// assert!(work.wait_timeout(Duration::from_millis(2))?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool> {
        self.wait_deadline(Deadline::after(limit))
    }

    /// Waits until no work is left or `limit` has come; false if there is some still.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`WaitGroup::wait_timeout`].
    #[track_caller]
    pub fn wait_deadline(&self, limit: Deadline) -> Result<bool> {
        match self.wait_until_done(limit) {
            Ok(()) => Ok(true),
            Err(error) if error.is_own_limit() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The number of pieces that are not done.
    ///
    /// # Switching
    /// Never switches.
    pub fn pending(&self) -> usize {
        lock(&self.state).pending
    }

    /// The number of greenlets and threads that wait.
    ///
    /// # Switching
    /// Never switches.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiters.len()
    }

    #[track_caller]
    fn wait_until_done(&self, limit: Deadline) -> Result<()> {
        begin()?;
        let mut seen = None;
        wait_for(
            &self.state,
            |state| &mut state.waiters,
            Wait::Done,
            limit,
            |state| {
                let round = *seen.get_or_insert(state.round);
                (state.pending == 0 || state.round != round).then_some(())
            },
        )
    }
}

/// Ready when no work is left.
impl Waitable for WaitGroup {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_done = state.pending == 0;
        state.watchers.add(watcher, is_done)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("WaitGroup")
            .field("pending", &state.pending)
            .field("waiting", &state.waiters.len())
            .finish()
    }
}

/// A piece of work of a [`WaitGroup`], done when it is dropped. A clone is one more.
#[must_use = "the work counts as done when this is dropped"]
pub struct Pending {
    group: WaitGroup,
}

impl Clone for Pending {
    fn clone(&self) -> Self {
        self.group.add()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut state = lock(&self.group.state);
        state.pending -= 1;
        if state.pending == 0 {
            state.round += 1;
            state.waiters.wake_all();
            state.watchers.tell_all();
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}
