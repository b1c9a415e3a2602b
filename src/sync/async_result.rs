//! A value that comes later, once, and that any number wait for.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
use crate::sync::waiters::begin;
use crate::util::lock;

/// A value, or a failure, that somebody with the [`Setter`] provides once.
///
/// Any number of greenlets and threads may wait for it, and ask again later: each gets a
/// clone of the value, or the same failure. A setter that is dropped without a word (its
/// greenlet was killed or panicked) wakes all who wait, with an error that says so.
///
/// # Examples
///
/// ```
/// use greenloop::sync::AsyncResult;
///
/// let (setter, answer) = AsyncResult::new();
/// let getters: Vec<_> = (0..3)
///     .map(|_| {
///         let answer = answer.clone();
///         greenloop::spawn(move || answer.get())
///     })
///     .collect();
/// std::thread::spawn(move || setter.set("yes")); // from anywhere
/// for getter in getters {
///     assert_eq!(getter.join().unwrap()?, "yes");
/// }
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.event.AsyncResult`. There everyone may set it, again and again; here
/// the setter is a value of its own, used once, and if it gets lost, nobody waits for
/// ever.
pub struct AsyncResult<T> {
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    /// Once it is there it stays.
    outcome: Option<Outcome<T>>,
    waiters: WaitList,
    watchers: Watchers,
}

enum Outcome<T> {
    Value(Arc<T>),
    Failure(Failure),
    Abandoned,
}

/// What [`Setter::fail`] was given, shared by all who get it.
type Failure = Arc<dyn StdError + Send + Sync>;

impl<T> AsyncResult<T> {
    /// A result that is not there yet, and what sets it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::AsyncResult;
    ///
    /// let (setter, answer) = AsyncResult::new();
    /// assert!(!answer.is_ready());
    /// setter.set(42); // takes the setter: there is no second time
    /// assert_eq!(answer.get()?, 42);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `AsyncResult()`, which is both.
    pub fn new() -> (Setter<T>, Self) {
        let state = Arc::new(Mutex::new(State {
            outcome: None,
            waiters: WaitList::new(),
            watchers: Watchers::new(),
        }));
        let setter = Setter {
            state: Some(state.clone()),
        };
        (setter, Self { state })
    }

    /// A clone of the value, waiting for it as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// [`ResultError`] says whether the result is a failure, whether the setter was
    /// dropped, or whether it was the caller whose wait ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::AsyncResult;
    ///
    /// let (setter, answer) = AsyncResult::<u8>::new();
    /// drop(setter);
    /// assert!(answer.get().unwrap_err().is_abandoned());
    /// ```
    ///
    /// gevent: `AsyncResult.get()`.
    #[track_caller]
    pub fn get(&self) -> Result<T, ResultError>
    where
        T: Clone,
    {
        self.get_deadline(Deadline::NEVER)
    }

    /// A clone of the value if there is a result; `None` if there is none yet.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// As [`AsyncResult::get`].
    ///
    /// gevent: `AsyncResult.get_nowait()`, which raises `Timeout` if there is none.
    pub fn try_get(&self) -> Result<Option<T>, ResultError>
    where
        T: Clone,
    {
        let outcome = lock(&self.state).outcome.clone();
        outcome.map(Outcome::into_value).transpose()
    }

    /// A clone of the value, waiting at most `limit` for it.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`AsyncResult::get`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::AsyncResult;
    /// use std::time::Duration;
    ///
    /// let (_setter, answer) = AsyncResult::<u8>::new();
    /// let late = answer.get_timeout(Duration::from_millis(2));
    /// assert!(late.unwrap_err().is_timeout());
    /// ```
    ///
    /// gevent: `AsyncResult.get(timeout=limit)`.
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T, ResultError>
    where
        T: Clone,
    {
        self.get_deadline(Deadline::after(limit))
    }

    /// A clone of the value, waiting for it until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`AsyncResult::get_timeout`]. A result that is there is given even if `limit`
    /// has passed already.
    #[track_caller]
    pub fn get_deadline(&self, limit: Deadline) -> Result<T, ResultError>
    where
        T: Clone,
    {
        self.outcome(limit)?.into_value()
    }

    /// Waits until there is a result, of whichever kind.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. A failure is no error here.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::AsyncResult;
    ///
    /// let (setter, answer) = AsyncResult::<u8>::new();
    /// greenloop::spawn(move || setter.fail("no number"));
    /// answer.wait()?; // a failure is a result as well
    /// assert!(answer.is_ready() && !answer.is_ok());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `AsyncResult.wait()`, which returns the value or None.
    #[track_caller]
    pub fn wait(&self) -> Result<()> {
        self.outcome(Deadline::NEVER).map(drop)
    }

    /// Waits at most `limit` until there is a result; false if there is none.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`AsyncResult::wait`]. `limit` itself is no error.
    ///
    /// gevent: `AsyncResult.wait(timeout=limit)`.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool> {
        self.wait_deadline(Deadline::after(limit))
    }

    /// Waits until there is a result or `limit` has come; false if there is none.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`AsyncResult::wait_timeout`].
    #[track_caller]
    pub fn wait_deadline(&self, limit: Deadline) -> Result<bool> {
        match self.outcome(limit) {
            Ok(_) => Ok(true),
            Err(error) if error.is_own_limit() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells whether there is a result, of whichever kind.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `AsyncResult.ready()`.
    pub fn is_ready(&self) -> bool {
        lock(&self.state).outcome.is_some()
    }

    /// Tells whether the result is a value.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `AsyncResult.successful()`.
    pub fn is_ok(&self) -> bool {
        matches!(lock(&self.state).outcome, Some(Outcome::Value(_)))
    }

    /// The number of greenlets and threads that wait for it.
    ///
    /// # Switching
    /// Never switches.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiters.len()
    }

    #[track_caller]
    fn outcome(&self, limit: Deadline) -> Result<Outcome<T>> {
        begin()?;
        wait_for(
            &self.state,
            |state| &mut state.waiters,
            Wait::AsyncResult,
            limit,
            |state| state.outcome.clone(),
        )
    }
}

