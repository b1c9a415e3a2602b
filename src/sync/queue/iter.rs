//! Loops over a queue, which end when it is closed.

use std::iter::FusedIterator;

use super::base::BaseQueue;
use super::discipline::Discipline;
use super::job::Job;

/// The items of a queue as they come; see [`BaseQueue::iter`].
#[must_use = "nothing is taken until it is asked"]
#[derive(Debug)]
pub struct Iter<'a, T, D: Discipline<T>>(Option<&'a BaseQueue<T, D>>);

/// The items of a queue as jobs; see [`BaseQueue::jobs`].
#[must_use = "nothing is taken until it is asked"]
#[derive(Debug)]
pub struct Jobs<'a, T, D: Discipline<T>>(Option<&'a BaseQueue<T, D>>);

impl<T, D: Discipline<T>> BaseQueue<T, D> {
    /// Gets one item after the other, until the queue is closed and empty.
    ///
    /// A kill, or the end of a [`Timeout`](crate::Timeout), ends the loop as well: the next
    /// call that waits reports it.
    ///
    /// # Switching
    /// Each step may switch to other greenlets.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue: Queue<_> = [1, 2, 3].into_iter().collect();
    /// queue.close();
    /// let mut sum = 0;
    /// for item in &queue {
    ///     sum += item;
    /// }
    /// assert_eq!(sum, 6);
    /// ```
    ///
    /// gevent: `for item in queue`, which ends at an item that is `StopIteration`.
    pub fn iter(&self) -> Iter<'_, T, D> {
        Iter(Some(self))
    }

    /// Like [`BaseQueue::iter`], with [`BaseQueue::get_job`].
    ///
    /// # Switching
    /// Each step may switch to other greenlets.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue: Queue<_> = [1, 2, 3].into_iter().collect();
    /// queue.close();
    /// let mut sum = 0;
    /// for job in queue.jobs() {
    ///     sum += *job;
    ///     assert!(queue.unfinished() > 0, "it is done when it is dropped");
    /// }
    /// assert_eq!((sum, queue.unfinished()), (6, 0));
    /// ```
    ///
    /// gevent: `for item in queue`, with `task_done()` in every turn.
    pub fn jobs(&self) -> Jobs<'_, T, D> {
        Jobs(Some(self))
    }
}

impl<'a, T, D: Discipline<T>> IntoIterator for &'a BaseQueue<T, D> {
    type Item = T;
    type IntoIter = Iter<'a, T, D>;

    fn into_iter(self) -> Iter<'a, T, D> {
        self.iter()
    }
}

impl<T, D: Discipline<T>> Iterator for Iter<'_, T, D> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        let item = self.0?.get().ok();
        if item.is_none() {
            self.0 = None;
        }
        item
    }
}

impl<T, D: Discipline<T>> FusedIterator for Iter<'_, T, D> {}

impl<T, D: Discipline<T>> Iterator for Jobs<'_, T, D> {
    type Item = Job<T, D>;

    #[track_caller]
    fn next(&mut self) -> Option<Job<T, D>> {
        let job = self.0?.get_job().ok();
        if job.is_none() {
            self.0 = None;
        }
        job
    }
}

impl<T, D: Discipline<T>> FusedIterator for Jobs<'_, T, D> {}
