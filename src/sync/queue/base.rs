//! What all queues can do: put, get, close.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::discipline::Discipline;
use super::put_error::PutError;
use super::state::{State, closed};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::Parker;
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher};
use crate::sync::waiters::begin;
use crate::util::lock;
use crate::util::sync::Mutex;

/// Items on their way from those who put to those who get.
///
/// The [`Discipline`] `D` says which item leaves next: [`Queue`](super::Queue),
/// [`PriorityQueue`](super::PriorityQueue) and [`LifoQueue`](super::LifoQueue) are names for
/// this type with one of them.
///
/// Waiters on both sides are served first come, first served. An item is never lost: a
/// getter that is killed or whose limit passes leaves it in the queue, a putter gets it back
/// in the [`PutError`].
///
/// ```
/// use greenloop::sync::{LifoQueue, PriorityQueue, Queue};
///
/// let fifo = Queue::unbounded();
/// let lifo = LifoQueue::unbounded();
/// let lowest = PriorityQueue::unbounded();
/// for n in [2, 3, 1] {
///     fifo.put(n)?;
///     lifo.put(n)?;
///     lowest.put(n)?;
/// }
/// assert_eq!(fifo.close_now(), [2, 3, 1]);
/// assert_eq!(lifo.close_now(), [1, 3, 2]);
/// assert_eq!(lowest.close_now(), [1, 2, 3]);
/// # Ok::<(), greenloop::Error>(())
/// ```
pub struct BaseQueue<T, D: Discipline<T>> {
    pub(super) state: Arc<Mutex<State<T, D>>>,
}

impl<T, D: Discipline<T>> BaseQueue<T, D> {
    /// A queue that holds at most `capacity` items.
    ///
    /// # Panics
    /// If `capacity` is zero: that is a [`Channel`](crate::sync::Channel).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put("first")?;
    /// assert!(queue.is_full());
    /// assert!(queue.try_put("second").is_err());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue(maxsize=capacity)`.
    pub fn bounded(capacity: usize) -> Self {
        assert!(capacity > 0, "a bounded queue holds at least one item");
        Self::new(D::default(), capacity)
    }

    /// A queue that holds as many items as are put. Memory is its only limit: bound the
    /// queue unless something else bounds its producers.
    ///
    /// gevent: `Queue()`.
    pub fn unbounded() -> Self {
        Self::new(D::default(), usize::MAX)
    }

