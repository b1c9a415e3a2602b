//! Data that one greenlet at a time may use.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::reason::Wait;
use crate::sync::exclusive::Exclusive;

/// Data that one greenlet or thread at a time may use, also across calls that switch.
///
/// The lock goes straight to the first waiter; nobody who arrives later can take it in
/// between. A waiter that is killed or whose limit passes takes nothing with it. Who locks
/// it twice waits for itself for ever; [`RLock`](crate::sync::RLock) does not.
///
/// # Panics and kills
///
/// It is not poisoned. A kill is an error from a call, so code that holds the guard sees
/// it and leaves the data as it means to. A panic while the guard is held unwinds through
/// it: the data goes back as the panic left it, and the next one in line gets it. The
/// panic itself is reported by the greenlet's `join`. Who has an invariant to protect
/// against panics restores it in a destructor, or catches them.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Mutex;
/// use std::sync::Arc;
///
/// let total = Arc::new(Mutex::new(0));
/// let greenlets: Vec<_> = (1..=10)
///     .map(|n| {
///         let total = total.clone();
///         greenloop::spawn(move || {
///             let mut total = total.lock()?;
///             greenloop::yield_now()?; // others run; none of them gets at the total
///             *total += n;
///             Ok::<_, greenloop::Error>(())
///         })
///     })
///     .collect();
/// for greenlet in greenlets {
///     greenlet.join().unwrap()?;
/// }
/// assert_eq!(*total.lock()?, 55);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `threading.Lock` when patched, or `gevent.lock.BoundedSemaphore(1)`; neither
/// owns the data it protects.
pub struct Mutex<T> {
    /// The data leaves its place with the guard: no two can ever have it.
    data: Exclusive<Box<T>>,
}

impl<T> Mutex<T> {
    /// A lock around `data`.
    pub fn new(data: T) -> Self {
        Self {
            data: Exclusive::new(Box::new(data)),
        }
    }

    /// Locks it, waiting as long as it takes.
    ///
    /// Waiters are served first come, first served.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. The lock is not held then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// let list = Mutex::new(vec![1]);
    /// list.lock()?.push(2);
    /// assert_eq!(*list.lock()?, [1, 2]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Lock.acquire()`.
    #[track_caller]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        self.lock_deadline(Deadline::NEVER)
    }

    /// Locks it if nobody has it.
    ///
    /// Works in a killed greenlet and during a panic, too.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// let data = Mutex::new(1);
    /// let guard = data.try_lock().unwrap();
    /// assert!(data.try_lock().is_none());
    /// drop(guard);
    /// assert!(data.try_lock().is_some());
    /// ```
    ///
    /// gevent: `Lock.acquire(blocking=False)`.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.data.try_take().map(|data| self.guard(data))
    }

    /// Locks it, waiting at most `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Mutex::lock`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    /// use std::time::Duration;
    ///
    /// let data = Mutex::new(1);
    /// let guard = data.lock()?;
    /// let late = data.lock_timeout(Duration::from_millis(2));
    /// assert!(late.unwrap_err().is_timeout());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Lock.acquire(timeout=limit)`, which returns False.
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Result<MutexGuard<'_, T>> {
        self.lock_deadline(Deadline::after(limit))
    }

    /// Locks it, waiting until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Mutex::lock`]; timeout also when `limit` passed. If nobody has the lock it is
    /// taken even if `limit` has passed already.
    #[track_caller]
    pub fn lock_deadline(&self, limit: Deadline) -> Result<MutexGuard<'_, T>> {
        let data = self.data.take(Wait::Mutex, limit)?;
        Ok(self.guard(data))
    }

    /// Tells whether somebody has it, or is about to get it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `Lock.locked()`.
    pub fn is_locked(&self) -> bool {
        self.data.is_taken()
    }

    /// The number of greenlets and threads that wait for it.
    ///
    /// # Switching
    /// Never switches.
    pub fn waiting(&self) -> usize {
        self.data.waiting()
    }

    /// The data, which nobody else can have any more.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// If a guard was leaked (`std::mem::forget`): the data went with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// let list = Mutex::new(vec![1]);
    /// list.lock()?.push(2);
    /// assert_eq!(list.into_inner(), [1, 2]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        *self.data.into_inner().expect(LEAKED)
    }

    /// The data, without locking: the caller has the only reference.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// If a guard was leaked (`std::mem::forget`): the data went with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// let mut count = Mutex::new(1);
    /// *count.get_mut() += 1;
    /// assert_eq!(count.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut().expect(LEAKED)
    }

    fn guard(&self, data: Box<T>) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: self,
            data: Some(data),
        }
    }
}

const LEAKED: &str = "no guard of this mutex was leaked";

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

/// Shows the data if nobody has it; locks it meanwhile.
impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.try_lock() {
            Some(guard) => out.field("data", &&*guard),
            None => out.field("data", &format_args!("<locked>")),
        };
        out.field("waiting", &self.waiting()).finish()
    }
}

/// The data of a locked [`Mutex`]; dropping it gives the lock to the next one in line.
///
/// It may be held across calls that switch, and sent to another greenlet or thread. (The
/// deadlock report names who locked it, not who was sent the guard.)
///
/// # Switching
/// The drop never switches, also not during a panic.
#[must_use = "the lock is given on when the guard is dropped"]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` only inside [`Condvar::wait`](crate::sync::Condvar::wait), and in the drop.
    data: Option<Box<T>>,
}

impl<T> MutexGuard<'_, T> {
    /// Gives the lock on, until [`MutexGuard::resume`].
    pub(super) fn suspend(&mut self) {
        if let Some(data) = self.data.take() {
            self.mutex.data.give_back(data);
        }
    }

    /// Waits until it has the lock again, whatever else happens.
    #[track_caller]
    pub(super) fn resume(&mut self) {
        self.data = Some(self.mutex.data.take_surely(Wait::Mutex));
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.data.as_mut().expect(HELD)
    }
}

const HELD: &str = "a guard has the data while anybody can see it";

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.suspend();
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
