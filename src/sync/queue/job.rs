//! Items that count until they are done, and waiting for all of them.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::base::BaseQueue;
use super::discipline::{Discipline, Fifo};
use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::wait_for;
use crate::runtime::reason::Wait;
use crate::sync::waiters::begin;
use crate::util::lock;

/// An item that was taken out and counts as unfinished until this is dropped.
///
/// It is done whatever becomes of its greenlet: the drop that ends a panic or a kill counts
/// as well. The item is dropped first.
///
/// gevent: an item of a `JoinableQueue`, and the `task_done` that must follow it; here it
/// can be neither forgotten nor called too often.
#[must_use = "the job is done when it is dropped"]
pub struct Job<T, D: Discipline<T> = Fifo<T>> {
    item: T,
    // After the item: dropped after it, even if its drop panics.
    debt: Debt<T, D>,
}

/// One item in hand; its drop settles that.
struct Debt<T, D: Discipline<T>>(BaseQueue<T, D>);

impl<T, D: Discipline<T>> Job<T, D> {
    pub(super) fn new(item: T, queue: &BaseQueue<T, D>) -> Self {
        let debt = Debt(queue.clone());
        Self { item, debt }
    }

    /// Keeps the item; the job is done.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue: Queue<_> = [vec![1, 2]].into_iter().collect();
    /// let list = queue.get_job()?.into_item();
    /// assert_eq!((list.len(), queue.unfinished()), (2, 0));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_item(self) -> T {
        drop(self.debt);
        self.item
    }
}

impl<T, D: Discipline<T>> Drop for Debt<T, D> {
    fn drop(&mut self) {
        lock(&self.0.state).settle();
    }
}

impl<T, D: Discipline<T>> Deref for Job<T, D> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T, D: Discipline<T>> DerefMut for Job<T, D> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug, D: Discipline<T>> fmt::Debug for Job<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.item).finish()
    }
}

/// Jobs, and waiting for their end.
impl<T, D: Discipline<T>> BaseQueue<T, D> {
    /// Removes the next item as a [`Job`], waiting for one as long as it takes.
    ///
    /// [`BaseQueue::join`] waits until the job is dropped; an item taken by
    /// [`BaseQueue::get`] is done at once.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::get`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue: Queue<_> = (1..=100).collect();
    /// for _ in 0..4 {
    ///     let queue = queue.clone();
    ///     greenloop::spawn(move || {
    ///         while let Ok(job) = queue.get_job() {
    ///             assert!(*job <= 100);
    ///         }
    ///     });
    /// }
    /// queue.join()?;
    /// assert_eq!(queue.unfinished(), 0);
    /// queue.close();
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `JoinableQueue.get()`, with `task_done()` to follow.
    #[track_caller]
    pub fn get_job(&self) -> Result<Job<T, D>> {
        self.get_job_deadline(Deadline::NEVER)
    }

    /// Removes the next item as a [`Job`] if there is one.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// Closed, when the queue is closed and empty.
    pub fn try_get_job(&self) -> Result<Option<Job<T, D>>> {
        let item = lock(&self.state).remove(true)?;
        Ok(item.map(|item| Job::new(item, self)))
    }

    /// Removes the next item as a [`Job`], waiting at most `limit` for one to arrive.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::get`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn get_job_timeout(&self, limit: Duration) -> Result<Job<T, D>> {
        self.get_job_deadline(Deadline::after(limit))
    }

    /// Removes the next item as a [`Job`], waiting for one to arrive until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::get`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn get_job_deadline(&self, limit: Deadline) -> Result<Job<T, D>> {
        let item = self.take(limit, true)?;
        Ok(Job::new(item, self))
    }

    /// The number of items in the queue and of jobs that are not done.
    ///
    /// gevent: `JoinableQueue.unfinished_tasks`.
    pub fn unfinished(&self) -> usize {
        lock(&self.state).unfinished()
    }

    /// Waits until at some moment every item was taken and every [`Job`] is done.
    ///
    /// That is true of a queue that was never used, too. More items may come later, also
    /// before the caller runs again: wait after the last `put`, or
    /// [`close`](BaseQueue::close) first.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::unbounded();
    /// let worker = {
    ///     let queue = queue.clone();
    ///     greenloop::spawn(move || queue.jobs().count())
    /// };
    /// for n in 0..5 {
    ///     queue.put(n)?;
    /// }
    /// queue.join()?; // all five are done, and not only taken
    /// queue.close();
    /// assert_eq!(worker.join().unwrap(), 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `JoinableQueue.join()`.
    #[track_caller]
    pub fn join(&self) -> Result<()> {
        self.join_deadline(Deadline::NEVER).map(drop)
    }

    /// Waits at most `limit` until everything is done; false if it is not by then.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    /// use std::time::Duration;
    ///
    /// let queue: Queue<_> = [1].into_iter().collect();
    /// let job = queue.get_job()?;
    /// assert!(!queue.join_timeout(Duration::from_millis(5))?);
    /// drop(job);
    /// assert!(queue.join_timeout(Duration::ZERO)?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `JoinableQueue.join(timeout=limit)`.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<bool> {
        self.join_deadline(Deadline::after(limit))
    }

    /// Waits until everything is done or `limit` passes; false if it passed.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::join`].
    #[track_caller]
    pub fn join_deadline(&self, limit: Deadline) -> Result<bool> {
        begin()?;
        let mut seen = None;
        let joined = wait_for(
            &self.state,
            |state| &mut state.joiners,
            Wait::QueueJoin,
            limit,
            |state| {
                let rounds = *seen.get_or_insert(state.rounds);
                (state.unfinished() == 0 || state.rounds != rounds).then_some(true)
            },
        );
        match joined {
            Err(error) if error.is_own_limit() => Ok(false),
            joined => joined,
        }
    }
}
