//! Lanes: OS threads for calls that block and cannot be made to wait.
//!
//! A lane has a bounded number of threads, which come on demand and leave when idle, and a
//! bounded queue, whose full end makes callers wait. The built-in lanes stand in
//! `blocking`; a program makes its own for what must not share a bound with others.
//!
//! ```text
//!   run ──► queue ──► thread: run the job, count it, tell the caller
//!    │        │
//!    └── leaves early: takes its job out of the queue; one that runs goes on to its end
//! ```

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, Parker, Unparker, WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::threads::OwnThread;
use crate::util::{discard, lock};

/// A bounded set of OS threads for calls that block, with a queue before them.
///
/// Jobs start in the order in which they were handed in. Threads come when there is more
/// to do than there are idle ones, up to [`Lane::threads_max`], and leave after
/// [`Lane::idle_timeout`]. At most 1024 jobs wait for a thread; past that, callers wait for
/// room. Clones are handles on the same lane; when the last one is dropped, its threads
/// leave as soon as they have nothing to do.
///
/// [`blocking`](crate::blocking) uses the lane that [`Lane::for_blocking`] gives. A lane of
/// its own is for what needs a bound of its own: a database that takes four connections,
/// a library that must be called from one thread at a time.
///
/// # Examples
///
/// ```
/// use greenloop::Lane;
///
/// let lane = Lane::new("db").threads_max(4);
/// let answer = lane.run(|| "a call that blocks")?;
/// assert_eq!(answer, "a call that blocks");
/// assert_eq!(lane.stats().done, 1);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.threadpool.ThreadPool(maxsize)`.
#[derive(Clone)]
pub struct Lane(Arc<Owner>);

/// How a [`Lane`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// Threads that are there.
    pub threads: usize,
    /// Those of them that have nothing to do.
    pub idle: usize,
    /// Jobs that run now.
    pub running: usize,
    /// Jobs that wait for a thread.
    pub queued: usize,
    /// How many threads there may be.
    pub max: usize,
    /// Jobs that have ended, also by a panic. One that was withdrawn before it ran is not
    /// among them.
    pub done: u64,
}

/// What the handles share and the threads do not: its drop sends the threads home.
struct Owner {
    core: Arc<Core>,
    /// Whether a call from another lane's thread runs right there.
    in_place: bool,
}

struct Core {
    name: Box<str>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// In order of arrival.
    queue: BTreeMap<u64, Job>,
    next: u64,
    threads: usize,
    threads_max: usize,
    idle: usize,
    running: usize,
    done: u64,
    idle_timeout: Duration,
    /// No handle is left.
    closed: bool,
    /// Callers that wait for room in the queue.
    waiters: WaitList,
}

/// Jobs that wait for a thread. Past it callers wait, so memory stays bounded.
const QUEUE_MAX: usize = 1024;
/// gevent's default.
const THREADS_MAX: usize = 10;
/// An idle thread leaves after this time (gevent's default).
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

// A lane's thread marks itself; no greenlet ever runs on it.
thread_local! {
    static LANE_HERE: Cell<usize> = const { Cell::new(0) };
}

// Never inlined into a caller that loops around a switch: see `park::current`.
#[inline(never)]
fn lane_here() -> usize {
    LANE_HERE.get()
}

