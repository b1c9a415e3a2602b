//! Lanes: OS threads for calls that block and cannot be made to wait.
//!
//! A lane has a bounded number of threads, which come on demand and leave when idle, and a
//! bounded queue, whose full end makes callers wait. Names are resolved on a lane of their
//! own, so that slow lookups and slow user jobs do not hold each other up.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, Parker, Unparker, WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::threads::OwnThread;
use crate::util::{discard, lock};

type Job = Box<dyn FnOnce() + Send>;

/// A bounded set of OS threads with a bounded queue before them.
pub(crate) struct Lane {
    name: &'static str,
    threads_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Callers that wait for room in the queue.
    waiters: WaitList,
}

/// For [`blocking`]: as many as a disk or a C library makes use of.
static USER: Lane = Lane::new("greenloop-lane", 32);
/// For name resolution: mostly waiting, so more than cores.
static DNS: Lane = Lane::new("greenloop-dns", 16);

/// Jobs that wait for a thread. Past it callers wait, so memory stays bounded.
const QUEUE_MAX: usize = 1024;
/// An idle thread leaves after this time (gevent's default).
const IDLE_MAX: Duration = Duration::from_secs(5);

// A lane's thread marks itself; no greenlet ever runs on it.
thread_local! {
    static ON_LANE: Cell<bool> = const { Cell::new(false) };
}

// Never inlined into a caller that loops around a switch: see `park::current`.
#[inline(never)]
fn is_on_lane() -> bool {
    ON_LANE.get()
}

/// Runs `f` on an OS thread and waits for it, while other greenlets run.
///
/// For everything that blocks and knows nothing of greenlets: files, C libraries, long
/// computation. At most 32 such calls run at once; further ones wait their turn. A call
/// from inside `f` runs in place. If the caller leaves early, `f` is dropped without
/// having run, or runs to its end and its result is dropped.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// The caller was killed or timed out while it waited.
///
/// # Panics
/// If `f` does, with its payload.
///
/// # Examples
///
/// ```
/// let text = greenloop::blocking(|| std::fs::read_to_string("Cargo.toml"))??;
/// assert!(text.contains("greenloop"));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.get_hub().threadpool.apply(f)`.
#[track_caller]
pub fn blocking<T, F>(f: F) -> Result<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    USER.run(Wait::Lane, Deadline::NEVER, f)
}

/// The lane of name resolution.
pub(crate) fn dns() -> &'static Lane {
    &DNS
}

impl Lane {
    const fn new(name: &'static str, threads_max: usize) -> Self {
        Self {
            name,
            threads_max,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                threads: 0,
                idle: 0,
                waiters: WaitList::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Runs `f` on one of the threads; see [`blocking`].
    #[track_caller]
    pub(crate) fn run<T, F>(&'static self, wait: Wait, limit: Deadline, f: F) -> Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if is_on_lane() {
            return Ok(f());
        }
        park::check(limit)?;
        let parker = Parker::new();
        let result = Arc::new(Mutex::new(None));
        let job = job(f, parker.unparker(), result.clone());
        self.submit(job, limit)?;
        parker.park(wait, limit)?;
        let ended = lock(&result).take();
        match ended.expect("the job unparks after it has stored its result") {
            Ok(value) => Ok(value),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Puts `job` in the queue, waiting for room.
    #[track_caller]
    fn submit(&'static self, job: Job, limit: Deadline) -> Result<()> {
        let mut job = Some(job);
        wait_for(
            &self.state,
            |state| &mut state.waiters,
            Wait::Lane,
            limit,
            |state| {
                let has_room = state.queue.len() < QUEUE_MAX;
                has_room.then(|| {
                    state.queue.extend(job.take());
                    self.serve(state)
                })
            },
        )?
    }

    /// Sees to it that a thread looks at the queue.
    fn serve(&'static self, state: &mut State) -> Result<()> {
        // More jobs than idle threads: those that were notified may not have woken yet.
        if state.idle >= state.queue.len() || state.threads == self.threads_max {
            self.changed.notify_one();
            return Ok(());
        }
        let thread = std::thread::Builder::new().name(self.name.into());
        match thread.spawn(|| self.work()) {
            Ok(_) => state.threads += 1,
            // The threads that are there will come to it.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.queue.pop_back();
                return Err(Error::from(error).context("starting a thread for blocking calls"));
            }
        }
        Ok(())
    }

    fn work(&'static self) {
        ON_LANE.set(true);
        let thread = OwnThread::enlist();
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.waiters.wake_one();
                drop(state);
                job();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            thread.set_idle(true);
            let waited = self.changed.wait_timeout(state, IDLE_MAX);
            let (woken, timeout) = waited.unwrap_or_else(|e| e.into_inner());
            state = woken;
            thread.set_idle(false);
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

/// What a thread runs for `f`: nothing if the caller has left by then.
fn job<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
    caller: Unparker,
    result: Arc<Mutex<Option<std::thread::Result<T>>>>,
) -> Job {
    Box::new(move || {
        if caller.is_settled() {
            discard(f);
            return;
        }
        *lock(&result) = Some(catch_unwind(AssertUnwindSafe(f)));
        if !caller.unpark() {
            let late = lock(&result).take();
            discard(late);
        }
    })
}
