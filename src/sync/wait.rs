//! Waiting for several: greenlets, events, queues, signals, whatever is [`Waitable`].

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Greenlet, Handle, JoinError};
use crate::runtime::watch::{Crowd, Waitable};

/// Waits until one of `objects` is ready, and says which: its place in the list.
///
/// Ready means: a greenlet has ended, an event is set, a result is there, a permit is
/// free, a queue has an item, a process has ended, a signal has arrived. Nothing is taken:
/// an item that made a queue ready may be gone when the caller asks for it, if others get
/// from the queue as well.
///
/// # Switching
/// May switch to other greenlets, unless one is ready.
///
/// # Errors
/// The caller was killed or timed out; an empty list, which would never be ready.
///
/// # Examples
///
/// ```
/// use greenloop::sync::{Event, Queue};
///
/// let stop = Event::new();
/// let jobs = Queue::unbounded();
/// jobs.put("job")?;
/// assert_eq!(greenloop::wait_any(&[&stop, &jobs])?, 1);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.wait(objects, count=1)`.
#[track_caller]
pub fn wait_any(objects: &[&dyn Waitable]) -> Result<usize> {
    if objects.is_empty() {
        return Err(Error::message("nothing to wait for"));
    }
    let (index, _) = Crowd::new(objects.iter().copied()).next(Deadline::NEVER)?;
    Ok(index)
}

/// Waits at most `limit` until one of `objects` is ready; `None` if none is.
///
/// # Switching
/// May switch to other greenlets, unless one is ready.
///
/// # Errors
/// The caller was killed or timed out; `limit` itself is no error.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Event;
/// use std::time::Duration;
///
/// let never = Event::new();
/// assert_eq!(greenloop::wait_any_timeout(&[&never], Duration::from_millis(2))?, None);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.wait(objects, count=1, timeout=limit)`.
#[track_caller]
pub fn wait_any_timeout(objects: &[&dyn Waitable], limit: Duration) -> Result<Option<usize>> {
    let ready = wait_some(objects, 1, Some(limit))?;
    Ok(ready.first().copied())
}

/// Waits until all of `objects` were ready, each at some moment during the call.
///
/// # Switching
/// May switch to other greenlets, unless all are ready.
///
/// # Errors
/// The caller was killed or timed out.
///
/// # Examples
///
/// ```
/// let (a, b) = (greenloop::spawn(|| 1), greenloop::spawn(|| 2));
/// greenloop::wait_all(&[&a, &b, &a])?;
/// assert!(a.is_ready() && b.is_ready());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.wait(objects)`.
#[track_caller]
pub fn wait_all(objects: &[&dyn Waitable]) -> Result<()> {
    wait_some(objects, objects.len(), None).map(drop)
}

