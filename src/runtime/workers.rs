//! The engine's worker threads, as far as we need to know them apart.
//!
//! Each gets a record at its first greenlet: who runs there now, and how often somebody
//! started or went on there. The first names the culprit of an overflow or a stuck worker;
//! the second proves that a worker has moved on (see `io`).

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::runtime::task::Task;
use crate::runtime::{procfs, watchdog};

/// More than any machine has cores; a worker past it has no record and is taken for an
/// OS thread, which only costs speed.
const WORKERS_MAX: usize = 1024;

static WORKERS: [Worker; WORKERS_MAX] = [const { Worker::new() }; WORKERS_MAX];
static KNOWN: AtomicUsize = AtomicUsize::new(0);

// The worker's own number is the one thing that must belong to the OS thread.
thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[repr(align(64))]
struct Worker {
    /// The greenlet that runs there, or ran last.
    running: AtomicPtr<Task>,
    /// Its number, 0 between two: all that other threads may use, which must not follow
    /// the pointer.
    running_id: AtomicU64,
    /// How often a greenlet started or went on there.
    turns: AtomicU64,
    /// The bell (see `relay`) that was last answered there.
    bell: AtomicUsize,
    /// The OS thread's number, 0 as long as the record is nobody's.
    tid: AtomicU32,
}

impl Worker {
    fn clear(&self) {
        self.running_id.store(0, Ordering::Release);
    }

    const fn new() -> Self {
        Self {
            running: AtomicPtr::new(std::ptr::null_mut()),
            running_id: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            bell: AtomicUsize::new(usize::MAX),
            tid: AtomicU32::new(0),
        }
    }
}

/// A worker and its turn count at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    worker: usize,
    turns: u64,
}

impl Moment {
    /// Tells whether both are on one worker.
    pub(crate) fn is_same_worker(self, other: Self) -> bool {
        self.worker == other.worker
    }

    /// Tells whether the worker has since gone on to another greenlet, and so has
    /// certainly finished stopping the one that stopped at this moment.
    pub(crate) fn has_passed(self) -> bool {
        WORKERS
            .get(self.worker)
            .is_some_and(|w| w.turns.load(Ordering::Acquire) != self.turns)
    }
}

// Each of these reads a thread-local, and is a leaf that is never inlined: see `park::current`.

#[inline(never)]
fn index() -> usize {
    INDEX.get()
}

/// The calling thread's index; it becomes known as a worker if it was not yet.
#[inline(never)]
fn enroll() -> usize {
    match INDEX.get() {
        usize::MAX => enroll_anew(),
        index => index,
    }
}

#[cold]
#[inline(never)]
fn enroll_anew() -> usize {
    let index = KNOWN.fetch_add(1, Ordering::Relaxed);
    if let Some(worker) = WORKERS.get(index) {
        worker.tid.store(procfs::own_tid(), Ordering::Release);
        INDEX.set(index);
    }
    INDEX.get()
}

/// Tells whether the calling thread is a worker.
pub(crate) fn is_worker() -> bool {
    index() != usize::MAX
}

/// Notes that `task`, a coroutine, runs on this worker from now on.
///
/// Nobody tells when a coroutine that is not ours ends, so that one is not remembered.
pub(crate) fn enter(task: &Arc<Task>) {
    if let Some(worker) = WORKERS.get(enroll()) {
        if task.is_greenlet() {
            let running = Arc::as_ptr(task).cast_mut();
            worker.running.store(running, Ordering::Release);
            worker.running_id.store(task.id, Ordering::Release);
        } else {
            worker.clear();
        }
        // Only this thread writes it.
        let turns = worker.turns.load(Ordering::Relaxed);
        worker.turns.store(turns + 1, Ordering::Release);
        watchdog::stir();
    }
}

/// Notes that nobody runs on this worker until the next [`enter`].
pub(crate) fn leave() {
    if let Some(worker) = WORKERS.get(index()) {
        worker.clear();
    }
}

/// What runs on a worker at one moment, as seen from another thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    pub(crate) tid: u32,
    /// The greenlet's number, 0 if none runs.
    pub(crate) running: u64,
    pub(crate) turns: u64,
}

/// A look at each worker that has run anything.
pub(crate) fn look() -> impl Iterator<Item = Sight> {
    let known = KNOWN.load(Ordering::Relaxed).min(WORKERS_MAX);
    WORKERS[..known].iter().map(|worker| Sight {
        tid: worker.tid.load(Ordering::Acquire),
        running: worker.running_id.load(Ordering::Acquire),
        turns: worker.turns.load(Ordering::Acquire),
    })
}

/// Tells whether the OS thread of that number is a worker.
pub(crate) fn is_worker_tid(tid: u32) -> bool {
    look().any(|sight| sight.tid == tid)
}

/// The present moment of this worker.
pub(crate) fn moment() -> Moment {
    let worker = index();
    let turns = WORKERS
        .get(worker)
        .map_or(0, |w| w.turns.load(Ordering::Relaxed));
    Moment { worker, turns }
}

/// The greenlet that runs on this thread, for the signal handler; null if none does.
pub(crate) fn running_here() -> *const Task {
    match WORKERS.get(index()) {
        Some(w) if w.running_id.load(Ordering::Acquire) != 0 => {
            w.running.load(Ordering::Acquire).cast_const()
        }
        _ => std::ptr::null(),
    }
}

/// The bell that was last answered on this worker, `usize::MAX` if none was.
pub(crate) fn bell() -> usize {
    WORKERS
        .get(index())
        .map_or(usize::MAX, |w| w.bell.load(Ordering::Relaxed))
}

/// Notes that `bell` was answered on this worker.
pub(crate) fn set_bell(bell: usize) {
    // A bell may run before any greenlet, and without having waited.
    if let Some(worker) = WORKERS.get(enroll()) {
        worker.bell.store(bell, Ordering::Relaxed);
    }
}

/// Holds the calling OS thread up for a moment, for waits that must not switch.
#[expect(
    clippy::disallowed_methods,
    reason = "a wait during unwinding must not switch, so the thread itself waits"
)]
pub(crate) fn block_thread_briefly() {
    std::thread::sleep(Duration::from_micros(100));
}
