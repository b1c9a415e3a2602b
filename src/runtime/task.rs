//! One greenlet's (or OS thread's) state: who it is, what it waits for, what ends it.
//!
//! The greenlet itself and everyone who wakes, kills, lists or joins it share a [`Task`].
//! Fields that only the owner writes are atomics as well, so that a dump can read them.

use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind, TimeoutId};
use crate::runtime::clock::{self, NEVER};
use crate::runtime::completion::Completion;
use crate::runtime::deadline::elapsed;
use crate::runtime::io::IoSeat;
use crate::runtime::lineage::{self, Link};
use crate::runtime::meter::Meter;
use crate::runtime::park::Seat;
use crate::runtime::reason::{Wait, Whom};
use crate::util::lock;
use crate::util::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::util::sync::{Mutex, global};

/// One running [`Timeout`](crate::Timeout).
struct Limit {
    id: TimeoutId,
    at: u64,
    limit: Duration,
    /// How many shields were up when it started: those put up later hide it.
    depth: u32,
}

/// See the module.
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
    /// The spawner's id; 0 for an OS thread.
    pub(crate) parent: u64,
    pub(crate) site: &'static Location<'static>,
    /// Its spawner, with its own before it.
    pub(crate) ancestors: Option<Arc<Link>>,
    /// What its children descend from; made for the first of them.
    link: OnceLock<Arc<Link>>,
    pub(crate) stack_bytes: usize,
    /// Whether it is a coroutine, so that what wakes it has to come from a worker.
    pub(crate) on_worker: bool,
    /// Whether `drain` does without its end.
    pub(crate) background: bool,
    /// Starts it, while it is paused.
    paused: Mutex<Option<Launch>>,
    /// An OS thread's number, 0 for a coroutine.
    pub(crate) tid: u32,
    /// An address near the top of its stack, 0 before it runs; read by the overflow report.
    pub(crate) stack_top: AtomicU64,

    /// Where it is woken when it waits on another greenlet.
    pub(crate) seat: Seat,
    /// Where it is woken when it waits on a descriptor.
    pub(crate) io_seat: IoSeat,

    killed: AtomicBool,
    kill_reason: OnceLock<Arc<str>>,
    /// Whether a call has failed because of the kill.
    kill_seen: AtomicBool,
    shields: AtomicU32,
    /// Whether a hook runs in it.
    hooked: AtomicBool,
    /// Whether a hook started it, or somebody whom a hook had started.
    unhooked: AtomicBool,

    /// Running timeouts, outermost first. Only the owner changes it.
    limits: Mutex<Vec<Limit>>,
    /// The nearest of them.
    nearest: AtomicU64,

    /// When the present wait ends; `NEVER` while nothing waits. Read by the timer.
    pub(crate) deadline: AtomicU64,
    /// When the timer will look at this task; `NEVER` if it will not. Written under the
    /// timer's lock.
    pub(crate) armed: AtomicU64,

    wait: AtomicU8,
    /// Since when it is in its present state.
    since: AtomicU64,
    waiting: Mutex<Waiting>,
    ticks: AtomicU32,
    pub(crate) meter: Meter,

    pub(crate) completion: Completion,
}

/// More about the present wait, or the last one.
struct Waiting {
    /// The call, outside of this crate, that waits.
    site: &'static Location<'static>,
    /// What counts as that call while it is set: code of others stands between it and ours.
    outer: Option<&'static Location<'static>>,
    whom: Whom,
}

/// What starts a paused task.
pub(crate) type Launch = Box<dyn FnOnce() + Send>;

/// What identifies a task when it is made.
pub(crate) struct Birth {
    pub(crate) name: Option<Box<str>>,
    pub(crate) parent: u64,
    pub(crate) site: &'static Location<'static>,
    pub(crate) ancestors: Option<Arc<Link>>,
    pub(crate) stack_bytes: usize,
    pub(crate) on_worker: bool,
    pub(crate) background: bool,
    pub(crate) tid: u32,
    pub(crate) seat: Seat,
    /// The spawner's, so that a chain of greenlets that each start the next takes turns
    /// as one greenlet would.
    pub(crate) ticks: u32,
}

