//! Handles: how one greenlet joins, kills and watches another.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::runtime::club::Club;
use crate::runtime::deadline::Deadline;
use crate::runtime::hooks::{self, Unhandled};
use crate::runtime::park::{Parker, current, wait_for};
use crate::runtime::reason::{Wait, Whom};
use crate::runtime::relay;
use crate::runtime::task::Task;
use crate::runtime::watch::{Waitable, WatchId, Watcher};
use crate::util::{discard, lock};

/// A greenlet that was started and the value it will return.
///
/// Dropping it lets the greenlet run on. Everything but [`Greenlet::join`] is also there
/// on its [`Handle`], which can be cloned and has no value to return.
///
/// # Examples
///
/// ```
/// let greenlet = greenloop::spawn(|| "done");
/// let watcher = {
///     let handle = greenlet.handle();
///     greenloop::spawn(move || handle.wait())
/// };
/// assert_eq!(greenlet.join().unwrap(), "done");
/// watcher.join().unwrap()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.Greenlet`.
pub struct Greenlet<T> {
    handle: Handle,
    packet: Arc<Packet<T>>,
}

/// A greenlet, without the value it returns; also [`current`](crate::current).
#[derive(Clone)]
pub struct Handle(Arc<Task>);

/// How a greenlet ended, as links see it.
///
/// ```
/// use greenloop::Exit;
/// use std::time::Duration;
///
/// let sleeper = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
/// assert_eq!(sleeper.exit(), None);
/// sleeper.kill_and_wait(None)?;
/// assert_eq!(sleeper.exit(), Some(Exit::Killed));
///
/// let bad = greenloop::spawn(|| panic!("oops"));
/// bad.wait()?;
/// assert_eq!(bad.exit(), Some(Exit::Panicked("oops".into())));
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// It returned.
    Returned,
    /// It was killed: before it ran, or a blocking call in it failed for that reason.
    Killed,
    /// It panicked, with this message.
    Panicked(String),
}

impl<T> Greenlet<T> {
    pub(crate) fn new(task: Arc<Task>, packet: Arc<Packet<T>>) -> Self {
        Self {
            handle: Handle(task),
            packet,
        }
    }

    /// The same greenlet once more; only one of both can take the value.
    pub(crate) fn share(&self) -> Self {
        Self::new(self.handle.0.clone(), self.packet.clone())
    }

    /// Waits for the end and takes the value.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the greenlet has ended.
    ///
    /// # Errors
    /// [`JoinError`] says whether the greenlet panicked or was killed, or whether it was
    /// the caller whose wait ended; then the greenlet runs on.
    ///
    /// # Examples
    ///
    /// ```
    /// let bad = greenloop::spawn(|| panic!("oops")).join();
    /// assert!(bad.unwrap_err().is_panic());
    /// ```
    ///
    /// gevent: `Greenlet.get()`.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        self.handle.wait()?;
        self.packet.take().map_err(|error| match error.0 {
            JoinErrorKind::Killed(_) => {
                JoinError(JoinErrorKind::Killed(self.handle.0.kill_reason()))
            }
            _ => error,
        })
    }

    /// The greenlet without its value.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

/// What can be asked of a handle can be asked of the greenlet.
impl<T> std::ops::Deref for Greenlet<T> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// The current greenlet. On an OS thread, a handle that stands for the thread.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// let greenlet = greenloop::spawn(|| greenloop::current().id());
/// let id = greenlet.id();
/// assert_eq!(greenlet.join().unwrap(), id);
/// ```
///
/// gevent: `gevent.getcurrent()`.
pub fn current_handle() -> Handle {
    Handle(current())
}

impl Handle {
    pub(crate) fn new(task: Arc<Task>) -> Self {
        Self(task)
    }

    /// Its number, which no other greenlet of this process has had or will have.
    ///
    /// gevent: `Greenlet.minimal_ident`, which is given again to others.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Its name, if it was given one.
    ///
    /// gevent: `Greenlet.name`.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Tells whether it has ended.
    ///
    /// gevent: `Greenlet.ready()`.
    pub fn is_ready(&self) -> bool {
        lock(&self.0.completion.state).exit.is_some()
    }

