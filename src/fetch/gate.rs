//! A number of places that can change while they are taken.

use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::sync::{Permit, Semaphore};
use crate::util::lock;

/// Places handed out in order of arrival, at most as many as the gate is wide.
///
/// Made narrower, it takes nobody's place away: it lets nobody in until enough have left.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    width: usize,
    /// Places to be closed when they come back.
    owed: usize,
    taken: usize,
}

/// A place; left when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    permit: Option<Permit>,
}

impl Gate {
    pub(crate) fn new(width: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Semaphore::new(width),
            state: Mutex::new(State {
                width,
                owed: 0,
                taken: 0,
            }),
        })
    }

    /// Takes a place, waiting for one at most until `limit`.
    pub(crate) fn enter(self: &Arc<Self>, limit: Deadline) -> Result<Place> {
        let permit = self.places.acquire_deadline(limit)?;
        lock(&self.state).taken += 1;
        Ok(Place {
            gate: self.clone(),
            permit: Some(permit),
        })
    }

    /// Takes a place if one is free.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let permit = self.places.try_acquire()?;
        lock(&self.state).taken += 1;
        Some(Place {
            gate: self.clone(),
            permit: Some(permit),
        })
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.state).taken
    }

    /// Tells whether somebody could enter now.
    pub(crate) fn has_room(&self) -> bool {
        let state = lock(&self.state);
        state.taken < state.width
    }

    pub(crate) fn set_width(&self, width: usize) {
        let mut state = lock(&self.state);
        if width >= state.width {
            let wider = width - state.width;
            let kept = wider.min(state.owed);
            state.owed -= kept;
            self.places.add_permits(wider - kept);
        } else {
            state.owed += state.width - width;
            while state.owed > 0
                && let Some(free) = self.places.try_acquire()
            {
                free.forget();
                state.owed -= 1;
            }
        }
        state.width = width;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.gate.state);
        state.taken -= 1;
        if state.owed > 0 {
            state.owed -= 1;
            self.permit.take().into_iter().for_each(Permit::forget);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(gate: &Arc<Gate>) -> Option<Place> {
        // A free place is taken even if the limit has passed.
        gate.enter(Deadline::after(std::time::Duration::ZERO)).ok()
    }

    #[test]
    fn a_narrower_gate_waits_until_enough_have_left() {
        let gate = Gate::new(3);
        let mut places: Vec<_> = (0..3).map(|_| enter(&gate).unwrap()).collect();
        assert!(enter(&gate).is_none());
        gate.set_width(1);
        assert_eq!(gate.taken(), 3);
        places.pop();
        places.pop();
        assert!(enter(&gate).is_none());
        places.pop();
        places.push(enter(&gate).unwrap());
        assert!(enter(&gate).is_none());
        assert_eq!(gate.taken(), 1);
    }

    #[test]
    fn a_wider_gate_lets_in_at_once() {
        let gate = Gate::new(1);
        let _first = enter(&gate).unwrap();
        assert!(gate.try_enter().is_none());
        gate.set_width(2);
        let _second = gate.try_enter().unwrap();
        assert_eq!(gate.taken(), 2);
        assert!(enter(&gate).is_none());
        // Narrower and wider again, with both inside: nothing is owed in the end.
        gate.set_width(1);
        gate.set_width(3);
        let _third = enter(&gate).unwrap();
        assert!(enter(&gate).is_none());
    }

    #[test]
    fn free_places_are_closed_at_once() {
        let gate = Gate::new(5);
        gate.set_width(2);
        let _taken = (enter(&gate).unwrap(), enter(&gate).unwrap());
        assert!(enter(&gate).is_none());
    }
}
