//! Looking at the next item and leaving it where it is.

use std::time::Duration;

use super::base::BaseQueue;
use super::discipline::Discipline;
use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::wait_for;
use crate::runtime::reason::Wait;
use crate::sync::waiters::begin;
use crate::util::lock;

/// Looking at an item without taking it. It is cloned inside the queue's lock: a [`Clone`]
/// of one's own must neither wait nor use this queue.
impl<T: Clone, D: Discipline<T>> BaseQueue<T, D> {
    /// A copy of the next item, waiting for one as long as it takes.
    ///
    /// The item stays, and whoever gets next takes it. Getters that wait come first: an
    /// item that is handed to one is not seen.
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
    /// let queue = Queue::unbounded();
    /// queue.put("hi")?;
    /// assert_eq!(queue.peek()?, "hi");
    /// assert_eq!(queue.get()?, "hi");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Queue.peek()`.
    #[track_caller]
    pub fn peek(&self) -> Result<T> {
        self.peek_deadline(Deadline::NEVER)
    }

    /// A copy of the next item if there is one.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// Closed, when the queue is closed and empty.
    ///
    /// gevent: `Queue.peek_nowait()`, which raises `Empty`.
    pub fn try_peek(&self) -> Result<Option<T>> {
        lock(&self.state).look()
    }

    /// A copy of the next item, waiting at most `limit` for one to arrive.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::get`]; timeout also when `limit` passed.
    ///
    /// gevent: `Queue.peek(timeout=limit)`, which raises `Empty`.
    #[track_caller]
    pub fn peek_timeout(&self, limit: Duration) -> Result<T> {
        self.peek_deadline(Deadline::after(limit))
    }

    /// A copy of the next item, waiting for one to arrive until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`BaseQueue::get`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn peek_deadline(&self, limit: Deadline) -> Result<T> {
        begin()?;
        wait_for(
            &self.state,
            |state| &mut state.peekers,
            Wait::Queue,
            limit,
            |state| state.look().transpose(),
        )?
    }
}
