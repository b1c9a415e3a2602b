//! Starting greenlets: the crate's one `unsafe` call into the engine.
//!
//! # What the engine demands, and who keeps it
//!
//! `may::coroutine::Builder::spawn` is `unsafe` for two reasons.
//!
//! **Thread-local storage.** A coroutine may go on on another thread after every switch, so
//! a reference into thread-local storage that is held across one points into another
//! thread's memory. The types keep part of that: a body must be `Send`, so it cannot bring
//! such a reference along (`Rc`, a `MutexGuard`). What it makes itself and holds across a
//! switch, no type checks. That is left to the user, and [`spawn`] says so: no guard, no
//! borrow out of a `thread_local!`, across a call that may switch. Our own thread-locals
//! are read in functions that are never inlined and never switch (`workers`, `park`).
//!
//! **Stack overflow.** A stack ends in a guard page, so running over it is a fault and
//! never a write into somebody else's memory, as long as no frame is larger than the page
//! (rustc probes larger ones). The fault is reported and ends the process (`overflow`).
//!
//! Two more things the engine does not say, which [`Task`] and [`launch`] keep:
//!
//! - a coroutine must not end while the worker on which it last stopped still files it
//!   away: [`Seat::vacate`](crate::runtime::park::Seat::vacate);
//! - a panic must not reach the engine, whose handling of it is not ours: every body runs
//!   inside `catch_unwind`.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::runtime::config::{self, Config};
use crate::runtime::context::Context;
use crate::runtime::greenlet::{Exit, Greenlet, Handle, Packet, panic_message};
use crate::runtime::park::{Seat, current, set_current, with_local};
use crate::runtime::paused::Paused;
use crate::runtime::task::{Birth, Task};
use crate::runtime::{drain, hooks, registry, relay, sleep, timer, workers};
use crate::util::discard;

/// A greenlet could not be started.
///
/// Its text says what the limit is and how to raise it.
#[derive(Debug)]
pub struct SpawnError(Error);

impl std::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SpawnError {}

impl From<SpawnError> for Error {
    fn from(error: SpawnError) -> Self {
        error.0
    }
}

impl From<Error> for SpawnError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// Starts `f` in a new greenlet.
///
/// The greenlet runs when a worker is free, at the earliest after the caller's next switch
/// if there is one worker. Dropping the handle lets it run on. It must not hold a guard or
/// a borrow out of a `thread_local!` across a call that may switch: greenlets move between
/// threads.
///
/// # Switching
/// Never switches.
///
/// # Panics
/// If [`Config::max_greenlets`] are alive, as `std::thread::spawn` does; see [`try_spawn`].
///
/// # Examples
///
/// ```
/// let greenlet = greenloop::spawn(|| 6 * 7);
/// assert_eq!(greenlet.join().unwrap(), 42);
/// ```
///
/// gevent: `gevent.spawn(f)`; arguments are captured by the closure.
#[track_caller]
pub fn spawn<T, F>(f: F) -> Greenlet<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f)
}

/// Starts `f` in a new greenlet, or says why it cannot be started.
///
/// # Switching
/// Never switches.
///
/// # Errors
/// [`Config::max_greenlets`] are alive, or the system has no memory for a stack. `f` is
/// dropped.
///
/// # Examples
///
/// ```
/// let greenlet = greenloop::try_spawn(|| "hello")?;
/// assert_eq!(greenlet.join().unwrap(), "hello");
/// # Ok::<(), greenloop::SpawnError>(())
/// ```
///
/// gevent: none; `spawn` fails with `MemoryError` at best.
#[track_caller]
pub fn try_spawn<T, F>(f: F) -> Result<Greenlet<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().try_spawn(f)
}

/// Starts `f` in a new greenlet after `delay`.
///
/// Killed before that, it never runs.
///
/// # Switching
/// Never switches.
///
/// # Panics
/// As [`spawn`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let greenlet = greenloop::spawn_later(Duration::from_millis(5), || "later");
/// assert!(!greenlet.is_ready());
/// assert_eq!(greenlet.join().unwrap(), "later");
/// ```
///
/// gevent: `gevent.spawn_later(delay, f)`.
#[track_caller]
pub fn spawn_later<T, F>(delay: Duration, f: F) -> Greenlet<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawned = Builder::new().start(move || sleep::sleep(delay), f);
    spawned.unwrap_or_else(|error| panic!("{error}"))
}

