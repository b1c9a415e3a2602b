//! A group of greenlets with a limit on how many run at a time.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Greenlet, Handle, JoinError, current_handle};
use crate::runtime::reason::Wait;
use crate::runtime::spawn::Builder;
use crate::runtime::watch::{Waitable, WatchId, Watcher};
use crate::sync::members::{Members, Place};
use crate::util::{discard, lock};

/// A [`Group`](crate::sync::Group) with so many places: who starts a greenlet waits while
/// all are taken.
///
/// Places are given in order of arrival, and one that comes free goes straight to the first
/// in line. A greenlet that was joined has left its place already. Dropping the pool
/// detaches its members; they run on.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Pool;
///
/// let pool = Pool::new(2);
/// let squares = pool.map(1..=4, |n| n * n)?;
/// let squares: Vec<_> = squares.into_iter().map(Result::unwrap).collect();
/// assert_eq!(squares, [1, 4, 9, 16]);
/// assert_eq!(pool.free_count(), 2);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.pool.Pool`.
#[derive(Clone)]
pub struct Pool {
    pub(super) members: Arc<Members>,
}

/// What keeps a closure out of a [`Pool`], and the closure.
pub struct PoolFull<F> {
    f: F,
    error: Error,
}

impl Pool {
    /// A pool with `size` places. With none, everyone waits for ever.
    ///
    /// gevent: `Pool(size)`.
    pub fn new(size: usize) -> Self {
        Self {
            members: Members::new(size, Wait::Pool),
        }
    }

    /// A pool that is never full: a [`Group`](crate::sync::Group) with `map` and its
    /// relatives.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// let pool = Pool::unbounded();
    /// let lengths = pool.map(["a", "bc"], str::len)?;
    /// let lengths: Vec<_> = lengths.into_iter().map(Result::unwrap).collect();
    /// assert_eq!(lengths, [1, 2]);
    /// assert!(!pool.is_full());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool(None)`.
    pub fn unbounded() -> Self {
        Self::new(usize::MAX)
    }

    // ---- starting ----

