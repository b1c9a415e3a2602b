//! A first-in, first-out queue between greenlets and threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::Parker;
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
use crate::sync::waiters::{Waiters, begin};
use crate::util::lock;
use crate::util::sync::Mutex;

/// Items on their way from those who put to those who get.
///
/// Items leave in the order in which they came, and waiters on both sides are served first
/// come, first served. An item is never lost: a getter that is killed or whose limit passes
/// leaves it in the queue, a putter gets it back in the [`PutError`].
///
/// # Examples
///
/// ```
/// use greenloop::sync::Queue;
///
/// let jobs = Queue::bounded(2);
/// let worker = {
///     let jobs = jobs.clone();
///     greenloop::spawn(move || {
///         let mut sum = 0;
///         while let Ok(job) = jobs.get() {
///             sum += job;
///         }
///         sum
///     })
/// };
/// for job in 1..=10 {
///     jobs.put(job)?;
/// }
/// jobs.close();
/// assert_eq!(worker.join().unwrap(), 55);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.queue.Queue`; `close` is its `shutdown`.
pub struct Queue<T> {
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    items: VecDeque<T>,
    /// How many `items` may hold.
    capacity: usize,
    closed: bool,
    /// Waiting with empty slots; only while there are no items.
    getters: Waiters<T>,
    /// Waiting with full slots; only while there is no room.
    putters: Waiters<T>,
    watchers: Watchers,
}

/// What keeps an item out of a queue, and the item.
pub struct PutError<T> {
    item: T,
    error: Error,
}

