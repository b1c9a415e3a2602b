//! The connections of a server: who is open, and how to reach them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::runtime::greenlet::Handle;
use crate::sync::Event;
use crate::util::lock;

/// See the module.
#[derive(Default)]
pub(super) struct Conns {
    state: Mutex<State>,
    /// Set when the last one leaves.
    pub(super) changed: Event,
}

#[derive(Default)]
struct State {
    /// The greenlets by connection number; `None` until it runs.
    open: BTreeMap<u64, Option<Handle>>,
    next: u64,
    /// Whoever begins now is too late.
    cut: bool,
}

/// A connection's place; it leaves with the drop.
pub(super) struct Seat {
    conns: Arc<Conns>,
    pub(super) id: u64,
}

impl Conns {
    /// Counts a connection in, before anything can go wrong with it.
    pub(super) fn admit(self: &Arc<Self>) -> Seat {
        let mut state = lock(&self.state);
        state.next += 1;
        let id = state.next;
        state.open.insert(id, None);
        Seat {
            conns: self.clone(),
            id,
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.state).open.len()
    }

    /// Has all of them look at their flags; says how many there are.
    pub(super) fn tell(&self) -> usize {
        let state = lock(&self.state);
        for handle in state.open.values().flatten() {
            handle.nudge();
        }
        state.open.len()
    }

    /// Kills all, and those that begin later.
    pub(super) fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut = true;
        for handle in state.open.values().flatten() {
            handle.kill();
        }
    }
}

impl Seat {
    /// Makes `handle` the one that is told and killed; false if all were killed already.
    pub(super) fn occupy(&self, handle: Handle) -> bool {
        let mut state = lock(&self.conns.state);
        let in_time = !state.cut;
        if !in_time {
            handle.kill();
        }
        state.open.insert(self.id, Some(handle));
        in_time
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let is_last = {
            let mut state = lock(&self.conns.state);
            state.open.remove(&self.id);
            state.open.is_empty()
        };
        if is_last {
            self.conns.changed.set();
        }
    }
}