/// Waits at most `limit`, if one is given, until `count` of `objects` were ready, and says
/// which, in the order in which they became so; fewer if the limit passed.
///
/// # Switching
/// May switch to other greenlets, unless so many are ready.
///
/// # Errors
/// The caller was killed or timed out; `limit` itself is no error.
///
/// # Examples
///
/// ```
/// use greenloop::sync::{Event, wait_some};
/// use std::time::Duration;
///
/// let (set, clear) = (Event::new(), Event::new());
/// set.set();
/// let ready = wait_some(&[&clear, &set], 2, Some(Duration::from_millis(2)))?;
/// assert_eq!(ready, [1]);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.wait(objects, timeout=limit, count=count)`.
#[track_caller]
pub fn wait_some(
    objects: &[&dyn Waitable],
    count: usize,
    limit: Option<Duration>,
) -> Result<Vec<usize>> {
    let limit = Deadline::from(limit);
    let mut crowd = Crowd::new(objects.iter().copied());
    let mut ready = Vec::new();
    while ready.len() < count.min(crowd.len()) {
        match crowd.next(limit) {
            Ok((index, _)) => ready.push(index),
            Err(error) if error.is_own_limit() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(ready)
}

/// Waits for all of `greenlets` and takes their values, in the order of the list.
///
/// If the caller is killed or times out, those that have ended by then give their values,
/// and for the others the error says so ([`JoinError::is_wait_error`]); they run on.
///
/// # Switching
/// May switch to other greenlets, unless all have ended.
///
/// # Errors
/// None of its own: those of each greenlet stand at its place in the list.
///
/// # Examples
///
/// ```
/// let squares = greenloop::join_all((1..=3).map(|n| greenloop::spawn(move || n * n)));
/// let squares: Vec<_> = squares.into_iter().map(Result::unwrap).collect();
/// assert_eq!(squares, [1, 4, 9]);
/// ```
///
/// gevent: `gevent.joinall(greenlets)`, which gives the greenlets that have ended.
#[track_caller]
pub fn join_all<T>(greenlets: impl IntoIterator<Item = Greenlet<T>>) -> Vec<Result<T, JoinError>> {
    // All are started before the first is waited for.
    let greenlets: Vec<_> = greenlets.into_iter().collect();
    let mut values = Vec::with_capacity(greenlets.len());
    for greenlet in greenlets {
        values.push(greenlet.join());
    }
    values
}

/// Waits for all of `greenlets` and takes their values, or gives up at the first of them to
/// fail.
///
/// First in time, not in the list. The others run on; [`kill_all`] them first if they
/// should not, or start them in a [`try_scope`](crate::sync::try_scope).
///
/// # Switching
/// May switch to other greenlets, unless all have ended.
///
/// # Errors
/// The first failure: a panic or a kill. Or the caller was killed or timed out.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let slow = greenloop::spawn(|| greenloop::sleep(Duration::from_secs(60)).is_ok());
/// let slow_handle = slow.handle();
/// let bad = greenloop::spawn(|| panic!("oops"));
/// assert!(greenloop::try_join_all([slow, bad]).unwrap_err().is_panic());
/// slow_handle.kill();
/// ```
///
/// gevent: `gevent.joinall(greenlets, raise_error=True)`.
#[track_caller]
pub fn try_join_all<T>(
    greenlets: impl IntoIterator<Item = Greenlet<T>>,
) -> Result<Vec<T>, JoinError> {
    let mut all = Crowd::new(greenlets);
    let mut values: Vec<_> = (0..all.len()).map(|_| None).collect();
    for _ in 0..values.len() {
        let (index, greenlet) = all.next(Deadline::NEVER)?;
        values[index] = Some(greenlet.join()?);
    }
    Ok(values.into_iter().flatten().collect())
}

/// Waits at most `limit`, if one is given, until `count` of `greenlets` have ended, and
/// says which, in the order of their ends; fewer if the limit passed.
///
/// # Switching
/// May switch to other greenlets, unless so many have ended.
///
/// # Errors
/// The caller was killed or timed out; `limit` itself is no error.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let slow = greenloop::spawn_later(Duration::from_secs(60), || ());
/// let fast = greenloop::spawn(|| ());
/// let ended = greenloop::join_some(&[slow.handle(), fast.handle()], 1, None)?;
/// assert_eq!(ended, [1]);
/// slow.kill();
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.joinall(greenlets, timeout=limit, count=count)`.
#[track_caller]
pub fn join_some(
    greenlets: &[Handle],
    count: usize,
    limit: Option<Duration>,
) -> Result<Vec<usize>> {
    let objects: Vec<&dyn Waitable> = greenlets.iter().map(|g| g as &dyn Waitable).collect();
    wait_some(&objects, count, limit)
}

/// Gives `greenlets` back one by one, each when it has ended.
///
/// Between two of them the caller may do as it likes; none is missed. Dropping the
/// iterator lets those that have not come yet run on, unwatched.
///
/// # Switching
/// Never switches itself; `next` may, unless one has ended.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let pause = |ms| {
///     greenloop::spawn(move || {
///         greenloop::sleep(Duration::from_millis(ms)).unwrap();
///         ms
///     })
/// };
/// let mut order = Vec::new();
/// for greenlet in greenloop::as_completed([pause(80), pause(1)]) {
///     order.push(greenlet?.join().unwrap());
/// }
/// assert_eq!(order, [1, 80]);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.iwait(greenlets)`.
pub fn as_completed<T>(greenlets: impl IntoIterator<Item = Greenlet<T>>) -> AsCompleted<T> {
    let crowd = Crowd::new(greenlets);
    AsCompleted {
        left: crowd.len(),
        crowd,
        failed: false,
    }
}

/// An iterator over greenlets in the order of their ends; see [`as_completed`].
///
/// If the caller is killed or times out it gives the error, once, and can be asked again:
/// as long as the call fails it gives `None`, so that a loop which passes over errors ends.
#[must_use = "nothing is waited for until it is asked"]
pub struct AsCompleted<T> {
    crowd: Crowd<Greenlet<T>>,
    left: usize,
    /// The last call has failed.
    failed: bool,
}

impl<T> Iterator for AsCompleted<T> {
    type Item = Result<Greenlet<T>>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        match self.crowd.next(Deadline::NEVER) {
            Ok((_, greenlet)) => {
                self.failed = false;
                self.left -= 1;
                Some(Ok(greenlet))
            }
            Err(error) => (!std::mem::replace(&mut self.failed, true)).then_some(Err(error)),
        }
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Kills all of `greenlets` and waits for their ends, at most `limit` if one is given.
///
/// All are killed before the first is waited for; those that have not begun never run.
///
/// # Switching
/// May switch to other greenlets, unless all have ended.
///
/// # Errors
/// [`StillAlive`] names those that had not ended when `limit` passed, or when the caller
/// was killed or timed out itself. They stay killed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let sleepers: Vec<_> = (0..10)
///     .map(|_| greenloop::spawn(|| greenloop::sleep(Duration::MAX)).handle())
///     .collect();
/// greenloop::kill_all(&sleepers, Some(Duration::from_secs(5)))?;
/// assert!(sleepers.iter().all(|sleeper| sleeper.is_ready()));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.killall(greenlets, timeout=limit)`, which raises `Timeout`.
#[track_caller]
pub fn kill_all(greenlets: &[Handle], limit: Option<Duration>) -> Result<(), StillAlive> {
    for greenlet in greenlets {
        greenlet.kill();
    }
    let waited = join_some(greenlets, greenlets.len(), limit);
    let alive: Vec<_> = greenlets
        .iter()
        .filter(|g| !g.is_ready())
        .cloned()
        .collect();
    match waited {
        Ok(_) if alive.is_empty() => Ok(()),
        waited => Err(StillAlive {
            greenlets: alive,
            error: waited.err(),
        }),
    }
}

/// Greenlets that were killed and have not ended; see [`kill_all`].
#[derive(Debug)]
pub struct StillAlive {
    greenlets: Vec<Handle>,
    /// What ended the caller's wait, if it was not the call's limit.
    error: Option<Error>,
}

impl StillAlive {
    /// Those that live on.
    pub fn greenlets(&self) -> &[Handle] {
        &self.greenlets
    }
}

impl fmt::Display for StillAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} killed greenlets are still alive",
            self.greenlets.len()
        )?;
        self.error
            .iter()
            .try_for_each(|error| write!(f, ": {error}"))
    }
}

impl std::error::Error for StillAlive {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let error = self.error.as_ref()?;
        Some(error)
    }
}

impl From<StillAlive> for Error {
    fn from(alive: StillAlive) -> Self {
        let text = alive.to_string();
        alive.error.unwrap_or_else(|| Self::message(text))
    }
}
