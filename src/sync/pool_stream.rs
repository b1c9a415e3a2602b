//! A pool's `map`, and results one by one.
//!
//! Who reads drives: `next` takes items from the input, starts greenlets and waits for
//! them. There is no producer beside it, so the input needs to be neither `Send` nor
//! `'static`, it is read only as far as results are wanted, and its panic is caught where
//! its reader is.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::runtime::club::Club;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Exit, Greenlet, JoinError, current_handle};
use crate::runtime::watch::{Crowd, Waitable, WatchId, Watcher, Watchers};
use crate::sync::members::Place;
use crate::sync::pool::Pool;
use crate::sync::waiters::begin;
use crate::util::{discard, lock};

impl Pool {
    /// Calls `f` with every item of `input`, each in a greenlet of the pool, and gives the
    /// results in the order of the items.
    ///
    /// An item is taken from `input` when there is room for it, and no place is held
    /// meanwhile: `input` may be a stream of the same pool. One that panics or is
    /// killed has its error at its place, and the others go on. If `input` itself panics,
    /// that is the last result. A member of the pool that finds all places taken calls `f`
    /// right here.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out: what runs is killed, and all results are
    /// dropped.
    ///
    /// # Panics
    /// As [`spawn`](crate::spawn), if too many greenlets are alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// let results = Pool::new(2).map([4, 0, 2], |n| 8 / n)?;
    /// assert_eq!(*results[0].as_ref().unwrap(), 2);
    /// assert!(results[1].as_ref().unwrap_err().is_panic());
    /// assert_eq!(*results[2].as_ref().unwrap(), 4);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Pool.map(f, input)`, which raises the first error instead.
    #[track_caller]
    pub fn map<I, R, F>(&self, input: I, f: F) -> Result<Vec<Result<R, JoinError>>>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let mut stream = self.stream(input, f).buffer(usize::MAX);
        let mut results = Vec::new();
        while let Some(result) = stream.next_deadline(Deadline::NEVER)? {
            results.push(result);
        }
        Ok(results)
    }

    /// Like [`Pool::map`], lazily: results come one by one, in the order of the items.
    ///
    /// See [`PoolStream`] for what runs when, and how much.
    ///
    /// # Switching
    /// Never switches itself; `next` does.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    ///
    /// // The input has no end; what is not asked for is not made.
    /// let pool = Pool::new(3);
    /// let firsts: Vec<_> = pool.stream(1.., |n| n * n).take(3).map(Result::unwrap).collect();
    /// assert_eq!(firsts, [1, 4, 9]);
    /// ```
    ///
    /// gevent: `Pool.imap(f, input, maxsize=n)`.
    pub fn stream<I, R, F>(&self, input: I, f: F) -> PoolStream<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        PoolStream::new(self.clone(), input.into_iter(), Arc::new(f), true)
    }

    /// Like [`Pool::stream`], in the order in which the results are there.
    ///
    /// # Switching
    /// Never switches itself; `next` does.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::time::Duration;
    ///
    /// let pause = |ms| {
    ///     greenloop::sleep(Duration::from_millis(ms)).unwrap();
    ///     ms
    /// };
    /// let pool = Pool::new(2);
    /// let order: Vec<_> = pool
    ///     .stream_unordered([80, 1], pause)
    ///     .map(Result::unwrap)
    ///     .collect();
    /// assert_eq!(order, [1, 80]);
    /// ```
    ///
    /// gevent: `Pool.imap_unordered(f, input, maxsize=n)`.
    pub fn stream_unordered<I, R, F>(&self, input: I, f: F) -> PoolStream<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        PoolStream::new(self.clone(), input.into_iter(), Arc::new(f), false)
    }
}