/// How to start a greenlet: its name and its stack.
///
/// # Examples
///
/// ```
/// let greenlet = greenloop::Builder::new()
///     .name("reader")
///     .stack_bytes(1 << 20)
///     .spawn(|| greenloop::current().name().map(str::to_owned));
/// assert_eq!(greenlet.join().unwrap().as_deref(), Some("reader"));
/// ```
///
/// gevent: `Greenlet(f)` with its `name`; stacks there are the interpreter's.
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    name: Option<Box<str>>,
    stack_bytes: Option<usize>,
    background: bool,
    /// Whether a panic is certain to be told to somebody without a `join`.
    pub(crate) panic_is_told: bool,
}

impl Builder {
    /// A nameless greenlet with the configured stack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names it, for dumps, logs and panic messages.
    ///
    /// gevent: `Greenlet.name`, which each has.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// Gives it a stack of so many bytes, rounded up to whole pages.
    ///
    /// Default: [`Config::stack_bytes`]. Only address space is taken; memory is used as the
    /// stack is. A stack of another size than the default is not pooled.
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// Lets [`drain`](crate::drain) do without its end: for greenlets that serve others
    /// and have no end of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, drain, sleep};
    /// use std::time::Duration;
    ///
    /// let ticker = Builder::new().background().spawn(|| sleep(Duration::MAX));
    /// assert!(drain(Some(Duration::from_secs(60)))?, "nobody waits for the ticker");
    /// # ticker.kill_and_wait(None)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `ref=False` of a watcher.
    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// Starts `f`; see [`spawn`].
    ///
    /// # Panics
    /// As [`spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// let greenlet = greenloop::Builder::new()
    ///     .name("adder")
    ///     .spawn(|| 1 + 2);
    /// assert_eq!(greenlet.name(), Some("adder"));
    /// assert_eq!(greenlet.join().unwrap(), 3);
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(self, f: F) -> Greenlet<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_spawn(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts `f`; see [`try_spawn`].
    ///
    /// # Errors
    /// As [`try_spawn`].
    #[track_caller]
    pub fn try_spawn<T, F>(self, f: F) -> Result<Greenlet<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.start(|| Ok(()), f)
    }

    /// Starts `f`, which runs once `gate` has let it: if the gate fails, or the greenlet
    /// was killed by then, it never does. The gate runs in the greenlet, and must not panic.
    ///
    /// # Errors
    /// As [`try_spawn`].
    #[track_caller]
    pub(crate) fn try_spawn_behind<T, F>(
        self,
        gate: impl FnOnce() -> Result<()> + Send + 'static,
        f: F,
    ) -> Result<Greenlet<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.start(gate, f)
    }

    /// Starts a body that borrows, for `scope`, which looks after its panic.
    ///
    /// # Safety
    /// - What `'a` borrows must stay valid until the greenlet has ended: the caller has to
    ///   wait for it with [`Handle::wait_surely`](crate::Handle) on every way out of the
    ///   frame that owns it, a panic included.
    #[track_caller]
    #[expect(
        unsafe_code,
        reason = "a lifetime is erased; the condition stands above"
    )]
    pub(crate) unsafe fn spawn_borrowed<'a>(
        mut self,
        body: Box<dyn FnOnce() + Send + 'a>,
    ) -> Result<Greenlet<()>, SpawnError> {
        type Body<'a> = Box<dyn FnOnce() + Send + 'a>;
        // SAFETY: only the lifetime changes. The body is called, or dropped uncalled,
        // before the greenlet's end is told to anyone (`live`), and the caller waits for
        // that end while `'a` is valid.
        let body = unsafe { std::mem::transmute::<Body<'a>, Body<'static>>(body) };
        self.panic_is_told = true;
        self.start(|| Ok(()), body)
    }

    /// Makes a greenlet that begins when it is told to.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// As [`try_spawn`]: it counts as alive from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// let paused = greenloop::Builder::new().paused(|| 6 * 7)?;
    /// assert!(!paused.is_started());
    /// let greenlet = paused.start();
    /// assert_eq!(greenlet.join().unwrap(), 42);
    /// # Ok::<(), greenloop::SpawnError>(())
    /// ```
    ///
    /// gevent: `Greenlet(f)` without `start()`.
    #[track_caller]
    pub fn paused<T, F>(self, f: F) -> Result<Paused<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let life = self.prepare()?;
        let (task, packet) = (life.task.clone(), Arc::new(Packet::default()));
        let body = body(packet.clone(), || Ok(()), f);
        task.pause(Box::new(move || {
            if let Err(SpawnError(error)) = life.begin(body) {
                // Nobody is there to be told, and those who wait must not wait for ever.
                log::error!("{error}");
            }
        }));
        Ok(Paused::new(Greenlet::new(task, packet)))
    }

    #[track_caller]
    fn start<T, F>(
        self,
        gate: impl FnOnce() -> Result<()> + Send + 'static,
        f: F,
    ) -> Result<Greenlet<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let life = self.prepare()?;
        let (task, packet) = (life.task.clone(), Arc::new(Packet::default()));
        life.begin(body(packet.clone(), gate, f))?;
        Ok(Greenlet::new(task, packet))
    }

    /// Everything but the body and the launch.
    #[track_caller]
    fn prepare(self) -> Result<Life, SpawnError> {
        start_if_needed()?;
        let admitted = Admitted::new()?;
        let stack_bytes = self.stack_bytes.map(config::round_stack);
        let spawner = current();
        let task = Task::new(Birth {
            name: self.name,
            parent: spawner.id,
            site: Location::caller(),
            ancestors: Some(spawner.link()),
            stack_bytes: stack_bytes.unwrap_or_else(config::stack_bytes),
            on_worker: true,
            background: self.background,
            tid: 0,
            seat: Seat::default(),
            ticks: spawner.ticks(),
        });
        task.descend_from(&spawner);
        if self.panic_is_told {
            task.completion.note_seen();
        }
        let context = with_local(|local| local.context());
        registry::add(&task);
        if task.is_waited_for() {
            drain::enter();
        }
        if hooks::SPAWN.are_any() {
            hooks::SPAWN.run(&Handle::new(task.clone()));
        }
        Ok(Life {
            task,
            context,
            admitted,
            stack_bytes,
        })
    }
}

