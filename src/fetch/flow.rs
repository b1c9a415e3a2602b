//! How far a run is ahead of its input, and when its last download has ended.

use std::sync::Mutex;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::util::lock;

/// Counts what was taken from the input.
pub(crate) struct Flow {
    /// Entries that may be taken at once.
    high: usize,
    state: Mutex<State>,
}

/// An entry that stands aside.
pub(crate) struct Aside<'a>(&'a Flow);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.aside -= 1;
        // For a moment there may be more than were to be taken: nobody new comes in.
        state.taken += 1;
    }
}

/// Downloads that may stand aside. Each is a parked greenlet of some 10 KB.
const ASIDE_MAX: usize = 256;

#[derive(Default)]
struct State {
    /// Entries whose download is not over.
    taken: usize,
    /// Entries without an outcome.
    open: usize,
    /// Entries that stand aside, and are not among those taken.
    aside: usize,
    /// No more are taken until some have left.
    full: bool,
    waiters: WaitList,
}

impl Flow {
    pub(crate) fn new(high: usize) -> Self {
        Self {
            high: high.max(1),
            state: Mutex::default(),
        }
    }

    /// Waits until one more entry may be taken from the input.
    ///
    /// Once all places are taken, a quarter of them has to become free: who feeds the run
    /// is woken for many at a time.
    pub(crate) fn enter(&self) -> Result<()> {
        self.wait(|state| {
            if state.taken >= self.high {
                state.full = true;
            }
            if state.full && state.taken > self.low() {
                return false;
            }
            state.full = false;
            state.taken += 1;
            state.open += 1;
            true
        })
    }

    fn low(&self) -> usize {
        self.high - self.high.div_ceil(4)
    }

    /// Counts an entry as given back while the result lives: its download waits for a host,
    /// and must not keep the run from going on with others. None if too many do.
    pub(crate) fn aside(&self) -> Option<Aside<'_>> {
        {
            let mut state = lock(&self.state);
            if state.aside >= ASIDE_MAX {
                return None;
            }
            state.aside += 1;
        }
        self.give_back();
        Some(Aside(self))
    }

    /// An entry's download is over.
    pub(crate) fn give_back(&self) {
        let mut state = lock(&self.state);
        state.taken -= 1;
        if state.full && state.taken <= self.low() {
            state.waiters.wake_all();
        }
    }

    /// An entry has its outcome.
    pub(crate) fn leave(&self) {
        let mut state = lock(&self.state);
        state.open -= 1;
        if state.open == 0 {
            state.waiters.wake_all();
        }
    }

    /// Waits until all entries have their outcomes.
    pub(crate) fn drained(&self) -> Result<()> {
        self.wait(|state| state.open == 0)
    }

    fn wait(&self, mut look: impl FnMut(&mut State) -> bool) -> Result<()> {
        wait_for(
            &self.state,
            |state| &mut state.waiters,
            Wait::Lane,
            Deadline::NEVER,
            |state| look(state).then_some(()),
        )
    }
}
