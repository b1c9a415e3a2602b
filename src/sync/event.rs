//! A flag that greenlets wait for.

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

/// A flag that is set and cleared, and that any number of greenlets and threads wait for.
///
/// Setting it wakes everyone who waits at that moment, in order of arrival, even if it is
/// cleared at once.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Event;
///
/// let ready = Event::new();
/// let waiter = {
///     let ready = ready.clone();
///     greenloop::spawn(move || ready.wait())
/// };
/// ready.set();
/// waiter.join().unwrap()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.event.Event`.
#[derive(Clone, Default)]
pub struct Event {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    set: bool,
    /// How often it was set: who waits sees that, even if it was cleared at once.
    round: u64,
    waiters: WaitList,
    watchers: Watchers,
}

impl Event {
    /// An event that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it and wakes everyone who waits.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Event;
    ///
    /// let ready = Event::new();
    /// let waiters = [0, 1].map(|_| {
    ///     let ready = ready.clone();
    ///     greenloop::spawn(move || ready.wait())
    /// });
    /// ready.set();
    /// for waiter in waiters {
    ///     waiter.join().unwrap()?;
    /// }
    /// assert!(ready.is_set());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Event.set()`.
    pub fn set(&self) {
        let mut state = lock(&self.state);
        state.set = true;
        state.round += 1;
        state.waiters.wake_all();
        state.watchers.tell_all();
    }

    /// Clears it; whoever calls `wait` from now on waits.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Event;
    /// use std::time::Duration;
    ///
    /// let ready = Event::new();
    /// ready.set();
    /// ready.wait()?; // does not wait
    /// ready.clear();
    /// assert!(!ready.wait_timeout(Duration::from_millis(2))?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Event.clear()`.
    pub fn clear(&self) {
        lock(&self.state).set = false;
    }

    /// Tells whether it is set.
    ///
    /// gevent: `Event.is_set()`.
    pub fn is_set(&self) -> bool {
        lock(&self.state).set
    }

    /// The number of greenlets and threads that wait for it.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiters.len()
    }

    /// Waits until it is set.
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
    /// use greenloop::sync::Event;
    ///
    /// let ready = Event::new();
    /// let setter = ready.clone();
    /// std::thread::spawn(move || setter.set()); // from anywhere
    /// ready.wait()?;
    /// assert!(ready.is_set());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Event.wait()`.
    #[track_caller]
    pub fn wait(&self) -> Result<()> {
        self.wait_until_set(Deadline::NEVER)
    }

    /// Waits at most `limit` until it is set; false if it was not.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when an outer
    /// [`Timeout`](crate::Timeout) passed. `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Event;
    /// use std::time::Duration;
    ///
    /// let never = Event::new();
    /// assert!(!never.wait_timeout(Duration::from_millis(2))?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Event.wait(timeout=limit)`.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool> {
        self.wait_deadline(Deadline::after(limit))
    }

    /// Waits until it is set or `limit` has come; false if it was not set.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Event::wait_timeout`].
    #[track_caller]
    pub fn wait_deadline(&self, limit: Deadline) -> Result<bool> {
        match self.wait_until_set(limit) {
            Ok(()) => Ok(true),
            Err(e) if e.is_own_limit() => Ok(false),
            Err(e) => Err(e),
        }
    }

    #[track_caller]
    fn wait_until_set(&self, limit: Deadline) -> Result<()> {
        begin()?;
        let mut seen = None;
        wait_for(
            &self.state,
            |state| &mut state.waiters,
            Wait::Event,
            limit,
            |state| {
                let round = *seen.get_or_insert(state.round);
                (state.set || state.round != round).then_some(())
            },
        )
    }
}

impl Waitable for Event {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_set = state.set;
        state.watchers.add(watcher, is_set)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Event")
            .field("set", &state.set)
            .field("waiting", &state.waiters.len())
            .field("watching", &state.watchers.len())
            .finish()
    }
}
