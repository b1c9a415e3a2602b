//! Being told what happens in the runtime: greenlets that start, end, block their worker
//! or fail unseen; memory; deadlocks.
//!
//! Each function adds a hook and gives a [`HookGuard`]; dropping that removes it. Several
//! hooks for one thing run in the order of their adding. While there are none, it costs
//! one look at a counter.
//!
//! # Where hooks run
//!
//! | hook | where |
//! |---|---|
//! | [`on_spawn`] | the spawning greenlet or thread, before the new one can run |
//! | [`on_exit`] | the greenlet that ends, before anybody is told of the end |
//! | [`on_unhandled`] | the greenlet that failed, or whoever drops its last handle |
//! | [`on_blocked`], [`on_memory`], [`on_deadlock`], [`every`] | the thread `greenloop-watchdog` |
//!
//! No lock of the runtime is held meanwhile. A hook must not wait: blocking calls of this
//! crate fail in it at once (those that cannot fail, such as taking a lock, wait all the
//! same, and so should be short). What a hook itself spawns or drops runs no hooks: its
//! greenlets start, fail and end untold, and so do those that they start. One that panics
//! is removed, and an error is logged once, as gevent does with a trace function.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! let count = Arc::new(AtomicU32::new(0));
//! let counted = count.clone();
//! let guard = greenloop::hooks::on_spawn(move |_| {
//!     counted.fetch_add(1, Ordering::Relaxed);
//! });
//! greenloop::spawn(|| ()).join().unwrap();
//! drop(guard);
//! greenloop::spawn(|| ()).join().unwrap();
//! assert_eq!(count.load(Ordering::Relaxed), 1);
//! ```
//!
//! gevent: `Greenlet.add_spawn_callback`, `gevent.events`, `greenlet.settrace`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::runtime::greenlet::{Exit, Handle};
use crate::runtime::lineage;
use crate::runtime::park::current;
use crate::runtime::task::Task;
use crate::runtime::{clock, watchdog};
use crate::util::{discard, lock};

pub use crate::runtime::backtrace::Trace;
pub use crate::runtime::deadlock::{Deadlock, Waiter};
pub use crate::runtime::lineage::Ancestor;
pub use crate::runtime::memory::{Crossing, Measure, MemoryEvent};

/// A hook that was added; dropping this removes it.
///
/// A call that is on its way at that moment, on another thread, may still finish.
#[must_use = "dropping it removes the hook at once"]
pub struct HookGuard {
    id: u64,
    remove: fn(u64),
}

impl HookGuard {
    /// Leaves the hook in place for good.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static SPAWNED: AtomicUsize = AtomicUsize::new(0);
    /// greenloop::hooks::on_spawn(|_| {
    ///     SPAWNED.fetch_add(1, Ordering::Relaxed);
    /// })
    /// .keep();
    /// greenloop::spawn(|| ()).join().unwrap();
    /// assert_eq!(SPAWNED.load(Ordering::Relaxed), 1);
    /// ```
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        (self.remove)(self.id);
    }
}

impl fmt::Debug for HookGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookGuard({})", self.id)
    }
}

/// A greenlet that has not let its worker go on to others for too long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Blocked {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned, as `file:line:column`.
    pub spawned_at: Option<String>,
    /// For how long so far, at least. Time in which the system gave the worker no core
    /// does not count.
    pub blocked_for: Duration,
    /// The worker's thread number, as in `/proc/self/task`.
    pub thread: u32,
    /// The kernel's function that the thread waits in, if it does and the system tells.
    pub kernel_place: Option<String>,
    /// Where the thread is; `None` where that could not be found out.
    pub backtrace: Option<Trace>,
}

