//! A scope that ends with its first failure.
//!
//! Everything that keeps children inside their frame is in [`scope`](mod@super::scope),
//! which this is built on; here is only who failed first.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Handle, current_handle};
use crate::runtime::park;
use crate::runtime::spawn::SpawnError;
use crate::sync::scope::{Scope, ScopedGreenlet, enclose};
use crate::util::lock;

/// Runs `f`, which may start greenlets that borrow from the caller's frame, and waits for
/// all of them; the first failure ends the rest.
///
/// As [`scope`](super::scope()), with results: the first child that returns an `Err`, panics
/// or is killed from outside has its siblings killed, those included that are started later,
/// and so has an `Err` of `f`. `try_scope` still waits until all have ended, and then gives
/// that first failure; failures that follow from it are dropped. If all goes well it gives
/// the value of `f`.
///
/// `f` itself is not ended by a child's failure: a join on a child comes back, any other
/// wait does not. What may take long belongs into a child.
///
/// # Switching
/// May switch to other greenlets, unless all children have ended.
///
/// # Errors
/// The first failure: the `Err` of a child or of `f`; an [`Error`] if a child was killed,
/// or the caller was killed or timed out.
///
/// # Panics
/// With the panic of `f`, or else if the first failure was a child's panic that nobody
/// joined.
///
/// # Examples
///
/// ```
/// use greenloop::sync::try_scope;
/// use std::time::Duration;
///
/// let hosts = ["one", "two"];
/// let failed = try_scope(|s| {
///     // Killed as soon as the other one fails.
///     s.spawn(|| greenloop::sleep(Duration::MAX));
///     s.spawn(|| Err::<(), _>(std::io::Error::other(hosts[1]).into()));
///     Ok::<_, greenloop::Error>(())
/// });
/// assert_eq!(failed.unwrap_err().to_string(), "two");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `with gevent.spawn(f):` for one greenlet (joined if the block ends well, killed
/// if it fails); none for several.
#[track_caller]
pub fn try_scope<'env, T, E, F>(f: F) -> Result<T, E>
where
    E: From<Error> + Send,
    F: for<'scope> FnOnce(&'scope TryScope<'scope, 'env, E>) -> Result<T, E>,
{
    // Also says no while the caller unwinds: then no wait may switch.
    park::check(Deadline::NEVER)?;
    let scope = TryScope {
        inner: Scope::new(),
        first: Mutex::new(None),
    };
    let body = || {
        let returned = f(&scope);
        if returned.is_err() {
            scope.fail(Failure::OfClosure);
        }
        returned
    };
    let interrupted = || scope.note(Failure::OfCaller);
    let (returned, ended) = enclose(&scope.inner.children, body, interrupted);
    let returned = returned.unwrap_or_else(|panic| resume_unwind(panic));
    let first = lock(&scope.first).take();
    match (first, ended.panic, ended.interruption) {
        // A panic without a failure: of a value that nobody wanted, in its drop.
        (None | Some(Failure::Panicked), Some(text), _) => {
            panic!("a greenlet of the scope panicked: {text}")
        }
        (None | Some(Failure::OfClosure), ..) => returned,
        (Some(Failure::Returned(error)), ..) => Err(error),
        (Some(Failure::OfCaller), _, Some(error)) => Err(error.into()),
        // What `f` made of the panic that it joined says more.
        (Some(Failure::Panicked), None, _) => returned.and(Err(failed("panicked"))),
        (Some(_), ..) => Err(failed("was killed")),
    }
}

/// Starts greenlets that end before [`try_scope`] returns, and with its first failure.
pub struct TryScope<'scope, 'env: 'scope, E> {
    inner: Scope<'scope, 'env>,
    first: Mutex<Option<Failure<E>>>,
}

/// What ended a scope early.
enum Failure<E> {
    /// A child returned it.
    Returned(E),
    /// A child panicked; the text is found where children are counted.
    Panicked,
    /// A child was killed from outside.
    Killed,
    /// The closure returned an error, and will give it itself.
    OfClosure,
    /// The caller's wait ended.
    OfCaller,
}