    /// Starts `f` in a new greenlet, waiting for a place as long as it takes.
    ///
    /// Never wait for a place of your own pool in one of its members: if all do, nobody
    /// gets one. [`Pool::run`] and [`Pool::submit`] are safe there.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the caller was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; a limit, as [`try_spawn`](crate::try_spawn). `f`
    /// comes back in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// // Ten downloads, say, two at a time.
    /// let pool = Pool::new(2);
    /// for _ in 0..10 {
    ///     pool.spawn(|| greenloop::yield_now())?;
    ///     assert!(pool.len() <= 2);
    /// }
    /// pool.join()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.spawn(f)`.
    #[track_caller]
    pub fn spawn<T, F>(&self, f: F) -> Result<Greenlet<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_deadline(f, Deadline::NEVER)
    }

    /// Starts `f` in a new greenlet if there is a place.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// [`PoolFull::is_full`], also where it is [`Config::max_greenlets`] that is reached;
    /// `f` comes back in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// let pool = Pool::new(1);
    /// let first = pool.try_spawn(|| greenloop::sleep(std::time::Duration::MAX)).unwrap();
    /// let refused = pool.try_spawn(|| 7).unwrap_err();
    /// assert!(refused.is_full());
    /// assert_eq!(refused.into_inner()(), 7);
    /// first.kill_and_wait(None)?;
    /// assert!(pool.try_spawn(|| 7).is_ok());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.add(greenlet, blocking=False)`, which raises `PoolFull`.
    ///
    /// [`Config::max_greenlets`]: crate::Config::max_greenlets
    #[track_caller]
    pub fn try_spawn<T, F>(&self, f: F) -> Result<Greenlet<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self.members.try_reserve() {
            Some(place) => start(place, f),
            None => Err(PoolFull {
                error: full(self.size()),
                f,
            }),
        }
    }

    /// Starts `f` in a new greenlet, waiting at most `limit` for a place.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Pool::spawn`]; timeout also when `limit` passed.
    ///
    /// gevent: `Pool.start(greenlet, timeout=limit)`, which raises `PoolFull`.
    #[track_caller]
    pub fn spawn_timeout<T, F>(&self, f: F, limit: Duration) -> Result<Greenlet<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_deadline(f, limit.into())
    }

    /// Starts `f` in a new greenlet, waiting for a place until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Pool::spawn`]; timeout also when `limit` passed. If there is a place it is
    /// taken even if `limit` has passed already.
    #[track_caller]
    pub fn spawn_deadline<T, F>(&self, f: F, limit: Deadline) -> Result<Greenlet<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self.members.reserve(limit) {
            Ok(place) => start(place, f),
            Err(error) => Err(PoolFull { f, error }),
        }
    }

    /// Runs `f` in a place of the pool and gives its value.
    ///
    /// If the caller is a member, `f` runs right here, in the caller's place: a member that
    /// waited for another place could wait for itself. A caller that is killed or timed out
    /// leaves `f` running.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call (in a member: as `f` does).
    ///
    /// # Errors
    /// [`JoinError`]: `f` panicked or was killed, or the caller was killed or timed out
    /// before the value was there.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// let pool = Pool::new(1);
    /// let inner = pool.clone();
    /// let answer = pool.run(move || inner.run(|| 6 * 7).unwrap());
    /// assert_eq!(answer.unwrap(), 42);
    /// ```
    ///
    /// gevent: `Pool.apply(f)`.
    #[track_caller]
    pub fn run<T, F>(&self, f: F) -> Result<T, JoinError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.members.contains(&current_handle()) {
            return catch_unwind(AssertUnwindSafe(f)).map_err(JoinError::panicked);
        }
        self.spawn(f).map_err(Error::from)?.join()
    }

    /// Hands `f` over to run when its turn for a place comes, and does not wait for that.
    ///
    /// The greenlet is there at once and stands in line itself if it has to. Killed there,
    /// it never runs `f`.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// As [`spawn`](crate::spawn), if too many greenlets are alive: those in line count.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// let pool = Pool::new(1);
    /// let jobs: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
    /// let sum: i32 = jobs.into_iter().map(|job| job.join().unwrap()).sum();
    /// assert_eq!(sum, 45);
    /// ```
    ///
    /// gevent: `Pool.apply_async(f)`.
    #[track_caller]
    pub fn submit<T, F>(&self, f: F) -> Greenlet<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let started = match self.members.try_reserve() {
            Some(place) => place.start(f),
            None => {
                let members = self.members.clone();
                let gate = move || {
                    members.reserve(Deadline::NEVER)?.take(&current_handle());
                    Ok(())
                };
                Builder::new().try_spawn_behind(gate, f)
            }
        };
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a greenlet a member, waiting for a place as long as it takes.
    ///
    /// Nothing happens if it is one.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the caller was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. The greenlet is no member then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1);
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
    /// pool.add(&greenlet)?;
    /// assert!(pool.is_full());
    /// pool.kill()?;
    /// assert!(greenlet.is_ready());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.add(greenlet)`.
    #[track_caller]
    pub fn add(&self, greenlet: &Handle) -> Result<()> {
        if !self.members.contains(greenlet) {
            self.members.reserve(Deadline::NEVER)?.take(greenlet);
        }
        Ok(())
    }

    /// Makes a greenlet a member if there is a place; false if there is none.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `Pool.add(greenlet, blocking=False)`, which raises `PoolFull`.
    pub fn try_add(&self, greenlet: &Handle) -> bool {
        if self.members.contains(greenlet) {
            return true;
        }
        let place = self.members.try_reserve();
        place.map(|place| place.take(greenlet)).is_some()
    }

    /// Lets a member go, which runs on; its place is free. False if it is none.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1);
    /// let member = pool.spawn(|| greenloop::sleep(Duration::MAX))?;
    /// assert!(pool.discard(&member));
    /// assert_eq!(pool.free_count(), 1);
    /// assert!(!member.is_ready());
    /// # member.kill();
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.discard(greenlet)`.
    pub fn discard(&self, greenlet: &Handle) -> bool {
        self.members.discard(greenlet)
    }

    // ---- asking and waiting ----

    /// The number of places; `usize::MAX` if it is unbounded.
    ///
    /// gevent: `Pool.size`.
    pub fn size(&self) -> usize {
        self.members.with(|state| state.capacity())
    }

    /// The number of places nobody has.
    pub fn free_count(&self) -> usize {
        self.members.with(|state| state.free())
    }

    /// Tells whether all places are taken.
    ///
    /// gevent: `Pool.full()`.
    pub fn is_full(&self) -> bool {
        self.free_count() == 0
    }

    /// The number of greenlets and threads that wait for a place.
    pub fn waiting(&self) -> usize {
        self.members.with(|state| state.waiting())
    }

    /// Waits until a place is free, at most `limit` if one is given, and says how many are:
    /// none if the limit passed. No place is taken.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out; `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Pool::new(3).wait_available(None)?, 3);
    /// assert_eq!(Pool::new(0).wait_available(Some(Duration::from_millis(2)))?, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.wait_available(timeout=limit)`.
    #[track_caller]
    pub fn wait_available(&self, limit: Option<Duration>) -> Result<usize> {
        self.members.wait_room(limit.into())
    }

    /// The number of members.
    ///
    /// gevent: `len(pool)`.
    pub fn len(&self) -> usize {
        self.members.with(|state| state.taken())
    }

    /// Tells whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether a greenlet is a member.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1);
    /// let member = pool.spawn(|| greenloop::sleep(Duration::MAX))?;
    /// assert!(pool.contains(&member));
    /// member.kill_and_wait(None)?;
    /// assert!(!pool.contains(&member));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `greenlet in pool`.
    pub fn contains(&self, greenlet: &Handle) -> bool {
        self.members.contains(greenlet)
    }

    /// The members at this moment, oldest first.
    ///
    /// gevent: `iter(pool)`.
    pub fn members(&self) -> Vec<Handle> {
        self.members.handles()
    }

    /// Waits until the pool has no members; as [`Group::join`](crate::sync::Group::join).
    ///
    /// Those that stand in line are no members, but one of them takes a place as it comes
    /// free.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::join`](crate::sync::Group::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// let pool = Pool::new(2);
    /// for _ in 0..5 {
    ///     pool.spawn(|| greenloop::yield_now())?;
    /// }
    /// pool.join()?;
    /// assert_eq!(pool.free_count(), 2);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.join()`.
    #[track_caller]
    pub fn join(&self) -> Result<()> {
        self.members.wait_empty(Deadline::NEVER).map(drop)
    }

    /// Waits at most `limit` until the pool has no members; false if it always had some.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::join`](crate::sync::Group::join); `limit` itself is no error.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<bool> {
        self.join_deadline(limit.into())
    }

    /// Waits until the pool has no members or `limit` has come; false if it always had some.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::join`](crate::sync::Group::join); `limit` itself is no error.
    #[track_caller]
    pub fn join_deadline(&self, limit: Deadline) -> Result<bool> {
        self.members.wait_empty(limit)
    }

    /// Waits until the pool has no members, or for the first of them to fail; as
    /// [`Group::try_join`](crate::sync::Group::try_join).
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::try_join`](crate::sync::Group::try_join).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(2);
    /// pool.spawn(|| greenloop::sleep(Duration::MAX))?;
    /// pool.spawn(|| panic!("oops"))?;
    /// assert!(pool.try_join().unwrap_err().is_panic());
    /// pool.kill()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.join(raise_error=True)`.
    #[track_caller]
    pub fn try_join(&self) -> Result<(), JoinError> {
        self.members.wait_empty_or_failed()
    }

    /// Kills all members, those included that get a place meanwhile, and waits until nobody
    /// is left; as [`Group::kill`](crate::sync::Group::kill).
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::kill`](crate::sync::Group::kill).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(2);
    /// let members = [0, 1].map(|_| pool.spawn(|| greenloop::sleep(Duration::MAX)).unwrap());
    /// pool.kill()?;
    /// assert!(members.iter().all(|member| member.is_ready()));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.kill()`.
    #[track_caller]
    pub fn kill(&self) -> Result<()> {
        self.members.kill(Deadline::NEVER).map(drop)
    }

    /// Like [`Pool::kill`], waiting at most `limit`; false if somebody was left.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Pool::kill`]; `limit` itself is no error.
    #[track_caller]
    pub fn kill_timeout(&self, limit: Duration) -> Result<bool> {
        self.kill_deadline(limit.into())
    }

    /// Like [`Pool::kill`], waiting until `limit`; false if somebody was left.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Pool::kill`]; `limit` itself is no error.
    #[track_caller]
    pub fn kill_deadline(&self, limit: Deadline) -> Result<bool> {
        self.members.kill(limit)
    }
}

