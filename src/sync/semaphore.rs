//! A counted permit, handed from holder to waiter in order of arrival.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
use crate::sync::waiters::{Waiters, begin};
use crate::util::lock;
use crate::util::sync::Mutex;

/// A limit on how many do something at a time.
///
/// A permit that comes back goes straight to the first waiter; nobody who arrives later
/// can take it in between. A waiter that is killed or whose limit passes takes no permit
/// with it.
///
/// # Examples
///
/// Ten greenlets, two at a time:
///
/// ```
/// use greenloop::sync::Semaphore;
///
/// let places = Semaphore::new(2);
/// let workers: Vec<_> = (0..10)
///     .map(|_| {
///         let places = places.clone();
///         greenloop::spawn(move || {
///             let _permit = places.acquire()?;
///             greenloop::yield_now()
///         })
///     })
///     .collect();
/// for worker in workers {
///     worker.join().unwrap()?;
/// }
/// assert_eq!(places.available(), 2);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.lock.Semaphore`, whose `release` is explicit and where a running
/// greenlet may overtake the waiters; ours gives permits that return themselves.
#[derive(Clone)]
pub struct Semaphore {
    state: Arc<Mutex<State>>,
}

struct State {
    /// Permits nobody holds. While there is one, nobody waits.
    free: usize,
    closed: bool,
    waiters: Waiters<()>,
    /// Those who wait until a permit is free and take none.
    onlookers: WaitList,
    watchers: Watchers,
}

impl Semaphore {
    /// A semaphore with `permits` permits; with none, everyone waits for
    /// [`Semaphore::add_permits`].
    ///
    /// gevent: `Semaphore(value=permits)`.
    pub fn new(permits: usize) -> Self {
        let state = State {
            free: permits,
            closed: false,
            waiters: Waiters::new(),
            onlookers: WaitList::new(),
            watchers: Watchers::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Takes a permit, waiting for one as long as it takes.
    ///
    /// Waiters are served first come, first served.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; closed, after [`Semaphore::close`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let lock = Semaphore::new(1);
    /// let permit = lock.acquire()?;
    /// assert!(lock.try_acquire().is_none());
    /// drop(permit);
    /// assert!(lock.try_acquire().is_some());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Semaphore.acquire()`.
    #[track_caller]
    pub fn acquire(&self) -> Result<Permit> {
        self.acquire_deadline(Deadline::NEVER)
    }

    /// Takes a permit if one is free.
    ///
    /// `None` also after [`Semaphore::close`].
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `Semaphore.acquire(blocking=False)`.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut state = lock(&self.state);
        state.take().then(|| self.permit())
    }

    /// Takes a permit, waiting at most `limit` for one.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`]; timeout also when `limit` passed.
    ///
    /// gevent: `Semaphore.acquire(timeout=limit)`, which returns False.
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Result<Permit> {
        self.acquire_deadline(Deadline::after(limit))
    }

    /// Takes a permit, waiting for one until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`]; timeout also when `limit` passed. A free permit is taken
    /// even if `limit` has passed already.
    #[track_caller]
    pub fn acquire_deadline(&self, limit: Deadline) -> Result<Permit> {
        begin()?;
        let parker = Parker::new();
        let place = {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(closed());
            }
            if state.take() {
                return Ok(self.permit());
            }
            state.waiters.join(&parker, None)
        };
        let waited = parker.park(Wait::Semaphore, limit);
        let granted = lock(&self.state).waiters.leave(&place);
        match (waited, granted) {
            (_, Some(())) => Ok(self.permit()),
            (Ok(()), None) => Err(closed()),
            (Err(error), None) => Err(error),
        }
    }

