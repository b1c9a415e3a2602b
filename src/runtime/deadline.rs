//! When waiting ends: [`Deadline`] for one call, [`Timeout`] for a stretch of code.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, TimeoutId};
use crate::runtime::clock;
use crate::runtime::park::current;
use crate::runtime::task::Task;

/// The moment at which a call gives up.
///
/// Every call that may wait has a variant that takes one. A limit in time converts:
/// `Duration` counts from now, `None` never ends.
///
/// # Examples
///
/// ```
/// use greenloop::Deadline;
/// use std::time::Duration;
///
/// let soon = Deadline::after(Duration::from_millis(20));
/// assert!(soon < Deadline::NEVER);
/// assert!(soon.remaining().unwrap() <= Duration::from_millis(20));
/// assert_eq!(Deadline::NEVER.remaining(), None);
/// assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
/// ```
///
/// gevent: the `timeout=` argument, which counts again in every call of a loop; a
/// deadline does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// No limit.
    pub const NEVER: Self = Self(clock::NEVER);

    /// `limit` from now. A limit too large to count is [`Deadline::NEVER`].
    pub fn after(limit: Duration) -> Self {
        Self(clock::after(limit))
    }

    /// At `instant`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use std::time::{Duration, Instant};
    ///
    /// let start = Instant::now();
    /// assert!(Deadline::at(start).is_passed());
    /// assert!(Deadline::at(start + Duration::from_secs(60)) > Deadline::at(start));
    /// ```
    pub fn at(instant: Instant) -> Self {
        Self(clock::from_instant(instant))
    }

    /// The nearer of the two.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use std::time::Duration;
    ///
    /// let (own, callers) = (Deadline::after(Duration::from_secs(5)), Deadline::NEVER);
    /// assert_eq!(own.earlier(callers), own);
    /// ```
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// The time left, zero if it has passed, `None` if there is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Deadline::NEVER.remaining(), None);
    /// assert_eq!(Deadline::after(Duration::ZERO).remaining(), Some(Duration::ZERO));
    /// ```
    pub fn remaining(self) -> Option<Duration> {
        (self != Self::NEVER).then(|| clock::until(self.0))
    }

    /// Tells whether it has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use std::time::Duration;
    ///
    /// assert!(Deadline::after(Duration::ZERO).is_passed());
    /// assert!(!Deadline::NEVER.is_passed());
    /// ```
    pub fn is_passed(self) -> bool {
        self != Self::NEVER && self.0 <= clock::now()
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0
    }
}

impl From<Duration> for Deadline {
    fn from(limit: Duration) -> Self {
        Self::after(limit)
    }
}

impl From<Option<Duration>> for Deadline {
    fn from(limit: Option<Duration>) -> Self {
        limit.map_or(Self::NEVER, Self::after)
    }
}

impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        Self::at(instant)
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remaining() {
            None => f.write_str("Deadline(never)"),
            Some(left) => write!(f, "Deadline(in {left:?})"),
        }
    }
}

/// A limit on everything the current greenlet does while the value lives.
///
/// Timeouts nest. The nearest one ends the wait, and the error says which it was, so an
/// inner timeout never swallows an outer one: ask [`Timeout::owns`] before treating an
/// error as your own. It stays expired: every later blocking call fails at once until the
/// value is dropped, cancelled or restarted.
///
/// # Switching
/// Never switches itself.
///
/// # Examples
///
/// ```
/// use greenloop::Timeout;
/// use std::time::Duration;
///
/// let limit = Timeout::start(Duration::from_millis(5));
/// let error = greenloop::sleep(Duration::from_secs(60)).unwrap_err();
/// assert!(limit.owns(&error));
/// drop(limit);
/// greenloop::sleep(Duration::from_millis(1)).unwrap();
/// ```
///
/// gevent: `gevent.Timeout` as a context manager; ours is an error from blocking calls
/// instead of an exception out of nowhere.
pub struct Timeout {
    id: TimeoutId,
    task: Arc<Task>,
}

impl Timeout {
    /// Starts a timeout of `limit` for the current greenlet or OS thread.
    ///
    /// A limit of zero fires at the next blocking call; none, or `Duration::MAX`, never
    /// does.
    ///
    /// gevent: `Timeout.start_new(limit)`.
    pub fn start(limit: impl Into<Option<Duration>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = TimeoutId(NEXT.fetch_add(1, Ordering::Relaxed));
        let task = current();
        task.push_limit(id, limit.into().unwrap_or(Duration::MAX));
        Self { id, task }
    }

    /// Its identity, which errors carry.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Timeout, sleep};
    /// use std::time::Duration;
    ///
    /// let limit = Timeout::start(Duration::ZERO);
    /// let error = sleep(Duration::from_secs(60)).unwrap_err();
    /// assert_eq!(error.timeout_id(), Some(limit.id()));
    /// ```
    pub fn id(&self) -> TimeoutId {
        self.id
    }

