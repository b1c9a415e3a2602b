//! Greenlets that may borrow from the frame that starts them.
//!
//! ```text
//!   scope(|s| …) ─┬─ s.spawn(child) ───────┐
//!                 ├─ s.spawn(child) ────┐  │
//!                 ▼                     ▼  ▼
//!            end of the closure ──► wait for all ──► scope returns
//!                 ▲                     │
//!            panic, kill, timeout ──────┴► children are killed, and still waited for
//! ```
//!
//! Invariant: [`scope`] neither returns nor unwinds before the last child has ended. The
//! wait that keeps it cannot be killed and has no limit.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Exit, Greenlet, Handle, JoinError};
use crate::runtime::park;
use crate::runtime::spawn::{Builder, SpawnError};
use crate::util::lock;

/// Runs `f`, which may start greenlets that borrow from the caller's frame, and waits for
/// all of them.
///
/// When `f` has returned, the children run to their end. If the caller is killed or a
/// [`Timeout`](crate::Timeout) of its own passes in the meantime, the children are killed;
/// so they are if `f` panics. In each case `scope` still waits until they have ended: a
/// child never outlives what it borrows. A child that makes no blocking calls is not
/// reached by a kill, and the scope waits for it as well.
///
/// # Switching
/// May switch to other greenlets, unless all children have ended.
///
/// # Errors
/// Cancelled or timeout, if that ended the wait; the value of `f` is dropped.
///
/// # Panics
/// With the panic of `f`, or else if a child panicked that nobody joined.
///
/// # Examples
///
/// ```
/// let numbers = vec![1, 2, 3, 4];
/// let (left, right) = numbers.split_at(2);
/// let sum = greenloop::sync::scope(|s| {
///     let left = s.spawn(|| left.iter().sum::<i32>());
///     let right = s.spawn(|| right.iter().sum::<i32>());
///     left.join().unwrap() + right.join().unwrap()
/// })?;
/// assert_eq!(sum, 10);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none (a `Group` that is joined in a `finally`); `std::thread::scope` is the
/// model. For the first failure to end the rest, see [`try_scope`](super::try_scope); to
/// collect all results, join the children here.
#[track_caller]
pub fn scope<'env, T, F>(f: F) -> Result<T>
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    // Also says no while the caller unwinds: then no wait may switch.
    park::check(Deadline::NEVER)?;
    let scope = Scope::new();
    let (returned, ended) = enclose(&scope.children, || f(&scope), || ());
    let value = returned.unwrap_or_else(|panic| resume_unwind(panic));
    if let Some(message) = ended.panic {
        panic!("a greenlet of the scope panicked: {message}");
    }
    ended.interruption.map_or(Ok(value), Err)
}

/// Runs `f`, and comes back when all of `children` have ended; also with its panic.
///
/// Everybody who has seen the [`Scope`] of these children ran inside `f` or is one of them,
/// so none is added afterwards. `interrupted` is called if it is the caller's kill or
/// timeout that ends them, and must not panic.
#[track_caller]
pub(super) fn enclose<T>(
    children: &Children,
    f: impl FnOnce() -> T,
    interrupted: impl FnOnce(),
) -> (std::thread::Result<T>, Ended) {
    let returned = catch_unwind(AssertUnwindSafe(f));
    // From here to the end of the wait nothing can unwind: the panic of `f` is held back.
    let ended = children.wait_for_all(returned.is_err(), interrupted);
    (returned, ended)
}

/// Starts greenlets that end before [`scope`] returns.
///
/// Invariant: whoever makes one shows it to nobody outside of `enclose`.
pub struct Scope<'scope, 'env: 'scope> {
    pub(super) children: Arc<Children>,
    /// Invariant: a scope must not be taken for one that ends earlier or later.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// For callers of [`enclose`].
    pub(super) fn new() -> Self {
        Self {
            children: Arc::default(),
            scope: PhantomData,
            env: PhantomData,
        }
    }

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
    /// let mut squares = [0; 4];
    /// greenloop::sync::scope(|s| {
    ///     for (n, square) in squares.iter_mut().enumerate() {
    ///         s.spawn(move || *square = n * n);
    ///     }
    /// })?;
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(&'scope self, f: F) -> ScopedGreenlet<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
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
    /// As [`try_spawn`](crate::try_spawn).
    #[track_caller]
    #[expect(unsafe_code, reason = "the one caller of `spawn_borrowed`")]
    pub fn try_spawn<T, F>(&'scope self, f: F) -> Result<ScopedGreenlet<'scope, T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let result = Arc::new(Mutex::new(None));
        let body = {
            let result = result.clone();
            Box::new(move || {
                let value = f();
                *lock(&result) = Some(value);
            })
        };
        self.children.reserve();
        // SAFETY: what the body borrows is valid for 'scope, which lasts until `scope` or
        // `try_scope` returns or unwinds. Both show the `Scope` only to what runs inside
        // `enclose`, where `Children::wait_for_all` comes before either, and waits with
        // `wait_surely` for every greenlet that `add` was told of. Nothing can fail between
        // this call and `add`, for which room was reserved; and whoever makes this call is
        // the closure of the scope or one of its greenlets, so the wait is not over.
        let greenlet = unsafe { Builder::new().spawn_borrowed(body) }?;
        let joined = self.children.add(greenlet.handle());
        Ok(ScopedGreenlet {
            greenlet,
            result,
            joined,
            scope: PhantomData,
        })
    }

    /// Kills every greenlet of the scope, and those that are started later.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// greenloop::sync::scope(|s| {
    ///     let sleeper = s.spawn(|| greenloop::sleep(Duration::MAX));
    ///     s.kill_all();
    ///     assert!(sleeper.join().unwrap_err().is_killed());
    /// })?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn kill_all(&self) {
        self.children.kill_all();
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = lock(&self.children.state).list.len();
        f.debug_struct("Scope")
            .field("greenlets", &count)
            .finish_non_exhaustive()
    }
}