/// What a greenlet does, to its exit. Behind a pointer: else all that starts and ends one
/// is compiled anew for every closure that is spawned, 8 KB of it.
type Body = Box<dyn FnOnce(&Arc<Task>) -> Exit + Send>;

fn body<T, F>(
    packet: Arc<Packet<T>>,
    gate: impl FnOnce() -> Result<()> + Send + 'static,
    f: F,
) -> Body
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Box::new(move |task| packet.fill(task, run(task, gate, f)))
}

/// A greenlet that is to begin.
struct Life {
    task: Arc<Task>,
    context: Context,
    admitted: Admitted,
    /// If not as configured.
    stack_bytes: Option<usize>,
}

impl Life {
    /// Launches it; it waits for its first turn from then on. If it cannot be, it has ended.
    fn begin(self, body: Body) -> Result<(), SpawnError> {
        let (task, stack_bytes) = (self.task.clone(), self.stack_bytes);
        let beginning = Beginning::new();
        let launched = launch(stack_bytes, None, move || {
            drop(beginning);
            self.live(body);
        });
        launched.map_err(|error| {
            end_unbegun(&task);
            SpawnError(error)
        })
    }

    /// From its first instruction to its last.
    // Never inlined, so that `stack_top` is an address in the coroutine's own first frames.
    #[inline(never)]
    fn live(self, body: Body) {
        let Self {
            task,
            context,
            admitted,
            ..
        } = self;
        let top = std::ptr::from_ref(&task).addr();
        task.stack_top.store(top as u64, Ordering::Relaxed);
        task.seat.occupy();
        set_current(task.clone());
        workers::enter(&task);
        task.note_running();
        discard(with_local(|local| local.set_context(context)));
        relay::tick(&task);

        let outcome = body(&task);
        discard_belongings();
        tell_exit(&task, &outcome);
        registry::remove(&task);
        task.completion.complete(&task, outcome, Some(admitted));
        timer::forget(&task);
        // Before the seat is given up, which may go on on another worker.
        workers::leave();
        task.seat.vacate();
    }
}

/// The end of a greenlet that could not be launched: a hook may have kept its handle.
fn end_unbegun(task: &Arc<Task>) {
    tell_exit(task, &Exit::Killed);
    registry::remove(task);
    task.completion.complete(task, Exit::Killed, None);
}

fn tell_exit(task: &Arc<Task>, exit: &Exit) {
    if hooks::EXIT.are_any() {
        hooks::EXIT.run(&(Handle::new(task.clone()), exit.clone()));
    }
}

/// Drops what the greenlet alone owns, while it can still run user code: after its end the
/// engine would do so, outside of any greenlet, and a panic would end the worker.
fn discard_belongings() {
    discard(with_local(|local| local.set_context(Context::default())));
    // A destructor may make a local anew; the standard library stops after some rounds, too.
    for _ in 0..8 {
        let locals = with_local(|local| local.take());
        if locals.is_empty() {
            return;
        }
        locals.into_values().for_each(discard);
    }
    std::mem::forget(with_local(|local| local.take()));
}

