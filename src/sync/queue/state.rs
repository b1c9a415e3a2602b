//! What the handles of a queue share, and the moves on it that its lock makes whole.

use super::discipline::Discipline;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::park::WaitList;
use crate::runtime::watch::Watchers;
use crate::sync::waiters::{Place, Waiters};

/// Lives under the queue's lock. Apart from the three places that [`Store`] names, no user
/// code runs there, and none of the user's values is dropped.
///
/// [`Store`]: super::discipline::Store
pub(super) struct State<T, D> {
    pub(super) items: D,
    /// How many `items` may hold.
    pub(super) capacity: usize,
    pub(super) closed: bool,
    /// Items that were taken out and are not done: jobs, and what was handed to a getter
    /// that has not run since.
    pub(super) in_hand: usize,
    /// How often all was done while somebody waited for it: who did sees it, even if more
    /// came before it ran.
    pub(super) rounds: u64,
    /// Waiting with empty slots; only while there are no items.
    pub(super) getters: Waiters<T>,
    /// Waiting with full slots; only while there is no room.
    pub(super) putters: Waiters<T>,
    pub(super) peekers: WaitList,
    pub(super) joiners: WaitList,
    pub(super) watchers: Watchers,
}

impl<T, D: Discipline<T>> State<T, D> {
    pub(super) fn new(items: D, capacity: usize) -> Self {
        Self {
            items,
            capacity,
            closed: false,
            in_hand: 0,
            rounds: 0,
            getters: Waiters::new(),
            putters: Waiters::new(),
            peekers: WaitList::new(),
            joiners: WaitList::new(),
            watchers: Watchers::new(),
        }
    }

    /// Where `item` would go; `None` if there is no room.
    ///
    /// # Errors
    /// Closed.
    pub(super) fn spot(&mut self, item: &T) -> Result<Option<usize>> {
        if self.closed {
            return Err(closed());
        }
        // Getters wait only where there are no items, so there is room for theirs.
        let has_room = self.items.len() < self.capacity;
        Ok(has_room.then(|| self.items.spot(item)))
    }

    /// Hands `item` to a getter, or stores it at `spot`.
    pub(super) fn append(&mut self, item: T, spot: usize) {
        match self.getters.give(item) {
            // Until the getter says what for: see `collect`.
            Ok(()) => self.in_hand += 1,
            Err(item) => {
                self.items.push(item, spot);
                // Asked first: this is the way of every item, and hardly anyone peeks.
                if self.peekers.len() > 0 {
                    self.peekers.wake_all();
                }
                self.watchers.tell_all();
            }
        }
    }

    /// Takes the next item, and lets the first waiting putter have its room.
    ///
    /// # Errors
    /// Closed, and there is none.
    pub(super) fn remove(&mut self, is_job: bool) -> Result<Option<T>> {
        let Some(item) = self.items.pop() else {
            return if self.closed { Err(closed()) } else { Ok(None) };
        };
        if let Some(next) = self.putters.receive() {
            // Its `Ord` may panic, which would lose the item that was just taken out.
            self.items.push_unseen(next);
        }
        if is_job {
            self.in_hand += 1;
        } else {
            self.tell_joiners();
        }
        Ok(Some(item))
    }

    /// A copy of the next item.
    ///
    /// # Errors
    /// Closed, and there is none.
    pub(super) fn look(&mut self) -> Result<Option<T>>
    where
        T: Clone,
    {
        match self.items.peek() {
            None if self.closed => Err(closed()),
            item => Ok(item.cloned()),
        }
    }

    /// Ends a getter's wait and takes what was handed to it.
    pub(super) fn collect(&mut self, place: &Place<T>, is_job: bool) -> Option<T> {
        let item = self.getters.leave(place)?;
        if !is_job {
            self.settle();
        }
        Some(item)
    }

    /// One of those in hand is done.
    pub(super) fn settle(&mut self) {
        self.in_hand -= 1;
        self.tell_joiners();
    }

    pub(super) fn unfinished(&self) -> usize {
        self.items.len() + self.in_hand
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.getters.dismiss();
        self.putters.dismiss();
        self.peekers.wake_all();
        self.watchers.tell_all();
    }

    /// Wakes those who wait for all to be done, if all is.
    pub(super) fn tell_joiners(&mut self) {
        if self.joiners.len() > 0 && self.unfinished() == 0 {
            self.rounds += 1;
            self.joiners.wake_all();
        }
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed("queue"))
}