/// An iterator over the results of [`Pool::stream`] and [`Pool::stream_unordered`].
///
/// At most [`PoolStream::buffer`] items are out of the input and not given back yet:
/// waiting for a place, running, or finished and unread. Each call of `next` first starts as many as the buffer
/// and the pool have room for; between two calls nothing is started.
///
/// An item that panics or is killed gives its error, and the iteration goes on. If the
/// input panics, that is the last result. If the caller is killed or times out, `next` gives
/// that error, what runs is killed, and the iteration has ended; use
/// [`PoolStream::next_timeout`] to look and come back.
///
/// Dropping it kills what runs, because nobody can read it any more, and does not wait for
/// that.
///
/// gevent: the iterators of `imap` and `imap_unordered`; dropped, theirs run on.
#[must_use = "nothing is started until it is asked"]
pub struct PoolStream<I: Iterator, R> {
    pool: Pool,
    /// `None` when it has ended.
    input: Option<I>,
    /// Out of the input, and waiting for a place.
    pending: Option<I::Item>,
    /// The panic of the input, for when all results before it are read.
    failure: Option<Box<dyn Any + Send>>,
    f: Arc<Work<I::Item, R>>,
    ordered: bool,
    buffer: usize,
    /// By number, which is the order of the items.
    running: BTreeMap<u64, Greenlet<R>>,
    finished: Arc<Finished>,
    /// The caller has had the error that ended the iteration.
    over: bool,
}

type Work<T, R> = dyn Fn(T) -> R + Send + Sync;

impl<I, R> PoolStream<I, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    R: Send + 'static,
{
    fn new(pool: Pool, input: I, f: Arc<Work<I::Item, R>>, ordered: bool) -> Self {
        Self {
            buffer: pool.size().clamp(1, BUFFER_MAX),
            pool,
            input: Some(input),
            pending: None,
            failure: None,
            f,
            ordered,
            running: BTreeMap::new(),
            finished: Arc::default(),
            over: false,
        }
    }

    /// Lets at most `count` items be running or unread, and at least one.
    ///
    /// Default: the size of the pool, at most 1024.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Pool;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// static TAKEN: AtomicU32 = AtomicU32::new(0);
    /// let input = (1..).inspect(|_| {
    ///     TAKEN.fetch_add(1, Ordering::Relaxed);
    /// });
    /// let pool = Pool::new(10);
    /// let mut squares = pool.stream(input, |n: u64| n * n).buffer(2);
    /// assert_eq!(squares.next().unwrap().unwrap(), 1);
    /// assert!(TAKEN.load(Ordering::Relaxed) <= 2);
    /// ```
    ///
    /// gevent: `maxsize`, which does not count what runs.
    pub fn buffer(mut self, count: usize) -> Self {
        self.buffer = count.max(1);
        self
    }

