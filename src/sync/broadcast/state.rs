//! The ring of messages, and who has got which.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::park::WaitList;
use crate::runtime::watch::Watchers;

/// Lives under the channel's lock.
pub(super) struct State<T> {
    pub(super) ring: VecDeque<Kept<T>>,
    capacity: usize,
    /// The number of the first message in the ring; they are counted from 0.
    first: u64,
    pub(super) subscribers: usize,
    pub(super) closed: bool,
    pub(super) line: WaitList,
    pub(super) watchers: Watchers,
}

/// A message in the ring. It is shared so that no user code runs under the lock: clones
/// and drops happen outside.
pub(super) struct Kept<T> {
    message: Arc<T>,
    /// How many subscribers have not got it. It never falls from one message to the next
    /// newer one: who waits for a message waits for all that follow.
    missing: usize,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            capacity,
            first: 0,
            subscribers: 0,
            closed: false,
            line: WaitList::new(),
            watchers: Watchers::new(),
        }
    }

    /// The number of the message that will be sent next.
    pub(super) fn end(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// Keeps `message` for all who are subscribed; gives the one that has no room any more.
    pub(super) fn append(&mut self, message: Arc<T>) -> Option<Kept<T>> {
        let lost = self.make_room();
        let missing = self.subscribers;
        self.ring.push_back(Kept { message, missing });
        self.line.wake_all();
        self.watchers.tell_all();
        lost
    }

    fn make_room(&mut self) -> Option<Kept<T>> {
        if self.ring.len() < self.capacity {
            return None;
        }
        self.first += 1;
        self.ring.pop_front()
    }

    /// What is there for a subscriber whose next message is `next`, if anything is.
    pub(super) fn read(&mut self, next: &mut u64) -> Option<Result<Arc<T>>> {
        if *next < self.first {
            let lost = self.first - *next;
            *next = self.first;
            return Some(Err(Error::new(ErrorKind::Lagged(lost))));
        }
        let place = self.place(*next);
        let Some(kept) = self.ring.get_mut(place) else {
            return self.closed.then(|| Err(closed()));
        };
        *next += 1;
        kept.missing -= 1;
        if kept.missing > 0 {
            return Some(Ok(kept.message.clone()));
        }
        // The last one to get it takes it along. It is the oldest: who got this one got
        // those before it.
        let kept = self.ring.pop_front()?;
        self.first += 1;
        Some(Ok(kept.message))
    }

    /// Ends the subscription of one whose next message is `next`, and gives what nobody
    /// else wants.
    pub(super) fn forget(&mut self, next: u64) -> Vec<Kept<T>> {
        self.subscribers -= 1;
        let place = self.place(next.max(self.first));
        for kept in self.ring.range_mut(place..) {
            kept.missing -= 1;
        }
        let unwanted = self.ring.partition_point(|kept| kept.missing == 0);
        self.first += unwanted as u64;
        self.ring.drain(..unwanted).collect()
    }

    /// Where the message of that number is, or would be.
    fn place(&self, number: u64) -> usize {
        let place = usize::try_from(number - self.first);
        place.expect("a number is at most one more than the ring's last")
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.line.wake_all();
        self.watchers.tell_all();
    }

    pub(super) fn describe(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("len", &self.ring.len())
            .field("subscribers", &self.subscribers)
            .field("waiting", &self.line.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed("broadcast channel"))
}
