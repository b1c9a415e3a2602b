//! A line of waiters, each with a slot for what it gives or gets.
//!
//! Both directions of a hand-over use it: a consumer waits with an empty slot that a
//! producer fills, a producer waits with a full slot that a consumer empties. The list
//! lives under its user's lock, and slots are touched only there, so who got what is never
//! in doubt: after its wake-up (or its departure) a waiter looks into its slot under the
//! same lock.

use std::sync::Arc;

use crate::runtime::park::{self, Parker, Ticket, WaitList};
use crate::runtime::{clock, relay};
use crate::util::lock;
use crate::util::sync::Mutex;

/// See the module.
pub(super) struct Waiters<T>(WaitList<Slot<T>>);

/// What one waiter gives or gets.
pub(super) struct Slot<T>(Arc<Mutex<Option<T>>>);

/// A place in the line.
pub(super) struct Place<T> {
    ticket: Ticket,
    slot: Slot<T>,
}

impl<T> Slot<T> {
    pub(super) fn new(content: Option<T>) -> Self {
        Self(Arc::new(Mutex::new(content)))
    }

    pub(super) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn put(&self, item: T) {
        *lock(&self.0) = Some(item);
    }

    pub(super) fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }
}

impl<T> Waiters<T> {
    pub(super) const fn new() -> Self {
        Self(WaitList::new())
    }

    /// Puts a waiter at the end of the line.
    pub(super) fn join(&mut self, parker: &Parker, content: Option<T>) -> Place<T> {
        let slot = Slot::new(content);
        let ticket = self.0.push(parker.unparker(), slot.share());
        Place { ticket, slot }
    }

    /// Ends a waiter's stay, however its wait ended, and empties its slot.
    pub(super) fn leave(&mut self, place: &Place<T>) -> Option<T> {
        self.0.remove(place.ticket);
        place.slot.take()
    }

    /// Hands `item` to the first one that still waits, or back if there is none.
    pub(super) fn give(&mut self, mut item: T) -> Result<(), T> {
        while let Some((waiter, slot)) = self.0.pop() {
            // Before the wake-up: the waiter may run at once.
            slot.put(item);
            if waiter.unpark() {
                return Ok(());
            }
            match slot.take() {
                Some(back) => item = back,
                // Only the list's user touches slots, under the lock that is held now.
                None => return Ok(()),
            }
        }
        Err(item)
    }

    /// Takes the item of the first one that still waits, and wakes it.
    pub(super) fn receive(&mut self) -> Option<T> {
        self.0.wake_one()?.take()
    }

    /// Wakes all; their slots stay as they are, which tells them that nothing was handed
    /// over.
    pub(super) fn dismiss(&mut self) {
        self.0.wake_all();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Begins a call that may wait: fails if the caller was killed or a `Timeout` of its own
/// has passed, and lets others have their turn after many calls in a row.
pub(super) fn begin() -> crate::Result<()> {
    let caller = park::current();
    if let Some(error) = caller.interruption(clock::NEVER) {
        return Err(error);
    }
    relay::tick(&caller);
    Ok(())
}