/// A greenlet of a [`Scope`] and the value it will return.
///
/// Dropping it lets the greenlet run on, to the end of the scope at most.
pub struct ScopedGreenlet<'scope, T> {
    greenlet: Greenlet<()>,
    result: Arc<Mutex<Option<T>>>,
    joined: Arc<AtomicBool>,
    scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedGreenlet<'_, T> {
    /// Waits for the end and takes the value.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the greenlet has ended.
    ///
    /// # Errors
    /// As [`Greenlet::join`](crate::Greenlet::join).
    ///
    /// # Examples
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// let length = greenloop::sync::scope(|s| s.spawn(|| text.len()).join())?;
    /// assert_eq!(length.unwrap(), 8);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        let ended = self.greenlet.join();
        if !ended.as_ref().is_err_and(JoinError::is_wait_error) {
            self.joined.store(true, Ordering::Relaxed);
        }
        ended?;
        Ok(lock(&self.result)
            .take()
            .unwrap_or_else(|| unreachable!("the body stores its value before it returns")))
    }

    /// The greenlet without its value; it can leave the scope.
    pub fn handle(&self) -> Handle {
        self.greenlet.handle()
    }
}

impl<T> fmt::Debug for ScopedGreenlet<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedGreenlet")
            .field(&self.greenlet.id())
            .finish()
    }
}

/// The greenlets of one scope.
#[derive(Default)]
pub(super) struct Children {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    list: Vec<Child>,
    /// At this length those that have ended are taken off the list.
    sweep_at: usize,
    /// New ones are killed at once.
    killed: bool,
}

struct Child {
    handle: Handle,
    joined: Arc<AtomicBool>,
}

/// How the wait for all ended.
#[derive(Default)]
pub(super) struct Ended {
    /// What ended the caller's wait and killed the rest.
    pub(super) interruption: Option<Error>,
    /// The first panic that nobody joined.
    pub(super) panic: Option<String>,
}

impl Children {
    /// Makes room for one more.
    fn reserve(&self) {
        let mut state = lock(&self.state);
        if state.list.len() >= state.sweep_at {
            state
                .list
                .retain(|child| !child.handle.is_ready() || child.panic().is_some());
            state.sweep_at = (2 * state.list.len()).max(SWEEP_MIN);
        }
        state.list.reserve(1);
    }

    fn add(&self, handle: Handle) -> Arc<AtomicBool> {
        let joined = Arc::new(AtomicBool::new(false));
        let mut state = lock(&self.state);
        if state.killed {
            handle.kill();
        }
        state.list.push(Child {
            handle,
            joined: joined.clone(),
        });
        joined
    }

    fn kill_all(&self) {
        let mut state = lock(&self.state);
        state.killed = true;
        for child in &state.list {
            child.handle.kill();
        }
    }

    /// Waits for all, those included that are started meanwhile by others of the scope.
    #[track_caller]
    fn wait_for_all(&self, kill: bool, interrupted: impl FnOnce()) -> Ended {
        let mut ended = Ended::default();
        let mut interrupted = Some(interrupted);
        if kill {
            self.kill_all();
        }
        while let Some(handle) = self.first() {
            if !kill
                && ended.interruption.is_none()
                && let Err(error) = handle.wait()
            {
                ended.interruption = Some(error);
                if let Some(interrupted) = interrupted.take() {
                    interrupted();
                }
                self.kill_all();
            }
            handle.wait_surely();
            let panic = self.remove(&handle).and_then(|child| child.panic());
            ended.panic = ended.panic.take().or(panic);
        }
        ended
    }

    /// Takes one that has ended off the list, if no sweep did.
    fn remove(&self, handle: &Handle) -> Option<Child> {
        let list = &mut lock(&self.state).list;
        let place = list
            .iter()
            .position(|child| child.handle.id() == handle.id())?;
        Some(list.swap_remove(place))
    }

    fn first(&self) -> Option<Handle> {
        lock(&self.state)
            .list
            .first()
            .map(|child| child.handle.clone())
    }
}

impl Child {
    /// The text of its panic, if it ended so and nobody was told.
    fn panic(&self) -> Option<String> {
        match self.handle.exit() {
            Some(Exit::Panicked(text)) if !self.joined.load(Ordering::Relaxed) => Some(text),
            _ => None,
        }
    }
}

/// Short enough that ended children cost little, long enough that few spawns look at them.
const SWEEP_MIN: usize = 64;
