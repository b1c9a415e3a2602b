//! Hands things from one thread to another, many at a time.
//!
//! A queue wakes its reader for each item that comes alone; with tens of thousands a
//! second those wake-ups are what a program does. Here a reader takes all there is, and may
//! let some come together first.

use crate::Deadline;
use crate::error::Result;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::util::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A bounded hand-over of many things at once. Clones are the same one.
pub(crate) struct Feed<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    items: Vec<T>,
    /// Items that may wait to be taken.
    room: usize,
    is_closed: bool,
    waiters: WaitList,
}

impl<T> Feed<T> {
    /// A feed in which at most `room` items wait.
    pub(crate) fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            items: Vec::new(),
            room: room.max(1),
            is_closed: false,
            waiters: WaitList::new(),
        })))
    }

    /// Adds an item, waiting for room. False if the feed is closed.
    pub(crate) fn put(&self, item: T) -> Result<bool> {
        let mut item = Some(item);
        self.wait(Deadline::NEVER, |state| {
            if !state.is_closed && state.items.len() >= state.room {
                return None;
            }
            if !state.is_closed {
                state.items.extend(item.take());
                // The reader waits for the first one, or for the room to be used up.
                if state.items.len() == 1 || state.items.len() == state.room {
                    state.waiters.wake_all();
                }
            }
            Some(!state.is_closed)
        })
    }

    /// Takes all there is, waiting for one at least and then at most `linger` for the room
    /// to be used up. `None` if there is nothing any more.
    pub(crate) fn take(&self, linger: Duration) -> Result<Option<Vec<T>>> {
        self.wait(Deadline::NEVER, |state| {
            (state.is_closed || !state.items.is_empty()).then_some(())
        })?;
        if !linger.is_zero() {
            let full = |state: &mut State<T>| {
                (state.is_closed || state.items.len() >= state.room).then_some(())
            };
            match self.wait(Deadline::after(linger), full) {
                Err(error) if !error.is_timeout() => return Err(error),
                _ => {}
            }
        }
        let mut state = lock(&self.0);
        let items = std::mem::take(&mut state.items);
        // Who waits for room waits for all of it.
        state.waiters.wake_all();
        Ok(Some(items).filter(|items| !items.is_empty()))
    }

    /// Ends the feed: what is there can still be taken.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0);
        state.is_closed = true;
        state.waiters.wake_all();
    }

    fn wait<R>(&self, limit: Deadline, look: impl FnMut(&mut State<T>) -> Option<R>) -> Result<R> {
        wait_for(&self.0, |state| &mut state.waiters, Wait::Lane, limit, look)
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_put_is_taken_in_order() {
        let feed = Feed::new(8);
        let writer = feed.clone();
        let putting = crate::spawn(move || {
            for n in 0..1000 {
                assert!(writer.put(n)?);
            }
            writer.close();
            Ok::<_, crate::Error>(())
        });
        let mut taken = Vec::new();
        while let Some(items) = feed.take(Duration::from_micros(200)).unwrap() {
            assert!(items.len() <= 8);
            taken.extend(items);
        }
        putting.join().unwrap().unwrap();
        assert_eq!(taken, (0..1000).collect::<Vec<_>>());
        assert!(!feed.put(1).unwrap(), "closed");
    }

    #[test]
    fn one_alone_is_taken_at_once_without_linger() {
        let feed = Feed::new(8);
        feed.put(7).unwrap();
        assert_eq!(feed.take(Duration::ZERO).unwrap(), Some(vec![7]));
        feed.close();
        assert_eq!(feed.take(Duration::MAX).unwrap(), None);
    }
}
