//! Which item leaves next: the one thing in which queues differ.

use std::collections::VecDeque;

/// The order in which the items of a [`BaseQueue`](super::BaseQueue) leave it: [`Fifo`],
/// [`Lifo`] or [`Lowest`](super::Lowest).
///
/// There are no others: what follows the promises of the queues (nothing lost, nothing
/// changed by a panic) is more than an order.
///
/// ```
/// use greenloop::sync::queue::{BaseQueue, Discipline, Fifo, Lifo, Lowest};
///
/// fn order<D: Discipline<u32>>() -> Vec<u32> {
///     let queue = BaseQueue::<u32, D>::unbounded();
///     for n in [2, 3, 1] {
///         queue.try_put(n).unwrap();
///     }
///     queue.close_now()
/// }
///
/// assert_eq!(order::<Fifo<_>>(), [2, 3, 1]);
/// assert_eq!(order::<Lifo<_>>(), [1, 3, 2]);
/// assert_eq!(order::<Lowest<_>>(), [1, 2, 3]);
/// ```
pub trait Discipline<T>: Store<T> {}

/// Where items lie, under the queue's lock.
///
/// User code runs in [`Store::spot`], [`Store::pop`] and [`Store::peek`] only. It may panic
/// there, and then nothing has changed, and no item is in between.
#[expect(
    unnameable_types,
    reason = "keeps `Discipline` ours: nobody outside can implement this"
)]
pub trait Store<T>: Default {
    /// The queue's name in `Debug`.
    const NAME: &'static str;

    /// Finds out where `item` would go, for [`Store::push`], which must come next.
    fn spot(&mut self, item: &T) -> usize;

    /// Takes `item` in at its spot.
    fn push(&mut self, item: T, spot: usize);

    /// Takes `item` in, and leaves it to later calls to find its spot.
    fn push_unseen(&mut self, item: T);

    /// Takes the next item out.
    fn pop(&mut self) -> Option<T>;

    /// The next item.
    fn peek(&mut self) -> Option<&T>;

    /// How many there are.
    fn len(&self) -> usize;

    /// All items, in the order in which they would have left.
    fn into_items(self) -> Vec<T>;
}

/// First in, first out: the order of a [`Queue`](super::Queue).
#[derive(Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// Last in, first out: the order of a [`LifoQueue`](super::LifoQueue).
#[derive(Debug)]
pub struct Lifo<T>(Vec<T>);

impl<T> Discipline<T> for Fifo<T> {}

impl<T> Store<T> for Fifo<T> {
    const NAME: &'static str = "Queue";

    fn spot(&mut self, _item: &T) -> usize {
        0
    }

    fn push(&mut self, item: T, _spot: usize) {
        self.0.push_back(item);
    }

    fn push_unseen(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn peek(&mut self) -> Option<&T> {
        self.0.front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn into_items(self) -> Vec<T> {
        self.0.into()
    }
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Discipline<T> for Lifo<T> {}

impl<T> Store<T> for Lifo<T> {
    const NAME: &'static str = "LifoQueue";

    fn spot(&mut self, _item: &T) -> usize {
        0
    }

    fn push(&mut self, item: T, _spot: usize) {
        self.0.push(item);
    }

    fn push_unseen(&mut self, item: T) {
        self.0.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn peek(&mut self) -> Option<&T> {
        self.0.last()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn into_items(mut self) -> Vec<T> {
        self.0.reverse();
        self.0
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