impl<T> Queue<T> {
    /// A queue that holds at most `capacity` items.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn bounded(capacity: usize) -> Self {
        assert!(capacity > 0, "a bounded queue holds at least one item");
        Self::with_capacity(capacity)
    }

    /// A queue that holds as many items as are put. Memory is its only limit: bound the
    /// queue unless something else bounds its producers.
    pub fn unbounded() -> Self {
        Self::with_capacity(usize::MAX)
    }

    fn with_capacity(capacity: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            capacity,
            closed: false,
            getters: Waiters::new(),
            putters: Waiters::new(),
            watchers: Watchers::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Appends `item`, waiting for room as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; closed, when the queue is. The item comes back
    /// in the error.
    ///
    /// gevent: `Queue.put(item)`.
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::NEVER)
    }

    /// Appends `item` if there is room.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// [`PutError::is_full`] or closed; the item comes back in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.try_put("a").unwrap();
    /// let refused = queue.try_put("b").unwrap_err();
    /// assert!(refused.is_full());
    /// assert_eq!(refused.into_item(), "b");
    /// ```
    ///
    /// gevent: `Queue.put_nowait(item)`, which raises `Full`.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PutError {
                item,
                error: closed(),
            });
        }
        state.append(item).map_err(|item| {
            let full = ErrorKind::Limit(format!("queue is full ({} items)", state.capacity));
            PutError {
                item,
                error: Error::new(full),
            }
        })
    }

    /// Appends `item`, waiting at most `limit` for room.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Queue::put`]; timeout also when `limit` passed.
    ///
    /// gevent: `Queue.put(item, timeout=limit)`, which raises `Full`.
    #[track_caller]
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::after(limit))
    }

    /// Appends `item`, waiting for room until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Queue::put`]; timeout also when `limit` passed. If there is room the item is
    /// taken even if `limit` has passed already.
    #[track_caller]
    pub fn put_deadline(&self, item: T, limit: Deadline) -> Result<(), PutError<T>> {
        if let Err(error) = begin() {
            return Err(PutError { item, error });
        }
        let parker = Parker::new();
        let place = {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(PutError {
                    item,
                    error: closed(),
                });
            }
            match state.append(item) {
                Ok(()) => return Ok(()),
                Err(item) => state.putters.join(&parker, Some(item)),
            }
        };
        let waited = parker.park(Wait::Queue, limit);
        let left = lock(&self.state).putters.leave(&place);
        match left {
            None => Ok(()),
            Some(item) => Err(PutError {
                item,
                error: waited.err().unwrap_or_else(closed),
            }),
        }
    }

    /// Removes the oldest item, waiting for one as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; closed, when the queue is closed and empty.
    ///
    /// gevent: `Queue.get()`.
    #[track_caller]
    pub fn get(&self) -> Result<T> {
        self.get_deadline(Deadline::NEVER)
    }

    /// Removes the oldest item if there is one.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// Closed, when the queue is closed and empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::unbounded();
    /// assert_eq!(queue.try_get()?, None);
    /// queue.put(1)?;
    /// assert_eq!(queue.try_get()?, Some(1));
    /// queue.close();
    /// assert!(queue.try_get().unwrap_err().is_closed());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.get_nowait()`, which raises `Empty`.
    pub fn try_get(&self) -> Result<Option<T>> {
        let mut state = lock(&self.state);
        match state.remove() {
            None if state.closed => Err(closed()),
            item => Ok(item),
        }
    }

    /// Removes the oldest item, waiting at most `limit` for one to arrive.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Queue::get`]; timeout also when `limit` passed.
    ///
    /// gevent: `Queue.get(timeout=limit)`, which raises `Empty`.
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T> {
        self.get_deadline(Deadline::after(limit))
    }

    /// Removes the oldest item, waiting for one to arrive until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Queue::get`]; timeout also when `limit` passed. An item that is there is taken
    /// even if `limit` has passed already.
    #[track_caller]
    pub fn get_deadline(&self, limit: Deadline) -> Result<T> {
        begin()?;
        let parker = Parker::new();
        let place = {
            let mut state = lock(&self.state);
            if let Some(item) = state.remove() {
                return Ok(item);
            }
            if state.closed {
                return Err(closed());
            }
            state.getters.join(&parker, None)
        };
        let waited = parker.park(Wait::Queue, limit);
        let got = lock(&self.state).getters.leave(&place);
        match (waited, got) {
            (_, Some(item)) => Ok(item),
            (Ok(()), None) => Err(closed()),
            (Err(error), None) => Err(error),
        }
    }

    /// Takes no more items: putters, also those who wait, get theirs back; getters drain
    /// what is there and are then told that the queue is closed.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `Queue.shutdown()`.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.getters.dismiss();
        state.putters.dismiss();
        state.watchers.tell_all();
    }

    /// Tells whether [`Queue::close`] was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// The number of items in the queue; those of waiting putters do not count.
    pub fn len(&self) -> usize {
        lock(&self.state).items.len()
    }

    /// Tells whether no item is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> State<T> {
    /// Hands `item` to a getter or stores it; back if there is no room.
    fn append(&mut self, item: T) -> Result<(), T> {
        let Err(item) = self.getters.give(item) else {
            return Ok(());
        };
        if self.items.len() >= self.capacity {
            return Err(item);
        }
        self.items.push_back(item);
        self.watchers.tell_all();
        Ok(())
    }

    /// Takes the oldest item, and lets the first waiting putter have its room.
    fn remove(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        if let Some(next) = self.putters.receive() {
            self.items.push_back(next);
        }
        Some(item)
    }
}

/// Ready when there is an item to get, or the queue is closed.
impl<T> Waitable for Queue<T> {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_ready = !state.items.is_empty() || state.closed;
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Queue")
            .field("len", &state.items.len())
            .field("getting", &state.getters.len())
            .field("putting", &state.putters.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

impl<T> PutError<T> {
    /// Gives the item back.
    pub fn into_item(self) -> T {
        self.item
    }

    /// Why it was not taken.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Tells whether there was no room ([`Queue::try_put`]).
    pub fn is_full(&self) -> bool {
        self.error.is_limit()
    }
}

impl<T> From<PutError<T>> for Error {
    fn from(refused: PutError<T>) -> Self {
        refused.error
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({})", self.error)
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for PutError<T> {}

fn closed() -> Error {
    Error::new(ErrorKind::Closed("queue"))
}
