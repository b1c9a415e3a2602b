//! Data that many may read or one may change.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, WaitList, current};
use crate::runtime::reason::{Wait, Whom};
use crate::sync::waiters::{Slot, begin};
use crate::util::lock;

/// Data that many may read at a time, or one may change, also across calls that switch.
///
/// Readers and writers stand in one line, first come, first served: a reader that arrives
/// after a waiting writer waits behind it, so neither side can starve the other. Readers
/// that stand together at the head of the line enter together. For the same reason who
/// reads must not ask to read again, or to write, before it has let go: a writer may wait
/// in between, and nobody would ever move.
///
/// Like [`Mutex`](crate::sync::Mutex) it is not poisoned by a panic, and a waiter that is
/// killed or whose limit passes takes nothing with it.
///
/// # Examples
///
/// ```
/// use greenloop::sync::RwLock;
///
/// let routes = RwLock::new(vec!["/"]);
/// {
///     let (a, b) = (routes.read()?, routes.read()?);
///     assert_eq!(a.len() + b.len(), 2);
///     assert!(routes.try_write().is_none());
/// }
/// routes.write()?.push("/health");
/// assert_eq!(*routes.read()?, ["/", "/health"]);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none.
pub struct RwLock<T> {
    state: Mutex<State<T>>,
    /// The number of the writer; 0 while there is none.
    writer: Arc<AtomicU64>,
}

struct State<T> {
    /// Shared with the readers' guards; a writer takes it out, when nobody else has it.
    data: Option<Arc<T>>,
    readers: usize,
    /// Its first one, if there is one, cannot be let in at present.
    line: WaitList<Claim<T>>,
}

/// What a waiter wants, and where it gets it.
struct Claim<T> {
    access: Access,
    slot: Slot<Arc<T>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl<T> RwLock<T> {
    /// A lock around `data`.
    pub fn new(data: T) -> Self {
        let state = State {
            data: Some(Arc::new(data)),
            readers: 0,
            line: WaitList::new(),
        };
        Self {
            state: Mutex::new(state),
            writer: Arc::default(),
        }
    }

    /// Enters as a reader, waiting as long as it takes.
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
    /// use greenloop::sync::RwLock;
    ///
    /// let limits = RwLock::new([10, 20]);
    /// let (one, other) = (limits.read()?, limits.read()?); // side by side
    /// assert_eq!((one[0], other[1]), (10, 20));
    /// assert_eq!(limits.reading(), 2);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>> {
        self.read_deadline(Deadline::NEVER)
    }

    /// Enters as a reader if nobody writes and nobody waits.
    ///
    /// # Switching
    /// Never switches.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        let data = lock(&self.state).admit(Access::Read)?;
        Some(self.read_guard(data))
    }

    /// Enters as a reader, waiting at most `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`RwLock::read`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    /// use std::time::Duration;
    ///
    /// let data = RwLock::new(1);
    /// let writing = data.write()?;
    /// let late = data.read_timeout(Duration::from_millis(2));
    /// assert!(late.unwrap_err().is_timeout());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn read_timeout(&self, limit: Duration) -> Result<RwLockReadGuard<'_, T>> {
        self.read_deadline(Deadline::after(limit))
    }

    /// Enters as a reader, waiting until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`RwLock::read`]; timeout also when `limit` passed. Who can enter at once does,
    /// even if `limit` has passed already.
    #[track_caller]
    pub fn read_deadline(&self, limit: Deadline) -> Result<RwLockReadGuard<'_, T>> {
        let data = self.enter(Access::Read, limit)?;
        Ok(self.read_guard(data))
    }

    /// Enters as the writer, waiting as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// let count = RwLock::new(1);
    /// {
    ///     let mut count_inside = count.write()?;
    ///     *count_inside += 1;
    ///     assert!(count.try_read().is_none());
    /// }
    /// assert_eq!(*count.read()?, 2);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>> {
        self.write_deadline(Deadline::NEVER)
    }

    /// Enters as the writer if nobody else is inside.
    ///
    /// # Switching
    /// Never switches.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let data = lock(&self.state).admit(Access::Write)?;
        Some(self.write_guard(data))
    }

    /// Enters as the writer, waiting at most `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    #[track_caller]
    pub fn write_timeout(&self, limit: Duration) -> Result<RwLockWriteGuard<'_, T>> {
        self.write_deadline(Deadline::after(limit))
    }

    /// Enters as the writer, waiting until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`RwLock::read_deadline`].
    #[track_caller]
    pub fn write_deadline(&self, limit: Deadline) -> Result<RwLockWriteGuard<'_, T>> {
        let data = self.enter(Access::Write, limit)?;
        Ok(self.write_guard(data))
    }

    /// The number of readers inside, counting those who are about to enter.
    ///
    /// # Switching
    /// Never switches.
    pub fn reading(&self) -> usize {
        lock(&self.state).readers
    }

    /// Tells whether a writer is inside, or about to enter.
    ///
    /// # Switching
    /// Never switches.
    pub fn is_writing(&self) -> bool {
        lock(&self.state).data.is_none()
    }

    /// The number of greenlets and threads that wait to enter.
    ///
    /// # Switching
    /// Never switches.
    pub fn waiting(&self) -> usize {
        lock(&self.state).line.len()
    }

    /// The data, which nobody else can have any more.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// If a guard was leaked (`std::mem::forget`): it has the data still.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// let list = RwLock::new(vec![1]);
    /// list.write()?.push(2);
    /// assert_eq!(list.into_inner(), [1, 2]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        let state = self.state.into_inner();
        let data = state.unwrap_or_else(PoisonError::into_inner).data;
        data.and_then(Arc::into_inner).expect(LEAKED)
    }

    /// The data, without locking: the caller has the only reference.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// If a guard was leaked (`std::mem::forget`): it has the data still.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// let mut count = RwLock::new(1);
    /// *count.get_mut() += 1;
    /// assert_eq!(count.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        let state = self.state.get_mut();
        let data = &mut state.unwrap_or_else(PoisonError::into_inner).data;
        data.as_mut().and_then(Arc::get_mut).expect(LEAKED)
    }

    #[track_caller]
    fn enter(&self, access: Access, limit: Deadline) -> Result<Arc<T>> {
        begin()?;
        let parker = Parker::new();
        let (slot, ticket) = {
            let mut state = lock(&self.state);
            if let Some(data) = state.admit(access) {
                return Ok(data);
            }
            let slot = Slot::new(None);
            let claim = Claim {
                access,
                slot: slot.share(),
            };
            (slot, state.line.push(parker.unparker(), claim))
        };
        let waited = parker.park_for(Wait::RwLock, limit, Whom::Holder(self.writer.clone()));
        let mut state = lock(&self.state);
        match (slot.take(), waited) {
            (Some(data), _) => Ok(data),
            (None, Err(error)) => {
                state.line.remove(ticket);
                // Those behind a writer that gives up may be able to enter now.
                state.let_in();
                Err(error)
            }
            (None, Ok(())) => unreachable!("a waiter is woken with the data only"),
        }
    }

    fn read_guard(&self, data: Arc<T>) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard {
            lock: self,
            data: Some(data),
        }
    }

    fn write_guard(&self, data: Arc<T>) -> RwLockWriteGuard<'_, T> {
        self.writer.store(current().id, Ordering::Relaxed);
        RwLockWriteGuard {
            lock: self,
            data: Some(data),
        }
    }

    fn give_back(&self, access: Access, data: Arc<T>) {
        let mut state = lock(&self.state);
        if access == Access::Write {
            self.writer.store(0, Ordering::Relaxed);
        }
        state.take_back(access, data);
        state.let_in();
    }
}