    /// How it ended, once it has. A panic that was asked for counts as handled, see
    /// [`hooks::on_unhandled`].
    ///
    /// gevent: `Greenlet.value` and `Greenlet.exception`.
    pub fn exit(&self) -> Option<Exit> {
        let exit = lock(&self.0.completion.state).exit.clone();
        if let Some(Exit::Panicked(_)) = exit {
            self.0.completion.note_seen();
        }
        exit
    }

    /// Waits for the end. Any number of greenlets and threads may wait.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the greenlet has ended.
    ///
    /// # Errors
    /// The caller was killed or timed out; or it waits for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let greenlet = greenloop::spawn(|| "value");
    /// let handle = greenlet.handle();
    /// let other = greenloop::spawn(move || handle.wait());
    /// greenlet.wait()?;
    /// assert!(greenlet.is_ok());
    /// assert_eq!(greenlet.join().unwrap(), "value"); // still there
    /// other.join().unwrap()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Greenlet.join()`.
    #[track_caller]
    pub fn wait(&self) -> Result<()> {
        self.wait_deadline(Deadline::NEVER).map(drop)
    }

    /// Waits at most `limit` for the end; false if it is not there yet.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the greenlet has ended.
    ///
    /// # Errors
    /// As [`Handle::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
    /// assert!(!greenlet.wait_timeout(Duration::from_millis(2))?);
    /// greenlet.kill();
    /// assert!(greenlet.wait_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Greenlet.join(timeout=limit)`.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool> {
        self.wait_deadline(limit.into())
    }

    /// Waits for the end until `limit`; false if it is not there yet.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the greenlet has ended.
    ///
    /// # Errors
    /// As [`Handle::wait`].
    #[track_caller]
    pub fn wait_deadline(&self, limit: Deadline) -> Result<bool> {
        let caller = current();
        if self.is_ready() {
            return Ok(true);
        }
        if Arc::ptr_eq(&self.0, &caller) {
            return Err(Error::message("a greenlet cannot wait for its own end"));
        }
        caller.note_whom(Whom::Greenlet(self.0.id));
        let waited = wait_for(
            &self.0.completion.state,
            |state| &mut state.waiters,
            Wait::Join,
            limit,
            |state| state.exit.is_some().then_some(()),
        );
        caller.note_whom(Whom::Anyone);
        // Two that start and join in turn would never let their worker look for events.
        relay::tick(&caller);
        match waited {
            Ok(()) => Ok(true),
            Err(error) if error.is_own_limit() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for the end, whatever happens to the caller: not a cancellation point.
    #[track_caller]
    pub(crate) fn wait_surely(&self) {
        let parker = Parker::new();
        {
            let mut state = lock(&self.0.completion.state);
            if state.exit.is_some() {
                return;
            }
            state.waiters.push(parker.unparker(), ());
        }
        let caller = current();
        caller.note_whom(Whom::Greenlet(self.0.id));
        parker.park_surely(Wait::Join);
        caller.note_whom(Whom::Anyone);
    }

    /// Kills it: the blocking call it is in, and every later one, fails with an error for
    /// which [`Error::is_cancelled`] holds, until it ends or is inside
    /// [`shield`](crate::shield). One that has not begun never runs.
    ///
    /// It is a request that cannot be refused for long, not an interruption: code between
    /// two blocking calls runs on, and destructors run as always.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
    /// greenlet.kill();
    /// assert!(greenlet.join().unwrap_err().is_killed());
    /// ```
    ///
    /// gevent: `Greenlet.kill(block=False)`, which throws once; ours is a level.
    pub fn kill(&self) {
        self.kill_for(None);
    }

    /// Kills it, as [`Handle::kill`] does, and says why: the errors of its blocking calls
    /// and the [`JoinError`] carry the text. The first reason stays.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
    /// greenlet.kill_with("the client has left");
    /// let error = greenlet.join().unwrap_err();
    /// assert_eq!(error.kill_reason(), Some("the client has left"));
    /// ```
    ///
    /// gevent: `Greenlet.kill(exception, block=False)`.
    pub fn kill_with(&self, reason: impl Into<String>) {
        self.kill_for(Some(reason.into().into()));
    }

    fn kill_for(&self, reason: Option<Arc<str>>) {
        self.0.kill(reason);
        self.0.begin();
        self.0.wake_anywhere();
    }

    /// Tells whether it was started; false only for one that is
    /// [`Paused`](crate::Paused).
    ///
    /// gevent: `Greenlet.started`, which is false again after the end.
    pub fn is_started(&self) -> bool {
        !self.0.is_paused()
    }

    /// Tells whether it has returned: neither panicked nor was killed.
    ///
    /// gevent: `Greenlet.successful()`, which holds for a killed one as well.
    pub fn is_ok(&self) -> bool {
        self.exit() == Some(Exit::Returned)
    }

    /// Kills it and waits for the end, at most `limit` if one is given; false if it has
    /// not ended by then.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the greenlet has ended.
    ///
    /// # Errors
    /// As [`Handle::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
    /// assert!(greenlet.kill_and_wait(Some(Duration::from_secs(60)))?);
    /// assert!(greenlet.is_ready());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Greenlet.kill(timeout=limit)`.
    #[track_caller]
    pub fn kill_and_wait(&self, limit: Option<Duration>) -> Result<bool> {
        self.kill();
        self.wait_deadline(limit.into())
    }

    pub(crate) fn task(&self) -> &Arc<Task> {
        &self.0
    }

    /// Wakes it so that it looks at its conditions again; what it waits for goes on.
    pub(crate) fn nudge(&self) {
        self.0.wake_anywhere();
    }
}

impl Handle {
    /// Has `club` told of the end before anybody else can know of it; at once if it has
    /// come.
    pub(crate) fn enrol(&self, club: Arc<dyn Club>) {
        let mut state = lock(&self.0.completion.state);
        match &state.exit {
            Some(exit) => club.left(self.0.id, exit),
            None => state.clubs.add(club),
        }
    }

    /// Takes an [`Handle::enrol`] back.
    pub(crate) fn resign(&self, club: &Arc<dyn Club>) {
        lock(&self.0.completion.state).clubs.remove(club);
    }
}

impl Waitable for Handle {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.0.completion.state);
        let is_ready = state.exit.is_some();
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.0.completion.state).watchers.remove(id);
    }
}