impl Task {
    pub(crate) fn new(birth: Birth) -> Arc<Self> {
        global! {
            static NEXT: AtomicU64 = AtomicU64::new(1);
        }
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: birth.name,
            parent: birth.parent,
            site: birth.site,
            ancestors: birth.ancestors,
            link: OnceLock::new(),
            stack_bytes: birth.stack_bytes,
            on_worker: birth.on_worker,
            background: birth.background,
            paused: Mutex::new(None),
            tid: birth.tid,
            stack_top: AtomicU64::new(0),
            seat: birth.seat,
            io_seat: IoSeat::default(),
            killed: AtomicBool::new(false),
            kill_reason: OnceLock::new(),
            kill_seen: AtomicBool::new(false),
            shields: AtomicU32::new(0),
            hooked: AtomicBool::new(false),
            unhooked: AtomicBool::new(false),
            limits: Mutex::new(Vec::new()),
            nearest: AtomicU64::new(NEVER),
            deadline: AtomicU64::new(NEVER),
            armed: AtomicU64::new(NEVER),
            wait: AtomicU8::new(Wait::Start as u8),
            since: AtomicU64::new(clock::now()),
            waiting: Mutex::new(Waiting {
                site: birth.site,
                outer: None,
                whom: Whom::Anyone,
            }),
            ticks: AtomicU32::new(birth.ticks),
            meter: Meter::default(),
            completion: Completion::default(),
        })
    }

    // ---- what ends a wait ----

    /// Why the owner must not wait (any longer), if there is a reason: it unwinds, was
    /// is inside a hook, was killed, or a limit passed.
    pub(crate) fn interruption(&self, own: u64) -> Option<Error> {
        self.interruption_at(own, clock::now)
    }

    /// Like [`Task::interruption`]; `now` is asked only if there is a limit.
    pub(crate) fn interruption_at(&self, own: u64, now: impl FnOnce() -> u64) -> Option<Error> {
        if std::thread::panicking() {
            return Some(Error::new(ErrorKind::Unwinding));
        }
        if self.hooked.load(Ordering::Relaxed) {
            return Some(waiting_in_hook());
        }
        if self.is_killed() {
            self.kill_seen.store(true, Ordering::Relaxed);
            return Some(Error::cancelled(self.kill_reason()));
        }
        let until = self.ends_at(own);
        if until == NEVER || now() < until {
            return None;
        }
        if own == until {
            return Some(elapsed(None, None));
        }
        let limits = lock(&self.limits);
        // The nearest; of two for the same moment the outer one, who has to know.
        let fired = limits.iter().find(|l| l.at <= until && self.sees(l))?;
        Some(elapsed(Some(fired.id), Some(fired.limit)))
    }

    /// The nearest of the call's `own` limit and the running timeouts.
    pub(crate) fn ends_at(&self, own: u64) -> u64 {
        own.min(self.nearest.load(Ordering::Relaxed))
    }

    /// The first kill counts, and its reason.
    pub(crate) fn kill(&self, reason: Option<Arc<str>>) {
        if let Some(reason) = reason
            && !self.killed.load(Ordering::SeqCst)
        {
            let _ = self.kill_reason.set(reason);
        }
        self.killed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn kill_reason(&self) -> Option<Arc<str>> {
        self.kill_reason.get().cloned()
    }

    /// Keeps back what starts it, until [`Task::begin`].
    #[track_caller]
    pub(crate) fn pause(&self, launch: Launch) {
        self.note_wait(Wait::Paused);
        *lock(&self.paused) = Some(launch);
    }

    pub(crate) fn is_paused(&self) -> bool {
        lock(&self.paused).is_some()
    }

    /// Starts it, if it is paused.
    pub(crate) fn begin(&self) {
        let launch = lock(&self.paused).take();
        if let Some(launch) = launch {
            self.note_wait(Wait::Start);
            launch();
        }
    }

    /// Tells whether the owner's blocking calls fail: killed, and not shielded.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst) && self.shields.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn is_kill_seen(&self) -> bool {
        self.kill_seen.load(Ordering::Relaxed)
    }

    /// Hides kill and every timeout that runs now, until [`Task::unshield`].
    pub(crate) fn shield(&self) {
        self.shields.fetch_add(1, Ordering::Relaxed);
        self.note_nearest(&lock(&self.limits));
    }

    pub(crate) fn unshield(&self) {
        self.shields.fetch_sub(1, Ordering::Relaxed);
        self.note_nearest(&lock(&self.limits));
    }

    pub(crate) fn push_limit(&self, id: TimeoutId, limit: Duration) {
        let depth = self.shields.load(Ordering::Relaxed);
        let mut limits = lock(&self.limits);
        limits.push(Limit {
            id,
            at: clock::after(limit),
            limit,
            depth,
        });
        self.note_nearest(&limits);
    }

    pub(crate) fn remove_limit(&self, id: TimeoutId) {
        let mut limits = lock(&self.limits);
        limits.retain(|l| l.id != id);
        self.note_nearest(&limits);
    }

    /// When the timeout `id` fires, if it runs.
    pub(crate) fn limit_of(&self, id: TimeoutId) -> Option<u64> {
        let limits = lock(&self.limits);
        limits.iter().find(|l| l.id == id).map(|l| l.at)
    }

    fn note_nearest(&self, limits: &[Limit]) {
        let nearest = limits.iter().filter(|l| self.sees(l)).map(|l| l.at).min();
        self.nearest
            .store(nearest.unwrap_or(NEVER), Ordering::Relaxed);
    }

    fn sees(&self, limit: &Limit) -> bool {
        limit.depth >= self.shields.load(Ordering::Relaxed)
    }

    // ---- what others see ----

    #[track_caller]
    pub(crate) fn note_wait(&self, wait: Wait) {
        // A turn is short and frequent, and the clock costs as much as the switch itself.
        if wait == Wait::Turn {
            self.wait.store(wait as u8, Ordering::Relaxed);
        } else {
            self.note_wait_at(wait, clock::now());
        }
    }

    #[track_caller]
    pub(crate) fn note_wait_at(&self, wait: Wait, now: u64) {
        self.wait.store(wait as u8, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        let mut waiting = lock(&self.waiting);
        waiting.site = waiting.outer.unwrap_or(Location::caller());
    }

    /// Runs `f` such that whatever waits in it is said to wait at the caller of this: for
    /// waits that come back to us through code of others, which hides who called.
    #[cfg(feature = "tls")]
    #[track_caller]
    pub(crate) fn waiting_here<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Outer<'a>(&'a Task, Option<&'static Location<'static>>);
        impl Drop for Outer<'_> {
            fn drop(&mut self) {
                lock(&self.0.waiting).outer = self.1;
            }
        }
        let site = Location::caller();
        let before = {
            let mut waiting = lock(&self.waiting);
            let before = waiting.outer;
            waiting.outer = before.or(Some(site));
            before
        };
        let _outer = Outer(self, before);
        f()
    }

    /// Notes who can end the wait that is about to begin, or nobody in particular.
    pub(crate) fn note_whom(&self, whom: Whom) {
        lock(&self.waiting).whom = whom;
    }

    /// The call that waits (or waited last), and who can end that.
    pub(crate) fn waits_at(&self) -> (&'static Location<'static>, Whom) {
        let waiting = lock(&self.waiting);
        (waiting.site, waiting.whom.clone())
    }

    pub(crate) fn note_running(&self) {
        self.wait.store(Wait::Nothing as u8, Ordering::Relaxed);
    }

    /// What it waits on, and since when (see [`clock`]).
    pub(crate) fn waits_on(&self) -> (Wait, u64) {
        (
            Wait::from_u8(self.wait.load(Ordering::Relaxed)),
            self.since.load(Ordering::Relaxed),
        )
    }

    /// What the children of this one descend from.
    pub(crate) fn link(&self) -> Arc<Link> {
        let link = || Link::of(self, self.ancestors.as_ref());
        self.link.get_or_init(link).clone()
    }

    /// Notes that a hook runs here until [`Task::leave_hook`]; false if none may, because
    /// one does already, or because this one descends from a hook.
    pub(crate) fn enter_hook(&self) -> bool {
        !self.unhooked.load(Ordering::Relaxed) && !self.hooked.swap(true, Ordering::Relaxed)
    }

    /// Notes that `spawner` started it: no hook is told of what a hook has started, which
    /// might go on for ever.
    pub(crate) fn descend_from(&self, spawner: &Self) {
        let of = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        if of(&spawner.hooked) || of(&spawner.unhooked) {
            self.unhooked.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn leave_hook(&self) {
        self.hooked.store(false, Ordering::Relaxed);
    }

    /// Counts one more operation without a look at new events; true when a fair turn is due.
    pub(crate) fn tick(&self) -> bool {
        let ticks = self.ticks.load(Ordering::Relaxed) + 1;
        let due = ticks >= TICKS_PER_TURN;
        self.ticks
            .store(if due { 0 } else { ticks }, Ordering::Relaxed);
        due
    }

    /// The count so far.
    pub(crate) fn ticks(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Starts counting anew: the owner has just waited for an event.
    pub(crate) fn reset_ticks(&self) {
        self.ticks.store(0, Ordering::Relaxed);
    }

    /// Tells whether `drain` waits for its end.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.is_greenlet() && !self.background
    }

    /// Tells a greenlet from an OS thread and from the engine's other coroutines.
    pub(crate) fn is_greenlet(&self) -> bool {
        self.stack_bytes > 0
    }

    /// `"NAME" (#ID)`, or `#ID`.
    pub(crate) fn title(&self) -> String {
        lineage::title(self.id, self.name.as_deref())
    }
}

// Apart, so that the check that every wait begins with stays small.
#[cold]
#[inline(never)]
fn waiting_in_hook() -> Error {
    Error::message("a hook must not wait")
}

/// Operations a greenlet may do in a row before its worker looks at new events.
///
/// Small enough that 64 of the dearest common ones (a 16 KiB socket write, 5 µs) stay
/// under half a millisecond, large enough that the turn's own cost (about 1 µs) is 2 % of
/// the cheapest (a queue hand-over, 100 ns).
const TICKS_PER_TURN: u32 = 64;