/// Ready when there is a result, of whichever kind.
impl<T> Waitable for AsyncResult<T> {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_ready = state.outcome.is_some();
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl<T> Clone for AsyncResult<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        let outcome = match state.outcome {
            None => "none yet",
            Some(Outcome::Value(_)) => "value",
            Some(Outcome::Failure(_)) => "failure",
            Some(Outcome::Abandoned) => "abandoned",
        };
        f.debug_struct("AsyncResult")
            .field("result", &format_args!("{outcome}"))
            .field("waiting", &state.waiters.len())
            .finish()
    }
}

impl<T> Outcome<T> {
    /// A clone of the value. Runs user code: not to be called under the lock.
    fn into_value(self) -> Result<T, ResultError>
    where
        T: Clone,
    {
        match self {
            Self::Value(value) => Ok(T::clone(&value)),
            Self::Failure(failure) => Err(ResultError(ResultErrorKind::Failure(failure))),
            Self::Abandoned => Err(ResultError(ResultErrorKind::Abandoned)),
        }
    }
}

/// The value itself stays shared.
impl<T> Clone for Outcome<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone()),
            Self::Failure(failure) => Self::Failure(failure.clone()),
            Self::Abandoned => Self::Abandoned,
        }
    }
}

/// Sets an [`AsyncResult`], once; dropping it tells the getters that nothing will come.
#[must_use = "dropping it abandons those who wait for the result"]
pub struct Setter<T> {
    /// `None` once it is used.
    state: Option<Arc<Mutex<State<T>>>>,
}

impl<T> Setter<T> {
    /// Gives the value to all who wait, and to all who will ask.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::AsyncResult;
    ///
    /// let (setter, answer) = AsyncResult::new();
    /// setter.set("yes");
    /// assert_eq!(answer.get()?, "yes");
    /// assert_eq!(answer.get()?, "yes"); // as often as one likes
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `AsyncResult.set(value)`.
    pub fn set(mut self, value: T) {
        self.finish(Outcome::Value(Arc::new(value)));
    }

