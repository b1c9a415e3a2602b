//! Queues that differ in one thing only: which item leaves next.
//!
//! | type | the next item | gevent |
//! |---|---|---|
//! | [`Queue`] | the oldest | `Queue`, `JoinableQueue` |
//! | [`PriorityQueue`] | the lowest, of equals the oldest | `PriorityQueue` |
//! | [`LifoQueue`] | the newest | `LifoQueue` |
//!
//! All three are one [`BaseQueue`] with a [`Discipline`], so what they can do stands there:
//!
//! | to | may wait | never waits | waits so long |
//! |---|---|---|---|
//! | put an item in | [`put`](BaseQueue::put) | [`try_put`](BaseQueue::try_put) | [`put_timeout`](BaseQueue::put_timeout), [`put_deadline`](BaseQueue::put_deadline) |
//! | take the next one | [`get`](BaseQueue::get) | [`try_get`](BaseQueue::try_get) | [`get_timeout`](BaseQueue::get_timeout), [`get_deadline`](BaseQueue::get_deadline) |
//! | take it as a [`Job`], done when dropped | [`get_job`](BaseQueue::get_job) | [`try_get_job`](BaseQueue::try_get_job) | [`get_job_timeout`](BaseQueue::get_job_timeout), … |
//! | copy it and leave it there | [`peek`](BaseQueue::peek) | [`try_peek`](BaseQueue::try_peek) | [`peek_timeout`](BaseQueue::peek_timeout), … |
//! | take all, until the end | [`iter`](BaseQueue::iter), [`jobs`](BaseQueue::jobs) | | |
//! | see all of it done | [`join`](BaseQueue::join) | [`unfinished`](BaseQueue::unfinished) | [`join_timeout`](BaseQueue::join_timeout), … |
//! | say that no more will come | | [`close`](BaseQueue::close), [`close_now`](BaseQueue::close_now) | |
//!
//! What holds no items, or hands one item to many, is no queue: see
//! [`Channel`](crate::sync::Channel) and [`Broadcast`](crate::sync::Broadcast).
//!
//! # Handles and the end
//!
//! A queue is a handle that is cloned for everyone who uses it, on either side. Nothing ends
//! by dropping one: who knows that no more will come says so with [`BaseQueue::close`], and
//! loops over the queue then end.

mod base;
mod discipline;
mod heap;
mod iter;
mod job;
mod peek;
mod put_error;
mod state;

pub use base::BaseQueue;
pub use discipline::{Discipline, Fifo, Lifo};
pub use heap::Lowest;
pub use iter::{Iter, Jobs};
pub use job::Job;
pub use put_error::PutError;

/// A queue whose items leave in the order in which they came.
///
/// What it can do stands at [`BaseQueue`]; the [module](self) has an overview.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Queue;
///
/// let jobs = Queue::bounded(2);
/// let worker = {
///     let jobs = jobs.clone();
///     greenloop::spawn(move || jobs.iter().sum::<i32>())
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
pub type Queue<T> = BaseQueue<T, Fifo<T>>;

/// A queue whose lowest item leaves first, of equal ones the oldest.
///
/// What it can do stands at [`BaseQueue`]; the [module](self) has an overview.
///
/// `std::cmp::Reverse` turns the order round. An item that waits for room does not compete:
/// putters are let in first come, first served.
///
/// Items are compared inside the queue's lock: an [`Ord`] of one's own must neither wait nor
/// use this queue. If it panics, the `put` or `get` that compared does, and nothing has
/// changed: a `put` drops its item, a `get` takes none.
///
/// # Examples
///
/// ```
/// use greenloop::sync::PriorityQueue;
///
/// let chores: PriorityQueue<_> = [(3, "cook"), (1, "wake up"), (2, "shop")].into_iter().collect();
/// chores.put((0, "sleep"))?;
/// chores.close();
/// let order: Vec<_> = chores.iter().map(|(_, what)| what).collect();
/// assert_eq!(order, ["sleep", "wake up", "shop", "cook"]);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.queue.PriorityQueue`, where the order of equal items is not told.
pub type PriorityQueue<T> = BaseQueue<T, Lowest<T>>;

/// A queue whose newest item leaves first.
///
/// What it can do stands at [`BaseQueue`]; the [module](self) has an overview.
///
/// An item that waits for room is not in the queue yet: it is the newest when it is let in.
///
/// # Examples
///
/// ```
/// use greenloop::sync::LifoQueue;
///
/// let plates: LifoQueue<_> = ["first", "second"].into_iter().collect();
/// plates.put("third")?;
/// assert_eq!(plates.get()?, "third");
/// assert_eq!(plates.get()?, "second");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.queue.LifoQueue`.
pub type LifoQueue<T> = BaseQueue<T, Lifo<T>>;