const LEAKED: &str = "no guard of this lock was leaked";

impl<T> State<T> {
    /// Lets a newcomer in, if nobody waits and those inside allow it.
    fn admit(&mut self, access: Access) -> Option<Arc<T>> {
        if self.line.len() > 0 {
            return None;
        }
        self.grant(access)
    }

    fn grant(&mut self, access: Access) -> Option<Arc<T>> {
        match access {
            Access::Read => {
                let data = self.data.clone()?;
                self.readers += 1;
                Some(data)
            }
            Access::Write if self.readers > 0 => None,
            Access::Write => self.data.take(),
        }
    }

    /// Undoes a grant. A reader's share is never the last: no destructor runs here.
    fn take_back(&mut self, access: Access, data: Arc<T>) {
        match access {
            Access::Read => self.readers -= 1,
            Access::Write => self.data = Some(data),
        }
    }

    /// Lets in who stands at the head of the line, as far as those inside allow it.
    fn let_in(&mut self) {
        while let Some(access) = self.line.first().map(|claim| claim.access) {
            let Some(data) = self.grant(access) else {
                return;
            };
            let Some((waiter, claim)) = self.line.pop() else {
                return self.take_back(access, data);
            };
            // Before the wake-up: the waiter may run at once.
            claim.slot.put(data);
            if !waiter.unpark()
                && let Some(data) = claim.slot.take()
            {
                self.take_back(access, data);
            }
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

/// Shows the data if it can be read at once; reads it meanwhile.
impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Some(guard) => out.field("data", &&*guard),
            None => out.field("data", &format_args!("<locked>")),
        };
        out.field("waiting", &self.waiting()).finish()
    }
}

/// The data of an [`RwLock`], to read; dropping it leaves.
///
/// It may be held across calls that switch, and sent to another greenlet or thread.
///
/// # Switching
/// The drop never switches, also not during a panic.
#[must_use = "the lock is left when the guard is dropped"]
pub struct RwLockReadGuard<'a, T> {
    lock: &'a RwLock<T>,
    /// `None` only in the drop.
    data: Option<Arc<T>>,
}

/// The data of an [`RwLock`], to change; dropping it leaves.
///
/// It may be held across calls that switch, and sent to another greenlet or thread. (The
/// deadlock report names who locked it, not who was sent the guard.)
///
/// # Switching
/// The drop never switches, also not during a panic.
#[must_use = "the lock is left when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T> {
    lock: &'a RwLock<T>,
    /// `None` only in the drop.
    data: Option<Arc<T>>,
}

const HELD: &str = "a guard has the data until it is dropped";

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data.as_ref().expect(HELD)
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let data = self.data.as_mut().expect(HELD);
        Arc::get_mut(data).expect("a writer is let in when no reader has a share")
    }
}

impl<T> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            self.lock.give_back(Access::Read, data);
        }
    }
}

impl<T> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            self.lock.give_back(Access::Write, data);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