    fn new(items: D, capacity: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(items, capacity))),
        }
    }

    /// Puts `item` in, waiting for room as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; closed, when the queue is. The item comes back
    /// in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put("first")?;
    /// let putter = {
    ///     let queue = queue.clone();
    ///     greenloop::spawn(move || queue.put("second").is_ok())
    /// };
    /// assert_eq!(queue.get()?, "first"); // makes room
    /// assert!(putter.join().unwrap());
    /// assert_eq!(queue.get()?, "second");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.put(item)`.
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::NEVER)
    }

    /// Puts `item` in if there is room.
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
        // Here and below, `item` outlives the guard: if its `Ord` panics in `spot`, it is
        // dropped after the lock is free.
        let mut state = lock(&self.state);
        match state.spot(&item) {
            Ok(Some(spot)) => {
                state.append(item, spot);
                Ok(())
            }
            Ok(None) => {
                let full = format!("queue is full ({} items)", state.capacity);
                Err(PutError::new(item, Error::new(ErrorKind::Limit(full))))
            }
            Err(error) => Err(PutError::new(item, error)),
        }
    }

    /// Puts `item` in, waiting at most `limit` for room.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::put`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    /// use std::time::Duration;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put("first")?;
    /// let late = queue.put_timeout("second", Duration::from_millis(2)).unwrap_err();
    /// assert!(late.error().is_timeout());
    /// assert_eq!(late.into_item(), "second"); // not lost
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.put(item, timeout=limit)`, which raises `Full`.
    #[track_caller]
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::after(limit))
    }

    /// Puts `item` in, waiting for room until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::put`]; timeout also when `limit` passed. If there is room the item is
    /// taken even if `limit` has passed already.
    #[track_caller]
    pub fn put_deadline(&self, item: T, limit: Deadline) -> Result<(), PutError<T>> {
        if let Err(error) = begin() {
            return Err(PutError::new(item, error));
        }
        let (parker, place) = {
            let mut state = lock(&self.state);
            match state.spot(&item) {
                Ok(Some(spot)) => {
                    state.append(item, spot);
                    return Ok(());
                }
                Ok(None) => {
                    let parker = Parker::new();
                    let place = state.putters.join(&parker, Some(item));
                    (parker, place)
                }
                Err(error) => return Err(PutError::new(item, error)),
            }
        };
        let waited = parker.park(Wait::Queue, limit);
        let left = lock(&self.state).putters.leave(&place);
        match left {
            None => Ok(()),
            Some(item) => {
                let error = waited.err().unwrap_or_else(closed);
                Err(PutError::new(item, error))
            }
        }
    }

    /// Removes the next item, waiting for one as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; closed, when the queue is closed and empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::unbounded();
    /// let getter = {
    ///     let queue = queue.clone();
    ///     greenloop::spawn(move || queue.get())
    /// };
    /// queue.put(42)?;
    /// assert_eq!(getter.join().unwrap()?, 42);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.get()`.
    #[track_caller]
    pub fn get(&self) -> Result<T> {
        self.take(Deadline::NEVER, false)
    }

    /// Removes the next item if there is one.
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
        lock(&self.state).remove(false)
    }

    /// Removes the next item, waiting at most `limit` for one to arrive.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::get`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    /// use std::time::Duration;
    ///
    /// let queue = Queue::unbounded();
    /// let late = queue.get_timeout(Duration::from_millis(2));
    /// assert!(late.unwrap_err().is_timeout());
    /// queue.put("there")?;
    /// assert_eq!(queue.get_timeout(Duration::ZERO)?, "there");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.get(timeout=limit)`, which raises `Empty`.
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T> {
        self.take(Deadline::after(limit), false)
    }

    /// Removes the next item, waiting for one to arrive until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::get`]; timeout also when `limit` passed. An item that is there is
    /// taken even if `limit` has passed already.
    #[track_caller]
    pub fn get_deadline(&self, limit: Deadline) -> Result<T> {
        self.take(limit, false)
    }

    /// What every `get` is.
    #[track_caller]
    pub(super) fn take(&self, limit: Deadline, is_job: bool) -> Result<T> {
        begin()?;
        let (parker, place) = {
            let mut state = lock(&self.state);
            if let Some(item) = state.remove(is_job)? {
                return Ok(item);
            }
            let parker = Parker::new();
            let place = state.getters.join(&parker, None);
            (parker, place)
        };
        let waited = parker.park(Wait::Queue, limit);
        let got = lock(&self.state).collect(&place, is_job);
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
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::unbounded();
    /// queue.put("left over")?;
    /// queue.close();
    /// assert!(queue.put("more").is_err());
    /// assert_eq!(queue.get()?, "left over");
    /// assert!(queue.get().unwrap_err().is_closed());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.shutdown()`.
    pub fn close(&self) {
        lock(&self.state).close();
    }

    /// Closes the queue and empties it: getters are told at once. Gives what was in it, in
    /// the order in which it would have left.
    ///
    /// What was in it counts as done. Jobs that somebody has keep [`BaseQueue::join`]
    /// waiting until they are dropped.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::PriorityQueue;
    ///
    /// let queue: PriorityQueue<_> = [3, 1, 2].into_iter().collect();
    /// assert_eq!(queue.close_now(), [1, 2, 3]);
    /// assert!(queue.get().unwrap_err().is_closed());
    /// queue.join()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.shutdown(immediate=True)`, which drops the items.
    pub fn close_now(&self) -> Vec<T> {
        let items = {
            let mut state = lock(&self.state);
            state.close();
            let items = std::mem::take(&mut state.items);
            state.tell_joiners();
            items
        };
        items.into_items()
    }

    /// Tells whether [`BaseQueue::close`] or [`BaseQueue::close_now`] was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// The number of items in the queue; those of waiting putters do not count.
    ///
    /// gevent: `Queue.qsize()`.
    pub fn len(&self) -> usize {
        lock(&self.state).items.len()
    }

    /// Tells whether no item is in the queue.
    ///
    /// gevent: `Queue.empty()`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether a `put` would have to wait for room.
    ///
    /// gevent: `Queue.full()`.
    pub fn is_full(&self) -> bool {
        let state = lock(&self.state);
        state.items.len() >= state.capacity
    }

    /// The number of items it can hold; `None` if it is unbounded.
    ///
    /// gevent: `Queue.maxsize`.
    pub fn capacity(&self) -> Option<usize> {
        let capacity = lock(&self.state).capacity;
        (capacity != usize::MAX).then_some(capacity)
    }
}

/// An unbounded queue of these items.
///
/// gevent: the `items` argument of a queue.
impl<T, D: Discipline<T>> FromIterator<T> for BaseQueue<T, D> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut items = D::default();
        for item in iter {
            items.push_unseen(item);
        }
        Self::new(items, usize::MAX)
    }
}

/// Ready when there is an item to get, or the queue is closed.
impl<T, D: Discipline<T>> Waitable for BaseQueue<T, D> {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_ready = state.items.len() > 0 || state.closed;
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl<T, D: Discipline<T>> Clone for BaseQueue<T, D> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

impl<T, D: Discipline<T>> fmt::Debug for BaseQueue<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct(D::NAME)
            .field("len", &state.items.len())
            .field("in_hand", &state.in_hand)
            .field("getting", &state.getters.len())
            .field("putting", &state.putters.len())
            .field("peeking", &state.peekers.len())
            .field("joining", &state.joiners.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