    /// Gives the failure to all who wait, and to all who will ask.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::AsyncResult;
    /// use std::num::ParseIntError;
    ///
    /// let (setter, answer) = AsyncResult::<u8>::new();
    /// setter.fail("no number".parse::<u8>().unwrap_err());
    /// let error = answer.get().unwrap_err();
    /// assert!(error.failure().unwrap().is::<ParseIntError>());
    /// assert_eq!(error.to_string(), "invalid digit found in string");
    /// ```
    ///
    /// gevent: `AsyncResult.set_exception(error)`.
    pub fn fail(mut self, failure: impl Into<Box<dyn StdError + Send + Sync>>) {
        self.finish(Outcome::Failure(failure.into().into()));
    }

    /// Sets the value or the failure: what a call returned.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// A greenlet whose result many wait for:
    ///
    /// ```
    /// use greenloop::sync::AsyncResult;
    ///
    /// let (setter, answer) = AsyncResult::new();
    /// greenloop::spawn(move || setter.settle("42".parse::<u8>()));
    /// assert_eq!(answer.get()?, 42);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `greenlet.link(async_result)`. If the greenlet panics or is killed, the
    /// setter goes with it, and the result is abandoned.
    pub fn settle<E>(self, outcome: Result<T, E>)
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        match outcome {
            Ok(value) => self.set(value),
            Err(failure) => self.fail(failure),
        }
    }

    fn finish(&mut self, outcome: Outcome<T>) {
        if let Some(state) = self.state.take() {
            let mut state = lock(&state);
            state.outcome = Some(outcome);
            state.waiters.wake_all();
            state.watchers.tell_all();
        }
    }
}

impl<T> Drop for Setter<T> {
    fn drop(&mut self) {
        self.finish(Outcome::Abandoned);
    }
}

impl<T> fmt::Debug for Setter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Setter")
    }
}

/// Why [`AsyncResult::get`] has no value.
///
/// What somebody else failed with is kept apart from what happened to the caller: a
/// failure that says "killed" or "timed out" is about the one who failed, so neither
/// [`ResultError::is_cancelled`] nor [`ResultError::is_timeout`] holds for it.
pub struct ResultError(ResultErrorKind);

enum ResultErrorKind {
    Failure(Failure),
    Abandoned,
    Wait(Error),
}

impl ResultError {
    /// What [`Setter::fail`] was given, the same for all getters; `None` if it was not
    /// called.
    ///
    /// gevent: `AsyncResult.exception`.
    pub fn failure(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        match &self.0 {
            ResultErrorKind::Failure(failure) => Some(failure.as_ref()),
            _ => None,
        }
    }

    /// Tells whether the setter was dropped without a result.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.0, ResultErrorKind::Abandoned)
    }

    /// Tells whether it was the caller that was killed or timed out.
    pub fn is_wait_error(&self) -> bool {
        matches!(self.0, ResultErrorKind::Wait(_))
    }

    /// Tells whether a limit of the caller's wait passed.
    pub fn is_timeout(&self) -> bool {
        matches!(&self.0, ResultErrorKind::Wait(error) if error.is_timeout())
    }

    /// Tells whether the caller was killed.
    pub fn is_cancelled(&self) -> bool {
        matches!(&self.0, ResultErrorKind::Wait(error) if error.is_cancelled())
    }
}

impl fmt::Display for ResultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ResultErrorKind::Failure(failure) => failure.fmt(f),
            ResultErrorKind::Abandoned => f.write_str("result was abandoned by its setter"),
            ResultErrorKind::Wait(error) => write!(f, "waiting for a result: {error}"),
        }
    }
}

impl fmt::Debug for ResultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultError({self})")
    }
}

impl StdError for ResultError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            ResultErrorKind::Failure(failure) => failure.source(),
            ResultErrorKind::Abandoned => None,
            ResultErrorKind::Wait(error) => Some(error),
        }
    }
}

/// The caller's own wait failed.
impl From<Error> for ResultError {
    fn from(error: Error) -> Self {
        Self(ResultErrorKind::Wait(error))
    }
}

/// The caller's own error stays what it is; another's becomes an error of another.
impl From<ResultError> for Error {
    fn from(error: ResultError) -> Self {
        match error.0 {
            ResultErrorKind::Wait(error) => error,
            _ => io::Error::other(error).into(),
        }
    }
}
