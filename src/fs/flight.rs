//! Operations that survive their caller: one at a time, on a lane's thread.
//!
//! A kill cannot stop a system call. What it brings when the caller has left lands here,
//! and the next call finds it.

use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::lane::Lane;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::util::lock;

/// Where operations with outcomes of type `T` land.
pub(super) struct Flights<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    /// An operation is on its way, or queued.
    busy: bool,
    landed: Option<T>,
    waiters: WaitList,
}

/// One operation; it ends with the job that holds it, also one that never ran.
struct Flight<T>(Arc<Mutex<State<T>>>);

impl<T: Send + 'static> Flights<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            busy: false,
            landed: None,
            waiters: WaitList::new(),
        })))
    }

    /// Waits for an operation whose caller left, and gives its outcome if there is one.
    ///
    /// # Errors
    /// A kill or a limit came first; the outcome stays.
    #[track_caller]
    pub(super) fn landed(&self, wait: Wait, limit: Deadline) -> Result<Option<T>> {
        wait_for(
            &self.0,
            |state| &mut state.waiters,
            wait,
            limit,
            |state| (!state.busy).then(|| state.landed.take()),
        )
    }

    /// Runs `operation` on `lane`. Only after [`Flights::landed`], by the same owner.
    ///
    /// # Errors
    /// A kill or a limit came first: the operation has not run, or its outcome lands.
    #[track_caller]
    pub(super) fn run(
        &self,
        lane: &Lane,
        wait: Wait,
        limit: Deadline,
        operation: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        lock(&self.0).busy = true;
        let flight = Flight(self.0.clone());
        lane.run_for(wait, limit, move || flight.land(operation()))?;
        let outcome = lock(&self.0).landed.take();
        Ok(outcome.expect("it lands before the lane tells us, and we own the place"))
    }
}

impl<T> Flight<T> {
    fn land(self, outcome: T) {
        lock(&self.0).landed = Some(outcome);
    }
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.busy = false;
        state.waiters.wake_all();
    }
}
