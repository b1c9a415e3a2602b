//! A semaphore that notices when it is released too often.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::watch::{Waitable, WatchId, Watcher};
use crate::sync::semaphore::{Permit, Semaphore};
use crate::util::lock;

/// A [`Semaphore`] that never has more permits than it began with.
///
/// A permit returns itself when it is dropped, as there. Where taking and giving back do
/// not fit one scope (a permit taken by one greenlet is given back by another, or on an
/// event), [`BoundedPermit::forget`] takes it, and [`BoundedSemaphore::release`] gives it
/// back: an error if there is none to give back, so that a second `release` for one
/// `forget` is noticed instead of raising the limit.
///
/// # Examples
///
/// ```
/// use greenloop::sync::BoundedSemaphore;
///
/// let places = BoundedSemaphore::new(1);
/// places.acquire()?.forget();
/// assert!(places.try_acquire().is_none());
/// places.release()?;
/// assert!(places.release().is_err());
/// assert_eq!(places.available(), 1);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.lock.BoundedSemaphore`, which raises `ValueError`. It counts what is
/// free, and so does not notice a wrong `release` while others have permits; ours does.
#[derive(Clone)]
pub struct BoundedSemaphore {
    permits: Semaphore,
    bound: usize,
    /// Permits that were taken for good, until they are released.
    forgotten: Arc<Mutex<usize>>,
}

impl BoundedSemaphore {
    /// A semaphore with `permits` permits.
    pub fn new(permits: usize) -> Self {
        Self {
            permits: Semaphore::new(permits),
            bound: permits,
            forgotten: Arc::default(),
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
    /// As [`Semaphore::acquire`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::BoundedSemaphore;
    ///
    /// let places = BoundedSemaphore::new(2);
    /// let permit = places.acquire()?;
    /// assert_eq!(places.available(), 1);
    /// drop(permit);
    /// assert_eq!(places.available(), 2);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `BoundedSemaphore.acquire()`.
    #[track_caller]
    pub fn acquire(&self) -> Result<BoundedPermit> {
        self.acquire_deadline(Deadline::NEVER)
    }

    /// Takes a permit if one is free.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `BoundedSemaphore.acquire(blocking=False)`.
    pub fn try_acquire(&self) -> Option<BoundedPermit> {
        self.permits.try_acquire().map(|permit| self.permit(permit))
    }

    /// Takes a permit, waiting at most `limit` for one.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`].
    ///
    /// gevent: `BoundedSemaphore.acquire(timeout=limit)`, which returns False.
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Result<BoundedPermit> {
        self.acquire_deadline(Deadline::after(limit))
    }

    /// Takes a permit, waiting for one until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_deadline`].
    #[track_caller]
    pub fn acquire_deadline(&self, limit: Deadline) -> Result<BoundedPermit> {
        let permit = self.permits.acquire_deadline(limit)?;
        Ok(self.permit(permit))
    }

    /// Gives back a permit that was taken with [`BoundedPermit::forget`], to the first
    /// waiter if there is one.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// [`Error::is_limit`](crate::Error::is_limit), when there is none to give back;
    /// nothing changes then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::BoundedSemaphore;
    ///
    /// let places = BoundedSemaphore::new(1);
    /// places.acquire()?.forget();
    /// places.release()?; // perhaps by somebody else
    /// let once_more = places.release().unwrap_err();
    /// assert!(once_more.is_limit());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `BoundedSemaphore.release()`, which raises `ValueError`.
    pub fn release(&self) -> Result<()> {
        {
            let mut forgotten = lock(&self.forgotten);
            if *forgotten == 0 {
                let text = format!(
                    "semaphore released more often than acquired ({} permits)",
                    self.bound
                );
                return Err(Error::new(ErrorKind::Limit(text)));
            }
            *forgotten -= 1;
        }
        self.permits.add_permits(1);
        Ok(())
    }

    /// The number of permits that it began with.
    pub fn permits(&self) -> usize {
        self.bound
    }

    /// The number of permits that nobody holds.
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// Tells whether no permit is free.
    ///
    /// gevent: `BoundedSemaphore.locked()`.
    pub fn is_locked(&self) -> bool {
        self.permits.is_locked()
    }

    /// The number of greenlets and threads that wait for a permit.
    pub fn waiting(&self) -> usize {
        self.permits.waiting()
    }

    fn permit(&self, permit: Permit) -> BoundedPermit {
        BoundedPermit {
            permit,
            forgotten: self.forgotten.clone(),
        }
    }
}

/// Ready when a permit is free.
impl Waitable for BoundedSemaphore {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        self.permits.watch(watcher)
    }

    fn unwatch(&self, id: WatchId) {
        self.permits.unwatch(id);
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("permits", &self.bound)
            .field("available", &self.available())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// One permit of a [`BoundedSemaphore`]; dropping it gives it back.
#[must_use = "the permit is given back when it is dropped"]
pub struct BoundedPermit {
    permit: Permit,
    forgotten: Arc<Mutex<usize>>,
}

impl BoundedPermit {
    /// Keeps the permit taken until somebody calls [`BoundedSemaphore::release`].
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::BoundedSemaphore;
    ///
    /// let places = BoundedSemaphore::new(1);
    /// places.acquire()?.forget();
    /// assert!(places.is_locked());
    /// places.release()?;
    /// assert!(!places.is_locked());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn forget(self) {
        // Counted before anybody can give it back.
        *lock(&self.forgotten) += 1;
        self.permit.forget();
    }
}

impl fmt::Debug for BoundedPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundedPermit")
    }
}