impl<T> Waitable for Greenlet<T> {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        self.handle.watch(watcher)
    }

    fn unwatch(&self, id: WatchId) {
        self.handle.unwatch(id);
    }
}

/// Where a greenlet leaves its value.
pub(crate) struct Packet<T>(Mutex<Option<Result<Option<T>, Failure>>>);

/// A panic. If nobody takes its payload, it is unhandled.
pub(crate) struct Failure {
    task: Arc<Task>,
    payload: Option<Box<dyn Any + Send>>,
}

impl Failure {
    fn take(mut self) -> Box<dyn Any + Send> {
        self.payload.take().expect("it is taken once, by value")
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        if let Some(payload) = self.payload.take() {
            if hooks::UNHANDLED.are_any() && self.task.completion.note_seen() {
                let message = panic_message(payload.as_ref());
                hooks::UNHANDLED.run(&Unhandled::new(&self.task, message));
            }
            discard(payload);
        }
    }
}

impl<T> Default for Packet<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Packet<T> {
    /// Stores how the body ended: a value, nothing if it was killed, or a panic.
    ///
    /// If nobody can take it any more it is dropped here: the value's destructor is user
    /// code, and may wait only while the greenlet lives.
    pub(crate) fn fill(
        self: Arc<Self>,
        task: &Arc<Task>,
        ended: std::thread::Result<Option<T>>,
    ) -> Exit {
        let exit = match &ended {
            Ok(Some(_)) => Exit::Returned,
            Ok(None) => Exit::Killed,
            Err(payload) => Exit::Panicked(panic_message(payload.as_ref()).to_owned()),
        };
        let failure = |payload| Failure {
            task: task.clone(),
            payload: Some(payload),
        };
        *lock(&self.0) = Some(ended.map_err(failure));
        discard(self);
        exit
    }