/// Runs the body behind its gate, unless the greenlet was killed before it could begin.
fn run<T>(
    task: &Arc<Task>,
    gate: impl FnOnce() -> Result<()>,
    f: impl FnOnce() -> T,
) -> std::thread::Result<Option<T>> {
    if gate().is_err() || task.is_killed() {
        discard(f);
        return Ok(None);
    }
    let returned = catch_unwind(AssertUnwindSafe(f))?;
    if task.is_kill_seen() {
        // What a killed greenlet returns is how it came to its end, not its result.
        discard(returned);
        return Ok(None);
    }
    Ok(Some(returned))
}

/// A greenlet that has not had its first turn.
struct Beginning(());

static BEGINNING: AtomicUsize = AtomicUsize::new(0);

impl Beginning {
    fn new() -> Self {
        BEGINNING.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        BEGINNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells whether somebody waits for a first turn. The engine looks at those only when a
/// worker's own queue is empty, so who yields to them has to leave it.
pub(crate) fn somebody_begins() -> bool {
    BEGINNING.load(Ordering::Relaxed) > 0
}

/// One of the greenlets that may be alive.
pub(crate) struct Admitted(());

static ALIVE: AtomicUsize = AtomicUsize::new(0);

impl Admitted {
    fn new() -> Result<Self> {
        let limit = config::max_greenlets();
        // Not counted up and down again: in between, others would be refused as well.
        ALIVE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |alive| {
                (alive < limit).then_some(alive + 1)
            })
            .map(|_| Self(()))
            .map_err(|_| config::limit_error(limit))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts the engine as configured by default, if nobody has started it.
pub(crate) fn start_if_needed() -> Result<()> {
    if config::is_started() {
        return Ok(());
    }
    match Config::new().start() {
        // Somebody else was faster.
        Err(_) if config::is_started() => Ok(()),
        started => started,
    }
}

/// Runs a bare coroutine: on worker `worker` if one is named (and nobody steals it from
/// there). It is not a greenlet: no handle, no limit, no registry entry.
#[expect(
    unsafe_code,
    reason = "the engine's spawn; the module's text is the argument"
)]
pub(crate) fn launch(
    stack_bytes: Option<usize>,
    worker: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let mut builder = may::coroutine::Builder::new();
    if let Some(bytes) = stack_bytes {
        builder = builder.stack_size(config::words(bytes));
    }
    if let Some(worker) = worker {
        builder = builder.id(worker);
    }
    // The engine panics where it gets no memory for a stack.
    let spawned = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the body is `Send + 'static`, its stack ends in a guard page whose fault
        // ends the process, and what remains (no thread-local borrow across a switch) is
        // kept as the module's text says. The handle is dropped, which detaches.
        unsafe { builder.spawn(body) }.map(drop)
    }));
    match spawned {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::from(error).context("starting a greenlet")),
        Err(_) => Err(Error::message("no memory for a greenlet's stack")),
    }
}

/// Drops `value` once every worker has gone through its scheduler.
///
/// A coroutine that is dealt to a worker can only run after that worker has taken it off
/// its own list, wherever it runs then; so when all have run, no worker is still inside
/// what it did before this call.
///
/// If that cannot be had, the value is kept for ever.
pub(crate) fn after_every_worker<T: Send + Sync + 'static>(value: T) {
    let shared = Arc::new(value);
    for worker in 0..config::workers() {
        let share = shared.clone();
        if let Err(error) = launch(None, Some(worker), move || drop(share)) {
            // Without memory for a stack there is no proof, and none will come. Keeping
            // the value for ever is the one safe answer.
            log::error!("cannot close a descriptor: {error}");
            std::mem::forget(shared.clone());
        }
    }
}

/// Starts the parts of the runtime that are coroutines themselves, and waits until the
/// first coroutine has run: only then has the engine set itself up.
pub(crate) fn start_services(workers: usize) -> Result<()> {
    timer::start()?;
    // The engine panics where the system refuses it a descriptor.
    catch_unwind(AssertUnwindSafe(|| relay::start(workers)))
        .unwrap_or_else(|panic| Err(Error::message(panic_message(panic.as_ref()))))?;
    if may::coroutine::is_coroutine() {
        // Started from a coroutine of the engine's: it runs, and waiting here might hold
        // up the very worker that is waited for.
        return Ok(());
    }
    let (tell, told) = std::sync::mpsc::channel();
    launch(None, None, move || {
        // Nobody waits any more only if this function has failed.
        let _ = tell.send(());
    })?;
    told.recv()
        .map_err(|_| Error::message("the engine does not run coroutines"))
}