    /// Waits until a permit is free, and says how many are; takes none.
    ///
    /// Who waits for a permit comes first: none is free while somebody does. What was free
    /// may be gone when the caller asks for it.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let places = Semaphore::new(2);
    /// let _permit = places.acquire()?;
    /// assert_eq!(places.wait_available()?, 1);
    /// assert_eq!(places.available(), 1); // none was taken
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Semaphore.wait()`.
    #[track_caller]
    pub fn wait_available(&self) -> Result<usize> {
        self.look(Deadline::NEVER)
    }

    /// Waits at most `limit` until a permit is free, and says how many are: 0 if none is.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`]. `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    /// use std::time::Duration;
    ///
    /// let places = Semaphore::new(1);
    /// assert_eq!(places.wait_available()?, 1);
    /// let permit = places.acquire()?;
    /// assert_eq!(places.wait_available_timeout(Duration::from_millis(2))?, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Semaphore.wait(timeout=limit)`.
    #[track_caller]
    pub fn wait_available_timeout(&self, limit: Duration) -> Result<usize> {
        self.wait_available_deadline(Deadline::after(limit))
    }

    /// Waits until a permit is free or `limit` has come, and says how many are: 0 if none
    /// is.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Semaphore::wait_available_timeout`].
    #[track_caller]
    pub fn wait_available_deadline(&self, limit: Deadline) -> Result<usize> {
        match self.look(limit) {
            Err(error) if error.is_own_limit() => Ok(0),
            looked => looked,
        }
    }

    /// Adds `count` permits, for waiters first. More than `usize::MAX` are never free.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let tickets = Semaphore::new(0);
    /// let visitor = {
    ///     let tickets = tickets.clone();
    ///     greenloop::spawn(move || tickets.acquire())
    /// };
    /// tickets.add_permits(1);
    /// visitor.join().unwrap()?.forget(); // the ticket is used up
    /// assert_eq!(tickets.available(), 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Semaphore.release()` without a matching `acquire`.
    pub fn add_permits(&self, count: usize) {
        let mut state = lock(&self.state);
        for given in 0..count {
            if state.waiters.give(()).is_err() {
                state.free = state.free.saturating_add(count - given);
                state.tell();
                break;
            }
        }
    }

    /// Turns the semaphore off: everyone who waits for a permit, now or later, is refused.
    ///
    /// Permits that are held stay valid.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let places = Semaphore::new(1);
    /// let waiter = {
    ///     let (permit, places) = (places.acquire()?, places.clone());
    ///     let waiter = greenloop::spawn({ let places = places.clone(); move || places.acquire().map(drop) });
    ///     places.close();
    ///     drop(permit);
    ///     waiter
    /// };
    /// assert!(waiter.join().unwrap().unwrap_err().is_closed());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.waiters.dismiss();
        state.tell();
    }

    /// Tells whether [`Semaphore::close`] was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// The number of permits that nobody holds.
    ///
    /// gevent: `Semaphore.counter`.
    pub fn available(&self) -> usize {
        lock(&self.state).free
    }

    /// Tells whether no permit is free.
    ///
    /// gevent: `Semaphore.locked()`.
    pub fn is_locked(&self) -> bool {
        self.available() == 0
    }

    /// The number of greenlets and threads that wait for a permit.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiters.len()
    }

    #[track_caller]
    fn look(&self, limit: Deadline) -> Result<usize> {
        begin()?;
        wait_for(
            &self.state,
            |state| &mut state.onlookers,
            Wait::Semaphore,
            limit,
            |state| match state {
                State { closed: true, .. } => Some(Err(closed())),
                State { free: 0, .. } => None,
                State { free, .. } => Some(Ok(*free)),
            },
        )?
    }

    fn permit(&self) -> Permit {
        Permit {
            semaphore: Some(self.clone()),
        }
    }
}

impl State {
    fn take(&mut self) -> bool {
        let free = !self.closed && self.free > 0;
        if free {
            self.free -= 1;
        }
        free
    }

    /// Tells those who only look that a permit is free, or none will be.
    fn tell(&mut self) {
        self.onlookers.wake_all();
        self.watchers.tell_all();
    }
}

/// Ready when a permit is free, or the semaphore is closed.
impl Waitable for Semaphore {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_ready = state.free > 0 || state.closed;
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Semaphore")
            .field("available", &state.free)
            .field("waiting", &state.waiters.len())
            .field("closed", &state.closed)
            .finish()
    }
}

/// One permit of a [`Semaphore`]; dropping it gives it back.
///
/// It owns its share of the semaphore, so it can move to another greenlet.
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit {
    /// `None` once it is used up.
    semaphore: Option<Semaphore>,
}

impl Permit {
    /// Uses the permit up: the semaphore has one less from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let places = Semaphore::new(2);
    /// places.acquire()?.forget();
    /// assert_eq!(places.available(), 1); // and never 2 again
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn forget(mut self) {
        self.semaphore = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(semaphore) = self.semaphore.take() {
            semaphore.add_permits(1);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed("semaphore"))
}