    fn take(&self) -> Result<T, JoinError> {
        let ended = lock(&self.0).take();
        match ended {
            Some(Ok(Some(value))) => Ok(value),
            Some(Err(failure)) => Err(JoinError(JoinErrorKind::Panicked(failure.take()))),
            Some(Ok(None)) | None => Err(JoinError(JoinErrorKind::Killed(None))),
        }
    }
}

/// The text of a panic, if it has one.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
}

/// Why [`Greenlet::join`] has no value.
pub struct JoinError(JoinErrorKind);

enum JoinErrorKind {
    /// With the reason, if one was given.
    Killed(Option<Arc<str>>),
    Panicked(Box<dyn Any + Send>),
    Wait(Error),
}

impl JoinError {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self(JoinErrorKind::Panicked(payload))
    }

    /// What joining a greenlet that ended so would fail with; `None` if it returned.
    pub(crate) fn of(exit: &Exit) -> Option<Self> {
        match exit {
            Exit::Returned => None,
            Exit::Killed => Some(Self(JoinErrorKind::Killed(None))),
            Exit::Panicked(text) => Some(Self::panicked(Box::new(text.clone()))),
        }
    }

    /// Tells whether the greenlet was killed.
    pub fn is_killed(&self) -> bool {
        matches!(self.0, JoinErrorKind::Killed(_))
    }

    /// Why the greenlet was killed, if [`Handle::kill_with`] said so.
    pub fn kill_reason(&self) -> Option<&str> {
        match &self.0 {
            JoinErrorKind::Killed(reason) => reason.as_deref(),
            _ => None,
        }
    }

    /// Tells whether the greenlet panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, JoinErrorKind::Panicked(_))
    }

    /// Tells whether it was the caller that was killed or timed out.
    pub fn is_wait_error(&self) -> bool {
        matches!(self.0, JoinErrorKind::Wait(_))
    }

    /// The panic's payload, for `std::panic::resume_unwind`.
    ///
    /// # Errors
    /// The error itself if the greenlet did not panic.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = greenloop::spawn(|| panic!("oops")).join().unwrap_err();
    /// let payload = error.into_panic().unwrap();
    /// assert_eq!(payload.downcast_ref(), Some(&"oops"));
    /// ```
    ///
    /// gevent: `Greenlet.exc_info`.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.0 {
            JoinErrorKind::Panicked(payload) => Ok(payload),
            other => Err(Self(other)),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            JoinErrorKind::Killed(None) => f.write_str("greenlet was killed"),
            JoinErrorKind::Killed(Some(reason)) => write!(f, "greenlet was killed: {reason}"),
            JoinErrorKind::Panicked(payload) => {
                write!(f, "greenlet panicked: {}", panic_message(payload.as_ref()))
            }
            JoinErrorKind::Wait(error) => write!(f, "waiting for a greenlet: {error}"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            JoinErrorKind::Wait(error) => Some(error),
            _ => None,
        }
    }
}

/// The caller's own wait failed.
impl From<Error> for JoinError {
    fn from(error: Error) -> Self {
        Self(JoinErrorKind::Wait(error))
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        match error.0 {
            JoinErrorKind::Wait(error) => error,
            JoinErrorKind::Killed(reason) => Self::cancelled(reason).context("joining"),
            JoinErrorKind::Panicked(_) => Self::message(error),
        }
    }
}

impl<T> fmt::Debug for Greenlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Greenlet({})", self.0.title())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.0.title())
    }
}