impl Lane {
    /// A lane of at most 10 threads, named `name` in debuggers, which leave after 5 s of
    /// idleness. It has none yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self::make(name.into(), THREADS_MAX, false)
    }

    /// One that calls from other lanes' threads do not change to: they block already.
    pub(crate) fn built_in(name: &str, threads_max: usize) -> Self {
        Self::make(name.into(), threads_max, true)
    }

    fn make(name: String, threads_max: usize, in_place: bool) -> Self {
        let core = Arc::new(Core {
            // A thread's name cannot hold it.
            name: name.replace('\0', "").into(),
            state: Mutex::new(State {
                queue: BTreeMap::new(),
                next: 0,
                threads: 0,
                threads_max,
                idle: 0,
                running: 0,
                done: 0,
                idle_timeout: IDLE_TIMEOUT,
                closed: false,
                waiters: WaitList::new(),
            }),
            changed: Condvar::new(),
        });
        Self(Arc::new(Owner { core, in_place }))
    }

    /// Lets it have at most so many threads; see [`Lane::set_threads_max`].
    ///
    /// gevent: the `maxsize` of a `ThreadPool`.
    #[must_use]
    pub fn threads_max(self, threads_max: usize) -> Self {
        self.set_threads_max(threads_max);
        self
    }

    /// Lets a thread that has nothing to do leave after so long;
    /// see [`Lane::set_idle_timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Lane;
    /// use std::time::Duration;
    ///
    /// // A thread of its own, kept for good: for a library that wants always the same one.
    /// let lane = Lane::new("gui").threads_max(1).idle_timeout(Duration::MAX);
    /// let first = lane.run(|| std::thread::current().id())?;
    /// assert_eq!(lane.run(|| std::thread::current().id())?, first);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[must_use]
    pub fn idle_timeout(self, limit: Duration) -> Self {
        self.set_idle_timeout(limit);
        self
    }

    /// Lets it have at most so many threads from now on.
    ///
    /// With more, queued jobs start at once. With fewer, idle threads leave now and busy
    /// ones after their job. With none, jobs wait until there may be threads again.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// let lane = greenloop::Lane::new("batch").threads_max(0);
    /// let job = { let lane = lane.clone(); greenloop::spawn(move || lane.run(|| 42)) };
    /// lane.set_threads_max(1);
    /// assert_eq!(job.join().unwrap()?, 42);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `ThreadPool.maxsize = n`.
    pub fn set_threads_max(&self, threads_max: usize) {
        let core = &self.0.core;
        let refused = {
            let mut state = lock(&core.state);
            state.threads_max = threads_max;
            core.serve(&mut state)
        };
        core.changed.notify_all();
        Refused::tell(refused);
    }

    /// Lets a thread that has nothing to do leave after so long; `Duration::MAX`: never.
    ///
    /// It counts for those that are idle already, from when they became so.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Lane;
    /// use std::time::Duration;
    ///
    /// let lane = Lane::new("rare");
    /// lane.set_idle_timeout(Duration::ZERO);
    /// assert_eq!(lane.run(|| 42)?, 42);
    /// # while lane.stats().threads > 0 { std::thread::yield_now() }
    /// assert_eq!(lane.stats().threads, 0); // soon
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `threadpool_idle_task_timeout`.
    pub fn set_idle_timeout(&self, limit: Duration) {
        lock(&self.0.core.state).idle_timeout = limit;
        self.0.core.changed.notify_all();
    }

    /// How it is doing at this moment.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Lane;
    ///
    /// let lane = Lane::new("db").threads_max(4);
    /// lane.run(|| ())?;
    /// let stats = lane.stats();
    /// assert_eq!((stats.done, stats.running, stats.queued, stats.max), (1, 0, 0, 4));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `len(pool)` and `pool.size`.
    pub fn stats(&self) -> LaneStats {
        let state = lock(&self.0.core.state);
        LaneStats {
            threads: state.threads,
            idle: state.idle,
            running: state.running,
            queued: state.queue.len(),
            max: state.threads_max,
            done: state.done,
        }
    }

    /// Runs `f` on one of its threads and waits for it, while other greenlets run.
    ///
    /// A call from inside a job of the same lane runs in place, so that jobs cannot wait
    /// for each other's threads. Those of two lanes that call into each other can, once both
    /// lanes are full: let them share one. If the caller leaves early, `f` is dropped at once if it
    /// has not begun; otherwise it runs to its end, and its result is dropped there.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out while it waited; the system refused the lane
    /// its first thread (`f` has not run then).
    ///
    /// # Panics
    /// If `f` does, with its payload; the thread goes on with the next job.
    ///
    /// # Examples
    ///
    /// ```
    /// let lane = greenloop::Lane::new("zip").threads_max(2);
    /// let sums: Vec<_> = (1..=3_u64)
    ///     .map(|n| { let lane = lane.clone(); greenloop::spawn(move || lane.run(move || n * n)) })
    ///     .collect();
    /// let sums: Result<Vec<_>, _> = sums.into_iter().map(|sum| sum.join().unwrap()).collect();
    /// assert_eq!(sums?, [1, 4, 9]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `ThreadPool.apply(f)`.
    #[track_caller]
    pub fn run<T, F>(&self, f: F) -> Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_for(Wait::Lane, Deadline::NEVER, f)
    }

    /// Like [`Lane::run`], waiting at most `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Lane::run`]; timeout also when `limit` passed.
    ///
    /// # Panics
    /// As [`Lane::run`].
    #[track_caller]
    pub fn run_timeout<T, F>(&self, limit: Duration, f: F) -> Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_for(Wait::Lane, Deadline::after(limit), f)
    }

    /// Like [`Lane::run`], waiting until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Lane::run`]; timeout also when `limit` passed.
    ///
    /// # Panics
    /// As [`Lane::run`].
    #[track_caller]
    pub fn run_deadline<T, F>(&self, limit: Deadline, f: F) -> Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_for(Wait::Lane, limit, f)
    }

    /// Like [`Lane::run_deadline`]; `wait` says in dumps what the caller does.
    #[track_caller]
    pub(crate) fn run_for<T, F>(&self, wait: Wait, limit: Deadline, f: F) -> Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.is_here() {
            return Ok(f());
        }
        park::check(limit)?;
        let core = &self.0.core;
        let parker = Parker::new();
        let result = Arc::new(Mutex::new(None));
        let job = Call {
            f: Some(f),
            caller: parker.unparker(),
            result: result.clone(),
        };
        let number = core.submit(Box::new(job), limit)?;
        if let Err(error) = parker.park(wait, limit) {
            core.withdraw(number);
            return Err(error);
        }
        let ended = lock(&result).take();
        match ended.expect("the job unparks after it has stored its result") {
            Ok(ended) => ended,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Tells whether the caller is on a thread on which a job of this lane may run.
    fn is_here(&self) -> bool {
        match lane_here() {
            0 => false,
            here => self.0.in_place || here == self.0.core.id(),
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.0.core.name)
            .field("stats", &self.stats())
            .finish()
    }
}

