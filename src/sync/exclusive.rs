//! One thing that one at a time has: what the exclusive locks have in common.
//!
//! Who has it has taken it out; who gives it back hands it to the first waiter, so nobody
//! overtakes. Whether it is taken is therefore never in doubt, and nothing here needs a
//! flag, a token or `unsafe`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, current};
use crate::runtime::reason::{Wait, Whom};
use crate::sync::waiters::{Place, Waiters, begin};
use crate::util::lock;

/// See the module.
pub(super) struct Exclusive<T> {
    state: Mutex<State<T>>,
    /// The number of the greenlet or thread that has taken it; 0 while nobody has, and
    /// between a hand-over and the moment when the next one runs.
    holder: Arc<AtomicU64>,
}

struct State<T> {
    /// While it is here, nobody waits.
    thing: Option<T>,
    waiters: Waiters<T>,
}

impl<T> Exclusive<T> {
    pub(super) fn new(thing: T) -> Self {
        let state = State {
            thing: Some(thing),
            waiters: Waiters::new(),
        };
        Self {
            state: Mutex::new(state),
            holder: Arc::default(),
        }
    }

    /// Takes it, in order of arrival.
    #[track_caller]
    pub(super) fn take(&self, wait: Wait, limit: Deadline) -> Result<T> {
        begin()?;
        let parker = Parker::new();
        let place = match self.take_or_join(&parker) {
            Ok(thing) => return Ok(thing),
            Err(place) => place,
        };
        let waited = parker.park_for(wait, limit, Whom::Holder(self.holder.clone()));
        match (self.leave(&place), waited) {
            (Some(thing), _) => Ok(thing),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => unreachable!("a waiter is woken with the thing only"),
        }
    }

    /// Takes it whatever happens to the caller: not a cancellation point.
    #[track_caller]
    pub(super) fn take_surely(&self, wait: Wait) -> T {
        let parker = Parker::new();
        let place = match self.take_or_join(&parker) {
            Ok(thing) => return thing,
            Err(place) => place,
        };
        let caller = current();
        caller.note_whom(Whom::Holder(self.holder.clone()));
        parker.park_surely(wait);
        caller.note_whom(Whom::Anyone);
        self.leave(&place)
            .expect("a waiter is woken with the thing only")
    }

    /// Takes it if nobody has it.
    pub(super) fn try_take(&self) -> Option<T> {
        let thing = lock(&self.state).thing.take();
        if thing.is_some() {
            self.hold();
        }
        thing
    }

    /// Hands it to the first waiter, or puts it back. Never switches.
    pub(super) fn give_back(&self, thing: T) {
        let mut state = lock(&self.state);
        self.holder.store(0, Ordering::Relaxed);
        if let Err(thing) = state.waiters.give(thing) {
            state.thing = Some(thing);
        }
    }

    /// The number of who has it.
    pub(super) fn holder(&self) -> u64 {
        self.holder.load(Ordering::Relaxed)
    }

    pub(super) fn is_taken(&self) -> bool {
        lock(&self.state).thing.is_none()
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).waiters.len()
    }

    /// `None` if who took it never gave it back: a guard was leaked.
    pub(super) fn into_inner(self) -> Option<T> {
        let state = self.state.into_inner();
        state
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .thing
    }

    /// As [`Exclusive::into_inner`].
    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        let state = self.state.get_mut();
        state
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .thing
            .as_mut()
    }

    fn take_or_join(&self, parker: &Parker) -> Result<T, Place<T>> {
        let mut state = lock(&self.state);
        match state.thing.take() {
            Some(thing) => {
                self.hold();
                Ok(thing)
            }
            None => Err(state.waiters.join(parker, None)),
        }
    }

    /// Ends a wait, and takes what was handed over.
    fn leave(&self, place: &Place<T>) -> Option<T> {
        let thing = lock(&self.state).waiters.leave(place);
        if thing.is_some() {
            self.hold();
        }
        thing
    }

    /// Relaxed will do: the one before has stored its 0 before it let go of the state, and
    /// nobody else stores anything until this one gives the thing back.
    fn hold(&self) {
        self.holder.store(current().id, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::runtime::spawn::spawn;
    use crate::runtime::task::Task;

    /// Waits until all of `waiters` name `holder` as the one they wait for.
    fn expect_whom(waiters: &[Arc<Task>], holder: u64) {
        for waiter in waiters {
            while waiter.waits_on().0 != Wait::Mutex || waiter.waits_at().1.id() != Some(holder) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn waiters_name_the_holder_also_after_it_has_changed() {
        let (tell, told) = channel();
        let thing = Arc::new(Exclusive::new(()));
        thing.take(Wait::Mutex, Deadline::NEVER).unwrap();
        let next = Arc::new(AtomicU64::new(0));
        let mut waiters = Vec::new();
        let mut greenlets = Vec::new();
        for _ in 0..3 {
            let (theirs, tell, next) = (thing.clone(), tell.clone(), next.clone());
            greenlets.push(spawn(move || {
                tell.send(current()).unwrap();
                theirs.take(Wait::Mutex, Deadline::NEVER).unwrap();
                while next.load(Ordering::SeqCst) != current().id {
                    crate::runtime::sleep::yield_now().unwrap();
                }
                theirs.give_back(());
            }));
            waiters.push(told.recv().unwrap());
            while thing.waiting() < waiters.len() {
                std::thread::yield_now();
            }
        }
        expect_whom(&waiters, current().id);
        thing.give_back(());
        for first in 0..3 {
            let holder = waiters[first].id;
            expect_whom(&waiters[first + 1..], holder);
            next.store(holder, Ordering::SeqCst);
            while thing.holder() == holder {
                std::thread::yield_now();
            }
        }
        for greenlet in greenlets {
            greenlet.join().unwrap();
        }
        assert_eq!((thing.holder(), thing.is_taken()), (0, false));
    }
}