    /// The next result, waiting at most `limit` for it; `None` at the end.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out, or `limit` passed. Nothing is lost: the stream
    /// goes on with the next call.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Event, Pool};
    /// use std::time::Duration;
    ///
    /// let (pool, go) = (Pool::new(1), Event::new());
    /// let wait = { let go = go.clone(); move |n| go.wait().map(|()| n) };
    /// let mut stream = pool.stream([7], wait);
    /// assert!(stream.next_timeout(Duration::from_millis(2)).unwrap_err().is_timeout());
    /// go.set();
    /// assert_eq!(stream.next().unwrap().unwrap()?, 7);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn next_timeout(&mut self, limit: Duration) -> Result<Option<Result<R, JoinError>>> {
        self.next_deadline(limit.into())
    }

    /// The next result, waiting for it until `limit`; `None` at the end.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`PoolStream::next_timeout`].
    #[track_caller]
    pub fn next_deadline(&mut self, limit: Deadline) -> Result<Option<Result<R, JoinError>>> {
        begin()?;
        loop {
            self.fill();
            if let Some(greenlet) = self.take_finished() {
                return Ok(Some(greenlet.join()));
            }
            if !self.running.is_empty() {
                self.wait(limit)?;
            } else if !self.pull() {
                let failure = self.failure.take();
                return Ok(failure.map(|payload| Err(JoinError::panicked(payload))));
            } else if self.pool.contains(&current_handle()) {
                // All places are taken, one of them by the caller: see `Pool::run`.
                if let Some(item) = self.pending.take() {
                    let result = catch_unwind(AssertUnwindSafe(|| (self.f)(item)));
                    return Ok(Some(result.map_err(JoinError::panicked)));
                }
            } else {
                let place = self.pool.members.reserve(limit)?;
                self.start(place);
            }
        }
    }

    /// Starts what the buffer and the pool have room for.
    ///
    /// The place is taken last: the input may wait, also for a place in this very pool.
    #[track_caller]
    fn fill(&mut self) {
        while self.wants_more()
            && !self.pool.is_full()
            && self.pull()
            && let Some(place) = self.pool.members.try_reserve()
        {
            self.start(place);
        }
    }

    fn wants_more(&self) -> bool {
        let has_more = self.pending.is_some() || self.input.is_some();
        has_more && self.running.len() < self.buffer
    }

    /// Starts the pending item.
    #[track_caller]
    fn start(&mut self, place: Place) {
        let Some(item) = self.pending.take() else {
            return;
        };
        let f = self.f.clone();
        let greenlet = place.start(move || f(item));
        let greenlet = greenlet.unwrap_or_else(|error| panic!("{error}"));
        let handle = greenlet.handle();
        self.running.insert(greenlet.id(), greenlet);
        handle.enrol(self.finished.clone());
    }

    /// Sees to it that an item is pending; false if there is no more.
    fn pull(&mut self) -> bool {
        if self.pending.is_none()
            && let Some(input) = &mut self.input
        {
            match catch_unwind(AssertUnwindSafe(|| input.next())) {
                Ok(Some(item)) => self.pending = Some(item),
                ended => {
                    // Never asked again, whatever it would say.
                    discard(self.input.take());
                    self.failure = ended.err();
                }
            }
        }
        self.pending.is_some()
    }

    /// The greenlet whose result is next, if it is there.
    fn take_finished(&mut self) -> Option<Greenlet<R>> {
        if !self.ordered {
            let id = lock(&self.finished.state).done.pop_front()?;
            return self.running.remove(&id);
        }
        // Only the first one counts; the news has served to wake us.
        lock(&self.finished.state).done.clear();
        let first = self.running.first_entry()?;
        first.get().is_ready().then(|| first.remove())
    }

    /// Waits until one has finished, or there is room for more.
    #[track_caller]
    fn wait(&self, limit: Deadline) -> Result<()> {
        let finished: &dyn Waitable = &*self.finished;
        let room: &dyn Waitable = &self.pool;
        let room = self.wants_more().then_some(room);
        let mut news = Crowd::new([finished].into_iter().chain(room));
        news.next(limit).map(drop)
    }
}

impl<I: Iterator, R> PoolStream<I, R> {
    /// Kills what runs and reads no further.
    fn stop(&mut self) {
        for greenlet in std::mem::take(&mut self.running).into_values() {
            greenlet.kill();
            // It may hold a result by now.
            discard(greenlet);
        }
        discard(self.pending.take());
        discard(self.input.take());
        discard(self.failure.take());
    }
}

impl<I, R> Iterator for PoolStream<I, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    R: Send + 'static,
{
    type Item = Result<R, JoinError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        match self.next_deadline(Deadline::NEVER) {
            Ok(next) => next,
            Err(error) => {
                // A kill stays: a loop over the results has to end.
                self.over = true;
                self.stop();
                Some(Err(error.into()))
            }
        }
    }
}

impl<I: Iterator, R> Drop for PoolStream<I, R> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<I: Iterator, R> fmt::Debug for PoolStream<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolStream")
            .field("started", &self.running.len())
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}

/// Which greenlets of a stream have ended, in that order.
#[derive(Default)]
struct Finished {
    state: Mutex<News>,
}

#[derive(Default)]
struct News {
    done: VecDeque<u64>,
    watchers: Watchers,
}

impl Club for Finished {
    fn left(&self, id: u64, _exit: &Exit) {
        let mut state = lock(&self.state);
        state.done.push_back(id);
        state.watchers.tell_all();
    }
}

impl Waitable for Finished {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_ready = !state.done.is_empty();
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

/// As many results as may wait to be read where the pool sets no limit: a thousand small
/// ones cost little, and nobody has asked for more.
const BUFFER_MAX: usize = 1024;