impl Drop for Owner {
    /// The queue is empty: callers hold a handle, and take their jobs along when they go.
    fn drop(&mut self) {
        lock(&self.core.state).closed = true;
        self.core.changed.notify_all();
    }
}

impl Core {
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Puts `job` in the queue, waiting for room, and gives its number there.
    #[track_caller]
    fn submit(self: &Arc<Self>, job: Job, limit: Deadline) -> Result<u64> {
        let mut job = Some(job);
        let (number, refused) = wait_for(
            &self.state,
            |state| &mut state.waiters,
            Wait::Lane,
            limit,
            |state| {
                if state.queue.len() >= QUEUE_MAX {
                    return None;
                }
                state.next += 1;
                let number = state.next;
                state.queue.extend(job.take().map(|job| (number, job)));
                let refused = self.serve(state);
                self.changed.notify_one();
                Some((number, refused))
            },
        )?;
        Refused::tell(refused);
        Ok(number)
    }

    /// Takes a job back whose caller has left, unless it runs.
    fn withdraw(&self, number: u64) {
        let withdrawn = {
            let mut state = lock(&self.state);
            let withdrawn = state.queue.remove(&number);
            if withdrawn.is_some() {
                state.waiters.wake_one();
            }
            withdrawn
        };
        discard(withdrawn);
    }