    /// Tells whether `error` means that this timeout fired.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Timeout, sleep};
    /// use std::time::Duration;
    ///
    /// let outer = Timeout::start(Duration::from_millis(2));
    /// let inner = Timeout::start(Duration::from_secs(60));
    /// let error = sleep(Duration::from_secs(60)).unwrap_err();
    /// assert!(outer.owns(&error));
    /// assert!(!inner.owns(&error));
    /// ```
    ///
    /// gevent: `except Timeout as t: if t is mine`.
    pub fn owns(&self, error: &Error) -> bool {
        error.timeout_id() == Some(self.id)
    }

    /// Lets the timeout count from now again, also after it fired.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Timeout, sleep};
    /// use std::time::Duration;
    ///
    /// let mut limit = Timeout::start(Duration::ZERO);
    /// assert!(sleep(Duration::ZERO).is_err(), "it has fired");
    /// limit.restart(Duration::from_secs(60));
    /// assert!(sleep(Duration::from_millis(1)).is_ok());
    /// ```
    pub fn restart(&mut self, limit: impl Into<Option<Duration>>) {
        self.task.remove_limit(self.id);
        self.task
            .push_limit(self.id, limit.into().unwrap_or(Duration::MAX));
    }

    /// Tells whether it counts and its moment has not come yet.
    ///
    /// gevent: `Timeout.pending`.
    pub fn is_pending(&self) -> bool {
        self.task
            .limit_of(self.id)
            .is_some_and(|at| at > clock::now())
    }

    /// Ends the timeout; nothing fires later until it is restarted.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Timeout, sleep};
    /// use std::time::Duration;
    ///
    /// let mut limit = Timeout::start(Duration::from_millis(1));
    /// limit.cancel();
    /// assert!(!limit.is_pending());
    /// assert!(sleep(Duration::from_millis(5)).is_ok());
    /// ```
    ///
    /// gevent: `Timeout.cancel()`.
    pub fn cancel(&mut self) {
        self.task.remove_limit(self.id);
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        self.task.remove_limit(self.id);
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Runs `f` under a [`Timeout`] of `limit`.
///
/// # Switching
/// Only where `f` does.
///
/// # Errors
/// What `f` returns. When the limit passes, the blocking call inside `f` fails with an
/// error for which [`Error::is_timeout`] holds, and `f` is expected to pass it on.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let answer = greenloop::timeout(Duration::from_secs(5), || {
///     greenloop::sleep(Duration::from_millis(1))?;
///     Ok::<_, greenloop::Error>(42)
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
///
/// gevent: `with_timeout(limit, f)`.
pub fn timeout<T, E>(
    limit: impl Into<Option<Duration>>,
    f: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let _limit = Timeout::start(limit);
    f()
}

/// Runs `f` under a [`Timeout`] of `limit` and gives `default` if that one fires.
///
/// Another timeout's expiry is passed on: only its own is taken for an answer.
///
/// # Switching
/// Only where `f` does.
///
/// # Errors
/// What `f` returns, its own expiry excepted.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let answer = greenloop::timeout_or(Duration::from_millis(2), "none", || {
///     greenloop::sleep(Duration::from_secs(60))?;
///     Ok("some")
/// });
/// assert_eq!(answer.unwrap(), "none");
/// ```
///
/// gevent: `with_timeout(limit, f, timeout_value=default)`.
pub fn timeout_or<T>(
    limit: impl Into<Option<Duration>>,
    default: T,
    f: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let limit = Timeout::start(limit);
    match f() {
        Err(error) if limit.owns(&error) => Ok(default),
        other => other,
    }
}

/// Runs `f` under a [`Timeout`] of `limit` and gives `None` if that one fires.
///
/// Another timeout's expiry is passed on: only its own is silent.
///
/// # Switching
/// Only where `f` does.
///
/// # Errors
/// What `f` returns, its own expiry excepted.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let line = greenloop::timeout_or_none(Duration::from_millis(2), || {
///     greenloop::sleep(Duration::from_secs(60))?;
///     Ok("line")
/// });
/// assert_eq!(line?, None);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `with Timeout(limit, False): ...`.
pub fn timeout_or_none<T>(
    limit: impl Into<Option<Duration>>,
    f: impl FnOnce() -> Result<T>,
) -> Result<Option<T>> {
    timeout_or(limit, None, || f().map(Some))
}

/// The error of a call whose own limit passed.
pub(crate) fn elapsed(owner: Option<TimeoutId>, limit: Option<Duration>) -> Error {
    Error::new(ErrorKind::Elapsed { owner, limit })
}