impl<'scope, E: Send> TryScope<'scope, '_, E> {
    /// Starts `f` in a new greenlet, which may borrow everything that outlives the scope.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// As [`spawn`](crate::spawn), if too many greenlets are alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Error, sync::try_scope};
    ///
    /// let sizes = [1, 2, 3];
    /// let sum = try_scope(|s| {
    ///     let parts = sizes.each_ref().map(|n| s.spawn(move || Ok::<_, Error>(n * 10)));
    ///     let mut sum = 0;
    ///     for part in parts {
    ///         sum += part.join()?;
    ///     }
    ///     Ok::<_, Error>(sum)
    /// })?;
    /// assert_eq!(sum, 60);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(&'scope self, f: F) -> TryScopedGreenlet<'scope, T>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
    {
        self.try_spawn(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts `f` in a new greenlet, or says why it cannot be started.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// As [`try_spawn`](crate::try_spawn). The scope has not failed with it.
    #[track_caller]
    pub fn try_spawn<T, F>(&'scope self, f: F) -> Result<TryScopedGreenlet<'scope, T>, SpawnError>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
    {
        // It goes with the body, also if that is dropped without having run.
        let end = End {
            scope: self,
            spawner: current_handle().id(),
            returned: false,
        };
        let inner = self.inner.try_spawn(move || end.take(f))?;
        Ok(TryScopedGreenlet { inner })
    }

    /// Kills every greenlet of the scope, and those that are started later.
    ///
    /// Children that end for it fail: `try_scope` gives the first of them, unless something
    /// failed before.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Error, sync::try_scope};
    /// use std::time::Duration;
    ///
    /// let ended = try_scope(|s| {
    ///     s.spawn(|| greenloop::sleep(Duration::MAX));
    ///     s.kill_all();
    ///     Ok::<_, Error>("the closure itself went well")
    /// });
    /// assert!(ended.is_err(), "the sleeper did not get to its end");
    /// ```
    pub fn kill_all(&self) {
        self.inner.kill_all();
    }

    /// Tells whether something has failed, and the children are killed: for closures that
    /// work on.
    pub fn is_failed(&self) -> bool {
        lock(&self.first).is_some()
    }

    /// Ends the scope, with `failure` if it is the first.
    fn fail(&self, failure: Failure<E>) {
        self.note(failure);
        self.inner.kill_all();
    }

    fn note(&self, failure: Failure<E>) {
        let mut first = lock(&self.first);
        if first.is_none() {
            *first = Some(failure);
            return;
        }
        // The error is dropped without the lock.
        drop(first);
        drop(failure);
    }
}

/// Sees to it that a child's end is noticed, however it comes.
struct End<'scope, 'env, E: Send> {
    scope: &'scope TryScope<'scope, 'env, E>,
    spawner: u64,
    returned: bool,
}

impl<E: Send> End<'_, '_, E> {
    /// Runs the child; nothing if it failed, for then the scope has the error.
    fn take<T>(mut self, f: impl FnOnce() -> Result<T, E>) -> Option<T> {
        let returned = f();
        self.returned = true;
        match returned {
            Ok(value) => {
                if park::current().is_kill_seen() {
                    self.scope.fail(Failure::Killed);
                }
                Some(value)
            }
            Err(error) => {
                self.scope.fail(Failure::Returned(error));
                None
            }
        }
    }
}

impl<E: Send> Drop for End<'_, '_, E> {
    fn drop(&mut self) {
        if self.returned {
            return;
        }
        if std::thread::panicking() {
            self.scope.fail(Failure::Panicked);
        } else if current_handle().id() != self.spawner {
            // Killed before it began. The spawner drops what could not be started.
            self.scope.fail(Failure::Killed);
        }
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope")
            .field("failed", &lock(&self.first).is_some())
            .finish_non_exhaustive()
    }
}

/// A greenlet of a [`TryScope`] and the value it will return.
///
/// Dropping it lets the greenlet run on, to the end of the scope at most.
pub struct TryScopedGreenlet<'scope, T> {
    inner: ScopedGreenlet<'scope, Option<T>>,
}

impl<T> TryScopedGreenlet<'_, T> {
    /// Waits for the end and takes the value.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the greenlet has ended.
    ///
    /// # Errors
    /// The greenlet failed, or was killed because another one did; `try_scope` gives the
    /// first failure itself, so pass this one on. Or the caller was killed or timed out.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Error, sync::try_scope};
    ///
    /// let answer = try_scope(|s| {
    ///     let half = s.spawn(|| Ok::<_, Error>(21));
    ///     Ok::<_, Error>(half.join()? * 2)
    /// })?;
    /// assert_eq!(answer, 42);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.inner.join()?.ok_or_else(|| failed("failed"))
    }

    /// The greenlet without its value; it can leave the scope.
    pub fn handle(&self) -> Handle {
        self.inner.handle()
    }
}

impl<T> fmt::Debug for TryScopedGreenlet<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryScopedGreenlet")
            .field(&self.inner.handle().id())
            .finish()
    }
}

fn failed<E: From<Error>>(how: &str) -> E {
    Error::message(format!("a greenlet of the scope {how}")).into()
}