    /// Starts the threads that the queue needs. If there is none, and none can be had, the
    /// jobs come back: nobody would ever look at them.
    fn serve(self: &Arc<Self>, state: &mut State) -> Option<Refused> {
        // Threads that run no job, or not yet, each come to one that is queued.
        while state.threads < state.threads_max && state.queue.len() > state.threads - state.running
        {
            let thread = std::thread::Builder::new().name(self.name.to_string());
            let core = self.clone();
            match thread.spawn(move || core.work()) {
                Ok(_) => state.threads += 1,
                // The threads that are there will come to it.
                Err(_) if state.threads > 0 => break,
                Err(error) => {
                    let jobs = std::mem::take(&mut state.queue);
                    state.waiters.wake_all();
                    return Some(Refused { jobs, error });
                }
            }
        }
        None
    }

    /// A thread's life.
    fn work(self: &Arc<Self>) {
        LANE_HERE.set(self.id());
        let thread = OwnThread::enlist();
        let mut idle_since = None;
        let mut state = lock(&self.state);
        while state.threads <= state.threads_max {
            if let Some((_, mut job)) = state.queue.pop_first() {
                state.running += 1;
                state.waiters.wake_one();
                drop(state);
                job.run(Ok(()));
                state = lock(&self.state);
                state.running -= 1;
                state.done += 1;
                drop(state);
                // Counted before: who has the result sees a free thread.
                if !job.tell() {
                    self.clear_away(job);
                }
                idle_since = None;
                state = lock(&self.state);
                continue;
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            let left = state.idle_timeout.saturating_sub(since.elapsed());
            if state.closed || left.is_zero() {
                break;
            }
            state.idle += 1;
            thread.set_idle(true);
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(|e| e.into_inner());
            thread.set_idle(false);
            state.idle -= 1;
        }
        state.threads -= 1;
        // A wake-up that was meant for whoever takes the next job.
        self.changed.notify_one();
    }

    /// Drops a result that nobody takes. That is the user's code and may take its time, so
    /// the thread is not free meanwhile.
    fn clear_away(self: &Arc<Self>, mut job: Job) {
        let refused = {
            let mut state = lock(&self.state);
            state.running += 1;
            self.serve(&mut state)
        };
        Refused::tell(refused);
        job.clear();
        lock(&self.state).running -= 1;
    }
}

type Job = Box<dyn Work>;

/// What a thread does with a job.
trait Work: Send {
    /// Runs it, or fails it with the reason why no thread will.
    fn run(&mut self, start: Result<()>);
    /// Tells the caller. False if it has left, and the result is still here.
    fn tell(&mut self) -> bool;
    /// Drops the result, here and not where the caller's end of it goes.
    fn clear(&mut self);
}

struct Call<T, F> {
    f: Option<F>,
    caller: Unparker,
    result: Arc<Mutex<Ended<T>>>,
}

type Ended<T> = Option<std::thread::Result<Result<T>>>;

impl<T, F> Work for Call<T, F>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&mut self, start: Result<()>) {
        let Some(f) = self.f.take() else { return };
        let ended = match start {
            // Nobody waits for it any more.
            _ if self.caller.is_settled() => return discard(f),
            Ok(()) => catch_unwind(AssertUnwindSafe(f)).map(Ok),
            Err(error) => {
                discard(f);
                Ok(Err(error))
            }
        };
        *lock(&self.result) = Some(ended);
    }

    fn tell(&mut self) -> bool {
        self.caller.unpark()
    }

    fn clear(&mut self) {
        let late = lock(&self.result).take();
        discard(late);
    }
}

/// Jobs for which there is no thread, and why.
struct Refused {
    jobs: BTreeMap<u64, Job>,
    error: io::Error,
}

impl Refused {
    /// Tells the callers, outside of the lock: it drops values of theirs.
    fn tell(refused: Option<Self>) {
        let Some(Self { jobs, error }) = refused else {
            return;
        };
        for mut job in jobs.into_values() {
            let error = match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => error.kind().into(),
            };
            job.run(Err(
                Error::from(error).context("starting a thread for blocking calls")
            ));
            job.tell();
        }
    }
}