/// Starts `f` in `place`, or gives it back.
#[track_caller]
fn start<T, F>(place: Place, f: F) -> Result<Greenlet<T>, PoolFull<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // Where both can take it: a spawn that fails drops what it was given.
    let slot = Arc::new(Mutex::new(Some(f)));
    let body = {
        let slot = slot.clone();
        move || {
            let f = lock(&slot).take();
            f.expect("only a spawn that failed takes it back")()
        }
    };
    match place.start(body) {
        Ok(greenlet) => {
            // The last one if the greenlet was killed before it began.
            discard(slot);
            Ok(greenlet)
        }
        Err(error) => {
            let f = lock(&slot).take();
            Err(PoolFull {
                f: f.expect("the greenlet did not begin"),
                error: error.into(),
            })
        }
    }
}

/// Ready when a place is free.
impl Waitable for Pool {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        self.members.with(|state| {
            let is_ready = state.free() > 0;
            state.when_room.add(watcher, is_ready)
        })
    }

    fn unwatch(&self, id: WatchId) {
        self.members.with(|state| state.when_room.remove(id));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, size, waiting) = self
            .members
            .with(|state| (state.taken(), state.capacity(), state.waiting()));
        f.debug_struct("Pool")
            .field("len", &len)
            .field("size", &size)
            .field("waiting", &waiting)
            .finish()
    }
}

impl<F> PoolFull<F> {
    /// Gives the closure back.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// let pool = Pool::new(0);
    /// let refused = pool.try_spawn(|| "still here").unwrap_err();
    /// let f = refused.into_inner();
    /// assert_eq!(f(), "still here");
    /// ```
    pub fn into_inner(self) -> F {
        self.f
    }

    /// Why it was not started.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Tells whether there was no place ([`Pool::try_spawn`]), or too many greenlets are
    /// alive.
    pub fn is_full(&self) -> bool {
        self.error.is_limit()
    }
}

impl<F> From<PoolFull<F>> for Error {
    fn from(refused: PoolFull<F>) -> Self {
        refused.error
    }
}

impl<F> fmt::Debug for PoolFull<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolFull({})", self.error)
    }
}

impl<F> fmt::Display for PoolFull<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<F> std::error::Error for PoolFull<F> {}

fn full(size: usize) -> Error {
    Error::new(ErrorKind::Limit(format!("pool is full ({size} greenlets)")))
}
