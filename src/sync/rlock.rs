//! A lock that its owner may take again.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::current;
use crate::runtime::reason::Wait;
use crate::sync::exclusive::Exclusive;
use crate::sync::waiters::begin;

/// A lock that the greenlet (or OS thread) that has it may take again.
///
/// It is free when as many guards were dropped as were taken, and then goes straight to
/// the first waiter. A waiter that is killed or whose limit passes takes nothing with it.
/// A panic does not poison it.
///
/// It holds no data: what its owner may reach twice can only be shared, never `&mut`. For
/// data there is [`Mutex`](crate::sync::Mutex).
///
/// # Only the owner releases
///
/// There is no call that releases; dropping the guard does, and a guard cannot be sent to
/// another greenlet or thread. (It moves with its greenlet from one OS thread to the next:
/// the owner is the greenlet.)
///
/// ```compile_fail,E0277
/// let lock = greenloop::sync::RLock::new();
/// greenloop::sync::scope(|s| {
///     let guard = lock.lock().unwrap();
///     s.spawn(move || drop(guard)); // error: `RLockGuard` cannot be sent between threads
/// });
/// ```
///
/// # Examples
///
/// ```
/// use greenloop::sync::RLock;
///
/// fn transfer(books: &RLock) -> greenloop::Result<()> {
///     let _guard = books.lock()?;
///     audit(books)
/// }
///
/// fn audit(books: &RLock) -> greenloop::Result<()> {
///     let _again = books.lock()?; // does not wait for itself
///     greenloop::yield_now()
/// }
///
/// let books = RLock::new();
/// transfer(&books)?;
/// assert!(!books.is_locked());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.lock.RLock`, whose `release` by another greenlet raises
/// `RuntimeError`; here it does not compile.
#[derive(Clone)]
pub struct RLock {
    inner: Arc<Inner>,
}

struct Inner {
    right: Exclusive<()>,
    /// How many guards its owner has; only the owner touches it.
    depth: AtomicUsize,
}

impl RLock {
    /// A lock that nobody has.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                right: Exclusive::new(()),
                depth: AtomicUsize::new(0),
            }),
        }
    }

    /// Locks it, waiting as long as it takes, unless the caller has it already.
    ///
    /// Waiters are served first come, first served.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. What the caller had of the lock it keeps.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RLock;
    ///
    /// let lock = RLock::new();
    /// let outer = lock.lock()?;
    /// let inner = lock.lock()?; // does not wait for itself
    /// drop(outer);
    /// assert!(lock.is_mine(), "one guard is left");
    /// drop(inner);
    /// assert!(!lock.is_locked());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `RLock.acquire()`.
    #[track_caller]
    pub fn lock(&self) -> Result<RLockGuard<'_>> {
        self.lock_deadline(Deadline::NEVER)
    }

    /// Locks it if nobody else has it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RLock;
    ///
    /// let lock = RLock::new();
    /// let _guard = lock.lock()?;
    /// assert!(lock.try_lock().is_some());
    /// let other = lock.clone();
    /// let theirs = greenloop::spawn(move || other.try_lock().is_some());
    /// assert!(!theirs.join().unwrap());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `RLock.acquire(blocking=False)`.
    pub fn try_lock(&self) -> Option<RLockGuard<'_>> {
        if !self.is_mine() {
            self.inner.right.try_take()?;
        }
        Some(self.guard())
    }

    /// Locks it, waiting at most `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`RLock::lock`]; timeout also when `limit` passed.
    ///
    /// gevent: `RLock.acquire(timeout=limit)`, which returns False.
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Result<RLockGuard<'_>> {
        self.lock_deadline(Deadline::after(limit))
    }

    /// Locks it, waiting until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`RLock::lock`]; timeout also when `limit` passed. If nobody else has the lock
    /// it is taken even if `limit` has passed already.
    #[track_caller]
    pub fn lock_deadline(&self, limit: Deadline) -> Result<RLockGuard<'_>> {
        if self.is_mine() {
            begin()?;
        } else {
            self.inner.right.take(Wait::RLock, limit)?;
        }
        Ok(self.guard())
    }

    /// Tells whether somebody has it, or is about to get it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `RLock.locked()`.
    pub fn is_locked(&self) -> bool {
        self.inner.right.is_taken()
    }

    /// Tells whether the caller has it.
    ///
    /// # Switching
    /// Never switches.
    pub fn is_mine(&self) -> bool {
        self.inner.right.holder() == current().id
    }

    /// The number of greenlets and threads that wait for it.
    ///
    /// # Switching
    /// Never switches.
    pub fn waiting(&self) -> usize {
        self.inner.right.waiting()
    }

    fn guard(&self) -> RLockGuard<'_> {
        self.inner.depth.fetch_add(1, Ordering::Relaxed);
        RLockGuard {
            lock: self,
            stays_here: PhantomData,
        }
    }
}

impl Default for RLock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock")
            .field("locked", &self.is_locked())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// One taking of an [`RLock`]; dropping it takes it back.
///
/// It may be held across calls that switch, but stays with its greenlet.
///
/// # Switching
/// The drop never switches, also not during a panic.
#[must_use = "the lock is given on when the guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    /// Neither `Send` nor `Sync`: another greenlet is not the owner.
    stays_here: PhantomData<*const ()>,
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        let inner = &self.lock.inner;
        if inner.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            inner.right.give_back(());
        }
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RLockGuard")
    }
}
