//! Waiting for a change of what a mutex protects.

use std::fmt;
use std::sync;
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, WaitList};
use crate::runtime::reason::Wait;
use crate::sync::mutex::MutexGuard;
use crate::sync::waiters::begin;
use crate::util::lock;

/// Lets greenlets and threads wait until what a [`Mutex`](crate::sync::Mutex) protects has
/// changed.
///
/// Who waits gives the lock on and has it again when the call returns, **also when the
/// call fails**: then it waits for the lock whatever else happens, as a kill and a limit
/// must not leave it in the middle of a critical section without its lock. A kill or a
/// limit thus takes effect as soon as the lock can be had.
///
/// Waiters are notified first come, first served. A notification is never lost to a waiter
/// that was killed or timed out; there are no spurious wake-ups, but another greenlet may
/// have had the lock between the notification and the return, so the condition belongs in
/// a loop, or in [`Condvar::wait_while`].
///
/// # Examples
///
/// ```
/// use greenloop::sync::{Condvar, Mutex};
/// use std::sync::Arc;
///
/// let door = Arc::new((Mutex::new(false), Condvar::new()));
/// let visitor = {
///     let door = door.clone();
///     greenloop::spawn(move || {
///         let (is_open, changed) = &*door;
///         let mut is_open = is_open.lock()?;
///         changed.wait_while(&mut is_open, |is_open| !*is_open)?;
///         Ok::<_, greenloop::Error>(*is_open)
///     })
/// };
/// *door.0.lock()? = true;
/// door.1.notify_one();
/// assert!(visitor.join().unwrap()?);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `threading.Condition` when patched, which brings its own lock.
#[derive(Default)]
pub struct Condvar {
    line: sync::Mutex<WaitList>,
}

impl Condvar {
    /// A condition that nobody waits for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the lock on, waits to be notified, and takes the lock again.
    ///
    /// Nothing is missed in between: who notifies after the lock was given on reaches
    /// this waiter.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. The lock is held in either case.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Condvar, Mutex};
    /// use std::sync::Arc;
    ///
    /// let door = Arc::new((Mutex::new(false), Condvar::new()));
    /// let opener = door.clone();
    /// greenloop::spawn(move || {
    ///     *opener.0.lock()? = true;
    ///     opener.1.notify_one();
    ///     Ok::<_, greenloop::Error>(())
    /// });
    /// let mut is_open = door.0.lock()?;
    /// while !*is_open {
    ///     door.1.wait(&mut is_open)?;
    /// }
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Condition.wait()`.
    #[track_caller]
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) -> Result<()> {
        self.wait_until_notified(guard, Deadline::NEVER)
    }

    /// Like [`Condvar::wait`], but waits at most `limit` to be notified; false if it was
    /// not.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Condvar::wait`]. `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (data, changed) = (Mutex::new(0), Condvar::new());
    /// let mut guard = data.lock()?;
    /// assert!(!changed.wait_timeout(&mut guard, Duration::from_millis(2))?);
    /// *guard += 1; // the lock is held again
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Condition.wait(timeout=limit)`.
    #[track_caller]
    pub fn wait_timeout<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Duration) -> Result<bool> {
        self.wait_deadline(guard, Deadline::after(limit))
    }

    /// Like [`Condvar::wait`], but waits until `limit` to be notified; false if it was not.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Condvar::wait_timeout`].
    #[track_caller]
    pub fn wait_deadline<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Deadline) -> Result<bool> {
        match self.wait_until_notified(guard, limit) {
            Ok(()) => Ok(true),
            Err(error) if error.is_own_limit() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits as long as `condition` holds; looks at it after every notification, with the
    /// lock held.
    ///
    /// # Switching
    /// May switch to other greenlets, unless `condition` does not hold.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Condvar, Mutex};
    /// use std::sync::Arc;
    ///
    /// let work = Arc::new((Mutex::new(3), Condvar::new()));
    /// for _ in 0..3 {
    ///     let work = work.clone();
    ///     greenloop::spawn(move || {
    ///         *work.0.lock()? -= 1;
    ///         work.1.notify_all();
    ///         Ok::<_, greenloop::Error>(())
    ///     });
    /// }
    /// let mut left = work.0.lock()?;
    /// work.1.wait_while(&mut left, |left| *left > 0)?;
    /// assert_eq!(*left, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Condition.wait_for(predicate)`, which waits *until* it holds.
    #[track_caller]
    pub fn wait_while<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<()> {
        self.wait_while_deadline(guard, Deadline::NEVER, condition)
            .map(drop)
    }

    /// Like [`Condvar::wait_while`], at most for `limit`; false if `condition` holds still.
    ///
    /// # Switching
    /// May switch to other greenlets, unless `condition` does not hold.
    ///
    /// # Errors
    /// As [`Condvar::wait_timeout`].
    ///
    /// gevent: `Condition.wait_for(predicate, timeout=limit)`.
    #[track_caller]
    pub fn wait_while_timeout<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<bool> {
        self.wait_while_deadline(guard, Deadline::after(limit), condition)
    }

    /// Like [`Condvar::wait_while`], until `limit`; false if `condition` holds still.
    ///
    /// # Switching
    /// May switch to other greenlets, unless `condition` does not hold.
    ///
    /// # Errors
    /// As [`Condvar::wait_timeout`].
    #[track_caller]
    pub fn wait_while_deadline<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: Deadline,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<bool> {
        while condition(guard) {
            if !self.wait_deadline(guard, limit)? {
                return Ok(!condition(guard));
            }
        }
        Ok(true)
    }

    /// Wakes the first waiter; false if nobody waits.
    ///
    /// The caller need not hold the lock. If it does, the waiter stands in line for it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (data, changed) = (Mutex::new(0), Condvar::new());
    /// assert!(!changed.notify_one(), "nobody waits");
    /// // It is not kept for those who come later.
    /// let mut guard = data.lock()?;
    /// assert!(!changed.wait_timeout(&mut guard, Duration::from_millis(2))?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Condition.notify()`, which asks for the lock.
    pub fn notify_one(&self) -> bool {
        lock(&self.line).wake_one().is_some()
    }

    /// Wakes all who wait now, in order.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Condvar, Mutex};
    /// use std::sync::Arc;
    ///
    /// let gate = Arc::new((Mutex::new(false), Condvar::new()));
    /// let visitors = [0, 1, 2].map(|_| {
    ///     let gate = gate.clone();
    ///     greenloop::spawn(move || {
    ///         let mut is_open = gate.0.lock()?;
    ///         gate.1.wait_while(&mut is_open, |is_open| !*is_open)
    ///     })
    /// });
    /// *gate.0.lock()? = true;
    /// gate.1.notify_all();
    /// for visitor in visitors {
    ///     visitor.join().unwrap()?;
    /// }
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Condition.notify_all()`, which asks for the lock.
    pub fn notify_all(&self) {
        lock(&self.line).wake_all();
    }

    /// The number of greenlets and threads that wait to be notified.
    ///
    /// # Switching
    /// Never switches.
    pub fn waiting(&self) -> usize {
        lock(&self.line).len()
    }

    #[track_caller]
    fn wait_until_notified<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Deadline) -> Result<()> {
        begin()?;
        let parker = Parker::new();
        // In line before the lock is given on: who changes the data finds this waiter.
        let ticket = lock(&self.line).push(parker.unparker(), ());
        guard.suspend();
        let waited = parker.park(Wait::Condvar, limit);
        if waited.is_err() {
            lock(&self.line).remove(ticket);
        }
        guard.resume();
        waited
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("waiting", &self.waiting())
            .finish()
    }
}