impl Blocked {
    /// All but the backtrace, in a line.
    pub(crate) fn write_line(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let title = lineage::title(self.id, self.name.as_deref());
        let time = self.blocked_for;
        write!(f, "greenlet {title} has not switched for {time:.0?}")?;
        if let Some(site) = &self.spawned_at {
            write!(f, "; spawned at {site}")?;
        }
        if let Some(place) = &self.kernel_place {
            write!(f, "; in the kernel: {place}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_line(f)?;
        match &self.backtrace {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// A greenlet's panic that nobody was told of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unhandled {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned, as `file:line:column`.
    pub spawned_at: String,
    /// Who spawned it, who spawned that one and so on, nearest first: the last eight.
    pub spawn_chain: Vec<Ancestor>,
    /// The panic's message.
    pub message: String,
}

impl Unhandled {
    pub(crate) fn new(task: &Task, message: &str) -> Self {
        Self {
            id: task.id,
            name: task.name.as_deref().map(str::to_owned),
            spawned_at: task.site.to_string(),
            spawn_chain: lineage::chain(task),
            message: message.to_owned(),
        }
    }
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = lineage::title(self.id, self.name.as_deref());
        let chain = lineage::lines(&self.spawn_chain);
        write!(
            f,
            "greenlet {title} panicked: {}; spawned at {}\n{}",
            self.message,
            self.spawned_at,
            chain.trim_end()
        )
    }
}

/// Calls `hook` with each greenlet that is started.
///
/// If the start then fails for want of memory, [`on_exit`] hooks are told that it was
/// killed.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// See the [module](self).
///
/// # Examples
///
/// ```
/// let (tell, told) = std::sync::mpsc::channel();
/// let guard = greenloop::hooks::on_spawn(move |greenlet| {
///     let _ = tell.send(greenlet.id());
/// });
/// let greenlet = greenloop::spawn(|| ());
/// assert_eq!(told.recv().unwrap(), greenlet.id());
/// drop(guard);
/// ```
///
/// gevent: `Greenlet.add_spawn_callback(f)`.
pub fn on_spawn(hook: impl Fn(&Handle) + Send + Sync + 'static) -> HookGuard {
    SPAWN.add(Arc::new(hook), |id| SPAWN.remove(id))
}

/// Calls `hook` with each greenlet that ends, and how.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use greenloop::Exit;
///
/// let (tell, told) = std::sync::mpsc::channel();
/// let guard = greenloop::hooks::on_exit(move |_, exit| {
///     let _ = tell.send(exit.clone());
/// });
/// greenloop::spawn(|| ()).join().unwrap();
/// assert_eq!(told.recv().unwrap(), Exit::Returned);
/// drop(guard);
/// ```
///
/// gevent: none; a link per greenlet.
pub fn on_exit(hook: impl Fn(&Handle, &Exit) + Send + Sync + 'static) -> HookGuard {
    let hook = move |(handle, exit): &(Handle, Exit)| hook(handle, exit);
    EXIT.add(Arc::new(hook), |id| EXIT.remove(id))
}

/// Calls `hook` once for each time that a greenlet keeps its worker for longer than
/// [`Config::max_blocking`](crate::Config::max_blocking), instead of logging a warning.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let (tell, told) = std::sync::mpsc::channel();
/// let guard = greenloop::hooks::on_blocked(move |blocked| {
///     let _ = tell.send(blocked.name.clone());
/// });
/// let greenlet = greenloop::Builder::new()
///     .name("rude")
///     .spawn(|| std::thread::sleep(Duration::from_millis(400)));
/// assert_eq!(told.recv().unwrap().as_deref(), Some("rude"));
/// greenlet.join().unwrap();
/// drop(guard);
/// ```
///
/// gevent: `gevent.events.EventLoopBlocked`.
pub fn on_blocked(hook: impl Fn(&Blocked) + Send + Sync + 'static) -> HookGuard {
    BLOCKED.add(Arc::new(hook), |id| BLOCKED.remove(id))
}

/// Calls `hook` once for each greenlet whose panic nobody was told of: its
/// [`Greenlet`](crate::Greenlet) was dropped without `join`, and nobody asked for its
/// [`exit`](Handle::exit) before.
///
/// The panic itself was reported when it was raised, on standard error, with the chain of
/// those who spawned the greenlet; so nothing is printed here again.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// let (tell, told) = std::sync::mpsc::channel();
/// let guard = greenloop::hooks::on_unhandled(move |failure| {
///     let _ = tell.send(failure.message.clone());
/// });
/// greenloop::spawn(|| panic!("unseen"));
/// assert_eq!(told.recv().unwrap(), "unseen");
/// drop(guard);
/// ```
///
/// gevent: `Hub.handle_error`, which is called for every failure.
pub fn on_unhandled(hook: impl Fn(&Unhandled) + Send + Sync + 'static) -> HookGuard {
    UNHANDLED.add(Arc::new(hook), |id| UNHANDLED.remove(id))
}

/// Calls `hook` when memory or the number of greenlets crosses its threshold, instead of
/// logging a warning; see [`Config::memory_threshold`](crate::Config::memory_threshold).
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use greenloop::hooks::{Crossing, Measure};
///
/// let guard = greenloop::hooks::on_memory(|event| {
///     if event.measure == Measure::ResidentBytes && event.crossing == Crossing::Exceeded {
///         eprintln!("{event}"); // drop some caches
///     }
/// });
/// # drop(guard);
/// ```
///
/// gevent: `MemoryUsageThresholdExceeded`, `MemoryUsageUnderThreshold`.
pub fn on_memory(hook: impl Fn(&MemoryEvent) + Send + Sync + 'static) -> HookGuard {
    MEMORY.add(Arc::new(hook), |id| MEMORY.remove(id))
}

/// Calls `hook` once for each time that nothing can ever run again; see [`Deadlock`].
///
/// The report also goes to standard error.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// let guard = greenloop::hooks::on_deadlock(|deadlock| {
///     std::fs::write("deadlock.txt", deadlock.to_string()).ok();
/// });
/// # drop(guard);
/// ```
///
/// gevent: `LoopExit`, raised in the main greenlet.
pub fn on_deadlock(hook: impl Fn(&Deadlock) + Send + Sync + 'static) -> HookGuard {
    DEADLOCK.add(Arc::new(hook), |id| DEADLOCK.remove(id))
}

/// Calls `hook` every `period` (at least 20 ms), the first time after one.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let (tell, told) = std::sync::mpsc::channel();
/// # greenloop::spawn(|| ()).join().unwrap();
/// let guard = greenloop::hooks::every(Duration::from_millis(20), move || {
///     let _ = tell.send(greenloop::greenlets().len());
/// });
/// told.recv().unwrap();
/// drop(guard);
/// ```
///
/// gevent: `PeriodicMonitoringThread.add_monitoring_function(f, period)`.
pub fn every(period: Duration, hook: impl Fn() + Send + Sync + 'static) -> HookGuard {
    let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    let period = period.max(PERIOD_NANOS_MIN);
    let next = AtomicU64::new(clock::now().saturating_add(period));
    let hook = move |due: &Due| {
        // Only the watchdog runs it.
        if next.load(Ordering::Relaxed) <= due.now {
            next.store(due.now.saturating_add(period), Ordering::Relaxed);
            hook();
        }
        due.next
            .fetch_min(next.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    let guard = PERIODIC.add(Arc::new(hook), |id| PERIODIC.remove(id));
    watchdog::ring();
    guard
}

/// As often as the watchdog looks at busy workers.
const PERIOD_NANOS_MIN: u64 = 20_000_000;

/// One look at the periodic hooks: they note when the next is due.
pub(crate) struct Due {
    now: u64,
    next: AtomicU64,
}

/// Runs the periodic hooks that are due and gives the time of the next.
pub(crate) fn run_periodic(now: u64) -> u64 {
    let due = Due {
        now,
        next: AtomicU64::new(clock::NEVER),
    };
    PERIODIC.run(&due);
    due.next.into_inner()
}

/// Tells whether the watchdog's thread runs something of the user's now and then.
pub(crate) fn are_any_periodic() -> bool {
    PERIODIC.are_any()
}

pub(crate) static SPAWN: Hooks<Handle> = Hooks::new("on_spawn");
pub(crate) static EXIT: Hooks<(Handle, Exit)> = Hooks::new("on_exit");
pub(crate) static BLOCKED: Hooks<Blocked> = Hooks::new("on_blocked");
pub(crate) static UNHANDLED: Hooks<Unhandled> = Hooks::new("on_unhandled");
pub(crate) static MEMORY: Hooks<MemoryEvent> = Hooks::new("on_memory");
pub(crate) static DEADLOCK: Hooks<Deadlock> = Hooks::new("on_deadlock");
static PERIODIC: Hooks<Due> = Hooks::new("every");

type Hook<E> = Arc<dyn Fn(&E) + Send + Sync>;

/// The hooks for one kind of event.
pub(crate) struct Hooks<E> {
    name: &'static str,
    /// How many there are: all that is looked at while there are none.
    count: AtomicUsize,
    list: Mutex<Vec<(u64, Hook<E>)>>,
}

impl<E> Hooks<E> {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            count: AtomicUsize::new(0),
            list: Mutex::new(Vec::new()),
        }
    }

    fn add(&self, hook: Hook<E>, remove: fn(u64)) -> HookGuard {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut list = lock(&self.list);
        list.push((id, hook));
        self.count.store(list.len(), Ordering::Relaxed);
        HookGuard { id, remove }
    }

    fn remove(&self, id: u64) {
        self.take(id);
    }

    /// True for the one call that takes it off the list.
    fn take(&self, id: u64) -> bool {
        let taken = {
            let mut list = lock(&self.list);
            let place = list.iter().position(|(other, _)| *other == id);
            let taken = place.map(|place| list.remove(place));
            self.count.store(list.len(), Ordering::Relaxed);
            taken
        };
        // User code may run with the drop.
        let was_there = taken.is_some();
        discard(taken);
        was_there
    }

    /// Tells whether somebody wants to be told.
    pub(crate) fn are_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Tells all; true if there was a hook to tell.
    pub(crate) fn run(&self, event: &E) -> bool {
        self.are_any() && self.run_all(event)
    }

    #[cold]
    fn run_all(&self, event: &E) -> bool {
        struct Inside(Arc<Task>);
        impl Drop for Inside {
            fn drop(&mut self) {
                self.0.leave_hook();
            }
        }
        let task = current();
        if !task.enter_hook() {
            return false;
        }
        let _inside = Inside(task);
        let hooks = lock(&self.list).clone();
        for (id, hook) in &hooks {
            let ran = catch_unwind(AssertUnwindSafe(|| hook(event)));
            if let Err(panic) = ran {
                discard(panic);
                if self.take(*id) {
                    log::error!("a hook of {} panicked and was removed", self.name);
                }
            }
        }
        let told = !hooks.is_empty();
        discard(hooks);
        told
    }
}
